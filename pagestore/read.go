package pagestore

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	framing "pagevault/pagestore/frame"
	"pagevault/pagestore/pagemap"
	"pagevault/replication"
)

// Read fills dst with the bytes of the volume at generation g from page first on. len(dst) is a multiple of PageSize.
// Invalid pages read as zeros. Every byte was checked against its checksum, or its seal, when it was fetched, during this call or, where
// a read before has expanded the same frame, then; a copy that is damaged or cannot be read is replaced by another
// member's. If there is none, the error is ErrCorrupt, naming volume, page,
// segment and offset, and dst holds nothing of use.
func (v *View) Read(vol VolumeID, g Gen, first PageNo, dst []byte) error {
	n := PageNo(len(dst) / PageSize)
	if len(dst)%PageSize != 0 || first > maxPages || n > maxPages-first {
		return fmt.Errorf("%w: %d bytes at page %d", ErrBadRange, len(dst), first)
	}
	r := v.s.readers.Get().(*extentReader)
	defer r.release()
	r.s, r.vol, r.first, r.dst, r.decoder.Ring = v.s, vol, first, dst, v.s.ring
	at, err := v.volume(vol, g, &r.row)
	if err != nil || n == 0 {
		return err
	}
	r.joined = len(dst)
	if _, err := r.plan(v.p, at, Range{first, first + n}); err != nil {
		return err
	}
	if err := r.locate(v.p); err != nil {
		return err
	}
	return r.read(r.extents)
}

// extentReader carries out one Read, or those of a Stream: plan finds out which frames fill which bytes, locate where the
// frames are, read fetches, checks, opens and expands. It is kept for its buffers.
type extentReader struct {
	s       *Store
	vol     VolumeID
	row     volumeRow
	first   PageNo
	dst     []byte
	regions regionIter
	extents []extent
	joined  int      // bytes up to which an extent goes on into the next region; from there on it ends with its own
	most    int      // extents from which on no region beyond joined is planned. 0: all are
	crcs    []uint32 // of all extents
	scratch []byte   // fetched
	content []byte   // of a frame, on its way into the cache
	decoder framing.Decoder
	key     []byte
	f       frameRow
}

// extent is a run of pages of one frame that fills dst[from:to].
type extent struct {
	from, to int
	frame    pagemap.FrameID
	off      int // page of the frame

	// Set by locate:
	header framing.Header
	span   framing.Span         // what is to be fetched of the frame
	at     replication.Position // of the span
	size   int                  // of the span
	exact  bool                 // the span's bytes are those wanted, and can be fetched straight into place
}

// end returns the page of the frame after the last one.
func (e *extent) end() int { return e.off + (e.to-e.from)/PageSize }

// whole reports whether the extent is all the content of its frame.
func (e *extent) whole() bool { return e.to-e.from == e.header.ContentBytes() }

// maxScratch is the most that is fetched at once beside what goes straight into place, and the largest buffer a reader
// keeps.
const maxScratch = 1 << 20

// maxExtents is how many extents a reader keeps the memory of, 160 bytes each: all of a MiB whose regions are in 16 pieces.
const maxExtents = 256

func (r *extentReader) release() {
	s := r.s
	r.letGo()
	if cap(r.scratch) > maxScratch {
		r.scratch = nil
	}
	s.readers.Put(r)
}

// letGo ends the use of a reader but for its memory.
func (r *extentReader) letGo() {
	clear(r.extents)
	r.s, r.dst, r.extents, r.crcs, r.decoder.Ring = nil, nil, r.extents[:0], r.crcs[:0], nil
	r.joined, r.most = 0, 0
	if cap(r.extents) > maxExtents || cap(r.crcs) > 16*maxExtents {
		r.extents, r.crcs = nil, nil
	}
}

// plan lists the extents that fill pages, in bytes from the first of them. It returns the end of the pages that it has come to.
func (r *extentReader) plan(p *picture, at Gen, pages Range) (end PageNo, err error) {
	if first, last := regionRange(pages); last == first+1 {
		ok, err := r.regions.only(p, r.vol, &r.row, at, first)
		if ok {
			r.planRegion(pages)
		}
		return pages.End, err
	}
	if err := r.regions.open(p.snap, r.vol, &r.row, at, pages); err != nil {
		return 0, err
	}
	defer r.regions.close()
	for {
		ok, err := r.regions.next()
		if !ok {
			return pages.End, err
		}
		begin := PageNo(r.regions.no * pagemap.RegionPages)
		if r.most > 0 && len(r.extents) >= r.most && begin >= pages.Start+PageNo(r.joined/PageSize) {
			return begin, nil
		}
		r.planRegion(pages)
	}
}

