package bearer

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/op"
	"pagevault/internal/clock"
	"pagevault/internal/testkit"
)

var ctx = context.Background()

// now is the time of the tests.
var now = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

// good are the claims of a token that is taken, changed by the pairs of name and value; nil takes a claim away.
func good(changes ...any) map[string]any {
	claims := map[string]any{"aud": "https://storage.azure.com", "sub": "S", "oid": "O", "tid": "T", "exp": now.Add(time.Hour).Unix(),
		"nbf": now.Add(-time.Hour).Unix(), "iat": now.Add(-time.Hour).Unix()}
	for i := 0; i < len(changes); i += 2 {
		name := changes[i].(string)
		claims[name] = changes[i+1]
		if changes[i+1] == nil {
			delete(claims, name)
		}
	}
	return claims
}

// newAuthority returns one for the issuer, on which everybody is a reader.
func newAuthority(t *testing.T, issuer *testkit.Issuer, change func(o *Options)) (*Authority, *clock.Manual) {
	t.Helper()
	roles, err := ParseRoles([]byte("reader * *"))
	if err != nil {
		t.Fatal(err)
	}
	c := clock.NewManual(now)
	o := Options{Issuer: issuer.URL, Roles: roles, Client: issuer.Client(), Clock: c}
	if change != nil {
		change(&o)
	}
	a, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a, c
}

// hasOne reports whether s has one of the parts in it that want has bars between.
func hasOne(s, want string) bool {
	for part := range strings.SplitSeq(want, "|") {
		if strings.Contains(s, part) {
			return true
		}
	}
	return false
}

// TestVerify is the table of tokens: those that are taken, and why others are not.
func TestVerify(t *testing.T) {
	issuer := testkit.StartIssuer(t)
	a, _ := newAuthority(t, issuer, nil)
	f := func(token, want string) {
		t.Helper()
		c, err := a.Verify(ctx, []byte(token), "disks")
		switch {
		case want == "" && (err != nil || c.ObjectID+c.Subject == ""):
			t.Errorf("%.40s: %v, want it taken", token, err)
		case want != "" && (!errors.Is(err, azerr.InvalidBearerToken) || !hasOne(err.Error(), want)):
			t.Errorf("%.40s: got %v, want %q", token, err, want)
		case err != nil && len(token) > 40 && strings.Contains(err.Error(), token[:40]):
			t.Errorf("the error has the token in it: %v", err)
		}
	}
	claims := func(want string, changes ...any) {
		t.Helper()
		f(issuer.Token(good(changes...)), want)
	}
	claims("")
	keys := issuer.Keys()
	for _, alg := range []jose.SignatureAlgorithm{jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512} {
		f(issuer.TokenBy(testkit.IssuerKey{ID: "first", Algorithm: alg, Key: keys[1].Key}, good()), "")
	}
	f(issuer.TokenBy(keys[0], good()), "") // ES256

	// What it is for.
	const audience = "Audience validation failed"
	for _, aud := range []string{"https://storage.azure.com/", "e406a681-f3d4-42a8-90b6-c2b029497af1", "https://disks.blob.core.windows.net",
		"https://disks.blob.core.windows.net/", "https://disks.blob.core.chinacloudapi.cn", "https://disks.blob.core.usgovcloudapi.net"} {
		claims("", "aud", aud)
		claims("", "aud", []string{"other", aud})
	}
	for _, aud := range []any{"https://management.azure.com", "https://other.blob.core.windows.net", "storage.azure.com", "", []string{}, nil,
		"https://storage.azure.com//", "https://disks.blob.core.windows.net.example.org"} {
		claims(audience, "aud", aud)
	}
	// Who says so.
	const other = "Issuer validation failed"
	claims(other, "iss", issuer.URL+"/")
	claims(other, "iss", "https://sts.windows.net/x/")
	claims("not well formed", "iss", "")
	// When.
	at := func(d time.Duration) any { return now.Add(d).Unix() }
	claims("", "exp", at(-Skew+time.Second))
	claims("is expired", "exp", at(-Skew))
	claims("", "nbf", at(Skew), "iat", at(Skew))
	claims("not yet valid", "nbf", at(Skew+time.Second))
	claims("not yet valid", "iat", at(Skew+time.Second))
	claims("", "nbf", nil, "iat", nil)
	claims("", "exp", float64(now.Unix())+0.5)
	for _, exp := range []any{nil, "soon", fmt.Sprint(now.Add(time.Hour).Unix()), -1, 1e12, json.RawMessage("null")} {
		claims("not well formed", "exp", exp)
	}
	// Who.
	claims("", "oid", nil)
	claims("", "sub", nil)
	claims("not well formed", "oid", nil, "sub", nil)
	claims("not well formed", "oid", "a\nb")
	claims("not well formed", "oid", 7)
	claims("not well formed", "roles", map[string]any{"a": 1})
	claims("", "roles", "one", "groups", []string{"two"})

	// Signatures.
	const signature = "Signature validation failed"
	stranger := testkit.NewIssuerKey(t, "first")
	f(issuer.TokenBy(stranger, good()), signature)
	stranger.ID = "unknown"
	f(issuer.TokenBy(stranger, good()), signature)
	stranger.ID = ""
	f(issuer.TokenBy(stranger, good()), signature)
	f(issuer.TokenBy(testkit.IssuerKey{ID: "first", Algorithm: jose.HS256, Key: []byte("0123456789abcdef0123456789abcdef")}, good()), "not well formed")
	f(issuer.TokenBy(testkit.IssuerKey{ID: "curve", Algorithm: jose.RS256, Key: keys[1].Key}, good()), signature)
	whole := issuer.Token(good())
	parts := strings.Split(whole, ".")
	payload, err := json.Marshal(good("oid", "another", "iss", issuer.URL))
	if err != nil {
		t.Fatal(err)
	}
	f(parts[0]+"."+base64.RawURLEncoding.EncodeToString(payload)+"."+parts[2], signature)
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","kid":"first"}`))
	f(none+"."+parts[1]+".", "not well formed")
	f(none+"."+parts[1]+"."+parts[2], "not well formed")
	for _, bad := range []string{"", "x", ".", "..", parts[0], parts[0] + "." + parts[1], whole + ".x", whole + "=", strings.Repeat("a", tokenMax+1), parts[0] + "." + parts[1] + "."} {
		f(bad, "The token is|Signature")
	}
}

