package replication

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"pagevault/replication/roster"
)

// How the commit loop goes on when members fail. Everything here but memberFailed is called by the commit loop alone.
//
// A member that fails in a step, or of which something else is found out, is left out: the others write a roster in which it is
// behind to all of them, and when they have, it counts no more. What was under way is then done again without it: the open
// segment is sealed where the last record ends that all have, and the next one begins.
//
// A change needs Roster.Least of the current members to stay (see package roster). Where too few would, the log halts: nothing
// can be written, and the members that have failed are tried again until they work.

const (
	// haltPatience is how many times Options.StallAfter is waited for members that cannot be spared before the log says that it
	// halts: a machine that is short of everything for a while is no reason to refuse requests.
	haltPatience = 5
	// haltRetry is how often members are tried again while the log halts.
	haltRetry = time.Second
)

// failure is why a member can no longer be relied on.
type failure struct {
	reason roster.Reason
	err    error
}

// failures is what has failed, by member.
type failures map[*member]failure

// set returns the members.
func (f failures) set() (s Set) {
	for m := range f {
		s = s.With(m.number)
	}
	return s
}

// err joins the errors.
func (f failures) err() error {
	var errs []error
	for _, m := range slices.SortedFunc(maps.Keys(f), func(a, b *member) int { return a.number - b.number }) {
		errs = append(errs, f[m].err)
	}
	return errors.Join(errs...)
}

// failed makes a failure of an error.
func failed(err error) failure { return failure{failureReason(err), err} }

// errStalled says that a member did not answer in time.
var errStalled = errors.New("it did not answer in time")

func (l *Log) stalled(m *member, s *step, after time.Duration) failure {
	return failure{roster.ReasonStalled, &MemberError{Dir: m.dir, Op: "write", Segment: s.segment, Err: fmt.Errorf("%w: not within %v", errStalled, after)}}
}

// memberFailed tells the commit loop that a member cannot be relied on. It may be called from anywhere, with or without the
// member being written just now, and does not wait.
func (l *Log) memberFailed(m *member, reason roster.Reason, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.suspects == nil {
		l.mu.suspects = failures{}
	}
	if _, known := l.mu.suspects[m]; !known {
		l.mu.suspects[m] = failure{reason, err}
		l.work.Signal()
	}
}

// disturbed reports whether a member has failed or the membership is to change.
func (l *Log) disturbed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.disturbedLocked()
}

func (l *Log) disturbedLocked() bool { return len(l.mu.suspects) > 0 || len(l.mu.changes) > 0 }

// attend leaves out members that have failed between batches, and changes the membership as was asked for.
func (l *Log) attend() error {
	for {
		l.mu.Lock()
		suspects, changes := l.mu.suspects, l.mu.changes
		l.mu.suspects, l.mu.changes = nil, nil
		l.mu.Unlock()
		if len(suspects) == 0 && len(changes) == 0 {
			return nil
		}
		// What befalls the log here must not keep those waiting who asked for something.
		err := l.attendTo(suspects)
		for _, c := range changes {
			if err != nil {
				c.done <- err
				continue
			}
			err = l.carryOut(c)
		}
		if err != nil {
			return err
		}
	}
}

// attendTo leaves out members that somebody has found out about.
func (l *Log) attendTo(suspects failures) error {
	ms := l.now()
	maps.DeleteFunc(suspects, func(m *member, _ failure) bool { return !ms.has(m) })
	if len(suspects) == 0 {
		return nil
	}
	if err := l.leaveOut(suspects); err != nil {
		return err
	}
	l.resume() // where nothing is under way, whoever works again has shown it
	return l.seal()
}

// ask has members take a step, at the same time, and returns those that have failed. It does not wait for one that takes
// Options.StallAfter longer than others, if it can be spared: that one may go on with the step for ever. Nor does it wait when
// the log is being closed and members hang that cannot be spared.
func (l *Log) ask(to []*member, s step) failures {
	a := asking{l: l, step: &s, results: l.results, pending: l.asked[:0], halting: l.Available() != nil}
	if cap(a.results) < len(to) {
		a.results = make(chan result, max(len(to), 4))
	}
	s.results, l.results = a.results, nil
	for _, m := range to {
		if m.working.Load() { // it hangs in an earlier one
			a.fail(m, l.stalled(m, &s, l.o.StallAfter))
			continue
		}
		m.give(s)
		a.pending = append(a.pending, m)
	}
	l.asked = a.pending
	a.wait()
	if len(a.pending) == 0 {
		l.results = a.results // nobody sends to it any more
	}
	return a.failed
}

// asking is the work of ask.
type asking struct {
	l       *Log
	step    *step
	results chan result
	pending []*member
	took    Set // who have taken the step
	failed  failures
	late    bool // it has been said that the log halts, after the step was given
	halting bool // or before
}

func (a *asking) fail(m *member, f failure) {
	if a.failed == nil {
		a.failed = failures{}
	}
	a.failed[m] = f
	if me := (*MemberError)(nil); errors.As(f.err, &me) {
		m.failed.Store(me)
	}
}

