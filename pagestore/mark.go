package pagestore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"pagevault/pagestore/pagemap"
	"pagevault/pagestore/refcount"
	"pagevault/replication"
)

// Difference is one way in which the rows of an index contradict its page maps, or each other. The page maps are taken
// to be right.
type Difference struct {
	Kind DifferenceKind

	// Where it is; each is 0 unless its kind is about it.
	Volume  VolumeID
	Gen     Gen
	Region  uint64 // of the volume
	Frame   uint64
	Block   int // of the frame
	Segment replication.SegmentID
	Name    string // of a counter, or of a field of a segment's row

	Want, Got uint64 // what the page maps say, and the row
}

// DifferenceKind says what a Difference is about.
type DifferenceKind uint8

// The kinds of differences.
const (
	DifferentCount   DifferenceKind = iota + 1 // Got is the count of a block, Want the runs that touch it
	DifferentSegment                           // Got is a field, by Name, of a segment's row, Want what follows from its frames
	DifferentCounter                           // Got is a counter, by Name, Want what follows from all rows
	DanglingRun                                // a run of a page map entry refers to a block that is not stored
	DanglingFold                               // a region is listed for a fold and has nothing to be folded
	DanglingName                               // a frame that is not there is listed as holding a region
	OrphanedRow                                // a page map entry or other row of a volume that does not exist; Name is its kind
)

// String describes the difference in one line.
func (d Difference) String() string {
	switch d.Kind {
	case DifferentCount:
		return fmt.Sprintf("frame %d block %d: counts %d uses, has %d", d.Frame, d.Block, d.Got, d.Want)
	case DifferentSegment:
		return fmt.Sprintf("segment %d: %s is %d, should be %d", d.Segment, d.Name, d.Got, d.Want)
	case DifferentCounter:
		return fmt.Sprintf("counter %s is %d, should be %d", d.Name, d.Got, d.Want)
	case DanglingRun:
		return fmt.Sprintf("volume %d region %d generation %d: refers to block %d of frame %d, which is not stored",
			d.Volume, d.Region, d.Gen, d.Block, d.Frame)
	case DanglingFold:
		return fmt.Sprintf("volume %d region %d: listed as scattered, and is not", d.Volume, d.Region)
	case DanglingName:
		return fmt.Sprintf("frame %d: listed as holding a region, and is not there", d.Frame)
	case OrphanedRow:
		return fmt.Sprintf("volume %d: has %s and does not exist", d.Volume, d.Name)
	}
	return fmt.Sprintf("difference of unknown kind %d", d.Kind)
}

// MarkResult is what a mark found.
type MarkResult struct {
	Counters           // the level counters as they should be; the flow counters as they are
	Applied     uint64 // LSN of the record up to which the index is marked
	Mismatch    uint64 // LSN of the record at which counts were first seen to be wrong, 0: never
	Entries     uint64 // page map entries, of all volumes and generations
	Differences uint64 // reported
}

// A mark counts everything that page maps refer to, from nothing, and compares. Its memory is bounded: it takes the
// frames a window at a time, in order of their ids, and reads all page maps once for each window. A window has room for
// the ids and the blocks of:
const (
	markIDs    = 4 << 20  // 6 bytes each
	markBlocks = 16 << 20 // 4 bytes each: 64 GiB of content, as long as it is not in small pieces
)

// mark recomputes the counts of all blocks, the rows of all segments and the level counters from the page maps that r
// shows, and calls report for each difference, which may take its time. It returns an error if rows cannot be read or
// ctx ends.
func mark(ctx context.Context, r reader, report func(Difference)) (MarkResult, error) {
	m := marker{ctx: ctx, r: r, report: report, maxIDs: markIDs, maxBlocks: markBlocks}
	err := m.run()
	return m.result, err
}

// recount sets everything right that mark compares and that follows from the page maps, and takes back that there was a
// mismatch. Nobody else may use db. It calls report for what it cannot set right: runs of blocks that are not stored, and
// rows of volumes that do not exist. If there is any, the mismatch stays.
func recount(ctx context.Context, db *pebble.DB, report func(Difference)) (MarkResult, error) {
	m := marker{ctx: ctx, r: db, maxIDs: markIDs, maxBlocks: markBlocks, db: db, batch: db.NewBatch()}
	left := uint64(0)
	m.report = func(d Difference) {
		if d.Kind == DanglingRun || d.Kind == OrphanedRow {
			left++
			report(d)
		}
	}
	err := m.run()
	m.result.Differences = left
	if err == nil {
		err = m.fixState(left == 0)
	}
	if err != nil {
		return m.result, errors.Join(err, m.batch.Close())
	}
	err = m.batch.Commit(pebble.NoSync)
	return m.result, errors.Join(err, m.batch.Close(), db.Flush())
}

