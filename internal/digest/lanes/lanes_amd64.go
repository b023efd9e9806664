package lanes

import "golang.org/x/sys/cpu"

//go:generate sh -c "go run ./gen > lanes_amd64.s"

var available = cpu.X86.HasAVX512F

// chunk hashes the chunk at off of each input, the one numbered counter of its input.
//
//go:noescape
func chunk(out *words, in *[Count]*byte, off uint64, key *Key, counter uint32, flags uint32)

// parent joins two nodes into the one above them. out may be one of them.
//
//go:noescape
func parent(out, left, right *words, key *Key, flags uint32)
