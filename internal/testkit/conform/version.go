package conform

import (
	"bytes"
	"io"
	"net/url"
	"slices"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/pageblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/service"
)

// versioned runs a part on the account that has versioning, if there is one. What is provoked there counts.
func (w *wire) versioned(name string, f func(w *wire)) {
	w.Helper()
	e := w.env
	if e.Versioned == "" {
		e.out = append(e.out, name)
		return
	}
	w.part(name, func(w *wire) {
		other := &Env{URL: e.URL, Account: e.Versioned, Key: e.Key, SecondKey: e.SecondKey, Immutable: e.Immutable,
			Clock: e.Clock, Advance: e.Advance, NoWait: e.NoWait, Seed: e.Seed + 3, versioning: true}
		defer other.Close()
		defer func() {
			e.ledger.add(&other.ledger)
			e.out = append(e.out, other.out...)
		}()
		other.wire(w.T).part("with versioning", f)
	})
}

// checkVersions checks that nothing is said of versions where there is no versioning.
func (e *Env) checkVersions(t T, r *reply) {
	t.Helper()
	for _, name := range []string{"x-ms-version-id", "x-ms-is-current-version"} {
		if !e.versioning && r.has(name) {
			t.Errorf("every reply: %s without versioning:\n%v", name, r)
		}
	}
}

func blobVersions(t T, env *Env) {
	w := env.wire(t)
	w.part("in an account without", versionsOff)
	w.versioned("through the SDK", versionsSDK)
	w.versioned("deleted, through the SDK", versionsDeletedSDK)
	w.versioned("what makes one", versionsMade)
	w.versioned("what reads one", versionsRead)
	w.versioned("what is wrong", versionsWrong)
	w.versioned("what a version can be changed by", versionsChanged)
	w.versioned("listed", versionsListed)
	w.versioned("promoted", versionsPromoted)
	w.versioned("deleted", versionsDeleted)
	w.versioned("deleted and kept", versionsKept)
	w.versioned("tokens", versionsTokens)
	w.versioned("protected", versionsProtected)
}

func versionsOff(w *wire) {
	b := w.container().blob("b")
	w.headers(w.create(b, page).ok(201), "x-ms-version-id", "-")
	w.headers(w.put(b, "comp=metadata").ok(200), "x-ms-version-id", "-")
	w.headers(w.put(b, "comp=snapshot").ok(201), "x-ms-version-id", "-")
	w.headers(w.head(b, "").ok(200), "x-ms-version-id", "-", "x-ms-is-current-version", "-")
	w.get(b, "versionid=2026-01-01T00:00:00.0000000Z").fails("BlobNotFound")
	w.equal("listed", versionNames(w.list(b.container(), "&include=versions")), "b")
	w.setTags(b, "k", "off").ok(204)
	for _, q := range []string{"comp=blobs", "comp=blobs&include=versions"} {
		found := w.xml(w.get("", q).q("where", "k='off'").ok(200)).child("Blobs").children
		if len(found) != 1 || found[0].value("Name") != "b" {
			w.Errorf("%s finds %d", q, len(found))
		}
	}
}

