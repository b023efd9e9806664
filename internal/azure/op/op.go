// Package op is the table of the operations of the Blob protocol: how a request names one, since which service version
// it exists, and what we do with it. The server dispatches from it, the coverage document is generated from it, and
// the tests it names must exist.
//
// A request names an operation by the level of the resource in its path, its method, the query parameters restype and
// comp, and for a few operations by a header. There is no falling through: what the table does not have is an error.
package op

import (
	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/header"
	"pagevault/internal/azure/query"
)

//go:generate sh -c "go run ./gendoc > ../../../docs/protocol-coverage.md"

// Level is the kind of resource that the path of a request names.
type Level uint8

// The levels. AnyLevel appears in the table only: the operation is the same whatever the path.
const (
	Service Level = iota + 1
	Container
	Blob
	AnyLevel
)

// String returns the level in lower case.
func (l Level) String() string { return [...]string{"", "service", "container", "blob", "any"}[l] }

// State says what we do with an operation.
type State uint8

// The states.
const (
	Refused State = iota // answered with Row.Refusal and nothing else
	Partial              // done but for what Row.Note says, which is refused
	Done                 // done; headers and parameters listed with it are refused
)

// String returns the state in lower case.
func (s State) String() string { return [...]string{"refused", "partial", "done"}[s] }

// Conditions is the set of conditional headers an operation takes.
type Conditions uint8

// The conditional headers; IfSequence stands for x-ms-if-sequence-number-le, -lt and -eq, IfBlob for x-ms-blob-if-match,
// -none-match, -modified-since and -unmodified-since.
const (
	IfMatch Conditions = 1 << iota
	IfNoneMatch
	IfModifiedSince
	IfUnmodifiedSince
	IfSequence
	IfTags
	IfBlob

	dates = IfModifiedSince | IfUnmodifiedSince
	all   = IfMatch | IfNoneMatch | dates | IfTags
)

// Row is one operation.
type Row struct {
	ID         ID
	Name       string // as the REST reference has it
	Level      Level
	Methods    []string
	Restype    string // lower case, empty for none
	Comp       string // lower case, empty for none
	Selector   string // what else tells it from its neighbours, in words; Match has the code
	Since      string // first service version
	State      State
	Refusal    azerr.Code // what the client gets when State is Refused
	Note       string     // what the client sees beyond that, in words
	Conditions Conditions
	Snapshot   bool     // may be addressed to a snapshot
	Tests      []string // conformance tests: Test<Name> each
}

// Refuse returns the error of a refused row, nil for any other.
func (r *Row) Refuse() error {
	switch {
	case r.State != Refused:
		return nil
	case r.Refusal == azerr.InvalidQueryParameterValue:
		return azerr.BadQuery("comp", r.Comp, r.Note)
	case r.Refusal == azerr.APINotImplemented:
		return azerr.APINotImplemented.With("Operation", r.Name)
	}
	return r.Refusal
}

// methods are the verbs of HTTP. Any other is InvalidHttpVerb.
var methods = [...]string{"GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT"}

// restypes are the values of restype, by the level they belong to.
var restypes = [...]struct {
	value string
	level Level
}{{"service", Service}, {"container", Container}, {"account", AnyLevel}}

// byLevel holds the rows of each level, those of any level included.
var byLevel = func() (rows [AnyLevel][]*Row) {
	for i := range Table {
		for l := Service; l < AnyLevel; l++ {
			if Table[i].Level == l || Table[i].Level == AnyLevel {
				rows[l] = append(rows[l], &Table[i])
			}
		}
	}
	return rows
}()

// Match returns the row of the operation a request names. level is that of the path: Service, Container or Blob. The
// row may be a refused one; CheckSupported says so. Errors: InvalidHttpVerb for a verb HTTP does not have;
// InvalidQueryParameterValue naming restype or comp for values that do not go with the level; UnsupportedHttpVerb for
// a resource that does not take the method; and what a header that selects the operation may have wrong.
func Match(level Level, method []byte, q *query.Set, h *header.Set) (*Row, error) {
	if !knownMethod(method) {
		return nil, azerr.InvalidHttpVerb
	}
	if string(method) == "OPTIONS" {
		return row(CORSPreflight), nil
	}
	restype, err := q.One("restype")
	if err != nil {
		return nil, err
	}
	comp, err := q.One("comp")
	if err != nil {
		return nil, err
	}
	if level == Service && header.EqualFold(comp, "batch") && header.EqualFold(restype, "container") {
		restype = nil // so says the JavaScript SDK of an account whose name is in the path
	}
	if !goesWith(restype, level) {
		return nil, azerr.BadQuery("restype", string(restype), "not a restype of this resource")
	}
	return find(level, method, restype, comp, q, h)
}

func find(level Level, method, restype, comp []byte, q *query.Set, h *header.Set) (*Row, error) {
	found := false
	for _, r := range byLevel[level] {
		if !header.EqualFold(comp, r.Comp) || !header.EqualFold(restype, r.Restype) || r.ID == CORSPreflight {
			continue
		}
		found = true
		if r.takes(method) {
			return choose(r, q, h)
		}
	}
	if found {
		return nil, azerr.UnsupportedHttpVerb
	}
	return nil, azerr.BadQuery("comp", string(comp), "not a comp of this resource")
}

func (r *Row) takes(method []byte) bool {
	for _, m := range r.Methods {
		if m == string(method) {
			return true
		}
	}
	return false
}

func knownMethod(method []byte) bool {
	for _, m := range methods {
		if m == string(method) {
			return true
		}
	}
	return false
}

func goesWith(restype []byte, level Level) bool {
	for _, r := range restypes {
		if header.EqualFold(restype, r.value) {
			return r.level == level || r.level == AnyLevel
		}
	}
	return len(restype) == 0
}

// row returns the table's row of an ID.
func row(id ID) *Row { return &Table[id-1] }
