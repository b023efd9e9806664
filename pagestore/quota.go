package pagestore

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"pagevault/internal/clock"
	framing "pagevault/pagestore/frame"
	"pagevault/pagestore/pagemap"
	"pagevault/pagestore/refcount"
	"pagevault/replication"
)

// ErrQuota is returned by updates that would store more than the store may hold; nothing has happened. It comes as a
// *QuotaError.
var ErrQuota = errors.New("the store is full")

// Quota bounds what a store holds. The zero value bounds nothing.
type Quota struct {
	// DataBytes bounds the stored bytes of the content that something still shows (Counters.LiveBytes). Garbage does not
	// count: it makes room as soon as it is garbage, and needs room again when a write revives it. What is stored anew to
	// free space is not refused. 0: no bound.
	DataBytes int64
	// MetadataBytes bounds everything else (Store.MetadataBytes). A store may come to exceed it: by what the index grows
	// until it is measured again, and by updates that free space, which are never refused. 0: no bound.
	MetadataBytes int64
}

// QuotaError says which bound an update would exceed. errors.Is(err, ErrQuota) holds.
type QuotaError struct {
	Metadata bool  // it is Quota.MetadataBytes, else Quota.DataBytes
	Used     int64 // bytes that there are, with those on their way
	Asked    int64 // bytes that the update would add; 0 for Metadata, where that is not known beforehand
	Cap      int64 // bytes allowed
}

// Error names the bound with its figures.
func (e *QuotaError) Error() string {
	if e.Metadata {
		return fmt.Sprintf("%v: %d bytes of metadata, of %d", ErrQuota, e.Used, e.Cap)
	}
	return fmt.Sprintf("%v: %d bytes of data and %d more, of %d", ErrQuota, e.Used, e.Asked, e.Cap)
}

// Unwrap returns ErrQuota.
func (e *QuotaError) Unwrap() error { return ErrQuota }

// quota is the store's bounds and what is needed to keep them.
type quota struct {
	bound atomic.Pointer[Quota]

	// enqueued is by how much the records given to the log since Open make the live bytes grow at most. Under the sequencer.
	enqueued int64
	// landed is what the index has of them, with the level that they have brought it to: in one pointer, so that no record
	// is in both or in neither. Set by the applying goroutine.
	landed atomic.Pointer[landed]

	metas    atomic.Int64 // bytes of Metas given to the log since Open
	metadata struct {
		sync.Mutex
		bytes int64     // as measured last
		metas int64     // what metas was then
		until time.Time // when to measure again
	}
}

// landed is the data of a store as of its last applied record.
type landed struct {
	live  int64 // bytes of content that is in use
	since int64 // what the records applied since Open have added to enqueued
}

// metadataMeasured is how long a measurement of the metadata holds.
const metadataMeasured = time.Second

// SetQuota sets the bounds from now on. What the store holds already stays, also if it is more.
func (s *Store) SetQuota(q Quota) { s.quota.bound.Store(&q) }

// Quota returns the bounds.
func (s *Store) Quota() Quota { return *s.quota.bound.Load() }

// publishLanded makes the state of the index what admit goes by; most is what the records applied since it was called last
// have added to enqueued. Only the applying goroutine calls it, and start before that runs.
func (s *Store) publishLanded(st *state, most int64) {
	next := landed{live: int64(st.LiveBytes), since: most}
	if before := s.quota.landed.Load(); before != nil {
		next.since += before.since
	}
	s.quota.landed.Store(&next)
}

// maxBlockStored bounds what a block that is taken up adds to the live bytes; 1 is for rounding.
const maxBlockStored = framing.MaxStored/framing.MaxBlocks + 1

// admit decides whether the record of a transaction may be enqueued. The caller has the sequencer.
//
// What a record adds to the live bytes is what it stores and what it revives: blocks that nothing uses any more and that
// it has found by their names. How much it revives depends on what is applied before it, so it is first taken to revive
// everything that it refers to; only if that could be too much the index is asked.
func (s *Store) admit(tx *Tx, p *pending) error {
	q := s.quota.bound.Load()
	if *q == (Quota{}) {
		return nil
	}
	if q.DataBytes > 0 && p.most > 0 {
		l := s.quota.landed.Load()
		if l.live+s.quota.enqueued-l.since+p.most > q.DataBytes {
			if err := s.weigh(p, q.DataBytes); err != nil {
				return err
			}
		}
	}
	if grows, frees := tx.effect(); grows && !frees {
		return s.CheckMetadata()
	}
	return nil
}

// reference is some blocks of a frame that a record on its way refers to.
type reference struct {
	lsn    replication.LSN // of the record
	frame  pagemap.FrameID
	blocks refcount.Set
}

// weigh returns a *QuotaError if the record of p could bring the live bytes above limit. The caller has the sequencer, so
// the records on their way are all that come before this one.
//
// In a picture of the index the live bytes are known, and which blocks are dead. Whatever the records behind the picture
// give up in between, and in whichever order they come to be applied together: at none of them is more alive than what
// was in the picture, what they store, and what was dead in the picture and one of them refers to.
func (s *Store) weigh(p *pending, limit int64) error {
	refs, stored, err := s.flight.references()
	if err != nil {
		return err
	}
	snap := s.db.NewSnapshot() // after the look at the flight: what has landed since is in the picture
	defer snap.Close()
	st, err := stateOf(snap)
	if err != nil {
		return err
	}
	refs = slices.DeleteFunc(refs, func(r reference) bool { return r.lsn <= st.applied })
	used := int64(st.LiveBytes)
	for _, f := range stored {
		if f.lsn > st.applied {
			used += f.bytes
		}
	}
	const own = math.MaxUint64
	if refs, err = appendReferences(refs, own, p.record.Meta); err != nil {
		return err
	}
	flying, all, err := revived(snap, refs, own)
	if err != nil {
		return err
	}
	used += flying
	asked := p.stored + all - flying
	if asked == 0 || used+asked <= limit {
		return nil
	}
	if st.StoredBytes > st.LiveBytes {
		s.maintenance.starve()
	}
	return &QuotaError{Used: used, Asked: asked, Cap: limit}
}

