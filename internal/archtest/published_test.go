package archtest

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

// machineWords match what belongs to the machine or the place where something was written, and not to what we publish.
// They are put together from pieces so that this file passes its own test.
var machineWords = []*regexp.Regexp{
	regexp.MustCompile(`(^|[^\w.~/-])/` + `(work|root|home/\w+)(/|\b)`), // absolute paths of somebody's machine
	regexp.MustCompile(`/tmp/` + `(pv|wt)\b`),
	regexp.MustCompile(`\b(proxy|sum)\.golang` + `\.org`), // registries: everybody has their own way to them
	regexp.MustCompile(`registry\.npmjs` + `\.org`),
	regexp.MustCompile(`\b(deb|security|archive)\.(debian|ubuntu)` + `\.(org|com)`),
	regexp.MustCompile(`\b(DESIGN|PROTOCOL)` + `\.md\b`), // notes that a reader of this repository does not have
	regexp.MustCompile(`\bshared` + `/(research|tools|DESIGN|STYLE|PROTOCOL)`),
}

// machineWord returns the first such word in text, "" if there is none.
func machineWord(text string) string {
	for _, re := range machineWords {
		if m := re.FindString(text); m != "" {
			return m
		}
	}
	return ""
}

func TestNothingOfTheMachineIsPublished(t *testing.T) {
	for _, name := range tracked(t) {
		b, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		if !utf8.Valid(b) {
			continue // goldens and images
		}
		n := 0
		for line := range strings.Lines(string(b)) {
			n++
			if w := machineWord(line); w != "" {
				t.Errorf("%s:%d mentions %q", name, n, strings.TrimSpace(w))
			}
		}
	}
}

func TestMachineWordBites(t *testing.T) {
	f := func(text string, want bool) {
		t.Helper()
		if got := machineWord(text); (got != "") != want {
			t.Errorf("machineWord(%q) = %q, want a find: %v", text, got, want)
		}
	}
	f("see /"+"work/main", true)
	f("(/"+"work)", true)
	f("\"/"+"root/.cache\"", true)
	f("https://registry.npmjs"+".org/x", true)
	f("DESIGN"+".md", true)
	f("the path server/work/x", false)
	f("/workers and /rooted", false)
	f("https://example.org/work", false)
	f("/var/lib/pagevault", false)
}

var (
	link   = regexp.MustCompile(`\]\(([^)#:\s]+)(#[^)]*)?\)`)          // [text](relative/path#anchor)
	goFile = regexp.MustCompile("`((?:[a-z0-9_]+/)+[a-z0-9_]+\\.go)`") // `server/page.go`
)

// TestDocumentsPointSomewhere: a link in a document leads to a file, and a Go file it names is there.
func TestDocumentsPointSomewhere(t *testing.T) {
	found := 0
	for _, name := range tracked(t) {
		if !strings.HasSuffix(name, ".md") {
			continue
		}
		b, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		exists := func(target string) {
			found++
			if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(target))); err != nil {
				t.Errorf("%s points to %s, which is not there", name, target)
			}
		}
		for _, m := range link.FindAllStringSubmatch(string(b), -1) {
			exists(path.Join(path.Dir(name), m[1]))
		}
		for _, m := range goFile.FindAllStringSubmatch(string(b), -1) {
			exists(m[1])
		}
	}
	if found == 0 {
		t.Error("no document points anywhere: do the patterns still match?")
	}
}
