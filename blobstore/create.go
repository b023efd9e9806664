package blobstore

import (
	"errors"
	"strconv"

	"pagevault/blobstore/immutable"
	"pagevault/blobstore/lease"
	"pagevault/blobstore/tier"
	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/header"
	"pagevault/pagestore"
)

// CreatePageBlob asks for a page blob, in place of whatever has its name.
type CreatePageBlob struct {
	Access
	HTTPHeaders
	Metadata []header.Pair
	Tags     []header.Pair // in any order, as header.CheckTags takes them
	Size     int64         // bytes, a multiple of 512
	Sequence int64         // 0 to 2^63-1
	Tier     tier.Tier     // 0: none
	Protection
}

// defaultContentType is what a blob made without a type is said to be.
const defaultContentType = "application/octet-stream"

// CreatePageBlob makes a blob of zeros, with no page valid. A blob of that name is overwritten with all its properties;
// its snapshots and versions stay, and so does an active lease, whose id the request must then name. Comparing the new blob with
// snapshots of the old one is refused (BlobOverwritten), for no page of one has anything to do with the other.
func (a *Account) CreatePageBlob(ref BlobRef, req *CreatePageBlob) (Stamp, error) {
	if err := a.checkCreate(&ref, req); err != nil {
		return Stamp{}, err
	}
	headers := req.HTTPHeaders
	if headers.ContentType == "" {
		headers.ContentType = defaultContentType
	}
	made := newBlob{typ: PageBlob, size: req.Size, sequence: req.Sequence, tags: appendTags(nil, req.Tags), tier: req.Tier,
		protection: &req.Protection, props: appendProps(nil, &headers, req.Metadata)}
	c := takeChange()
	defer c.release()
	err := a.update(func(tx *pagestore.Tx) error {
		c.tx, c.now = tx, a.clock.Now()
		counted, err := c.makeBlob(a, &ref, &req.Access, &made)
		if err != nil {
			return err
		}
		c.row.volume = tx.CreateVolume()
		c.keep()
		return count(tx, counted)
	})
	return c.row.stamp(), err
}

func (a *Account) checkCreate(ref *BlobRef, req *CreatePageBlob) error {
	if err := ref.checkWritable(&req.Access); err != nil {
		return err
	}
	if req.Sequence < 0 {
		return azerr.BadHeader("x-ms-blob-sequence-number", strconv.FormatInt(req.Sequence, 10))
	}
	if err := header.CheckTags(req.Tags); err != nil {
		return err
	}
	return firstError(a.checkSize(req.Size), a.checkTier(PageBlob, req.Tier, req.Size))
}

// checkSize returns the error for a size that no page blob can have here.
func (a *Account) checkSize(size int64) error {
	switch {
	case size < 0 || size%PageSize != 0:
		return azerr.BadHeader("x-ms-blob-content-length", strconv.FormatInt(size, 10))
	case size > a.sizeMax:
		return azerr.RequestBodyTooLarge.With("MaxLimit", strconv.FormatInt(a.sizeMax, 10))
	default:
		return nil
	}
}

// newBlob is what a blob is to be that is about to be made.
type newBlob struct {
	typ    BlobType
	blocks blockState
	stay   bool // it has the volume of the blob that it replaces, if there is one, instead of a new one
	// meets is called with the row that is there, deleted and vacant ones too, a zero one if there is none, before anything changes.
	// nil: it need not be.
	meets      func(row *blobRow) error
	size       int64
	sequence   int64
	tags       []byte // encoded
	props      []byte // encoded
	tier       tier.Tier
	protection *Protection
	copied     *CopyInfo // see asCopy
}

