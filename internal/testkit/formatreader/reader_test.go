package formatreader

import (
	"bytes"
	"context"
	"math/rand/v2"
	"testing"

	"pagevault/blobstore"
	"pagevault/internal/azure/header"
	"pagevault/pagestore"
)

// written is a store under test and what its blobs hold.
type written struct {
	t       *testing.T
	dir     string
	options pagestore.Options
	svc     *blobstore.Service
	account *blobstore.Account
	blobs   map[string][]byte // by name and snapshot
}

func (w *written) open() {
	w.t.Helper()
	svc, err := blobstore.Open(blobstore.Options{
		Accounts: []blobstore.AccountOptions{{Name: "acct", Keys: [][]byte{[]byte("key")}}},
		Store:    func(string) (pagestore.Options, error) { return w.options, nil },
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.svc = svc
	w.account, _ = svc.Account("acct")
}

func (w *written) close() {
	w.t.Helper()
	if err := w.svc.Close(); err != nil {
		w.t.Fatal(err)
	}
}

func (w *written) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *written) ref(name string) blobstore.BlobRef {
	return blobstore.BlobRef{Container: "cont", Blob: name}
}

// put writes p to a blob at page first and remembers it.
func (w *written) put(name string, first int64, p []byte) {
	w.t.Helper()
	_, err := w.account.PutPages(w.ref(name), &blobstore.PutPages{Range: header.Range{Start: first * 512, End: first*512 + int64(len(p))}, Body: p})
	w.ok(err)
	copy(w.blobs[name][first*512:], p)
}

// history makes blobs by every operation there is, of about so many pages, and remembers what they hold.
func (w *written) history(rng *rand.Rand, pages int) {
	w.t.Helper()
	random := func(pages int) []byte {
		p := make([]byte, pages*512)
		for i := range p {
			p[i] = byte(rng.Uint32())
		}
		return p
	}
	_, err := w.account.CreateContainer("cont", nil)
	w.ok(err)
	for _, name := range []string{"a", "b\x00c", "gone"} {
		_, err := w.account.CreatePageBlob(w.ref(name), &blobstore.CreatePageBlob{Size: 3000 * 512})
		w.ok(err)
		w.blobs[name] = make([]byte, 3000*512)
	}
	big := random(pages)
	w.put("a", 0, big)
	w.put("b\x00c", 13, big)
	w.put("gone", 0, random(pages/2))
	w.put("a", 1200, bytes.Repeat([]byte("compressible "), 400*512/13)[:390*512])
	w.put("a", 1990, make([]byte, 30*512))
	for i := range int64(60) { // what a fold brings together
		w.put("a", 128*3+2*i, random(1))
	}
	snapshot, err := w.account.SnapshotBlob(w.ref("a"), &blobstore.Access{}, nil)
	w.ok(err)
	w.blobs["a "+snapshot.Snapshot] = bytes.Clone(w.blobs["a"])
	w.put("a", 100, random(64))
	_, err = w.account.ClearPages(w.ref("a"), &blobstore.ClearPages{Range: header.Range{Start: 512 * 500, End: 512 * 900}})
	w.ok(err)
	clear(w.blobs["a"][512*500 : 512*900])
	old := w.ref("a")
	old.Snapshot = snapshot.Snapshot
	w.copy("copy of a snapshot", old, w.blobs["a "+snapshot.Snapshot])
	w.copy("copy of a blob", w.ref("a"), w.blobs["a"])
	_, err = w.account.StartIncrementalCopy(w.ref("incremental"), &blobstore.IncrementalCopy{From: w.account, Source: old, SourceURL: "http://host/source"})
	w.ok(err)
	w.blobs["incremental"] = w.blobs["a "+snapshot.Snapshot]
	for pending := true; pending; {
		info, err := w.account.BlobInfo(w.ref("incremental"), &blobstore.Access{})
		w.ok(err)
		pending = info.Copy.Status == blobstore.CopyPending
		if !pending {
			w.blobs["incremental "+info.Copy.Destination] = w.blobs["incremental"]
		}
	}
	w.blocks(random)
	w.copy("gone before", w.ref("gone"), w.blobs["gone"])
	w.put("copy of a blob", 100, random(30))
	w.put("a", 140, random(3))
	w.ok(w.account.DeleteBlob(w.ref("gone"), &blobstore.Access{}, blobstore.SnapshotsNone))
	delete(w.blobs, "gone")
}

// blocks makes a block blob of blocks, some of which it has no use for, one that is put at once, and an append blob.
func (w *written) blocks(random func(pages int) []byte) {
	w.t.Helper()
	upload := func(p []byte) *blobstore.Upload {
		return &blobstore.Upload{Size: int64(len(p)), Next: func() ([]byte, error) { return append(make([]byte, 0, len(p)+blobstore.UploadRoom), p...), nil }}
	}
	p := random(400)
	for i, part := range [][]byte{p[:70_001], p[70_001:70_002], p[70_002:], p[:9]} {
		w.ok(w.account.PutBlock(w.ref("blocks"), &blobstore.PutBlock{ID: []byte{byte(i)}}, upload(part)))
	}
	list := []blobstore.ListedBlock{{ID: []byte{0}}, {ID: []byte{1}}, {ID: []byte{2}}}
	_, err := w.account.CommitBlocks(w.ref("blocks"), &blobstore.CommitBlocks{Blocks: list})
	w.ok(err)
	w.blobs["blocks"] = p
	w.ok(w.account.PutBlock(w.ref("blocks"), &blobstore.PutBlock{ID: []byte{9}}, upload(p[1:2000])))
	w.ok(w.account.PutBlock(w.ref("never committed"), &blobstore.PutBlock{ID: []byte{9}}, upload(p[1:2000])))
	_, err = w.account.PutBlockBlob(w.ref("whole"), &blobstore.PutBlockBlob{}, upload(p[5:100_000]))
	w.ok(err)
	w.blobs["whole"] = p[5:100_000]
	_, err = w.account.CreateAppendBlob(w.ref("log"), &blobstore.CreateAppendBlob{})
	w.ok(err)
	for _, part := range [][]byte{p[:100], p[100:1000], p[1000:70_000]} {
		_, err = w.account.AppendBlock(w.ref("log"), &blobstore.AppendBlock{}, upload(part))
		w.ok(err)
	}
	w.blobs["log"] = p[:70_000]
}

// copy copies a blob that holds p.
func (w *written) copy(name string, source blobstore.BlobRef, p []byte) {
	w.t.Helper()
	_, err := w.account.CopyBlob(context.Background(), w.ref(name), &blobstore.CopyBlob{
		Source: source, SourceURL: "http://host/source", Tags: []header.Pair{{Name: "copied", Value: "yes"}}})
	w.ok(err)
	w.blobs[name] = bytes.Clone(p)
}

// maintain folds, moves and frees what there is. What is dropped from the log would be in the checkpoint only, which is an
// index and no business of a reader; a view keeps it from being dropped.
func (w *written) maintain() {
	w.t.Helper()
	view, err := w.account.Store().View()
	w.ok(err)
	w.ok(w.account.Store().Maintain(context.Background(), pagestore.MaintainOptions{}, nil))
	w.ok(view.Close())
}

// dirs returns the directories of the members.
func (w *written) dirs() (out []string) {
	for _, m := range w.options.Members {
		out = append(out, m.Dir)
	}
	return out
}

// compare reads the store from the directories of all members and compares all blobs with what was written.
func (w *written) compare(what string, master []byte) {
	w.t.Helper()
	w.compareFrom(what, w.dirs(), master)
}

// compareFrom is compare for some directories.
func (w *written) compareFrom(what string, dirs []string, master []byte) {
	w.t.Helper()
	s, err := Open(dirs, master)
	if err != nil {
		w.t.Fatalf("%s: %v", what, err)
	}
	blobs, err := s.Blobs()
	w.ok(err)
	if len(blobs) != len(w.blobs) {
		w.t.Fatalf("%s: blobs %+v, want %d", what, blobs, len(w.blobs))
	}
	for i := range blobs {
		b := &blobs[i]
		want, ok := w.blobs[b.Name]
		if b.Snapshot != 0 {
			for name, p := range w.blobs {
				if len(name) > len(b.Name)+1 && name[:len(b.Name)+1] == b.Name+" " {
					want, ok = p, true
				}
			}
		}
		got, err := s.Read(b)
		if err != nil || !ok || b.Container != "cont" || !bytes.Equal(got, want) {
			w.t.Fatalf("%s: %+v: %v, equal: %v", what, b, err, bytes.Equal(got, want))
		}
	}
	if s.checked == 0 {
		w.t.Errorf("%s: no fingerprint was compared", what)
	}
}

// TestReader writes stores with everything that the format has, and reads them without the program.
func TestReader(t *testing.T) {
	master := pagestore.MasterKey{1, 2, 3, 4}
	for name, tune := range map[string]func(*pagestore.Options){
		"plain":  func(*pagestore.Options) {},
		"sealed": func(o *pagestore.Options) { o.MasterKey = master },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWritten(t, 3, tune)
			var key []byte
			if w.options.MasterKey == master {
				key = master[:]
			}
			w.open()
			w.history(rand.New(rand.NewPCG(7, 7)), 1000)
			w.close()
			w.compare("as written", key)
			w.compareFrom("without one of three", w.dirs()[1:], key)
			w.open()
			w.maintain()
			w.close()
			w.compare("after maintenance", key)
			s, err := Open(w.dirs()[1:], key)
			w.ok(err)
			codecs := map[byte]int{}
			for _, f := range s.frames {
				codecs[f.codec]++
			}
			if len(s.moved) == 0 || codecs[0] == 0 || codecs[2] == 0 {
				t.Errorf("%d folded pages, frames by codec %v: the maintenance has left something out", len(s.moved), codecs)
			}
		})
	}
}
