// Package roster is who the members of a log are, what each of them is to it, and the rules of that: which changes are
// allowed, and from which directories a log may be started (Decide). It promises to be pure: it touches neither disks nor
// clocks. How a roster lies in a MEMBER file is the business of package segment; writing it that of replication.
//
// # What holds
//
// Every acknowledged record is on the members that were current when it was written, or on some of them where there are more
// than three. So whoever starts a log must know who was current last. A roster is written to all its current members before
// anything is acknowledged under it, and two rules make sure that who starts finds the newest one that was in effect:
//
//   - a change leaves at least Least of the members that were current before;
//   - a start misses at most Least - 1 of them.
//
// So the two have a member in common. See Decide for what a crash half way through a change leaves.
package roster

import (
	"fmt"
	"slices"
	"strings"

	"pagevault/replication/placement"
)

// NumberMax is the highest number a member can have.
const NumberMax = 64

// ID names one incarnation of a member: random, made when its directory is taken into the log.
type ID = [16]byte

// History names what a log has been through: random, and another one from each forced start on. Directories of different
// histories are never merged.
type History = [16]byte

// State is what a member is to the log, as MEMBER files say.
type State uint8

// The states of a member.
const (
	Current State = 1 + iota // it holds all it should, and counts
	Joining                  // every new record is written to it, but it still lacks older ones; it does not count
	Behind                   // nothing is written to it; it has to be caught up
)

var stateNames = [...]string{Current: "current", Joining: "joining", Behind: "behind"}

