package blobstore

import (
	"bytes"
	"errors"
	"strconv"

	"pagevault/blobstore/lease"
	"pagevault/blobstore/tier"
	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/header"
	"pagevault/pagestore"
)

// Limits of the protocol on block blobs.
const (
	BlocksMax    = 50_000     // that a blob has
	BlocksStaged = 100_000    // that wait to be committed
	BlockIDMax   = 64         // bytes of an id
	BlockMax     = 4000 << 20 // bytes of a block
)

// PutBlockBlob asks for a block blob of the content of an Upload, in place of whatever has its name. The headers are looked at
// after the upload has ended, so that End may still set the sum of the content.
type PutBlockBlob struct {
	Access
	HTTPHeaders
	Metadata []header.Pair
	Tags     []header.Pair // as CreatePageBlob has them
	Tier     tier.Tier     // 0: none
	Protection
	Copy *CopyInfo // of which ID and Source are told: it is one. It then takes the place of block blobs only. nil: it is none
}

// PutBlockBlob makes a block blob of content that comes at once. It has no list of blocks. What was of the name is overwritten as by
// CreatePageBlob; blocks that waited to be committed to it are gone.
func (a *Account) PutBlockBlob(ref BlobRef, req *PutBlockBlob, up *Upload) (Stamp, error) {
	if err := firstError(ref.checkWritable(&req.Access), header.CheckTags(req.Tags), a.checkTierOf(BlockBlob, req.Tier)); err != nil {
		return Stamp{}, err
	}
	made := newBlob{typ: BlockBlob, size: up.Size, blocks: blockState{next: regionsFor(up.Size)}, tags: appendTags(nil, req.Tags),
		tier: req.Tier, protection: &req.Protection}
	made.asCopy(req.Copy)
	if up.Size <= UploadPiece {
		content, err := a.whole(up)
		if err != nil {
			return Stamp{}, err
		}
		if content != nil {
			defer content.Release()
		}
		return a.makeUploaded(&ref, &req.Access, &made, &req.HTTPHeaders, req.Metadata, func(c *blobChange) error {
			c.row.volume = c.tx.CreateVolume()
			if content == nil {
				return nil
			}
			return c.tx.Write(c.row.volume, content)
		})
	}
	job := &copyJob{}
	if err := a.beginFill(job, &ref, &req.Access, &made); err != nil {
		return Stamp{}, err
	}
	defer a.endCopy(job)
	err := a.pieces(up, func(content *pagestore.Content) error {
		return a.update(func(tx *pagestore.Tx) error { return tx.Write(job.volume, content) })
	})
	if err != nil {
		return Stamp{}, err
	}
	stamp, err := a.makeUploaded(&ref, &req.Access, &made, &req.HTTPHeaders, req.Metadata, func(c *blobChange) error {
		c.row.volume = job.volume
		c.tx.Delete(appendCopyKey(nil, job.volume))
		return nil
	})
	job.done = err == nil
	return stamp, err
}

// makeUploaded makes a blob of content that is there, in a volume that give gives to it.
func (a *Account) makeUploaded(ref *BlobRef, acc *Access, made *newBlob, h *HTTPHeaders, meta []header.Pair, give func(c *blobChange) error) (Stamp, error) {
	headers := *h
	if headers.ContentType == "" {
		headers.ContentType = defaultContentType
	}
	made.props = appendProps(nil, &headers, meta)
	c := takeChange()
	defer c.release()
	err := a.update(func(tx *pagestore.Tx) error {
		c.tx, c.now = tx, a.clock.Now()
		counted, err := c.makeBlob(a, ref, acc, made)
		if err != nil {
			return err
		}
		if err := give(c); err != nil {
			return err
		}
		c.noteCopy(made)
		c.keep()
		return count(tx, counted)
	})
	return c.row.stamp(), err
}

