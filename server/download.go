package server

import (
	"fmt"
	"io"
	"net"
	"time"

	"pagevault/blobstore"
	"pagevault/internal/azure/header"
	"pagevault/internal/clock"
)

const (
	// downloadSmall is the longest range that is read before the reply begins, so that an error in it can still be
	// told, and that may be asked for with a checksum.
	downloadSmall = 4 << 20

	// downloadPiece is how much of a longer one is read and sent at a time.
	downloadPiece = 1 << 20
)

// download is the body of a reply to Get Blob. Its first piece is read before the reply begins; fasthttp then calls
// WriteTo, and Close whatever came of that. The connection's buffer is passed by: pieces go straight to the socket.
type download struct {
	s    *Server
	id   [36]byte // of the request, for the log
	rd   *blobstore.Reader
	conn net.Conn
	buf  []byte       // holds what was read and not sent
	rest header.Range // what is left to read
}

// openDownload reads the first piece of want, which lies within the blob. It takes over rd, and closes it when it fails.
func (r *request) openDownload(rd *blobstore.Reader, want header.Range) (*download, error) {
	n := want.Len()
	if n > downloadSmall {
		n = downloadPiece
	}
	d := r.s.downloads.Get().(*download)
	*d = download{s: r.s, id: r.id, rd: rd, conn: r.ctx.Conn(), buf: r.s.buffers.Get(int(n)), rest: want}
	if err := d.read(); err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// read fills the buffer.
func (d *download) read() error {
	d.buf = d.buf[:min(int64(cap(d.buf)), d.rest.Len())]
	n, err := d.rd.ReadAt(d.buf, d.rest.Start)
	if n < len(d.buf) {
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return fmt.Errorf("read %d of %d bytes at %d of a blob of %d: %w", n, len(d.buf), d.rest.Start, d.rd.Info().Size, err)
	}
	d.rest.Start += int64(n)
	return nil
}

// WriteTo sends the body piece by piece. Any error makes fasthttp close the connection short of Content-Length, which
// is how the client learns that the body is not whole.
func (d *download) WriteTo(w io.Writer) (sent int64, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic while sending a blob: %v", p)
			d.s.logPanic(d.id, p)
		}
	}()
	for {
		if sent > 0 { // before the first piece fasthttp has set it
			d.conn.SetWriteDeadline(clock.System.Now().Add(time.Duration(len(d.buf)>>20+1) * downloadPerMiB))
		}
		n, err := w.Write(d.buf)
		sent += int64(n)
		if err != nil || d.rest.Len() == 0 {
			return sent, err
		}
		if err := d.read(); err != nil {
			d.s.o.Log.Error("a download broke off", "request", string(d.id[:]), "error", err)
			return sent, err
		}
	}
}

// Read makes a download a stream for fasthttp, which does not call it.
func (d *download) Read(p []byte) (int, error) {
	if len(d.buf) == 0 {
		if d.rest.Len() == 0 {
			return 0, io.EOF
		}
		if err := d.read(); err != nil {
			return 0, err
		}
	}
	n := copy(p, d.buf)
	d.buf = d.buf[n:]
	return n, nil
}

// Close lets go of the blob and the buffer.
func (d *download) Close() error {
	s, rd, buf := d.s, d.rd, d.buf
	*d = download{}
	s.downloads.Put(d)
	s.buffers.Put(buf)
	return rd.Close()
}
