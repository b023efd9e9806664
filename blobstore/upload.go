package blobstore

// UploadPiece is the length of every piece of an Upload but the last, in bytes: a multiple of what is hashed as one.
const UploadPiece = 4 << 20

// Upload is the content of a blob or a block as it comes. Nothing of it shows before all has come and End has returned nil, and
// whatever came is taken away if any of the functions fails. Memory is needed for one piece.
type Upload struct {
	Size int64 // bytes that come

	// Next returns the next piece: UploadPiece bytes, or what is left. It is called until Size bytes have come. A piece is good
	// until the next call, and there is room behind it, up to the next multiple of PageSize, which the store fills with zeros.
	Next func() ([]byte, error)
	// End is called when all has come, and says whether it is what the client meant to send. nil: it is.
	End func() error
}
