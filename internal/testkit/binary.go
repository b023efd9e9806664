package testkit

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"pagevault/internal/invariant"
)

var built struct {
	once sync.Once
	path string
	err  error
	said []byte
}

// Binary returns the path of the pagevault binary, built from these sources once per test process, with the checks of
// our own promises if the test has them.
func Binary(t testing.TB) string {
	t.Helper()
	built.once.Do(func() {
		args := []string{"build"}
		name := "pagevault-test"
		if invariant.Enabled {
			args = append(args, "-tags", "invariants")
			name += "-invariants"
		}
		dir := filepath.Join(Root(t), "build")
		if built.err = os.MkdirAll(dir, 0o755); built.err != nil {
			return
		}
		tmp, err := os.MkdirTemp(dir, "test-binary")
		if err != nil {
			built.err = err
			return
		}
		defer os.RemoveAll(tmp)
		fresh := filepath.Join(tmp, name)
		cmd := exec.Command("go", append(args, "-o", fresh, "./cmd/pagevault")...)
		cmd.Dir = Root(t)
		if built.said, built.err = cmd.CombinedOutput(); built.err != nil {
			return
		}
		// Renamed into place whole: another test process may be running the one it replaces.
		built.path = filepath.Join(dir, name)
		built.err = os.Rename(fresh, built.path)
	})
	if built.err != nil {
		t.Fatalf("building the binary: %v\n%s", built.err, built.said)
	}
	return built.path
}
