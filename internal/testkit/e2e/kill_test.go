//go:build e2e

package e2e

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
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

// checkEvery is after how many rounds what a kill has left is checked by pagevault check.
const checkEvery = 10

// indexEvery is after how many rounds the index is taken away or damaged after a kill.
const indexEvery = 7

// eager are the arguments of a server that gives space back all the time, in small pieces, so that a kill or a cut at a
// random moment often hits that.
var eager = []string{"--segment-size", "1MiB", "--garbage", "20", "--maintenance-rate", "1GiB", "--maintenance-every", "20ms",
	"--checkpoint-every", "1MiB"}

// TestKillNine kills the real process with -9 at random moments under concurrent writers, also while it recovers from
// the kill before, and starts it again on the same data. What it acknowledged must be there, what it did not is old or
// new by the page, snapshots never change, what was deleted stays deleted, each member alone holds all of that right after
// the kill, and after a stop the members hold the same bytes. All the time the server rewrites and drops segments and
// makes checkpoints; now and then the index is lost, and made anew. At the end everything is deleted, and the disk is as
// empty as that of a new store.
func TestKillNine(t *testing.T) {
	s, rounds := testkit.Seed(t), testkit.Scale(t, roundsEnv, 100)
	rng := rand.New(rand.NewPCG(s, 0))
	server := testkit.StartServer(t, testkit.ServerOptions{Args: eager})
	w := newWorkload(s)
	w.create(t, server)

	var begun, acknowledged, recoveriesKilled, checked int
	var lost lostIndexes
	var space givenBack
	var slowestStart, slowestAlone, slowestCheck time.Duration
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
			if n%checkEvery == checkEvery/3 {
				began := time.Now()
				checkFiles(t, server.Data())
				slowestCheck = max(slowestCheck, time.Since(began))
				checked++
			}
		}
		space.heard(server)
		for _, d := range w.disks {
			b, a := d.history.Acknowledgements()
			begun, acknowledged = begun+b, acknowledged+a
		}
		anew := n%indexEvery == indexEvery-1
		if anew {
			lost.damage(t, server.Data(), rng)
		}
		for !anew && rng.IntN(4) == 0 { // killed again while it recovers
			server.Spawn(t)
			<-time.After(time.Duration(rng.IntN(60)) * time.Millisecond)
			server.Kill9(t)
			recoveriesKilled++
		}
		started := time.Now()
		server.Start(t)
		slowestStart = max(slowestStart, time.Since(started))
		if said := server.Output(); anew && !strings.Contains(said, "made the index anew") {
			t.Fatalf("the index was damaged (%s), and the server did not make it anew:\n%s", lost.last, said)
		}
		w.verify(t, server, rng, 1)
		space.look(t, server)
	}
	w.verify(t, server, rng, w.snapshots())
	took := time.Since(start)
	t.Logf("%d rounds, %d during recovery; %d page writes begun, %d acknowledged; %d snapshots left; %.2f s a round; slowest start %v, slowest look at each member alone %v",
		rounds, recoveriesKilled, begun, acknowledged, w.snapshots(), took.Seconds()/float64(rounds), slowestStart.Round(time.Millisecond), slowestAlone.Round(time.Millisecond))
	t.Logf("deleted %d snapshots and %d blobs of %d KiB; %v; %v; %d checks of the files, the slowest %v",
		w.thawed, w.passed, passingPages*pageSize>>10, &space, &lost, checked, slowestCheck.Round(time.Millisecond))
	if acknowledged < rounds*20 {
		t.Errorf("only %d writes were acknowledged: too few to mean anything", acknowledged)
	}
	space.enough(t, rounds)
	if w.passed == 0 || rounds >= 100 && w.thawed == 0 {
		t.Errorf("%d blobs and %d snapshots were deleted: too few to mean anything", w.passed, w.thawed)
	}
	compareEmptied(t, server, w)
}

