package testkit

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// SickDisk is an ext4 file system on a disk that another process plays: it can be made to answer nothing at all, also not
// to readers, and to fail every read and write that reaches it. Below the kernel's loop device lies a file that nbdfuse
// shows, which passes everything on to nbdkit.
type SickDisk struct {
	dir, fuse, trigger string
	device             string
	nbdkit, nbdfuse    *exec.Cmd
}

// NewSickDisk makes such a disk of that many bytes, in good health, and mounts it. It needs what NewDisk needs, and
// /dev/fuse.
func NewSickDisk(t testing.TB, size int64) *SickDisk {
	t.Helper()
	needMounts(t, "/dev/loop-control", "/dev/fuse")
	top, err := os.MkdirTemp("", "sick") // short: it holds a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(top) })
	d := &SickDisk{dir: filepath.Join(top, "mnt"), fuse: filepath.Join(top, "fuse"), trigger: filepath.Join(top, "fail")}
	image, socket := filepath.Join(top, "img"), filepath.Join(top, "s")
	makeImage(t, image, size)
	for _, dir := range []string{d.dir, d.fuse} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	d.nbdkit = d.start(t, "nbdkit", "-f", "-U", socket, "--filter=error", "file", image, "error=EIO", "error-rate=100%", "error-file="+d.trigger)
	await(t, "nbdkit's socket", func() bool { _, err := os.Stat(socket); return err == nil })
	file := filepath.Join(d.fuse, "nbd")
	d.nbdfuse = d.start(t, "nbdfuse", file, "--unix", socket)
	t.Cleanup(func() { lazily(d.fuse); d.nbdfuse.Process.Kill(); d.nbdfuse.Wait() })
	await(t, "nbdfuse's file", func() bool { _, err := os.Stat(file); return err == nil })
	// direct: what the loop device is asked for must not be answered from the cache of the file below
	d.device = strings.TrimSpace(Run(t, "losetup", "-f", "--show", "--direct-io=on", file))
	t.Cleanup(func() { Command{Args: []string{"losetup", "-d", d.device}}.Try(t) })
	// without a journal: one that could not be written would make the file system read only for good
	Run(t, "mkfs.ext4", "-q", "-O", "^has_journal", d.device)
	Run(t, "mount", d.device, d.dir)
	t.Cleanup(func() {
		d.Recover(t)
		unmountAnyhow(t, d.dir)
	})
	return d
}

// start starts one of the processes. It lives at most as long as the test.
func (d *SickDisk) start(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(Tool(t, args[0]), args[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if args[0] == "nbdkit" {
		t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	}
	return cmd
}

func lazily(dir string) { syscall.Unmount(dir, syscall.MNT_DETACH) }

// Dir returns where the file system is mounted.
func (d *SickDisk) Dir() string { return d.dir }

// Freeze makes whoever reads or writes what is not in the cache wait, until Recover. It may not be frozen already.
func (d *SickDisk) Freeze(t testing.TB) {
	t.Helper()
	t.Cleanup(func() { d.Recover(t) }) // before the server is stopped, which could not end
	if err := d.nbdkit.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	// until the last of its threads has stopped, they answer
	if err := unix.Waitid(unix.P_PID, d.nbdkit.Process.Pid, nil, unix.WSTOPPED, nil); err != nil {
		t.Fatal(err)
	}
}

// Fail makes every read and write that reaches the disk fail with EIO, until Recover.
func (d *SickDisk) Fail(t testing.TB) {
	t.Helper()
	if err := os.WriteFile(d.trigger, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Recover ends Freeze and Fail.
func (d *SickDisk) Recover(t testing.TB) {
	t.Helper()
	if err := os.Remove(d.trigger); err != nil && !os.IsNotExist(err) {
		t.Error(err)
	}
	if err := d.nbdkit.Process.Signal(syscall.SIGCONT); err != nil {
		t.Error(err)
	}
}

// Reattach unmounts the recovered disk, checks it, and mounts it again.
func (d *SickDisk) Reattach(t testing.TB) {
	t.Helper()
	Run(t, "umount", d.dir)
	if out, err := (Command{Args: []string{"e2fsck", "-fy", d.device}}).Try(t); err != nil && exitCode(err) != 1 {
		t.Fatalf("%v\n%s", err, out)
	}
	Run(t, "mount", d.device, d.dir)
}

// setUpTimeout bounds what a helper process needs to get ready.
const setUpTimeout = 20 * time.Second

// await returns when a condition that nobody announces holds.
func await(t testing.TB, what string, holds func() bool) {
	t.Helper()
	Await(t, setUpTimeout, what, holds)
}

// Await returns when a condition that nobody announces holds, and fails the test if that takes longer than the bound.
func Await(t testing.TB, bound time.Duration, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(bound)
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("no %s within %v", what, bound)
		}
	}
}
