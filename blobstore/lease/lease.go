// Package lease is the state machine behind leases on blobs and containers. It is pure: it knows no blob, reads no
// clock and stores nothing. The caller keeps a State with the resource, hands it in with the time, and stores the
// State that comes back.
//
// A lease gives its holder the sole right to write (a blob) or to delete (a container). It is held for 15 to 60
// seconds or for ever, and ends by release, by running out, or by being broken by anybody, at once or after a grace
// period. What is stored is only what happened and until when; whether a lease has run out or is broken by now follows
// from the clock, so nothing needs to be written when that happens.
package lease

import (
	"strconv"
	"time"

	"pagevault/internal/azure/azerr"
)

// Infinite is the duration, in place of seconds, of a lease that does not run out.
const Infinite = -1

// Limits of the protocol, in seconds.
const (
	durationMin    = 15
	durationMax    = 60
	breakPeriodMax = 60
)

// tick is the resolution in which times are stored: 100 ns, the resolution of every other time in the protocol.
const tick = 100 * time.Nanosecond

// Phase is the part of a lease's state that is stored.
type Phase uint8

const (
	PhaseNone     Phase = iota // never leased, released, or forgotten by a write
	PhaseHeld                  // acquired. Leased until the time is up, then expired
	PhaseBreaking              // somebody broke it. Breaking until the time is up, then broken
)

// State is what is stored about the lease of one resource. The zero value is an available lease.
//
// Invariants: in PhaseNone every other field is zero. In PhaseBreaking Until is set, in PhaseHeld it is set unless
// Seconds is Infinite. Until has whole 100-ns ticks.
type State struct {
	Phase   Phase
	ID      string    // of the last holder: a GUID in lower case, 8-4-4-4-12
	Seconds int       // the duration it was acquired for: Infinite, or 15 to 60
	Until   time.Time // held: when it expires (zero: never). Breaking: when it is broken
}

// Status is the state of a lease at some moment, under the names the protocol gives it in x-ms-lease-state.
type Status uint8

const (
	Available Status = iota
	Leased
	Breaking
	Broken
	Expired
)

var statusNames = [...]string{"available", "leased", "breaking", "broken", "expired"}

// String returns the status as x-ms-lease-state spells it.
func (s Status) String() string { return statusNames[s] }

// Locked reports whether the lease keeps others out: x-ms-lease-status is then "locked", else "unlocked".
func (s Status) Locked() bool { return s == Leased || s == Breaking }

// Info is what clients are told about a lease.
type Info struct {
	Status   Status
	Infinite bool // of a Leased one: it does not run out
}

// Duration returns x-ms-lease-duration: "infinite" or "fixed" while leased, else "", which is not sent.
func (i Info) Duration() string {
	switch {
	case i.Status != Leased:
		return ""
	case i.Infinite:
		return "infinite"
	default:
		return "fixed"
	}
}

// Info returns what clients are told about the lease at now.
func (s *State) Info(now time.Time) Info {
	return Info{Status: s.Status(now), Infinite: s.Seconds == Infinite}
}

// Status returns the state of the lease at now.
func (s *State) Status(now time.Time) Status {
	over := !s.Until.IsZero() && !now.Before(s.Until)
	switch {
	case s.Phase == PhaseHeld && over:
		return Expired
	case s.Phase == PhaseHeld:
		return Leased
	case s.Phase == PhaseBreaking && over:
		return Broken
	case s.Phase == PhaseBreaking:
		return Breaking
	default:
		return Available
	}
}

// Action is what a lease request asks for (x-ms-lease-action).
type Action uint8

const (
	Acquire Action = iota + 1
	Renew
	Change
	Release
	Break
)

var actionNames = [...]string{Acquire: "acquire", Renew: "renew", Change: "change", Release: "release", Break: "break"}

// String returns the action as x-ms-lease-action spells it.
func (a Action) String() string {
	if int(a) >= len(actionNames) || a == 0 {
		return "action(" + strconv.Itoa(int(a)) + ")"
	}
	return actionNames[a]
}

// ParseAction reads an x-ms-lease-action; case does not matter.
func ParseAction(v string) (Action, bool) {
	for a := Acquire; a <= Break; a++ {
		if equalFold(v, actionNames[a]) {
			return a, true
		}
	}
	return 0, false
}

