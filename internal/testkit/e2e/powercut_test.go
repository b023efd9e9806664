//go:build e2e

package e2e

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pagevault/internal/testkit"
)

// diskBytes is the size of the file systems whose power is cut; the file below is sparse.
const diskBytes = 4 << 30

// TestPowerCutDisk shows that the instrument works: what was synced survives a cut, what was not is gone. Without it the
// tests below could not fail.
func TestPowerCutDisk(t *testing.T) {
	for _, kind := range []string{"ext4", "xfs"} {
		t.Run(kind, func(t *testing.T) {
			d := testkit.NewDisk(t, kind, diskBytes)
			write := func(name string, sync bool) {
				f, err := os.Create(filepath.Join(d.Dir(), name))
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				if _, err := f.Write(make([]byte, 100000)); err != nil {
					t.Fatal(err)
				}
				if sync {
					if err := f.Sync(); err != nil {
						t.Fatal(err)
					}
				}
			}
			write("synced", true)
			write("not-synced", false)
			d.CutPower(t)
			if err := os.WriteFile(filepath.Join(d.Dir(), "after"), []byte("x"), 0o644); err == nil {
				t.Error("a file could be written after the cut")
			}
			d.Unmount(t)
			d.Mount(t)
			if info, err := os.Stat(filepath.Join(d.Dir(), "synced")); err != nil || info.Size() != 100000 {
				t.Errorf("the synced file after the cut: %v, %v", info, err)
			}
			if info, err := os.Stat(filepath.Join(d.Dir(), "not-synced")); err == nil && info.Size() == 100000 {
				t.Error("the file that was not synced survived: this cuts no power")
			}
		})
	}
}

// TestPowerCut puts the data directory on a real file system, cuts its power at random moments under concurrent
// writers, mounts it again and starts the server on what is left. The promises are those of TestKillNine.
func TestPowerCut(t *testing.T) {
	for _, kind := range []string{"ext4", "xfs"} {
		t.Run(kind, func(t *testing.T) {
			s, cuts := testkit.Seed(t), testkit.Scale(t, cutsEnv, 12)
			rng := rand.New(rand.NewPCG(s, 1))
			d := testkit.NewDisk(t, kind, diskBytes)
			server := testkit.StartServer(t, testkit.ServerOptions{Data: filepath.Join(d.Dir(), "data"), Args: eager})
			w := newWorkload(s)
			w.create(t, server)
			acknowledged := 0
			var space givenBack
			for n := range cuts {
				r := w.start(t, server, n)
				r.awaitAcks(t, 1+rng.Int64N(20)) // so that a slow disk has something to lose, too
				wait := time.Duration(rng.IntN(600)) * time.Millisecond
				if n%2 == 1 { // soon after a checkpoint, when segments are dropped
					space.await(t, server)
					wait /= 10
				}
				<-time.After(wait) // the random moment is the test
				w.killed.Store(true)
				d.CutPower(t)
				server.Abandon()
				r.end(t)
				space.heard(server)
				for _, d := range w.disks {
					_, a := d.history.Acknowledgements()
					acknowledged += a
				}
				d.Unmount(t)
				d.Mount(t)
				server.Start(t)
				w.verify(t, server, rng, 1)
				space.look(t, server)
			}
			w.verify(t, server, rng, w.snapshots())
			server.Stop(t)
			compareMembers(t, server.Data())
			d.Unmount(t)
			d.Check(t)
			t.Logf("%s: %d cuts, %d page writes acknowledged, %d snapshots; %v", kind, cuts, acknowledged, w.snapshots(), &space)
			if space.dropped == 0 || space.checkpoints < cuts/4 {
				t.Errorf("%v: too little to mean anything", &space)
			}
			if space.mistakes > 0 { // it may complain that space is not given back: the disk is gone
				t.Errorf("the server complained %d times of wrong counts", space.mistakes)
			}
			if acknowledged < cuts*10 { // ten writers at some fifty syncs a second
				t.Errorf("only %d writes were acknowledged: too few to mean anything", acknowledged)
			}
		})
	}
}
