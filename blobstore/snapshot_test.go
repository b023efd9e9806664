package blobstore

import (
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/header"
	"pagevault/pagestore"
)

func TestSnapshot(t *testing.T) {
	f := newFixture(t)
	meta := []header.Pair{{Name: "k", Value: "v"}}
	must(t)(f.CreatePageBlob(ref("b"), &CreatePageBlob{Size: 4 * PageSize, Sequence: 3, Metadata: meta, HTTPHeaders: HTTPHeaders{CacheControl: "c"}}))
	f.put("b", 0, 2, 'a')
	acquire(t, f, "b", "id")
	base := f.info(ref("b"))
	f.clock.Advance(time.Minute)

	plain := value(f.SnapshotBlob(ref("b"), &Access{}, nil))(t)
	equal(t, "stamp is the blob's", plain.Stamp, base.Stamp)
	want := base
	want.Snapshot = plain.Snapshot
	want.Lease = f.info(snap("b", plain.Snapshot)).Lease // it has none; TestLeases looks at that
	if got := f.info(snap("b", plain.Snapshot)); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}

	other := []header.Pair{{Name: "other", Value: "w"}}
	withMeta := value(f.SnapshotBlob(ref("b"), &Access{}, other))(t)
	equal(t, "stamp is new", withMeta.ETag > base.ETag, true)
	got := f.info(snap("b", withMeta.Snapshot))
	if !reflect.DeepEqual(got.Metadata, other) || got.Stamp != withMeta.Stamp || got.CacheControl != "c" {
		t.Errorf("got %+v", got)
	}
	equal(t, "id", withMeta.Snapshot > plain.Snapshot, true)
	if got := f.info(ref("b")); !reflect.DeepEqual(got, base) {
		t.Errorf("the blob changed: %+v, was %+v", got, base)
	}

	req := putReq(1, 3, 'b')
	req.LeaseID = "id"
	must(t)(f.PutPages(ref("b"), req))
	equal(t, "blob", f.letters(ref("b")), "abb.")
	equal(t, "snapshot", f.letters(snap("b", plain.Snapshot)), "aa..")
	equal(t, "snapshot's ranges", f.ranges(snap("b", plain.Snapshot), PageRangesRequest{}), "0-2")
	equal(t, "named with fewer digits", f.letters(snap("b", trimZeros(plain.Snapshot))), "aa..")
	f.reopen()
	equal(t, "snapshot after opening again", f.letters(snap("b", plain.Snapshot)), "aa..")
}

// trimZeros shortens the fraction of a snapshot id, as some clients do.
func trimZeros(id string) string {
	n := len(id) - 1
	for id[n-1] == '0' {
		n--
	}
	return id[:n] + "Z"
}

func TestSnapshotRefused(t *testing.T) {
	f := newFixture(t)
	f.create("b", 1)
	acquire(t, f, "b", "id")
	stamp := f.info(ref("b")).Stamp
	try := func(what string, r BlobRef, acc Access, want azerr.Code) {
		t.Helper()
		_, err := f.SnapshotBlob(r, &acc, nil)
		wantCode(t, what, err, want)
	}
	try("of a snapshot", snap("b", "2026-03-01T12:00:00.0000000Z"), Access{}, azerr.InvalidQueryParameterValue)
	try("of nothing", ref("none"), Access{}, azerr.BlobNotFound)
	try("in nothing", BlobRef{Container: "none", Blob: "b"}, Access{}, azerr.ContainerNotFound)
	try("wrong lease", ref("b"), holding("other"), azerr.LeaseIdMismatchWithBlobOperation)
	try("condition", ref("b"), with(t, "If-None-Match", stamp.ETag.String()), azerr.ConditionNotMet)
	try("condition", ref("b"), with(t, "If-Modified-Since", "Sun, 01 Mar 2026 12:00:00 GMT"), azerr.ConditionNotMet)
	equal(t, "rows", f.rowCount(tableBlob), 1)
}

