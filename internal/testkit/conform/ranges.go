package conform

import (
	"fmt"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/pageblob"
)

// pageList starts Get Page Ranges, with prevsnapshot a diff.
func (w *wire) pageList(b ref, pairs ...string) *call {
	c := w.get(b, "comp=pagelist")
	for i := 0; i+1 < len(pairs); i += 2 {
		c.q(pairs[i], pairs[i+1])
	}
	return c
}

func getPageRanges(t T, env *Env) {
	w := env.wire(t)
	w.part("through the SDK", func(w *wire) {
		b := w.pageBlob(16 * page)
		for _, at := range []int64{0, 4, 8} {
			w.update(b, at*page, fill(40, 2*page)).ok(201)
		}
		pager := w.sdkPageBlob(b, "blob").NewGetPageRangesPager(&pageblob.GetPageRangesOptions{MaxResults: to.Ptr[int32](1)})
		var got []string
		for pager.More() {
			p, err := pager.NextPage(ctx)
			w.must(err)
			for _, r := range p.PageRange {
				got = append(got, fmt.Sprintf("%d-%d", val(r.Start), val(r.End)))
			}
			w.equal("size", fmt.Sprint(val(p.BlobContentLength)), fmt.Sprint(16*page))
		}
		w.equal("ranges", strings.Join(got, ", "), "0-1023, 2048-3071, 4096-5119")
		first := w.sdkPageBlob(b, "blob").NewGetPageRangesPager(&pageblob.GetPageRangesOptions{Range: blob.HTTPRange{Offset: -2, Count: 500}})
		p, err := first.NextPage(ctx) // sends "bytes=-2-497", which is ignored [S]
		w.must(err)
		w.equal("ranges with a malformed filter", fmt.Sprint(len(p.PageRange)), "3")
	})
	w.part("the reply", func(w *wire) {
		b := w.pageBlob(2 * page)
		r := w.ranges(w.pageList(b), "")
		w.exactly(r, "Content-Type", "ETag", "Last-Modified", "x-ms-blob-content-length")
		w.headers(r, "Content-Type", "application/xml", "x-ms-blob-content-length", "1024")
		w.env.pass(2e9)
		if r = w.ranges(w.pageList(b), ""); stampOf(r) != w.stamp(b) { // the blob's, not the time of asking
			w.Errorf("stamp %v, of the blob %v", stampOf(r), w.stamp(b))
		}
		w.update(b, 0, fill(41, page)).ok(201)
		if r = w.ranges(w.pageList(b), "0-511"); stampOf(r) != w.stamp(b) {
			w.Errorf("stamp %v, of the blob %v", stampOf(r), w.stamp(b))
		}
		w.same("the document", []byte(strings.ReplaceAll(strings.ReplaceAll(string(r.body), "<NextMarker/>", ""), "<NextMarker />", "")),
			[]byte(`<?xml version="1.0" encoding="utf-8"?><PageList><PageRange><Start>0</Start><End>511</End></PageRange></PageList>`))
		w.ranges(w.pageList(w.emptyBlob()), "")
	})
	w.part("what is valid", rangesValid)
	w.part("filter", rangesFilter)
	w.part("paging", rangesPaging)
	w.part("ten thousand", rangesLimit)
	w.part("the lease", func(w *wire) { readLease(w, "GET", "comp=pagelist", 200) })
	w.part("errors", func(w *wire) {
		b := w.pageBlob(page)
		missing(w, b, func(b ref) *call { return w.pageList(b) })
		w.pageList(b, "snapshot", "2020-01-01T00:00:00.0000000Z").fails("BlobNotFound")
		w.pageList(b, "snapshot", "x").fails("InvalidQueryParameterValue", "QueryParameterName", "snapshot", "QueryParameterValue", "x")
		for _, n := range []string{"0", "-1"} {
			w.pageList(b, "maxresults", n).
				fails("OutOfRangeQueryParameterValue", "QueryParameterName", "maxresults", "QueryParameterValue", n)
		}
		w.pageList(b, "maxresults", "x").failsAny([]string{"InvalidQueryParameterValue", "OutOfRangeQueryParameterValue"})
		w.pageList(b, "marker", "not a marker of ours").failsAny([]string{"InvalidQueryParameterValue"}, "QueryParameterName", "marker")
	})
}

