package blobstore

import (
	"errors"
	"sync"
	"time"

	"pagevault/blobstore/immutable"
	"pagevault/blobstore/lease"
	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/cond"
	"pagevault/internal/azure/header"
	"pagevault/pagestore"
)

// BlobRef names a blob, one of its snapshots or one of its versions.
type BlobRef struct {
	Container string
	Blob      string // any bytes; not normalised in any way
	Snapshot  string // as the client wrote it; "" is the blob itself
	Version   string // a version id, likewise. That of the current version is the blob itself
}

// Access is what a request says about the state in which it expects to find what it works on.
type Access struct {
	LeaseID    string // in lower case, as header.ParseLeaseID returns it; "" is none
	Conditions cond.Conditions
	CreateOnly bool // the request may make a blob, and not overwrite one that exists
}

// Int64 is a number that a request may leave out.
type Int64 struct {
	Value int64
	Given bool
}

// Given returns an Int64 that is there.
func Given(v int64) Int64 { return Int64{Value: v, Given: true} }

// check returns the id of the snapshot or version, 0 if the blob itself is meant, or the 400 for names that nothing can have
// and ids that cannot be read as one.
func (r *BlobRef) check() (snapshotID, error) {
	if err := checkContainerName(r.Container); err != nil {
		return 0, err
	}
	if err := checkBlobName(r.Container, r.Blob); err != nil {
		return 0, err
	}
	if r.Version != "" {
		return r.checkVersion()
	}
	if r.Snapshot == "" {
		return 0, nil
	}
	id, ok := parseSnapshot(r.Snapshot)
	if !ok {
		return 0, azerr.BadQuery("snapshot", r.Snapshot, "not the id of a snapshot")
	}
	return id, nil
}

// checkVersion reads the version id.
func (r *BlobRef) checkVersion() (snapshotID, error) {
	if r.Snapshot != "" {
		return 0, azerr.MutuallyExclusiveQueryParameters
	}
	id, ok := parseSnapshot(r.Version)
	if !ok {
		return 0, azerr.BadQuery("versionid", r.Version, "not the id of a version")
	}
	return id, nil
}

// checkWritable is check for requests that change a blob, which a snapshot or previous version never allows, together with what makes their
// conditions malformed.
func (r *BlobRef) checkWritable(acc *Access) error {
	if _, err := r.check(); err != nil {
		return err
	}
	if r.Snapshot != "" {
		return azerr.BadQuery("snapshot", r.Snapshot, "a snapshot cannot be changed")
	}
	if r.Version != "" {
		return azerr.BadQuery("versionid", r.Version, "a version cannot be changed in this way")
	}
	return acc.Conditions.ValidWrite()
}

// rows is where rows are read: a pagestore.Tx or a pagestore.View.
type rows interface {
	Get(key []byte) (value []byte, ok bool, err error)
}

