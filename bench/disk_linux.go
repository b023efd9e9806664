package bench

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
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

// syncDisk returns when all that was written to the file system of a directory, by whomever, is on the disk. Whether that
// failed is for those to find out who wrote it.
func syncDisk(dir string) {
	f, err := os.Open(dir)
	if err != nil {
		return
	}
	defer f.Close()
	_ = unix.Syncfs(int(f.Fd()))
}
