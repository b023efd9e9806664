//go:build e2e

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"pagevault/internal/testkit"
)

// The tests named TestTool have programs that people use put block and append blobs, take them back, and compare every
// byte. Their sizes here are CI's; make tools runs them at those of real use.
const (
	toolFilesEnv = "PAGEVAULT_TOOL_FILES" // small files of a tree
	toolLargeEnv = "PAGEVAULT_TOOL_LARGE" // MiB of the large file beside them
	toolSDKEnv   = "PAGEVAULT_TOOL_SDK"   // MiB of a blob that the Go SDK writes
	// a connection string of a service that runs already, ours or another, to be tested in place of the process that is
	// built and started. What only our own process can be asked is left out then.
	toolEndpointEnv = "PAGEVAULT_TOOL_ENDPOINT"
)

// An endpoint is the account that tools are pointed at.
type endpoint struct {
	url, account, key string
	connection        string
	server            *testkit.Server // nil: it was running already
	made              string          // what makes the names of its containers new
}

// startEndpoint starts the real process, unless the environment names a service that runs.
func startEndpoint(t *testing.T, args ...string) *endpoint {
	t.Helper()
	e := &endpoint{connection: os.Getenv(toolEndpointEnv), made: strconv.FormatInt(time.Now().UnixNano(), 36)}
	if e.connection == "" {
		e.server = testkit.StartServer(t, testkit.ServerOptions{Args: args})
		e.connection = e.server.ConnectionString()
	}
	for field := range strings.SplitSeq(e.connection, ";") {
		name, value, _ := strings.Cut(field, "=")
		switch name {
		case "AccountName":
			e.account = value
		case "AccountKey":
			e.key = value
		case "BlobEndpoint":
			e.url = strings.TrimSuffix(value, "/")
		}
	}
	if e.account == "" || e.key == "" || e.url == "" {
		t.Fatalf("no AccountName, AccountKey or BlobEndpoint in the connection string %q", e.connection)
	}
	return e
}

// stop ends the process, if the test started it, and has what it stored checked: nothing that a tool did may have left a
// problem.
func (e *endpoint) stop(t *testing.T) {
	t.Helper()
	if e.server == nil {
		return
	}
	out, err := testkit.Command{Args: []string{testkit.Binary(t), "check", "--online", "--admin", e.server.AdminURL()}}.Try(t)
	if err != nil || !strings.Contains(out, "no problems found") {
		t.Errorf("check --online: %v, %s", err, out)
	}
	e.server.Stop(t)
}

// stored logs what clients have written and what the store keeps of it.
func (e *endpoint) stored(t *testing.T, when string) {
	t.Helper()
	if e.server != nil {
		storeFigures(t, e.server).log(t, when)
	}
}

// containerName returns the name of a container that nobody has used.
func (e *endpoint) containerName(use string) string { return use + "-" + e.made }

