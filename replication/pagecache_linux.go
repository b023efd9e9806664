package replication

import (
	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sys/unix"
)

// dropCached has the operating system forget what it keeps in memory of [off, off+n) of a file, so that the next read comes
// from the disk. Bytes that are not on the disk yet stay. What a file system answers does not matter: it is read in any case.
func dropCached(f vfs.File, off, n int64) {
	if fd := f.Fd(); fd != vfs.InvalidFd {
		_ = unix.Fadvise(int(fd), off, n, unix.FADV_DONTNEED)
	}
}
