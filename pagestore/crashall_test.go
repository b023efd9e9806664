package pagestore

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// stormPages is how many pages of a volume a storm uses: a bit over a region and a half, so that the file system stays
// small and a crash is checked in milliseconds.
const stormPages = 200

// picture is what a volume or one of its frozen generations holds. It is not changed once it is part of a state.
type stormPicture struct {
	data  [stormPages * PageSize]byte
	valid [stormPages]bool
}

// stormVolume is a volume with its frozen generations.
type stormVolume struct {
	head   *stormPicture
	frozen map[Gen]*stormPicture

	copying *stormPicture // of which regions may be there already
}

// stormState is all that a store holds after some number of updates.
type stormState map[VolumeID]stormVolume

// storm does random updates on a store, one after the other, with everything that goes on in the background between
// them or beside them, and knows what the store holds after each.
type storm struct {
	t     *testing.T
	rng   *rand.Rand
	s     *Store
	quiet bool // nothing is done in the background between updates

	begun, acked atomic.Int64 // updates; a crash leaves a state between the two
	mu           sync.Mutex
	states       []stormState // states[n] is after n updates
	counts       map[string]int
}

// count counts something that was done.
func (w *storm) count(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts[what]++
}

var stormKey = []byte("updates")

// after returns what the store holds after n updates.
func (w *storm) after(n int64) stormState {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.states[n]
}

// update makes fn's changes one update, after which the store holds next.
func (w *storm) update(next stormState, fn func(tx *Tx) error) {
	w.t.Helper()
	if err := w.s.Update(func(tx *Tx) error {
		if err := fn(tx); err != nil {
			return err
		}
		n := w.begun.Load() + 1
		tx.Set(stormKey, binary.BigEndian.AppendUint64(nil, uint64(n)))
		w.mu.Lock()
		w.states = append(w.states, next)
		w.mu.Unlock()
		w.begun.Store(n) // nothing can be durable before this function returns
		return nil
	}); err != nil {
		w.t.Error(err)
		return
	}
	w.acked.Add(1)
}

// step does one random thing.
func (w *storm) step() {
	now := w.after(w.acked.Load())
	next := maps.Clone(now)
	ids := slices.Sorted(maps.Keys(now))
	if len(ids) == 0 || len(ids) < 3 && w.rng.IntN(12) == 0 {
		w.count("create")
		w.update(next, func(tx *Tx) error {
			next[tx.CreateVolume()] = stormVolume{head: &stormPicture{}}
			return nil
		})
		return
	}
	id := ids[w.rng.IntN(len(ids))]
	v := now[id]
	switch n := w.rng.IntN(100); {
	case n < 50:
		w.write(next, id, v)
	case n < 56:
		w.clear(next, id, v)
	case n < 66:
		w.count("freeze")
		w.update(next, func(tx *Tx) error {
			g, err := tx.Freeze(id)
			frozen := maps.Clone(v.frozen)
			if frozen == nil {
				frozen = make(map[Gen]*stormPicture)
			}
			frozen[g] = v.head
			next[id] = stormVolume{head: v.head, frozen: frozen}
			return err
		})
	case n < 76 && len(v.frozen) > 0:
		w.count("thaw")
		gens := slices.Sorted(maps.Keys(v.frozen))
		g := gens[w.rng.IntN(len(gens))]
		frozen := maps.Clone(v.frozen)
		delete(frozen, g)
		next[id] = stormVolume{head: v.head, frozen: frozen}
		w.update(next, func(tx *Tx) error { return tx.Thaw(id, g) })
	case n < 79 && len(ids) < 5:
		w.copy(next, id, v)
	case n < 82:
		w.count("drop")
		delete(next, id)
		w.update(next, func(tx *Tx) error { return tx.Drop(id) })
	default:
		if !w.quiet {
			w.background(w.rng)
		}
	}
}

