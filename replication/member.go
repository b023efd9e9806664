package replication

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/internal/invariant"
	"pagevault/replication/segment"
)

// writeCategory is how the operating system's file system accounts our writes.
const writeCategory vfs.DiskWriteCategory = "pagevault-log"

// member is one copy's home and the goroutine that writes it. The goroutine, run, is the only one that writes segments of the
// member while the log is open; files of checkpoints are written by who saves them. It takes one step at a time, so file and
// err belong to it during a step and to the commit loop between steps.
type member struct {
	fs     vfs.FS
	dir    string
	number int      // from 0
	id     [16]byte // of this incarnation: another directory in its place has another

	// handles is held to close lock and dirFD, and shared to use dirFD: others than the commit loop's steps do, and may be late.
	handles sync.RWMutex

	lock   io.Closer
	dirFD  vfs.File // the directory, for syncing
	device string

	// naming is held to rename a segment, and shared to open one for reading. Pebble's memory file system takes a file away
	// from its old name before it puts it under the new one, and a reader between the two would find neither.
	naming sync.RWMutex

	steps chan step
	done  *sync.WaitGroup // counts steps of all members
	file  vfs.File        // the open segment; nil if there is none
	space reservation     // of file
	err   error           // of the last step

	failed     atomic.Pointer[MemberError] // why it is no longer written
	written    atomic.Int64
	syncs      atomic.Int64
	readErrors atomic.Int64

	health      health // as reads see it
	writeErrors atomic.Int64
	damaged     atomic.Int64 // reads that gave other bytes than were written
	repaired    atomic.Int64 // files written again from other members
	slow        atomic.Int64 // reads that took longer than Options.HedgeAfter
	hedged      atomic.Int64 // of these, reads that another member answered first
	have, want  atomic.Int64 // bytes, while it is brought up
	keeping     atomic.Int32 // operations of checkpoints and drops that have not returned

	free, total atomic.Uint64 // bytes of the file system, when measure looked
}

// status describes the member but for its state.
func (m *member) status() MemberStatus {
	s := MemberStatus{Number: m.number, Dir: m.dir, Device: m.device, ID: m.id,
		BytesWritten: m.written.Load(), ReadErrors: m.readErrors.Load(), WriteErrors: m.writeErrors.Load(),
		Damaged: m.damaged.Load(), Repaired: m.repaired.Load(), Slow: m.slow.Load(), Hedged: m.hedged.Load(),
		Have: m.have.Load(), Want: m.want.Load()}
	if err := m.failed.Load(); err != nil {
		s.Err = err
	}
	s.Free, s.Total = m.free.Load(), m.total.Load()
	return s
}

// measure looks how much room the member's file system has. On a disk that hangs it hangs, so that status does not ask.
func (m *member) measure() {
	if usage, err := m.fs.GetDiskUsage(m.dir); err == nil {
		m.free.Store(usage.AvailBytes)
		m.total.Store(usage.TotalBytes)
	}
}

// step is what the commit loop asks of a member. All members get the same step with the same buffers.
type step struct {
	op      stepOp
	segment SegmentID
	buffers [][]byte
}

type stepOp uint8

const (
	opWrite  stepOp = iota // buffers to the open segment, then sync
	opCreate               // the segment, with buffers as its header
	opSeal                 // the open segment, with buffers as its footer
)

// run takes steps until the channel is closed.
func (m *member) run() {
	for s := range m.steps {
		m.err = m.take(s)
		m.done.Done()
	}
}

func (m *member) take(s step) error {
	op, err := "", error(nil)
	switch s.op {
	case opWrite:
		op, err = m.write(s)
	case opCreate:
		op, err = m.create(s)
	case opSeal:
		op, err = m.seal(s)
	}
	if err == nil {
		return nil
	}
	failure := &MemberError{Dir: m.dir, Op: op, Segment: s.segment, Err: err}
	m.writeErrors.Add(1)
	m.failed.CompareAndSwap(nil, failure)
	return failure
}

// write writes the buffers and syncs. A nil error promises that they are on the disk. The name of the failed operation
// comes with an error.
func (m *member) write(s step) (string, error) {
	if op, err := m.writeBuffers(s.buffers); err != nil {
		return op, err
	}
	m.syncs.Add(1)
	return "sync", m.file.SyncData()
}

func (m *member) writeBuffers(buffers [][]byte) (string, error) {
	total := int64(0)
	for _, b := range buffers {
		total += int64(len(b))
	}
	m.space.ahead(m.file, total)
	for _, b := range buffers {
		if invariant.Enabled {
			// A vfs.File may scribble over what it is given to write, and in test builds the memory file system does. The other
			// members are writing the same bytes just now.
			b = slices.Clone(b)
		}
		n, err := m.file.Write(b)
		m.written.Add(int64(n))
		if err == nil && n < len(b) {
			err = io.ErrShortWrite
		}
		if err != nil {
			return "write", err
		}
	}
	return "write", nil
}

