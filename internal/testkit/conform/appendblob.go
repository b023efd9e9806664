package conform

import (
	"bytes"
	"fmt"
	"strconv"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/appendblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
)

// createAppend is Put Blob of an append blob.
func (w *wire) createAppend(b ref) *call { return w.put(b, "").h("x-ms-blob-type", "AppendBlob") }

// appendTo is Append Block.
func (w *wire) appendTo(b ref, data []byte) *call { return w.put(b, "comp=appendblock").b(data) }

// appendBlob creates a container with an append blob in it.
func (w *wire) appendBlob() ref {
	w.Helper()
	b := w.container().blob("log")
	w.createAppend(b).ok(201)
	return b
}

func putAppendBlob(t T, env *Env) {
	w := env.wire(t)
	w.part("the reply", func(w *wire) {
		b := w.container().blob("log")
		r := w.createAppend(b).hs("x-ms-blob-content-type", "text/x", "x-ms-meta-a", "1", "x-ms-tags", "t=1").ok(201)
		w.exactly(r, "ETag", "Last-Modified", "x-ms-request-server-encrypted")
		w.equal("stamp", fmt.Sprint(stampOf(r)), fmt.Sprint(w.stamp(b)))
		w.headers(w.head(b, "").ok(200), "x-ms-blob-type", "AppendBlob", "Content-Length", "0", "x-ms-blob-committed-block-count", "0",
			"x-ms-blob-sealed", "-", "x-ms-blob-sequence-number", "-", "Content-MD5", "-", "Content-Type", "text/x", "x-ms-meta-a", "1", "x-ms-tag-count", "1")
		n := w.list(b.container(), "").child("Blobs").children[0].child("Properties")
		w.equal("listed type", n.value("BlobType"), "AppendBlob")
		if n.child("x-ms-blob-sequence-number") != nil || n.child("Sealed") != nil {
			w.Errorf("an append blob is listed with what it does not have")
		}
	})
	w.part("over an existing blob", func(w *wire) {
		b := w.appendBlob()
		w.appendTo(b, []byte("old")).ok(201)
		at := w.snapshot(b)
		before := w.stamp(b)
		w.restamped("made anew", before, w.createAppend(b).ok(201), b)
		w.headers(w.head(b, "").ok(200), "Content-Length", "0", "x-ms-blob-committed-block-count", "0")
		w.appendTo(b, []byte("new")).ok(201)
		r := w.get(b, "snapshot="+at).ok(200)
		w.headers(r, "x-ms-blob-committed-block-count", "1", "x-ms-blob-type", "AppendBlob")
		w.same("the snapshot", r.body, []byte("old"))
		w.putBlob(b, []byte("blocks")).ok(201)
		w.createAppend(b).ok(201)
		w.same("content", w.content(b), nil)
	})
	w.part("conditions", func(w *wire) { makeConditions(w, w.createAppend, w.container()) })
	w.part("lease", func(w *wire) {
		b := w.appendBlob()
		writeLease(w, b, func() *call { return w.createAppend(b) }, 201)
	})
	w.part("errors", func(w *wire) {
		b := w.container().blob("log")
		w.createAppend(b).b([]byte("x")).fails("InvalidHeaderValue", "HeaderName", "Content-Length", "HeaderValue", "1")
		w.createAppend("/none-such/b").fails("ContainerNotFound")
		metadataErrors(w, func() *call { return w.createAppend(b) })
		w.createAppend(b).leave("Content-Length").ok(201) // as .NET sends it
		onSnapshot(w, b, w.createAppend)
	})
}

