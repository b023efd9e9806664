package replication

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"pagevault/internal/invariant"
	"pagevault/replication/segment"
)

// Drop takes segments away from all members. They must be sealed, and the checkpoint must stand for all their records, which
// nobody will read any more: positions in them are ErrDropped from now on. The manifest that says so is on the disks of all
// members that are written before the first file is removed. Segments that were dropped already are removed again where something is left of
// them, so a Drop that has returned an error can be repeated. After an error the segments may be there or not, and after a
// crash be gone, so they must not be relied on. The log goes on in any case.
func (l *Log) Drop(ids ...SegmentID) error {
	k := &l.keeper
	k.writing.Lock()
	defer k.writing.Unlock()
	if err := l.writable(); err != nil {
		return err
	}
	next := k.current()
	fresh, again, err := l.droppable(&next, ids)
	if err != nil {
		return err
	}
	if len(fresh) > 0 {
		next.Sequence = k.nextSequence()
		next.Dropped = withDropped(next.Dropped, fresh)
		if err := l.prepareManifest(&next); err != nil {
			return fmt.Errorf("drop %d segments: %w", len(fresh), err)
		}
		dropped := make([]SegmentID, len(fresh))
		for i := range fresh {
			dropped[i] = fresh[i].id
		}
		if err := l.turnTo(&next, dropped); err != nil {
			return fmt.Errorf("drop %d segments: %w", len(fresh), err)
		}
	}
	return l.removeSegments(again)
}

// droppable splits ids into segments that are there and may be dropped and those that were dropped before.
func (l *Log) droppable(m *segment.Manifest, ids []SegmentID) (fresh []indexed, again []SegmentID, err error) {
	ids = slices.Clone(ids)
	slices.Sort(ids)
	for _, id := range slices.Compact(ids) {
		s, ok, dropped := l.index.get(id)
		switch {
		case dropped:
			again = append(again, id)
		case !ok || !s.sealed:
			return nil, nil, fmt.Errorf("drop segment %d: it is not a sealed one", id)
		case s.last() > m.LSN:
			return nil, nil, fmt.Errorf("drop segment %d: it holds record %d, the checkpoint stands for %d", id, s.last(), m.LSN)
		default:
			fresh = append(fresh, s)
		}
	}
	l.keeper.mu.Lock()
	defer l.keeper.mu.Unlock()
	if l.keeper.mu.lost != nil && len(fresh) > 0 {
		return nil, nil, fmt.Errorf("drop segment %d: a new checkpoint is needed first: %w", fresh[0].id, l.keeper.mu.lost)
	}
	return fresh, again, nil
}

// withDropped returns the ranges with those of more segments, which are in order and in none of them.
func withDropped(ranges []segment.Range, more []indexed) []segment.Range {
	all := slices.Clone(ranges)
	for i := range more {
		s := &more[i]
		all = append(all, segment.Range{From: s.id, To: s.id, First: s.first, Last: s.last()})
	}
	slices.SortFunc(all, func(a, b segment.Range) int { return int(int64(a.From) - int64(b.From)) })
	out := all[:0]
	for _, r := range all {
		if n := len(out); n > 0 && out[n-1].To+1 == r.From {
			invariant.Check(out[n-1].Last+1 == r.First, "segment %d begins with record %d, the one before ends with %d", r.From, r.First, out[n-1].Last)
			out[n-1].To, out[n-1].Last = r.To, r.Last
			continue
		}
		out = append(out, r)
	}
	return out
}

// removeSegments removes the files of dropped segments, copies and shards, from all members that are written. That need not be
// durable: what comes back after a crash is removed by Open, and what lies on other members when they are caught up.
func (l *Log) removeSegments(ids []SegmentID) error {
	ms := l.now()
	return l.eachMember(ms, ms.written(), func(m *member) error {
		var errs []error
		for _, id := range ids {
			if err := m.fs.Remove(m.path(segment.Name(id, true))); err != nil && !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, &MemberError{Dir: m.dir, Op: "remove", Segment: id, Err: err})
			}
		}
		return errors.Join(append(errs, m.removeShards(ids))...)
	})
}
