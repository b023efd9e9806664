package blobstore

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"testing"
	"time"

	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/header"
)

func TestPutAndClear(t *testing.T) {
	f := newFixture(t)
	created := f.create("b", 8)
	one := f.put("b", 0, 4, 'a')
	equal(t, "entity tag grows", one.ETag > created.ETag, true)
	equal(t, "content", f.letters(ref("b")), "aaaa....")
	equal(t, "ranges", f.ranges(ref("b"), PageRangesRequest{}), "0-4")
	two := f.wipe("b", 1, 2)
	equal(t, "entity tag grows", two.ETag > one.ETag, true)
	equal(t, "stamp", f.info(ref("b")).Stamp, two.Stamp)
	equal(t, "content", f.letters(ref("b")), "a.aa....")
	equal(t, "ranges", f.ranges(ref("b"), PageRangesRequest{}), "0-1 2-4")
	f.put("b", 5, 6, 0)
	equal(t, "zeros are valid", f.ranges(ref("b"), PageRangesRequest{}), "0-1 2-4 5-6")
	f.put("b", 4, 8, 'z')
	equal(t, "up to the end", f.letters(ref("b")), "a.aazzzz")
	f.wipe("b", 0, 8)
	equal(t, "all cleared", f.ranges(ref("b"), PageRangesRequest{}), "")
	equal(t, "all cleared", f.letters(ref("b")), "........")

	f.create("big", 1<<15)
	body := bytes.Repeat([]byte("0123456789abcdef"), PutPagesMax/16)
	must(t)(f.PutPages(ref("big"), &PutPages{Range: header.Range{Start: 512, End: 512 + PutPagesMax}, Body: body}))
	if got := f.content(ref("big"))[512 : 512+PutPagesMax]; !bytes.Equal(got, body) {
		t.Error("4 MiB are not read back as they were written")
	}
	f.wipe("big", 0, 1<<15) // a clear may be longer than a write
	equal(t, "cleared", f.ranges(ref("big"), PageRangesRequest{}), "")
}

