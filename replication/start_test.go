package replication

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/replication/roster"
	"pagevault/replication/segment"
)

// trunk is the directories of a log of three members at the end of each of its stages, and what was acknowledged by then.
type trunk struct {
	at     [5][]image // by stage; stage 0 is not used
	forced [3]image   // of members that were started alone by force at the end
}

// stages says which members were current at the end of each stage, by index. Those that are not were missing in it.
var stages = [5]Set{1: 0b111, 2: 0b011, 3: 0b111, 4: 0b110}

// metaOf returns what record n of the trunk says, counted from 1.
func metaOf(n int) string { return fmt.Sprint("meta ", n) }

// lastOf is how many records the trunk has at the end of a stage.
func lastOf(stage int) int { return 2 + stage }

// newTrunk makes a log that starts with all members, goes on without the last, with all again, and without the first.
func newTrunk(t *testing.T) (k trunk) {
	t.Helper()
	members := memMembers(3)
	n := 0
	for stage := 1; stage < len(stages); stage++ {
		var given []Member
		for i := range stages[stage].All() {
			given = append(given, members[i])
		}
		l, err := Open(given, Options{SegmentBytes: 400, ScrubEvery: -1})
		if err != nil {
			t.Fatal(err)
		}
		awaitIn(t, "whole", func() bool { return l.now().current == stages[stage] })
		for ; n < lastOf(stage); n++ {
			append1(t, l, metaOf(n+1), "data of "+metaOf(n+1))
		}
		mustClose(t, "trunk", l)
		for _, m := range members {
			k.at[stage] = append(k.at[stage], imageOf(t, m))
		}
	}
	for _, i := range []int{1, 2} {
		m := k.at[4][i].member(t, i)
		l, err := Open([]Member{m}, Options{SegmentBytes: 400, ForceMinority: true, MinReplicas: 1})
		if err != nil {
			t.Fatal(err)
		}
		append1(t, l, fmt.Sprint("forced ", i), "data")
		mustClose(t, "forced", l)
		k.forced[i] = imageOf(t, m)
	}
	return k
}

// variant is what may be given as a member's directory.
type variant struct {
	name  string
	stage int // of the trunk; 0: another
	image image
	away  bool // it does not exist
	named bool // it has a MEMBER file
}

func (k *trunk) variants(i int) (out []variant) {
	for stage := 1; stage < len(stages); stage++ {
		// A directory that was missing in a stage is as it was before.
		if stages[stage].Has(i) {
			out = append(out, variant{name: fmt.Sprint("stage ", stage), stage: stage, image: k.at[stage][i], named: true})
		}
	}
	if k.forced[i] != nil {
		out = append(out, variant{name: "forced", image: k.forced[i], named: true})
	}
	return append(out, variant{name: "blank", image: image{}}, variant{name: "not there", away: true},
		variant{name: "no MEMBER", image: k.at[3][i].cut("MEMBER", -1, false)})
}

// TestStarts starts a log from every combination of what may have become of the directories of its three members, in all orders in
// turn: the newest, older ones of the same member, empty ones, ones that are not there or have no MEMBER, and ones that were
// started by force alone. A start either has all that any directory given knows of, or is refused; it is not refused when enough
// of the newest are there; what may lack something is caught up, and what is no member's is left as it is.
func TestStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newTrunk(t)
		orders := [][]int{{0, 1, 2}, {2, 0, 1}, {1, 0, 2}, {0, 2, 1}, {1, 2, 0}, {2, 1, 0}}
		counts := map[string]int{}
		n := 0
		for _, a := range k.variants(0) {
			for _, b := range k.variants(1) {
				for _, c := range k.variants(2) {
					s := startCase{t: t, slots: [3]variant{a, b, c}, order: orders[n%len(orders)]}
					counts[s.run()]++
					n++
				}
			}
		}
		t.Logf("%d combinations: %v", n, counts)
		for _, want := range []string{"refused", "reads", "writes", "new", "forced", "two forced"} {
			if counts[want] == 0 {
				t.Errorf("no combination that is %s", want)
			}
		}
	})
}

// startCase is one start.
type startCase struct {
	t       *testing.T
	slots   [3]variant
	order   []int // in which the directories are given
	members [3]Member
}

func (s *startCase) String() string {
	var names []string
	for _, i := range s.order {
		names = append(names, fmt.Sprintf("member %d: %s", i+1, s.slots[i].name))
	}
	return strings.Join(names, ", ")
}

