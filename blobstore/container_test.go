package blobstore

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"pagevault/blobstore/lease"
	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/cond"
	"pagevault/internal/azure/header"
	"pagevault/pagestore"
)

func TestContainer(t *testing.T) {
	f := newBareFixture(t, nil)
	meta := []header.Pair{{Name: "K", Value: "v"}}
	stamp := value(f.CreateContainer("cont", meta))(t)
	want := ContainerInfo{Name: "cont", Stamp: stamp, Metadata: meta}
	if got := value(f.ContainerInfo("cont", ""))(t); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	_, err := f.CreateContainer("cont", nil)
	wantCode(t, "again", err, azerr.ContainerAlreadyExists)
	_, err = f.CreateContainer("$logs", nil)
	wantCode(t, "$logs", err, azerr.InvalidResourceName)
	_, err = f.CreateContainer("x", nil)
	wantCode(t, "x", err, azerr.OutOfRangeInput)
	must(t)(f.CreateContainer("$root", nil))
	must(t)(f.CreateContainer("$web", nil))

	f.clock.Advance(time.Minute)
	f.create("b", 1)
	equal(t, "blobs do not touch the stamp", value(f.ContainerInfo("cont", ""))(t).Stamp, stamp)
	after := value(f.SetContainerMetadata("cont", &Access{}, nil))(t)
	got := value(f.ContainerInfo("cont", ""))(t)
	equal(t, "stamp", got.Stamp, after)
	equal(t, "stamp is newer", after.ETag > stamp.ETag, true)
	equal(t, "metadata", len(got.Metadata), 0)

	for what, err := range map[string]error{
		"info":     second(f.ContainerInfo("none", "")),
		"metadata": second(f.SetContainerMetadata("none", &Access{}, nil)),
		"delete":   f.DeleteContainer("none", &Access{}),
		"list":     second(f.ListBlobs("none", &ListBlobsRequest{})),
	} {
		wantCode(t, what, err, azerr.ContainerNotFound)
	}
	for what, err := range map[string]error{
		"info":     second(f.ContainerInfo("No", "")),
		"metadata": second(f.SetContainerMetadata("No", &Access{}, nil)),
		"delete":   f.DeleteContainer("No", &Access{}),
		"list":     second(f.ListBlobs("No", &ListBlobsRequest{})),
	} {
		wantCode(t, what, err, azerr.OutOfRangeInput)
	}
}

func second[T any](_ T, err error) error { return err }

func TestContainerConditions(t *testing.T) {
	f := newFixture(t)
	const past, future = "Sun, 01 Mar 2026 11:00:00 GMT", "Sun, 01 Mar 2026 13:00:00 GMT"
	dates := func(pairs ...string) *Access {
		t.Helper()
		return &Access{Conditions: value(cond.ParseDates(headers(t, pairs...)))(t)}
	}
	_, err := f.SetContainerMetadata("cont", dates("If-Modified-Since", future), nil)
	wantCode(t, "metadata", err, azerr.ConditionNotMet)
	must(t)(f.SetContainerMetadata("cont", dates("If-Modified-Since", past), nil))
	_, _, err = f.LeaseContainer("cont", lease.Request{Action: lease.Acquire, Seconds: 15}, dates("If-Unmodified-Since", past).Conditions)
	wantCode(t, "lease", err, azerr.ConditionNotMet)
	wantCode(t, "delete", f.DeleteContainer("cont", dates("If-Unmodified-Since", past)), azerr.ConditionNotMet)
	wantCode(t, "delete", f.DeleteContainer("cont", dates("If-Modified-Since", future)), azerr.ConditionNotMet)
	ok(t, f.DeleteContainer("cont", dates("If-Unmodified-Since", future)))
}

func TestContainerLease(t *testing.T) {
	f := newFixture(t)
	before := value(f.ContainerInfo("cont", ""))(t)
	do := func(r lease.Request) lease.Result {
		t.Helper()
		result, stamp, err := f.LeaseContainer("cont", r, cond.Conditions{})
		ok(t, err)
		equal(t, "stamp does not change", stamp, before.Stamp)
		return result
	}
	id := do(lease.Request{Action: lease.Acquire, Seconds: 15}).ID
	equal(t, "made-up id", len(strings.Split(id, "-")), 5)
	got := value(f.ContainerInfo("cont", id))(t)
	equal(t, "state", got.Lease.Status, lease.Leased)
	equal(t, "duration", got.Lease.Duration(), "fixed")
	_, err := f.ContainerInfo("cont", "other")
	wantCode(t, "info", err, azerr.LeaseIdMismatchWithContainerOperation)
	_, err = f.SetContainerMetadata("cont", &Access{LeaseID: "other"}, nil)
	wantCode(t, "metadata", err, azerr.LeaseIdMismatchWithContainerOperation)
	before.Stamp = value(f.SetContainerMetadata("cont", &Access{}, nil))(t) // needs no id
	wantCode(t, "delete", f.DeleteContainer("cont", &Access{}), azerr.LeaseIdMissing)
	wantCode(t, "delete", f.DeleteContainer("cont", &Access{LeaseID: "other"}), azerr.LeaseIdMismatchWithContainerOperation)
	f.create("b", 1) // the lease protects the container only
	_, _, err = f.LeaseContainer("cont", lease.Request{Action: lease.Acquire, Proposed: "other", Seconds: 15}, cond.Conditions{})
	wantCode(t, "acquire", err, azerr.LeaseAlreadyPresent)
	_, _, err = f.LeaseContainer("cont", lease.Request{Action: lease.Acquire, Seconds: 14}, cond.Conditions{})
	wantCode(t, "acquire", err, azerr.InvalidHeaderValue)
	_, _, err = f.LeaseContainer("none", lease.Request{Action: lease.Break}, cond.Conditions{})
	wantCode(t, "no container", err, azerr.ContainerNotFound)
	f.reopen()
	equal(t, "state after opening again", value(f.ContainerInfo("cont", id))(t).Lease.Status, lease.Leased)
	f.clock.Advance(15 * time.Second)
	_, err = f.ContainerInfo("cont", id)
	wantCode(t, "expired", err, azerr.LeaseNotPresentWithContainerOperation)
	do(lease.Request{Action: lease.Renew, ID: id})
	equal(t, "break", do(lease.Request{Action: lease.Break, HasPeriod: true, Period: 5}).TimeSeconds, 5)
	do(lease.Request{Action: lease.Release, ID: id})
	id = do(lease.Request{Action: lease.Acquire, Proposed: "mine", Seconds: lease.Infinite}).ID
	equal(t, "id", id, "mine")
	ok(t, f.DeleteContainer("cont", &Access{LeaseID: "mine"}))
	must(t)(f.CreateContainer("cont", nil))
	equal(t, "made again it is not leased", value(f.ContainerInfo("cont", ""))(t).Lease.Status, lease.Available)
}

