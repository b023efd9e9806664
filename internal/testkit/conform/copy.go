package conform

import (
	"crypto/md5"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/pageblob"
)

// url is how a blob is named in x-ms-copy-source.
func (w *wire) url(r ref) string { return w.env.URL + "/" + w.env.Account + string(r) }

// copy asks for a copy of a blob, or of what the query says of it.
func (w *wire) copy(to, from ref, query string) *call {
	source := w.url(from)
	if query != "" {
		source += "?" + query
	}
	return w.put(to, "").h("x-ms-copy-source", source)
}

func copyBlob(t T, env *Env) {
	w := env.wire(t)
	w.part("through the SDK", copySDK)
	w.part("the reply", copyReply)
	w.part("what is copied", copyWhat)
	w.part("tags", copyTags)
	w.part("independence", copyIndependence)
	w.part("conditions and leases", copyConditions)
	w.part("sources that are not taken", copySources)
	w.part("sources with tokens", copyTokens)
	if env.TokenURL != "" {
		w.part("sources with bearer tokens", copyBearers)
	}
}

func copySDK(w *wire) {
	c := w.container()
	data := fill(60, 3*mib)
	w.create(c.blob("a"), 5*mib).ok(201)
	w.update(c.blob("a"), mib, data).ok(201)
	source := w.sdkPageBlob(c, "a")
	snap, err := source.CreateSnapshot(ctx, nil)
	w.must(err)
	w.clear(c.blob("a"), mib, page).ok(201)
	old, err := source.WithSnapshot(*snap.Snapshot)
	w.must(err)
	client := w.sdkPageBlob(c, "b")
	got, err := client.StartCopyFromURL(ctx, old.URL(), &blob.StartCopyFromURLOptions{Metadata: map[string]*string{"K": to.Ptr("v")}})
	w.must(err)
	w.equal("status", string(*got.CopyStatus), "success")
	w.same("content", w.content(c.blob("b"))[mib:4*mib], data)
	w.ranges(w.pageList(c.blob("b")), fmt.Sprintf("%d-%d", mib, 4*mib-1))
	p, err := client.GetProperties(ctx, nil)
	w.must(err)
	w.equal("id", *p.CopyID, *got.CopyID)
	w.equal("source", *p.CopySource, old.URL())
	w.equal("progress", *p.CopyProgress, fmt.Sprintf("%d/%d", 5*mib, 5*mib))
	w.equal("metadata", val(p.Metadata["K"]), "v")
	pager := w.sdkContainer(c).NewListBlobsFlatPager(&container.ListBlobsFlatOptions{Include: container.ListBlobsInclude{Copy: true}})
	list, err := pager.NextPage(ctx)
	w.must(err)
	for _, item := range list.Segment.BlobItems {
		want := map[string]string{"a": "", "b": *got.CopyID}[*item.Name]
		w.equal("listed id of "+*item.Name, val(item.Properties.CopyID), want)
	}
	_, err = client.AbortCopyFromURL(ctx, *got.CopyID, nil)
	w.mustFail(err, "NoPendingCopyOperation")
	_, err = client.StartCopyFromURL(ctx, w.url(c.blob("none")), nil)
	w.mustFail(err, "CannotVerifyCopySource")
}

func copyReply(w *wire) {
	a := w.pageBlob(2 * page)
	b := a.container().blob("copy")
	r := w.copy(b, a, "").ok(202)
	w.exactly(r, "ETag", "Last-Modified", "x-ms-copy-id", "x-ms-copy-status")
	id := r.get("x-ms-copy-id")
	copied := []string{"x-ms-copy-id", id, "x-ms-copy-status", "success", "x-ms-copy-source", w.url(a),
		"x-ms-copy-progress", fmt.Sprintf("%d/%d", 2*page, 2*page), "x-ms-copy-completion-time", r.get("Last-Modified")}
	w.headers(w.head(b, "").ok(200), copied...)
	w.headers(w.get(b, "").ok(200), copied...)
	w.update(b, 0, fill(61, page)).ok(201)
	w.headers(w.head(b, "").ok(200), copied...) // pages may be written
	w.headers(w.head(b, "snapshot="+w.snapshot(b)).ok(200), "x-ms-copy-id", id)
	for _, change := range []*call{w.put(b, "comp=metadata"), w.resize(b, 3*page), w.create(b, page)} {
		w.copy(b, a, "").ok(202)
		change.send()
		if got := w.head(b, "").ok(200).get("x-ms-copy-id"); got != "" {
			w.Errorf("a blob that was changed since says it is copy %s", got)
		}
	}
}

