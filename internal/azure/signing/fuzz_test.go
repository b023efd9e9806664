package signing

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/header"
	"pagevault/internal/azure/query"
)

// FuzzVerify gives the verifier requests of any shape: nothing but its three errors comes out, no request gets in
// unsigned, and one that we sign does get in, whatever it holds.
func FuzzVerify(f *testing.F) {
	f.Add("GET", "/devstoreaccount1/c/b", "comp=list&prefix=%41", "SharedKey devstoreaccount1:AAAA", "x-ms-meta-a_b", "1", "x-ms-date: "+date)
	f.Add("PUT", "/devstoreaccount1-secondary/c", "", "SharedKeyLite devstoreaccount1:"+strings.Repeat("A", 43)+"=", "X-MS-Meta-", "", "Date: "+date)
	f.Add("", "", "sig=x", "Bearer x", "x-ms-'--'", "\x00", "")
	f.Add("GET", "/", "a&a=1&A=2", "SharedKey :", "Content-Length", "0", "x-ms-version: 2014-02-14")
	f.Fuzz(func(t *testing.T, method, path, raw, auth, name, value, line string) {
		a := &Account{Name: "devstoreaccount1", Keys: [][]byte{[]byte("a key nobody guesses"), []byte("another")}}
		r := &Request{Method: []byte(method), RawPath: []byte(path), Query: new(query.Set), Headers: new(header.Set)}
		if r.Query.Parse([]byte(raw)) != nil {
			return
		}
		if strings.HasPrefix(path, "/"+a.Name+secondary) {
			r.PathAccount = a.Name + secondary
		}
		more, text, _ := strings.Cut(line, ":")
		for _, h := range [][2]string{{name, value}, {more, text}, {name, value}} {
			if err := r.Headers.Add([]byte(h[0]), []byte(h[1])); err != nil && !errors.Is(err, azerr.InvalidHeaderValue) {
				t.Fatal(err)
			}
		}
		if !r.Headers.Has(header.Authorization) {
			s := *r
			s.Headers = clone(t, r.Headers)
			if err := s.Headers.Add([]byte("Authorization"), []byte(auth)); err != nil {
				t.Fatal(err)
			}
			checkRefused(t, a, &s)
		} else {
			checkRefused(t, a, r)
			return
		}
		// Signed, it gets in, if only it has a date.
		if !r.Headers.Has(header.XMsDate) {
			if err := r.Headers.Add([]byte("x-ms-date"), []byte(date)); err != nil {
				t.Fatal(err)
			}
		}
		if r.Headers.String(header.XMsDate) != date {
			return
		}
		signed := *r
		signed.Headers = clone(t, r.Headers)
		sign := []func(*Request, string, []byte) string{Sign, SignLite}[len(method)%2]
		if err := signed.Headers.Add([]byte("Authorization"), []byte(sign(r, a.Name, a.Keys[len(path)%2]))); err != nil {
			t.Fatal(err)
		}
		if err := VerifySharedKey(&signed, a, now, DefaultSkew); err != nil {
			t.Fatal(err)
		}
	})
}

func clone(t *testing.T, s *header.Set) *header.Set {
	t.Helper()
	c := new(header.Set)
	for name, value := range s.XMs {
		if err := c.Add(name, value); err != nil {
			t.Fatal(err)
		}
	}
	for id := range s.Present {
		if !c.Has(id) {
			if err := c.Add([]byte(id.String()), s.Get(id)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return c
}

// checkRefused verifies a request that nobody signed.
func checkRefused(t *testing.T, a *Account, r *Request) {
	t.Helper()
	err := VerifySharedKey(r, a, now, DefaultSkew)
	if !errors.Is(err, azerr.AuthenticationFailed) && !errors.Is(err, azerr.InvalidAuthenticationInfo) && !errors.Is(err, azerr.NoAuthenticationInformation) {
		t.Fatalf("got %v", err)
	}
	for _, key := range a.Keys {
		if s := err.Error(); strings.Contains(s, string(key)) || strings.Contains(s, base64.StdEncoding.EncodeToString(key)) {
			t.Fatalf("a key is in %s", s)
		}
	}
}

// FuzzOrder checks that the order of words is an order, and that it and the order by bytes agree on what is equal.
func FuzzOrder(f *testing.F) {
	f.Add("x-ms-blob-x", "x-ms-blobs", "x-ms-blob")
	f.Add("a--b", "-ab-", "'ab")
	f.Add("", "-", "é\x00")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		sign := func(a, b string) int {
			return max(-1, min(1, compareWords(pair{name: []byte(a)}, pair{name: []byte(b)})))
		}
		if sign(a, b) != -sign(b, a) {
			t.Fatalf("%q and %q: %d and %d", a, b, sign(a, b), sign(b, a))
		}
		if sign(a, b) <= 0 && sign(b, c) <= 0 && sign(a, c) > 0 {
			t.Fatalf("%q, %q, %q are not in order", a, b, c)
		}
		// Characters outside of tokens have no weight at all; fasthttp lets none of them into a name.
		if token(a) && token(b) && (sign(a, b) == 0) != bytes.Equal([]byte(a), []byte(b)) {
			t.Fatalf("%q and %q are equal", a, b)
		}
	})
}

// token reports whether s is what a header's name in lower case can be.
func token(s string) bool {
	for i := range len(s) {
		if major[s[i]] == 0 && minor[s[i]] == 0 {
			return false
		}
	}
	return true
}
