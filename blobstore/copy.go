package blobstore

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"pagevault/blobstore/immutable"
	"pagevault/blobstore/lease"
	"pagevault/blobstore/tier"
	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/cond"
	"pagevault/internal/azure/header"
	"pagevault/pagestore"
)

// CopyBlob asks for a copy of a page blob, or of a snapshot of one, of the same account.
type CopyBlob struct {
	Access                           // of the destination
	Source           BlobRef         // what is copied
	SourceURL        string          // how the client named it, for the destination to say; without secrets
	SourceConditions cond.Conditions // of the source; a failed one is SourceConditionNotMet
	Metadata         []header.Pair   // of the destination. None: the source's
	Tags             []header.Pair   // of the destination, as CreatePageBlob has them. Those of the source are never copied
	Tier             tier.Tier       // of the destination. 0: none, whatever the source has
	Protection                       // of the destination; the source's is never copied
}

// CopyInfo is what a blob that is a copy says about that.
type CopyInfo struct {
	ID        string    // a GUID, of the one request that copied
	Source    string    // CopyBlob.SourceURL
	Bytes     int64     // size of the source
	Completed time.Time // or since when it is pending

	Status      CopyStatus
	Copied      int64  // bytes so far, zeros that were passed over included
	Description string // why it failed
	Incremental bool   // the blob is one that incremental copies go to, or a snapshot of one
	Destination string // id of the snapshot that the last of them made; "" before there is one
}

// CopyResult is the state of the destination after a copy.
type CopyResult struct {
	Stamp
	ID     string
	Status CopyStatus
}

// copiesMax bounds the copies that an account carries out at the same time; more are ServerBusy. Each is one record at a
// time, so that a few take what there is.
const copiesMax = 4

// copies are those that this process carries out. A row of a copy that is not among them was left by a crash, or by a
// copy that failed, and the reaper takes it away.
type copies struct {
	sync.Mutex
	jobs    map[pagestore.VolumeID]*copyJob // by the volume that is being filled
	uploads int                             // how many of them are uploads
	unsure  atomic.Bool                     // the row of a copy that failed may be on its way
}

func (c *copies) has(v pagestore.VolumeID) bool {
	c.Lock()
	defer c.Unlock()
	return c.jobs[v] != nil
}

// add takes up a job. It returns false if there are too many.
func (c *copies) add(job *copyJob) bool {
	c.Lock()
	defer c.Unlock()
	if c.jobs == nil {
		c.jobs = make(map[pagestore.VolumeID]*copyJob)
	}
	if len(c.jobs)-c.uploads >= copiesMax {
		return false
	}
	if was := c.jobs[job.volume]; was != nil && was.upload { // it was never made
		c.uploads--
	}
	c.jobs[job.volume] = job
	return true
}

// addUpload takes up a volume that an upload fills. As many as there are requests may be on their way.
func (c *copies) addUpload(job *copyJob) {
	c.Lock()
	defer c.Unlock()
	if c.jobs == nil {
		c.jobs = make(map[pagestore.VolumeID]*copyJob)
	}
	if c.jobs[job.volume] == nil || !c.jobs[job.volume].upload {
		c.uploads++
	}
	job.upload = true
	c.jobs[job.volume] = job
}

// remove forgets a job. The number of its volume may be that of another's by now, if its own was never made.
func (c *copies) remove(job *copyJob) {
	c.Lock()
	defer c.Unlock()
	if c.jobs[job.volume] == job {
		delete(c.jobs, job.volume)
		if job.upload {
			c.uploads--
		}
	}
}

