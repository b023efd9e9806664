package pagestore

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"pagevault/internal/invariant"
	framing "pagevault/pagestore/frame"
	"pagevault/pagestore/gc"
	"pagevault/pagestore/pagemap"
	"pagevault/replication"
)

// Space comes back a segment at a time. What is still used of one is stored anew, at the end of the log, by records like
// any other: a move gives a frame its new place, a free ends one. Then no frame row points into the segment, and once a
// checkpoint stands for its records and nobody reads through an older picture of the index, it is dropped.
//
// A block that nothing uses may be taken up again by a writer who finds its name, so that it costs nothing to write again
// what was deleted a moment ago. That it does not happen while the block is being freed is the business of condemned: no
// block goes whose count was not 0 in two pictures, with nobody between them who could still have taken it up.
//
// One goroutine at a time compacts. A crash at any moment leaves records that were appended and no others, each of which
// is right by itself: what is left of the segment is compacted again.

const (
	// compactData bounds the stored bytes of a record of a compaction, as many as those of a write.
	compactData = 4 << 20
	// compactOps bounds its operations, when frames are small or only freed: some milliseconds of the goroutine that
	// applies.
	compactOps = 1024
	// compactYield is how much slower a compaction at a bounded rate is while others wait for their records.
	compactYield = 4
)

// compaction is the rewriting of one segment.
type compaction struct {
	s       *Store
	segment replication.SegmentID
	pace    *limiter
	frames  []doomedFrame
	names   []namedChunk // of all frames

	decoder framing.Decoder
	encoder framing.Encoder
	row     frameRow
	key     []byte
	fetched []byte
	content []byte

	arena []byte // stored forms of the record that is being made
	ops   []txOp // their from and to are offsets in buf
	buf   []byte
	gone  []namedChunk
	held  []namedChunk

	moved, freed int
	bytes        int64 // stored anew
}

// doomedFrame is a frame that lies in the segment.
type doomedFrame struct {
	id        pagemap.FrameID
	offset    uint32 // in the segment
	condemned uint16
	from, to  int32 // names[from:to] are its chunks
}

// compact rewrites a sealed segment, so that nothing is stored in it any more.
func (s *Store) compact(ctx context.Context, id replication.SegmentID, pace *limiter) (moved, freed int, bytes int64, err error) {
	c := &compaction{s: s, segment: id, pace: pace}
	c.decoder.Ring, c.encoder = s.ring, s.encoder(framing.Dense)
	if s.method == framing.Store {
		c.encoder.Method = framing.Store
	}
	err = c.run(ctx)
	return c.moved, c.freed, c.bytes, err
}

func (c *compaction) run(ctx context.Context) error {
	if err := c.s.flight.settle(); err != nil { // or frames could still be on their way out of the segment
		return err
	}
	err := c.s.log.SegmentRecords(c.segment, func(r *replication.Record) error { return c.list(ctx, r) })
	if err == nil {
		err = c.condemn()
	}
	if err != nil {
		return fmt.Errorf("segment %d: %w", c.segment, err)
	}
	return c.rewrite(ctx, c.s.flight.newcomer())
}

// rewrite stores anew, or frees, what condemn has found. looked is what newcomer has returned since.
func (c *compaction) rewrite(ctx context.Context, looked uint64) error {
	defer c.s.pardonWhenLanded()
	if err := c.s.drain(looked); err != nil {
		return err
	}
	v, err := c.s.View()
	if err != nil {
		return err
	}
	defer v.Close()
	for i := range c.frames {
		if err := c.frame(ctx, v, &c.frames[i]); err != nil {
			return fmt.Errorf("segment %d: %w", c.segment, err)
		}
	}
	return c.commit(ctx)
}

