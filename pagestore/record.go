package pagestore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"pagevault/internal/digest"
	"pagevault/pagestore/pagemap"
)

// The Meta of a log record. All numbers are little-endian, uvarints in their fewest bytes. The first byte is the kind:
//
//	genesis   0x01  the first record of every log and only that
//	commit    0x02  the changes of one Update, a sequence of operations applied in order
//
// genesis:
//
//	format        u16   recordFormat
//	page bytes    u32   512
//	chunk bytes   u32   4,096
//	region bytes  u32   65,536
//	direct        u32   a clear of more regions ends the generation and may become an erasure
//	erasures      u32   erasures a volume can have at once
//	key           [32]  secret that keys the fingerprints of this store
//
// Operations of a commit, each beginning with its kind:
//
//	frame     0x01  id uvarint · codec u8 · pages u8 (1..128) · stored uvarint, bytes
//	                · chunks u8 · chunks × (page offset u8 · digest [32])
//	                · one CRC32C u32 for each block of the frame
//	write     0x02  volume uvarint · first page uvarint · pages uvarint (≥ 1) · for each region it touches:
//	                flags u8 (1: the digest of the whole region follows) · [digest [32]]
//	                · runs u8 (1..128) · runs × run, as in the page map, covering exactly the region's pages of the write
//	clear     0x03  volume uvarint · start page uvarint · end page uvarint (> start)
//	truncate  0x04  volume uvarint · from page uvarint
//	create    0x05  volume uvarint
//	freeze    0x06  volume uvarint · generation uvarint, the one that ends
//	drop      0x07  volume uvarint
//	set       0x08  key length uvarint · key · value length uvarint · value
//	delete    0x09  key length uvarint · key
//
// The Data of the record is the stored bytes of its frames, one after the other in the order of their operations. A
// frame comes before the writes that refer to it. Codec 0 stores the pages as they are, with a block for each 8 pages
// (the last may be shorter).
const (
	recordGenesis = 0x01
	recordCommit  = 0x02

	recordFormat = 1 // of the whole log; a reader refuses any other
)

type opKind uint8

const (
	opFrame opKind = iota + 1
	opWrite
	opClear
	opTruncate
	opCreate
	opFreeze
	opDrop
	opSet
	opDelete
)

// codecRaw stores pages as they are.
const codecRaw = 0

// maxPages bounds page numbers: every byte of a volume has an address that fits an int64.
const maxPages = PageNo(math.MaxInt64/PageSize + 1)

const regionHasDigest = 1 // flag of a region of a write

// genesis is the content of the first record: what applying a record depends on beside the record and the rows.
type genesis struct {
	limits
	key digest.Key
}

func (g genesis) append(dst []byte) []byte {
	dst = append(dst, recordGenesis)
	dst = binary.LittleEndian.AppendUint16(dst, recordFormat)
	dst = binary.LittleEndian.AppendUint32(dst, pagemap.PageBytes)
	dst = binary.LittleEndian.AppendUint32(dst, pagemap.ChunkBytes)
	dst = binary.LittleEndian.AppendUint32(dst, pagemap.RegionBytes)
	dst = binary.LittleEndian.AppendUint32(dst, g.direct)
	dst = binary.LittleEndian.AppendUint32(dst, g.erasures)
	return append(dst, g.key[:]...)
}

const genesisBytes = 1 + 2 + 5*4 + 32

