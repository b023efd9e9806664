package blobstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/internal/azure/azerr"
)

// upload is an upload of bytes that are there.
func upload(p []byte) *Upload {
	off := 0
	buf := make([]byte, UploadPiece)
	return &Upload{Size: int64(len(p)), Next: func() ([]byte, error) {
		n := copy(buf, p[off:])
		off += n
		return buf[:n], nil
	}}
}

// fillRandom returns n bytes that nothing else has.
func fillRandom(seed uint64, n int) []byte {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	p := make([]byte, n)
	_, _ = rand.NewChaCha8(key).Read(p)
	return p
}

func (f *fixture) putBlock(name, id string, p []byte) {
	f.t.Helper()
	if err := f.PutBlock(BlobRef{Container: "cont", Blob: name}, &PutBlock{ID: []byte(id)}, upload(p)); err != nil {
		f.t.Fatalf("block %q of %s: %v", id, name, err)
	}
}

func latest3(ids ...string) (list []ListedBlock) {
	for _, id := range ids {
		list = append(list, ListedBlock{ID: []byte(id)})
	}
	return list
}

func (f *fixture) commit(name string, ids ...string) Stamp {
	f.t.Helper()
	stamp, err := f.CommitBlocks(BlobRef{Container: "cont", Blob: name}, &CommitBlocks{Blocks: latest3(ids...)})
	if err != nil {
		f.t.Fatalf("commit of %v to %s: %v", ids, name, err)
	}
	return stamp
}

// readsAs checks the content of a blob, read as a whole and in pieces of odd lengths.
func (f *fixture) readsAs(ref BlobRef, want []byte) {
	f.t.Helper()
	r, err := f.OpenBlob(ref, &Access{})
	if err != nil {
		f.t.Fatalf("open %+v: %v", ref, err)
	}
	defer r.Close()
	if r.Info().Size != int64(len(want)) {
		f.t.Fatalf("%+v has %d bytes, want %d", ref, r.Info().Size, len(want))
	}
	got := make([]byte, len(want))
	if n, err := r.ReadAt(got, 0); len(want) > 0 && (n != len(want) || err != nil) {
		f.t.Fatalf("%+v: %d bytes, %v", ref, n, err)
	}
	if !bytes.Equal(got, want) {
		f.t.Fatalf("%+v reads otherwise than it was written", ref)
	}
	for off := 0; off < len(want); {
		n := min(1+off%70_001, len(want)-off)
		p := make([]byte, n)
		if _, err := r.ReadNext(p, int64(off), int64(len(want)-off-n)); err != nil && err != io.EOF {
			f.t.Fatal(err)
		}
		if !bytes.Equal(p, want[off:off+n]) {
			f.t.Fatalf("%+v: bytes [%d,%d) read otherwise than they were written", ref, off, off+n)
		}
		off += n
	}
}

// checks checks the account.
func (f *fixture) checks() {
	f.t.Helper()
	_, err := f.Check(f.t.Context(), CheckOptions{Found: func(p *Problem) { f.t.Errorf("check: %s", p) }})
	if err != nil {
		f.t.Fatal(err)
	}
}

func blobRef(name string) BlobRef { return BlobRef{Container: "cont", Blob: name} }

func TestPutBlockBlob(t *testing.T) {
	f := newFixture(t)
	for _, n := range []int{0, 1, 511, 512, 4096, 100_000, UploadPiece - 1, UploadPiece, UploadPiece + 1, 2*UploadPiece + 777} {
		name := fmt.Sprint("of ", n)
		want := fillRandom(uint64(n), n)
		if _, err := f.PutBlockBlob(blobRef(name), &PutBlockBlob{}, upload(want)); err != nil {
			t.Fatal(err)
		}
		f.readsAs(blobRef(name), want)
		again := fillRandom(uint64(n)+1, n/2)
		if _, err := f.PutBlockBlob(blobRef(name), &PutBlockBlob{}, upload(again)); err != nil {
			t.Fatal(err)
		}
		f.readsAs(blobRef(name), again)
	}
	f.checks()
}

