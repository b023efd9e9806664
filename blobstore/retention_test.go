package blobstore

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/header"
	"pagevault/internal/clock"
	"pagevault/pagestore"
)

// newKeeper returns a fixture that keeps what is deleted, and what tells how many blobs and snapshots were removed for good.
func newKeeper(t *testing.T, days int) (*fixture, chan int) {
	t.Helper()
	f := newFixture(t)
	expired := make(chan int, 1000)
	f.onExpired = func(n int) { expired <- n }
	f.setRetention(days, false)
	return f, expired
}

// awaitExpired waits until so many are gone for good.
func awaitExpired(expired chan int, n int) {
	for n > 0 {
		n -= <-expired
	}
}

// names lists "cont" with what is deleted in the form "a a@ a~ (b) [c]", snapshots marked by "@", previous versions by "~", what
// is deleted in brackets, and so what has nothing but versions.
func (f *fixture) names(req ListBlobsRequest) string {
	f.t.Helper()
	var names []string
	for {
		page := value(f.ListBlobs("cont", &req))(f.t)
		for _, item := range page.Items {
			name := item.Prefix
			if name == "" {
				name = item.Blob.Name
			}
			if item.Blob.Snapshot != "" {
				name += "@"
			}
			if item.Blob.Version != "" && !item.Blob.Current {
				name += "~"
			}
			if item.Blob.Deleted != nil {
				name = "(" + name + ")"
			}
			if item.Blob.Vacant {
				name = "[" + name + "]"
			}
			names = append(names, name)
		}
		if req.Marker = page.NextMarker; req.Marker == "" {
			return strings.Join(names, " ")
		}
	}
}

func (f *fixture) allNames() string {
	f.t.Helper()
	return f.names(ListBlobsRequest{Snapshots: true, Deleted: true})
}

func TestSoftDelete(t *testing.T) {
	f, expired := newKeeper(t, 7)
	f.createTagged("cont", "b", "k=1")
	f.resize("b", 8)
	f.put("b", 0, 4, 'x')
	s := f.snapshot("b")
	f.put("b", 2, 6, 'y')
	acquire(t, f, "b", guidA)
	before := f.info(ref("b"))

	_, err := f.Delete(ref("b"), &DeleteBlob{Access: holding(guidA)})
	wantCode(t, "a live snapshot", err, azerr.SnapshotsPresent)
	kept, err := f.Delete(ref("b"), &DeleteBlob{Access: holding(guidA), Snapshots: SnapshotsInclude})
	ok(t, err)
	equal(t, "kept", kept, true)
	_, err = f.BlobInfo(ref("b"), &Access{})
	wantCode(t, "the blob", err, azerr.BlobNotFound)
	_, err = f.OpenBlob(snap("b", s), &Access{})
	wantCode(t, "the snapshot", err, azerr.BlobNotFound)
	_, err = f.PutPages(ref("b"), putReq(0, 1, 'z'))
	wantCode(t, "a write", err, azerr.BlobNotFound)
	_, err = f.Delete(ref("b"), &DeleteBlob{})
	wantCode(t, "delete again", err, azerr.BlobNotFound)
	equal(t, "found by its tag", f.find("", "k = '1'", 0), "")
	equal(t, "listed", f.names(ListBlobsRequest{Snapshots: true}), "")
	equal(t, "listed with deleted", f.names(ListBlobsRequest{Deleted: true}), "(b)")
	equal(t, "listed with all", f.names(ListBlobsRequest{Deleted: true, Snapshots: true, MaxResults: 1}), "(b@) (b)")
	f.clock.Advance(36 * time.Hour)
	item := value(f.ListBlobs("cont", &ListBlobsRequest{Deleted: true}))(t).Items[0].Blob
	equal(t, "days", item.Deleted.RemainingDays, 5)
	equal(t, "lease", item.Lease, BlobInfo{}.Lease)
	f.wantClean("deleted")

	ok(t, f.UndeleteBlob(ref("b")))
	equal(t, "the blob's pages", f.letters(ref("b")), "xxyyyy..")
	equal(t, "the snapshot's", f.letters(snap("b", s)), "xxxx....")
	equal(t, "the difference", f.diff(ref("b"), s), "2-6")
	after := f.info(ref("b"))
	if after.ETag <= before.ETag || after.Deleted != nil || after.Lease.Status.Locked() || after.Created != before.Created {
		t.Errorf("before %+v, after %+v", before, after)
	}
	equal(t, "found by its tag", f.find("", "k = '1'", 0), "cont/b[k=1]")
	equal(t, "listed", f.allNames(), "b@ b")
	ok(t, f.UndeleteBlob(ref("b"))) // nothing to do
	equal(t, "entity tag", f.info(ref("b")).ETag, after.ETag)
	wantCode(t, "what never was", f.UndeleteBlob(ref("c")), azerr.BlobNotFound)
	wantCode(t, "no container", f.UndeleteBlob(BlobRef{Container: "none", Blob: "b"}), azerr.ContainerNotFound)
	f.wantClean("undeleted")

	ok(t, f.DeleteBlob(ref("b"), &Access{}, SnapshotsInclude))
	f.clock.Advance(7 * day)
	equal(t, "listed when it is over", f.allNames(), "")
	wantCode(t, "undelete when it is over", f.UndeleteBlob(ref("b")), azerr.BlobNotFound)
	awaitExpired(expired, 2)
	equal(t, "totals", f.totals(), Totals{Containers: 1})
	equal(t, "rows", f.rowCount(tableBlob)+f.rowCount(tableExpiry)+f.rowCount(tableVolume), 0)
	equal(t, "volumes", f.volumes(), 0)
	f.wantClean("over")
}

