//go:build unix

package server

import (
	"io"
	"os"
	"syscall"
)

// canWriteRaw says that writeRaw works here.
const canWriteRaw = true

// writeRaw writes all of p to a socket, and calls took for each part that the kernel has taken: net's Write tells only of
// the whole. The deadline for writing holds.
func writeRaw(socket syscall.RawConn, p []byte, took func(n int)) error {
	var failed error
	err := socket.Write(func(fd uintptr) (done bool) {
		for len(p) > 0 {
			n, err := syscall.Write(int(fd), p)
			switch {
			case n > 0:
				took(n)
				p = p[n:]
			case err == syscall.EINTR:
			case err == syscall.EAGAIN:
				return false // until there is room
			case err == nil:
				failed = io.ErrUnexpectedEOF
				return true
			default:
				failed = os.NewSyscallError("write", err)
				return true
			}
		}
		return true
	})
	if err != nil {
		return err
	}
	return failed
}
