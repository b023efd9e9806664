package replication

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"slices"

	"pagevault/replication/segment"
)

// Strays: copies and shards that members have of a segment and the index does not count on, because they are damaged, or there
// once too often, or were left when a segment was brought from one way of keeping it to another. They may hold the only whole
// form of a record, so they are read as a last resort, and healing takes from them what it finds nowhere else. They go when the
// members have as much of the segment as there should be, and all of that was read from the disks and found whole.

// strayFile is a copy or a shard that the index does not count on.
type strayFile struct {
	m    *member
	name string
}

// noteStrays notes that members may have strays of a segment.
func (l *Log) noteStrays(id SegmentID) {
	h := &l.healer
	h.mu.Lock()
	defer h.mu.Unlock()
	h.noteStraysLocked(id, waitingHeal{})
}

func (h *healer) noteStraysLocked(id SegmentID, w waitingHeal) {
	if h.mu.strays == nil {
		h.mu.strays = map[SegmentID]waitingHeal{}
	}
	if _, noted := h.mu.strays[id]; !noted {
		h.mu.strays[id] = w
	}
}

// strayStep removes the strays of one segment that has become whole without them. did is false if there is none. An error is
// that of ctx.
func (l *Log) strayStep(ctx context.Context) (did bool, err error) {
	id, w, ok := l.nextStrays()
	if !ok {
		return false, nil
	}
	if _, err = l.removeStrays(ctx, id); err == nil {
		return true, nil
	}
	w.wait = min(max(healRetryMin, 2*w.wait), restMax)
	w.due = l.o.Clock.Now().Add(w.wait)
	l.healer.mu.Lock()
	defer l.healer.mu.Unlock()
	l.healer.noteStraysLocked(id, w)
	return true, ctx.Err()
}

// nextStrays takes the first segment from those with strays that seems to be whole without them.
func (l *Log) nextStrays() (SegmentID, waitingHeal, bool) {
	h, now := &l.healer, l.o.Clock.Now()
	h.mu.Lock()
	noted := maps.Clone(h.mu.strays)
	h.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(noted)) {
		s, ok, _ := l.index.get(id)
		if ok && (noted[id].due.After(now) || !l.enough(&s)) {
			continue
		}
		h.mu.Lock()
		delete(h.mu.strays, id)
		h.mu.Unlock()
		if ok {
			return id, noted[id], true
		}
	}
	return 0, waitingHeal{}, false
}

// enough reports whether the members that stay have as much of a segment as there should be, as far as known, and nothing is
// known to be wrong with it.
func (l *Log) enough(s *indexed) bool { return !l.healer.doubts(s.id) && l.policy().complete(s) }

// complete reports whether the members that stay have as much of a segment as there should be, as far as known.
func (a *arrangement) complete(s *indexed) bool {
	if s.shards != nil {
		return !slices.ContainsFunc(s.shards, func(i int8) bool { return !a.staying.Has(int(i)) })
	}
	return (s.holders & a.ms.current & a.staying).Len() >= a.policy.Copies
}

// wholeWithout reads all of a segment that is counted on, and has it healed if something is wrong. It returns errDoubtful unless it
// is complete and whole, or the error of ctx. What was known to be whole a moment ago does not do here.
func (a *arrangement) wholeWithout(ctx context.Context, s *indexed) error {
	l, bad := a.l, false
	if !a.complete(s) {
		return errDoubtful
	}
	if s.shards != nil {
		err := l.checkShards(ctx, s.id, l.custodian.pace, func(*member, int, int64, error) { bad = true })
		if err != nil {
			return err
		}
	} else {
		found, check, err := l.compare(ctx, s, l.custodian.pace)
		if err != nil {
			return err
		}
		bad = check == nil || len(found) > 0
	}
	if bad {
		l.Heal(s.id)
		return errDoubtful
	}
	return nil
}

// removeStrays removes the strays of a segment after it has read what is counted on, all of it. An error, which is errDoubtful
// or errElsewhere if that is not whole, says that they stay.
func (l *Log) removeStrays(ctx context.Context, id SegmentID) (done []Repair, err error) {
	release, err := l.claim(ctx, id)
	if err != nil {
		return nil, err
	}
	defer release()
	s, ok, _ := l.index.get(id)
	if !ok || !s.sealed {
		return nil, nil
	}
	a := l.policy()
	list, err := l.straysOf(a.ms, &s)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	if err := a.wholeWithout(ctx, &s); err != nil {
		return nil, err
	}
	for _, f := range list {
		now, ok, _ := l.index.get(id)
		if !ok || !now.sameSources(&s) || !l.now().has(f.m) {
			return done, errElsewhere // somebody counts on it, or on less, by now
		}
		err := f.m.fs.Remove(f.m.path(f.name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return done, &MemberError{Dir: f.m.dir, Op: "remove " + f.name, Segment: id, Err: err}
		}
		l.files.forgetCopy(f.m, id)
		r := Repair{Member: f.m.number, Segment: id, File: f.name, Reason: "the log is whole without it"}
		done = append(done, r)
		l.repaired(f.m, r)
	}
	return done, nil
}

// straysOf returns the strays of a sealed segment, which is claimed, on current members.
func (l *Log) straysOf(ms *membership, s *indexed) (out []strayFile, err error) {
	for i, m := range ms.each(ms.current) {
		list, err := m.fs.List(m.dir)
		if err != nil {
			return out, &MemberError{Dir: m.dir, Op: "list", Err: err}
		}
		sealed := slices.Contains(list, segment.Name(s.id, true))
		for _, name := range list {
			id, shard, isShard := segment.ParseShardName(name)
			switch {
			case isShard && id == s.id && (shard >= len(s.shards) || int(s.shards[shard]) != i):
			case name == segment.Name(s.id, true) && !s.holders.Has(i):
			case name == segment.Name(s.id, false) && (sealed || !s.holders.Has(i)):
			default:
				continue
			}
			out = append(out, strayFile{m, name})
		}
	}
	return out, nil
}

// hasStrayCopy reports whether a member that is there has a copy of a segment that the index does not count on.
func (l *Log) hasStrayCopy(m *member, s *indexed) bool {
	if s.holders.Has(m.number) {
		return false
	}
	f, err := m.openSegment(s.id, true)
	if err == nil {
		_ = f.Close() // it was only looked for
	}
	return err == nil
}
