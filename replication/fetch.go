package replication

import (
	"sync"
	"sync/atomic"
	"time"
)

// fetch is a read that may never return: a goroutine of its own reads into a buffer of its own, and whoever waits for it
// can turn to something else. It then keeps goroutine, buffer and file until the disk answers. The memory that is kept so
// is bounded by pieceMax for each read that goes on before the member is known to be stuck, since it is asked last then.
type fetch struct {
	log     *Log
	member  *member // whose health it shows; nil: nobody's in particular
	from    *source // for who asked; the fetch does not use it
	buf     []byte
	err     error
	started time.Time
	results chan<- *fetch
	state   atomic.Int32 // fetchRunning …
	late    atomic.Bool  // it has taken longer than Options.HedgeAfter, and is counted

	before, behind *fetch // in the member's health, guarded by its lock
}

// States of a fetch. One of both sides makes the last step and has the buffer from then on.
const (
	fetchRunning   = iota
	fetchReturned  // the buffer belongs to who waited
	fetchAbandoned // the buffer belongs to the goroutine
)

// fetch starts reading n bytes by read, which may take for ever. m is the member that is read, nil if it is not one. When it
// is done the fetch is sent to results, which must have room for it, unless it was abandoned before.
func (l *Log) fetch(m *member, n int, results chan<- *fetch, read func(p []byte) error) *fetch {
	f := &fetch{log: l, member: m, buf: takeBuffer(n), started: l.o.Clock.Now(), results: results}
	if m != nil {
		m.health.begin(f)
	}
	go f.run(read)
	return f
}

func (f *fetch) run(read func(p []byte) error) {
	f.err = read(f.buf)
	if f.member != nil {
		now := f.log.o.Clock.Now()
		if now.Sub(f.started) >= f.log.o.HedgeAfter {
			f.noteLate()
		}
		f.member.health.end(f, now, f.err)
	}
	if f.state.CompareAndSwap(fetchRunning, fetchReturned) {
		f.results <- f
	} else {
		giveBuffer(f.buf)
	}
}

// noteLate counts, once, that the member has taken too long.
func (f *fetch) noteLate() {
	if f.member != nil && f.late.CompareAndSwap(false, true) {
		f.member.slow.Add(1)
	}
}

// recycle gives the buffer of a fetch back that was received from results.
func (f *fetch) recycle() {
	giveBuffer(f.buf)
	f.buf = nil
}

// abandon says that nobody waits for the fetch any more. It must not have been received. It may be that it is in results
// now.
func (f *fetch) abandon() {
	if !f.state.CompareAndSwap(fetchRunning, fetchAbandoned) {
		f.recycle()
	}
}

// pieceMax is how much is fetched at once: large enough that a disk with moving parts reads for about as long as it seeks,
// and a bound for what a read that never returns keeps.
const pieceMax = 1 << 20

// bufferSizes are those of the buffers that are kept: for a page and some, for a frame, and for a piece.
var bufferSizes = [...]int{16 << 10, 128 << 10, pieceMax}

var bufferPools [len(bufferSizes)]sync.Pool // of *[]byte

// takeBuffer returns n bytes that hold anything.
func takeBuffer(n int) []byte {
	for i, size := range bufferSizes {
		if n > size {
			continue
		}
		if b, ok := bufferPools[i].Get().(*[]byte); ok {
			return (*b)[:n]
		}
		return make([]byte, n, size)
	}
	return make([]byte, n)
}

// giveBuffer keeps a buffer of takeBuffer for another use.
func giveBuffer(b []byte) {
	for i, size := range bufferSizes {
		if cap(b) == size {
			b = b[:size]
			bufferPools[i].Put(&b)
			return
		}
	}
}
