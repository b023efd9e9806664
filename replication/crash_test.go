package replication

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

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

// history is what a workload has done: every record handed to Append, in order, and how many Next has returned; the
// checkpoint that was saved last and the one that is being saved; the segments that were dropped and those that are being.
type history struct {
	sync.Mutex
	past
}

// past is a history that stands still.
type past struct {
	records  [][2]string // Meta and Data
	at       []SegmentID // of each record that Next has returned
	acked    int
	saved    saved
	saving   *saved // nil: none
	dropped  map[SegmentID]bool
	dropping map[SegmentID]bool // all of them go, or none
}

type saved struct {
	lsn   LSN // 0: no checkpoint
	files cpFiles
}

// snapshot returns the history as it is now.
func (h *history) snapshot() past {
	h.Lock()
	defer h.Unlock()
	p := h.past
	p.records, p.at = slices.Clip(p.records), slices.Clip(p.at)
	p.dropped, p.dropping = maps.Clone(p.dropped), maps.Clone(p.dropping)
	return p
}

// TestCrash runs workloads of appends, rotations, checkpoints and drops on crashable memory disks and stops the world before every operation that changes a disk, to
// see what would be there after a crash at that moment, with none, half, all or, for each member independently, any of
// these shares of what was not synced. Every such state must open: acknowledged records are there with their bytes, in
// order and without gaps but for segments that were dropped, what was not acknowledged is there as a prefix or not at all, the
// checkpoint is the last one, or the one that was being saved, byte for byte, the members are equal, records can be appended.
// The crash is repeated at some step of that recovery, and after it.
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
	o := Options{SegmentBytes: []int64{900, 4 << 10, 16 << 10, 48 << 10}[c.rng.IntN(4)],
		StallAfter: time.Hour, diskPatience: time.Hour} // the world stands still for as long as a crash is looked at
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
			c.keep(l, dice)
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

// keep now and then rotates, saves a checkpoint, and drops some of the segments it stands for.
func (c *crasher) keep(l *Log, dice *rand.Rand) {
	var err error
	if dice.IntN(3) == 0 {
		err = l.Rotate()
	}
	if err == nil && dice.IntN(3) == 0 {
		err = c.save(l, dice)
	}
	if err == nil && dice.IntN(3) == 0 {
		err = c.drop(l, dice)
	}
	if err != nil {
		c.t.Errorf("%s: %v", c.name, err)
	}
}

func (c *crasher) save(l *Log, dice *rand.Rand) error {
	c.h.Lock()
	old := c.h.saved
	next := &saved{lsn: old.lsn + LSN(dice.IntN(c.h.acked-int(old.lsn)+1)), files: cpFiles{}}
	if next.lsn == 0 {
		next.lsn = 1
	}
	for name, content := range old.files {
		if dice.IntN(2) == 0 {
			next.files[name] = content
		}
	}
	for range dice.IntN(3) {
		next.files[[]string{"-a", "b", "c", "d"}[dice.IntN(4)]] = string(randomBytes(dice, dice.IntN(5000)))
	}
	c.h.saving = next
	c.h.Unlock()
	err := l.SaveCheckpoint(next.lsn, next.files.list())
	c.h.Lock()
	c.h.saved, c.h.saving = *next, nil
	c.h.Unlock()
	return err
}

