package pagestore

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"pagevault/internal/digest"
	"pagevault/pagestore/pagemap"
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
	o      Options
	log    *replication.Log
	db     *pebble.DB
	cache  *pebble.Cache // own; nil if it is the caller's
	hasher *digest.Hasher
	limits limits
	names  summary

	seq struct { // the sequencer; see Update
		sync.Mutex
		last       replication.LSN // enqueued
		nextFrame  pagemap.FrameID
		nextVolume VolumeID
		tx         Tx
	}
	flight flight
	reaper reaper
	quota  quota

	state      atomic.Pointer[state]
	failed     atomic.Pointer[error] // why there are no more updates; wraps ErrReadOnly
	brokeIndex atomic.Pointer[error] // why the index can no longer be trusted to take rows
	closing    atomic.Bool
	broken     chan struct{} // closed when brokeIndex is set
	stopped    chan struct{} // closed when the applying goroutine has ended
	stopFill   chan struct{} // closed to end the goroutine that fills the summary
	filled     chan struct{} // closed when it has ended

	views    views
	contents sync.Pool
	pendings sync.Pool
	readers  sync.Pool
}

// Open opens the store whose log the members hold, creating it where all of them are empty. The index is brought up to
// the log, from nothing if it is missing.
//
// Errors: ErrCorrupt if the index has applied records that the log does not hold; errors that name the directory if a
// member or the index belongs to another store or has a format of another version, and if the index knows records while
// no member holds any: the disks are not mounted then, and no new log is made in their place. The index is not changed.
func Open(o Options) (*Store, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Store{o: o, broken: make(chan struct{}), stopped: make(chan struct{}), stopFill: make(chan struct{}), filled: make(chan struct{})}
	s.flight.init()
	s.reaper.init()
	s.SetQuota(o.Quota)
	s.views.mu.none = sync.NewCond(&s.views.mu)
	s.contents.New = func() any { return new(Content) }
	s.pendings.New = newPending
	s.readers.New = func() any { return new(extentReader) }
	if err := checkMembersThere(&o); err != nil {
		return nil, err
	}
	if s.log, err = replication.Open(o.Members, o.Log); err != nil {
		if errors.Is(err, replication.ErrCorrupt) {
			err = fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		return nil, err
	}
	cache := o.Cache
	if cache == nil {
		s.cache = pebble.NewCache(defaultCacheBytes)
		cache = s.cache
	}
	if s.db, err = openIndex(&s.o, cache, s.breakIndex); err == nil {
		if err = s.start(); err == nil {
			return s, nil
		}
		if s.indexFailure() != nil { // what Pebble still does could hang
			return nil, errors.Join(err, s.log.Close())
		}
		err = errors.Join(err, s.db.Close())
	}
	if s.cache != nil {
		s.cache.Unref()
	}
	return nil, errors.Join(err, s.log.Close())
}

// start brings the index up to the log, writes the header of a new store, and starts applying.
func (s *Store) start() error {
	st, err := s.readIndex()
	if err != nil {
		return fmt.Errorf("index %s: %w", s.o.Dir, err)
	}
	if err := s.startSummary(&st); err != nil {
		return err
	}
	a := newApplier(s.db, &s.names, s.limits, st)
	a.flushes = flushes{every: s.o.flushBytes, broken: s.broken}
	if err := s.replay(a); err != nil {
		return err
	}
	if a.state.applied == 0 {
		if err := s.create(a); err != nil {
			return fmt.Errorf("writing the header of a new store: %w", err)
		}
	}
	if st.applied == 0 {
		// From now on the index knows, whatever happens, that there is a store, and guards it: see CheckMembers.
		if err := s.db.Flush(); err != nil {
			return fmt.Errorf("index %s: %w", s.o.Dir, err)
		}
	}
	if err := s.readHeader(); err != nil {
		return fmt.Errorf("index %s: %w", s.o.Dir, err)
	}
	state := a.state
	s.state.Store(&state)
	s.publishLanded(&state, 0)
	s.flight.mu.applied, s.flight.mu.forgot = state.applied, state.applied
	s.seq.last, s.seq.nextFrame, s.seq.nextVolume = state.applied, state.nextFrame, state.nextVolume
	go s.run(a)
	if !s.o.passive {
		s.reaper.start(s)
	}
	go s.fillSummary()
	return nil
}

// fillSummary reads the names of the index into the summary if that does not know them yet.
func (s *Store) fillSummary() {
	defer close(s.filled)
	if s.names.ready.Load() {
		return
	}
	if err := s.names.fill(s.db, s.stopFill); err != nil {
		s.breakIndex(err)
	}
}

// readIndex reads how far an index has come, and the header if it has one.
func (s *Store) readIndex() (state, error) {
	st, found, err := readState(s.db)
	if err == nil && found {
		err = checkState(&st, s.log.StoreID(), s.log.LastLSN())
	}
	if err == nil && st.applied > 0 {
		err = s.readHeader()
	}
	st.store = s.log.StoreID()
	return st, err
}

// readHeader takes over what the genesis record says.
func (s *Store) readHeader() error {
	meta, closer, err := s.db.Get(headerKey)
	if err != nil {
		return fmt.Errorf("header: %w", err)
	}
	defer closer.Close()
	g, err := decodeGenesis(meta)
	if err != nil {
		return err
	}
	keys, err := g.plainKeys()
	if err != nil {
		return err
	}
	s.hasher, s.limits = digest.NewHasher(keys.names), g.limits
	return nil
}

// replay applies the records of the log that the index has not seen.
func (s *Store) replay(a *applier) error {
	from := a.state.applied + 1
	if from > s.log.LastLSN() {
		return nil
	}
	err := s.log.Replay(from, func(r *replication.Record) error {
		if err := a.record(r); err != nil {
			return err
		}
		if a.batch == nil || a.batch.Len() < s.o.replayBatchBytes && !a.flushes.due() {
			return nil
		}
		return a.commit()
	})
	if err == nil {
		err = a.commit()
	}
	if err == nil {
		err = s.indexFailure()
	}
	if err != nil {
		return fmt.Errorf("replaying the log from record %d: %w", from, err)
	}
	if a.state.applied != s.log.LastLSN() {
		return fmt.Errorf("%w: replaying the log ended at record %d of %d", ErrCorrupt, a.state.applied, s.log.LastLSN())
	}
	if f := s.o.Events.Replayed; f != nil {
		f(from, a.state.applied)
	}
	return nil
}

// create appends the genesis record to an empty log and applies it.
func (s *Store) create(a *applier) error {
	var keys storeKeys
	for _, k := range [][]byte{keys.names[:], keys.data[:]} {
		if _, err := io.ReadFull(s.o.Rand, k); err != nil {
			return err
		}
	}
	g := genesis{limits: s.o.limits}
	g.setPlainKeys(&keys)
	if _, err := s.log.Append(&replication.Record{Meta: g.append(nil)}); err != nil {
		return err
	}
	records, err := s.log.Next(nil)
	if err != nil {
		return err
	}
	for _, r := range records {
		if err := a.record(r); err != nil {
			return err
		}
	}
	return a.commit()
}

// Close waits for updates that are under way and for views to be closed, then flushes and closes everything. Updates
// and views begun after Close get ErrClosed. After a failure of the index, Pebble is left open until the process ends.
func (s *Store) Close() error {
	if s.closing.Swap(true) {
		return ErrClosed
	}
	// Whoever had the sequencer has enqueued its record, and nobody enqueues another.
	s.seq.Lock()
	//lint:ignore SA2001 there is nothing to do but to have waited
	s.seq.Unlock()
	err := s.log.Close()
	select {
	case <-s.stopped:
	case <-s.broken: // the goroutine may hang in Pebble
	}
	s.reaper.stop()
	close(s.stopFill)
	<-s.filled
	err = errors.Join(err, s.awaitViews())
	if broken := s.indexFailure(); broken != nil {
		return errors.Join(err, fmt.Errorf("%w (left as it is; the next start brings it up to the log)", broken))
	}
	if e := s.db.Flush(); e != nil {
		err = errors.Join(err, fmt.Errorf("index %s: %w", s.o.Dir, e))
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
	IndexBytes uint64 // on disk, everything Pebble has there
}

// Stats returns the counters and sizes of the store.
func (s *Store) Stats() Stats {
	st := s.state.Load()
	out := Stats{Counters: st.Counters, Applied: uint64(st.applied)}
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
	if s.failed.CompareAndSwap(nil, &err) && s.o.Events.Failed != nil {
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
