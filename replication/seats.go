package replication

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"pagevault/replication/roster"
)

// seats is what is known of the places of members, by index, beside the membership: which directory was given for each, and of
// those that are not written why.
type seats struct {
	mu struct {
		sync.Mutex
		list []seat
	}
}

// seat is the place of one member.
type seat struct {
	home   Member // Dir "": none was given
	state  State  // of a member that is not written: Behind, Absent or Foreign
	reason string
	err    error
	since  time.Time
	out    *member // an incarnation that was left out and has not been released
	up     *member // one that is being brought up
}

// grow makes room for n members.
func (s *seats) grow(n int) {
	for len(s.mu.list) < n {
		s.mu.list = append(s.mu.list, seat{state: Absent, reason: "no directory was given for it"})
	}
}

// set changes the seat of member i.
func (s *seats) set(i int, change func(*seat)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.grow(i + 1)
	change(&s.mu.list[i])
}

// get returns the seat of member i.
func (s *seats) get(i int) seat {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i >= len(s.mu.list) {
		return seat{}
	}
	return s.mu.list[i]
}

// count returns how many seats there are.
func (s *seats) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.mu.list)
}

// follow notes what a new membership, which is in effect, makes of the seats.
func (s *seats) follow(old, ms *membership, why failures) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.grow(len(ms.members))
	for i := range s.mu.list {
		t := &s.mu.list[i]
		if m := ms.member(i); m != nil && ms.has(m) {
			*t = seat{home: Member{m.raw, m.dir}, out: t.out}
			continue
		}
		if m := old.member(i); m != nil && old.has(m) {
			t.state, t.err, t.out = Behind, why[m].err, m
			if row := ms.roster.Row(i + 1); row != nil {
				t.reason, t.since = row.Reason.String(), timeOf(row.Time)
			}
		}
	}
}

// open returns all incarnations of members whose directories may be open.
func (s *seats) open(ms *membership) (out []*member) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range ms.all() {
		out = append(out, m)
	}
	for i := range s.mu.list {
		for _, m := range []*member{s.mu.list[i].out, s.mu.list[i].up} {
			if m != nil && !slices.Contains(out, m) {
				out = append(out, m)
			}
		}
	}
	return out
}

// Members describes the members, in order, and the directories that were given and are none yet.
func (l *Log) Members() []MemberStatus {
	ms := l.now()
	n := l.seats.count()
	for i := range ms.roster.Rows {
		n = max(n, ms.roster.Rows[i].Number)
	}
	var out []MemberStatus
	filling := l.filling(ms)
	for i := range n {
		t, row, m := l.seats.get(i), ms.roster.Row(i+1), ms.member(i)
		if row == nil && t.home.Dir == "" && len(ms.roster.Rows) > 0 {
			continue // retired
		}
		s := l.describe(ms, i, &t, row, m)
		filling.describe(&s)
		out = append(out, s)
	}
	return out
}

func (l *Log) describe(ms *membership, i int, t *seat, row *roster.Row, m *member) MemberStatus {
	s := MemberStatus{Number: i, Dir: t.home.Dir, State: cmp.Or(t.state, Absent), Reason: t.reason, Err: t.err, Since: t.since}
	if m := cmp.Or(t.up, t.out, m); m != nil {
		s = m.status()
		s.State, s.Reason, s.Since = cmp.Or(t.state, Behind), t.reason, t.since
		if s.Err = cmp.Or(t.err, s.Err); t.home.Dir != "" {
			s.Dir = t.home.Dir
		}
	}
	if row != nil {
		s.ID = row.ID
	}
	if m == nil || !ms.has(m) {
		return s
	}
	s = m.status()
	s.State = ms.state(i)
	if row != nil {
		s.Reason, s.Since = row.Reason.String(), timeOf(row.Time)
	}
	return s
}
