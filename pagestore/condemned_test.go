package pagestore

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/pagestore/pagemap"
)

// extentsOf returns the frames of some pages and the blocks they need of them.
func extentsOf(t *testing.T, s *Store, v VolumeID, pages Range) map[pagemap.FrameID]uint16 {
	t.Helper()
	blocks := make(map[pagemap.FrameID]uint16)
	for _, e := range locations(t, s, v, pages) {
		blocks[e.frame] |= blockSpan(e.off, e.end())
	}
	return blocks
}

// TestCondemned writes what is stored already, in blocks that are condemned and in others. Only what is condemned is
// stored again, whether the index or the flight knows it, by regions and by chunks.
func TestCondemned(t *testing.T) {
	s := openTest(t, testOptions(vfs.NewMem(), 1))
	v := newVolume(t, s)
	p := randomBytes(rand.New(rand.NewPCG(1, 2)), 4*pagemap.RegionBytes)
	write(t, s, v, 0, p)
	const hit = 2*pagemap.RegionPages + 5*pagemap.ChunkPages // a chunk of the third region
	gone := extentsOf(t, s, v, Range{hit, hit + pagemap.ChunkPages})
	stored := func(first PageNo, want Counters) {
		t.Helper()
		before := s.Stats().Counters
		write(t, s, v, first, p)
		got := s.Stats().Counters
		if n := got.Chunks - before.Chunks; n > want.Chunks || got.StoredBytes-before.StoredBytes != want.StoredBytes || got.DuplicateBytes-before.DuplicateBytes != want.DuplicateBytes {
			t.Fatalf("%+v, before %+v, want %+v more", got, before, want)
		}
		wantRead(t, s, v, GenHead, first, p)
	}
	all := uint64(len(p))
	s.condemned.Store(&condemned{gone})
	stored(1<<20, Counters{StoredBytes: pagemap.ChunkBytes, DuplicateBytes: all - pagemap.ChunkBytes, Chunks: 1})
	again := extentsOf(t, s, v, Range{1<<20 + hit, 1<<20 + hit + pagemap.ChunkPages})
	for frame := range again {
		if gone[frame] != 0 {
			t.Fatal("the condemned frame is used")
		}
	}
	stored(2<<20+8, Counters{DuplicateBytes: all}) // the new copy has the name
	s.condemned.Store(nil)
	stored(3<<20, Counters{DuplicateBytes: all})
}

// TestCondemnedInFlight prepares a content before its chunks are stored and then condemned: the flight knows their names,
// and must not be believed.
func TestCondemnedInFlight(t *testing.T) {
	s := openTest(t, testOptions(vfs.NewMem(), 1))
	v := newVolume(t, s)
	p := randomBytes(rand.New(rand.NewPCG(1, 2)), 2*pagemap.RegionBytes)
	early, err := s.Prepare(1<<20, p)
	if err != nil {
		t.Fatal(err)
	}
	defer early.Release()
	write(t, s, v, 0, p)
	gone := extentsOf(t, s, v, Range{0, pagemap.RegionPages})
	s.condemned.Store(&condemned{gone})
	for round, c := range []*Content{early, nil} {
		first := PageNo(1 << 20)
		if c == nil {
			first = 2 << 20
			if c, err = s.Prepare(first, p); err != nil {
				t.Fatal(err)
			}
			defer c.Release()
		}
		update(t, s, func(tx *Tx) error { return tx.Write(v, c) })
		for frame, blocks := range extentsOf(t, s, v, Range{first, first + 2*pagemap.RegionPages}) {
			if gone[frame]&blocks != 0 {
				t.Fatalf("round %d: condemned blocks of frame %d are used", round, frame)
			}
		}
		wantRead(t, s, v, GenHead, first, p)
	}
}

// TestRegionOfLostFrame takes a frame that a known region refers to out of the index, or a block of it: the region is no
// longer found under its name, and what is gone is stored again.
func TestRegionOfLostFrame(t *testing.T) {
	s := openTest(t, testOptions(vfs.NewMem(), 1))
	v := newVolume(t, s)
	rng := rand.New(rand.NewPCG(1, 2))
	p := randomBytes(rng, pagemap.RegionBytes)
	write(t, s, v, 1<<20, p[:pagemap.RegionBytes/2]) // so that the region refers to two frames
	write(t, s, v, 0, p)
	frames := extentsOf(t, s, v, Range{64, 65})
	if len(frames) != 1 || len(extentsOf(t, s, v, Range{0, 128})) != 2 {
		t.Fatal("want two frames")
	}
	look := func(want partKind) {
		t.Helper()
		s.known.Store(new(knownRegions)) // rows change behind the back of whoever looks after it
		c, err := s.Prepare(0, p)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Release()
		if got := c.parts[0].kind; got != want {
			t.Fatalf("the region is found: %d, want %d", got, want)
		}
	}
	look(partKnown)
	for id := range frames {
		key := appendFrameKey(nil, id)
		value, closer, err := s.db.Get(key)
		if err != nil {
			t.Fatal(err)
		}
		row := frameRow{}
		if err := errors.Join(decodeFrameRow(&row, value), closer.Close()); err != nil {
			t.Fatal(err)
		}
		row.present &^= 2
		row.counts[1] = 0
		row.stored -= pagemap.ChunkBytes
		row.crcs = append(row.crcs[:1], row.crcs[2:]...)
		if err := s.db.Set(key, appendFrameRow(nil, &row), pebble.NoSync); err != nil {
			t.Fatal(err)
		}
		look(partPieces)
		if err := s.db.Delete(key, pebble.NoSync); err != nil {
			t.Fatal(err)
		}
		look(partPieces)
	}
}

// TestDrain waits for what was outstanding when it began, and for nothing later.
func TestDrain(t *testing.T) {
	s := openTest(t, testOptions(vfs.NewMem(), 1))
	v := newVolume(t, s)
	p := randomBytes(rand.New(rand.NewPCG(1, 2)), pagemap.RegionBytes)
	before, err := s.Prepare(0, p)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.drain(s.flight.newcomer()) }()
	update(t, s, func(tx *Tx) error { return tx.Write(v, before) })
	select {
	case err := <-done:
		t.Fatalf("drained with a content outstanding: %v", err)
	default:
	}
	before.Release()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := s.drain(s.flight.newcomer()); err != nil { // nothing is outstanding
		t.Fatal(err)
	}

	held, err := s.Prepare(0, p)
	if err != nil {
		t.Fatal(err)
	}
	go func() { done <- s.drain(s.flight.newcomer()) }()
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	if err := <-done; !errors.Is(err, ErrClosed) {
		t.Fatalf("drain of a store that is being closed: %v", err)
	}
	held.Release()
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
}
