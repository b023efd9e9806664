package bench

import (
	"encoding/binary"
	"math/rand/v2"
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

// source makes incompressible data faster than any server can take it: a random buffer is copied once for each worker,
// and a request's share of it gets a 16-byte stamp in every 4 KiB, unique to the run, the stream and the place in it.
// Consecutive small requests use different parts of the buffer, so that they have nothing in common either.
// It is safe for concurrent use.
type source struct {
	base  []byte // requestMax random bytes, never changed
	nonce uint64 // distinguishes runs
	fresh atomic.Uint64
	mu    struct {
		sync.Mutex
		written, read [][]byte // buffers given back; as many as connections were ever open at once
	}
}

// newSource returns a source whose bytes are determined by seed.
func newSource(seed uint64) *source {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	rng := rand.NewChaCha8(key)
	s := &source{base: make([]byte, requestMax), nonce: rng.Uint64()}
	rng.Read(s.base)
	return s
}

// writeBuffer returns a buffer of requestMax bytes to be stamped. Give it back with returnWriteBuffer.
func (s *source) writeBuffer() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.mu.written); n > 0 {
		b := s.mu.written[n-1]
		s.mu.written = s.mu.written[:n-1]
		return b
	}
	return append([]byte(nil), s.base...)
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

// next stamps size bytes of data that were never seen before into buf and returns them.
func (s *source) next(buf []byte, size int) []byte {
	return s.stamp(buf, streamFresh, s.fresh.Add(1)-1, size)
}

// stamp makes request number seq of a stream, of size bytes, in buf (of writeBuffer) and returns the part of buf that
// holds it. The same arguments give the same bytes. Within a stream all requests must have the same size, a power of two.
func (s *source) stamp(buf []byte, stream uint16, seq uint64, size int) []byte {
	at := int(seq * uint64(size) % requestMax)
	p := buf[at : at+size : at+size]
	for off := 0; off < size; off += stampEvery {
		s.putStamp(p[off:], stream, seq<<piecesShift|uint64(off/stampEvery))
	}
	return p
}

func (s *source) putStamp(p []byte, stream uint16, piece uint64) {
	binary.LittleEndian.PutUint64(p, s.nonce^uint64(stream)<<48)
	binary.LittleEndian.PutUint64(p[8:], piece)
}

// stamped reports whether p begins with the stamp of a piece of a stream made of requestMax requests.
func (s *source) stamped(p []byte, stream uint16, piece uint64) bool {
	return binary.LittleEndian.Uint64(p) == s.nonce^uint64(stream)<<48 && binary.LittleEndian.Uint64(p[8:]) == piece
}
