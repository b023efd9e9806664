package blobstore

import (
	"strconv"

	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/cond"
	"pagevault/internal/azure/header"
)

// PutPages asks to write pages of a page blob.
type PutPages struct {
	Access
	Sequence cond.Sequence // conditions on the sequence number
	Range    header.Range  // both ends multiples of 512, at most 4 MiB
	Body     []byte        // what to write there, as long as Range
}

// ClearPages asks to release pages of a page blob: they read as zeros and are no longer listed.
type ClearPages struct {
	Access
	Sequence cond.Sequence
	Range    header.Range // both ends multiples of 512; any length
}

// PutPagesResult is the state of a blob after its pages were written or cleared.
type PutPagesResult struct {
	Stamp
	Sequence int64
}

// PutPages writes pages. When it returns nil they are on disk on every member of the store. Zeros are written like
// anything else: the pages are valid afterwards. Only the body is hashed before the blob is looked for, so a request that is
// refused costs no more than that. It does not keep the body.
func (a *Account) PutPages(ref BlobRef, req *PutPages) (PutPagesResult, error) {
	if err := req.check(&ref); err != nil {
		return PutPagesResult{}, err
	}
	content, err := a.store.Prepare(pageNo(req.Range.Start), req.Body)
	if err != nil {
		return PutPagesResult{}, coded(err)
	}
	defer content.Release()
	row, err := a.change(&ref, &req.Access, true, func(c *blobChange) error {
		if err := c.checkRange(&req.Sequence, req.Range); err != nil {
			return err
		}
		return c.tx.Write(c.row.volume, content)
	})
	return PutPagesResult{Stamp: row.etag.stamp(), Sequence: row.sequence}, err
}

// ClearPages releases pages.
func (a *Account) ClearPages(ref BlobRef, req *ClearPages) (PutPagesResult, error) {
	if err := ref.checkWritable(&req.Access); err != nil {
		return PutPagesResult{}, err
	}
	if err := checkAligned(req.Range); err != nil {
		return PutPagesResult{}, err
	}
	row, err := a.change(&ref, &req.Access, true, func(c *blobChange) error {
		if err := c.checkRange(&req.Sequence, req.Range); err != nil {
			return err
		}
		return c.tx.Clear(c.row.volume, pages(req.Range))
	})
	return PutPagesResult{Stamp: row.etag.stamp(), Sequence: row.sequence}, err
}

// check finds what is wrong with a request whatever it is about to meet.
func (req *PutPages) check(ref *BlobRef) error {
	if err := ref.checkWritable(&req.Access); err != nil {
		return err
	}
	if err := checkAligned(req.Range); err != nil {
		return err
	}
	if req.Range.Len() > PutPagesMax {
		return azerr.RequestBodyTooLarge.With("MaxLimit", strconv.Itoa(PutPagesMax))
	}
	if int64(len(req.Body)) != req.Range.Len() {
		return azerr.BadHeader("Content-Length", strconv.Itoa(len(req.Body)))
	}
	return nil
}

// checkAligned returns the 400 for a range that does not consist of pages. It is reported as clients know it, with both
// ends inclusive and under the name Range.
func checkAligned(r header.Range) error {
	if r.Start >= 0 && r.Start < r.End && r.Start%PageSize == 0 && r.End%PageSize == 0 {
		return nil
	}
	return azerr.BadHeader("Range", "bytes="+strconv.FormatInt(r.Start, 10)+"-"+strconv.FormatInt(r.End-1, 10))
}

// checkRange decides what comes last for a write of pages: the sequence number (412), then the size (416).
func (c *blobChange) checkRange(seq *cond.Sequence, r header.Range) error {
	if err := seq.Check(c.row.sequence); err != nil {
		return err
	}
	if r.End > c.row.size {
		return azerr.InvalidPageRange
	}
	return nil
}