func TestDelete(t *testing.T) {
	f := newFixture(t)
	try := func(what string, r BlobRef, acc Access, mode DeleteSnapshots, want azerr.Code) {
		t.Helper()
		wantCode(t, what, f.DeleteBlob(r, &acc, mode), want)
	}
	gone := func(r BlobRef) {
		t.Helper()
		_, err := f.BlobInfo(r, &Access{})
		wantCode(t, fmt.Sprintf("%+v", r), err, azerr.BlobNotFound)
	}
	stamp := f.create("b", 4)
	try("in nothing", BlobRef{Container: "none", Blob: "b"}, Access{}, SnapshotsNone, azerr.ContainerNotFound)
	try("nothing", ref("none"), Access{}, SnapshotsNone, azerr.BlobNotFound)
	try("condition", ref("b"), with(t, "If-None-Match", stamp.ETag.String()), SnapshotsNone, azerr.ConditionNotMet)
	try("lease", ref("b"), holding("a"), SnapshotsNone, azerr.LeaseNotPresentWithBlobOperation)
	try("unknown snapshot", snap("b", "2026-03-01T12:00:00.0000000Z"), Access{}, SnapshotsNone, azerr.BlobNotFound)
	ok(t, f.DeleteBlob(ref("b"), &Access{}, SnapshotsOnly)) // there are none, which is what was asked for
	ok(t, f.DeleteBlob(ref("b"), &Access{}, SnapshotsNone))
	gone(ref("b"))

	f.create("b", 4)
	equal(t, "made again it is empty", f.ranges(ref("b"), PageRangesRequest{}), "")
	f.put("b", 0, 1, 'a')
	s1 := f.snapshot("b")
	f.put("b", 1, 2, 'b')
	s2, s3 := f.snapshot("b"), f.snapshot("b")
	try("with snapshots", ref("b"), Access{}, SnapshotsNone, azerr.SnapshotsPresent)
	try("snapshot and mode", snap("b", s1), Access{}, SnapshotsInclude, azerr.InvalidHeaderValue)
	acquire(t, f, "b", "id")
	try("leased", ref("b"), Access{}, SnapshotsInclude, azerr.LeaseIdMissing)
	try("leased", ref("b"), Access{}, SnapshotsOnly, azerr.LeaseIdMissing)
	try("snapshot, wrong lease", snap("b", s2), holding("other"), SnapshotsNone, azerr.LeaseIdMismatchWithBlobOperation)
	try("snapshot, condition", snap("b", s2), with(t, "If-Match", `"0x1"`), SnapshotsNone, azerr.ConditionNotMet)
	ok(t, f.DeleteBlob(snap("b", s2), &Access{}, SnapshotsNone)) // of a leased blob, without the id
	gone(snap("b", s2))
	equal(t, "others stay", f.letters(snap("b", s1))+" "+f.letters(snap("b", s3))+" "+f.letters(ref("b")), "a... ab.. ab..")
	equal(t, "diff over the gap", f.diff(snap("b", s3), s1), "1-2")
	held := holding("id")
	before := f.info(ref("b")).Stamp
	ok(t, f.DeleteBlob(ref("b"), &held, SnapshotsOnly))
	gone(snap("b", s1))
	gone(snap("b", s3))
	equal(t, "the blob stays as it is", f.info(ref("b")).Stamp, before)
	s4 := f.snapshot("b")
	equal(t, "ids go on", s4 > s3, true)
	ok(t, f.DeleteBlob(ref("b"), &held, SnapshotsInclude))
	gone(ref("b"))
	gone(snap("b", s4))
	equal(t, "rows", f.rowCount(tableBlob)+f.rowCount(tableVolume), 0)
	equal(t, "volumes", f.volumes(), 0)
}

