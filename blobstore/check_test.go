package blobstore

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pagevault/internal/azure/header"
	"pagevault/pagestore"
)

// check checks the account and returns the problems, a line each, sorted.
func (f *fixture) check(level CheckLevel) (problems []Problem, summary CheckSummary) {
	f.t.Helper()
	summary, err := f.Check(context.Background(), CheckOptions{Level: level, Found: func(p *Problem) { problems = append(problems, *p) }})
	ok(f.t, err)
	if summary.Problems != len(problems) || !summary.Complete || summary.Account != "acct" {
		f.t.Fatalf("summary %+v of %d problems", summary, len(problems))
	}
	return problems, summary
}

// problemLines returns problems as lines.
func problemLines(problems []Problem) string {
	var lines []string
	for i := range problems {
		lines = append(lines, problems[i].String()+"\n")
	}
	return strings.Join(lines, "")
}

// wantClean fails the test if a full check finds anything.
func (f *fixture) wantClean(what string) CheckSummary {
	f.t.Helper()
	problems, summary := f.check(CheckFull)
	if len(problems) > 0 {
		f.t.Fatalf("%s: a check finds\n%s", what, problemLines(problems))
	}
	return summary
}

// populate makes blobs of all kinds: written, with snapshots on this volume and another, empty, and being removed.
func (f *fixture) populate() (snapshot string) {
	f.t.Helper()
	f.create("a", 300)
	f.put("a", 0, 200, 'x')
	snapshot = f.snapshot("a")
	f.put("a", 10, 20, 'y')
	f.wipe("a", 100, 130)
	f.snapshot("a")
	f.create("b", 100)
	f.put("b", 0, 16, 'z')
	f.snapshot("b")
	f.create("b", 100) // another volume; the snapshot keeps the old one
	f.create("empty", 0)
	f.putBlock("blocks", "aaa", fillRandom(1, 1000)) // volume 5
	f.putBlock("blocks", "bbb", fillRandom(2, 2000))
	f.commit("blocks", "aaa", "bbb")
	f.putBlock("blocks", "ccc", fillRandom(3, 3000))
	must(f.t)(f.PutBlockBlob(ref("whole"), &PutBlockBlob{}, upload(fillRandom(4, 1000))))
	must(f.t)(f.CreateContainer("other", nil))
	return snapshot
}

func TestCheckClean(t *testing.T) {
	f := newBareFixture(t, nil)
	f.wantClean("nothing")
	must(t)(f.CreateContainer("cont", nil))
	f.populate()
	s := f.wantClean("with blobs")
	if s.Containers != 2 || s.Blobs != 5 || s.Snapshots != 3 || s.Volumes != 6 || s.Frames == 0 || s.Chunks == 0 || s.Rows == 0 || s.Bytes == 0 {
		t.Errorf("summary %+v", s)
	}
	f.reopen()
	f.wantClean("opened again")
	ok(t, f.DeleteContainer("cont", &Access{}))
	f.wantClean("while its blobs are removed, or after that")
	<-f.reaped
	f.wantClean("when its blobs are gone")
	problems, q := f.check(CheckQuick)
	if len(problems) > 0 || q.Bytes != 0 || q.Frames != 0 || q.Level != "quick" {
		t.Errorf("quick: %v, %+v", problems, q)
	}
}

// provoked are the kinds of problems that tests of this package have seen; see TestCheckKinds.
func allKinds() []pagestore.Kind {
	return []pagestore.Kind{KindUserRowUnknown, KindUserRowDamaged, KindContainerIDs, KindContainerMissing, KindBlobMissing, KindSnapshotCount,
		KindVolumeMissing, KindVolumeShared, KindVolumeLeaked, KindGenMissing, KindGenLeaked, KindPagesBeyond, KindProtectionUnnoted, KindTotalsWrong, KindExpiryWrong,
		KindBlockList, KindStagedBlocks}
}

