// Package lanes computes the keyed BLAKE3 hash of up to sixteen inputs of the same length at once: each vector register holds
// one word of all of them, or of eight where the processor has AVX2 and not AVX-512. A single input of 4 KiB cannot fill such
// registers, since BLAKE3 can only work on its four chunks at a time.
//
// The construction, with its flags, is that of the BLAKE3 paper, sections 2.1 to 2.4. Everything is checked against a
// library's hash in the tests.
package lanes

import "encoding/binary"

// Count is how many inputs are hashed at once at most.
const Count = 16

// ChunkBytes is the length of BLAKE3's chunks, the leaves of its tree.
const ChunkBytes = 1 << 10

// MaxBytes is the length of the longest input.
const MaxBytes = ChunkBytes << (depthMax - 1)

// depthMax bounds the nodes that wait for their sibling, and so the length of inputs.
const depthMax = 8

// Flags of BLAKE3's compression function; those of a chunk's first and last block are the assembly's.
const (
	flagParent = 1 << 2
	flagRoot   = 1 << 3
	flagKeyed  = 1 << 4
)

// words is a chaining value of every input: word, then input.
type words [8][Count]uint32

// Key is a BLAKE3 key in the words that the compression function takes.
type Key [8]uint32

// NewKey returns k as a Key.
func NewKey(k *[32]byte) (key Key) {
	for i := range key {
		key[i] = binary.LittleEndian.Uint32(k[4*i:])
	}
	return key
}

// Fit reports whether Sum can hash inputs of n bytes here: the processor has the instructions for it, and n is a whole number
// of chunks, more than one and MaxBytes at most.
func Fit(n int) bool {
	return available() && n%ChunkBytes == 0 && n > ChunkBytes && n <= MaxBytes
}

// Pays reports whether count inputs of n bytes Fit and are hashed faster here than one after the other by a library, which works
// on four or eight chunks of an input at a time. BenchmarkSum here and in package digest are where the numbers are from.
func Pays(count, n int) bool { return Fit(n) && count >= fewest(n) }

// Sums are the hashes of all inputs.
type Sums words

// Word returns word i of eight of the hash of one input. In bytes it is little-endian.
func (s *Sums) Word(i, input int) uint32 { return s[i][input] }

// Sum hashes the first used inputs, of n bytes each, which must Fit. The others are read, too, and may be any of the first.
func Sum(sums *Sums, key *Key, inputs *[Count]*byte, used, n int) {
	var m scratch
	var waiting [depthMax]words // nodes of the tree without their right siblings, from the top down
	depth := 0
	node := (*words)(sums)
	last := n/ChunkBytes - 1
	for i := range last {
		chunk(node, inputs, used, uint64(i)*ChunkBytes, key, uint32(i), flagKeyed, &m)
		for whole := i + 1; whole&1 == 0; whole >>= 1 {
			depth--
			parent(node, &waiting[depth], node, used, key, flagKeyed|flagParent, &m)
		}
		waiting[depth] = *node
		depth++
	}
	chunk(node, inputs, used, uint64(last)*ChunkBytes, key, uint32(last), flagKeyed, &m)
	for depth > 0 {
		depth--
		flags := uint32(flagKeyed | flagParent)
		if depth == 0 {
			flags |= flagRoot
		}
		parent(node, &waiting[depth], node, used, key, flags, &m)
	}
}
