//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pagevault/internal/testkit"
)

// newRclone returns rclone with a remote "vault:" that is the endpoint. use_emulator makes Debian's rclone 1.60 take an
// address with the account in its path; without it, it makes an address of Azure's from the account's name.
func newRclone(t *testing.T, e *endpoint) *tool {
	t.Helper()
	return newTool(t, "rclone", append(rcloneEnv(e), "RCLONE_CONFIG="+filepath.Join(t.TempDir(), "rclone.conf"))...)
}

func rcloneEnv(e *endpoint) []string {
	return []string{
		"RCLONE_CONFIG_VAULT_TYPE=azureblob",
		"RCLONE_CONFIG_VAULT_ACCOUNT=" + e.account,
		"RCLONE_CONFIG_VAULT_KEY=" + e.key,
		"RCLONE_CONFIG_VAULT_ENDPOINT=" + e.url,
		"RCLONE_CONFIG_VAULT_USE_EMULATOR=true",
	}
}

// rcloneStats are the last figures of a run.
type rcloneStats struct{ Transfers, Checks, Deletes, Errors int }

// transfer runs a command of rclone's that moves files, and returns its figures.
func transfer(t *testing.T, rclone *tool, args ...string) (s rcloneStats) {
	t.Helper()
	log := filepath.Join(t.TempDir(), "log")
	args = append(args, "--use-json-log", "--log-file", log, "--stats", "1h", "--stats-log-level", "NOTICE", "--retries", "1", "--low-level-retries", "1")
	out, err := testkit.Command{Args: append([]string{rclone.name}, args...), Env: rclone.env}.Try(t)
	said, readErr := os.ReadFile(log)
	if err != nil || readErr != nil {
		t.Fatalf("%v %v\n%s%s", err, readErr, out, said)
	}
	found := false
	for line := range bytes.Lines(said) {
		var message struct{ Stats *rcloneStats }
		if err := json.Unmarshal(line, &message); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		if message.Stats != nil {
			s, found = *message.Stats, true
		}
	}
	if !found {
		t.Fatalf("rclone %s gave no figures:\n%s", strings.Join(args, " "), said)
	}
	t.Logf("rclone %s: %+v", args[0], s)
	return s
}

// TestToolRclone keeps a folder and a container in step with rclone, there and back.
func TestToolRclone(t *testing.T) {
	e := startEndpoint(t)
	rclone := newRclone(t, e)
	dir := t.TempDir()
	files := makeTree(t, filepath.Join(dir, "tree"), testkit.Seed(t), testkit.Scale(t, toolFilesEnv, 300), int64(testkit.Scale(t, toolLargeEnv, 50))*mib)
	t.Logf("%d files, %.1f MiB", len(files.want), float64(files.bytes(t))/mib)
	name := e.containerName("rclone")
	remote := "vault:" + name + "/deep/er"
	sync := func(want rcloneStats) {
		t.Helper()
		got := transfer(t, rclone, "sync", files.dir, remote)
		if got.Checks = 0; got != want { // how many it looks at is its own affair
			t.Errorf("the sync was %+v, want %+v", got, want)
		}
	}
	back := 0
	download := func(from string) {
		t.Helper()
		back++
		to := filepath.Join(dir, fmt.Sprintf("back-%d", back))
		transfer(t, rclone, "copy", from, to)
		files.compare(t, to)
		if err := os.RemoveAll(to); err != nil {
			t.Fatal(err)
		}
	}

	sync(rcloneStats{Transfers: len(files.want)})
	e.stored(t, "copied in")
	sync(rcloneStats{})
	download(remote)
	written, deleted := files.change(t)
	sync(rcloneStats{Transfers: written, Deletes: deleted})
	e.stored(t, "changed")
	rclone.run(t, "check", files.dir, remote)
	rclone.run(t, "check", "--download", files.dir, remote)
	download(remote)
	testRcloneListing(t, rclone, files, remote)

	// The copy is the server's: nothing is transferred through rclone.
	copied := "vault:" + e.containerName("copied")
	if got := transfer(t, rclone, "copy", remote, copied); got.Transfers != len(files.want) {
		t.Errorf("the copy on the server was %+v, want %d files", got, len(files.want))
	}
	e.stored(t, "copied on the server")
	rclone.run(t, "check", remote, copied)
	download(copied)
	testRcloneStream(t, rclone, copied)

	for _, from := range []string{"vault:" + name, copied} {
		rclone.run(t, "purge", from)
	}
	if left := rclone.run(t, "lsf", "vault:"); strings.Contains(left, e.made) {
		t.Errorf("containers are left after they were purged:\n%s", left)
	}
	e.stop(t)
}

// testRcloneListing compares what rclone lists with what is there: names, sizes and the MD5 that the server keeps.
func testRcloneListing(t *testing.T, rclone *tool, files *tree, remote string) {
	t.Helper()
	var there, here []struct {
		Path   string
		Size   int64
		Hashes struct{ MD5 string }
	}
	for from, into := range map[string]any{remote: &there, files.dir: &here} {
		out := rclone.run(t, "lsjson", "--recursive", "--files-only", "--hash", "--hash-type", "md5", from)
		if err := json.Unmarshal([]byte(out), into); err != nil {
			t.Fatalf("%v in %s", err, out)
		}
	}
	known := map[string]any{}
	for _, file := range here {
		known[file.Path] = file
	}
	if len(there) != len(files.want) || len(here) != len(there) {
		t.Errorf("%d files are listed there and %d here, want %d", len(there), len(here), len(files.want))
	}
	for _, file := range there {
		if known[file.Path] != file {
			t.Errorf("listed as %+v there and %+v here", file, known[file.Path])
		}
	}
}

// testRcloneStream writes a blob whose length nobody knows before its end, and reads parts of it.
func testRcloneStream(t *testing.T, rclone *tool, in string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "stream")
	const size = 23<<20 + 12345
	f := tree{dir: filepath.Dir(file), want: map[string]string{}, bulk: testBulk(3)}
	f.writeLarge(t, "stream", size)
	to := in + "/stream.bin"
	testkit.Command{Args: []string{"bash", "-euc", `rclone rcat "$1" <"$2"`, "-", to, file}, Env: rclone.env}.Run(t)
	all, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []struct{ off, count int }{{0, size}, {4<<20 - 1, 2}, {8 << 20, 4 << 20}, {size - 10, 10}} {
		out := rclone.run(t, "cat", "--offset", fmt.Sprint(part.off), "--count", fmt.Sprint(part.count), to)
		if out != string(all[part.off:part.off+part.count]) {
			t.Errorf("%d bytes at %d are not what was streamed in (%d bytes came)", part.count, part.off, len(out))
		}
	}
}
