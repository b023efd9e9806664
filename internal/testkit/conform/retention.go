package conform

import (
	"fmt"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/service"
)

// day is what retention is counted in.
const day = 24 * time.Hour

// retention has the account keep what is deleted for so many days, until the test ends.
func (w *wire) retention(days int, permanent bool) {
	w.Helper()
	w.setProperties(propertiesOf(fmt.Sprintf("<DeleteRetentionPolicy><Enabled>true</Enabled><Days>%d</Days>"+
		"<AllowPermanentDelete>%v</AllowPermanentDelete></DeleteRetentionPolicy>", days, permanent))).ok(202)
	w.Cleanup(w.noRetention)
}

func (w *wire) noRetention() {
	w.setProperties(propertiesOf("<DeleteRetentionPolicy><Enabled>false</Enabled></DeleteRetentionPolicy>")).ok(202)
}

// setRetentionProperties is the part of Set Blob Service Properties that soft delete is switched on with.
func setRetentionProperties(w *wire) {
	for _, days := range []int32{1, 365} {
		_, err := w.sdk().SetProperties(ctx, &service.SetPropertiesOptions{DeleteRetentionPolicy: &service.RetentionPolicy{
			Enabled: to.Ptr(true), Days: to.Ptr(days), AllowPermanentDelete: to.Ptr(days == 1)}})
		w.must(err)
		w.Cleanup(w.noRetention)
		got, err := w.sdk().GetProperties(ctx, nil)
		w.must(err)
		p := got.DeleteRetentionPolicy
		if !val(p.Enabled) || val(p.Days) != days || val(p.AllowPermanentDelete) != (days == 1) {
			w.Errorf("%d days: enabled %v, %d days, permanent %v", days, val(p.Enabled), val(p.Days), val(p.AllowPermanentDelete))
		}
	}
}

// undelete is Undelete Blob.
func (w *wire) undelete(b ref) *call { return w.put(b, "comp=undelete") }

// restore is Restore Container.
func (w *wire) restore(c ref, version string) *call {
	return w.put(c, "restype=container&comp=undelete").
		hs("x-ms-deleted-container-name", string(c[1:]), "x-ms-deleted-container-version", version)
}

func undeleteBlob(t T, env *Env) {
	w := env.wire(t)
	w.part("through the SDK", undeleteSDK)
	w.part("the blob", undeleteOne)
	w.part("snapshots", undeleteSnapshots)
	w.part("overwritten", undeleteOverwritten)
	w.part("deleted permanently", deletedPermanently)
	w.part("in a batch", func(w *wire) {
		w.retention(2, false)
		b := w.pageBlob(page)
		if parts := w.parts(w.batch("/", w.delete(b, ""))); !strings.Contains(parts, "202") {
			w.Errorf("batch: %s", parts)
		}
		w.get(b, "").fails("BlobNotFound")
		w.undelete(b).ok(200)
		w.head(b, "").ok(200)
	})
	w.part("tokens", func(w *wire) {
		w.retention(2, true)
		b := w.pageBlob(page)
		at := w.snapshot(b)
		w.delete(b, "snapshot="+at).by(w.account("o", "d")).ok(202)
		w.undelete(b).by(w.account("o", "d")).fails("AuthorizationPermissionMismatch")
		w.undelete(b).by(w.account("o", "w")).ok(200)
		w.delete(b, "snapshot="+at).by(w.account("o", "d")).ok(202)
		w.delete(b, "deletetype=permanent&snapshot="+at).by(w.account("o", "dwx")).fails("AuthorizationPermissionMismatch")
		w.delete(b, "deletetype=permanent&snapshot="+at).by(w.account("o", "y")).ok(202)
		w.undelete(b).ok(200)
		w.get(b, "snapshot="+at).fails("BlobNotFound")
	})
	w.undelete("/none-such/blob").fails("ContainerNotFound")
	w.undelete(w.container().blob("none")).fails("BlobNotFound")
}

