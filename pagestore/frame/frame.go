// Package frame lays out stored content. A frame is up to 128 pages that were stored together: compressed, encrypted and
// checksummed as one if that pays, else block by block. It is pure: no I/O, no clock; a Header says how the stored bytes
// of a frame are to be read, and where it is kept is not known here.
//
// # The stored form
//
// The pages of a frame form blocks of 8, the last of which may be shorter; block i holds the pages [8i, 8i+8). A frame
// that was compacted may have lost blocks. The blocks that are left are its present blocks; its content is those of
// their bytes, one after the other.
//
//	raw          each present block, as it is or sealed with the counter of the frame plus the block's number
//	             (16 bytes more); a CRC32C of each, over its stored form
//	S2, zstd     the content, compressed as one, as it is or sealed with the counter of the frame; one CRC32C of the
//	             stored form
//
// So a read of 4 KiB of what cannot be compressed costs 4 KiB, and a read of anything else costs a frame.
package frame

import (
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"math/bits"

	"pagevault/pagestore/pagemap"
	"pagevault/pagestore/seal"
)

// The sizes of frames.
const (
	PageBytes  = pagemap.PageBytes
	BlockPages = pagemap.ChunkPages
	BlockBytes = pagemap.ChunkBytes
	MaxPages   = pagemap.RegionPages
	MaxBlocks  = MaxPages / BlockPages
	MaxBytes   = MaxPages * PageBytes // of content

	// MaxStored bounds the stored bytes of a frame: content that is not compressed, each block sealed.
	MaxStored = MaxBytes + MaxBlocks*seal.Overhead
)

var (
	// ErrChecksum is returned for stored bytes that do not have the checksum that the header says.
	ErrChecksum = errors.New("checksum mismatch")
	// ErrSealed is returned for stored bytes that have their checksum and do not open, or whose session is unknown.
	ErrSealed = seal.ErrSealed
	// ErrMalformed is returned for headers that contradict themselves, for stored bytes that open and do not decompress to
	// what the header says, and for reads of pages that the frame does not have.
	ErrMalformed = errors.New("malformed frame")
)

// Codec says how the content of a frame is compressed.
type Codec uint8

// The codecs. Their numbers are on disk.
const (
	Raw  Codec = 0 // not at all
	S2   Codec = 1 // a block of S2, as klauspost/compress/s2 writes it: fast
	Zstd Codec = 2 // one zstd frame, with the length of its content and without checksum: small
)

func (c Codec) String() string {
	switch c {
	case Raw:
		return "raw"
	case S2:
		return "s2"
	case Zstd:
		return "zstd"
	}
	return fmt.Sprintf("codec %d", uint8(c))
}

// Header is what must be known of a frame to read it.
type Header struct {
	Pages   uint8  // when it was first stored, 1..128; the last block is shorter if it is no multiple of 8
	Present uint16 // set of present blocks; at least one
	Codec   Codec
	Session uint32   // that sealed it; 0: not sealed
	Counter uint64   // the first it was sealed with; 0 if not sealed
	Stored  uint32   // bytes
	CRCs    []uint32 // of the stored form: one for each present block of a raw frame, in order, one for another frame
}

// Blocks returns the number of blocks of a frame of that many pages.
func Blocks(pages int) int { return (pages + BlockPages - 1) / BlockPages }

// All returns the set of all blocks of a frame of that many pages.
func All(pages int) uint16 { return uint16(1<<Blocks(pages) - 1) }

// Blocks returns the number of blocks the frame had when it was first stored.
func (h *Header) Blocks() int { return Blocks(int(h.Pages)) }

// PresentBlocks returns the number of present blocks.
func (h *Header) PresentBlocks() int { return bits.OnesCount16(h.Present) }

// ContentBytes returns the length of the content: of all present blocks.
func (h *Header) ContentBytes() int { return h.before(h.Blocks()) }

// before returns the length of the content of the present blocks before block n.
func (h *Header) before(n int) int {
	size := bits.OnesCount16(h.Present&(1<<n-1)) * BlockBytes
	if last := h.Blocks() - 1; n > last && h.Present>>last&1 != 0 {
		size -= h.Blocks()*BlockBytes - int(h.Pages)*PageBytes
	}
	return size
}

// tag returns what sealing adds to each sealed unit.
func (h *Header) tag() int {
	if h.Session == 0 {
		return 0
	}
	return seal.Overhead
}

// CRCCount returns how many checksums the header has.
func (h *Header) CRCCount() int {
	if h.Codec == Raw {
		return h.PresentBlocks()
	}
	return 1
}

