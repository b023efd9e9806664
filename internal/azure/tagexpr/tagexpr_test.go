package tagexpr

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// tagMap is a set of tags.
type tagMap map[string]string

func (m tagMap) Get(key string) (string, bool) {
	v, ok := m[key]
	return v, ok
}

// parseTags reads "a=1 b=2".
func parseTags(t *testing.T, args []datadriven.CmdArg) tagMap {
	t.Helper()
	m := tagMap{}
	for _, a := range args {
		m[a.Key] = strings.Join(a.Vals, ",")
	}
	return m
}

// TestTranscripts runs testdata: where and condition parse their input; match decides what was parsed last for the tags
// that follow.
func TestTranscripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		var last interface{ Holds(Tags) bool }
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "where", "container-where":
				w, err := ParseWhere(d.Input, d.Cmd == "where")
				if err != nil {
					return "error: " + err.Error() + "\n"
				}
				last = w
				return describe(w)
			case "condition":
				c, err := ParseCondition(d.Input)
				if err != nil {
					return "error: " + err.Error() + "\n"
				}
				last = c
				return c.String() + "\n"
			case "match":
				return fmt.Sprintln(last.Holds(parseTags(t, d.CmdArgs)))
			}
			t.Fatalf("%s: no command %s", d.Pos, d.Cmd)
			return ""
		})
	})
}

func describe(w *Where) string {
	var b strings.Builder
	if w.HasContainer {
		fmt.Fprintf(&b, "in %q\n", w.Container)
	}
	for i := range w.Keys {
		k := &w.Keys[i]
		open, end := "(", "…)"
		if k.LowIn {
			open = "["
		}
		if k.HasHigh {
			end = fmt.Sprintf("%q)", k.High)
			if k.HighIn {
				end = fmt.Sprintf("%q]", k.High)
			}
		}
		fmt.Fprintf(&b, "%q %s%q, %s one %v\n", k.Key, open, k.Low, end, k.One())
	}
	return b.String()
}

func TestLimits(t *testing.T) {
	f := func(text string, ok bool) {
		t.Helper()
		if _, err := ParseCondition(text); (err == nil) != ok {
			t.Errorf("%.40s… (%d bytes): %v", text, len(text), err)
		}
	}
	f(strings.Repeat("(", depthMax)+"a='b'"+strings.Repeat(")", depthMax), true)
	f(strings.Repeat("(", depthMax+1)+"a='b'"+strings.Repeat(")", depthMax+1), false)
	f(strings.Repeat("not ", depthMax+1)+"a='b'", false)
	f("a='"+strings.Repeat("b", lengthMax-4)+"'", true)
	f("a='"+strings.Repeat("b", lengthMax-3)+"'", false)
	f(strings.Repeat("k", keyMax)+"='b'", true)
	f(strings.Repeat("k", keyMax+1)+"='b'", false)
}

// FuzzParse: nothing panics; what a condition is written as reads back as itself and decides alike; a where expression
// holds exactly if it does as a condition.
func FuzzParse(f *testing.F) {
	for _, s := range []string{`a='b'`, `"a b" >= '1' AND "a b" < '2'`, `@container = 'c' AND x='y'`, `NOT (a<>'b' OR c='''')`, `((`} {
		f.Add(s, "b", "2")
	}
	f.Fuzz(func(t *testing.T, text, one, two string) {
		tags := tagMap{"a": one, "c": two, "x": one, "a b": two}
		c, err := ParseCondition(text)
		if err == nil {
			again, err := ParseCondition(c.String())
			if len(c.String()) <= lengthMax && strings.Count(text, "(") < 8 && err != nil {
				t.Fatalf("%q: written as %q: %v", text, c, err)
			}
			if err == nil && (again.String() != c.String() || again.Holds(tags) != c.Holds(tags)) {
				t.Fatalf("%q: %q, then %q", text, c, again)
			}
		}
		w, errWhere := ParseWhere(text, false)
		if errWhere == nil && (err != nil || w.Holds(tags) != c.Holds(tags)) {
			t.Fatalf("%q: as a search %v, as a condition %v, %v", text, w.Holds(tags), c, err)
		}
		_, _ = ParseWhere(text, true)
	})
}
