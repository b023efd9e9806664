package replication

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// TestVote: three copies and more, each wrong somewhere else.
func TestVote(t *testing.T) {
	f := func(want string, copies ...string) {
		t.Helper()
		var v voter
		for _, c := range copies {
			v.copies = append(v.copies, strings.NewReader(c))
		}
		p := make([]byte, len(want))
		if _, err := v.ReadAt(p, 0); err != nil || string(p) != want {
			t.Errorf("%q: %q, %v", copies, p, err)
		}
	}
	f("abcdef", "Abcdef", "abCdef", "abcdeF")
	f("abcdef", "Abcdef", "abCdef", "abcdeF", "abcd")
	f("abcdef", "abcd", "Abcdef", "abCdef", "abcdeF")
	f("abcdef", "Abcdef", "Bbcdef", "abcdef", "abcdef")
	f("abcdef", "xxxxxx", "yyyyyy", "abcdef", "abcdef", "abcdeZ")
	if _, err := (&voter{copies: nil}).ReadAt(make([]byte, 1), 0); err == nil {
		t.Error("nobody has a majority")
	}
}

// TestHealByVote damages one record on every member in another place, so that nobody has it whole: it is read all the same by
// who can tell whether it is right, and healed. What two members have wrong in the same place is not.
func TestHealByVote(t *testing.T) {
	var told healEvents
	l, members, was := sealedLog(t, 3, Options{Events: told.events()})
	at := recordsAt(t, was[seg1])
	for i, m := range members {
		was.flip(seg1, at[1]+41+9*i, 1).flip(seg1, at[2]+45+3*i, 0x80).put(t, m, seg1)
	}
	for n := range at {
		r := Position{Segment: 1, Offset: uint32(at[n])}
		end := len(was[seg1])
		if n+1 < len(at) {
			end = at[n+1]
		}
		want := was[seg1][at[n]:min(end, at[n]+100)]
		p := make([]byte, len(want))
		err := l.ReadChecked(p, r, func(p []byte) error {
			if !bytes.Equal(p, []byte(want)) {
				return fmt.Errorf("not what was written")
			}
			return nil
		})
		if err != nil {
			t.Errorf("record %d: %v", n, err)
		}
	}
	l.Heal(1)
	healAll(t, l)
	for i, m := range members {
		if imageOf(t, m)[seg1] != was[seg1] {
			t.Errorf("member %d is not healed", i)
		}
	}
	if healed, lost := told.counts(); healed != 3 || lost != 0 {
		t.Errorf("%d healed, %d lost", healed, lost)
	}
}
