package roster

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"pagevault/replication/placement"
)

var (
	// ErrMinority marks a start from members that may lack what the absent ones hold.
	ErrMinority = errors.New("too few members to start from")
	// ErrHistories marks directories of which nobody can say which ones went on.
	ErrHistories = errors.New("the members went different ways")
)

// Seen is what the MEMBER file of a directory says.
type Seen struct {
	Dir     string // for errors
	Number  int    // from 1
	ID      ID
	Roster  Roster
	Promise uint64 // a start wanted to write an epoch as high as this; 0: none did
}

// Standing is what a directory is to the log that is started.
type Standing uint8

// What directories are to the log.
const (
	IsCurrent Standing = 1 + iota // it holds all it should
	IsBehind                      // it is a member, but not a current one: it has to be caught up
	IsOld                         // it should be current, but is an old copy of the member: it has to be caught up
	IsFormer                      // its place has been taken by another directory, or was given up
	IsForeign                     // it has another history
)

var standingNames = [...]string{IsCurrent: "current", IsBehind: "behind", IsOld: "old copy", IsFormer: "former", IsForeign: "foreign history"}

// String returns the standing's name.
func (s Standing) String() string {
	if int(s) < len(standingNames) && standingNames[s] != "" {
		return standingNames[s]
	}
	return fmt.Sprintf("standing %d", uint8(s))
}

// Verdict says from which roster a log is started, and what the directories are to it.
type Verdict struct {
	Roster  Roster        // the newest that may have been in effect
	Stands  []Standing    // of the directories, in the order in which they were given
	Present placement.Set // current members that are present, by index
	Missing []int         // numbers of the current members that are not, or are old copies
	Fresh   bool          // a start that writes has to make a new epoch, by Start
	Top     uint64        // the highest epoch that any directory has or has promised
}

// Writable reports whether enough members are present for the log to be written when it needs least of them.
func (v *Verdict) Writable(least int) bool {
	return v.Present.Len() >= max(v.need(), least) && (v.Present&v.Roster.Before).Len() >= v.Roster.Keep
}

// need returns how many of the current members have to be there to make another roster.
func (v *Verdict) need() int { return min(v.Roster.Least, v.Roster.Current().Len()) }

// Decide says how a log is started from directories that are all of one store and all different members.
//
// The newest roster that was in effect counts, and it was in effect only after all of its current members had it. A change
// writes the new roster to all of them, acknowledges nothing before it is there, and then writes it once more, settled. So
// what is found on a directory is one of these: settled, and then it was in effect; not settled, and a present member that
// should have it has an older one: then it never was in effect, and is forgotten; or not settled, and all who are present
// have it: then it may have been, and counts, provided that enough of the members before it are present to know that no
// other change went on without these.
//
// Missing may be at most Least - 1 of the current members, and fewer than hold every record; otherwise the error is
// ErrMinority. If it cannot be told which of two changes went on, or which history, the error is ErrHistories.
func Decide(seen []Seen) (*Verdict, error) {
	history, err := newestHistory(seen)
	if err != nil {
		return nil, err
	}
	d := decision{all: seen}
	for i := range seen {
		if seen[i].Roster.History == history {
			d.seen = append(d.seen, &seen[i])
		}
	}
	r, err := d.newest()
	if err != nil {
		return nil, err
	}
	v := d.judge(r, history)
	if err := d.quorum(v); err != nil {
		return nil, err
	}
	return v, nil
}

// newestHistory returns the history with the most forced starts.
func newestHistory(seen []Seen) (h History, err error) {
	if len(seen) == 0 {
		return h, fmt.Errorf("%w: no directory has a member's identity", ErrMinority)
	}
	best := &seen[0]
	for i := range seen {
		if seen[i].Roster.Epoch>>32 > best.Roster.Epoch>>32 {
			best = &seen[i]
		}
	}
	for i := range seen {
		if s := &seen[i]; s.Roster.Epoch>>32 == best.Roster.Epoch>>32 && s.Roster.History != best.Roster.History {
			return h, fmt.Errorf("%w: %s and %s were both started by force, each without the other: give only the directories of one of them, "+
				"and then replace the others", ErrHistories, best.Dir, s.Dir)
		}
	}
	return best.Roster.History, nil
}

