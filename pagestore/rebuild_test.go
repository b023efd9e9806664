package pagestore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/replication"
)

// rebuildTest is a closed store with some segments, a checkpoint, and records behind it.
type rebuildTest struct {
	t       *testing.T
	fs      *vfs.MemFS
	o       Options
	rows    map[string]string
	at      replication.LSN // of the checkpoint
	last    replication.LSN
	rebuilt []RebuildResult
}

func newRebuildTest(t *testing.T) *rebuildTest {
	r := &rebuildTest{t: t, fs: vfs.NewCrashableMem()}
	r.o = testOptions(r.fs, 2)
	r.o.MemTableBytes = 256 << 10
	r.o.passive = true // or rows would change between two looks at them
	r.o.Log.SegmentBytes = 256 << 10
	r.o.Events = &Events{IndexRebuilt: func(x RebuildResult) { r.rebuilt = append(r.rebuilt, x) }}
	rng := rand.New(rand.NewPCG(1, 2))
	s := openTest(t, r.o)
	v := newVolume(t, s)
	add := func(n int) {
		for i := range n {
			write(t, s, v, PageNo(rng.IntN(1000)), randomBytes(rng, 1<<16))
			update(t, s, func(tx *Tx) error {
				tx.Set([]byte{byte(i)}, randomBytes(rng, 4<<10))
				return nil
			})
		}
	}
	add(30)
	r.at = checkpoint(t, s)
	add(10)
	r.rows, r.last = allRows(t, s), s.log.LastLSN()
	r.last = replication.LSN(s.Stats().Applied)
	mustClose(t, s)
	return r
}

func checkpoint(t *testing.T, s *Store) replication.LSN {
	t.Helper()
	lsn, err := s.checkpoint(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if info, ok := s.log.Checkpoint(); !ok || info.LSN != lsn || lsn == 0 {
		t.Fatalf("checkpoint of record %d: %+v %v", lsn, info, ok)
	}
	return lsn
}

// on returns the test with its own copy of the files.
func (r *rebuildTest) on(t *testing.T) *rebuildTest {
	out := &rebuildTest{t: t, o: r.o, rows: r.rows, at: r.at, last: r.last}
	out.fs = r.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 2))})
	out.o.FS, out.o.Members = out.fs, slices.Clone(r.o.Members)
	for i := range out.o.Members {
		out.o.Members[i].FS = out.fs
	}
	out.o.Events = &Events{IndexRebuilt: func(x RebuildResult) { out.rebuilt = append(out.rebuilt, x) }}
	return out
}

// open opens the store and checks that it holds what it held.
func (r *rebuildTest) open() *Store {
	r.t.Helper()
	s := openTest(r.t, r.o)
	sameRows(r.t, allRows(r.t, s), r.rows)
	r.wantTidy()
	return s
}

func (r *rebuildTest) wantTidy() {
	r.t.Helper()
	names, err := r.fs.List("")
	if err != nil {
		r.t.Fatal(err)
	}
	for _, n := range names {
		if strings.HasPrefix(n, "index.") {
			r.t.Errorf("%s is left", n)
		}
	}
}

func (r *rebuildTest) wantRebuilt(from replication.LSN, why string) {
	r.t.Helper()
	if len(r.rebuilt) != 1 || r.rebuilt[0].Checkpoint != from || r.rebuilt[0].Replayed != uint64(r.last-from) ||
		!strings.Contains(r.rebuilt[0].Reason.Error(), why) {
		r.t.Errorf("rebuilt %+v, want once, from record %d of %d, because %q", r.rebuilt, from, r.last, why)
	}
	r.rebuilt = nil
}

func (r *rebuildTest) remove(path string) {
	r.t.Helper()
	if err := r.fs.RemoveAll(path); err != nil {
		r.t.Fatal(err)
	}
}

// TestIndexLost opens a store without its index: it begins with the checkpoint.
func TestIndexLost(t *testing.T) {
	r := newRebuildTest(t)
	mustClose(t, r.on(t).open())
	lost := r.on(t)
	lost.remove("index")
	s := lost.open()
	lost.wantRebuilt(r.at, "there is none")
	v := newVolume(t, s)
	write(t, s, v, 0, randomBytes(rand.New(rand.NewPCG(9, 2)), 1<<16))
	// The index made anew is another life of the database: its files are not taken for those of the one before.
	at := checkpoint(t, s)
	rows := allRows(t, s)
	mustClose(t, s)
	if len(lost.rebuilt) > 0 {
		t.Error("rebuilt for nothing")
	}
	lost.remove("index")
	lost.rows, lost.last = rows, at
	mustClose(t, lost.open())
	lost.wantRebuilt(at, "there is none")

	// A directory with nothing in it is no better.
	empty := r.on(t)
	empty.remove("index")
	if err := empty.fs.MkdirAll("index", 0o755); err != nil {
		t.Fatal(err)
	}
	mustClose(t, empty.open())
	empty.wantRebuilt(r.at, "there is none")
}

