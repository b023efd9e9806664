package replication

import (
	"fmt"
	"slices"
	"testing"

	"pagevault/replication/placement"
)

// TestPlaceWriters tells who writes the next segment.
func TestPlaceWriters(t *testing.T) {
	l, _, _ := sealedLog(t, 6, Options{})
	f := func(copies int, current, joining, must, leaving Set, held []int, want Set) {
		t.Helper()
		ms := *l.now()
		ms.roster.Copies, ms.current, ms.joining = copies, current, joining
		for i := range 6 {
			l.custodian.setLeaving(i, leaving.Has(i))
			ms.members[i].device = fmt.Sprint(i / 2) // two on each disk
			l.index.setHolder(1, i, slices.Contains(held, i))
		}
		if got := l.placeWriters(&ms, must); got != want {
			t.Errorf("%d of %b and %b, with %b, without %b: %b, wanted %b", copies, current, joining, must, leaving, got, want)
		}
	}
	of := placement.Of
	f(3, of(0, 1, 2), 0, 0, 0, nil, of(0, 1, 2))                     // as many as copies
	f(3, of(0), of(1, 2), 0, of(0), nil, of(0, 1, 2))                // joining ones are written, too
	f(3, of(0, 1), 0, 0, 0, nil, of(0, 1))                           // fewer
	f(3, of(0, 1, 2, 3, 4, 5), 0, 0, 0, nil, of(0, 2, 4))            // one of each disk
	f(3, of(0, 1, 2, 3, 4, 5), 0, 0, 0, []int{0, 4}, of(1, 2, 5))    // those that hold less
	f(3, of(0, 1, 2, 3, 4, 5), 0, of(1), of(2, 3), nil, of(0, 1, 4)) // no other disk than that of those that leave
	f(4, of(0, 1, 2, 3), of(4, 5), 0, 0, nil, of(0, 1, 2, 3))        // current ones before joining ones
	f(5, of(0, 1, 2, 3), of(4, 5), 0, 0, nil, of(0, 1, 2, 3, 4))     // unless there are too few
	f(3, of(0, 1, 2, 3), of(4), of(4), 0, nil, of(0, 1, 2, 4))       // one that must, and does not count
	f(0, of(0, 1, 2, 3), 0, 0, 0, nil, of(0, 1, 2, 3))               // a log that was not told how many
}

// TestSpread writes segments to members with room of different sizes: each gets its share, of copies as of shards.
func TestSpread(t *testing.T) {
	const n, segments = 5, 120
	a := newArrangeTest(t, n, 1, 1000, nil)
	s, _, _ := a.l.index.get(1)
	size := float64(s.length)
	share := func(i int) float64 { return float64(i+1) / (n * (n + 1) / 2) }
	look := func() (held [membersMax]uint64) { // what each holds is taken from what it has free
		held = a.l.index.held()
		for i, m := range a.l.now().all() {
			m.total.Store(uint64(1500 * size * share(i)))
			m.free.Store(m.total.Load() - held[i])
		}
		return held
	}
	even := func(what string, bytes float64) {
		t.Helper()
		held := look()
		for i := range n {
			if got, want := float64(held[i])/size, bytes/size*share(i); got < want-2 || got > want+2 {
				t.Errorf("%s: member %d holds %.1f segments, its share is %.1f", what, i, got, want)
			}
		}
	}
	for range segments - 1 {
		look()
		a.fill(1, 1000)
	}
	even("copies", 3*segments*size)
	want(a.l, 3, rs21)
	for did := true; did; {
		var err error
		if did, err = a.l.arrangeStep(t.Context()); err != nil {
			t.Fatal(err)
		}
		look()
	}
	stats := a.l.Stats()
	if stats.CopyBytes != 0 || stats.UnderReplicated != 0 {
		t.Errorf("%+v", stats)
	}
	even("shards", float64(stats.ShardBytes))
}
