package server

import (
	"errors"
	"strconv"

	"pagevault/blobstore"
	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/cond"
	"pagevault/internal/azure/header"
	"pagevault/internal/azure/op"
)

// copyFromURLMax is Azure's limit for Copy Blob From URL. What else is read of a source is bounded as what comes in a body is.
const copyFromURLMax = 256 << 20

// most returns the limit of another operation for the version of the request, in bytes.
func (r *request) most(id op.ID) int64 { return r.s.handlers[id].most(r.version) }

// noBody refuses a body where what would be in it is read from a source.
func (r *request) noBody() error {
	if r.framing.length > 0 {
		return azerr.BadHeader(bodyHeader, strconv.FormatInt(r.framing.length, 10))
	}
	return nil
}

// putBlobFromURL: Put Blob From URL, which makes a block blob of what it reads. What the source says of itself is taken over
// where the request does not say otherwise.
func (r *request) putBlobFromURL() (err error) {
	if err := r.noBody(); err != nil {
		return err
	}
	ref, acc, err := r.refAccess()
	if err != nil {
		return err
	}
	req := blobstore.PutBlockBlob{Access: acc}
	given, _, err := r.httpHeaders(false)
	if err != nil {
		return err
	}
	if req.Metadata, err = header.ParseMetadata(&r.headers); err != nil {
		return err
	}
	alike, err := r.copiesProperties()
	if err != nil {
		return err
	}
	tags, err := r.copyTags()
	if err != nil {
		return err
	}
	if req.Tier, err = r.tier(); err != nil {
		return err
	}
	src, err := r.copySource()
	if err != nil {
		return err
	}
	c, err := r.openContent(src, wholeSource, r.most(op.PutBlockBlob), true)
	if err != nil {
		return r.unmodified(err)
	}
	defer func() { err = errors.Join(err, c.close()) }()
	if alike {
		req.HTTPHeaders = c.headers
		req.ContentMD5 = nil // that of what was read is better
		if len(req.Metadata) == 0 {
			req.Metadata = c.metadata
		}
	}
	r.overlay(&req.HTTPHeaders, &given)
	if req.Tags, err = r.tagsOf(tags, c, src); err != nil {
		return err
	}
	stamp, err := r.account.PutBlockBlob(ref, &req, c.upload(func() {
		if len(req.ContentMD5) == 0 {
			req.ContentMD5 = c.sums.MD5[:]
		}
	}))
	if err != nil {
		return err
	}
	r.begin(201)
	r.setStamp(stamp)
	r.setEncrypted("x-ms-request-server-encrypted")
	r.setSums(c)
	return nil
}

// copiesProperties reports whether what the source says of itself is wanted, as it is unless the request says otherwise.
func (r *request) copiesProperties() (bool, error) {
	const id = header.XMsCopySourceBlobProperties
	if !r.headers.Has(id) {
		return true, nil
	}
	return header.Bool(&r.headers, id)
}

// overlay puts the HTTP headers that the request gives in the place of those of a source.
func (r *request) overlay(h, given *blobstore.HTTPHeaders) {
	for _, f := range httpHeaders {
		if r.headers.Has(f.special) {
			*f.field(h) = *f.field(given)
		}
	}
	if r.headers.Has(header.XMsBlobContentMD5) {
		h.ContentMD5 = given.ContentMD5
	}
}

// unmodified is the error of Put Blob From URL for a source that is what the client has already: Azure says that the source
// was read and answered 304.
func (r *request) unmodified(err error) error {
	if azerr.From(err).Code != azerr.SourceConditionNotMet || !r.headers.Has(header.XMsSourceIfNoneMatch) {
		return err
	}
	e := azerr.From(r.sourceFailed(304, azerr.ConditionNotMet.Wire(), "The source is not what the condition asks for.", err))
	e.Status = azerr.SourceConditionNotMet.Status() // a reply that is 304 itself would have no body
	return e
}

// copyTags says where a copy has its tags from.
type copyTags struct {
	source bool          // those of the source
	given  []header.Pair // otherwise these
}

// copyTags reads it.
func (r *request) copyTags() (t copyTags, err error) {
	if t.given, err = header.Tags(&r.headers); err != nil {
		return t, err
	}
	if t.source, err = r.wantsTags(); err != nil {
		return t, err
	}
	if t.source && r.headers.Has(header.XMsTags) {
		return t, azerr.BothUserTagsAndSourceTagsCopyPresent
	}
	return t, nil
}

// wantsTags reports whether the tags of the source are to be copied.
func (r *request) wantsTags() (bool, error) {
	const id = header.XMsCopySourceTagOption
	v := r.headers.Get(id)
	switch {
	case !r.headers.Has(id), header.EqualFold(v, "replace"):
		return false, nil
	case header.EqualFold(v, "copy"):
		return true, nil
	}
	return false, azerr.BadHeader(id.String(), string(v))
}

