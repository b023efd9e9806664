package replication

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
)

// TestReadWhileFilesChange reads segments in every way while their copies are written anew, taken away from members and
// given back, and at last dropped. Every read has the right bytes or says that the segment was dropped, and nothing is taken
// for a failure of a member.
func TestReadWhileFilesChange(t *testing.T) {
	r := newReadTest(t, 3, 8)
	var dropped atomic.Bool
	stop := make(chan struct{})
	var readers, changers sync.WaitGroup
	for g := range 4 {
		readers.Go(func() {
			dice := rand.New(rand.NewPCG(uint64(g), 7))
			for {
				select {
				case <-stop:
					return
				default:
				}
				id := SegmentID(1 + dice.IntN(8))
				var err error
				switch dice.IntN(4) {
				case 0:
					err = r.readChecked(id)
				case 1:
					err = r.l.SegmentRecords(id, func(*Record) error { return nil })
				default:
					p := make([]byte, 300)
					if err = r.l.ReadAt(p, r.records[id-1].At); err == nil && !bytes.Equal(p, r.records[id-1].Data[0]) {
						t.Errorf("segment %d: wrong bytes", id)
					}
				}
				if err != nil && !(dropped.Load() && errors.Is(err, ErrDropped)) {
					t.Errorf("segment %d: %v", id, err)
					return
				}
			}
		})
	}
	for i := range 3 {
		changers.Go(func() {
			m := r.l.now().members[i]
			for n := range 30 {
				id := SegmentID(1 + (n*3+i)%8)
				if id%3 != SegmentID(i) { // so that each always has a copy somewhere
					r.l.index.setHolder(id, i, false)
					r.l.files.forgetCopy(m, id)
				}
				if err := r.l.rewriteCopy(context.Background(), id, m, nil); err != nil {
					t.Errorf("segment %d: %v", id, err)
				}
			}
		})
	}
	changers.Wait()
	mustSave(t, r.l, 8, nil)
	dropped.Store(true)
	if err := r.l.Drop(2, 3, 5, 8); err != nil {
		t.Error(err)
	}
	close(stop)
	readers.Wait()
	if got := r.told(); got != nil {
		t.Errorf("told %q", got)
	}
	r.close()
	if n := r.open.Load(); n != 0 {
		t.Errorf("%d files are open", n)
	}
}
