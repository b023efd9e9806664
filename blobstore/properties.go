package blobstore

import (
	"math"
	"strconv"
	"time"

	"pagevault/blobstore/immutable"
	"pagevault/blobstore/lease"
	"pagevault/blobstore/tier"
	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/header"
	"pagevault/pagestore"
)

// BlobInfo is everything a reply may say about a blob, a snapshot or a version.
type BlobInfo struct {
	Name     string
	Snapshot string // "" for the blob itself, and for a version
	Current  bool   // it is the blob itself, and Version its version id
	Vacant   bool   // there is no such blob, only versions or snapshots of one, which only lists tell
	Type     BlobType
	Stamp
	Created  time.Time
	Size     int64 // bytes
	Sequence int64 // of page blobs
	HTTPHeaders
	Metadata []header.Pair
	Tags     []header.Pair // in the order of their keys
	Lease    lease.Info    // of the blob itself; a snapshot or previous version has none and nothing is said of it
	Deleted  *Deletion     // nil unless it is deleted and kept for a while, which only lists tell
	Copy     *CopyInfo     // nil unless it was made by a copy and not changed since, but for its pages

	Appended    int64 // blocks of an append blob
	Sealed      bool  // an append blob, for ever
	Uncommitted bool  // there is no such blob, only blocks that wait to be committed, which only lists tell

	Protection  immutable.State
	Tier        tier.Tier // that it was given; see Account.ShownTier
	TierChanged time.Time // when that was
}

// Frozen reports whether it is a snapshot or a previous version.
func (b *BlobInfo) Frozen() bool { return b.Snapshot != "" || b.Version != "" && !b.Current }

// CheckReadable returns the 409 for a blob of which only the properties and the snapshots can be read: one that incremental
// copies go to. It is checkReadable of the row.
func (b *BlobInfo) CheckReadable() error {
	if b.Copy != nil && b.Copy.Incremental && (b.Snapshot == "" || b.Copy.Status != CopySuccess) {
		return azerr.OperationNotAllowedOnIncrementalCopyBlob
	}
	return nil
}

// SequenceAction is what a request does to the sequence number of a page blob.
type SequenceAction uint8

const (
	SequenceKeep      SequenceAction = iota // the header is absent
	SequenceMax                             // the larger of the present and the given number
	SequenceUpdate                          // the given number
	SequenceIncrement                       // one more
)

var sequenceActionNames = [...]string{"", "max", "update", "increment"}

// String returns the action as x-ms-sequence-number-action spells it.
func (s SequenceAction) String() string { return sequenceActionNames[s] }

// SetProperties asks for a change of a blob's properties. What is not given stays.
type SetProperties struct {
	Access
	Headers  *HTTPHeaders // nil: none of the six was sent. Else all six are replaced, those that are empty are cleared
	Size     Int64        // of a page blob, bytes
	Action   SequenceAction
	Sequence Int64 // for SequenceMax and SequenceUpdate
}

// SetPropertiesResult is what the reply says about the changed blob.
type SetPropertiesResult struct {
	Stamp
	Type     BlobType
	Sequence int64 // of page blobs
}

// BlobInfo returns the properties and metadata of a blob, a snapshot or a version.
func (a *Account) BlobInfo(ref BlobRef, acc *Access) (info BlobInfo, err error) {
	snapshot, err := ref.check()
	if err != nil {
		return BlobInfo{}, err
	}
	s := scratches.Get().(*scratch)
	defer scratches.Put(s)
	err = a.view(func(v *pagestore.View) error {
		_, row, err := s.findBlob(v, &ref, snapshot)
		if err != nil {
			return err
		}
		now := a.clock.Now()
		if err := acc.checkRead(&row, now); err != nil {
			return err
		}
		info, err = row.info(ref.Blob, snapshot, now)
		return err
	})
	return info, err
}

// info returns what clients are told about the row, which has that id unless it is a blob's.
func (r *blobRow) info(name string, id snapshotID, now time.Time) (BlobInfo, error) {
	headers, meta, err := decodeProps(r.props)
	if err != nil {
		return BlobInfo{}, err
	}
	tags, err := decodeTags(r.tags)
	if err != nil {
		return BlobInfo{}, err
	}
	copied, err := r.copyInfo()
	base := r.gen == pagestore.GenHead
	appended := int64(0)
	if r.typ == AppendBlob {
		appended = int64(r.blocks.count)
	}
	if base || r.version != 0 {
		id = 0
	}
	return BlobInfo{
		Name:        name,
		Snapshot:    id.String(),
		Current:     base && r.version != 0,
		Vacant:      r.vacant,
		Type:        r.typ,
		Stamp:       r.stamp(),
		Created:     r.created.Time(),
		Size:        r.size,
		Sequence:    r.sequence,
		HTTPHeaders: headers,
		Metadata:    meta,
		Tags:        tags,
		Lease:       r.lease.Info(now),
		Deleted:     r.gone.info(now),
		Copy:        copied,
		Appended:    appended,
		Sealed:      r.blocks.sealed,
		Protection:  r.locks,
		Tier:        r.tier,
		TierChanged: r.tierChanged(),
	}, err
}