// list adds the frames that a record stores in the segment.
func (c *compaction) list(ctx context.Context, r *replication.Record) error {
	if r.LSN == 1 {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	var d commitDecoder
	if err := d.reset(r.Meta); err != nil {
		return err
	}
	at := r.At.Offset
	for d.next() {
		switch d.op.kind {
		case opFrame, opMove:
			f := &d.op.frame
			n := int32(len(c.names))
			c.names = append(c.names, f.chunks...)
			c.frames = append(c.frames, doomedFrame{id: f.id, offset: at, from: n, to: n + int32(len(f.chunks))})
			at += f.stored
		}
		for d.region() {
		}
	}
	if d.err != nil {
		return fmt.Errorf("%w: record %d: %w", ErrCorrupt, r.LSN, d.err)
	}
	return nil
}

// condemn publishes which blocks of the segment's frames nothing uses now, and forgets frames that do not lie in the
// segment any more.
func (c *compaction) condemn() error {
	v, err := c.s.View()
	if err != nil {
		return err
	}
	defer v.Close()
	dead := &condemned{blocks: make(map[pagemap.FrameID]uint16)}
	slices.SortFunc(c.frames, func(a, b doomedFrame) int { // as their rows lie
		if a.id != b.id {
			return int(int64(a.id - b.id))
		}
		return int(int64(a.offset) - int64(b.offset))
	})
	kept := c.frames[:0]
	for _, f := range c.frames {
		there, err := c.find(v, &f)
		if err != nil {
			return err
		}
		if !there {
			continue
		}
		if f.condemned = c.row.present &^ uint16(c.row.counts.Live()); f.condemned != 0 {
			dead.blocks[f.id] = f.condemned
		}
		kept = append(kept, f)
	}
	c.frames = kept
	c.s.condemned.Store(dead)
	return nil
}

// find reads the row of a frame into c.row. It returns false if the frame is gone or lies elsewhere.
func (c *compaction) find(v *View, f *doomedFrame) (bool, error) {
	c.key = appendFrameKey(c.key[:0], f.id)
	value, closer, err := v.snap.Get(c.key)
	if errors.Is(err, pebble.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("index: frame %d: %w", f.id, err)
	}
	defer closer.Close()
	if err := decodeFrameRow(&c.row, value); err != nil {
		return false, fmt.Errorf("%w: index: frame %d: %w", ErrCorrupt, f.id, err)
	}
	c.row.id = f.id
	return c.row.at == replication.Position{Segment: c.segment, Offset: f.offset}, nil
}

// frame has a frame moved or freed.
func (c *compaction) frame(ctx context.Context, v *View, f *doomedFrame) error {
	there, err := c.find(v, f)
	if err != nil {
		return err
	}
	if !there {
		return fmt.Errorf("%w: frame %d has left, and nobody else moves frames", ErrCorrupt, f.id)
	}
	used := uint16(c.row.counts.Live())
	if used&^c.row.present != 0 {
		return fmt.Errorf("%w: frame %d: blocks %#x are in use and not stored", ErrCorrupt, f.id, used&^c.row.present)
	}
	action, keep := gc.Plan(gc.Blocks(c.row.present), gc.Blocks(f.condemned), gc.Blocks(used))
	invariant.Check(used&^uint16(keep) == 0, "frame %d: blocks %#x are in use, %#x are kept", f.id, used, keep)
	if len(c.arena)+framing.MaxStored > c.limit() || len(c.buf) > c.limit()/2 || len(c.ops) >= compactOps {
		if err := c.commit(ctx); err != nil {
			return err
		}
	}
	c.split(f, uint16(keep))
	from := len(c.buf)
	if action == gc.Free {
		c.buf = appendFreeOp(c.buf, f.id, c.gone)
		c.ops = append(c.ops, txOp{from: from, to: len(c.buf)})
		c.freed++
		return nil
	}
	out := frame{id: f.id, pages: c.row.pages, present: uint16(keep), chunks: c.held, gone: c.gone}
	stored, err := c.store(&out)
	if err != nil {
		return err
	}
	c.buf = appendMoveOp(c.buf, &out)
	c.ops = append(c.ops, txOp{from: from, to: len(c.buf), data: stored, sealed: out.session != 0})
	c.moved++
	c.bytes += int64(len(stored))
	return nil
}

// limit is how many stored bytes a record may have.
func (c *compaction) limit() int {
	if m := c.s.o.Log.MaxRecordBytes; m > 0 {
		return min(compactData, m/2)
	}
	return compactData
}

// split makes c.held the names of the chunks that the frame keeps, c.gone those of the others.
func (c *compaction) split(f *doomedFrame, keep uint16) {
	c.held, c.gone = c.held[:0], c.gone[:0]
	for _, n := range c.names[f.from:f.to] {
		if blockSpan(int(n.off), int(n.off)+pagemap.ChunkPages)&^keep == 0 {
			c.held = append(c.held, n)
		} else {
			c.gone = append(c.gone, n)
		}
	}
}

// store appends the stored form of the frame in c.row, with the blocks of out, to the arena, and completes out with how
// it is stored. What is as small as it gets and loses nothing stays as it is.
func (c *compaction) store(out *frame) ([]byte, error) {
	if c.arena == nil {
		c.arena = make([]byte, 0, c.limit()+framing.Room(framing.MaxBytes))
	}
	h := c.row.header()
	if err := c.fetch(&h); err != nil {
		return nil, err
	}
	start := len(c.arena)
	if out.present == c.row.present && (c.row.codec == codecZstd || c.row.codec == codecRaw && c.row.moved) {
		c.arena = append(c.arena, c.fetched...) // sealed under the same number: it is the same
		out.codec, out.session, out.counter, out.stored = c.row.codec, c.row.session, c.row.counter, c.row.stored
		out.crcs = append([]uint32(nil), c.row.crcs...)
		return c.arena[start:len(c.arena):len(c.arena)], nil
	}
	content := c.keep(&h, out.present)
	to := framing.Header{Pages: out.pages, Present: out.present}
	stored, _ := c.encoder.Encode(c.arena[start:], &to, content)
	c.arena = append(c.arena, stored...) // where it is already, unless nothing was done to it
	out.codec, out.session, out.counter, out.stored, out.crcs = uint8(to.Codec), to.Session, to.Counter, to.Stored, to.CRCs
	return c.arena[start:len(c.arena):len(c.arena)], nil
}

// keep returns what of c.content, that of a frame with header h, is of the given blocks.
func (c *compaction) keep(h *framing.Header, blocks uint16) []byte {
	if blocks == h.Present {
		return c.content
	}
	kept, at := 0, 0
	for i := range maxBlocks {
		n := rawBytes(int(h.Pages), h.Present&(1<<i))
		if blocks>>i&1 != 0 {
			kept += copy(c.content[kept:], c.content[at:at+n])
		}
		at += n
	}
	return c.content[:kept]
}

// fetch reads the frame in c.row: c.fetched are its stored bytes, c.content is its content, checked. A copy that is damaged
// is replaced by another member's.
func (c *compaction) fetch(h *framing.Header) error {
	if cap(c.fetched) < framing.MaxStored {
		c.fetched, c.content = make([]byte, framing.MaxStored), make([]byte, framing.MaxBytes)
	}
	c.fetched, c.content = c.fetched[:h.Stored], c.content[:h.ContentBytes()]
	err := c.s.log.ReadAt(c.fetched, c.row.at)
	if err == nil {
		if err = c.decode(h); err == nil {
			return nil
		}
	}
	if err = c.s.log.ReadChecked(c.fetched, c.row.at, func([]byte) error { return c.decode(h) }); err != nil {
		err = fmt.Errorf("%w: frame %d: segment %d offset %d: %w", ErrCorrupt, c.row.id, c.row.at.Segment, c.row.at.Offset, err)
	}
	return err
}

// decode makes c.content what c.fetched is the stored form of. Opening spoils sealed bytes, so a copy is opened.
func (c *compaction) decode(h *framing.Header) error {
	stored := c.fetched
	if h.Session != 0 {
		stored = append(make([]byte, 0, len(stored)), stored...)
	}
	return c.decoder.Content(c.content, h, stored)
}

// commit has what was gathered applied, as one record.
func (c *compaction) commit(ctx context.Context) error {
	if len(c.ops) == 0 {
		return nil
	}
	bytes := 2 * len(c.arena) // once read, once written
	if c.s.flight.busy() {
		bytes *= compactYield
	}
	if err := c.pace.wait(ctx, bytes); err != nil {
		return err
	}
	if c.s.state.Load().mismatch != 0 {
		return errMismatch
	}
	err := c.s.Update(func(tx *Tx) error {
		shift := len(tx.buf)
		tx.buf = append(tx.buf, c.buf...)
		for _, o := range c.ops {
			o.from, o.to = o.from+shift, o.to+shift
			tx.ops = append(tx.ops, o)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if c.s.state.Load().mismatch != 0 {
		return errMismatch
	}
	clear(c.ops)
	c.ops, c.buf, c.arena = c.ops[:0], c.buf[:0], c.arena[:0]
	return nil
}

var errMismatch = fmt.Errorf("%w: counts of what refers to stored blocks are wrong, so nothing is freed", ErrCorrupt)
