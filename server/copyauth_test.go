package server

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/blobstore"
	"pagevault/internal/testkit"
	"pagevault/pagestore"
	"pagevault/replication"
)

// lentToken returns a bearer token of a user that is good until then.
func lentToken(issuer *testkit.Issuer, user string, until time.Time) string {
	return issuer.Token(map[string]any{"aud": "https://storage.azure.com", "oid": user, "tid": "T", "exp": until.Unix()})
}

// lending makes the two accounts' server one that takes an issuer's tokens.
func lending(t *testing.T, roles string, change func(o *Options)) (*testServer, *testkit.Issuer, *logBuffer) {
	t.Helper()
	a, issuer, audit := takesTokens(t, roles)
	ts := startTwo(t, func(o *Options) {
		o.Bearer, o.BearerOverHTTP, o.Audit, o.AllowPublicAccess = a, true, audit, true
		if change != nil {
			change(o)
		}
	})
	return ts, issuer, audit
}

// from are the two requests that read a source with what x-ms-copy-source-authorization says, if it says something.
func from(source, authorization string, more ...string) [2]call {
	lines := append([]string{"x-ms-copy-source: " + source}, more...)
	if authorization != "" {
		lines = append(lines, "x-ms-copy-source-authorization: "+authorization)
	}
	return [2]call{{method: "PUT", path: "disks/copy", header: lines},
		{method: "PUT", path: "disks/b?comp=page", header: append([]string{"x-ms-page-write: update", "x-ms-range: bytes=0-511",
			"x-ms-source-range: bytes=2097152-2097663"}, lines...)}}
}

