package replication

import (
	"context"
	"errors"
	"testing"
	"time"

	"pagevault/internal/clock"
)

// A pace lets through its rate, a quarter of it while requests wait, and no more of a burst than paceBurst allows; it ends
// with its context.
func TestPace(t *testing.T) {
	c := clock.NewManual(time.Unix(1_000_000, 0))
	busy := false
	var slept time.Duration
	p := newPace(c, 1000, func(ctx context.Context, d time.Duration) error {
		slept += d
		c.Advance(d)
		return ctx.Err()
	}, func() bool { return busy })
	move := func(times int) time.Duration {
		t.Helper()
		slept = 0
		for range times {
			if err := p.spend(t.Context(), 100); err != nil {
				t.Fatal(err)
			}
		}
		return slept
	}
	// 10 × 100 bytes of 1000 a second: the first two are the burst, and the last is not waited for.
	if got, want := move(10), 800*time.Millisecond; got != want {
		t.Errorf("moving 1000 bytes waited %v, want %v", got, want)
	}
	if got, want := move(10), time.Second; got != want {
		t.Errorf("moving 1000 bytes more waited %v, want %v", got, want)
	}
	busy = true
	if got, want := move(10), 100*time.Millisecond+9*400*time.Millisecond; got != want {
		t.Errorf("moving 1000 bytes beside requests waited %v, want %v", got, want)
	}
	busy = false
	c.Advance(time.Hour)
	if got, want := move(10), 800*time.Millisecond; got != want {
		t.Errorf("moving 1000 bytes after an hour of nothing waited %v, want %v", got, want)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.spend(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("spend with a context that has ended: %v", err)
	}
	if err := (*pace)(nil).spend(t.Context(), 1<<60); err != nil {
		t.Errorf("no pace: %v", err)
	}
}
