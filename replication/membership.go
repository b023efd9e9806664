package replication

import (
	"errors"
	"fmt"
	"iter"
	"time"

	"pagevault/replication/roster"
)

// membership is who the members are at one time. It is never changed: the commit loop, which alone changes who the members
// are, puts another in its place. Whoever takes one from now sees members that may have left meanwhile; their directories
// are still open.
type membership struct {
	roster  roster.Roster
	members []*member // by index, the number less one; nil: nobody is there
	current Set       // hold all they should, and count
	joining Set       // are written, and lack older records
}

// now returns who the members are. Ask once, and keep what it says for what belongs together.
func (l *Log) now() *membership { return l.membership.Load() }

// each returns the members of a set that are there, in ascending order.
func (ms *membership) each(s Set) iter.Seq2[int, *member] {
	return func(yield func(int, *member) bool) {
		for i := range s.All() {
			if m := ms.member(i); m != nil && !yield(i, m) {
				return
			}
		}
	}
}

// all returns the members that are there, in ascending order.
func (ms *membership) all() iter.Seq2[int, *member] { return ms.each(setOf(len(ms.members))) }

// member returns member i, or nil if nobody is there.
func (ms *membership) member(i int) *member {
	if i < 0 || i >= len(ms.members) {
		return nil
	}
	return ms.members[i]
}

// rows returns those who are members, whatever their state.
func (ms *membership) rows() (s Set) {
	for i := range ms.roster.Rows {
		s = s.With(ms.roster.Rows[i].Number - 1)
	}
	return s
}

// State is what a member is to the log just now.
type State uint8

// The states of a member.
const (
	Current State = 1 + iota // it holds all it should, and counts
	Joining                  // every new record is written to it, but it still lacks older ones; it does not count
	Behind                   // nothing is written to it; it is to be caught up
	Absent                   // its directory is not there, or cannot be used
	Foreign                  // its directory has another history than the log, which must not be mixed with it
)

var stateNames = [...]string{Current: "current", Joining: "joining", Behind: "behind", Absent: "absent", Foreign: "foreign history"}

// String returns the state's name, as operators see it.
func (s State) String() string {
	if int(s) < len(stateNames) && stateNames[s] != "" {
		return stateNames[s]
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// MemberStatus describes one member.
type MemberStatus struct {
	Number int // from 0
	Dir    string
	Device string   // the disk, as the operating system numbers it: members with the same one die together
	ID     [16]byte // of this directory; another one in its place has another
	State  State
	Reason string    // why it is not current; "" if it is
	Since  time.Time // of the state; zero: not known
	Err    error     // why the member can no longer be written; nil while it can

	BytesWritten int64 // since Open, as all that follow
	ReadErrors   int64
	WriteErrors  int64
	Damaged      int64 // reads that gave other bytes than were written
	Repaired     int64 // files that were written again from other members
	Slow         int64 // reads that took longer than Options.HedgeAfter
	Hedged       int64 // of these, reads that another member answered first

	Free, Total uint64 // bytes of its file system; 0: not known
	Have, Want  int64  // bytes, while it is brought up
}

// MemberChange says that a member has become something else.
type MemberChange struct {
	Number   int // from 0
	Dir      string
	From, To State
	Reason   string
	Err      error // what it did; nil if nothing
}

// ErrUnavailable marks what cannot be done now because too few members can be written. Reads go on, and it ends by itself
// when enough members are well again. It is an *UnavailableError.
var ErrUnavailable = errors.New("too few members can be written")

// UnavailableError says why the log takes no records just now. It wraps ErrUnavailable.
type UnavailableError struct {
	Reason string
	Since  time.Time
}

func (e *UnavailableError) Error() string {
	return fmt.Sprintf("%v since %s: %s", ErrUnavailable, e.Since.Format(time.RFC3339), e.Reason)
}

// Unwrap returns ErrUnavailable.
func (e *UnavailableError) Unwrap() error { return ErrUnavailable }

// Redundancy is how sealed segments are kept: as copies, or as K shards of data and M of parity, any K of which make up
// the segment. The zero Redundancy is copies.
type Redundancy struct{ K, M int }

// String returns "3" for copies and "rs:K+M" for shards, as it is configured.
func (r Redundancy) String() string {
	if r.K == 0 {
		return "3"
	}
	return fmt.Sprintf("rs:%d+%d", r.K, r.M)
}