// TestIndexDamaged damages every file of an index in several ways. The store opens, on this start or on the one after the
// damage was met, and holds what it held; what was read before was right or an error.
func TestIndexDamaged(t *testing.T) {
	r := newRebuildTest(t)
	names, err := r.fs.List("index")
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(5, 6))
	damages := map[string]func(p []byte) []byte{
		"cut":     func(p []byte) []byte { return p[:rng.IntN(len(p))] },
		"flipped": func(p []byte) []byte { p[rng.IntN(len(p))] ^= 1 << rng.IntN(8); return p },
		"zeroed":  func(p []byte) []byte { clear(p[rng.IntN(len(p)):]); return p },
		"removed": func(p []byte) []byte { return nil },
	}
	rebuilt, met := 0, 0
	for i := range 3 * len(names) {
		name := names[i/3]
		for _, how := range slices.Sorted(maps.Keys(damages)) {
			r := r.on(t)
			path := "index/" + name
			if name == "LOCK" {
				continue
			}
			p := readFile(t, r.fs, path)
			if len(p) == 0 && how != "removed" {
				continue
			}
			if p = damages[how](bytes.Clone(p)); p == nil {
				r.remove(path)
			} else {
				writeFile(t, r.fs, path, p)
			}
			s, err := Open(r.o)
			if err != nil {
				t.Fatalf("%s %s: %v", path, how, err)
			}
			if got := tryRows(s); got != nil {
				sameRows(t, got, r.rows)
				mustClose(t, s)
				rebuilt += len(r.rebuilt)
				continue
			}
			// The damage was met after the start.
			if s.Close() == nil || s.Failed() == nil {
				t.Fatalf("%s %s: rows cannot be read, and the store is well", path, how)
			}
			if text := s.Failed().Error(); strings.Contains(text, "\n") || len(text) > 300 {
				t.Fatalf("%s %s: an error that fits on no line: %s", path, how, text)
			}
			met++
			r.fs = r.fs.CrashClone(vfs.CrashCloneCfg{}) // as after the end of the process: no lock is left
			r = r.on(t)
			mustClose(t, r.open())
			r.wantRebuilt(r.at, "damaged while it was in use")
		}
	}
	t.Logf("%d files: rebuilt at once %d times, on the next start %d times", len(names), rebuilt, met)
	if rebuilt+met == 0 {
		t.Error("never rebuilt")
	}
}

// tryRows is allRows, but returns nil on an error.
func tryRows(s *Store) map[string]string {
	it, err := s.db.NewIter(nil)
	if err != nil {
		return nil
	}
	rows := map[string]string{}
	for ok := it.First(); ok; ok = it.Next() {
		rows[string(it.Key())] = string(it.Value())
	}
	if it.Close() != nil {
		return nil
	}
	return rows
}

