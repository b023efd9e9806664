package pagestore

import (
	"bytes"
	"container/list"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"pagevault/internal/digest"
	framing "pagevault/pagestore/frame"
	"pagevault/pagestore/pagemap"
	"pagevault/replication"
)

// frames checks the content: it goes through the records of the log, where the names of chunks stand beside the frames,
// and checks each frame that the index has in the place the record is about. Frames that no record is about are read as
// their rows say. Names of chunks that no record brings are compared with the bytes they lead to.
func (c *checker) frames() error {
	c.phase("frames")
	f := &frameCheck{c: c, seen: frameSet{}, decoded: newDecodedFrames(), decoder: framing.Decoder{Ring: c.s.ring}}
	ids := make([]replication.SegmentID, 0, len(c.segments))
	for id := range c.segments {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		if c.segments[id].First > c.state.applied {
			break
		}
		if err := f.segment(id); err != nil {
			return err
		}
	}
	if err := f.others(); err != nil {
		return err
	}
	c.phase("names")
	return f.unmatchedChunks()
}

// frameCheck is the last pass of a check.
type frameCheck struct {
	c       *checker
	seen    frameSet
	row     frameRow
	dec     commitDecoder
	stored  []byte
	copy    []byte
	content []byte
	runs    pagemap.Entry
	region  []byte
	decoded decodedFrames
	chunks  chunkSums
	decoder framing.Decoder
	keep    error // that ended the reading of a segment early
}

var errEnough = errors.New("no further records are wanted")

// segment checks the frames that the records of a segment are about.
func (f *frameCheck) segment(id replication.SegmentID) error {
	f.keep = nil
	err := f.c.s.log.SegmentRecords(id, func(r *replication.Record) error {
		if r.LSN > f.c.state.applied {
			return errEnough
		}
		if err := f.record(r); err != nil {
			f.keep = err
			return errEnough
		}
		return f.c.ctx.Err()
	})
	switch {
	case f.keep != nil:
		return f.keep
	case f.c.ctx.Err() != nil:
		return f.c.ctx.Err()
	case err == nil || errors.Is(err, errEnough) || errors.Is(err, replication.ErrDropped):
		return nil
	case errors.Is(err, replication.ErrCorrupt):
		f.c.found(Problem{Kind: KindLogLost, Severity: SeverityError, At: replication.Position{Segment: id},
			Text: fmt.Sprintf("its records cannot be read to their end on any member, so the names of its chunks are not checked: %v", err)})
		return nil
	}
	return err
}

// record checks the frames that a record is about, and the header of the store.
func (f *frameCheck) record(r *replication.Record) error {
	if len(r.Meta) > 0 && r.Meta[0] == recordGenesis {
		f.header(r.Meta)
		return nil
	}
	if err := f.dec.reset(r.Meta); err != nil {
		f.undecodable(r, err)
		return nil
	}
	at := r.At
	for f.dec.next() {
		if k := f.dec.op.kind; k == opFrame || k == opMove {
			stored := f.dec.op.frame.stored
			if err := f.op(&f.dec.op.frame, at); err != nil {
				return err
			}
			at.Offset += stored
		}
		for f.dec.region() {
		}
	}
	if f.dec.err != nil {
		f.undecodable(r, f.dec.err)
	}
	return nil
}

func (f *frameCheck) undecodable(r *replication.Record, err error) {
	f.c.found(Problem{Kind: KindRecordWrong, Severity: SeverityError, At: r.At, Text: fmt.Sprintf("record %d has its checksum and cannot be read: %v", r.LSN, err)})
}

func (f *frameCheck) header(meta []byte) {
	f.c.get(headerKey, func(value []byte) {
		if !bytes.Equal(value, meta) {
			f.c.errorf(KindHeaderWrong, "the header of the store in the index is not that of the log")
		}
	})
}

// op checks a frame if the index still has it where this operation has put it.
func (f *frameCheck) op(o *frame, at replication.Position) error {
	if !f.load(o.id) || f.row.at != at {
		return nil
	}
	f.seen.add(o.id)
	if why := differs(&f.row.frame, o); why != "" {
		f.c.found(Problem{Kind: KindFramePosition, Severity: SeverityError, Frame: o.id, At: at, Length: int64(o.stored),
			Text: "its row and the record that stored it disagree: " + why})
		return nil
	}
	content, err := f.read()
	if err != nil || content == nil {
		return err
	}
	for i := range o.chunks {
		f.chunk(&o.chunks[i], content)
	}
	return f.regions(o.id)
}

// load reads the row of a frame into f.row, and reports whether there is one that can be read.
func (f *frameCheck) load(id pagemap.FrameID) (ok bool) {
	var key [1 + 8]byte
	f.c.get(appendFrameKey(key[:0], id), func(value []byte) {
		ok = value != nil && decodeFrameRow(&f.row, value) == nil
	})
	f.row.id = id
	return ok
}

