package sas

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/header"
	"pagevault/internal/azure/query"
)

func signText(text string, key []byte) string {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(text))
	return base64.StdEncoding.EncodeToString(m.Sum(nil))
}

// FuzzParse: no query is genuine that was not signed with the key, nothing panics, and every error is one of those that
// clients know. Whatever parses and is signed is genuine for the resource it was signed for.
func FuzzParse(f *testing.F) {
	const sig = "&sig=" + noSignature
	for _, seed := range []string{
		"sv=2021-12-02&ss=b&srt=sco&sp=r&se=2030-01-01" + sig,
		"sv=2021-12-02&sr=b&sp=r&st=2020-01-01&se=2030-01-01T00:00Z&sip=1.2.3.4-1.2.3.5&spr=https,http&rscd=a" + sig,
		"sv=2021-12-02&sr=bs&snapshot=S&si=x" + sig,
		"sv=2012-02-12&sr=c&sp=r&se=2030-01-01" + sig,
		"sr=c&sp=r&se=2030-01-01" + sig,
		"sv=2026-04-06&sr=b&sp=r&se=2030-01-01&skoid=O&sktid=T&skt=2030-01-01&ske=2030-01-02&sks=b&skv=2021-12-02&srq=comp&comp=a&srh=x-ms-a" + sig,
	} {
		f.Add(seed, "c", "b")
	}
	f.Fuzz(func(t *testing.T, raw, container, blob string) {
		q := new(query.Set)
		if q.Parse([]byte(raw)) != nil {
			return
		}
		token, err := Parse(q)
		if err != nil {
			if !errors.Is(err, azerr.AuthenticationFailed) {
				t.Fatalf("%q: %v", raw, err)
			}
			return
		}
		r := &Resource{Account: testAccount, Container: container, Blob: blob, Headers: new(header.Set), Query: q}
		if err := token.Verify(r, [][]byte{testKey}); !errors.Is(err, azerr.AuthenticationFailed) {
			t.Fatalf("%q is genuine, or fails otherwise: %v", raw, err)
		}
		text, err := token.stringToSign(r)
		if err != nil {
			return
		}
		if n := strings.Count(text, "\n"); n < len(token.layout())-1 {
			t.Fatalf("%q: %d lines in %q", raw, n+1, text)
		}
		copy(token.signature[:], must(base64.StdEncoding.DecodeString(signText(text, testKey))))
		if err := token.Verify(r, [][]byte{testKey}); err != nil {
			t.Fatalf("%q: signed and not genuine: %v", raw, err)
		}
		err = token.Check(time.Unix(1e9, 0), netip.MustParseAddr("1.2.3.4"), false)
		if err != nil && azerr.From(err).Code.Status() != 403 {
			t.Fatalf("%q: %v", raw, err)
		}
	})
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}
