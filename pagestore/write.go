package pagestore

import (
	"cmp"
	"errors"
	"fmt"

	"pagevault/internal/digest"
	"pagevault/internal/invariant"
	framing "pagevault/pagestore/frame"
	"pagevault/pagestore/pagemap"
	"pagevault/pagestore/refcount"
	"pagevault/replication"
)

// Update runs fn alone and makes its changes one record of the log. fn sees the store as it will be when everything
// enqueued before it is applied. Update returns when the record is durable on every member and applied; views opened
// after that show it.
//
// An error of fn is returned as it is and nothing happens. A transaction that changes nothing appends nothing. In both
// cases Update still waits until everything fn has seen is durable, so that nothing is ever answered from a state that
// a crash could take back. fn must be short, does no I/O of its own and must not call Update.
//
// Errors: ErrReadOnly, wrapping the cause, when the log or the index has failed; what was not acknowledged is then
// either there as a whole or not at all. ErrUnavailable while too few members can be written: nothing has happened, or
// the record was on its way already, and is applied as a whole as soon as enough of them work again, or never if the store
// is closed before. Updates that come after it see what it has changed. ErrClosed. An error of the log if the record is
// too large; nothing happens.
func (s *Store) Update(fn func(tx *Tx) error) error {
	p, seen, err := s.sequence(fn)
	if p == nil {
		if seen != 0 {
			if failed := s.flight.await(seen); failed != nil {
				return failed
			}
		}
		return err
	}
	if err := <-p.done; err != nil {
		// The index may have failed while the log is well and still writes the record. Its bytes are the caller's, who uses
		// them for something else after this. A log that has halted has made copies of them, and Release returns at once, but
		// it may go on at any moment. p is not used again: the applying goroutine may hold on to it, or be yet to apply it.
		if !p.copied {
			s.log.Release(p.record.LSN)
		}
		return err
	}
	p.reset()
	s.pendings.Put(p)
	return nil
}

// sequence runs fn and enqueues its record. It returns nil for p if there is nothing to enqueue; then seen is the
// newest record not yet applied that fn has seen.
//
// The lock is held while Append waits for room in the log's queue: that is what slows writers down to the disks. It is
// the only lock held over I/O, the index reads of fn included.
func (s *Store) sequence(fn func(tx *Tx) error) (p *pending, seen replication.LSN, err error) {
	s.seq.Lock()
	defer s.seq.Unlock()
	if err := cmp.Or(s.unusable(), s.flight.halt()); err != nil {
		return nil, 0, err
	}
	tx := &s.seq.tx
	tx.begin(s)
	defer tx.end()
	if err := fn(tx); err != nil {
		return nil, tx.seen, err
	}
	if len(tx.ops) == 0 {
		return nil, tx.seen, nil
	}
	if p, err = tx.commit(); errors.Is(err, ErrQuota) {
		return nil, tx.seen, err // an answer like one of fn
	}
	return p, 0, err
}

// pending is a record on its way to the log, to the index and back to the goroutine that waits for it.
type pending struct {
	record replication.Record
	done   chan error // one value, when the record is applied or will not be

	stored   int64 // bytes of content it adds to the log
	most     int64 // by how much it makes the live bytes grow at most, whatever is dead of what it refers to
	finished bool  // done was sent to; guarded by the flight's lock
	copied   bool  // the log has copies of the bytes of the record; the same, set before done is sent to

	rows  []string     // keys it has in the flight
	gens  []generation // the same
	names fingerprints // that it added to the flight
}

func newPending() any {
	p := &pending{done: make(chan error, 1)}
	p.record.User = p
	return p
}

// reset readies p for its next use, without the memory of the record before.
func (p *pending) reset() {
	clear(p.record.Data)
	clear(p.rows)
	p.record = replication.Record{Meta: p.record.Meta[:0], Data: p.record.Data[:0], User: p}
	p.rows, p.gens, p.stored, p.most, p.finished = p.rows[:0], p.gens[:0], 0, 0, false
}

// commit turns the operations of the transaction into a record and enqueues it.
func (tx *Tx) commit() (*pending, error) {
	s := tx.s
	p := s.pendings.Get().(*pending)
	b := builder{tx: tx, p: p, first: s.seq.nextFrame, next: s.seq.nextFrame, gone: s.condemned.Load()}
	if err := tx.lockFlight(); err != nil {
		s.pendings.Put(p)
		return nil, err
	}
	b.build()
	s.flight.mu.Unlock()

	lsn, err := replication.LSN(0), s.admit(tx, p)
	if err == nil {
		if lsn, err = s.log.Append(&p.record); err != nil && s.log.Failed() == nil {
			err = fmt.Errorf("update of %d bytes: %w", len(p.record.Meta)+b.dataBytes, err)
		}
	}
	if err != nil {
		s.flight.mu.Lock()
		b.undo()
		s.flight.mu.Unlock()
		return nil, s.refused(err)
	}
	invariant.Check(lsn == s.seq.last+1 && lsn == p.record.LSN, "record %d after %d", lsn, s.seq.last)
	s.seq.last, s.seq.nextFrame, s.seq.nextVolume = lsn, b.next, tx.nextVolume
	s.seq.session = s.seq.session || b.session
	s.quota.enqueued += p.most
	s.quota.metas.Add(int64(len(p.record.Meta)))
	s.flight.launched(p, tx, b.next)
	return p, nil
}

