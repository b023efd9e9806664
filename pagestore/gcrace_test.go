package pagestore

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/pagestore/pagemap"
)

// gcWriter writes a few contents again and again to volumes of its own, and knows what they hold.
type gcWriter struct {
	t      *testing.T
	s      *Store
	rng    *rand.Rand
	pool   [][]byte // contents that all writers share
	volume VolumeID
	now    []byte
	frozen map[Gen][]byte
}

const gcPages = 1024 // of a volume

func (w *gcWriter) step() {
	switch k := w.rng.IntN(20); {
	case w.volume == 0 || k == 0:
		w.renew()
	case k < 11:
		w.write()
	case k < 13:
		w.clear()
	case k < 15 && len(w.frozen) < 4:
		w.update(func(tx *Tx) error {
			g, err := tx.Freeze(w.volume)
			w.frozen[g] = bytes.Clone(w.now)
			return err
		})
	case k < 17 && len(w.frozen) > 0:
		gens := slices.Sorted(maps.Keys(w.frozen))
		g := gens[w.rng.IntN(len(gens))]
		w.update(func(tx *Tx) error { return tx.Thaw(w.volume, g) })
		delete(w.frozen, g)
	default:
		w.check()
	}
}

func (w *gcWriter) update(fn func(tx *Tx) error) {
	if err := w.s.Update(fn); err != nil {
		w.t.Error(err)
	}
}

// renew drops the volume and makes another.
func (w *gcWriter) renew() {
	w.update(func(tx *Tx) error {
		var err error
		if w.volume != 0 {
			err = tx.Drop(w.volume)
		}
		w.volume = tx.CreateVolume()
		return err
	})
	w.now, w.frozen = make([]byte, gcPages*PageSize), map[Gen][]byte{}
}

// write writes one of the contents, or a part of one, to where others may have it too or not.
func (w *gcWriter) write() {
	p := w.pool[w.rng.IntN(len(w.pool))]
	first := w.rng.IntN(gcPages/pagemap.RegionPages) * pagemap.RegionPages
	switch w.rng.IntN(3) {
	case 0: // aligned chunks
		n := (1 + w.rng.IntN(8)) * pagemap.ChunkBytes
		off := w.rng.IntN(len(p)/pagemap.ChunkBytes) * pagemap.ChunkBytes
		p = p[off:min(len(p), off+n)]
		first += w.rng.IntN(16) * pagemap.ChunkPages
	case 1: // anything
		off := w.rng.IntN(len(p)/PageSize) * PageSize
		p = p[off:min(len(p), off+(1+w.rng.IntN(40))*PageSize)]
		first += w.rng.IntN(pagemap.RegionPages)
	}
	p = p[:min(len(p), (gcPages-first)*PageSize)]
	c, err := w.s.Prepare(PageNo(first), p)
	if err != nil {
		w.t.Error(err)
		return
	}
	defer c.Release()
	w.update(func(tx *Tx) error { return tx.Write(w.volume, c) })
	copy(w.now[first*PageSize:], p)
}

func (w *gcWriter) clear() {
	from := w.rng.IntN(gcPages)
	to := min(gcPages, from+1+w.rng.IntN(400))
	w.update(func(tx *Tx) error { return tx.Clear(w.volume, Range{PageNo(from), PageNo(to)}) })
	clear(w.now[from*PageSize : to*PageSize])
}

// check reads the volume as it is and in all its generations.
func (w *gcWriter) check() {
	v, err := w.s.View()
	if err != nil {
		w.t.Error(err)
		return
	}
	defer v.Close()
	got := make([]byte, len(w.now))
	read := func(g Gen, want []byte) {
		if err := v.Read(w.volume, g, 0, got); err != nil {
			w.t.Error(err)
		} else if !bytes.Equal(got, want) {
			w.t.Errorf("volume %d generation %d differs", w.volume, g)
		}
	}
	read(GenHead, w.now)
	for g, want := range w.frozen {
		read(g, want)
	}
}

// TestCompactRace rewrites, frees and drops segments for as long as writers write the same few contents again and again,
// freeze, thaw and drop volumes: what dies is revived all the time. Everything reads as it was written, the counts are
// those that a mark finds, and the store is the same when it is opened again, from its index and from the checkpoint.
func TestCompactRace(t *testing.T) {
	seed := uint64(envInt(t, "PAGESTORE_SEED", int(rand.Uint32())))
	t.Logf("seed %d: replay with PAGESTORE_SEED=%d (as far as goroutines allow)", seed, seed)
	steps := envInt(t, "PAGESTORE_GC_STEPS", 400/raceScale)
	o := gcOptions(vfs.NewMem(), 2)
	o.Log.SegmentBytes = 256 << 10
	o.MasterKey = MasterKey{9}
	o.limits = limits{direct: 2, erasures: 3}
	o.Events = &Events{Failed: func(err error) { t.Error(err) }}
	s := openTest(t, o)
	rng := rand.New(rand.NewPCG(seed, 0))
	var pool [][]byte
	for i := range 6 {
		p := randomBytes(rng, pagemap.RegionBytes)
		if i%2 == 0 {
			p = compressible(rng, 2*pagemap.RegionBytes)
		}
		pool = append(pool, p)
	}
	var writing, compacting sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	var writers []*gcWriter
	for i := range 4 {
		w := &gcWriter{t: t, s: s, rng: rand.New(rand.NewPCG(seed, uint64(i+1))), pool: pool}
		writers = append(writers, w)
		writing.Go(func() {
			for range steps {
				w.step()
			}
		})
	}
	var total MaintainProgress
	rounds := 0
	compacting.Go(func() {
		rng := rand.New(rand.NewPCG(seed, 99))
		for ctx.Err() == nil {
			var last MaintainProgress
			err := s.Maintain(ctx, MaintainOptions{Garbage: 1 + rng.IntN(60), KeepFast: rng.IntN(2) == 0}, func(p MaintainProgress) { last = p })
			if err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
				return
			}
			total.Moved, total.Freed, total.Dropped = total.Moved+last.Moved, total.Freed+last.Freed, total.Dropped+last.Dropped
			rounds++
		}
	})
	writing.Wait()
	cancel()
	compacting.Wait()
	t.Logf("%d rounds: %+v", rounds, total)
	if total.Moved == 0 || total.Freed == 0 || total.Dropped == 0 {
		t.Error("hardly anything was rewritten")
	}
	check := func() {
		t.Helper()
		wantMark(t, s)
		for _, w := range writers {
			w.s = s
			w.check()
		}
	}
	check()
	maintain(t, s, MaintainOptions{})
	check()
	rows := allRows(t, s)
	for _, lost := range []bool{false, true} {
		mustClose(t, s)
		if lost {
			if err := o.FS.RemoveAll(o.Dir); err != nil {
				t.Fatal(err)
			}
		}
		s = openTest(t, o)
		sameRows(t, allRows(t, s), rows)
		check()
	}
}
