package conform

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/pageblob"
)

// writeLease: a write of a leased blob needs the lease's id. The whole table is LeaseBlob's; this is the row of one
// operation. request must be repeatable.
func writeLease(w *wire, b ref, request func() *call, status int) {
	w.Helper()
	request().h("x-ms-lease-id", leaseA).fails("LeaseNotPresentWithBlobOperation")
	w.acquire(b, leaseA, -1).ok(201)
	request().fails("LeaseIdMissing")
	request().h("x-ms-lease-id", leaseB).fails("LeaseIdMismatchWithBlobOperation")
	request().h("x-ms-lease-id", "{not a guid}").fails("InvalidHeaderValue", "HeaderName", "x-ms-lease-id", "HeaderValue", "{not a guid}")
	request().h("x-ms-lease-id", strings.ToUpper(leaseA)).ok(status)
	w.lease(b, "release").h("x-ms-lease-id", leaseA).ok(200)
}

// missing: the errors of an operation on a blob that is not there, or in a container that is not there.
func missing(w *wire, b ref, request func(b ref) *call) {
	w.Helper()
	request(b.container().blob("none")).fails("BlobNotFound")
	request("/none-such/b").fails("ContainerNotFound")
}

// onSnapshot: snapshots do not change, so writes addressed to one are refused [S].
func onSnapshot(w *wire, b ref, request func(b ref) *call) {
	w.Helper()
	at := w.snapshot(b)
	c := request(b)
	c.q("snapshot", at).fails("InvalidQueryParameterValue", "QueryParameterName", "snapshot")
	w.delete(b, "snapshot="+at).ok(202)
}

func setBlobMetadata(t T, env *Env) {
	w := env.wire(t)
	b := w.pageBlob(page)
	set := func() *call { return w.put(b, "comp=metadata") }
	w.part("through the SDK", func(w *wire) {
		_, err := w.sdkPageBlob(b, "blob").SetMetadata(ctx, map[string]*string{"sdk": to.Ptr("yes")}, nil)
		w.must(err)
		w.headers(w.head(b, "").ok(200), "x-ms-meta-sdk", "yes")
	})
	w.part("replaces all", func(w *wire) {
		before := w.stamp(b)
		r := set().hs("x-ms-meta-a", "1", "x-ms-meta-B", "").ok(200)
		w.exactly(r, "ETag", "Last-Modified", "x-ms-request-server-encrypted")
		w.headers(r, "x-ms-request-server-encrypted", "true")
		before = w.restamped("set", before, r, b)
		w.headers(w.head(b, "").ok(200), "x-ms-meta-sdk", "-", "x-ms-meta-a", "1", "x-ms-meta-b", "")
		w.restamped("cleared", before, set().ok(200), b)
		w.headers(w.head(b, "").ok(200), "x-ms-meta-a", "-", "x-ms-meta-b", "-")
	})
	w.part("metadata", func(w *wire) { metadataErrors(w, set) })
	w.part("lease", func(w *wire) { writeLease(w, b, set, 200) })
	w.part("errors", func(w *wire) {
		request := func(b ref) *call { return w.put(b, "comp=metadata").h("x-ms-meta-a", "1") }
		missing(w, b, request)
		onSnapshot(w, b, request)
	})
}

