package replication

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/replication/roster"
)

// TestCrashWhileMembersChange has members fail, come back and be replaced under a log that is appended to, and stops the world
// before operations on the disks, to see what would be there after a crash at that moment, with none, half or all of what was
// not synced on each. Such disks are opened all together, and with each member missing: a start that is allowed shows all that
// was acknowledged, and nothing else but what was appended after it, whatever the members were to each other just then.
func TestCrashWhileMembersChange(t *testing.T) {
	want := crashStates(t, 3000)
	seed := uint64(1)
	if s := os.Getenv("PAGEVAULT_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	var sum changeCounts
	for ; sum.states < want && !t.Failed(); seed++ {
		synctest.Test(t, func(t *testing.T) {
			c := changing{t: t, name: fmt.Sprintf("PAGEVAULT_SEED=%d", seed), rng: rand.New(rand.NewPCG(seed, 3))}
			c.run()
			sum.states += c.sum.states
			sum.whole += c.sum.whole
			sum.without += c.sum.without
			sum.readOnly += c.sum.readOnly
			sum.refused += c.sum.refused
		})
	}
	t.Logf("%d states, opened whole %d times, without a member %d times, of which %d for reading only; refused without a member %d times; next seed %d",
		sum.states, sum.whole, sum.without, sum.readOnly, sum.refused, seed)
	if sum.without < sum.refused {
		t.Error("more starts without a member are refused than allowed: this shows little")
	}
}

type changeCounts struct{ states, whole, without, readOnly, refused int }

// changing is one such life.
type changing struct {
	t     *testing.T
	name  string
	world sync.RWMutex // held for writing while the disks are cloned
	mems  []*vfs.MemFS
	homes []Member

	mu       sync.Mutex
	rng      *rand.Rand
	ill      int // the member that is ill; -1: none
	appended []string
	acked    int
	sum      changeCounts
}

func (c *changing) hook(op fsOp, do func(n int) error) error {
	c.mu.Lock()
	ill, look := op.member == c.ill, c.rng.IntN(12) == 0
	c.mu.Unlock()
	if look {
		c.world.Lock()
		c.crash(op)
		c.world.Unlock()
	}
	c.world.RLock()
	defer c.world.RUnlock()
	if ill {
		if op.kind == "write" {
			_ = do(op.bytes / 2)
		}
		return errInjected
	}
	return do(op.bytes)
}

func (c *changing) roll(n int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rng.IntN(n)
}

func (c *changing) set(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
}

func (c *changing) run() {
	t := c.t
	c.ill = -1
	for i := range 3 {
		c.mems = append(c.mems, vfs.NewCrashableMem())
		c.homes = append(c.homes, Member{FS: c.mems[i], Dir: fmt.Sprintf("replica-%d", i+1)})
	}
	l, err := Open(hooked(c.homes, c.hook), Options{SegmentBytes: []int64{900, 3000, 1 << 20}[c.roll(3)], ScrubEvery: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for range 3 + c.roll(4) {
		c.append(l, 1+c.roll(6))
		c.set(func() { c.ill = c.rng.IntN(3) })
		c.append(l, c.roll(6))
		if c.roll(3) == 0 {
			if err := l.Rotate(); err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
		}
		i := 0
		c.set(func() { i, c.ill = c.ill, -1 })
		if c.roll(3) == 0 && l.Members()[i].State != Current {
			home := hooked(c.homes, c.hook)[i]
			if err := l.Replace(t.Context(), i, home, true); err != nil {
				t.Fatalf("%s: replace: %v", c.name, err)
			}
		}
		if c.roll(2) == 0 {
			c.append(l, 1+c.roll(3)) // while it is brought up
		}
		awaitIn(t, c.name+": whole", func() bool { return allCurrent(l) })
	}
	c.world.Lock()
	defer c.world.Unlock()
	c.crash(fsOp{kind: "end"})
}

// append appends n records and waits until they are durable.
func (c *changing) append(l *Log, n int) {
	c.t.Helper()
	for range n {
		r := &Record{}
		c.set(func() {
			r.Meta = fmt.Append(nil, "meta ", len(c.appended))
			r.Data = [][]byte{bytes.Repeat([]byte{byte(len(c.appended))}, c.rng.IntN(900))}
			c.appended = append(c.appended, string(r.Meta)+string(r.Data[0]))
		})
		if _, err := l.Append(r); err != nil {
			c.t.Fatalf("%s: %v", c.name, err)
		}
		if _, err := l.Next(nil); err != nil {
			c.t.Fatalf("%s: %v", c.name, err)
		}
		c.set(func() { c.acked++ })
	}
}

// crash opens what is left of the disks.
func (c *changing) crash(op fsOp) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sum.states++
	shares := make([]int, 3)
	for i := range shares {
		shares[i] = []int{0, 50, 100}[c.rng.IntN(3)]
	}
	seed := c.rng.Uint64()
	disks := func() []Member {
		rng := rand.New(rand.NewPCG(seed, 9))
		var out []Member
		for i, fs := range c.mems {
			out = append(out, Member{FS: fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: shares[i], RNG: rng}), Dir: c.homes[i].Dir})
		}
		return out
	}
	for missing := -1; missing < 3; missing++ {
		what := fmt.Sprintf("%s: crash before %v of member %d, unsynced %v %%, member %d missing", c.name, op, op.member, shares, missing)
		members := disks()
		if missing >= 0 {
			members[missing].FS = vfs.NewMem()
		}
		l, err := Open(members, Options{Passive: true})
		switch {
		case err == nil:
			c.check(what, l)
			if missing < 0 {
				c.sum.whole++
			} else {
				c.sum.without++
			}
			if l.Failed() != nil {
				c.sum.readOnly++
			} else if missing < 0 {
				c.goOn(what, l)
			}
			l.Close()
		case missing < 0 && c.acked > 0:
			c.t.Errorf("%s: %v", what, err)
		case missing < 0 || errors.Is(err, roster.ErrMinority):
			c.sum.refused++
		case c.acked == 0: // the log was being made
		default:
			c.t.Errorf("%s: %v", what, err)
		}
	}
}

// check compares all that a log shows with what was appended.
func (c *changing) check(what string, l *Log) {
	n := 0
	err := l.Replay(1, func(r *Record) error {
		if n >= len(c.appended) {
			return fmt.Errorf("record %d was never appended: %q", r.LSN, r.Meta)
		}
		want := c.appended[n]
		data := make([]byte, len(want)-len(r.Meta))
		if err := l.ReadAt(data, r.At); err != nil {
			return err
		}
		if string(r.Meta)+string(data) != want {
			return fmt.Errorf("record %d is %q…, want %.20q", r.LSN, r.Meta, want)
		}
		n++
		return nil
	})
	if err != nil || n < c.acked {
		c.t.Errorf("%s: %d of %d acknowledged records: %v: %+v", what, n, c.acked, err, l.Members())
	}
}

// goOn appends one more record.
func (c *changing) goOn(what string, l *Log) {
	if _, err := l.Append(&Record{Meta: []byte("more")}); err != nil {
		c.t.Errorf("%s: append: %v", what, err)
		return
	}
	if _, err := l.Next(nil); err != nil {
		c.t.Errorf("%s: %v", what, err)
	}
}
