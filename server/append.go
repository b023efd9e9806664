package server

import (
	"math"
	"strconv"

	"pagevault/blobstore"
	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/header"
)

// putAppendBlob: Put Blob of an append blob, which makes it or makes it anew.
func (r *request) putAppendBlob() error {
	if r.framing.length > 0 {
		return azerr.BadHeader(bodyHeader, strconv.FormatInt(r.framing.length, 10))
	}
	ref, acc, err := r.refAccess()
	if err != nil {
		return err
	}
	m, err := r.made(true)
	if err != nil {
		return err
	}
	req := blobstore.CreateAppendBlob{Access: acc, HTTPHeaders: m.HTTPHeaders, Metadata: m.Metadata, Tags: m.Tags, Protection: m.Protection}
	stamp, err := r.account.CreateAppendBlob(ref, &req)
	if err != nil {
		return err
	}
	r.begin(201)
	r.setStamp(stamp)
	r.setEncrypted("x-ms-request-server-encrypted")
	return nil
}

// appendBlock: Append Block.
func (r *request) appendBlock() error {
	ref, acc, err := r.refAccess()
	if err != nil {
		return err
	}
	req := blobstore.AppendBlock{Access: acc}
	if req.Position, err = r.condition(header.XMsBlobConditionAppendPos); err != nil {
		return err
	}
	if req.MaxSize, err = r.condition(header.XMsBlobConditionMaxSize); err != nil {
		return err
	}
	u, err := r.uploadData()
	if err != nil {
		return err
	}
	defer u.finish()
	done, err := r.account.AppendBlock(ref, &req, u.store())
	if err != nil {
		return err
	}
	r.begin(201)
	r.setStamp(done.Stamp)
	r.setInt("x-ms-blob-append-offset", done.Offset)
	r.setInt("x-ms-blob-committed-block-count", done.Blocks)
	u.reply(false)
	r.setEncrypted("x-ms-request-server-encrypted")
	return nil
}

// condition reads a condition on the length of an append blob.
func (r *request) condition(id header.ID) (n blobstore.Int64, err error) {
	n.Value, n.Given, err = header.Int(&r.headers, id, 0, math.MaxInt64)
	return n, err
}

// sealAppendBlob: Append Blob Seal.
func (r *request) sealAppendBlob() error {
	ref, acc, err := r.refAccess()
	if err != nil {
		return err
	}
	position, err := r.condition(header.XMsBlobConditionAppendPos)
	if err != nil {
		return err
	}
	stamp, err := r.account.SealBlob(ref, &acc, position)
	if err != nil {
		return err
	}
	r.begin(200)
	r.setStamp(stamp)
	r.setString("x-ms-blob-sealed", "true")
	return nil
}

// setAppended sends the properties that append blobs alone have.
func (r *request) setAppended(b *blobstore.BlobInfo) {
	r.setInt("x-ms-blob-committed-block-count", b.Appended)
	if b.Sealed {
		r.setString("x-ms-blob-sealed", "true")
	}
}
