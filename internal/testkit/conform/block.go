package conform

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
)

// putBlob is Put Blob of a block blob.
func (w *wire) putBlob(b ref, data []byte) *call {
	return w.put(b, "").h("x-ms-blob-type", "BlockBlob").b(data)
}

// block is Put Block; the id is plain.
func (w *wire) block(b ref, id string, data []byte) *call {
	return w.put(b, "comp=block&blockid="+url.QueryEscape(base64.StdEncoding.EncodeToString([]byte(id)))).b(data)
}

// blockList is Put Block List of entries such as "Latest a", with a plain id.
func (w *wire) blockList(b ref, entries ...string) *call {
	return w.put(b, "comp=blocklist").b(blockListXML(entries...))
}

func blockListXML(entries ...string) []byte {
	var x strings.Builder
	x.WriteString(`<?xml version="1.0" encoding="utf-8"?><BlockList>`)
	for _, e := range entries {
		element, id, _ := strings.Cut(e, " ")
		fmt.Fprintf(&x, "<%s>%s</%s>", element, base64.StdEncoding.EncodeToString([]byte(id)), element)
	}
	x.WriteString("</BlockList>")
	return []byte(x.String())
}

// blocks reads the blocks of a blob: "a:1 b:2 | c:3", or one side of it.
func (w *wire) blocks(b ref, kind string) string {
	w.Helper()
	return w.blocksIn(w.get(b, "comp=blocklist&blocklisttype="+kind).ok(200))
}

func (w *wire) blocksIn(r *reply) string {
	w.Helper()
	root := w.xml(r)
	w.equal("root", root.name, "BlockList")
	var sides []string
	for _, side := range root.children {
		var texts []string
		for _, n := range side.children {
			id, err := base64.StdEncoding.DecodeString(n.value("Name"))
			if err != nil || n.name != "Block" || n.names() != "Name Size" {
				w.Fatalf("entry <%s> of %s, %v:\n%v", n.name, n.names(), err, r)
			}
			texts = append(texts, string(id)+":"+n.value("Size"))
		}
		sides = append(sides, strings.Join(texts, " "))
	}
	switch got := root.names(); got {
	case "CommittedBlocks", "UncommittedBlocks", "CommittedBlocks UncommittedBlocks":
	default:
		w.Errorf("a list of %q:\n%v", got, r)
	}
	return strings.Join(sides, " | ")
}

// sdkBlockBlob returns the SDK's client of a blob, by its plain name.
func (w *wire) sdkBlockBlob(c ref, name string) *blockblob.Client {
	w.Helper()
	return w.sdkContainer(c).NewBlockBlobClient(name)
}

// odd returns n bytes that differ for every label, of any length.
func odd(label uint64, n int) []byte { return fill(label, (n+7)&^7)[:n] }

func putBlockBlob(t T, env *Env) {
	w := env.wire(t)
	w.part("through the SDK", putBlobSDK)
	w.part("the reply", putBlobReply)
	w.part("what is written is read", putBlobReads)
	w.part("checksums", putBlobChecksums)
	w.part("structured messages", func(w *wire) {
		b := w.container().blob("b")
		structuredBody(w, b, func() *call { return w.putBlob(b, nil) }, func(r *reply, data []byte) {
			w.exactly(r, "ETag", "Last-Modified", "x-ms-request-server-encrypted", "Content-MD5", "x-ms-content-crc64", "x-ms-structured-body")
			w.headers(r, "Content-MD5", md5Of(data))
			w.same("content", w.content(b), data)
		})
		r := w.putBlob(b, structured(nil, 1)).hs("x-ms-structured-body", xsm, "x-ms-structured-content-length", "0").ok(201)
		w.headers(r, "x-ms-content-crc64", "AAAAAAAAAAA=")
		w.same("content", w.content(b), nil)
	})
	w.part("properties", putBlobProperties)
	w.part("over an existing blob", putBlobOver)
	w.part("conditions", func(w *wire) {
		c := w.container()
		makeConditions(w, func(b ref) *call { return w.putBlob(b, []byte("x")) }, c)
	})
	w.part("lease", func(w *wire) {
		b := w.container().blob("b")
		w.putBlob(b, []byte("x")).ok(201)
		writeLease(w, b, func() *call { return w.putBlob(b, []byte("x")) }, 201)
	})
	w.part("errors", func(w *wire) {
		b := w.container().blob("b")
		w.putBlob("/none-such/b", []byte("x")).fails("ContainerNotFound")
		metadataErrors(w, func() *call { return w.putBlob(b, []byte("x")) })
		w.putBlob(b, []byte("x")).h("x-ms-tags", "a=1&a=2").fails("DuplicateTagNames")
		w.putBlob(b, nil).leave("Content-Length").h("Transfer-Encoding", "chunked").b([]byte("1\r\nx\r\n0\r\n\r\n")).fails("MissingContentLengthHeader")
		w.putBlob(b, nil).leave("Content-Length").fails("MissingContentLengthHeader")
		w.get(b, "").fails("BlobNotFound")
		w.putBlob(b, []byte("x")).ok(201)
		onSnapshot(w, b, func(b ref) *call { return w.putBlob(b, []byte("y")) })
	})
	w.part("tokens", func(w *wire) {
		c := w.container()
		b := c.blob("b")
		creates := w.service("b", "c")
		w.block(b, "a", []byte("x")).by(creates).ok(201)
		w.blockList(b, "Latest a").by(creates).ok(201)
		w.blockList(b, "Latest a").by(creates).fails("UnauthorizedBlobOverwrite")
		w.putBlob(b, []byte("x")).by(creates).fails("UnauthorizedBlobOverwrite")
		w.createAppend(b).by(creates).fails("UnauthorizedBlobOverwrite")
		w.get(b, "comp=blocklist").by(creates).fails("AuthorizationPermissionMismatch")
		w.get(b, "comp=blocklist").by(w.service("b", "r")).ok(200)
		w.createAppend(b).ok(201)
		w.appendTo(b, []byte("x")).by(w.service("b", "r")).fails("AuthorizationPermissionMismatch")
		w.appendTo(b, []byte("x")).by(w.service("b", "a")).ok(201)
		w.put(b, "comp=seal").by(w.service("b", "a")).fails("AuthorizationPermissionMismatch")
		w.put(b, "comp=seal").by(w.service("b", "w")).ok(200)
	})
	w.part("sizes", func(w *wire) {
		b := w.container().blob("b")
		tooLong(w, func() *call { return w.putBlob(b, nil) }, map[string]int64{version: 5000 * mib, "2019-07-07": 256 * mib, "2015-12-11": 64 * mib})
	})
}

