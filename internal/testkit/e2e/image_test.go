//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/pageblob"

	"pagevault/internal/testkit"
)

const (
	mib        = 1 << 20
	imageBytes = 512 * mib
	dataBytes  = 256 * mib // at least so much of the image is not zeros
	chunkBytes = 4096      // what is stored once: one chunk, aligned
	freshBytes = 24 * mib  // new content that nobody has stored before, in the changed image
)

// TestImage takes a real disk image through its life as a page blob: put in with az, snapshotted, changed as a running
// machine changes its disk, put in again, and read back with az and two of Azure's SDKs, byte for byte. The store must
// hold what the versions have in common once, compressed, and encrypted; it takes less when it was compacted, and is the
// same.
func TestImage(t *testing.T) {
	dir := t.TempDir()
	raw := buildFileSystem(t, dir)
	v1 := toVHD(t, raw, filepath.Join(dir, "v1.vhd"))
	changeFileSystem(t, dir, raw)
	v2 := toVHD(t, raw, filepath.Join(dir, "v2.vhd"))
	delta := compareImages(t, v1, v2)
	t.Logf("image of %d MiB, %d MiB of it data; the change touches %d pages, %.1f MiB of them in chunks not seen before",
		imageBytes/mib, delta.oldData/mib, delta.pages, float64(delta.newChunks)/mib)
	if delta.oldData < dataBytes {
		t.Fatalf("the image holds %d MiB of data, want %d", delta.oldData/mib, dataBytes/mib)
	}
	testMarkerInPlain(t, v1, delta.marker)

	server := testkit.StartServer(t, testkit.ServerOptions{})
	az := newAz(t, server, dir)
	az.run(t, "container", "create", "--name", "images")
	empty := storeFigures(t, server)

	az.run(t, "blob", "upload", "--type", "page", "--container-name", "images", "--name", "disk.vhd", "--file", v1)
	first := storeFigures(t, server)
	first.log(t, "first version put in")
	snapshot := az.snapshot(t, "disk.vhd")
	az.run(t, "blob", "upload", "--type", "page", "--container-name", "images", "--name", "disk.vhd", "--file", v2, "--overwrite")
	second := storeFigures(t, server)
	second.log(t, "second version put in")

	// What is stored of a Go toolchain compresses to half; what is new of the second version does not compress.
	if grown, most := first.stored-empty.stored, 0.6*float64(delta.oldUnique); grown > most {
		t.Errorf("the first version took %.1f MiB, want at most %.1f", grown/mib, most/mib)
	}
	if grown, most := second.stored-first.stored, 1.05*float64(delta.newChunks)+2*mib; grown > most {
		t.Errorf("the second version took %.1f MiB more, want at most %.1f: what the versions share is stored again", grown/mib, most/mib)
	}

	for _, version := range []struct{ name, snapshot, file string }{{"base", "", v2}, {"snapshot", snapshot, v1}} {
		want := testkit.FileSHA256(t, version.file)
		check := func(client, got string) {
			t.Helper()
			if got != want {
				t.Errorf("%s as read by %s has sha256 %s, want %s", version.name, client, got, want)
			}
		}
		check("az", az.download(t, dir, "disk.vhd", version.snapshot))
		check("the Go SDK", downloadGo(t, server, dir, "disk.vhd", version.snapshot))
		check("the JavaScript SDK", downloadJS(t, server, "disk.vhd", version.snapshot))
	}

	// The second upload was a new blob under the old name: Azure refuses to say what changed since.
	b := server.Container(t, "images").NewPageBlobClient("disk.vhd")
	_, err := b.NewGetPageRangesDiffPager(&pageblob.GetPageRangesDiffOptions{PrevSnapshot: &snapshot}).NextPage(context.Background())
	if !bloberror.HasCode(err, "BlobOverwritten") {
		t.Errorf("the difference to a snapshot of the overwritten blob: %v, want BlobOverwritten", err)
	}
	testIncremental(t, server, az, v1, v2, delta)
	testCompacted(t, server, dir, snapshot, v1, v2)
	server.Stop(t)
	compareMembers(t, server.Data())
	if in := filesWith(t, server.Data(), marker()); len(in) > 0 {
		t.Errorf("the store encrypts, and bytes of the image stand in %v", in)
	}
}

