package header

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"pagevault/internal/azure/azerr"
)

func TestParseInt64(t *testing.T) {
	f := func(in string, want int64, ok bool) {
		t.Helper()
		if got, gotOK := ParseInt64([]byte(in)); got != want || gotOK != ok {
			t.Errorf("%q: got %d, %v, want %d, %v", in, got, gotOK, want, ok)
		}
	}
	f("0", 0, true)
	f("-1", -1, true)
	f("0512", 512, true)
	f("9223372036854775807", math.MaxInt64, true)
	f("-9223372036854775807", -math.MaxInt64, true)
	for _, in := range []string{"", "-", "--1", "+1", " 1", "1 ", "1.0", "1e3", "0x10", "1,000", "9223372036854775808", "99999999999999999999", "٣"} {
		f(in, 0, false)
	}
}

func TestInt(t *testing.T) {
	f := func(line string, want int64, present, ok bool) {
		t.Helper()
		got, gotPresent, err := Int(set(t, line), XMsLeaseBreakPeriod, 0, 60)
		if got != want || gotPresent != present || (err == nil) != ok {
			t.Errorf("%q: got %d, %v, %v", line, got, gotPresent, err)
		}
		if err != nil && (!errors.Is(err, azerr.InvalidHeaderValue) || !strings.Contains(err.Error(), "HeaderName=x-ms-lease-break-period")) {
			t.Errorf("%q: %v", line, err)
		}
	}
	f("x-other: 1", 0, false, true)
	f("x-ms-lease-break-period: 0", 0, true, true)
	f("x-ms-lease-break-period: 60", 60, true, true)
	f("x-ms-lease-break-period: 61", 0, true, false)
	f("x-ms-lease-break-period: -1", 0, true, false)
	f("x-ms-lease-break-period:", 0, true, false)
}

func TestPageLength(t *testing.T) {
	f := func(value string, want int64, ok bool) {
		t.Helper()
		got, present, err := PageLength(set(t, "x-ms-blob-content-length: "+value))
		if got != want || !present || (err == nil) != ok || err != nil && !strings.HasSuffix(err.Error(), "HeaderName=x-ms-blob-content-length HeaderValue="+value) {
			t.Errorf("%q: got %d, %v, %v", value, got, present, err)
		}
	}
	f("0", 0, true)
	f("8796093022208", 8<<40, true)
	f("12", 0, false)
	f("-512", 0, false)
	f("x", 0, false)
	if _, present, err := PageLength(set(t)); present || err != nil {
		t.Errorf("no header: %v, %v", present, err)
	}
}

func TestBool(t *testing.T) {
	f := func(line string, want, ok bool) {
		t.Helper()
		if got, err := Bool(set(t, line), XMsRangeGetContentMD5); got != want || (err == nil) != ok {
			t.Errorf("%q: got %v, %v", line, got, err)
		}
	}
	f("x-other: true", false, true)
	f("x-ms-range-get-content-md5: true", true, true)
	f("x-ms-range-get-content-md5: True", true, true)
	f("x-ms-range-get-content-md5: FALSE", false, true)
	f("x-ms-range-get-content-md5: 1", false, false)
	f("x-ms-range-get-content-md5:", false, false)
}