// TestCopySourceToken: a bearer token for a source on this server opens what its user may read there, and nothing else.
func TestCopySourceToken(t *testing.T) {
	ts, issuer, audit := lending(t, fmt.Sprintf("reader oid:R %[1]s/disks\nreader oid:R %[2]s/disks\nreader oid:O %[2]s/others\nowner oid:W %[2]s/disks\n",
		testAccount, secondAccount), nil)
	ts.makeBlob(t, 4096)
	c := ts.containerOf(t, secondAccount, "disks")
	_, want := fillDisk(t, c, "a")
	fillDisk(t, ts.containerOf(t, testAccount, "disks"), "own")
	later := time.Now().Add(time.Hour)
	other, own := "http://127.0.0.1/"+secondAccount+"/disks/a", "http://127.0.0.1/"+testAccount+"/disks/own"
	token := lentToken(issuer, "R", later)
	for _, source := range []string{other, own} {
		for i, scheme := range []string{"Bearer ", "bearer ", "BEARER "} {
			for _, c := range from(source, scheme+token) {
				a := ts.do(t, c)
				if a.StatusCode/100 != 2 {
					t.Fatalf("%s, %d: %s%s", source, i, a.raw, a.body)
				}
				ts.settled(t, "disks/copy")
			}
		}
	}
	a := ts.do(t, call{method: "GET", path: "disks/copy", header: []string{"x-ms-range: bytes=2097152-2097663"}})
	if string(a.body) != string(want[2<<20:][:512]) || a.Header.Get("x-ms-copy-status") != "success" || a.Header.Get("x-ms-copy-source") != own {
		t.Errorf("the copy: %s", a.raw)
	}
	if a := ts.do(t, call{method: "GET", path: "disks/b", header: []string{"x-ms-range: bytes=0-511"}}); string(a.body) != string(want[2<<20:][:512]) {
		t.Errorf("the page: %s", a.raw)
	}

	refused := func(status int, code, source, authorization string, more ...string) {
		t.Helper()
		for _, c := range from(source, authorization, more...) {
			a := ts.do(t, c)
			a.want(t, status, "CannotVerifyCopySource")
			if got := a.Header.Get("x-ms-copy-source-error-code"); got != code {
				t.Errorf("%s: the source's code %s, want %s", c.path, got, code)
			}
			untold(t, a.raw+string(a.body), authorization)
		}
	}
	for _, source := range []string{other, own} { // for the second, the key would do, but it is the token that counts
		refused(403, "AuthorizationPermissionMismatch", source, "Bearer "+lentToken(issuer, "O", later))
		refused(403, "AuthorizationPermissionMismatch", source, "Bearer "+lentToken(issuer, "nobody", later))
		refused(403, "InvalidAuthenticationInfo", source, "Bearer "+lentToken(issuer, "R", time.Now().Add(-time.Hour)))
		refused(403, "InvalidAuthenticationInfo", source, "Bearer "+token+"x")
		refused(403, "InvalidAuthenticationInfo", source, "Bearer x")
	}
	refused(403, "AuthorizationPermissionMismatch", other, "Bearer "+token, "x-ms-source-if-tags: a <> 'b'") // a reader of blobs is none of tags
	for _, c := range from(other, "Bearer "+lentToken(issuer, "W", later), "x-ms-source-if-tags: a = 'b'") {
		ts.do(t, c).want(t, 412, "SourceConditionNotMet")
	}
	refused(404, "BlobNotFound", other+"none", "Bearer "+token)
	refused(403, "AuthorizationPermissionMismatch", strings.Replace(other, "/disks/", "/others/", 1), "Bearer "+token)

	// What is public is read by the token too, where there is one.
	ts.do(t, call{method: "PUT", path: "disks?restype=container&comp=acl", header: []string{"x-ms-blob-public-access: blob"}}).want(t, 200, "")
	refused(403, "InvalidAuthenticationInfo", own, "Bearer x")

	bad := func(code, source, authorization string, more ...string) {
		t.Helper()
		for _, c := range from(source, authorization, more...) {
			a := ts.do(t, c)
			a.want(t, 400, code)
			if !strings.Contains(string(a.body), "<HeaderName>x-ms-copy-source-authorization</HeaderName>") {
				t.Errorf("%s", a.body)
			}
			untold(t, a.raw+string(a.body), authorization)
		}
	}
	for _, source := range []string{other, own, "http://192.0.2.1/a/b/c"} {
		for _, v := range []string{"Bearer", "Bearer ", "Basic " + token, token, "Bearer a b", "Bearer\t" + token, "SharedKey a:b", "Bearer " + token + " " + token} {
			bad("InvalidHeaderValue", source, v)
		}
		bad("InvalidHeaderValue", source+"?sv=2021-12-02&sig=x", "Bearer "+token)
		bad("InvalidHeaderValue", source+"?s%69g=x", "Bearer "+token)
		bad("UnsupportedHeader", source, "Bearer "+token, "x-ms-version: 2020-08-04")
	}
	a = ts.do(t, call{method: "PUT", path: "disks/inc?comp=incrementalcopy", header: []string{"x-ms-copy-source: " + other + "?snapshot=2020-01-01T00:00:00.0000000Z",
		"x-ms-copy-source-authorization: Bearer " + token}})
	a.want(t, 400, "UnsupportedHeader")
	untold(t, ts.log.String()+audit.String()+a.raw+string(a.body), token)
}

// untold fails the test if a text has a part of a bearer token, or something like one.
func untold(t *testing.T, text, authorization string) {
	t.Helper()
	for _, part := range strings.FieldsFunc(authorization, func(c rune) bool { return c == '.' || c == ' ' || c == '\t' }) {
		if len(part) >= 20 && strings.Contains(text, part[:20]) {
			t.Errorf("%q is told:\n%s", part[:20], text)
		}
	}
}

