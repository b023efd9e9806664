package replication

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/replication/segment"
)

func within(t *testing.T, d time.Duration, what string, do func()) bool {
	t.Helper()
	done := make(chan struct{})
	go func() { do(); close(done) }()
	select {
	case <-done:
		return true
	case <-time.After(d):
		t.Errorf("%s has not returned within %v", what, d)
		return false
	}
}

func hangAppend(t *testing.T, l *Log, n int, tag string) (out []*Record) {
	t.Helper()
	for i := range n {
		r := &Record{Meta: fmt.Append(nil, tag, i), Data: [][]byte{[]byte(strings.Repeat(tag, 300))}}
		if _, err := l.Append(r); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Next(nil); err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
	return out
}

// switchboard hangs or fails operations that match, until free is called.
type switchboard struct {
	mu    sync.Mutex
	match func(op fsOp) bool
	err   error // nil: hang
	hit   atomic.Bool
	well  chan struct{}
	once  sync.Once
}

func newSwitchboard(t *testing.T) *switchboard {
	s := &switchboard{well: make(chan struct{})}
	t.Cleanup(s.free)
	return s
}

func (s *switchboard) set(err error, match func(op fsOp) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.match, s.err = match, err
	s.hit.Store(false)
}

func (s *switchboard) free() { s.once.Do(func() { close(s.well) }) }

func (s *switchboard) hook(op fsOp, do func(n int) error) error {
	s.mu.Lock()
	match, err := s.match, s.err
	s.mu.Unlock()
	if match == nil || !match(op) {
		return do(op.bytes)
	}
	s.hit.Store(true)
	if err != nil {
		return err
	}
	<-s.well
	return do(op.bytes)
}

func eventually(t *testing.T, what string, so func() bool) bool {
	t.Helper()
	for range 300 {
		if so() {
			return true
		}
		<-time.After(50 * time.Millisecond)
	}
	t.Errorf("not %s", what)
	return false
}

func hangCheckpoint(l *Log, lsn LSN, text string) error {
	return l.SaveCheckpoint(lsn, []CheckpointFile{{Name: "f", Size: int64(len(text)), Open: func() (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(text)), nil
	}}})
}

// hangOptions have less patience than there is in earnest. These tests cannot have synthetic time: who waits for a lock keeps a
// bubble's time from passing, and that is what they are about.
var hangOptions = Options{SegmentBytes: 4000, ScrubEvery: -1, StallAfter: 100 * time.Millisecond, diskPatience: 300 * time.Millisecond}

// TestJoinHangs: a member that comes back and hangs while it gets the manifest holds up checkpoints and Close no longer than its
// operations may take.
func TestJoinHangs(t *testing.T) {
	s := newSwitchboard(t)
	l, err := Open(hooked(memMembers(3), s.hook), hangOptions)
	if err != nil {
		t.Fatal(err)
	}
	hangAppend(t, l, 3, "x")
	if err := hangCheckpoint(l, 2, "one"); err != nil {
		t.Fatal(err)
	}
	s.set(syscall.EIO, func(op fsOp) bool { return op.member == 1 })
	hangAppend(t, l, 3, "y")
	s.set(nil, func(op fsOp) bool { return op.member == 1 && op.path == segment.ManifestName+segment.TempSuffix })
	if !eventually(t, "hit", s.hit.Load) {
		return
	}
	within(t, 10*time.Second, "SaveCheckpoint while a returning member hangs", func() { _ = hangCheckpoint(l, 4, "two") })
	within(t, 30*time.Second, "Close while a returning member hangs", func() { l.Close() })
}

// TestJoinHangsForAMoment: a member whose disk hangs for a moment while it joins comes back.
func TestJoinHangsForAMoment(t *testing.T) {
	s := newSwitchboard(t)
	mem := memMembers(3)
	l, err := Open(hooked(mem, s.hook), hangOptions)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	hangAppend(t, l, 3, "x")
	s.set(syscall.EIO, func(op fsOp) bool { return op.member == 1 })
	hangAppend(t, l, 3, "y")
	s.set(nil, func(op fsOp) bool {
		return op.member == 1 && op.kind == "create" && op.path == segment.IdentityName+segment.TempSuffix
	})
	if !eventually(t, "hit", s.hit.Load) {
		return
	}
	<-time.After(2 * hangOptions.diskPatience) // for longer than anybody waits
	s.free()                                   // the disk works again
	if !eventually(t, "current again", func() bool { return allCurrent(l) }) {
		t.Logf("%+v", l.Members()[1])
	}
}