// tooLong announces one byte more than is taken, by version. The body is not sent: the client waits to be told to.
func tooLong(w *wire, request func() *call, most map[string]int64) {
	for v, n := range byKey(most) {
		c := request().hs("x-ms-version", v, "Content-Length", strconv.FormatInt(n+1, 10), "Expect", "100-continue")
		c.expect = true
		c.fails("RequestBodyTooLarge", "MaxLimit", strconv.FormatInt(n, 10))
	}
}

func putBlobSDK(w *wire) {
	c := w.container()
	client := w.sdkBlockBlob(c, "b")
	data := odd(400, 5*mib+17)
	up := func(o *blockblob.UploadOptions) (blockblob.UploadResponse, error) {
		return client.Upload(ctx, streaming.NopCloser(bytes.NewReader(data)), o)
	}
	got, err := up(&blockblob.UploadOptions{Tags: map[string]string{"a": "1"}, Metadata: map[string]*string{"k": to.Ptr("v")},
		HTTPHeaders: &blob.HTTPHeaders{BlobContentType: to.Ptr("x/y")}})
	w.must(err)
	w.equal("MD5", base64.StdEncoding.EncodeToString(got.ContentMD5), md5Of(data))
	w.same("content", w.content(c.blob("b")), data)
	for _, v := range []blob.TransferValidationType{blob.TransferValidationTypeComputeCRC64(), blob.TransferValidationTypeComputeStructuredMessageCRC64(0),
		blob.TransferValidationTypeComputeStructuredMessageCRC64(1000)} {
		_, err = up(&blockblob.UploadOptions{TransactionalValidation: v})
		w.must(err)
		w.same("content", w.content(c.blob("b")), data)
	}
	_, err = up(&blockblob.UploadOptions{TransactionalValidation: blob.TransferValidationTypeCRC64(7)})
	w.mustFail(err, "Crc64Mismatch")
	_, err = up(&blockblob.UploadOptions{AccessConditions: &blob.AccessConditions{
		ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfNoneMatch: to.Ptr[azETag]("*")}}})
	w.mustFail(err, "BlobAlreadyExists")
	// In blocks, as it sends what is long; one at a time, since the pictures of what there is are not for several.
	large := odd(401, 9*mib+3)
	_, err = w.sdkBlockBlob(c, "large").UploadBuffer(ctx, large, &blockblob.UploadBufferOptions{BlockSize: mib, Concurrency: 1})
	w.must(err)
	_, err = w.sdkBlockBlob(c, "stream").UploadStream(ctx, bytes.NewReader(large), &blockblob.UploadStreamOptions{BlockSize: 2 * mib, Concurrency: 1})
	w.must(err)
	w.same("in blocks", w.content(c.blob("large")), large)
	w.same("as a stream", w.content(c.blob("stream")), large)
}

// putBlobReply: which headers come back [R], and what is stored.
func putBlobReply(w *wire) {
	b := w.container().blob("b")
	data := odd(402, 1000)
	r := w.putBlob(b, data).ok(201)
	w.exactly(r, "ETag", "Last-Modified", "Content-MD5", "x-ms-content-crc64", "x-ms-request-server-encrypted")
	w.headers(r, "Content-MD5", md5Of(data), "x-ms-content-crc64", crcOf(data), "x-ms-request-server-encrypted", "true")
	before := w.stamp(b)
	w.equal("stamp", fmt.Sprint(stampOf(r)), fmt.Sprint(before))
	r = w.putBlob(b, data).h("x-ms-version", "2018-11-09").ok(201) // before there was a CRC-64
	w.exactly(r, "ETag", "Last-Modified", "Content-MD5", "x-ms-request-server-encrypted")
	w.restamped("written again with the same", before, r, b)
	for _, r := range []*reply{w.head(b, "").ok(200), w.get(b, "").ok(200)} {
		w.headers(r, "x-ms-blob-type", "BlockBlob", "Content-Length", "1000", "Content-MD5", md5Of(data), "Content-Type", "application/octet-stream",
			"x-ms-blob-sequence-number", "-", "x-ms-blob-committed-block-count", "-", "x-ms-blob-sealed", "-", "x-ms-lease-state", "available")
	}
	w.headers(w.get(b, "").h("x-ms-range", "bytes=0-9").ok(206), "Content-MD5", "-", "x-ms-blob-content-md5", md5Of(data))
	n := w.list(b.container(), "").child("Blobs").children[0].child("Properties")
	w.equal("listed type", n.value("BlobType"), "BlockBlob")
	w.equal("listed length", n.value("Content-Length"), "1000")
	w.equal("listed MD5", n.value("Content-MD5"), md5Of(data))
	if n.child("x-ms-blob-sequence-number") != nil {
		w.Errorf("a block blob is listed with a sequence number")
	}
}

