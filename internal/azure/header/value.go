package header

import (
	"errors"
	"math"
	"strconv"
	"time"

	"pagevault/internal/azure/azerr"
)

// ParseInt64 reads a decimal number: an optional minus and digits, nothing else, within int64.
func ParseInt64(v []byte) (int64, bool) {
	if len(v) > 0 && v[0] == '-' {
		n, ok := parseDigits(v[1:])
		return -n, ok
	}
	return parseDigits(v)
}

// parseDigits reads digits and nothing else. It is false for none and past 2^63-1.
func parseDigits(v []byte) (int64, bool) {
	if len(v) == 0 {
		return 0, false
	}
	var n int64
	for _, c := range v {
		d := int64(c) - '0'
		if d < 0 || d > 9 || n > (math.MaxInt64-d)/10 {
			return 0, false
		}
		n = n*10 + d
	}
	return n, true
}

// Int returns the number in a header that must lie in [least, most]. It is absent, with a nil error, when the header
// is not there, and InvalidHeaderValue for anything but such a number.
func Int(s *Set, id ID, least, most int64) (n int64, present bool, err error) {
	if !s.Has(id) {
		return 0, false, nil
	}
	n, ok := ParseInt64(s.Get(id))
	if !ok || n < least || n > most {
		return 0, true, azerr.BadHeader(id.String(), s.String(id))
	}
	return n, true, nil
}

// Length returns Content-Length, digits only. It is absent when the header is not there, which is legal for a request
// without a body: .NET sends lease, snapshot and create requests so.
func Length(s *Set) (n int64, present bool, err error) {
	return Int(s, ContentLength, 0, math.MaxInt64)
}

// PageLength returns x-ms-blob-content-length: the size of a page blob, a multiple of 512. Anything else is
// InvalidHeaderValue. Limits on the size are not checked.
func PageLength(s *Set) (n int64, present bool, err error) {
	n, present, err = Int(s, XMsBlobContentLength, 0, math.MaxInt64)
	if err == nil && n%PageSize != 0 {
		return 0, true, azerr.BadHeader(XMsBlobContentLength.String(), s.String(XMsBlobContentLength))
	}
	return n, present, err
}

// Bool returns a header that is "true" or "false" in any case, false when it is absent, and InvalidHeaderValue for
// anything else.
func Bool(s *Set, id ID) (bool, error) {
	v := s.Get(id)
	switch {
	case !s.Has(id), EqualFold(v, "false"):
		return false, nil
	case EqualFold(v, "true"):
		return true, nil
	}
	return false, azerr.BadHeader(id.String(), string(v))
}

// EqualFold compares v with a word in lower case, without case.
func EqualFold(v []byte, word string) bool { return len(v) == len(word) && hasPrefixFold(v, word) }

// AppendInt appends n in decimal.
func AppendInt(dst []byte, n int64) []byte { return strconv.AppendInt(dst, n, 10) }

const (
	timeLayout = "Mon, 02 Jan 2006 15:04:05 GMT"
	daysShort  = "SunMonTueWedThuFriSat"
	months     = "JanFebMarAprMayJunJulAugSepOctNovDec"
)

// ParseTime reads a date of RFC 1123, in whole seconds, always GMT; and the obsolete form of RFC 850, which the
// reference also allows. That the day of the week fits is not checked.
func ParseTime(v []byte) (time.Time, bool) {
	if t, ok := parse1123(v); ok {
		return t, true
	}
	if len(v) > len("Wednesday, 02-Jan-06 15:04:05 GMT") {
		return time.Time{}, false
	}
	t, err := time.Parse("Monday, 02-Jan-06 15:04:05 GMT", string(v))
	return t, err == nil
}

// parse1123 is ParseTime for the form every client sends, without allocating.
func parse1123(v []byte) (time.Time, bool) {
	if len(v) != len(timeLayout) || v[3] != ',' || v[4] != ' ' || v[7] != ' ' || v[11] != ' ' || v[16] != ' ' ||
		v[19] != ':' || v[22] != ':' || string(v[25:]) != " GMT" {
		return time.Time{}, false
	}
	weekday := index3(daysShort, v[0:3])
	day, ok1 := parseDigits(v[5:7])
	month := index3(months, v[8:11])
	year, ok2 := parseDigits(v[12:16])
	hour, ok3 := parseDigits(v[17:19])
	minute, ok4 := parseDigits(v[20:22])
	second, ok5 := parseDigits(v[23:25])
	if weekday < 0 || month < 0 || !ok1 || !ok2 || !ok3 || !ok4 || !ok5 ||
		year == 0 || hour > 23 || minute > 59 || second > 59 {
		return time.Time{}, false
	}
	t := time.Date(int(year), time.Month(month+1), int(day), int(hour), int(minute), int(second), 0, time.UTC)
	if int64(t.Day()) != day { // 31 Feb and 0 Jan
		return time.Time{}, false
	}
	return t, true
}

