package replication

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/replication/roster"
	"pagevault/replication/segment"
)

// asFirst returns the images of a log's members with MEMBER in format version 1.
func asFirst(t *testing.T, images []image) (out []image) {
	t.Helper()
	for i, im := range images {
		who, err := segment.ParseMember([]byte(im["MEMBER"]))
		if err != nil {
			t.Fatal(err)
		}
		id := segment.Identity{Store: who.Roster.Store, Number: uint32(i + 1), Count: uint32(len(images)), Epoch: 1, Created: who.Roster.Created}
		im = maps.Clone(im)
		im["MEMBER"] = string(id.Append(nil))
		out = append(out, im)
	}
	return out
}

// versionOf returns the format version of a MEMBER file.
func versionOf(t *testing.T, m Member) int {
	t.Helper()
	b, err := readFile(m, "MEMBER")
	if err != nil || len(b) < 64 {
		t.Fatalf("%s: %v, %d bytes", m.Dir, err, len(b))
	}
	return int(b[8])
}

// mustHold opens members and checks that the sample is there, and behind it only records of the metas given.
func (s *sample) mustHold(t *testing.T, what string, members []Member, o Options, more ...string) *Log {
	t.Helper()
	o.ScrubEvery = -1
	l, err := Open(members, o)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if err := s.readMore(l, more); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	return l
}

// readMore checks that l holds the sample and then records of the metas given.
func (s *sample) readMore(l *Log, more []string) error {
	n := 0
	err := l.Replay(1, func(r *Record) error {
		switch n++; {
		case n > len(s.records)+len(more):
			return fmt.Errorf("record %d is %q, and there should be none", r.LSN, r.Meta)
		case n > len(s.records):
			if want := more[n-1-len(s.records)]; string(r.Meta) != want {
				return fmt.Errorf("record %d is %q, wanted %q", r.LSN, r.Meta, want)
			}
			return nil
		}
		want := s.records[n-1]
		if r.LSN != want.LSN || r.At != want.At || string(r.Meta) != string(want.Meta) {
			return fmt.Errorf("record %d at %v is %q, wanted %d at %v: %q", r.LSN, r.At, r.Meta, want.LSN, want.At, want.Meta)
		}
		return s.readData(l, want)
	})
	if err == nil && n != len(s.records)+len(more) {
		err = fmt.Errorf("%d records, wanted %d and %d more", n, len(s.records), len(more))
	}
	return err
}

func mustClose(t *testing.T, what string, l *Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatalf("%s: close: %v", what, err)
	}
}

// TestUpgrade opens logs whose MEMBER files have format version 1, in any order of their directories.
func TestUpgrade(t *testing.T) {
	for _, n := range []int{1, 2, 3, 4} {
		synctest.Test(t, func(t *testing.T) {
			what := fmt.Sprintf("%d members", n)
			s := newSample(t, n)
			members := membersOf(t, asFirst(t, s.members))
			slices.Reverse(members)
			l := s.mustHold(t, what, members, Options{})
			append1(t, l, "new", "data")
			for i, m := range l.Members() {
				if m.State != Current || m.Dir != fmt.Sprintf("replica-%d", i+1) {
					t.Errorf("%s: %+v", what, m)
				}
			}
			if err := verifyNow(l); err != nil {
				t.Errorf("%s: %v", what, err)
			}
			mustClose(t, what, l)
			for _, m := range members {
				if v := versionOf(t, m); v != 2 {
					t.Errorf("%s: %s has version %d", what, m.Dir, v)
				}
			}
			if n <= 3 {
				compareMembers(t, what, members)
			}
			mustClose(t, what, s.mustHold(t, what, members, Options{}, "new"))
		})
	}
}

// TestUpgradeWithoutOne starts a log of version 1 of which a member is missing, and puts that back later.
func TestUpgradeWithoutOne(t *testing.T) {
	for victim := range 3 {
		for _, how := range []string{"not given", "not there", "empty", "no MEMBER"} {
			synctest.Test(t, func(t *testing.T) { upgradeWithout(t, victim, how) })
		}
	}
}

