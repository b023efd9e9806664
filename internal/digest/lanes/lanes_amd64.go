package lanes

import "golang.org/x/sys/cpu"

//go:generate sh -c "go run ./gen > lanes_amd64.s"

// wide and narrow say what this processor can do. Tests take wide away.
var wide, narrow = cpu.X86.HasAVX512F, cpu.X86.HasAVX2

func available() bool { return wide || narrow }

// fewest returns for how many inputs of n bytes it pays to hash them at once.
func fewest(n int) int {
	few := n <= 4*ChunkBytes // a library cannot fill its registers
	switch {
	case wide && few:
		return 3
	case wide:
		return 7
	case few:
		return 4
	}
	return Count + 1 // as fast, but for its copies
}

// half is how many inputs the narrow functions work on.
const half = Count / 2

// scratch is memory for the narrow functions: the message of a block, and one more vector.
type scratch [17][half]uint32

// chunk hashes the chunk at off of each input, the one numbered counter of its input; of the first used inputs at least.
func chunk(out *words, in *[Count]*byte, used int, off uint64, key *Key, counter uint32, flags uint32, m *scratch) {
	if wide {
		chunk16(out, in, off, key, counter, flags)
		return
	}
	for i := 0; i < used; i += half {
		chunk8(&out[0][i], &in[i], off, key, counter, flags, m)
	}
}

// parent joins two nodes into the one above them. out may be one of them.
func parent(out, left, right *words, used int, key *Key, flags uint32, m *scratch) {
	if wide {
		parent16(out, left, right, key, flags)
		return
	}
	for i := 0; i < used; i += half {
		parent8(&out[0][i], &left[0][i], &right[0][i], key, flags, m)
	}
}

//go:noescape
func chunk16(out *words, in *[Count]*byte, off uint64, key *Key, counter uint32, flags uint32)

//go:noescape
func parent16(out, left, right *words, key *Key, flags uint32)

//go:noescape
func chunk8(out *uint32, in **byte, off uint64, key *Key, counter uint32, flags uint32, m *scratch)

//go:noescape
func parent8(out, left, right *uint32, key *Key, flags uint32, m *scratch)
