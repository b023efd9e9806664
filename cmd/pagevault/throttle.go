package main

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"pagevault/internal/clock"
)

// A disk that dies can fail thousands of reads in a second: ten lines a minute tell of it, and how many more there were.
const (
	throttleLines = 10
	throttleSpan  = time.Minute
)

// throttle bounds the lines of one log about things that come in floods. It is safe for concurrent use.
type throttle struct {
	clock clock.Clock

	mu struct {
		sync.Mutex
		began   time.Time // of the span
		lines   int       // told in it
		skipped int       // not told since the last line
	}
}

// warn tells, or counts what it does not tell.
func (t *throttle) warn(log *slog.Logger, text string, args ...any) {
	t.tell(log, slog.LevelWarn, text, args...)
}

// tell is warn for any level.
func (t *throttle) tell(log *slog.Logger, level slog.Level, text string, args ...any) {
	skipped, tell := t.take(t.clock.Now())
	if !tell {
		return
	}
	if skipped > 0 {
		args = append(args, "and_untold_before", skipped)
	}
	log.Log(context.Background(), level, text, args...)
}

// take reports whether there is a line left, and how many had none since the last.
func (t *throttle) take(now time.Time) (skipped int, tell bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now.Sub(t.mu.began) >= throttleSpan {
		t.mu.began, t.mu.lines = now, 0
	}
	if t.mu.lines == throttleLines {
		t.mu.skipped++
		return 0, false
	}
	skipped, t.mu.skipped = t.mu.skipped, 0
	t.mu.lines++
	return skipped, true
}
