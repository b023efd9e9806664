// Package xmlbody writes and reads the XML bodies of the protocol.
//
// Writers append to the caller's buffer, element by element in the order and spelling of the service, without
// reflection: a listing of 5,000 blobs is the largest thing the server composes. Readers are small and strict: no DTD,
// a bound on the size, and an element that means nothing to us is an error, not something to skip.
//
// Bodies carry no byte order mark. The service sends one; clients do not need it.
package xmlbody

import (
	"strconv"
	"time"

	"pagevault/internal/azure/header"
	"pagevault/internal/azure/xmltext"
)

// ContentType is that of every body written here.
const ContentType = "application/xml"

const prolog = `<?xml version="1.0" encoding="utf-8"?>`

// appendName appends an element that holds a name of a client's choosing. What XML cannot carry is percent-encoded, in
// the form rules by which clients decode it, and marked so.
func appendName(dst []byte, element, name string) []byte {
	if xmltext.Legal(name) {
		return xmltext.AppendElement(dst, element, name)
	}
	dst = append(dst, '<')
	dst = append(dst, element...)
	dst = append(dst, ` Encoded="true">`...)
	dst = appendPercent(dst, name)
	return appendEnd(dst, element)
}

// appendPercent percent-encodes all but the characters that no decoder touches.
func appendPercent(dst []byte, s string) []byte {
	const digits = "0123456789ABCDEF"
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9',
			c == '-', c == '_', c == '.', c == '~', c == '/':
			dst = append(dst, c)
		default:
			dst = append(dst, '%', digits[c>>4], digits[c&15])
		}
	}
	return dst
}

func appendEnd(dst []byte, element string) []byte {
	dst = append(dst, '<', '/')
	dst = append(dst, element...)
	return append(dst, '>')
}

func appendInt(dst []byte, element string, n int64) []byte {
	dst = append(dst, '<')
	dst = append(dst, element...)
	dst = append(dst, '>')
	dst = strconv.AppendInt(dst, n, 10)
	return appendEnd(dst, element)
}

func appendBool(dst []byte, element string, b bool) []byte {
	return xmltext.AppendElement(dst, element, strconv.FormatBool(b))
}

func appendTime(dst []byte, element string, t time.Time) []byte {
	dst = append(dst, '<')
	dst = append(dst, element...)
	dst = append(dst, '>')
	dst = header.FormatTime(dst, t)
	return appendEnd(dst, element)
}

// appendMetadata appends the Metadata element, which is there even without a pair: clients tell "none" from "not
// asked for". The names are XML names, since they are identifiers.
func appendMetadata(dst []byte, meta []header.Pair) []byte {
	if len(meta) == 0 {
		return append(dst, "<Metadata />"...)
	}
	dst = append(dst, "<Metadata>"...)
	for _, p := range meta {
		dst = xmltext.AppendElement(dst, p.Name, p.Value)
	}
	return append(dst, "</Metadata>"...)
}

// Lease is how listings show a lease: the values of x-ms-lease-status, -state and -duration. Status is empty where no
// lease is shown; Duration is empty unless there is one.
type Lease struct{ Status, State, Duration string }

func appendLease(dst []byte, l Lease) []byte {
	if l.Status == "" {
		return dst
	}
	dst = xmltext.AppendElement(dst, "LeaseStatus", l.Status)
	dst = xmltext.AppendElement(dst, "LeaseState", l.State)
	if l.Duration != "" {
		dst = xmltext.AppendElement(dst, "LeaseDuration", l.Duration)
	}
	return dst
}