func setBlobProperties(t T, env *Env) {
	w := env.wire(t)
	w.part("through the SDK", func(w *wire) {
		b := w.pageBlob(4 * page)
		client := w.sdkPageBlob(b, "blob")
		_, err := client.SetHTTPHeaders(ctx, blob.HTTPHeaders{BlobContentType: to.Ptr("a/b")}, nil)
		w.must(err)
		_, err = client.Resize(ctx, 8*page, nil)
		w.must(err)
		for _, step := range []struct {
			action pageblob.SequenceNumberActionType
			number *int64
			want   int64
		}{
			{pageblob.SequenceNumberActionTypeUpdate, to.Ptr[int64](7), 7},
			{pageblob.SequenceNumberActionTypeIncrement, to.Ptr[int64](0), 8}, // the SDK leaves the number out here [S]
			{pageblob.SequenceNumberActionTypeMax, to.Ptr[int64](5), 8},
			{pageblob.SequenceNumberActionTypeMax, to.Ptr[int64](9), 9},
		} {
			got, err := client.UpdateSequenceNumber(ctx, &pageblob.UpdateSequenceNumberOptions{ActionType: &step.action,
				SequenceNumber: step.number})
			w.must(err)
			w.equal(string(step.action), fmt.Sprint(val(got.BlobSequenceNumber)), fmt.Sprint(step.want))
		}
		w.headers(w.head(b, "").ok(200), "Content-Type", "a/b", "Content-Length", "4096", "x-ms-blob-sequence-number", "9")
		_, err = client.Resize(ctx, 12, nil)
		w.mustFail(err, "InvalidHeaderValue")
	})
	w.part("all six or none", setSix)
	w.part("sequence numbers", setSequence)
	w.part("resize", setResize)
	b := w.pageBlob(page)
	request := func(b ref) *call { return w.put(b, "comp=properties").h("x-ms-blob-content-type", "c/d") }
	w.part("lease", func(w *wire) { writeLease(w, b, func() *call { return request(b) }, 200) })
	w.part("errors", func(w *wire) {
		missing(w, b, request)
		onSnapshot(w, b, request)
	})
}

// setSix: one of the six given, all six are replaced; only length or number given, none is [D].
func setSix(w *wire) {
	b := w.pageBlob(page)
	set := func() *call { return w.put(b, "comp=properties") }
	names := []string{"Content-Type", "Content-Encoding", "Content-Language", "Content-Disposition", "Cache-Control", "Content-MD5"}
	sent := []string{"x-ms-blob-content-type", "x-ms-blob-content-encoding", "x-ms-blob-content-language",
		"x-ms-blob-content-disposition", "x-ms-blob-cache-control", "x-ms-blob-content-md5"}
	value := func(i int) string {
		if names[i] == "Content-MD5" {
			return md5Of([]byte("x"))
		}
		return "v" + strconv.Itoa(i)
	}
	all := func() *call {
		c := set()
		for i := range sent {
			c.h(sent[i], value(i))
		}
		return c
	}
	before := w.stamp(b)
	r := all().ok(200)
	w.exactly(r, "ETag", "Last-Modified", "x-ms-blob-sequence-number")
	w.restamped("all six", before, r, b)
	w.resize(b, 2*page).ok(200)
	set().h("x-ms-sequence-number-action", "increment").ok(200)
	for i := range names {
		w.headers(w.head(b, "").ok(200), names[i], value(i)) // neither touched them
	}
	for i := range names {
		all().ok(200)
		set().h(sent[i], value(i)).ok(200)
		head := w.head(b, "").ok(200)
		for j := range names {
			switch {
			case j == i:
				w.headers(head, names[j], value(j))
			case names[j] == "Content-Type": // cleared is the default or nothing
				if v := head.get("Content-Type"); v != "" && v != "application/octet-stream" {
					w.Errorf("with only %s, Content-Type is %q", names[i], v)
				}
			default:
				w.headers(head, names[j], "-")
			}
		}
	}
	// The properties together with length and number, in one call.
	r = set().hs("x-ms-blob-content-type", "t/t", "x-ms-blob-content-length", "1536", "x-ms-sequence-number-action", "update",
		"x-ms-blob-sequence-number", "77").ok(200)
	w.headers(r, "x-ms-blob-sequence-number", "77")
	w.headers(w.head(b, "").ok(200), "Content-Type", "t/t", "Content-Length", "1536", "x-ms-blob-sequence-number", "77")
	// When one part is wrong none is done.
	set().hs("x-ms-blob-content-type", "u/u", "x-ms-blob-content-length", "100").fails("InvalidHeaderValue")
	set().hs("x-ms-blob-content-length", "512", "x-ms-sequence-number-action", "sideways").fails("InvalidHeaderValue")
	for _, bad := range []string{"no base64!", "AAEC"} {
		set().h("x-ms-blob-content-md5", bad).failsAny([]string{"InvalidMd5", "InvalidHeaderValue"})
	}
}

