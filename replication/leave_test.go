package replication

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// sickness is how a member's file system behaves from some operation on: it is asked about every operation that changes
// something, and says what to do instead.
type sickness struct {
	name string
	sick func(w *ward, op fsOp, do func(n int) error) error
}

var sicknesses = []sickness{
	{"EIO", func(w *ward, op fsOp, do func(int) error) error { return syscall.EIO }},
	{"ENOSPC", func(w *ward, op fsOp, do func(int) error) error {
		switch op.kind {
		case "write":
			_ = do(op.bytes / 2)
			return syscall.ENOSPC
		case "create", "mkdir":
			return syscall.ENOSPC
		}
		return do(op.bytes)
	}},
	{"short write", func(w *ward, op fsOp, do func(int) error) error {
		if op.kind == "write" {
			_ = do(op.bytes / 2)
			return syscall.EIO
		}
		return do(op.bytes)
	}},
	{"sync fails", func(w *ward, op fsOp, do func(int) error) error {
		if op.kind == "sync" || op.kind == "sync-dir" {
			return syscall.EIO
		}
		return do(op.bytes)
	}},
	{"hangs", func(w *ward, op fsOp, do func(int) error) error {
		<-w.well
		return do(op.bytes)
	}},
	{"once", func(w *ward, op fsOp, do func(int) error) error {
		w.at = 0 // no other
		return syscall.EIO
	}},
}

// ward is three members of which one falls ill at its operation number at, counted from the opening of the log on.
type ward struct {
	t      *testing.T
	victim int
	well   chan struct{} // closed when it is cured
	mu     sync.Mutex
	count  int
	at     int // 0: never
	op     fsOp
	hit    bool
	cured  bool
	how    sickness
}

func (w *ward) hook(op fsOp, do func(n int) error) error {
	w.mu.Lock()
	ill := false
	if op.member == w.victim && w.at > 0 && !w.cured {
		w.count++
		if ill = w.count >= w.at; ill && !w.hit {
			w.hit, w.op = true, op
		}
	}
	if ill {
		how := w.how.sick
		w.mu.Unlock()
		return how(w, op, do)
	}
	w.mu.Unlock()
	return do(op.bytes)
}

func (w *ward) cure() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.cured {
		w.cured = true
		close(w.well)
	}
}

func (w *ward) String() string {
	return fmt.Sprintf("member %d: %s from %v on", w.victim, w.how.name, w.op)
}

// awaitIn returns when so is true, by the clock of the bubble, and fails the test after some minutes of it.
func awaitIn(t *testing.T, what string, so func() bool) {
	t.Helper()
	for range 3000 {
		synctest.Wait()
		if so() {
			return
		}
		<-time.After(100 * time.Millisecond)
	}
	t.Fatalf("not %s after minutes", what)
}

func allCurrent(l *Log) bool {
	for _, m := range l.Members() {
		if m.State != Current {
			return false
		}
	}
	return true
}

// book is what was acknowledged.
type book struct {
	records []*Record
	text    []string
}

func (b *book) append(t *testing.T, l *Log, n int) {
	t.Helper()
	for range n {
		text := fmt.Sprintf("record %d %s", len(b.text), strings.Repeat("x", 100+37*(len(b.text)%13)))
		b.records = append(b.records, append1(t, l, fmt.Sprint("meta ", len(b.text)), text))
		b.text = append(b.text, text)
	}
}

// check reads everything, from anybody.
func (b *book) check(t *testing.T, l *Log) {
	t.Helper()
	for i, r := range b.records {
		p := make([]byte, len(b.text[i]))
		if err := l.ReadAt(p, r.At); err != nil || string(p) != b.text[i] {
			t.Fatalf("record %d at %v: %v, %.40q", i, r.At, err, p)
		}
	}
}

// checkReplay opens the log anew and compares all records, which are equal on all members.
func (b *book) checkReplay(t *testing.T, members []Member) {
	t.Helper()
	l, err := Open(members, Options{Passive: true})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	n := 0
	if err := l.Replay(1, func(r *Record) error {
		if want := fmt.Sprint("meta ", n); string(r.Meta) != want {
			return fmt.Errorf("record %d is %q, want %q", r.LSN, r.Meta, want)
		}
		n++
		return nil
	}); err != nil || n != len(b.text) {
		t.Fatalf("%d of %d records: %v", n, len(b.text), err)
	}
	b.check(t, l)
	if !allCurrent(l) {
		t.Fatalf("after the end: %+v", l.Members())
	}
}

