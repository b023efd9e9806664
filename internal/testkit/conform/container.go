package conform

import (
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
)

func createContainer(t T, env *Env) {
	w := env.wire(t)
	w.part("through the SDK", func(w *wire) {
		c := ref("/" + env.unique())
		_, err := w.sdkContainer(c).Create(ctx, &container.CreateOptions{Metadata: map[string]*string{"a": to.Ptr("1")}})
		w.must(err)
		w.Cleanup(func() { w.remove(c) })
		got, err := w.sdkContainer(c).GetProperties(ctx, nil)
		w.must(err)
		if v := got.Metadata["A"]; v == nil || *v != "1" {
			w.Errorf("metadata %v", got.Metadata)
		}
		_, err = w.sdkContainer(c).Create(ctx, nil)
		w.mustFail(err, "ContainerAlreadyExists")
	})
	w.part("the reply", func(w *wire) {
		c := ref("/" + env.unique())
		w.Cleanup(func() { w.remove(c) })
		// .NET sends no Content-Length here at all [R].
		r := w.put(c, "restype=container").leave("Content-Length").ok(201)
		w.exactly(r, "ETag", "Last-Modified")
		if s := w.stamp(c); s != stampOf(r) {
			w.Errorf("created %v, found %v", stampOf(r), s)
		}
		w.put(c, "restype=container").h("x-ms-meta-a", "b").fails("ContainerAlreadyExists")
	})
	w.part("again after a delete", containerAgain)
	w.part("names", containerNames)
	w.part("metadata", func(w *wire) {
		metadataErrors(w, func() *call { return w.put(ref("/"+env.unique()), "restype=container") })
	})
}

// containerAgain: a container of the same name is a new one: no blobs, no metadata, no lease from before.
func containerAgain(w *wire) {
	c := w.container()
	blob := c.blob("blob")
	w.create(blob, page).ok(201)
	w.update(blob, 0, fill(1, page)).ok(201)
	w.snapshot(blob)
	w.acquire(blob, leaseA, -1).ok(201)
	w.acquire(c, leaseA, -1).ok(201)
	before := w.stamp(c)
	w.delete(c, "restype=container").h("x-ms-lease-id", leaseA).ok(202)
	w.get(blob, "").fails("ContainerNotFound")
	w.restamped("created again", before, w.put(c, "restype=container").ok(201), c)
	w.headers(w.head(c, "restype=container").ok(200), "x-ms-lease-state", "available")
	w.get(blob, "").fails("BlobNotFound")
	w.create(blob, page).ok(201)
	w.same("the new blob", w.content(blob), make([]byte, page))
	w.headers(w.head(blob, "").ok(200), "x-ms-lease-state", "available")
	w.delete(blob, "").ok(202) // no snapshot of the old one is in the way
}

func containerNames(w *wire) {
	// 3 to 63 of a-z, 0-9 and single hyphens between them.
	for _, name := range []string{"a_b", "a.b", "Abc", "abC", "-abc", "abc-", "a--b", "a%20b", "%C3%A4bc", "a~b", "$logs2", "$roots"} {
		w.put(ref("/"+name), "restype=container").fails("InvalidResourceName")
	}
	for _, name := range []string{"ab", "a", strings.Repeat("a", 64), strings.Repeat("a", 300)} {
		w.put(ref("/"+name), "restype=container").fails("OutOfRangeInput")
	}
	for _, r := range []ref{"", "/"} {
		w.put(r, "restype=container").fails("InvalidQueryParameterValue", "QueryParameterName", "restype") // [S]
	}
	family := w.env.unique()
	for _, name := range []string{family + strings.Repeat("a", 63-len(family)), "0" + family + "0"} {
		w.put(ref("/"+name), "restype=container").ok(201)
		w.delete(ref("/"+name), "restype=container").ok(202)
	}
}

// metadataErrors sends every kind of metadata that is refused, and some at the limits, with requests that write metadata.
func metadataErrors(w *wire, request func() *call) {
	for _, name := range []string{"x-ms-meta-a-b", "x-ms-meta-1a", "x-ms-meta-a.b", "x-ms-meta-a~"} { // no C# identifiers
		request().h(name, "v").fails("InvalidMetadata")
	}
	request().h("x-ms-meta-", "v").fails("EmptyMetadataKey")
	// The same name twice is 400; which code is not known [?].
	twice := []string{"InvalidMetadata", "InvalidHeaderValue", "InvalidInput"}
	request().hs("x-ms-meta-same", "1", "x-ms-meta-same", "2").failsAny(twice)
	request().hs("x-ms-meta-same", "1", "x-ms-meta-SAME", "2").failsAny(twice)
	request().h("x-ms-meta-a", "caf\xC3\xA9").fails("InvalidMetadata")
	request().h("x-ms-meta-a", "caf\xE9").fails("InvalidMetadata")
	request().hs("x-ms-meta-a", strings.Repeat("v", 4096), "x-ms-meta-b", strings.Repeat("v", 4095)).fails("MetadataTooLarge")
}

