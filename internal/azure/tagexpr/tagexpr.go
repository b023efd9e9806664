// Package tagexpr reads the expressions over the tags of a blob that the protocol has, and decides them: the one of Find
// Blobs by Tags (where), which names what to look for in an index, and the one of x-ms-if-tags, which is a condition on
// one blob.
//
// It is pure and knows neither blobs nor indexes. Keys and values are compared byte by byte, and case counts. A blob
// without a key meets no comparison with it, not even one with <>.
package tagexpr

import (
	"strings"
)

// Op is a comparison.
type Op uint8

// The comparisons.
const (
	Equal Op = iota + 1
	NotEqual
	Less
	LessEqual
	Greater
	GreaterEqual
)

var opNames = [...]string{"", "=", "<>", "<", "<=", ">", ">="}

// String returns the comparison as expressions spell it.
func (o Op) String() string { return opNames[o] }

// lower and upper report whether the comparison bounds values from below or above.
func (o Op) lower() bool { return o == Greater || o == GreaterEqual }
func (o Op) upper() bool { return o == Less || o == LessEqual }

// Term compares the value of one tag.
type Term struct {
	Key   string
	Op    Op
	Value string
}

// holds decides the term for a blob whose tag has the value.
func (t *Term) holds(value string) bool {
	switch c := strings.Compare(value, t.Value); t.Op {
	case Equal:
		return c == 0
	case NotEqual:
		return c != 0
	case Less:
		return c < 0
	case LessEqual:
		return c <= 0
	case Greater:
		return c > 0
	default:
		return c >= 0
	}
}

// Tags are the tags of one blob: Get returns the value of a key, ok is false where there is no such tag.
type Tags interface {
	Get(key string) (value string, ok bool)
}

// Bounds are the values that one key may have: those from Low to High. Without HasHigh there is no end; no Low and LowIn
// is no beginning.
type Bounds struct {
	Key           string
	Low, High     string
	LowIn, HighIn bool // the bound itself belongs to them
	HasHigh       bool
}

// One reports whether the bounds leave one value only, which is then Low.
func (b *Bounds) One() bool { return b.HasHigh && b.Low == b.High && b.LowIn && b.HighIn }

// Contains reports whether a value is within the bounds.
func (b *Bounds) Contains(value string) bool {
	if value < b.Low || value == b.Low && !b.LowIn {
		return false
	}
	return !b.HasHigh || value < b.High || value == b.High && b.HighIn
}

// Where is what Find Blobs by Tags looks for: blobs with all the keys, each with a value within its bounds.
type Where struct {
	Keys         []Bounds // in the order in which the expression names them, each once
	Container    string   // of the term @container
	HasContainer bool
}

// Holds decides whether a blob with these tags is meant. The container is the caller's to compare.
func (w *Where) Holds(tags Tags) bool {
	for i := range w.Keys {
		value, ok := tags.Get(w.Keys[i].Key)
		if !ok || !w.Keys[i].Contains(value) {
			return false
		}
	}
	return true
}

// Names reports whether the expression is about a key.
func (w *Where) Names(key string) bool {
	for i := range w.Keys {
		if w.Keys[i].Key == key {
			return true
		}
	}
	return false
}

// add takes a term of a where expression. A key may be named once, or twice for a lower and an upper bound.
func (w *Where) add(t *Term) error {
	var b *Bounds
	for i := range w.Keys {
		if w.Keys[i].Key == t.Key {
			b = &w.Keys[i]
		}
	}
	seen := b != nil
	if !seen {
		w.Keys = append(w.Keys, Bounds{Key: t.Key, LowIn: true})
		b = &w.Keys[len(w.Keys)-1]
	}
	hasLow := b.Low != "" || !b.LowIn
	switch {
	case t.Op == NotEqual:
		return errNotEqual
	case t.Op == Equal && !seen:
		*b = Bounds{Key: t.Key, Low: t.Value, LowIn: true, High: t.Value, HighIn: true, HasHigh: true}
	case t.Op.lower() && (!seen || b.HasHigh && !hasLow && !b.One()):
		b.Low, b.LowIn = t.Value, t.Op == GreaterEqual
	case t.Op.upper() && !b.HasHigh:
		b.High, b.HighIn, b.HasHigh = t.Value, t.Op == LessEqual, true
	default:
		return errTwice
	}
	return nil
}

// Condition is what x-ms-if-tags asks of a blob.
type Condition struct{ root *node }

// node is a comparison, or what joins others.
type node struct {
	kind kind
	term Term
	kids []*node
}

type kind uint8

const (
	compare kind = iota
	and
	or
	not
)

// Holds decides the condition for a blob with these tags.
func (c *Condition) Holds(tags Tags) bool { return c.root.holds(tags) }

func (n *node) holds(tags Tags) bool {
	switch n.kind {
	case not:
		return !n.kids[0].holds(tags)
	case and:
		for _, k := range n.kids {
			if !k.holds(tags) {
				return false
			}
		}
		return true
	case or:
		for _, k := range n.kids {
			if k.holds(tags) {
				return true
			}
		}
		return false
	}
	value, ok := tags.Get(n.term.Key)
	return ok && n.term.holds(value)
}

// String returns the condition with every pair of parentheses that it could have.
func (c *Condition) String() string { return c.root.text() }

func (n *node) text() string {
	if n.kind == compare {
		return `"` + n.term.Key + `" ` + n.term.Op.String() + " '" + strings.ReplaceAll(n.term.Value, "'", "''") + "'"
	}
	if n.kind == not {
		return "(NOT " + n.kids[0].text() + ")"
	}
	parts := make([]string, len(n.kids))
	for i, k := range n.kids {
		parts[i] = k.text()
	}
	return "(" + strings.Join(parts, [...]string{and: " AND ", or: " OR "}[n.kind]) + ")"
}