func TestCommitBlocks(t *testing.T) {
	f := newFixture(t)
	a, b, c := fillRandom(1, 10_000), fillRandom(2, UploadPiece+5), fillRandom(3, 1)
	f.putBlock("x", "aaa", a)
	if _, err := f.OpenBlob(blobRef("x"), &Access{}); !errors.Is(err, azerr.BlobNotFound) {
		t.Fatalf("a blob of which blocks wait: %v", err)
	}
	f.putBlock("x", "bbb", b)
	f.putBlock("x", "ccc", c)
	f.checks()
	f.commit("x", "ccc", "bbb", "aaa", "ccc")
	want := bytes.Join([][]byte{c, b, a, c}, nil)
	f.readsAs(blobRef("x"), want)
	f.checks()

	// blocks of the blob and new ones
	d := fillRandom(4, 5000)
	f.putBlock("x", "ddd", d)
	snap, err := f.SnapshotBlob(blobRef("x"), &Access{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	f.commit("x", "aaa", "ddd")
	f.readsAs(blobRef("x"), append(bytes.Clone(a), d...))
	f.readsAs(BlobRef{Container: "cont", Blob: "x", Snapshot: snap.Snapshot}, want)
	list, err := f.BlockList(blobRef("x"), &Access{}, true)
	if err != nil || len(list.Committed) != 2 || string(list.Committed[1].ID) != "ddd" || list.Committed[1].Size != 5000 || len(list.Uncommitted) != 0 {
		t.Fatalf("%+v", list)
	}
	_, err = f.CommitBlocks(blobRef("x"), &CommitBlocks{Blocks: latest3("bbb")})
	if !errors.Is(err, azerr.InvalidBlockList) {
		t.Fatalf("a block that the blob does not have any more: %v", err)
	}
	f.checks()
	f.reopen()
	f.readsAs(blobRef("x"), append(bytes.Clone(a), d...))
	f.commit("x")
	f.readsAs(blobRef("x"), nil)
	f.readsAs(BlobRef{Container: "cont", Blob: "x", Snapshot: snap.Snapshot}, want)
	f.checks()
}

func TestAppendBlock(t *testing.T) {
	f := newFixture(t)
	must(t)(f.CreateAppendBlob(blobRef("log"), &CreateAppendBlob{}))
	var want []byte
	for i, n := range []int{1, 510, 1, 1, 4096, 100_000, UploadPiece, UploadPiece + 1, 3*UploadPiece + 100, 7} {
		p := fillRandom(uint64(i), n)
		done, err := f.AppendBlock(blobRef("log"), &AppendBlock{}, upload(p))
		if err != nil {
			t.Fatal(err)
		}
		if done.Offset != int64(len(want)) || done.Blocks != int64(i+1) {
			t.Fatalf("%+v", done)
		}
		want = append(want, p...)
		f.readsAs(blobRef("log"), want)
	}
	f.checks()
}

// TestStagedExpire: blocks that nobody commits go after a week, with the volume they lie in.
func TestStagedExpire(t *testing.T) {
	f := newFixture(t)
	f.putBlock("never", "aaa", fillRandom(1, 1000))
	f.putBlock("old", "aaa", fillRandom(2, 1000))
	f.commit("old", "aaa")
	f.putBlock("old", "bbb", fillRandom(3, 100_000))
	f.clock.Advance(6 * day)
	f.putBlock("late", "aaa", fillRandom(4, 1000))
	ok(t, f.reapStaged())
	for _, name := range []string{"never", "old", "late"} {
		if n := len(value(f.BlockList(ref(name), &Access{}, true))(t).Uncommitted); n != 1 {
			t.Errorf("after six days %d blocks of %q wait", n, name)
		}
	}
	f.clock.Advance(day)
	ok(t, f.reapStaged())
	f.swept()
	_, err := f.BlockList(ref("never"), &Access{}, true)
	wantCode(t, "blocks after a week", err, azerr.BlobNotFound)
	if list := value(f.BlockList(ref("old"), &Access{}, true))(t); len(list.Uncommitted) != 0 || len(list.Committed) != 1 {
		t.Errorf("a blob some blocks of which waited for a week: %+v", list)
	}
	if list := value(f.BlockList(ref("late"), &Access{}, true))(t); len(list.Uncommitted) != 1 {
		t.Errorf("blocks that came a day ago: %+v", list)
	}
	equal(t, "volumes", f.volumes(), 2)
	equal(t, "staged blocks", f.rowCount(tableStaged), 1)
	equal(t, "rows that say that blocks wait", f.rowCount(tableStaging), 1)
	f.checks()
}

// TestStagedContainer: blocks go with their container.
func TestStagedContainer(t *testing.T) {
	f := newFixture(t)
	f.putBlock("never", "aaa", fillRandom(1, 1000))
	f.putBlock("both", "aaa", fillRandom(2, 1000))
	f.commit("both", "aaa")
	f.putBlock("both", "bbb", fillRandom(3, 1000))
	ok(t, f.DeleteContainer("cont", &Access{}))
	if r := <-f.reaped; r.Rows != 2 {
		t.Errorf("%+v", r)
	}
	ok(t, f.sweep())
	equal(t, "volumes", f.volumes(), 0)
	for _, table := range []byte{tableStaged, tableStaging, tableSweep, tableBlob} {
		equal(t, "rows of table "+string(table), f.rowCount(table), 0)
	}
	f.checks()
}

// errGone is what an upload says that does not come to its end.
var errGone = errors.New("the client went away")

// cutUpload is an upload of which only so many pieces come.
func cutUpload(p []byte, pieces int) *Upload {
	u := upload(p)
	next := u.Next
	u.Next = func() ([]byte, error) {
		if pieces--; pieces < 0 {
			return nil, errGone
		}
		return next()
	}
	return u
}

// TestUploadCutOff: of an upload that does not come to its end nothing is left, whatever it was of.
func TestUploadCutOff(t *testing.T) {
	f := newFixture(t)
	p := fillRandom(1, 3*UploadPiece)
	f.putBlock("b", "aaa", p[:1000])
	f.commit("b", "aaa")
	must(t)(f.CreateAppendBlob(ref("log"), &CreateAppendBlob{}))
	must(t)(f.AppendBlock(ref("log"), &AppendBlock{}, upload(p[:1000])))
	wrong := func(u *Upload) *Upload {
		u.End = func() error { return azerr.Md5Mismatch }
		return u
	}
	for _, u := range []func() *Upload{
		func() *Upload { return cutUpload(p, 0) }, func() *Upload { return cutUpload(p, 2) }, func() *Upload { return cutUpload(p[:10], 0) },
		func() *Upload { return wrong(upload(p)) }, func() *Upload { return wrong(upload(p[:10])) },
	} {
		if _, err := f.PutBlockBlob(ref("whole"), &PutBlockBlob{}, u()); err == nil {
			t.Fatal("a blob was made of an upload that was cut off")
		}
		for _, name := range []string{"b", "other"} {
			if err := f.PutBlock(ref(name), &PutBlock{ID: []byte("bbb")}, u()); err == nil {
				t.Fatal("a block was made of an upload that was cut off")
			}
		}
		if _, err := f.AppendBlock(ref("log"), &AppendBlock{}, u()); err == nil {
			t.Fatal("an upload was appended that was cut off")
		}
	}
	f.readsAs(ref("b"), p[:1000])
	f.readsAs(ref("log"), p[:1000])
	ok(t, f.reap())
	f.swept()
	equal(t, "volumes", f.volumes(), 2)
	equal(t, "staged blocks", f.rowCount(tableStaged), 0)
	equal(t, "copies", f.rowCount(tableCopy), 0)
	for _, name := range []string{"whole", "other"} {
		_, err := f.BlockList(ref(name), &Access{}, true)
		wantCode(t, name, err, azerr.BlobNotFound)
	}
	f.checks()
	must(t)(f.AppendBlock(ref("log"), &AppendBlock{}, upload(p[1000:5000])))
	f.readsAs(ref("log"), p[:5000])
}

// TestBlocksRefused: what is wrong with blocks and lists, in Azure's words.
func TestBlocksRefused(t *testing.T) {
	f := newFixture(t)
	p := fillRandom(1, 100)
	put := func(what string, r BlobRef, req PutBlock, p []byte, want azerr.Code) {
		t.Helper()
		wantCode(t, what, f.PutBlock(r, &req, upload(p)), want)
	}
	put("no container", BlobRef{Container: "none", Blob: "b"}, PutBlock{ID: []byte("a")}, p, azerr.ContainerNotFound)
	put("no id", ref("b"), PutBlock{}, p, azerr.InvalidBlockId)
	put("an id too long", ref("b"), PutBlock{ID: make([]byte, BlockIDMax+1)}, p, azerr.InvalidBlockId)
	put("no content", ref("b"), PutBlock{ID: []byte("a")}, nil, azerr.InvalidHeaderValue)
	f.putBlock("b", "aa", p)
	put("an id of another length", ref("b"), PutBlock{ID: []byte("aaa")}, p, azerr.InvalidBlobOrBlock)
	f.create("page", 1)
	put("a page blob", ref("page"), PutBlock{ID: []byte("a")}, p, azerr.InvalidBlobType)
	f.commit("b", "aa")
	acquire(t, f, "b", guidA)
	put("leased", ref("b"), PutBlock{ID: []byte("aaa")}, p, azerr.LeaseIdMissing)
	ok(t, f.PutBlock(ref("b"), &PutBlock{ID: []byte("aaa"), Access: holding(guidA)}, upload(p))) // ids of the blob may be of another length
	commit := func(what, name string, req CommitBlocks, want azerr.Code) {
		t.Helper()
		_, err := f.CommitBlocks(ref(name), &req)
		wantCode(t, what, err, want)
	}
	commit("leased", "b", CommitBlocks{}, azerr.LeaseIdMissing)
	commit("leased, and nothing of what the list names", "b", CommitBlocks{Blocks: latest3("zz")}, azerr.LeaseIdMissing)
	commit("exists", "page", CommitBlocks{Access: with(t, "If-None-Match", "*"), Blocks: latest3("zz")}, azerr.BlobAlreadyExists)
	commit("a page blob", "page", CommitBlocks{}, azerr.InvalidBlobType)
	commit("a page blob, and nothing of what the list names", "page", CommitBlocks{Blocks: latest3("zz")}, azerr.InvalidBlobType)
	commit("too many", "new", CommitBlocks{Blocks: make([]ListedBlock, BlocksMax+1)}, azerr.BlockListTooLong)
	commit("not there", "new", CommitBlocks{Blocks: latest3("zz")}, azerr.InvalidBlockList)
	f.checks()
}

// TestManyBlocks: as many blocks as there may be are committed, read, and exchanged for others.
func TestManyBlocks(t *testing.T) {
	f := newFixture(t)
	const n = 3000 // more than fit into ten windows of the list
	var want []byte
	var ids []string
	for i := range n {
		p := []byte{byte(i), byte(i >> 8), 1}[:1+i%3]
		id := fmt.Sprintf("%06d", i)
		f.putBlock("b", id, p)
		ids, want = append(ids, id), append(want, p...)
	}
	f.commit("b", ids...)
	f.readsAs(ref("b"), want)
	r := value(f.OpenBlob(ref("b"), &Access{}))(t)
	defer r.Close()
	rnd := rand.New(rand.NewPCG(1, 1))
	for range 3000 {
		off := rnd.Int64N(int64(len(want)))
		p := make([]byte, 1+rnd.IntN(20))
		got, err := r.ReadAt(p, off)
		if err != nil && err != io.EOF || !bytes.Equal(p[:got], want[off:min(off+int64(len(p)), int64(len(want)))]) {
			t.Fatalf("%d bytes at %d: %d, %v", len(p), off, got, err)
		}
	}
	f.commit("b", ids[1], ids[n-1])
	f.swept()
	f.checks()
}

// TestBlocksAtOnce: blocks staged by many at once are all there, and lists committed meanwhile are of whole blobs. Appends neither
// get lost nor mixed.
func TestBlocksAtOnce(t *testing.T) {
	f := newFixture(t)
	must(t)(f.CreateAppendBlob(ref("log"), &CreateAppendBlob{}))
	const writers, each = 8, 10
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := range each {
				p := bytes.Repeat([]byte{byte('a' + w)}, 1000+i)
				if err := f.PutBlock(ref("shared"), &PutBlock{ID: fmt.Appendf(nil, "%02d-%02d", w, i)}, upload(p)); err != nil {
					t.Errorf("block: %v", err)
				}
				if _, err := f.AppendBlock(ref("log"), &AppendBlock{}, upload(p)); err != nil {
					t.Errorf("append: %v", err)
				}
				if err := f.PutBlock(ref("fought over"), &PutBlock{ID: []byte{byte(w)}}, upload(p)); err != nil {
					t.Errorf("block: %v", err)
				}
				_, err := f.CommitBlocks(ref("fought over"), &CommitBlocks{Blocks: []ListedBlock{{ID: []byte{byte(w)}}}})
				if err != nil && !errors.Is(err, azerr.InvalidBlockList) { // somebody else's list did not name it
					t.Errorf("commit: %v", err)
				}
				if i%3 == 0 {
					f.reaper.kick()
				}
			}
		})
	}
	all.Wait()
	var ids []string
	var want []byte
	for w := range writers {
		for i := range each {
			ids = append(ids, fmt.Sprintf("%02d-%02d", w, i))
			want = append(want, bytes.Repeat([]byte{byte('a' + w)}, 1000+i)...)
		}
	}
	f.commit("shared", ids...)
	f.readsAs(ref("shared"), want)
	info := f.info(ref("log"))
	if info.Appended != writers*each || info.Size != int64(len(want)) {
		t.Errorf("%d blocks were appended, %d bytes", info.Appended, info.Size)
	}
	r := value(f.OpenBlob(ref("log"), &Access{}))(t)
	defer r.Close()
	got := make([]byte, len(want))
	must(t)(r.ReadAt(got, 0))
	for off := 0; off < len(got); { // runs of one writer's letter are as long as appends of its, in their order
		n := 1
		for off+n < len(got) && got[off+n] == got[off] {
			n++
		}
		if n < 1000 {
			t.Fatalf("%d bytes of %q at %d", n, got[off], off)
		}
		off += n
	}
	f.swept()
	f.checks()
}

