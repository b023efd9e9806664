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
