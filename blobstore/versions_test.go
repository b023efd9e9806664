package blobstore

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"pagevault/blobstore/immutable"
	"pagevault/blobstore/lease"
	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/cond"
	"pagevault/internal/azure/header"
	"pagevault/pagestore"
)

// newVersioned returns a fixture whose account has versioning, with an empty container "cont".
func newVersioned(t *testing.T) *fixture {
	t.Helper()
	f := newBareFixture(t, nil)
	f.with = versioningOn
	f.reopen()
	must(t)(f.CreateContainer("cont", nil))
	return f
}

// everything of a blob, in the order of a list.
func (f *fixture) rows(name string) (rows []BlobInfo) {
	f.t.Helper()
	req := &ListBlobsRequest{Prefix: name, Snapshots: true, Versions: true, Deleted: true, Vacant: true, Metadata: true}
	for _, item := range value(f.ListBlobs("cont", req))(f.t).Items {
		if item.Blob.Name == name {
			rows = append(rows, item.Blob)
		}
	}
	return rows
}

// history shows what there is of a blob: of each its pages, its metadata, and what it is. Snapshots are marked by "@",
// previous versions by "~", and the blob by "!" if it has a version id; of what is deleted the pages are not shown.
func (f *fixture) history(name string) string {
	f.t.Helper()
	var all []string
	for _, b := range f.rows(name) {
		text := ""
		for _, m := range b.Metadata {
			text += "{" + m.Name + "}"
		}
		r := BlobRef{Container: "cont", Blob: name, Snapshot: b.Snapshot}
		switch {
		case b.Snapshot != "":
			text += "@"
		case b.Current:
			text += "!"
		case b.Version != "":
			r.Version = b.Version
			text += "~"
		}
		switch {
		case b.Vacant:
			text = "[]"
		case b.Deleted != nil:
			text = "(" + text + ")"
		default:
			text = f.letters(r) + text
		}
		all = append(all, text)
	}
	return strings.Join(all, " ")
}

func (f *fixture) wantHistory(what, want string) {
	f.t.Helper()
	if got := f.history("b"); got != want {
		f.t.Errorf("%s:\ngot  %s\nwant %s", what, got, want)
	}
	f.wantClean(what)
}

func meta(name string) []header.Pair { return []header.Pair{{Name: name, Value: "1"}} }

