package pagestore

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/pagestore/pagemap"
	"pagevault/replication"
)

// gcOptions are those of a store with small segments in which nothing is done in the background.
func gcOptions(fs vfs.FS, n int) Options {
	o := testOptions(fs, n)
	o.passive = true
	o.Log.SegmentBytes = 1 << 20
	return o
}

func maintain(t testing.TB, s *Store, o MaintainOptions) MaintainProgress {
	t.Helper()
	var last MaintainProgress
	if err := s.Maintain(context.Background(), o, func(p MaintainProgress) { last = p }); err != nil {
		t.Fatal(err)
	}
	return last
}

func logBytes(s *Store) int64 { return s.log.Stats().Bytes }

// compressible returns n bytes that a compressor likes.
func compressible(rng *rand.Rand, n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = "0123456789abcdef"[rng.IntN(16)]
	}
	return p
}

// TestCompactGarbage overwrites most of what a store holds: the space comes back, and what is left reads as before, also
// from the same files later.
func TestCompactGarbage(t *testing.T) {
	for _, name := range []string{"plain", "sealed"} {
		t.Run(name, func(t *testing.T) {
			o := gcOptions(vfs.NewMem(), 2)
			if name == "sealed" {
				o.MasterKey = MasterKey{1, 2, 3}
			}
			s := openTest(t, o)
			rng := rand.New(rand.NewPCG(1, 2))
			v := newVolume(t, s)
			const pages = 8 << 20 / PageSize
			want := compressible(rng, pages*PageSize)
			put := func(first PageNo, p []byte) {
				t.Helper()
				write(t, s, v, first, p)
				copy(want[first*PageSize:], p)
			}
			for off := 0; off < len(want); off += 1 << 20 {
				put(PageNo(off/PageSize), want[off:off+1<<20])
			}
			before := logBytes(s)
			for range 400 { // single blocks of frames die, and others are of several pieces
				n := (1 + rng.IntN(20)) * PageSize
				put(PageNo(rng.IntN(pages-20)), randomBytes(rng, n))
			}
			for off := 0; off < 5<<20; off += 1 << 20 {
				put(PageNo(off/PageSize), bytes.Repeat([]byte{byte(off >> 20)}, 1<<20))
			}
			grown := logBytes(s)
			live := s.Stats().LiveBytes
			did := maintain(t, s, MaintainOptions{})
			wantMark(t, s)
			wantRead(t, s, v, GenHead, 0, want)
			after := logBytes(s)
			t.Logf("log %d, with garbage %d, after %d; %d live bytes before, %d after; %+v", before, grown, after, live, s.Stats().LiveBytes, did)
			if st := s.Stats(); did.Moved == 0 || did.Freed == 0 || did.Dropped == 0 || after > int64(st.LiveBytes)*11/10+100<<10 {
				t.Errorf("log of %d bytes for %d live ones", after, st.LiveBytes)
			}
			if again := maintain(t, s, MaintainOptions{}); again.Moved > 0 {
				t.Errorf("again: %+v", again)
			}
			mustClose(t, s)
			s = openTest(t, o)
			wantMark(t, s)
			wantRead(t, s, v, GenHead, 0, want)
			// An index made anew has the checkpoint, and the records since.
			write(t, s, v, 3, want[:PageSize])
			copy(want[3*PageSize:], want[:PageSize])
			rows := allRows(t, s)
			mustClose(t, s)
			if err := o.FS.RemoveAll(o.Dir); err != nil {
				t.Fatal(err)
			}
			s = openTest(t, o)
			sameRows(t, allRows(t, s), rows)
			wantRead(t, s, v, GenHead, 0, want)
		})
	}
}

