package lanes_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/zeebo/blake3"

	"pagevault/internal/digest/lanes"
)

// TestSum compares every length that fits with a library's hash, for inputs that differ and keys that differ.
func TestSum(t *testing.T) {
	testSum(t)
	t.Run("Narrow", func(t *testing.T) { lanes.Narrow(func() { testSum(t) }) })
}

func testSum(t *testing.T) {
	fits := false
	r := rand.New(rand.NewPCG(1, 2))
	all := make([]byte, 4*lanes.MaxBytes)
	fill(r, all)
	for n := 0; n <= lanes.MaxBytes+lanes.ChunkBytes; n += lanes.ChunkBytes {
		if !lanes.Fit(n) {
			continue
		}
		fits = true
		var raw [32]byte
		fill(r, raw[:])
		key := lanes.NewKey(&raw)
		var inputs [lanes.Count]*byte
		var data [lanes.Count][]byte
		for i := range inputs {
			data[i] = all[r.IntN(len(all)-n):][:n] // at any alignment
			inputs[i] = &data[i][0]
		}
		var sums lanes.Sums
		used := 1 + r.IntN(lanes.Count)
		lanes.Sum(&sums, &key, &inputs, used, n)
		for i, p := range data[:used] {
			h, err := blake3.NewKeyed(raw[:])
			if err != nil {
				t.Fatal(err)
			}
			h.Write(p)
			var got []byte
			for w := range 8 {
				got = binary.LittleEndian.AppendUint32(got, sums.Word(w, i))
			}
			if want := h.Sum(nil); string(got) != string(want) {
				t.Fatalf("%d bytes, input %d: %x, want %x", n, i, got, want)
			}
		}
	}
	if pays := lanes.Pays(lanes.Count, 4096); pays != fits {
		t.Errorf("hashing at once pays: %v, inputs fit: %v", pays, fits)
	}
}

func fill(r *rand.Rand, p []byte) {
	for i := range p {
		p[i] = byte(r.Uint32())
	}
}

func BenchmarkSum(b *testing.B) {
	benchmarkSum(b)
	b.Run("narrow", func(b *testing.B) { lanes.Narrow(func() { benchmarkSum(b) }) })
}

func benchmarkSum(b *testing.B) {
	for _, n := range []int{4096, 65536} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			data := make([]byte, lanes.Count*n)
			fill(rand.New(rand.NewPCG(1, 2)), data)
			var inputs [lanes.Count]*byte
			for i := range inputs {
				inputs[i] = &data[i*n]
			}
			var key lanes.Key
			var sums lanes.Sums
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				lanes.Sum(&sums, &key, &inputs, lanes.Count, n)
			}
		})
	}
}