func getContainerProperties(t T, env *Env) {
	w := env.wire(t)
	c := w.container()
	w.put(c, "restype=container&comp=metadata").hs("x-ms-meta-Mixed", "Case", "x-ms-meta-empty", "").ok(200)
	w.part("through the SDK", func(w *wire) {
		got, err := w.sdkContainer(c).GetProperties(ctx, nil)
		w.must(err)
		if got.ETag == nil || got.LastModified == nil || val(got.LeaseState) != "available" || val(got.Metadata["Mixed"]) != "Case" {
			w.Errorf("properties %+v", got)
		}
	})
	w.part("the reply", func(w *wire) {
		for _, method := range []string{"GET", "HEAD"} {
			r := w.do(method, c, "restype=container").ok(200)
			w.exactly(r, "ETag", "Last-Modified", "x-ms-lease-status", "x-ms-lease-state", "x-ms-meta-Mixed", "x-ms-meta-empty",
				"x-ms-has-immutability-policy", "x-ms-has-legal-hold", "x-ms-immutable-storage-with-versioning-enabled",
				"x-ms-default-encryption-scope", "x-ms-deny-encryption-scope-override")
			w.headers(r, "x-ms-lease-status", "unlocked", "x-ms-lease-state", "available", "x-ms-meta-mixed", "Case",
				"x-ms-meta-empty", "", "x-ms-has-immutability-policy", "false", "x-ms-has-legal-hold", "false",
				"x-ms-immutable-storage-with-versioning-enabled", "false",
				"x-ms-default-encryption-scope", "$account-encryption-key", "x-ms-deny-encryption-scope-override", "false")
			if !strings.Contains(r.String(), "x-ms-meta-Mixed:") {
				w.Errorf("names keep their case:\n%v", r)
			}
		}
	})
	w.part("the lease", func(w *wire) { containerReadLease(w, c, "restype=container") })
	w.part("errors", func(w *wire) {
		w.get("/none-such", "restype=container").fails("ContainerNotFound")
		w.head("/none-such", "restype=container").fails("ContainerNotFound")
	})
}

// containerReadLease: a read of a container takes the id of its lease as a condition.
func containerReadLease(w *wire, c ref, query string) {
	w.get(c, query).h("x-ms-lease-id", leaseA).fails("LeaseNotPresentWithContainerOperation")
	w.acquire(c, leaseA, 15).ok(201)
	w.get(c, query).ok(200)
	w.get(c, query).h("x-ms-lease-id", strings.ToUpper(leaseA)).ok(200)
	w.get(c, query).h("x-ms-lease-id", leaseB).fails("LeaseIdMismatchWithContainerOperation")
	w.get(c, query).h("x-ms-lease-id", "mine").fails("InvalidHeaderValue", "HeaderName", "x-ms-lease-id", "HeaderValue", "mine")
	w.lease(c, "release").h("x-ms-lease-id", leaseA).ok(200)
}

func getContainerMetadata(t T, env *Env) {
	w := env.wire(t)
	c := w.container()
	for _, method := range []string{"GET", "HEAD"} {
		w.exactly(w.do(method, c, "restype=container&comp=metadata").ok(200), "ETag", "Last-Modified")
	}
	w.put(c, "restype=container&comp=metadata").hs("x-ms-meta-A", "1", "x-ms-meta-b_2", "").ok(200)
	for _, method := range []string{"GET", "HEAD"} {
		r := w.do(method, c, "restype=container&comp=metadata").ok(200)
		w.exactly(r, "ETag", "Last-Modified", "x-ms-meta-A", "x-ms-meta-b_2")
		w.headers(r, "x-ms-meta-A", "1", "x-ms-meta-b_2", "")
		if s := w.stamp(c); s != stampOf(r) {
			w.Errorf("stamp %v, of the properties %v", stampOf(r), s)
		}
	}
	w.part("the lease", func(w *wire) { containerReadLease(w, c, "restype=container&comp=metadata") })
	w.get("/none-such", "restype=container&comp=metadata").fails("ContainerNotFound")
}

