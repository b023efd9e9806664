package pagestore

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// syncHookFS calls hook before and after every sync of a file or a directory: the moments between which a crash can
// make a difference.
type syncHookFS struct {
	vfs.FS
	hook func()
}

type syncHookFile struct {
	vfs.File
	fs *syncHookFS
}

func (f *syncHookFS) wrap(file vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &syncHookFile{file, f}, nil
}

func (f *syncHookFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return f.wrap(f.FS.Create(name, c))
}

func (f *syncHookFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	return f.wrap(f.FS.OpenReadWrite(name, c, o...))
}

func (f *syncHookFS) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return f.wrap(f.FS.ReuseForWrite(old, name, c))
}

func (f *syncHookFS) OpenDir(name string) (vfs.File, error) { return f.wrap(f.FS.OpenDir(name)) }

func (f *syncHookFS) Unwrap() vfs.FS { return f.FS }

func (f *syncHookFile) around(sync func() error) error {
	f.fs.hook()
	err := sync()
	f.fs.hook()
	return err
}

func (f *syncHookFile) Sync() error     { return f.around(f.File.Sync) }
func (f *syncHookFile) SyncData() error { return f.around(f.File.SyncData) }

// crashWriter writes to a volume of its own, one update at a time, and remembers what the volume holds after each.
type crashWriter struct {
	id     VolumeID
	rng    *rand.Rand
	states []crashState // states[i] is after i updates
	begun  atomic.Int64 // updates begun
	acked  atomic.Int64 // updates acknowledged; the state of a crash lies between the two
}

type crashState struct {
	pages  map[PageNo]modelPage
	frozen map[Gen]map[PageNo]modelPage
}

const crashPages = 300 // of a writer's volume: a bit over two regions

func (w *crashWriter) key() []byte { return fmt.Appendf(nil, "updates of %d", w.id) }

// step does one random update, which also counts updates in a row.
func (w *crashWriter) step(t *testing.T, s *Store) {
	old := w.states[len(w.states)-1]
	next := crashState{maps.Clone(old.pages), maps.Clone(old.frozen)}
	first := PageNo(w.rng.IntN(crashPages))
	r := Range{first, first + 1 + PageNo(w.rng.IntN(200))}
	p := make([]byte, int(r.End-r.Start)*PageSize)
	kind := w.rng.IntN(10)
	content := uint64(w.rng.IntN(6))
	for i := range int(r.End - r.Start) {
		no := r.Start + PageNo(i)
		seed := content * (1 + uint64(no)) // the same for all writers, often
		if w.rng.IntN(8) == 0 {
			seed = w.rng.Uint64()
		}
		fillPage(p[i*PageSize:][:PageSize], seed)
		if kind < 7 {
			next.pages[no] = modelPage{true, seed}
		}
	}
	c, err := s.Prepare(r.Start, p)
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Release()
	w.states = append(w.states, next)
	n := w.begun.Add(1)
	err = s.Update(func(tx *Tx) error {
		tx.Set(w.key(), binary.BigEndian.AppendUint64(nil, uint64(n)))
		switch {
		case kind < 7:
			return tx.Write(w.id, c)
		case kind == 7:
			maps.DeleteFunc(next.pages, func(no PageNo, _ modelPage) bool { return no >= r.Start && no < r.End })
			return tx.Clear(w.id, r)
		case kind == 8:
			maps.DeleteFunc(next.pages, func(no PageNo, _ modelPage) bool { return no >= r.Start })
			return tx.Truncate(w.id, r.Start)
		}
		g, err := tx.Freeze(w.id)
		next.frozen[g] = maps.Clone(next.pages)
		return err
	})
	if err != nil {
		t.Error(err)
	}
	w.acked.Add(1)
}

// crash is the file system as a crash could have left it, with the bounds of what each writer's volume holds.
type crash struct {
	fs     *vfs.MemFS
	lo, hi []int64
	what   string
}