// CopyBlob makes the destination a copy of the source as it is when the request begins: its pages, size, sequence number,
// properties and metadata, not its tags. No content is read or stored; the time it takes is that of the source's page map. From then on
// each goes its own way. What the destination was stays until the copy is whole, and its snapshots and lease stay after
// that; the request is checked against it at both ends. If the source goes away meanwhile, or ctx ends, nothing happens.
//
// Errors, beside those of writes: CannotVerifyCopySource if there is no such source, SourceConditionNotMet,
// InvalidBlobType if one of the two is no page blob, ServerBusy while too many copies are under way.
func (a *Account) CopyBlob(ctx context.Context, ref BlobRef, req *CopyBlob) (CopyResult, error) {
	if err := ref.checkWritable(&req.Access); err != nil {
		return CopyResult{}, err
	}
	if err := header.CheckTags(req.Tags); err != nil {
		return CopyResult{}, err
	}
	snapshot, err := req.Source.check()
	if err != nil {
		return CopyResult{}, err
	}
	id, err := newGUID(a.rand)
	if err != nil {
		return CopyResult{}, coded(err)
	}
	job := &copyJob{}
	if err := a.beginCopy(job, &ref, req, snapshot); err != nil {
		// There is no volume, and its number may be given to another copy; or the record is on its way still.
		a.copies.remove(job)
		if errors.Is(err, pagestore.ErrUnavailable) {
			a.copies.unsure.Store(true)
			a.reaper.kick()
		}
		return CopyResult{}, err
	}
	defer a.endCopy(job)
	err = a.store.Copy(ctx, job.volume, job.source.volume, job.gen, nil)
	switch {
	case errors.Is(err, pagestore.ErrNoVolume), errors.Is(err, pagestore.ErrNoGeneration):
		return CopyResult{}, azerr.CannotVerifyCopySource.Because(err)
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return CopyResult{}, azerr.ServerBusy.Because(err)
	case err != nil:
		return CopyResult{}, a.coded(err)
	}
	stamp, err := a.finishCopy(job, &ref, req, id)
	return CopyResult{Stamp: stamp, ID: id}, err
}

// copyJob is a copy that is under way.
type copyJob struct {
	volume pagestore.VolumeID // that is being filled; no blob has it yet
	source blobRow            // as it was at the beginning; its props are a copy
	gen    pagestore.Gen      // of the source's volume
	held   bool               // it was frozen for this copy
	done   bool               // the destination has the volume
	upload bool               // what fills the volume is an upload
}

// beginCopy finds source and destination, holds on to what the source shows and makes a volume for it.
func (a *Account) beginCopy(job *copyJob, ref *BlobRef, req *CopyBlob, snapshot snapshotID) error {
	c := takeChange()
	defer c.release()
	return a.update(func(tx *pagestore.Tx) (err error) {
		c.tx, c.now = tx, a.clock.Now()
		if err := c.findDestination(a, ref, &req.Access, 0); err != nil {
			return err
		}
		if _, err := a.protect(c, ref.Container, &req.Protection); err != nil {
			return err
		}
		if err := c.findSource(job, req, snapshot); err != nil {
			return err
		}
		if c.row.typ != 0 && c.row.typ != job.source.typ {
			return azerr.InvalidBlobType
		}
		if err := a.checkCopyTier(&job.source, req.Tier); err != nil {
			return err
		}
		job.volume, job.gen = tx.CreateVolume(), job.source.gen
		if !a.copies.add(job) {
			return azerr.ServerBusy
		}
		if job.gen == pagestore.GenHead {
			if job.gen, err = tx.Freeze(job.source.volume); err != nil {
				return err
			}
			job.held = true
		}
		row := copyRow{source: job.source.volume}
		if job.held {
			row.gen = job.gen
		}
		tx.Set(appendCopyKey(nil, job.volume), row.append(nil))
		return nil
	})
}

// findDestination checks whether the blob may be overwritten by one of a type, 0 if that is not known yet. It need not exist.
func (c *blobChange) findDestination(a *Account, ref *BlobRef, acc *Access, typ BlobType) (err error) {
	c.id, c.row, err = c.findBlob(c.tx, ref, 0, a.replaceAct(immutable.Replace))
	exists := !errors.Is(err, azerr.BlobNotFound)
	if err != nil && exists {
		return acc.checkReplaced(&c.row, err)
	}
	if exists {
		if err := firstError(c.row.checkFree(), c.row.checkType(typ)); err != nil {
			return err
		}
	}
	if err := acc.checkOverwrite(exists); err != nil {
		return err
	}
	if err := c.checkCopyLease(acc); err != nil {
		return err
	}
	stamp := c.row.etag.stamp()
	if err := acc.Conditions.CheckCreate(exists, stamp.ETag, stamp.LastModified); err != nil {
		return err
	}
	return c.row.checkTags(&acc.Conditions)
}