// marker carries out one mark.
type marker struct {
	ctx       context.Context
	r         reader
	report    func(Difference)
	maxIDs    int
	maxBlocks int
	result    MarkResult

	db    *pebble.DB    // to be set right; nil: it is only looked at
	batch *pebble.Batch // of db

	frames   *pebble.Iterator
	more     bool // frames is at the first row of the next window
	w        markWindow
	first    bool // this is the first reading of the page maps
	row      frameRow
	entry    pagemap.Entry
	segments map[replication.SegmentID]segmentRow
	steps    int
}

// markWindow counts the blocks of the frames with ids in [from, end). What has no row there does not exist.
type markWindow struct {
	from, end pagemap.FrameID
	base      pagemap.FrameID // id of frames[0]
	frames    []markFrame
	counts    []uint32
	beyond    map[int]uint64 // of a block counted more often than 32 bits hold, what to add, in 2^32
}

// markFrame is a frame of a window; the zero value is one that does not exist.
type markFrame struct {
	present refcount.Set
	at      uint32 // of its first block in counts
}

func (m *marker) run() error {
	m.segments = make(map[replication.SegmentID]segmentRow)
	st, err := stateOf(m.r)
	if err != nil {
		return err
	}
	m.result.Applied, m.result.Mismatch = uint64(st.applied), uint64(st.mismatch)
	m.result.LogicalBytes, m.result.ZeroBytes = st.LogicalBytes, st.ZeroBytes
	m.result.DuplicateBytes, m.result.Records = st.DuplicateBytes, st.Records
	if m.frames, err = newRowIter(m.r, rowFrame); err != nil {
		return err
	}
	defer m.frames.Close()
	m.more = m.frames.First()
	for m.first = true; m.first || m.w.end != math.MaxUint64; m.first = false {
		if err = m.ctx.Err(); err == nil {
			err = m.window()
		}
		if err == nil {
			if err = m.maps(); err == nil {
				err = m.compare()
			}
		}
		if err != nil {
			return err
		}
	}
	for _, step := range []func() error{m.chunks, m.names, m.volumes, m.compareSegments} {
		if err := step(); err != nil {
			return err
		}
	}
	m.compareCounters(&st.Counters)
	return nil
}

func (m *marker) differs(d Difference) {
	m.result.Differences++
	m.report(d)
}

// step returns the error that ends a mark early. It is called once a row.
func (m *marker) step() error {
	if m.steps++; m.steps%4096 == 0 {
		return m.ctx.Err()
	}
	return nil
}

// window begins the next window: it takes over the frames from where the one before ended.
func (m *marker) window() error {
	w := &m.w
	w.from, w.frames, w.counts, w.beyond = w.end, w.frames[:0], w.counts[:0], nil
	for ; m.more; m.more = m.frames.Next() {
		if err := m.readFrame(m.frames); err != nil {
			return err
		}
		if len(w.frames) == 0 {
			w.base = m.row.id
		}
		blocks := m.row.blocks()
		if m.row.id-w.base >= pagemap.FrameID(m.maxIDs) || len(w.counts)+blocks > m.maxBlocks {
			w.end = m.row.id
			return nil
		}
		for pagemap.FrameID(len(w.frames)) < m.row.id-w.base {
			w.frames = append(w.frames, markFrame{})
		}
		w.frames = append(w.frames, markFrame{refcount.Set(m.row.present), uint32(len(w.counts))})
		for range blocks {
			w.counts = append(w.counts, 0)
		}
	}
	w.end = math.MaxUint64
	return m.frames.Error()
}

// readFrame reads the row an iterator is at into m.row.
func (m *marker) readFrame(it *pebble.Iterator) error {
	if err := m.step(); err != nil {
		return err
	}
	value, err := it.ValueAndErr()
	if err != nil {
		return fmt.Errorf("index: %w", err)
	}
	id, err := decodeFrameKey(it.Key())
	if err == nil {
		err = decodeFrameRow(&m.row, value)
	}
	if err != nil {
		return fmt.Errorf("%w: index: frame row %x: %w", ErrCorrupt, it.Key(), err)
	}
	m.row.id = id
	return nil
}