func TestPutPagesRefused(t *testing.T) {
	f := newFixture(t)
	f.create("b", 8)
	before := f.put("b", 0, 8, 'a')
	must(t)(f.SetBlobProperties(ref("b"), &SetProperties{Action: SequenceUpdate, Sequence: Given(5)}))
	before.Stamp = f.info(ref("b")).Stamp

	// Both kinds of write answer alike; the body is made as long as the range.
	try := func(what string, r BlobRef, acc Access, seq []string, from, to int64, want azerr.Code) {
		t.Helper()
		rng := header.Range{Start: from, End: to}
		_, err := f.ClearPages(r, &ClearPages{Access: acc, Sequence: sequence(t, seq...), Range: rng})
		wantCode(t, "clear: "+what, err, want)
		_, err = f.PutPages(r, &PutPages{Access: acc, Sequence: sequence(t, seq...), Range: rng, Body: make([]byte, max(0, to-from))})
		wantCode(t, "put: "+what, err, want)
	}
	none := Access{}
	try("start not aligned", ref("b"), none, nil, 1, 512, azerr.InvalidHeaderValue)
	try("end not aligned", ref("b"), none, nil, 0, 513, azerr.InvalidHeaderValue)
	try("empty", ref("b"), none, nil, 512, 512, azerr.InvalidHeaderValue)
	try("backwards", ref("b"), none, nil, 1024, 512, azerr.InvalidHeaderValue)
	try("negative", ref("b"), none, nil, -512, 512, azerr.InvalidHeaderValue)
	try("no container", BlobRef{Container: "none", Blob: "b"}, none, nil, 0, 512, azerr.ContainerNotFound)
	try("no blob", ref("none"), none, nil, 0, 512, azerr.BlobNotFound)
	try("snapshot", snap("b", f.snapshot("b")), none, nil, 0, 512, azerr.InvalidQueryParameterValue)
	try("malformed snapshot", snap("b", "x"), none, nil, 0, 512, azerr.InvalidQueryParameterValue)
	try("lease that is not there", ref("b"), holding("a"), nil, 0, 512, azerr.LeaseNotPresentWithBlobOperation)
	try("condition", ref("b"), with(t, "If-None-Match", before.ETag.String()), nil, 0, 512, azerr.ConditionNotMet)
	try("two conditions", ref("b"), with(t, "If-Match", "*", "If-None-Match", "*"), nil, 0, 512, azerr.MultipleConditionHeadersNotSupported)
	try("le 4", ref("b"), none, []string{"le", "4"}, 0, 512, azerr.SequenceNumberConditionNotMet)
	try("lt 5", ref("b"), none, []string{"lt", "5"}, 0, 512, azerr.SequenceNumberConditionNotMet)
	try("eq 4", ref("b"), none, []string{"eq", "4"}, 0, 512, azerr.SequenceNumberConditionNotMet)
	try("eq 6", ref("b"), none, []string{"eq", "6"}, 0, 512, azerr.SequenceNumberConditionNotMet)
	try("one of several", ref("b"), none, []string{"eq", "5", "le", "5", "lt", "5"}, 0, 512, azerr.SequenceNumberConditionNotMet)
	try("past the end", ref("b"), none, nil, 8*512, 9*512, azerr.InvalidPageRange)
	try("over the end", ref("b"), none, nil, 7*512, 9*512, azerr.InvalidPageRange)
	try("far past the end", ref("b"), none, nil, math.MaxInt64-1023, math.MaxInt64-511, azerr.InvalidPageRange)

	_, err := f.PutPages(ref("b"), &PutPages{Range: header.Range{End: PutPagesMax + 512}, Body: make([]byte, PutPagesMax+512)})
	wantCode(t, "more than 4 MiB", err, azerr.RequestBodyTooLarge)
	_, err = f.PutPages(ref("b"), &PutPages{Range: header.Range{End: 1024}, Body: make([]byte, 512)})
	wantCode(t, "body too short", err, azerr.InvalidHeaderValue)
	_, err = f.PutPages(ref("b"), &PutPages{Range: header.Range{End: 512}, Body: make([]byte, 1024)})
	wantCode(t, "body too long", err, azerr.InvalidHeaderValue)

	equal(t, "stamp", f.info(ref("b")).Stamp, before.Stamp)
	equal(t, "content", f.letters(ref("b")), "aaaaaaaa")

	for _, pass := range [][]string{{"le", "5"}, {"le", "6"}, {"lt", "6"}, {"eq", "5"}, {"eq", "5", "le", "9", "lt", "9"}} {
		req := putReq(0, 1, 'b')
		req.Sequence = sequence(t, pass...)
		got := value(f.PutPages(ref("b"), req))(t)
		equal(t, "sequence number does not change", got.Sequence, 5)
	}
}

// TestOrderOfChecks: where several things are wrong the first in the protocol's order is reported.
func TestOrderOfChecks(t *testing.T) {
	f := newFixture(t)
	f.create("b", 1)
	acquire(t, f, "b", "aa")
	acc := with(t, "If-Match", `"0x1"`)
	acc.LeaseID = "bb"
	req := &ClearPages{Access: acc, Sequence: sequence(t, "eq", "9"), Range: header.Range{Start: 512, End: 1024}}
	try := func(r BlobRef, want azerr.Code) {
		t.Helper()
		_, err := f.ClearPages(r, req)
		wantCode(t, want.Wire(), err, want)
	}
	try(BlobRef{Container: "none", Blob: "none"}, azerr.ContainerNotFound)
	try(ref("none"), azerr.BlobNotFound)
	f.setType("b", BlockBlob)
	try(ref("b"), azerr.InvalidBlobType)
	f.setType("b", PageBlob)
	try(ref("b"), azerr.LeaseIdMismatchWithBlobOperation)
	req.LeaseID = "aa"
	try(ref("b"), azerr.ConditionNotMet)
	req.Access = holding("aa")
	try(ref("b"), azerr.SequenceNumberConditionNotMet)
	req.Sequence = sequence(t)
	try(ref("b"), azerr.InvalidPageRange)
}