// TestOneMemberFails has one member fail at every operation of a life with appends, seals, checkpoints and drops, in every way.
// Nobody who appends sees more of it than that it takes a while; what was acknowledged is there; the member is told, and has
// everything again when it is cured.
func TestOneMemberFails(t *testing.T) {
	for _, how := range sicknesses {
		t.Run(how.name, func(t *testing.T) {
			hits := 0
			for at := 1 + rand.IntN(failEvery); ; at += failEvery {
				hit := false
				synctest.Test(t, func(t *testing.T) { hit = oneFails(t, how, at) })
				if !hit || t.Failed() {
					break
				}
				hits++
			}
			t.Logf("failed at %d operations", hits)
			if hits < 20/failEvery {
				t.Errorf("only %d operations", hits)
			}
		})
	}
}

func oneFails(t *testing.T, how sickness, at int) bool {
	members := memMembers(3)
	w := &ward{t: t, how: how, well: make(chan struct{}), victim: at % 3}
	var healed, changed int
	o := Options{SegmentBytes: 2000, ScrubEvery: -1, Events: &Events{
		Healed: func(Repair) { healed++ }, MemberState: func(MemberChange) { changed++ },
		Failed: func(err error) { t.Errorf("%v: the log failed: %v", w, err) },
		Halted: func(err error) { t.Errorf("%v: the log halted: %v", w, err) },
	}}
	l, err := Open(hooked(members, w.hook), o)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	defer w.cure()
	w.mu.Lock()
	w.at = at
	w.mu.Unlock()
	var b book
	life(t, l, &b)
	b.check(t, l)
	w.mu.Lock()
	hit := w.hit
	w.mu.Unlock()
	w.cure()
	awaitIn(t, fmt.Sprintf("whole: %v: %+v", w, l.Members()), func() bool { return allCurrent(l) && l.Stats().Healing == 0 })
	b.append(t, l, 3)
	b.check(t, l)
	if err := l.Close(); err != nil {
		t.Fatalf("%v: close: %v", w, err)
	}
	b.checkReplay(t, members)
	compareMembers(t, w.String(), members)
	return hit
}

// life appends, rotates, saves checkpoints and drops.
func life(t *testing.T, l *Log, b *book) {
	t.Helper()
	b.append(t, l, 9)
	if err := l.Rotate(); err != nil {
		t.Fatal(err)
	}
	b.append(t, l, 2)
	if err := l.SaveCheckpoint(3, cpFiles{"a": "checkpoint", "b": strings.Repeat("y", 3000)}.list()); err != nil {
		t.Fatal(err)
	}
	b.append(t, l, 5)
	if err := l.SaveCheckpoint(12, cpFiles{"a": "another", "b": strings.Repeat("y", 3000)}.list()); err != nil {
		t.Fatal(err)
	}
	b.append(t, l, 9)
}

// compareMembers compares the files of members that are closed.
func compareMembers(t *testing.T, what string, members []Member) {
	t.Helper()
	first, err := contents(members[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range members[1:] {
		files, err := contents(m)
		if err != nil {
			t.Fatal(err)
		}
		for name, b := range files {
			if was, there := first[name]; !there || was != b {
				t.Errorf("%s: %s/%s is not as in %s (there: %v)", what, m.Dir, name, members[0].Dir, there)
			}
		}
		if len(files) != len(first) {
			t.Errorf("%s: %s has %d files, %s has %d", what, m.Dir, len(files), members[0].Dir, len(first))
		}
	}
}

// TestMuchIsRepairedLater opens a log of which one member has lost nearly everything but its identity: it is open at once, and
// the member gets the rest while the log takes records.
func TestMuchIsRepairedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		members := memMembers(3)
		l := mustOpen(t, members, Options{SegmentBytes: 1000, ScrubEvery: -1})
		var b book
		b.append(t, l, 60)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		files, err := contents(members[1])
		if err != nil {
			t.Fatal(err)
		}
		for name := range files {
			if name > "0000000003.seg" {
				if err := members[1].FS.Remove(members[1].FS.PathJoin(members[1].Dir, name)); err != nil {
					t.Fatal(err)
				}
			}
		}
		var done Recovery
		l = mustOpen(t, members, Options{SegmentBytes: 1000, ScrubEvery: -1, repairAtOpen: 2500, Events: &Events{Recovered: func(r Recovery) { done = r }}})
		if n := len(done.Repaired); n == 0 || n > 5 {
			t.Errorf("%d segments were repaired before the log was open, of %d", n, len(files))
		}
		if l.Stats().UnderReplicated == 0 {
			t.Error("nothing lacks a copy")
		}
		b.check(t, l)
		b.append(t, l, 3)
		awaitIn(t, "whole", func() bool { return l.Stats().UnderReplicated == 0 })
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		b.checkReplay(t, members)
		compareMembers(t, "at the end", members)
	})
}
