package conform

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"pagevault/internal/azure/op"
)

// How long the policies of these tests last: those that are taken away, and those whose end is waited for.
const (
	policyTime = time.Hour
	lockedTime = 20 * time.Second
)

// immutableContainer creates the container with immutable storage. When the test ends it goes with all that is in it: no
// policy that is locked may be left then.
func (w *wire) immutableContainer() ref {
	w.Helper()
	c := ref("/" + w.env.Immutable)
	w.put(c, "restype=container").ok(201)
	w.Cleanup(func() {
		list := w.list(c, "&include=snapshots")
		for _, n := range list.child("Blobs").children {
			query := ""
			if at := n.value("Snapshot"); at != "" {
				query = "&snapshot=" + at
			}
			b := c.blob(listedName(n))
			w.put(b, "comp=legalhold"+query).h("x-ms-legal-hold", "false").ok(200)
			w.delete(b, "comp=immutabilityPolicies"+query).send() // a locked one is over by now
		}
		for _, name := range listedNames(list) {
			if r := w.delete(c.blob(name), "").h("x-ms-delete-snapshots", "include").send(); r.status == 412 {
				w.put(c.blob(name), "comp=lease").hs("x-ms-lease-action", "break", "x-ms-lease-break-period", "0").ok(202)
				w.delete(c.blob(name), "").h("x-ms-delete-snapshots", "include").ok(202)
			}
		}
		w.remove(c)
	})
	return c
}

// immutable runs a part that needs a container with immutable storage, if there is one.
func (w *wire) immutable(name string, f func(w *wire)) {
	w.Helper()
	if w.env.Immutable == "" {
		w.env.out = append(w.env.out, name)
		return
	}
	w.part(name, f)
}

// immutableAfter is immutable for a part that needs d to pass.
func (w *wire) immutableAfter(d time.Duration, name string, f func(w *wire)) {
	w.Helper()
	if w.env.Immutable == "" {
		w.env.out = append(w.env.out, name)
		return
	}
	w.partAfter(d, name, f)
}

// in is an HTTP date that far ahead of the server's now.
func (w *wire) in(d time.Duration) string { return w.ago(-d) }

// policy sets an immutability policy; mode "" leaves it to the server.
func (w *wire) policy(b ref, query, mode string, d time.Duration) *call {
	c := w.put(b, "comp=immutabilityPolicies"+query).h("x-ms-immutability-policy-until-date", w.in(d))
	if mode != "" {
		c.h("x-ms-immutability-policy-mode", mode)
	}
	return c
}

// hold sets or ends a legal hold.
func (w *wire) hold(b ref, query, value string) *call {
	return w.put(b, "comp=legalhold"+query).h("x-ms-legal-hold", value)
}

func setImmutabilityPolicy(t T, env *Env) {
	w := env.wire(t)
	w.part("without immutable storage", withoutImmutable)
	w.immutable("through the SDK", policySDK)
	w.immutable("the reply", policyReply)
	w.immutable("malformed", policyMalformed)
	w.immutable("made with it", policyMade)
	w.immutable("what a token permits", policyTokens)
	w.immutable("every operation, unlocked", func(w *wire) {
		everyOperation(w, func(b ref) { w.policy(b, "", "Unlocked", policyTime).ok(200) })
	})
	w.immutableAfter(lockedTime, "every operation, locked", func(w *wire) {
		everyOperation(w, func(b ref) { w.policy(b, "", "Locked", lockedTime).ok(200) })
		w.env.pass(lockedTime)
	})
	w.immutableAfter(2*lockedTime, "locked", policyLocked)
	w.immutableAfter(lockedTime, "over", policyOver)
}

// withoutImmutable: in a container without immutable storage nothing is protected, and nothing seems to be.
func withoutImmutable(w *wire) {
	b := w.pageBlob(page)
	w.policy(b, "", "Unlocked", policyTime).fails("BlobOperationNotSupported")
	w.delete(b, "comp=immutabilityPolicies").fails("BlobOperationNotSupported")
	w.hold(b, "", "true").fails("BlobOperationNotSupported")
	c := b.container().blob("new")
	w.create(c, page).h("x-ms-legal-hold", "true").fails("BlobOperationNotSupported")
	w.create(c, page).h("x-ms-immutability-policy-until-date", w.in(policyTime)).fails("BlobOperationNotSupported")
	w.copy(c, b, "").h("x-ms-legal-hold", "true").fails("BlobOperationNotSupported")
	w.create(c, page).h("x-ms-legal-hold", "false").ok(201)
	w.headers(w.head(c, "").ok(200), "x-ms-legal-hold", "-", "x-ms-immutability-policy-mode", "-")
	w.headers(w.head(b.container(), "restype=container").ok(200), "x-ms-immutable-storage-with-versioning-enabled", "false")
}

