package blobstore

import (
	"io"
	"sync"

	"pagevault/internal/azure/azerr"
	"pagevault/pagestore"
)

// Reader reads one blob or snapshot as it was when OpenBlob returned: however long the reading takes and whatever
// happens to the blob, all bytes are of one entity tag. It is safe for concurrent use, but for Close and ReadNext.
type Reader struct {
	view   *pagestore.View
	stream pagestore.Stream // of ReadNext
	volume pagestore.VolumeID
	gen    pagestore.Gen
	blocks *blockMap // nil: the content lies at the beginning of the volume
	info   BlobInfo
}

// OpenBlob checks what the request expects of a blob or a snapshot and opens it. Close the Reader.
func (a *Account) OpenBlob(ref BlobRef, acc *Access) (*Reader, error) {
	snapshot, err := ref.check()
	if err != nil {
		return nil, err
	}
	view, err := a.store.View()
	if err != nil {
		return nil, coded(err)
	}
	r, err := a.openBlob(view, &ref, snapshot, acc)
	if err != nil {
		return nil, coded(firstError(err, view.Close()))
	}
	return r, nil
}

func (a *Account) openBlob(view *pagestore.View, ref *BlobRef, snapshot snapshotID, acc *Access) (*Reader, error) {
	s := scratches.Get().(*scratch)
	defer scratches.Put(s)
	_, row, err := s.findBlob(view, ref, snapshot)
	if err != nil {
		return nil, err
	}
	now := a.clock.Now()
	if err := acc.checkRead(&row, now); err != nil {
		return nil, err
	}
	if err := firstError(row.checkReadable(), row.checkOnline()); err != nil {
		return nil, err
	}
	r := &Reader{view: view, stream: view.Stream(row.volume, row.gen), volume: row.volume, gen: row.gen, blocks: newBlockMap(view, &row)}
	r.info, err = row.info(ref.Blob, snapshot, now)
	return r, err
}

// Info returns the properties of what is read. The caller must not change them.
func (r *Reader) Info() *BlobInfo { return &r.info }

// Close lets go of the picture that is read from.
func (r *Reader) Close() error {
	r.stream.Close()
	return coded(r.view.Close())
}

// edges are buffers for pages of which only a part was asked for.
var edges = sync.Pool{New: func() any { return new([PageSize]byte) }}

// ReadAt fills p with the bytes at off, in bytes from the start of the blob, as io.ReaderAt does: if the blob ends
// before p is full, the error is io.EOF. Whole pages go straight into p; only pages at the ragged ends are copied.
// Pages that were never written, or cleared, are zeros.
func (r *Reader) ReadAt(p []byte, off int64) (int, error) {
	return r.readAt(p, off, func(page pagestore.PageNo, p []byte, _ int64) error { return r.view.Read(r.volume, r.gen, page, p) })
}

// ReadNext is ReadAt for pieces that are read one after the other: rest is how many bytes are going to be read after this one.
// It costs least where pieces end at multiples of 64 KiB.
func (r *Reader) ReadNext(p []byte, off, rest int64) (int, error) {
	return r.readAt(p, off, func(page pagestore.PageNo, q []byte, more int64) error {
		return r.stream.Read(page, q, pagestore.PageNo(min(more, max(0, rest))/PageSize))
	})
}

// wholeReader reads whole pages. more is how many bytes lie behind them in one piece with them.
type wholeReader func(page pagestore.PageNo, p []byte, more int64) error

// readAt is ReadAt, with pages that are wanted whole read by whole.
func (r *Reader) readAt(p []byte, off int64, whole wholeReader) (int, error) {
	if off < 0 {
		return 0, azerr.InvalidRange
	}
	if off >= r.info.Size {
		return 0, io.EOF
	}
	var end error
	if left := r.info.Size - off; int64(len(p)) > left {
		p, end = p[:left], io.EOF
	}
	n := 0
	for n < len(p) {
		m, err := r.readSome(p[n:], off+int64(n), whole)
		if err != nil {
			return n, coded(err)
		}
		n += m
	}
	return n, end
}

// readSome reads as much as is of one kind and of one block: whole pages, or a part of one page.
func (r *Reader) readSome(p []byte, off int64, whole wholeReader) (int, error) {
	end := r.info.Size
	if r.blocks != nil {
		e, err := r.blocks.find(off)
		if err != nil {
			return 0, err
		}
		p = p[:min(int64(len(p)), e.end()-off)]
		off = int64(e.slot)*regionBytes + off - e.start
		end = int64(e.slot)*regionBytes + e.size
	}
	page, skip := pageNo(off), int(off%PageSize)
	if n := len(p) &^ (PageSize - 1); skip == 0 && n > 0 {
		return n, whole(page, p[:n], end-off-int64(n))
	}
	edge := edges.Get().(*[PageSize]byte)
	defer edges.Put(edge)
	if err := r.view.Read(r.volume, r.gen, page, edge[:]); err != nil {
		return 0, err
	}
	return copy(p, edge[skip:]), nil
}
