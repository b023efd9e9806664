package pagestore

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"pagevault/pagestore/pagemap"
	"pagevault/replication"
)

// run is the goroutine that applies: it takes batches of durable records from the log, in order, and turns each batch
// into one batch of the index. It ends when the log is closed or has failed, or the index has.
func (s *Store) run(a *applier) {
	defer close(s.stopped)
	var records []*replication.Record
	for {
		var err error
		if records, err = s.log.Next(records[:0]); errors.Is(err, io.EOF) || s.closing.Load() && errors.Is(err, ErrUnavailable) {
			s.flight.crashed(ErrClosed) // a log that was closed while it was halted has forgotten what was on its way
			return
		} else if err != nil {
			s.fail(err)
			return
		}
		if err = s.apply(a, records); err != nil {
			s.fail(err)
			return
		}
		s.flight.landed(a.state.applied, records)
	}
}

func (s *Store) apply(a *applier, records []*replication.Record) error {
	s.names.batch.Lock()
	defer s.names.batch.Unlock()
	for _, r := range records {
		if err := a.record(r); err != nil {
			return err
		}
	}
	if err := s.indexFailure(); err != nil { // a commit could hang
		return err
	}
	if err := a.commit(); err != nil {
		return err
	}
	if err := s.indexFailure(); err != nil { // Pebble reports a failed commit there
		return err
	}
	if a.passDue {
		a.passDue = false
		s.maintenance.kick()
	}
	state := a.state
	s.state.Store(&state)
	most := int64(0)
	for _, r := range records {
		most += r.User.(*pending).most
	}
	s.publishLanded(&state, most)
	if s.o.applied != nil {
		s.o.applied(&state)
	}
	return s.retire()
}

// applier turns records into rows. What it does depends on nothing but the records and the rows: replaying the log into
// an empty index gives the same rows, key by key.
//
// Rows change within a batch that is not yet in the database. The batch's own view of them is kept in maps: it is
// cheaper than an indexed batch, and a region written many times in one batch becomes one row.
type applier struct {
	db     *pebble.DB
	limits limits // of the store; from its first record
	names  *summary
	known  *atomic.Pointer[knownRegions]
	state  state

	mismatch func(at replication.LSN, what string) // called when counts are first seen to be wrong; nil: nothing

	refs      refs
	named     named
	frees     bool            // the batch frees or moves frames
	unflushed bool            // regions may have entries that were not written
	lsn       replication.LSN // of the record that is being applied, or was last

	batch   *pebble.Batch
	it      *pebble.Iterator // over page map rows as they were before the batch; nil until one is needed
	volumes map[VolumeID]*volumeState
	regions map[regionKey]*regionState
	kept    slots[regionKey, regionState] // what regions left behind
	changes map[changeKey]pagemap.Bitmap
	alone   bool // the record is a batch of its own: a step of a pass or of a copy
	passDue bool // a pass row was written since somebody was told
	flushes flushes
	decoder commitDecoder
	at      replication.Position // of the stored bytes of the next frame
	key     []byte
	value   []byte
	entry   pagemap.Entry
	masked  pagemap.Entry
	runs    pagemap.Entry
	spare   []*regionState
	sought  struct { // what seek last found: the first region of volume at or after from with an entry is found
		volume      VolumeID
		from, found uint64
	}
}

type changeKey struct {
	volume VolumeID
	gen    Gen
	no     uint64
}

// volumeState is a volume as the batch leaves it.
type volumeState struct {
	volumeRow
	gone  bool // there is none, or it was dropped
	dirty bool // to be written

	frozenGens []Gen // those that can be read, ascending, if listed; else those that were added by the batch
	listed     bool
}

func newApplier(db *pebble.DB, names *summary, known *atomic.Pointer[knownRegions], l limits, s state) *applier {
	a := &applier{
		known:   known,
		db:      db,
		names:   names,
		limits:  l,
		state:   s,
		volumes: make(map[VolumeID]*volumeState),
		regions: make(map[regionKey]*regionState),
		changes: make(map[changeKey]pagemap.Bitmap),
	}
	a.initRefs()
	return a
}

// record applies one record to the batch. After an error the applier is not used again.
func (a *applier) record(r *replication.Record) (err error) {
	if r.LSN != a.state.applied+1 {
		return fmt.Errorf("%w: record %d after record %d", ErrCorrupt, r.LSN, a.state.applied)
	}
	// A step of a pass or of a copy looks at rows as they are in the database, so it is a batch of its own. Where batches
	// end makes no difference to the rows.
	a.alone = isAlone(r.Meta)
	if a.alone {
		if err := a.commit(); err != nil {
			return err
		}
	}
	if a.batch == nil {
		a.batch = a.db.NewBatch()
	}
	a.lsn = r.LSN
	if r.LSN == 1 {
		err = a.genesis(r.Meta)
	} else {
		err = a.operations(r)
	}
	if err != nil {
		return fmt.Errorf("record %d: %w", r.LSN, err)
	}
	a.state.applied = r.LSN
	a.state.Records++
	a.flushes.applied(r.At)
	if a.alone {
		return a.commit()
	}
	return nil
}

