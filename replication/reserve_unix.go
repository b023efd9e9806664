//go:build unix

package replication

import "syscall"

// cutReserved frees the blocks of a file past size, which is its length: truncating to the same length keeps every byte.
func cutReserved(fd uintptr, size int64) error { return syscall.Ftruncate(int(fd), size) }
