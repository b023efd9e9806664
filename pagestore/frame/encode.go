package frame

import (
	"fmt"
	"hash/crc32"
	"sync"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"

	"pagevault/pagestore/seal"
)

// Method is how hard an Encoder tries.
type Method uint8

const (
	Store Method = iota // does not compress
	Fast                // S2: for content on its way in
	Dense               // zstd: for content that is rewritten when there is time
)

// Room returns how much room behind dst lets Encode of that many bytes of content work without allocating.
func Room(content int) int { return s2.MaxEncodedLen(content) + MaxBlocks*seal.Overhead }

// Encoder turns contents into stored forms. The zero value does not seal and does not compress. It is used by one
// goroutine at a time; in steady state it does not allocate.
type Encoder struct {
	Method  Method
	Session *seal.Session // nil: not sealed
}

// gain is the least compression that is worth a decompression at every read: one part in 20.
func gain(content int) int { return content - (content+19)/20 }

// Encode completes h, whose Pages and Present say what content is, with how it is stored, and returns the stored form,
// and dst with it appended; but content that is stored as it is is returned itself, and dst unchanged. Whatever is
// behind dst may be overwritten. If there is no room for Room(len(content)) bytes, memory is allocated in place of dst.
// h.CRCs is reused. Content of a length that h does not say is a mistake of the caller, and panics.
func (e *Encoder) Encode(dst []byte, h *Header, content []byte) (stored, extended []byte) {
	if h.Pages == 0 || h.Pages > MaxPages || h.Present == 0 || h.Present&^All(int(h.Pages)) != 0 || len(content) != h.ContentBytes() {
		panic(fmt.Sprintf("frame: content of %d bytes for %d pages, blocks %#b", len(content), h.Pages, h.Present))
	}
	h.Session, h.Counter, h.CRCs = 0, 0, h.CRCs[:0]
	if e.Session != nil {
		h.Session, h.Counter = e.Session.Number(), e.Session.Reserve(MaxBlocks)
	}
	if n := Room(len(content)); cap(dst)-len(dst) < n && (e.Method != Store || e.Session != nil) {
		dst = make([]byte, 0, n)
	}
	start := len(dst)
	if packed := e.compress(h, dst, content); packed != nil {
		if e.Session != nil {
			packed = e.Session.Seal(packed[:0], packed, h.Counter) // in place: behind it is room for the tag
		}
		dst = dst[:start+len(packed)]
		h.CRCs = append(h.CRCs, crc32.Checksum(packed, castagnoli))
		h.Stored = uint32(len(packed))
		return dst[start:], dst
	}
	h.Codec = Raw
	if e.Session == nil {
		for p := content; len(p) > 0; {
			n := min(len(p), BlockBytes)
			h.CRCs = append(h.CRCs, crc32.Checksum(p[:n], castagnoli))
			p = p[n:]
		}
		h.Stored = uint32(len(content))
		return content, dst
	}
	dst = e.seal(h, dst, content)
	h.Stored = uint32(len(dst) - start)
	return dst[start:], dst
}

// seal appends the blocks of a raw frame, each sealed with the counter of its number.
func (e *Encoder) seal(h *Header, dst, content []byte) []byte {
	for i := 0; len(content) > 0; i++ {
		if h.Present>>i&1 == 0 {
			continue
		}
		n, start := min(len(content), BlockBytes), len(dst)
		dst = e.Session.Seal(dst, content[:n], h.Counter+uint64(i))
		h.CRCs = append(h.CRCs, crc32.Checksum(dst[start:], castagnoli))
		content = content[n:]
	}
	return dst
}

// compress compresses content into the memory behind dst and sets the codec. It returns nil if that gains too little.
func (e *Encoder) compress(h *Header, dst, content []byte) (packed []byte) {
	room := dst[len(dst):cap(dst)]
	switch e.Method {
	case Fast:
		h.Codec = S2
		// A twentieth smaller than what Encode makes of disk images, at half its speed, which is that of some disks still.
		packed = s2.EncodeBetter(room, content)
	case Dense:
		h.Codec = Zstd
		z := zstdEncoders.Get().(*zstd.Encoder)
		packed = z.EncodeAll(content, room[:0])
		zstdEncoders.Put(z)
	}
	if len(packed) == 0 || len(packed) > gain(len(content)) {
		return nil
	}
	if &packed[0] != &room[0] { // it was longer for a while
		packed = append(room[:0], packed...)
	}
	return packed
}

// zstdEncoders holds encoders: each has tables of a megabyte.
var zstdEncoders = sync.Pool{New: func() any {
	z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedDefault),
		zstd.WithWindowSize(MaxBytes), zstd.WithEncoderCRC(false), zstd.WithSingleSegment(true), zstd.WithLowerEncoderMem(true))
	if err != nil {
		panic(err) // the options are constants
	}
	return z
}}
