package lease

import (
	"time"

	"pagevault/internal/azure/azerr"
)

// Resource is what a lease is on. It decides the codes of refused uses.
type Resource uint8

const (
	Blob Resource = iota
	Container
)

// CheckWrite says whether a request that names lease id ("" for none) may do what the lease protects: write or delete
// a blob, delete a container. Refusals are 412.
func (s *State) CheckWrite(res Resource, id string, now time.Time) error {
	if id == "" {
		if s.Status(now).Locked() {
			return azerr.LeaseIdMissing
		}
		return nil
	}
	return s.checkID(res, id, now)
}

// CheckRead says whether a request that needs no lease may go on. A lease id ("" for none) is then a condition: it must
// be that of an active lease. Refusals are 412.
func (s *State) CheckRead(res Resource, id string, now time.Time) error {
	if id == "" {
		return nil
	}
	return s.checkID(res, id, now)
}

// checkID accepts the id of an active lease only. LeaseLost tells the former holder of a blob's lease that its time is
// up; for a broken lease and for containers the reference knows no such code.
func (s *State) checkID(res Resource, id string, now time.Time) error {
	status := s.Status(now)
	switch {
	case status.Locked() && id == s.ID:
		return nil
	case status.Locked() && res == Container:
		return azerr.LeaseIdMismatchWithContainerOperation
	case status.Locked():
		return azerr.LeaseIdMismatchWithBlobOperation
	case res == Container:
		return azerr.LeaseNotPresentWithContainerOperation
	case status == Expired && id == s.ID:
		return azerr.LeaseLost
	default:
		return azerr.LeaseNotPresentWithBlobOperation
	}
}

// Written returns the state after a successful write to the resource: a lease that is over is forgotten, so that its
// former holder cannot renew it and overlook that write. An active lease stays.
func (s State) Written(now time.Time) State {
	if s.Phase == PhaseNone || s.Status(now).Locked() {
		return s
	}
	return State{}
}