// testCompacted has the server store everything in less, and checks that nothing else has changed.
func testCompacted(t *testing.T, server *testkit.Server, dir, snapshot, v1, v2 string) {
	t.Helper()
	before, use := storeFigures(t, server), diskUse(t, server.Data())
	start := time.Now()
	t.Log(strings.TrimSpace(testkit.Run(t, testkit.Binary(t), "compact", "--admin", server.AdminURL())))
	after := storeFigures(t, server)
	after.log(t, fmt.Sprintf("compacted in %.1f s", time.Since(start).Seconds()))
	t.Logf("disk use %.1f MiB before, %.1f MiB after, three members and the index", float64(use)/mib, float64(diskUse(t, server.Data()))/mib)
	if after.stored > 0.95*before.stored {
		t.Errorf("%.1f MiB were stored, %.1f MiB after compaction, want a twentieth less", before.stored/mib, after.stored/mib)
	}
	for _, version := range []struct{ name, snapshot, file string }{
		{"disk.vhd", "", v2}, {"disk.vhd", snapshot, v1}, {"incremental.vhd", "", v2},
	} {
		if got, want := downloadGo(t, server, dir, version.name, version.snapshot), testkit.FileSHA256(t, version.file); got != want {
			t.Errorf("%s %s has sha256 %s after compaction, want %s", version.name, version.snapshot, got, want)
		}
	}
	out, err := testkit.Command{Args: []string{testkit.Binary(t), "check", "--online", "--admin", server.AdminURL()}}.Try(t)
	if err != nil || !strings.Contains(out, "no problems found") {
		t.Errorf("check --online: %v, %s", err, out)
	}
}

// marker is content that nobody would find by chance: 64 bytes that do not compress, and stand in the image once.
func marker() []byte {
	m := make([]byte, 64)
	rand.NewChaCha8([32]byte{2}).Read(m)
	return m
}

