package pagestore

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"pagevault/internal/digest"
	"pagevault/pagestore/pagemap"
	"pagevault/pagestore/refcount"
)

// frame adds a frame, which nothing refers to yet, and the names of its chunks.
func (a *applier) frame(f *frame) error {
	if f.id != a.state.nextFrame {
		return fmt.Errorf("%w: frame %d, want %d", ErrCorrupt, f.id, a.state.nextFrame)
	}
	a.state.nextFrame++
	s := a.frameOf(f.id)
	s.loaded, s.exists = true, true
	a.place(s, f)
	for i := range f.chunks {
		if err := a.nameChunk(&f.chunks[i].name, chunkRef{f.id, f.chunks[i].off}); err != nil {
			return err
		}
	}
	return a.account(s)
}

// place makes the row of a frame say that it is stored as f says, from a.at on.
func (a *applier) place(s *frameState, f *frame) {
	crcs := append(s.row.crcs[:0], f.crcs...)
	s.row.frame, s.row.at = *f, a.at
	s.row.crcs, s.row.chunks, s.row.gone = crcs, nil, nil
	s.dirty = true
	a.at.Offset += f.stored
}

// move replaces the stored bytes of a frame, and lets go of blocks that nothing refers to.
func (a *applier) move(f *frame) error {
	a.frees = true
	s, err := a.settled(f.id)
	if err != nil {
		return err
	}
	live := s.row.counts.Live()
	switch {
	case !s.exists:
		a.mismatched("frame %d is moved and does not exist", f.id)
	case f.pages != s.row.pages || f.present&^s.row.present != 0:
		a.mismatched("frame %d of %d pages, blocks %#x, is moved with %d pages, blocks %#x", f.id, s.row.pages, s.row.present, f.pages, f.present)
	case live&^refcount.Set(f.present) != 0:
		a.mismatched("frame %d is moved with blocks %#x, and %#x are in use", f.id, f.present, live)
	}
	if a.state.mismatch != 0 {
		a.at.Offset += f.stored // the bytes are in the log
		return nil
	}
	a.place(s, f)
	s.row.moved = true
	if err := a.unnameChunks(f.id, f.gone); err != nil {
		return err
	}
	return a.account(s)
}

// free lets go of a frame that nothing refers to.
func (a *applier) free(f *frame) error {
	a.frees = true
	s, err := a.settled(f.id)
	if err != nil {
		return err
	}
	switch live := s.row.counts.Live(); {
	case !s.exists:
		a.mismatched("frame %d is freed and does not exist", f.id)
	case live != 0:
		a.mismatched("frame %d is freed, and its blocks %#x are in use", f.id, live)
	}
	if a.state.mismatch != 0 {
		return nil
	}
	s.exists, s.dirty = false, true
	if err := a.unnameChunks(f.id, f.gone); err != nil {
		return err
	}
	if err := a.unnameRegions(f.id); err != nil {
		return err
	}
	return a.account(s)
}

// nameChunk makes name that of a chunk stored at at.
func (a *applier) nameChunk(name *digest.Digest, at chunkRef) error {
	known := false
	perhaps := a.names.mayHold(name)
	a.names.add(name)
	if perhaps {
		var err error
		if _, known, err = a.findChunk(name); err != nil {
			return err
		}
	}
	if !known {
		a.state.Chunks++
	}
	a.named.put(rowChunk, name, namedRow{at: at})
	a.key = appendDigestKey(a.key[:0], rowChunk, name)
	a.value = appendChunkRow(a.value[:0], at)
	return a.batch.Set(a.key, a.value, nil)
}

// findChunk returns where a chunk is stored, as the batch leaves it.
func (a *applier) findChunk(name *digest.Digest) (at chunkRef, found bool, err error) {
	if r, ok := a.named.get(rowChunk, name); ok {
		return r.at, !r.deleted, nil
	}
	a.key = appendDigestKey(a.key[:0], rowChunk, name)
	value, closer, err := a.db.Get(a.key)
	if errors.Is(err, pebble.ErrNotFound) {
		return at, false, nil
	}
	if err != nil {
		return at, false, fmt.Errorf("index: chunk %v: %w", name, err)
	}
	defer closer.Close()
	if at, err = decodeChunkRow(value); err != nil {
		return at, false, fmt.Errorf("%w: index: chunk %v: %w", ErrCorrupt, name, err)
	}
	return at, true, nil
}