func decodeGenesis(p []byte) (g genesis, err error) {
	if len(p) < 3 || p[0] != recordGenesis {
		return g, errors.New("the first record is not the store's header")
	}
	if v := binary.LittleEndian.Uint16(p[1:]); v != recordFormat {
		return g, fmt.Errorf("the store has format %d, this build reads format %d", v, recordFormat)
	}
	if len(p) != genesisBytes {
		return g, fmt.Errorf("the store's header has %d bytes, want %d", len(p), genesisBytes)
	}
	page, chunk, region := binary.LittleEndian.Uint32(p[3:]), binary.LittleEndian.Uint32(p[7:]), binary.LittleEndian.Uint32(p[11:])
	if page != pagemap.PageBytes || chunk != pagemap.ChunkBytes || region != pagemap.RegionBytes {
		return g, fmt.Errorf("the store has pages, chunks and regions of %d, %d and %d bytes, this build reads %d, %d and %d",
			page, chunk, region, pagemap.PageBytes, pagemap.ChunkBytes, pagemap.RegionBytes)
	}
	g.direct, g.erasures = binary.LittleEndian.Uint32(p[15:]), binary.LittleEndian.Uint32(p[19:])
	copy(g.key[:], p[23:])
	return g, nil
}

// namedChunk is a chunk of a frame: its first page there and its digest.
type namedChunk struct {
	off  uint8
	name digest.Digest
}

// frame describes a frame where it is stored, in a record and in the index.
type frame struct {
	id     pagemap.FrameID
	codec  uint8
	pages  uint8  // raw pages, 1..128
	stored uint32 // bytes
	crcs   []uint32
	chunks []namedChunk // in a record only
}

// blocks returns the number of separately checksummed blocks of a raw frame of that many pages.
func blocks(pages int) int { return (pages + pagemap.ChunkPages - 1) / pagemap.ChunkPages }

func appendFrameOp(dst []byte, f *frame) []byte {
	dst = append(dst, byte(opFrame))
	dst = binary.AppendUvarint(dst, uint64(f.id))
	dst = append(dst, f.codec, f.pages)
	dst = binary.AppendUvarint(dst, uint64(f.stored))
	dst = append(dst, byte(len(f.chunks)))
	for i := range f.chunks {
		dst = append(dst, f.chunks[i].off)
		dst = append(dst, f.chunks[i].name[:]...)
	}
	for _, c := range f.crcs {
		dst = binary.LittleEndian.AppendUint32(dst, c)
	}
	return dst
}

func appendWriteOp(dst []byte, v VolumeID, pages Range) []byte {
	dst = append(dst, byte(opWrite))
	dst = binary.AppendUvarint(dst, uint64(v))
	dst = binary.AppendUvarint(dst, uint64(pages.Start))
	return binary.AppendUvarint(dst, uint64(pages.End-pages.Start))
}

// appendWriteRegion appends one region of a write; name is nil unless the region is written as a whole and its digest
// is to be remembered.
func appendWriteRegion(dst []byte, name *digest.Digest, runs pagemap.Entry) []byte {
	if name != nil {
		dst = append(dst, regionHasDigest)
		dst = append(dst, name[:]...)
	} else {
		dst = append(dst, 0)
	}
	dst = append(dst, byte(len(runs)))
	return pagemap.AppendEntry(dst, runs)
}

// appendVolumeOp appends an operation that is a kind, a volume and up to two numbers.
func appendVolumeOp(dst []byte, kind opKind, v VolumeID, args ...uint64) []byte {
	dst = append(dst, byte(kind))
	dst = binary.AppendUvarint(dst, uint64(v))
	for _, a := range args {
		dst = binary.AppendUvarint(dst, a)
	}
	return dst
}

func appendSetOp(dst, key, value []byte) []byte {
	dst = append(dst, byte(opSet))
	dst = binary.AppendUvarint(dst, uint64(len(key)))
	dst = append(dst, key...)
	dst = binary.AppendUvarint(dst, uint64(len(value)))
	return append(dst, value...)
}

func appendDeleteOp(dst, key []byte) []byte {
	dst = append(dst, byte(opDelete))
	dst = binary.AppendUvarint(dst, uint64(len(key)))
	return append(dst, key...)
}

// op is one decoded operation of a commit. Only the fields of its kind are set; slices point into the Meta.
type op struct {
	kind       opKind
	volume     VolumeID
	gen        Gen
	pages      Range // write, clear; truncate: [from, maxPages)
	key, value []byte
	frame      frame // its slices are reused by the next frame of the same decoder
}