// TestVersions: which requests make a version, and which change the current one.
func TestVersions(t *testing.T) {
	f := newVersioned(t)
	first := f.create("b", 2)
	f.put("b", 0, 1, 'a')
	f.wantHistory("pages change the current version", "a.!")
	equal(t, "current", f.info(ref("b")).Version, first.Version)

	second := value(f.SetBlobMetadata(ref("b"), &Access{}, meta("m")))(t)
	f.put("b", 1, 2, 'b')
	f.wantHistory("metadata makes a version", "a.~ ab{m}!")
	if second.Version <= first.Version {
		t.Errorf("version %q after %q", second.Version, first.Version)
	}

	snap1 := value(f.SnapshotBlob(ref("b"), &Access{}, nil))(t)
	f.put("b", 0, 1, 'c')
	f.wantHistory("a snapshot makes one too", "a.~ ab{m}~ ab{m}@ cb{m}!")
	equal(t, "current", f.info(ref("b")).Version, snap1.Version)
	equal(t, "entity tag of a snapshot", snap1.ETag, f.info(snap("b", snap1.Snapshot)).ETag)

	f.resize("b", 3)
	must(t)(f.SetBlobProperties(ref("b"), &SetProperties{Headers: &HTTPHeaders{ContentType: "x/y"}}))
	ok(t, f.SetBlobTags(ref("b"), &Access{}, meta("k")))
	acquire(t, f, "b", guidA)
	equal(t, "what makes none", f.info(ref("b")).Version, snap1.Version)
	put := value(f.PutPages(ref("b"), &PutPages{Access: holding(guidA), Range: bytesOf(2, 3), Body: putReq(2, 3, 'd').Body}))(t)
	equal(t, "Put Page tells", put.Version, "")
	f.wantHistory("nothing else does", "a.~ ab{m}~ ab{m}@ cbd{m}!")

	over := value(f.CreatePageBlob(ref("b"), &CreatePageBlob{Access: holding(guidA), Size: PageSize}))(t)
	f.wantHistory("overwriting makes one", "a.~ ab{m}~ ab{m}@ cbd{m}~ .!")
	equal(t, "tags of the old one", showTags(f.info(versionRef("b", snap1.Version)).Tags), "k=1")
	equal(t, "found by them", f.find("", "k = '1'", 0), "")
	equal(t, "lease of the old one", f.info(versionRef("b", snap1.Version)).Lease.Status, lease.Available)
	equal(t, "lease", f.info(ref("b")).Lease.Status, lease.Leased)

	got := f.info(versionRef("b", first.Version))
	if got.Stamp.ETag == first.ETag || got.Version != first.Version || got.Current || got.Snapshot != "" {
		t.Errorf("the first version: %+v", got)
	}
	if now := f.info(versionRef("b", over.Version)); !reflect.DeepEqual(now, f.info(ref("b"))) || !now.Current {
		t.Errorf("the current one by its id: %+v", now)
	}
	equal(t, "diff of a version", f.diff(versionRef("b", second.Version), snap1.Snapshot), "")
	equal(t, "diff of the next", f.diff(versionRef("b", snap1.Version), snap1.Snapshot), "0-1 2-3")
	_, err := f.PageRanges(versionRef("b", first.Version), &PageRangesRequest{PrevSnapshot: snap1.Snapshot})
	wantCode(t, "diff since a later snapshot", err, azerr.PreviousSnapshotCannotBeNewer)
	_, err = f.PageRanges(ref("b"), &PageRangesRequest{PrevSnapshot: first.Version})
	wantCode(t, "diff since a version", err, azerr.PreviousSnapshotNotFound)

	f.reopen()
	f.wantHistory("after a restart", "a.~ ab{m}~ ab{m}@ cbd{m}~ .!")
	equal(t, "totals", f.totals(), Totals{Containers: 1, Blobs: 1, Snapshots: 4, ProvisionedBytes: PageSize})
	for _, n := range []int{1, 2, 3} {
		equal(t, "listed", f.names(ListBlobsRequest{Versions: true, MaxResults: n}), "b~ b~ b~ b")
		equal(t, "listed with snapshots", f.names(ListBlobsRequest{Versions: true, Snapshots: true, MaxResults: n}), "b~ b~ b@ b~ b")
		equal(t, "listed without", f.names(ListBlobsRequest{Snapshots: true, MaxResults: n}), "b@ b")
	}
}

// TestVersionPromoted: a version is made the current one by copying it over the blob, or over what has become of that.
func TestVersionPromoted(t *testing.T) {
	f := newVersioned(t)
	first := f.create("b", 1)
	f.put("b", 0, 1, 'a')
	f.create("b", 2)
	f.put("b", 0, 2, 'b')
	promote := func() CopyResult {
		return value(f.CopyBlob(t.Context(), ref("b"), &CopyBlob{Source: versionRef("b", first.Version), SourceURL: "u"}))(t)
	}
	done := promote()
	f.wantHistory("promoted", "a~ bb~ a!")
	equal(t, "its version", f.info(ref("b")).Version, done.Version)
	ok(t, f.DeleteBlob(ref("b"), &Access{}, SnapshotsNone))
	f.wantHistory("deleted", "a~ bb~ a~ []")
	promote()
	f.put("b", 0, 1, 'c')
	f.wantHistory("promoted again", "a~ bb~ a~ c!")
	_, err := f.CopyBlob(t.Context(), ref("b"), &CopyBlob{Source: versionRef("b", "2020-01-01T00:00:00.0000000Z")})
	wantCode(t, "an unknown version", err, azerr.CannotVerifyCopySource)
}

