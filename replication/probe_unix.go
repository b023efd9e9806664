//go:build unix

package replication

import (
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// sameFile reports whether two files are not surely different ones: memory file systems do not tell.
func sameFile(a, b vfs.FileInfo) bool {
	x, ok1 := a.Sys().(*syscall.Stat_t)
	y, ok2 := b.Sys().(*syscall.Stat_t)
	return !ok1 || !ok2 || x.Dev == y.Dev && x.Ino == y.Ino
}