func upgradeWithout(t *testing.T, victim int, how string) {
	what := fmt.Sprintf("member %d %s", victim, how)
	s := newSample(t, 3)
	images := asFirst(t, s.members)
	members := membersOf(t, images)
	old, others := members[victim], slices.Concat(members[:victim], members[victim+1:])
	if _, err := Open(members[victim:victim+1], Options{}); !errors.Is(err, roster.ErrMinority) {
		t.Fatalf("%s: one of three: %v", what, err)
	}
	given := slices.Clone(members)
	switch how {
	case "not given":
		given = others
	case "not there":
		given[victim] = Member{FS: vfs.NewMem(), Dir: old.Dir}
	case "empty":
		given[victim] = image{}.member(t, victim)
	case "no MEMBER":
		given[victim] = images[victim].cut("MEMBER", -1, false).member(t, victim)
	}
	l := s.mustHold(t, what, given, Options{})
	append1(t, l, "new", "data")
	if m := l.Members()[victim]; m.State != Absent {
		t.Errorf("%s: %+v", what, m)
	}
	mustClose(t, what, l)
	for _, m := range others {
		if v := versionOf(t, m); v != 2 {
			t.Errorf("%s: %s has version %d", what, m.Dir, v)
		}
	}
	// The directory that was missing says that all three are current. It is not believed: alone it is refused, with one that
	// went on it does not count.
	if _, err := Open([]Member{old}, Options{}); !errors.Is(err, roster.ErrMinority) {
		t.Fatalf("%s: the old one alone: %v", what, err)
	}
	for _, other := range others {
		l := s.mustHold(t, what, []Member{old, other}, Options{}, "new")
		if _, err := l.Append(&Record{}); !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: append to the old one and %s: %v", what, other.Dir, err)
		}
		if m := l.Members()[victim]; m.State != Behind {
			t.Errorf("%s: %+v", what, m)
		}
		if err := l.Close(); !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if !maps.Equal(imageOf(t, old), images[victim]) {
		t.Errorf("%s: it was changed", what)
	}
	l = s.mustHold(t, what, []Member{old, others[1], others[0]}, Options{}, "new")
	awaitIn(t, what+": whole", func() bool { return allCurrent(l) && l.Stats().Healing == 0 })
	append1(t, l, "newer", "data")
	if err := verifyNow(l); err != nil {
		t.Errorf("%s: %v", what, err)
	}
	mustClose(t, what, l)
	compareMembers(t, what, members)
	if v := versionOf(t, old); v != 2 {
		t.Errorf("%s: it has version %d", what, v)
	}
}

// TestUpgradeOneOfTwo serves reads from one of two members, and leaves it as it is: the other one may have gone on.
func TestUpgradeOneOfTwo(t *testing.T) {
	s := newSample(t, 2)
	images := asFirst(t, s.members)
	for i, m := range membersOf(t, images) {
		l := s.mustHold(t, m.Dir, []Member{m}, Options{})
		if err := l.Close(); !errors.Is(err, ErrUnavailable) {
			t.Error(err)
		}
		if !maps.Equal(imageOf(t, m), images[i]) {
			t.Errorf("%s was changed", m.Dir)
		}
	}
}

