package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pagevault/replication/roster"
	"pagevault/replication/segment"
)

// makeMember writes the file by which an account's folder in a member's directory says that it is member number.
func makeMember(t *testing.T, dir, account string, number int) {
	t.Helper()
	folder := filepath.Join(dir, account)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	m := segment.Member{Number: uint32(number), Roster: roster.Roster{Epoch: 1, Least: 1, Copies: 1}}
	m.Roster.Rows = []roster.Row{{Number: number, State: roster.Current, ID: roster.ID{1}}}
	if err := os.WriteFile(filepath.Join(folder, segment.IdentityName), m.Append(nil), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestSortMembers shows that members are given to new accounts under the numbers that others know them by, whatever their
// order on the command line.
func TestSortMembers(t *testing.T) {
	f := func(numbers []int, want string) {
		t.Helper()
		root := t.TempDir()
		var dirs []string
		for i, n := range numbers {
			dir := filepath.Join(root, string(rune('a'+i)))
			dirs = append(dirs, dir)
			if n > 0 {
				makeMember(t, dir, "account", n)
			}
		}
		l, err := diskLayout(filepath.Join(root, "data"), dirs)
		if err != nil {
			t.Fatal(err)
		}
		var got strings.Builder
		for _, dir := range l.members {
			got.WriteString(filepath.Base(dir))
		}
		if got.String() != want {
			t.Errorf("%v: the order is %s, want %s", numbers, got.String(), want)
		}
	}
	f([]int{0, 0, 0}, "abc")
	f([]int{1, 2, 3}, "abc")
	f([]int{3, 1, 2}, "bca")
	f([]int{3, 0, 1}, "cba") // a disk that is not mounted, or new
	f([]int{0, 0, 1}, "cab")
	f([]int{0, 5, 1}, "cab") // of a store with more members
	f([]int{2, 2, 1}, "abc") // nobody knows
}

// TestNewAccountNeedsAll shows when an account that would be made must not be.
func TestNewAccountNeedsAll(t *testing.T) {
	root := t.TempDir()
	dirs := []string{filepath.Join(root, "a"), filepath.Join(root, "b"), filepath.Join(root, "file", "c")}
	f := func(account, want string) {
		t.Helper()
		l, err := diskLayout(filepath.Join(root, "data"), dirs)
		if err == nil {
			err = l.checkNew(account)
		}
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("account %s: got %v, want %q", account, err, want)
		}
	}
	f("new", "")
	if err := os.WriteFile(filepath.Join(root, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f("new", "file/c cannot be made: not a directory") // nothing is there at all: the start ends
	makeMember(t, dirs[0], "old", 1)
	f("old", "") // its log says whether it can do without
	f("new", "it is new, which needs all members")
	dirs[2] = filepath.Join(root, "c")
	f("old", "")
	f("new", dirs[1]+" holds nothing of the accounts that the others hold")
	makeMember(t, dirs[1], "old", 2)
	makeMember(t, dirs[2], "other", 3)
	f("new", "")
	if !slices.Contains(must(diskLayout(filepath.Join(root, "data"), dirs)).unserved(nil), "other") {
		t.Error("an account that only one member holds is not seen")
	}
}

// TestMoveMember shows which directories can become the home of a member, and that the layout follows when one has.
func TestMoveMember(t *testing.T) {
	root := t.TempDir()
	at := func(name string) string {
		if name == "" {
			return ""
		}
		return filepath.Join(root, name)
	}
	l := must(diskLayout(at("data"), []string{at("a"), at("b"), at("c")}))
	f := func(from, dir, want string) {
		t.Helper()
		before := slices.Clone(l.members)
		got, err := l.moveMember("account", at(from), at(dir))
		if want == "" && (err != nil || got != at(dir+"/account")) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("from %q to %q: %q, %v, want %q", from, dir, got, err, want)
		}
		if !slices.Equal(before, l.members) {
			t.Errorf("asking whether %s can be a home has changed %v to %v", dir, before, l.members)
		}
	}
	if err := os.WriteFile(at("file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(at("b"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(at("b"), at("alias")); err != nil {
		t.Fatal(err)
	}
	f("b", "b", "")
	f("b", "d", "")
	f("", "d", "") // a new one
	f("b", "c/d", "member 2, "+at("c/d")+", lies inside member 3, ")
	f("b", "data", "the data directory")
	f("a", "data/index/x", "lies inside the directory of the index")
	f("a", "alias", "are the same directory")
	f("b", "alias", "")
	f("b", "file/x", "cannot be made")
	if _, err := l.moveMember("account", "", "d"); err == nil {
		t.Error("a path that is not from the root was taken")
	}
	if _, err := memoryLayout().moveMember("account", "replica-1", at("d")); err == nil {
		t.Error("a member in memory was given a directory")
	}

	g := func(from, to string, want ...string) {
		t.Helper()
		l.memberMoved(at(from), at(to))
		for i := range want {
			want[i] = at(want[i])
		}
		if !slices.Equal(l.members, want) || len(l.unusable) != len(want) {
			t.Errorf("from %q to %q: %v, %v, want %v", from, to, l.members, l.unusable, want)
		}
	}
	g("b", "d", "a", "d", "c")
	g("d", "d", "a", "d", "c")
	g("", "e", "a", "d", "c", "e")
	g("a", "", "d", "c", "e")
	g("nobody", "", "d", "c", "e")
	f("", "a", "") // free again
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
