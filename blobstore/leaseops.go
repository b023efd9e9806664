package blobstore

import (
	"encoding/hex"
	"io"

	"pagevault/blobstore/immutable"
	"pagevault/blobstore/lease"
	"pagevault/internal/azure/cond"
	"pagevault/pagestore"
)

// LeaseBlob acquires, renews, changes, releases or breaks the lease of a blob. It changes neither entity tag nor
// modification time. An acquire that proposes no id is given one.
func (a *Account) LeaseBlob(ref BlobRef, req lease.Request, conditions cond.Conditions) (lease.Result, Stamp, error) {
	acc := Access{Conditions: conditions}
	if err := ref.checkWritable(&acc); err != nil {
		return lease.Result{}, Stamp{}, err
	}
	if err := a.prepareLease(&req); err != nil {
		return lease.Result{}, Stamp{}, err
	}
	var result lease.Result
	c := takeChange()
	defer c.release()
	err := a.update(func(tx *pagestore.Tx) (err error) {
		c.tx, c.now = tx, a.clock.Now()
		if c.id, c.row, err = c.findBlob(tx, &ref, 0, immutable.Annotate); err != nil {
			return err
		}
		if err := c.row.checkFree(); err != nil {
			return err
		}
		if err := c.row.checkConditions(&conditions); err != nil {
			return err
		}
		if c.row.lease, result, err = lease.Apply(c.row.lease, req, c.now); err != nil {
			return err
		}
		c.keep()
		return nil
	})
	return result, c.row.etag.stamp(), err
}

// LeaseContainer does the same for a container. Of the conditions only the two dates apply.
func (a *Account) LeaseContainer(name string, req lease.Request, conditions cond.Conditions) (lease.Result, Stamp, error) {
	if err := a.prepareLease(&req); err != nil {
		return lease.Result{}, Stamp{}, err
	}
	var result lease.Result
	stamp, err := a.changeContainer(name, &conditions, func(c *containerChange) (err error) {
		c.row.lease, result, err = lease.Apply(c.row.lease, req, c.now)
		return err
	})
	return result, stamp, err
}

// prepareLease makes up an id where the client left that to the service, and returns the 400 of a malformed request.
func (a *Account) prepareLease(req *lease.Request) error {
	if req.Action == lease.Acquire && req.Proposed == "" {
		id, err := newGUID(a.rand)
		if err != nil {
			return coded(err)
		}
		req.Proposed = id
	}
	return req.Check()
}

// newGUID returns a random GUID (version 4) in lower case.
func newGUID(random io.Reader) (string, error) {
	var b [16]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return "", err
	}
	b[6], b[8] = b[6]&0x0F|0x40, b[8]&0x3F|0x80
	return formatGUID(b), nil
}

func formatGUID(b [16]byte) string {
	var text [36]byte
	hex.Encode(text[0:8], b[0:4])
	hex.Encode(text[9:13], b[4:6])
	hex.Encode(text[14:18], b[6:8])
	hex.Encode(text[19:23], b[8:10])
	hex.Encode(text[24:36], b[10:16])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return string(text[:])
}
