package replication

import (
	"maps"
	"sync"
	"time"

	"pagevault/replication/stripe"
)

// arranger is what the log knows about how segments are to be kept.
type arranger struct {
	codes stripe.Codes
	mu    struct {
		sync.Mutex
		checked map[SegmentID]bool  // the shards were read and checked since Open
		rests   map[SegmentID]*rest // after failures
		seen    *membership         // under which those failures were
	}
}

// rest is a segment's being let alone after a failure.
type rest struct {
	until time.Time
	last  time.Duration
}

// A task that has failed is tried again after restMin, then after twice that, and so on up to restMax: what does not work
// because a disk is full or lost must not keep what does work waiting.
const (
	restMin = 10 * time.Second
	restMax = 10 * time.Minute
)

func (a *arranger) due(id SegmentID, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	r, ok := a.mu.rests[id]
	return !ok || !now.Before(r.until)
}

func (a *arranger) failed(id SegmentID, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.mu.rests == nil {
		a.mu.rests = map[SegmentID]*rest{}
	}
	r, ok := a.mu.rests[id]
	if !ok {
		r = &rest{}
		a.mu.rests[id] = r
	}
	r.last = min(max(restMin, 2*r.last), restMax)
	r.until = now.Add(r.last)
}

// done notes that a task of a segment has succeeded.
func (a *arranger) done(id SegmentID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.mu.rests, id)
}

// note says that the shards of a segment were read and checked.
func (a *arranger) note(id SegmentID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.mu.checked == nil {
		a.mu.checked = map[SegmentID]bool{}
	}
	a.mu.checked[id] = true
}

func (a *arranger) wasChecked(id SegmentID) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.mu.checked[id]
}

// unnote says that it is not known any more how the shards of a segment are.
func (a *arranger) unnote(id SegmentID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.mu.checked, id)
}

// noteMembership lets all that rests be tried at once when the members are not those with whom it failed.
func (a *arranger) noteMembership(ms *membership) {
	a.mu.Lock()
	changed := a.mu.seen != ms
	a.mu.seen = ms
	a.mu.Unlock()
	if changed {
		a.forget()
	}
}

// prune forgets segments that are no more.
func (a *arranger) prune(holds func(SegmentID) bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	maps.DeleteFunc(a.mu.checked, func(id SegmentID, _ bool) bool { return !holds(id) })
	maps.DeleteFunc(a.mu.rests, func(id SegmentID, _ *rest) bool { return !holds(id) })
}

// forget lets all that rests be tried at once.
func (a *arranger) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.mu.rests)
}
