package digest

import "github.com/zeebo/blake3"

// Derive fills out with key material derived from secret for one purpose, by BLAKE3's key derivation mode. context names
// the purpose: it is a constant of the program, used for nothing else. What was derived for one purpose tells nothing
// about the secret or about what was derived for another. secret is the parts, one after the other.
func Derive(out []byte, context string, secret ...[]byte) {
	h := blake3.NewDeriveKey(context)
	for _, p := range secret {
		h.Write(p)
	}
	h.Digest().Read(out) // an endless stream; neither it nor Write fails
}
