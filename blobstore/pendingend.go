package blobstore

import (
	"pagevault/blobstore/immutable"
	"pagevault/internal/azure/azerr"
	"pagevault/pagestore"
)

// endPending ends a copy that has not been completed. It does nothing if it is not pending any more, but for taking away
// its row.
func (a *Account) endPending(job *pendingJob, status CopyStatus, description string) error {
	c := takeChange()
	defer c.release()
	return a.update(func(tx *pagestore.Tx) error {
		c.tx, c.now = tx, a.clock.Now()
		key := job.key()
		row, ok, err := tx.Get(key)
		if err != nil || !ok {
			return err
		}
		if at, err := parsePending(key, row); err != nil || at.id != job.id {
			return err // of a later copy
		}
		s, err := c.findPending(job)
		if err == errCopyGone {
			// The blob of a container that is deleted and kept says that it is pending still: the row stays, for when
			// the container is restored.
			_, kept, err := tx.Get(appendRemovedKey(nil, job.ref.Container, job.container))
			if err == nil && !kept {
				tx.Delete(key)
			}
			return err
		}
		if err != nil {
			return err
		}
		return c.failPending(a, job, s, status, description)
	})
}

// failPending makes the copy one that failed or was aborted. The blob stays, empty; one that incremental copies go to
// keeps what it has, and its snapshots are not touched. No protection is left on what is no copy of anything.
func (c *blobChange) failPending(a *Account, job *pendingJob, s *copyState, status CopyStatus, description string) error {
	c.tx.Delete(job.key())
	c.row.etag = a.nextTicks(c.row.etag)
	if err := c.copyEnded(); err != nil {
		return err
	}
	s.status, s.description = status, description
	c.row.locks = immutable.State{}
	if s.incremental == nil {
		if err := c.resize(0); err != nil {
			return err
		}
		c.row.blocks.count = 0
	}
	c.row.state = s.append(nil)
	c.keep()
	return nil
}

// AbortCopy ends a pending copy. The blob stays, without content.
func (a *Account) AbortCopy(ref BlobRef, acc *Access, id string) error {
	if err := ref.checkWritable(acc); err != nil {
		return err
	}
	c := takeChange()
	defer c.release()
	err := a.update(func(tx *pagestore.Tx) (err error) {
		c.tx, c.now = tx, a.clock.Now()
		if c.id, c.row, err = c.findBlob(tx, &ref, 0, immutable.Annotate); err != nil {
			return err
		}
		if err := acc.checkWrite(&c.row, c.now); err != nil {
			return err
		}
		info, err := c.row.copyInfo()
		switch {
		case err != nil:
			return err
		case info == nil || info.Status != CopyPending:
			return azerr.NoPendingCopyOperation
		case info.ID != id:
			return azerr.CopyIdMismatch
		}
		job := &pendingJob{id: id, ref: ref, container: c.id}
		s, err := c.findPending(job)
		if err != nil {
			return err
		}
		return c.failPending(a, job, s, CopyAborted, "")
	})
	if err != nil {
		return err
	}
	a.pendings.Lock()
	defer a.pendings.Unlock()
	if job := a.pendings.jobs[id]; job != nil {
		job.cancel(nil)
	}
	return nil
}

// failPendings ends the copies that are pending and that nobody carries out.
func (a *Account) failPendings() error {
	var left []*pendingJob
	from := []byte{tablePending}
	err := a.scan(from, appendAfter(nil, from), func(it *pagestore.Iter) (bool, error) {
		job, err := parsePending(it.Key(), it.Value())
		if err != nil {
			return false, err
		}
		if !a.pendings.has(job.id) {
			left = append(left, job)
		}
		return it.Next(), nil
	})
	for _, job := range left {
		if err == nil {
			err = a.endPending(job, CopyFailed, interrupted)
		}
	}
	return err
}

// interrupted is the description of a copy that was pending when the server ended, or its container was deleted.
const interrupted = `500 InternalError "The server was stopped, or the container deleted, while the copy was pending. Start it again."`

// accountWent is the description of a copy that was pending when the account of its source was removed, or nearly so.
const accountWent = `500 InternalError "The account of the source, or that of the copy, was to be removed while the copy was pending."`
