package replication

import (
	"cmp"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// latencyHalfLife is how long it takes until half of what is known about a member's latency is forgotten. A member that
	// was slow is tried again by and by: one that took a second, beside others that take less than four milliseconds,
	// after some forty seconds.
	latencyHalfLife = 5 * time.Second
	// latencyMax is the most that one read counts for.
	latencyMax = time.Second
	// errorShadow is how long a member is asked after the others because a read of it has failed.
	errorShadow = 5 * time.Second
)

// health is what reads have shown of a member lately: which are under way and since when, how long others took, and when
// one failed. Reads from memory do not count, they show nothing of the disk.
type health struct {
	stalled atomic.Bool // a read has been under way for longer than Options.HedgeAfter, when somebody looked
	mu      struct {
		sync.Mutex
		first, last *fetch        // under way, in order of their start
		latency     time.Duration // moving average
		at          time.Time     // of latency
		failed      time.Time     // of the last error
	}
}

// begin notes that a read has begun.
func (h *health) begin(f *fetch) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if f.before = h.mu.last; f.before != nil {
		f.before.behind = f
	} else {
		h.mu.first = f
	}
	h.mu.last = f
}

// end notes that a read has ended, after some time, and how.
func (h *health) end(f *fetch, now time.Time, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if f.before != nil {
		f.before.behind = f.behind
	} else {
		h.mu.first = f.behind
	}
	if f.behind != nil {
		f.behind.before = f.before
	} else {
		h.mu.last = f.before
	}
	f.before, f.behind = nil, nil
	if h.mu.first == nil {
		h.stalled.Store(false)
	}
	if err != nil {
		h.mu.failed = now
		return
	}
	old := h.latencyLocked(now)
	h.mu.latency, h.mu.at = old+(min(now.Sub(f.started), latencyMax)-old)/4, now
}

// latencyLocked returns the average, of which more is forgotten the longer ago it was taken.
func (h *health) latencyLocked(now time.Time) time.Duration {
	since := now.Sub(h.mu.at)
	n := since / latencyHalfLife
	if n > 30 || since < 0 {
		return 0
	}
	half := h.mu.latency >> n
	return half - half/2*(since%latencyHalfLife)/latencyHalfLife // a straight line between the halvings
}

// stuck reports whether somebody has found a read to take too long that has not ended since.
func (h *health) stuck() bool { return h.stalled.Load() }

// condition is how well a member answers, for comparison with others.
type condition struct {
	waiting time.Duration // how long its oldest read has been under way
	failed  bool          // lately
	latency time.Duration
}

// condition returns how well the member answers. hedgeAfter is what is taken for too long.
func (h *health) condition(now time.Time, hedgeAfter time.Duration) condition {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := condition{latency: h.latencyLocked(now)}
	c.failed = !h.mu.failed.IsZero() && now.Sub(h.mu.failed) < errorShadow
	if h.mu.first != nil {
		c.waiting = now.Sub(h.mu.first.started)
	}
	h.stalled.Store(c.waiting >= hedgeAfter)
	return c
}

// compare returns which member is to be asked first: negative is a. Those with a read that takes too long come last, the
// longest one behind all; before them those with an error; of others those that take several times as long. Little
// differences are none: then the order the caller has is better, which spreads segments over the members and finds what is
// in memory.
func (a condition) compare(b condition, hedgeAfter time.Duration) int {
	if c := cmp.Compare(magnitude(a.waiting, hedgeAfter), magnitude(b.waiting, hedgeAfter)); c != 0 {
		return c
	}
	if a.failed != b.failed {
		if a.failed {
			return 1
		}
		return -1
	}
	return cmp.Compare(magnitude(a.latency, latencyUnit), magnitude(b.latency, latencyUnit))
}

// latencyUnit is the smallest average that matters: what is below is a disk without moving parts. Above, members differ
// from four times to four times, 4 ms, 16 ms, 64 ms …, so that disks with moving parts are all the same.
const latencyUnit = 4 * time.Millisecond

// magnitude returns 0 below unit, 1 below 4 units, 2 below 16 units, and so on.
func magnitude(d, unit time.Duration) int {
	return (bits.Len64(uint64(max(d, 0)/unit)) + 1) / 2
}
