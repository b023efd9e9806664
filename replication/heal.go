package replication

import (
	"slices"
	"sync"
)

// healer is what the log knows about files that are not as they should be.
type healer struct {
	claims claims
	mu     struct {
		sync.Mutex
		queue []SegmentID // to be looked at, each once
	}
}

// Heal has the copies of a segment compared in the background, and those written again that are not as they should be. It
// returns at once.
func (l *Log) Heal(id SegmentID) {
	if !l.index.holds(id) {
		return
	}
	h := &l.healer
	h.mu.Lock()
	defer h.mu.Unlock()
	if !slices.Contains(h.mu.queue, id) {
		h.mu.queue = append(h.mu.queue, id)
	}
}
