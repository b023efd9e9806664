package replication

import (
	"context"
	"sync"
	"time"

	"pagevault/internal/clock"
)

// busyCost is how many times as much a byte of background work costs while requests wait for the disks: a quarter of the
// rate, so that what lacks a copy gets it in finite time whatever the load.
const busyCost = 4

// paceBurst is how long background work that has waited, for a disk or for something to do, may go without waiting again.
const paceBurst = 100 * time.Millisecond

// pace bounds how fast background work of one log moves bytes, all of it together. A nil pace has no bound.
type pace struct {
	clock clock.Clock
	sleep func(ctx context.Context, d time.Duration) error
	rate  int64       // bytes a second. 0 or less: no bound
	busy  func() bool // requests wait for the disks; nil: never

	mu struct {
		sync.Mutex
		due time.Time // when what has been spent is paid for
	}
}

// newPace returns a pace of so many bytes a second; 0 or less is no bound. sleep waits for a time by the clock, or until the
// context ends, whose error it then returns. busy, which may be nil, says that requests wait for the disks.
func newPace(c clock.Clock, rate int64, sleep func(context.Context, time.Duration) error, busy func() bool) *pace {
	return &pace{clock: c, sleep: sleep, rate: rate, busy: busy}
}

// spend waits until n more bytes may be moved. The error is that of ctx.
func (p *pace) spend(ctx context.Context, n int64) error {
	if err := ctx.Err(); err != nil || p == nil || p.rate <= 0 {
		return err
	}
	if wait := p.take(n); wait > 0 {
		return p.sleep(ctx, wait)
	}
	return nil
}

// take notes that n bytes will be moved and returns how long to wait before.
func (p *pace) take(n int64) time.Duration {
	cost := time.Duration(float64(n) / float64(p.rate) * float64(time.Second))
	if p.busy != nil && p.busy() {
		cost *= busyCost
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.clock.Now()
	if earliest := now.Add(-paceBurst); p.mu.due.Before(earliest) {
		p.mu.due = earliest
	}
	wait := p.mu.due.Sub(now)
	p.mu.due = p.mu.due.Add(cost)
	return wait
}
