package pagestore

import (
	"cmp"
	"context"
	"sync"

	"pagevault/replication"
)

// While too few members can be written the log halts. It takes no records and keeps those it was given, with copies of the
// bytes they point to; when enough members work again it goes on with them as if nothing had been. Here that means:
//
//   - Whoever waits for a record is answered at once with ErrUnavailable, and so is everybody who comes until the log goes
//     on. Nobody has to guess for how long.
//   - Records that were on their way stay in flight, with their rows, heads, generations and fingerprints, although nobody
//     waits for them any more: they are abandoned. Sooner or later they land like others, and updates that come after the
//     halt see what they change.
//   - Who does something on the strength of what his own record has changed, or would do the same again if it were not
//     there, settles first: he waits until what was abandoned has landed. That is the work in the background.
//   - What is condemned stays so until the records that free it have landed; see pardonWhenLanded.
//
// A store that is closed while its log is halted forgets what was abandoned, as in a crash.

// halting passes on what the log tells to the flight of the store over it. There is none before the log is open, and another
// one if the index is made anew.
type halting struct {
	mu struct {
		sync.Mutex // held over the flight's lock, so that the flight is told everything, in order
		now        error
		flight     *flight
	}
}

// watch has the log tell when it halts and when it goes on. The store knows before the caller's callbacks do.
func (h *halting) watch(events *replication.Events) {
	halted, resumed := events.Halted, events.Resumed
	events.Halted = func(err error) {
		h.tell(err)
		if halted != nil {
			halted(err)
		}
	}
	events.Resumed = func() {
		h.tell(nil)
		if resumed != nil {
			resumed()
		}
	}
}

func (h *halting) tell(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mu.now = err
	if h.mu.flight != nil {
		h.mu.flight.setHalted(err)
	}
}

// attach makes f the flight that is told from now on.
func (h *halting) attach(f *flight) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mu.flight = f
	f.setHalted(h.mu.now)
}

// setHalted notes why the log has halted, or with nil that it goes on, and answers everyone who waits. The log has made
// copies of the bytes of all records that it was given before it calls.
func (f *flight) setHalted(err error) {
	m := &f.mu
	m.Lock()
	defer m.Unlock()
	m.halted = err
	m.moved.Broadcast()
	if err == nil {
		return
	}
	for _, p := range m.waiting {
		if !p.finished { // else it was in flight at an earlier halt
			p.copied = true
			f.abandonLocked(p)
		}
	}
}

// abandonLocked answers the goroutine that waits for p, and leaves p in flight.
func (f *flight) abandonLocked(p *pending) {
	f.mu.abandoned = max(f.mu.abandoned, p.record.LSN)
	p.finishLocked(f.mu.halted)
}

// halt returns why the log takes no records now, nil while it does.
func (f *flight) halt() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.halted
}

// settle returns when every abandoned record has landed. Unlike Settle it does not wait for a halt to end, also if there
// are none: there is no sense in beginning anything then.
func (f *flight) settle() error {
	m := &f.mu
	m.Lock()
	defer m.Unlock()
	for m.applied < m.abandoned && m.failed == nil && m.halted == nil {
		m.moved.Wait()
	}
	if m.failed != nil {
		return m.failed
	}
	return m.halted
}

// Settle returns when the log takes records, if it has halted, and every record is applied whose update was answered with
// ErrUnavailable. It is for those who look at a view, go by what they see in an update, and would otherwise do again what is
// on its way. Errors: that of ctx when it ends; ErrReadOnly, ErrClosed.
func (s *Store) Settle(ctx context.Context) error {
	defer context.AfterFunc(ctx, s.flight.wake)()
	m := &s.flight.mu
	m.Lock()
	defer m.Unlock()
	for m.halted != nil || m.applied < m.abandoned {
		if err := cmp.Or(ctx.Err(), s.unusable()); err != nil {
			return err
		}
		m.moved.Wait()
	}
	return s.unusable()
}

// pardonWhenLanded is pardon for a compaction that has ended, as soon as what it had freed is applied. That is now, unless
// the log has halted: a record that frees blocks is then still on its way, and whoever took them up before it lands would
// lose them.
func (s *Store) pardonWhenLanded() {
	f := &s.flight.mu
	f.Lock()
	defer f.Unlock()
	if f.applied < f.abandoned && f.failed == nil {
		f.landing = s.pardonLocked
		return
	}
	s.pardonLocked()
}