// testMarkerInPlain shows that the search for the marker can find it: a store that does not encrypt has it on every
// member. off is where it stands in the image.
func testMarkerInPlain(t *testing.T, image string, off int64) {
	t.Helper()
	f, err := os.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	around := make([]byte, mib)
	from := min(off&^(pageSize-1), imageBytes-mib)
	if _, err := f.ReadAt(around, from); err != nil {
		t.Fatal(err)
	}
	for _, encryption := range []string{"off", "on"} {
		server := testkit.StartServer(t, testkit.ServerOptions{Args: []string{"--encryption", encryption}})
		c := server.Container(t, "images")
		if _, err := c.Create(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		b := c.NewPageBlobClient("part")
		if _, err := b.Create(t.Context(), mib, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := b.UploadPages(t.Context(), streaming.NopCloser(bytes.NewReader(around)), blob.HTTPRange{Count: mib}, nil); err != nil {
			t.Fatal(err)
		}
		server.Stop(t)
		in := filesWith(t, server.Data(), marker())
		if want := map[string]int{"off": 3, "on": 0}[encryption]; len(in) != want {
			t.Errorf("with encryption %s the marker is in %d files, want %d: %v", encryption, len(in), want, in)
		}
	}
}

// filesWith returns the files below dir that hold what.
func filesWith(t *testing.T, dir string, what []byte) (in []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(name)
		if bytes.Contains(data, what) {
			in = append(in, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// testIncremental backs the machine up as an agent does: a first full copy, a snapshot, then only what has changed.
func testIncremental(t *testing.T, server *testkit.Server, az *az, v1, v2 string, delta difference) {
	t.Helper()
	before := storeFigures(t, server)
	az.run(t, "blob", "upload", "--type", "page", "--container-name", "images", "--name", "incremental.vhd", "--file", v1)
	copied := storeFigures(t, server)
	copied.log(t, "first version put in once more")
	if grown := copied.stored - before.stored; grown > 2*mib {
		t.Errorf("a second copy of known data took %.1f MiB", grown/mib)
	}
	snapshot := az.snapshot(t, "incremental.vhd")
	written := writeChanges(t, server, "incremental.vhd", v2, delta)
	storeFigures(t, server).log(t, "and changed into the second")

	if got, want := downloadGo(t, server, t.TempDir(), "incremental.vhd", ""), testkit.FileSHA256(t, v2); got != want {
		t.Errorf("the changed blob has sha256 %s, want %s", got, want)
	}
	if got, want := downloadGo(t, server, t.TempDir(), "incremental.vhd", snapshot), testkit.FileSHA256(t, v1); got != want {
		t.Errorf("its snapshot has sha256 %s, want %s", got, want)
	}
	changed := diffPages(t, server, "incremental.vhd", snapshot)
	missed, idle := 0, 0
	for p := range changed {
		if delta.differs[p] && !changed[p] {
			missed++
		}
		if changed[p] && !written[p] {
			idle++
		}
	}
	t.Logf("page ranges diff names %d pages; %d differ, %d were written", count(changed), delta.pages, count(written))
	if missed > 0 || idle > 0 {
		t.Errorf("the diff misses %d pages that differ and names %d that were never written", missed, idle)
	}
}

// buildFileSystem makes an ext4 file system that holds a Go toolchain and our own binary, without mounting anything.
func buildFileSystem(t *testing.T, dir string) string {
	t.Helper()
	tree := filepath.Join(dir, "tree")
	testkit.Run(t, "cp", "-a", strings.TrimSpace(testkit.Run(t, "go", "env", "GOROOT")), tree)
	testkit.Run(t, "cp", testkit.Binary(t), filepath.Join(tree, "pagevault"))
	marked := slices.Concat(bytes.Repeat([]byte("before "), 100), marker(), bytes.Repeat([]byte(" after"), 100))
	if err := os.WriteFile(filepath.Join(tree, "marked"), marked, 0o644); err != nil {
		t.Fatal(err)
	}
	raw := filepath.Join(dir, "disk.img")
	f, err := os.Create(raw)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(imageBytes); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	testkit.Run(t, "mkfs.ext4", "-q", "-L", "pagevault", "-d", tree, raw)
	return raw
}

// changeFileSystem changes the file system in place, as its machine would: files go, one grows, one is copied and a
// log of new bytes appears. debugfs writes into the image without mounting it.
func changeFileSystem(t *testing.T, dir, raw string) {
	t.Helper()
	tree := filepath.Join(dir, "tree")
	fresh := make([]byte, freshBytes)
	rng := rand.NewChaCha8([32]byte{1})
	rng.Read(fresh)
	grown, err := os.ReadFile(filepath.Join(tree, "VERSION"))
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"fresh": fresh, "grown": append(grown, bytes.Repeat([]byte("grown\n"), 20000)...)} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	commands := []string{
		"mkdir var", "cd var",
		"write " + filepath.Join(dir, "fresh") + " log",
		"write " + filepath.Join(tree, "pagevault") + " pagevault.copy",
		"cd /", "rm VERSION",
		"write " + filepath.Join(dir, "grown") + " VERSION",
	}
	err = filepath.WalkDir(filepath.Join(tree, "doc"), func(name string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			rel, _ := filepath.Rel(tree, name)
			commands = append(commands, "rm "+rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	script := filepath.Join(dir, "debugfs.txt")
	if err := os.WriteFile(script, []byte(strings.Join(commands, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	testkit.Run(t, "debugfs", "-w", "-f", script, raw)
	testkit.Run(t, "e2fsck", "-fn", raw) // still a sound file system
}

// toVHD converts a raw image to a fixed VHD, which is the image and a page of footer.
func toVHD(t *testing.T, raw, vhd string) string {
	t.Helper()
	testkit.Run(t, "qemu-img", "convert", "-f", "raw", "-O", "vpc", "-o", "subformat=fixed,force_size", raw, vhd)
	return vhd
}

// difference is what separates two versions of an image.
type difference struct {
	differs   []bool // by page
	pages     int    // how many differ
	oldData   int64  // bytes of the old version in chunks that are not zeros
	oldUnique int64  // the same, every content counted once
	marker    int64  // where the marker stands in the old version
	newChunks int64  // bytes of the new version in chunks whose content the old one does not have, counted once
}

// compareImages reads both images and compares them.
func compareImages(t *testing.T, v1, v2 string) difference {
	t.Helper()
	a, err := os.ReadFile(v1)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(v2)
	if err != nil {
		t.Fatal(err)
	}
	if len(a) != imageBytes+pageSize || len(b) != len(a) {
		t.Fatalf("images of %d and %d bytes, want %d", len(a), len(b), imageBytes+pageSize)
	}
	d := difference{differs: make([]bool, len(a)/pageSize), marker: int64(bytes.Index(a, marker()))}
	if d.marker < 0 || bytes.Count(a, marker()) != 1 {
		t.Fatalf("the marker stands in the image %d times", bytes.Count(a, marker()))
	}
	for p := range d.differs {
		if !bytes.Equal(a[p*pageSize:(p+1)*pageSize], b[p*pageSize:(p+1)*pageSize]) {
			d.differs[p] = true
			d.pages++
		}
	}
	known := map[[sha256.Size]byte]bool{sha256.Sum256(make([]byte, chunkBytes)): true}
	for off := 0; off < len(a); off += chunkBytes {
		chunk := a[off:min(off+chunkBytes, len(a))]
		if !bytes.Equal(chunk, make([]byte, len(chunk))) {
			d.oldData += int64(len(chunk))
		}
		if sum := sha256.Sum256(chunk); !known[sum] {
			known[sum] = true
			d.oldUnique += int64(len(chunk))
		}
	}
	for off := 0; off < len(b); off += chunkBytes {
		chunk := b[off:min(off+chunkBytes, len(b))]
		if sum := sha256.Sum256(chunk); !known[sum] {
			known[sum] = true
			d.newChunks += int64(len(chunk))
		}
	}
	return d
}

// writeChanges writes every page that differs with Azure's Go SDK, in runs of at most 4 MiB, and clears runs that have
// become zeros. It returns the pages it wrote or cleared.
func writeChanges(t *testing.T, server *testkit.Server, name, v2 string, delta difference) []bool {
	t.Helper()
	data, err := os.ReadFile(v2)
	if err != nil {
		t.Fatal(err)
	}
	b := server.Container(t, "images").NewPageBlobClient(name)
	written := make([]bool, len(delta.differs))
	zero := make([]byte, pageSize)
	isZero := func(p int) bool { return bytes.Equal(data[p*pageSize:(p+1)*pageSize], zero) }
	for p := 0; p < len(written); {
		if !delta.differs[p] {
			p++
			continue
		}
		end := p + 1
		for end < len(written) && delta.differs[end] && isZero(end) == isZero(p) && end-p < 4*mib/pageSize {
			end++
		}
		at := blob.HTTPRange{Offset: int64(p) * pageSize, Count: int64(end-p) * pageSize}
		if isZero(p) {
			_, err = b.ClearPages(context.Background(), at, nil)
		} else {
			body := streaming.NopCloser(bytes.NewReader(data[p*pageSize : end*pageSize]))
			_, err = b.UploadPages(context.Background(), body, at, nil)
		}
		if err != nil {
			t.Fatalf("pages [%d,%d): %v", p, end, err)
		}
		for ; p < end; p++ {
			written[p] = true
		}
	}
	return written
}

// diffPages returns which pages a page ranges diff names, as written or as cleared.
func diffPages(t *testing.T, server *testkit.Server, name, snapshot string) []bool {
	t.Helper()
	named := make([]bool, imageBytes/pageSize+1)
	pager := server.Container(t, "images").NewPageBlobClient(name).NewGetPageRangesDiffPager(
		&pageblob.GetPageRangesDiffOptions{PrevSnapshot: &snapshot, MaxResults: to.Ptr(int32(100))}) // several pages of answers
	for pager.More() {
		resp, err := pager.NextPage(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		mark := func(start, end *int64) {
			for p := *start / pageSize; p <= *end/pageSize; p++ {
				named[p] = true
			}
		}
		for _, r := range resp.PageRange {
			mark(r.Start, r.End)
		}
		for _, r := range resp.ClearRange {
			mark(r.Start, r.End)
		}
	}
	return named
}

func count(pages []bool) (n int) {
	for _, p := range pages {
		if p {
			n++
		}
	}
	return n
}

// downloadGo reads a blob with Azure's Go SDK, several ranges at once, and returns its SHA-256.
func downloadGo(t *testing.T, server *testkit.Server, dir, name, snapshot string) string {
	t.Helper()
	start := time.Now()
	b := server.Container(t, "images").NewBlobClient(name)
	if snapshot != "" {
		var err error
		if b, err = b.WithSnapshot(snapshot); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Create(filepath.Join(dir, "go.vhd"))
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	n, err := b.DownloadFile(context.Background(), f, &blob.DownloadFileOptions{BlockSize: 4 * mib, Concurrency: 8})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("Go SDK read %d MiB in %.1f s", n/mib, time.Since(start).Seconds())
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	return testkit.SHA256(t, f)
}

// downloadJS reads a blob with Azure's JavaScript SDK and returns its SHA-256.
func downloadJS(t *testing.T, server *testkit.Server, name, snapshot string) string {
	t.Helper()
	start := time.Now()
	out := testkit.Command{
		Args: []string{"node", filepath.Join(testkit.Root(t), "internal/testkit/e2e/js/download.cjs"), "images", name, snapshot},
		Env:  []string{"NODE_PATH=" + testkit.NodeModules(t), "AZURE_STORAGE_CONNECTION_STRING=" + server.ConnectionString()},
	}.Run(t)
	t.Logf("JavaScript SDK read it in %.1f s", time.Since(start).Seconds())
	return strings.TrimSpace(out)
}

// az is Azure's command line against one server.
type az struct{ env []string }

func newAz(t *testing.T, server *testkit.Server, dir string) *az {
	return &az{env: []string{
		"AZURE_STORAGE_CONNECTION_STRING=" + server.ConnectionString(),
		"AZURE_CONFIG_DIR=" + filepath.Join(dir, "az"),
		"AZURE_CORE_COLLECT_TELEMETRY=0",
		"AZURE_CORE_NO_COLOR=1",
		"AZURE_CORE_ONLY_SHOW_ERRORS=1",
	}}
}

// run runs az storage with args and returns what it printed, which is JSON.
func (a *az) run(t *testing.T, args ...string) string {
	t.Helper()
	start := time.Now()
	out := testkit.Command{Args: append([]string{"az", "storage"}, args...), Env: a.env}.Run(t)
	t.Logf("az storage %s %s: %.1f s", args[0], args[1], time.Since(start).Seconds())
	return out
}

// snapshot takes a snapshot of a blob and returns its time, as Azure writes it.
func (a *az) snapshot(t *testing.T, name string) string {
	t.Helper()
	out := a.run(t, "blob", "snapshot", "--container-name", "images", "--name", name)
	var answer struct{ Snapshot string }
	if err := json.Unmarshal([]byte(out), &answer); err != nil || answer.Snapshot == "" {
		t.Fatalf("az blob snapshot: %v in %s", err, out)
	}
	return answer.Snapshot
}

// download reads a blob with az and returns its SHA-256.
func (a *az) download(t *testing.T, dir, name, snapshot string) string {
	t.Helper()
	file := filepath.Join(dir, "az.vhd")
	defer os.Remove(file)
	args := []string{"blob", "download", "--container-name", "images", "--name", name, "--file", file}
	if snapshot != "" {
		args = append(args, "--snapshot", snapshot)
	}
	a.run(t, args...)
	return testkit.FileSHA256(t, file)
}

// figures are what the store says about itself, in bytes.
type figures struct{ logical, stored float64 }

func storeFigures(t *testing.T, server *testkit.Server) figures {
	t.Helper()
	return figures{
		logical: server.Metric(t, "pagevault_written_bytes"),
		stored:  server.Metric(t, "pagevault_log_data_bytes"),
	}
}

func (f figures) log(t *testing.T, when string) {
	t.Helper()
	t.Logf("%s: %.1f MiB written by clients, %.1f MiB stored (each member), ratio %.2f", when, f.logical/mib, f.stored/mib, f.logical/f.stored)
}