// emptyBlob is a page blob of no length.
func (w *wire) emptyBlob() ref {
	w.Helper()
	return w.pageBlob(0)
}

// rangesValid: pages are valid from their first write, with whatever content, to a clear or a resize.
func rangesValid(w *wire) {
	b := w.pageBlob(mib)
	step := func(c *call, want string) {
		w.Helper()
		if r := c.send(); r.status/100 != 2 {
			w.Fatalf("%v", r)
		}
		w.ranges(w.pageList(b), want)
	}
	step(w.update(b, 2*page, fill(42, page)), "1024-1535")
	step(w.update(b, 0, fill(43, page)), "0-511, 1024-1535")
	step(w.update(b, page, fill(44, page)), "0-1535") // neighbours join
	step(w.update(b, 100*page, make([]byte, 2*page)), "0-1535, 51200-52223")
	step(w.clear(b, page, page), "0-511, 1024-1535, 51200-52223")
	step(w.clear(b, page, page), "0-511, 1024-1535, 51200-52223")
	step(w.clear(b, 0, 100*page), "51200-52223")
	step(w.update(b, 127*page, fill(45, 2*page)), "51200-52223, 65024-66047") // across 64 KiB
	step(w.update(b, mib-page, fill(46, page)), "51200-52223, 65024-66047, 1048064-1048575")
	at := w.snapshot(b)
	step(w.resize(b, 128*page), "51200-52223, 65024-65535")
	step(w.resize(b, mib), "51200-52223, 65024-65535")
	step(w.clear(b, 0, mib), "")
	w.ranges(w.pageList(b, "snapshot", at), "51200-52223, 65024-66047, 1048064-1048575")
	w.headers(w.pageList(b, "snapshot", at).ok(200), "x-ms-blob-content-length", fmt.Sprint(mib))
}

// rangesFilter: the window is rounded outward to pages and clips; a window behind the end is 416; what is no range is
// ignored.
func rangesFilter(w *wire) {
	b := w.pageBlob(16 * page)
	w.update(b, 0, fill(47, 2*page)).ok(201)
	w.update(b, 4*page, fill(48, 4*page)).ok(201)
	for _, name := range []string{"Range", "x-ms-range"} {
		f := func(value, want string) {
			w.Helper()
			w.ranges(w.pageList(b).h(name, value), want)
		}
		f("bytes=0-1999", "0-1023") // [S]
		f("bytes=0-", "0-1023, 2048-4095")
		f("bytes=0-0", "0-511")
		f("bytes=511-512", "0-1023")
		f("bytes=600-3000", "512-1023, 2048-3071")
		f("bytes=1024-2047", "")
		f("bytes=3000-9999999999", "2560-4095")
		f("bytes=8191-", "")
		for _, ignored := range []string{"bytes=-2-497", "bytes=-5", "bytes=9-1", "bytes=0-1,5-6", "x"} {
			f(ignored, "0-1023, 2048-4095")
		}
		for _, behind := range []string{"bytes=8192-", "bytes=8192-9000", "bytes=1000000-"} {
			w.headers(w.pageList(b).h(name, behind).fails("InvalidRange"), "Content-Range", "bytes */8192")
		}
		w.pageList(w.emptyBlob()).h(name, "bytes=0-511").fails("InvalidRange")
	}
	w.ranges(w.pageList(b).hs("Range", "bytes=0-511", "x-ms-range", "bytes=2048-2559"), "2048-2559") // Azure's own wins
}