// wait waits for results.
func (a *asking) wait() {
	l := a.l
	if len(a.pending) == 0 {
		return
	}
	spared, timing := false, false
	for len(a.pending) > 0 {
		// The time of those that can be spared begins when the others are done, that of those that cannot at once.
		if now := a.spares(); !a.late && (!timing || now && !spared) {
			spared, timing = now, true
			l.stall.Reset(a.limit(spared))
		}
		select {
		case r := <-a.results:
			a.take(r)
		case <-l.stall.C():
			if !spared {
				a.late = true
				l.halt(fmt.Errorf("%s for %v", errStalled, a.limit(false)))
				continue
			}
			a.abandon()
			return
		case <-a.quit():
			a.abandon()
			return
		}
	}
	l.stall.Stop()
}

// quit returns what ends the waiting for members that hang when the log is closed.
func (a *asking) quit() <-chan struct{} {
	if a.late || a.halting {
		return a.l.quit
	}
	return nil
}

func (a *asking) limit(spared bool) time.Duration {
	if spared {
		return a.l.o.StallAfter
	}
	return haltPatience * a.l.o.StallAfter
}

// spares reports whether the log can do without all that have not answered or have failed, and somebody has taken the step.
func (a *asking) spares() bool {
	ms := a.l.now()
	left := ms.current
	for _, m := range a.pending {
		left = left.Without(m.number)
	}
	return a.took != 0 && (left&^a.failed.set()).Len() >= ms.need()
}

// take takes a result. Of one that comes after it was said that the log halts, nobody knows what it wrote: the records have
// been copied to other memory since, and whose they were may have used that for something else.
func (a *asking) take(r result) {
	a.pending = slices.DeleteFunc(a.pending, func(m *member) bool { return m == r.m })
	switch {
	case r.err != nil:
		a.fail(r.m, failed(r.err))
	case a.late:
		a.fail(r.m, a.l.stalled(r.m, a.step, a.limit(false)))
	default:
		a.took = a.took.With(r.m.number)
	}
}

// abandon gives up on those that have not answered.
func (a *asking) abandon() {
	for _, m := range a.pending {
		a.fail(m, a.l.stalled(m, a.step, a.l.o.StallAfter))
	}
}

// need returns how many of the current members a change has to leave.
func (ms *membership) need() int { return min(ms.least(), ms.current.Len()) }

