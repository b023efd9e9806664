package conform

import (
	"crypto/md5"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/pageblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/service"
)

// tagsBody is the body of Set Blob Tags for tags given as key, value, key, value…
func tagsBody(pairs ...string) []byte {
	var b strings.Builder
	b.WriteString(`<?xml version="1.0" encoding="utf-8"?><Tags><TagSet>`)
	for i := 0; i+1 < len(pairs); i += 2 {
		fmt.Fprintf(&b, "<Tag><Key>%s</Key><Value>%s</Value></Tag>", pairs[i], pairs[i+1])
	}
	b.WriteString("</TagSet></Tags>")
	return []byte(b.String())
}

// setTags is Set Blob Tags.
func (w *wire) setTags(b ref, pairs ...string) *call {
	return w.put(b, "comp=tags").b(tagsBody(pairs...))
}

// tags reads the tags of a blob as "a=1 b=2".
func (w *wire) tags(c *call) string {
	w.Helper()
	root := w.xml(c.ok(200))
	w.equal("root", root.name, "Tags")
	return tagSetText(root.child("TagSet"))
}

func tagSetText(set *node) string {
	if set == nil {
		return "no TagSet"
	}
	var parts []string
	for _, t := range set.children {
		parts = append(parts, t.value("Key")+"="+t.value("Value"))
	}
	return strings.Join(parts, " ")
}

func getBlobTags(t T, env *Env) {
	w := env.wire(t)
	w.part("through the SDK", func(w *wire) {
		c := w.container()
		b := w.sdkPageBlob(c, "b")
		_, err := b.Create(ctx, page, &pageblob.CreateOptions{Tags: map[string]string{"a b": "1+1", "c": ""}})
		w.must(err)
		got, err := b.GetTags(ctx, nil)
		w.must(err)
		text := ""
		for _, p := range got.BlobTagSet {
			text += val(p.Key) + "=" + val(p.Value) + ";"
		}
		w.equal("tags", text, "a b=1+1;c=;")
		properties, err := b.GetProperties(ctx, nil)
		w.must(err)
		w.equal("count", fmt.Sprint(val(properties.TagCount)), "2")
		_, err = b.GetTags(ctx, &blob.GetTagsOptions{BlobAccessConditions: &blob.AccessConditions{
			ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfTags: to.Ptr(`"a b" = '2'`)}}})
		w.mustFail(err, "ConditionNotMet")
	})
	w.part("in Put Blob", func(w *wire) {
		c := w.container()
		b := c.blob("b")
		w.create(b, page).h("x-ms-tags", "z=1&a+b=%2B&e=").ok(201)
		w.equal("tags", w.tags(w.get(b, "comp=tags")), "a b=+ e= z=1")
		w.headers(w.head(b, "").ok(200), "x-ms-tag-count", "3")
		w.headers(w.get(b, "").ok(200), "x-ms-tag-count", "3")
		at := w.snapshot(b)
		w.create(b, page).ok(201) // takes them away
		w.equal("overwritten", w.tags(w.get(b, "comp=tags")), "")
		w.headers(w.head(b, "").ok(200), "x-ms-tag-count", "-")
		w.equal("of the snapshot", w.tags(w.get(b, "comp=tags").q("snapshot", at)), "a b=+ e= z=1")
		for tags, code := range byKey(map[string]string{"=1": "EmptyTagName", "a=1&a=2": "DuplicateTagNames", "a": "InvalidTag",
			"a=%C3%A9": "InvalidTag", strings.Repeat("k", 129) + "=": "TagsTooLarge", "k=" + strings.Repeat("v", 257): "TagsTooLarge",
			"a=&b=&c=&d=&e=&f=&g=&h=&i=&j=&k=": "TagsTooLarge"}) {
			w.create(c.blob("none"), page).h("x-ms-tags", tags).fails(code)
		}
	})
	w.part("in a list", func(w *wire) {
		c := w.container()
		w.create(c.blob("a"), page).h("x-ms-tags", "k=v").ok(201)
		w.create(c.blob("b"), page).ok(201)
		items := w.list(c, "&include=tags,metadata").child("Blobs").children
		w.equal("count", items[0].value("Properties", "TagCount"), "1")
		w.equal("tags", tagSetText(items[0].child("Tags", "TagSet")), "k=v")
		if items[1].child("Tags") != nil || items[1].child("Properties", "TagCount") != nil {
			w.Errorf("tags of a blob without: %s", flat(items[1]))
		}
		if items = w.list(c, "").child("Blobs").children; items[0].child("Tags") != nil {
			w.Errorf("tags unasked: %s", flat(items[0]))
		}
		pager := w.sdkContainer(c).NewListBlobsFlatPager(&container.ListBlobsFlatOptions{Include: container.ListBlobsInclude{Tags: true}})
		p, err := pager.NextPage(ctx)
		w.must(err)
		if set := p.Segment.BlobItems[0].BlobTags; set == nil || len(set.BlobTagSet) != 1 || val(set.BlobTagSet[0].Value) != "v" {
			w.Errorf("the SDK reads %+v", set)
		}
	})
	w.part("reads", func(w *wire) {
		b := w.pageBlob(page)
		w.setTags(b, "k", "v").ok(204)
		get := func() *call { return w.get(b, "comp=tags") }
		w.acquire(b, leaseA, -1).ok(201)
		get().ok(200)
		get().h("x-ms-lease-id", leaseA).ok(200)
		get().h("x-ms-lease-id", leaseB).fails("LeaseIdMismatchWithBlobOperation")
		get().h("x-ms-if-tags", "k = 'w'").fails("ConditionNotMet")
		get().h("x-ms-blob-if-none-match", w.stamp(b).etag).notModified()
		get().h("x-ms-blob-if-match", otherETag).fails("ConditionNotMet")
		get().h("x-ms-blob-if-unmodified-since", w.ago(-time.Minute)).ok(200)
		w.get(b.container().blob("none"), "comp=tags").fails("BlobNotFound")
		w.get("/none-such/b", "comp=tags").fails("ContainerNotFound")
	})
}

