package replication

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/replication/roster"
	"pagevault/replication/segment"
)

// mortalFS is a disk that may die: then every operation fails.
type mortalFS struct {
	vfs.FS
	dead *atomic.Bool
}

// newMortal returns a directory on a disk of its own, and what kills the disk.
func newMortal(dir string) (raw, home Member, dead *atomic.Bool) {
	raw, dead = Member{FS: vfs.NewCrashableMem(), Dir: dir}, &atomic.Bool{}
	h := &hookFS{FS: raw.FS, hook: func(op fsOp, do func(int) error) error {
		if dead.Load() {
			return syscall.EIO
		}
		return do(op.bytes)
	}}
	return raw, Member{FS: &mortalFS{h, dead}, Dir: dir}, dead
}

func (m *mortalFS) life() error {
	if m.dead.Load() {
		return syscall.EIO
	}
	return nil
}

func (m *mortalFS) List(dir string) ([]string, error) {
	if err := m.life(); err != nil {
		return nil, err
	}
	return m.FS.List(dir)
}

func (m *mortalFS) Stat(name string) (vfs.FileInfo, error) {
	if err := m.life(); err != nil {
		return nil, err
	}
	return m.FS.Stat(name)
}

func (m *mortalFS) Open(name string, o ...vfs.OpenOption) (vfs.File, error) {
	if err := m.life(); err != nil {
		return nil, err
	}
	f, err := m.FS.Open(name, o...)
	if err != nil {
		return nil, err
	}
	return &mortalFile{f, m}, nil
}

func (m *mortalFS) OpenDir(name string) (vfs.File, error) {
	if err := m.life(); err != nil {
		return nil, err
	}
	return m.FS.OpenDir(name)
}

type mortalFile struct {
	vfs.File
	fs *mortalFS
}

func (f *mortalFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.fs.life(); err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, off)
}

func (f *mortalFile) Read(p []byte) (int, error) {
	if err := f.fs.life(); err != nil {
		return 0, err
	}
	return f.File.Read(p)
}

func (f *mortalFile) Fd() uintptr { return vfs.InvalidFd }

// crowd is a log whose members change while records are appended and read. It runs in a bubble.
type crowd struct {
	t     *testing.T
	l     *Log
	o     Options
	raw   map[int]Member // of each member, by index: the directory, past what kills its disk
	homes []Member       // all directories that ever were given
	dead  map[int]*atomic.Bool
	made  int // directories

	mu struct {
		sync.Mutex
		records []*Record
		done    bool
		quiet   bool // nothing is appended just now
	}
	running sync.WaitGroup
}

func newCrowd(t *testing.T, n int, r Redundancy) *crowd {
	t.Helper()
	c := &crowd{t: t, raw: map[int]Member{}, dead: map[int]*atomic.Bool{}}
	var homes []Member
	for i := range n {
		homes = append(homes, c.newHome(i))
	}
	c.o = Options{SegmentBytes: 3000, ScrubEvery: -1, RepairBytesPerSecond: 1 << 50, Redundancy: r, Events: &Events{
		Failed: func(err error) { t.Errorf("the log failed: %v", err) },
		Halted: func(err error) { t.Errorf("the log halted: %v", err) },
	}}
	c.open(homes)
	t.Cleanup(func() {
		c.end()
		c.l.Close()
	})
	return c
}

func (c *crowd) open(homes []Member) {
	c.t.Helper()
	l, err := Open(homes, c.o)
	if err != nil {
		c.t.Fatal(err)
	}
	c.l = l
	c.mu.done = false
	c.running.Go(c.write)
	c.running.Go(c.read)
}

// end ends the appending and reading.
func (c *crowd) end() {
	c.mu.Lock()
	c.mu.done = true
	c.mu.Unlock()
	c.running.Wait()
}

// close ends everything.
func (c *crowd) close() {
	c.t.Helper()
	c.end()
	if err := c.l.Close(); err != nil {
		c.t.Fatal(err)
	}
}

// newHome makes a directory for member i.
func (c *crowd) newHome(i int) Member {
	c.made++
	raw, home, dead := newMortal(fmt.Sprintf("disk-%d", c.made))
	c.raw[i], c.dead[i] = raw, dead
	c.homes = append(c.homes, home)
	return home
}

