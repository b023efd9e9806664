package pagestore

import "pagevault/replication"

// The log's members under names for those who know the log only through a store.
type (
	MemberStatus = replication.MemberStatus
	MemberState  = replication.State
	MemberError  = replication.MemberError // an operation on a member's files that failed
)

// The states of a member. See package replication.
const (
	MemberCurrent = replication.Current
	MemberJoining = replication.Joining
	MemberBehind  = replication.Behind
	MemberAbsent  = replication.Absent
	MemberForeign = replication.Foreign
)

// ErrUnavailable is returned by updates while too few members of the log can be written. Reads go on, and updates will
// again without a new start: see replication.UnavailableError.
var ErrUnavailable = replication.ErrUnavailable

// MemberFilling is the reason of a member that is current and still gets copies or shards; see package replication.
const MemberFilling = replication.ReasonFilling

// ErrNeeded marks a member that cannot be given up just now, as others lack what it holds.
var ErrNeeded = replication.ErrNeeded

// Redundancy is how sealed segments are kept; see package replication. The zero value is whole copies.
type Redundancy = replication.Redundancy

// Member is a directory that is to be a member of the log.
type Member = replication.Member

// Reading and comparing everything that the members hold; see package replication.
type (
	ScrubOptions = replication.ScrubOptions
	ScrubStatus  = replication.ScrubStatus
	LogProblem   = replication.Problem // what is not as it should be on a member
)
