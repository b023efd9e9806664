package pagestore

import (
	"errors"
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"pagevault/replication"
)

// Open opens the store whose log the members hold, creating it where all of them are empty. The index is brought up to
// the log. One that is missing, damaged, of an older format or older than the log reaches back is made anew from the
// checkpoint that the members hold, if they do, and the log; see rebuild.go.
//
// Errors: ErrCorrupt if the index has applied records that the log does not hold; errors that name the directory if a
// member or the index belongs to another store or has a newer format, and if the index knows records while no member
// holds any: the disks are not mounted then, and no new log is made in their place; ErrWrongKey. The index is not changed.
func Open(o Options) (*Store, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := checkMembersThere(&o); err != nil {
		return nil, err
	}
	log, err := openLog(&o)
	if err != nil {
		return nil, err
	}
	if err := checkKey(&o, log); err != nil {
		return nil, errors.Join(err, log.Close())
	}
	why, err := unusableIndex(&o, log)
	var s *Store
	if err == nil && why == nil {
		if s, err = openStore(&o, log, false); errors.As(err, new(*damage)) {
			why, err = err, nil
		}
	}
	if why != nil {
		s, _, err = rebuild(&o, log, why, fromCheckpoint, fromNothing)
	}
	if err == nil {
		if err = tidyIndex(&o); err == nil {
			return s, nil
		}
		return nil, errors.Join(err, s.Close())
	}
	return nil, errors.Join(err, log.Close())
}

func openLog(o *Options) (*replication.Log, error) {
	log, err := replication.Open(o.Members, o.Log)
	if errors.Is(err, replication.ErrCorrupt) {
		err = fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return log, err
}

// openStore opens a store over the log with the index as it is; it may be empty where the log has every record, or as said
// by empty. After an error the log is open, and the directory of the index is no longer touched. The error is a *damage
// if the index should be made anew.
func openStore(o *Options, log *replication.Log, empty bool) (*Store, error) {
	s := newStore(o, log)
	cache := o.Cache
	if cache == nil {
		s.cache = pebble.NewCache(defaultCacheBytes)
		cache = s.cache
	}
	var err error
	if s.db, err = openIndex(&s.o, &s.indexFS, cache, s.breakIndex, s.corruptIndex); err == nil {
		if err = s.start(empty); err == nil {
			return s, nil
		}
		err = s.damageOf(err)
		s.indexFS.cut.Store(true)
		switch {
		case s.corrupt.Load(): // Pebble has more to say about that than we want to hear
			_ = s.db.Close()
		case s.indexFailure() != nil: // what Pebble still does could hang
			return nil, err
		default:
			err = joined(err, s.db.Close())
		}
	}
	if s.cache != nil {
		s.cache.Unref()
	}
	return nil, err
}

func newStore(o *Options, log *replication.Log) *Store {
	s := &Store{o: *o, log: log, method: o.Compression.method()}
	for _, c := range []*chan struct{}{&s.broken, &s.stopped, &s.stopFill, &s.filled} {
		*c = make(chan struct{})
	}
	s.indexFS.FS = o.FS
	s.known.Store(new(knownRegions))
	s.flight.init()
	o.halting.attach(&s.flight)
	s.maintenance.init(o)
	s.SetQuota(o.Quota)
	s.views.mu.none = sync.NewCond(&s.views.mu)
	s.contents.New = func() any { return new(Content) }
	s.pendings.New = newPending
	s.readers.New = func() any { return new(extentReader) }
	s.planners.New = func() any { return new(extentReader) }
	return s
}

// start brings the index up to the log, writes the header of a new store, and starts applying.
func (s *Store) start(empty bool) error {
	st, err := s.readIndex(empty)
	if err != nil {
		return fmt.Errorf("index %s: %w", s.o.Dir, err)
	}
	s.openedAt = st.applied
	if err := s.startSummary(&st); err != nil {
		return err
	}
	a := newApplier(s.db, &s.names, &s.known, s.limits, st)
	a.mismatch = s.o.Events.Mismatch
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
	if err := s.openSessions(a.state.nextSession); err != nil {
		return fmt.Errorf("index %s: %w", s.o.Dir, err)
	}
	state := a.state
	s.state.Store(&state)
	s.publishLanded(&state, 0)
	s.flight.mu.applied, s.flight.mu.forgot = state.applied, state.applied
	s.flight.mu.nextFrame = state.nextFrame
	s.seq.last, s.seq.nextFrame, s.seq.nextVolume = state.applied, state.nextFrame, state.nextVolume
	go s.run(a)
	go s.fillSummary()
	if !s.o.passive {
		s.maintenance.start(s)
	}
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

// readIndex reads how far an index has come, and the header if it has one. It may have come nowhere if that is said, or
// if there is no checkpoint to begin with.
func (s *Store) readIndex(empty bool) (state, error) {
	st, found, err := readState(s.db)
	if found && (err == nil || errors.As(err, new(*damage)) && st.store != s.log.StoreID()) {
		err = checkState(&st, s.log.StoreID(), s.log.LastLSN())
	}
	if _, ok := s.log.Checkpoint(); err == nil && !found && ok && !empty {
		err = &damage{errors.New("it holds nothing")}
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
	if errors.Is(err, pebble.ErrNotFound) {
		return &damage{errors.New("it has no header")}
	}
	if err != nil {
		return fmt.Errorf("header: %w", err)
	}
	defer closer.Close()
	return s.takeHeader(meta)
}

// replayBatchRows bounds the frames and page map entries that a batch of a replay keeps in maps, which its length does not
// show: some 40 MB.
const replayBatchRows = 1 << 16

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
		if a.batch == nil || a.batch.Len() < s.o.replayBatchBytes && len(a.refs.list)+len(a.regions) < replayBatchRows && !a.flushes.due() {
			return nil
		}
		s.progressed(r.LSN)
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
	s.replayed = uint64(a.state.applied - from + 1)
	s.progressed(a.state.applied)
	if f := s.o.Events.Replayed; f != nil {
		f(from, a.state.applied)
	}
	return nil
}

// progressed tells whoever asked that records up to lsn were replayed.
func (s *Store) progressed(lsn replication.LSN) {
	if s.o.progress != nil {
		s.o.progress(lsn, s.log.LastLSN())
	}
}

// create appends the genesis record to an empty log and applies it.
func (s *Store) create(a *applier) error {
	g := genesis{limits: s.o.limits}
	if err := s.newKeys(&g); err != nil {
		return err
	}
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
