package signing

import (
	"testing"
)

// putPage is a signed Put Page by the Go SDK.
func putPage(t testing.TB, a *Account, f form) *Request {
	t.Helper()
	r := request(t, "PUT", "/devstoreaccount1/disks/vm%201.vhd?comp=page", "Host: 127.0.0.1:10000",
		"User-Agent: azsdk-go-azblob/v1.8.3 (go1.26.8; linux)", "Content-Length: 4194304", "Accept: application/xml",
		"Content-Type: application/octet-stream", "X-Ms-Client-Request-Id: 2b6a1c5e-0000-4000-8000-000000000000",
		"x-ms-date: "+date, "x-ms-page-write: update", "x-ms-range: bytes=0-4194303", "x-ms-version: 2026-12-06")
	signAs(t, r, a, f)
	return r
}

func BenchmarkVerify(b *testing.B) {
	a := devAccount(b)
	r := putPage(b, a, form{})
	b.ReportAllocs()
	for b.Loop() {
		if err := VerifySharedKey(r, a, now, DefaultSkew); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkVerifySecondKey is the most a good request with one sort order takes.
func BenchmarkVerifySecondKey(b *testing.B) {
	a := devAccount(b)
	r := putPage(b, a, form{})
	a = &Account{Name: a.Name, Keys: [][]byte{[]byte("a retired key"), a.Keys[0]}}
	b.ReportAllocs()
	for b.Loop() {
		if err := VerifySharedKey(r, a, now, DefaultSkew); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerifyWrong(b *testing.B) {
	a := devAccount(b)
	r := putPage(b, &Account{Name: a.Name, Keys: [][]byte{[]byte("another key")}}, form{})
	b.ReportAllocs()
	for b.Loop() {
		if err := VerifySharedKey(r, a, now, DefaultSkew); err == nil {
			b.Fatal("accepted")
		}
	}
}
