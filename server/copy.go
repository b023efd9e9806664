package server

import (
	"bytes"
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

// copySource returns the blob or snapshot that x-ms-copy-source names, which must be of the account that the request is
// addressed to, at the address it goes to: no other server is ever asked for anything. The signature of the request is
// that of the account's key, which may read all of it. So a request without one, or a source that brings a signature of
// its own, is refused: nobody has looked at what that allows.
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
	if q.Has("sig") || !r.headers.Has(header.Authorization) {
		return ref, azerr.CannotVerifyCopySource.With("CopySourceErrorMessage",
			"Only the account's own key, with which the request itself is signed, opens a source.")
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
