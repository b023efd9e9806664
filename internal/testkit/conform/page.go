package conform

import (
	"crypto/md5"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/pageblob"
)

func putPage(t T, env *Env) {
	w := env.wire(t)
	w.part("through the SDK", putSDK)
	w.part("the reply", putReply)
	w.part("what is written is read", putReads)
	w.part("headers", func(w *wire) {
		b := w.pageBlob(4 * page)
		pageHeaders(w, b, "update")
		pageLengths(w, b)
	})
	w.part("past the end", func(w *wire) {
		b := w.pageBlob(4 * page)
		w.update(b, 3*page, fill(1, page)).ok(201)
		w.update(b, 4*page, fill(1, page)).fails("InvalidPageRange")
		w.update(b, 3*page, fill(1, 2*page)).fails("InvalidPageRange") // not the part that would fit either
		w.update(b, 1<<40, fill(1, page)).fails("InvalidPageRange")
		w.update(b, math.MaxInt64-1023, fill(1, page)).fails("InvalidPageRange")
	})
	w.part("checksums", putChecksums)
	w.part("structured messages", putStructured)
	w.part("sequence conditions", func(w *wire) {
		b := w.pageBlob(page)
		sequenceConditions(w, b, func() *call { return w.update(b, 0, fill(18, page)) })
	})
	w.part("lease", func(w *wire) {
		b := w.pageBlob(page)
		writeLease(w, b, func() *call { return w.update(b, 0, fill(19, page)) }, 201)
	})
	w.part("errors", func(w *wire) {
		b := w.pageBlob(page)
		request := func(b ref) *call { return w.update(b, 0, fill(20, page)) }
		missing(w, b, request)
		onSnapshot(w, b, request)
	})
}

func putSDK(w *wire) {
	b := w.pageBlob(8 * page)
	client := w.sdkPageBlob(b, "blob")
	data := fill(21, 4*page)
	up := func(o *pageblob.UploadPagesOptions) (pageblob.UploadPagesResponse, error) {
		return client.UploadPages(ctx, streaming.NopCloser(strings.NewReader(string(data))), blob.HTTPRange{Offset: page, Count: 4 * page}, o)
	}
	got, err := up(nil)
	w.must(err)
	w.equal("sequence number", fmt.Sprint(val(got.BlobSequenceNumber)), "0")
	sum := md5.Sum(data)
	for _, v := range []blob.TransferValidationType{blob.TransferValidationTypeComputeCRC64(), blob.TransferValidationTypeMD5(sum[:])} {
		_, err = up(&pageblob.UploadPagesOptions{TransactionalValidation: v})
		w.must(err)
	}
	w.same("content", w.content(b)[page:5*page], data)
	_, err = up(&pageblob.UploadPagesOptions{TransactionalValidation: blob.TransferValidationTypeCRC64(7)})
	w.mustFail(err, "Crc64Mismatch")
	_, err = up(&pageblob.UploadPagesOptions{SequenceNumberAccessConditions: &pageblob.SequenceNumberAccessConditions{
		IfSequenceNumberLessThan: to.Ptr[int64](0)}})
	w.mustFail(err, "SequenceNumberConditionNotMet")
	_, err = up(&pageblob.UploadPagesOptions{AccessConditions: &blob.AccessConditions{ModifiedAccessConditions: &blob.ModifiedAccessConditions{
		IfMatch: to.Ptr[azETag](`"0x8D0000000000000"`)}}})
	w.mustFail(err, "ConditionNotMet")
}

// putReply: which headers come back, and that the checksum is of the body [R].
func putReply(w *wire) {
	b := w.pageBlob(2 * page)
	w.put(b, "comp=properties").hs("x-ms-sequence-number-action", "update", "x-ms-blob-sequence-number", "4").ok(200)
	data := fill(22, page)
	before := w.stamp(b)
	r := w.update(b, 0, data).ok(201)
	w.exactly(r, "ETag", "Last-Modified", "x-ms-blob-sequence-number", "x-ms-request-server-encrypted", "x-ms-content-crc64")
	w.headers(r, "x-ms-blob-sequence-number", "4", "x-ms-request-server-encrypted", "true", "x-ms-content-crc64", crcOf(data))
	before = w.restamped("written", before, r, b)
	r = w.update(b, 0, data).ok(201)
	w.restamped("written again with the same", before, r, b)
	r = w.update(b, 0, data).h("x-ms-version", "2021-12-02").h("Content-MD5", md5Of(data)).ok(201)
	w.exactly(r, "ETag", "Last-Modified", "x-ms-blob-sequence-number", "x-ms-request-server-encrypted", "Content-MD5")
	w.headers(r, "Content-MD5", md5Of(data))
	r = w.update(b, 0, data).h("Content-MD5", md5Of(data)).ok(201) // both from 2026-10-06 on [S]
	w.headers(r, "Content-MD5", md5Of(data), "x-ms-content-crc64", crcOf(data))
	r = w.update(b, 0, data).h("x-ms-content-crc64", crcOf(data)).ok(201)
	w.headers(r, "x-ms-content-crc64", crcOf(data), "Content-MD5", "-")
	w.headers(w.head(b, "").ok(200), "Content-MD5", "-", "x-ms-blob-sequence-number", "4") // never stored
}

