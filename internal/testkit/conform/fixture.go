package conform

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Sizes of the protocol, in bytes.
const (
	page       = 512      // the unit of everything about page blobs
	mib        = 1 << 20  //
	pageWrite  = 4 * mib  // the most one Put Page may carry
	rangeSums  = 4 * mib  // the longest range with a checksum of its own
	metaLimit  = 8 * 1024 // metadata names and values together
	maxAzure   = 8 << 40  // the largest page blob Azure has
	maxInteger = 1<<63 - 1
)

// Lease ids of the tests: A holds, B and C are others.
const (
	leaseA = "aaaaaaaa-1111-4444-8888-0123456789ab"
	leaseB = "bbbbbbbb-2222-4444-8888-0123456789ab"
	leaseC = "cccccccc-3333-4444-8888-0123456789ab"
)

// container creates a container that goes when the test ends.
func (w *wire) container() ref {
	w.Helper()
	c := ref("/" + w.env.unique())
	w.put(c, "restype=container").ok(201)
	w.Cleanup(func() { w.remove(c) })
	return c
}

// remove deletes a container, whatever its state.
func (w *wire) remove(c ref) {
	w.Helper()
	if r := w.delete(c, "restype=container").send(); r.status == 412 {
		w.put(c, "restype=container&comp=lease").hs("x-ms-lease-action", "break", "x-ms-lease-break-period", "0").ok(202)
		w.delete(c, "restype=container").ok(202)
	} else if r.status != 202 && r.status != 404 {
		w.Errorf("cleaning up:\n%v", r)
	}
}

// create is Put Blob for a page blob of that size.
func (w *wire) create(blob ref, size int64) *call {
	return w.put(blob, "").hs("x-ms-blob-type", "PageBlob", "x-ms-blob-content-length", strconv.FormatInt(size, 10))
}

// pageBlob creates a container with a page blob in it.
func (w *wire) pageBlob(size int64) ref {
	w.Helper()
	blob := w.container().blob("blob")
	w.create(blob, size).ok(201)
	return blob
}

// update is Put Page at offset.
func (w *wire) update(blob ref, offset int64, data []byte) *call {
	return w.put(blob, "comp=page").b(data).
		hs("x-ms-page-write", "update", "x-ms-range", byteRange(offset, int64(len(data))))
}

// clear is Clear Pages.
func (w *wire) clear(blob ref, offset, length int64) *call {
	return w.put(blob, "comp=page").hs("x-ms-page-write", "clear", "x-ms-range", byteRange(offset, length))
}

// resize is Set Blob Properties with a new length.
func (w *wire) resize(blob ref, size int64) *call {
	return w.put(blob, "comp=properties").h("x-ms-blob-content-length", strconv.FormatInt(size, 10))
}

// snapshot takes a snapshot and returns its time.
func (w *wire) snapshot(blob ref) string {
	w.Helper()
	return w.put(blob, "comp=snapshot").ok(201).get("x-ms-snapshot")
}

// lease is one lease operation on a blob or container; id and others follow with h.
func (w *wire) lease(r ref, action string) *call {
	query := "comp=lease"
	if r == r.container() {
		query = "restype=container&comp=lease"
	}
	return w.put(r, query).h("x-ms-lease-action", action)
}

// acquire takes a lease with a given id; seconds -1 is forever.
func (w *wire) acquire(r ref, id string, seconds int) *call {
	return w.lease(r, "acquire").hs("x-ms-proposed-lease-id", id, "x-ms-lease-duration", strconv.Itoa(seconds))
}

// content reads a whole blob.
func (w *wire) content(blob ref) []byte {
	w.Helper()
	return w.get(blob, "").ok(200).body
}

// byteRange is a Range header for length bytes at offset.
func byteRange(offset, length int64) string {
	return fmt.Sprintf("bytes=%d-%d", offset, offset+length-1)
}

// fill returns n bytes that differ in every page and for every label. n is a multiple of 8.
func fill(label uint64, n int) []byte {
	rng := rand.New(rand.NewPCG(label, 0x70616765))
	b := make([]byte, 0, n)
	for len(b) < n {
		b = binary.LittleEndian.AppendUint64(b, rng.Uint64())
	}
	return b[:n]
}

// same compares contents and says where they part.
func (w *wire) same(what string, got, want []byte) {
	w.Helper()
	if bytes.Equal(got, want) {
		return
	}
	if len(got) != len(want) {
		w.Errorf("%s: %d bytes, want %d", what, len(got), len(want))
		return
	}
	for i := range got {
		if got[i] != want[i] {
			w.Errorf("%s: byte %d (page %d) is %#x, want %#x", what, i, i/page, got[i], want[i])
			return
		}
	}
}

// equal compares two strings.
func (w *wire) equal(what, got, want string) {
	w.Helper()
	if got != want {
		w.Errorf("%s is %q, want %q", what, got, want)
	}
}

// headers compares headers of a reply, given as name, value, name, value…; "-" wants the header absent, "*" any value.
func (w *wire) headers(r *reply, pairs ...string) {
	w.Helper()
	for i := 0; i+1 < len(pairs); i += 2 {
		name, want := pairs[i], pairs[i+1]
		switch got := r.get(name); {
		case want == "-" && r.has(name):
			w.Errorf("%s: %q, which must not be there:\n%v", name, got, r)
		case want == "*" && !r.has(name):
			w.Errorf("no %s:\n%v", name, r)
		case want != "-" && want != "*" && (got != want || !r.has(name)):
			w.Errorf("%s: %q, want %q:\n%v", name, got, want, r)
		}
	}
}

