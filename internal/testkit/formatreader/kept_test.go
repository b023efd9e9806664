package formatreader

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pagevault/blobstore"
	"pagevault/pagestore"
	"pagevault/replication"
)

var keep = flag.Bool("keep", false, "write testdata/store-2 anew; only while no release has that format")

// keptKey is the master key of the kept store.
var keptKey = pagestore.MasterKey{'k', 'e', 'p', 't'}

// keptStore is a whole store of format 2, made by the first program that had that format.
const keptStore = "testdata/store-2"

func keptOptions(dir string) pagestore.Options {
	o := pagestore.Options{Dir: filepath.Join(dir, "index"), MasterKey: keptKey, MemTableBytes: 1 << 20,
		Members: []replication.Member{{Dir: filepath.Join(dir, "member")}}}
	o.Maintenance.Disabled = true
	return o
}

// TestKeptStore reads a store of long ago: with this package, and with the program, which opens it, finds nothing wrong with
// it, and goes on writing there.
func TestKeptStore(t *testing.T) {
	if *keep {
		writeKept(t)
	}
	dir := t.TempDir()
	unpack(t, keptStore+".tar.gz", dir)
	sums, err := os.ReadFile(keptStore + ".sums")
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open([]string{filepath.Join(dir, "member")}, keptKey[:])
	if err != nil {
		t.Fatal(err)
	}
	blobs, err := s.Blobs()
	if err != nil {
		t.Fatal(err)
	}
	var lines strings.Builder
	for i := range blobs {
		p, err := s.Read(&blobs[i])
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&lines, "%q %d %d %x\n", blobs[i].Name, blobs[i].Snapshot, len(p), sha256.Sum256(p))
	}
	if lines.String() != string(sums) {
		t.Errorf("this package reads\n%s, want\n%s", &lines, sums)
	}
	w := &written{t: t, dir: dir, options: keptOptions(dir), blobs: map[string][]byte{}}
	checkKept(t, w.options)
	w.open()
	for i := range blobs {
		want, err := s.Read(&blobs[i])
		w.ok(err)
		if got := w.read(&blobs[i]); !bytes.Equal(got, want) {
			t.Errorf("the program reads other bytes of %+v", blobs[i])
		}
	}
	w.blobs["a"] = make([]byte, 3000*512)
	w.put("a", 1, bytes.Repeat([]byte{'n'}, 100*512))
	w.close()
	checkKept(t, w.options)
}

// read reads a blob with the program.
func (w *written) read(b *Blob) []byte {
	w.t.Helper()
	list, err := w.account.ListBlobs("cont", &blobstore.ListBlobsRequest{Snapshots: true})
	w.ok(err)
	for _, item := range list.Items {
		if item.Blob.Name != b.Name || (item.Blob.Snapshot == "") != (b.Snapshot == 0) {
			continue
		}
		ref := w.ref(b.Name)
		ref.Snapshot = item.Blob.Snapshot
		r, err := w.account.OpenBlob(ref, &blobstore.Access{})
		w.ok(err)
		p := make([]byte, b.Size)
		if _, err := r.ReadAt(p, 0); err != nil && err != io.EOF {
			w.t.Fatal(err)
		}
		w.ok(r.Close())
		return p
	}
	w.t.Fatalf("the program does not list %+v", b)
	return nil
}

// checkKept has the program check a closed store, which must find nothing.
func checkKept(t *testing.T, o pagestore.Options) {
	t.Helper()
	summary, err := blobstore.CheckFolders(context.Background(), "acct", o, blobstore.CheckOptions{Found: func(p *blobstore.Problem) { t.Error(p.String()) }})
	if err != nil || !summary.Complete || summary.Frames == 0 {
		t.Fatalf("%v, %+v", err, summary)
	}
}

// writeKept makes the kept store.
func writeKept(t *testing.T) {
	dir := t.TempDir()
	w := &written{t: t, dir: dir, options: keptOptions(dir), blobs: map[string][]byte{}}
	w.open()
	w.history(rand.New(rand.NewPCG(2, 2)), 60)
	w.maintain()
	w.put("a", 2500, bytes.Repeat([]byte("after"), 512))
	w.close()
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	tw := tar.NewWriter(z)
	w.ok(filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		p, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		if err := tw.WriteHeader(&tar.Header{Name: filepath.ToSlash(name), Mode: 0o644, Size: int64(len(p))}); err != nil {
			return err
		}
		_, err = tw.Write(p)
		return err
	}))
	w.ok(tw.Close())
	w.ok(z.Close())
	w.ok(os.MkdirAll(filepath.Dir(keptStore), 0o755))
	w.ok(os.WriteFile(keptStore+".tar.gz", packed.Bytes(), 0o644))
	var lines strings.Builder
	for _, key := range slices.Sorted(maps.Keys(w.blobs)) {
		t.Logf("%q: %d bytes", key, len(w.blobs[key]))
	}
	s, err := Open([]string{filepath.Join(dir, "member")}, keptKey[:])
	w.ok(err)
	blobs, err := s.Blobs()
	w.ok(err)
	for i := range blobs {
		// What was written counts, not what this package reads.
		p := w.blobs[blobs[i].Name]
		if blobs[i].Snapshot != 0 {
			for key := range w.blobs {
				if strings.HasPrefix(key, blobs[i].Name+" ") {
					p = w.blobs[key]
				}
			}
		}
		fmt.Fprintf(&lines, "%q %d %d %x\n", blobs[i].Name, blobs[i].Snapshot, len(p), sha256.Sum256(p))
	}
	w.ok(os.WriteFile(keptStore+".sums", []byte(lines.String()), 0o644))
}

// unpack writes the files of an archive below dir.
func unpack(t *testing.T, archive, dir string) {
	t.Helper()
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		p, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(dir, filepath.FromSlash(h.Name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, p, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
