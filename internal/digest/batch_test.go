package digest_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"pagevault/internal/digest"
)

// TestBatch adds inputs of random lengths, often several of the same, and wants what Sum says of each.
func TestBatch(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	h := digest.NewHasher(digest.Key{5})
	lengths := []int{1, 512, 1024, 2048, 3 << 10, 4096, 4097, 8192, 65536, 1 << 20}
	data := make([]byte, 1<<20)
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	var b digest.Batch
	for round := range 200 {
		n := lengths[r.IntN(len(lengths))]
		got := make([]digest.Digest, 1+r.IntN(40))
		inputs := make([][]byte, len(got))
		for i := range got {
			if r.IntN(20) == 0 {
				n = lengths[r.IntN(len(lengths))]
			}
			off := r.IntN(len(data) - n + 1)
			inputs[i] = data[off : off+n]
			b.Add(h, &got[i], inputs[i])
		}
		b.Flush(h)
		for i, p := range inputs {
			var want digest.Digest
			if h.Sum(&want, p); got[i] != want {
				t.Fatalf("round %d, input %d of %d, %d bytes: %v, want %v", round, i, len(got), len(p), got[i], want)
			}
		}
	}
}

func BenchmarkBatch(b *testing.B) {
	for _, n := range []int{4096, 65536} {
		for _, count := range []int{1, 3, 4, 7, 8, 16} {
			b.Run(fmt.Sprintf("%dx%d", count, n), func(b *testing.B) {
				p := make([]byte, n*count)
				h := digest.NewHasher(digest.Key{1})
				var batch digest.Batch
				to := make([]digest.Digest, count)
				b.SetBytes(int64(len(p)))
				b.ReportAllocs()
				for b.Loop() {
					for i := range to {
						batch.Add(h, &to[i], p[i*n:][:n])
					}
					batch.Flush(h)
				}
			})
		}
	}
}
