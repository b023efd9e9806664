package replication

import (
	"errors"
	"fmt"

	"pagevault/replication/segment"
	"pagevault/replication/stripe"
)

// errRange is returned for positions where no durable record lies.
var errRange = errors.New("position is outside the log")

// ReadAt fills p with the bytes of a durable record that lie at the position, from the member that answers best. One that
// has an error is passed over, and while one takes too long others are asked as well. The bytes are not checked: see
// ReadChecked for a caller that has a checksum of them.
//
// The error is ErrDropped for records of segments that were dropped and ErrClosed after Close; otherwise it says what each
// member had to say.
func (l *Log) ReadAt(p []byte, at Position) error {
	s, err := l.locate(len(p), at)
	if err != nil {
		return err
	}
	if done, err := l.readAtOnce(&s, p, at); done {
		return err
	}
	return l.readSlowly(s, p, at)
}

// ReadChecked is ReadAt for a caller who can tell whether the bytes are right: check is called with p, which it may change,
// and returns what is wrong with the bytes in it. The bytes of every member are tried until check returns nil, also of
// members that are not known to have them, and where there are shards instead of copies also what the others make up for a
// damaged one. What was not right is counted with its member, told by Events.ReadFailed with a *CheckError, and repaired
// in the background. If no bytes are right the error wraps all that check has returned, and p holds nothing of use.
func (l *Log) ReadChecked(p []byte, at Position, check func(p []byte) error) error {
	s, err := l.locate(len(p), at)
	if err != nil {
		return err
	}
	return l.readAny(s, p, at, check)
}

// ReadCopies reads the bytes at the position into p from each source that should have them, one after the other, and calls
// fn for each, until it returns false: with the member whose copy it was, counted from 0, or -1 for what several members
// hold together, and why the bytes could not be had. It is for comparing copies.
func (l *Log) ReadCopies(p []byte, at Position, fn func(member int, err error) (more bool)) error {
	s, err := l.locate(len(p), at)
	if err != nil {
		return err
	}
	for _, src := range l.sourcesOf(&s, false) {
		member := -1
		if src.m != nil {
			member = src.m.number
		}
		_, err := src.ReadAt(p, int64(at.Offset))
		if err != nil {
			if !l.index.holds(at.Segment) { // any more
				return fmt.Errorf("read %d bytes at %v: %w", len(p), at, ErrDropped)
			}
			if err = src.failed(at, len(p), err); errors.Is(err, ErrClosed) {
				return err
			}
		}
		if !fn(member, err) {
			return nil
		}
	}
	return nil
}

// locate returns the segment that holds n durable bytes at a position.
func (l *Log) locate(n int, at Position) (indexed, error) {
	s, ok, dropped := l.index.get(at.Segment)
	if dropped {
		return s, fmt.Errorf("read %d bytes at %v: %w", n, at, ErrDropped)
	}
	if !ok || int64(at.Offset) < segment.HeaderBytes || int64(at.Offset)+int64(n) > s.end {
		return s, fmt.Errorf("read %d bytes at %v: %w", n, at, errRange)
	}
	return s, nil
}

// readAtOnce reads what needs no care, straight into p: what is in memory, and what only one member has, as there is nobody
// else to turn to. It reports whether that was so; an error, but for ErrClosed, is for readSlowly to find again.
func (l *Log) readAtOnce(s *indexed, p []byte, at Position) (done bool, err error) {
	m, alone := l.now().preferred(s.holders, s.id)
	if m == nil {
		return s.shards != nil && l.readShardsCached(s, p, int64(at.Offset)), nil
	}
	key := fileKey{member: m, segment: s.id}
	if alone && s.shards == nil {
		err := l.readFile(key, p, int64(at.Offset))
		return err == nil || err == ErrClosed, err
	}
	return l.readFileCached(key, p, int64(at.Offset)), nil
}

// readShardsCached fills p with bytes of a segment from its data shards if all of them are in memory, and reports whether it
// has.
func (l *Log) readShardsCached(s *indexed, p []byte, off int64) bool {
	ms := l.now()
	for part := range stripe.Parts(segment.ShardBytes(int(s.k), s.length), off, len(p)) {
		m := ms.member(int(s.shards[part.Shard]))
		if m == nil || !ms.has(m) {
			return false
		}
		key := fileKey{member: m, segment: s.id, shard: int8(part.Shard + 1)}
		if !l.readFileCached(key, p[part.From:][:part.Bytes], segment.ShardFrameBytes+part.Offset) {
			return false
		}
	}
	return true
}

// readSlowly reads what may have to come from a disk, in pieces.
func (l *Log) readSlowly(s indexed, p []byte, at Position) error {
	for len(p) > pieceMax {
		if err := l.readAny(s, p[:pieceMax], at, nil); err != nil {
			return err
		}
		p = p[pieceMax:]
		at.Offset += pieceMax
	}
	return l.readAny(s, p, at, nil)
}
