package pagestore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"pagevault/internal/digest"
)

// summary answers the commonest question about a fingerprint, "was this never stored?", from memory: a look-up in the
// index costs some microseconds for each chunk, more than hashing it. It may say "perhaps" of what was never stored, in
// one case of some hundreds, and never says "no" of what the index holds.
//
// It survives restarts in a file beside the index; see summaryfile.go. Without that file, or where it cannot be used, a
// store that is opened reads the names of its index in the background, and until it has, the answer is always
// "perhaps". Names cannot be taken out of a filter: those that left the index are counted, and when they are too many
// the names of the index are read again, into a fresh set that then takes the place of the old one.
//
// It is safe for concurrent use. Names are added by whoever applies records, under batch.
type summary struct {
	// batch is held from the first name of a batch of rows until the batch is in the index, so that whoever holds it sees
	// every name in the index, or in the set that is being filled, or in both.
	batch sync.Mutex
	cur   atomic.Pointer[nameSet]
	next  *nameSet    // is being filled to replace cur, nil: none; guarded by batch
	ready atomic.Bool // every name of the index was added to cur
	small uint64      // names for which a first layer has room at least
}

const (
	bitsPerName = 16 // one name in some hundreds is wrongly "perhaps", which may cost a look at the disk; 2 bytes of memory a chunk
	bitsSet     = 6
	blockWords  = 8 // 64 bytes: a look-up in a layer is one cache line
	minNames    = 1 << 20
)

// init makes the summary ready to be added to; names is how many there will soon be.
func (s *summary) init(names uint64) {
	if s.small == 0 {
		s.small = minNames
	}
	s.cur.Store(s.newSet(names))
}

// newSet returns an empty set that takes names, and a quarter more, in its first layer.
func (s *summary) newSet(names uint64) *nameSet {
	set := &nameSet{}
	set.layers.Store(&[]*layer{newLayer(max(names+names/4, s.small))})
	return set
}

// mayHold returns false only if the name is not in the index and the summary knows all that are.
func (s *summary) mayHold(d *digest.Digest) bool {
	return !s.ready.Load() || s.cur.Load().mayHold(d)
}

// add adds a name that a record brings. The caller holds batch.
func (s *summary) add(d *digest.Digest) {
	s.cur.Load().add(d)
	if s.next != nil {
		s.next.add(d)
	}
}

// remove counts n names that leave the index. The caller holds batch.
func (s *summary) remove(n int) {
	s.cur.Load().gone.Add(uint64(n))
	if s.next != nil {
		s.next.gone.Add(uint64(n))
	}
}

// stale reports whether so many names have gone that the summary should be filled anew: a third of those it holds, which
// cost memory and answer "perhaps" for nothing.
func (s *summary) stale() bool {
	set := s.cur.Load()
	return s.ready.Load() && set.gone.Load() > set.held.Load()/3+s.small/16
}

// refill fills a fresh set with the names that the index holds and puts it in the place of the current one, unless stop
// is closed before. Only one goroutine may do that at a time: who holds maintainer.step.
func (s *summary) refill(db *pebble.DB, stop <-chan struct{}) error {
	old := s.cur.Load()
	set := s.newSet(old.held.Load() - min(old.held.Load(), old.gone.Load()))
	// Names of batches that are committed from now on are added to set; those of batches before are in the snapshot.
	s.batch.Lock()
	s.next = set
	snap := db.NewSnapshot()
	s.batch.Unlock()
	whole, err := set.fill(snap, stop)
	err = errors.Join(err, snap.Close())
	s.batch.Lock()
	defer s.batch.Unlock()
	s.next = nil
	if whole && err == nil {
		s.cur.Store(set)
		s.ready.Store(true)
	}
	return err
}

// fill adds the names that the index holds to the current set, which then knows all, unless stop is closed before. Names
// of what is applied meanwhile are added by add.
func (s *summary) fill(db *pebble.DB, stop <-chan struct{}) error {
	whole, err := s.cur.Load().fill(db, stop)
	if whole && err == nil {
		s.ready.Store(true)
	}
	return err
}