func setBlobTags(t T, env *Env) {
	w := env.wire(t)
	b := w.pageBlob(page)
	w.part("through the SDK", func(w *wire) {
		client := w.sdkPageBlob(b.container(), "blob")
		_, err := client.SetTags(ctx, map[string]string{"x": "y"}, nil)
		w.must(err)
		w.equal("tags", w.tags(w.get(b, "comp=tags")), "x=y")
		_, err = client.SetTags(ctx, map[string]string{"x": "z"}, &blob.SetTagsOptions{AccessConditions: &blob.AccessConditions{
			ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfTags: to.Ptr("x = 'z'")}}})
		w.mustFail(err, "ConditionNotMet")
		_, err = client.SetTags(ctx, map[string]string{"a!": "z"}, nil)
		w.mustFail(err, "InvalidTag")
	})
	w.part("replaces all and changes no stamp", func(w *wire) {
		before := w.stamp(b)
		w.exactly(w.setTags(b, "b", " spaces ", "a", "1").ok(204))
		w.equal("tags", w.tags(w.get(b, "comp=tags")), "a=1 b= spaces ")
		w.setTags(b).ok(204)
		w.equal("none", w.tags(w.get(b, "comp=tags")), "")
		w.unstamped("tags", before, b)
		w.setTags(b, strings.Repeat("k", 128), strings.Repeat("v", 256)).ok(204)
	})
	w.part("errors", func(w *wire) {
		w.setTags(b, "", "1").fails("EmptyTagName")
		w.setTags(b, "a", "1", "a", "2").fails("DuplicateTagNames")
		w.setTags(b, "a,", "1").fails("InvalidTag")
		w.setTags(b, "a", "ü").fails("InvalidTag")
		w.setTags(b, strings.Repeat("k", 129), "1").fails("TagsTooLarge")
		w.setTags(b, "k", strings.Repeat("v", 257)).fails("TagsTooLarge")
		var eleven []string
		for i := range 11 {
			eleven = append(eleven, fmt.Sprint("k", i), "v")
		}
		w.setTags(b, eleven...).fails("TagsTooLarge")
		body := func(text string) *call { return w.put(b, "comp=tags").b([]byte(text)) }
		body("<Tags>").fails("InvalidXmlDocument")
		body("").fails("InvalidXmlDocument")
		body("<Tags/>").fails("MissingRequiredXmlNode", "XmlNodeName", "TagSet")
		body("<Tags><TagSet><Tag><Key>k</Key></Tag></TagSet></Tags>").fails("MissingRequiredXmlNode", "XmlNodeName", "Value")
		body("<Tags><TagSet><Tug/></TagSet></Tags>").fails("UnsupportedXmlNode", "XmlNodeName", "Tug")
		wrong := md5.Sum([]byte("something else"))
		w.setTags(b, "a", "1").h("Content-MD5", base64.StdEncoding.EncodeToString(wrong[:])).fails("Md5Mismatch")
		right := md5.Sum(tagsBody("a", "1"))
		w.setTags(b, "a", "1").h("Content-MD5", base64.StdEncoding.EncodeToString(right[:])).ok(204)
		w.setTags(b.container().blob("none"), "a", "1").fails("BlobNotFound")
	})
	w.part("lease and conditions", func(w *wire) {
		set := func() *call { return w.setTags(b, "k", "v") }
		w.acquire(b, leaseA, -1).ok(201)
		set().fails("LeaseIdMissing")
		set().h("x-ms-lease-id", leaseB).fails("LeaseIdMismatchWithBlobOperation")
		set().h("x-ms-lease-id", leaseA).ok(204)
		w.lease(b, "release").h("x-ms-lease-id", leaseA).ok(200)
		set().h("x-ms-if-tags", "k = 'v' AND NOT (k < 'a' OR other = '1')").ok(204)
		set().h("x-ms-if-tags", "k <> 'v' OR other <> '1'").fails("ConditionNotMet")
		set().h("x-ms-if-tags", "k ~ 'v'").fails("InvalidHeaderValue", "HeaderName", "x-ms-if-tags", "HeaderValue", "k ~ 'v'")
		set().h("x-ms-if-tags", "@container = 'c'").fails("InvalidHeaderValue", "HeaderName", "x-ms-if-tags")
		set().h("x-ms-if-tags", "").fails("InvalidHeaderValue", "HeaderName", "x-ms-if-tags")
		set().h("x-ms-blob-if-match", w.stamp(b).etag).ok(204)
		set().h("x-ms-blob-if-match", otherETag).fails("ConditionNotMet")
		set().h("x-ms-blob-if-none-match", w.stamp(b).etag).fails("ConditionNotMet")
		set().h("x-ms-blob-if-modified-since", w.ago(-time.Minute)).fails("ConditionNotMet")
		set().h("x-ms-blob-if-unmodified-since", "soon").fails("InvalidHeaderValue", "HeaderName", "x-ms-blob-if-unmodified-since")
	})
	w.part("the condition everywhere", func(w *wire) { tagConditions(w, b) })
}

