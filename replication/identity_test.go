package replication

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/replication/roster"
	"pagevault/replication/segment"
)

// TestWrongMembers gives directories that are not the members of one log, or from which it cannot be told what the log is. Open
// says in one line which directory is wrong, what was found and what to do, and changes nothing. For those that it goes on
// without, see start_test.go.
func TestWrongMembers(t *testing.T) {
	a, b := newSample(t, 3), newSample(t, 3)
	single := newSample(t, 1)
	none := image{}
	without := func(im image, name string) image { return im.cut(name, -1, false) }
	newer := func(im image, name string) image {
		out := maps.Clone(im)
		p := []byte(out[name][:64])
		p[8]++
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
			if !maps.Equal(imageOf(t, m), images[i]) {
				t.Errorf("%s: member %d was changed", name, i)
			}
		}
		t.Logf("%s: %v", name, err)
	}
	all := a.members
	f("member of another log", []image{all[0], b.members[1], all[2]}, ErrMembers, "replica-2", "replica-1", "belongs to log")
	f("a directory of another log beside", []image{all[0], all[1], all[2], single.members[0]}, ErrMembers, "replica-4", "replica-1", "belongs to log")
	f("one of three", []image{all[0]}, roster.ErrMinority, "members 2 and 3 are missing", "3 members", "give their directories", "--force-minority")
	f("one of three and two empty ones", []image{none, all[1], none}, roster.ErrMinority, "members 1 and 3 are missing", "give their directories")
	f("a copy twice", []image{all[0], all[0], all[2]}, ErrMembers, "replica-1 and replica-2 are both member 1", "give the other")
	f("identity lost, of another log", []image{all[0], without(b.members[1], "MEMBER"), all[2]}, ErrMembers, "replica-2", "0000000001.seg", "log", "by mistake")
	f("all identities lost", []image{without(all[0], "MEMBER"), without(all[1], "MEMBER"), without(all[2], "MEMBER")}, ErrMembers, "replica-1", "no MEMBER file")
	f("the only identity is damaged", []image{single.members[0].flip("MEMBER", 20, 1)}, ErrMembers, "replica-1", "MEMBER", "damaged")
	f("and it holds nothing else", []image{without(without(without(single.members[0].flip("MEMBER", 20, 1), "0000000001.seg"), "0000000002.seg"), "0000000003.open")},
		ErrMembers, "replica-1", "MEMBER", "damaged")
	f("an identity is damaged, and others are empty", []image{none, all[1].cut("MEMBER", 63, false), none}, ErrMembers, "replica-2", "MEMBER", "damaged")
	f("a damaged identity and a missing member", []image{all[0], all[1].flip("MEMBER", 20, 1)}, roster.ErrMinority, "members 2 and 3", "missing", "replica-2", "damaged")
	f("newer member", []image{all[0], newer(all[1], "MEMBER"), all[2]}, nil, "replica-2", "MEMBER", "version 3", "version 2")
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
	// Without one member no more is believed of the others.
	f("segment gone on two, and one is missing", []image{gap(all[0]), gap(all[1]), none}, ErrCorrupt, "segment 2", "missing")
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

// TestIdentityLost takes MEMBER away from a directory that has everything else, or damages it: the log goes on without the
// directory, touches nothing in it, and says why. It becomes the member's again only for who gives up what is in it.
func TestIdentityLost(t *testing.T) {
	for victim := range 3 {
		for _, c := range []struct {
			why    string // what the member's status says
			change func(im image)
		}{
			{"no MEMBER file", func(im image) { delete(im, "MEMBER") }},
			{"no MEMBER file", func(im image) { delete(im, "MEMBER"); delete(im, "0000000002.seg") }},
			{"damaged: MEMBER has 63 of 64 bytes", func(im image) { im["MEMBER"] = im["MEMBER"][:63] }},
			{"MEMBER has checksum", func(im image) { im["MEMBER"] = im.flip("MEMBER", 20, 1)["MEMBER"] }},
			{"directory is empty", func(im image) { clear(im) }},
			{"directory is empty", func(im image) { clear(im); im["notes"] = "somebody's" }},
		} {
			images := keptSample(t, 3)
			c.change(images[victim])
			synctest.Test(t, func(t *testing.T) { loseIdentity(t, c.why, images, victim) })
		}
	}
}

