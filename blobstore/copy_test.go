package blobstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"pagevault/blobstore/immutable"
	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/header"
	"pagevault/pagestore"
)

const guidA = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"

// copy copies a blob or a snapshot, to another name or to its own, and then gives space back now and then.
func (m *model) copy(name string, b *modelBlob) {
	from := modelNames[m.r.IntN(len(modelNames))]
	source, state := BlobRef{Container: "cont", Blob: from}, (*modelState)(nil)
	if list := m.states(from); len(list) > 0 && (m.blobs[from] != nil || m.r.IntN(2) == 0) {
		state = list[len(list)-1]
		if m.r.IntN(2) == 0 {
			state = list[m.r.IntN(len(list))]
		}
		source = state.ref(from)
	}
	req := &CopyBlob{Source: source, SourceURL: "http://source/" + fmt.Sprint(m.now)}
	var want error
	switch n := m.r.IntN(8); {
	case state == nil:
		want = azerr.CannotVerifyCopySource
	case n == 0:
		req.Metadata = []header.Pair{{Name: "copied", Value: fmt.Sprint(m.now)}}
	case n == 1:
		req.SourceConditions = with(m.f.t, "If-Match", state.etag.String()).Conditions
	case n == 2:
		req.SourceConditions, want = with(m.f.t, "If-None-Match", state.etag.String()).Conditions, azerr.SourceConditionNotMet
	case n == 3 && b != nil:
		req.Access, want = with(m.f.t, "If-None-Match", "*"), azerr.BlobAlreadyExists
	}
	if b != nil && want != azerr.BlobAlreadyExists && !m.versioning { // where it goes is looked at before the source
		want = m.guard(&b.modelState, immutable.Replace, want)
	}
	m.tracef("copy %q %s%s to %q, want %v", from, source.Snapshot, source.Version, name, want)
	got, err := m.f.CopyBlob(context.Background(), ref(name), req)
	if !m.outcome("copy", err, want) {
		return
	}
	state = clonedState(state)
	over := m.overwrite(name)
	copied := *state
	copied.locks = immutable.State{}
	copied.data, copied.valid, copied.touched = slices.Clone(state.data), slices.Clone(state.valid), make([]int, len(state.valid))
	copied.id, copied.at, copied.volume, copied.created = "", 0, m.now, got.ETag
	copied.past, copied.version = false, ""
	if req.Metadata != nil {
		copied.meta = req.Metadata
	}
	b = over
	copied.etag = b.etag
	b.modelState = copied
	m.nextVersion(b, got.Version)
	m.written(b, got.ETag)
	b.copied = &CopyInfo{ID: got.ID, Source: req.SourceURL, Bytes: int64(len(b.data)), Copied: int64(len(b.data)), Completed: got.LastModified}
	if n := m.f.rowCount(tableCopy); n != 0 {
		m.fatalf("%d rows of copies under way", n)
	}
	if m.r.IntN(10) == 0 {
		if err := m.f.store.Maintain(context.Background(), pagestore.MaintainOptions{}, nil); err != nil {
			m.fatalf("maintenance: %v", err)
		}
	}
}

// TestCopyIndependent: neither of the two shows what is written to the other, and each lives on without the other.
func TestCopyIndependent(t *testing.T) {
	f := newFixture(t)
	f.create("a", 300)
	f.put("a", 0, 4, 'a')
	f.put("a", 290, 292, 'b')
	req := &CopyBlob{Source: ref("a"), SourceURL: "u"}
	must(t)(f.CopyBlob(t.Context(), ref("c"), req))
	equal(t, "pages", f.ranges(ref("c"), PageRangesRequest{}), "0-4 290-292")
	f.put("a", 1, 2, 'x')
	f.put("c", 2, 3, 'y')
	f.wipe("c", 290, 291)
	equal(t, "source", f.letters(ref("a"))[:5], "axaa.")
	equal(t, "copy", f.letters(ref("c"))[:5], "aaya.")
	ok(t, f.DeleteBlob(ref("a"), &Access{}, SnapshotsNone))
	ok(t, f.store.Maintain(t.Context(), pagestore.MaintainOptions{}, nil))
	f.reopen()
	equal(t, "copy alone", f.letters(ref("c"))[:5]+f.letters(ref("c"))[289:293], "aaya"+"..."+"b.")
	if f.info(ref("c")).Copy == nil {
		t.Error("a write of pages has removed what the blob says of its copy")
	}
	f.resize("c", 8)
	if c := f.info(ref("c")).Copy; c != nil {
		t.Errorf("a resized blob says %+v", c)
	}
	equal(t, "volumes", f.volumes(), 1)
	f.wantClean("after it")
}

