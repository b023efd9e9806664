package bench

import (
	"encoding/base64"
	"testing"
)

// wellKnownKey is the public key of devstoreaccount1 that all emulators share.
const wellKnownKey = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

func emulatorKey(t testing.TB) []byte {
	t.Helper()
	key, err := base64.StdEncoding.DecodeString(wellKnownKey)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// TestSignVector signs a Put Page whose signature was computed by other means.
func TestSignVector(t *testing.T) {
	r := &request{method: "PUT", path: "/devstoreaccount1/disks/vm%201.vhd", query: []field{{"comp", []byte("page")}},
		xms: []field{{"x-ms-date", []byte("Fri, 26 Jun 2026 23:39:12 GMT")}, {"x-ms-page-write", []byte("update")},
			{"x-ms-range", []byte("bytes=0-511")}, {"x-ms-version", []byte("2021-12-02")}},
		contentType: "application/octet-stream", body: make([]byte, 512)}
	s := newSigner("devstoreaccount1", emulatorKey(t))
	want := "SharedKey devstoreaccount1:fZcUl8191Ib38xyUUN3yAZGQsWJdWYTCRbEarh3hTmE="
	for range 2 { // a signer is used again and again
		if got := string(s.append(nil, r)); got != want {
			t.Fatalf("signed\n%q\nAuthorization: %s\n         want: %s", s.text, got, want)
		}
	}
}

// TestSignEmptyBody: a length of zero is sent but not signed.
func TestSignEmptyBody(t *testing.T) {
	r := &request{method: "PUT", path: "/a/c", query: []field{{"restype", []byte("container")}}, xms: []field{{"x-ms-date", []byte("D")}}}
	want := "PUT\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:D\n/a/a/c\nrestype:container"
	if got := string(appendStringToSign(nil, "a", r)); got != want {
		t.Errorf("string to sign %q, want %q", got, want)
	}
}

func TestSignDoesNotAllocate(t *testing.T) {
	s := newSigner("devstoreaccount1", emulatorKey(t))
	r := &request{method: "GET", path: "/devstoreaccount1/c/b", xms: []field{{"x-ms-date", []byte("D")}}}
	dst := make([]byte, 0, 256)
	if n := testing.AllocsPerRun(100, func() { s.append(dst, r) }); n > 0 {
		t.Errorf("%v allocations for one signature", n)
	}
}

func BenchmarkSign(b *testing.B) {
	s := newSigner("devstoreaccount1", emulatorKey(b))
	r := &request{method: "PUT", path: "/devstoreaccount1/disks/vm.vhd", query: queryPage,
		xms: []field{{"x-ms-date", []byte("Fri, 26 Jun 2026 23:39:12 GMT")}, {"x-ms-page-write", valueUpdate},
			{"x-ms-range", []byte("bytes=0-4095")}, {"x-ms-version", []byte(serviceVersion)}}, body: make([]byte, 4096)}
	dst := make([]byte, 0, 256)
	for b.Loop() {
		s.append(dst, r)
	}
}
