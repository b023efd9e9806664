package bench

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// TestFreshDataNeverRepeats writes requests of mixed sizes from several buffers and looks for any 4 KiB seen before.
func TestFreshDataNeverRepeats(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	src := newSource(seed)
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
	src := newSource(1)
	one, two := src.writeBuffer(), src.writeBuffer()
	src.stamp(two, streamRead, 99, requestMax)
	want := bytes.Clone(src.stamp(one, streamSeen, 5, requestMax))
	if !bytes.Equal(src.stamp(two, streamSeen, 5, requestMax), want) {
		t.Error("the same request differs from one buffer to the next")
	}
	if bytes.Equal(src.stamp(two, streamSeen, 6, requestMax), want) || bytes.Equal(src.stamp(two, streamRead, 5, requestMax), want) {
		t.Error("different requests are equal")
	}
	other := newSource(2)
	if bytes.Equal(other.stamp(other.writeBuffer(), streamSeen, 5, requestMax), want) {
		t.Error("two runs have the same data")
	}
}

// TestStampedPiece: a read anywhere in the stored data knows what it must begin with.
func TestStampedPiece(t *testing.T) {
	src := newSource(3)
	p := src.stamp(src.writeBuffer(), streamRead, 7, requestMax)
	for piece := uint64(0); piece < requestMax/stampEvery; piece += 341 {
		off := piece * stampEvery
		if at := 7*requestMax/stampEvery + piece; !src.stamped(p[off:], streamRead, at) || src.stamped(p[off:], streamRead, at+1) {
			t.Errorf("the piece at %d is not known to be number %d", off, at)
		}
	}
}

// TestSmallRequestsHaveNothingInCommon: what is random in one 4 KiB is not what is random in the next, so that nobody
// can compress a group of them.
func TestSmallRequestsHaveNothingInCommon(t *testing.T) {
	src := newSource(4)
	buf := src.writeBuffer()
	a := bytes.Clone(src.next(buf, stampEvery))
	b := src.next(buf, stampEvery)
	if bytes.Contains(b, a[stampBytes:stampBytes+64]) {
		t.Error("two requests share their random part")
	}
}

func BenchmarkNewData4MiB(b *testing.B) {
	src := newSource(5)
	buf := src.writeBuffer()
	b.SetBytes(requestMax)
	for b.Loop() {
		src.next(buf, requestMax)
	}
}
