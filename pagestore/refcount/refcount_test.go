package refcount

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"pagevault/pagestore/pagemap"
)

func seed(t testing.TB) uint64 {
	s := uint64(rand.Uint32())
	if v := os.Getenv("PAGESTORE_SEED"); v != "" {
		n, err := strconv.ParseUint(v, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		s = n
	}
	t.Logf("seed %d: replay with PAGESTORE_SEED=%d", s, s)
	return s
}

func TestTouched(t *testing.T) {
	f := func(off, pages int, want Set) {
		t.Helper()
		r := pagemap.Run{Pages: uint8(pages), Frame: 1, Off: uint8(off)}
		if got := Touched(r); got != want {
			t.Errorf("pages [%d,%d) touch %016b, want %016b", off, off+pages, got, want)
		}
		var c Counts
		c.Add(r, 3)
		for i, n := range c {
			if want.Has(i) != (n == 3) || n != 0 && n != 3 {
				t.Errorf("pages [%d,%d): block %d counts %d", off, off+pages, i, n)
			}
		}
		if c.Live() != want {
			t.Errorf("pages [%d,%d): live %016b, want %016b", off, off+pages, c.Live(), want)
		}
	}
	f(0, 8, 0b1)        // a chunk
	f(0, 1, 0b1)        // a page of it
	f(7, 1, 0b1)        // its last page
	f(7, 2, 0b11)       // a page each of two
	f(16, 24, 0b11100)  // blocks 2 to 4
	f(0, 128, 0xffff)   // a whole frame
	f(127, 1, 0x8000)   // its last page
	f(119, 9, 0b11<<14) // reaches into the last but one
	if got := Touched(pagemap.Run{Pages: 128}); got != 0 {
		t.Errorf("zeros touch %b", got)
	}
}

func TestBytes(t *testing.T) {
	f := func(pages int, s Set, want uint64) {
		t.Helper()
		if got := s.Bytes(pages); got != want {
			t.Errorf("blocks %b of a frame of %d pages: %d bytes, want %d", s, pages, got, want)
		}
	}
	f(128, All(128), 65536)
	f(128, 0, 0)
	f(128, 0b101, 8192)
	f(1, All(1), 512)       // one short block
	f(12, All(12), 6144)    // a whole block and half of one
	f(12, 0b01, 4096)       // the whole one
	f(12, 0b10, 2048)       // the half
	f(121, All(121), 61952) // 121 × 512
	f(121, 1<<15, 512)
	for pages := 1; pages <= pagemap.RegionPages; pages++ {
		f(pages, All(pages), uint64(pages)*512)
	}
}

func TestLiveBytes(t *testing.T) {
	f := func(stored uint32, live, present Set, want uint64) {
		t.Helper()
		if got := LiveBytes(stored, live, present); got != want {
			t.Errorf("%d stored, live %b of %b: %d, want %d", stored, live, present, got, want)
		}
	}
	f(1000, 0xffff, 0xffff, 1000)
	f(1000, 0, 0xffff, 0)
	f(1000, 0b1, 0b111, 333) // rounded down
	f(1000, 0b11, 0b111, 666)
	f(1000, 0b1000, 0b111, 0) // a block that is not present holds nothing
	f(1000, 0, 0, 0)
	f(65536, 0x7fff, 0xffff, 61440)
}

func TestApply(t *testing.T) {
	c := Counts{1, 0, 5, ^uint64(0)}
	changed, wrong := c.Apply(&Deltas{-1, -1, 2, 1})
	if want := (Counts{0, 0, 7, ^uint64(0)}); c != want || changed != 0b101 || wrong != 0b1010 {
		t.Errorf("%v, changed %b, wrong %b", c, changed, wrong)
	}
	if changed, wrong = c.Apply(&Deltas{}); changed != 0 || wrong != 0 {
		t.Errorf("no change changes %b, wrong %b", changed, wrong)
	}
}

func TestEncoding(t *testing.T) {
	f := func(c Counts, blocks int, want string) {
		t.Helper()
		p := c.Append([]byte{0xee}, blocks)
		if got := hex.EncodeToString(p[1:]); got != want {
			t.Errorf("%v: %s, want %s", c[:blocks], got, want)
		}
		back := Counts{9, 9}
		if err := back.Decode(p[1:], blocks); err != nil || back != c {
			t.Errorf("%v comes back as %v (%v)", c, back, err)
		}
	}
	f(Counts{}, 0, "")
	f(Counts{}, 1, "0100")
	f(Counts{}, 16, "1000")
	f(Counts{1}, 1, "0101")
	f(Counts{1, 1, 1, 300}, 4, "030101ac02")
	f(Counts{0, ^uint64(0), 0}, 16, "010001ffffffffffffffffff010e00")

	bad := func(in string, blocks int) {
		t.Helper()
		p, err := hex.DecodeString(in)
		if err != nil {
			t.Fatal(err)
		}
		var c Counts
		if c.Decode(p, blocks) == nil {
			t.Errorf("%s is decoded as %v", in, c[:blocks])
		}
	}
	bad("", 1)           // nothing
	bad("01", 1)         // no count
	bad("0180", 1)       // a count cut short
	bad("018000", 1)     // a count in more bytes than it needs
	bad("0001", 1)       // a pair for no block
	bad("0201", 1)       // more blocks than there are
	bad("0101", 2)       // fewer
	bad("01010101", 2)   // two pairs that are one
	bad("010100", 1)     // something behind
	bad("00", 0)         // the same where there is no block
	bad("8100010101", 2) // a number of blocks in more bytes than it needs
	bad("ffffffffffff00", 16)
}

func FuzzDecode(f *testing.F) {
	for _, c := range []Counts{{}, {1, 1, 1}, {1, 2, 3, 400, 500}} {
		f.Add(c.Append(nil, MaxBlocks), MaxBlocks)
		f.Add(c.Append(nil, 3), 3)
	}
	f.Fuzz(func(t *testing.T, p []byte, blocks int) {
		if blocks < 0 || blocks > MaxBlocks {
			return
		}
		var c Counts
		if c.Decode(p, blocks) != nil {
			return
		}
		if back := c.Append(nil, blocks); !bytes.Equal(back, p) {
			t.Fatalf("%x decodes to %v, which is %x", p, c, back)
		}
		for _, n := range c[blocks:] {
			if n != 0 {
				t.Fatalf("%x sets counts beyond block %d: %v", p, blocks, c)
			}
		}
	})
}

// TestChanges compares what Changes says with counting both entries from nothing.
func TestChanges(t *testing.T) {
	rng := rand.New(rand.NewPCG(seed(t), 0))
	var e pagemap.Entry
	for i := range 20_000 {
		var next pagemap.Entry
		from := rng.IntN(pagemap.RegionPages)
		to := from + 1 + rng.IntN(pagemap.RegionPages-from)
		switch n := to - from; rng.IntN(8) {
		case 0:
			next = pagemap.Clear(nil, e, from, to)
		case 1:
			next = pagemap.Overlay(nil, e, pagemap.Entry{{First: uint8(from), Pages: uint8(n)}})
		default:
			off := rng.IntN(pagemap.RegionPages + 1 - n)
			over := pagemap.Entry{{First: uint8(from), Pages: uint8(n), Frame: pagemap.FrameID(1 + rng.IntN(3)), Off: uint8(off)}}
			next = pagemap.Overlay(nil, e, over)
		}
		got := count(e)
		calls := 0
		Changes(e, next, func(r pagemap.Run, n int64) {
			var d Deltas
			d.Add(r, n)
			for b, n := range d {
				got[r.Frame][b] += n
			}
			calls++
		})
		if want := count(next); got != want {
			t.Fatalf("step %d: from %v to %v: counts %v, want %v", i, e, next, got, want)
		}
		if most := len(e) + len(next); calls > most {
			t.Fatalf("step %d: %d calls for %d runs", i, calls, most)
		}
		e = next
	}
	Changes(e, e, func(r pagemap.Run, n int64) { t.Fatalf("an entry differs from itself by %d × %v", n, r) })
}

// count counts the runs of an entry block by block, page by page. Frames are 1 to 3.
func count(e pagemap.Entry) (c [4]Deltas) {
	for _, r := range e {
		if r.Frame == pagemap.ZeroFrame {
			continue
		}
		for p := int(r.Off); p < int(r.Off)+int(r.Pages); p++ {
			if p == int(r.Off) || p%pagemap.ChunkPages == 0 {
				c[r.Frame][p/pagemap.ChunkPages]++
			}
		}
	}
	return c
}
