package replication

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// uncache has the page cache forget a file, which must have been synced.
func uncache(t testing.TB, f *os.File) {
	t.Helper()
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		t.Fatal(err)
	}
}
