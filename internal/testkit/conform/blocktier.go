package conform

import (
	"fmt"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
)

// blockTierSDK changes the tier of a block blob, to the archive and back.
func blockTierSDK(w *wire) {
	c := w.container()
	data := fill(340, page)
	client := w.sdkContainer(c).NewBlockBlobClient("b")
	_, err := client.UploadBuffer(ctx, data, &blockblob.UploadBufferOptions{AccessTier: to.Ptr(blob.AccessTierCool)})
	w.must(err)
	tier := func(want string) {
		w.Helper()
		p, err := client.GetProperties(ctx, nil)
		w.must(err)
		if val(p.AccessTier) != want || p.AccessTierInferred != nil || p.AccessTierChangeTime == nil || p.ArchiveStatus != nil {
			w.Errorf("tier %s, inferred %v, want %s", val(p.AccessTier), p.AccessTierInferred, want)
		}
	}
	tier("Cool")
	_, err = client.SetTier(ctx, blob.AccessTierArchive, nil)
	w.must(err)
	tier("Archive")
	_, err = client.DownloadStream(ctx, nil)
	w.mustFail(err, "BlobArchived")
	list, err := w.sdkContainer(c).NewListBlobsFlatPager(nil).NextPage(ctx)
	w.must(err)
	if p := list.Segment.BlobItems[0].Properties; val(p.AccessTier) != "Archive" || p.AccessTierInferred != nil || p.AccessTierChangeTime == nil {
		w.Errorf("listed %+v", p)
	}
	_, err = client.SetTier(ctx, blob.AccessTierHot, &blob.SetTierOptions{RehydratePriority: to.Ptr(blob.RehydratePriorityHigh)})
	w.must(err)
	tier("Hot")
	w.same("content", w.content(c.blob("b")), data)
}

// blockTiers goes through the tiers that a block blob may have.
func blockTiers(w *wire) {
	c := w.container()
	b := c.blob("b")
	shown := func(b ref, tier, inferred string) {
		w.Helper()
		changed := "*"
		if inferred == "true" {
			inferred, changed = "true", "-"
		}
		want := []string{"x-ms-access-tier", tier, "x-ms-access-tier-inferred", inferred, "x-ms-access-tier-change-time", changed}
		w.headers(w.head(b, "").ok(200), want...)
		w.headers(w.get(b, "").ok(200), want...)
	}
	w.putBlob(b, fill(341, page)).ok(201)
	shown(b, "Hot", "true")
	before := w.stamp(b)
	for _, tier := range []string{"Cool", "Cold", "Hot", "Hot"} {
		w.exactly(w.tierOf(b, tier).ok(200))
		shown(b, tier, "-")
	}
	w.unstamped("a tier", before, b)
	w.tierOf(b, "cOOL").h("x-ms-rehydrate-priority", "Standard").ok(200) // nothing is to be brought back
	shown(b, "Cool", "-")
	w.put(b, "comp=tier").hs("x-ms-access-tier", "Hot", "x-ms-if-tags", "a='b'").fails("ConditionNotMet")
	for _, tier := range []string{"P10", "Smart", "Premium"} {
		w.tierOf(b, tier).fails("InvalidBlobTier")
		w.putBlob(b, nil).h("x-ms-access-tier", tier).fails("InvalidBlobTier")
	}
	w.tierOf(b, "Lukewarm").fails("InvalidHeaderValue", "HeaderName", "x-ms-access-tier", "HeaderValue", "Lukewarm")
	w.tierOf(b, "Hot").h("x-ms-rehydrate-priority", "Soon").fails("InvalidHeaderValue", "HeaderName", "x-ms-rehydrate-priority")

	w.commitBlocks(b).ok(201) // a list over a blob with a tier: it stays
	shown(b, "Cool", "-")
	w.commitBlocks(b).h("x-ms-access-tier", "Cold").ok(201)
	shown(b, "Cold", "-")
	w.putBlob(b, nil).ok(201)
	shown(b, "Hot", "true")
	w.copy(c.blob("copy"), b, "").h("x-ms-access-tier", "Cool").ok(202)
	shown(c.blob("copy"), "Cool", "-")
	w.copy(b, c.blob("copy"), "").ok(202)
	shown(b, "Hot", "true")
	w.syncCopy(b, c.blob("copy")).h("x-ms-access-tier", "Cold").ok(202)
	shown(b, "Cold", "-")
	w.blobFrom(b, c.blob("copy")).h("x-ms-access-tier", "Cool").ok(201)
	shown(b, "Cool", "-")
	w.createAppend(c.blob("appended")).ok(201)
	w.headers(w.head(c.blob("appended"), "").ok(200), "x-ms-access-tier", "-")
	w.tierOf(c.blob("appended"), "Cool").fails("AccessTierNotSupportedForBlobType")
}

