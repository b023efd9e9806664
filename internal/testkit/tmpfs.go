package testkit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Tmpfs is a small file system in memory that can be filled up.
type Tmpfs struct {
	dir  string
	stop func() // ends what Fill has begun
}

// NewTmpfs mounts a file system in memory of that many bytes. It needs what NewDisk needs.
func NewTmpfs(t testing.TB, bytes int64) *Tmpfs {
	t.Helper()
	needMounts(t)
	f := &Tmpfs{dir: filepath.Join(t.TempDir(), "tmpfs")}
	if err := os.Mkdir(f.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	Run(t, "mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%d", bytes), "tmpfs", f.dir)
	t.Cleanup(func() { unmountAnyhow(t, f.dir) })
	return f
}

// Dir returns where it is mounted.
func (f *Tmpfs) Dir() string { return f.dir }

func (f *Tmpfs) ballast() string { return filepath.Join(f.dir, "ballast") }

// Fill takes all the space that is left, as another program on the same disk would, and whatever is given back, until Free.
func (f *Tmpfs) Fill(t testing.TB) {
	t.Helper()
	b, err := os.OpenFile(f.ballast(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := fillUp(b); err != nil {
		t.Fatal(err)
	}
	stop, ended := make(chan struct{}), make(chan struct{})
	f.stop = sync.OnceFunc(func() {
		close(stop)
		<-ended
	})
	t.Cleanup(f.stop)
	go func() {
		defer close(ended)
		defer b.Close()
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			if err := fillUp(b); err != nil {
				t.Errorf("keep a file system full: %v", err)
				return
			}
		}
	}()
}

// fillUp writes to a file until there is no space left, down to the last byte.
func fillUp(f *os.File) error {
	for chunk := make([]byte, 1<<20); len(chunk) > 0; {
		_, err := f.Write(chunk)
		switch {
		case errors.Is(err, syscall.ENOSPC):
			chunk = chunk[:len(chunk)/2]
		case err != nil:
			return err
		}
	}
	return nil
}

// Free gives back what Fill took.
func (f *Tmpfs) Free(t testing.TB) {
	t.Helper()
	f.stop()
	if err := os.Remove(f.ballast()); err != nil {
		t.Fatal(err)
	}
}
