package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// module is our import path; an import below it is an edge of the map.
const module = "pagevault"

// root is the top of the repository as seen from this package's folder, where go test runs.
const root = "../.."

// source is one Go file, whatever its build tags.
type source struct {
	name    string // slash-separated, from the repository's top
	dir     string
	test    bool
	file    *ast.File
	imports []string
}

// imported returns the file's own name for the import path, "" if it does not import it.
func (s *source) imported(importPath string) string {
	for _, spec := range s.file.Imports {
		if p, _ := strconv.Unquote(spec.Path.Value); p == importPath {
			if spec.Name != nil {
				return spec.Name.Name
			}
			return path.Base(p)
		}
	}
	return ""
}

// sources parses every Go file of the repository.
func sources(t *testing.T) []*source {
	t.Helper()
	var all []*source
	fset := token.NewFileSet()
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			if rel != "." && (strings.HasPrefix(d.Name(), ".") || strings.HasPrefix(d.Name(), "_") || slices.Contains(noCode, d.Name())) {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(rel, ".go") {
			return nil
		}
		f, err := parser.ParseFile(fset, name, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		s := &source{name: rel, dir: path.Dir(rel), test: strings.HasSuffix(rel, "_test.go"), file: f}
		for _, spec := range f.Imports {
			p, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			s.imports = append(s.imports, p)
		}
		all = append(all, s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		t.Fatal("no Go files found: is this test still two folders below the top?")
	}
	return all
}

// tracked returns the names of all files that git knows or would add, from the repository's top.
func tracked(t *testing.T) []string {
	t.Helper()
	cmd := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	cmd.Dir = root
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("git ls-files, which says what is published: %v", err)
	}
	var names []string
	for name := range strings.SplitSeq(string(out), "\x00") {
		if _, err := os.Lstat(filepath.Join(root, name)); name != "" && err == nil { // a deleted file is still in the index
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		t.Fatal("git ls-files lists nothing")
	}
	return names
}

// within reports whether dir is one of trees or lies below one.
func within(dir string, trees ...string) bool {
	return slices.ContainsFunc(trees, func(tree string) bool {
		return dir == tree || strings.HasPrefix(dir, tree+"/")
	})
}
