package replication

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// crashStates is how many states of the disks after a crash the tests look at; PAGEVAULT_CRASH_STATES changes it.
func crashStates(t *testing.T, normal int) int {
	s := os.Getenv("PAGEVAULT_CRASH_STATES")
	if s == "" {
		return normal
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatalf("PAGEVAULT_CRASH_STATES: %v", err)
	}
	return n
}

// history is what a workload has done: every record handed to Append, in order, and how many Next has returned.
type history struct {
	sync.Mutex
	records [][2]string // Meta and Data
	acked   int
}

// TestCrash runs workloads on crashable memory disks and stops the world before every operation that changes a disk, to
// see what would be there after a crash at that moment, with none, half, all or, for each member independently, any of
// these shares of what was not synced. Every such state must open: acknowledged records are there with their bytes, in
// order and without gaps, what was not acknowledged is there as a prefix or not at all, the members are equal, records can
// be appended. The crash is repeated at some step of that recovery, and after it.
func TestCrash(t *testing.T) {
	want := crashStates(t, 4000)
	seed := uint64(1)
	if s := os.Getenv("PAGEVAULT_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	states := 0
	for ; states < want && !t.Failed(); seed++ {
		c := crasher{t: t, rng: rand.New(rand.NewPCG(seed, 0)), name: fmt.Sprintf("PAGEVAULT_SEED=%d", seed)}
		c.workload()
		states += c.states
	}
	t.Logf("%d states of the disks after a crash, next seed %d", states, seed)
}

// crasher is one workload and the crashes of it.
type crasher struct {
	t      *testing.T
	name   string
	world  sync.RWMutex // held for reading during every change of a disk, for writing while the disks are cloned
	rng    *rand.Rand   // under world held for writing, or before the workload
	mems   []*vfs.MemFS
	dirs   []Member
	h      history
	states int
}

func (c *crasher) workload() {
	n := 1 + c.rng.IntN(3)
	for i := range n {
		fs := vfs.NewCrashableMem()
		c.mems = append(c.mems, fs)
		c.dirs = append(c.dirs, Member{FS: fs, Dir: fmt.Sprintf("data/replica-%d", i+1)})
	}
	o := Options{SegmentBytes: []int64{900, 4 << 10, 16 << 10, 48 << 10}[c.rng.IntN(4)]}
	maxData := []int{40, 700, 5000, 20000}[c.rng.IntN(4)]
	// The workload has dice of its own: those of the crashes are thrown by several goroutines.
	dice := rand.New(rand.NewPCG(c.rng.Uint64(), 1))
	for range 1 + dice.IntN(3) {
		l, err := Open(hooked(c.dirs, c.step), o)
		if err != nil {
			c.t.Errorf("%s: open: %v", c.name, err)
			return
		}
		for range 1 + dice.IntN(6) {
			c.burst(l, dice, maxData)
		}
		if dice.IntN(3) == 0 {
			// Leave the segment open, as a killed process does; the next Open finds what the page cache holds.
			if err := l.abandon(); err != nil {
				c.t.Errorf("%s: abandon: %v", c.name, err)
				return
			}
		} else if err := l.Close(); err != nil {
			c.t.Errorf("%s: close: %v", c.name, err)
			return
		}
	}
	c.crash("after the end", 0)
}

// abandon ends the log's goroutines without sealing the open segment.
func (l *Log) abandon() error {
	l.mu.Lock()
	l.mu.closing = true
	l.mu.Unlock()
	l.tail = 0 // nothing to seal; the commit loop is waiting, since all that was appended is durable
	return l.Close()
}

// burst appends some records and waits until they are durable.
func (c *crasher) burst(l *Log, dice *rand.Rand, maxData int) {
	k := 1 + dice.IntN(5)
	for range k {
		r := &Record{Meta: randomBytes(dice, dice.IntN(60))}
		for range dice.IntN(3) {
			r.Data = append(r.Data, randomBytes(dice, dice.IntN(maxData)))
		}
		c.h.Lock()
		c.h.records = append(c.h.records, [2]string{string(r.Meta), string(bytes.Join(r.Data, nil))})
		c.h.Unlock()
		if _, err := l.Append(r); err != nil {
			c.t.Errorf("%s: append: %v", c.name, err)
			return
		}
	}
	for k > 0 {
		got, err := l.Next(nil)
		if err != nil {
			c.t.Errorf("%s: next: %v", c.name, err)
			return
		}
		k -= len(got)
		c.h.Lock()
		c.h.acked += len(got)
		c.h.Unlock()
	}
}

func randomBytes(dice *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(dice.Uint32())
	}
	return b
}

// step is the hook: the world may end before every operation.
func (c *crasher) step(op fsOp, do func(int) error) error {
	if op.kind != "lock" && op.kind != "close" && op.kind != "open" {
		for _, percent := range []int{0, 50, 100, -1} {
			c.crash(op.String(), percent)
		}
	}
	c.world.RLock()
	defer c.world.RUnlock()
	return do(op.bytes)
}