func putReads(w *wire) {
	size := 6 * mib
	b := w.pageBlob(int64(size))
	want := make([]byte, size)
	put := func(off int, data []byte) {
		w.Helper()
		w.update(b, int64(off), data).ok(201)
		copy(want[off:], data)
	}
	put(0, fill(23, page))
	put(page, fill(24, 3*page))
	put(mib-page, fill(25, 8*page)) // across what a store may take as a unit
	put(mib, fill(26, page))
	put(mib+2*page, make([]byte, page)) // zeros are content
	put(2*mib-512, fill(27, pageWrite)) // the most there may be, unaligned to anything but pages
	put(0, fill(23, page))
	w.same("content", w.content(b), want)
	w.ranges(w.get(b, "comp=pagelist"), fmt.Sprintf("0-2047, %d-%d, %d-%d", mib-page, mib+7*page-1, 2*mib-512, 6*mib-513))
	// Writes that overlap: the later wins, whatever was there.
	for i := range 8 {
		put(3*mib+i*page, fill(uint64(100+i), (8-i)*3*page))
	}
	w.same("overlaps", w.content(b), want)
	w.update(b, 0, make([]byte, page)).ok(201)
	w.ranges(w.get(b, "comp=pagelist").h("x-ms-range", "bytes=0-511"), "0-511") // written with zeros is not cleared
}

// pageHeaders is what Put Page and Clear Pages share: the verb, the range and its form.
func pageHeaders(w *wire, b ref, write string) {
	body := func(n int) []byte {
		if write == "clear" {
			return nil
		}
		return fill(28, n)
	}
	request := func(pairs ...string) *call { return w.put(b, "comp=page").b(body(page)).hs(pairs...) }
	request("x-ms-range", "bytes=0-511").fails("MissingRequiredHeader", "HeaderName", "x-ms-page-write")
	for _, bad := range []string{"", "delete", "updateclear"} {
		request("x-ms-page-write", bad, "x-ms-range", "bytes=0-511").
			fails("InvalidHeaderValue", "HeaderName", "x-ms-page-write", "HeaderValue", bad)
	}
	request("x-ms-page-write", strings.ToUpper(write), "x-ms-range", "bytes=0-511").ok(201) // any case
	request("x-ms-page-write", write, "Range", "bytes=0-511").ok(201)
	request("x-ms-page-write", write).fails("MissingRequiredHeader", "HeaderName", "Range") // named so whichever was meant [R]
	// Not aligned, or no range with both ends: reported as Range even where x-ms-range was sent, with the value as sent [R].
	for _, bad := range []string{"bytes=0-512", "bytes=1-512", "bytes=0-510", "bytes=1-511", "bytes=512-", "bytes=-512", "bytes=511-0",
		"bytes=0-0", "bytes=a-b", "0-511", "bytes=0-511,512-1023", "bytes=0-9223372036854775808", "bytes=0", ""} {
		for _, name := range []string{"x-ms-range", "Range"} {
			request("x-ms-page-write", write, name, bad).fails("InvalidHeaderValue", "HeaderName", "Range", "HeaderValue", bad)
		}
	}
	// x-ms-range wins, for better and for worse.
	request("x-ms-page-write", write, "x-ms-range", "bytes=0-511", "Range", "bytes=0-512").ok(201)
	request("x-ms-page-write", write, "x-ms-range", "bytes=0-512", "Range", "bytes=0-511").
		fails("InvalidHeaderValue", "HeaderName", "Range", "HeaderValue", "bytes=0-512")
}

