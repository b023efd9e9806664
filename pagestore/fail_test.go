package pagestore

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"pagevault/pagestore/pagemap"
)

var errInjected = errors.New("injected")

// faults returns a file system on which writes and syncs below dir fail while the switch is on.
func faults(fs vfs.FS, dir string, on *atomic.Bool) vfs.FS {
	return errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if on.Load() && op.Kind.ReadOrWrite() == errorfs.OpIsWrite && strings.HasPrefix(op.Path, dir) {
			return errInjected
		}
		return nil
	}))
}

// TestLogFails breaks one member of three, which nobody sees, and then the others. Updates are refused from then on, reads go on and
// show what was acknowledged, and the store opened again holds it.
func TestLogFails(t *testing.T) {
	mem := vfs.NewMem()
	var one, on atomic.Bool
	o := testOptions(faults(faults(mem, "replica-2", &one), "replica-3", &on), 3)
	var failed []error
	o.Events = &Events{Failed: func(err error) { failed = append(failed, err) }}
	s := openTest(t, o)
	v := newVolume(t, s)
	p := randomBytes(rand.New(rand.NewPCG(1, 2)), 1<<20)
	write(t, s, v, 0, p[:1<<19])
	one.Store(true)
	write(t, s, v, 1<<10, p[1<<19:])

	c, err := s.Prepare(0, p[1<<19:])
	if err != nil {
		t.Fatal(err)
	}
	on.Store(true)
	for range 3 {
		err := s.Update(func(tx *Tx) error {
			tx.Set([]byte("k"), []byte("perhaps"))
			return tx.Write(v, c)
		})
		if !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrReadOnly) || !strings.Contains(err.Error(), errInjected.Error()) {
			t.Fatalf("update: %v", err)
		}
	}
	c.Release()
	if err := s.Failed(); err != nil || len(failed) != 0 {
		t.Fatalf("failed: %v, told %v", err, failed)
	}
	wantRead(t, s, v, GenHead, 0, p)
	withView(t, s, func(v *View) {
		if _, ok, err := v.Get([]byte("k")); ok || err != nil {
			t.Fatalf("row of a refused update: %v %v", ok, err)
		}
	})
	s.Close() // says what cannot be written
	if _, err := s.View(); err != ErrClosed {
		t.Fatalf("view after close: %v", err)
	}
	if err := s.Update(func(tx *Tx) error { return nil }); !errors.Is(err, ErrClosed) {
		t.Fatalf("update after close: %v", err)
	}

	one.Store(false)
	on.Store(false)
	s = openTest(t, o)
	got := make([]byte, len(p))
	withView(t, s, func(view *View) {
		if err := view.Read(v, GenHead, 0, got); err != nil {
			t.Fatal(err)
		}
	})
	torn := append(append([]byte(nil), p[1<<19:]...), p[1<<19:]...)
	if string(got) != string(p) && string(got) != string(torn) {
		t.Fatal("neither what was acknowledged nor what was tried")
	}
	write(t, s, v, 0, p)
	wantRead(t, s, v, GenHead, 0, p)
}

// TestIndexFails breaks the disk under the index, for all files or only for tables. Nothing acknowledged depends on it:
// the store opened again on the same disks, as after a restart, holds it.
func TestIndexFails(t *testing.T) {
	t.Run("all", func(t *testing.T) { testIndexFails(t, "") })
	t.Run("tables", func(t *testing.T) { testIndexFails(t, ".sst") })
}

func testIndexFails(t *testing.T, suffix string) {
	mem := vfs.NewCrashableMem()
	var on atomic.Bool
	o := testOptions(mem, 2)
	o.FS = errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if on.Load() && op.Kind.ReadOrWrite() == errorfs.OpIsWrite && strings.HasPrefix(op.Path, "index") && strings.HasSuffix(op.Path, suffix) {
			return errInjected
		}
		return nil
	}))
	o.MemTableBytes = 256 << 10
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	v := newVolume(t, s)
	rng := rand.New(rand.NewPCG(1, 2))
	p := randomBytes(rng, 1<<20)
	write(t, s, v, 0, p)
	on.Store(true)
	acknowledged := 0
	for ; ; acknowledged++ {
		if acknowledged > 10_000 {
			t.Fatal("the store does not notice that its index cannot be written")
		}
		err := s.Update(func(tx *Tx) error {
			for i := range 100 {
				tx.Set(fmt.Appendf(nil, "%d %d", acknowledged, i), randomBytes(rng, 100))
			}
			return nil
		})
		if err != nil {
			if !errors.Is(err, ErrReadOnly) {
				t.Fatal(err)
			}
			break
		}
	}
	t.Logf("%d updates after the index could not be written: %v", acknowledged, s.Failed())
	wantRead(t, s, v, GenHead, 0, p)
	if err := s.Close(); !errors.Is(err, errInjected) {
		t.Fatalf("close: %v", err)
	}

	for _, percent := range []int{0, 100} {
		fs := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng})
		s = openTest(t, testOptions(fs, 2))
		wantRead(t, s, v, GenHead, 0, p)
		withView(t, s, func(v *View) {
			for i := range acknowledged {
				if _, ok, err := v.Get(fmt.Appendf(nil, "%d %d", i, 99)); !ok || err != nil {
					t.Fatalf("update %d of %d: %v %v", i, acknowledged, ok, err)
				}
			}
		})
	}
}

