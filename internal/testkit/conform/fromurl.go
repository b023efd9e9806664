package conform

import (
	"crypto/md5"
	"encoding/base64"
	"fmt"
	"net/url"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/appendblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
)

// blobFrom is Put Blob From URL.
func (w *wire) blobFrom(to, from ref) *call {
	return w.put(to, "").hs("x-ms-blob-type", "BlockBlob", "x-ms-copy-source", w.url(from))
}

// blockFrom is Put Block From URL, of bytes [start, end); without end, of all.
func (w *wire) blockFrom(to ref, id string, from ref, start, end int64) *call {
	c := w.put(to, "comp=block").q("blockid", id).h("x-ms-copy-source", w.url(from))
	if end > 0 {
		c.h("x-ms-source-range", byteRange(start, end-start))
	}
	return c
}

// appendFrom is Append Block From URL, likewise.
func (w *wire) appendFrom(to, from ref, start, end int64) *call {
	c := w.put(to, "comp=appendblock").h("x-ms-copy-source", w.url(from))
	if end > 0 {
		c.h("x-ms-source-range", byteRange(start, end-start))
	}
	return c
}

// syncCopy is Copy Blob From URL.
func (w *wire) syncCopy(to, from ref) *call {
	return w.copy(to, from, "").h("x-ms-requires-sync", "true")
}

// commit is Put Block List of blocks, whichever they are.
func (w *wire) commitBlocks(b ref, ids ...string) *call {
	body := "<BlockList>"
	for _, id := range ids {
		body += "<Latest>" + id + "</Latest>"
	}
	return w.put(b, "comp=blocklist").b([]byte(body + "</BlockList>"))
}

// sourceConditions checks what all operations do with conditions on their source.
func (w *wire) sourceConditions(source ref, status int, from func() *call) {
	w.Helper()
	s := w.stamp(source)
	from().h("x-ms-source-if-match", otherETag).fails("SourceConditionNotMet")
	from().h("x-ms-source-if-match", s.etag).ok(status)
	from().h("x-ms-source-if-none-match", otherETag).ok(status)
	from().h("x-ms-source-if-modified-since", w.ago(-1e12)).fails("SourceConditionNotMet")
	from().h("x-ms-source-if-unmodified-since", w.ago(1e12)).fails("SourceConditionNotMet")
	from().h("x-ms-source-if-unmodified-since", "yesterday").fails("InvalidHeaderValue")
}

// sourceChecks checks what all operations do with checksums and sources that are not as they should be. There are other
// sources which cannot be read in copySources.
func (w *wire) sourceChecks(to ref, data []byte, from func(to, source ref) *call, source ref) {
	w.Helper()
	none := source.container().blob("none")
	ask := func() *call { return from(to, source) }
	ask().h("x-ms-source-content-md5", md5Of([]byte("x"))).fails("Md5Mismatch")
	ask().h("x-ms-source-content-crc64", crcOf([]byte("x"))).fails("Crc64Mismatch")
	ask().h("x-ms-source-content-md5", "x").fails("InvalidMd5")
	ask().hs("x-ms-source-content-md5", md5Of(data), "x-ms-source-content-crc64", crcOf(data)).fails("BothCrc64AndMd5HeaderPresent")
	ask().b([]byte("content")).fails("InvalidHeaderValue", "HeaderName", "Content-Length")
	from(to, none).fails("CannotVerifyCopySource")
	from(to, source+"?"+ref(w.service("b", "w").query(source))).unread(403, "AuthorizationPermissionMismatch")
	ask().by(w.service("c", "rcw")).unread(401, "NoAuthenticationInformation")
	bad := from(to, source)
	for i := range bad.fields {
		if bad.fields[i].name == "x-ms-copy-source" {
			bad.fields[i].value = "http://169.254.169.254/latest/meta-data"
		}
	}
	bad.unread(403, "")
}