// maps reads all page map entries and counts what they refer to in the window. The first time it also adds up what does
// not depend on the window.
func (m *marker) maps() error {
	it, err := newRowIter(m.r, rowMap)
	if err != nil {
		return err
	}
	defer it.Close()
	scattered, err := newRowIter(m.r, rowScattered)
	if err != nil {
		return err
	}
	defer scattered.Close()
	listed := foldList{it: scattered}
	listed.next()
	var last mapKey
	for ok := it.First(); ok; ok = it.Next() {
		if err := m.step(); err != nil {
			return err
		}
		k, err := m.readEntry(it)
		if err != nil {
			return err
		}
		for _, r := range m.entry {
			if m.w.from <= r.Frame && r.Frame < m.w.end && r.Frame != pagemap.ZeroFrame {
				m.count(k, r)
			}
		}
		if !m.first {
			continue
		}
		m.result.Entries++
		m.result.MappedBytes += uint64(m.entry.Pages().Count()) * PageSize
		if newest := k.volume != last.volume || k.region != last.region; newest {
			listed.check(m, k, len(m.entry) > foldRuns)
		}
		last = k
	}
	if m.first {
		listed.check(m, mapKey{volume: math.MaxUint64}, false)
	}
	return errors.Join(it.Error(), listed.err, scattered.Error())
}

// mapKey is the decoded key of a page map entry.
type mapKey struct {
	volume VolumeID
	region uint64
	gen    Gen
}

// readEntry reads the page map entry an iterator is at into m.entry.
func (m *marker) readEntry(it *pebble.Iterator) (k mapKey, err error) {
	value, err := it.ValueAndErr()
	if err != nil {
		return k, fmt.Errorf("index: %w", err)
	}
	if k.region, k.gen, err = decodeMapKey(it.Key()); err == nil {
		k.volume = decodeRowVolume(it.Key())
		m.entry, err = pagemap.DecodeEntry(m.entry[:0], value)
	}
	if err != nil {
		return k, fmt.Errorf("%w: index: page map row %x: %w", ErrCorrupt, it.Key(), err)
	}
	return k, nil
}

// count counts a run of the entry k, of a frame in the window.
func (m *marker) count(k mapKey, r pagemap.Run) {
	w := &m.w
	var f markFrame
	if i := r.Frame - w.base; len(w.frames) > 0 && w.base <= r.Frame && i < pagemap.FrameID(len(w.frames)) {
		f = w.frames[i]
	}
	touched := refcount.Touched(r)
	for i := range refcount.MaxBlocks {
		switch {
		case !touched.Has(i):
		case !f.present.Has(i):
			m.differs(Difference{Kind: DanglingRun, Volume: k.volume, Gen: k.gen, Region: k.region, Frame: uint64(r.Frame), Block: i})
		default:
			n := int(f.at) + i
			if w.counts[n]++; w.counts[n] == 0 {
				if w.beyond == nil {
					w.beyond = make(map[int]uint64)
				}
				w.beyond[n]++
			}
		}
	}
}

// foldList walks the rows of scattered regions beside the page maps.
type foldList struct {
	it     *pebble.Iterator
	begun  bool
	ok     bool
	volume VolumeID
	region uint64
	err    error
}

func (l *foldList) next() {
	if !l.begun {
		l.begun, l.ok = true, l.it.First()
	} else {
		l.ok = l.it.Next()
	}
	if l.ok {
		if l.volume, l.region, l.err = decodeScatteredKey(l.it.Key()); l.err != nil {
			l.ok, l.err = false, fmt.Errorf("%w: index: %w", ErrCorrupt, l.err)
		}
	}
}

// check reports the rows before and at the region of k, which is scattered or not.
func (l *foldList) check(m *marker, k mapKey, scattered bool) {
	for l.err == nil && l.ok && (l.volume < k.volume || l.volume == k.volume && l.region <= k.region) {
		if l.volume != k.volume || l.region != k.region || !scattered {
			m.differs(Difference{Kind: DanglingFold, Volume: l.volume, Region: l.region})
			l.err = m.fix(l.it.Key(), nil)
		}
		l.next()
	}
}

