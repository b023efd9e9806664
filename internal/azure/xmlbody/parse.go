package xmlbody

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"

	"pagevault/internal/azure/azerr"
)

const (
	// maxBody bounds a request body other than a block list: what the largest set of CORS rules needs, and more.
	maxBody = 64 << 10
	// maxDepth bounds nesting; the deepest document we read has four levels.
	maxDepth = 16
)

// node is an element: text or children, never both.
type node struct {
	name string
	text string // white space at the ends cut off
	raw  string // the same with it
	kids []*node
}

// parseTree reads a small document whose root must have the given name. It takes a byte order mark, any white space
// and comments, and ignores attributes and namespaces. The errors are RequestBodyTooLarge and InvalidXmlDocument.
func parseTree(body []byte, root string) (*node, error) {
	if len(body) > maxBody {
		return nil, azerr.RequestBodyTooLarge.With("MaxLimit", fmt.Sprint(maxBody))
	}
	d := xml.NewDecoder(bytes.NewReader(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))))
	var top node // holds the root as its child
	if err := parseInto(d, &top, 0); err != nil {
		e := azerr.InvalidXmlDocument.Because(err)
		line, column := d.InputPos()
		e.Details = []azerr.Detail{
			{Name: "LineNumber", Value: fmt.Sprint(line)},
			{Name: "LinePosition", Value: fmt.Sprint(column)},
			{Name: "Reason", Value: err.Error()},
		}
		return nil, e
	}
	if len(top.kids) != 1 || top.kids[0].name != root {
		return nil, azerr.InvalidXmlDocument.With("Reason", "the document is not a "+root)
	}
	return top.kids[0], nil
}

var (
	errDirective = errors.New("document type declarations are not accepted")
	errMixed     = errors.New("text beside elements")
	errDepth     = errors.New("nested too deeply")
)

// parseInto reads up to the end of n, which is that of the document at depth 0.
func parseInto(d *xml.Decoder, n *node, depth int) error {
	if depth > maxDepth {
		return errDepth
	}
	var text strings.Builder
	for {
		tok, err := d.Token()
		if err == io.EOF && depth == 0 {
			break
		}
		if err != nil {
			return err
		}
		switch t := tok.(type) {
		case xml.StartElement:
			kid := &node{name: t.Name.Local}
			if err := parseInto(d, kid, depth+1); err != nil {
				return err
			}
			n.kids = append(n.kids, kid)
			continue
		case xml.CharData:
			text.Write(t)
			continue
		case xml.Directive:
			return errDirective
		case xml.EndElement:
		default: // comments, processing instructions and the declaration
			continue
		}
		break
	}
	n.raw = text.String()
	n.text = strings.Trim(n.raw, " \t\r\n")
	if n.text != "" && (len(n.kids) > 0 || depth == 0) {
		return errMixed
	}
	return nil
}

// fields reads the children of a node by name, each at most once, and remembers the first error.
type fields struct {
	of   *node
	used map[string]bool
	err  error
}

func fieldsOf(n *node) *fields {
	f := &fields{of: n, used: map[string]bool{}}
	if n.text != "" {
		f.err = azerr.InvalidXmlDocument.With("XmlNodeName", n.name, "XmlNodeValue", n.text)
	}
	return f
}

// get returns a child, nil when there is none.
func (f *fields) get(name string) *node {
	f.used[name] = true
	var found *node
	for _, k := range f.of.kids {
		if k.name != name {
			continue
		}
		if found != nil {
			f.fail(azerr.InvalidXmlDocument.With("XmlNodeName", name, "Reason", "given twice"))
		}
		found = k
	}
	return found
}

// leaf returns the text of a child; ok is false when there is none.
func (f *fields) leaf(name string) (text string, ok bool) {
	n := f.get(name)
	if n == nil {
		return "", false
	}
	if len(n.kids) > 0 {
		f.fail(azerr.InvalidXmlDocument.With("XmlNodeName", name, "Reason", "text expected"))
	}
	return n.text, true
}

// need is leaf for a child that must be there.
func (f *fields) need(name string) string {
	text, ok := f.leaf(name)
	if !ok {
		f.fail(azerr.MissingRequiredXmlNode.With("XmlNodeName", name))
	}
	return text
}

func (f *fields) fail(err error) {
	if f.err == nil {
		f.err = err
	}
}

// done returns the first error, which is UnsupportedXmlNode for a child that nobody asked for.
func (f *fields) done() error {
	for _, k := range f.of.kids {
		if !f.used[k.name] {
			f.fail(badNode(azerr.UnsupportedXmlNode, k.name, k.text))
		}
	}
	return f.err
}

// needBool reads a child that must be true or false.
func (f *fields) needBool(name string) bool { return f.bool(name, f.need(name)) }

func (f *fields) bool(name, text string) bool {
	switch {
	case strings.EqualFold(text, "true"):
		return true
	case !strings.EqualFold(text, "false"):
		f.fail(badNode(azerr.InvalidXmlNodeValue, name, text))
	}
	return false
}
