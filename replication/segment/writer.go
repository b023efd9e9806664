package segment

import "pagevault/internal/invariant"

// CopyBelow is the length below which a part of Data is copied behind its header, so that small records go to the disk in
// one write. Longer parts are written from where they lie: at this length a copy costs as much as the write calls it saves.
const CopyBelow = 16 << 10

// Source is one record as the Writer wants it: its bytes and their checksums.
type Source struct {
	LSN     LSN
	Meta    []byte
	Data    [][]byte
	DataLen int64 // the sum of the lengths of Data
	MetaCRC uint32
	DataCRC uint32
}

// Writer lays out the bytes of one segment in the order in which they lie in the file. It does no I/O: every member
// writes the same bytes.
//
// Invariants: end is the offset of the next record and a multiple of Align; table has one row for each record below end.
type Writer struct {
	header Header
	seed   uint32
	end    int64
	data   int64
	table  []Entry
}

// Reset starts a new segment. The caller writes the bytes of h, HeaderBytes long, before those of any record.
func (w *Writer) Reset(h Header) {
	w.header, w.seed, w.end, w.data, w.table = h, Seed(h.Store, h.ID), HeaderBytes, 0, w.table[:0]
}

// End returns the offset at which the next record will lie.
func (w *Writer) End() int64 { return w.end }

// Count returns the number of records laid out.
func (w *Writer) Count() int { return len(w.table) }

// DataBytes returns the sum of the lengths of Data laid out.
func (w *Writer) DataBytes() int64 { return w.data }

// Header returns what was given to Reset.
func (w *Writer) Header() Header { return w.header }

// FileBytes returns the length of a sealed file whose n records end at offset end.
func FileBytes(end int64, n int) int64 { return Padded(end + int64(n)*EntryBytes + TrailerBytes) }

// Append lays out r behind what b already holds and returns the offset of r's Data in the segment. durable is the offset
// below which the segment is known to be on all disks.
func (w *Writer) Append(b *Buffers, r *Source, durable int64) uint32 {
	h := RecordHeader{
		LSN:     r.LSN,
		Offset:  uint32(w.end),
		Meta:    uint32(len(r.Meta)),
		Data:    uint32(r.DataLen),
		MetaCRC: r.MetaCRC,
		DataCRC: r.DataCRC,
		Durable: uint32(durable),
	}
	invariant.Check(r.LSN == w.header.First+LSN(len(w.table)), "record %d laid out as number %d of segment %d from %d", r.LSN, len(w.table), w.header.ID, w.header.First)
	invariant.Check(durable <= w.end && h.End() <= BytesMax, "record of %d bytes at %d, durable %d", h.Bytes(), w.end, durable)
	b.arena = h.Append(b.arena, w.seed)
	b.arena = append(b.arena, r.Meta...)
	for _, p := range r.Data {
		b.add(p)
	}
	for pad := h.End() - h.DataOffset() - r.DataLen; pad > 0; pad-- {
		b.arena = append(b.arena, 0)
	}
	w.table = append(w.table, Entry{Offset: h.Offset, Meta: h.Meta, Data: h.Data})
	w.end = h.End()
	w.data += r.DataLen
	return uint32(h.DataOffset())
}

// Mark is how far a segment is laid out.
type Mark struct {
	end, data int64
	count     int
}

// End returns the offset of the record that comes next.
func (m Mark) End() int64 { return m.end }

// Mark returns how far the segment is laid out.
func (w *Writer) Mark() Mark { return Mark{w.end, w.data, len(w.table)} }

// Rewind forgets the records that were laid out since m was taken.
func (w *Writer) Rewind(m Mark) { w.end, w.data, w.table = m.end, m.data, w.table[:m.count] }

// AppendFooter appends to dst the bytes from End to the end of the sealed file. The file is at least as long as wrote, up to
// where it may have been written.
func (w *Writer) AppendFooter(dst []byte, wrote int64) []byte {
	start := len(dst)
	dst = AppendTable(dst, w.table)
	t := NewTrailer(w.header, dst[start:], w.end, max(FileBytes(w.end, len(w.table)), Padded(wrote)))
	for pad := int64(t.Length) - w.end - int64(len(dst)-start) - TrailerBytes; pad > 0; pad-- {
		dst = append(dst, 0)
	}
	return t.Append(dst)
}

// AppendTable appends the table of a footer.
func AppendTable(dst []byte, table []Entry) []byte {
	for i := range table {
		dst = table[i].append(dst)
	}
	return dst
}

// NewTrailer returns the trailer of a segment whose records end at end, in a file of the given length.
func NewTrailer(h Header, table []byte, end, length int64) Trailer {
	return Trailer{
		Store:    h.Store,
		ID:       h.ID,
		First:    h.First,
		Count:    uint32(len(table) / EntryBytes),
		End:      uint32(end),
		TableCRC: TableChecksum(table, end, length),
		Length:   uint32(length),
	}
}

// Buffers collects the bytes of a batch as a list of slices to be written one after the other. Small pieces are copied
// together into memory that is reused from batch to batch; pieces of at least CopyBelow bytes are borrowed.
type Buffers struct {
	arena  []byte
	pieces []piece
	start  int // of the part of arena that no piece covers yet
	out    [][]byte
}

// piece is either arena[from:to] or, if borrowed is set, that slice. The arena may move while it grows, so slices of it
// are made only when the batch is whole.
type piece struct {
	from, to int
	borrowed []byte
}

func (b *Buffers) add(p []byte) {
	if len(p) < CopyBelow {
		b.arena = append(b.arena, p...)
		return
	}
	b.cut()
	b.pieces = append(b.pieces, piece{borrowed: p})
}

func (b *Buffers) cut() {
	if len(b.arena) > b.start {
		b.pieces = append(b.pieces, piece{from: b.start, to: len(b.arena)})
		b.start = len(b.arena)
	}
}

// Slices returns the batch as slices to be written in order. They are valid until Reset.
func (b *Buffers) Slices() [][]byte {
	b.cut()
	b.out = b.out[:0]
	for _, p := range b.pieces {
		if p.borrowed == nil {
			p.borrowed = b.arena[p.from:p.to]
		}
		b.out = append(b.out, p.borrowed)
	}
	return b.out
}

// Reset forgets the batch, including the borrowed slices, and keeps the memory.
func (b *Buffers) Reset() {
	clear(b.pieces)
	clear(b.out)
	b.arena, b.pieces, b.out, b.start = b.arena[:0], b.pieces[:0], b.out[:0], 0
}
