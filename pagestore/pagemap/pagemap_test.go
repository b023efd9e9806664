package pagemap

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// TestTranscripts runs testdata/*: one entry is kept and changed, its runs are printed after each step.
//
//	overlay          lays the runs of the input over the entry
//	clear A B        clears the pages [A,B)
//	without          clears the pages of the input, lines "A B"
//	within A B       keeps the pages [A,B)
//	reset            starts again with an empty entry
//	encode           prints the entry's bytes
//	decode           decodes bytes in hex, or prints why not
func TestTranscripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		var e Entry
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "overlay":
				over := parseEntry(t, d.Input)
				if err := over.Check(); err != nil {
					t.Fatal(err)
				}
				e = Overlay(nil, e, over)
			case "clear":
				from, to := twoNumbers(t, d)
				e = Clear(nil, e, from, to)
			case "without":
				var lost Bitmap
				for _, line := range strings.Split(d.Input, "\n") {
					var from, to int
					if _, err := fmt.Sscan(line, &from, &to); err != nil {
						t.Fatal(err)
					}
					lost.Add(from, to)
				}
				e = Without(nil, e, lost)
			case "within":
				from, to := twoNumbers(t, d)
				e = Within(nil, e, from, to)
			case "reset":
				e = nil
			case "encode":
				return fmt.Sprintf("%d bytes: %x\n", len(AppendEntry(nil, e)), AppendEntry(nil, e))
			case "decode":
				p, err := hex.DecodeString(strings.ReplaceAll(d.Input, "\n", ""))
				if err != nil {
					t.Fatal(err)
				}
				got, err := DecodeEntry(nil, p)
				if err != nil {
					return "error: " + err.Error() + "\n"
				}
				return format(got)
			default:
				t.Fatalf("unknown command %s", d.Cmd)
			}
			if err := e.Check(); err != nil {
				return "broken: " + err.Error()
			}
			return format(e)
		})
	})
}

func format(e Entry) string {
	var s strings.Builder
	for _, r := range e {
		fmt.Fprintln(&s, r)
	}
	fmt.Fprintf(&s, "valid %v\n", e.Pages())
	return s.String()
}

// parseEntry reads lines as format prints them.
func parseEntry(t *testing.T, text string) (e Entry) {
	t.Helper()
	for _, line := range strings.Split(text, "\n") {
		var from, to, off int
		var frame uint64
		if strings.HasSuffix(line, "zero") {
			if _, err := fmt.Sscanf(line, "[%d,%d) zero", &from, &to); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
		} else if _, err := fmt.Sscanf(line, "[%d,%d) %d+%d", &from, &to, &frame, &off); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		e = append(e, Run{uint8(from), uint8(to - from), FrameID(frame), uint8(off)})
	}
	return e
}

func twoNumbers(t *testing.T, d *datadriven.TestData) (a, b int) {
	t.Helper()
	if len(d.CmdArgs) != 2 {
		t.Fatalf("%s: want two numbers", d.Cmd)
	}
	nums := [2]int{}
	for i := range nums {
		n, err := strconv.Atoi(d.CmdArgs[i].Key)
		if err != nil {
			t.Fatal(err)
		}
		nums[i] = n
	}
	return nums[0], nums[1]
}

// model is a region page by page: what frame and page of it fills each, the zero value for invalid.
type model [RegionPages]struct {
	valid bool
	frame FrameID
	off   uint8
}

func (m *model) set(e Entry) {
	for _, r := range e {
		for i := range r.Pages {
			p := &m[r.First+i]
			p.valid, p.frame, p.off = true, r.Frame, 0
			if r.Frame != ZeroFrame {
				p.off = r.Off + i
			}
		}
	}
}

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

