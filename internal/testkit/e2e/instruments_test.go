//go:build e2e

package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"pagevault/internal/testkit"
)

// synced appends to a file and syncs it.
func synced(name string) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(make([]byte, 8192)); err != nil {
		return err
	}
	return f.Sync()
}

// later runs fn beside the test and returns where its error will be.
func later(fn func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- fn() }()
	return done
}

// hangs checks that fn has not returned for as long as a disk may be slow.
func hangs(t *testing.T, what string, done <-chan error) {
	t.Helper()
	select {
	case err := <-done:
		t.Fatalf("%s on a frozen disk returned: %v", what, err)
	case <-time.After(300 * time.Millisecond):
	}
}

// TestDiskInstruments shows that the instruments of the tests of disks work: what they say fails does fail, and heals.
func TestDiskInstruments(t *testing.T) {
	t.Run("Full", func(t *testing.T) {
		d := testkit.NewTmpfs(t, 16<<20)
		name := filepath.Join(d.Dir(), "file")
		d.Fill(t)
		if err := synced(name); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("writing to a full file system: %v", err)
		}
		d.Free(t)
		if err := synced(name); err != nil {
			t.Error(err)
		}
	})
	t.Run("ReadOnly", func(t *testing.T) {
		d := testkit.NewDisk(t, "ext4", smallDisk)
		name := filepath.Join(d.Dir(), "file")
		if err := synced(name); err != nil {
			t.Fatal(err)
		}
		d.Break(t)
		if err := synced(name); !errors.Is(err, syscall.EROFS) {
			t.Errorf("writing to a broken file system: %v", err)
		}
		d.Reattach(t)
		if err := synced(name); err != nil {
			t.Error(err)
		}
	})
	t.Run("FrozenForWriters", func(t *testing.T) {
		d := testkit.NewDisk(t, "ext4", smallDisk)
		thaw := d.Freeze(t)
		done := later(func() error { return synced(filepath.Join(d.Dir(), "file")) })
		hangs(t, "writing", done)
		thaw()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Run("Sick", testSickDisk)
	t.Run("Inject", testInject)
}

func testSickDisk(t *testing.T) {
	d := testkit.NewSickDisk(t, smallDisk)
	name := filepath.Join(d.Dir(), "file")
	read := func() error { _, err := os.ReadFile(name); return err }
	if err := synced(name); err != nil {
		t.Fatal(err)
	}
	testkit.ForgetCached(t, d.Dir())
	d.Freeze(t)
	writing, reading := later(func() error { return synced(filepath.Join(d.Dir(), "other")) }), later(read)
	hangs(t, "writing", writing)
	hangs(t, "reading", reading)
	d.Recover(t)
	if err := errors.Join(<-writing, <-reading); err != nil {
		t.Error(err)
	}
	testkit.ForgetCached(t, d.Dir())
	d.Fail(t)
	if err := read(); !errors.Is(err, syscall.EIO) {
		t.Errorf("reading from a failing disk: %v", err)
	}
	if err := synced(filepath.Join(d.Dir(), "third")); !errors.Is(err, syscall.EIO) {
		t.Errorf("writing to a failing disk: %v", err)
	}
	d.Recover(t)
	d.Reattach(t)
	if err := errors.Join(read(), synced(name)); err != nil {
		t.Error(err)
	}
}

// testInject has another process sync two files, one of which is to fail.
func testInject(t *testing.T) {
	dir := t.TempDir()
	script := fmt.Sprintf(`cd %s; while read x; do for f in a b; do dd if=/dev/zero of=$f bs=1 count=1 conv=fdatasync 2>/dev/null; echo $f $?; done; done`, dir)
	cmd := exec.Command("sh", "-c", script)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); cmd.Wait() })
	lines := bufio.NewScanner(out)
	f := func(when string, wants ...string) {
		t.Helper()
		fmt.Fprintln(in)
		for _, want := range wants {
			if !lines.Scan() || lines.Text() != want {
				t.Errorf("%s: %q, want %q", when, lines.Text(), want)
			}
		}
	}
	f("before", "a 0", "b 0")
	stop := testkit.Inject(t, cmd.Process.Pid, "fdatasync:error=EIO", []string{filepath.Join(dir, "b")})
	f("during", "a 0", "b 1")
	stop()
	f("after", "a 0", "b 0")
}
