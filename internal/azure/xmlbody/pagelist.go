package xmlbody

import (
	"bytes"

	"pagevault/internal/azure/xmltext"
)

const openPageList = "<PageList>"

// BeginPageList appends the body of Get Page Ranges up to the first range.
func BeginPageList(dst []byte) []byte {
	return append(append(dst, prolog...), openPageList...)
}

// AppendPageRange appends one range of bytes [start, end), which goes over the wire with its last byte. Ranges are
// appended in ascending order, cleared ones of a diff among the others.
func AppendPageRange(dst []byte, start, end int64, clear bool) []byte {
	element := "PageRange"
	if clear {
		element = "ClearRange"
	}
	dst = append(dst, '<')
	dst = append(dst, element...)
	dst = append(dst, '>')
	dst = appendInt(dst, "Start", start)
	dst = appendInt(dst, "End", end-1)
	return appendEnd(dst, element)
}

// EndPageList appends the rest. NextMarker is there, perhaps empty, when the version of the request pages its lists;
// older clients do not know it.
func EndPageList(dst []byte, paging bool, next string) []byte {
	if paging {
		dst = xmltext.AppendElement(dst, "NextMarker", next)
	} else if bytes.HasSuffix(dst, []byte(openPageList)) {
		return append(dst[:len(dst)-1], " />"...)
	}
	return append(dst, "</PageList>"...)
}
