package server

import (
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"pagevault/blobstore"
	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/header"
	"pagevault/internal/azure/xsm"
	"pagevault/internal/clock"
)

const (
	// downloadSmall is the longest range that may be asked for with a checksum. The checksum goes out before the bytes,
	// so such a range is read whole.
	downloadSmall = 4 << 20

	// downloadPiece is how much of any other is read and sent at a time. What was fetched, and what came of it, is still in
	// a core's caches when the socket takes it; yet it is long enough for what a piece costs by itself not to show.
	// downloadTight is how much while others take all the memory there is for replies.
	downloadPiece = 256 << 10
	downloadTight = 128 << 10

	// downloadAlign is what the ends of pieces are multiples of, so that nothing that is stored together is read twice.
	downloadAlign = 64 << 10
)

// download is the body of a reply to Get Blob. Its first piece is read before the reply begins; fasthttp then calls
// WriteTo, and Close whatever came of that. The connection's buffer is passed by: pieces go straight to the socket.
type download struct {
	s     *Server
	id    [36]byte // of the request, for the log
	of    *blobstore.Account
	rd    *blobstore.Reader
	conn  net.Conn
	piece int          // bytes taken from the budget, and read at a time
	buf   []byte       // what was read last
	rest  header.Range // what is left to read
	frame *xsm.Encoder // nil: the bytes go out as they are
}

// openDownload reads the first piece of what is asked for, which lies within the blob: all of it if it comes with a
// checksum. It takes over rd, and closes it when it fails.
func (r *request) openDownload(rd *blobstore.Reader, ask *asked) (*download, error) {
	n, whole := ask.Len(), ask.md5 || ask.crc64
	if !whole {
		n = min(n, downloadPiece)
	}
	if !r.s.replies.Try(n) {
		if !whole {
			n = min(n, downloadTight)
		}
		if !r.s.replies.Acquire(n, r.s.patience) {
			return nil, errors.Join(azerr.ServerBusy, rd.Close())
		}
	}
	d := r.s.downloads.Get().(*download)
	r.account.Stay()
	*d = download{s: r.s, id: r.id, of: r.account, rd: rd, conn: r.ctx.Conn(), piece: int(n), buf: r.s.buffers.Get(int(n)), rest: ask.Range}
	if err := d.read(); err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// read reads the next piece into the buffer.
func (d *download) read() error {
	d.buf = d.buf[:pieceOf(d.rest, int64(d.piece))]
	n, err := d.rd.ReadNext(d.buf, d.rest.Start, d.rest.Len()-int64(len(d.buf)))
	if n < len(d.buf) {
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return fmt.Errorf("read %d of %d bytes at %d of a blob of %d: %w", n, len(d.buf), d.rest.Start, d.rd.Info().Size, err)
	}
	d.rest.Start += int64(n)
	return nil
}

// pieceOf returns how many bytes of rest are read next, at most most.
func pieceOf(rest header.Range, most int64) int64 {
	if rest.Len() <= most {
		return rest.Len()
	}
	return most - (rest.Start+most)%downloadAlign
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
		n, err := d.write(w)
		sent += n
		if err != nil || d.rest.Len() == 0 {
			return sent, err
		}
		c := connOf(d.conn)
		c.enter(working)
		err = d.read()
		c.enter(sending)
		if err != nil {
			d.s.metrics.broken.Inc()
			d.s.o.Log.Error("a download broke off", "request", string(d.id[:]), "error", err)
			return sent, err
		}
	}
}

// write sends the piece that was read last.
func (d *download) write(w io.Writer) (int64, error) {
	if d.frame != nil {
		return d.frame.Write(w, d.buf)
	}
	n, err := w.Write(d.buf)
	return int64(n), err
}

// Read makes a download a stream for fasthttp, which calls WriteTo instead.
func (d *download) Read([]byte) (int, error) { return 0, errors.ErrUnsupported }

// Close lets go of the blob and the buffer.
func (d *download) Close() error {
	s, rd, buf, piece, of := d.s, d.rd, d.buf, d.piece, d.of
	defer of.Leave()
	*d = download{}
	s.downloads.Put(d)
	s.buffers.Put(buf)
	s.replies.Release(int64(piece))
	return rd.Close()
}
