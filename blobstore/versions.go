package blobstore

import (
	"pagevault/blobstore/immutable"
	"pagevault/blobstore/lease"
	"pagevault/internal/azure/azerr"
	"pagevault/pagestore"
)

// Versions. In an account with versioning each request that makes a blob, copies over it, replaces its metadata or takes a
// snapshot of it gives it a new version id, and leaves what it was as a previous version: a row under the id it had, among
// those of its snapshots and like one, with a generation of its own. Snapshots and versions of a blob share one sequence of
// ids. What a blob was before it had a version id becomes a version under the time of its last change, or the next id if
// that is taken. All other writes change the current version in place.
//
// Deleting the blob makes it a previous version too. There is never a version without a row of its blob, so one stays that
// is vacant: it counts what is left, and nobody finds a blob. It goes with the last of these.
//
// Where versioning is switched off, a state with a version id is kept all the same when it is overwritten or deleted; what
// replaces it has none, and is overwritten and deleted as if there never had been any.

// Versioned reports whether the account makes versions of blobs, or has made some.
func (a *Account) Versioned() bool { return a.versionedOnce }

// The row of versioning: version (1). It is there once the account has been opened with versioning, and stays, so that a
// start that forgets to ask for it can be told from one of an account that never had it.

// checkVersioningRow reads the row.
func checkVersioningRow(p []byte) error {
	d := rowReader{p: p}
	d.version()
	if d.bad || len(d.p) > 0 {
		return badRow("versioning", p)
	}
	return nil
}

// startVersioning finds out whether the account has had versioning, and remembers it if it has it now. A row that is
// damaged says as much as another.
func (a *Account) startVersioning() error {
	err := a.view(func(v *pagestore.View) (err error) {
		_, a.versionedOnce, err = v.Get(versioningKey)
		return err
	})
	switch {
	case err != nil:
		return err
	case a.versioning && !a.versionedOnce:
		a.versionedOnce = true
		return a.update(func(tx *pagestore.Tx) error {
			tx.Set(versioningKey, []byte{rowVersion})
			return nil
		})
	case a.versionedOnce && !a.versioning && a.events.VersioningOff != nil:
		a.events.VersioningOff(a.name)
	}
	return nil
}

// versioned reports whether what the blob is now becomes a previous version when it is overwritten or deleted.
func (c *blobChange) versioned(a *Account) bool { return a.versioning || c.row.version != 0 }

// replaceAct is what overwriting or deleting a blob does to what protects it: nothing is lost that stays as a version,
// which is protected as it was.
func (a *Account) replaceAct(act immutable.Act) immutable.Act {
	if a.versioning {
		return immutable.Annotate
	}
	return act
}

// nextID returns the next id for a snapshot or a version of the blob.
func (c *blobChange) nextID() snapshotID {
	c.row.snaps.last = snapshotID(max(ticksAt(c.now), ticks(c.row.snaps.last)+1))
	return c.row.snaps.last
}

// nextVersion gives the blob a new version id, if it is to have one.
func (c *blobChange) nextVersion(a *Account) {
	if a.versioning {
		c.row.version = c.nextID()
	}
}

// beginVersion keeps what the blob is now as a previous version before it is changed, if it is to be kept.
func (c *blobChange) beginVersion(a *Account, name string) error {
	if !c.versioned(a) {
		return nil
	}
	err := c.keepVersion(name)
	c.nextVersion(a)
	return err
}

// keepVersion makes what the blob is now a previous version, which keeps what protects it. The blob's row counts it, and has
// no version id any more.
func (c *blobChange) keepVersion(name string) error {
	gen, err := c.tx.Freeze(c.row.volume)
	if err != nil {
		return err
	}
	id := c.row.version
	if id == 0 {
		id = snapshotID(max(c.row.etag, ticks(c.row.snaps.last)+1))
		c.row.snaps.last = id
	}
	c.row.version = 0
	c.row.versions.all++
	c.row.snaps.volume++
	frozen := c.row.frozen(gen)
	frozen.version = id
	c.tx.Set(appendBlobKey(nil, c.id, name, id), frozen.append(nil))
	return count(c.tx, tally{snapshots: 1})
}

// frozen returns the row of something that shows a generation of the blob.
func (r *blobRow) frozen(gen pagestore.Gen) blobRow {
	f := *r
	f.gen, f.lease, f.snaps, f.versions = gen, lease.State{}, snapshotCount{}, frozenCount{}
	f.blocks.staged = stagedBlocks{}
	return f
}

// remove ends the blob that c has found, whose snapshots are gone or are kept as deleted ones. If it is versioned it becomes
// a previous version. If any row of it is left its own becomes vacant.
func (c *blobChange) remove(a *Account, ref *BlobRef) error {
	if err := c.retag(ref, nil); err != nil {
		return err
	}
	if c.versioned(a) {
		if err := c.keepVersion(ref.Blob); err != nil {
			return err
		}
	}
	counted := tally{blobs: -1, bytes: -c.row.size}
	if err := c.leaveVolume(ref.Blob); err != nil {
		return err
	}
	c.vacate()
	c.keepUnlessBare()
	return count(c.tx, counted)
}

// vacate makes the row one of a blob that is gone, and only counts what it leaves. It keeps the entity tag, that another
// blob of the name has a later one.
func (c *blobChange) vacate() {
	c.row = blobRow{typ: PageBlob, vacant: true, etag: c.row.etag, created: c.row.created,
		snaps: c.row.snaps, versions: c.row.versions, props: appendProps(nil, &HTTPHeaders{}, nil)}
}

// keepUnlessBare stores the row under the key it was found with, unless it is vacant and nothing of it is left.
func (c *blobChange) keepUnlessBare() {
	if c.row.bare() {
		c.tx.Delete(c.key)
		return
	}
	c.keep()
}

// bare reports whether the row says nothing: there is no blob, and none has left anything.
func (r *blobRow) bare() bool {
	return r.vacant && r.snaps.all == 0 && r.versions.all == 0 && r.volume == 0
}

// frozenOf returns what the blob's row counts rows like this one with: those of snapshots, or of previous versions.
func (r *blobRow) frozenOf(row *blobRow) *frozenCount {
	if row.version != 0 {
		return &r.versions
	}
	return &r.snaps.frozenCount
}

// notCurrent returns the error of a request to delete the current version by its id.
func (r *blobRow) notCurrent() error {
	if r.gen == pagestore.GenHead && r.version != 0 {
		return azerr.OperationNotAllowedOnRootBlob
	}
	return nil
}

// checkVersionable is check for requests that change what is said about a blob or a version, which a snapshot never allows,
// together with what makes their conditions malformed.
func (r *BlobRef) checkVersionable(acc *Access) (snapshotID, error) {
	id, err := r.check()
	if err == nil && r.Snapshot != "" {
		err = azerr.BadQuery("snapshot", r.Snapshot, "a snapshot cannot be changed")
	}
	return id, firstError(err, acc.Conditions.ValidWrite())
}

// retagged is retag for a row that searches may not find: those of previous versions do not count.
func (c *blobChange) retagged(ref *BlobRef, tags []byte) error {
	if c.row.gen != pagestore.GenHead {
		return nil
	}
	return c.retag(ref, tags)
}
