package replication

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/replication/segment"
)

// readHook stands in the way of reading n bytes at off of a file: it calls do, or does not. n is -1 for opening it.
type readHook func(member int, name string, off int64, n int, do func() (int, error)) (int, error)

// readFS calls a hook for whatever is opened for reading and read.
type readFS struct {
	vfs.FS
	member int
	hook   *atomic.Pointer[readHook]
	open   *atomic.Int64 // files
	under  *atomic.Int64 // calls of hook that have not returned
}

type readHookFile struct {
	vfs.File
	fs   *readFS
	name string
}

func (r *readFS) Open(name string, o ...vfs.OpenOption) (f vfs.File, err error) {
	base := r.FS.PathBase(name)
	_, err = r.call(base, 0, -1, func() (int, error) {
		f, err = r.FS.Open(name, o...)
		return 0, err
	})
	if err != nil {
		return nil, err
	}
	r.open.Add(1)
	return &readHookFile{f, r, base}, nil
}

func (r *readFS) call(name string, off int64, n int, do func() (int, error)) (int, error) {
	if h := r.hook.Load(); h != nil {
		r.under.Add(1)
		defer r.under.Add(-1)
		return (*h)(r.member, name, off, n, do)
	}
	return do()
}

func (f *readHookFile) ReadAt(p []byte, off int64) (int, error) {
	return f.fs.call(f.name, off, len(p), func() (int, error) { return f.File.ReadAt(p, off) })
}

func (f *readHookFile) Close() error {
	f.fs.open.Add(-1)
	return f.File.Close()
}

func (f *readHookFile) Fd() uintptr { return vfs.InvalidFd }

// readTest is a log with a hook in the way of its reads. Segment i holds record i.
type readTest struct {
	t       *testing.T
	l       *Log
	members []Member // without hooks
	records []*Record
	hook    atomic.Pointer[readHook]
	open    atomic.Int64
	under   atomic.Int64

	failures struct {
		sync.Mutex
		list []string
	}
}

