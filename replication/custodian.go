package replication

import (
	"context"
	"sync"
	"time"
)

const (
	// watchEvery is how often every member is looked at: a directory that is gone under load is found within about that.
	watchEvery = time.Second
	// retryMin and retryMax bound how long what has failed in the background is let rest, doubling each time.
	retryMin = time.Second
	retryMax = time.Minute
	// closeGrace is how long Close waits for what the custodian has under way. What takes longer hangs in a disk, and is left
	// to it.
	closeGrace = 10 * time.Second
)

// custodian looks after the members of a log while it is open: it finds those that are gone, brings up those that are behind,
// and has what is damaged healed, what lacks copies arranged and what should lie otherwise converted.
//
// What runs: watch, a goroutine that looks at all members every second, and when it is woken; for each member at most one
// goroutine that probes it and one that brings it up, so that a disk that hangs holds up nobody else; work, which does what is
// not about one member, piece by piece; and the scrub's. stop ends all of them.
type custodian struct {
	l      *Log
	ctx    context.Context // ends when the log closes
	cancel context.CancelFunc
	pace   *pace // of all that runs in the background
	wake   chan struct{}
	more   chan struct{} // there may be something for work

	running sync.WaitGroup

	// changing is held by Replace and Retire, one at a time. It is taken before keeper.writing.
	changing sync.Mutex

	mu struct {
		sync.Mutex
		tended  map[int]*tended // by the member's index
		leaving Set             // members that are being retired
	}
}

// tended is what the custodian knows about a member.
type tended struct {
	probing  *member       // a probe of it is under way
	bringing chan struct{} // it is being brought up, or seized; closed when that ends
	stop     func()        // ends that
	rest     backoff       // of bringing up
}

// backoff counts failures and says when to try again.
type backoff struct {
	failures int
	until    time.Time
}

// failed notes a failure.
func (b *backoff) failed(now time.Time) {
	b.until = now.Add(min(retryMin<<min(b.failures, 10), retryMax))
	b.failures++
}

// newCustodian returns the custodian of a log, which has not begun.
func newCustodian(l *Log) *custodian {
	c := &custodian{l: l, wake: make(chan struct{}, 1), more: make(chan struct{}, 1)}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.pace = newPace(l.o.Clock, l.o.RepairBytesPerSecond, l.sleep, l.busy)
	c.mu.tended = map[int]*tended{}
	return c
}

// start begins looking after the members.
func (c *custodian) start() {
	c.running.Go(c.watch)
	c.running.Go(c.work)
	c.running.Go(func() { c.l.scrubLoop(c.ctx) })
}

// stop ends what the custodian does; wait waits until it has ended, if that does not take closeGrace.
func (c *custodian) stop() { c.cancel() }

func (c *custodian) wait() {
	done := make(chan struct{})
	go func() {
		c.running.Wait()
		close(done)
	}()
	t := c.l.o.Clock.NewTimer(closeGrace)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C():
	}
}

// wakeCustodian has the custodian look at once whether there is something to do.
func (l *Log) wakeCustodian() {
	for _, c := range []chan struct{}{l.custodian.wake, l.custodian.more} {
		select {
		case c <- struct{}{}:
		default: // it is about to look
		}
	}
}

// busy reports whether records wait for the disks.
func (l *Log) busy() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.queued > 0
}

// sleep waits for d by the log's clock, or until ctx ends, whose error it then returns.
func (l *Log) sleep(ctx context.Context, d time.Duration) error {
	t := l.o.Clock.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *custodian) watch() {
	t := c.l.o.Clock.NewTimer(watchEvery)
	defer t.Stop()
	for c.ctx.Err() == nil {
		select {
		case <-c.ctx.Done():
			return
		case <-c.wake:
		case <-t.C():
			t.Reset(watchEvery)
		}
		c.look()
	}
}

// look starts for every member what it needs and what is not under way.
func (c *custodian) look() {
	ms := c.l.now()
	for i := range c.l.seats.count() {
		if m := ms.member(i); m != nil && ms.has(m) {
			c.startProbe(i, m)
		} else {
			c.startBringUp(i)
		}
	}
	c.l.settleRules(ms)
}

// tendedLocked returns what is known about member i.
func (c *custodian) tendedLocked(i int) *tended {
	t := c.mu.tended[i]
	if t == nil {
		t = &tended{}
		c.mu.tended[i] = t
	}
	return t
}

func (c *custodian) startProbe(i int, m *member) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.tendedLocked(i)
	if t.probing == m {
		return
	}
	t.probing = m
	c.running.Go(func() {
		c.l.probeMember(m)
		c.mu.Lock()
		defer c.mu.Unlock()
		if t.probing == m {
			t.probing = nil
		}
	})
}

// work does what is not about one member, the most urgent first, one piece at a time.
func (c *custodian) work() {
	t := c.l.o.Clock.NewTimer(watchEvery)
	defer t.Stop()
	jobs := c.l.jobs()
	rests := make([]backoff, len(jobs))
	for c.ctx.Err() == nil {
		if c.workOnce(jobs, rests) {
			continue
		}
		select {
		case <-c.ctx.Done():
			return
		case <-c.more:
		case <-t.C():
			t.Reset(watchEvery)
		}
	}
}

// job does one piece of some work, of at most a segment or so. did is false if there is nothing to do just now.
type job func(ctx context.Context) (did bool, err error)

// jobs returns what work does, the most urgent first: what is damaged, then what lacks copies, then what is only not as it is
// wanted.
func (l *Log) jobs() []job {
	return []job{l.healStep, l.arrangeUrgent, l.tidyCheckpoint, l.arrangeStep}
}

// workOnce does one piece of the first job that has something to do, and reports whether any had.
func (c *custodian) workOnce(jobs []job, rests []backoff) bool {
	for i, do := range jobs {
		if c.l.o.Clock.Now().Before(rests[i].until) {
			continue
		}
		did, err := do(c.ctx)
		if err != nil {
			rests[i].failed(c.l.o.Clock.Now())
			continue
		}
		rests[i] = backoff{}
		if did {
			return true
		}
	}
	return false
}

// joined is called when a member has joined, with the files of the checkpoint if it is to keep them.
func (c *custodian) joined(m *member) {
	k := &c.l.keeper
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.mu.whole != nil && c.l.now().keepers().Has(m.number) {
		k.mu.whole[m] = true
	}
}

// setLeaving notes whether a member is being retired, so that nothing new is brought to it.
func (c *custodian) setLeaving(i int, leaving bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.leaving = c.mu.leaving.Without(i); leaving {
		c.mu.leaving = c.mu.leaving.With(i)
	}
}

// leaving returns the members that are being retired.
func (l *Log) leaving() Set {
	c := l.custodian
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.leaving
}
