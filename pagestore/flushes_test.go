package pagestore

import (
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/replication"
)

// TestReplayBounded crashes a store at many moments, also while it replays: no more of the log is ever replayed than is
// applied between two flushes, twice, and a batch for each. Without forced flushes it would be all of it, since the rows
// are few.
func TestReplayBounded(t *testing.T) {
	const (
		every = 1 << 20
		each  = 100 << 10 // bytes of a record, and of a batch: the writer waits for each
	)
	mem := vfs.NewCrashableMem()
	options := func(fs vfs.FS) Options {
		o := testOptions(fs, 1)
		o.flushBytes = every
		o.Log.SegmentBytes = 3 << 20
		return o
	}
	rng := rand.New(rand.NewPCG(1, 2))
	s := openTest(t, options(mem))
	v := newVolume(t, s)
	longest := int64(0)
	check := func(fs *vfs.MemFS, to replication.LSN) {
		t.Helper()
		o := options(fs)
		o.Events = &Events{Replayed: func(from, to replication.LSN) { longest = max(longest, int64(to-from+1)*each) }}
		crashed := openTest(t, o)
		if got := crashed.Stats().Applied; got < uint64(to) {
			t.Fatalf("%d of %d records are there", got, to)
		}
		mustClose(t, crashed)
	}
	for i := range 60 {
		write(t, s, v, PageNo(i)*200, randomBytes(rng, each/PageSize*PageSize))
		if i%3 == 2 {
			check(mem.CrashClone(vfs.CrashCloneCfg{}), replication.LSN(i+3))
		}
	}
	if longest > 2*(every+each) || longest < every/2 {
		t.Fatalf("%d bytes were replayed, flushes are %d apart", longest, every)
	}
	t.Logf("%d bytes of %d were replayed at most, flushes are %d apart", longest, 60*each, every)
}

// TestReplayFlushes replays a long log into an empty index and crashes just before that is done: the next replay goes on
// near the end.
func TestReplayFlushes(t *testing.T) {
	mem := vfs.NewCrashableMem()
	o := testOptions(mem, 1)
	o.flushBytes = 1 << 20
	rng := rand.New(rand.NewPCG(1, 2))
	s := openTest(t, o)
	v := newVolume(t, s)
	for i := range 60 {
		write(t, s, v, PageNo(i)*200, randomBytes(rng, 200*PageSize))
	}
	mustClose(t, s)
	if err := mem.RemoveAll(o.Dir); err != nil {
		t.Fatal(err)
	}
	var first, last replication.LSN
	var fs *vfs.MemFS
	o.Events = &Events{Replayed: func(from, to replication.LSN) {
		first, last = from, to
		if fs == nil {
			fs = mem.CrashClone(vfs.CrashCloneCfg{})
		}
	}}
	s = openTest(t, o)
	if first != 1 || last != 62 {
		t.Fatalf("replayed [%d,%d]", first, last)
	}
	mustClose(t, s)
	o.FS, o.Members[0].FS = fs, fs
	mustClose(t, openTest(t, o))
	if first < 35 || last != 62 {
		t.Fatalf("replayed [%d,%d] after a crash", first, last)
	}
}
