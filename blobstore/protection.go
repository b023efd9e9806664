package blobstore

import (
	"encoding/binary"
	"fmt"
	"time"

	"pagevault/blobstore/immutable"
	"pagevault/blobstore/tier"
	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/cond"
	"pagevault/pagestore"
)

// Policies and legal holds protect single blobs and snapshots, in containers that have immutable storage. The rules are in
// package immutable. They are asked in one place, where a request finds the blob that it is about to change (findBlob of
// blobChange, which wants to be told what is to be done to it), and once more wherever a row goes away without being
// found in this way (dropSnapshot, bury).

// ImmutableStorage says in which containers of an account blobs can be protected. A container that had a protected blob
// once keeps that in its row, whatever is said later.
type ImmutableStorage struct {
	All        bool     // every container, and those to come
	Containers []string // only these, which need not exist yet
}

// has reports whether a container of that name is to have immutable storage.
func (s *ImmutableStorage) has(container string) bool {
	if s.All {
		return true
	}
	for _, c := range s.Containers {
		if c == container {
			return true
		}
	}
	return false
}

// Protection is how a blob that is made is to be protected.
type Protection struct {
	Policy immutable.Policy // Mode None: by none
	Hold   bool
}

// findBlob is scratch.findBlob for a request that is about to do act to the blob or snapshot. What protects it may forbid
// that, or its tier: the error is then BlobImmutableDueToPolicy or BlobArchived, and the row is returned with it.
func (c *blobChange) findBlob(from rows, ref *BlobRef, snapshot snapshotID, act immutable.Act) (id containerID, row blobRow, err error) {
	id, row, err = c.scratch.findBlob(from, ref, snapshot)
	if err == nil {
		err = firstError(row.locks.Check(act, c.now), row.checkOnlineFor(act))
	}
	return id, row, err
}

// checkReplaced turns the refusal to replace a protected blob into the one that a request would have got anyway which does
// not want to replace any.
func (acc *Access) checkReplaced(row *blobRow, refusal error) error {
	if refusal != azerr.BlobImmutableDueToPolicy && refusal != azerr.BlobArchived {
		return refusal
	}
	stamp := row.etag.stamp()
	if err := acc.Conditions.CheckCreate(true, stamp.ETag, stamp.LastModified); err == azerr.BlobAlreadyExists {
		refusal = err
	}
	return firstError(acc.checkOverwrite(true), refusal)
}

// checkSnapshots refuses to delete snapshots of a blob of which one is protected. Containers without immutable storage
// have none, and need not be asked.
func (c *blobChange) checkSnapshots(name string) error {
	if !c.immutable {
		return nil
	}
	from, to := snapshotRows(c.id, name)
	var refused error
	err := c.tx.Scan(from, to, func(_, value []byte) bool {
		row, err := decodeBlobRow(value)
		if row.version == 0 { // versions stay
			refused = row.locks.Check(immutable.Delete, c.now)
		}
		refused = firstError(err, refused)
		return refused == nil
	})
	return firstError(err, refused)
}

// immutableStorage reports whether the container that c has just found has immutable storage.
func (a *Account) immutableStorage(c *blobChange, container string) bool {
	return c.immutable || a.immutable.has(container)
}

// protect returns the state of a blob that is made and to be protected.
func (a *Account) protect(c *blobChange, container string, p *Protection) (s immutable.State, err error) {
	if p.Policy.Mode == immutable.None && !p.Hold {
		return s, nil
	}
	if !a.immutableStorage(c, container) {
		return s, azerr.BlobOperationNotSupported
	}
	if p.Policy.Mode != immutable.None {
		s, err = s.Set(p.Policy, c.now)
	}
	s.Hold = p.Hold
	return s, firstError(err, c.keepImmutable(container))
}

// keepImmutable notes in the row of the container that it has immutable storage, so that it is asked for protected blobs
// for ever.
func (c *blobChange) keepImmutable(container string) error {
	if c.immutable {
		return nil
	}
	var s scratch
	row, err := s.findContainer(c.tx, container)
	if err != nil {
		return err
	}
	row.immutable, c.immutable = true, true
	c.tx.Set(s.key, row.append(nil))
	return nil
}

// SetImmutabilityPolicy gives a blob or a snapshot a policy, or another one. Neither its entity tag nor its modification
// time changes. Of the conditions only If-Unmodified-Since applies; no lease is needed.
func (a *Account) SetImmutabilityPolicy(ref BlobRef, conditions *cond.Conditions, p immutable.Policy) error {
	return a.setProtection(ref, conditions, func(s immutable.State, now time.Time) (immutable.State, error) { return s.Set(p, now) })
}

// DeleteImmutabilityPolicy takes the policy of a blob or a snapshot away, unless it is locked. There need not be one.
func (a *Account) DeleteImmutabilityPolicy(ref BlobRef) error {
	return a.setProtection(ref, &cond.Conditions{}, func(s immutable.State, _ time.Time) (immutable.State, error) { return s.Unset() })
}