func newReadTest(t *testing.T, members, segments int) *readTest {
	r := &readTest{t: t, members: memMembers(members)}
	var hooked []Member
	for i, m := range r.members {
		hooked = append(hooked, Member{FS: &readFS{FS: m.FS, member: i, hook: &r.hook, open: &r.open, under: &r.under}, Dir: m.Dir})
	}
	l, err := Open(hooked, Options{Passive: true, Events: &Events{ReadFailed: r.failed}})
	if err != nil {
		t.Fatal(err)
	}
	r.l = l
	for i := range segments {
		r.records = append(r.records, append1(t, l, fmt.Sprint("meta ", i+1), strings.Repeat(string(rune('a'+i%26)), 300)))
		if err := l.Rotate(); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func (r *readTest) failed(member int, at Position, err error) {
	r.failures.Lock()
	defer r.failures.Unlock()
	kind := "error"
	if check := (*CheckError)(nil); errors.As(err, &check) {
		kind = "damage"
	}
	r.failures.list = append(r.failures.list, fmt.Sprintf("%s of segment %d on member %d", kind, at.Segment, member))
}

// told returns what Events.ReadFailed was told since it was asked last.
func (r *readTest) told() []string {
	r.failures.Lock()
	defer r.failures.Unlock()
	out := r.failures.list
	r.failures.list = nil
	return out
}

func (r *readTest) set(h readHook) { r.hook.Store(&h) }

// read reads a record's data, which must be right, and returns how long that took.
func (r *readTest) read(id SegmentID) time.Duration {
	r.t.Helper()
	start := time.Now()
	p := make([]byte, 300)
	if err := r.l.ReadAt(p, r.records[id-1].At); err != nil {
		r.t.Fatalf("segment %d: %v", id, err)
	}
	if want := r.records[id-1].Data[0]; !bytes.Equal(p, want) {
		r.t.Fatalf("segment %d: wrong bytes", id)
	}
	return time.Since(start)
}

// readChecked does the same by ReadChecked.
func (r *readTest) readChecked(id SegmentID) error {
	p := make([]byte, 300)
	return r.l.ReadChecked(p, r.records[id-1].At, func(got []byte) error {
		if &got[0] != &p[0] || len(got) != len(p) {
			r.t.Error("check is not given p")
		}
		if !bytes.Equal(got, r.records[id-1].Data[0]) {
			clear(got) // a check may do so
			return errWrong
		}
		return nil
	})
}

var errWrong = errors.New("wrong bytes")

func (r *readTest) close() {
	r.t.Helper()
	if err := r.l.Close(); err != nil {
		r.t.Error(err)
	}
}

// ended returns when no read is under way any more, which may be long after the log has closed. It is for bubbles of synctest.
func (r *readTest) ended() {
	for synctest.Wait(); r.under.Load() > 0; synctest.Wait() {
		pass(time.Millisecond)
	}
}

// pass lets so much time go by. In a bubble of synctest, where it belongs, that takes none.
func pass(d time.Duration) { <-time.After(d) }

// healing returns the segments that are to be healed.
func (r *readTest) healing() []SegmentID {
	h := &r.l.healer
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.mu.queue)
}

// gate lets nothing of some members through until it is opened.
type gate struct {
	shut    Set
	opening bool // hold files that are opened, not those that are read
	open    chan struct{}
	held    atomic.Int32
}

func (g *gate) hook(member int, _ string, _ int64, n int, do func() (int, error)) (int, error) {
	if g.shut.Has(member) && g.opening == (n < 0) {
		g.held.Add(1)
		<-g.open
		g.held.Add(-1)
	}
	return do()
}

// TestMemberHangs: one member's reads hang for ever. The first read of it takes HedgeAfter longer, and then nobody waits
// for it. When its reads return nothing is left of them, and by and by it is asked again.
func TestMemberHangs(t *testing.T) {
	for _, opening := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := newReadTest(t, 3, 6)
			g := &gate{shut: Set(0).With(0), opening: opening, open: make(chan struct{})}
			r.set(g.hook)
			if took := r.read(1); took != 50*time.Millisecond {
				t.Errorf("the first read took %v", took)
			}
			for id := SegmentID(1); id <= 6; id++ {
				if took := r.read(id); took != 0 {
					t.Errorf("a read of segment %d took %v", id, took)
				}
				if err := r.readChecked(id); err != nil {
					t.Error(err)
				}
			}
			if s := r.l.Members(); s[0].Slow != 1 || s[0].Hedged != 1 || s[0].ReadErrors != 0 || s[1].Slow+s[1].Hedged+s[2].Slow+s[2].Hedged != 0 {
				t.Errorf("counted %+v", s)
			}
			if first := r.l.sources(4)[0].m.number; g.held.Load() != 1 || first == 0 {
				t.Errorf("%d reads hang, member %d is asked first", g.held.Load(), first)
			}
			pass(time.Minute)
			close(g.open)
			synctest.Wait()
			if h := &r.l.now().members[0].health; g.held.Load() != 0 || h.stuck() || h.mu.first != nil {
				t.Error("the read has returned and is still counted")
			}
			if first := r.l.sources(4)[0].m.number; first == 0 {
				t.Error("a member that has just answered after a minute is asked first")
			}
			pass(time.Minute)
			if first := r.l.sources(4)[0].m.number; first != 0 {
				t.Error("the member is not tried again")
			}
			r.close()
			if n := r.open.Load(); n != 0 {
				t.Errorf("%d files are open", n)
			}
		})
	}
}

// TestTwoMembersHang: the third one has the bytes.
func TestTwoMembersHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReadTest(t, 3, 3)
		g := &gate{shut: Set(0).With(0).With(1), open: make(chan struct{})}
		r.set(g.hook)
		if took := r.read(1); took != 100*time.Millisecond {
			t.Errorf("the first read took %v", took)
		}
		for id := SegmentID(1); id <= 3; id++ {
			if took := r.read(id); took != 0 {
				t.Errorf("a read of segment %d took %v", id, took)
			}
		}
		close(g.open)
		r.close()
	})
}

