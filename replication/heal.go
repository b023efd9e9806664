package replication

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"pagevault/replication/segment"
)

// Healing: what is found to be wrong with a file of a member, by a read, by a scrub or by anybody, is put right from the other
// members. Of a segment all copies are compared, since what is wrong with one says nothing of the others, and the bad ones are
// written anew by rewriteCopy, so that a record that any member holds whole is whole on all of them afterwards. What no member
// has any more stays as it is, is told once, and is looked at again when the members have changed, and by every scrub.

// healAgainAfter is how long a segment in which nothing was wrong is not compared again because of a read: a read that fails
// now and then, on a bad cable, would otherwise have whole segments read for each.
const healAgainAfter = time.Minute

// healer is what the log knows about files that are not as they should be.
type healer struct {
	claims claims
	mu     struct {
		sync.Mutex
		queue   []SegmentID // to be looked at, in the order in which they were brought
		waiting map[SegmentID]waitingHeal
		sound   map[SegmentID]time.Time // when nothing was found to be wrong with a segment that somebody had brought
		broken  map[SegmentID]broken
		strays  map[SegmentID]waitingHeal // segments of which members may have strays
	}
}

// waitingHeal is a segment that is in the queue.
type waitingHeal struct {
	due  time.Time // not before
	wait time.Duration
}

// broken is a segment of which no member that is there has everything.
type broken struct {
	problem Problem // the first
	epoch   uint64  // of the membership that did not have it
}

// Heal has the copies of a segment compared in the background, and those written again that are not as they should be. It
// returns at once. A segment that is waiting for that already, in which nothing was wrong a moment ago, or which the same
// members could not put right, is left as it is.
func (l *Log) Heal(id SegmentID) {
	if !l.index.holds(id) {
		return
	}
	h, now, epoch := &l.healer, l.o.Clock.Now(), l.now().roster.Epoch
	h.mu.Lock()
	b, broken := h.mu.broken[id]
	at, sound := h.mu.sound[id]
	wanted := !(broken && b.epoch == epoch) && !(sound && now.Sub(at) < healAgainAfter)
	if wanted {
		h.enqueueLocked(id, waitingHeal{})
	}
	h.mu.Unlock()
	if wanted {
		l.wakeCustodian()
	}
}

// healLater has a segment healed in the background that could not be at once.
func (l *Log) healLater(id SegmentID) {
	h := &l.healer
	h.mu.Lock()
	defer h.mu.Unlock()
	h.enqueueLocked(id, waitingHeal{due: l.o.Clock.Now().Add(healRetryMin), wait: healRetryMin})
}

func (h *healer) enqueueLocked(id SegmentID, w waitingHeal) {
	if _, there := h.mu.waiting[id]; there {
		return
	}
	if h.mu.waiting == nil {
		h.mu.waiting = map[SegmentID]waitingHeal{}
	}
	h.mu.queue = append(h.mu.queue, id)
	h.mu.waiting[id] = w
}

// next takes the first segment from the queue whose time has come.
func (h *healer) next(now time.Time) (id SegmentID, w waitingHeal, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, id := range h.mu.queue {
		if w := h.mu.waiting[id]; !w.due.After(now) {
			h.mu.queue = slices.Delete(h.mu.queue, i, i+1)
			delete(h.mu.waiting, id)
			return id, w, true
		}
	}
	return 0, w, false
}

// Waits between attempts to heal what a member could not take: doubled each time.
const (
	healRetryMin = time.Second
	healRetryMax = time.Minute
)

