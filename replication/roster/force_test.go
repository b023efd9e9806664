package roster

import (
	"errors"
	"fmt"
	"testing"

	"pagevault/replication/placement"
)

// ofFive returns a log of five members as its directories have it.
func ofFive(t *testing.T) []Seen {
	t.Helper()
	var ids []ID
	for i := range 5 {
		ids = append(ids, idOf(i+1))
	}
	r, err := New([16]byte{9}, History{1}, ids, 2, 1)
	if err != nil {
		t.Fatal(err)
	}
	var seen []Seen
	for i, id := range ids {
		seen = append(seen, Seen{Dir: fmt.Sprint("replica-", i+1), Number: i + 1, ID: id, Roster: r})
	}
	return seen
}

func of(all []Seen, numbers ...int) (out []Seen) {
	for _, n := range numbers {
		out = append(out, all[n-1])
	}
	return out
}

// mustForce starts from directories by force.
func mustForce(t *testing.T, seen []Seen, history byte) (*Verdict, Roster) {
	t.Helper()
	v, r, err := Force(seen, History{history}, 1, 2)
	if err != nil {
		t.Fatal(err)
	}
	return v, r
}

// TestForceCutOff cuts a forced start off between two of the MEMBER files that it writes. Those that took part stay together:
// a plain start from them is refused as before, and another forced one takes them all.
func TestForceCutOff(t *testing.T) {
	all := ofFive(t)
	if _, err := Decide(of(all, 1, 2)); !errors.Is(err, ErrMinority) {
		t.Fatalf("two of five are enough: %v", err)
	}
	_, first := mustForce(t, of(all, 1, 2), 2)
	all[0].Roster = first // and here the machine loses power
	if _, err := Decide(of(all, 1, 2)); !errors.Is(err, ErrMinority) {
		t.Errorf("a plain start: %v", err)
	}
	if _, err := Decide(of(all, 1, 3, 4, 5)); !errors.Is(err, ErrMinority) {
		t.Errorf("member 2 may have gone on with member 1: %v", err)
	}
	if v, err := Decide(of(all, 1, 2, 3)); err != nil || v.Present != placement.Of(0, 1, 2) || !v.Fresh || v.Roster.History != (History{1}) {
		t.Errorf("the log goes on as it was: %+v %v", v, err)
	}
	v, second := mustForce(t, of(all, 1, 2), 3)
	if v.Present != placement.Of(0, 1) || second.From != first.From || second.Epoch <= first.Epoch {
		t.Errorf("%v is present, they stand as %v: %v", v.Present, v.Stands, &second)
	}
	all[1].Roster = second // the other one first, and again
	if _, err := Decide(of(all, 1, 2)); !errors.Is(err, ErrMinority) {
		t.Errorf("a plain start without any roster from before: %v", err)
	}
	v, third := mustForce(t, of(all, 1, 2), 4)
	if v.Present != placement.Of(0, 1) || third.From != first.From || third.Epoch <= second.Epoch {
		t.Errorf("%v is present, they stand as %v: %v", v.Present, v.Stands, &third)
	}
	for i, settled := range []bool{false, true} {
		all[0].Roster, all[1].Roster = third, third
		if settled {
			all[i].Roster = third.Settle()
		}
		v, err := Decide(all)
		if err != nil || v.Present != placement.Of(0, 1) || v.Roster.Settled() != settled || v.Roster.History != third.History || v.Stands[2] != IsForeign {
			t.Errorf("the third is on both: %+v %v", v, err)
			continue
		}
		next, err := v.Start(1, 0, 3)
		if err != nil || next.From != (Origin{}) || next.Need != 2 {
			t.Errorf("%v %v", &next, err)
		}
	}
}

// TestForceGoneOnWithout has the others go on while a forced start that was cut off lies on a member: it is caught up.
func TestForceGoneOnWithout(t *testing.T) {
	all := ofFive(t)
	_, forced := mustForce(t, of(all, 1, 2), 2)
	all[0].Roster = forced
	v, err := Decide(of(all, 2, 3, 4))
	if err != nil {
		t.Fatal(err)
	}
	next, err := v.Start(3, 0, 3)
	if err != nil {
		t.Fatal(err)
	}
	for i := range next.Current().All() {
		all[i].Roster = next.Settle()
	}
	if v, err := Decide(all); err != nil || v.Stands[0] != IsBehind || v.Present != placement.Of(1, 2, 3) {
		t.Errorf("%+v %v", v, err)
	}
	if now := all[2].Roster; now.Foreign(&forced) {
		t.Error("it is foreign to the log that runs")
	}
	_, alone := mustForce(t, of(all, 5), 3)
	if now := all[2].Roster; !now.Foreign(&alone) {
		t.Error("a member that was started alone is not foreign to the log that runs")
	}
}

// TestForceOthers starts others by force while a forced start that was cut off lies on a member.
func TestForceOthers(t *testing.T) {
	all := ofFive(t)
	_, forced := mustForce(t, of(all, 1, 2), 2)
	all[0].Roster = forced
	_, other := mustForce(t, of(all, 2, 3), 3)
	all[1].Roster, all[2].Roster = other, other
	v, err := Decide(all)
	if err != nil || v.Roster.History != other.History || v.Present != placement.Of(1, 2) || v.Stands[0] != IsForeign {
		t.Errorf("member 2 shows that the first never was in effect: %+v %v", v, err)
	}
	if _, err := Decide(of(all, 1, 3)); !errors.Is(err, ErrHistories) {
		t.Errorf("nobody shows it: %v", err)
	}
}
