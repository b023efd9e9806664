package blobstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
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

// CopySource is where a pending copy gets its pages. Its methods are called by one goroutine.
type CopySource interface {
	// Pages lists pages of the source in ascending order, from the beginning for marker "", and says how to go on, "" at
	// the end. Those that are Clear are cleared.
	Pages(ctx context.Context, marker string) (entries []PageEntry, next string, err error)
	// ReadPages fills p with the bytes at off, which are all there.
	ReadPages(ctx context.Context, p []byte, off int64) error
}

// StartCopy asks for a copy whose pages have to be read.
type StartCopy struct {
	Access
	HTTPHeaders               // of the source
	Metadata    []header.Pair // of the destination
	Tags        []header.Pair
	Size        int64 // of the source, bytes
	Sequence    int64 // its
	Source      CopySource
	SourceURL   string    // for the destination to say; without secrets
	Tier        tier.Tier // of the destination. 0: none
	Protection            // of the destination, from now on; it goes if the copy comes to nothing
}

// errAccountGoes ends a copy from or to an account that is being removed.
var errAccountGoes = errors.New("the account is being removed")

// errCopyGone says that the row does not want the copy any more.
var errCopyGone = errors.New("the copy was ended")

// pendings are the pending copies that this process carries out.
type pendings struct {
	sync.Mutex
	jobs   map[string]*pendingJob // by the id of the copy
	ended  bool                   // no more are taken
	worker sync.WaitGroup
}

func (p *pendings) has(id string) bool {
	p.Lock()
	defer p.Unlock()
	return p.jobs[id] != nil
}

// add takes up a job. It returns false if there are too many.
func (p *pendings) add(job *pendingJob) bool {
	p.Lock()
	defer p.Unlock()
	if p.ended || len(p.jobs) >= pendingCopiesMax {
		return false
	}
	if p.jobs == nil {
		p.jobs = make(map[string]*pendingJob)
	}
	p.jobs[job.id] = job
	p.worker.Add(1)
	return true
}

func (p *pendings) remove(job *pendingJob) {
	job.cancel(nil)
	p.Lock()
	delete(p.jobs, job.id)
	p.Unlock()
	p.worker.Done()
	job.leave()
}

// endFor has those fail that are from or to an account which is being removed. It does not wait.
func (p *pendings) endFor(a *Account) {
	p.Lock()
	defer p.Unlock()
	for _, job := range p.jobs {
		if job.to == a || job.from == a {
			job.cancel(errAccountGoes)
		}
	}
}

// stop ends all of them where they are and waits. Their rows say that they are pending still.
func (p *pendings) stop() {
	p.Lock()
	p.ended = true
	for _, job := range p.jobs {
		job.cancel(nil)
	}
	p.Unlock()
	p.worker.Wait()
}

// pendingJob is a pending copy.
type pendingJob struct {
	id        string
	ref       BlobRef
	container containerID
	source    CopySource
	to, from  *Account // which stay as long as it is carried out; from is nil if the source is elsewhere
	size      int64
	started   time.Time
	ctx       context.Context
	cancel    context.CancelCauseFunc
}

// stay keeps the accounts that the job uses from being removed, until leave.
func (job *pendingJob) stay() {
	job.to.Stay()
	if job.from != nil {
		job.from.Stay()
	}
}

func (job *pendingJob) leave() {
	job.to.Leave()
	if job.from != nil {
		job.from.Leave()
	}
}

// unwanted reports whether one of the accounts is being removed, so that a job which begins now would miss endFor.
func (job *pendingJob) unwanted() bool {
	return job.to.gate.closing() || job.from != nil && job.from.gate.closing()
}

// newPending takes up a copy, of a request that has entered the accounts it is from and to.
func (a *Account) newPending(ref *BlobRef, source CopySource, size int64) (*pendingJob, error) {
	id, err := newGUID(a.rand)
	if err != nil {
		return nil, coded(err)
	}
	job := &pendingJob{id: id, ref: *ref, source: source, to: a, size: size, started: a.clock.Now()}
	if s, ok := source.(interface{ account() *Account }); ok {
		job.from = s.account()
	}
	job.ctx, job.cancel = context.WithCancelCause(a.reaper.ctx)
	job.stay()
	if !a.pendings.add(job) {
		job.cancel(nil)
		job.leave()
		return nil, azerr.ServerBusy
	}
	if job.unwanted() {
		a.pendings.remove(job)
		return nil, azerr.ServerBusy
	}
	return job, nil
}

// runPending starts the goroutine of a job whose row is there, unless err says that it is not.
func (a *Account) runPending(job *pendingJob, err error) error {
	if err != nil {
		a.pendings.remove(job)
		if errors.Is(err, pagestore.ErrUnavailable) { // the row may be on its way
			a.copies.unsure.Store(true)
			a.reaper.kick()
		}
		return err
	}
	go func() {
		err := a.fillPending(job)
		switch cause := context.Cause(job.ctx); {
		case err == nil || errors.Is(err, errCopyGone):
		case cause == nil:
			err = a.endPending(job, CopyFailed, describe(err))
		case cause == errAccountGoes:
			err = a.endPending(job, CopyFailed, accountWent)
		}
		a.pendings.remove(job)
		if err != nil && !a.reaper.stopping() {
			a.copies.unsure.Store(true)
			a.reaper.kick() // it ends what could not be ended here
		}
	}()
	return nil
}