// versionsSDK follows a blob through the SDK: each of its versions is read by its id.
func versionsSDK(w *wire) {
	c := w.container()
	client := w.sdkPageBlob(c, "b")
	made, err := client.Create(ctx, 2*page, &pageblob.CreateOptions{Metadata: map[string]*string{"n": to.Ptr("1")}, Tags: map[string]string{"k": "1"}})
	w.must(err)
	first := val(made.VersionID)
	_, err = client.UploadPages(ctx, streaming.NopCloser(bytes.NewReader(fill(1, page))), blob.HTTPRange{Count: page}, nil)
	w.must(err)
	set, err := client.SetMetadata(ctx, map[string]*string{"n": to.Ptr("2")}, nil)
	w.must(err)
	second := val(set.VersionID)
	if first == "" || second <= first {
		w.Fatalf("versions %q, %q", first, second)
	}
	_, err = client.UploadPages(ctx, streaming.NopCloser(bytes.NewReader(fill(2, page))), blob.HTTPRange{Count: page}, nil)
	w.must(err)
	old, err := client.WithVersionID(first)
	w.must(err)
	got, err := old.DownloadStream(ctx, nil)
	w.must(err)
	data, err := io.ReadAll(got.Body)
	w.must(err)
	w.same("the first version", data, append(fill(1, page), make([]byte, page)...))
	w.equal("its id", val(got.VersionID), first)
	if got.IsCurrentVersion != nil || val(got.Metadata["N"]) != "1" && val(got.Metadata["n"]) != "1" {
		w.Errorf("the first version: current %v, metadata %v", got.IsCurrentVersion, got.Metadata)
	}
	props, err := client.GetProperties(ctx, nil)
	w.must(err)
	if val(props.VersionID) != second || !val(props.IsCurrentVersion) {
		w.Errorf("the blob: %q, current %v", val(props.VersionID), val(props.IsCurrentVersion))
	}
	tags, err := old.GetTags(ctx, nil)
	w.must(err)
	if len(tags.BlobTagSet) != 1 || val(tags.BlobTagSet[0].Value) != "1" {
		w.Errorf("tags %v", tags.BlobTagSet)
	}
	pages, err := old.NewGetPageRangesPager(nil).NextPage(ctx)
	w.must(err)
	if len(pages.PageRange) != 1 || val(pages.PageRange[0].End) != page-1 {
		w.Errorf("pages %v", pages.PageRange)
	}

	// The first version becomes the current one again.
	_, err = client.StartCopyFromURL(ctx, old.URL(), nil)
	w.must(err)
	w.same("promoted", w.content(c.blob("b")), append(fill(1, page), make([]byte, page)...))
	w.equal("listed", w.sdkVersions(c, container.ListBlobsInclude{Versions: true}), "b~ b~ b!")
}

// sdkVersions lists a container as versionNames has it, two entries at a time.
func (w *wire) sdkVersions(c ref, include container.ListBlobsInclude) string {
	w.Helper()
	var names []string
	pager := w.sdkContainer(c).NewListBlobsFlatPager(&container.ListBlobsFlatOptions{Include: include, MaxResults: to.Ptr[int32](2)})
	for pager.More() {
		list, err := pager.NextPage(ctx)
		w.must(err)
		for _, b := range list.Segment.BlobItems {
			name := val(b.Name)
			switch {
			case val(b.HasVersionsOnly):
				name = "[" + name + "]"
			case val(b.IsCurrentVersion):
				name += "!"
			case val(b.VersionID) != "":
				name += "~"
			case val(b.Snapshot) != "":
				name += "@"
			}
			if val(b.Deleted) {
				name = "(" + name + ")"
			}
			names = append(names, name)
		}
	}
	return strings.Join(names, " ")
}

// versionNames are the names of a listing in order: snapshots marked by "@", previous versions by "~", current ones by "!",
// what is deleted in brackets, and so what has versions only.
func versionNames(root *node) string {
	var names []string
	for _, n := range root.child("Blobs").children {
		name := listedName(n)
		switch {
		case n.value("HasVersionsOnly") == "true":
			name = "[" + name + "]"
		case n.value("IsCurrentVersion") == "true":
			name += "!"
		case n.value("VersionId") != "":
			name += "~"
		case n.value("Snapshot") != "":
			name += "@"
		}
		if n.value("Deleted") == "true" {
			name = "(" + name + ")"
		}
		names = append(names, name)
	}
	return strings.Join(names, " ")
}

