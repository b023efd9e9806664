package replication

import (
	"errors"
	"fmt"

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
	defer p.close()
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

// replay reads one segment after the other. It has a reader for each member, opened when it is first needed.
type replay struct {
	l       *Log
	fn      func(r *Record) error
	readers []*segment.Reader
	files   []*file
	table   []segment.Entry
	record  Record
}

func (p *replay) close() {
	for i, f := range p.files {
		if f != nil {
			p.l.files.release(f)
		}
		p.files[i] = nil
	}
}

// reader returns the reader of member i's copy of s.
func (p *replay) reader(i int, s *indexed) (*segment.Reader, error) {
	if p.files == nil {
		p.files = make([]*file, len(p.l.now().members))
		p.readers = make([]*segment.Reader, len(p.l.now().members))
		for i := range p.readers {
			p.readers[i] = &segment.Reader{}
		}
	}
	if p.files[i] == nil {
		f, err := p.l.files.acquire(fileKey{member: i, segment: s.id}, s.sealed)
		if err != nil {
			return nil, err
		}
		p.files[i] = f
		p.readers[i].Reset(f, s.length, p.l.store, s.id)
	}
	return p.readers[i], nil
}

func (p *replay) segment(s indexed, from LSN) error {
	defer p.close()
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

// any calls read with the reader of one member after the other until one succeeds.
func (p *replay) any(s *indexed, off int64, read func(r *segment.Reader) error) error {
	at := Position{Segment: s.id, Offset: uint32(off)}
	var first error
	for i := range p.l.now().members {
		r, err := p.reader(i, s)
		if err == nil {
			if err = read(r); err == nil {
				return nil
			}
		}
		if err == ErrClosed {
			return err
		}
		if !p.l.index.holds(s.id) { // any more
			return fmt.Errorf("segment %d: %w", s.id, ErrDropped)
		}
		p.l.readFailed(i, at, err)
		if first == nil {
			first = err
		}
	}
	return &CorruptError{At: at, Reason: first.Error()}
}