// unnameChunks deletes names of chunks that a frame holds no more, unless they are those of chunks stored elsewhere by
// now.
func (a *applier) unnameChunks(id pagemap.FrameID, gone []namedChunk) error {
	for i := range gone {
		c := &gone[i]
		at, found, err := a.findChunk(&c.name)
		if err != nil {
			return err
		}
		if !found || at != (chunkRef{id, c.off}) {
			continue
		}
		a.state.Chunks--
		a.names.remove(1)
		a.named.put(rowChunk, &c.name, namedRow{deleted: true})
		a.key = appendDigestKey(a.key[:0], rowChunk, &c.name)
		if err := a.batch.Delete(a.key, nil); err != nil {
			return err
		}
	}
	return nil
}

// nameRegion makes name that of a region which runs fill. It may have been that of other runs, which are of no use any
// more or were not known to whoever prepared the write; their first frame, which may well stay, then lists it no longer.
func (a *applier) nameRegion(name *digest.Digest, runs pagemap.Entry) error {
	first := firstFrame(runs)
	perhaps := a.names.mayHold(name)
	a.names.add(name)
	if perhaps {
		was, err := a.firstOfRegion(name)
		if err != nil {
			return err
		}
		if was != first && was != pagemap.ZeroFrame {
			a.key = appendBackKey(a.key[:0], was, name)
			if err := a.batch.Delete(a.key, nil); err != nil {
				return err
			}
		}
	}
	a.named.put(rowRegion, name, namedRow{at: chunkRef{frame: first}})
	a.key = appendDigestKey(a.key[:0], rowRegion, name)
	a.value = pagemap.AppendEntry(a.value[:0], runs)
	if err := a.batch.Set(a.key, a.value, nil); err != nil || first == pagemap.ZeroFrame {
		return err
	}
	a.key = appendBackKey(a.key[:0], first, name)
	return a.batch.Set(a.key, nil, nil)
}

// firstFrame returns the frame of the first run that is not of zeros, ZeroFrame if there is none.
func firstFrame(runs pagemap.Entry) pagemap.FrameID {
	for _, r := range runs {
		if r.Frame != pagemap.ZeroFrame {
			return r.Frame
		}
	}
	return pagemap.ZeroFrame
}

// unnameRegions deletes the names of regions whose first frame is one that goes. Names of regions that need it further
// on are found to be of no use when they are looked up.
func (a *applier) unnameRegions(id pagemap.FrameID) error {
	prefix := appendBackKey(nil, id, nil)
	for i := range a.named.entries {
		if e := &a.named.entries[i]; e.row == rowRegion && !e.deleted && e.at.frame == id {
			if err := a.unnameRegion(id, e.name); err != nil {
				return err
			}
		}
	}
	it, err := a.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: appendBackKey(nil, id+1, nil)})
	if err != nil {
		return err
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		_, name, err := decodeBackKey(it.Key())
		if err != nil {
			return fmt.Errorf("%w: index: %w", ErrCorrupt, err)
		}
		if err := a.unnameRegion(id, name); err != nil {
			return err
		}
	}
	return it.Error()
}

// unnameRegion deletes the name of a region, unless another frame is its first by now, and that it is listed with the
// frame.
func (a *applier) unnameRegion(id pagemap.FrameID, name digest.Digest) error {
	a.key = appendBackKey(a.key[:0], id, &name)
	if err := a.batch.Delete(a.key, nil); err != nil {
		return err
	}
	first, err := a.firstOfRegion(&name)
	if err != nil || first != id {
		return err
	}
	a.names.remove(1)
	a.named.put(rowRegion, &name, namedRow{deleted: true})
	a.key = appendDigestKey(a.key[:0], rowRegion, &name)
	return a.batch.Delete(a.key, nil)
}