// region is one decoded region of a write.
type region struct {
	no       uint64 // of the volume
	from, to int    // pages of the region that are written
	name     *digest.Digest
	runs     pagemap.Entry // reused by the next region of the same decoder
}

// commitDecoder reads the operations of a commit. After a write operation its regions must be read with region until
// that returns false.
type commitDecoder struct {
	p    []byte
	err  error
	left Range // pages of the current write whose regions were not read yet
	op   op
	reg  region
	name digest.Digest
}

// reset starts decoding p.
func (d *commitDecoder) reset(p []byte) error {
	d.err, d.left = nil, Range{}
	if len(p) == 0 || p[0] != recordCommit {
		return errors.New("not a commit")
	}
	d.p = p[1:]
	return nil
}

func (d *commitDecoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf(format, args...)
	}
	d.p = nil
}

func (d *commitDecoder) byte() byte {
	if len(d.p) == 0 {
		d.fail("record ends within an operation")
		return 0
	}
	b := d.p[0]
	d.p = d.p[1:]
	return b
}

func (d *commitDecoder) uvarint() uint64 {
	v, n := pagemap.Uvarint(d.p)
	if n == 0 {
		d.fail("record ends within a number, or the number is malformed")
		return 0
	}
	d.p = d.p[n:]
	return v
}

func (d *commitDecoder) bytes(n uint64) []byte {
	if n > uint64(len(d.p)) {
		d.fail("record ends within an operation: %d bytes wanted, %d left", n, len(d.p))
		return nil
	}
	b := d.p[:n:n]
	d.p = d.p[n:]
	return b
}

// next decodes the next operation into d.op. It returns false at the end and on an error, which d.err holds.
func (d *commitDecoder) next() bool {
	if d.left.Start < d.left.End {
		d.fail("regions of a write were not read")
	}
	if d.err != nil || len(d.p) == 0 {
		return false
	}
	f := d.op.frame
	d.op = op{kind: opKind(d.byte()), frame: f}
	switch d.op.kind {
	case opFrame:
		d.frame()
	case opWrite:
		d.op.volume = VolumeID(d.uvarint())
		first := d.uvarint()
		d.setPages(first, first+d.uvarint())
		d.left = d.op.pages
	case opClear:
		d.op.volume = VolumeID(d.uvarint())
		start := d.uvarint()
		d.setPages(start, d.uvarint())
	case opTruncate:
		d.op.volume = VolumeID(d.uvarint())
		d.setPages(d.uvarint(), uint64(maxPages))
	case opCreate, opDrop:
		d.op.volume = VolumeID(d.uvarint())
	case opFreeze:
		d.op.volume = VolumeID(d.uvarint())
		g := d.uvarint()
		if g == 0 || g > math.MaxUint32 {
			d.fail("freeze of generation %d", g)
		}
		d.op.gen = Gen(g)
	case opSet:
		d.op.key = d.bytes(d.uvarint())
		d.op.value = d.bytes(d.uvarint())
	case opDelete:
		d.op.key = d.bytes(d.uvarint())
	default:
		d.fail("operation of unknown kind %d", d.op.kind)
	}
	return d.err == nil
}

func (d *commitDecoder) setPages(start, end uint64) {
	if start >= end || end > uint64(maxPages) {
		d.fail("pages [%d,%d) out of bounds", start, end)
		return
	}
	d.op.pages = Range{PageNo(start), PageNo(end)}
}

