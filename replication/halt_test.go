package replication

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestTooFew has so many members fail that too few are left to write, at every operation of a life, in every way. Records are
// refused then, and nothing else: what was acknowledged is read. When the members work again the log goes on by itself, with
// what had been appended, whose bytes have been used for something else meanwhile.
func TestTooFew(t *testing.T) {
	for _, n := range []struct{ members, ill int }{{1, 1}, {2, 1}, {3, 2}, {3, 3}} {
		for _, how := range sicknesses {
			if how.name == "once" {
				continue // it is over before anybody is refused
			}
			t.Run(fmt.Sprintf("%d of %d %s", n.ill, n.members, how.name), func(t *testing.T) {
				hits, halts := 0, 0
				for at := 1 + rand.IntN(failEvery); !t.Failed(); at += failEvery {
					hit := false
					synctest.Test(t, func(t *testing.T) {
						h := &halting{t: t, how: how, ill: n.ill, at: at, well: make(chan struct{})}
						hit = h.run(n.members)
						if h.halts > 0 {
							halts++
						}
					})
					if !hit {
						break
					}
					hits++
				}
				t.Logf("failed at %d operations, halted %d times", hits, halts)
				if hits < 10/failEvery || halts < hits/2 {
					t.Errorf("failed at %d operations, halted %d times", hits, halts)
				}
			})
		}
	}
}

// halting is a life in which several members fall ill, at one operation of the first of them.
type halting struct {
	t       *testing.T
	how     sickness
	ill, at int
	well    chan struct{}
	mu      sync.Mutex
	count   int
	hit     bool
	cured   bool
	armed   bool
	halts   int
	resumes int
}

func (h *halting) hook(op fsOp, do func(n int) error) error {
	h.mu.Lock()
	if h.armed && !h.cured && op.member == 0 {
		if h.count++; h.count >= h.at {
			h.hit = true
		}
	}
	ill := h.hit && !h.cured && op.member < h.ill
	h.mu.Unlock()
	if ill {
		return h.how.sick(&ward{well: h.well}, op, do)
	}
	return do(op.bytes)
}

func (h *halting) set(change func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change()
}

func (h *halting) run(n int) bool {
	t := h.t
	members := memMembers(n)
	o := Options{SegmentBytes: 2000, ScrubEvery: -1, Events: &Events{
		Failed:  func(err error) { t.Errorf("the log failed: %v", err) },
		Halted:  func(error) { h.set(func() { h.halts++ }) },
		Resumed: func() { h.set(func() { h.resumes++ }) },
	}}
	l, err := Open(hooked(members, h.hook), o)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	defer h.set(func() {
		if !h.cured {
			close(h.well)
		}
	})
	var b book
	b.append(t, l, 3)
	h.set(func() { h.armed = true })
	waiting := h.appendUntilHalted(l, &b)
	b.check(t, l)
	if l.Available() != nil {
		if _, err := l.Append(&Record{Meta: []byte("no")}); !errors.Is(err, ErrUnavailable) {
			t.Errorf("an append to a log that halts: %v", err)
		}
	}
	hit := false
	h.set(func() { hit = h.hit; h.cured = true; close(h.well) })
	b.await(t, l, waiting)
	awaitIn(t, fmt.Sprintf("whole: %v", l.Members()), func() bool { return allCurrent(l) && l.Available() == nil })
	b.append(t, l, 3)
	b.check(t, l)
	if err := l.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	if h.halts != h.resumes {
		t.Errorf("halted %d times, resumed %d times", h.halts, h.resumes)
	}
	b.checkReplay(t, members)
	compareMembers(t, h.how.name, members)
	return hit
}

// appendUntilHalted appends until the log halts, or for a while, and returns what is not durable. The bytes of that are spoiled.
func (h *halting) appendUntilHalted(l *Log, b *book) (waiting []*Record) {
	for range 25 {
		text := fmt.Sprintf("record %d %s", len(b.text), strings.Repeat("x", 150+37*(len(b.text)%13)))
		data := []byte(text)
		r := &Record{Meta: fmt.Append(nil, "meta ", len(b.text)), Data: [][]byte{data}}
		lsn, err := l.Append(r)
		if errors.Is(err, ErrUnavailable) {
			break
		}
		if err != nil {
			h.t.Fatal(err)
		}
		b.text = append(b.text, text)
		waiting = append(waiting, r)
		l.Release(lsn)
		if l.Available() != nil {
			clear(data)
			break
		}
		got, err := l.Next(nil)
		if err != nil || len(got) != 1 || got[0] != r {
			h.t.Fatalf("Next: %d records, %v", len(got), err)
		}
		b.records, waiting = append(b.records, r), waiting[:0]
		if h.resumed() {
			break
		}
	}
	return waiting
}

func (h *halting) resumed() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.resumes > 0
}

