package pagestore

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

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
		if records, err = s.log.Next(records[:0]); errors.Is(err, io.EOF) {
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
	state := a.state
	s.state.Store(&state)
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
	state  state

	batch   *pebble.Batch
	it      *pebble.Iterator // over page map rows as they were before the batch; nil until one is needed
	volumes map[VolumeID]*volumeState
	regions map[regionKey]*regionState
	changes map[changeKey]pagemap.Bitmap
	wiped   []wipe // page map rows deleted in this batch, before what regions holds

	decoder commitDecoder
	at      replication.Position // of the stored bytes of the next frame
	key     []byte
	value   []byte
	entry   pagemap.Entry
	masked  pagemap.Entry
	spare   []*regionState
	f       frameRow
	sought  struct { // what seek last found: the first region of volume at or after from with an entry is found
		volume      VolumeID
		from, found uint64
	}
}

type regionKey struct {
	volume VolumeID
	no     uint64
}

type changeKey struct {
	volume VolumeID
	gen    Gen
	no     uint64
}

// volumeState is a volume as the batch leaves it.
type volumeState struct {
	volumeRow
	gone  bool // dropped in this batch
	dirty bool // to be written
}

// regionState is the newest page map entry of a region as the batch leaves it.
type regionState struct {
	exists bool
	gen    Gen // in which the entry was stored
	runs   pagemap.Entry
	dirty  bool          // to be written
	was    pagemap.Entry // what the row of generation gen holds; empty if there is none

	scattered bool // the region has a scattered row
}

// wipe is a range of regions [first, end) of a volume.
type wipe struct {
	volume     VolumeID
	first, end uint64
}

func newApplier(db *pebble.DB, names *summary, l limits, s state) *applier {
	return &applier{
		db:      db,
		names:   names,
		limits:  l,
		state:   s,
		volumes: make(map[VolumeID]*volumeState),
		regions: make(map[regionKey]*regionState),
		changes: make(map[changeKey]pagemap.Bitmap),
	}
}

// record applies one record to the batch. After an error the applier is not used again.
func (a *applier) record(r *replication.Record) (err error) {
	if r.LSN != a.state.applied+1 {
		return fmt.Errorf("%w: record %d after record %d", ErrCorrupt, r.LSN, a.state.applied)
	}
	if a.batch == nil {
		a.batch = a.db.NewBatch()
	}
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
	a.state.DuplicateBytes += (a.state.LogicalBytes - logical) - (a.state.ZeroBytes - zero) - stored
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
	case opMove, opFree, opFold, opThaw, opReap:
		return fmt.Errorf("%w: unknown operation %d", ErrCorrupt, o.kind)
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
		err = a.truncate(o, v)
		v.gen, v.dirty = v.gen+1, true
		return err
	case opFreeze:
		if o.gen != v.gen {
			return fmt.Errorf("%w: freeze of generation %d of volume %d, which is in %d", ErrCorrupt, o.gen, o.volume, v.gen)
		}
		v.frozen, v.gen, v.dirty = v.gen, v.gen+1, true
		return nil
	case opDrop:
		return a.drop(o.volume, v)
	}
	return fmt.Errorf("%w: operation %d", ErrCorrupt, o.kind)
}

func (a *applier) frame(f *frame) error {
	if f.id != a.state.nextFrame {
		return fmt.Errorf("%w: frame %d, want %d", ErrCorrupt, f.id, a.state.nextFrame)
	}
	a.state.nextFrame++
	a.state.Frames++
	a.state.Chunks += uint64(len(f.chunks))
	a.state.StoredBytes += uint64(f.stored)
	a.key = appendFrameKey(a.key[:0], f.id)
	a.f = frameRow{frame: *f, at: a.at}
	a.value = appendFrameRow(a.value[:0], &a.f)
	a.at.Offset += f.stored
	if err := a.batch.Set(a.key, a.value, nil); err != nil {
		return err
	}
	for i := range f.chunks {
		c := &f.chunks[i]
		a.names.add(&c.name)
		a.key = appendDigestKey(a.key[:0], rowChunk, &c.name)
		a.value = appendChunkRow(a.value[:0], chunkRef{f.id, c.off})
		if err := a.batch.Set(a.key, a.value, nil); err != nil {
			return err
		}
	}
	return nil
}

func (a *applier) session(o *op) error {
	if uint64(o.session) != a.state.nextSession {
		return fmt.Errorf("%w: session %d, want %d", ErrCorrupt, o.session, a.state.nextSession)
	}
	a.state.nextSession++
	a.key = appendSessionKey(a.key[:0], o.session)
	return a.batch.Set(a.key, o.salt[:], nil)
}

