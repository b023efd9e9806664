package replication

import (
	"errors"
	"fmt"
	"io"
	"slices"
)

// source is one way to have the bytes of a segment: the whole copy of a member, or the shards of several together. All of
// them are the same bytes at the same offsets, unless they are damaged.
type source struct {
	log     *Log
	segment SegmentID
	size    int64                           // of the segment's file
	m       *member                         // whose copy it is; nil: it is the shards
	shards  func(p []byte, off int64) error // reads them
	spare   bool                            // it is not known to hold the segment: asked when nobody else has the bytes
	answers condition                       // of m, when the sources were put in order
}

// sources returns the sources of a segment, the one to be asked first in front: copies of members that hold it whole, as
// far as known, ordered by how well the members answer, and then the shards. It is empty if the segment is not there.
func (l *Log) sources(id SegmentID) []source {
	s, ok, _ := l.index.get(id)
	if !ok {
		return nil
	}
	return l.sourcesOf(&s, false)
}

// sourcesOf returns the sources of a segment as the index has it. For who can tell whether bytes are right, checked, there
// are more kinds: the shards with each block of them checked, so that damaged ones are made up from the others; copies that
// members may have which are not known to hold the segment, because they were not written for some time, and may hold other
// records in the place of those that were acknowledged; and what most copies say byte by byte.
func (l *Log) sourcesOf(s *indexed, checked bool) []source {
	ms := l.now()
	out := make([]source, 0, 4)
	holders := s.holders & (ms.current | ms.joining)
	for _, m := range ms.each(holders) {
		out = append(out, source{log: l, segment: s.id, size: s.length, m: m})
	}
	l.order(out, s.id)
	out = append(out, l.shardSources(s, checked)...)
	if checked {
		known := len(out)
		for i, m := range ms.all() {
			if !holders.Has(i) {
				out = append(out, source{log: l, segment: s.id, size: s.length, m: m, spare: true})
			}
		}
		l.order(out[known:], s.id)
		out = append(out, l.voteSource(s, out[:known:known])...)
	}
	return out
}

// order sorts copies of a segment: those of members that answer well first, and between equals another one for each
// segment, so that all disks are read from and each keeps what it has in memory.
func (l *Log) order(copies []source, id SegmentID) {
	if len(copies) < 2 {
		return
	}
	first := turn(id, len(copies))
	slices.Reverse(copies[:first])
	slices.Reverse(copies[first:])
	slices.Reverse(copies)
	now := l.o.Clock.Now()
	for i := range copies {
		copies[i].answers = copies[i].m.health.condition(now, l.o.HedgeAfter)
	}
	slices.SortStableFunc(copies, func(a, b source) int { return a.answers.compare(b.answers, l.o.HedgeAfter) })
}

// turn returns which one of n members is the first to be asked for a segment.
func turn(id SegmentID, n int) int { return int((id - 1) % SegmentID(n)) }

// preferred returns the member whose memory is looked into for a segment before anything else, the first of sources as far
// as that can be told at no cost. alone says that it is the only one of the holders.
func (ms *membership) preferred(holders Set, id SegmentID) (first *member, alone bool) {
	holders &= ms.current | ms.joining
	n := holders.Len()
	if n == 0 {
		return nil, false
	}
	skip := turn(id, n)
	for i := range holders.All() {
		m := ms.member(i)
		if m != nil && !m.health.stuck() && (skip <= 0 || first == nil) {
			if first = m; skip <= 0 {
				break
			}
		}
		skip--
	}
	return first, n == 1
}

// holdsStill reports whether the source is one of the segment's at this moment. One that is not has not failed.
func (s *source) holdsStill() bool {
	now, ok, _ := s.log.index.get(s.segment)
	if !ok || s.m == nil {
		return ok
	}
	return now.holders.Has(s.m.number) && s.log.now().member(s.m.number) == s.m
}

// fill fills p with the bytes at off, for as long as that takes.
func (s *source) fill(p []byte, off int64) error {
	if s.m == nil {
		return s.shards(p, off)
	}
	return s.log.readFile(fileKey{member: s.m, segment: s.segment}, p, off)
}

// cached fills p if that needs no disk, and reports whether it has.
func (s *source) cached(p []byte, off int64) bool {
	return s.m != nil && s.log.readFileCached(fileKey{member: s.m, segment: s.segment}, p, off)
}

// patience is how many times Options.StallAfter is waited for the one source that somebody wants to read.
const patience = 10

// errPatience says that a disk did not answer.
var errPatience = errors.New("the disk does not answer")

// ReadAt implements io.ReaderAt for who wants to read this source and no other. It gives up on a disk that does not answer
// for a long time. Nothing is counted.
func (s *source) ReadAt(p []byte, off int64) (int, error) {
	return readPieces(p, off, s.size, s.wait)
}

// wait is fill with an end to its patience. p is one piece.
func (s *source) wait(p []byte, off int64) error {
	if s.cached(p, off) {
		return nil
	}
	if s.m == nil || len(s.log.now().members) == 1 {
		return s.fill(p, off)
	}
	results := make(chan *fetch, 1)
	f := s.log.fetch(s.m, len(p), results, func(b []byte) error { return s.fill(b, off) })
	limit := patience * s.log.o.StallAfter
	timer := s.log.o.Clock.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-results:
		defer f.recycle()
		copy(p, f.buf)
		return f.err
	case <-timer.C():
		f.noteLate()
		f.abandon()
		return fmt.Errorf("%w for %v", errPatience, limit)
	}
}

// readPieces is ReadAt of a file of the given size by read, which fills its p or gives an error.
func readPieces(p []byte, off, size int64, read func(p []byte, off int64) error) (n int, err error) {
	end := min(int64(len(p)), max(size-off, 0))
	for int64(n) < end {
		k := min(end-int64(n), pieceMax)
		if err := read(p[n:int64(n)+k], off+int64(n)); err != nil {
			return n, err
		}
		n += int(k)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// CheckError says that bytes which a member gave are not those that were written.
type CheckError struct {
	Bytes int   // how many were looked at
	Err   error // what is wrong with them
}

func (e *CheckError) Error() string { return e.Err.Error() }

// Unwrap returns what is wrong with the bytes.
func (e *CheckError) Unwrap() error { return e.Err }

// failed counts that n bytes at a position could not be had from the source, has it healed, and returns the error to show.
// What the segment does not count on has not failed.
func (s *source) failed(at Position, n int, err error) error {
	if s.m == nil || errors.Is(err, ErrClosed) {
		return err // who reads shards knows which one is to blame
	}
	if !s.spare && s.holdsStill() {
		s.log.readFailed(s.m, at, err)
	}
	op := "read"
	if check := (*CheckError)(nil); errors.As(err, &check) {
		op = "check"
	}
	return &MemberError{Dir: s.m.dir, Op: fmt.Sprintf("%s %d bytes at %d of", op, n, at.Offset), Segment: at.Segment, Err: err}
}

// readFailed counts, and tells, that a member did not give the bytes it should hold, and has them compared with those of
// others and written again.
func (l *Log) readFailed(m *member, at Position, err error) {
	if check := (*CheckError)(nil); errors.As(err, &check) {
		m.damaged.Add(1)
	} else {
		m.readErrors.Add(1)
	}
	if l.o.Events.ReadFailed != nil {
		l.o.Events.ReadFailed(m.number, at, err)
	}
	l.Heal(at.Segment)
}
