// Package digest names content: a Digest is the first 20 bytes of the keyed BLAKE3 hash of some bytes. Keying makes the
// names of one store meaningless to another, so that nobody can learn from a name what somebody else has stored.
package digest

import (
	"encoding/hex"
	"sync"

	"github.com/zeebo/blake3"

	"pagevault/internal/digest/lanes"
)

// Size is the length of a Digest in bytes. 160 bits: among 2^40 chunks, 4 PiB, two share a name with a chance of 2^-81,
// and whoever wants to make two that do does not know the key.
const Size = 20

// Digest is the name of some content within one store.
type Digest [Size]byte

// String returns the first eight bytes in hex, enough to recognise a digest in a log line.
func (d Digest) String() string { return hex.EncodeToString(d[:8]) }

// Key is the secret that keys a store's digests.
type Key [32]byte

// Hasher computes digests under one key. It is safe for concurrent use and does not allocate in steady state.
type Hasher struct {
	pool  sync.Pool
	lanes lanes.Key
}

// NewHasher returns a Hasher for key.
func NewHasher(key Key) *Hasher {
	h := &Hasher{lanes: lanes.NewKey((*[32]byte)(&key))}
	h.pool.New = func() any {
		k, err := blake3.NewKeyed(key[:])
		if err != nil {
			panic(err) // the key's length is fixed by its type
		}
		return k
	}
	return h
}

// Sum stores the digest of p in d. It does not keep p.
func (h *Hasher) Sum(d *Digest, p []byte) {
	k := h.pool.Get().(*blake3.Hasher)
	k.Reset()
	k.Write(p)
	var full [32]byte
	copy(d[:], k.Sum(full[:0]))
	h.pool.Put(k)
}
