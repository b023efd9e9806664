package roster

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pagevault/replication/placement"
)

// A world is the directories of a log, and what only an all-knowing observer knows of it: which roster was in effect last,
// which ones were made from it since, and on whom the acknowledged records are.
type world struct {
	n, least int
	files    []file
	effect   Roster          // the last one in effect
	after    []Roster        // what was tried since
	ours     placement.Set   // who is not of another history for good
	forced   byte            // how many forced starts there were
	records  []placement.Set // acknowledged, each on these members
	running  bool
	trail    []string
}

type file struct {
	r       Roster
	promise uint64
}

func idOf(number int) ID { return ID{0: byte(number)} }

func newWorld(n, least int) *world {
	var ids []ID
	for i := range n {
		ids = append(ids, idOf(i+1))
	}
	r, err := New([16]byte{1}, History{1}, ids, least, 1)
	if err != nil {
		panic(err)
	}
	w := &world{n: n, least: r.Least, effect: r, ours: 1<<n - 1}
	for range n {
		w.files = append(w.files, file{r: r})
	}
	w.ack()
	return w
}

// dropped returns why members are dropped: for a reason of its own each.
func dropped(members placement.Set) map[int]Reason {
	why := map[int]Reason{}
	for i := range members.All() {
		why[i+1] = ReasonWrite + Reason(i)%3
	}
	return why
}

// note returns what a change has to know: the running log knows what it has tried.
func (w *world) note() Note {
	n := Note{Now: 1}
	for i := range w.after {
		n.Tried = max(n.Tried, w.after[i].Epoch)
	}
	return n
}

func (w *world) clone() *world {
	c := *w
	c.files, c.after, c.records, c.trail = slices.Clone(w.files), slices.Clone(w.after), slices.Clone(w.records), slices.Clone(w.trail)
	return &c
}

// key is what decides how the world goes on.
func (w *world) key() string {
	s := fmt.Sprint(w.running, "/", w.effect.Epoch, w.effect.Current(), "/", w.records)
	for i := range w.files {
		r := &w.files[i].r
		s += fmt.Sprintf("|%d %d %d %d %d %d", r.Epoch, r.Current(), r.Least, r.Before, r.Need, w.files[i].promise)
		if r.History != (History{1}) || w.forced > 0 {
			s += fmt.Sprint(" ", r.History[0], r.From, w.ours)
		}
	}
	return s
}

// ack acknowledges a record: on all members that are current, or on three of them, the last ones.
func (w *world) ack() {
	on := w.effect.Current()
	for i := range w.effect.Current().All() {
		if on.Len() > w.effect.Copies {
			on = on.Without(i)
		}
	}
	if !slices.Contains(w.records, on) {
		w.records = append(w.records, on)
		slices.Sort(w.records)
	}
}

// subsets calls fn with the subsets of s, the empty one and s included.
func subsets(s placement.Set, fn func(placement.Set)) {
	for sub := s; ; sub = (sub - 1) & s {
		fn(sub)
		if sub == 0 {
			return
		}
	}
}

func (w *world) seen(present placement.Set) (out []Seen) {
	for i := range present.All() {
		f := &w.files[i]
		out = append(out, Seen{Dir: fmt.Sprint("replica-", i+1), Number: i + 1, ID: idOf(i + 1), Roster: f.r, Promise: f.promise})
	}
	return out
}

// decide checks what a start from the members present would take for the truth.
func (w *world) decide(present placement.Set) (*Verdict, error) {
	v, err := Decide(w.seen(present))
	if err != nil {
		if present == 1<<w.n-1 {
			return nil, fmt.Errorf("everybody is there: %w", err)
		}
		return nil, nil // refusing is always right
	}
	if present&w.ours == 0 {
		return nil, nil // in another world
	}
	if v.Roster.History == w.effect.History {
		for k, i := range slices.Collect(present.All()) {
			if w.ours.Has(i) && v.Stands[k] == IsForeign {
				return nil, fmt.Errorf("start from %s: member %d is foreign", setString(present), i+1)
			}
		}
	}
	if !agree(&v.Roster, &w.effect) && !w.tried(&v.Roster) {
		return nil, fmt.Errorf("start from %s takes %v for the last roster, but that was %v", setString(present), &v.Roster, &w.effect)
	}
	for _, on := range w.records {
		if w.n <= 3 && on&v.Present == 0 {
			return nil, fmt.Errorf("start from %s: the current members %s have nothing of a record of %s", setString(present), setString(v.Present), setString(on))
		}
	}
	return v, nil
}

// write puts a roster on members. It is in effect when all its current members have it.
func (w *world) write(r Roster, on placement.Set) {
	for i := range on.All() {
		w.files[i].r, w.files[i].promise = r, 0
	}
	if !Same(&w.effect, &r) {
		w.after = append(w.after, r)
	}
}

