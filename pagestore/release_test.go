package pagestore

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// The index fails while the log, which is well, is still writing the bytes of an update. The caller must not be told
// before the log is done with them: it is going to use the memory for something else, and the members would write that
// under the checksums of what was there before.
func TestFailedUpdateKeepsItsBytes(t *testing.T) {
	mem := vfs.NewCrashableMem()
	var closed atomic.Bool
	gate, reached := make(chan struct{}), make(chan struct{}, 3)
	o := testOptions(errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if closed.Load() && op.Kind == errorfs.OpFileWrite && strings.HasPrefix(op.Path, "replica") {
			select {
			case reached <- struct{}{}:
			default:
			}
			<-gate
		}
		return nil
	})), 3)
	o.FS = mem
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	v := newVolume(t, s)
	want := randomBytes(rand.New(rand.NewPCG(1, 2)), 1<<20)

	closed.Store(true)
	answered := make(chan error, 1)
	go func() {
		body := bytes.Clone(want)
		err := tryWrite(s, v, 0, body)
		clear(body) // the memory goes back to a pool, and the next request's body comes into it
		answered <- err
	}()
	for range 3 {
		<-reached // all members are about to write
	}
	s.breakIndex(errInjected)
	select {
	case err := <-answered:
		t.Errorf("the update was answered (%v) while members were writing its bytes", err)
	case <-time.After(50 * time.Millisecond): // time for the wrong answer to come; the bytes below decide
	}
	close(gate)
	if !t.Failed() {
		if err := <-answered; !errors.Is(err, ErrReadOnly) {
			t.Fatalf("update on a broken index: %v", err)
		}
	}
	if err := s.Close(); !errors.Is(err, errInjected) {
		t.Fatalf("closing a broken index: %v", err)
	}

	s = openTest(t, testOptions(mem.CrashClone(vfs.CrashCloneCfg{}), 3)) // a broken index is left open
	got := make([]byte, len(want))
	withView(t, s, func(view *View) {
		if err := view.Read(v, GenHead, 0, got); err != nil {
			t.Fatal(err)
		}
	})
	if !bytes.Equal(got, want) {
		t.Fatal("the log wrote other bytes than it was given")
	}
}
