package blobstore

import (
	"errors"
	"time"

	"pagevault/blobstore/lease"
	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/cond"
	"pagevault/internal/azure/header"
	"pagevault/pagestore"
)

// ContainerInfo is everything a reply may say about a container.
type ContainerInfo struct {
	Name string
	Stamp
	Metadata []header.Pair
	Lease    lease.Info
	Public   PublicAccess

	ImmutableStorage bool      // blobs in it can be protected
	Version          string    // of one that is deleted and kept for a while: which of those that had its name
	Deleted          *Deletion // nil for any other
}

// CreateContainer makes an empty container, for nobody but the account. A container of that name that was just deleted
// is no obstacle.
func (a *Account) CreateContainer(name string, meta []header.Pair) (Stamp, error) {
	return a.CreatePublicContainer(name, Private, meta)
}

// CreatePublicContainer is CreateContainer for one that anybody may read.
func (a *Account) CreatePublicContainer(name string, public PublicAccess, meta []header.Pair) (Stamp, error) {
	if err := checkNewContainerName(name); err != nil {
		return Stamp{}, err
	}
	row := containerRow{public: public, immutable: a.immutable.has(name), meta: appendMetadata(nil, meta)}
	err := a.update(func(tx *pagestore.Tx) (err error) {
		var s scratch
		if _, err = s.findContainer(tx, name); !errors.Is(err, azerr.ContainerNotFound) {
			return firstError(err, azerr.ContainerAlreadyExists)
		}
		if err := a.store.CheckMetadata(); err != nil {
			return err
		}
		if row.id, err = takeContainerID(tx); err != nil {
			return err
		}
		row.etag = a.nextTicks(0)
		row.created = row.etag
		tx.Set(s.key, row.append(nil))
		return count(tx, tally{containers: 1})
	})
	return row.etag.stamp(), err
}

// takeContainerID returns an id that no container ever had.
func takeContainerID(tx *pagestore.Tx) (containerID, error) {
	value, ok, err := tx.Get(nextIDKey)
	if err != nil {
		return 0, err
	}
	id := uint64(1)
	if ok {
		if id, err = decodeNumberRow(value); err != nil {
			return 0, err
		}
	}
	tx.Set(nextIDKey, appendNumberRow(nil, id+1))
	return containerID(id), nil
}

// ContainerInfo returns the properties and metadata of a container. A lease id is a condition.
func (a *Account) ContainerInfo(name, leaseID string) (info ContainerInfo, err error) {
	if err := checkContainerName(name); err != nil {
		return ContainerInfo{}, err
	}
	err = a.view(func(v *pagestore.View) error {
		var s scratch
		row, err := s.findContainer(v, name)
		if err != nil {
			return err
		}
		now := a.clock.Now()
		if err := row.lease.CheckRead(lease.Container, leaseID, now); err != nil {
			return err
		}
		info, err = row.info(name, now)
		info.ImmutableStorage = info.ImmutableStorage || a.immutable.has(name)
		return err
	})
	return info, err
}

func (r *containerRow) info(name string, now time.Time) (ContainerInfo, error) {
	meta, err := decodeMetadata(r.meta)
	return ContainerInfo{Name: name, Stamp: r.etag.stamp(), Metadata: meta, Lease: r.lease.Info(now), Public: r.public,
		ImmutableStorage: r.immutable}, err
}

// containerChange is a change of one existing container while it is made: within Update only.
type containerChange struct {
	scratch
	tx  *pagestore.Tx
	now time.Time
	row containerRow
}

// changeContainer runs a request that changes an existing container: fn changes the row, which is then stored. It
// returns the entity tag that the container has afterwards.
func (a *Account) changeContainer(name string, conditions *cond.Conditions, fn func(c *containerChange) error) (Stamp, error) {
	if err := checkContainerName(name); err != nil {
		return Stamp{}, err
	}
	var c containerChange
	err := a.update(func(tx *pagestore.Tx) error {
		c.tx, c.now = tx, a.clock.Now()
		if err := c.find(name, conditions); err != nil {
			return err
		}
		if err := fn(&c); err != nil {
			return err
		}
		tx.Set(c.key, c.row.append(nil))
		return nil
	})
	return c.row.etag.stamp(), err
}

func (c *containerChange) find(name string, conditions *cond.Conditions) (err error) {
	if c.row, err = c.findContainer(c.tx, name); err != nil {
		return err
	}
	stamp := c.row.etag.stamp()
	return conditions.CheckWrite(stamp.ETag, stamp.LastModified)
}

// SetContainerMetadata replaces all metadata of a container. Its lease protects only against deletion; a lease id is a
// condition.
func (a *Account) SetContainerMetadata(name string, acc *Access, meta []header.Pair) (Stamp, error) {
	return a.changeContainer(name, &acc.Conditions, func(c *containerChange) error {
		if err := c.row.lease.CheckRead(lease.Container, acc.LeaseID, c.now); err != nil {
			return err
		}
		c.row.meta = appendMetadata(nil, meta)
		c.row.etag = a.nextTicks(c.row.etag)
		return a.store.CheckMetadata()
	})
}

// DeleteContainer deletes a container with everything in it, leased or not, in a time that does not depend on how much
// that is: the name is free at once, the blobs are removed afterwards, in the background. Where Options.ContainerDays says so
// it is kept for a while, to be restored. One with immutable storage must be empty:
// ContainerImmutableStorageWithVersioningEnabled.
func (a *Account) DeleteContainer(name string, acc *Access) error {
	if err := checkContainerName(name); err != nil {
		return err
	}
	err := a.update(func(tx *pagestore.Tx) error {
		c := containerChange{tx: tx, now: a.clock.Now()}
		if err := c.find(name, &acc.Conditions); err != nil {
			return err
		}
		if err := c.row.lease.CheckWrite(lease.Container, acc.LeaseID, c.now); err != nil {
			return err
		}
		if err := a.checkEmpty(&c, name); err != nil {
			return err
		}
		if a.containerDays > 0 {
			return c.keepContainer(name, a.containerDays)
		}
		tx.Delete(c.key)
		tx.Set(appendTombKey(nil, c.row.id), appendTombRow(nil, name))
		return count(tx, tally{containers: -1})
	})
	if err == nil {
		a.reaper.kick()
	}
	return err
}
