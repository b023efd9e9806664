package header

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pagevault/internal/azure/azerr"
)

// set builds a Set from lines "Name: value".
func set(t testing.TB, lines ...string) *Set {
	t.Helper()
	s := new(Set)
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ":")
		if err := s.Add([]byte(name), []byte(value)); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
	}
	return s
}

// TestNames checks that every ID has a name of its own, that names are found in any case, and that the longest fits.
func TestNames(t *testing.T) {
	seen := map[string]ID{}
	for id := ID(1); id < idEnd; id++ {
		name := id.String()
		if name == "" || seen[strings.ToLower(name)] != 0 {
			t.Fatalf("ID %d: name %q is empty or also that of %d", id, name, seen[strings.ToLower(name)])
		}
		seen[strings.ToLower(name)] = id
		for _, n := range []string{name, strings.ToLower(name), strings.ToUpper(name)} {
			if got := Lookup([]byte(n)); got != id {
				t.Errorf("Lookup(%q) = %v, want %v", n, got, id)
			}
		}
		if id >= XMsAccessTier != strings.HasPrefix(name, xmsPrefix) {
			t.Errorf("%s is on the wrong side of the line between standard headers and those of the service", name)
		}
	}
	for _, name := range []string{"", "x", "x-ms-", "x-ms-meta-range", "x-ms-rangee", strings.Repeat("x", 500)} {
		if got := Lookup([]byte(name)); got != 0 {
			t.Errorf("Lookup(%q) = %v", name, got)
		}
	}
	if ID(0).String() != "" || idEnd.String() != "" {
		t.Error("IDs that are none have a name")
	}
}

func TestSet(t *testing.T) {
	s := set(t, "RANGE: bytes=0-1 ", "X-Ms-Version:\t2021-12-02", "Accept: */*", "x-ms-unknown: 1", "If-Match:", "x-ms-meta-Foo: bar", "x-MS-unknown: 2")
	if got := s.String(RangeHeader); got != "bytes=0-1" {
		t.Errorf("Range is %q", got)
	}
	if !s.Has(IfMatch) || s.Get(IfMatch) == nil || len(s.Get(IfMatch)) != 0 {
		t.Error("an empty header is not there, or not empty")
	}
	if s.Has(IfNoneMatch) || s.Get(IfNoneMatch) != nil || s.String(IfNoneMatch) != "" {
		t.Error("a header that was not sent is there")
	}
	var xms, present []string
	for name, value := range s.XMs {
		xms = append(xms, string(name)+"="+string(value))
	}
	if want := []string{"X-Ms-Version=2021-12-02", "x-ms-unknown=1", "x-ms-meta-Foo=bar", "x-MS-unknown=2"}; !slices.Equal(xms, want) {
		t.Errorf("x-ms-* are %q, want %q", xms, want)
	}
	for id := range s.Present {
		present = append(present, id.String())
	}
	if want := []string{"Range", "x-ms-version", "If-Match"}; !slices.Equal(present, want) {
		t.Errorf("present are %q, want %q", present, want)
	}
	if got := s.Meta(); !slices.Equal(got, []Pair{{"Foo", "bar"}}) || !s.HasMeta() {
		t.Errorf("metadata is %v", got)
	}
	s.Reset()
	for range s.XMs {
		t.Error("a header survived Reset")
	}
	if s.Has(RangeHeader) || s.HasMeta() || s.Meta() != nil {
		t.Error("a header survived Reset")
	}
}

func TestSetRefusesDuplicates(t *testing.T) {
	for id := ID(1); id < idEnd; id++ {
		s := set(t, id.String()+": a")
		err := s.Add([]byte(strings.ToUpper(id.String())), []byte("b"))
		shown := "b"
		if id.Secret() {
			shown = ""
		}
		if !errors.Is(err, azerr.InvalidHeaderValue) || !strings.HasSuffix(err.Error(), "HeaderName="+id.String()+" HeaderValue="+shown) {
			t.Errorf("%v: got %v", id, err)
		}
		if s.String(id) != "a" {
			t.Errorf("%v: the second value replaced the first", id)
		}
	}
}

