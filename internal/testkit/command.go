package testkit

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// commandTimeout bounds a foreign program: none of ours takes longer than two minutes on two cores, and these may be busy.
const commandTimeout = 10 * time.Minute

// Command is a program to run, with what it runs in.
type Command struct {
	Args []string
	Dir  string   // "": the test's
	Env  []string // "NAME=value", on top of the test's own
}

// Run runs the program named by args and returns what it wrote to its standard output; a failure fails the test and
// shows all it said.
func Run(t testing.TB, args ...string) string {
	t.Helper()
	return Command{Args: args}.Run(t)
}

// Run runs the command and returns its standard output; a failure fails the test and shows all it said.
func (c Command) Run(t testing.TB) string {
	t.Helper()
	out, err := c.Try(t)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Try runs the command and returns its standard output. The error holds the command line and all that was said.
func (c Command) Try(t testing.TB) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, Tool(t, c.Args[0]), c.Args[1:]...)
	cmd.Dir = c.Dir
	cmd.Env = append(os.Environ(), c.Env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), &commandError{line: strings.Join(c.Args, " "), said: stdout.String() + stderr.String(), err: err}
	}
	return stdout.String(), nil
}

type commandError struct {
	line, said string
	err        error
}

func (e *commandError) Error() string { return e.line + ": " + e.err.Error() + "\n" + e.said }
func (e *commandError) Unwrap() error { return e.err }

// Tool returns the path of a program that the test needs, also from Debian's folders of system programs, which are not
// in everybody's PATH. A missing program fails the test.
func Tool(t testing.TB, name string) string {
	t.Helper()
	if p, err := exec.LookPath(name); err == nil {
		return p
	}
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if p, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return p
		}
	}
	t.Fatalf("%s is not installed: run make deps", name)
	return ""
}

// Root returns the top of the repository.
func Root(t testing.TB) string {
	t.Helper()
	_, file, _, ok := runtime.Caller(0)
	if !ok || !filepath.IsAbs(file) {
		t.Fatalf("no path to the sources (built with -trimpath?): %q", file)
	}
	return filepath.Dir(filepath.Dir(filepath.Dir(file)))
}

// NodeModules returns the folder of the npm packages that the tests use, as make deps installs them.
func NodeModules(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(Root(t), "build", "js", "node_modules")
	if _, err := os.Stat(dir); err != nil {
		t.Fatalf("npm packages are not installed: run make deps (%v)", err)
	}
	return dir
}

// SHA256 returns the SHA-256 of all that r gives, in hex.
func SHA256(t testing.TB, r io.Reader) string {
	t.Helper()
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// FileSHA256 returns the SHA-256 of a file, in hex.
func FileSHA256(t testing.TB, name string) string {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return SHA256(t, f)
}