// TestVersionsDeleted: a blob that is deleted leaves its versions, which go one by one, and the name with the last.
func TestVersionsDeleted(t *testing.T) {
	f := newVersioned(t)
	first := f.create("b", 1)
	f.put("b", 0, 1, 'a')
	second := value(f.SetBlobMetadata(ref("b"), &Access{}, nil))(t)
	ok(t, f.SetBlobTags(ref("b"), &Access{}, meta("k")))
	acquire(t, f, "b", guidA)
	del := func(r BlobRef, acc Access) error {
		kept, err := f.Delete(r, &DeleteBlob{Access: acc})
		equal(t, "kept", kept, err == nil && r.Version == "") // as a version
		return err
	}
	wantCode(t, "the current version by its id", del(versionRef("b", second.Version), Access{}), azerr.OperationNotAllowedOnRootBlob)
	wantCode(t, "a blob with a lease", del(ref("b"), Access{}), azerr.LeaseIdMissing)
	ok(t, del(ref("b"), holding(guidA)))
	f.wantHistory("deleted", "a~ a~ []")
	equal(t, "found by its tag", f.find("", "k = '1'", 0), "")
	equal(t, "tags of the version", showTags(f.info(versionRef("b", second.Version)).Tags), "k=1")
	equal(t, "listed", f.names(ListBlobsRequest{Snapshots: true, Deleted: true}), "")
	equal(t, "listed with versions", f.names(ListBlobsRequest{Versions: true}), "b~ b~")
	equal(t, "names only", f.names(ListBlobsRequest{Vacant: true}), "[b]")
	equal(t, "totals", f.totals(), Totals{Containers: 1, Snapshots: 2})
	_, err := f.BlobInfo(ref("b"), &Access{})
	wantCode(t, "the blob", err, azerr.BlobNotFound)
	_, err = f.PutPages(ref("b"), putReq(0, 1, 'z'))
	wantCode(t, "a write", err, azerr.BlobNotFound)
	wantCode(t, "delete again", del(ref("b"), Access{}), azerr.BlobNotFound)
	wantCode(t, "undelete", f.UndeleteBlob(ref("b")), azerr.BlobNotFound)
	wantCode(t, "for good", value2(f.Delete(versionRef("b", first.Version), &DeleteBlob{Permanent: true})), azerr.BlobSnapshotNotSoftDeleted)

	f.create("b", 2)
	f.wantHistory("made anew", "a~ a~ ..!")
	ok(t, del(versionRef("b", first.Version), Access{}))
	wantCode(t, "a version twice", del(versionRef("b", first.Version), Access{}), azerr.BlobNotFound)
	f.wantHistory("the first is gone", "a~ ..!")
	third := f.info(ref("b")).Version
	ok(t, f.DeleteBlob(ref("b"), &Access{}, SnapshotsNone))
	ok(t, del(versionRef("b", third), Access{}))
	ok(t, del(versionRef("b", second.Version), Access{}))
	f.wantHistory("the last is gone", "")
	equal(t, "rows", f.rowCount(tableBlob)+f.rowCount(tableVolume), 0)
	equal(t, "volumes", f.volumes(), 0)
	equal(t, "totals", f.totals(), Totals{Containers: 1})
}

func value2[T any](_ T, err error) error { return err }

// TestVersionsAndSnapshots: the rules about snapshots are about snapshots only.
func TestVersionsAndSnapshots(t *testing.T) {
	f := newVersioned(t)
	f.create("b", 1)
	f.put("b", 0, 1, 'a')
	s := f.snapshot("b")
	wantCode(t, "a blob with a snapshot", f.DeleteBlob(ref("b"), &Access{}, SnapshotsNone), azerr.SnapshotsPresent)
	ok(t, f.DeleteBlob(ref("b"), &Access{}, SnapshotsOnly))
	f.wantHistory("only snapshots", "a~ a!")
	f.snapshot("b")
	f.put("b", 0, 1, 'b')
	f.wantHistory("another snapshot", "a~ a~ a@ b!")
	_, err := f.BlobInfo(versionRef("b", s), &Access{})
	wantCode(t, "a snapshot as a version", err, azerr.BlobNotFound)
	_, err = f.BlobInfo(snap("b", f.info(ref("b")).Version), &Access{})
	wantCode(t, "a version as a snapshot", err, azerr.BlobNotFound)
	ok(t, f.DeleteBlob(ref("b"), &Access{}, SnapshotsInclude))
	f.wantHistory("snapshots included", "a~ a~ b~ []")
}

