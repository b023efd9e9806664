package pagestore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// variant is a way to make and to run a store that must not be seen from outside.
type variant struct {
	name    string
	members int
	segment int64 // bytes
	table   int   // bytes of index rows in memory
	cache   int64 // bytes of the index
	pages   int   // most of a frame
	batch   int   // bytes at which a replay commits
	o       Options
	tidy    func(s *Store) error // after each update; nil: nothing
	reopen  int                  // one update of so many is followed by closing and opening; 0: none
	lose    bool                 // and then the index is lost
}

func variants() []variant {
	ctx := context.Background()
	everything := func(s *Store) error { return s.Maintain(ctx, MaintainOptions{}, nil) }
	return []variant{
		{name: "defaults", members: 3, segment: 1 << 20, table: 1 << 20, cache: 8 << 20, pages: 128},
		{name: "one member, small everything", members: 1, segment: 32 << 10, table: 64 << 10, cache: 64 << 10, pages: 8, reopen: 20},
		{name: "no compression, encrypted", members: 2, segment: 256 << 10, table: 256 << 10, cache: 1 << 20, pages: 32,
			o: Options{Compression: CompressNone, MasterKey: testMasterKey(3)}, reopen: 50},
		{name: "encrypted", members: 3, segment: 128 << 10, table: 64 << 10, cache: 1 << 20, pages: 128, batch: 1,
			o: Options{MasterKey: testMasterKey(4)}, reopen: 7},
		{name: "everything in the background done at once", members: 2, segment: 32 << 10, table: 64 << 10, cache: 1 << 20,
			pages: 128, tidy: everything},
		{name: "encrypted, all done at once, frames of two chunks", members: 1, segment: 64 << 10, table: 64 << 10, cache: 1 << 20,
			pages: 16, o: Options{MasterKey: testMasterKey(5)}, tidy: everything, reopen: 11},
		{name: "the index lost again and again", members: 1, segment: 64 << 10, table: 64 << 10, cache: 1 << 20, pages: 64,
			tidy: everything, reopen: 9, lose: true},
		{name: "folding and reaping only", members: 1, segment: 256 << 10, table: 1 << 20, cache: 1 << 20, pages: 128,
			tidy: func(s *Store) error {
				if err := s.Reap(ctx); err != nil {
					return err
				}
				_, err := s.foldOnce(ctx)
				return err
			}},
	}
}

// TestSameHistory runs the same history of updates on stores that differ in everything that must not be seen: sizes of
// chunks' frames, of segments and caches, copies, compression, encryption, restarts, what is done in the background. All
// must show the same bytes, the same valid pages and the same differences, after every tenth update and at the end.
func TestSameHistory(t *testing.T) {
	updates := envInt(t, "PAGESTORE_MODEL_OPS", 20_000/raceScale) / 40
	seed := uint64(envInt(t, "PAGESTORE_SEED", int(rand.Uint32())))
	t.Logf("seed %d: replay with PAGESTORE_SEED=%d", seed, seed)
	var first []string
	for i, v := range variants() {
		seen := v.run(t, seed, updates)
		if i == 0 {
			first = seen
			continue
		}
		for k := range first {
			if seen[k] != first[k] {
				t.Fatalf("%q and %q differ after %d updates", v.name, variants()[0].name, (k+1)*10)
			}
		}
	}
}

// run returns what the store has shown after every tenth update.
func (v *variant) run(t *testing.T, seed uint64, updates int) (seen []string) {
	o := v.options(t)
	own := rand.New(rand.NewPCG(seed, 99)) // for what belongs to the variant
	w := &storm{t: t, rng: rand.New(rand.NewPCG(seed, 1)), s: openTest(t, o), states: []stormState{{}}, counts: make(map[string]int)}
	w.quiet = true
	for n := 1; n <= updates; n++ {
		w.step()
		if t.Failed() {
			t.FailNow()
		}
		if v.tidy != nil {
			if err := v.tidy(w.s); err != nil {
				t.Fatalf("%s: %v", v.name, err)
			}
		}
		if v.reopen > 0 && own.IntN(v.reopen) == 0 {
			if err := w.s.Close(); err != nil {
				t.Fatal(err)
			}
			if v.lose {
				if err := o.FS.RemoveAll(o.Dir); err != nil {
					t.Fatal(err)
				}
			}
			w.s = openTest(t, o)
		}
		if n%10 == 0 {
			seen = append(seen, shown(t, w.s, w.after(w.acked.Load())))
		}
	}
	wantStorm(t, w.s, v.name, w.after(w.acked.Load()))
	wantExact(t, w.s, v.name)
	if err := w.s.Close(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: %v", v.name, w.counts)
	return seen
}

func (v *variant) options(t *testing.T) Options {
	o := testOptions(vfs.NewMem(), v.members)
	o.Log.SegmentBytes, o.MemTableBytes, o.framePages, o.replayBatchBytes = v.segment, v.table, v.pages, v.batch
	o.Compression, o.MasterKey, o.passive = v.o.Compression, v.o.MasterKey, true
	o.limits = limits{direct: 1, erasures: 2} // part of the store: which generations there are follows from it
	o.Cache = pebble.NewCache(v.cache)
	t.Cleanup(o.Cache.Unref)
	return o
}

// shown is a digest of all that can be read from the volumes: their bytes, valid pages and differences.
func shown(t *testing.T, s *Store, state stormState) string {
	t.Helper()
	h := sha256.New()
	withView(t, s, func(v *View) {
		for _, id := range slices.Sorted(maps.Keys(state)) {
			gens := append(slices.Sorted(maps.Keys(state[id].frozen)), GenHead)
			for i, g := range gens {
				if err := showGeneration(h, v, id, g, gens[:i]); err != nil {
					t.Fatalf("volume %d generation %d: %v", id, g, err)
				}
			}
		}
	})
	return hex.EncodeToString(h.Sum(nil))
}

func showGeneration(h hash.Hash, v *View, id VolumeID, g Gen, before []Gen) error {
	buf := make([]byte, stormPages*PageSize)
	if err := v.Read(id, g, 0, buf); err != nil {
		return err
	}
	fmt.Fprintf(h, "volume %d generation %d\n", id, g)
	h.Write(buf)
	if err := v.Ranges(id, g, AllPages, func(r Range) bool {
		fmt.Fprintln(h, "valid", r)
		return true
	}); err != nil {
		return err
	}
	for _, since := range before {
		if err := v.Diff(id, since, g, AllPages, func(r Range, cleared bool) bool {
			fmt.Fprintln(h, "since", since, r, cleared)
			return true
		}); err != nil {
			return err
		}
	}
	return nil
}
