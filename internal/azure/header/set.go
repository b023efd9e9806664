// Package header knows the headers of the Blob protocol: their names, and how the values of the common ones are read
// and written. It turns wire syntax into Go values and says which error bad syntax gets. What a value means to a blob
// is for others to say.
//
// Values handed out are borrowed from the request, which a server reuses; whoever keeps one copies it. Functions that
// return strings have copied.
package header

import (
	"strings"

	"pagevault/internal/azure/azerr"
)

// maxFields bounds the headers of one request that we keep. HTTP.sys, in front of the real service, stops at 16 KiB of
// headers, which is fewer than this.
const maxFields = 4096

const (
	xmsPrefix  = "x-ms-"
	metaPrefix = "x-ms-meta-"
	// maxName is the longest header name that can be one of ours.
	maxName = 40
)

// Set holds the headers of one request. The zero Set is empty and ready; Reset it to use it again. It allocates only
// to grow. It is not safe for concurrent use.
type Set struct {
	at     [idEnd]uint16 // 1 + index in fields, 0 when absent
	fields []field       // in the order they came
	meta   int           // how many fields are x-ms-meta-*
}

type field struct {
	id          ID // 0 for an x-ms-* header we have no name for, and for metadata
	meta        bool
	name, value []byte
}

// Pair is a name and a value, both copied. It carries metadata everywhere: names without the prefix, in the case and
// order in which they were sent.
type Pair struct{ Name, Value string }

// Reset empties the set and lets go of the request's memory.
func (s *Set) Reset() {
	clear(s.at[:])
	clear(s.fields)
	s.fields = s.fields[:0]
	s.meta = 0
}

// Add takes a header as it came over the wire, in any case. Unknown headers are dropped unless their name begins with
// x-ms-, since those are signed. A header we know takes one value: the second is InvalidHeaderValue, because proxies
// and servers disagree on which of the two counts. So every line of the request must come here, also those that a HTTP
// library keeps elsewhere. The set keeps name and value until Reset.
func (s *Set) Add(name, value []byte) error {
	id := Lookup(name)
	if id == 0 && !hasPrefixFold(name, xmsPrefix) {
		return nil
	}
	if id != 0 && s.at[id] != 0 {
		if id.Secret() {
			value = nil
		}
		return azerr.BadHeader(id.String(), string(value))
	}
	if len(s.fields) == maxFields {
		return azerr.InvalidInput.Because(errTooMany)
	}
	f := field{id: id, name: name, value: trim(value)}
	if id == 0 && hasPrefixFold(name, metaPrefix) {
		f.meta = true
		s.meta++
	}
	s.fields = append(s.fields, f)
	if id != 0 {
		s.at[id] = uint16(len(s.fields))
	}
	return nil
}

// Get returns the value of a header, nil when it is absent. A header that is present and empty gives an empty slice
// that is not nil.
func (s *Set) Get(id ID) []byte {
	i := s.at[id]
	if i == 0 {
		return nil
	}
	return s.fields[i-1].value
}

// Has reports whether the header is present, even if it is empty.
func (s *Set) Has(id ID) bool { return s.at[id] != 0 }

// String returns a copy of the value, empty when the header is absent.
func (s *Set) String(id ID) string { return string(s.Get(id)) }

// HasMeta reports whether the request carries metadata of any kind, valid or not.
func (s *Set) HasMeta() bool { return s.meta != 0 }

// XMs yields all x-ms-* headers in the order they came, names as they were sent. Of the headers we have no name for
// the same one may come twice.
func (s *Set) XMs(yield func(name, value []byte) bool) {
	for i := range s.fields {
		f := &s.fields[i]
		if (f.id == 0 || f.id >= XMsAccessTier) && !yield(f.name, f.value) {
			return
		}
	}
}

// Present yields the headers we have a name for, in the order they came.
func (s *Set) Present(yield func(id ID) bool) {
	for i := range s.fields {
		if id := s.fields[i].id; id != 0 && !yield(id) {
			return
		}
	}
}

// Lookup returns the ID of a header name in any case, 0 for one we do not look at.
func Lookup(name []byte) ID {
	if len(name) > maxName {
		return 0
	}
	var buf [maxName]byte
	for i, c := range name {
		buf[i] = lower(c)
	}
	return byName[string(buf[:len(name)])]
}

// byName finds an ID by its lower-case name.
var byName = func() map[string]ID {
	m := make(map[string]ID, idEnd)
	for id := ID(1); id < idEnd; id++ {
		m[strings.ToLower(names[id])] = id
	}
	return m
}()

// hasPrefixFold reports whether b begins with prefix, which is in lower case, in any case.
func hasPrefixFold(b []byte, prefix string) bool {
	if len(b) < len(prefix) {
		return false
	}
	for i := range len(prefix) {
		if lower(b[i]) != prefix[i] {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// trim cuts the optional white space around a header's value. The result is never nil.
func trim(v []byte) []byte {
	for len(v) > 0 && (v[0] == ' ' || v[0] == '\t') {
		v = v[1:]
	}
	for len(v) > 0 && (v[len(v)-1] == ' ' || v[len(v)-1] == '\t') {
		v = v[:len(v)-1]
	}
	if v == nil {
		return empty
	}
	return v
}

var empty = []byte{}