func policySDK(w *wire) {
	c := w.immutableContainer()
	client := w.sdkPageBlob(c, "b")
	_, err := client.Create(ctx, 2*page, nil)
	w.must(err)
	until := w.env.Clock.Now().UTC().Truncate(time.Second).Add(policyTime)
	set, err := client.SetImmutabilityPolicy(ctx, until, &blob.SetImmutabilityPolicyOptions{Mode: to.Ptr(blob.ImmutabilityPolicySettingUnlocked)})
	w.must(err)
	if !val(set.ImmutabilityPolicyExpiry).Equal(until) || val(set.ImmutabilityPolicyMode) != blob.ImmutabilityPolicyModeUnlocked {
		w.Errorf("set %+v", set)
	}
	p, err := client.GetProperties(ctx, nil)
	w.must(err)
	if !val(p.ImmutabilityPolicyExpiresOn).Equal(until) || val(p.ImmutabilityPolicyMode) != blob.ImmutabilityPolicyModeUnlocked {
		w.Errorf("properties %+v", p)
	}
	pager := w.sdkContainer(c).NewListBlobsFlatPager(&container.ListBlobsFlatOptions{Include: container.ListBlobsInclude{ImmutabilityPolicy: true}})
	list, err := pager.NextPage(ctx)
	w.must(err)
	listed := list.Segment.BlobItems[0].Properties
	if !val(listed.ImmutabilityPolicyExpiresOn).Equal(until) || val(listed.ImmutabilityPolicyMode) != container.ImmutabilityPolicyModeUnlocked {
		w.Errorf("listed %+v", listed)
	}
	_, err = client.Delete(ctx, nil)
	w.mustFail(err, "BlobImmutableDueToPolicy")
	_, err = client.Create(ctx, page, nil)
	w.mustFail(err, "BlobImmutableDueToPolicy")
	_, err = client.Resize(ctx, page, nil)
	w.mustFail(err, "BlobImmutableDueToPolicy")
	_, err = client.SetMetadata(ctx, nil, nil)
	w.mustFail(err, "BlobImmutableDueToPolicy")
	_, err = w.sdkContainer(c).Delete(ctx, nil)
	w.mustFail(err, "ContainerImmutableStorageWithVersioningEnabled")
	props, err := w.sdkContainer(c).GetProperties(ctx, nil)
	w.must(err)
	if !val(props.IsImmutableStorageWithVersioningEnabled) || val(props.HasImmutabilityPolicy) || val(props.HasLegalHold) {
		w.Errorf("container %+v", props)
	}
	_, err = client.DeleteImmutabilityPolicy(ctx, nil)
	w.must(err)
	_, err = client.Delete(ctx, nil)
	w.must(err)
}

