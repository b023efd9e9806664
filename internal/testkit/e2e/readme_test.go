//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pagevault/internal/testkit"
)

// TestReadmeTour does what README.md tells a newcomer to do, word for word but for the port.
func TestReadmeTour(t *testing.T) {
	server := testkit.StartServer(t, testkit.ServerOptions{Memory: true})
	dir := t.TempDir()
	env := []string{"AZURE_CONFIG_DIR=" + filepath.Join(dir, "az"), "AZURE_CORE_COLLECT_TELEMETRY=0"}
	endpoint := strings.TrimSuffix(server.URL(), "/"+testkit.Account)
	replace := strings.NewReplacer("http://127.0.0.1:10000", endpoint)

	shell := replace.Replace(fenced(t, "sh"))
	if !strings.Contains(shell, endpoint) {
		t.Fatal("the tour does not name the address that make run serves")
	}
	out := testkit.Command{Args: []string{"bash", "-euc", shell}, Dir: dir, Env: env}.Run(t)
	if !strings.HasSuffix(strings.TrimSpace(out), "identical") {
		t.Errorf("the tour with az ends with:\n%s", out)
	}

	// go run compiles a file from anywhere, with the imports of the module it is called in.
	source := filepath.Join(dir, "tour.go")
	if err := os.WriteFile(source, []byte(fenced(t, "go")), 0o644); err != nil {
		t.Fatal(err)
	}
	out = testkit.Command{
		Args: []string{"go", "run", source},
		Dir:  testkit.Root(t),
		Env:  append(env, "AZURE_STORAGE_CONNECTION_STRING="+server.ConnectionString()),
	}.Run(t)
	if want := "changed since the snapshot: bytes 8192 to 12287\n"; out != want {
		t.Errorf("the tour with the Go SDK printed %q, want %q", out, want)
	}
}

// TestReadmeFlags compares the flags that README.md explains with those that the command has.
func TestReadmeFlags(t *testing.T) {
	flags := regexp.MustCompile(`--[a-z][a-z-]+`)
	text, err := os.ReadFile(filepath.Join(testkit.Root(t), "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, ok := strings.Cut(string(text), "\n| flag of serve | meaning |\n")
	if !ok {
		t.Fatal("README.md has no table of flags")
	}
	table, _, _ = strings.Cut(table, "\n\n")
	var named []string
	for row := range strings.Lines(table) {
		flag, _, _ := strings.Cut(strings.TrimPrefix(row, "|"), "|")
		named = append(named, flags.FindAllString(flag, -1)...)
	}
	help := testkit.Run(t, testkit.Binary(t), "serve", "--help")
	for flag := range strings.Lines(help) {
		flag = flags.FindString(flag)
		if flag != "" && !slices.Contains(named, flag) {
			t.Errorf("README.md does not explain %s", flag)
		}
	}
	for _, flag := range named {
		if !strings.Contains(help, flag) {
			t.Errorf("README.md explains %s, which the command does not have", flag)
		}
	}
}

// fenced returns the only block of that language in README.md.
func fenced(t *testing.T, language string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(testkit.Root(t), "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(string(text), "\n```"+language+"\n")
	if len(parts) != 2 {
		t.Fatalf("README.md has %d blocks of %s, want one", len(parts)-1, language)
	}
	block, _, ok := strings.Cut(parts[1], "\n```\n")
	if !ok {
		t.Fatal("the block has no end")
	}
	return block + "\n"
}
