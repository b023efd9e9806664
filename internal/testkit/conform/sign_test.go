package conform

import (
	"slices"
	"strings"
	"testing"

	"pagevault/internal/testkit"
)

// The account that the tests sign for. Its keys are no secrets.
const (
	testAccount   = testkit.Account
	testKey       = testkit.AccountKey
	testSecondKey = "c2Vjb25kIGtleSBvZiB0aGUgY29uZm9ybWFuY2Ugc3VpdGUsIDY0IGJ5dGVzIGxvbmcgYXMgdGhlIGZpcnN0IG9uZSBpcw=="
)

// TestSigner signs the requests of which the signature is known.
func TestSigner(t *testing.T) {
	m := &message{method: "PUT", target: "/devstoreaccount1/disks/vm%201.vhd?comp=page", fields: []field{
		{"x-ms-date", "Fri, 26 Jun 2026 23:39:12 GMT"}, {"x-ms-page-write", "update"}, {"x-ms-range", "bytes=0-511"},
		{"x-ms-version", "2021-12-02"}, {"Content-Length", "512"}, {"Content-Type", "application/octet-stream"}}}
	for want, s := range map[string]signature{
		"SharedKey devstoreaccount1:fZcUl8191Ib38xyUUN3yAZGQsWJdWYTCRbEarh3hTmE=":     {},
		"SharedKeyLite devstoreaccount1:RmXrqcVWTCuxKb7WT1Ukvm9/A2IXTuMMwEMC/s00t5I=": {lite: true},
	} {
		s.account, s.key = testAccount, testKey
		if got := s.header(m); got != want {
			t.Errorf("%s\nwant %s\nof %q", got, want, s.stringToSign(m))
		}
	}
}

func TestCultureOrder(t *testing.T) {
	names := []string{"x-ms-blobs", "x-ms-blob-x", "x-ms-copy-source", "x-ms-copy-source-tag-option", "x-ms-meta-a_b", "x-ms-meta-a1",
		"x-ms-meta-ab", "x-ms-meta-a-b"}
	want := slices.Clone(names)
	slices.Sort(names)
	slices.SortFunc(names, compareCulture)
	if got := strings.Join(names, " "); got != strings.Join(want, " ") {
		t.Errorf("%s\nwant %s", got, strings.Join(want, " "))
	}
}