func putBlobFromURL(t T, env *Env) {
	w := env.wire(t)
	w.part("through the SDK", blobFromSDK)
	w.part("the reply and what is copied", blobFromWhat)
	w.part("tags", func(w *wire) { tagsFrom(w, 201, (*wire).blobFrom) })
	w.part("conditions", blobFromConditions)
	w.part("what is wrong", func(w *wire) {
		data := fill(300, 3*page)
		a := w.container().blob("a")
		w.putBlob(a, data).ok(201)
		w.sourceChecks(a.container().blob("b"), data, w.blobFrom, a)
		w.blobFrom("/none-such/b", a).fails("ContainerNotFound")
		w.blobFrom(a, a+ref("?"+w.service("b", "r").query(a))).by(w.service("b", "c")).fails("UnauthorizedBlobOverwrite")
		w.blobFrom(a.container().blob("b"), a).h("x-ms-copy-source-blob-properties", "perhaps").fails("InvalidHeaderValue")
		w.blobFrom(a.container().blob("b"), a).h("x-ms-source-range", "bytes=0-511").ok(201) // means nothing here
		w.same("content", w.content(a.container().blob("b")), data)
	})
}

func blobFromSDK(w *wire) {
	c := w.container()
	data := fill(301, 9*mib+8) // three pieces
	w.putBlob(c.blob("a"), data).ok(201)
	client := w.sdkContainer(c).NewBlockBlobClient("b")
	sum := md5.Sum(data)
	got, err := client.UploadBlobFromURL(ctx, w.url(c.blob("a")), &blockblob.UploadBlobFromURLOptions{SourceContentMD5: sum[:],
		Metadata: map[string]*string{"K": to.Ptr("v")}, HTTPHeaders: &blob.HTTPHeaders{BlobContentType: to.Ptr("x/y")}, Tags: map[string]string{"a": "b"}})
	w.must(err)
	w.equal("MD5 of the reply", string(got.ContentMD5), string(sum[:]))
	w.same("content", w.content(c.blob("b")), data)
	p, err := client.GetProperties(ctx, nil)
	w.must(err)
	w.equal("type", string(*p.BlobType), "BlockBlob")
	w.equal("metadata", val(p.Metadata["K"]), "v")
	w.equal("content type", val(p.ContentType), "x/y")
	w.equal("MD5", string(p.ContentMD5), string(sum[:]))
	w.equal("tags", w.tags(w.get(c.blob("b"), "comp=tags")), "a=b")
	list, err := client.GetBlockList(ctx, blockblob.BlockListTypeAll, nil)
	w.must(err)
	if len(list.CommittedBlocks)+len(list.UncommittedBlocks) > 0 {
		w.Errorf("blocks: %+v", list.BlockList)
	}
	sum[0]++
	_, err = client.UploadBlobFromURL(ctx, w.url(c.blob("a")), &blockblob.UploadBlobFromURLOptions{SourceContentMD5: sum[:]})
	w.mustFail(err, "Md5Mismatch")
	_, err = client.UploadBlobFromURL(ctx, w.url(c.blob("none")), nil)
	w.mustFail(err, "CannotVerifyCopySource")
}