func (s *startCase) given() []Member { return pick(s.members[:], s.order) }

// run starts the log and says which kind of start it was.
func (s *startCase) run() string {
	newest, named, holds := 0, 0, 0
	var forced []int
	for i, v := range s.slots {
		if v.away {
			s.members[i] = Member{FS: vfs.NewMem(), Dir: fmt.Sprintf("replica-%d", i+1)}
		} else {
			s.members[i] = v.image.member(s.t, i)
		}
		newest = max(newest, v.stage)
		if v.named {
			named++
		} else if len(v.image) > 0 {
			holds++
		}
		if v.name == "forced" {
			forced = append(forced, i)
		}
	}
	present := Set(0) // current members of the newest roster that are there as they were in it
	for i, v := range s.slots {
		if v.stage == newest && newest > 0 && stages[newest].Has(i) {
			present = present.With(i)
		}
	}
	switch {
	case named == 0 && holds == 0:
		s.expect(nil, 0, true, 0b111)
		return "new"
	case named == 0:
		s.refused(ErrMembers)
		return "refused"
	case len(forced) == 2:
		s.refused(roster.ErrHistories)
		return "two forced"
	case len(forced) == 1:
		s.expect([]string{fmt.Sprint("forced ", forced[0])}, lastOf(4), false, Set(0).With(forced[0]))
		return "forced"
	case present.Len() < stages[newest].Len()-1:
		s.refused(roster.ErrMinority)
		return "refused"
	case present.Len() < 2:
		s.expect(nil, lastOf(newest), false, present)
		return "reads"
	}
	s.expect(nil, lastOf(newest), true, present)
	return "writes"
}

// refused checks that the start is refused, for a reason that is told, and nothing is changed.
func (s *startCase) refused(why error) {
	s.t.Helper()
	l, err := Open(s.given(), Options{})
	if err == nil {
		s.t.Errorf("%v: opened with %d records: %+v", s, l.LastLSN(), l.Members())
		mustClose(s.t, s.String(), l)
		return
	}
	if !errors.Is(err, ErrMembers) || !errors.Is(err, why) || strings.Contains(err.Error(), "\n") {
		s.t.Errorf("%v: %v", s, err)
	}
	s.unchanged(0b111)
}

// unchanged checks that nothing of some directories was touched.
func (s *startCase) unchanged(which Set) {
	s.t.Helper()
	for i := range which.All() {
		after, err := contentsOr(s.t, s.members[i])
		if err != nil && !s.slots[i].away || err == nil && (s.slots[i].away || !maps.Equal(after, s.slots[i].image)) {
			s.t.Errorf("%v: directory %d was changed: %v", s, i+1, err)
		}
	}
}

// contentsOr returns the image of a directory that may not be there.
func contentsOr(t *testing.T, m Member) (image, error) {
	if _, err := m.FS.Stat(m.Dir); err != nil {
		return nil, err
	}
	return imageOf(t, m), nil
}

// expect checks a start: it has records [1, last] of the trunk, and more behind them; members current are so at once, and takes
// records if it should.
func (s *startCase) expect(more []string, last int, writes bool, current Set) {
	t := s.t
	t.Helper()
	l, err := Open(s.given(), Options{SegmentBytes: 400, ScrubEvery: -1})
	if err != nil {
		t.Errorf("%v: %v", s, err)
		return
	}
	if err := holds(l, last, more); err != nil {
		t.Errorf("%v: %v", s, err)
	}
	if now := l.now().current; now != current {
		t.Errorf("%v: members %03b are current, wanted %03b", s, now, current)
	}
	if _, err := l.Append(&Record{Meta: []byte("appended")}); writes != (err == nil) || !writes && !errors.Is(err, ErrUnavailable) {
		t.Errorf("%v: append: %v", s, err)
	}
	if writes {
		if _, err := l.Next(nil); err != nil {
			t.Errorf("%v: next: %v", s, err)
		}
		if err := l.Rotate(); err != nil { // so that it can be read by segment
			t.Errorf("%v: rotate: %v", s, err)
		}
		more = append(more, "appended")
	}
	stays := s.stays(l, writes, current)
	<-time.After(time.Minute)
	for i := range 3 {
		got := s.stateOf(l, i)
		if want := stays[i]; want != got {
			t.Errorf("%v: directory %d is %v, wanted %v: %+v", s, i+1, got, want, l.Members())
		}
	}
	if err := holds(l, last, more); err != nil {
		t.Errorf("%v: later: %v", s, err)
	}
	if err := l.Close(); errors.Is(err, ErrUnavailable) != (l.Failed() != nil) || l.Failed() == nil && err != nil {
		t.Errorf("%v: close: %v", s, err)
	}
	s.again(stays, last, more)
}

