package bench

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

const (
	// requestMax is Azure's limit for one Put Page, and the largest request of any workload.
	requestMax = 4 << 20
	// stampEvery is how far apart stamps are: no piece of this size, so placed, ever repeats.
	stampEvery = 4 << 10
	stampBytes = 16
	// Stamps count stampEvery pieces; a request number is shifted by this much to make room for its pieces.
	piecesShift = 10
)

// streamFresh is the stream of data that is written once and never again. Other streams name data that is written more
// than once or read back.
const streamFresh = 0

// Mix says what new data is like. The zero value is data that nobody has seen and nobody can compress.
type Mix struct {
	// Duplicate is the percentage of all 4 KiB pieces written that the target has stored before, in another blob.
	Duplicate int `json:"duplicatePercent,omitempty"`
	// Compress is the ratio by which each 4 KiB can be compressed, about; 0 and 1: not at all.
	Compress float64 `json:"compressRatio,omitempty"`
}

// compressMax is the largest ratio: a piece of 4 KiB keeps its stamp and some random bytes.
const compressMax = 32

func (m Mix) check() error {
	if m.Duplicate < 0 || m.Duplicate > 100 {
		return fmt.Errorf("bench: %d %% of duplicates: must be from 0 to 100", m.Duplicate)
	}
	if m.Compress != 0 && !(m.Compress >= 1 && m.Compress <= compressMax) { // NaN too
		return fmt.Errorf("bench: data that compresses to 1/%v: must be from 1 to %d", m.Compress, compressMax)
	}
	return nil
}

// String returns the mix for people, empty if it is the zero value.
func (m Mix) String() string {
	var parts []string
	if m.Duplicate > 0 {
		parts = append(parts, fmt.Sprintf("%d %% of new data stored before", m.Duplicate))
	}
	if m.Compress > 1 {
		parts = append(parts, fmt.Sprintf("compressible to about 1/%v", m.Compress))
	}
	return strings.Join(parts, ", ")
}

// source makes data faster than any server can take it: a random buffer is copied once for each worker,
// and a request's share of it gets a 16-byte stamp in every 4 KiB, unique to the run, the stream and the place in it.
// Consecutive small requests use different parts of the buffer, so that they have nothing in common either.
// It is safe for concurrent use.
type source struct {
	base  []byte // requestMax random bytes, never changed
	nonce uint64 // distinguishes runs
	mix   Mix
	again uint64 // how many pieces of streamSeen are stored, which new data may repeat
	fresh atomic.Uint64
	mu    struct {
		sync.Mutex
		written, read [][]byte // buffers given back; as many as connections were ever open at once
	}
}

// newSource returns a source whose bytes are determined by seed. Where mix asks for duplicates, they are of the first
// stored bytes of streamSeen, a multiple of requestMax.
func newSource(seed uint64, mix Mix, stored int64) *source {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	rng := rand.NewChaCha8(key)
	s := &source{base: make([]byte, requestMax), nonce: rng.Uint64(), mix: mix, again: uint64(stored / stampEvery)}
	rng.Read(s.base)
	if mix.Compress > 1 {
		random := max(int(stampEvery/mix.Compress), 2*stampBytes)
		for off := 0; off < requestMax; off += stampEvery {
			for i := off + random; i < off+stampEvery; i++ {
				s.base[i] = "all of it the same "[i%19]
			}
		}
	}
	return s
}

// bufferBytes is requestMax, and room to make a request that is smaller than what lies between stamps.
const bufferBytes = requestMax + stampEvery

// writeBuffer returns a buffer of bufferBytes to be stamped. Give it back with returnWriteBuffer.
func (s *source) writeBuffer() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.mu.written); n > 0 {
		b := s.mu.written[n-1]
		s.mu.written = s.mu.written[:n-1]
		return b
	}
	return append(make([]byte, 0, bufferBytes), s.base...)[:bufferBytes]
}

// returnWriteBuffer takes a buffer of writeBuffer back; nothing but stamps may have been changed in it.
func (s *source) returnWriteBuffer(b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.written = append(s.mu.written, b)
}