// copyTags: the copy has the tags that the request brings and no others, and conditions on tags count at both ends.
func copyTags(w *wire) {
	c := w.container()
	a, b := c.blob("a"), c.blob("b")
	w.create(a, page).h("x-ms-tags", "from=a").ok(201)
	at := w.snapshot(a)
	search := func() string {
		return found(w, w.xml(w.get(c, "restype=container&comp=blobs").q("where", "n='1'").ok(200)), c)
	}
	w.copy(b, a, "").h("x-ms-tags", "from=request&n=1").ok(202)
	w.equal("tags", w.tags(w.get(b, "comp=tags")), "from=request n=1")
	w.equal("found", search(), "0/b(n=1)")
	w.copy(b, a, "").h("x-ms-if-tags", "n='2'").fails("ConditionNotMet")
	w.copy(b, a, "").h("x-ms-source-if-tags", "from='b'").fails("SourceConditionNotMet")
	w.copy(b, a, "snapshot="+at).h("x-ms-source-if-tags", "from='b'").fails("SourceConditionNotMet")
	w.copy(b, a, "").h("x-ms-source-if-tags", "from").fails("InvalidHeaderValue")
	w.pagesFrom(b, 0, page, a, 0, page).h("x-ms-source-if-tags", "from='b'").fails("SourceConditionNotMet")
	w.pagesFrom(b, 0, page, a, 0, page).h("x-ms-source-if-tags", "from='a'").ok(201)
	w.copy(b, a, "").h("x-ms-tags", "a=1&a=2").fails("DuplicateTagNames")
	w.copy(b, a, "").hs("x-ms-tags", "a=1", "x-ms-copy-source-tag-option", "COPY").fails("UnsupportedHeader")
	w.copy(b, a, "snapshot="+at).hs("x-ms-if-tags", "n='1'", "x-ms-source-if-tags", "from='a'").ok(202)
	w.equal("tags of a copy without any", w.tags(w.get(b, "comp=tags")), "")
	w.equal("found afterwards", search(), "")
}

func copyWhat(w *wire) {
	c := w.container()
	a, b := c.blob("a"), c.blob("b")
	w.create(a, 4*page).hs("x-ms-blob-content-type", "x/y", "x-ms-blob-cache-control", "none", "x-ms-blob-sequence-number", "7",
		"x-ms-meta-one", "1").ok(201)
	w.update(a, page, fill(62, page)).ok(201)
	at := w.snapshot(a)
	w.update(a, 2*page, fill(63, page)).ok(201)
	want := []string{"Content-Type", "x/y", "Cache-Control", "none", "x-ms-blob-sequence-number", "7", "Content-Length", fmt.Sprint(4 * page)}
	w.copy(b, a, "").ok(202)
	w.headers(w.head(b, "").ok(200), append(want, "x-ms-meta-one", "1")...)
	w.ranges(w.pageList(b), fmt.Sprintf("%d-%d", page, 3*page-1))
	own := w.snapshot(b)
	w.copy(b, a, "snapshot="+at).h("x-ms-meta-two", "2").ok(202) // in place of all metadata
	r := w.head(b, "").ok(200)
	w.headers(r, append(want, "x-ms-meta-two", "2")...)
	w.equal("metadata of the source", r.get("x-ms-meta-one"), "")
	w.ranges(w.pageList(b), fmt.Sprintf("%d-%d", page, 2*page-1))
	w.ranges(w.get(b, "comp=pagelist&snapshot="+own), fmt.Sprintf("%d-%d", page, 3*page-1))
	w.get(b, "comp=pagelist&prevsnapshot="+own).fails("BlobOverwritten")
	w.copy(a, a, "snapshot="+at).ok(202) // the snapshot is promoted
	w.ranges(w.pageList(a), fmt.Sprintf("%d-%d", page, 2*page-1))
	w.head(a, "snapshot="+at).ok(200)
	w.delete(a, "").h("x-ms-delete-snapshots", "include").ok(202)
	w.same("without its source", w.content(b)[page:2*page], fill(62, page))
}

