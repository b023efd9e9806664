//go:build e2e

package e2e

import (
	"encoding/json"
	"maps"
	"path/filepath"
	"testing"

	"pagevault/internal/testkit"
)

// TestToolRestic keeps a folder in a repository of restic's: two backups, both restored, the first forgotten and what only
// it needed removed. Restic's own driver for Azure makes 127.0.0.1:10000 of the account devstoreaccount1, whatever else it is
// told, and an address of Azure's of every other; so it goes through rclone, which it starts itself.
func TestToolRestic(t *testing.T) {
	e := startEndpoint(t)
	name := e.containerName("restic")
	rclone := newRclone(t, e)
	restic := newTool(t, "restic", append(rcloneEnv(e), "RCLONE_CONFIG="+filepath.Join(t.TempDir(), "rclone.conf"),
		"RESTIC_REPOSITORY=rclone:vault:"+name+"/repo", "RESTIC_PASSWORD=of the test")...)
	dir := t.TempDir()
	files := makeTree(t, filepath.Join(dir, "tree"), testkit.Seed(t), testkit.Scale(t, toolFilesEnv, 300), int64(testkit.Scale(t, toolLargeEnv, 50))*mib)
	size := func(when string) int64 {
		t.Helper()
		var held struct{ Count, Bytes int64 }
		if out := rclone.run(t, "size", "--json", "vault:"+name); json.Unmarshal([]byte(out), &held) != nil {
			t.Fatalf("rclone size: %s", out)
		}
		t.Logf("%s: the repository has %d blobs, %.1f MiB, for %.1f MiB of files", when, held.Count, float64(held.Bytes)/mib, float64(files.bytes(t))/mib)
		e.stored(t, when)
		return held.Bytes
	}
	restore := func(snapshot string, want map[string]string) {
		t.Helper()
		to := t.TempDir()
		restic.run(t, "restore", snapshot, "--target", to)
		compareFiles(t, filepath.Join(to, files.dir), want)
	}

	restic.run(t, "init")
	restic.run(t, "backup", "--quiet", files.dir)
	first := maps.Clone(files.want)
	size("first backup")
	files.change(t)
	restic.run(t, "backup", "--quiet", files.dir)
	before := size("second backup")
	ids := resticSnapshots(t, restic)
	if len(ids) != 2 {
		t.Fatalf("there are snapshots %q, want two", ids)
	}
	restic.run(t, "check", "--read-data")
	restore(ids[0], first)
	restore(ids[1], files.want)

	restic.run(t, "forget", "--keep-last", "1", "--prune", "--max-unused", "0")
	after := size("first one forgotten and pruned")
	if after >= before {
		t.Errorf("the repository had %d bytes before the prune and has %d after it", before, after)
	}
	if left := resticSnapshots(t, restic); len(left) != 1 || left[0] != ids[1] {
		t.Errorf("there are snapshots %q after all but the last were forgotten, which is %s", left, ids[1])
	}
	restic.run(t, "check", "--read-data")
	restore("latest", files.want)
	rclone.run(t, "purge", "vault:"+name)
	e.stop(t)
}

// resticSnapshots returns the ids of a repository's snapshots, oldest first.
func resticSnapshots(t *testing.T, restic *tool) (ids []string) {
	t.Helper()
	var snapshots []struct{ ID string }
	out := restic.run(t, "snapshots", "--json")
	if err := json.Unmarshal([]byte(out), &snapshots); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	for _, s := range snapshots {
		ids = append(ids, s.ID)
	}
	return ids
}