// TestCopySecretsAtRest: what opens a source is in no file, while its copy is pending and afterwards.
func TestCopySecretsAtRest(t *testing.T) {
	const secret = "c2VjcmV0c2VjcmV0c2VjcmV0"
	fs := vfs.NewMem()
	blobs, err := blobstore.Open(blobstore.Options{
		Accounts: []blobstore.AccountOptions{{Name: testAccount, Keys: [][]byte{mustKey(t)}}},
		Store: func(string) (pagestore.Options, error) {
			return pagestore.Options{FS: fs, Dir: "index", MasterKey: pagestore.MasterKey{1}, Members: []replication.Member{{FS: fs, Dir: "replica-1"}}}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	web := newSlowSource(t)
	shown := web.URL + "/account/disks/disk"
	look := func(when string) {
		t.Helper()
		// The index is made from what the member has, and compressed: what it has none of the index has not either.
		if !filesHold(t, fs, "replica-1", shown) {
			t.Errorf("%s: not even the URL as it is shown is there: this test must find it some other way", when)
		}
		for _, dir := range []string{"index", "replica-1"} {
			if filesHold(t, fs, dir, secret) || filesHold(t, fs, dir, "sig=") {
				t.Errorf("%s: %s holds what opens the source", when, dir)
			}
		}
	}
	t.Cleanup(func() {
		if err := blobs.Close(); err != nil {
			t.Error(err)
		}
		look("when all is closed")
	})
	ts := start(t, func(o *Options) {
		o.Service, o.CopySourceAllow, o.BearerOverHTTP = blobs, []string{"127.0.0.1"}, true
	})
	ts.makeBlob(t, 4096)
	for what, c := range map[string]call{
		"a token":                    from(shown, "Bearer "+secret)[0],
		"a signature":                from(shown+"?sv=2021-12-02&sig="+secret, "")[0],
		"a signature for a snapshot": {method: "PUT", path: "disks/inc?comp=incrementalcopy", header: []string{"x-ms-copy-source: " + shown + "?sig=" + secret + "&snapshot=" + neverTaken}},
	} {
		ts.do(t, c).want(t, 202, "")
		<-web.asked
		look(what + ", while it is pending")
		web.give <- http.StatusPartialContent
		path, _, _ := strings.Cut(c.path, "?")
		if a := ts.settled(t, path); a.Header.Get("x-ms-copy-status") != "success" {
			t.Errorf("%s: %s", what, a.raw)
		}
		look(what + ", at the end")
	}
}

// filesHold reports whether any file below a directory holds a text.
func filesHold(t *testing.T, fs vfs.FS, dir, text string) bool {
	t.Helper()
	names, err := fs.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		path := fs.PathJoin(dir, name)
		info, err := fs.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.IsDir() {
			if filesHold(t, fs, path, text) {
				return true
			}
			continue
		}
		file, err := fs.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		p, err := io.ReadAll(file)
		if err = errors.Join(err, file.Close()); err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(p, []byte(text)) {
			return true
		}
	}
	return false
}

// settled waits until a copy to a blob has ended.
func (ts *testServer) settled(t *testing.T, path string) (a answer) {
	t.Helper()
	eventually(t, "the end of a copy", func() bool {
		a = ts.do(t, call{method: "HEAD", path: path})
		return a.Header.Get("x-ms-copy-status") != "pending"
	})
	return a
}

// TestCopySourceTokenUnknown: where no bearer tokens are taken, or not over plain HTTP, none opens a source.
func TestCopySourceTokenUnknown(t *testing.T) {
	ts := startTwo(t, nil)
	ts.makeBlob(t, 4096)
	own := "http://127.0.0.1/" + testAccount + "/disks/b"
	for _, c := range from(own, "Bearer x") {
		ts.do(t, c).want(t, 403, "CannotVerifyCopySource")
	}
	ts, issuer, _ := lending(t, "owner oid:A *\n", func(o *Options) { o.BearerOverHTTP, o.CopySourceAllow = false, []string{"127.0.0.1"} })
	ts.makeBlob(t, 4096)
	token := lentToken(issuer, "A", time.Now().Add(time.Hour))
	for _, c := range from(own, "Bearer "+token) {
		a := ts.do(t, c)
		a.want(t, 403, "CannotVerifyCopySource")
		if a.Header.Get("x-ms-copy-source-error-code") != "AuthenticationFailed" {
			t.Errorf("%s", a.raw)
		}
	}
	ts, issuer, _ = lending(t, "owner oid:A *\n", nil)
	ts.makeBlob(t, 4096)
	issuer.SetDown(true) // nobody can say whose token it is: come again
	for _, c := range from(own, "Bearer "+token) {
		ts.do(t, c).want(t, 503, "ServerBusy")
	}
}

// TestCopySourceTokenInClear: a token for another server neither comes nor is sent on over plain HTTP, unless the operator has
// said that tokens may come so; then it is sent on so to hosts that are allowed by name.
func TestCopySourceTokenInClear(t *testing.T) {
	asked := make(chan string, 10)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Header.Get("Authorization")
		w.WriteHeader(http.StatusTeapot)
	}))
	defer web.Close()
	_, port, _ := strings.Cut(strings.TrimPrefix(web.URL, "http://"), ":")
	// The source is called with each scheme; a status of 404 says that it was, over https, which it does not speak.
	f := func(secure, overHTTP bool, allow, host string, http, https int) {
		t.Helper()
		ts := start(t, func(o *Options) {
			o.CopySourceAllow, o.BearerOverHTTP = strings.Fields(allow), overHTTP
			if secure {
				o.TLS = borrowedTLS(t)
			}
		})
		do := func(c call) answer {
			w := ts.dial(t)
			defer w.Close()
			if secure {
				w.Conn = tls.Client(w.Conn, &tls.Config{InsecureSkipVerify: true}) // borrowed, and not for this name
				w.in = bufio.NewReader(w.Conn)
			}
			w.send(c.bytes(t), c.body)
			return w.recv(c.method)
		}
		do(makeContainer).want(t, 201, "")
		for scheme, status := range map[string]int{"http": http, "HTTP": http, "https": https, "HTTPS": https} {
			for _, c := range from(scheme+"://"+host+":"+port+"/a/b/c", "Bearer x") {
				a := do(c)
				a.want(t, status, "CannotVerifyCopySource")
				if code := a.Header.Get("x-ms-copy-source-error-code"); (code == "AuthenticationFailed") != (!secure && !overHTTP) {
					t.Errorf("%s over %s: the source's code is %s", host, scheme, code)
				}
				if status == 418 && <-asked != "Bearer x" {
					t.Errorf("%s over %s: another token was sent", host, scheme)
				}
			}
		}
		select {
		case token := <-asked:
			t.Errorf("TLS %v, over HTTP %v, allowed %s: %s was sent %q", secure, overHTTP, allow, host, token)
		default:
		}
	}
	f(false, false, "127.0.0.1", "127.0.0.1", 403, 403)
	f(true, false, "127.0.0.1", "127.0.0.1", 403, 404)
	f(false, true, "127.0.0.0/8", "127.0.0.1", 403, 404)
	f(false, true, "127.0.0.1", "127.0.0.1", 418, 404)
	f(true, true, "127.0.0.1/32", "127.0.0.1", 418, 404)
	f(true, true, "127.0.0.1", "localhost", 403, 404)
	f(true, true, "LocalHost", "localHOST", 418, 404)
}