// copyIndependence writes to a source and its copies in turns, and finds in each what was written there.
func copyIndependence(w *wire) {
	const size = 300 * page
	c := w.container()
	rng := rand.New(rand.NewPCG(w.env.Seed, 64))
	want := map[string][]byte{string(c.blob("0")): make([]byte, size)}
	w.create(c.blob("0"), size).ok(201)
	for i := range 60 {
		names := slices.Sorted(maps.Keys(want))
		name := names[rng.IntN(len(names))]
		r := ref(name)
		from := rng.IntN(size / page)
		n := min(1+rng.IntN(150), size/page-from)
		part := want[name][from*page:][:n*page]
		switch k := rng.IntN(10); {
		case k < 5:
			copy(part, fill(uint64(65+i), n*page))
			w.update(r, int64(from*page), part).ok(201)
		case k < 7:
			clear(part)
			w.clear(r, int64(from*page), int64(n*page)).ok(201)
		case k < 9:
			to := c.blob(fmt.Sprint(rng.IntN(4)))
			w.copy(to, r, "").ok(202)
			want[string(to)] = slices.Clone(want[name])
		case len(want) > 1:
			w.delete(r, "").ok(202)
			delete(want, name)
		}
	}
	for r, data := range byKey(want) {
		w.same(r, w.content(ref(r)), data)
	}
}

func copyConditions(w *wire) {
	a := w.pageBlob(page)
	b := a.container().blob("copy")
	s := w.stamp(a)
	for _, name := range []string{"x-ms-source-if-match", "x-ms-source-if-none-match"} {
		good, other := s.etag, otherETag
		if strings.HasSuffix(name, "none-match") {
			good, other = other, good
		}
		w.copy(b, a, "").h(name, other).fails("SourceConditionNotMet")
		w.copy(b, a, "").h(name, good).ok(202)
	}
	w.copy(b, a, "").h("x-ms-source-if-modified-since", w.ago(-1e12)).fails("SourceConditionNotMet")
	w.copy(b, a, "").h("x-ms-source-if-unmodified-since", w.ago(-1e12)).ok(202)
	w.copy(b, a, "").h("x-ms-source-if-unmodified-since", "yesterday").fails("InvalidHeaderValue")
	w.copy(b, a, "").h("If-None-Match", "*").fails("BlobAlreadyExists")
	w.copy(b, a, "").h("If-Match", otherETag).fails("ConditionNotMet")
	w.copy(a.container().blob("none"), a, "").h("If-Match", otherETag).fails("ConditionNotMet")
	w.copy(b, a, "").h("If-Match", w.stamp(b).etag).ok(202)
	w.acquire(b, leaseA, -1).ok(201)
	w.copy(b, a, "").fails("LeaseIdMissing")
	w.copy(b, a, "").h("x-ms-lease-id", leaseA).ok(202)
	w.headers(w.head(b, "").ok(200), "x-ms-lease-state", "leased")
	w.acquire(a, leaseA, -1).ok(201)
	w.copy(a.container().blob("free"), a, "").ok(202) // the lease of a source is nobody's business
	w.acquire(a.container().blob("free"), leaseB, 15).ok(201)
	w.copy(a.container().blob("free"), a, "").h("x-ms-lease-id", leaseB).fails("InfiniteLeaseDurationRequired")
}

