package pagestore

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"pagevault/pagestore/pagemap"
	"pagevault/replication"
)

// Tx is the body of one Update. It is valid until the function it was passed to returns, and used by one goroutine.
type Tx struct {
	s    *Store
	ops  []txOp
	buf  []byte // encoded operations, and copies of index rows handed out by Get
	seen replication.LSN

	rows       map[string]flyingRow // set and deleted here
	heads      map[VolumeID]head    // of volumes touched here
	gens       map[generation]bool  // frozen (true) and thawed here
	nextVolume VolumeID

	scratch struct { // of the builder
		regions []byte
		runs    pagemap.Entry
		frame   frame
		at      []chunkRef
	}
}

// txOp is one operation: a write of content, or else the encoded bytes buf[from:to] with their part of the record's Data.
type txOp struct {
	content  *Content
	volume   VolumeID
	shift    PageNo    // by how much it is written behind where it was prepared for
	folds    []folding // what to do with the content instead of writing it
	from, to int
	data     []byte // of a move; unchanged until the record is applied
	sealed   bool   // data is sealed in the store's session
}

func (tx *Tx) begin(s *Store) {
	if tx.rows == nil {
		tx.rows, tx.heads, tx.gens = make(map[string]flyingRow), make(map[VolumeID]head), make(map[generation]bool)
	}
	tx.s, tx.seen, tx.nextVolume = s, 0, s.seq.nextVolume
}

func (tx *Tx) end() {
	clear(tx.ops)
	clear(tx.rows)
	clear(tx.heads)
	clear(tx.gens)
	tx.s, tx.ops, tx.buf = nil, tx.ops[:0], tx.buf[:0]
}

// add takes over buf, which is tx.buf with one encoded operation appended.
func (tx *Tx) add(buf []byte) {
	tx.ops = append(tx.ops, txOp{from: len(tx.buf), to: len(buf)})
	tx.buf = buf
}

// Get returns a row of the caller, ok false if there is none. value is valid until the function of the Update returns
// and must not be modified.
func (tx *Tx) Get(key []byte) (value []byte, ok bool, err error) {
	if r, ok := tx.rows[string(key)]; ok {
		return r.value, !r.deleted, nil
	}
	f := &tx.s.flight.mu
	f.Lock()
	r, ok := f.rows[string(key)]
	f.Unlock()
	if ok {
		tx.seen = max(tx.seen, r.lsn)
		return r.value, !r.deleted, nil
	}
	from := len(tx.buf)
	tx.buf = appendUserKey(tx.buf, key)
	v, closer, err := tx.s.db.Get(tx.buf[from:])
	tx.buf = tx.buf[:from]
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("index: row %x: %w", key, err)
	}
	defer closer.Close()
	return bytes.Clone(v), true, nil
}

// Set stores a row. It does not keep key or value.
func (tx *Tx) Set(key, value []byte) {
	tx.add(appendSetOp(tx.buf, key, value))
	tx.rows[string(key)] = flyingRow{value: append([]byte{}, value...)}
}

// Delete removes a row, if there is one. It does not keep key.
func (tx *Tx) Delete(key []byte) {
	tx.add(appendDeleteOp(tx.buf, key))
	tx.rows[string(key)] = flyingRow{deleted: true}
}

// Scan calls fn for each row with from <= key < to, in order, until it returns false; a nil to is no bound. It first
// waits for everything enqueued to be applied, so it is for rare operations. fn must not change rows; key and value are
// valid until it returns.
func (tx *Tx) Scan(from, to []byte, fn func(key, value []byte) bool) error {
	s := tx.s
	if err := s.flight.await(s.seq.last); err != nil {
		return err
	}
	own := slices.Sorted(maps.Keys(tx.rows))
	it, err := newUserIter(s.db, from, to)
	if err != nil {
		return err
	}
	defer it.Close()
	more := it.First()
	for {
		for len(own) > 0 && (own[0] < string(from) || to != nil && own[0] >= string(to)) {
			own = own[1:]
		}
		var key, value []byte
		switch {
		case len(own) > 0 && (!more || own[0] <= string(it.Key()[1:])):
			if more && own[0] == string(it.Key()[1:]) {
				more = it.Next()
			}
			r := tx.rows[own[0]]
			key, value, own = []byte(own[0]), r.value, own[1:]
			if r.deleted {
				continue
			}
			if !fn(key, value) {
				return nil
			}
		case more:
			if value, err = it.ValueAndErr(); err != nil {
				return fmt.Errorf("index: %w", err)
			}
			if !fn(it.Key()[1:], value) {
				return nil
			}
			more = it.Next()
		default:
			return it.Error()
		}
	}
}

