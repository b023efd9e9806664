package pagestore

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/pagestore/pagemap"
)

// change is what Diff yields.
type change struct {
	pages   Range
	cleared bool
}

func changesBetween(t *testing.T, v *View, vol VolumeID, since, g Gen, within Range, most int) (list []change) {
	t.Helper()
	if err := v.diff(vol, since, g, within, most, func(r Range, cleared bool) bool {
		list = append(list, change{r, cleared})
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return list
}

// TestDiffWindows: however few regions may be gathered at once, the changes are the same, of regions side by side and far apart,
// written, cleared and cut off in several generations. What they are is shown by TestModel.
func TestDiffWindows(t *testing.T) {
	const regions = 200
	s := openTest(t, testOptions(vfs.NewMem(), 1))
	vol := newVolume(t, s)
	dice := rand.New(rand.NewPCG(1, 2))
	place := func() PageNo { // some lie in a heap, others up to a TiB away
		no := dice.Uint64N(regions)
		if dice.IntN(3) == 0 {
			no *= 80_000
		}
		return PageNo(no * pagemap.RegionPages)
	}
	var gens []Gen
	for range 7 {
		for range 60 {
			at := place()
			switch dice.IntN(8) {
			case 0:
				update(t, s, func(tx *Tx) error { return tx.Clear(vol, Range{at, at + 5*pagemap.RegionPages + 3}) })
			case 1:
				if dice.IntN(6) == 0 {
					update(t, s, func(tx *Tx) error { return tx.Truncate(vol, at) })
				}
			default:
				write(t, s, vol, at+PageNo(dice.IntN(pagemap.RegionPages)), randomBytes(dice, PageSize*(1+dice.IntN(300))))
			}
		}
		update(t, s, func(tx *Tx) error {
			g, err := tx.Freeze(vol)
			gens = append(gens, g)
			return err
		})
	}
	v, err := s.View()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	all := 0
	for i, since := range gens {
		for _, g := range gens[i+1:] {
			for _, within := range []Range{{0, 1 << 31}, {7, 90 * pagemap.RegionPages}} {
				want := changesBetween(t, v, vol, since, g, within, diffTouchedMax)
				all += len(want)
				for _, most := range []int{1, 2, 3, 7, 64} {
					if got := changesBetween(t, v, vol, since, g, within, most); !slices.Equal(got, want) {
						t.Fatalf("from %d to %d within %v, %d at once: %d changes, want %d", since, g, within, most, len(got), len(want))
					}
				}
			}
		}
	}
	if all < 1000 {
		t.Errorf("only %d changes", all)
	}
}