// leaveOut goes on without members that have failed. It returns when the others have taken note, or when those that cannot be
// spared work again; then what was under way is to be done again. The error says why the log cannot go on at all.
func (l *Log) leaveOut(f failures) error {
	for {
		ms := l.now()
		maps.DeleteFunc(f, func(m *member, _ failure) bool { return !ms.has(m) })
		if len(f) == 0 {
			break
		}
		next, err := l.without(ms, f)
		if errors.Is(err, roster.ErrTooFew) {
			if err := l.await(f); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		if more := l.adopt(next, ms.members, f); len(more) > 0 {
			maps.Copy(f, more)
		}
	}
	ms := l.now()
	l.writers = slices.DeleteFunc(l.writers, func(m *member) bool { return !ms.has(m) })
	return nil
}

// without returns the roster in which members that have failed are behind. The error is roster.ErrTooFew if they cannot be
// spared, or all have failed that have the open segment.
func (l *Log) without(ms *membership, f failures) (roster.Roster, error) {
	next := ms.roster.Clone()
	for m, why := range f {
		row := next.Row(m.number + 1)
		row.State, row.Reason = roster.Behind, why.reason
	}
	if l.tail != 0 && l.writing()&^f.set() == 0 {
		return next, roster.ErrTooFew
	}
	return next, l.follow(ms, &next)
}

// follow makes next the roster after the present one, which it was made from.
func (l *Log) follow(ms *membership, next *roster.Roster) error {
	_, through := l.index.end()
	next.Through = max(next.Through, uint64(through))
	return ms.roster.Follow(next, l.o.Clock.Now().UnixNano())
}

// adopt has next written by all members that are current or joining in it, members by index, and makes it the membership.
// It returns those that have failed: then it is not, unless they failed in what only says that it is. why is what is told of
// members that are left out.
func (l *Log) adopt(next roster.Roster, members []*member, why failures) failures {
	next.Epoch = max(next.Epoch, l.tried+1)
	l.tried = next.Epoch
	ms := &membership{roster: next.Settle(), members: members, current: next.Current(), joining: next.In(roster.Joining)}
	var to []*member
	for _, m := range ms.each(ms.written()) {
		to = append(to, m)
	}
	if f := l.ask(to, step{op: opRoster, roster: &next}); len(f) > 0 {
		return f
	}
	l.install(ms, why)
	settled := ms.roster.Clone()
	for m, f := range l.ask(to, step{op: opRoster, roster: &settled}) {
		l.memberFailed(m, f.reason, f.err)
	}
	return nil
}

// install makes ms the membership.
func (l *Log) install(ms *membership, why failures) {
	old := l.now()
	l.membership.Store(ms)
	for _, m := range old.each(old.written()) {
		if !ms.has(m) {
			m.left.Store(true)
		}
	}
	l.seats.follow(old, ms, why)
	for i := range max(len(old.members), len(ms.members)) {
		l.tellState(old, ms, i, why)
	}
	l.mu.Lock()
	//lint:ignore SA2001 whoever has looked under the lock and seen the old one waits by now
	l.mu.Unlock()
	l.durable.Broadcast()
	l.wakeCustodian()
}

// tellState tells that member i has become something else, if it has.
func (l *Log) tellState(old, ms *membership, i int, why failures) {
	from, to := old.state(i), ms.state(i)
	if from == to || l.o.Events.MemberState == nil {
		return
	}
	c := MemberChange{Number: i, From: from, To: to}
	if row := ms.roster.Row(i + 1); row != nil {
		c.Reason = row.Reason.String()
	}
	if m := old.member(i); m != nil {
		c.Dir, c.Err = m.dir, why[m].err
	}
	if m := ms.member(i); m != nil {
		c.Dir = m.dir
	}
	l.o.Events.MemberState(c)
}

// state returns what member i is, as far as the membership tells.
func (ms *membership) state(i int) State {
	switch {
	case ms.current.Has(i):
		return Current
	case ms.joining.Has(i):
		return Joining
	case ms.roster.Row(i+1) != nil:
		return Behind
	}
	return Absent
}

// await halts the log until one of the members that have failed works again, and takes it out of f. The error says that the
// log is being closed.
func (l *Log) await(f failures) error {
	l.halt(f.err())
	t := l.o.Clock.NewTimer(haltRetry)
	defer t.Stop()
	for {
		select {
		case <-t.C():
			t.Reset(haltRetry)
		case <-l.quit:
			return l.Available()
		}
		l.refuseChanges()
		l.moreSuspects(f)
		var idle []*member
		for m := range f {
			if !m.working.Load() {
				idle = append(idle, m)
			}
		}
		if back := l.tryAgain(idle); len(back) > 0 {
			for _, m := range back {
				delete(f, m)
			}
			return nil
		}
	}
}

// tryAgain returns the members that work again, as far as opening the open segment and writing a small file tells.
func (l *Log) tryAgain(members []*member) (back []*member) {
	bad := l.ask(members, step{op: opReopen, segment: l.tail})
	members = slices.DeleteFunc(members, func(m *member) bool { _, failed := bad[m]; return failed })
	r := l.now().roster.Clone()
	bad = l.ask(members, step{op: opRoster, roster: &r})
	for _, m := range members {
		if _, failed := bad[m]; !failed {
			m.failed.Store(nil)
			back = append(back, m)
		}
	}
	return back
}

// refuseChanges lets nobody wait for a change while the log halts.
func (l *Log) refuseChanges() {
	l.mu.Lock()
	changes, why := l.mu.changes, l.mu.unavailable
	l.mu.changes = nil
	l.mu.Unlock()
	for _, c := range changes {
		c.done <- why
	}
}

// moreSuspects adds what has been found out about members meanwhile.
func (l *Log) moreSuspects(f failures) {
	l.mu.Lock()
	more := l.mu.suspects
	l.mu.suspects = nil
	l.mu.Unlock()
	ms := l.now()
	for m, why := range more {
		if _, known := f[m]; !known && ms.has(m) {
			f[m] = why
		}
	}
}

// halt says that too few members can be written, unless it has. The bytes of all records that are not durable are copied:
// whose they are need not wait.
func (l *Log) halt(why error) {
	l.mu.Lock()
	l.mu.halting = true
	if l.mu.unavailable != nil {
		l.mu.Unlock()
		return
	}
	err := &UnavailableError{Reason: why.Error(), Since: l.o.Clock.Now()}
	for _, r := range l.batch {
		r.keep()
	}
	for _, r := range l.mu.queue[l.mu.head:] {
		r.keep()
	}
	l.mu.unavailable = err
	l.mu.Unlock()
	l.durable.Broadcast()
	l.space.Broadcast()
	if l.o.Events.Halted != nil {
		l.o.Events.Halted(err)
	}
}

// keep makes the bytes of Data the record's own.
func (r *Record) keep() {
	if len(r.Data) == 0 {
		return
	}
	r.Data = [][]byte{slices.Concat(r.Data...)}
}

// resume says that members can be written again, if it was said that too few can.
func (l *Log) resume() {
	short := l.short(l.now())
	l.mu.Lock()
	l.mu.halting = false
	if short != nil && l.mu.unavailable != nil {
		l.mu.Unlock()
		return
	}
	was := l.mu.unavailable
	l.mu.unavailable = nil
	l.mu.Unlock()
	if was != nil && l.o.Events.Resumed != nil {
		l.o.Events.Resumed()
	}
}