// TestIndexTooOld opens a store whose index somebody has put back to a time that the log no longer reaches.
func TestIndexTooOld(t *testing.T) {
	r := newRebuildTest(t)
	r.remove("index")
	// An index that has seen little.
	log, err := replication.Open(r.o.Members, r.o.Log)
	if err != nil {
		t.Fatal(err)
	}
	db, err := pebble.Open("index", &pebble.Options{FS: r.fs, Logger: indexLogger{}, FormatMajorVersion: pebble.FormatNewest})
	if err != nil {
		t.Fatal(err)
	}
	a := newApplier(db, &summary{}, new(atomic.Pointer[knownRegions]), limits{}, state{store: log.StoreID()})
	a.names.init(0)
	errEnough := errors.New("enough")
	if err := log.Replay(1, func(rec *replication.Record) error {
		if rec.LSN > 2 {
			return errEnough
		}
		return a.record(rec)
	}); err != errEnough {
		t.Fatal(err)
	}
	if err := errors.Join(a.commit(), db.Close()); err != nil {
		t.Fatal(err)
	}
	if err := log.Drop(log.Segments()[0].ID, log.Segments()[1].ID); err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	lost := r.on(t)
	mustClose(t, lost.open())
	lost.wantRebuilt(r.at, "dropped")

	// Without a checkpoint that can be read there is nothing to begin with, and nothing is changed.
	gone := r.on(t)
	for _, m := range []string{"replica-1", "replica-2"} {
		files, err := gone.fs.List(m + "/checkpoint")
		if err != nil || len(files) == 0 {
			t.Fatalf("%v %v", files, err)
		}
		for _, f := range files {
			p := readFile(t, gone.fs, m+"/checkpoint/"+f)
			if len(p) > 0 {
				p[len(p)/2] ^= 1
				writeFile(t, gone.fs, m+"/checkpoint/"+f, p)
			}
		}
	}
	for range 2 {
		if s, err := Open(gone.o); err == nil {
			s.Close()
			t.Fatal("opened")
		} else if !strings.Contains(err.Error(), "cannot be made anew") || !strings.Contains(err.Error(), "checkpoint") || strings.Contains(err.Error(), "\n") {
			t.Fatal(err)
		}
		gone.wantTidy()
		if st, ok, err := peekState(&gone.o, "index"); err != nil || !ok || st.applied != 2 {
			t.Fatalf("the index is at %d: %v %v", st.applied, ok, err)
		}
	}
	gone.remove("index")
	if s, err := Open(gone.o); err == nil {
		s.Close()
		t.Fatal("opened")
	}
}

// TestCheckpointDamaged loses the index and the checkpoint: the log still has every record.
func TestCheckpointDamaged(t *testing.T) {
	r := newRebuildTest(t)
	r.remove("index")
	for _, m := range []string{"replica-1", "replica-2"} {
		files, err := r.fs.List(m + "/checkpoint")
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if p := readFile(t, r.fs, m+"/checkpoint/"+f); len(p) > 0 {
				writeFile(t, r.fs, m+"/checkpoint/"+f, p[:len(p)-1])
			}
		}
	}
	mustClose(t, r.open())
	r.wantRebuilt(0, "there is none")
}

// TestIndexOfOlderFormat opens an index as an earlier version would have left it.
func TestIndexOfOlderFormat(t *testing.T) {
	r := newRebuildTest(t)
	st := []byte(r.rows[string(stateKey)])
	binary.LittleEndian.PutUint16(st, indexFormat-1)
	editIndex(t, r.o, func(db *pebble.DB) error { return db.Set(stateKey, st[:90], pebble.Sync) })
	mustClose(t, r.open())
	r.wantRebuilt(r.at, "has format 1")

	// One of another store is not touched, whatever its format.
	st[2]++
	editIndex(t, r.o, func(db *pebble.DB) error { return db.Set(stateKey, st[:90], pebble.Sync) })
	wantOpenError(t, r.o, nil, "belongs to store")
}

