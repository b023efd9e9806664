//go:build !race

package frame

import (
	"fmt"
	"testing"

	"pagevault/pagestore/seal"
)

// TestAllocations checks that steady encoding and reading allocate nothing. The race detector empties pools at random.
func TestAllocations(t *testing.T) {
	ring, session := testRing(t)
	for kind, content := range benchContents() {
		for _, method := range []Method{Store, Fast, Dense} {
			for _, s := range []*seal.Session{nil, session} {
				name := fmt.Sprintf("%s, method %d, sealed %v", kind, method, s != nil)
				e, d := Encoder{Method: method, Session: s}, Decoder{Ring: ring}
				h := Header{Pages: MaxPages, Present: All(MaxPages)}
				dst, part, fetched := make([]byte, 0, Room(MaxBytes)), make([]byte, BlockBytes), make([]byte, MaxStored)
				var err error
				n := testing.AllocsPerRun(50, func() {
					stored, _ := e.Encode(dst, &h, content)
					var s Span
					if s, err = h.Span(8, 16); err == nil {
						fetched = fetched[:copy(fetched[:cap(fetched)], stored[s.Off:][:s.Size])]
						err = d.Read(part, &h, s, 8, 16, fetched)
					}
				})
				if n >= 1 || err != nil {
					t.Errorf("%s: %v allocations, %v", name, n, err)
				}
			}
		}
	}
}