// crash clones the disks with a share of what was not synced (-1: each disk another) and checks the clones.
func (c *crasher) crash(when string, percent int) {
	if c.t.Failed() {
		return
	}
	c.world.Lock()
	c.states++
	v := verifier{t: c.t, dice: rand.New(rand.NewPCG(c.rng.Uint64(), 2))}
	v.members = cloneAll(c.mems, c.dirs, percent, v.dice)
	c.h.Lock()
	v.records, v.acked = c.h.records[:len(c.h.records):len(c.h.records)], c.h.acked
	c.h.Unlock()
	c.world.Unlock()
	v.name = fmt.Sprintf("%s: crash before %q, %d %% kept", c.name, when, percent)
	v.open(true)
}

func cloneAll(mems []*vfs.MemFS, like []Member, percent int, dice *rand.Rand) []Member {
	var out []Member
	for i, fs := range mems {
		p := percent
		if p < 0 {
			p = []int{0, 10, 50, 90, 100}[dice.IntN(5)]
		}
		out = append(out, Member{FS: fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: p, RNG: dice}), Dir: like[i].Dir})
	}
	return out
}

// verifier checks one state after a crash.
type verifier struct {
	t       *testing.T
	name    string
	dice    *rand.Rand
	members []Member
	records [][2]string
	acked   int
}

func (v *verifier) mems() []*vfs.MemFS {
	var out []*vfs.MemFS
	for _, m := range v.members {
		out = append(out, m.FS.(*vfs.MemFS))
	}
	return out
}

// open opens the log and checks it. If again is set, the disks crash once more during the recovery and once after it.
func (v *verifier) open(again bool) {
	members := v.members
	var recovered atomic.Bool
	if again {
		n, at := 0, v.dice.IntN(30)
		members = hooked(v.members, func(op fsOp, do func(int) error) error {
			if recovered.Load() {
				return do(op.bytes)
			}
			if n++; n == at {
				w := *v
				w.members = cloneAll(v.mems(), v.members, []int{0, 50, 100, -1}[v.dice.IntN(4)], v.dice)
				w.name += fmt.Sprintf("; crash before %q in the recovery", op)
				w.open(false)
			}
			return do(op.bytes)
		})
	}
	l, err := Open(members, Options{})
	recovered.Store(true)
	if err != nil {
		v.t.Errorf("%s: open: %v", v.name, err)
		return
	}
	v.check(l)
	last := l.LastLSN()
	if again {
		w := *v
		w.members = cloneAll(v.mems(), v.members, 0, v.dice)
		w.name += "; crash after the recovery"
		w.acked, w.records = int(last), w.records[:last]
		w.open(false)
	}
	if err := v.appendOne(l, last); err != nil {
		v.t.Errorf("%s: append: %v", v.name, err)
	}
	if err := l.Close(); err != nil {
		v.t.Errorf("%s: close: %v", v.name, err)
	}
	v.equal()
}

func (v *verifier) appendOne(l *Log, last LSN) error {
	r := &Record{Meta: []byte("after the crash")}
	lsn, err := l.Append(r)
	if err == nil && lsn != last+1 {
		err = fmt.Errorf("LSN %d follows %d", lsn, last)
	}
	if err == nil {
		_, err = l.Next(nil)
	}
	return err
}

// check compares every record, on every member, with the history.
func (v *verifier) check(l *Log) {
	last := int(l.LastLSN())
	if last < v.acked || last > len(v.records) {
		v.t.Errorf("%s: %d records, %d were acknowledged and %d appended", v.name, last, v.acked, len(v.records))
		return
	}
	next := 0
	err := l.Replay(1, func(r *Record) error {
		if next >= last || int(r.LSN) != next+1 || string(r.Meta) != v.records[next][0] {
			return fmt.Errorf("record %d is not number %d", r.LSN, next+1)
		}
		want := v.records[next][1]
		got := make([]byte, len(want))
		for i := range v.members {
			if err := l.ReadMemberAt(i, got, r.At); err != nil {
				return err
			}
			if string(got) != want {
				return fmt.Errorf("record %d has other data on member %d", r.LSN, i)
			}
		}
		next++
		return nil
	})
	if err == nil && next != last {
		err = fmt.Errorf("replayed %d of %d records", next, last)
	}
	if err != nil {
		v.t.Errorf("%s: %v", v.name, err)
	}
	v.equal()
}

// equal checks that the members hold the same files.
func (v *verifier) equal() {
	var first map[string]string
	for i, m := range v.members {
		c, err := contents(m)
		if err != nil {
			v.t.Errorf("%s: %v", v.name, err)
			return
		}
		if i == 0 {
			first = c
		}
		if len(c) != len(first) {
			v.t.Errorf("%s: member %d has %d files, member 0 %d", v.name, i, len(c), len(first))
		}
		for name, b := range c {
			if first[name] != b {
				v.t.Errorf("%s: member %d differs in %s", v.name, i, name)
			}
		}
	}
}