func versionsDeletedSDK(w *wire) {
	_, err := w.sdk().SetProperties(ctx, &service.SetPropertiesOptions{DeleteRetentionPolicy: &service.RetentionPolicy{
		Enabled: to.Ptr(true), Days: to.Ptr[int32](7), AllowPermanentDelete: to.Ptr(true)}})
	w.must(err)
	w.Cleanup(w.noRetention)
	c := w.container()
	client := w.sdkPageBlob(c, "b")
	made, err := client.Create(ctx, page, nil)
	w.must(err)
	old, err := client.WithVersionID(val(made.VersionID))
	w.must(err)
	_, err = old.Delete(ctx, nil)
	w.mustFail(err, "OperationNotAllowedOnRootBlob")
	_, err = client.Delete(ctx, nil)
	w.must(err)
	all := container.ListBlobsInclude{Versions: true, Deleted: true, DeletedWithVersions: true}
	w.equal("listed", w.sdkVersions(c, all), "b~ [b]")
	_, err = old.GetProperties(ctx, nil)
	w.must(err)
	_, err = old.Delete(ctx, nil)
	w.must(err)
	w.equal("deleted", w.sdkVersions(c, all), "(b~) [b]")
	_, err = client.Undelete(ctx, nil)
	w.must(err)
	w.equal("undeleted", w.sdkVersions(c, all), "b~ [b]")
	_, err = old.Delete(ctx, nil)
	w.must(err)
	_, err = old.Delete(ctx, &blob.DeleteOptions{BlobDeleteType: to.Ptr(blob.DeleteTypePermanent)})
	w.must(err)
	w.equal("deleted for good", w.sdkVersions(c, all), "")
}

// version returns the id of the blob's current version.
func (w *wire) version(b ref) string {
	w.Helper()
	return w.head(b, "").ok(200).get("x-ms-version-id")
}

// versionsMade: which requests make a version, and which change the current one in place.
func versionsMade(w *wire) {
	b := w.container().blob("b")
	first := w.create(b, page).ok(201).get("x-ms-version-id")
	last := first
	makes := func(what string, c *call, status int) {
		w.Helper()
		r := c.ok(status)
		id := r.get("x-ms-version-id")
		if id <= last || id != w.version(b) {
			w.Errorf("%s: version %q after %q, the blob has %q:\n%v", what, id, last, w.version(b), r)
		}
		w.headers(r, "x-ms-is-current-version", "-")
		last = id
	}
	keeps := func(what string, c *call, status int) *reply {
		w.Helper()
		r := c.ok(status)
		w.headers(r, "x-ms-version-id", "-")
		w.equal(what+": version", w.version(b), last)
		return r
	}
	keeps("put page", w.update(b, 0, fill(1, page)), 201)
	keeps("clear", w.clear(b, 0, page), 201)
	keeps("resize", w.resize(b, 2*page), 200)
	keeps("properties", w.put(b, "comp=properties").h("x-ms-blob-content-type", "x/y"), 200)
	keeps("sequence number", w.put(b, "comp=properties").h("x-ms-sequence-number-action", "increment"), 200)
	keeps("tags", w.setTags(b, "k", "v"), 204)
	keeps("tier", w.tierOf(b, "P10"), 200)
	keeps("lease", w.acquire(b, leaseA, -1), 201)
	keeps("break", w.lease(b, "release").h("x-ms-lease-id", leaseA), 200)
	keeps("put page from URL", w.pagesFrom(b, 0, page, b, page, 2*page), 201)
	makes("metadata", w.put(b, "comp=metadata").h("x-ms-meta-a", "1"), 200)
	makes("snapshot", w.put(b, "comp=snapshot"), 201)
	makes("put blob", w.create(b, page), 201)
	makes("copy", w.copy(b, b, "versionid="+url.QueryEscape(first)), 202)
	w.create(b, page).h("If-None-Match", "*").fails("BlobAlreadyExists")
	w.put(b, "comp=metadata").h("If-Match", `"0x1"`).fails("ConditionNotMet")
	w.equal("after what was refused", w.version(b), last)
	w.equal("listed", versionNames(w.list(b.container(), "&include=versions,snapshots")), "b~ b~ b@ b~ b~ b!")
}

