package pagestore

import (
	"encoding/binary"

	"pagevault/internal/digest"
	framing "pagevault/pagestore/frame"
	"pagevault/pagestore/pagemap"
)

// packer stores the pieces of a content that nobody seems to have stored yet: it packs them into frames, in the order
// of their pages but whole chunks first, so that these lie in blocks of their own, and encodes the frames. It is one
// goroutine's share of a content, and is kept for its memory.
type packer struct {
	frames []prepared
	order  []int32 // pieces of all frames, by number in the content
	arena  []byte  // stored forms of all frames that are not bytes of the caller
	gather []byte  // the content of a frame whose pieces are not side by side
	names  nameTable
	look   lookup
	batch  digest.Batch
}

// prepared is a frame in its stored form. Whether all of it is needed turns out when it is enqueued.
type prepared struct {
	header framing.Header
	stored []byte
	pieces []int32 // in the order they have in the frame
}

// maxArena is the most memory for stored forms that a packer keeps: what two parallel halves of a large content need.
const maxArena = 4 << 20

// release forgets what belongs to the caller.
func (k *packer) release() {
	for i := range k.frames {
		k.frames[i].stored, k.frames[i].pieces = nil, nil
	}
	k.frames, k.order = k.frames[:0], k.order[:0]
	if cap(k.arena) > maxArena {
		k.arena = nil
	}
}

// pack packs and encodes the fresh and the ragged pieces of parts.
func (k *packer) pack(c *Content, parts []part) {
	k.choose(c, parts)
	if len(k.order) == 0 {
		return
	}
	limit, pages := uint8(c.s.o.framePages), 0
	for _, i := range k.order {
		pages += c.pieces[i].pages()
	}
	// Each frame needs some room beyond its content while it is encoded.
	frames := pages/(int(limit)-pagemap.ChunkPages+1) + 1
	if need := pages*PageSize + frames*(framing.Room(framing.MaxBytes)-framing.MaxBytes); cap(k.arena) < need {
		k.arena = make([]byte, 0, need)
	}
	k.arena = k.arena[:0]
	e := c.s.encoder(c.s.method)
	first, size := 0, 0
	for n, i := range k.order {
		if q := &c.pieces[i]; size+q.pages() > int(limit) {
			k.frame(c, &e, k.order[first:n], size)
			first, size = n, 0
		}
		size += c.pieces[i].pages()
	}
	k.frame(c, &e, k.order[first:], size)
}

// choose lists the pieces to be stored, each chunk once.
func (k *packer) choose(c *Content, parts []part) {
	n := 0
	for i := range parts {
		n += len(parts[i].pieces)
	}
	k.names.reset(n)
	for i := range parts {
		p := &parts[i]
		for j := range p.pieces {
			if q := &p.pieces[j]; p.kind != partPieces || q.kind != pieceFresh {
				continue
			} else if same := k.names.add(c.pieces, int32(p.first+j)); same >= 0 {
				q.kind, q.same = pieceSame, same
			} else {
				k.order = append(k.order, int32(p.first+j))
			}
		}
	}
	for i := range parts {
		p := &parts[i]
		for j := 0; j < len(p.pieces); j += max(1, len(p.pieces)-1) { // only the first and the last of a part can be ragged
			if p.kind == partPieces && p.pieces[j].kind == pieceRagged {
				k.order = append(k.order, int32(p.first+j))
			}
		}
	}
}

// frame encodes one frame of some pieces, which have so many pages.
func (k *packer) frame(c *Content, e *framing.Encoder, pieces []int32, pages int) {
	if len(k.frames) < cap(k.frames) {
		k.frames = k.frames[:len(k.frames)+1] // keeps the memory of checksums
	} else {
		k.frames = append(k.frames, prepared{})
	}
	f := &k.frames[len(k.frames)-1]
	f.pieces = pieces
	f.header.Pages, f.header.Present = uint8(pages), allBlocks(pages)
	content, own := c.gather(&k.gather, pieces, pages)
	f.stored, k.arena = e.Encode(k.arena, &f.header, content)
	if own && &f.stored[0] == &content[0] { // stored as it is, and the memory is needed for the next frame
		n := len(k.arena)
		k.arena = append(k.arena, content...)
		f.stored = k.arena[n:]
	}
}

// gather returns the bytes of pieces, one after the other: those of the content where they are side by side, else a copy
// in *buf; own says that it is one.
func (c *Content) gather(buf *[]byte, pieces []int32, pages int) (content []byte, own bool) {
	from := c.pieces[pieces[0]].off
	end := from
	for _, i := range pieces {
		q := &c.pieces[i]
		if q.off != end {
			return c.copyPieces(buf, pieces), true
		}
		end += q.pages() * PageSize
	}
	return c.data[from:end], false
}

func (c *Content) copyPieces(buf *[]byte, pieces []int32) []byte {
	if *buf == nil {
		*buf = make([]byte, 0, pagemap.RegionBytes)
	}
	*buf = (*buf)[:0]
	for _, i := range pieces {
		q := &c.pieces[i]
		*buf = append(*buf, c.data[q.off:q.off+q.pages()*PageSize]...)
	}
	return *buf
}

// nameTable finds chunks that a content holds more than once. It is a hash table of piece numbers plus one; names are
// uniform, so their bytes are the hash.
type nameTable struct {
	slots []int32
}

// reset empties the table and makes it large enough for n names.
func (t *nameTable) reset(n int) {
	size := 16
	for size < 2*n {
		size *= 2
	}
	if cap(t.slots) < size {
		t.slots = make([]int32, size)
	}
	t.slots = t.slots[:size]
	clear(t.slots)
}

// add adds piece number i of pieces, and returns the number of the one of the same name that was added before, -1 if
// there is none.
func (t *nameTable) add(pieces []piece, i int32) int32 {
	name := &pieces[i].name
	for h := binary.LittleEndian.Uint32(name[4:]); ; h++ {
		slot := &t.slots[h&uint32(len(t.slots)-1)]
		switch {
		case *slot == 0:
			*slot = i + 1
			return -1
		case pieces[*slot-1].name == *name:
			return *slot - 1
		}
	}
}