// retention lets days go by. It stands at the end of the list: the parts of the SDK's batches are dated by the machine's
// clock.
func retention(t T, env *Env) {
	if env.Advance == nil {
		return // nobody waits for days
	}
	w := env.wire(t)
	w.partAfter(4*day, "of blobs", func(w *wire) {
		w.retention(4, false)
		b := w.pageBlob(page)
		other := b.container().blob("other")
		w.create(other, page).ok(201)
		w.delete(b, "").ok(202)
		w.delete(other, "").ok(202)
		w.retention(1, false) // what is deleted already stays as long as was said then
		w.env.pass(3*day + time.Hour)
		w.undelete(other).ok(200)
		w.env.pass(day)
		w.undelete(b).fails("BlobNotFound")
		w.equal("listed", strings.Join(listedNames(w.list(b.container(), "&include=deleted,snapshots")), " "), "other")
	})
	if env.ContainerDays == 0 {
		return
	}
	w.partAfter(time.Duration(env.ContainerDays)*day, "of containers", func(w *wire) {
		c := w.container()
		w.create(c.blob("blob"), page).ok(201)
		w.delete(c, "restype=container").ok(202)
		versions, _ := w.removedVersions(c)
		w.env.pass(time.Duration(env.ContainerDays) * day)
		w.restore(c, versions[0]).fails("ContainerNotFound")
		if left, _ := w.removedVersions(c); len(left) > 0 {
			w.Errorf("listed still: %v", left)
		}
	})
}

func undeleteSDK(w *wire) {
	b := w.pageBlob(2 * page)
	_, err := w.sdk().SetProperties(ctx, &service.SetPropertiesOptions{DeleteRetentionPolicy: &service.RetentionPolicy{
		Enabled: to.Ptr(true), Days: to.Ptr[int32](7), AllowPermanentDelete: to.Ptr(true)}})
	w.must(err)
	w.Cleanup(w.noRetention)
	client := w.sdkPageBlob(b, "blob")
	snap, err := client.CreateSnapshot(ctx, nil)
	w.must(err)
	_, err = client.Delete(ctx, nil)
	w.mustFail(err, "SnapshotsPresent")
	_, err = client.Delete(ctx, &blob.DeleteOptions{DeleteSnapshots: to.Ptr(blob.DeleteSnapshotsOptionTypeInclude)})
	w.must(err)
	_, err = client.GetProperties(ctx, nil)
	if err == nil {
		w.Errorf("a deleted blob has properties")
	}
	list := func(include container.ListBlobsInclude) (items []*container.BlobItem) {
		pager := w.sdkContainer(b).NewListBlobsFlatPager(&container.ListBlobsFlatOptions{Include: include, MaxResults: to.Ptr[int32](1)})
		for pager.More() {
			p, err := pager.NextPage(ctx)
			w.must(err)
			items = append(items, p.Segment.BlobItems...)
		}
		return items
	}
	w.equal("live", fmt.Sprint(len(list(container.ListBlobsInclude{Snapshots: true}))), "0")
	w.equal("deleted blobs", fmt.Sprint(len(list(container.ListBlobsInclude{Deleted: true}))), "1")
	items := list(container.ListBlobsInclude{Deleted: true, Snapshots: true})
	if len(items) != 2 {
		w.Fatalf("%d items", len(items))
	}
	for i, item := range items {
		p := item.Properties
		if !val(item.Deleted) || p.DeletedTime == nil || val(p.RemainingRetentionDays) != 7 && val(p.RemainingRetentionDays) != 6 || p.LeaseState != nil {
			w.Errorf("item %d: deleted %v at %v, %d days left, lease %v", i, val(item.Deleted), p.DeletedTime, val(p.RemainingRetentionDays), p.LeaseState)
		}
	}
	_, err = client.Undelete(ctx, nil)
	w.must(err)
	items = list(container.ListBlobsInclude{Deleted: true, Snapshots: true})
	w.equal("restored", fmt.Sprint(len(items), val(items[0].Deleted), val(items[0].Snapshot)), fmt.Sprint(2, false, val(snap.Snapshot)))

	// As the SDK's own test of it goes.
	_, err = client.Delete(ctx, &blob.DeleteOptions{DeleteSnapshots: to.Ptr(blob.DeleteSnapshotsOptionTypeOnly)})
	w.must(err)
	w.equal("with the deleted snapshot", fmt.Sprint(len(list(container.ListBlobsInclude{Deleted: true, Snapshots: true}))), "2")
	old, err := client.WithSnapshot(val(snap.Snapshot))
	w.must(err)
	_, err = old.Delete(ctx, &blob.DeleteOptions{BlobDeleteType: to.Ptr(blob.DeleteTypePermanent)})
	w.must(err)
	w.equal("when it is gone for good", fmt.Sprint(len(list(container.ListBlobsInclude{Deleted: true, Snapshots: true}))), "1")
}

