package main

import (
	"cmp"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"pagevault/blobstore"
	"pagevault/internal/clock"
	"pagevault/replication"
)

const (
	// alarmSettle is how long after the first word of a change the alarm looks: a disk fails for all accounts within
	// the two seconds that a write may stall, and is one line.
	alarmSettle = 500 * time.Millisecond

	// alarmEvery is how often it looks while something is not as it should be.
	alarmEvery = 5 * time.Second

	// alarmAgain is how soon the same disk can be told of again: one that comes and goes fills no log.
	alarmAgain = 10 * time.Minute
)

// alarm tells the log, in one line that a human understands, that the members of the logs are worse than they were, and
// in another one that all is whole again. One goroutine runs from start to stop.
type alarm struct {
	log   *slog.Logger
	clock clock.Clock
	look  func() []blobstore.Health
	watch watch
	lost  throttle // of lines about what cannot be healed

	toldLost atomic.Bool // there was such a line: when all is whole, that is to be told

	kicked chan struct{}
	quit   chan struct{}
	ended  chan struct{}
}

func newAlarm(log *slog.Logger, c clock.Clock, member func(args ...string) string) *alarm {
	return &alarm{log: log, clock: c, watch: watch{command: member}, lost: throttle{clock: c}, kicked: make(chan struct{}, 1), quit: make(chan struct{}), ended: make(chan struct{})}
}

// start begins to look. What is wrong already is told at once.
func (a *alarm) start(look func() []blobstore.Health) {
	a.look = look
	go a.run()
}

// stop ends it. Nothing is told after that.
func (a *alarm) stop() {
	close(a.quit)
	<-a.ended
}

// kick says that something has changed. It may be called from anywhere, also before start.
func (a *alarm) kick() {
	select {
	case a.kicked <- struct{}{}:
	default:
	}
}

// unhealable tells that something of a segment can be had from no member, and what to do; log names the account. Segments of
// one disk come by the thousand.
func (a *alarm) unhealable(log *slog.Logger, p *replication.Problem) {
	a.lost.tell(log, slog.LevelError, fmt.Sprintf("a part of what is stored is damaged on every member that is there and cannot be healed: reading it is answered with an error, "+
		"everything else goes on. If a member is absent, put its disk back; this shows them: %s. This finds the blobs that are hit: %s",
		a.watch.command("member", "list"), a.watch.command("check", "--online")),
		"segment", p.Segment, "problem", p.String())
	a.toldLost.Store(true)
	a.kick()
}

// scrubbed tells that everything was read and compared, if anything was wrong.
func (a *alarm) scrubbed(log *slog.Logger, r *replication.ScrubResult) {
	args := []any{"bytes", r.Bytes, "took", r.Finished.Sub(r.Started).Round(time.Second), "problems", r.Problems, "healed_files", r.Healed}
	switch {
	case r.Unhealable > 0:
		log.Warn("read and compared everything: not all that is damaged could be healed", append(args, "unhealable", r.Unhealable)...)
	case r.Problems > 0:
		log.Warn("read and compared everything: what was damaged is healed from other members; a disk that has more of it should be replaced", args...)
	default:
		log.Debug("read and compared everything: nothing wrong", args...)
	}
}

func (a *alarm) run() {
	defer close(a.ended)
	again := a.clock.NewTimer(alarmEvery)
	defer again.Stop()
	for {
		a.watch.unhealed = a.toldLost.Swap(false) || a.watch.unhealed
		line := a.watch.step(a.clock.Now(), a.look())
		switch {
		case line.text == "":
		case line.worse:
			a.log.Error(line.text)
		default:
			a.log.Info(line.text)
		}
		if !a.watch.calm() {
			again.Reset(alarmEvery)
		}
		select {
		case <-a.quit:
			return
		case <-again.C():
		case <-a.kicked:
			settle := a.clock.NewTimer(alarmSettle)
			select {
			case <-a.quit:
				settle.Stop()
				return
			case <-settle.C():
			}
		}
	}
}

// alarmLine is what is to be told; text "": nothing.
type alarmLine struct {
	worse bool
	text  string
}

// watch decides what is told. It is pure: it takes the time and what was seen, and remembers what was told.
type watch struct {
	command func(args ...string) string // what to type, with the flags that it needs

	told     map[string]int // by directory: how bad it was when it was told
	when     map[string]time.Time
	halted   bool // that was told
	unhealed bool // something was told, and not yet that all is whole
	pending  bool // something is not as it should be, told or not
}

// calm reports whether there is nothing to wait for.
func (w *watch) calm() bool { return !w.pending }

// disk is a member of all accounts together: they have a folder each in one directory.
type disk struct {
	dir      string
	numbers  []int // one, unless accounts do not agree
	worst    blobstore.MemberHealth
	accounts int // of which it is not current
}

// badness orders states from well, 0, to worst. One that is being brought back is better than one that is out.
func badness(s blobstore.MemberState) int {
	if i := slices.Index(blobstore.MemberStates, s); i >= 0 {
		return i
	}
	return len(blobstore.MemberStates)
}

// disks puts together what the accounts know of their members, in the order of the first account, then by directory.
func disks(all []blobstore.Health) []disk {
	var out []disk
	for i := range all {
		for _, m := range all[i].Members {
			base := filepath.Dir(m.Dir)
			at := slices.IndexFunc(out, func(d disk) bool { return d.dir == base })
			if at < 0 {
				at = len(out)
				out = append(out, disk{dir: base, worst: m})
			}
			d := &out[at]
			if !slices.Contains(d.numbers, m.Number) {
				d.numbers = append(d.numbers, m.Number)
			}
			if m.State != blobstore.MemberCurrent {
				d.accounts++
			}
			if is, was := badness(m.State), badness(d.worst.State); is > was || is == was && d.worst.Error == "" {
				d.worst = m
			}
		}
	}
	slices.SortStableFunc(out, func(a, b disk) int { return cmp.Compare(a.numbers[0], b.numbers[0]) })
	return out
}

