package conform

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
)

// The elements of a listed page blob's properties, in their order; those of the lease are absent on snapshots.
const listedBlobProperties = "Creation-Time Last-Modified Etag Content-Length Content-Type Content-Encoding Content-Language " +
	"Content-CRC64 Content-MD5 Cache-Control Content-Disposition x-ms-blob-sequence-number BlobType LeaseStatus LeaseState " +
	"ServerEncrypted"

func listBlobs(t T, env *Env) {
	w := env.wire(t)
	w.part("the document", listDocument)
	w.part("snapshots and metadata", listSnapshots)
	w.part("names", listNames)
	w.part("hostile names", listHostileNames)
	w.part("prefix and delimiter", listDelimiter)
	w.part("thousands", listThousands)
	w.part("through the SDK", listSDK)
	w.part("parameters", listParameters)
	w.get("/none-such", "restype=container&comp=list").fails("ContainerNotFound")
}

// list sends List Blobs and returns the root of the document.
func (w *wire) list(c ref, more string) *node {
	w.Helper()
	return w.xml(w.get(c, "restype=container&comp=list"+more).ok(200))
}

// listedNames are the names of a listing in order, prefixes marked by "+", snapshots by "@".
func listedNames(root *node) (names []string) {
	for _, n := range root.child("Blobs").children {
		switch {
		case n.name == "BlobPrefix":
			names = append(names, "+"+listedName(n))
		case n.child("Snapshot") != nil:
			names = append(names, "@"+listedName(n))
		default:
			names = append(names, listedName(n))
		}
	}
	return names
}

// listAll follows the markers. It returns the names and the number of parts the list came in.
func (w *wire) listAll(c ref, more string) (names []string, parts int) {
	w.Helper()
	for marker := ""; ; {
		r := w.get(c, "restype=container&comp=list"+more)
		if marker != "" {
			r.q("marker", marker)
		}
		root := w.xml(r.ok(200))
		names = append(names, listedNames(root)...)
		parts++
		next := root.child("NextMarker")
		if next == nil {
			w.Fatalf("no <NextMarker>")
		}
		if marker = next.text; marker == "" {
			return names, parts
		}
		if parts > 5000 {
			w.Fatalf("the list does not end")
		}
	}
}

func listDocument(w *wire) {
	c := w.container()
	blob := c.blob("disk")
	w.create(blob, 1024).hs("x-ms-blob-sequence-number", "7", "x-ms-blob-content-type", "a/b", "x-ms-blob-content-language", "de",
		"x-ms-meta-Key", "value").ok(201)
	r := w.get(c, "restype=container&comp=list").ok(200)
	w.headers(r, "Content-Type", "application/xml")
	root := w.xml(r)
	w.equal("root", root.name, "EnumerationResults")
	w.equal("ServiceEndpoint", root.attr("ServiceEndpoint"), w.env.URL+"/"+w.env.Account+"/")
	w.equal("ContainerName", root.attr("ContainerName"), string(c[1:]))
	w.equal("children of the root", root.names(), "Blobs NextMarker")
	b := root.child("Blobs", "Blob")
	if names := strings.TrimSuffix(b.names(), " OrMetadata"); names != "Name Properties" {
		w.Errorf("children of a blob: %s", names)
	}
	p := b.child("Properties")
	w.equal("properties", p.names(), listedBlobProperties)
	head := w.head(blob, "").ok(200)
	for element, want := range byKey(map[string]string{
		"Etag":          strings.Trim(head.get("ETag"), `"`), // without quotes here, with them in the header [R]
		"Last-Modified": head.get("Last-Modified"), "Creation-Time": head.get("x-ms-creation-time"),
		"Content-Length": "1024", "Content-Type": "a/b", "Content-Language": "de", "Content-Encoding": "", "Content-MD5": "",
		"Cache-Control": "", "Content-Disposition": "", "x-ms-blob-sequence-number": "7", "BlobType": "PageBlob",
		"LeaseStatus": "unlocked", "LeaseState": "available", "ServerEncrypted": "true",
	}) {
		w.equal(element, p.value(element), want)
	}
	root = w.list(c, "&prefix=di&maxresults=9&delimiter=%2F&include=metadata")
	w.equal("children when all is asked", root.names(), "Prefix MaxResults Delimiter Blobs NextMarker")
	w.equal("Prefix", root.value("Prefix"), "di")
	w.equal("MaxResults", root.value("MaxResults"), "9")
	w.equal("Delimiter", root.value("Delimiter"), "/")
	w.acquire(blob, leaseA, 15).ok(201)
	p = w.list(c, "").child("Blobs", "Blob", "Properties")
	w.equal("leased", p.value("LeaseStatus")+" "+p.value("LeaseState")+" "+p.value("LeaseDuration"), "locked leased fixed")
	w.equal("properties while leased", p.names(), strings.Replace(listedBlobProperties, "LeaseState", "LeaseState LeaseDuration", 1))
}

