package bench

import (
	"fmt"
)

// TraceWorkload returns the workload that replays a trace, whose name is for people. A round is all of it, into a blob of its
// own, as fast as it goes. With more than one connection operations overtake each other.
func TraceWorkload(name string, t *Trace) Workload {
	return Workload{Name: "trace", About: fmt.Sprintf("replay of %s: %v", name, t), Op: Replay, Data: New, More: true, trace: t}
}

// prepareReplay has each round begin with an empty blob, and with data that no other round has.
func prepareReplay(s *wireSession, _ *conn) error {
	round := uint64(0)
	name := s.path
	s.starting = func(c *conn) error {
		if round > 0 {
			if err := c.deleteBlob(s.path); err != nil {
				return err
			}
		}
		round++
		s.path = fmt.Sprintf("%s-%d", name, round)
		s.next.Store(0)
		return c.createPageBlob(s.path, s.workload.trace.Size)
	}
	s.request = func(w *wireWorker) (int, error) {
		n := w.next.Add(1) - 1
		if n >= uint64(len(s.workload.trace.Entries)) {
			return 0, errEnd
		}
		e := &s.workload.trace.Entries[n]
		moved, err := w.replay(e, round)
		if err != nil {
			err = fmt.Errorf("operation %d of the trace: %w", n+1, at(e.Offset, err))
		}
		return moved, err
	}
	return nil
}

// replay does one operation, in as many requests as it takes.
func (w *wireWorker) replay(e *TraceEntry, round uint64) (moved int, err error) {
	if e.Op == TraceDiscard {
		return 0, w.conn.clearPages(w.path, e.Offset, e.Length)
	}
	for done := int64(0); done < e.Length && err == nil; done += requestMax {
		n := int(min(requestMax, e.Length-done))
		if e.Op == TraceRead {
			err = w.conn.getRange(w.path, e.Offset+done, w.readBuffer()[:n])
		} else {
			err = w.conn.putPage(w.path, e.Offset+done, w.target.env.source.named(w.writeBuffer(), e.Content, round, uint64(done/requestMax), n))
		}
		moved += n
	}
	return moved, err
}

// named makes n bytes, any multiple of 512, that are the same for the same content, round and part, in buf and returns the
// part of it that holds them. Content 0 was never seen before.
func (s *source) named(buf []byte, content, round, part uint64, n int) []byte {
	stream, first := uint16(streamTrace), scatter(content^scatter(round<<32|part))
	if content == 0 {
		seq := s.fresh.Add(1) - 1
		stream, first = streamFresh, seq<<piecesShift
	}
	begin := int(scatter(first)%uint64((requestMax-n)/stampEvery+1)) * stampEvery
	p := buf[begin : begin+n : begin+n]
	for off := 0; off < n; off += stampEvery {
		s.putStamp(p[off:], stream, first+uint64(off/stampEvery))
	}
	return p
}
