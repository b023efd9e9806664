package pagestore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"pagevault/internal/digest"
	framing "pagevault/pagestore/frame"
	"pagevault/pagestore/pagemap"
	"pagevault/pagestore/seal"
	"pagevault/replication"
)

// Store is a set of volumes and of the caller's rows. It is safe for concurrent use.
//
// One goroutine runs from Open to Close: it applies durable records to the index. Another reads the fingerprints of the
// index into memory, where no file beside the index has them, and ends. The log and Pebble run their own.
//
// Invariants: the sequencer's ids are the index's plus what is in flight. A row of the index is never newer than the
// applied LSN beside it. Lock order: seq, then flight.
type Store struct {
	o       Options
	log     *replication.Log
	db      *pebble.DB
	indexFS indexFS
	cache   *pebble.Cache // own; nil if it is the caller's
	hasher  *digest.Hasher
	limits  limits
	names   summary

	cipher  seal.Cipher
	ring    *seal.Ring
	frames  frameCache
	method  framing.Method
	session *seal.Session // for what is sealed from now on; nil if nothing is

	seq struct { // the sequencer; see Update
		sync.Mutex
		last       replication.LSN // enqueued
		nextFrame  pagemap.FrameID
		nextVolume VolumeID
		session    bool // that of the store is in the log, or enqueued
		tx         Tx
	}
	flight      flight
	condemned   atomic.Pointer[condemned]
	known       atomic.Pointer[knownRegions] // nil while a record that frees or moves frames gets into the index
	reaper      reaper
	folder      folder
	maintenance maintainer
	quota       quota

	state      atomic.Pointer[state]
	failed     atomic.Pointer[error] // why there are no more updates; wraps ErrReadOnly
	brokeIndex atomic.Pointer[error] // why the index can no longer be trusted to take rows
	corrupt    atomic.Bool           // a file of the index was found damaged
	closing    atomic.Bool
	readOnly   bool          // opened by OpenReadOnly: nothing runs, nothing is written
	broken     chan struct{} // closed when brokeIndex is set
	stopped    chan struct{} // closed when the applying goroutine has ended
	stopFill   chan struct{} // closed to end the goroutine that fills the summary
	filled     chan struct{} // closed when it has ended

	openedAt replication.LSN // what the index had applied when it was opened
	replayed uint64          // records that were applied since, before the store was open

	views    views
	contents sync.Pool
	pendings sync.Pool
	readers  sync.Pool
	planners sync.Pool // extentReaders that streams have between pieces
}

// Close waits for updates that are under way and for views to be closed, then flushes and closes everything. Updates
// and views begun after Close get ErrClosed. After a failure of the index, Pebble is left open until the process ends.
func (s *Store) Close() error {
	if s.closing.Swap(true) {
		return ErrClosed
	}
	if s.readOnly {
		return s.closeReadOnly()
	}
	s.flight.wake()
	s.maintenance.cancel() // no new step; one that is under way ends when it sees that, or that the log is closed
	// Whoever had the sequencer has enqueued its record, and nobody enqueues another.
	s.seq.Lock()
	//lint:ignore SA2001 there is nothing to do but to have waited
	s.seq.Unlock()
	err := s.log.Close()
	select {
	case <-s.stopped:
	case <-s.broken: // the goroutine may hang in Pebble
	}
	close(s.stopFill)
	<-s.filled
	s.maintenance.stop()
	err = errors.Join(err, s.awaitViews())
	if s.indexFailure() == nil {
		if e := s.flushIndex(context.Background()); e != nil && s.indexFailure() == nil {
			err = errors.Join(err, fmt.Errorf("index %s: %w", s.o.Dir, e))
		}
	}
	if broken := s.indexFailure(); broken != nil {
		return errors.Join(err, fmt.Errorf("%w (left as it is; the next start brings it up to the log)", broken))
	}
	s.keepSummary()
	if e := s.db.Close(); e != nil {
		err = errors.Join(err, fmt.Errorf("index %s: %w", s.o.Dir, e))
	}
	if s.cache != nil {
		s.cache.Unref()
	}
	return err
}

// Failed returns why the store takes no more updates, nil while it does. The error wraps ErrReadOnly.
func (s *Store) Failed() error {
	if err := s.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// Log returns the log under the store, for its statistics and for verification. The caller must not append to it.
func (s *Store) Log() *replication.Log { return s.log }

// Stats describe a store.
type Stats struct {
	Counters          // as of the last applied record
	Applied    uint64 // LSN of that record
	Mismatch   uint64 // LSN of the record at which counts of references were found to be wrong, 0: none were
	IndexBytes uint64 // on disk, everything Pebble has there
	// DamagedCopies is how often, since the store was opened, a copy of content was found damaged or could not be read.
	DamagedCopies uint64
}

// Stats returns the counters and sizes of the store.
func (s *Store) Stats() Stats {
	st := s.state.Load()
	out := Stats{Counters: st.Counters, Applied: uint64(st.applied), Mismatch: uint64(st.mismatch), DamagedCopies: s.o.damagedCopies.Load()}
	if s.hold() == nil {
		out.IndexBytes = s.db.Metrics().DiskSpaceUsage()
		s.letGo()
	}
	return out
}

// unusable returns the reason why the store takes no updates, nil if it does.
func (s *Store) unusable() error {
	if s.closing.Load() {
		return ErrClosed
	}
	return s.Failed()
}

// fail ends updates for good, because of cause, and wakes everyone who waits for one.
func (s *Store) fail(cause error) {
	err := readOnly(cause)
	if s.failed.CompareAndSwap(nil, &err) && s.o.Events.Failed != nil && s.state.Load() != nil { // else Open returns it
		s.o.Events.Failed(err)
	}
	s.flight.crashed(s.Failed())
}

// breakIndex records that Pebble has given up: a commit or a flush has failed, or a table is damaged. Pebble leaves it
// open what works after that, so nothing is written any more and Close leaves it as it is; reads go on. It may be called
// with locks of Pebble's held: no lock of ours is held over a call of Pebble that could take those.
func (s *Store) breakIndex(cause error) {
	err := fmt.Errorf("index %s: %w", s.o.Dir, cause)
	if s.brokeIndex.CompareAndSwap(nil, &err) {
		close(s.broken)
	}
	s.fail(err)
}

// corruptIndex is breakIndex for a file of the index that was found damaged: the next start makes the index anew.
func (s *Store) corruptIndex(cause error) {
	s.corrupt.Store(true)
	markDamaged(&s.o, cause)
	s.breakIndex(cause)
}

// indexFailure returns why the index must not be written any more, nil if it may.
func (s *Store) indexFailure() error {
	if err := s.brokeIndex.Load(); err != nil {
		return *err
	}
	return nil
}

// readOnly wraps why the store can no longer be written.
func readOnly(cause error) error {
	if errors.Is(cause, ErrReadOnly) {
		return cause
	}
	return fmt.Errorf("%w: %w", ErrReadOnly, cause)
}