// TestRebuildIndex makes the index of a store anew that has nothing wrong.
func TestRebuildIndex(t *testing.T) {
	r := newRebuildTest(t)
	for _, dropped := range []bool{false, true} {
		want := replication.LSN(0)
		if dropped {
			log, err := replication.Open(r.o.Members, r.o.Log)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(log.Drop(log.Segments()[1].ID), log.Close()); err != nil {
				t.Fatal(err)
			}
			want = r.at
		}
		var done, total replication.LSN
		got, err := RebuildIndex(r.o, func(d, n replication.LSN) {
			if d < done {
				t.Errorf("%d after %d", d, done)
			}
			done, total = d, n
		})
		if err != nil || got.Checkpoint != want || got.Replayed != uint64(r.last-want) || got.Reason != errAsked {
			t.Fatalf("%+v %v", got, err)
		}
		if done != r.last || total != r.last {
			t.Errorf("progress: %d of %d, want %d", done, total, r.last)
		}
		r.wantTidy()
		r.rebuilt = nil
		mustClose(t, r.open())
		if len(r.rebuilt) > 0 {
			t.Errorf("rebuilt again: %+v", r.rebuilt)
		}
	}

	// What is a witness of something else is not replaced, nor is anything made where there is nothing.
	f := func(want string, o Options) {
		t.Helper()
		before := o.FS.(*vfs.MemFS).String()
		if _, err := RebuildIndex(o, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
		if after := o.FS.(*vfs.MemFS).String(); after != before && !strings.Contains(want, "index") {
			t.Errorf("changed:\n%s\nbefore:\n%s", after, before)
		}
	}
	f("no store", testOptions(vfs.NewMem(), 2))
	set := func(change func(st *state)) {
		t.Helper()
		st, err := decodeState([]byte(r.rows[string(stateKey)]))
		if err != nil {
			t.Fatal(err)
		}
		change(&st)
		editIndex(t, r.o, func(db *pebble.DB) error { return db.Set(stateKey, appendState(nil, &st), pebble.Sync) })
	}
	set(func(st *state) { st.store[3]++ })
	f("index: belongs to store", r.o)
	set(func(st *state) { st.applied += 7 })
	f("index: "+ErrCorrupt.Error(), r.o)
	newer := []byte(r.rows[string(stateKey)])
	binary.LittleEndian.PutUint16(newer, indexFormat+1)
	editIndex(t, r.o, func(db *pebble.DB) error { return db.Set(stateKey, newer, pebble.Sync) })
	f("later version", r.o)
	editIndex(t, r.o, func(db *pebble.DB) error { return db.Delete(stateKey, pebble.Sync) })
	f("not an index", r.o)
	set(func(st *state) {})
	mustClose(t, r.open())
}

// TestRebuildCrash crashes around every sync while an index is made anew, of which the old one is damaged: the next start
// completes it, and nothing is left lying about.
func TestRebuildCrash(t *testing.T) {
	r := newRebuildTest(t)
	writeFile(t, r.fs, "index/"+damagedMark, []byte("a test said so"))
	start := r.on(t)
	var mu sync.Mutex
	var clones []*vfs.MemFS
	rng := rand.New(rand.NewPCG(1, 2))
	start.o.FS = &syncHookFS{FS: start.fs, hook: func() {
		mu.Lock()
		defer mu.Unlock()
		clones = append(clones, start.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: len(clones) % 3 * 50, RNG: rng}))
	}}
	mustClose(t, start.open())
	start.wantRebuilt(r.at, "a test said so")
	for _, fs := range clones {
		c := r.on(t)
		c.fs = fs
		c = c.on(t)
		mustClose(t, c.open())
		if len(c.rebuilt) > 1 {
			t.Errorf("rebuilt %d times", len(c.rebuilt))
		}
	}
	t.Logf("%d crashes", len(clones))
}

// TestCheckpointIncremental makes checkpoints of an index that hardly changes: what the members have is not copied again.
func TestCheckpointIncremental(t *testing.T) {
	r := newRebuildTest(t)
	s := r.open()
	checkpoint(t, s)
	list := func() map[string]bool {
		names, err := r.fs.List("replica-2/checkpoint")
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]bool{}
		for _, n := range names {
			out[n] = true
		}
		return out
	}
	before := list()
	v := newVolume(t, s)
	write(t, s, v, 0, randomBytes(rand.New(rand.NewPCG(7, 2)), 1<<16))
	checkpoint(t, s)
	kept := 0
	for n := range list() {
		if before[n] {
			kept++
		}
	}
	if kept == 0 || kept == len(list()) {
		t.Errorf("%d of %d files were kept of %d", kept, len(list()), len(before))
	}
	mustClose(t, s)
}

// TestCheckpointOfDamagedIndex finds a table damaged before it is copied: the members keep the checkpoint they have, and
// the next start makes the index anew.
func TestCheckpointOfDamagedIndex(t *testing.T) {
	r := newRebuildTest(t)
	names, err := r.fs.List("index")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if strings.HasSuffix(n, ".sst") {
			p := readFile(t, r.fs, "index/"+n)
			p[len(p)*3/4] ^= 0x10 // among the rows of the caller, which nobody reads on start
			writeFile(t, r.fs, "index/"+n, p)
		}
	}
	s, err := Open(r.o)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.rebuilt) > 0 {
		t.Fatalf("rebuilt: %+v", r.rebuilt)
	}
	if _, err := s.checkpoint(context.Background(), nil); err == nil || !strings.Contains(err.Error(), "is damaged") {
		t.Errorf("a damaged index became a checkpoint: %v", err)
	}
	if info, _ := s.log.Checkpoint(); info.LSN != r.at {
		t.Errorf("the checkpoint is of record %d, want %d", info.LSN, r.at)
	}
	if err := s.Failed(); err != nil {
		t.Errorf("the store has failed: %v", err)
	}
	s.Close()
	s = r.open()
	r.wantRebuilt(r.at, "damaged")
	mustClose(t, s)
}
