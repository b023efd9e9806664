package replication

import (
	"container/list"
	"errors"
	"io"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// openFilesMax bounds the segment files kept open for reading: 512, half of the number of files a process may commonly
// have open.
const openFilesMax = 512

// files keeps segment files open for reading, up to openFilesMax, the least recently used one leaving first. A file is
// closed when it has left and nobody reads from it any more, so a reader never sees its file closed. A read that never
// returns keeps its file, also when the log is closed.
//
// A file that was removed, or that another one was put in the place of, is not kept: forget and the like are called when
// the change is made, and a file that was opened before such a call and comes after it is used by who opened it and no
// longer. A file of a dropped segment does not come in: forget is called when the index no longer has the segment, and
// insert, under the same lock, asks the index.
type files struct {
	log *Log
	mu  struct {
		sync.Mutex
		open    map[fileKey]*list.Element // of *file
		used    *list.List                // most recently used first
		forgets int                       // how often files were let go because they changed
		closed  bool
	}
}

// fileKey names a file that is read. A member is one incarnation: what is put in its place has files of its own.
type fileKey struct {
	member  *member
	segment SegmentID
	shard   int8 // 0: the whole copy; i+1: shard i
}

// file is an open segment file. refs counts the readers, and one for being in files; it is guarded by files.mu.
type file struct {
	vfs.File
	key     fileKey
	refs    int
	fd      uintptr     // vfs.InvalidFd: the operating system does not know it
	waiting atomic.Bool // the file system cannot tell what it has in memory
}

func (f *files) init(l *Log) {
	f.log = l
	f.mu.open = map[fileKey]*list.Element{}
	f.mu.used = list.New()
}

// lookup returns the file if it is open; the caller must release it. What comes with nil is what insert wants to know.
func (f *files) lookup(key fileKey) (_ *file, forgets int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mu.closed {
		return nil, 0, ErrClosed
	}
	e, ok := f.mu.open[key]
	if !ok {
		return nil, f.mu.forgets, nil
	}
	f.mu.used.MoveToFront(e)
	got := e.Value.(*file)
	got.refs++
	return got, 0, nil
}

// acquire returns the open file; the caller must release it.
func (f *files) acquire(key fileKey) (*file, error) {
	got, forgets, err := f.lookup(key)
	if got != nil || err != nil {
		return got, err
	}
	opened, err := key.open(f.log)
	if err != nil {
		return nil, err
	}
	add := &file{File: opened, key: key, refs: 2, fd: opened.Fd()}
	if add.fd != vfs.InvalidFd {
		readOnlyAccess(add.fd)
	}
	return f.insert(add, forgets), nil
}

// open opens the file.
func (k *fileKey) open(l *Log) (vfs.File, error) {
	if k.shard > 0 {
		return k.member.openShardOn(k.member.raw, k.segment, int(k.shard-1))
	}
	s, _, _ := l.index.get(k.segment)
	return k.member.openSegmentOn(k.member.raw, k.segment, s.sealed)
}

// insert adds a file, unless another goroutine has added the same meanwhile or files were let go since forgets was told,
// and lets the least recently used one go.
func (f *files) insert(add *file, forgets int) *file {
	var leaving []*file
	f.mu.Lock()
	switch e, ok := f.mu.open[add.key]; {
	case ok:
		add.refs = 0
		leaving = append(leaving, add)
		add = e.Value.(*file)
		add.refs++
	case f.mu.closed || f.mu.forgets != forgets || !f.log.index.holds(add.key.segment):
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
	gone := map[SegmentID]bool{}
	for _, id := range ids {
		gone[id] = true
	}
	f.forgetIf(func(k *fileKey) bool { return gone[k.segment] })
}

// forgetCopy lets the files go that a member has of a segment, its whole copy and its shards, because one of them was
// removed or replaced. What is read from the member from now on is read from the files as they are now.
func (f *files) forgetCopy(m *member, id SegmentID) {
	f.forgetIf(func(k *fileKey) bool { return k.member == m && k.segment == id })
}

// forgetMember lets all files of a member go.
func (f *files) forgetMember(m *member) {
	f.forgetIf(func(k *fileKey) bool { return k.member == m })
}

// forgetIf looks at openFilesMax files at most.
func (f *files) forgetIf(match func(k *fileKey) bool) {
	var leaving []*file
	f.mu.Lock()
	f.mu.forgets++
	for key, e := range f.mu.open {
		if match(&key) {
			leaving = f.dropLocked(e, leaving)
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

// closeFiles closes files that were only read, so nothing can be lost by an error. A disk that does not answer may hold up
// a close as it does a read, and nobody has to wait for it.
func closeFiles(list []*file) {
	for _, r := range list {
		if r.key.member.health.stuck() {
			go r.File.Close()
		} else {
			_ = r.File.Close()
		}
	}
}

// readFile fills p with the bytes of a file at off. It takes as long as the disk takes. A file that ends before is
// io.ErrUnexpectedEOF.
func (l *Log) readFile(key fileKey, p []byte, off int64) error {
	f, err := l.files.acquire(key)
	if err != nil {
		return err
	}
	defer l.files.release(f)
	n, err := f.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// readFileCached fills p with the bytes of a file at off if it is open and the operating system has them in memory, and
// reports whether it has. It never waits for a disk. Otherwise p holds nothing of use.
func (l *Log) readFileCached(key fileKey, p []byte, off int64) bool {
	f, _, err := l.files.lookup(key)
	if f == nil || err != nil {
		return false
	}
	ok := f.fd != vfs.InvalidFd && !f.waiting.Load()
	if ok {
		var supported bool
		if ok, supported = readNoWait(f.fd, p, off); !supported {
			f.waiting.Store(true)
		}
	}
	l.files.release(f)
	return ok
}