// blockArchive: what is archived can be told of, and deleted, and not read or changed.
func blockArchive(w *wire) {
	c := w.container()
	a, b := c.blob("a"), c.blob("b")
	data := fill(342, 2*page)
	w.putBlob(a, data).h("x-ms-meta-k", "v").ok(201)
	at := w.snapshot(a)
	w.exactly(w.tierOf(a, "Archive").ok(200))
	w.tierOf(a, "Archive").ok(200)
	r := w.head(a, "").ok(200)
	w.headers(r, "x-ms-access-tier", "Archive", "x-ms-access-tier-inferred", "-", "x-ms-access-tier-change-time", "*", "x-ms-archive-status", "-",
		"Content-Length", fmt.Sprint(len(data)), "x-ms-meta-k", "v")
	for _, not := range []*call{w.get(a, ""), w.get(a, "").h("x-ms-range", "bytes=0-9"), w.put(a, "comp=metadata"), w.put(a, "comp=properties"), w.put(a, "comp=snapshot"),
		w.putBlob(a, data), w.create(a, page), w.put(a, "comp=block&blockid=AAAA").b(data), w.commitBlocks(a), w.copy(b, a, ""), w.copy(a, a, ""),
		w.copy(b, a, "").h("x-ms-access-tier", "Archive")} {
		not.fails("BlobArchived")
	}
	w.blobFrom(b, a).unread(409, "BlobArchived")
	w.blockFrom(b, "AAAA", a, 0, 0).unread(409, "BlobArchived")
	w.syncCopy(b, a).unread(409, "BlobArchived")
	w.putBlob(a, data).h("If-None-Match", "*").fails("BlobAlreadyExists")
	w.get(a, "comp=metadata").ok(200)
	w.setTags(a, "a", "b").ok(204)
	w.same("the snapshot, which has a tier of its own", w.get(a, "snapshot="+at).ok(200).body, data)
	w.copy(b, a, "").h("x-ms-access-tier", "Cool").h("x-ms-rehydrate-priority", "High").ok(202)
	w.same("the copy in another tier", w.content(b), data)

	before := w.stamp(a)
	w.exactly(w.tierOf(a, "Cool").h("x-ms-rehydrate-priority", "High").ok(202))
	w.unstamped("coming back", before, a)
	w.headers(w.head(a, "").ok(200), "x-ms-access-tier", "Cool", "x-ms-archive-status", "-", "x-ms-rehydrate-priority", "-")
	w.same("content", w.content(a), data)
	w.putBlob(b, data).h("x-ms-access-tier", "Archive").ok(201)
	w.get(b, "").fails("BlobArchived")
	w.delete(b, "").ok(202)
}

// blockTierless: there are no tiers for block blobs in premium accounts.
func blockTierless(w *wire) {
	b := w.container().blob("b")
	w.putBlob(b, nil).ok(201)
	w.headers(w.head(b, "").ok(200), "x-ms-access-tier", "-", "x-ms-access-tier-inferred", "-")
	for _, tier := range []string{"Hot", "Archive", "P10"} {
		w.tierOf(b, tier).fails("BlobAccessTierNotSupportedForAccountType")
		w.putBlob(b, nil).h("x-ms-access-tier", tier).fails("BlobAccessTierNotSupportedForAccountType")
	}
}