// CreateVolume creates an empty volume.
func (tx *Tx) CreateVolume() VolumeID {
	v := tx.nextVolume
	tx.nextVolume++
	tx.heads[v] = head{gen: 1}
	tx.add(appendVolumeOp(tx.buf, opCreate, v))
	return v
}

// Freeze ends the current generation of the volume and returns it: what it holds now can be read until it is thawed. It
// costs a row or two, however large the volume is.
func (tx *Tx) Freeze(v VolumeID) (Gen, error) {
	g, err := tx.endGeneration(v)
	if err != nil {
		return 0, err
	}
	tx.add(appendVolumeOp(tx.buf, opFreeze, v, uint64(g)))
	tx.gens[generation{v, g}] = true
	return g, nil
}

// Thaw lets go of a generation that Freeze returned: it cannot be read any more, and what only it showed is deleted in
// the background. Other generations and the present one are as they were. The error is ErrNoGeneration if the generation
// was never frozen or was thawed before.
func (tx *Tx) Thaw(v VolumeID, g Gen) error {
	if err := tx.exists(v); err != nil {
		return err
	}
	frozen, err := tx.isFrozen(generation{v, g})
	if err != nil {
		return err
	}
	if !frozen {
		return fmt.Errorf("volume %d, generation %d: %w", v, g, ErrNoGeneration)
	}
	tx.add(appendVolumeOp(tx.buf, opThaw, v, uint64(g)))
	tx.gens[generation{v, g}] = false
	return nil
}

func (tx *Tx) isFrozen(k generation) (bool, error) {
	if frozen, ok := tx.gens[k]; ok {
		return frozen, nil
	}
	f := &tx.s.flight.mu
	f.Lock()
	flying, ok := f.gens[k]
	f.Unlock()
	if ok {
		tx.seen = max(tx.seen, flying.lsn)
		return flying.frozen, nil
	}
	return readFrozen(tx.s.db, k)
}

// Write makes the content's bytes those of its pages.
func (tx *Tx) Write(v VolumeID, c *Content) error { return tx.WriteAt(v, c, 0) }

// WriteAt makes the content's bytes those of the pages that come shift after those it was prepared for. shift is a
// multiple of pagemap.RegionPages, so that regions stay regions. What is prepared before it is known where it goes is
// prepared for the first region.
func (tx *Tx) WriteAt(v VolumeID, c *Content, shift PageNo) error {
	if c.s != tx.s {
		return fmt.Errorf("volume %d: the content was prepared by another store, or released", v)
	}
	if shift%pagemap.RegionPages != 0 || shift > maxPages-c.pages.End {
		return fmt.Errorf("%w: pages [%d,%d) written %d later", ErrBadRange, c.pages.Start, c.pages.End, shift)
	}
	if _, err := tx.head(v); err != nil {
		return err
	}
	tx.ops = append(tx.ops, txOp{content: c, volume: v, shift: shift})
	return nil
}

// Clear makes pages invalid: they read as zeros and are in no range.
func (tx *Tx) Clear(v VolumeID, pages Range) error {
	pages.Start, pages.End = min(pages.Start, maxPages), min(pages.End, maxPages)
	if pages.Start > pages.End {
		return fmt.Errorf("%w: clear of pages [%d,%d)", ErrBadRange, pages.Start, pages.End)
	}
	if _, err := tx.head(v); err != nil || pages.Start == pages.End {
		return err
	}
	if tx.s.limits.endsGeneration(pages) {
		if _, err := tx.endGeneration(v); err != nil {
			return err
		}
	}
	tx.add(appendVolumeOp(tx.buf, opClear, v, uint64(pages.Start), uint64(pages.End)))
	return nil
}