// standard are the headers that every reply has or may have whatever was asked, lower-case.
const standard = " x-ms-request-id x-ms-version x-ms-client-request-id date server content-length connection transfer-encoding "

// exactly checks that a reply has these headers, the standard ones and no others.
func (w *wire) exactly(r *reply, names ...string) {
	w.Helper()
	for _, f := range r.fields {
		name := strings.ToLower(f.name)
		if !strings.Contains(standard, " "+name+" ") && !containsFold(names, name) {
			w.Errorf("unexpected header %s: %s\n%v", f.name, f.value, r)
		}
	}
	for _, name := range names {
		if !r.has(name) {
			w.Errorf("no %s:\n%v", name, r)
		}
	}
}

func containsFold(names []string, name string) bool {
	for _, n := range names {
		if strings.EqualFold(n, name) {
			return true
		}
	}
	return false
}

// stamp is what changes with every write.
type stamp struct {
	etag     string
	modified string
}

func stampOf(r *reply) stamp { return stamp{r.get("ETag"), r.get("Last-Modified")} }

// stamp reads the current stamp of a blob or container.
func (w *wire) stamp(r ref) stamp {
	w.Helper()
	query := ""
	if r == r.container() {
		query = "restype=container"
	}
	return stampOf(w.head(r, query).ok(200))
}

// restamped checks that a write gave the resource a new, larger ETag, the one that it told.
func (w *wire) restamped(what string, before stamp, r *reply, resource ref) stamp {
	w.Helper()
	now := w.stamp(resource)
	if told := stampOf(r); told != now {
		w.Errorf("%s: the reply says %v, the resource %v", what, told, now)
	}
	if now.etag <= before.etag { // of equal length, so text orders as numbers do
		w.Errorf("%s: ETag %s after %s", what, now.etag, before.etag)
	}
	old, _ := httpTime(before.modified)
	if at, err := httpTime(now.modified); err != nil || at.Before(old) {
		w.Errorf("%s: Last-Modified %s after %s", what, now.modified, before.modified)
	}
	return now
}

// unstamped checks that an operation left the stamp of the resource as it was.
func (w *wire) unstamped(what string, before stamp, resource ref) {
	w.Helper()
	if now := w.stamp(resource); now != before {
		w.Errorf("%s: the stamp went from %v to %v", what, before, now)
	}
}

// ago is an HTTP date that long before the server's now; negative lies ahead.
func (w *wire) ago(d time.Duration) string {
	return w.env.Clock.Now().Add(-d).UTC().Format(http.TimeFormat)
}

// span is one entry of a page list, as sent: inclusive ends.
type span struct {
	start, end int64
	clear      bool
}

func (s span) String() string {
	if s.clear {
		return fmt.Sprintf("clear %d-%d", s.start, s.end)
	}
	return fmt.Sprintf("%d-%d", s.start, s.end)
}

// pageRanges reads a page list and checks its form: ascending, not overlapping, aligned, neighbours of a kind joined.
// It also returns the marker of the next part, "" at the end.
func pageRanges(w *wire, r *reply) (spans []span, marker string) {
	w.Helper()
	root := w.xml(r)
	if root.name != "PageList" {
		w.Fatalf("a page list in <%s>:\n%v", root.name, r)
	}
	last := int64(-1)
	for i, n := range root.children {
		if n.name == "NextMarker" && i == len(root.children)-1 {
			marker = n.text
			continue
		}
		start, err := strconv.ParseInt(n.value("Start"), 10, 64)
		end, err2 := strconv.ParseInt(n.value("End"), 10, 64)
		s := span{start, end, n.name == "ClearRange"}
		if err != nil || err2 != nil || n.names() != "Start End" || n.name != "PageRange" && n.name != "ClearRange" {
			w.Fatalf("entry <%s> of %s:\n%v", n.name, n.names(), r)
		}
		if s.start <= last || s.end < s.start || s.start%page != 0 || (s.end+1)%page != 0 {
			w.Errorf("entry %v after %d:\n%v", s, last, r)
		}
		if k := len(spans) - 1; k >= 0 && spans[k].end+1 == s.start && spans[k].clear == s.clear {
			w.Errorf("entries %v and %v are not joined:\n%v", spans[k], s, r)
		}
		last = s.end
		spans = append(spans, s)
	}
	return spans, marker
}

// ranges checks that a page list holds exactly these entries, written as span.String writes them, joined by ", ".
func (w *wire) ranges(c *call, want string) *reply {
	w.Helper()
	r := c.ok(200)
	spans, marker := pageRanges(w, r)
	if got := spansText(spans); got != want || marker != "" {
		w.Errorf("page list %q, next %q, want %q:\n%v", got, marker, want, r)
	}
	return r
}

func spansText(spans []span) string {
	texts := make([]string, len(spans))
	for i, s := range spans {
		texts[i] = s.String()
	}
	return strings.Join(texts, ", ")
}

// byKey goes through a map in the order of its keys, so that a run with the same seed sends the same requests.
func byKey[V any](m map[string]V) iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		for _, k := range slices.Sorted(maps.Keys(m)) {
			if !yield(k, m[k]) {
				return
			}
		}
	}
}
