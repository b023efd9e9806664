package tagexpr

import (
	"errors"
	"fmt"
	"strings"
)

const (
	// keyMax is the longest key a tag can have, in bytes: all its characters are ASCII.
	keyMax = 128
	// lengthMax bounds an expression: ten tags of the longest keys and values are well below it.
	lengthMax = 8 << 10
	// depthMax bounds the parentheses and NOTs around one comparison, which are read by recursion.
	depthMax = 64
)

var (
	errLength   = errors.New("the expression is too long")
	errDepth    = errors.New("nested too deeply")
	errNotEqual = errors.New("<> is not for a search")
	errTwice    = errors.New("a key is given more than once, and not as one lower and one upper bound")
	errScope    = errors.New("@container is for a search of the account only, once, with =")
	errNothing  = errors.New("no key is compared")
	errKey      = errors.New("not the key of a tag")
	errOpen     = errors.New("a quote is not closed")
)

// ParseWhere reads the expression of Find Blobs by Tags:
//
//	expr := term (AND term)*
//	term := key op 'value' | @container = 'name'
//
// A key is quoted (") unless it is a letter or underscore with letters, digits and underscores behind it; a quote in a
// value is doubled; AND is read in any case. account allows @container. At least one key must be named. The error says
// what is wrong and where, for the client.
func ParseWhere(text string, account bool) (*Where, error) {
	p, err := newParser(text)
	if err != nil {
		return nil, err
	}
	w := new(Where)
	for {
		t, err := p.term()
		if err != nil {
			return nil, err
		}
		switch {
		case !t.scope:
			err = w.add(&t.Term)
		case !account || w.HasContainer || t.Op != Equal:
			err = errScope
		default:
			w.Container, w.HasContainer = t.Value, true
		}
		if err != nil {
			return nil, p.at(err)
		}
		if p.done() {
			break
		}
		if !p.word("and") {
			return nil, p.expected("AND")
		}
	}
	if len(w.Keys) == 0 {
		return nil, errNothing
	}
	return w, nil
}

// ParseCondition reads the expression of x-ms-if-tags:
//
//	expr := all (OR all)*
//	all  := one (AND one)*
//	one  := NOT one | ( expr ) | key op 'value'
//
// Keys and values are as in ParseWhere; a key may be compared any number of times, and <> is a comparison too.
func ParseCondition(text string) (*Condition, error) {
	p, err := newParser(text)
	if err != nil {
		return nil, err
	}
	root, err := p.any(0)
	if err == nil && !p.done() {
		err = p.expected("AND or OR")
	}
	if err != nil {
		return nil, err
	}
	return &Condition{root}, nil
}

// parser reads an expression from its front.
type parser struct {
	text string
	pos  int
}

func newParser(text string) (*parser, error) {
	if len(text) > lengthMax {
		return nil, errLength
	}
	return &parser{text: text}, nil
}

func (p *parser) any(depth int) (*node, error) { return p.joined(or, "or", depth, p.all) }
func (p *parser) all(depth int) (*node, error) { return p.joined(and, "and", depth, p.one) }
func (p *parser) at(err error) error           { return fmt.Errorf("at character %d: %w", p.pos+1, err) }
func (p *parser) expected(what string) error   { return p.at(errors.New(what + " expected")) }

// joined reads what next reads, again after every word.
func (p *parser) joined(k kind, word string, depth int, next func(depth int) (*node, error)) (*node, error) {
	first, err := next(depth)
	if err != nil {
		return nil, err
	}
	kids := []*node{first}
	for p.word(word) {
		kid, err := next(depth)
		if err != nil {
			return nil, err
		}
		kids = append(kids, kid)
	}
	if len(kids) == 1 {
		return first, nil
	}
	return &node{kind: k, kids: kids}, nil
}