func listSnapshots(w *wire) {
	c := w.container()
	w.create(c.blob("a"), page).ok(201)
	w.create(c.blob("b"), page).h("x-ms-meta-One", "1").ok(201)
	w.create(c.blob("c"), page).ok(201)
	first, second := w.snapshot(c.blob("b")), w.snapshot(c.blob("b"))
	root := w.list(c, "&include=snapshots")
	w.equal("order", strings.Join(listedNames(root), " "), "a @b @b b c") // snapshots before their base, oldest first
	items := root.child("Blobs").children
	w.equal("first snapshot", items[1].value("Snapshot"), first)
	w.equal("second snapshot", items[2].value("Snapshot"), second)
	if items[1].child("Properties", "LeaseState") != nil || items[1].child("Properties", "LeaseStatus") != nil {
		w.Errorf("a snapshot has no lease: %s", flat(items[1]))
	}
	if items[1].child("Metadata") != nil {
		w.Errorf("metadata unasked: %s", flat(items[1]))
	}
	w.equal("without snapshots", strings.Join(listedNames(w.list(c, "")), " "), "a b c")

	for _, include := range []string{"&include=metadata%2Csnapshots", "&include=Snapshots,Metadata",
		"&include=snapshots&include=metadata"} {
		items = w.list(c, include).child("Blobs").children
		w.equal("items with "+include, fmt.Sprint(len(items)), "5")
		w.equal("metadata of the snapshot", items[1].value("Metadata", "One"), "1")
		w.equal("metadata of the base", items[3].value("Metadata", "One"), "1")
		if items[0].child("Metadata") == nil {
			w.Errorf("metadata that was asked for comes also when it is empty: %s", flat(items[0]))
		}
	}
	names, _ := w.listAll(c, "&include=snapshots&maxresults=1")
	w.equal("one by one", strings.Join(names, " "), "a @b @b b c")
	w.put(c.blob("b"), "comp=metadata").h("x-ms-meta-Two", "2").ok(200)
	items = w.list(c, "&include=snapshots,metadata").child("Blobs").children
	w.equal("the snapshot keeps its metadata", flat(items[1].child("Metadata")), `Metadata (One="1")`)
	w.equal("the base has new", flat(items[3].child("Metadata")), `Metadata (Two="2")`)
}

// listNames puts blobs of unusual but ordinary names in and finds each of them, listed in order and by address.
func listNames(w *wire) {
	c := w.container()
	names := []string{"A", "Z", "a", "a b", "a+b", "a//b", "a/./b", "a/../b", "a/b", "a&b<c>d", `q"uo'te`, "/lead", "//", ".", "..",
		"dot.", "slash/", "%2F", "%", "100%25", "a;b=c,d@e:f$g!h*i(j)", "?query", "#frag", `back\slash`, "é", "e\u0301", "ÄÖÜ", "日本語",
		"😀", "\u00a0", "~tilde", "[x]{y}|^`", strings.Repeat("n", 1024), strings.Repeat("é", 1024), "0123456789", "-", "_"}
	for i, name := range names {
		w.create(c.blob(name), int64(i)*page).ok(201)
	}
	// %2F is the same slash, whichever characters are escaped.
	w.headers(w.head(c+"/a%2Fb", "").ok(200), "Content-Length", w.head(c.blob("a/b"), "").ok(200).get("Content-Length"))
	w.headers(w.head(c+"/%61", "").ok(200), "Content-Length", w.head(c.blob("a"), "").ok(200).get("Content-Length"))
	sorted := slices.Clone(names)
	slices.Sort(sorted)
	if got := listedNames(w.list(c, "")); !slices.Equal(got, sorted) {
		w.Errorf("listed %q\nwant %q", got, sorted)
	}
	if got, parts := w.listAll(c, "&maxresults=3"); !slices.Equal(got, sorted) || parts < len(names)/3 {
		w.Errorf("in %d parts of three: %q\nwant %q", parts, got, sorted)
	}
	for i, name := range names {
		w.headers(w.head(c.blob(name), "").ok(200), "Content-Length", strconv.Itoa(i*page))
		got := listedNames(w.xml(w.get(c, "restype=container&comp=list").q("prefix", name).ok(200)))
		if len(got) == 0 || got[0] != name {
			w.Errorf("listed with prefix %q: %q", name, got)
		}
	}
}

