package pagestore

import (
	"encoding/binary"
	"math"
	"math/bits"

	"pagevault/internal/digest"
	"pagevault/pagestore/pagemap"
)

// The codecs: how the pages of a frame are stored.
const (
	codecRaw  = 0 // as they are, block by block
	codecS2   = 1 // all present blocks compressed at once, fast
	codecZstd = 2 // the same, small
)

// sealBytes is what sealing adds to what is sealed at once: the tag of AES-GCM.
const sealBytes = 16

// maxBlocks is the most blocks that a frame has.
const maxBlocks = pagemap.RegionPages / pagemap.ChunkPages

// maxStored is the most bytes that a frame is stored in: raw, every block sealed.
const maxStored = pagemap.RegionBytes + maxBlocks*sealBytes

// namedChunk is a chunk of a frame: its first page there and its name.
type namedChunk struct {
	off  uint8
	name digest.Digest
}

// frame describes a frame where it is stored, in a record and in the index. Its pages are cut into blocks of 8, the last
// may be shorter; those that nothing needs any more may be absent. A raw frame stores each present block by itself, in
// order, and has a checksum for each; a compressed one stores all of them as one, with one checksum. If session is not 0
// each such unit is sealed, with sealBytes more, and the checksum covers its sealed form.
type frame struct {
	id      pagemap.FrameID
	pages   uint8  // raw pages, 1..128, absent blocks included
	present uint16 // bit i: block i is stored
	codec   uint8
	session uint32 // whose key seals it; 0: not sealed
	counter uint64 // of the nonce of the first sealed unit; the others follow
	stored  uint32 // bytes
	crcs    []uint32
	chunks  []namedChunk // in a record only: those whose blocks are all present
	gone    []namedChunk // in a move or free only: those that the frame had and has no more
}

// blocks returns the number of blocks of a frame of that many pages.
func blocks(pages int) int { return (pages + pagemap.ChunkPages - 1) / pagemap.ChunkPages }

// allBlocks returns the set of all blocks of a frame of that many pages.
func allBlocks(pages int) uint16 { return uint16(1<<blocks(pages) - 1) }

// blockSpan returns the set of the blocks that the pages [from, to) of a frame touch; from < to.
func blockSpan(from, to int) uint16 {
	return allBlocks(to) &^ uint16(1<<(from/pagemap.ChunkPages)-1)
}

// rawBytes returns the length of the present blocks of a frame, as they are before they are compressed or sealed.
func rawBytes(pages int, present uint16) int {
	n := bits.OnesCount16(present) * pagemap.ChunkBytes
	if last := blocks(pages) - 1; present>>last&1 != 0 {
		n -= ((last+1)*pagemap.ChunkPages - pages) * PageSize
	}
	return n
}

// units returns how many parts of the frame are checksummed, and sealed, by themselves.
func (f *frame) units() int {
	if f.codec == codecRaw {
		return bits.OnesCount16(f.present)
	}
	return 1
}

// storedFits reports whether a frame of this codec and these blocks can be stored in n bytes.
func (f *frame) storedFits(n uint64) bool {
	raw, seal := uint64(rawBytes(int(f.pages), f.present)), uint64(0)
	if f.session != 0 {
		seal = uint64(f.units()) * sealBytes
	}
	if f.codec == codecRaw {
		return n == raw+seal
	}
	return seal < n && n < raw+seal
}

func appendFrameOp(dst []byte, f *frame) []byte {
	dst = binary.AppendUvarint(append(dst, byte(opFrame)), uint64(f.id))
	return appendStored(append(dst, f.pages), f)
}

// appendMoveOp appends a frame that was stored anew, with fewer blocks perhaps.
func appendMoveOp(dst []byte, f *frame) []byte {
	dst = binary.AppendUvarint(append(dst, byte(opMove)), uint64(f.id))
	dst = binary.LittleEndian.AppendUint16(append(dst, f.pages), f.present)
	return appendNames(appendStored(dst, f), f.gone)
}

// appendFreeOp appends the end of a frame that nothing needs any more.
func appendFreeOp(dst []byte, id pagemap.FrameID, gone []namedChunk) []byte {
	return appendNames(binary.AppendUvarint(append(dst, byte(opFree)), uint64(id)), gone)
}

