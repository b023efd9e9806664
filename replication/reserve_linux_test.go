package replication

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// A sealed segment takes no more blocks of the disk than its bytes do, whether it was sealed by Close or after a crash.
func TestReservationIsReleased(t *testing.T) {
	dir := t.TempDir()
	members := []Member{{Dir: dir}}
	l := mustOpen(t, members, Options{})
	append1(t, l, "meta", "data")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	sealed, err := filepath.Glob(filepath.Join(dir, "*.seg"))
	if err != nil || len(sealed) != 1 {
		t.Fatalf("sealed segments %q, %v", sealed, err)
	}
	if n := allocated(t, sealed[0]); n >= reserveMin {
		t.Errorf("sealed segment of a few bytes has %d bytes allocated", n)
	}
}

// allocated returns the bytes of disk a file takes.
func allocated(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Blocks * 512
}