// TestDeleteContainer: everything in it goes, in the background, and a container of the same name has nothing to do
// with it.
func TestDeleteContainer(t *testing.T) {
	f := newFixture(t)
	must(t)(f.CreateContainer("other", nil))
	must(t)(f.CreatePageBlob(BlobRef{Container: "other", Blob: "b0000"}, &CreatePageBlob{Size: 512}))
	n := reapBatch + 20
	for i := range n {
		name := fmt.Sprintf("b%04d", i)
		f.create(name, 1)
		if i%100 == 0 { // a snapshot of the volume, and one of an older volume
			f.snapshot(name)
			f.create(name, 1)
			f.snapshot(name)
		}
	}
	acquire(t, f, "b0001", "a") // leases of blobs do not matter
	rows := f.rowCount(tableBlob)
	ok(t, f.DeleteContainer("cont", &Access{}))
	_, err := f.BlobInfo(ref("b0000"), &Access{})
	wantCode(t, "blob of a deleted container", err, azerr.ContainerNotFound)
	must(t)(f.CreateContainer("cont", nil))
	_, err = f.BlobInfo(ref("b0000"), &Access{})
	wantCode(t, "blob of the new container", err, azerr.BlobNotFound)
	f.create("b0000", 2)
	if got := <-f.reaped; got.Container != "cont" || got.Rows != rows-1 {
		t.Errorf("reaped %+v, want %d rows", got, rows-1)
	}
	equal(t, "rows of blobs", f.rowCount(tableBlob), 2)
	equal(t, "rows of volumes", f.rowCount(tableVolume), 0)
	equal(t, "tombs", f.rowCount(tableTomb), 0)
	equal(t, "the blob made since", f.info(ref("b0000")).Size, 1024)
	equal(t, "the other container's", value(f.BlobInfo(BlobRef{Container: "other", Blob: "b0000"}, &Access{}))(t).Size, 512)
}

// TestReaperGoesOn: what a reaper left when the service ended is done by the next.
func TestReaperGoesOn(t *testing.T) {
	f := newFixture(t)
	f.create("b", 1)
	f.snapshot("b")
	// A deletion whose reaper never ran, as after a crash.
	ok(t, f.update(func(tx *pagestore.Tx) error {
		tx.Delete(appendContainerKey(nil, "cont"))
		tx.Set(appendTombKey(nil, 1), appendTombRow(nil, "cont"))
		return nil
	}))
	f.reopen()
	equal(t, "reaped", <-f.reaped, Reaped{Container: "cont", Rows: 2})
	equal(t, "rows", f.rowCount(tableBlob)+f.rowCount(tableTomb), 0)
	equal(t, "volumes", f.volumes(), 0)
	ids := value(f.CreateContainer("cont", nil))(t)
	_ = ids
	f.reopen()
	select {
	case r := <-f.reaped:
		t.Errorf("reaped once more: %+v", r)
	default:
	}
}

// TestContainerIDs: they are not used again, also across a restart, so that no blob comes back from the dead.
func TestContainerIDs(t *testing.T) {
	f := newFixture(t)
	seen := map[containerID]bool{}
	for i := range 6 {
		var id containerID
		ok(t, f.view(func(v *pagestore.View) error {
			var s scratch
			row, err := s.findContainer(v, "cont")
			id = row.id
			return err
		}))
		if seen[id] {
			t.Fatalf("id %d was used twice", id)
		}
		seen[id] = true
		ok(t, f.DeleteContainer("cont", &Access{}))
		if i == 3 {
			<-f.reaped
			f.reopen()
		}
		must(t)(f.CreateContainer("cont", nil))
	}
}

// TestReaperFails: an error ends the reaping, is reported, and is no end of the reaper.
func TestReaperFails(t *testing.T) {
	failed := make(chan error, 10)
	f := newFixture(t)
	f.create("b", 1)
	bad := appendBlobKey(nil, 1, "a", 0)
	ok(t, f.update(func(tx *pagestore.Tx) error {
		tx.Set(bad, []byte("not a row"))
		return nil
	}))
	f.events.ReapFailed = func(_ string, err error) { failed <- err }
	ok(t, f.DeleteContainer("cont", &Access{}))
	if err := <-failed; !errors.Is(err, pagestore.ErrCorrupt) {
		t.Errorf("got %v", err)
	}
	ok(t, f.update(func(tx *pagestore.Tx) error {
		tx.Delete(bad)
		return nil
	}))
	f.reaper.kick()
	equal(t, "reaped", <-f.reaped, Reaped{Container: "cont", Rows: 1})
}
