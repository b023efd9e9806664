package header

import (
	"errors"
	"math"
	"strings"
	"testing"

	"pagevault/internal/azure/azerr"
)

func TestParseRange(t *testing.T) {
	f := func(in string, start, end int64, ok bool) {
		t.Helper()
		got, gotOK := ParseRange([]byte(in))
		if got != (Range{start, end}) || gotOK != ok {
			t.Errorf("%q: got %v, %v, want [%d,%d), %v", in, got, gotOK, start, end, ok)
		}
	}
	f("bytes=0-511", 0, 512, true)
	f("bytes=512-512", 512, 513, true)
	f("bytes=7-", 7, math.MaxInt64, true)
	f("Bytes=007-08", 7, 9, true)
	// Near the limits: 8 TiB, and what an int64 holds.
	f("bytes=8796093021696-8796093022207", 8796093021696, 8796093022208, true)
	f("bytes=0-9223372036854775806", 0, math.MaxInt64, true)
	f("bytes=0-9223372036854775807", 0, math.MaxInt64, true)
	f("bytes=9223372036854775807-", math.MaxInt64, math.MaxInt64, true)
	f("bytes=0-9223372036854775808", 0, 0, false)
	f("bytes=9223372036854775808-", 0, 0, false)
	f("bytes=18446744073709551616-18446744073709551617", 0, 0, false)
	// Everything else.
	for _, in := range []string{"", "bytes", "bytes=", "bytes=-", "bytes=-5", "bytes=-2-497", "bytes=5", "bytes=5-4", "bytes=0-1,2-3", "bytes= 0-1",
		"bytes=0 -1", "bytes=0-1 ", "bytes=+0-1", "bytes=0-+1", "bytes=0--1", "bytes:0-1", "byte=0-1", "0-1", "bytes=a-b", "bytes=0x0-0x1", "bytes=٠-١"} {
		f(in, 0, 0, false)
	}
}

func TestReadRange(t *testing.T) {
	f := func(want Range, ok bool, lines ...string) {
		t.Helper()
		if got, gotOK := ReadRange(set(t, lines...)); got != want || gotOK != ok {
			t.Errorf("%q: got %v, %v", lines, got, gotOK)
		}
	}
	f(Range{}, false)
	f(Range{1, 3}, true, "Range: bytes=1-2")
	f(Range{1, 3}, true, "x-ms-range: bytes=1-2", "Range: bytes=5-6")
	// x-ms-range counts even when it is nonsense.
	f(Range{}, false, "x-ms-range: bytes=2-1", "Range: bytes=5-6")
	f(Range{}, false, "x-ms-range:", "Range: bytes=5-6")
}

func TestParsePageRange(t *testing.T) {
	f := func(want Range, lines ...string) {
		t.Helper()
		if got, err := ParsePageRange(set(t, lines...)); got != want || err != nil {
			t.Errorf("%q: got %v, %v", lines, got, err)
		}
	}
	f(Range{0, 512}, "Range: bytes=0-511")
	f(Range{512, 2048}, "x-ms-range: bytes=512-2047", "Range: bytes=1-2")

	// The header is always called Range, and shown as it was sent.
	bad := func(want azerr.Code, detail string, lines ...string) {
		t.Helper()
		got, err := ParsePageRange(set(t, lines...))
		if got != (Range{}) || !errors.Is(err, want) || !strings.HasSuffix(err.Error(), detail) {
			t.Errorf("%q: got %v, %v, want %v … %s", lines, got, err, want, detail)
		}
	}
	bad(azerr.MissingRequiredHeader, " HeaderName=Range")
	for _, v := range []string{"bytes=0-512", "bytes=1-511", "bytes=0-", "bytes=512-511", "bytes=0-9223372036854775807", "bytes=", "", "bytes=0-511,512-1023"} {
		bad(azerr.InvalidHeaderValue, " HeaderName=Range HeaderValue="+v, "x-ms-range: "+v)
		bad(azerr.InvalidHeaderValue, " HeaderName=Range HeaderValue="+v, "Range: "+v)
	}
}

func TestAppendContentRange(t *testing.T) {
	if got := string(AppendContentRange(nil, Range{512, 1024}, 8<<40)); got != "bytes 512-1023/8796093022208" {
		t.Errorf("got %s", got)
	}
	if got := string(AppendUnsatisfiedRange(nil, 0)); got != "bytes */0" {
		t.Errorf("got %s", got)
	}
}