// write appends records until it is done.
func (c *crowd) write() {
	for k := 0; ; k++ {
		c.mu.Lock()
		done, quiet := c.mu.done, c.mu.quiet
		c.mu.Unlock()
		if done {
			return
		}
		if !quiet {
			r := &Record{Meta: fmt.Append(nil, "meta ", k), Data: [][]byte{[]byte(strings.Repeat(fmt.Sprintf("%07d ", k), 20+k%60))}}
			_, err := c.l.Append(r)
			var got []*Record
			if err == nil {
				got, err = c.l.Next(nil)
			}
			if err != nil || len(got) != 1 || got[0] != r {
				c.t.Errorf("append: %d records, %v", len(got), err)
				return
			}
			c.mu.Lock()
			c.mu.records = append(c.mu.records, r)
			c.mu.Unlock()
		}
		<-time.After(80 * time.Millisecond)
	}
}

// read reads records, one after the other, in both ways.
func (c *crowd) read() {
	for k := 0; ; k++ {
		c.mu.Lock()
		done, list := c.mu.done, c.mu.records
		c.mu.Unlock()
		if done {
			return
		}
		if len(list) > 0 {
			if err := readRecord(c.l, list[k*7919%len(list)], k%2 == 0); err != nil {
				c.t.Error(err)
				return
			}
		}
		<-time.After(30 * time.Millisecond)
	}
}

func readRecord(l *Log, r *Record, checked bool) error {
	p := make([]byte, len(r.Data[0]))
	right := func(p []byte) error {
		if string(p) != string(r.Data[0]) {
			return errWrong
		}
		return nil
	}
	err := l.ReadAt(p, r.At)
	if checked {
		err = l.ReadChecked(p, r.At, right)
	}
	if err == nil {
		err = right(p)
	}
	if err != nil {
		return fmt.Errorf("record %d at %v: %w", r.LSN, r.At, err)
	}
	return nil
}

// settle waits until everything is as the owner wants it, in the index and in the directories, while nothing is appended, and
// reads all.
func (c *crowd) settle(what string) {
	c.t.Helper()
	c.quiet(true)
	defer c.quiet(false)
	<-time.After(time.Second) // for the record that is under way
	if err := c.l.Rotate(); err != nil {
		c.t.Fatalf("%s: %v", what, err)
	}
	var why error
	for range 3000 {
		synctest.Wait()
		if why = c.unsettled(); why == nil {
			break
		}
		<-time.After(100 * time.Millisecond)
	}
	if why != nil {
		c.t.Fatalf("%s: after minutes: %v; %+v", what, why, c.l.Stats())
	}
	for _, r := range c.mu.records {
		for _, checked := range []bool{false, true} {
			if err := readRecord(c.l, r, checked); err != nil {
				c.t.Fatalf("%s: %v", what, err)
			}
		}
	}
	report := func(p Problem) {
		if c.l.now().roster.Row(p.Member+1) != nil {
			c.t.Errorf("%s: %+v", what, p)
		}
	}
	if err := c.l.Verify(c.t.Context(), VerifyOptions{Report: report}); err != nil {
		c.t.Fatalf("%s: %v", what, err)
	}
}

func (c *crowd) quiet(quiet bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.quiet = quiet
}

// unsettled returns what is not as the owner wants it.
func (c *crowd) unsettled() error {
	ms, s := c.l.now(), c.l.Stats()
	r := &ms.roster
	if ms.current.Len() != len(r.Rows) || s.UnderReplicated != 0 || s.Healing != 0 || s.Unhealable != 0 {
		return errors.New("members or segments lack something")
	}
	files := map[string][]int{}
	for i := range ms.current.All() {
		names, err := c.raw[i].FS.List(c.raw[i].Dir)
		if err != nil {
			return err
		}
		for _, name := range names {
			if _, _, ok := segment.ParseName(name); ok {
				files[name] = append(files[name], i)
			} else if _, _, ok := segment.ParseShardName(name); ok {
				files[name] = append(files[name], i)
			} else if strings.HasSuffix(name, segment.TempSuffix) {
				return fmt.Errorf("member %d has %s", i, name)
			}
		}
	}
	want := map[string][]int{}
	for s := range c.l.index.each() {
		if !s.sealed {
			return fmt.Errorf("segment %d is open", s.id)
		}
		if err := asWanted(s, ms); err != nil {
			return err
		}
		if s.holders != 0 {
			want[segment.Name(s.id, true)] = slices.Collect(s.holders.All())
		}
		for shard, i := range s.shards {
			want[segment.ShardName(s.id, shard)] = []int{int(i)}
		}
	}
	for name := range files {
		if !slices.Equal(files[name], want[name]) {
			return fmt.Errorf("%s is on members %v, and should be on %v", name, files[name], want[name])
		}
	}
	if len(files) != len(want) {
		return fmt.Errorf("%d files where %d should be", len(files), len(want))
	}
	return nil
}