// FuzzBlockList: whatever a list looks like, reading it ends, and what can be read is what is written.
func FuzzBlockList(f *testing.F) {
	f.Add(appendBlockList(nil, exampleExtents(), [][]byte{[]byte("aaa"), []byte("bbb")}), 2)
	f.Add([]byte{}, 0)
	f.Fuzz(func(t *testing.T, p []byte, count int) {
		if count < 0 || count > BlocksMax {
			return
		}
		extents, ids, err := decodeBlockList(p, count)
		if err != nil {
			return
		}
		if again := appendBlockList(nil, extents, ids); !bytes.Equal(again, p) {
			t.Errorf("%x is written as %x", p, again)
		}
	})
}

// FuzzStagedRows: the same of the rows of blocks that wait and of sweeps.
func FuzzStagedRows(f *testing.F) {
	f.Add((&stagedRow{slot: 300, size: 1000}).append(nil))
	f.Add((&sweepRow{1, "a/b"}).append(nil))
	f.Fuzz(func(t *testing.T, p []byte) {
		if s, err := decodeStagedRow(p); err == nil {
			if again, err := decodeStagedRow(s.append(nil)); err != nil || again != s {
				t.Errorf("%+v is written as %+v, %v", s, again, err)
			}
		}
		if s, err := decodeSweepRow(p); err == nil {
			if again, err := decodeSweepRow(s.append(nil)); err != nil || again != s {
				t.Errorf("%+v is written as %+v, %v", s, again, err)
			}
		}
	})
}

