package main

import (
	"strings"
	"testing"

	"pagevault/blobstore"
)

func TestParseLimits(t *testing.T) {
	f := func(text string, want blobstore.Limits) {
		t.Helper()
		if got, err := parseLimits(text); got != want || err != nil {
			t.Errorf("%q: got %+v, %v, want %+v", text, got, err, want)
		}
	}
	f("1GiB/850MiB/150MiB", blobstore.Limits{TotalBytes: 1 << 30, DataBytes: 850 << 20, MetadataBytes: 150 << 20})
	f("1TB/850GB/150GB", vaultLimits)
	f("vault", blobstore.Limits{TotalBytes: 1_000_000_000_000, DataBytes: 850_000_000_000, MetadataBytes: 150_000_000_000})
	f("vault/1000", blobstore.Limits{TotalBytes: 1e9, DataBytes: 850e6, MetadataBytes: 150e6})
	bad := func(text, want string) {
		t.Helper()
		if got, err := parseLimits(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %+v, %v", text, got, err)
		}
	}
	bad("", "want [ACCOUNT=]")
	bad("1GiB", "want [ACCOUNT=]")
	bad("1GiB/1MiB", "want [ACCOUNT=]")
	bad("1GiB/1MiB/1MiB/1MiB", "want [ACCOUNT=]")
	bad("1GiB/0/1MiB", "is not a size")
	bad("1GiB/1MiB/", "is not a size")
	bad("1GiB/1GiB/1", "1GiB and 1 are more than 1GiB together")
	bad("1GiB/2GiB/1", "are more than")
	bad("vault/0", "not a number")
	bad("vault/x", "not a number")
	bad("vault/1/1", "is not a size")
}

func TestSetLimits(t *testing.T) {
	all := func(flags ...string) (string, error) {
		accounts := []blobstore.AccountOptions{{Name: "a"}, {Name: "b"}}
		err := setLimits(accounts, flags)
		var got []string
		for _, a := range accounts {
			got = append(got, shownBytes(a.Limits.DataBytes))
		}
		return strings.Join(got, " "), err
	}
	f := func(want string, flags ...string) {
		t.Helper()
		if got, err := all(flags...); got != want || err != nil {
			t.Errorf("%q: got %s, %v, want %s", flags, got, err, want)
		}
	}
	f("0 B 0 B")
	f("1 KiB 1 KiB", "1MiB/1KiB/1KiB")
	f("0 B 1 KiB", "b=1MiB/1KiB/1KiB")
	f("2 KiB 1 KiB", "b=1MiB/1KiB/1KiB", "1MiB/2KiB/1KiB")
	bad := func(want string, flags ...string) {
		t.Helper()
		if _, err := all(flags...); err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %s", flags, err, want)
		}
	}
	bad(`"c=vault": there is no account "c"`, "c=vault")
	bad(`"vault": given twice for the same accounts`, "vault/2", "vault")
	bad(`"a=vault": given twice for the same accounts`, "a=vault/2", "vault", "a=vault")
	bad(`"a=": `+limitsWanted, "a=")
}

// TestDescribeKinds says that nothing was found only of what was checked.
func TestDescribeKinds(t *testing.T) {
	for complete, want := range map[bool]string{true: "no problems found", false: "nothing was found in what could be checked"} {
		if got := describeKinds(&blobstore.CheckSummary{Complete: complete}); got != want {
			t.Errorf("complete %v: got %q, want %q", complete, got, want)
		}
	}
}