// TestCloseWhileReadHangs: Close does not wait for a read that hangs, and the read, when it returns, closes its file.
func TestCloseWhileReadHangs(t *testing.T) {
	for _, opening := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := newReadTest(t, 2, 1)
			g := &gate{shut: Set(0).With(0), opening: opening, open: make(chan struct{})}
			r.set(g.hook)
			r.read(1)
			r.close()
			synctest.Wait()
			if g.held.Load() != 1 {
				t.Fatal("no read hangs")
			}
			close(g.open)
			synctest.Wait()
			if n := r.open.Load(); n != 0 {
				t.Errorf("%d files are open", n)
			}
		})
	}
}

// TestScanWhileMemberHangs: SegmentRecords and Replay do not wait for a member that hangs either.
func TestScanWhileMemberHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReadTest(t, 3, 6)
		g := &gate{shut: Set(0).With(0), open: make(chan struct{})}
		r.set(g.hook)
		start := time.Now()
		for id := SegmentID(1); id <= 6; id++ {
			n := 0
			err := r.l.SegmentRecords(id, func(rec *Record) error {
				n++
				if want := fmt.Sprint("meta ", id); string(rec.Meta) != want {
					return fmt.Errorf("%q, wanted %q", rec.Meta, want)
				}
				return nil
			})
			if err != nil || n != 1 {
				t.Errorf("segment %d: %d records, %v", id, n, err)
			}
		}
		if took := time.Since(start); took > 100*time.Millisecond {
			t.Errorf("took %v", took)
		}
		close(g.open)
		r.close()
	})
}

// TestSlowEverywhere: where all disks are slow because there is much to read, nothing is read twice because of that.
func TestSlowEverywhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReadTest(t, 3, 30)
		var reads, most, now atomic.Int32
		r.set(func(_ int, _ string, _ int64, n int, do func() (int, error)) (int, error) {
			if n >= 0 {
				reads.Add(1)
				most.Store(max(most.Load(), now.Add(1)))
				pass(300 * time.Millisecond)
				now.Add(-1)
			}
			return do()
		})
		var wg sync.WaitGroup
		for id := SegmentID(1); id <= 30; id++ {
			wg.Go(func() {
				for range 10 {
					if took := r.read(id); took > 2*time.Second {
						t.Errorf("a read took %v", took)
					}
				}
			})
		}
		wg.Wait()
		if n := reads.Load(); n > 300+100 {
			t.Errorf("%d reads for 300", n)
		}
		r.close()
		r.ended() // what was left to itself, too
	})
}

// TestHangWhereAllAreBusy: a member hangs where the others take longer than HedgeAfter as well, so that at first nobody can
// tell it from them.
func TestHangWhereAllAreBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReadTest(t, 3, 30)
		g := &gate{shut: Set(0).With(0), open: make(chan struct{})}
		r.set(func(member int, name string, off int64, n int, do func() (int, error)) (int, error) {
			if n >= 0 {
				pass(120 * time.Millisecond)
			}
			return g.hook(member, name, off, n, do)
		})
		var wg sync.WaitGroup
		for id := SegmentID(1); id <= 30; id++ {
			wg.Go(func() {
				for i := range 20 {
					if took := r.read(id); took > time.Second || i > 5 && took > 250*time.Millisecond {
						t.Errorf("read %d took %v", i, took)
					}
				}
			})
		}
		wg.Wait()
		if n := g.held.Load(); n > 30 {
			t.Errorf("%d reads hang", n)
		}
		close(g.open)
		r.close()
		r.ended() // what was left to itself, too
	})
}