// TestVersionsKept: versions that are deleted while such things are kept come back, and never as the blob.
func TestVersionsKept(t *testing.T) {
	f := newVersioned(t)
	expired := make(chan int, 1000)
	f.onExpired = func(n int) { expired <- n }
	f.setRetention(3, false)
	first := f.create("b", 1)
	f.put("b", 0, 1, 'a')
	f.snapshot("b")
	f.create("b", 1)
	f.wantHistory("overwritten", "a~ a@ a~ .!")
	kept, err := f.Delete(ref("b"), &DeleteBlob{Snapshots: SnapshotsInclude})
	ok(t, err)
	equal(t, "kept", kept, true)
	f.wantHistory("deleted", "a~ (@) a~ .~ []")
	f.clock.Advance(time.Hour)
	kept, err = f.Delete(versionRef("b", first.Version), &DeleteBlob{})
	ok(t, err)
	equal(t, "kept", kept, true)
	f.wantHistory("a version deleted", "(~) (@) a~ .~ []")
	_, err = f.BlobInfo(versionRef("b", first.Version), &Access{})
	wantCode(t, "it", err, azerr.BlobNotFound)
	equal(t, "listed", f.names(ListBlobsRequest{Versions: true}), "b~ b~")
	equal(t, "listed with deleted", f.names(ListBlobsRequest{Versions: true, Deleted: true, MaxResults: 1}), "(b~) b~ b~")
	equal(t, "deleted snapshots", f.names(ListBlobsRequest{Snapshots: true, Deleted: true}), "(b@)")
	ok(t, f.UndeleteBlob(ref("b")))
	f.wantHistory("undeleted", "a~ a@ a~ .~ []")
	wantCode(t, "undelete again", f.UndeleteBlob(ref("b")), azerr.BlobNotFound)

	f.setRetention(3, true)
	ok(t, f.DeleteBlob(versionRef("b", first.Version), &Access{}, SnapshotsNone))
	for _, v := range f.rows("b")[1:] {
		if !v.Vacant {
			ok(t, f.DeleteBlob(BlobRef{Container: "cont", Blob: "b", Snapshot: v.Snapshot, Version: v.Version}, &Access{}, SnapshotsNone))
		}
	}
	f.wantHistory("all deleted", "(~) (@) (~) (~) []")
	kept, err = f.Delete(versionRef("b", first.Version), &DeleteBlob{Permanent: true})
	ok(t, err)
	equal(t, "kept", kept, false)
	f.wantHistory("one for good", "(@) (~) (~) []")
	f.create("b", 2)
	f.wantHistory("made anew", "(@) (~) (~) ..!")
	ok(t, f.UndeleteBlob(ref("b")))
	f.wantHistory("undeleted beside it", "a@ a~ .~ ..!")
	ok(t, f.DeleteBlob(ref("b"), &Access{}, SnapshotsInclude))
	for _, v := range f.rows("b")[1:] {
		if !v.Vacant {
			ok(t, f.DeleteBlob(versionRef("b", v.Version), &Access{}, SnapshotsNone))
		}
	}
	f.clock.Advance(3 * day)
	equal(t, "listed when it is over", f.history("b"), "")
	awaitExpired(expired, 4)
	equal(t, "rows", f.rowCount(tableBlob)+f.rowCount(tableExpiry)+f.rowCount(tableVolume), 0)
	equal(t, "volumes", f.volumes(), 0)
	f.wantClean("over")
}

