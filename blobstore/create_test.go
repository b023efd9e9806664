package blobstore

import (
	"bytes"
	"reflect"
	"testing"
	"time"

	"pagevault/blobstore/lease"
	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/header"
)

func TestCreate(t *testing.T) {
	f := newFixture(t)
	req := CreatePageBlob{
		HTTPHeaders: HTTPHeaders{
			ContentType: "text/plain", ContentEncoding: "gzip", ContentLanguage: "de", ContentDisposition: "inline",
			CacheControl: "no-cache", ContentMD5: []byte("0123456789abcdef"),
		},
		Metadata: []header.Pair{{Name: "Owner", Value: "me"}, {Name: "b", Value: ""}},
		Size:     1 << 20,
		Sequence: 7,
	}
	stamp := value(f.CreatePageBlob(ref("b"), &req))(t)
	want := BlobInfo{
		Name: "b", Type: PageBlob, Stamp: stamp, Created: stamp.LastModified, Size: 1 << 20, Sequence: 7,
		HTTPHeaders: req.HTTPHeaders, Metadata: req.Metadata, Lease: lease.Info{Status: lease.Available},
	}
	if got := f.info(ref("b")); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	equal(t, "time of the entity tag", stamp.ETag.Time(), stamp.LastModified)
	equal(t, "time", stamp.LastModified.Sub(goldenTime) < time.Second, true)
	if got := f.content(ref("b")); !bytes.Equal(got, make([]byte, 1<<20)) {
		t.Error("a new blob is not zeros")
	}
	equal(t, "ranges of a new blob", f.ranges(ref("b"), PageRangesRequest{}), "")

	f.create("plain", 0)
	got := f.info(ref("plain"))
	equal(t, "default type", got.ContentType, "application/octet-stream")
	equal(t, "size", got.Size, 0)
	equal(t, "metadata", len(got.Metadata), 0)
}

func TestCreateRefused(t *testing.T) {
	f := newFixture(t)
	try := func(what string, r BlobRef, req CreatePageBlob, want azerr.Code) {
		t.Helper()
		_, err := f.CreatePageBlob(r, &req)
		wantCode(t, what, err, want)
	}
	try("size -512", ref("b"), CreatePageBlob{Size: -512}, azerr.InvalidHeaderValue)
	try("size 511", ref("b"), CreatePageBlob{Size: 511}, azerr.InvalidHeaderValue)
	try("size above the limit", ref("b"), CreatePageBlob{Size: 1<<30 + 512}, azerr.RequestBodyTooLarge)
	try("sequence -1", ref("b"), CreatePageBlob{Sequence: -1}, azerr.InvalidHeaderValue)
	try("snapshot", snap("b", "2026-03-01T12:00:00.0000000Z"), CreatePageBlob{}, azerr.InvalidQueryParameterValue)
	try("no name", ref(""), CreatePageBlob{}, azerr.OutOfRangeInput)
	try("bad container", BlobRef{Container: "No", Blob: "b"}, CreatePageBlob{}, azerr.OutOfRangeInput)
	try("no container", BlobRef{Container: "none", Blob: "b"}, CreatePageBlob{}, azerr.ContainerNotFound)
	try("lease on nothing", ref("b"), CreatePageBlob{Access: holding("a")}, azerr.LeaseNotPresentWithBlobOperation)
	try("If-Match on nothing", ref("b"), CreatePageBlob{Access: with(t, "If-Match", `"0x8DA7BAB2E7E693F"`)}, azerr.ConditionNotMet)
	try("If-Match * on nothing", ref("b"), CreatePageBlob{Access: with(t, "If-Match", "*")}, azerr.ConditionNotMet)
	_, err := f.BlobInfo(ref("b"), &Access{})
	wantCode(t, "after all these", err, azerr.BlobNotFound)

	must(t)(f.CreatePageBlob(ref("b"), &CreatePageBlob{Size: 1 << 30, Access: with(t, "If-None-Match", "*")}))
	try("If-None-Match * on something", ref("b"), CreatePageBlob{Access: with(t, "If-None-Match", "*")}, azerr.BlobAlreadyExists)
	try("other If-Match", ref("b"), CreatePageBlob{Access: with(t, "If-Match", `"0x8DA7BAB2E7E693F"`)}, azerr.ConditionNotMet)
	try("several conditions", ref("b"), CreatePageBlob{Access: with(t, "If-Match", "*", "If-None-Match", "*")}, azerr.MultipleConditionHeadersNotSupported)
	equal(t, "size", f.info(ref("b")).Size, 1<<30)
}