// refused returns what an update says whose record was not enqueued because of err. What a halted log refuses it may take
// later.
func (s *Store) refused(err error) error {
	if s.log.Failed() == nil || errors.Is(err, ErrUnavailable) {
		return err
	}
	return readOnly(err)
}

// lockFlight locks the flight at a moment when it can complete every content of the transaction. It looks up the
// fingerprints of those for which it has forgotten too much.
func (tx *Tx) lockFlight() error {
	f := &tx.s.flight.mu
	f.Lock()
	for {
		c := tx.staleLocked()
		if c == nil {
			return nil
		}
		applied := f.applied
		f.Unlock()
		if err := c.refresh(); err != nil {
			return err
		}
		f.Lock()
		c.since = applied
	}
}

// staleLocked returns a content of the transaction that the flight cannot complete, nil if there is none.
func (tx *Tx) staleLocked() *Content {
	for i := range tx.ops {
		if c := tx.ops[i].content; c != nil && c.since < tx.s.flight.mu.forgot {
			return c
		}
	}
	return nil
}

// builder makes the record of one transaction. It holds the flight's lock, so that what is looked up there and what is
// added there are one step.
type builder struct {
	tx      *Tx
	p       *pending
	gone    *condemned
	first   pagemap.FrameID // that the record may store
	next    pagemap.FrameID // the next to assign
	session bool            // the record begins the store's session

	regions   []byte        // encoded regions of the current write
	runs      pagemap.Entry // of the current region
	kept      pagemap.Entry // memory for entries that go into the flight
	f         frame         // the current one
	at        []chunkRef    // where each piece of the current content is stored
	dataBytes int
}

func (b *builder) build() {
	tx := b.tx
	meta := append(b.p.record.Meta[:0], recordCommit)
	b.regions, b.runs, b.f, b.at = tx.scratch.regions, tx.scratch.runs, tx.scratch.frame, tx.scratch.at
	for i := range tx.ops {
		o := &tx.ops[i]
		if o.content != nil {
			meta = b.content(meta, o)
			continue
		}
		if o.sealed {
			meta = b.beginSession(meta)
		}
		meta = append(meta, tx.buf[o.from:o.to]...)
		if len(o.data) > 0 {
			b.data(o.data)
		}
	}
	tx.scratch.regions, tx.scratch.runs, tx.scratch.frame, tx.scratch.at = b.regions, b.runs, b.f, b.at
	b.p.record.Meta = meta
}

// content adds a write: first the frames of what nobody has stored yet, then the write that refers to them.
func (b *builder) content(meta []byte, o *txOp) []byte {
	c := o.content
	if cap(b.at) < len(c.pieces) {
		b.at = make([]chunkRef, len(c.pieces))
	}
	b.at = b.at[:len(c.pieces)]
	for _, k := range c.packers {
		for i := range k.frames {
			meta = b.frame(meta, c, &k.frames[i])
		}
	}
	if o.folds != nil {
		return b.folds(meta, o)
	}
	b.regions = b.regions[:0]
	for i := range c.parts {
		name, runs := b.part(c, &c.parts[i])
		b.refer(runs)
		b.regions = appendWriteRegion(b.regions, name, runs)
	}
	meta = appendWriteOp(meta, o.volume, Range{c.pages.Start + o.shift, c.pages.End + o.shift})
	return append(meta, b.regions...)
}

// refer takes note of runs that are written: what others have stored may be dead, and is alive then.
func (b *builder) refer(runs pagemap.Entry) {
	for _, r := range runs {
		if r.Frame != pagemap.ZeroFrame && r.Frame < b.first {
			b.p.most += int64(refcount.Touched(r).Len()) * maxBlockStored
		}
	}
}

// frame adds a frame as it was prepared, or what is left of it without what somebody else has stored since.
func (b *builder) frame(meta []byte, c *Content, f *prepared) []byte {
	known := 0
	for _, i := range f.pieces {
		if b.find(c, i) {
			known++
		}
	}
	switch known {
	case 0:
		return b.emit(meta, c, &f.header, f.stored, f.pieces)
	case len(f.pieces):
		return meta
	}
	left, pages := make([]int32, 0, len(f.pieces)-known), 0
	for _, i := range f.pieces {
		if b.at[i].frame == pagemap.ZeroFrame {
			left, pages = append(left, i), pages+c.pieces[i].pages()
		}
	}
	h := framing.Header{Pages: uint8(pages), Present: allBlocks(pages)}
	var buf []byte // new, because the log takes it
	content, _ := c.gather(&buf, left, pages)
	e := b.tx.s.encoder(b.tx.s.method)
	stored, _ := e.Encode(nil, &h, content)
	return b.emit(meta, c, &h, stored, left)
}