// TestCompactRevived writes again what was deleted, while its segment is rewritten: before its blocks are condemned it is
// free of charge and they stay; after that it is stored anew. Nothing is ever lost.
func TestCompactRevived(t *testing.T) {
	o := gcOptions(vfs.NewMem(), 1)
	s := openTest(t, o)
	rng := rand.New(rand.NewPCG(1, 2))
	v, w := newVolume(t, s), newVolume(t, s)
	p := randomBytes(rng, 1<<19)
	write(t, s, v, 0, p)
	other := randomBytes(rng, 1<<18)
	write(t, s, v, 1024, other)
	update(t, s, func(tx *Tx) error { return tx.Clear(v, Range{0, 1024}) })
	if err := s.log.Rotate(); err != nil {
		t.Fatal(err)
	}
	if st := s.Stats(); st.UniqueBytes != 1<<18 || st.RawBytes != 1<<19+1<<18 {
		t.Fatalf("%+v", st)
	}
	c := &compaction{s: s, segment: s.log.Segments()[0].ID, pace: nil}
	c.decoder.Ring, c.encoder = s.ring, s.encoder(0)

	// Somebody has looked already, and writes later.
	early, err := s.Prepare(0, p[:pagemap.RegionBytes])
	if err != nil {
		t.Fatal(err)
	}
	if err := s.log.SegmentRecords(c.segment, func(r *replication.Record) error { return c.list(context.Background(), r) }); err != nil {
		t.Fatal(err)
	}
	if err := c.condemn(); err != nil {
		t.Fatal(err)
	}
	before := s.Stats().Counters
	// Somebody who looks now stores it anew, and does not count on what is condemned.
	write(t, s, w, 256, p[pagemap.RegionBytes:2*pagemap.RegionBytes])
	wantCounters(t, s, before, Counters{LogicalBytes: pagemap.RegionBytes, StoredBytes: pagemap.RegionBytes, Frames: 1, Records: 1})
	drained := make(chan error)
	go func() { drained <- s.drain(s.flight.newcomer()) }()
	before = s.Stats().Counters
	update(t, s, func(tx *Tx) error { return tx.Write(w, early) })
	if st := s.Stats(); st.StoredBytes != before.StoredBytes || st.UniqueBytes != before.UniqueBytes+pagemap.RegionBytes {
		t.Fatalf("what was looked up before is stored anew: %+v, before %+v", st, before)
	}
	select {
	case <-drained:
		t.Fatal("drained while a content is held that looked before")
	default:
	}
	early.Release()
	if err := <-drained; err != nil {
		t.Fatal(err)
	}
	withView(t, s, func(view *View) {
		for i := range c.frames {
			if err := c.frame(context.Background(), view, &c.frames[i]); err != nil {
				t.Fatal(err)
			}
		}
	})
	if err := c.commit(context.Background()); err != nil {
		t.Fatal(err)
	}
	s.pardonWhenLanded()
	wantMark(t, s)
	wantRead(t, s, w, GenHead, 0, p[:pagemap.RegionBytes])
	wantRead(t, s, v, GenHead, 1024, other)
	if st := s.Stats(); st.RawBytes != st.UniqueBytes || c.freed == 0 || c.moved == 0 {
		t.Errorf("%+v, %d moved, %d freed", st, c.moved, c.freed)
	}
	// What is gone is not found under its name.
	before = s.Stats().Counters
	write(t, s, w, 2048, p[3*pagemap.RegionBytes:])
	if st := s.Stats(); st.RawBytes != before.RawBytes+uint64(len(p)-3*pagemap.RegionBytes) {
		t.Errorf("%+v", st)
	}
	wantRead(t, s, w, GenHead, 2048, p[3*pagemap.RegionBytes:])
	wantMark(t, s)
}

// TestCompactedRegionAgain writes a region again that has lost the first of its chunks to a compaction: the name is then
// that of a region which begins in a new frame, and not of one that begins in the old frame, which stays.
func TestCompactedRegionAgain(t *testing.T) {
	s := openTest(t, gcOptions(vfs.NewMem(), 1))
	v := newVolume(t, s)
	p := randomBytes(rand.New(rand.NewPCG(1, 2)), pagemap.RegionBytes)
	write(t, s, v, 0, p)
	update(t, s, func(tx *Tx) error { return tx.Clear(v, Range{0, 64}) })
	if did := maintain(t, s, MaintainOptions{}); did.Moved != 1 {
		t.Fatalf("%+v", did)
	}
	write(t, s, v, 0, p)
	wantClean(t, s, "written again")
	wantRead(t, s, v, GenHead, 0, p)
	before := s.Stats().Counters
	write(t, s, v, 256, p)
	wantCounters(t, s, before, Counters{LogicalBytes: pagemap.RegionBytes, DuplicateBytes: pagemap.RegionBytes, Records: 1})
	update(t, s, func(tx *Tx) error { return tx.Drop(v) })
	maintain(t, s, MaintainOptions{})
	wantClean(t, s, "dropped")
	for key := range allRows(t, s) {
		switch key[0] {
		case rowFrame, rowBack, rowChunk, rowRegion, rowSegment:
			t.Errorf("row %x is still there", key)
		}
	}
}

