package pagestore

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"pagevault/internal/digest"
	"pagevault/pagestore/pagemap"
	"pagevault/pagestore/refcount"
	"pagevault/replication"
)

// wantMark recounts everything and fails if anything is not as the index says. No update may be under way.
func wantMark(t testing.TB, s *Store) MarkResult {
	t.Helper()
	var got MarkResult
	withView(t, s, func(v *View) {
		t.Helper()
		var err error
		got, err = mark(context.Background(), v.snap, func(d Difference) { t.Errorf("mark: %v", d) })
		if err != nil {
			t.Fatalf("mark: %v", err)
		}
	})
	if st := s.Stats(); got.Counters != st.Counters || got.Mismatch != 0 || st.Mismatch != 0 {
		t.Fatalf("mark: %+v, want %+v", got, st)
	}
	return got
}

// fillForMark makes an index of frames of many sizes, referred to by many entries of two generations.
func fillForMark(at *applyTest, rng *rand.Rand) {
	for step := range 120 {
		id := pagemap.FrameID(step + 1)
		pages := 1 + rng.IntN(1+rng.IntN(pagemap.RegionPages))
		ops := [][]byte{rawFrame(id, pages)}
		for range 1 + rng.IntN(4) {
			n := 1 + rng.IntN(pages)
			ops = append(ops, writeOf(rng.Uint64N(6), 0, run(rng.IntN(pagemap.RegionPages+1-n), n, id, rng.IntN(pages+1-n))))
		}
		if step == 60 {
			ops = append(ops, freeze(1))
		}
		at.apply(ops...)
	}
}

// TestMarkWindows marks the same index with windows of all sizes, each of which finds the same.
func TestMarkWindows(t *testing.T) {
	rng := rand.New(rand.NewPCG(uint64(envInt(t, "PAGESTORE_SEED", int(rand.Uint32()))), 0))
	at := newApplyTest(t)
	fillForMark(at, rng)
	at.deleteFrame(50) // a hole between ids, which entries refer to
	at.deleteFrame(120)
	at.setCounts(119, refcount.Counts{77})
	mark := func(ids, blocks int) (MarkResult, string) {
		var out []string
		m := marker{ctx: context.Background(), r: at.db, maxIDs: ids, maxBlocks: blocks,
			report: func(d Difference) { out = append(out, d.String()) }}
		if err := m.run(); err != nil {
			t.Fatal(err)
		}
		slices.Sort(out)
		return m.result, strings.Join(out, "\n")
	}
	want, text := mark(markIDs, markBlocks)
	if want.Differences == 0 || want.Entries < 8 || !strings.Contains(text, "frame 119 block 0: counts 77") {
		t.Fatalf("%+v\n%s", want, text)
	}
	for range 50 {
		ids, blocks := 1+rng.IntN(130), refcount.MaxBlocks+rng.IntN(400)
		if got, gotText := mark(ids, blocks); got != want || gotText != text {
			t.Fatalf("windows of %d ids, %d blocks: %+v\n%s\nwant %+v\n%s", ids, blocks, got, gotText, want, text)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	m := marker{ctx: ctx, r: at.db, maxIDs: 1, maxBlocks: refcount.MaxBlocks, report: func(Difference) {}}
	if err := m.run(); !errors.Is(err, context.Canceled) {
		t.Errorf("a mark that is ended: %v", err)
	}
}

// TestMarkBeyond counts blocks more often than 32 bits hold.
func TestMarkBeyond(t *testing.T) {
	at := newApplyTest(t)
	at.apply(rawFrame(1, 9), writeOf(0, 0, run(0, 9, 1, 0)))
	at.setCounts(1, refcount.Counts{1 << 32, 1})
	m := marker{ctx: context.Background(), r: at.db, maxIDs: markIDs, maxBlocks: markBlocks}
	m.report = func(d Difference) { t.Error(d) }
	m.segments = make(map[replication.SegmentID]segmentRow)
	m.first = true
	m.frames, _ = newRowIter(m.r, rowFrame)
	defer m.frames.Close()
	m.more = m.frames.First()
	if err := m.window(); err != nil {
		t.Fatal(err)
	}
	m.w.counts[0] = math.MaxUint32 // as after so many runs
	if err := m.maps(); err != nil {
		t.Fatal(err)
	}
	if err := m.compare(); err != nil {
		t.Fatal(err)
	}
}

// TestRecount breaks every row that a recount can set right.
func TestRecount(t *testing.T) {
	rng := rand.New(rand.NewPCG(uint64(envInt(t, "PAGESTORE_SEED", int(rand.Uint32()))), 0))
	at := newApplyTest(t)
	fillForMark(at, rng)
	at.apply(rawFrame(121, 0, 'a'), writeOf(9, 'R', run(0, 8, 121, 0), run(8, 120, 0, 0)))
	want := at.rows()
	set := func(key, value []byte) {
		t.Helper()
		if err := at.db.Set(key, value, pebble.NoSync); err != nil {
			t.Fatal(err)
		}
	}
	at.setCounts(121, refcount.Counts{0})
	at.setCounts(5, refcount.Counts{4, 3})
	set(appendSegmentKey(nil, 1), appendSegmentRow(nil, &segmentRow{frames: 5, stored: 10, live: 1}))
	set(appendSegmentKey(nil, 77), appendSegmentRow(nil, &segmentRow{frames: 5, stored: 10, live: 1}))
	set(appendScatteredKey(nil, 1, 9), nil)
	set(appendScatteredKey(nil, 1, 1000), nil)
	set(appendBackKey(nil, 4000, &digest.Digest{'x'}), nil)
	st := at.a.state
	st.mismatch, st.Frames, st.LiveBytes, st.MappedBytes, st.Chunks = 8, 1, 2, 3, 4
	set(stateKey, appendState(nil, &st))
	if n := len(strings.Split(at.mark(), "\n")); n < 10 {
		t.Fatalf("%d differences:\n%s", n, at.mark())
	}
	report := func(d Difference) { t.Errorf("left: %v", d) }
	result, err := recount(context.Background(), at.db, report)
	if err != nil || result.Counters != at.a.state.Counters {
		t.Fatalf("%+v (%v), want %+v", result, err, at.a.state.Counters)
	}
	at.want(strings.Split(want, "\n")...)
	if st, err := stateOf(at.db); err != nil || st != at.a.state {
		t.Errorf("state %+v (%v), want %+v", st, err, at.a.state)
	}

	// What is lost stays lost, and nothing is freed.
	at.deleteFrame(121)
	st.Counters = at.a.state.Counters
	set(stateKey, appendState(nil, &st))
	var left []string
	if _, err = recount(context.Background(), at.db, func(d Difference) { left = append(left, d.String()) }); err != nil {
		t.Fatal(err)
	}
	if want := []string{"volume 1 region 9 generation 2: refers to block 0 of frame 121, which is not stored"}; !slices.Equal(left, want) {
		t.Errorf("left %q, want %q", left, want)
	}
	if st, err := stateOf(at.db); err != nil || st.mismatch != 8 || st.Frames != 120 {
		t.Errorf("state %+v (%v)", st, err)
	}
}
