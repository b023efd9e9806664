package blobstore

import (
	"errors"
	"strconv"
	"sync"
	"time"

	"pagevault/blobstore/immutable"
	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/header"
	"pagevault/internal/clock"
	"pagevault/pagestore"
)

// Limits of the protocol on append blobs.
const (
	AppendsMax = 50_000    // blocks
	AppendMax  = 100 << 20 // bytes of a block
)

// CreateAppendBlob asks for an empty append blob, in place of whatever has its name.
type CreateAppendBlob struct {
	Access
	HTTPHeaders
	Metadata []header.Pair
	Tags     []header.Pair // as CreatePageBlob has them
	Protection
}

// CreateAppendBlob makes an append blob. What was of the name is overwritten as by CreatePageBlob.
func (a *Account) CreateAppendBlob(ref BlobRef, req *CreateAppendBlob) (Stamp, error) {
	if err := firstError(ref.checkWritable(&req.Access), header.CheckTags(req.Tags)); err != nil {
		return Stamp{}, err
	}
	made := newBlob{typ: AppendBlob, tags: appendTags(nil, req.Tags), protection: &req.Protection}
	return a.makeUploaded(&ref, &req.Access, &made, &req.HTTPHeaders, req.Metadata, func(c *blobChange) error {
		c.row.volume = c.tx.CreateVolume()
		return nil
	})
}

// AppendBlock asks to append to an append blob.
type AppendBlock struct {
	Access
	Position Int64 // where it must be appended (x-ms-blob-condition-appendpos)
	MaxSize  Int64 // how large the blob may be afterwards (x-ms-blob-condition-maxsize)
}

// AppendResult is the state of an append blob after something was appended.
type AppendResult struct {
	Stamp
	Offset int64 // where it was appended
	Blocks int64 // how many blocks there are now
}

// AppendBlock appends to a blob. One request at a time does that; those of which all has come wait for each other. While one is under
// way whose content still comes, others are ServerBusy.
//
// Errors: AppendPositionConditionNotMet, MaxBlobSizeConditionNotMet, BlockCountExceedsLimit, BlobIsSealed, InvalidBlobType, those of
// writes.
func (a *Account) AppendBlock(ref BlobRef, req *AppendBlock, up *Upload) (result AppendResult, err error) {
	if err := ref.checkWritable(&req.Access); err != nil {
		return AppendResult{}, err
	}
	switch {
	case up.Size == 0:
		return AppendResult{}, azerr.BadHeader("Content-Length", "0")
	case up.Size > AppendMax:
		return AppendResult{}, azerr.RequestBodyTooLarge.With("MaxLimit", strconv.Itoa(AppendMax))
	}
	first, err := up.next(0) // nobody waits for a client that sends little
	if err == nil && up.Size <= UploadPiece {
		err = up.end()
	}
	if err != nil {
		return AppendResult{}, err
	}
	id, _, err := a.findAppended(&ref, req, up.Size)
	if err != nil {
		return AppendResult{}, err
	}
	long := up.Size > UploadPiece
	unlock, ok := a.appends.lock(appendName{id, ref.Blob}, appendPatience, long, a.clock)
	if !ok {
		return AppendResult{}, azerr.ServerBusy
	}
	defer func() {
		unlock()
		if long && err != nil && !errors.Is(err, pagestore.ErrUnavailable) {
			a.reaper.kick() // it takes away what was written
		}
	}()
	now, row, err := a.findAppended(&ref, req, up.Size) // as those before have left it
	if err == nil && now != id {
		err = azerr.ServerBusy.Because(errBlobReplaced) // in another container of the name, where others have another lock
	}
	if err != nil {
		return AppendResult{}, err
	}
	j := appendJob{a: a, ref: &ref, req: req, up: up, row: row}
	return j.run(first)
}

// appendPatience is how long a request waits for others that append to the same blob.
const appendPatience = 20 * time.Second

