package replication

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"pagevault/replication/segment"
)

// BenchmarkBesideScrub measures what a scrub in the background, at its default throttle, costs those who append and those who
// read: slices with it and without it take turns. The store is as large as makes it run all the time; a full one of 850 GB
// needs 11 MiB a second of three members within seven days, which is what it is given. Reported is the rate with the scrub,
// as a share of the rate without: 0.9 is the least that is promised.
func BenchmarkBesideScrub(b *testing.B) {
	const fullRate = 11 << 20
	for _, c := range []struct {
		name             string
		size, appenders  int
		pieces, readings int // of a slice
	}{
		{"append-4m", 4 << 20, 4, 24, 0},
		{"append-4k", 4 << 10, 64, 6400, 0},
		{"read-64k", 4 << 20, 4, 0, 8000},
	} {
		b.Run(c.name, func(b *testing.B) {
			bl := newBenchLog(b, 3, c.size)
			fill := newFiller(b, bl)
			dice := rand.New(rand.NewPCG(1, 1))
			slice := func(sum *time.Duration) {
				began := time.Now()
				bl.run(c.pieces, c.appenders)
				for range c.readings {
					fill.read(b, dice)
				}
				*sum += time.Since(began)
			}
			var with, without time.Duration
			slice(new(time.Duration))
			b.ResetTimer()
			for n := 0; b.Loop(); n++ {
				if n%2 == 0 {
					slice(&without)
				}
				stop := scrubBeside(b, bl.l, fullRate)
				slice(&with)
				stop()
				if n%2 == 1 {
					slice(&without)
				}
			}
			b.ReportMetric(without.Seconds()/with.Seconds(), "x-without")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// filler is a log with a GiB in it, three times.
type filler struct {
	l  *Log
	at []SegmentInfo
}

func newFiller(b *testing.B, bl *benchLog) *filler {
	big := benchLog{b: b, l: bl.l, size: 4 << 20}
	big.run(256, 4)
	if err := bl.l.Rotate(); err != nil {
		b.Fatal(err)
	}
	return &filler{l: bl.l, at: bl.l.Segments()}
}

// read reads 64 KiB somewhere.
func (f *filler) read(b *testing.B, dice *rand.Rand) {
	s := f.at[dice.IntN(len(f.at))]
	p := make([]byte, 64<<10)
	off := segment.HeaderBytes + dice.Int64N(s.DataBytes-int64(len(p)))
	if err := f.l.ReadAt(p, Position{Segment: s.ID, Offset: uint32(off)}); err != nil {
		b.Fatal(err)
	}
}

// scrubBeside has everything read again and again at a rate, and slower while others wait for the disks, as a scrub in the
// background does, until stop is called.
func scrubBeside(b *testing.B, l *Log, rate int64) (stop func()) {
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			r := scrubRun{l: l, ctx: ctx, state: segment.Scrub{Store: l.store, Next: 1, Started: l.o.Clock.Now().UnixNano()}}
			p := newPace(l.o.Clock, rate, l.sleep, l.busy)
			r.pace = func(int64) *pace { return p }
			if err := r.all(); err != nil && ctx.Err() == nil {
				b.Error(err)
				return
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}
