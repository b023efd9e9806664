package pagestore

import (
	"errors"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/pagestore/pagemap"
	"pagevault/replication"
)

// countRows returns how many rows of a kind the index has.
func countRows(t *testing.T, s *Store, row byte) (n int) {
	t.Helper()
	for key := range allRows(t, s) {
		if key[0] == row {
			n++
		}
	}
	return n
}

// scatter writes a page to each of n regions of a volume.
func scatter(t *testing.T, s *Store, v VolumeID, n int) {
	t.Helper()
	var contents []*Content
	for i := range n {
		c, err := s.Prepare(PageNo(i*pagemap.RegionPages+i%100), zeros[:PageSize])
		if err != nil {
			t.Fatal(err)
		}
		defer c.Release()
		contents = append(contents, c)
	}
	update(t, s, func(tx *Tx) error {
		for _, c := range contents {
			if err := tx.Write(v, c); err != nil {
				return err
			}
		}
		return nil
	})
}

func steps(t *testing.T, s *Store) (n int) {
	t.Helper()
	for {
		more, err := s.reapOnce(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !more {
			return n
		}
		n++
	}
}

// TestReapSteps drops a volume of many entries: they go in steps of a bounded number of them, over which the store can be
// closed, and nothing is left of it.
func TestReapSteps(t *testing.T) {
	o := testOptions(vfs.NewMem(), 1)
	o.passive = true
	s := openTest(t, o)
	v, other := newVolume(t, s), newVolume(t, s)
	const regions = 2*reapWork + 100
	scatter(t, s, v, regions)
	scatter(t, s, other, 3)
	update(t, s, func(tx *Tx) error { _, err := tx.Freeze(v); return err })
	scatter(t, s, v, 10)
	update(t, s, func(tx *Tx) error { return tx.Drop(v) })
	withView(t, s, func(view *View) {
		if err := view.Read(v, GenHead, 0, nil); !errors.Is(err, ErrNoVolume) {
			t.Fatalf("read of a dropped volume: %v", err)
		}
	})
	left := countRows(t, s, rowMap)
	for i := range 2 {
		if more, err := s.reapOnce(t.Context()); !more || err != nil {
			t.Fatal(more, err)
		}
		n := countRows(t, s, rowMap)
		if gone := left - n; gone < reapWork || gone > reapWork+1 { // a region is not divided, and some have two
			t.Fatalf("step %d deleted %d entries, want %d", i, gone, reapWork)
		}
		left = n
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = openTest(t, o)
	}
	if n := steps(t, s); n != 1 {
		t.Errorf("%d steps for the rest", n)
	}
	for key := range allRows(t, s) {
		switch key[0] {
		case rowMap, rowVolume:
			if !strings.HasPrefix(key[1:], string(appendVolumePrefix(nil, 0, other)[1:])) {
				t.Errorf("row %q is left", key)
			}
		case rowGeneration, rowChange, rowPass, rowScattered:
			t.Errorf("row %q is left", key)
		}
	}
	if n := countRows(t, s, rowMap); n != 3 {
		t.Errorf("the other volume has %d entries, want 3", n)
	}
	if n := steps(t, s); n != 0 {
		t.Errorf("%d steps with nothing to do", n)
	}
}

// TestReapLogsWhatItDoes thaws a generation of a volume of many entries of which few go: there is a record around these
// and one for the end, none for the others.
func TestReapLogsWhatItDoes(t *testing.T) {
	o := testOptions(vfs.NewMem(), 1)
	o.passive = true
	s := openTest(t, o)
	v := newVolume(t, s)
	scatter(t, s, v, 2*reapSpan)
	var g Gen
	update(t, s, func(tx *Tx) (err error) { g, err = tx.Freeze(v); return err })
	write(t, s, v, 100*pagemap.RegionPages, zeros[:PageSize])
	write(t, s, v, 110*pagemap.RegionPages, zeros[:PageSize])
	if steps(t, s) != 0 {
		t.Error("a step without need")
	}
	update(t, s, func(tx *Tx) error { return tx.Thaw(v, g) })
	before := s.Stats()
	steps(t, s)
	if n := s.Stats().Records - before.Records; n != 2 {
		t.Errorf("%d records, want 2", n)
	}
	if n := countRows(t, s, rowMap); n != 2*reapSpan {
		t.Errorf("%d entries, want %d", n, 2*reapSpan)
	}
}

// TestReapAgain makes another pass necessary while one is under way, behind it: only the pass after it is the last.
func TestReapAgain(t *testing.T) {
	o := testOptions(vfs.NewMem(), 1)
	o.passive = true
	o.limits = limits{direct: 1, erasures: 8}
	s := openTest(t, o)
	v := newVolume(t, s)
	scatter(t, s, v, 2*reapWork)
	update(t, s, func(tx *Tx) error { return tx.Truncate(v, PageNo(2*reapWork-reapWork/2-reapWork)*pagemap.RegionPages) })
	if more, err := s.reapOnce(t.Context()); !more || err != nil {
		t.Fatal(more, err)
	}
	update(t, s, func(tx *Tx) error { return tx.Truncate(v, 10*pagemap.RegionPages) })
	if more, err := s.reapOnce(t.Context()); !more || err != nil {
		t.Fatal(more, err)
	}
	if countRows(t, s, rowPass) != 1 {
		t.Fatal("the pass is not due any more, and did not look at what was erased while it was under way")
	}
	steps(t, s)
	if n := countRows(t, s, rowMap); n != 10 {
		t.Errorf("%d entries, want 10", n)
	}
	var row volumeRow
	if _, err := readVolume(s.db, v, &row); err != nil || len(row.erasures) != 0 {
		t.Errorf("%+v %v: want no erasures", row, err)
	}
	scatter(t, s, v, 20) // nothing that is needed no more is in the way of what is written now
	withView(t, s, func(view *View) {
		n := 0
		if err := view.Ranges(v, GenHead, AllPages, func(Range) bool { n++; return true }); err != nil || n != 20 {
			t.Errorf("%d ranges, %v: want 20", n, err)
		}
	})
}

// TestReapTurns: a volume that is due again and again does not keep passes from the others.
func TestReapTurns(t *testing.T) {
	o := testOptions(vfs.NewMem(), 1)
	o.passive = true
	s := openTest(t, o)
	busy, dropped := newVolume(t, s), newVolume(t, s)
	scatter(t, s, dropped, 5)
	update(t, s, func(tx *Tx) error { return tx.Drop(dropped) })
	for range 4 {
		update(t, s, func(tx *Tx) error {
			g, err := tx.Freeze(busy)
			if err != nil {
				return err
			}
			return tx.Thaw(busy, g)
		})
		if _, err := s.reapOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := countRows(t, s, rowMap); n != 0 {
		t.Errorf("%d entries of the dropped volume are left", n)
	}
}

// TestReapInBackground: what is dropped goes without anybody asking, also what was dropped before the store was opened.
func TestReapInBackground(t *testing.T) {
	o := testOptions(vfs.NewMem(), 1)
	o.passive = true
	s := openTest(t, o)
	v, w := newVolume(t, s), newVolume(t, s)
	scatter(t, s, v, 5)
	scatter(t, s, w, 5)
	update(t, s, func(tx *Tx) error { return tx.Drop(v) })
	last := s.state.Load().applied
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	o.passive = false
	s = openTest(t, o)
	if err := s.flight.await(last + 1); err != nil {
		t.Fatal(err)
	}
	if n := countRows(t, s, rowMap); n != 5 {
		t.Errorf("%d entries, want 5", n)
	}
	update(t, s, func(tx *Tx) error { return tx.Drop(w) })
	if err := s.flight.await(last + 3); err != nil {
		t.Fatal(err)
	}
	if n := countRows(t, s, rowMap); n != 0 {
		t.Errorf("%d entries, want none", n)
	}
}

// TestReapDamage: damage in the page map of a volume ends passes over it with an error. Other volumes have theirs, and the
// store goes on.
func TestReapDamage(t *testing.T) {
	o := testOptions(vfs.NewMem(), 1)
	failed := make(chan error, 100)
	o.Events = &Events{ReapFailed: func(err error) { failed <- err }}
	s := openTest(t, o)
	v, w := newVolume(t, s), newVolume(t, s)
	scatter(t, s, v, 5)
	scatter(t, s, w, 5)
	if err := s.db.Set(appendMapKey(nil, v, 2, 1), []byte{1}, pebble.NoSync); err != nil {
		t.Fatal(err)
	}
	update(t, s, func(tx *Tx) error { return tx.Drop(v) })
	if err := <-failed; !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "volume 1 region 2 generation 1") {
		t.Errorf("%v", err)
	}
	update(t, s, func(tx *Tx) error { return tx.Drop(w) })
	if err := s.Reap(t.Context()); !errors.Is(err, ErrCorrupt) {
		t.Errorf("%v", err)
	}
	if n := countRows(t, s, rowMap); n != 5 {
		t.Errorf("%d entries, want those of the damaged volume", n)
	}
	newVolume(t, s)
}

// TestReapNothing applies steps that are one too many, or of passes that are not due: they change nothing.
func TestReapNothing(t *testing.T) {
	o := testOptions(vfs.NewMem(), 1)
	o.passive = true
	o.limits = limits{direct: 1, erasures: 8}
	s := openTest(t, o)
	v, gone := newVolume(t, s), newVolume(t, s)
	scatter(t, s, v, 5)
	update(t, s, func(tx *Tx) error { return tx.Drop(gone) })
	steps(t, s)
	update(t, s, func(tx *Tx) error { return tx.Truncate(v, 0) })
	due := s.state.Load().applied
	before := allRows(t, s)
	delete(before, string(stateKey))
	for _, step := range []struct {
		volume VolumeID
		due    replication.LSN
	}{{gone, due}, {99, due}, {v, due - 1}} {
		update(t, s, func(tx *Tx) error {
			tx.add(appendReapOp(tx.buf, step.volume, maxRegions-1, maxRegions, step.due))
			return nil
		})
		after := allRows(t, s)
		delete(after, string(stateKey))
		sameRows(t, after, before)
	}
	steps(t, s)
	if n := countRows(t, s, rowMap); n != 0 {
		t.Errorf("%d entries, want none", n)
	}
}

// TestReapFailed: with the store the reaper ends, and what it was at is done when the store is opened again.
func TestReapFailed(t *testing.T) {
	mem := vfs.NewCrashableMem()
	o := testOptions(mem, 1)
	o.Events = &Events{ReapFailed: func(err error) { t.Errorf("reported once more: %v", err) }}
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	v := newVolume(t, s)
	scatter(t, s, v, 2*reapWork)
	s.reaper.mu.Lock() // it gets no further than to the next step
	update(t, s, func(tx *Tx) error { return tx.Drop(v) })
	s.breakIndex(errInjected)
	s.reaper.mu.Unlock()
	<-s.maintenance.done
	if err := s.Reap(t.Context()); !errors.Is(err, ErrReadOnly) {
		t.Errorf("%v", err)
	}
	if err := s.Close(); !errors.Is(err, errInjected) {
		t.Errorf("close: %v", err)
	}
	o.FS = mem.CrashClone(vfs.CrashCloneCfg{})
	o.Members[0].FS = o.FS
	s = openTest(t, o)
	if err := s.Reap(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := countRows(t, s, rowMap) + countRows(t, s, rowPass); n != 0 {
		t.Errorf("%d rows are left", n)
	}
	wantMark(t, s)
}