// TestOverwriteKeeps: overwriting a blob, or one that is deleted, leaves a deleted snapshot, which comes back as one.
func TestOverwriteKeeps(t *testing.T) {
	f, expired := newKeeper(t, 3)
	f.create("b", 4)
	f.put("b", 0, 4, 'x')
	f.clock.Advance(time.Second)
	f.create("b", 2)
	f.put("b", 0, 1, 'y')
	f.clock.Advance(time.Second)
	ok(t, f.DeleteBlob(ref("b"), &Access{}, SnapshotsNone))
	f.clock.Advance(day)
	f.create("c", 1)
	f.put("c", 0, 1, 'z')
	_, err := f.CopyBlob(t.Context(), ref("b"), &CopyBlob{Source: ref("c")})
	ok(t, err)
	equal(t, "listed", f.allNames(), "(b@) (b@) b c")
	f.wantClean("overwritten")
	ok(t, f.UndeleteBlob(ref("b")))
	equal(t, "listed", f.allNames(), "b@ b@ b c")
	items := value(f.ListBlobs("cont", &ListBlobsRequest{Snapshots: true}))(t).Items
	var got []string
	for _, item := range items[:3] {
		got = append(got, f.letters(snap("b", item.Blob.Snapshot)))
	}
	equal(t, "contents", strings.Join(got, " "), "xxxx y. z")
	_, err = f.PageRanges(ref("b"), &PageRangesRequest{PrevSnapshot: items[0].Blob.Snapshot})
	wantCode(t, "diff", err, azerr.BlobOverwritten)

	ok(t, f.DeleteBlob(ref("b"), &Access{}, SnapshotsOnly))
	f.clock.Advance(3 * day)
	awaitExpired(expired, 2)
	equal(t, "listed", f.allNames(), "b c")
	equal(t, "volumes", f.volumes(), 2)
	f.wantClean("when the snapshots are gone")

	// A name whose blob is over its time, and not removed yet, is as good as new.
	ok(t, f.DeleteBlob(ref("c"), &Access{}, SnapshotsNone))
	ok(t, f.update(func(tx *pagestore.Tx) error { // as if the clock had run on
		value, _, err := tx.Get(appendBlobKey(nil, 1, "c", 0))
		if err != nil {
			return err
		}
		row, err := decodeBlobRow(value)
		if err != nil {
			return err
		}
		key := appendBlobKey(nil, 1, "c", 0)
		tx.Delete(appendExpiryKey(nil, row.gone.until, key))
		row.gone.until = row.gone.at
		setGone(tx, key, &row)
		return nil
	}))
	f.create("c", 1)
	equal(t, "listed", f.allNames(), "b c")
	equal(t, "volumes", f.volumes(), 2)
	f.wantClean("made anew")
}

