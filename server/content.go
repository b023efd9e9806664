package server

import (
	"crypto/md5"
	"errors"
	"hash"
	"io"
	"math"
	"strconv"

	"pagevault/blobstore"
	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/cond"
	"pagevault/internal/azure/header"
)

// content is what a request reads of a source, on this server or on another one, on its way into a blob: all of one state of
// the source, piece by piece through one buffer. What is said of the source is for those who copy all of it.
type content struct {
	r    *request
	off  int64 // of the next piece, in the source
	end  int64 // of what is read
	sent header.Checksum
	md5  hash.Hash // nil: nobody wants it
	crc  uint64

	reader *blobstore.Reader // on this server; nil: it is
	remote *remoteContent    // elsewhere, and
	ready  int               // bytes of the next piece are in the buffer already

	headers  blobstore.HTTPHeaders
	metadata []header.Pair
	sums     header.Verified // once all has come
}

// wholeSource is the range of all there is.
var wholeSource = header.Range{End: math.MaxInt64}

// sourceRange reads which bytes of the source are wanted: all, if the request does not say.
func (r *request) sourceRange() (header.Range, error) {
	if !r.headers.Has(header.XMsSourceRange) {
		return wholeSource, nil
	}
	from, ok := header.ParseRange(r.headers.Get(header.XMsSourceRange))
	if !ok {
		return from, azerr.BadHeader(header.XMsSourceRange.String(), r.headers.String(header.XMsSourceRange))
	}
	return from, nil
}

// openContent begins to read bytes of a source, at most most of them, if the source is as the request expects. wantMD5 says that
// their MD5 is wanted in any case. The caller closes what is returned.
func (r *request) openContent(src copySource, from header.Range, most int64, wantMD5 bool) (*content, error) {
	sent, err := header.ParseSourceChecksum(&r.headers)
	if err != nil {
		return nil, err
	}
	c := &content{r: r, off: from.Start, sent: sent}
	if wantMD5 || sent.HasMD5() || string(r.version) < crc64Version {
		c.md5 = md5.New()
	}
	if src.account != nil {
		err = c.openHere(src, from, most)
	} else {
		err = c.openElsewhere(src, from, most)
	}
	if err != nil {
		return nil, errors.Join(err, c.close()) // the first decides what the client sees
	}
	return c, nil
}

// openHere begins to read a source on this server.
func (c *content) openHere(src copySource, from header.Range, most int64) (err error) {
	var acc blobstore.Access
	if acc.Conditions, err = cond.ParseSource(&c.r.headers); err != nil {
		return err
	}
	if c.reader, err = src.account.OpenBlob(src.ref, &acc); err != nil {
		return c.r.sourceError(err)
	}
	info := c.reader.Info()
	c.headers, c.metadata = info.HTTPHeaders, info.Metadata
	if err := c.bound(from, info.Size, most); err != nil {
		return err
	}
	return c.r.roomForSource(min(c.end-c.off, blobstore.UploadPiece), c.r.s.uploads)
}

// openElsewhere begins to read a source on another server. Its first piece comes with what is known of it.
func (c *content) openElsewhere(src copySource, from header.Range, most int64) error {
	r := c.r
	if _, err := cond.ParseSource(&r.headers); err != nil {
		return err
	}
	if from.End != math.MaxInt64 && from.Len() > most {
		return tooLarge(most)
	}
	if err := r.roomForSource(min(from.Len(), blobstore.UploadPiece), r.s.sources); err != nil {
		return err
	}
	err := r.aside(func() (err error) {
		c.remote, err = r.s.fetcher.begin(r.s.fetcher.ctx, src.remote, r.sourceConditions(), from, r.body)
		return err
	})
	if err != nil {
		return r.remoteError(err)
	}
	c.headers, c.metadata, c.ready = c.remote.headers, c.remote.metadata, c.remote.first
	return c.bound(from, c.remote.size, most)
}

// bound decides where the content ends, in a source of that size.
func (c *content) bound(from header.Range, size, most int64) error {
	switch {
	case from.End == math.MaxInt64:
		c.end = size
	default:
		c.end = from.End
	}
	switch {
	case c.end > size, from.Start > 0 && from.Start >= size:
		return azerr.InvalidRange
	case c.size() > most:
		return tooLarge(most)
	}
	return nil
}

// tooLarge is the error of content that is longer than the operation takes.
func tooLarge(most int64) error {
	return azerr.RequestBodyTooLarge.With("MaxLimit", strconv.FormatInt(most, 10))
}

// size returns how many bytes are left to be read.
func (c *content) size() int64 { return c.end - c.off }

// upload returns the content as the store takes it. end is called when all has come and is as it was meant to be; nil: nothing.
func (c *content) upload(end func()) *blobstore.Upload {
	return &blobstore.Upload{Size: c.size(), Next: c.next, End: func() (err error) {
		if err = c.check(); err == nil && end != nil {
			end()
		}
		return err
	}}
}

// check compares what has come with what the client says it should be.
func (c *content) check() (err error) {
	var sum [md5.Size]byte
	if c.md5 != nil {
		c.md5.Sum(sum[:0])
	}
	if c.sums, err = c.sent.Check(sum, c.crc); c.md5 != nil {
		c.sums.MD5, c.sums.HasMD5 = sum, true
	}
	return err
}

// next returns the next piece, in the request's body.
func (c *content) next() ([]byte, error) {
	r := c.r
	p := r.body[:min(c.size(), blobstore.UploadPiece)]
	var err error
	switch {
	case c.ready > 0:
		p, c.ready = p[:c.ready], 0
	case c.reader != nil:
		if _, err = c.reader.ReadNext(p, c.off, c.size()-int64(len(p))); errors.Is(err, io.EOF) { // after the last byte
			err = nil
		}
	default:
		err = r.remoteError(r.aside(func() error { return c.remote.read(r.s.fetcher.ctx, p, c.off) }))
	}
	if err != nil {
		return nil, err
	}
	c.off += int64(len(p))
	c.crc = header.UpdateCRC64(c.crc, p)
	if c.md5 != nil {
		c.md5.Write(p)
	}
	return p, nil
}

// close lets go of the source.
func (c *content) close() error {
	if c.reader == nil {
		return nil
	}
	reader := c.reader
	c.reader = nil
	return reader.Close()
}

// drain reads all of the content, for its checksums.
func (c *content) drain() error {
	u := c.upload(nil)
	for c.size() > 0 {
		if _, err := u.Next(); err != nil {
			return err
		}
	}
	return u.End()
}

// setSums sends the checksums of the content, as the version of the request has it; the MD5 too if it is wanted or was sent.
func (r *request) setSums(c *content) {
	v := &c.sums
	if v.HasMD5 {
		r.setSum(v.MD5)
	}
	if v.HasCRC && string(r.version) >= crc64Version {
		r.setCRC64(v.CRC)
	}
}