// asWanted returns why a segment is not kept as the roster says.
func asWanted(s *indexed, ms *membership) error {
	r := &ms.roster
	if r.K == 0 {
		if s.shards != nil || s.holders.Len() != min(r.Copies, ms.current.Len()) || s.holders&^ms.current != 0 {
			return fmt.Errorf("segment %d has copies on %b and shards at %v", s.id, s.holders, s.shards)
		}
		return nil
	}
	var on Set
	for _, i := range s.shards {
		on = on.With(int(i))
	}
	if s.holders != 0 || int(s.k) != r.K || int(s.m) != r.M || on.Len() != r.K+r.M || on&^ms.current != 0 {
		return fmt.Errorf("segment %d has copies on %b and shards of %d+%d at %v", s.id, s.holders, s.k, s.m, s.shards)
	}
	return nil
}

// add puts a directory in a place that nobody has.
func (c *crowd) add(i int) {
	c.t.Helper()
	if err := c.l.Replace(c.t.Context(), i, c.newHome(i), false); err != nil {
		c.t.Fatalf("add member %d: %v", i, err)
	}
	c.settle(fmt.Sprintf("member %d is new", i))
}

// retire takes a member out.
func (c *crowd) retire(i int) {
	c.t.Helper()
	if err := c.l.Retire(c.t.Context(), i); err != nil {
		c.t.Fatalf("retire member %d: %v", i, err)
	}
	for _, m := range c.l.Members() {
		if m.Number == i {
			c.t.Errorf("member %d is retired, and there is %+v", i, m)
		}
	}
	c.settle(fmt.Sprintf("member %d is retired", i))
}

// kill kills the disk of a member and waits until the log has found out.
func (c *crowd) kill(i int) {
	c.t.Helper()
	c.dead[i].Store(true)
	awaitIn(c.t, fmt.Sprintf("without member %d", i), func() bool { return !c.l.now().current.Has(i) })
}

// TestManyMembers has members of larger logs added, retired and replaced, working ones and dead ones, while records are appended
// and read. Each time everything is kept as it should be in the end, and nothing is left where it should not be.
func TestManyMembers(t *testing.T) {
	for _, way := range []struct {
		members int
		r       Redundancy
	}{{5, inCopies}, {6, inCopies}, {5, rs32}, {6, rs32}, {6, rs42}} {
		t.Run(fmt.Sprintf("%d as %v", way.members, way.r), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := way.members
				c := newCrowd(t, n, way.r)
				<-time.After(3 * time.Second)
				c.settle("new")
				c.add(n)
				c.retire(1)
				c.kill(2)
				c.add(2) // instead
				c.add(n + 1)
				c.kill(n)
				c.retire(n)
				c.add(1) // where one was retired
				c.retire(0)
				c.close()
				c.restart()
			})
		})
	}
}

// restart opens the log with all directories that ever were its members'. Those that are no more are told, and left alone.
func (c *crowd) restart() {
	t := c.t
	t.Helper()
	var now []string
	for _, m := range c.l.Members() {
		now = append(now, m.Dir)
	}
	var homes []Member
	for _, m := range c.homes {
		if _, err := m.FS.Stat(m.Dir); err == nil {
			homes = append(homes, m)
		}
	}
	slices.Reverse(homes)
	c.open(homes)
	c.settle("again")
	seen := map[string]bool{}
	for _, m := range c.l.Members() {
		seen[m.Dir] = true
		if current := m.State == Current; current != slices.Contains(now, m.Dir) || !current && (m.State != Absent || m.Reason != reasonFormer) {
			t.Errorf("after a restart: %+v", m)
		}
	}
	if len(seen) != len(homes) {
		t.Errorf("%d of %d directories are known", len(seen), len(homes))
	}
	c.close()
}

