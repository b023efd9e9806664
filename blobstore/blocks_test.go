package blobstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

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
