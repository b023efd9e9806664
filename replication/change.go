package replication

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"pagevault/replication/roster"
	"pagevault/replication/segment"
)

// change is something that the commit loop is to do to the membership.
type change struct {
	// edit returns the roster that comes after that of ms, made with follow, and the members by index.
	edit func(ms *membership) (next roster.Roster, members []*member, err error)
	seal bool       // the open segment is sealed first, so that who joins lacks only sealed ones
	done chan error // one value
}

// change has the commit loop change the membership and waits until it has. A change that was not made has done no harm: it can
// be tried again.
func (l *Log) change(seal bool, edit func(ms *membership) (roster.Roster, []*member, error)) error {
	c := &change{edit: edit, seal: seal, done: make(chan error, 1)}
	l.mu.Lock()
	switch {
	case l.mu.failed != nil:
		l.mu.Unlock()
		return l.Failed()
	case l.mu.closing || l.mu.ended:
		l.mu.Unlock()
		return ErrClosed
	}
	l.mu.changes = append(l.mu.changes, c)
	l.work.Signal()
	l.mu.Unlock()
	return <-c.done
}

// carryOut makes a change. The error says why the log cannot go on; who has asked is told what concerns them.
func (l *Log) carryOut(c *change) error {
	if c.seal {
		if err := l.seal(); err != nil {
			c.done <- err
			return err
		}
	}
	ms := l.now()
	next, members, err := c.edit(ms)
	if err != nil {
		c.done <- err
		return nil
	}
	f := l.adopt(next, members, nil)
	if len(f) == 0 {
		now := l.now()
		l.writers = slices.DeleteFunc(l.writers, func(m *member) bool { return !now.has(m) })
		l.resume()
		c.done <- nil
		return nil
	}
	c.done <- f.err()
	if err := l.leaveOut(f); err != nil {
		return err
	}
	l.resume() // where nothing is under way, whoever works again has shown it
	return l.seal()
}

// edited is change for an edit that leaves the members who they are.
func (l *Log) edited(seal bool, edit func(r *roster.Roster) error) error {
	return l.change(seal, func(ms *membership) (roster.Roster, []*member, error) {
		next := ms.roster.Clone()
		if err := edit(&next); err != nil {
			return next, nil, err
		}
		return next, ms.members, l.follow(ms, &next)
	})
}

// join has a member that is behind written from the next segment on. The caller holds keeper.writing, and the member has the
// manifest.
func (l *Log) join(m *member) error {
	return l.change(true, func(ms *membership) (roster.Roster, []*member, error) {
		next, members := ms.roster.Clone(), slices.Clone(ms.members)
		row := next.Row(m.number + 1)
		if row == nil || row.ID != m.id || row.State != roster.Behind {
			return next, nil, errors.New("another directory has the member's place by now")
		}
		row.State = roster.Joining
		members[m.number] = m
		return next, members, l.follow(ms, &next)
	})
}

// admit has a member that is joining count.
func (l *Log) admit(m *member) error {
	return l.change(false, func(ms *membership) (roster.Roster, []*member, error) {
		next := ms.roster.Clone()
		if !ms.joining.Has(m.number) || ms.member(m.number) != m {
			return next, nil, fmt.Errorf("member %s: %w", m.dir, errLeft)
		}
		row := next.Row(m.number + 1)
		row.State, row.Reason = roster.Current, roster.ReasonNone
		return next, ms.members, l.follow(ms, &next)
	})
}

// SetRedundancy has sealed segments kept in another way from now on. It returns when the members know; those that there are
// are converted in the background.
func (l *Log) SetRedundancy(_ context.Context, r Redundancy) error {
	if n := len(l.now().roster.Rows); r.K+r.M > n {
		return fmt.Errorf("redundancy %v takes %d members, and there are %d", r, r.K+r.M, n)
	}
	err := l.edited(false, func(next *roster.Roster) error {
		next.K, next.M = r.K, r.M
		return nil
	})
	l.arranger.forget()
	l.wakeCustodian()
	return err
}

// settleRules has writing need as many members as the owner asks for, where a start could not write that down because too few
// were there; and as many as a log of so many members needs, where there were fewer of them, when the new ones are current.
func (l *Log) settleRules(ms *membership) {
	want := l.wanted(ms)
	if n := len(ms.roster.Rows); ms.current.Len() == n {
		want = roster.LeastFor(n, want)
	}
	if want <= ms.roster.Least || ms.current.Len() < want {
		return
	}
	_ = l.edited(false, func(next *roster.Roster) error { // or at the next look
		next.Least = want
		return nil
	})
}

