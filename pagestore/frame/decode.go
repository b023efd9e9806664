package frame

import (
	"fmt"
	"math/bits"
	"sync"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"

	"pagevault/pagestore/seal"
)

// Decoder reads frames. The zero value reads those that are not sealed. It is used by one goroutine at a time; in steady
// state it does not allocate.
type Decoder struct {
	Ring    *seal.Ring // with the sessions of the store; nil: there are none
	content []byte     // of a compressed frame of which only a part was asked for

	block [BlockBytes]byte // a sealed block of which only a part was asked for
}

// Read fills dst with the pages [from, to) of the frame with header h. stored are the bytes of s, which h.Span has
// returned for these pages; they are no longer the same afterwards. h.Check must have found nothing.
//
// Errors: ErrChecksum, then try another copy. ErrSealed, ErrMalformed, which another copy that has its checksums will
// not cure. dst then holds nothing of use.
func (d *Decoder) Read(dst []byte, h *Header, s Span, from, to int, stored []byte) error {
	if len(dst) != (to-from)*PageBytes {
		return fmt.Errorf("%w: %d bytes for pages [%d,%d)", ErrMalformed, len(dst), from, to)
	}
	if h.Codec == Raw && h.Session != 0 {
		return d.openRaw(dst, h, s, stored)
	}
	if err := h.Verify(s, stored); err != nil {
		return err
	}
	if h.Codec == Raw {
		copy(dst, stored[s.lead:])
		return nil
	}
	if n := h.ContentBytes(); len(dst) < n {
		if d.content == nil {
			d.content = make([]byte, MaxBytes)
		}
		if err := d.expand(d.content[:n], h, stored); err != nil {
			return err
		}
		copy(dst, d.content[s.lead:n])
		return nil
	}
	return d.expand(dst, h, stored)
}

// Content fills dst, of h.ContentBytes(), with the content of the frame, all of whose stored bytes are given. It is Read
// otherwise.
func (d *Decoder) Content(dst []byte, h *Header, stored []byte) error {
	if len(dst) != h.ContentBytes() || len(stored) != int(h.Stored) {
		return fmt.Errorf("%w: %d stored bytes of %d, room for %d of %d", ErrMalformed, len(stored), h.Stored, len(dst), h.ContentBytes())
	}
	if err := h.Verify(Span{Size: len(stored), crcs: len(h.CRCs)}, stored); err != nil {
		return err
	}
	if h.Codec != Raw {
		return d.expand(dst, h, stored)
	}
	if h.Session == 0 {
		copy(dst, stored)
		return nil
	}
	session, err := d.session(h)
	for left := h.Present; err == nil && left != 0; left &= left - 1 {
		n := min(len(stored), BlockBytes+seal.Overhead)
		if _, err = session.Open(dst[:0], stored[:n], h.Counter+uint64(bits.TrailingZeros16(left))); err == nil {
			dst, stored = dst[n-seal.Overhead:], stored[n:]
		}
	}
	return err
}

// openRaw fills dst from the sealed blocks of the span. A seal that opens says more than a checksum, which is looked at
// only to tell why one does not: the bytes are not those that were stored, or they were sealed otherwise.
func (d *Decoder) openRaw(dst []byte, h *Header, s Span, stored []byte) error {
	if len(stored) != s.Size {
		return fmt.Errorf("%w: %d bytes of a span of %d", ErrMalformed, len(stored), s.Size)
	}
	err := d.openBlocks(dst, h, s, stored)
	if err == nil {
		return nil
	}
	if damage := h.Verify(s, stored); damage != nil {
		return damage
	}
	return err
}

// openBlocks opens the blocks of a span into dst. It leaves stored as it is.
func (d *Decoder) openBlocks(dst []byte, h *Header, s Span, stored []byte) error {
	session, err := d.session(h)
	if err != nil {
		return err
	}
	skip := s.lead // of the first block
	for i := s.first; i < s.last; i++ {
		n := min(len(stored), BlockBytes+seal.Overhead)
		sealed, counter := stored[:n], h.Counter+uint64(i)
		stored = stored[n:]
		if n -= seal.Overhead; skip == 0 && n <= len(dst) {
			if _, err := session.Open(dst[:0], sealed, counter); err != nil {
				return err
			}
			dst = dst[n:]
			continue
		}
		block, err := session.Open(d.block[:0], sealed, counter)
		if err != nil {
			return err
		}
		dst = dst[copy(dst, block[skip:]):]
		skip = 0
	}
	return nil
}

// expand fills dst, of the content's length, with the content of a compressed frame.
func (d *Decoder) expand(dst []byte, h *Header, stored []byte) error {
	if h.Session != 0 {
		session, err := d.session(h)
		if err != nil {
			return err
		}
		if stored, err = session.Open(stored[:0], stored, h.Counter); err != nil {
			return err
		}
	}
	n, err := 0, error(nil)
	switch h.Codec {
	case S2:
		if n, err = s2.DecodedLen(stored); err == nil && n == len(dst) { // else Decode would allocate what it is told
			_, err = s2.Decode(dst, stored)
		}
	case Zstd:
		var out []byte
		z := zstdDecoders.Get().(*zstd.Decoder)
		out, err = z.DecodeAll(stored, dst[:0:len(dst)]) // writes no more than dst has room for
		if n = len(out); n == len(dst) && &out[0] != &dst[0] {
			copy(dst, out)
		}
		zstdDecoders.Put(z)
	}
	if err != nil {
		return fmt.Errorf("%w: %v: %w", ErrMalformed, h.Codec, err)
	}
	if n != len(dst) {
		return fmt.Errorf("%w: %d bytes come of %d by %v, want %d", ErrMalformed, n, len(stored), h.Codec, len(dst))
	}
	return nil
}

func (d *Decoder) session(h *Header) (*seal.Session, error) {
	if d.Ring != nil {
		if s := d.Ring.Get(h.Session); s != nil {
			return s, nil
		}
	}
	return nil, fmt.Errorf("%w: session %d is not known", ErrSealed, h.Session)
}

// zstdDecoders holds decoders.
var zstdDecoders = sync.Pool{New: func() any {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecodeAllCapLimit(true), zstd.WithDecoderMaxMemory(MaxBytes), zstd.WithDecoderMaxWindow(MaxBytes))
	if err != nil {
		panic(err) // the options are constants
	}
	return z
}}