func copySources(w *wire) {
	a := w.pageBlob(page)
	c := a.container()
	b := c.blob("copy")
	host := w.env.URL[strings.Index(w.env.URL, "://")+3:]
	for _, source := range []string{"", "x", "/" + w.env.Account + string(a), "ftp://host/a/b", w.url(c) + "/", w.url("/"), w.url(a) + "#part",
		w.url(a) + "?snapshot=yesterday", w.url(a) + "?snapshot=", w.url(a) + "?versionid=1", w.url(a) + "?" + strings.Repeat("x", 2048),
		"http://user:secret@" + host + "/" + w.env.Account + string(a), "http:///c/b"} {
		w.put(b, "").h("x-ms-copy-source", source).fails("InvalidHeaderValue", "HeaderName", "x-ms-copy-source")
	}
	for _, source := range []string{"http://127.0.0.1:1/" + w.env.Account + string(a), "http://169.254.169.254/latest/meta-data", "http://[::1]:80/a/b/c"} {
		w.put(b, "").h("x-ms-copy-source", source).unread(403, "")
	}
	w.put(b, "").h("x-ms-copy-source", w.env.URL+"/other/c/b").unread(404, "ResourceNotFound")
	w.copy(b, c, "").fails("CannotVerifyCopySource") // a blob of that name in the root container
	w.copy(b, "/none-such/b", "").fails("CannotVerifyCopySource")
	w.copy(b, a, "snapshot=2020-01-01T00:00:00.0000000Z").fails("CannotVerifyCopySource")
	w.copy("/none-such/b", a, "").fails("ContainerNotFound")
	w.copy(b, a, "").b([]byte("content")).fails("InvalidHeaderValue")
	w.head(b, "").fails("BlobNotFound")
}

// unread expects that a source could not be read, for the source answered with that status and code.
func (c *call) unread(status int, code string) {
	c.w.Helper()
	r := c.send()
	c.w.headers(r, "x-ms-error-code", "CannotVerifyCopySource", "x-ms-copy-source-status-code", fmt.Sprint(status))
	details := []string{"CopySourceStatusCode", fmt.Sprint(status)}
	if code != "" {
		details = append(details, "CopySourceErrorCode", code)
		c.w.headers(r, "x-ms-copy-source-error-code", code)
	}
	if missing := missingDetail(r.body, append(details, "CopySourceErrorMessage", "*")); r.status != status || missing != "" {
		c.w.Errorf("want status %d, and %q in\n%v", status, missing, r)
	}
}

// copyTokens: a token of the source counts, whoever asks, and a request by token needs one.
func copyTokens(w *wire) {
	a := w.pageBlob(2 * page)
	b := a.container().blob("copy")
	data := fill(66, 2*page)
	w.update(a, 0, data).ok(201)
	read := w.service("b", "r").query(a)
	w.copy(b, a, read).ok(202)
	w.headers(w.head(b, "").ok(200), "x-ms-copy-source", w.url(a), "x-ms-copy-status", "success")
	w.same("content", w.content(b), data)
	w.pagesFrom(b, 0, page, a+ref("?"+read), page, 2*page).ok(201)
	w.same("content", w.content(b), append(slices.Clone(data[page:]), data[page:]...))
	w.copy(b, a, read).by(w.service("b", "cw")).ok(202)
	w.copy(b, a, "").by(w.service("b", "cw")).unread(401, "NoAuthenticationInformation")
	w.copy(b, a, read).by(w.service("b", "c")).fails("UnauthorizedBlobOverwrite")
	for _, by := range []func(c *call) *call{func(c *call) *call { return c }, func(c *call) *call { return c.by(w.service("b", "cw")) }} {
		by(w.copy(b, a, w.service("b", "w").query(a))).unread(403, "AuthorizationPermissionMismatch")
		by(w.copy(b, a, w.service("b", "r").query(b))).unread(403, "AuthenticationFailed")
		by(w.copy(b, a, w.service("b", "r").with("sip", "192.0.2.1").query(a))).unread(403, "AuthorizationSourceIPMismatch")
		by(w.copy(b, a, w.service("b", "r").with("se", "2020-01-01T00:00:00Z").query(a))).unread(403, "AuthenticationFailed")
		by(w.copy(b, a.container().blob("none"), w.service("b", "r").query(a.container().blob("none")))).unread(404, "BlobNotFound")
	}
	w.copy(b, a, w.service("b", "r").query(a)).h("x-ms-source-if-tags", "a='b'").unread(403, "AuthorizationPermissionMismatch") // it may not read tags
	w.copy(b, a, w.service("b", "rt").query(a)).h("x-ms-source-if-tags", "a='b'").fails("SourceConditionNotMet")
	w.same("content", w.content(b), data)
}