// index3 finds a name of three letters in a row of such names.
func index3(names string, v []byte) int {
	for i := 0; i < len(names); i += 3 {
		if names[i] == v[0] && names[i+1] == v[1] && names[i+2] == v[2] {
			return i / 3
		}
	}
	return -1
}

// FormatTime appends t as a date of RFC 1123. Fractions of a second are cut off.
func FormatTime(dst []byte, t time.Time) []byte {
	t = t.UTC()
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	if year < 0 || year > 9999 {
		return t.AppendFormat(dst, timeLayout)
	}
	// AppendFormat would read the layout anew for each date of each reply.
	dst = append(dst, daysShort[3*t.Weekday():][:3]...)
	dst = appendTwo(append(dst, ", "...), day)
	dst = append(append(dst, ' '), months[3*(month-1):][:3]...)
	dst = appendTwo(appendTwo(append(dst, ' '), year/100), year%100)
	dst = appendTwo(append(dst, ' '), hour)
	dst = appendTwo(append(dst, ':'), minute)
	dst = appendTwo(append(dst, ':'), second)
	return append(dst, " GMT"...)
}

// appendTwo appends n, less than 100, in two digits.
func appendTwo(dst []byte, n int) []byte { return append(dst, byte('0'+n/10), byte('0'+n%10)) }

// Time returns the date in a header. It is absent when the header is not there; InvalidHeaderValue when it cannot be
// read.
func Time(s *Set, id ID) (t time.Time, present bool, err error) {
	if !s.Has(id) {
		return time.Time{}, false, nil
	}
	t, ok := ParseTime(s.Get(id))
	if !ok {
		return time.Time{}, true, azerr.BadHeader(id.String(), s.String(id))
	}
	return t, true, nil
}

// LeaseID returns the lease id in a header, normalised as ParseLeaseID does. It is empty when the header is not there;
// InvalidHeaderValue when it cannot be read.
func LeaseID(s *Set, id ID) (string, error) {
	if !s.Has(id) {
		return "", nil
	}
	lease, err := ParseLeaseID(s.Get(id))
	if err != nil {
		return "", azerr.BadHeader(id.String(), s.String(id))
	}
	return lease, nil
}

var errLeaseID = errors.New("not a GUID")

// ParseLeaseID reads a GUID in any of the forms .NET reads, since that is what the service does: 32 digits; with
// hyphens; with hyphens in braces or parentheses; or the C structure {0x…,0x…,0x…,{0x…,…}}. It returns the lower-case
// form with hyphens: lease ids compare without case.
func ParseLeaseID(v []byte) (string, error) {
	var hex [32]byte
	ok := false
	switch {
	case len(v) == 32:
		ok = copyHex(hex[:], v)
	case len(v) == 36:
		ok = hyphenated(&hex, v)
	case len(v) == 38 && (v[0] == '{' && v[37] == '}' || v[0] == '(' && v[37] == ')'):
		ok = hyphenated(&hex, v[1:37])
	default:
		ok = structured(&hex, v)
	}
	if !ok {
		return "", errLeaseID
	}
	var d [36]byte
	copy(d[0:8], hex[0:8])
	copy(d[9:13], hex[8:12])
	copy(d[14:18], hex[12:16])
	copy(d[19:23], hex[16:20])
	copy(d[24:36], hex[20:32])
	d[8], d[13], d[18], d[23] = '-', '-', '-', '-'
	return string(d[:]), nil
}

// hyphenated reads 8-4-4-4-12.
func hyphenated(hex *[32]byte, v []byte) bool {
	return v[8] == '-' && v[13] == '-' && v[18] == '-' && v[23] == '-' &&
		copyHex(hex[0:8], v[0:8]) && copyHex(hex[8:12], v[9:13]) && copyHex(hex[12:16], v[14:18]) &&
		copyHex(hex[16:20], v[19:23]) && copyHex(hex[20:32], v[24:36])
}

// structured reads {0xdddddddd,0xdddd,0xdddd,{0xdd,0xdd,0xdd,0xdd,0xdd,0xdd,0xdd,0xdd}}; leading zeros may be left out.
func structured(hex *[32]byte, v []byte) bool {
	at := 0
	part := func(open string, width int) bool {
		n := len(open) + len("0x")
		if len(v) < n || string(v[:len(open)]) != open || v[n-2] != '0' || lower(v[n-1]) != 'x' {
			return false
		}
		v = v[n:]
		for n = 0; n < len(v) && v[n] != ',' && v[n] != '}'; n++ {
		}
		if n == 0 || n > width {
			return false
		}
		for i := range width - n {
			hex[at+i] = '0'
		}
		ok := copyHex(hex[at+width-n:at+width], v[:n])
		at, v = at+width, v[n:]
		return ok
	}
	ok := part("{", 8) && part(",", 4) && part(",", 4) && part(",{", 2)
	for range 7 {
		ok = ok && part(",", 2)
	}
	return ok && string(v) == "}}"
}

// copyHex copies hexadecimal digits in lower case. dst and v have the same length.
func copyHex(dst, v []byte) bool {
	for i, c := range v {
		c = lower(c)
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
		dst[i] = c
	}
	return true
}