// putBlobReads: blobs of all sizes around those that a store may take as a unit, and ranges of them.
func putBlobReads(w *wire) {
	c := w.container()
	for i, size := range []int{0, 1, 511, 512, 513, 4095, 64<<10 + 1, mib - 1, 4*mib - 1, 4 * mib, 4*mib + 1, 8 * mib, 12*mib + 511} {
		b, data := c.blob(fmt.Sprint(size)), odd(uint64(410+i), size)
		w.headers(w.putBlob(b, data).ok(201), "Content-MD5", md5Of(data), "x-ms-content-crc64", crcOf(data))
		w.same(fmt.Sprint(size, " bytes"), w.content(b), data)
		if size < 2 {
			continue
		}
		for _, rg := range [][2]int{{0, 0}, {size - 1, size - 1}, {size / 2, size - 1}, {1, size + 100}} {
			r := w.get(b, "").h("x-ms-range", fmt.Sprintf("bytes=%d-%d", rg[0], rg[1])).ok(206)
			end := min(rg[1]+1, size)
			w.headers(r, "Content-Range", fmt.Sprintf("bytes %d-%d/%d", rg[0], end-1, size))
			w.same("a range", r.body, data[rg[0]:end])
		}
		r := w.get(b, "").h("x-ms-range", fmt.Sprintf("bytes=%d-", size)).fails("InvalidRange")
		w.headers(r, "Content-Range", fmt.Sprintf("bytes */%d", size))
	}
	w.get(c.blob("0"), "").h("x-ms-range", "bytes=0-").fails("InvalidRange")
}

func putBlobChecksums(w *wire) {
	for _, size := range []int{1000, 4*mib + 5} {
		b := w.container().blob("b")
		data, other := odd(430, size), odd(431, size)
		put := func(pairs ...string) *call { return w.putBlob(b, data).hs(pairs...) }
		sums(w, put, data, other)
		w.headers(put("Content-MD5", md5Of(data)).ok(201), "Content-MD5", md5Of(data), "x-ms-content-crc64", crcOf(data))
		w.headers(put("x-ms-content-crc64", crcOf(data)).ok(201), "Content-MD5", md5Of(data), "x-ms-content-crc64", crcOf(data))
		// What the blob is to have guards the transport as well, and wins [A].
		put("x-ms-blob-content-md5", md5Of(data)).ok(201)
		put("x-ms-blob-content-md5", md5Of(data), "Content-MD5", md5Of(other)).ok(201)
		put("x-ms-blob-content-md5", md5Of(data), "x-ms-content-crc64", crcOf(data)).ok(201)
		put("x-ms-blob-content-md5", md5Of(other)).fails("Md5Mismatch", "UserSpecifiedMd5", md5Of(other), "ServerCalculatedMd5", md5Of(data))
		put("x-ms-blob-content-md5", md5Of(other), "Content-MD5", md5Of(data)).fails("Md5Mismatch")
		put("x-ms-blob-content-md5", "AAEC").fails("InvalidMd5")
		w.headers(w.head(b, "").ok(200), "Content-MD5", md5Of(data))
		w.same("content", w.content(b), data)
	}
}

// sums: a body must be what the checksum sent with it says.
func sums(w *wire, put func(pairs ...string) *call, data, other []byte) {
	w.Helper()
	put("Content-MD5", md5Of(data)).ok(201)
	put("x-ms-content-crc64", crcOf(data)).ok(201)
	put("Content-MD5", md5Of(other)).fails("Md5Mismatch", "UserSpecifiedMd5", md5Of(other), "ServerCalculatedMd5", md5Of(data))
	put("Content-MD5", "AAEC").fails("InvalidMd5")
	put("x-ms-content-crc64", crcOf(other)).fails("Crc64Mismatch", "UserSpecifiedCrc64", crcOf(other), "ServerCalculatedCrc64", crcOf(data))
	put("x-ms-content-crc64", "AAEC").fails("InvalidHeaderValue", "HeaderName", "x-ms-content-crc64", "HeaderValue", "AAEC")
	put("Content-MD5", md5Of(data), "x-ms-content-crc64", crcOf(data)).fails("BothCrc64AndMd5HeaderPresent")
}

// structuredBody sends the body of a request as a structured message: in order, and not. good looks at a success.
func structuredBody(w *wire, b ref, request func() *call, good func(r *reply, data []byte)) {
	for i, c := range []struct{ size, segment int }{{2000, 600}, {4 * mib, 4 * mib}, {9*mib + 7, mib + 3}} {
		data := odd(uint64(440+i), c.size)
		message := structured(data, c.segment)
		put := func(body []byte) *call {
			return request().hs("x-ms-structured-body", xsm, "x-ms-structured-content-length", strconv.Itoa(c.size)).b(body)
		}
		r := put(message).ok(201)
		w.headers(r, "x-ms-structured-body", xsm, "x-ms-content-crc64", crcOf(data))
		good(r, data)
		for _, at := range []int{40, 13 + 10 + c.segment + 2, len(message) - 1} {
			bad := bytes.Clone(message)
			bad[at] ^= 4
			put(bad).fails("Crc64Mismatch", "UserSpecifiedCrc64", "*", "ServerCalculatedCrc64", "*")
		}
		put(append(bytes.Clone(message), 0)).fails("InvalidInput")
		put(message[:len(message)-1]).fails("InvalidInput")
		put(message).h("Content-MD5", md5Of(message)).fails("UnsupportedHeader", "HeaderName", "Content-MD5")
		request().h("x-ms-structured-content-length", "5").b(message).fails("MissingRequiredHeader", "HeaderName", "x-ms-structured-body")
	}
}

