package bench

import (
	"fmt"
	"net/http"
	"slices"
)

// imageMax is the size of the blob that each connection has for itself in workloads that make snapshots.
const imageMax = 16 << 20

// image is the blob of one connection.
type image struct {
	path string
	size int64
	last string // its newest snapshot; empty if there is none
}

// imageOf returns the blob of a connection and makes it at the first call, of data that is the same for all of them.
func (s *wireSession) imageOf(index int, c *conn) (*image, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := s.mu.images[index]; i != nil {
		return i, nil
	}
	i := &image{path: fmt.Sprintf("%s-%d", s.path, index), size: min(s.target.env.setBytes, imageMax)}
	if err := s.target.fill(c, i.path, streamSeen, i.size); err != nil {
		return nil, err
	}
	if s.workload.Op == Increment {
		var err error
		if i.last, err = c.snapshot(i.path); err != nil {
			return nil, err
		}
	}
	if s.mu.images == nil {
		s.mu.images = make(map[int]*image)
	}
	s.mu.images[index] = i
	return i, nil
}

func prepareCycles(s *wireSession, c *conn) error {
	s.request = func(w *wireWorker) (int, error) {
		written, err := w.change()
		if err != nil {
			return 0, err
		}
		w.image.last, err = w.conn.snapshot(w.image.path)
		return int(length(written)), err
	}
	return s.storeRepeated(c)
}

// change writes 1 % of the connection's blob in small pieces at random places, and returns where.
func (w *wireWorker) change() ([]span, error) {
	var written []span
	for n := changes(w.image.size); len(written) < n; {
		off := w.random.Int64N(w.image.size/changeBytes) * changeBytes
		if slices.ContainsFunc(written, func(s span) bool { return s.start == off }) {
			continue
		}
		if err := w.conn.putPage(w.image.path, off, w.target.env.source.next(w.writeBuffer(), changeBytes)); err != nil {
			return nil, at(off, err)
		}
		written = append(written, span{off, off + changeBytes})
	}
	return written, nil
}

// length returns how many bytes spans have together.
func length(list []span) int64 {
	var n int64
	for _, s := range list {
		n += s.end - s.start
	}
	return n
}

// prepareIncrement sees whether differences are to be had at all, with the blob of the first connection.
func prepareIncrement(s *wireSession, c *conn) error {
	s.request = (*wireWorker).increment
	if err := s.storeRepeated(c); err != nil {
		return err
	}
	i, err := s.imageOf(0, c)
	if err != nil {
		return err
	}
	last, err := c.snapshot(i.path)
	if err != nil {
		return err
	}
	err = s.tryDiff(c, i.path, i.last, last, 0)
	i.last = last
	return err
}

// tryDiff sees whether the target tells two snapshots apart, between which no more than most bytes were written. Azurite
// answers with all pages of the later one.
func (s *wireSession) tryDiff(c *conn, path, from, to string, most int64) error {
	into := s.target.env.source.readBuffer()
	defer s.target.env.source.returnReadBuffer(into)
	body, err := c.rangesDiff(path, from, to, into)
	if err != nil {
		return asRefused(err)
	}
	changed, err := parseRanges(body)
	if n := length(changed); err == nil && n > most {
		return &refusedError{fmt.Errorf("its page ranges say that %d bytes changed where at most %d were written", n, most)}
	}
	return err
}

// increment is one incremental backup: what was written must be what is said to have changed, and what is read.
func (w *wireWorker) increment() (int, error) {
	written, err := w.change()
	if err != nil {
		return 0, err
	}
	moved := length(written)
	before := w.image.last
	if w.image.last, err = w.conn.snapshot(w.image.path); err != nil {
		return 0, err
	}
	body, err := w.conn.rangesDiff(w.image.path, before, w.image.last, w.readBuffer())
	if err != nil {
		return 0, fmt.Errorf("page ranges from snapshot %s to %s: %w", before, w.image.last, err)
	}
	changed, err := parseRanges(body)
	if err != nil {
		return 0, err
	}
	if want := joinSpans(written); !slices.Equal(changed, want) {
		return 0, fmt.Errorf("page ranges from snapshot %s to %s: %d ranges of %d bytes, but %d of %d bytes were written",
			before, w.image.last, len(changed), length(changed), len(want), length(want))
	}
	for _, s := range changed {
		for off := s.start; off < s.end; off += requestMax {
			p := w.readBuffer()[:min(requestMax, s.end-off)]
			if err := w.conn.getSnapshotRange(w.image.path, w.image.last, off, p); err != nil {
				return 0, at(off, err)
			}
			if !w.target.env.source.written(p, streamFresh, streamSeen) {
				return 0, at(off, notWritten(p))
			}
		}
	}
	return int(moved + length(changed)), nil
}

// refusedError says that a target does not do what a workload needs.
type refusedError struct{ error }

func (e *refusedError) Unwrap() error { return e.error }

// asRefused marks an answer that says that the operation is unknown there.
func asRefused(err error) error {
	status, ok := err.(*StatusError)
	if !ok {
		return err
	}
	switch {
	case status.Status == http.StatusNotImplemented, status.Code == "NotImplemented", status.Code == "APINotImplemented",
		status.Code == "UnsupportedQueryParameter", status.Code == "UnsupportedHeader", status.Code == "FeatureNotSupported":
		return &refusedError{err}
	}
	return err
}
