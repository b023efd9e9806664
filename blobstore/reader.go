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
	if err := firstError(row.checkReadable(), row.checkPages()); err != nil {
		return nil, err
	}
	r := &Reader{view: view, stream: view.Stream(row.volume, row.gen), volume: row.volume, gen: row.gen}
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
	return r.readAt(p, off, func(page pagestore.PageNo, p []byte) error { return r.view.Read(r.volume, r.gen, page, p) })
}

// ReadNext is ReadAt for pieces that are read one after the other: rest is how many bytes are going to be read after this one.
// It costs least where pieces end at multiples of 64 KiB.
func (r *Reader) ReadNext(p []byte, off, rest int64) (int, error) {
	return r.readAt(p, off, func(page pagestore.PageNo, p []byte) error { return r.stream.Read(page, p, pageNo(rest)) })
}

// readAt is ReadAt, with pages that are wanted whole read by whole.
func (r *Reader) readAt(p []byte, off int64, whole func(page pagestore.PageNo, p []byte) error) (int, error) {
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

// readSome reads as much as is of one kind: whole pages, or a part of one page.
func (r *Reader) readSome(p []byte, off int64, whole func(page pagestore.PageNo, p []byte) error) (int, error) {
	page, skip := pageNo(off), int(off%PageSize)
	if n := len(p) &^ (PageSize - 1); skip == 0 && n > 0 {
		return n, whole(page, p[:n])
	}
	edge := edges.Get().(*[PageSize]byte)
	defer edges.Put(edge)
	if err := r.view.Read(r.volume, r.gen, page, edge[:]); err != nil {
		return 0, err
	}
	return copy(p, edge[skip:]), nil
}