// Replace puts a directory in the place of a member, counted from 0, or makes it a member where there was none. The directory
// must be empty or not be there; with wipe what is in it of this log goes. It may be the one that the member had. Replace
// returns when the directory belongs to the log; it is brought up in the background then.
func (l *Log) Replace(ctx context.Context, number int, home Member, wipe bool) error {
	c := l.custodian
	c.changing.Lock()
	defer c.changing.Unlock()
	m := l.newMember(home, number)
	if err := l.replaceable(number, m, wipe); err != nil {
		return err
	}
	free, err := c.seize(ctx, number)
	if err != nil {
		return err
	}
	defer free()
	if err := l.vacate(number, m.dir); err != nil {
		return err
	}
	if err := m.acquire(); err != nil {
		return errors.Join(err, m.release())
	}
	defer m.release() // whoever brings it up opens it again
	if wipe {
		if err := m.wipe(); err != nil {
			return err
		}
	}
	rand.Read(m.id[:]) // never fails
	if err := l.change(false, func(ms *membership) (roster.Roster, []*member, error) { return l.seatNew(ms, m) }); err != nil {
		return err
	}
	l.index.forgetMember(number)
	r := l.now().roster.Clone()
	if err := m.writeRoster(&r); err != nil {
		return err
	}
	l.seats.set(number, func(s *seat) {
		*s = seat{home: Member{m.fs, m.dir}, state: Behind, reason: roster.ReasonNew.String(), since: l.o.Clock.Now()}
	})
	l.kick(number, Behind, roster.ReasonNew.String(), nil)
	return nil
}

// replaceable returns why a directory must not be put in the place of a member.
func (l *Log) replaceable(number int, m *member, wipe bool) error {
	if err := l.changeable(); err != nil {
		return err
	}
	ms, highest := l.now(), 0
	for i := range ms.roster.Rows {
		highest = max(highest, ms.roster.Rows[i].Number)
	}
	if number < 0 || number > highest || number >= membersMax {
		return fmt.Errorf("%w: there is no member %d, and the next new one is member %d", ErrMembers, number+1, highest+1)
	}
	for i, other := range ms.all() {
		if i != number && other.dir == m.dir && ms.has(other) {
			return fmt.Errorf("%w: %s is the directory of member %d", ErrMembers, m.dir, i+1)
		}
	}
	f, err := m.look()
	if err != nil {
		return err
	}
	if f.who != nil && segment.StoreID(f.who.Roster.Store) != l.store || f.who == nil && f.holds() && f.store != l.store && f.store != (segment.StoreID{}) {
		return fmt.Errorf("%w: %s belongs to another log", ErrMembers, m.dir)
	}
	if f.who != nil {
		row, other := ms.roster.Row(int(f.who.Number)), ms.member(int(f.who.Number)-1)
		if int(f.who.Number) != number+1 && row != nil && row.ID == f.who.ID() && other != nil && ms.has(other) {
			return fmt.Errorf("%w: %s is member %d, which works", ErrMembers, m.dir, f.who.Number)
		}
	}
	if !wipe && (f.who != nil || f.unnamed != nil || f.holds()) {
		return fmt.Errorf("%w: %s is not empty: it was a member's; what is in it has to be given up to fill it anew", ErrMembers, m.dir)
	}
	return nil
}

// vacate makes sure that nothing is open of the member that has a place, which is left out if it is written, and that nothing
// of it may change dir any more.
func (l *Log) vacate(number int, dir string) error {
	if m := l.now().member(number); m != nil && l.now().has(m) {
		err := l.edited(true, func(next *roster.Roster) error {
			row := next.Row(number + 1)
			row.State, row.Reason = roster.Behind, roster.ReasonAsked
			return nil
		})
		if errors.Is(err, roster.ErrTooFew) {
			return fmt.Errorf("member %d cannot be done without just now: %w", number+1, err)
		}
		if err != nil {
			return err
		}
		l.files.forgetMember(m)
	}
	t := l.seats.get(number)
	if l.letGo(number, &t) {
		return nil
	}
	if t.out.dir == dir {
		return fmt.Errorf("member %d still hangs in an operation of its disk: give another directory, or start again", number+1)
	}
	t.out.leaveToDisk()
	l.seats.set(number, func(s *seat) { s.out = nil })
	return nil
}

