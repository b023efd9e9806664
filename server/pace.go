package server

import (
	"time"

	"pagevault/internal/clock"
)

// A client that sends or takes a body slowly holds memory that others want. fasthttp's deadlines bound how long a request
// may take for its headers and in all; here a client must also keep up a pace, a low one as long as there is enough for
// everybody, a higher one while others wait.

// phase is what a connection is used for.
type phase uint64

const (
	waiting   phase = iota // for a request, or for the rest of its headers
	working                // on a request: whatever takes time is ours
	receiving              // a body
	sending                // a reply
	gone                   // evicted
	phases
)

const (
	// paceEvery is how often the connections are looked at.
	paceEvery = time.Second

	// A client that is slower than paceRate, bytes in a second, over paceSpan is cut off: the reference's service allows
	// ten minutes for a MiB of an upload, which is a little more.
	paceRate = 1 << 10
	paceSpan = 30 * time.Second

	// scarceRate and scarceSpan are what is asked for while requests wait for memory or connections. A modem does not reach
	// it, the slowest of today's lines do. They wait for ten seconds, so this must show in less.
	scarceRate = 64 << 10
	scarceSpan = 4 * time.Second
)

// watch is where a connection was when a span of its began.
type watch struct {
	state uint64
	since time.Time
	bytes uint64 // that had been moved in the direction of the phase
}

// phase returns what the connection is used for.
func (c *conn) phase() phase { return phase(c.state.Load() % uint64(phases)) }

// enter begins a phase. Only the goroutine that serves the connection calls it. c may be nil.
func (c *conn) enter(p phase) {
	if c == nil {
		return
	}
	for {
		old := c.state.Load()
		if phase(old%uint64(phases)) == gone {
			return
		}
		turn := old/uint64(phases) + 1
		if c.state.CompareAndSwap(old, turn*uint64(phases)+uint64(p)) {
			return
		}
	}
}

// leave takes a connection that waits out of use, and reports whether it was still waiting.
func (c *conn) leave() bool {
	old := c.state.Load()
	return phase(old%uint64(phases)) == waiting && c.state.CompareAndSwap(old, old-uint64(waiting)+uint64(gone))
}

// sweep cuts off the connections that are too slow at now. scarceIn and scarceOut say whether others wait for what bodies
// of requests and of replies take.
func (l *listener) sweep(now time.Time, scarceIn, scarceOut bool) {
	past := time.Unix(1, 0)
	for _, c := range l.laggards(now, scarceIn, scarceOut) {
		l.slow.Add(1)
		if c.phase() == receiving {
			c.Conn.SetReadDeadline(past) // whoever reads tells the client
		} else {
			c.Conn.SetWriteDeadline(past)
		}
	}
}

// laggards returns the connections that are too slow.
func (l *listener) laggards(now time.Time, scarceIn, scarceOut bool) (slow []*conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	full := len(l.mu.conns) >= l.max
	for c := range l.mu.conns {
		state := c.state.Load()
		var moved uint64
		scarce := full
		switch phase(state % uint64(phases)) {
		case receiving:
			moved, scarce = c.in.Load(), full || scarceIn
		case sending:
			moved, scarce = c.out.Load(), full || scarceOut
		default:
			continue
		}
		if w := &c.watched; w.state != state {
			*w = watch{state, now, moved}
		} else if over, lags := w.judge(now, moved, scarce); over {
			*w = watch{state, now, moved}
			if lags {
				slow = append(slow, c)
			}
		}
	}
	return slow
}

// judge reports whether the span is over, and if so, whether too little was moved in it.
func (w *watch) judge(now time.Time, moved uint64, scarce bool) (over, lags bool) {
	took, got := now.Sub(w.since), float64(moved-w.bytes)
	if scarce && took >= scarceSpan && got < scarceRate*took.Seconds() {
		return true, true
	}
	return took >= paceSpan, got < paceRate*took.Seconds()
}

// watch sweeps the connections of l again and again, until stop, which returns when that has ended.
func (s *Server) watch(l *listener) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		timer := clock.System.NewTimer(paceEvery)
		defer timer.Stop()
		for {
			select {
			case <-done:
				return
			case <-timer.C():
			}
			l.sweep(clock.System.Now(), s.uploads.Scarce() || s.openings.Scarce(), s.replies.Scarce())
			timer.Reset(paceEvery)
		}
	}()
	return func() {
		close(done)
		<-ended
	}
}