// TestUploadCrash: what a crash leaves of an upload, wherever it comes, is taken away at the next start; what was there is as it was.
func TestUploadCrash(t *testing.T) {
	p := fillRandom(1, 2*UploadPiece+100)
	before := p[:5000]
	uploads := map[string]func(f *fixture, u *Upload) error{
		"blob": func(f *fixture, u *Upload) error {
			_, err := f.PutBlockBlob(ref("blob"), &PutBlockBlob{}, u)
			return err
		},
		"block":        func(f *fixture, u *Upload) error { return f.PutBlock(ref("block"), &PutBlock{ID: []byte("bbb")}, u) },
		"block of new": func(f *fixture, u *Upload) error { return f.PutBlock(ref("new"), &PutBlock{ID: []byte("bbb")}, u) },
		"append": func(f *fixture, u *Upload) error {
			_, err := f.AppendBlock(ref("append"), &AppendBlock{}, u)
			return err
		},
	}
	for name, put := range uploads {
		t.Run(name, func(t *testing.T) {
			r := seeded(t)
			f := newFixture(t)
			must(t)(f.PutBlockBlob(ref("blob"), &PutBlockBlob{}, upload(before)))
			f.putBlock("block", "aaa", before)
			f.commit("block", "aaa")
			must(t)(f.CreateAppendBlob(ref("append"), &CreateAppendBlob{}))
			must(t)(f.AppendBlock(ref("append"), &AppendBlock{}, upload(before)))
			var disks []*vfs.MemFS
			u := upload(p)
			next := u.Next
			u.Next = func() ([]byte, error) {
				for _, kept := range []int{0, 50, 100} {
					disks = append(disks, f.fs.(*vfs.MemFS).CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: kept, RNG: r}))
				}
				return next()
			}
			u.End = func() error {
				disks = append(disks, f.fs.(*vfs.MemFS).CrashClone(vfs.CrashCloneCfg{}))
				return nil
			}
			ok(t, put(f, u))
			if len(disks) != 10 {
				t.Fatalf("%d crashes", len(disks))
			}
			for i, fs := range disks {
				g := *f
				g.fs = fs
				g.open()
				ok(t, g.reap())
				g.swept()
				for _, name := range []string{"blob", "block", "append"} {
					g.readsAs(ref(name), before)
				}
				_, err := g.BlockList(ref("new"), &Access{}, true)
				wantCode(t, fmt.Sprintf("crash %d: a block that never came", i), err, azerr.BlobNotFound)
				equal(t, "volumes", g.volumes(), 3)
				g.checks()
				g.close()
			}
		})
	}
}