// beginFill makes a volume for a blob that is going to be made, if it may be made as things are, with a row by which the reaper finds
// the volume of an upload that came to nothing.
func (a *Account) beginFill(job *copyJob, ref *BlobRef, acc *Access, made *newBlob) error {
	c := takeChange()
	defer c.release()
	err := a.update(func(tx *pagestore.Tx) error {
		c.tx, c.now = tx, a.clock.Now()
		if err := c.mayCreate(a, ref, acc, made); err != nil {
			return err
		}
		job.volume = tx.CreateVolume()
		a.copies.addUpload(job)
		row := copyRow{source: job.volume}
		tx.Set(appendCopyKey(nil, job.volume), row.append(nil))
		return nil
	})
	if err != nil {
		a.copies.remove(job)
		if errors.Is(err, pagestore.ErrUnavailable) { // the row may be on its way
			a.copies.unsure.Store(true)
			a.reaper.kick()
		}
	}
	return err
}

// mayCreate checks what makeBlob does, and changes nothing.
func (c *blobChange) mayCreate(a *Account, ref *BlobRef, acc *Access, made *newBlob) error {
	if _, err := c.checkCreate(c.tx, a, ref, acc); err != nil {
		return err
	}
	_, err := a.protect(c, ref.Container, made.protection)
	return err
}

// PutBlock asks to stage a block of a block blob.
type PutBlock struct {
	Access        // its lease alone
	ID     []byte // decoded, 1 to 64 bytes
}

// PutBlock stages a block, in place of one of that id that waits. The blob need not exist, and nothing of it changes.
//
// Errors: InvalidBlobOrBlock if the id is not as long as those of other blocks that wait; BlockCountExceedsLimit;
// InvalidBlobType; those of leases; ServerBusy if the blob was replaced or deleted while the block came.
func (a *Account) PutBlock(ref BlobRef, req *PutBlock, up *Upload) error {
	if err := ref.checkWritable(&req.Access); err != nil {
		return err
	}
	switch {
	case len(req.ID) == 0 || len(req.ID) > BlockIDMax:
		return azerr.InvalidBlockId
	case up.Size == 0:
		return azerr.BadHeader("Content-Length", "0")
	case up.Size > BlockMax:
		return azerr.RequestBodyTooLarge.With("MaxLimit", strconv.Itoa(BlockMax))
	case up.Size > UploadPiece:
		return a.fillBlock(&ref, req, up)
	}
	content, err := a.whole(up)
	if err != nil {
		return err
	}
	defer content.Release()
	c := takeChange()
	defer c.release()
	return a.update(func(tx *pagestore.Tx) error {
		c.tx, c.now = tx, a.clock.Now()
		if err := c.findForStage(a, &ref, req); err != nil {
			return err
		}
		slot := c.takeSlot(up.Size)
		if err := tx.WriteAt(c.row.volume, content, slotPage(slot)); err != nil {
			return err
		}
		return c.stage(ref.Blob, req.ID, stagedRow{slot, up.Size})
	})
}

func slotPage(slot uint64) pagestore.PageNo { return pagestore.PageNo(slot * pagestore.RegionPages) }

// takeSlot returns the first of the regions that a block of that size is to have.
func (c *blobChange) takeSlot(size int64) uint64 {
	slot := c.row.blocks.next
	c.row.blocks.next += regionsFor(size)
	return slot
}

// findForStage finds the row of a blob to which a block may be staged, or makes one.
func (c *blobChange) findForStage(a *Account, ref *BlobRef, req *PutBlock) (err error) {
	c.id, c.row, err = c.findKept(c.tx, ref, 0)
	switch {
	case errors.Is(err, azerr.BlobNotFound):
		c.row = blobRow{props: appendProps(nil, &HTTPHeaders{}, nil)}
		c.vacate()
		c.row.etag = a.nextTicks(0)
		c.row.created = c.row.etag
	case err != nil:
		return err
	case c.row.gone.at != 0:
		if err := firstError(c.checkStageFree(req), c.makeStageable(ref.Blob)); err != nil {
			return err
		}
	case !c.row.vacant:
		if err := firstError(c.row.checkFree(), c.row.checkBlocks(), c.row.checkOnline(), req.checkOverwrite(true), c.checkStageFree(req)); err != nil {
			return err
		}
	default:
		if err := c.checkStageFree(req); err != nil {
			return err
		}
	}
	if c.row.vacant && c.row.volume == 0 {
		c.row.typ, c.row.volume = BlockBlob, c.tx.CreateVolume()
	}
	staged := &c.row.blocks.staged
	if staged.n > 0 && int(staged.idLen) != len(req.ID) {
		return azerr.InvalidBlobOrBlock
	}
	staged.idLen = uint8(len(req.ID))
	return a.store.CheckMetadata()
}

