package pagestore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/pagestore/pagemap"
	"pagevault/replication"
)

// haltLog does what the log does when too few members can be written: it copies what it was given, and tells. The gate
// under the members must be shut, and everybody waiting.
func haltLog(s *Store) {
	f := &s.flight.mu
	f.Lock()
	for _, p := range f.waiting {
		for i, b := range p.record.Data {
			p.record.Data[i] = bytes.Clone(b)
		}
	}
	f.Unlock()
	s.o.Log.Events.Halted(&replication.UnavailableError{Reason: "a test", Since: time.Now()})
}

// resumeLog does what the log does when enough members can be written again.
func resumeLog(s *Store) { s.o.Log.Events.Resumed() }

// bubbled returns o for a store that is rewritten in a bubble. Compressors with channels are shared by all stores, and a
// channel of one bubble must not be used in another.
func bubbled(o Options) Options {
	o.Compression = CompressNone
	return o
}

// answers collects what goroutines of a bubble were answered.
type answers struct {
	mu  sync.Mutex
	got map[string]error
}

// ask starts fn and lets it come as far as it can.
func (a *answers) ask(name string, fn func() error) {
	go func() {
		err := fn()
		a.mu.Lock()
		defer a.mu.Unlock()
		a.got[name] = err
	}()
	synctest.Wait()
}

// take returns the answers so far, and forgets them.
func (a *answers) take() map[string]error {
	a.mu.Lock()
	defer a.mu.Unlock()
	got := maps.Clone(a.got)
	clear(a.got)
	return got
}

// wantUnavailable checks that n were answered, each with ErrUnavailable and not as if that were for good.
func (a *answers) wantUnavailable(t *testing.T, n int) {
	t.Helper()
	got := a.take()
	for name, err := range got {
		if !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrReadOnly) {
			t.Errorf("%s: %v, want ErrUnavailable", name, err)
		}
	}
	if len(got) != n {
		t.Errorf("%d were answered, want %d: %v", len(got), n, got)
	}
}

