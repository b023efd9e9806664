package bench

import "time"

// stopwatch measures durations on the monotonic clock. The wall clock, which internal/clock reads and which is right for
// everything else, may be set backwards in the middle of a request.
type stopwatch struct{ start time.Time }

func startStopwatch() stopwatch { return stopwatch{time.Now()} }

// elapsed returns the time since the stopwatch was started.
func (s stopwatch) elapsed() time.Duration { return time.Since(s.start) }
