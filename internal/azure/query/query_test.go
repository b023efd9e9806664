package query

import (
	"errors"
	"strings"
	"testing"

	"pagevault/internal/azure/azerr"
)

func TestParse(t *testing.T) {
	s := new(Set)
	f := func(raw string, want ...string) {
		t.Helper()
		if err := s.Parse([]byte(raw)); err != nil {
			t.Errorf("%q: %v", raw, err)
			return
		}
		var got []string
		for _, p := range s.Params() {
			got = append(got, string(p.Name)+"="+string(p.Value))
		}
		if strings.Join(got, " & ") != strings.Join(want, " & ") {
			t.Errorf("%q: got %q, want %q", raw, got, want)
		}
	}
	f("")
	f("&&")
	f("comp=page", "comp=page")
	f("COMP=Page&Include=", "comp=Page", "include=")
	f("snapshot=2019-07-17T02%3A08%3a06.5779282Z", "snapshot=2019-07-17T02:08:06.5779282Z")
	f("prefix=a+b%2Bc%20d&x", "prefix=a b+c d", "x=")
	f("a=1=2&a=3;b=4", "a=1=2", "a=3;b=4")
	f("=v", "=v")
	f("%C3%A9=%E2%82%AC", "é=€")
	f(strings.Repeat("a=%41&", 200), strings.Fields(strings.Repeat("a=A ", 200))...)

	for _, raw := range []string{"a=%", "a=%4", "a=%zz", "%=1", "a=%FF", "a=\xff", "a=%C3", strings.Repeat("a&", maxParams+1)} {
		if err := s.Parse([]byte(raw)); !errors.Is(err, azerr.InvalidUri) {
			t.Errorf("%q: got %v, want InvalidUri", raw, err)
		}
	}
}

func TestGet(t *testing.T) {
	s := new(Set)
	if err := s.Parse([]byte("comp=list&include=a&Include=b&empty")); err != nil {
		t.Fatal(err)
	}
	if !s.Has("empty") || s.Has("none") || s.String("comp") != "list" || s.Get("none") != nil || string(s.Get("include")) != "a" {
		t.Errorf("wrong values in %q", s.Params())
	}
	if v, err := s.One("comp"); string(v) != "list" || err != nil {
		t.Errorf("got %q, %v", v, err)
	}
	if v, err := s.One("none"); v != nil || err != nil {
		t.Errorf("got %q, %v", v, err)
	}
	if _, err := s.One("include"); !errors.Is(err, azerr.InvalidQueryParameterValue) || !strings.Contains(err.Error(), "QueryParameterName=include") {
		t.Errorf("got %v", err)
	}
}

// TestValuesDoNotOverlap appends to a value and looks at its neighbour.
func TestValuesDoNotOverlap(t *testing.T) {
	s := new(Set)
	if err := s.Parse([]byte("a=1&b=2")); err != nil {
		t.Fatal(err)
	}
	_ = append(s.Get("a"), "xxx"...)
	if s.String("b") != "2" {
		t.Errorf("b is %q", s.String("b"))
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"", "comp=page", "a=%41+b&A=%2b", "restype=container&comp=list&prefix=%E2%82%AC", "%", "&=&"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		in := string(raw)
		s := new(Set)
		err := s.Parse(raw)
		if string(raw) != in {
			t.Fatal("the request was changed")
		}
		if err != nil {
			return
		}
		for _, p := range s.Params() {
			if strings.ContainsFunc(string(p.Name), func(r rune) bool { return 'A' <= r && r <= 'Z' }) {
				t.Fatalf("%q: upper case in name %q", in, p.Name)
			}
		}
	})
}

func BenchmarkParse(b *testing.B) {
	raw := []byte("comp=pagelist&snapshot=2019-07-17T02%3A08%3A06.5779282Z&prevsnapshot=2019-07-17T02%3A08%3A06.5358883Z")
	s := new(Set)
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Parse(raw); err != nil {
			b.Fatal(err)
		}
	}
}
