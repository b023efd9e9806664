package roster

import (
	"errors"
	"fmt"

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

// Follow makes next, which was made from r by Clone and changed, the roster that comes after r, which must be in effect: on
// all of its current members. It gives next its epoch, and the rows that are not as in r their epoch and time. A caller that
// has tried to write another roster after r raises the epoch above that one's.
//
// Errors: ErrTooFew if fewer than Least members of r would stay current, and what Check finds.
func (r *Roster) Follow(next *Roster, now int64) error {
	kept := r.kept(next)
	switch need := min(r.Least, r.Current().Len()); {
	case kept.Len() < need:
		return fmt.Errorf("%w: of members %s, %d stay current, and %d are needed", ErrTooFew, setString(r.Current()), kept.Len(), need)
	case next.Least > r.Least && next.Current().Len() < next.Least:
		return fmt.Errorf("%w: %d are current, and %d are asked for", ErrTooFew, next.Current().Len(), next.Least)
	}
	next.Epoch = r.Epoch + 1
	next.stamp(r, now)
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

// edit returns the roster after r in which the rows of numbers are changed.
func (r *Roster) edit(now int64, numbers placement.Set, change func(w *Row) error) (Roster, error) {
	next := r.Clone()
	for i := range numbers.All() {
		w := next.Row(i + 1)
		if w == nil {
			return next, fmt.Errorf("there is no member %d", i+1)
		}
		if err := change(w); err != nil {
			return next, err
		}
	}
	return next, r.Follow(&next, now)
}

// Drop returns the roster in which the members given, by index, are behind for a reason.
func (r *Roster) Drop(members placement.Set, why Reason, now int64) (Roster, error) {
	return r.edit(now, members, func(w *Row) error {
		w.State, w.Reason = Behind, why
		return nil
	})
}

// Join returns the roster in which a member that was behind is written again.
func (r *Roster) Join(number int, now int64) (Roster, error) {
	return r.edit(now, placement.Of(number-1), func(w *Row) error {
		if w.State != Behind {
			return fmt.Errorf("member %d is %v: only one that is behind can join", number, w.State)
		}
		w.State = Joining
		return nil
	})
}

// Admit returns the roster in which a member that was joining is current.
func (r *Roster) Admit(number int, now int64) (Roster, error) {
	return r.edit(now, placement.Of(number-1), func(w *Row) error {
		if w.State != Joining {
			return fmt.Errorf("member %d is %v: only one that is joining becomes current", number, w.State)
		}
		w.State, w.Reason = Current, ReasonNone
		return nil
	})
}

// Replace returns the roster in which another directory, with an id of its own, has the place of a member, or a place that
// nobody had. It is behind.
func (r *Roster) Replace(number int, id ID, now int64) (Roster, error) {
	next := r.Clone()
	fresh := Row{Number: number, State: Behind, Reason: ReasonNew, ID: id}
	if w := next.Row(number); w != nil {
		*w = fresh
	} else {
		at := 0
		for at < len(next.Rows) && next.Rows[at].Number < number {
			at++
		}
		next.Rows = append(next.Rows[:at], append([]Row{fresh}, next.Rows[at:]...)...)
		next.Copies = max(next.Copies, CopiesFor(len(next.Rows)))
	}
	return next, r.Follow(&next, now)
}

// Retire returns the roster without a member.
func (r *Roster) Retire(number int, now int64) (Roster, error) {
	next := r.Clone()
	for i := range next.Rows {
		if next.Rows[i].Number == number {
			next.Rows = append(next.Rows[:i], next.Rows[i+1:]...)
			return next, r.Follow(&next, now)
		}
	}
	return next, fmt.Errorf("there is no member %d", number)
}

// SetRules returns the roster with other rules. Fewer members than before can be enough only from the next change on: this
// one still needs as many as before.
func (r *Roster) SetRules(least, k, m int, now int64) (Roster, error) {
	next := r.Clone()
	next.Least, next.K, next.M = least, k, m
	return next, r.Follow(&next, now)
}
