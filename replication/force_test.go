package replication

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/replication/roster"
)

// TestForceMinority starts a log of three from one of them. It takes records when two are current again, made anew from the one;
// the two that were left behind, which went on without it, are foreign from then on: nothing is taken from them and nothing is
// written to them, whatever is given beside them.
func TestForceMinority(t *testing.T) {
	for survivor := range 3 {
		for _, how := range []string{"not given", "not there", "empty"} {
			synctest.Test(t, func(t *testing.T) { forceMinority(t, survivor, how) })
		}
	}
}

func forceMinority(t *testing.T, survivor int, how string) {
	what := fmt.Sprintf("member %d, the others %s", survivor, how)
	s := newSample(t, 3)
	members := membersOf(t, s.members)
	one := members[survivor]
	j, k := (survivor+1)%3, (survivor+2)%3
	// The two others go on without it.
	left := s.mustHold(t, what, []Member{members[j], members[k]}, Options{})
	append1(t, left, "another world", "data")
	mustClose(t, what, left)
	images := []image{imageOf(t, members[j]), imageOf(t, members[k])}

	given := []Member{one}
	if how != "not given" {
		given = make([]Member, 3)
		for i := range given {
			given[i] = Member{FS: vfs.NewMem(), Dir: fmt.Sprintf("new-%d", i+1)}
			if how == "empty" {
				given[i] = image{}.member(t, i)
			}
		}
		given[survivor] = one
	}
	if _, err := Open(given, Options{}); !errors.Is(err, roster.ErrMinority) || !strings.Contains(err.Error(), "--force-minority") {
		t.Fatalf("%s: without force: %v", what, err)
	}
	if !maps.Equal(imageOf(t, one), s.members[survivor]) {
		t.Fatalf("%s: it was changed by a start that was refused", what)
	}
	l := s.mustHold(t, what, given, Options{ForceMinority: true})
	needsTwo(t, what, l)
	mustClose(t, what, l)

	// Force is for once: it goes on like this, with or without being asked for again, and with the others beside.
	for _, again := range [][]Member{given, {one}, {members[j], one, members[k]}, {one, members[k]}} {
		for _, force := range []bool{false, true} {
			l := s.mustHold(t, what, again, Options{ForceMinority: force})
			epoch := l.now().roster.Epoch
			needsTwo(t, what, l)
			<-time.After(time.Minute)
			for _, m := range l.Members() {
				old := m.Dir == members[j].Dir && len(again) != len(given) || m.Dir == members[k].Dir && len(again) == 2
				if old && m.State != Foreign || m.State == Current != (m.Dir == one.Dir) || epoch>>32 != 1 {
					t.Errorf("%s: epoch %s: %+v", what, roster.EpochString(epoch), m)
				}
			}
			mustClose(t, what, l)
		}
	}

	l = s.mustHold(t, what, []Member{one, members[j], members[k]}, Options{})
	fresh := []Member{{FS: vfs.NewMem(), Dir: "fresh-1"}, {FS: vfs.NewMem(), Dir: "fresh-2"}}
	if err := l.Replace(t.Context(), j, members[j], false); !errors.Is(err, ErrMembers) {
		t.Errorf("%s: a foreign directory was overwritten: %v", what, err)
	}
	if err := l.Replace(t.Context(), j, fresh[0], false); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	awaitIn(t, what+": two current", func() bool { return l.Available() == nil })
	if n := l.now().current.Len(); n != 2 {
		t.Errorf("%s: %d members are current", what, n)
	}
	append1(t, l, "with two", "data")
	if err := l.Replace(t.Context(), k, fresh[1], false); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	awaitIn(t, what+": all current", func() bool { return allCurrent(l) })
	append1(t, l, "with three", "data")
	if err := verifyNow(l); err != nil {
		t.Errorf("%s: %v", what, err)
	}
	awaitIn(t, what+": two needed", func() bool { return l.Stats().MinReplicas == 2 })
	mustClose(t, what, l)
	whole := []Member{one, fresh[0], fresh[1]}
	compareMembers(t, what, whole)

	// The two are put back, beside the new ones and instead of them.
	for _, again := range [][]Member{
		{members[k], fresh[0], members[j], fresh[1], one},
		{members[j], members[k], fresh[0], fresh[1]},
		{fresh[0], members[j], fresh[1], one},
	} {
		l := s.mustHold(t, what, again, Options{}, "with two", "with three")
		<-time.After(time.Minute)
		for _, m := range l.Members() {
			if m.State == Current != strings.HasPrefix(m.Dir, "fresh") && m.Dir != one.Dir {
				t.Errorf("%s: %+v", what, m)
			}
		}
		mustClose(t, what, l)
	}
	// Alone they are the log that they were: nobody can know of the other.
	mustClose(t, what, s.mustHold(t, what, []Member{members[j], members[k]}, Options{Passive: true}, "another world"))
	for i, m := range []Member{members[j], members[k]} {
		if !maps.Equal(imageOf(t, m), images[i]) {
			t.Errorf("%s: directory %s was changed", what, m.Dir)
		}
	}
}

