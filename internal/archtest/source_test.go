package archtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strings"
	"testing"
)

// uses returns the names of the package importPath that the file uses, out of names.
func uses(s *source, importPath string, names ...string) []string {
	local := s.imported(importPath)
	if local == "" {
		return nil
	}
	var found []string
	ast.Inspect(s.file, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if id, ok := sel.X.(*ast.Ident); ok && id.Name == local && slices.Contains(names, sel.Sel.Name) {
			found = append(found, sel.Sel.Name)
		}
		return true
	})
	return found
}

// TestOneClock: code that asks a Clock can be tested at any time of day; code that asks the system cannot.
func TestOneClock(t *testing.T) {
	used := map[string]bool{}
	for _, s := range sources(t) {
		if s.test || within(s.dir, "internal/testkit") {
			continue
		}
		for _, name := range uses(s, "time", "Now", "Since", "Until") {
			if _, ok := clockReaders[s.name]; !ok {
				t.Errorf("%s uses time.%s: take a clock.Clock (internal/clock is the only reader of the system clock)", s.name, name)
			}
			used[s.name] = true
		}
	}
	for name := range clockReaders {
		if !used[name] {
			t.Errorf("clockReaders lists %s, which does not read the clock", name)
		}
	}
}

// TestNobodySleeps: a sleep is too short on a busy machine and too long on an idle one. Wait for the condition.
func TestNobodySleeps(t *testing.T) {
	for _, s := range sources(t) {
		for range uses(s, "time", "Sleep") {
			t.Errorf("%s uses time.Sleep: wait for what it is waiting for", s.name)
		}
	}
}

// TestPackageComments: each package says what it provides, what it promises and what it leaves to others.
func TestPackageComments(t *testing.T) {
	doc := map[string]string{}
	for _, s := range sources(t) {
		if s.test || s.file.Name.Name == "main" && s.dir != "cmd/pagevault" {
			continue
		}
		if text := s.file.Doc.Text(); text != "" || doc[s.dir] == "" {
			doc[s.dir] = text
		}
	}
	for dir, text := range doc {
		if len(strings.Fields(text)) < 5 {
			t.Errorf("package in %s has no package comment", dir)
		}
	}
}

// TestUsesBites shows that the scan sees through a renamed import and is not fooled by another package of the name.
func TestUsesBites(t *testing.T) {
	f := func(text string, want int) {
		t.Helper()
		file, err := parser.ParseFile(token.NewFileSet(), "x.go", "package x\n"+text, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		if got := uses(&source{file: file}, "time", "Now", "Since"); len(got) != want {
			t.Errorf("%d uses found in %q, want %d", len(got), text, want)
		}
	}
	f(`import "time"; var a = time.Now()`, 1)
	f(`import clk "time"; var a = clk.Now; var b = clk.Since`, 2)
	f(`import "time"; var a time.Duration`, 0)
	f(`import "example.org/time"; var a = time.Now()`, 0)
	f(fmt.Sprintf("import %q; // time.Now\nvar s = `time.Now()`; var d time.Time", "time"), 0)
}
