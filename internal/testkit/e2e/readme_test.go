//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pagevault/internal/testkit"
)

// TestImageReadme does what README.md tells a newcomer to do, word for word but for the port.
func TestImageReadme(t *testing.T) {
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
