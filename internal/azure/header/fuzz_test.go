package header

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"pagevault/internal/azure/azerr"
)

func FuzzRange(f *testing.F) {
	for _, s := range []string{"bytes=0-511", "bytes=512-", "bytes=-1", "bytes=0-1,2-3", "bytes=9223372036854775807-9223372036854775807", "BYTES=00-00", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, ok := ParseRange([]byte(s))
		if !ok {
			if r != (Range{}) {
				t.Fatalf("%q: %v with false", s, r)
			}
			return
		}
		if r.Start < 0 || r.End < r.Start || r.End == r.Start && r.Start != math.MaxInt64 {
			t.Fatalf("%q: %v", s, r)
		}
		if r.End != math.MaxInt64 { // written as the service writes it, it reads the same
			again, ok := ParseRange([]byte("bytes=" + strings.TrimSuffix(strings.TrimPrefix(string(AppendContentRange(nil, r, 1)), "bytes "), "/1")))
			if !ok || again != r {
				t.Fatalf("%q: %v, then %v", s, r, again)
			}
		}
		h := new(Set)
		if err := h.Add([]byte("x-ms-range"), []byte(s)); err != nil {
			t.Fatal(err)
		}
		p, err := ParsePageRange(h)
		if aligned := r.Start%PageSize == 0 && r.End%PageSize == 0; (err == nil) != aligned || err == nil && p != r {
			t.Fatalf("%q: %v, then %v, %v", s, r, p, err)
		}
	})
}

// FuzzSet adds lines of headers and checks that nothing known is lost, doubled or changed.
func FuzzSet(f *testing.F) {
	f.Add("Range: bytes=0-511\nx-ms-range:\nX-MS-META-a: b\nx-ms-unknown: 1\nAccept: */*")
	f.Add("If-Match: a\nif-match: b")
	f.Add(":\n\n: \nx-ms-:\nx-ms-meta-:")
	f.Fuzz(func(t *testing.T, lines string) {
		s := new(Set)
		want := map[ID]string{}
		xms := 0
		for _, line := range strings.Split(lines, "\n") {
			name, value, _ := strings.Cut(line, ":")
			id := Lookup([]byte(name))
			if id != 0 && !strings.EqualFold(id.String(), name) {
				t.Fatalf("%q was taken for %v", name, id)
			}
			err := s.Add([]byte(name), []byte(value))
			_, twice := want[id]
			if id != 0 && twice != errors.Is(err, azerr.InvalidHeaderValue) || id == 0 && err != nil && !errors.Is(err, azerr.InvalidInput) {
				t.Fatalf("%q: %v", line, err)
			}
			if id != 0 && !twice {
				want[id] = strings.Trim(value, " \t")
			}
			if err == nil && strings.HasPrefix(strings.ToLower(name), "x-ms-") {
				xms++
			}
		}
		for id := ID(1); id < idEnd; id++ {
			v, ok := want[id]
			if s.Has(id) != ok || s.String(id) != v || ok && s.Get(id) == nil {
				t.Fatalf("%v is %q, %v, want %q, %v", id, s.Get(id), s.Has(id), v, ok)
			}
		}
		for range s.XMs {
			xms--
		}
		if xms != 0 {
			t.Fatalf("%d x-ms-* headers were lost", xms)
		}
	})
}

func FuzzMetadata(f *testing.F) {
	f.Add("a", "1", "A", "2")
	f.Add("", "", "a-b", "é")
	f.Add("_x", strings.Repeat("v", 8200), "b", "\x00")
	f.Fuzz(func(t *testing.T, n1, v1, n2, v2 string) {
		s := new(Set)
		for _, p := range []Pair{{n1, v1}, {n2, v2}} {
			if Lookup([]byte("x-ms-meta-"+p.Name)) != 0 {
				t.Fatalf("%q is a header of the service", p.Name)
			}
			if err := s.Add([]byte("x-ms-meta-"+p.Name), []byte(p.Value)); err != nil {
				t.Fatal(err)
			}
		}
		pairs, err := ParseMetadata(s)
		if err != nil {
			if pairs != nil || !errors.Is(err, azerr.InvalidMetadata) && !errors.Is(err, azerr.EmptyMetadataKey) && !errors.Is(err, azerr.MetadataTooLarge) {
				t.Fatalf("got %v, %v", pairs, err)
			}
			return
		}
		size := 0
		for i, p := range pairs {
			size += len(p.Name) + len(p.Value)
			if want := []string{n1, n2}[i]; p.Name != want || strings.ContainsAny(p.Name, "-.: \"<>&") || p.Name[0] >= '0' && p.Name[0] <= '9' {
				t.Fatalf("name %q", p.Name)
			}
			for _, c := range p.Value {
				if c > 0x7e || c < 0x20 && c != '\t' {
					t.Fatalf("value %q", p.Value)
				}
			}
		}
		if len(pairs) != 2 || strings.EqualFold(n1, n2) || size > 8<<10 {
			t.Fatalf("got %v", pairs)
		}
	})
}

