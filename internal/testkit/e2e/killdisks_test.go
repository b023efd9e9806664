//go:build e2e

package e2e

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pagevault/internal/testkit"
)

// diskRoundsEnv is how often TestKillDisks kills the server and hurts a member.
const diskRoundsEnv = "PAGEVAULT_DISK_ROUNDS"

// TestKillDisks kills the real process with -9 at random moments under concurrent writers, again and again, and each time
// something happens to the files of one member: under load, before the kill, or at rest, after it. It starts again, shows
// everything that was acknowledged, and brings the member up, if need be after the operator has said that its directory is
// to be filled anew. No request fails but by the kill.
func TestKillDisks(t *testing.T) {
	rounds := testkit.Scale(t, diskRoundsEnv, 50)
	f := newFleet(t, plainHomes(t, 3))
	counts := map[string]int{}
	var acknowledged, replaced, swapped int
	var slowestStart, slowestHeal time.Duration
	for n := range rounds {
		number, wound := 1+f.rng.IntN(len(f.homes)), wounds[f.rng.IntN(len(wounds))]
		atRest := wound.older || f.rng.IntN(2) == 0
		what := fmt.Sprintf("round %d: member %d, %s, at rest: %v", n, number, wound.name, atRest)
		old := filepath.Join(t.TempDir(), "old")
		if wound.older {
			copyLive(t, f.homes[number-1], old)
		}
		f.load(1 + f.rng.Int64N(40))
		if !atRest {
			wound.inflict(t, f.homes[number-1], f.rng)
			f.goOn(1 + f.rng.Int64N(100))
		}
		<-time.After(time.Duration(f.rng.IntN(300)) * time.Millisecond) // the random moment is the test
		f.kill()
		switch {
		case wound.older:
			removeAll(t, f.homes[number-1])
			testkit.Run(t, "mv", old, f.homes[number-1])
		case atRest:
			wound.inflict(t, f.homes[number-1], f.rng)
		}
		if f.rng.IntN(8) == 0 {
			f.swap(t, f.rng.Perm(len(f.homes)))
			swapped++
		}
		for f.rng.IntN(4) == 0 { // killed again while it recovers
			f.server.Spawn(t)
			<-time.After(time.Duration(f.rng.IntN(60)) * time.Millisecond)
			f.server.Kill9(t)
		}
		for _, d := range f.w.disks {
			_, a := d.history.Acknowledgements()
			acknowledged += a
		}
		t.Log(what)
		began := time.Now()
		f.server.Start(t)
		slowestStart = max(slowestStart, time.Since(began))
		f.w.verify(t, f.server, f.rng, 1)

		began = time.Now()
		if f.needsOperator(number) {
			if !wound.replace {
				t.Errorf("%s: the member is not healed by itself: %v", what, f.server.Members(t))
			}
			f.replace(number)
			replaced++
		}
		f.awaitWhole()
		f.command("scrub")
		f.awaitWhole()
		slowestHeal = max(slowestHeal, time.Since(began))
		counts[wound.name]++
		if n%stopEvery == stopEvery-1 {
			f.server.Stop(t)
			compareDirs(t, f.homes)
			f.check()
			f.server.Start(t)
		}
	}
	f.verify()
	f.close()
	t.Logf("%d rounds, %d page writes acknowledged; %d directories filled anew, %d times two swapped; slowest start %v, slowest healing %v", rounds, acknowledged,
		replaced, swapped, slowestStart.Round(time.Millisecond), slowestHeal.Round(time.Millisecond))
	var kinds []string
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		kinds = append(kinds, fmt.Sprintf("%s %d times", name, counts[name]))
	}
	t.Log(strings.Join(kinds, ", "))
	if acknowledged < rounds*20 {
		t.Errorf("only %d writes were acknowledged: too few to mean anything", acknowledged)
	}
}

// swap makes two members trade their places, as disks do that are plugged in otherwise: who is who stands in the directories.
func (f *fleet) swap(t *testing.T, places []int) {
	t.Helper()
	a, b := places[0], places[1]
	aside := f.homes[a] + ".aside"
	for _, move := range [][2]string{{f.homes[a], aside}, {f.homes[b], f.homes[a]}, {aside, f.homes[b]}} {
		if err := os.Rename(move[0], move[1]); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	f.homes[a], f.homes[b] = f.homes[b], f.homes[a]
}

// needsOperator returns when all members are current, or when one waits for somebody to say that its directory is to be
// filled anew, and reports whether it does.
func (f *fleet) needsOperator(number int) (waits bool) {
	f.t.Helper()
	f.server.AwaitMembers(f.t, healBound, "whole, or in need of the operator", func(m *testkit.Membership) bool {
		state := m.Member(f.t, number).State
		waits = state == "absent" || state == "foreign"
		return waits || m.Whole()
	})
	return waits
}

// copyLive copies a directory in which the server gives files other names and removes them: until a copy had no part in that.
func copyLive(t *testing.T, from, to string) {
	t.Helper()
	var err error
	for range 20 {
		if _, err = (testkit.Command{Args: []string{"cp", "-a", from, to}}).Try(t); err == nil {
			return
		}
		removeAll(t, to)
	}
	t.Fatal(err)
}