// differs says in what a row and the operation it comes from disagree.
func differs(row, o *frame) string {
	switch {
	case row.pages != o.pages || row.present != o.present:
		return fmt.Sprintf("%d pages, blocks %#x, and %d pages, blocks %#x", row.pages, row.present, o.pages, o.present)
	case row.codec != o.codec || row.stored != o.stored:
		return fmt.Sprintf("%d bytes by codec %d, and %d by %d", row.stored, row.codec, o.stored, o.codec)
	case row.session != o.session || row.counter != o.counter:
		return fmt.Sprintf("session %d counter %d, and %d, %d", row.session, row.counter, o.session, o.counter)
	case !slices.Equal(row.crcs, o.crcs):
		return "checksums"
	}
	return ""
}

// others reads the frames that no record was about.
func (f *frameCheck) others() error {
	return f.c.each([]byte{rowFrame}, func(key, value []byte) error {
		id, err := decodeFrameKey(key)
		if err != nil || f.seen.has(id) || decodeFrameRow(&f.row, value) != nil {
			return f.c.step()
		}
		f.row.id = id
		f.c.found(Problem{Kind: KindFramePosition, Severity: SeverityError, Frame: id, At: f.row.at, Length: int64(f.row.stored),
			Text: "no record says that it was stored there"})
		if _, err := f.read(); err != nil {
			return err
		}
		return f.c.step()
	})
}

// read returns the content of the frame f.row, having checked its copies; nil if it cannot be had.
func (f *frameCheck) read() ([]byte, error) {
	h := frameHeader(&f.row.frame)
	if h.Check() != nil {
		return nil, nil // the row is damaged, which decoding it has shown
	}
	whole, err := f.fetch(&h)
	if err != nil || !whole {
		return nil, err
	}
	if n := h.ContentBytes(); cap(f.content) < n {
		f.content = make([]byte, n, pagemap.RegionBytes)
	}
	f.content = f.content[:h.ContentBytes()]
	if err := f.decoder.Content(f.content, &h, f.stored); err != nil {
		f.c.found(f.problem(KindFrameUndecodable, 0, fmt.Sprintf("its bytes have their checksum and cannot be opened: %v", err)))
		return nil, nil
	}
	f.c.summary.Frames++
	f.decoded.put(f.row.id, &h, f.content)
	return f.content, nil
}

func (f *frameCheck) problem(kind Kind, member int, text string) Problem {
	return Problem{Kind: kind, Severity: SeverityError, Member: member, Frame: f.row.id, At: f.row.at, Length: int64(f.row.stored), Text: text}
}

// fetch reads the stored bytes of f.row into f.stored, and reports whether a member could give them. Where the log was
// found damaged every copy is read, so that each bad one is known; elsewhere one is enough: all bytes of all copies were
// compared with the checksums of their records.
func (f *frameCheck) fetch(h *framing.Header) (ok bool, err error) {
	c := f.c
	all := c.damaged.has(f.row.at)
	if cap(f.stored) < int(h.Stored) {
		f.stored, f.copy = make([]byte, maxStored), make([]byte, maxStored)
	}
	f.stored, f.copy = f.stored[:h.Stored], f.copy[:h.Stored]
	var bad []Problem
	failed := c.s.log.ReadCopies(f.copy, f.row.at, func(member int, cause error) bool {
		if err = c.readBytes(int64(h.Stored)); err != nil {
			return false
		}
		var blocks uint16
		if cause == nil {
			blocks, cause = f.compare(h)
		}
		if cause != nil {
			p := f.problem(KindFrameCopy, member+1, cause.Error())
			p.Severity, p.blocks = SeverityWarning, blocks
			bad = append(bad, p)
			return true
		}
		if !ok {
			copy(f.stored, f.copy)
		}
		ok = true
		return all
	})
	switch {
	case err != nil:
		return false, err
	case ok:
		for _, p := range bad {
			c.found(p)
		}
		return true, nil
	}
	c.found(f.lost(bad, failed))
	return false, nil
}

// lost returns the problem that nobody has f.row, of which the copies that were looked at are bad. failed is why there are
// not more of them.
func (f *frameCheck) lost(bad []Problem, failed error) Problem {
	lost := f.problem(KindFrameLost, 0, "no member has it")
	lost.blocks = ^uint16(0)
	var causes []string
	for _, p := range bad {
		who := "all members together"
		if p.Member > 0 {
			who = fmt.Sprintf("member %d", p.Member)
		}
		causes = append(causes, who+": "+p.Text)
		if p.blocks == 0 {
			p.blocks = ^uint16(0)
		}
		lost.blocks &= p.blocks
	}
	if failed != nil {
		causes = append(causes, failed.Error())
	}
	if len(causes) > 0 {
		lost.Text += ": " + strings.Join(causes, "; ")
	}
	return lost
}