// gateFS lets no sync of a segment through while it is shut.
type gateFS struct {
	vfs.FS
	gate *gate
}

// gate holds a channel that is closed to open it; nil or closed: open.
type gate struct{ atomic.Pointer[chan struct{}] }

func (g *gate) shut() (open func()) {
	c := make(chan struct{})
	g.Store(&c)
	return func() { close(c) }
}

type gateFile struct {
	vfs.File
	fs *gateFS
}

func (f *gateFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.Create(name, c)
	if err != nil || path.Ext(name) != ".open" {
		return file, err
	}
	return &gateFile{file, f}, nil
}

func (f *gateFile) wait() {
	if c := f.fs.gate.Load(); c != nil {
		<-*c
	}
}

func (f *gateFile) Sync() error     { f.wait(); return f.File.Sync() }
func (f *gateFile) SyncData() error { f.wait(); return f.File.SyncData() }

// TestAnswersWait shows that nothing is answered from a state that is not durable: not a read, not an error, not a
// transaction that finds nothing to do. The next transaction sees it all the same.
func TestAnswersWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := new(gate)
		s := openTest(t, testOptions(&gateFS{vfs.NewMem(), g}, 2))
		v := newVolume(t, s)
		open := g.shut()
		var mu sync.Mutex
		answered := make(map[string]bool)
		ask := func(name string, fn func(tx *Tx) error) {
			go func() {
				s.Update(fn)
				mu.Lock()
				defer mu.Unlock()
				answered[name] = true
			}()
			synctest.Wait()
		}
		errSeen := errors.New("seen")
		seen := func(tx *Tx) error {
			if _, ok, _ := tx.Get([]byte("k")); ok {
				return errSeen
			}
			return nil
		}
		ask("set", func(tx *Tx) error { tx.Set([]byte("k"), []byte("v")); return nil })
		ask("error after seeing it", seen)
		ask("nothing after seeing it", func(tx *Tx) error { _, _, err := tx.Get([]byte("k")); return err })
		ask("freeze", func(tx *Tx) error { _, err := tx.Freeze(v); return err })
		ask("error after seeing a volume in flight", func(tx *Tx) error { tx.Truncate(v, 0); return errSeen })
		ask("scan", func(tx *Tx) error { return tx.Scan(nil, nil, func(k, v []byte) bool { return true }) })
		for name := range answered {
			t.Errorf("%s: answered before it was durable", name)
		}
		withView(t, s, func(v *View) {
			if _, ok, _ := v.Get([]byte("k")); ok {
				t.Error("a view shows what is not durable")
			}
		})
		open()
		synctest.Wait()
		if len(answered) != 6 {
			t.Errorf("answered: %v", answered)
		}
		clear(answered)
		open = g.shut()
		ask("nothing seen in flight", seen)
		if !answered["nothing seen in flight"] {
			t.Error("an update waits for nothing")
		}
		open()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestInFlightContent lets two updates bring the same content while none of it is durable: the second refers to the