// listHostileNames: names that XML cannot hold come percent-encoded and say so; the others never do.
func listHostileNames(w *wire) {
	c := w.container()
	names := map[string]string{ // name → how it is written in XML
		"a\x01b+c d": `<Name Encoded="true">a%01b%2Bc%20d</Name>`, // Go decodes it as a form: + is a space, so neither is sent raw [S]
		"\x1f":       `<Name Encoded="true">%1F</Name>`,
		"\uFFFE":     `<Name Encoded="true">%EF%BF%BE</Name>`,
		"\uFFFF/x":   `<Name Encoded="true">%EF%BF%BF/x</Name>|<Name Encoded="true">%EF%BF%BF%2Fx</Name>`,
		"cr\rlf\n":   "<Name>cr&#xD;lf\n</Name>|<Name>cr&#xD;lf&#xA;</Name>|<Name>cr&#13;lf&#10;</Name>",
		"tab\tbed":   "<Name>tab\tbed</Name>|<Name>tab&#x9;bed</Name>|<Name>tab&#9;bed</Name>",
		"a&b<c":      "<Name>a&amp;b&lt;c</Name>",
		"plain+plus": "<Name>plain+plus</Name>",
	}
	var sorted []string
	for name := range byKey(names) {
		w.create(c.blob(name), page).ok(201)
		sorted = append(sorted, name)
	}
	slices.Sort(sorted)
	r := w.get(c, "restype=container&comp=list").ok(200)
	for name, forms := range byKey(names) {
		if !slices.ContainsFunc(strings.Split(forms, "|"), func(form string) bool { return bytes.Contains(r.body, []byte(form)) }) {
			w.Errorf("%q is not written as %s:\n%s", name, forms, r.body)
		}
	}
	if got := listedNames(w.xml(r)); !slices.Equal(got, sorted) {
		w.Errorf("listed %q\nwant %q", got, sorted)
	}
	if got, _ := w.listAll(c, "&maxresults=1"); !slices.Equal(got, sorted) {
		w.Errorf("one by one %q\nwant %q", got, sorted)
	}
	w.create(c.blob("dir\x02/x"), page).ok(201)
	root := w.xml(w.get(c, "restype=container&comp=list&delimiter=%2F").q("prefix", "dir\x02").ok(200))
	w.equal("a prefix", strings.Join(listedNames(root), " "), "+dir\x02/")
	w.equal("the prefix asked for", listedName(&node{children: []*node{{name: "Name", text: root.value("Prefix"),
		attrs: root.child("Prefix").attrs}}}), "dir\x02")
	pager := w.sdkContainer(c).NewListBlobsFlatPager(nil)
	page, err := pager.NextPage(ctx)
	w.must(err)
	found := 0
	for _, item := range page.Segment.BlobItems {
		if _, ok := names[val(item.Name)]; ok {
			found++
		}
	}
	w.equal("names the SDK understands", fmt.Sprint(found), fmt.Sprint(len(names)))
}

