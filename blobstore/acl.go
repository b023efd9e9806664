package blobstore

import (
	"pagevault/blobstore/lease"
	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/sas"
	"pagevault/pagestore"
)

// PublicAccess is what of a container anybody may read.
type PublicAccess uint8

// The levels of public access, each with what the one before has.
const (
	Private         PublicAccess = iota
	PublicBlobs                  // blobs whose names are known
	PublicContainer              // the container's properties and the list of its blobs, too
)

var publicAccessNames = [...]string{"", "blob", "container"}

// String returns the level as x-ms-blob-public-access spells it, "" for Private.
func (p PublicAccess) String() string { return publicAccessNames[p] }

// ContainerACL says who may use a container without a key of the account.
type ContainerACL struct {
	Public   PublicAccess
	Policies []sas.Policy // at most five; their ids differ
}

// Policies are encoded as texts, one policy after the other: id · start · expiry · permissions.

func appendPolicies(dst []byte, policies []sas.Policy) []byte {
	for i := range policies {
		p := &policies[i]
		for _, s := range [...]string{p.ID, p.Start, p.Expiry, p.Permissions} {
			dst = appendText(dst, s)
		}
	}
	return dst
}

// decodePolicies reads what appendPolicies wrote. The result does not borrow p. Without policies it is nil.
func decodePolicies(p []byte) (policies []sas.Policy, err error) {
	d := rowReader{p: p}
	for len(d.p) > 0 && !d.bad {
		policies = append(policies, sas.Policy{ID: d.text(), Start: d.text(), Expiry: d.text(), Permissions: d.text()})
		d.must(policies[len(policies)-1].ID != "")
	}
	if d.bad {
		return nil, badRow("policies", p)
	}
	return policies, nil
}

func (r *containerRow) acl() (ContainerACL, error) {
	policies, err := decodePolicies(r.policies)
	return ContainerACL{Public: r.public, Policies: policies}, err
}

// ContainerACL returns who may use a container, and its state. A lease id is a condition.
func (a *Account) ContainerACL(name, leaseID string) (acl ContainerACL, stamp Stamp, err error) {
	if err := checkContainerName(name); err != nil {
		return ContainerACL{}, Stamp{}, err
	}
	err = a.view(func(v *pagestore.View) error {
		var s scratch
		row, err := s.findContainer(v, name)
		if err != nil {
			return err
		}
		if err := row.lease.CheckRead(lease.Container, leaseID, a.clock.Now()); err != nil {
			return err
		}
		stamp = row.etag.stamp()
		acl, err = row.acl()
		return err
	})
	return acl, stamp, err
}

// SetContainerACL replaces who may use a container: what acl does not say is no longer so. The container's lease protects
// only against deletion; a lease id is a condition.
func (a *Account) SetContainerACL(name string, acc *Access, acl *ContainerACL) (Stamp, error) {
	return a.changeContainer(name, &acc.Conditions, func(c *containerChange) error {
		if err := c.row.lease.CheckRead(lease.Container, acc.LeaseID, c.now); err != nil {
			return err
		}
		c.row.public = acl.Public
		c.row.policies = appendPolicies(nil, acl.Policies)
		c.row.etag = a.nextTicks(c.row.etag)
		return a.store.CheckMetadata()
	})
}

// checkOverwrite returns the 403 for a requester who may make blobs and not overwrite them.
func (acc *Access) checkOverwrite(exists bool) error {
	if exists && acc.CreateOnly {
		return azerr.UnauthorizedBlobOverwrite
	}
	return nil
}
