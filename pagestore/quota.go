package pagestore

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"pagevault/internal/clock"
)

// ErrQuota is returned by updates that would store more than the store may hold; nothing has happened. It comes as a
// *QuotaError.
var ErrQuota = errors.New("the store is full")

// Quota bounds what a store holds. The zero value bounds nothing.
type Quota struct {
	// DataBytes bounds the stored bytes of the content that something still shows (Counters.LiveBytes). Garbage does not
	// count: it makes room as soon as it is garbage. 0: no bound.
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

	// enqueued is how many stored bytes of content records have been given to the log since Open. Under the sequencer.
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
	since int64 // stored bytes of content applied since Open
}

// metadataMeasured is how long a measurement of the metadata holds.
const metadataMeasured = time.Second

// SetQuota sets the bounds from now on. What the store holds already stays, also if it is more.
func (s *Store) SetQuota(q Quota) { s.quota.bound.Store(&q) }

// Quota returns the bounds.
func (s *Store) Quota() Quota { return *s.quota.bound.Load() }

// publishLanded makes the state of the index, and stored bytes of content more than before, what admit goes by. Only the
// applying goroutine calls it, and start before that runs.
func (s *Store) publishLanded(st *state, stored int64) {
	next := landed{live: int64(st.LiveBytes), since: stored}
	if before := s.quota.landed.Load(); before != nil {
		next.since += before.since
	}
	s.quota.landed.Store(&next)
}

// admit decides whether the record of a transaction, with so many stored bytes of content, may be enqueued. The caller has
// the sequencer.
func (s *Store) admit(tx *Tx, stored int64) error {
	q := s.quota.bound.Load()
	if *q == (Quota{}) {
		return nil
	}
	if q.DataBytes > 0 && stored > 0 {
		l := s.quota.landed.Load()
		if used := l.live + s.quota.enqueued - l.since; used+stored > q.DataBytes {
			return &QuotaError{Used: used, Asked: stored, Cap: q.DataBytes}
		}
	}
	if grows, frees := tx.effect(); grows && !frees {
		return s.CheckMetadata()
	}
	return nil
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

// effect says what the operations of the transaction do to the space it takes: whether it writes pages, makes volumes or
// freezes them, and whether it takes anything away.
func (tx *Tx) effect() (grows, frees bool) {
	for i := range tx.ops {
		o := &tx.ops[i]
		if o.content != nil {
			grows = grows || o.folds == nil // a fold makes metadata less, if not at once
			continue
		}
		switch opKind(tx.buf[o.from]) {
		case opCreate, opFreeze:
			grows = true
		case opDelete, opClear, opTruncate, opDrop:
			frees = true
		}
	}
	return grows, frees
}
