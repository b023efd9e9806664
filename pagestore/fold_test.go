package pagestore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/pagestore/pagemap"
)

// foldOnce folds some of the listed regions, whenever they were written.
func (s *Store) foldOnce(ctx context.Context) (more bool, err error) {
	more, _, err = s.foldStep(ctx, false)
	return more, err
}

// foldAll folds until the list has been gone through twice: what is left cannot be folded.
func foldAll(t testing.TB, s *Store) {
	t.Helper()
	for range 2 {
		for more := true; more; {
			var err error
			if more, err = s.foldOnce(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// entriesOf returns the newest entry of each region of a volume.
func entriesOf(t testing.TB, s *Store, id VolumeID) map[uint64]pagemap.Entry {
	t.Helper()
	out := make(map[uint64]pagemap.Entry)
	withView(t, s, func(v *View) {
		w := regionWalk{volume: id}
		if err := w.open(v.snap, 0, maxRegions); err != nil {
			t.Fatal(err)
		}
		defer w.close()
		for {
			ok, err := w.next()
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				return
			}
			out[w.no] = slices.Clone(w.entries[0].runs)
		}
	})
	return out
}

// listed returns how many regions are listed to be folded.
func listed(t testing.TB, s *Store) (n int) {
	t.Helper()
	withView(t, s, func(v *View) {
		it, err := newRowIter(v.snap, rowScattered)
		if err != nil {
			t.Fatal(err)
		}
		defer it.Close()
		for ok := it.First(); ok; ok = it.Next() {
			n++
		}
	})
	return n
}

// pictureOf returns all that can be seen of a volume.
func pictureOf(t testing.TB, s *Store, id VolumeID, pages PageNo, gens ...Gen) string {
	t.Helper()
	var out bytes.Buffer
	withView(t, s, func(v *View) {
		t.Helper()
		p := make([]byte, int(pages)*PageSize)
		for i, g := range gens {
			if err := v.Read(id, g, 0, p); err != nil {
				t.Fatal(err)
			}
			out.Write(p)
			if err := v.Ranges(id, g, AllPages, func(r Range) bool { fmt.Fprintln(&out, r); return true }); err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				continue
			}
			if err := v.Diff(id, gens[i-1], g, AllPages, func(r Range, cleared bool) bool { fmt.Fprintln(&out, r, cleared); return true }); err != nil {
				t.Fatal(err)
			}
		}
	})
	return out.String()
}

// TestFold scatters a volume by small writes, over several generations, and folds it.
func TestFold(t *testing.T) {
	for _, size := range []int{PageSize, pagemap.ChunkBytes, 3 * PageSize} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(uint64(envInt(t, "PAGESTORE_SEED", 7)), uint64(size)))
			o := testOptions(vfs.NewMem(), 2)
			o.passive = true
			s := openTest(t, o)
			id := newVolume(t, s)
			const pages = 40 * pagemap.RegionPages
			base := randomBytes(rng, pages*PageSize)
			clear(base[5<<16 : 7<<16])
			write(t, s, id, 0, base)
			var gens []Gen
			p := randomBytes(rng, size)
			for i := range 6000 {
				p[rng.IntN(len(p))]++
				write(t, s, id, PageNo(rng.IntN(pages*PageSize/size))*PageNo(size/PageSize), p)
				if i%2500 == 2400 {
					update(t, s, func(tx *Tx) error {
						g, err := tx.Freeze(id)
						gens = append(gens, g)
						return err
					})
				}
			}
			update(t, s, func(tx *Tx) error { return tx.Clear(id, Range{130, 135}) })
			gens = append(gens, GenHead)
			before, logged := pictureOf(t, s, id, pages, gens...), s.Stats().Records
			counters := s.Stats().Counters
			if size != pagemap.ChunkBytes && listed(t, s) < 20 {
				t.Fatalf("%d regions are listed", listed(t, s))
			}
			foldAll(t, s)
			for no, e := range entriesOf(t, s, id) {
				if most := max(foldRuns, pieces(e.Pages())); len(e) > most {
					t.Errorf("region %d has %d runs: %v", no, len(e), e)
				}
			}
			if n := listed(t, s); n > 0 {
				t.Errorf("%d regions are listed", n)
			}
			if after := pictureOf(t, s, id, pages, gens...); after != before {
				t.Error("the volume has changed")
			}
			wantMark(t, s)
			got := s.Stats().Counters
			if got.LogicalBytes != counters.LogicalBytes || got.ZeroBytes != counters.ZeroBytes || got.DuplicateBytes != counters.DuplicateBytes || got.MappedBytes != counters.MappedBytes {
				t.Errorf("counters %+v, want %+v", got, counters)
			}
			// Whole chunks have names again: the same content elsewhere is stored already.
			q := make([]byte, pages*PageSize)
			withView(t, s, func(v *View) {
				if err := v.Read(id, GenHead, 0, q); err != nil {
					t.Fatal(err)
				}
			})
			if size == PageSize {
				write(t, s, newVolume(t, s), 0, q)
				if n := s.Stats().StoredBytes - got.StoredBytes; n > 20*pagemap.RegionBytes/10 { // only few regions were not scattered enough
					t.Errorf("%d bytes are stored for a copy", n)
				}
			}
			t.Logf("%d records for the folds", s.Stats().Records-logged)
		})
	}
}