func policyReply(w *wire) {
	b := w.immutableContainer().blob("b")
	w.create(b, 2*page).ok(201)
	at := w.snapshot(b)
	before := w.stamp(b)
	w.headers(w.head(b, "").ok(200), "x-ms-immutability-policy-until-date", "-", "x-ms-immutability-policy-mode", "-", "x-ms-legal-hold", "-")
	until := w.in(policyTime)
	r := w.policy(b, "", "", policyTime).ok(200) // unlocked if nothing is said
	w.exactly(r, "x-ms-immutability-policy-until-date", "x-ms-immutability-policy-mode")
	shown := []string{"x-ms-immutability-policy-until-date", until, "x-ms-immutability-policy-mode", "unlocked"}
	w.headers(r, shown...)
	w.headers(w.head(b, "").ok(200), shown...)
	w.headers(w.get(b, "").ok(200), shown...)
	w.unstamped("a policy", before, b)
	w.policy(b, "", "UNLOCKED", policyTime/2).ok(200) // shorter, in any letter case
	w.headers(w.head(b, "").ok(200), "x-ms-immutability-policy-until-date", w.in(policyTime/2))

	// A snapshot is protected on its own.
	w.headers(w.head(b, "snapshot="+at).ok(200), "x-ms-immutability-policy-mode", "-")
	w.policy(b, "&snapshot="+at, "Unlocked", policyTime).ok(200)
	w.headers(w.head(b, "snapshot="+at).ok(200), shown...)
	w.delete(b, "comp=immutabilityPolicies").ok(200)
	w.delete(b, "snapshot="+at).fails("BlobImmutableDueToPolicy")
	w.delete(b, "").h("x-ms-delete-snapshots", "include").fails("BlobImmutableDueToPolicy")
	w.delete(b, "").h("x-ms-delete-snapshots", "only").fails("BlobImmutableDueToPolicy")
	w.headers(w.head(b, "snapshot="+w.snapshot(b)).ok(200), "x-ms-immutability-policy-mode", "-")

	list := w.list(b.container(), "&include=snapshots")
	if text := flat(list); strings.Contains(text, "ImmutabilityPolicy") {
		w.Errorf("nobody asked for policies: %s", text)
	}
	list = w.list(b.container(), "&include=snapshots,immutabilitypolicy")
	if text := flat(list); strings.Count(text, `(ImmutabilityPolicyUntilDate="`+until+`") (ImmutabilityPolicyMode="unlocked")`) != 1 {
		w.Errorf("one snapshot has a policy: %s", text)
	}
	containers := flat(w.xml(w.get("/", "comp=list").q("prefix", w.env.Immutable).ok(200)))
	if !strings.Contains(containers, `(ImmutableStorageWithVersioningEnabled="true")`) {
		w.Errorf("the list of containers: %s", containers)
	}
	w.policy(b.container().blob("none"), "", "", policyTime).fails("BlobNotFound")
	w.policy("/none-such/b", "", "", policyTime).fails("ContainerNotFound")
}

func policyMalformed(w *wire) {
	b := w.immutableContainer().blob("b")
	w.create(b, page).ok(201)
	const date, mode = "x-ms-immutability-policy-until-date", "x-ms-immutability-policy-mode"
	w.put(b, "comp=immutabilityPolicies").fails("MissingRequiredHeader", "HeaderName", date)
	w.put(b, "comp=immutabilityPolicies").h(mode, "Locked").fails("MissingRequiredHeader", "HeaderName", date)
	for _, v := range []string{"", "tomorrow", "2030-01-01T00:00:00Z"} {
		w.put(b, "comp=immutabilityPolicies").h(date, v).fails("InvalidHeaderValue", "HeaderName", date)
	}
	w.policy(b, "", "", -time.Second).fails("InvalidHeaderValue", "HeaderName", date)
	w.policy(b, "", "", 0).fails("InvalidHeaderValue", "HeaderName", date)
	far := w.env.Clock.Now().AddDate(500, 0, 0).UTC().Format(http.TimeFormat)
	w.put(b, "comp=immutabilityPolicies").h(date, far).fails("InvalidHeaderValue", "HeaderName", date)
	for _, v := range []string{"", "Mutable", "lock"} {
		w.policy(b, "", "", policyTime).h(mode, v).fails("InvalidHeaderValue", "HeaderName", mode)
		w.create(b.container().blob("c"), page).h(mode, v).fails("InvalidHeaderValue", "HeaderName", mode)
	}
	w.create(b.container().blob("c"), page).h(mode, "Locked").fails("MissingRequiredHeader", "HeaderName", date)
	w.create(b.container().blob("c"), page).h(date, "x").fails("InvalidHeaderValue", "HeaderName", date)
	w.create(b.container().blob("c"), page).h("x-ms-legal-hold", "maybe").fails("InvalidHeaderValue", "HeaderName", "x-ms-legal-hold")
	w.policy(b, "", "", policyTime).h("If-Unmodified-Since", w.ago(time.Hour)).fails("ConditionNotMet")
	w.policy(b, "", "", policyTime).h("If-Unmodified-Since", w.in(time.Hour)).ok(200)
	w.policy(b, "&snapshot=yesterday", "", policyTime).fails("InvalidQueryParameterValue")
}

