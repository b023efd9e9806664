package server

import (
	"sync"
	"time"
)

// The sizes of buffer that are kept. A body of 4 KiB is the commonest Put Page of a busy disk, 64 KiB that of a
// copying one, 256 KiB a piece of a download, 4 MiB the largest.
var bufferSizes = [...]int{16 << 10, 128 << 10, downloadPiece, 1 << 20, 4 << 20}

// keepBytes is how much of each size but the largest is kept for the next request: 32 MiB. Zeroing a fresh 4 MiB buffer costs more
// than hashing it, and a sync.Pool would lose it to every other garbage collection.
const keepBytes = 32 << 20

// buffers hands out byte slices and takes them back, the last one first: it is the one that caches still hold. It keeps
// at most keepBytes of each size, of the largest as much as newBuffers was told.
type buffers struct {
	sizes [len(bufferSizes)]struct {
		sync.Mutex
		free [][]byte
	}
}

// bufferBytes returns how large the buffer for n bytes is.
func bufferBytes(n int64) int64 {
	for _, size := range bufferSizes {
		if n <= int64(size) {
			return int64(size)
		}
	}
	return n
}

// newBuffers keeps buffers of the largest size for all bodies that may be under way, which take uploadBytes: between two requests
// of as many connections nearly all of them may be free.
func newBuffers(uploadBytes int64) *buffers {
	b := &buffers{}
	for i, size := range bufferSizes {
		keep := keepBytes
		if i == len(bufferSizes)-1 {
			keep = int(uploadBytes)
		}
		b.sizes[i].free = make([][]byte, 0, min(keep/size, 1024))
	}
	return b
}

// Get returns a slice of length n with arbitrary content.
func (b *buffers) Get(n int) []byte {
	for i, size := range bufferSizes {
		if n > size {
			continue
		}
		s := &b.sizes[i]
		s.Lock()
		if last := len(s.free) - 1; last >= 0 {
			p := s.free[last]
			s.free[last], s.free = nil, s.free[:last]
			s.Unlock()
			return p[:n]
		}
		s.Unlock()
		return make([]byte, n, size)
	}
	return make([]byte, n)
}

// Put takes back what Get returned. The caller must not use p any more.
func (b *buffers) Put(p []byte) {
	for i, size := range bufferSizes {
		if cap(p) != size {
			continue
		}
		s := &b.sizes[i]
		s.Lock()
		if len(s.free) < cap(s.free) {
			s.free = append(s.free, p[:0])
		}
		s.Unlock()
		return
	}
}

// budget bounds the bytes of bodies in memory. Those who have to wait are served in the order they came.
type budget struct {
	mu struct {
		sync.Mutex
		free    int64
		waiting []*waiter // a queue
	}
}

type waiter struct {
	n       int64
	granted chan struct{}
}

func newBudget(bytes int64) *budget {
	b := &budget{}
	b.mu.free = bytes
	return b
}

// Try takes n bytes if they are there and nobody waits for some, and reports whether it got them.
func (b *budget) Try(n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.tryLocked(n)
}

func (b *budget) tryLocked(n int64) bool {
	if len(b.mu.waiting) > 0 || b.mu.free < n {
		return false
	}
	b.mu.free -= n
	return true
}

// Acquire takes n bytes, waiting up to patience for them, and reports whether it got them. Release gives them back.
func (b *budget) Acquire(n int64, patience time.Duration) bool {
	b.mu.Lock()
	if b.tryLocked(n) {
		b.mu.Unlock()
		return true
	}
	w := &waiter{n: n, granted: make(chan struct{})}
	b.mu.waiting = append(b.mu.waiting, w)
	b.mu.Unlock()

	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-w.granted:
		return true
	case <-timer.C:
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, o := range b.mu.waiting {
		if o == w {
			b.mu.waiting = append(b.mu.waiting[:i], b.mu.waiting[i+1:]...)
			b.grantLocked() // those behind may need less
			return false
		}
	}
	return true // granted at the last moment
}

// Scarce reports whether somebody waits.
func (b *budget) Scarce() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.mu.waiting) > 0
}

// Release gives back n bytes.
func (b *budget) Release(n int64) {
	b.mu.Lock()
	b.mu.free += n
	b.grantLocked()
	b.mu.Unlock()
}

func (b *budget) grantLocked() {
	for len(b.mu.waiting) > 0 && b.mu.free >= b.mu.waiting[0].n {
		w := b.mu.waiting[0]
		b.mu.waiting = b.mu.waiting[1:]
		b.mu.free -= w.n
		close(w.granted)
	}
}