// planRegion lists the extents of the current region.
func (r *extentReader) planRegion(pages Range) {
	lo, hi := regionPart(pages, r.regions.no)
	base := PageNo(r.regions.no * pagemap.RegionPages)
	begin := len(r.extents)
	for _, run := range r.regions.entry {
		if run.Frame == pagemap.ZeroFrame || run.End() <= lo || int(run.First) >= hi {
			continue
		}
		run = run.Cut(lo, hi)
		from := int(base+PageNo(run.First)-pages.Start) * PageSize
		r.add(from, from+int(run.Pages)*PageSize, run, begin)
	}
}

// add adds the extent of a run that fills dst[from:to], to the one before if it continues that: a frame holds what was
// written together, in many regions perhaps. Those from begin on are of the same region.
func (r *extentReader) add(from, to int, run pagemap.Run, begin int) {
	if n := len(r.extents); n > begin || n > 0 && from < r.joined {
		last := &r.extents[n-1]
		if last.frame == run.Frame && last.to == from && last.end() == int(run.Off) {
			last.to = to
			return
		}
	}
	r.extents = append(r.extents, extent{from: from, to: to, frame: run.Frame, off: int(run.Off)})
}

// locate completes the extents with where their frames are stored.
func (r *extentReader) locate(p *picture) error {
	if len(r.extents) == 0 {
		return nil
	}
	var it *pebble.Iterator // for more than one frame: what was written together is read together, in order
	if len(r.extents) > 1 {
		var err error
		if it, err = p.snap.NewIter(&pebble.IterOptions{LowerBound: []byte{rowFrame}, UpperBound: []byte{rowFrame + 1}}); err != nil {
			return err
		}
		defer it.Close()
	}
	r.f.id = pagemap.ZeroFrame
	var header framing.Header
	for i := range r.extents {
		e := &r.extents[i]
		if e.frame != r.f.id {
			if err := r.findFrame(p, it, e.frame); err != nil {
				return r.corrupt(e, fmt.Errorf("frame %d: index: %w", e.frame, err))
			}
			header = r.f.header()
			n := len(r.crcs)
			r.crcs = append(r.crcs, header.CRCs...)
			header.CRCs = r.crcs[n:len(r.crcs):len(r.crcs)]
		}
		err := header.Check()
		if err == nil {
			e.span, err = header.Span(e.off, e.end())
		}
		if err != nil {
			return r.corrupt(e, fmt.Errorf("frame %d: index: %w", e.frame, err))
		}
		e.header, e.size = header, e.span.Size
		e.at = replication.Position{Segment: r.f.at.Segment, Offset: r.f.at.Offset + uint32(e.span.Off)}
		e.exact = header.Exact(e.span, e.off, e.end())
	}
	return nil
}

// header returns what is needed to read the frame; its checksums are those of f.
func (f *frame) header() framing.Header {
	return framing.Header{Pages: f.pages, Present: f.present, Codec: framing.Codec(f.codec),
		Session: f.session, Counter: f.counter, Stored: f.stored, CRCs: f.crcs}
}

// hotCount is how often a block is used from which its frame's row is taken to have many versions.
const hotCount = 16

// findFrame reads the row of a frame into r.f.
func (r *extentReader) findFrame(p *picture, it *pebble.Iterator, id pagemap.FrameID) error {
	r.f.id = pagemap.ZeroFrame
	r.key = appendFrameKey(r.key[:0], id)
	var value []byte
	if it == nil {
		v, err := p.get(r.key)
		if err == nil && v == nil {
			err = pebble.ErrNotFound
		}
		if err != nil {
			return err
		}
		value = v
	} else {
		// The row wanted is nearly always the next one. But Next walks over all versions that the row before has in memory,
		// and one that is used often has many: from there a seek is faster.
		hot := slices.Max(r.f.counts[:]) > hotCount
		if !(it.Valid() && !hot && it.Next() && bytes.Equal(it.Key(), r.key)) && !(it.SeekGE(r.key) && bytes.Equal(it.Key(), r.key)) {
			return errors.Join(pebble.ErrNotFound, it.Error())
		}
		var err error
		if value, err = it.ValueAndErr(); err != nil {
			return err
		}
	}
	if err := decodeFrameRow(&r.f, value); err != nil {
		return err
	}
	r.f.id = id
	return nil
}