// String returns the state's name, as operators see it.
func (s State) String() string {
	if int(s) < len(stateNames) && stateNames[s] != "" {
		return stateNames[s]
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// Reason is why a member is behind.
type Reason uint8

// The reasons for which a member is behind.
const (
	ReasonNone     Reason = iota
	ReasonWrite           // a write or another operation failed
	ReasonSync            // a sync failed: what was written before may be gone
	ReasonStalled         // it did not answer in time
	ReasonNoSpace         // its disk is full
	ReasonVanished        // its directory is gone, or another one is in its place
	ReasonAbsent          // it was not there when the log was opened
	ReasonDamaged         // what it holds is damaged
	ReasonNew             // it was put in place of another one
	ReasonAsked           // somebody asked for it
)

var reasonNames = [...]string{
	ReasonWrite: "write error", ReasonSync: "sync error", ReasonStalled: "stalled", ReasonNoSpace: "no space", ReasonVanished: "vanished",
	ReasonAbsent: "absent at start", ReasonDamaged: "damaged", ReasonNew: "new", ReasonAsked: "asked for",
}

// String returns the reason as operators see it, "" for none.
func (r Reason) String() string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return fmt.Sprintf("reason %d", uint8(r))
}

// Row is one member.
type Row struct {
	Number int // from 1
	State  State
	Reason Reason
	ID     ID
	Since  uint64 // the epoch in which it got its state
	Time   int64  // when that was, nanoseconds since 1970-01-01 UTC
}

// Roster is who the members are. It is stored whole in the MEMBER file of each of them.
//
// An epoch has three parts: bits 63…32 count the forced starts, bits 31…12 the starts that changed something, and bits 11…0
// the changes since. So a start always outranks what an earlier run may have written to members that are absent.
type Roster struct {
	Store   [16]byte
	History History
	Epoch   uint64 // grows with every change
	Created int64  // when the log was, nanoseconds since 1970-01-01 UTC
	Least   int    // how many current members writing needs
	Copies  int    // on how many members an open segment is written
	K, M    int    // shards of sealed segments; 0, 0: copies
	Rows    []Row  // ascending by number

	// Through is the last record that was durable when the roster was made: a start that does not find it misses members.
	Through uint64

	// While it is not known that all current members have this roster, a start must find Need of the members in Before too,
	// which were current in the last roster that was in effect for sure, and Keep of them must stay current. A roster whose
	// Need is 0 is settled: it has been on all of its current members.
	Before placement.Set // by index, the number less one
	Need   int
	Keep   int

	// From is what a forced start was made from, as long as its roster is not settled: should one of its current members turn
	// out not to have it, those that do are what they were before. See settleHistories in decide.go. Zero in any other roster.
	From Origin
}

// Origin is the roster that a forced start was made from, as far as the one that came of it does not say it.
type Origin struct {
	History    History
	Epoch      uint64
	Current    placement.Set
	Least      int
	Before     placement.Set
	Need, Keep int
}

// Clone returns a copy that shares nothing with r.
func (r *Roster) Clone() Roster {
	c := *r
	c.Rows = slices.Clone(r.Rows)
	return c
}

// Row returns the row of a member, nil if there is none.
func (r *Roster) Row(number int) *Row {
	for i := range r.Rows {
		if r.Rows[i].Number == number {
			return &r.Rows[i]
		}
	}
	return nil
}

// In returns the members in a state, by index, the number less one.
func (r *Roster) In(state State) (s placement.Set) {
	for i := range r.Rows {
		if r.Rows[i].State == state {
			s = s.With(r.Rows[i].Number - 1)
		}
	}
	return s
}

// Current returns the members that are current.
func (r *Roster) Current() placement.Set { return r.In(Current) }

// Width returns on how many members every record is, as long as none is lost: Copies, or all current members where there are
// fewer.
func (r *Roster) Width() int { return min(r.Copies, r.Current().Len()) }

// Spare returns how many current members a start may miss.
func (r *Roster) Spare() int { return max(min(r.Least, r.Width())-1, 0) }

// Settled reports whether the roster is known to have been on all of its current members.
func (r *Roster) Settled() bool { return r.Need == 0 }

// Settle returns the roster as it is written once all current members have it.
func (r *Roster) Settle() Roster {
	c := r.Clone()
	c.Before, c.Need, c.Keep, c.From = 0, 0, 0, Origin{}
	return c
}

// forced reports whether the roster is that of a forced start of which it is not known whether all of its members have it.
func (r *Roster) forced() bool { return r.From != Origin{} }

// isForced reports what a roster that is forced must be like: all of its current members have to be found before it counts, and
// the history that it begins is another one, of one more forced start.
func (r *Roster) isForced() bool {
	return r.Before == r.Current() && r.Need == r.Before.Len() && r.Keep == r.Need && r.Before&^r.From.Current == 0 &&
		r.From.Epoch>>32 < r.Epoch>>32 && r.From.History != r.History
}

// unforced returns the roster that a forced start was made from. Of the members that it left behind it only says what they were;
// and those that were joining are behind.
func (r *Roster) unforced() Roster {
	f, was := &r.From, r.Settle()
	was.History, was.Epoch, was.Least, was.Before, was.Need, was.Keep = f.History, f.Epoch, f.Least, f.Before, f.Need, f.Keep
	for i := range was.Rows {
		w := &was.Rows[i]
		w.Since = min(w.Since, was.Epoch)
		if f.Current.Has(w.Number - 1) {
			w.State, w.Reason = Current, ReasonNone
		}
	}
	return was
}

// Same reports whether a and b say the same, but for one of them being settled.
func Same(a, b *Roster) bool {
	return a.Store == b.Store && a.History == b.History && a.Epoch == b.Epoch && a.Created == b.Created && a.Least == b.Least &&
		a.Copies == b.Copies && a.K == b.K && a.M == b.M && a.Through == b.Through && slices.Equal(a.Rows, b.Rows)
}

// Check returns what is impossible in a roster, nil if it can be.
func (r *Roster) Check() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("roster of epoch %s: %s", EpochString(r.Epoch), fmt.Sprintf(format, args...))
	}
	var known placement.Set
	last := 0
	for i := range r.Rows {
		w := &r.Rows[i]
		switch {
		case w.Number <= last || w.Number > NumberMax:
			return bad("member %d follows member %d", w.Number, last)
		case w.State < Current || w.State > Behind:
			return bad("member %d has %v", w.Number, w.State)
		case w.Reason > ReasonAsked:
			return bad("member %d has %v", w.Number, w.Reason)
		case w.Since > r.Epoch:
			return bad("member %d has its state since epoch %s", w.Number, EpochString(w.Since))
		}
		for k := range i {
			if r.Rows[k].ID == w.ID {
				return bad("members %d and %d have the same id", r.Rows[k].Number, w.Number)
			}
		}
		last, known = w.Number, known.With(w.Number-1)
	}
	switch {
	case r.Epoch == 0:
		return bad("epochs count from 1")
	case r.Current() == 0:
		return bad("no member is current")
	case r.Least < 1 || r.Least > NumberMax:
		return bad("writing needs %d members", r.Least)
	case r.Copies < 1 || r.Copies > NumberMax:
		return bad("segments on %d members", r.Copies)
	case (r.K == 0) != (r.M == 0) || r.K < 0 || r.M < 0 || r.K+r.M > NumberMax:
		return bad("%d + %d shards", r.K, r.M)
	case r.Need < 0 || r.Need > r.Before.Len() || r.Keep < 0 || r.Keep > r.Need || r.Need == 0 && r.Before != 0:
		return bad("a start needs %d and keeps %d of the %d members before", r.Need, r.Keep, r.Before.Len())
	case r.forced() && !r.isForced():
		return bad("a forced start from epoch %s needs %d of %s", EpochString(r.From.Epoch), r.Need, setString(r.Before))
	case r.forced():
		was := r.unforced()
		return was.Check()
	}
	return nil
}

// EpochString returns an epoch as operators see it: forced starts, starts, changes.
func EpochString(e uint64) string {
	return fmt.Sprintf("%d.%d.%d", e>>32, e>>12&(1<<20-1), e&(1<<12-1))
}

// String returns the roster on one line, for transcripts and logs.
func (r *Roster) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "epoch %s least %d copies %d", EpochString(r.Epoch), r.Least, r.Copies)
	if r.K > 0 {
		fmt.Fprintf(&b, " rs %d+%d", r.K, r.M)
	}
	if !r.Settled() {
		fmt.Fprintf(&b, " after %d of %s", r.Need, setString(r.Before))
	}
	for i := range r.Rows {
		w := &r.Rows[i]
		fmt.Fprintf(&b, " | %d %v", w.Number, w.State)
		if w.Reason != ReasonNone {
			fmt.Fprintf(&b, " (%v)", w.Reason)
		}
	}
	return b.String()
}

// setString returns the numbers of the members in s.
func setString(s placement.Set) string {
	var out []string
	for i := range s.All() {
		out = append(out, fmt.Sprint(i+1))
	}
	return strings.Join(out, ",")
}
