package replication

import (
	"errors"
	"fmt"
)

// ErrReadOnly is returned by whatever would write to a log that was opened by OpenReadOnly.
var ErrReadOnly = errors.New("log is open for reading only")

// OpenReadOnly opens the log that the members hold for looking at it, and changes nothing: what a crash or a bad copy has
// left is seen as Open would make it, and stays as it is. It takes the locks of the members, so that nobody writes
// meanwhile. Replay, SegmentRecords, ReadAt, ReadChecked, Segments and RestoreCheckpoint work; Append, Next and Rotate
// return ErrReadOnly.
//
// Errors: ErrMembers if there is no log, ErrInUse if a process has it open, and those of Open for what could not be
// repaired.
func OpenReadOnly(members []Member, o Options) (*Log, error) {
	l, err := newLog(members, o)
	if err != nil {
		return nil, err
	}
	l.mu.failed = ErrReadOnly
	close(l.stopped)
	if err := l.openReadOnly(); err != nil {
		return nil, errors.Join(err, l.release())
	}
	return l, nil
}

func (l *Log) openReadOnly() error {
	if err := l.identify(nil); err != nil {
		return err
	}
	fresh, err := l.isNew()
	if err != nil {
		return err
	}
	if fresh {
		return fmt.Errorf("%w: %s holds no log", ErrMembers, l.given[0].m.dir)
	}
	if err := l.lock(false); err != nil {
		return err
	}
	if err := l.identify(nil); err != nil {
		return err
	}
	v, _, err := l.decide()
	if err != nil {
		return err
	}
	l.seat(v)
	return l.survey(LSN(v.Roster.Through))
}

// survey is recover without repairs, for records that must not end before through: it fills the index with the segments as they
// would be after these.
func (l *Log) survey(through LSN) error {
	manifest, err := l.examined(through)
	if err != nil {
		return err
	}
	l.keeper.mu.manifest, l.keeper.mu.attempted = *manifest, manifest.Sequence
	for _, p := range l.plans {
		if p.remove {
			continue
		}
		s := indexed{id: p.id, first: p.first, count: p.count, end: p.end, length: p.length, data: p.data, sealed: p.trailer != nil, holders: p.surveyed(l.present)}
		if p.shards.whole() {
			s.shards, s.k, s.m = p.shards.at, uint8(p.shards.frame.K), uint8(p.shards.frame.M)
		} else if p.tabler < 0 {
			s.table = p.table
		}
		if p.trailer != nil {
			s.length = int64(p.trailer.Length)
		} else {
			s.length = p.end
		}
		l.index.add(s)
	}
	for _, r := range manifest.Dropped {
		l.index.passed(r.To, r.Last)
	}
	_, l.last = l.index.end()
	l.files.init(l)
	return nil
}

// surveyed returns the members that have a copy now, whole or not.
func (p *plan) surveyed(members []*member) (s Set) {
	for i, c := range p.copies {
		if (c.names.open || c.names.sealed) && c.do != discard {
			s = s.With(members[i].number)
		}
	}
	return s
}