func (a *applier) genesis(meta []byte) error {
	g, err := decodeGenesis(meta)
	if err != nil {
		return err
	}
	a.limits = g.limits
	a.state.nextFrame, a.state.nextVolume, a.state.nextSession = 1, 1, 1
	return a.batch.Set(headerKey, meta, nil)
}

func (a *applier) operations(r *replication.Record) error {
	d := &a.decoder
	if err := d.reset(r.Meta); err != nil {
		return err
	}
	a.at = r.At
	logical, zero, stored := a.state.LogicalBytes, a.state.ZeroBytes, uint64(0)
	for d.next() {
		if d.op.kind == opFrame {
			stored += uint64(d.op.frame.pages) * PageSize
		}
		if err := a.operation(&d.op); err != nil {
			return err
		}
	}
	if d.err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, d.err)
	}
	if a.state.LogicalBytes > logical { // else the frames are those of a fold
		a.state.DuplicateBytes += (a.state.LogicalBytes - logical) - (a.state.ZeroBytes - zero) - stored
	}
	return nil
}

func (a *applier) operation(o *op) error {
	switch o.kind {
	case opFrame:
		return a.frame(&o.frame)
	case opSet:
		a.key = appendUserKey(a.key[:0], o.key)
		return a.batch.Set(a.key, o.value, nil)
	case opDelete:
		a.key = appendUserKey(a.key[:0], o.key)
		return a.batch.Delete(a.key, nil)
	case opCreate:
		if o.volume != a.state.nextVolume {
			return fmt.Errorf("%w: volume %d created, want %d", ErrCorrupt, o.volume, a.state.nextVolume)
		}
		a.state.nextVolume++
		a.volumes[o.volume] = &volumeState{volumeRow: volumeRow{gen: 1}, dirty: true}
		return nil
	case opSession:
		return a.session(o)
	case opReap:
		return a.reap(o)
	case opMove:
		return a.move(&o.frame)
	case opFree:
		return a.free(&o.frame)
	case opFold:
		return a.fold(o)
	case opCopy:
		return a.copy(o)
	}
	v, err := a.volume(o.volume)
	if err != nil {
		return err
	}
	switch o.kind {
	case opWrite:
		return a.write(o, v)
	case opClear:
		err = a.clear(o, v)
		if a.limits.endsGeneration(o.pages) {
			v.gen, v.dirty = v.gen+1, true
		}
		return err
	case opTruncate:
		err = a.clear(o, v)
		v.gen, v.dirty = v.gen+1, true
		return err
	case opFreeze:
		if o.gen != v.gen {
			return fmt.Errorf("%w: freeze of generation %d of volume %d, which is in %d", ErrCorrupt, o.gen, o.volume, v.gen)
		}
		return a.freeze(o.volume, v)
	case opThaw:
		return a.thaw(o, v)
	case opDrop:
		return a.drop(o.volume, v)
	}
	return fmt.Errorf("%w: operation %d", ErrCorrupt, o.kind)
}

// volume returns a volume that exists.
func (a *applier) volume(id VolumeID) (*volumeState, error) {
	v := a.volumes[id]
	if v == nil {
		v = &volumeState{}
		ok, err := readVolume(a.db, id, &v.volumeRow)
		if err != nil {
			return nil, err
		}
		v.gone = !ok
		a.volumes[id] = v
	}
	if v.gone {
		return nil, fmt.Errorf("%w: volume %d: %w", ErrCorrupt, id, ErrNoVolume)
	}
	return v, nil
}

// maxSpare bounds the states of regions, and of frames, whose memory is kept for others.
const maxSpare = 4096

// commit writes the batch, without waiting for the disk: the log has it all.
func (a *applier) commit() error {
	if a.batch == nil {
		return nil
	}
	if a.it != nil {
		if err := a.it.Close(); err != nil {
			return err
		}
		a.it, a.sought.volume = nil, 0
	}
	if err := a.writeRows(); err != nil {
		return err
	}
	if a.frees {
		a.known.Store(nil)
	}
	if err := a.batch.Commit(pebble.NoSync); err != nil {
		return err
	}
	if a.frees {
		a.frees = false
		a.known.Store(new(knownRegions))
	}
	err := a.batch.Close()
	a.batch = nil
	for k, r := range a.regions {
		a.keepRegion(k, r)
	}
	clear(a.volumes)
	clear(a.regions)
	clear(a.changes)
	a.named.clear()
	if err == nil && a.flushes.due() {
		err = a.flushes.start(a.db)
	}
	return err
}

// writeRows writes the rows that the maps hold, and the state.
func (a *applier) writeRows() error {
	if err := a.flushRegions(); err != nil {
		return err
	}
	if err := a.writeRefs(); err != nil {
		return err
	}
	for k, b := range a.changes {
		a.key = appendChangeKey(a.key[:0], k.volume, k.gen, k.no)
		a.value = pagemap.AppendBitmap(a.value[:0], b)
		if err := a.batch.Set(a.key, a.value, nil); err != nil {
			return err
		}
	}
	for id, v := range a.volumes {
		if v.dirty {
			a.key = appendVolumeKey(a.key[:0], id)
			a.value = appendVolumeRow(a.value[:0], &v.volumeRow)
			if err := a.batch.Set(a.key, a.value, nil); err != nil {
				return err
			}
		}
	}
	return a.batch.Set(stateKey, appendState(a.value[:0], &a.state), nil)
}