// nameSet is a list of blocked Bloom filters, each twice as large as the one before, because how much will be stored is
// not known. It is safe for concurrent use.
type nameSet struct {
	layers  atomic.Pointer[[]*layer]
	growing sync.Mutex // held to add a layer
	held    atomic.Uint64
	gone    atomic.Uint64 // of the held names, how many the index no longer holds, roughly
	saved   atomic.Uint64 // LSN for which the file of the summary holds this set, 0: none
}

func (s *nameSet) mayHold(d *digest.Digest) bool {
	layers := *s.layers.Load()
	for i := len(layers) - 1; i >= 0; i-- { // the last is the largest
		if layers[i].mayHold(d) {
			return true
		}
	}
	return false
}

// add adds a name. From then on mayHold of it is true, in every goroutine that knows of the call.
func (s *nameSet) add(d *digest.Digest) {
	layers := *s.layers.Load()
	last := layers[len(layers)-1]
	if last.room.Add(-1) < 0 {
		last = s.grow(last)
	}
	last.add(d)
	s.held.Add(1)
}

// grow returns a layer with room, adding one unless somebody else has since full was the last.
func (s *nameSet) grow(full *layer) *layer {
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

// fill adds the names of all chunk and region rows. It returns false if stop was closed before it had them all.
func (s *nameSet) fill(from reader, stop <-chan struct{}) (whole bool, err error) {
	for _, row := range []byte{rowChunk, rowRegion} {
		it, err := from.NewIter(&pebble.IterOptions{LowerBound: []byte{row}, UpperBound: []byte{row + 1}})
		if err != nil {
			return false, err
		}
		stopped, err := s.fillFrom(it, stop)
		if err = errors.Join(err, it.Close()); stopped || err != nil {
			return false, err
		}
	}
	return true, nil
}

func (s *nameSet) fillFrom(it *pebble.Iterator, stop <-chan struct{}) (stopped bool, err error) {
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

// layer is a blocked Bloom filter for a number of names. Its words are set with atomic operations. Large ones lie outside
// the heap, where the garbage collector would leave room to copy them all, and are given back when the layer is garbage;
// so the layer is kept alive as long as a word is looked at.
type layer struct {
	words []uint64
	room  atomic.Int64 // names it can still take
}

func newLayer(names uint64) *layer {
	blocks := (names*bitsPerName + 64*blockWords - 1) / (64 * blockWords)
	l := newLayerOf(blocks)
	l.room.Store(int64(names))
	return l
}

// newLayerOf returns an empty layer of blocks of 64 bytes, with no room.
func newLayerOf(blocks uint64) *layer {
	l := &layer{}
	if blocks*blockWords*8 >= outsideBytes {
		if words, free := outsideHeap(int(blocks * blockWords)); words != nil {
			l.words = words
			runtime.AddCleanup(l, func(free func()) { free() }, free)
			return l
		}
	}
	l.words = make([]uint64, blocks*blockWords)
	return l
}

// outsideBytes is the size from which words lie outside the heap. Below, they are nothing to a heap.
const outsideBytes = 8 << 20

// probe returns the block of the layer that a name belongs to, and the places of its bits there, nine bits each.
// Digests are uniform, so their bytes are the hash.
func (l *layer) probe(d *digest.Digest) (block []uint64, places uint64) {
	blocks := uint64(len(l.words)) / blockWords
	n := uint64(binary.LittleEndian.Uint32(d[:])) * blocks >> 32
	return l.words[n*blockWords:][:blockWords], binary.LittleEndian.Uint64(d[8:])
}

func (l *layer) add(d *digest.Digest) {
	block, places := l.probe(d)
	for range bitsSet {
		w, bit := &block[places>>6%blockWords], uint64(1)<<(places&63)
		if atomic.LoadUint64(w)&bit == 0 {
			atomic.OrUint64(w, bit)
		}
		places >>= 9
	}
	runtime.KeepAlive(l)
}

func (l *layer) mayHold(d *digest.Digest) bool {
	block, places := l.probe(d)
	found := true
	for range bitsSet {
		if atomic.LoadUint64(&block[places>>6%blockWords])>>(places&63)&1 == 0 {
			found = false
			break
		}
		places >>= 9
	}
	runtime.KeepAlive(l)
	return found
}