// TestMemberErrors tells changes of the members that are refused. Nothing is different after them.
func TestMemberErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 6, rs42)
		<-time.After(time.Second)
		other := memMembers(1)
		l, err := Open(other, Options{ScrubEvery: -1})
		if err != nil {
			t.Fatal(err)
		}
		append1(t, l, "of another log")
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		raw, full, dead := newMortal("full")
		if err := full.FS.MkdirAll(full.Dir, os.ModePerm); err != nil {
			t.Fatal(err)
		}
		refused := func(what string, err, is error, words ...string) {
			t.Helper()
			if err == nil || is != nil && !errors.Is(err, is) {
				t.Errorf("%s: %v", what, err)
				return
			}
			for _, w := range words {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%s: %q is not in: %v", what, w, err)
				}
			}
		}
		ctx := t.Context()
		refused("a code that is too wide", c.l.Retire(ctx, 0), ErrMembers, "rs:4+2", "6 members", "5 would be left")
		refused("nobody", c.l.Retire(ctx, 6), ErrMembers, "no member 7")
		refused("below nobody", c.l.Retire(ctx, -1), ErrMembers)
		refused("a gap", c.l.Replace(ctx, 7, full, false), ErrMembers, "no member 8", "member 7")
		refused("another log", c.l.Replace(ctx, 6, other[0], false), ErrMembers, "another log")
		refused("another log, to be wiped", c.l.Replace(ctx, 2, other[0], true), ErrMembers, "another log")
		refused("a member that works", c.l.Replace(ctx, 2, c.homes[3], false), ErrMembers, "member 4")
		refused("a member that works, to be wiped", c.l.Replace(ctx, 6, c.homes[3], true), ErrMembers, "member 4")
		refused("its own", c.l.Replace(ctx, 3, c.homes[3], false), ErrMembers, "not empty")
		if err := writeFile(full, segment.ShardName(3, 0), []byte("something")); err != nil {
			t.Fatal(err)
		}
		refused("not empty", c.l.Replace(ctx, 6, full, false), ErrMembers, "full", "not empty")
		c.settle("after what was refused")
		if err := c.l.SetRedundancy(ctx, Redundancy{7, 2}); err == nil {
			t.Error("9 shards on 6 members")
		}
		if err := c.l.SetRedundancy(ctx, inCopies); err != nil {
			t.Fatal(err)
		}
		c.settle("in copies")
		c.kill(5)
		c.kill(4)
		refused("one of those that are needed", c.l.Retire(ctx, 0), ErrMembers, "4 current", "3 would be left")
		// What it holds may have been brought to others meanwhile; then it is needed for writing only.
		if err := c.l.Replace(ctx, 0, full, true); !errors.Is(err, ErrNeeded) && (err == nil || !strings.Contains(err.Error(), "cannot be done without just now")) {
			t.Errorf("one that cannot be done without: %v", err)
		}
		if err := c.l.Replace(ctx, 5, full, true); err != nil {
			t.Fatal(err)
		}
		c.raw[5], c.dead[5] = raw, dead
		c.retire(4)
		c.close()
	})
}

// TestRetireIsGivenUp: while nobody can take what a member has, Retire waits, and whoever gives up has it stay.
func TestRetireIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 6, rs32)
		<-time.After(time.Second)
		c.settle("new")
		c.kill(5)
		c.quiet(true)
		ctx, cancel := context.WithTimeout(t.Context(), 2*arrangeAfter)
		defer cancel()
		if err := c.l.Retire(ctx, 0); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("four members have five shards: %v", err)
		}
		c.add(5)
		if !c.l.now().current.Has(0) {
			t.Error("the member has not stayed")
		}
		c.retire(0)
		c.close()
	})
}