// policyMade: a blob that is made protected, or copied so.
func policyMade(w *wire) {
	c := w.immutableContainer()
	a, b := c.blob("a"), c.blob("b")
	w.create(a, page).hs("x-ms-immutability-policy-until-date", w.in(policyTime), "x-ms-legal-hold", "true").ok(201)
	w.headers(w.head(a, "").ok(200), "x-ms-immutability-policy-until-date", w.in(policyTime), "x-ms-immutability-policy-mode", "unlocked", "x-ms-legal-hold", "true")
	w.update(a, 0, fill(300, page)).fails("BlobImmutableDueToPolicy")
	w.copy(b, a, "").hs("x-ms-immutability-policy-until-date", w.in(policyTime), "x-ms-immutability-policy-mode", "unlocked").ok(202)
	w.headers(w.head(b, "").ok(200), "x-ms-immutability-policy-mode", "unlocked", "x-ms-legal-hold", "-") // the source's hold is the source's
	w.delete(b, "").fails("BlobImmutableDueToPolicy")
	w.create(a, page).h("If-None-Match", "*").fails("BlobAlreadyExists") // as it would be without protection
}

// policyTokens: whoever makes a blob with a policy or a hold, or sets one, needs permission for that.
func policyTokens(w *wire) {
	c := w.immutableContainer()
	b := c.blob("b")
	with := func(letters string, c *call) *call { return c.by(w.service("c", letters)) }
	with("rcwdt", w.create(b, page).h("x-ms-legal-hold", "true")).fails("AuthorizationPermissionMismatch")
	with("rcwdt", w.create(b, page).h("x-ms-immutability-policy-until-date", w.in(policyTime))).fails("AuthorizationPermissionMismatch")
	with("ci", w.create(b, page).h("x-ms-immutability-policy-until-date", w.in(policyTime))).ok(201)
	with("rcwdt", w.policy(b, "", "", policyTime)).fails("AuthorizationPermissionMismatch")
	with("rcwdt", w.delete(b, "comp=immutabilityPolicies")).fails("AuthorizationPermissionMismatch")
	with("rcwdt", w.hold(b, "", "true")).fails("AuthorizationPermissionMismatch")
	with("i", w.hold(b, "", "true")).ok(200)
	with("i", w.policy(b, "", "", policyTime)).ok(200)
	with("i", w.delete(b, "comp=immutabilityPolicies")).ok(200)
	with("d", w.delete(b, "")).fails("BlobImmutableDueToPolicy")
}

// policyLocked: nobody makes a locked policy weaker, and its time passes.
func policyLocked(w *wire) {
	b := w.immutableContainer().blob("b")
	w.create(b, page).ok(201)
	w.policy(b, "", "Locked", lockedTime).ok(200)
	w.headers(w.head(b, "").ok(200), "x-ms-immutability-policy-mode", "locked")
	w.policy(b, "", "Locked", lockedTime-time.Second).fails("BlobImmutableDueToPolicy")
	w.policy(b, "", "Unlocked", 2*lockedTime).fails("BlobImmutableDueToPolicy")
	w.policy(b, "", "", 2*lockedTime).fails("BlobImmutableDueToPolicy")
	w.delete(b, "comp=immutabilityPolicies").fails("ImmutabilityPolicyDeleteOnLockedPolicy")
	w.policy(b, "", "Locked", 2*lockedTime).ok(200)
	w.env.pass(lockedTime)
	w.delete(b, "").fails("BlobImmutableDueToPolicy")
	w.env.pass(lockedTime)
	w.delete(b, "comp=immutabilityPolicies").fails("ImmutabilityPolicyDeleteOnLockedPolicy")
	w.delete(b, "").ok(202)
}

// policyOver: a blob whose policy is over may go, or be replaced, and not be changed.
func policyOver(w *wire) {
	b := w.immutableContainer().blob("b")
	w.create(b, page).ok(201)
	w.policy(b, "", "Unlocked", lockedTime).ok(200)
	w.env.pass(lockedTime)
	w.headers(w.head(b, "").ok(200), "x-ms-immutability-policy-mode", "unlocked")
	w.update(b, 0, fill(301, page)).fails("BlobImmutableDueToPolicy")
	w.put(b, "comp=metadata").fails("BlobImmutableDueToPolicy")
	w.create(b, page).ok(201)
	w.headers(w.head(b, "").ok(200), "x-ms-immutability-policy-mode", "-")
	w.update(b, 0, fill(301, page)).ok(201)
}

