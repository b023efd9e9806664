package pagestore

import (
	"cmp"
	"fmt"
	"slices"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"pagevault/pagestore/pagemap"
	"pagevault/replication"
)

// View is a consistent picture of everything applied when it was opened, hence of durable changes only. It is safe for
// concurrent use and must be closed: an open view keeps old rows of the index on disk, and Close of the store waits.
type View struct {
	s    *Store
	p    *picture
	snap *pebble.Snapshot // p's
}

// picture is a snapshot of the index that all views opened between two batches share. Closing a snapshot makes Pebble
// look for compactions, which costs more than a small read; so it is done once a batch, not once a view.
type picture struct {
	snap    *pebble.Snapshot
	applied replication.LSN // it shows every record up to here, and perhaps more
	users   int             // views, and the store while it is the current one
	rows    rowCache
}

// views keep account of who uses the index.
type views struct {
	mu struct {
		sync.Mutex
		open    int        // views and others that hold the index open
		none    *sync.Cond // open became 0
		current *picture   // of the last batch; nil if no view was opened since
		all     []*picture // that have users, in the order they were taken
	}
}

// View opens a view. It works on a read-only store too; only after Close it returns ErrClosed.
func (s *Store) View() (*View, error) {
	m := &s.views.mu
	m.Lock()
	defer m.Unlock()
	if err := s.holdLocked(); err != nil {
		return nil, err
	}
	if m.current == nil {
		m.current = &picture{applied: s.state.Load().applied, users: 1, rows: rowCache{after: s.o.keepRows}}
		m.current.snap = s.db.NewSnapshot() // not before applied was read
		m.all = append(m.all, m.current)
	}
	m.current.users++
	return &View{s: s, p: m.current, snap: m.current.snap}, nil
}

// Close ends the view. Iterators of it must be closed before.
func (v *View) Close() error {
	m := &v.s.views.mu
	m.Lock()
	defer m.Unlock()
	err := v.s.views.leaveLocked(v.p)
	v.s.letGoLocked()
	return err
}

// retire lets go of the current picture: a batch was applied. It is called before anyone is told, so that whoever was
// told opens a view that shows it.
func (s *Store) retire() error {
	s.views.mu.Lock()
	defer s.views.mu.Unlock()
	return s.retireLocked()
}

func (s *Store) retireLocked() error {
	p := s.views.mu.current
	if p == nil {
		return nil
	}
	s.views.mu.current = nil
	p.rows.drop()
	return s.views.leaveLocked(p)
}

func (v *views) leaveLocked(p *picture) error {
	if p.users--; p.users > 0 {
		return nil
	}
	v.mu.all = slices.DeleteFunc(v.mu.all, func(other *picture) bool { return other == p })
	return p.snap.Close()
}

// allShow reports whether every picture that is in use shows all records up to lsn.
func (v *views) allShow(lsn replication.LSN) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.mu.all) == 0 || v.mu.all[0].applied >= lsn
}

// hold keeps the index open until letGo: Close waits. It returns ErrClosed after Close.
func (s *Store) hold() error {
	s.views.mu.Lock()
	defer s.views.mu.Unlock()
	return s.holdLocked()
}

func (s *Store) letGo() {
	s.views.mu.Lock()
	defer s.views.mu.Unlock()
	s.letGoLocked()
}

func (s *Store) holdLocked() error {
	if s.closing.Load() {
		return ErrClosed
	}
	s.views.mu.open++
	return nil
}

func (s *Store) letGoLocked() {
	if s.views.mu.open--; s.views.mu.open == 0 {
		s.views.mu.none.Broadcast()
	}
}

// awaitViews waits until nobody uses the index. Nobody can begin to any more.
func (s *Store) awaitViews() error {
	m := &s.views.mu
	m.Lock()
	defer m.Unlock()
	for m.open > 0 {
		m.none.Wait()
	}
	return s.retireLocked()
}

// Get returns a row of the caller, ok false if there is none. The value stays valid, and others read it too: it must not be
// changed.
func (v *View) Get(key []byte) (value []byte, ok bool, err error) {
	var buf [128]byte
	value, err = v.p.get(appendUserKey(buf[:0], key))
	if err != nil {
		return nil, false, fmt.Errorf("index: row %x: %w", key, err)
	}
	return value, value != nil, nil
}

