package cond

import (
	"strconv"
	"time"
)

// ETag is the version of a resource: the moment of its last change in ticks of 100 ns since the year 1, as the service
// numbers them. Whoever assigns them makes them grow strictly per resource.
type ETag uint64

// ticksAtUnix is 1 January 1970 in ticks.
const ticksAtUnix = 621355968000000000

// ETagAt returns the ETag of a change at t, which must lie in the years 1678 to 2261 (what fits in nanoseconds).
func ETagAt(t time.Time) ETag {
	return ETag(t.UnixNano()/100 + ticksAtUnix)
}

// Time returns the moment that e stands for.
func (e ETag) Time() time.Time {
	ticks := int64(e) - ticksAtUnix
	return time.Unix(ticks/1e7, ticks%1e7*100).UTC()
}

// Append appends e as headers carry it, in quotes: "0x8DA7BAB2E7E693F".
func (e ETag) Append(dst []byte) []byte {
	return append(e.AppendBare(append(dst, '"')), '"')
}

// AppendBare appends e as listings carry it, without quotes.
func (e ETag) AppendBare(dst []byte) []byte {
	dst = append(dst, "0x"...)
	at := len(dst)
	dst = strconv.AppendUint(dst, uint64(e), 16)
	for i, c := range dst[at:] {
		if c >= 'a' {
			dst[at+i] = c - 'a' + 'A'
		}
	}
	return dst
}

// String returns e in quotes.
func (e ETag) String() string { return string(e.Append(make([]byte, 0, 20))) }

// Bare returns e without quotes.
func (e ETag) Bare() string { return string(e.AppendBare(make([]byte, 0, 18))) }

// parseETag returns the ETag that is written as v, quotes removed. It is false for text that none of our ETags is
// written as, and which therefore matches nothing.
func parseETag(v []byte) (ETag, bool) {
	if len(v) < 3 || len(v) > 18 || v[0] != '0' || v[1] != 'x' || v[2] == '0' {
		return 0, false
	}
	var e ETag
	for _, c := range v[2:] {
		switch {
		case '0' <= c && c <= '9':
			e = e<<4 | ETag(c-'0')
		case 'A' <= c && c <= 'F':
			e = e<<4 | ETag(c-'A'+10)
		default:
			return 0, false
		}
	}
	return e, true
}