// rangesPaging: parts of at most maxresults, joined they are the whole. From 2020-10-02 [K]; older versions get all.
func rangesPaging(w *wire) {
	const n = 300
	b := w.pageBlob(2 * n * page)
	w.update(b, 0, fill(49, 2*n*page)).ok(201)
	var want []string
	for i := range n {
		w.clear(b, int64(2*i+1)*page, page).ok(201)
		want = append(want, span{int64(2*i) * page, int64(2*i+1)*page - 1, false}.String())
	}
	w.ranges(w.pageList(b), strings.Join(want, ", "))
	all := func(maxresults string, least int, more func(*call) *call, want string) {
		w.Helper()
		var got []span
		parts := 0
		for marker := ""; parts == 0 || marker != ""; parts++ {
			c := more(w.pageList(b, "maxresults", maxresults))
			if marker != "" {
				c.q("marker", marker)
			}
			var spans []span
			spans, marker = pageRanges(w, c.ok(200))
			if got = append(got, spans...); parts > n+1 {
				w.Fatalf("the list does not end")
			}
		}
		if spansText(got) != want || parts < least {
			w.Errorf("%d parts with maxresults=%s: %s\nwant %s", parts, maxresults, spansText(got), want)
		}
	}
	plain := func(c *call) *call { return c }
	all("7", (n+6)/7, plain, strings.Join(want, ", "))
	all("299", 2, plain, strings.Join(want, ", "))
	all("300", 1, plain, strings.Join(want, ", "))
	all("10000", 1, plain, strings.Join(want, ", "))
	window := func(c *call) *call { return c.h("x-ms-range", byteRange(100*page, 200*page)) }
	all("9", 100/9, window, strings.Join(want[50:150], ", "))
	r := w.pageList(b, "maxresults", "5").h("x-ms-version", "2019-12-12").ok(200)
	if spans, marker := pageRanges(w, r); len(spans) != n || marker != "" || strings.Contains(string(r.body), "NextMarker") {
		w.Errorf("an old version gets %d of %d ranges, next %q", len(spans), n, marker)
	}
	if r = w.pageList(b, "maxresults", "5").ok(200); !strings.Contains(string(r.body), "<NextMarker>") {
		w.Errorf("no marker:\n%v", r)
	}
}

// rangesLimit: one reply holds 10,000 ranges when nothing is asked or more is.
func rangesLimit(w *wire) {
	const limit, n = 10_000, 10_003
	size := int64(2 * n * page)
	b := w.pageBlob(size)
	for off := int64(0); off < size; off += pageWrite {
		w.update(b, off, fill(uint64(off), int(min(pageWrite, size-off)))).ok(201)
	}
	for i := range int64(n) {
		w.clear(b, (2*i+1)*page, page).ok(201)
	}
	for _, maxresults := range []string{"", "10000", "10001", "99999"} {
		c := w.pageList(b)
		if maxresults != "" {
			c.q("maxresults", maxresults)
		}
		first, marker := pageRanges(w, c.ok(200))
		rest, end := pageRanges(w, w.pageList(b, "marker", marker).ok(200))
		if len(first) != limit || len(rest) != n-limit || end != "" || rest[0].start != limit*2*page {
			w.Errorf("maxresults=%s: %d ranges, then %v, next %q", maxresults, len(first), rest, end)
		}
	}
}

func getPageRangesDiff(t T, env *Env) {
	w := env.wire(t)
	w.part("through the SDK", diffSDK)
	w.part("written and cleared", diffKinds)
	w.part("between snapshots", diffChain)
	w.part("resized", diffResized)
	w.part("filter and paging", diffPaging)
	w.part("by URL", diffURL)
	w.part("errors", diffErrors)
}

