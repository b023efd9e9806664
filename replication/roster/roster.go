// Package roster is who the members of a log are, what each of them is to it, and the rules of that. It promises to be
// pure: it touches neither disks nor clocks. How a roster lies in a MEMBER file is the business of package segment.
package roster

import "slices"

// State is what a member is to the log, as MEMBER files say.
type State uint8

// The states of a member.
const (
	Current State = 1 + iota // it holds all it should, and counts
	Joining                  // every new record is written to it, but it still lacks older ones; it does not count
	Behind                   // nothing is written to it; it has to be caught up
)

// Reason is why a member is behind.
type Reason uint8

// The reasons for which a member is behind.
const (
	ReasonNone     Reason = iota
	ReasonWrite           // a write or another operation failed
	ReasonSync            // a sync failed: what was written before may be gone
	ReasonStalled         // it did not answer in time
	ReasonNoSpace         // its disk is full
	ReasonVanished        // its directory is gone, or another one is in its place
	ReasonAbsent          // it was not there when the log was opened
	ReasonDamaged         // what it holds is damaged
	ReasonNew             // it was put in place of another one
	ReasonAsked           // somebody asked for it
)

// Row is one member.
type Row struct {
	Number int // from 1
	State  State
	Reason Reason
	ID     [16]byte
	Since  uint64 // the epoch in which it got its state
	Time   int64  // when that was, nanoseconds since 1970-01-01 UTC
}

// Roster is who the members are. It is stored whole in the MEMBER file of each of them.
type Roster struct {
	Store   [16]byte
	History [16]byte
	Epoch   uint64 // grows with every change
	Created int64  // when the log was, nanoseconds since 1970-01-01 UTC
	Least   int    // how many current members writing needs
	Copies  int    // on how many members an open segment is written
	K, M    int    // shards of sealed segments; 0, 0: copies
	Rows    []Row  // ascending by number
}

// Clone returns a copy that shares nothing with r.
func (r *Roster) Clone() Roster {
	c := *r
	c.Rows = slices.Clone(r.Rows)
	return c
}

// Row returns the row of a member, nil if there is none.
func (r *Roster) Row(number int) *Row {
	for i := range r.Rows {
		if r.Rows[i].Number == number {
			return &r.Rows[i]
		}
	}
	return nil
}