// first's, and both are there after it.
func TestInFlightContent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := new(gate)
		s := openTest(t, testOptions(&gateFS{vfs.NewMem(), g}, 2))
		a, b := newVolume(t, s), newVolume(t, s)
		p := randomBytes(rand.New(rand.NewPCG(1, 2)), 4*pagemap.RegionBytes)
		before := s.Stats().Counters
		open := g.shut()
		for i, v := range []VolumeID{a, b, a} {
			go func() {
				if err := tryWrite(s, v, PageNo(i)*pagemap.RegionPages*8, p); err != nil {
					t.Error(err)
				}
			}()
			synctest.Wait()
		}
		wantCounters(t, s, before, Counters{})
		open()
		synctest.Wait()
		n := uint64(len(p))
		wantCounters(t, s, before, Counters{LogicalBytes: 3 * n, StoredBytes: n, DuplicateBytes: 2 * n, Frames: 4, Chunks: 64, Records: 3})
		for i, v := range []VolumeID{a, b, a} {
			wantRead(t, s, v, GenHead, PageNo(i)*pagemap.RegionPages*8, p)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestRowsInFlight lets a record land while a later one that sets the same row, and freezes the same volume, is in
// flight: the later one's is what the next update sees.
func TestRowsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := new(gate)
		s := openTest(t, testOptions(&gateFS{vfs.NewMem(), g}, 1))
		v := newVolume(t, s)
		var gens []Gen
		set := func(value string) {
			go func() {
				if err := s.Update(func(tx *Tx) error {
					tx.Set([]byte("k"), []byte(value))
					gen, err := tx.Freeze(v)
					gens = append(gens, gen)
					return err
				}); err != nil {
					t.Error(err)
				}
			}()
			synctest.Wait()
		}
		get := func(want string) {
			t.Helper()
			if err := s.Update(func(tx *Tx) error {
				got, ok, err := tx.Get([]byte("k"))
				if string(got) != want || !ok {
					t.Errorf("row: %q %v, want %q", got, ok, want)
				}
				tx.Set([]byte("other"), nil) // or it would wait, which is another test
				return err
			}); err != nil {
				t.Error(err)
			}
		}
		open := g.shut()
		set("1") // its batch is being synced
		set("2") // waits for the next batch
		open()
		open = g.shut() // the first passes, the second does not
		synctest.Wait()
		withView(t, s, func(view *View) {
			if got, _, _ := view.Get([]byte("k")); string(got) != "1" {
				t.Fatalf("a view shows %q, want the first", got)
			}
		})
		go get("2")
		synctest.Wait()
		set("3")
		go get("3")
		synctest.Wait()
		open()
		synctest.Wait()
		get("3")
		if len(gens) != 3 || gens[0] != 1 || gens[1] != 2 || gens[2] != 3 {
			t.Errorf("frozen generations %v", gens)
		}
		if n := len(s.flight.mu.rows); n != 0 {
			t.Errorf("%d rows left in flight", n)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestGenerationsInFlight freezes and thaws generations that are not in the index yet. What is known of them comes from
// the flight, and a refusal because of it waits until it is durable.
func TestGenerationsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := new(gate)
		o := testOptions(&gateFS{vfs.NewMem(), g}, 1)
		o.passive = true
		s := openTest(t, o)
		v := newVolume(t, s)
		answered := make(chan error, 10)
		do := func(fn func(tx *Tx) error) {
			go func() { answered <- s.Update(fn) }()
			synctest.Wait()
			if len(answered) > 0 {
				t.Fatalf("answered before it was durable: %v", <-answered)
			}
		}
		wantAnswers := func(n int, wrong error) {
			t.Helper()
			for range n {
				if err := <-answered; err != nil && !errors.Is(err, wrong) {
					t.Fatal(err)
				} else if err != nil {
					wrong = nil
				}
			}
			if wrong != nil {
				t.Errorf("no update was refused with %v", wrong)
			}
		}
		thaw := func(gen Gen) func(tx *Tx) error { return func(tx *Tx) error { return tx.Thaw(v, gen) } }
		freeze := func(tx *Tx) error { _, err := tx.Freeze(v); return err }

		open := g.shut()
		do(freeze)
		do(thaw(2)) // not reached
		open()
		wantAnswers(2, ErrNoGeneration)

		open = g.shut()
		do(freeze)  // 2
		do(thaw(2)) // while its freeze is in flight
		do(thaw(1)) // from the index
		do(thaw(1)) // thawed in flight
		do(freeze)  // 3
		open()
		wantAnswers(5, ErrNoGeneration)
		withView(t, s, func(view *View) {
			for gen, want := range map[Gen]error{1: ErrNoGeneration, 2: ErrNoGeneration, 3: nil, 4: nil} {
				if err := view.Read(v, gen, 0, make([]byte, PageSize)); !errors.Is(err, want) {
					t.Errorf("generation %d: %v", gen, err)
				}
			}
		})
		if n := len(s.flight.mu.gens); n != 0 {
			t.Errorf("%d generations left in flight", n)
		}
		if err := s.Update(func(tx *Tx) error {
			if err := tx.Drop(v); err != nil {
				return err
			}
			return tx.Thaw(v, 3)
		}); !errors.Is(err, ErrNoVolume) {
			t.Errorf("thaw of a volume dropped before: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestCloseWhenFull: a store whose index cannot be flushed is closed all the same, and says why.
func TestCloseWhenFull(t *testing.T) {
	mem := vfs.NewMem()
	o := testOptions(mem, 3)
	var full atomic.Bool
	o.FS = faults(mem, "index", &full)
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	var v VolumeID
	if err := s.Update(func(tx *Tx) error { v = tx.CreateVolume(); return nil }); err != nil {
		t.Fatal(err)
	}
	write(t, s, v, 0, randomBytes(rand.New(rand.NewPCG(1, 1)), 64*PageSize))
	full.Store(true)
	if err := s.Close(); !errors.Is(err, errInjected) {
		t.Errorf("closed: %v", err)
	}
}
