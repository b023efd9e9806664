package pagestore

import (
	"context"
	"time"

	"pagevault/internal/clock"
)

// limiter spreads bytes over time: whoever asks for n waits until those asked for before have had their time. A rate of 0
// is none. It belongs to one goroutine.
type limiter struct {
	clock clock.Clock
	rate  int64 // bytes a second
	next  time.Time
}

// wait returns when n more bytes may be read or written, or with the error of ctx when that ends.
func (l *limiter) wait(ctx context.Context, n int) error {
	if l == nil || l.rate == 0 {
		return ctx.Err()
	}
	now := l.clock.Now()
	if l.next.Before(now) {
		l.next = now
	}
	pause := l.next.Sub(now)
	l.next = l.next.Add(time.Duration(float64(n) / float64(l.rate) * float64(time.Second)))
	if pause <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}
