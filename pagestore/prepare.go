package pagestore

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"runtime"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"pagevault/internal/digest"
	"pagevault/pagestore/pagemap"
	"pagevault/replication"
)

// Content is bytes to be written, digested: cut into regions and pieces, hashed, zeros found, fingerprints looked up.
// It belongs to one goroutine, may be written any number of times and must be released.
type Content struct {
	s      *Store
	data   []byte // borrowed from the caller of Prepare until Release
	pages  Range
	parts  []part
	pieces []piece // of all parts; a part owns parts[i].pieces of them

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
}

type pieceKind uint8

const (
	pieceFresh  pieceKind = iota // a chunk the index does not know
	pieceKnown                   // a chunk the index knows
	pieceZero                    // nothing but zeros
	pieceRagged                  // not a whole aligned chunk: stored without being named
)

// piece is one aligned chunk, or what a write covers of one.
type piece struct {
	kind     pieceKind
	from, to uint8 // pages of the region
	crc      uint32
	at       chunkRef // of a pieceKnown
	name     digest.Digest
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

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
	c := s.contents.Get().(*Content)
	c.s, c.data, c.pages = s, p, Range{first, first + n}
	c.cut()
	s.flight.enter(c)
	if err := c.prepare(c.work); err != nil {
		c.Release()
		return nil, err
	}
	return c, nil
}

// Release ends the use of the content and of the bytes given to Prepare.
func (c *Content) Release() {
	s := c.s
	s.flight.leave(c)
	c.s, c.data = nil, nil
	s.contents.Put(c)
}

// cut lays out the parts and the pieces, so that parts can be worked on independently.
func (c *Content) cut() {
	first, end := regionRange(c.pages)
	c.parts, c.pieces = c.parts[:0], c.pieces[:0]
	for no := first; no < end; no++ {
		from, to := regionPart(c.pages, no)
		if len(c.parts) < cap(c.parts) {
			c.parts = c.parts[:len(c.parts)+1] // keeps the memory of runs
		} else {
			c.parts = append(c.parts, part{})
		}
		p := &c.parts[len(c.parts)-1]
		p.kind, p.whole, p.from, p.to, p.no = partPieces, to-from == pagemap.RegionPages, uint8(from), uint8(to), no
		p.off = int(PageNo(no*pagemap.RegionPages)+PageNo(from)-c.pages.Start) * PageSize
		for at := from; at < to; {
			next := min((at/pagemap.ChunkPages+1)*pagemap.ChunkPages, to)
			kind := pieceFresh
			if next-at < pagemap.ChunkPages {
				kind = pieceRagged
			}
			c.pieces = append(c.pieces, piece{kind: kind, from: uint8(at), to: uint8(next)})
			at = next
		}
	}
	rest := c.pieces // only now does it not move any more
	for i := range c.parts {
		p := &c.parts[i]
		n := (int(p.to)+pagemap.ChunkPages-1)/pagemap.ChunkPages - int(p.from)/pagemap.ChunkPages
		p.pieces, rest = rest[:n:n], rest[n:]
	}
}

// prepare calls work for all parts, from several goroutines if there are many.
func (c *Content) prepare(work func(parts []part) error) error {
	n := min(runtime.GOMAXPROCS(0), len(c.data)*2/parallelBytes)
	if n < 2 {
		return work(c.parts)
	}
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		parts := c.parts[len(c.parts)*i/n : len(c.parts)*(i+1)/n]
		if i == n-1 {
			errs[i] = work(parts)
			break
		}
		wg.Go(func() { errs[i] = work(parts) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// work digests parts.
func (c *Content) work(parts []part) error {
	look := lookup{db: c.s.db, names: &c.s.names}
	defer look.close()
	for i := range parts {
		p := &parts[i]
		data := c.data[p.off : p.off+int(p.to-p.from)*PageSize]
		if isZero(data) {
			p.kind = partZero
			continue
		}
		if p.whole {
			c.s.hasher.Sum(&p.name, data)
			var found bool
			var err error
			if p.runs, found, err = look.region(p.runs[:0], &p.name); err != nil {
				return err
			} else if found {
				p.kind = partKnown
				continue
			}
		}
		for j := range p.pieces {
			if err := c.digestPiece(&look, &p.pieces[j], data[int(p.pieces[j].from-p.from)*PageSize:]); err != nil {
				return err
			}
		}
	}
	return nil
}

// digestPiece completes q, whose bytes data begins with.
func (c *Content) digestPiece(look *lookup, q *piece, data []byte) (err error) {
	data = data[:int(q.to-q.from)*PageSize]
	switch {
	case isZero(data):
		q.kind = pieceZero
	case q.kind == pieceFresh:
		c.s.hasher.Sum(&q.name, data)
		q.crc = crc32.Checksum(data, castagnoli) // still in the cache of the core
		var found bool
		if q.at, found, err = look.chunk(&q.name); found {
			q.kind = pieceKnown
		}
	}
	return err
}

// refresh looks up again what the index did not know. It is for contents so old that the flight no longer remembers
// all that was enqueued since; see flight.forget.
func (c *Content) refresh() error {
	look := lookup{db: c.s.db, names: &c.s.names}
	defer look.close()
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
				p.kind, p.runs = partKnown, runs
				continue
			}
		}
		for j := range p.pieces {
			if q := &p.pieces[j]; q.kind == pieceFresh {
				at, found, err := look.chunk(&q.name)
				if err != nil {
					return err
				} else if found {
					q.kind, q.at = pieceKnown, at
				}
			}
		}
	}
	return nil
}

// lookup finds fingerprints in the index as it was at its first use, or later. It is not safe for concurrent use.
type lookup struct {
	db    *pebble.DB
	names *summary
	it    *pebble.Iterator // nil until one is needed: rarely, where little repeats
	key   [1 + digest.Size]byte
}

func (l *lookup) close() {
	if l.it != nil {
		l.it.Close()
	}
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
	return at, true, nil
}

// region appends what fills the region to dst.
func (l *lookup) region(dst pagemap.Entry, d *digest.Digest) (runs pagemap.Entry, found bool, err error) {
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
	return dst, true, nil
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