func diffSDK(w *wire) {
	b := w.pageBlob(8 * page)
	w.update(b, 0, fill(50, 4*page)).ok(201)
	at := w.snapshot(b)
	w.update(b, 2*page, fill(51, page)).ok(201)
	w.clear(b, 3*page, page).ok(201)
	w.update(b, 6*page, fill(52, page)).ok(201)
	url := w.env.URL + "/" + w.env.Account + string(b) + "?snapshot=" + at
	for _, o := range []*pageblob.GetPageRangesDiffOptions{{PrevSnapshot: &at}, {PrevSnapshotURL: &url},
		{PrevSnapshot: &at, MaxResults: to.Ptr[int32](1)}} {
		pager := w.sdkPageBlob(b, "blob").NewGetPageRangesDiffPager(o)
		var written, cleared []string
		for pager.More() {
			p, err := pager.NextPage(ctx)
			w.must(err)
			for _, r := range p.PageRange {
				written = append(written, fmt.Sprintf("%d-%d", val(r.Start), val(r.End)))
			}
			for _, r := range p.ClearRange {
				cleared = append(cleared, fmt.Sprintf("%d-%d", val(r.Start), val(r.End)))
			}
		}
		w.equal("written", strings.Join(written, ", "), "1024-1535, 3072-3583")
		w.equal("cleared", strings.Join(cleared, ", "), "1536-2047")
	}
	none := "2020-01-01T00:00:00.0000000Z"
	_, err := w.sdkPageBlob(b, "blob").NewGetPageRangesDiffPager(&pageblob.GetPageRangesDiffOptions{PrevSnapshot: &none}).NextPage(ctx)
	w.mustFail(err, "PreviousSnapshotNotFound")
}

// diffKinds: what was written is a PageRange whatever was written; what was valid before and is not now is a ClearRange;
// in the order of addresses.
func diffKinds(w *wire) {
	b := w.pageBlob(32 * page)
	data := fill(53, 16*page)
	w.update(b, 0, data).ok(201)
	at := w.snapshot(b)
	diff := func(want string) *reply {
		w.Helper()
		return w.ranges(w.pageList(b, "prevsnapshot", at), want)
	}
	r := diff("")
	w.exactly(r, "Content-Type", "ETag", "Last-Modified", "x-ms-blob-content-length")
	w.headers(r, "Content-Type", "application/xml", "x-ms-blob-content-length", fmt.Sprint(32*page))
	if stampOf(r) != w.stamp(b) {
		w.Errorf("stamp %v, of the blob %v", stampOf(r), w.stamp(b))
	}
	w.update(b, 2*page, data[2*page:4*page]).ok(201) // the same bytes: writes are tracked, not content
	diff("1024-2047")
	w.update(b, 6*page, make([]byte, page)).ok(201) // zeros are written, not cleared
	diff("1024-2047, 3072-3583")
	w.clear(b, 3*page, 2*page).ok(201)
	diff("1024-1535, clear 1536-2559, 3072-3583")
	w.update(b, 4*page, fill(54, page)).ok(201) // cleared, then written
	diff("1024-1535, clear 1536-2047, 2048-2559, 3072-3583")
	// Written and cleared again, never valid before: not a PageRange [S]; a ClearRange does no harm, but we list none.
	w.update(b, 20*page, fill(55, 2*page)).ok(201)
	w.clear(b, 20*page, page).ok(201)
	diff("1024-1535, clear 1536-2047, 2048-2559, 3072-3583, 10752-11263")
	w.clear(b, 24*page, 2*page).ok(201) // cleared, never valid
	diff("1024-1535, clear 1536-2047, 2048-2559, 3072-3583, 10752-11263")
	w.clear(b, 0, 32*page).ok(201)
	diff("clear 0-8191")
	w.put(b, "comp=metadata").h("x-ms-meta-a", "1").ok(200)
	diff("clear 0-8191")
}