// wantDone checks that n were answered, and with success.
func (a *answers) wantDone(t *testing.T, n int) {
	t.Helper()
	got := a.take()
	for name, err := range got {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(got) != n {
		t.Errorf("%d were answered, want %d: %v", len(got), n, got)
	}
}

// wantLanded checks that nothing is left in flight.
func wantLanded(t *testing.T, s *Store) {
	t.Helper()
	m := &s.flight.mu
	m.Lock()
	defer m.Unlock()
	if len(m.waiting)+len(m.rows)+len(m.gens) > 0 || m.landing != nil {
		t.Errorf("left in flight: %d records, %d rows, %d generations; something to do when they land: %v", len(m.waiting), len(m.rows), len(m.gens), m.landing != nil)
	}
}

// TestHaltAnswers halts the log while records are on their way. Whoever waits is told at once, and whoever comes; nothing
// is answered from what is not durable. When the log goes on, what was on its way happens, and those who come after see it.
func TestHaltAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := new(gate)
		o := testOptions(&gateFS{vfs.NewMem(), g}, 2)
		o.passive = true
		var told []string
		o.Log.Events = &replication.Events{
			Halted:  func(err error) { told = append(told, err.Error()) },
			Resumed: func() { told = append(told, "resumed") },
		}
		o.Events = &Events{Failed: func(err error) { t.Error(err) }}
		s := openTest(t, o)
		v := newVolume(t, s)
		old := randomBytes(rand.New(rand.NewPCG(1, 2)), 4*pagemap.RegionBytes)
		write(t, s, v, 0, old)
		want := randomBytes(rand.New(rand.NewPCG(3, 4)), len(old))
		body := bytes.Clone(want)
		a := &answers{got: make(map[string]error)}
		change := func(name string, fn func(tx *Tx) error) {
			a.ask(name, func() error { return s.Update(fn) })
		}
		errSeen := errors.New("seen")

		open := g.shut()
		a.ask("write", func() error {
			defer clear(body) // the memory is the caller's again
			return tryWrite(s, v, 0, body)
		})
		change("set", func(tx *Tx) error { tx.Set([]byte("k"), []byte("v")); return nil })
		change("freeze", func(tx *Tx) error { _, err := tx.Freeze(v); return err })
		change("error after seeing it", func(tx *Tx) error { tx.Get([]byte("k")); return errSeen })
		change("nothing after seeing it", func(tx *Tx) error { _, _, err := tx.Get([]byte("k")); return err })
		a.ask("drain", func() error { return s.drain(s.flight.newcomer()) })
		change("scan", func(tx *Tx) error { return tx.Scan(nil, nil, func(k, v []byte) bool { return true }) })
		if got := a.take(); len(got) > 0 {
			t.Fatalf("answered before the log has halted: %v", got)
		}
		haltLog(s)
		synctest.Wait()
		a.wantUnavailable(t, 7)
		if !bytes.Equal(body, make([]byte, len(body))) {
			t.Error("the write has not ended")
		}

		ran := false
		change("set while halted", func(tx *Tx) error { ran = true; tx.Set([]byte("k"), []byte("never")); return nil })
		change("nothing while halted", func(tx *Tx) error { ran = true; return nil })
		a.ask("write while halted", func() error { return tryWrite(s, v, 0, old[:PageSize]) })
		a.ask("maintain while halted", func() error { return s.Maintain(t.Context(), MaintainOptions{}, nil) })
		a.wantUnavailable(t, 4)
		if ran || s.Failed() != nil {
			t.Errorf("an update ran while the log was halted: %v; failed: %v", ran, s.Failed())
		}
		wantRead(t, s, v, GenHead, 0, old)

		a.ask("settle", func() error { return s.Settle(t.Context()) })
		resumeLog(s)
		change("error after the halt", func(tx *Tx) error {
			if got, _, _ := tx.Get([]byte("k")); string(got) == "v" {
				return errSeen
			}
			return nil
		})
		change("set after the halt", func(tx *Tx) error {
			got, _, _ := tx.Get([]byte("k"))
			tx.Set([]byte("k"), append(got, '2'))
			return nil
		})
		change("thaw of a generation in flight", func(tx *Tx) error { return tx.Thaw(v, 1) })
		a.ask("write after the halt", func() error { return tryWrite(s, v, 1<<20, want) }) // its content is in flight
		if got := a.take(); len(got) > 0 {
			t.Fatalf("answered before it was durable: %v", got)
		}
		open()
		synctest.Wait()
		got := a.take()
		if len(got) != 5 || !errors.Is(got["error after the halt"], errSeen) {
			t.Errorf("after the halt: %v", got)
		}
		for name, err := range got {
			if err != nil && err != errSeen {
				t.Errorf("%s: %v", name, err)
			}
		}
		wantRead(t, s, v, GenHead, 0, want)
		wantRead(t, s, v, GenHead, 1<<20, want)
		withView(t, s, func(v *View) {
			if got, _, err := v.Get([]byte("k")); string(got) != "v2" {
				t.Errorf("row: %q %v", got, err)
			}
		})
		if st := s.Stats(); st.DuplicateBytes != uint64(len(want)) {
			t.Errorf("%d bytes were found to be duplicates, want %d", st.DuplicateBytes, len(want))
		}
		if len(told) != 2 || told[1] != "resumed" {
			t.Errorf("the caller was told %q", told)
		}
		wantLanded(t, s)
		wantMark(t, s)
		mustClose(t, s)
	})
}