// TestGrowAndShrink takes a log from three members to five and back, with one of them dead at times. Writing needs as many members
// as a new log of that size needs.
func TestGrowAndShrink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 3, inCopies)
		needs := func(n int) {
			t.Helper()
			awaitIn(t, fmt.Sprintf("%d needed, %d are", n, c.l.Stats().MinReplicas), func() bool { return c.l.Stats().MinReplicas == n })
		}
		<-time.After(time.Second)
		needs(2)
		c.add(3)
		needs(3)
		c.add(4)
		needs(3)
		c.kill(0)
		c.retire(0)
		needs(3)
		c.retire(1)
		needs(2)
		c.kill(2)
		c.add(2)
		c.close()
		c.restart()
	})
}

// TestReplaceHanging puts another directory in the place of a member whose disk hangs, which answers at last.
func TestReplaceHanging(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 5, inCopies)
		<-time.After(time.Second)
		c.settle("new")
		well := make(chan struct{})
		var hangs atomic.Bool
		raw, _, dead := newMortal("hangs")
		c.raw[5], c.dead[5] = raw, dead
		if err := c.l.Replace(t.Context(), 5, Member{Dir: raw.Dir, FS: &hookFS{FS: raw.FS, hook: func(op fsOp, do func(int) error) error {
			if hangs.Load() {
				<-well
			}
			return do(op.bytes)
		}}}, false); err != nil {
			t.Fatal(err)
		}
		c.settle("with the one that will hang")
		hangs.Store(true)
		if err := c.l.edited(false, (*roster.Roster).Again); err == nil { // all are written
			t.Error("nobody hangs")
		}
		awaitIn(t, "without the one that hangs", func() bool { return !c.l.now().current.Has(5) })
		c.add(5)
		hangs.Store(false)
		close(well)
		c.settle("when it has answered")
		lock, err := raw.FS.Lock(raw.FS.PathJoin(raw.Dir, segment.LockName))
		if err != nil {
			t.Errorf("the directory is still locked: %v", err)
		} else {
			lock.Close()
		}
		c.close()
	})
}

// TestSetRedundancy has the segments of a live log converted to shards and back in the background, while records are appended and
// read, with a restart in the middle of either.
func TestSetRedundancy(t *testing.T) {
	for _, way := range []struct {
		members int
		r       Redundancy
	}{{3, rs21}, {6, rs42}} {
		t.Run(way.r.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCrowd(t, way.members, inCopies)
				<-time.After(5 * time.Second)
				c.settle("new")
				c.close()
				c.o.KeepRedundancy, c.o.RepairBytesPerSecond = true, 30<<10 // a few segments a second
				c.open(c.homes)
				for _, r := range []Redundancy{way.r, inCopies, way.r} {
					if err := c.l.SetRedundancy(t.Context(), r); err != nil {
						t.Fatal(err)
					}
					c.halfWay(r)
					c.close()
					c.open(c.homes)
					c.halfWay(r)
					if s := c.l.Stats(); s.Redundancy != r {
						t.Errorf("after a restart segments are to be %v", s.Redundancy)
					}
					c.settle(r.String())
				}
				c.close()
			})
		})
	}
}

// halfWay waits until a segment is kept as r says, while another is not.
func (c *crowd) halfWay(r Redundancy) {
	c.t.Helper()
	awaitIn(c.t, fmt.Sprintf("half way to %v", r), func() bool {
		there, not := 0, 0
		for s := range c.l.index.each() {
			if s.sealed && asWanted(s, c.l.now()) == nil {
				there++
			} else if s.sealed {
				not++
			}
		}
		return there > 0 && not > 0
	})
}

// TestRetireWithShardsLeft retires one of three members while segments are still kept as shards, which two copies are to replace:
// when it is gone, nothing lacks what it had.
func TestRetireWithShardsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 3, rs21)
		<-time.After(5 * time.Second)
		c.settle("new")
		c.close()
		c.o.KeepRedundancy, c.o.RepairBytesPerSecond = true, 30<<10
		c.open(c.homes)
		if err := c.l.SetRedundancy(t.Context(), inCopies); err != nil {
			t.Fatal(err)
		}
		if err := c.l.Retire(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		for s := range c.l.index.each() {
			if s.sealed && s.holders.Len() < 2 {
				t.Errorf("segment %d is on %b and %v", s.id, s.holders, s.shards)
			}
		}
		c.settle("two are left")
		c.close()
	})
}