// checkStageFree decides about the lease.
func (c *blobChange) checkStageFree(req *PutBlock) error {
	return c.row.lease.CheckWrite(lease.Blob, req.LeaseID, c.now)
}

// makeStageable makes the row of a blob that was deleted and is kept one to which blocks can be staged. A block blob stays as it is, and
// can be brought back beside the blocks; of another a snapshot stays.
func (c *blobChange) makeStageable(name string) error {
	if c.row.typ == BlockBlob && c.row.gone.kept(c.now) {
		return nil
	}
	if c.row.staging() {
		c.tx.Delete(appendExpiryKey(nil, c.row.gone.until, c.key))
		counted := tally{blobs: -1, bytes: -c.row.size}
		return firstError(c.keepStaged(name), count(c.tx, counted))
	}
	if err := c.replaceGone(name, false); err != nil {
		return err
	}
	c.vacate()
	return nil
}

// keepStaged makes the row of a deleted blob, whose time is over, one of the blocks alone that wait.
func (c *blobChange) keepStaged(name string) error {
	old := c.row
	c.vacate()
	c.row.typ, c.row.volume = BlockBlob, old.volume
	c.row.blocks = blockState{next: old.blocks.next, epoch: old.blocks.epoch, staged: old.blocks.staged}
	sweepLater(c.tx, c.id, name, old.volume)
	if old.blocks.list == 0 {
		return nil
	}
	return c.tx.Clear(old.volume, pagestore.Range{Start: listPage, End: listPage + pagesFor(old.blocks.list)})
}

// checkBlocks returns the 409 for a blob that is no block blob.
func (r *blobRow) checkBlocks() error {
	if r.typ != BlockBlob {
		return azerr.InvalidBlobType
	}
	return nil
}

// beginStaging notes in the row of the blob, and in one for the reaper, that blocks wait to be committed.
func (c *blobChange) beginStaging(name string) {
	if c.row.blocks.staged.touched == 0 {
		c.tx.Set(appendStagingKey(nil, c.id, name), []byte{rowVersion})
	}
	c.row.blocks.staged.touched = ticksAt(c.now)
	c.row.blocks.staged.changes++
}

// stage stores the row of a block whose content is there, and that of the blob.
func (c *blobChange) stage(name string, id []byte, block stagedRow) error {
	key := appendStagedKey(nil, c.row.volume, c.row.blocks.epoch, id)
	_, again, err := c.tx.Get(key)
	if err != nil {
		return err
	}
	c.beginStaging(name)
	if again {
		sweepLater(c.tx, c.id, name, c.row.volume)
	} else if c.row.blocks.staged.n++; c.row.blocks.staged.n > BlocksStaged {
		return azerr.BlockCountExceedsLimit
	}
	c.tx.Set(key, block.append(nil))
	c.keep()
	return nil
}

// fillBlock stages a block that comes in pieces. It has its slot from the beginning.
func (a *Account) fillBlock(ref *BlobRef, req *PutBlock, up *Upload) error {
	c := takeChange()
	defer c.release()
	var f fill
	err := a.update(func(tx *pagestore.Tx) error {
		c.tx, c.now = tx, a.clock.Now()
		if err := c.findForStage(a, ref, req); err != nil {
			return err
		}
		if c.row.blocks.staged.n >= BlocksStaged {
			return azerr.BlockCountExceedsLimit
		}
		f = fill{volume: c.row.volume, slot: c.takeSlot(up.Size), size: up.Size}
		a.fills.add(f)
		c.beginStaging(ref.Blob)
		sweepLater(tx, c.id, ref.Blob, f.volume)
		c.keep()
		return nil
	})
	if err == nil {
		err = a.pieces(up, func(content *pagestore.Content) error {
			return a.stillFills(ref, f, func(c *blobChange) error { return c.tx.WriteAt(f.volume, content, slotPage(f.slot)) })
		})
	}
	if err == nil {
		err = a.stillFills(ref, f, func(c *blobChange) error {
			if err := c.findForStage(a, ref, req); err != nil {
				return err
			}
			return c.stage(ref.Blob, req.ID, stagedRow{f.slot, f.size})
		})
	}
	a.endFill(f, err)
	return err
}

