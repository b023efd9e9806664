package formatreader

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
)

// shardSet is the whole shards of one set.
type shardSet struct {
	k, m     int
	size     int // of a payload
	trailer  []byte
	payloads map[int][]byte // by index
}

// fromShards returns the bytes of a segment that is kept in shards; nil if fewer than K of any set are whole.
func (s *Store) fromShards(number uint32) ([]byte, error) {
	sets := map[string]*shardSet{}
	var best *shardSet
	for _, m := range s.members {
		names, err := filepath.Glob(filepath.Join(m.dir, segmentName(number)+".rs[0-9][0-9]"))
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			p, err := os.ReadFile(name)
			if err != nil {
				return nil, err
			}
			addShard(sets, p, number, s.id)
		}
	}
	for _, set := range sets {
		if best == nil || len(set.payloads)-set.k > len(best.payloads)-best.k {
			best = set
		}
	}
	if best == nil || len(best.payloads) < best.k {
		return nil, nil
	}
	return best.segment()
}

// addShard adds a shard to its set, if it is whole.
func addShard(sets map[string]*shardSet, p []byte, number uint32, id [16]byte) {
	if head(p, "PVSHARDS", 1) != nil || len(p) < 128 || head(p[64:128], "PVSEGEND", 1) != nil {
		return
	}
	k, m, index, size := int(p[32]), int(p[33]), int(p[34]), int(binary.LittleEndian.Uint32(p[36:]))
	blocks := (size + 65535) / 65536
	switch {
	case binary.LittleEndian.Uint32(p[12:]) != number || [16]byte(p[16:]) != id || k < 1 || m < 1 || index >= k+m:
		return
	case len(p) != 128+size+4*blocks+4 || crc(p[:60], p[64:124], p[128+size:len(p)-4]) != binary.LittleEndian.Uint32(p[len(p)-4:]):
		return
	case size != ((int(binary.LittleEndian.Uint32(p[64+52:]))+k-1)/k+63)&^63:
		return
	}
	payload := p[128 : 128+size]
	for b := range blocks {
		if crc(payload[b*65536:min(size, (b+1)*65536)]) != binary.LittleEndian.Uint32(p[128+size+4*b:]) {
			return
		}
	}
	same := string(p[:34]) + string(p[35:60]) + string(p[64:128]) // all of the frame but the index and its CRC
	if sets[same] == nil {
		sets[same] = &shardSet{k: k, m: m, size: size, trailer: p[64:128], payloads: map[int][]byte{}}
	}
	sets[same].payloads[index] = payload
}

// segment returns the bytes of the segment.
func (x *shardSet) segment() ([]byte, error) {
	g := product(vandermonde(x.k+x.m, x.k), inverse(vandermonde(x.k, x.k)))
	var rows, there [][]byte
	for i := range x.k + x.m {
		if p := x.payloads[i]; p != nil && len(rows) < x.k {
			rows, there = append(rows, g[i]), append(there, p)
		}
	}
	decode := inverse(rows)
	if decode == nil {
		return nil, errors.New("the rows of the shards have no inverse")
	}
	var out []byte
	for i := range x.k {
		out = append(out, combine(decode[i], there)...)
	}
	out = out[:binary.LittleEndian.Uint32(x.trailer[52:])]
	if string(out[len(out)-64:]) != string(x.trailer) {
		return nil, errors.New("the shards make up another segment than their frames say")
	}
	return out, nil
}

// combine returns the sum of the columns, each times its factor, byte by byte.
func combine(factors []byte, columns [][]byte) []byte {
	sum := make([]byte, len(columns[0]))
	for i, f := range factors {
		var times [256]byte
		for b := range times {
			times[b] = mul(f, byte(b))
		}
		for at, b := range columns[i] {
			sum[at] ^= times[b]
		}
	}
	return sum
}

// mul multiplies in the field of 256 elements, modulo x⁸+x⁴+x³+x²+1.
func mul(a, b byte) (p byte) {
	for ; b != 0; b >>= 1 {
		if b&1 != 0 {
			p ^= a
		}
		carry := a&0x80 != 0
		if a <<= 1; carry {
			a ^= 0x1d
		}
	}
	return p
}

// vandermonde returns the matrix with r to the power c in row r, column c.
func vandermonde(rows, columns int) [][]byte {
	m := make([][]byte, rows)
	for r := range m {
		m[r] = make([]byte, columns)
		power := byte(1)
		for c := range m[r] {
			m[r][c] = power
			power = mul(power, byte(r))
		}
	}
	return m
}

func product(a, b [][]byte) [][]byte {
	out := make([][]byte, len(a))
	for r := range a {
		out[r] = make([]byte, len(b[0]))
		for c := range out[r] {
			for i := range b {
				out[r][c] ^= mul(a[r][i], b[i][c])
			}
		}
	}
	return out
}

// inverse returns the inverse of a square matrix, nil if it has none.
func inverse(m [][]byte) [][]byte {
	n := len(m)
	w := make([][]byte, n) // m and beside it the unit matrix
	for r := range w {
		w[r] = append(append([]byte{}, m[r]...), make([]byte, n)...)
		w[r][n+r] = 1
	}
	for c := range n {
		pivot := c
		for pivot < n && w[pivot][c] == 0 {
			pivot++
		}
		if pivot == n {
			return nil
		}
		w[c], w[pivot] = w[pivot], w[c]
		scale(w[c], reciprocal(w[c][c]))
		for r := range n {
			if f := w[r][c]; r != c && f != 0 {
				for i := range w[r] {
					w[r][i] ^= mul(f, w[c][i])
				}
			}
		}
	}
	for r := range w {
		w[r] = w[r][n:]
	}
	return w
}

func scale(row []byte, f byte) {
	for i := range row {
		row[i] = mul(row[i], f)
	}
}

// reciprocal returns the element that times a is 1.
func reciprocal(a byte) byte {
	for b := 1; b < 256; b++ {
		if mul(a, byte(b)) == 1 {
			return byte(b)
		}
	}
	return 0
}