// appendStored appends what frame and move have in common.
func appendStored(dst []byte, f *frame) []byte {
	dst = appendSealing(append(dst, f.codec), f)
	dst = appendNames(binary.AppendUvarint(dst, uint64(f.stored)), f.chunks)
	for _, c := range f.crcs {
		dst = binary.LittleEndian.AppendUint32(dst, c)
	}
	return dst
}

// appendSealing appends session uvarint · [counter uvarint, if session is not 0].
func appendSealing(dst []byte, f *frame) []byte {
	dst = binary.AppendUvarint(dst, uint64(f.session))
	if f.session != 0 {
		dst = binary.AppendUvarint(dst, f.counter)
	}
	return dst
}

func appendNames(dst []byte, names []namedChunk) []byte {
	dst = append(dst, byte(len(names)))
	for i := range names {
		dst = append(append(dst, names[i].off), names[i].name[:]...)
	}
	return dst
}

// frame decodes a frame, or a move, into d.op.frame.
func (d *commitDecoder) frame(move bool) {
	f := &d.op.frame
	f.id = d.frameID()
	f.pages = d.byte()
	if f.pages == 0 || f.pages > pagemap.RegionPages {
		d.fail("frame %d of %d pages", f.id, f.pages)
		return
	}
	f.present = allBlocks(int(f.pages))
	if move {
		d.present(f)
	}
	f.codec, f.session, f.counter = d.byte(), d.number32("session"), 0
	if f.session != 0 {
		f.counter = d.uvarint()
	}
	stored := d.uvarint()
	switch {
	case d.err != nil:
		return
	case f.codec > codecZstd:
		d.fail("frame %d has codec %d, which this build does not know", f.id, f.codec)
	case !f.storedFits(stored):
		d.fail("frame %d of %d pages, blocks %#x, codec %d, session %d has %d bytes", f.id, f.pages, f.present, f.codec, f.session, stored)
	case f.counter > math.MaxUint64-maxBlocks:
		d.fail("frame %d is sealed with counter %d", f.id, f.counter)
	}
	f.stored = uint32(stored)
	f.chunks = d.names(f, f.chunks[:0], func(blocks uint16) bool { return blocks&^f.present == 0 })
	f.crcs, f.gone = f.crcs[:0], f.gone[:0]
	for n := f.units(); n > 0 && d.err == nil; n-- {
		if b := d.bytes(4); b != nil {
			f.crcs = append(f.crcs, binary.LittleEndian.Uint32(b))
		}
	}
	if move {
		f.gone = d.names(f, f.gone, func(blocks uint16) bool { return blocks&^f.present != 0 })
	}
}

// present decodes which blocks a moved frame still has.
func (d *commitDecoder) present(f *frame) {
	if b := d.bytes(2); b != nil {
		f.present = binary.LittleEndian.Uint16(b)
	}
	if f.present == 0 || f.present&^allBlocks(int(f.pages)) != 0 {
		d.fail("frame %d of %d pages with blocks %#x", f.id, f.pages, f.present)
	}
}

// free decodes a free operation into d.op.frame: its id and gone.
func (d *commitDecoder) free() {
	f := &d.op.frame
	*f = frame{id: d.frameID(), pages: pagemap.RegionPages, crcs: f.crcs[:0], chunks: f.chunks[:0], gone: f.gone[:0]}
	f.gone = d.names(f, f.gone, func(uint16) bool { return true })
}

func (d *commitDecoder) frameID() pagemap.FrameID {
	id := pagemap.FrameID(d.uvarint())
	if id == pagemap.ZeroFrame {
		d.fail("frame without id")
	}
	return id
}

// names appends a list of chunks of f to dst. They must be sorted, not overlap, and be of blocks that fit.
func (d *commitDecoder) names(f *frame, dst []namedChunk, fit func(blocks uint16) bool) []namedChunk {
	end := 0 // of the chunk before
	for n := d.byte(); n > 0 && d.err == nil; n-- {
		c := namedChunk{off: d.byte()}
		copy(c.name[:], d.bytes(digest.Size))
		next := int(c.off) + pagemap.ChunkPages
		if int(c.off) < end || next > int(f.pages) || !fit(blockSpan(int(c.off), next)) {
			d.fail("frame %d of %d pages, blocks %#x, has a chunk at page %d", f.id, f.pages, f.present, c.off)
		}
		end = next
		dst = append(dst, c)
	}
	return dst
}
