package pagestore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/maphash"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

// rowCache keeps rows of one picture of the index, which never change. Finding a row in it costs a tenth of finding it in
// the index, and a small read needs five. It goes with the picture: where writes make a new one every few milliseconds
// hardly anything is ever asked for twice, so it keeps nothing before it was asked for often; and it is emptied when there is
// a newer picture, so that there is one of them in memory however many are being read.
//
// Rows of page maps are kept under the key from which on they were looked for; see entryAt.
type rowCache struct {
	after  int64 // rows that were asked for before any is kept
	missed atomic.Int64
	over   atomic.Bool // nothing is kept any more
	shards [rowCacheShards]rowShard
}

type rowShard struct {
	mu struct {
		sync.RWMutex
		rows  map[string][]byte // nil: there is no such row
		bytes int
	}
}

const (
	rowCacheShards = 16
	rowCacheAfter  = 64         // of Options.keepRows
	rowCacheBytes  = 16 << 20   // of all rows that are kept, with what keeping them takes
	rowCacheCost   = 48 + 2*8*2 // of a row in a map, beside key and value
)

var rowSeed = maphash.MakeSeed()

// find returns the row of a key, nil if there is none, and whether that is known.
func (c *rowCache) find(key []byte) (value []byte, known bool) {
	s := &c.shards[maphash.Bytes(rowSeed, key)%rowCacheShards].mu
	s.RLock()
	value, known = s.rows[string(key)]
	s.RUnlock()
	return value, known
}

// keep keeps a row from now on, if it may. Nobody may change value any more.
func (c *rowCache) keep(key, value []byte) {
	if c.missed.Add(1) <= c.after {
		return
	}
	s := &c.shards[maphash.Bytes(rowSeed, key)%rowCacheShards].mu
	s.Lock()
	defer s.Unlock()
	if _, known := s.rows[string(key)]; known || c.over.Load() {
		return
	}
	if s.rows == nil {
		s.rows = make(map[string][]byte)
	}
	s.bytes += len(key) + len(value) + rowCacheCost
	for other, v := range s.rows { // any will do
		if s.bytes <= rowCacheBytes/rowCacheShards {
			break
		}
		s.bytes -= len(other) + len(v) + rowCacheCost
		delete(s.rows, other)
	}
	s.rows[string(key)] = value
}

// drop lets go of all rows. Those who have them keep them.
func (c *rowCache) drop() {
	if c.over.Store(true); c.missed.Load() <= c.after {
		return // whoever adds to that finds that it is over
	}
	for i := range c.shards {
		s := &c.shards[i].mu
		s.Lock()
		s.rows = nil
		s.Unlock()
	}
}

// get returns a row of the index, nil if there is none. It is not changed by anyone, and stays valid when the picture goes.
func (p *picture) get(key []byte) ([]byte, error) {
	if value, known := p.rows.find(key); known {
		return value, nil
	}
	return p.load(bytes.Clone(key)) // which alone escapes
}

func (p *picture) load(key []byte) ([]byte, error) {
	row, closer, err := p.snap.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		p.rows.keep(key, nil)
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	value := append(make([]byte, 0, len(row)), row...) // not nil, however short
	p.rows.keep(key, value)
	return value, closer.Close()
}

// entryAt returns the newest entry of a region that generation at shows, and its generation; nil if there is none. key is
// that of an entry of generation at, and is known as the row that is found from there on, which begins with the generation.
func (p *picture) entryAt(key []byte) (g Gen, entry []byte, err error) {
	value, known := p.rows.find(key)
	if !known {
		if value, err = p.seekEntry(bytes.Clone(key)); err != nil {
			return 0, nil, err
		}
		p.rows.keep(key, value)
	}
	if value == nil {
		return 0, nil, nil
	}
	return Gen(binary.LittleEndian.Uint32(value)), value[4:], nil
}

func (p *picture) seekEntry(key []byte) (value []byte, err error) {
	no, _, err := decodeMapKey(key)
	if err != nil {
		return nil, err
	}
	it, err := p.snap.NewIter(&pebble.IterOptions{LowerBound: key, UpperBound: append(bytes.Clone(key[:len(key)-4]), 0xff, 0xff, 0xff, 0xff, 0)})
	if err != nil {
		return nil, err
	}
	defer it.Close()
	if !it.First() {
		return nil, it.Error()
	}
	found, g, err := decodeMapKey(it.Key())
	if err != nil || found != no {
		return nil, err
	}
	entry, err := it.ValueAndErr()
	if err != nil {
		return nil, err
	}
	return append(binary.LittleEndian.AppendUint32(make([]byte, 0, 4+len(entry)), uint32(g)), entry...), nil
}