func (d *commitDecoder) frame() {
	f := &d.op.frame
	f.crcs, f.chunks = f.crcs[:0], f.chunks[:0]
	f.id = pagemap.FrameID(d.uvarint())
	f.codec, f.pages = d.byte(), d.byte()
	stored := d.uvarint()
	if d.err != nil {
		return
	}
	switch {
	case f.id == pagemap.ZeroFrame:
		d.fail("frame without id")
	case f.pages == 0 || f.pages > pagemap.RegionPages:
		d.fail("frame %d of %d pages", f.id, f.pages)
	case f.codec != codecRaw:
		d.fail("frame %d has codec %d, which this build does not know", f.id, f.codec)
	case stored != uint64(f.pages)*PageSize:
		d.fail("frame %d of %d pages has %d bytes", f.id, f.pages, stored)
	}
	f.stored = uint32(stored)
	end := 0 // of the chunk before
	for n := d.byte(); n > 0 && d.err == nil; n-- {
		c := namedChunk{off: d.byte()}
		copy(c.name[:], d.bytes(digest.Size))
		if int(c.off) < end || int(c.off)+pagemap.ChunkPages > int(f.pages) {
			d.fail("frame %d of %d pages has a chunk at page %d", f.id, f.pages, c.off)
		}
		end = int(c.off) + pagemap.ChunkPages
		f.chunks = append(f.chunks, c)
	}
	for n := blocks(int(f.pages)); n > 0 && d.err == nil; n-- {
		if b := d.bytes(4); b != nil {
			f.crcs = append(f.crcs, binary.LittleEndian.Uint32(b))
		}
	}
}

// region decodes the next region of the current write into d.reg. It returns false when there is none left and on an
// error, which d.err holds.
func (d *commitDecoder) region() bool {
	if d.err != nil || d.left.Start >= d.left.End {
		return false
	}
	r := &d.reg
	r.no, r.from, r.to = firstRegion(d.left)
	r.name, r.runs = nil, r.runs[:0]
	switch flags := d.byte(); flags {
	case 0:
	case regionHasDigest:
		if r.to-r.from != pagemap.RegionPages {
			d.fail("region %d has a digest and only pages [%d,%d)", r.no, r.from, r.to)
		}
		copy(d.name[:], d.bytes(digest.Size))
		r.name = &d.name
	default:
		d.fail("region %d has unknown flags %#x", r.no, flags)
	}
	d.runs(r)
	d.left.Start += PageNo(r.to - r.from)
	return d.err == nil
}

// runs decodes the runs of r, which must cover its pages without a gap.
func (d *commitDecoder) runs(r *region) {
	at := r.from
	for n := d.byte(); n > 0 && d.err == nil; n-- {
		run, rest, err := pagemap.DecodeRun(d.p)
		if err != nil {
			d.fail("region %d: %w", r.no, err)
			return
		}
		if int(run.First) != at {
			d.fail("region %d: run %v, want one from page %d", r.no, run, at)
			return
		}
		at, d.p = run.End(), rest
		if k := len(r.runs); k > 0 && r.runs[k-1].ContinuedBy(run) {
			d.fail("region %d: run %v continues the one before", r.no, run)
			return
		}
		r.runs = append(r.runs, run)
	}
	if at != r.to {
		d.fail("region %d: runs end at page %d, want %d", r.no, at, r.to)
	}
}

// firstRegion returns the number of the first region that pages touches and the pages [from, to) of it.
func firstRegion(pages Range) (no uint64, from, to int) {
	no = uint64(pages.Start / pagemap.RegionPages)
	base := PageNo(no * pagemap.RegionPages)
	return no, int(pages.Start - base), int(min(pages.End-base, pagemap.RegionPages))
}

// regionRange returns the numbers [first, end) of the regions that pages touches.
func regionRange(pages Range) (first, end uint64) {
	if pages.Start >= pages.End {
		return 0, 0
	}
	return uint64(pages.Start / pagemap.RegionPages), uint64((pages.End-1)/pagemap.RegionPages) + 1
}

// regionPart returns the pages [from, to) of region no that lie in pages.
func regionPart(pages Range, no uint64) (from, to int) {
	base := PageNo(no * pagemap.RegionPages)
	if pages.Start > base {
		from = int(min(pages.Start-base, pagemap.RegionPages))
	}
	if pages.End > base {
		to = int(min(pages.End-base, pagemap.RegionPages))
	}
	return from, max(from, to)
}
