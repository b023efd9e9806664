package blobstore

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pagevault/blobstore/immutable"
	"pagevault/blobstore/lease"
	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/cond"
	"pagevault/internal/azure/header"
	"pagevault/pagestore"
)

// heldSource is a source of pages 0 to 2 of 'a' and 5 to 6, which gives a piece only when it is told to.
type heldSource struct {
	asked chan int64 // gets the offset of a piece that is wanted
	give  chan error // what comes of it
}

func newHeldSource() *heldSource {
	return &heldSource{asked: make(chan int64, 10), give: make(chan error, 10)}
}

func (s *heldSource) Pages(_ context.Context, marker string) ([]PageEntry, string, error) {
	if marker == "" {
		return []PageEntry{{0, 2 * PageSize, false}}, "more", nil
	}
	return []PageEntry{{5 * PageSize, 6 * PageSize, false}}, "", nil
}

func (s *heldSource) ReadPages(ctx context.Context, p []byte, off int64) error {
	s.asked <- off
	select {
	case err := <-s.give:
		for i := range p {
			p[i] = 'a'
		}
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// endlessSource is a source whose pages never come to an end, and of which there is nothing to copy.
type endlessSource struct{ turn func() }

func (s endlessSource) Pages(context.Context, string) ([]PageEntry, string, error) {
	s.turn()
	return nil, "more", nil
}

func (endlessSource) ReadPages(context.Context, []byte, int64) error { return nil }

// startHeld begins a copy of eight pages to a blob and waits until its first piece is wanted.
func (f *fixture) startHeld(name string) (*heldSource, CopyResult) {
	f.t.Helper()
	s := newHeldSource()
	got, err := f.StartCopy(ref(name), &StartCopy{Size: 8 * PageSize, Sequence: 7, Source: s, SourceURL: "http://elsewhere/x",
		Metadata: []header.Pair{{Name: "k", Value: "v"}}, HTTPHeaders: HTTPHeaders{ContentType: "x/y"}})
	ok(f.t, err)
	<-s.asked
	return s, got
}

// settled waits for the pending copies and returns what the blob says of its own.
func (f *fixture) settled(name string) CopyInfo {
	f.t.Helper()
	f.pendings.worker.Wait()
	c := f.info(ref(name)).Copy
	if c == nil {
		f.t.Fatalf("%s says of no copy", name)
	}
	return *c
}

// TestPendingCopy follows a copy from its beginning to its end.
func TestPendingCopy(t *testing.T) {
	f := newFixture(t)
	s, got := f.startHeld("c")
	equal(t, "status", got.Status, CopyPending)
	info := f.info(ref("c"))
	equal(t, "size", info.Size, 8*PageSize)
	equal(t, "sequence", info.Sequence, 7)
	equal(t, "status", info.Copy.Status, CopyPending)
	equal(t, "progress", info.Copy.Copied, 0)
	equal(t, "before the first piece", f.letters(ref("c")), "........")
	equal(t, "pages", f.ranges(ref("c"), PageRangesRequest{}), "")
	s.give <- nil
	<-s.asked
	equal(t, "after the first piece", f.letters(ref("c")), "aa......")
	equal(t, "progress", f.info(ref("c")).Copy.Copied, 2*PageSize)
	f.wantClean("while it is pending")
	f.clock.Advance(1e9)
	s.give <- nil
	done := f.settled("c")
	equal(t, "status", done.Status, CopySuccess)
	equal(t, "progress", done.Copied, done.Bytes)
	equal(t, "completed", done.Completed, f.info(ref("c")).ETag.Time())
	equal(t, "id", done.ID, got.ID)
	equal(t, "content", f.letters(ref("c")), "aa...a..")
	equal(t, "pages", f.ranges(ref("c"), PageRangesRequest{}), "0-2 5-6")
	equal(t, "rows", f.rowCount(tablePending), 0)
	if info = f.info(ref("c")); info.Stamp == got.Stamp || info.ContentType != "x/y" || len(info.Metadata) != 1 {
		t.Errorf("afterwards it is %+v", info)
	}
	f.put("c", 3, 4, 'x')
	if f.info(ref("c")).Copy == nil {
		t.Error("a write of pages has removed what the blob says of its copy")
	}
	f.wantClean("after it")
}

// TestPendingCopyHolds: nobody else may change the blob, and everybody may read it.
func TestPendingCopyHolds(t *testing.T) {
	f := newFixture(t)
	f.create("a", 8)
	f.create("c", 8)
	f.put("c", 0, 8, 'o')
	old := f.snapshot("c")
	_, got := f.startHeld("c")
	page := header.Range{End: PageSize}
	_, put := f.PutPages(ref("c"), &PutPages{Range: page, Body: make([]byte, PageSize)})
	_, wipe := f.ClearPages(ref("c"), &ClearPages{Range: page})
	_, create := f.CreatePageBlob(ref("c"), &CreatePageBlob{Size: PageSize})
	_, props := f.SetBlobProperties(ref("c"), &SetProperties{Size: Given(int64(PageSize))})
	_, meta := f.SetBlobMetadata(ref("c"), &Access{}, nil)
	_, snapshot := f.SnapshotBlob(ref("c"), &Access{}, nil)
	_, copied := f.CopyBlob(t.Context(), ref("c"), &CopyBlob{Source: ref("a"), SourceURL: "u"})
	_, from := f.CopyBlob(t.Context(), ref("d"), &CopyBlob{Source: ref("c"), SourceURL: "u"})
	_, started := f.StartCopy(ref("c"), &StartCopy{Source: newHeldSource()})
	_, increment := f.StartIncrementalCopy(ref("c"), &IncrementalCopy{From: f.Account, Source: snap("c", old)})
	for what, err := range map[string]error{"put": put, "clear": wipe, "create": create, "properties": props, "metadata": meta,
		"snapshot": snapshot, "copy": copied, "copy from it": from, "another copy": started, "incremental copy": increment,
		"tags":   f.SetBlobTags(ref("c"), &Access{}, nil),
		"delete": f.DeleteBlob(ref("c"), &Access{}, SnapshotsInclude)} {
		wantCode(t, what, err, azerr.PendingCopyOperation)
	}
	equal(t, "snapshot", f.letters(snap("c", old)), "oooooooo")
	wantCode(t, "another id", f.AbortCopy(ref("c"), &Access{}, guidA), azerr.CopyIdMismatch)
	wantCode(t, "not its lease", f.AbortCopy(ref("c"), &Access{LeaseID: guidA}, got.ID), azerr.LeaseNotPresentWithBlobOperation)
	ok(t, f.AbortCopy(ref("c"), &Access{}, got.ID))
	wantCode(t, "again", f.AbortCopy(ref("c"), &Access{}, got.ID), azerr.NoPendingCopyOperation)
	done := f.settled("c")
	equal(t, "status", done.Status, CopyAborted)
	equal(t, "size", f.info(ref("c")).Size, 0)
	equal(t, "metadata", len(f.info(ref("c")).Metadata), 1)
	f.resize("c", 4)
	if f.info(ref("c")).Copy != nil {
		t.Error("a resized blob says of its copy")
	}
	equal(t, "snapshot", f.letters(snap("c", old)), "oooooooo")
	f.wantClean("after it")
}

// TestPendingCopyFails: a source that fails ends the copy, and the blob says why.
func TestPendingCopyFails(t *testing.T) {
	f := newFixture(t)
	s, _ := f.startHeld("c")
	s.give <- nil
	s.give <- azerr.BlobNotFound
	done := f.settled("c")
	equal(t, "status", done.Status, CopyFailed)
	equal(t, "description", done.Description, `404 BlobNotFound "The specified blob does not exist."`)
	equal(t, "size", f.info(ref("c")).Size, 0)
	equal(t, "rows", f.rowCount(tablePending), 0)

	s, _ = f.startHeld("c")
	f.clock.Advance(pendingFor + 1)
	s.give <- nil
	equal(t, "after two weeks", f.settled("c").Status, CopyFailed)

	_, err := f.StartCopy(ref("c"), &StartCopy{Size: PageSize, Source: endlessSource{func() { f.clock.Advance(pendingFor / 4) }}, SourceURL: "http://elsewhere/x"})
	ok(t, err)
	equal(t, "of a source without an end", f.settled("c").Status, CopyFailed)

	s, _ = f.startHeld("c")
	ok(t, f.DeleteContainer("cont", &Access{}))
	s.give <- nil
	f.pendings.worker.Wait()
	<-f.reaped
	ok(t, f.reap())
	equal(t, "rows", f.rowCount(tablePending), 0)
	f.wantClean("after it")
}

// TestPendingCopyRestored: a copy whose container was deleted and kept has failed when the container is there again.
func TestPendingCopyRestored(t *testing.T) {
	f := newFixture(t)
	f.containerDays = 3
	f.reopen()
	s, _ := f.startHeld("c")
	ok(t, f.DeleteContainer("cont", &Access{}))
	s.give <- nil
	f.pendings.worker.Wait()
	ok(t, f.reap())
	f.wantClean("while the container is kept")
	list := value(f.ListContainers(&ListContainersRequest{Deleted: true}))(t)
	ok(t, f.RestoreContainer("cont", list.Containers[0].Version))
	ok(t, f.reap())
	if c := f.info(ref("c")).Copy; c == nil || c.Status != CopyFailed || c.Description != interrupted {
		t.Errorf("it says %+v", c)
	}
	equal(t, "rows", f.rowCount(tablePending), 0)
	f.create("c", 8)
	f.wantClean("after it")

	s, _ = f.startHeld("c")
	ok(t, f.DeleteContainer("cont", &Access{}))
	s.give <- nil
	f.pendings.worker.Wait()
	f.clock.Advance(4 * day)
	<-f.reaped
	ok(t, f.reap())
	equal(t, "rows when the container is gone for good", f.rowCount(tablePending), 0)
	f.wantClean("after that")
}

// TestPendingCopyStopped: a copy that the process did not end has failed when the account is open again.
func TestPendingCopyStopped(t *testing.T) {
	f := newFixture(t)
	s, got := f.startHeld("c")
	s.give <- nil
	<-s.asked
	f.reopen()
	ok(t, f.reap()) // again, or what the reaper does on its own is waited for
	c := f.info(ref("c")).Copy
	if c == nil || c.Status != CopyFailed || c.ID != got.ID || c.Description != interrupted {
		t.Errorf("it says %+v", c)
	}
	equal(t, "rows", f.rowCount(tablePending), 0)
	f.create("c", 8)
	f.wantClean("after it")
}

// TestPendingCopiesBound: those that are too many are refused, and leave nothing.
func TestPendingCopiesBound(t *testing.T) {
	f := newFixture(t)
	var ids []string
	names := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
	for _, name := range names[:pendingCopiesMax] {
		_, got := f.startHeld(name)
		ids = append(ids, got.ID)
	}
	_, err := f.StartCopy(ref("z"), &StartCopy{Source: newHeldSource()})
	wantCode(t, "one more", err, azerr.ServerBusy)
	_, err = f.BlobInfo(ref("z"), &Access{})
	wantCode(t, "its destination", err, azerr.BlobNotFound)
	for i, id := range ids {
		ok(t, f.AbortCopy(ref(names[i]), &Access{}, id))
	}
	f.pendings.worker.Wait()
	_, err = f.StartCopy(ref("z"), &StartCopy{Source: newHeldSource()})
	ok(t, err)
}

// TestCopyLease: a lease of a destination must not run out.
func TestCopyLease(t *testing.T) {
	f := newFixture(t)
	f.create("a", 8)
	f.create("b", 8)
	_, _, err := f.LeaseBlob(ref("b"), lease.Request{Action: lease.Acquire, Proposed: guidA, Seconds: 15}, cond.Conditions{})
	ok(t, err)
	_, err = f.CopyBlob(t.Context(), ref("b"), &CopyBlob{Source: ref("a"), SourceURL: "u", Access: Access{LeaseID: guidA}})
	wantCode(t, "lease of 15 s", err, azerr.InfiniteLeaseDurationRequired)
}

// incremental copies a snapshot of "a" to a blob and waits for the end of it.
func (f *fixture) incremental(to string, source BlobRef) CopyInfo {
	f.t.Helper()
	_, err := f.StartIncrementalCopy(ref(to), &IncrementalCopy{From: f.Account, Source: source, SourceURL: "http://a/" + source.Snapshot})
	ok(f.t, err)
	return f.settled(to)
}

// TestIncrementalCopyOverDeleted: what is deleted and kept stays so when an incremental copy takes its name.
func TestIncrementalCopyOverDeleted(t *testing.T) {
	f := newFixture(t)
	f.setRetention(3, false)
	f.create("a", 4)
	f.put("a", 0, 1, 'a')
	source := snap("a", f.snapshot("a"))
	f.create("c", 8)
	f.put("c", 0, 2, 'c')
	f.snapshot("c")
	ok(t, f.DeleteBlob(ref("c"), &Access{}, SnapshotsInclude))
	equal(t, "status", f.incremental("c", source).Status, CopySuccess)
	equal(t, "names", f.allNames(), "a@ a (c@) (c@) c@ c")
	f.wantClean("copied")
	f.clock.Advance(4 * day)
	ok(t, f.reap())
	f.wantClean("when the time of what was deleted is over")
}

// TestIncrementalCopy: each copy makes a snapshot that shows what the source's does, and two of them differ where those do.
func TestIncrementalCopy(t *testing.T) {
	f := newFixture(t)
	f.create("a", 12)
	f.put("a", 0, 4, 'a')
	s1 := f.snapshot("a")
	c1 := f.incremental("c", snap("a", s1))
	equal(t, "status", c1.Status, CopySuccess)
	equal(t, "incremental", c1.Incremental, true)
	equal(t, "first", f.letters(snap("c", c1.Destination)), "aaaa........")
	f.put("a", 3, 6, 'b')
	f.wipe("a", 0, 1)
	s2 := f.snapshot("a")
	c2 := f.incremental("c", snap("a", s2))
	equal(t, "second", f.letters(snap("c", c2.Destination)), ".aabbb......")
	equal(t, "pages", f.ranges(snap("c", c2.Destination), PageRangesRequest{}), "1-6")
	equal(t, "differences", f.diff(snap("c", c2.Destination), c1.Destination), f.diff(snap("a", s2), s1))
	equal(t, "first still", f.letters(snap("c", c1.Destination)), "aaaa........")
	f.resize("a", 5)
	s3 := f.snapshot("a")
	c3 := f.incremental("c", snap("a", s3))
	equal(t, "smaller", f.letters(snap("c", c3.Destination)), ".aabb")
	f.resize("a", 7)
	f.put("a", 6, 7, 'z')
	s4 := f.snapshot("a")
	ok(t, f.DeleteBlob(snap("a", s3), &Access{}, SnapshotsNone)) // without what was copied last all of it is copied
	c4 := f.incremental("c", snap("a", s4))
	equal(t, "larger", f.letters(snap("c", c4.Destination)), ".aabb.z")
	equal(t, "pages", f.ranges(snap("c", c4.Destination), PageRangesRequest{}), "1-5 6-7")
	f.wantClean("after it")
	f.reopen()
	equal(t, "after opening again", f.letters(snap("c", c4.Destination)), ".aabb.z")

	only := func(what string, err error) {
		t.Helper()
		wantCode(t, what, err, azerr.OperationNotAllowedOnIncrementalCopyBlob)
	}
	_, err := f.OpenBlob(ref("c"), &Access{})
	only("read", err)
	_, err = f.PageRanges(ref("c"), &PageRangesRequest{})
	only("page ranges", err)
	_, err = f.CreatePageBlob(ref("c"), &CreatePageBlob{Size: PageSize})
	only("create", err)
	_, err = f.SnapshotBlob(ref("c"), &Access{}, nil)
	only("snapshot", err)
	_, err = f.CopyBlob(t.Context(), ref("d"), &CopyBlob{Source: ref("c"), SourceURL: "u"})
	only("as a source", err)
	_, err = f.BlobTags(ref("c"), &Access{})
	only("tags", err)
	must(t)(f.CopyBlob(t.Context(), ref("d"), &CopyBlob{Source: snap("c", c1.Destination), SourceURL: "u"}))
	equal(t, "copy of a snapshot", f.letters(ref("d")), "aaaa........")
	f.put("d", 0, 1, 'x')

	refused := func(what string, to string, source BlobRef, acc Access, want azerr.Code) {
		t.Helper()
		_, err := f.StartIncrementalCopy(ref(to), &IncrementalCopy{From: f.Account, Source: source, SourceURL: "u", Access: acc})
		wantCode(t, what, err, want)
	}
	refused("earlier", "c", snap("a", s1), Access{}, azerr.IncrementalCopyOfEarlierSnapshotNotAllowed)
	refused("no snapshot", "c", ref("a"), Access{}, azerr.IncrementalCopySourceMustBeSnapshot)
	refused("gone", "c", snap("a", s3), Access{}, azerr.CannotVerifyCopySource)
	refused("another destination", "d", snap("a", s4), Access{}, azerr.IncrementalCopyBlobMismatch)
	refused("another source", "c", snap("c", c1.Destination), Access{}, azerr.IncrementalCopyBlobMismatch)
	refused("condition", "c", snap("a", s4), with(t, "If-None-Match", f.info(ref("c")).ETag.String()), azerr.TargetConditionNotMet)
	f.create("a", 7)
	s5 := f.snapshot("a")
	refused("made anew", "c", snap("a", s5), Access{}, azerr.BlobOverwritten)
	ok(t, f.DeleteBlob(ref("c"), &Access{}, SnapshotsInclude))
	f.incremental("c", snap("a", s5))
	f.wantClean("at the end")
}

// TestIncrementalCopyStopped: a copy that came to nothing leaves the snapshots, and the next one makes up for it.
func TestIncrementalCopyStopped(t *testing.T) {
	f := newFixture(t)
	f.create("a", 8)
	f.put("a", 0, 2, 'a')
	c1 := f.incremental("c", snap("a", f.snapshot("a")))
	f.put("a", 4, 6, 'b')
	s2 := f.snapshot("a")
	// The process ends after some pages: the row stays, and the pages are in the blob.
	source := sourceOf(&IncrementalCopy{From: f.Account, Source: snap("a", s2)}, f)
	before, err := f.increments(pointer(ref("c")))
	ok(t, err)
	job, err := f.newPending(pointer(ref("c")), newHeldSource(), 8*PageSize)
	ok(t, err)
	c := takeChange()
	ok(t, f.update(func(tx *pagestore.Tx) error {
		c.tx, c.now = tx, f.clock.Now()
		err := c.beginIncrement(f.Account, job, &IncrementalCopy{From: f.Account, Source: snap("a", s2), SourceURL: "u"}, source, before)
		tx.Set(job.key(), job.row())
		return err
	}))
	c.release()
	ok(t, f.changePending(job, func(c *blobChange, s *copyState) error {
		return c.tx.Clear(c.row.volume, pagestore.Range{Start: 0, End: 1})
	}))
	wantCode(t, "while it is pending", f.DeleteBlob(ref("c"), &Access{}, SnapshotsInclude), azerr.PendingCopyOperation)
	f.pendings.remove(job)
	f.reopen()
	ok(t, f.reap())
	equal(t, "status", f.info(ref("c")).Copy.Status, CopyFailed)
	equal(t, "destination", f.info(ref("c")).Copy.Destination, c1.Destination)
	equal(t, "snapshot", f.letters(snap("c", c1.Destination)), "aa......")
	f.wipe("a", 4, 5)
	c3 := f.incremental("c", snap("a", f.snapshot("a")))
	equal(t, "next", f.letters(snap("c", c3.Destination)), "aa...b..")
	equal(t, "pages", f.ranges(snap("c", c3.Destination), PageRangesRequest{}), "0-2 5-6")
	f.wantClean("after it")
}

func sourceOf(req *IncrementalCopy, f *fixture) *incrementSource {
	f.t.Helper()
	s, err := req.from(f.Account)
	ok(f.t, err)
	return s
}

func pointer[T any](v T) *T { return &v }

// FuzzCopyState: any bytes are refused, or read as a state that is the same after it was written and read again.
func FuzzCopyState(f *testing.F) {
	f.Add((&copyState{status: CopyPending, copied: 512}).append(nil))
	f.Add((&copyState{status: CopyFailed, description: "404"}).append(nil))
	f.Add((&copyState{incremental: &incrementalState{source: "a/c/b", volume: 5, last: 1, wanted: 2, made: 3, unsure: true}}).append(nil))
	f.Fuzz(func(t *testing.T, p []byte) {
		s, err := decodeCopyState(p)
		if err != nil || s == nil {
			return
		}
		q := s.append(nil)
		again, err := decodeCopyState(q)
		if err != nil || !slices.Equal(again.append(nil), q) {
			t.Errorf("%+v, then %+v, %v", s, again, err)
		}
	})
}

// FuzzPendingRow: the row of a pending copy.
func FuzzPendingRow(f *testing.F) {
	job := &pendingJob{id: guidA, ref: BlobRef{Container: "cont", Blob: "a\x00b"}, container: 5}
	f.Add(job.key(), job.row())
	f.Fuzz(func(t *testing.T, key, row []byte) {
		job, err := parsePending(key, row)
		if err != nil {
			if !errors.Is(err, pagestore.ErrCorrupt) {
				t.Error(err)
			}
			return
		}
		again, err := parsePending(job.key(), job.row())
		if err != nil || again.id != job.id || again.ref != job.ref || again.container != job.container {
			t.Errorf("%+v, then %+v, %v", job, again, err)
		}
	})
}

// readySource is a source of four pages that is there at once.
type readySource byte

func (s readySource) Pages(context.Context, string) ([]PageEntry, string, error) {
	return []PageEntry{{0, 2 * PageSize, false}, {3 * PageSize, 4 * PageSize, false}}, "", nil
}

func (s readySource) ReadPages(ctx context.Context, p []byte, _ int64) error {
	for i := range p {
		p[i] = byte(s)
	}
	return ctx.Err()
}

// TestPendingCopiesBesideOthers: copies, their ends by others, writes and deletions at the same time. In the end each blob
// is as one of them left it.
func TestPendingCopiesBesideOthers(t *testing.T) {
	f := newFixture(t)
	expected := []azerr.Code{azerr.PendingCopyOperation, azerr.NoPendingCopyOperation, azerr.CopyIdMismatch, azerr.BlobNotFound,
		azerr.ServerBusy, azerr.InvalidPageRange}
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			r := rand.New(rand.NewPCG(9, uint64(g)))
			for range 60 {
				name := []string{"a", "b", "c"}[r.IntN(3)]
				var err error
				switch r.IntN(6) {
				case 0, 1:
					var got CopyResult
					got, err = f.StartCopy(ref(name), &StartCopy{Size: 8 * PageSize, Source: readySource('a' + byte(g)), SourceURL: "u"})
					if err == nil && r.IntN(2) == 0 {
						err = f.AbortCopy(ref(name), &Access{}, got.ID)
					}
				case 2:
					_, err = f.PutPages(ref(name), putReq(6, 7, 'w'))
				case 3:
					err = f.DeleteBlob(ref(name), &Access{}, SnapshotsNone)
				case 4:
					_, err = f.CreatePageBlob(ref(name), &CreatePageBlob{Size: 8 * PageSize})
				default:
					_, err = f.BlobInfo(ref(name), &Access{})
				}
				if err != nil && !slices.Contains(expected, azerr.From(err).Code) {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
	all.Wait()
	f.pendings.worker.Wait()
	for _, name := range []string{"a", "b", "c"} {
		info, err := f.BlobInfo(ref(name), &Access{})
		if errors.Is(err, azerr.BlobNotFound) {
			continue
		}
		ok(t, err)
		text := f.letters(ref(name))
		switch {
		case info.Copy == nil: // made and perhaps written to
			if strings.Trim(text, ".w") != "" {
				t.Errorf("%s, which is no copy: %s", name, text)
			}
		case info.Copy.Status == CopySuccess:
			if len(text) != 8 || text[0] < 'a' || text[1] != text[0] || text[3] != text[0] || text[2] != '.' {
				t.Errorf("%s, a copy: %s", name, text)
			}
		case info.Copy.Status != CopyAborted || text != "":
			t.Errorf("%s, a copy that is %v: %s", name, info.Copy.Status, text)
		}
	}
	equal(t, "rows", f.rowCount(tablePending), 0)
	f.wantClean("after it")
}

// TestPendingCopyProtected: a copy that is asked to protect what it makes does so from its beginning, and fills the blob all
// the same. One that comes to nothing leaves nothing to protect. Nobody protects a blob that is pending.
func TestPendingCopyProtected(t *testing.T) {
	f := newFixture(t)
	f.with = func(o *AccountOptions) { o.Immutable.All, o.Premium = true, true }
	f.reopen()
	start := func(name string) (*heldSource, CopyResult) {
		s := newHeldSource()
		got, err := f.StartCopy(ref(name), &StartCopy{Size: 8 * PageSize, Source: s, SourceURL: "http://elsewhere/x", Tier: 10,
			Protection: Protection{Hold: true, Policy: f.until(immutable.Locked, time.Hour)}})
		ok(t, err)
		<-s.asked
		return s, got
	}
	s, _ := start("b")
	wantCode(t, "a hold meanwhile", f.SetLegalHold(ref("b"), false), azerr.PendingCopyOperation)
	wantCode(t, "a policy meanwhile", f.DeleteImmutabilityPolicy(ref("b")), azerr.PendingCopyOperation)
	wantCode(t, "a tier meanwhile", setTier(f, ref("b"), &Access{}, 20), azerr.PendingCopyOperation)
	s.give <- nil
	s.give <- nil
	equal(t, "its end", f.settled("b").Status, CopySuccess)
	info := f.info(ref("b"))
	if !info.Protection.Hold || info.Protection.Policy.Mode != immutable.Locked || info.Tier != 10 {
		t.Errorf("%+v", info)
	}
	equal(t, "pages", f.letters(ref("b")), "aa...a..")
	_, err := f.PutPages(ref("b"), putReq(0, 1, 'b'))
	wantCode(t, "a write", err, azerr.BlobImmutableDueToPolicy)

	_, got := start("aborted")
	ok(t, f.AbortCopy(ref("aborted"), &Access{}, got.ID))
	ok(t, f.DeleteBlob(ref("aborted"), &Access{}, SnapshotsNone))
	s, _ = start("failed")
	s.give <- errors.New("gone")
	equal(t, "its end", f.settled("failed").Status, CopyFailed)
	ok(t, f.DeleteBlob(ref("failed"), &Access{}, SnapshotsNone))
	f.wantClean("after all")
}
