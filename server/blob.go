package server

import (
	"crypto/md5"
	"encoding/base64"
	"errors"
	"math"
	"strconv"

	"pagevault/blobstore"
	"pagevault/blobstore/lease"
	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/cond"
	"pagevault/internal/azure/header"
)

// ref returns the blob, snapshot or version that the request is addressed to.
func (r *request) ref() (ref blobstore.BlobRef, err error) {
	snapshot, err := r.query.One("snapshot")
	if err != nil {
		return ref, err
	}
	ref = blobstore.BlobRef{Container: r.target.container, Blob: r.target.blob, Snapshot: string(snapshot)}
	ref.Version, err = versionAsked(&r.query)
	return ref, err
}

// access returns what the request expects of a blob.
func (r *request) access() (acc blobstore.Access, err error) {
	if acc.LeaseID, err = header.LeaseID(&r.headers, header.XMsLeaseID); err != nil {
		return acc, err
	}
	acc.CreateOnly = r.createOnly
	acc.Conditions, err = cond.Parse(&r.headers)
	return acc, err
}

// refAccess returns both.
func (r *request) refAccess() (ref blobstore.BlobRef, acc blobstore.Access, err error) {
	if ref, err = r.ref(); err != nil {
		return ref, acc, err
	}
	acc, err = r.access()
	return ref, acc, err
}

// setStamp says which state of the resource the reply is about.
func (r *request) setStamp(s blobstore.Stamp) {
	r.out = s.ETag.Append(r.out[:0])
	r.set("ETag", r.out)
	r.setTime("Last-Modified", s.LastModified)
	if s.Version != "" {
		r.setString("x-ms-version-id", s.Version)
	}
}

// setMetadata sends metadata back in the case in which it came.
func (r *request) setMetadata(meta []header.Pair) {
	for _, p := range meta {
		r.setString("x-ms-meta-"+p.Name, p.Value)
	}
}

// setLease describes a lease.
func (r *request) setLease(l lease.Info) {
	r.setString("x-ms-lease-status", leaseStatus(l))
	r.setString("x-ms-lease-state", l.Status.String())
	if d := l.Duration(); d != "" {
		r.setString("x-ms-lease-duration", d)
	}
}

// leaseStatus returns x-ms-lease-status.
func leaseStatus(l lease.Info) string {
	if l.Status.Locked() {
		return "locked"
	}
	return "unlocked"
}

// setBlob sends a blob's properties but for its length and MD5, which depend on the range that is sent.
func (r *request) setBlob(b *blobstore.BlobInfo) {
	r.setStamp(b.Stamp)
	r.setString("Accept-Ranges", "bytes")
	for _, h := range [...]struct{ name, value string }{
		{"Content-Type", b.ContentType},
		{"Content-Encoding", b.ContentEncoding},
		{"Content-Language", b.ContentLanguage},
		{"Content-Disposition", b.ContentDisposition},
		{"Cache-Control", b.CacheControl},
	} {
		for _, o := range r.overrides {
			if o.Name == h.name && o.Value != "" {
				h.value = o.Value
			}
		}
		if h.value != "" {
			r.setString(h.name, h.value)
		}
	}
	r.setTime("x-ms-creation-time", b.Created)
	r.setString("x-ms-blob-type", b.Type.String())
	switch b.Type {
	case blobstore.PageBlob:
		r.setInt("x-ms-blob-sequence-number", b.Sequence)
	case blobstore.AppendBlob:
		r.setAppended(b)
	}
	r.setCurrent(b)
	if !b.Frozen() {
		r.setLease(b.Lease)
	}
	r.setCopy(b.Copy)
	r.setProtection(&b.Protection)
	r.setTier(b)
	r.setEncrypted("x-ms-server-encrypted")
	if len(b.Tags) > 0 {
		r.setInt("x-ms-tag-count", int64(len(b.Tags)))
	}
	r.setMetadata(b.Metadata)
}

// setMD5 sends 16 bytes of MD5, if there are any, as base64.
func (r *request) setMD5(name string, sum []byte) {
	if len(sum) > 0 {
		r.out = base64.StdEncoding.AppendEncode(r.out[:0], sum)
		r.set(name, r.out)
	}
}

// readError completes the reply to a read that failed: 304 says which state of the blob the client has.
func (r *request) readError(ref blobstore.BlobRef, err error) error {
	if errors.Is(err, azerr.NotModified) {
		if info, e := r.account.BlobInfo(ref, &blobstore.Access{}); e == nil {
			r.setStamp(info.Stamp)
		}
	}
	return err
}