// versionsRead: everything that reads a blob reads a version of it.
func versionsRead(w *wire) {
	b := w.pageBlob(2 * page)
	w.update(b, 0, fill(1, page)).ok(201)
	w.setTags(b, "k", "old").ok(204)
	at := w.snapshot(b) // the version after it
	w.update(b, page, fill(2, page)).ok(201)
	old := w.version(b)
	stamp := w.stamp(b)
	w.put(b, "comp=metadata").h("x-ms-meta-new", "1").ok(200)
	w.update(b, 0, fill(3, page)).ok(201)
	w.setTags(b, "k", "new").ok(204)
	q := "versionid=" + url.QueryEscape(old)
	w.same("bytes", w.get(b, q).ok(200).body, append(fill(1, page), fill(2, page)...))
	r := w.get(b, q).h("x-ms-range", "bytes=512-1023").ok(206)
	w.same("some of them", r.body, fill(2, page))
	for _, r := range []*reply{r, w.head(b, q).ok(200), w.get(b, "comp=metadata&"+q).ok(200)} {
		w.headers(r, "x-ms-version-id", old, "x-ms-is-current-version", "-", "x-ms-meta-new", "-", "ETag", stamp.etag,
			"x-ms-lease-state", "-", "x-ms-lease-status", "-")
	}
	w.equal("tags", w.tags(w.get(b, "comp=tags&"+q)), "k=old")
	ranges, _ := pageRanges(w, w.get(b, "comp=pagelist&"+q).ok(200))
	if len(ranges) != 1 || ranges[0].start != 0 || ranges[0].end != 2*page-1 {
		w.Errorf("pages %v", ranges)
	}
	ranges, _ = pageRanges(w, w.get(b, "comp=pagelist&prevsnapshot="+at+"&"+q).ok(200))
	if len(ranges) != 1 || ranges[0].start != page {
		w.Errorf("diff %v", ranges)
	}
	w.get(b, q).h("If-None-Match", stamp.etag).notModified()
	w.get(b, q).h("If-Match", `"0x1"`).fails("ConditionNotMet")
	w.get(b, q).h("x-ms-if-tags", "k = 'old'").ok(200)
	w.get(b, q).h("x-ms-if-tags", "k = 'new'").fails("ConditionNotMet")

	now := w.version(b)
	q = "versionid=" + url.QueryEscape(now)
	for _, r := range []*reply{w.get(b, q).ok(200), w.head(b, q).ok(200), w.get(b, "comp=metadata&"+q).ok(200), w.get(b, "").ok(200), w.head(b, "").ok(200)} {
		w.headers(r, "x-ms-version-id", now, "x-ms-is-current-version", "true", "x-ms-meta-new", "1")
	}
	w.headers(w.head(b, "snapshot="+at).ok(200), "x-ms-version-id", "-", "x-ms-is-current-version", "-")
}

func versionsWrong(w *wire) {
	b := w.pageBlob(page)
	first := w.version(b)
	at := w.snapshot(b)
	for _, id := range []string{first, w.version(b)} {
		q := "versionid=" + url.QueryEscape(id)
		w.get(b, q).q("snapshot", at).fails("MutuallyExclusiveQueryParameters") // [S]
		w.get(b, q+"&"+q).fails("InvalidQueryParameterValue", "QueryParameterName", "versionid")
		for _, c := range []*call{
			w.update(b, 0, fill(1, page)), w.clear(b, 0, page), w.create(b, page), w.resize(b, page), w.put(b, "comp=metadata"),
			w.put(b, "comp=snapshot"), w.acquire(b, leaseA, 15), w.undelete(b), w.copy(b, b, ""), w.pagesFrom(b, 0, page, b, 0, page),
			w.get(b.container(), "restype=container&comp=list"), w.put(b.container(), "restype=container&comp=metadata"),
		} {
			c.q("versionid", id).fails("UnsupportedQueryParameter", "QueryParameterName", "versionid")
		}
	}
	for _, id := range []string{"", "yesterday", "2026-01-01", "2026-01-01T00:00:00.00000000Z"} {
		for _, c := range []*call{w.get(b, ""), w.get(b, "comp=pagelist"), w.delete(b, ""), w.get(b, "comp=tags"), w.tierOf(b, "P10")} {
			c.q("versionid", id).fails("InvalidQueryParameterValue", "QueryParameterName", "versionid", "QueryParameterValue", id)
		}
		w.copy(b.container().blob("copy"), b, "versionid="+id).fails("InvalidHeaderValue", "HeaderName", "x-ms-copy-source")
	}
	w.get(b, "versionid="+at).fails("BlobNotFound")
	w.get(b, "snapshot="+first).fails("BlobNotFound")
	for _, c := range []*call{w.get(b, ""), w.head(b, ""), w.get(b, "comp=metadata"), w.get(b, "comp=pagelist"), w.delete(b, ""),
		w.get(b, "comp=tags"), w.setTags(b, "k", "v"), w.tierOf(b, "P10"), w.get(b.container().blob("none"), "")} {
		c.q("versionid", "2020-01-01T00:00:00.0000000Z").fails("BlobNotFound")
	}
	w.copy(b, b, "versionid=2020-01-01T00:00:00.0000000Z").fails("CannotVerifyCopySource")
	w.copy(b, b, "versionid="+first+"&snapshot="+at).fails("InvalidHeaderValue", "HeaderName", "x-ms-copy-source")
	w.get(b, "comp=pagelist&prevsnapshot="+first).fails("PreviousSnapshotNotFound")
	w.get(b, "comp=pagelist&prevsnapshot="+at+"&versionid="+first).ok(200) // the snapshot was taken of it
	w.get("", "comp=blobs&include=versions&where=a%3D%27b%27").fails("InvalidQueryParameterValue", "QueryParameterName", "include")
}

