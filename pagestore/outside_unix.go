//go:build unix

package pagestore

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// outsideHeap returns n zero words that the garbage collector knows nothing of, and what gives them back; nil if the
// system has none.
func outsideHeap(n int) (words []uint64, free func()) {
	p, err := unix.Mmap(-1, 0, n*8, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, nil
	}
	return unsafe.Slice((*uint64)(unsafe.Pointer(unsafe.SliceData(p))), n), func() { _ = unix.Munmap(p) }
}
