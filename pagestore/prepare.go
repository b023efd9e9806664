package pagestore

import (
	"bytes"
	"fmt"
	"runtime"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"pagevault/internal/digest"
	"pagevault/internal/invariant"
	"pagevault/pagestore/pagemap"
	"pagevault/replication"
)

// Content is bytes to be written, digested: cut into regions and pieces, hashed, zeros found, fingerprints looked up, and
// what nobody has stored yet packed into frames, compressed and sealed. It belongs to one goroutine, may be written any
// number of times and must be released.
type Content struct {
	s       *Store
	data    []byte // borrowed from the caller of Prepare until Release
	pages   Range
	parts   []part
	length  int       // of the data of all parts
	pieces  []piece   // of all parts; a part owns parts[i].pieces of them
	packers []*packer // one for each goroutine that prepares; those behind len are kept for their memory

	entered    uint64          // its place in the order in which contents began to look; guarded by the flight's lock
	since      replication.LSN // the index look-ups saw every record up to here; guarded by the flight's lock
	prev, next *Content        // in the flight's list of outstanding contents
}

type partKind uint8

const (
	partPieces partKind = iota // see its pieces
	partZero                   // nothing but zeros
	partKnown                  // a whole region whose digest the index knows: runs fill it
)

// part is the content of one region.
type part struct {
	kind   partKind
	whole  bool          // all pages of the region: name is set unless kind is partZero
	from   uint8         // pages of the region
	to     uint8         // 1..128
	no     uint64        // of the region
	off    int           // of its first byte in Content.data
	name   digest.Digest // of the whole region
	runs   pagemap.Entry
	pieces []piece
	first  int // number of the first of them in Content.pieces
}

type pieceKind uint8

const (
	pieceFresh  pieceKind = iota // a chunk the index does not know
	pieceKnown                   // a chunk the index knows
	pieceZero                    // nothing but zeros
	pieceRagged                  // not a whole aligned chunk: stored without being named
	pieceSame                    // a fresh chunk that the content holds before
)

// piece is one aligned chunk, or what a write covers of one.
type piece struct {
	kind     pieceKind
	from, to uint8    // pages of the region
	same     int32    // of a pieceSame: number of the piece before
	off      int      // of its first byte in Content.data
	at       chunkRef // of a pieceKnown
	name     digest.Digest
}

func (q *piece) pages() int { return int(q.to) - int(q.from) }

// parallelBytes is the length from which a content is prepared by several goroutines: hashing it then takes a
// hundred times as long as starting one.
const parallelBytes = 512 << 10

// Prepare digests p, to be written from page first on: the CPU work of a write, done outside the sequencer. len(p) is a
// multiple of PageSize and not 0. p is borrowed until the content is released, and must not change until then.
func (s *Store) Prepare(first PageNo, p []byte) (*Content, error) {
	n := PageNo(len(p) / PageSize)
	if len(p) == 0 || len(p)%PageSize != 0 || first >= maxPages || n > maxPages-first {
		return nil, fmt.Errorf("%w: %d bytes at page %d", ErrBadRange, len(p), first)
	}
	if err := s.unusable(); err != nil {
		return nil, err
	}
	if err := s.hold(); err != nil {
		return nil, err
	}
	defer s.letGo()
	pages := Range{first, first + n}
	return s.prepareParts(p, pages, func(c *Content) { c.cut(pages) })
}

// span is some pages of one region: [from, to), up to 128.
type span struct {
	no       uint64
	from, to uint8
}

// prepareSpans is Prepare for the pages of spans, ascending, which may leave pages out, also within a region. data is
// their bytes, one after the other. What comes of it has a part for each span and is not for Tx.Write.
func (s *Store) prepareSpans(data []byte, of []span) (*Content, error) {
	if err := s.unusable(); err != nil {
		return nil, err
	}
	if err := s.hold(); err != nil {
		return nil, err
	}
	defer s.letGo()
	return s.prepareParts(data, Range{}, func(c *Content) {
		for _, p := range of {
			c.addPart(p.no, int(p.from), int(p.to))
		}
	})
}

