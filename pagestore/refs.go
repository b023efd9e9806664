package pagestore

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"pagevault/internal/invariant"
	"pagevault/pagestore/pagemap"
	"pagevault/pagestore/refcount"
	"pagevault/replication"
)

// What refers to each block of each frame is counted as page map entries change, beside what lies in each segment and
// the totals of the store. All of it follows from the entries: see mark, which works it out from nothing.
//
// Changes of counts are gathered while the records of a batch are applied, and settled when it is committed, or before
// an operation that depends on them: the frames are then read in order of their ids, which is the order in which they
// were stored, so that frames that were stored together cost one seek. A block that is given up and taken up again
// within a batch changes nothing.

// frameState is a frame as the batch leaves it.
type frameState struct {
	row    frameRow // its id always, the rest if the frame exists
	loaded bool     // row and exists are known
	exists bool
	dirty  bool // the row is to be written, or deleted

	deltas  refcount.Deltas // of the counts in row, not yet settled
	touched bool            // it is in refs.touched

	usage   usage // what the totals and the row of the segment have of it
	segment replication.SegmentID
}

// refs is the part of an applier that keeps account of frames.
type refs struct {
	frames   map[pagemap.FrameID]*frameState // those that the batch has to do with
	list     []*frameState                   // the same, in no order that matters
	last     *frameState                     // the one that was referred to last: the next run is often of the same
	touched  []*frameState                   // those with deltas
	it       *pebble.Iterator                // over frame rows as they were before the batch; nil until one is needed
	segments map[replication.SegmentID]*segmentState
	changed  []*segmentState // segments whose rows are to be written
	spare    []*frameState
	kept     slots[pagemap.FrameID, frameState] // what frames left behind
}

// segmentState is the row of a segment as the batch leaves it. They are kept from batch to batch: there are few.
type segmentState struct {
	segmentRow
	id    replication.SegmentID
	dirty bool // it is in refs.changed
}

// usage is what one frame adds to the totals of the store and of its segment.
type usage struct {
	frames uint64 // 1, or 0 for a frame that is gone
	stored uint64
	raw    uint64 // bytes of its present blocks, as they were written
	unique uint64 // of these, of blocks that something uses
	live   uint64 // of stored, the share of those
	fast   uint64
}

func (f *frameRow) usage() usage {
	return usage{
		frames: 1,
		stored: uint64(f.stored),
		raw:    refcount.Set(f.present).Bytes(int(f.pages)),
		unique: f.counts.Live().Bytes(int(f.pages)),
		live:   f.live(),
		fast:   f.fast(),
	}
}

// add adds what a frame adds.
func (c *Counters) add(u *usage) {
	c.Frames += u.frames
	c.StoredBytes += u.stored
	c.RawBytes += u.raw
	c.UniqueBytes += u.unique
	c.LiveBytes += u.live
}

// sub takes away what a frame has added.
func (c *Counters) sub(u *usage) {
	c.Frames -= u.frames
	c.StoredBytes -= u.stored
	c.RawBytes -= u.raw
	c.UniqueBytes -= u.unique
	c.LiveBytes -= u.live
}

func (s *segmentRow) add(u *usage) {
	s.frames += u.frames
	s.stored += u.stored
	s.live += u.live
	s.fast += u.fast
}

func (s *segmentRow) sub(u *usage) {
	s.frames -= u.frames
	s.stored -= u.stored
	s.live -= u.live
	s.fast -= u.fast
}

func (a *applier) initRefs() {
	a.refs.frames = make(map[pagemap.FrameID]*frameState)
	a.refs.segments = make(map[replication.SegmentID]*segmentState)
}

// frameOf returns the state of a frame, which may not be loaded.
func (a *applier) frameOf(id pagemap.FrameID) *frameState {
	s := a.refs.frames[id]
	if s != nil {
		return s
	}
	if s = a.refs.kept.take(uint64(id), id); s == nil {
		s = a.refs.newFrame()
		s.row.id = id
	} else if invariant.Enabled {
		a.checkFrame(s)
	}
	a.refs.frames[id] = s
	a.refs.list = append(a.refs.list, s)
	return s
}

func (r *refs) newFrame() *frameState {
	n := len(r.spare)
	if n == 0 {
		return &frameState{}
	}
	s := r.spare[n-1]
	r.spare = r.spare[:n-1]
	*s = frameState{row: frameRow{frame: frame{crcs: s.row.crcs[:0]}}}
	return s
}

