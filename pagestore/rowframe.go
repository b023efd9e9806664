package pagestore

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"

	"pagevault/pagestore/pagemap"
	"pagevault/replication"
)

// frameRow says where a frame is stored and how often it is used:
//
//	segment uvarint · offset u32 of the first stored byte in the segment · stored uvarint, bytes · pages u8 (1..128)
//	· present uvarint, the set of its blocks that are stored · codec u8, 128 more if the frame has moved
//	· session uvarint · [counter uvarint, if session is not 0] · CRC32Cs, a u32 each
//	· counts of all blocks, in order, absent ones too: pairs (blocks uvarint (≥ 1) · count uvarint), each count other
//	than the one before
//
// The count of a block is the number of runs that touch it, in all page map entries there are. Absent blocks have 0.
type frameRow struct {
	frame
	at     replication.Position
	moved  bool // was stored anew since it was written
	counts [maxBlocks]uint64
}

const rowMoved = 0x80 // beside the codec

// blocks returns the number of blocks of the frame, absent ones included.
func (f *frameRow) blocks() int { return blocks(int(f.pages)) }

// used returns the set of the blocks that something uses.
func (f *frameRow) used() (set uint16) {
	for i, n := range f.counts {
		if n > 0 {
			set |= 1 << i
		}
	}
	return set
}

// live returns how many of the stored bytes are of blocks that something uses: their share of the present blocks.
func (f *frameRow) live() uint64 {
	return uint64(f.stored) * uint64(bits.OnesCount16(f.used())) / uint64(bits.OnesCount16(f.present))
}

// fast returns the stored bytes of a frame that was stored in a hurry, and may be smaller if it is stored anew.
func (f *frameRow) fast() uint64 {
	if f.codec == codecS2 || f.codec == codecRaw && !f.moved {
		return uint64(f.stored)
	}
	return 0
}

func appendFrameRow(dst []byte, f *frameRow) []byte {
	dst = binary.AppendUvarint(dst, uint64(f.at.Segment))
	dst = binary.LittleEndian.AppendUint32(dst, f.at.Offset)
	dst = append(binary.AppendUvarint(dst, uint64(f.stored)), f.pages)
	dst = binary.AppendUvarint(dst, uint64(f.present))
	codec := f.codec
	if f.moved {
		codec |= rowMoved
	}
	dst = appendSealing(append(dst, codec), &f.frame)
	for _, c := range f.crcs {
		dst = binary.LittleEndian.AppendUint32(dst, c)
	}
	for n := f.blocks(); n > 0; {
		at := f.blocks() - n
		same := 1
		for same < n && f.counts[at+same] == f.counts[at] {
			same++
		}
		dst = binary.AppendUvarint(binary.AppendUvarint(dst, uint64(same)), f.counts[at])
		n -= same
	}
	return dst
}

// decodeFrameRow decodes p into f, reusing f.crcs. It does not set f.id.
func decodeFrameRow(f *frameRow, p []byte) error {
	*f = frameRow{frame: frame{id: f.id, crcs: f.crcs[:0], chunks: f.chunks[:0], gone: f.gone[:0]}}
	segment, n := pagemap.Uvarint(p)
	if n == 0 || segment > math.MaxUint32 || len(p) < n+4 {
		return errRowCut
	}
	f.at = replication.Position{Segment: replication.SegmentID(segment), Offset: binary.LittleEndian.Uint32(p[n:])}
	p = p[n+4:]
	stored, n := pagemap.Uvarint(p)
	if n == 0 || stored > maxStored || len(p) < n+1 {
		return errRowCut
	}
	f.stored, f.pages, p = uint32(stored), p[n], p[n+1:]
	present, n := pagemap.Uvarint(p)
	if n == 0 || len(p) < n+1 {
		return errRowCut
	}
	codec := p[n]
	f.codec, f.moved, p = codec&^rowMoved, codec&rowMoved != 0, p[n+1:]
	var session uint64
	p, err := uvarints(p, &session)
	if err == nil && session != 0 {
		p, err = uvarints(p, &f.counter)
	}
	switch {
	case err != nil:
		return err
	case f.codec > codecZstd:
		return fmt.Errorf("codec %d is not known to this build", f.codec)
	case f.pages == 0 || f.pages > pagemap.RegionPages:
		return fmt.Errorf("frame of %d pages", f.pages)
	case present == 0 || present&^uint64(allBlocks(int(f.pages))) != 0:
		return fmt.Errorf("frame of %d pages with blocks %#x", f.pages, present)
	case session > math.MaxUint32:
		return fmt.Errorf("frame of session %d", session)
	}
	f.present, f.session = uint16(present), uint32(session)
	if !f.storedFits(stored) {
		return fmt.Errorf("frame of %d pages, blocks %#x, codec %d, session %d has %d bytes", f.pages, f.present, f.codec, f.session, stored)
	}
	if len(p) < 4*f.units() {
		return errRowCut
	}
	for range f.units() {
		f.crcs, p = append(f.crcs, binary.LittleEndian.Uint32(p)), p[4:]
	}
	return f.decodeCounts(p)
}

// decodeCounts decodes the counts, which end the row.
func (f *frameRow) decodeCounts(p []byte) (err error) {
	for at := 0; at < f.blocks(); {
		var n, count uint64
		if p, err = uvarints(p, &n, &count); err != nil {
			return err
		}
		if n == 0 || n > uint64(f.blocks()-at) || at > 0 && f.counts[at-1] == count {
			return fmt.Errorf("count %d of %d blocks from block %d on", count, n, at)
		}
		for range n {
			f.counts[at] = count
			at++
		}
	}
	if len(p) != 0 {
		return errRowCut
	}
	if f.used()&^f.present != 0 {
		return fmt.Errorf("blocks %#x are used, %#x are present", f.used(), f.present)
	}
	return nil
}
