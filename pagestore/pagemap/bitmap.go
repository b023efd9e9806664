package pagemap

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"strings"
)

// Bitmap is a set of pages of one region: page p is bit p%64 of word p/64.
type Bitmap [RegionPages / 64]uint64

// BitmapBytes is the length of an encoded Bitmap.
const BitmapBytes = RegionPages / 8

// span returns the bits of word w that stand for the pages [from, to).
func span(w, from, to int) uint64 {
	lo, hi := max(from-64*w, 0), min(to-64*w, 64)
	if lo >= hi {
		return 0
	}
	return (^uint64(0) >> (64 - (hi - lo))) << lo
}

// Add puts the pages [from, to) into the set.
func (b *Bitmap) Add(from, to int) {
	for w := range b {
		b[w] |= span(w, from, to)
	}
}

// Span returns the set of the pages [from, to).
func Span(from, to int) (b Bitmap) {
	b.Add(from, to)
	return b
}

// Or returns the pages that are in b or in o.
func (b Bitmap) Or(o Bitmap) Bitmap { return Bitmap{b[0] | o[0], b[1] | o[1]} }

// And returns the pages that are in b and in o.
func (b Bitmap) And(o Bitmap) Bitmap { return Bitmap{b[0] & o[0], b[1] & o[1]} }

// AndNot returns the pages that are in b and not in o.
func (b Bitmap) AndNot(o Bitmap) Bitmap { return Bitmap{b[0] &^ o[0], b[1] &^ o[1]} }

// Empty reports whether no page is in the set.
func (b Bitmap) Empty() bool { return b == Bitmap{} }

// Count returns the number of pages in the set.
func (b Bitmap) Count() int { return bits.OnesCount64(b[0]) + bits.OnesCount64(b[1]) }

// Has reports whether page p is in the set.
func (b Bitmap) Has(p int) bool { return b[p/64]>>(p%64)&1 != 0 }

// Next returns the first run of pages [from, to) of the set at or after page p; from == RegionPages if there is none.
func (b Bitmap) Next(p int) (from, to int) {
	from = b.scan(p, 0)
	return from, b.scan(from, ^uint64(0))
}

// scan returns the first page at or after p whose bit, inverted where flip is set, is one.
func (b Bitmap) scan(p int, flip uint64) int {
	for ; p < RegionPages; p = (p/64 + 1) * 64 {
		if w := (b[p/64] ^ flip) >> (p % 64); w != 0 {
			return p + bits.TrailingZeros64(w)
		}
	}
	return RegionPages
}

// String lists the runs of the set, for transcripts.
func (b Bitmap) String() string {
	if b.Empty() {
		return "none"
	}
	var s strings.Builder
	for from, to := b.Next(0); from < RegionPages; from, to = b.Next(to) {
		fmt.Fprintf(&s, "[%d,%d)", from, to)
	}
	return s.String()
}

// AppendBitmap appends the encoding of b: its words, little-endian.
func AppendBitmap(dst []byte, b Bitmap) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, b[0])
	return binary.LittleEndian.AppendUint64(dst, b[1])
}

// DecodeBitmap decodes what AppendBitmap wrote.
func DecodeBitmap(p []byte) (b Bitmap, err error) {
	if len(p) != BitmapBytes {
		return b, fmt.Errorf("page bitmap of %d bytes, want %d", len(p), BitmapBytes)
	}
	b[0], b[1] = binary.LittleEndian.Uint64(p), binary.LittleEndian.Uint64(p[8:])
	return b, nil
}