// TestWrongType: what is about pages is refused for a blob without.
func TestWrongType(t *testing.T) {
	f := newFixture(t)
	must(t)(f.CreateAppendBlob(ref("b"), &CreateAppendBlob{}))
	_, err := f.PutPages(ref("b"), putReq(0, 1, 'a'))
	wantCode(t, "put", err, azerr.InvalidBlobType)
	_, err = f.ClearPages(ref("b"), clearReq(0, 1))
	wantCode(t, "clear", err, azerr.InvalidBlobType)
	_, err = f.PageRanges(ref("b"), &PageRangesRequest{})
	wantCode(t, "ranges", err, azerr.InvalidBlobType)
	_, err = f.SetBlobProperties(ref("b"), &SetProperties{Size: Given(0)})
	wantCode(t, "resize", err, azerr.InvalidBlobType)
	_, err = f.SetBlobProperties(ref("b"), &SetProperties{Action: SequenceIncrement})
	wantCode(t, "sequence", err, azerr.InvalidBlobType)
	must(t)(f.SetBlobProperties(ref("b"), &SetProperties{Headers: &HTTPHeaders{}}))
	equal(t, "type", f.info(ref("b")).Type.String(), "AppendBlob")
	f.create("b", 2)
	equal(t, "type after it was created anew", f.info(ref("b")).Type, PageBlob)
}

func TestResize(t *testing.T) {
	f := newFixture(t)
	f.create("b", 4)
	f.put("b", 0, 4, 'a')
	s := f.snapshot("b")
	etag := f.info(ref("b")).ETag
	got := f.resize("b", 2)
	equal(t, "entity tag grows", got.ETag > etag, true)
	equal(t, "shrunk", f.letters(ref("b")), "aa")
	f.resize("b", 6)
	equal(t, "grown again", f.letters(ref("b")), "aa....")
	equal(t, "ranges", f.ranges(ref("b"), PageRangesRequest{}), "0-2")
	equal(t, "snapshot", f.letters(snap("b", s)), "aaaa")
	f.resize("b", 0)
	equal(t, "nothing", f.letters(ref("b")), "")
	f.resize("b", 1<<21)
	equal(t, "up to the limit", f.info(ref("b")).Size, 1<<30)

	try := func(what string, size int64, want azerr.Code) {
		t.Helper()
		_, err := f.SetBlobProperties(ref("b"), &SetProperties{Size: Given(size)})
		wantCode(t, what, err, want)
	}
	try("not aligned", 12, azerr.InvalidHeaderValue)
	try("negative", -512, azerr.InvalidHeaderValue)
	try("above the limit", 1<<30+512, azerr.RequestBodyTooLarge)
}