// TestVersioningSwitched: what was before versioning becomes a version, and so does the last one after it.
func TestVersioningSwitched(t *testing.T) {
	f := newFixture(t)
	expired := make(chan int, 10)
	f.onExpired = func(n int) { expired <- n }
	f.create("b", 1)
	f.put("b", 0, 1, 'a')
	old := f.info(ref("b"))
	equal(t, "remembered", f.Versioned(), false)
	f.with = versioningOn
	f.reopen()
	equal(t, "remembered", f.Versioned(), true)
	equal(t, "told", f.versioningOff, 0)
	f.wantHistory("not a version yet", "a")
	must(t)(f.SetBlobMetadata(ref("b"), &Access{}, meta("m")))
	f.wantHistory("the first version", "a~ a{m}!")
	equal(t, "its id", f.rows("b")[0].Version, old.LastModified.Format(snapshotLayout))

	f.with = nil
	f.reopen()
	equal(t, "told", f.versioningOff, 1)
	equal(t, "remembered", f.Versioned(), true)
	f.put("b", 0, 1, 'b')
	f.wantHistory("switched off", "a~ b{m}!")
	f.snapshot("b")
	f.wantHistory("a snapshot", "a~ b{m}@ b{m}!")
	ok(t, f.DeleteBlob(ref("b"), &Access{}, SnapshotsOnly))
	f.create("b", 1)
	f.wantHistory("overwritten", "a~ b{m}~ .")
	f.create("b", 2)
	must(t)(f.SetBlobMetadata(ref("b"), &Access{}, meta("n")))
	f.wantHistory("overwritten again", "a~ b{m}~ ..{n}")
	ok(t, f.DeleteBlob(ref("b"), &Access{}, SnapshotsNone))
	f.wantHistory("deleted", "a~ b{m}~ []")
	equal(t, "volumes", f.volumes(), 1)

	// With retention a blob without a version id is deleted as one, beside its versions.
	f.setRetention(1, false)
	f.create("b", 1)
	f.put("b", 0, 1, 'c')
	f.create("b", 1)
	f.wantHistory("overwritten and kept", "a~ b{m}~ (@) .")
	ok(t, f.DeleteBlob(ref("b"), &Access{}, SnapshotsNone))
	f.wantHistory("deleted and kept", "a~ b{m}~ (@) ()")
	ok(t, f.UndeleteBlob(ref("b")))
	f.wantHistory("undeleted", "a~ b{m}~ c@ .")
	ok(t, f.DeleteBlob(ref("b"), &Access{}, SnapshotsInclude))
	f.clock.Advance(day)
	awaitExpired(expired, 2)
	f.wantHistory("over", "a~ b{m}~ []")
	f.with = versioningOn
	f.reopen()
	f.create("b", 1)
	f.wantHistory("switched on again", "a~ b{m}~ .!")
	ok(t, f.DeleteContainer("cont", &Access{}))
	<-f.reaped
	equal(t, "totals", f.totals(), Totals{})
	equal(t, "volumes", f.volumes(), 0)
	f.wantClean("without the container")
}

// TestVersionsProtected: what protects a blob goes with it when it becomes a previous version.
func TestVersionsProtected(t *testing.T) {
	f := newVersioned(t)
	f.with = func(o *AccountOptions) { o.Versioning, o.Immutable.All = true, true }
	f.reopen()
	f.create("b", 1)
	f.put("b", 0, 1, 'a')
	first := f.info(ref("b")).Version
	ok(t, f.SetLegalHold(ref("b"), true))
	_, err := f.PutPages(ref("b"), putReq(0, 1, 'x'))
	wantCode(t, "a write", err, azerr.BlobImmutableDueToPolicy)
	_, err = f.SetBlobMetadata(ref("b"), &Access{}, nil)
	wantCode(t, "metadata", err, azerr.BlobImmutableDueToPolicy)
	second := f.create("b", 1)
	f.wantHistory("overwritten", "a~ .!")
	equal(t, "the old one", f.info(versionRef("b", first)).Protection.Hold, true)
	equal(t, "the new one", f.info(ref("b")).Protection, immutable.State{})
	wantCode(t, "delete it", f.DeleteBlob(versionRef("b", first), &Access{}, SnapshotsNone), azerr.BlobImmutableDueToPolicy)
	p := f.until(immutable.Unlocked, time.Hour)
	ok(t, f.SetImmutabilityPolicy(versionRef("b", second.Version), &cond.Conditions{}, p))
	equal(t, "the current one by its id", f.info(ref("b")).Protection.Policy, p)
	ok(t, f.DeleteBlob(ref("b"), &Access{}, SnapshotsNone))
	f.wantHistory("deleted", "a~ .~ []")
	wantCode(t, "delete it", f.DeleteBlob(versionRef("b", second.Version), &Access{}, SnapshotsNone), azerr.BlobImmutableDueToPolicy)
	ok(t, f.DeleteImmutabilityPolicy(versionRef("b", second.Version)))
	ok(t, f.SetLegalHold(versionRef("b", first), false))
	ok(t, f.DeleteBlob(versionRef("b", second.Version), &Access{}, SnapshotsNone))
	ok(t, f.DeleteBlob(versionRef("b", first), &Access{}, SnapshotsNone))
	f.wantHistory("gone", "")

	// A snapshot changes nothing of what the blob is, and leaves what protects it on the current version, too.
	f.create("b", 1)
	p = f.until(immutable.Locked, time.Hour)
	ok(t, f.SetImmutabilityPolicy(ref("b"), &cond.Conditions{}, p))
	f.snapshot("b")
	f.snapshot("b")
	f.wantHistory("two snapshots", ".~ .@ .~ .@ .!")
	for _, v := range f.rows("b") {
		want := immutable.State{Policy: p}
		if v.Snapshot != "" {
			want = immutable.State{}
		}
		equal(t, "protection of "+v.Snapshot+v.Version, v.Protection, want)
	}
	wantCode(t, "a write", value2(f.PutPages(ref("b"), putReq(0, 1, 'x'))), azerr.BlobImmutableDueToPolicy)
	wantCode(t, "delete a version", f.DeleteBlob(versionRef("b", f.rows("b")[0].Version), &Access{}, SnapshotsNone), azerr.BlobImmutableDueToPolicy)
	ok(t, f.DeleteBlob(ref("b"), &Access{}, SnapshotsInclude))
	f.wantHistory("deleted", ".~ .~ .~ []")
	f.clock.Advance(time.Hour + time.Second)
	for _, v := range f.rows("b") {
		if !v.Vacant {
			ok(t, f.DeleteBlob(versionRef("b", v.Version), &Access{}, SnapshotsNone))
		}
	}
	f.wantHistory("gone", "")
}