// TestCopyPromotes: a snapshot that is copied onto its blob is what the blob was; the snapshots stay.
func TestCopyPromotes(t *testing.T) {
	f := newFixture(t)
	f.create("a", 8)
	f.put("a", 0, 2, 'a')
	s := f.snapshot("a")
	f.put("a", 0, 8, 'b')
	must(t)(f.CopyBlob(t.Context(), ref("a"), &CopyBlob{Source: snap("a", s), SourceURL: "u"}))
	equal(t, "blob", f.letters(ref("a")), "aa......")
	equal(t, "snapshot", f.letters(snap("a", s)), "aa......")
	_, err := f.PageRanges(ref("a"), &PageRangesRequest{PrevSnapshot: s})
	wantCode(t, "differences to before the copy", err, azerr.BlobOverwritten)
	must(t)(f.CopyBlob(t.Context(), ref("a"), &CopyBlob{Source: ref("a"), SourceURL: "u"}))
	equal(t, "blob, copied onto itself", f.letters(ref("a")), "aa......")
	f.wantClean("after it")
}

// TestCopyRefused: what is wrong with either end, and nothing is left of it.
func TestCopyRefused(t *testing.T) {
	f := newFixture(t)
	f.create("a", 8)
	f.create("b", 8)
	must(t)(f.PutBlockBlob(ref("other"), &PutBlockBlob{}, upload([]byte("content"))))
	acquire(t, f, "b", guidA)
	try := func(what, to string, req CopyBlob, want azerr.Code) {
		t.Helper()
		req.SourceURL = "u"
		_, err := f.CopyBlob(t.Context(), ref(to), &req)
		wantCode(t, what, err, want)
	}
	try("no source", "c", CopyBlob{Source: ref("none")}, azerr.CannotVerifyCopySource)
	try("no container", "c", CopyBlob{Source: BlobRef{Container: "none", Blob: "a"}}, azerr.CannotVerifyCopySource)
	try("no snapshot", "c", CopyBlob{Source: snap("a", "2020-01-01T00:00:00.0000000Z")}, azerr.CannotVerifyCopySource)
	try("source of another type", "a", CopyBlob{Source: ref("other")}, azerr.InvalidBlobType)
	try("destination of another type", "other", CopyBlob{Source: ref("a")}, azerr.InvalidBlobType)
	try("leased", "b", CopyBlob{Source: ref("a")}, azerr.LeaseIdMissing)
	try("exists", "a", CopyBlob{Source: ref("b"), Access: with(t, "If-None-Match", "*")}, azerr.BlobAlreadyExists)
	try("source condition", "c", CopyBlob{Source: ref("a"), SourceConditions: with(t, "If-None-Match", "*").Conditions}, azerr.SourceConditionNotMet)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := f.CopyBlob(ended, ref("c"), &CopyBlob{Source: ref("a"), SourceURL: "u"})
	wantCode(t, "no time", err, azerr.ServerBusy)
	_, err = f.BlobInfo(ref("c"), &Access{})
	wantCode(t, "destination", err, azerr.BlobNotFound)
	for range copiesMax {
		job := &copyJob{volume: pagestore.VolumeID(1000 + len(f.copies.jobs))}
		if !f.copies.add(job) {
			t.Fatal("a copy was not taken up")
		}
		defer f.copies.remove(job)
	}
	try("too many", "c", CopyBlob{Source: ref("a")}, azerr.ServerBusy)
	equal(t, "rows", f.rowCount(tableCopy), 0)
	equal(t, "volumes", f.volumes(), 3)
	f.wantClean("after it")
}

