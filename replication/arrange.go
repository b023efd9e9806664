package replication

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"pagevault/replication/placement"
	"pagevault/replication/roster"
	"pagevault/replication/segment"
)

// Arranging: sealed segments are brought to where and how the owner wants them, as whole copies or as shards, one task of
// placement.Plan at a time, so that what is most urgent at each moment comes next. A task works under the claim of its segment
// and looks there again whether what the plan saw is still so. What keeps a segment readable goes only when what is to take its
// place has been read from the disks, all of it, and found whole: shards before a copy goes, the other copies before shards or
// one copy too many go.

// arrangeAfter is how long a member may be away before others take over what only it lacks: a minute, in which a machine's
// disks come back after a bus reset or a cable is put in again. Moving what a large disk holds takes hours.
const arrangeAfter = time.Minute

// arrangeUrgent is arrangeStep for tasks that give a segment what it lacks, and no others.
func (l *Log) arrangeUrgent(ctx context.Context) (did bool, err error) {
	return l.arrangeOne(ctx, true)
}

// arrangeStep carries out the first task there is that may be tried now. did is false if there is none. An error is that of
// ctx; what members do wrong is dealt with here, and the segment let rest.
func (l *Log) arrangeStep(ctx context.Context) (did bool, err error) { return l.arrangeOne(ctx, false) }

func (l *Log) arrangeOne(ctx context.Context, urgent bool) (did bool, err error) {
	if l.writable() != nil || l.Available() != nil {
		return false, nil
	}
	a := l.arrangement()
	l.arranger.noteMembership(a.ms)
	for _, t := range a.tasks() {
		id, now := SegmentID(t.Segment), l.o.Clock.Now()
		if urgent && !t.Urgent || !l.arranger.due(id, now) {
			continue
		}
		err := a.carryOut(ctx, &t)
		if ctx.Err() != nil {
			return true, ctx.Err()
		}
		l.arranged(a.ms, id, err)
		return true, nil
	}
	return false, nil
}

// arranged notes how a task has ended.
func (l *Log) arranged(ms *membership, id SegmentID, err error) {
	defer l.arranger.prune(l.index.holds)
	switch {
	case err == nil || errors.Is(err, ErrDropped):
		l.arranger.done(id)
		return
	case errors.Is(err, errElsewhere):
		return // the next plan knows better
	case errors.Is(err, ErrCorrupt):
		l.Heal(id)
	}
	l.arranger.failed(id, l.o.Clock.Now())
	if failure := (*MemberError)(nil); errors.As(err, &failure) {
		for _, m := range ms.all() {
			if m.dir == failure.Dir {
				l.spare(m, err)
			}
		}
	}
}

// Why a task is not carried out.
var (
	errElsewhere = errors.New("the segment or the members are not as they were when this was planned")
	errDoubtful  = errors.New("the segment is to be healed first")
)

// arrangement is how things are at one moment, and how they should be.
type arrangement struct {
	l       *Log
	ms      *membership
	policy  placement.Policy
	members []placement.Member // that are written
	staying Set                // of these, those that are not being retired
	away    Set                // have been behind for less than arrangeAfter
	rows    map[SegmentID]indexed
}

// arrangement returns how things are now.
func (l *Log) arrangement() *arrangement {
	a := l.policy()
	a.members = l.placeable(a.ms)
	now := l.o.Clock.Now()
	for i := range a.ms.roster.Rows {
		r := &a.ms.roster.Rows[i]
		since := now.Sub(time.Unix(0, r.Time))
		if r.State == roster.Behind && since >= 0 && since < arrangeAfter {
			a.away = a.away.With(r.Number - 1)
		}
	}
	a.away &^= a.ms.written()
	return a
}

// policy returns how segments should be kept, and the members without what they hold.
func (l *Log) policy() *arrangement {
	a := &arrangement{l: l, ms: l.now()}
	r := &a.ms.roster
	leaving := l.leaving() & a.ms.rows() // one that has left is not counted again
	there := 0
	for i, m := range a.ms.all() {
		there++
		if a.ms.has(m) {
			a.members = append(a.members, placement.Member{Index: i, Leaving: leaving.Has(i)})
		}
	}
	a.staying = a.ms.written() &^ leaving
	there = max(there, len(r.Rows))
	// No more copies than there are members to have them: of two members nobody wants three.
	a.policy = placement.Policy{Copies: min(cmp.Or(r.Copies, there), max(there-leaving.Len(), 1)), K: r.K, M: r.M}
	return a
}