// increment asks for an incremental copy of a snapshot and waits for its end.
func (w *wire) increment(to, from ref, at string) (destination string) {
	w.Helper()
	r := w.incremental(to, w.url(from)+"?snapshot="+at).ok(202)
	w.exactly(r, "ETag", "Last-Modified", "x-ms-copy-id", "x-ms-copy-status")
	w.headers(r, "x-ms-copy-status", "pending")
	for range 4000 { // some seconds are more than it takes
		p := w.head(to, "").ok(200)
		if p.get("x-ms-copy-status") != "pending" {
			w.headers(p, "x-ms-copy-status", "success", "x-ms-incremental-copy", "true", "x-ms-copy-id", r.get("x-ms-copy-id"), "x-ms-copy-destination-snapshot", "*")
			return p.get("x-ms-copy-destination-snapshot")
		}
		<-time.After(time.Millisecond)
	}
	w.Fatalf("the copy does not end")
	return ""
}

func (w *wire) incremental(to ref, source string) *call {
	return w.put(to, "comp=incrementalcopy").h("x-ms-copy-source", source)
}

func incrementalCopyBlob(t T, env *Env) {
	w := env.wire(t)
	w.part("through the SDK", incrementalSDK)
	w.part("what changed", incrementalSteps)
	w.part("what is wrong", incrementalWrong)
}

func incrementalSDK(w *wire) {
	c := w.container()
	data := fill(67, 2*mib)
	w.create(c.blob("a"), 3*mib).ok(201)
	w.update(c.blob("a"), mib, data).ok(201)
	source, client := w.sdkPageBlob(c, "a"), w.sdkPageBlob(c, "b")
	snap, err := source.CreateSnapshot(ctx, nil)
	w.must(err)
	got, err := client.StartCopyIncremental(ctx, source.URL(), *snap.Snapshot, nil)
	w.must(err)
	w.equal("status", string(*got.CopyStatus), "pending")
	p, err := client.GetProperties(ctx, nil)
	for n := 0; err == nil && *p.CopyStatus == blob.CopyStatusTypePending && n < 4000; n++ {
		<-time.After(time.Millisecond)
		p, err = client.GetProperties(ctx, nil)
	}
	w.must(err)
	w.equal("id", *p.CopyID, *got.CopyID)
	w.equal("status at the end", string(*p.CopyStatus), "success")
	w.equal("incremental", fmt.Sprint(*p.IsIncrementalCopy), "true")
	w.same("content", w.get(c.blob("b"), "snapshot="+*p.DestinationSnapshot).ok(200).body[mib:], data)
	pager := w.sdkContainer(c).NewListBlobsFlatPager(&container.ListBlobsFlatOptions{Include: container.ListBlobsInclude{Copy: true}})
	list, err := pager.NextPage(ctx)
	w.must(err)
	w.equal("listed snapshot", val(list.Segment.BlobItems[1].Properties.DestinationSnapshot), *p.DestinationSnapshot)
}