func pageLengths(w *wire, b ref) {
	put := func(r string, n int) *call {
		return w.put(b, "comp=page").b(fill(29, n)).hs("x-ms-page-write", "update", "x-ms-range", r)
	}
	// A body that is not what the range says: 400, and of the codes we chose this [?].
	put("bytes=0-1023", page).fails("InvalidHeaderValue", "HeaderName", "Content-Length", "HeaderValue", "512")
	put("bytes=0-511", 2*page).fails("InvalidHeaderValue", "HeaderName", "Content-Length", "HeaderValue", "1024")
	put("bytes=0-511", 0).fails("InvalidHeaderValue", "HeaderName", "Content-Length", "HeaderValue", "0")
	put("bytes=0-511", page).leave("Content-Length").b(nil).fails("MissingContentLengthHeader")
	big := w.container().blob("big")
	w.create(big, 8*mib).ok(201)
	w.update(big, 0, fill(30, pageWrite)).ok(201)
	w.update(big, 0, fill(31, pageWrite+page)).fails("RequestBodyTooLarge", "MaxLimit", strconv.Itoa(pageWrite))
	w.update(big, 0, fill(31, 2*pageWrite)).fails("RequestBodyTooLarge", "MaxLimit", strconv.Itoa(pageWrite))
}

func putChecksums(w *wire) {
	b := w.pageBlob(pageWrite)
	for _, v := range []struct {
		data []byte
		crc  string
	}{ // known values
		{make([]byte, page), "6YKnaCgO5h0="},
		{make([]byte, pageWrite), "7fxeieZXMgQ="},
		{slices.Concat(counting(), counting()), "BxtKCTKG9GU="},
	} {
		w.headers(w.update(b, 0, v.data).ok(201), "x-ms-content-crc64", v.crc)
		w.update(b, 0, v.data).h("x-ms-content-crc64", v.crc).ok(201)
	}
	data, other := fill(32, page), fill(33, page)
	put := func(pairs ...string) *call { return w.update(b, 0, data).hs(pairs...) }
	put("Content-MD5", md5Of(data)).ok(201)
	put("Content-MD5", md5Of(other)).fails("Md5Mismatch", "UserSpecifiedMd5", md5Of(other), "ServerCalculatedMd5", md5Of(data))
	for _, bad := range []string{"AAEC", "not base64", md5Of(data) + "AAAA", "=="} {
		put("Content-MD5", bad).fails("InvalidMd5")
	}
	put("Content-MD5", "").failsAny([]string{"InvalidMd5", "InvalidHeaderValue"})
	put("x-ms-content-crc64", crcOf(other)).
		fails("Crc64Mismatch", "UserSpecifiedCrc64", crcOf(other), "ServerCalculatedCrc64", crcOf(data))
	for _, bad := range []string{"AAEC", "not base64", ""} {
		put("x-ms-content-crc64", bad).fails("InvalidHeaderValue", "HeaderName", "x-ms-content-crc64", "HeaderValue", bad)
	}
	put("Content-MD5", md5Of(data), "x-ms-content-crc64", crcOf(data)).fails("BothCrc64AndMd5HeaderPresent")
}

// counting is the bytes 0 to 255.
func counting() []byte {
	b := make([]byte, 256)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}

// sequenceConditions: <=, < and == of the current number, all that are given must hold; negative is no number to compare
// with [S].
func sequenceConditions(w *wire, b ref, request func() *call) {
	set := func(n int64) {
		w.Helper()
		w.put(b, "comp=properties").hs("x-ms-sequence-number-action", "update", "x-ms-blob-sequence-number", fmt.Sprint(n)).ok(200)
	}
	holds := map[string]func(current, given int64) bool{
		"le": func(c, g int64) bool { return c <= g },
		"lt": func(c, g int64) bool { return c < g },
		"eq": func(c, g int64) bool { return c == g },
	}
	for _, current := range []int64{0, 1, 7, 1 << 32, math.MaxInt64 - 1, math.MaxInt64} {
		set(current)
		for op, f := range byKey(holds) {
			for _, given := range []int64{0, 1, 6, 7, 8, 1 << 32, math.MaxInt64 - 1, math.MaxInt64} {
				c := request().h("x-ms-if-sequence-number-"+op, fmt.Sprint(given))
				if f(current, given) {
					w.headers(c.ok(201), "x-ms-blob-sequence-number", fmt.Sprint(current))
				} else {
					c.fails("SequenceNumberConditionNotMet")
				}
			}
		}
	}
	set(5)
	request().hs("x-ms-if-sequence-number-le", "5", "x-ms-if-sequence-number-eq", "5", "x-ms-if-sequence-number-lt", "6").ok(201)
	request().hs("x-ms-if-sequence-number-le", "5", "x-ms-if-sequence-number-lt", "5").fails("SequenceNumberConditionNotMet")
	request().hs("x-ms-if-sequence-number-le", "9", "x-ms-if-sequence-number-eq", "4").fails("SequenceNumberConditionNotMet")
	for op := range byKey(holds) {
		request().h("x-ms-if-sequence-number-"+op, "-1").fails("InvalidInput") // [S]
		for _, bad := range []string{"x", "", "9223372036854775808"} {
			request().h("x-ms-if-sequence-number-"+op, bad).failsAny([]string{"InvalidHeaderValue", "InvalidInput"})
		}
	}
	w.headers(w.head(b, "").ok(200), "x-ms-blob-sequence-number", "5")
}