// readBuffer returns a buffer of requestMax bytes to read into. Give it back with returnReadBuffer.
func (s *source) readBuffer() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.mu.read); n > 0 {
		b := s.mu.read[n-1]
		s.mu.read = s.mu.read[:n-1]
		return b
	}
	return make([]byte, requestMax)
}

func (s *source) returnReadBuffer(b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.read = append(s.mu.read, b)
}

// next stamps size bytes of data that were never seen before into buf and returns them, but for the pieces that the mix
// wants repeated.
func (s *source) next(buf []byte, size int) []byte {
	seq := s.fresh.Add(1) - 1
	p := s.stamp(buf, streamFresh, seq, size)
	if s.mix.Duplicate > 0 && size >= stampEvery {
		s.repeat(p, seq, int(seq*uint64(size)%requestMax)/stampEvery)
	}
	return p
}

// repeat stamps as many pieces of p as the mix wants as pieces of streamSeen that lie at the same place of their requests,
// where the random bytes are the same. p is request seq and begins at piece first of the buffer.
func (s *source) repeat(p []byte, seq uint64, first int) {
	for off := 0; off < len(p); off += stampEvery {
		piece := first + off/stampEvery
		h := scatter(seq<<piecesShift | uint64(piece))
		if h%100 < uint64(s.mix.Duplicate) {
			request := (h >> 8) % (s.again >> piecesShift)
			s.putStamp(p[off:], streamSeen, request<<piecesShift|uint64(piece))
		}
	}
}

// scatter makes a number of another one that looks random (the finish of SplitMix64).
func scatter(v uint64) uint64 {
	v += 0x9e3779b97f4a7c15
	v = (v ^ v>>30) * 0xbf58476d1ce4e5b9
	v = (v ^ v>>27) * 0x94d049bb133111eb
	return v ^ v>>31
}

// stamp makes request number seq of a stream, of size bytes, in buf (of writeBuffer) and returns the part of buf that
// holds it. The same arguments give the same bytes. Within a stream all requests must have the same size, a power of two.
func (s *source) stamp(buf []byte, stream uint16, seq uint64, size int) []byte {
	at := int(seq * uint64(size) % requestMax)
	if size < stampEvery {
		p := append(buf[requestMax:requestMax], s.base[at:at+size]...)
		s.putStamp(p, stream, seq<<piecesShift)
		return p
	}
	p := buf[at : at+size : at+size]
	for off := 0; off < size; off += stampEvery {
		s.putStamp(p[off:], stream, seq<<piecesShift|uint64(off/stampEvery))
	}
	return p
}

// part makes the bytes [off, off+size) of a stream of requests of requestMax in buf, as stamp makes those whole. off is a
// multiple of size, a power of two.
func (s *source) part(buf []byte, stream uint16, off int64, size int) []byte {
	at := int(off % requestMax)
	piece := uint64(off / stampEvery)
	if size < stampEvery {
		p := append(buf[requestMax:requestMax], s.base[at:at+size]...)
		if off%stampEvery == 0 {
			s.putStamp(p, stream, piece)
		}
		return p
	}
	p := buf[at : at+size : at+size]
	for o := 0; o < size; o += stampEvery {
		s.putStamp(p[o:], stream, piece+uint64(o/stampEvery))
	}
	return p
}

func (s *source) putStamp(p []byte, stream uint16, piece uint64) {
	binary.LittleEndian.PutUint64(p, s.nonce^uint64(stream)<<48)
	binary.LittleEndian.PutUint64(p[8:], piece)
}

// begins reports whether p begins as the bytes at off of a stream of requests of requestMax do.
func (s *source) begins(p []byte, stream uint16, off int64) bool {
	if off%stampEvery != 0 {
		at := off % requestMax
		return bytes.Equal(p[:stampBytes], s.base[at:at+stampBytes])
	}
	return binary.LittleEndian.Uint64(p) == s.nonce^uint64(stream)<<48 && binary.LittleEndian.Uint64(p[8:]) == uint64(off/stampEvery)
}

// written reports whether p begins with a stamp of one of the streams.
func (s *source) written(p []byte, streams ...uint16) bool {
	v := binary.LittleEndian.Uint64(p)
	return slices.ContainsFunc(streams, func(stream uint16) bool { return v == s.nonce^uint64(stream)<<48 })
}