func setContainerMetadata(t T, env *Env) {
	w := env.wire(t)
	c := w.container()
	set := func() *call { return w.put(c, "restype=container&comp=metadata") }
	w.part("through the SDK", func(w *wire) {
		_, err := w.sdkContainer(c).SetMetadata(ctx, &container.SetMetadataOptions{Metadata: map[string]*string{"x": to.Ptr("y")}})
		w.must(err)
		w.headers(w.head(c, "restype=container").ok(200), "x-ms-meta-x", "y")
	})
	w.part("replaces all", func(w *wire) {
		before := w.stamp(c)
		r := set().hs("x-ms-meta-a", "1", "x-ms-meta-B_", " spaces inside ").ok(200)
		w.exactly(r, "ETag", "Last-Modified")
		before = w.restamped("set", before, r, c)
		w.headers(w.head(c, "restype=container").ok(200), "x-ms-meta-x", "-", "x-ms-meta-a", "1", "x-ms-meta-b_", "spaces inside")
		w.restamped("cleared", before, set().ok(200), c)
		w.headers(w.head(c, "restype=container").ok(200), "x-ms-meta-a", "-", "x-ms-meta-b_", "-")
	})
	w.part("metadata", func(w *wire) {
		metadataErrors(w, set)
		set().hs("x-ms-meta-a", strings.Repeat("v", 4096), "x-ms-meta-b", strings.Repeat("v", 4094)).ok(200) // 8 KiB in all
		set().ok(200)
	})
	w.part("the lease", func(w *wire) {
		set().h("x-ms-lease-id", leaseA).fails("LeaseNotPresentWithContainerOperation")
		w.acquire(c, leaseA, -1).ok(201)
		set().ok(200) // the lease of a container protects only against its deletion
		set().h("x-ms-lease-id", leaseA).ok(200)
		set().h("x-ms-lease-id", leaseB).fails("LeaseIdMismatchWithContainerOperation")
		w.lease(c, "release").h("x-ms-lease-id", leaseA).ok(200)
	})
	w.part("conditions", func(w *wire) {
		set().h("If-Modified-Since", w.ago(-time.Minute)).fails("ConditionNotMet")
		set().h("If-Modified-Since", w.ago(time.Hour)).ok(200)
		set().h("If-Modified-Since", "yesterday").fails("InvalidHeaderValue", "HeaderName", "If-Modified-Since", "HeaderValue", "yesterday")
	})
	w.put("/none-such", "restype=container&comp=metadata").fails("ContainerNotFound")
}

func deleteContainer(t T, env *Env) {
	w := env.wire(t)
	w.part("through the SDK", func(w *wire) {
		c := w.container()
		_, err := w.sdkContainer(c).Delete(ctx, nil)
		w.must(err)
		_, err = w.sdkContainer(c).Delete(ctx, nil)
		w.mustFail(err, "ContainerNotFound")
	})
	w.part("with all that is in it", func(w *wire) {
		c := w.container()
		w.create(c.blob("leased"), page).ok(201)
		w.snapshot(c.blob("leased"))
		w.acquire(c.blob("leased"), leaseA, -1).ok(201)
		w.exactly(w.delete(c, "restype=container").ok(202))
		w.get(c, "restype=container").fails("ContainerNotFound")
		w.get(c, "restype=container&comp=list").fails("ContainerNotFound")
		w.get(c.blob("leased"), "").fails("ContainerNotFound")
		w.create(c.blob("new"), page).fails("ContainerNotFound")
	})
	w.part("the lease", func(w *wire) {
		c := w.container()
		del := func() *call { return w.delete(c, "restype=container") }
		del().h("x-ms-lease-id", leaseA).fails("LeaseNotPresentWithContainerOperation")
		w.acquire(c, leaseA, -1).ok(201)
		del().fails("LeaseIdMissing")
		del().h("x-ms-lease-id", leaseB).fails("LeaseIdMismatchWithContainerOperation")
		del().h("x-ms-lease-id", "{"+leaseA+"}").ok(202)
	})
	w.part("conditions", func(w *wire) {
		c := w.container()
		del := func() *call { return w.delete(c, "restype=container") }
		del().h("If-Unmodified-Since", w.ago(time.Hour)).fails("ConditionNotMet")
		del().h("If-Modified-Since", w.ago(-time.Minute)).fails("ConditionNotMet")
		del().h("If-Unmodified-Since", "soon").fails("InvalidHeaderValue", "HeaderName", "If-Unmodified-Since", "HeaderValue", "soon")
		del().hs("If-Modified-Since", w.ago(time.Hour)).ok(202)
		c = w.container()
		del().hs("If-Unmodified-Since", w.ago(-time.Minute)).ok(202)
	})
}
