package blobstore

import (
	"encoding/binary"
	"sync"

	"pagevault/pagestore"
)

// The list of a block blob says which blocks it consists of. It lies in the volume of the blob, from listPage on: first the
// extents, in the order of the blob, then as many ids.
//
//	extent: start in the blob (6) · first region (6) · bytes (4), little-endian
//	id:     length (1) · id
//
// A reader needs extents only, and finds the one that it wants by bisection, so that it reads little of a long list.

// listPage is where the list begins. There is room for 2^43 regions of content before it.
const listPage = pagestore.PageNo(1) << 50

const (
	extentBytes  = 16
	windowBytes  = 4 << 10 // of extents that a reader has at a time
	windowBlocks = windowBytes / extentBytes
)

// extent is a block of a blob, and where it lies.
type extent struct {
	start int64 // in the blob
	slot  uint64
	size  int64
}

func (e *extent) end() int64 { return e.start + e.size }

func appendExtent(dst []byte, e extent) []byte {
	var p [16]byte
	binary.LittleEndian.PutUint64(p[0:], uint64(e.start))
	binary.LittleEndian.PutUint64(p[6:], e.slot)
	binary.LittleEndian.PutUint32(p[12:], uint32(e.size))
	return append(dst, p[:]...)
}

func decodeExtent(p []byte) extent {
	const low48 = 1<<48 - 1
	return extent{
		start: int64(binary.LittleEndian.Uint64(p) & low48),
		slot:  binary.LittleEndian.Uint64(p[6:]) & low48,
		size:  int64(binary.LittleEndian.Uint32(p[12:])),
	}
}

// appendBlockList appends a list, of which every extent has an id.
func appendBlockList(dst []byte, extents []extent, ids [][]byte) []byte {
	for _, e := range extents {
		dst = appendExtent(dst, e)
	}
	for _, id := range ids {
		dst = append(append(dst, byte(len(id))), id...)
	}
	return dst
}

// decodeBlockList reads a list of so many blocks. ids borrow p.
func decodeBlockList(p []byte, count int) (extents []extent, ids [][]byte, err error) {
	d := rowReader{p: p}
	table := d.take(count * extentBytes)
	if d.bad {
		return nil, nil, badRow("list of blocks", nil)
	}
	extents, ids = make([]extent, count), make([][]byte, count)
	at := int64(0)
	for i := range extents {
		e := decodeExtent(table[i*extentBytes:])
		d.must(e.start == at && e.size > 0)
		at, extents[i] = e.end(), e
		ids[i] = d.take(int(d.byte()))
		d.must(len(ids[i]) > 0 && len(ids[i]) <= BlockIDMax)
	}
	if d.bad || len(d.p) > 0 {
		return nil, nil, badRow("list of blocks", nil)
	}
	return extents, ids, nil
}

// readBlockList reads the whole list of a block blob, a snapshot or a version.
func readBlockList(v *pagestore.View, row *blobRow) (extents []extent, ids [][]byte, err error) {
	if row.blocks.count == 0 {
		return nil, nil, nil
	}
	p := make([]byte, pagesFor(row.blocks.list)*PageSize)
	if err := v.Read(row.volume, row.gen, listPage, p); err != nil {
		return nil, nil, err
	}
	extents, ids, err = decodeBlockList(p[:row.blocks.list], int(row.blocks.count))
	if n := len(extents); err == nil && extents[n-1].end() != row.size {
		err = badRow("list of blocks that make another size", nil)
	}
	return extents, ids, err
}

// blockMap finds the blocks in which bytes of a blob lie. It is safe for concurrent use.
type blockMap struct {
	view   *pagestore.View
	volume pagestore.VolumeID
	gen    pagestore.Gen
	count  int
	mu     sync.Mutex
	window [windowBytes]byte
	first  int // block of the window; -1: there is none
}

// newBlockMap returns nil for a blob whose content lies at the beginning of its volume.
func newBlockMap(v *pagestore.View, row *blobRow) *blockMap {
	if row.typ != BlockBlob || row.blocks.count == 0 {
		return nil
	}
	return &blockMap{view: v, volume: row.volume, gen: row.gen, count: int(row.blocks.count), first: -1}
}

// find returns the block in which the byte at off lies, which is one of the blob.
func (m *blockMap) find(off int64) (extent, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	last := (m.count - 1) / windowBlocks
	for low, high := 0, last; ; {
		w := (low + high) / 2
		if m.first >= 0 && low == 0 && high == last { // it is often the same window as before, or the next
			w = m.first / windowBlocks
			if n := m.blocks(); w < last && off >= m.at(n-1).end() {
				w++
			}
		}
		if err := m.load(w); err != nil {
			return extent{}, err
		}
		n := m.blocks()
		switch {
		case off < m.at(0).start && w > low:
			high = w - 1
		case off >= m.at(n-1).end() && w < high:
			low = w + 1
		default:
			return m.search(off, n)
		}
	}
}

// blocks returns how many blocks the window has.
func (m *blockMap) blocks() int { return min(windowBlocks, m.count-m.first) }

func (m *blockMap) at(i int) *extent {
	e := decodeExtent(m.window[i*extentBytes:])
	return &e
}

// load makes the window the one of that number.
func (m *blockMap) load(w int) error {
	if m.first == w*windowBlocks {
		return nil
	}
	m.first = -1
	n := min(windowBlocks, m.count-w*windowBlocks) * extentBytes
	p := m.window[:(n+PageSize-1)&^(PageSize-1)]
	if err := m.view.Read(m.volume, m.gen, listPage+pageNo(int64(w)*windowBytes), p); err != nil {
		return err
	}
	m.first = w * windowBlocks
	return nil
}

// search finds the block in the window, which has n.
func (m *blockMap) search(off int64, n int) (extent, error) {
	low, high := 0, n-1
	for low < high {
		if mid := (low + high + 1) / 2; off < m.at(mid).start {
			high = mid - 1
		} else {
			low = mid
		}
	}
	e := m.at(low)
	if off < e.start || off >= e.end() {
		return extent{}, badRow("list of blocks", m.window[:extentBytes])
	}
	return *e, nil
}