func blobFromWhat(w *wire) {
	c := w.container()
	a, b := c.blob("a"), c.blob("b")
	data := fill(302, 3*page+8)
	w.putBlob(a, data).hs("x-ms-blob-content-type", "x/y", "x-ms-blob-cache-control", "none", "x-ms-meta-one", "1", "x-ms-tags", "t=a").ok(201)
	r := w.blobFrom(b, a).ok(201)
	w.exactly(r, "ETag", "Last-Modified", "Content-MD5", "x-ms-content-crc64", "x-ms-request-server-encrypted")
	w.headers(r, "Content-MD5", md5Of(data), "x-ms-content-crc64", crcOf(data))
	same := []string{"Content-Type", "x/y", "Cache-Control", "none", "x-ms-meta-one", "1", "Content-MD5", md5Of(data), "x-ms-blob-type", "BlockBlob",
		"Content-Length", fmt.Sprint(len(data)), "x-ms-copy-id", "-", "x-ms-tag-count", "-"}
	w.headers(w.head(b, "").ok(200), same...)
	w.same("content", w.content(b), data)
	w.blobFrom(b, a).hs("x-ms-blob-content-type", "z/z", "x-ms-meta-two", "2", "x-ms-blob-content-md5", md5Of(nil)).ok(201)
	w.headers(w.head(b, "").ok(200), "Content-Type", "z/z", "Cache-Control", "none", "x-ms-meta-one", "-", "x-ms-meta-two", "2", "Content-MD5", md5Of(nil))
	w.blobFrom(b, a).h("x-ms-copy-source-blob-properties", "False").ok(201)
	w.headers(w.head(b, "").ok(200), "Content-Type", "application/octet-stream", "Cache-Control", "-", "x-ms-meta-one", "-", "Content-MD5", md5Of(data))

	// From a snapshot, a page blob, with a token, from nothing, onto itself and onto another type.
	at := w.snapshot(a)
	w.putBlob(a, nil).ok(201)
	w.blobFrom(b, a+ref("?snapshot="+url.QueryEscape(at))).ok(201)
	w.same("from a snapshot", w.content(b), data)
	w.blobFrom(b, a).ok(201)
	w.same("from nothing", w.content(b), nil)
	disk := c.blob("disk")
	w.create(disk, 2*page).ok(201)
	w.update(disk, page, data[:page]).ok(201)
	w.blobFrom(b, disk+ref("?"+w.service("b", "r").query(disk))).by(w.service("b", "cw")).ok(201)
	w.headers(w.head(b, "").ok(200), "x-ms-blob-type", "BlockBlob")
	w.same("from pages", w.content(b), append(make([]byte, page), data[:page]...))
	w.blobFrom(b, b).ok(201)
	w.same("from itself", w.content(b), append(make([]byte, page), data[:page]...))
	w.blobFrom(disk, b).ok(201)
	w.headers(w.head(disk, "").ok(200), "x-ms-blob-type", "BlockBlob")
}

// tagsFrom: a copy has the tags that the request brings, or those of the source, and not both.
func tagsFrom(w *wire, status int, from func(w *wire, to, source ref) *call) {
	c := w.container()
	a, b := c.blob("a"), c.blob("b")
	w.putBlob(a, fill(303, page)).h("x-ms-tags", "from=a").ok(201)
	tags := func(want string) {
		w.Helper()
		w.equal("tags", w.tags(w.get(b, "comp=tags")), want)
	}
	from(w, b, a).h("x-ms-tags", "n=1").ok(status)
	tags("n=1")
	from(w, b, a).h("x-ms-copy-source-tag-option", "COPY").ok(status)
	tags("from=a")
	from(w, b, a).hs("x-ms-copy-source-tag-option", "REPLACE", "x-ms-tags", "n=2").ok(status)
	tags("n=2")
	from(w, b, a).hs("x-ms-copy-source-tag-option", "copy", "x-ms-tags", "n=3").fails("BothUserTagsAndSourceTagsCopyPresentException")
	from(w, b, a).h("x-ms-copy-source-tag-option", "MERGE").fails("InvalidHeaderValue", "HeaderName", "x-ms-copy-source-tag-option")
	source := func(permissions string) ref { return a + ref("?"+w.service("b", permissions).query(a)) }
	from(w, b, source("r")).h("x-ms-copy-source-tag-option", "COPY").unread(403, "AuthorizationPermissionMismatch") // it may not read tags
	from(w, b, source("rt")).h("x-ms-copy-source-tag-option", "COPY").ok(status)
	tags("from=a")
	from(w, b, source("rt")).h("x-ms-source-if-tags", "from='b'").fails("SourceConditionNotMet")
	from(w, b, a).ok(status)
	tags("")
}

func blobFromConditions(w *wire) {
	a := w.container().blob("a")
	b := a.container().blob("b")
	w.putBlob(a, fill(304, page)).ok(201)
	from := func() *call { return w.blobFrom(b, a) }
	w.sourceConditions(a, 201, from)
	r := from().h("x-ms-source-if-none-match", w.stamp(a).etag).send() // as Azure has it [S]
	if w.headers(r, "x-ms-error-code", "CannotVerifyCopySource", "x-ms-copy-source-status-code", "304"); r.status != 412 {
		w.Errorf("want 412:\n%v", r)
	}
	from().h("If-None-Match", "*").fails("BlobAlreadyExists")
	from().h("If-Match", otherETag).fails("ConditionNotMet")
	w.acquire(b, leaseA, -1).ok(201)
	from().fails("LeaseIdMissing")
	from().h("x-ms-lease-id", leaseA).ok(201)
}