func (a *applier) write(o *op, v *volumeState) error {
	d := &a.decoder
	a.state.LogicalBytes += uint64(o.pages.End-o.pages.Start) * PageSize
	for d.region() {
		g := &d.reg
		for _, r := range g.runs {
			if r.Frame == pagemap.ZeroFrame {
				a.state.ZeroBytes += uint64(r.Pages) * PageSize
			} else if r.Frame >= a.state.nextFrame {
				return fmt.Errorf("%w: volume %d region %d: run %v of a frame to come", ErrCorrupt, o.volume, g.no, r)
			}
		}
		if g.name != nil {
			a.names.add(g.name)
			a.key = appendDigestKey(a.key[:0], rowRegion, g.name)
			a.value = pagemap.AppendEntry(a.value[:0], g.runs)
			if err := a.batch.Set(a.key, a.value, nil); err != nil {
				return err
			}
		}
		if err := a.writeRegion(regionKey{o.volume, g.no}, v, g); err != nil {
			return err
		}
	}
	return d.err
}

// writeRegion lays the runs of one region over what the volume holds there.
func (a *applier) writeRegion(k regionKey, v *volumeState, g *region) error {
	if g.to-g.from == pagemap.RegionPages { // nothing of the old map is left
		return a.set(k, v, g.runs, pagemap.Span(0, pagemap.RegionPages))
	}
	old, err := a.current(k, v)
	if err != nil {
		return err
	}
	a.entry = pagemap.Overlay(a.entry[:0], old, g.runs)
	return a.set(k, v, a.entry, pagemap.Span(g.from, g.to))
}

// set makes runs the entry of the region in the current generation. touched are the pages that were written or
// cleared. It copies runs.
func (a *applier) set(k regionKey, v *volumeState, runs pagemap.Entry, touched pagemap.Bitmap) error {
	if err := a.touch(k, v, touched); err != nil {
		return err
	}
	r, err := a.load(k)
	if err != nil {
		return err
	}
	if r.gen != v.gen { // the entry there is stays: the volume has moved on since
		if r.dirty {
			if err := a.writeEntry(k, r); err != nil {
				return err
			}
		}
		r.was = r.was[:0]
	}
	r.exists, r.gen, r.dirty, r.runs = true, v.gen, true, append(r.runs[:0], runs...)
	if v.written != v.gen {
		v.written, v.dirty = v.gen, true
	}
	return nil
}

// touch adds pages to what was written or cleared in the current generation. It is kept only where there is a frozen
// generation to compare with. It must be called before the region's entry is set.
func (a *applier) touch(k regionKey, v *volumeState, pages pagemap.Bitmap) error {
	if v.frozen == 0 {
		return nil
	}
	ck := changeKey{k.volume, v.gen, k.no}
	old, ok := a.changes[ck]
	if !ok && pages != pagemap.Span(0, pagemap.RegionPages) {
		r, err := a.load(k)
		if err != nil {
			return err
		}
		if r.exists && r.gen == v.gen { // else nothing has touched the region in this generation
			if old, err = a.readChange(ck); err != nil {
				return err
			}
		}
	}
	a.changes[ck] = old.Or(pages)
	return nil
}

func (a *applier) readChange(k changeKey) (b pagemap.Bitmap, err error) {
	a.key = appendChangeKey(a.key[:0], k.volume, k.gen, k.no)
	value, closer, err := a.db.Get(a.key)
	if errors.Is(err, pebble.ErrNotFound) {
		return b, nil
	}
	if err != nil {
		return b, err
	}
	defer closer.Close()
	return pagemap.DecodeBitmap(value)
}

// clear makes the pages of a clear invalid, region by region if few regions hold any, else by an erasure.
func (a *applier) clear(o *op, v *volumeState) error {
	if v.frozen == 0 && a.limits.endsGeneration(o.pages) {
		return a.wipe(o, v)
	}
	regions, all, err := a.regionsIn(o.volume, o.pages, int(a.limits.direct))
	if err != nil {
		return err
	}
	if !all && v.erase(o.pages, int(a.limits.erasures)) {
		v.dirty = true
		return nil
	}
	if !all {
		if regions, _, err = a.regionsIn(o.volume, o.pages, -1); err != nil {
			return err
		}
	}
	return a.clearRegions(o, v, regions)
}