// prepareParts prepares a content whose parts add adds. The index is held.
func (s *Store) prepareParts(data []byte, pages Range, add func(c *Content)) (*Content, error) {
	c := s.contents.Get().(*Content)
	c.s, c.data, c.pages = s, data, pages
	c.parts, c.pieces, c.length = c.parts[:0], c.pieces[:0], 0
	add(c)
	invariant.Check(c.length == len(data), "parts of %d bytes for %d", c.length, len(data))
	c.sharePieces()
	s.flight.enter(c)
	if err := c.prepare(); err != nil {
		c.Release()
		return nil, err
	}
	return c, nil
}

// Release ends the use of the content and of the bytes given to Prepare.
func (c *Content) Release() {
	s := c.s
	s.flight.leave(c)
	for _, k := range c.packers {
		k.release()
	}
	c.s, c.data, c.packers = nil, nil, c.packers[:0]
	s.contents.Put(c)
}

// cut adds the parts of pages.
func (c *Content) cut(pages Range) {
	first, end := regionRange(pages)
	for no := first; no < end; no++ {
		from, to := regionPart(pages, no)
		c.addPart(no, from, to)
	}
}

// addPart adds a part with its pieces, of the bytes that follow those of the parts before.
func (c *Content) addPart(no uint64, from, to int) {
	if len(c.parts) < cap(c.parts) {
		c.parts = c.parts[:len(c.parts)+1] // keeps the memory of runs
	} else {
		c.parts = append(c.parts, part{})
	}
	p := &c.parts[len(c.parts)-1]
	p.kind, p.whole, p.from, p.to, p.no = partPieces, to-from == pagemap.RegionPages, uint8(from), uint8(to), no
	p.off, p.first = c.length, len(c.pieces)
	c.length += (to - from) * PageSize
	for at := from; at < to; {
		next := min((at/pagemap.ChunkPages+1)*pagemap.ChunkPages, to)
		kind := pieceFresh
		if next-at < pagemap.ChunkPages {
			kind = pieceRagged
		}
		c.pieces = append(c.pieces, piece{kind: kind, from: uint8(at), to: uint8(next), off: p.off + (at-from)*PageSize})
		at = next
	}
}

// sharePieces gives each part its pieces. Only when all are there, they do not move any more.
func (c *Content) sharePieces() {
	end := len(c.pieces)
	for i := len(c.parts) - 1; i >= 0; i-- {
		p := &c.parts[i]
		p.pieces, end = c.pieces[p.first:end:end], p.first
	}
}