// one reads a comparison, what NOT turns around, or what is in parentheses.
func (p *parser) one(depth int) (*node, error) {
	if depth > depthMax {
		return nil, p.at(errDepth)
	}
	if p.word("not") {
		kid, err := p.one(depth + 1)
		return &node{kind: not, kids: []*node{kid}}, err
	}
	if p.symbol("(") {
		inner, err := p.any(depth + 1)
		if err == nil && !p.symbol(")") {
			err = p.expected(")")
		}
		return inner, err
	}
	t, err := p.term()
	if err == nil && t.scope {
		err = p.at(errScope)
	}
	return &node{kind: compare, term: t.Term}, err
}

// scopedTerm is a comparison as it is read; scope is set for @container.
type scopedTerm struct {
	Term
	scope bool
}

func (p *parser) term() (t scopedTerm, err error) {
	if p.symbol("@") {
		if !p.word("container") {
			return t, p.expected("container")
		}
		t.scope = true
	} else if t.Key, err = p.key(); err != nil {
		return t, err
	}
	if t.Op = p.op(); t.Op == 0 {
		return t, p.expected("a comparison")
	}
	p.skip()
	if !strings.HasPrefix(p.text[p.pos:], "'") {
		return t, p.expected("a value in single quotes")
	}
	t.Value, err = p.quoted('\'')
	return t, err
}

// key reads the key of a tag, quoted or not.
func (p *parser) key() (key string, err error) {
	p.skip()
	if strings.HasPrefix(p.text[p.pos:], `"`) {
		key, err = p.quoted('"')
	} else {
		key = p.text[p.pos : p.pos+wordLen(p.text[p.pos:])]
		switch strings.ToLower(key) {
		case "", "and", "or", "not":
			return "", p.expected("the key of a tag")
		}
		p.pos += len(key)
	}
	if err == nil && (len(key) > keyMax || !validKey(key)) {
		err = p.at(errKey)
	}
	return key, err
}

func validKey(key string) bool {
	for i := range len(key) {
		if c := key[i]; !letter(c) && !digit(c) && strings.IndexByte(" +-./:=_", c) < 0 {
			return false
		}
	}
	return key != ""
}

// op reads a comparison, 0 for none.
func (p *parser) op() Op {
	for _, o := range [...]Op{NotEqual, LessEqual, GreaterEqual, Equal, Less, Greater} { // the longer first
		if p.symbol(o.String()) {
			return o
		}
	}
	return 0
}

// quoted reads what is between quotes; a quote in it is doubled.
func (p *parser) quoted(q byte) (string, error) {
	var b strings.Builder
	for i := p.pos + 1; i < len(p.text); i++ {
		c := p.text[i]
		if c == q {
			if i+1 == len(p.text) || p.text[i+1] != q {
				p.pos = i + 1
				return b.String(), nil
			}
			i++
		}
		b.WriteByte(c)
	}
	return "", p.at(errOpen)
}

// word reads a keyword, given in lower case, if it comes next as a whole.
func (p *parser) word(word string) bool {
	p.skip()
	n := wordLen(p.text[p.pos:])
	if n != len(word) || !strings.EqualFold(p.text[p.pos:p.pos+n], word) {
		return false
	}
	p.pos += n
	return true
}

// symbol reads s if it comes next.
func (p *parser) symbol(s string) bool {
	p.skip()
	if !strings.HasPrefix(p.text[p.pos:], s) {
		return false
	}
	p.pos += len(s)
	return true
}

func (p *parser) done() bool {
	p.skip()
	return p.pos == len(p.text)
}

func (p *parser) skip() {
	for p.pos < len(p.text) && strings.IndexByte(" \t\r\n", p.text[p.pos]) >= 0 {
		p.pos++
	}
}

// wordLen is how many bytes of s are a word: a letter or underscore, then letters, digits and underscores.
func wordLen(s string) int {
	n := 0
	for n < len(s) && (letter(s[n]) || s[n] == '_' || n > 0 && digit(s[n])) {
		n++
	}
	return n
}

func letter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }
func digit(c byte) bool  { return '0' <= c && c <= '9' }