// TestCrash takes clones of the file system, with none, half and all of what was not synced, around every sync of the
// members and the index while three writers are at work, and opens a store on each. What was acknowledged must be
// there, the rest as a whole or not at all, and the index that was brought forward must equal one built from nothing.
// PAGESTORE_CRASH_OPS sets the number of updates of each writer.
func TestCrash(t *testing.T) {
	seed := uint64(envInt(t, "PAGESTORE_SEED", int(rand.Uint32())))
	t.Logf("seed %d: replay with PAGESTORE_SEED=%d (as far as goroutines allow)", seed, seed)
	ops := envInt(t, "PAGESTORE_CRASH_OPS", 15/raceScale+2)
	mem := vfs.NewCrashableMem()
	var mu sync.Mutex
	var crashes []crash
	var writers []*crashWriter
	rng := rand.New(rand.NewPCG(seed, 0))
	clones := 0
	hook := func() {
		mu.Lock()
		defer mu.Unlock()
		c := crash{}
		for _, w := range writers {
			c.lo = append(c.lo, w.acked.Load())
		}
		percent := []int{0, 50, 100}[clones%3]
		clones++
		c.fs = mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng})
		for _, w := range writers {
			c.hi = append(c.hi, w.begun.Load())
		}
		c.what = fmt.Sprintf("clone %d, %d %% of what was not synced", clones, percent)
		crashes = append(crashes, c)
	}
	fs := &syncHookFS{mem, hook}
	o := crashOptions(fs)
	s := openTest(t, o)
	for i := range 3 {
		w := &crashWriter{id: newVolume(t, s), rng: rand.New(rand.NewPCG(seed, uint64(i+1)))}
		w.states = []crashState{{map[PageNo]modelPage{}, map[Gen]map[PageNo]modelPage{}}}
		mu.Lock()
		writers = append(writers, w)
		mu.Unlock()
	}
	var wg sync.WaitGroup
	for _, w := range writers {
		wg.Go(func() {
			for range ops {
				w.step(t, s)
			}
		})
	}
	wg.Wait()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range crashes {
		checkCrash(t, c, writers)
	}
	t.Logf("%d crashes", len(crashes))
}

func crashOptions(fs vfs.FS) Options {
	o := testOptions(fs, 3)
	o.MemTableBytes = 64 << 10
	o.Log.SegmentBytes = 256 << 10
	o.limits = limits{direct: 1, erasures: 2}
	return o
}

func checkCrash(t *testing.T, c crash, writers []*crashWriter) {
	t.Helper()
	s, err := Open(crashOptions(c.fs))
	if err != nil {
		t.Fatalf("%s: %v", c.what, err)
	}
	defer func() { s.Close() }()
	for i, w := range writers {
		if i >= len(c.lo) {
			break // its volume may not exist
		}
		n := int64(0)
		withView(t, s, func(v *View) {
			value, ok, err := v.Get(w.key())
			if err != nil {
				t.Fatal(err)
			}
			if ok {
				n = int64(binary.BigEndian.Uint64(value))
			}
		})
		if n < c.lo[i] || n > c.hi[i] {
			t.Fatalf("%s: volume %d has %d updates, acknowledged were %d, begun %d", c.what, w.id, n, c.lo[i], c.hi[i])
		}
		state := w.states[n]
		m := &modelTest{t: t, s: s}
		v := &modelVolume{pages: state.pages}
		for g, pages := range state.frozen {
			v.frozen = append(v.frozen, modelFrozen{gen: g, pages: pages})
			m.checkRead(w.id, v, g, Range{0, crashPages + 200})
		}
		m.checkRead(w.id, v, GenHead, Range{0, crashPages + 200})
		m.checkRanges(w.id, v, GenHead, AllPages)
	}
	// The store goes on.
	fresh := newVolume(t, s)
	p := make([]byte, 100*PageSize)
	for i := range 100 {
		fillPage(p[i*PageSize:][:PageSize], uint64(i)*uint64(len(c.what)))
	}
	write(t, s, fresh, 5, p)
	wantRead(t, s, fresh, GenHead, 5, p)
	// Its index is the one that the log makes.
	rows := allRows(t, s)
	if err := s.Close(); err != nil {
		t.Fatalf("%s: %v", c.what, err)
	}
	if err := c.fs.RemoveAll("index"); err != nil {
		t.Fatal(err)
	}
	rebuilt, err := Open(crashOptions(c.fs))
	if err != nil {
		t.Fatalf("%s: rebuilding: %v", c.what, err)
	}
	sameRows(t, allRows(t, rebuilt), rows)
	if err := rebuilt.Close(); err != nil {
		t.Fatalf("%s: %v", c.what, err)
	}
}
