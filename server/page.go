package server

import (
	"bytes"
	"math"
	"strconv"

	"pagevault/blobstore"
	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/cond"
	"pagevault/internal/azure/header"
	"pagevault/internal/azure/query"
	"pagevault/internal/azure/xmlbody"
	"pagevault/internal/azure/xsm"
)

// pagingVersion is the first service version that pages the lists of Get Page Ranges; older clients get all at once.
const pagingVersion = "2020-10-02"

// putPageBlob: Put Blob of a page blob, which makes it or makes it anew.
func (r *request) putPageBlob() error {
	if r.framing.length > 0 {
		return azerr.BadHeader(bodyHeader, strconv.FormatInt(r.framing.length, 10))
	}
	ref, acc, err := r.refAccess()
	if err != nil {
		return err
	}
	req := blobstore.CreatePageBlob{Access: acc}
	var sized bool
	if req.Size, sized, err = header.PageLength(&r.headers); err != nil {
		return err
	}
	if !sized {
		return azerr.MissingHeader(header.XMsBlobContentLength.String())
	}
	if req.Sequence, _, err = header.Int(&r.headers, header.XMsBlobSequenceNumber, 0, math.MaxInt64); err != nil {
		return err
	}
	if req.HTTPHeaders, _, err = r.httpHeaders(true); err != nil {
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
	stamp, err := r.account.CreatePageBlob(ref, &req)
	if err != nil {
		return err
	}
	r.begin(201)
	r.setStamp(stamp)
	r.setEncrypted("x-ms-request-server-encrypted")
	return nil
}

// putPage: Put Page, update. The reply goes out after the pages are on disk on every member.
func (r *request) putPage() error {
	req := blobstore.PutPages{}
	ref, err := r.pageWrite(&req.Access, &req.Sequence, &req.Range)
	if err != nil {
		return err
	}
	var sums header.Verified
	if r.structured() {
		req.Body, sums, err = r.readMessage(req.Range.Len(), blobstore.PutPagesMax)
	} else {
		req.Body, sums, err = r.readPages(req.Range.Len())
	}
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
	if r.structured() {
		r.setString("x-ms-structured-body", xsm.Value) // clients look for it
	}
	return nil
}

// readPages returns the body, which must be of n bytes, and its checksums.
func (r *request) readPages(n int64) (body []byte, sums header.Verified, err error) {
	if r.framing.length >= 0 && r.framing.length != n {
		return nil, sums, azerr.BadHeader(bodyHeader, strconv.FormatInt(r.framing.length, 10))
	}
	sent, err := header.ParseChecksum(&r.headers)
	if err != nil {
		return nil, sums, err
	}
	if body, err = r.readBody(blobstore.PutPagesMax); err != nil {
		return nil, sums, err
	}
	sums, err = sent.Verify(body)
	return body, sums, err
}

// clearPages: Put Page, clear.
func (r *request) clearPages() error {
	if r.framing.length > 0 {
		return azerr.BadHeader(bodyHeader, strconv.FormatInt(r.framing.length, 10))
	}
	req := blobstore.ClearPages{}
	ref, err := r.pageWrite(&req.Access, &req.Sequence, &req.Range)
	if err != nil {
		return err
	}
	done, err := r.account.ClearPages(ref, &req)
	if err != nil {
		return err
	}
	r.replyPages(&done)
	return nil
}

// pageWrite reads what both kinds of page write have in common.
func (r *request) pageWrite(acc *blobstore.Access, seq *cond.Sequence, rg *header.Range) (ref blobstore.BlobRef, err error) {
	if *rg, err = header.ParsePageRange(&r.headers); err != nil {
		return ref, err
	}
	if *seq, err = cond.ParseSequence(&r.headers); err != nil {
		return ref, err
	}
	ref, *acc, err = r.refAccess()
	return ref, err
}

// replyPages begins the reply to a page write.
func (r *request) replyPages(done *blobstore.PutPagesResult) {
	r.begin(201)
	r.setStamp(done.Stamp)
	r.setInt("x-ms-blob-sequence-number", done.Sequence)
}

// getPageRanges: Get Page Ranges.
func (r *request) getPageRanges() error { return r.pageRanges("") }

// getPageRangesDiff: Get Page Ranges Diff.
func (r *request) getPageRangesDiff() error {
	prev, err := r.previousSnapshot()
	if err != nil {
		return err
	}
	return r.pageRanges(prev)
}

// previousSnapshot returns the snapshot to compare with, from the query or from the URL that clients of managed disks
// send, which must be a URL of a snapshot of this blob.
func (r *request) previousSnapshot() (string, error) {
	inQuery, err := r.query.One("prevsnapshot")
	if err != nil {
		return "", err
	}
	if !r.headers.Has(header.XMsPreviousSnapshotURL) {
		if len(inQuery) == 0 {
			return "", azerr.BadQuery("prevsnapshot", "", "not the id of a snapshot")
		}
		return string(inQuery), nil
	}
	url := r.headers.Get(header.XMsPreviousSnapshotURL)
	bad := azerr.BadHeader(header.XMsPreviousSnapshotURL.String(), string(url))
	if r.query.Has("prevsnapshot") || len(url) == 0 || url[0] == '/' {
		return "", bad
	}
	var t target
	if t.parse(url, nil, r.s.addressing) != nil {
		return "", bad
	}
	if t.segments == 1 {
		t.container, t.blob = rootContainer, t.container
	}
	if !bytes.Equal(t.account, r.target.account) || t.container != r.target.container || t.blob != r.target.blob {
		return "", bad
	}
	var q query.Set
	if q.Parse(t.rawQuery) != nil {
		return "", bad
	}
	snapshot, err := q.One("snapshot")
	if _, ok := blobstore.NormalizeSnapshot(string(snapshot)); err != nil || !ok {
		return "", bad
	}
	return string(snapshot), nil
}

// pageRanges lists the pages that are valid, or those that changed since the snapshot prev.
func (r *request) pageRanges(prev string) error {
	ref, acc, err := r.refAccess()
	if err != nil {
		return err
	}
	req := blobstore.PageRangesRequest{Access: acc, PrevSnapshot: prev, MaxResults: blobstore.AllPageRanges}
	if rg, ok := header.ReadRange(&r.headers); ok {
		req.Range = &rg
	}
	paging := string(r.version) >= pagingVersion
	if paging {
		if req.MaxResults, err = r.maxResults(); err != nil {
			return err
		}
		marker, err := r.query.One("marker")
		if err != nil {
			return err
		}
		req.Marker = string(marker)
	}
	list, err := r.account.PageRanges(ref, &req)
	if err != nil {
		if azerr.From(err).Code == azerr.InvalidRange {
			r.out = header.AppendUnsatisfiedRange(r.out[:0], list.Size)
			r.set("Content-Range", r.out)
		}
		return r.readError(ref, err)
	}
	r.begin(200)
	r.setStamp(list.Stamp)
	r.setInt("x-ms-blob-content-length", list.Size)
	r.xml(func(dst []byte) []byte {
		dst = xmlbody.BeginPageList(dst)
		for _, e := range list.Entries {
			dst = xmlbody.AppendPageRange(dst, e.Start, e.End, e.Clear)
		}
		return xmlbody.EndPageList(dst, paging, list.NextMarker)
	})
	return nil
}