// healStep heals one segment of those that were brought to Heal, or, if there is none, removes what is of no more use of one. did
// is false if there is none to be looked at now. An error is that of ctx; what members do wrong is dealt with here.
func (l *Log) healStep(ctx context.Context) (did bool, err error) {
	h := &l.healer
	id, w, ok := h.next(l.o.Clock.Now())
	if !ok {
		return l.strayStep(ctx)
	}
	done, err := l.healSegment(ctx, id, l.custodian.pace)
	now := l.o.Clock.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		h.enqueueLocked(id, w)
		return true, ctx.Err()
	case err != nil:
		w.wait = min(max(healRetryMin, 2*w.wait), healRetryMax)
		w.due = now.Add(w.wait)
		h.enqueueLocked(id, w)
	case len(done) == 0:
		maps.DeleteFunc(h.mu.sound, func(_ SegmentID, at time.Time) bool { return now.Sub(at) >= healAgainAfter })
		if h.mu.sound == nil {
			h.mu.sound = map[SegmentID]time.Time{}
		}
		h.mu.sound[id] = now
	}
	return true, nil
}

// errUnsealed is why a segment cannot be healed yet.
var errUnsealed = errors.New("the segment is not sealed yet")

// healSegment compares the copies and the shards of a segment and writes anew those that are not as they should be. It returns
// what it has written. An error says why it should be tried again: a segment that is being written has to be sealed first,
// which is asked for, or a member could not be written.
func (l *Log) healSegment(ctx context.Context, id SegmentID, p *pace) ([]Repair, error) {
	done, found, err := l.healCopies(ctx, id, p)
	if err != nil {
		return done, err
	}
	repairs, err := l.healShards(ctx, id, p)
	if errors.Is(err, ErrCorrupt) {
		gathered, failure := l.gather(ctx, id, p)
		done = append(done, gathered...)
		if failure != nil {
			return done, failure
		}
		if len(gathered) > 0 {
			repairs, err = l.healShards(ctx, id, p)
		}
	}
	for _, r := range repairs {
		if l.o.Events.Healed != nil {
			l.o.Events.Healed(r)
		}
	}
	done = append(done, repairs...)
	if errors.Is(err, ErrCorrupt) {
		found = append(found, Problem{Member: -1, Segment: id, File: segment.ShardName(id, 0), Lost: true, Reason: err.Error()})
		err = nil
	}
	if err == nil {
		l.remember(id, found)
	}
	return done, err
}

// healCopies is healSegment for the whole copies, and returns also what was found.
func (l *Log) healCopies(ctx context.Context, id SegmentID, p *pace) (done []Repair, found []Problem, err error) {
	release, err := l.claim(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	defer release()
	s, ok, _ := l.index.get(id)
	if !ok {
		return nil, nil, nil
	}
	found, check, err := l.compare(ctx, &s, p)
	switch {
	case err != nil:
		return nil, nil, err
	case !s.sealed && len(found) > 0:
		l.askToSeal()
		return nil, nil, errUnsealed
	case !s.sealed:
		return nil, nil, nil
	}
	h := healing{l: l, ctx: ctx, s: s, pace: p, found: found}
	if check != nil && h.rescue(check) {
		if h.found, check, err = l.compare(ctx, &s, p); err != nil {
			return h.done, nil, err
		}
	}
	if check != nil {
		h.copies(check)
	}
	h.strays(check != nil && check.differ)
	return h.done, h.found, h.err
}

// gather writes a segment that the shards alone do not give, and of which the index knows no copy, as a copy on a member that has
// a stray one, from all copies and shards there are. The shards can be made from that then.
func (l *Log) gather(ctx context.Context, id SegmentID, p *pace) ([]Repair, error) {
	release, err := l.claim(ctx, id)
	if err != nil {
		return nil, err
	}
	defer release()
	s, ok, _ := l.index.get(id)
	ms := l.now()
	if !ok || s.holders&ms.written() != 0 {
		return nil, nil
	}
	h := healing{l: l, ctx: ctx, s: s, pace: p}
	for _, m := range ms.each(ms.current) {
		if l.hasStrayCopy(m, &s) {
			h.write(m, "its shards lack something", false)
			break
		}
	}
	l.noteStrays(id)
	return h.done, h.err
}

// compare reads all copies of a segment and returns what is wrong with them. check is nil if there are no copies, but only
// shards.
func (l *Log) compare(ctx context.Context, s *indexed, p *pace) (found []Problem, check *segmentCheck, err error) {
	v := l.newVerification(ctx, VerifyOptions{Report: func(p Problem) { found = append(found, p) }})
	v.pace, v.cold = p, true
	w := wantedSegment{id: s.id, first: s.first, end: s.end, sealed: s.sealed, holders: v.holdersOf(s)}
	if w.holders == 0 {
		return nil, nil, nil
	}
	check = v.newCheck(w)
	if err := check.run(); err != nil || check.gone {
		return nil, nil, err
	}
	return found, check, nil
}

// askToSeal has the open segment sealed, and does not wait.
func (l *Log) askToSeal() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.rotate == l.mu.rotated {
		l.mu.rotate++
		l.work.Signal()
	}
}