// Truncate makes every page from page from on invalid, in constant time.
func (tx *Tx) Truncate(v VolumeID, from PageNo) error {
	if from >= maxPages {
		return tx.exists(v)
	}
	if _, err := tx.endGeneration(v); err != nil {
		return err
	}
	tx.add(appendVolumeOp(tx.buf, opTruncate, v, uint64(from)))
	return nil
}

// Drop removes the volume with all its generations. What it held is deleted in the background. Its ID is not used again.
func (tx *Tx) Drop(v VolumeID) error {
	if err := tx.exists(v); err != nil {
		return err
	}
	tx.heads[v] = head{}
	tx.add(appendVolumeOp(tx.buf, opDrop, v))
	return nil
}

func (tx *Tx) exists(v VolumeID) error {
	_, err := tx.head(v)
	return err
}

// endGeneration moves the volume to its next generation and returns the one that ended.
func (tx *Tx) endGeneration(v VolumeID) (Gen, error) {
	h, err := tx.head(v)
	if err != nil {
		return 0, err
	}
	if h.gen == math.MaxUint32 {
		return 0, fmt.Errorf("volume %d has used up its generations", v)
	}
	tx.heads[v] = head{gen: h.gen + 1}
	return h.gen, nil
}

// head returns what is known of a volume: from this transaction, from the flight or from the index.
func (tx *Tx) head(v VolumeID) (head, error) {
	h, ok := tx.heads[v]
	if !ok {
		var err error
		if h, err = tx.findHead(v); err != nil {
			return head{}, err
		}
	}
	if h.gen == 0 {
		return head{}, fmt.Errorf("volume %d: %w", v, ErrNoVolume)
	}
	return h, nil
}

func (tx *Tx) findHead(v VolumeID) (h head, err error) {
	f := &tx.s.flight.mu
	f.Lock()
	h, ok := f.heads[v]
	inFlight := ok && h.lsn > f.applied
	f.Unlock()
	if ok {
		if inFlight {
			tx.seen = max(tx.seen, h.lsn)
		}
		return h, nil
	}
	var row volumeRow
	if ok, err = readVolume(tx.s.db, v, &row); err != nil || !ok {
		return head{}, err
	}
	h = head{gen: row.gen}
	f.Lock()
	f.heads[v] = h
	f.Unlock()
	return h, nil
}

// reader is what the index is read through: the database or a snapshot of it.
type reader = pebble.Reader

// readVolume reads the row of a volume into row, reusing its memory. ok is false if there is none or it was dropped.
func readVolume(r reader, v VolumeID, row *volumeRow) (ok bool, err error) {
	var key [1 + 8]byte
	value, closer, err := r.Get(appendVolumeKey(key[:0], v))
	if errors.Is(err, pebble.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("index: volume %d: %w", v, err)
	}
	defer closer.Close()
	return row.set(v, value)
}

// set reads the row of a volume, reusing the memory of r. ok is false if the volume was dropped.
func (r *volumeRow) set(v VolumeID, value []byte) (ok bool, err error) {
	if err := decodeVolumeRow(r, value); err != nil {
		return false, fmt.Errorf("%w: index: volume %d: %w", ErrCorrupt, v, err)
	}
	return !r.dropped, nil
}

// readFrozen reports whether the generation of a volume is frozen.
func readFrozen(r reader, k generation) (bool, error) {
	var key [1 + 8 + 4]byte
	_, closer, err := r.Get(appendGenerationKey(key[:0], k.volume, k.gen))
	if errors.Is(err, pebble.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("index: volume %d, generation %d: %w", k.volume, k.gen, err)
	}
	return true, closer.Close()
}

// newUserIter iterates over the caller's rows with from <= key < to, their keys with the prefix.
func newUserIter(r reader, from, to []byte) (*pebble.Iterator, error) {
	upper := []byte{rowUser + 1}
	if to != nil {
		upper = appendUserKey(nil, to)
	}
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: appendUserKey(nil, from), UpperBound: upper})
	if err != nil {
		return nil, fmt.Errorf("index: %w", err)
	}
	return it, nil
}