// step takes a look and returns what to tell.
func (w *watch) step(now time.Time, all []blobstore.Health) alarmLine {
	if w.told == nil {
		w.told, w.when = map[string]int{}, map[string]time.Time{}
	}
	seen, halted := disks(all), slices.ContainsFunc(all, func(h blobstore.Health) bool { return !h.Writable && !h.Final })
	w.pending = slices.ContainsFunc(all, func(h blobstore.Health) bool { return h.Degraded && !h.Final })
	if !w.pending {
		return w.whole(all)
	}
	var worse []disk
	for _, d := range seen {
		is, was := badness(d.worst.State), w.told[d.dir]
		if is < was {
			w.told[d.dir] = is
		}
		// Being brought up is no alarm; what it needs is that somebody is told when it is over.
		if is > was && is >= badness(blobstore.MemberBehind) && (halted && !w.halted || now.Sub(w.when[d.dir]) >= alarmAgain) {
			worse = append(worse, d)
		}
	}
	if len(worse) == 0 && (!halted || w.halted) {
		w.halted = w.halted && halted
		return alarmLine{}
	}
	for _, d := range worse {
		w.told[d.dir], w.when[d.dir] = badness(d.worst.State), now
	}
	w.halted, w.unhealed = halted, true
	return alarmLine{worse: true, text: w.describe(worse, all)}
}

// whole tells that all is well, if something else was told before.
func (w *watch) whole(all []blobstore.Health) alarmLine {
	clear(w.told)
	w.halted = false
	if !w.unhealed {
		return alarmLine{}
	}
	w.unhealed = false
	n := 0
	for i := range all {
		n = max(n, len(all[i].Members))
	}
	return alarmLine{text: fmt.Sprintf("all is whole again: %s, each up to date", plural(int64(n), "member"))}
}

// describe says what has failed, what it means and what to do.
func (w *watch) describe(worse []disk, all []blobstore.Health) string {
	var what, todo []string
	for i := range worse {
		what = append(what, worse[i].what())
		if t := worse[i].todo(w.command); !slices.Contains(todo, t) {
			todo = append(todo, t)
		}
	}
	if len(what) == 0 { // those that cannot be spared are not left out, they are tried again
		for _, d := range disks(all) {
			if d.worst.Error != "" {
				what = append(what, fmt.Sprintf("%s cannot be written: %s", d.name(), d.worst.Error))
			}
		}
		todo = []string{"It is tried again every second"}
	}
	if len(what) == 0 {
		what, todo = []string{"too few members can be written"}, []string{"This shows which: " + w.command("member", "list")}
	}
	return fmt.Sprintf("%s. %s. %s", strings.Join(what, "; "), meaning(all), strings.Join(todo, ". "))
}

// name returns "member 2 (/disk2)".
func (d *disk) name() string { return fmt.Sprintf("member %s (%s)", enumerate(d.numbers), d.dir) }

// what says in which way a member has failed.
func (d *disk) what() string {
	m := &d.worst
	text := d.name() + " is " + string(m.State)
	if m.State == blobstore.MemberForeign {
		text = d.name() + " holds another history of the store"
	}
	if m.Reason != "" && !strings.Contains(m.Error, m.Reason) {
		text += ": " + m.Reason
	}
	if m.Error != "" {
		text += ": " + m.Error
	}
	return text
}

// todo says what the operator does about it.
func (d *disk) todo(command func(args ...string) string) string {
	n := fmt.Sprint(d.numbers[0])
	switch {
	case d.worst.State == blobstore.MemberForeign:
		return fmt.Sprintf("To wipe what it holds and fill it again: %s", command("member", "replace", n, "--wipe"))
	case d.worst.State == blobstore.MemberAbsent:
		return fmt.Sprintf("Mount its disk again, or put an empty one there and run: %s", command("member", "replace", n))
	case d.worst.Reason == reasonNoSpace:
		return fmt.Sprintf("Make room in %s: it is caught up by itself then", d.dir)
	}
	return fmt.Sprintf("It is caught up by itself when it works again; if its disk is broken, put an empty one there and run: %s", command("member", "replace", n))
}

// reasonNoSpace is how the log calls a disk that is full.
const reasonNoSpace = "no space"

// meaning says what is left, for the account that has least.
func meaning(all []blobstore.Health) string {
	var left, of, least int
	first := true
	for i := range all {
		h, n := &all[i], 0
		for _, m := range h.Members {
			if m.State == blobstore.MemberCurrent && m.Error == "" {
				n++
			}
		}
		if first || n-h.MinReplicas < left-least {
			left, of, least, first = n, len(h.Members), h.MinReplicas, false
		}
	}
	switch {
	case slices.ContainsFunc(all, func(h blobstore.Health) bool { return !h.Writable }):
		return fmt.Sprintf("WRITES ARE REFUSED until %d of the %s work, and %d do; reads go on", least, plural(int64(of), "member"), left)
	case left <= least:
		return fmt.Sprintf("Still %s; writes go on, but one more failure stops them", shownCopies(left, of))
	}
	return fmt.Sprintf("Still %s; writes go on", shownCopies(left, of))
}

// shownCopies says how many copies are left of a log of so many members.
func shownCopies(left, of int) string {
	switch {
	case of > defaultMembers:
		return fmt.Sprintf("%d of %d members", left, of)
	case left == 1:
		return "one copy of everything"
	case left == 2:
		return "two copies of everything"
	}
	return fmt.Sprintf("%d copies of everything", left)
}