// read fills dst: it fetches extents, and zeroes what none fills. Those that follow each other in a segment are fetched at once.
func (r *extentReader) read(extents []extent) error {
	filled := 0
	for i := range extents {
		clear(r.dst[filled:extents[i].from])
		filled = extents[i].to
	}
	clear(r.dst[filled:])
	for i := 0; i < len(extents); {
		e := &extents[i]
		if !e.exact && r.cached(e) {
			i++
			continue
		}
		end, size := i+1, e.size
		for end < len(extents) && r.follows(&extents[end-1], &extents[end], size) {
			size += extents[end].size
			end++
		}
		if err := r.fetch(extents[i:end], size); err != nil {
			return err
		}
		i = end
	}
	return nil
}

// follows reports whether b, the extent after a, is fetched together with it and what was fetched before, size bytes.
func (r *extentReader) follows(a, b *extent, size int) bool {
	if a.exact != b.exact || a.at.Segment != b.at.Segment || a.at.Offset+uint32(a.size) != b.at.Offset {
		return false
	}
	if a.exact {
		return a.to == b.from
	}
	return size+b.size <= maxScratch
}

// fetch reads extents that follow each other in a segment, size bytes, and decodes each.
func (r *extentReader) fetch(extents []extent, size int) error {
	first := &extents[0]
	var buf []byte
	if first.exact {
		buf = r.dst[first.from:extents[len(extents)-1].to]
	} else {
		if cap(r.scratch) < size {
			r.scratch = make([]byte, max(size, pagemap.RegionBytes))
		}
		buf = r.scratch[:size]
	}
	failed := r.s.log.ReadAt(buf, first.at)
	for i := range extents {
		e := &extents[i]
		stored := buf[:e.size]
		buf = buf[e.size:]
		if failed != nil || r.decode(e, stored) != nil {
			if err := r.recover(e, stored); err != nil {
				return err
			}
		}
	}
	return nil
}

// decode fills the extent's part of dst from the stored bytes of its span, which it may change. A frame of which more is
// decoded than is wanted goes into the cache.
func (r *extentReader) decode(e *extent, stored []byte) error {
	dst := r.dst[e.from:e.to]
	if e.exact {
		return e.header.Verify(e.span, stored)
	}
	if !e.cacheable() {
		return r.decoder.Read(dst, &e.header, e.span, e.off, e.end(), stored)
	}
	if r.content == nil {
		r.content = make([]byte, framing.MaxBytes)
	}
	content := r.content[:e.header.ContentBytes()]
	if err := r.decoder.Content(content, &e.header, stored); err != nil {
		return err
	}
	copy(dst, content[e.header.Offset(e.off):])
	r.content = r.s.frames.add(e.frame, e.header.Present, content)
	return nil
}

// cacheable reports whether reading the extent decodes much more than is wanted.
func (e *extent) cacheable() bool {
	return e.header.Codec != framing.Raw && !e.whole() && e.header.ContentBytes() >= minCached
}

// cached fills the extent's part of dst from the cache of frames, if they are there.
func (r *extentReader) cached(e *extent) bool {
	return e.header.Codec != framing.Raw && e.header.ContentBytes() >= minCached &&
		r.s.frames.read(r.dst[e.from:e.to], e.frame, &e.header, e.off)
}

var errChecksum = framing.ErrChecksum

// recover decodes e from any copy that is intact, into buf of the span's size.
func (r *extentReader) recover(e *extent, buf []byte) error {
	if err := r.s.log.ReadChecked(buf, e.at, func(stored []byte) error { return r.decode(e, stored) }); err != nil {
		return r.corrupt(e, err)
	}
	return nil
}

func (r *extentReader) corrupt(e *extent, cause error) error {
	return fmt.Errorf("%w: volume %d page %d: segment %d offset %d: %w", ErrCorrupt,
		r.vol, r.first+PageNo(e.from/PageSize), e.at.Segment, e.at.Offset, cause)
}