// compare compares the copy in f.copy with its checksums. With an error comes the set of blocks that are damaged, 0 for all
// of them.
func (f *frameCheck) compare(h *framing.Header) (blocks uint16, cause error) {
	for page := 0; page < int(h.Pages); page += pagemap.ChunkPages {
		block := page / pagemap.ChunkPages
		s, err := h.Span(page, min(page+pagemap.ChunkPages, int(h.Pages)))
		if err != nil {
			continue // not present
		}
		if err := h.Verify(s, f.copy[s.Off:s.Off+s.Size]); err != nil {
			if h.Codec != framing.Raw {
				return 0, err
			}
			blocks, cause = blocks|1<<block, err
		}
	}
	return blocks, cause
}

// chunk compares a chunk with its name, and the name's row.
func (f *frameCheck) chunk(ch *namedChunk, content []byte) {
	h := frameHeader(&f.row.frame)
	var name digest.Digest
	f.c.s.hasher.Sum(&name, f.pages(&h, content, int(ch.off), pagemap.ChunkPages))
	at := chunkRef{f.row.id, ch.off}
	if name != ch.name {
		p := f.problem(KindChunkWrong, 0, fmt.Sprintf("pages [%d,%d) have the name %x, and were stored under the name %x", ch.off, ch.off+pagemap.ChunkPages, name[:], ch.name[:]))
		p.blocks = blockSpan(int(ch.off), int(ch.off)+pagemap.ChunkPages)
		f.c.found(p)
		return
	}
	f.c.get(appendDigestKey(nil, rowChunk, &name), func(value []byte) {
		if found, err := decodeChunkRow(value); value != nil && err == nil && found == at {
			f.chunks.matched(&name, at)
		}
	})
}

// pages returns n pages of a frame from page off on. The content holds the present blocks only; a chunk lies in blocks
// that follow each other there as well.
func (f *frameCheck) pages(h *framing.Header, content []byte, off, n int) []byte {
	from := h.Offset(off)
	return content[from : from+n*PageSize]
}

// regions compares the named regions that begin in a frame with their names.
func (f *frameCheck) regions(id pagemap.FrameID) error {
	return f.c.each(appendBackKey(nil, id, nil), func(key, _ []byte) error {
		_, name, err := decodeBackKey(key)
		if err != nil {
			return nil
		}
		f.c.get(appendDigestKey(nil, rowRegion, &name), func(value []byte) {
			if f.runs, err = decodeRegionRow(f.runs[:0], value); value == nil || err != nil {
				return // reported with the rows
			}
			var found digest.Digest
			if f.assemble() {
				f.c.s.hasher.Sum(&found, f.region)
				if found != name {
					f.c.found(Problem{Kind: KindRegionWrong, Severity: SeverityError, Frame: id,
						Text: fmt.Sprintf("the region named %x begins in it, and what it leads to has the name %x", name[:], found[:])})
				}
			}
		})
		return f.c.step()
	})
}

// assemble fills f.region with what f.runs lead to. It returns false if something of it is gone, as may be, or cannot be
// read, which is reported with the frame.
func (f *frameCheck) assemble() bool {
	if f.region == nil {
		f.region = make([]byte, pagemap.RegionBytes)
	}
	row := f.row // reading other frames changes it
	row.crcs = slices.Clone(row.crcs)
	defer func() { f.row = row }()
	for _, run := range f.runs {
		dst := f.region[int(run.First)*PageSize : run.End()*PageSize]
		if run.Frame == pagemap.ZeroFrame {
			clear(dst)
			continue
		}
		d := f.decoded.get(run.Frame)
		if d == nil {
			if d = f.decode(run.Frame); d == nil {
				return false
			}
		}
		from, to := int(run.Off), int(run.Off)+int(run.Pages)
		if to > int(d.header.Pages) || blockSpan(from, to)&^d.header.Present != 0 {
			return false
		}
		copy(dst, f.pages(&d.header, d.content, from, int(run.Pages)))
	}
	return true
}

// decode reads a frame beside the one that is checked, without reporting anything.
func (f *frameCheck) decode(id pagemap.FrameID) *decodedFrame {
	if !f.load(id) {
		return nil
	}
	h := frameHeader(&f.row.frame)
	buf := make([]byte, h.Stored)
	if f.c.readBytes(int64(h.Stored)) != nil {
		return nil
	}
	content := make([]byte, h.ContentBytes())
	err := f.c.s.log.ReadChecked(buf, f.row.at, func(stored []byte) error { return f.decoder.Content(content, &h, stored) })
	if err != nil {
		return nil
	}
	return f.decoded.put(id, &h, content)
}

// decodedMax is how many frames are kept: what is repeated together lies together. 16 MiB of content.
const decodedMax = 256