// TestCopySourceGone: a source that goes away while it is copied ends the copy, and nothing is left of it.
func TestCopySourceGone(t *testing.T) {
	for _, what := range []string{"blob", "snapshot", "container"} {
		f := newFixture(t)
		f.create("a", 8)
		f.put("a", 0, 2, 'a')
		s := snap("a", f.snapshot("a"))
		must(t)(f.CreateContainer("dest", nil))
		to := BlobRef{Container: "dest", Blob: "c"}
		req := &CopyBlob{Source: ref("a"), SourceURL: "u"}
		if what == "snapshot" {
			req.Source = s
		}
		at, _ := parseSnapshot(req.Source.Snapshot)
		job := &copyJob{}
		ok(t, f.beginCopy(job, &to, req, at))
		f.wantClean("after it") // a copy that is under way is no damage
		switch what {
		case "blob":
			ok(t, f.DeleteBlob(ref("a"), &Access{}, SnapshotsInclude))
		case "snapshot":
			ok(t, f.DeleteBlob(s, &Access{}, SnapshotsNone))
		case "container":
			ok(t, f.DeleteContainer("cont", &Access{}))
			<-f.reaped
		}
		err := f.store.Copy(t.Context(), job.volume, job.source.volume, job.gen, nil)
		if !errors.Is(err, pagestore.ErrNoVolume) && !errors.Is(err, pagestore.ErrNoGeneration) {
			t.Errorf("%s: %v", what, err)
		}
		f.endCopy(job)
		equal(t, "rows", f.rowCount(tableCopy), 0)
		f.wantClean("after it")
	}
}

// TestCopyCrash: a copy that the process did not end is taken away when the account is opened again, and the source is
// not held any more.
func TestCopyCrash(t *testing.T) {
	f := newFixture(t)
	f.create("a", 8)
	f.put("a", 0, 2, 'a')
	to := ref("c")
	job := &copyJob{}
	ok(t, f.beginCopy(job, &to, &CopyBlob{Source: ref("a"), SourceURL: "u"}, 0))
	ok(t, f.store.Copy(t.Context(), job.volume, job.source.volume, job.gen, nil))
	equal(t, "rows", f.rowCount(tableCopy), 1)
	f.reopen()
	ok(t, f.reap()) // again, or what the reaper does on its own is waited for
	equal(t, "rows", f.rowCount(tableCopy), 0)
	equal(t, "volumes", f.volumes(), 1)
	_, err := f.BlobInfo(to, &Access{})
	wantCode(t, "destination", err, azerr.BlobNotFound)
	equal(t, "source", f.letters(ref("a")), "aa......")
	f.wantClean("after it")
}

// FuzzCopyRows: any bytes are refused, or read as a row that is the same after it was written and read again.
func FuzzCopyRows(f *testing.F) {
	f.Add((&copyRow{source: 300, gen: 5}).append(nil))
	f.Add((&CopyInfo{ID: guidA, Source: "http://a/b", Bytes: 1 << 20, Completed: goldenTime}).append(nil))
	f.Fuzz(func(t *testing.T, p []byte) {
		if row, err := decodeCopyRow(p); err == nil {
			again, err := decodeCopyRow(row.append(nil))
			if err != nil || again != row {
				t.Errorf("copy row: %+v, then %+v, %v", row, again, err)
			}
		}
		if info, err := decodeCopyInfo(p); err == nil && info != nil {
			again, err := decodeCopyInfo(info.append(nil))
			if err != nil || *again != *info {
				t.Errorf("copy: %+v, then %+v, %v", info, again, err)
			}
		}
	})
}

// TestCopyRowCutShort: a row of a copy without its end is damaged, wherever it is cut.
func TestCopyRowCutShort(t *testing.T) {
	row := copyRow{source: 300, gen: 5}
	p := row.append(nil)
	got, err := decodeCopyRow(p)
	ok(t, err)
	equal(t, "row", got, row)
	info := CopyInfo{ID: guidA, Source: "http://a/b", Bytes: 1 << 20, Completed: goldenTime}
	q := info.append(nil)
	back, err := decodeCopyInfo(q)
	ok(t, err)
	equal(t, "copy", *back, info)
	for n := range p {
		if _, err := decodeCopyRow(p[:n]); !errors.Is(err, pagestore.ErrCorrupt) {
			t.Errorf("row of %d bytes: %v", n, err)
		}
	}
	for n := 1; n < len(q); n++ {
		if _, err := decodeCopyInfo(q[:n]); !errors.Is(err, pagestore.ErrCorrupt) {
			t.Errorf("copy of %d bytes: %v", n, err)
		}
	}
}
