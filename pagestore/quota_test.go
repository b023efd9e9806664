package pagestore

import (
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/pagestore/pagemap"
)

// TestQuota fills a store to its last byte. What does not fit is refused and nothing of it is stored; what is stored
// already, zeros, reads and deletes go on.
func TestQuota(t *testing.T) {
	o := testOptions(vfs.NewMem(), 1)
	o.Quota = Quota{DataBytes: 1<<20 + 512}
	s := openTest(t, o)
	v := newVolume(t, s)
	p := randomBytes(rand.New(rand.NewPCG(1, 2)), 2<<20)
	write(t, s, v, 0, p[:1<<20])
	before := s.Stats()
	refused := func(first PageNo, p []byte, asked int64) {
		t.Helper()
		err := tryWrite(s, v, first, p)
		var q *QuotaError
		if !errors.Is(err, ErrQuota) || !errors.As(err, &q) || q.Metadata || q.Asked != asked || q.Cap != o.Quota.DataBytes {
			t.Fatalf("%d bytes at page %d: %v", len(p), first, err)
		}
		if after := s.Stats(); after.Counters != before.Counters || after.Applied != before.Applied {
			t.Fatalf("a refused write changed %+v to %+v", before, after)
		}
		if n := len(s.flight.mu.chunks) + len(s.flight.mu.regions); n != 0 {
			t.Fatalf("%d names of what was refused are in flight", n)
		}
	}
	refused(1<<20, p[1<<20:], 1<<20)
	refused(1<<20, p[1<<20:][:1024], 1024)
	write(t, s, v, 1<<20, p[1<<20:][:512]) // up to the last byte
	before = s.Stats()
	refused(1<<21, p[1<<20:][:512], 512)
	write(t, s, v, 3<<20, p[:1<<20])           // stored already
	write(t, s, v, 4<<20, make([]byte, 1<<20)) // zeros
	wantRead(t, s, v, GenHead, 0, p[:1<<20])
	update(t, s, func(tx *Tx) error { return tx.Clear(v, Range{1 << 20, 1<<20 + 1}) })
	write(t, s, v, 1<<21, p[1<<20:][:512]) // garbage makes room
	before = s.Stats()
	refused(1<<22, p[1<<20:][:512], 512)
	s.SetQuota(Quota{})
	write(t, s, v, 1<<20, p[1<<20:])
	wantRead(t, s, v, GenHead, 1<<20, p[1<<20:])
}