// putBlobProperties: x-ms-blob-* is stored, the plain header where the custom one is absent; tags and metadata.
func putBlobProperties(w *wire) {
	b := w.container().blob("b")
	w.putBlob(b, []byte("x")).hs("x-ms-blob-content-type", "image/x", "x-ms-blob-content-encoding", "gzip", "x-ms-blob-content-language", "fr",
		"x-ms-blob-cache-control", "no-cache", "x-ms-blob-content-disposition", "attachment", "Content-Type", "not/this", "x-ms-meta-a", "1",
		"x-ms-tags", "t=1&u=2").ok(201)
	w.headers(w.get(b, "").ok(200), "Content-Type", "image/x", "Content-Encoding", "gzip", "Content-Language", "fr", "Cache-Control", "no-cache",
		"Content-Disposition", "attachment", "x-ms-meta-a", "1", "x-ms-tag-count", "2")
	w.equal("tags", w.tags(w.get(b, "comp=tags")), "t=1 u=2")
	w.putBlob(b, []byte("x")).h("Content-Type", "text/plain").ok(201)
	w.headers(w.head(b, "").ok(200), "Content-Type", "text/plain", "Content-Encoding", "-", "x-ms-meta-a", "-", "x-ms-tag-count", "-")
	w.put(b, "comp=properties").h("x-ms-blob-content-type", "c/d").ok(200)
	w.headers(w.head(b, "").ok(200), "Content-Type", "c/d", "Content-MD5", "-")
	w.resize(b, page).fails("InvalidBlobType")
}

// putBlobOver: content, properties, metadata and waiting blocks are replaced, the type too; snapshots and an active lease stay.
func putBlobOver(w *wire) {
	b := w.pageBlob(2 * page)
	old := fill(450, 2*page)
	w.update(b, 0, old).ok(201)
	at := w.snapshot(b)
	w.acquire(b, leaseA, -1).ok(201)
	before := w.stamp(b)
	w.putBlob(b, []byte("new")).fails("LeaseIdMissing")
	r := w.putBlob(b, []byte("new")).h("x-ms-lease-id", leaseA).ok(201)
	w.restamped("over a page blob", before, r, b)
	w.headers(w.head(b, "").ok(200), "x-ms-blob-type", "BlockBlob", "Content-Length", "3", "x-ms-lease-state", "leased")
	w.same("the snapshot", w.get(b, "snapshot="+at).ok(200).body, old)
	w.lease(b, "release").h("x-ms-lease-id", leaseA).ok(200)
	// Blocks that waited are gone.
	w.block(b, "a", []byte("1")).ok(201)
	w.putBlob(b, []byte("newer")).ok(201)
	w.equal("blocks", w.blocks(b, "all"), " | ")
	w.blockList(b, "Latest a").fails("InvalidBlockList")
	// A snapshot of a block blob stays what it was.
	at = w.snapshot(b)
	w.putBlob(b, []byte("newest")).ok(201)
	w.same("the snapshot", w.get(b, "snapshot="+at).ok(200).body, []byte("newer"))
	w.same("content", w.content(b), []byte("newest"))
	w.create(b, page).ok(201) // and back
	w.headers(w.head(b, "").ok(200), "x-ms-blob-type", "PageBlob", "x-ms-blob-sequence-number", "0")
}