// compare compares the counts of the window with the frame rows, and adds up what follows from them.
func (m *marker) compare() error {
	w := &m.w
	it, err := m.r.NewIter(&pebble.IterOptions{LowerBound: appendFrameKey(nil, w.from), UpperBound: []byte{rowFrame + 1}})
	if err != nil {
		return err
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		if err := m.readFrame(it); err != nil {
			return err
		}
		f := &m.row
		if f.id >= w.end {
			break
		}
		at := int(w.frames[f.id-w.base].at)
		wrong := false
		for i := range f.blocks() {
			n := uint64(w.counts[at+i]) + w.beyond[at+i]<<32
			if f.counts[i] != n {
				m.differs(Difference{Kind: DifferentCount, Frame: uint64(f.id), Block: i, Want: n, Got: f.counts[i]})
				f.counts[i], wrong = n, true
			}
		}
		m.addFrame(f)
		if wrong {
			if err := m.fix(appendFrameKey(nil, f.id), appendFrameRow(nil, f)); err != nil {
				return err
			}
		}
	}
	return it.Error()
}

// fix stores a row that was wrong, or deletes it if value is nil, if rows are to be set right.
func (m *marker) fix(key, value []byte) error {
	if m.db == nil {
		return nil
	}
	if m.batch.Len() > fixBytes {
		if err := errors.Join(m.batch.Commit(pebble.NoSync), m.batch.Close()); err != nil {
			return err
		}
		m.batch = m.db.NewBatch()
	}
	if value == nil {
		return m.batch.Delete(key, nil)
	}
	return m.batch.Set(key, value, nil)
}

// fixBytes is the size of a batch of rows that are set right.
const fixBytes = 4 << 20

// fixState stores the level counters, and that there was no mismatch if there is none any more.
func (m *marker) fixState(whole bool) error {
	st, err := stateOf(m.r)
	if err != nil {
		return err
	}
	st.Counters = m.result.Counters
	if whole {
		st.mismatch = 0
	}
	return m.fix(stateKey, appendState(nil, &st))
}

// addFrame adds a frame whose counts are right to the totals.
func (m *marker) addFrame(f *frameRow) {
	u := f.usage()
	m.result.add(&u)
	s := m.segments[f.at.Segment]
	s.add(&u)
	m.segments[f.at.Segment] = s
}

func (m *marker) chunks() error {
	return m.each(rowChunk, func(*pebble.Iterator) error {
		m.result.Chunks++
		return nil
	})
}

// each calls fn for each row of a kind.
func (m *marker) each(row byte, fn func(it *pebble.Iterator) error) error {
	it, err := newRowIter(m.r, row)
	if err != nil {
		return err
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		if err := m.step(); err != nil {
			return err
		}
		if err := fn(it); err != nil {
			return err
		}
	}
	return it.Error()
}

// names looks for frames that are gone and listed as holding a region.
func (m *marker) names() error {
	frames, err := newRowIter(m.r, rowFrame)
	if err != nil {
		return err
	}
	defer frames.Close()
	ok := frames.First()
	err = m.each(rowBack, func(it *pebble.Iterator) error {
		id, _, err := decodeBackKey(it.Key())
		if err != nil {
			return fmt.Errorf("%w: index: %w", ErrCorrupt, err)
		}
		var at pagemap.FrameID
		for ; ok; ok = frames.Next() {
			if at, err = decodeFrameKey(frames.Key()); err != nil {
				return fmt.Errorf("%w: index: %w", ErrCorrupt, err)
			}
			if at >= id {
				break
			}
		}
		if !ok || at != id {
			m.differs(Difference{Kind: DanglingName, Frame: uint64(id)})
			return m.fix(it.Key(), nil)
		}
		return nil
	})
	return errors.Join(err, frames.Error())
}

// volumes looks for rows of volumes that do not exist.
func (m *marker) volumes() error {
	kinds := map[byte]string{
		rowMap: "page map entries", rowChange: "changes", rowGeneration: "generations", rowPass: "a pass",
		rowScattered: "scattered regions",
	}
	for _, row := range slices.Sorted(maps.Keys(kinds)) {
		it, err := newRowIter(m.r, row)
		if err != nil {
			return err
		}
		err = m.rowsOfVolumes(it, kinds[row])
		if err = errors.Join(err, it.Close()); err != nil {
			return err
		}
	}
	return nil
}

