package replication

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"

	"pagevault/internal/invariant"
	"pagevault/replication/roster"
	"pagevault/replication/segment"
)

// firstEpoch is that of the roster of a new log.
const firstEpoch = 1 << 12

// form gives an identity to the directories of a new log, or to those that a crash has left without.
func (l *Log) form(done *Recovery) error {
	var r roster.Roster
	for i := range l.given {
		if w := l.given[i].who; w != nil {
			r = w.Roster
		}
	}
	if done.Created = len(r.Rows) == 0; done.Created {
		var err error
		if r, err = l.newRoster(); err != nil {
			return err
		}
	}
	numbers := l.numbers(&r)
	for i := range l.given {
		g := &l.given[i]
		if g.who != nil {
			continue
		}
		// Two paths may lead to one directory. Then the identity of the earlier member has appeared here.
		switch now, err := g.m.look(); {
		case err != nil:
			return err
		case now.who != nil:
			return fmt.Errorf("%w: %s is the same directory as %s: every member needs one of its own",
				ErrMembers, g.m.dir, l.dirOf(int(now.who.Number)))
		}
		g.m.number = numbers[i]
		if err := g.m.writeRoster(&r); err != nil {
			return err
		}
		g.who = &segment.Member{Number: uint32(g.m.number + 1), Roster: r}
	}
	return nil
}

// dirOf returns the directory that is a member, counted from 1.
func (l *Log) dirOf(number int) string {
	for i := range l.given {
		if w := l.given[i].who; w != nil && int(w.Number) == number {
			return l.given[i].m.dir
		}
	}
	return "another one"
}

func (l *Log) newRoster() (roster.Roster, error) {
	var random [16]byte
	next := func() [16]byte {
		rand.Read(random[:]) // never fails
		return random
	}
	store, history := next(), next()
	ids := make([]roster.ID, len(l.given))
	for i := range ids {
		ids[i] = next()
	}
	least := cmp.Or(l.o.MinReplicas, min(2, len(ids)))
	r, err := roster.New(store, history, ids, least, l.o.Clock.Now().UnixNano())
	if err != nil {
		return r, err
	}
	if r.Least > len(ids) {
		return r, fmt.Errorf("%w: %d current members are asked for, and there are %d", ErrMembers, r.Least, len(ids))
	}
	r.K, r.M = l.o.Redundancy.K, l.o.Redundancy.M
	return r, r.Check()
}

// decide says from which roster the log goes on and what the directories are to it. next is the roster to be written first,
// if it was made by force.
func (l *Log) decide() (v *roster.Verdict, next *roster.Roster, err error) {
	var seen []roster.Seen
	var of []int
	for i := range l.given {
		g := &l.given[i]
		if g.who == nil || g.err != nil {
			continue
		}
		seen = append(seen, roster.Seen{Dir: g.m.dir, Number: int(g.who.Number), ID: g.who.ID(), Roster: g.who.Roster, Promise: g.who.Promise})
		of = append(of, i)
	}
	v, err = roster.Decide(seen)
	short := errors.Is(err, roster.ErrMinority) || errors.Is(err, roster.ErrHistories) || err == nil && !v.Writable(v.Roster.Least)
	if l.o.ForceMinority && short {
		var history roster.History
		rand.Read(history[:])
		var forced roster.Roster
		v, forced, err = roster.Force(seen, history, 1, l.o.Clock.Now().UnixNano()) // see wanted
		next = &forced
	}
	if err != nil {
		return nil, nil, withReasons(fmt.Errorf("%w: %w", ErrMembers, err), l.unusable())
	}
	for k, i := range of {
		l.given[i].stands = v.Stands[k]
	}
	return v, next, nil
}

// unusable returns why directories that were given cannot be used.
func (l *Log) unusable() (errs []error) {
	for i := range l.given {
		errs = append(errs, cmp.Or(l.given[i].err, l.given[i].named()))
	}
	return errs
}

// numbers returns, for every directory given, the place of the member that it is or might be, from 0.
func (l *Log) numbers(r *roster.Roster) []int {
	out := make([]int, len(l.given))
	var taken Set
	for i := range l.given {
		g := &l.given[i]
		out[i] = -1
		if g.who != nil && (g.stands == 0 || g.stands != roster.IsFormer && g.stands != roster.IsForeign) {
			out[i] = int(g.who.Number) - 1
			taken = taken.With(out[i])
		}
	}
	place := func(i, at int) bool {
		if out[i] >= 0 || at < 0 || at >= membersMax || taken.Has(at) {
			return false
		}
		out[i], taken = at, taken.With(at)
		return true
	}
	// Others where they were given, if that place is free and a member's; then wherever a member has none; then behind all.
	for i := range out {
		if w := l.given[i].who; w != nil && r.Row(int(w.Number)) != nil {
			place(i, int(w.Number)-1)
		}
	}
	for i := range out {
		if len(r.Rows) == 0 || r.Row(i+1) != nil {
			place(i, i)
		}
	}
	for i := range out {
		for _, row := range r.Rows {
			if place(i, row.Number-1) {
				break
			}
		}
		for at := 0; out[i] < 0 && at < membersMax; at++ {
			if r.Row(at+1) == nil {
				place(i, at)
			}
		}
	}
	return out
}