// TestEndsStoredOnce: what comes again is stored once, to its last byte, whatever is before it and wherever blocks end.
func TestEndsStoredOnce(t *testing.T) {
	f := newFixture(t)
	small, odd := fillRandom(1, 1000), fillRandom(2, 70_001)
	for i := range 3 {
		must(t)(f.PutBlockBlob(ref(fmt.Sprint("small ", i)), &PutBlockBlob{}, upload(small)))
		must(t)(f.PutBlockBlob(ref(fmt.Sprint("odd ", i)), &PutBlockBlob{}, upload(odd)))
		f.putBlock(fmt.Sprint("blocks ", i), "aaa", odd)
		f.putBlock(fmt.Sprint("blocks ", i), "bbb", small)
		f.commit(fmt.Sprint("blocks ", i), "bbb", "aaa")
		f.readsAs(ref(fmt.Sprint("blocks ", i)), append(bytes.Clone(small), odd...))
	}
	lists := 3 * 2 * PageSize
	if u := value(f.Usage())(t); u.StoredBytes > uint64(len(small)+len(odd)+UploadRoom+lists) {
		t.Errorf("%d bytes are stored of %d", u.StoredBytes, len(small)+len(odd))
	}
}

// TestStagedOverDeleted: blocks that are staged while a deleted blob of the name is kept have nothing to do with that one: they
// stay when its time is over, whether the reaper comes first or the next block.
func TestStagedOverDeleted(t *testing.T) {
	for _, reaped := range []bool{true, false} {
		t.Run(fmt.Sprintf("reaped first: %v", reaped), func(t *testing.T) {
			f := newFixture(t)
			f.setRetention(1, false)
			old, a, b := fillRandom(1, 5000), fillRandom(2, 6000), fillRandom(3, 7000)
			f.putBlock("b", "old", old)
			f.commit("b", "old")
			ok(t, f.DeleteBlob(ref("b"), &Access{}, SnapshotsNone))
			f.clock.Advance(day - 10*time.Minute)
			f.putBlock("b", "aaa", a)
			equal(t, "with what is not committed", f.names(ListBlobsRequest{Uncommitted: true}), "b")
			f.clock.Advance(20 * time.Minute)
			if reaped {
				must(t)(f.expire())
			}
			f.putBlock("b", "bbb", b)
			f.checks()
			f.commit("b", "aaa", "bbb")
			f.readsAs(ref("b"), append(bytes.Clone(a), b...))
			ok(t, f.reap())
			f.swept()
			f.readsAs(ref("b"), append(bytes.Clone(a), b...))
			f.checks()
		})
	}
}

// TestAppendWhileLong: nobody waits for an append whose content is still coming; what is appended by others meanwhile is refused.
func TestAppendWhileLong(t *testing.T) {
	f := newFixture(t)
	must(t)(f.CreateAppendBlob(ref("log"), &CreateAppendBlob{}))
	p := fillRandom(1, UploadPiece+100)
	long := upload(p)
	next, n := long.Next, 0
	long.Next = func() ([]byte, error) {
		if n++; n == 2 {
			_, err := f.AppendBlock(ref("log"), &AppendBlock{}, upload([]byte("short")))
			wantCode(t, "while another comes", err, azerr.ServerBusy)
		}
		return next()
	}
	must(t)(f.AppendBlock(ref("log"), &AppendBlock{}, long))
	must(t)(f.AppendBlock(ref("log"), &AppendBlock{}, upload([]byte("short"))))
	f.readsAs(ref("log"), append(p, "short"...))
	equal(t, "rows that ask for a sweep", f.rowCount(tableSweep), 0)
	f.checks()
}
