package pagestore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// syncHookFS calls hook before and after every sync of a file or a directory, rename, link and removal: the moments
// between which a crash can make a difference.
type syncHookFS struct {
	vfs.FS
	hook  func()
	clone sync.Mutex // held over hook, and over what must not meet a clone
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

func (f *syncHookFS) Rename(old, name string) error {
	return f.around(func() error { return f.FS.Rename(old, name) })
}

func (f *syncHookFS) Remove(name string) error {
	return f.around(func() error { return f.FS.Remove(name) })
}

func (f *syncHookFS) Link(old, name string) error {
	return f.around(func() error {
		f.clone.Lock()
		defer f.clone.Unlock()
		return f.FS.Link(old, name)
	})
}

func (f *syncHookFS) Unwrap() vfs.FS { return f.FS }

func (f *syncHookFS) around(do func() error) error {
	f.call()
	err := do()
	f.call()
	return err
}

func (f *syncHookFS) call() {
	f.clone.Lock()
	defer f.clone.Unlock()
	f.hook()
}

// Lock keeps clones away, as Link does: MemFS takes the lock that a clone needs twice in one, and in the other in the
// order that is not a clone's, and would hang.
func (f *syncHookFS) Lock(name string) (io.Closer, error) {
	f.clone.Lock()
	defer f.clone.Unlock()
	return f.FS.Lock(name)
}

func (f *syncHookFile) Sync() error     { return f.fs.around(f.File.Sync) }
func (f *syncHookFile) SyncData() error { return f.fs.around(f.File.SyncData) }

// crashWriter writes to a volume of its own, one update at a time, and remembers what the volume holds after each.
type crashWriter struct {
	rng   *rand.Rand
	begun atomic.Int64 // updates begun
	acked atomic.Int64 // updates acknowledged; the state of a crash lies between the two

	mu     sync.Mutex
	id     VolumeID     // 0: not created
	states []crashState // states[i] is after i updates
}

func (w *crashWriter) setID(v VolumeID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.id = v
}

// state returns the volume and what it holds after n updates.
func (w *crashWriter) state(n int64) (VolumeID, crashState) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.id, w.states[n]
}

func (w *crashWriter) addState(s crashState) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.states = append(w.states, s)
}

type crashState struct {
	pages  map[PageNo]modelPage
	frozen map[Gen]map[PageNo]modelPage
}

const crashPages = 300 // of a writer's volume: a bit over two regions

func crashKey(v VolumeID) []byte { return fmt.Appendf(nil, "updates of %d", v) }

// step does one random update, which also counts updates in a row.
func (w *crashWriter) step(t *testing.T, s *Store) {
	id, old := w.state(w.begun.Load())
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
	size := len(p)
	if kind < 2 { // page by page
		size = PageSize
	}
	var contents []*Content
	for at := 0; at < len(p); at += size {
		c, err := s.Prepare(r.Start+PageNo(at/PageSize), p[at:at+size])
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Release()
		contents = append(contents, c)
	}
	if err := s.Update(func(tx *Tx) (err error) {
		switch {
		case kind < 7:
			for i := range contents { // the last first
				err = errors.Join(err, tx.Write(id, contents[len(contents)-1-i]))
			}
		case kind == 7:
			maps.DeleteFunc(next.pages, func(no PageNo, _ modelPage) bool { return no >= r.Start && no < r.End })
			err = tx.Clear(id, r)
		case kind == 8:
			maps.DeleteFunc(next.pages, func(no PageNo, _ modelPage) bool { return no >= r.Start })
			err = tx.Truncate(id, r.Start)
		case len(next.frozen) > 0 && content < 3:
			g := slices.Sorted(maps.Keys(next.frozen))[int(content)%len(next.frozen)]
			delete(next.frozen, g)
			err = tx.Thaw(id, g)
		default:
			var g Gen
			g, err = tx.Freeze(id)
			next.frozen[g] = next.pages
		}
		n := w.begun.Load() + 1
		tx.Set(crashKey(id), binary.BigEndian.AppendUint64(nil, uint64(n)))
		w.addState(next) // nothing can be durable before this function returns
		w.begun.Store(n)
		return err
	}); err != nil {
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
// PAGESTORE_CRASH_ROUNDS sets how often that is done.
func TestCrash(t *testing.T) {
	seed := uint64(envInt(t, "PAGESTORE_SEED", int(rand.Uint32())))
	t.Logf("seed %d: replay with PAGESTORE_SEED=%d (as far as goroutines allow)", seed, seed)
	crashes := 0
	for i := range envInt(t, "PAGESTORE_CRASH_ROUNDS", 1) {
		crashes += testCrash(t, seed+uint64(i))
	}
	t.Logf("%d crashes", crashes)
}

func testCrash(t *testing.T, seed uint64) (checked int) {
	const ops = 15/raceScale + 2 // of each writer
	writers := make([]*crashWriter, 3)
	for i := range writers {
		writers[i] = &crashWriter{rng: rand.New(rand.NewPCG(seed, uint64(i+1)))}
		writers[i].states = []crashState{{map[PageNo]modelPage{}, map[Gen]map[PageNo]modelPage{}}}
	}
	mem := vfs.NewCrashableMem()
	rng := rand.New(rand.NewPCG(seed, 0))
	var mu sync.Mutex
	clones := 0
	crashes := make(chan crash) // not buffered: a clone is some megabytes
	failed := make(chan struct{})
	hook := func() {
		mu.Lock()
		defer mu.Unlock()
		percent := []int{0, 50, 100}[clones%3]
		look := clones%(3*raceScale) < 3 // the writers are what may race, and looking takes longer than all they do
		clones++
		if !look {
			return
		}
		c := crash{what: fmt.Sprintf("clone %d, %d %% of what was not synced", clones, percent)}
		for _, w := range writers {
			c.lo = append(c.lo, w.acked.Load())
		}
		c.fs = mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng})
		for _, w := range writers {
			c.hi = append(c.hi, w.begun.Load())
		}
		select {
		case crashes <- c:
		case <-failed:
		}
	}
	go func() {
		defer close(crashes)
		crashRun(t, &syncHookFS{FS: mem, hook: hook}, writers, ops)
	}()
	defer func() {
		close(failed)
		for range crashes { // until the writers have ended
		}
	}()
	for c := range crashes {
		checkCrash(t, c, writers)
		checked++
	}
	return checked
}