// stillFills makes a change that has to do with a block on its way, if the blob has the volume still.
func (a *Account) stillFills(ref *BlobRef, f fill, fn func(c *blobChange) error) error {
	c := takeChange()
	defer c.release()
	return a.update(func(tx *pagestore.Tx) (err error) {
		c.tx, c.now = tx, a.clock.Now()
		if c.id, c.row, err = c.findKept(tx, ref, 0); errors.Is(err, azerr.BlobNotFound) || err == nil && c.row.volume != f.volume {
			return azerr.ServerBusy.Because(errBlobReplaced)
		}
		if err != nil {
			return err
		}
		return fn(c)
	})
}

// errBlobReplaced says why a block cannot be staged that was on its way.
var errBlobReplaced = errors.New("the blob was replaced or deleted while the block came")

// CommitBlocks asks for a block blob that consists of blocks, in this order. Properties, metadata and tags are replaced.
type CommitBlocks struct {
	Access
	HTTPHeaders
	Metadata []header.Pair
	Tags     []header.Pair
	Tier     tier.Tier // 0: none
	Protection
	Blocks []ListedBlock
}

// BlockSource says where a block is looked for.
type BlockSource uint8

// Where blocks of a list are looked for.
const (
	BlockLatest      BlockSource = iota // among those that wait, then among those of the blob
	BlockUncommitted                    // among those that wait
	BlockCommitted                      // among those of the blob
)

// ListedBlock is one entry of a list to commit.
type ListedBlock struct {
	From BlockSource
	ID   []byte // decoded
}

// commitTries is how often a commit is tried that others get in the way of.
const commitTries = 64

// errChanged says that what a commit was planned for is not there any more.
var errChanged = errors.New("the blob was changed while a list was committed")

// CommitBlocks makes a block blob of blocks that are there. No content is read or stored. Blocks that wait and that the list does not
// name are gone, and so are those of the blob.
//
// Errors: InvalidBlockList, BlockListTooLong, InvalidBlobType, those of writes; ServerBusy if others change the blob
// again and again meanwhile.
func (a *Account) CommitBlocks(ref BlobRef, req *CommitBlocks) (Stamp, error) {
	if err := firstError(ref.checkWritable(&req.Access), header.CheckTags(req.Tags), a.checkTierOf(BlockBlob, req.Tier)); err != nil {
		return Stamp{}, err
	}
	if len(req.Blocks) > BlocksMax {
		return Stamp{}, azerr.BlockListTooLong
	}
	for range commitTries {
		stamp, err := a.tryCommit(&ref, req)
		if !errors.Is(err, errChanged) {
			return stamp, err
		}
	}
	return Stamp{}, azerr.ServerBusy.Because(errChanged)
}

func (a *Account) tryCommit(ref *BlobRef, req *CommitBlocks) (Stamp, error) {
	plan, err := a.planCommit(ref, req)
	if err != nil {
		return Stamp{}, err
	}
	defer plan.release()
	made := newBlob{typ: BlockBlob, size: plan.size, blocks: blockState{count: uint64(len(plan.extents)), list: int64(plan.listed)},
		tags: appendTags(nil, req.Tags), tier: req.Tier, protection: &req.Protection}
	made.meets = func(row *blobRow) error { return plan.meets(row, &made) }
	stamp, err := a.makeUploaded(ref, &req.Access, &made, &req.HTTPHeaders, req.Metadata, plan.carryOut)
	if err == nil && plan.leaves {
		a.reaper.kick()
	}
	return stamp, err
}

