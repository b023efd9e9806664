package blobstore

import (
	"errors"

	"pagevault/internal/azure/azerr"
	"pagevault/pagestore"
)

// UploadPiece is the length of every piece of an Upload but the last, in bytes: whole regions of a volume.
const UploadPiece = 4 << 20

// UploadRoom is what the length of a piece is brought up to a multiple of, in bytes: a chunk, so that the end of the content, which may be
// all of a small blob, is stored once like the rest.
const UploadRoom = pagestore.ChunkPages * PageSize

// Upload is the content of a blob or a block as it comes. Nothing of it shows before all has come and End has returned nil, and
// whatever came is taken away if any of the functions fails. Memory is needed for one piece.
type Upload struct {
	Size int64 // bytes that come

	// Next returns the next piece: UploadPiece bytes, or what is left. It is called until Size bytes have come. A piece is good
	// until the next call, and there is room behind it, up to the next multiple of UploadRoom, which the store fills with zeros.
	Next func() ([]byte, error)
	// End is called when all has come, and says whether it is what the client meant to send. nil: it is.
	End func() error
}

// next returns the piece at off, with zeros up to the end of its last chunk.
func (u *Upload) next(off int64) (piece []byte, err error) {
	piece, err = u.Next()
	if err != nil {
		return nil, err
	}
	want := int(min(UploadPiece, u.Size-off))
	if len(piece) != want {
		return nil, azerr.InternalError.Because(errors.New("a piece of an upload has a wrong length"))
	}
	piece = piece[:(want+UploadRoom-1)&^(UploadRoom-1)]
	clear(piece[want:])
	return piece, nil
}

// end is End, which need not be there.
func (u *Upload) end() error {
	if u.End == nil {
		return nil
	}
	return u.End()
}

// whole takes an upload of one piece at most and prepares it for the beginning of a volume. content is nil if it is empty.
func (a *Account) whole(up *Upload) (content *pagestore.Content, err error) {
	if up.Size == 0 {
		return nil, up.end()
	}
	piece, err := up.next(0)
	if err != nil {
		return nil, err
	}
	if content, err = a.store.Prepare(0, piece); err != nil {
		return nil, coded(err)
	}
	if err := up.end(); err != nil { // it is not asked before, for its sums may be worked out meanwhile
		content.Release()
		return nil, err
	}
	return content, nil
}

// pieces takes the pieces of an upload from one on, and has put write each, which is prepared for where it lies in the upload.
func (a *Account) pieces(up *Upload, put func(content *pagestore.Content) error) error {
	for off := int64(0); off < up.Size; off += UploadPiece {
		piece, err := up.next(off)
		if err != nil {
			return err
		}
		content, err := a.store.Prepare(pageNo(off), piece)
		if err != nil {
			return coded(err)
		}
		err = put(content)
		content.Release()
		if err != nil {
			return err
		}
	}
	return up.end()
}