// Iter iterates over the caller's rows with from <= key < to, in order; a nil to is no bound.
func (v *View) Iter(from, to []byte) *Iter {
	it, err := newUserIter(v.snap, from, to)
	return &Iter{it: it, err: err, fresh: true}
}

// Iter is an iterator over rows of the caller. It belongs to one goroutine and must be closed.
type Iter struct {
	it    *pebble.Iterator
	err   error
	fresh bool // not yet positioned
	key   []byte
}

// Next moves to the first row, then to the one after the current. It returns false at the end and on an error.
func (i *Iter) Next() bool {
	switch {
	case i.err != nil:
		return false
	case i.fresh:
		i.fresh = false
		return i.it.First()
	}
	return i.it.Next()
}

// SeekGE moves to the first row whose key is not less than key. It returns false if there is none and on an error.
func (i *Iter) SeekGE(key []byte) bool {
	if i.err != nil {
		return false
	}
	i.fresh = false
	i.key = appendUserKey(i.key[:0], key)
	return i.it.SeekGE(i.key)
}

// Key returns the key of the current row, valid until the iterator moves.
func (i *Iter) Key() []byte { return i.it.Key()[1:] }

// Value returns the value of the current row, valid until the iterator moves. It returns nil on an error, which Err then
// holds.
func (i *Iter) Value() []byte {
	value, err := i.it.ValueAndErr()
	if err != nil {
		i.err = err
	}
	return value
}

// Err returns the error that ended the iteration, nil if it was the end of the rows.
func (i *Iter) Err() error {
	if i.err == nil && i.it != nil {
		i.err = i.it.Error()
	}
	if i.err != nil {
		return fmt.Errorf("index: %w", i.err)
	}
	return nil
}

// Close releases the iterator.
func (i *Iter) Close() error {
	if i.it == nil {
		return i.err
	}
	return i.it.Close()
}

// volume reads the row of a volume and resolves g to a generation that can be read.
func (v *View) volume(vol VolumeID, g Gen, row *volumeRow) (Gen, error) {
	var key [1 + 8]byte
	value, err := v.p.get(appendVolumeKey(key[:0], vol))
	if err != nil {
		return 0, fmt.Errorf("index: volume %d: %w", vol, err)
	}
	if value == nil {
		return 0, fmt.Errorf("volume %d: %w", vol, ErrNoVolume)
	}
	if ok, err := row.set(vol, value); err != nil || !ok {
		return 0, cmp.Or(err, fmt.Errorf("volume %d: %w", vol, ErrNoVolume))
	}
	if g == GenHead {
		return row.gen, nil
	}
	if g == row.gen {
		return g, nil
	}
	frozen, err := v.p.get(appendGenerationKey(nil, vol, g))
	if err == nil && frozen == nil {
		err = fmt.Errorf("volume %d, generation %d of %d: %w", vol, g, row.gen, ErrNoGeneration)
	}
	return g, err
}

// regionIter walks the regions of a volume that had page map entries at one generation.
type regionIter struct {
	it  *pebble.Iterator
	vol VolumeID
	row *volumeRow
	at  Gen

	no    uint64        // of the current region
	entry pagemap.Entry // of it, without what was erased; may be empty

	options     pebble.IterOptions
	bounds      [2][]byte
	key         []byte
	runs        pagemap.Entry
	unerased    pagemap.Entry
	first, last uint64 // regions [first, last)
}

// open sets the iterator to the regions that pages touch, before the first.
func (r *regionIter) open(from reader, vol VolumeID, row *volumeRow, at Gen, pages Range) (err error) {
	r.vol, r.row, r.at = vol, row, at
	r.first, r.last = regionRange(pages)
	r.bounds[0] = appendMapKey(r.bounds[0][:0], vol, r.first, ^Gen(0))
	r.bounds[1] = appendMapKey(r.bounds[1][:0], vol, r.last, ^Gen(0))
	r.options = pebble.IterOptions{LowerBound: r.bounds[0], UpperBound: r.bounds[1]}
	r.it, err = from.NewIter(&r.options)
	r.no = ^uint64(0)
	return err
}

func (r *regionIter) close() error { return r.it.Close() }

// next moves to the next region. It returns false after the last and on an error.
func (r *regionIter) next() (bool, error) {
	if r.no == ^uint64(0) {
		return r.seek(r.first)
	}
	no := r.no
	if !r.it.Next() {
		return false, r.it.Error()
	}
	found, g, err := decodeMapKey(r.it.Key())
	if err != nil {
		return false, err
	}
	if found == no || g > r.at {
		return r.seek(max(found, no+1)) // older entries of the same region, or one of the next that is too new
	}
	return r.load(found, g)
}

