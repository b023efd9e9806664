package pagestore

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/internal/testkit"
	"pagevault/pagestore/pagemap"
)

func testMasterKey(b byte) (k MasterKey) {
	copy(k[:], bytes.Repeat([]byte{b}, len(k)))
	return k
}

// files returns the contents of all files below the directories of a store, by path.
func files(t *testing.T, fs vfs.FS, dirs ...string) map[string]string {
	t.Helper()
	out := make(map[string]string)
	for _, dir := range dirs {
		names, err := fs.List(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range names {
			name := path.Join(dir, n)
			f, err := fs.Open(name)
			if err != nil {
				t.Fatal(err)
			}
			p, err := io.ReadAll(f)
			if err := errors.Join(err, f.Close()); err != nil {
				t.Fatal(err)
			}
			out[name] = string(p)
		}
	}
	return out
}

// mixed returns content of which one half can be compressed and the other cannot; marker is in all of it.
func mixed(rng *rand.Rand, n int, marker string) []byte {
	p := randomBytes(rng, n)
	for i := 0; i < n/2; i += 64 {
		copy(p[i:], fmt.Sprintf("%-64s", fmt.Sprintf("%s line %d", marker, i)))
	}
	for i := n / 2; i < n; i += 1024 {
		copy(p[i:], marker)
	}
	return p
}

// TestEncryptedStore writes what can and what cannot be compressed, whole and ragged, and looks for it on the disk. Then
// the store is opened without its key and with another, which changes nothing, and with its own, by which it is read.
func TestEncryptedStore(t *testing.T) {
	const marker = "PLAIN TEXT SHOWS"
	fs := vfs.NewMem()
	o := testOptions(fs, 2)
	o.MasterKey = testMasterKey(1)
	dirs := []string{"index", "replica-1", "replica-2"}
	rng := rand.New(rand.NewPCG(testkit.Seed(t), 0))
	want := mixed(rng, 300*PageSize, marker)
	var v VolumeID
	for round := range 3 { // each with a session of its own
		s := openTest(t, o)
		if !s.Encrypted() {
			t.Fatal("not encrypted")
		}
		if round == 0 {
			v = newVolume(t, s)
		}
		if round == 1 { // opened and closed without writing: no session is stored
			if got := s.state.Load().nextSession; got != 2 {
				t.Fatalf("next session %d, want 2", got)
			}
		}
		if round != 1 {
			p := mixed(rng, 100*PageSize+round*PageSize, marker)
			copy(want[(100*round+3)*PageSize:], p)
			write(t, s, v, PageNo(100*round+3), p)
			write(t, s, v, 0, want)
		}
		wantRead(t, s, v, GenHead, 0, want)
		wantRead(t, s, v, GenHead, 17, want[17*PageSize:18*PageSize])
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		for name, p := range files(t, fs, dirs...) {
			if strings.Contains(p, marker) {
				t.Fatalf("content shows in %s", name)
			}
		}
	}

	before := files(t, fs, dirs...)
	for _, key := range []MasterKey{{}, testMasterKey(2)} {
		wrong := o
		wrong.MasterKey = key
		_, err := Open(wrong)
		if !errors.Is(err, ErrWrongKey) || !strings.Contains(err.Error(), o.MasterKey.ID().String()) || !strings.Contains(err.Error(), key.ID().String()) {
			t.Fatalf("opened with %v: %v", key, err)
		}
		after := files(t, fs, dirs...)
		for name, p := range before {
			if after[name] != p {
				t.Errorf("%s was changed", name)
			}
			delete(after, name)
		}
		for name := range after {
			t.Errorf("%s was made", name)
		}
	}
	if err := fs.RemoveAll("index"); err != nil { // rebuilt from the log, sessions too
		t.Fatal(err)
	}
	s := openTest(t, o)
	wantRead(t, s, v, GenHead, 0, want)
	if got := s.state.Load().nextSession; got != 3 {
		t.Fatalf("next session %d, want 3", got)
	}
}

// TestUnencryptedStore opens a store without encryption with and without a master key, which it does not need.
func TestUnencryptedStore(t *testing.T) {
	const marker = "PLAIN TEXT SHOWS"
	fs := vfs.NewMem()
	o := testOptions(fs, 1)
	o.MasterKey, o.Unencrypted = testMasterKey(1), true
	p := mixed(rand.New(rand.NewPCG(1, 2)), 1<<20, marker)
	s := openTest(t, o)
	v := newVolume(t, s)
	write(t, s, v, 0, p)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	shows := false
	for _, p := range files(t, fs, "replica-1") {
		shows = shows || strings.Contains(p, marker)
	}
	if !shows {
		t.Error("content does not show")
	}
	for _, key := range []MasterKey{{}, testMasterKey(2)} {
		o.MasterKey, o.Unencrypted = key, false
		s := openTest(t, o)
		if s.Encrypted() {
			t.Error("encrypted")
		}
		write(t, s, v, 5, p)
		wantRead(t, s, v, GenHead, 5, p)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCompression checks how much is stored of what can be compressed, of what cannot, and with compression off.
func TestCompression(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	text := mixed(rng, 2<<20, "text")[:1<<20]
	noise := randomBytes(rng, 1<<20)
	f := func(change func(o *Options), p []byte, least, most float64) {
		t.Helper()
		o := testOptions(vfs.NewMem(), 1)
		change(&o)
		s := openTest(t, o)
		v := newVolume(t, s)
		write(t, s, v, 0, p)
		wantRead(t, s, v, GenHead, 0, p)
		if share := float64(s.Stats().StoredBytes) / float64(len(p)); share < least || share > most {
			t.Errorf("stored %.4f of the content, want %v to %v", share, least, most)
		}
	}
	plain := func(*Options) {}
	sealed := func(o *Options) { o.MasterKey = testMasterKey(1) }
	off := func(o *Options) { o.Compression = CompressNone }
	f(plain, text, 0, 0.5)
	f(sealed, text, 0, 0.5)
	f(off, text, 1, 1)
	f(plain, noise, 1, 1)
	f(sealed, noise, 1+16./4096, 1+16./4096)
}

// TestFrameSizes stores the same with frames of various sizes, and checks how many there are: those of one write reach
// across regions.
func TestFrameSizes(t *testing.T) {
	for _, c := range []struct{ limit, frames int }{{8, 64}, {20, 32}, {64, 8}, {127, 5}, {128, 4}} {
		o := testOptions(vfs.NewMem(), 1)
		o.framePages = c.limit
		s := openTest(t, o)
		v := newVolume(t, s)
		p := randomBytes(rand.New(rand.NewPCG(1, 2)), 1<<18) // few enough for one goroutine
		first := PageNo(5 * pagemap.ChunkPages)
		write(t, s, v, first, p)
		wantRead(t, s, v, GenHead, first, p)
		if n := s.Stats().Frames; int(n) != c.frames {
			t.Errorf("%d frames of up to %d pages, want %d", n, c.limit, c.frames)
		}
	}
}
