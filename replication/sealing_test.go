package replication

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// slowRenameFS renames as Pebble's memory file system may: for a moment there is neither name. Here it lasts until a
// reader has looked, or could not.
type slowRenameFS struct {
	vfs.FS
	between chan struct{} // sent to when neither name is there
	looked  chan struct{}
	done    bool // the first sealing is enough
}

func (s *slowRenameFS) Rename(from, to string) error {
	if !strings.HasSuffix(to, ".seg") || s.done {
		return s.FS.Rename(from, to)
	}
	s.done = true
	tmp := to + ".between"
	if err := s.FS.Rename(from, tmp); err != nil {
		return err
	}
	s.between <- struct{}{}
	select {
	case <-s.looked:
	case <-time.After(50 * time.Millisecond): // the reader waits for us, as it should
	}
	return s.FS.Rename(tmp, to)
}

// A record of a segment that is being sealed can be read at every moment, whatever its file is called.
func TestReadWhileSealing(t *testing.T) {
	slow := &slowRenameFS{FS: vfs.NewMem(), between: make(chan struct{}), looked: make(chan struct{})}
	l := mustOpen(t, []Member{{FS: slow, Dir: "m"}}, Options{SegmentBytes: 4096})
	r := append1(t, l, "meta", "data")

	var reader sync.WaitGroup
	reader.Go(func() {
		<-slow.between
		p := make([]byte, 4)
		if err := l.ReadAt(p, r.At); err != nil || string(p) != "data" {
			t.Errorf("read %q, %v while the segment was renamed", p, err)
		}
		close(slow.looked)
	})
	for i := range 8 { // the first segment is full and sealed on the way
		append1(t, l, "meta", string(make([]byte, 1000+i)))
	}
	reader.Wait()
}