// find sets where piece i of the content is stored, if it was meant to be stored now and is known by now. Else it sets
// the ZeroFrame and returns false.
func (b *builder) find(c *Content, i int32) (known bool) {
	q := &c.pieces[i]
	b.at[i] = chunkRef{}
	switch q.kind {
	case pieceKnown: // since the content was refreshed
		b.at[i], known = q.at, true
	case pieceFresh:
		if at, ok := b.tx.s.flight.mu.chunks[q.name]; ok && !b.gone.chunk(at) {
			b.at[i], known = at, true
		}
	}
	return known
}

// emit adds a frame to meta, its stored bytes to the record's Data and its names to the flight.
func (b *builder) emit(meta []byte, c *Content, h *framing.Header, stored []byte, pieces []int32) []byte {
	fl := &b.tx.s.flight.mu
	if h.Session != 0 {
		meta = b.beginSession(meta)
	}
	b.f = frame{id: b.next, pages: h.Pages, present: h.Present, codec: uint8(h.Codec), session: h.Session, counter: h.Counter,
		stored: h.Stored, crcs: h.CRCs, chunks: b.f.chunks[:0]}
	b.next++
	off := uint8(0)
	for _, i := range pieces {
		q := &c.pieces[i]
		at := chunkRef{b.f.id, off}
		b.at[i] = at
		off += uint8(q.pages())
		if q.kind != pieceFresh {
			continue
		}
		b.f.chunks = append(b.f.chunks, namedChunk{at.off, q.name})
		fl.chunks[q.name] = at
		if b.p.names.chunks == nil {
			b.p.names.chunks = make([]digest.Digest, 0, len(c.pieces))
		}
		b.p.names.chunks = append(b.p.names.chunks, q.name)
	}
	b.data(stored)
	b.p.stored += int64(len(stored))
	b.p.most += int64(len(stored))
	return appendFrameOp(meta, &b.f)
}

// beginSession adds the store's session to meta, unless the log has it.
func (b *builder) beginSession(meta []byte) []byte {
	s := b.tx.s
	if s.seq.session || b.session {
		return meta
	}
	b.session = true
	salt := s.session.Salt()
	return appendSessionOp(meta, s.session.Number(), &salt)
}

// part returns what fills a part, and its name if that is to be remembered. Both are valid until the next call.
func (b *builder) part(c *Content, p *part) (name *digest.Digest, runs pagemap.Entry) {
	fl := &b.tx.s.flight.mu
	switch p.kind {
	case partZero:
		b.runs = append(b.runs[:0], pagemap.Run{First: p.from, Pages: p.to - p.from})
		return nil, b.runs
	case partKnown:
		return nil, p.runs
	}
	if p.whole {
		if runs, ok := fl.regions[p.name]; ok && !b.gone.runs(runs) {
			return nil, runs
		}
	}
	b.fill(c, p)
	if !p.whole {
		return nil, b.runs
	}
	fl.regions[p.name] = b.keep(b.runs)
	b.p.names.regions = append(b.p.names.regions, p.name)
	return &p.name, b.runs
}

// fill makes b.runs what fills the part. All pieces that were packed have their places.
func (b *builder) fill(c *Content, p *part) {
	b.runs = b.runs[:0]
	for i := range p.pieces {
		q := &p.pieces[i]
		var at chunkRef
		switch q.kind {
		case pieceKnown:
			at = q.at
		case pieceFresh, pieceRagged:
			at = b.at[p.first+i]
		case pieceSame:
			at = b.at[q.same]
		}
		b.runs = b.runs.Append(pagemap.Run{First: q.from, Pages: q.to - q.from, Frame: at.frame, Off: at.off})
	}
}

// keep returns a copy of runs that lives as long as the flight needs it.
func (b *builder) keep(runs pagemap.Entry) pagemap.Entry {
	if len(b.kept)+len(runs) > cap(b.kept) {
		b.kept = make(pagemap.Entry, 0, max(pagemap.RegionPages, len(runs)))
	}
	n := len(b.kept)
	b.kept = append(b.kept, runs...)
	return b.kept[n:len(b.kept):len(b.kept)]
}

// data adds stored bytes to the record without copying them, and as one part with the bytes before them if they continue
// those in memory.
func (b *builder) data(stored []byte) {
	b.dataBytes += len(stored)
	r := &b.p.record
	if n := len(r.Data); n > 0 {
		if last := r.Data[n-1]; cap(last) > len(last) && &last[:len(last)+1][len(last)] == &stored[0] {
			r.Data[n-1] = last[:len(last)+len(stored)]
			return
		}
	}
	r.Data = append(r.Data, stored)
}

// undo takes back what build added to the flight.
func (b *builder) undo() {
	fl := &b.tx.s.flight.mu
	for i := range b.p.names.chunks {
		delete(fl.chunks, b.p.names.chunks[i])
	}
	for i := range b.p.names.regions {
		delete(fl.regions, b.p.names.regions[i])
	}
	b.p.names = fingerprints{}
}
