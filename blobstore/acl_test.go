package blobstore

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/header"
	"pagevault/internal/azure/sas"
	"pagevault/pagestore"
)

// TestContainerACL: who may use a container is kept, replaced as a whole, and gone with the container.
func TestContainerACL(t *testing.T) {
	f := newBareFixture(t, nil)
	acl := func() ContainerACL {
		t.Helper()
		acl, stamp, err := f.ContainerACL("cont", "")
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "stamp", stamp, value(f.ContainerInfo("cont", ""))(t).Stamp)
		return acl
	}
	want := func(what string, want ContainerACL) {
		t.Helper()
		if got := acl(); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, want %+v", what, got, want)
		}
		equal(t, what, value(f.ContainerInfo("cont", ""))(t).Public, want.Public)
		equal(t, what, value(f.ListContainers(&ListContainersRequest{}))(t).Containers[0].Public, want.Public)
	}
	stamp := value(f.CreateContainer("cont", []header.Pair{{Name: "a", Value: "1"}}))(t)
	want("new", ContainerACL{})
	shared := ContainerACL{Public: PublicContainer, Policies: []sas.Policy{
		{ID: "one", Start: "2026-01-01T00:00:00.0000000Z", Expiry: "2030-01-01T00:00:00.0000000Z", Permissions: "rw"}, {ID: "two"}}}
	after := value(f.SetContainerACL("cont", &Access{}, &shared))(t)
	equal(t, "stamp is newer", after.ETag > stamp.ETag, true)
	want("set", shared)
	must(t)(f.SetContainerMetadata("cont", &Access{}, []header.Pair{{Name: "b", Value: "2"}}))
	f.create("b", 1)
	f.reopen()
	want("after other changes, and opened again", shared)
	must(t)(f.SetContainerACL("cont", &Access{}, &ContainerACL{Public: PublicBlobs}))
	want("replaced", ContainerACL{Public: PublicBlobs})
	equal(t, "metadata stays", len(value(f.ContainerInfo("cont", ""))(t).Metadata), 1)
	must(t)(f.SetContainerACL("cont", &Access{}, &ContainerACL{}))
	want("taken away", ContainerACL{})

	_, err := f.SetContainerACL("cont", &Access{LeaseID: "a"}, &shared)
	wantCode(t, "a lease that is not there", err, azerr.LeaseNotPresentWithContainerOperation)
	_, _, err = f.ContainerACL("cont", "a")
	wantCode(t, "a lease that is not there", err, azerr.LeaseNotPresentWithContainerOperation)
	want("refused", ContainerACL{})
	_, err = f.SetContainerACL("none", &Access{}, &shared)
	wantCode(t, "no such container", err, azerr.ContainerNotFound)
	_, _, err = f.ContainerACL("No", "")
	wantCode(t, "no such name", err, azerr.OutOfRangeInput)

	must(t)(f.SetContainerACL("cont", &Access{}, &shared))
	if err := f.DeleteContainer("cont", &Access{}); err != nil {
		t.Fatal(err)
	}
	f.clock.Advance(time.Second)
	must(t)(f.CreatePublicContainer("cont", PublicBlobs, nil))
	want("made again, public", ContainerACL{Public: PublicBlobs})
}

// TestCreateOnly: who may make blobs and not overwrite them is told so, and nothing changes.
func TestCreateOnly(t *testing.T) {
	f := newFixture(t)
	only := CreatePageBlob{Access: Access{CreateOnly: true}, Size: PageSize}
	must(t)(f.CreatePageBlob(ref("b"), &only))
	f.put("b", 0, 1, 'a')
	_, err := f.CreatePageBlob(ref("b"), &only)
	wantCode(t, "overwrite", err, azerr.UnauthorizedBlobOverwrite)
	equal(t, "content", f.letters(ref("b")), "a")
	only.CreateOnly = false
	must(t)(f.CreatePageBlob(ref("b"), &only))
}

// TestDamagedPolicies: policies that cannot be read let nobody in.
func TestDamagedPolicies(t *testing.T) {
	f := newFixture(t)
	must(t)(f.SetContainerACL("cont", &Access{}, &ContainerACL{Policies: []sas.Policy{{ID: "a"}}}))
	err := f.update(func(tx *pagestore.Tx) error {
		var s scratch
		row, err := s.findContainer(tx, "cont")
		if err != nil {
			return err
		}
		row.policies = []byte{0, 0, 0, 0}
		tx.Set(s.key, row.append(nil))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := f.ContainerACL("cont", ""); !errors.Is(err, pagestore.ErrCorrupt) {
		t.Errorf("got %v, want ErrCorrupt", err)
	}
}

// TestCreateOnlyBlocks: nor may they stage blocks for a blob that is there, commit to it, or put another in its place.
func TestCreateOnlyBlocks(t *testing.T) {
	f := newFixture(t)
	only := Access{CreateOnly: true}
	ok(t, f.PutBlock(ref("b"), &PutBlock{Access: only, ID: []byte("a")}, upload([]byte("content"))))
	must(t)(f.CommitBlocks(ref("b"), &CommitBlocks{Access: only, Blocks: []ListedBlock{{ID: []byte("a")}}}))
	wantCode(t, "block", f.PutBlock(ref("b"), &PutBlock{Access: only, ID: []byte("a")}, upload([]byte("other"))), azerr.UnauthorizedBlobOverwrite)
	_, err := f.CommitBlocks(ref("b"), &CommitBlocks{Access: only})
	wantCode(t, "list", err, azerr.UnauthorizedBlobOverwrite)
	_, err = f.PutBlockBlob(ref("b"), &PutBlockBlob{Access: only}, upload(nil))
	wantCode(t, "blob", err, azerr.UnauthorizedBlobOverwrite)
	_, err = f.CreateAppendBlob(ref("b"), &CreateAppendBlob{Access: only})
	wantCode(t, "append blob", err, azerr.UnauthorizedBlobOverwrite)
	f.readsAs(ref("b"), []byte("content"))
}
