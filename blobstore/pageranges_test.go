package blobstore

import (
	"math"
	"testing"

	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/header"
)

func TestPageRanges(t *testing.T) {
	f := newFixture(t)
	f.create("b", 100)
	for _, p := range []int64{0, 1, 5, 50, 51, 52, 99} {
		f.put("b", p, p+1, 'a')
	}
	list := func(from, to int64) string {
		t.Helper()
		return f.ranges(ref("b"), PageRangesRequest{Range: &header.Range{Start: from, End: to}})
	}
	equal(t, "all", f.ranges(ref("b"), PageRangesRequest{}), "0-2 5-6 50-53 99-100")
	equal(t, "first byte", list(0, 1), "0-1")
	equal(t, "rounded outward", list(511, 513), "0-2")
	equal(t, "clipped", list(51*512, 52*512), "51-52")
	equal(t, "none there", list(10*512, 20*512), "")
	equal(t, "open end", list(52*512, math.MaxInt64), "52-53 99-100")
	equal(t, "past the end", list(99*512, 200*512), "99-100")
	got := value(f.PageRanges(ref("b"), &PageRangesRequest{}))(t)
	equal(t, "size", got.Size, 100*512)
	equal(t, "stamp", got.Stamp, f.info(ref("b")).Stamp)

	r, err := f.PageRanges(ref("b"), &PageRangesRequest{Range: &header.Range{Start: 100 * 512, End: math.MaxInt64}})
	wantCode(t, "range past the end", err, azerr.InvalidRange)
	equal(t, "size with the error", r.Size, 100*512)
	f.create("empty", 0)
	equal(t, "empty blob", f.ranges(ref("empty"), PageRangesRequest{}), "")
	_, err = f.PageRanges(ref("empty"), &PageRangesRequest{Range: &header.Range{Start: 0, End: 512}})
	wantCode(t, "range of an empty blob", err, azerr.InvalidRange)
	_, err = f.PageRanges(ref("none"), &PageRangesRequest{})
	wantCode(t, "no blob", err, azerr.BlobNotFound)
	_, err = f.PageRanges(snap("b", "2026-03-01T12:00:00.0000000Z"), &PageRangesRequest{})
	wantCode(t, "no snapshot", err, azerr.BlobNotFound)
	_, err = f.PageRanges(ref("b"), &PageRangesRequest{Access: holding("a")})
	wantCode(t, "lease", err, azerr.LeaseNotPresentWithBlobOperation)
	_, err = f.PageRanges(ref("b"), &PageRangesRequest{Access: with(t, "If-None-Match", got.ETag.String())})
	wantCode(t, "condition", err, azerr.NotModified)
}

func TestPageRangesPaging(t *testing.T) {
	f := newFixture(t)
	f.create("b", 40)
	s := f.snapshot("b")
	for p := int64(0); p < 40; p += 2 {
		f.put("b", p, p+1, 'a')
	}
	all := value(f.PageRanges(ref("b"), &PageRangesRequest{}))(t)
	equal(t, "entries", len(all.Entries), 20)
	equal(t, "marker", all.NextMarker, "")
	for _, prev := range []string{"", s} {
		for _, size := range []int{1, 3, 7, 20, 21, 10_000, 20_000} {
			var got []PageEntry
			marker := ""
			for pages := 0; ; pages++ {
				r := value(f.PageRanges(ref("b"), &PageRangesRequest{MaxResults: size, Marker: marker, PrevSnapshot: prev}))(t)
				if len(r.Entries) > size || pages > 20 {
					t.Fatalf("%d a page: %d entries on page %d", size, len(r.Entries), pages)
				}
				got = append(got, r.Entries...)
				if marker = r.NextMarker; marker == "" {
					break
				}
			}
			equal(t, "all pages together", entries(got), entries(all.Entries))
		}
	}
	first := value(f.PageRanges(ref("b"), &PageRangesRequest{MaxResults: 2, Range: &header.Range{Start: 10 * 512, End: 20 * 512}}))(t)
	equal(t, "filtered", entries(first.Entries), "10-11 12-13")
	next := f.ranges(ref("b"), PageRangesRequest{MaxResults: 9, Marker: first.NextMarker, Range: &header.Range{Start: 10 * 512, End: 20 * 512}})
	equal(t, "filtered, next page", next, "14-15 16-17 18-19")
	equal(t, "no limit", len(value(f.PageRanges(ref("b"), &PageRangesRequest{MaxResults: AllPageRanges}))(t).Entries), 20)

	_, err := f.PageRanges(ref("b"), &PageRangesRequest{MaxResults: -2})
	wantCode(t, "maxresults", err, azerr.OutOfRangeQueryParameterValue)
	_, err = f.PageRanges(ref("b"), &PageRangesRequest{Marker: "x"})
	wantCode(t, "marker", err, azerr.InvalidQueryParameterValue)
}

