package roster

import (
	"errors"
	"fmt"
	"slices"

	"pagevault/replication/placement"
)

// ErrTooFew marks a change that would leave fewer members of those that were current than the log needs: a start could miss
// it.
var ErrTooFew = errors.New("too few members would be left")

// LeastFor returns how many current members a log of n members needs to be written: min, and for more than three members more
// than half.
func LeastFor(n, min int) int {
	if n > 3 {
		return max(min, n/2+1)
	}
	return min
}

// CopiesFor returns on how many members an open segment of a log of n members is written.
func CopiesFor(n int) int { return min(3, n) }

// New returns the first roster of a log: members 1 … len(ids), all current. It is settled when it has been written to all of
// them, and not before it has, the log has no records.
func New(store [16]byte, history History, ids []ID, least int, now int64) (Roster, error) {
	r := Roster{Store: store, History: history, Epoch: 1 << 12, Created: now, Least: LeastFor(len(ids), least), Copies: CopiesFor(len(ids))}
	for i, id := range ids {
		r.Rows = append(r.Rows, Row{Number: i + 1, State: Current, ID: id, Since: r.Epoch, Time: now})
	}
	return r, r.Check()
}

// Note is what a roster notes beside what is changed.
type Note struct {
	Now     int64  // nanoseconds since 1970-01-01 UTC
	Through uint64 // the last record that is durable
	Tried   uint64 // the highest epoch that a roster was given which may have been written somewhere
}

// follow makes next, which was made from r by Clone and changed, the roster that comes after r, which must be in effect: on
// all of its current members. It gives next its epoch, above all that were tried, and the rows that are not as in r their epoch
// and time.
//
// Errors: ErrTooFew if fewer than Least members of r would stay current, and what Check finds.
func (r *Roster) follow(next *Roster, n Note) error {
	kept := r.kept(next)
	switch need := min(r.Least, r.Current().Len()); {
	case kept.Len() < need:
		return fmt.Errorf("%w: of members %s, %d stay current, and %d are needed", ErrTooFew, setString(r.Current()), kept.Len(), need)
	case next.Least > r.Least && next.Current().Len() < next.Least:
		return fmt.Errorf("%w: %d are current, and %d are asked for", ErrTooFew, next.Current().Len(), next.Least)
	}
	next.Epoch = max(r.Epoch, n.Tried) + 1
	next.Through = max(r.Through, n.Through)
	next.stamp(r, n.Now)
	next.From = Origin{}
	next.Before, next.Need, next.Keep = r.before(next)
	return next.Check()
}

// kept returns the members of r that are current in next, too.
func (r *Roster) kept(next *Roster) (s placement.Set) {
	for i := range r.Current().All() {
		was, is := r.Row(i+1), next.Row(i+1)
		if is != nil && is.State == Current && is.ID == was.ID {
			s = s.With(i)
		}
	}
	return s
}

// before returns what a start must find of the members of r, which is in effect, while next is not settled. A member whose
// place another directory has taken cannot be found any more.
func (r *Roster) before(next *Roster) (set placement.Set, need, keep int) {
	set = r.Current()
	keep = min(r.Least, set.Len())
	need = max(set.Len()-r.Spare(), keep)
	for i := range set.All() {
		if is := next.Row(i + 1); is == nil || is.ID != r.Row(i+1).ID {
			set = set.Without(i)
		}
	}
	return set, min(need, set.Len()), min(keep, set.Len())
}

// stamp gives the rows that are not as in r the epoch and the time.
func (next *Roster) stamp(r *Roster, now int64) {
	for i := range next.Rows {
		w := &next.Rows[i]
		if was := r.Row(w.Number); was == nil || was.State != w.State || was.Reason != w.Reason || was.ID != w.ID {
			w.Since, w.Time = next.Epoch, now
		}
	}
}

// Again returns the roster that says the same once more.
func (r *Roster) Again(n Note) (Roster, error) {
	next := r.Clone()
	return next, r.follow(&next, n)
}

// Drop returns the roster in which the members given by number are behind, each for its reason.
func (r *Roster) Drop(why map[int]Reason, n Note) (Roster, error) {
	next := r.Clone()
	for number, reason := range why {
		w := next.Row(number)
		if w == nil {
			return next, fmt.Errorf("there is no member %d", number)
		}
		w.State, w.Reason = Behind, reason
	}
	return next, r.follow(&next, n)
}

// Join returns the roster in which a member that was behind is written again.
func (r *Roster) Join(number int, id ID, n Note) (Roster, error) {
	next := r.Clone()
	w := next.Row(number)
	switch {
	case w == nil || w.ID != id:
		return next, fmt.Errorf("another directory has the place of member %d by now", number)
	case w.State != Behind:
		return next, fmt.Errorf("member %d is %v: only one that is behind can join", number, w.State)
	}
	w.State = Joining
	return next, r.follow(&next, n)
}

// Admit returns the roster in which a member that was joining is current.
func (r *Roster) Admit(number int, n Note) (Roster, error) {
	next := r.Clone()
	w := next.Row(number)
	if w == nil || w.State != Joining {
		return next, fmt.Errorf("member %d is not joining: only one that is becomes current", number)
	}
	w.State, w.Reason = Current, ReasonNone
	return next, r.follow(&next, n)
}

// Replace returns the roster in which another directory, with an id of its own, has the place of a member, or a place that
// nobody had. It is behind.
func (r *Roster) Replace(number int, id ID, n Note) (Roster, error) {
	next := r.Clone()
	fresh := Row{Number: number, State: Behind, Reason: ReasonNew, ID: id}
	at, there := slices.BinarySearchFunc(next.Rows, number, func(w Row, number int) int { return w.Number - number })
	if there {
		next.Rows[at] = fresh
	} else {
		next.Rows = slices.Insert(next.Rows, at, fresh)
		next.Copies = max(next.Copies, CopiesFor(len(next.Rows)))
	}
	return next, r.follow(&next, n)
}

// Retire returns the roster without a member. It needs no more members to be written than a log of so many does, of which at
// least min are asked for.
func (r *Roster) Retire(number, min int, n Note) (Roster, error) {
	next := r.Clone()
	next.Rows = slices.DeleteFunc(next.Rows, func(w Row) bool { return w.Number == number })
	if len(next.Rows) == len(r.Rows) {
		return next, fmt.Errorf("there is no member %d", number)
	}
	if most := LeastFor(len(next.Rows), min); next.Least > most {
		next.Least = most
	}
	return next, r.follow(&next, n)
}

// SetLeast returns the roster in which writing needs another number of members. Fewer than before can be enough only from the
// next change on: this one still needs as many as before.
func (r *Roster) SetLeast(least int, n Note) (Roster, error) {
	next := r.Clone()
	next.Least = least
	return next, r.follow(&next, n)
}

// SetRedundancy returns the roster with other shards of sealed segments; 0, 0: copies.
func (r *Roster) SetRedundancy(k, m int, n Note) (Roster, error) {
	next := r.Clone()
	next.K, next.M = k, m
	return next, r.follow(&next, n)
}
