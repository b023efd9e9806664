package testkit

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// NoPowerCut names the environment variable that leaves out the tests that mount file systems, for people without root.
// Without it such a machine fails them: a test that nobody ran is not a test that passed.
const NoPowerCut = "PAGEVAULT_NO_POWERCUT"

// Disk is a real file system in a file, mounted by the kernel through a loop device, whose power can be cut, and which can
// be frozen or found broken.
type Disk struct {
	kind       string // as in mkfs.KIND
	image, dir string
	mounted    bool
}

// NewDisk makes a file system of the kind ("ext4", "xfs") and size in a sparse file, and mounts it. It needs root and a
// loop device; without them the test fails, or is left out if NoPowerCut says so.
func NewDisk(t testing.TB, kind string, bytes int64) *Disk {
	t.Helper()
	needMounts(t, "/dev/loop-control")
	top := t.TempDir()
	d := &Disk{kind: kind, image: filepath.Join(top, "disk.img"), dir: filepath.Join(top, "mnt")}
	makeImage(t, d.image, bytes)
	if err := os.Mkdir(d.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	Run(t, "mkfs."+kind, "-q", d.image)
	d.Mount(t)
	t.Cleanup(func() {
		if d.mounted {
			unmountAnyhow(t, d.dir)
		}
	})
	return d
}

// needMounts fails a test on a machine where it cannot mount what it needs, or leaves it out if NoPowerCut says so.
func needMounts(t testing.TB, devices ...string) {
	t.Helper()
	if os.Getenv(NoPowerCut) != "" {
		t.Skipf("left out: %s is set", NoPowerCut)
	}
	if os.Geteuid() != 0 {
		t.Fatalf("mounting a file system needs root; run as root, or set %s=1 to leave this test out", NoPowerCut)
	}
	for _, device := range devices {
		if _, err := os.Stat(device); err != nil {
			t.Fatalf("this machine cannot mount what the test needs (%v); set %s=1 to leave it out", err, NoPowerCut)
		}
	}
}

// makeImage makes a sparse file of that size.
func makeImage(t testing.TB, name string, bytes int64) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(bytes); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// unmountAnyhow unmounts at the end of a test, also what somebody still has open: that is an error then, and the file
// system goes away with its last user.
func unmountAnyhow(t testing.TB, dir string) {
	t.Helper()
	_, err := Command{Args: []string{"umount", dir}}.Try(t)
	if err == nil {
		return
	}
	t.Error(err)
	if _, err := (Command{Args: []string{"umount", "-l", dir}}).Try(t); err != nil {
		t.Error(err)
	}
}

// Dir returns where the file system is mounted.
func (d *Disk) Dir() string { return d.dir }

// Mount mounts the file system, which replays its journal.
func (d *Disk) Mount(t testing.TB) {
	t.Helper()
	options := "loop"
	if d.kind == "ext4" {
		options += ",errors=remount-ro" // as Debian mounts its own
	} else {
		options += ",nouuid" // Reattach mounts a copy while the original is perhaps still in use
	}
	Run(t, "mount", "-o", options, "-t", d.kind, d.image, d.dir)
	d.mounted = true
}

// CutPower makes the file system lose everything it has not made durable, at once: its journal is not written out, and
// every later operation on it fails. Open files stay open and useless until Unmount.
func (d *Disk) CutPower(t testing.TB) {
	t.Helper()
	Run(t, "xfs_io", "-x", "-c", "shutdown", d.dir)
}

// Freeze makes whoever writes to the file system or syncs a file of it wait until Thaw; reading goes on.
func (d *Disk) Freeze(t testing.TB) (thaw func()) {
	t.Helper()
	Run(t, "fsfreeze", "-f", d.dir)
	thaw = sync.OnceFunc(func() {
		t.Helper()
		if _, err := (Command{Args: []string{"fsfreeze", "-u", d.dir}}).Try(t); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(thaw) // before the server is stopped, which could not end
	return thaw
}

// Break makes an ext4 file system read-only, as the kernel does when it finds it damaged: what is open for writing stays
// open and cannot be written any more.
func (d *Disk) Break(t testing.TB) {
	t.Helper()
	device := filepath.Base(strings.TrimSpace(Run(t, "findmnt", "-n", "-o", "SOURCE", d.dir)))
	if err := os.WriteFile(filepath.Join("/sys/fs/ext4", device, "trigger_fs_error"), []byte("test"), 0); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(d.dir, "written"), nil, 0o600); !errors.Is(err, syscall.EROFS) {
		t.Fatalf("after an error of the file system, writing to it gives %v, want that it is read-only", err)
	}
}

// Reattach mounts what is on the platter of a broken disk, checked, at the same place. Whoever has files of it open keeps
// those of the old mount, which are as useless as they were.
func (d *Disk) Reattach(t testing.TB) {
	t.Helper()
	Run(t, "umount", "-l", d.dir)
	d.mounted = false
	fresh := d.image + "+" // under another device: the old one goes away with its last user
	Run(t, "cp", "--sparse=always", d.image, fresh)
	d.image = fresh
	if d.kind == "ext4" {
		// 1: it had errors, and they are corrected
		if out, err := (Command{Args: []string{"e2fsck", "-fy", d.image}}).Try(t); err != nil && exitCode(err) != 1 {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	d.Mount(t)
}

func exitCode(err error) int {
	var e *exec.ExitError
	if errors.As(err, &e) {
		return e.ExitCode()
	}
	return -1
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