// TestCopySourceTokenElsewhere: a token for a source on another server is what that is read by.
func TestCopySourceTokenElsewhere(t *testing.T) {
	elsewhere, issuer, _ := lending(t, "reader oid:R "+secondAccount+"/disks\n", nil)
	_, want := fillDisk(t, elsewhere.containerOf(t, secondAccount, "disks"), "a")
	ts := start(t, func(o *Options) { o.CopySourceAllow, o.BearerOverHTTP = []string{"127.0.0.1"}, true })
	ts.makeBlob(t, 4096)
	source := "http://" + elsewhere.addr + "/" + secondAccount + "/disks/a"
	later := time.Now().Add(time.Hour)
	for _, c := range from(source, "Bearer "+lentToken(issuer, "R", later)) {
		if a := ts.do(t, c); a.StatusCode/100 != 2 {
			t.Fatalf("%s%s", a.raw, a.body)
		}
	}
	if a := ts.settled(t, "disks/copy"); a.Header.Get("x-ms-copy-status") != "success" || a.Header.Get("x-ms-copy-source") != source {
		t.Errorf("%s", a.raw)
	}
	for path, off := range map[string]int{"disks/copy": 2 << 20, "disks/b": 0} {
		a := ts.do(t, call{method: "GET", path: path, header: []string{fmt.Sprintf("x-ms-range: bytes=%d-%d", off, off+511)}})
		if string(a.body) != string(want[2<<20:][:512]) {
			t.Errorf("%s: %s", path, a.raw)
		}
	}
	for _, k := range []struct {
		token  string
		status int
		code   string
	}{
		{"", 401, "NoAuthenticationInformation"},
		{"Bearer " + lentToken(issuer, "nobody", later), 403, "AuthorizationPermissionMismatch"},
		{"Bearer " + lentToken(issuer, "R", time.Now().Add(-time.Hour)), 401, "InvalidAuthenticationInfo"},
	} {
		for _, c := range from(source, k.token) {
			a := ts.do(t, c)
			a.want(t, k.status, "CannotVerifyCopySource")
			if got := a.Header.Get("x-ms-copy-source-error-code"); c.path == "disks/b?comp=page" && got != k.code { // HEAD says it too, but not of every server
				t.Errorf("the source's code %s, want %s", got, k.code)
			}
		}
	}
}

