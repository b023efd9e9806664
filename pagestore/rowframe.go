package pagestore

import (
	"encoding/binary"
	"fmt"
	"math"

	"pagevault/pagestore/pagemap"
	"pagevault/pagestore/refcount"
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
	counts refcount.Counts
}

const rowMoved = 0x80 // beside the codec

// blocks returns the number of blocks of the frame, absent ones included.
func (f *frameRow) blocks() int { return blocks(int(f.pages)) }

// live returns how many of the stored bytes are of blocks that something uses: their share of the present blocks.
func (f *frameRow) live() uint64 {
	return refcount.LiveBytes(f.stored, f.counts.Live(), refcount.Set(f.present))
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
	return f.counts.Append(dst, f.blocks())
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
	if err := f.counts.Decode(p, f.blocks()); err != nil {
		return err
	}
	if live := uint16(f.counts.Live()); live&^f.present != 0 {
		return fmt.Errorf("blocks %#x are used, %#x are present", live, f.present)
	}
	return nil
}
