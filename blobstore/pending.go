package blobstore

import (
	"bytes"
	"cmp"
	"errors"
	"strconv"
	"time"

	"pagevault/blobstore/immutable"
	"pagevault/blobstore/tier"
	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/header"
	"pagevault/pagestore"
)

// A copy whose pages have to be read is pending for as long as that takes. The blob is there from the beginning, as
// large as the source and without pages, and nobody but the copy changes it. A goroutine of the account reads the source
// a few MiB at a time and writes what it finds; each write is one update that finds the row anew and goes on only if it
// still says that this copy is pending. So whoever ends the copy, by Abort Copy Blob or by deleting the container, need
// only change the row.
//
// Where the source is and what opens it is never stored. So a copy that was pending when the process ended cannot go on:
// the reaper finds its row in a table of its own and makes it one that failed.

const (
	// pendingCopiesMax bounds the pending copies of an account, each of which has a goroutine and PutPagesMax of memory. More
	// are ServerBusy.
	pendingCopiesMax = 8
	// pendingFor is how long a copy may be pending: as long as Azure tries.
	pendingFor = 14 * 24 * time.Hour
)

// StartCopy asks for a copy whose pages have to be read.
type StartCopy struct {
	Access
	HTTPHeaders               // of the source
	Metadata    []header.Pair // of the destination
	Tags        []header.Pair
	Type        BlobType // of the source, and so of the destination. 0: PageBlob
	Size        int64    // of the source, bytes
	Sequence    int64    // its
	Appended    int64    // blocks of it, if it is an append blob
	Source      CopySource
	SourceURL   string    // for the destination to say; without secrets
	Tier        tier.Tier // of the destination. 0: none
	Protection            // of the destination, from now on; it goes if the copy comes to nothing
}

// errCopyGone says that the row does not want the copy any more.
var errCopyGone = errors.New("the copy was ended")

// StartCopy makes the destination a blob of the source's size without content and begins to copy content into it. It returns
// as soon as that is on disk. What the destination was is gone, but for its snapshots and lease. A block blob has no blocks.
func (a *Account) StartCopy(ref BlobRef, req *StartCopy) (CopyResult, error) {
	typ := cmp.Or(req.Type, PageBlob)
	if err := a.checkStart(&ref, req, typ); err != nil {
		return CopyResult{}, err
	}
	job, err := a.newPending(&ref, req.Source, req.Size)
	if err != nil {
		return CopyResult{}, err
	}
	job.whole = typ != PageBlob
	made := newBlob{typ: typ, size: req.Size, sequence: req.Sequence, tags: appendTags(nil, req.Tags), tier: req.Tier,
		protection: &req.Protection, props: appendProps(nil, &req.HTTPHeaders, req.Metadata)}
	switch typ {
	case BlockBlob:
		made.blocks.next = regionsFor(req.Size)
	case AppendBlob:
		made.blocks.count = uint64(req.Appended)
	}
	c := takeChange()
	defer c.release()
	err = a.update(func(tx *pagestore.Tx) error {
		c.tx, c.now = tx, a.clock.Now()
		if err := c.findDestination(a, &ref, &req.Access, typ); err != nil {
			return err
		}
		counted, err := c.makeBlob(a, &ref, &req.Access, &made)
		if err != nil {
			return err
		}
		info := CopyInfo{ID: job.id, Source: req.SourceURL, Bytes: req.Size, Completed: c.row.etag.Time()}
		state := copyState{status: CopyPending}
		c.row.volume, c.row.copy, c.row.state = tx.CreateVolume(), info.append(nil), state.append(nil)
		c.keep()
		job.container = c.id
		tx.Set(job.key(), job.row())
		return count(tx, counted)
	})
	if err := a.runPending(job, err); err != nil {
		return CopyResult{}, err
	}
	return CopyResult{Stamp: c.row.stamp(), ID: job.id, Status: CopyPending}, nil
}

// checkStart returns what is wrong with a copy whatever the destination is.
func (a *Account) checkStart(ref *BlobRef, req *StartCopy, typ BlobType) error {
	if typ == PageBlob {
		create := CreatePageBlob{Access: req.Access, Tags: req.Tags, Size: req.Size, Sequence: req.Sequence}
		if err := firstError(a.checkCreate(ref, &create), a.checkTier(typ, req.Tier, 0)); err != nil {
			return err
		}
		if !req.Tier.Fits(req.Size) {
			return azerr.BlobTierInadequateForContentLength
		}
		return nil
	}
	most := int64(BlocksMax) * BlockMax
	if typ == AppendBlob {
		most = AppendsMax * AppendMax
		if (req.Appended == 0) != (req.Size == 0) || req.Appended < 0 || req.Appended > min(req.Size, AppendsMax) {
			return azerr.InvalidInput
		}
	}
	if req.Size < 0 || req.Size > most {
		return azerr.RequestBodyTooLarge.With("MaxLimit", strconv.FormatInt(most, 10))
	}
	return firstError(ref.checkWritable(&req.Access), header.CheckTags(req.Tags), a.checkTierOf(typ, req.Tier))
}

// key returns the key of the row that says that the blob has a pending copy.
func (job *pendingJob) key() []byte {
	key := appendBlobKey(nil, job.container, job.ref.Blob, 0)
	key[0] = tablePending
	return key
}

// row returns that row: version (1) · id (16) · name of the container.
func (job *pendingJob) row() []byte {
	return append(appendGUID([]byte{rowVersion}, job.id), job.ref.Container...)
}