// tagConditions: every operation that takes conditions takes x-ms-if-tags.
func tagConditions(w *wire, b ref) {
	w.setTags(b, "k", "v").ok(204)
	lease := func() *call { return w.acquire(b, leaseA, 15) }
	for what, request := range byKey(map[string]func() *call{
		"Get Blob": func() *call { return w.get(b, "") }, "HEAD": func() *call { return w.head(b, "") },
		"metadata": func() *call { return w.get(b, "comp=metadata") }, "ranges": func() *call { return w.get(b, "comp=pagelist") },
		"set metadata": func() *call { return w.put(b, "comp=metadata") }, "lease": lease,
		"properties": func() *call { return w.put(b, "comp=properties").h("x-ms-blob-content-type", "a/b") },
		"snapshot":   func() *call { return w.put(b, "comp=snapshot") }, "Put Page": func() *call { return w.update(b, 0, fill(1, page)) },
		"clear": func() *call { return w.clear(b, 0, page) }, "delete": func() *call { return w.delete(b, "").h("x-ms-delete-snapshots", "include") },
		"Put Blob": func() *call { return w.create(b, page) },
	}) {
		w.part(what, func(w *wire) { request().h("x-ms-if-tags", "k <> 'v'").fails("ConditionNotMet") })
	}
	lease().h("x-ms-if-tags", "k = 'v'").ok(201)
	w.lease(b, "release").h("x-ms-lease-id", leaseA).ok(200)
	w.create(b.container().blob("new"), page).h("x-ms-if-tags", "k = 'v'").fails("ConditionNotMet")
}

