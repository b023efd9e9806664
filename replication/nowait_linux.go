package replication

import "golang.org/x/sys/unix"

// readNoWait fills p from a file at off if all of that is in the page cache. supported is false if the file system cannot
// tell.
func readNoWait(fd uintptr, p []byte, off int64) (ok, supported bool) {
	if len(p) == 0 {
		return true, true
	}
	n, err := unix.Preadv2(int(fd), [][]byte{p}, off, unix.RWF_NOWAIT)
	if err == unix.EOPNOTSUPP || err == unix.ENOSYS || err == unix.EINVAL {
		return false, false
	}
	return err == nil && n == len(p), true
}

// readOnlyAccess keeps reads of a file from changing its time of access, which may wait for the disk even where the bytes
// are in memory. It is a matter of speed, and not every file system and owner allows it, so an error means nothing.
func readOnlyAccess(fd uintptr) {
	if flags, err := unix.FcntlInt(fd, unix.F_GETFL, 0); err == nil {
		_, _ = unix.FcntlInt(fd, unix.F_SETFL, flags|unix.O_NOATIME)
	}
}
