package replication

import (
	"errors"
	"io"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/internal/clock"
)

// diskPatience is how long one operation of background work may take on a member, syncPatience how long the sync of what may be
// a whole segment: a disk that works needs a tenth of that at its worst, and one that hangs must not hold up what is done for
// others. When the log is being closed it is closeGrace from then, if that is less.
const (
	diskPatience = 10 * time.Second
	syncPatience = 3 * diskPatience
)

// errStuck is the error of an operation that did not return in time, and of those that come after it until it has.
var errStuck = errors.New("the disk does not answer")

// patient is how operations on one member are bounded in time. Each has a goroutine of its own, which is left to the disk
// when it hangs, with all that the operation uses: buffers are its own.
//
// Once an operation hangs, no other is begun before it has returned, but for the closing of what is open. A member that was left
// out is not changed any more.
type patient struct {
	clock clock.Clock
	quit  <-chan struct{} // closed when the log is being closed
	left  *atomic.Bool    // the member was left out
	limit time.Duration   // diskPatience

	busy  atomic.Int64 // operations that have not returned
	stuck atomic.Int64 // of these, those that nobody waits for any more; changed under mu

	mu struct {
		sync.Mutex
		closing []vfs.File // to be closed when nothing hangs any more: an operation may be under way on them
	}
}

// States of an operation. One of both sides makes the last step.
const (
	opRunning int32 = iota
	opReturned
	opAbandoned
)

// do calls op, and late after it if that took too long; then the error is errStuck. op must not touch anything of the caller's.
func (p *patient) do(op, late func()) error { return p.within(p.limit, op, late) }

func (p *patient) within(limit time.Duration, op, late func()) error {
	if p.stuck.Load() > 0 {
		return errStuck
	}
	return p.run(limit, op, late)
}

// run is within for what must be begun even where something hangs.
func (p *patient) run(limit time.Duration, op, late func()) error {
	var state atomic.Int32
	done := make(chan struct{})
	p.busy.Add(1)
	go func() {
		op()
		if state.CompareAndSwap(opRunning, opReturned) {
			p.busy.Add(-1) // before anybody goes on
			close(done)
			return
		}
		if late != nil {
			late()
		}
		p.answered()
		p.busy.Add(-1)
	}()
	t := p.clock.NewTimer(limit)
	defer t.Stop()
	for quit := p.quit; ; {
		select {
		case <-done:
			return nil
		case <-quit:
			quit = nil
			t.Reset(min(limit, closeGrace))
		case <-t.C():
			p.mu.Lock()
			p.stuck.Add(1)
			p.mu.Unlock()
			if state.CompareAndSwap(opRunning, opAbandoned) {
				return errStuck
			}
			<-done
			p.answered()
			return nil
		}
	}
}

// answered notes that an operation has returned for which nobody waits, and closes files if it was the last.
func (p *patient) answered() {
	p.mu.Lock()
	var closing []vfs.File
	if p.stuck.Add(-1) == 0 {
		closing, p.mu.closing = p.mu.closing, nil
	}
	p.mu.Unlock()
	for _, f := range closing {
		_ = f.Close() // nobody knows what it holds
		p.busy.Add(-1)
	}
}

// closeLater has a file closed when nothing hangs any more, and reports whether anything does.
func (p *patient) closeLater(f vfs.File) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stuck.Load() == 0 {
		return false
	}
	p.busy.Add(1)
	p.mu.closing = append(p.mu.closing, f)
	return true
}

// change is do for what changes the member.
func (p *patient) change(op, late func()) error {
	if p.left.Load() {
		return errLeft
	}
	return p.do(op, late)
}

// sync is change for what takes longer.
func (p *patient) sync(op, late func()) error {
	if p.left.Load() {
		return errLeft
	}
	return p.within(p.limit*(syncPatience/diskPatience), op, late)
}

// patientFS is the file system of a member for all but the commit loop's steps and reads of users, which have bounds of their own.
type patientFS struct {
	vfs.FS // PathBase, PathDir, PathJoin and Unwrap are its own
	p      *patient
}

// file makes a file that op opens a patient one. One that comes too late is closed.
func (f *patientFS) file(bounded func(op, late func()) error, op func() (vfs.File, error)) (vfs.File, error) {
	var got vfs.File
	var err error
	if stuck := bounded(func() { got, err = op() }, func() {
		if err == nil {
			_ = got.Close() // nobody has used it
		}
	}); stuck != nil {
		return nil, stuck
	}
	if err != nil {
		return nil, err
	}
	return &slowFile{File: got, p: f.p}, nil
}