// needsTwo checks that a log takes no records until two members are current, says so, and is not over.
func needsTwo(t *testing.T, what string, l *Log) {
	t.Helper()
	_, err := l.Append(&Record{Meta: []byte("refused")})
	if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "1 members are current, and 2 are asked for") || l.Failed() != nil {
		t.Errorf("%s: append: %v, failed: %v", what, err, l.Failed())
	}
}

// TestForceMinorityOfTwo gives up one of the two members that were current last: a log of two, and one of three of which one had
// been left out.
func TestForceMinorityOfTwo(t *testing.T) {
	for _, n := range []int{2, 3} {
		synctest.Test(t, func(t *testing.T) {
			what := fmt.Sprintf("%d members", n)
			s := newSample(t, n)
			members := membersOf(t, s.members)
			mustClose(t, what, s.mustHold(t, what, members[:2], Options{}))
			l := s.mustHold(t, what, members[1:], Options{})
			if _, err := l.Append(&Record{}); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "--force-minority") {
				t.Errorf("%s: without force: %v", what, err)
			}
			if err := l.Close(); !errors.Is(err, ErrUnavailable) {
				t.Errorf("%s: %v", what, err)
			}
			l = s.mustHold(t, what, members[1:], Options{ForceMinority: true})
			if n == 3 { // the one that was behind is foreign, too: what it is behind of is another history
				<-time.After(time.Minute)
				if m := l.Members()[2]; m.State != Foreign {
					t.Errorf("%s: %+v", what, m)
				}
			}
			needsTwo(t, what, l)
			if err := l.Replace(t.Context(), 0, Member{FS: vfs.NewMem(), Dir: "fresh"}, false); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			awaitIn(t, what+": two current", func() bool { return l.Available() == nil })
			append1(t, l, "with two", "data")
			mustClose(t, what, l)
		})
	}
}

// TestForceMinorityOfOne takes records at once where the owner asks for no more than one member.
func TestForceMinorityOfOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSample(t, 3)
		members := membersOf(t, s.members)
		l := s.mustHold(t, "one", members[1:2], Options{ForceMinority: true, MinReplicas: 1})
		append1(t, l, "alone", "data")
		mustClose(t, "one", l)
		l = s.mustHold(t, "again", members, Options{MinReplicas: 1}, "alone")
		<-time.After(time.Minute)
		for i, m := range l.Members() {
			if want := map[bool]State{true: Current, false: Foreign}[i == 1]; m.State != want {
				t.Errorf("%+v", m)
			}
		}
		// What is foreign comes back only as a new member, for who gives up what is in it.
		if err := l.Replace(t.Context(), 0, members[0], true); err != nil {
			t.Fatal(err)
		}
		awaitIn(t, "two current", func() bool { return l.now().current.Len() == 2 })
		append1(t, l, "with two", "data")
		mustClose(t, "again", l)
		compareMembers(t, "again", members[:2])
	})
}

// TestForceIsNotNeeded: a log that can be started without force has no other history for being asked for one.
func TestForceIsNotNeeded(t *testing.T) {
	for _, without := range []int{-1, 0, 1, 2} {
		s := newSample(t, 3)
		var members []Member
		for i, m := range membersOf(t, s.members) {
			if i != without {
				members = append(members, m)
			}
		}
		l := s.mustHold(t, "forced", members, Options{ForceMinority: true})
		r := l.now().roster
		if r.Epoch>>32 != 0 || r.Least != 2 {
			t.Errorf("without %d: %v", without, &r)
		}
		append1(t, l, "more", "data")
		mustClose(t, "forced", l)
	}
}

// TestTwoWorlds has two members that were each started by force without the other: nobody can say which one went on.
func TestTwoWorlds(t *testing.T) {
	s := newSample(t, 3)
	images := make([]image, 3)
	for i, m := range membersOf(t, s.members) {
		l := s.mustHold(t, m.Dir, []Member{m}, Options{ForceMinority: true, MinReplicas: 1})
		append1(t, l, fmt.Sprint("world ", i), "data")
		mustClose(t, m.Dir, l)
		images[i] = imageOf(t, m)
	}
	_, members, err := openImages(t, images)
	if !errors.Is(err, ErrMembers) || !errors.Is(err, roster.ErrHistories) || !strings.Contains(err.Error(), "replica-1 and replica-2 were both started by force") {
		t.Fatal(err)
	}
	for i, m := range members {
		if !maps.Equal(imageOf(t, m), images[i]) {
			t.Errorf("%s was changed", m.Dir)
		}
		mustClose(t, m.Dir, s.mustHold(t, m.Dir, []Member{m}, Options{}, fmt.Sprint("world ", i)))
	}
}
