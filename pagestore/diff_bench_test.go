package pagestore

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"pagevault/pagestore/pagemap"
)

// BenchmarkDiff asks what changed in 288 regions of a volume of 1 TiB in which so many were written, 64 at a time.
func BenchmarkDiff(b *testing.B) {
	for _, regions := range []int{576, 9984, 160_000} {
		b.Run(fmt.Sprint(regions), func(b *testing.B) {
			s := openBench(b)
			vol := newVolume(b, s)
			dice := rand.New(rand.NewPCG(1, 2))
			data := randomBytes(dice, 64*pagemap.RegionBytes)
			at := func(region int) PageNo { return PageNo(region/64)*131072 + PageNo(region%64)*pagemap.RegionPages }
			for r := 0; r < regions; r += 64 {
				write(b, s, vol, at(r), data)
			}
			var gens [2]Gen
			for i := range gens {
				for _, r := range dice.Perm(regions)[:288] {
					write(b, s, vol, at(r)+PageNo(dice.IntN(pagemap.RegionPages)), data[:PageSize])
				}
				if err := s.Update(func(tx *Tx) (err error) {
					gens[i], err = tx.Freeze(vol)
					return err
				}); err != nil {
					b.Fatal(err)
				}
			}
			view, err := s.View()
			if err != nil {
				b.Fatal(err)
			}
			defer view.Close()
			b.ReportAllocs()
			for b.Loop() {
				n := 0
				if err := view.Diff(vol, gens[0], gens[1], Range{0, 1 << 31}, func(Range, bool) bool { n++; return true }); err != nil || n < 200 {
					b.Fatal(n, err)
				}
			}
		})
	}
}