// TestFoldYields folds regions that are written, frozen, cleared and dropped after they were read.
func TestFoldYields(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	o := testOptions(vfs.NewMem(), 1)
	o.passive = true
	s := openTest(t, o)
	scatter := func(id VolumeID, no PageNo) {
		for i := range PageNo(30) {
			write(t, s, id, no*pagemap.RegionPages+4*i, randomBytes(rng, PageSize))
		}
	}
	a, b := newVolume(t, s), newVolume(t, s)
	write(t, s, a, 0, randomBytes(rng, 5*pagemap.RegionBytes))
	write(t, s, b, 0, randomBytes(rng, pagemap.RegionBytes))
	for no := range PageNo(5) {
		scatter(a, no)
	}
	scatter(b, 0)
	j, err := s.planFold(nil, nil)
	if err != nil || len(j.regions) != 6 || j.next != nil {
		t.Fatalf("%d regions, next %x (%v)", len(j.regions), j.next, err)
	}
	write(t, s, a, 3, randomBytes(rng, PageSize))
	update(t, s, func(tx *Tx) error { return tx.Clear(a, Range{pagemap.RegionPages, pagemap.RegionPages + 9}) })
	update(t, s, func(tx *Tx) error { _, err := tx.Freeze(a); return err })
	write(t, s, a, 2*pagemap.RegionPages+1, randomBytes(rng, PageSize))
	update(t, s, func(tx *Tx) error { return tx.Drop(b) })
	before := pictureOf(t, s, a, 5*pagemap.RegionPages, s.frozenOf(t, a), GenHead)
	if err := s.fold(j); err != nil {
		t.Fatal(err)
	}
	if after := pictureOf(t, s, a, 5*pagemap.RegionPages, s.frozenOf(t, a), GenHead); after != before {
		t.Error("the volume has changed")
	}
	for no, e := range entriesOf(t, s, a) {
		folded := no >= 3 // the others were touched
		if folded != (len(e) <= pagemap.RegionPages/pagemap.ChunkPages) {
			t.Errorf("region %d has %d runs", no, len(e))
		}
	}
	if n := listed(t, s); n != 4 { // three, and that of the dropped volume
		t.Errorf("%d regions are listed", n)
	}
	wantMark(t, s)
	foldAll(t, s)
	if n := listed(t, s); n != 1 {
		t.Errorf("%d regions are listed", n)
	}
	if after := pictureOf(t, s, a, 5*pagemap.RegionPages, s.frozenOf(t, a), GenHead); after != before {
		t.Error("the volume has changed")
	}
	if err := s.Reap(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := listed(t, s); n != 0 {
		t.Errorf("%d regions are listed", n)
	}
	wantMark(t, s)
}

// frozenOf returns the newest frozen generation of a volume.
func (s *Store) frozenOf(t testing.TB, id VolumeID) (g Gen) {
	t.Helper()
	withView(t, s, func(v *View) {
		gens, err := readGenerations(v.snap, id)
		if err != nil {
			t.Fatal(err)
		}
		g = gens[len(gens)-1]
	})
	return g
}

// TestFoldHoles folds regions in which nothing can be gained, and some in which a little can.
func TestFoldHoles(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	o := testOptions(vfs.NewMem(), 1)
	o.passive = true
	s := openTest(t, o)
	id := newVolume(t, s)
	for i := range PageNo(64) { // every other page
		write(t, s, id, 2*i, randomBytes(rng, PageSize))
	}
	for i := range PageNo(128) { // all but a few
		if i%20 != 7 {
			write(t, s, id, 128+i, randomBytes(rng, PageSize))
		}
	}
	before := pictureOf(t, s, id, 256, GenHead)
	frames := s.Stats().Frames
	foldAll(t, s)
	entries := entriesOf(t, s, id)
	if len(entries[0]) != 64 || len(entries[1]) > 16+6 || s.Stats().Frames > frames+2 || listed(t, s) != 0 {
		t.Errorf("%d and %d runs, %d frames more, %d listed", len(entries[0]), len(entries[1]), s.Stats().Frames-frames, listed(t, s))
	}
	// A write lists the region again, in vain.
	write(t, s, id, 0, randomBytes(rng, PageSize))
	if n := listed(t, s); n != 1 {
		t.Errorf("%d regions are listed", n)
	}
	frames = s.Stats().Frames
	foldAll(t, s)
	if s.Stats().Frames != frames || listed(t, s) != 0 {
		t.Errorf("%d frames more, %d listed", s.Stats().Frames-frames, listed(t, s))
	}
	write(t, s, id, 0, randomBytes(rng, PageSize))
	if after := pictureOf(t, s, id, 256, GenHead); len(after) != len(before) || after[PageSize:] != before[PageSize:] {
		t.Error("the volume has changed")
	}
	wantMark(t, s)
}

// TestSmallWriteCost measures what random small writes cost beside their content, in the log and in the index, and holds
// it to what fold.go promises. One copy, nothing encrypted, nothing that compresses, every write by itself.
func TestSmallWriteCost(t *testing.T) {
	const writes = 4000
	for _, c := range []struct{ size, log, rows, folded int }{
		{PageSize, 90, 40, 40},
		{pagemap.ChunkBytes, 110, 60, 60},
	} {
		t.Run(fmt.Sprint(c.size), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, uint64(c.size)))
			o := testOptions(vfs.NewMem(), 1)
			o.passive = true
			s := openTest(t, o)
			id := newVolume(t, s)
			const pages = 64 * pagemap.RegionPages // so that each region has its share
			write(t, s, id, 0, randomBytes(rng, pages*PageSize))
			measure := func() (log, index int) {
				for k, v := range allRows(t, s) {
					index += len(k) + len(v)
				}
				return int(s.log.Stats().Bytes) - int(s.Stats().StoredBytes), index
			}
			log, index := measure()
			p := randomBytes(rng, c.size)
			most := 0
			for i := range writes {
				binary.LittleEndian.PutUint64(p, uint64(i)+1)
				write(t, s, id, PageNo(rng.IntN(pages*PageSize/c.size))*PageNo(c.size/PageSize), p)
			}
			for _, e := range entriesOf(t, s, id) {
				most = max(most, len(pagemap.AppendEntry(nil, e)))
			}
			log2, index2 := measure()
			foldAll(t, s)
			_, index3 := measure()
			got := [...]int{(log2 - log) / writes, (index2 - index) / writes, (index3 - index) / writes}
			t.Logf("%d bytes: %d bytes of the log, %d of rows, %d when folded; the largest entry has %d bytes", c.size, got[0], got[1], got[2], most)
			if got[0] > c.log || got[1] > c.rows || got[2] > c.folded || most > 1024 {
				t.Errorf("want at most %d, %d, %d, and 1024", c.log, c.rows, c.folded)
			}
		})
	}
}

