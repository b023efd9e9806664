package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pagevault/internal/azure/bearer"
)

// TestRolesReload shows which roles count after the file has changed.
func TestRolesReload(t *testing.T) {
	name := filepath.Join(t.TempDir(), "roles")
	var said bytes.Buffer
	log := slog.New(slog.NewTextHandler(&said, nil))
	var s rolesFile
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("reader oid:a *")
	roles, err := s.read(name)
	if err != nil {
		t.Fatal(err)
	}
	a, err := bearer.New(bearer.Options{Unsigned: true, Roles: roles})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	f := func(user string, allowed bool, lines int) {
		t.Helper()
		for range 2 { // the second look finds nothing new
			s.reload(name, a, log)
		}
		if got := a.AllowedTo(user, "disks", "") != 0; got != allowed {
			t.Errorf("%s: %v", user, got)
		}
		if n := strings.Count(said.String(), "\n"); n != lines {
			t.Errorf("%d lines, want %d:\n%s", n, lines, said.String())
		}
	}
	f("a", true, 0)
	write("reader oid:b *")
	f("a", false, 1)
	f("b", true, 1)
	write("reader oid:a")
	f("b", true, 2)
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	f("b", true, 3)
	write("reader oid:a *")
	f("a", true, 4)
	f("b", false, 4)
	write("# nobody")
	f("a", false, 5)
}