// found is what a search answers: "container/blob(tags) …", containers by their place in cs.
func found(w *wire, root *node, cs ...ref) string {
	w.Helper()
	var parts []string
	for _, b := range root.child("Blobs").children {
		at := "?"
		for i, c := range cs {
			if "/"+b.value("ContainerName") == string(c) {
				at = fmt.Sprint(i)
			}
		}
		parts = append(parts, fmt.Sprintf("%s/%s(%s)", at, listedName(b), tagSetText(b.child("Tags", "TagSet"))))
	}
	return strings.Join(parts, " ")
}

// findTags makes blobs to search for, with a value that only this test uses, in two containers.
func findTags(w *wire) (mine string, cs []ref) {
	w.Helper()
	mine = w.env.unique()
	cs = []ref{w.container(), w.container()}
	for _, b := range []struct {
		in         int
		name, tags string
	}{{0, "b", "n=1&x=p"}, {0, "a", "n=2"}, {0, "untagged", ""}, {1, "d/e f", "n=10&x=q"}} {
		tags := "run=" + mine
		if b.tags != "" {
			tags += "&" + b.tags
		}
		w.create(cs[b.in].blob(b.name), page).h("x-ms-tags", tags).ok(201)
	}
	return mine, cs
}

func findBlobsByTags(t T, env *Env) {
	w := env.wire(t)
	mine, cs := findTags(w)
	run := "run = '" + mine + "'"
	find := func(w *wire, where string) *call { return w.get("/", "comp=blobs").q("where", where) }
	w.part("the document", func(w *wire) {
		r := find(w, run+" AND n = '1'").ok(200)
		w.headers(r, "Content-Type", "application/xml")
		root := w.xml(r)
		w.equal("root", root.name, "EnumerationResults")
		w.equal("ServiceEndpoint", root.attr("ServiceEndpoint"), w.env.URL+"/"+w.env.Account+"/")
		w.equal("children of the root", root.names(), "Where Blobs NextMarker")
		w.equal("Where", root.value("Where"), run+" AND n = '1'")
		w.equal("children of a blob", root.child("Blobs", "Blob").names(), "Name ContainerName Tags")
		w.equal("found", found(w, root, cs...), "0/b(n=1 run="+mine+")") // only what was asked about
		old := w.xml(find(w, run+" AND n = '1'").h("x-ms-version", "2019-12-12").ok(200))
		w.equal("children of a blob in 2019-12-12", old.child("Blobs", "Blob").names(), "Name ContainerName TagValue")
	})
	w.part("expressions", func(w *wire) {
		for where, want := range byKey(map[string]string{
			run + " and n >= '1' AND n < '2'":                               "0/b(n=1 T) 1/d/e f(n=10 T)",
			run + ` AND "n" > '1'`:                                          "0/a(n=2 T) 1/d/e f(n=10 T)",
			run + " AND n <= ''":                                            "",
			run + " AND @container = '" + string(cs[1][1:]) + "'":           "1/d/e f(T)",
			"@container = 'none-such' AND " + run:                           "",
			"x >= 'p' AND x <= 'q' AND " + run + " AND n > '' AND n < '11'": "0/b(n=1 T x=p) 1/d/e f(n=10 T x=q)",
		}) {
			w.equal(where, strings.ReplaceAll(found(w, w.xml(find(w, where).ok(200)), cs...), "run="+mine, "T"), want)
		}
	})
	w.part("what changes", func(w *wire) {
		b := cs[0].blob("changed")
		count := func() string { return fmt.Sprint(len(w.xml(find(w, run).ok(200)).child("Blobs").children)) }
		before := count()
		w.create(b, page).h("x-ms-tags", "run="+mine).ok(201)
		at := w.snapshot(b)
		w.equal("with the new one, and not its snapshot", count(), "5")
		w.setTags(b, "run", "other").ok(204)
		w.equal("after Set Blob Tags", count(), before)
		w.setTags(b, "run", mine).ok(204)
		w.create(b, page).ok(201)
		w.equal("after Put Blob", count(), before)
		w.setTags(b, "run", mine).ok(204)
		w.delete(b, "").h("x-ms-delete-snapshots", "include").ok(202)
		w.equal("after Delete Blob, and of the snapshot "+at, count(), before)
		c := w.container()
		w.create(c.blob("b"), page).h("x-ms-tags", "run="+mine).ok(201)
		w.delete(c, "restype=container").ok(202)
		w.equal("after Delete Container", count(), before)
	})
	w.part("pages", func(w *wire) {
		names, marker := "", ""
		for i := 0; i == 0 || marker != ""; i++ {
			root := w.xml(find(w, run).q("maxresults", "1").q("marker", marker).ok(200))
			names += found(w, root, cs...) + " "
			if marker = root.value("NextMarker"); i > 5 {
				w.Fatalf("no end: %s", names)
			}
		}
		w.equal("one by one", strings.ReplaceAll(names, "(run="+mine+")", ""), "0/a 0/b 0/untagged 1/d/e f ")
		find(w, run).q("maxresults", "0").fails("OutOfRangeQueryParameterValue")
		find(w, run).q("marker", "x").fails("InvalidQueryParameterValue", "QueryParameterName", "marker")
	})
	w.part("through the SDK", func(w *wire) {
		got, err := w.sdk().FilterBlobs(ctx, run, &service.FilterBlobsOptions{MaxResults: to.Ptr[int32](2)})
		w.must(err)
		names := ""
		for _, b := range got.Blobs {
			names += val(b.Name) + " "
		}
		w.equal("found", names, "a b ")
		if val(got.NextMarker) == "" {
			w.Errorf("no marker")
		}
		_, err = w.sdk().FilterBlobs(ctx, "run", nil)
		w.mustFail(err, "InvalidQueryParameterValue")
	})
	w.part("errors", func(w *wire) {
		for _, where := range []string{"a", "a = 'b' OR c = 'd'", "a <> 'b'", "a = 'b' AND a = 'c'", "@container = 'c'", "NOT a = 'b'"} {
			find(w, where).fails("InvalidQueryParameterValue", "QueryParameterName", "where", "QueryParameterValue", where)
		}
		w.get("/", "comp=blobs").fails("MissingRequiredQueryParameter", "QueryParameterName", "where")
		w.get("/", "comp=blobs&where=a%3D'b'&where=c%3D'd'").fails("InvalidQueryParameterValue", "QueryParameterName", "where")
	})
}