// diffChain takes four snapshots and compares each pair, forwards.
func diffChain(w *wire) {
	b := w.pageBlob(16 * page)
	var at []string
	step := func(c *call) {
		w.Helper()
		c.ok(201)
		at = append(at, w.snapshot(b))
	}
	step(w.update(b, 0, fill(56, 4*page)))       // 0: [0,4)
	step(w.update(b, 2*page, fill(57, 4*page)))  // 1: [0,6)
	step(w.clear(b, page, 2*page))               // 2: [0,1) [3,6)
	step(w.update(b, 2*page, fill(58, page)))    // 3: [0,1) [2,6)
	w.update(b, 15*page, fill(59, page)).ok(201) // base
	want := map[string]string{
		"0 1": "1024-3071", "0 2": "clear 512-1535, 1536-3071", "0 3": "clear 512-1023, 1024-3071",
		"1 2": "clear 512-1535", "1 3": "clear 512-1023, 1024-1535", "2 3": "1024-1535",
		"0 4": "clear 512-1023, 1024-3071, 7680-8191", "1 4": "clear 512-1023, 1024-1535, 7680-8191",
		"2 4": "1024-1535, 7680-8191", "3 4": "7680-8191",
	}
	compare := func(i, j int) {
		w.Helper()
		c := w.pageList(b, "prevsnapshot", at[i])
		if j < 4 {
			c.q("snapshot", at[j])
		}
		w.ranges(c, want[fmt.Sprintf("%d %d", i, j)])
	}
	for i := range 4 {
		for j := i + 1; j <= 4; j++ {
			compare(i, j)
		}
		w.ranges(w.pageList(b, "prevsnapshot", at[i], "snapshot", at[i]), "") // with itself [K]
	}
	for j := range 4 {
		for i := j + 1; i < 4; i++ {
			w.pageList(b, "prevsnapshot", at[i], "snapshot", at[j]).fails("PreviousSnapshotCannotBeNewer")
		}
	}
	// A snapshot in between may go: the others still compare.
	w.delete(b, "snapshot="+at[1]).ok(202)
	compare(0, 2)
	compare(0, 3)
	compare(2, 4)
	w.delete(b, "snapshot="+at[2]).ok(202)
	compare(0, 3)
	compare(0, 4)
	w.pageList(b, "prevsnapshot", at[2]).fails("PreviousSnapshotNotFound")
	w.pageList(b, "prevsnapshot", at[0], "snapshot", at[1]).fails("BlobNotFound")
}

// diffResized: new area is not listed; within the blob, what was valid and was cut off is cleared. What a diff says of the
// area behind a smaller end is open [?]: nothing or ClearRange.
func diffResized(w *wire) {
	b := w.pageBlob(8 * page)
	w.update(b, 0, fill(60, 8*page)).ok(201)
	at := w.snapshot(b)
	w.resize(b, 16*page).ok(200)
	w.ranges(w.pageList(b, "prevsnapshot", at), "")
	w.update(b, 12*page, fill(61, page)).ok(201)
	w.ranges(w.pageList(b, "prevsnapshot", at), "6144-6655")
	w.resize(b, 4*page).ok(200)
	spans, _ := pageRanges(w, w.pageList(b, "prevsnapshot", at).ok(200))
	if got := spansText(spans); got != "" && got != "clear 2048-4095" {
		w.Errorf("smaller: %s", got)
	}
	w.resize(b, 8*page).ok(200)
	w.ranges(w.pageList(b, "prevsnapshot", at), "clear 2048-4095")
	w.update(b, 5*page, fill(62, page)).ok(201)
	w.ranges(w.pageList(b, "prevsnapshot", at), "clear 2048-2559, 2560-3071, clear 3072-4095")
}

func diffPaging(w *wire) {
	const n = 40
	b := w.pageBlob(4 * n * page)
	w.update(b, 0, fill(63, 4*n*page)).ok(201)
	at := w.snapshot(b)
	var want []string
	for i := range int64(n) { // written, cleared, untouched twice
		w.update(b, 4*i*page, fill(uint64(i), page)).ok(201)
		w.clear(b, (4*i+1)*page, page).ok(201)
		want = append(want, span{4 * i * page, (4*i+1)*page - 1, false}.String(), span{(4*i + 1) * page, (4*i+2)*page - 1, true}.String())
	}
	w.ranges(w.pageList(b, "prevsnapshot", at), strings.Join(want, ", "))
	w.ranges(w.pageList(b, "prevsnapshot", at).h("x-ms-range", byteRange(8*page, 8*page)), strings.Join(want[4:8], ", "))
	w.ranges(w.pageList(b, "prevsnapshot", at).h("Range", "bytes=600-700"), "clear 512-1023")
	w.ranges(w.pageList(b, "prevsnapshot", at).h("Range", "bytes=-2-497"), strings.Join(want, ", "))
	w.pageList(b, "prevsnapshot", at).h("Range", byteRange(4*n*page, page)).fails("InvalidRange")
	for _, maxresults := range []string{"1", "3", "79", "80"} {
		var got []span
		for marker, parts := "", 0; parts == 0 || marker != ""; parts++ {
			c := w.pageList(b, "prevsnapshot", at, "maxresults", maxresults)
			if marker != "" {
				c.q("marker", marker)
			}
			var spans []span
			if spans, marker = pageRanges(w, c.ok(200)); parts > 2*n+1 {
				w.Fatalf("the list does not end")
			}
			got = append(got, spans...)
		}
		w.equal("by "+maxresults, spansText(got), strings.Join(want, ", "))
	}
	w.pageList(b, "prevsnapshot", at, "maxresults", "0").fails("OutOfRangeQueryParameterValue")
}