// TestDeleteManySnapshots: more snapshots than one change takes.
func TestDeleteManySnapshots(t *testing.T) {
	f := newFixture(t)
	f.create("b", 1)
	f.create("c", 1)
	n := snapshotsPerUpdate + 10
	for i := range n {
		if i == 3 {
			f.create("b", 2) // three of them are of an older volume
		}
		must(t)(f.SnapshotBlob(ref("b"), &Access{}, nil))
	}
	stay := f.snapshot("c")
	equal(t, "rows", f.rowCount(tableBlob), n+3)
	ok(t, f.DeleteBlob(ref("b"), &Access{}, SnapshotsOnly))
	equal(t, "rows", f.rowCount(tableBlob), 3)
	equal(t, "rows of volumes", f.rowCount(tableVolume), 0)
	for range n {
		must(t)(f.SnapshotBlob(ref("b"), &Access{}, nil))
	}
	ok(t, f.DeleteBlob(ref("b"), &Access{}, SnapshotsInclude))
	equal(t, "rows", f.rowCount(tableBlob), 2)
	equal(t, "the neighbour's", f.info(snap("c", stay)).Size, 512)
	equal(t, "volumes", f.volumes(), 1)
}

// generation returns where the pages of a blob or snapshot are.
func (f *fixture) generation(r BlobRef) (pagestore.VolumeID, pagestore.Gen) {
	f.t.Helper()
	v := value(f.store.View())(f.t)
	defer v.Close()
	id, err := r.check()
	ok(f.t, err)
	var s scratch
	_, row, err := s.findBlob(v, &r, id)
	ok(f.t, err)
	return row.volume, row.gen
}

// TestSnapshotLetsGo: with a snapshot goes what only it shows, and with the blob what no snapshot shows, though the volume
// stays.
func TestSnapshotLetsGo(t *testing.T) {
	f := newFixture(t)
	shown := func(vol pagestore.VolumeID, g pagestore.Gen) (pages string, err error) {
		v := value(f.store.View())(t)
		defer v.Close()
		err = v.Ranges(vol, g, pagestore.AllPages, func(r pagestore.Range) bool {
			pages += fmt.Sprintf("[%d,%d)", r.Start, r.End)
			return true
		})
		return pages, err
	}
	let := func(what string, vol pagestore.VolumeID, g pagestore.Gen) {
		t.Helper()
		if _, err := shown(vol, g); !errors.Is(err, pagestore.ErrNoGeneration) {
			t.Errorf("%s: %v", what, err)
		}
	}
	f.create("b", 4)
	f.put("b", 0, 1, 'a')
	s1 := f.snapshot("b")
	f.put("b", 0, 2, 'b')
	s2 := f.snapshot("b")
	f.put("b", 0, 3, 'c')
	s3 := f.snapshot("b")
	f.put("b", 3, 4, 'd')
	vol, g1 := f.generation(snap("b", s1))
	_, g2 := f.generation(snap("b", s2))
	pages, err := shown(vol, g1)
	equal(t, "first snapshot", pages, "[0,1)")
	ok(t, err)

	ok(t, f.DeleteBlob(snap("b", s1), &Access{}, SnapshotsNone))
	let("snapshot of the blob's volume", vol, g1)
	f.create("b", 1)
	pages, err = shown(vol, pagestore.GenHead)
	equal(t, "what the blob held", pages, "")
	ok(t, err)
	ok(t, f.store.Reap(t.Context()))
	equal(t, "others stay", f.letters(snap("b", s2))+" "+f.letters(snap("b", s3)), "bb.. ccc.")
	equal(t, "valid pages of both", f.store.Stats().MappedBytes, (2+3)*PageSize)
	ok(t, f.DeleteBlob(snap("b", s2), &Access{}, SnapshotsNone))
	let("snapshot of an older volume", vol, g2)
	ok(t, f.store.Reap(t.Context()))
	equal(t, "valid pages of one", f.store.Stats().MappedBytes, 3*PageSize)
	equal(t, "the last one stays", f.letters(snap("b", s3)), "ccc.")
	equal(t, "volumes", f.volumes(), 2)
	ok(t, f.DeleteBlob(ref("b"), &Access{}, SnapshotsInclude))
	equal(t, "volumes", f.volumes(), 0)
	ok(t, f.store.Reap(t.Context()))
	equal(t, "live bytes", f.store.Stats().LiveBytes, 0)
}
