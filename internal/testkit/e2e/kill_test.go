//go:build e2e

package e2e

import (
	"crypto/sha256"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pagevault/internal/testkit"
)

// The environment variables that scale the tests of this package.
const (
	roundsEnv = "PAGEVAULT_KILL_ROUNDS" // how often TestKillNine kills the server
	cutsEnv   = "PAGEVAULT_POWER_CUTS"  // how often TestPowerCut cuts the power of each file system
)

// stopEvery is after how many rounds the server is stopped in order instead of killed, and its members are compared.
const stopEvery = 10

// TestKillNine kills the real process with -9 at random moments under concurrent writers, also while it recovers from
// the kill before, and starts it again on the same data. What it acknowledged must be there, what it did not is old or
// new by the page, snapshots never change, and the members hold the same bytes.
func TestKillNine(t *testing.T) {
	s, rounds := testkit.Seed(t), testkit.Scale(t, roundsEnv, 100)
	rng := rand.New(rand.NewPCG(s, 0))
	server := testkit.StartServer(t, testkit.ServerOptions{})
	w := newWorkload(s)
	w.create(t, server)

	var begun, acknowledged, recoveriesKilled int
	var slowestStart time.Duration
	start := time.Now()
	for n := range rounds {
		r := w.start(t, server, n)
		r.awaitAcks(t, 1)
		if n%stopEvery == stopEvery-1 {
			r.awaitAcks(t, 50)
			w.killed.Store(true)
			r.end(t)
			server.Stop(t)
			compareMembers(t, server.Data())
		} else {
			<-time.After(time.Duration(rng.IntN(400)) * time.Millisecond) // the random moment is the test
			w.killed.Store(true)
			server.Kill9(t)
			r.end(t)
		}
		for _, d := range w.disks {
			b, a := d.history.Acknowledgements()
			begun, acknowledged = begun+b, acknowledged+a
		}
		for rng.IntN(4) == 0 { // killed again while it recovers
			server.Spawn(t)
			<-time.After(time.Duration(rng.IntN(60)) * time.Millisecond)
			server.Kill9(t)
			recoveriesKilled++
		}
		started := time.Now()
		server.Start(t)
		slowestStart = max(slowestStart, time.Since(started))
		w.verify(t, server, rng, 1)
	}
	w.verify(t, server, rng, w.snapshots())
	took := time.Since(start)
	server.Stop(t)
	compareMembers(t, server.Data())
	t.Logf("%d rounds, %d during recovery; %d page writes begun, %d acknowledged; %d snapshots; %.2f s a round; slowest start %v",
		rounds, recoveriesKilled, begun, acknowledged, w.snapshots(), took.Seconds()/float64(rounds), slowestStart.Round(time.Millisecond))
	if acknowledged < rounds*20 {
		t.Errorf("only %d writes were acknowledged: too few to mean anything", acknowledged)
	}
}

// compareMembers checks, after a clean stop, that every segment file is on each of the three members, with the same
// bytes. That each alone can serve them is shown by the tests of pagestore.
func compareMembers(t *testing.T, data string) {
	t.Helper()
	members, err := filepath.Glob(filepath.Join(data, "replica-*"))
	if err != nil || len(members) != 3 {
		t.Fatalf("%d members below %s (%v), want 3", len(members), data, err)
	}
	first := segmentSums(t, members[0])
	if len(first) == 0 {
		t.Fatalf("no segments in %s", members[0])
	}
	for _, m := range members[1:] {
		other := segmentSums(t, m)
		for name, sum := range first {
			if other[name] != sum {
				t.Errorf("%s is not the same in %s and %s", name, filepath.Base(members[0]), filepath.Base(m))
			}
		}
		if len(other) != len(first) {
			t.Errorf("%d segment files in %s, %d in %s", len(first), filepath.Base(members[0]), len(other), filepath.Base(m))
		}
	}
}

// segmentSums returns the checksums of all segment files of a member. None may be open after a clean stop.
func segmentSums(t *testing.T, member string) map[string][sha256.Size]byte {
	t.Helper()
	sums := map[string][sha256.Size]byte{}
	err := filepath.WalkDir(member, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, err := filepath.Rel(member, name)
		if err != nil {
			return err
		}
		if strings.HasSuffix(name, ".open") {
			t.Errorf("%s is still open after a clean stop", name)
		}
		if strings.HasSuffix(name, ".seg") {
			b, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			sums[rel] = sha256.Sum256(b)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return sums
}
