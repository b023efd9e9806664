package segment

import (
	"io"
)

// windowBytes is how much a Reader reads at once: enough that small records cost few reads.
const windowBytes = 256 << 10

// skipAbove is the length of Data from which Meta reads past it instead of reading ahead through it: at this length the
// read calls that are saved cost as much as the bytes that are read for nothing.
const skipAbove = 32 << 10

// Reader checks the bytes of one copy of a segment. It reads through a window of its own, so its memory is bounded
// whatever the bytes say. It is not safe for concurrent use.
type Reader struct {
	src  io.ReaderAt
	size int64
	id   ID
	st   StoreID
	seed uint32

	window []byte
	from   int64 // offset of window[0]; the window is empty at first
	ahead  int64 // how much to read at once, at most windowBytes
	buf    []byte
	small  [HeaderBytes]byte
}

// NewReader returns a reader of a file of the given size that should be segment id of the given log.
func NewReader(src io.ReaderAt, size int64, store StoreID, id ID) *Reader {
	r := &Reader{}
	r.Reset(src, size, store, id)
	return r
}

// Reset turns r to another file and keeps its memory.
func (r *Reader) Reset(src io.ReaderAt, size int64, store StoreID, id ID) {
	*r = Reader{src: src, size: size, id: id, st: store, seed: Seed(store, id), buf: r.buf, ahead: windowBytes}
}

// Size returns the length of the file, as given.
func (r *Reader) Size() int64 { return r.size }

// bytes returns [off, off+n) of the file, through the window. n is at most windowBytes. The slice is valid until the next
// call.
func (r *Reader) bytes(off int64, n int) ([]byte, error) {
	if off < 0 || off+int64(n) > r.size {
		return nil, damaged("%d bytes wanted at offset %d of a file of %d", n, off, r.size)
	}
	if off >= r.from && off+int64(n) <= r.from+int64(len(r.window)) {
		return r.window[off-r.from:][:n], nil
	}
	want := min(max(r.ahead, int64(n)), r.size-off)
	if int64(cap(r.buf)) < want {
		r.buf = make([]byte, want)
	}
	r.window = r.buf[:want]
	r.from = off
	got, err := r.src.ReadAt(r.window, off)
	r.window = r.window[:got]
	if got < n {
		if err == nil || err == io.EOF {
			err = damaged("file ends at %d, wanted %d bytes at %d", off+int64(got), n, off)
		}
		return nil, err
	}
	return r.window[:n], nil
}

// exact reads n bytes at off, at most HeaderBytes, without filling the window. The slice is valid until the next call.
func (r *Reader) exact(off int64, n int) ([]byte, error) {
	got, err := r.src.ReadAt(r.small[:n], off)
	if got < n {
		if err == nil || err == io.EOF {
			err = damaged("file ends at %d, wanted %d bytes at %d", off+int64(got), n, off)
		}
		return nil, err
	}
	return r.small[:n], nil
}

// each calls fn with the bytes [off, off+n) in order, in pieces of at most so many bytes, which windowBytes bounds.
func (r *Reader) each(off, n, piece int64, fn func(p []byte)) error {
	for n > 0 {
		p, err := r.bytes(off, int(min(n, piece)))
		if err != nil {
			return err
		}
		fn(p)
		off, n = off+int64(len(p)), n-int64(len(p))
	}
	return nil
}

// Header reads and checks the header of the segment.
func (r *Reader) Header() (Header, error) {
	b, err := r.exact(0, HeaderBytes)
	if err != nil {
		return Header{}, err
	}
	h, err := ParseHeader(b)
	if err != nil {
		return Header{}, err
	}
	switch {
	case h.Store != r.st:
		return Header{}, foreign("segment of log %v, wanted %v", h.Store, r.st)
	case h.ID != r.id:
		return Header{}, foreign("segment %d, wanted %d", h.ID, r.id)
	}
	return h, nil
}

// Trailer reads and checks the trailer of the segment. It does not look at the table.
func (r *Reader) Trailer() (Trailer, error) {
	if r.size < HeaderBytes+TrailerBytes || r.size > BytesMax {
		return Trailer{}, damaged("a file of %d bytes has no footer", r.size)
	}
	b, err := r.exact(r.size-TrailerBytes, TrailerBytes)
	if err != nil {
		return Trailer{}, err
	}
	t, err := ParseTrailer(b, r.size)
	if err != nil {
		return Trailer{}, err
	}
	switch {
	case t.Store != r.st:
		return Trailer{}, foreign("footer of log %v, wanted %v", t.Store, r.st)
	case t.ID != r.id:
		return Trailer{}, foreign("footer of segment %d, wanted %d", t.ID, r.id)
	}
	return t, nil
}

// CheckTable reads the table of records, and the zeros behind it, and checks their checksum.
func (r *Reader) CheckTable(t *Trailer) error {
	return r.checkSum("table of records", int64(t.End), int64(t.Length)-TrailerBytes-int64(t.End), t.TableCRC, nil)
}

// Table appends to dst the rows of the footer's table, from row first on.
func (r *Reader) Table(dst []Entry, t *Trailer, first uint32) ([]Entry, error) {
	off := int64(t.End) + int64(first)*EntryBytes
	for n := int64(t.Count) - int64(first); n > 0; {
		rows := min(n, windowBytes/EntryBytes)
		p, err := r.bytes(off, int(rows*EntryBytes))
		if err != nil {
			return dst, err
		}
		for ; len(p) > 0; p = p[EntryBytes:] {
			dst = append(dst, parseEntry(p))
		}
		off, n = off+rows*EntryBytes, n-rows
	}
	return dst, nil
}