func listDelimiter(w *wire) {
	c := w.container()
	for _, name := range []string{"a", "d/1", "d/2", "d/3", "d/e/4", "d/e/5", "d0", "f/", "g--x", "g--y", "z"} {
		w.create(c.blob(name), 0).ok(201)
	}
	f := func(more, want string) {
		w.Helper()
		if got := strings.Join(listedNames(w.list(c, more)), " "); got != want {
			w.Errorf("%s: %s\nwant %s", more, got, want)
		}
		for _, n := range []string{"1", "2", "3"} { // a part that ends inside a collapsed prefix must not show it again
			if got, _ := w.listAll(c, more+"&maxresults="+n); strings.Join(got, " ") != want {
				w.Errorf("%s by %s: %s\nwant %s", more, n, strings.Join(got, " "), want)
			}
		}
	}
	f("", "a d/1 d/2 d/3 d/e/4 d/e/5 d0 f/ g--x g--y z")
	f("&delimiter=%2F", "a +d/ d0 +f/ g--x g--y z")
	f("&delimiter=/&prefix=d", "+d/ d0")
	f("&delimiter=/&prefix=d/", "d/1 d/2 d/3 +d/e/")
	f("&delimiter=/&prefix=d/e", "+d/e/")
	f("&delimiter=/&prefix=d/e/", "d/e/4 d/e/5")
	f("&delimiter=--", "a d/1 d/2 d/3 d/e/4 d/e/5 d0 f/ +g-- z")
	f("&delimiter=%2Fe", "a d/1 d/2 d/3 +d/e d0 f/ g--x g--y z")
	f("&prefix=d/", "d/1 d/2 d/3 d/e/4 d/e/5")
	f("&prefix=none", "")
	// Names before startFrom are left out, that one is not (2026-02-06) [S].
	f("&startFrom=d/3", "d/3 d/e/4 d/e/5 d0 f/ g--x g--y z")
	f("&startFrom=b", "d/1 d/2 d/3 d/e/4 d/e/5 d0 f/ g--x g--y z")
	f("&startFrom=d/3&delimiter=/", "+d/ d0 +f/ g--x g--y z")
	f("&startFrom=a&prefix=d/e", "d/e/4 d/e/5")
	f("&startFrom=zz", "")
	f("&delimiter=/&prefix=f", "+f/")
	f("&delimiter=/&prefix=f/", "f/")
	// Both count: seven entries, two a part.
	if _, parts := w.listAll(c, "&delimiter=/&maxresults=2"); parts < 4 {
		w.Errorf("seven entries, two at a time, in %d parts", parts)
	}
	// Snapshots with a delimiter were refused by old versions; newer ones list both [D].
	w.snapshot(c.blob("a"))
	r := w.get(c, "restype=container&comp=list&delimiter=/&include=snapshots").send()
	if r.status == 200 {
		w.equal("with snapshots", strings.Join(listedNames(w.xml(r)), " "), "@a a +d/ d0 +f/ g--x g--y z")
	} else if r.status != 400 || r.get("x-ms-error-code") != "InvalidQueryParameterValue" {
		w.Errorf("snapshots with a delimiter:\n%v", r)
	}
}

// listThousands pages through more blobs than one reply may hold, which is 5,000.
func listThousands(w *wire) {
	const n = 5003
	c := w.container()
	var want []string
	for i := range n {
		name := fmt.Sprintf("%04d", (i*367)%n) // all of them, not in order; purely numeric names have broken markers [A]
		w.create(c.blob(name), 0).ok(201)
		want = append(want, name)
	}
	slices.Sort(want)
	for maxresults, least := range byKey(map[string]int{"": 2, "&maxresults=5000": 2, "&maxresults=5001": 2, "&maxresults=1000": 6,
		"&maxresults=99999": 2, "&maxresults=100": 51}) {
		got, parts := w.listAll(c, maxresults)
		if !slices.Equal(got, want) {
			w.Errorf("%s: %d names of %d, %d parts", maxresults, len(got), len(want), parts)
		}
		if parts < least {
			w.Errorf("%s: %d parts, at least %d", maxresults, parts, least)
		}
	}
	// A marker stays good when blobs come and go, and when its own blob is gone.
	root := w.list(c, "&maxresults=500")
	marker := root.value("NextMarker")
	for _, name := range []string{"0499", "0500", "0501"} {
		w.delete(c.blob(name), "").ok(202)
	}
	w.create(c.blob("0500a"), 0).ok(201)
	rest := listedNames(w.xml(w.get(c, "restype=container&comp=list").q("marker", marker).ok(200)))
	if len(rest) != n-501 || rest[0] != "0500a" {
		w.Errorf("after the marker %d names from %q", len(rest), rest[0])
	}
}

