package blobstore

import (
	"bytes"

	"pagevault/blobstore/immutable"
	"pagevault/blobstore/lease"
	"pagevault/internal/azure/azerr"
	"pagevault/pagestore"
)

// DeleteSnapshots says what a request to delete a blob does about its snapshots (x-ms-delete-snapshots).
type DeleteSnapshots uint8

const (
	SnapshotsNone    DeleteSnapshots = iota // the header is absent: only a blob without snapshots can be deleted
	SnapshotsInclude                        // the blob and its snapshots
	SnapshotsOnly                           // the snapshots; the blob stays as it is
)

var deleteSnapshotsNames = [...]string{"", "include", "only"}

// String returns the mode as x-ms-delete-snapshots spells it.
func (m DeleteSnapshots) String() string { return deleteSnapshotsNames[m] }

// snapshotsPerUpdate bounds how many snapshots one change removes, so that its record stays well below the bound of the
// log: 1,024 keys of the longest names are 3 MiB.
const snapshotsPerUpdate = 1024

// DeleteBlob deletes a blob, its snapshots, both, or the one snapshot that ref names. The lease is that of the blob; a
// single snapshot is deleted without its id, which is then only a condition.
//
// A blob with more than 1,024 snapshots loses them in several steps, oldest first, the blob with the last: if one of
// them fails, what was removed before it stays removed.
func (a *Account) DeleteBlob(ref BlobRef, acc *Access, mode DeleteSnapshots) error {
	snapshot, err := ref.check()
	if err != nil {
		return err
	}
	if err := acc.Conditions.ValidWrite(); err != nil {
		return err
	}
	if snapshot != 0 && mode != SnapshotsNone {
		return azerr.BadHeader("x-ms-delete-snapshots", mode.String())
	}
	c := takeChange()
	defer c.release()
	if snapshot != 0 {
		return a.update(func(tx *pagestore.Tx) error {
			c.tx, c.now = tx, a.clock.Now()
			return c.deleteSnapshot(&ref, snapshot, acc)
		})
	}
	for done := false; err == nil && !done; {
		err = a.update(func(tx *pagestore.Tx) (err error) {
			c.tx, c.now = tx, a.clock.Now()
			done, err = c.delete(&ref, acc, mode)
			return err
		})
	}
	return err
}

// delete makes one step; done is false if there are more.
func (c *blobChange) delete(ref *BlobRef, acc *Access, mode DeleteSnapshots) (done bool, err error) {
	act := immutable.Delete
	if mode == SnapshotsOnly {
		act = immutable.Annotate
	}
	if c.id, c.row, err = c.findBlob(c.tx, ref, 0, act); err != nil {
		return false, err
	}
	if err := firstError(c.row.checkNotPending(), acc.checkWrite(&c.row, c.now)); err != nil {
		return false, err
	}
	had := c.row.snaps.all
	if had > 0 {
		if mode == SnapshotsNone {
			return false, azerr.SnapshotsPresent
		}
		if err := c.checkSnapshots(ref.Blob); err != nil {
			return false, err
		}
		if err := c.dropSnapshots(ref.Blob); err != nil {
			return false, err
		}
	}
	counted := tally{snapshots: int64(c.row.snaps.all) - int64(had)}
	switch {
	case c.row.snaps.all > 0 || mode == SnapshotsOnly && had > 0:
		c.keep()
		return c.row.snaps.all == 0, count(c.tx, counted)
	case mode == SnapshotsOnly:
		return true, nil
	}
	c.tx.Delete(c.key)
	if err := c.retag(ref, nil); err != nil {
		return false, err
	}
	counted.blobs, counted.bytes = -1, -c.row.size
	return true, firstError(count(c.tx, counted), c.tx.Drop(c.row.volume))
}

// dropSnapshots removes the oldest snapshots, as many as one change may.
func (c *blobChange) dropSnapshots(name string) error {
	type found struct {
		key []byte
		row blobRow
	}
	var snaps []found
	var bad error
	from, to := snapshotRows(c.id, name)
	err := c.tx.Scan(from, to, func(key, value []byte) bool {
		row, err := decodeBlobRow(value)
		row.props, row.tags, row.copy, row.state = nil, nil, nil, nil
		bad = err
		snaps = append(snaps, found{bytes.Clone(key), row})
		return err == nil && len(snaps) < snapshotsPerUpdate
	})
	if err != nil || bad != nil {
		return firstError(err, bad)
	}
	if want := min(c.row.snaps.all, snapshotsPerUpdate); uint64(len(snaps)) != want {
		return badRow("miscounted snapshots of", from)
	}
	for i := range snaps {
		if err := c.dropSnapshot(snaps[i].key, &snaps[i].row); err != nil {
			return err
		}
	}
	return nil
}

// deleteSnapshot removes one snapshot.
func (c *blobChange) deleteSnapshot(ref *BlobRef, snapshot snapshotID, acc *Access) error {
	_, snap, err := c.findBlob(c.tx, ref, snapshot, immutable.Delete)
	if err != nil {
		return err
	}
	key := bytes.Clone(c.key)
	if c.id, c.row, err = c.findBlob(c.tx, ref, 0, immutable.Annotate); err != nil {
		if err == azerr.BlobNotFound {
			err = badRow("orphaned snapshot", key)
		}
		return err
	}
	if err := c.row.lease.CheckRead(lease.Blob, acc.LeaseID, c.now); err != nil {
		return err
	}
	if err := snap.checkConditions(&acc.Conditions); err != nil {
		return err
	}
	if err := c.dropSnapshot(key, &snap); err != nil {
		return err
	}
	c.keep()
	return count(c.tx, tally{snapshots: -1})
}

// firstError returns the first of errs that is one.
func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
