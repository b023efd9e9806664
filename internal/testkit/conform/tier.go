package conform

import (
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/pageblob"
)

const gib = 1 << 30

// tierOf is Set Blob Tier.
func (w *wire) tierOf(b ref, tier string) *call {
	return w.put(b, "comp=tier").h("x-ms-access-tier", tier)
}

// premium runs a part on the premium account, if there is one. What is provoked there counts.
func (w *wire) premium(name string, f func(w *wire)) {
	w.Helper()
	e := w.env
	if e.Premium == "" {
		e.out = append(e.out, name)
		return
	}
	w.part(name, func(w *wire) {
		other := &Env{URL: e.URL, Account: e.Premium, Key: e.Key, SecondKey: e.SecondKey, Clock: e.Clock, Advance: e.Advance, NoWait: e.NoWait, Seed: e.Seed + 2}
		defer other.Close()
		defer func() { e.ledger.add(&other.ledger) }()
		other.wire(w.T).part("premium", f)
	})
}

func setBlobTier(t T, env *Env) {
	w := env.wire(t)
	w.part("in a standard account", func(w *wire) {
		b := w.pageBlob(page)
		for _, tier := range []string{"P10", "Hot", "archive"} {
			w.tierOf(b, tier).fails("AccessTierNotSupportedForBlobType")
			w.create(b.container().blob("c"), page).h("x-ms-access-tier", tier).fails("AccessTierNotSupportedForBlobType")
			w.copy(b.container().blob("c"), b, "").h("x-ms-access-tier", tier).fails("AccessTierNotSupportedForBlobType")
		}
		w.tierOf(b, "Lukewarm").fails("InvalidHeaderValue", "HeaderName", "x-ms-access-tier", "HeaderValue", "Lukewarm")
		w.put(b, "comp=tier").fails("MissingRequiredHeader", "HeaderName", "x-ms-access-tier")
		w.tierOf(b.container().blob("none"), "P10").fails("BlobNotFound")
		w.headers(w.head(b, "").ok(200), "x-ms-access-tier", "-", "x-ms-access-tier-inferred", "-")
	})
	w.part("block blobs, through the SDK", blockTierSDK)
	w.part("block blobs", blockTiers)
	w.part("the archive", blockArchive)
	w.premium("block blobs there", blockTierless)
	w.premium("through the SDK", tierSDK)
	w.premium("which tier", tierShown)
	w.premium("only up", tierChanges)
	w.premium("sizes", tierSizes)
}

func tierSDK(w *wire) {
	c := w.container()
	client := w.sdkPageBlob(c, "b")
	_, err := client.Create(ctx, page, &pageblob.CreateOptions{Tier: to.Ptr(pageblob.PremiumPageBlobAccessTierP6)})
	w.must(err)
	tier := func() string {
		w.Helper()
		p, err := client.GetProperties(ctx, nil)
		w.must(err)
		return val(p.AccessTier)
	}
	w.equal("tier", tier(), "P6")
	_, err = client.SetTier(ctx, blob.AccessTierP10, nil)
	w.must(err)
	w.equal("tier", tier(), "P10")
	_, err = client.SetTier(ctx, blob.AccessTierP4, nil)
	w.mustFail(err, "CannotChangeToLowerTier")
	_, err = client.SetTier(ctx, blob.AccessTierHot, nil)
	w.mustFail(err, "InvalidBlobTier")
	pager := w.sdkContainer(c).NewListBlobsFlatPager(nil)
	list, err := pager.NextPage(ctx)
	w.must(err)
	p := list.Segment.BlobItems[0].Properties
	if val(p.AccessTier) != "P10" || p.AccessTierInferred != nil || p.AccessTierChangeTime == nil {
		w.Errorf("listed %+v", p)
	}
	batch, err := w.sdk().NewBatchBuilder()
	w.must(err)
	w.must(batch.SetTier(string(c[1:]), "b", blob.AccessTierP20, nil))
	done, err := w.sdk().SubmitBatch(ctx, batch, nil)
	w.must(err)
	if len(done.Responses) != 1 || done.Responses[0].Error != nil {
		w.Errorf("batch %+v", done.Responses)
	}
	w.equal("tier", tier(), "P20")
	info, err := w.sdk().GetAccountInfo(ctx, nil)
	w.must(err)
	if val(info.SKUName) != "Premium_LRS" || val(info.AccountKind) != "StorageV2" {
		w.Errorf("account %+v", info)
	}
}

