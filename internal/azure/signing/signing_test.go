package signing

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/header"
	"pagevault/internal/azure/query"
)

// wellKnownKey is the public key of the emulators' account.
const wellKnownKey = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

const date = "Fri, 26 Jun 2026 23:39:12 GMT"

var now = time.Date(2026, 6, 26, 23, 40, 0, 0, time.UTC)

func mustKey(t testing.TB, s string) []byte {
	t.Helper()
	key, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func devAccount(t testing.TB) *Account {
	t.Helper()
	return &Account{Name: "devstoreaccount1", Keys: [][]byte{mustKey(t, wellKnownKey)}}
}

// request builds a Request from a method, a URL as on the wire and lines of headers.
func request(t testing.TB, method, url string, headers ...string) *Request {
	t.Helper()
	path, raw, _ := strings.Cut(url, "?")
	r := &Request{Method: []byte(method), RawPath: []byte(path), Query: new(query.Set), Headers: new(header.Set)}
	if err := r.Query.Parse([]byte(raw)); err != nil {
		t.Fatal(err)
	}
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ":")
		if err := r.Headers.Add([]byte(name), []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// page is the request of the reference vectors.
func page(t testing.TB, more ...string) *Request {
	t.Helper()
	return request(t, "PUT", "/devstoreaccount1/disks/vm%201.vhd?comp=page", append([]string{
		"Content-Length: 512", "Content-Type: application/octet-stream", "x-ms-date: " + date,
		"x-ms-page-write: update", "x-ms-range: bytes=0-511", "x-ms-version: 2021-12-02"}, more...)...)
}

func TestVectors(t *testing.T) {
	key := mustKey(t, wellKnownKey)
	f := func(got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	f(Sign(page(t), "devstoreaccount1", key), "SharedKey devstoreaccount1:fZcUl8191Ib38xyUUN3yAZGQsWJdWYTCRbEarh3hTmE=")
	f(SignLite(page(t), "devstoreaccount1", key), "SharedKeyLite devstoreaccount1:RmXrqcVWTCuxKb7WT1Ukvm9/A2IXTuMMwEMC/s00t5I=")
}

// TestVectorsAreTaken: the requests of the vectors, with the signatures as they were computed elsewhere, are let in, and
// not with one letter of them changed; what was signed is the text of the reference, byte for byte.
func TestVectorsAreTaken(t *testing.T) {
	const headers = "x-ms-date:Fri, 26 Jun 2026 23:39:12 GMT\nx-ms-page-write:update\nx-ms-range:bytes=0-511\nx-ms-version:2021-12-02\n"
	f := func(authorization string, lite bool, want string) {
		t.Helper()
		r := page(t, "Authorization: "+authorization)
		if err := VerifySharedKey(r, devAccount(t), now, DefaultSkew); err != nil {
			t.Errorf("%s: %v", authorization, err)
		}
		if got := text(r, "devstoreaccount1", form{lite: lite}); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		i := strings.IndexByte(authorization, ':') + 1
		for ; authorization[i] != '='; i++ {
			other := byte('A')
			if authorization[i] == other {
				other = 'B'
			}
			changed := authorization[:i] + string(other) + authorization[i+1:]
			if err := VerifySharedKey(page(t, "Authorization: "+changed), devAccount(t), now, DefaultSkew); !errors.Is(err, azerr.AuthenticationFailed) {
				t.Errorf("%s: %v", changed, err)
			}
		}
	}
	f("SharedKey devstoreaccount1:fZcUl8191Ib38xyUUN3yAZGQsWJdWYTCRbEarh3hTmE=", false,
		"PUT\n\n\n512\n\napplication/octet-stream\n\n\n\n\n\n\n"+headers+"/devstoreaccount1/devstoreaccount1/disks/vm%201.vhd\ncomp:page")
	f("SharedKeyLite devstoreaccount1:RmXrqcVWTCuxKb7WT1Ukvm9/A2IXTuMMwEMC/s00t5I=", true,
		"PUT\n\napplication/octet-stream\n\n"+headers+"/devstoreaccount1/devstoreaccount1/disks/vm%201.vhd?comp=page")
}

// signAs adds the Authorization header of one particular form.
func signAs(t testing.TB, r *Request, a *Account, f form) {
	t.Helper()
	scheme := "SharedKey "
	if f.lite {
		scheme = "SharedKeyLite "
	}
	value := scheme + a.Name + ":" + sign(r, a.Name, a.Keys[len(a.Keys)-1], f)
	if err := r.Headers.Add([]byte("authorization"), []byte(value)); err != nil {
		t.Fatal(err)
	}
}

// text returns the string to sign of one form.
func text(r *Request, account string, f form) string {
	s := new(scratch)
	s.collect(r)
	s.sort(f.bytewise)
	return string(s.build(r, account, f))
}

func TestStringToSign(t *testing.T) {
	f := func(r *Request, fm form, want ...string) {
		t.Helper()
		if got, want := text(r, "acct", fm), strings.Join(want, "\n"); got != want {
			t.Errorf("got:\n%s\nwant:\n%s", got, want)
		}
	}
	// Every line of the text, each with its own header.
	f(request(t, "GET", "/c/b?restype=x", "Content-Encoding: 1", "Content-Language: 2", "Content-Length: 3", "Content-MD5: 4",
		"Content-Type: 5", "Date: 6", "If-Modified-Since: 7", "If-Match: 8", "If-None-Match: 9", "If-Unmodified-Since: 10", "Range: 11"), form{},
		"GET", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "/acct/c/b", "restype:x")
	// Nothing but the method; the path of an empty URL is /.
	f(request(t, "GET", ""), form{}, "GET", "", "", "", "", "", "", "", "", "", "", "", "/acct/")
	// Date is empty beside x-ms-date, or not.
	f(request(t, "GET", "/", "Date: D", "x-ms-date: X"), form{}, "GET", "", "", "", "", "", "", "", "", "", "", "", "x-ms-date:X", "/acct/")
	f(request(t, "GET", "/", "Date: D", "x-ms-date: X"), form{dateToo: true}, "GET", "", "", "", "", "", "D", "", "", "", "", "", "x-ms-date:X", "/acct/")
	// A length of zero, by version.
	f(request(t, "PUT", "/", "Content-Length: 0", "x-ms-version: 2015-02-21"), form{}, "PUT", "", "", "", "", "", "", "", "", "", "", "", "x-ms-version:2015-02-21", "/acct/")
	f(request(t, "PUT", "/", "Content-Length: 0", "x-ms-version: 2014-02-14"), form{}, "PUT", "", "", "0", "", "", "", "", "", "", "", "", "x-ms-version:2014-02-14", "/acct/")
	f(request(t, "PUT", "/", "x-ms-version: 2014-02-14"), form{}, "PUT", "", "", "", "", "", "", "", "", "", "", "", "x-ms-version:2014-02-14", "/acct/")
	// Empty headers of the service, by version.
	f(request(t, "PUT", "/", "x-ms-meta-a:", "x-ms-version: 2016-05-31"), form{lite: true}, "PUT", "", "", "", "x-ms-meta-a:", "x-ms-version:2016-05-31", "/acct/")
	f(request(t, "PUT", "/", "x-ms-meta-a:", "x-ms-version: 2015-12-11"), form{lite: true}, "PUT", "", "", "", "x-ms-version:2015-12-11", "/acct/")
	// Names in lower case, values trimmed and otherwise untouched, repeats joined in the order they came.
	f(request(t, "PUT", "/", "X-MS-Meta-B:  two  words ", "x-ms-meta-A: 2", "x-ms-meta-a: 1"), form{lite: true},
		"PUT", "", "", "", "x-ms-meta-a:2,1", "x-ms-meta-b:two  words", "/acct/")
	// Parameters: names in lower case, sorted; values decoded, those of one name sorted and joined; the path as it came.
	f(request(t, "GET", "/a%20b/c%2Fd,(é)?Zz=%41+b&include=snapshots&INCLUDE=metadata&empty="), form{},
		"GET", "", "", "", "", "", "", "", "", "", "", "", "/acct/a%20b/c%2Fd,(é)", "empty:", "include:metadata,snapshots", "zz:A b")
	// The lite form has comp and nothing else.
	f(request(t, "GET", "/c?restype=container&COMP=list&prefix=p"), form{lite: true}, "GET", "", "", "", "/acct/c?comp=list")
	// x-ms-range is no Range.
	f(request(t, "GET", "/", "x-ms-range: bytes=0-1"), form{}, "GET", "", "", "", "", "", "", "", "", "", "", "", "x-ms-range:bytes=0-1", "/acct/")
}

// TestOrders gives the examples in which the two orders differ, and some in which they do not.
func TestOrders(t *testing.T) {
	f := func(words, bytewise string) {
		t.Helper()
		var lines []string
		for _, name := range strings.Fields(bytewise) {
			lines = append(lines, name+":")
		}
		for _, want := range []struct {
			f     form
			names string
		}{{form{lite: true}, words}, {form{lite: true, bytewise: true}, bytewise}} {
			got := text(request(t, "GET", "/", lines...), "a", want.f)
			if w := "GET\n\n\n\n" + strings.ReplaceAll(want.names, " ", ":\n") + ":\n/a/"; got != w {
				t.Errorf("%+v: got %q, want %q", want.f, got, w)
			}
		}
	}
	f("x-ms-meta-a_b x-ms-meta-a1", "x-ms-meta-a1 x-ms-meta-a_b")
	f("x-ms-blobs x-ms-blob-x", "x-ms-blob-x x-ms-blobs")
	f("x-ms-copy-source x-ms-copy-source-tag-option", "x-ms-copy-source x-ms-copy-source-tag-option")
	f("x-ms-meta-ab x-ms-meta-a-b", "x-ms-meta-a-b x-ms-meta-ab")
	f("x-ms-meta-a-b x-ms-meta-ac", "x-ms-meta-a-b x-ms-meta-ac")
	f("x-ms-meta-a~ x-ms-meta-a+ x-ms-meta-a0 x-ms-meta-aa", "x-ms-meta-a+ x-ms-meta-a0 x-ms-meta-aa x-ms-meta-a~")
	f("x-ms-m'a x-ms-m-a", "x-ms-m'a x-ms-m-a")
}

// TestEveryFormIsAccepted signs a request, in which all forms differ, in each of them.
func TestEveryFormIsAccepted(t *testing.T) {
	a := devAccount(t)
	a.Keys = append(a.Keys, []byte("the second key"))
	texts := map[string]bool{}
	for f := range forms {
		for _, lite := range []bool{false, true} {
			f.lite = lite
			r := request(t, "PUT", "/devstoreaccount1-secondary/c/b?comp=metadata", "Date: "+date, "x-ms-date: "+date,
				"x-ms-meta-a_b: 1", "x-ms-meta-a1: 2", "x-ms-version: 2021-12-02")
			r.PathAccount = "devstoreaccount1-secondary"
			texts[text(r, a.Name, f)] = true
			signAs(t, r, a, f)
			if err := VerifySharedKey(r, a, now, DefaultSkew); err != nil {
				t.Errorf("%+v: %v", f, err)
			}
		}
	}
	if len(texts) != 16 {
		t.Errorf("%d different strings to sign, want 16", len(texts))
	}
}

// TestSecondaryOnlyInPathStyle shows that a container named like the secondary account is not mistaken for it.
func TestSecondaryOnlyInPathStyle(t *testing.T) {
	a := devAccount(t)
	r := request(t, "GET", "/devstoreaccount1/b", "x-ms-date: "+date)
	signAs(t, r, a, form{})
	r.RawPath = []byte("/devstoreaccount1-secondary/b")
	if err := VerifySharedKey(r, a, now, DefaultSkew); !errors.Is(err, azerr.AuthenticationFailed) {
		t.Errorf("got %v, want AuthenticationFailed", err)
	}
}

// detail returns the AuthenticationErrorDetail of an AuthenticationFailed.
func detail(t *testing.T, err error) string {
	t.Helper()
	var e *azerr.Error
	if !errors.As(err, &e) || e.Code != azerr.AuthenticationFailed || len(e.Details) != 1 || e.Details[0].Name != "AuthenticationErrorDetail" {
		t.Fatalf("got %v, want AuthenticationFailed with a detail", err)
	}
	return e.Details[0].Value
}

// TestAnyChangeIsNoticed changes everything a signature covers, one thing at a time.
func TestAnyChangeIsNoticed(t *testing.T) {
	a := devAccount(t)
	good := page(t)
	signAs(t, good, a, form{})
	auth := "authorization: " + good.Headers.String(header.Authorization)
	if err := VerifySharedKey(page(t, auth), a, now, DefaultSkew); err != nil {
		t.Fatal(err)
	}
	change := func(what string, r *Request) {
		t.Helper()
		if got := detail(t, VerifySharedKey(r, a, now, DefaultSkew)); !strings.Contains(got, "string to sign: '"+text(r, a.Name, form{})+"'") {
			t.Errorf("%s: the detail does not hold the string to sign: %s", what, got)
		}
	}
	r := page(t, auth)
	r.Method = []byte("GET")
	change("method", r)
	r = page(t, auth)
	r.RawPath = []byte("/devstoreaccount1/disks/vm+1.vhd")
	change("path", r)
	r = page(t, auth)
	r.Query.Parse([]byte("comp=page&timeout=1"))
	change("query", r)
	for _, h := range []string{"Range: bytes=0-511", "If-Match: *", "x-ms-meta-a: 1", "Content-MD5: x", "Content-Encoding: gzip",
		"Content-Language: en", "If-None-Match: *", "If-Modified-Since: x", "If-Unmodified-Since: x", "x-ms-lease-id: x"} {
		change(h, page(t, auth, h))
	}
	other := &Account{Name: a.Name, Keys: [][]byte{[]byte("another key")}}
	detail(t, VerifySharedKey(page(t, auth), other, now, DefaultSkew))
}

func TestRefusals(t *testing.T) {
	a := devAccount(t)
	f := func(want azerr.Code, part string, lines ...string) {
		t.Helper()
		err := VerifySharedKey(request(t, "GET", "/devstoreaccount1/c/b?sig=", lines...), a, now, DefaultSkew)
		if !errors.Is(err, want) || !strings.Contains(err.Error(), part) {
			t.Errorf("%q: got %v, want %v with %q", lines, err, want, part)
		}
	}
	const good = "Authorization: SharedKey devstoreaccount1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	f(azerr.AuthenticationFailed, "shared access signature")
	f(azerr.AuthenticationFailed, "Bearer", "Authorization: Bearer abc")
	f(azerr.InvalidAuthenticationInfo, "", "Authorization: Basic abc")
	f(azerr.InvalidAuthenticationInfo, "", "Authorization:")
	f(azerr.InvalidAuthenticationInfo, "", "Authorization: SharedKey")
	f(azerr.InvalidAuthenticationInfo, "", "Authorization: SharedKey devstoreaccount1")
	f(azerr.InvalidAuthenticationInfo, "", "Authorization: SharedKey :x")
	f(azerr.InvalidAuthenticationInfo, "", "Authorization: SharedKey devstoreaccount1:")
	f(azerr.InvalidAuthenticationInfo, "", "Authorization: SharedKeys devstoreaccount1:x")
	f(azerr.AuthenticationFailed, "account", "Authorization: SharedKey other:x", "x-ms-date: "+date)
	f(azerr.AuthenticationFailed, "Date header", good)
	f(azerr.AuthenticationFailed, "Date header", good, "x-ms-date: yesterday", "Date: "+date)
	f(azerr.AuthenticationFailed, "MAC signature found", good, "x-ms-date: "+date)
	f(azerr.AuthenticationFailed, "MAC signature found", "Authorization: SharedKey devstoreaccount1:not base64", "x-ms-date: "+date)
	f(azerr.AuthenticationFailed, "MAC signature found", "Authorization: SharedKey devstoreaccount1:"+strings.Repeat("A", 4096), "Date: "+date)

	if err := VerifySharedKey(request(t, "GET", "/"), a, now, DefaultSkew); err != azerr.NoAuthenticationInformation {
		t.Errorf("got %v, want NoAuthenticationInformation", err)
	}
}

func TestSkew(t *testing.T) {
	a := devAccount(t)
	f := func(at time.Time, ok bool) {
		t.Helper()
		r := page(t)
		signAs(t, r, a, form{})
		err := VerifySharedKey(r, a, at, DefaultSkew)
		if ok && err != nil {
			t.Errorf("at %v: %v", at, err)
		}
		if !ok && !strings.Contains(detail(t, err), "too old: '"+date+"'") {
			t.Errorf("at %v: %v", at, err)
		}
	}
	sent := time.Date(2026, 6, 26, 23, 39, 12, 0, time.UTC)
	f(sent.Add(DefaultSkew), true)
	f(sent.Add(DefaultSkew+time.Nanosecond), false)
	f(sent.Add(-DefaultSkew), true)
	f(sent.Add(-DefaultSkew-time.Nanosecond), false)
}

// TestConcurrent verifies good and bad requests of one account from several goroutines.
func TestConcurrent(t *testing.T) {
	a := devAccount(t)
	a.Keys = append(a.Keys, []byte("the second key"))
	first := &Account{Name: a.Name, Keys: a.Keys[:1]}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 200 {
				r := page(t, fmt.Sprintf("x-ms-meta-i: %d", i))
				signer := []*Account{first, a}[i%2]
				signAs(t, r, signer, form{lite: i%3 == 0})
				if err := VerifySharedKey(r, a, now, DefaultSkew); err != nil {
					t.Error(err)
				}
				r.Method = []byte("GET")
				if err := VerifySharedKey(r, a, now, DefaultSkew); !errors.Is(err, azerr.AuthenticationFailed) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// TestSecretsAreNotRepeated checks that a key sent with the request does not come back in the detail.
func TestSecretsAreNotRepeated(t *testing.T) {
	a := devAccount(t)
	r := page(t, "x-ms-encryption-key: c2VjcmV0", "x-ms-copy-source-authorization: Bearer c2VjcmV0", "X-Ms-Source-Encryption-Key: c2VjcmV0",
		"Authorization: SharedKey devstoreaccount1:AAAA")
	got := detail(t, VerifySharedKey(r, a, now, DefaultSkew))
	if strings.Contains(got, "c2VjcmV0") || strings.Contains(got, wellKnownKey) || strings.Count(got, "(not shown)") != 3 {
		t.Errorf("the detail is %s", got)
	}
	if got := r.Headers.Get(header.XMsEncryptionKey); !bytes.Equal(got, []byte("c2VjcmV0")) {
		t.Errorf("the request was changed: %s", got)
	}
}