func listSDK(w *wire) {
	c := w.container()
	for _, name := range []string{"x/1", "x/2", "y", "ü 1"} {
		w.create(c.blob(name), page).h("x-ms-meta-Of", "n").ok(201)
	}
	snapshot := w.snapshot(c.blob("y"))
	pager := w.sdkContainer(c).NewListBlobsFlatPager(&container.ListBlobsFlatOptions{MaxResults: to.Ptr[int32](2),
		Include: container.ListBlobsInclude{Snapshots: true, Metadata: true}})
	var got []string
	for pager.More() {
		p, err := pager.NextPage(ctx)
		w.must(err)
		for _, b := range p.Segment.BlobItems {
			name := val(b.Name)
			if b.Snapshot != nil && val(b.Snapshot) != "" {
				w.equal("snapshot", val(b.Snapshot), snapshot)
				name = "@" + name
			}
			if val(b.Properties.ContentLength) != page || val(b.Properties.BlobType) != "PageBlob" || val(b.Metadata["of"]) != "n" {
				w.Errorf("%s: %+v %v", name, b.Properties, b.Metadata)
			}
			got = append(got, name)
		}
	}
	w.equal("flat", strings.Join(got, " "), "x/1 x/2 @y y ü 1")
	got = nil
	tree := w.sdkContainer(c).NewListBlobsHierarchyPager("/", &container.ListBlobsHierarchyOptions{MaxResults: to.Ptr[int32](1)})
	for tree.More() {
		p, err := tree.NextPage(ctx)
		w.must(err)
		for _, d := range p.Segment.BlobPrefixes {
			got = append(got, "+"+val(d.Name))
		}
		for _, b := range p.Segment.BlobItems {
			got = append(got, val(b.Name))
		}
	}
	w.equal("by delimiter", strings.Join(got, " "), "+x/ y ü 1")
}

func listParameters(w *wire) {
	c := w.container()
	w.create(c.blob("a"), 0).ok(201)
	for _, n := range []string{"0", "-1", "-5000"} {
		w.get(c, "restype=container&comp=list&maxresults="+n).
			fails("OutOfRangeQueryParameterValue", "QueryParameterName", "maxresults", "QueryParameterValue", n)
	}
	for _, n := range []string{"x", "1.5", "99999999999999999999"} {
		w.get(c, "restype=container&comp=list&maxresults="+n).
			failsAny([]string{"InvalidQueryParameterValue", "OutOfRangeQueryParameterValue"}, "QueryParameterName", "maxresults")
	}
	// Parts of a blob that nothing here has may be asked for.
	for _, include := range []string{"", "uncommittedblobs", "copy", "deleted", "versions", "tags", "immutabilitypolicy", "legalhold",
		"copy,metadata,uncommittedblobs", "METADATA%2CCopy"} {
		w.equal("names with include="+include, strings.Join(listedNames(w.list(c, "&include="+include)), " "), "a")
	}
	w.list(c, "&timeout=30&vendor=extra") // parameters nobody knows are ignored
	w.create(c.blob("b l"), 0).ok(201)
	w.equal("with + for a space", strings.Join(listedNames(w.list(c, "&prefix=b+")), ","), "b l")
	// Markers are ours; somebody else's is refused, or stands for some place in the list.
	for _, marker := range []string{"a", "%00", "!", strings.Repeat("x", 3000)} {
		if r := w.get(c, "restype=container&comp=list&marker="+marker).send(); r.status != 200 && r.status != 400 {
			w.Errorf("%v", r)
		}
	}
	w.get(c, "restype=container&comp=list&include=everything").fails("InvalidQueryParameterValue", "QueryParameterName", "include")
}