// TestCopySourceTokenOnTheWire: which requests have the token, and what becomes of a copy when it has run out.
func TestCopySourceTokenOnTheWire(t *testing.T) {
	const token = "Bearer c2VjcmV0c2VjcmV0c2VjcmV0"
	thief := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("the other host was asked: %s %s", r.Method, r.Header.Get("Authorization"))
	}))
	defer thief.Close()
	var reads int
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Values("Authorization"); len(got) != 1 || got[0] != token || r.Header.Get("x-ms-version") == "" || r.Header.Get("x-ms-date") != "" {
			t.Errorf("%s %s: %v", r.Method, r.URL, r.Header)
		}
		w.Header().Set("ETag", `"0x1"`)
		w.Header().Set("x-ms-blob-type", "PageBlob")
		switch {
		case r.URL.Path == "/moved":
			http.Redirect(w, r, thief.URL+"/a/b", http.StatusTemporaryRedirect)
		case r.Method == http.MethodHead:
			w.Header().Set("Content-Length", "1024")
		case r.URL.Query().Get("comp") == "pagelist":
			fmt.Fprint(w, `<PageList><PageRange><Start>0</Start><End>511</End></PageRange><NextMarker>x</NextMarker></PageList>`)
			if reads++; reads > 1 {
				t.Error("a part of the list was asked for after the token ran out")
			}
		default:
			w.Header().Set("x-ms-error-code", "InvalidAuthenticationInfo")
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	defer web.Close()
	audit := &logBuffer{}
	ts := start(t, func(o *Options) { o.CopySourceAllow, o.BearerOverHTTP, o.Audit = []string{"127.0.0.1"}, true, audit })
	ts.makeBlob(t, 4096)
	for _, c := range from(web.URL+"/moved", token) {
		ts.do(t, c).want(t, 400, "CannotVerifyCopySource")
	}
	ts.do(t, from(web.URL+"/a/b", token)[0]).want(t, 202, "")
	a := ts.settled(t, "disks/copy")
	if got := a.Header.Get("x-ms-copy-status-description"); got != `401 CannotVerifyCopySource "The source answered 401. InvalidAuthenticationInfo"` {
		t.Errorf("description %s", got)
	}
	if strings.Contains(ts.log.String()+audit.String()+a.raw, "c2VjcmV0") {
		t.Errorf("the token is told:\n%s\n%s\n%s", ts.log, audit, a.raw)
	}
}