// undeleteOne deletes a blob and brings it back with all it had but its lease.
func undeleteOne(w *wire) {
	w.retention(7, false)
	b := w.pageBlob(4 * page)
	data := fill(31, 2*page)
	w.update(b, page, data).ok(201)
	w.put(b, "comp=metadata").h("x-ms-meta-Key", "value").ok(200)
	w.setTags(b, "color", "red").ok(204)
	before := w.stamp(b)
	created := w.head(b, "").ok(200).get("x-ms-creation-time")
	w.acquire(b, leaseA, -1).ok(201)
	w.delete(b, "").fails("LeaseIdMissing")
	r := w.delete(b, "").h("x-ms-lease-id", leaseA).ok(202)
	w.exactly(r, "x-ms-delete-type-permanent")
	w.headers(r, "x-ms-delete-type-permanent", "false")
	for _, c := range []*call{w.get(b, ""), w.get(b, "comp=metadata"), w.get(b, "comp=pagelist"), w.get(b, "comp=tags"), w.update(b, 0, fill(32, page)),
		w.put(b, "comp=metadata"), w.put(b, "comp=snapshot"), w.acquire(b, leaseA, 15), w.delete(b, "")} {
		c.fails("BlobNotFound")
	}
	root := w.list(b.container(), "&include=deleted")
	item := root.child("Blobs", "Blob")
	w.equal("children of a deleted blob", strings.TrimSuffix(item.names(), " OrMetadata"), "Name Deleted Properties")
	p := item.child("Properties")
	want := strings.Replace(listedBlobProperties, "LeaseStatus LeaseState ", "", 1) + " TagCount DeletedTime RemainingRetentionDays"
	w.equal("properties of a deleted blob", p.names(), want)
	if _, err := httpTime(p.value("DeletedTime")); err != nil {
		w.Errorf("DeletedTime: %v", err)
	}
	w.equal("unasked", strings.Join(listedNames(w.list(b.container(), "")), " "), "")
	w.equal("asked for snapshots only", strings.Join(listedNames(w.list(b.container(), "&include=snapshots")), " "), "")

	r = w.undelete(b).ok(200)
	w.exactly(r)
	w.same("the pages", w.content(b), append(append(make([]byte, page), data...), make([]byte, page)...))
	w.ranges(w.pageList(b), "512-1535")
	head := w.head(b, "").ok(200)
	w.headers(head, "x-ms-meta-Key", "value", "x-ms-lease-state", "available", "x-ms-creation-time", created, "x-ms-tag-count", "1")
	after := w.stamp(b)
	if after.etag <= before.etag {
		w.Errorf("ETag %s after %s", after.etag, before.etag)
	}
	w.undelete(b).ok(200) // nothing to do is a success
	w.unstamped("undelete of what is there", after, b)
}

// undeleteSnapshots: snapshots come back with their blob, or to one that is there.
func undeleteSnapshots(w *wire) {
	w.retention(7, false)
	b := w.pageBlob(page)
	w.update(b, 0, fill(33, page)).ok(201)
	first, second := w.snapshot(b), w.snapshot(b)
	w.update(b, 0, fill(34, page)).ok(201)
	r := w.delete(b, "snapshot="+first).ok(202)
	w.headers(r, "x-ms-delete-type-permanent", "false")
	w.get(b, "snapshot="+first).fails("BlobNotFound")
	w.get(b, "comp=pagelist&prevsnapshot="+first).fails("PreviousSnapshotNotFound")
	w.delete(b, "").fails("SnapshotsPresent")
	before := w.stamp(b)
	w.undelete(b).ok(200)
	w.unstamped("undelete of a snapshot", before, b)
	w.same("the snapshot", w.get(b, "snapshot="+first).ok(200).body, fill(33, page))

	w.delete(b, "snapshot="+first).ok(202)
	w.delete(b, "").h("x-ms-delete-snapshots", "only").ok(202)
	w.same("the base", w.content(b), fill(34, page))
	names := func(more string) string {
		return strings.Join(listedNames(w.list(b.container(), more)), " ")
	}
	w.equal("live", names("&include=snapshots"), "blob")
	w.equal("deleted", names("&include=snapshots,deleted"), "@blob @blob blob")
	w.equal("deleted blobs alone", names("&include=deleted"), "blob")
	w.delete(b, "").ok(202) // deleted snapshots are none
	w.undelete(b).ok(200)
	w.equal("all again", names("&include=snapshots"), "@blob @blob blob")
	w.same("the second", w.get(b, "snapshot="+second).ok(200).body, fill(33, page))
	w.ranges(w.pageList(b, "prevsnapshot", second), "0-511")
}

