package stripe

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
)

// The code again, from its description in docs/on-disk-format.md alone: shards on disks outlive the library that made them.

// mul multiplies in the field of 256 elements.
func mul(a, b byte) (p byte) {
	for ; b > 0; b >>= 1 {
		if b&1 == 1 {
			p ^= a
		}
		carry := a&0x80 != 0
		a <<= 1
		if carry {
			a ^= 0x1d
		}
	}
	return p
}

func pow(a byte, n int) byte {
	p := byte(1)
	for range n {
		p = mul(p, a)
	}
	return p
}

func inverse(a byte) byte { return pow(a, 254) }

// parityRows returns the rows K … K+M−1 of the matrix.
func parityRows(k, m int) [][]byte {
	rows := make([][]byte, k+m)
	for r := range rows {
		rows[r] = make([]byte, k)
		for c := range rows[r] {
			rows[r][c] = pow(byte(r), c)
		}
	}
	// Operations on columns that make the first K rows the unit matrix multiply the whole by their inverse.
	for c := range k {
		pivot := c
		for rows[c][pivot] == 0 {
			pivot++
		}
		for _, row := range rows {
			row[c], row[pivot] = row[pivot], row[c]
		}
		scale := inverse(rows[c][c])
		for _, row := range rows {
			row[c] = mul(row[c], scale)
		}
		for other := range k {
			if f := rows[c][other]; other != c && f != 0 {
				for _, row := range rows {
					row[other] ^= mul(f, row[c])
				}
			}
		}
	}
	return rows[k:]
}

// TestCode compares parity with that of the description.
func TestCode(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var codes Codes
	for _, km := range [][2]int{{1, 1}, {2, 1}, {4, 2}, {3, 3}, {10, 4}, {17, 3}, {60, 4}} {
		k, m := km[0], km[1]
		code, err := codes.Get(k, m)
		if err != nil {
			t.Fatal(err)
		}
		shards := randomShards(rng, k, m, 100)
		if err := code.Encode(shards); err != nil {
			t.Fatal(err)
		}
		for j, row := range parityRows(k, m) {
			want := make([]byte, 100)
			for c := range k {
				for x := range want {
					want[x] ^= mul(row[c], shards[c][x])
				}
			}
			if !bytes.Equal(want, shards[k+j]) {
				t.Errorf("%d+%d: parity shard %d is not as described", k, m, j)
			}
		}
	}
}

func randomShards(rng *rand.Rand, k, m, n int) [][]byte {
	shards := make([][]byte, k+m)
	for i := range shards {
		shards[i] = make([]byte, n)
		for x := range shards[i] {
			shards[i][x] = byte(rng.Uint32())
		}
	}
	return shards
}

// TestReconstruct: any M shards can be lost, and no more; only what is wanted is computed.
func TestReconstruct(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var codes Codes
	for _, km := range [][2]int{{2, 1}, {4, 2}, {3, 3}} {
		k, m := km[0], km[1]
		code, err := codes.Get(k, m)
		if err != nil {
			t.Fatal(err)
		}
		shards := randomShards(rng, k, m, 64)
		if err := code.Encode(shards); err != nil {
			t.Fatal(err)
		}
		if ok, err := code.Verify(shards); err != nil || !ok {
			t.Fatalf("%d+%d: %v %v", k, m, ok, err)
		}
		for lost := range 1 << (k + m) {
			n := 0
			left, want := make([][]byte, k+m), make([]bool, k+m)
			for i := range left {
				if lost>>i&1 == 1 {
					n, want[i] = n+1, true
				} else {
					left[i] = shards[i]
				}
			}
			err := code.Reconstruct(left, want)
			if n > m {
				if !errors.Is(err, ErrTooFew) && n < k+m {
					t.Fatalf("%d+%d without %b: %v", k, m, lost, err)
				}
				continue
			}
			for i := range left {
				if err != nil || !bytes.Equal(left[i], shards[i]) {
					t.Fatalf("%d+%d without %b: shard %d differs, %v", k, m, lost, i, err)
				}
			}
		}
		shards[k][5] ^= 1
		if ok, err := code.Verify(shards); err != nil || ok {
			t.Errorf("%d+%d: wrong parity passes: %v %v", k, m, ok, err)
		}
	}
	for _, km := range [][2]int{{0, 1}, {1, 0}, {-1, 2}, {60, 5}} {
		if _, err := codes.Get(km[0], km[1]); err == nil {
			t.Errorf("there is a code of %d+%d", km[0], km[1])
		}
	}
}

func TestParts(t *testing.T) {
	f := func(shardBytes, off int64, n int, want string) {
		t.Helper()
		var got []Part
		for p := range Parts(shardBytes, off, n) {
			got = append(got, p)
		}
		if fmt.Sprint(got) != want {
			t.Errorf("[%d, %d) in shards of %d: %v, wanted %v", off, off+int64(n), shardBytes, got, want)
		}
	}
	f(100, 0, 10, "[{0 0 0 10}]")
	f(100, 90, 10, "[{0 90 0 10}]")
	f(100, 90, 11, "[{0 90 0 10} {1 0 10 1}]") // over a boundary
	f(100, 100, 10, "[{1 0 0 10}]")
	f(100, 50, 300, "[{0 50 0 50} {1 0 50 100} {2 0 150 100} {3 0 250 50}]")
	f(100, 7, 0, "[]")
}