func TestTime(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		got, ok := ParseTime([]byte(in))
		if !ok && want != "" || ok && got.Format(time.RFC3339) != want {
			t.Errorf("%q: got %v, %v, want %q", in, got, ok, want)
		}
	}
	f("Fri, 26 Jun 2026 23:39:12 GMT", "2026-06-26T23:39:12Z")
	f("Thu, 29 Feb 2024 00:00:00 GMT", "2024-02-29T00:00:00Z")
	f("Mon, 01 Jan 0001 00:00:00 GMT", "0001-01-01T00:00:00Z")
	f("Fri, 31 Dec 9999 23:59:59 GMT", "9999-12-31T23:59:59Z")
	// The obsolete form.
	f("Friday, 26-Jun-26 23:39:12 GMT", "2026-06-26T23:39:12Z")
	f("Sunday, 06-Nov-94 08:49:37 GMT", "1994-11-06T08:49:37Z")
	for _, in := range []string{"", "0", "Fri, 26 Jun 2026 23:39:12 UTC", "Fri, 26 Jun 2026 23:39:12 +0000", "Fri, 26 Jun 2026 23:39:12", "2026-06-26T23:39:12Z",
		"Fri, 30 Feb 2026 23:39:12 GMT", "Fri, 00 Jan 2026 23:39:12 GMT", "Fri, 26 Jum 2026 23:39:12 GMT", "Fre, 26 Jun 2026 23:39:12 GMT",
		"Fri, 26 Jun 2026 24:00:00 GMT", "Fri, 26 Jun 2026 23:60:00 GMT", "Fri, 26 Jun 2026 23:39:60 GMT", "Fri, 26 Jun 0000 23:39:12 GMT",
		"Fri, -6 Jun 2026 23:39:12 GMT", "Fri, 26 Jun +026 23:39:12 GMT", "Fri Jun 26 23:39:12 2026", " Fri, 26 Jun 2026 23:39:12 GMT", "Friday, 26-Jun-26 23:39:12 UTC"} {
		f(in, "")
	}

	at := time.Date(2026, 6, 26, 23, 39, 12, 999999999, time.FixedZone("", 3600))
	if got := string(FormatTime(nil, at)); got != "Fri, 26 Jun 2026 22:39:12 GMT" {
		t.Errorf("got %s", got)
	}
	for _, unix := range []int64{0, 951782400, 1<<31 - 1, 4102444799, -62135596800, -62167219201, 253402300799, 253402300800} {
		for step := range int64(40) { // more than a month
			at := time.Unix(unix+step*80001, 0)
			if got, want := string(FormatTime([]byte("x"), at)), "x"+at.UTC().Format(timeLayout); got != want {
				t.Errorf("%d: got %s, want %s", at.Unix(), got, want)
			}
		}
	}
	if _, _, err := Time(set(t, "If-Modified-Since:"), IfModifiedSince); !errors.Is(err, azerr.InvalidHeaderValue) {
		t.Errorf("an empty date: %v", err)
	}
}

func TestLeaseID(t *testing.T) {
	const want = "0f8fad5b-d9cb-469f-a165-70867728950e"
	f := func(in string, ok bool) {
		t.Helper()
		got, err := ParseLeaseID([]byte(in))
		if ok && got != want || !ok && err == nil {
			t.Errorf("%q: got %q, %v", in, got, err)
		}
	}
	// The five forms of .NET: N, D, B, P and X.
	f("0f8fad5bd9cb469fa16570867728950e", true)
	f("0F8FAD5B-d9cb-469f-A165-70867728950E", true)
	f("{0f8fad5b-d9cb-469f-a165-70867728950e}", true)
	f("(0f8fad5b-d9cb-469f-a165-70867728950e)", true)
	f("{0x0f8fad5b,0xd9cb,0x469f,{0xa1,0x65,0x70,0x86,0x77,0x28,0x95,0x0e}}", true)
	f("{0Xf8fad5b,0xD9CB,0x469f,{0xa1,0x65,0x70,0x86,0x77,0x28,0x95,0xe}}", true)
	for _, in := range []string{"", "0", "0f8fad5b-d9cb-469f-a165-70867728950", "0f8fad5b-d9cb-469f-a165-70867728950e0", "0f8fad5bd9cb469fa16570867728950g",
		"0f8fad5b+d9cb-469f-a165-70867728950e", "{0f8fad5b-d9cb-469f-a165-70867728950e)", "{0f8fad5bd9cb469fa16570867728950e}",
		"{0x0f8fad5b,0xd9cb,0x469f,{0xa1,0x65,0x70,0x86,0x77,0x28,0x95,0x0e}", "{0x0f8fad5b,0xd9cb,0x469f,{0xa1,0x65,0x70,0x86,0x77,0x28,0x95}}",
		"{0x0f8fad5b,0xd9cb,0x469f,{0xa1,0x65,0x70,0x86,0x77,0x28,0x95,0x0e,0x0e}}", "{0x00f8fad5b,0xd9cb,0x469f,{0xa1,0x65,0x70,0x86,0x77,0x28,0x95,0x0e}}",
		"{0x,0xd9cb,0x469f,{0xa1,0x65,0x70,0x86,0x77,0x28,0x95,0x0e}}", "{0f8fad5b,0xd9cb,0x469f,{0xa1,0x65,0x70,0x86,0x77,0x28,0x95,0x0e}}",
		"{0x0f8fad5b,0xd9cb,0x469f,{0xa1,0x65,0x70,0x86,0x77,0x28,0x95,0x0e}}}", "lease"} {
		f(in, false)
	}
	s := set(t, "x-ms-lease-id: {0F8FAD5B-D9CB-469F-A165-70867728950E}", "x-ms-proposed-lease-id: x")
	if got, err := LeaseID(s, XMsLeaseID); got != want || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := LeaseID(s, XMsProposedLeaseID); !errors.Is(err, azerr.InvalidHeaderValue) || !strings.Contains(err.Error(), "HeaderName=x-ms-proposed-lease-id HeaderValue=x") {
		t.Errorf("got %v", err)
	}
	if got, err := LeaseID(set(t), XMsLeaseID); got != "" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}
