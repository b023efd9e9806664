package testkit

import (
	"os"
	"testing"
)

// BigDir returns a directory of the test's own for many gigabytes: below the one that the environment variable names,
// which is made if it is missing, or where temporary files go. It is removed when the test ends.
func BigDir(t testing.TB, env string) string {
	t.Helper()
	parent := os.Getenv(env)
	if parent == "" {
		return t.TempDir()
	}
	if err := os.MkdirAll(parent, 0o755); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(parent, "scale-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}