// TestCheckKinds provokes each kind of problem of the blob service's rows, and wants it named with container and blob.
func TestCheckKinds(t *testing.T) {
	seen := map[pagestore.Kind]bool{}
	f := func(name string, spoil func(f *fixture, tx *pagestore.Tx) error, want ...string) {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.populate()
			f.wantClean("before")
			ok(t, f.update(func(tx *pagestore.Tx) error { return spoil(f, tx) }))
			problems, _ := f.check(CheckFull)
			lines := problemLines(problems)
			for _, w := range want {
				if !strings.Contains(lines, w) {
					t.Errorf("want %q in\n%s", w, lines)
				}
			}
			if len(problems) != len(want) {
				t.Errorf("%d problems, want %d:\n%s", len(problems), len(want), lines)
			}
			for i := range problems {
				seen[problems[i].Kind] = true
			}
		})
	}
	blob := func(name string, snapshot snapshotID) []byte { return appendBlobKey(nil, 1, name, snapshot) }
	// edit changes the row of a blob.
	edit := func(name string, change func(r *blobRow)) func(*fixture, *pagestore.Tx) error {
		return func(_ *fixture, tx *pagestore.Tx) error {
			value, _, err := tx.Get(blob(name, 0))
			if err != nil {
				return err
			}
			row, err := decodeBlobRow(bytes.Clone(value))
			if err != nil {
				return err
			}
			change(&row)
			tx.Set(blob(name, 0), row.append(nil))
			return nil
		}
	}
	set := func(key []byte, value ...byte) func(*fixture, *pagestore.Tx) error {
		return func(_ *fixture, tx *pagestore.Tx) error { tx.Set(key, value); return nil }
	}
	remove := func(key []byte) func(*fixture, *pagestore.Tx) error {
		return func(_ *fixture, tx *pagestore.Tx) error { tx.Delete(key); return nil }
	}

	f("a row of another table", set([]byte("yak"), 1), "error: blob-row-unknown: account acct: rows of table 'y'")
	f("a container that cannot be read", set(appendContainerKey(nil, "other"), 9), "error: blob-row-damaged: account acct container other: ", "totals-wrong")
	f("two containers of one id", func(_ *fixture, tx *pagestore.Tx) error {
		row, _, err := tx.Get(appendContainerKey(nil, "cont"))
		tx.Set(appendContainerKey(nil, "aaa"), bytes.Clone(row))
		return err
	}, `container-id: account acct container aaa: its id 1 is also that of "cont"`, "totals-wrong")
	f("an id that comes again", set(nextIDKey, appendNumberRow(nil, 2)...), "container-id: account acct container other: its id 2 would be given out again: the next one is 2")
	f("the next id cannot be read", set(nextIDKey, 9), "blob-row-damaged: account acct: row 6e", "container-id", "container-id")
	f("a tomb that cannot be read", set(appendTombKey(nil, 77), 9), "blob-row-damaged: account acct: row 74")
	f("service properties that cannot be read", set(propertiesKey, rowVersion, '<'), "blob-row-damaged: account acct: row 70")
	f("versioning that cannot be read", set(versioningKey, rowVersion, 1), "blob-row-damaged: account acct: row 67")
	f("blobs without a container", remove(appendContainerKey(nil, "cont")),
		"error: container-missing: account acct container #1 blob a: ", "container #1 blob b: ", "container #1 blob empty: ", "container #1 blob blocks: ", "container #1 blob whole: ", "totals-wrong")
	f("a blob that cannot be read", set(blob("empty", 0), 9), "error: blob-row-damaged: account acct container cont blob empty: ", "volume-leaked", "totals-wrong")
	f("snapshots without their blob", remove(blob("a", 0)), "blob-missing: account acct container cont blob a: 2 snapshots of a blob that does not exist",
		"snapshot-count: account acct container cont blob a: volume 1 has 2 snapshots and no row that counts them", "totals-wrong")
	f("a blob that counts its snapshots wrong", edit("a", func(r *blobRow) { r.snaps.all++ }), "snapshot-count: account acct container cont blob a: it counts 3 snapshots, 2 of its present volume")
	f("a volume that counts its snapshots wrong", set(appendVolumeKey(nil, 2), appendNumberRow(nil, 5)...), "snapshot-count: account acct container cont blob b: volume 2 has 1 snapshots, its row counts 5")
	f("a volume counted for nobody", set(appendVolumeKey(nil, 1), appendNumberRow(nil, 1)...), "snapshot-count: account acct volume 1: a row counts 1 snapshots of a volume that none has")
	f("a count that cannot be read", set(appendVolumeKey(nil, 2), 9), "blob-row-damaged: account acct: row 76")
	f("no volume", edit("empty", func(r *blobRow) { r.volume = 99 }), "error: volume-missing: account acct container cont blob empty: volume 99", "volume-leaked: account acct volume 4: ")
	f("one volume, two blobs", edit("empty", func(r *blobRow) { r.volume = 3 }), "volume-shared: account acct container cont blob empty: volume 3", "volume-leaked: account acct volume 4: ")
	f("a volume of nobody", func(_ *fixture, tx *pagestore.Tx) error { tx.CreateVolume(); return nil }, "warning: volume-leaked: account acct volume 7: ")
	f("a generation of nobody", func(_ *fixture, tx *pagestore.Tx) error { _, err := tx.Freeze(1); return err }, "warning: generation-leaked: account acct container cont blob a: generation ")
	f("no generation", func(f *fixture, tx *pagestore.Tx) error { return tx.Thaw(2, 1) }, "error: generation-missing: account acct container cont blob b: generation 1 of volume 2")
	f("pages behind the end", edit("a", func(r *blobRow) { r.size = 150 * PageSize }), "error: pages-beyond-size: account acct container cont blob a: it ends at byte 76800, and its pages from byte 76800 on are valid", "totals-wrong")
	f("totals", set(totalsKey, appendTotalsRow(nil, &Totals{Blobs: 1})...), "error: totals-wrong: account acct: the row of totals says {Containers:0 Blobs:1")
	f("totals that cannot be read", set(totalsKey, 9), "blob-row-damaged: account acct: row 61")
	f("protection that the container does not know of", edit("empty", func(r *blobRow) { r.locks.Hold = true }), "error: protection-unnoted: account acct container cont blob empty: it is protected")
	f("no totals", remove(totalsKey), "totals-wrong: account acct: there is no row of totals, and a recount gives {Containers:2 Blobs:5 Snapshots:3")
	gone := deletion{ticksAt(goldenTime), ticksAt(goldenTime.Add(day))}
	f("deleted, and would stay", edit("empty", func(r *blobRow) { r.gone = gone }), "error: expiry-wrong: account acct container cont blob empty: it is deleted and to be kept until 2026-03-02")
	f("deleted, its snapshots not", func(f *fixture, tx *pagestore.Tx) error {
		tx.Set(appendExpiryKey(nil, gone.until, blob("a", 0)), []byte{rowVersion})
		return edit("a", func(r *blobRow) { r.gone = gone })(f, tx)
	}, "error: snapshot-count: account acct container cont blob a: it is deleted, and 2 of its snapshots are not")
	f("deleted snapshots counted wrong", edit("a", func(r *blobRow) { r.snaps.gone, r.snaps.latest = 1, gone.until }),
		"error: snapshot-count: account acct container cont blob a: it counts 1 snapshots that are deleted and kept, until 2026-03-02 12:00:00.3456789 +0000 UTC; there are 0, until")
	f("versions counted wrong", edit("a", func(r *blobRow) { r.versions.all = 1 }),
		"error: snapshot-count: account acct container cont blob a: it counts 1 previous versions; there are 0")
	f("deleted versions counted wrong", edit("a", func(r *blobRow) { r.versions = frozenCount{all: 1, gone: 1, latest: gone.until} }),
		"it counts 1 previous versions; there are 0", "error: snapshot-count: account acct container cont blob a: it counts 1 versions that are deleted and kept, until 2026-03-02")
	f("a later version than any that there was", edit("a", func(r *blobRow) { r.version = r.snaps.last + 1 }),
		"error: snapshot-count: account acct container cont blob a: it counts 2 snapshots, 2 of its present volume, the last ")
	f("a name of which nothing is left", edit("empty", func(r *blobRow) { r.vacant, r.volume, r.size = true, 0, 0 }),
		"error: snapshot-count: account acct container cont blob empty: it counts 0 previous versions; there are 0", "volume-leaked: account acct volume 4: ", "totals-wrong")
	f("a version under another id", func(f *fixture, tx *pagestore.Tx) error {
		var at, row []byte
		from, to := snapshotRows(1, "a")
		err := tx.Scan(from, to, func(key, value []byte) bool {
			at, row = bytes.Clone(key), bytes.Clone(value)
			return false
		})
		r, bad := decodeBlobRow(row)
		r.version = 1
		tx.Set(at, r.append(nil))
		return firstError(err, bad)
	}, "error: blob-row-damaged: account acct container cont blob a version 2026-", "warning: generation-leaked: account acct container cont blob a: ", "totals-wrong")
	f("would go, and is not deleted", set(appendExpiryKey(nil, gone.until, blob("a", 0)), rowVersion), "error: expiry-wrong: account acct: row 62")
	f("an expiry that cannot be read", set([]byte("e12345678zebra"), rowVersion), "error: blob-row-damaged: account acct: row 65")
	f("a deleted container that cannot be read", set(appendRemovedKey(nil, "old", 1), 9), "error: blob-row-damaged: account acct: row 64", "container-id")
	removed := removedRow{gone, containerRow{id: 7, etag: 1, created: 1, meta: appendMetadata(nil, nil)}}
	f("a deleted container that would stay", set(appendRemovedKey(nil, "old", 7), removed.append(nil)...),
		"container-id: account acct container old: its id 7 would be given out again: the next one is 3", "expiry-wrong: account acct container old: it is deleted and to be kept until 2026-03-02")
	f("a list that cannot be read", edit("blocks", func(r *blobRow) { r.blocks.list-- }), "error: block-list: account acct container cont blob blocks: its list of blocks: ")
	f("blocks where others would be put", edit("blocks", func(r *blobRow) { r.blocks.next = 1 }),
		"error: block-list: account acct container cont blob blocks: the block at byte 1000", "error: staged-blocks: account acct container cont blob blocks: 1 blocks are said")
	f("content where blocks would be put", edit("whole", func(r *blobRow) { r.blocks.next = 0 }), "error: block-list: account acct container cont blob whole: it has 1000 bytes")
	f("other blocks wait", edit("blocks", func(r *blobRow) { r.blocks.staged.n++ }), "error: staged-blocks: account acct container cont blob blocks: 2 blocks are said to wait to be committed to it; there are 1, of which 0")
	f("blocks that would wait for ever", remove(appendStagingKey(nil, 1, "blocks")), "error: staged-blocks: account acct container cont blob blocks: blocks wait to be committed to it, and nothing")
	f("no blocks wait", edit("blocks", func(r *blobRow) { r.blocks.staged = stagedBlocks{} }),
		"a row says that blocks wait to be committed to it, and none do", "error: staged-blocks: account acct volume 5: a block waits for a volume of no blob")
	f("a staged block that cannot be read", set(appendStagedKey(nil, 5, 0, []byte("zzz")), 9), "blob-row-damaged: account acct: row 78")
	f("staging that cannot be read", set([]byte("sss"), 9), "blob-row-damaged: account acct: row 73")
	f("a sweep that cannot be read", set(appendSweepKey(nil, 9), 9), "blob-row-damaged: account acct: row 7a")
	for _, k := range allKinds() {
		if !seen[k] {
			t.Errorf("no case provokes %s", k)
		}
	}
}