// Check returns an error, ErrMalformed, naming what contradicts itself in the header.
func (h *Header) Check() error {
	switch {
	case h.Pages == 0 || h.Pages > MaxPages:
		return fmt.Errorf("%w: %d pages", ErrMalformed, h.Pages)
	case h.Present == 0 || h.Present&^All(int(h.Pages)) != 0:
		return fmt.Errorf("%w: %d pages, present blocks %#b", ErrMalformed, h.Pages, h.Present)
	case h.Codec > Zstd:
		return fmt.Errorf("%w: %v, which this build does not know", ErrMalformed, h.Codec)
	case h.Session == 0 && h.Counter != 0:
		return fmt.Errorf("%w: counter %d without a session", ErrMalformed, h.Counter)
	case h.Counter > math.MaxUint64-MaxBlocks:
		return fmt.Errorf("%w: counter %d", ErrMalformed, h.Counter)
	case len(h.CRCs) != h.CRCCount():
		return fmt.Errorf("%w: %d checksums, want %d", ErrMalformed, len(h.CRCs), h.CRCCount())
	}
	content := h.ContentBytes()
	if h.Codec == Raw {
		if want := content + h.PresentBlocks()*h.tag(); int64(h.Stored) != int64(want) {
			return fmt.Errorf("%w: %d stored bytes, want %d", ErrMalformed, h.Stored, want)
		}
		return nil
	}
	if most := content + h.tag(); int64(h.Stored) >= int64(most) || int64(h.Stored) <= int64(h.tag()) {
		return fmt.Errorf("%w: %d bytes by %v of a content of %d", ErrMalformed, h.Stored, h.Codec, content)
	}
	return nil
}

// Span says which stored bytes some pages need.
type Span struct {
	Off, Size   int // stored bytes [Off, Off+Size) of the frame are to be fetched
	first, last int // blocks [first, last) come of them
	crc         int // number of the first of their checksums
	crcs        int // how many there are
	lead        int // bytes of content that come of them before the first page asked for
}

// Exact reports whether the span's bytes are the pages asked for: not compressed, not sealed, whole blocks. They can be
// fetched straight to where they are wanted, and Verify be called in place of Read.
func (h *Header) Exact(s Span, from, to int) bool {
	return h.Codec == Raw && h.Session == 0 && s.lead == 0 && s.Size == (to-from)*PageBytes
}

// Span returns the span of the pages [from, to) of the frame, not none. The error, ErrMalformed, says that the frame does
// not have them. Check must have found nothing.
func (h *Header) Span(from, to int) (s Span, err error) {
	if from < 0 || from >= to || to > int(h.Pages) {
		return s, fmt.Errorf("%w: pages [%d,%d) of %d", ErrMalformed, from, to, h.Pages)
	}
	s.first, s.last = from/BlockPages, Blocks(to)
	if wanted := uint16(1<<s.last - 1<<s.first); h.Present&wanted != wanted {
		return s, fmt.Errorf("%w: pages [%d,%d) need blocks %#b, present are %#b", ErrMalformed, from, to, wanted, h.Present)
	}
	s.lead = (from - s.first*BlockPages) * PageBytes
	if h.Codec != Raw {
		s.Size, s.crcs = int(h.Stored), 1
		s.lead += h.before(s.first)
		return s, nil
	}
	s.crc, s.crcs = bits.OnesCount16(h.Present&(1<<s.first-1)), s.last-s.first
	s.Off = h.before(s.first) + s.crc*h.tag()
	s.Size = h.before(s.last) - h.before(s.first) + s.crcs*h.tag()
	return s, nil
}

// Offset returns where in the content page number page begins. Its block must be present.
func (h *Header) Offset(page int) int {
	return h.before(page/BlockPages) + page%BlockPages*PageBytes
}

// Verify checks the checksums of the stored bytes of a span. The error is ErrChecksum, or ErrMalformed if stored has
// not the span's length.
func (h *Header) Verify(s Span, stored []byte) error {
	if len(stored) != s.Size {
		return fmt.Errorf("%w: %d bytes of a span of %d", ErrMalformed, len(stored), s.Size)
	}
	for _, want := range h.CRCs[s.crc : s.crc+s.crcs] {
		n := len(stored)
		if h.Codec == Raw {
			n = min(n, BlockBytes+h.tag())
		}
		if crc32.Checksum(stored[:n], castagnoli) != want {
			return ErrChecksum
		}
		stored = stored[n:]
	}
	return nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)
