package blobstore

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/internal/azure/azerr"
	"pagevault/internal/testkit"
)

// TestIncrementalModel makes random histories of a blob, with an incremental copy now and then, beside plain slices that
// know what was written when. Every snapshot of the destination shows what its source did, and any two of them differ
// where those do, but across a copy that had to begin anew.
func TestIncrementalModel(t *testing.T) {
	histories := testkit.Scale(t, "PAGEVAULT_INCREMENT_HISTORIES", 250)
	seed := testkit.Seed(t)
	f := newFixture(t)
	for i := range histories {
		h := &incrementHistory{f: f, r: rand.New(rand.NewPCG(seed, uint64(i)))}
		h.run(fmt.Sprintf("a%d", i), fmt.Sprintf("c%d", i))
	}
	f.wantClean("at the end")
	f.reopen()
	f.wantClean("after opening again")
}

// incrementHistory is one history. The model of pages is that of TestModel.
type incrementHistory struct {
	f      *fixture
	r      *rand.Rand
	now    int
	source modelState
	snaps  []*modelState // of the source
	copies []increment   // in order
}

// increment is a snapshot of the destination.
type increment struct {
	id    string
	of    *modelState
	epoch int // of the copies since all pages were copied
}

func (h *incrementHistory) run(a, c string) {
	t := h.f.t
	h.create(a, 1+h.r.IntN(300))
	gone := true // the snapshot that was copied last
	for range 6 + h.r.IntN(20) {
		h.now++
		n := len(h.source.valid)
		switch k := h.r.IntN(20); {
		case k < 8 && n > 0:
			from, to := h.pages(n)
			body := make([]byte, (to-from)*PageSize)
			switch h.r.IntN(3) {
			case 0: // identical
				copy(body, h.source.data[from*PageSize:])
			case 1:
				for i := range body {
					body[i] = byte(h.now + i/PageSize)
				}
			} // else zeros, which make pages valid all the same
			must(t)(h.f.PutPages(ref(a), &PutPages{Range: bytesOf(from, to), Body: body}))
			copy(h.source.data[from*PageSize:], body)
			h.source.touch(from, to, true, h.now)
		case k < 11 && n > 0:
			from, to := h.pages(n)
			must(t)(h.f.ClearPages(ref(a), &ClearPages{Range: bytesOf(from, to)}))
			clear(h.source.data[from*PageSize : to*PageSize])
			h.source.touch(from, to, false, h.now)
		case k < 13:
			h.resize(a, h.r.IntN(300))
		case k < 14 && len(h.copies) > 0: // another blob is made of a snapshot of the destination, and written to
			at := h.copies[h.r.IntN(len(h.copies))]
			must(t)(h.f.CopyBlob(t.(*testing.T).Context(), ref(a+"-fork"), &CopyBlob{Source: snap(c, at.id), SourceURL: "u"}))
			if len(at.of.valid) > 0 {
				h.f.put(a+"-fork", 0, 1, 'f')
			}
		case k < 15 && len(h.snaps) > 0: // a snapshot of the source goes
			i := h.r.IntN(len(h.snaps))
			ok(t, h.f.DeleteBlob(snap(a, h.snaps[i].id), &Access{}, SnapshotsNone))
			gone = gone || h.snaps[i] == h.copies[len(h.copies)-1].of
			h.snaps = slices.Delete(h.snaps, i, i+1)
		default:
			h.snapshot(a)
			h.copy(a, c, gone)
			gone = false
		}
	}
	h.check(a, c)
	for _, name := range []string{a, c, a + "-fork"} {
		if err := h.f.DeleteBlob(ref(name), &Access{}, SnapshotsInclude); err != nil && err != azerr.BlobNotFound {
			t.Fatal(err)
		}
	}
}

func (h *incrementHistory) create(a string, n int) {
	h.f.create(a, int64(n))
	h.source = modelState{data: make([]byte, n*PageSize), valid: make([]bool, n), touched: make([]int, n)}
}

func (h *incrementHistory) pages(n int) (from, to int) {
	from = h.r.IntN(n)
	return from, min(n, from+1+h.r.IntN([]int{2, 20, 200}[h.r.IntN(3)]))
}

