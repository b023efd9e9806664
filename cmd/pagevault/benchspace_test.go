package main

import (
	"bytes"
	"encoding/json"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pagevault/bench"
	"pagevault/internal/testkit"
)

// TestBenchSpace stores an image in a server of its own, started by the real binary, and finds the report in both forms
// and nothing left behind.
func TestBenchSpace(t *testing.T) {
	images, dir := t.TempDir(), t.TempDir()
	p := make([]byte, 9<<20)
	rand.NewChaCha8([32]byte{}).Read(p[:1<<20])
	if err := os.WriteFile(filepath.Join(images, "a.img"), p, 0o644); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "report.json")
	out, err := exec.Command(testkit.Binary(t), "bench", "space", "--images", images, "--dir", dir, "--json", file).Output()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(out), "| 4 KiB in 64 KiB ") || !strings.Contains(string(out), "\n| pagevault ") {
		t.Errorf("tables:\n%s", out)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r bench.SpaceReport
	if err := json.Unmarshal(text, &r); err != nil || len(r.Archives) != 1 || r.DataBytes() != 1<<20 {
		t.Fatalf("%s: %v", text, err)
	}
	// nothing of it can be compressed: 1 MiB, and little besides
	if o := r.Archives[0].Rewritten; o.StoredBytes < 1<<20 || o.StoredBytes > 1<<20+64<<10 || o.MetadataBytes <= 0 {
		t.Errorf("%+v", o)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestBenchSpaceErrors: what is wrong is said on one line, before anything is started.
func TestBenchSpaceErrors(t *testing.T) {
	f := func(want string, args ...string) {
		t.Helper()
		c := newBenchSpace()
		c.SilenceErrors, c.SilenceUsage = true, true
		var out bytes.Buffer
		c.SetOut(&out)
		c.SetErr(io.Discard) // progress
		c.SetArgs(args)
		err := c.ExecuteContext(t.Context())
		if err == nil || out.Len() > 0 || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: output %q, error %v; want one line with %q", args, out.String(), err, want)
		}
	}
	images := t.TempDir()
	f("--images is missing")
	f("--images: no images match", "--images", images)
	if err := os.WriteFile(filepath.Join(images, "a.img"), make([]byte, 512), 0o644); err != nil {
		t.Fatal(err)
	}
	f("--connections must be positive", "--images", images, "--connections", "0")
	f(`--with: no tool "tar"`, "--images", images, "--with", "tar")
	f("--account goes with --target", "--images", images, "--account", "a:AAAA")
	f("--target-admin goes with --target", "--images", images, "--target-admin", "http://127.0.0.1:1")
	f("connection refused", "--images", images, "--simulate=false", "--target", "http://127.0.0.1:1")
}