// TestHaltBeforeLaunch halts the log after it was given a record and before the flight has it. Whether it had gone on by
// then nobody can tell, so the bytes are not taken to be copied.
func TestHaltBeforeLaunch(t *testing.T) {
	var f flight
	f.init()
	halt := fmt.Errorf("a test: %w", ErrUnavailable)
	f.setHalted(halt)
	p := newPending().(*pending)
	p.record.LSN = 1
	tx := &Tx{rows: map[string]flyingRow{"k": {value: []byte("v")}}, gens: map[generation]bool{{1, 1}: true}, heads: map[VolumeID]head{1: {gen: 2}}}
	f.launched(p, tx, 7)
	if err := <-p.done; err != halt || p.copied {
		t.Fatalf("answered %v, bytes copied: %v", err, p.copied)
	}
	if f.mu.rows["k"].lsn != 1 || f.mu.heads[1].lsn != 1 || !f.mu.gens[generation{1, 1}].frozen || f.mu.nextFrame != 7 {
		t.Error("what the record changes is not in flight")
	}
	f.setHalted(nil)
	f.setHalted(halt) // once more, before it has landed
	f.setHalted(nil)
	landed := make(chan error)
	go func() { landed <- f.settle() }()
	f.landed(1, []*replication.Record{&p.record})
	if err := <-landed; err != nil {
		t.Fatal(err)
	}
	if len(f.mu.rows)+len(f.mu.gens)+len(f.mu.waiting) > 0 || len(p.done) > 0 || p.copied {
		t.Errorf("left in flight: %v %v %v", f.mu.rows, f.mu.gens, f.mu.waiting)
	}
}

// TestHaltBeforeOpen: a store that is made over a log which has halted meanwhile knows it.
func TestHaltBeforeOpen(t *testing.T) {
	var h halting
	var events replication.Events
	h.watch(&events)
	events.Halted(ErrUnavailable)
	for range 2 { // the second is that of an index that is made anew
		var f flight
		f.init()
		h.attach(&f)
		if f.halt() != ErrUnavailable {
			t.Error("does not know that the log is halted")
		}
		events.Resumed()
		if f.halt() != nil {
			t.Error("does not know that the log goes on")
		}
		events.Halted(ErrUnavailable)
	}
}

// TestRefusedByHaltedLog: what Append says while the log is halted is not taken for its end.
func TestRefusedByHaltedLog(t *testing.T) {
	s := openTest(t, testOptions(vfs.NewMem(), 1))
	err := s.refused(fmt.Errorf("update of 1 bytes: %w", &replication.UnavailableError{Reason: "a test"}))
	if !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrReadOnly) || s.Failed() != nil {
		t.Errorf("%v; failed: %v", err, s.Failed())
	}
}

// TestCloseWhileHalted closes a store whose log is halted: nobody who waits is left waiting, in the background or not.
func TestCloseWhileHalted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := new(gate)
		s := openTest(t, testOptions(&gateFS{vfs.NewMem(), g}, 2))
		a := &answers{got: make(map[string]error)}
		set := func() error { return s.Update(func(tx *Tx) error { tx.Set([]byte("k"), nil); return nil }) }
		open := g.shut()
		a.ask("set", set)
		haltLog(s)
		synctest.Wait()
		a.wantUnavailable(t, 1)
		ctx, cancel := context.WithCancel(t.Context())
		a.ask("settle and give up", func() error { return s.Settle(ctx) })
		cancel()
		synctest.Wait()
		if got := a.take(); len(got) != 1 || !errors.Is(got["settle and give up"], context.Canceled) {
			t.Errorf("%v, want the end of the context", got)
		}
		a.ask("settle", func() error { return s.Settle(context.Background()) })
		a.ask("close", s.Close)
		a.ask("set after close", set)
		open() // the log, which has not really halted, waits for its disks
		synctest.Wait()
		got := a.take()
		if len(got) != 3 || got["settle"] != ErrClosed || got["set after close"] != ErrClosed || got["close"] != nil {
			t.Errorf("%v", got)
		}
	})
}

