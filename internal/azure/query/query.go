// Package query reads the query of a request once, for everybody: dispatch, signing and handlers must not disagree on
// what a parameter says.
package query

import (
	"errors"
	"unicode/utf8"

	"pagevault/internal/azure/azerr"
)

// maxParams bounds the parameters of one request. The longest real query, a delegation token with a listing, has about
// thirty.
const maxParams = 256

// Set is the parsed query of one request. The zero Set is empty and ready; Parse it again to use it again. It
// allocates only to grow. It is not safe for concurrent use.
type Set struct {
	params []Param
	buf    []byte
}

// Param is one parameter: the name in lower case, since the service does not tell cases apart, and the value, both
// decoded. They are borrowed from the Set.
type Param struct{ Name, Value []byte }

var (
	errEscape = errors.New("query: bad percent escape")
	errUTF8   = errors.New("query: not UTF-8")
	errMany   = errors.New("query: too many parameters")
)

// Parse reads what follows the question mark, as it came over the wire. Plus means space, as clients sign it. The
// error is InvalidUri for bad escapes and for what is not UTF-8 once decoded. The set copies what it keeps.
func (s *Set) Parse(raw []byte) error {
	s.params, s.buf = s.params[:0], s.buf[:0]
	if cap(s.buf) < len(raw) {
		s.buf = make([]byte, 0, max(256, 2*len(raw))) // params point into it, so it must not move
	}
	for len(raw) > 0 {
		var part []byte
		part, raw = cut(raw, '&')
		if len(part) == 0 {
			continue
		}
		if len(s.params) == maxParams {
			return azerr.InvalidUri.Because(errMany)
		}
		name, value := cut(part, '=')
		n, err := s.decode(name)
		if err != nil {
			return err
		}
		for i, c := range n {
			if 'A' <= c && c <= 'Z' {
				n[i] = c + 'a' - 'A'
			}
		}
		v, err := s.decode(value)
		if err != nil {
			return err
		}
		s.params = append(s.params, Param{n, v})
	}
	return nil
}

// Params returns all parameters in the order they came. They are borrowed, the slice too.
func (s *Set) Params() []Param { return s.params }

// Has reports whether the parameter is present, even if it is empty. name is in lower case.
func (s *Set) Has(name string) bool {
	for i := range s.params {
		if string(s.params[i].Name) == name {
			return true
		}
	}
	return false
}

// Get returns the first value of a parameter, borrowed; nil when it is absent. name is in lower case.
func (s *Set) Get(name string) []byte {
	for i := range s.params {
		if string(s.params[i].Name) == name {
			return s.params[i].Value
		}
	}
	return nil
}

// String returns a copy of the first value of a parameter, empty when it is absent. name is in lower case.
func (s *Set) String(name string) string { return string(s.Get(name)) }

// One returns the value of a parameter that may be given once, empty when it is absent, borrowed. Given twice it is
// InvalidQueryParameterValue. name is in lower case.
func (s *Set) One(name string) ([]byte, error) {
	var value []byte
	seen := false
	for i := range s.params {
		if string(s.params[i].Name) != name {
			continue
		}
		if seen {
			return nil, azerr.BadQuery(name, string(s.params[i].Value), "given twice")
		}
		seen, value = true, s.params[i].Value
	}
	return value, nil
}

// decode appends the decoded form of v to the buffer, which is large enough, and returns it. It is never nil.
func (s *Set) decode(v []byte) ([]byte, error) {
	at := len(s.buf)
	for i := 0; i < len(v); i++ {
		c := v[i]
		switch c {
		case '+':
			c = ' '
		case '%':
			if i+2 >= len(v) {
				return nil, azerr.InvalidUri.Because(errEscape)
			}
			hi, lo := unhex(v[i+1]), unhex(v[i+2])
			if hi < 0 || lo < 0 {
				return nil, azerr.InvalidUri.Because(errEscape)
			}
			c = byte(hi<<4 | lo)
			i += 2
		}
		s.buf = append(s.buf, c)
	}
	out := s.buf[at:len(s.buf):len(s.buf)]
	if !utf8.Valid(out) {
		return nil, azerr.InvalidUri.Because(errUTF8)
	}
	return out, nil
}

func cut(b []byte, sep byte) (before, after []byte) {
	for i, c := range b {
		if c == sep {
			return b[:i], b[i+1:]
		}
	}
	return b, nil
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
