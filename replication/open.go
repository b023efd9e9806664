package replication

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/internal/invariant"
	"pagevault/replication/roster"
	"pagevault/replication/segment"
)

// Open opens the log that the members hold, or creates an empty one where all directories are empty. Who is who stands in
// the directories: their order counts only where a log is created, or a directory is empty.
//
// The log is started from the members that were current last, as far as they are there; see roster.Decide for how many may be
// missing. What a crash or a bad copy has left is repaired: see the file recover.go. Directories that are missing, empty,
// out of date or cannot be used are left out, and brought up in the background if they are members. Where so few are there
// that none can be written, the log is open for reading only, and Failed says why.
//
// Errors: ErrMembers for directories that do not make up one log, roster.ErrMinority and roster.ErrHistories where records
// might be lost, ErrInUse, ErrCorrupt.
func Open(members []Member, o Options) (*Log, error) {
	var unusable []error // by index in members: why one that could be looked at cannot be used
	for {
		l, err := newLog(members, o)
		if err != nil {
			return nil, err
		}
		err = l.open(unusable)
		if err == nil {
			return l, nil
		}
		err = errors.Join(err, l.release())
		// A member whose disk fails while the log is started is one that is missing.
		i := l.culprit(err)
		if i < 0 || len(members) == 1 || len(unusable) > 0 && unusable[i] != nil {
			return nil, withReasons(err, unusable)
		}
		if unusable == nil {
			unusable = make([]error, len(members))
		}
		unusable[i] = err
	}
}

// errNotMade says that a log could not be created. Nothing is lost by that, and a member that never had an identity could not be
// told from a disk that is not mounted: it would have to be put in its own place.
var errNotMade = errors.New("the log cannot be created")

// culprit returns the index, in what Open was given, of the member that is to blame for an error; -1: nobody is.
func (l *Log) culprit(err error) int {
	failure := (*MemberError)(nil)
	if !errors.As(err, &failure) || errors.Is(err, errNotMade) || errors.Is(err, ErrCorrupt) || errors.Is(err, ErrMembers) || errors.Is(err, ErrInUse) {
		return -1
	}
	for i := range l.given {
		if l.given[i].m.dir == failure.Dir {
			return i
		}
	}
	return -1
}

// withReasons adds why members that are there could not be used, where it does not say so already.
func withReasons(err error, unusable []error) error {
	for _, why := range unusable {
		if why != nil && !errors.Is(err, why) {
			err = fmt.Errorf("%w (and %w)", err, why)
		}
	}
	return err
}

// newLog returns a log that is not open.
func newLog(members []Member, o Options) (*Log, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	l := &Log{o: o, stopped: make(chan struct{}), quit: make(chan struct{})}
	l.work.L, l.space.L, l.durable.L = &l.mu, &l.mu, &l.mu
	for _, m := range members {
		l.given = append(l.given, given{m: l.newMember(m, -1)})
	}
	l.membership.Store(&membership{})
	l.custodian = newCustodian(l)
	return l, nil
}

// newMember returns an incarnation of a member of which nothing is open.
func (l *Log) newMember(home Member, number int) *member {
	if home.FS == nil {
		home.FS = vfs.Default
	}
	return &member{fs: home.FS, dir: home.Dir, number: number, space: reservation{limit: l.o.SegmentBytes}}
}

// given is one of the directories that Open was given.
type given struct {
	m *member
	found
	stands roster.Standing // 0: it has no identity
	err    error           // why it cannot be used
}

// open is Open in steps: look before touching anything, lock, look again, and only then decide, repair and start.
func (l *Log) open(unusable []error) error {
	if err := l.identify(unusable); err != nil {
		return err
	}
	fresh, err := l.isNew()
	if err != nil {
		return err
	}
	if err := l.lock(fresh); err != nil {
		return err
	}
	if err := l.identify(unusable); err != nil {
		return err
	}
	var done Recovery
	if fresh {
		if err := l.form(&done); err != nil {
			return fmt.Errorf("%w: %w", errNotMade, err)
		}
	}
	v, next, err := l.decide()
	if err != nil {
		return err
	}
	l.seat(v)
	if next == nil && !v.Writable(v.Roster.Least) {
		return l.openHalted(v)
	}
	through := LSN(v.Roster.Through)
	if next != nil { // by force
		through = 0
	}
	manifest, err := l.examined(through)
	if err != nil {
		return err
	}
	if err := l.begin(v, next, manifest); err != nil {
		return err
	}
	if err := l.recover(manifest, &done); err != nil {
		return err
	}
	l.start(&done)
	return nil
}