// TestVersionRefs: what a version id may be said with, and what not.
func TestVersionRefs(t *testing.T) {
	f := newVersioned(t)
	v := f.create("b", 1).Version
	s := f.snapshot("b")
	next := f.info(ref("b")).Version
	read := func(r BlobRef) error { return value2(f.BlobInfo(r, &Access{})) }
	wantCode(t, "snapshot and version", read(BlobRef{Container: "cont", Blob: "b", Snapshot: s, Version: v}), azerr.MutuallyExclusiveQueryParameters)
	wantCode(t, "no id", read(versionRef("b", "yesterday")), azerr.InvalidQueryParameterValue)
	wantCode(t, "unknown", read(versionRef("b", "2020-01-01T00:00:00.0000000Z")), azerr.BlobNotFound)
	wantCode(t, "of no blob", read(versionRef("c", v)), azerr.BlobNotFound)
	for _, id := range []string{v, next} {
		r := versionRef("b", id)
		refused := func(what string, err error) {
			t.Helper()
			wantCode(t, what, err, azerr.InvalidQueryParameterValue)
		}
		refused("put page", value2(f.PutPages(r, putReq(0, 1, 'x'))))
		refused("clear", value2(f.ClearPages(r, clearReq(0, 1))))
		refused("put blob", value2(f.CreatePageBlob(r, &CreatePageBlob{})))
		refused("properties", value2(f.SetBlobProperties(r, &SetProperties{})))
		refused("metadata", value2(f.SetBlobMetadata(r, &Access{}, nil)))
		refused("snapshot", value2(f.SnapshotBlob(r, &Access{}, nil)))
		refused("undelete", f.UndeleteBlob(r))
		refused("copy", value2(f.CopyBlob(t.Context(), r, &CopyBlob{Source: ref("b")})))
		_, _, err := f.LeaseBlob(r, lease.Request{Action: lease.Acquire, Seconds: lease.Infinite}, cond.Conditions{})
		refused("lease", err)
		wantCode(t, "tier of a standard account", setTier(f, r, &Access{}, 10), azerr.AccessTierNotSupportedForBlobType)
		ok(t, f.SetBlobTags(r, &Access{}, meta("t"+fmt.Sprint(len(id)))))
		wantCode(t, "a lease that is not there", f.SetBlobTags(r, &Access{LeaseID: guidA}, nil), azerr.LeaseNotPresentWithBlobOperation)
		wantCode(t, "a condition", f.DeleteBlob(r, ptr(with(t, "If-Match", `"0x1"`)), SnapshotsNone), map[string]azerr.Code{
			v: azerr.ConditionNotMet, next: azerr.OperationNotAllowedOnRootBlob}[id])
	}
	equal(t, "only the blob is found by its tags", f.find("", "t28 = '1'", 0), "cont/b[t28=1]")
	f.wantClean("tagged")
}

func ptr[T any](v T) *T { return &v }

