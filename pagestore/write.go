package pagestore

import (
	"fmt"
	"hash/crc32"

	"pagevault/internal/digest"
	"pagevault/internal/invariant"
	"pagevault/pagestore/pagemap"
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
// either there as a whole or not at all. ErrClosed. An error of the log if the record is too large; nothing happens.
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
		// them for something else after this. p is not used again: the applying goroutine may hold on to it.
		s.log.Release(p.record.LSN)
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
	if err := s.unusable(); err != nil {
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
	p, err = tx.commit()
	return p, 0, err
}

// pending is a record on its way to the log, to the index and back to the goroutine that waits for it.
type pending struct {
	record replication.Record
	done   chan error // one value, when the record is applied or will not be

	stored   int64 // bytes of content it adds to the log
	finished bool  // done was sent to; guarded by the flight's lock

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
	p.rows, p.gens, p.finished = p.rows[:0], p.gens[:0], false
}

// commit turns the operations of the transaction into a record and enqueues it.
func (tx *Tx) commit() (*pending, error) {
	s := tx.s
	p := s.pendings.Get().(*pending)
	b := builder{tx: tx, p: p, frame: s.seq.nextFrame}
	if err := tx.lockFlight(); err != nil {
		s.pendings.Put(p)
		return nil, err
	}
	b.build()
	s.flight.mu.Unlock()

	lsn, err := s.log.Append(&p.record)
	if err != nil {
		s.flight.mu.Lock()
		b.undo()
		s.flight.mu.Unlock()
		if s.log.Failed() != nil {
			return nil, readOnly(err)
		}
		return nil, fmt.Errorf("update of %d bytes: %w", len(p.record.Meta)+b.dataBytes, err)
	}
	invariant.Check(lsn == s.seq.last+1 && lsn == p.record.LSN, "record %d after %d", lsn, s.seq.last)
	s.seq.last, s.seq.nextFrame, s.seq.nextVolume = lsn, b.frame, tx.nextVolume
	s.flight.launched(p, tx)
	return p, nil
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
	tx    *Tx
	p     *pending
	frame pagemap.FrameID // the next to assign

	regions    []byte        // encoded regions of the current write
	runs       pagemap.Entry // of the current region
	kept       pagemap.Entry // memory for entries that go into the flight
	f          frame         // of the current region
	frameParts [][]byte      // its bytes
	dataBytes  int
	lastOf     *Content // whose bytes the last part of the record's Data ends with, at lastEnd
	lastEnd    int
}

func (b *builder) build() {
	tx := b.tx
	meta := append(b.p.record.Meta[:0], recordCommit)
	b.regions, b.runs, b.f, b.frameParts = tx.scratch.regions, tx.scratch.runs, tx.scratch.frame, tx.scratch.parts
	for i := range tx.ops {
		o := &tx.ops[i]
		if o.content == nil {
			meta = append(meta, tx.buf[o.from:o.to]...)
			continue
		}
		b.regions = b.regions[:0]
		for j := range o.content.parts {
			meta = b.part(meta, o.content, &o.content.parts[j])
		}
		meta = appendWriteOp(meta, o.volume, o.content.pages)
		meta = append(meta, b.regions...)
	}
	tx.scratch.regions, tx.scratch.runs, tx.scratch.frame, tx.scratch.parts = b.regions, b.runs, b.f, b.frameParts
	b.p.record.Meta = meta
}

// part adds one region: its frame, if it needs one, to meta, its runs to b.regions and its bytes to the record's Data.
func (b *builder) part(meta []byte, c *Content, p *part) []byte {
	fl := &b.tx.s.flight.mu
	switch p.kind {
	case partZero:
		b.runs = append(b.runs[:0], pagemap.Run{First: p.from, Pages: p.to - p.from})
		b.regions = appendWriteRegion(b.regions, nil, b.runs)
		return meta
	case partKnown:
		b.regions = appendWriteRegion(b.regions, nil, p.runs)
		return meta
	}
	if p.whole {
		if runs, ok := fl.regions[p.name]; ok {
			b.regions = appendWriteRegion(b.regions, nil, runs)
			return meta
		}
	}
	b.fill(c, p)
	if b.f.pages > 0 {
		b.f.present = allBlocks(int(b.f.pages))
		b.frame++
		meta = appendFrameOp(meta, &b.f)
	}
	if !p.whole {
		b.regions = appendWriteRegion(b.regions, nil, b.runs)
		return meta
	}
	b.regions = appendWriteRegion(b.regions, &p.name, b.runs)
	fl.regions[p.name] = b.keep(b.runs)
	b.p.names.regions = append(b.p.names.regions, p.name)
	return meta
}

// fill makes b.runs what fills the part, and b.f the frame of what nobody has stored yet.
func (b *builder) fill(c *Content, p *part) {
	fl := &b.tx.s.flight.mu
	b.runs, b.frameParts = b.runs[:0], b.frameParts[:0]
	b.f = frame{id: b.frame, codec: codecRaw, crcs: b.f.crcs[:0], chunks: b.f.chunks[:0]}
	ragged := false
	for i := range p.pieces {
		q := &p.pieces[i]
		run := pagemap.Run{First: q.from, Pages: q.to - q.from}
		switch q.kind {
		case pieceZero:
			b.runs = b.runs.Append(run)
			continue
		case pieceKnown:
			run.Frame, run.Off = q.at.frame, q.at.off
			b.runs = b.runs.Append(run)
			continue
		case pieceFresh:
			if at, ok := fl.chunks[q.name]; ok {
				run.Frame, run.Off = at.frame, at.off
				b.runs = b.runs.Append(run)
				continue
			}
			fl.chunks[q.name] = chunkRef{b.f.id, b.f.pages}
			if b.p.names.chunks == nil {
				b.p.names.chunks = make([]digest.Digest, 0, len(c.pieces))
			}
			b.p.names.chunks = append(b.p.names.chunks, q.name)
			b.f.chunks = append(b.f.chunks, namedChunk{b.f.pages, q.name})
			b.f.crcs = append(b.f.crcs, q.crc)
		case pieceRagged:
			ragged = true
		}
		run.Frame, run.Off = b.f.id, b.f.pages
		b.runs = b.runs.Append(run)
		b.f.pages += run.Pages
		off := p.off + int(q.from-p.from)*PageSize
		b.data(c, off, off+int(run.Pages)*PageSize)
	}
	b.f.stored = uint32(b.f.pages) * PageSize
	if ragged {
		b.f.crcs = appendBlockCRCs(b.f.crcs[:0], b.frameParts)
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

// data adds the bytes [from, to) of the content to the frame and to the record, without copying them, and as one part
// with the bytes before them if they continue those.
func (b *builder) data(c *Content, from, to int) {
	b.frameParts = append(b.frameParts, c.data[from:to])
	b.dataBytes += to - from
	r := &b.p.record
	if b.lastOf == c && b.lastEnd == from {
		last := &r.Data[len(r.Data)-1]
		*last = c.data[from-len(*last) : to]
	} else {
		r.Data = append(r.Data, c.data[from:to])
	}
	b.lastOf, b.lastEnd = c, to
}

// appendBlockCRCs appends the checksum of each block of the bytes that parts make together. Only frames with ragged
// pieces need it, at most two of a write.
func appendBlockCRCs(dst []uint32, parts [][]byte) []uint32 {
	crc, n := uint32(0), 0
	for _, p := range parts {
		for len(p) > 0 {
			k := min(len(p), pagemap.ChunkBytes-n)
			crc, n, p = crc32.Update(crc, castagnoli, p[:k]), n+k, p[k:]
			if n == pagemap.ChunkBytes {
				dst, crc, n = append(dst, crc), 0, 0
			}
		}
	}
	if n > 0 {
		dst = append(dst, crc)
	}
	return dst
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
