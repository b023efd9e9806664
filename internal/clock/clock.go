// Package clock is the only reader of the system clock. Everything that depends on time takes a Clock, so that tests
// can set it.
package clock

import (
	"slices"
	"sync"
	"time"
)

// Clock tells the time, in UTC, and when some time has passed.
type Clock interface {
	Now() time.Time
	// NewTimer returns a timer that goes off once, d from now. d of zero or less goes off at once.
	NewTimer(d time.Duration) Timer
}

// Timer goes off once. After Stop or Reset nothing of an earlier setting is in the channel.
type Timer interface {
	// C is what the time is sent to when the timer goes off. It is never closed.
	C() <-chan time.Time
	// Reset sets the timer anew, to go off d from now.
	Reset(d time.Duration)
	// Stop keeps the timer from going off.
	Stop()
}

// System reads the machine's clock.
var System Clock = system{}

type system struct{}

func (system) Now() time.Time { return time.Now().UTC() }

func (system) NewTimer(d time.Duration) Timer { return systemTimer{time.NewTimer(d)} }

type systemTimer struct{ t *time.Timer }

func (s systemTimer) C() <-chan time.Time   { return s.t.C }
func (s systemTimer) Reset(d time.Duration) { s.t.Reset(d) }
func (s systemTimer) Stop()                 { s.t.Stop() }

// Manual is a clock that moves only when told to. It is safe for concurrent use, and so are its timers.
type Manual struct {
	mu struct {
		sync.Mutex
		now    time.Time
		timers []*manualTimer // that have not gone off
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

// Advance moves the clock by d, lets the timers go off whose time has come, and returns the new time.
func (m *Manual) Advance(d time.Duration) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.now = m.mu.now.Add(d)
	m.mu.timers = slices.DeleteFunc(m.mu.timers, m.fireLocked)
	return m.mu.now
}

// NewTimer returns a timer that goes off when Advance has moved the clock by d in all.
func (m *Manual) NewTimer(d time.Duration) Timer {
	t := &manualTimer{clock: m, c: make(chan time.Time, 1)}
	t.Reset(d)
	return t
}

// manualTimer is a timer of a Manual. at is guarded by the clock's lock.
type manualTimer struct {
	clock *Manual
	c     chan time.Time
	at    time.Time
}

func (t *manualTimer) C() <-chan time.Time { return t.c }

func (t *manualTimer) Reset(d time.Duration) {
	m := t.clock
	m.mu.Lock()
	defer m.mu.Unlock()
	t.stopLocked()
	t.at = m.mu.now.Add(d)
	if !m.fireLocked(t) {
		m.mu.timers = append(m.mu.timers, t)
	}
}

func (t *manualTimer) Stop() {
	t.clock.mu.Lock()
	defer t.clock.mu.Unlock()
	t.stopLocked()
}

func (t *manualTimer) stopLocked() {
	m := t.clock
	m.mu.timers = slices.DeleteFunc(m.mu.timers, func(o *manualTimer) bool { return o == t })
	select {
	case <-t.c:
	default:
	}
}

// fireLocked lets t go off if its time has come, and reports whether it has.
func (m *Manual) fireLocked(t *manualTimer) bool {
	if t.at.After(m.mu.now) {
		return false
	}
	t.c <- m.mu.now // there is room: it is empty while t is set
	return true
}