func (f *patientFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return f.file(f.p.change, func() (vfs.File, error) { return f.FS.Create(name, c) })
}

func (f *patientFS) Open(name string, o ...vfs.OpenOption) (vfs.File, error) {
	return f.file(f.p.do, func() (vfs.File, error) { return f.FS.Open(name, o...) })
}

func (f *patientFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	return f.file(f.p.change, func() (vfs.File, error) { return f.FS.OpenReadWrite(name, c, o...) })
}

func (f *patientFS) OpenDir(name string) (vfs.File, error) {
	return f.file(f.p.do, func() (vfs.File, error) { return f.FS.OpenDir(name) })
}

// errOf runs an operation that returns an error.
func errOf(bounded func(op, late func()) error, op func() error) error {
	var err error
	if stuck := bounded(func() { err = op() }, nil); stuck != nil {
		return stuck
	}
	return err
}

// valueOf runs an operation that returns a value.
func valueOf[T any](p *patient, op func() (T, error)) (value T, err error) {
	var got T
	var failed error
	if stuck := p.do(func() { got, failed = op() }, nil); stuck != nil {
		return value, stuck
	}
	return got, failed
}

func (f *patientFS) Remove(name string) error {
	return errOf(f.p.change, func() error { return f.FS.Remove(name) })
}

func (f *patientFS) Rename(from, to string) error {
	return errOf(f.p.change, func() error { return f.FS.Rename(from, to) })
}

func (f *patientFS) MkdirAll(dir string, perm os.FileMode) error {
	return errOf(f.p.change, func() error { return f.FS.MkdirAll(dir, perm) })
}

func (f *patientFS) Lock(name string) (io.Closer, error) {
	var lock io.Closer
	var err error
	if stuck := f.p.do(func() { lock, err = f.FS.Lock(name) }, func() {
		if err == nil {
			_ = lock.Close() // nobody holds it
		}
	}); stuck != nil {
		return nil, stuck
	}
	return lock, err
}

func (f *patientFS) List(dir string) ([]string, error) {
	return valueOf(f.p, func() ([]string, error) { return f.FS.List(dir) })
}

func (f *patientFS) Stat(name string) (vfs.FileInfo, error) {
	return valueOf(f.p, func() (vfs.FileInfo, error) { return f.FS.Stat(name) })
}

func (f *patientFS) GetDiskUsage(path string) (vfs.DiskUsage, error) {
	return valueOf(f.p, func() (vfs.DiskUsage, error) { return f.FS.GetDiskUsage(path) })
}

// slowFile is a file of a patientFS. What is not bounded here does not wait for a disk.
type slowFile struct {
	vfs.File
	p *patient
}

// read fills b by an operation that has a buffer of its own.
func (f *slowFile) read(b []byte, op func(b []byte) (int, error)) (int, error) {
	buf := takeBuffer(len(b))
	n, err := valueOf(f.p, func() (int, error) { return op(buf) })
	if errors.Is(err, errStuck) {
		return 0, err // the buffer stays with who hangs
	}
	copy(b, buf[:n])
	giveBuffer(buf)
	return n, err
}

func (f *slowFile) Read(b []byte) (int, error) { return f.read(b, f.File.Read) }

func (f *slowFile) ReadAt(b []byte, off int64) (int, error) {
	return f.read(b, func(b []byte) (int, error) { return f.File.ReadAt(b, off) })
}

// write writes a copy of b.
func (f *slowFile) write(b []byte, op func(b []byte) (int, error)) (n int, err error) {
	b = slices.Clone(b)
	var wrote int
	var failed error
	if err := f.p.change(func() { wrote, failed = op(b) }, nil); err != nil {
		return 0, err
	}
	return wrote, failed
}

func (f *slowFile) Write(b []byte) (int, error) { return f.write(b, f.File.Write) }

func (f *slowFile) WriteAt(b []byte, off int64) (int, error) {
	return f.write(b, func(b []byte) (int, error) { return f.File.WriteAt(b, off) })
}

func (f *slowFile) Preallocate(off, n int64) error {
	return errOf(f.p.change, func() error { return f.File.Preallocate(off, n) })
}

func (f *slowFile) Stat() (vfs.FileInfo, error) { return valueOf(f.p, f.File.Stat) }

func (f *slowFile) Sync() error { return errOf(f.p.sync, f.File.Sync) }

func (f *slowFile) SyncData() error { return errOf(f.p.sync, f.File.SyncData) }

// Close does not wait where something hangs.
func (f *slowFile) Close() error {
	if f.p.closeLater(f.File) {
		return errStuck
	}
	return errOf(f.p.do, f.File.Close)
}