// SetLegalHold puts a blob or a snapshot on hold, or ends that.
func (a *Account) SetLegalHold(ref BlobRef, hold bool) error {
	return a.setProtection(ref, &cond.Conditions{}, func(s immutable.State, _ time.Time) (immutable.State, error) {
		s.Hold = hold
		return s, nil
	})
}

func (a *Account) setProtection(ref BlobRef, conditions *cond.Conditions, change func(s immutable.State, now time.Time) (immutable.State, error)) error {
	snapshot, err := ref.check()
	if err != nil {
		return err
	}
	c := takeChange()
	defer c.release()
	return a.update(func(tx *pagestore.Tx) (err error) {
		c.tx, c.now = tx, a.clock.Now()
		if c.id, c.row, err = c.findBlob(tx, &ref, snapshot, immutable.Annotate); err != nil {
			return err
		}
		if err := c.row.checkFree(); err != nil {
			return err
		}
		if !a.immutableStorage(c, ref.Container) {
			return azerr.BlobOperationNotSupported
		}
		if err := c.row.checkConditions(conditions); err != nil {
			return err
		}
		if c.row.locks, err = change(c.row.locks, c.now); err != nil {
			return err
		}
		c.keep()
		return c.keepImmutable(ref.Container)
	})
}

// checkEmpty refuses to delete a container with immutable storage as long as it has a blob, protected or not.
func (a *Account) checkEmpty(c *containerChange, name string) error {
	if !c.row.immutable && !a.immutable.has(name) {
		return nil
	}
	empty := true
	from := appendContainerBlobs(nil, c.row.id)
	err := c.tx.Scan(from, appendAfter(nil, from), func(_, _ []byte) bool {
		empty = false
		return false
	})
	if err == nil && !empty {
		err = azerr.ContainerImmutableStorageWithVersioningEnabled
	}
	return err
}

// CheckRemovable returns ContainerImmutableStorageWithVersioningEnabled if the account has a blob in a container with
// immutable storage, and nil if nothing speaks against the account going away with everything in it.
func (a *Account) CheckRemovable() error {
	return a.view(func(v *pagestore.View) error {
		table := []byte{tableContainer}
		return scanView(v, table, appendAfter(nil, table), func(it *pagestore.Iter) (bool, error) {
			row, err := decodeContainerRow(it.Value())
			if err != nil || !row.immutable && !a.immutable.has(string(it.Key()[1:])) {
				return it.Next(), err
			}
			from := appendContainerBlobs(nil, row.id)
			return it.Next(), scanView(v, from, appendAfter(nil, from), func(*pagestore.Iter) (bool, error) {
				return false, azerr.ContainerImmutableStorageWithVersioningEnabled
			})
		})
	})
}

// What a blob's row says of its protection and its tier, as one text:
//
//	flags (1) · [mode (1) · until (8, ticks)] · [tier (1) · given (8, ticks)]

const (
	markPolicy = 1 << 0 // a policy follows
	markHold   = 1 << 1 // on hold
	markTier   = 1 << 2 // a tier follows
)

// marked reports whether there is anything to say.
func (r *blobRow) marked() bool { return r.locks != (immutable.State{}) || r.tier != 0 }

// appendMarks appends it.
func (r *blobRow) appendMarks(dst []byte) []byte {
	flags := byte(0)
	if r.locks.Policy.Mode != immutable.None {
		flags |= markPolicy
	}
	if r.locks.Hold {
		flags |= markHold
	}
	if r.tier != 0 {
		flags |= markTier
	}
	dst = append(dst, flags)
	if flags&markPolicy != 0 {
		dst = append(dst, byte(r.locks.Policy.Mode))
		dst = binary.LittleEndian.AppendUint64(dst, uint64(ticksAt(r.locks.Policy.Until)))
	}
	if flags&markTier != 0 {
		dst = append(dst, byte(r.tier))
		dst = binary.LittleEndian.AppendUint64(dst, uint64(r.tiered))
	}
	return dst
}

// decodeMarks reads what appendMarks wrote.
func (r *blobRow) decodeMarks(p []byte) error {
	d := rowReader{p: p}
	flags := d.flags(markPolicy | markHold | markTier)
	if flags&markPolicy != 0 {
		r.locks.Policy.Mode = immutable.Mode(d.byte())
		until := ticks(d.uint64())
		d.must(r.locks.Policy.Mode == immutable.Unlocked || r.locks.Policy.Mode == immutable.Locked)
		d.must(until != 0 && until>>63 == 0)
		r.locks.Policy.Until = until.Time()
	}
	r.locks.Hold = flags&markHold != 0
	if flags&markTier != 0 {
		r.tier, r.tiered = tier.Tier(d.byte()), ticks(d.uint64())
		d.must(r.tier.Valid() && r.tiered != 0 && r.tiered>>63 == 0)
	}
	if d.bad || len(d.p) > 0 || flags == 0 {
		return fmt.Errorf("protection and tier %x: %w", p, pagestore.ErrCorrupt)
	}
	return nil
}