func deleteImmutabilityPolicy(t T, env *Env) {
	w := env.wire(t)
	w.immutable("the reply", func(w *wire) {
		b := w.immutableContainer().blob("b")
		w.create(b, page).ok(201)
		before := w.stamp(b)
		w.policy(b, "", "Unlocked", policyTime).ok(200)
		w.delete(b, "").fails("BlobImmutableDueToPolicy")
		w.exactly(w.delete(b, "comp=immutabilityPolicies").ok(200))
		w.headers(w.head(b, "").ok(200), "x-ms-immutability-policy-until-date", "-", "x-ms-immutability-policy-mode", "-")
		w.unstamped("no policy", before, b)
		w.exactly(w.delete(b, "comp=immutabilityPolicies").ok(200)) // there is none any more
		w.update(b, 0, fill(302, page)).ok(201)
		w.delete(b.container().blob("none"), "comp=immutabilityPolicies").fails("BlobNotFound")
		w.delete(b, "comp=immutabilityPolicies&snapshot="+"2020-01-01T00%3A00%3A00.0000000Z").fails("BlobNotFound")
	})
}

func setLegalHold(t T, env *Env) {
	w := env.wire(t)
	w.immutable("through the SDK", func(w *wire) {
		c := w.immutableContainer()
		client := w.sdkPageBlob(c, "b")
		_, err := client.Create(ctx, page, nil)
		w.must(err)
		set, err := client.SetLegalHold(ctx, true, nil)
		w.must(err)
		p, err := client.GetProperties(ctx, nil)
		w.must(err)
		pager := w.sdkContainer(c).NewListBlobsFlatPager(&container.ListBlobsFlatOptions{Include: container.ListBlobsInclude{LegalHold: true}})
		list, err := pager.NextPage(ctx)
		w.must(err)
		if !val(set.LegalHold) || !val(p.LegalHold) || !val(list.Segment.BlobItems[0].Properties.LegalHold) {
			w.Errorf("set %v, shown %v, listed %v", set.LegalHold, p.LegalHold, list.Segment.BlobItems[0].Properties.LegalHold)
		}
		_, err = client.Delete(ctx, nil)
		w.mustFail(err, "BlobImmutableDueToPolicy")
		set, err = client.SetLegalHold(ctx, false, nil)
		w.must(err)
		if val(set.LegalHold) {
			w.Errorf("ended %+v", set)
		}
		_, err = client.Delete(ctx, nil)
		w.must(err)
	})
	w.immutable("the reply", func(w *wire) {
		b := w.immutableContainer().blob("b")
		w.create(b, page).ok(201)
		before := w.stamp(b)
		at := w.snapshot(b)
		r := w.hold(b, "", "TRUE").ok(200)
		w.exactly(r, "x-ms-legal-hold")
		w.headers(r, "x-ms-legal-hold", "true")
		w.headers(w.get(b, "").ok(200), "x-ms-legal-hold", "true")
		w.unstamped("a hold", before, b)
		w.headers(w.head(b, "snapshot="+at).ok(200), "x-ms-legal-hold", "-")
		w.hold(b, "&snapshot="+at, "true").ok(200)
		w.headers(w.head(b, "snapshot="+at).ok(200), "x-ms-legal-hold", "true")
		w.headers(w.hold(b, "", "false").ok(200), "x-ms-legal-hold", "false")
		w.delete(b, "").h("x-ms-delete-snapshots", "include").fails("BlobImmutableDueToPolicy")
		w.put(b, "comp=legalhold").fails("MissingRequiredHeader", "HeaderName", "x-ms-legal-hold")
		w.hold(b, "", "yes").fails("InvalidHeaderValue", "HeaderName", "x-ms-legal-hold")
		w.hold(b.container().blob("none"), "", "true").fails("BlobNotFound")
	})
	w.immutable("every operation", func(w *wire) {
		everyOperation(w, func(b ref) { w.hold(b, "", "true").ok(200) })
	})
}

// What an operation does when the blob that it is for is protected.
const (
	isRefused = "BlobImmutableDueToPolicy"
	isAllowed = "" // it leaves content and metadata alone
	elsewhere = "-"
)

