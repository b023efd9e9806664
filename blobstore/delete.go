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

// DeleteBlob asks for the deletion of a blob, its snapshots, both, or the one snapshot or previous version that the request is
// addressed to.
type DeleteBlob struct {
	Access                    // the lease is that of the blob; a single snapshot is deleted without its id, which is then only a condition
	Snapshots DeleteSnapshots // of a blob
	Permanent bool            // a snapshot or version that is deleted and kept for a while is deleted for good (deletetype)
}

// Delete deletes, and says whether what it deleted is kept: for a while, to be undeleted, if the service properties ask for
// that; or as a previous version.
//
// A blob with more than 1,024 snapshots loses them in several steps, oldest first, the blob with the last: if one of
// them fails, what was removed before it stays removed.
//
// A blob that is versioned (see versions.go) becomes a previous version: nothing of it is lost, and its versions stay.
//
// Where nothing is kept any more, snapshots that were deleted earlier and still are count as present, and are removed with
// the blob.
func (a *Account) Delete(ref BlobRef, req *DeleteBlob) (kept bool, err error) {
	snapshot, err := ref.check()
	if err != nil {
		return false, err
	}
	if err := req.Conditions.ValidWrite(); err != nil {
		return false, err
	}
	switch {
	case snapshot != 0 && req.Snapshots != SnapshotsNone:
		return false, azerr.BadHeader("x-ms-delete-snapshots", req.Snapshots.String())
	case snapshot == 0 && req.Permanent:
		return false, azerr.PermanentDeleteNotPermitted.With("Reason", "only of a snapshot or a version")
	}
	c := takeChange()
	defer c.release()
	for done := false; err == nil && !done; {
		err = a.update(func(tx *pagestore.Tx) (err error) {
			c.tx, c.now = tx, a.clock.Now()
			if req.Permanent {
				done = true
				return c.deleteForGood(&ref, snapshot, &req.Access)
			}
			policy, err := findKeepPolicy(tx)
			if err != nil {
				return err
			}
			kept = policy.days > 0
			if snapshot != 0 {
				done = true
				return c.deleteSnapshot(&ref, snapshot, &req.Access, policy)
			}
			var version bool
			done, version, err = c.delete(a, &ref, &req.Access, req.Snapshots, policy)
			kept = kept || version
			return err
		})
	}
	return kept, err
}

// DeleteBlob is Delete for those who need not know whether anything is kept.
func (a *Account) DeleteBlob(ref BlobRef, acc *Access, mode DeleteSnapshots) error {
	_, err := a.Delete(ref, &DeleteBlob{Access: *acc, Snapshots: mode})
	return err
}

// delete makes one step; done is false if there are more. version says that the blob has become one.
func (c *blobChange) delete(a *Account, ref *BlobRef, acc *Access, mode DeleteSnapshots, policy keepPolicy) (done, version bool, err error) {
	only, act := mode == SnapshotsOnly, a.replaceAct(immutable.Delete)
	if only {
		act = immutable.Annotate
	}
	if c.id, c.row, err = c.findBlob(c.tx, ref, 0, act); err != nil {
		return false, false, err
	}
	if err := firstError(c.row.checkNotPending(), acc.checkWrite(&c.row, c.now)); err != nil {
		return false, false, err
	}
	if mode != SnapshotsNone && c.row.snaps.all > 0 {
		if err := c.checkSnapshots(ref.Blob); err != nil {
			return false, false, err
		}
	}
	if policy.days > 0 {
		done, err = c.deleteKept(a, ref, mode, policy)
		return done, false, err
	}
	all, live := c.row.snaps.all, c.row.snaps.live()
	if mode == SnapshotsNone && c.row.snaps.present(c.now) {
		return false, false, azerr.SnapshotsPresent
	}
	if only && live > 0 || !only && all > 0 {
		if err := c.dropSnapshots(ref.Blob, only); err != nil {
			return false, false, err
		}
	}
	counted := tally{snapshots: int64(c.row.snaps.all) - int64(all)}
	switch {
	case !only && c.row.snaps.all > 0 || only && live > 0:
		c.keep()
		return only && c.row.snaps.live() == 0, false, count(c.tx, counted)
	case only:
		return true, false, nil
	}
	version = c.versioned(a)
	return true, version, firstError(count(c.tx, counted), c.remove(a, ref))
}

// dropSnapshots removes the oldest snapshots, as many as one change may: all of them, or those that are not deleted yet.
func (c *blobChange) dropSnapshots(name string, live bool) error {
	type found struct {
		key []byte
		row blobRow
	}
	want := c.row.snaps.all
	if live {
		want = c.row.snaps.live()
	}
	want = min(want, snapshotsPerUpdate)
	var snaps []found
	var bad error
	from, to := snapshotRows(c.id, name)
	err := c.tx.Scan(from, to, func(key, value []byte) bool {
		row, err := decodeBlobRow(value)
		row.props, row.tags, row.copy, row.state = nil, nil, nil, nil
		bad = err
		if row.version == 0 && (!live || row.gone.at == 0) {
			snaps = append(snaps, found{bytes.Clone(key), row})
		}
		return err == nil && uint64(len(snaps)) < want
	})
	if err != nil || bad != nil {
		return firstError(err, bad)
	}
	if uint64(len(snaps)) != want {
		return badRow("miscounted snapshots of", from)
	}
	for i := range snaps {
		if err := c.dropSnapshot(snaps[i].key, &snaps[i].row); err != nil {
			return err
		}
	}
	return nil
}

// deleteSnapshot removes one snapshot or previous version, or keeps it for a while.
func (c *blobChange) deleteSnapshot(ref *BlobRef, snapshot snapshotID, acc *Access, policy keepPolicy) error {
	_, snap, err := c.findBlob(c.tx, ref, snapshot, immutable.Delete)
	if err := firstError(snap.notCurrent(), err); err != nil {
		return err
	}
	key := bytes.Clone(c.key)
	if c.id, c.row, err = c.findKept(c.tx, ref, 0); err != nil {
		return orphaned(err, key)
	}
	if err := c.row.lease.CheckRead(lease.Blob, acc.LeaseID, c.now); err != nil {
		return err
	}
	if err := snap.checkConditions(&acc.Conditions); err != nil {
		return err
	}
	if policy.days > 0 {
		c.keepSnapshot(key, &snap, policy)
		c.keep()
		return nil
	}
	if err := c.dropSnapshot(key, &snap); err != nil {
		return err
	}
	c.keepUnlessBare()
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