// undeleteOverwritten: what is overwritten becomes a deleted snapshot.
func undeleteOverwritten(w *wire) {
	w.retention(7, false)
	b := w.pageBlob(page)
	w.update(b, 0, fill(35, page)).ok(201)
	w.create(b, 2*page).ok(201)
	w.update(b, 0, fill(36, 2*page)).ok(201)
	w.delete(b, "").ok(202)
	w.create(b, page).h("If-None-Match", "*").ok(201) // nothing is there
	other := b.container().blob("other")
	w.create(other, page).ok(201)
	w.update(other, 0, fill(37, page)).ok(201)
	w.copy(b, other, "").ok(202)
	items := func(more string) []*node { return w.list(b.container(), more).child("Blobs").children }
	w.equal("live", fmt.Sprint(len(items("&include=snapshots"))), "2")
	w.same("the copy", w.content(b), fill(37, page))
	w.undelete(b).ok(200)
	found := items("&include=snapshots")
	w.equal("restored", fmt.Sprint(len(found)), "5")
	for i, want := range [][]byte{fill(35, page), fill(36, 2*page), make([]byte, page)} {
		w.same(fmt.Sprintf("snapshot %d", i), w.get(b, "snapshot="+found[i].value("Snapshot")).ok(200).body, want)
	}
	w.same("the blob", w.content(b), fill(37, page))
	w.update(b, 0, fill(38, page)).ok(201) // Put Page and the like keep nothing
	w.put(b, "comp=metadata").ok(200)      //
	w.equal("after writes", fmt.Sprint(len(items("&include=snapshots,deleted"))), "5")
}

func deletedPermanently(w *wire) {
	w.retention(7, false)
	b := w.pageBlob(page)
	at := w.snapshot(b)
	permanent := func(query string) *call { return w.delete(b, "deletetype=permanent"+query) }
	w.delete(b, "deletetype=soon&snapshot="+at).fails("InvalidQueryParameterValue", "QueryParameterName", "deletetype")
	permanent("").fails("PermanentDeleteNotPermitted")
	permanent("&snapshot=" + at).fails("BlobSnapshotNotSoftDeleted")
	w.delete(b, "snapshot="+at).ok(202)
	permanent("&snapshot=" + at).fails("PermanentDeleteNotPermitted") // it is not allowed
	w.retention(7, true)
	permanent("&snapshot=2020-01-01T00:00:00.0000000Z").fails("BlobNotFound")
	r := w.delete(b, "deletetype=Permanent&snapshot="+at).ok(202)
	w.headers(r, "x-ms-delete-type-permanent", "true")
	w.undelete(b).ok(200)
	w.get(b, "snapshot="+at).fails("BlobNotFound")
}

// removedVersions lists the versions of a name that are deleted, oldest first.
func (w *wire) removedVersions(c ref) (versions []string, items []*node) {
	w.Helper()
	root := w.xml(w.get("/", "comp=list&include=deleted,metadata&prefix="+string(c[1:])).ok(200))
	for _, n := range root.child("Containers").children {
		if n.value("Deleted") == "true" {
			versions, items = append(versions, n.value("Version")), append(items, n)
		}
	}
	return versions, items
}

func restoreContainer(t T, env *Env) {
	w := env.wire(t)
	w.part("errors", func(w *wire) {
		c := ref("/" + w.env.unique())
		w.restore(c, "0123456789ABCDEF").fails("ContainerNotFound")
		w.restore(c, "soon").fails("InvalidHeaderValue", "HeaderName", "x-ms-deleted-container-version")
		for _, missing := range [][2]string{{"x-ms-deleted-container-name", "x-ms-deleted-container-version"},
			{"x-ms-deleted-container-version", "x-ms-deleted-container-name"}} {
			w.put(c, "restype=container&comp=undelete").h(missing[1], string(c[1:])).fails("MissingRequiredHeader", "HeaderName", missing[0])
		}
		w.put(c, "restype=container&comp=undelete").hs("x-ms-deleted-container-name", "another", "x-ms-deleted-container-version", "0123456789ABCDEF").
			fails("InvalidHeaderValue", "HeaderName", "x-ms-deleted-container-name")
		_, err := w.sdk().RestoreContainer(ctx, string(c[1:]), "", nil)
		w.mustFail(err, "MissingRequiredHeader") // [S]
		w.restore(w.container(), "0123456789ABCDEF").fails("ContainerAlreadyExists")
	})
	if env.ContainerDays == 0 {
		return
	}
	w.part("through the SDK", restoreSDK)
	w.part("what comes back", restoreWhole)
	w.part("several of a name", restoreVersions)
}