// seat makes the roster that the log goes on from the membership, with the directories that are current in it, and notes what
// the others are.
func (l *Log) seat(v *roster.Verdict) {
	r := v.Roster.Settle()
	ms := &membership{roster: r, current: v.Present}
	numbers := l.numbers(&r)
	for i := range l.given {
		g, at := &l.given[i], numbers[i]
		if at < 0 {
			continue
		}
		g.m.number = at
		for len(ms.members) <= at {
			ms.members = append(ms.members, nil)
		}
		t := seat{home: Member{g.m.raw, g.m.dir}, since: l.o.Clock.Now(), err: g.err}
		switch {
		case g.stands == roster.IsCurrent:
			g.m.id = g.who.ID()
			ms.members[at] = g.m
			l.present = append(l.present, g.m)
			l.held = append(l.held, g.found)
		case g.err != nil:
			t.state, t.reason = Absent, "its directory cannot be used"
		case g.stands == 0:
			t.state, t.reason = Absent, g.strangeness(&r, at)
		case g.stands == roster.IsForeign:
			t.state, t.reason = Foreign, "its directory has another history of the log"
		case g.stands == roster.IsFormer:
			t.state, t.reason = Absent, reasonFormer
		default:
			t.state, t.reason = Behind, "out of date"
		}
		if g.stands != roster.IsCurrent {
			_ = g.m.release() // whoever brings it up opens it again
		}
		l.seats.set(at, func(s *seat) { *s = t })
	}
	for i := range r.Rows {
		l.seats.set(r.Rows[i].Number-1, func(*seat) {})
	}
	l.store = r.Store
	l.membership.Store(ms)
}

// reasonFormer is what is said of a directory whose member was retired, or has another one.
const reasonFormer = "its directory was a member's once, and is none any more"

// strangeness says what a directory without an identity is.
func (g *given) strangeness(r *roster.Roster, at int) string {
	switch {
	case g.unnamed != nil:
		return g.unnamed.Error()
	case g.holds():
		return fmt.Sprintf("its directory has no %s file", segment.IdentityName)
	case r.Row(at+1) == nil:
		return "it is no member yet"
	}
	return "its directory is empty"
}

// begin writes the roster that the log goes on with, where that is another one than the present members have. It comes before
// any repair: what a member that is missing now has must not be taken for a copy by a start that finds it.
func (l *Log) begin(v *roster.Verdict, next *roster.Roster, manifest *segment.Manifest) error {
	ms, proven := l.now(), l.proven(manifest)
	promised := uint64(0)
	if next != nil {
		next.Through, promised = uint64(proven), v.Top
	} else {
		if next = l.nextRoster(v, proven); next == nil {
			l.tried = max(v.Top, v.Roster.Epoch)
			return nil
		}
		if err := l.promise(v, next.Epoch); err != nil {
			return err
		}
	}
	l.tried = next.Epoch
	invariant.Check(next.Current() == ms.current, "members %b are present, and %b current", ms.current, next.Current())
	for _, m := range l.present {
		if err := m.writePromised(next, promised); err != nil {
			return err
		}
	}
	settled := next.Settle()
	for _, m := range l.present {
		if err := m.writeRoster(&settled); err != nil {
			return err
		}
	}
	l.membership.Store(&membership{roster: next.Settle(), members: ms.members, current: ms.current})
	return nil
}

// nextRoster returns the roster with which the log goes on, nil if that is what all members have.
func (l *Log) nextRoster(v *roster.Verdict, through LSN) *roster.Roster {
	least, r := v.Roster.Least, &v.Roster
	if want := l.o.MinReplicas; want > 0 && v.Writable(roster.LeastFor(len(r.Rows), want)) {
		least = roster.LeastFor(len(r.Rows), want)
	}
	k, m := r.K, r.M
	if !l.o.KeepRedundancy {
		k, m = l.o.Redundancy.K, l.o.Redundancy.M
	}
	older := false
	for i := range l.given {
		older = older || l.given[i].who != nil && l.given[i].older
	}
	if !v.Fresh && !older && r.Settled() && least == r.Least && k == r.K && m == r.M {
		return nil
	}
	next, err := v.Start(least, uint64(through), l.o.Clock.Now().UnixNano())
	if err != nil {
		return nil // who cannot be written is not; the log halts
	}
	next.K, next.M = k, m
	return &next
}

// promise has the present members say that an epoch may have been written by a start, before any is.
func (l *Log) promise(v *roster.Verdict, epoch uint64) error {
	for i := range l.given {
		g := &l.given[i]
		if g.stands != roster.IsCurrent {
			continue
		}
		file := *g.who
		file.Promise = epoch
		if g.older {
			file.Roster = v.Roster
		}
		if err := g.m.placeIdentity(file.Append(nil)); err != nil {
			return err
		}
	}
	return nil
}

// openHalted opens a log of which so few members are there that no other roster can be written, for reading only: a member
// that comes back might have gone on without these.
func (l *Log) openHalted(v *roster.Verdict) error {
	why := fmt.Errorf("of the %d members that were current last %d are present, and %d are needed: mount the disks of the others and start again, "+
		"or, if they are gone for good, with --force-minority",
		v.Roster.Current().Len(), v.Present.Len(), v.Roster.Least)
	l.mu.failed = &UnavailableError{Since: l.o.Clock.Now(), Reason: withReasons(why, l.unusable()).Error()}
	close(l.stopped)
	return l.survey(LSN(v.Roster.Through))
}
