// Package pagemap says which stored content fills which pages of one region of a volume. It is pure: no I/O, no locks,
// no clock. An Entry is a sorted list of runs; the functions here build entries from entries, exact to the 512-byte
// page, and turn them into bytes and back. Every function appends to a buffer of the caller, so that a steady state
// allocates nothing.
package pagemap

import "fmt"

// The geometry of a region. A store records these numbers when it is created and refuses to be opened by a build with
// others, so changing one is changing the format.
const (
	PageBytes   = 512                     // the unit of addressing
	ChunkPages  = 8                       // 4 KiB: the unit that is fingerprinted and stored once
	RegionPages = 128                     // 64 KiB: the unit of the page map, and the most a frame holds
	ChunkBytes  = ChunkPages * PageBytes  // 4,096
	RegionBytes = RegionPages * PageBytes // 65,536
)

// FrameID names a frame, a piece of stored content of up to RegionPages pages. IDs are never reused.
type FrameID uint64

// ZeroFrame is the endless frame of zeros: it stores nothing and every page of it is page 0.
const ZeroFrame FrameID = 0

// Run says that Pages pages of a region, from page First on, are the pages of Frame from page Off on. Off is 0 in a run
// of the ZeroFrame.
type Run struct {
	First uint8 // 0..127
	Pages uint8 // 1..128, First+Pages <= 128
	Frame FrameID
	Off   uint8 // Off+Pages <= 128
}

// End returns the page after the last one of the run.
func (r Run) End() int { return int(r.First) + int(r.Pages) }

// String formats a run as [first,end) frame+offset.
func (r Run) String() string {
	if r.Frame == ZeroFrame {
		return fmt.Sprintf("[%d,%d) zero", r.First, r.End())
	}
	return fmt.Sprintf("[%d,%d) %d+%d", r.First, r.End(), r.Frame, r.Off)
}

// Valid reports whether every field is within its limits.
func (r Run) Valid() bool {
	if r.Pages == 0 || r.End() > RegionPages {
		return false
	}
	if r.Frame == ZeroFrame {
		return r.Off == 0
	}
	return int(r.Off)+int(r.Pages) <= RegionPages
}

// Cut returns the part of the run within the pages [from, to), which must overlap it.
func (r Run) Cut(from, to int) Run {
	from, to = max(from, int(r.First)), min(to, r.End())
	if r.Frame != ZeroFrame {
		r.Off += uint8(from - int(r.First))
	}
	r.First, r.Pages = uint8(from), uint8(to-from)
	return r
}

// ContinuedBy reports whether next is the direct continuation of r, in the region and in the frame.
func (r Run) ContinuedBy(next Run) bool {
	return r.End() == int(next.First) && r.Frame == next.Frame &&
		(r.Frame == ZeroFrame || r.Off+r.Pages == next.Off)
}

// Entry is the page map of one region. Invariants: runs are valid, sorted by First, do not overlap, and no run is the
// continuation of the one before it, so that equal maps are equal slices. A page is valid exactly if a run covers it;
// the set of valid pages is therefore not stored beside the runs.
type Entry []Run

// Append adds run after the last run of e, merging the two where run continues it. run must not start before e ends.
func (e Entry) Append(run Run) Entry {
	if n := len(e); n > 0 && e[n-1].ContinuedBy(run) {
		e[n-1].Pages += run.Pages
		return e
	}
	return append(e, run)
}

// Check returns an error naming the first broken invariant of e.
func (e Entry) Check() error {
	for i, r := range e {
		switch {
		case !r.Valid():
			return fmt.Errorf("run %d of %d is out of bounds: first %d, pages %d, frame %d, offset %d",
				i, len(e), r.First, r.Pages, r.Frame, r.Off)
		case i > 0 && e[i-1].End() > int(r.First):
			return fmt.Errorf("run %v follows %v", r, e[i-1])
		case i > 0 && e[i-1].ContinuedBy(r):
			return fmt.Errorf("run %v continues %v", r, e[i-1])
		}
	}
	return nil
}

// Pages returns the set of valid pages.
func (e Entry) Pages() (b Bitmap) {
	for _, r := range e {
		b.Add(int(r.First), r.End())
	}
	return b
}

// Overlay appends to dst the entry that results from writing the runs of over on top of base: a page covered by both is
// over's. dst must not share memory with base or over.
func Overlay(dst, base, over Entry) Entry {
	b := builder{entry: dst, start: len(dst)}
	from := 0 // pages below from are done
	for _, o := range over {
		base = b.copyPages(base, from, int(o.First))
		b.add(o)
		from = o.End()
	}
	b.copyPages(base, from, RegionPages)
	return b.entry
}

// Clear appends to dst the entry base without the pages [from, to), from <= to. dst must not share memory with base.
func Clear(dst, base Entry, from, to int) Entry {
	b := builder{entry: dst, start: len(dst)}
	base = b.copyPages(base, 0, from)
	b.copyPages(base, to, RegionPages)
	return b.entry
}

// Without appends to dst the entry base without the pages in lost. dst must not share memory with base.
func Without(dst, base Entry, lost Bitmap) Entry {
	b := builder{entry: dst, start: len(dst)}
	for at := 0; at < RegionPages; {
		from, to := lost.Next(at)
		base = b.copyPages(base, at, from)
		at = to
	}
	return b.entry
}

// Within appends to dst the part of base within the pages [from, to). dst must not share memory with base.
func Within(dst, base Entry, from, to int) Entry {
	b := builder{entry: dst, start: len(dst)}
	b.copyPages(base, from, to)
	return b.entry
}

// builder appends an entry to a slice that may hold something else before start.
type builder struct {
	entry Entry
	start int
}

func (b *builder) add(r Run) {
	if n := len(b.entry); n > b.start && b.entry[n-1].ContinuedBy(r) {
		b.entry[n-1].Pages += r.Pages
		return
	}
	b.entry = append(b.entry, r)
}

// copyPages adds the parts of base within the pages [from, to) and returns the runs of base that reach past to.
func (b *builder) copyPages(base Entry, from, to int) Entry {
	for len(base) > 0 {
		r := base[0]
		if int(r.First) >= to {
			return base
		}
		if max(from, int(r.First)) < min(to, r.End()) {
			b.add(r.Cut(from, to))
		}
		if r.End() > to {
			return base
		}
		base = base[1:]
	}
	return base
}
