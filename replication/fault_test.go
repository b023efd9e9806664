package replication

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/cockroachdb/pebble/v2/vfs"
)

var errInjected = errors.New("injected failure")

// TestEveryFailure fails each operation of each member once, a write in two ways: before the first byte and half way.
//
// Of one member, a failure while the log is opened is reported; later the log halts and goes on when it has tried again. So it is
// with two, but that one of them is enough to open a log for reading. Of three members the one is left out and brought up again,
// and nobody who appends sees anything of it. Whoever is told is told the member and the operation. No acknowledged record may be
// missing afterwards, whether the process or the machine goes down with it; and no goroutine may hang or stay (synctest sees to
// that).
func TestEveryFailure(t *testing.T) {
	for n, least := range map[int]int{1: 60, 2: 200, 3: 300} {
		cases := 0
		for victim := range n {
			for at, hit := 1+rand.IntN(failEvery), true; hit; at += failEvery {
				for _, half := range []bool{false, true} {
					synctest.Test(t, func(t *testing.T) {
						w := faulty{t: t, victim: victim, at: at, half: half}
						w.run(n)
						hit = w.hit
					})
					cases++
				}
			}
		}
		if cases < least/failEvery {
			t.Errorf("%d members: only %d cases", n, cases)
		}
		t.Logf("%d members: %d cases", n, cases)
	}
}

type faulty struct {
	t      *testing.T
	victim int
	at     int // fail the victim's operation of this number, counted from 1
	half   bool

	mu      sync.Mutex
	hit     bool
	op      fsOp
	count   int
	armed   bool
	halted  int
	resumed int
	left    []MemberChange // of members that did not stay current
	told    []error        // what was said of failures

	h history
}

func (w *faulty) String() string {
	return fmt.Sprintf("member %d fails %v, operation %d, half %v", w.victim, w.op, w.at, w.half)
}

func (w *faulty) hook(op fsOp, do func(int) error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if op.member != w.victim || !w.armed {
		return do(op.bytes)
	}
	w.count++
	if w.count != w.at {
		return do(op.bytes)
	}
	w.hit, w.op = true, op
	if w.half && op.kind == "write" {
		if err := do(op.bytes / 2); err != nil {
			return err
		}
	}
	return fmt.Errorf("%s: %w", op, errInjected)
}

func (w *faulty) arm(armed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.armed = armed
}

// say notes that somebody was told of an error.
func (w *faulty) say(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.told = append(w.told, err)
	}
}

// run opens, writes, is killed with an open segment whose tail one member lacks, opens again and writes and closes, with one
// failure on the way, then checks what is left.
func (w *faulty) run(n int) {
	members := memMembers(n)
	w.arm(true)
	err := w.session(members, true)
	if err == nil {
		members = w.killed(members, 100)
		w.arm(false)
		if n > 1 {
			w.damage(members[w.victim])
		}
		w.arm(true)
		err = w.session(members, false)
	}
	w.arm(false)
	w.say(err)
	w.judge(members, err)
	// First what a machine that goes down leaves, then what a killed process leaves.
	for _, percent := range []int{0, 50, 100} {
		w.verify(w.killed(members, percent))
	}
	w.verify(members)
}

// judge looks at who was told what.
func (w *faulty) judge(members []Member, err error) {
	if !w.hit {
		if err != nil || len(w.told)+len(w.left)+w.halted > 0 {
			w.t.Fatalf("no failure: %v; halted %d times, %v %v", err, w.halted, w.told, w.left)
		}
		return
	}
	for _, c := range w.left {
		if c.Number != w.victim {
			w.t.Errorf("%v: %+v", w, c)
		}
	}
	if len(members) == 3 && (w.halted > 0 || err != nil && !errors.Is(err, errNotMade)) {
		w.t.Errorf("%v: the log halted, or ended: %v", w, w.told)
	}
	if len(members) < 3 && len(w.left) > 0 {
		w.t.Errorf("%v: %+v", w, w.left)
	}
	said := false
	for _, err := range w.told {
		said = said || strings.Contains(err.Error(), errInjected.Error()) && strings.Contains(err.Error(), members[w.victim].Dir)
	}
	if !said {
		w.t.Errorf("%v: nobody was told: %v", w, w.told)
	}
}

// killed returns what a process that is killed leaves, with a share of what was not synced.
func (w *faulty) killed(members []Member, percent int) (out []Member) {
	synctest.Wait()
	dice := rand.New(rand.NewPCG(uint64(w.at), 0))
	for _, m := range members {
		out = append(out, Member{FS: m.FS.(*vfs.MemFS).CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: dice}), Dir: m.Dir})
	}
	return out
}

// verify opens members without failures: everything is there, at once, and on all of them a little later.
func (w *faulty) verify(members []Member) {
	v := verifier{t: w.t, name: w.String(), dice: rand.New(rand.NewPCG(0, 0)), members: members, damaged: true, past: w.h.snapshot()}
	v.settle = func(l *Log) {
		awaitIn(w.t, fmt.Sprintf("%v: whole: %+v", w, l.Members()), func() bool { return allCurrent(l) && l.Stats().Healing == 0 })
	}
	v.open(false)
}

// damage makes the recovery copy something to the victim: the tail of the open segment and the whole of a sealed one.
func (w *faulty) damage(m Member) {
	files, err := contents(m)
	if err != nil {
		w.t.Fatal(err)
	}
	for name, b := range files {
		if strings.HasSuffix(name, ".open") && len(b) > 100 {
			if err := writeFile(m, name, []byte(b[:100])); err != nil {
				w.t.Fatal(err)
			}
		}
	}
	if err := m.FS.Remove(m.FS.PathJoin(m.Dir, "0000000001.seg")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		w.t.Fatal(err)
	}
}

