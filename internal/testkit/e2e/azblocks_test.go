//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"

	"pagevault/internal/testkit"
)

// TestToolAz has az do with block and append blobs what people do with it. Left out are "sync", "copy" and "remove", which run
// azcopy, of which there is no package; and "copy start-batch", which makes an address of Azure's of its source, as "copy start"
// does unless it is given a URL.
func TestToolAz(t *testing.T) {
	e := startEndpoint(t)
	az := newTool(t, "az", "AZURE_STORAGE_CONNECTION_STRING="+e.connection, "AZURE_CORE_COLLECT_TELEMETRY=0", "AZURE_CORE_NO_COLOR=1", "AZURE_CORE_ONLY_SHOW_ERRORS=1")
	dir, name := t.TempDir(), e.containerName("az")
	run := func(args ...string) string {
		t.Helper()
		return az.run(t, append([]string{"storage"}, args...)...)
	}
	files := makeTree(t, filepath.Join(dir, "tree"), testkit.Seed(t), testkit.Scale(t, toolFilesEnv, 300)/5+len(oddNames), 0)
	run("container", "create", "--name", name)

	upload := func(more ...string) {
		t.Helper()
		run(append([]string{"blob", "upload-batch", "--destination", name, "--destination-path", "a folder", "--source", files.dir}, more...)...)
	}
	download := func() {
		t.Helper()
		to := t.TempDir()
		run("blob", "download-batch", "--source", name, "--destination", to)
		files.compare(t, filepath.Join(to, "a folder"))
	}
	upload()
	download()
	run("blob", "delete-batch", "--source", name, "--pattern", "a folder/dir 3/*")
	for _, file := range slices.Sorted(maps.Keys(files.want)) {
		if strings.HasPrefix(file, "dir 3/") {
			files.remove(t, file)
		}
	}
	for range 5 {
		files.add(t)
	}
	files.write(t, slices.Sorted(maps.Keys(files.want))[0])
	upload("--overwrite")
	download()
	testAzLarge(t, e, run, name)
	testAzAppend(t, run, name)
	run("container", "delete", "--name", name)
	e.stop(t)
}

// azBlob is what az shows of a blob.
type azBlob struct {
	Properties struct {
		BlobTier, BlobType string
		ContentLength      int64
		ContentSettings    struct{ ContentMD5 string }
		Copy               struct{ Status string }
	}
}

func azShow(t *testing.T, run func(args ...string) string, in, name string) (b azBlob) {
	t.Helper()
	out := run("blob", "show", "--container-name", in, "--name", name)
	if err := json.Unmarshal([]byte(out), &b); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	return b
}

// testAzLarge writes a blob that az sends in blocks, over 64 MiB; snapshots it, copies it, replaces it, replaces the copy as
// well, by Put Blob From URL, and moves that to another tier.
func testAzLarge(t *testing.T, e *endpoint, run func(args ...string) string, name string) {
	t.Helper()
	size := int64(testkit.Scale(t, toolSDKEnv, 80))*mib + 12345
	f := tree{dir: t.TempDir(), want: map[string]string{}, bulk: testBulk(11)}
	f.writeLarge(t, "first", size)
	f.writeLarge(t, "second", size/2)
	upload := func(file string, more ...string) {
		t.Helper()
		run(append([]string{"blob", "upload", "--container-name", name, "--name", "large", "--file", filepath.Join(f.dir, file)}, more...)...)
	}
	want := func(of, content string, more ...string) {
		t.Helper()
		to := filepath.Join(t.TempDir(), "back")
		run(append([]string{"blob", "download", "--container-name", name, "--name", of, "--file", to}, more...)...)
		if got := testkit.FileSHA256(t, to); got != f.want[content] {
			t.Errorf("%s %v has sha256 %s, want %s, which is that of the %s content", of, more, got, f.want[content], content)
		}
	}

	upload("first", "--max-connections", "4", "--validate-content")
	if shown := azShow(t, run, name, "large").Properties; shown.ContentLength != size || shown.BlobType != "BlockBlob" {
		t.Errorf("az shows %+v, want a block blob of %d bytes", shown, size)
	}
	b := e.container(t, name).NewBlockBlobClient("large")
	if list := blocks(t, b).CommittedBlocks; len(list) < 2 || sizeOf(list) != size {
		t.Errorf("the blob has %d blocks of %d bytes together, want several of %d", len(list), sizeOf(list), size)
	}
	var taken struct{ Snapshot string }
	if out := run("blob", "snapshot", "--container-name", name, "--name", "large"); json.Unmarshal([]byte(out), &taken) != nil || taken.Snapshot == "" {
		t.Fatalf("az blob snapshot: %s", out)
	}
	run("blob", "copy", "start", "--source-uri", e.url+"/"+name+"/large", "--destination-container", name, "--destination-blob", "copied/large")
	upload("second", "--overwrite")
	want("large", "second")
	want("large", "first", "--snapshot", taken.Snapshot, "--max-connections", "4")
	if shown := azShow(t, run, name, "copied/large").Properties; shown.Copy.Status != "success" || shown.ContentLength != size {
		t.Errorf("az shows of the copy %+v", shown)
	}
	want("copied/large", "first")

	source, err := b.GetSASURL(sas.BlobPermissions{Read: true}, time.Now().Add(time.Hour), nil)
	if err != nil {
		t.Fatal(err)
	}
	// It cannot print an answer that has an MD5: that ends in a UnicodeDecodeError.
	run("blob", "rewrite", "--container-name", name, "--name", "copied/large", "--source-uri", source, "--output", "none")
	want("copied/large", "second")

	run("blob", "set-tier", "--container-name", name, "--name", "copied/large", "--tier", "Cool")
	if tier := azShow(t, run, name, "copied/large").Properties.BlobTier; tier != "Cool" {
		t.Errorf("the tier is %q after it was set to Cool", tier)
	}
}

// testAzAppend has az append files to a blob, and begin it anew. Over several connections, which is its default, az sends the
// second block of a file beside the first or before it, at a place that is not the end yet: now and then its own conditions fail.
func testAzAppend(t *testing.T, run func(args ...string) string, name string) {
	t.Helper()
	f := tree{dir: t.TempDir(), want: map[string]string{}, bulk: testBulk(12)}
	f.writeLarge(t, "one", 9*mib+1) // several blocks of 4 MiB
	f.writeLarge(t, "two", 777)
	appendFile := func(file string, more ...string) {
		t.Helper()
		run(append([]string{"blob", "upload", "--type", "append", "--max-connections", "1", "--container-name", name, "--name", "log", "--file", filepath.Join(f.dir, file)}, more...)...)
	}
	want := func(content ...[]byte) {
		t.Helper()
		to := filepath.Join(t.TempDir(), "back")
		run("blob", "download", "--container-name", name, "--name", "log", "--file", to)
		if got, err := os.ReadFile(to); err != nil || !bytes.Equal(got, bytes.Join(content, nil)) {
			t.Errorf("the append blob has %d bytes, %v, which are not those that were appended", len(got), err)
		}
	}
	one, err := os.ReadFile(filepath.Join(f.dir, "one"))
	if err != nil {
		t.Fatal(err)
	}
	two, err := os.ReadFile(filepath.Join(f.dir, "two"))
	if err != nil {
		t.Fatal(err)
	}
	appendFile("one")
	appendFile("two")
	want(one, two)
	appendFile("two", "--overwrite")
	want(two)
}
