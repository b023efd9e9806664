package pagestore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/replication"
)

// openIndex opens or creates the Pebble database through fs. fatal is called, from any goroutine, when Pebble can no
// longer trust its own state, corrupt when it finds a file damaged. The error is a *damage if the index should be made
// anew.
func openIndex(o *Options, fs *indexFS, cache *pebble.Cache, fatal, corrupt func(error)) (*pebble.DB, error) {
	p := pebbleOptions(o, cache, fatal, corrupt)
	p.FS = fs
	db, err := pebble.Open(o.Dir, p)
	switch {
	case errors.Is(err, syscall.EAGAIN): // what fcntl says of a lock that is held
		return nil, fmt.Errorf("index %s is in use by another process: stop it first", o.Dir)
	case err != nil && passing(err):
		return nil, fmt.Errorf("index %s: %w", o.Dir, err)
	case err != nil:
		return nil, &damage{fmt.Errorf("index %s: %w", o.Dir, err)}
	}
	return db, nil
}

// passing reports whether an error of opening a database says nothing of its files: another one made in its place would
// have the same, or it was written by a later version.
func passing(err error) bool {
	for _, e := range []error{fs.ErrPermission, syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM} {
		if errors.Is(err, e) {
			return true
		}
	}
	return strings.Contains(err.Error(), "unknown format major version") // Pebble has no error to compare with
}

// CheckMembers returns the error that Open would because the index knows records and no member holds any. It makes and
// changes nothing, so that whoever opens several stores can ask for all of them before Open creates one.
func CheckMembers(o Options) error {
	o, err := o.withDefaults()
	if err != nil {
		return err
	}
	return checkMembersThere(&o)
}

// checkMembersThere returns an error if the index has applied records while no member's directory holds any: directories
// of disks that are not mounted look like those of a new store. Nothing is created and nothing is changed.
func checkMembersThere(o *Options) error {
	there, err := replication.HoldsRecords(o.Members)
	if err != nil || there {
		return err
	}
	applied, err := appliedBefore(o)
	if err != nil {
		return fmt.Errorf("no member directory holds a record, and what the index %s knows cannot be read: %w", o.Dir, err)
	}
	if applied == 0 {
		return nil
	}
	records := fmt.Sprintf("%d records", applied)
	if applied == 1 {
		records = "1 record"
	}
	return fmt.Errorf("the index %s knows a store of %s, but no member directory holds any of it: mount the disks; nothing was changed (to begin an empty store, move %s away)",
		o.Dir, records, o.Dir)
}

// appliedBefore returns how many records an index has applied, without changing it; 0 if there is none.
func appliedBefore(o *Options) (replication.LSN, error) {
	desc, err := pebble.Peek(o.Dir, o.FS)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil || !desc.Exists {
		return 0, err
	}
	st, _, err := peekState(o, o.Dir)
	return st.applied, err
}

// peekState reads the state of the index in a directory without changing anything. ok is false if it holds nothing.
func peekState(o *Options, dir string) (st state, ok bool, err error) {
	var damaged error
	p := pebbleOptions(o, nil, func(error) {}, func(err error) { damaged = err })
	p.FS, p.ReadOnly = o.FS, true
	db, err := pebble.Open(dir, p)
	if err != nil {
		return st, false, err
	}
	st, ok, err = readState(db)
	return st, ok, errors.Join(err, db.Close(), damaged)
}

// pebbleOptions are set on purpose where Pebble's defaults are for tests: see each line.
//
// There is no write-ahead log: the log of records is it. After a crash the index is that of the last flush of a
// memtable, a whole number of batches, and is brought forward from the applied LSN in it. Beside writing every row once
// less, this keeps applying from waiting for a sync at each change of memtables, and Pebble from ending the process when
// its log cannot be written.
func pebbleOptions(o *Options, cache *pebble.Cache, fatal, corrupt func(error)) *pebble.Options {
	log := indexLogger{o.Events.IndexLog, fatal}
	p := &pebble.Options{
		Cache:                       cache,
		FormatMajorVersion:          pebble.FormatNewest, // the default is the oldest supported; this one can tell a torn WAL from a damaged one
		Logger:                      log,
		MemTableSize:                uint64(o.MemTableBytes),
		DisableWAL:                  true, // see below
		MemTableStopWritesThreshold: 4,    // do not stall applying behind one flush
		L0CompactionThreshold:       2,
		L0StopWritesThreshold:       1000, // read amplification hurts, a stalled log hurts more
		LBaseMaxBytes:               64 << 20,
		MaxOpenFiles:                4096,
		BytesPerSync:                1 << 20,
		CompactionConcurrencyRange:  func() (int, int) { return 1, max(1, min(4, runtime.GOMAXPROCS(0)/2)) },
		EventListener: &pebble.EventListener{
			DataCorruption: func(i pebble.DataCorruptionInfo) {
				corrupt(fmt.Errorf("%s is damaged: %s", i.Path, oneLine(i.Details.Error())))
			},
			// What cannot be flushed or compacted is tried again for ever, and before long commits wait for it.
			BackgroundError: func(err error) {
				if !errors.Is(err, pebble.ErrCancelledCompaction) {
					fatal(fmt.Errorf("background: %w", err))
				}
			},
		},
	}
	p.TargetFileSizes[0] = 8 << 20 // the default of 2 MiB makes half a million tables of a large index
	for i := range p.Levels {
		p.Levels[i].BlockSize = 32 << 10
		p.Levels[i].FilterPolicy = bloom.FilterPolicy(10) // most look-ups are for fingerprints nobody has seen
		p.Levels[i].IndexBlockSize = 256 << 10
	}
	return p
}

