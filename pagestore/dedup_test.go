package pagestore

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/pagestore/pagemap"
)

// wantCounters checks how the counters changed since before, but for those that depend on what was there; see refs_test.
func wantCounters(t *testing.T, s *Store, before, want Counters) {
	t.Helper()
	wantMark(t, s)
	got := s.Stats().Counters
	before.UniqueBytes, before.LiveBytes, before.MappedBytes = got.UniqueBytes, got.LiveBytes, got.MappedBytes
	want.RawBytes = want.StoredBytes // nothing is compressed
	for i, p := range got.fields() {
		*p -= *before.fields()[i]
	}
	if got != want {
		t.Fatalf("counters changed by\n%+v, want\n%+v", got, want)
	}
}

func TestAccounting(t *testing.T) {
	s := openTest(t, testOptions(vfs.NewMem(), 2))
	rng := rand.New(rand.NewPCG(1, 2))
	p := randomBytes(rng, 4<<20)
	a, b := newVolume(t, s), newVolume(t, s)
	f := func(name string, v VolumeID, first PageNo, p []byte, want Counters) {
		t.Helper()
		before := s.Stats().Counters
		write(t, s, v, first, p)
		want.LogicalBytes, want.Records = uint64(len(p)), 1
		t.Log(name)
		wantCounters(t, s, before, want)
	}
	f("4 MiB nobody has seen", a, 0, p, Counters{StoredBytes: 4 << 20, Frames: 64, Chunks: 1024})
	f("the same, to another volume", b, 0, p, Counters{DuplicateBytes: 4 << 20})
	f("the same, elsewhere", b, 1<<20, p, Counters{DuplicateBytes: 4 << 20})
	f("the same, off by a chunk: no region matches, every chunk does", b, 2<<20+8, p, Counters{DuplicateBytes: 4 << 20})
	f("the same, off by a page: no chunk matches", b, 3<<20+1, p[:1<<16], Counters{StoredBytes: 1 << 16, Frames: 1, Chunks: 15})
	f("zeros", a, 0, make([]byte, 1<<20), Counters{ZeroBytes: 1 << 20})
	f("a page of zeros", a, 7, make([]byte, PageSize), Counters{ZeroBytes: PageSize})
	f("a page", a, 7, p[:PageSize], Counters{StoredBytes: PageSize, Frames: 1})
	f("the page again: pieces are not named", a, 7, p[:PageSize], Counters{StoredBytes: PageSize, Frames: 1})

	q := randomBytes(rng, pagemap.RegionBytes)
	copy(q[3*pagemap.ChunkBytes:], q[:pagemap.ChunkBytes])  // a chunk twice in one region
	copy(q[5*pagemap.ChunkBytes:], p[:pagemap.ChunkBytes])  // a known one
	clear(q[7*pagemap.ChunkBytes:][:2*pagemap.ChunkBytes])  // two of zeros
	copy(q[12*pagemap.ChunkBytes:], make([]byte, PageSize)) // one that begins with a page of zeros
	f("a region of all sorts", a, 0, q, Counters{StoredBytes: 12 << 12, DuplicateBytes: 2 << 12, ZeroBytes: 2 << 12, Frames: 1, Chunks: 12})
	wantRead(t, s, a, GenHead, 0, q)
	f("the region again", b, 0, q, Counters{DuplicateBytes: 14 << 12, ZeroBytes: 2 << 12})
	wantRead(t, s, b, GenHead, 0, q)

	twice := append(append([]byte(nil), randomBytes(rng, pagemap.RegionBytes)...), make([]byte, pagemap.RegionBytes)...)
	copy(twice[pagemap.RegionBytes:], twice)
	f("a region twice in one write", a, 0, twice, Counters{StoredBytes: 1 << 16, DuplicateBytes: 1 << 16, Frames: 1, Chunks: 16})
	wantRead(t, s, a, GenHead, 0, twice)

	before := s.Stats().Counters
	update(t, s, func(tx *Tx) error { return nil })
	wantCounters(t, s, before, Counters{})
}