// seek moves to the first region at or after no. It returns false if there is none and on an error.
func (r *regionIter) seek(no uint64) (bool, error) {
	for {
		r.key = appendMapKey(r.key[:0], r.vol, no, r.at)
		if !r.it.SeekGE(r.key) {
			return false, r.it.Error()
		}
		found, g, err := decodeMapKey(r.it.Key())
		if err != nil {
			return false, err
		}
		if g <= r.at {
			return r.load(found, g)
		}
		no = found
	}
}

// load makes the entry that the iterator is at the current one. It returns false on an error.
func (r *regionIter) load(no uint64, g Gen) (bool, error) {
	value, err := r.it.ValueAndErr()
	if err != nil {
		return false, fmt.Errorf("index: %w", err)
	}
	err = r.set(no, g, value)
	return err == nil, err
}

// only moves to one region without an iterator, which need be neither opened nor closed. It returns false if the region has
// no entries, and on an error.
func (r *regionIter) only(p *picture, vol VolumeID, row *volumeRow, at Gen, no uint64) (bool, error) {
	r.vol, r.row, r.at = vol, row, at
	r.key = appendMapKey(r.key[:0], vol, no, at)
	g, value, err := p.entryAt(r.key)
	if err != nil || value == nil {
		return false, err
	}
	err = r.set(no, g, value)
	return err == nil, err
}

// set makes an entry the current one.
func (r *regionIter) set(no uint64, g Gen, value []byte) (err error) {
	if r.runs, err = pagemap.DecodeEntry(r.runs[:0], value); err != nil {
		return fmt.Errorf("%w: index: volume %d region %d generation %d: %w", ErrCorrupt, r.vol, no, g, err)
	}
	r.no, r.entry = no, r.runs
	if lost := r.row.erased(no, g, r.at); !lost.Empty() {
		r.unerased = pagemap.Without(r.unerased[:0], r.runs, lost)
		r.entry = r.unerased
	}
	return nil
}

// Ranges calls yield for each run of valid pages of the volume at generation g within the given pages, in order and as
// long as possible, until it returns false.
func (v *View) Ranges(vol VolumeID, g Gen, within Range, yield func(Range) bool) error {
	var row volumeRow
	at, err := v.volume(vol, g, &row)
	if err != nil {
		return err
	}
	if within, err = checkRange(within); err != nil || within.Start == within.End {
		return err
	}
	var r regionIter
	if err := r.open(v.snap, vol, &row, at, within); err != nil {
		return err
	}
	defer r.close()
	out := spans{yield: func(p Range, _ bool) bool { return yield(p) }}
	for {
		ok, err := r.next()
		if err != nil {
			return err
		}
		if !ok {
			out.flush()
			return nil
		}
		from, to := regionPart(within, r.no)
		if !out.add(r.no, r.entry.Pages().And(pagemap.Span(from, to)), false) {
			return nil
		}
	}
}

func checkRange(r Range) (Range, error) {
	r.Start, r.End = min(r.Start, maxPages), min(r.End, maxPages)
	if r.Start > r.End {
		return r, fmt.Errorf("%w: pages [%d,%d)", ErrBadRange, r.Start, r.End)
	}
	return r, nil
}

// spans joins sets of pages, added in order, to the longest ranges of one kind.
type spans struct {
	yield func(p Range, kind bool) bool
	p     Range // not yet yielded; empty if there is none
	kind  bool
	ended bool // yield has returned false
}

// add adds the pages of one region that are of one kind. It returns false when yield has.
func (s *spans) add(no uint64, pages pagemap.Bitmap, kind bool) bool {
	base := PageNo(no * pagemap.RegionPages)
	for from, to := pages.Next(0); from < pagemap.RegionPages; from, to = pages.Next(to) {
		s.span(Range{base + PageNo(from), base + PageNo(to)}, kind)
	}
	return !s.ended
}

func (s *spans) span(p Range, kind bool) {
	if s.p.Start < s.p.End && s.p.End == p.Start && s.kind == kind {
		s.p.End = p.End
		return
	}
	s.flush()
	s.p, s.kind = p, kind
}

func (s *spans) flush() {
	if s.p.Start < s.p.End && !s.ended {
		s.ended = !s.yield(s.p, s.kind)
	}
	s.p = Range{}
}