// TestDropWaitsForViews keeps a view open while segments are rewritten: it reads what it shows until it is closed.
func TestDropWaitsForViews(t *testing.T) {
	o := gcOptions(vfs.NewMem(), 1)
	s := openTest(t, o)
	rng := rand.New(rand.NewPCG(1, 2))
	v := newVolume(t, s)
	p := randomBytes(rng, 2<<20)
	write(t, s, v, 0, p)
	view, err := s.View()
	if err != nil {
		t.Fatal(err)
	}
	update(t, s, func(tx *Tx) error { return tx.Drop(v) })
	before := logBytes(s)
	if did := maintain(t, s, MaintainOptions{}); did.Dropped > 0 || did.Freed == 0 {
		t.Fatalf("%+v", did)
	}
	got := make([]byte, len(p))
	if err := view.Read(v, GenHead, 0, got); err != nil || !bytes.Equal(got, p) {
		t.Fatalf("read of what is gone since: %v", err)
	}
	if err := view.Close(); err != nil {
		t.Fatal(err)
	}
	if did := maintain(t, s, MaintainOptions{}); did.Dropped == 0 || logBytes(s) > before/10 {
		t.Fatalf("%+v, log %d of %d", did, logBytes(s), before)
	}
	wantMark(t, s)
}

// TestCompactDamaged finds a frame that no member can give: its segment stays, and what is unharmed is still read.
func TestCompactDamaged(t *testing.T) {
	mem := vfs.NewMem()
	o := gcOptions(mem, 2)
	s := openTest(t, o)
	rng := rand.New(rand.NewPCG(1, 2))
	v := newVolume(t, s)
	write(t, s, v, 0, randomBytes(rng, 1<<18))
	write(t, s, v, 4096, randomBytes(rng, 1<<18))
	update(t, s, func(tx *Tx) error { return tx.Clear(v, Range{0, 400}) })
	if err := s.log.Rotate(); err != nil {
		t.Fatal(err)
	}
	for _, m := range []string{"replica-1", "replica-2"} {
		damageMiddle(t, mem, m, s.log.Segments()[0].ID)
	}
	if err := s.Maintain(context.Background(), MaintainOptions{}, nil); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("%v, want %v", err, ErrCorrupt)
	}
	wantMark(t, s)
	if s.Failed() != nil || len(s.log.Segments()) == 0 {
		t.Error("the store has failed, or the segment is gone")
	}
	write(t, s, v, 0, randomBytes(rng, 1<<16))
}

// TestMaintainEnds ends what Maintain does by its context and by closing the store.
func TestMaintainEnds(t *testing.T) {
	s := openTest(t, gcOptions(vfs.NewMem(), 1))
	v := newVolume(t, s)
	write(t, s, v, 0, randomBytes(rand.New(rand.NewPCG(1, 2)), 1<<20))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Maintain(ctx, MaintainOptions{}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	ended := make(chan error)
	begun := make(chan struct{})
	go func() {
		first := true
		ended <- s.Maintain(context.Background(), MaintainOptions{BytesPerSecond: 1}, func(MaintainProgress) {
			if first {
				close(begun)
			}
			first = false
		})
	}()
	<-begun
	mustClose(t, s)
	if err := <-ended; !errors.Is(err, ErrClosed) {
		t.Errorf("%v", err)
	}
	if err := s.Maintain(context.Background(), MaintainOptions{}, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("%v", err)
	}
}