func putBlockFromURL(t T, env *Env) {
	w := env.wire(t)
	w.part("through the SDK", blockFromSDK)
	w.part("the reply and the bytes", blockFromBytes)
	w.part("conditions and what is wrong", blockFromWrong)
}

func blockFromSDK(w *wire) {
	c := w.container()
	data := fill(310, 6*mib)
	w.putBlob(c.blob("a"), data).ok(201)
	client := w.sdkContainer(c).NewBlockBlobClient("b")
	id := func(n string) string { return base64.StdEncoding.EncodeToString([]byte(n)) }
	sum := md5.Sum(data[mib:])
	_, err := client.StageBlockFromURL(ctx, id("one"), w.url(c.blob("a")), &blockblob.StageBlockFromURLOptions{
		Range: blob.HTTPRange{Offset: mib, Count: 5 * mib}, SourceContentValidation: blob.SourceContentValidationTypeMD5(sum[:])})
	w.must(err)
	_, err = client.StageBlockFromURL(ctx, id("two"), w.url(c.blob("a")), &blockblob.StageBlockFromURLOptions{Range: blob.HTTPRange{Count: mib}})
	w.must(err)
	w.head(c.blob("b"), "").fails("BlobNotFound")
	_, err = client.CommitBlockList(ctx, []string{id("one"), id("two")}, nil)
	w.must(err)
	w.same("content", w.content(c.blob("b")), append(data[mib:len(data):len(data)], data[:mib]...))
	sum[0]++
	_, err = client.StageBlockFromURL(ctx, id("one"), w.url(c.blob("a")), &blockblob.StageBlockFromURLOptions{
		Range: blob.HTTPRange{Offset: mib, Count: 5 * mib}, SourceContentValidation: blob.SourceContentValidationTypeMD5(sum[:])})
	w.mustFail(err, "Md5Mismatch")
	_, err = client.StageBlockFromURL(ctx, id("one"), w.url(c.blob("none")), nil)
	w.mustFail(err, "CannotVerifyCopySource")
}

func blockFromBytes(w *wire) {
	c := w.container()
	a, b := c.blob("a"), c.blob("b")
	data := fill(311, 4*page)
	w.putBlob(a, data).ok(201)
	r := w.blockFrom(b, "AAAA", a, 100, 700).ok(201)
	w.exactly(r, "x-ms-content-crc64", "x-ms-request-server-encrypted")
	w.headers(r, "x-ms-content-crc64", crcOf(data[100:700]))
	r = w.blockFrom(b, "AAAB", a, 0, 0).h("x-ms-source-content-md5", md5Of(data)).ok(201)
	w.headers(r, "Content-MD5", md5Of(data))
	w.blockFrom(b, "AAAC", a, 0, 0).hs("x-ms-source-range", "bytes=2000-", "x-ms-source-content-crc64", crcOf(data[2000:])).ok(201)
	w.commitBlocks(b, "AAAC", "AAAA", "AAAB").ok(201)
	want := append(append(append([]byte(nil), data[2000:]...), data[100:700]...), data...)
	w.same("content", w.content(b), want)
	w.blockFrom(b, "AAAD", b, 0, 10).ok(201) // from the blob itself
	w.commitBlocks(b, "AAAD", "AAAA").ok(201)
	w.same("content", w.content(b), append(want[:10:10], data[100:700]...))
}