func setSequence(w *wire) {
	b := w.pageBlob(page)
	f := func(action, number string) *call {
		c := w.put(b, "comp=properties").h("x-ms-sequence-number-action", action)
		if number != "-" {
			c.h("x-ms-blob-sequence-number", number)
		}
		return c
	}
	want := func(action, number, want string) {
		w.Helper()
		before := w.stamp(b)
		r := f(action, number).ok(200)
		w.headers(r, "x-ms-blob-sequence-number", want)
		w.restamped(action, before, r, b)
		w.headers(w.head(b, "").ok(200), "x-ms-blob-sequence-number", want)
	}
	want("update", "5", "5")
	want("update", "2", "2") // downwards too
	want("max", "1", "2")
	want("max", "3", "3")
	want("increment", "-", "4")
	want("Increment", "-", "5") // any case [A]
	want("MAX", "9223372036854775806", "9223372036854775806")
	want("increment", "-", "9223372036854775807")
	f("increment", "-").fails("SequenceNumberIncrementTooLarge")
	want("max", "9223372036854775807", "9223372036854775807")
	want("update", "0", "0")
	for _, action := range []string{"update", "max"} {
		f(action, "-").fails("MissingRequiredHeader", "HeaderName", "x-ms-blob-sequence-number")
		for _, bad := range []string{"-1", "9223372036854775808", "x", ""} {
			f(action, bad).fails("InvalidHeaderValue", "HeaderName", "x-ms-blob-sequence-number", "HeaderValue", bad)
		}
	}
	f("increment", "1").fails("InvalidHeaderValue", "HeaderName", "x-ms-blob-sequence-number", "HeaderValue", "1") // [D]
	for _, bad := range []string{"decrement", ""} {
		f(bad, "1").fails("InvalidHeaderValue", "HeaderName", "x-ms-sequence-number-action", "HeaderValue", bad)
	}
	w.put(b, "comp=properties").h("x-ms-blob-sequence-number", "3").
		fails("MissingRequiredHeader", "HeaderName", "x-ms-sequence-number-action")
}

// setResize: what is cut off is gone for good and what is added is zeros; snapshots keep what they had.
func setResize(w *wire) {
	b := w.pageBlob(8 * page)
	data := fill(10, 8*page)
	w.update(b, 0, data).ok(201)
	at := w.snapshot(b)
	before := w.stamp(b)
	r := w.resize(b, 3*page).ok(200)
	w.exactly(r, "ETag", "Last-Modified", "x-ms-blob-sequence-number")
	w.restamped("shrunk", before, r, b)
	w.same("shrunk", w.content(b), data[:3*page])
	w.ranges(w.get(b, "comp=pagelist"), "0-1535")
	w.resize(b, 16*page).ok(200)
	w.same("grown", w.content(b), append(append([]byte{}, data[:3*page]...), make([]byte, 13*page)...))
	w.ranges(w.get(b, "comp=pagelist"), "0-1535")
	w.same("the snapshot", w.get(b, "snapshot="+at).ok(200).body, data)
	w.ranges(w.get(b, "comp=pagelist&snapshot="+at), "0-4095")
	w.resize(b, 0).ok(200)
	w.same("empty", w.content(b), nil)
	w.resize(b, w.env.MaxPageBlob).ok(200)
	w.ranges(w.get(b, "comp=pagelist"), "")
	w.resize(b, page).ok(200)
	w.update(b, page, fill(1, page)).fails("InvalidPageRange")
	for _, bad := range []string{"12", "511", "-512", "x", "", "9223372036854775808"} {
		w.put(b, "comp=properties").h("x-ms-blob-content-length", bad).
			fails("InvalidHeaderValue", "HeaderName", "x-ms-blob-content-length", "HeaderValue", bad)
	}
	w.resize(b, w.env.MaxPageBlob+page).fails("RequestBodyTooLarge", "MaxLimit", strconv.FormatInt(w.env.MaxPageBlob, 10))
}

