//go:build !race

package signing

import (
	"testing"

	"pagevault/internal/azure/header"
)

// TestVerifyDoesNotAllocate is left out of race builds, in which pools drop things at random.
func TestVerifyDoesNotAllocate(t *testing.T) {
	a := devAccount(t)
	r := putPage(t, a, form{})
	if !r.Headers.Has(header.Authorization) {
		t.Fatal("not signed")
	}
	n := testing.AllocsPerRun(200, func() {
		if err := VerifySharedKey(r, a, now, DefaultSkew); err != nil {
			t.Fatal(err)
		}
	})
	if n >= 1 { // the collector may empty a pool now and then
		t.Errorf("%v allocations a request", n)
	}
}