// write writes pages whose content repeats often, within and between volumes, or a few small pieces.
func (w *storm) write(next stormState, id VolumeID, v stormVolume) {
	w.count("write")
	head := *v.head
	from := w.rng.IntN(stormPages)
	to := min(stormPages, from+1+w.rng.IntN(stormPages))
	switch w.rng.IntN(3) {
	case 0:
		to = min(stormPages, from+1+w.rng.IntN(4))
	case 1:
		from, to = 0, stormPages
	}
	kind := w.rng.IntN(4)
	for no := from; no < to; no++ {
		head.valid[no] = true
		p := head.data[no*PageSize:][:PageSize]
		switch seed := uint64(kind*1000 + no%64); {
		case w.rng.IntN(10) == 0:
			fillPage(p, w.rng.Uint64()|1)
		case kind == 3: // compresses
			for i := range p {
				p[i] = byte(seed) + byte(i/100)
			}
		default:
			fillPage(p, seed)
		}
	}
	next[id] = stormVolume{head: &head, frozen: v.frozen}
	c, err := w.s.Prepare(PageNo(from), head.data[from*PageSize:to*PageSize])
	if err != nil {
		w.t.Error(err)
		return
	}
	defer c.Release()
	w.update(next, func(tx *Tx) error { return tx.Write(id, c) })
}

// clear makes pages invalid: a few, or all from some page on.
func (w *storm) clear(next stormState, id VolumeID, v stormVolume) {
	w.count("clear")
	head := *v.head
	from := w.rng.IntN(stormPages)
	to := min(stormPages, from+1+w.rng.IntN(stormPages))
	truncate := w.rng.IntN(2) == 0
	if truncate {
		to = stormPages
	}
	for no := from; no < to; no++ {
		head.valid[no] = false
		clear(head.data[no*PageSize:][:PageSize])
	}
	next[id] = stormVolume{head: &head, frozen: v.frozen}
	w.update(next, func(tx *Tx) error {
		if truncate {
			return tx.Truncate(id, PageNo(from))
		}
		return tx.Clear(id, Range{PageNo(from), PageNo(to)})
	})
}

// background does one of the things that otherwise happen beside the updates.
func (w *storm) background(rng *rand.Rand) {
	ctx := context.Background()
	var err error
	switch n := rng.IntN(12); {
	case n < 3:
		w.count("reap")
		_, err = w.s.reapOnce(ctx)
	case n < 5:
		w.count("fold")
		_, err = w.s.foldOnce(ctx)
	case n < 6:
		w.count("flush")
		err = w.s.db.Flush()
	case n < 8:
		w.count("checkpoint")
		_, err = w.s.checkpoint(ctx, nil)
	default:
		w.count("maintain")
		err = w.s.Maintain(ctx, MaintainOptions{}, nil)
	}
	if err != nil {
		w.t.Error(err)
	}
}

// wantStorm compares all that the store shows with a state.
func wantStorm(t *testing.T, s *Store, what string, want stormState) {
	t.Helper()
	withView(t, s, func(v *View) {
		buf := make([]byte, stormPages*PageSize)
		check := func(id VolumeID, g Gen, p *stormPicture) {
			t.Helper()
			if err := v.Read(id, g, 0, buf); err != nil {
				t.Fatalf("%s: volume %d generation %d: %v", what, id, g, err)
			}
			if !bytes.Equal(buf, p.data[:]) {
				t.Fatalf("%s: volume %d generation %d: content differs", what, id, g)
			}
			var valid [stormPages]bool
			if err := v.Ranges(id, g, AllPages, func(r Range) bool {
				for no := r.Start; no < r.End; no++ {
					valid[no] = true
				}
				return true
			}); err != nil {
				t.Fatalf("%s: volume %d generation %d: %v", what, id, g, err)
			}
			if valid != p.valid {
				t.Fatalf("%s: volume %d generation %d: other pages are valid", what, id, g)
			}
		}
		for id, vol := range want {
			if vol.copying != nil {
				got := &stormPicture{}
				if err := v.Ranges(id, GenHead, AllPages, func(r Range) bool {
					for no := r.Start; no < r.End; no++ {
						got.valid[no] = true
					}
					return true
				}); err != nil {
					t.Fatalf("%s: volume %d: %v", what, id, err)
				}
				vol.head = vol.copying.soFar(got)
			}
			check(id, GenHead, vol.head)
			for g, p := range vol.frozen {
				check(id, g, p)
			}
		}
	})
}