// remember notes whether something of a segment is lost, and tells it if that is news.
func (l *Log) remember(id SegmentID, found []Problem) {
	h, epoch := &l.healer, l.now().roster.Epoch
	at := slices.IndexFunc(found, func(p Problem) bool { return p.Lost })
	h.mu.Lock()
	_, known := h.mu.broken[id]
	switch {
	case at < 0:
		delete(h.mu.broken, id)
	case h.mu.broken == nil:
		h.mu.broken = map[SegmentID]broken{}
		fallthrough
	default:
		h.mu.broken[id] = broken{found[at], epoch}
	}
	h.mu.Unlock()
	if at >= 0 && !known && l.o.Events.Unhealable != nil {
		l.o.Events.Unhealable(found[at])
	}
}

// healStats adds what is to be healed, which counts as lacking a copy until that is done, and what cannot be.
func (l *Log) healStats(s *Stats) {
	h := &l.healer
	h.mu.Lock()
	defer h.mu.Unlock()
	s.Healing = len(h.mu.queue)
	for _, id := range h.mu.queue {
		if one, ok, _ := l.index.get(id); ok {
			s.UnderReplicated += one.length
		}
	}
	maps.DeleteFunc(h.mu.broken, func(id SegmentID, _ broken) bool { return !l.index.holds(id) })
	s.Unhealable = len(h.mu.broken)
}

// healing is the healing of one segment, which is claimed.
type healing struct {
	l     *Log
	ctx   context.Context
	s     indexed
	pace  *pace
	found []Problem
	done  []Repair
	err   error
}

// rescue writes one of the copies anew that lack what no copy has that the index counts on, if a stray or the shards have it all. It
// reports whether they do, so that there is more to be put right now.
func (h *healing) rescue(check *segmentCheck) bool {
	l, ms := h.l, h.l.now()
	if !slices.ContainsFunc(h.found, func(p Problem) bool { return p.Lost }) {
		return false
	}
	elsewhere := h.s.shards != nil
	for _, m := range ms.all() {
		elsewhere = elsewhere || l.hasStrayCopy(m, &h.s)
	}
	if !elsewhere {
		return false
	}
	for i := range check.bad.All() {
		m := check.v.members[i]
		if !ms.has(m) {
			continue
		}
		n, err := l.rewriteClaimed(h.ctx, h.s.id, m, h.pace, false)
		switch {
		case err == nil:
			h.did(m, Repair{Member: i, Segment: h.s.id, Bytes: n, Reason: h.reason(i)})
			return true
		case !errors.Is(err, ErrDropped) && !errors.Is(err, ErrCorrupt):
			h.err = errors.Join(h.err, err) // another one may take it
		}
	}
	return false
}

// copies writes anew the copies in which others can put something right. What is lost on all stays lost in them.
func (h *healing) copies(check *segmentCheck) {
	for i := range check.curable.All() {
		if m := check.v.members[i]; h.l.now().has(m) {
			h.write(m, h.reason(i), check.differ)
		}
	}
}

// reason returns the first thing that was wrong with member i's copy.
func (h *healing) reason(i int) string {
	for _, p := range h.found {
		if p.Member == i {
			return p.Reason
		}
	}
	return "the copy is not as it should be"
}

