// Package refcount says how often the blocks of a frame are referred to, and what follows from that in bytes. It is
// pure: no I/O, no locks, no clock, and nothing here allocates except to extend the caller's buffer.
//
// A frame is cut into blocks of 8 pages, of which the last may be shorter. The count of a block is the number of runs, in
// all page map entries there are, that touch it: a run over the pages of blocks 2 to 4 adds one to each of them, and two
// runs of one entry within the same block add two. Counts are therefore a function of the page map alone and can be
// recomputed from it. A block whose count is 0 is dead: it holds nothing that can be read, until a new run refers to it.
package refcount

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"pagevault/pagestore/pagemap"
)

// MaxBlocks is the most blocks a frame has.
const MaxBlocks = pagemap.RegionPages / pagemap.ChunkPages

// Blocks returns the number of blocks of a frame of that many pages, 1 to 128.
func Blocks(pages int) int { return (pages + pagemap.ChunkPages - 1) / pagemap.ChunkPages }

// Set is a set of blocks of one frame: bit i is block i.
type Set uint16

// All returns the set of all blocks of a frame of that many pages.
func All(pages int) Set { return span(0, Blocks(pages)) }

// Touched returns the blocks that a run reaches into. Those of a run of zeros are none.
func Touched(r pagemap.Run) Set {
	if r.Frame == pagemap.ZeroFrame {
		return 0
	}
	from, to := reach(r)
	return span(from, to)
}

// reach returns the blocks [from, to) that a run reaches into.
func reach(r pagemap.Run) (from, to int) {
	return int(r.Off) / pagemap.ChunkPages, Blocks(int(r.Off) + int(r.Pages))
}

func span(from, to int) Set { return Set(1<<to - 1<<from) }

// Len returns the number of blocks in the set.
func (s Set) Len() int { return bits.OnesCount16(uint16(s)) }

// Has reports whether block i is in the set.
func (s Set) Has(i int) bool { return s>>i&1 != 0 }

// Bytes returns what the blocks of the set hold before they are encoded, in a frame of that many pages: 4,096 bytes
// each, less for a short last one.
func (s Set) Bytes(pages int) uint64 {
	n := s.Len() * pagemap.ChunkPages
	if last := pages % pagemap.ChunkPages; last != 0 && s.Has(Blocks(pages)-1) {
		n -= pagemap.ChunkPages - last
	}
	return uint64(n) * pagemap.PageBytes
}

// LiveBytes returns the share of a frame's stored bytes that its live blocks account for: each of the present blocks
// counts alike, and the result is rounded down. It is 0 if no block is present.
func LiveBytes(stored uint32, live, present Set) uint64 {
	if present == 0 {
		return 0
	}
	return uint64(stored) * uint64((live & present).Len()) / uint64(present.Len())
}

// Counts are the counts of the blocks of one frame. Those beyond its last block are 0.
type Counts [MaxBlocks]uint64

// Add adds n to the count of every block that r touches; r must not be a run of zeros.
func (c *Counts) Add(r pagemap.Run, n uint64) {
	from, to := reach(r)
	for i := from; i < to; i++ {
		c[i] += n
	}
}

// Live returns the blocks whose count is not 0.
func (c *Counts) Live() (s Set) {
	for i, n := range c {
		if n != 0 {
			s |= 1 << i
		}
	}
	return s
}

// Deltas are changes of the counts of the blocks of one frame.
type Deltas [MaxBlocks]int64

// Add adds n to the change of every block that r touches; r must not be a run of zeros.
func (d *Deltas) Add(r pagemap.Run, n int64) {
	from, to := reach(r)
	for i := from; i < to; i++ {
		d[i] += n
	}
}

// Apply adds the changes to c. A count that would fall below 0, or beyond what 64 bits hold, stays at that limit. It
// returns the blocks whose counts changed and those of which that is true.
func (c *Counts) Apply(d *Deltas) (changed, wrong Set) {
	for i, n := range d {
		if n == 0 {
			continue
		}
		was := c[i]
		c[i] += uint64(n)
		switch {
		case n < 0 && c[i] > was:
			c[i] = 0
			wrong |= 1 << i
		case n > 0 && c[i] < was:
			c[i] = ^uint64(0)
			wrong |= 1 << i
		}
		if c[i] != was {
			changed |= 1 << i
		}
	}
	return changed, wrong
}

// Counts are encoded as pairs, one for each longest run of blocks with equal counts:
//
//	blocks  uvarint, 1..16
//	count   uvarint
//
// both in the fewest bytes. The pairs cover all blocks of the frame and nothing else; nearly always they are one pair of
// two bytes. There is one encoding of the counts of a frame, and decoding accepts no other.

// Append appends the encoding of the counts of a frame of that many blocks.
func (c *Counts) Append(dst []byte, blocks int) []byte {
	for i := 0; i < blocks; {
		n := 1
		for i+n < blocks && c[i+n] == c[i] {
			n++
		}
		dst = binary.AppendUvarint(append(dst, byte(n)), c[i])
		i += n
	}
	return dst
}

var errCut = errors.New("counts end within a pair")

// Decode sets c to the counts of a frame of that many blocks, 0 to 16, encoded in p. They must fill p. An error leaves c
// in any state.
func (c *Counts) Decode(p []byte, blocks int) error {
	*c = Counts{}
	for at := 0; at < blocks; {
		if len(p) == 0 {
			return errCut
		}
		run := int(p[0]) // a uvarint of at most 16
		if run == 0 || run > blocks-at {
			return fmt.Errorf("counts of %d blocks, %d are left", run, blocks-at)
		}
		n, length := pagemap.Uvarint(p[1:])
		if length == 0 {
			return errCut
		}
		if at > 0 && c[at-1] == n {
			return fmt.Errorf("counts of block %d continue those before", at)
		}
		p = p[1+length:]
		for end := at + run; at < end; at++ {
			c[at] = n
		}
	}
	if len(p) != 0 {
		return fmt.Errorf("counts are followed by %d bytes", len(p))
	}
	return nil
}

// Changes calls fn for what replacing the entry was by the entry is changes: with -1 for each run that is only in was,
// with 1 for each run that is only in is, and not for runs of zeros. Either may be empty.
func Changes(was, is pagemap.Entry, fn func(r pagemap.Run, n int64)) {
	for len(was) > 0 || len(is) > 0 {
		switch {
		case len(was) > 0 && len(is) > 0 && was[0] == is[0]:
			was, is = was[1:], is[1:]
		case len(is) == 0 || len(was) > 0 && was[0].First <= is[0].First:
			if was[0].Frame != pagemap.ZeroFrame {
				fn(was[0], -1)
			}
			was = was[1:]
		default:
			if is[0].Frame != pagemap.ZeroFrame {
				fn(is[0], 1)
			}
			is = is[1:]
		}
	}
}