// stays returns what the directories are after a while.
func (s *startCase) stays(l *Log, writes bool, current Set) (out [3]State) {
	for i, v := range s.slots {
		switch {
		case current.Has(i):
			out[i] = Current
		case !v.named:
			out[i] = Absent
		case l.now().roster.Epoch>>32 > 0:
			out[i] = Foreign
		case writes:
			out[i] = Current
		default:
			out[i] = Behind
		}
	}
	return out
}

// stateOf returns what directory i is. Where it was given decides what place a directory without MEMBER is said to have.
func (s *startCase) stateOf(l *Log, i int) State {
	for _, m := range l.Members() {
		if m.Dir == s.members[i].Dir {
			return m.State
		}
	}
	return 0
}

// again checks what is left: the directories that are no members are as they were, the members are equal and start again.
func (s *startCase) again(states [3]State, last int, more []string) {
	s.t.Helper()
	var whole []Member
	others := Set(0)
	for i, state := range states {
		if state == Current {
			whole = append(whole, s.members[i])
		} else {
			others = others.With(i)
		}
	}
	s.unchanged(others)
	compareMembers(s.t, s.String(), whole)
	slices.Reverse(whole)
	l, err := Open(whole, Options{Passive: true})
	if err != nil {
		s.t.Errorf("%v: again: %v", s, err)
		return
	}
	defer l.Close()
	if err := holds(l, last, more); err != nil {
		s.t.Errorf("%v: again: %v", s, err)
	}
}

// holds checks that a log has records [1, last] of the trunk and then those with the metas given.
func holds(l *Log, last int, more []string) error {
	n := 0
	for _, s := range l.Segments() {
		if err := l.SegmentRecords(s.ID, func(r *Record) error {
			want := ""
			switch n++; {
			case n <= last:
				want = metaOf(n)
				p := make([]byte, len("data of "+want))
				if err := l.ReadAt(p, r.At); err != nil || string(p) != "data of "+want {
					return fmt.Errorf("record %d is %q: %w", n, p, err)
				}
			case n-last <= len(more):
				want = more[n-last-1]
			}
			if int(r.LSN) != n || string(r.Meta) != want {
				return fmt.Errorf("record %d is %q, wanted %d, %q", r.LSN, r.Meta, n, want)
			}
			return nil
		}); err != nil {
			return err
		}
	}
	if n != last+len(more) {
		return fmt.Errorf("%d records, wanted %d and %q", n, last, more)
	}
	return nil
}

// TestRecordsEndTooSoon: a log whose last segment is gone from all members, which say that it was durable once, is damaged, for
// whoever opens it and for whoever checks it.
func TestRecordsEndTooSoon(t *testing.T) {
	members := memMembers(3)
	l := mustOpen(t, members, Options{SegmentBytes: 600})
	for i := range 9 {
		append1(t, l, fmt.Sprint("meta ", i), strings.Repeat("x", 100))
	}
	if err := l.edited(true, func(*roster.Roster) error { return nil }); err != nil { // notes how far the records go
		t.Fatal(err)
	}
	last := l.Segments()[len(l.Segments())-1].ID
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for _, m := range members {
		if err := m.FS.Remove(m.FS.PathJoin(m.Dir, segment.Name(last, true))); err != nil {
			t.Fatal(err)
		}
	}
	for what, open := range map[string]func([]Member, Options) (*Log, error){"Open": Open, "OpenReadOnly": OpenReadOnly} {
		l, err := open(members, Options{})
		if err == nil {
			l.Close()
		}
		if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "record 9 was durable once") {
			t.Errorf("%s: %v", what, err)
		}
	}
	lost := 0
	if err := VerifyMembers(t.Context(), members, VerifyOptions{Report: func(p Problem) {
		if p.Lost && strings.Contains(p.Reason, "record 9 was durable once") {
			lost++
		}
	}}); err != nil || lost != 1 {
		t.Errorf("verification: %d, %v", lost, err)
	}
}
