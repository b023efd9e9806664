package replication

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/internal/clock"
	"pagevault/replication/segment"
)

// arrangeCrash is a conversion whose disks are looked at as a crash would leave them, before each operation.
type arrangeCrash struct {
	t        *testing.T
	name     string
	from, to Redundancy
	copies   int          // of to
	spare    int          // how many members may be lost in a crash
	a        *arrangeTest // the conversion
	dice     *rand.Rand
	states   int // that were looked at
	again    int // that a second crash has left
	opened   int // that were opened, with all members and without some
	back     int // after which the owner wanted it as it was
}

// TestArrangeCrash stops the world before every operation of a conversion on the disks, and looks at what a crash would leave:
// every file that has its final name is whole, and of each segment there is a copy or enough shards of one set. Then the log is
// opened, with all members and without as many as may be missing; every record is there, and the conversion goes on to its end.
// Another crash while the log is opened, or the conversion goes on, leaves the same.
func TestArrangeCrash(t *testing.T) {
	for _, way := range arrangeWays {
		t.Run(way.name, func(t *testing.T) {
			c := &arrangeCrash{t: t, name: way.name, from: way.from, to: way.to, copies: way.copies, spare: 1, dice: rand.New(rand.NewPCG(1, 2))}
			if way.members > 3 {
				c.spare = 2
			}
			c.run(way.members)
			t.Logf("%d states after a crash, %d opened with all members and without %d; %d crashed again, %d taken back", c.states, c.opened, c.spare, c.again, c.back)
			if c.states < 10 || c.opened < 3 || c.again < 1 {
				t.Errorf("those are too few")
			}
		})
	}
}

func (c *arrangeCrash) run(members int) {
	t, armed := c.t, false
	c.a = newArrangeTest(t, members, 2, 2000, func(op fsOp, do func(int) error) error {
		if armed {
			for _, share := range []int{0, 50, 100, -1, -1} {
				c.crash(c.a.members, op.String(), share)
			}
		}
		return do(op.bytes)
	})
	for _, r := range []Redundancy{rs21, c.from} { // what was removed without a sync may come back
		want(c.a.l, 3, r)
		c.a.all()
	}
	want(c.a.l, c.copies, c.to)
	for did := true; did; {
		var err error
		armed = true
		did, err = c.a.l.arrangeStep(t.Context())
		armed = false
		if err != nil {
			t.Fatal(err)
		}
		c.crash(c.a.members, "the next task", 0)
		c.crash(c.a.members, "the next task", -1)
	}
	c.a.check(c.name, c.copies, c.to)
}

// crash looks at what a crash leaves of the disks: as it is, and when some members are lost then.
func (c *arrangeCrash) crash(members []Member, before string, share int) {
	c.t.Helper()
	what := fmt.Sprintf("%s: state %d, a crash before %q, %d %% kept", c.name, c.states, before, share)
	c.look(what, c.clone(members, share))
	if c.dice.IntN(3) > 0 {
		return // opening takes longer
	}
	c.opened++
	c.open(what, c.clone(members, share), 0, true)
	lost := Set(0)
	for lost.Len() < c.spare {
		lost = lost.With(c.dice.IntN(len(members)))
	}
	c.open(fmt.Sprintf("%s, without %b", what, lost), c.clone(members, share), lost, true)
}

// clone returns the disks after a crash with a share of what was not synced; -1: of each another share.
func (c *arrangeCrash) clone(members []Member, share int) (after []Member) {
	for _, m := range members {
		cfg := vfs.CrashCloneCfg{UnsyncedDataPercent: share, RNG: c.dice}
		if share < 0 {
			cfg.UnsyncedDataPercent = c.dice.IntN(101)
		}
		after = append(after, Member{FS: m.FS.(*vfs.MemFS).CrashClone(cfg), Dir: m.Dir})
	}
	return after
}

// look looks at the files.
func (c *arrangeCrash) look(what string, members []Member) {
	c.t.Helper()
	c.states++
	for name, b := range c.a.was {
		if err := recoverable(c.t, members, c.a.l.store, segmentOf(name), b); err != nil {
			c.t.Fatalf("%s: segment %s: %v", what, name, err)
		}
	}
}