// decodedFrames keeps contents of frames, the least recently used leaving first.
type decodedFrames struct {
	byID map[pagemap.FrameID]*list.Element // of *decodedFrame
	used *list.List
}

type decodedFrame struct {
	id      pagemap.FrameID
	header  framing.Header
	content []byte
}

func newDecodedFrames() decodedFrames {
	return decodedFrames{map[pagemap.FrameID]*list.Element{}, list.New()}
}

func (d *decodedFrames) get(id pagemap.FrameID) *decodedFrame {
	e := d.byID[id]
	if e == nil {
		return nil
	}
	d.used.MoveToFront(e)
	return e.Value.(*decodedFrame)
}

// put keeps a copy of a content.
func (d *decodedFrames) put(id pagemap.FrameID, h *framing.Header, content []byte) *decodedFrame {
	if old := d.get(id); old != nil {
		return old
	}
	f := &decodedFrame{id: id}
	if d.used.Len() >= decodedMax {
		f = d.used.Remove(d.used.Back()).(*decodedFrame)
		delete(d.byID, f.id)
	}
	f.id, f.header, f.content = id, *h, append(f.content[:0], content...)
	f.header.CRCs = nil // of another's memory, and not wanted any more
	d.byID[id] = d.used.PushFront(f)
	return f
}

// chunkSums tells whether every row of a chunk was met by a record that brings its name. Rows and meetings are summed up
// by the first bits of the name; where the sums differ the rows are looked at one by one.
type chunkSums struct{ sums [chunkParts]uint64 }

// chunkParts is a compromise between memory, 32 KiB, and rows to be looked at for one that is wrong.
const chunkParts = 1 << 12

func chunkPart(name *digest.Digest) int {
	return int(binary.BigEndian.Uint16(name[:]) >> 4)
}

// term stands for a row in a sum.
func chunkTerm(name *digest.Digest, at chunkRef) uint64 {
	x := binary.LittleEndian.Uint64(name[8:]) ^ uint64(at.frame)*0x9e3779b97f4a7c15 ^ uint64(at.off)<<56
	x ^= x >> 31
	return x * 0xbf58476d1ce4e5b9
}

func (s *chunkSums) matched(name *digest.Digest, at chunkRef) {
	s.sums[chunkPart(name)] -= chunkTerm(name, at)
}

// unmatchedChunks looks at the rows of chunks that no record was found for.
func (f *frameCheck) unmatchedChunks() error {
	err := f.c.each([]byte{rowChunk}, func(key, value []byte) error {
		if name, at, ok := decodeChunk(key, value); ok {
			f.chunks.sums[chunkPart(&name)] += chunkTerm(&name, at)
		}
		return f.c.step()
	})
	for part, sum := range f.chunks.sums {
		if err != nil {
			break
		}
		if sum != 0 {
			err = f.chunksOf(part)
		}
	}
	return err
}

func decodeChunk(key, value []byte) (name digest.Digest, at chunkRef, ok bool) {
	name, err := decodeNameKey(key)
	if err != nil {
		return name, at, false
	}
	at, err = decodeChunkRow(value)
	return name, at, err == nil
}

// chunksOf compares the names of one part with the bytes they lead to.
func (f *frameCheck) chunksOf(part int) error {
	err := f.c.each([]byte{rowChunk, byte(part >> 4)}, func(key, value []byte) error {
		if name, at, ok := decodeChunk(key, value); ok && chunkPart(&name) == part {
			f.compareChunk(&name, at)
		} else if ok && chunkPart(&name) > part {
			return io.EOF
		}
		return f.c.step()
	})
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func (f *frameCheck) compareChunk(name *digest.Digest, at chunkRef) {
	d := f.decoded.get(at.frame)
	if d == nil {
		if d = f.decode(at.frame); d == nil {
			return // reported with the rows, or with the frame
		}
	}
	from, to := int(at.off), int(at.off)+pagemap.ChunkPages
	if to > int(d.header.Pages) || blockSpan(from, to)&^d.header.Present != 0 {
		return // reported with the rows
	}
	var found digest.Digest
	f.c.s.hasher.Sum(&found, f.pages(&d.header, d.content, from, pagemap.ChunkPages))
	if found != *name {
		f.c.found(Problem{Kind: KindChunkWrong, Severity: SeverityError, Frame: at.frame, blocks: blockSpan(from, to),
			Text: fmt.Sprintf("the name %x leads to its pages [%d,%d), which have the name %x", name[:], from, to, found[:])})
	}
}

// frameHeader returns the header of a frame. It shares the checksums.
func frameHeader(f *frame) framing.Header {
	return framing.Header{Pages: f.pages, Present: f.present, Codec: framing.Codec(f.codec), Session: f.session,
		Counter: f.counter, Stored: f.stored, CRCs: f.crcs}
}
