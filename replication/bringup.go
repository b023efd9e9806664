package replication

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"sync"

	"pagevault/replication/roster"
	"pagevault/replication/segment"
)

// Bringing up: a member that is behind, because it failed, was absent or was put in the place of another one, gets what it
// lacks while the log goes on, and then counts again.
//
//  1. What it holds of segments that are no more, and what nobody had acknowledged, is removed.
//  2. Its copies of sealed segments are compared with those of others as far as headers and footers tell, or record by record
//     if a sync had failed or damage was found; what it lacks is written. Its shards are read and checked.
//  3. It gets the manifest and joins: the open segment is sealed, and the next one is written by it, too.
//  4. It gets the segments that were sealed meanwhile, and the files of the checkpoint, if it is to keep them.
//  5. It is current.
//
// Whatever ends this, a failure or a crash, leaves a member that is behind, and files that are whole under their names: the next
// attempt goes on with those. It takes no more of the disks than custodian.pace allows.

// bringUp looks at the directory of a member that is not written and brings it up if it is the member. nil is also returned if
// there is nothing to do but to wait.
func (l *Log) bringUp(ctx context.Context, i int) error {
	t := l.seats.get(i)
	if t.home.Dir == "" || !l.letGo(i, &t) {
		return nil
	}
	m, err := l.comeBack(i, t.home)
	if m == nil || err != nil {
		return err
	}
	b := bringing{l: l, ctx: ctx, m: m, row: *l.now().roster.Row(i + 1)}
	l.seats.set(i, func(s *seat) { s.up, s.state, s.err = m, Behind, nil })
	err = b.run()
	if err != nil && !b.joined {
		l.seats.set(i, func(s *seat) { s.up, s.out, s.err = nil, m, err })
		t := l.seats.get(i)
		l.letGo(i, &t) // or when nothing hangs any more
	}
	return err
}

// letGo closes what is open of an incarnation that was left out. It reports whether nothing is any more: what hangs in its disk
// may still change it when that answers.
func (l *Log) letGo(i int, t *seat) bool {
	if t.out == nil {
		return true
	}
	if !t.out.idle() || !t.out.stop() {
		return false
	}
	if err := t.out.release(); errors.Is(err, errStuck) {
		return false
	} // else what it wrote does not count
	l.seats.set(i, func(s *seat) {
		if s.out == t.out {
			s.out = nil
		}
	})
	return true
}

// comeBack looks who is in the directory of member i, and opens it if it is the member; nil otherwise, and then the seat says
// what it is.
func (l *Log) comeBack(i int, home Member) (*member, error) {
	m := l.newMember(home, i)
	say := func(state State, reason string, err error) (*member, error) {
		l.seats.set(i, func(s *seat) {
			if s.state != state || s.reason != reason {
				*s = seat{home: s.home, state: state, reason: reason, since: l.o.Clock.Now()}
				defer l.kick(i, state, reason, err)
			}
			s.err = err
		})
		return nil, nil
	}
	if _, err := m.fs.Stat(m.dir); errors.Is(err, fs.ErrNotExist) {
		return say(Absent, "its directory is not there", nil)
	}
	f, err := m.look()
	r := l.now().roster
	row := r.Row(i + 1)
	switch {
	case err != nil:
		return say(Absent, "its directory cannot be used", err)
	case row == nil && f.who != nil && segment.StoreID(f.who.Roster.Store) == l.store:
		return say(Absent, reasonFormer, nil)
	case row == nil:
		return say(Absent, "it is no member yet", nil)
	case f.unnamed != nil:
		return say(Absent, f.unnamed.Error(), nil)
	case f.who == nil && f.holds():
		return say(Absent, fmt.Sprintf("its directory has no %s file", segment.IdentityName), nil)
	case f.who == nil:
		return say(Absent, "its directory is empty", nil)
	case segment.StoreID(f.who.Roster.Store) != l.store:
		return say(Absent, "its directory belongs to another log", nil)
	case r.Foreign(&f.who.Roster):
		return say(Foreign, "its directory has another history of the log", nil)
	case int(f.who.Number) != i+1:
		return say(Absent, fmt.Sprintf("its directory is that of member %d", f.who.Number), nil)
	case f.who.ID() != row.ID:
		return say(Absent, reasonFormer, nil)
	}
	if err := m.acquire(); err != nil {
		return say(Absent, "its directory cannot be used", errors.Join(err, m.release()))
	}
	m.id = row.ID
	l.seats.set(i, func(s *seat) {
		if s.state != Behind {
			s.state, s.reason, s.since = Behind, row.Reason.String(), l.o.Clock.Now()
			l.kick(i, Behind, s.reason, nil)
		}
	})
	return m, nil
}

