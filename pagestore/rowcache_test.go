package pagestore

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/internal/testkit"
	"pagevault/pagestore/pagemap"
)

// TestRowCache has some read while another writes: rows, pages of one region and pages of many, all of the same number in
// every update. Each picture shows one number, however often and by however many it is asked, with and without a cache.
func TestRowCache(t *testing.T) {
	seed := testkit.Seed(t)
	for _, after := range []int64{-1, 5, 1 << 40} {
		t.Run(fmt.Sprint(after), func(t *testing.T) {
			o := testOptions(vfs.NewMem(), 1)
			o.keepRows = after
			s := openTest(t, o)
			vol := newVolume(t, s)
			const pages = 2*pagemap.RegionPages + 5
			done := make(chan struct{})
			var readers sync.WaitGroup
			for w := range uint64(3) {
				readers.Go(func() {
					rng := rand.New(rand.NewPCG(seed, w))
					for {
						select {
						case <-done:
							return
						default:
							withView(t, s, func(v *View) { wantOneNumber(t, v, vol, pages, rng) })
						}
					}
				})
			}
			for n := range 200 {
				c, err := s.Prepare(0, bytes.Repeat([]byte{byte(n)}, pages*PageSize))
				if err != nil {
					t.Fatal(err)
				}
				update(t, s, func(tx *Tx) error {
					for _, key := range []string{"a", "b"} {
						tx.Set([]byte(key), bytes.Repeat([]byte{byte(n)}, 3))
					}
					if n%7 == 0 {
						if _, err := tx.Freeze(vol); err != nil {
							return err
						}
					}
					return tx.Write(vol, c)
				})
				c.Release()
			}
			close(done)
			readers.Wait()
		})
	}
}

func wantOneNumber(t *testing.T, v *View, vol VolumeID, pages int, rng *rand.Rand) {
	row, ok, err := v.Get([]byte("a"))
	if err != nil {
		t.Error(err)
	}
	if !ok { // before the first update
		row = []byte{0}
	}
	for range 20 {
		other, there, err := v.Get([]byte{"ab"[rng.IntN(2)]})
		if err != nil || there != ok || ok && !bytes.Equal(other, row) {
			t.Errorf("rows %x and %x, %v", row, other, err)
		}
		if none, there, err := v.Get([]byte("none")); none != nil || there || err != nil {
			t.Errorf("a row that is not there: %x, %v", none, err)
		}
		first := rng.IntN(pages)
		got := make([]byte, (1+rng.IntN(min(pages-first, 9)))*PageSize)
		if err := v.Read(vol, GenHead, PageNo(first), got); err != nil {
			t.Error(err)
		}
		if want := bytes.Repeat(row[:1], len(got)); !bytes.Equal(got, want) {
			t.Errorf("page %d has %x where the rows have %x", first, got[0], row)
		}
	}
}

// TestRowCacheGenerations reads one region at the head and at two frozen generations, in one view and again and again: each
// shows what it did the first time, and after that no row is looked for in the index.
func TestRowCacheGenerations(t *testing.T) {
	o := testOptions(vfs.NewMem(), 1)
	o.keepRows = -1
	s := openTest(t, o)
	vol := newVolume(t, s)
	var gens []Gen
	for n := byte(1); n <= 3; n++ {
		write(t, s, vol, PageNo(n), bytes.Repeat([]byte{n}, 2*PageSize)) // over the second half of the one before
		update(t, s, func(tx *Tx) error {
			g, err := tx.Freeze(vol)
			gens = append(gens, g)
			return err
		})
	}
	gens[2] = GenHead
	want := []string{"01100", "01220", "01233"} // pages 0 to 4 of each
	withView(t, s, func(v *View) {
		missed := int64(0)
		for round := range 3 {
			for i, g := range gens {
				got := make([]byte, 5*PageSize)
				if err := v.Read(vol, g, 0, got); err != nil {
					t.Fatal(err)
				}
				shown := ""
				for p := range 5 {
					shown += fmt.Sprint(got[p*PageSize])
				}
				if shown != want[i] {
					t.Errorf("round %d, generation %d: %s, want %s", round, g, shown, want[i])
				}
			}
			if n := v.p.rows.missed.Load(); round == 0 {
				missed = n
			} else if n != missed {
				t.Errorf("round %d: %d rows were looked for in the index", round, n-missed)
			}
		}
	})
}

// TestRowCacheBound: what is kept does not grow beyond its bound, what was kept is found, and nothing is after drop.
func TestRowCacheBound(t *testing.T) {
	c := rowCache{after: -1}
	value := make([]byte, 1000)
	bytesKept := func() (n int) {
		for i := range c.shards {
			kept := 0
			for k, v := range c.shards[i].mu.rows {
				kept += len(k) + len(v) + rowCacheCost
			}
			if kept != c.shards[i].mu.bytes {
				t.Errorf("a shard of %d bytes counts %d", kept, c.shards[i].mu.bytes)
			}
			n += kept
		}
		return n
	}
	for i := range 2 * rowCacheBytes / len(value) {
		key := fmt.Appendf(nil, "key %d", i)
		c.keep(key, value)
		if got, known := c.find(key); !known || &got[0] != &value[0] {
			t.Fatalf("row %d was not kept", i)
		}
	}
	if n := bytesKept(); n > rowCacheBytes || n < rowCacheBytes/2 {
		t.Errorf("%d bytes are kept", n)
	}
	c.drop()
	c.keep([]byte("late"), value)
	if n := rowsKept(&c); n != 0 {
		t.Errorf("%d rows after all were let go", n)
	}
}

func rowsKept(c *rowCache) (rows int) {
	for i := range c.shards {
		rows += len(c.shards[i].mu.rows)
	}
	return rows
}