// start has the log take records.
func (l *Log) start(done *Recovery) {
	l.last = done.Last
	l.mu.next = done.Last + 1
	l.files.init(l)
	l.stall = l.o.Clock.NewTimer(l.o.StallAfter)
	l.stall.Stop()
	ms := l.now()
	for _, m := range ms.each(ms.current) {
		m.start()
	}
	l.mu.unavailable = l.short(ms)
	go l.commitLoop()
	if !l.o.Passive {
		l.custodian.start()
	}
	if l.o.Events.Recovered != nil {
		l.o.Events.Recovered(*done)
	}
}

// wanted returns how many current members the owner asks for, which a start may not have been able to write down. A log that was
// started by force with one member needs two again.
func (l *Log) wanted(ms *membership) int {
	n := len(ms.roster.Rows)
	switch {
	case l.o.MinReplicas > 0:
		return roster.LeastFor(n, l.o.MinReplicas)
	case ms.roster.Epoch>>32 > 0:
		return max(ms.roster.Least, roster.LeastFor(n, min(2, n)))
	}
	return ms.roster.Least
}

// short returns why a log that has fewer current members than its owner asks for takes no records, nil if it has enough.
func (l *Log) short(ms *membership) *UnavailableError {
	have, want := ms.current.Len(), l.wanted(ms)
	if have >= want {
		return nil
	}
	return &UnavailableError{Since: l.o.Clock.Now(), Reason: fmt.Sprintf("%d members are current, and %d are asked for", have, want)}
}

// isNew reports whether the log has to be created: no directory is a member, or a crash has ended the creation. A MEMBER file
// that cannot be read was not left by a crash: it was a member's.
func (l *Log) isNew() (bool, error) {
	blank, holds, all, forming := 0, "", true, true
	var first *roster.Roster
	var unnamed error
	for i := range l.given {
		g := &l.given[i]
		switch {
		case g.err != nil:
			all = false
		case g.unnamed != nil && unnamed == nil:
			unnamed = g.named()
		case g.who == nil && !g.holds():
			blank++
		}
		if g.holds() && holds == "" {
			holds = g.m.dir
		}
		if g.who != nil {
			first = cmp.Or(first, &g.who.Roster)
			forming = forming && roster.Same(first, &g.who.Roster)
		}
	}
	switch {
	case first == nil && unnamed != nil:
		return false, fmt.Errorf("%w: %w, and no other member vouches for it: restore the file, or give the right directory", ErrMembers, unnamed)
	case first == nil && holds != "":
		return false, fmt.Errorf("%w: %s holds segments but no %s file, and no other member vouches for them: restore the file, or give the right directory",
			ErrMembers, holds, segment.IdentityName)
	case first == nil && !all:
		for i := range l.given {
			if err := l.given[i].err; err != nil {
				return false, err
			}
		}
	case first == nil:
		return true, nil
	}
	// Nothing is in the log before all its members have their identities.
	return blank > 0 && all && unnamed == nil && holds == "" && forming && first.Epoch == firstEpoch && len(first.Rows) == len(l.given), nil
}

// firstEpoch is that of the roster of a new log.
const firstEpoch = 1 << 12

// lock locks the directories against other processes, those that are members or will be. One that cannot be is left out.
func (l *Log) lock(fresh bool) error {
	for i := range l.given {
		g := &l.given[i]
		if g.err != nil || g.who == nil && !fresh {
			continue
		}
		if err := g.m.acquire(); err != nil {
			if errors.Is(err, ErrInUse) {
				return err
			}
			if fresh {
				return fmt.Errorf("%w: %w", errNotMade, err)
			}
			g.err = err
		}
	}
	return nil
}

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
		t := seat{home: Member{g.m.fs, g.m.dir}, since: l.o.Clock.Now(), err: g.err}
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
	if next != nil {
		next.Through = uint64(proven)
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
	for _, r := range []roster.Roster{*next, next.Settle()} {
		for _, m := range l.present {
			if err := m.writeRoster(&r); err != nil {
				return err
			}
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
