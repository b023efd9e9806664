package replication

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestReplaceOneAfterTheOther replaces every disk of a log, each as soon as Replace allows it, as an operator does who tries
// again and again. Members show how far it is meanwhile, and nothing is lost.
func TestReplaceOneAfterTheOther(t *testing.T) {
	f := func(n int, r Redundancy) {
		t.Run(fmt.Sprintf("%d members %v", n, r), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { replaceAll(t, n, r) })
		})
	}
	f(3, Redundancy{})
	f(5, Redundancy{})
	f(6, Redundancy{})
	f(3, Redundancy{2, 1})
	f(6, Redundancy{4, 2})
}

func replaceAll(t *testing.T, n int, r Redundancy) {
	l, err := Open(memMembers(n), Options{SegmentBytes: 4000, ScrubEvery: -1, Redundancy: r, RepairBytesPerSecond: 1 << 12})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	records := appendMany(t, l, 60)
	if err := l.Rotate(); err != nil {
		t.Fatal(err)
	}
	isFilled := func() bool {
		s := l.Stats()
		return s.UnderReplicated == 0 && allCurrent(l) && !isFilling(l) && (r.K == 0 || s.CopyBytes == 0)
	}
	awaitIn(t, "as it is wanted", isFilled)
	survives := l.Stats().Survives
	if want := max(r.M, 2*truth(r.K == 0)); survives != want {
		t.Fatalf("survives the loss of %d, want %d", survives, want)
	}
	refusals, filling := 0, 0
	for i := range n {
		home := Member{FS: vfs.NewMem(), Dir: fmt.Sprintf("new-%d", i)}
		awaitIn(t, fmt.Sprintf("member %d replaced", i+1), func() bool {
			err := l.Replace(t.Context(), i, home, false)
			for _, m := range l.Members() {
				if m.State == Current && m.Reason == ReasonFilling && m.Want > m.Have {
					filling++
				}
			}
			switch {
			case errors.Is(err, ErrNeeded):
				refusals++
				return false
			case errors.Is(err, ErrUnavailable) || err != nil && strings.Contains(err.Error(), "cannot be done without just now"):
				return false // the one before is not current
			case err != nil:
				t.Fatal(err)
			}
			return true
		})
		if s := l.Stats(); s.Survives < 0 {
			t.Fatalf("member %d is replaced, and %+v", i+1, s)
		}
		for _, r := range records {
			if err := readRecord(l, r, true); err != nil {
				t.Fatalf("member %d is replaced: %v", i+1, err)
			}
		}
	}
	awaitIn(t, "whole", isFilled)
	if n > 3 || r.K > 0 {
		if refusals == 0 || filling == 0 {
			t.Errorf("refused %d times, being filled was seen %d times", refusals, filling)
		}
	}
	if got := l.Stats().Survives; got != survives {
		t.Errorf("survives the loss of %d at the end, and of %d before", got, survives)
	}
	for _, r := range records {
		if err := readRecord(l, r, true); err != nil {
			t.Fatal(err)
		}
	}
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}

func isFilling(l *Log) bool {
	for _, m := range l.Members() {
		if m.Reason == ReasonFilling {
			return true
		}
	}
	return false
}

// appendMany appends n records and returns them.
func appendMany(t *testing.T, l *Log, n int) (out []*Record) {
	t.Helper()
	for i := range n {
		r := &Record{Meta: fmt.Append(nil, "meta ", i), Data: [][]byte{[]byte(strings.Repeat(fmt.Sprintf("%07d ", i), 40))}}
		if _, err := l.Append(r); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Next(nil); err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
	return out
}

// TestReplaceWhatIsNeeded: where another disk is out, one that holds what is had from nowhere else is not given up, also if it
// is behind and its directory can be read. What is dead may always be replaced.
func TestReplaceWhatIsNeeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 5, Redundancy{4, 1})
		<-time.After(2 * time.Second)
		c.settle("in shards")
		c.kill(1)
		refused := func(what string, err error, words ...string) {
			t.Helper()
			if !errors.Is(err, ErrNeeded) {
				t.Errorf("%s: %v", what, err)
				return
			}
			for _, w := range words {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%s: %q is not in: %v", what, w, err)
				}
			}
		}
		refused("one that works", c.l.Replace(t.Context(), 0, Member{FS: vfs.NewMem(), Dir: "fresh"}, false), "member 1", "sealed segments could not be had")

		// It is left out, and nobody brings it up.
		free, err := c.l.custodian.seize(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.l.vacate(0, "", func(*membership, int) error { return nil }); err != nil {
			t.Fatal(err)
		}
		refused("one that is behind", c.l.Needed(0), "member 1", "could not be had")
		c.dead[0].Store(true)
		if err := c.l.Needed(0); err != nil {
			t.Errorf("one that is behind and does not answer: %v", err)
		}
		c.dead[0].Store(false)
		free()

		if err := c.l.Replace(t.Context(), 1, c.newHome(1), false); err != nil {
			t.Fatal(err)
		}
		c.settle("replaced")
		c.close()
	})
}