func (h *incrementHistory) resize(a string, n int) {
	h.f.resize(a, int64(n))
	s := &h.source
	for len(s.valid) < n {
		s.valid, s.touched, s.data = append(s.valid, false), append(s.touched, h.now), append(s.data, make([]byte, PageSize)...)
	}
	s.valid, s.touched, s.data = s.valid[:n:n], s.touched[:n:n], s.data[:n*PageSize:n*PageSize]
}

func (h *incrementHistory) snapshot(a string) {
	s := h.source
	s.id, s.at = h.f.snapshot(a), h.now
	s.data, s.valid, s.touched = slices.Clone(s.data), slices.Clone(s.valid), slices.Clone(s.touched)
	h.snaps = append(h.snaps, &s)
	h.now++
}

// copy copies the newest snapshot.
func (h *incrementHistory) copy(a, c string, anew bool) {
	last := h.snaps[len(h.snaps)-1]
	got := h.f.incremental(c, snap(a, last.id))
	if got.Status != CopySuccess || got.Bytes != int64(len(last.data)) {
		h.f.t.Fatalf("copy %d: %+v", len(h.copies), got)
	}
	next := increment{id: got.Destination, of: last}
	if n := len(h.copies); n > 0 {
		next.epoch = h.copies[n-1].epoch
	}
	if anew {
		next.epoch++
	}
	h.copies = append(h.copies, next)
}

func (h *incrementHistory) check(a, c string) {
	t := h.f.t
	for i, at := range h.copies {
		if got := h.f.content(snap(c, at.id)); !bytes.Equal(got, at.of.data) {
			t.Fatalf("copy %d of %s is not what its source was", i, a)
		}
		h.compare(c, at, nil)
		for _, prev := range h.copies[:i] {
			if prev.epoch == at.epoch {
				h.compare(c, at, &prev)
			}
		}
	}
}

// compare compares the valid pages, or the difference to a copy before, with the model.
func (h *incrementHistory) compare(c string, at increment, prev *increment) {
	h.f.t.Helper()
	req := PageRangesRequest{}
	var before *modelState
	if prev != nil {
		req.PrevSnapshot, before = prev.id, prev.of
	}
	got, err := h.f.PageRanges(snap(c, at.id), &req)
	ok(h.f.t, err)
	if want := wantedEntries(at.of.kinds(before)); !slices.Equal(got.Entries, want) {
		h.f.t.Fatalf("pages of %s@%s since %q:\ngot  %s\nwant %s", c, at.id, req.PrevSnapshot, entries(got.Entries), entries(want))
	}
}

// TestPendingCopyCrash: whenever power fails, a copy that was answered is there afterwards, whole or failed, and nothing else
// is left of it.
func TestPendingCopyCrash(t *testing.T) {
	seed := testkit.Seed(t)
	f := newFixture(t)
	r := rand.New(rand.NewPCG(seed, 7))
	f.create("a", 8)
	f.put("a", 0, 2, 'a')
	first := f.incremental("inc", snap("a", f.snapshot("a")))
	crash := func(what string, want CopyStatus) {
		t.Helper()
		for _, kept := range []int{0, 50, 100} {
			g := &fixture{t: t, clock: f.clock, reaped: make(chan Reaped, 100)}
			g.fs = f.fs.(*vfs.MemFS).CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: kept, RNG: r})
			g.open()
			ok(t, g.reap())
			c := g.info(ref("c")).Copy
			if c == nil || c.Status != want {
				t.Errorf("%s, %d%%: it says %+v, want %v", what, kept, c, want)
			}
			if want == CopySuccess {
				equal(t, what, g.letters(ref("c")), "aa...a..")
			} else {
				equal(t, what, g.info(ref("c")).Size, 0)
				g.create("c", 8) // nothing holds it
			}
			equal(t, "incremental copy", g.letters(snap("inc", first.Destination)), "aa......")
			equal(t, "rows", g.rowCount(tablePending), 0)
			g.wantClean(what)
			g.close()
		}
	}
	s, _ := f.startHeld("c")
	crash("begun", CopyFailed)
	s.give <- nil
	<-s.asked
	crash("half done", CopyFailed)
	s.give <- nil
	f.settled("c")
	crash("done", CopySuccess)
	_, got := f.startHeld("c")
	ok(t, f.AbortCopy(ref("c"), &Access{}, got.ID))
	crash("aborted", CopyAborted)
}
