// Package immutable says what may be done to a blob that a policy or a legal hold protects, and how policies and holds
// may change, as pure functions of a state, a request and a time. It knows neither clocks nor rows: blobstore calls it
// wherever it finds a blob that is about to change.
//
// A policy has a time until which it protects, and a mode. An unlocked one may be changed in any way and taken away; a
// locked one can only be made to last longer, by anybody. A hold has no time: it protects until it is taken away. Both
// protect on their own.
//
// A policy whose time is over still keeps the blob as it is: it may be deleted and replaced, and not be changed. That is
// so until the policy is taken away, which a locked one never is.
package immutable

import (
	"time"

	"pagevault/internal/azure/azerr"
)

// Mode says how firm a policy is. The zero Mode is: there is none.
type Mode uint8

// The modes of policies.
const (
	None Mode = iota
	Unlocked
	Locked
)

var modeNames = [...]string{"", "unlocked", "locked"}

// String returns the mode as replies spell it, "" for none.
func (m Mode) String() string { return modeNames[m] }

// Policy protects a blob until a time. The zero Policy is none.
type Policy struct {
	Mode  Mode
	Until time.Time // in whole seconds, as requests give it
}

// State is what protects a blob. The zero State is nothing.
type State struct {
	Policy Policy
	Hold   bool
}

// Act is what a request is about to do to a blob that is there, as far as protection goes.
type Act uint8

// The acts.
const (
	// Read leaves everything as it is.
	Read Act = iota
	// Annotate changes what is said about the blob beside its content and its metadata: tags, leases, tiers, policies and
	// holds themselves; or takes a snapshot, which leaves the blob alone.
	Annotate
	// Modify changes content, size, sequence number, HTTP headers or metadata.
	Modify
	// Replace puts another blob in its place.
	Replace
	// Delete removes it.
	Delete
	// Acts is how many there are.
	Acts
)

var actNames = [...]string{"read", "annotate", "modify", "replace", "delete"}

// String returns the act in lower case.
func (a Act) String() string { return actNames[a] }

// Active reports whether the policy's time is not over.
func (p Policy) Active(now time.Time) bool { return p.Mode != None && now.Before(p.Until) }

// Check returns nil if the act is allowed now, else BlobImmutableDueToPolicy.
func (s *State) Check(act Act, now time.Time) error {
	if act == Read || act == Annotate {
		return nil
	}
	if s.Hold || s.Policy.Active(now) || act == Modify && s.Policy.Mode != None {
		return azerr.BlobImmutableDueToPolicy
	}
	return nil
}

// PolicyDaysMax is how many days ahead a policy may end: some 400 years, as the reference has it.
const PolicyDaysMax = 146_000

// The headers that requests give policies in.
const (
	untilHeader = "x-ms-immutability-policy-until-date"
	modeHeader  = "x-ms-immutability-policy-mode"
)

// Set returns the state with another policy. Where a request gives no mode the caller puts Unlocked. A time
// that is over, or farther away than PolicyDaysMax, is InvalidHeaderValue. What would weaken a locked policy is
// BlobImmutableDueToPolicy, also when its time is over.
func (s State) Set(p Policy, now time.Time) (State, error) {
	if p.Mode != Unlocked && p.Mode != Locked {
		return s, azerr.BadHeader(modeHeader, p.Mode.String())
	}
	if !now.Before(p.Until) || p.Until.After(now.AddDate(0, 0, PolicyDaysMax)) {
		return s, azerr.BadHeader(untilHeader, p.Until.UTC().Format(time.RFC1123))
	}
	if s.Policy.Mode == Locked && (p.Mode != Locked || p.Until.Before(s.Policy.Until)) {
		return s, azerr.BlobImmutableDueToPolicy
	}
	s.Policy = p
	return s, nil
}

// Unset returns the state without a policy. A locked one stays: ImmutabilityPolicyDeleteOnLockedPolicy. There need not be
// one.
func (s State) Unset() (State, error) {
	if s.Policy.Mode == Locked {
		return s, azerr.ImmutabilityPolicyDeleteOnLockedPolicy
	}
	s.Policy = Policy{}
	return s, nil
}