func loseIdentity(t *testing.T, what string, images []image, victim int) {
	members := membersOf(t, images)
	l, err := Open(members, Options{ScrubEvery: -1})
	if err != nil {
		t.Fatalf("member %d: %s: %v", victim, what, err)
	}
	defer l.Close()
	mustRestore(t, l, keptFiles)
	append1(t, l, "without it", "data")
	<-time.After(time.Minute)
	for i, s := range l.Members() {
		why := fmt.Sprint(s.Reason, s.Err)
		if want := map[bool]State{true: Absent, false: Current}[i == victim]; s.State != want || s.Dir != members[i].Dir || i == victim && !strings.Contains(why, what) {
			t.Errorf("member %d: %s: member %d is %v: %s", victim, what, i, s.State, why)
		}
	}
	if after := imageOf(t, members[victim]); !maps.Equal(after, images[victim]) {
		t.Errorf("member %d: %s: it was changed", victim, what)
	}
	wipe := len(images[victim]) > 1
	if wipe {
		if err := l.Replace(t.Context(), victim, members[victim], false); !errors.Is(err, ErrMembers) {
			t.Errorf("member %d: %s: overwritten without being asked for: %v", victim, what, err)
		}
	}
	if err := l.Replace(t.Context(), victim, members[victim], wipe); err != nil {
		t.Fatalf("member %d: %s: %v", victim, what, err)
	}
	awaitIn(t, "current again", func() bool { return allCurrent(l) })
	mustRestore(t, l, keptFiles)
	if err := verifyNow(l); err != nil {
		t.Error(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if err := members[victim].FS.RemoveAll(members[victim].Dir + "/notes"); err != nil {
		t.Error(err)
	}
	compareMembers(t, what, members)
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
	// Nor can the one half that was made be taken for a log of one: it takes no records.
	l, err := Open([]Member{{Dir: one}}, Options{})
	if err != nil {
		t.Fatalf("after two paths: %v", err)
	}
	if _, err := l.Append(&Record{Meta: []byte("x")}); !errors.Is(err, ErrUnavailable) || !errors.Is(l.Failed(), ErrUnavailable) {
		t.Errorf("after two paths: %v", err)
	}
	if err := l.Close(); !errors.Is(err, ErrUnavailable) {
		t.Error(err)
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
	// Nor is it left out where others are enough: whoever has it may have the log.
	three := membersOf(t, newSample(t, 3).members)
	other, err := three[2].FS.Lock(three[2].FS.PathJoin(three[2].Dir, "LOCK"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(three, Options{}); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "replica-3 is in use by another process") {
		t.Fatalf("opened while one of three is locked: %v", err)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	if l := mustOpen(t, members, Options{}); l.LastLSN() != 1 {
		t.Fatalf("last record %d", l.LastLSN())
	}
}

// TestMissingDirectories are made for a new log, and not made for one that there is: a disk that is not mounted must not be
// hidden by an empty directory in its place.
func TestMissingDirectories(t *testing.T) {
	for n, where := range map[int]string{1: "", 2: "two", 3: "three", 5: "five"} {
		s := newSample(t, n)
		var missing []Member
		for at := range n {
			members := membersOf(t, s.members)
			members[at] = Member{FS: vfs.NewMem(), Dir: fmt.Sprint("somewhere/", where)}
			missing = append(missing, members[at])
			l, err := Open(members, Options{})
			switch {
			case n == 1:
				if err != nil || l.LastLSN() != 0 {
					t.Fatalf("a new log: %v", err)
				}
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
				continue
			case err != nil:
				t.Fatalf("%d of %d: %v", n-1, n, err)
			}
			if err := s.readAll(l, 0); err != nil {
				t.Errorf("%d of %d: %v", n-1, n, err)
			}
			if _, err := l.Append(&Record{}); n == 2 != errors.Is(err, ErrUnavailable) || n > 2 && err != nil {
				t.Errorf("append to %d of %d: %v", n-1, n, err)
			}
			if got := l.Members()[at]; got.State != Absent || got.Dir != members[at].Dir {
				t.Errorf("%d of %d: %+v", n-1, n, got)
			}
			if err := l.Close(); errors.Is(err, ErrUnavailable) != (n == 2) || n > 2 && err != nil {
				t.Errorf("%d of %d: close: %v", n-1, n, err)
			}
		}
		for _, m := range missing {
			if list, err := m.FS.List("/"); n > 1 && (err != nil || len(list) != 0) {
				t.Fatalf("a directory was made for a member that is missing: %v %v", list, err)
			}
		}
	}
	var fresh []Member
	for i := range 2 {
		fresh = append(fresh, Member{FS: vfs.NewMem(), Dir: fmt.Sprintf("some/where/replica-%d", i)})
	}
	append1(t, mustOpen(t, fresh, Options{}), "hello")
}