func deleteBlob(t T, env *Env) {
	w := env.wire(t)
	w.part("through the SDK", func(w *wire) {
		b := w.pageBlob(page)
		client := w.sdkPageBlob(b, "blob")
		_, err := client.CreateSnapshot(ctx, nil)
		w.must(err)
		_, err = client.Delete(ctx, nil)
		w.mustFail(err, "SnapshotsPresent")
		_, err = client.Delete(ctx, &blob.DeleteOptions{DeleteSnapshots: to.Ptr(blob.DeleteSnapshotsOptionTypeInclude)})
		w.must(err)
		_, err = client.Delete(ctx, nil)
		w.mustFail(err, "BlobNotFound")
	})
	w.part("the reply", func(w *wire) {
		b := w.pageBlob(page)
		r := w.delete(b, "").ok(202)
		w.exactly(r, "x-ms-delete-type-permanent")
		w.headers(r, "x-ms-delete-type-permanent", "true") // nothing is kept
		w.get(b, "").fails("BlobNotFound")
		w.delete(b, "").fails("BlobNotFound") // which is what a retry sees
	})
	w.part("snapshots", deleteSnapshots)
	w.part("nothing comes back", func(w *wire) {
		b := w.pageBlob(2 * page)
		w.update(b, 0, fill(11, 2*page)).ok(201)
		w.put(b, "comp=metadata").h("x-ms-meta-a", "1").ok(200)
		at := w.snapshot(b)
		w.acquire(b, leaseA, -1).ok(201)
		w.delete(b, "").hs("x-ms-lease-id", leaseA, "x-ms-delete-snapshots", "include").ok(202)
		w.create(b, 2*page).ok(201)
		w.same("the new blob", w.content(b), make([]byte, 2*page))
		w.headers(w.head(b, "").ok(200), "x-ms-meta-a", "-", "x-ms-lease-state", "available")
		w.get(b, "snapshot="+at).fails("BlobNotFound")
		w.get(b, "comp=pagelist&prevsnapshot="+at).fails("PreviousSnapshotNotFound")
	})
	w.part("lease", func(w *wire) {
		b := w.pageBlob(page)
		at := w.snapshot(b)
		w.delete(b, "").hs("x-ms-lease-id", leaseA, "x-ms-delete-snapshots", "include").fails("LeaseNotPresentWithBlobOperation")
		w.acquire(b, leaseA, -1).ok(201)
		w.delete(b, "").h("x-ms-delete-snapshots", "include").fails("LeaseIdMissing")
		w.delete(b, "").hs("x-ms-lease-id", leaseB, "x-ms-delete-snapshots", "include").fails("LeaseIdMismatchWithBlobOperation")
		w.delete(b, "snapshot="+at).ok(202) // a snapshot is not protected by the lease
		w.delete(b, "").h("x-ms-lease-id", leaseA).ok(202)
	})
	b := w.pageBlob(page)
	missing(w, b, func(b ref) *call { return w.delete(b, "") })
	w.delete(b, "snapshot=2020-01-01T00:00:00.0000000Z").fails("BlobNotFound")
}