// checkType returns the 409 for a blob of another type than the one that is to be copied over it. 0: that may be any.
func (r *blobRow) checkType(typ BlobType) error {
	if typ != 0 && r.typ != typ {
		return azerr.InvalidBlobType
	}
	return nil
}

// checkCopyLease decides about the lease of a destination, which must last as long as the copy may take.
func (c *blobChange) checkCopyLease(acc *Access) error {
	if err := c.row.lease.CheckWrite(lease.Blob, acc.LeaseID, c.now); err != nil {
		return err
	}
	if acc.LeaseID != "" && c.row.lease.Phase != lease.PhaseNone && c.row.lease.Seconds != lease.Infinite {
		return azerr.InfiniteLeaseDurationRequired
	}
	return nil
}

// findSource finds the source and takes from its row what the destination gets of it.
func (c *blobChange) findSource(job *copyJob, req *CopyBlob, snapshot snapshotID) (err error) {
	_, job.source, err = c.findBlob(c.tx, &req.Source, snapshot, immutable.Read)
	if errors.Is(err, azerr.BlobNotFound) || errors.Is(err, azerr.ContainerNotFound) {
		return azerr.CannotVerifyCopySource.Because(err)
	}
	if err != nil {
		return err
	}
	job.source.props = append([]byte(nil), job.source.props...)
	if err := firstError(job.source.checkFree(), job.source.checkReadable()); err != nil {
		return err
	}
	stamp := job.source.etag.stamp()
	if req.SourceConditions.CheckRead(stamp.ETag, stamp.LastModified) != nil {
		return azerr.SourceConditionNotMet
	}
	err = job.source.checkTags(&req.SourceConditions)
	job.source.tags, job.source.copy, job.source.state = nil, nil, nil // borrowed
	if errors.Is(err, azerr.ConditionNotMet) {
		return azerr.SourceConditionNotMet
	}
	return err
}

// finishCopy gives the filled volume to the destination.
func (a *Account) finishCopy(job *copyJob, ref *BlobRef, req *CopyBlob, id string) (Stamp, error) {
	props := job.source.props
	if len(req.Metadata) > 0 {
		headers, _, err := splitProps(props)
		if err != nil {
			return Stamp{}, coded(err)
		}
		props = appendMetadata(headers, req.Metadata)
	}
	made := newBlob{typ: job.source.typ, blocks: job.source.copiedBlocks(), size: job.source.size, sequence: job.source.sequence, tags: appendTags(nil, req.Tags), tier: req.Tier,
		protection: &req.Protection, props: props}
	c := takeChange()
	defer c.release()
	err := a.update(func(tx *pagestore.Tx) error {
		c.tx, c.now = tx, a.clock.Now()
		if err := c.findDestination(a, ref, &req.Access, made.typ); err != nil {
			return err
		}
		counted, err := c.makeBlob(a, ref, &req.Access, &made)
		if err != nil {
			return err
		}
		info := CopyInfo{ID: id, Source: req.SourceURL, Bytes: made.size, Completed: c.row.etag.Time()}
		c.row.volume, c.row.copy = job.volume, info.append(nil)
		c.keep()
		if made.blocks.count > 0 || made.blocks.next > regionsFor(made.size) { // there may be blocks that no list names, or half an append
			sweepLater(tx, c.id, ref.Blob, job.volume)
		}
		tx.Delete(appendCopyKey(nil, job.volume))
		return firstError(job.letGo(tx), count(tx, counted))
	})
	job.done = err == nil
	return c.row.stamp(), err
}

// letGo thaws what was frozen for the copy, if it is still there.
func (job *copyJob) letGo(tx *pagestore.Tx) error {
	if !job.held {
		return nil
	}
	err := tx.Thaw(job.source.volume, job.gen)
	if errors.Is(err, pagestore.ErrNoVolume) || errors.Is(err, pagestore.ErrNoGeneration) {
		return nil
	}
	return err
}

