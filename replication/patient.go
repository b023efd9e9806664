package replication

import (
	"errors"
	"io"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/internal/clock"
)

// readPatience is how long one read of background work may take. A disk that works needs a tenth of that at its worst; one
// that hangs must not hold up the healing of others.
const readPatience = 30 * time.Second

// errStuck is the error of a file that did not answer for readPatience, then and ever after.
var errStuck = errors.New("a read has not returned for " + readPatience.String())

// patientFile is a file that background work reads: a read that hangs becomes an error. It is not safe for concurrent use.
type patientFile struct {
	file  vfs.File
	clock clock.Clock
	timer clock.Timer
	buf   []byte
	stuck bool
}

func newPatientFile(f vfs.File, c clock.Clock) *patientFile { return &patientFile{file: f, clock: c} }

// ReadAt is that of io.ReaderAt. The bytes go through a buffer of its own, which a read that hangs keeps.
func (f *patientFile) ReadAt(p []byte, off int64) (int, error) {
	if f.stuck {
		return 0, errStuck
	}
	if cap(f.buf) < len(p) {
		f.buf = make([]byte, len(p))
	}
	type result struct {
		n   int
		err error
	}
	buf, done := f.buf[:len(p)], make(chan result, 1)
	go func() {
		n, err := f.file.ReadAt(buf, off)
		done <- result{n, err}
	}()
	if f.timer == nil {
		f.timer = f.clock.NewTimer(readPatience)
	} else {
		f.timer.Reset(readPatience)
	}
	defer f.timer.Stop()
	select {
	case r := <-done:
		return copy(p, buf[:r.n]), r.err
	case <-f.timer.C():
		f.stuck, f.buf = true, nil
		go func() {
			<-done
			_ = f.file.Close() // it was only read
		}()
		return 0, errStuck
	}
}

// Close closes the file, when the read that hangs in it has returned.
func (f *patientFile) Close() error {
	if f.stuck {
		return nil
	}
	return f.file.Close()
}

var _ io.ReaderAt = (*patientFile)(nil)