func TestSequenceNumber(t *testing.T) {
	f := newFixture(t)
	f.create("b", 1)
	set := func(action SequenceAction, n Int64, want int64) {
		t.Helper()
		before := f.info(ref("b")).ETag
		got := value(f.SetBlobProperties(ref("b"), &SetProperties{Action: action, Sequence: n}))(t)
		equal(t, "sequence", got.Sequence, want)
		equal(t, "sequence stored", f.info(ref("b")).Sequence, want)
		equal(t, "entity tag grows", got.ETag > before, true)
	}
	set(SequenceMax, Given(5), 5)
	set(SequenceMax, Given(3), 5)
	set(SequenceUpdate, Given(2), 2)
	set(SequenceIncrement, Int64{}, 3)
	set(SequenceUpdate, Given(0), 0)
	set(SequenceMax, Given(0), 0)
	set(SequenceUpdate, Given(math.MaxInt64-1), math.MaxInt64-1)
	set(SequenceIncrement, Int64{}, math.MaxInt64)

	try := func(what string, req SetProperties, want azerr.Code) {
		t.Helper()
		_, err := f.SetBlobProperties(ref("b"), &req)
		wantCode(t, what, err, want)
	}
	try("overflow", SetProperties{Action: SequenceIncrement}, azerr.SequenceNumberIncrementTooLarge)
	try("max without number", SetProperties{Action: SequenceMax}, azerr.MissingRequiredHeader)
	try("update without number", SetProperties{Action: SequenceUpdate}, azerr.MissingRequiredHeader)
	try("increment with number", SetProperties{Action: SequenceIncrement, Sequence: Given(0)}, azerr.InvalidHeaderValue)
	try("number without action", SetProperties{Sequence: Given(0)}, azerr.MissingRequiredHeader)
	try("negative", SetProperties{Action: SequenceUpdate, Sequence: Given(-1)}, azerr.InvalidHeaderValue)
	try("unknown action", SetProperties{Action: 9, Sequence: Given(1)}, azerr.InvalidHeaderValue)
	equal(t, "sequence", f.info(ref("b")).Sequence, math.MaxInt64)
	// A request that fails half-way changes nothing.
	try("overflow with a resize", SetProperties{Action: SequenceIncrement, Size: Given(0)}, azerr.SequenceNumberIncrementTooLarge)
	equal(t, "size", f.info(ref("b")).Size, 512)
}

func TestSetProperties(t *testing.T) {
	f := newFixture(t)
	meta := []header.Pair{{Name: "k", Value: "v"}}
	must(t)(f.CreatePageBlob(ref("b"), &CreatePageBlob{Size: 512, Metadata: meta, HTTPHeaders: HTTPHeaders{ContentType: "a", CacheControl: "b"}}))
	f.resize("b", 2)
	got := f.info(ref("b"))
	equal(t, "headers stay when none is given", got.ContentType+got.CacheControl, "ab")
	stamp := value(f.SetBlobProperties(ref("b"), &SetProperties{
		Headers: &HTTPHeaders{ContentLanguage: "de"}, Size: Given(512), Action: SequenceIncrement,
	}))(t)
	got = f.info(ref("b"))
	if want := (HTTPHeaders{ContentLanguage: "de"}); !reflect.DeepEqual(got.HTTPHeaders, want) {
		t.Errorf("one given, all replaced: got %+v", got.HTTPHeaders)
	}
	equal(t, "size", got.Size, 512)
	equal(t, "sequence", got.Sequence, 1)
	equal(t, "stamp", got.Stamp, stamp.Stamp)
	if !reflect.DeepEqual(got.Metadata, meta) {
		t.Errorf("metadata: got %+v", got.Metadata)
	}
}

func TestSetMetadata(t *testing.T) {
	f := newFixture(t)
	before := f.create("b", 1)
	meta := []header.Pair{{Name: "Key", Value: "v"}, {Name: "a", Value: ""}}
	after := value(f.SetBlobMetadata(ref("b"), &Access{}, meta))(t)
	equal(t, "entity tag grows", after.ETag > before.ETag, true)
	got := f.info(ref("b"))
	if !reflect.DeepEqual(got.Metadata, meta) || got.Stamp != after {
		t.Errorf("got %+v", got)
	}
	equal(t, "content type stays", got.ContentType, "application/octet-stream")
	must(t)(f.SetBlobMetadata(ref("b"), &Access{}, nil))
	equal(t, "cleared", len(f.info(ref("b")).Metadata), 0)
	_, err := f.SetBlobMetadata(snap("b", f.snapshot("b")), &Access{}, meta)
	wantCode(t, "of a snapshot", err, azerr.InvalidQueryParameterValue)
	_, err = f.SetBlobMetadata(ref("none"), &Access{}, meta)
	wantCode(t, "of nothing", err, azerr.BlobNotFound)
}

