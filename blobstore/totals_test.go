package blobstore

import (
	"errors"
	"testing"

	"pagevault/internal/azure/azerr"
	"pagevault/pagestore"
)

// totals returns what the row keeps and fails the test unless a recount says the same.
func (f *fixture) totals() Totals {
	f.t.Helper()
	v := value(f.store.View())(f.t)
	defer func() { ok(f.t, v.Close()) }()
	kept, counted := value(ReadTotals(v))(f.t), value(Recount(v))(f.t)
	if kept != counted {
		f.t.Fatalf("totals: the row says %+v, a recount %+v", kept, counted)
	}
	return kept
}

func TestTotals(t *testing.T) {
	f := newBareFixture(t, nil)
	want := func(what string, containers, blobs, snapshots, pages uint64) {
		t.Helper()
		equal(t, what, f.totals(), Totals{containers, blobs, snapshots, pages * PageSize})
	}
	want("nothing", 0, 0, 0, 0)
	equal(t, "rows of an account without containers", f.rowCount(tableTotals), 0)
	must(t)(f.CreateContainer("cont", nil))
	must(t)(f.CreateContainer("other", nil))
	want("two containers", 2, 0, 0, 0)
	f.create("a", 10)
	f.create("b", 0)
	want("two blobs", 2, 2, 0, 10)
	f.put("a", 0, 4, 'x')
	want("written, nothing provisioned by that", 2, 2, 0, 10)
	first := f.snapshot("a")
	f.snapshot("a")
	want("snapshots", 2, 2, 2, 10)
	f.resize("a", 100)
	f.resize("a", 30)
	want("resized", 2, 2, 2, 30)
	f.create("a", 7) // its snapshots stay
	want("made anew", 2, 2, 2, 7)
	_, err := f.CreatePageBlob(ref("a"), &CreatePageBlob{Access: with(t, "If-None-Match", "*"), Size: PageSize})
	wantCode(t, "refused", err, azerr.BlobAlreadyExists)
	want("refused", 2, 2, 2, 7)
	ok(t, f.DeleteBlob(snap("a", first), &Access{}, SnapshotsNone))
	want("a snapshot less", 2, 2, 1, 7)
	f.snapshot("a")
	ok(t, f.DeleteBlob(ref("a"), &Access{}, SnapshotsOnly))
	want("none left", 2, 2, 0, 7)
	f.snapshot("a")
	f.snapshot("b")
	ok(t, f.DeleteBlob(ref("a"), &Access{}, SnapshotsInclude))
	want("a blob less", 2, 1, 1, 0)
	f.reopen()
	want("opened again", 2, 1, 1, 0)
	f.create("c", 5)
	ok(t, f.DeleteContainer("cont", &Access{}))
	<-f.reaped
	want("a container less", 1, 0, 0, 0)
	ok(t, f.DeleteContainer("other", &Access{}))
	<-f.reaped
	want("nothing left", 0, 0, 0, 0)
}

// TestTotalsOfOldStore: a store that was written before totals were kept is counted when it is opened.
func TestTotalsOfOldStore(t *testing.T) {
	f := newFixture(t)
	f.create("a", 3)
	f.snapshot("a")
	ok(t, f.update(func(tx *pagestore.Tx) error {
		tx.Delete(totalsKey)
		return nil
	}))
	f.reopen()
	equal(t, "totals", f.totals(), Totals{1, 1, 1, 3 * PageSize})
	f.create("b", 1)
	equal(t, "totals", f.totals(), Totals{1, 2, 1, 4 * PageSize})
}

// TestDamagedTotals: a row that cannot be read is an error, never taken for another count.
func TestDamagedTotals(t *testing.T) {
	whole := appendTotalsRow(nil, &Totals{1, 2, 300, 1 << 40})
	equal(t, "whole", value(decodeTotalsRow(whole))(t), Totals{1, 2, 300, 1 << 40})
	for n := range whole {
		if _, err := decodeTotalsRow(whole[:n]); !errors.Is(err, pagestore.ErrCorrupt) {
			t.Errorf("%d bytes of it: %v", n, err)
		}
	}
	for _, bad := range [][]byte{append(whole[:len(whole):len(whole)], 0), append([]byte{rowVersion + 1}, whole[1:]...)} {
		if _, err := decodeTotalsRow(bad); !errors.Is(err, pagestore.ErrCorrupt) {
			t.Errorf("%x: %v", bad, err)
		}
	}
}
