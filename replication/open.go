package replication

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"

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
	m := &member{raw: home.FS, dir: home.Dir, number: number, space: reservation{limit: l.o.SegmentBytes}}
	m.patient = &patient{clock: l.o.Clock, quit: l.quit, left: &m.left, limit: cmp.Or(l.o.diskPatience, diskPatience)}
	m.fs = &patientFS{FS: home.FS, p: m.patient}
	return m
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