// onProtected says it for every operation that changes anything: an error code, or one of the above.
var onProtected = map[op.ID]string{
	op.SetServiceProperties: elsewhere, op.CreateContainer: elsewhere, op.GetUserDelegationKey: elsewhere,
	op.SetContainerMetadata: isAllowed, op.SetContainerACL: isAllowed, op.LeaseContainer: isAllowed,
	op.DeleteContainer: "ContainerImmutableStorageWithVersioningEnabled",
	op.ServiceBatch:    isRefused, op.ContainerBatch: isRefused,
	op.PutPageBlob: isRefused, op.CopyBlob: isRefused, op.DeleteBlob: isRefused,
	op.SetBlobProperties: isRefused, op.SetBlobMetadata: isRefused,
	op.PutPage: isRefused, op.ClearPages: isRefused, op.PutPageFromURL: isRefused,
	op.SnapshotBlob: isAllowed, op.SetBlobTags: isAllowed, op.LeaseBlob: isAllowed,
	op.SetBlobTier:           "AccessTierNotSupportedForBlobType",
	op.AbortCopyBlob:         "NoPendingCopyOperation",
	op.IncrementalCopyBlob:   "IncrementalCopyBlobMismatch",
	op.SetImmutabilityPolicy: isAllowed, op.DeleteImmutabilityPolicy: isAllowed, op.SetLegalHold: isAllowed,
	op.RestoreContainer: elsewhere,
	op.UndeleteBlob:     isAllowed,
	op.PutBlockBlob:     isRefused, op.PutAppendBlob: isRefused,
	op.PutBlock: elsewhere, op.PutBlockList: elsewhere, // see protectedBlocks
	op.AppendBlock: elsewhere, op.SealAppendBlob: elsewhere,
	op.PutBlobFromURL: isRefused, op.CopyBlobFromURL: "InvalidBlobType", // it is a page blob
	op.PutBlockFromURL: elsewhere, op.AppendBlockFromURL: elsewhere,
}

// everyOperation tries every operation that changes anything on a protected blob, from a request of the key's holder. One
// that is not in onProtected fails the test: whoever adds it has to say what it does.
func everyOperation(w *wire, protect func(b ref)) {
	c := w.immutableContainer()
	b, other := c.blob("b"), c.blob("other")
	w.create(b, 2*page).h("x-ms-meta-a", "0").ok(201)
	w.create(other, 2*page).ok(201)
	data := fill(303, 2*page)
	w.update(b, 0, data).ok(201)
	at, of := w.snapshot(b), w.snapshot(other)
	protect(b)
	before := w.stamp(b)
	requests := doneRequests(w, b, at)
	requests[op.CopyBlob] = func() *call { return w.copy(b, other, "") }
	requests[op.IncrementalCopyBlob] = func() *call { return w.incremental(b, w.url(other)+"?snapshot="+of) }
	requests[op.PutPageFromURL] = func() *call { return w.pagesFrom(b, 0, page, other, 0, page) }
	requests[op.PutBlockBlob] = func() *call { return w.putBlob(b, []byte("content")) }
	requests[op.PutBlobFromURL] = func() *call { return w.blobFrom(b, other) }
	requests[op.CopyBlobFromURL] = func() *call { return w.syncCopy(b, other) }
	requests[op.PutAppendBlob] = func() *call { return w.createAppend(b) }
	requests[op.SetImmutabilityPolicy] = func() *call { return w.policy(other, "", "Unlocked", policyTime) }
	requests[op.DeleteImmutabilityPolicy] = func() *call { return w.delete(other, "comp=immutabilityPolicies") }
	for i := range op.Table {
		row := &op.Table[i]
		if row.State == op.Refused || !slices.ContainsFunc(row.Methods, func(m string) bool { return m != "GET" && m != "HEAD" && m != "OPTIONS" }) {
			continue
		}
		want, said := onProtected[row.ID]
		if !said {
			w.Errorf("nobody has said what %s does to a protected blob: see onProtected", row.Name)
			continue
		}
		switch request := requests[row.ID]; {
		case want == elsewhere:
		case row.ID == op.ServiceBatch:
			w.equal(row.Name, w.parts(w.batch("/", w.delete(b, ""))), "0 409 Conflict "+isRefused)
		case row.ID == op.ContainerBatch:
			w.equal(row.Name, w.parts(w.batch(c, w.delete(b, ""))), "0 409 Conflict "+isRefused)
		case want != isAllowed:
			request().fails(want)
		default:
			if r := request().send(); r.status/100 != 2 {
				w.Errorf("%s is refused:\n%v", row.Name, r)
			}
			if row.ID == op.LeaseBlob {
				w.lease(b, "release").h("x-ms-lease-id", leaseA).ok(200)
			}
		}
	}
	w.unstamped("all of it", before, b)
	w.same("content", w.content(b), data)
	w.headers(w.head(b, "").ok(200), "x-ms-meta-a", "0")
}
