package pagestore

import (
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/internal/digest"
	"pagevault/pagestore/pagemap"
)

// TestKnownRegions writes a region again and again, whose place is known then without the index, until it is moved, and
// until it is freed: after each, what comes again must be found where it is now, or be stored anew.
func TestKnownRegions(t *testing.T) {
	s := openTest(t, gcOptions(vfs.NewMem(), 1))
	rng := rand.New(rand.NewPCG(1, 2))
	v, w := newVolume(t, s), newVolume(t, s)
	p := randomBytes(rng, pagemap.RegionBytes)
	var name digest.Digest
	s.hasher.Sum(&name, p)
	again := func(stored bool) {
		t.Helper()
		before := s.Stats().Counters
		write(t, s, w, 0, p)
		if now := s.Stats().Counters; (now.StoredBytes > before.StoredBytes) != stored {
			t.Errorf("%d bytes are stored, %d were before", now.StoredBytes, before.StoredBytes)
		}
		wantRead(t, s, w, GenHead, 0, p)
	}
	known := func(want bool) {
		t.Helper()
		if got := s.known.Load().find(&name) != nil; got != want {
			t.Errorf("known: %v, want %v", got, want)
		}
	}

	write(t, s, v, 0, p)
	write(t, s, v, pagemap.RegionPages, randomBytes(rng, 2*pagemap.RegionBytes)) // to be garbage
	update(t, s, func(tx *Tx) error { return tx.Clear(v, Range{pagemap.RegionPages, 3 * pagemap.RegionPages}) })
	again(false)
	known(true)
	rewriteAll(t, s) // moves the region
	known(false)
	again(false)
	known(true)
	for _, v := range []VolumeID{v, w} {
		update(t, s, func(tx *Tx) error { return tx.Clear(v, Range{0, pagemap.RegionPages}) })
	}
	rewriteAll(t, s) // frees it
	known(false)
	again(true)
}

// rewriteAll has everything that is garbage freed.
func rewriteAll(t *testing.T, s *Store) {
	t.Helper()
	if err := s.log.Rotate(); err != nil {
		t.Fatal(err)
	}
	maintain(t, s, MaintainOptions{})
}