// equalFold compares ASCII text without regard to case; lower is in lower case.
func equalFold(v, lower string) bool {
	if len(v) != len(lower) {
		return false
	}
	for i := range len(v) {
		c := v[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// Request asks for a change of a lease. Ids are GUIDs in lower case, 8-4-4-4-12: header.ParseLeaseID makes them so.
type Request struct {
	Action    Action
	ID        string // renew, change, release: the id the client holds (x-ms-lease-id). Not looked at otherwise
	Proposed  string // acquire, change: the id it wants (x-ms-proposed-lease-id)
	Seconds   int    // acquire: Infinite, or 15 to 60 (x-ms-lease-duration)
	HasPeriod bool   // break: the client gave a period
	Period    int    // break: at most so many seconds until the lease is broken, 0 to 60 (x-ms-lease-break-period)
}

// Check returns the 400 a request deserves whatever the state is: a duration, a period or an id outside the protocol.
func (r *Request) Check() error {
	switch {
	case r.Action < Acquire || r.Action > Break:
		return azerr.BadHeader("x-ms-lease-action", r.Action.String())
	case r.Action == Acquire && r.Seconds != Infinite && (r.Seconds < durationMin || r.Seconds > durationMax):
		return azerr.BadHeader("x-ms-lease-duration", strconv.Itoa(r.Seconds))
	case r.Action == Break && r.HasPeriod && (r.Period < 0 || r.Period > breakPeriodMax):
		return azerr.BadHeader("x-ms-lease-break-period", strconv.Itoa(r.Period))
	case r.ID == "" && (r.Action == Renew || r.Action == Change || r.Action == Release):
		return azerr.MissingHeader("x-ms-lease-id")
	case r.Proposed == "" && (r.Action == Acquire || r.Action == Change):
		return azerr.MissingHeader("x-ms-proposed-lease-id")
	}
	return nil
}

// Result is what the reply to a lease request says.
type Result struct {
	ID          string // acquire, renew, change: the id now held (x-ms-lease-id)
	TimeSeconds int    // break: seconds, rounded up, until the lease can be acquired (x-ms-lease-time)
}

// Apply returns the state after the request. With an error (400 from Check, else 409) nothing changes. An acquire
// needs a Proposed id; when the client gave none, the caller makes one up.
func Apply(s State, r Request, now time.Time) (State, Result, error) {
	if err := r.Check(); err != nil {
		return s, Result{}, err
	}
	switch r.Action {
	case Acquire:
		return s.acquire(r, now)
	case Renew:
		return s.renew(r, now)
	case Change:
		return s.change(r, now)
	case Release:
		return s.release(r)
	default:
		return s.breakOff(r, now)
	}
}

func (s State) acquire(r Request, now time.Time) (State, Result, error) {
	switch s.Status(now) {
	case Leased:
		if r.Proposed != s.ID {
			return s, Result{}, azerr.LeaseAlreadyPresent
		}
	case Breaking:
		if r.Proposed != s.ID {
			return s, Result{}, azerr.LeaseAlreadyPresent
		}
		return s, Result{}, azerr.LeaseIsBreakingAndCannotBeAcquired
	}
	return held(r.Proposed, r.Seconds, now), Result{ID: r.Proposed}, nil
}

// renew starts the clock again. It works on an expired lease too, so that a holder who was late keeps it if nobody came
// in between: a write by somebody else has made the state available by then (see Written).
func (s State) renew(r Request, now time.Time) (State, Result, error) {
	status := s.Status(now)
	switch {
	case status == Available || r.ID != s.ID:
		return s, Result{}, azerr.LeaseIdMismatchWithLeaseOperation
	case status == Breaking || status == Broken:
		return s, Result{}, azerr.LeaseIsBrokenAndCannotBeRenewed
	}
	return held(s.ID, s.Seconds, now), Result{ID: s.ID}, nil
}

// change hands the lease to another id. A client that repeats a change whose reply it lost names the old id and
// proposes the current one: that succeeds.
func (s State) change(r Request, now time.Time) (State, Result, error) {
	mine := r.ID == s.ID || r.Proposed == s.ID
	switch status := s.Status(now); {
	case !status.Locked():
		return s, Result{}, azerr.LeaseNotPresentWithLeaseOperation
	case !mine:
		return s, Result{}, azerr.LeaseIdMismatchWithLeaseOperation
	case status == Breaking:
		return s, Result{}, azerr.LeaseIsBreakingAndCannotBeChanged
	}
	s.ID = r.Proposed
	return s, Result{ID: s.ID}, nil
}

func (s State) release(r Request) (State, Result, error) {
	if s.Phase == PhaseNone || r.ID != s.ID {
		return s, Result{}, azerr.LeaseIdMismatchWithLeaseOperation
	}
	return State{}, Result{}, nil
}

// breakOff ends the lease without its id. A lease that runs out sooner than the period ends then; one that is breaking
// already only ever ends sooner.
func (s State) breakOff(r Request, now time.Time) (State, Result, error) {
	var left time.Duration
	switch s.Status(now) {
	case Available:
		return s, Result{}, azerr.LeaseNotPresentWithLeaseOperation
	case Leased:
		period := time.Duration(r.Period) * time.Second
		switch {
		case s.Seconds == Infinite && r.HasPeriod:
			left = period
		case s.Seconds == Infinite:
			left = 0
		case r.HasPeriod:
			left = min(period, s.Until.Sub(now))
		default:
			left = s.Until.Sub(now)
		}
	case Breaking:
		left = s.Until.Sub(now)
		if r.HasPeriod {
			left = min(left, time.Duration(r.Period)*time.Second)
		}
	}
	s.Phase, s.Until = PhaseBreaking, now.Add(left).Truncate(tick)
	return s, Result{TimeSeconds: int((left + time.Second - 1) / time.Second)}, nil
}

// held returns the state of a lease acquired or renewed at now.
func held(id string, seconds int, now time.Time) State {
	s := State{Phase: PhaseHeld, ID: id, Seconds: seconds}
	if seconds != Infinite {
		s.Until = now.Add(time.Duration(seconds) * time.Second).Truncate(tick)
	}
	return s
}
