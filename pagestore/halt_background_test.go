package pagestore

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/pagestore/pagemap"
)

// TestHaltedBackground halts the log in the midst of everything that the background does. That is no failure of it: once
// the log goes on, it does what there is to do, and nothing twice.
func TestHaltedBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := new(gate)
		o := bubbled(backgroundOptions(&gateFS{vfs.NewMem(), g}))
		o.passive = false
		o.Events = &Events{
			MaintenanceFailed: func(err error) { t.Errorf("maintenance: %v", err) },
			ReapFailed:        func(err error) { t.Errorf("reap: %v", err) },
		}
		s := openTest(t, o)
		rng := rand.New(rand.NewPCG(1, 2))
		v, w := newVolume(t, s), newVolume(t, s)
		a := &answers{got: make(map[string]error)}
		for round := range 12 {
			for i := range 2 {
				write(t, s, w, PageNo(i)*4096, randomBytes(rng, 1<<20))
			}
			for i := range pagemap.RegionPages / 2 { // to be folded
				write(t, s, v, PageNo(2*i), randomBytes(rng, PageSize))
			}
			open := g.shut()
			a.ask("clear", func() error {
				return s.Update(func(tx *Tx) error { return tx.Clear(w, Range{0, 8192}) })
			})
			// Let it do so many steps, and meet the halt in another one each time.
			for range round {
				open()
				open = g.shut()
				after(maintenanceTick / 2)
			}
			haltLog(s)
			after(20 * maintenanceTick)
			if s.maintenance.step.TryLock() { // else it waits for the log to seal a segment, which only looks halted
				if len(s.maintenance.stuck) > 0 || s.maintenance.wait > 0 {
					t.Errorf("round %d: stuck: %v, waiting for %v", round, s.maintenance.stuck, s.maintenance.wait)
				}
				s.maintenance.step.Unlock()
			}
			resumeLog(s)
			open()
			after(4 * maintenanceTick)
			if got := a.take(); len(got) != 1 {
				t.Fatalf("clear: %v", got)
			}
		}
		wantLanded(t, s)
		wantMark(t, s)
		if s.condemned.Load() != nil {
			t.Error("still condemned")
		}
		if bytes, dropped := logBytes(s), s.log.Stats().DroppedSegments; bytes > 6<<20 || dropped == 0 {
			t.Errorf("%d bytes are left, %d segments were dropped", bytes, dropped)
		}
		mustClose(t, s)
	})
}
