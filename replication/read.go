package replication

import (
	"container/list"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/replication/segment"
)

// openFilesMax bounds the segment files kept open for reading: 512, half of the number of files a process may commonly
// have open.
const openFilesMax = 512

// ReadAt fills p with the bytes of a durable record that lie at the position, from the first member that can give them.
// They are not checked: the caller has a checksum and can ask every single member by ReadMemberAt.
func (l *Log) ReadAt(p []byte, at Position) error {
	var errs []error
	for i := range l.now().members {
		err := l.ReadMemberAt(i, p, at)
		if err == nil || errors.Is(err, errRange) || errors.Is(err, ErrDropped) || errors.Is(err, ErrClosed) {
			return err
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// errRange is returned for positions where no durable record lies.
var errRange = errors.New("position is outside the log")

// ReadMemberAt is ReadAt from one member, counted from 0, and no other.
func (l *Log) ReadMemberAt(member int, p []byte, at Position) error {
	if member < 0 || member >= len(l.now().members) {
		return fmt.Errorf("no member %d in a log of %d", member, len(l.now().members))
	}
	s, ok, dropped := l.index.get(at.Segment)
	if dropped {
		return fmt.Errorf("read %d bytes at %v: %w", len(p), at, ErrDropped)
	}
	if !ok || int64(at.Offset) < segment.HeaderBytes || int64(at.Offset)+int64(len(p)) > s.end {
		return fmt.Errorf("read %d bytes at %v: %w", len(p), at, errRange)
	}
	f, err := l.files.acquire(fileKey{member: member, segment: at.Segment}, s.sealed)
	if err == ErrClosed {
		return err
	}
	if err == nil {
		var n int
		n, err = f.ReadAt(p, int64(at.Offset))
		if n == len(p) {
			err = nil
		} else if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF // shorter than what was durable
		}
		l.files.release(f)
	}
	if err == nil {
		return nil
	}
	if !l.index.holds(at.Segment) { // since it was looked up
		return fmt.Errorf("read %d bytes at %v: %w", len(p), at, ErrDropped)
	}
	l.readFailed(member, at, err)
	return &MemberError{Dir: l.now().members[member].dir, Op: fmt.Sprintf("read %d bytes at %d of", len(p), at.Offset), Segment: at.Segment, Err: err}
}

func (l *Log) readFailed(member int, at Position, err error) {
	l.now().members[member].readErrors.Add(1)
	if l.o.Events.ReadFailed != nil {
		l.o.Events.ReadFailed(member, at, err)
	}
}

// files keeps segment files open for reading, up to openFilesMax, the least recently used one leaving first. A file is
// closed when it has left and nobody reads from it any more, so a reader never sees its file closed.
//
// A file of a dropped segment is not kept: forget is called when the index no longer has the segment, and insert, under the
// same lock, asks the index.
type files struct {
	log *Log
	mu  struct {
		sync.Mutex
		open   map[fileKey]*list.Element // of *file
		used   *list.List                // most recently used first
		closed bool
	}
}

type fileKey struct {
	member  int
	segment SegmentID
}

// file is an open segment file. refs counts the readers, and one for being in files; it is guarded by files.mu.
type file struct {
	vfs.File
	key  fileKey
	refs int
}

func (f *files) init(l *Log) {
	f.log = l
	f.mu.open = map[fileKey]*list.Element{}
	f.mu.used = list.New()
}

// acquire returns the open file; the caller must release it. sealed is what the caller believes about its name, which may
// be out of date.
func (f *files) acquire(key fileKey, sealed bool) (*file, error) {
	f.mu.Lock()
	if f.mu.closed {
		f.mu.Unlock()
		return nil, ErrClosed
	}
	if e, ok := f.mu.open[key]; ok {
		f.mu.used.MoveToFront(e)
		got := e.Value.(*file)
		got.refs++
		f.mu.Unlock()
		return got, nil
	}
	f.mu.Unlock()

	opened, err := f.log.now().members[key.member].openSegment(key.segment, sealed)
	if err != nil {
		return nil, err
	}
	return f.insert(&file{File: opened, key: key, refs: 2}), nil
}

// insert adds a file, unless another goroutine has added the same meanwhile, and lets the least recently used one go.
func (f *files) insert(add *file) *file {
	var leaving []*file
	f.mu.Lock()
	switch e, ok := f.mu.open[add.key]; {
	case ok:
		add.refs = 0
		leaving = append(leaving, add)
		add = e.Value.(*file)
		add.refs++
	case f.mu.closed || !f.log.index.holds(add.key.segment):
		add.refs--
	default:
		f.mu.open[add.key] = f.mu.used.PushFront(add)
		for f.mu.used.Len() > openFilesMax {
			leaving = f.dropLocked(f.mu.used.Back(), leaving)
		}
	}
	f.mu.Unlock()
	closeFiles(leaving)
	return add
}

// dropLocked takes a file out and appends it to leaving if nobody reads from it.
func (f *files) dropLocked(e *list.Element, leaving []*file) []*file {
	out := f.mu.used.Remove(e).(*file)
	delete(f.mu.open, out.key)
	if out.refs--; out.refs == 0 {
		leaving = append(leaving, out)
	}
	return leaving
}

func (f *files) release(r *file) {
	f.mu.Lock()
	r.refs--
	last := r.refs == 0
	f.mu.Unlock()
	if last {
		closeFiles([]*file{r})
	}
}

// forget lets the files of segments go that the index no longer has, so that the file system can have their blocks back as
// soon as nobody reads from them.
func (f *files) forget(ids []SegmentID) {
	var leaving []*file
	f.mu.Lock()
	for _, id := range ids {
		for i := range f.log.now().members {
			if e, ok := f.mu.open[fileKey{member: i, segment: id}]; ok {
				leaving = f.dropLocked(e, leaving)
			}
		}
	}
	f.mu.Unlock()
	closeFiles(leaving)
}

// close lets all files go and no new ones in.
func (f *files) close() {
	var leaving []*file
	f.mu.Lock()
	f.mu.closed = true
	for f.mu.used.Len() > 0 {
		leaving = f.dropLocked(f.mu.used.Front(), leaving)
	}
	f.mu.Unlock()
	closeFiles(leaving)
}

// closeFiles closes files that were only read, so nothing can be lost by an error.
func closeFiles(list []*file) {
	for _, r := range list {
		_ = r.File.Close()
	}
}