// tasks returns what has to be done, the first first.
//
// While a member has been away for a moment only, it is counted as there and only what is urgent all the same is done. Nothing
// is removed then, as what is on that member does not count for that.
func (a *arrangement) tasks() []placement.Task {
	members := a.members
	for i := range a.away.All() {
		members = append(members, placement.Member{Index: i, Joining: true})
	}
	var present Set
	for i := range a.members {
		present = present.With(a.members[i].Index)
	}
	a.rows = map[SegmentID]indexed{}
	var list []placement.Segment
	for s := range a.l.index.each() {
		if !s.sealed || a.settled(s) {
			continue
		}
		row := placed(s)
		if placement.Survives(&row, present) < 0 {
			continue // and if the one who has it comes back, there will be less to do
		}
		list = append(list, row)
		a.rows[s.id] = *s
	}
	if len(list) == 0 {
		return nil
	}
	tasks := placement.Plan(members, list, a.policy)
	if a.away != 0 {
		tasks = slices.DeleteFunc(tasks, func(t placement.Task) bool { return !t.Urgent })
	}
	return tasks
}

// settled reports whether there is nothing to do about a segment, because it is as it should be, as most are, or because nobody
// could take what it lacks, so that the plan need not be asked: that takes some microseconds for each segment.
func (a *arrangement) settled(s *indexed) bool {
	p := &a.policy
	takers := a.staying &^ a.ms.joining
	if s.shards == nil && (p.K == 0 || takers.Len() < p.K+p.M) {
		have := s.holders & a.staying
		n := min(p.Copies, a.staying.Len())
		return have.Len() == n || have.Len() < n && takers&^have == 0
	}
	if p.K == 0 || int(s.k) != p.K || int(s.m) != p.M {
		return false
	}
	have := Set(0)
	for _, i := range s.shards {
		if a.staying.Has(int(i)) {
			have = have.With(int(i))
		}
	}
	if have.Len() == len(s.shards) {
		return s.holders&a.ms.written() == 0
	}
	return takers&^have == 0
}

// placed returns the segment as package placement wants to know it.
func placed(s *indexed) placement.Segment {
	return placement.Segment{ID: uint32(s.id), On: s.holders, At: s.shards, K: int(s.k), M: int(s.m)}
}

// carryOut does what a task says, if what it was made for is still so.
func (a *arrangement) carryOut(ctx context.Context, t *placement.Task) error {
	l, id := a.l, SegmentID(t.Segment)
	release, err := l.claim(ctx, id)
	if err != nil {
		return err
	}
	defer release()
	s, ok, _ := l.index.get(id)
	if !ok {
		return fmt.Errorf("segment %d: %w", id, ErrDropped)
	}
	if was := a.rows[id]; !s.sameSources(&was) || l.now() != a.ms {
		return errElsewhere
	}
	p := l.custodian.pace
	switch t.Kind {
	case placement.Copy:
		_, err = l.rewriteClaimed(ctx, id, a.ms.member(t.To), p, false)
	case placement.MakeShards:
		if err = l.makeShardsClaimed(ctx, id, t.K, t.M, t.Make, p); err == nil && s.shards == nil && len(t.Make) == t.K+t.M {
			l.arranger.note(id) // all of them were read back
		}
	case placement.RemoveCopy:
		err = a.removeCopy(ctx, &s, a.ms.member(t.To))
	case placement.RemoveShards:
		err = a.removeShards(ctx, &s)
	}
	return err
}

// removeCopy takes a member's copy away, when the shards, or the other copies, are known to be whole.
func (a *arrangement) removeCopy(ctx context.Context, s *indexed, m *member) error {
	check := a.shardsWhole
	if s.shards == nil {
		check = func(ctx context.Context, s *indexed) error { return a.copiesWhole(ctx, s, s.holders.Without(m.number)) }
	}
	if err := check(ctx, s); err != nil {
		return err
	}
	l, id := a.l, s.id
	// From here on nobody is told to read it, and after a crash Open finds it there or not.
	l.index.setHolder(id, m.number, false)
	defer l.files.forgetCopy(m, id) // at the end, as some still open it who were told before
	name := m.path(segment.Name(id, true))
	if err := m.fs.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		if _, gone := m.fs.Stat(name); !errors.Is(gone, fs.ErrNotExist) {
			l.index.setHolder(id, m.number, true) // so that it is tried again
		}
		return &MemberError{Dir: m.dir, Op: "remove", Segment: id, Err: err}
	}
	return nil
}

