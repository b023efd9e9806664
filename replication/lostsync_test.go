package replication

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/replication/roster"
	"pagevault/replication/segment"
)

// lostPages is a hook that fails one sync of a member as Linux file systems do: what was written since the sync before stays
// readable, but counts as clean, so that no later sync brings it to the disk; only writing it again does.
type lostPages struct {
	member   int
	failSync int // of this number, counted from 1, of segment files

	mu    sync.Mutex
	syncs int
	dirty map[string][]span // by name: written and not synced
	lost  map[string][]span // written, not on the disk, and taken for clean
}

func (p *lostPages) hook(op fsOp, do func(int) error) error {
	if op.member != p.member {
		return do(op.bytes)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch op.kind {
	case "create", "remove":
		delete(p.lost, op.path)
		delete(p.dirty, op.path)
	case "write":
		s := span{from: op.off, to: op.off + int64(op.bytes)}
		p.dirty[op.path] = append(p.dirty[op.path], s)
		p.lost[op.path] = without(p.lost[op.path], s)
	case "sync":
		if op.path != "MEMBER.tmp" {
			p.syncs++
		}
		if op.path != "MEMBER.tmp" && p.syncs == p.failSync {
			p.lost[op.path] = append(p.lost[op.path], p.dirty[op.path]...)
			p.dirty[op.path] = nil
			return errInjected
		}
		p.dirty[op.path] = nil
	case "rename":
		p.lost[op.to], p.dirty[op.to] = p.lost[op.path], p.dirty[op.path]
		delete(p.lost, op.path)
		delete(p.dirty, op.path)
	}
	return do(op.bytes)
}

// hit reports whether the sync has failed.
func (p *lostPages) hit() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.syncs >= p.failSync
}

// disarm lets the syncs that follow work.
func (p *lostPages) disarm() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failSync = -1
}

// forget takes away from the member's directory, or a copy of it, what counts as clean and is not on the disk, as when the system
// needs the memory, and with dirty, too, what was not synced, as when the power is gone.
func (p *lostPages) forget(t *testing.T, m Member, dirty bool) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	gone := maps.Clone(p.lost)
	if dirty {
		for name, spans := range p.dirty {
			gone[name] = slices.Concat(gone[name], spans)
		}
	}
	for name, spans := range gone {
		b, err := readFile(m, name)
		if err != nil || len(spans) == 0 {
			continue // it is no more
		}
		for _, s := range spans {
			clear(b[min(s.from, int64(len(b))):min(s.to, int64(len(b)))])
		}
		if err := writeFile(m, name, b); err != nil {
			t.Error(err)
		}
	}
}

// without returns the parts of spans outside s.
func without(spans []span, s span) []span {
	var out []span
	for _, l := range spans {
		if before := (span{l.from, min(l.to, s.from)}); before.from < before.to {
			out = append(out, before)
		}
		if after := (span{max(l.from, s.to), l.to}); after.from < after.to {
			out = append(out, after)
		}
	}
	return out
}

// TestFailedSyncIsNotBelieved: after a sync of a member has failed, what it did not bring to the disk is there to be read. Nobody
// must promise it before it has been written again: not the log that goes on, by itself or without the member, not the member
// that is brought up, and not a start.
func TestFailedSyncIsNotBelieved(t *testing.T) {
	for _, n := range []int{1, 2, 3} {
		failed := 0
		for hit := true; hit; failed++ {
			synctest.Test(t, func(t *testing.T) { hit = loseSync(t, n, failed+1) })
		}
		if failed < 10 {
			t.Fatalf("%d members: only %d syncs", n, failed)
		}
	}
}

// unsynced is a log of which one member loses what a sync should have brought to its disk.
type unsynced struct {
	t       *testing.T
	what    string
	p       lostPages
	members []Member
	acked   int

	mu      sync.Mutex
	out     bool   // the member was left out
	back    bool   // and counts again
	rotten  string // a file of the member that was damaged while it was out
	halted  int
	resumed int
}

