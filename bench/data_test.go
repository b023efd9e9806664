package bench

import (
	"bytes"
	"compress/flate"
	"math/rand/v2"
	"testing"
)

// TestFreshDataNeverRepeats writes requests of mixed sizes from several buffers and looks for any 4 KiB seen before.
func TestFreshDataNeverRepeats(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	src := newSource(seed, Mix{}, 0)
	bufs := [][]byte{src.writeBuffer(), src.writeBuffer(), src.writeBuffer()}
	seen := make(map[string]bool)
	for range 200 {
		size := stampEvery << rng.IntN(6)
		p := src.next(bufs[rng.IntN(len(bufs))], size)
		if len(p) != size {
			t.Fatalf("%d bytes instead of %d", len(p), size)
		}
		for off := 0; off < size; off += stampEvery {
			piece := string(p[off : off+stampEvery])
			if seen[piece] {
				t.Fatalf("4 KiB at %d of a request of %d bytes were seen before", off, size)
			}
			seen[piece] = true
		}
	}
}

// TestStampReplays: the same stream and number give the same bytes in any buffer, whatever was in it before, and other
// streams, numbers and runs give others.
func TestStampReplays(t *testing.T) {
	src := newSource(1, Mix{}, 0)
	one, two := src.writeBuffer(), src.writeBuffer()
	src.stamp(two, streamRead, 99, requestMax)
	want := bytes.Clone(src.stamp(one, streamSeen, 5, requestMax))
	if !bytes.Equal(src.stamp(two, streamSeen, 5, requestMax), want) {
		t.Error("the same request differs from one buffer to the next")
	}
	if bytes.Equal(src.stamp(two, streamSeen, 6, requestMax), want) || bytes.Equal(src.stamp(two, streamRead, 5, requestMax), want) {
		t.Error("different requests are equal")
	}
	other := newSource(2, Mix{}, 0)
	if bytes.Equal(other.stamp(other.writeBuffer(), streamSeen, 5, requestMax), want) {
		t.Error("two runs have the same data")
	}
}

// TestStampedPiece: a read anywhere in the stored data knows what it must begin with.
func TestStampedPiece(t *testing.T) {
	src := newSource(3, Mix{}, 0)
	p := src.stamp(src.writeBuffer(), streamRead, 7, requestMax)
	for piece := uint64(0); piece < requestMax/stampEvery; piece += 341 {
		off := piece * stampEvery
		if at := int64(7*requestMax + off); !src.begins(p[off:], streamRead, at) || src.begins(p[off:], streamRead, at+stampEvery) {
			t.Errorf("the piece at %d is not known to be that at %d", off, at)
		}
	}
}

// TestMix: new data repeats as many pieces of what was stored as it should, bit for bit, is as compressible as it should
// be, and the rest is new.
func TestMix(t *testing.T) {
	const stored = 4 * requestMax
	src := newSource(8, Mix{Duplicate: 30, Compress: 4}, stored)
	buf := src.writeBuffer()
	seen := make(map[string]bool)
	for off := int64(0); off < stored; off += stampEvery {
		seen[string(src.part(buf, streamSeen, off, stampEvery))] = true
	}
	var sum, repeated, pieces int
	var all []byte
	for _, size := range []int{4096, 64 << 10, requestMax, 512} {
		for range 4 << 20 / size {
			p := src.next(buf, size)
			for off := 0; off+stampEvery <= size; off += stampEvery {
				if pieces++; seen[string(p[off:off+stampEvery])] {
					repeated++
				}
			}
			if size == 4096 {
				all = append(all, p...)
				sum += size
			}
		}
	}
	if share := 100 * repeated / pieces; share < 27 || share > 33 {
		t.Errorf("%d %% of %d pieces are repeated", share, pieces)
	}
	var b bytes.Buffer
	z, err := flate.NewWriter(&b, flate.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	z.Write(all)
	z.Close()
	if ratio := float64(sum) / float64(b.Len()); ratio < 3 || ratio > 5 {
		t.Errorf("compressible to 1/%.2f", ratio)
	}
}

// TestParts: any aligned part of a stream is what a whole request of it has there, also where it has no stamp.
func TestParts(t *testing.T) {
	src := newSource(9, Mix{}, 0)
	one, two := src.writeBuffer(), src.writeBuffer()
	for _, size := range []int{512, 2048, 4096, 1 << 20, requestMax} {
		whole := src.stamp(one, streamRead, 3, requestMax)
		src.next(two, 512) // leaves nothing behind
		for off := 0; off < requestMax; off += max(size, requestMax/64+size) / size * size {
			at := int64(3*requestMax + off)
			if p := src.part(two, streamRead, at, size); !bytes.Equal(p, whole[off:off+size]) || !src.begins(p, streamRead, at) {
				t.Fatalf("%d bytes at %d differ", size, off)
			}
		}
	}
}

// TestSmallRequestsHaveNothingInCommon: what is random in one 4 KiB is not what is random in the next, so that nobody
// can compress a group of them.
func TestSmallRequestsHaveNothingInCommon(t *testing.T) {
	src := newSource(4, Mix{}, 0)
	buf := src.writeBuffer()
	a := bytes.Clone(src.next(buf, stampEvery))
	b := src.next(buf, stampEvery)
	if bytes.Contains(b, a[stampBytes:stampBytes+64]) {
		t.Error("two requests share their random part")
	}
}

func BenchmarkNewData4MiB(b *testing.B) {
	src := newSource(5, Mix{}, 0)
	buf := src.writeBuffer()
	b.SetBytes(requestMax)
	for b.Loop() {
		src.next(buf, requestMax)
	}
}