// take makes r, which is on all its current members, the one in effect, and acknowledges a record.
func (w *world) take(r Roster) {
	for i, on := range w.records {
		if w.n <= 3 && on&r.Current() != 0 {
			w.records[i] = on | r.Current() // recovery or catching up have made it so
		}
	}
	slices.Sort(w.records)
	w.records = slices.Compact(w.records)
	w.effect, w.after = r, nil
	w.ours |= r.Current()
	w.running = true
	w.ack()
}

// next calls fn with all worlds that can follow this one by a start or a change that is cut off anywhere or succeeds.
func (w *world) next(fn func(*world)) error {
	if w.running {
		w.change(fn)
		return nil
	}
	var failed error
	subsets(placement.Set(1)<<w.n-1, func(present placement.Set) {
		v, err := w.decide(present)
		if err != nil {
			failed = err
		}
		if v == nil || !v.Writable(v.Roster.Least) {
			if err := w.force(present, subsets, fn); err != nil {
				failed = err
			}
			return
		}
		at := fmt.Sprintf("start from %s", setString(present))
		if !v.Fresh {
			w.settle(at, v.Roster, fn)
			return
		}
		r, err := v.Start(v.Roster.Least, 0, 1)
		if err != nil {
			failed = fmt.Errorf("%s: %w", at, err)
			return
		}
		cur := r.Current()
		subsets(cur, func(some placement.Set) {
			c := w.clone()
			for i := range some.All() {
				c.files[i].promise = r.Epoch
			}
			if some != cur {
				c.say(fn, "%s: promised by %s", at, setString(some))
				return
			}
			c.propose(at, r, fn)
		})
	})
	return failed
}

// force starts from the members present by force, and is cut off anywhere: choose calls its function with those that got the
// roster. What the others hold is given up as soon as it is in effect, and not before.
func (w *world) force(present placement.Set, choose func(placement.Set, func(placement.Set)), fn func(*world)) error {
	if present&w.ours == 0 || w.forced == forcedMax {
		return nil
	}
	v, r, err := Force(w.seen(present), History{2 + w.forced}, 1, 1)
	if err != nil {
		return nil // none of those that were current last
	}
	if r.From.History != w.effect.History {
		return nil // it goes on in another world
	}
	at := "force " + setString(present)
	if !agree(&v.Roster, &w.effect) && len(v.Missing) == 0 && !w.tried(&v.Roster) {
		return fmt.Errorf("%s: made from %v, and %v was in effect", at, &v.Roster, &w.effect)
	}
	choose(r.Current(), func(some placement.Set) {
		c := w.clone()
		c.forced++
		for i := range some.All() {
			c.files[i].r, c.files[i].promise = r, v.Top
		}
		if some != r.Current() {
			c.say(fn, "%s: %v on %s only", at, &r, setString(some))
			return
		}
		c.records, c.ours = nil, r.Current() // others may be lost, or in another world
		c.settle(at, r, fn)
	})
	return nil
}

// forcedMax is how many forced starts a world sees.
const forcedMax = 4

// tried reports whether a roster is one that was made from the last one in effect.
func (w *world) tried(r *Roster) bool {
	return slices.ContainsFunc(w.after, func(other Roster) bool { return agree(r, &other) })
}

// agree reports whether two rosters are the same, as far as one that a forced start was made from can be told from its own.
func agree(a, b *Roster) bool {
	return a.History == b.History && a.Epoch == b.Epoch && a.Least == b.Least && a.Current() == b.Current()
}

// propose writes r, settles it, and is cut off anywhere.
func (w *world) propose(at string, r Roster, fn func(*world)) {
	cur := r.Current()
	subsets(cur, func(some placement.Set) {
		c := w.clone()
		c.write(r, some)
		if some != cur {
			c.running = false
			c.say(fn, "%s: %v on %s only", at, &r, setString(some))
			return
		}
		c.settle(at, r, fn)
	})
}

// settle goes on with r, which is on all its current members: records are acknowledged, and sooner or later it is settled.
func (w *world) settle(at string, r Roster, fn func(*world)) {
	subsets(r.Current(), func(some placement.Set) {
		for _, running := range []bool{false, true} {
			c := w.clone()
			c.take(r)
			c.write(r.Settle(), some)
			c.running = running
			c.say(fn, "%s: %v settled on %s, running %v", at, &r, setString(some), running)
		}
	})
}

func (w *world) say(fn func(*world), format string, args ...any) {
	w.trail = append(w.trail, fmt.Sprintf(format, args...))
	fn(w)
}

// change drops members or takes one back, or the process dies.
func (w *world) change(fn func(*world)) {
	killed := w.clone()
	killed.running = false
	killed.say(fn, "killed")
	subsets(w.effect.Current(), func(lost placement.Set) {
		if lost == 0 {
			return
		}
		r, err := w.effect.Drop(dropped(lost), w.note())
		if err != nil {
			return // the log halts
		}
		w.propose("drop "+setString(lost), r, fn)
	})
	for i := range w.effect.In(Behind).All() {
		joining, err := w.effect.Join(i+1, idOf(i+1), w.note())
		if err != nil {
			panic(err)
		}
		r, err := joining.Admit(i+1, Note{Now: 1})
		if err != nil {
			panic(err)
		}
		c := w.clone()
		c.write(joining, joining.Current().With(i))
		c.effect, c.after = joining, nil
		c.propose(fmt.Sprint("take back ", i+1), r, fn)
	}
}

