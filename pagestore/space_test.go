package pagestore

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/internal/clock"
	"pagevault/pagestore/pagemap"
)

// TestSpaceComesBack fills a store on disk, deletes everything and measures what is left, beside a store that never held
// anything: members with segments and checkpoints, index, file of names.
func TestSpaceComesBack(t *testing.T) {
	dir := t.TempDir()
	o := spaceOptions(dir)
	o.Log.SegmentBytes = 8 << 20
	rest := func(name string) (total int64) {
		s := openTest(t, o)
		maintain(t, s, MaintainOptions{})
		wantMark(t, s)
		mustClose(t, s)
		total = used(t, dir)
		t.Logf("%-22s %8d bytes: index %d, a member %d", name, total, used(t, o.Dir), used(t, o.Members[0].Dir))
		return total
	}
	rest("made just now")
	empty := rest("empty") // opened again: Pebble keeps the manifest of the time before

	s := openTest(t, o)
	volumes := fillSpace(t, s)
	mustClose(t, s)
	full := rest("full")

	s = openTest(t, o)
	emptySpace(t, s, volumes)
	mustClose(t, s)
	after := rest("everything deleted")
	if after > empty*105/100 {
		t.Errorf("%d bytes are left of %d, an empty store has %d", after, full, empty)
	}
}

// TestSpaceComesBackByItself is TestSpaceComesBack without anybody asking, and with segments so large that everything is
// in the open one: the background of a store that is idle seals it, and comes to rest.
func TestSpaceComesBackByItself(t *testing.T) {
	dir := t.TempDir()
	o := spaceOptions(dir)
	o.Log.SegmentBytes = 0 // the default
	o.Maintenance.BytesPerSecond = 1 << 40
	o.Events = &Events{MaintenanceFailed: func(err error) { t.Error(err) }}
	mustClose(t, openTest(t, o))
	mustClose(t, openTest(t, o)) // Pebble keeps the manifest of the time before
	empty := used(t, dir)
	s := openTest(t, o)
	volumes := fillSpace(t, s)
	mustClose(t, s)
	full := used(t, dir)

	s = openTest(t, o)
	s.maintenance.clock = clock.NewManual(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	write(t, s, newVolume(t, s), 0, randomBytes(rand.New(rand.NewPCG(3, 4)), PageSize)) // a segment is open again
	emptySpace(t, s, append(volumes, volumes[len(volumes)-1]+1))
	wantRest(t, s, func() {
		if err := s.db.Flush(); err != nil {
			t.Fatal(err)
		}
	})
	wantMark(t, s)
	mustClose(t, s)
	after := used(t, dir)
	t.Logf("%d bytes empty, %d full, %d emptied: index %d, a member %d", empty, full, after, used(t, o.Dir), used(t, o.Members[0].Dir))
	if after > empty+full*5/100 {
		t.Errorf("%d bytes are left of %d, an empty store has %d", after, full, empty)
	}
}

// TestIdleRests has idle stores with open segments that are mostly garbage, wholly or not at all: each gives back what it
// can, and then nothing is written any more.
func TestIdleRests(t *testing.T) {
	for _, c := range []struct {
		name   string
		keep   int   // of 64 regions
		atMost int64 // bytes of log that are left
	}{{"nothing", 0, 64 << 10}, {"a little", 3, 512 << 10}, {"a third", 21, 2 << 20}, {"most", 40, 5 << 20}, {"all", 64, 5 << 20}} {
		t.Run(c.name, func(t *testing.T) {
			o := backgroundOptions(vfs.NewMem())
			o.Log.SegmentBytes, o.minDropBytes = 0, 0
			o.Events = &Events{MaintenanceFailed: func(err error) { t.Error(err) }}
			s := openTest(t, o)
			s.maintenance.clock = clock.NewManual(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
			v := newVolume(t, s)
			p := randomBytes(rand.New(rand.NewPCG(1, 2)), 64*pagemap.RegionBytes)
			write(t, s, v, 0, p)
			for i := c.keep; i < 64; i++ {
				update(t, s, func(tx *Tx) error {
					return tx.Clear(v, Range{PageNo(i) * pagemap.RegionPages, PageNo(i+1) * pagemap.RegionPages})
				})
			}
			clear(p[c.keep*pagemap.RegionBytes:])
			full := logBytes(s)
			wantRest(t, s, nil)
			t.Logf("%d bytes of log, %d left", full, logBytes(s))
			if left := logBytes(s); left > c.atMost {
				t.Errorf("%d bytes are left of %d, want at most %d", left, full, c.atMost)
			}
			wantRead(t, s, v, GenHead, 0, p)
			wantMark(t, s)
		})
	}
}

// wantRest has the background of an idle store do what it will, and wants it to write neither records nor checkpoints after
// a while. between, if not nil, is called now and then.
func wantRest(t *testing.T, s *Store, between func()) {
	t.Helper()
	tick(t, s, 4*int(defaultRewriteAfter/maintenanceTick))
	look := func() string {
		at, _ := s.log.Checkpoint()
		return fmt.Sprintf("record %d, %d segments, checkpoint of record %d made at %v", s.log.Stats().Last, s.log.Stats().Segments, at.LSN, at.Time)
	}
	before := look()
	for range 10 {
		if between != nil {
			between()
		}
		tick(t, s, 20)
	}
	if after := look(); after != before {
		t.Errorf("an idle store does not come to rest:\n%s\n%s", before, after)
	}
}

// spaceOptions are those of a store of three members on disk, below dir.
func spaceOptions(dir string) Options {
	o := gcOptions(nil, 3)
	o.Dir = filepath.Join(dir, "index")
	for i := range o.Members {
		o.Members[i].FS, o.Members[i].Dir = nil, filepath.Join(dir, o.Members[i].Dir)
	}
	o.minSavedNames = 1 << 10
	return o
}

// fillSpace stores about 100 MiB of several kinds, and returns the volumes.
func fillSpace(t *testing.T, s *Store) (volumes []VolumeID) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	for range 4 {
		v := newVolume(t, s)
		volumes = append(volumes, v)
		for i := range 12 / raceScale {
			write(t, s, v, PageNo(i)*2048, randomBytes(rng, 1<<20))
			write(t, s, v, PageNo(i)*2048+1024, compressible(rng, 1<<20))
			update(t, s, func(tx *Tx) error {
				tx.Set([]byte{byte(v), byte(i)}, randomBytes(rng, 1000))
				if i%4 == 3 {
					_, err := tx.Freeze(v)
					return err
				}
				return nil
			})
		}
		for range 500 {
			write(t, s, v, PageNo(rng.IntN(20_000)), randomBytes(rng, PageSize*(1+rng.IntN(8))))
		}
	}
	return volumes
}

// emptySpace deletes all that fillSpace has stored.
func emptySpace(t *testing.T, s *Store, volumes []VolumeID) {
	t.Helper()
	for _, v := range volumes {
		update(t, s, func(tx *Tx) error {
			for i := range 12 {
				tx.Delete([]byte{byte(v), byte(i)})
			}
			return tx.Drop(v)
		})
	}
}

// used returns the bytes of disk that the files of a directory take.
func used(t *testing.T, dir string) (total int64) {
	t.Helper()
	if err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && e.Type().IsRegular() {
			total += st.Blocks * 512
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return total
}
