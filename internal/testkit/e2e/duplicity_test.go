//go:build e2e

package e2e

import (
	"maps"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"pagevault/internal/testkit"
)

// TestToolDuplicity makes a full and an incremental backup of a folder with duplicity, which runs in Debian's Python on the
// SDK that it finds there, and restores both.
func TestToolDuplicity(t *testing.T) {
	e := startEndpoint(t)
	name := e.containerName("duplicity")
	duplicity := newTool(t, "duplicity", "AZURE_CONNECTION_STRING="+e.connection)
	dir := t.TempDir()
	files := makeTree(t, filepath.Join(dir, "tree"), testkit.Seed(t), testkit.Scale(t, toolFilesEnv, 300), int64(testkit.Scale(t, toolLargeEnv, 50))*mib)
	to, options := "azure://"+name, []string{"--no-encryption", "--archive-dir", t.TempDir(), "--tempdir", t.TempDir()}
	run := func(args ...string) {
		t.Helper()
		duplicity.run(t, append(args, options...)...)
	}
	restore := func(want map[string]string, args ...string) {
		t.Helper()
		into := filepath.Join(t.TempDir(), "restored")
		run(append(append([]string{"restore"}, args...), to, into)...)
		compareFiles(t, into, want)
	}

	run("full", "--volsize", "20", files.dir, to)
	first := maps.Clone(files.want)
	e.stored(t, "full backup")
	run("verify", "--compare-data", to, files.dir)
	files.change(t)
	run("incremental", "--volsize", "20", files.dir, to)
	e.stored(t, "incremental backup")
	run("verify", "--compare-data", to, files.dir)
	restore(files.want)
	c := e.container(t, name)
	restore(first, "--time", fullBackup(t, c))

	// What is on the server is all that is needed: this one has nothing in its archive directory.
	options[2] = t.TempDir()
	restore(files.want)
	run("collection-status", to)
	if _, err := c.Delete(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	e.stop(t)
}

// fullBackup returns the time of the full backup in a container, from the names of its blobs, as duplicity takes it.
func fullBackup(t *testing.T, c *container.Client) string {
	t.Helper()
	names := listed(t, c, container.ListBlobsInclude{})
	volume := regexp.MustCompile(`^duplicity-full\.(\d{8}T\d{6}Z)\.vol1\.`)
	for _, name := range names {
		if m := volume.FindStringSubmatch(name); m != nil {
			at, err := time.Parse("20060102T150405Z", m[1])
			if err != nil {
				t.Fatal(err)
			}
			return at.Format("2006-01-02T15:04:05Z07:00")
		}
	}
	t.Fatalf("no volume of a full backup in %q", names)
	return ""
}