func incrementalSteps(w *wire) {
	a := w.pageBlob(8 * page)
	b := a.container().blob("copy")
	w.update(a, 0, fill(68, 4*page)).ok(201)
	s1 := w.snapshot(a)
	d1 := w.increment(b, a, s1)
	w.update(a, 3*page, fill(69, 2*page)).ok(201)
	w.clear(a, 0, page).ok(201)
	s2 := w.snapshot(a)
	d2 := w.increment(b, a, s2)
	for _, pair := range [][2]string{{s1, d1}, {s2, d2}} {
		w.same("content", w.get(b, "snapshot="+pair[1]).ok(200).body, w.get(a, "snapshot="+pair[0]).ok(200).body)
	}
	w.ranges(w.get(b, "comp=pagelist&snapshot="+d2+"&prevsnapshot="+d1), fmt.Sprintf("clear 0-%d, %d-%d", page-1, 3*page, 5*page-1))
	w.increment(b, a, s2) // the same again
	w.copy(a.container().blob("out"), b, "snapshot="+d1).ok(202)
	w.delete(b, "").h("x-ms-delete-snapshots", "include").ok(202)
	w.increment(b, a, s1)
}

func incrementalWrong(w *wire) {
	a := w.pageBlob(2 * page)
	c := a.container()
	b := c.blob("copy")
	s1, s2 := w.snapshot(a), w.snapshot(a)
	w.incremental(b, w.url(a)).fails("IncrementalCopySourceMustBeSnapshot")
	w.incremental(b, w.url(a)+"?snapshot=2020-01-01T00:00:00.0000000Z").unread(404, "BlobNotFound")
	w.incremental(b, "http://169.254.169.254/?snapshot="+s1).fails("InvalidSourceBlobUrl")
	w.incremental(b, "http://169.254.169.254/a/b").fails("IncrementalCopySourceMustBeSnapshot")
	w.incremental(b, "http://169.254.169.254/a/b?snapshot=x").fails("InvalidHeaderValue", "HeaderName", "x-ms-copy-source")
	w.incremental(b, "http://169.254.169.254/a/b?snapshot="+s1).unread(403, "")
	w.incremental(b, "x").fails("InvalidHeaderValue", "HeaderName", "x-ms-copy-source")
	w.put(b, "comp=incrementalcopy").fails("MissingRequiredHeader")
	w.incremental(a, w.url(a)+"?snapshot="+s1).fails("IncrementalCopyBlobMismatch")
	w.increment(b, a, s2)
	w.incremental(b, w.url(a)+"?snapshot="+s1).fails("IncrementalCopyOfEarlierSnapshotNotAllowed")
	w.incremental(b, w.url(a)+"?snapshot="+s2).h("If-Match", otherETag).fails("TargetConditionNotMet")
	w.create(c.blob("other"), page).ok(201)
	w.incremental(b, w.url(c.blob("other"))+"?snapshot="+w.snapshot(c.blob("other"))).fails("IncrementalCopyBlobMismatch")
	for _, not := range []*call{w.get(b, ""), w.get(b, "comp=pagelist"), w.get(b, "comp=metadata"), w.get(b, "comp=tags"), w.update(b, 0, fill(70, page)),
		w.clear(b, 0, page), w.put(b, "comp=snapshot"), w.put(b, "comp=metadata"), w.resize(b, page), w.create(b, page), w.acquire(b, leaseA, -1),
		w.copy(b, a, ""), w.setTags(b, "a", "b")} {
		not.fails("OperationNotAllowedOnIncrementalCopyBlob")
	}
	w.head(b, "").ok(200)
	w.create(a, 2*page).ok(201)
	w.incremental(b, w.url(a)+"?snapshot="+w.snapshot(a)).fails("BlobOverwritten")
}

// pagesFrom asks for bytes [start, end) of a source to be written at an offset.
func (w *wire) pagesFrom(to ref, offset, length int64, from ref, start, end int64) *call {
	return w.put(to, "comp=page").hs("x-ms-page-write", "update", "x-ms-range", fmt.Sprintf("bytes=%d-%d", offset, offset+length-1),
		"x-ms-copy-source", w.url(from), "x-ms-source-range", fmt.Sprintf("bytes=%d-%d", start, end-1))
}

