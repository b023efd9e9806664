package bench

import (
	"errors"
	"os"
	"syscall"
)

const seekData = 3 // SEEK_DATA of lseek(2)

// nextData returns the first place at or after off where the file may hold something other than zeros, as far as the file
// system knows; size if there is none.
func nextData(f *os.File, off, size int64) (int64, error) {
	at, err := f.Seek(off, seekData)
	switch {
	case errors.Is(err, syscall.ENXIO):
		return size, nil
	case errors.Is(err, syscall.EINVAL): // the file system does not know
		return off, nil
	}
	return at, err
}
