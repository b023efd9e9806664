package replication

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/internal/invariant"
	"pagevault/replication/roster"
	"pagevault/replication/segment"
)

// writeCategory is how the operating system's file system accounts our writes.
const writeCategory vfs.DiskWriteCategory = "pagevault-log"

// member is one incarnation of a member: a directory, from when it is opened to when it is left out, and the goroutine that
// writes it. The goroutine, run, is the only one that writes open segments and the MEMBER file of the member while the log is
// open; sealed segments, shards and files of checkpoints are written by who makes them. It takes one step at a time, and what
// it writes with belongs to it alone. A member that was left out is never written again: what comes back to its place is
// another incarnation, which begins when nothing of this one is under way any more.
type member struct {
	fs      vfs.FS // bounded in time, see patientFS
	raw     vfs.FS // the same, unbounded: for steps, and for reads of users
	patient *patient
	dir     string
	number  int      // from 0
	id      [16]byte // of this incarnation: another directory in its place has another

	// handles is held to take file, dirFD and lock away from the member, and shared to use dirFD: others than the commit loop's
	// steps do, and may be late.
	handles sync.RWMutex

	lock   io.Closer
	dirFD  vfs.File // the directory, for syncing
	device string

	renames atomic.Int64 // begun and ended: odd while one is under way. See named

	steps   chan step     // nil: it is not written
	stopped chan struct{} // closed when run has ended
	working atomic.Bool   // a step is under way
	left    atomic.Bool   // it was left out: a step that is under way ends at the next system call
	adrift  atomic.Bool   // it is left to its disk
	ending  sync.Mutex    // held to end run

	file   vfs.File    // the open segment; nil if there is none
	pos    int64       // where in file the next Write goes
	sealed SegmentID   // the segment that was sealed last, by this incarnation
	space  reservation // of file

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

// step is what the commit loop asks of a member. All members get the same step with the same buffers. Any step can be taken
// again, by members that have taken it and by those that have failed in it.
type step struct {
	op      stepOp
	segment SegmentID
	offset  int64 // in the open segment, where buffers go
	buffers [][]byte
	roster  *roster.Roster
	results chan<- result // has room for all
}

// result is the end of a member's step.
type result struct {
	m   *member
	err error // a *MemberError
}

type stepOp uint8

const (
	opWrite  stepOp = iota // buffers to the open segment, then sync
	opCreate               // the segment, with buffers as its header
	opSeal                 // the open segment, with buffers as its footer
	opRoster               // the MEMBER file
	opReopen               // the open segment, after a failure
)

// start has the member take steps from now on.
func (m *member) start() {
	m.steps, m.stopped = make(chan step, 1), make(chan struct{})
	go m.run()
}

// run takes steps until the channel is closed.
func (m *member) run() {
	defer close(m.stopped)
	for s := range m.steps {
		err := m.take(s)
		m.working.Store(false)
		s.results <- result{m, err}
	}
}

// give has the member take a step. It must not be taking one.
func (m *member) give(s step) {
	invariant.Check(!m.working.Load(), "member %d is given a step while it takes one", m.number+1)
	m.working.Store(true)
	m.steps <- s
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
	case opRoster:
		op, err = "write", m.writeRoster(s.roster)
	case opReopen:
		op, err = "open", m.reopen(s.segment)
	}
	if err == nil {
		return nil
	}
	failure := (*MemberError)(nil)
	if !errors.As(err, &failure) {
		failure = &MemberError{Dir: m.dir, Op: op, Segment: s.segment, Err: err}
	}
	m.writeErrors.Add(1)
	return failure
}

// errLeft ends a step of a member that was left out meanwhile.
var errLeft = errors.New("the member was left out meanwhile")

// errNotOpen is what is wrong with a member whose open segment could not be opened again.
var errNotOpen = errors.New("the segment is not open")

// write writes the buffers and syncs. A nil error promises that they are on the disk. The name of the failed operation
// comes with an error.
func (m *member) write(s step) (string, error) {
	if op, err := m.writeBuffers(s.offset, s.buffers); err != nil {
		return op, err
	}
	if m.left.Load() {
		return "sync", errLeft
	}
	m.syncs.Add(1)
	return "sync", m.file.SyncData()
}

func (m *member) writeBuffers(off int64, buffers [][]byte) (string, error) {
	if m.file == nil {
		return "write", errNotOpen
	}
	end := off
	for _, b := range buffers {
		end += int64(len(b))
	}
	m.space.ahead(m.file, end)
	for _, b := range buffers {
		if m.left.Load() {
			return "write", errLeft
		}
		if invariant.Enabled {
			// A vfs.File may scribble over what it is given to write, and in test builds the memory file system does. The other
			// members are writing the same bytes just now.
			b = slices.Clone(b)
		}
		n, err := m.writeAt(b, off)
		m.written.Add(int64(n))
		if err == nil && n < len(b) {
			err = io.ErrShortWrite
		}
		if err != nil {
			return "write", err
		}
		off += int64(n)
	}
	return "write", nil
}

// writeAt writes where the file ends, but after a failure, when some of it is written again.
func (m *member) writeAt(b []byte, off int64) (n int, err error) {
	if off != m.pos {
		return m.file.WriteAt(b, off)
	}
	n, err = m.file.Write(b)
	m.pos += int64(n)
	return n, err
}

func (m *member) create(s step) (string, error) {
	m.closeFile() // after a failure
	file, err := m.raw.Create(m.path(segment.Name(s.segment, false)), writeCategory)
	if err != nil {
		return "create", err
	}
	m.file, m.pos, m.space = file, 0, reservation{limit: m.space.limit}
	if op, err := m.write(s); err != nil {
		return op, err
	}
	return "sync directory for", m.syncDir()
}