func TestSetIsBounded(t *testing.T) {
	s := new(Set)
	for i := range maxFields {
		if err := s.Add(fmt.Appendf(nil, "x-ms-%d", i), nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Add([]byte("x-ms-more"), nil); !errors.Is(err, azerr.InvalidInput) {
		t.Errorf("got %v, want InvalidInput", err)
	}
}

func TestMetadata(t *testing.T) {
	f := func(want azerr.Code, pairs []Pair, lines ...string) {
		t.Helper()
		got, err := ParseMetadata(set(t, lines...))
		if want == 0 && err != nil || want != 0 && !errors.Is(err, want) || !slices.Equal(got, pairs) {
			t.Errorf("%q: got %v, %v, want %v, %v", lines, got, err, pairs, want)
		}
	}
	f(0, nil)
	// Case and order are kept; values may be empty.
	f(0, []Pair{{"b", "1"}, {"_A9", "two words"}, {"a", ""}}, "x-ms-meta-b: 1", "X-MS-META-_A9: two words", "x-ms-meta-a:")
	// Names that are no identifiers.
	f(azerr.EmptyMetadataKey, nil, "x-ms-meta-: v")
	f(azerr.InvalidMetadata, nil, "x-ms-meta-a-b: v")
	f(azerr.InvalidMetadata, nil, "x-ms-meta-1a: v")
	f(azerr.InvalidMetadata, nil, "x-ms-meta-a.b: v")
	f(azerr.InvalidMetadata, nil, "x-ms-meta-é: v")
	// Values that are not ASCII, or control something.
	f(azerr.InvalidMetadata, nil, "x-ms-meta-a: é")
	f(azerr.InvalidMetadata, nil, "x-ms-meta-a: a\x00b")
	f(azerr.InvalidMetadata, nil, "x-ms-meta-a: \x7f")
	f(0, []Pair{{"a", "b\tc ~"}}, "x-ms-meta-a: b\tc ~")
	// Names that differ by case only.
	f(azerr.InvalidMetadata, nil, "x-ms-meta-a: 1", "x-ms-meta-A: 2")
	f(azerr.InvalidMetadata, nil, "x-ms-meta-a: 1", "x-ms-meta-a: 1")
	// 8 KiB of names and values, and one byte more.
	v := strings.Repeat("v", 4094)
	f(0, []Pair{{"n1", v}, {"n2", v}}, "x-ms-meta-n1: "+v, "x-ms-meta-n2: "+v)
	f(azerr.MetadataTooLarge, nil, "x-ms-meta-n1: "+v, "x-ms-meta-n2: "+v+"v")
}

// headersOfPutPage are those of a Put Page by the Go SDK.
var headersOfPutPage = [][2]string{
	{"Host", "127.0.0.1:10000"}, {"User-Agent", "azsdk-go-azblob/v1.8.3 (go1.26.8; linux)"}, {"Content-Length", "4194304"},
	{"Accept", "application/xml"}, {"Authorization", "SharedKey devstoreaccount1:fZcUl8191Ib38xyUUN3yAZGQsWJdWYTCRbEarh3hTmE="},
	{"Content-Type", "application/octet-stream"}, {"X-Ms-Client-Request-Id", "2b6a1c5e-0000-4000-8000-000000000000"},
	{"x-ms-date", "Fri, 26 Jun 2026 23:39:12 GMT"}, {"x-ms-page-write", "update"}, {"x-ms-range", "bytes=0-4194303"},
	{"x-ms-version", "2026-12-06"}, {"Accept-Encoding", "gzip"},
}

func BenchmarkSet(b *testing.B) {
	var names, values [][]byte
	for _, h := range headersOfPutPage {
		names, values = append(names, []byte(h[0])), append(values, []byte(h[1]))
	}
	s := new(Set)
	b.ReportAllocs()
	for b.Loop() {
		s.Reset()
		for i := range names {
			if err := s.Add(names[i], values[i]); err != nil {
				b.Fatal(err)
			}
		}
		if len(s.Get(XMsRange)) == 0 {
			b.Fatal("lost")
		}
	}
}

func TestSetDoesNotAllocate(t *testing.T) {
	var names, values [][]byte
	for _, h := range headersOfPutPage {
		names, values = append(names, []byte(h[0])), append(values, []byte(h[1]))
	}
	s := new(Set)
	n := testing.AllocsPerRun(100, func() {
		s.Reset()
		for i := range names {
			if err := s.Add(names[i], values[i]); err != nil {
				t.Fatal(err)
			}
		}
		for range s.XMs {
		}
	})
	if n != 0 {
		t.Errorf("%v allocations a request", n)
	}
}