// kick tells that a member which is not written has become something else.
func (l *Log) kick(i int, to State, reason string, err error) {
	if tell := l.o.Events.MemberState; tell != nil {
		go tell(MemberChange{Number: i, From: Absent, To: to, Reason: reason, Err: err})
	}
}

// bringing is the work of bringing up one member.
type bringing struct {
	l        *Log
	ctx      context.Context
	m        *member
	row      roster.Row
	joined   bool
	seen     map[SegmentID]bool // segments that were looked at
	unsealed map[SegmentID]bool // segments that are sealed, of which the unsealed file stays for the time being
	doubtful map[SegmentID]bool // segments to be healed when the member counts, since what it has of them is not as it should be
}

// full reports whether all that the member holds has to be read before it can be believed.
func (b *bringing) full() bool {
	return b.row.Reason == roster.ReasonSync || b.row.Reason == roster.ReasonDamaged
}

func (b *bringing) run() error {
	b.seen = map[SegmentID]bool{}
	f, err := b.m.look()
	if err != nil {
		return err
	}
	b.doubtful = map[SegmentID]bool{}
	b.keepUnsealed(&f)
	if err := b.clean(&f); err != nil {
		return err
	}
	b.l.index.forgetMember(b.m.number)
	b.measure(&f)
	if err := b.segments(&f); err != nil {
		return err
	}
	doubtful, err := b.l.adoptShards(b.ctx, b.m, b.l.custodian.pace)
	if err != nil {
		return err
	}
	for _, id := range doubtful {
		b.doubtful[id] = true
	}
	if b.full() {
		if err := b.m.wipeFiles(); err != nil {
			return err
		}
	}
	if err := b.files(b.l.custodian.pace); err != nil && !errors.Is(err, errNotNow) {
		return err
	}
	if err := b.join(); err != nil {
		return err
	}
	err = b.finish()
	if failure := (*MemberError)(nil); errors.As(err, &failure) && failure.Dir == b.m.dir {
		b.l.memberFailed(b.m, failureReason(err), err)
	} else if err != nil {
		b.l.memberFailed(b.m, roster.ReasonAbsent, err) // begin anew
	}
	return err
}

// keepUnsealed notes the unsealed files of segments that others have sealed, but not as often as they should, or not without
// damage: there each form counts. The member was left out, or crashed, while it wrote them. One with another header is of a
// segment that was given up, and whose number was taken again.
func (b *bringing) keepUnsealed(f *found) {
	b.unsealed = map[SegmentID]bool{}
	for id, n := range f.segments {
		s, ok, _ := b.l.index.get(id)
		if n.open && ok && s.sealed && !b.l.enough(&s) && b.sameHeader(&s) {
			b.unsealed[id], b.doubtful[id] = true, true
		}
	}
}

// sameHeader reports whether the member's unsealed file of a segment begins as the copies that others have.
func (b *bringing) sameHeader(s *indexed) bool {
	file, err := b.m.fs.Open(b.m.path(segment.Name(s.id, false)))
	if err != nil {
		return false
	}
	defer file.Close() // it was only read
	here, err := segment.NewReader(file, s.length, b.l.store, s.id).Header()
	if err != nil {
		return false
	}
	there, err := segment.NewReader(&anySource{log: b.l, s: *s}, s.length, b.l.store, s.id).Header()
	return err != nil || here == there
}