// TestSoftDeleteSwitchedOff: what was kept stays until its time, and goes with its blob when that is deleted with its
// snapshots.
func TestSoftDeleteSwitchedOff(t *testing.T) {
	f, expired := newKeeper(t, 3)
	f.create("a", 1)
	f.create("b", 1)
	f.snapshot("b")
	f.snapshot("b")
	ok(t, f.DeleteBlob(ref("b"), &Access{}, SnapshotsOnly))
	ok(t, f.DeleteBlob(ref("a"), &Access{}, SnapshotsNone))
	live := f.snapshot("b")
	f.setRetention(0, false)
	equal(t, "listed", f.allNames(), "(a) (b@) (b@) b@ b")
	kept, err := f.Delete(snap("b", live), &DeleteBlob{})
	ok(t, err)
	equal(t, "kept", kept, false)
	equal(t, "listed", f.allNames(), "(a) (b@) (b@) b")
	wantCode(t, "delete", f.DeleteBlob(ref("b"), &Access{}, SnapshotsNone), azerr.SnapshotsPresent)
	f.snapshot("b")
	ok(t, f.DeleteBlob(ref("b"), &Access{}, SnapshotsOnly))
	equal(t, "listed", f.allNames(), "(a) (b@) (b@) b")
	f.wantClean("switched off")
	ok(t, f.DeleteBlob(ref("b"), &Access{}, SnapshotsInclude))
	equal(t, "listed", f.allNames(), "(a)")
	f.create("a", 1)
	equal(t, "listed", f.allNames(), "(a@) a")
	f.create("a", 1)
	equal(t, "listed", f.allNames(), "(a@) a")
	f.clock.Advance(4 * day)
	awaitExpired(expired, 1)
	equal(t, "volumes", f.volumes(), 1)
	f.wantClean("at the end")
}

func TestDeleteForGood(t *testing.T) {
	f, expired := newKeeper(t, 5)
	f.create("b", 1)
	first, second := f.snapshot("b"), f.snapshot("b")
	good := func(r BlobRef, acc Access) error {
		kept, err := f.Delete(r, &DeleteBlob{Access: acc, Permanent: true})
		if err == nil && kept {
			t.Errorf("%+v: kept", r)
		}
		return err
	}
	f.setRetention(5, true)
	wantCode(t, "a blob", good(ref("b"), Access{}), azerr.PermanentDeleteNotPermitted)
	wantCode(t, "what is not deleted", good(snap("b", first), Access{}), azerr.BlobSnapshotNotSoftDeleted)
	ok(t, f.DeleteBlob(snap("b", first), &Access{}, SnapshotsNone))
	f.setRetention(1, false)
	wantCode(t, "not allowed", good(snap("b", first), Access{}), azerr.PermanentDeleteNotPermitted)
	f.setRetention(1, true)
	wantCode(t, "a condition", good(snap("b", first), with(t, "If-None-Match", "*")), azerr.ConditionNotMet)
	wantCode(t, "none such", good(snap("b", "2020-01-01T00:00:00Z"), Access{}), azerr.BlobNotFound)
	ok(t, f.DeleteBlob(ref("b"), &Access{}, SnapshotsInclude))
	equal(t, "listed", f.allNames(), "(b@) (b@) (b)")
	ok(t, good(snap("b", first), Access{}))
	wantCode(t, "again", good(snap("b", first), Access{}), azerr.BlobNotFound)
	equal(t, "listed", f.allNames(), "(b@) (b)")
	f.wantClean("one is gone")
	f.clock.Advance(day)
	awaitExpired(expired, 1)
	wantCode(t, "over its time", good(snap("b", second), Access{}), azerr.BlobNotFound)
	equal(t, "listed", f.allNames(), "(b)") // it was to outlive the first snapshot
	f.clock.Advance(4 * day)
	awaitExpired(expired, 1)
	equal(t, "volumes", f.volumes(), 0)
}

// lateClock is a Manual whose timers are set late: on the order of the test it moves just before that.
type lateClock struct {
	*clock.Manual
	jump atomic.Int64 // before a timer is set the next time
}

type lateTimer struct {
	clock.Timer
	of *lateClock
}

func (c *lateClock) NewTimer(d time.Duration) clock.Timer { return lateTimer{c.Manual.NewTimer(d), c} }

func (t lateTimer) Reset(d time.Duration) {
	if jump := t.of.jump.Swap(0); jump > 0 {
		t.of.Advance(time.Duration(jump))
	}
	t.Timer.Reset(d)
}