// planCommit looks where the blocks of the list are, and prepares the new one.
func (a *Account) planCommit(ref *BlobRef, req *CommitBlocks) (plan *commitPlan, err error) {
	plan = &commitPlan{ref: ref}
	err = a.view(func(v *pagestore.View) error {
		var s scratch
		_, row, err := s.findKept(v, ref, 0)
		if err != nil && !errors.Is(err, azerr.BlobNotFound) {
			return err
		}
		plan.found(&row)
		return plan.resolve(v, req.Blocks)
	})
	if errors.Is(err, azerr.InvalidBlockList) { // what else is wrong is said first
		if first := a.refuseCommit(ref, req); first != nil {
			err = first
		}
	}
	if err == nil {
		err = coded(plan.prepare(a.store))
	}
	if err != nil {
		plan.release()
	}
	return plan, err
}

// refuseCommit returns what is wrong with a commit besides its list.
func (a *Account) refuseCommit(ref *BlobRef, req *CommitBlocks) error {
	c := takeChange()
	defer c.release()
	return a.view(func(v *pagestore.View) error {
		c.now = a.clock.Now()
		_, err := c.checkCreate(v, a, ref, &req.Access)
		return firstError(err, c.checkCommitType())
	})
}

// checkCommitType returns the 409 for a blob that is there and no block blob.
func (c *blobChange) checkCommitType() error {
	if c.row.typ == 0 { // there is none
		return nil
	}
	return c.row.checkBlocks()
}

// Block is one block of a blob.
type Block struct {
	ID   []byte // decoded
	Size int64  // bytes
}

// BlockList is what a block blob consists of.
type BlockList struct {
	Stamp               // zero unless Exists
	Exists      bool    // there is a committed blob
	Size        int64   // of it, bytes
	Committed   []Block // in the order of the blob
	Uncommitted []Block // in the order of their ids
}

// BlockList returns the blocks of a blob, a snapshot or a version. uncommitted says whether those that wait are wanted: if there
// are any, the blob need not exist.
func (a *Account) BlockList(ref BlobRef, acc *Access, uncommitted bool) (list BlockList, err error) {
	snapshot, err := ref.check()
	if err != nil {
		return BlockList{}, err
	}
	err = a.view(func(v *pagestore.View) error {
		var s scratch
		_, row, err := s.findKept(v, &ref, snapshot)
		if err != nil {
			return err
		}
		if row.vacant || row.gone.at != 0 {
			if !uncommitted || row.blocks.staged.n == 0 {
				return azerr.BlobNotFound
			}
			if err := row.lease.CheckRead(lease.Blob, acc.LeaseID, a.clock.Now()); err != nil {
				return err
			}
		} else if err := list.committed(v, &row, acc, a); err != nil {
			return err
		}
		if uncommitted && row.blocks.staged.n > 0 {
			list.Uncommitted, err = listStaged(v, &row)
		}
		return err
	})
	return list, err
}

// committed takes what is committed into the list.
func (l *BlockList) committed(v *pagestore.View, row *blobRow, acc *Access, a *Account) error {
	if err := acc.checkRead(row, a.clock.Now()); err != nil {
		return err
	}
	if err := row.checkBlocks(); err != nil {
		return err
	}
	l.Stamp, l.Exists, l.Size = row.stamp(), true, row.size
	extents, ids, err := readBlockList(v, row)
	l.Committed = make([]Block, len(extents))
	for i := range extents {
		l.Committed[i] = Block{ID: ids[i], Size: extents[i].size}
	}
	return err
}

// listStaged lists the blocks that wait to be committed to a blob.
func listStaged(v *pagestore.View, row *blobRow) (found []Block, err error) {
	err = scanStaged(v, row, func(id []byte, b stagedRow) bool {
		found = append(found, Block{ID: bytes.Clone(id), Size: b.size})
		return true
	})
	return found, err
}

// scanStaged calls fn for each block that waits to be committed to a blob, in the order of the ids, until it returns false. id is
// valid until it does.
func scanStaged(v *pagestore.View, of *blobRow, fn func(id []byte, row stagedRow) bool) error {
	from := appendStagedPrefix(nil, of.volume, of.blocks.epoch)
	return scanView(v, from, appendAfter(nil, from), func(it *pagestore.Iter) (bool, error) {
		row, err := decodeStagedRow(it.Value())
		if err != nil {
			return false, err
		}
		return fn(it.Key()[stagedPrefixLen:], row) && it.Next(), nil
	})
}
