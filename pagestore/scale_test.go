//go:build !race

package pagestore

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/internal/testkit"
	"pagevault/pagestore/pagemap"
	"pagevault/replication"
)

// scaleBounds are what a store of some size is allowed.
type scaleBounds struct {
	open     time.Duration
	rssBytes int64
	ratio    float64 // of medians to those of an empty store
	puts     int     // how often each operation is measured
}

// TestScale compares a store of many chunks with an empty one, operation by operation in turns: opening it takes no time
// to speak of, and what writes, reads, snapshots and small differences cost does not depend on what is stored.
//
// PAGEVAULT_SCALE_CHUNKS says how many chunks; 207,520,000 are 850 GB at 4 KiB, and take 8 GB of disk in
// PAGEVAULT_SCALE_DIR (a temporary directory without it) and three minutes. From 50 million on the bounds are those of a
// full store. At the small size, which CI runs beside other things, they notice only what grows with the store.
func TestScale(t *testing.T) {
	chunks := uint64(testkit.Scale(t, "PAGEVAULT_SCALE_CHUNKS", 200_000))
	bounds := scaleBounds{open: time.Minute, rssBytes: 1536 << 20, ratio: 4, puts: 60}
	if chunks >= 50_000_000 {
		bounds = scaleBounds{open: 5 * time.Second, rssBytes: 1536 << 20, ratio: 1.25, puts: 400}
	}
	large := scaleOptions(testkit.BigDir(t, "PAGEVAULT_SCALE_DIR"))
	began := time.Now()
	if err := openTest(t, large).Close(); err != nil {
		t.Fatal(err)
	}
	if err := Synthesize(large, chunks); err != nil {
		t.Fatal(err)
	}
	t.Logf("made in %v", time.Since(began).Round(time.Second))

	debug.FreeOSMemory() // what making it took
	began = time.Now()
	full := openTest(t, large)
	took := time.Since(began)
	stats := full.Stats()
	t.Logf("%d chunks, %.1f GB unique, index %.2f GB (%.2f %%, %.1f bytes a chunk)", stats.Chunks, float64(stats.UniqueBytes)/1e9,
		float64(stats.IndexBytes)/1e9, 100*float64(stats.IndexBytes)/float64(stats.UniqueBytes), float64(stats.IndexBytes)/float64(stats.Chunks))
	t.Logf("open: %v, RSS after it %d MiB", took.Round(time.Millisecond), rss(t)>>20)
	if took > bounds.open {
		t.Errorf("opening took %v, more than %v", took, bounds.open)
	}
	if !full.names.ready.Load() {
		t.Error("the summary was not read from its file")
	}
	if stats.Chunks < chunks {
		t.Fatalf("the index has %d chunks, want %d", stats.Chunks, chunks)
	}
	empty := openTest(t, scaleOptions(t.TempDir()))
	m := &scaleMeasurement{t: t, rng: rand.New(rand.NewPCG(testkit.Seed(t), 0)), bounds: bounds}
	s := newSynthetic(1, chunks)
	m.compare(full, empty)
	m.snapshots(full, s.volume, empty)
	m.lookups(full, s)
	if chunks < 1_000_000 { // the rows agree with each other, also where some of them were made and others written
		withView(t, full, func(v *View) {
			r, err := mark(t.Context(), v.snap, func(d Difference) { t.Errorf("%+v", d) })
			if err != nil || r == (MarkResult{}) {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
	used := rss(t)
	t.Logf("RSS with both stores open: %d MiB", used>>20)
	if used > bounds.rssBytes {
		t.Errorf("RSS is %d MiB, more than %d", used>>20, bounds.rssBytes>>20)
	}
}

// scaleOptions are those of a store with three members below dir.
func scaleOptions(dir string) Options {
	o := Options{FS: vfs.Default, Dir: filepath.Join(dir, "index")}
	for i := range 3 {
		o.Members = append(o.Members, replication.Member{FS: vfs.Default, Dir: filepath.Join(dir, "replica-"+strconv.Itoa(i+1))})
	}
	return o
}

// rss returns the resident memory of this process.
func rss(t *testing.T) int64 {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	fields := strings.Fields(rest)
	n, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n << 10
}

// scaleMeasurement measures operations on two stores in turns.
type scaleMeasurement struct {
	t      *testing.T
	rng    *rand.Rand
	bounds scaleBounds
	serial uint64 // of chunks never seen before
}

// fresh returns n bytes in which no chunk was ever stored.
func (m *scaleMeasurement) fresh(p []byte) []byte {
	for c := p; len(c) > 0; c = c[pagemap.ChunkBytes:] {
		m.serial++
		binary.LittleEndian.PutUint64(c, m.serial)
	}
	return p
}

// medians runs a and b in turns, n times each, and returns their medians.
func (m *scaleMeasurement) medians(n int, a, b func()) (time.Duration, time.Duration) {
	took := [2][]time.Duration{}
	for range n {
		for i, fn := range []func(){a, b} {
			began := time.Now()
			fn()
			took[i] = append(took[i], time.Since(began))
		}
	}
	slices.Sort(took[0])
	slices.Sort(took[1])
	return took[0][n/2], took[1][n/2]
}

// slack is how much slower an operation may be whatever the ratio: a read of 4 KiB takes 5 µs here, and 100 through the
// network.
const slack = 30 * time.Microsecond

// judge reports two medians and whether the first is too far above the second.
func (m *scaleMeasurement) judge(what string, full, empty time.Duration) {
	m.t.Helper()
	ratio := float64(full) / float64(empty)
	m.t.Logf("%-28s %9v  empty %9v  × %.2f", what, full.Round(time.Microsecond), empty.Round(time.Microsecond), ratio)
	if ratio > m.bounds.ratio && full-empty > slack {
		m.t.Errorf("%s: %v in the full store, %v in the empty one: × %.2f, more than %.2f", what, full, empty, ratio, m.bounds.ratio)
	}
}

// compare measures writes and reads of a volume of 1 TiB that is written here and there.
func (m *scaleMeasurement) compare(full, empty *Store) {
	type place struct {
		s *Store
		v VolumeID
	}
	const pages = 1 << 40 / PageSize
	a, b := place{full, newVolume(m.t, full)}, place{empty, newVolume(m.t, empty)}
	large, small := randomBytes(m.rng, 4<<20), randomBytes(m.rng, pagemap.ChunkBytes)
	put := func(p place, first PageNo, data []byte) func() {
		return func() { write(m.t, p.s, p.v, first, m.fresh(data)) }
	}
	// 4 MiB one after the other at the start: what is read then
	span := m.bounds.puts / 4
	at := [2]PageNo{}
	next := func(i int, p place) func() {
		return func() {
			put(p, at[i], large)()
			at[i] += 4 << 20 / PageSize
		}
	}
	x, y := m.medians(span, next(0, a), next(1, b))
	m.judge("put 4 MiB", x, y)
	random := func(p place) func() {
		return func() { put(p, PageNo(m.rng.Uint64N(pages/pagemap.ChunkPages))*pagemap.ChunkPages, small)() }
	}
	x, y = m.medians(m.bounds.puts, random(a), random(b))
	m.judge("put 4 KiB at random", x, y)

	get := func(p place, n int) func() {
		buf := make([]byte, n)
		step := uint64(n / PageSize)
		return func() {
			withView(m.t, p.s, func(v *View) {
				if err := v.Read(p.v, GenHead, PageNo(m.rng.Uint64N(uint64(at[0])/step)*step), buf); err != nil {
					m.t.Fatal(err)
				}
			})
		}
	}
	x, y = m.medians(m.bounds.puts, get(a, 4<<20), get(b, 4<<20))
	m.judge("get 4 MiB", x, y)
	x, y = m.medians(10*m.bounds.puts, get(a, pagemap.ChunkBytes), get(b, pagemap.ChunkBytes))
	m.judge("get 4 KiB at random", x, y)
}

// diffMax is what a difference of 16 writes may take: it looks at 64 places of the index.
const diffMax = 20 * time.Millisecond

// snapshots measures what a snapshot and a small difference cost on the volume that holds everything, beside a volume
// that holds little.
func (m *scaleMeasurement) snapshots(full *Store, v VolumeID, empty *Store) {
	w := newVolume(m.t, empty)
	data := randomBytes(m.rng, pagemap.ChunkBytes)
	regions := full.Stats().Frames
	freeze := func(s *Store, v VolumeID, g *Gen) func() {
		return func() {
			update(m.t, s, func(tx *Tx) (err error) {
				*g, err = tx.Freeze(v)
				return err
			})
		}
	}
	var before, beforeEmpty Gen
	x, y := m.medians(20, freeze(full, v, &before), freeze(empty, w, &beforeEmpty))
	m.judge("snapshot", x, y)
	const changes = 16
	for i := range PageNo(changes) {
		// in the full volume over all of it, in the other one as far apart
		first := PageNo(m.rng.Uint64N(regions/changes))*pagemap.RegionPages + i*PageNo(regions/changes)*pagemap.RegionPages
		write(m.t, full, v, first, m.fresh(data))
		write(m.t, empty, w, first, m.fresh(data))
	}
	diff := func(s *Store, v VolumeID, since Gen) func() {
		return func() {
			var pages PageNo
			withView(m.t, s, func(view *View) {
				err := view.Diff(v, since, GenHead, AllPages, func(r Range, cleared bool) bool {
					pages += r.End - r.Start
					return !cleared
				})
				if err != nil || pages != changes*pagemap.ChunkPages {
					m.t.Fatalf("%d pages changed, want %d; %v", pages, changes*pagemap.ChunkPages, err)
				}
			})
		}
	}
	x, y = m.medians(40, diff(full, v, before), diff(empty, w, beforeEmpty))
	m.t.Logf("%-28s %9v  empty %9v", "difference of 16 writes", x.Round(time.Microsecond), y.Round(time.Microsecond))
	if x > diffMax { // some rows are read from the disk, but no more than the changes are
		m.t.Errorf("a difference of 16 writes takes %v, more than %v", x, diffMax)
	}
}

// lookups measures how long finding a chunk takes, at a random place of the index, that nobody has asked for lately.
func (m *scaleMeasurement) lookups(full *Store, s *synthetic) {
	var took []time.Duration
	for range 10 * m.bounds.puts {
		i := m.rng.Uint64N(s.chunks())
		d := name(chunkStream, i, s.chunks())
		began := time.Now()
		row, closer, err := full.db.Get(appendDigestKey(nil, rowChunk, &d))
		if err != nil {
			m.t.Fatalf("chunk %d: %v", i, err)
		}
		took = append(took, time.Since(began))
		ref, err := decodeChunkRow(row)
		if c := i * s.chunkMul % s.chunks(); err != nil || uint64(ref.frame) != c/chunksPerFrame+1 || !full.names.mayHold(&d) {
			m.t.Fatalf("chunk %d is in %+v, %v", i, ref, err)
		}
		if err := closer.Close(); err != nil {
			m.t.Fatal(err)
		}
	}
	slices.Sort(took)
	m.t.Logf("%-28s %9v  p99 %v", "look-up of a stored chunk", took[len(took)/2], took[len(took)*99/100])
}