func blockFromWrong(w *wire) {
	a := w.container().blob("a")
	b := a.container().blob("b")
	data := fill(312, 2*page)
	w.putBlob(a, data).ok(201)
	w.putBlob(b, data).ok(201)
	whole := func(to, source ref) *call { return w.blockFrom(to, "AAAA", source, 0, 0) }
	w.sourceConditions(a, 201, func() *call { return whole(b, a) })
	whole(b, a).h("x-ms-source-if-none-match", w.stamp(a).etag).fails("SourceConditionNotMet")
	w.sourceChecks(b, data, whole, a)
	whole(b, a).h("If-Match", "*").fails("ConditionHeadersNotSupported")
	w.blockFrom(b, "AAAA", a, page, 3*page).fails("InvalidRange")
	w.blockFrom(b, "AAAA", a, 2*page, 2*page+1).fails("InvalidRange")
	whole(b, a).h("x-ms-source-range", "bytes=1024-").fails("InvalidRange")
	whole(b, a).h("x-ms-source-range", "bytes=5-4").fails("InvalidHeaderValue", "HeaderName", "x-ms-source-range")
	whole(b, a).h("x-ms-source-range", "all").fails("InvalidHeaderValue", "HeaderName", "x-ms-source-range")
	w.putBlob(a.container().blob("empty"), nil).ok(201)
	whole(b, a.container().blob("empty")).fails("InvalidInput")
	w.put(b, "comp=block&blockid=A*A").h("x-ms-copy-source", w.url(a)).fails("InvalidQueryParameterValue", "QueryParameterName", "blockid")
	w.blockFrom(b, "AAA=", a, 0, 0).fails("InvalidBlobOrBlock") // others have three bytes
	disk := a.container().blob("disk")
	w.create(disk, 101*mib-mib%page).ok(201)
	whole(disk, a).fails("InvalidBlobType")
	whole(b, disk).leave("x-ms-version").h("x-ms-version", "2019-07-07").fails("RequestBodyTooLarge")
	w.acquire(b, leaseA, -1).ok(201)
	whole(b, a).fails("LeaseIdMissing")
	whole(b, a).h("x-ms-lease-id", leaseA).ok(201)
}

func appendBlockFromURL(t T, env *Env) {
	w := env.wire(t)
	w.part("through the SDK", appendFromSDK)
	w.part("the reply and the bytes", appendFromBytes)
	w.part("conditions and what is wrong", appendFromWrong)
}

func appendFromSDK(w *wire) {
	c := w.container()
	data := fill(320, 6*mib)
	w.putBlob(c.blob("a"), data).ok(201)
	client := w.sdkContainer(c).NewAppendBlobClient("b")
	_, err := client.Create(ctx, nil)
	w.must(err)
	sum := md5.Sum(data[mib:])
	got, err := client.AppendBlockFromURL(ctx, w.url(c.blob("a")), &appendblob.AppendBlockFromURLOptions{
		Range: blob.HTTPRange{Offset: mib, Count: 5 * mib}, SourceContentValidation: blob.SourceContentValidationTypeMD5(sum[:])})
	w.must(err)
	w.equal("offset", val(got.BlobAppendOffset), "0")
	got, err = client.AppendBlockFromURL(ctx, w.url(c.blob("a")), &appendblob.AppendBlockFromURLOptions{Range: blob.HTTPRange{Count: mib}})
	w.must(err)
	w.equal("offset", val(got.BlobAppendOffset), fmt.Sprint(5*mib))
	w.equal("blocks", fmt.Sprint(val(got.BlobCommittedBlockCount)), "2")
	w.same("content", w.content(c.blob("b")), append(data[mib:len(data):len(data)], data[:mib]...))
	_, err = client.AppendBlockFromURL(ctx, w.url(c.blob("a")), &appendblob.AppendBlockFromURLOptions{
		AppendPositionAccessConditions: &appendblob.AppendPositionAccessConditions{AppendPosition: to.Ptr(int64(1))}})
	w.mustFail(err, "AppendPositionConditionNotMet")
	_, err = client.AppendBlockFromURL(ctx, w.url(c.blob("none")), nil)
	w.mustFail(err, "CannotVerifyCopySource")
}