// versionsChanged: tags and tier of a version change without the blob's.
func versionsChanged(w *wire) {
	b := w.pageBlob(page)
	w.setTags(b, "k", "1").ok(204)
	first := w.version(b)
	w.put(b, "comp=metadata").ok(200)
	q := "versionid=" + url.QueryEscape(first)
	before := w.stamp(b)
	w.setTags(b, "k", "2").q("versionid", first).ok(204)
	w.equal("tags of the version", w.tags(w.get(b, "comp=tags&"+q)), "k=2")
	w.equal("tags of the blob", w.tags(w.get(b, "comp=tags")), "k=1")
	w.setTags(b, "k", "3").q("versionid", w.version(b)).ok(204)
	w.equal("tags of the blob by its id", w.tags(w.get(b, "comp=tags")), "k=3")
	w.tierOf(b, "P20").q("versionid", first).ok(200)
	w.headers(w.head(b, q).ok(200), "x-ms-access-tier", "P20", "x-ms-access-tier-inferred", "-")
	w.headers(w.head(b, "").ok(200), "x-ms-access-tier", "P4", "x-ms-access-tier-inferred", "true")
	w.acquire(b, leaseA, -1).ok(201)
	w.setTags(b, "k", "4").q("versionid", first).ok(204) // a version has no lease
	w.setTags(b, "k", "5").q("versionid", w.version(b)).fails("LeaseIdMissing")
	w.setTags(b, "k", "5").h("x-ms-lease-id", leaseA).q("versionid", first).fails("LeaseNotPresentWithBlobOperation")
	if after := w.stamp(b); after != before {
		w.Errorf("stamp %v, then %v", before, after)
	}
	w.equal("found", w.found("k='4'"), "")
}

// found returns the names of the blobs that a search finds.
func (w *wire) found(where string) string {
	w.Helper()
	var names []string
	for _, n := range w.xml(w.get("", "comp=blobs").q("where", where).ok(200)).child("Blobs").children {
		names = append(names, n.value("Name"))
	}
	return strings.Join(names, " ")
}