// session opens the log, writes and closes it, or leaves it to be killed, and returns the first error.
func (w *faulty) session(members []Member, leave bool) error {
	count := func(n *int) {
		w.mu.Lock()
		defer w.mu.Unlock()
		*n++
	}
	failures, opened := 0, false
	l, err := Open(hooked(members, w.hook), Options{SegmentBytes: 600, ScrubEvery: -1, Events: &Events{
		Failed:  func(err error) { count(&failures); w.say(err) },
		Halted:  func(err error) { count(&w.halted); w.say(err) },
		Resumed: func() { count(&w.resumed) },
		MemberState: func(c MemberChange) {
			w.say(c.Err)
			w.mu.Lock()
			defer w.mu.Unlock()
			if opened && c.From == Current {
				w.left = append(w.left, c)
			}
		},
	}})
	if err != nil {
		return err
	}
	w.mu.Lock()
	opened = true
	w.mu.Unlock()
	for _, m := range l.Members() {
		w.say(m.Err)
	}
	err = w.write(l)
	if err == nil && leave {
		w.mu.Lock()
		if w.halted != w.resumed {
			w.t.Errorf("%v: halted %d times, resumed %d times", w, w.halted, w.resumed)
		}
		w.mu.Unlock()
		w.t.Cleanup(func() { _ = l.Close() }) // it is dead
		return nil
	}
	closed := l.Close()
	failed := l.Failed()
	if failed != nil {
		w.ended(l, failed, closed)
	} else if _, again := l.Next(nil); again != io.EOF {
		w.t.Fatalf("%v: Next after Close: %v", w, again)
	}
	if err == nil {
		err = closed
	}
	return err
}

// ended checks that a log which has failed says so to everybody.
func (w *faulty) ended(l *Log, failed, closed error) {
	if _, again := l.Append(&Record{}); !errors.Is(again, failed) {
		w.t.Fatalf("%v: Append after the failure %v: %v", w, failed, again)
	}
	left, again := l.Next(nil) // what was durable before comes first
	w.h.acked += len(left)
	if again == nil {
		_, again = l.Next(nil)
	}
	if !errors.Is(again, failed) || !errors.Is(closed, failed) || !errors.Is(failed, ErrUnavailable) || len(l.Members()) == 3 {
		w.t.Fatalf("%v: after the failure %v: Next %v, Close %v", w, failed, again, closed)
	}
}

// write appends groups of records and waits for each group. While the log halts it waits until that goes on by itself, and what
// was durable before can be read.
func (w *faulty) write(l *Log) error {
	var last *Record
	for i := range 6 {
		k := 1 + i%3
		for j := range k {
			data := make([]byte, 50+10*i)
			r := &Record{Meta: fmt.Appendf(nil, "group %d record %d", i, j), Data: [][]byte{data}}
			_, err := l.Append(r)
			for errors.Is(err, ErrUnavailable) && l.Failed() == nil {
				if last != nil {
					if err := l.ReadAt(make([]byte, 50), last.At); err != nil {
						w.t.Fatalf("%v: read while the log halts: %v", w, err)
					}
				}
				awaitIn(w.t, fmt.Sprintf("%v: available", w), func() bool { return l.Available() == nil })
				_, err = l.Append(r)
			}
			if err != nil {
				return err
			}
			w.h.records = append(w.h.records, [2]string{string(r.Meta), string(data)})
		}
		for k > 0 {
			got, err := l.Next(nil)
			if err != nil {
				return err
			}
			k -= len(got)
			w.h.acked += len(got)
			last = got[len(got)-1]
		}
	}
	return nil
}

// TestChangeFails fails a change of the membership on one of two members, between records, before the first one and while a segment
// is open: who asked for it is told, the log halts while the member fails, goes on by itself, and the change can be made then.
func TestChangeFails(t *testing.T) {
	for _, records := range []int{0, 1} {
		synctest.Test(t, func(t *testing.T) {
			var ill atomic.Bool
			members := memMembers(2)
			l, err := Open(hooked(members, func(op fsOp, do func(int) error) error {
				if op.member == 1 && ill.Load() {
					return errInjected
				}
				return do(op.bytes)
			}), Options{ScrubEvery: -1})
			if err != nil {
				t.Fatal(err)
			}
			for range records {
				append1(t, l, "meta", "data")
			}
			ill.Store(true)
			err = l.SetRedundancy(t.Context(), Redundancy{})
			if !errors.Is(err, errInjected) || !strings.Contains(err.Error(), "replica-2") {
				t.Errorf("%d records: %v", records, err)
			}
			synctest.Wait()
			if err := l.Available(); !errors.Is(err, ErrUnavailable) || l.Failed() != nil {
				t.Errorf("%d records: available: %v, failed: %v", records, err, l.Failed())
			}
			if err := l.SetRedundancy(t.Context(), Redundancy{}); !errors.Is(err, ErrUnavailable) {
				t.Errorf("%d records: while it halts: %v", records, err)
			}
			ill.Store(false)
			awaitIn(t, "available", func() bool { return l.Available() == nil })
			if err := l.SetRedundancy(t.Context(), Redundancy{}); err != nil {
				t.Errorf("%d records: %v", records, err)
			}
			append1(t, l, "meta", "data")
			mustClose(t, "change", l)
			compareMembers(t, "change", members)
		})
	}
}