func clearPages(t T, env *Env) {
	w := env.wire(t)
	w.part("through the SDK", func(w *wire) {
		b := w.pageBlob(4 * page)
		w.update(b, 0, fill(35, 4*page)).ok(201)
		got, err := w.sdkPageBlob(b, "blob").ClearPages(ctx, blob.HTTPRange{Offset: page, Count: 2 * page}, nil)
		w.must(err)
		if got.ETag == nil || got.BlobSequenceNumber == nil || got.ContentMD5 != nil || got.ContentCRC64 != nil {
			w.Errorf("reply %+v", got)
		}
		w.ranges(w.get(b, "comp=pagelist"), "0-511, 1536-2047")
	})
	w.part("the reply", func(w *wire) {
		b := w.pageBlob(2 * page)
		w.update(b, 0, fill(36, 2*page)).ok(201)
		before := w.stamp(b)
		r := w.clear(b, 0, page).ok(201)
		w.exactly(r, "ETag", "Last-Modified", "x-ms-blob-sequence-number") // nothing else [R]
		w.restamped("cleared", before, r, b)
	})
	w.part("what is cleared reads as zeros", clearReads)
	w.part("headers", func(w *wire) {
		b := w.pageBlob(4 * page)
		pageHeaders(w, b, "clear")
		w.clear(b, 0, page).b(fill(1, page)).fails("InvalidHeaderValue", "HeaderName", "Content-Length", "HeaderValue", "512")
		w.clear(b, 4*page, page).fails("InvalidPageRange")
		w.clear(b, 3*page, 2*page).fails("InvalidPageRange")
		w.clear(b, 0, page).leave("Content-Length").ok(201)
	})
	w.part("sequence conditions", func(w *wire) {
		b := w.pageBlob(page)
		sequenceConditions(w, b, func() *call { return w.clear(b, 0, page) })
	})
	w.part("lease", func(w *wire) {
		b := w.pageBlob(page)
		writeLease(w, b, func() *call { return w.clear(b, 0, page) }, 201)
	})
	w.part("errors", func(w *wire) {
		b := w.pageBlob(page)
		request := func(b ref) *call { return w.clear(b, 0, page) }
		missing(w, b, request)
		onSnapshot(w, b, request)
	})
}

func clearReads(w *wire) {
	size := w.env.MaxPageBlob
	b := w.pageBlob(size)
	data := fill(37, 64*page)
	w.update(b, 0, data).ok(201)
	w.update(b, size/2, data).ok(201)
	w.clear(b, 10*page, 5*page).ok(201)
	clear(data[10*page : 15*page])
	w.same("with a hole", w.get(b, "").h("x-ms-range", byteRange(0, 64*page)).ok(206).body, data)
	w.ranges(w.get(b, "comp=pagelist"), fmt.Sprintf("0-5119, 7680-32767, %d-%d", size/2, size/2+64*page-1))
	w.update(b, 12*page, fill(38, page)).ok(201)
	w.ranges(w.get(b, "comp=pagelist").h("Range", "bytes=0-8191"), "0-5119, 6144-6655, 7680-8191")
	// The whole blob at once: a clear is not bound by 4 MiB.
	w.clear(b, 0, size).ok(201)
	w.ranges(w.get(b, "comp=pagelist"), "")
	w.same("cleared", w.get(b, "").h("x-ms-range", byteRange(0, 64*page)).ok(206).body, make([]byte, 64*page))
	w.same("cleared", w.get(b, "").h("x-ms-range", byteRange(size/2, 64*page)).ok(206).body, make([]byte, 64*page))
}
