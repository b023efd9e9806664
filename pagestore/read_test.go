package pagestore

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"pagevault/pagestore/pagemap"
)

// TestReadsCoalesce counts how often members are read. What one write stored side by side is read at once, straight into
// place; only ends that are no whole blocks need reads of their own.
func TestReadsCoalesce(t *testing.T) {
	var reads atomic.Int64
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileReadAt && strings.HasPrefix(op.Path, "replica") {
			reads.Add(1)
		}
		return nil
	}))
	s := openTest(t, testOptions(fs, 1)) // the log reads in pieces where it has another member to turn to
	v := newVolume(t, s)
	p := randomBytes(rand.New(rand.NewPCG(1, 2)), 4<<20)
	write(t, s, v, 0, p)
	f := func(first, pages int, want int64) {
		t.Helper()
		reads.Store(0)
		wantRead(t, s, v, GenHead, PageNo(first), p[first*PageSize:][:pages*PageSize])
		if n := reads.Load(); n != want {
			t.Errorf("pages [%d,%d): %d reads, want %d", first, first+pages, n, want)
		}
	}
	all := len(p) / PageSize
	f(0, all, 1)
	f(8, all-8, 1)                // from a chunk on
	f(1, all-2, 3)                // both ends within chunks
	f(128*3, 128*7, 1)            // regions
	f(5, 1, 1)                    // a page
	f(100, 200, 3)                // three regions, both ends within chunks
	write(t, s, v, 0, p[:64<<10]) // a region that is known: it stays where it was
	f(0, all, 1)
	clear(p[10*PageSize : 11*PageSize])
	write(t, s, v, 10, p[10*PageSize:11*PageSize]) // a hole of zeros
	f(0, all, 3)                                   // up to the hole, from the hole to the end of its frame, the rest
}

// TestSealedReadsCoalesce counts the same for a sealed store, where nothing goes straight into place: frames that follow
// each other are fetched a MiB at a time. A part of a compressed frame is fetched once.
func TestSealedReadsCoalesce(t *testing.T) {
	var mu sync.Mutex
	reads := map[string]bool{} // by file and offset: where one takes long another member is asked for the same
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileReadAt && strings.HasPrefix(op.Path, "replica") {
			mu.Lock()
			defer mu.Unlock()
			reads[fmt.Sprintf("%s at %d", path.Base(op.Path), op.Offset)] = true
		}
		return nil
	}))
	o := testOptions(fs, 3)
	o.MasterKey = testMasterKey(1)
	s := openTest(t, o)
	v := newVolume(t, s)
	p := mixed(rand.New(rand.NewPCG(1, 2)), 4<<20, "text")
	half := len(p) / 2 / PageSize // the rest cannot be compressed
	write(t, s, v, 0, p)
	f := func(first, pages, want int) {
		t.Helper()
		mu.Lock()
		clear(reads)
		mu.Unlock()
		wantRead(t, s, v, GenHead, PageNo(first), p[first*PageSize:][:pages*PageSize])
		mu.Lock()
		defer mu.Unlock()
		if len(reads) > want {
			t.Errorf("pages [%d,%d): %d reads, want %d: %v", first, first+pages, len(reads), want, slices.Sorted(maps.Keys(reads)))
		}
	}
	f(0, 2*half, 4)        // 2 MiB in blocks, and a few bytes
	f(half, half, 3)       // 2 MiB and their tags
	f(half+1, half-2, 3)   // ends within blocks
	f(half+128*3+5, 1, 1)  // a page of a raw frame
	f(half+128*3+5, 1, 1)  // is fetched each time
	f(128*3+5, 1, 1)       // a page of a compressed frame
	f(128*3+5, 1, 0)       // is kept
	f(128*3, 128, 0)       // with the others
	f(128*2+100, 128*2, 1) // of three frames, of which the one in the middle is kept: but it lies between
	f(128*2+100, 128*2, 0)
}

// TestReadArguments checks what is refused.
func TestReadArguments(t *testing.T) {
	s := openTest(t, testOptions(vfs.NewMem(), 1))
	v := newVolume(t, s)
	write(t, s, v, 0, make([]byte, PageSize))
	update(t, s, func(tx *Tx) error {
		_, err := tx.Freeze(v)
		return err
	})
	update(t, s, func(tx *Tx) error { return tx.Truncate(v, 0) })
	withView(t, s, func(view *View) {
		f := func(what string, err, want error) {
			t.Helper()
			if !errors.Is(err, want) || want == nil && err != nil {
				t.Errorf("%s: %v, want %v", what, err, want)
			}
		}
		yes := func(Range) bool { return true }
		yesDiff := func(Range, bool) bool { return true }
		page := make([]byte, PageSize)
		f("half a page", view.Read(v, GenHead, 0, page[:100]), ErrBadRange)
		f("beyond the last page", view.Read(v, GenHead, maxPages, page), ErrBadRange)
		f("the last page", view.Read(v, GenHead, maxPages-1, page), nil)
		f("nothing", view.Read(v, GenHead, maxPages, nil), nil)
		f("no volume", view.Read(v+1, GenHead, 0, page), ErrNoVolume)
		f("the frozen generation", view.Read(v, 1, 0, page), nil)
		f("one between", view.Read(v, 2, 0, page), ErrNoGeneration)
		f("the current one", view.Read(v, 3, 0, page), nil)
		f("one to come", view.Read(v, 4, 0, page), ErrNoGeneration)
		f("ranges backwards", view.Ranges(v, GenHead, Range{5, 4}, yes), ErrBadRange)
		f("ranges of no volume", view.Ranges(v+1, GenHead, AllPages, yes), ErrNoVolume)
		f("diff from now", view.Diff(v, GenHead, GenHead, AllPages, yesDiff), ErrNoGeneration)
		f("diff from one between", view.Diff(v, 2, GenHead, AllPages, yesDiff), ErrNoGeneration)
		f("diff backwards", view.Diff(v, 3, 1, AllPages, yesDiff), ErrNoGeneration)
		f("diff of one", view.Diff(v, 1, 1, AllPages, yesDiff), nil)
		f("diff", view.Diff(v, 1, GenHead, AllPages, yesDiff), nil)
		f("diff backwards in pages", view.Diff(v, 1, GenHead, Range{5, 4}, yesDiff), ErrBadRange)
	})
	if _, err := s.Prepare(0, nil); !errors.Is(err, ErrBadRange) {
		t.Errorf("content of nothing: %v", err)
	}
	if _, err := s.Prepare(0, make([]byte, 100)); !errors.Is(err, ErrBadRange) {
		t.Errorf("content of half a page: %v", err)
	}
	if _, err := s.Prepare(maxPages, make([]byte, PageSize)); !errors.Is(err, ErrBadRange) {
		t.Errorf("content beyond the last page: %v", err)
	}
	write(t, s, v, maxPages-pagemap.RegionPages, make([]byte, pagemap.RegionBytes))
	err := s.Update(func(tx *Tx) error { return tx.Clear(v, Range{2, 1}) })
	if !errors.Is(err, ErrBadRange) {
		t.Errorf("clear backwards: %v", err)
	}
	update(t, s, func(tx *Tx) error { return tx.Clear(v, AllPages) })
	withView(t, s, func(view *View) {
		if err := view.Ranges(v, GenHead, AllPages, func(r Range) bool {
			t.Errorf("%v is left", r)
			return true
		}); err != nil {
			t.Error(err)
		}
	})
}
