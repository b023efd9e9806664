package server

import (
	"strings"
	"testing"
	"time"

	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/bearer"
	"pagevault/internal/testkit"
)

// unsignedTokens returns an authority that believes everybody.
func unsignedTokens(t *testing.T) *bearer.Authority {
	t.Helper()
	a, err := bearer.New(bearer.Options{Unsigned: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a
}

// takesTokens returns what a server takes an issuer's tokens by, with that issuer, and a log for it.
func takesTokens(t *testing.T, roles string) (*bearer.Authority, *testkit.Issuer, *logBuffer) {
	t.Helper()
	issuer := testkit.StartIssuer(t)
	parsed, err := bearer.ParseRoles([]byte(roles))
	if err != nil {
		t.Fatal(err)
	}
	a, err := bearer.New(bearer.Options{Issuer: issuer.URL, Roles: parsed, Client: issuer.Client()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a, issuer, &logBuffer{}
}

// tokenServer is a server that takes an issuer's tokens, over plain HTTP, and what it logs.
func tokenServer(t *testing.T, roles string) (*testServer, *testkit.Issuer, *logBuffer) {
	t.Helper()
	a, issuer, audit := takesTokens(t, roles)
	return start(t, func(o *Options) { o.Bearer, o.BearerOverHTTP, o.Audit = a, true, audit }), issuer, audit
}

// as returns a call with a token of the user.
func (c call) as(issuer *testkit.Issuer, user string) call {
	c.header = append([]string{"Authorization: Bearer " + issuer.Token(map[string]any{"aud": "https://storage.azure.com", "oid": user, "tid": "T",
		"exp": time.Now().Add(time.Hour).Unix()})}, c.header...)
	return c
}

// TestBearerScopes: a role for a container is for that one, also where a blob is copied from, and in a batch.
func TestBearerScopes(t *testing.T) {
	ts, issuer, audit := tokenServer(t, "contributor oid:A devstoreaccount1/disks\nreader oid:A devstoreaccount1/open\nreader oid:R devstoreaccount1\n")
	ts.makeBlob(t, 4096)
	for _, c := range []string{"open", "closed"} {
		ts.do(t, call{method: "PUT", path: c + "?restype=container"}).want(t, 201, "")
		ts.do(t, call{method: "PUT", path: c + "/b", header: []string{"x-ms-blob-type: PageBlob", "x-ms-blob-content-length: 512"}}).want(t, 201, "")
	}
	f := func(user string, status int, c call) answer {
		t.Helper()
		a := ts.do(t, c.as(issuer, user))
		a.want(t, status, map[bool]string{true: "AuthorizationPermissionMismatch"}[status == 403])
		return a
	}
	get := func(path string) call { return call{method: "GET", path: path} }
	f("A", 200, get("disks/b"))
	f("a", 200, get("open/b"))
	f("A", 403, get("closed/b"))
	f("A", 403, get("none/b"))
	f("A", 403, get("?comp=list"))
	f("R", 200, get("?comp=list"))
	f("R", 200, get("closed/b"))
	f("A", 200, putMeta("disks/b"))
	f("A", 403, putMeta("open/b"))
	f("R", 403, putMeta("disks/b"))

	from := func(source string) call {
		return call{method: "PUT", path: "disks/copy", header: []string{"x-ms-copy-source: http://127.0.0.1/" + testAccount + "/" + source}}
	}
	f("A", 202, from("open/b"))
	ts.do(t, from("closed/b").as(issuer, "A")).want(t, 401, "CannotVerifyCopySource")
	tagged := from("open/b")
	tagged.header = append(tagged.header, "x-ms-source-if-tags: a <> 'b'") // a reader of blobs is no reader of their tags
	ts.do(t, tagged.as(issuer, "A")).want(t, 401, "CannotVerifyCopySource")

	part := func(path, user string) string {
		lines := "DELETE /" + testAccount + "/" + path + " HTTP/1.1\r\n" + strings.Join(call{}.as(issuer, user).header, "\r\n") + "\r\n"
		return "--b\r\nContent-Type: application/http\r\n\r\n" + lines + "\r\n"
	}
	batch := call{method: "POST", path: "disks?restype=container&comp=batch", header: []string{"Content-Type: multipart/mixed; boundary=b"},
		body: []byte(part("disks/copy", "R") + part("disks/copy", "A") + "--b--\r\n")}
	a := f("A", 202, batch)
	if first, second := strings.Index(string(a.body), "HTTP/1.1 403"), strings.Index(string(a.body), "HTTP/1.1 202"); first < 0 || second < first {
		t.Errorf("the batch:\n%s", a.body)
	}
	f("Nobody", 403, batch)

	// Who it was is in the audit log.
	if !strings.Contains(audit.String(), `"authorised":"Bearer","principal":"A","operation":"Get Blob","container":"disks"`) ||
		!strings.Contains(audit.String(), `"authorised":"no","principal":"A","operation":"Get Blob","container":"closed"`) {
		t.Errorf("the audit log:\n%s", audit)
	}
}

func putMeta(path string) call { return call{method: "PUT", path: path + "?comp=metadata"} }

// TestBearerProtocol: tokens come over TLS, or where the operator says so.
func TestBearerProtocol(t *testing.T) {
	issuer := testkit.StartIssuer(t)
	get := call{method: "GET", path: "?comp=list"}.as(issuer, "A")
	ts := start(t, func(o *Options) { o.Bearer = unsignedTokens(t) })
	a := ts.do(t, get)
	a.want(t, 403, "AuthenticationFailed")
	if !strings.Contains(string(a.body), "Authentication scheme Bearer is not allowed with HTTP") {
		t.Errorf("%s", a.body)
	}
	// Without any authority a delegation token is nobody's.
	ts = start(t, nil)
	q := "disks/b?sv=2021-12-02&sr=b&sp=r&se=2099-01-01&skoid=O&sktid=T&skt=2098-12-30&ske=2099-01-01&sks=b&skv=2021-12-02&sig=" + strings.Repeat("A", 43) + "%3D"
	a = ts.do(t, call{method: "GET", path: q, unsigned: true})
	a.want(t, 403, "AuthenticationFailed")
	if !strings.Contains(string(a.body), "nobody has a user delegation key") {
		t.Errorf("%s", a.body)
	}
}

// TestBearerSecrets sends tokens of every kind, and user delegation keys, and looks for them in all that is logged.
func TestBearerSecrets(t *testing.T) {
	ts, issuer, audit := tokenServer(t, "owner oid:A *\n")
	ts.makeBlob(t, 4096)
	var secrets []string
	send := func(status int, lines []string, path string) {
		t.Helper()
		c := call{method: "GET", path: path, header: lines}
		_, token, _ := strings.Cut(lines[0], "Bearer ")
		secrets = append(secrets, strings.Split(token, ".")...)
		if a := ts.do(t, c); a.StatusCode != status || strings.Contains(a.raw+string(a.body), token) {
			t.Errorf("%d, want %d\n%s%s", a.StatusCode, status, a.raw, a.body)
		}
	}
	good := call{}.as(issuer, "A").header
	for _, path := range []string{"disks/b", "disks?restype=container&comp=list"} {
		send(200, good, path)
		send(403, call{}.as(issuer, "Nobody").header, path)
		send(401, []string{good[0] + "x"}, path)
		send(401, []string{strings.TrimSuffix(good[0], good[0][len(good[0])-20:])}, path)
		send(401, []string{"Authorization: Bearer " + strings.Repeat("c2VjcmV0", 3000)}, path)
		send(400, []string{good[0], good[0]}, path)
		send(400, []string{good[0] + "\x01"}, path)
	}
	key := ts.do(t, call{method: "POST", path: "?restype=service&comp=userdelegationkey",
		body: []byte("<KeyInfo><Expiry>" + time.Now().Add(time.Hour).UTC().Format(time.RFC3339) + "</Expiry></KeyInfo>")}.as(issuer, "A"))
	key.want(t, 200, "")
	_, rest, _ := strings.Cut(string(key.body), "<Value>")
	value, _, _ := strings.Cut(rest, "</Value>")
	secrets = append(secrets, value)
	issuer.SetDown(true)
	send(401, []string{"Authorization: Bearer " + issuer.TokenBy(testkit.NewIssuerKey(t, "new"), map[string]any{"oid": "A"})}, "disks/b")
	logged := ts.log.String() + audit.String()
	for _, s := range secrets {
		if len(s) > 30 && strings.Contains(logged, s[10:30]) {
			t.Errorf("%.40q is logged", s)
		}
	}
	if n := strings.Count(logged, `"authorised":"Bearer"`); n != 3 {
		t.Errorf("%d lines of requests by token", n)
	}
}

// TestIssuerDown: when nobody can say whose token it is, the client is to come again.
func TestIssuerDown(t *testing.T) {
	ts, issuer, _ := tokenServer(t, "owner oid:A *\n")
	issuer.SetDown(true)
	a := ts.do(t, call{method: "GET", path: "?comp=list"}.as(issuer, "A"))
	a.want(t, 503, azerr.ServerBusy.Wire())
	if a.Header.Get("Retry-After") == "" {
		t.Errorf("no Retry-After:\n%s", a.raw)
	}
}
