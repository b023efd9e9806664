package pagestore

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/pagestore/pagemap"
)

// streamTest is a volume whose bytes are known, with holes, zeros, pieces of regions, frames across regions, a frozen
// generation and an erasure.
type streamTest struct {
	s            *Store
	v            VolumeID
	frozen       Gen
	before, head []byte
}

func newStreamTest(t *testing.T, rng *rand.Rand, key MasterKey) *streamTest {
	const size = 5 << 20
	o := testOptions(vfs.NewMem(), 1)
	o.MasterKey = key
	st := &streamTest{s: openTest(t, o), head: make([]byte, size)}
	st.v = newVolume(t, st.s)
	put := func(at int, p []byte) {
		write(t, st.s, st.v, PageNo(at/PageSize), p)
		copy(st.head[at:], p)
	}
	scatter := func(n int) {
		for range n {
			length := (1 + rng.IntN(300)) * PageSize
			p := mixed(rng, length, "")
			if rng.IntN(8) == 0 {
				clear(p)
			}
			put(rng.IntN((size-length)/PageSize)*PageSize, p)
		}
	}
	put(0, randomBytes(rng, 2<<20))
	put(2<<20+5*PageSize, mixed(rng, 1<<20, ""))
	scatter(60)
	update(t, st.s, func(tx *Tx) (err error) {
		st.frozen, err = tx.Freeze(st.v)
		return err
	})
	st.before = bytes.Clone(st.head)
	scatter(20)
	from, to := 77*PageSize, 900*PageSize
	update(t, st.s, func(tx *Tx) error { return tx.Clear(st.v, Range{PageNo(from / PageSize), PageNo(to / PageSize)}) })
	clear(st.head[from:to])
	return st
}

// TestStream reads volumes in pieces that follow each other, and some that do not, and compares the bytes.
func TestStream(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for _, key := range []MasterKey{{}, testMasterKey(1)} {
		st := newStreamTest(t, rng, key)
		for _, of := range []struct {
			gen  Gen
			want []byte
		}{{GenHead, st.head}, {st.frozen, st.before}} {
			withView(t, st.s, func(v *View) {
				s := v.Stream(st.v, of.gen)
				defer s.Close()
				end := len(of.want) + 1<<20 // beyond the last page that was written
				for range 40 / raceScale {
					at := rng.IntN(len(of.want)/PageSize) * PageSize
					most := []int{128 << 10, 256 << 10, 64 << 10, 1 << 20, 9 * PageSize}[rng.IntN(5)]
					for at < end {
						n := min(most, end-at)
						if end-at > most && most%pagemap.RegionBytes == 0 {
							n -= (at + most) % pagemap.RegionBytes
						}
						rest := end - at - n
						switch rng.IntN(12) {
						case 0:
							rest = 0 // they were not told of
						case 1:
							n = max(PageSize, n/2/PageSize*PageSize)
						}
						st.wantPiece(t, &s, of.want, at, n, rest)
						if at += n; rng.IntN(20) == 0 {
							at += rng.IntN(1000) * PageSize
						}
					}
				}
			})
		}
	}
}

func (st *streamTest) wantPiece(t *testing.T, s *Stream, all []byte, at, n, rest int) {
	t.Helper()
	got, want := bytes.Repeat([]byte{0xee}, n), make([]byte, n)
	if at < len(all) {
		copy(want, all[at:])
	}
	if err := s.Read(PageNo(at/PageSize), got, PageNo(rest/PageSize)); err != nil {
		t.Fatalf("[%d,%d): %v", at, at+n, err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("[%d,%d): wrong bytes", at, at+n)
	}
}

// TestStreamPlansAhead: pieces that follow each other are looked up once in 2 MiB.
func TestStreamPlansAhead(t *testing.T) {
	st := newStreamTest(t, rand.New(rand.NewPCG(5, 6)), MasterKey{})
	withView(t, st.s, func(v *View) {
		s := v.Stream(st.v, GenHead)
		defer s.Close()
		plans, last := 0, Range{}
		for at, piece := 0, 256<<10; at < len(st.head); at += piece {
			st.wantPiece(t, &s, st.head, at, piece, len(st.head)-at-piece)
			if s.plan != last {
				plans, last = plans+1, s.plan
			}
		}
		if plans != 3 { // 5 MiB, in up to 256 KiB + 2 MiB
			t.Errorf("planned %d times", plans)
		}
	})
}

// TestDamagedEntry: an entry of a page map that makes no sense is an error of the pages that it is about, and of no others.
func TestDamagedEntry(t *testing.T) {
	s := openTest(t, testOptions(vfs.NewMem(), 1))
	v := newVolume(t, s)
	p := randomBytes(rand.New(rand.NewPCG(7, 8)), 4*pagemap.RegionBytes)
	write(t, s, v, 0, p)
	var frozen Gen
	update(t, s, func(tx *Tx) (err error) {
		frozen, err = tx.Freeze(v)
		return err
	})
	if err := s.db.Set(appendMapKey(nil, v, 2, frozen), []byte{0xff}, pebble.NoSync); err != nil {
		t.Fatal(err)
	}
	newVolume(t, s) // makes a new picture for views
	withView(t, s, func(view *View) {
		got := make([]byte, len(p))
		if err := view.Read(v, GenHead, 0, got); !errors.Is(err, ErrCorrupt) {
			t.Errorf("all regions: %v", err)
		}
		if err := view.Ranges(v, GenHead, AllPages, func(Range) bool { return true }); !errors.Is(err, ErrCorrupt) {
			t.Errorf("ranges: %v", err)
		}
		stream := view.Stream(v, GenHead)
		defer stream.Close()
		for no := range 4 {
			piece := got[:pagemap.RegionBytes]
			err := stream.Read(PageNo(no*pagemap.RegionPages), piece, PageNo((3-no)*pagemap.RegionPages))
			if no == 2 && !errors.Is(err, ErrCorrupt) {
				t.Errorf("region %d: %v", no, err)
			}
			if no != 2 && (err != nil || !bytes.Equal(piece, p[no*pagemap.RegionBytes:][:pagemap.RegionBytes])) {
				t.Errorf("region %d: %v, or wrong bytes", no, err)
			}
		}
	})
}

// TestStreamArguments checks what is refused, and that a stream goes on after it.
func TestStreamArguments(t *testing.T) {
	s := openTest(t, testOptions(vfs.NewMem(), 1))
	v := newVolume(t, s)
	write(t, s, v, 0, bytes.Repeat([]byte{1}, PageSize))
	withView(t, s, func(view *View) {
		page := make([]byte, PageSize)
		stream := view.Stream(v, GenHead)
		defer stream.Close()
		f := func(what string, err, want error) {
			t.Helper()
			if !errors.Is(err, want) || want == nil && err != nil {
				t.Errorf("%s: %v, want %v", what, err, want)
			}
		}
		f("half a page", stream.Read(0, page[:100], 0), ErrBadRange)
		f("beyond the last page", stream.Read(maxPages, page, 0), ErrBadRange)
		f("the last page", stream.Read(maxPages-1, page, 1000), nil)
		f("nothing", stream.Read(maxPages, nil, 0), nil)
		f("the first page", stream.Read(0, page, 0), nil)
		if page[0] != 1 {
			t.Error("wrong byte")
		}
		none := view.Stream(v+1, GenHead)
		f("no volume", none.Read(0, page, 0), ErrNoVolume)
		f("still no volume", none.Read(0, page, 0), ErrNoVolume)
	})
}
