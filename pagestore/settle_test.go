package pagestore

import (
	"encoding/binary"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/pagestore/pagemap"
)

// TestRewriteSettles stores content that is all in use and of which the log needs less than of its names: each chunk has a
// stamp and little else. Once it has been rewritten it stays where it is: to do so
// again would gain nothing, and never end.
func TestRewriteSettles(t *testing.T) {
	o := gcOptions(vfs.NewMem(), 1)
	o.Log.SegmentBytes = 64 << 10
	s := openTest(t, o)
	v := newVolume(t, s)
	p := make([]byte, 4<<20)
	for i := 0; i < len(p); i += pagemap.ChunkBytes {
		binary.LittleEndian.PutUint64(p[i:], uint64(i)*0x9e3779b97f4a7c15+1)
	}
	write(t, s, v, 0, p)
	maintain(t, s, MaintainOptions{})
	if err := s.log.Rotate(); err != nil {
		t.Fatal(err)
	}
	segments, err := s.sealedSegments()
	if err != nil || len(segments) == 0 {
		t.Fatalf("%d segments, %v", len(segments), err)
	}
	before := s.log.Stats().Last
	if more, err := s.maintainInBackground(); err != nil || more {
		t.Fatalf("%v, more to do: %v", err, more)
	}
	if last := s.log.Stats().Last; last != before {
		t.Errorf("%d more records; segments %+v", last-before, segments)
	}
}