func putPageFromURL(t T, env *Env) {
	w := env.wire(t)
	w.part("through the SDK", pagesFromSDK)
	w.part("the reply and the bytes", pagesFromBytes)
	w.part("conditions", pagesFromConditions)
	w.part("what is wrong", pagesFromWrong)
	if env.TokenURL != "" {
		w.part("bearer tokens for the source, through the SDK", pagesFromBearerSDK)
	}
}

func pagesFromSDK(w *wire) {
	c := w.container()
	data := fill(160, 4*mib)
	w.create(c.blob("a"), 5*mib).ok(201)
	w.update(c.blob("a"), 0, data).ok(201)
	w.create(c.blob("b"), 5*mib).ok(201)
	client := w.sdkPageBlob(c, "b")
	sum := md5.Sum(data)
	_, err := client.UploadPagesFromURL(ctx, w.url(c.blob("a")), 0, mib, 4*mib, &pageblob.UploadPagesFromURLOptions{
		SourceContentValidation: blob.SourceContentValidationTypeMD5(sum[:])})
	w.must(err)
	w.same("content", w.content(c.blob("b"))[mib:], data)
	sum[0]++
	_, err = client.UploadPagesFromURL(ctx, w.url(c.blob("a")), 0, 0, 4*mib, &pageblob.UploadPagesFromURLOptions{
		SourceContentValidation: blob.SourceContentValidationTypeMD5(sum[:])})
	w.mustFail(err, "Md5Mismatch")
	_, err = client.UploadPagesFromURL(ctx, w.url(c.blob("none")), 0, 0, page, nil)
	w.mustFail(err, "CannotVerifyCopySource")
}

func pagesFromBytes(w *wire) {
	a := w.pageBlob(8 * page)
	b := a.container().blob("copy")
	data := fill(161, 4*page)
	w.update(a, 0, data).ok(201)
	at := w.snapshot(a)
	w.update(a, 0, fill(162, page)).ok(201)
	w.create(b, 8*page).h("x-ms-blob-sequence-number", "7").ok(201)
	before := w.stamp(b)
	// The source need not be aligned.
	r := w.put(b, "comp=page").hs("x-ms-page-write", "update", "x-ms-range", fmt.Sprintf("bytes=%d-%d", page, 3*page-1),
		"x-ms-copy-source", w.url(a)+"?snapshot="+at, "x-ms-source-range", fmt.Sprintf("bytes=%d-%d", 100, 100+2*page-1),
		"x-ms-source-content-crc64", crcOf(data[100:100+2*page])).ok(201)
	w.headers(r, "x-ms-blob-sequence-number", "7", "x-ms-content-crc64", crcOf(data[100:100+2*page]))
	w.restamped("pages from a source", before, r, b)
	want := make([]byte, 8*page)
	copy(want[page:], data[100:100+2*page])
	w.same("pages", w.content(b), want)
	w.ranges(w.pageList(b), fmt.Sprintf("%d-%d", page, 3*page-1))
	w.pagesFrom(b, 4*page, page, a, 7*page, 8*page).ok(201) // the end of the source, which was never written
	w.ranges(w.pageList(b), fmt.Sprintf("%d-%d, %d-%d", page, 3*page-1, 4*page, 5*page-1))
	w.pagesFrom(b, page, page, b, 2*page, 3*page).ok(201) // from the blob itself
	copy(want[page:2*page], want[2*page:3*page])
	w.same("pages", w.content(b), want)
}

func pagesFromConditions(w *wire) {
	a := w.pageBlob(page)
	b := a.container().blob("copy")
	w.create(b, page).ok(201)
	from := func() *call { return w.pagesFrom(b, 0, page, a, 0, page) }
	s := w.stamp(a)
	from().h("x-ms-source-if-match", otherETag).fails("SourceConditionNotMet")
	from().h("x-ms-source-if-match", s.etag).ok(201)
	from().h("x-ms-source-if-none-match", s.etag).fails("SourceConditionNotMet")
	from().h("x-ms-source-if-none-match", "*").fails("SourceConditionNotMet")
	from().h("x-ms-source-if-modified-since", w.ago(-1e12)).fails("SourceConditionNotMet")
	from().h("If-Match", otherETag).fails("ConditionNotMet")
	from().h("x-ms-if-sequence-number-lt", "0").fails("SequenceNumberConditionNotMet")
	w.acquire(b, leaseA, -1).ok(201)
	from().fails("LeaseIdMissing")
	from().h("x-ms-lease-id", leaseA).ok(201)
}