func (w *world) fail(t *testing.T, err error) {
	t.Helper()
	for _, s := range w.trail {
		t.Log(s)
	}
	t.Fatal(err)
}

// TestEveryStart goes through everything that can happen to a log in a few steps, each of which is a start from any members,
// or a change, cut off anywhere: no start that is allowed misses an acknowledged record or believes an old roster.
func TestEveryStart(t *testing.T) {
	for _, c := range []struct{ n, least, depth int }{{1, 1, 6}, {2, 1, 5}, {2, 2, 6}, {3, 1, 3}, {3, 2, 4}, {3, 3, 4}, {4, 2, 2}} {
		seen := map[string]bool{}
		level := []*world{newWorld(c.n, c.least)}
		level[0].running = true
		for range c.depth {
			var next []*world
			for _, w := range level {
				err := w.next(func(v *world) {
					if k := v.key(); !seen[k] {
						seen[k] = true
						next = append(next, v)
					}
				})
				if err != nil {
					w.fail(t, err)
				}
			}
			level = next
		}
		for _, w := range level { // what can be started from the last ones
			subsets(placement.Set(1)<<c.n-1, func(present placement.Set) {
				if _, err := w.decide(present); err != nil {
					w.fail(t, err)
				}
			})
		}
		t.Logf("%d members, least %d: %d worlds", c.n, c.least, len(seen))
	}
}

// TestRandomStarts goes far, at random, with more members.
func TestRandomStarts(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	for round := range 3000 {
		n := []int{2, 3, 3, 4, 5, 6, 6}[round%7]
		w := newWorld(n, 1+rnd.IntN(min(n, 3)))
		w.running = true
		for range 30 {
			next, err := w.random(rnd)
			if err != nil {
				w.fail(t, err)
			}
			w = next
			for range 8 {
				if _, err := w.decide(placement.Set(rnd.Uint64()) & (1<<n - 1)); err != nil {
					w.fail(t, err)
				}
			}
		}
	}
}

// random returns one of the worlds that can follow, without making all of them.
func (w *world) random(rnd *rand.Rand) (*world, error) {
	c := w.clone()
	some := func(of placement.Set) placement.Set {
		if rnd.IntN(2) == 0 {
			return of
		}
		return placement.Set(rnd.Uint64()) & of
	}
	keep := func(format string, args ...any) (*world, error) {
		c.trail = append(c.trail, fmt.Sprintf(format, args...))
		return c, nil
	}
	finish := func(at string, r Roster) (*world, error) {
		on := some(r.Current())
		c.write(r, on)
		if on != r.Current() {
			c.running = c.running && rnd.IntN(2) == 0 // a running log goes on, and tries another one
			return keep("%s: %v on %s only", at, &r, setString(on))
		}
		c.take(r)
		on = some(r.Current())
		c.write(r.Settle(), on)
		c.running = rnd.IntN(2) == 0
		return keep("%s: %v settled on %s, running %v", at, &r, setString(on), c.running)
	}
	if !c.running {
		present := placement.Set(rnd.Uint64()|rnd.Uint64()) & (1<<c.n - 1)
		v, err := c.decide(present)
		if err != nil {
			return c, err
		}
		if v == nil || !v.Writable(v.Roster.Least) {
			var forced []*world
			if rnd.IntN(4) == 0 {
				err = c.force(present, func(of placement.Set, fn func(placement.Set)) { fn(some(of)) }, func(v *world) { forced = append(forced, v) })
			}
			if len(forced) == 0 {
				return c, err
			}
			return forced[rnd.IntN(len(forced))], err
		}
		at := "start from " + setString(present)
		if !v.Fresh {
			return finish(at, v.Roster)
		}
		r, err := v.Start(v.Roster.Least, 0, 1)
		if err != nil {
			return c, err
		}
		promised := some(r.Current())
		for i := range promised.All() {
			c.files[i].promise = r.Epoch
		}
		if promised != r.Current() {
			return keep("%s: promised by %s", at, setString(promised))
		}
		return finish(at, r)
	}
	if behind := c.effect.In(Behind); behind != 0 && rnd.IntN(2) == 0 {
		for i := range behind.All() {
			joining, err := c.effect.Join(i+1, idOf(i+1), c.note())
			if err != nil {
				return c, err
			}
			c.write(joining, joining.Current().With(i))
			c.effect, c.after = joining, nil
			r, err := joining.Admit(i+1, Note{Now: 1})
			if err != nil {
				return c, err
			}
			return finish(fmt.Sprint("take back ", i+1), r)
		}
	}
	lost := placement.Set(rnd.Uint64()&rnd.Uint64()) & c.effect.Current()
	r, err := c.effect.Drop(dropped(lost), c.note())
	if err != nil {
		c.running = false
		return keep("killed")
	}
	return finish("drop "+setString(lost), r)
}