// firstOfRegion returns the first frame of a region that has a name, ZeroFrame if it has none or there is no such name.
func (a *applier) firstOfRegion(name *digest.Digest) (pagemap.FrameID, error) {
	if r, ok := a.named.get(rowRegion, name); ok {
		return r.at.frame, nil
	}
	a.key = appendDigestKey(a.key[:0], rowRegion, name)
	value, closer, err := a.db.Get(a.key)
	if errors.Is(err, pebble.ErrNotFound) {
		return pagemap.ZeroFrame, nil
	}
	if err != nil {
		return 0, fmt.Errorf("index: region %v: %w", name, err)
	}
	defer closer.Close()
	if a.runs, err = pagemap.DecodeEntry(a.runs[:0], value); err != nil {
		return 0, fmt.Errorf("%w: index: region %v: %w", ErrCorrupt, name, err)
	}
	return firstFrame(a.runs), nil
}

func (a *applier) session(o *op) error {
	if uint64(o.session) != a.state.nextSession {
		return fmt.Errorf("%w: session %d, want %d", ErrCorrupt, o.session, a.state.nextSession)
	}
	a.state.nextSession++
	a.key = appendSessionKey(a.key[:0], o.session)
	return a.batch.Set(a.key, o.salt[:], nil)
}

// named is what a batch has made of rows named by fingerprints, so that they can be asked for before it is committed.
// It is a hash table that is emptied at the cost of what is in it; fingerprints are their own hashes.
type named struct {
	slots   []uint32 // 1 + index into entries; 0: free. A power of two, at least twice as many as entries
	entries []namedEntry
}

type namedEntry struct {
	name digest.Digest
	row  byte
	namedRow
}

// namedRow is what became of a row: where the chunk is, or the first frame of the region.
type namedRow struct {
	at      chunkRef
	deleted bool
}

const minNamedSlots = 1 << 12

// find returns the slot of a name, or the free one where it belongs.
func (n *named) find(row byte, name *digest.Digest) (slot int) {
	mask := len(n.slots) - 1
	for slot = n.hash(row, name) & mask; ; slot = (slot + 1) & mask {
		i := n.slots[slot]
		if i == 0 {
			return slot
		}
		if e := &n.entries[i-1]; e.row == row && e.name == *name {
			return slot
		}
	}
}

func (n *named) hash(row byte, name *digest.Digest) int {
	return int(row) + int(binary.LittleEndian.Uint32(name[8:]))
}

func (n *named) get(row byte, name *digest.Digest) (r namedRow, ok bool) {
	if len(n.entries) == 0 {
		return r, false
	}
	if i := n.slots[n.find(row, name)]; i != 0 {
		return n.entries[i-1].namedRow, true
	}
	return r, false
}

func (n *named) put(row byte, name *digest.Digest, r namedRow) {
	if 2*len(n.entries) >= len(n.slots) {
		n.grow()
	}
	slot := n.find(row, name)
	if i := n.slots[slot]; i != 0 {
		n.entries[i-1].namedRow = r
		return
	}
	n.entries = append(n.entries, namedEntry{*name, row, r})
	n.slots[slot] = uint32(len(n.entries))
}

func (n *named) grow() {
	n.slots = make([]uint32, max(minNamedSlots, 2*len(n.slots)))
	for i := range n.entries {
		e := &n.entries[i]
		n.slots[n.find(e.row, &e.name)] = uint32(i + 1)
	}
}

// clear empties the table and keeps its memory.
func (n *named) clear() {
	if len(n.entries) > len(n.slots)/32 {
		clear(n.slots)
	} else {
		for i := len(n.entries) - 1; i >= 0; i-- { // last in, first out: what was found before is found until it goes
			e := &n.entries[i]
			n.slots[n.find(e.row, &e.name)] = 0
		}
	}
	n.entries = n.entries[:0]
}
