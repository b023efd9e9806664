package replication

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/replication/segment"
)

// TestWrongMembers gives directories that are not the members of one log, in order. Open says in one line which directory
// is wrong, what was found and what to do, and changes nothing.
func TestWrongMembers(t *testing.T) {
	a, b := newSample(t, 3), newSample(t, 3)
	pair, single := newSample(t, 2), newSample(t, 1)
	none := image{}
	identity := func(im image, change func(*segment.Identity)) image {
		id, err := segment.ParseIdentity([]byte(im["MEMBER"]))
		if err != nil {
			t.Fatal(err)
		}
		change(&id)
		out := maps.Clone(im)
		out["MEMBER"] = string(id.Append(nil))
		return out
	}
	without := func(im image, name string) image { return im.cut(name, -1, false) }
	newer := func(im image, name string) image {
		out := maps.Clone(im)
		p := []byte(out[name][:64])
		p[8] = 2
		p = p[:60]
		crc := segment.Checksum(0, p)
		p = append(p, byte(crc), byte(crc>>8), byte(crc>>16), byte(crc>>24))
		out[name] = string(p) + out[name][64:]
		return out
	}
	f := func(name string, images []image, is error, words ...string) {
		t.Helper()
		l, members, err := openImages(t, images)
		if err == nil {
			l.Close()
			t.Errorf("%s: opened", name)
			return
		}
		if is != nil && !errors.Is(err, is) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
		for _, w := range words {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %q is not in: %v", name, w, err)
			}
		}
		for i, m := range members {
			c, err := contents(m)
			if err != nil {
				t.Fatal(err)
			}
			if id, err := readFile(m, "MEMBER"); err == nil {
				c["MEMBER"] = string(id)
			}
			if !maps.Equal(c, images[i]) {
				t.Errorf("%s: member %d was changed", name, i)
			}
		}
		t.Logf("%s: %v", name, err)
	}
	all := a.members
	f("empty directory", []image{all[0], none, all[2]}, ErrMembers, "replica-2", "is empty", "member 2", "mount")
	f("empty first directory", []image{none, all[1], all[2]}, ErrMembers, "replica-1", "is empty")
	f("member of another log", []image{all[0], b.members[1], all[2]}, ErrMembers, "replica-2", "replica-1", "belongs to log")
	f("too few", []image{all[0], all[1]}, ErrMembers, "replica-1", "made with 3 members, but 2 directories were given: give all 3 in order")
	f("one of three", []image{all[0]}, ErrMembers, "replica-1", "made with 3 members, but 1 directory was given")
	f("too many", []image{pair.members[0], pair.members[1], none}, ErrMembers, "replica-1", "made with 2 members, but 3 directories were given")
	f("two for one", []image{single.members[0], none}, ErrMembers, "replica-1", "made with 1 member, but 2 directories were given: give that one")
	f("wrong order", []image{all[1], all[0], all[2]}, ErrMembers, "replica-1", "member 2 of 3", "number 1")
	f("a copy twice", []image{all[0], all[0], all[2]}, ErrMembers, "replica-2", "member 1 of 3", "number 2")
	f("identity lost, of another log", []image{all[0], without(b.members[1], "MEMBER"), all[2]}, ErrMembers, "replica-2", "no MEMBER file")
	f("all identities lost", []image{without(all[0], "MEMBER"), without(all[1], "MEMBER"), without(all[2], "MEMBER")}, ErrMembers, "replica-1", "no MEMBER file")
	f("another epoch", []image{all[0], all[1], identity(all[2], func(id *segment.Identity) { id.Epoch = 7 })}, ErrMembers, "replica-3", "epoch 7")
	f("damaged identity", []image{all[0], all[1].flip("MEMBER", 20, 1), all[2]}, segment.ErrDamaged, "replica-2", "MEMBER", "remove the file")
	f("short identity", []image{all[0], all[1].cut("MEMBER", 63, false), all[2]}, segment.ErrDamaged, "replica-2", "MEMBER")
	f("newer member", []image{all[0], newer(all[1], "MEMBER"), all[2]}, nil, "replica-2", "MEMBER", "version 2", "version 1")
	f("newer segment", []image{all[0], newer(all[1], "0000000002.seg"), all[2]}, nil, "replica-2", "segment 2", "version 2", "version 1")
	f("newer open segment", []image{all[0], all[1], newer(all[2], "0000000003.open")}, nil, "replica-3", "segment 3", "version 2", "version 1")
	foreign := maps.Clone(all[1])
	foreign["0000000002.seg"] = b.members[1]["0000000002.seg"]
	f("segment of another log", []image{all[0], foreign, all[2]}, segment.ErrForeign, "replica-2", "segment 2")
	moved := maps.Clone(all[1])
	moved["0000000002.seg"] = all[1]["0000000001.seg"]
	f("segment under another name", []image{all[0], moved, all[2]}, segment.ErrForeign, "replica-2", "segment 2")
	gap := func(im image) image { return without(im, "0000000002.seg") }
	f("segment gone everywhere", []image{gap(all[0]), gap(all[1]), gap(all[2])}, ErrCorrupt, "segment 2", "missing")
	first := func(im image) image { return without(im, "0000000001.seg") }
	f("first segment gone everywhere", []image{first(all[0]), first(all[1]), first(all[2])}, ErrCorrupt, "segment 1", "missing")
	if _, err := Open(nil, Options{}); !errors.Is(err, ErrMembers) {
		t.Errorf("no members: %v", err)
	}
}

