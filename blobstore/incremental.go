package blobstore

import (
	"errors"

	"pagevault/blobstore/immutable"
	"pagevault/internal/azure/azerr"
	"pagevault/pagestore"
)

// IncrementalCopy asks to bring a blob that only such copies change to the state of a snapshot, and to keep that as a
// snapshot of its own.
type IncrementalCopy struct {
	Access
	From      *Account // whose snapshot it is: this account, or another of this process
	Source    BlobRef
	Remote    *RemoteSnapshot // what is copied in place of From and Source, if it is not nil
	SourceURL string          // for the destination to say; without secrets
}

// StartIncrementalCopy begins to copy what has changed in the source since the snapshot that was copied last; all of it the
// first time, or if that snapshot is gone, or if the copy before came to nothing. It returns as soon as the copy is
// pending. Content that is there already is found by its fingerprint and not stored again.
//
// Errors: IncrementalCopySourceMustBeSnapshot; CannotVerifyCopySource, because of the error of the read;
// InvalidSourceBlobType; IncrementalCopyBlobMismatch for another source than before, or a destination that is no such
// blob; IncrementalCopyOfEarlierSnapshotNotAllowed; BlobOverwritten if the source was made anew; PendingCopyOperation;
// TargetConditionNotMet for the conditions, which are the destination's.
func (a *Account) StartIncrementalCopy(ref BlobRef, req *IncrementalCopy) (CopyResult, error) {
	if err := ref.checkWritable(&req.Access); err != nil {
		return CopyResult{}, err
	}
	source, err := req.from(a)
	if err != nil {
		return CopyResult{}, err
	}
	before, err := a.increments(&ref)
	if err != nil {
		return CopyResult{}, err
	}
	reader, anew, err := source.since(before)
	if err != nil {
		return CopyResult{}, err
	}
	job, err := a.newPending(&ref, reader, source.row.size)
	if err != nil {
		return CopyResult{}, err
	}
	job.anew = anew
	c := takeChange()
	defer c.release()
	err = a.update(func(tx *pagestore.Tx) error {
		c.tx, c.now = tx, a.clock.Now()
		if err := c.beginIncrement(a, job, req, source, before); err != nil {
			return err
		}
		tx.Set(job.key(), job.row())
		return nil
	})
	if err := a.runPending(job, err); err != nil {
		return CopyResult{}, err
	}
	return CopyResult{Stamp: c.row.etag.stamp(), ID: job.id, Status: CopyPending}, nil
}

// incrementSource is the snapshot that is copied.
type incrementSource struct {
	from   *Account
	ref    BlobRef
	remote *RemoteSnapshot // in place of from and ref
	id     snapshotID
	name   string  // account/container/blob, or RemoteSnapshot.Name
	row    blobRow // its props are a copy
}

// from finds the source of a copy to an account.
func (req *IncrementalCopy) from(to *Account) (*incrementSource, error) {
	if req.Remote != nil {
		return req.Remote.source(to)
	}
	id, err := req.Source.check()
	if err != nil {
		return nil, err
	}
	if id == 0 || req.Source.Version != "" {
		return nil, azerr.IncrementalCopySourceMustBeSnapshot
	}
	s := &incrementSource{from: req.From, ref: req.Source, id: id, name: req.From.name + "/" + req.Source.Container + "/" + req.Source.Blob}
	err = req.From.view(func(v *pagestore.View) error {
		var keys scratch
		_, row, err := keys.findBlob(v, &s.ref, id)
		row.props = append([]byte(nil), row.props...)
		row.tags, row.copy, row.state = nil, nil, nil // borrowed
		s.row = row
		return err
	})
	switch {
	case errors.Is(err, azerr.BlobNotFound), errors.Is(err, azerr.ContainerNotFound):
		return nil, azerr.CannotVerifyCopySource.Because(err)
	case err != nil:
		return nil, err
	case s.row.typ != PageBlob:
		return nil, azerr.InvalidSourceBlobType
	}
	return s, nil
}