func (m *member) seal(s step) (string, error) {
	if m.sealed != s.segment {
		if op, err := m.finish(s); err != nil {
			return op, err
		}
		m.sealed = s.segment
	}
	return "sync directory for", m.syncDir()
}

// finish is seal up to the rename.
func (m *member) finish(s step) (string, error) {
	if op, err := m.writeBuffers(s.offset, s.buffers); err != nil {
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
	if m.left.Load() {
		return "rename", errLeft
	}
	return "rename", m.rename(m.raw, segment.Name(s.segment, false), segment.Name(s.segment, true))
}

// reopen opens the open segment again, after a failure, so that steps can be taken again: what a file says after a sync of it
// has failed is not to be believed. Where there is no such file the segment was not created, or is sealed.
func (m *member) reopen(id SegmentID) error {
	m.closeFile()
	if err := m.sameDirectory(); err != nil {
		return err
	}
	if id == 0 {
		return nil
	}
	name := m.path(segment.Name(id, false))
	_, err := m.fs.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := m.fs.Stat(m.path(segment.Name(id, true))); err == nil {
			m.sealed = id
		}
		return nil
	}
	if err != nil {
		return err
	}
	m.file, err = m.raw.OpenReadWrite(name, writeCategory)
	m.pos = -1 // write where we say
	return err
}

// closeFile gives up the open segment.
func (m *member) closeFile() {
	if m.file != nil {
		_ = m.file.Close() // what it holds is written again
	}
	m.file = nil
}

func (m *member) rename(on vfs.FS, from, to string) error {
	m.renames.Add(1)
	defer m.renames.Add(1)
	return on.Rename(m.path(from), m.path(to))
}

// idle reports whether nothing that was asked of the member's disk is still under way.
func (m *member) idle() bool {
	return !m.working.Load() && m.keeping.Load() == 0 && m.patient.busy.Load() == 0
}

// openSegment opens a segment for reading. sealed is what the caller believes about its name, which may be out of date.
func (m *member) openSegment(id SegmentID, sealed bool) (vfs.File, error) {
	return m.openSegmentOn(m.fs, id, sealed)
}

func (m *member) openSegmentOn(on vfs.FS, id SegmentID, sealed bool) (f vfs.File, err error) {
	err = m.named(func() error {
		f, err = on.Open(m.path(segment.Name(id, sealed)))
		if errors.Is(err, fs.ErrNotExist) {
			// It was sealed meanwhile; or the log is read only, and this copy was not renamed before a crash.
			f, err = on.Open(m.path(segment.Name(id, !sealed)))
		}
		return err
	})
	return f, err
}

// named calls look, which looks for files by their names, until it has found them or surely cannot. A memory file system takes a
// file away from its old name before it puts it under the new one, and who looks between the two finds neither.
func (m *member) named(look func() error) error {
	for {
		before := m.renames.Load()
		err := look()
		if !errors.Is(err, fs.ErrNotExist) || before%2 == 0 && m.renames.Load() == before {
			return err
		}
		runtime.Gosched()
	}
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
	if err := m.answers(); err != nil {
		return fmt.Errorf("member %s: make a file: %w", m.dir, err)
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

// answers makes a file and removes it. The operating system's file system takes one lock for all files that are locked, so that
// a disk that does not take writes must be found out about before.
func (m *member) answers() error {
	if !sameFS(m.raw, vfs.Default) {
		return nil
	}
	name := m.path(segment.LockName + segment.TempSuffix)
	f, err := m.fs.Create(name, writeCategory)
	if err == nil {
		err = f.Close()
	}
	if err == nil {
		err = m.fs.Remove(name)
	}
	return err
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

// stop ends the member's goroutine, if that is not in a step, and waits for it. ended is false if it is.
func (m *member) stop() (ended bool) {
	m.ending.Lock()
	defer m.ending.Unlock()
	if m.steps == nil {
		return true
	}
	if m.working.Load() || m.adrift.Load() {
		return false
	}
	close(m.steps)
	<-m.stopped
	m.steps = nil
	return true
}

// leaveToDisk ends the member's goroutine and closes what is open when its disk answers, and does not wait for that.
func (m *member) leaveToDisk() {
	m.ending.Lock()
	defer m.ending.Unlock()
	if m.steps == nil || m.adrift.Swap(true) {
		return
	}
	close(m.steps)
	go func() {
		<-m.stopped
		_ = m.closeHandles() // nobody waits for it
	}()
}

// release closes what acquire and the steps have opened. The goroutine must have ended. On a disk that hangs it returns errStuck,
// and the closing is left to the disk: until it answers the member is not idle.
func (m *member) release() error {
	err := errOf(func(op, late func()) error { return m.patient.run(m.patient.limit, op, late) }, m.closeHandles)
	if err != nil {
		return fmt.Errorf("member %s: close: %w", m.dir, err)
	}
	return nil
}

// closeHandles is release without a bound.
func (m *member) closeHandles() error {
	m.handles.Lock()
	file, dirFD, lock := m.file, m.dirFD, m.lock
	m.file, m.dirFD, m.lock = nil, nil, nil
	m.handles.Unlock() // nobody waits for what closes below
	var errs []error
	if file != nil {
		errs = append(errs, file.Close())
	}
	if dirFD != nil {
		errs = append(errs, dirFD.Close())
	}
	if lock != nil {
		errs = append(errs, lock.Close())
	}
	return errors.Join(errs...)
}
