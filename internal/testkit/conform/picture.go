package conform

import (
	"crypto/sha256"
	"fmt"
	"net/url"
	"strings"
)

// album remembers what containers looked like, so that a row of refusals costs one look each.
type album struct{ pages map[ref]string }

// forget must be called when anything may have changed.
func (a *album) forget() { a.pages = nil }

// look returns a picture of what a request to r could change: the container's properties, its listing with snapshots and
// metadata, and for every blob and snapshot the valid pages and a digest of their contents. For the service it is the list
// of this run's containers and the service properties. Two pictures are equal when nothing changed that can be seen.
func (a *album) look(w *wire, r ref) string {
	w.Helper()
	c := r.container()
	if p, ok := a.pages[c]; ok {
		return p
	}
	var p string
	if c == "" {
		p = pictureService(w)
	} else {
		p = pictureContainer(w, c)
	}
	if a.pages == nil {
		a.pages = map[ref]string{}
	}
	a.pages[c] = p
	return p
}

func pictureService(w *wire) string {
	list := w.get("/", "comp=list&include=metadata").q("prefix", w.env.family()).send()
	properties := w.get("/", "restype=service&comp=properties").send()
	return fmt.Sprintf("%d %s\n%d %s\n", list.status, list.body, properties.status, properties.body)
}

// pictureBlobs bounds the blobs of one container whose contents are looked at; of the others the listing must do.
const pictureBlobs = 40

func pictureContainer(w *wire, c ref) string {
	var b strings.Builder
	properties := w.get(c, "restype=container").send()
	fmt.Fprintf(&b, "container %d\n%s", properties.status, settled(properties))
	if properties.status != 200 {
		return b.String()
	}
	looked := 0
	for marker := ""; ; {
		r := w.get(c, "restype=container&comp=list&include=snapshots%2Cversions%2Cdeletedwithversions%2Cuncommittedblobs%2Cmetadata%2Ctags").q("marker", marker).ok(200)
		root := w.xml(r)
		for _, n := range root.child("Blobs").children {
			fmt.Fprintf(&b, "%s\n", flat(n))
			if looked++; looked <= pictureBlobs {
				pictureBlob(w, c.blob(listedName(n)), n, &b)
			}
		}
		if marker = root.value("NextMarker"); marker == "" {
			return b.String()
		}
	}
}

// pictureBlob adds the valid pages, or the blocks, of a blob, snapshot or version and a digest of what is in them.
func pictureBlob(w *wire, blob ref, n *node, b *strings.Builder) {
	snapshot, version := n.value("Snapshot"), n.value("VersionId")
	if n.value("IsCurrentVersion") == "true" {
		version = ""
	}
	if n.value("HasVersionsOnly") == "true" {
		return
	}
	query := func(method, comp string) *call {
		c := w.do(method, blob, comp)
		if snapshot != "" {
			c.q("snapshot", snapshot)
		}
		if version != "" {
			c.q("versionid", version)
		}
		return c
	}
	properties := query("HEAD", "").send()
	if properties.status == 404 { // nothing is there but blocks
		fmt.Fprintf(b, "  %s\n", w.blocks(blob, "all"))
		return
	}
	if properties.status != 200 {
		w.Fatalf("looking at a blob:\n%v", properties)
	}
	fmt.Fprintf(b, "  %s", settled(properties))
	if properties.has("x-ms-incremental-copy") && (snapshot == "" || properties.get("x-ms-copy-status") != "success") {
		return // only what such a copy ended with can be read
	}
	if properties.get("x-ms-access-tier") == "Archive" {
		return
	}
	if properties.get("x-ms-blob-type") != "PageBlob" {
		fmt.Fprintf(b, "  %x\n", sha256.Sum256(query("GET", "").ok(200).body))
		if properties.get("x-ms-blob-type") == "BlockBlob" {
			fmt.Fprintf(b, "  %s\n", query("GET", "comp=blocklist").q("blocklisttype", "all").ok(200).body)
		}
		return
	}
	ranges, _ := pageRanges(w, query("GET", "comp=pagelist").ok(200))
	sum := sha256.New()
	for _, r := range ranges {
		fmt.Fprintf(b, "  %v", r)
		data := query("GET", "").h("x-ms-range", fmt.Sprintf("bytes=%d-%d", r.start, r.end)).ok(206)
		sum.Write(data.body)
	}
	fmt.Fprintf(b, "  %x\n", sum.Sum(nil)[:8])
}

// settled is the header of a reply without what differs from one reply to the next.
func settled(r *reply) string {
	var b strings.Builder
	for _, f := range r.fields {
		switch strings.ToLower(f.name) {
		case "date", "x-ms-request-id", "content-length", "connection":
		default:
			fmt.Fprintf(&b, "%s: %s\n", strings.ToLower(f.name), f.value)
		}
	}
	return b.String()
}

// flat writes an element as one line.
func flat(n *node) string {
	var b strings.Builder
	b.WriteString(n.name)
	if n.text != "" {
		fmt.Fprintf(&b, "=%q", n.text)
	}
	for _, c := range n.children {
		b.WriteString(" (" + flat(c) + ")")
	}
	return b.String()
}

// listedName is the name of a listed blob or prefix, decoded where the listing says that it is encoded.
func listedName(n *node) string {
	name := n.child("Name")
	if name == nil {
		return ""
	}
	if strings.EqualFold(name.attr("Encoded"), "true") {
		if d, err := url.QueryUnescape(name.text); err == nil { // as the Go SDK decodes it
			return d
		}
	}
	return name.text
}

// difference shows the first line in which two pictures differ.
func difference(before, after string) string {
	x, y := strings.Split(before, "\n"), strings.Split(after, "\n")
	for i := 0; i < len(x) || i < len(y); i++ {
		var l, m string
		if i < len(x) {
			l = x[i]
		}
		if i < len(y) {
			m = y[i]
		}
		if l != m {
			return fmt.Sprintf("before: %s\nafter:  %s", l, m)
		}
	}
	return "no difference"
}