// TestUpgradeRefuses are files of version 1 that cannot be.
func TestUpgradeRefuses(t *testing.T) {
	s := newSample(t, 1)
	for what, change := range map[string]func(*segment.Identity){
		"no number":       func(id *segment.Identity) { id.Number = 0 },
		"member 2 of 1":   func(id *segment.Identity) { id.Number = 2 },
		"of no members":   func(id *segment.Identity) { id.Count = 0 },
		"of many members": func(id *segment.Identity) { id.Count = 65 },
	} {
		id, err := segment.ParseIdentity([]byte(asFirst(t, s.members)[0]["MEMBER"]))
		if err != nil {
			t.Fatal(err)
		}
		change(&id)
		im := maps.Clone(s.members[0])
		im["MEMBER"] = string(id.Append(nil))
		_, members, err := openImages(t, []image{im})
		if !errors.Is(err, ErrMembers) || !errors.Is(err, segment.ErrDamaged) {
			t.Errorf("%s: %v", what, err)
		}
		if !maps.Equal(imageOf(t, members[0]), im) {
			t.Errorf("%s: it was changed", what)
		}
	}
}

// TestUpgradeCrash ends the world before every operation of the first start, from any two members or all, and then starts from any
// two or all, appends, and starts from all: whatever was there, and what was appended, is.
func TestUpgradeCrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSample(t, 3)
		images := asFirst(t, s.members)
		some := [][]int{{0, 1, 2}, {0, 1}, {1, 2}, {2, 0}}
		states := 0
		for _, first := range some {
			dice := rand.New(rand.NewPCG(uint64(len(first)), 0))
			members := crashableMembers(t, images)
			crash := func(what string) {
				for _, percent := range []int{0, 50, 100, -1} {
					for _, then := range some {
						states++
						upgradeAfter(t, &s, fmt.Sprintf("start from %v, crash before %s, %d %% kept, start from %v", first, what, percent, then),
							cloneAll(memsOf(members), members, percent, dice), then)
					}
				}
			}
			l, err := Open(hooked(pick(members, first), func(op fsOp, do func(int) error) error {
				if op.kind != "lock" && op.kind != "close" && op.kind != "open" {
					crash(op.String())
				}
				return do(op.bytes)
			}), Options{Passive: true})
			if err != nil {
				t.Fatal(err)
			}
			crash("the first record")
			mustClose(t, "at the end", l)
		}
		t.Logf("%d states", states)
		if states < 1000 {
			t.Errorf("only %d states", states)
		}
	})
}

// upgradeAfter starts from some members after a crash, and then from all.
func upgradeAfter(t *testing.T, s *sample, what string, members []Member, then []int) {
	l := s.mustHold(t, what, pick(members, then), Options{Passive: true})
	var more []string
	if l.Failed() == nil {
		append1(t, l, "new", "data")
		more = []string{"new"}
		mustClose(t, what, l)
	} else if err := l.Close(); !errors.Is(err, ErrUnavailable) {
		t.Fatalf("%s: %v", what, err)
	}
	l = s.mustHold(t, what+", then from all", members, Options{}, more...)
	awaitIn(t, what+": whole", func() bool { return allCurrent(l) && l.Stats().Healing == 0 })
	mustClose(t, what, l)
	compareMembers(t, what, members)
	for _, m := range members {
		if v := versionOf(t, m); v != 2 {
			t.Fatalf("%s: %s has version %d", what, m.Dir, v)
		}
	}
}

// crashableMembers returns members on crashable disks.
func crashableMembers(t *testing.T, images []image) (out []Member) {
	t.Helper()
	for i, im := range images {
		m := Member{FS: vfs.NewCrashableMem(), Dir: fmt.Sprintf("replica-%d", i+1)}
		if err := m.FS.MkdirAll(m.Dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, b := range im {
			if err := writeFile(m, name, []byte(b)); err != nil {
				t.Fatal(err)
			}
		}
		for _, dir := range []string{m.Dir, "/"} {
			f, err := m.FS.OpenDir(dir)
			if err == nil {
				err = errors.Join(f.Sync(), f.Close())
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		out = append(out, m)
	}
	return out
}

func memsOf(members []Member) (out []*vfs.MemFS) {
	for _, m := range members {
		out = append(out, m.FS.(*vfs.MemFS))
	}
	return out
}

func pick(members []Member, which []int) (out []Member) {
	for _, i := range which {
		out = append(out, members[i])
	}
	return out
}