// diffURL: the header that managed disks use, in place of prevsnapshot.
func diffURL(w *wire) {
	b := w.pageBlob(4 * page)
	other := b.container().blob("other")
	w.create(other, 4*page).ok(201)
	w.update(b, 0, fill(64, page)).ok(201)
	at := w.snapshot(b)
	ofOther := w.snapshot(other)
	w.update(b, page, fill(65, page)).ok(201)
	account := w.env.URL + "/" + w.env.Account
	by := func(url string) *call { return w.pageList(b).h("x-ms-previous-snapshot-url", url) }
	escaped := strings.ReplaceAll(at, ":", "%3A")
	for _, url := range []string{account + string(b) + "?snapshot=" + at, account + string(b) + "?snapshot=" + escaped,
		account + strings.Replace(string(b), "blob", "%62lob", 1) + "?snapshot=" + at} {
		w.ranges(by(url), "512-1023")
	}
	w.ranges(by(account+string(b)+"?snapshot="+at).q("snapshot", at), "")
	for _, bad := range []string{"", "nonsense", account + string(b), account + string(other) + "?snapshot=" + ofOther,
		account + "/other-container/blob?snapshot=" + at, w.env.URL + "/otheraccount" + string(b) + "?snapshot=" + at,
		account + string(b) + "?snapshot=yesterday", "ftp://x/y?snapshot=" + at} {
		by(bad).fails("InvalidHeaderValue", "HeaderName", "x-ms-previous-snapshot-url", "HeaderValue", bad) // [?]
	}
	by(account + string(b) + "?snapshot=2020-01-01T00:00:00.0000000Z").fails("PreviousSnapshotNotFound")
}

func diffErrors(w *wire) {
	b := w.pageBlob(4 * page)
	w.update(b, 0, fill(66, page)).ok(201)
	at := w.snapshot(b)
	missing(w, b, func(b ref) *call { return w.pageList(b, "prevsnapshot", at) })
	w.pageList(b, "prevsnapshot", "2020-01-01T00:00:00.0000000Z").fails("PreviousSnapshotNotFound")
	w.pageList(b, "prevsnapshot", "2999-01-01T00:00:00.0000000Z").failsAny([]string{"PreviousSnapshotNotFound"})
	w.pageList(b, "prevsnapshot", "").failsAny([]string{"InvalidQueryParameterValue"}, "QueryParameterName", "prevsnapshot")
	w.pageList(b, "prevsnapshot", "last tuesday").
		fails("InvalidQueryParameterValue", "QueryParameterName", "prevsnapshot", "QueryParameterValue", "last tuesday")
	w.pageList(b, "prevsnapshot", at, "snapshot", "2020-01-01T00:00:00.0000000Z").fails("BlobNotFound")
	w.pageList(b, "prevsnapshot", at).h("x-ms-lease-id", leaseA).fails("LeaseNotPresentWithBlobOperation")
	// Put Blob starts the blob anew: what went before cannot be compared with what came after.
	w.create(b, 4*page).ok(201)
	w.pageList(b, "prevsnapshot", at).fails("BlobOverwritten")
	after := w.snapshot(b)
	w.pageList(b, "prevsnapshot", at, "snapshot", after).fails("BlobOverwritten")
	w.update(b, 0, fill(67, page)).ok(201)
	w.ranges(w.pageList(b, "prevsnapshot", after), "0-511")
	w.ranges(w.pageList(b, "snapshot", at), "0-511")
}