// TestManyVersions: snapshots are found among more versions than one change touches, and versions come back in steps.
func TestManyVersions(t *testing.T) {
	f := newVersioned(t)
	f.setRetention(1, false)
	f.create("b", 1)
	const n = snapshotsPerUpdate + 10
	for range n {
		must(t)(f.SetBlobMetadata(ref("b"), &Access{}, nil))
	}
	f.snapshot("b")
	ok(t, f.DeleteBlob(ref("b"), &Access{}, SnapshotsInclude))
	for _, v := range f.rows("b") {
		if v.Version != "" {
			ok(t, f.DeleteBlob(versionRef("b", v.Version), &Access{}, SnapshotsNone))
		}
	}
	equal(t, "deleted", f.names(ListBlobsRequest{Versions: true, Snapshots: true}), "")
	ok(t, f.UndeleteBlob(ref("b")))
	equal(t, "undeleted", len(strings.Fields(f.names(ListBlobsRequest{Versions: true, Snapshots: true}))), n+3)
	f.wantClean("undeleted")
}

// TestVersionsOfPendingCopies: a copy that takes its time makes a version when it begins, also if it comes to nothing.
func TestVersionsOfPendingCopies(t *testing.T) {
	f := newVersioned(t)
	f.create("b", 1)
	f.put("b", 0, 1, 'x')
	before := f.info(ref("b")).Version
	s, got := f.startHeld("b")
	if got.Version <= before {
		t.Errorf("version %q after %q", got.Version, before)
	}
	f.wantHistory("begun", "x~ ........{k}!")
	wantCode(t, "delete it", f.DeleteBlob(ref("b"), &Access{}, SnapshotsNone), azerr.PendingCopyOperation)
	s.give <- nil
	<-s.asked
	f.wantHistory("half done", "x~ aa......{k}!")
	s.give <- nil
	f.settled("b")
	f.wantHistory("done", "x~ aa...a..{k}!")
	equal(t, "its version", f.info(ref("b")).Version, got.Version)
	s, got = f.startHeld("b")
	ok(t, f.AbortCopy(ref("b"), &Access{}, got.ID))
	f.settled("b")
	f.wantHistory("aborted", "x~ aa...a..{k}~ {k}!")
	close(s.give)

	// A copy to a name of which only versions are left.
	ok(t, f.DeleteBlob(ref("b"), &Access{}, SnapshotsNone))
	s, _ = f.startHeld("b")
	f.close()
	f.open()
	close(s.give)
	f.settled("b")
	f.wantHistory("interrupted", "x~ aa...a..{k}~ {k}~ {k}!")
}

// TestVersionsOfIncrementalCopies: they change the current version, and the blob that they go to can be deleted like any.
func TestVersionsOfIncrementalCopies(t *testing.T) {
	f := newVersioned(t)
	f.create("a", 2)
	f.put("a", 0, 1, 'a')
	f.create("b", 1)
	ok(t, f.DeleteBlob(ref("b"), &Access{}, SnapshotsNone))
	copied := func() {
		t.Helper()
		must(t)(f.StartIncrementalCopy(ref("b"), &IncrementalCopy{From: f.Account, Source: snap("a", f.snapshot("a")), SourceURL: "u"}))
		f.settled("b")
	}
	copied()
	f.put("a", 1, 2, 'b')
	copied()
	_, err := f.StartIncrementalCopy(ref("b"), &IncrementalCopy{From: f.Account, Source: versionRef("a", f.info(ref("a")).Version)})
	wantCode(t, "from a version", err, azerr.IncrementalCopySourceMustBeSnapshot)
	equal(t, "versions", f.names(ListBlobsRequest{Prefix: "b", Versions: true, Snapshots: true}), "b~ b@ b@ b")
	ok(t, f.DeleteBlob(ref("b"), &Access{}, SnapshotsInclude))
	equal(t, "deleted", f.names(ListBlobsRequest{Prefix: "b", Versions: true, Snapshots: true}), "b~ b~")
	f.wantClean("deleted")
	rows := f.rows("b")
	f.wantUnreadable(versionRef("b", rows[1].Version))

	// A copy that was given up leaves a mixture of two states.
	f.create("c", 1)
	first := f.incremental("d", snap("a", f.snapshot("a")))
	equal(t, "a copy", first.Status, CopySuccess)
	f.wantUnreadable(ref("d"))
	f.mixture("d", "a")
	ok(t, f.DeleteBlob(ref("d"), &Access{}, SnapshotsInclude))
	rows = f.rows("d")
	equal(t, "status of the version", rows[0].Copy.Status, CopyAborted)
	f.wantUnreadable(versionRef("d", rows[0].Version))
	f.wantClean("a mixture")
	ok(t, f.DeleteBlob(versionRef("d", rows[0].Version), &Access{}, SnapshotsNone))
	equal(t, "deleted", len(f.rows("d")), 0)
}