func loseSync(t *testing.T, n, at int) (hit bool) {
	members := memMembers(n)
	w := unsynced{t: t, what: fmt.Sprintf("sync %d of member %d of %d fails", at, at%n, n), members: members,
		p: lostPages{member: at % n, failSync: at, dirty: map[string][]span{}, lost: map[string][]span{}}}
	l, err := Open(hooked(members, w.p.hook), Options{SegmentBytes: 600, ScrubEvery: -1, Events: &Events{
		MemberState: w.changed,
		Halted:      func(error) { w.count(&w.halted) },
		Resumed:     func() { w.count(&w.resumed) },
		Failed:      func(err error) { t.Errorf("%s: %v", w.what, err) },
	}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 6 {
		append1(t, l, fmt.Sprint("meta ", i), strings.Repeat("x", 100))
		w.acked++
		synctest.Wait()
		w.cutPower()
	}
	err = l.Rotate()
	for errors.Is(err, ErrUnavailable) {
		w.cutPower()
		awaitIn(t, w.what+": available", func() bool { return l.Available() == nil })
		err = l.Rotate()
	}
	if err != nil {
		t.Fatalf("%s: %v", w.what, err)
	}
	w.cutPower()
	append1(t, l, "meta 6", "data")
	w.acked++
	awaitIn(t, w.what+": whole", func() bool { return allCurrent(l) })
	w.mu.Lock()
	hit = w.p.hit()
	if hit && (n == 3) != w.out || w.out != w.back || w.resumed != w.halted || hit && (n < 3) != (w.halted > 0) {
		t.Errorf("%s: out %v, back %v, halted %d times, resumed %d times", w.what, w.out, w.back, w.halted, w.resumed)
	}
	w.mu.Unlock()
	w.cutPower()
	w.p.disarm()
	if err := l.Close(); err != nil {
		t.Errorf("%s: close: %v", w.what, err)
	}
	w.p.forget(t, members[w.p.member], true)
	compareMembers(t, w.what, members)
	w.cutPower()
	return hit
}

func (w *unsynced) count(n *int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	*n++
}

// changed is told when a member has become something else. When it was left out, the system forgets what it took for clean,
// and some of what was on the disk is not any more, since nobody knows what else the disk has lost. When it counts again, it
// must be whole.
func (w *unsynced) changed(c MemberChange) {
	w.mu.Lock()
	defer w.mu.Unlock()
	m := w.members[w.p.member]
	switch {
	case c.Number != w.p.member:
		w.t.Errorf("%s: member %d is %v", w.what, c.Number, c.To)
	case c.To == Behind && c.From == Current:
		w.out = true
		if c.Reason != roster.ReasonSync.String() || !strings.Contains(c.Err.Error(), m.Dir+": sync ") {
			w.t.Errorf("%s: left out because of %q: %v", w.what, c.Reason, c.Err)
		}
		w.p.forget(w.t, m, false)
		w.rot(m)
	case c.To == Current:
		w.back = true
		other := w.members[(c.Number+1)%len(w.members)]
		if w.rotten == "" {
			break
		}
		got, err := readFile(m, w.rotten)
		want, err2 := readFile(other, w.rotten)
		if err != nil || err2 != nil || string(got) != string(want) {
			w.t.Errorf("%s: %s was believed: %v %v", w.what, w.rotten, err, err2)
		}
	}
}

// rot damages a byte of a record in the first sealed segment.
func (w *unsynced) rot(m Member) {
	name := segment.Name(1, true)
	b, err := readFile(m, name)
	if err != nil {
		return // there is none yet
	}
	b[segment.HeaderBytes+segment.RecordHeaderBytes+8] ^= 1
	if err := writeFile(m, name, b); err != nil {
		w.t.Error(err)
	}
	w.rotten = name
}

// cutPower looks at what would be there if the power went now. What a start finds then it has on the disks, too, and
// everything that was acknowledged.
func (w *unsynced) cutPower() {
	w.t.Helper()
	dead := func(members []Member) (out []Member) {
		for _, m := range members {
			out = append(out, Member{FS: m.FS.(*vfs.MemFS).CrashClone(vfs.CrashCloneCfg{}), Dir: m.Dir})
		}
		return out
	}
	cut := dead(w.members)
	w.p.forget(w.t, cut[w.p.member], false)
	last := w.start(cut)
	// The process is killed instead, and the power goes when it was started again.
	var killed []Member
	for _, m := range w.members {
		killed = append(killed, Member{FS: m.FS.(*vfs.MemFS).CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(0, 0))}), Dir: m.Dir})
	}
	again := w.p.restarted()
	l, err := Open(hooked(killed, again.hook), Options{SegmentBytes: 600, Passive: true})
	if err != nil {
		w.t.Fatalf("%s: after a kill: %v", w.what, err)
	}
	found := int(l.LastLSN())
	out := dead(killed)
	again.forget(w.t, out[w.p.member], true)
	if left := w.start(out); found < w.acked || left != found || last < w.acked {
		w.t.Fatalf("%s: %d records were acknowledged, %d found after the power was cut, %d by a start after a kill, %d when the power was cut then",
			w.what, w.acked, last, found, left)
	}
	if err := l.Close(); err != nil {
		w.t.Fatal(err)
	}
}

// start opens members whose power was cut and returns how many records they hold.
func (w *unsynced) start(members []Member) int {
	w.t.Helper()
	l, err := Open(members, Options{Passive: true})
	if err != nil {
		w.t.Fatalf("%s: %v; lost %v", w.what, err, w.p.lost)
	}
	defer l.Close()
	n := 0
	if err := l.Replay(1, func(r *Record) error {
		if want := fmt.Sprint("meta ", n); string(r.Meta) != want {
			return fmt.Errorf("record %d is %q", r.LSN, r.Meta)
		}
		n++
		return nil
	}); err != nil || n != int(l.LastLSN()) {
		w.t.Fatalf("%s: %d of %d records: %v", w.what, n, l.LastLSN(), err)
	}
	return n
}

// restarted returns what a process that is started again has: the same pages, and syncs that work.
func (p *lostPages) restarted() *lostPages {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := &lostPages{member: p.member, failSync: -1, dirty: map[string][]span{}, lost: map[string][]span{}}
	for name, spans := range p.lost {
		c.lost[name] = slices.Clone(spans)
	}
	for name, spans := range p.dirty {
		c.dirty[name] = slices.Clone(spans)
	}
	return c
}