// removeShards takes all shards of a segment away, when there are copies enough that are known to be whole. What members have
// that are not there goes when they are back.
func (a *arrangement) removeShards(ctx context.Context, s *indexed) error {
	if err := a.copiesWhole(ctx, s, s.holders); err != nil {
		return err
	}
	l, ids := a.l, []SegmentID{s.id}
	l.index.setShards(s.id, 0, 0, nil)
	l.arranger.unnote(s.id)
	defer l.files.forgetIf(func(k *fileKey) bool { return k.segment == s.id && k.shard > 0 })
	left := slices.Repeat([]int8{-1}, len(s.shards))
	var errs []error
	for i, m := range a.ms.each(a.ms.written()) {
		err := m.removeShards(ids)
		if err == nil {
			continue
		}
		errs = append(errs, err)
		for shard, at := range s.shards {
			if int(at) != i {
				continue
			}
			if _, gone := m.fs.Stat(m.path(segment.ShardName(s.id, shard))); !errors.Is(gone, fs.ErrNotExist) {
				left[shard] = at
			}
		}
	}
	if errs != nil {
		l.index.setShards(s.id, s.k, s.m, left) // so that it is tried again
	}
	return errors.Join(errs...)
}

// shardsWhole reads all shards of a segment, unless that was done since Open, and has it healed if something is wrong with any.
// The error is that, or the one of ctx.
func (a *arrangement) shardsWhole(ctx context.Context, s *indexed) error {
	l := a.l
	if l.healer.doubts(s.id) {
		l.arranger.unnote(s.id)
		return errDoubtful
	}
	if slices.ContainsFunc(s.shards, func(i int8) bool { return !a.staying.Has(int(i)) }) {
		return errElsewhere
	}
	if l.arranger.wasChecked(s.id) {
		return a.shardsThere(s)
	}
	bad := false
	err := l.checkShards(ctx, s.id, l.custodian.pace, func(*member, int, int64, error) { bad = true })
	switch {
	case err != nil:
		return err
	case bad:
		l.Heal(s.id)
		return errDoubtful
	}
	l.arranger.note(s.id)
	return nil
}

// shardsThere looks at the frames of all shards and the tables of their blocks. It costs next to nothing beside what a copy is
// worth, and finds a shard that somebody has taken away since it was read.
func (a *arrangement) shardsThere(s *indexed) error {
	x, err := a.l.shardsOf(s)
	if err != nil {
		return err
	}
	for i := range x.shards {
		if x.look(i) != nil {
			a.l.arranger.unnote(s.id)
			a.l.Heal(s.id)
			return errDoubtful
		}
	}
	return nil
}

// copiesWhole reads all copies of a segment on current members and has it healed if something is wrong with any. It also is an
// error if those in count which are current and stay are fewer than there should be: then what there is stays.
func (a *arrangement) copiesWhole(ctx context.Context, s *indexed, count Set) error {
	l := a.l
	if l.healer.doubts(s.id) {
		return errDoubtful
	}
	if n := (count & a.ms.current & a.staying).Len(); n == 0 || n < min(a.policy.Copies, a.staying.Len()) {
		return fmt.Errorf("segment %d: %d copies are known to be whole: %w", s.id, n, errDoubtful)
	}
	found, check, err := l.compare(ctx, s, l.custodian.pace)
	switch {
	case err != nil:
		return err
	case check == nil || check.gone || l.now() != a.ms:
		return errElsewhere
	case len(found) > 0:
		l.Heal(s.id)
		return errDoubtful
	}
	return nil
}

// doubts reports whether something may be wrong with a segment.
func (h *healer) doubts(id SegmentID) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, waiting := h.mu.waiting[id]
	_, broken := h.mu.broken[id]
	return waiting || broken
}

// arrangeStats adds how the bytes of segments are kept, and those of segments that lack a copy or a shard on members that are
// there. Those that wait for being healed are counted by healStats.
func (l *Log) arrangeStats(s *Stats) {
	a, waiting := l.policy(), l.healer.pending()
	for one := range l.index.each() {
		s.CopyBytes += one.length * int64(one.holders.Len())
		if one.shards != nil {
			n := int64(0)
			for _, i := range one.shards {
				if i >= 0 {
					n++
				}
			}
			s.ShardBytes += n * one.shardBytes()
		}
		if row := placed(one); !waiting[one.id] && placement.Lacks(&row, a.members, a.policy) > 0 {
			s.UnderReplicated += one.length
		}
	}
}

// pending returns the segments that wait for being healed.
func (h *healer) pending() map[SegmentID]bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.mu.waiting) == 0 {
		return nil
	}
	out := map[SegmentID]bool{}
	for id := range h.mu.waiting {
		out[id] = true
	}
	return out
}