// getBlob: Get Blob.
func (r *request) getBlob() error {
	ref, acc, err := r.refAccess()
	if err != nil {
		return err
	}
	ask, err := r.rangeAsked()
	if err != nil {
		return err
	}
	rd, err := r.account.OpenBlob(ref, &acc)
	if err != nil {
		return r.readError(ref, err)
	}
	info := rd.Info()
	if err := ask.fit(r, info.Size); err != nil || ask.Len() == 0 {
		if e := rd.Close(); err == nil {
			err = e
		}
		if err == nil {
			r.replyBlob(info, &ask, nil)
			err = r.replyEmptyMessage(&ask)
		}
		return err
	}
	d, err := r.openDownload(rd, &ask)
	if err != nil {
		return err
	}
	r.replyBlob(info, &ask, d.buf)
	length := ask.Len()
	if ask.framed {
		d.frame, length = r.frame(length)
	}
	r.ctx.Response.SetBodyStream(d, int(length))
	return nil
}

// asked is the part of a blob that a request wants.
type asked struct {
	header.Range
	partial    bool // there is a range, so the reply is 206
	md5, crc64 bool // with a checksum of the part
	framed     bool // as a structured message
}

// rangeAsked reads the range and what goes with it. A range that cannot be read is as good as none.
func (r *request) rangeAsked() (a asked, err error) {
	a.Range = header.Range{End: math.MaxInt64}
	if rg, ok := header.ReadRange(&r.headers); ok {
		a.Range, a.partial = rg, true
	}
	if a.framed, err = r.messageAsked(); err != nil {
		return a, err
	}
	if a.md5, err = header.Bool(&r.headers, header.XMsRangeGetContentMD5); err != nil {
		return a, err
	}
	if a.crc64, err = header.Bool(&r.headers, header.XMsRangeGetContentCRC64); err != nil {
		return a, err
	}
	switch {
	case a.md5 && a.crc64:
		return a, azerr.BadHeader(header.XMsRangeGetContentCRC64.String(), "true")
	case a.md5 && !a.partial:
		return a, azerr.BadHeader(header.XMsRangeGetContentMD5.String(), "true")
	case a.crc64 && !a.partial:
		return a, azerr.BadHeader(header.XMsRangeGetContentCRC64.String(), "true")
	}
	return a, nil
}

// fit cuts what is asked for down to a blob of that size.
func (a *asked) fit(r *request, size int64) error {
	if a.partial && a.Start >= size {
		r.out = header.AppendUnsatisfiedRange(r.out[:0], size)
		r.set("Content-Range", r.out)
		return azerr.InvalidRange
	}
	a.End = min(a.End, size)
	switch {
	case a.md5 && a.Len() > downloadSmall:
		return azerr.BadHeader(header.XMsRangeGetContentMD5.String(), "true")
	case a.crc64 && a.Len() > downloadSmall:
		return azerr.BadHeader(header.XMsRangeGetContentCRC64.String(), "true")
	}
	return nil
}

// replyBlob makes the headers of a reply to Get Blob. part is the whole of what is asked for, or its first piece.
func (r *request) replyBlob(b *blobstore.BlobInfo, a *asked, part []byte) {
	if !a.partial {
		r.begin(200)
		r.setBlob(b)
		r.setMD5("Content-MD5", b.ContentMD5)
		return
	}
	r.begin(206)
	r.setBlob(b)
	r.out = header.AppendContentRange(r.out[:0], a.Range, b.Size)
	r.set("Content-Range", r.out)
	r.setMD5("x-ms-blob-content-md5", b.ContentMD5)
	if a.md5 {
		r.setSum(md5.Sum(part))
	}
	if a.crc64 {
		r.setCRC64(header.CRC64(part))
	}
}

// getBlobProperties: Get Blob Properties, which is HEAD.
func (r *request) getBlobProperties() error {
	info, err := r.blobInfo()
	if err != nil {
		return err
	}
	r.begin(200)
	r.setBlob(&info)
	r.setMD5("Content-MD5", info.ContentMD5)
	r.ctx.Response.Header.SetContentLength(int(info.Size))
	return nil
}

// getBlobMetadata: Get Blob Metadata.
func (r *request) getBlobMetadata() error {
	info, err := r.blobInfo()
	if err == nil {
		err = info.CheckReadable()
	}
	if err != nil {
		return err
	}
	r.begin(200)
	r.setStamp(info.Stamp)
	r.setCurrent(&info)
	r.setMetadata(info.Metadata)
	return nil
}

func (r *request) blobInfo() (blobstore.BlobInfo, error) {
	ref, acc, err := r.refAccess()
	if err != nil {
		return blobstore.BlobInfo{}, err
	}
	info, err := r.account.BlobInfo(ref, &acc)
	return info, r.readError(ref, err)
}

// setBlobMetadata: Set Blob Metadata.
func (r *request) setBlobMetadata() error {
	ref, acc, err := r.refAccess()
	if err != nil {
		return err
	}
	meta, err := header.ParseMetadata(&r.headers)
	if err != nil {
		return err
	}
	stamp, err := r.account.SetBlobMetadata(ref, &acc, meta)
	if err != nil {
		return err
	}
	r.begin(200)
	r.setStamp(stamp)
	r.setEncrypted("x-ms-request-server-encrypted")
	return nil
}

