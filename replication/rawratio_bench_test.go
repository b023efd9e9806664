package replication

import (
	"math"
	"testing"
	"time"
)

// BenchmarkBesideRaw measures a log of three members beside three plain files on the same disk, each written and synced at
// the same time, in slices that take turns so that both get the disk as it is. The plain files ask for their blocks ahead,
// as anybody would who wants to be fast. What is reported is how many times the rate of the plain files the log has.
//
// "whole": pieces of 4 MiB, as many at once here as there, of which the log shall reach 0.9 times. "small": 4 KiB from 64
// appenders, which share their syncs, against one piece after the other with a sync for each: at least 10 times.
func BenchmarkBesideRaw(b *testing.B) {
	for _, c := range []struct {
		name             string
		size, appenders  int
		batch            int // pieces that the plain files get between two syncs
		pieces, plainRun int // of a slice
	}{
		{"whole/one", 4 << 20, 1, 1, 16, 16},
		{"whole/four", 4 << 20, 4, 4, 32, 32},
		{"small", 4 << 10, 64, 1, 6400, 320},
	} {
		b.Run(c.name, func(b *testing.B) {
			bl, raw := newBenchLog(b, 3, c.size), newBenchRaw(b, 3, c.size)
			raw.reserved = make([]reservation, len(raw.files))
			for i := range raw.reserved {
				raw.reserved[i].limit = math.MaxInt64
			}
			bl.run(c.pieces, c.appenders) // neither pays for what is done once
			raw.run(c.plainRun, c.batch)
			var ours, plain time.Duration
			b.ResetTimer()
			slice := func(sum *time.Duration, run func()) {
				began := time.Now()
				run()
				*sum += time.Since(began)
			}
			for n := 0; b.Loop(); n++ {
				if n%2 == 0 { // so that neither always comes second
					slice(&ours, func() { bl.run(c.pieces, c.appenders) })
				}
				slice(&plain, func() { raw.run(c.plainRun, c.batch) })
				if n%2 == 1 {
					slice(&ours, func() { bl.run(c.pieces, c.appenders) })
				}
			}
			rate := func(pieces int, took time.Duration) float64 { return float64(pieces*b.N) / took.Seconds() }
			mib := float64(c.size) / (1 << 20)
			b.ReportMetric(rate(c.pieces, ours)*mib, "MiB/s")
			b.ReportMetric(rate(c.plainRun, plain)*mib, "raw-MiB/s")
			b.ReportMetric(rate(c.pieces, ours)/rate(c.plainRun, plain), "x-raw")
			b.ReportMetric(0, "ns/op")
		})
	}
}