func (c *crasher) drop(l *Log, dice *rand.Rand) error {
	var ids []SegmentID
	for _, s := range l.Segments() {
		if s.Sealed && s.Last <= c.h.saved.lsn && dice.IntN(2) == 0 {
			ids = append(ids, s.ID)
		}
	}
	c.h.Lock()
	c.h.dropping = map[SegmentID]bool{}
	for _, id := range ids {
		c.h.dropping[id] = true
	}
	c.h.Unlock()
	err := l.Drop(ids...)
	c.h.Lock()
	if c.h.dropped == nil {
		c.h.dropped = map[SegmentID]bool{}
	}
	maps.Copy(c.h.dropped, c.h.dropping)
	c.h.dropping = nil
	c.h.Unlock()
	return err
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
		for _, r := range got {
			c.h.at = append(c.h.at, r.At.Segment)
		}
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
	v.past = c.h.snapshot()
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
	damaged bool       // on purpose, not only by a crash
	settle  func(*Log) // waits until all members are current, if any may not be at once; nil: none
	past
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
	if err := v.verifyBefore(); err != nil && !v.damaged {
		v.t.Errorf("%s: %v", v.name, err)
	}
	l, err := Open(members, Options{})
	recovered.Store(true)
	if err != nil {
		v.t.Errorf("%s: open: %v", v.name, err)
		return
	}
	if v.settle != nil {
		if err := v.checkRecords(l, int(l.LastLSN())); err != nil {
			v.t.Errorf("%s: before all members are current: %v", v.name, err)
		}
		v.settle(l)
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

// verifyBefore looks at the disks as the crash has left them: nothing of that is damage.
func (v *verifier) verifyBefore() error {
	var damage []string
	err := VerifyMembers(context.Background(), v.members, VerifyOptions{Report: func(p Problem) {
		if !p.Unfinished {
			damage = append(damage, p.String())
		}
	}})
	if err == nil && len(damage) > 0 {
		err = fmt.Errorf("found damage: %q", damage)
	}
	return err
}

// verifyNow looks at what the log holds: all of it is as it should be.
func verifyNow(l *Log) error {
	var problems []string
	err := l.Verify(context.Background(), VerifyOptions{Report: func(p Problem) { problems = append(problems, p.String()) }})
	if err == nil && len(problems) > 0 {
		err = fmt.Errorf("found problems: %q", problems)
	}
	return err
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

// check compares every record, on every member, and the checkpoint with the history, of which it then keeps what has turned
// out to have happened.
func (v *verifier) check(l *Log) {
	last := int(l.LastLSN())
	if last < v.acked || last > len(v.records) {
		v.t.Errorf("%s: %d records, %d were acknowledged and %d appended", v.name, last, v.acked, len(v.records))
		return
	}
	err := v.checkDropped(l)
	if err == nil {
		err = v.checkRecords(l, last)
	}
	if err == nil {
		err = v.checkCheckpoint(l)
	}
	if err == nil {
		err = verifyNow(l)
	}
	if err != nil {
		v.t.Errorf("%s: %v", v.name, err)
	}
	v.equal()
}

// checkDropped finds out whether the drop under way has happened.
func (v *verifier) checkDropped(l *Log) error {
	gone := 0
	for id := range v.dropping {
		if !l.index.holds(id) {
			gone++
		}
	}
	switch gone {
	case 0:
	case len(v.dropping):
		v.dropped = maps.Clone(v.dropped)
		if v.dropped == nil {
			v.dropped = map[SegmentID]bool{}
		}
		maps.Copy(v.dropped, v.dropping)
	default:
		return fmt.Errorf("%d of %d segments were dropped", gone, len(v.dropping))
	}
	v.dropping = nil
	for id := range v.dropped {
		if l.index.holds(id) {
			return fmt.Errorf("segment %d is there again", id)
		}
	}
	if got := l.Stats().DroppedSegments; got != len(v.dropped) {
		return fmt.Errorf("%d segments were dropped, %d says the log", len(v.dropped), got)
	}
	return nil
}

func (v *verifier) checkRecords(l *Log, last int) error {
	next := 0 // records up to here were seen or dropped
	record := func(r *Record) error {
		for next+1 < int(r.LSN) && next < len(v.at) && v.dropped[v.at[next]] {
			next++
		}
		if next >= last || int(r.LSN) != next+1 || string(r.Meta) != v.records[next][0] {
			return fmt.Errorf("record %d is not number %d", r.LSN, next+1)
		}
		want := v.records[next][1]
		got := make([]byte, len(want))
		for i := range v.members {
			if l.now().member(i) == nil && v.settle != nil {
				continue // not yet
			}
			if err := readMember(l, i, got, r.At); err != nil {
				return err
			}
			if string(got) != want {
				return fmt.Errorf("record %d has other data on member %d", r.LSN, i)
			}
		}
		next++
		return nil
	}
	if len(v.dropped) == 0 {
		if err := l.Replay(1, record); err != nil {
			return err
		}
	} else if err := l.Replay(1, record); !errors.Is(err, ErrDropped) {
		return fmt.Errorf("replay of what was dropped: %w", err)
	} else {
		for _, s := range l.Segments() {
			if err := l.SegmentRecords(s.ID, record); err != nil {
				return err
			}
		}
	}
	for next < len(v.at) && v.dropped[v.at[next]] {
		next++
	}
	if next != last {
		return fmt.Errorf("%d of %d records", next, last)
	}
	data := 0
	for i, r := range v.records[:last] {
		if i >= len(v.at) || !v.dropped[v.at[i]] {
			data += len(r[1])
		}
	}
	if got := l.Stats().DataBytes; int(got) != data {
		return fmt.Errorf("%d bytes of Data, wanted %d", got, data)
	}
	return nil
}

func (v *verifier) checkCheckpoint(l *Log) error {
	info, _ := l.Checkpoint()
	got, err := restore(l)
	if err != nil {
		return err
	}
	same := func(s *saved) bool { return s != nil && s.lsn == info.LSN && maps.Equal(s.files, got) }
	switch {
	case same(v.saving):
		v.saved = *v.saving
	case !same(&v.saved):
		return fmt.Errorf("checkpoint of record %d with files %v, the last was of %d with %v", info.LSN,
			slices.Sorted(maps.Keys(got)), v.saved.lsn, slices.Sorted(maps.Keys(v.saved.files)))
	}
	v.saving = nil
	return nil
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
