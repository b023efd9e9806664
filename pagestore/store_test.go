package pagestore

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/replication"
)

// testOptions returns the options of a store with n members on fs.
func testOptions(fs vfs.FS, n int) Options {
	o := Options{FS: fs, Dir: "index", MemTableBytes: 1 << 20}
	if raceScale == 1 { // keeping every row takes a lot of locks
		o.keepRows = -1
	}
	o.Log.Passive = true // what a test has damaged stays so
	for i := range n {
		o.Members = append(o.Members, replication.Member{FS: fs, Dir: fmt.Sprintf("replica-%d", i+1)})
	}
	return o
}

// openTest opens a store and closes it when the test ends, unless the test has.
func openTest(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil && err != ErrClosed {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

// randomBytes returns n bytes that no compressor likes.
func randomBytes(rng *rand.Rand, n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(rng.Uint32())
	}
	return p
}

// write writes p to the volume, in an update of its own.
func write(t testing.TB, s *Store, v VolumeID, first PageNo, p []byte) {
	t.Helper()
	if err := tryWrite(s, v, first, p); err != nil {
		t.Fatal(err)
	}
}

func tryWrite(s *Store, v VolumeID, first PageNo, p []byte) error {
	c, err := s.Prepare(first, p)
	if err != nil {
		return err
	}
	defer c.Release()
	return s.Update(func(tx *Tx) error { return tx.Write(v, c) })
}

func update(t testing.TB, s *Store, fn func(tx *Tx) error) {
	t.Helper()
	if err := s.Update(fn); err != nil {
		t.Fatal(err)
	}
}

func newVolume(t testing.TB, s *Store) (v VolumeID) {
	t.Helper()
	update(t, s, func(tx *Tx) error {
		v = tx.CreateVolume()
		return nil
	})
	return v
}

func withView(t testing.TB, s *Store, fn func(v *View)) {
	t.Helper()
	v, err := s.View()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	fn(v)
}

// wantRead checks what the volume holds at a generation.
func wantRead(t testing.TB, s *Store, vol VolumeID, g Gen, first PageNo, want []byte) {
	t.Helper()
	withView(t, s, func(v *View) {
		t.Helper()
		got := bytes.Repeat([]byte{0xee}, len(want))
		if err := v.Read(vol, g, first, got); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			i := 0
			for got[i] == want[i] {
				i++
			}
			t.Fatalf("volume %d generation %d page %d+%d: byte %d is %#x, want %#x", vol, g, first, i/PageSize, i, got[i], want[i])
		}
	})
}

func TestWriteAndRead(t *testing.T) {
	s := openTest(t, testOptions(vfs.NewMem(), 3))
	rng := rand.New(rand.NewPCG(1, 2))
	v := newVolume(t, s)
	p := randomBytes(rng, 1<<20)
	write(t, s, v, 3, p)
	wantRead(t, s, v, GenHead, 0, append(make([]byte, 3*PageSize), p...))
	update(t, s, func(tx *Tx) error {
		tx.Set([]byte("k"), []byte("v"))
		return tx.Clear(v, Range{5, 7})
	})
	copy(p[2*PageSize:4*PageSize], make([]byte, 2*PageSize))
	wantRead(t, s, v, GenHead, 3, p)
	withView(t, s, func(v *View) {
		if got, ok, err := v.Get([]byte("k")); err != nil || !ok || string(got) != "v" {
			t.Fatalf("row: %q %v %v", got, ok, err)
		}
	})
}

// TestWriteAt: what was prepared for the beginning of a volume is written further behind, again and again, and is stored once.
func TestWriteAt(t *testing.T) {
	s := openTest(t, testOptions(vfs.NewMem(), 3))
	p := randomBytes(rand.New(rand.NewPCG(1, 1)), 3*RegionPages*PageSize+5*PageSize)
	c, err := s.Prepare(0, p)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Release()
	var v VolumeID
	at := []PageNo{0, RegionPages, 7 * RegionPages, 1 << 50}
	for _, shift := range at {
		err := s.Update(func(tx *Tx) error {
			if v == 0 {
				v = tx.CreateVolume()
			}
			for _, bad := range []PageNo{1, RegionPages - 1, shift + 8, AllPages.End} {
				if err := tx.WriteAt(v, c, bad); !errors.Is(err, ErrBadRange) {
					t.Errorf("written %d pages behind: %v", bad, err)
				}
			}
			return tx.WriteAt(v, c, shift)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	view, err := s.View()
	if err != nil {
		t.Fatal(err)
	}
	defer view.Close()
	for _, first := range []PageNo{RegionPages * 7, 1 << 50} {
		got := make([]byte, len(p))
		if err := view.Read(v, GenHead, first, got); err != nil || !bytes.Equal(got, p) {
			t.Errorf("at %d: %v, equal: %v", first, err, bytes.Equal(got, p))
		}
	}
	if u := s.Stats().StoredBytes; u > uint64(len(p))*11/10 {
		t.Errorf("%d bytes are stored for %d that were written %d times", u, len(p), len(at))
	}
}