// makeBlob makes room for a blob where one may be, and gives c the row of the new one, without a volume. The caller stores
// it, and counts what is returned.
func (c *blobChange) makeBlob(a *Account, ref *BlobRef, acc *Access, n *newBlob) (counted tally, err error) {
	if n.meets != nil {
		_, row, err := c.findKept(c.tx, ref, 0)
		if err != nil && !errors.Is(err, azerr.BlobNotFound) {
			return tally{}, err
		}
		if err := n.meets(&row); err != nil {
			return tally{}, err
		}
	}
	exists, err := c.findForCreate(a, ref, acc, n)
	if err != nil {
		return tally{}, err
	}
	locks, err := a.protect(c, ref.Container, n.protection)
	if err != nil {
		return tally{}, err
	}
	counted = tally{blobs: 1, bytes: n.size}
	if exists {
		counted = tally{bytes: n.size - c.row.size}
	}
	if err := c.retag(ref, n.tags); err != nil {
		return tally{}, err
	}
	stamp := a.nextTicks(c.row.etag)
	given, since := c.row.nextTier(n, exists, stamp)
	volume := c.row.volume
	if !n.stay {
		volume = 0
	}
	c.row = blobRow{
		typ:      n.typ,
		volume:   volume,
		blocks:   n.blocks,
		size:     n.size,
		sequence: n.sequence,
		etag:     stamp,
		created:  stamp,
		lease:    c.row.lease.Written(c.now),
		snaps:    c.row.snaps,
		versions: c.row.versions,
		tags:     n.tags,
		locks:    locks,
		tier:     given,
		tiered:   since,
		props:    n.props,
	}
	c.nextVersion(a)
	return counted, nil
}

// findForCreate finds the blob that is about to be replaced, if there is one, checks whether it may be, and lets go of
// its volume. Of the old row only what survives has a meaning afterwards: size, lease, entity tag, snapshots, versions, and
// the tags, whose rows are still there. It becomes a previous version if it is versioned; else, if what is deleted is kept for
// a while, a snapshot of it is, deleted from the start.
func (c *blobChange) findForCreate(a *Account, ref *BlobRef, acc *Access, n *newBlob) (exists bool, err error) {
	exists, err = c.checkCreate(c.tx, a, ref, acc)
	if err != nil {
		return false, err
	}
	if !exists {
		return false, c.replaceGone(ref.Blob, n.stay)
	}
	if err := c.keepOverwritten(a, ref.Blob); err != nil || n.stay {
		return true, err
	}
	return true, c.leaveVolume(ref.Blob)
}

// checkCreate finds the blob that is to be replaced, if there is one, and checks whether it may be.
func (c *blobChange) checkCreate(from rows, a *Account, ref *BlobRef, acc *Access) (exists bool, err error) {
	c.id, c.row, err = c.findBlob(from, ref, 0, a.replaceAct(immutable.Replace))
	exists = !errors.Is(err, azerr.BlobNotFound)
	if err != nil && exists {
		return false, acc.checkReplaced(&c.row, err)
	}
	if err := firstError(c.row.checkFree(), acc.checkOverwrite(exists)); err != nil {
		return false, err
	}
	if err := c.row.lease.CheckWrite(lease.Blob, acc.LeaseID, c.now); err != nil {
		return false, err
	}
	stamp := c.row.etag.stamp()
	if err := acc.Conditions.CheckCreate(exists, stamp.ETag, stamp.LastModified); err != nil {
		return false, err
	}
	return exists, c.row.checkTags(&acc.Conditions)
}

// leaveVolume ends the blob's use of its volume. If snapshots or versions still show it, a row counts them from now on, and the last
// of them takes the volume with it; what no snapshot shows goes now. Otherwise the volume goes at once. Blocks that are staged in
// it are gone.
func (c *blobChange) leaveVolume(name string) error {
	if err := c.dropStaged(name); err != nil {
		return err
	}
	if c.row.snaps.volume == 0 {
		return c.tx.Drop(c.row.volume)
	}
	c.tx.Set(appendVolumeKey(nil, c.row.volume), appendNumberRow(nil, c.row.snaps.volume))
	c.row.snaps.volume = 0
	return c.tx.Truncate(c.row.volume, 0)
}
