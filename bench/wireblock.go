package bench

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
)

const (
	// tinyBytes is the size of the block blobs that are made and read whole.
	tinyBytes = 1 << 10
	// uploadBlocks blocks of requestMax are one upload, which a Put Block List ends.
	uploadBlocks = 4
	// appendBytes is the size of an Append Block.
	appendBytes = 4 << 10
	// appendMost is how many blocks an append blob may have.
	appendMost = 50_000
)

// The parts of requests that never change.
var (
	queryBlockList   = []field{{"comp", []byte("blocklist")}}
	queryAppend      = []field{{"comp", []byte("appendblock")}}
	valueBlock       = []byte("block")
	valueBlockBlob   = []byte("BlockBlob")
	valueAppendBlob  = []byte("AppendBlob")
	contentBlockList = "application/xml"
)

// putBlob makes a block blob or an append blob of p, which is empty for the latter.
func (c *conn) putBlob(path string, kind, p []byte) error {
	xms := append(c.fields[:0], field{"x-ms-blob-type", kind}, field{"x-ms-date", c.now()}, field{"x-ms-version", c.version})
	_, err := c.do(&request{method: http.MethodPut, path: path, xms: xms, body: p}, http.StatusCreated, nil)
	return err
}

// getBlob reads a blob of len(into) bytes whole.
func (c *conn) getBlob(path string, into []byte) error {
	xms := append(c.fields[:0], field{"x-ms-date", c.now()}, field{"x-ms-version", c.version})
	n, err := c.do(&request{method: http.MethodGet, path: path, xms: xms}, http.StatusOK, into)
	if err == nil && n != len(into) {
		err = fmt.Errorf("answered %d bytes of %d", n, len(into))
	}
	return err
}

// blockID returns the name of block i of a blob: all are of the same length, as they must be.
func blockID(i int) []byte {
	return base64.StdEncoding.AppendEncode(nil, binary.BigEndian.AppendUint32(nil, uint32(i)))
}

// putBlock uploads block i.
func (c *conn) putBlock(path string, i int, p []byte) error {
	q := append(c.query[:0], field{"blockid", blockID(i)}, field{"comp", valueBlock})
	xms := append(c.fields[:0], field{"x-ms-date", c.now()}, field{"x-ms-version", c.version})
	_, err := c.do(&request{method: http.MethodPut, path: path, query: q, xms: xms, body: p}, http.StatusCreated, nil)
	return err
}

// putBlockList makes a blob of the first n blocks.
func (c *conn) putBlockList(path string, n int) error {
	body := []byte(`<?xml version="1.0" encoding="utf-8"?><BlockList>`)
	for i := range n {
		body = fmt.Appendf(body, "<Latest>%s</Latest>", blockID(i))
	}
	body = append(body, "</BlockList>"...)
	xms := append(c.fields[:0], field{"x-ms-date", c.now()}, field{"x-ms-version", c.version})
	_, err := c.do(&request{method: http.MethodPut, path: path, query: queryBlockList, xms: xms, body: body, contentType: contentBlockList},
		http.StatusCreated, nil)
	return err
}

// appendBlock appends p.
func (c *conn) appendBlock(path string, p []byte) error {
	xms := append(c.fields[:0], field{"x-ms-date", c.now()}, field{"x-ms-version", c.version})
	_, err := c.do(&request{method: http.MethodPut, path: path, query: queryAppend, xms: xms, body: p}, http.StatusCreated, nil)
	return err
}

// tinyBlobs returns how many block blobs are made to be read: 4,096 if 256 MiB are stored in advance.
func (e *environment) tinyBlobs() int { return int(min(max(e.setBytes/(64<<10), 1), 4096)) }

func preparePutBlob(s *wireSession, _ *conn) error {
	s.request = func(w *wireWorker) (int, error) {
		path := fmt.Sprintf("%s/%08d", w.path, w.next.Add(1)-1)
		return tinyBytes, w.conn.putBlob(path, valueBlockBlob, w.target.env.source.next(w.writeBuffer(), tinyBytes))
	}
	return nil
}

// prepareGetBlob makes the blobs that are read.
func prepareGetBlob(s *wireSession, c *conn) error {
	source := s.target.env.source
	buf := source.writeBuffer()
	defer source.returnWriteBuffer(buf)
	for i := range s.target.env.tinyBlobs() {
		if err := c.putBlob(s.tiny(i), valueBlockBlob, source.stamp(buf, streamTiny, uint64(i), tinyBytes)); err != nil {
			return err
		}
	}
	s.request = (*wireWorker).getTiny
	return nil
}

func (s *wireSession) tiny(i int) string { return fmt.Sprintf("%s/%04d", s.path, i) }

// getTiny reads one of the blobs and compares every byte.
func (w *wireWorker) getTiny() (int, error) {
	i := w.random.IntN(w.target.env.tinyBlobs())
	p := w.readBuffer()[:tinyBytes]
	if err := w.conn.getBlob(w.tiny(i), p); err != nil {
		return 0, err
	}
	if !w.target.o.Unchecked && !bytes.Equal(p, w.target.env.source.stamp(w.writeBuffer(), streamTiny, uint64(i), tinyBytes)) {
		return 0, fmt.Errorf("blob %d: %w", i, notWritten(p))
	}
	return tinyBytes, nil
}

func preparePutBlocks(s *wireSession, c *conn) error {
	if err := s.storeRepeated(c); err != nil {
		return err
	}
	s.request = (*wireWorker).upload
	return nil
}

// upload is one upload of a new blob.
func (w *wireWorker) upload() (int, error) {
	path := fmt.Sprintf("%s/%08d", w.path, w.next.Add(1)-1)
	for i := range uploadBlocks {
		if err := w.conn.putBlock(path, i, w.target.env.source.next(w.writeBuffer(), requestMax)); err != nil {
			return 0, fmt.Errorf("block %d: %w", i, err)
		}
	}
	return uploadBlocks * requestMax, w.conn.putBlockList(path, uploadBlocks)
}

// prepareGetBlocks uploads the blob that is read, with the data of the page blob that others read.
func prepareGetBlocks(s *wireSession, c *conn) error {
	source := s.target.env.source
	s.span = s.target.env.setBytes
	s.request = (*wireWorker).get
	blocks := int(s.span / requestMax)
	if blocks > appendMost {
		return errors.New("a block blob has no room for what is to be stored in advance")
	}
	buf := source.writeBuffer()
	defer source.returnWriteBuffer(buf)
	for i := range blocks {
		if err := c.putBlock(s.path, i, source.part(buf, streamRead, int64(i)*requestMax, requestMax)); err != nil {
			return err
		}
	}
	return c.putBlockList(s.path, blocks)
}

func prepareAppend(s *wireSession, _ *conn) error {
	s.request = (*wireWorker).append
	return nil
}

// append is one Append Block to the blob of this connection, and a new blob first where there is none or it is full.
func (w *wireWorker) append() (int, error) {
	if w.log == "" || w.appended == appendMost {
		path := fmt.Sprintf("%s/%08d", w.path, w.next.Add(1)-1)
		if err := w.conn.putBlob(path, valueAppendBlob, nil); err != nil {
			return 0, err
		}
		w.log, w.appended = path, 0
	}
	w.appended++
	return appendBytes, w.conn.appendBlock(w.log, w.target.env.source.next(w.writeBuffer(), appendBytes))
}