// keepFrame keeps the state of a frame whose row is written. Where counts are wrong a state may not be what is written.
func (a *applier) keepFrame(s *frameState) {
	r := &a.refs
	if s.exists && a.state.mismatch == 0 {
		s.dirty = false
		s = r.kept.put(uint64(s.row.id), s.row.id, s)
	}
	if s != nil && len(r.spare) < maxSpare {
		r.spare = append(r.spare, s)
	}
}

// checkFrame compares a state that was kept with the index.
func (a *applier) checkFrame(s *frameState) {
	value, closer, err := a.db.Get(appendFrameKey(nil, s.row.id))
	if err != nil {
		invariant.Check(!errors.Is(err, pebble.ErrNotFound), "frame %d was kept and is not there", s.row.id)
		return
	}
	defer closer.Close()
	invariant.Check(bytes.Equal(value, appendFrameRow(nil, &s.row)) && s.usage == s.row.usage() && s.segment == s.row.at.Segment &&
		s.deltas == (refcount.Deltas{}) && s.loaded && s.exists && !s.dirty && !s.touched, "frame %d was kept as %+v and is %x", s.row.id, s, value)
}

// replaced keeps account of a page map entry that takes the place of another; either may be empty.
func (a *applier) replaced(was, is pagemap.Entry) {
	a.state.MappedBytes += uint64(is.Pages().Count())*PageSize - uint64(was.Pages().Count())*PageSize
	refcount.Changes(was, is, a.refer)
}

// refer adds n to the counts of the blocks that r touches.
func (a *applier) refer(r pagemap.Run, n int64) {
	s := a.refs.last
	if s == nil || s.row.id != r.Frame {
		s = a.frameOf(r.Frame)
		a.refs.last = s
	}
	s.deltas.Add(r, n)
	a.touchFrame(s)
}

func (a *applier) touchFrame(s *frameState) {
	if !s.touched {
		s.touched = true
		a.refs.touched = append(a.refs.touched, s)
	}
}

// settle brings the counts and everything that depends on them up to date.
func (a *applier) settle() error {
	if err := a.loadTouched(); err != nil {
		return err
	}
	for _, s := range a.refs.touched {
		if err := a.settleFrame(s); err != nil {
			return err
		}
	}
	a.refs.touched = a.refs.touched[:0]
	return nil
}

func (a *applier) settleFrame(s *frameState) error {
	s.touched = false
	if !s.exists {
		if s.deltas != (refcount.Deltas{}) {
			a.mismatched("frame %d is referred to and does not exist", s.row.id)
			s.deltas = refcount.Deltas{}
		}
		return nil
	}
	changed, wrong := s.row.counts.Apply(&s.deltas)
	s.deltas = refcount.Deltas{}
	if lost := s.row.counts.Live() &^ refcount.Set(s.row.present); lost != 0 {
		a.mismatched("frame %d: blocks %#x are referred to and are not stored", s.row.id, lost)
		for i := range s.row.counts {
			if lost.Has(i) {
				s.row.counts[i] = 0
			}
		}
	}
	if wrong != 0 {
		a.mismatched("frame %d: blocks %#x are given up more often than taken up", s.row.id, wrong)
	}
	if changed == 0 {
		return nil
	}
	s.dirty = true
	return a.account(s)
}

// account replaces what the totals have of the frame by what it is now.
func (a *applier) account(s *frameState) error {
	var u usage
	if s.exists {
		u = s.row.usage()
	}
	if u == s.usage && s.segment == s.row.at.Segment {
		return nil
	}
	a.state.sub(&s.usage)
	a.state.add(&u)
	if s.usage.frames > 0 {
		g, err := a.segment(s.segment)
		if err != nil {
			return err
		}
		g.sub(&s.usage)
	}
	if u.frames > 0 {
		g, err := a.segment(s.row.at.Segment)
		if err != nil {
			return err
		}
		g.add(&u)
	}
	s.usage, s.segment = u, s.row.at.Segment
	return nil
}

// segment returns the state of a segment, to be changed.
func (a *applier) segment(id replication.SegmentID) (*segmentState, error) {
	g := a.refs.segments[id]
	if g == nil {
		g = &segmentState{id: id}
		a.key = appendSegmentKey(a.key[:0], id)
		value, closer, err := a.db.Get(a.key)
		switch {
		case errors.Is(err, pebble.ErrNotFound):
		case err != nil:
			return nil, fmt.Errorf("index: segment %d: %w", id, err)
		default:
			g.segmentRow, err = decodeSegmentRow(value)
			if err = errors.Join(err, closer.Close()); err != nil {
				return nil, fmt.Errorf("%w: index: segment %d: %w", ErrCorrupt, id, err)
			}
		}
		a.refs.segments[id] = g
	}
	if !g.dirty {
		g.dirty = true
		a.refs.changed = append(a.refs.changed, g)
	}
	return g, nil
}