// TestCheckNamesBlobs damages stored bytes: the problem names every blob and snapshot that shows them, and the bytes.
func TestCheckNamesBlobs(t *testing.T) {
	f := newFixture(t)
	f.create("a b", 64)
	f.create("copy", 64)
	body := bytes.Repeat([]byte{0}, 32*PageSize)
	r := seeded(t)
	for i := range body {
		body[i] = byte(r.Uint32())
	}
	putAt := func(name string, page int64, p []byte) {
		t.Helper()
		must(t)(f.PutPages(ref(name), &PutPages{Range: header.Range{Start: page * PageSize, End: page*PageSize + int64(len(p))}, Body: p}))
	}
	putAt("a b", 0, body)
	s := f.snapshot("a b")
	putAt("copy", 8, body)
	f.putBlock("blocks", "aaa", fillRandom(1, 1000))
	f.putBlock("blocks", "bbb", body)
	f.commit("blocks", "aaa", "bbb")
	putAt("a b", 8, body[:8*PageSize]) // the snapshot alone shows the second chunk now, beside the copy
	f.wantClean("before")
	f.damage("member-2", body[4096+100:4096+164])
	problems, summary := f.check(CheckFull)
	var got []string
	for _, p := range problems {
		if p.Kind != pagestore.KindFrameCopy {
			continue
		}
		if p.Member != 2 || p.Segment == 0 || p.Frame == 0 || p.Container != "cont" || p.Severity != pagestore.SeverityWarning {
			t.Errorf("%+v", p)
		}
		got = append(got, fmt.Sprintf("%s %s [%d,%d)", p.Blob, p.Snapshot, p.Offset, p.Offset+p.Length))
	}
	slices.Sort(got)
	for _, want := range []string{"a b " + s + " [", "copy  [", "blocks  [5096,"} {
		if !slices.ContainsFunc(got, func(line string) bool { return strings.HasPrefix(line, want) }) {
			t.Errorf("nothing begins with %q in %q", want, got)
		}
	}
	if summary.Kinds[pagestore.KindFrameCopy] != len(got) || len(got) < 2 {
		t.Errorf("%+v, %q", summary.Kinds, got)
	}
	if lines := problemLines(problems); !strings.Contains(lines, `blob "a b" snapshot `+s+" bytes [") {
		t.Errorf("no line quotes the name:\n%s", lines)
	}
	f.damage("member-1", body[4096+100:4096+164])
	f.damage("member-3", body[4096+100:4096+164])
	problems, _ = f.check(CheckFull)
	if lines := problemLines(problems); !strings.Contains(lines, "error: frame-lost: account acct container cont blob copy bytes [") {
		t.Errorf("with all copies damaged:\n%s", lines)
	}
}