// await waits for records that were appended.
func (b *book) await(t *testing.T, l *Log, waiting []*Record) {
	t.Helper()
	for len(waiting) > 0 {
		got, err := l.Next(nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range got {
			if r != waiting[0] {
				t.Fatalf("record %d instead of %d", r.LSN, waiting[0].LSN)
			}
			b.records, waiting = append(b.records, r), waiting[1:]
		}
	}
}

// TestCloseWhileHalted closes logs that halt, with members that fail and members that hang.
func TestCloseWhileHalted(t *testing.T) {
	for _, how := range sicknesses[:5] {
		t.Run(how.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &halting{t: t, how: how, ill: 2, at: 1, well: make(chan struct{}), armed: true}
				members := memMembers(2)
				h.armed = false
				l, err := Open(hooked(members, h.hook), Options{ScrubEvery: -1})
				if err != nil {
					t.Fatal(err)
				}
				var b book
				b.append(t, l, 3)
				h.set(func() { h.armed = true })
				if _, err := l.Append(&Record{Meta: []byte("waits")}); err != nil {
					t.Fatal(err)
				}
				awaitIn(t, "halted", func() bool { return l.Available() != nil })
				if how.name == "hangs" { // after Close has given up on the disks, they answer
					time.AfterFunc(5*time.Minute, func() { close(h.well) })
				}
				if err := l.Close(); !errors.Is(err, ErrUnavailable) {
					t.Errorf("Close: %v", err)
				}
				if _, err := l.Append(&Record{Meta: []byte("no")}); err == nil {
					t.Error("a record was taken after Close")
				}
				<-time.After(10 * time.Minute)
				synctest.Wait()
				fresh := make([]Member, len(members))
				for i, m := range members { // the locks of those that hung are not given back
					fresh[i] = Member{FS: m.FS.(*vfs.MemFS).CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))}), Dir: m.Dir}
				}
				again, err := Open(fresh, Options{Passive: true})
				if err != nil {
					t.Fatal(err)
				}
				defer again.Close()
				b.check(t, again)
				if n := again.LastLSN(); n < 3 {
					t.Errorf("%d records are left", n)
				}
			})
		})
	}
}

// TestSlowEverywhereIsNoFailure: where all members are slow nobody is left out, and nobody refused.
func TestSlowEverywhereIsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var slow sync.Mutex
		delay := time.Duration(0)
		members := hooked(memMembers(3), func(op fsOp, do func(int) error) error {
			slow.Lock()
			d := delay
			slow.Unlock()
			if op.kind == "sync" && d > 0 {
				<-time.After(d + time.Duration(op.member)*time.Second)
			}
			return do(op.bytes)
		})
		l, err := Open(members, Options{ScrubEvery: -1, Events: &Events{
			MemberState: func(c MemberChange) { t.Errorf("member %d is %v: %v", c.Number, c.To, c.Err) },
			Halted:      func(err error) { t.Error(err) },
		}})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		slow.Lock()
		delay = 5 * time.Second
		slow.Unlock()
		var b book
		b.append(t, l, 5)
		b.check(t, l)
	})
}

// TestOneAfterTheOther loses members one after the other, each for good, and replaces them with empty directories. At the end
// nothing of the first three is left, and everything that was acknowledged is there.
func TestOneAfterTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		members := memMembers(3)
		dead := map[*vfs.MemFS]bool{}
		var mu sync.Mutex
		home := func(m Member) Member {
			fs := m.FS.(*vfs.MemFS)
			return Member{Dir: m.Dir, FS: &hookFS{FS: fs, hook: func(op fsOp, do func(int) error) error {
				mu.Lock()
				defer mu.Unlock()
				if dead[fs] {
					return errInjected
				}
				return do(op.bytes)
			}}}
		}
		var homes []Member
		for _, m := range members {
			homes = append(homes, home(m))
		}
		l, err := Open(homes, Options{SegmentBytes: 1500, ScrubEvery: -1, Events: &Events{Halted: func(err error) { t.Error(err) }}})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		var b book
		life(t, l, &b)
		for i := range members {
			mu.Lock()
			dead[members[i].FS.(*vfs.MemFS)] = true
			mu.Unlock()
			b.append(t, l, 7)
			if allCurrent(l) {
				t.Fatalf("member %d is dead, and current", i)
			}
			members[i] = Member{FS: vfs.NewCrashableMem(), Dir: fmt.Sprintf("new/replica-%d", i+1)}
			if err := l.Replace(t.Context(), i, home(members[i]), false); err != nil {
				t.Fatal(err)
			}
			b.append(t, l, 2)
			awaitIn(t, fmt.Sprintf("current: %v", l.Members()), func() bool { return allCurrent(l) })
			b.append(t, l, 3)
			b.check(t, l)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		slices.Reverse(members) // the order in which they are given does not matter
		b.checkReplay(t, members)
		compareMembers(t, "all replaced", members)
	})
}