// TestQuotaOfManyWriters lets many writers run into the bound at once: together they store what fits and no more.
func TestQuotaOfManyWriters(t *testing.T) {
	o := testOptions(vfs.NewMem(), 2)
	o.MasterKey = testMasterKey(1)
	const region = pagemap.RegionBytes + 16*16 // sealed
	o.Quota = Quota{DataBytes: 40*region + region/2}
	s := openTest(t, o)
	v := newVolume(t, s)
	var stored atomic.Int64
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(1, uint64(w)))
			for i := range 20 {
				switch err := tryWrite(s, v, PageNo((w*20+i)*pagemap.RegionPages), randomBytes(rng, pagemap.RegionBytes)); {
				case err == nil:
					stored.Add(1)
				case !errors.Is(err, ErrQuota):
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n, st := stored.Load(), s.Stats(); n != 40 || st.StoredBytes != 40*region {
		t.Fatalf("%d writes stored %d bytes, want 40 and %d", n, st.StoredBytes, 40*region)
	}
}

// TestQuotaOfMetadata: what adds to the metadata is refused, what frees space is not.
func TestQuotaOfMetadata(t *testing.T) {
	s := openTest(t, testOptions(vfs.NewMem(), 1))
	rng := rand.New(rand.NewPCG(3, 1))
	v, w := newVolume(t, s), newVolume(t, s)
	write(t, s, v, 0, randomBytes(rng, 64<<10))
	s.SetQuota(Quota{MetadataBytes: 1})
	refused := func(err error) {
		t.Helper()
		var q *QuotaError
		if !errors.Is(err, ErrQuota) || !errors.As(err, &q) || !q.Metadata || q.Cap != 1 || q.Used <= 1 {
			t.Fatalf("got %v", err)
		}
	}
	refused(tryWrite(s, v, 0, randomBytes(rng, 512)))
	refused(tryWrite(s, v, 0, make([]byte, 512)))
	refused(s.CheckMetadata())
	refused(s.Update(func(tx *Tx) error { tx.CreateVolume(); return nil }))
	refused(s.Update(func(tx *Tx) error { _, err := tx.Freeze(v); return err }))
	update(t, s, func(tx *Tx) error { tx.Set([]byte("lease"), []byte("v")); return nil })
	update(t, s, func(tx *Tx) error { return tx.Clear(v, Range{0, 8}) })
	update(t, s, func(tx *Tx) error { return tx.Truncate(v, 64) })
	update(t, s, func(tx *Tx) error {
		tx.CreateVolume() // in place of the one that goes
		return tx.Drop(v)
	})
	update(t, s, func(tx *Tx) error { tx.Delete([]byte("lease")); return nil })
	update(t, s, func(tx *Tx) error { return tx.Drop(w) })
	s.SetQuota(Quota{MetadataBytes: 1 << 30})
	newVolume(t, s)
}

// TestQuotaRevived deletes content of a full store and writes it and other content again, by many writers and in every
// order: what the index shows as live never passes the bound, and nothing of what is refused is stored.
func TestQuotaRevived(t *testing.T) {
	const region, held = pagemap.RegionBytes, 24
	seed := uint64(envInt(t, "PAGESTORE_SEED", 7))
	rng := rand.New(rand.NewPCG(seed, 1))
	o := testOptions(vfs.NewMem(), 1)
	o.passive = true
	o.Quota = Quota{DataBytes: held * region}
	var most atomic.Int64
	o.applied = func(st *state) {
		most.Store(max(most.Load(), int64(st.LiveBytes)))
		if int64(st.LiveBytes) > o.Quota.DataBytes {
			t.Errorf("seed %d: record %d: %d live bytes of %d", seed, st.applied, st.LiveBytes, o.Quota.DataBytes)
		}
	}
	s := openTest(t, o)
	old, fresh := make([][]byte, held), make([][]byte, held)
	for i := range old {
		old[i], fresh[i] = randomBytes(rng, region), randomBytes(rng, region)
	}
	v := newVolume(t, s)
	for i, p := range old {
		write(t, s, v, PageNo(i)*pagemap.RegionPages, p)
	}
	refused, revived := atomic.Int64{}, int64(0)
	for round := range 30 {
		from := PageNo(rng.IntN(held/2)) * pagemap.RegionPages
		update(t, s, func(tx *Tx) error { return tx.Clear(v, Range{from, from + held/2*pagemap.RegionPages}) })
		before := s.Stats()
		var done atomic.Int64
		var wg sync.WaitGroup
		for w := range 6 {
			rng := rand.New(rand.NewPCG(seed, uint64(100*round+w)))
			wg.Go(func() {
				for range 6 {
					pool := old
					if rng.IntN(3) == 0 {
						pool = fresh
					}
					// Whole regions, found by one name, and chunks, each found by its own; and some that free as they go.
					p, first := pool[rng.IntN(held)], PageNo(rng.IntN(2*held))*pagemap.RegionPages
					if rng.IntN(2) == 0 {
						p, first = p[pagemap.ChunkBytes:][:9*pagemap.ChunkBytes], first+pagemap.ChunkPages*PageNo(rng.IntN(6))
					}
					switch err := tryWrite(s, v, first, p); {
					case err == nil:
						done.Add(1)
					case errors.Is(err, ErrQuota):
						refused.Add(1)
					default:
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		after := s.Stats()
		if n := after.Records - before.Records; n != uint64(done.Load()) {
			t.Errorf("%d records of %d writes", n, done.Load())
		}
		revived += max(0, int64(after.LiveBytes-before.LiveBytes)-int64(after.StoredBytes-before.StoredBytes))
	}
	if refused.Load() == 0 || revived == 0 || most.Load() < o.Quota.DataBytes-2*region {
		t.Errorf("%d refused, %d bytes revived, %d live of %d: not put to the test", refused.Load(), revived, most.Load(), o.Quota.DataBytes)
	}
	wantMark(t, s)
}

// TestQuotaRevivedAsks: what a write revives is asked for, once, and what it frees in its turn makes room for it later.
func TestQuotaRevivedAsks(t *testing.T) {
	const region = pagemap.RegionBytes
	o := testOptions(vfs.NewMem(), 1)
	o.passive = true
	o.Quota = Quota{DataBytes: 2*region + 512}
	s := openTest(t, o)
	rng := rand.New(rand.NewPCG(1, 2))
	a, b, c := randomBytes(rng, region), randomBytes(rng, region), randomBytes(rng, region)
	v := newVolume(t, s)
	write(t, s, v, 0, a)
	write(t, s, v, 128, b)
	update(t, s, func(tx *Tx) error { return tx.Clear(v, Range{0, 128}) })
	write(t, s, v, 256, c)
	before := s.Stats()
	select {
	case <-s.maintenance.wake:
	default:
	}
	err := tryWrite(s, v, 384, a)
	var q *QuotaError
	if !errors.As(err, &q) || q.Used != 2*region || q.Asked != region {
		t.Fatalf("reviving a region: %v", err)
	}
	if after := s.Stats(); after.Counters != before.Counters || after.Applied != before.Applied {
		t.Errorf("a refused write changed %+v to %+v", before, after)
	}
	if !s.maintenance.hungry.Load() || len(s.maintenance.wake) == 0 {
		t.Error("nobody was told that there is garbage and no room")
	}
	write(t, s, v, 384, b) // is alive
	write(t, s, v, 512, c)
	update(t, s, func(tx *Tx) error { return tx.Clear(v, Range{256, 384}) })
	update(t, s, func(tx *Tx) error { return tx.Clear(v, Range{512, 640}) })
	write(t, s, v, 640, a)
	wantRead(t, s, v, GenHead, 640, a)
	if st := s.Stats(); st.LiveBytes != 2*region || st.StoredBytes != 3*region {
		t.Errorf("%d bytes live, %d stored", st.LiveBytes, st.StoredBytes)
	}
	wantMark(t, s)
}
