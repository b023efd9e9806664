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