// crashRun is the life of a store that crashes are taken of, from its creation to its end.
func crashRun(t *testing.T, fs vfs.FS, writers []*crashWriter, ops int) {
	s, err := Open(crashOptions(fs))
	if err != nil {
		t.Error(err)
		return
	}
	for _, w := range writers {
		if err := s.Update(func(tx *Tx) error {
			w.setID(tx.CreateVolume())
			return nil
		}); err != nil {
			t.Error(err)
		}
	}
	var wg sync.WaitGroup
	for _, w := range writers {
		wg.Go(func() {
			for range ops {
				w.step(t, s)
				if w.rng.IntN(2) == 0 {
					if _, err := s.foldOnce(t.Context()); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func crashOptions(fs vfs.FS) Options {
	o := testOptions(fs, 3)
	o.MemTableBytes = 64 << 10
	o.Log.SegmentBytes = 256 << 10
	o.Log.StallAfter = time.Hour // a sync waits until clones are checked, which takes long on a busy machine: that is no disk that hangs
	o.limits = limits{direct: 1, erasures: 2}
	o.MasterKey = testMasterKey(1)
	return o
}

func checkCrash(t *testing.T, c crash, writers []*crashWriter) {
	t.Helper()
	o := crashOptions(c.fs)
	o.passive = true // or rows would change between two looks at them
	s, err := Open(o)
	if err != nil {
		t.Fatalf("%s: %v", c.what, err)
	}
	defer func() { s.Close() }()
	checkWriters(t, s, c, writers)
	if err := s.Reap(t.Context()); err != nil {
		t.Fatal(err)
	}
	foldAll(t, s)
	checkWriters(t, s, c, writers)
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
	rebuilt, err := Open(o)
	if err != nil {
		t.Fatalf("%s: rebuilding: %v", c.what, err)
	}
	sameRows(t, allRows(t, rebuilt), rows)
	if err := rebuilt.Close(); err != nil {
		t.Fatalf("%s: %v", c.what, err)
	}
}

// checkWriters checks that each writer's volume is what it was after some update that can have been the last.
func checkWriters(t *testing.T, s *Store, c crash, writers []*crashWriter) {
	t.Helper()
	wantMark(t, s)
	for i, w := range writers {
		id, _ := w.state(0)
		if id == 0 {
			continue // not created yet
		}
		n := int64(0)
		withView(t, s, func(v *View) {
			value, ok, err := v.Get(crashKey(id))
			if err != nil {
				t.Fatal(err)
			}
			if ok {
				n = int64(binary.BigEndian.Uint64(value))
			}
		})
		if n < c.lo[i] || n > c.hi[i] {
			t.Fatalf("%s: volume %d has %d updates, acknowledged were %d, begun %d", c.what, id, n, c.lo[i], c.hi[i])
		}
		if n == 0 {
			continue // its creation may not be durable
		}
		_, state := w.state(n)
		m := &modelTest{t: t, s: s}
		v := &modelVolume{pages: state.pages}
		for g, pages := range state.frozen {
			v.frozen = append(v.frozen, modelFrozen{gen: g, pages: pages})
			m.checkRead(id, v, g, Range{0, crashPages + 200})
		}
		m.checkRead(id, v, GenHead, Range{0, crashPages + 200})
		m.checkRanges(id, v, GenHead, AllPages)
	}
}
