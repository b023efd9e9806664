package pagestore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"pagevault/internal/clock"
	"pagevault/pagestore/pagemap"
	"pagevault/replication"
)

// backgroundOptions are those of a store whose background is seen to do everything, at the ticks of the test.
func backgroundOptions(fs vfs.FS) Options {
	o := gcOptions(fs, 2)
	o.minDropBytes = 1
	o.Maintenance.BytesPerSecond = 1 << 40
	return o
}

// tick does what the background does at n ticks, without those of passes, which it does at once.
func tick(t *testing.T, s *Store, n int) {
	t.Helper()
	<-s.filled
	for range n {
		if err := s.Reap(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.maintenance.fold(s)
		for s.maintenance.rewrite(s) {
		}
		if c, ok := s.maintenance.clock.(*clock.Manual); ok {
			c.Advance(maintenanceTick)
		}
	}
}

// TestBackground overwrites and drops: the space comes back without anybody asking, garbage first, and what was stored
// fast is stored small when nobody has written for a while.
func TestBackground(t *testing.T) {
	o := backgroundOptions(vfs.NewMem())
	compacted := 0
	o.Events = &Events{
		Compacted:         func(_ replication.SegmentID, moved, freed int, bytes int64) { compacted++ },
		MaintenanceFailed: func(err error) { t.Error(err) },
	}
	s := openTest(t, o)
	s.maintenance.clock = clock.NewManual(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	rng := rand.New(rand.NewPCG(1, 2))
	v, w := newVolume(t, s), newVolume(t, s)
	for i := range 16 {
		write(t, s, v, PageNo(i)*1024, compressible(rng, 1<<19))
		write(t, s, w, PageNo(i)*1024, randomBytes(rng, 1<<19))
	}
	full := s.log.Stats()
	tick(t, s, 1)
	if compacted > 0 || s.log.Stats().Segments != full.Segments {
		t.Fatalf("%d segments were rewritten without garbage", compacted)
	}
	update(t, s, func(tx *Tx) error { return tx.Drop(w) })
	tick(t, s, 2)
	less := s.log.Stats()
	if compacted == 0 || less.Bytes > full.Bytes*6/10 {
		t.Fatalf("%d segments rewritten, %d bytes left of %d", compacted, less.Bytes, full.Bytes)
	}
	wantMark(t, s)
	for i := range 4 { // segments without garbage
		write(t, s, v, PageNo(100+i)*1024, compressible(rng, 1<<19))
	}
	tick(t, s, 1) // what was in the open segment when the volume was dropped
	did := compacted
	tick(t, s, int(defaultRewriteAfter/maintenanceTick)-1)
	if compacted != did {
		t.Fatalf("%d segments were rewritten before the store was idle", compacted-did)
	}
	tick(t, s, 2)
	fast := uint64(0)
	withView(t, s, func(v *View) {
		for _, g := range s.log.Segments() {
			row, err := readSegmentRow(v.snap, g.ID)
			if err != nil {
				t.Fatal(err)
			}
			if g.Sealed {
				fast += row.fast
			}
		}
	})
	if fast > 0 || compacted == did {
		t.Errorf("%d bytes are still stored fast, %d segments were rewritten", fast, compacted-did)
	}
	did = compacted
	tick(t, s, 10)
	if compacted != did {
		t.Errorf("%d segments were rewritten for nothing", compacted-did)
	}
	wantMark(t, s)
}

// TestBackgroundKeepsUp has a writer overwrite as fast as segments are rewritten: there is always another one that is worth
// it, and segments are dropped nevertheless.
func TestBackgroundKeepsUp(t *testing.T) {
	const most = 20
	o := backgroundOptions(vfs.NewMem())
	var overwrite func()
	rewritten, dropped := 0, 0
	o.Events = &Events{
		MaintenanceFailed: func(err error) { t.Error(err) },
		Compacted: func(_ replication.SegmentID, moved, freed int, bytes int64) {
			if rewritten++; rewritten < most {
				overwrite() // as somebody else would, in another goroutine
			}
		},
	}
	s, rng := openTest(t, o), rand.New(rand.NewPCG(5, 6))
	v := newVolume(t, s)
	overwrite = func() {
		dropped = s.log.Stats().DroppedSegments
		write(t, s, v, 0, randomBytes(rng, 1<<21)) // more than is rewritten in a step
	}
	overwrite()
	overwrite()
	tick(t, s, 1)
	if rewritten < most || dropped == 0 {
		t.Errorf("%d segments were rewritten, and %d dropped before there was an end of that", rewritten, dropped)
	}
	wantMark(t, s)
}

// after lets the time of a bubble pass, and everything that happens then.
func after(d time.Duration) {
	<-time.NewTimer(d).C
	synctest.Wait()
}

// TestBackgroundTicks has the goroutine do it: what is dropped is dropped from the log, too.
func TestBackgroundTicks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := backgroundOptions(vfs.NewMem())
		o.passive = false
		s := openTest(t, o)
		v := newVolume(t, s)
		for i := range 4 {
			write(t, s, v, PageNo(i)*4096, randomBytes(rand.New(rand.NewPCG(uint64(i), 2)), 1<<20))
		}
		update(t, s, func(tx *Tx) error { return tx.Drop(v) })
		full := logBytes(s)
		after(2 * maintenanceTick)
		if left := logBytes(s); left > full/3 {
			t.Errorf("%d bytes are left of %d", left, full)
		}
		wantMark(t, s)
		mustClose(t, s)
	})
}