// TestHaltedFree halts the log while a record that frees blocks is on its way. Until it has landed nobody may take the
// blocks up again under their old names.
func TestHaltedFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := new(gate)
		s := openTest(t, bubbled(gcOptions(&gateFS{vfs.NewMem(), g}, 1)))
		v, w := newVolume(t, s), newVolume(t, s)
		p := randomBytes(rand.New(rand.NewPCG(1, 2)), 2*pagemap.RegionBytes)
		write(t, s, v, 0, p)
		update(t, s, func(tx *Tx) error { return tx.Clear(v, Range{0, 2 * pagemap.RegionPages}) })
		if err := s.log.Rotate(); err != nil {
			t.Fatal(err)
		}
		id := s.log.Segments()[0].ID
		a := &answers{got: make(map[string]error)}
		compact := func() error {
			_, _, _, err := s.compact(context.Background(), id, &s.maintenance.pace)
			return err
		}
		open := g.shut()
		a.ask("compact", compact)
		haltLog(s)
		synctest.Wait()
		a.wantUnavailable(t, 1)
		a.ask("compact while halted", compact)
		a.wantUnavailable(t, 1)
		if s.condemned.Load() == nil {
			t.Error("blocks are pardoned while a record that frees them is on its way")
		}
		resumeLog(s)
		a.ask("write", func() error { return tryWrite(s, w, 0, p) }) // behind the record
		a.ask("compact again", compact)
		open()
		synctest.Wait()
		a.wantDone(t, 2)
		wantRead(t, s, w, GenHead, 0, p)
		if s.condemned.Load() != nil {
			t.Error("still condemned")
		}
		wantLanded(t, s)
		wantMark(t, s)
		mustClose(t, s)
	})
}

// TestHaltedWorkNotTwice halts the log while a step of what the background does is on its way. The same step is not tried
// again until that one has landed, and then it is not due any more.
func TestHaltedWorkNotTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := new(gate)
		s := openTest(t, bubbled(gcOptions(&gateFS{vfs.NewMem(), g}, 1)))
		v, w := newVolume(t, s), newVolume(t, s)
		rng := rand.New(rand.NewPCG(1, 2))
		for i := range pagemap.RegionPages / 2 {
			write(t, s, v, PageNo(2*i), randomBytes(rng, PageSize))
		}
		write(t, s, w, 0, randomBytes(rng, pagemap.RegionBytes))
		update(t, s, func(tx *Tx) error { return tx.Drop(w) })
		a := &answers{got: make(map[string]error)}
		for name, work := range map[string]func() error{
			"reap": func() error { return s.Reap(t.Context()) },
			"fold": func() error { return s.foldAll(t.Context(), &s.maintenance.pace, false) },
		} {
			open := g.shut()
			before := s.seq.last
			a.ask(name, work)
			haltLog(s)
			synctest.Wait()
			a.wantUnavailable(t, 1)
			enqueued := s.seq.last
			a.ask(name+" while halted", work)
			a.wantUnavailable(t, 1)
			resumeLog(s)
			a.ask(name+" again", work)
			if enqueued != before+1 || s.seq.last != enqueued {
				t.Errorf("%s: record %d enqueued, then %d, want only %d", name, enqueued, s.seq.last, before+1)
			}
			open()
			synctest.Wait()
			a.wantDone(t, 1)
		}
		if more, err := s.reapOnce(t.Context()); more || err != nil {
			t.Errorf("reap: more to do: %v, %v", more, err)
		}
		if j, err := s.planFold(nil, nil); err != nil || len(j.regions) > 0 {
			t.Errorf("fold: %+v, %v", j, err)
		}
		wantLanded(t, s)
		wantMark(t, s)
		mustClose(t, s)
	})
}

// TestHaltModel halts the log again and again with records on their way, while others come. What was on its way happens,
// in its order; what came during the halt does not. The index says the same when it is made anew.
func TestHaltModel(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { synctest.Test(t, func(t *testing.T) { testHaltModel(t, seed) }) })
	}
}