func appendBlock(t T, env *Env) {
	w := env.wire(t)
	w.part("through the SDK", appendSDK)
	w.part("the reply", appendReply)
	w.part("what is appended is read", appendReads)
	w.part("checksums", func(w *wire) {
		b := w.appendBlob()
		for _, size := range []int{1000, 4*mib + 5} {
			data, other := odd(500, size), odd(501, size)
			sums(w, func(pairs ...string) *call { return w.appendTo(b, data).hs(pairs...) }, data, other)
		}
	})
	w.part("structured messages", func(w *wire) {
		b := w.appendBlob()
		var want []byte
		structuredBody(w, b, func() *call { return w.appendTo(b, nil) }, func(r *reply, data []byte) {
			w.exactly(r, "ETag", "Last-Modified", "x-ms-request-server-encrypted", "x-ms-blob-append-offset", "x-ms-blob-committed-block-count",
				"x-ms-content-crc64", "x-ms-structured-body")
			want = append(want, data...)
			w.same("content", w.content(b), want)
		})
	})
	w.part("positions", appendPositions)
	w.part("conditions", func(w *wire) {
		b := w.appendBlob()
		s := w.stamp(b)
		matrix(func(m, n, ms, us condTerm) {
			c := w.appendTo(b, []byte("x")).with(s, m, n, ms, us)
			switch writeOutcome(m, n, ms, us) {
			case 400:
				c.fails("MultipleConditionHeadersNotSupported")
			case 412:
				c.fails("ConditionNotMet")
			default:
				c.ok(201)
				s = w.stamp(b)
			}
		})
		w.setTags(b, "a", "b").ok(204)
		w.appendTo(b, []byte("x")).h("x-ms-if-tags", "a = 'c'").fails("ConditionNotMet")
		w.appendTo(b, []byte("x")).h("x-ms-if-tags", "a = 'b'").ok(201)
	})
	w.part("lease", func(w *wire) {
		b := w.appendBlob()
		writeLease(w, b, func() *call { return w.appendTo(b, []byte("x")) }, 201)
	})
	w.part("errors", func(w *wire) {
		b := w.appendBlob()
		w.appendTo(b, nil).fails("InvalidHeaderValue", "HeaderName", "Content-Length", "HeaderValue", "0")
		w.appendTo(b, nil).leave("Content-Length").h("Transfer-Encoding", "chunked").b([]byte("1\r\nx\r\n0\r\n\r\n")).fails("MissingContentLengthHeader")
		missing(w, b, func(b ref) *call { return w.appendTo(b, []byte("x")) })
		onSnapshot(w, b, func(b ref) *call { return w.appendTo(b, []byte("x")) })
		w.update(b, 0, fill(502, page)).fails("InvalidBlobType")
		w.block(b, "a", []byte("x")).fails("InvalidBlobType")
		w.resize(b, page).fails("InvalidBlobType")
		for _, other := range []func() *call{func() *call { return w.create(b, page) }, func() *call { return w.putBlob(b, []byte("x")) }} {
			other().ok(201)
			w.appendTo(b, []byte("x")).fails("InvalidBlobType")
			w.put(b, "comp=seal").fails("InvalidBlobType")
		}
	})
	w.part("sizes", func(w *wire) {
		b := w.appendBlob()
		tooLong(w, func() *call { return w.appendTo(b, nil) }, map[string]int64{version: 100 * mib, "2021-12-02": 4 * mib})
	})
}

