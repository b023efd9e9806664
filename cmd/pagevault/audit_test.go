package main

import (
	"os"
	"path/filepath"
	"testing"
)

// TestAuditFile shows that lines are appended, also to what a file that could not be opened again held before.
func TestAuditFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "audit")
	f := func(want string) {
		t.Helper()
		if got, err := os.ReadFile(name); err != nil || string(got) != want {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
	write := func(a *auditFile, line string) {
		t.Helper()
		if n, err := a.Write([]byte(line)); err != nil || n != len(line) {
			t.Fatalf("%d, %v", n, err)
		}
	}
	a, err := openAudit(name)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(name); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	write(a, "one\n")
	f("one\n")
	if err := os.Rename(name, name+".1"); err != nil {
		t.Fatal(err)
	}
	write(a, "two\n")
	if err := a.Reopen(); err != nil {
		t.Fatal(err)
	}
	write(a, "three\n")
	f("three\n")
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(name, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := a.Reopen(); err == nil {
		t.Error("opened a directory")
	}
	write(a, "four\n") // to what it had
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Write([]byte("five\n")); err == nil {
		t.Error("wrote to a closed file")
	}
}

// TestAuditTorn shows that a line which was written in part does not spoil the next.
func TestAuditTorn(t *testing.T) {
	name := filepath.Join(t.TempDir(), "audit")
	a, err := openAudit(name)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if _, err := a.mu.file.WriteString("half a li"); err != nil {
		t.Fatal(err)
	}
	a.mu.torn = true
	if n, err := a.Write([]byte("whole\n")); err != nil || n != len("\nwhole\n") {
		t.Fatalf("%d, %v", n, err)
	}
	if got, err := os.ReadFile(name); err != nil || string(got) != "half a li\nwhole\n" {
		t.Errorf("%q, %v", got, err)
	}
}