// SetBlobMetadata replaces all metadata of a blob; without any it is cleared. It makes a new version.
func (a *Account) SetBlobMetadata(ref BlobRef, acc *Access, meta []header.Pair) (Stamp, error) {
	if err := ref.checkWritable(acc); err != nil {
		return Stamp{}, err
	}
	row, err := a.change(&ref, acc, false, func(c *blobChange) error {
		if err := c.beginVersion(a, ref.Blob); err != nil {
			return err
		}
		c.row.notCopied()
		headers, _, err := splitProps(c.row.props)
		c.row.props = appendMetadata(headers, meta) // headers has no room behind it, so this copies
		return firstError(err, a.store.CheckMetadata())
	})
	return row.stamp(), err
}

// SetBlobProperties replaces the HTTP headers, resizes and sets the sequence number, all or nothing. A page blob that
// shrinks loses the pages past its new end for good: growing again shows zeros there. Its snapshots keep them.
func (a *Account) SetBlobProperties(ref BlobRef, req *SetProperties) (SetPropertiesResult, error) {
	if err := a.checkProperties(&ref, req); err != nil {
		return SetPropertiesResult{}, err
	}
	aboutPages := req.Size.Given || req.Action != SequenceKeep
	row, err := a.change(&ref, &req.Access, aboutPages, func(c *blobChange) error {
		c.row.notCopied()
		if err := c.setSequence(req.Action, req.Sequence.Value); err != nil {
			return err
		}
		if req.Size.Given {
			if err := a.checkTierSize(&c.row, req.Size.Value); err != nil {
				return err
			}
			if err := c.resize(req.Size.Value); err != nil {
				return err
			}
		}
		return c.setHeaders(req.Headers)
	})
	return SetPropertiesResult{Stamp: row.etag.stamp(), Type: row.typ, Sequence: row.sequence}, err
}

const (
	sequenceHeader = "x-ms-blob-sequence-number"
	actionHeader   = "x-ms-sequence-number-action"
)

func (a *Account) checkProperties(ref *BlobRef, req *SetProperties) error {
	if err := ref.checkWritable(&req.Access); err != nil {
		return err
	}
	if req.Size.Given {
		if err := a.checkSize(req.Size.Value); err != nil {
			return err
		}
	}
	number := strconv.FormatInt(req.Sequence.Value, 10)
	switch {
	case req.Action > SequenceIncrement:
		return azerr.BadHeader(actionHeader, strconv.Itoa(int(req.Action)))
	case req.Action == SequenceKeep && req.Sequence.Given:
		return azerr.MissingHeader(actionHeader)
	case req.Action == SequenceIncrement && req.Sequence.Given:
		return azerr.BadHeader(sequenceHeader, number)
	case (req.Action == SequenceMax || req.Action == SequenceUpdate) && !req.Sequence.Given:
		return azerr.MissingHeader(sequenceHeader)
	case req.Sequence.Given && req.Sequence.Value < 0:
		return azerr.BadHeader(sequenceHeader, number)
	}
	return nil
}

func (c *blobChange) setSequence(action SequenceAction, given int64) error {
	switch action {
	case SequenceMax:
		c.row.sequence = max(c.row.sequence, given)
	case SequenceUpdate:
		c.row.sequence = given
	case SequenceIncrement:
		if c.row.sequence == math.MaxInt64 {
			return azerr.SequenceNumberIncrementTooLarge
		}
		c.row.sequence++
	}
	return nil
}

func (c *blobChange) resize(size int64) error {
	shrinks := size < c.row.size
	if err := count(c.tx, tally{bytes: size - c.row.size}); err != nil {
		return err
	}
	c.row.size = size
	if !shrinks {
		return nil
	}
	return c.tx.Truncate(c.row.volume, pageNo(size))
}

func (c *blobChange) setHeaders(h *HTTPHeaders) error {
	if h == nil {
		return nil
	}
	_, meta, err := splitProps(c.row.props)
	c.row.props = append(appendHeaders(nil, h), meta...)
	return err
}