func testHaltModel(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	g, mem := new(gate), vfs.NewMem()
	o := bubbled(gcOptions(&gateFS{mem, g}, 2))
	s := openTest(t, o)
	const pages = 4 * pagemap.RegionPages
	volumes := []VolumeID{newVolume(t, s), newVolume(t, s)}
	content := [][]byte{make([]byte, pages*PageSize), make([]byte, pages*PageSize)}
	pool := randomBytes(rng, 2*pagemap.RegionBytes) // little, so that there are duplicates
	row := ""
	a, maintaining := &answers{got: make(map[string]error)}, &answers{got: make(map[string]error)}
	n, unmaintained := 0, 0
	// change starts a random update, which is to happen or not.
	change := func(happens bool) {
		n++
		name, which := fmt.Sprint("update ", n), rng.IntN(2)
		first := rng.IntN(pages/pagemap.ChunkPages) * pagemap.ChunkPages
		size := min(rng.IntN(2*pagemap.RegionPages)+1, pages-first)
		from := rng.IntN(2*pagemap.RegionPages-size+1) / pagemap.ChunkPages * pagemap.ChunkPages
		p := bytes.Clone(pool[from*PageSize : (from+size)*PageSize])
		cleared := rng.IntN(4) == 0
		saw := row
		if happens {
			row = name
			copy(content[which][first*PageSize:], p)
			if cleared {
				clear(content[which][first*PageSize:][:len(p)])
			}
		}
		a.ask(name, func() error {
			defer clear(p)
			c, err := s.Prepare(PageNo(first), p)
			if err != nil {
				return err
			}
			defer c.Release()
			return s.Update(func(tx *Tx) error {
				if got, _, err := tx.Get([]byte("last")); string(got) != saw || err != nil {
					t.Errorf("%s: sees %q, want %q: %v", name, got, saw, err)
				}
				tx.Set([]byte("last"), []byte(name))
				if cleared {
					return tx.Clear(volumes[which], Range{PageNo(first), PageNo(first + size)})
				}
				return tx.Write(volumes[which], c)
			})
		})
	}
	check := func() {
		t.Helper()
		for i, v := range volumes {
			wantRead(t, s, v, GenHead, 0, content[i])
		}
		withView(t, s, func(v *View) {
			if got, _, err := v.Get([]byte("last")); string(got) != row || err != nil {
				t.Errorf("row: %q, want %q: %v", got, row, err)
			}
		})
	}
	for round := range 20 {
		open := g.shut()
		if rng.IntN(2) == 0 { // and let it do so many steps
			maintaining.ask("maintain", func() error { return s.Maintain(t.Context(), MaintainOptions{Garbage: 1}, nil) })
			for range rng.IntN(8) {
				open()
				open = g.shut()
				synctest.Wait()
			}
		}
		halted := rng.IntN(6)
		for range halted {
			change(true)
		}
		for range 1 + rng.IntN(2) { // halts
			haltLog(s)
			synctest.Wait()
			a.wantUnavailable(t, halted)
			halted = rng.IntN(3)
			for range halted {
				change(false)
			}
			a.wantUnavailable(t, halted)
			resumeLog(s)
			halted = rng.IntN(4)
			for range halted {
				change(true)
			}
		}
		open()
		synctest.Wait()
		a.wantDone(t, halted)
		if err := maintaining.take()["maintain"]; errors.Is(err, ErrUnavailable) {
			unmaintained++
		} else if err != nil {
			t.Errorf("maintain: %v", err)
		}
		wantLanded(t, s)
		check()
		if t.Failed() {
			t.Fatalf("seed %d, round %d", seed, round)
		}
	}
	if unmaintained == 0 {
		t.Error("Maintain was never interrupted")
	}
	maintain(t, s, MaintainOptions{Garbage: 1})
	check()
	wantMark(t, s)
	mustClose(t, s)
	for _, lost := range []bool{false, true} {
		if lost {
			if err := mem.RemoveAll("index"); err != nil {
				t.Fatal(err)
			}
		}
		s = openTest(t, o)
		check()
		wantMark(t, s)
		mustClose(t, s)
	}
}