func versionsListed(w *wire) {
	c := w.container()
	for _, name := range []string{"a", "d/b", "d/c"} {
		b := c.blob(name)
		w.create(b, page).ok(201)
		w.put(b, "comp=metadata").h("x-ms-meta-n", name).ok(200)
		w.snapshot(b)
	}
	w.delete(c.blob("d/b"), "").h("x-ms-delete-snapshots", "include").ok(202)
	for _, f := range []struct{ include, want string }{
		{"", "a! d/c!"},
		{"snapshots", "a@ a! d/c@ d/c!"},
		{"versions", "a~ a~ a! d/b~ d/b~ d/b~ d/c~ d/c~ d/c!"},
		{"snapshots,versions", "a~ a~ a@ a! d/b~ d/b~ d/b~ d/c~ d/c~ d/c@ d/c!"},
		{"deletedwithversions", "a! [d/b] d/c!"},
		{"versions,deletedwithversions", "a~ a~ a! d/b~ d/b~ d/b~ [d/b] d/c~ d/c~ d/c!"},
		{"deleted", "a! d/c!"},
	} {
		w.equal(f.include, versionNames(w.list(c, "&include="+f.include)), f.want)
		var names []string
		for marker := ""; ; {
			root := w.xml(w.get(c, "restype=container&comp=list&maxresults=2&include="+f.include).q("marker", marker).ok(200))
			if names = append(names, versionNames(root)); len(root.child("Blobs").children) > 2 {
				w.Errorf("%s: %d entries", f.include, len(root.child("Blobs").children))
			}
			if marker = root.value("NextMarker"); marker == "" {
				break
			}
		}
		w.equal(f.include+", in parts", strings.TrimSpace(strings.Join(names, " ")), f.want)
	}
	items := w.list(c, "&include=versions,metadata,deletedwithversions&prefix=d").child("Blobs").children
	for _, n := range items {
		leasable := n.value("IsCurrentVersion")+n.value("HasVersionsOnly") == "true"
		w.equal("lease of "+flat(n), n.child("Properties").value("LeaseState"), map[bool]string{true: "available"}[leasable])
		w.equal("lease of "+flat(n), n.child("Properties").value("LeaseStatus"), map[bool]string{true: "unlocked"}[leasable])
	}
	if ids := []string{items[0].value("VersionId"), items[1].value("VersionId"), items[2].value("VersionId")}; !slices.IsSorted(ids) {
		w.Errorf("ids %q", ids)
	}
}

// versionsPromoted: a version is the source of a copy to its own blob, to another and of pages, in the account and from
// another one.
func versionsPromoted(w *wire) {
	b := w.pageBlob(page)
	w.update(b, 0, fill(1, page)).ok(201)
	first := w.version(b)
	q := "versionid=" + url.QueryEscape(first)
	w.create(b, 2*page).ok(201)
	w.copy(b, b, q).ok(202)
	w.same("promoted", w.content(b), fill(1, page))
	w.headers(w.head(b, "").ok(200), "x-ms-copy-source", w.url(b)+"?"+q)
	w.delete(b, "").ok(202)
	w.get(b, "").fails("BlobNotFound")
	w.copy(b, b, q).ok(202)
	w.same("promoted after it was deleted", w.content(b), fill(1, page))
	other := b.container().blob("other")
	w.copy(other, b, q).ok(202)
	w.same("copied", w.content(other), fill(1, page))
	w.create(other, page).ok(201)
	w.pagesFrom(other, 0, page, b+ref("?"+q), 0, page).ok(201)
	w.same("pages", w.content(other), fill(1, page))
	read := w.service("bv", "r").with("versionid", first).query(b)
	w.create(other, page).ok(201)
	w.pagesFrom(other, 0, page, b+ref("?"+read), 0, page).ok(201)
	w.same("pages, by a token", w.content(other), fill(1, page))
	w.equal("listed", versionNames(w.list(b.container(), "&include=versions&prefix=blob")), "blob~ blob~ blob~ blob!")
}

