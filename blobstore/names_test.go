package blobstore

import (
	"strings"
	"testing"

	"pagevault/internal/azure/azerr"
)

func TestContainerNames(t *testing.T) {
	f := func(name string, look, create error) {
		t.Helper()
		if got := checkContainerName(name); got != look {
			t.Errorf("%q: looking for it gives %v, want %v", name, got, look)
		}
		if got := checkNewContainerName(name); got != create {
			t.Errorf("%q: creating it gives %v, want %v", name, got, create)
		}
	}
	f("abc", nil, nil)
	f("a-1-b", nil, nil)
	f("123", nil, nil)
	f(strings.Repeat("a", 63), nil, nil)
	f("$root", nil, nil)
	f("$web", nil, nil)
	f("$logs", nil, azerr.InvalidResourceName)           // the service's own
	f("$blobchangefeed", nil, azerr.InvalidResourceName) // the service's own
	short := azerr.OutOfRangeInput
	f("", short, short)
	f("ab", short, short)
	f(strings.Repeat("a", 64), short, short)
	bad := azerr.InvalidResourceName
	for _, name := range []string{"-ab", "ab-", "a--b", "Abc", "a_b", "a.b", "$abc", "a/b", "ab\x00", "äöü"} {
		f(name, bad, bad)
	}
}

func TestBlobNames(t *testing.T) {
	f := func(container, name string, want error) {
		t.Helper()
		if got := checkBlobName(container, name); got != want {
			t.Errorf("%.20q (%d bytes): got %v, want %v", name, len(name), got, want)
		}
	}
	f("abc", "a", nil)
	f("abc", "\x00\xff\xfe", nil) // any bytes
	f("abc", "a//b/../.", nil)    // nothing is normalised
	f("abc", "", azerr.OutOfRangeInput)
	f("abc", strings.Repeat("a", 1024), nil)
	f("abc", strings.Repeat("a", 1025), azerr.OutOfRangeInput)
	f("abc", strings.Repeat("ä", 1024), nil) // characters count, not bytes
	f("abc", strings.Repeat("ä", 1025), azerr.OutOfRangeInput)
	f("abc", strings.Repeat("\U0001F600", 512), nil) // two units each in UTF-16
	f("abc", strings.Repeat("\U0001F600", 513), azerr.OutOfRangeInput)
	f("abc", strings.Repeat("/", 253), nil)
	f("abc", strings.Repeat("/", 254), azerr.InvalidResourceName)
	f("$root", "a", nil)
	f("$root", "a/b", azerr.InvalidResourceName)
	f("$web", "a/b", nil)
}
