package pagestore

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestCheckWhileBusy checks a store again and again while volumes are written, frozen, thawed, cleared and dropped, and
// space is given back: what a check sees is one state of the store, so it finds nothing.
func TestCheckWhileBusy(t *testing.T) {
	o := testOptions(vfs.NewMem(), 2)
	o.MasterKey = MasterKey{4}
	o.passive = true
	o.Log.SegmentBytes = 1 << 18
	s := openTest(t, o)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	var volumes [4]VolumeID
	for i := range volumes {
		volumes[i] = newVolume(t, s)
	}
	for w := range 2 {
		wg.Go(func() { busyWriter(ctx, t, s, volumes[2*w:2*w+2], rand.New(rand.NewPCG(8, uint64(w)))) })
	}
	wg.Go(func() {
		for ctx.Err() == nil {
			if err := s.Maintain(ctx, MaintainOptions{}, nil); err != nil && ctx.Err() == nil {
				t.Errorf("maintain: %v", err)
				return
			}
		}
	})
	frames := int64(0)
	for i := 0; i < 12 || frames == 0 || s.Stats().Records < 1500; i++ {
		withView(t, s, func(v *View) {
			level := CheckFull
			if i%3 == 2 {
				level = CheckQuick
			}
			sum, err := v.Check(context.Background(), CheckOptions{Level: level, Found: func(p Problem) { t.Error(p.String()) }})
			if err != nil {
				t.Error(err)
			}
			frames += sum.Frames
		})
		if t.Failed() {
			break
		}
	}
	cancel()
	wg.Wait()
	if n := s.log.Stats().DroppedSegments; n == 0 {
		t.Error("no segment was dropped: this test shows less than it should")
	}
}

// busyWriter changes volumes until the context ends.
func busyWriter(ctx context.Context, t *testing.T, s *Store, volumes []VolumeID, rng *rand.Rand) {
	common := randomBytes(rng, 64*PageSize)
	frozen := map[VolumeID][]Gen{}
	for ctx.Err() == nil {
		i := rng.IntN(len(volumes))
		v := volumes[i]
		var err error
		switch rng.IntN(12) {
		case 0:
			err = s.Update(func(tx *Tx) error {
				g, err := tx.Freeze(v)
				frozen[v] = append(frozen[v], g)
				return err
			})
		case 1:
			if list := frozen[v]; len(list) > 0 {
				frozen[v] = list[1:]
				err = s.Update(func(tx *Tx) error { return tx.Thaw(v, list[0]) })
			}
		case 2:
			from := PageNo(rng.IntN(2000))
			err = s.Update(func(tx *Tx) error { return tx.Clear(v, Range{from, from + 1 + PageNo(rng.IntN(500))}) })
		case 3:
			if rng.IntN(4) == 0 {
				err = s.Update(func(tx *Tx) error {
					volumes[i] = tx.CreateVolume()
					return tx.Drop(v)
				})
			}
		case 4, 5:
			err = tryWrite(s, v, PageNo(rng.IntN(2000)), common)
		case 6:
			err = tryWrite(s, v, PageNo(rng.IntN(2000)), bytes.Repeat([]byte("text "), 2048)[:8192])
		default:
			err = tryWrite(s, v, PageNo(rng.IntN(2000)), randomBytes(rng, (1+rng.IntN(24))*PageSize))
		}
		if err != nil && !errors.Is(err, ErrNoVolume) {
			t.Errorf("writer: %v", err)
			return
		}
	}
}