// TestReaperSetsTimerLate: what becomes due between the moment when the reaper asks how long to sleep and that when it does is
// removed then, and not an hour later.
func TestReaperSetsTimerLate(t *testing.T) {
	f, expired := newKeeper(t, 1)
	late := &lateClock{Manual: f.clock}
	f.close()
	f.by = late
	f.open()
	f.create("a", 1)
	f.create("b", 1)
	ok(t, f.DeleteBlob(ref("a"), &Access{}, SnapshotsNone))
	f.clock.Advance(time.Minute)
	ok(t, f.DeleteBlob(ref("b"), &Access{}, SnapshotsNone))
	late.jump.Store(int64(time.Minute))
	f.clock.Advance(day - time.Minute) // a is due; b is a minute later, in which the reaper is on its way to sleep
	awaitExpired(expired, 2)
	equal(t, "volumes", f.volumes(), 0)
}

// TestSoftDeleteMany: more snapshots than one change deletes, or brings back.
func TestSoftDeleteMany(t *testing.T) {
	f, expired := newKeeper(t, 1)
	f.create("b", 1)
	const n = 2*snapshotsPerUpdate + 10
	meta := []header.Pair{{Name: "long", Value: strings.Repeat("x", 1500)}}
	must(t)(f.SetBlobMetadata(ref("b"), &Access{}, meta))
	for range n {
		must(t)(f.SnapshotBlob(ref("b"), &Access{}, nil))
	}
	ok(t, f.DeleteBlob(ref("b"), &Access{}, SnapshotsInclude))
	equal(t, "listed", f.names(ListBlobsRequest{Snapshots: true}), "")
	f.wantClean("deleted")
	ok(t, f.UndeleteBlob(ref("b")))
	equal(t, "snapshots", len(strings.Fields(f.names(ListBlobsRequest{Snapshots: true}))), n+1)
	equal(t, "rows of expiry", f.rowCount(tableExpiry), 0)
	ok(t, f.DeleteBlob(ref("b"), &Access{}, SnapshotsInclude))
	f.clock.Advance(day)
	awaitExpired(expired, n+1)
	equal(t, "volumes", f.volumes(), 0)
	equal(t, "totals", f.totals(), Totals{Containers: 1})
}

// TestListHidden: a prefix that stands for nothing but deleted blobs is not listed, and a list that passes over very many
// goes on from its marker.
func TestListHidden(t *testing.T) {
	f, _ := newKeeper(t, 1)
	for _, name := range []string{"a/1", "a/2", "b", "c/1", "c/2", "d/1"} {
		f.create(name, 1)
		f.snapshot(name)
	}
	for _, name := range []string{"a/1", "a/2", "c/1"} {
		ok(t, f.DeleteBlob(ref(name), &Access{}, SnapshotsInclude))
	}
	equal(t, "live", f.names(ListBlobsRequest{Delimiter: "/", MaxResults: 1}), "b c/ d/")
	equal(t, "live, with snapshots", f.names(ListBlobsRequest{Delimiter: "/", Snapshots: true}), "b@ b c/ d/")
	equal(t, "all", f.names(ListBlobsRequest{Delimiter: "/", Deleted: true}), "a/ b c/ d/")
	ok(t, f.DeleteBlob(ref("d/1"), &Access{}, SnapshotsInclude))
	l, err := newBlobLister(&ListBlobsRequest{}, f.clock.Now())
	ok(t, err)
	l.hidden = hiddenMax - 1
	from, to := l.bounds(1)
	ok(t, f.scan(from, to, l.take))
	if len(l.result.Items) != 0 || l.result.NextMarker == "" {
		t.Fatalf("%+v", l.result)
	}
	equal(t, "from its marker", f.names(ListBlobsRequest{Marker: l.result.NextMarker}), "b c/2")
}