func deleteSnapshots(w *wire) {
	b := w.pageBlob(page)
	w.update(b, 0, fill(12, page)).ok(201)
	first, second := w.snapshot(b), w.snapshot(b)
	w.delete(b, "").fails("SnapshotsPresent")
	w.delete(b, "").h("x-ms-delete-snapshots", "all").
		fails("InvalidHeaderValue", "HeaderName", "x-ms-delete-snapshots", "HeaderValue", "all")
	for _, mode := range []string{"include", "only"} { // makes no sense on a snapshot: 400, of either code [K]
		w.delete(b, "snapshot="+first).h("x-ms-delete-snapshots", mode).
			failsAny([]string{"InvalidQueryParameterValue", "InvalidHeaderValue"})
	}
	w.delete(b, "snapshot="+first).ok(202)
	w.delete(b, "snapshot="+first).fails("BlobNotFound")
	w.same("the other snapshot", w.get(b, "snapshot="+second).ok(200).body, fill(12, page))
	w.delete(b, "").h("x-ms-delete-snapshots", "only").ok(202)
	w.get(b, "snapshot="+second).fails("BlobNotFound")
	w.same("the base", w.content(b), fill(12, page))
	// Without snapshots there is nothing for "only" to do, and the base stays. Whether that is a success is not known [?].
	if r := w.delete(b, "").h("x-ms-delete-snapshots", "only").send(); r.status != 202 && r.status != 404 {
		w.Errorf("nothing to delete:\n%v", r)
	}
	w.same("the base", w.content(b), fill(12, page))
	for range 1100 { // more than a store may want to delete in one go
		w.snapshot(b)
	}
	w.delete(b, "").h("x-ms-delete-snapshots", "include").ok(202)
	w.equal("left", strings.Join(listedNames(w.list(b.container(), "&include=snapshots")), " "), "")
}

func snapshotBlob(t T, env *Env) {
	w := env.wire(t)
	w.part("through the SDK", func(w *wire) {
		b := w.pageBlob(page)
		got, err := w.sdkPageBlob(b, "blob").CreateSnapshot(ctx, &blob.CreateSnapshotOptions{Metadata: map[string]*string{"k": to.Ptr("v")}})
		w.must(err)
		client, err := w.sdkPageBlob(b, "blob").WithSnapshot(val(got.Snapshot))
		w.must(err)
		props, err := client.GetProperties(ctx, nil)
		w.must(err)
		w.equal("metadata", val(props.Metadata["K"]), "v")
	})
	w.part("stamps", snapshotStamps)
	w.part("what is copied", snapshotCopies)
	w.part("what it keeps", snapshotKeeps)
	w.part("lease", func(w *wire) {
		b := w.pageBlob(page)
		take := func() *call { return w.put(b, "comp=snapshot") }
		take().h("x-ms-lease-id", leaseA).fails("LeaseNotPresentWithBlobOperation")
		w.acquire(b, leaseA, -1).ok(201)
		take().ok(201) // no id, no question asked
		take().h("x-ms-lease-id", leaseA).ok(201)
		take().h("x-ms-lease-id", leaseB).fails("LeaseIdMismatchWithBlobOperation")
	})
	w.part("metadata", func(w *wire) {
		b := w.pageBlob(page)
		metadataErrors(w, func() *call { return w.put(b, "comp=snapshot") })
	})
	b := w.pageBlob(page)
	missing(w, b, func(b ref) *call { return w.put(b, "comp=snapshot") })
	onSnapshot(w, b, func(b ref) *call { return w.put(b, "comp=snapshot") })
}

// snapshotStamps: without metadata a snapshot has the stamp of its base, with metadata one of its own; times only grow.
func snapshotStamps(w *wire) {
	b := w.pageBlob(page)
	base := w.stamp(b)
	r := w.put(b, "comp=snapshot").ok(201)
	w.exactly(r, "ETag", "Last-Modified", "x-ms-snapshot", "x-ms-request-server-encrypted")
	w.headers(r, "x-ms-request-server-encrypted", "false") // true where metadata was written [R]
	if stampOf(r) != base {
		w.Errorf("snapshot %v, base %v", stampOf(r), base)
	}
	at := r.get("x-ms-snapshot")
	if got := stampOf(w.head(b, "snapshot="+at).ok(200)); got != base {
		w.Errorf("snapshot %v, base %v", got, base)
	}
	r = w.put(b, "comp=snapshot").h("x-ms-meta-a", "1").ok(201)
	w.headers(r, "x-ms-request-server-encrypted", "true")
	own := stampOf(r)
	if own.etag <= base.etag {
		w.Errorf("with metadata: ETag %s, of the base %s", own.etag, base.etag)
	}
	if got := stampOf(w.head(b, "snapshot="+r.get("x-ms-snapshot")).ok(200)); got != own {
		w.Errorf("snapshot %v, told %v", got, own)
	}
	w.unstamped("snapshots", base, b)
	last := r.get("x-ms-snapshot")
	if last <= at {
		w.Errorf("snapshot %s after %s", last, at)
	}
	for range 20 { // as fast as can be, still one after the other
		next := w.snapshot(b)
		if next <= last {
			w.Fatalf("snapshot %s after %s", next, last)
		}
		last = next
	}
}