// increments returns what the destination knows of the copies before, nil if it is not there.
func (a *Account) increments(ref *BlobRef) (before *incrementalState, err error) {
	err = a.view(func(v *pagestore.View) error {
		var keys scratch
		_, row, err := keys.findBlob(v, ref, 0)
		if errors.Is(err, azerr.BlobNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		before, err = row.increments()
		return err
	})
	return before, err
}

// increments is that for an existing blob.
func (r *blobRow) increments() (*incrementalState, error) {
	s, err := decodeCopyState(r.state)
	switch {
	case err != nil:
		return nil, err
	case s != nil && s.status == CopyPending:
		return nil, azerr.PendingCopyOperation
	case s == nil || s.incremental == nil:
		return nil, azerr.IncrementalCopyBlobMismatch
	}
	return s.incremental, nil
}

// since decides whether the snapshot may come after the copies before, and returns what reads the pages to copy: those that
// differ, or, if the destination is to be filled anew, all of them.
func (s *incrementSource) since(before *incrementalState) (pages CopySource, anew bool, err error) {
	switch {
	case before == nil && s.remote != nil:
		return s.remote.Pages, false, nil
	case before == nil:
		return &accountSource{from: s.from, ref: s.ref}, false, nil
	case before.source != s.name:
		return nil, false, azerr.IncrementalCopyBlobMismatch
	case s.id < before.last:
		return nil, false, azerr.IncrementalCopyOfEarlierSnapshotNotAllowed
	case s.remote != nil:
		return s.sinceRemote(before)
	}
	return s.sinceHere(before)
}

// sinceHere is since for a blob of an account of this process.
func (s *incrementSource) sinceHere(before *incrementalState) (CopySource, bool, error) {
	if s.row.volume != before.volume {
		return nil, false, azerr.BlobOverwritten
	}
	reader := &accountSource{from: s.from, ref: s.ref}
	prev := BlobRef{Container: s.ref.Container, Blob: s.ref.Blob, Snapshot: before.last.String()}
	if before.last != 0 && !before.unsure {
		_, err := s.from.BlobInfo(prev, &Access{})
		if err == nil {
			reader.prev = prev.Snapshot
			return reader, false, nil
		}
		if !errors.Is(err, azerr.BlobNotFound) {
			return nil, false, err
		}
	}
	return reader, true, nil
}

// beginIncrement makes the destination, or takes it up again.
func (c *blobChange) beginIncrement(a *Account, job *pendingJob, req *IncrementalCopy, source *incrementSource, before *incrementalState) (err error) {
	c.id, c.row, err = c.findBlob(c.tx, &job.ref, 0, immutable.Modify)
	exists := !errors.Is(err, azerr.BlobNotFound)
	if err != nil && exists {
		return err
	}
	if err := c.checkIncrement(req, exists, before); err != nil {
		return err
	}
	job.container = c.id
	if !exists { // what was deleted and is kept becomes a snapshot
		if err := c.replaceGone(job.ref.Blob, false); err != nil {
			return err
		}
	}
	stamp := a.nextTicks(c.row.etag)
	counted := tally{}
	if exists {
		if err := c.resize(source.row.size); err != nil {
			return err
		}
	} else {
		counted = tally{blobs: 1, bytes: source.row.size}
		c.row = blobRow{typ: PageBlob, volume: c.tx.CreateVolume(), size: source.row.size, created: stamp,
			snaps: c.row.snaps, versions: c.row.versions}
	}
	next := incrementalState{source: source.name, volume: source.row.volume, wanted: source.id, unsure: true}
	if before != nil {
		next.last, next.made = before.last, before.made
	}
	info := CopyInfo{ID: job.id, Source: req.SourceURL, Bytes: source.row.size, Completed: stamp.Time()}
	state := copyState{status: CopyPending, incremental: &next}
	c.row.etag, c.row.sequence, c.row.props = stamp, source.row.sequence, source.row.props
	c.row.lease = c.row.lease.Written(c.now)
	c.row.copy, c.row.state = info.append(nil), state.append(nil)
	c.keep()
	return count(c.tx, counted)
}

// checkIncrement decides about a destination that may have changed since it was looked at.
func (c *blobChange) checkIncrement(req *IncrementalCopy, exists bool, before *incrementalState) error {
	if !exists && before != nil {
		return azerr.PendingCopyOperation // it was deleted meanwhile: somebody else works on it
	}
	if exists {
		now, err := c.row.increments()
		if err != nil {
			return err
		}
		if before == nil || *now != *before {
			return azerr.PendingCopyOperation // another copy has come and gone
		}
	}
	if err := req.checkOverwrite(exists); err != nil {
		return err
	}
	if err := c.checkCopyLease(&req.Access); err != nil {
		return err
	}
	stamp := c.row.etag.stamp()
	err := req.Conditions.CheckCreate(exists, stamp.ETag, stamp.LastModified)
	if err == nil {
		err = c.row.checkTags(&req.Conditions)
	}
	if errors.Is(err, azerr.ConditionNotMet) {
		return azerr.TargetConditionNotMet
	}
	return err
}

// keepIncrement makes the snapshot that an incremental copy ends with.
func (c *blobChange) keepIncrement(a *Account, job *pendingJob, s *copyState) error {
	i := s.incremental
	i.last, i.unsure = i.wanted, false
	id, frozen, err := c.freeze(a, nil)
	if err != nil {
		return err
	}
	i.made = id
	frozen.state = s.append(nil)
	c.tx.Set(appendBlobKey(nil, c.id, job.ref.Blob, id), frozen.append(nil))
	return count(c.tx, tally{snapshots: 1})
}