// TestDiff goes through the rows of the protocol's table.
func TestDiff(t *testing.T) {
	f := newFixture(t)
	f.create("b", 16)
	f.put("b", 0, 8, 'a')
	s1 := f.snapshot("b")
	equal(t, "nothing happened", f.diff(ref("b"), s1), "")
	f.put("b", 1, 2, 'a') // the same bytes
	f.put("b", 3, 4, 'b')
	f.put("b", 4, 5, 0)
	f.wipe("b", 6, 8)
	f.wipe("b", 9, 10) // was not valid
	f.put("b", 11, 13, 'c')
	f.wipe("b", 12, 13) // written and cleared, not valid in s1
	equal(t, "rewritten, written, zeros, cleared", f.diff(ref("b"), s1), "1-2 3-5 clear:6-8 11-12")
	s2 := f.snapshot("b")
	equal(t, "between snapshots", f.diff(snap("b", s2), s1), "1-2 3-5 clear:6-8 11-12")
	f.put("b", 6, 7, 'd')
	equal(t, "cleared, then written", f.diff(ref("b"), s1), "1-2 3-5 6-7 clear:7-8 11-12")
	equal(t, "since the second", f.diff(ref("b"), s2), "6-7")
	equal(t, "the second is as it was", f.diff(snap("b", s2), s1), "1-2 3-5 clear:6-8 11-12")
	equal(t, "with itself", f.diff(snap("b", s2), s2), "")

	f.resize("b", 20)
	equal(t, "grown", f.diff(ref("b"), s2), "6-7")
	f.resize("b", 2)
	equal(t, "shrunk: nothing past the end", f.diff(ref("b"), s2), "")
	f.resize("b", 16)
	equal(t, "shrunk and grown: zeros since", f.diff(ref("b"), s2), "clear:2-6 clear:11-12")
	f.put("b", 3, 4, 'e')
	equal(t, "and written", f.diff(ref("b"), s2), "clear:2-3 3-4 clear:4-6 clear:11-12")
	filtered := f.ranges(ref("b"), PageRangesRequest{PrevSnapshot: s2, Range: &header.Range{Start: 5*512 - 1, End: 12 * 512}})
	equal(t, "filtered", filtered, "clear:4-6 clear:11-12")

	try := func(what string, r BlobRef, prev string, want azerr.Code) {
		t.Helper()
		_, err := f.PageRanges(r, &PageRangesRequest{PrevSnapshot: prev})
		wantCode(t, what, err, want)
	}
	try("unknown", ref("b"), "2026-01-01T00:00:00.0000000Z", azerr.PreviousSnapshotNotFound)
	try("malformed", ref("b"), "x", azerr.InvalidQueryParameterValue)
	try("newer", snap("b", s1), s2, azerr.PreviousSnapshotCannotBeNewer)
	try("no target", snap("b", "2026-01-01T00:00:00.0000000Z"), s1, azerr.BlobNotFound)
	f.create("b", 16)
	try("overwritten", ref("b"), s1, azerr.BlobOverwritten)
	equal(t, "before the overwrite", f.diff(snap("b", s2), s1), "1-2 3-5 clear:6-8 11-12")
	s3 := f.snapshot("b")
	f.put("b", 0, 1, 'x')
	equal(t, "after the overwrite", f.diff(ref("b"), s3), "0-1")
	try("across", snap("b", s3), s1, azerr.BlobOverwritten)
}