// TestBackgroundCheckpoint writes more log than there may be behind a checkpoint.
func TestBackgroundCheckpoint(t *testing.T) {
	o := backgroundOptions(vfs.NewMem())
	o.Maintenance.CheckpointBytes = 3 << 20
	o.minDropBytes = 0 // no other reason for a checkpoint
	s := openTest(t, o)
	rng := rand.New(rand.NewPCG(1, 2))
	v := newVolume(t, s)
	wantAt := func(want bool) (at replication.LSN) {
		t.Helper()
		tick(t, s, 1)
		info, ok := s.log.Checkpoint()
		if ok != want {
			t.Fatalf("checkpoint: %v %+v, want %v", ok, info, want)
		}
		return info.LSN
	}
	write(t, s, v, 0, randomBytes(rng, 1<<20))
	wantAt(false)
	write(t, s, v, 4096, randomBytes(rng, 3<<20))
	first := wantAt(true)
	if first != replication.LSN(s.Stats().Applied) {
		t.Errorf("checkpoint of record %d of %d", first, s.Stats().Applied)
	}
	write(t, s, v, 0, randomBytes(rng, 1<<20))
	if again := wantAt(true); again != first {
		t.Errorf("another checkpoint after 1 MiB")
	}
	write(t, s, v, 8192, randomBytes(rng, 3<<20))
	if again := wantAt(true); again == first {
		t.Errorf("no other checkpoint after 4 MiB")
	}
}

// TestBackgroundStuck has a segment that no member can give: it is left alone, that is said once, and others are
// rewritten all the same.
func TestBackgroundStuck(t *testing.T) {
	mem := vfs.NewMem()
	o := backgroundOptions(mem)
	var failed []error
	rewritten := 0
	o.Events = &Events{
		MaintenanceFailed: func(err error) { failed = append(failed, err) },
		Compacted:         func(replication.SegmentID, int, int, int64) { rewritten++ },
	}
	s := openTest(t, o)
	rng := rand.New(rand.NewPCG(1, 2))
	v := newVolume(t, s)
	for i := range 4 {
		write(t, s, v, PageNo(i)*4096, randomBytes(rng, 900<<10))
	}
	bad := s.log.Segments()[0].ID
	for _, m := range []string{"replica-1", "replica-2"} {
		damageMiddle(t, mem, m, bad)
	}
	update(t, s, func(tx *Tx) error { // most of each segment, but not what is damaged
		for i := range 4 {
			if err := tx.Clear(v, Range{PageNo(i) * 4096, PageNo(i)*4096 + 600}); err != nil {
				return err
			}
		}
		return tx.Clear(v, Range{1200, 1800})
	})
	for i := range 4 {
		update(t, s, func(tx *Tx) error { return tx.Clear(v, Range{PageNo(i)*4096 + 1200, PageNo(i)*4096 + 1800}) })
	}
	tick(t, s, 5)
	if len(failed) != 1 || !errors.Is(failed[0], ErrCorrupt) || rewritten < 2 {
		t.Errorf("%d segments rewritten, failed: %v", rewritten, failed)
	}
	if s.log.Segments()[0].ID != bad || s.Failed() != nil {
		t.Error("the segment is gone, or the store has failed")
	}
	wantMark(t, s)
}