func FuzzLeaseID(f *testing.F) {
	for _, s := range []string{"0f8fad5bd9cb469fa16570867728950e", "0F8FAD5B-d9cb-469f-A165-70867728950E", "{0f8fad5b-d9cb-469f-a165-70867728950e}",
		"(0f8fad5b-d9cb-469f-a165-70867728950e)", "{0x0f8fad5b,0xd9cb,0x469f,{0xa1,0x65,0x70,0x86,0x77,0x28,0x95,0x0e}}", "{0x", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := ParseLeaseID([]byte(s))
		if err != nil {
			if id != "" {
				t.Fatalf("%q: %q with %v", s, id, err)
			}
			return
		}
		if len(id) != 36 || strings.ToLower(id) != id || strings.Count(id, "-") != 4 {
			t.Fatalf("%q: %q", s, id)
		}
		for _, form := range []string{id, strings.ToUpper(id), "{" + id + "}", "(" + id + ")", strings.ReplaceAll(id, "-", "")} {
			if again, err := ParseLeaseID([]byte(form)); again != id || err != nil {
				t.Fatalf("%q: %q, %v", form, again, err)
			}
		}
	})
}

func FuzzTime(f *testing.F) {
	for _, s := range []string{"Fri, 26 Jun 2026 23:39:12 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Mon, 01 Jan 0001 00:00:00 GMT", "Thu, 30 Feb 2024 00:00:00 GMT", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := ParseTime([]byte(s))
		// The standard library takes names in any case and the service's canonical form is one; there the two agree.
		if want, err := time.Parse(timeLayout, s); err == nil && want.Year() > 0 && len(s) == len(timeLayout) {
			if ok && !got.Equal(want) || !ok && want.Format(timeLayout) == s {
				t.Fatalf("%q: got %v, %v, want %v", s, got, ok, want)
			}
		}
		if !ok {
			return
		}
		if again, ok := ParseTime(FormatTime(nil, got)); !ok || !again.Equal(got) || got.Nanosecond() != 0 {
			t.Fatalf("%q: %v, then %v", s, got, again)
		}
	})
}

func FuzzChecksum(f *testing.F) {
	f.Add("kAFQmDzST7DWlj99KOF/cg==", "", []byte("abc"))
	f.Add("", "6/rBP7vK5QU=", []byte("abc"))
	f.Add("=", "\n", []byte{})
	f.Fuzz(func(t *testing.T, md5, crc string, body []byte) {
		s := new(Set)
		for id, v := range map[ID]string{ContentMD5: md5, XMsContentCRC64: crc} {
			if v != "" {
				if err := s.Add([]byte(id.String()), []byte(v)); err != nil {
					t.Fatal(err)
				}
			}
		}
		c, err := ParseChecksum(s)
		if err != nil {
			return
		}
		v, err := c.Verify(body)
		if err != nil {
			if !errors.Is(err, azerr.Md5Mismatch) && !errors.Is(err, azerr.Crc64Mismatch) {
				t.Fatal(err)
			}
			return
		}
		// What passed comes back as it was sent, but for the bits of the last base64 digit that count for nothing.
		const counts = 21 // of the 24 digits of an MD5, and 10 of the 12 of a CRC64
		if s.Has(ContentMD5) && string(AppendMD5(nil, v.MD5))[:counts] != s.String(ContentMD5)[:counts] ||
			s.Has(XMsContentCRC64) && string(AppendCRC64(nil, v.CRC))[:10] != s.String(XMsContentCRC64)[:10] {
			t.Fatalf("sent %q %q, got %+v", md5, crc, v)
		}
	})
}
