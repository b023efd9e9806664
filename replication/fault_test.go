package replication

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/cockroachdb/pebble/v2/vfs"
)

var errInjected = errors.New("injected failure")

// TestEveryFailure fails each operation of each member once, a write in two ways: before the first byte and half way. The
// log, or Open, must say so and name the member; no acknowledged record may be missing afterwards, whether the process or
// the machine goes down with it; and no goroutine may hang or stay (synctest sees to that).
func TestEveryFailure(t *testing.T) {
	const n = 3
	cases := 0
	for victim := range n {
		for at := 1; ; at++ {
			done := false
			for _, half := range []bool{false, true} {
				synctest.Test(t, func(t *testing.T) {
					w := faulty{t: t, victim: victim, at: at, half: half}
					w.run(n)
					done = !w.hit
				})
				cases++
			}
			if done {
				break
			}
		}
	}
	if cases < 300 {
		t.Fatalf("only %d cases", cases)
	}
	t.Logf("%d cases", cases)
}

type faulty struct {
	t      *testing.T
	victim int
	at     int // fail the victim's operation of this number, counted from 1
	half   bool
	hit    bool
	op     fsOp
	count  int
	armed  atomic.Bool

	h history
}

func (w *faulty) hook(op fsOp, do func(int) error) error {
	if op.member != w.victim || !w.armed.Load() {
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

// run opens, writes, leaves an open segment with a tail that one member lacks, opens again and writes and closes, with
// one failure on the way, then checks what is left.
func (w *faulty) run(n int) {
	members := memMembers(n)
	w.armed.Store(true)
	err := w.session(members, true)
	if err == nil {
		w.armed.Store(false)
		w.damage(members[w.victim])
		w.armed.Store(true)
		err = w.session(members, false)
	}
	w.armed.Store(false)
	what := fmt.Sprintf("member %d fails %v, half %v", w.victim, w.op, w.half)
	switch {
	case w.hit && (!errors.Is(err, errInjected) || !strings.Contains(err.Error(), members[w.victim].Dir)):
		w.t.Fatalf("%s: %v", what, err)
	case !w.hit && err != nil:
		w.t.Fatalf("no failure: %v", err)
	}
	// First what a machine that goes down leaves, then what a killed process leaves.
	for _, percent := range []int{0, 50, 100} {
		v := verifier{t: w.t, name: what, dice: rand.New(rand.NewPCG(uint64(w.at), 0)), damaged: true, past: w.h.snapshot()}
		for _, m := range members {
			fs := m.FS.(*vfs.MemFS).CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: v.dice})
			v.members = append(v.members, Member{FS: fs, Dir: m.Dir})
		}
		v.open(false)
	}
	v := verifier{t: w.t, name: what, dice: rand.New(rand.NewPCG(0, 0)), members: members, damaged: true, past: w.h.snapshot()}
	v.open(false)
}

// damage makes the recovery copy something to the victim: the tail of the open segment and the whole of a sealed one.
func (w *faulty) damage(m Member) {
	files, err := contents(m)
	if err != nil {
		w.t.Fatal(err)
	}
	for name, b := range files {
		if strings.HasSuffix(name, ".open") {
			if err := writeFile(m, name, []byte(b[:100])); err != nil {
				w.t.Fatal(err)
			}
		}
	}
	if err := m.FS.Remove(m.FS.PathJoin(m.Dir, "0000000001.seg")); err != nil {
		w.t.Fatal(err)
	}
}

// session opens the log, writes and closes it, or leaves its last segment open, and returns the first error.
func (w *faulty) session(members []Member, leave bool) error {
	var failures atomic.Int32
	var events Events
	events.Failed = func(error) { failures.Add(1) }
	l, err := Open(hooked(members, w.hook), Options{SegmentBytes: 600, Events: &events})
	if err != nil {
		return err
	}
	err = w.write(l)
	if err == nil && leave {
		return l.abandon()
	}
	closed := l.Close()
	failed := l.Failed()
	if failed != nil {
		if _, again := l.Append(&Record{}); !errors.Is(again, failed) {
			w.t.Fatalf("Append after the failure %v: %v", failed, again)
		}
		left, again := l.Next(nil) // what was durable before comes first
		w.h.acked += len(left)
		if again == nil {
			_, again = l.Next(nil)
		}
		if !errors.Is(again, failed) {
			w.t.Fatalf("Next after the failure %v: %v", failed, again)
		}
		bad := l.Members()[w.victim]
		if bad.Err == nil || failures.Load() != 1 || !errors.Is(closed, failed) {
			w.t.Fatalf("after the failure %v: member %+v, %d events, Close %v", failed, bad, failures.Load(), closed)
		}
	} else if _, again := l.Next(nil); again != io.EOF {
		w.t.Fatalf("Next after Close: %v", again)
	}
	if err == nil {
		err = closed
	}
	return err
}

// write appends groups of records and waits for each group. After a failure what was durable before can still be read.
func (w *faulty) write(l *Log) error {
	var last *Record
	for i := range 6 {
		k := 1 + i%3
		for j := range k {
			r := &Record{Meta: fmt.Appendf(nil, "group %d record %d", i, j), Data: [][]byte{make([]byte, 50+10*i)}}
			w.h.records = append(w.h.records, [2]string{string(r.Meta), string(r.Data[0])})
			if _, err := l.Append(r); err != nil {
				w.h.records = w.h.records[:len(w.h.records)-1]
				return err
			}
		}
		for k > 0 {
			got, err := l.Next(nil)
			if err != nil {
				if last != nil {
					if err := l.ReadAt(make([]byte, 50), last.At); err != nil {
						w.t.Fatalf("read after the failure: %v", err)
					}
				}
				return err
			}
			k -= len(got)
			w.h.acked += len(got)
			last = got[len(got)-1]
		}
	}
	return nil
}