func appendFromBytes(w *wire) {
	c := w.container()
	a, b := c.blob("a"), c.blob("b")
	data := fill(321, 4*page)
	w.putBlob(a, data).ok(201)
	w.createAppend(b).ok(201)
	before := w.stamp(b)
	r := w.appendFrom(b, a, 100, 700).ok(201)
	w.exactly(r, "ETag", "Last-Modified", "x-ms-content-crc64", "x-ms-request-server-encrypted", "x-ms-blob-append-offset", "x-ms-blob-committed-block-count")
	w.headers(r, "x-ms-content-crc64", crcOf(data[100:700]), "x-ms-blob-append-offset", "0", "x-ms-blob-committed-block-count", "1")
	w.restamped("a block", before, r, b)
	r = w.appendFrom(b, a, 0, 0).hs("x-ms-source-content-md5", md5Of(data), "x-ms-blob-condition-appendpos", "600",
		"x-ms-blob-condition-maxsize", fmt.Sprint(600+len(data))).ok(201)
	w.headers(r, "Content-MD5", md5Of(data), "x-ms-blob-append-offset", "600", "x-ms-blob-committed-block-count", "2")
	want := append(append([]byte(nil), data[100:700]...), data...)
	w.same("content", w.content(b), want)
	w.appendFrom(b, b, 0, 0).ok(201) // from the blob itself
	w.same("content", w.content(b), append(want, want...))
}

func appendFromWrong(w *wire) {
	a := w.container().blob("a")
	b := a.container().blob("b")
	data := fill(322, 2*page)
	w.putBlob(a, data).ok(201)
	w.createAppend(b).ok(201)
	whole := func(to, source ref) *call { return w.appendFrom(to, source, 0, 0) }
	w.sourceConditions(a, 201, func() *call { return whole(b, a) })
	w.sourceChecks(b, data, whole, a)
	w.appendFrom(b, a, page, 3*page).fails("InvalidRange")
	whole(b, a).h("x-ms-source-range", "all").fails("InvalidHeaderValue", "HeaderName", "x-ms-source-range")
	w.putBlob(a.container().blob("empty"), nil).ok(201)
	whole(b, a.container().blob("empty")).fails("InvalidInput")
	whole(b, a).h("x-ms-blob-condition-appendpos", "0").fails("AppendPositionConditionNotMet")
	whole(b, a).h("x-ms-blob-condition-appendpos", "-1").fails("InvalidHeaderValue")
	whole(b, a).h("x-ms-blob-condition-maxsize", "10").fails("MaxBlobSizeConditionNotMet")
	whole(b, a).h("If-Match", otherETag).fails("ConditionNotMet")
	disk := a.container().blob("disk")
	w.create(disk, 101*mib).ok(201)
	whole(disk, a).fails("InvalidBlobType")
	whole(b, disk).fails("RequestBodyTooLarge", "MaxLimit", fmt.Sprint(100*mib))
	w.appendFrom(b, disk, 0, 5*mib).leave("x-ms-version").h("x-ms-version", "2022-10-02").fails("RequestBodyTooLarge", "MaxLimit", fmt.Sprint(4*mib))
	whole(a.container().blob("none"), a).fails("BlobNotFound")
	w.acquire(b, leaseA, -1).ok(201)
	whole(b, a).fails("LeaseIdMissing")
	whole(b, a).h("x-ms-lease-id", leaseA).ok(201)
}

func copyBlobFromURL(t T, env *Env) {
	w := env.wire(t)
	w.part("through the SDK", syncCopySDK)
	w.part("the reply and what is copied", syncCopyWhat)
	w.part("tags", func(w *wire) { tagsFrom(w, 202, (*wire).syncCopy) })
	w.part("conditions and what is wrong", syncCopyWrong)
}

func syncCopySDK(w *wire) {
	c := w.container()
	data := fill(330, 5*mib)
	w.putBlob(c.blob("a"), data).hs("x-ms-meta-k", "v", "x-ms-blob-content-type", "x/y").ok(201)
	client := w.sdkContainer(c).NewBlockBlobClient("b")
	sum := md5.Sum(data)
	got, err := client.CopyFromURL(ctx, w.url(c.blob("a")), &blob.CopyFromURLOptions{SourceContentMD5: sum[:]})
	w.must(err)
	w.equal("status", string(*got.CopyStatus), "success")
	w.equal("MD5 of the reply", string(got.ContentMD5), string(sum[:]))
	w.same("content", w.content(c.blob("b")), data)
	p, err := client.GetProperties(ctx, nil)
	w.must(err)
	w.equal("id", *p.CopyID, *got.CopyID)
	w.equal("progress", *p.CopyProgress, fmt.Sprintf("%d/%d", 5*mib, 5*mib))
	w.equal("metadata", val(p.Metadata["K"]), "v")
	w.equal("content type", val(p.ContentType), "x/y")
	sum[0]++
	_, err = client.CopyFromURL(ctx, w.url(c.blob("a")), &blob.CopyFromURLOptions{SourceContentMD5: sum[:]})
	w.mustFail(err, "Md5Mismatch")
}

