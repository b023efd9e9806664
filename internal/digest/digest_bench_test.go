package digest

import (
	"crypto/rand"
	"fmt"
	"testing"
)

func BenchmarkSum(b *testing.B) {
	for _, n := range []int{512, 4096, 65536, 1 << 20} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			p := make([]byte, n)
			rand.Read(p)
			h := NewHasher(Key{1})
			var d Digest
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				h.Sum(&d, p)
			}
		})
	}
}