// givenBack is what is seen of space that comes back while a server runs and dies.
type givenBack struct {
	rewritten         int     // segments, as the log says
	dropped           float64 // segments, as the log's manifest counts them
	dropping          int     // lives of the server in which some were
	checkpoint        float64 // record of the newest
	checkpoints       int     // lives of the server in which there was a new one
	most              float64 // bytes of the log, when it was largest
	refused, mistakes int     // complaints of the server
}

// heard takes in what a server said in the life that has ended.
func (g *givenBack) heard(s *testkit.Server) {
	said := s.Output()
	g.rewritten += strings.Count(said, "rewrote a segment")
	g.refused += strings.Count(said, "space is not given back") + strings.Count(said, "what was dropped stays")
	g.mistakes += strings.Count(said, "counts of what refers to stored blocks are wrong")
}

// look takes in what a server shows.
func (g *givenBack) look(t *testing.T, s *testkit.Server) {
	t.Helper()
	if n := s.Metric(t, "pagevault_log_segments_dropped_total"); n != g.dropped {
		g.dropped, g.dropping = n, g.dropping+1
	}
	if n := s.Metric(t, "pagevault_checkpoint_record"); n != g.checkpoint {
		g.checkpoint, g.checkpoints = n, g.checkpoints+1
	}
	g.most = max(g.most, s.Metric(t, "pagevault_log_bytes"))
}

// await returns when there is a checkpoint that was not there at the last look; one is made whenever there is some more of
// the log, and what it makes superfluous is dropped next.
func (g *givenBack) await(t *testing.T, s *testkit.Server) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for s.Metric(t, "pagevault_checkpoint_record") == g.checkpoint {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("no checkpoint in 20 s; the server says\n%s", s.Output())
		}
	}
}

func (g *givenBack) String() string {
	return fmt.Sprintf("%d segments rewritten, %.0f dropped in %d lives of the server, new checkpoints in %d; log at most %.1f MiB",
		g.rewritten, g.dropped, g.dropping, g.checkpoints, g.most/mib)
}

// enough checks that so much was given back that kills were likely to hit it.
func (g *givenBack) enough(t *testing.T, rounds int) {
	t.Helper()
	if g.rewritten < rounds/2 || g.dropped < float64(rounds) || g.dropping < rounds/4 || g.checkpoints < rounds/4 {
		t.Errorf("in %d rounds %v: too little to mean anything", rounds, g)
	}
	if g.refused > 0 || g.mistakes > 0 {
		t.Errorf("the server complained %d times that space is not given back, %d times of wrong counts", g.refused, g.mistakes)
	}
}

// checkFiles has pagevault check everything that is stored, while no server runs. What a kill leaves unfinished is no
// problem to it; anything else fails the test.
func checkFiles(t *testing.T, data string) {
	t.Helper()
	out, err := testkit.Command{Args: []string{testkit.Binary(t), "check", "--data", data}}.Try(t)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out, "no problems found") {
		t.Fatalf("check says:\n%s", out)
	}
}

// lostIndexes counts how the index was damaged.
type lostIndexes struct {
	gone, truncated, overwritten int
	last                         string
}

func (l *lostIndexes) String() string {
	return fmt.Sprintf("index deleted %d times, its tables cut %d times, its list of files overwritten %d times", l.gone, l.truncated, l.overwritten)
}

