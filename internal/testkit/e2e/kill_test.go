//go:build e2e

package e2e

import (
	"crypto/sha256"
	"io"
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

// aloneEvery is after how many rounds what the kill has left on each member is looked at alone.
const aloneEvery = 10

// TestKillNine kills the real process with -9 at random moments under concurrent writers, also while it recovers from
// the kill before, and starts it again on the same data. What it acknowledged must be there, what it did not is old or
// new by the page, snapshots never change, each member alone holds all of that right after the kill, and after a stop the
// members hold the same bytes.
func TestKillNine(t *testing.T) {
	s, rounds := testkit.Seed(t), testkit.Scale(t, roundsEnv, 100)
	rng := rand.New(rand.NewPCG(s, 0))
	server := testkit.StartServer(t, testkit.ServerOptions{})
	w := newWorkload(s)
	w.create(t, server)

	var begun, acknowledged, recoveriesKilled int
	var slowestStart, slowestAlone time.Duration
	start := time.Now()
	for n := range rounds {
		r := w.start(t, server, n)
		r.awaitAcks(t, 1+rng.Int64N(40)) // so that a slow disk has something to lose, too
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
			if n%aloneEvery == aloneEvery/2 {
				began := time.Now()
				verifyEachAlone(t, w, server.Data(), rng)
				slowestAlone = max(slowestAlone, time.Since(began))
			}
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
	t.Logf("%d rounds, %d during recovery; %d page writes begun, %d acknowledged; %d snapshots; %.2f s a round; slowest start %v, slowest look at each member alone %v",
		rounds, recoveriesKilled, begun, acknowledged, w.snapshots(), took.Seconds()/float64(rounds), slowestStart.Round(time.Millisecond), slowestAlone.Round(time.Millisecond))
	if acknowledged < rounds*20 {
		t.Errorf("only %d writes were acknowledged: too few to mean anything", acknowledged)
	}
}

// verifyEachAlone checks that each member alone holds everything that was acknowledged. For each it makes a data
// directory in which all three members have that member's segments, and no index, so that whatever a server on it shows
// can only come from that member. data must not be in use; it is left as it is.
func verifyEachAlone(t *testing.T, w *workload, data string, rng *rand.Rand) {
	t.Helper()
	members := memberDirs(t, data)
	for _, m := range members {
		if !t.Run(filepath.Base(m)+" alone", func(t *testing.T) {
			alone := filepath.Join(t.TempDir(), "data")
			for _, other := range members {
				copySegments(t, m, filepath.Join(alone, filepath.Base(other)))
				copyIdentities(t, other, filepath.Join(alone, filepath.Base(other)))
			}
			s := testkit.StartServer(t, testkit.ServerOptions{Data: alone})
			w.look(t, s, rng, 1)
			s.Stop(t)
		}) {
			t.FailNow()
		}
	}
}

// copySegments gives a member the segments of another. Sealed ones are never changed, so they are linked: a server that
// did change them would damage the original, which the rounds after this would show.
func copySegments(t *testing.T, from, to string) {
	t.Helper()
	copyTree(t, from, to, func(old, name string) error {
		switch filepath.Ext(old) {
		case ".seg":
			return os.Link(old, name)
		case ".open":
			return copyFile(old, name)
		}
		return nil
	})
}

// copyIdentities copies what says which member a folder is.
func copyIdentities(t *testing.T, from, to string) {
	t.Helper()
	copyTree(t, from, to, func(old, name string) error {
		if filepath.Base(old) == "MEMBER" {
			return copyFile(old, name)
		}
		return nil
	})
}

// copyTree calls one for every file below from, with the name it has below to, in a folder that exists.
func copyTree(t *testing.T, from, to string, one func(old, name string) error) {
	t.Helper()
	err := filepath.WalkDir(from, func(old string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, old)
		if err != nil {
			return err
		}
		if e.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		}
		return one(old, filepath.Join(to, rel))
	})
	if err != nil {
		t.Fatal(err)
	}
}

func copyFile(old, name string) error {
	from, err := os.Open(old)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	if _, err := io.Copy(to, from); err != nil {
		to.Close()
		return err
	}
	return to.Close()
}

// memberDirs returns the folders of the three members.
func memberDirs(t *testing.T, data string) []string {
	t.Helper()
	members, err := filepath.Glob(filepath.Join(data, "replica-*"))
	if err != nil || len(members) != 3 {
		t.Fatalf("%d members below %s (%v), want 3", len(members), data, err)
	}
	return members
}

// compareMembers checks, after a clean stop, that every segment file is on each of the three members, with the same
// bytes.
func compareMembers(t *testing.T, data string) {
	t.Helper()
	members := memberDirs(t, data)
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