// truncate makes all pages from o.pages.Start on invalid, by an erasure.
func (a *applier) truncate(o *op, v *volumeState) error {
	if v.frozen == 0 {
		return a.wipe(o, v)
	}
	if _, none, err := a.regionsIn(o.volume, o.pages, 0); err != nil || none {
		return err
	}
	if v.erase(o.pages, int(a.limits.erasures)) {
		v.dirty = true
		return nil
	}
	regions, _, err := a.regionsIn(o.volume, o.pages, -1)
	if err != nil {
		return err
	}
	return a.clearRegions(o, v, regions)
}

// wipe deletes the page map rows of a volume that has no frozen generation to keep them for: the regions at both ends
// one by one, all between them at once.
func (a *applier) wipe(o *op, v *volumeState) error {
	first, end := regionRange(o.pages)
	if from, _ := regionPart(o.pages, first); from > 0 {
		if err := a.clearRegions(o, v, []uint64{first}); err != nil {
			return err
		}
		first++
	}
	if _, to := regionPart(o.pages, end-1); to < pagemap.RegionPages && first < end {
		if err := a.clearRegions(o, v, []uint64{end - 1}); err != nil {
			return err
		}
		end--
	}
	if first >= end {
		return nil
	}
	inner := Range{PageNo(first * pagemap.RegionPages), PageNo(end * pagemap.RegionPages)}
	if _, none, err := a.regionsIn(o.volume, inner, 0); err != nil || none {
		return err
	}
	for k, r := range a.regions {
		if k.volume == o.volume && first <= k.no && k.no < end {
			delete(a.regions, k)
			a.spare = append(a.spare, r)
		}
	}
	a.wiped = append(a.wiped, wipe{o.volume, first, end})
	from := appendMapKey(nil, o.volume, first, ^Gen(0))
	to := appendMapKey(nil, o.volume, end, ^Gen(0))
	if err := a.batch.DeleteRange(from, to, nil); err != nil {
		return err
	}
	return a.batch.DeleteRange(appendScatteredKey(nil, o.volume, first), appendScatteredKey(nil, o.volume, end), nil)
}

// clearRegions clears the pages of o in some regions.
func (a *applier) clearRegions(o *op, v *volumeState, regions []uint64) error {
	for _, no := range regions {
		k := regionKey{o.volume, no}
		old, err := a.current(k, v)
		if err != nil {
			return err
		}
		from, to := regionPart(o.pages, no)
		lost := old.Pages().And(pagemap.Span(from, to))
		if lost.Empty() {
			continue
		}
		a.entry = pagemap.Clear(a.entry[:0], old, from, to)
		if err := a.set(k, v, a.entry, lost); err != nil {
			return err
		}
	}
	return nil
}

// regionsIn returns the numbers of the regions touched by pages that have a page map entry. If there are more than limit
// it returns all == false and not all of them; a negative limit is none.
func (a *applier) regionsIn(v VolumeID, pages Range, limit int) (regions []uint64, all bool, err error) {
	first, end := regionRange(pages)
	for k, r := range a.regions {
		if k.volume == v && r.exists && first <= k.no && k.no < end {
			regions = append(regions, k.no)
		}
	}
	slices.Sort(regions)
	own := len(regions)
	for no := first; limit < 0 || len(regions) <= limit; no++ {
		if no, _, err = a.seek(v, no, end); err != nil || no >= end {
			return regions, err == nil, err
		}
		if _, ok := slices.BinarySearch(regions[:own], no); !ok && !a.isWiped(v, no) {
			regions = append(regions, no)
		}
	}
	return regions, len(regions) <= limit, nil
}

// seek finds the first region at or after no and before end that had an entry before the batch, with the generation of
// its newest entry, whose runs are then the iterator's value. It returns end if there is none.
func (a *applier) seek(v VolumeID, no, end uint64) (uint64, Gen, error) {
	if a.it == nil {
		it, err := a.db.NewIter(&pebble.IterOptions{LowerBound: []byte{rowMap}, UpperBound: []byte{rowMap + 1}})
		if err != nil {
			return 0, 0, err
		}
		a.it = it
	}
	last := &a.sought
	if last.volume == v && last.from <= no && end <= last.found { // as for all but the first region of a new volume
		return end, 0, nil
	}
	last.volume = 0
	a.key = appendMapKey(a.key[:0], v, no, ^Gen(0))
	found, gen := uint64(noRegion), Gen(0)
	if a.it.SeekGE(a.key) && bytes.HasPrefix(a.it.Key(), a.key[:9]) {
		var err error
		if found, gen, err = decodeMapKey(a.it.Key()); err != nil {
			return 0, 0, err
		}
	} else if err := a.it.Error(); err != nil {
		return 0, 0, err
	}
	last.volume, last.from, last.found = v, no, found
	return min(found, end), gen, nil
}