// rowsOfVolumes looks at the first row of each volume that it has rows of.
func (m *marker) rowsOfVolumes(it *pebble.Iterator, name string) error {
	var v volumeRow
	for ok := it.First(); ok; {
		if err := m.step(); err != nil {
			return err
		}
		if len(it.Key()) < 1+8 {
			return fmt.Errorf("%w: index: row %x", ErrCorrupt, it.Key())
		}
		row, id := it.Key()[0], decodeRowVolume(it.Key())
		v.dropped = false
		there, err := readVolume(m.r, id, &v)
		if err != nil {
			return err
		}
		if !there && !v.dropped { // those of a dropped one go little by little
			m.differs(Difference{Kind: OrphanedRow, Volume: id, Name: name})
		}
		ok = it.SeekGE(appendVolumePrefix(nil, row, id+1))
	}
	return it.Error()
}

// compareSegments compares the rows of segments with what the frames in them add up to.
func (m *marker) compareSegments() error {
	err := m.each(rowSegment, func(it *pebble.Iterator) error {
		value, err := it.ValueAndErr()
		if err != nil {
			return fmt.Errorf("index: %w", err)
		}
		id, err := decodeSegmentKey(it.Key())
		var got segmentRow
		if err == nil {
			got, err = decodeSegmentRow(value)
		}
		if err != nil {
			return fmt.Errorf("%w: index: segment row %x: %w", ErrCorrupt, it.Key(), err)
		}
		want := m.segments[id]
		delete(m.segments, id)
		return m.compareSegment(id, want, got)
	})
	if err != nil {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(m.segments)) {
		if err := m.compareSegment(id, m.segments[id], segmentRow{}); err != nil {
			return err
		}
	}
	return nil
}

func (m *marker) compareSegment(id replication.SegmentID, want, got segmentRow) error {
	for _, f := range []struct {
		name      string
		want, got uint64
	}{
		{"frames", want.frames, got.frames},
		{"stored", want.stored, got.stored},
		{"live", want.live, got.live},
		{"fast", want.fast, got.fast},
	} {
		if f.want != f.got {
			m.differs(Difference{Kind: DifferentSegment, Segment: id, Name: f.name, Want: f.want, Got: f.got})
		}
	}
	switch {
	case want == got:
		return nil
	case want.frames == 0:
		return m.fix(appendSegmentKey(nil, id), nil)
	}
	return m.fix(appendSegmentKey(nil, id), appendSegmentRow(nil, &want))
}

// compareCounters compares the level counters with what was added up.
func (m *marker) compareCounters(got *Counters) {
	want := &m.result.Counters
	for _, f := range []struct {
		name      string
		want, got uint64
	}{
		{"Frames", want.Frames, got.Frames},
		{"Chunks", want.Chunks, got.Chunks},
		{"StoredBytes", want.StoredBytes, got.StoredBytes},
		{"RawBytes", want.RawBytes, got.RawBytes},
		{"UniqueBytes", want.UniqueBytes, got.UniqueBytes},
		{"LiveBytes", want.LiveBytes, got.LiveBytes},
		{"MappedBytes", want.MappedBytes, got.MappedBytes},
	} {
		if f.want != f.got {
			m.differs(Difference{Kind: DifferentCounter, Name: f.name, Want: f.want, Got: f.got})
		}
	}
}

// stateOf reads the state row, which an index that was ever used has.
func stateOf(r reader) (state, error) {
	value, closer, err := r.Get(stateKey)
	if err != nil {
		return state{}, fmt.Errorf("index: state: %w", err)
	}
	defer closer.Close()
	st, err := decodeState(value)
	if err != nil {
		return st, fmt.Errorf("%w: index: state: %w", ErrCorrupt, err)
	}
	return st, nil
}

// newRowIter iterates over all rows of a kind.
func newRowIter(r reader, row byte) (*pebble.Iterator, error) {
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: []byte{row}, UpperBound: []byte{row + 1}})
	if err != nil {
		return nil, fmt.Errorf("index: %w", err)
	}
	return it, nil
}

func decodeFrameKey(k []byte) (pagemap.FrameID, error) {
	if len(k) != 1+8 || k[0] != rowFrame {
		return 0, fmt.Errorf("frame key %x", k)
	}
	return pagemap.FrameID(binary.BigEndian.Uint64(k[1:])), nil
}

// decodeRowVolume returns the volume of a row whose key begins with its kind and the volume.
func decodeRowVolume(k []byte) VolumeID { return VolumeID(binary.BigEndian.Uint64(k[1:])) }