// TestAgainstPages compares every function with the same done page by page, on random entries, and checks that results
// are canonical, survive the codec, leave what was in dst, and that inputs are not changed.
func TestAgainstPages(t *testing.T) {
	rng := rand.New(rand.NewPCG(seed(t), 0))
	var e Entry
	var m model
	for i := range 20_000 {
		over := randomEntry(rng)
		from := rng.IntN(RegionPages + 1)
		to := from + rng.IntN(RegionPages+1-from)
		before, overBefore := slices.Clone(e), slices.Clone(over)
		dst := Entry{{First: 0, Pages: 128, Frame: 99}}
		switch rng.IntN(4) {
		case 0, 1:
			dst = Overlay(dst, e, over)
			m.set(over)
		case 2:
			dst = Clear(dst, e, from, to)
			clear(m[from:to])
		case 3:
			lost := over.Pages()
			if rng.IntN(8) > 0 {
				lost = lost.And(Span(from, to))
			}
			dst = Without(dst, e, lost)
			for p := range m {
				if lost.Has(p) {
					clear(m[p : p+1])
				}
			}
		}
		if !slices.Equal(e, before) || !slices.Equal(over, overBefore) || dst[0] != (Run{0, 128, 99, 0}) {
			t.Fatalf("step %d changed an input", i)
		}
		e = dst[1:]
		check(t, e, &m)
		var within model
		within.set(Within(nil, e, from, to))
		for p := range m {
			if want := m[p]; (p < from || p >= to) && within[p].valid || p >= from && p < to && within[p] != want {
				t.Fatalf("step %d: within [%d,%d) page %d: %v, want %v", i, from, to, p, within[p], want)
			}
		}
	}
}

func check(t *testing.T, e Entry, want *model) {
	t.Helper()
	if err := e.Check(); err != nil {
		t.Fatal(err)
	}
	var got model
	got.set(e)
	if got != *want {
		t.Fatalf("%v, want %v", got, want)
	}
	pages := e.Pages()
	n := 0
	for p := range want {
		if pages.Has(p) != want[p].valid {
			t.Fatalf("page %d: valid %v", p, pages.Has(p))
		}
		if want[p].valid {
			n++
		}
	}
	if pages.Count() != n || pages.Empty() != (n == 0) {
		t.Fatalf("%d pages (%v), want %d", pages.Count(), pages.Empty(), n)
	}
	p := AppendEntry(nil, e)
	back, err := DecodeEntry(nil, p)
	if err != nil || !slices.Equal(back, e) {
		t.Fatalf("%v comes back as %v (%v)", e, back, err)
	}
	b, err := DecodeBitmap(AppendBitmap(nil, pages))
	if err != nil || b != pages {
		t.Fatalf("%v comes back as %v (%v)", pages, b, err)
	}
}

// randomEntry returns a canonical entry of few frames, so that runs often continue each other.
func randomEntry(rng *rand.Rand) (e Entry) {
	at := rng.IntN(1 + rng.IntN(RegionPages))
	for at < RegionPages && len(e) < 1+rng.IntN(20) {
		n := 1 + rng.IntN(1+rng.IntN(RegionPages-at))
		r := Run{First: uint8(at), Pages: uint8(n), Frame: FrameID(rng.IntN(4))}
		switch {
		case r.Frame == ZeroFrame:
		case rng.IntN(2) == 0:
			r.Off = r.First
		default:
			r.Off = uint8(rng.IntN(RegionPages - n + 1))
		}
		e = e.Append(r)
		at += n
		if rng.IntN(2) == 0 {
			at += rng.IntN(10)
		}
	}
	return e
}

func FuzzDecodeEntry(f *testing.F) {
	f.Add([]byte{})
	f.Add(AppendEntry(nil, Entry{{0, 128, 7, 0}}))
	f.Add(AppendEntry(nil, Entry{{0, 3, 0, 0}, {5, 8, 1 << 60, 120}}))
	f.Add([]byte{0, 1, 0x80, 0x00, 0})
	f.Fuzz(func(t *testing.T, p []byte) {
		e, err := DecodeEntry(nil, p)
		if err != nil {
			return
		}
		if err := e.Check(); err != nil {
			t.Fatalf("%x decodes to a broken entry: %v", p, err)
		}
		if back := AppendEntry(nil, e); !bytes.Equal(back, p) {
			t.Fatalf("%x decodes to %v, which is %x", p, e, back)
		}
	})
}

func BenchmarkOverlay(b *testing.B) {
	base := Entry{}
	for i := range 16 {
		base = base.Append(Run{uint8(8 * i), 8, FrameID(100 + i), 0})
	}
	over := Entry{{64, 8, 200, 0}}
	var dst Entry
	b.ReportAllocs()
	for b.Loop() {
		dst = Overlay(dst[:0], base, over)
	}
}