// open opens the log without the members that are lost, has the conversion go on to where it can, puts empty directories in their
// places, and has it go on to its end. With again another crash comes somewhere on the way, of which the same holds. Now and then
// the owner wants it as it was before.
func (c *arrangeCrash) open(what string, members []Member, lost Set, again bool) {
	t := c.t
	t.Helper()
	for i := range lost.All() {
		members[i].FS = vfs.NewCrashableMem()
	}
	to, copies := c.to, c.copies
	if c.dice.IntN(4) == 0 {
		to, copies, what = c.from, 3, what+", back"
		c.back++
	}
	count, at := 0, -1
	if again && c.dice.IntN(3) == 0 {
		at = c.dice.IntN(50)
	}
	home := hooked(members, func(op fsOp, do func(int) error) error {
		if count == at {
			at = -1
			c.again++
			before := fmt.Sprintf("%s, and again before %q", what, op)
			c.open(before, c.clone(members, -1), lost, false)
		}
		if at >= 0 {
			count++
		}
		return do(op.bytes)
	})
	a := &arrangeTest{t: t, clock: clock.NewManual(c.a.clock.Now().Add(time.Second)), members: members, records: c.a.records, was: c.a.was}
	l, err := Open(home, Options{Passive: true, Clock: a.clock, RepairBytesPerSecond: 1 << 50, Redundancy: to})
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	defer l.Close()
	a.l = l
	read := func(when string) {
		t.Helper()
		if err := a.read(); err != nil {
			t.Fatalf("%s: %s: %v", what, when, err)
		}
	}
	read("at once")
	want(l, copies, to)
	a.all()
	if lost != 0 {
		read("without the members that are lost")
		a.clock.Advance(arrangeAfter)
		a.all()
		at = -1 // what comes now is done on several disks at the same time
		read("after a minute without them")
		for i := range lost.All() {
			if err := l.Replace(t.Context(), i, home[i], false); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
		}
		a.bringUp()
		a.all()
	}
	a.check(what, copies, to)
	if t.Failed() {
		t.FailNow()
	}
}

// recoverable returns why a segment cannot be had, byte for byte, from what lies in the directories, or what of it has its
// final name and is not whole.
func recoverable(t testing.TB, members []Member, store segment.StoreID, id SegmentID, want string) error {
	t.Helper()
	l := &Log{store: store}
	var list []*member
	var files []foundShard
	copies := 0
	for i, m := range members {
		list = append(list, &member{fs: m.FS, dir: m.Dir, number: i})
		names, err := m.FS.List(m.Dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if of, shard, ok := segment.ParseShardName(name); ok && of == id {
				files = append(files, foundShard{i, shard})
			}
		}
		b, err := readFile(m, segment.Name(id, true))
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			t.Fatal(err)
		case string(b) != want:
			return fmt.Errorf("the copy of member %d is not whole", i)
		default:
			copies++
		}
	}
	found, err := readShards(list, store, id, files)
	if err != nil {
		return err
	}
	for f, flaw := range found.flaws {
		if errors.Is(flaw, segment.ErrDamaged) {
			return fmt.Errorf("shard %d of member %d: %w", f.shard, f.member, flaw)
		}
	}
	if !found.whole() {
		if copies > 0 {
			return nil
		}
		return fmt.Errorf("there is no copy, and of the shards only %v", found.at)
	}
	x, err := l.newShardSet(&indexed{id: id, length: int64(len(want))}, found.frame.K, found.frame.M)
	if err != nil {
		return err
	}
	for i, at := range found.at {
		if at < 0 {
			continue
		}
		f, err := list[at].openShard(id, i)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		x.shards[i] = shardCopy{src: f, m: list[at]}
		if err := x.checkShard(t.Context(), i, nil, nil); err != nil {
			return fmt.Errorf("shard %d of member %d: %w", i, at, err)
		}
	}
	got, err := io.ReadAll(io.NewSectionReader(verifiedShards{x}, 0, x.length))
	if err == nil && string(got) != want {
		err = errors.New("the shards give other bytes")
	}
	return err
}