// TestMixtureUndeleted: what an incremental copy that was given up left is not to be read as a snapshot either, which it
// becomes where deleted blobs are kept and another one has taken its name.
func TestMixtureUndeleted(t *testing.T) {
	f := newFixture(t)
	f.setRetention(1, false)
	f.create("a", 2)
	f.put("a", 0, 2, 'a')
	equal(t, "a copy", f.incremental("d", snap("a", f.snapshot("a"))).Status, CopySuccess)
	f.mixture("d", "a")
	ok(t, f.DeleteBlob(ref("d"), &Access{}, SnapshotsInclude))
	f.create("d", 1)
	ok(t, f.UndeleteBlob(ref("d")))
	rows := f.rows("d")
	equal(t, "states", len(rows), 3)
	equal(t, "the copy", f.letters(snap("d", rows[0].Snapshot)), "aa")
	f.wantUnreadable(snap("d", rows[1].Snapshot))
	equal(t, "the blob", f.letters(ref("d")), ".")
}

// mixture gives up an incremental copy of a snapshot of from to a blob when half its pages are there.
func (f *fixture) mixture(to, from string) {
	f.t.Helper()
	f.put(from, 0, 2, 'b')
	s := newHeldSource()
	id := f.snapshot(from)
	before := value(f.increments(ptr(ref(to))))(f.t)
	remote := &RemoteSnapshot{Name: before.source, Snapshot: id, Size: 8 * PageSize, Pages: s,
		Since: func(string) (CopySource, error) { return s, nil }}
	got, err := f.StartIncrementalCopy(ref(to), &IncrementalCopy{Remote: remote, SourceURL: "u"})
	ok(f.t, err)
	<-s.asked
	s.give <- nil
	<-s.asked
	ok(f.t, f.AbortCopy(ref(to), &Access{}, got.ID))
	equal(f.t, "given up", f.settled(to).Status, CopyAborted)
}

// wantUnreadable checks that of a blob, a version or a snapshot only the properties can be read.
func (f *fixture) wantUnreadable(r BlobRef) {
	f.t.Helper()
	want := azerr.OperationNotAllowedOnIncrementalCopyBlob
	wantCode(f.t, "bytes", value2(f.OpenBlob(r, &Access{})), want)
	wantCode(f.t, "pages", value2(f.PageRanges(r, &PageRangesRequest{})), want)
	wantCode(f.t, "tags", value2(f.BlobTags(r, &Access{})), want)
	wantCode(f.t, "a copy of it", value2(f.CopyBlob(f.t.Context(), ref("copy"), &CopyBlob{Source: r, SourceURL: "u"})), want)
	wantCode(f.t, "metadata", ptr(value(f.BlobInfo(r, &Access{}))(f.t)).CheckReadable(), want)
}

// TestFullOfVersions: an account that is full of metadata makes no versions, but for what is deleted.
func TestFullOfVersions(t *testing.T) {
	f := newVersioned(t)
	f.create("b", 1)
	f.put("b", 0, 1, 'a')
	f.create("c", 1)
	f.store.SetQuota(pagestore.Quota{MetadataBytes: 1})
	wantCode(t, "put blob", value2(f.CreatePageBlob(ref("b"), &CreatePageBlob{})), azerr.AccountCapacityExceeded)
	wantCode(t, "metadata", value2(f.SetBlobMetadata(ref("b"), &Access{}, nil)), azerr.AccountCapacityExceeded)
	wantCode(t, "snapshot", value2(f.SnapshotBlob(ref("b"), &Access{}, nil)), azerr.AccountCapacityExceeded)
	wantCode(t, "copy", value2(f.CopyBlob(t.Context(), ref("b"), &CopyBlob{Source: ref("c")})), azerr.AccountCapacityExceeded)
	f.wantHistory("refused", "a!")
	ok(t, f.DeleteBlob(ref("b"), &Access{}, SnapshotsNone))
	f.wantHistory("deleted", "a~ []")
	ok(t, f.DeleteBlob(versionRef("b", f.rows("b")[0].Version), &Access{}, SnapshotsNone))
	f.wantHistory("for good", "")
}