// mismatched records that the counts and what is applied contradict each other. From then on nothing is freed and
// nothing is moved: what seems unused may be in use.
func (a *applier) mismatched(format string, args ...any) {
	if a.state.mismatch != 0 {
		return
	}
	a.state.mismatch = a.lsn
	if a.mismatch != nil {
		a.mismatch(a.state.mismatch, fmt.Sprintf(format, args...))
	}
}

// loadTouched reads the rows of the frames that were referred to.
func (a *applier) loadTouched() error {
	todo := a.refs.touched
	unknown := 0
	for _, s := range todo {
		if !s.loaded {
			unknown++
		}
	}
	if unknown == 0 {
		return nil
	}
	if unknown > 1 {
		slices.SortFunc(todo, func(x, y *frameState) int { return cmp.Compare(x.row.id, y.row.id) })
	}
	for _, s := range todo {
		if !s.loaded {
			if err := a.loadFrame(s, unknown == 1); err != nil {
				return err
			}
		}
	}
	return nil
}

// loadFrame reads the row of a frame; alone says that no others are about to be read after it.
func (a *applier) loadFrame(s *frameState, alone bool) error {
	a.key = appendFrameKey(a.key[:0], s.row.id)
	if alone && a.refs.it == nil {
		value, closer, err := a.db.Get(a.key)
		if err == nil {
			err = errors.Join(a.decodeFrame(s, value), closer.Close())
		} else if errors.Is(err, pebble.ErrNotFound) {
			s.loaded, err = true, nil
		}
		return err
	}
	if a.refs.it == nil {
		it, err := a.db.NewIter(&pebble.IterOptions{LowerBound: []byte{rowFrame}, UpperBound: []byte{rowFrame + 1}})
		if err != nil {
			return err
		}
		a.refs.it = it
	}
	it := a.refs.it
	// What was stored together is used and given up together: the row is often the next one, and Pebble tries that first
	// when it seeks forward. A plain Next would walk over all the versions that a row much used has in memory.
	if it.SeekGE(a.key) && bytes.Equal(it.Key(), a.key) {
		value, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		return a.decodeFrame(s, value)
	}
	s.loaded = true
	return it.Error()
}

func (a *applier) decodeFrame(s *frameState, value []byte) error {
	if err := decodeFrameRow(&s.row, value); err != nil {
		return fmt.Errorf("%w: index: frame %d: %w", ErrCorrupt, s.row.id, err)
	}
	s.loaded, s.exists = true, true
	s.usage, s.segment = s.row.usage(), s.row.at.Segment
	return nil
}

// settled returns a frame with everything that was applied before settled.
func (a *applier) settled(id pagemap.FrameID) (*frameState, error) {
	if a.unflushed {
		if err := a.flushRegions(); err != nil {
			return nil, err
		}
	}
	s := a.frameOf(id)
	a.touchFrame(s)
	return s, a.settle()
}

// writeRefs writes the rows of frames and segments, at the end of a batch.
func (a *applier) writeRefs() error {
	if err := a.settle(); err != nil {
		return err
	}
	for _, s := range a.refs.list {
		if err := a.writeFrame(s); err != nil {
			return err
		}
		a.keepFrame(s)
	}
	clear(a.refs.list)
	clear(a.refs.frames)
	a.refs.list, a.refs.last = a.refs.list[:0], nil
	for _, g := range a.refs.changed {
		if err := a.writeSegment(g); err != nil {
			return err
		}
	}
	a.refs.changed = a.refs.changed[:0]
	if a.refs.it == nil {
		return nil
	}
	err := a.refs.it.Close()
	a.refs.it = nil
	return err
}

func (a *applier) writeFrame(s *frameState) error {
	if !s.dirty {
		return nil
	}
	a.key = appendFrameKey(a.key[:0], s.row.id)
	if !s.exists {
		return a.batch.Delete(a.key, nil)
	}
	a.value = appendFrameRow(a.value[:0], &s.row)
	return a.batch.Set(a.key, a.value, nil)
}

func (a *applier) writeSegment(g *segmentState) error {
	g.dirty = false
	a.key = appendSegmentKey(a.key[:0], g.id)
	if g.frames == 0 {
		delete(a.refs.segments, g.id)
		return a.batch.Delete(a.key, nil)
	}
	a.value = appendSegmentRow(a.value[:0], &g.segmentRow)
	return a.batch.Set(a.key, a.value, nil)
}