// write writes member m's copy anew.
func (h *healing) write(m *member, reason string, elect bool) {
	n, err := h.l.rewriteClaimed(h.ctx, h.s.id, m, h.pace, elect)
	failure := (*MemberError)(nil)
	switch {
	case err == nil || errors.Is(err, ErrCorrupt) && n >= h.s.length: // all that can be had
		h.did(m, Repair{Member: m.number, Segment: h.s.id, Bytes: n, Reason: reason})
	case errors.Is(err, ErrDropped) || errors.Is(err, ErrCorrupt): // remember has been told by who compared the copies
	case errors.As(err, &failure):
		h.err = errors.Join(h.err, err)
		h.l.spare(m, err)
	default:
		h.err = errors.Join(h.err, err)
	}
}

func (h *healing) did(m *member, r Repair) {
	h.done = append(h.done, r)
	h.l.repaired(m, r)
}

// repaired counts and tells what was put right.
func (l *Log) repaired(m *member, r Repair) {
	m.repaired.Add(1)
	if l.o.Events.Healed != nil {
		l.o.Events.Healed(r)
	}
}

// spare has the log go on without a member that could not be written in the background, if enough are left. That its disk is
// full says nothing about its open segment, which may have its blocks: whoever writes that will find out.
func (l *Log) spare(m *member, err error) {
	ms := l.now()
	if !ms.has(m) || errors.Is(err, syscall.ENOSPC) || ms.current.Without(m.number).Len() < ms.least() {
		return
	}
	l.memberFailed(m, failureReason(err), err)
}

// strays looks for copies on members that the log does not know to have one. Where each member should have one, it is written
// anew; otherwise it goes when the segment is whole without it.
func (h *healing) strays(differ bool) {
	ms := h.l.now()
	for i, m := range ms.each(ms.current) {
		now, ok, _ := h.l.index.get(h.s.id)
		if !ok || now.holders == 0 && now.shards == nil || now.holders.Has(i) {
			continue // a member that has come back meanwhile may be counted on
		}
		name := m.path(segment.Name(h.s.id, true))
		if _, err := m.fs.Stat(name); err != nil {
			continue
		}
		const reason = "a copy that the log does not know of"
		if now.shards == nil && ms.current.Len() <= ms.roster.Copies {
			h.write(m, reason, differ)
			continue
		}
		h.l.noteStrays(h.s.id)
	}
}

// healDirectories removes from the members what should not be there: files of segments that were dropped, strays that are of no
// use, and files that somebody was writing who does no more. Copies that the log does not know of it brings to Heal.
func (l *Log) healDirectories(ctx context.Context) (done []Repair, err error) {
	ms := l.now()
	for _, m := range ms.each(ms.current) {
		f, err := m.look()
		if err != nil {
			return done, err
		}
		if errors.Is(f.unnamed, segment.ErrDamaged) {
			if err := l.renewIdentity(m, f.unnamed); err != nil {
				return done, err
			}
		}
		repairs, err := l.removeExtra(m, &f)
		done = append(done, repairs...)
		if err == nil {
			err = l.removeTemps(ctx, m, f.temps)
		}
		if err == nil {
			repairs, err = l.removeStrangers(m, &f)
			done = append(done, repairs...)
		}
		if err != nil {
			return done, err
		}
		for _, s := range l.index.all() {
			if s.sealed && f.segments[s.id].sealed && s.holders != 0 && !s.holders.Has(m.number) {
				l.Heal(s.id)
			}
			if s.sealed && f.hasStrays(m, &s) {
				repairs, err := l.removeStraysAtOnce(ctx, &s)
				done = append(done, repairs...)
				if err != nil {
					return done, err
				}
			}
		}
	}
	return done, nil
}