// wantExact recomputes every count and every total from the page maps.
func wantExact(t *testing.T, s *Store, what string) {
	t.Helper()
	withView(t, s, func(v *View) {
		if _, err := mark(context.Background(), v.snap, func(d Difference) { t.Errorf("%s: %v", what, d) }); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	})
	if at := s.state.Load().mismatch; at != 0 {
		t.Fatalf("%s: the counts did not match at record %d", what, at)
	}
	if t.Failed() {
		t.FailNow()
	}
}

// stormCrash is the file system as a crash could have left it.
type stormCrash struct {
	no     int64
	fs     *vfs.MemFS
	o      Options
	w      *storm
	lo, hi int64
	what   string
}

// check opens the store that a crash has left, and compares it with the state it must be in. Every so often it goes on
// from there: finishes what was going on in the background, loses the index, deletes everything.
func (c *stormCrash) check(t *testing.T) {
	s, err := Open(c.o)
	if err != nil {
		t.Fatalf("%s: %v", c.what, err)
	}
	n := int64(0)
	withView(t, s, func(v *View) {
		value, ok, err := v.Get(stormKey)
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			n = int64(binary.BigEndian.Uint64(value))
		}
	})
	if n < c.lo || n > c.hi {
		t.Fatalf("%s: %d updates are there, acknowledged were %d, begun %d", c.what, n, c.lo, c.hi)
	}
	want := c.w.after(n)
	wantStorm(t, s, c.what, want)
	wantExact(t, s, c.what)
	if c.no%16 == 0 {
		if err := s.Maintain(context.Background(), MaintainOptions{}, nil); err != nil {
			t.Fatalf("%s: maintenance: %v", c.what, err)
		}
		wantStorm(t, s, c.what+", after maintenance", want)
		wantExact(t, s, c.what+", after maintenance")
	}
	if c.no%16 == 5 {
		s = c.rebuild(t, s)
		wantStorm(t, s, c.what+", with a new index", want)
		wantExact(t, s, c.what+", with a new index")
	}
	if c.no%64 == 7 {
		c.deleteAll(t, s, want)
	}
	if err := s.Close(); err != nil {
		t.Fatalf("%s: %v", c.what, err)
	}
}

// rebuild loses the index. The one made from the log and the checkpoint must be the same.
func (c *stormCrash) rebuild(t *testing.T, s *Store) *Store {
	rows := allRows(t, s)
	if err := s.Close(); err != nil {
		t.Fatalf("%s: %v", c.what, err)
	}
	if err := c.fs.RemoveAll(c.o.Dir); err != nil {
		t.Fatal(err)
	}
	s, err := Open(c.o)
	if err != nil {
		t.Fatalf("%s: rebuilding the index: %v", c.what, err)
	}
	sameRows(t, allRows(t, s), rows)
	return s
}

// deleteAll drops all volumes, after which nothing may be stored any more.
func (c *stormCrash) deleteAll(t *testing.T, s *Store, all stormState) {
	update(t, s, func(tx *Tx) error {
		for id := range all {
			if err := tx.Drop(id); err != nil {
				return err
			}
		}
		tx.Set(stormKey, nil)
		return nil
	})
	if err := s.Maintain(context.Background(), MaintainOptions{}, nil); err != nil {
		t.Fatalf("%s: maintenance: %v", c.what, err)
	}
	wantExact(t, s, c.what+", everything deleted")
	n := s.Stats()
	if n.Frames != 0 || n.Chunks != 0 || n.StoredBytes != 0 || n.MappedBytes != 0 {
		t.Fatalf("%s: everything was deleted, and there are still %+v", c.what, n.Counters)
	}
}