func tierShown(w *wire) {
	b := w.pageBlob(100 * gib)
	inferred := []string{"x-ms-access-tier", "P10", "x-ms-access-tier-inferred", "true", "x-ms-access-tier-change-time", "-"}
	w.headers(w.head(b, "").ok(200), inferred...)
	w.headers(w.get(b, "").h("x-ms-range", "bytes=0-511").ok(206), inferred...)
	none := []string{"x-ms-access-tier", "-", "x-ms-access-tier-inferred", "-", "x-ms-access-tier-change-time", "-"}
	old := func(c *call) *call { return c.leave("x-ms-version").h("x-ms-version", "2026-06-06") }
	w.headers(old(w.get(b, "")).h("x-ms-range", "bytes=0-511").ok(206), none...) // told since 2026-10-06
	w.headers(old(w.head(b, "")).ok(200), inferred...)
	w.resize(b, 200*gib).ok(200)
	w.headers(w.head(b, "").ok(200), "x-ms-access-tier", "P15", "x-ms-access-tier-inferred", "true")

	before := w.stamp(b)
	w.exactly(w.tierOf(b, "p20").ok(200))
	given := []string{"x-ms-access-tier", "P20", "x-ms-access-tier-inferred", "-", "x-ms-access-tier-change-time", "*"}
	w.headers(w.head(b, "").ok(200), given...)
	w.headers(w.get(b, "").h("x-ms-range", "bytes=0-511").ok(206), given...)
	w.unstamped("a tier", before, b)
	w.headers(w.head(b, "snapshot="+w.snapshot(b)).ok(200), given...)
	w.put(b, "comp=tier&snapshot="+w.snapshot(b)).h("x-ms-access-tier", "P30").fails("InvalidQueryParameterValue")
	w.create(b, page).ok(201) // another blob
	w.headers(w.head(b, "").ok(200), "x-ms-access-tier", "P4", "x-ms-access-tier-inferred", "true")
	w.create(b, page).h("x-ms-access-tier", "P80").ok(201)
	w.headers(w.head(b, "").ok(200), "x-ms-access-tier", "P80", "x-ms-access-tier-inferred", "-")
}

func tierChanges(w *wire) {
	b := w.pageBlob(page)
	w.tierOf(b, "P4").ok(200)
	w.tierOf(b, "P30").ok(200)
	w.tierOf(b, "P30").ok(200)
	w.tierOf(b, "P20").fails("CannotChangeToLowerTier")
	for _, tier := range []string{"Hot", "Cool", "Cold", "Archive", "Smart", "Premium"} {
		w.tierOf(b, tier).fails("InvalidBlobTier")
		w.create(b.container().blob("c"), page).h("x-ms-access-tier", tier).fails("InvalidBlobTier")
	}
	for _, tier := range []string{"P5", "P", "P04", ""} {
		w.tierOf(b, tier).fails("InvalidHeaderValue", "HeaderName", "x-ms-access-tier")
	}
	w.setTags(b, "a", "1").ok(204)
	w.tierOf(b, "P40").h("x-ms-if-tags", "a='2'").fails("ConditionNotMet")
	w.tierOf(b, "P40").h("x-ms-if-tags", "a='1'").ok(200)
	w.acquire(b, leaseA, -1).ok(201)
	w.tierOf(b, "P50").fails("LeaseIdMissing")
	w.tierOf(b, "P50").h("x-ms-lease-id", leaseB).fails("LeaseIdMismatchWithBlobOperation")
	w.tierOf(b, "P50").h("x-ms-lease-id", leaseA).ok(200)
	w.tierOf(b.container().blob("none"), "P10").fails("BlobNotFound")
}

func tierSizes(w *wire) {
	b := w.pageBlob(33 * gib)
	c := b.container().blob("c")
	w.tierOf(b, "P4").fails("BlobTierInadequateForContentLength")
	w.create(c, 33*gib).h("x-ms-access-tier", "P4").fails("ContentLengthLargerThanTierLimit")
	w.copy(c, b, "").h("x-ms-access-tier", "P4").fails("BlobTierInadequateForContentLength")
	w.copy(c, b, "").h("x-ms-access-tier", "P15").ok(202)
	w.headers(w.head(c, "").ok(200), "x-ms-access-tier", "P15", "x-ms-access-tier-inferred", "-")
	w.resize(c, 257*gib).fails("ContentLengthLargerThanTierLimit")
	w.resize(c, 256*gib).ok(200)
	w.resize(b, 257*gib).ok(200) // what is inferred grows along
	w.headers(w.head(b, "").ok(200), "x-ms-access-tier", "P20", "x-ms-access-tier-inferred", "true")
}