func TestContainerRetention(t *testing.T) {
	f := newBareFixture(t, nil)
	f.containerDays = 3
	f.reopen()
	must(t)(f.CreateContainer("cont", []header.Pair{{Name: "a", Value: "1"}}))
	f.setRetention(9, false)
	f.createTagged("cont", "b", "k=1")
	f.createTagged("cont", "gone", "k=1")
	ok(t, f.DeleteBlob(ref("gone"), &Access{}, SnapshotsNone))
	list := func(req ListContainersRequest) (text string, all []ContainerInfo) {
		t.Helper()
		var names []string
		for {
			page := value(f.ListContainers(&req))(t)
			for _, c := range page.Containers {
				name := c.Name
				if c.Deleted != nil {
					name = fmt.Sprintf("(%s %d)", c.Name, c.Deleted.RemainingDays)
				}
				names, all = append(names, name), append(all, c)
			}
			if req.Marker = page.NextMarker; req.Marker == "" {
				return strings.Join(names, " "), all
			}
		}
	}
	listed := func(what, want string) {
		t.Helper()
		for _, n := range []int{0, 1, 2} {
			got, _ := list(ListContainersRequest{Deleted: true, MaxResults: n})
			equal(t, fmt.Sprintf("%s, %d a page", what, n), got, want)
		}
	}
	ok(t, f.DeleteContainer("cont", &Access{}))
	_, err := f.BlobInfo(ref("b"), &Access{})
	wantCode(t, "a blob", err, azerr.ContainerNotFound)
	equal(t, "found by its tag", f.find("", "k = '1'", 0), "")
	listed("deleted", "(cont 3)")
	live, _ := list(ListContainersRequest{})
	equal(t, "live", live, "")
	f.clock.Advance(day)
	must(t)(f.CreateContainer("cont", nil))
	must(t)(f.CreateContainer("aaa", nil))
	ok(t, f.DeleteContainer("aaa", &Access{}))
	must(t)(f.CreateContainer("cont-2", nil))
	listed("made again", "(aaa 3) (cont 2) cont cont-2")
	_, all := list(ListContainersRequest{Deleted: true, Prefix: "cont", Metadata: true})
	version := all[0].Version
	equal(t, "metadata", fmt.Sprint(all[0].Metadata), "[{a 1}]")
	wantCode(t, "the name is taken", f.RestoreContainer("cont", version), azerr.ContainerAlreadyExists)
	ok(t, f.DeleteContainer("cont", &Access{}))
	listed("two of a name", "(aaa 3) (cont 2) (cont 3) cont-2")
	wantCode(t, "no version", f.RestoreContainer("cont", "x"), azerr.InvalidHeaderValue)
	wantCode(t, "another version", f.RestoreContainer("cont", "00000000000000FF"), azerr.ContainerNotFound)
	wantCode(t, "of another", f.RestoreContainer("aaa", version), azerr.ContainerNotFound)
	f.wantClean("deleted")
	ok(t, f.RestoreContainer("cont", version))
	listed("restored", "(aaa 3) (cont 3) cont cont-2")
	equal(t, "the blobs", f.allNames(), "b (gone)")
	equal(t, "found by its tag", f.find("", "k = '1'", 0), "cont/b[k=1]")
	f.wantClean("restored")

	f.reopen()
	ok(t, f.DeleteContainer("cont", &Access{}))
	f.clock.Advance(3 * day)
	wantCode(t, "over its time", f.RestoreContainer("cont", version), azerr.ContainerNotFound)
	for range 3 {
		<-f.reaped
	}
	listed("over", "cont-2")
	equal(t, "totals", f.totals(), Totals{Containers: 1})
	equal(t, "rows", f.rowCount(tableBlob)+f.rowCount(tableExpiry)+f.rowCount(tableRemoved)+f.rowCount(tableTag), 0)
	f.wantClean("over")
}

// TestExpiryCrash: wherever the power fails while rows that are due are removed, the rest goes after the next start.
func TestExpiryCrash(t *testing.T) {
	f, _ := newKeeper(t, 1)
	const blobs = reapBatch
	for i := range blobs {
		name := fmt.Sprint("b", i)
		f.create(name, 1)
		f.put(name, 0, 1, 'x')
		must(t)(f.SnapshotBlob(ref(name), &Access{}, nil))
		if i%3 == 0 {
			f.create(name, 1)
		}
		ok(t, f.DeleteBlob(ref(name), &Access{}, SnapshotsInclude))
	}
	var disks []vfs.FS
	var lefts []int // rows that are due, on each of them
	done := make(chan bool)
	left := f.rowCount(tableExpiry)
	f.onExpired = func(n int) { // the reaper waits for this
		disks = append(disks, f.fs.(*vfs.MemFS).CrashClone(vfs.CrashCloneCfg{}))
		left -= n
		if lefts = append(lefts, left); left == 0 {
			close(done)
		}
	}
	f.clock.Advance(day)
	<-done
	if len(disks) < 3 {
		t.Fatalf("%d batches", len(disks))
	}
	f.close()
	for i, disk := range disks {
		f.fs = disk
		expired := make(chan int, 100)
		f.onExpired = func(n int) { expired <- n }
		f.open()
		awaitExpired(expired, lefts[i])
		equal(t, "totals", f.totals(), Totals{Containers: 1})
		equal(t, "rows", f.rowCount(tableBlob)+f.rowCount(tableExpiry)+f.rowCount(tableVolume), 0)
		f.wantClean(fmt.Sprintf("after crash %d", i))
		f.close()
	}
	f.open()
}
