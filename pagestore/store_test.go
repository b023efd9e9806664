package pagestore

import (
	"bytes"
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
