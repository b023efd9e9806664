package signing

import (
	"bytes"
	"slices"
	"sync"

	"pagevault/internal/azure/header"
	"pagevault/internal/azure/query"
)

// secondary follows an account's name in the path of its read-only replica.
const secondary = "-secondary"

// form is one of the ways to write the canonical text.
type form struct {
	lite     bool // SharedKeyLite
	bytewise bool // headers sorted by bytes, not as words
	dateToo  bool // the Date line filled although x-ms-date is there
	primary  bool // -secondary cut from the account in the path
}

// forms yields the forms in the order of how common they are, those sorted bytewise last.
func forms(yield func(form) bool) {
	for i := range 8 {
		if !yield(form{bytewise: i&4 != 0, dateToo: i&2 != 0, primary: i&1 != 0}) {
			return
		}
	}
}

// scratch is the memory of one verification, reused.
type scratch struct {
	text           []byte // the string to sign
	names          []byte // header names in lower case
	headers        []pair // x-ms-*
	params         []query.Param
	sortedBytewise bool
	sum            [32]byte
	given          [36]byte
}

// pair is one x-ms-* header: the name in lower case, the value borrowed from the request.
type pair struct{ name, value []byte }

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// maxKept is the most memory a scratch keeps for its next use; requests near the limit on headers are rare.
const maxKept = 64 << 10

// release gives s back. It forgets the request.
func (s *scratch) release() {
	if cap(s.text)+cap(s.names) > maxKept {
		return
	}
	clear(s.headers)
	clear(s.params)
	s.text, s.names, s.headers, s.params = s.text[:0], s.names[:0], s.headers[:0], s.params[:0]
	scratches.Put(s)
}

// collect takes from r what needs sorting.
func (s *scratch) collect(r *Request) {
	for name, value := range r.Headers.XMs {
		at := len(s.names)
		for _, c := range name {
			if 'A' <= c && c <= 'Z' {
				c += 'a' - 'A'
			}
			s.names = append(s.names, c)
		}
		s.headers = append(s.headers, pair{s.names[at:len(s.names):len(s.names)], value})
	}
	slices.SortStableFunc(s.headers, compareWords)
	s.sortedBytewise = false
	s.params = append(s.params, r.Query.Params()...)
	slices.SortStableFunc(s.params, func(a, b query.Param) int {
		if c := bytes.Compare(a.Name, b.Name); c != 0 {
			return c
		}
		return bytes.Compare(a.Value, b.Value)
	})
}

// sort brings the headers into one of the two orders. Headers of one name stay in the order they came.
func (s *scratch) sort(bytewise bool) {
	if bytewise == s.sortedBytewise {
		return
	}
	compare := compareWords
	if bytewise {
		compare = compareBytes
	}
	slices.SortStableFunc(s.headers, compare)
	s.sortedBytewise = bytewise
}

// inByteOrder reports whether the headers are in the order of their bytes.
func (s *scratch) inByteOrder() bool { return slices.IsSortedFunc(s.headers, compareBytes) }

func compareBytes(a, b pair) int { return bytes.Compare(a.name, b.name) }

// major is the weight of a character when names are compared as words: zero for those that count only between names
// that are otherwise equal. It gives the order of Windows, restricted to characters that header names may have.
var major = func() (w [256]uint8) {
	for i, c := range []byte("!#$%&*.^_`|~+0123456789abcdefghijklmnopqrstuvwxyz") {
		w[c] = uint8(i + 2) // 1 is the end of the name
	}
	return w
}()

// minor is the weight of the characters that major leaves out.
var minor = [256]uint8{'\'': 2, '-': 3}