// container returns a client for a container, which may not exist yet, and has it deleted in the end where others live on.
func (e *endpoint) container(t *testing.T, name string) *container.Client {
	t.Helper()
	cred, err := azblob.NewSharedKeyCredential(e.account, e.key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := container.NewClientWithSharedKeyCredential(e.url+"/"+name, cred, &container.ClientOptions{ClientOptions: testkit.ClientOptions(t)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// makeContainer returns a client for a container that was created just now.
func (e *endpoint) makeContainer(t *testing.T, name string) *container.Client {
	t.Helper()
	c := e.container(t, name)
	if _, err := c.Create(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	return c
}

// A tool is a program in a home of its own: whatever it configures, caches or locks is gone after the test.
type tool struct {
	name string
	env  []string
}

func newTool(t *testing.T, name string, env ...string) *tool {
	t.Helper()
	home := t.TempDir()
	return &tool{name: name, env: append([]string{
		"HOME=" + home,
		"XDG_CONFIG_HOME=" + filepath.Join(home, "config"),
		"XDG_CACHE_HOME=" + filepath.Join(home, "cache"),
		"TMPDIR=" + home,
		"AZURE_CONFIG_DIR=" + filepath.Join(home, "az"),
	}, env...)}
}

// run runs the program and returns what it wrote to its standard output; a failure shows all it said.
func (o *tool) run(t *testing.T, args ...string) string {
	t.Helper()
	start := time.Now()
	out := testkit.Command{Args: append([]string{o.name}, args...), Env: o.env}.Run(t)
	t.Logf("%s %s: %.1f s", o.name, strings.Join(args[:min(3, len(args))], " "), time.Since(start).Seconds())
	return out
}

// A tree is a folder of files that the test makes and changes, and what must be in a copy of it: SHA-256 by path.
type tree struct {
	dir  string
	want map[string]string
	rng  *rand.Rand
	bulk *rand.ChaCha8
	next int // number of the next new file
}

// oddNames are legal in blobs and files, and go wrong wherever a name is escaped once too often or not at all.
var oddNames = []string{"with space", "100%", "50%25", "a+b", "a&b=c", "#hash", "semi;colon", "Grüße", "日本", "'quoted'", "ti~lde", "co,mma", "[x](y)"}

// mostSmall bounds a small file: sizes are spread evenly over their logarithms up to it, and some files are empty.
const mostSmall = 64 << 10

// makeTree makes small files in many folders, among them all odd names, and a large file.
func makeTree(t *testing.T, dir string, seed uint64, files int, large int64) *tree {
	t.Helper()
	f := &tree{dir: dir, want: map[string]string{}, rng: rand.New(rand.NewPCG(seed, 1)), bulk: rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)})}
	for range files {
		f.add(t)
	}
	if large > 0 {
		f.writeLarge(t, "large.bin", large)
	}
	return f
}

// add makes a new small file.
func (f *tree) add(t *testing.T) {
	t.Helper()
	name := fmt.Sprintf("file-%05d", f.next)
	if f.next < len(oddNames) {
		name = oddNames[f.next] + ".txt"
	}
	name = filepath.Join(fmt.Sprintf("dir %d", f.next%7), fmt.Sprintf("sub-%d", f.next%31), name)
	f.next++
	f.write(t, name)
}

// write gives a small file a new content, of another length than before: a tool may tell files by length and time alone.
func (f *tree) write(t *testing.T, name string) {
	t.Helper()
	size := f.rng.IntN(mostSmall >> f.rng.IntN(17))
	if was, err := os.Stat(filepath.Join(f.dir, name)); err == nil && was.Size() == int64(size) {
		size++
	}
	p := make([]byte, size)
	f.bulk.Read(p)
	f.put(t, name, bytes.NewReader(p))
}

func (f *tree) put(t *testing.T, name string, content io.Reader) {
	t.Helper()
	full := filepath.Join(f.dir, name)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		t.Fatal(err)
	}
	w, err := os.Create(full)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	f.want[name] = testkit.SHA256(t, io.TeeReader(content, w))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// writeLarge makes a file of which three quarters are random and the rest are zeros, as an image of a disk is.
func (f *tree) writeLarge(t *testing.T, name string, size int64) {
	t.Helper()
	f.put(t, name, io.LimitReader(&patchy{random: f.bulk}, size))
}

// A patchy reader gives 3 MiB of random bytes, a MiB of zeros, and so on for ever.
type patchy struct {
	random *rand.ChaCha8
	off    int64
}

func (r *patchy) Read(p []byte) (int, error) {
	in := r.off % (4 << 20)
	if in < 3<<20 {
		p = p[:min(int64(len(p)), 3<<20-in)]
		r.random.Read(p)
	} else {
		p = p[:min(int64(len(p)), 4<<20-in)]
		clear(p)
	}
	r.off += int64(len(p))
	return len(p), nil
}

// change writes one file in ten anew, deletes one in ten, makes half as many new ones, and changes a byte in the middle of
// the large file. It returns how many were written, the large one included, and how many deleted.
func (f *tree) change(t *testing.T) (written, deleted int) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(f.want)) {
		switch {
		case name == "large.bin":
			f.changeByte(t, name)
			written++
		case f.rng.IntN(10) == 0:
			f.write(t, name)
			written++
		case f.rng.IntN(10) == 0:
			f.remove(t, name)
			deleted++
		}
	}
	for range deleted/2 + 1 {
		f.add(t)
		written++
	}
	return written, deleted
}

func (f *tree) remove(t *testing.T, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(f.dir, name)); err != nil {
		t.Fatal(err)
	}
	delete(f.want, name)
}

// changeByte changes one byte in the middle of a file.
func (f *tree) changeByte(t *testing.T, name string) {
	t.Helper()
	w, err := os.OpenFile(filepath.Join(f.dir, name), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	info, err := w.Stat()
	if err != nil {
		t.Fatal(err)
	}
	var b [1]byte
	if _, err := w.ReadAt(b[:], info.Size()/2); err != nil {
		t.Fatal(err)
	}
	b[0]++
	if _, err := w.WriteAt(b[:], info.Size()/2); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	f.want[name] = testkit.FileSHA256(t, filepath.Join(f.dir, name))
}

// compare checks that a folder holds what the tree holds, and nothing else.
func (f *tree) compare(t *testing.T, dir string) { t.Helper(); compareFiles(t, dir, f.want) }

// compareFiles checks that a folder holds the files with these SHA-256, by path, and nothing else.
func compareFiles(t *testing.T, dir string, want map[string]string) {
	t.Helper()
	bad := 0
	complain := func(format string, args ...any) {
		t.Helper()
		if bad++; bad <= 10 { // a tool that is wrong is wrong everywhere
			t.Errorf(format, args...)
		}
	}
	seen := 0
	err := filepath.WalkDir(dir, func(full string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, full)
		if err != nil {
			return err
		}
		sum, known := want[name]
		if !known {
			complain("%s: there is a file %q, which nobody has put in", dir, name)
			return nil
		}
		seen++
		if got := testkit.FileSHA256(t, full); got != sum {
			complain("%s: %q has sha256 %s, want %s", dir, name, got, sum)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen == len(want) {
		return
	}
	for name := range want {
		if _, err := os.Stat(filepath.Join(dir, name)); errors.Is(err, fs.ErrNotExist) {
			complain("%s: %q is missing", dir, name)
		}
	}
}

// bytes returns how much the tree holds.
func (f *tree) bytes(t *testing.T) (n int64) {
	t.Helper()
	for name := range f.want {
		info, err := os.Stat(filepath.Join(f.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		n += info.Size()
	}
	return n
}