func findBlobsByTagsInContainer(t T, env *Env) {
	w := env.wire(t)
	mine, cs := findTags(w)
	run := "run = '" + mine + "'"
	find := func(c ref, where string) *call { return w.get(c, "restype=container&comp=blobs").q("where", where) }
	strip := func(text string) string { return strings.ReplaceAll(text, "(run="+mine+")", "") }
	w.equal("of one", strip(found(w, w.xml(find(cs[0], run).ok(200)), cs...)), "0/a 0/b 0/untagged")
	w.equal("of the other", strip(found(w, w.xml(find(cs[1], "run > ''").ok(200)), cs...)), "1/d/e f")
	first := w.xml(find(cs[0], run).q("maxresults", "2").ok(200))
	rest := w.xml(find(cs[0], run).q("maxresults", "2").q("marker", first.value("NextMarker")).ok(200))
	w.equal("the rest", strip(found(w, rest, cs...)), "0/untagged")
	got, err := w.sdkContainer(cs[1]).FilterBlobs(ctx, run, nil)
	w.must(err)
	if len(got.Blobs) != 1 || val(got.Blobs[0].Name) != "d/e f" || "/"+val(got.Blobs[0].ContainerName) != string(cs[1]) {
		w.Errorf("the SDK finds %+v", got.Blobs)
	}
	find(cs[0], run+" AND @container = 'c'").fails("InvalidQueryParameterValue", "QueryParameterName", "where")
	find("/none-such", run).fails("ContainerNotFound")
	find(cs[0], "").fails("MissingRequiredQueryParameter", "QueryParameterName", "where")
}