// revived returns by how much the live bytes grow when all dead blocks that refs refer to are taken up; flying is that
// without the references of the record own. Frames that are not in the index are not counted. It sorts refs.
func revived(from reader, refs []reference, own replication.LSN) (flying, all int64, err error) {
	slices.SortFunc(refs, func(a, b reference) int { return cmp.Compare(a.frame, b.frame) })
	var f frameRow
	var key []byte
	for len(refs) > 0 {
		n := 0
		var others, blocks refcount.Set
		for ; n < len(refs) && refs[n].frame == refs[0].frame; n++ {
			if blocks |= refs[n].blocks; refs[n].lsn != own {
				others |= refs[n].blocks
			}
		}
		f.id = refs[0].frame
		refs = refs[n:]
		key = appendFrameKey(key[:0], f.id)
		value, closer, err := from.Get(key)
		if errors.Is(err, pebble.ErrNotFound) { // it is on its way, too
			continue
		}
		if err != nil {
			return 0, 0, fmt.Errorf("index: frame %d: %w", f.id, err)
		}
		if err := errors.Join(decodeFrameRow(&f, value), closer.Close()); err != nil {
			return 0, 0, fmt.Errorf("%w: index: frame %d: %w", ErrCorrupt, f.id, err)
		}
		live, present := f.counts.Live(), refcount.Set(f.present)
		flying += int64(refcount.LiveBytes(f.stored, live|others, present) - f.live())
		all += int64(refcount.LiveBytes(f.stored, live|blocks, present) - f.live())
	}
	return flying, all, nil
}

// appendReferences appends what the writes and folds of a record refer to.
func appendReferences(dst []reference, lsn replication.LSN, meta []byte) ([]reference, error) {
	add := func(runs pagemap.Entry) {
		for _, r := range runs {
			if r.Frame == pagemap.ZeroFrame {
				continue
			}
			blocks := refcount.Touched(r)
			if n := len(dst); n > 0 && dst[n-1].frame == r.Frame && dst[n-1].lsn == lsn {
				dst[n-1].blocks |= blocks
			} else {
				dst = append(dst, reference{lsn, r.Frame, blocks})
			}
		}
	}
	var d commitDecoder
	if err := d.reset(meta); err != nil {
		return dst, err
	}
	for d.next() {
		switch d.op.kind {
		case opWrite:
			for d.region() {
				add(d.reg.runs)
			}
		case opFold:
			add(d.op.runs)
		}
	}
	return dst, d.err
}

// storedBy is the content that a record on its way stores.
type storedBy struct {
	lsn   replication.LSN
	bytes int64
}

// references returns what the records on their way refer to and store.
func (f *flight) references() (refs []reference, stored []storedBy, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.mu.waiting {
		if p.most == 0 {
			continue
		}
		stored = append(stored, storedBy{p.record.LSN, p.stored})
		if refs, err = appendReferences(refs, p.record.LSN, p.record.Meta); err != nil {
			return nil, nil, err
		}
	}
	return refs, stored, nil
}

// CheckMetadata returns a *QuotaError if the metadata has used up its share. Updates that write pages, make volumes or
// freeze them check it by themselves; it is for those that add rows and nothing else.
func (s *Store) CheckMetadata() error {
	q := s.quota.bound.Load()
	if q.MetadataBytes == 0 {
		return nil
	}
	if used := s.MetadataBytes(); used >= q.MetadataBytes {
		return &QuotaError{Metadata: true, Used: used, Cap: q.MetadataBytes}
	}
	return nil
}

// MetadataBytes returns the bytes on disk, of one member, that are not content: of the log all but the content in its
// records, the index, and checkpoints of it. It is measured at most once a second; what the log was given since then is
// added.
func (s *Store) MetadataBytes() int64 {
	m := &s.quota.metadata
	m.Lock()
	defer m.Unlock()
	if now := clock.System.Now(); !now.Before(m.until) {
		m.metas = s.quota.metas.Load()
		m.bytes, m.until = s.measureMetadata(), now.Add(metadataMeasured)
	}
	return m.bytes + s.quota.metas.Load() - m.metas
}

func (s *Store) measureMetadata() int64 {
	log := s.log.Stats()
	bytes := log.Bytes - log.DataBytes
	if checkpoint, ok := s.log.Checkpoint(); ok {
		bytes += checkpoint.Bytes
	}
	if s.hold() == nil {
		bytes += int64(s.db.Metrics().DiskSpaceUsage())
		s.letGo()
	}
	return bytes
}

// effect says what the operations of the transaction do to the space it takes: whether it writes or copies pages, makes volumes or
// freezes them, and whether it takes anything away.
func (tx *Tx) effect() (grows, frees bool) {
	for i := range tx.ops {
		o := &tx.ops[i]
		if o.content != nil {
			grows = grows || o.folds == nil // a fold makes metadata less, if not at once
			continue
		}
		switch opKind(tx.buf[o.from]) {
		case opCreate, opFreeze, opCopy:
			grows = true
		case opDelete, opClear, opTruncate, opDrop:
			frees = true
		}
	}
	return grows, frees
}
