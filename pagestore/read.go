package pagestore

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/cockroachdb/pebble/v2"

	"pagevault/pagestore/pagemap"
	"pagevault/replication"
)

// Read fills dst with the bytes of the volume at generation g from page first on. len(dst) is a multiple of PageSize.
// Invalid pages read as zeros. Every byte was checked against its checksum during this call; a copy that is damaged or
// cannot be read is replaced by another member's. If there is none, the error is ErrCorrupt, naming volume, page,
// segment and offset, and dst holds nothing of use.
func (v *View) Read(vol VolumeID, g Gen, first PageNo, dst []byte) error {
	n := PageNo(len(dst) / PageSize)
	if len(dst)%PageSize != 0 || first > maxPages || n > maxPages-first {
		return fmt.Errorf("%w: %d bytes at page %d", ErrBadRange, len(dst), first)
	}
	r := v.s.readers.Get().(*extentReader)
	defer r.release()
	r.s, r.vol, r.first, r.dst = v.s, vol, first, dst
	at, err := v.volume(vol, g, &r.row)
	if err != nil || n == 0 {
		return err
	}
	if err := r.plan(v.snap, at, Range{first, first + n}); err != nil {
		return err
	}
	if err := r.locate(v.snap); err != nil {
		return err
	}
	return r.read()
}

// extentReader carries out one Read: plan finds out which frames fill which bytes, locate where the frames are, read
// fetches and checks. It is kept for its buffers.
type extentReader struct {
	s       *Store
	vol     VolumeID
	row     volumeRow
	first   PageNo
	dst     []byte
	regions regionIter
	extents []extent
	crcs    []uint32 // of all extents
	scratch []byte
	key     []byte
	f       frameRow
}

// extent is a run of pages of one frame that fills dst[from:to].
type extent struct {
	from, to int
	frame    pagemap.FrameID
	off      int // page of the frame

	// Set by locate. Checksums cover blocks of 8 pages, so whole blocks are read:
	at   replication.Position // of the first block
	lead int                  // bytes of it before dst[from]
	size int                  // bytes of all blocks; lead+(to-from) or more
	crcs []uint32
}

// whole reports whether the blocks hold exactly the bytes wanted, so that they can be read straight into place.
func (e *extent) whole() bool { return e.size == e.to-e.from }

// maxScratch is the largest buffer a reader keeps.
const maxScratch = 1 << 20

func (r *extentReader) release() {
	s := r.s
	clear(r.extents)
	r.s, r.dst, r.extents, r.crcs = nil, nil, r.extents[:0], r.crcs[:0]
	if cap(r.scratch) > maxScratch {
		r.scratch = nil
	}
	s.readers.Put(r)
}

// plan lists the extents that fill dst and zeroes what none fills.
func (r *extentReader) plan(from reader, at Gen, pages Range) error {
	if err := r.regions.open(from, r.vol, &r.row, at, pages); err != nil {
		return err
	}
	defer r.regions.close()
	filled := 0
	for {
		ok, err := r.regions.next()
		if err != nil {
			return err
		}
		if !ok {
			clear(r.dst[filled:])
			return nil
		}
		lo, hi := regionPart(pages, r.regions.no)
		base := PageNo(r.regions.no * pagemap.RegionPages)
		for _, run := range r.regions.entry {
			if run.Frame == pagemap.ZeroFrame || run.End() <= lo || int(run.First) >= hi {
				continue
			}
			run = run.Cut(lo, hi)
			from := int(base+PageNo(run.First)-pages.Start) * PageSize
			clear(r.dst[filled:from])
			filled = from + int(run.Pages)*PageSize
			r.extents = append(r.extents, extent{from: from, to: filled, frame: run.Frame, off: int(run.Off)})
		}
	}
}

// locate completes the extents with where their frames are stored.
func (r *extentReader) locate(from reader) error {
	if len(r.extents) == 0 {
		return nil
	}
	var it *pebble.Iterator // for more than one frame: what was written together is read together, in order
	if len(r.extents) > 1 {
		var err error
		if it, err = from.NewIter(&pebble.IterOptions{LowerBound: []byte{rowFrame}, UpperBound: []byte{rowFrame + 1}}); err != nil {
			return err
		}
		defer it.Close()
	}
	r.f.id = pagemap.ZeroFrame
	for i := range r.extents {
		e := &r.extents[i]
		if e.frame != r.f.id {
			if err := r.findFrame(from, it, e.frame); err != nil {
				return r.corrupt(e, fmt.Errorf("frame %d: index: %w", e.frame, err))
			}
		}
		pages := (e.to - e.from) / PageSize
		if e.off+pages > int(r.f.pages) {
			return r.corrupt(e, fmt.Errorf("pages [%d,%d) of frame %d, which has %d", e.off, e.off+pages, e.frame, r.f.pages))
		}
		first, last := e.off/pagemap.ChunkPages, blocks(e.off+pages)
		n := len(r.crcs)
		r.crcs = append(r.crcs, r.f.crcs[first:last]...)
		e.crcs = r.crcs[n:len(r.crcs):len(r.crcs)]
		e.at = replication.Position{Segment: r.f.at.Segment, Offset: r.f.at.Offset + uint32(first*pagemap.ChunkBytes)}
		e.lead = e.off*PageSize - first*pagemap.ChunkBytes
		e.size = min(last*pagemap.ChunkBytes, int(r.f.stored)) - first*pagemap.ChunkBytes
	}
	return nil
}

