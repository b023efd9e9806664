package server

import (
	"cmp"
	"errors"
	"io"
	"strconv"
	"strings"

	"pagevault/blobstore"
	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/cond"
	"pagevault/internal/azure/header"
)

// copyBlob: Copy Blob. The reply goes out when the copy is whole.
func (r *request) copyBlob() error {
	if r.framing.length > 0 {
		return azerr.BadHeader(bodyHeader, strconv.FormatInt(r.framing.length, 10))
	}
	ref, acc, err := r.refAccess()
	if err != nil {
		return err
	}
	req := blobstore.CopyBlob{Access: acc}
	if req.SourceConditions, err = cond.ParseSource(&r.headers); err != nil {
		return err
	}
	if req.Metadata, err = header.ParseMetadata(&r.headers); err != nil {
		return err
	}
	if req.Tags, err = header.Tags(&r.headers); err != nil {
		return err
	}
	if req.Protection, err = r.protection(); err != nil {
		return err
	}
	if req.Tier, err = r.tier(); err != nil {
		return err
	}
	if err := r.checkPriority(); err != nil {
		return err
	}
	source, err := r.copySource()
	if err != nil {
		return err
	}
	if source.account != r.account {
		return r.startCopy(ref, &req, source)
	}
	req.Source, req.SourceURL = source.ref, source.shown
	done, err := r.account.CopyBlob(r.ctx, ref, &req)
	if err != nil {
		return r.copyError(err)
	}
	r.replyCopy(&done)
	return nil
}

// replyCopy says that a copy was made, or has begun.
func (r *request) replyCopy(done *blobstore.CopyResult) {
	r.begin(202)
	r.setStamp(done.Stamp)
	r.setString("x-ms-copy-id", done.ID)
	r.setString("x-ms-copy-status", done.Status.String())
}

// startCopy begins a copy of a blob of another account or server. The reply goes out when the destination is there.
func (r *request) startCopy(ref blobstore.BlobRef, req *blobstore.CopyBlob, source copySource) error {
	start := blobstore.StartCopy{Access: req.Access, Metadata: req.Metadata, Tags: req.Tags, SourceURL: source.shown,
		Tier: req.Tier, Protection: req.Protection}
	var err error
	if source.account != nil {
		err = r.openSource(&start, source, &req.SourceConditions)
	} else {
		err = r.openRemote(&start, source)
	}
	if err != nil {
		return err
	}
	done, err := r.account.StartCopy(ref, &start)
	if err != nil {
		return err
	}
	r.replyCopy(&done)
	return nil
}

// openSource looks at a blob of another account.
func (r *request) openSource(start *blobstore.StartCopy, source copySource, c *cond.Conditions) error {
	info, err := source.account.BlobInfo(source.ref, &blobstore.Access{Conditions: *c})
	if err == nil {
		err = cmp.Or(info.CheckReadable(), info.CheckOnline())
	}
	if err != nil {
		return r.sourceError(err)
	}
	start.Type, start.Appended = info.Type, info.Appended
	start.Size, start.Sequence, start.HTTPHeaders = info.Size, info.Sequence, info.HTTPHeaders
	if len(start.Metadata) == 0 {
		start.Metadata = info.Metadata
	}
	start.Source = source.account.NewCopySource(source.ref, &blobstore.Access{Conditions: cond.Match(info.ETag)})
	return nil
}

// openRemote looks at a blob of another server.
func (r *request) openRemote(start *blobstore.StartCopy, source copySource) error {
	var b *remoteBlob
	err := r.aside(func() (err error) {
		b, err = r.s.fetcher.open(r.s.fetcher.ctx, source.remote, r.sourceConditions())
		return err
	})
	if err != nil {
		return r.remoteError(err)
	}
	start.Type, start.Appended = b.typ, b.appended
	start.Size, start.Sequence, start.HTTPHeaders, start.Source = b.size, b.sequence, b.headers, b
	if len(start.Metadata) == 0 {
		start.Metadata = b.metadata
	}
	return nil
}

// putPageFromURL: Put Page From URL.
func (r *request) putPageFromURL() error {
	if r.framing.length > 0 {
		return azerr.BadHeader(bodyHeader, strconv.FormatInt(r.framing.length, 10))
	}
	req := blobstore.PutPages{}
	ref, err := r.pageWrite(&req.Access, &req.Sequence, &req.Range)
	if err != nil {
		return err
	}
	source, from, sent, err := r.pageSource(req.Range.Len())
	if err != nil {
		return err
	}
	if req.Body, err = r.readSource(source, from); err != nil {
		return err
	}
	sums, err := sent.Verify(req.Body)
	if err != nil {
		return err
	}
	done, err := r.account.PutPages(ref, &req)
	if err != nil {
		return err
	}
	r.replyPages(&done)
	r.setEncrypted("x-ms-request-server-encrypted")
	r.setVerified(&sums, req.Body)
	return nil
}

