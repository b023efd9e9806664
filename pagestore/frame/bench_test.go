package frame

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"pagevault/pagestore/seal"
)

// benchContents are the kinds of content that speed depends on.
func benchContents() map[string][]byte {
	rng := rand.New(rand.NewPCG(1, 2))
	return map[string][]byte{"random": random(rng, MaxBytes), "text": text(rng, MaxBytes)}
}

func BenchmarkEncode(b *testing.B) {
	_, session := testRing(b)
	for kind, content := range benchContents() {
		for _, method := range []Method{Store, Fast, Dense} {
			for _, sealed := range []bool{false, true} {
				b.Run(fmt.Sprintf("%s/method=%d/sealed=%v", kind, method, sealed), func(b *testing.B) {
					e := Encoder{Method: method}
					if sealed {
						e.Session = session
					}
					h := Header{Pages: MaxPages, Present: All(MaxPages)}
					dst := make([]byte, 0, Room(MaxBytes))
					b.SetBytes(MaxBytes)
					b.ReportAllocs()
					for b.Loop() {
						e.Encode(dst, &h, content)
					}
					b.ReportMetric(float64(h.Stored)/MaxBytes, "stored/raw")
				})
			}
		}
	}
}

func BenchmarkRead(b *testing.B) {
	ring, session := testRing(b)
	for kind, content := range benchContents() {
		for _, method := range []Method{Store, Fast, Dense} {
			for _, s := range []*seal.Session{nil, session} {
				for _, pages := range []int{BlockPages, MaxPages} {
					name := fmt.Sprintf("%s/method=%d/sealed=%v/%dKiB", kind, method, s != nil, pages*PageBytes>>10)
					b.Run(name, func(b *testing.B) { benchmarkRead(b, ring, Encoder{method, s}, content, pages) })
				}
			}
		}
	}
}

// benchmarkRead reads pages from the middle of a frame. Opening changes the stored bytes, so they are copied each time,
// as a read from disk would.
func benchmarkRead(b *testing.B, ring *seal.Ring, e Encoder, content []byte, pages int) {
	h := Header{Pages: MaxPages, Present: All(MaxPages)}
	stored, _ := e.Encode(nil, &h, content)
	stored = bytes.Clone(stored)
	from := (MaxPages - pages) / 2
	dst, fetched := make([]byte, pages*PageBytes), make([]byte, MaxStored)
	d := Decoder{Ring: ring}
	b.SetBytes(int64(len(dst)))
	b.ReportAllocs()
	for b.Loop() {
		s, err := h.Span(from, from+pages)
		if err == nil {
			n := copy(fetched, stored[s.Off:][:s.Size])
			err = d.Read(dst, &h, s, from, from+pages, fetched[:n])
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}
