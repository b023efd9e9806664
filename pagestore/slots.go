package pagestore

// slots keeps states of rows from batch to batch, for the goroutine that applies: finding one here costs far less than
// seeking its row in the index. Each key has one slot, which the next one with the same takes, so that what is kept is
// bounded and nothing has to be found out about what was used when. Keys are numbers that are used in sequence, which
// then lie beside each other.
//
// What is kept is exactly what reading the row would give. Whoever changes rows otherwise than by the states of a batch
// takes them out; invariant builds compare what is taken out with the index.
type slots[K comparable, V any] struct {
	all []slot[K, V] // a power of two; nil until something is kept
}

type slot[K comparable, V any] struct {
	key   K
	state *V // nil: the slot is free
}

const (
	// slotCount is how many states are kept of regions, of half a GiB, and of frames: 4 MB of these, and of regions 2 MB if
	// they were written whole, 13 MB if all are in pieces.
	slotCount = 1 << 13
	// slotRuns is how many runs a region that is kept has at most: twice as many as there are chunks.
	slotRuns = 32
)

// take returns the state that is kept for a key, and no longer is. nil: none.
func (s *slots[K, V]) take(hash uint64, key K) *V {
	if s.all == nil {
		return nil
	}
	at := &s.all[hash%slotCount]
	if at.state == nil || at.key != key {
		return nil
	}
	state := at.state
	at.state = nil
	return state
}

// put keeps a state, and returns the one that has to go.
func (s *slots[K, V]) put(hash uint64, key K, state *V) (gone *V) {
	if s.all == nil {
		s.all = make([]slot[K, V], slotCount)
	}
	at := &s.all[hash%slotCount]
	gone, at.key, at.state = at.state, key, state
	return gone
}