// hasStrays reports whether a member has files of a segment that the index does not count on.
func (f *found) hasStrays(m *member, s *indexed) bool {
	n := f.segments[s.id]
	return n.open || n.sealed && !s.holders.Has(m.number) && (s.holders != 0 || s.shards != nil) ||
		slices.ContainsFunc(f.shards[s.id], func(i int) bool { return i >= len(s.shards) || int(s.shards[i]) != m.number })
}

// removeStraysAtOnce removes the strays of a segment if it is whole without them, and otherwise when it is. The error is that of
// ctx.
func (l *Log) removeStraysAtOnce(ctx context.Context, s *indexed) ([]Repair, error) {
	done, err := l.removeStrays(ctx, s.id)
	if err != nil {
		l.noteStrays(s.id)
	}
	return done, ctx.Err()
}

// removeExtra removes a member's files of segments that were dropped. f may be out of date: what is gone by now was not removed here.
func (l *Log) removeExtra(m *member, f *found) (done []Repair, err error) {
	k := &l.keeper
	k.turning.RLock() // so that no manifest is being replaced and no segment removed
	defer k.turning.RUnlock()
	manifest := k.current()
	newest, _ := l.index.end()
	for _, x := range extraSegments(f, newest, l.index.sealedOnes()) {
		if _, dropped := manifest.DroppedSegment(x.id); !dropped || l.index.holds(x.id) {
			continue // nobody knows what that is, or it is a stray
		}
		name := segment.Name(x.id, x.sealed)
		err := m.fs.Remove(m.path(name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return done, &MemberError{Dir: m.dir, Op: "remove", Segment: x.id, Err: err}
		}
		r := Repair{Member: m.number, File: name, Reason: "the file should not be there"}
		done = append(done, r)
		l.repaired(m, r)
	}
	return done, nil
}

// removeTemps removes what is left of copies and shards that were being written when something failed.
func (l *Log) removeTemps(ctx context.Context, m *member, temps []string) error {
	for _, name := range temps {
		id, ok := tempOf(name)
		if !ok {
			continue
		}
		release, err := l.claim(ctx, id) // so that nobody is writing it
		if err != nil {
			return err
		}
		err = m.fs.Remove(m.path(name))
		release()
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return &MemberError{Dir: m.dir, Op: "remove " + name, Err: err}
		}
	}
	return nil
}

// removeStrangers removes from the directory of the checkpoint what is not of the checkpoint.
func (l *Log) removeStrangers(m *member, f *found) (done []Repair, err error) {
	k := &l.keeper
	k.writing.Lock() // so that no checkpoint is being saved
	defer k.writing.Unlock()
	manifest := k.current()
	for _, name := range strangers(f, &manifest) {
		file := segment.CheckpointDir + "/" + name
		if err := m.fs.Remove(m.path(file)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return done, &MemberError{Dir: m.dir, Op: "remove " + file, Err: err}
		}
		r := Repair{Member: m.number, File: file, Reason: "the file is not of the checkpoint"}
		done = append(done, r)
		l.repaired(m, r)
	}
	return done, nil
}

// tempOf returns the segment of which a temporary file is a copy or a shard.
func tempOf(name string) (SegmentID, bool) {
	if id, _, ok := segment.ParseShardTempName(name); ok {
		return id, true
	}
	n, err := strconv.ParseUint(strings.TrimSuffix(name, segment.TempSuffix), 10, 32)
	id := SegmentID(n)
	return id, err == nil && segment.TempName(id) == name
}

// sealedOnes returns of each segment that is there whether it is sealed.
func (x *index) sealedOnes() map[SegmentID]bool {
	out := map[SegmentID]bool{}
	for _, s := range x.all() {
		out[s.id] = s.sealed
	}
	return out
}

// String returns where and what, as logs show it.
func (r Repair) String() string {
	what := r.File
	if r.Segment != 0 {
		what = fmt.Sprintf("segment %d", r.Segment)
	}
	return fmt.Sprintf("member %d: %s: %s", r.Member+1, what, r.Reason)
}
