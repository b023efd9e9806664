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

	"pagevault/internal/testkit"
	framing "pagevault/pagestore/frame"
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
			_, err = r.plan(v.p, at, pages)
		}
		if err == nil {
			err = r.locate(v.p)
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

// damageTest is a store with three members and a volume whose bytes are known.
type damageTest struct {
	t        *testing.T
	o        Options
	s        *Store
	v        VolumeID
	p        []byte
	reported []int // members whose copies were reported damaged
}

const damagePages = 2048

func newDamageTest(t *testing.T, rng *rand.Rand) *damageTest {
	return newDamageTestOf(t, testOptions(vfs.NewMem(), 3), randomBytes(rng, damagePages*PageSize))
}

// newDamageTestOf stores p, of damagePages.
func newDamageTestOf(t *testing.T, o Options, p []byte) *damageTest {
	d := &damageTest{t: t, o: o, p: p}
	d.o.Events = &Events{DamagedCopy: func(member int, at replication.Position, n int, err error) {
		if !errors.Is(err, errChecksum) {
			t.Errorf("member %d: %v", member, err)
		}
		d.reported = append(d.reported, member)
	}}
	d.s = openTest(t, d.o)
	d.v = newVolume(t, d.s)
	write(t, d.s, d.v, 0, d.p[:(damagePages-5)*PageSize])
	write(t, d.s, d.v, damagePages-5, d.p[(damagePages-5)*PageSize:]) // a ragged piece
	return d
}

// flip inverts a bit of some members' copies of byte off of an extent.
func (d *damageTest) flip(members []int, e extent, off, bit int) {
	for _, m := range members {
		fs, dir := d.o.Members[m].FS, d.o.Members[m].Dir
		flip(d.t, fs, segmentFile(d.t, fs, dir, e.at.Segment), int64(e.at.Offset)+int64(off), bit)
	}
}

// read reads pages, which must be refused or right.
func (d *damageTest) read(pages Range) error {
	d.t.Helper()
	d.reported = nil
	before := d.s.Stats().DamagedCopies
	defer func() {
		if n := d.s.Stats().DamagedCopies - before; n != uint64(len(d.reported)) {
			d.t.Fatalf("pages %v: %d damaged copies are counted, %d were reported", pages, n, len(d.reported))
		}
	}()
	var err error
	withView(d.t, d.s, func(view *View) {
		got := make([]byte, int(pages.End-pages.Start)*PageSize)
		err = view.Read(d.v, GenHead, pages.Start, got)
		if err == nil && !bytes.Equal(got, d.p[pages.Start*PageSize:pages.End*PageSize]) {
			d.t.Fatalf("pages %v: wrong bytes", pages)
		}
	})
	return err
}

// check reads pages whose copies on the broken members are damaged in extent e.
func (d *damageTest) check(pages Range, e extent, broken []int) {
	d.t.Helper()
	err := d.read(pages)
	if len(broken) == 3 {
		where := []string{fmt.Sprintf("volume %d page ", d.v), fmt.Sprintf("segment %d offset ", e.at.Segment)}
		if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), where[0]) || !strings.Contains(err.Error(), where[1]) {
			d.t.Fatalf("pages %v with damage on all members: %v", pages, err)
		}
		if len(d.reported) != 3 {
			d.t.Fatalf("damage reported of %v, want all members", d.reported)
		}
		return
	}
	if err != nil {
		d.t.Fatalf("pages %v with damage on members %v: %v", pages, broken, err)
	}
	for _, m := range d.reported {
		if !slices.Contains(broken, m) {
			d.t.Fatalf("member %d reported, damage is on %v", m, broken)
		}
	}
}

// TestDamage flips single bits of stored bytes: on one member a read is served by another, on all of them it is
// refused, whichever way the bytes are read. Wrong bytes are never returned.
func TestDamage(t *testing.T) {
	rng := rand.New(rand.NewPCG(uint64(envInt(t, "PAGESTORE_SEED", 1)), 0))
	d := newDamageTest(t, rng)
	all := Range{0, damagePages}
	extents := locations(t, d.s, d.v, all)
	for range 200 {
		e := extents[rng.IntN(len(extents))]
		off, bit := rng.IntN(e.size), rng.IntN(8)
		hit := PageNo((e.from + off) / PageSize) // the page whose byte is hit: extents here are whole
		broken := rng.Perm(3)[:1+rng.IntN(3)]
		d.flip(broken, e, off, bit)
		chunk := hit / pagemap.ChunkPages * pagemap.ChunkPages
		d.check(all, e, broken)
		d.check(Range{hit, hit + 1}, e, broken)
		d.check(Range{chunk, min(chunk+8, damagePages)}, e, broken)
		d.check(Range{hit - min(hit, 300), min(hit+300, damagePages)}, e, broken)
		for _, other := range []PageNo{hit - min(hit, 8), hit + 8} { // other blocks of the frame are not bothered
			if other/8 != hit/8 && max(hit, other) < damagePages-8 {
				if err := d.read(Range{other, other + 1}); err != nil || len(d.reported) > 0 {
					t.Fatalf("page %d with damage at page %d: %v, reported %v", other, hit, err, d.reported)
				}
			}
		}
		d.flip(broken, e, off, bit)
	}
	if err := d.read(all); err != nil {
		t.Fatal(err)
	}
}

// TestDamageOfForms flips single bits of frames that are compressed, sealed or both. What is kept expanded in memory is
// forgotten first: it is right whatever happens on the disks.
func TestDamageOfForms(t *testing.T) {
	rng := rand.New(rand.NewPCG(testkit.Seed(t), 0))
	for _, key := range []MasterKey{{}, testMasterKey(1)} {
		o := testOptions(vfs.NewMem(), 3)
		o.MasterKey = key
		d := newDamageTestOf(t, o, mixed(rng, damagePages*PageSize, "some text"))
		extents := locations(t, d.s, d.v, Range{0, damagePages})
		forms := make(map[framing.Codec]int)
		for range 120 {
			e := extents[rng.IntN(len(extents))]
			forms[e.header.Codec]++
			off, bit := rng.IntN(e.size), rng.IntN(8)
			first, end := PageNo(e.from/PageSize), PageNo(e.to/PageSize)
			hit := first + PageNo(rng.IntN(int(end-first))) // any page of a compressed frame
			if e.header.Codec == framing.Raw {
				unit := pagemap.ChunkBytes
				if e.header.Session != 0 {
					unit += 16
				}
				hit = min(first+PageNo(off/unit*pagemap.ChunkPages), end-1)
			}
			broken := rng.Perm(3)[:1+rng.IntN(3)]
			d.flip(broken, e, off, bit)
			for _, pages := range []Range{{0, damagePages}, {first, end}, {hit, hit + 1}, {hit - min(hit, 300), min(hit+300, damagePages)}} {
				d.forget()
				d.check(pages, e, broken)
			}
			d.flip(broken, e, off, bit)
		}
		t.Log(key, forms)
		if forms[framing.Raw] == 0 || forms[framing.S2] == 0 {
			t.Fatalf("forms met: %v", forms)
		}
		d.forget()
		if err := d.read(Range{0, damagePages}); err != nil || len(d.reported) > 0 {
			t.Fatal(err, d.reported)
		}
	}
}

// forget empties the cache of frames.
func (d *damageTest) forget() {
	for i := range d.s.frames.shards {
		d.s.frames.shards[i].frames = nil
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
		if key[0] == rowState || key[0] == rowHeader || value == "" {
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
			s.known.Store(new(knownRegions))
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