// TestOverwrite: a blob that is created anew has nothing of the old one but snapshots, and snapshots keep the old pages.
func TestOverwrite(t *testing.T) {
	f := newFixture(t)
	first := value(f.CreatePageBlob(ref("b"), &CreatePageBlob{
		Size: 4 * PageSize, Sequence: 9, HTTPHeaders: HTTPHeaders{CacheControl: "x"}, Metadata: []header.Pair{{Name: "a", Value: "b"}},
	}))(t)
	f.put("b", 0, 4, 'a')
	s1 := f.snapshot("b")
	f.put("b", 1, 2, 'b')
	s2 := f.snapshot("b")
	f.clock.Advance(time.Minute)

	second := f.create("b", 2)
	equal(t, "newer entity tag", second.ETag > first.ETag, true)
	got := f.info(ref("b"))
	want := BlobInfo{
		Name: "b", Type: PageBlob, Stamp: second, Created: second.LastModified, Size: 2 * PageSize,
		HTTPHeaders: HTTPHeaders{ContentType: "application/octet-stream"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	equal(t, "content", f.letters(ref("b")), "..")
	equal(t, "first snapshot", f.letters(snap("b", s1)), "aaaa")
	equal(t, "second snapshot", f.letters(snap("b", s2)), "abaa")
	equal(t, "diff of the snapshots", f.ranges(snap("b", s2), PageRangesRequest{PrevSnapshot: s1}), "1-2")
	_, err := f.PageRanges(ref("b"), &PageRangesRequest{PrevSnapshot: s2})
	wantCode(t, "diff across the overwrite", err, azerr.BlobOverwritten)

	s3 := f.snapshot("b")
	equal(t, "snapshots go on", s3 > s2, true)
	wantCode(t, "delete", f.DeleteBlob(ref("b"), &Access{}, SnapshotsNone), azerr.SnapshotsPresent)
}

// TestVolumesGo: a volume lives exactly as long as a blob or snapshot shows it.
func TestVolumesGo(t *testing.T) {
	f := newFixture(t)
	kept := func(what string, counters int) {
		t.Helper()
		equal(t, what+": rows of volumes that only snapshots use", f.rowCount(tableVolume), counters)
	}
	f.create("b", 1)
	f.create("b", 2) // nothing uses the first volume now
	kept("overwritten without snapshots", 0)
	s1, s2 := f.snapshot("b"), f.snapshot("b")
	f.create("b", 3)
	kept("overwritten with snapshots", 1)
	s3 := f.snapshot("b")
	f.create("b", 4)
	kept("overwritten again", 2)
	ok(t, f.DeleteBlob(snap("b", s1), &Access{}, SnapshotsNone))
	kept("one of two deleted", 2)
	ok(t, f.DeleteBlob(snap("b", s2), &Access{}, SnapshotsNone))
	kept("two of two deleted", 1)
	ok(t, f.DeleteBlob(snap("b", s3), &Access{}, SnapshotsNone))
	kept("all deleted", 0)
	ok(t, f.DeleteBlob(ref("b"), &Access{}, SnapshotsNone))
	equal(t, "volumes left in the store", f.volumes(), 0)
	equal(t, "rows left", f.rowCount(tableBlob), 0)
}
