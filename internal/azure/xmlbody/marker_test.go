package xmlbody

import (
	"errors"
	"strings"
	"testing"

	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/xmltext"
)

func TestMarker(t *testing.T) {
	// Fixed for ever: clients keep markers.
	if got := EncodeMarker("disks/vm 1.vhd"); got != "AWRpc2tzL3ZtIDEudmhk" {
		t.Errorf("got %s", got)
	}
	if got := EncodeMarker(""); got != "" {
		t.Errorf("got %s", got)
	}
	for _, key := range []string{"", "a", "0", "123456", "\x00\xff", "é😀", "a\x00b", strings.Repeat("k", 4096)} {
		got, err := DecodeMarker(EncodeMarker(key))
		if err != nil || got != key {
			t.Errorf("%q: got %q, %v", key, got, err)
		}
	}
	for _, marker := range []string{"a", "AQ", "AQ==", "AgEB", "AWRpc2tz+", "AWRpc2tz/", "AWRpc2tzL", "123456", "AWRpc2tz\n", "Awé", strings.Repeat("A", maxMarker+1)} {
		if got, err := DecodeMarker(marker); got != "" || !errors.Is(err, azerr.InvalidQueryParameterValue) || !strings.Contains(err.Error(), "QueryParameterName=marker") {
			t.Errorf("%.20q: got %q, %v", marker, got, err)
		}
	}
}

// FuzzMarker checks that every key survives, that markers can go anywhere, and that a key has one marker.
func FuzzMarker(f *testing.F) {
	for _, s := range []string{"", "a", "AWRpc2tz", "\x00\xff", "12345"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		marker := EncodeMarker(s)
		if strings.ContainsFunc(marker, func(r rune) bool {
			return r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
		}) || !xmltext.Legal(marker) {
			t.Fatalf("%q has the marker %q", s, marker)
		}
		if len(marker) <= maxMarker {
			if key, err := DecodeMarker(marker); err != nil || key != s {
				t.Fatalf("%q: got %q, %v", s, key, err)
			}
		}
		if key, err := DecodeMarker(s); err == nil && EncodeMarker(key) != s {
			t.Fatalf("%q is a second marker of %q", s, key)
		}
	})
}