// TestKeys: what is asked of the issuer, and when.
func TestKeys(t *testing.T) {
	issuer := testkit.StartIssuer(t)
	var mu sync.Mutex
	var told []string
	tell := func(text string) { mu.Lock(); told = append(told, text); mu.Unlock() }
	a, c := newAuthority(t, issuer, func(o *Options) {
		o.Events = Events{KeysRead: func(n int) { tell(fmt.Sprint("read ", n)) }, KeysFailed: func(err error) { tell("failed") }}
	})
	long := c.Now().Add(1000 * time.Hour).Unix()
	f := func(token, want string, fetches int) {
		t.Helper()
		_, err := a.Verify(ctx, []byte(token), "disks")
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("got %v, want %q", err, want)
		}
		if got := issuer.Fetches(); got != fetches {
			t.Errorf("the keys were read %d times, want %d", got, fetches)
		}
	}
	issuer.SetDown(true)
	token := issuer.Token(good("exp", long))
	f(token, "ServerBusy", 0)
	issuer.SetDown(false)
	f(token, "ServerBusy", 0) // not asked again so soon
	c.Advance(refreshEvery)
	f(token, "", 1)
	for i := range 100 {
		f(token, "", 1)
		f(issuer.Token(good("exp", long, "sub", fmt.Sprint(i))), "", 1)
	}

	// A new key is found at once, a key that nobody has is looked for once in a while.
	old, next := issuer.Keys(), testkit.NewIssuerKey(t, "second")
	issuer.Publish(append(old, next)...)
	c.Advance(refreshEvery)
	f(issuer.Token(good("exp", long)), "", 2)
	unknown := next
	unknown.ID = "unknown"
	for range 10 {
		f(issuer.TokenBy(unknown, good("exp", long)), "Signature validation failed", 2)
	}
	c.Advance(refreshEvery)
	f(issuer.TokenBy(unknown, good("exp", long)), "Signature validation failed", 3)

	// An issuer that is down for a while is no reason to refuse whom we know.
	issuer.SetDown(true)
	c.Advance(keysAge)
	f(token, "", 3)
	a.Warm(ctx) // waits for what that has started
	f(token, "", 3)

	// A key that is withdrawn counts for an hour more at most, also for tokens that were seen before.
	issuer.SetDown(false)
	issuer.Publish(next)
	c.Advance(keysAge)
	if _, err := a.Verify(ctx, []byte(token), "disks"); err != nil {
		t.Error(err)
	}
	a.Warm(ctx)
	f(token, "Signature validation failed", 4)
	f(issuer.Token(good("exp", long)), "", 4)
	mu.Lock()
	defer mu.Unlock()
	if got := strings.Join(told, ", "); got != "failed, read 2, read 3, failed, read 1" {
		t.Errorf("told: %s", got)
	}
}

// TestExpiry: a token that was taken ends when it says.
func TestExpiry(t *testing.T) {
	issuer := testkit.StartIssuer(t)
	a, c := newAuthority(t, issuer, nil)
	token := []byte(issuer.Token(good()))
	for range 2 {
		if _, err := a.Verify(ctx, token, "disks"); err != nil {
			t.Fatal(err)
		}
	}
	c.Advance(time.Hour + Skew)
	for range 2 {
		if _, err := a.Verify(ctx, token, "disks"); err == nil || !strings.Contains(err.Error(), "expired") {
			t.Errorf("got %v", err)
		}
	}
}