// TestCrashAnywhere lets a store write, clear, freeze, thaw and drop while what is deleted is reaped, fragmented regions
// are folded, segments are compacted and dropped and checkpoints saved, and takes crashes around every sync, rename,
// link and removal of a file: with nothing, a random part or all of what was not synced. All that goes on in turns in one
// half of the lives, at the same time in the other. Each crash must open with what was
// acknowledged, the rest as a whole or not at all, and with exact counts.
//
// PAGESTORE_CRASH_STATES is how many crashes are checked at least, PAGESTORE_SEED replays a run.
func TestCrashAnywhere(t *testing.T) {
	states := int64(envInt(t, "PAGESTORE_CRASH_STATES", 1500/raceScale))
	seed := uint64(envInt(t, "PAGESTORE_SEED", int(rand.Uint32())))
	t.Logf("seed %d: replay with PAGESTORE_SEED=%d (as far as goroutines allow)", seed, seed)
	total := make(map[string]int)
	done := int64(0)
	for i := uint64(0); done < states && !t.Failed(); i++ {
		done += stormEpisode(t, rand.New(rand.NewPCG(seed, i)), done, total)
	}
	t.Logf("%d crashes; %v", done, total)
}

// stormOptions varies what a store can be made with.
func stormOptions(rng *rand.Rand, fs vfs.FS) Options {
	o := testOptions(fs, 1+rng.IntN(3))
	o.MemTableBytes = 64 << 10
	o.Log.SegmentBytes = int64(32<<10) << rng.IntN(4)
	o.limits = limits{direct: 1, erasures: 2}
	o.passive = true
	o.keepRows = 0 // each crash is looked at once: nothing is asked for again
	o.Unencrypted = rng.IntN(2) == 0
	o.MasterKey[0] = 1
	return o
}

// stormEpisode is the life of one store, from its creation to its end.
func stormEpisode(t *testing.T, rng *rand.Rand, before int64, total map[string]int) int64 {
	mem := vfs.NewCrashableMem()
	w := &storm{t: t, rng: rng, states: []stormState{{}}, counts: total}
	w.quiet = rng.IntN(2) == 0 // then it is done beside the updates
	o := stormOptions(rng, mem)
	clones := rand.New(rand.NewPCG(rng.Uint64(), 0))
	crashes := make(chan *stormCrash, 4)
	var workers sync.WaitGroup
	for range 2 {
		workers.Go(func() {
			for c := range crashes {
				if t.Failed() {
					continue
				}
				done := make(chan struct{})
				go func() { // Fatal ends it
					defer close(done)
					c.check(t)
				}()
				<-done
			}
		})
	}
	var mu sync.Mutex
	taken := before
	hook := func() {
		mu.Lock()
		defer mu.Unlock()
		percent := []int{0, 40, 100}[taken%3]
		c := &stormCrash{no: taken, w: w, lo: w.acked.Load(), what: fmt.Sprintf("crash %d, %d %% of what was not synced", taken, percent)}
		c.fs = mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: clones})
		c.hi = w.begun.Load()
		c.o = o
		c.o.FS = c.fs
		c.o.Members = slices.Clone(o.Members)
		for i := range c.o.Members {
			c.o.Members[i].FS = c.fs
		}
		taken++
		crashes <- c
	}
	stormRun(t, w, o, &syncHookFS{FS: mem, hook: hook})
	close(crashes)
	workers.Wait()
	return taken - before
}

// stormRun does the work of an episode, on a file system that takes crashes.
func stormRun(t *testing.T, w *storm, o Options, fs vfs.FS) {
	o.FS = fs
	o.Members = slices.Clone(o.Members)
	for i := range o.Members {
		o.Members[i].FS = fs
	}
	beside := rand.New(rand.NewPCG(w.rng.Uint64(), 1))
	for range 2 { // opened twice, so that a session ends
		var err error
		if w.s, err = Open(o); err != nil {
			t.Error(err)
			return
		}
		var others sync.WaitGroup
		stop := make(chan struct{})
		if w.quiet {
			others.Go(func() {
				for !t.Failed() {
					select {
					case <-stop:
						return
					default:
						w.background(beside)
					}
				}
			})
		}
		for range 25 {
			if t.Failed() {
				break
			}
			w.step()
		}
		close(stop)
		others.Wait()
		if err := w.s.Close(); err != nil {
			t.Error(err)
			return
		}
	}
}