// decision is the work of Decide.
type decision struct {
	all  []Seen
	seen []*Seen // those of the history that counts
}

// has returns the directory that is a member of r, nil if it is not present.
func (d *decision) has(r *Roster, number int) *Seen {
	w := r.Row(number)
	for _, s := range d.seen {
		if w != nil && s.Number == number && s.ID == w.ID {
			return s
		}
	}
	return nil
}

// possible reports whether r may have been in effect: all of its current members that are present have it, or have gone on
// from it.
func (d *decision) possible(r *Roster) bool {
	for i := range r.Current().All() {
		if s := d.has(r, i+1); s != nil && (s.Roster.Epoch < r.Epoch || s.Roster.Epoch == r.Epoch && !Same(&s.Roster, r)) {
			return false
		}
	}
	return true
}

// newest returns the roster that counts. It is settled if any directory has it settled.
func (d *decision) newest() (*Roster, error) {
	var best *Roster
	var of *Seen
	for _, s := range d.seen {
		r := &s.Roster
		switch {
		case !r.Settled() && !d.possible(r):
		case best == nil || r.Epoch > best.Epoch:
			best, of = r, s
		case r.Epoch < best.Epoch:
		case Same(r, best):
			if r.Settled() {
				best, of = r, s
			}
		case r.Settled() != best.Settled():
			if r.Settled() {
				best, of = r, s
			}
		default:
			return nil, fmt.Errorf("%w: %s and %s hold different changes %s, and the members that could tell which one went on are absent: "+
				"give their directories", ErrHistories, of.Dir, s.Dir, EpochString(r.Epoch))
		}
	}
	if best == nil {
		return nil, fmt.Errorf("%w: every directory given holds a change that was not finished: give those of the other members, too (%s)",
			ErrMinority, d.names())
	}
	return best, nil
}

// judge says what every directory is to r.
func (d *decision) judge(r *Roster, history History) *Verdict {
	v := &Verdict{Roster: r.Clone()}
	for i := range d.all {
		s := &d.all[i]
		row, stands := r.Row(s.Number), IsBehind
		switch {
		case s.Roster.History != history:
			stands = IsForeign
		case row == nil || row.ID != s.ID:
			stands = IsFormer
		case row.State == Current && s.Roster.Epoch < r.Epoch:
			stands = IsOld
		case row.State == Current:
			stands = IsCurrent
			v.Present = v.Present.With(s.Number - 1)
			v.Fresh = v.Fresh || !Same(&s.Roster, r)
		}
		v.Stands = append(v.Stands, stands)
		if stands != IsForeign {
			v.Top = max(v.Top, s.Roster.Epoch, s.Promise)
		}
	}
	for i := range r.Current().All() {
		if !v.Present.Has(i) {
			v.Missing = append(v.Missing, i+1)
		}
	}
	v.Fresh = v.Fresh || len(v.Missing) > 0 || r.In(Joining) != 0
	return v
}

// quorum returns an error unless the directories that are present hold all that was ever acknowledged.
func (d *decision) quorum(v *Verdict) error {
	r := &v.Roster
	if n := len(v.Missing); n > r.Spare() {
		return fmt.Errorf("%w: of the %d members that were current last (epoch %s), %s %s missing, and without more than %d of them records may be lost: "+
			"give %s, or, if they are gone for good, start with --force-minority, which gives up what only they hold",
			ErrMinority, r.Current().Len(), EpochString(r.Epoch), numbers(v.Missing), isAre(n), r.Spare(), themIt(n))
	}
	if r.Settled() {
		return nil
	}
	var before placement.Set
	for i := range r.Before.All() {
		if d.has(r, i+1) != nil {
			before = before.With(i)
		}
	}
	if before.Len() < r.Need {
		missing := r.Before
		for i := range before.All() {
			missing = missing.Without(i)
		}
		var list []int
		for i := range missing.All() {
			list = append(list, i+1)
		}
		return fmt.Errorf("%w: the last change of the members (epoch %s) was not finished, and of those before it %s %s missing, which may have gone on "+
			"without the others: give %s, or, if they are gone for good, start with --force-minority, which gives up what only they hold",
			ErrMinority, EpochString(r.Epoch), numbers(list), isAre(len(list)), themIt(len(list)))
	}
	return nil
}

