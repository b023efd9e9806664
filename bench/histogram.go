package bench

import (
	"math/bits"
	"time"
)

const (
	// 64 buckets to each power of two: a bucket is at most 1/64 of its value wide, and its middle at most 0.8 % off.
	subBits    = 6
	subBuckets = 1 << subBits
	// Values below 2*subBuckets ns have a bucket each; above, subBuckets for each of the remaining powers of two of a
	// positive int64.
	buckets = 2*subBuckets + (63-subBits-1)*subBuckets
)

// Histogram counts durations in a fixed 30 KiB, to within 0.8 % of their value. The zero value is empty. It is not safe
// for concurrent use: every worker has its own, and they are merged afterwards.
type Histogram struct {
	counts   [buckets]uint64
	n        uint64
	min, max int64
}

// bucketOf returns the bucket of v nanoseconds.
func bucketOf(v int64) int {
	if v < 2*subBuckets {
		return int(v)
	}
	shift := bits.Len64(uint64(v)) - 1 - subBits // v>>shift is in [subBuckets, 2*subBuckets)
	return shift<<subBits + int(v>>shift)
}

// bucketMiddle returns the value in the middle of bucket i.
func bucketMiddle(i int) int64 {
	if i < 2*subBuckets {
		return int64(i)
	}
	shift := i>>subBits - 1
	low := int64(i-shift<<subBits) << shift
	return low + int64(1)<<shift/2
}

// Record counts one duration. A negative one counts as zero.
func (h *Histogram) Record(d time.Duration) {
	v := max(int64(d), 0)
	if h.n == 0 || v < h.min {
		h.min = v
	}
	h.max = max(h.max, v)
	h.n++
	h.counts[bucketOf(v)]++
}

// Merge adds everything o has counted. It does not change o.
func (h *Histogram) Merge(o *Histogram) {
	if o.n == 0 {
		return
	}
	if h.n == 0 || o.min < h.min {
		h.min = o.min
	}
	h.max = max(h.max, o.max)
	h.n += o.n
	for i, c := range o.counts {
		h.counts[i] += c
	}
}

// Count returns how many durations were recorded.
func (h *Histogram) Count() uint64 { return h.n }

// Percentile returns the smallest recorded duration (to within 0.8 %) that at least p percent of all are not above: the
// nearest-rank definition. Percentile(0) is the minimum, Percentile(100) the maximum, both exact; an empty histogram
// returns 0.
func (h *Histogram) Percentile(p float64) time.Duration {
	switch {
	case h.n == 0:
		return 0
	case p <= 0:
		return time.Duration(h.min)
	case p >= 100:
		return time.Duration(h.max)
	}
	rank := uint64(p / 100 * float64(h.n))
	if float64(rank) < p/100*float64(h.n) {
		rank++ // round up: the rank counts from 1
	}
	rank = max(rank, 1)
	var seen uint64
	for i, c := range h.counts {
		if seen += c; seen >= rank {
			return time.Duration(min(max(bucketMiddle(i), h.min), h.max))
		}
	}
	return time.Duration(h.max)
}