// DataBytes returns the sum of the lengths of Data that the footer's table names.
func (r *Reader) DataBytes(t *Trailer) (sum int64, err error) {
	err = r.each(int64(t.End), int64(t.Count)*EntryBytes, windowBytes/EntryBytes*EntryBytes, func(p []byte) {
		for ; len(p) > 0; p = p[EntryBytes:] {
			sum += int64(parseEntry(p).Data)
		}
	})
	return sum, err
}

// RecordHeader reads the header of the record at off and checks that the record can lie in the file.
func (r *Reader) RecordHeader(off int64) (RecordHeader, error) {
	if off < HeaderBytes || off%Align != 0 || off > BytesMax {
		return RecordHeader{}, damaged("no record can start at offset %d", off)
	}
	b, err := r.bytes(off, int(max(0, min(RecordHeaderBytes, r.size-off))))
	if err != nil {
		return RecordHeader{}, err
	}
	h, err := ParseRecordHeader(b, r.seed, off)
	if err != nil {
		return RecordHeader{}, err
	}
	if h.End() > r.size {
		return RecordHeader{}, damaged("record of %d bytes at offset %d of a file of %d", h.Bytes(), off, r.size)
	}
	return h, nil
}

// Record checks every byte of the record at off: header, Meta, Data and padding.
func (r *Reader) Record(off int64) (RecordHeader, error) { return r.CopyRecord(off, nil) }

// CopyRecord is Record and hands the bytes of the record to write, in order and in pieces, as it reads them. Only when it
// returns nil were they what was written; write must not keep p nor change it. An error of write is returned as it is.
func (r *Reader) CopyRecord(off int64, write func(p []byte) error) (RecordHeader, error) {
	h, err := r.RecordHeader(off)
	if err != nil {
		return RecordHeader{}, err
	}
	if write != nil {
		b, err := r.bytes(off, RecordHeaderBytes)
		if err == nil {
			err = write(b)
		}
		if err != nil {
			return RecordHeader{}, err
		}
	}
	if err := r.checkSum("Meta", off+RecordHeaderBytes, int64(h.Meta), h.MetaCRC, write); err != nil {
		return RecordHeader{}, err
	}
	if err := r.checkSum("Data", h.DataOffset(), int64(h.Data), h.DataCRC, write); err != nil {
		return RecordHeader{}, err
	}
	pad := h.DataOffset() + int64(h.Data)
	b, err := r.bytes(pad, int(h.End()-pad))
	if err != nil {
		return RecordHeader{}, err
	}
	for _, c := range b {
		if c != 0 {
			return RecordHeader{}, damaged("padding of the record at %d is not zero", off)
		}
	}
	if write != nil {
		err = write(b)
	}
	return h, err
}

// checkSum reads [off, off+n), hands it to write unless that is nil, and compares its checksum.
func (r *Reader) checkSum(what string, off, n int64, want uint32, write func(p []byte) error) error {
	var crc uint32
	var failed error
	err := r.each(off, n, windowBytes, func(p []byte) {
		crc = Checksum(crc, p)
		if write != nil && failed == nil {
			failed = write(p)
		}
	})
	switch {
	case failed != nil:
		return failed
	case err != nil:
		return err
	case crc != want:
		return damaged("%s at offset %d has checksum %08x, wanted %08x", what, off, crc, want)
	}
	return nil
}

// Meta reads and checks header and Meta of the record in a row of the table and appends Meta to dst. Data is not read.
func (r *Reader) Meta(dst []byte, e Entry) (RecordHeader, []byte, error) {
	if e.Data > skipAbove {
		r.ahead = min(RecordHeaderBytes+int64(e.Meta), windowBytes)
		defer func() { r.ahead = windowBytes }()
	}
	h, err := r.RecordHeader(int64(e.Offset))
	if err != nil {
		return RecordHeader{}, dst, err
	}
	if h.Meta != e.Meta || h.Data != e.Data {
		return RecordHeader{}, dst, damaged("record at offset %d has %d and %d bytes, the table says %d and %d", e.Offset, h.Meta, h.Data, e.Meta, e.Data)
	}
	n, off := len(dst), int64(e.Offset)+RecordHeaderBytes
	if err := r.each(off, int64(h.Meta), windowBytes, func(p []byte) { dst = append(dst, p...) }); err != nil {
		return RecordHeader{}, dst[:n], err
	}
	if crc := Checksum(0, dst[n:]); crc != h.MetaCRC {
		return RecordHeader{}, dst[:n], damaged("Meta at offset %d has checksum %08x, wanted %08x", off, crc, h.MetaCRC)
	}
	return h, dst, nil
}

// Durable searches [off, size) for headers of records that were written there and returns the highest durable offset that
// one of them names, and the offset of that header; zeros if there is none. It is how damage is told from a torn tail: a
// record that begins below that offset was on all disks once.
func (r *Reader) Durable(off int64) (durable, at int64, err error) {
	for off = max(Padded(off), HeaderBytes); off+RecordHeaderBytes <= r.size; off += Align {
		b, err := r.bytes(off, RecordHeaderBytes)
		if err != nil {
			return durable, at, err
		}
		if [4]byte(b[:4]) != recordMagic {
			continue
		}
		if h, err := ParseRecordHeader(b, r.seed, off); err == nil && int64(h.Durable) > durable {
			durable, at = int64(h.Durable), off
		}
	}
	return durable, at, nil
}