// seatNew returns the roster in which m has its place, behind.
func (l *Log) seatNew(ms *membership, m *member) (roster.Roster, []*member, error) {
	next, members := ms.roster.Clone(), slices.Clone(ms.members)
	row := roster.Row{Number: m.number + 1, State: roster.Behind, Reason: roster.ReasonNew, ID: m.id}
	at, there := slices.BinarySearchFunc(next.Rows, row.Number, func(r roster.Row, n int) int { return r.Number - n })
	if there {
		next.Rows[at] = row
	} else {
		next.Rows = slices.Insert(next.Rows, at, row)
		next.Copies = max(next.Copies, roster.CopiesFor(len(next.Rows)))
	}
	for len(members) <= m.number {
		members = append(members, nil)
	}
	members[m.number] = nil
	return next, members, l.follow(ms, &next)
}

// wipe removes from the member's directory what a log puts there. The lock stays.
func (m *member) wipe() error {
	list, err := m.fs.List(m.dir)
	if err != nil {
		return &MemberError{Dir: m.dir, Op: "list", Err: err}
	}
	if err := m.wipeFiles(); err != nil {
		return err
	}
	for _, name := range list {
		if !isOurs(name) {
			continue
		}
		if err := m.fs.Remove(m.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return &MemberError{Dir: m.dir, Op: "remove " + name, Err: err}
		}
	}
	return m.syncDir()
}

// isOurs reports whether a file of a member's directory, by its name, is one that a log makes.
func isOurs(name string) bool {
	base := strings.TrimSuffix(name, segment.TempSuffix)
	_, _, isSegment := segment.ParseName(base)
	_, _, isShard := segment.ParseShardName(base)
	_, isTemp := tempOf(name)
	return isSegment || isShard || isTemp || base == segment.IdentityName || base == segment.ManifestName || base == segment.ScrubName
}

// Retire takes a member, counted from 0, out of the log. Where the others are enough, what it alone holds is moved to them
// first, and Retire returns when that is done and the member is gone; it goes on being moved only as long as ctx lives.
func (l *Log) Retire(ctx context.Context, number int) error {
	c := l.custodian
	c.changing.Lock()
	defer c.changing.Unlock()
	ms := l.now()
	switch left := len(ms.roster.Rows) - 1; {
	case ms.roster.Row(number+1) == nil:
		return fmt.Errorf("%w: there is no member %d", ErrMembers, number+1)
	case left < ms.roster.K+ms.roster.M:
		return fmt.Errorf("%w: redundancy %v takes %d members, and %d would be left: change it first", ErrMembers, Redundancy{ms.roster.K, ms.roster.M}, ms.roster.K+ms.roster.M, left)
	case ms.current.Without(number).Len() < ms.need():
		return fmt.Errorf("%w: writing needs %d current members, and %d would be left", ErrMembers, ms.least(), ms.current.Without(number).Len())
	}
	c.setLeaving(number, true)
	defer c.setLeaving(number, false)
	if err := l.moveAway(ctx, number); err != nil {
		return err
	}
	free, err := c.seize(ctx, number)
	if err != nil {
		return err
	}
	defer free()
	if err := l.vacate(number, ""); err != nil {
		return err
	}
	err = l.change(true, func(ms *membership) (roster.Roster, []*member, error) {
		next, members := ms.roster.Clone(), slices.Clone(ms.members)
		next.Rows = slices.DeleteFunc(next.Rows, func(r roster.Row) bool { return r.Number == number+1 })
		n := len(next.Rows)
		next.Least = min(next.Least, roster.LeastFor(n, cmp.Or(l.o.MinReplicas, min(2, n))))
		if number < len(members) {
			members[number] = nil
		}
		return next, members, l.follow(ms, &next)
	})
	if err != nil {
		return err
	}
	l.index.forgetMember(number)
	l.seats.set(number, func(s *seat) { *s = seat{state: Absent} })
	return nil
}

// moveAway waits until what a member holds is on others, too, as many as should have it.
func (l *Log) moveAway(ctx context.Context, number int) error {
	if err := l.Rotate(); err != nil {
		return err
	}
	for {
		l.arranger.forget()
		l.wakeCustodian()
		if !l.needed(number) {
			return nil
		}
		if err := l.sleep(ctx, watchEvery); err != nil {
			return err
		}
		if err := l.writable(); err != nil {
			return err
		}
	}
}

// needed reports whether a segment lacks something when a member is gone that it does not lack otherwise.
func (l *Log) needed(number int) bool {
	ms := l.now()
	others := ms.written().Without(number)
	enough := min(ms.roster.Copies, others.Len())
	for _, s := range l.index.all() {
		if (s.holders & others).Len() >= enough {
			continue
		}
		if slices.Contains(s.shards, int8(number)) || s.shards == nil && s.holders.Has(number) {
			return true
		}
	}
	return false
}