// The headers that set a blob's HTTP headers. A plain one counts in Put Blob only, and where the other is absent.
var httpHeaders = [...]struct {
	special, plain header.ID
	field          func(h *blobstore.HTTPHeaders) *string
}{
	{header.XMsBlobContentType, header.ContentType, func(h *blobstore.HTTPHeaders) *string { return &h.ContentType }},
	{header.XMsBlobContentEncoding, header.ContentEncoding, func(h *blobstore.HTTPHeaders) *string { return &h.ContentEncoding }},
	{header.XMsBlobContentLanguage, header.ContentLanguage, func(h *blobstore.HTTPHeaders) *string { return &h.ContentLanguage }},
	{header.XMsBlobCacheControl, header.CacheControl, func(h *blobstore.HTTPHeaders) *string { return &h.CacheControl }},
	{header.XMsBlobContentDisposition, 0, func(h *blobstore.HTTPHeaders) *string { return &h.ContentDisposition }},
}

// httpHeaders reads the HTTP headers that a blob is to have and reports whether any was given.
func (r *request) httpHeaders(plain bool) (h blobstore.HTTPHeaders, given bool, err error) {
	for _, f := range httpHeaders {
		switch {
		case r.headers.Has(f.special):
			*f.field(&h), given = r.headers.String(f.special), true
		case plain && f.plain != 0:
			*f.field(&h) = r.headers.String(f.plain)
		}
	}
	if r.headers.Has(header.XMsBlobContentMD5) {
		given = true
		if v := r.headers.Get(header.XMsBlobContentMD5); len(v) > 0 { // empty clears it
			var sum [md5.Size]byte
			sum, err = header.ParseMD5(v)
			h.ContentMD5 = sum[:]
		}
	}
	return h, given, err
}

// setBlobProperties: Set Blob Properties, which also resizes and numbers page blobs.
func (r *request) setBlobProperties() error {
	ref, acc, err := r.refAccess()
	if err != nil {
		return err
	}
	req := blobstore.SetProperties{Access: acc}
	headers, given, err := r.httpHeaders(false)
	if err != nil {
		return err
	}
	if given {
		req.Headers = &headers
	}
	if req.Size.Value, req.Size.Given, err = header.PageLength(&r.headers); err != nil {
		return err
	}
	if req.Action, err = r.sequenceAction(); err != nil {
		return err
	}
	if req.Sequence.Value, req.Sequence.Given, err = header.Int(&r.headers, header.XMsBlobSequenceNumber, 0, math.MaxInt64); err != nil {
		return err
	}
	done, err := r.account.SetBlobProperties(ref, &req)
	if err != nil {
		return err
	}
	r.begin(200)
	r.setStamp(done.Stamp)
	if done.Type == blobstore.PageBlob {
		r.setInt("x-ms-blob-sequence-number", done.Sequence)
	}
	return nil
}

func (r *request) sequenceAction() (blobstore.SequenceAction, error) {
	if !r.headers.Has(header.XMsSequenceNumberAction) {
		return blobstore.SequenceKeep, nil
	}
	v := r.headers.Get(header.XMsSequenceNumberAction)
	for a := blobstore.SequenceMax; a <= blobstore.SequenceIncrement; a++ {
		if header.EqualFold(v, a.String()) {
			return a, nil
		}
	}
	return 0, azerr.BadHeader(header.XMsSequenceNumberAction.String(), string(v))
}

// deleteBlob: Delete Blob.
func (r *request) deleteBlob() error {
	ref, acc, err := r.refAccess()
	if err != nil {
		return err
	}
	mode := blobstore.SnapshotsNone
	if r.headers.Has(header.XMsDeleteSnapshots) {
		v := r.headers.Get(header.XMsDeleteSnapshots)
		switch {
		case header.EqualFold(v, "include"):
			mode = blobstore.SnapshotsInclude
		case header.EqualFold(v, "only"):
			mode = blobstore.SnapshotsOnly
		default:
			return azerr.BadHeader(header.XMsDeleteSnapshots.String(), string(v))
		}
	}
	permanent, err := r.deletePermanently()
	if err != nil {
		return err
	}
	kept, err := r.account.Delete(ref, &blobstore.DeleteBlob{Access: acc, Snapshots: mode, Permanent: permanent})
	if err != nil {
		return err
	}
	r.begin(202)
	r.setString("x-ms-delete-type-permanent", strconv.FormatBool(!kept))
	return nil
}

// snapshotBlob: Snapshot Blob.
func (r *request) snapshotBlob() error {
	ref, acc, err := r.refAccess()
	if err != nil {
		return err
	}
	meta, err := header.ParseMetadata(&r.headers)
	if err != nil {
		return err
	}
	snap, err := r.account.SnapshotBlob(ref, &acc, meta)
	if err != nil {
		return err
	}
	r.begin(201)
	r.setString("x-ms-snapshot", snap.Snapshot)
	r.setStamp(snap.Stamp)   // with the id of the version that was made beside it
	written := len(meta) > 0 // else nothing but a name
	r.setString("x-ms-request-server-encrypted", strconv.FormatBool(written && r.account.Encrypted()))
	return nil
}