// parsePending reads key and row.
func parsePending(key, row []byte) (*pendingJob, error) {
	k := bytes.Clone(key)
	if len(k) > 0 && k[0] == tablePending {
		k[0] = tableBlob
	}
	at, err := parseBlobName(k)
	if err != nil || at.snapshot != 0 || key[0] != tablePending {
		return nil, badKey(key)
	}
	if len(row) < 1+16 || row[0] != rowVersion {
		return nil, badRow("pending copy", row)
	}
	return &pendingJob{id: formatGUID([16]byte(row[1:17])), container: at.container,
		ref: BlobRef{Container: string(row[17:]), Blob: at.name}}, nil
}

// fillPending copies all pages, or all content, and ends the copy. errCopyGone: somebody else has.
func (a *Account) fillPending(job *pendingJob) error {
	buf := make([]byte, 0, PutPagesMax)
	if job.anew {
		if err := a.fillEntry(job, PageEntry{End: job.size, Clear: true}, nil); err != nil {
			return err
		}
	}
	if job.whole {
		if err := a.fillEntry(job, PageEntry{End: job.size}, buf); err != nil {
			return err
		}
		return a.completePending(job)
	}
	for marker := ""; ; {
		if err := a.checkPendingTime(job); err != nil { // a source may never come to an end
			return err
		}
		entries, next, err := job.source.Pages(job.ctx, marker)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := a.fillEntry(job, e, buf); err != nil {
				return err
			}
		}
		if next == "" {
			return a.completePending(job)
		}
		marker = next
	}
}

// fillEntry copies one run of pages.
func (a *Account) fillEntry(job *pendingJob, e PageEntry, buf []byte) error {
	if e.Clear {
		rg := header.Range{Start: e.Start, End: min(e.End, job.size)}
		if checkAligned(rg) != nil {
			return nil // behind the end
		}
		return a.changePending(job, func(c *blobChange, s *copyState) error { return c.tx.Clear(c.row.volume, pages(rg)) })
	}
	for off := e.Start; off < e.End; off += PutPagesMax {
		p := buf[:min(e.End-off, PutPagesMax)]
		if err := job.source.ReadPages(job.ctx, p, off); err != nil {
			return err
		}
		clear(p[len(p) : pagesFor(int64(len(p)))*PageSize]) // a page blob ends with a page
		content, err := a.store.Prepare(pageNo(off), p[:pagesFor(int64(len(p)))*PageSize])
		if err != nil {
			return coded(err)
		}
		err = a.changePending(job, func(c *blobChange, s *copyState) error {
			s.copied = off + int64(len(p))
			return c.tx.Write(c.row.volume, content)
		})
		content.Release()
		if err != nil {
			return err
		}
	}
	return nil
}

// checkPendingTime returns an error if the copy has taken too long.
func (a *Account) checkPendingTime(job *pendingJob) error {
	if a.clock.Now().Sub(job.started) > pendingFor {
		return &azerr.Error{Code: azerr.OperationTimedOut, Text: "The copy did not end within two weeks."}
	}
	return nil
}

// changePending changes the blob that a copy is pending for. The state is stored with it.
func (a *Account) changePending(job *pendingJob, fn func(c *blobChange, s *copyState) error) error {
	if err := a.checkPendingTime(job); err != nil {
		return err
	}
	c := takeChange()
	defer c.release()
	return a.update(func(tx *pagestore.Tx) error {
		c.tx, c.now = tx, a.clock.Now()
		s, err := c.findPending(job)
		if err != nil {
			return err
		}
		c.row.etag = a.nextTicks(c.row.etag)
		if err := fn(c, s); err != nil {
			return err
		}
		c.row.state = nil
		if s.status != CopySuccess || s.incremental != nil {
			c.row.state = s.append(nil)
		}
		c.keep()
		return nil
	})
}

// findPending finds the blob if the copy is pending still. What protects the blob protects it from others than the copy.
func (c *blobChange) findPending(job *pendingJob) (s *copyState, err error) {
	c.id, c.row, err = c.findBlob(c.tx, &job.ref, 0, immutable.Annotate)
	if errors.Is(err, azerr.BlobNotFound) || errors.Is(err, azerr.ContainerNotFound) {
		return nil, errCopyGone
	}
	if err != nil {
		return nil, err
	}
	if s, err = decodeCopyState(c.row.state); err != nil {
		return nil, err
	}
	info, err := decodeCopyInfo(c.row.copy)
	if err != nil {
		return nil, err
	}
	if c.id != job.container || s == nil || info == nil || s.status != CopyPending || info.ID != job.id {
		return nil, errCopyGone
	}
	return s, nil
}

// completePending ends a copy of which all pages are there.
func (a *Account) completePending(job *pendingJob) error {
	return a.changePending(job, func(c *blobChange, s *copyState) error {
		c.tx.Delete(job.key())
		s.status, s.copied = CopySuccess, job.size
		if err := c.copyEnded(); err != nil {
			return err
		}
		if s.incremental != nil {
			return c.keepIncrement(a, job, s)
		}
		return nil
	})
}

// copyEnded notes in the row when the copy ended: now.
func (c *blobChange) copyEnded() error {
	info, err := decodeCopyInfo(c.row.copy)
	if err != nil {
		return err
	}
	info.Completed = c.row.etag.Time()
	c.row.copy = info.append(nil)
	return nil
}