// describe says in the protocol's way why a copy failed.
func describe(err error) string {
	e := azerr.From(err)
	text := e.Text
	if text == "" {
		text = e.Code.Message()
	}
	return fmt.Sprintf("%d %s %q", e.HTTPStatus(), e.Code.Wire(), text)
}

// StartCopy makes the destination a blob of the source's size without pages and begins to copy pages into it. It returns
// as soon as that is on disk. What the destination was is gone, but for its snapshots and lease.
func (a *Account) StartCopy(ref BlobRef, req *StartCopy) (CopyResult, error) {
	create := CreatePageBlob{Access: req.Access, HTTPHeaders: req.HTTPHeaders, Metadata: req.Metadata, Tags: req.Tags, Size: req.Size, Sequence: req.Sequence}
	if err := firstError(a.checkCreate(&ref, &create), a.checkTier(req.Tier, 0)); err != nil {
		return CopyResult{}, err
	}
	if !req.Tier.Fits(req.Size) {
		return CopyResult{}, azerr.BlobTierInadequateForContentLength
	}
	job, err := a.newPending(&ref, req.Source, req.Size)
	if err != nil {
		return CopyResult{}, err
	}
	tags := appendTags(nil, req.Tags)
	c := takeChange()
	defer c.release()
	err = a.update(func(tx *pagestore.Tx) error {
		c.tx, c.now = tx, a.clock.Now()
		if err := c.findDestination(&ref, &req.Access); err != nil {
			return err
		}
		exists, err := c.findForCreate(&ref, &req.Access)
		if err != nil {
			return err
		}
		locks, err := a.protect(c, ref.Container, &req.Protection)
		if err != nil {
			return err
		}
		counted := tally{blobs: 1, bytes: req.Size}
		if exists {
			counted = tally{bytes: req.Size - c.row.size}
		}
		if err := c.retag(&ref, tags); err != nil {
			return err
		}
		stamp := a.nextTicks(c.row.etag)
		info := CopyInfo{ID: job.id, Source: req.SourceURL, Bytes: req.Size, Completed: stamp.Time()}
		state := copyState{status: CopyPending}
		c.row = blobRow{
			typ:      PageBlob,
			volume:   tx.CreateVolume(),
			size:     req.Size,
			sequence: req.Sequence,
			etag:     stamp,
			created:  stamp,
			lease:    c.row.lease.Written(c.now),
			snaps:    c.row.snaps,
			tags:     tags,
			copy:     info.append(nil),
			state:    state.append(nil),
			locks:    locks,
			tier:     req.Tier,
			tiered:   tieredAt(req.Tier, stamp),
			props:    appendProps(nil, &req.HTTPHeaders, req.Metadata),
		}
		c.keep()
		job.container = c.id
		tx.Set(job.key(), job.row())
		return count(tx, counted)
	})
	if err := a.runPending(job, err); err != nil {
		return CopyResult{}, err
	}
	return CopyResult{Stamp: c.row.etag.stamp(), ID: job.id, Status: CopyPending}, nil
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

// fillPending copies all pages and ends the copy. errCopyGone: somebody else has.
func (a *Account) fillPending(job *pendingJob) error {
	buf := make([]byte, 0, PutPagesMax)
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
		content, err := a.store.Prepare(pageNo(off), p)
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

// accountSource reads a blob or snapshot of an account of this process, anew for each piece, so that nothing is held on
// to meanwhile. That all pieces are of one state its conditions see to, or that it is a snapshot.
type accountSource struct {
	from *Account
	ref  BlobRef
	acc  Access
	prev string // only what was written since this snapshot. "": all pages
	wipe int64  // bytes to be cleared before anything is written
}

// NewCopySource returns what reads a blob or snapshot of the account for a copy to another one. acc should name the entity
// tag that was found, so that a change meanwhile is ConditionNotMet.
func (a *Account) NewCopySource(ref BlobRef, acc *Access) CopySource {
	return &accountSource{from: a, ref: ref, acc: *acc}
}

// account says which account the copy must keep from being removed.
func (s *accountSource) account() *Account { return s.from }

// sourcePages is how many runs of pages are looked up at a time.
const sourcePages = 1000

func (s *accountSource) Pages(ctx context.Context, marker string) ([]PageEntry, string, error) {
	if err := ctx.Err(); err != nil {
		return nil, "", err
	}
	found, err := s.from.PageRanges(s.ref, &PageRangesRequest{Access: s.acc, PrevSnapshot: s.prev, Marker: marker, MaxResults: sourcePages})
	if err != nil {
		return nil, "", err
	}
	if marker == "" && s.wipe > 0 {
		found.Entries = append([]PageEntry{{0, s.wipe, true}}, found.Entries...)
	}
	return found.Entries, found.NextMarker, nil
}

func (s *accountSource) ReadPages(ctx context.Context, p []byte, off int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r, err := s.from.OpenBlob(s.ref, &s.acc)
	if err != nil {
		return err
	}
	_, err = r.ReadAt(p, off)
	return firstError(err, r.Close())
}
