package roster

import (
	"cmp"
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
// The roster of a forced start counts only if all of its current members are present and have it; see settleHistories for what
// they are if not.
//
// Missing may be at most Least - 1 of the current members, and fewer than hold every record; otherwise the error is
// ErrMinority. If it cannot be told which of two changes went on, or which history, the error is ErrHistories.
func Decide(seen []Seen) (*Verdict, error) {
	places := settleHistories(seen)
	history, err := newestHistory(places)
	if err != nil {
		return nil, err
	}
	d := newDecision(places, history)
	r, err := d.newest()
	if err != nil {
		return nil, err
	}
	v := d.judge(r)
	if err := d.quorum(v); err != nil {
		return nil, err
	}
	return v, nil
}

// place is where a directory stands: in which history, and how far in it.
type place struct {
	*Seen
	history History
	epoch   uint64
	roster  *Roster
	rebuilt bool // the roster is what a forced start, which never was in effect, says of the one before it
}

// settleHistories returns where the directories stand. That is what their rosters say, but for those of a forced start that
// never was in effect. A forced start writes its roster to all of its members, acknowledges and changes nothing before it is
// there, and then writes it once more, settled. So if a directory that should have it does not, it is forgotten, and those that
// have it are what they were before: members of the history that it was made from, in which they, or others, may have gone on.
func settleHistories(seen []Seen) []place {
	places := make([]place, len(seen))
	var forced []*Roster
	for i := range seen {
		r := &seen[i].Roster
		places[i] = place{Seen: &seen[i], history: r.History, epoch: r.Epoch, roster: r}
		if r.forced() {
			forced = append(forced, r)
		}
	}
	// The last one first: it may have been made from another one that never was in effect.
	slices.SortStableFunc(forced, func(a, b *Roster) int { return cmp.Compare(b.Epoch, a.Epoch) })
	for _, r := range forced {
		if !refuted(r, places) {
			continue
		}
		for i := range places {
			if p := &places[i]; p.history == r.History {
				was := r.unforced()
				p.history, p.epoch, p.roster, p.rebuilt = was.History, was.Epoch, &was, true
			}
		}
	}
	return places
}

// refuted reports whether r, the roster of a forced start that is not settled, never was in effect: one of its current members
// does not have it, and nobody has gone on from it.
func refuted(r *Roster, places []place) (refuted bool) {
	for i := range places {
		switch p := &places[i]; {
		case p.history == r.History && (p.epoch > r.Epoch || !p.rebuilt && p.roster.Settled()):
			return false
		case p.history != r.History && p.epoch>>32 <= r.Epoch>>32 && r.hasCurrent(p.Number, p.ID):
			refuted = true
		}
	}
	return refuted
}

// hasCurrent reports whether a directory is a current member.
func (r *Roster) hasCurrent(number int, id ID) bool {
	w := r.Row(number)
	return w != nil && w.State == Current && w.ID == id
}

// Foreign reports whether a directory with another roster must not be mixed with the log whose roster r is in effect: because it
// has another history. It may have one only in name, from a forced start that cannot have been in effect, since one of the
// current members should have it and does not.
func (r *Roster) Foreign(other *Roster) bool {
	if other.History == r.History {
		return false
	}
	if !other.forced() || other.From.History != r.History || r.Epoch>>32 > other.Epoch>>32 {
		return true
	}
	for i := range r.Current().All() {
		if other.hasCurrent(i+1, r.Row(i+1).ID) {
			return false
		}
	}
	return true
}

// newestHistory returns the history with the most forced starts.
func newestHistory(places []place) (h History, err error) {
	if len(places) == 0 {
		return h, fmt.Errorf("%w: no directory has a member's identity", ErrMinority)
	}
	best := &places[0]
	for i := range places {
		if places[i].epoch>>32 > best.epoch>>32 {
			best = &places[i]
		}
	}
	for i := range places {
		if p := &places[i]; p.epoch>>32 == best.epoch>>32 && p.history != best.history {
			return h, fmt.Errorf("%w: %s and %s were both started by force, each without the other: give only the directories of one of them, "+
				"and then replace the others", ErrHistories, best.Dir, p.Dir)
		}
	}
	return best.history, nil
}

// decision is the work of Decide.
type decision struct {
	all     []place
	seen    []*place // those of the history that counts
	history History
}

func newDecision(places []place, history History) *decision {
	d := &decision{all: places, history: history}
	for i := range places {
		if places[i].history == history {
			d.seen = append(d.seen, &places[i])
		}
	}
	return d
}

// has returns the directory that is a member of r, nil if it is not present.
func (d *decision) has(r *Roster, number int) *place {
	w := r.Row(number)
	for _, s := range d.seen {
		if w != nil && s.Number == number && s.ID == w.ID {
			return s
		}
	}
	return nil
}

// possible reports whether the roster of p may have been in effect: all of its current members that are present have it, or have
// gone on from it.
func (d *decision) possible(p *place) bool {
	for i := range p.roster.Current().All() {
		if s := d.has(p.roster, i+1); s != nil && (s.epoch < p.epoch || s.epoch == p.epoch && !same(s, p)) {
			return false
		}
	}
	return true
}

// same is Same of the rosters of two places of one epoch. Whoever was given one by force has had the one that it was made from.
func same(a, b *place) bool { return a.rebuilt || b.rebuilt || Same(a.roster, b.roster) }

// newest returns the roster that counts. It is settled if any directory has it settled.
func (d *decision) newest() (*Roster, error) {
	var best *place
	for _, s := range d.seen {
		switch {
		case !s.roster.Settled() && !d.possible(s):
		case best == nil || s.epoch > best.epoch:
			best = s
		case s.epoch < best.epoch:
		case s.roster.Settled() != best.roster.Settled():
			if s.roster.Settled() {
				best = s
			}
		case same(s, best):
			if best.rebuilt {
				best = s
			}
		default:
			return nil, fmt.Errorf("%w: %s and %s hold different changes %s, and the members that could tell which one went on are absent: "+
				"give their directories", ErrHistories, best.Dir, s.Dir, EpochString(s.epoch))
		}
	}
	if best == nil {
		return nil, fmt.Errorf("%w: every directory given holds a change that was not finished: give those of the other members, too (%s)",
			ErrMinority, d.names())
	}
	return best.roster, nil
}

// judge says what every directory is to r.
func (d *decision) judge(r *Roster) *Verdict {
	v := &Verdict{Roster: r.Clone()}
	for i := range d.all {
		s := &d.all[i]
		row, stands := r.Row(s.Number), IsBehind
		switch {
		case s.history != d.history:
			stands = IsForeign
		case row == nil || row.ID != s.ID:
			stands = IsFormer
		case row.State == Current && s.epoch < r.Epoch:
			stands = IsOld
		case row.State == Current:
			stands = IsCurrent
			v.Present = v.Present.With(s.Number - 1)
			v.Fresh = v.Fresh || s.rebuilt || !Same(s.roster, r)
		}
		v.Stands = append(v.Stands, stands)
		if stands != IsForeign {
			v.Top = max(v.Top, s.epoch, s.Promise)
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
		out = append(out, fmt.Sprintf("%s: %s", s.Dir, EpochString(s.epoch)))
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
	next.From = Origin{}
	if v.Roster.Settled() || v.Roster.forced() { // a forced start that counts is on all of its members
		next.Before, next.Need, next.Keep = v.Roster.before(&next)
	}
	return next, next.Check()
}

// Force returns the roster with which somebody who takes the responsibility starts a log from whatever is present: the newest
// of the directories that went furthest are current, whatever the others may hold, and a new history begins, so that nothing
// is ever taken from those again. The verdict says what the directories were to the roster it is made from. All of them promise
// its Top when they get the roster: should that be forgotten, they are what they were.
func Force(seen []Seen, history History, least int, now int64) (*Verdict, Roster, error) {
	if len(seen) == 0 {
		return nil, Roster{}, fmt.Errorf("%w: no directory has a member's identity", ErrMinority)
	}
	places := settleHistories(seen)
	r := furthest(places)
	d := newDecision(places, r.History)
	if sure, err := d.newest(); err == nil {
		r = sure
	}
	v := d.judge(r)
	if v.Present == 0 {
		return v, Roster{}, fmt.Errorf("%w: none of members %s, which were current last (epoch %s), is present, and the others were behind them already: "+
			"there is no state to start from", ErrMinority, setString(r.Current()), EpochString(r.Epoch))
	}
	next := r.Clone()
	next.History = history
	next.From = Origin{History: r.History, Epoch: r.Epoch, Current: r.Current(), Least: r.Least, Before: r.Before, Need: r.Need, Keep: r.Keep}
	top := max(v.Top, r.Epoch)
	for i := range seen { // forced starts that are forgotten count, too
		top = max(top, seen[i].Roster.Epoch)
	}
	next.Epoch = (top>>32+1)<<32 | 1<<12
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
	next.Before, next.Need, next.Keep = v.Present, v.Present.Len(), v.Present.Len()
	next.Least = least
	next.stamp(r, now)
	return v, next, next.Check()
}

// furthest returns the roster of the directory that went furthest.
func furthest(places []place) *Roster {
	best := &places[0]
	for i := range places {
		if p := &places[i]; p.epoch > best.epoch || p.epoch == best.epoch && best.rebuilt {
			best = p
		}
	}
	return best.roster
}
