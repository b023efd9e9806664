package pagestore

import (
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestSpaceComesBack fills a store on disk, deletes everything and measures what is left, beside a store that never held
// anything: members with segments and checkpoints, index, file of names.
func TestSpaceComesBack(t *testing.T) {
	dir := t.TempDir()
	o := gcOptions(nil, 3)
	o.Dir = filepath.Join(dir, "index")
	for i := range o.Members {
		o.Members[i].FS, o.Members[i].Dir = nil, filepath.Join(dir, o.Members[i].Dir)
	}
	o.Log.SegmentBytes = 8 << 20
	o.minSavedNames = 1 << 10
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

	rng := rand.New(rand.NewPCG(1, 2))
	s := openTest(t, o)
	var volumes []VolumeID
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
	mustClose(t, s)
	full := rest("full")

	s = openTest(t, o)
	for _, v := range volumes {
		update(t, s, func(tx *Tx) error {
			for i := range 12 {
				tx.Delete([]byte{byte(v), byte(i)})
			}
			return tx.Drop(v)
		})
	}
	mustClose(t, s)
	after := rest("everything deleted")
	if after > empty*105/100 {
		t.Errorf("%d bytes are left of %d, an empty store has %d", after, full, empty)
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
