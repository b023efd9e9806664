package conform

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
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
	w.part("independence", copyIndependence)
	w.part("conditions and leases", copyConditions)
	w.part("sources that are not taken", copySources)
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
}

func copySources(w *wire) {
	a := w.pageBlob(page)
	c := a.container()
	b := c.blob("copy")
	for _, source := range []string{"", "x", "/" + w.env.Account + string(a), "ftp://host/a/b", w.url(c) + "/", w.url("/"), w.url(a) + "#part",
		w.url(a) + "?snapshot=yesterday", w.url(a) + "?snapshot=", w.url(a) + "?versionid=1", w.url(a) + "?" + strings.Repeat("x", 2048)} {
		w.put(b, "").h("x-ms-copy-source", source).fails("InvalidHeaderValue", "HeaderName", "x-ms-copy-source")
	}
	host := w.env.URL[strings.Index(w.env.URL, "://")+3:]
	for _, source := range []string{w.env.URL + "/other/c/b", "http://127.0.0.1:1/" + w.env.Account + string(a), "http://169.254.169.254/latest/meta-data",
		"http://user:secret@" + host + "/" + w.env.Account + string(a), "http://[::1]:80/a/b/c"} {
		w.put(b, "").h("x-ms-copy-source", source).fails("CopyAcrossAccountsNotSupported")
	}
	w.copy(b, a, "sv=2020-10-02&sr=b&sp=r&sig=AAAA").fails("CannotVerifyCopySource")
	w.copy(b, c, "").fails("CannotVerifyCopySource") // a blob of that name in the root container
	w.copy(b, "/none-such/b", "").fails("CannotVerifyCopySource")
	w.copy(b, a, "snapshot=2020-01-01T00:00:00.0000000Z").fails("CannotVerifyCopySource")
	w.copy("/none-such/b", a, "").fails("ContainerNotFound")
	w.copy(b, a, "").b([]byte("content")).fails("InvalidHeaderValue")
	w.head(b, "").fails("BlobNotFound")
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
