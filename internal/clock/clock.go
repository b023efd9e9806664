// Package clock is the only reader of the system clock. Everything that depends on time takes a Clock, so that tests
// can set it.
package clock

import (
	"sync"
	"time"
)

// Clock tells the time, in UTC.
type Clock interface {
	Now() time.Time
}

// System reads the machine's clock.
var System Clock = system{}

type system struct{}

func (system) Now() time.Time { return time.Now().UTC() }

// Manual is a clock that moves only when told to. It is safe for concurrent use.
type Manual struct {
	mu struct {
		sync.Mutex
		now time.Time
	}
}

// NewManual returns a clock that stands at now.
func NewManual(now time.Time) *Manual {
	m := &Manual{}
	m.mu.now = now.UTC()
	return m
}

// Now returns the time the clock was last set to.
func (m *Manual) Now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mu.now
}

// Advance moves the clock by d and returns the new time.
func (m *Manual) Advance(d time.Duration) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.now = m.mu.now.Add(d)
	return m.mu.now
}