// findAppended finds the blob and checks whether so many bytes may be appended. The row borrows nothing.
func (a *Account) findAppended(ref *BlobRef, req *AppendBlock, n int64) (id containerID, row blobRow, err error) {
	c := takeChange()
	defer c.release()
	err = a.view(func(v *pagestore.View) error {
		c.now = a.clock.Now()
		c.id, c.row, err = c.findBlob(v, ref, 0, immutable.Modify)
		if err != nil {
			return err
		}
		return firstError(req.check(c, n))
	})
	id, row = c.id, c.row
	row.props, row.tags, row.copy, row.state = nil, nil, nil, nil
	return id, row, err
}

// check decides whether so many bytes may be appended to the blob that c has.
func (req *AppendBlock) check(c *blobChange, n int64) error {
	row := &c.row
	if err := row.checkFree(); err != nil {
		return err
	}
	if row.typ != AppendBlob {
		return azerr.InvalidBlobType
	}
	if err := req.checkWrite(row, c.now); err != nil {
		return err
	}
	switch {
	case row.blocks.sealed:
		return azerr.BlobIsSealed
	case req.Position.Given && req.Position.Value != row.size:
		return azerr.AppendPositionConditionNotMet
	case req.MaxSize.Given && (row.size > req.MaxSize.Value || n > req.MaxSize.Value-row.size):
		return azerr.MaxBlobSizeConditionNotMet
	case row.blocks.count >= AppendsMax:
		return azerr.BlockCountExceedsLimit
	}
	return nil
}

// appendJob is one append while nobody else appends to the blob.
type appendJob struct {
	a   *Account
	ref *BlobRef
	req *AppendBlock
	up  *Upload
	row blobRow // of the blob, whose end does not move
}

// appendBuffers have room for a piece with a part of a page before it.
var appendBuffers = sync.Pool{New: func() any { return new([UploadPiece + PageSize]byte) }}

// run appends. The last page of the blob is written anew with what it has; pages behind it are not seen before the blob is longer.
func (j *appendJob) run(piece []byte) (result AppendResult, err error) {
	buf := appendBuffers.Get().(*[UploadPiece + PageSize]byte)
	defer appendBuffers.Put(buf)
	at := j.row.size &^ (PageSize - 1)
	kept := int(j.row.size - at)
	if kept > 0 {
		if err := j.a.view(func(v *pagestore.View) error {
			return v.Read(j.row.volume, pagestore.GenHead, pageNo(at), buf[:PageSize])
		}); err != nil {
			return result, err
		}
	}
	for off := int64(0); ; {
		n := int(min(UploadPiece, j.up.Size-off))
		copy(buf[kept:], piece[:n])
		off, kept = off+int64(n), kept+n
		if off == j.up.Size {
			break
		}
		whole := kept &^ (PageSize - 1)
		if err := j.write(at, buf[:whole]); err != nil {
			return result, err
		}
		at += int64(whole)
		kept = copy(buf[:], buf[whole:kept])
		if piece, err = j.up.next(off); err != nil {
			return result, err
		}
	}
	if j.up.Size > UploadPiece {
		if err := j.up.end(); err != nil {
			return result, err
		}
	}
	end := (kept + PageSize - 1) &^ (PageSize - 1)
	clear(buf[kept:end])
	return j.finish(at, buf[:end])
}

// write writes pages behind the end of the blob, with a row by which the reaper finds them if the rest does not come.
func (j *appendJob) write(at int64, p []byte) error {
	content, err := j.a.store.Prepare(pageNo(at), p)
	if err != nil {
		return coded(err)
	}
	defer content.Release()
	return j.change(func(c *blobChange) error {
		sweepLater(c.tx, c.id, j.ref.Blob, c.row.volume)
		return c.tx.Write(c.row.volume, content)
	})
}

