package blobstore

import (
	"pagevault/blobstore/immutable"
	"pagevault/blobstore/lease"
	"pagevault/internal/azure/header"
	"pagevault/pagestore"
)

// SnapshotResult names a new snapshot.
type SnapshotResult struct {
	Snapshot string // its id, later than that of every earlier snapshot of the blob
	Stamp           // the snapshot's: the blob's own if it has the blob's metadata, else new. Version is the blob's new one
}

// SnapshotBlob keeps the blob as it is now. The snapshot has the blob's properties and tags; its metadata too, unless meta is
// given in its place. The blob's entity tag does not change, its lease is not needed: a lease id is only a condition. With
// versioning the blob gets a new version id, and what it was is a previous version beside the snapshot.
// It takes the same time however large the blob is.
func (a *Account) SnapshotBlob(ref BlobRef, acc *Access, meta []header.Pair) (SnapshotResult, error) {
	if err := ref.checkWritable(acc); err != nil {
		return SnapshotResult{}, err
	}
	var result SnapshotResult
	c := takeChange()
	defer c.release()
	err := a.update(func(tx *pagestore.Tx) (err error) {
		c.tx, c.now = tx, a.clock.Now()
		if err := c.findForSnapshot(&ref, acc); err != nil {
			return err
		}
		id, frozen, err := c.freeze(a, meta)
		if err != nil {
			return err
		}
		c.value = frozen.append(c.value[:0])
		tx.Set(appendBlobKey(nil, c.id, ref.Blob, id), c.value)
		result = SnapshotResult{Snapshot: id.String(), Stamp: frozen.etag.stamp()}
		if a.versioning {
			if err := c.beginVersion(a, ref.Blob); err != nil {
				return err
			}
			result.Version = c.row.version.String()
		}
		c.keep()
		return count(tx, tally{snapshots: 1})
	})
	return result, err
}

// findForSnapshot is find with the lease as a condition only.
func (c *blobChange) findForSnapshot(ref *BlobRef, acc *Access) (err error) {
	if c.id, c.row, err = c.findBlob(c.tx, ref, 0, immutable.Annotate); err != nil {
		return err
	}
	if err := firstError(c.row.checkFree(), c.row.checkOnline()); err != nil {
		return err
	}
	if err := c.row.lease.CheckRead(lease.Blob, acc.LeaseID, c.now); err != nil {
		return err
	}
	return c.row.checkConditions(&acc.Conditions)
}

// freeze ends the generation of the blob's volume and returns the row of the snapshot that shows it. The blob's row
// counts it. What protects the blob does not protect the snapshot, which may be protected on its own.
func (c *blobChange) freeze(a *Account, meta []header.Pair) (snapshotID, blobRow, error) {
	id, frozen, err := c.freezeAsIs()
	if err == nil && len(meta) > 0 {
		headers, _, err := splitProps(c.row.props)
		if err != nil {
			return 0, blobRow{}, err
		}
		frozen.props = appendMetadata(headers, meta)
		frozen.etag = a.nextTicks(c.row.etag)
	}
	return id, frozen, err
}

// freezeAsIs is freeze with the metadata of the blob.
func (c *blobChange) freezeAsIs() (snapshotID, blobRow, error) {
	gen, err := c.tx.Freeze(c.row.volume)
	if err != nil {
		return 0, blobRow{}, err
	}
	id := c.nextID()
	c.row.snaps.all, c.row.snaps.volume = c.row.snaps.all+1, c.row.snaps.volume+1
	frozen := c.row.frozen(gen)
	frozen.locks, frozen.version = immutable.State{}, 0
	return id, frozen, nil
}

// snapshotRows returns the bounds [from, to) of the keys of a blob's snapshots and versions, without the blob itself.
func snapshotRows(id containerID, name string) (from, to []byte) {
	return appendBlobRows(nil, id, name), appendBlobKey(nil, id, name, 0)
}

// dropSnapshot removes the row of a snapshot or a previous version of the blob that c has found, unless it is protected, and lets go of what only it
// shows. The blob's counts go down; the volume goes too if it was the last user. The caller stores the blob's row.
func (c *blobChange) dropSnapshot(key []byte, snap *blobRow) error {
	tx, blob := c.tx, &c.row
	if err := snap.locks.Check(immutable.Delete, c.now); err != nil {
		return err
	}
	tx.Delete(key)
	counted := blob.frozenOf(snap)
	counted.all--
	if snap.gone.at != 0 {
		tx.Delete(appendExpiryKey(nil, snap.gone.until, key))
		counted.forget()
	}
	if snap.volume == blob.volume {
		blob.snaps.volume--
		return tx.Thaw(snap.volume, snap.gen)
	}
	counter := appendVolumeKey(nil, snap.volume)
	value, ok, err := tx.Get(counter)
	if err != nil {
		return err
	}
	if !ok {
		return badRow("missing volume", counter)
	}
	n, err := decodeNumberRow(value)
	if err != nil {
		return err
	}
	if n > 1 {
		tx.Set(counter, appendNumberRow(nil, n-1))
		return tx.Thaw(snap.volume, snap.gen)
	}
	tx.Delete(counter)
	return tx.Drop(snap.volume)
}
