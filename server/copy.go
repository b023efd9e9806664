package server

import (
	"bytes"
	"errors"
	"io"
	"strconv"

	"pagevault/blobstore"
	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/cond"
	"pagevault/internal/azure/header"
	"pagevault/internal/azure/query"
)

// copySourceMax is Azure's limit for x-ms-copy-source.
const copySourceMax = 2 << 10

// copyBlob: Copy Blob, within an account. The reply goes out when the copy is whole.
func (r *request) copyBlob() error {
	if r.framing.length > 0 {
		return azerr.BadHeader(bodyHeader, strconv.FormatInt(r.framing.length, 10))
	}
	ref, acc, err := r.refAccess()
	if err != nil {
		return err
	}
	req := blobstore.CopyBlob{Access: acc, SourceURL: r.headers.String(header.XMsCopySource)}
	if req.Source, err = r.copySource(); err != nil {
		return err
	}
	if req.SourceConditions, err = cond.ParseSource(&r.headers); err != nil {
		return err
	}
	if req.Metadata, err = header.ParseMetadata(&r.headers); err != nil {
		return err
	}
	if req.Tags, err = header.Tags(&r.headers); err != nil {
		return err
	}
	done, err := r.account.CopyBlob(r.ctx, ref, &req)
	if err != nil {
		return err
	}
	r.begin(202)
	r.setStamp(done.Stamp)
	r.setString("x-ms-copy-id", done.ID)
	r.setString("x-ms-copy-status", "success")
	return nil
}

// putPageFromURL: Put Page From URL, within an account.
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
func (r *request) pageSource(n int64) (ref blobstore.BlobRef, from header.Range, sent header.Checksum, err error) {
	if n > blobstore.PutPagesMax {
		return ref, from, sent, azerr.RequestBodyTooLarge.With("MaxLimit", strconv.Itoa(blobstore.PutPagesMax))
	}
	if !r.headers.Has(header.XMsSourceRange) {
		return ref, from, sent, azerr.MissingHeader(header.XMsSourceRange.String())
	}
	from, ok := header.ParseRange(r.headers.Get(header.XMsSourceRange))
	if !ok || from.Len() != n {
		return ref, from, sent, azerr.BadHeader(header.XMsSourceRange.String(), r.headers.String(header.XMsSourceRange))
	}
	if sent, err = header.ParseSourceChecksum(&r.headers); err != nil {
		return ref, from, sent, err
	}
	ref, err = r.copySource()
	return ref, from, sent, err
}

// readSource reads a part of the source into the request's body, if the source is as the request expects.
func (r *request) readSource(ref blobstore.BlobRef, from header.Range) (body []byte, err error) {
	var acc blobstore.Access
	if acc.Conditions, err = cond.ParseSource(&r.headers); err != nil {
		return nil, err
	}
	source, err := r.account.OpenBlob(ref, &acc)
	if err != nil {
		return nil, sourceError(err)
	}
	defer func() {
		if e := source.Close(); err == nil {
			err = e
		}
	}()
	if from.End > source.Info().Size {
		return nil, azerr.InvalidRange
	}
	r.stepAside() // first the memory, then the place, as for a body that is sent
	if !r.s.uploads.Acquire(from.Len(), uploadPatience) {
		return nil, azerr.ServerBusy
	}
	r.budget = from.Len()
	if err := r.stepUp(); err != nil {
		return nil, err
	}
	r.body = r.s.buffers.Get(int(from.Len()))
	_, err = source.ReadAt(r.body, from.Start)
	if errors.Is(err, io.EOF) { // after the last byte
		err = nil
	}
	return r.body, err
}

// sourceError is what the failure to open a source is for the destination.
func sourceError(err error) error {
	switch azerr.From(err).Code {
	case azerr.BlobNotFound, azerr.ContainerNotFound:
		return azerr.CannotVerifyCopySource.Because(err)
	case azerr.ConditionNotMet, azerr.NotModified, azerr.UnsatisfiableCondition:
		return azerr.SourceConditionNotMet
	}
	return err
}

// copySource returns the blob or snapshot that x-ms-copy-source names, which must be of the account that the request is
// addressed to, at the address it goes to: no other server is ever asked for anything. A request that is signed with
// the account's key may read all of it, one with a bearer token what the user's roles allow. Any other request, and a source
// that brings a signature of its own, is refused: nobody has looked at what that allows.
func (r *request) copySource() (ref blobstore.BlobRef, err error) {
	url := r.headers.Get(header.XMsCopySource)
	bad := azerr.BadHeader(header.XMsCopySource.String(), string(url))
	scheme, rest, ok := bytes.Cut(url, []byte("://"))
	if !ok || len(url) > copySourceMax || !visible(url) ||
		!header.EqualFold(scheme, "http") && !header.EqualFold(scheme, "https") {
		return ref, bad
	}
	authority := rest
	if i := bytes.IndexAny(rest, "/?#"); i >= 0 {
		authority = rest[:i]
	}
	var t target
	if t.parse(url, nil, r.s.addressing) != nil {
		return ref, bad
	}
	if !sameHost(authority, r.ctx.Request.Header.Host()) || !bytes.Equal(t.account, r.target.account) {
		return ref, azerr.CopyAcrossAccountsNotSupported
	}
	switch {
	case t.segments == 0, t.segments == 1 && t.slash:
		return ref, bad
	case t.segments == 1:
		t.container, t.blob = rootContainer, t.container
	}
	ref = blobstore.BlobRef{Container: t.container, Blob: t.blob}
	var q query.Set
	if q.Parse(t.rawQuery) != nil {
		return ref, bad
	}
	if q.Has("sig") || !r.readsSources(t.container) {
		return ref, azerr.CannotVerifyCopySource.With("CopySourceErrorMessage",
			"Only the account's own key, with which the request itself is signed, or a role of who asks opens a source.")
	}
	for _, p := range q.Params() {
		if string(p.Name) != "snapshot" {
			return ref, bad
		}
	}
	snapshot, err := q.One("snapshot")
	if _, ok := blobstore.NormalizeSnapshot(string(snapshot)); err != nil || !ok && q.Has("snapshot") {
		return ref, bad
	}
	ref.Snapshot = string(snapshot)
	return ref, nil
}

// sameHost reports whether two authorities are the same, letter case aside.
func sameHost(a, b []byte) bool { return len(a) > 0 && bytes.EqualFold(a, b) }

// abortCopyBlob: Abort Copy Blob. A copy is complete when it is answered, so there is never one to abort.
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
	if _, err := r.account.BlobInfo(ref, &acc); err != nil {
		return err
	}
	return azerr.NoPendingCopyOperation
}

// setCopy says of which copy a blob is the result.
func (r *request) setCopy(c *blobstore.CopyInfo) {
	if c == nil {
		return
	}
	n := strconv.FormatInt(c.Bytes, 10)
	r.setString("x-ms-copy-id", c.ID)
	r.setString("x-ms-copy-source", c.Source)
	r.setString("x-ms-copy-status", "success")
	r.setString("x-ms-copy-progress", n+"/"+n)
	r.setTime("x-ms-copy-completion-time", c.Completed)
}