// TestSharedContentIsStoredOnce lets many writers bring the same new content at the same moment, in different places,
// and by different routes: as whole regions, as chunks, twice in one update.
func TestSharedContentIsStoredOnce(t *testing.T) {
	t.Run("as it is", func(t *testing.T) { sharedContentIsStoredOnce(t, testOptions(vfs.NewMem(), 3)) })
	t.Run("sealed", func(t *testing.T) {
		o := testOptions(vfs.NewMem(), 3)
		o.MasterKey, o.framePages = testMasterKey(1), 100
		sharedContentIsStoredOnce(t, o)
	})
}

func sharedContentIsStoredOnce(t *testing.T, o Options) {
	s := openTest(t, o)
	rng := rand.New(rand.NewPCG(uint64(envInt(t, "PAGESTORE_SEED", 1)), 0))
	const writers = 8
	const rounds = 6
	volumes := make([]VolumeID, writers)
	for i := range volumes {
		volumes[i] = newVolume(t, s)
	}
	for range rounds {
		before := s.Stats().Counters
		p := randomBytes(rng, 1<<20)
		for i := 0; i < len(p)/2; i += 16 { // compressible
			copy(p[i:], "0123456789")
		}
		var wg, ready sync.WaitGroup
		ready.Add(writers)
		for i := range writers {
			wg.Go(func() {
				first := PageNo(i%2) * pagemap.ChunkPages // half of the writers match no region
				c, err := s.Prepare(first, p)
				ready.Done()
				if err != nil {
					t.Error(err)
					return
				}
				defer c.Release()
				if i%3 == 0 {
					ready.Wait() // nobody's content is in the index when these were prepared
				}
				if err := s.Update(func(tx *Tx) error {
					if err := tx.Write(volumes[i], c); err != nil {
						return err
					}
					return tx.Write(volumes[(i+2)%writers], c) // of the same parity: the same bytes
				}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if t.Failed() {
			return
		}
		got := s.Stats().Counters
		if n := got.RawBytes - before.RawBytes; n != 1<<20 {
			t.Fatalf("%d writers of the same 1 MiB stored %d bytes", writers, n)
		}
		if n := got.Chunks - before.Chunks; n != 256 {
			t.Fatalf("%d chunks, want 256", n)
		}
		for i, v := range volumes {
			wantRead(t, s, v, GenHead, PageNo(i%2)*pagemap.ChunkPages, p)
		}
	}
	if n := len(s.flight.mu.chunks) + len(s.flight.mu.regions) + len(s.flight.mu.trail); n != 0 {
		t.Fatalf("%d fingerprints left in flight", n)
	}
}

// TestOldContent holds contents back while others store what they hold, beyond what the flight remembers.
func TestOldContent(t *testing.T) {
	s := openTest(t, testOptions(vfs.NewMem(), 1))
	s.flight.maxFingerprints = 100
	rng := rand.New(rand.NewPCG(1, 2))
	v := newVolume(t, s)
	p := randomBytes(rng, 1<<20)
	copy(p[1<<19:], p[:1<<18]) // repeats inside
	old, err := s.Prepare(0, p)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Release()
	ragged, err := s.Prepare(3, p[3*PageSize:])
	if err != nil {
		t.Fatal(err)
	}
	defer ragged.Release()
	write(t, s, v, 1<<20, p)
	if n := len(s.flight.mu.chunks); n > 100 {
		t.Fatalf("%d fingerprints kept, want 100 at most", n)
	}
	before := s.Stats().Counters
	update(t, s, func(tx *Tx) error { return tx.Write(v, old) })
	wantCounters(t, s, before, Counters{LogicalBytes: 1 << 20, DuplicateBytes: 1 << 20, Records: 1})
	before = s.Stats().Counters
	update(t, s, func(tx *Tx) error { return tx.Write(v, ragged) })
	wantCounters(t, s, before, Counters{LogicalBytes: 1<<20 - 3*PageSize, DuplicateBytes: 1<<20 - 8*PageSize, StoredBytes: 5 * PageSize, Frames: 1, Records: 1})
	wantRead(t, s, v, GenHead, 0, p)
}

// TestTooLarge appends a record larger than the log takes. The update fails, the store does not, and fingerprints of
// content that was not stored are not believed.
func TestTooLarge(t *testing.T) {
	o := testOptions(vfs.NewMem(), 1)
	o.Log.MaxRecordBytes = 1 << 20
	s := openTest(t, o)
	v := newVolume(t, s)
	p := randomBytes(rand.New(rand.NewPCG(1, 2)), 2<<20)
	c, err := s.Prepare(0, p)
	if err != nil {
		t.Fatal(err)
	}
	before := s.Stats().Counters
	if err := s.Update(func(tx *Tx) error {
		tx.Set([]byte("k"), []byte("v"))
		return tx.Write(v, c)
	}); err == nil {
		t.Fatal("no error")
	} else {
		t.Log(err)
	}
	c.Release()
	wantCounters(t, s, before, Counters{})
	if err := s.Failed(); err != nil {
		t.Fatal(err)
	}
	write(t, s, v, 0, p[:1<<19])
	wantCounters(t, s, before, Counters{LogicalBytes: 1 << 19, StoredBytes: 1 << 19, Frames: 8, Chunks: 128, Records: 1})
	wantRead(t, s, v, GenHead, 0, append(p[:1<<19:1<<19], make([]byte, 1<<19)...))
	update(t, s, func(tx *Tx) error {
		if _, ok, err := tx.Get([]byte("k")); ok || err != nil {
			t.Errorf("row of a failed update: %v %v", ok, err)
		}
		return nil
	})
}

// TestManyWriters lets writers and readers loose on one volume. Each writer owns every nth region and writes it as a
// whole with one number, so a reader can tell a torn write.
func TestManyWriters(t *testing.T) {
	o := testOptions(vfs.NewMem(), 3)
	o.Log.SegmentBytes = 1 << 20
	s := openTest(t, o)
	v := newVolume(t, s)
	rounds := uint64(envInt(t, "PAGESTORE_ROUNDS", 30))
	var writers, readers sync.WaitGroup
	done := make(chan struct{})
	for w := range uint64(8) {
		writers.Go(func() {
			for n := range rounds {
				if err := writeRegion(s, v, w, 1+w+n*8, n%8 == 7); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 2 {
		readers.Go(func() {
			last := make([]uint64, 8)
			for {
				select {
				case <-done:
					return
				default:
				}
				if err := readRegions(s, v, last, 8*rounds); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	writers.Wait()
	close(done)
	readers.Wait()
	for w := range uint64(8) {
		wantRead(t, s, v, GenHead, PageNo(w*pagemap.RegionPages), regionOf(1+w+(rounds-1)*8))
	}
}

// regionOf returns a region that holds one number.
func regionOf(n uint64) []byte {
	p := make([]byte, pagemap.RegionBytes)
	for i := range pagemap.RegionPages {
		fillPage(p[i*PageSize:][:PageSize], n)
	}
	return p
}

func writeRegion(s *Store, v VolumeID, no, n uint64, freeze bool) error {
	c, err := s.Prepare(PageNo(no*pagemap.RegionPages), regionOf(n))
	if err != nil {
		return err
	}
	defer c.Release()
	return s.Update(func(tx *Tx) error {
		if freeze {
			if _, err := tx.Freeze(v); err != nil {
				return err
			}
		}
		return tx.Write(v, c)
	})
}

// readRegions reads as many regions as last has numbers, in one view. Each must hold one number, up to most, and none
// that is older than the last one seen.
func readRegions(s *Store, v VolumeID, last []uint64, most uint64) error {
	view, err := s.View()
	if err != nil {
		return err
	}
	defer view.Close()
	p := make([]byte, len(last)*pagemap.RegionBytes)
	if err := view.Read(v, GenHead, 0, p); err != nil {
		return err
	}
	want := make([]byte, PageSize)
	for w := range last {
		region := p[w*pagemap.RegionBytes:][:pagemap.RegionBytes]
		for fillPage(want, last[w]); !bytes.Equal(want, region[:PageSize]); fillPage(want, last[w]) {
			if last[w]++; last[w] > most {
				return fmt.Errorf("region %d went back, or holds what nobody wrote", w)
			}
		}
		for i := range pagemap.RegionPages {
			if !bytes.Equal(region[i*PageSize:][:PageSize], want) {
				return fmt.Errorf("region %d is torn at page %d", w, i)
			}
		}
	}
	return nil
}