func (m *member) create(s step) (string, error) {
	file, err := m.fs.Create(m.path(segment.Name(s.segment, false)), writeCategory)
	if err != nil {
		return "create", err
	}
	m.file, m.space = file, reservation{limit: m.space.limit}
	if op, err := m.write(s); err != nil {
		return op, err
	}
	return "sync directory for", m.syncDir()
}

func (m *member) seal(s step) (string, error) {
	if op, err := m.writeBuffers(s.buffers); err != nil {
		return op, err
	}
	m.space.release(m.file)
	m.syncs.Add(1)
	if err := m.file.SyncData(); err != nil {
		return "sync", err
	}
	file := m.file
	m.file = nil
	if err := file.Close(); err != nil {
		return "close", err
	}
	if err := m.rename(segment.Name(s.segment, false), segment.Name(s.segment, true)); err != nil {
		return "rename", err
	}
	return "sync directory for", m.syncDir()
}

func (m *member) rename(from, to string) error {
	m.naming.Lock()
	defer m.naming.Unlock()
	return m.fs.Rename(m.path(from), m.path(to))
}

// openSegment opens a segment for reading. sealed is what the caller believes about its name, which may be out of date.
func (m *member) openSegment(id SegmentID, sealed bool) (vfs.File, error) {
	m.naming.RLock()
	defer m.naming.RUnlock()
	f, err := m.fs.Open(m.path(segment.Name(id, sealed)))
	if errors.Is(err, fs.ErrNotExist) {
		// It was sealed meanwhile; or the log is read only, and this copy was not renamed before a crash.
		f, err = m.fs.Open(m.path(segment.Name(id, !sealed)))
	}
	return f, err
}

func (m *member) path(name string) string { return m.fs.PathJoin(m.dir, name) }

// errReleased is returned for a member of which nothing is open any more.
var errReleased = errors.New("the member has been left out")

// syncDir makes creations, renames and removals in the member's directory durable.
func (m *member) syncDir() error {
	m.handles.RLock()
	defer m.handles.RUnlock()
	if m.dirFD == nil {
		return errReleased
	}
	m.syncs.Add(1)
	return m.dirFD.Sync()
}

// acquire makes the directory if need be, locks it against other processes and opens it for syncing.
func (m *member) acquire() error {
	if err := m.makeDir(); err != nil {
		return fmt.Errorf("member %s: make the directory: %w", m.dir, err)
	}
	lock, err := m.fs.Lock(m.path(segment.LockName))
	switch {
	case errors.Is(err, syscall.EAGAIN): // what fcntl says of a lock that is held
		return fmt.Errorf("member %s is %w: stop it first", m.dir, ErrInUse)
	case err != nil:
		return fmt.Errorf("member %s: lock it: %w", m.dir, err)
	}
	m.lock = lock
	if m.dirFD, err = m.fs.OpenDir(m.dir); err != nil {
		return fmt.Errorf("member %s: open the directory: %w", m.dir, err)
	}
	info, err := m.dirFD.Stat()
	if err != nil {
		return fmt.Errorf("member %s: stat the directory: %w", m.dir, err)
	}
	m.device = info.DeviceID().String()
	m.measure()
	return nil
}

// makeDir makes the directory and those above it that are missing, and syncs the ones above what it made: a directory
// whose entry is lost takes everything in it along.
func (m *member) makeDir() error {
	var above []string
	for dir := m.dir; ; {
		if _, err := m.fs.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		up := m.fs.PathDir(dir)
		if up == dir {
			break
		}
		above, dir = append(above, up), up
	}
	if len(above) == 0 {
		return nil
	}
	if err := m.fs.MkdirAll(m.dir, 0o755); err != nil {
		return err
	}
	for _, dir := range slices.Backward(above) {
		if err := m.syncPath(dir); err != nil {
			return err
		}
	}
	return nil
}

func (m *member) syncPath(dir string) error {
	f, err := m.fs.OpenDir(dir)
	if err != nil {
		return err
	}
	m.syncs.Add(1)
	return errors.Join(f.Sync(), f.Close())
}

// release closes what acquire and the steps have opened. The goroutine must have ended.
func (m *member) release() error {
	m.handles.Lock()
	defer m.handles.Unlock()
	var errs []error
	if m.file != nil {
		errs = append(errs, m.file.Close())
	}
	if m.dirFD != nil {
		errs = append(errs, m.dirFD.Close())
	}
	if m.lock != nil {
		errs = append(errs, m.lock.Close())
	}
	m.file, m.dirFD, m.lock = nil, nil, nil
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("member %s: close: %w", m.dir, err)
	}
	return nil
}
