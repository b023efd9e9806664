package replication

import (
	"errors"
	"fmt"
	"io"

	"pagevault/replication/segment"
)

// Replay calls fn with every record from LSN from on, in order, as Open found them: LSN, At and Meta are set, Data is nil
// and not read. The record and its Meta are fn's until it returns. An error of fn ends the replay and is returned. Meta is
// checked against its checksum and taken from another member if it is damaged; if no member has it, the error is
// ErrCorrupt. If one of the records lies in a segment that was dropped the error is ErrDropped, and fn is not called.
// Replay may not be called after the first Append.
func (l *Log) Replay(from LSN, fn func(r *Record) error) error {
	l.mu.Lock()
	appended := l.mu.appended
	l.mu.Unlock()
	if appended {
		return errors.New("replay after the first append")
	}
	for _, r := range l.keeper.current().Dropped {
		if r.Last >= from {
			return fmt.Errorf("record %d: %w: segments %d to %d held records %d to %d", max(from, r.First), ErrDropped, r.From, r.To, r.First, r.Last)
		}
	}
	p := replay{l: l, fn: fn}
	for _, s := range l.index.all() {
		if s.last() < from {
			continue
		}
		if err := p.segment(s, max(from, s.first)); err != nil {
			return err
		}
	}
	return nil
}

// Segments describes the segments that are there, in order, the open one included. Ids are missing where segments were
// dropped.
func (l *Log) Segments() []SegmentInfo {
	all := l.index.all()
	out := make([]SegmentInfo, len(all))
	for i, s := range all {
		out[i] = SegmentInfo{ID: s.id, First: s.first, Last: s.last(), Bytes: s.length, DataBytes: s.data, Sealed: s.sealed}
	}
	return out
}

// SegmentRecords calls fn with every record of a sealed segment, in order, as Replay does, but at any time, also while
// records are appended. A segment that was dropped, before or meanwhile, is ErrDropped; one that is not sealed is an error.
func (l *Log) SegmentRecords(id SegmentID, fn func(r *Record) error) error {
	s, ok, dropped := l.index.get(id)
	switch {
	case dropped:
		return fmt.Errorf("segment %d: %w", id, ErrDropped)
	case !ok || !s.sealed && s.table == nil:
		return fmt.Errorf("segment %d is not a sealed one", id)
	}
	p := replay{l: l, fn: fn}
	return p.segment(s, s.first)
}

// replay reads one segment after the other.
type replay struct {
	l       *Log
	fn      func(r *Record) error
	ways    []way // to read the segment, best first
	readers []*segment.Reader
	table   []segment.Entry
	record  Record
}

// way is one way to read a segment: whichever source answers first, or one particular source.
type way struct {
	*segment.Reader
	source *source // nil: whichever
}

// anySource reads a segment from whichever source answers first.
type anySource struct {
	log *Log
	s   indexed
}

// ReadAt implements io.ReaderAt.
func (a *anySource) ReadAt(p []byte, off int64) (int, error) {
	return readPieces(p, off, a.s.length, func(p []byte, off int64) error {
		return a.log.readAny(a.s, p, Position{Segment: a.s.id, Offset: uint32(off)}, nil)
	})
}

// look finds out how a segment can be read.
func (p *replay) look(s *indexed) {
	p.ways = p.ways[:0]
	sources := p.l.sourcesOf(s, false)
	if len(sources) > 1 {
		p.add(s, &anySource{log: p.l, s: *s}, nil)
	}
	for i := range sources {
		p.add(s, &sources[i], &sources[i])
	}
}

// add adds a way, with the memory of the one that an earlier segment had in its place.
func (p *replay) add(s *indexed, from io.ReaderAt, one *source) {
	n := len(p.ways)
	if n == len(p.readers) {
		p.readers = append(p.readers, &segment.Reader{})
	}
	p.readers[n].Reset(from, s.length, p.l.store, s.id)
	p.ways = append(p.ways, way{Reader: p.readers[n], source: one})
}

func (p *replay) segment(s indexed, from LSN) error {
	p.look(&s)
	skip := uint32(from - s.first)
	if err := p.readTable(&s, skip); err != nil {
		return err
	}
	for k, e := range p.table {
		lsn := from + LSN(k)
		err := p.any(&s, int64(e.Offset), func(r *segment.Reader) error {
			h, meta, err := r.Meta(p.record.Meta[:0], e)
			if err == nil && h.LSN != lsn {
				err = fmt.Errorf("%w: record %d where %d should be", segment.ErrDamaged, h.LSN, lsn)
			}
			p.record = Record{Meta: meta, LSN: lsn, At: Position{Segment: s.id, Offset: uint32(h.DataOffset())}}
			return err
		})
		if err != nil {
			return err
		}
		if err := p.fn(&p.record); err != nil {
			return err
		}
	}
	return nil
}

// readTable reads the rows of the segment's table behind the first skip.
func (p *replay) readTable(s *indexed, skip uint32) error {
	if s.table != nil {
		p.table = append(p.table[:0], s.table[skip:]...)
		return nil
	}
	return p.any(s, s.end, func(r *segment.Reader) error {
		t, err := r.Trailer()
		if err == nil {
			err = r.CheckTable(&t)
		}
		if err == nil {
			p.table, err = r.Table(p.table[:0], &t, skip)
		}
		return err
	})
}

// any calls read with the reader of one source after the other until one succeeds. Which source a reader of whichever was
// given damaged bytes by is found out by asking each.
func (p *replay) any(s *indexed, off int64, read func(r *segment.Reader) error) error {
	at := Position{Segment: s.id, Offset: uint32(off)}
	for {
		var first error
		for _, w := range p.ways {
			err := read(w.Reader)
			if err == nil || errors.Is(err, ErrClosed) {
				return err
			}
			if !p.l.index.holds(s.id) { // any more
				return fmt.Errorf("segment %d: %w", s.id, ErrDropped)
			}
			if w.source != nil {
				err = w.source.failed(at, 0, damage(err))
			}
			if w.source != nil && first == nil {
				first = err
			}
		}
		if now, _, _ := p.l.index.get(s.id); !now.sameSources(s) {
			*s = now // it has other sources by now
			p.look(s)
			continue
		}
		if first == nil {
			return errNoSource(at)
		}
		return &CorruptError{At: at, Reason: first.Error()}
	}
}

// damage returns err, as a CheckError if bytes were read and are not right.
func damage(err error) error {
	if errors.Is(err, segment.ErrDamaged) || errors.Is(err, segment.ErrForeign) {
		return &CheckError{Err: err}
	}
	return err
}