// tagsOf returns the tags of a copy.
func (r *request) tagsOf(t copyTags, c *content, src copySource) (tags []header.Pair, err error) {
	switch {
	case !t.source:
		return t.given, nil
	case c.reader != nil:
		return c.reader.Info().Tags, nil
	}
	err = r.aside(func() (err error) {
		tags, err = r.s.fetcher.tags(r.s.fetcher.ctx, src.remote)
		return err
	})
	return tags, r.remoteError(err)
}

// putBlockFromURL: Put Block From URL.
func (r *request) putBlockFromURL() (err error) {
	if err := r.noBody(); err != nil {
		return err
	}
	id, err := blockID(&r.query)
	if err != nil {
		return err
	}
	ref, acc, err := r.refAccess()
	if err != nil {
		return err
	}
	c, err := r.blockContent(r.most(op.PutBlock))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	if err := r.account.PutBlock(ref, &blobstore.PutBlock{Access: acc, ID: id}, c.upload(nil)); err != nil {
		return err
	}
	r.begin(201)
	r.setEncrypted("x-ms-request-server-encrypted")
	r.setSums(c)
	return nil
}

// blockContent begins to read what is to be a block: a part of a source, which is not empty.
func (r *request) blockContent(most int64) (*content, error) {
	from, err := r.sourceRange()
	if err != nil {
		return nil, err
	}
	src, err := r.copySource()
	if err != nil {
		return nil, err
	}
	c, err := r.openContent(src, from, most, false)
	if err == nil && c.size() == 0 {
		err = errors.Join(azerr.InvalidInput, c.close())
	}
	return c, err
}

// appendBlockFromURL: Append Block From URL.
func (r *request) appendBlockFromURL() (err error) {
	if err := r.noBody(); err != nil {
		return err
	}
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
	c, err := r.blockContent(r.most(op.AppendBlock))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	done, err := r.account.AppendBlock(ref, &req, c.upload(nil))
	if err != nil {
		return err
	}
	r.begin(201)
	r.setStamp(done.Stamp)
	r.setInt("x-ms-blob-append-offset", done.Offset)
	r.setInt("x-ms-blob-committed-block-count", done.Blocks)
	r.setEncrypted("x-ms-request-server-encrypted")
	r.setSums(c)
	return nil
}

// copyBlobFromURL: Copy Blob From URL, which is done when it is answered. A block blob of the account is copied with its
// blocks, by its page map; of everything else the content is read, and makes a block blob.
func (r *request) copyBlobFromURL() (err error) {
	if err := r.noBody(); err != nil {
		return err
	}
	ref, acc, err := r.refAccess()
	if err != nil {
		return err
	}
	req := blobstore.CopyBlob{Access: acc}
	if req.Metadata, err = header.ParseMetadata(&r.headers); err != nil {
		return err
	}
	tags, err := r.copyTags()
	if err != nil {
		return err
	}
	if req.Protection, err = r.protection(); err != nil {
		return err
	}
	if req.Tier, err = r.tier(); err != nil {
		return err
	}
	src, err := r.copySource()
	if err != nil {
		return err
	}
	c, err := r.openContent(src, wholeSource, copyFromURLMax, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	if req.Tags, err = r.tagsOf(tags, c, src); err != nil {
		return err
	}
	req.Source, req.SourceURL = src.ref, src.shown
	var done blobstore.CopyResult
	if src.account == r.account && c.reader.Info().Type == blobstore.BlockBlob {
		done, err = r.copyBlocks(ref, &req, c)
	} else {
		done, err = r.copyContent(ref, &req, c)
	}
	if err != nil {
		return err
	}
	r.replyCopy(&done)
	if c.size() == 0 {
		r.setSums(c)
	}
	return nil
}

// copyBlocks copies a block blob of the account. Its content is read only if the client says what it should be.
func (r *request) copyBlocks(ref blobstore.BlobRef, req *blobstore.CopyBlob, c *content) (done blobstore.CopyResult, err error) {
	if r.headers.Has(header.XMsSourceContentMD5) || r.headers.Has(header.XMsSourceContentCRC64) {
		if err := c.drain(); err != nil {
			return done, err
		}
	}
	req.SourceConditions = cond.Match(c.reader.Info().ETag)
	if done, err = r.account.CopyBlob(r.ctx, ref, req); errors.Is(err, azerr.SourceConditionNotMet) {
		return done, azerr.ServerBusy.Because(err) // it was what it should be, and has changed since
	}
	if err != nil {
		return done, r.copyError(err)
	}
	return done, nil
}

// copyContent makes a block blob of what is read, which says that it is a copy.
func (r *request) copyContent(ref blobstore.BlobRef, req *blobstore.CopyBlob, c *content) (done blobstore.CopyResult, err error) {
	put := blobstore.PutBlockBlob{Access: req.Access, HTTPHeaders: c.headers, Metadata: req.Metadata, Tags: req.Tags, Tier: req.Tier,
		Protection: req.Protection}
	if len(put.Metadata) == 0 {
		put.Metadata = c.metadata
	}
	id := newGUID()
	put.Copy = &blobstore.CopyInfo{ID: string(id[:]), Source: req.SourceURL}
	done.ID = put.Copy.ID
	done.Stamp, err = r.account.PutBlockBlob(ref, &put, c.upload(nil))
	return done, err
}