// makeConditions: the conditions of an operation that makes a blob, or makes it anew.
func makeConditions(w *wire, request func(b ref) *call, c ref) {
	b := c.blob("conditions")
	request(b).h("If-Match", "*").fails("ConditionNotMet")
	request(b).h("If-Match", otherETag).fails("ConditionNotMet")
	request(b).h("If-None-Match", "*").ok(201)
	request(b).h("If-None-Match", "*").fails("BlobAlreadyExists")
	s := w.stamp(b)
	matrix(func(m, n, ms, us condTerm) {
		c := request(b).with(s, m, n, ms, us)
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
	request(b).h("x-ms-if-tags", "a = 'c'").fails("ConditionNotMet")
	request(b).h("x-ms-if-tags", "a = 'b'").ok(201)
}

func putBlock(t T, env *Env) {
	w := env.wire(t)
	w.part("through the SDK", blockSDK)
	w.part("the reply", blockReply)
	w.part("checksums", func(w *wire) {
		b := w.container().blob("b")
		for _, size := range []int{1000, 4*mib + 5} {
			data, other := odd(460, size), odd(461, size)
			sums(w, func(pairs ...string) *call { return w.block(b, "a", data).hs(pairs...) }, data, other)
		}
	})
	w.part("structured messages", func(w *wire) {
		b := w.container().blob("b")
		structuredBody(w, b, func() *call { return w.block(b, "a", nil) }, func(r *reply, data []byte) {
			w.exactly(r, "x-ms-request-server-encrypted", "x-ms-content-crc64", "x-ms-structured-body")
			w.equal("blocks", w.blocks(b, "uncommitted"), fmt.Sprintf("a:%d", len(data)))
		})
		w.block(b, "a", structured(nil, 1)).hs("x-ms-structured-body", xsm, "x-ms-structured-content-length", "0").
			fails("InvalidHeaderValue", "HeaderName", "x-ms-structured-content-length")
	})
	w.part("ids", blockIDs)
	w.part("nothing shows", blockHidden)
	w.part("staged again", func(w *wire) {
		b := w.container().blob("b")
		w.block(b, "a", []byte("first")).ok(201)
		w.block(b, "a", []byte("second try")).ok(201)
		w.block(b, "b", odd(462, 5*mib)).ok(201)
		w.block(b, "b", []byte("!")).ok(201)
		w.equal("blocks", w.blocks(b, "uncommitted"), "a:10 b:1")
		w.blockList(b, "Latest a", "Latest b").ok(201)
		w.same("content", w.content(b), []byte("second try!"))
	})
	w.part("lease", func(w *wire) {
		b := w.container().blob("b")
		w.putBlob(b, []byte("x")).ok(201)
		writeLease(w, b, func() *call { return w.block(b, "a", []byte("x")) }, 201)
	})
	w.part("errors", func(w *wire) {
		w.block("/none-such/b", "a", []byte("x")).fails("ContainerNotFound")
		b := w.container().blob("b")
		w.block(b, "a", nil).fails("InvalidHeaderValue", "HeaderName", "Content-Length", "HeaderValue", "0")
		w.block(b, "a", nil).leave("Content-Length").h("Transfer-Encoding", "chunked").b([]byte("1\r\nx\r\n0\r\n\r\n")).fails("MissingContentLengthHeader")
		w.block(b, "a", []byte("x")).h("If-Match", "*").fails("ConditionHeadersNotSupported")
		w.get(b, "").fails("BlobNotFound")
		pages := b.container().blob("pages")
		w.create(pages, page).ok(201)
		w.block(pages, "a", []byte("x")).fails("InvalidBlobType")
		w.blockList(pages).fails("InvalidBlobType")
		w.get(pages, "comp=blocklist").fails("InvalidBlobType")
		w.createAppend(pages).ok(201)
		w.block(pages, "a", []byte("x")).fails("InvalidBlobType")
		w.blockList(pages).fails("InvalidBlobType")
		w.get(pages, "comp=blocklist").fails("InvalidBlobType")
		w.putBlob(b, []byte("x")).ok(201)
		w.update(b, 0, fill(463, page)).fails("InvalidBlobType")
		w.clear(b, 0, page).fails("InvalidBlobType")
		w.pageList(b).fails("InvalidBlobType")
		onSnapshot(w, b, func(b ref) *call { return w.block(b, "a", []byte("x")) })
	})
	w.part("sizes", func(w *wire) {
		b := w.container().blob("b")
		tooLong(w, func() *call { return w.block(b, "a", nil) }, map[string]int64{version: 4000 * mib, "2019-07-07": 100 * mib, "2015-12-11": 4 * mib})
	})
}

func blockSDK(w *wire) {
	c := w.container()
	client := w.sdkBlockBlob(c, "b")
	data := odd(464, 5*mib+1)
	id := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	stage := func(name string, v blob.TransferValidationType) error {
		_, err := client.StageBlock(ctx, id(name), streaming.NopCloser(bytes.NewReader(data)), &blockblob.StageBlockOptions{TransactionalValidation: v})
		return err
	}
	w.must(stage("a", nil))
	w.must(stage("b", blob.TransferValidationTypeComputeCRC64()))
	w.must(stage("c", blob.TransferValidationTypeComputeStructuredMessageCRC64(0)))
	w.mustFail(stage("d", blob.TransferValidationTypeCRC64(7)), "Crc64Mismatch")
	w.mustFail(stage("long", nil), "InvalidBlobOrBlock")
	got, err := client.GetBlockList(ctx, blockblob.BlockListTypeAll, nil)
	w.must(err)
	if len(got.CommittedBlocks) != 0 || len(got.UncommittedBlocks) != 3 || val(got.UncommittedBlocks[1].Name) != id("b") || val(got.UncommittedBlocks[1].Size) != int64(len(data)) {
		w.Errorf("a list of %+v", got.BlockList)
	}
	_, err = client.GetProperties(ctx, nil)
	w.mustFail(err, "BlobNotFound")
	_, err = client.CommitBlockList(ctx, []string{id("c"), id("a")}, &blockblob.CommitBlockListOptions{Metadata: map[string]*string{"k": to.Ptr("v")}, Tags: map[string]string{"a": "b"}})
	w.must(err)
	w.same("content", w.content(c.blob("b")), append(bytes.Clone(data), data...))
	_, err = client.CommitBlockList(ctx, []string{id("b")}, nil)
	w.mustFail(err, "InvalidBlockList")
}

func blockReply(w *wire) {
	b := w.container().blob("b")
	data := odd(465, 700)
	for range 2 { // a name without a blob, then one with a blob
		r := w.block(b, "a", data).ok(201)
		w.exactly(r, "x-ms-content-crc64", "x-ms-request-server-encrypted")
		w.headers(r, "x-ms-content-crc64", crcOf(data), "x-ms-request-server-encrypted", "true")
		r = w.block(b, "a", data).hs("x-ms-version", "2021-12-02", "Content-MD5", md5Of(data)).ok(201)
		w.exactly(r, "Content-MD5", "x-ms-request-server-encrypted")
		w.headers(r, "Content-MD5", md5Of(data))
		w.headers(w.block(b, "a", data).h("Content-MD5", md5Of(data)).ok(201), "Content-MD5", md5Of(data), "x-ms-content-crc64", crcOf(data)) // [S]
		w.exactly(w.block(b, "a", data).h("x-ms-version", "2018-11-09").ok(201), "Content-MD5", "x-ms-request-server-encrypted")
		w.putBlob(b, []byte("x")).ok(201)
	}
}

// blockIDs: 1 to 64 bytes, all of one blob as many.
func blockIDs(w *wire) {
	c := w.container()
	for n := 1; n <= 64; n += 3 {
		b, id := c.blob(fmt.Sprint(n)), strings.Repeat("\xfb\xef\xbe", 22)[:n] // + and / in base64
		w.block(b, id, []byte("x")).ok(201)
		w.equal("blocks", w.blocks(b, "uncommitted"), id+":1")
		w.block(b, id+"a", []byte("x")).failsAny([]string{"InvalidBlobOrBlock", "InvalidQueryParameterValue"})
		w.blockList(b, "Latest "+id).ok(201)
		w.equal("blocks", w.blocks(b, "committed"), id+":1")
	}
	b := c.blob("b")
	for _, bad := range []string{"", "A", "AAA", "AA A", "-_-_", "AAAA%0A", "%3D", strings.Repeat("A", 88), "QUFB+w%3D%3D"} {
		w.put(b, "comp=block&blockid="+strings.ReplaceAll(bad, " ", "%20")).b([]byte("x")).
			fails("InvalidQueryParameterValue", "QueryParameterName", "blockid")
	}
	w.put(b, "comp=block&blockid=AAAA&blockid=AAAA").b([]byte("x")).fails("InvalidQueryParameterValue", "QueryParameterName", "blockid")
	w.put(b, "comp=block").b([]byte("x")).fails("MissingRequiredQueryParameter", "QueryParameterName", "blockid")
	w.put(b, "comp=block&blockid=QQ==").b([]byte("x")).ok(201) // an equals sign need not be encoded
	w.block(b, "A", []byte("y")).ok(201)
	w.equal("blocks", w.blocks(b, "uncommitted"), "A:1")
	w.block(b, "AB", []byte("y")).fails("InvalidBlobOrBlock")
}

// blockHidden: a blob of which only blocks are there is none, and blocks change nothing about one that is there.
func blockHidden(w *wire) {
	c := w.container()
	b := c.blob("b")
	w.block(b, "a", []byte("x")).ok(201)
	w.get(b, "").fails("BlobNotFound")
	w.head(b, "").fails("BlobNotFound")
	w.get(b, "comp=metadata").fails("BlobNotFound")
	w.put(b, "comp=metadata").fails("BlobNotFound")
	w.put(b, "comp=snapshot").fails("BlobNotFound")
	w.equal("listed", fmt.Sprint(listedNames(w.list(c, ""))), "[]")
	w.equal("listed", fmt.Sprint(listedNames(w.list(c, "&include=snapshots,metadata"))), "[]")
	root := w.list(c, "&include=uncommittedblobs")
	w.equal("listed with what is not committed", fmt.Sprint(listedNames(root)), "[b]")
	w.equal("its length", root.child("Blobs").children[0].child("Properties").value("Content-Length"), "0")
	w.blockList(b, "Latest a").h("If-None-Match", "*").ok(201)
	before := w.stamp(b)
	w.block(b, "b", []byte("y")).ok(201)
	w.unstamped("a block", before, b)
	w.same("content", w.content(b), []byte("x"))
	w.equal("blocks", w.blocks(b, "all"), "a:1 | b:1")
	w.equal("listed", fmt.Sprint(listedNames(w.list(c, "&include=uncommittedblobs"))), "[b]")
}

func putBlockList(t T, env *Env) {
	w := env.wire(t)
	w.part("the reply", listReply)
	w.part("sources", listSources)
	w.part("ranges over blocks", listRanges)
	w.part("documents", listDocuments)
	w.part("checksums", func(w *wire) {
		b := w.container().blob("b")
		w.block(b, "a", []byte("x")).ok(201)
		body, other := blockListXML("Latest a"), blockListXML("Latest b")
		sums(w, func(pairs ...string) *call { return w.blockList(b, "Latest a").hs(pairs...) }, body, other)
		damaged := bytes.Replace(body, []byte("<Latest>"), []byte("<Latesx>"), 1) // told as what it is
		w.put(b, "comp=blocklist").b(damaged).h("Content-MD5", md5Of(body)).fails("Md5Mismatch")
		// The MD5 of the blob is taken as it is.
		w.blockList(b, "Latest a").h("x-ms-blob-content-md5", md5Of([]byte("other"))).ok(201)
		w.headers(w.head(b, "").ok(200), "Content-MD5", md5Of([]byte("other")))
		w.blockList(b, "Latest a").ok(201)
		w.headers(w.head(b, "").ok(200), "Content-MD5", "-")
		w.blockList(b, "Latest a").h("x-ms-blob-content-md5", "AAEC").fails("InvalidMd5")
	})
	w.part("properties", listProperties)
	w.part("snapshots", listOfSnapshots)
	w.versioned("versions", listOfVersions)
	w.immutable("protected", protectedBlocks)
	w.part("conditions", func(w *wire) { makeConditions(w, func(b ref) *call { return w.blockList(b) }, w.container()) })
	w.part("lease", func(w *wire) {
		b := w.container().blob("b")
		w.putBlob(b, []byte("x")).ok(201)
		writeLease(w, b, func() *call { return w.blockList(b) }, 201)
	})
	w.part("errors", func(w *wire) {
		w.blockList("/none-such/b").fails("ContainerNotFound")
		b := w.container().blob("b")
		metadataErrors(w, func() *call { return w.blockList(b) })
		w.blockList(b).leave("Content-Length").fails("MissingContentLengthHeader")
		w.get(b, "").fails("BlobNotFound")
		w.putBlob(b, []byte("x")).ok(201)
		onSnapshot(w, b, func(b ref) *call { return w.blockList(b) })
	})
}

func listReply(w *wire) {
	b := w.container().blob("b")
	w.block(b, "a", []byte("xy")).ok(201)
	r := w.blockList(b, "Latest a").ok(201)
	w.exactly(r, "ETag", "Last-Modified", "x-ms-content-crc64", "x-ms-request-server-encrypted")
	w.headers(r, "x-ms-content-crc64", crcOf(blockListXML("Latest a")), "x-ms-request-server-encrypted", "true")
	before := w.stamp(b)
	r = w.blockList(b, "Latest a").h("Content-MD5", md5Of(blockListXML("Latest a"))).h("x-ms-version", "2021-12-02").ok(201)
	w.exactly(r, "ETag", "Last-Modified", "Content-MD5", "x-ms-request-server-encrypted")
	w.restamped("committed again", before, r, b)
	w.headers(w.get(b, "").ok(200), "x-ms-blob-type", "BlockBlob", "Content-Length", "2", "x-ms-blob-sequence-number", "-", "Content-Type", "application/octet-stream")
}

// listSources: where blocks are looked for, in which order they come, and what is left afterwards.
func listSources(w *wire) {
	b := w.container().blob("b")
	block := func(id, data string) { w.Helper(); w.block(b, id, []byte(data)).ok(201) }
	holds := func(content, blocks string) {
		w.Helper()
		w.same("content", w.content(b), []byte(content))
		w.equal("blocks", w.blocks(b, "all"), blocks)
	}
	w.blockList(b).ok(201) // of nothing
	holds("", " | ")
	block("a", "1")
	block("b", "22")
	block("c", "333")
	w.blockList(b, "Committed a").fails("InvalidBlockList")
	w.blockList(b, "Latest d").fails("InvalidBlockList")
	w.blockList(b, "Latest a", "Uncommitted b", "Latest a").ok(201)
	holds("1221", "a:1 b:2 a:1 | ") // c was not named, and is gone
	w.blockList(b, "Latest c").fails("InvalidBlockList")
	w.blockList(b, "Uncommitted a").fails("InvalidBlockList")
	block("a", "four")
	w.equal("blocks", w.blocks(b, "all"), "a:1 b:2 a:1 | a:4")
	w.blockList(b, "Committed b", "Latest a", "Committed a", "Uncommitted a").ok(201)
	holds("22four1four", "b:2 a:4 a:1 a:4 | ")
	w.blockList(b, "Latest b").ok(201)
	holds("22", "b:2 | ")
	w.blockList(b, "Latest b", "Latest b", "Latest b").ok(201)
	holds("222222", "b:2 b:2 b:2 | ")
	w.blockList(b).ok(201)
	holds("", " | ")
	w.putBlob(b, []byte("whole")).ok(201)
	holds("whole", " | ") // not made of blocks
}

// listRanges reads over the ends of blocks of many sizes.
func listRanges(w *wire) {
	b := w.container().blob("b")
	var want []byte
	var entries []string
	var starts []int
	for i, size := range []int{1, 511, 512, 513, 5*mib + 3, 1, 100_000, 4 * mib, 7} {
		id, data := fmt.Sprint(i), odd(uint64(470+i), size)
		w.block(b, id, data).ok(201)
		entries = append(entries, "Latest "+id)
		starts = append(starts, len(want))
		want = append(want, data...)
	}
	w.blockList(b, entries...).ok(201)
	w.same("content", w.content(b), want)
	for _, at := range starts[1:] {
		for _, rg := range [][2]int{{at - 1, at}, {at, at}, {at - 1, at - 1}, {max(0, at-600), at + 600}} {
			end := min(rg[1]+1, len(want))
			r := w.get(b, "").h("x-ms-range", fmt.Sprintf("bytes=%d-%d", rg[0], end-1)).ok(206)
			w.same(fmt.Sprint("range ", rg), r.body, want[rg[0]:end])
		}
	}
	// Another order, of the same blocks.
	w.blockList(b, "Latest 4", "Latest 0", "Latest 8").ok(201)
	w.same("content", w.content(b), append(append(bytes.Clone(odd(474, 5*mib+3)), odd(470, 1)...), odd(478, 7)...))
}

func listDocuments(w *wire) {
	b := w.container().blob("b")
	w.block(b, "a", []byte("x")).ok(201)
	list := func(body string) *call { return w.put(b, "comp=blocklist").b([]byte(body)) }
	for _, bad := range []string{"", "{}", "<BlockList>", "<Blocks/>", "<BlockList>YQ==</BlockList>", "<BlockList><Latest>YQ==</Committed></BlockList>",
		"<!DOCTYPE a><BlockList/>", "<BlockList/><BlockList/>", `{"Latest":"YQ=="}`} {
		list(bad).fails("InvalidXmlDocument")
	}
	list("<BlockList><Newest>YQ==</Newest></BlockList>").fails("UnsupportedXmlNode")
	for _, bad := range []string{"", "a", "Y Q==", "-_==", strings.Repeat("A", 92)} {
		list("<BlockList><Latest>" + bad + "</Latest></BlockList>").fails("InvalidBlockId")
	}
	many := strings.Repeat("<Latest>YQ==</Latest>", 50_000)
	list("<BlockList>" + many + "<Latest>YQ==</Latest></BlockList>").fails("BlockListTooLong")
	list("\xef\xbb\xbf<?xml version=\"1.0\" encoding=\"utf-8\"?>\r\n<BlockList xmlns:i=\"http://x\">\r\n  <Latest> YQ== </Latest>\r\n</BlockList>\r\n").ok(201)
	w.same("content", w.content(b), []byte("x"))
	list("<BlockList>" + many + "</BlockList>").ok(201)
	w.same("content", w.content(b), bytes.Repeat([]byte("x"), 50_000))
}

func listProperties(w *wire) {
	b := w.container().blob("b")
	w.block(b, "a", []byte("x")).ok(201)
	w.blockList(b, "Latest a").hs("x-ms-blob-content-type", "image/x", "x-ms-blob-content-encoding", "gzip", "x-ms-blob-content-language", "fr",
		"x-ms-blob-cache-control", "no-cache", "x-ms-blob-content-disposition", "attachment", "x-ms-meta-a", "1", "x-ms-tags", "t=1",
		"Content-Type", "application/xml").ok(201)
	w.headers(w.get(b, "").ok(200), "Content-Type", "image/x", "Content-Encoding", "gzip", "Content-Language", "fr", "Cache-Control", "no-cache",
		"Content-Disposition", "attachment", "x-ms-meta-a", "1", "x-ms-tag-count", "1")
	w.blockList(b, "Latest a").h("Content-Type", "application/xml").ok(201) // which is that of the list
	w.headers(w.head(b, "").ok(200), "Content-Type", "application/octet-stream", "Content-Encoding", "-", "x-ms-meta-a", "-", "x-ms-tag-count", "-")
}

// listOfSnapshots: a snapshot keeps its content and its blocks, whatever becomes of those of the blob.
func listOfSnapshots(w *wire) {
	b := w.container().blob("b")
	w.block(b, "a", []byte("one")).ok(201)
	w.block(b, "b", []byte("two")).ok(201)
	w.blockList(b, "Latest a", "Latest b").ok(201)
	w.block(b, "c", []byte("three")).ok(201)
	at := w.snapshot(b)
	w.blockList(b, "Latest c").ok(201)
	w.same("the snapshot", w.get(b, "snapshot="+at).ok(200).body, []byte("onetwo"))
	w.equal("its blocks", w.blocks(b, "committed&snapshot="+at), "a:3 b:3")
	w.same("content", w.content(b), []byte("three"))
	w.blockList(b, "Latest a").fails("InvalidBlockList")
	w.copy(b, b, "snapshot="+at).ok(202)
	w.same("promoted", w.content(b), []byte("onetwo"))
	w.equal("its blocks", w.blocks(b, "committed"), "a:3 b:3")
}

// listOfVersions: with versioning, what is overwritten stays as a version, with its blocks.
func listOfVersions(w *wire) {
	b := w.container().blob("b")
	w.block(b, "a", []byte("one")).ok(201)
	first := w.blockList(b, "Latest a").ok(201).get("x-ms-version-id")
	w.block(b, "b", []byte("two")).ok(201)
	second := w.blockList(b, "Latest a", "Latest b").ok(201).get("x-ms-version-id")
	third := w.putBlob(b, []byte("three")).ok(201).get("x-ms-version-id")
	if first == "" || second <= first || third <= second {
		w.Errorf("versions %q, %q, %q", first, second, third)
	}
	for version, want := range map[string]string{first: "one a:3", second: "onetwo a:3 b:3", third: "three "} {
		got := string(w.get(b, "").q("versionid", version).ok(200).body) + " " +
			w.blocksIn(w.get(b, "comp=blocklist").q("versionid", version).ok(200))
		w.equal("version "+version, got, want)
	}
}

// protectedBlocks: what is protected from the beginning is neither replaced nor made longer.
func protectedBlocks(w *wire) {
	c := w.immutableContainer()
	b, log := c.blob("b"), c.blob("log")
	w.block(b, "a", []byte("x")).ok(201)
	w.blockList(b, "Latest a").h("x-ms-legal-hold", "true").ok(201)
	w.createAppend(log).h("x-ms-legal-hold", "true").ok(201)
	free := c.blob("free")
	w.putBlob(free, []byte("f")).ok(201)
	for _, c := range []*call{w.putBlob(b, []byte("y")), w.blockList(b), w.delete(b, ""), w.createAppend(log), w.putBlob(log, nil), w.put(log, "comp=seal"),
		w.blobFrom(b, free), w.syncCopy(b, free), w.blobFrom(log, free), w.appendFrom(log, free, 0, 0)} {
		c.fails("BlobImmutableDueToPolicy")
	}
	w.putBlob(c.blob("whole"), []byte("z")).h("x-ms-legal-hold", "true").ok(201)
	for _, b := range []ref{b, log, c.blob("whole")} {
		w.headers(w.head(b, "").ok(200), "x-ms-legal-hold", "true")
		w.hold(b, "", "false").ok(200)
	}
	w.blockList(b).ok(201)
}

func getBlockList(t T, env *Env) {
	w := env.wire(t)
	b := w.container().blob("b")
	w.block(b, "b", []byte("22")).ok(201)
	get := func(query string) *call { return w.get(b, "comp=blocklist"+query) }
	w.part("before there is a blob", func(w *wire) {
		get("").fails("BlobNotFound")
		get("&blocklisttype=committed").fails("BlobNotFound")
		for _, kind := range []string{"uncommitted", "all"} {
			r := get("&blocklisttype=" + kind).ok(200)
			w.exactly(r, "Content-Type", "x-ms-blob-content-length")
			w.headers(r, "Content-Type", "application/xml", "x-ms-blob-content-length", "0")
		}
		w.equal("blocks", w.blocks(b, "uncommitted"), "b:2")
		w.equal("blocks", w.blocks(b, "all"), " | b:2")
	})
	w.block(b, "a", []byte("1")).ok(201)
	w.blockList(b, "Latest b", "Latest a").ok(201)
	w.block(b, "z", []byte("zz")).ok(201)
	w.block(b, "y", []byte("y")).ok(201)
	w.part("the reply", func(w *wire) {
		r := get("").ok(200)
		w.exactly(r, "ETag", "Last-Modified", "Content-Type", "x-ms-blob-content-length")
		w.headers(r, "Content-Type", "application/xml", "x-ms-blob-content-length", "3")
		w.equal("stamp", fmt.Sprint(stampOf(r)), fmt.Sprint(w.stamp(b)))
		w.equal("blocks", w.blocksIn(r), "b:2 a:1") // in the order of the blob
		w.equal("blocks", w.blocks(b, "Committed"), "b:2 a:1")
		w.equal("blocks", w.blocks(b, "UNCOMMITTED"), "y:1 z:2") // in that of the ids
		w.equal("blocks", w.blocks(b, "all"), "b:2 a:1 | y:1 z:2")
	})
	w.part("through the SDK", func(w *wire) {
		got, err := w.sdkBlockBlob(b.container(), "b").GetBlockList(ctx, blockblob.BlockListTypeAll, nil)
		w.must(err)
		if len(got.CommittedBlocks) != 2 || len(got.UncommittedBlocks) != 2 || val(got.BlobContentLength) != 3 || val(got.ETag) == "" {
			w.Errorf("a list of %+v", got)
		}
	})
	w.part("conditions", func(w *wire) {
		w.setTags(b, "a", "b").ok(204)
		get("").h("x-ms-if-tags", "a = 'c'").fails("ConditionNotMet")
		get("").h("x-ms-if-tags", "a = 'b'").ok(200)
		get("").h("If-Match", "*").fails("ConditionHeadersNotSupported")
		get("").h("x-ms-lease-id", leaseA).fails("LeaseNotPresentWithBlobOperation")
	})
	w.part("errors", func(w *wire) {
		for _, bad := range []string{"", "some", "all,committed"} {
			get("").q("blocklisttype", bad).fails("InvalidQueryParameterValue", "QueryParameterName", "blocklisttype", "QueryParameterValue", bad)
		}
		get("&blocklisttype=all&blocklisttype=all").fails("InvalidQueryParameterValue", "QueryParameterName", "blocklisttype")
		missing(w, b, func(b ref) *call { return w.get(b, "comp=blocklist&blocklisttype=all") })
	})
}
