package pagestore

import (
	"bytes"
	"math/rand/v2"
	"sync"
	"testing"

	"pagevault/internal/testkit"
	framing "pagevault/pagestore/frame"
	"pagevault/pagestore/pagemap"
)

// frameOf returns what frame id holds in a test, all of its blocks that are present.
func frameOf(id pagemap.FrameID, present uint16) []byte {
	p := make([]byte, 0, framing.MaxBytes)
	for b := range 16 {
		if present>>b&1 != 0 {
			p = append(p, bytes.Repeat([]byte{byte(id), byte(b), byte(id >> 8), 7}, pagemap.ChunkBytes/4)...)
		}
	}
	return p
}

// TestFrameCache adds and reads frames that lose blocks as time goes by, from several goroutines. What is found is right,
// what was used lately is found, and no more is kept than is meant to be.
func TestFrameCache(t *testing.T) {
	const frames = 2 * cacheShards * shardFrames
	var c frameCache
	seed := testkit.Seed(t)
	presentAt := func(rng *rand.Rand) uint16 { return []uint16{0xffff, 0xfff0, 0x0ff0}[rng.IntN(3)] }
	var wg sync.WaitGroup
	for w := range uint64(4) {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, w))
			got := make([]byte, framing.MaxBytes)
			for range 3000 {
				id := pagemap.FrameID(1 + rng.IntN(frames))
				present := presentAt(rng)
				h := framing.Header{Pages: framing.MaxPages, Present: present}
				from := 4*pagemap.ChunkPages + rng.IntN(60)
				if present == 0xffff {
					from = rng.IntN(100)
				}
				dst := got[:(1+rng.IntN(4))*PageSize]
				if c.read(dst, id, &h, from) {
					if all := frameOf(id, 0xffff); !bytes.Equal(dst, all[from*PageSize:][:len(dst)]) {
						t.Errorf("frame %d from page %d: wrong bytes", id, from)
						return
					}
					continue
				}
				if spare := c.add(id, present, frameOf(id, present)); spare != nil && len(spare) != framing.MaxBytes {
					t.Errorf("spare memory of %d bytes", len(spare))
					return
				}
			}
		})
	}
	wg.Wait()
	for i := range c.shards {
		if n := len(c.shards[i].frames); n != shardFrames {
			t.Errorf("shard %d keeps %d frames", i, n)
		}
	}
	h := framing.Header{Pages: framing.MaxPages, Present: 0xffff}
	page := make([]byte, PageSize)
	for id := pagemap.FrameID(1); id <= cacheShards*shardFrames; id++ {
		c.add(id, 0xffff, frameOf(id, 0xffff))
	}
	for id := pagemap.FrameID(1); id <= cacheShards*shardFrames; id++ {
		if !c.read(page, id, &h, 5) {
			t.Fatalf("frame %d was forgotten", id)
		}
	}
	c.add(cacheShards*shardFrames+1, 0xffff, frameOf(1, 0xffff))
	if c.read(page, 1, &h, 5) || !c.read(page, 1+cacheShards, &h, 5) {
		t.Fatal("not the frame that was used least lately was forgotten")
	}
	c.add(2, 0xfffe, frameOf(2, 0xfffe))
	if c.read(page, 2, &h, 5) {
		t.Fatal("a page of a block that is not there")
	}
}