func appendSDK(w *wire) {
	c := w.container()
	client := w.sdkContainer(c).NewAppendBlobClient("log")
	_, err := client.Create(ctx, &appendblob.CreateOptions{Metadata: map[string]*string{"k": to.Ptr("v")}})
	w.must(err)
	data := odd(503, 4*mib+9)
	add := func(o *appendblob.AppendBlockOptions) (appendblob.AppendBlockResponse, error) {
		return client.AppendBlock(ctx, streaming.NopCloser(bytes.NewReader(data)), o)
	}
	var want []byte
	for i, v := range []blob.TransferValidationType{nil, blob.TransferValidationTypeComputeCRC64(), blob.TransferValidationTypeComputeStructuredMessageCRC64(0)} {
		got, err := add(&appendblob.AppendBlockOptions{TransactionalValidation: v})
		w.must(err)
		w.equal("offset", val(got.BlobAppendOffset), strconv.Itoa(len(want)))
		w.equal("blocks", fmt.Sprint(val(got.BlobCommittedBlockCount)), fmt.Sprint(i+1))
		want = append(want, data...)
	}
	w.same("content", w.content(c.blob("log")), want)
	_, err = add(&appendblob.AppendBlockOptions{TransactionalValidation: blob.TransferValidationTypeCRC64(7)})
	w.mustFail(err, "Crc64Mismatch")
	_, err = add(&appendblob.AppendBlockOptions{AppendPositionAccessConditions: &appendblob.AppendPositionAccessConditions{AppendPosition: to.Ptr[int64](1)}})
	w.mustFail(err, "AppendPositionConditionNotMet")
	_, err = add(&appendblob.AppendBlockOptions{AppendPositionAccessConditions: &appendblob.AppendPositionAccessConditions{MaxSize: to.Ptr(int64(len(want)))}})
	w.mustFail(err, "MaxBlobSizeConditionNotMet")
	sealed, err := client.Seal(ctx, nil)
	w.must(err)
	w.equal("sealed", fmt.Sprint(val(sealed.IsSealed)), "true")
	got, err := client.GetProperties(ctx, nil)
	w.must(err)
	if !val(got.IsSealed) || val(got.BlobCommittedBlockCount) != 3 || val(got.BlobType) != blob.BlobTypeAppendBlob {
		w.Errorf("properties %+v", got)
	}
	_, err = add(nil)
	w.mustFail(err, "BlobIsSealed")
}

func appendReply(w *wire) {
	b := w.appendBlob()
	before := w.stamp(b)
	data := odd(504, 100)
	for i := range 3 {
		r := w.appendTo(b, data).ok(201)
		w.exactly(r, "ETag", "Last-Modified", "x-ms-request-server-encrypted", "x-ms-blob-append-offset", "x-ms-blob-committed-block-count", "x-ms-content-crc64")
		w.headers(r, "x-ms-blob-append-offset", fmt.Sprint(100*i), "x-ms-blob-committed-block-count", fmt.Sprint(i+1), "x-ms-content-crc64", crcOf(data),
			"x-ms-request-server-encrypted", "true")
		before = w.restamped("appended", before, r, b)
	}
	r := w.appendTo(b, data).hs("Content-MD5", md5Of(data), "x-ms-version", "2021-12-02").ok(201)
	w.headers(r, "Content-MD5", md5Of(data), "x-ms-content-crc64", "-")
	for _, r := range []*reply{w.head(b, "").ok(200), w.get(b, "").ok(200)} {
		w.headers(r, "Content-Length", "400", "x-ms-blob-committed-block-count", "4", "x-ms-blob-type", "AppendBlob", "Content-MD5", "-", "x-ms-blob-sequence-number", "-")
	}
}

func appendReads(w *wire) {
	b := w.appendBlob()
	var want []byte
	for i, size := range []int{1, 511, 513, 1, 7, 4 * mib, 3, 5*mib + 1, 512, 100_000} {
		data := odd(uint64(510+i), size)
		w.headers(w.appendTo(b, data).ok(201), "x-ms-blob-append-offset", fmt.Sprint(len(want)))
		at := len(want)
		want = append(want, data...)
		r := w.get(b, "").h("x-ms-range", fmt.Sprintf("bytes=%d-", max(0, at-1))).ok(206)
		w.same("the end", r.body, want[max(0, at-1):])
	}
	w.same("content", w.content(b), want)
	at := w.snapshot(b)
	w.appendTo(b, []byte("more")).ok(201)
	w.same("the snapshot", w.get(b, "snapshot="+at).ok(200).body, want)
	w.same("content", w.content(b), append(want, "more"...))
}