// change makes a change if the blob is the one, and ends where, it did when the append began.
func (j *appendJob) change(fn func(c *blobChange) error) error {
	c := takeChange()
	defer c.release()
	return j.a.update(func(tx *pagestore.Tx) (err error) {
		c.tx, c.now = tx, j.a.clock.Now()
		if c.id, c.row, err = c.findBlob(tx, j.ref, 0, immutable.Modify); err != nil {
			return err
		}
		if err := j.req.check(c, j.up.Size); err != nil {
			return err
		}
		if c.row.volume != j.row.volume || c.row.size != j.row.size {
			return azerr.ServerBusy.Because(errBlobReplaced)
		}
		return fn(c)
	})
}

// finish writes the last pages and makes the blob longer.
func (j *appendJob) finish(at int64, p []byte) (result AppendResult, err error) {
	content, err := j.a.store.Prepare(pageNo(at), p)
	if err != nil {
		return result, coded(err)
	}
	defer content.Release()
	err = j.change(func(c *blobChange) error {
		if err := c.tx.Write(c.row.volume, content); err != nil {
			return err
		}
		result.Offset = c.row.size
		c.row.size += j.up.Size
		c.row.blocks.count++
		c.row.etag = j.a.nextTicks(c.row.etag)
		c.row.lease = c.row.lease.Written(c.now)
		c.row.notCopied()
		c.keep()
		if j.up.Size > UploadPiece { // there is nothing behind the end any more
			c.tx.Delete(appendSweepKey(nil, c.row.volume))
		}
		result.Stamp, result.Blocks = c.row.stamp(), int64(c.row.blocks.count)
		return count(c.tx, tally{bytes: j.up.Size})
	})
	return result, err
}

// SealBlob makes an append blob one to which nothing can be appended any more. One that is sealed stays so.
func (a *Account) SealBlob(ref BlobRef, acc *Access, position Int64) (Stamp, error) {
	if err := ref.checkWritable(acc); err != nil {
		return Stamp{}, err
	}
	row, err := a.change(&ref, acc, false, func(c *blobChange) error {
		switch {
		case c.row.typ != AppendBlob:
			return azerr.InvalidBlobType
		case position.Given && position.Value != c.row.size:
			return azerr.AppendPositionConditionNotMet
		}
		c.row.blocks.sealed = true
		return nil
	})
	return row.stamp(), err
}

// appendName names a blob that is appended to.
type appendName struct {
	container containerID
	name      string
}

// appends are the blobs that are being appended to, each by one request.
type appends struct {
	sync.Mutex
	by map[appendName]*appender
}

// appender is a lock, held while its channel is empty.
type appender struct {
	free  chan struct{}
	users int  // who hold it or wait
	long  bool // who holds it waits for a client's content
}

// lock waits until nobody else appends to a blob, for no longer than patience, and not at all for who waits for a client's content
// himself, as long says of the caller: who waits here has memory and a place among the requests that are carried out. It returns
// how to let others append, and whether it came to that.
func (s *appends) lock(of appendName, patience time.Duration, long bool, by clock.Clock) (unlock func(), ok bool) {
	s.Lock()
	if s.by == nil {
		s.by = make(map[appendName]*appender)
	}
	x := s.by[of]
	if x == nil {
		x = &appender{free: make(chan struct{}, 1)}
		x.free <- struct{}{}
		s.by[of] = x
	}
	if x.long {
		patience = 0
	}
	x.users++
	s.Unlock()
	leave := func() {
		s.Lock()
		defer s.Unlock()
		if x.users--; x.users == 0 {
			delete(s.by, of)
		}
	}
	select {
	case <-x.free:
	default:
		if patience == 0 {
			leave()
			return nil, false
		}
		timer := by.NewTimer(patience)
		defer timer.Stop()
		select {
		case <-x.free:
		case <-timer.C():
			leave()
			return nil, false
		}
	}
	s.hold(x, long)
	return func() {
		s.hold(x, false)
		x.free <- struct{}{}
		leave()
	}, true
}

func (s *appends) hold(x *appender, long bool) {
	s.Lock()
	defer s.Unlock()
	x.long = long
}
