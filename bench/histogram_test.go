package bench

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestPercentileNearestRank(t *testing.T) {
	f := func(p float64, want time.Duration, recorded ...time.Duration) {
		t.Helper()
		var h Histogram
		for _, d := range recorded {
			h.Record(d)
		}
		if got := h.Percentile(p); got != want {
			t.Errorf("Percentile(%v) of %v = %d, want %d", p, recorded, got, want)
		}
	}
	f(50, 0)                     // nothing recorded
	f(0, 7, 7)                   // one value is every percentile
	f(50, 7, 7)                  //
	f(100, 7, 7)                 //
	f(50, 2, 1, 2, 3)            // the middle of three
	f(50, 2, 4, 3, 2, 1)         // of four, half are not above the second
	f(50.1, 3, 4, 3, 2, 1)       // a little more than half needs the third
	f(75, 3, 1, 2, 3, 4)         // exactly three of four
	f(99, 4, 1, 2, 3, 4)         // rounded up
	f(0.001, 1, 1, 2, 3, 4)      // never below the first
	f(100, 1e9+1, 5, 1e9+1, 100) // minimum and maximum are exact, however wide their buckets
	f(0, 1e9+1, 1e9+1, 1e9+2)    //
	f(50, 0, -5)                 // a clock that went backwards is not a negative latency
	f(100, math.MaxInt64, math.MaxInt64)
}

// TestPercentileAgainstSorting compares with exact percentiles of values over twelve orders of magnitude.
func TestPercentileAgainstSorting(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	var all []time.Duration
	var merged, a, b Histogram
	for range 20_000 {
		d := time.Duration(math.Exp(rng.Float64() * math.Log(1e12)))
		all = append(all, d)
		if rng.IntN(2) == 0 {
			a.Record(d)
		} else {
			b.Record(d)
		}
	}
	merged.Merge(&a)
	merged.Merge(&b)
	merged.Merge(&Histogram{})
	slices.Sort(all)
	if merged.Count() != uint64(len(all)) {
		t.Fatalf("merged histogram counts %d of %d", merged.Count(), len(all))
	}
	for _, p := range []float64{0, 1, 10, 50, 90, 99, 99.9, 99.99, 100} {
		rank := max(int(math.Ceil(p/100*float64(len(all)))), 1)
		want, got := float64(all[rank-1]), float64(merged.Percentile(p))
		if math.Abs(got-want) > want*0.008+0.5 {
			t.Errorf("p%v = %v, want %v within 0.8 %%", p, got, want)
		}
	}
}

// TestBuckets checks that buckets are in order, without gaps, and hold what they stand for.
func TestBuckets(t *testing.T) {
	last := -1
	for shift := range 63 {
		for _, v := range []int64{1 << shift, 1<<shift + 1<<shift/3, 1<<shift + (1<<shift - 1)} {
			i := bucketOf(v)
			if i < last || i >= buckets {
				t.Fatalf("value %d is in bucket %d after bucket %d of %d", v, i, last, buckets)
			}
			last = i
			if bucketOf(bucketMiddle(i)) != i {
				t.Fatalf("middle %d of bucket %d is in bucket %d", bucketMiddle(i), i, bucketOf(bucketMiddle(i)))
			}
		}
	}
	if last != buckets-1 {
		t.Errorf("the largest duration is in bucket %d of %d", last, buckets)
	}
}
