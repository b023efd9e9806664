package blobstore

import (
	"errors"
	"testing"

	"pagevault/internal/azure/azerr"
	"pagevault/pagestore"
)

func TestLimitsThatMakeSense(t *testing.T) {
	f := func(total, data, metadata int64, want bool) {
		t.Helper()
		if err := (Limits{total, data, metadata}).check(); (err == nil) != want {
			t.Errorf("%d/%d/%d: %v", total, data, metadata, err)
		}
	}
	f(0, 0, 0, true)
	f(10, 6, 4, true)
	f(11, 6, 4, true)
	f(9, 6, 4, false)
	f(10, 0, 4, false)
	f(10, 6, 0, false)
	f(10, -6, 4, false)
	f(0, 6, 4, false)
	f(1<<62, 1<<62, 1<<62, false)
	f(-1<<63, 1<<62, 1<<62, false)
	_, err := Open(Options{Accounts: []AccountOptions{{Name: "a", Keys: [][]byte{{1}}, Limits: Limits{1, 1, 1}}},
		Store: func(string) (pagestore.Options, error) {
			t.Error("the store was asked for")
			return pagestore.Options{}, nil
		}})
	if err == nil {
		t.Error("limits that exceed their total were accepted")
	}
}

// TestFull shows the answer of an account without room: code, sentence and cause.
func TestFull(t *testing.T) {
	f := newFixture(t)
	q := &pagestore.QuotaError{Used: 100, Asked: 20, Cap: 110}
	err := f.coded(errors.Join(q))
	wantCode(t, "data", err, azerr.AccountCapacityExceeded)
	if !errors.Is(err, pagestore.ErrQuota) {
		t.Errorf("the cause is lost: %v", err)
	}
	equal(t, "data", azerr.From(err).Text, "The account acct has reached its capacity limit for data: 100 of 110 bytes are used, and the request needs 20 more. Reading, clearing and deleting go on.")
	err = f.coded(&pagestore.QuotaError{Metadata: true, Used: 100, Cap: 50})
	equal(t, "metadata", azerr.From(err).Text, "The account acct has reached its capacity limit for metadata: 100 of 50 bytes are used. Reading, clearing and deleting go on.")
}

// TestFullOfMetadata: what only adds rows is refused as well; what clients need to finish and to clean up is not.
func TestFullOfMetadata(t *testing.T) {
	f := newFixture(t)
	f.create("a", 8)
	f.put("a", 0, 8, 'x')
	first := f.snapshot("a")
	f.store.SetQuota(pagestore.Quota{MetadataBytes: 1})
	full := func(what string, err error) {
		t.Helper()
		wantCode(t, what, err, azerr.AccountCapacityExceeded)
	}
	_, err := f.CreateContainer("more", nil)
	full("container", err)
	_, err = f.SetContainerMetadata("cont", &Access{}, nil)
	full("container metadata", err)
	_, err = f.SetBlobMetadata(ref("a"), &Access{}, nil)
	full("blob metadata", err)
	acquire(t, f, "a", "01234567-89ab-cdef-0123-456789abcdef")
	ok(t, f.DeleteBlob(snap("a", first), &Access{}, SnapshotsNone))
	equal(t, "pages", f.letters(ref("a")), "xxxxxxxx")
	_, err = f.ClearPages(ref("a"), &ClearPages{Access: holding("01234567-89ab-cdef-0123-456789abcdef"), Range: clearReq(0, 4).Range})
	ok(t, err)
	equal(t, "pages", f.letters(ref("a")), "....xxxx")
	ok(t, f.DeleteBlob(ref("a"), &Access{LeaseID: "01234567-89ab-cdef-0123-456789abcdef"}, SnapshotsNone))
	ok(t, f.DeleteContainer("cont", &Access{}))
}

func TestUsage(t *testing.T) {
	f := newFixture(t)
	f.create("a", 100)
	u := value(f.Usage())(t)
	equal(t, "totals", u.Totals, Totals{Containers: 1, Blobs: 1, ProvisionedBytes: 100 * PageSize})
	equal(t, "ratios of nothing", u.DedupRatio()+u.CompressionRatio(), 0)
	equal(t, "metadata", u.MetadataBytes > 0 && u.LogBytes > 0, true)
	u.WrittenBytes, u.UniqueBytes, u.LiveBytes = 600, 300, 200
	equal(t, "dedup", u.DedupRatio(), 2)
	equal(t, "compression", u.CompressionRatio(), 1.5)
}