func versionsDeleted(w *wire) {
	b := w.pageBlob(page)
	w.update(b, 0, fill(1, page)).ok(201)
	first := w.version(b)
	second := w.put(b, "comp=metadata").ok(200).get("x-ms-version-id")
	w.delete(b, "").q("versionid", second).fails("OperationNotAllowedOnRootBlob")
	w.delete(b, "").q("versionid", first).h("x-ms-delete-snapshots", "include").fails("InvalidHeaderValue", "HeaderName", "x-ms-delete-snapshots")
	w.delete(b, "").q("versionid", first).h("If-Match", `"0x1"`).fails("ConditionNotMet")
	w.delete(b, "deletetype=permanent").q("versionid", first).fails("BlobSnapshotNotSoftDeleted")
	w.acquire(b, leaseA, -1).ok(201)
	w.delete(b, "").fails("LeaseIdMissing")
	w.headers(w.delete(b, "").q("versionid", first).ok(202), "x-ms-delete-type-permanent", "true", "x-ms-version-id", "-")
	w.get(b, "").q("versionid", first).fails("BlobNotFound")
	w.snapshot(b)
	w.delete(b, "").h("x-ms-lease-id", leaseA).fails("SnapshotsPresent")
	w.headers(w.delete(b, "").hs("x-ms-lease-id", leaseA, "x-ms-delete-snapshots", "only").ok(202), "x-ms-delete-type-permanent", "true")
	w.snapshot(b)
	r := w.delete(b, "").hs("x-ms-lease-id", leaseA, "x-ms-delete-snapshots", "include").ok(202)
	w.headers(r, "x-ms-delete-type-permanent", "false") // it is a version now
	w.get(b, "").fails("BlobNotFound")
	w.delete(b, "").fails("BlobNotFound")
	w.undelete(b).fails("BlobNotFound")
	w.equal("listed", versionNames(w.list(b.container(), "&include=versions,deletedwithversions")), "blob~ blob~ blob~ [blob]")
	w.same("the version", w.get(b, "").q("versionid", second).ok(200).body, fill(1, page))
	w.create(b, page).ok(201)
	w.equal("made anew", versionNames(w.list(b.container(), "&include=versions,deletedwithversions")), "blob~ blob~ blob~ blob!")
	w.delete(b, "").q("versionid", second).ok(202)
	w.delete(b, "").q("versionid", second).fails("BlobNotFound")

	// In a batch, by the id that the request has.
	if parts := w.parts(w.batch("/", w.delete(b, "").q("versionid", w.version(b)))); !strings.Contains(parts, "403") {
		w.Errorf("batch: %s", parts)
	}
	if parts := w.parts(w.batch("/", w.delete(b, ""))); !strings.Contains(parts, "202") {
		w.Errorf("batch: %s", parts)
	}
	w.equal("listed", versionNames(w.list(b.container(), "&include=versions")), "blob~ blob~ blob~")
}

func versionsKept(w *wire) {
	w.retention(5, true)
	b := w.pageBlob(page)
	first := w.version(b)
	w.create(b, page).ok(201)
	w.equal("overwritten", versionNames(w.list(b.container(), "&include=versions,snapshots,deleted")), "blob~ blob!")
	w.headers(w.delete(b, "").ok(202), "x-ms-delete-type-permanent", "false")
	w.headers(w.delete(b, "").q("versionid", first).ok(202), "x-ms-delete-type-permanent", "false")
	w.get(b, "").q("versionid", first).fails("BlobNotFound")
	w.equal("listed", versionNames(w.list(b.container(), "&include=versions")), "blob~")
	w.equal("with deleted", versionNames(w.list(b.container(), "&include=versions,deleted")), "(blob~) blob~")
	w.create(b, page).ok(201)
	w.undelete(b).ok(200)
	w.equal("undeleted", versionNames(w.list(b.container(), "&include=versions,deleted")), "blob~ blob~ blob!")
	w.delete(b, "deletetype=permanent").q("versionid", first).fails("BlobSnapshotNotSoftDeleted")
	w.delete(b, "deletetype=permanent").q("versionid", w.version(b)).fails("OperationNotAllowedOnRootBlob")
	w.delete(b, "").q("versionid", first).ok(202)
	w.headers(w.delete(b, "deletetype=permanent").q("versionid", first).ok(202), "x-ms-delete-type-permanent", "true")
	w.undelete(b).ok(200)
	w.equal("for good", versionNames(w.list(b.container(), "&include=versions,deleted")), "blob~ blob!")
}

