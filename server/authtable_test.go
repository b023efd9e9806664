package server

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/blobstore"
	"pagevault/internal/azure/header"
	"pagevault/internal/azure/op"
	"pagevault/internal/azure/query"
	"pagevault/internal/azure/sas"
	"pagevault/internal/azure/signing"
	"pagevault/pagestore"
	"pagevault/replication"
)

const otherAccount = "otheraccount"

// The keys of the tests. Those of testAccount were firstKey and secondKey, and are secondKey and thirdKey.
var (
	firstKey  = []byte("the key that was taken away in exchange for another one")
	secondKey = []byte("the second key")
	thirdKey  = []byte("the third key")
	otherKey  = []byte("the key of the other account")
)

// authServer is a server whose account has had its keys rotated, with a container, a blob and a snapshot that were there
// before.
type authServer struct {
	*testServer
	wire *wire
	at   string // the snapshot's time
	made int    // containers made by fresh
	held int    // of those, the ones in immutable storage
}

// openWithKeys opens a service on fs whose testAccount has those keys.
func openWithKeys(t *testing.T, fs map[string]vfs.FS, keys ...[]byte) *blobstore.Service {
	t.Helper()
	service, err := blobstore.Open(blobstore.Options{
		Accounts: []blobstore.AccountOptions{{Name: testAccount, Keys: keys, Premium: true, Immutable: blobstore.ImmutableStorage{Containers: heldContainers()}},
			{Name: otherAccount, Keys: [][]byte{otherKey}}},
		ContainerDays: 7,
		Store: func(account string) (pagestore.Options, error) {
			return pagestore.Options{FS: fs[account], Dir: "index", MasterKey: pagestore.MasterKey{1}, Members: []replication.Member{{FS: fs[account], Dir: "replica-1"}}}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return service
}

// startAuth starts a server of which the first of the keys it was set up with is gone.
func startAuth(t *testing.T) *authServer {
	t.Helper()
	fs := map[string]vfs.FS{testAccount: vfs.NewMem(), otherAccount: vfs.NewMem()}
	service := openWithKeys(t, fs, firstKey, secondKey)
	before := &authServer{testServer: newServer(t, func(o *Options) {
		o.Service, o.AllowPublicAccess, o.Bearer, o.BearerOverHTTP = service, true, unsignedTokens(t), true
	})}
	before.serve(t)
	before.allowBrowsers(t)
	at := before.fill(t, "disks", "", byKey(firstKey))
	before.fill(t, "other", "", byKey(firstKey))
	before.wire.Close()
	if err := before.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := service.Close(); err != nil {
		t.Fatal(err)
	}
	service = openWithKeys(t, fs, secondKey, thirdKey)
	t.Cleanup(func() {
		if err := service.Close(); err != nil {
			t.Error(err)
		}
	})
	s := &authServer{at: at, testServer: newServer(t, func(o *Options) {
		o.Service, o.AllowPublicAccess, o.Bearer, o.BearerOverHTTP = service, true, unsignedTokens(t), true
		o.CopySourceAllow = []string{"127.0.0.1"}
	})}
	s.serve(t)
	return s
}

// fill makes a container with blob b, of which there is a snapshot, and a blob called source, and returns the snapshot's
// time. The container has a policy named good and one named old, which has expired.
func (s *authServer) fill(t *testing.T, container, public string, key credential) (at string) {
	t.Helper()
	do := func(method, path, headers, body string) *answer {
		t.Helper()
		c := authCase{path: path, header: lines(headers), body: body}
		c.path, c.query, _ = strings.Cut(path, "?")
		a := s.ask(t, key(c.request(method)))
		if a.StatusCode >= 300 {
			t.Fatalf("%s %s: %s%s", method, path, a.raw, a.body)
		}
		return a
	}
	access := ""
	if public != "" {
		access = "x-ms-blob-public-access: " + public
	}
	do("PUT", container+"?restype=container", access, "")
	do("PUT", container+"?restype=container&comp=acl", access, "<SignedIdentifiers>"+
		"<SignedIdentifier><Id>good</Id><AccessPolicy><Expiry>2100-01-01T00:00:00Z</Expiry><Permission>racwdxyltfi</Permission></AccessPolicy></SignedIdentifier>"+
		"<SignedIdentifier><Id>old</Id><AccessPolicy><Expiry>2020-01-01T00:00:00Z</Expiry><Permission>racwdxyltfi</Permission></AccessPolicy></SignedIdentifier>"+
		"</SignedIdentifiers>")
	do("PUT", container+"/b", pageBlobHeaders+"|x-ms-tags: a=b", "")
	do("PUT", container+"/b?comp=page", updateHeaders, strings.Repeat("p", 512))
	do("PUT", container+"/source", pageBlobHeaders, "")
	return do("PUT", container+"/b?comp=snapshot", "", "").Header.Get("x-ms-snapshot")
}

// fresh makes a container that a test may change as it likes.
func (s *authServer) fresh(t *testing.T, public string) (container, at string) {
	t.Helper()
	s.made++
	container = fmt.Sprintf("fresh%d", s.made)
	return container, s.fill(t, container, public, byKey(thirdKey))
}

// picture returns all that a request could have changed of the service and of containers disks and other.
func (s *authServer) picture(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	for _, p := range []string{"?restype=service&comp=properties", "?comp=list&include=metadata", "disks?restype=container&comp=acl",
		"disks?restype=container", "disks?restype=container&comp=list&include=snapshots,metadata,tags,copy", "disks/b", "disks/source",
		"other?restype=container&comp=list&include=snapshots,metadata,tags,copy"} {
		path, query, _ := strings.Cut(p, "?")
		c := authCase{path: path, query: query}
		a := s.ask(t, byKey(thirdKey)(c.request("GET")))
		for name, values := range byName(a.Header) {
			if !slices.Contains([]string{"Date", "X-Ms-Request-Id"}, name) {
				fmt.Fprintf(&b, "%s %q\n", name, values)
			}
		}
		fmt.Fprintf(&b, "%s %d %s\n", p, a.StatusCode, a.body)
	}
	return b.String()
}

// byName goes through headers in the order of their names.
func byName(h http.Header) func(yield func(string, []string) bool) {
	return func(yield func(string, []string) bool) {
		for _, name := range slices.Sorted(maps.Keys(h)) {
			if !yield(name, h[name]) {
				return
			}
		}
	}
}

// authRequest is a request that is being given credentials.
type authRequest struct {
	account     string // that signs
	method      string
	path, query string // the query with its question mark, or ""
	header      []string
	body        []byte
}

// with adds a parameter to the query.
func (r *authRequest) with(parameters string) *authRequest {
	if r.query == "" {
		r.query = "?" + parameters
	} else {
		r.query += "&" + parameters
	}
	return r
}

// credential gives credentials to a request, and returns it. It may change it besides.
type credential func(r *authRequest) *authRequest

// ask sends a request on the server's connection.
func (s *authServer) ask(t *testing.T, r *authRequest) *answer {
	t.Helper()
	if s.wire == nil {
		s.wire = s.dial(t)
	}
	s.wire.t = t
	s.wire.SetDeadline(time.Now().Add(patience))
	s.wire.send([]byte(r.method+" "+r.path+r.query+" HTTP/1.1\r\n"+strings.Join(r.header, "\r\n")+"\r\n\r\n"), r.body)
	a := s.wire.recv(r.method)
	if a.Close {
		s.wire.Close()
		s.wire = nil
	}
	return &a
}

// moment returns a time, from now, as tokens have it.
func moment(fromNow time.Duration) string {
	return time.Now().Add(fromNow).UTC().Format(time.RFC3339)
}

// signedAt signs as its account with a key; lite by the other scheme.
func signedAt(key []byte, date string, lite bool) credential {
	return func(r *authRequest) *authRequest {
		if date != "" {
			r.header = append(r.header, "x-ms-date: "+date)
		}
		s := signing.Request{Method: []byte(r.method), RawPath: []byte(r.path), Query: new(query.Set), Headers: new(header.Set), PathAccount: testAccount}
		if strings.HasPrefix(r.path, "/"+testAccount+"-secondary/") {
			s.PathAccount += "-secondary"
		}
		if err := s.Query.Parse([]byte(strings.TrimPrefix(r.query, "?"))); err != nil {
			panic(err)
		}
		for _, line := range r.header {
			name, value, _ := strings.Cut(line, ":")
			if err := s.Headers.Add([]byte(name), []byte(strings.TrimSpace(value))); err != nil {
				panic(err)
			}
		}
		sign := signing.Sign
		if lite {
			sign = signing.SignLite
		}
		r.header = append(r.header, "Authorization: "+sign(&s, r.account, key))
		return r
	}
}

func byKey(key []byte) credential {
	return func(r *authRequest) *authRequest {
		return signedAt(key, time.Now().UTC().Format(http.TimeFormat), false)(r)
	}
}

// authorization sends the value as it is.
func authorization(value string) credential {
	return func(r *authRequest) *authRequest {
		r.header = append(r.header, "x-ms-date: "+time.Now().UTC().Format(http.TimeFormat), "Authorization: "+value)
		return r
	}
}

// withBearer sends a token as Microsoft Entra ID makes them, which nobody has signed, and which is good for that long.
func withBearer(audience string, life time.Duration) credential {
	part := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	now := time.Now().Add(-time.Hour).Unix()
	return authorization("Bearer " + part(`{"alg":"RS256","typ":"JWT"}`) + "." + part(fmt.Sprintf(`{"aud":%q,"iss":"https://sts.windows.net/tenant/",`+
		`"iat":%d,"nbf":%d,"exp":%d,"oid":"user","tid":"tenant"}`, audience, now, now, time.Now().Add(life).Unix())) + "." + part("nobody"))
}

const forStorage = "https://storage.azure.com"

// before changes a request, which is then signed; after changes one that is already signed.
func (c credential) before(change func(r *authRequest)) credential {
	return func(r *authRequest) *authRequest {
		change(r)
		return c(r)
	}
}

func (c credential) after(change func(r *authRequest)) credential {
	return func(r *authRequest) *authRequest {
		r = c(r)
		change(r)
		return r
	}
}

// signedFor signs the request as another one, and sends this.
func (c credential) signedFor(change func(r *authRequest)) credential {
	return func(r *authRequest) *authRequest {
		method, path, query := r.method, r.path, r.query
		change(r)
		added, r := r.query, c(r)
		r.method, r.path, r.query = method, path, query+strings.TrimPrefix(r.query, added)
		return r
	}
}

// authToken is a shared access signature in the making.
type authToken struct {
	account   string // that it names
	key       []byte
	container string // that it is for, if it is a service SAS
	blob      string // "": the container
	fields    map[string]string
}

// accountToken and serviceToken are good for all that their letters say, for an hour.
func accountToken(types, letters string) authToken {
	return authToken{account: testAccount, key: thirdKey, fields: map[string]string{"sv": "2021-12-02", "ss": "b", "srt": types, "sp": letters, "se": moment(time.Hour)}}
}

func serviceToken(container, blob, letters string) authToken {
	t := authToken{account: testAccount, key: thirdKey, container: container, blob: blob, fields: map[string]string{"sv": "2021-12-02", "sr": "c", "sp": letters, "se": moment(time.Hour)}}
	if blob != "" {
		t.fields["sr"] = "b"
	}
	return t
}

// delegated makes the token one of a user, whose key was made under a key of the account.
func (t authToken) delegated(k sas.KeyFields) authToken {
	key := sas.DelegationKey(t.key, &k)
	return t.with("skoid", k.ObjectID, "sktid", k.TenantID, "skt", k.Start, "ske", k.Expiry, "sks", k.Service, "skv", k.Version).signedWith(key)
}

func userKey(start, expiry time.Duration) sas.KeyFields {
	return sas.KeyFields{ObjectID: "user", TenantID: "tenant", Start: moment(start), Expiry: moment(expiry), Service: "b", Version: "2021-12-02"}
}

func (t authToken) signedWith(key []byte) authToken {
	t.key = key
	return t
}

func (t authToken) of(account string) authToken {
	t.account = account
	return t
}

// with sets fields given as name, value, name, value…; an empty value takes one away.
func (t authToken) with(pairs ...string) authToken {
	t.fields = maps.Clone(t.fields)
	for i := 0; i+1 < len(pairs); i += 2 {
		t.fields[pairs[i]] = pairs[i+1]
	}
	return t
}

// sign returns the signature, by the rules of version 2021-12-02, which are written down here once more.
func (t *authToken) sign() string {
	f := func(names ...string) (values []string) {
		for _, n := range names {
			values = append(values, t.fields[n])
		}
		return values
	}
	var text []string
	if t.fields["srt"] != "" {
		text = append([]string{t.account}, f("sp", "ss", "srt", "st", "se", "sip", "spr", "sv", "ses", "none")...)
	} else {
		resource := "/blob/" + t.account + "/" + t.container
		if t.blob != "" {
			resource += "/" + t.blob
		}
		text = append(f("sp", "st", "se"), resource)
		if t.fields["skoid"] != "" {
			text = append(text, f("skoid", "sktid", "skt", "ske", "sks", "skv", "saoid", "suoid", "scid")...)
		} else {
			text = append(text, f("si")...)
		}
		text = append(text, f("sip", "spr", "sv", "sr", "snapshot", "ses", "rscc", "rscd", "rsce", "rscl", "rsct")...)
	}
	m := hmac.New(sha256.New, t.key)
	m.Write([]byte(strings.Join(text, "\n")))
	return base64.StdEncoding.EncodeToString(m.Sum(nil))
}

// credential sends the token; changed is put in place of fields after it was signed.
func (t authToken) credential(changed ...string) credential {
	return func(r *authRequest) *authRequest {
		signature := t.sign()
		v := url.Values{"sig": {signature}}
		for name, value := range t.with(changed...).fields {
			if value != "" {
				v.Set(name, value)
			}
		}
		return r.with(v.Encode())
	}
}

// authFailure is a way of not being let in, and the codes with which that may be told.
type authFailure struct {
	name  string
	give  credential
	codes string // separated by blanks
}

const (
	authFailed     = "AuthenticationFailed"
	notPermitted   = "AuthorizationPermissionMismatch AuthorizationFailure" // the latter where no such token will do
	wrongType      = "AuthorizationResourceTypeMismatch AuthorizationFailure"
	neverForTokens = "AuthorizationFailure"
)

// strangers are the failures of signed requests, and of those that have nothing.
func strangers() []authFailure {
	now := time.Now().UTC()
	at := func(d time.Duration) string { return now.Add(d).Format(http.TimeFormat) }
	failures := []authFailure{
		{"no credentials", func(r *authRequest) *authRequest { return r }, "NoAuthenticationInformation"},
		{"no credentials, and an old version", func(r *authRequest) *authRequest { r.header[1] = "x-ms-version: 2019-07-07"; return r }, "ResourceNotFound"},
		{"empty Authorization", authorization(""), "InvalidAuthenticationInfo"},
		{"a scheme that nobody knows", authorization("Basic dTpw"), "InvalidAuthenticationInfo"},
		{"a bearer token that is none", authorization("Bearer eyJhbGciOiJub25lIn0.e30."), "InvalidAuthenticationInfo AuthenticationFailed"},
		{"a bearer token that has expired", withBearer(forStorage, -time.Minute*10), "InvalidAuthenticationInfo AuthenticationFailed"},
		{"a bearer token for something else", withBearer("https://vault.azure.net", time.Hour), "InvalidAuthenticationInfo AuthenticationFailed"},
		{"a signature of zeros", authorization("SharedKey " + testAccount + ":AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="), authFailed},
		{"no date", signedAt(thirdKey, "", false), authFailed},
		{"a date that is none", signedAt(thirdKey, "yesterday", false), authFailed},
		{"another account's name and key", byKey(otherKey).before(func(r *authRequest) { r.account = otherAccount }), authFailed},
		{"another account's name, our key", byKey(thirdKey).before(func(r *authRequest) { r.account = otherAccount }), authFailed},
	}
	for _, lite := range []bool{false, true} {
		signed := func(key []byte, d time.Duration) credential { return signedAt(key, at(d), lite) }
		good := signed(thirdKey, 0)
		scheme := map[bool]string{false: "SharedKey: ", true: "SharedKeyLite: "}[lite]
		failures = append(failures,
			authFailure{scheme + "the key that was rotated away", signed(firstKey, 0), authFailed},
			authFailure{scheme + "another account's key", signed(otherKey, 0), authFailed},
			authFailure{scheme + "an empty key", signed(nil, 0), authFailed},
			authFailure{scheme + "16 minutes ago", signed(thirdKey, -16*time.Minute), authFailed},
			authFailure{scheme + "in 16 minutes", signed(thirdKey, 16*time.Minute), authFailed},
			authFailure{scheme + "the signature of another verb", good.signedFor(func(r *authRequest) {
				r.method = map[bool]string{true: "PUT", false: "GET"}[r.method == "GET"]
			}), authFailed},
			authFailure{scheme + "the signature of another resource", good.signedFor(func(r *authRequest) { r.path += "x" }), authFailed},
			authFailure{scheme + "the signature of another operation", good.signedFor(func(r *authRequest) {
				r.query = map[bool]string{true: "?comp=lists", false: "?comp=list"}[strings.Contains(r.query, "comp=list")]
			}), authFailed},
			authFailure{scheme + "a header of ours that came later", good.after(func(r *authRequest) { r.header = append(r.header, "x-ms-client-request-id: 1") }), authFailed},
			authFailure{scheme + "a version that came later", good.after(func(r *authRequest) { r.header[1] = "x-ms-version: 2026-10-06" }), authFailed},
			authFailure{scheme + "a type that came later", good.before(func(r *authRequest) {
				r.header = slices.DeleteFunc(r.header, func(l string) bool { return strings.HasPrefix(l, "Content-Type") })
			}).after(func(r *authRequest) { r.header = append(r.header, "Content-Type: multipart/mixed; boundary=b") }), authFailed},
		)
		if !lite { // which has less of the request in it
			failures = append(failures,
				authFailure{scheme + "a parameter that came later", good.after(func(r *authRequest) { r.with("timeout=1") }), authFailed},
				authFailure{scheme + "a condition that came later", good.after(func(r *authRequest) { r.header = append(r.header, "If-None-Match: *") }), authFailed})
		}
	}
	return failures
}

// withoutToken are the failures of tokens, for the case.
func (c *authCase) withoutToken() (failures []authFailure) {
	container, blob, _ := strings.Cut(c.path, "/")
	whole := map[string]authToken{"account SAS": accountToken("sco", anyPermission)}
	if container == "" { // which a token for a container is not for, whatever it says
		failures = append(failures, authFailure{"container SAS", serviceToken("disks", "", anyPermission).credential(), authFailed})
	} else {
		whole["container SAS"] = serviceToken(container, "", anyPermission)
	}
	if blob != "" {
		whole["blob SAS"] = serviceToken(container, blob, anyPermission)
		whole["user's SAS"] = whole["blob SAS"].delegated(userKey(-time.Hour, time.Hour))
	} else if container != "" {
		failures = append(failures, authFailure{"blob SAS", serviceToken(container, "b", anyPermission).credential(), authFailed})
	}
	for kind, t := range whole {
		add := func(name string, c credential, codes string) {
			failures = append(failures, authFailure{kind + ": " + name, c, codes})
		}
		account := kind == "account SAS"
		user := kind == "user's SAS"
		if !c.service && !account || c.types == "" {
			add("everything permitted", t.credential(), neverForTokens)
		}
		for i, need := range c.needs {
			switch {
			case c.creates:
				add("permission to create", t.with("sp", without(anyPermission, need)).credential(), "UnauthorizedBlobOverwrite")
				add("all other permissions", t.with("sp", without(anyPermission, "c"+need)).credential(), notPermitted)
			case need != anyPermission:
				add(fmt.Sprintf("all permissions but %s (%d)", need, i), t.with("sp", without(anyPermission, need)).credential(), notPermitted)
			}
			add(fmt.Sprintf("a permission nobody knows, not %s (%d)", need, i), t.with("sp", "z").credential(), notPermitted)
		}
		if account && c.types != "sco" && c.types != "" {
			add("the other resource types", t.with("srt", without("sco", c.types)).credential(), wrongType)
		}
		if account {
			add("for other services", t.with("ss", "qtf").credential(), "AuthorizationServiceMismatch")
			add("named for the other account", t.of(otherAccount).credential(), authFailed)
			add("types that came later", t.with("srt", "s").credential("srt", "sco"), authFailed)
		}
		add("expired", t.with("se", moment(-time.Second)).credential(), authFailed)
		add("not yet valid", t.with("st", moment(time.Hour)).credential(), authFailed)
		add("from elsewhere", t.with("sip", "10.0.0.1").credential(), "AuthorizationSourceIPMismatch")
		add("from a range elsewhere", t.with("sip", "10.0.0.1-10.0.0.9").credential(), "AuthorizationSourceIPMismatch")
		add("for https alone", t.with("spr", "https").credential(), "AuthorizationProtocolMismatch")
		add("permissions that came later", t.with("sp", "z").credential("sp", anyPermission), authFailed)
		add("an expiry that came later", t.credential("se", moment(2*time.Hour)), authFailed)
		add("a start taken away", t.with("st", moment(time.Hour)).credential("st", ""), authFailed)
		add("an address taken away", t.with("sip", "10.0.0.1").credential("sip", ""), authFailed)
		add("a protocol taken away", t.with("spr", "https").credential("spr", ""), authFailed)
		add("the key that was rotated away", t.rekeyed(firstKey).credential(), authFailed)
		add("another account's key", t.rekeyed(otherKey).credential(), authFailed)
		add("a signature of zeros", t.credential().after(func(r *authRequest) {
			before, _, _ := strings.Cut(r.query, "sig=")
			r.query = before + "sig=" + url.QueryEscape("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=") + "&sv=2021-12-02"
		}), authFailed)
		add("beside a bad signature", t.credential().after(func(r *authRequest) {
			r.header = append(r.header, "x-ms-date: "+time.Now().UTC().Format(http.TimeFormat), "Authorization: SharedKey "+testAccount+":AAAA")
		}), authFailed)
		if account {
			continue
		}
		other := t
		other.container = "other"
		add("for another container", other.credential(), authFailed)
		add("for the other account", t.of(otherAccount).credential(), authFailed)
		add("as an account SAS", t.credential("sr", "", "srt", "sco", "ss", "b"), authFailed)
		if t.blob == "" {
			add("turned into one for a blob", t.credential("sr", "b"), authFailed)
		} else {
			other = t
			other.blob = "source"
			add("for another blob", other.credential(), authFailed)
			add("turned into one for the container", t.credential("sr", "c"), authFailed)
			add("for a snapshot", t.with("sr", "bs", "snapshot", "2020-01-01T00:00:00.0000000Z").credential("snapshot", ""), authFailed)
		}
		if user {
			add("the user's key has expired", whole["blob SAS"].delegated(userKey(-2*time.Hour, -time.Hour)).credential(), authFailed)
			add("the user's key is not yet valid", whole["blob SAS"].delegated(userKey(time.Hour, 2*time.Hour)).credential(), authFailed)
			add("another user", t.credential("skoid", "other"), authFailed)
			add("another tenant", t.credential("sktid", "other"), authFailed)
			add("a longer life of the user's key", t.credential("ske", moment(2*time.Hour)), authFailed)
			continue
		}
		add("a policy that is not there", t.with("si", "revoked", "sp", "", "se", "").credential(), authFailed)
		add("a policy that has expired", t.with("si", "old", "sp", "", "se", "").credential(), authFailed)
		if c.op != op.CreateContainer { // which has no policies yet
			add("what the policy says, said again", t.with("si", "good").credential(), "InvalidQueryParameterValue")
		}
		add("turned to another policy", t.with("si", "old", "sp", "", "se", "").credential("si", "good"), authFailed)
	}
	return failures
}

// rekeyed signs with another key of an account.
func (t authToken) rekeyed(key []byte) authToken {
	if t.fields["skoid"] == "" {
		return t.signedWith(key)
	}
	f := t.fields
	return t.signedWith(sas.DelegationKey(key, &sas.KeyFields{ObjectID: f["skoid"], TenantID: f["sktid"], Start: f["skt"], Expiry: f["ske"],
		Service: f["sks"], Version: f["skv"]}))
}

// without returns the letters that are not among others.
func without(letters, others string) string {
	return strings.Map(func(c rune) rune {
		if strings.ContainsRune(others, c) {
			return -1
		}
		return c
	}, letters)
}

// refusesWho are the codes of requests that are not let in. Whatever else a request gets, it was let in.
var refusesWho = []string{"NoAuthenticationInformation", "ResourceNotFound", "InvalidAuthenticationInfo", "AuthenticationFailed", "AuthorizationFailure",
	"AuthorizationPermissionMismatch", "AuthorizationResourceTypeMismatch", "AuthorizationServiceMismatch", "AuthorizationSourceIPMismatch",
	"AuthorizationProtocolMismatch", "UnauthorizedBlobOverwrite", "PublicAccessNotPermitted"}

func (a *answer) code() string { return a.Header.Get("x-ms-error-code") }

// letIn reports whether the request got past the question who is asking.
func (a *answer) letIn() bool { return !slices.Contains(refusesWho, a.code()) }

// batchOf returns the body of a batch of one request.
func batchOf(r *authRequest) string {
	header := slices.DeleteFunc(slices.Clone(r.header), func(l string) bool { return strings.HasPrefix(l, "x-ms-version:") })
	return "--b\r\nContent-Type: application/http\r\nContent-ID: 0\r\n\r\n" + r.method + " " + r.path + r.query + " HTTP/1.1\r\n" +
		strings.Join(header, "\r\n") + "\r\n\r\n\r\n--b--\r\n"
}

// deletion is a request to delete blob b of the container, as a part of a batch has it: the batch has the version.
func deletion(container string) *authRequest {
	c := authCase{path: container + "/b", header: []string{"x-ms-delete-snapshots: include"}}
	r := c.request("DELETE")
	r.header = slices.DeleteFunc(r.header, func(l string) bool { return strings.HasPrefix(l, "x-ms-version:") })
	return r
}

// TestNobodyGetsThrough: no operation, done or refused, can be had by any of the ways in which a request can lack the
// right to it, each is told in the code that the reference has for it, and nothing changes.
func TestNobodyGetsThrough(t *testing.T) {
	s := startAuth(t)
	want := s.picture(t)
	if !strings.Contains(want, s.at) || strings.Count(want, "\n") < 20 || !strings.Contains(want, "good") {
		t.Fatalf("the picture shows nothing:\n%s", want)
	}
	asked := 0
	for _, c := range authCases() {
		if c.anybody {
			continue // see TestEverybodyGetsThrough
		}
		c = c.on("disks", s.at, batchOf(byKey(thirdKey)(deletion("disks"))))
		failures := slices.Concat(strangers(), c.withoutToken())
		if c.bearerOnly {
			failures = append(failures, authFailure{"a key of the account", byKey(thirdKey), authFailed})
		}
		if c.noRole {
			failures = append(failures, authFailure{"a bearer token", withBearer(forStorage, time.Hour), notPermitted})
		}
		for _, f := range failures {
			for _, method := range op.Table[c.op-1].Methods {
				a := s.ask(t, f.give(c.request(method)))
				asked++
				if a.StatusCode < 400 || !slices.Contains(strings.Fields(f.codes), a.code()) {
					t.Errorf("%s %s, %s: got %d %s, want %s\n%s", method, c.name(), f.name, a.StatusCode, a.code(), f.codes, a.body)
				}
			}
		}
		if got := s.picture(t); got != want {
			t.Fatalf("%s: something has changed:\n%s\nwas\n%s", c.name(), got, want)
		}
	}
	t.Logf("%d requests", asked)
}

// TestNoPartGetsThrough: the same for a request that is part of a batch whose sender is known.
func TestNoPartGetsThrough(t *testing.T) {
	s := startAuth(t)
	want := s.picture(t)
	for _, c := range authCases() {
		if c.op != op.ServiceBatch && c.op != op.ContainerBatch {
			continue
		}
		part := authCase{op: op.DeleteBlob, path: "disks/b", types: "o", needs: []string{"d"}, service: true}
		for _, f := range slices.Concat(strangers(), part.withoutToken()) {
			if strings.Contains(f.name, "version") {
				continue // parts have none
			}
			c := c.on("disks", s.at, batchOf(f.give(deletion("disks"))))
			a := s.ask(t, byKey(thirdKey)(c.request("POST")))
			told := slices.ContainsFunc(strings.Fields(f.codes), func(code string) bool { return bytes.Contains(a.body, []byte("x-ms-error-code: "+code+"\r\n")) })
			if a.StatusCode != 202 || !told {
				t.Errorf("%s, %s: got %d, want a part with %s\n%s", c.name(), f.name, a.StatusCode, f.codes, a.body)
			}
		}
	}
	if got := s.picture(t); got != want {
		t.Fatalf("something has changed:\n%s\nwas\n%s", got, want)
	}
	// And that it is these requests that would delete the blob.
	container, _ := s.fresh(t, "")
	c := authCase{path: "", query: "comp=batch", header: []string{"Content-Type: multipart/mixed; boundary=b"}, body: batchOf(byKey(thirdKey)(deletion(container)))}
	if a := s.ask(t, byKey(thirdKey)(c.request("POST"))); a.StatusCode != 202 || !bytes.Contains(a.body, []byte("HTTP/1.1 202")) {
		t.Errorf("got %d %s", a.StatusCode, a.body)
	}
}

// TestWhoGetsThrough: each operation is let in by either key in both schemes, and by each kind of token that permits just
// what it needs, one letter of each set and no more. What is done then succeeds.
func TestWhoGetsThrough(t *testing.T) {
	s := startAuth(t)
	try := func(c authCase, name string, give func(container, blob string) credential) {
		t.Helper()
		for _, method := range op.Table[c.op-1].Methods {
			container, at := s.freshFor(t, &c)
			k := c.on(container, at, batchOf(byKey(thirdKey)(deletion(container))))
			if k.ready != nil {
				k.ready(t, s, &k, container)
			}
			_, blob, _ := strings.Cut(k.path, "/")
			a := s.ask(t, give(container, blob)(k.request(method)))
			row := &op.Table[c.op-1]
			switch {
			case !a.letIn():
				t.Errorf("%s %s, %s: got %d %s\n%s", method, c.name(), name, a.StatusCode, a.code(), a.body)
			case row.State == op.Refused && a.code() != row.Refusal.Wire():
				t.Errorf("%s %s, %s: got %d %s, want %s\n%s", method, c.name(), name, a.StatusCode, a.code(), row.Refusal.Wire(), a.body)
			case row.State != op.Refused && a.StatusCode >= 300 && !c.unsure:
				t.Errorf("%s %s, %s: got %d %s, want a success\n%s", method, c.name(), name, a.StatusCode, a.code(), a.body)
			}
		}
	}
	for _, c := range authCases() {
		if !c.noRole {
			try(c, "bearer token", func(string, string) credential { return withBearer(forStorage, time.Hour) })
		}
		for name, key := range map[string][]byte{"second key": secondKey, "third key": thirdKey} {
			if c.bearerOnly {
				break
			}
			for scheme, lite := range map[string]bool{"SharedKey": false, "SharedKeyLite": true} {
				try(c, scheme+", "+name, func(string, string) credential {
					return signedAt(key, time.Now().Add(-14*time.Minute).UTC().Format(http.TimeFormat), lite)
				})
			}
		}
		for _, letters := range choices(c.needs) {
			for i := range len(c.types) {
				kind := c.types[i : i+1]
				try(c, "account SAS for "+kind+" with "+letters, func(string, string) credential {
					return accountToken(kind, letters).with("sip", "127.0.0.1-127.0.0.9", "spr", "https,http", "st", moment(-time.Minute)).credential()
				})
			}
			if !c.service || c.path == "" {
				continue
			}
			try(c, "container SAS with "+letters, func(container, _ string) credential {
				return serviceToken(container, "", letters).credential()
			})
			try(c, "container SAS by policy", func(container, _ string) credential {
				return serviceToken(container, "", "").with("si", "good", "se", "").credential()
			})
			try(c, "user's container SAS with "+letters, func(container, _ string) credential {
				return serviceToken(container, "", letters).delegated(userKey(-time.Hour, time.Hour)).credential()
			})
			if strings.Contains(c.path, "/") {
				try(c, "blob SAS with "+letters, func(container, blob string) credential {
					return serviceToken(container, blob, letters).credential()
				})
			}
		}
	}
	t.Logf("%d requests", s.made)
}

// choices returns one letter of each set, in all ways that take a letter of one set in turn.
func choices(needs []string) (all []string) {
	for i, need := range needs {
		for _, letter := range need {
			letters := ""
			for j, other := range needs {
				if j != i {
					letters += other[:1]
				}
			}
			all = append(all, string(letter)+letters)
		}
	}
	return all
}

// TestEverybodyGetsThrough: in public containers, whoever asks may do just what is public there, and preflights are for
// everybody everywhere.
func TestEverybodyGetsThrough(t *testing.T) {
	s := startAuth(t)
	levels := []string{"", "blob", "container"} // each is public in what the next is
	for i, level := range levels {
		for _, c := range authCases() {
			container, at := s.fresh(t, level)
			c = c.on(container, at, batchOf(deletion(container)))
			public := c.anybody || c.public != "" && slices.Index(levels, c.public) <= i
			for _, method := range op.Table[c.op-1].Methods {
				if a := s.ask(t, c.request(method)); a.letIn() != public {
					t.Errorf("in a container that is public as %q, %s %s without credentials: got %d %s", level, method, c.name(), a.StatusCode, a.code())
				}
			}
		}
	}
}