// clean removes from the member what the log does not have, or has in another way: unsealed segments but those that keepUnsealed
// has noted, dropped ones and those that were never acknowledged, temporary files.
func (b *bringing) clean(f *found) error {
	remove := func(name string) error {
		if err := b.m.fs.Remove(b.m.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return &MemberError{Dir: b.m.dir, Op: "remove " + name, Err: err}
		}
		return nil
	}
	for _, id := range slices.Sorted(maps.Keys(f.segments)) {
		n := f.segments[id]
		if n.open && !(b.unsealed[id] && b.l.index.holds(id)) {
			if err := remove(segment.Name(id, false)); err != nil {
				return err
			}
		}
		if n.sealed && !b.l.index.holds(id) {
			if err := remove(segment.Name(id, true)); err != nil {
				return err
			}
		}
	}
	for _, name := range f.temps {
		if _, ours := tempOf(name); ours || name == segment.IdentityName+segment.TempSuffix || name == segment.ManifestName+segment.TempSuffix {
			if err := remove(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// measure notes how much the member should hold.
func (b *bringing) measure(f *found) {
	want := int64(0)
	for _, s := range b.l.index.all() {
		if s.sealed && (b.wants(&s) || f.segments[s.id].sealed) {
			want += s.length
		}
	}
	b.m.want.Store(want)
	b.m.have.Store(0)
}

// wants reports whether the member should have a copy of a segment.
func (b *bringing) wants(s *indexed) bool { return s.shards == nil && b.l.everywhere() }

// segments gives the member what it should have of the segments that are sealed now.
func (b *bringing) segments(f *found) error {
	for _, s := range b.l.index.all() {
		if !s.sealed || b.seen[s.id] {
			continue
		}
		if err := b.segment(&s, f != nil && f.segments[s.id].sealed); err != nil {
			return err
		}
		b.seen[s.id] = true
	}
	return nil
}

// segment looks at the member's copy of one segment, if it has one, and writes it if it should have one and the copy is not
// sound. A copy that is not wanted stays where it is sound: it may be the only one.
func (b *bringing) segment(s *indexed, has bool) error {
	wants := b.wants(s)
	if !has && !wants {
		return nil
	}
	defer b.m.have.Add(s.length)
	if has {
		if done, err := b.adopt(s.id, wants); done || err != nil {
			return err
		}
	}
	err := b.l.rewriteCopy(b.ctx, s.id, b.m, b.l.custodian.pace)
	switch {
	case errors.Is(err, ErrDropped):
		return nil
	case errors.Is(err, ErrCorrupt): // it has what can be had
		b.l.Heal(s.id)
		return nil
	}
	return err
}

// adopt looks at the member's copy of a segment and has it counted on if it is sound. done is false if it is to be written anew.
func (b *bringing) adopt(id SegmentID, wants bool) (done bool, err error) {
	release, err := b.l.claim(b.ctx, id) // so that nobody takes it for a stray
	if err != nil {
		return false, err
	}
	defer release()
	s, ok, _ := b.l.index.get(id)
	if !ok {
		return true, nil
	}
	flaw := b.sound(&s)
	switch {
	case b.ctx.Err() != nil:
		return false, b.ctx.Err()
	case flaw == nil:
		b.l.index.setHolder(id, b.m.number, true)
		return true, nil
	case wants:
		return false, nil
	}
	return true, b.discard(&s, flaw)
}

// seize keeps the custodian from a member, ends what it does about it, and waits for that; free lets it go on.
func (c *custodian) seize(ctx context.Context, i int) (free func(), err error) {
	for {
		c.mu.Lock()
		t := c.tendedLocked(i)
		if t.bringing == nil {
			mine := make(chan struct{})
			t.bringing, t.stop = mine, func() {}
			c.mu.Unlock()
			return sync.OnceFunc(func() {
				c.mu.Lock()
				t.bringing, t.rest = nil, backoff{}
				c.mu.Unlock()
				close(mine)
				c.l.wakeCustodian()
			}), nil
		}
		busy, stop := t.bringing, t.stop
		c.mu.Unlock()
		stop()
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-c.ctx.Done():
			return nil, ErrClosed
		}
	}
}

// startBringUp brings a member up that is not written, unless that is under way or was tried a moment ago.
func (c *custodian) startBringUp(i int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.tendedLocked(i)
	if t.bringing != nil || c.l.o.Clock.Now().Before(t.rest.until) || c.ctx.Err() != nil {
		return
	}
	ctx, stop := context.WithCancel(c.ctx)
	done := make(chan struct{})
	t.bringing, t.stop = done, stop
	c.running.Go(func() {
		err := c.l.bringUp(ctx, i)
		stop()
		c.mu.Lock()
		if t.bringing = nil; err != nil {
			t.rest.failed(c.l.o.Clock.Now())
		} else {
			t.rest = backoff{}
		}
		c.mu.Unlock()
		close(done)
	})
}