// TestHealHangs: a disk that hangs under the healing of one segment does not hold up that of others.
func TestHealHangs(t *testing.T) {
	s := newSwitchboard(t)
	mem := memMembers(3)
	l, err := Open(hooked(mem, s.hook), hangOptions)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { s.free(); l.Close() }()
	hangAppend(t, l, 40, "x")
	if err := l.Rotate(); err != nil {
		t.Fatal(err)
	}
	spoil := func(m Member, id SegmentID) {
		b, err := readFile(m, segment.Name(id, true))
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)/2] ^= 1
		if err := writeFile(m, segment.Name(id, true), b); err != nil {
			t.Fatal(err)
		}
		l.files.forget([]SegmentID{id})
	}
	spoil(mem[1], 1)
	spoil(mem[0], 2)
	s.set(nil, func(op fsOp) bool { return op.member == 1 }) // the whole disk
	l.Heal(1)
	if !eventually(t, "hit", s.hit.Load) {
		return
	}
	hangAppend(t, l, 3, "y") // it is left out
	l.Heal(2)
	eventually(t, fmt.Sprintf("segment 2 healed on member 1, while member 2, which is %v, hangs", l.Members()[1].State), func() bool { return l.Members()[0].Repaired > 0 })
}

// TestReplaceWhileBringUpHangs: a member that is being brought up on a disk that hangs is replaced by another directory.
func TestReplaceWhileBringUpHangs(t *testing.T) {
	s := newSwitchboard(t)
	l, err := Open(hooked(memMembers(3), s.hook), hangOptions)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { s.free(); l.Close() }()
	hangAppend(t, l, 3, "x")
	s.set(syscall.EIO, func(op fsOp) bool { return op.member == 1 })
	hangAppend(t, l, 3, "y")
	s.set(nil, func(op fsOp) bool { return op.member == 1 })
	if !eventually(t, "hit", s.hit.Load) {
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := l.Replace(ctx, 1, Member{FS: vfs.NewMem(), Dir: "new"}, false); err != nil {
		t.Errorf("replace a member whose disk hangs: %v", err)
	}
}

// TestReplaceWhileLetGoHangs: neither does it matter that the disk hangs only when the files of a member that failed are closed.
func TestReplaceWhileLetGoHangs(t *testing.T) {
	s := newSwitchboard(t)
	var failing, closing atomic.Bool
	o := hangOptions
	o.StallAfter = time.Minute // nobody is left out but by an error
	l, err := Open(hooked(memMembers(3), func(op fsOp, do func(n int) error) error {
		if op.member == 1 && failing.Load() {
			if op.kind != "close" {
				return syscall.EIO
			}
			closing.Store(true)
			<-s.well
		}
		return do(op.bytes)
	}), o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { s.free(); l.Close() }()
	hangAppend(t, l, 3, "x")
	failing.Store(true)
	hangAppend(t, l, 3, "y")
	if !eventually(t, "closing", closing.Load) {
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := l.Replace(ctx, 1, Member{FS: vfs.NewMem(), Dir: "new"}, false); err != nil {
		t.Errorf("replace a member whose files are being closed: %v", err)
	}
}

// TestCloseWhileCheckpointHangs: Close does not wait for ever for a member that cannot be spared.
func TestCloseWhileCheckpointHangs(t *testing.T) {
	s := newSwitchboard(t)
	l, err := Open(hooked(memMembers(2), s.hook), hangOptions)
	if err != nil {
		t.Fatal(err)
	}
	hangAppend(t, l, 3, "x")
	s.set(nil, func(op fsOp) bool { return op.member == 1 })
	go func() { _ = hangCheckpoint(l, 2, "one") }()
	if !eventually(t, "hit", s.hit.Load) {
		return
	}
	within(t, 30*time.Second, "Close while a checkpoint hangs", func() { l.Close() })
}

// TestCloseWhileHealingHangs: nor for the sync of a directory in the background.
func TestCloseWhileHealingHangs(t *testing.T) {
	s := newSwitchboard(t)
	mem := memMembers(3)
	l, err := Open(hooked(mem, s.hook), hangOptions)
	if err != nil {
		t.Fatal(err)
	}
	hangAppend(t, l, 10, "x")
	if err := l.Rotate(); err != nil {
		t.Fatal(err)
	}
	b, err := readFile(mem[1], segment.Name(1, true))
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := writeFile(mem[1], segment.Name(1, true), b); err != nil {
		t.Fatal(err)
	}
	s.set(nil, func(op fsOp) bool { return op.member == 1 && op.kind == "sync-dir" })
	l.Heal(1)
	if !eventually(t, "hit", s.hit.Load) {
		return
	}
	within(t, 30*time.Second, "Close while healing hangs in the sync of a directory", func() { l.Close() })
}

// TestOpenWhileDiskHangs: a log is opened without a member whose disk hangs.
func TestOpenWhileDiskHangs(t *testing.T) {
	s := newSwitchboard(t)
	mem := memMembers(3)
	l, err := Open(mem, hangOptions)
	if err != nil {
		t.Fatal(err)
	}
	hangAppend(t, l, 3, "x")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	s.set(nil, func(op fsOp) bool { return op.member == 1 })
	within(t, 30*time.Second, "Open with one disk that hangs", func() {
		l, err := Open(hooked(mem, s.hook), hangOptions)
		if err != nil {
			t.Error(err)
			return
		}
		if m := l.Members()[1]; m.State == Current {
			t.Errorf("%+v", m)
		}
		hangAppend(t, l, 3, "y")
		s.free()
		eventually(t, "current", func() bool { return allCurrent(l) })
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
}