func restoreSDK(w *wire) {
	c := w.container()
	name := string(c[1:])
	_, err := w.sdk().DeleteContainer(ctx, name, nil)
	w.must(err)
	pager := w.sdk().NewListContainersPager(&service.ListContainersOptions{Prefix: &name, Include: service.ListContainersInclude{Deleted: true}})
	p, err := pager.NextPage(ctx)
	w.must(err)
	if len(p.ContainerItems) != 1 {
		w.Fatalf("%d containers", len(p.ContainerItems))
	}
	item := p.ContainerItems[0]
	days := int(val(item.Properties.RemainingRetentionDays))
	if !val(item.Deleted) || val(item.Version) == "" || item.Properties.DeletedTime == nil || days > w.env.ContainerDays || days < w.env.ContainerDays-1 {
		w.Errorf("deleted %v, version %q, at %v, %d days left", val(item.Deleted), val(item.Version), item.Properties.DeletedTime, days)
	}
	_, err = w.sdk().RestoreContainer(ctx, name, val(item.Version), nil)
	w.must(err)
	_, err = w.sdkContainer(c).GetProperties(ctx, nil)
	w.must(err)
	_, err = w.sdk().RestoreContainer(ctx, name, val(item.Version), nil)
	w.mustFail(err, "ContainerAlreadyExists")
}

// restoreWhole: a container comes back with its blobs, their snapshots and tags, its metadata and policies, not its lease.
func restoreWhole(w *wire) {
	c := w.container()
	b := c.blob("blob")
	w.put(c, "restype=container&comp=metadata").h("x-ms-meta-Key", "value").ok(200)
	w.put(c, "restype=container&comp=acl").b(policyXML("p", "<Permission>r</Permission>")).ok(200)
	w.create(b, 2*page).ok(201)
	w.update(b, 0, fill(41, page)).ok(201)
	at := w.snapshot(b)
	w.update(b, page, fill(42, page)).ok(201)
	w.setTags(b, "which", string(c[1:])).ok(204)
	where := "comp=blobs&where=which%3D'" + string(c[1:]) + "'"
	found := func() int { return len(w.xml(w.get("/", where).ok(200)).child("Blobs").children) }
	w.equal("found", fmt.Sprint(found()), "1")
	policies := w.policies(c)
	before := w.stamp(c)
	w.acquire(c, leaseA, -1).ok(201)
	w.delete(c, "restype=container").fails("LeaseIdMissing")
	w.delete(c, "restype=container").h("x-ms-lease-id", leaseA).ok(202)
	w.get(b, "").fails("ContainerNotFound")
	w.get(c, "restype=container&comp=list&include=deleted").fails("ContainerNotFound")
	w.equal("found while deleted", fmt.Sprint(found()), "0")
	versions, items := w.removedVersions(c)
	if len(versions) != 1 {
		w.Fatalf("versions %q", versions)
	}
	w.equal("children of a deleted container", items[0].names(), "Name Deleted Version Properties Metadata")
	w.equal("properties", items[0].child("Properties").names(), listedContainerProperties+" DeletedTime RemainingRetentionDays")
	w.equal("metadata", items[0].value("Metadata", "Key"), "value")

	r := w.restore(c, versions[0]).ok(201)
	w.exactly(r)
	w.unstamped("restore", before, c)
	w.headers(w.head(c, "restype=container").ok(200), "x-ms-meta-Key", "value", "x-ms-lease-state", "available")
	w.equal("policies", w.policies(c), policies)
	w.same("the blob", w.content(b), append(fill(41, page), fill(42, page)...))
	w.ranges(w.pageList(b, "prevsnapshot", at), "512-1023")
	w.equal("found", fmt.Sprint(found()), "1")
	if left, _ := w.removedVersions(c); len(left) > 0 {
		w.Errorf("listed as deleted still: %v", left)
	}
}

// restoreVersions: of several containers that had a name each comes back by its version, where the name is free.
func restoreVersions(w *wire) {
	c := w.container()
	w.create(c.blob("first"), page).ok(201)
	w.delete(c, "restype=container").ok(202)
	w.put(c, "restype=container").ok(201) // the name is free at once
	w.create(c.blob("second"), page).ok(201)
	versions, _ := w.removedVersions(c)
	w.equal("live", strings.Join(listedNames(w.list(c, "")), " "), "second")
	w.restore(c, versions[0]).fails("ContainerAlreadyExists")
	w.delete(c, "restype=container").ok(202)
	versions, _ = w.removedVersions(c)
	if len(versions) != 2 {
		w.Fatalf("versions %q", versions)
	}
	w.restore(c, versions[0]).ok(201)
	w.equal("restored", strings.Join(listedNames(w.list(c, "")), " "), "first")
	w.delete(c, "restype=container").ok(202)
	w.restore(c, versions[1]).ok(201)
	w.equal("restored", strings.Join(listedNames(w.list(c, "")), " "), "second")
}