// versionsTokens: a token for a version opens that, and deleting one takes a permission of its own.
func versionsTokens(w *wire) {
	b := w.pageBlob(page)
	w.update(b, 0, fill(1, page)).ok(201)
	first := w.version(b)
	second := w.put(b, "comp=metadata").ok(200).get("x-ms-version-id")
	w.update(b, 0, fill(2, page)).ok(201)
	t := w.service("bv", "r").with("versionid", first)
	w.same("by its token", w.get(b, "").by(t).ok(200).body, fill(1, page))
	w.update(b, 0, fill(3, page)).by(w.service("bv", "w").with("versionid", first)).fails("UnsupportedQueryParameter")
	query := t.query(b)
	w.get(b, "").byQuery(strings.Replace(query, "versionid=", "none=", 1)).fails("AuthenticationFailed")
	w.get(b, "").byQuery(strings.Replace(query, url.QueryEscape(first), url.QueryEscape(second), 1)).fails("AuthenticationFailed")
	w.get(b, "").byQuery(strings.Replace(query, "versionid=", "snapshot=", 1)).fails("AuthenticationFailed")
	w.get(b, "versionid="+url.QueryEscape(first)).by(w.service("b", "r")).ok(200)
	at := "versionid=" + url.QueryEscape(first)
	for _, letters := range []string{"d", "racwdytlfi"} {
		w.delete(b, at).by(w.account("o", letters)).fails("AuthorizationPermissionMismatch")
		w.delete(b, at).by(w.service("c", letters)).fails("AuthorizationPermissionMismatch")
		w.delete(b, "").by(w.service("bv", letters).with("versionid", first)).fails("AuthorizationPermissionMismatch")
	}
	batched := func(r ref, version, letters string) string {
		w.Helper()
		return w.parts(w.batch(r, w.delete(b, "versionid="+url.QueryEscape(version)).by(w.account("o", letters))))
	}
	for _, r := range []ref{"/", b.container()} {
		w.equal("in a batch without x", batched(r, first, "racwdytlfi"), "0 403 Forbidden AuthorizationPermissionMismatch")
	}
	w.get(b, at).ok(200)
	w.delete(b, "").by(w.account("o", "x")).fails("AuthorizationPermissionMismatch")
	w.delete(b, "").by(w.service("bv", "x").with("versionid", first)).ok(202)
	w.delete(b, "").by(w.account("o", "d")).ok(202)
	w.equal("in a batch with x", batched("/", second, "x"), "0 202 Accepted")
	w.equal("left", versionNames(w.list(b.container(), "&include=versions,deletedwithversions")), "")
}

// versionsProtected: what protects a blob goes with the version that it becomes.
func versionsProtected(w *wire) {
	if w.env.Immutable == "" {
		w.env.out = append(w.env.out, "versions that are protected")
		return
	}
	c := ref("/" + w.env.Immutable)
	if r := w.put(c, "restype=container").send(); r.status != 201 && r.status != 409 {
		w.Fatalf("%v", r)
	}
	b := c.blob(w.env.unique())
	w.create(b, page).ok(201)
	w.hold(b, "", "true").ok(200)
	first := w.version(b)
	q := "&versionid=" + url.QueryEscape(first)
	w.put(b, "comp=metadata").fails("BlobImmutableDueToPolicy")
	w.headers(w.create(b, page).ok(201), "x-ms-version-id", "*")
	w.headers(w.head(b, "").ok(200), "x-ms-legal-hold", "-")
	w.headers(w.head(b, "versionid="+url.QueryEscape(first)).ok(200), "x-ms-legal-hold", "true")
	w.delete(b, "").q("versionid", first).fails("BlobImmutableDueToPolicy")
	w.policy(b, q, "unlocked", policyTime).ok(200)
	w.hold(b, q, "false").ok(200)
	w.delete(b, "").q("versionid", first).fails("BlobImmutableDueToPolicy")
	w.delete(b, "comp=immutabilityPolicies"+q).ok(200)
	w.hold(b, "&versionid="+url.QueryEscape(w.version(b)), "true").ok(200)
	w.headers(w.head(b, "").ok(200), "x-ms-legal-hold", "true")
	w.delete(b, "").ok(202) // it stays as a version
	w.delete(b, "").q("versionid", first).ok(202)
	for _, n := range w.list(c, "&include=versions&prefix="+string(b)[len(c)+1:]).child("Blobs").children {
		last := n.value("VersionId")
		w.delete(b, "").q("versionid", last).fails("BlobImmutableDueToPolicy")
		w.hold(b, "&versionid="+url.QueryEscape(last), "false").ok(200)
		w.delete(b, "").q("versionid", last).ok(202)
	}
	w.delete(c, "restype=container").ok(202)
}