// damage does something to the index that its next opening must see: all of it goes, or half of every table, or what stands
// in its list of tables. data must not be in use.
func (l *lostIndexes) damage(t *testing.T, data string, rng *rand.Rand) {
	t.Helper()
	index := filepath.Join(data, "index", testkit.Account)
	tables, _ := filepath.Glob(filepath.Join(index, "*.sst"))
	manifests, _ := filepath.Glob(filepath.Join(index, "MANIFEST-*"))
	if len(manifests) == 0 {
		t.Fatalf("there is no list of tables in %s", index)
	}
	switch kind := rng.IntN(3); {
	case kind == 0 && len(tables) > 0:
		for _, name := range tables { // some may be left over from the kill, and nobody misses those
			info, err := os.Stat(name)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(name, info.Size()/2); err != nil {
				t.Fatal(err)
			}
		}
		l.truncated, l.last = l.truncated+1, "tables cut"
	case kind == 1:
		for _, name := range manifests {
			f, err := os.OpenFile(name, os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.WriteAt([]byte("this is no list of tables"), 0); err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
		}
		l.overwritten, l.last = l.overwritten+1, "MANIFEST overwritten"
	default:
		if err := os.RemoveAll(index); err != nil {
			t.Fatal(err)
		}
		l.gone, l.last = l.gone+1, "deleted"
	}
}

// mostLeft is what the disk of a store that was emptied may hold more than that of one that never held anything: the last
// records, which say that everything was deleted, and a checkpoint of an index without blobs, on three members.
const mostLeft = 256 << 10

// compareEmptied deletes everything, has the space given back, stops the server, and compares what its data directory
// takes on disk with that of a store in which there never was anything but the container.
func compareEmptied(t *testing.T, server *testkit.Server, w *workload) {
	t.Helper()
	full := diskUse(t, server.Data())
	w.deleteAll(t, server)
	testkit.Run(t, testkit.Binary(t), "compact", "--admin", server.AdminURL())
	if live := server.Metric(t, "pagevault_account_stored_bytes"); live != 0 {
		t.Errorf("everything was deleted, and %.0f bytes of content are stored", live)
	}
	server.Stop(t)
	compareMembers(t, server.Data())
	checkFiles(t, server.Data())

	empty := testkit.StartServer(t, testkit.ServerOptions{Args: eager})
	if _, err := empty.Container(t, containerName).Create(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	testkit.Run(t, testkit.Binary(t), "compact", "--admin", empty.AdminURL())
	empty.Stop(t)
	left, least := diskUse(t, server.Data()), diskUse(t, empty.Data())
	t.Logf("disk use with everything in it %.1f MiB, with everything deleted %.1f KiB; of a store that never held anything %.1f KiB",
		float64(full)/mib, float64(left)/1024, float64(least)/1024)
	if most := least + max(least/20, mostLeft); left > most {
		t.Errorf("%d bytes are left on disk, want at most %d:\n%s", left, most, testkit.Run(t, "find", server.Data(), "-type", "f", "-size", "+8k", "-ls"))
	}
}

// diskUse returns the bytes that the files below dir take on disk.
func diskUse(t *testing.T, dir string) (bytes int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a running server has files that come and go
		}
		if err != nil {
			return err
		}
		bytes += info.Sys().(*syscall.Stat_t).Blocks * 512
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return bytes
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
			if err := copyFile(filepath.Join(data, "master.key"), filepath.Join(alone, "master.key")); err != nil {
				t.Fatal(err)
			}
			s := testkit.StartServer(t, testkit.ServerOptions{Data: alone})
			w.look(t, s, rng, 1)
			s.Stop(t)
		}) {
			t.FailNow()
		}
	}
}

// copySegments gives a member the segments of another, its checkpoint, and its list of both. Sealed segments are never
// changed, so they are linked: a server that did change them would damage the original, which the rounds after this would
// show.
func copySegments(t *testing.T, from, to string) {
	t.Helper()
	copyTree(t, from, to, func(old, name string) error {
		switch {
		case filepath.Ext(old) == ".seg":
			return os.Link(old, name)
		case filepath.Base(old) == "MEMBER" || filepath.Base(old) == "LOCK":
			return nil
		}
		return copyFile(old, name)
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
	to, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
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
	compareDirs(t, memberDirs(t, data))
}

// compareDirs is compareMembers for members in any directories.
func compareDirs(t *testing.T, members []string) {
	t.Helper()
	first := segmentSums(t, members[0])
	if len(first) == 0 { // all may have been dropped: a checkpoint stands for them
		if _, err := os.Stat(filepath.Join(members[0], testkit.Account, "CHECKPOINT")); err != nil {
			t.Fatalf("no segments in %s, and %v", members[0], err)
		}
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
