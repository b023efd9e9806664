package bench

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// preparePut creates the blob that is written, and stores what is written again.
func preparePut(s *wireSession, c *conn) error {
	s.span = sequentialSpan
	if s.workload.Random {
		s.span = randomSpan
	}
	if err := s.storeRepeated(c); err != nil {
		return err
	}
	s.request = (*wireWorker).put
	return c.createPageBlob(s.path, s.span)
}

// storeRepeated stores streamSeen if the workload, or the mix of new data, repeats it.
func (s *wireSession) storeRepeated(c *conn) error {
	if s.workload.Data != Seen && s.target.env.source.mix.Duplicate == 0 {
		return nil
	}
	_, err := s.target.fillOnce(c, streamSeen)
	return err
}

// prepareGet fills the blob that all reads share.
func prepareGet(s *wireSession, c *conn) (err error) {
	s.span = s.target.env.setBytes
	s.request = (*wireWorker).get
	s.path, err = s.target.fillOnce(c, streamRead)
	return err
}

// prepareMixed fills a blob of its own with the data of the blob that others read.
func prepareMixed(s *wireSession, c *conn) error {
	s.span = s.target.env.setBytes
	s.request = (*wireWorker).readOrWrite
	if err := s.storeRepeated(c); err != nil {
		return err
	}
	return s.target.fill(c, s.path, streamRead, s.span)
}

// fillOnce returns the path of the blob that holds a stream, makes it at the first call, and reads it back: what follows is
// worth measuring only if every byte of it is right.
func (t *Wire) fillOnce(c *conn, stream uint16) (string, error) {
	if path := t.filled[stream]; path != "" {
		return path, nil
	}
	path := t.blob(map[uint16]string{streamSeen: "seen", streamRead: "read"}[stream])
	if err := t.fill(c, path, stream, t.env.setBytes); err != nil {
		return "", err
	}
	t.filled[stream] = path
	if t.o.Unchecked || stream != streamRead {
		return path, nil
	}
	want, got := t.env.source.writeBuffer(), t.env.source.readBuffer()
	defer t.env.source.returnWriteBuffer(want)
	defer t.env.source.returnReadBuffer(got)
	for off := int64(0); off < t.env.setBytes; off += requestMax {
		if err := c.getRange(path, off, got); err != nil {
			return "", err
		}
		if !bytes.Equal(got, t.env.source.part(want, stream, off, requestMax)) {
			return "", fmt.Errorf("bytes [%d, %d) are not what was written", off, off+requestMax)
		}
	}
	return path, nil
}

// fill creates a blob with the first size bytes of a stream.
func (t *Wire) fill(c *conn, path string, stream uint16, size int64) error {
	if err := c.createPageBlob(path, size); err != nil {
		return err
	}
	buf := t.env.source.writeBuffer()
	defer t.env.source.returnWriteBuffer(buf)
	for off := int64(0); off < size; off += requestMax {
		if err := c.putPage(path, off, t.env.source.part(buf, stream, off, requestMax)); err != nil {
			return err
		}
	}
	return nil
}

// place returns the number of the next request and where it goes.
func (w *wireWorker) place() (n uint64, off int64) {
	n = w.next.Add(1) - 1
	size := int64(w.workload.Bytes)
	if w.workload.Random {
		return n, w.random.Int64N(w.span/size) * size
	}
	return n, int64(n) * size % w.span
}

// put is one Put Page.
func (w *wireWorker) put() (int, error) {
	n, off := w.place()
	size := w.workload.Bytes
	p := []byte(nil)
	if w.workload.Data == Seen {
		p = w.target.env.source.part(w.writeBuffer(), streamSeen, int64(n)*int64(size)%w.target.env.setBytes, size)
	} else {
		p = w.target.env.source.next(w.writeBuffer(), size)
	}
	return size, at(off, w.conn.putPage(w.path, off, p))
}

// get reads and looks at the first bytes, which is cheap and notices an answer from the wrong place.
func (w *wireWorker) get() (int, error) {
	_, off := w.place()
	p := w.readBuffer()[:w.workload.Bytes]
	if err := w.conn.getRange(w.path, off, p); err != nil {
		return 0, at(off, err)
	}
	if !w.target.o.Unchecked && !w.target.env.source.begins(p, streamRead, off) {
		return 0, at(off, notWritten(p))
	}
	return len(p), nil
}

// readOrWrite reads or writes, and of what it reads only knows that it must have been written at some time.
func (w *wireWorker) readOrWrite() (int, error) {
	if w.random.IntN(100) >= w.workload.Reads {
		return w.put()
	}
	_, off := w.place()
	p := w.readBuffer()[:w.workload.Bytes]
	if err := w.conn.getRange(w.path, off, p); err != nil {
		return 0, at(off, err)
	}
	if !w.target.o.Unchecked && off%stampEvery == 0 && !w.target.env.source.written(p, streamFresh, streamRead, streamSeen) {
		return 0, at(off, notWritten(p))
	}
	return len(p), nil
}

// at says where a request went that ended with err.
func at(off int64, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("at offset %d: %w", off, err)
}

func notWritten(p []byte) error {
	return fmt.Errorf("not the data that was written: begins with %x", binary.BigEndian.Uint64(p))
}
