package server

import (
	"crypto/md5"
	"hash"
	"io"

	"pagevault/blobstore"
	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/header"
	"pagevault/internal/azure/xsm"
)

// The body of Put Blob, Put Block and Append Block may be longer than memory should hold. It is handed to the store piece by piece,
// each in the memory of the one before, and its checksums are known when the last piece has come.

// hashAside is how long a piece is whose MD5 is worth a goroutine: MD5 takes longer than all else, and goes on while the piece is stored.
const hashAside = 64 << 10

// upload is the body of a request on its way into the store.
type upload struct {
	r    *request
	size int64 // of the data
	left int64 // of them, that have not come
	sent header.Checksum

	md5     hash.Hash     // nil: nobody wants it
	hashing chan struct{} // closed when md5 has taken the piece. nil: it has
	sum     [md5.Size]byte
	crc     uint64
	sums    header.Verified // of what the client sent, once End has looked at it
}

// upload begins to take the body, which the client sent with these checksums. wantMD5 is for those who need its MD5 in any case.
// Whoever gets it must finish it.
func (r *request) upload(sent header.Checksum, wantMD5 bool) (*upload, error) {
	u := &upload{r: r, size: r.framing.length, sent: sent}
	switch {
	case r.structured():
		var err error
		if u.size, err = r.messageLength(); err != nil {
			return nil, err
		}
		if err := r.openMessage(u.size, r.s.handlers[r.row.ID].most(r.version)); err != nil {
			return nil, err
		}
	case u.size < 0:
		r.broken = true // as in readBody
		return nil, azerr.MissingContentLengthHeader
	}
	if wantMD5 || sent.HasMD5() || string(r.version) < crc64Version {
		u.md5 = md5.New()
	}
	u.left = u.size
	return u, nil
}

// data refuses an upload of nothing.
func (u *upload) data() error {
	switch {
	case u.size > 0:
		return nil
	case u.r.structured():
		return azerr.BadHeader(header.XMsStructuredContentLength.String(), "0")
	}
	return azerr.BadHeader(bodyHeader, "0")
}

// store returns what the store takes.
func (u *upload) store() *blobstore.Upload {
	return &blobstore.Upload{Size: u.size, Next: u.next, End: u.end}
}

// next returns the next piece.
func (u *upload) next() ([]byte, error) {
	u.await() // the piece before is overwritten
	first := u.left == u.size
	n := min(u.left, blobstore.UploadPiece)
	piece, err := u.r.receivePiece(n)
	if err != nil {
		return nil, err
	}
	u.left -= n
	u.add(piece)
	if first {
		return piece, u.r.stepUp()
	}
	return piece, u.r.stepUpWithin(laterPatience * u.r.s.patience)
}

// add adds a piece to the checksums.
func (u *upload) add(piece []byte) {
	if u.r.message == nil { // which knows its own
		u.crc = header.UpdateCRC64(u.crc, piece)
	}
	switch {
	case u.md5 == nil:
	case len(piece) < hashAside:
		u.md5.Write(piece)
	default:
		done := make(chan struct{})
		u.hashing = done
		go func() {
			defer close(done)
			u.md5.Write(piece)
		}()
	}
}

// await waits for the MD5 to have taken the piece.
func (u *upload) await() {
	if u.hashing != nil {
		<-u.hashing
		u.hashing = nil
	}
}

// end says whether what has come is what the client sent.
func (u *upload) end() error {
	if u.r.message != nil {
		u.r.stepAside()
		var err error
		if u.crc, err = u.r.endMessage(); err != nil {
			return err
		}
		if err := u.r.stepUpWithin(laterPatience * u.r.s.patience); err != nil {
			return err
		}
	}
	u.await()
	if u.md5 != nil {
		u.md5.Sum(u.sum[:0])
	}
	var err error
	u.sums, err = u.sent.Check(u.sum, u.crc)
	return err
}

// finish ends the use of the upload, whether all of it has come or not.
func (u *upload) finish() {
	u.await()
	came := u.left == 0 && (u.r.message == nil || u.r.message.Taken() == u.r.framing.length)
	u.r.broken = u.r.broken || u.r.read && !came
}

// reply sends the checksums, as the version of the request has it: the one that the client sent or a CRC-64, or both.
func (u *upload) reply(both bool) {
	old := string(u.r.version) < crc64Version
	if both || old || u.sums.HasMD5 {
		u.r.setSum(u.sum)
	}
	if !old && (both || u.sums.HasCRC) {
		u.r.setCRC64(u.crc)
	}
	if u.r.structured() {
		u.r.setString("x-ms-structured-body", xsm.Value) // clients look for it
	}
}

// uploadReader reads an upload as a stream.
type uploadReader struct {
	u    *upload
	rest []byte // of the piece
	err  error  // of the upload
}

// Read reads what comes. Its error is io.EOF after all of it, or that of the upload.
func (x *uploadReader) Read(p []byte) (int, error) {
	if x.err == nil && len(x.rest) == 0 && x.u.left > 0 {
		x.rest, x.err = x.u.next()
	}
	switch {
	case x.err != nil:
		return 0, x.err
	case len(x.rest) == 0:
		return 0, io.EOF
	}
	n := copy(p, x.rest)
	x.rest = x.rest[n:]
	return n, nil
}

// end drops what is left and checks all of it.
func (x *uploadReader) end() error {
	for x.err == nil && x.u.left > 0 {
		_, x.err = x.u.next()
	}
	if x.err == nil {
		x.err = x.u.end()
	}
	return x.err
}