// TestCheckNamesVersions: problems of a previous version have its id as that, whether they are of bytes or of its row.
func TestCheckNamesVersions(t *testing.T) {
	f := newVersioned(t)
	f.create("b", 8)
	body := make([]byte, 8*PageSize)
	r := seeded(t)
	for i := range body {
		body[i] = byte(r.Uint32())
	}
	must(t)(f.PutPages(ref("b"), &PutPages{Range: bytesOf(0, 8), Body: body}))
	v := f.info(ref("b")).Version
	must(t)(f.SetBlobMetadata(ref("b"), &Access{}, nil))
	must(t)(f.ClearPages(ref("b"), &ClearPages{Range: bytesOf(0, 8)}))
	id, _ := parseSnapshot(v)
	key := appendBlobKey(nil, 1, "b", id)
	edit := func(change func(r *blobRow)) {
		t.Helper()
		ok(t, f.update(func(tx *pagestore.Tx) error {
			value, _, err := tx.Get(key)
			if err != nil {
				return err
			}
			row, err := decodeBlobRow(bytes.Clone(value))
			change(&row)
			tx.Set(key, row.append(nil))
			return err
		}))
	}
	want := func(what, line string) {
		t.Helper()
		problems, _ := f.check(CheckFull)
		if lines := problemLines(problems); !strings.Contains(lines, line) || strings.Contains(lines, "snapshot "+v) {
			t.Errorf("%s: want %q in\n%s", what, line, lines)
		}
		if !slices.ContainsFunc(problems, func(p Problem) bool { return p.Version == v && p.Snapshot == "" }) {
			t.Errorf("%s: no problem has the version: %+v", what, problems)
		}
	}
	f.wantClean("before")
	edit(func(r *blobRow) { r.locks.Hold = true })
	want("protected", "protection-unnoted: account acct container cont blob b version "+v)
	edit(func(r *blobRow) { r.locks.Hold, r.size = false, 1 })
	want("a size that cannot be", "blob-row-damaged: account acct container cont blob b version "+v)
	edit(func(r *blobRow) { r.size = 8 * PageSize })
	f.wantClean("mended")
	f.damage("member-2", body[100:164])
	want("bytes", "container cont blob b version "+v+" bytes [0,4096)")
}