// TestReadError: a member with an error is passed over, counted, has its copy healed, and is asked after the others for a
// while.
func TestReadError(t *testing.T) {
	for _, kind := range []string{"error", "short", "missing"} {
		synctest.Test(t, func(t *testing.T) {
			r := newReadTest(t, 3, 4)
			r.set(func(member int, _ string, _ int64, n int, do func() (int, error)) (int, error) {
				switch {
				case member != 0 || kind == "missing" && n >= 0 || kind != "missing" && n < 0:
					return do()
				case kind == "short":
					return n / 2, io.EOF
				}
				return 0, errInjected
			})
			r.read(1)
			if got := r.told(); !slices.Equal(got, []string{"error of segment 1 on member 0"}) {
				t.Errorf("%s: told %q", kind, got)
			}
			if s := r.l.Members(); s[0].ReadErrors != 1 || s[0].Damaged != 0 || s[1].ReadErrors+s[2].ReadErrors != 0 {
				t.Errorf("%s: %+v", kind, s)
			}
			if got := r.healing(); !slices.Equal(got, []SegmentID{1}) {
				t.Errorf("%s: to be healed: %v", kind, got)
			}
			r.read(4)
			if got := r.told(); got != nil {
				t.Errorf("%s: asked again at once: %q", kind, got)
			}
			pass(errorShadow)
			r.read(4)
			if got := r.told(); !slices.Equal(got, []string{"error of segment 4 on member 0"}) {
				t.Errorf("%s: not asked again: %q", kind, got)
			}
			r.close()
		})
	}
}

// TestReadErrorEverywhere: the error says what every member had to say.
func TestReadErrorEverywhere(t *testing.T) {
	r := newReadTest(t, 3, 1)
	defer r.close()
	r.set(func(member int, _ string, _ int64, n int, do func() (int, error)) (int, error) {
		return 0, fmt.Errorf("%w: disk %d", errInjected, member)
	})
	p := make([]byte, 300)
	for name, err := range map[string]error{
		"ReadAt":         r.l.ReadAt(p, r.records[0].At),
		"ReadChecked":    r.l.ReadChecked(p, r.records[0].At, func([]byte) error { return nil }),
		"SegmentRecords": r.l.SegmentRecords(1, func(*Record) error { return nil }),
	} {
		if err == nil || name != "SegmentRecords" && !errors.Is(err, errInjected) {
			t.Errorf("%s: %v", name, err)
		}
		for i := range 3 {
			if name != "SegmentRecords" && !strings.Contains(fmt.Sprint(err), fmt.Sprintf("disk %d", i)) {
				t.Errorf("%s: disk %d is not in %q", name, i, err)
			}
		}
	}
}

