package pagestore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"pagevault/internal/digest"
)

// summary answers the commonest question about a fingerprint, "was this never stored?", from memory: a look-up in the
// index costs some microseconds for each chunk, more than hashing it. It may say "perhaps" of what was never stored, in
// one case of a hundred, and never says "no" of what was.
//
// It is a list of blocked Bloom filters, each twice as large as the one before, because how much will be stored is not
// known. It is not kept on disk: a store that is opened reads the fingerprints of its index in the background, and until
// it has, the answer is always "perhaps".
//
// It is safe for concurrent use.
type summary struct {
	layers  atomic.Pointer[[]*layer]
	ready   atomic.Bool // every fingerprint of the index was added
	growing sync.Mutex  // held to add a layer
}

const (
	bitsPerName = 12 // one name in a hundred is wrongly "perhaps"; 1.5 bytes of memory a chunk
	bitsSet     = 6
	blockWords  = 8 // 64 bytes: a look-up in a layer is one cache line
	minNames    = 1 << 20
)

// layer is a blocked Bloom filter for a number of names.
type layer struct {
	words []atomic.Uint64
	room  atomic.Int64 // names it can still take
}

func newLayer(names uint64) *layer {
	blocks := (names*bitsPerName + 64*blockWords - 1) / (64 * blockWords)
	l := &layer{words: make([]atomic.Uint64, blocks*blockWords)}
	l.room.Store(int64(names))
	return l
}

// probe returns the block of the layer that a name belongs to, and the places of its bits there, nine bits each.
// Digests are uniform, so their bytes are the hash.
func (l *layer) probe(d *digest.Digest) (block []atomic.Uint64, places uint64) {
	blocks := uint64(len(l.words)) / blockWords
	n := uint64(binary.LittleEndian.Uint32(d[:])) * blocks >> 32
	return l.words[n*blockWords:][:blockWords], binary.LittleEndian.Uint64(d[8:])
}

func (l *layer) add(d *digest.Digest) {
	block, places := l.probe(d)
	for range bitsSet {
		w, bit := &block[places>>6%blockWords], uint64(1)<<(places&63)
		if w.Load()&bit == 0 {
			w.Or(bit)
		}
		places >>= 9
	}
}

func (l *layer) mayHold(d *digest.Digest) bool {
	block, places := l.probe(d)
	for range bitsSet {
		if block[places>>6%blockWords].Load()>>(places&63)&1 == 0 {
			return false
		}
		places >>= 9
	}
	return true
}

// init makes the summary ready to be added to; names is how many there will soon be.
func (s *summary) init(names uint64) {
	s.layers.Store(&[]*layer{newLayer(max(2*names, minNames))})
}

// mayHold returns false only if the name was never added and the summary knows all there are.
func (s *summary) mayHold(d *digest.Digest) bool {
	if !s.ready.Load() {
		return true
	}
	layers := *s.layers.Load()
	for i := len(layers) - 1; i >= 0; i-- { // the last is the largest
		if layers[i].mayHold(d) {
			return true
		}
	}
	return false
}

// add adds a name. From then on mayHold of it is true, in every goroutine that knows of the call.
func (s *summary) add(d *digest.Digest) {
	layers := *s.layers.Load()
	last := layers[len(layers)-1]
	if last.room.Add(-1) < 0 {
		last = s.grow(last)
	}
	last.add(d)
}

// grow returns a layer with room, adding one unless somebody else has since full was the last.
func (s *summary) grow(full *layer) *layer {
	s.growing.Lock()
	defer s.growing.Unlock()
	layers := *s.layers.Load()
	if last := layers[len(layers)-1]; last != full {
		return last
	}
	next := newLayer(uint64(len(full.words)) * 64 / bitsPerName * 2)
	grown := append(layers[:len(layers):len(layers)], next)
	s.layers.Store(&grown)
	return next
}

// fill adds the fingerprints that the index holds, unless stop is closed before. What is applied meanwhile is added by
// add.
func (s *summary) fill(db *pebble.DB, stop <-chan struct{}) error {
	for _, row := range []byte{rowChunk, rowRegion} {
		it, err := db.NewIter(&pebble.IterOptions{LowerBound: []byte{row}, UpperBound: []byte{row + 1}})
		if err != nil {
			return err
		}
		stopped, err := s.fillFrom(it, stop)
		if err = errors.Join(err, it.Close()); stopped || err != nil {
			return err
		}
	}
	s.ready.Store(true)
	return nil
}

func (s *summary) fillFrom(it *pebble.Iterator, stop <-chan struct{}) (stopped bool, err error) {
	var d digest.Digest
	n := 0
	for ok := it.First(); ok; ok = it.Next() {
		if len(it.Key()) != 1+digest.Size {
			return false, fmt.Errorf("%w: fingerprint key %x", ErrCorrupt, it.Key())
		}
		copy(d[:], it.Key()[1:])
		s.add(&d)
		if n++; n%1024 == 0 {
			select {
			case <-stop:
				return true, nil
			default:
			}
		}
	}
	return false, nil // an error of the iterator is reported by its Close
}
