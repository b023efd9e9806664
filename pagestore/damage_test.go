package pagestore

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/pagestore/pagemap"
	"pagevault/replication"
)

// locations returns where the extents of some pages are stored, as a read of them finds out.
func locations(t testing.TB, s *Store, vol VolumeID, pages Range) []extent {
	t.Helper()
	var out []extent
	withView(t, s, func(v *View) {
		r := new(extentReader)
		r.s, r.vol, r.dst = s, vol, make([]byte, int(pages.End-pages.Start)*PageSize)
		at, err := v.volume(vol, GenHead, &r.row)
		if err == nil {
			err = r.plan(v.snap, at, pages)
		}
		if err == nil {
			err = r.locate(v.snap)
		}
		if err != nil {
			t.Fatal(err)
		}
		out = slices.Clone(r.extents)
	})
	return out
}

// segmentFile returns the path of a segment on a member.
func segmentFile(t testing.TB, fs vfs.FS, dir string, id replication.SegmentID) string {
	t.Helper()
	names, err := fs.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if strings.HasPrefix(n, fmt.Sprintf("%010d.", id)) {
			return path.Join(dir, n)
		}
	}
	t.Fatalf("%s has no segment %d: %v", dir, id, names)
	return ""
}

// flip inverts a bit of a file.
func flip(t testing.TB, fs vfs.FS, name string, off int64, bit int) {
	t.Helper()
	f, err := fs.OpenReadWrite(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], off); err != nil && err != io.EOF {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{b[0] ^ 1<<bit}, off); err != nil {
		t.Fatal(err)
	}
}

// TestDamage flips single bits of stored bytes: on one member a read is served by another, on all of them it is
// refused, whichever way the bytes are read. Wrong bytes are never returned.
func TestDamage(t *testing.T) {
	fs := vfs.NewMem()
	o := testOptions(fs, 3)
	type damage struct {
		member int
		at     replication.Position
	}
	var seen []damage
	o.Events = &Events{DamagedCopy: func(member int, at replication.Position, n int, err error) {
		if !errors.Is(err, errChecksum) {
			t.Errorf("member %d: %v", member, err)
		}
		seen = append(seen, damage{member, at})
	}}
	s := openTest(t, o)
	v := newVolume(t, s)
	rng := rand.New(rand.NewPCG(uint64(envInt(t, "PAGESTORE_SEED", 1)), 0))
	p := randomBytes(rng, 1<<20)
	write(t, s, v, 0, p[:1<<20-5*PageSize])
	write(t, s, v, 2048-5, p[1<<20-5*PageSize:]) // a ragged piece
	all := Range{0, 2048}
	read := func(pages Range) error {
		var err error
		withView(t, s, func(view *View) {
			got := make([]byte, int(pages.End-pages.Start)*PageSize)
			if err = view.Read(v, GenHead, pages.Start, got); err == nil && !bytes.Equal(got, p[pages.Start*PageSize:pages.End*PageSize]) {
				t.Fatalf("pages %v: wrong bytes", pages)
			}
		})
		return err
	}
	extents := locations(t, s, v, all)
	for range 200 {
		e := extents[rng.IntN(len(extents))]
		off := rng.IntN(e.size)
		hit := PageNo((e.from + off) / PageSize) // the page whose byte is hit: extents here are whole
		bit := rng.IntN(8)
		broken := rng.Perm(3)[:1+rng.IntN(3)]
		for _, m := range broken {
			name := segmentFile(t, fs, o.Members[m].Dir, e.at.Segment)
			flip(t, fs, name, int64(e.at.Offset)+int64(off), bit)
		}
		chunk := hit / pagemap.ChunkPages * pagemap.ChunkPages
		for _, pages := range []Range{all, {hit, hit + 1}, {chunk, min(chunk+8, 2048)}, {hit - min(hit, 300), min(hit+300, 2048)}} {
			seen = nil
			err := read(pages)
			if len(broken) < 3 {
				if err != nil {
					t.Fatalf("pages %v with damage on members %v: %v", pages, broken, err)
				}
				for _, d := range seen {
					if !slices.Contains(broken, d.member) {
						t.Fatalf("member %d reported, damage is on %v", d.member, broken)
					}
				}
				continue
			}
			if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), fmt.Sprintf("volume %d page ", v)) ||
				!strings.Contains(err.Error(), fmt.Sprintf("segment %d offset ", e.at.Segment)) {
				t.Fatalf("pages %v with damage on all members: %v", pages, err)
			}
			if len(seen) != 3 {
				t.Fatalf("damage reported of %v, want all members", seen)
			}
		}
		// Other blocks of the frame are not bothered.
		if len(broken) == 3 {
			for _, other := range []PageNo{hit - min(hit, 8), min(hit+8, 2047)} {
				if other/8 == hit/8 || other >= 2040 || hit >= 2040 {
					continue
				}
				if err := read(Range{other, other + 1}); err != nil {
					t.Fatalf("page %d with damage at page %d: %v", other, hit, err)
				}
			}
		}
		for _, m := range broken {
			flip(t, fs, segmentFile(t, fs, o.Members[m].Dir, e.at.Segment), int64(e.at.Offset)+int64(off), bit)
		}
	}
	if err := read(all); err != nil {
		t.Fatal(err)
	}
}

// TestDamagedIndex puts rows into the index that cannot be. Reads and writes report ErrCorrupt and do not panic.
func TestDamagedIndex(t *testing.T) {
	s := openTest(t, testOptions(vfs.NewMem(), 1))
	v := newVolume(t, s)
	p := randomBytes(rand.New(rand.NewPCG(1, 2)), pagemap.RegionBytes)
	write(t, s, v, 0, p)
	rows := allRows(t, s)
	for key, value := range rows {
		if key[0] == rowState || key[0] == rowHeader {
			continue
		}
		for _, bad := range [][]byte{nil, {}, {1}, []byte(value[:len(value)-1]), []byte(value + "x"), bytes.Repeat([]byte{0xff}, len(value))} {
			if bad == nil && key[0] != rowFrame {
				continue
			}
			var err error
			if bad == nil {
				err = s.db.Delete([]byte(key), pebble.NoSync)
			} else {
				err = s.db.Set([]byte(key), bad, pebble.NoSync)
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := s.retire(); err != nil { // a view opened from now on sees it
				t.Fatal(err)
			}
			got := make([]byte, len(p))
			withView(t, s, func(view *View) { err = view.Read(v, GenHead, 0, got) })
			c, errPrepare := s.Prepare(0, p)
			if errPrepare == nil {
				c.Release()
			}
			switch key[0] {
			case rowFrame, rowVolume, rowMap:
				if len(bad) == 0 && key[0] == rowMap {
					err = nil // an empty entry is a region without pages
				} else if !errors.Is(err, ErrCorrupt) {
					t.Fatalf("read with row %q = %x: %v", key, bad, err)
				}
			case rowRegion:
				if !errors.Is(errPrepare, ErrCorrupt) {
					t.Fatalf("prepare with row %q = %x: %v", key, bad, errPrepare)
				}
			}
			if err := s.db.Set([]byte(key), []byte(value), pebble.NoSync); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.retire(); err != nil {
		t.Fatal(err)
	}
	wantRead(t, s, v, GenHead, 0, p)
}