func pagesFromWrong(w *wire) {
	a := w.pageBlob(2 * page)
	b := a.container().blob("copy")
	w.create(b, 5*mib).ok(201)
	w.pagesFrom(b, 0, page, a, 0, 2*page).fails("InvalidHeaderValue", "HeaderName", "x-ms-source-range")
	w.pagesFrom(b, 1, page, a, 0, page).fails("InvalidHeaderValue", "HeaderName", "Range")
	w.pagesFrom(b, 0, 2*page, a, page, 3*page).fails("InvalidRange")
	w.pagesFrom(b, 5*mib, page, a, 0, page).fails("InvalidPageRange")
	w.pagesFrom(b, 0, 4*mib+page, a, 0, 4*mib+page).fails("RequestBodyTooLarge")
	w.pagesFrom(b, 0, page, a, 0, page).b([]byte("content")).fails("InvalidHeaderValue")
	w.put(b, "comp=page").hs("x-ms-page-write", "update", "x-ms-range", "bytes=0-511", "x-ms-copy-source", w.url(a)).fails("MissingRequiredHeader")
	w.pagesFrom(b, 0, page, a, 0, page).hs("x-ms-source-content-md5", md5Of(nil), "x-ms-source-content-crc64", crcOf(nil)).fails("BothCrc64AndMd5HeaderPresent")
	w.pagesFrom(b, 0, page, a, 0, page).h("x-ms-source-content-md5", "x").fails("InvalidMd5")
	w.pagesFrom(b, 0, page, a, 0, page).h("x-ms-source-content-crc64", crcOf([]byte("x"))).fails("Crc64Mismatch")
	w.pagesFrom(b, 0, page, a.container().blob("none"), 0, page).fails("CannotVerifyCopySource")
	w.pagesFrom(a.container().blob("none"), 0, page, a, 0, page).fails("BlobNotFound")
	w.put(b, "comp=page").hs("x-ms-page-write", "update", "x-ms-range", "bytes=0-511", "x-ms-source-range", "bytes=0-511",
		"x-ms-copy-source", "http://169.254.169.254/latest/meta-data").unread(403, "")
	w.ranges(w.pageList(b), "")
}

func abortCopyBlob(t T, env *Env) {
	w := env.wire(t)
	b := w.pageBlob(page)
	abort := func(r ref, id string) *call { return w.put(r, "comp=copy&copyid="+id).h("x-ms-copy-action", "abort") }
	abort(b, leaseA).fails("NoPendingCopyOperation")
	other := b.container().blob("copy")
	id := w.copy(other, b, "").ok(202).get("x-ms-copy-id")
	abort(other, id).fails("NoPendingCopyOperation") // it is finished
	abort(b, "x").fails("InvalidQueryParameterValue", "QueryParameterName", "copyid", "QueryParameterValue", "x")
	abort(b, "").fails("InvalidQueryParameterValue")
	w.put(b, "comp=copy&copyid="+leaseA).fails("MissingRequiredHeader")
	abort(b, leaseA).h("x-ms-copy-action", "stop").fails("InvalidHeaderValue")
	abort(b.container().blob("none"), leaseA).fails("BlobNotFound")
	w.acquire(b, leaseA, -1).ok(201)
	abort(b, leaseA).h("x-ms-lease-id", leaseA).fails("NoPendingCopyOperation")
	abort(b, leaseA).h("x-ms-lease-id", leaseB).fails("LeaseIdMismatchWithBlobOperation")
}