// indexFS is what Pebble has of the file system.
//
// It makes the entries of a directory durable before a marker is created in it. Pebble names its current MANIFEST by an
// empty file, and syncs the directory once, after creating both; a file system that does not keep the order of entries
// could then be left with a marker for a MANIFEST that is not there, and the index could not be opened.
//
// Once it is cut, nothing can be made, renamed or removed through it any more: what a database that has failed still does
// in the background must not reach one that takes its place in the same directory.
type indexFS struct {
	vfs.FS
	cut atomic.Bool
}

var errCut = errors.New("the index was given up")

func (f *indexFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if f.cut.Load() {
		return nil, errCut
	}
	if strings.HasPrefix(f.PathBase(name), "marker.") {
		if err := syncDir(f.FS, f.PathDir(name)); err != nil {
			return nil, err
		}
	}
	return f.FS.Create(name, c)
}

// Link makes a link, unless the file system is cut.
func (f *indexFS) Link(from, to string) error {
	if f.cut.Load() {
		return errCut
	}
	return f.FS.Link(from, to)
}

// OpenReadWrite opens a file that may be new, unless the file system is cut.
func (f *indexFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	if f.cut.Load() {
		return nil, errCut
	}
	return f.FS.OpenReadWrite(name, c, o...)
}

// Remove removes a file, unless the file system is cut.
func (f *indexFS) Remove(name string) error {
	if f.cut.Load() {
		return errCut
	}
	return f.FS.Remove(name)
}

// RemoveAll removes a directory, unless the file system is cut.
func (f *indexFS) RemoveAll(name string) error {
	if f.cut.Load() {
		return errCut
	}
	return f.FS.RemoveAll(name)
}

// Rename renames a file, unless the file system is cut.
func (f *indexFS) Rename(from, to string) error {
	if f.cut.Load() {
		return errCut
	}
	return f.FS.Rename(from, to)
}

// ReuseForWrite renames a file and opens it, unless the file system is cut.
func (f *indexFS) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if f.cut.Load() {
		return nil, errCut
	}
	return f.FS.ReuseForWrite(from, to, c)
}

// MkdirAll makes a directory, unless the file system is cut.
func (f *indexFS) MkdirAll(dir string, perm os.FileMode) error {
	if f.cut.Load() {
		return errCut
	}
	return f.FS.MkdirAll(dir, perm)
}

// Unwrap returns the file system below, as Pebble asks of one that wraps another.
func (f *indexFS) Unwrap() vfs.FS { return f.FS }

// indexLogger hands Pebble's lines to Events. Pebble expects Fatalf not to return; ours does, having told the store to
// apply nothing more. The rows on disk then stay those of some applied LSN, and opening the store again goes on there.
type indexLogger struct {
	line  func(string)
	fatal func(error)
}

func (l indexLogger) Infof(format string, args ...any) {
	if l.line != nil {
		l.line(fmt.Sprintf(format, args...))
	}
}

func (l indexLogger) Errorf(format string, args ...any) { l.Infof(format, args...) }

func (l indexLogger) Fatalf(format string, args ...any) {
	l.Infof(format, args...)
	l.fatal(fmt.Errorf(format, args...))
}

// readState reads the state row. A database without one and without any other row is new: found is false.
func readState(db *pebble.DB) (s state, found bool, err error) {
	v, closer, err := db.Get(stateKey)
	if errors.Is(err, pebble.ErrNotFound) {
		return s, false, checkEmpty(db)
	}
	if err != nil {
		return s, false, err
	}
	defer closer.Close()
	s, err = decodeState(v)
	return s, true, err
}

// errNoIndex is returned for a database of something else.
var errNoIndex = errors.New("holds rows and no state: it is not an index of this program")

func checkEmpty(db *pebble.DB) error {
	it, err := db.NewIter(nil)
	if err != nil {
		return err
	}
	defer it.Close()
	if it.First() {
		return errNoIndex
	}
	return it.Error()
}

// checkState compares what the index has seen with the log it is opened beside.
func checkState(s *state, store [16]byte, last replication.LSN) error {
	if s.store != store {
		return fmt.Errorf("belongs to store %x, the log to store %x", s.store, store)
	}
	if s.applied > last {
		return fmt.Errorf("%w: it has applied record %d, the log ends at %d: the log has lost records", ErrCorrupt, s.applied, last)
	}
	return nil
}