// findFrame reads the row of a frame into r.f.
func (r *extentReader) findFrame(from reader, it *pebble.Iterator, id pagemap.FrameID) error {
	r.f.id = pagemap.ZeroFrame
	r.key = appendFrameKey(r.key[:0], id)
	var value []byte
	if it == nil {
		v, closer, err := from.Get(r.key)
		if err != nil {
			return err
		}
		defer closer.Close()
		value = v
	} else {
		if !(it.Valid() && it.Next() && bytes.Equal(it.Key(), r.key)) && !(it.SeekGE(r.key) && bytes.Equal(it.Key(), r.key)) {
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
	if f := &r.f; f.codec != codecRaw || f.session != 0 || f.present != allBlocks(int(f.pages)) {
		return fmt.Errorf("stored with codec %d, session %d, blocks %#x", f.codec, f.session, f.present)
	}
	r.f.id = id
	return nil
}

// read fetches and checks all extents. Extents that follow each other both in dst and in a segment are read at once.
func (r *extentReader) read() error {
	for i := 0; i < len(r.extents); {
		e := &r.extents[i]
		if !e.whole() {
			if err := r.readPart(e); err != nil {
				return err
			}
			i++
			continue
		}
		end := i + 1
		for end < len(r.extents) && r.follows(&r.extents[end-1], &r.extents[end]) {
			end++
		}
		err := r.s.log.ReadAt(r.dst[e.from:r.extents[end-1].to], e.at)
		for ; i < end; i++ {
			e := &r.extents[i]
			if buf := r.dst[e.from:e.to]; err != nil || !intact(buf, e.crcs) {
				if err := r.recover(e, buf); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// follows reports whether b continues a in dst and in the segment, both whole.
func (r *extentReader) follows(a, b *extent) bool {
	return b.whole() && a.to == b.from && a.at.Segment == b.at.Segment && a.at.Offset+uint32(a.size) == b.at.Offset
}

// readPart reads the blocks around an extent that does not fill them, and copies what is wanted.
func (r *extentReader) readPart(e *extent) error {
	if cap(r.scratch) < e.size {
		r.scratch = make([]byte, max(e.size, pagemap.RegionBytes))
	}
	buf := r.scratch[:e.size]
	if err := r.s.log.ReadAt(buf, e.at); err != nil || !intact(buf, e.crcs) {
		if err := r.recover(e, buf); err != nil {
			return err
		}
	}
	copy(r.dst[e.from:e.to], buf[e.lead:])
	return nil
}

// intact reports whether every block of buf has its checksum.
func intact(buf []byte, crcs []uint32) bool {
	for _, want := range crcs {
		n := min(len(buf), pagemap.ChunkBytes)
		if crc32.Checksum(buf[:n], castagnoli) != want {
			return false
		}
		buf = buf[n:]
	}
	return true
}

var errChecksum = errors.New("checksum mismatch")

// recover fills buf with the blocks of e from the first member whose copy is intact.
func (r *extentReader) recover(e *extent, buf []byte) error {
	var errs []error
	for m := range r.s.o.Members {
		err := r.s.log.ReadMemberAt(m, buf, e.at)
		if err == nil && !intact(buf, e.crcs) {
			err = errChecksum
		}
		if err == nil {
			return nil
		}
		if f := r.s.o.Events.DamagedCopy; f != nil {
			f(m, e.at, e.size, err)
		}
		errs = append(errs, fmt.Errorf("member %d: %w", m, err))
	}
	return r.corrupt(e, errors.Join(errs...))
}

func (r *extentReader) corrupt(e *extent, cause error) error {
	return fmt.Errorf("%w: volume %d page %d: segment %d offset %d: %w", ErrCorrupt,
		r.vol, r.first+PageNo(e.from/PageSize), e.at.Segment, e.at.Offset, cause)
}