// TestFormingAgain completes a log whose identities were only partly made, and only while nothing is in it.
func TestFormingAgain(t *testing.T) {
	members := memMembers(3)
	l := mustOpen(t, members, Options{})
	id := l.StoreID()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for mask := range 8 {
		var again []Member
		for i, m := range members {
			im := imageOf(t, m)
			if mask>>i&1 == 0 {
				im = image{"MEMBER.tmp": im["MEMBER"][:20]}
			}
			again = append(again, im.member(t, i))
		}
		l := mustOpen(t, again, Options{})
		if same := l.StoreID() == id; same != (mask != 0) {
			t.Fatalf("identities %03b: the same log: %v", mask, same)
		}
		append1(t, l, "first")
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		l = mustOpen(t, again, Options{})
		if l.LastLSN() != 1 {
			t.Fatalf("identities %03b: last record %d", mask, l.LastLSN())
		}
		for _, m := range again {
			if c, err := contents(m); err != nil || len(c) != 1 {
				t.Fatalf("identities %03b: files %v, %v", mask, c, err)
			}
		}
	}
}

// TestIdentityLost makes the MEMBER file again if the member's segments belong to the log of the others.
func TestIdentityLost(t *testing.T) {
	s := newSample(t, 3)
	for victim := range s.members {
		for _, damage := range []string{"", "0000000001.seg"} {
			images := slices.Clone(s.members)
			images[victim] = images[victim].cut("MEMBER", -1, false)
			if damage != "" {
				images[victim] = images[victim].flip(damage, 20, 1) // the next segment tells
			}
			var members []Member
			for i, im := range images {
				members = append(members, im.member(t, i))
			}
			var done Recovery
			l, err := Open(members, Options{Events: &Events{Recovered: func(r Recovery) { done = r }}})
			if err == nil {
				err = s.readAll(l, 0)
			}
			if err == nil {
				err = l.Close()
			}
			if err != nil {
				t.Fatalf("member %d: %v", victim, err)
			}
			if imageOf(t, members[victim])["MEMBER"] == "" || len(done.Repaired) == 0 || done.Repaired[0].Member != victim || done.Repaired[0].Segment != 0 {
				t.Fatalf("member %d: %+v", victim, done)
			}
		}
	}
}

// TestSameDirectory refuses one directory as two members, by one path or by two.
func TestSameDirectory(t *testing.T) {
	fs := vfs.NewMem()
	if _, err := Open([]Member{{FS: fs, Dir: "a"}, {FS: fs, Dir: "a"}}, Options{}); !errors.Is(err, ErrMembers) || !strings.Contains(err.Error(), "a is given") {
		t.Errorf("one path: %v", err)
	}
	dir := t.TempDir()
	one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")
	if err := os.Mkdir(one, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(one, two); err != nil {
		t.Fatal(err)
	}
	_, err := Open([]Member{{Dir: one}, {Dir: two}}, Options{})
	if !errors.Is(err, ErrMembers) || !strings.Contains(err.Error(), "same directory") {
		t.Errorf("two paths: %v", err)
	}
	// Nor can the one half that was made be taken for a log of one.
	if _, err := Open([]Member{{Dir: one}}, Options{}); !errors.Is(err, ErrMembers) {
		t.Errorf("after two paths: %v", err)
	}
}

// TestLocked refuses members that another log has open, and releases its own locks when it refuses.
func TestLocked(t *testing.T) {
	members := memMembers(2)
	l := mustOpen(t, members, Options{})
	if _, err := Open(members, Options{}); err == nil || !strings.Contains(err.Error(), "replica-1 is in use by another process: stop it first") {
		t.Fatalf("opened twice: %v", err)
	}
	append1(t, l, "still writable")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	lock, err := members[1].FS.Lock(members[1].FS.PathJoin(members[1].Dir, "LOCK"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(members, Options{}); err == nil || !strings.Contains(err.Error(), "replica-2 is in use by another process") {
		t.Fatalf("opened while one is locked: %v", err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	if l := mustOpen(t, members, Options{}); l.LastLSN() != 1 {
		t.Fatalf("last record %d", l.LastLSN())
	}
}

// TestMissingDirectories are made, and not made when the others say that something is wrong.
func TestMissingDirectories(t *testing.T) {
	s := newSample(t, 2)
	m0 := s.members[0].member(t, 0)
	m1 := Member{FS: vfs.NewMem(), Dir: "somewhere/replica-2"}
	if _, err := Open([]Member{m0, m1}, Options{}); !errors.Is(err, ErrMembers) {
		t.Fatal(err)
	}
	if list, err := m1.FS.List("/"); err != nil || len(list) != 0 {
		t.Fatalf("a directory was made for a member that was refused: %v %v", list, err)
	}
	var fresh []Member
	for i := range 2 {
		fresh = append(fresh, Member{FS: vfs.NewMem(), Dir: fmt.Sprintf("some/where/replica-%d", i)})
	}
	append1(t, mustOpen(t, fresh, Options{}), "hello")
}
