package header

import (
	"math"

	"pagevault/internal/azure/azerr"
)

// PageSize is what page ranges are aligned to, in bytes: the sector of a disk.
const PageSize = 512

// Range is a half-open range of bytes [Start, End). On the wire both ends are inclusive; the conversion happens here
// and nowhere else. End is math.MaxInt64 when the client left it open.
type Range struct{ Start, End int64 }

// Len returns the number of bytes in the range.
func (r Range) Len() int64 { return r.End - r.Start }

// ParseRange reads "bytes=a-b" or "bytes=a-". It is false for everything else: suffixes, several ranges, a > b,
// numbers past 2^63-1. The service ignores such a range on a read.
func ParseRange(v []byte) (Range, bool) {
	const unit = "bytes="
	if !hasPrefixFold(v, unit) {
		return Range{}, false
	}
	v = v[len(unit):]
	i := 0
	for i < len(v) && v[i] != '-' {
		i++
	}
	if i == len(v) {
		return Range{}, false
	}
	start, ok := parseDigits(v[:i])
	if !ok {
		return Range{}, false
	}
	if i+1 == len(v) {
		return Range{start, math.MaxInt64}, true
	}
	last, ok := parseDigits(v[i+1:])
	if !ok || last < start {
		return Range{}, false
	}
	if last == math.MaxInt64 {
		return Range{start, math.MaxInt64}, true
	}
	return Range{start, last + 1}, true
}

// ReadRange returns the range a read asks for, from x-ms-range if it is there and from Range otherwise. It is false
// when there is none or it is malformed: the service then answers with everything.
func ReadRange(s *Set) (Range, bool) {
	v, _ := rangeValue(s)
	return ParseRange(v)
}

// ParsePageRange returns the range a page write is for, from x-ms-range if it is there and from Range otherwise. Both
// ends are required and on page boundaries. The service reports the header as Range whichever was used:
// MissingRequiredHeader without one, InvalidHeaderValue for one that is malformed or not aligned.
func ParsePageRange(s *Set) (Range, error) {
	v, ok := rangeValue(s)
	if !ok {
		return Range{}, azerr.MissingHeader(RangeHeader.String())
	}
	r, ok := ParseRange(v)
	if !ok || r.End == math.MaxInt64 || r.Start%PageSize != 0 || r.End%PageSize != 0 {
		return Range{}, azerr.BadHeader(RangeHeader.String(), string(v))
	}
	return r, nil
}

func rangeValue(s *Set) (v []byte, ok bool) {
	if s.Has(XMsRange) {
		return s.Get(XMsRange), true
	}
	return s.Get(RangeHeader), s.Has(RangeHeader)
}

// AppendContentRange appends "bytes a-b/size", the value of Content-Range for a reply that carries r.
func AppendContentRange(dst []byte, r Range, size int64) []byte {
	dst = append(dst, "bytes "...)
	dst = AppendInt(dst, r.Start)
	dst = append(dst, '-')
	dst = AppendInt(dst, r.End-1)
	dst = append(dst, '/')
	return AppendInt(dst, size)
}

// AppendUnsatisfiedRange appends "bytes */size", the value of Content-Range that goes with 416 InvalidRange.
func AppendUnsatisfiedRange(dst []byte, size int64) []byte {
	return AppendInt(append(dst, "bytes */"...), size)
}