// damageMiddle flips a bit in the middle of a member's copy of a sealed segment.
func damageMiddle(t *testing.T, mem *vfs.MemFS, member string, id replication.SegmentID) {
	t.Helper()
	path := fmt.Sprintf("%s/%010d.seg", member, id)
	p := readFile(t, mem, path)
	f, err := mem.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{p[len(p)/2] ^ 4}, int64(len(p)/2)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestMismatchStops opens a store that knows of counts that were wrong: nothing is rewritten or dropped, asked for or not.
func TestMismatchStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := backgroundOptions(vfs.NewMem())
		o.passive = true
		s := openTest(t, o)
		v := newVolume(t, s)
		write(t, s, v, 0, randomBytes(rand.New(rand.NewPCG(1, 2)), 2<<20))
		update(t, s, func(tx *Tx) error { return tx.Drop(v) })
		if err := s.Reap(t.Context()); err != nil {
			t.Fatal(err)
		}
		st := *s.state.Load()
		mustClose(t, s)
		st.mismatch = 3
		editIndex(t, o, func(db *pebble.DB) error { return db.Set(stateKey, appendState(nil, &st), pebble.Sync) })
		o.passive = false
		o.Events = &Events{Compacted: func(replication.SegmentID, int, int, int64) { t.Error("a segment was rewritten") }}
		s = openTest(t, o)
		before := s.log.Stats().Segments
		after(20 * maintenanceTick)
		if err := s.Maintain(context.Background(), MaintainOptions{}, nil); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%v", err)
		}
		if s.log.Stats().Segments != before {
			t.Error("segments were dropped")
		}
		write(t, s, newVolume(t, s), 0, randomBytes(rand.New(rand.NewPCG(3, 2)), pagemap.RegionBytes))
		mustClose(t, s)
	})
}

// TestLimiter spreads bytes over time.
func TestLimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limiter{clock: clock.System, rate: 1000}
		took := func(n int, want time.Duration) {
			t.Helper()
			from := clock.System.Now()
			if err := l.wait(t.Context(), n); err != nil {
				t.Fatal(err)
			}
			if d := clock.System.Now().Sub(from); d != want {
				t.Errorf("%d bytes waited for %v, want %v", n, d, want)
			}
		}
		took(500, 0) // nothing was asked for before
		took(2000, time.Second/2)
		took(1, 2*time.Second)
		after(time.Minute) // no credit
		took(1000, 0)
		took(1000, time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/4)
		defer cancel()
		if err := l.wait(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		none := limiter{}
		if err := none.wait(t.Context(), 1<<60); err != nil {
			t.Error(err)
		}
	})
}

// TestBackgroundRetries fills the disk while a checkpoint is made: the background tries again, after twice as long each
// time and never more than five minutes, says so once, and drops what there is to drop when there is room.
func TestBackgroundRetries(t *testing.T) {
	var full atomic.Bool
	tries := 0
	o := backgroundOptions(errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if !full.Load() || op.Kind != errorfs.OpMkdirAll || !strings.HasPrefix(op.Path, "index"+checkpointSuffix) {
			return nil
		}
		tries++
		return syscall.ENOSPC
	})))
	var failed []error
	o.Events = &Events{MaintenanceFailed: func(err error) { failed = append(failed, err) }}
	s := openTest(t, o)
	c := clock.NewManual(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	s.maintenance.clock = c
	<-s.filled
	fill := func() {
		v := newVolume(t, s)
		write(t, s, v, 0, randomBytes(rand.New(rand.NewPCG(uint64(v), 2)), 3<<20))
		update(t, s, func(tx *Tx) error { return tx.Drop(v) })
		if err := s.Reap(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	step := func() {
		for s.maintenance.rewrite(s) {
		}
	}
	for round := range 2 { // success makes it begin with a second again
		fill()
		full.Store(true)
		tries = 0
		step()
		for i, wait := range []time.Duration{1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300} {
			c.Advance(wait*time.Second - 1)
			if step(); tries != i+1 {
				t.Fatalf("round %d: %d tries, want %d, just before the next is due", round, tries, i+1)
			}
			c.Advance(1)
			if step(); tries != i+2 {
				t.Fatalf("round %d: %d tries, want %d, %d s after the one before", round, tries, i+2, wait)
			}
		}
		if len(failed) != round+1 || !errors.Is(failed[round], syscall.ENOSPC) {
			t.Fatalf("round %d: failures that were told: %v", round, failed)
		}
		full.Store(false)
		before := s.log.Stats()
		c.Advance(lastRetry)
		if step(); s.log.Stats().DroppedSegments == before.DroppedSegments || s.Failed() != nil {
			t.Fatalf("round %d: nothing dropped once there was room: %+v, %v", round, s.log.Stats(), s.Failed())
		}
	}
	wantMark(t, s)
}