func snapshotCopies(w *wire) {
	b := w.container().blob("b")
	w.create(b, 2*page).hs("x-ms-blob-content-type", "a/b", "x-ms-blob-sequence-number", "9", "x-ms-meta-x", "1",
		"x-ms-blob-content-md5", md5Of(nil), "x-ms-blob-cache-control", "c").ok(201)
	w.update(b, page, fill(13, page)).ok(201)
	w.acquire(b, leaseA, -1).ok(201)
	at := w.snapshot(b)
	other := w.put(b, "comp=snapshot").h("x-ms-meta-y", "2").ok(201).get("x-ms-snapshot")
	same := []string{"Content-Type", "a/b", "x-ms-blob-sequence-number", "9", "Content-MD5", md5Of(nil), "Cache-Control", "c",
		"Content-Length", "1024", "x-ms-lease-state", "-", "x-ms-lease-status", "-", "x-ms-lease-duration", "-"}
	for _, snapshot := range []string{at, other} {
		w.headers(w.head(b, "snapshot="+snapshot).ok(200), same...)
		w.ranges(w.get(b, "comp=pagelist&snapshot="+snapshot), "512-1023")
	}
	w.headers(w.head(b, "snapshot="+at).ok(200), "x-ms-meta-x", "1", "x-ms-meta-y", "-")
	w.headers(w.head(b, "snapshot="+other).ok(200), "x-ms-meta-x", "-", "x-ms-meta-y", "2") // replaced, not joined
	w.lease(b, "release").h("x-ms-lease-id", leaseA).ok(200)
	c := w.lease(b, "acquire").hs("x-ms-lease-duration", "-1")
	c.q("snapshot", at).fails("InvalidQueryParameterValue", "QueryParameterName", "snapshot") // cannot be leased
}

// snapshotKeeps drives one blob through writes of every kind and finds each snapshot as it was taken.
func snapshotKeeps(w *wire) {
	b := w.pageBlob(8 * page)
	now := make([]byte, 8*page)
	type taken struct {
		at   string
		data []byte
	}
	var all []taken
	step := func(c *call, change func()) {
		w.Helper()
		all = append(all, taken{w.snapshot(b), append([]byte{}, now...)})
		if status := c.send().status; status/100 != 2 {
			w.Fatalf("status %d", status)
		}
		change()
		w.same("base", w.content(b), now)
	}
	step(w.update(b, 0, fill(14, 4*page)), func() { copy(now, fill(14, 4*page)) })
	step(w.update(b, page, fill(15, page)), func() { copy(now[page:], fill(15, page)) })
	step(w.clear(b, 0, 2*page), func() { clear(now[:2*page]) })
	step(w.resize(b, 3*page), func() { now = now[:3*page] })
	step(w.resize(b, 8*page), func() { now = append(append([]byte{}, now...), make([]byte, 5*page)...) })
	step(w.update(b, 7*page, fill(16, page)), func() { copy(now[7*page:], fill(16, page)) })
	step(w.create(b, 8*page), func() { now = make([]byte, 8*page) })
	step(w.update(b, 0, fill(17, page)), func() { copy(now, fill(17, page)) })
	for i, s := range all {
		w.same(fmt.Sprint("snapshot ", i), w.get(b, "snapshot="+s.at).ok(200).body, s.data)
	}
	// Any of them can go without the others noticing.
	for i := 0; i < len(all); i += 2 {
		w.delete(b, "snapshot="+all[i].at).ok(202)
	}
	for i := 1; i < len(all); i += 2 {
		w.same(fmt.Sprint("snapshot ", i), w.get(b, "snapshot="+all[i].at).ok(200).body, all[i].data)
	}
	w.same("base", w.content(b), now)
}