// pageSource reads which bytes are wanted of the source, which must be as many as are written, and their checksum.
func (r *request) pageSource(n int64) (src copySource, from header.Range, sent header.Checksum, err error) {
	if n > blobstore.PutPagesMax {
		return src, from, sent, azerr.RequestBodyTooLarge.With("MaxLimit", strconv.Itoa(blobstore.PutPagesMax))
	}
	if !r.headers.Has(header.XMsSourceRange) {
		return src, from, sent, azerr.MissingHeader(header.XMsSourceRange.String())
	}
	from, ok := header.ParseRange(r.headers.Get(header.XMsSourceRange))
	if !ok || from.Len() != n {
		return src, from, sent, azerr.BadHeader(header.XMsSourceRange.String(), r.headers.String(header.XMsSourceRange))
	}
	if sent, err = header.ParseSourceChecksum(&r.headers); err != nil {
		return src, from, sent, err
	}
	src, err = r.copySource()
	return src, from, sent, err
}

// readSource reads a part of the source into the request's body, if the source is as the request expects.
func (r *request) readSource(src copySource, from header.Range) (body []byte, err error) {
	var acc blobstore.Access
	if acc.Conditions, err = cond.ParseSource(&r.headers); err != nil {
		return nil, err
	}
	if src.account == nil {
		if err := r.roomForSource(from.Len(), r.s.sources); err != nil {
			return nil, err
		}
		err := r.aside(func() error {
			return r.s.fetcher.read(r.s.fetcher.ctx, src.remote, r.sourceConditions(), r.body, from.Start)
		})
		return r.body, r.remoteError(err)
	}
	source, err := src.account.OpenBlob(src.ref, &acc)
	if err != nil {
		return nil, r.sourceError(err)
	}
	defer func() {
		if e := source.Close(); err == nil {
			err = e
		}
	}()
	if from.End > source.Info().Size {
		return nil, azerr.InvalidRange
	}
	if err := r.roomForSource(from.Len(), r.s.uploads); err != nil {
		return nil, err
	}
	_, err = source.ReadAt(r.body, from.Start)
	if errors.Is(err, io.EOF) { // after the last byte
		err = nil
	}
	return r.body, err
}

// aside waits for another server without being one of the requests that are carried out. An error ends the request: after
// it r may have no place among them.
func (r *request) aside(wait func() error) error {
	r.stepAside()
	if err := wait(); err != nil {
		return err
	}
	return r.stepUp()
}

// roomForSource makes r.body n bytes long, to be read from a source.
func (r *request) roomForSource(n int64, of *budget) error {
	r.stepAside() // first the memory, then the place, as for a body that is sent
	if !r.makeBody(n, of, r.s.patience) {
		return azerr.ServerBusy
	}
	return r.stepUp()
}

// abortCopyBlob: Abort Copy Blob.
func (r *request) abortCopyBlob() error {
	action := r.headers.Get(header.XMsCopyAction)
	switch {
	case !r.headers.Has(header.XMsCopyAction):
		return azerr.MissingHeader(header.XMsCopyAction.String())
	case !header.EqualFold(action, "abort"):
		return azerr.BadHeader(header.XMsCopyAction.String(), string(action))
	}
	id, err := r.query.One("copyid")
	if err != nil {
		return err
	}
	if _, err := header.ParseLeaseID(id); err != nil {
		return azerr.BadQuery("copyid", string(id), "not a GUID")
	}
	ref, acc, err := r.refAccess()
	if err != nil {
		return err
	}
	if err := r.account.AbortCopy(ref, &acc, strings.ToLower(string(id))); err != nil {
		return err
	}
	r.begin(204)
	return nil
}

// incrementalCopyBlob: Incremental Copy Blob.
func (r *request) incrementalCopyBlob() error {
	if r.framing.length > 0 {
		return azerr.BadHeader(bodyHeader, strconv.FormatInt(r.framing.length, 10))
	}
	if !r.headers.Has(header.XMsCopySource) {
		return azerr.MissingHeader(header.XMsCopySource.String())
	}
	ref, acc, err := r.refAccess()
	if err != nil {
		return err
	}
	source, err := r.copySource()
	if err != nil {
		return err
	}
	req := blobstore.IncrementalCopy{Access: acc, From: source.account, Source: source.ref, SourceURL: source.shown}
	if source.account == nil {
		if req.Remote, err = r.openSnapshot(source.remote); err != nil {
			return err
		}
	}
	done, err := r.account.StartIncrementalCopy(ref, &req)
	if err != nil {
		return r.copyError(err)
	}
	r.replyCopy(&done)
	return nil
}

// setCopy says of which copy a blob is the result.
func (r *request) setCopy(c *blobstore.CopyInfo) {
	if c == nil {
		return
	}
	r.setString("x-ms-copy-id", c.ID)
	r.setString("x-ms-copy-source", c.Source)
	r.setString("x-ms-copy-status", c.Status.String())
	r.setString("x-ms-copy-progress", strconv.FormatInt(c.Copied, 10)+"/"+strconv.FormatInt(c.Bytes, 10))
	if c.Status != blobstore.CopyPending {
		r.setTime("x-ms-copy-completion-time", c.Completed)
	}
	if c.Description != "" {
		r.setString("x-ms-copy-status-description", c.Description)
	}
	if c.Incremental {
		r.setString("x-ms-incremental-copy", "true")
	}
	if c.Destination != "" {
		r.setString("x-ms-copy-destination-snapshot", c.Destination)
	}
}