// noRegion is greater than the number of any region.
const noRegion = math.MaxUint64

func (a *applier) isWiped(v VolumeID, no uint64) bool {
	for _, w := range a.wiped {
		if w.volume == v && w.first <= no && no < w.end {
			return true
		}
	}
	return false
}

func (a *applier) drop(id VolumeID, v *volumeState) error {
	v.gone, v.dirty = true, false
	for k, r := range a.regions {
		if k.volume == id {
			delete(a.regions, k)
			a.spare = append(a.spare, r)
		}
	}
	for k := range a.changes {
		if k.volume == id {
			delete(a.changes, k)
		}
	}
	for _, row := range []byte{rowMap, rowScattered, rowChange} {
		if err := a.batch.DeleteRange(appendVolumePrefix(nil, row, id), appendVolumePrefix(nil, row, id+1), nil); err != nil {
			return err
		}
	}
	return a.batch.Delete(appendVolumeKey(nil, id), nil)
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

// current returns what the region holds now: its newest entry without what was erased since. It is valid until the next
// call.
func (a *applier) current(k regionKey, v *volumeState) (pagemap.Entry, error) {
	r, err := a.load(k)
	if err != nil || !r.exists {
		return nil, err
	}
	lost := v.erased(k.no, r.gen, v.gen)
	if lost.Empty() {
		return r.runs, nil
	}
	a.masked = pagemap.Without(a.masked[:0], r.runs, lost)
	return a.masked, nil
}

// load returns the newest entry of a region.
func (a *applier) load(k regionKey) (*regionState, error) {
	if r := a.regions[k]; r != nil {
		return r, nil
	}
	r := a.newRegion()
	a.regions[k] = r
	if a.isWiped(k.volume, k.no) {
		return r, nil
	}
	no, gen, err := a.seek(k.volume, k.no, k.no+1)
	if err != nil || no != k.no {
		return r, err
	}
	value, err := a.it.ValueAndErr()
	if err != nil {
		return nil, err
	}
	if r.runs, err = pagemap.DecodeEntry(r.runs[:0], value); err != nil {
		return nil, fmt.Errorf("%w: index: volume %d region %d generation %d: %w", ErrCorrupt, k.volume, k.no, gen, err)
	}
	r.exists, r.gen, r.was = true, gen, append(r.was[:0], r.runs...)
	r.scattered = len(r.runs) > foldRuns
	return r, nil
}

func (a *applier) newRegion() *regionState {
	n := len(a.spare)
	if n == 0 {
		return &regionState{}
	}
	r := a.spare[n-1]
	a.spare = a.spare[:n-1]
	*r = regionState{runs: r.runs[:0], was: r.was[:0]}
	return r
}

func (a *applier) writeEntry(k regionKey, r *regionState) error {
	err := a.putEntry(k, r.gen, r.was, r.runs)
	r.was, r.dirty = append(r.was[:0], r.runs...), false
	return err
}

// Every change of a page map row goes through putEntry and deleteEntry, which keep account of what the entries refer to.

// putEntry stores an entry where the row now holds old, nothing if old is empty.
func (a *applier) putEntry(k regionKey, g Gen, old, runs pagemap.Entry) error {
	a.key = appendMapKey(a.key[:0], k.volume, k.no, g)
	a.value = pagemap.AppendEntry(a.value[:0], runs)
	return a.batch.Set(a.key, a.value, nil)
}

// markScattered sets or deletes the row that says that the newest entry of a region has many runs.
func (a *applier) markScattered(k regionKey, r *regionState) error {
	scattered := len(r.runs) > foldRuns
	if scattered == r.scattered {
		return nil
	}
	a.key = appendScatteredKey(a.key[:0], k.volume, k.no)
	if scattered {
		return a.batch.Set(a.key, nil, nil)
	}
	return a.batch.Delete(a.key, nil)
}

// maxSpare bounds the region states kept from batch to batch.
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
	if err := a.batch.Commit(pebble.NoSync); err != nil {
		return err
	}
	err := a.batch.Close()
	a.batch = nil
	for _, r := range a.regions {
		if len(a.spare) < maxSpare {
			a.spare = append(a.spare, r)
		}
	}
	clear(a.volumes)
	clear(a.regions)
	clear(a.changes)
	a.wiped = a.wiped[:0]
	return err
}

// writeRows writes the rows that the maps hold, and the state.
func (a *applier) writeRows() error {
	for k, r := range a.regions {
		if r.dirty {
			if err := a.writeEntry(k, r); err != nil {
				return err
			}
			if err := a.markScattered(k, r); err != nil {
				return err
			}
		}
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
