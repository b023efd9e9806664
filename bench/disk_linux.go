package bench

import (
	"os"
	"syscall"
)

// syncData returns when what was written to f is on the disk, along with what is needed to find it.
func syncData(f *os.File) error {
	for {
		if err := syscall.Fdatasync(int(f.Fd())); err != syscall.EINTR {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}

// reserve gives n bytes of f from off on their blocks, without making the file longer.
func reserve(f *os.File, off, n int64) {
	const keepSize = 1 // FALLOC_FL_KEEP_SIZE
	_ = syscall.Fallocate(int(f.Fd()), keepSize, off, n)
}

// syncDisks returns when all that was written, by whomever, is on the disks.
func syncDisks() { syscall.Sync() }