// compareWords compares two names in lower case as Windows compares words: without hyphens first. Between names that
// are equal but for hyphens, the one with a hyphen at the first difference comes second. Duplicates compare equal.
func compareWords(a, b pair) int {
	x, y := a.name, b.name
	for {
		for len(x) > 0 && major[x[0]] == 0 {
			x = x[1:]
		}
		for len(y) > 0 && major[y[0]] == 0 {
			y = y[1:]
		}
		if len(x) == 0 || len(y) == 0 {
			break
		}
		if d := int(major[x[0]]) - int(major[y[0]]); d != 0 {
			return d
		}
		x, y = x[1:], y[1:]
	}
	if d := len(x) - len(y); d != 0 {
		return d
	}
	for i := range min(len(a.name), len(b.name)) {
		if d := int(minor[a.name[i]]) - int(minor[b.name[i]]); d != 0 {
			return d
		}
	}
	return len(a.name) - len(b.name)
}

// zeroLengthSigned is the first version in which a Content-Length of 0 is signed as an empty line, and emptySigned the
// first in which an x-ms-* header without a value is signed.
const (
	zeroLengthSigned = "2015-02-21"
	emptySigned      = "2016-05-31"
)

// signed are the headers whose values are lines of the text, in order, after the method. Date has its own rule.
var (
	signed = [...]header.ID{header.ContentEncoding, header.ContentLanguage, header.ContentLength, header.ContentMD5,
		header.ContentType, header.Date, header.IfModifiedSince, header.IfMatch, header.IfNoneMatch, header.IfUnmodifiedSince,
		header.RangeHeader}
	signedLite = [...]header.ID{header.ContentMD5, header.ContentType, header.Date}
)

// build writes the string to sign and returns it, borrowed from s. The headers are sorted already.
func (s *scratch) build(r *Request, account string, f form) []byte {
	lines := signed[:]
	if f.lite {
		lines = signedLite[:]
	}
	h := r.Headers
	version := h.Get(header.XMsVersion)
	t := append(append(s.text[:0], r.Method...), '\n')
	for _, id := range lines {
		v := h.Get(id)
		switch {
		case id == header.Date && h.Has(header.XMsDate) && !f.dateToo:
			v = nil
		case id == header.ContentLength && string(v) == "0" && (len(version) == 0 || string(version) >= zeroLengthSigned):
			v = nil
		}
		t = append(append(t, v...), '\n')
	}
	t = s.appendHeaders(t, len(version) == 0 || string(version) >= emptySigned)
	t = append(append(t, '/'), account...)
	t = appendPath(t, r, account, f.primary)
	if f.lite {
		t = s.appendComp(t)
	} else {
		t = s.appendParams(t)
	}
	s.text = t
	return t
}

// appendHeaders writes name:value lines, values of the same name joined by commas.
func (s *scratch) appendHeaders(t []byte, empty bool) []byte {
	for i := 0; i < len(s.headers); {
		name := s.headers[i].name
		at := len(t)
		t = append(append(t, name...), ':')
		from := len(t)
		for n := 0; i < len(s.headers) && bytes.Equal(s.headers[i].name, name); i, n = i+1, n+1 {
			if n > 0 {
				t = append(t, ',')
			}
			t = append(t, s.headers[i].value...)
		}
		if len(t) == from && !empty {
			t = t[:at]
			continue
		}
		t = append(t, '\n')
	}
	return t
}

// appendPath writes the path as it came, which is / when there is none.
func appendPath(t []byte, r *Request, account string, primary bool) []byte {
	path := r.RawPath
	if primary {
		t = append(append(t, '/'), account...)
		path = path[min(len(path), len("/")+len(account)+len(secondary)):]
	} else if len(path) == 0 {
		t = append(t, '/')
	}
	return append(t, path...)
}

// appendParams writes a line for every query parameter, values of the same name sorted and joined by commas.
func (s *scratch) appendParams(t []byte) []byte {
	for i, p := range s.params {
		if i > 0 && bytes.Equal(p.Name, s.params[i-1].Name) {
			t = append(t, ',')
		} else {
			t = append(t, '\n')
			t = append(append(t, p.Name...), ':')
		}
		t = append(t, p.Value...)
	}
	return t
}

// appendComp writes comp, the only parameter that SharedKeyLite covers.
func (s *scratch) appendComp(t []byte) []byte {
	for _, p := range s.params {
		if string(p.Name) == "comp" {
			return append(append(t, "?comp="...), p.Value...)
		}
	}
	return t
}