// TestCheckEvents writes events and reads them again.
func TestCheckEvents(t *testing.T) {
	problem := Problem{Severity: "error", Kind: KindVolumeLeaked, Account: "acct", Container: "c", Blob: "<b>", Snapshot: "s", Offset: 512, Length: 1024,
		Volume: 7, Member: 2, Segment: 3, SegmentOffset: 4, SegmentLength: 5, Frame: 6, Text: "text"}
	progress := CheckProgress{Account: "acct", Phase: "rows", Bytes: 1, Total: 2, Rows: 3}
	summary := CheckSummary{Account: "acct", Level: "full", Complete: true, Problems: 1, Kinds: map[pagestore.Kind]int{KindVolumeLeaked: 1}, Rows: 9, Seconds: 0.5}
	var b bytes.Buffer
	for _, e := range []any{&problem, progress, &summary, nil} {
		ok(t, WriteCheckEvent(&b, e))
	}
	whole := b.String()
	if lines := strings.Split(whole, "\n"); len(lines) != 5 || !strings.HasPrefix(lines[0], `{"type":"problem","severity":"error","kind":"volume-leaked"`) || !strings.Contains(lines[0], `"blob":"<b>"`) {
		t.Fatalf("%s", whole)
	}
	var got []string
	read := func(text string) error {
		got = nil
		return ReadCheckEvents(strings.NewReader(text), CheckEvents{
			Problem:  func(p *Problem) { got = append(got, fmt.Sprintf("%+v", *p)) },
			Progress: func(p CheckProgress) { got = append(got, fmt.Sprintf("%+v", p)) },
			Summary:  func(s *CheckSummary) { got = append(got, fmt.Sprintf("%+v", *s)) },
		})
	}
	ok(t, read(whole))
	want := []string{fmt.Sprintf("%+v", problem), fmt.Sprintf("%+v", progress), fmt.Sprintf("%+v", summary)}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for n := range len(whole) - len("\n") {
		if err := read(whole[:n]); err == nil {
			t.Fatalf("cut at %d of %d bytes: no error", n, len(whole))
		}
	}
	ok(t, read(`{"type":"later"}`+"\n"+`{"type":"end"}`))
	if err := read(`{"type":"summary","kinds":3}`); err == nil || len(got) > 0 {
		t.Errorf("a summary that is none: %v, %q", err, got)
	}
}

// TestCheckCancelled: a check that is cancelled says so, and what it found stays.
func TestCheckCancelled(t *testing.T) {
	f := newFixture(t)
	f.populate()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	summary, err := f.Check(ctx, CheckOptions{})
	if err != context.Canceled && err == nil || summary.Complete || summary.Error == "" {
		t.Errorf("%v, %+v", err, summary)
	}
}