// scratch holds the buffers in which one request builds keys and rows.
type scratch struct {
	key       []byte
	value     []byte
	immutable bool // the container that was found last has immutable storage
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// findContainer returns the row of a container, or ContainerNotFound.
func (s *scratch) findContainer(from rows, name string) (containerRow, error) {
	s.key = appendContainerKey(s.key[:0], name)
	value, ok, err := from.Get(s.key)
	if err != nil {
		return containerRow{}, err
	}
	if !ok {
		return containerRow{}, azerr.ContainerNotFound
	}
	row, err := decodeContainerRow(value)
	s.immutable = row.immutable
	return row, err
}

// findBlob returns the row of a blob, a snapshot or a version and leaves its key in s.key. The error is ContainerNotFound before it
// is BlobNotFound. Where only the blob is missing, id is that of its container. What is deleted is missing, whether it is
// kept for a while or not.
func (s *scratch) findBlob(from rows, ref *BlobRef, snapshot snapshotID) (id containerID, row blobRow, err error) {
	if id, row, err = s.findKept(from, ref, snapshot); err == nil && (row.gone.at != 0 || row.vacant) {
		return id, blobRow{}, azerr.BlobNotFound
	}
	return id, row, err
}

// findKept is findBlob that finds also what is deleted and kept for a while, and the row of a blob that is vacant.
func (s *scratch) findKept(from rows, ref *BlobRef, snapshot snapshotID) (id containerID, row blobRow, err error) {
	c, err := s.findContainer(from, ref.Container)
	if err != nil {
		return 0, blobRow{}, err
	}
	s.key = appendBlobKey(s.key[:0], c.id, ref.Blob, snapshot)
	value, ok, err := from.Get(s.key)
	if err != nil {
		return 0, blobRow{}, err
	}
	if !ok && ref.Version != "" && snapshot != 0 {
		return s.findCurrent(from, c.id, ref, snapshot)
	}
	if !ok {
		return c.id, blobRow{}, azerr.BlobNotFound
	}
	row, err = decodeBlobRow(value)
	if err == nil && snapshot != 0 && (row.version != 0) != (ref.Version != "") { // a version is no snapshot
		return c.id, blobRow{}, azerr.BlobNotFound
	}
	return c.id, row, err
}

// findCurrent returns the row of the blob if its current version is the one that is asked for.
func (s *scratch) findCurrent(from rows, id containerID, ref *BlobRef, version snapshotID) (containerID, blobRow, error) {
	s.key = appendBlobKey(s.key[:0], id, ref.Blob, 0)
	value, ok, err := from.Get(s.key)
	if err != nil {
		return 0, blobRow{}, err
	}
	if !ok {
		return id, blobRow{}, azerr.BlobNotFound
	}
	row, err := decodeBlobRow(value)
	if err == nil && row.version != version {
		return id, blobRow{}, azerr.BlobNotFound
	}
	return id, row, err
}

// checkWrite decides a change of an existing blob: its lease, then the conditions.
func (acc *Access) checkWrite(row *blobRow, now time.Time) error {
	if err := row.lease.CheckWrite(lease.Blob, acc.LeaseID, now); err != nil {
		return err
	}
	return row.checkConditions(&acc.Conditions)
}

// checkConditions decides the conditions of a change of an existing blob.
func (r *blobRow) checkConditions(c *cond.Conditions) error {
	stamp := r.etag.stamp()
	if err := c.CheckWrite(stamp.ETag, stamp.LastModified); err != nil {
		return err
	}
	return r.checkTags(c)
}

// checkRead decides a read of an existing blob. A lease id is then a condition like the others. A 304 is a *NotModified.
func (acc *Access) checkRead(row *blobRow, now time.Time) error {
	if err := row.lease.CheckRead(lease.Blob, acc.LeaseID, now); err != nil {
		return err
	}
	stamp := row.etag.stamp()
	err := acc.Conditions.CheckRead(stamp.ETag, stamp.LastModified)
	if err == nil || errors.Is(err, azerr.NotModified) {
		if err := row.checkTags(&acc.Conditions); err != nil {
			return err // 412 comes before 304
		}
	}
	if errors.Is(err, azerr.NotModified) {
		return &NotModified{stamp}
	}
	return err
}

// NotModified is azerr.NotModified together with the state that the client has already: the reply, although it has no
// body, says which that is.
type NotModified struct{ Stamp }

// Error returns what the code says.
func (*NotModified) Error() string { return azerr.NotModified.Error() }

// Unwrap returns the code.
func (*NotModified) Unwrap() error { return azerr.NotModified }

// checkPages returns the 409 for a blob without pages.
func (r *blobRow) checkPages() error {
	if r.typ != PageBlob {
		return azerr.InvalidBlobType
	}
	return nil
}

// blobChange is a change of one existing blob while it is made: within Update only.
type blobChange struct {
	scratch
	tx  *pagestore.Tx
	now time.Time
	id  containerID
	row blobRow
}

// changes are kept for their buffers, and because one that is not would be the one thing allocated in a write.
var changes = sync.Pool{New: func() any { return new(blobChange) }}

func takeChange() *blobChange { return changes.Get().(*blobChange) }

// release ends the use of c, which keeps nothing but its buffers.
func (c *blobChange) release() {
	*c = blobChange{scratch: c.scratch}
	changes.Put(c)
}

// change runs a request that changes an existing blob: it finds the row, checks type (if the request is about pages),
// what protects the blob, lease and conditions, lets fn change row and pages, and stores the row under a new entity tag. A
// lease that is over is forgotten. It returns the new row without what rows only borrow.
func (a *Account) change(ref *BlobRef, acc *Access, aboutPages bool, fn func(c *blobChange) error) (blobRow, error) {
	c := takeChange()
	defer c.release()
	err := a.update(func(tx *pagestore.Tx) error {
		c.tx, c.now = tx, a.clock.Now()
		if err := c.find(ref, 0, acc, aboutPages, immutable.Modify); err != nil {
			return err
		}
		if err := fn(c); err != nil {
			return err
		}
		c.row.etag = a.nextTicks(c.row.etag)
		c.row.lease = c.row.lease.Written(c.now)
		c.keep()
		return nil
	})
	c.row.props, c.row.tags, c.row.copy, c.row.state = nil, nil, nil, nil
	return c.row, err
}

func (c *blobChange) find(ref *BlobRef, id snapshotID, acc *Access, aboutPages bool, act immutable.Act) (err error) {
	if c.id, c.row, err = c.findBlob(c.tx, ref, id, act); err != nil {
		return err
	}
	if err := c.row.checkFree(); err != nil {
		return err
	}
	if aboutPages {
		if err := c.row.checkPages(); err != nil {
			return err
		}
	}
	return acc.checkWrite(&c.row, c.now)
}

// keep stores the row under the key it was found with.
func (c *blobChange) keep() {
	c.value = c.row.append(c.value[:0])
	c.tx.Set(c.key, c.value)
}

// pageNo returns the number of the page that begins at byte off, a multiple of PageSize.
func pageNo(off int64) pagestore.PageNo { return pagestore.PageNo(off / PageSize) }

// pages returns the pages of a range whose ends are multiples of PageSize.
func pages(r header.Range) pagestore.Range {
	return pagestore.Range{Start: pageNo(r.Start), End: pageNo(r.End)}
}