// prepare does the work for all parts, in several goroutines if there are many.
func (c *Content) prepare() error {
	n := max(1, min(runtime.GOMAXPROCS(0), len(c.data)*2/parallelBytes))
	for len(c.packers) < n {
		if len(c.packers) < cap(c.packers) && c.packers[:cap(c.packers)][len(c.packers)] != nil {
			c.packers = c.packers[:len(c.packers)+1]
		} else {
			c.packers = append(c.packers, new(packer))
		}
	}
	if n == 1 {
		return c.work(c.parts, c.packers[0])
	}
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		parts := c.parts[len(c.parts)*i/n : len(c.parts)*(i+1)/n]
		if i == n-1 {
			errs[i] = c.work(parts, c.packers[i])
			break
		}
		wg.Go(func() { errs[i] = c.work(parts, c.packers[i]) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// work digests parts and packs what is new of them.
func (c *Content) work(parts []part, k *packer) error {
	if err := c.digest(parts, k); err != nil {
		return err
	}
	c.askFlight(parts)
	k.pack(c, parts)
	return nil
}

// digestParts is how many parts are named before they are looked up: as many as are hashed at once, and few enough that their
// bytes, 1 MiB, are still in the processor's cache when their pieces are named.
const digestParts = digest.AtOnce

// digest finds zeros, names the others and looks the names up.
func (c *Content) digest(parts []part, k *packer) error {
	k.look.begin(c.s)
	defer k.look.end()
	for len(parts) > 0 {
		some := parts[:min(digestParts, len(parts))]
		if err := c.digestSome(some, &k.look, &k.batch); err != nil {
			return err
		}
		parts = parts[len(some):]
	}
	return nil
}

// digestSome does so for some parts: first as wholes, then the pieces of those that are not known.
func (c *Content) digestSome(parts []part, look *lookup, batch *digest.Batch) (err error) {
	for i := range parts {
		p := &parts[i]
		data := c.data[p.off : p.off+int(p.to-p.from)*PageSize]
		if isZero(data) {
			p.kind = partZero
		} else if p.whole {
			batch.Add(c.s.hasher, &p.name, data)
		}
	}
	batch.Flush(c.s.hasher)
	for i := range parts {
		p := &parts[i]
		if p.kind == partPieces && p.whole {
			var found bool
			if p.runs, found, err = look.region(p.runs[:0], &p.name); err != nil {
				return err
			} else if found {
				p.kind = partKnown
			}
		}
	}
	for i := range parts {
		if parts[i].kind == partPieces {
			c.namePieces(&parts[i], batch)
		}
	}
	batch.Flush(c.s.hasher)
	for i := range parts {
		if parts[i].kind == partPieces {
			if err := parts[i].lookUpPieces(look); err != nil {
				return err
			}
		}
	}
	return nil
}

// namePieces finds the pieces of p that are zeros and names the whole chunks among the others, once batch is flushed.
func (c *Content) namePieces(p *part, batch *digest.Batch) {
	for j := range p.pieces {
		q := &p.pieces[j]
		data := c.data[q.off : q.off+q.pages()*PageSize]
		switch {
		case isZero(data):
			q.kind = pieceZero
		case q.kind == pieceFresh:
			batch.Add(c.s.hasher, &q.name, data)
		}
	}
}

// lookUpPieces finds the pieces of p that the index knows.
func (p *part) lookUpPieces(look *lookup) (err error) {
	for j := range p.pieces {
		q := &p.pieces[j]
		if q.kind != pieceFresh {
			continue
		}
		var found bool
		if q.at, found, err = look.chunk(&q.name); err != nil {
			return err
		} else if found {
			q.kind = pieceKnown
		}
	}
	return nil
}

// askFlight finds what the index did not know among what is on its way there. What it misses the sequencer finds, but
// then it has been compressed and sealed in vain.
func (c *Content) askFlight(parts []part) {
	f := &c.s.flight
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.mu.chunks)+len(f.mu.regions) == 0 {
		return
	}
	gone := c.s.condemned.Load()
	for i := range parts {
		p := &parts[i]
		if p.kind != partPieces {
			continue
		}
		if p.whole {
			if runs, ok := f.mu.regions[p.name]; ok && f.enqueuedLocked(runs) && !gone.runs(runs) {
				p.kind, p.runs = partKnown, append(p.runs[:0], runs...)
				continue
			}
		}
		for j := range p.pieces {
			q := &p.pieces[j]
			if q.kind != pieceFresh {
				continue
			}
			if at, ok := f.mu.chunks[q.name]; ok && at.frame < f.mu.nextFrame && !gone.chunk(at) {
				q.kind, q.at = pieceKnown, at
			}
		}
	}
}

// refresh looks up again what the index did not know. It is for contents so old that the flight no longer remembers
// all that was enqueued since; see flight.forget. What is packed stays packed; the sequencer leaves out what is known.
func (c *Content) refresh() error {
	look := &c.packers[0].look
	look.begin(c.s)
	defer look.end()
	for i := range c.parts {
		p := &c.parts[i]
		if p.kind != partPieces {
			continue
		}
		if p.whole {
			runs, found, err := look.region(p.runs[:0], &p.name)
			if err != nil {
				return err
			} else if found {
				p.kind, p.runs = partKnown, runs // its chunks, too, are asked for below: others may be the same
			}
		}
		if err := p.lookUpPieces(look); err != nil {
			return err
		}
	}
	return nil
}

// lookup finds fingerprints in the index as it was at its first use, or later, and regions also as they were when they were asked for
// before (see knownRegions). What it finds can be used as long as the
// content it looks for has not been released: see condemned. It is not safe for concurrent use.
type lookup struct {
	db     *pebble.DB
	names  *summary
	gone   *condemned
	known  *knownRegions    // nil: none
	it     *pebble.Iterator // nil until one is needed: rarely, where little repeats
	frames *pebble.Iterator // of the same moment; nil until one is needed
	frame  frameRow         // the last it found; kept for its memory
	key    [1 + digest.Size]byte
	fkey   [1 + 8]byte
}

// begin readies the lookup for a content, which must have entered the flight.
func (l *lookup) begin(s *Store) {
	l.db, l.names, l.gone = s.db, &s.names, s.condemned.Load()
	l.known = s.known.Load() // after gone
	l.frame.id = pagemap.ZeroFrame
}

// end lets go of the index.
func (l *lookup) end() {
	if l.frames != nil {
		l.frames.Close()
	}
	if l.it != nil {
		l.it.Close()
	}
	l.db, l.names, l.gone, l.known, l.it, l.frames = nil, nil, nil, nil, nil, nil
}

// get returns the value of a row named by a digest, valid until the next call.
func (l *lookup) get(row byte, d *digest.Digest) (value []byte, found bool, err error) {
	if !l.names.mayHold(d) {
		return nil, false, nil
	}
	if l.it == nil {
		it, err := l.db.NewIter(&pebble.IterOptions{
			LowerBound:   []byte{rowChunk},
			UpperBound:   []byte{rowRegion + 1},
			UseL6Filters: true, // while the summary is not ready, most answers are "no", and most rows are in L6
		})
		if err != nil {
			return nil, false, err
		}
		l.it = it
	}
	l.key[0] = row
	copy(l.key[1:], d[:])
	if !l.it.SeekPrefixGE(l.key[:]) || !bytes.Equal(l.it.Key(), l.key[:]) {
		return nil, false, l.it.Error()
	}
	value, err = l.it.ValueAndErr()
	return value, err == nil, err
}

func (l *lookup) chunk(d *digest.Digest) (at chunkRef, found bool, err error) {
	v, found, err := l.get(rowChunk, d)
	if !found {
		return at, false, err
	}
	if at, err = decodeChunkRow(v); err != nil {
		return at, false, fmt.Errorf("%w: index: chunk %v: %w", ErrCorrupt, d, err)
	}
	return at, !l.gone.chunk(at), nil
}

// region appends what fills the region to dst.
func (l *lookup) region(dst pagemap.Entry, d *digest.Digest) (runs pagemap.Entry, found bool, err error) {
	if runs := l.known.find(d); runs != nil && !l.gone.runs(runs) {
		return append(dst, runs...), true, nil
	}
	v, found, err := l.get(rowRegion, d)
	if !found {
		return dst, false, err
	}
	dst, err = pagemap.DecodeEntry(dst, v)
	if err == nil && dst.Pages().Count() != pagemap.RegionPages {
		err = fmt.Errorf("%d pages", dst.Pages().Count())
	}
	if err != nil {
		return dst, false, fmt.Errorf("%w: index: region %v: %w", ErrCorrupt, d, err)
	}
	if found, err = l.present(dst); err != nil {
		return dst, false, fmt.Errorf("%w: index: region %v: %w", ErrCorrupt, d, err)
	}
	if found {
		l.known.keep(d, dst)
	}
	return dst, found && !l.gone.runs(dst), nil
}

// present reports whether all that the runs refer to is still stored. A frame that is freed takes along the names of its
// chunks, but only those regions that begin with it.
func (l *lookup) present(runs pagemap.Entry) (bool, error) {
	for _, r := range runs {
		if r.Frame == pagemap.ZeroFrame {
			continue
		}
		if r.Frame != l.frame.id {
			if ok, err := l.findFrame(r.Frame); !ok || err != nil {
				return false, err
			}
		}
		if wanted := blockSpan(int(r.Off), int(r.Off)+int(r.Pages)); l.frame.present&wanted != wanted {
			return false, nil
		}
	}
	return true, nil
}

// findFrame reads the row of a frame into l.frame. It returns false if there is none.
func (l *lookup) findFrame(id pagemap.FrameID) (bool, error) {
	if l.frames == nil {
		var err error
		if l.frames, err = l.it.Clone(pebble.CloneOptions{}); err != nil {
			return false, err
		}
	}
	l.frame.id = pagemap.ZeroFrame
	appendFrameKey(l.fkey[:0], id)
	if !l.frames.SeekPrefixGE(l.fkey[:]) || !bytes.Equal(l.frames.Key(), l.fkey[:]) {
		return false, l.frames.Error()
	}
	value, err := l.frames.ValueAndErr()
	if err == nil {
		err = decodeFrameRow(&l.frame, value)
	}
	if err != nil {
		return false, fmt.Errorf("frame %d: %w", id, err)
	}
	l.frame.id = id
	return true, nil
}

var zeros [pagemap.ChunkBytes]byte

// isZero reports whether p holds nothing but zeros.
func isZero(p []byte) bool {
	for len(p) > len(zeros) {
		if !bytes.Equal(p[:len(zeros)], zeros[:]) {
			return false
		}
		p = p[len(zeros):]
	}
	return bytes.Equal(p, zeros[:len(p)])
}
