package server

import (
	"bytes"

	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/header"
)

// framing is what a request's headers say about the end of its body.
type framing struct {
	length  int64 // Content-Length, -1 without one
	chunked bool  // Transfer-Encoding, whatever its value
}

// readHeaders takes the header block as it came over the wire: fasthttp keeps the last of two values, joins folded
// lines and forgets the order, and all of that would be signed differently by an honest client than read by us.
// broken is set when the end of this request cannot be told for sure, so that the connection must not be used again.
func readHeaders(raw []byte, set *header.Set) (f framing, broken bool, err error) {
	f.length = -1
	keep := func(e error) {
		if err == nil {
			err = e
		}
	}
	for len(raw) > 0 {
		line, rest, ended := bytes.Cut(raw, []byte("\r\n"))
		raw = rest
		if len(line) == 0 {
			break
		}
		name, value, found := bytes.Cut(line, []byte{':'})
		// A line that begins with white space would continue the one before it (obs-fold, RFC 9112 5.2).
		if !ended || !found || !token(name) || bytes.IndexByte(value, '\n') >= 0 {
			broken = true
			keep(azerr.InvalidInput.Because(errHeaderLine))
			continue
		}
		if e := set.Add(name, value); e != nil {
			keep(e)
		}
	}
	if set.Has(header.TransferEncoding) {
		f.chunked, broken = true, true
		if set.Has(header.ContentLength) {
			keep(azerr.BadHeader(header.TransferEncoding.String(), set.String(header.TransferEncoding)))
		}
	}
	n, present, e := header.Length(set)
	if e != nil {
		broken = true
		keep(e)
	} else if present {
		f.length = n
	}
	return f, broken, err
}

// token reports whether name can be the name of a header (RFC 9110 5.6.2).
func token(name []byte) bool {
	for _, c := range name {
		if !tokenByte[c] {
			return false
		}
	}
	return len(name) > 0
}

var tokenByte = func() (t [256]bool) {
	for c := '0'; c <= '9'; c++ {
		t[c] = true
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c], t[c-'a'+'A'] = true, true
	}
	for _, c := range "!#$%&'*+-.^_`|~" {
		t[c] = true
	}
	return t
}()