// appendPositions: where it must be appended, and how large the blob may be afterwards.
func appendPositions(w *wire) {
	b := w.appendBlob()
	add := func(pairs ...string) *call { return w.appendTo(b, []byte("12345")).hs(pairs...) }
	const at, most = "x-ms-blob-condition-appendpos", "x-ms-blob-condition-maxsize"
	add(at, "1").fails("AppendPositionConditionNotMet")
	add(at, "0").ok(201)
	add(at, "0").fails("AppendPositionConditionNotMet") // as a client that tries again learns
	add(at, "5", most, "10").ok(201)
	add(most, "14").fails("MaxBlobSizeConditionNotMet")
	add(most, "0").fails("MaxBlobSizeConditionNotMet")
	add(most, "15").ok(201)
	add(at, "0", most, "0").failsAny([]string{"AppendPositionConditionNotMet", "MaxBlobSizeConditionNotMet"})
	for _, name := range []string{at, most} {
		for _, bad := range []string{"-1", "", "x", "1.0", "9223372036854775808"} {
			add(name, bad).fails("InvalidHeaderValue", "HeaderName", name, "HeaderValue", bad)
		}
		w.putBlob(b, []byte("x")).h(name, "1").fails("UnsupportedHeader", "HeaderName", name)
	}
	w.headers(w.head(b, "").ok(200), "Content-Length", "15")
}

func sealAppendBlob(t T, env *Env) {
	w := env.wire(t)
	w.part("sealed", func(w *wire) {
		b := w.appendBlob()
		w.appendTo(b, []byte("x")).ok(201)
		before := w.stamp(b)
		r := w.put(b, "comp=seal").ok(200)
		w.exactly(r, "ETag", "Last-Modified", "x-ms-blob-sealed")
		w.headers(r, "x-ms-blob-sealed", "true")
		w.restamped("sealed", before, r, b)
		w.appendTo(b, []byte("x")).fails("BlobIsSealed")
		w.headers(w.put(b, "comp=seal").ok(200), "x-ms-blob-sealed", "true") // again
		for _, r := range []*reply{w.head(b, "").ok(200), w.get(b, "").ok(200)} {
			w.headers(r, "x-ms-blob-sealed", "true", "x-ms-blob-committed-block-count", "1", "Content-Length", "1")
		}
		w.equal("listed", w.list(b.container(), "").child("Blobs").children[0].child("Properties").value("Sealed"), "true")
		w.put(b, "comp=metadata").h("x-ms-meta-a", "1").ok(200) // its content alone is for ever
		w.appendTo(b, []byte("x")).fails("BlobIsSealed")
		w.createAppend(b).ok(201)
		w.headers(w.head(b, "").ok(200), "x-ms-blob-sealed", "-")
		w.appendTo(b, []byte("x")).ok(201)
	})
	w.part("conditions", func(w *wire) {
		b := w.appendBlob()
		w.appendTo(b, []byte("xy")).ok(201)
		seal := func() *call { return w.put(b, "comp=seal") }
		seal().h("x-ms-blob-condition-appendpos", "1").fails("AppendPositionConditionNotMet")
		seal().h("x-ms-blob-condition-appendpos", "-1").fails("InvalidHeaderValue", "HeaderName", "x-ms-blob-condition-appendpos")
		seal().h("x-ms-blob-condition-maxsize", "1").fails("UnsupportedHeader")
		seal().h("If-Match", otherETag).fails("ConditionNotMet")
		seal().h("x-ms-if-tags", "a = 'b'").fails("ConditionHeadersNotSupported")
		w.headers(w.head(b, "").ok(200), "x-ms-blob-sealed", "-")
		seal().h("x-ms-blob-condition-appendpos", "2").h("If-Match", w.stamp(b).etag).ok(200)
	})
	w.part("lease", func(w *wire) {
		b := w.appendBlob()
		writeLease(w, b, func() *call { return w.put(b, "comp=seal") }, 200)
	})
	w.part("errors", func(w *wire) {
		b := w.appendBlob()
		missing(w, b, func(b ref) *call { return w.put(b, "comp=seal") })
		onSnapshot(w, b, func(b ref) *call { return w.put(b, "comp=seal") })
	})
}