func (d *decision) names() string {
	var out []string
	for _, s := range d.seen {
		out = append(out, fmt.Sprintf("%s: %s", s.Dir, EpochString(s.Roster.Epoch)))
	}
	return strings.Join(out, ", ")
}

// numbers returns "member 1" or "members 1 and 2".
func numbers(list []int) string {
	var out []string
	for _, n := range list {
		out = append(out, fmt.Sprint(n))
	}
	if len(out) == 1 {
		return "member " + out[0]
	}
	return "members " + strings.Join(out[:len(out)-1], ", ") + " and " + out[len(out)-1]
}

func isAre(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}

func themIt(n int) string {
	if n == 1 {
		return "its directory"
	}
	return "their directories"
}

// Start returns the roster with which the log goes on from a verdict that is Fresh, or with other rules: members that are
// missing are behind, and so are those that were joining. It outranks whatever a start or a run that was cut off may have
// written to directories that are absent, provided that all current members have promised its epoch first: see Seen.Promise.
//
// Errors: ErrTooFew unless the verdict is Writable.
func (v *Verdict) Start(least int, through uint64, now int64) (Roster, error) {
	if !v.Writable(least) {
		return Roster{}, fmt.Errorf("%w: %d of %d current members are present, and %d are needed",
			ErrTooFew, v.Present.Len(), v.Roster.Current().Len(), max(v.need(), least))
	}
	next := v.Roster.Clone()
	for i := range next.Rows {
		w := &next.Rows[i]
		switch {
		case w.State == Joining:
			w.State = Behind
		case w.State == Current && !v.Present.Has(w.Number-1):
			w.State, w.Reason = Behind, ReasonAbsent
		}
	}
	next.Epoch = (max(v.Top, v.Roster.Epoch)>>12 + 1) << 12
	next.Least, next.Through = least, max(through, next.Through)
	next.stamp(&v.Roster, now)
	if v.Roster.Settled() {
		next.Before, next.Need, next.Keep = v.Roster.before(&next)
	}
	return next, next.Check()
}

// Force returns the roster with which somebody who takes the responsibility starts a log from whatever is present: the newest
// of the directories that went furthest are current, whatever the others may hold, and a new history begins, so that nothing
// is ever taken from those again. The verdict says what the directories were to the roster it is made from.
func Force(seen []Seen, history History, least int, now int64) (*Verdict, Roster, error) {
	if len(seen) == 0 {
		return nil, Roster{}, fmt.Errorf("%w: no directory has a member's identity", ErrMinority)
	}
	best := &seen[0]
	for i := range seen {
		if seen[i].Roster.Epoch > best.Roster.Epoch {
			best = &seen[i]
		}
	}
	d := decision{all: seen}
	for i := range seen {
		if seen[i].Roster.History == best.Roster.History {
			d.seen = append(d.seen, &seen[i])
		}
	}
	r := &best.Roster
	if sure, err := d.newest(); err == nil {
		r = sure
	}
	v := d.judge(r, best.Roster.History)
	if v.Present == 0 {
		return v, Roster{}, fmt.Errorf("%w: none of members %s, which were current last (epoch %s), is present, and the others were behind them already: "+
			"there is no state to start from", ErrMinority, setString(r.Current()), EpochString(r.Epoch))
	}
	next := r.Clone()
	next.History, next.Before, next.Need, next.Keep = history, 0, 0, 0
	next.Epoch = (max(v.Top, r.Epoch)>>32+1)<<32 | 1<<12
	next.Rows = slices.Clone(r.Rows)
	for i := range next.Rows {
		w := &next.Rows[i]
		switch {
		case v.Present.Has(w.Number - 1):
		case w.State == Current:
			w.State, w.Reason = Behind, ReasonAbsent
		default:
			w.State = Behind
		}
	}
	next.Least = least
	next.stamp(r, now)
	return v, next, next.Check()
}
