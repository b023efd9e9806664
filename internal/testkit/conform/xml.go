package conform

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
)

// node is one XML element, children and attributes in document order.
type node struct {
	name     string
	attrs    []xml.Attr
	text     string // of the element itself
	children []*node
}

// parseXML reads a whole document into its root.
func parseXML(body []byte) (*node, error) {
	d := xml.NewDecoder(bytes.NewReader(bytes.TrimPrefix(body, []byte("\xEF\xBB\xBF"))))
	root := &node{}
	stack := []*node{root}
	for {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("not XML: %w: %.300q", err, body)
		}
		top := stack[len(stack)-1]
		switch token := token.(type) {
		case xml.StartElement:
			n := &node{name: token.Name.Local, attrs: token.Copy().Attr}
			top.children = append(top.children, n)
			stack = append(stack, n)
		case xml.EndElement:
			stack = stack[:len(stack)-1]
		case xml.CharData:
			top.text += string(token)
		}
	}
	if len(root.children) != 1 {
		return nil, fmt.Errorf("%d root elements: %.300q", len(root.children), body)
	}
	return root.children[0], nil
}

// attr returns an attribute, "" when absent.
func (n *node) attr(name string) string {
	for _, a := range n.attrs {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

// child follows names downwards, each time to the first child so named; nil when one is missing.
func (n *node) child(names ...string) *node {
	for _, name := range names {
		var next *node
		for _, c := range n.children {
			if c.name == name {
				next = c
				break
			}
		}
		if next == nil {
			return nil
		}
		n = next
	}
	return n
}

// value is the text of child(names…), "" when there is none.
func (n *node) value(names ...string) string {
	if c := n.child(names...); c != nil {
		return c.text
	}
	return ""
}

// names returns the children's names in order, joined by spaces.
func (n *node) names() string {
	names := make([]string, len(n.children))
	for i, c := range n.children {
		names[i] = c.name
	}
	return strings.Join(names, " ")
}

// xml parses the body of a reply or ends the test.
func (w *wire) xml(r *reply) *node {
	w.Helper()
	root, err := parseXML(r.body)
	if err != nil {
		w.Fatalf("%v:\n%v", err, r)
	}
	return root
}