// TestCacheIsBounded: the number of tokens that are remembered has an end.
func TestCacheIsBounded(t *testing.T) {
	issuer := testkit.StartIssuer(t)
	a, _ := newAuthority(t, issuer, nil)
	for i := range cacheMax {
		a.mu.genuine[[32]byte{byte(i), byte(i >> 8), 1}] = &Claims{}
	}
	a.Warm(ctx)
	a.mu.generation = a.keys.current(now).generation
	if _, err := a.Verify(ctx, []byte(issuer.Token(good())), "disks"); err != nil {
		t.Fatal(err)
	}
	if n := len(a.mu.genuine); n != 1 {
		t.Errorf("%d tokens", n)
	}
}

// TestConcurrent has many ask at once while keys come and go.
func TestConcurrent(t *testing.T) {
	issuer := testkit.StartIssuer(t)
	a, c := newAuthority(t, issuer, nil)
	first, second := issuer.Keys(), testkit.NewIssuerKey(t, "second")
	token := []byte(issuer.Token(good("exp", c.Now().Add(1000*time.Hour).Unix())))
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 20 {
				if i == 0 {
					issuer.Publish(append(first[:2:2], second)...)
					c.Advance(keysAge)
				}
				if _, err := a.Verify(ctx, token, "disks"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// TestUnsigned: without a look at the signature all that is said must still hold.
func TestUnsigned(t *testing.T) {
	c := clock.NewManual(now)
	a, err := New(Options{Unsigned: true, Clock: c})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	f := func(want string, changes ...any) {
		t.Helper()
		claims := good("iss", "https://sts.windows.net/tenant/")
		maps.Copy(claims, good(append([]any{"iss", claims["iss"]}, changes...)...))
		payload, err := json.Marshal(claims)
		if err != nil {
			t.Fatal(err)
		}
		token := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + base64.RawURLEncoding.EncodeToString(payload) + "."
		_, err = a.Verify(ctx, []byte(token), "disks")
		if want == "" && err != nil || want != "" && (!errors.Is(err, azerr.InvalidBearerToken) || !strings.Contains(err.Error(), want)) {
			t.Errorf("%v: got %v, want %q", changes, err, want)
		}
	}
	f("")
	f("expired", "exp", now.Add(-time.Hour).Unix())
	f("not yet", "nbf", now.Add(time.Hour).Unix())
	f("Audience", "aud", "x")
	f("Issuer", "iss", "https://example.org/")
	if got := a.Allowed(&Claims{}, "disks", "c"); got != owner {
		t.Errorf("allowed %b", got)
	}
}

func TestOptions(t *testing.T) {
	roles, err := ParseRoles([]byte("reader * *"))
	if err != nil {
		t.Fatal(err)
	}
	f := func(ok bool, o Options) {
		t.Helper()
		a, err := New(o)
		if (err == nil) != ok {
			t.Errorf("%+v: %v", o, err)
		}
		if err == nil {
			a.Close()
		}
	}
	f(false, Options{})
	f(false, Options{Issuer: "https://example.org", Unsigned: true, Roles: roles})
	f(false, Options{Issuer: "https://example.org"})
	f(true, Options{Unsigned: true})
	for issuer, ok := range map[string]bool{"https://example.org": true, "https://example.org/tenant/v2.0": true, "http://example.org": false,
		"http://127.0.0.1:1": true, "http://localhost:1": true, "http://[::1]:1": true, "example.org": false, "file:///etc": false, "https://a:b@c": false, "https://": false, ":": false} {
		f(ok, Options{Issuer: issuer, Roles: roles})
	}
	a, err := New(Options{Issuer: "https://example.org/tenant/", Roles: roles, Audiences: []string{"api://disks", "other"}})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if got := string(a.Challenge()); got != "Bearer authorization_uri=https://example.org/tenant/oauth2/authorize resource_id=api://disks" {
		t.Errorf("challenge %q", got)
	}
	for aud, ok := range map[string]bool{"api://disks": true, "api://disks/": true, "other": true, "https://storage.azure.com": false, "https://disks.blob.core.windows.net": false} {
		if a.audience(aud, "disks") != ok {
			t.Errorf("audience %s: %v", aud, !ok)
		}
	}
}

// TestRolesFile: who has which role where.
func TestRolesFile(t *testing.T) {
	roles, err := ParseRoles([]byte(`
# Who may do what.
contributor  oid:AAAA-bbbb            disks      # letter case does not matter
reader       group:backup  operators  disks/vms
owner        role:Storage.Admin       *
delegator    sub:a:b                  other
reader       *                        public/all
`))
	if err != nil {
		t.Fatal(err)
	}
	role := map[string]op.Action{}
	for _, r := range op.Roles {
		role[r.Name] = r.Allowed
	}
	f := func(c Claims, account, container string, want op.Action) {
		t.Helper()
		if got := roles.ofClaims(&c, account, container); got != want {
			t.Errorf("%+v on %s/%s: got %b, want %b", c, account, container, got, want)
		}
	}
	f(Claims{ObjectID: "aaaa-BBBB"}, "disks", "", role["contributor"])
	f(Claims{ObjectID: "aaaa-BBBB"}, "disks", "vms", role["contributor"])
	f(Claims{ObjectID: "aaaa-BBBB"}, "other", "vms", 0)
	f(Claims{Subject: "aaaa-bbbb", Groups: []string{"oid:aaaa-bbbb"}}, "disks", "", 0)
	f(Claims{Groups: []string{"x", "backup  operators"}}, "disks", "vms", role["reader"])
	f(Claims{Groups: []string{"x", "backup  operators"}}, "disks", "vms2", 0)
	f(Claims{Groups: []string{"x", "backup  operators"}}, "disks", "", 0)
	f(Claims{Groups: []string{"backup operators"}}, "disks", "vms", 0)
	f(Claims{Groups: []string{"Storage.Admin"}}, "disks", "vms", 0)
	f(Claims{Roles: []string{"Storage.Admin"}}, "any", "thing", role["owner"])
	f(Claims{Subject: "a:b"}, "other", "", role["delegator"])
	f(Claims{}, "public", "all", role["reader"])
	f(Claims{}, "public", "", 0)
	a, err := New(Options{Unsigned: true, Roles: roles})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	before := a.AllowedTo("AAAA-BBBB", "disks", "")
	others, err := ParseRoles([]byte("reader oid:aaaa-bbbb disks"))
	if err != nil {
		t.Fatal(err)
	}
	a.SetRoles(others)
	if after := a.AllowedTo("aaaa-bbbb", "disks", ""); before != role["contributor"] || after != role["reader"] {
		t.Errorf("allowed %b and then %b", before, after)
	}
	for _, none := range []string{"", "# nothing", "\n \n"} {
		if r, err := ParseRoles([]byte(none)); err != nil || !r.Empty() {
			t.Errorf("%q: %v, %v", none, r, err)
		}
	}
	for _, bad := range []string{"reader", "reader *", "Reader * *", "reader you *", "reader oid: *", "reader oid:x disks/", "reader oid:x /c",
		"reader oid:x disks/a/b", "reader oid:x d*", "admin * *", "reader mail:x *", strings.Repeat("#", rolesMax+1)} {
		if _, err := ParseRoles([]byte(bad)); err == nil {
			t.Errorf("%.40q is taken", bad)
		}
	}
}

// FuzzToken: no payload but those that were signed is believed, and nothing panics.
func FuzzToken(f *testing.F) {
	f.Add("eyJhbGciOiJub25lIn0.eyJpc3MiOiJ4Iiwib2lkIjoieSIsImV4cCI6MX0.")
	f.Add("eyJhbGciOiJSUzI1NiJ9.e30.AAAA")
	f.Add("..")
	f.Fuzz(func(t *testing.T, token string) {
		c, err := parseUnsigned(token)
		if err == nil && (c.Issuer == "" || c.Name() == "" || c.Expiry.IsZero() || strings.ContainsAny(c.Name(), "\n\r")) {
			t.Errorf("%q is %+v", token, c)
		}
		if err != nil && !errors.Is(err, azerr.InvalidBearerToken) {
			t.Errorf("%q: %v", token, err)
		}
	})
}

// FuzzKeys: whatever keys an issuer sends, those that are kept are public and strong, and nothing panics.
func FuzzKeys(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kty":"oct","k":"AAAA","kid":"a"},{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}`))
	f.Add([]byte(`{"keys":null}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		keys, err := parseKeys(body)
		if (err == nil) != (len(keys) > 0) {
			t.Errorf("%q: %d keys and %v", body, len(keys), err)
		}
		for i := range keys {
			if !keys[i].IsPublic() || !usable(&keys[i]) {
				t.Errorf("%q: key %d", body, i)
			}
		}
	})
}

// FuzzRoles: what parses is lines of three parts, and nobody unknown has a role but by a star.
func FuzzRoles(f *testing.F) {
	f.Add("reader oid:x disks/vms # remark\nowner * *")
	f.Add("contributor group:a b c disks")
	f.Fuzz(func(t *testing.T, text string) {
		roles, err := ParseRoles([]byte(text))
		if err == nil && roles.ofClaims(&Claims{}, "account", "c") != 0 && !strings.Contains(text, "*") {
			t.Errorf("%q gives roles to nobody", text)
		}
	})
}
