package testkit

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// NoPowerCut names the environment variable that leaves out the tests that mount file systems, for people without root.
// Without it such a machine fails them: a test that nobody ran is not a test that passed.
const NoPowerCut = "PAGEVAULT_NO_POWERCUT"

// Disk is a real file system in a file, mounted by the kernel through a loop device, whose power can be cut.
type Disk struct {
	kind       string // as in mkfs.KIND
	image, dir string
	mounted    bool
}

// NewDisk makes a file system of the kind ("ext4", "xfs") and size in a sparse file, and mounts it. It needs root and a
// loop device; without them the test fails, or is left out if NoPowerCut says so.
func NewDisk(t testing.TB, kind string, bytes int64) *Disk {
	t.Helper()
	if os.Getenv(NoPowerCut) != "" {
		t.Skipf("left out: %s is set", NoPowerCut)
	}
	if os.Geteuid() != 0 {
		t.Fatalf("mounting a file system needs root; run as root, or set %s=1 to leave this test out", NoPowerCut)
	}
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		t.Fatalf("this machine has no loop devices (%v); set %s=1 to leave this test out", err, NoPowerCut)
	}
	top := t.TempDir()
	d := &Disk{kind: kind, image: filepath.Join(top, "disk.img"), dir: filepath.Join(top, "mnt")}
	f, err := os.Create(d.image)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(bytes); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(d.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	Run(t, "mkfs."+kind, "-q", d.image)
	d.Mount(t)
	t.Cleanup(func() {
		if d.mounted {
			d.Unmount(t)
		}
	})
	return d
}

// Dir returns where the file system is mounted.
func (d *Disk) Dir() string { return d.dir }

// Mount mounts the file system, which replays its journal.
func (d *Disk) Mount(t testing.TB) {
	t.Helper()
	Run(t, "mount", "-o", "loop", "-t", d.kind, d.image, d.dir)
	d.mounted = true
}

// CutPower makes the file system lose everything it has not made durable, at once: its journal is not written out, and
// every later operation on it fails. Open files stay open and useless until Unmount.
func (d *Disk) CutPower(t testing.TB) {
	t.Helper()
	Run(t, "xfs_io", "-x", "-c", "shutdown", d.dir)
}

// Unmount unmounts it. Nobody may have a file of it open.
func (d *Disk) Unmount(t testing.TB) {
	t.Helper()
	Run(t, "umount", d.dir)
	d.mounted = false
}

// Check runs the file system's own checker over the unmounted image and returns what it says.
func (d *Disk) Check(t testing.TB) string {
	t.Helper()
	if d.kind == "xfs" {
		return Run(t, "xfs_repair", "-n", d.image)
	}
	return strings.TrimSpace(Run(t, "e2fsck", "-fn", d.image))
}