// TestReadCheckedDamage: copies are damaged in different places, none is whole, and each check passes with the bytes of
// another member. Where all are damaged, what most say passes if it is right, and if all are damaged in the same place the read
// is refused. Each damaged copy that was looked at is counted once.
func TestReadCheckedDamage(t *testing.T) {
	r := newReadTest(t, 3, 8)
	defer r.close()
	bad := func(id SegmentID, member int) bool { return int(id)>>member&1 != 0 || id == 8 } // segments 7 and 8: everywhere
	where := func(id SegmentID, member int) int { return map[bool]int{true: 17, false: 17 * (member + 1)}[id == 7] }
	for id := SegmentID(1); id <= 8; id++ {
		for i, m := range r.members {
			if bad(id, i) {
				b, err := readFile(m, segment.Name(id, true))
				if err == nil {
					b[int(r.records[id-1].At.Offset)+where(id, i)] ^= 4
					err = writeFile(m, segment.Name(id, true), b)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	damaged := make([]int64, 3)
	for id := SegmentID(1); id <= 8; id++ {
		var want []string
		for _, s := range r.l.sources(id) {
			if !bad(id, s.m.number) {
				break
			}
			want = append(want, fmt.Sprintf("damage of segment %d on member %d", id, s.m.number))
			damaged[s.m.number]++
		}
		if err := r.readChecked(id); (id == 7) != errors.Is(err, errWrong) || id != 7 && err != nil {
			t.Errorf("segment %d: %v", id, err)
		}
		if got := r.told(); !slices.Equal(got, want) {
			t.Errorf("segment %d: told %q, wanted %q", id, got, want)
		}
		if got := slices.Contains(r.healing(), id); got != (want != nil) {
			t.Errorf("segment %d: to be healed: %v", id, got)
		}
	}
	for i, s := range r.l.Members() {
		if s.Damaged != damaged[i] || s.ReadErrors != 0 {
			t.Errorf("member %d: %d damaged, wanted %d, %d errors", i, s.Damaged, damaged[i], s.ReadErrors)
		}
	}
}

// TestReadCopies gives each copy once, good and bad, until it is told to stop.
func TestReadCopies(t *testing.T) {
	r := newReadTest(t, 3, 1)
	defer r.close()
	r.set(func(member int, _ string, _ int64, n int, do func() (int, error)) (int, error) {
		if member == 1 {
			return 0, errInjected
		}
		return do()
	})
	p := make([]byte, 300)
	var seen []int
	err := r.l.ReadCopies(p, r.records[0].At, func(member int, err error) bool {
		seen = append(seen, member)
		if errors.Is(err, errInjected) != (member == 1) || member != 1 && (err != nil || !bytes.Equal(p, r.records[0].Data[0])) {
			t.Errorf("member %d: %v", member, err)
		}
		return true
	})
	if slices.Sort(seen); err != nil || !slices.Equal(seen, []int{0, 1, 2}) {
		t.Errorf("copies of %v, %v", seen, err)
	}
	n := 0
	if err := r.l.ReadCopies(p, r.records[0].At, func(int, error) bool { n++; return false }); err != nil || n != 1 {
		t.Errorf("%d copies, %v", n, err)
	}
	if err := r.l.ReadCopies(p, Position{Segment: 9, Offset: 64}, func(int, error) bool { n++; return true }); err == nil || n != 1 {
		t.Errorf("copies outside the log: %v", err)
	}
}

// TestSpareCopies: a member that does not count has an old copy. Only who can check bytes is given them, and what such a
// member does not have is no failure.
func TestSpareCopies(t *testing.T) {
	r := newReadTest(t, 3, 2)
	defer r.close()
	for id := SegmentID(1); id <= 2; id++ {
		for i := range 2 {
			r.l.index.setHolder(id, i, false)
		}
	}
	r.set(func(member int, _ string, _ int64, n int, do func() (int, error)) (int, error) {
		if member != 1 {
			return 0, errInjected
		}
		return do()
	})
	p := make([]byte, 300)
	if err := r.l.ReadAt(p, r.records[0].At); !errors.Is(err, errInjected) {
		t.Errorf("an unchecked read of a copy that is not known to be right: %v", err)
	}
	r.told()
	if err := r.readChecked(1); err != nil {
		t.Error(err)
	}
	if got := r.told(); !slices.Equal(got, []string{"error of segment 1 on member 2"}) {
		t.Errorf("told %q", got)
	}
	r.l.index.setHolder(2, 2, false)
	if err := r.l.ReadAt(p, r.records[1].At); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a segment that nobody is known to have: %v", err)
	}
}

// TestHolderLeavesWhileRead: the copy that is being read is taken away, and another one is there by then.
func TestHolderLeavesWhileRead(t *testing.T) {
	r := newReadTest(t, 2, 1)
	defer r.close()
	r.l.index.setHolder(1, 1, false)
	r.set(func(member int, _ string, _ int64, n int, do func() (int, error)) (int, error) {
		if member == 0 {
			r.l.index.setHolder(1, 1, true)
			r.l.index.setHolder(1, 0, false)
			return 0, errInjected
		}
		return do()
	})
	r.read(1)
	if got := r.told(); got != nil {
		t.Errorf("told %q", got)
	}
}