// TestEntityTags: they strictly increase, also while the clock stands still or goes back, and after the store was opened
// again.
func TestEntityTags(t *testing.T) {
	f := newFixture(t)
	last := f.create("b", 1)
	next := func(what string, got Stamp) {
		t.Helper()
		if got.ETag <= last.ETag || got.LastModified.Before(last.LastModified) || ticksAt(got.LastModified) != ticks(got.ETag) {
			t.Errorf("%s: %v after %v", what, got, last)
		}
		last = got
	}
	for range 10 {
		next("the clock stands still", f.put("b", 0, 1, 'a').Stamp)
	}
	f.clock.Advance(-time.Hour)
	next("the clock goes back", f.put("b", 0, 1, 'a').Stamp)
	f.reopen()
	next("opened again", f.put("b", 0, 1, 'a').Stamp)
	next("overwritten", f.create("b", 1))
	s1, s2 := f.snapshot("b"), f.snapshot("b")
	f.clock.Advance(-time.Hour)
	f.reopen()
	s3 := f.snapshot("b")
	equal(t, "snapshots", s1 < s2 && s2 < s3, true)
}

func TestReadAt(t *testing.T) {
	f := newFixture(t)
	r := seeded(t)
	f.create("b", 40)
	want := make([]byte, 40*PageSize)
	for i := range want[5*PageSize : 30*PageSize] {
		want[5*PageSize+i] = byte(r.Uint32())
	}
	must(t)(f.PutPages(ref("b"), &PutPages{Range: header.Range{Start: 5 * PageSize, End: 30 * PageSize}, Body: want[5*PageSize : 30*PageSize]}))
	reader := value(f.OpenBlob(ref("b"), &Access{}))(t)
	defer reader.Close()
	for range 2000 {
		off := r.IntN(len(want) + 600)
		n := []int{r.IntN(600), r.IntN(5000), r.IntN(len(want))}[r.IntN(3)]
		if r.IntN(2) == 0 {
			off &^= PageSize - 1
		}
		got := bytes.Repeat([]byte{0xEE}, n)
		m, err := reader.ReadAt(got, int64(off))
		rest := want[min(off, len(want)):]
		wantErr := error(nil)
		if n > len(rest) {
			n, wantErr = len(rest), io.EOF
		} else if len(rest) == 0 {
			wantErr = io.EOF
		}
		if m != n || !errors.Is(err, wantErr) || !bytes.Equal(got[:m], rest[:m]) {
			t.Fatalf("%d bytes at %d: got %d bytes, %v; want %d, %v", len(got), off, m, err, n, wantErr)
		}
	}
	_, err := reader.ReadAt(make([]byte, 1), -1)
	wantCode(t, "negative offset", err, azerr.InvalidRange)
	for _, err := range []error{
		func() error { _, err := f.OpenBlob(ref("none"), &Access{}); return err }(),
		func() error { _, err := f.OpenBlob(snap("b", "2026-03-01T12:00:00.0000000Z"), &Access{}); return err }(),
	} {
		wantCode(t, "missing", err, azerr.BlobNotFound)
	}
}

// TestReadersSeeOneState: whatever happens to a blob, an open reader goes on reading what it began with.
func TestReadersSeeOneState(t *testing.T) {
	f := newFixture(t)
	f.create("b", 4)
	f.put("b", 0, 4, 'a')
	read := func(reader *Reader) string {
		t.Helper()
		p := make([]byte, reader.Info().Size)
		must(t)(reader.ReadAt(p, 0))
		return fmt.Sprintf("%d of %c", len(p)/PageSize, p[0])
	}
	one := value(f.OpenBlob(ref("b"), &Access{}))(t)
	f.put("b", 0, 4, 'b')
	f.resize("b", 2)
	two := value(f.OpenBlob(ref("b"), &Access{}))(t)
	f.create("b", 1)
	f.put("b", 0, 1, 'c')
	ok(t, f.DeleteBlob(ref("b"), &Access{}, SnapshotsNone))
	ok(t, f.DeleteContainer("cont", &Access{}))
	<-f.reaped
	equal(t, "first", read(one), "4 of a")
	equal(t, "second", read(two), "2 of b")
	equal(t, "tags differ", one.Info().ETag < two.Info().ETag, true)
	ok(t, one.Close())
	ok(t, two.Close())
}
