package pagemap

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// An entry is encoded as its runs one after the other, each
//
//	first    u8       page of the region
//	pages    u8       1..128
//	frame    uvarint  in the fewest bytes; 0: zeros
//	offset   u8       page of the frame; absent if frame is 0
//
// and nothing else: the length is that of the value it is stored in. There is one encoding of an entry, and decoding
// accepts no other, so entries can be compared as bytes.

var errRunCut = errors.New("page map entry ends within a run")

// AppendRun appends the encoding of one run.
func AppendRun(dst []byte, r Run) []byte {
	dst = append(dst, r.First, r.Pages)
	dst = binary.AppendUvarint(dst, uint64(r.Frame))
	if r.Frame != ZeroFrame {
		dst = append(dst, r.Off)
	}
	return dst
}

// DecodeRun decodes one run from the start of p and returns what follows it.
func DecodeRun(p []byte) (r Run, rest []byte, err error) {
	if len(p) < 3 {
		return r, nil, errRunCut
	}
	r.First, r.Pages = p[0], p[1]
	frame, n := Uvarint(p[2:])
	if n == 0 {
		return r, nil, errRunCut
	}
	r.Frame, p = FrameID(frame), p[2+n:]
	if r.Frame != ZeroFrame {
		if len(p) == 0 {
			return r, nil, errRunCut
		}
		r.Off, p = p[0], p[1:]
	}
	if !r.Valid() {
		return r, nil, fmt.Errorf("run out of bounds: first %d, pages %d, frame %d, offset %d", r.First, r.Pages, r.Frame, r.Off)
	}
	return r, p, nil
}

// AppendEntry appends the encoding of e.
func AppendEntry(dst []byte, e Entry) []byte {
	for _, r := range e {
		dst = AppendRun(dst, r)
	}
	return dst
}

// DecodeEntry appends the entry encoded in p to dst. An entry that breaks an invariant is an error.
func DecodeEntry(dst Entry, p []byte) (Entry, error) {
	start := len(dst)
	for len(p) > 0 {
		r, rest, err := DecodeRun(p)
		if err != nil {
			return dst, err
		}
		if n := len(dst); n > start && (dst[n-1].End() > int(r.First) || dst[n-1].ContinuedBy(r)) {
			return dst, fmt.Errorf("page map entry: run %v after %v", r, dst[n-1])
		}
		dst, p = append(dst, r), rest
	}
	return dst, nil
}

// Uvarint decodes an unsigned varint in its shortest form from the start of p. n is its length, 0 if p is too short,
// the number does not fit 64 bits or was not written in the fewest bytes.
func Uvarint(p []byte) (v uint64, n int) {
	v, n = binary.Uvarint(p)
	if n <= 0 || n > 1 && p[n-1] == 0 {
		return 0, 0
	}
	return v, n
}