func syncCopyWhat(w *wire) {
	c := w.container()
	a, b := c.blob("a"), c.blob("b")
	data := fill(331, 3*page)
	w.put(a, "comp=block&blockid=AAAA").b(data).ok(201)
	w.commitBlocks(a, "AAAA", "AAAA").hs("x-ms-meta-one", "1", "x-ms-blob-content-type", "x/y").ok(201)
	r := w.syncCopy(b, a).ok(202)
	w.exactly(r, "ETag", "Last-Modified", "x-ms-copy-id", "x-ms-copy-status")
	w.headers(r, "x-ms-copy-status", "success")
	copied := []string{"x-ms-copy-id", r.get("x-ms-copy-id"), "x-ms-copy-status", "success", "x-ms-copy-source", w.url(a),
		"x-ms-copy-progress", fmt.Sprintf("%d/%d", 6*page, 6*page), "x-ms-copy-completion-time", r.get("Last-Modified"), "Content-Type", "x/y", "x-ms-meta-one", "1"}
	w.headers(w.head(b, "").ok(200), copied...)
	w.same("content", w.content(b), append(data[:len(data):len(data)], data...))
	list := w.get(b, "comp=blocklist").ok(200)
	w.same("blocks", list.body, w.get(a, "comp=blocklist").ok(200).body)

	// Of what is no block blob the content is read.
	disk := c.blob("disk")
	w.create(disk, 2*page).h("x-ms-meta-one", "1").ok(201)
	w.update(disk, page, data[:page]).ok(201)
	r = w.syncCopy(b, disk).h("x-ms-meta-two", "2").ok(202)
	want := append(make([]byte, page), data[:page]...)
	w.exactly(r, "ETag", "Last-Modified", "x-ms-copy-id", "x-ms-copy-status", "x-ms-content-crc64")
	w.headers(r, "x-ms-content-crc64", crcOf(want))
	w.headers(w.head(b, "").ok(200), "x-ms-blob-type", "BlockBlob", "x-ms-copy-id", r.get("x-ms-copy-id"), "x-ms-copy-source", w.url(disk),
		"x-ms-copy-progress", fmt.Sprintf("%d/%d", 2*page, 2*page), "x-ms-meta-one", "-", "x-ms-meta-two", "2")
	w.same("content", w.content(b), want)
	w.syncCopy(disk, a).fails("InvalidBlobType")
	w.syncCopy(disk, disk).fails("InvalidBlobType")
}

func syncCopyWrong(w *wire) {
	a := w.container().blob("a")
	b := a.container().blob("b")
	data := fill(332, 2*page)
	w.putBlob(a, data).ok(201)
	from := func() *call { return w.syncCopy(b, a) }
	w.sourceConditions(a, 202, from)
	from().h("x-ms-source-if-none-match", w.stamp(a).etag).fails("SourceConditionNotMet")
	w.sourceChecks(b, data, w.syncCopy, a)
	from().h("If-None-Match", "*").fails("BlobAlreadyExists")
	from().h("If-Match", otherETag).fails("ConditionNotMet")
	disk := a.container().blob("disk")
	w.create(disk, 257*mib).ok(201)
	w.syncCopy(b, disk).fails("RequestBodyTooLarge", "MaxLimit", fmt.Sprint(256*mib))
	w.syncCopy("/none-such/b", a).fails("ContainerNotFound")
	w.acquire(b, leaseA, -1).ok(201)
	from().fails("LeaseIdMissing")
	from().h("x-ms-lease-id", leaseA).ok(202)
}