// TestFoldDamaged folds two regions of which one cannot be read.
func TestFoldDamaged(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	o := testOptions(vfs.NewMem(), 1)
	o.passive = true
	s := openTest(t, o)
	id := newVolume(t, s)
	for i := range PageNo(2 * pagemap.RegionPages) {
		write(t, s, id, i, randomBytes(rng, PageSize))
	}
	lost := entriesOf(t, s, id)[0][7].Frame
	if err := s.db.Delete(appendFrameKey(nil, lost), pebble.NoSync); err != nil {
		t.Fatal(err)
	}
	if err := s.retire(); err != nil { // a view opened from now on sees it
		t.Fatal(err)
	}
	more, err := s.foldOnce(t.Context())
	if more || !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "region 0") {
		t.Errorf("fold of damaged content: %v, more %v", err, more)
	}
	if e := entriesOf(t, s, id); len(e[0]) != pagemap.RegionPages || len(e[1]) != 1 || listed(t, s) != 1 {
		t.Errorf("%d and %d runs, %d listed", len(e[0]), len(e[1]), listed(t, s))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if more, err := s.foldOnce(ctx); more || !errors.Is(err, context.Canceled) {
		t.Errorf("fold that is ended: %v, more %v", err, more)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if more, err := s.foldOnce(t.Context()); more || !errors.Is(err, ErrClosed) {
		t.Errorf("fold after Close: %v, more %v", err, more)
	}
}

// TestFoldSettled has a writer that never stops in one region: that one is left alone, and another is folded. It is
// folded when the writer does stop.
func TestFoldSettled(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	o := testOptions(vfs.NewMem(), 1)
	o.passive = true
	s := openTest(t, o)
	id := newVolume(t, s)
	write(t, s, id, 0, randomBytes(rng, 2*pagemap.RegionBytes))
	for i := range PageNo(30) {
		write(t, s, id, 4*i, randomBytes(rng, PageSize))
		write(t, s, id, pagemap.RegionPages+4*i, randomBytes(rng, PageSize))
	}
	if n := listed(t, s); n != 2 {
		t.Fatalf("%d regions are listed", n)
	}
	look := func() {
		t.Helper()
		if err := s.foldAll(t.Context(), nil, true); err != nil {
			t.Fatal(err)
		}
	}
	records := s.Stats().Records
	for i := range 10 {
		look()
		write(t, s, id, PageNo(rng.IntN(pagemap.RegionPages)), randomBytes(rng, PageSize))
		want := 2
		if i > 0 {
			want = 1
		}
		if n := listed(t, s); n != want {
			t.Fatalf("after look %d, %d regions are listed", i+1, n)
		}
	}
	entries := entriesOf(t, s, id)
	if n := len(entries[0]); n <= foldRuns {
		t.Errorf("the region that is written has %d runs", n)
	}
	if n := len(entries[1]); n > 16 {
		t.Errorf("the other has %d runs", n)
	}
	if n := s.Stats().Records - records; n != 10+1 {
		t.Errorf("%d records for 10 writes and a fold", n)
	}
	look()
	look()
	if n := listed(t, s); n != 0 {
		t.Errorf("%d regions are listed in the end", n)
	}
	wantMark(t, s)
}

// TestFoldSeenBounded lists more than is remembered: the rest is folded without having been seen before.
func TestFoldSeenBounded(t *testing.T) {
	var f folder
	for i := range uint64(maxFoldSeen) {
		if f.settled(&folding{volume: 1, no: i, gen: 1}) {
			t.Fatalf("region %d is settled", i)
		}
	}
	if !f.settled(&folding{volume: 1, no: maxFoldSeen, gen: 1}) || len(f.mu.now) != maxFoldSeen {
		t.Errorf("%d regions are remembered", len(f.mu.now))
	}
	f.walked()
	if !f.settled(&folding{volume: 1, no: 7, gen: 1}) || f.settled(&folding{volume: 1, no: 7, gen: 2}) {
		t.Error("what was remembered is not what is looked at")
	}
}