// endCopy forgets a copy. What one that failed has left is taken away, by the reaper if that cannot be done now.
func (a *Account) endCopy(job *copyJob) {
	var err error
	if !job.done {
		err = a.dropCopy(job.volume)
	}
	a.copies.remove(job)
	if err != nil {
		a.copies.unsure.Store(true)
		a.reaper.kick()
	}
}

// dropCopy takes away what a copy has left that will not be finished. It does nothing if there is nothing.
func (a *Account) dropCopy(volume pagestore.VolumeID) error {
	return a.update(func(tx *pagestore.Tx) error {
		key := appendCopyKey(nil, volume)
		value, ok, err := tx.Get(key)
		if err != nil || !ok {
			return err
		}
		row, err := decodeCopyRow(value)
		if err != nil {
			return err
		}
		tx.Delete(key)
		job := copyJob{source: blobRow{volume: row.source}, gen: row.gen, held: row.gen != 0}
		return firstError(job.letGo(tx), tx.Drop(volume))
	})
}

// dropCopies takes away what copies have left that nobody carries out any more.
func (a *Account) dropCopies() error {
	if a.copies.unsure.Swap(false) { // a row that is on its way while the log is halted would be missed
		if err := a.store.Settle(a.reaper.ctx); err != nil {
			a.copies.unsure.Store(true)
			if a.reaper.stopping() {
				return nil
			}
			return err
		}
	}
	var left []pagestore.VolumeID
	from := []byte{tableCopy}
	err := a.scan(from, appendAfter(nil, from), func(it *pagestore.Iter) (bool, error) {
		key := it.Key()
		if len(key) != 9 {
			return false, badKey(key)
		}
		if v := pagestore.VolumeID(binary.BigEndian.Uint64(key[1:])); !a.copies.has(v) {
			left = append(left, v)
		}
		return it.Next(), nil
	})
	for _, v := range left {
		if err == nil {
			err = a.dropCopy(v)
		}
	}
	return err
}

// copyRow is what is stored about a copy that is under way: version (1) · source volume · generation, 0 if it is that of
// a snapshot. Whoever ends the copy thaws the generation.
type copyRow struct {
	source pagestore.VolumeID
	gen    pagestore.Gen
}

func (r *copyRow) append(dst []byte) []byte {
	dst = binary.AppendUvarint(append(dst, rowVersion), uint64(r.source))
	return binary.AppendUvarint(dst, uint64(r.gen))
}

func decodeCopyRow(p []byte) (copyRow, error) {
	d := rowReader{p: p}
	d.version()
	r := copyRow{source: pagestore.VolumeID(d.uvarint())}
	gen := d.uvarint()
	r.gen = pagestore.Gen(gen)
	if d.bad || len(d.p) > 0 || r.source == 0 || uint64(r.gen) != gen {
		return copyRow{}, badRow("copy", p)
	}
	return r, nil
}

// append appends what a blob's row says of the copy it was made by: id (16) · bytes · completed (8, ticks) · source text.
func (i *CopyInfo) append(dst []byte) []byte {
	dst = appendGUID(dst, i.ID)
	dst = binary.AppendUvarint(dst, uint64(i.Bytes))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(ticksAt(i.Completed)))
	return appendText(dst, i.Source)
}

// appendGUID appends the 16 bytes of a GUID in its text form.
func appendGUID(dst []byte, id string) []byte {
	for _, part := range [...][2]int{{0, 8}, {9, 13}, {14, 18}, {19, 23}, {24, 36}} {
		dst, _ = hex.AppendDecode(dst, []byte(id[part[0]:part[1]]))
	}
	return dst
}

// decodeCopyInfo reads what append wrote; nil if there is nothing. The result does not borrow p.
func decodeCopyInfo(p []byte) (*CopyInfo, error) {
	if len(p) == 0 {
		return nil, nil
	}
	d := rowReader{p: p}
	id := d.take(16)
	i := &CopyInfo{Bytes: d.int64(), Completed: ticks(d.uint64()).Time(), Source: d.text()}
	if d.bad || len(d.p) > 0 {
		return nil, badRow("copy of a blob", p)
	}
	i.ID = formatGUID([16]byte(id))
	return i, nil
}
