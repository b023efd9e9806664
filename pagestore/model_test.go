package pagestore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/pagestore/pagemap"
	"pagevault/replication"
)

// The model: a volume is a map from page number to what the page holds and when it was last touched, copied whole by
// Freeze. Nothing of it is shared with the store. Thaw forgets a copy, and what was touched before it counts as touched
// before the next.

type modelPage struct {
	valid   bool
	content uint64 // seed of its bytes; 0: zeros
}

type modelVolume struct {
	pages   map[PageNo]modelPage
	touched map[PageNo]bool // since the last freeze
	frozen  []modelFrozen
	thawed  []Gen
}

type modelFrozen struct {
	gen     Gen
	pages   map[PageNo]modelPage
	touched map[PageNo]bool // between the freeze before and this one
}

// fillPage writes the bytes that a content seed stands for.
func fillPage(p []byte, content uint64) {
	if content == 0 {
		clear(p)
		return
	}
	for i := 0; i < len(p); i += 8 {
		binary.LittleEndian.PutUint64(p[i:], content*0x9e3779b97f4a7c15+uint64(i))
	}
}

func (m *modelVolume) at(g Gen) map[PageNo]modelPage {
	if g == GenHead {
		return m.pages
	}
	for _, f := range m.frozen {
		if f.gen == g {
			return f.pages
		}
	}
	return nil
}

// ranges returns the valid pages of one state within a range.
func modelRanges(pages map[PageNo]modelPage, within Range) (out []Range) {
	for _, no := range slices.Sorted(maps.Keys(pages)) {
		if !pages[no].valid || no < within.Start || no >= within.End {
			continue
		}
		if n := len(out); n > 0 && out[n-1].End == no {
			out[n-1].End++
		} else {
			out = append(out, Range{no, no + 1})
		}
	}
	return out
}

type diffRange struct {
	Range
	cleared bool
}

// diff lists what was touched after since ended, up to the end of g.
func (m *modelVolume) diff(since, g Gen, within Range) (out []diffRange) {
	touched := make(map[PageNo]bool)
	for _, f := range m.frozen {
		if f.gen > since && (g == GenHead || f.gen <= g) {
			maps.Copy(touched, f.touched)
		}
	}
	if g == GenHead {
		maps.Copy(touched, m.touched)
	}
	was, is := m.at(since), m.at(g)
	for _, no := range slices.Sorted(maps.Keys(touched)) {
		if no < within.Start || no >= within.End || !was[no].valid && !is[no].valid {
			continue
		}
		cleared := !is[no].valid
		if n := len(out); n > 0 && out[n-1].End == no && out[n-1].cleared == cleared {
			out[n-1].End++
		} else {
			out = append(out, diffRange{Range{no, no + 1}, cleared})
		}
	}
	return out
}

// modelTest drives a store and the model with the same random operations.
type modelTest struct {
	t       *testing.T
	rng     *rand.Rand
	o       Options
	fs      *vfs.MemFS
	s       *Store
	volumes map[VolumeID]*modelVolume
	rows    map[string]string
	dropped []VolumeID
	size    PageNo // of the part of a volume where most happens
	freezes int    // weight of a freeze
	counts  map[string]int

	oldIndex bool // the directory old-index holds an index of some time ago
}

// envInt returns the number in an environment variable, or def.
func envInt(t testing.TB, name string, def int) int {
	v := os.Getenv(name)
	if v == "" {
		return def
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// TestModel runs random operations on a store and on the model and compares all they show, over varied options and
// across reopening, with the index kept or lost. PAGESTORE_MODEL_OPS sets the number of operations, PAGESTORE_SEED
// replays a run.
func TestModel(t *testing.T) {
	ops := envInt(t, "PAGESTORE_MODEL_OPS", modelOps)
	seed := uint64(envInt(t, "PAGESTORE_SEED", int(rand.Uint32())))
	const runs = 8
	for i := range runs {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Logf("seed %d: replay with PAGESTORE_SEED=%d", seed, seed)
			runModel(t, rand.New(rand.NewPCG(seed, uint64(i))), ops/runs)
		})
	}
}

func runModel(t *testing.T, rng *rand.Rand, ops int) {
	m := &modelTest{t: t, rng: rng, fs: vfs.NewMem(), volumes: make(map[VolumeID]*modelVolume), rows: make(map[string]string), counts: make(map[string]int)}
	m.o = testOptions(m.fs, 1+rng.IntN(3))
	m.o.Log.SegmentBytes = int64(64<<10) << rng.IntN(10)
	m.o.MemTableBytes = (64 << 10) << rng.IntN(6)
	m.o.passive = true // or rows would change between two looks at them
	m.o.limits = limits{direct: 1 << rng.IntN(7), erasures: rng.Uint32N(8)}
	m.o.copyWork = 1 << rng.IntN(6)
	m.o.Compression, m.o.framePages = Compression(rng.IntN(2)), 8<<rng.IntN(5)
	if rng.IntN(2) == 0 {
		m.o.MasterKey = testMasterKey(1)
	}
	m.size = PageNo(200) << rng.IntN(6)
	m.freezes = []int{1, 4, 25}[rng.IntN(3)]
	t.Logf("%d members, segments %d, memtable %d, %d pages, %+v, compression %d, frames of %d, %v", len(m.o.Members),
		m.o.Log.SegmentBytes, m.o.MemTableBytes, m.size, m.o.limits, m.o.Compression, m.o.framePages, m.o.MasterKey)
	m.s = openTest(t, m.o)
	for range 2 {
		m.create()
	}
	for range ops {
		m.step()
	}
	m.checkAll()
	m.reopen()
	m.checkAll()
	m.reapAll()
	m.checkAll()
	wantClean(t, m.s, "at the end")
	t.Logf("%v; %+v", m.counts, m.s.Stats().Counters)
	m.dropAll()
	if err := m.s.Close(); err != nil {
		t.Fatal(err)
	}
}

func (m *modelTest) step() {
	type choice struct {
		weight int
		name   string
		do     func()
	}
	choices := []choice{
		{400, "write", m.write},
		{60, "clear", m.clear},
		{12, "truncate", m.truncate},
		{m.freezes, "freeze", m.freeze},
		{m.freezes, "thaw", m.thaw},
		{5, "reap", m.reap},
		{6, "scatter", m.scatter},
		{6, "fold", func() { foldAll(m.t, m.s) }},
		{6, "copy", m.copy},
		{2, "drop", m.drop},
		{3, "create", m.create},
		{60, "rows", m.setRows},
		{20, "scan", m.scan},
		{10, "fail", m.failUpdate},
		{150, "read", m.read},
		{80, "ranges", m.ranges},
		{80, "diff", m.diff},
		{2, "reopen", m.reopen},
	}
	total := 0
	for _, c := range choices {
		total += c.weight
	}
	n := m.rng.IntN(total)
	for _, c := range choices {
		if n -= c.weight; n < 0 {
			m.counts[c.name]++
			c.do()
			return
		}
	}
}

// pick returns a random volume.
func (m *modelTest) pick() (VolumeID, *modelVolume) {
	ids := slices.Sorted(maps.Keys(m.volumes))
	id := ids[m.rng.IntN(len(ids))]
	return id, m.volumes[id]
}

func (m *modelTest) pickGen(v *modelVolume) Gen {
	if n := len(v.frozen); n > 0 && m.rng.IntN(3) > 0 {
		return v.frozen[m.rng.IntN(n)].gen
	}
	return GenHead
}

// span returns a random range of pages, sometimes aligned to chunks or regions, sometimes far out.
func (m *modelTest) span(maxPages int) Range {
	n := PageNo(1 + m.rng.IntN(1+m.rng.IntN(maxPages)))
	first := PageNo(m.rng.Uint64N(uint64(m.size)))
	switch m.rng.IntN(4) {
	case 0:
		first, n = first/pagemap.ChunkPages*pagemap.ChunkPages, (n+7)/8*8
	case 1:
		first, n = first/pagemap.RegionPages*pagemap.RegionPages, (n+127)/128*128
	}
	return Range{first, first + n}
}

// contents makes up bytes for some pages: much of it repeats, by page, by chunk and by region, some is zero.
func (m *modelTest) contents(r Range) (seeds []uint64, p []byte) {
	p = make([]byte, int(r.End-r.Start)*PageSize)
	style := m.rng.IntN(6)
	base := m.rng.Uint64N(20)
	for i := range int(r.End - r.Start) {
		no := r.Start + PageNo(i)
		var seed uint64
		switch style {
		case 0: // new
			seed = m.rng.Uint64() | 1
		case 1: // repeats region by region
			seed = 1000 + base*1000 + uint64(no%pagemap.RegionPages)
		case 2: // repeats chunk by chunk
			seed = 1_000_000 + base*1000 + uint64(no%pagemap.ChunkPages)
		case 3: // chunks of few kinds, some zero
			seed = (uint64(no/pagemap.ChunkPages) * (base + 1)) % 5 * 100
			if seed != 0 {
				seed += uint64(no % pagemap.ChunkPages)
			}
		case 4: // zeros
		case 5: // some pages zero
			if m.rng.IntN(3) > 0 {
				seed = m.rng.Uint64N(50)
			}
		}
		seeds = append(seeds, seed)
		fillPage(p[i*PageSize:][:PageSize], seed)
	}
	return seeds, p
}

func (m *modelTest) update(fn func(tx *Tx) error) {
	m.t.Helper()
	if err := m.s.Update(fn); err != nil {
		m.t.Fatal(err)
	}
}

// write writes one to three contents, perhaps to two volumes, perhaps with a freeze, a clear or a row in between.
func (m *modelTest) write() {
	n := 1
	if m.rng.IntN(5) == 0 {
		n += m.rng.IntN(3)
	}
	var todo []func(tx *Tx) error
	for range n {
		id, v := m.pick()
		r := m.span(300)
		seeds, p := m.contents(r)
		c, err := m.s.Prepare(r.Start, p)
		if err != nil {
			m.t.Fatal(err)
		}
		defer c.Release()
		todo = append(todo, func(tx *Tx) error {
			for i, seed := range seeds {
				v.pages[r.Start+PageNo(i)] = modelPage{true, seed}
				v.touched[r.Start+PageNo(i)] = true
			}
			return tx.Write(id, c)
		})
		switch m.rng.IntN(20) {
		case 0:
			if m.rng.IntN(25) >= m.freezes {
				break
			}
			todo = append(todo, func(tx *Tx) error { return m.freezeIn(tx, id, v) })
		case 1:
			r := m.span(100)
			todo = append(todo, func(tx *Tx) error { return m.clearIn(tx, id, v, r) })
		}
	}
	m.update(func(tx *Tx) error {
		for _, do := range todo {
			if err := do(tx); err != nil {
				return err
			}
		}
		return nil
	})
}

// scatter writes many single pages of one region, in one update.
func (m *modelTest) scatter() {
	id, v := m.pick()
	base := PageNo(m.rng.Uint64N(uint64(m.size))) / pagemap.RegionPages * pagemap.RegionPages
	var todo []func(tx *Tx) error
	for range 10 + m.rng.IntN(60) {
		r := Range{base + PageNo(m.rng.IntN(pagemap.RegionPages)), 0}
		r.End = r.Start + 1
		seeds, p := m.contents(r)
		c, err := m.s.Prepare(r.Start, p)
		if err != nil {
			m.t.Fatal(err)
		}
		defer c.Release()
		todo = append(todo, func(tx *Tx) error {
			v.pages[r.Start], v.touched[r.Start] = modelPage{true, seeds[0]}, true
			return tx.Write(id, c)
		})
	}
	m.update(func(tx *Tx) error {
		for _, do := range todo {
			if err := do(tx); err != nil {
				return err
			}
		}
		return nil
	})
}

func (m *modelTest) freeze() {
	id, v := m.pick()
	m.update(func(tx *Tx) error { return m.freezeIn(tx, id, v) })
}

func (m *modelTest) freezeIn(tx *Tx, id VolumeID, v *modelVolume) error {
	g, err := tx.Freeze(id)
	v.frozen = append(v.frozen, modelFrozen{g, maps.Clone(v.pages), v.touched})
	v.touched = make(map[PageNo]bool)
	return err
}

func (m *modelTest) thaw() {
	id, v := m.pick()
	if len(v.frozen) == 0 {
		return
	}
	m.update(func(tx *Tx) error {
		if m.rng.IntN(4) == 0 { // one that is not in the index yet
			if err := m.freezeIn(tx, id, v); err != nil {
				return err
			}
		}
		for i := m.rng.IntN(len(v.frozen)); len(v.frozen) > 0; i = m.rng.IntN(len(v.frozen)) {
			g := v.frozen[i].gen
			if err := tx.Thaw(id, g); err != nil {
				return err
			}
			if err := tx.Thaw(id, g); !errors.Is(err, ErrNoGeneration) {
				m.t.Fatalf("generation %d of volume %d thawed again: %v", g, id, err)
			}
			next := v.touched
			if i+1 < len(v.frozen) {
				next = v.frozen[i+1].touched
			}
			maps.Copy(next, v.frozen[i].touched)
			v.frozen = slices.Delete(v.frozen, i, i+1)
			v.thawed = append(v.thawed, g)
			if m.rng.IntN(3) > 0 || len(v.frozen) == 0 {
				break
			}
		}
		return nil
	})
	gone := v.thawed[m.rng.IntN(len(v.thawed))]
	if err := m.s.Update(func(tx *Tx) error { return tx.Thaw(id, gone) }); !errors.Is(err, ErrNoGeneration) {
		m.t.Fatalf("generation %d of volume %d thawed again: %v", gone, id, err)
	}
	withView(m.t, m.s, func(view *View) {
		for _, err := range []error{
			view.Read(id, gone, 0, make([]byte, PageSize)),
			view.Ranges(id, gone, AllPages, nil),
			view.Diff(id, gone, GenHead, AllPages, nil),
		} {
			if !errors.Is(err, ErrNoGeneration) {
				m.t.Fatalf("generation %d of volume %d, thawed: %v", gone, id, err)
			}
		}
	})
}

// reap carries out some steps of passes, so that others come between them.
func (m *modelTest) reap() {
	for range 1 + m.rng.IntN(3) {
		if _, err := m.s.reapOnce(m.t.Context()); err != nil {
			m.t.Fatal(err)
		}
	}
}

// reapAll carries out all passes. Then there is an entry of the page map only where some generation shows it, and of
// dropped volumes there is nothing.
func (m *modelTest) reapAll() {
	m.t.Helper()
	if err := m.s.Reap(m.t.Context()); err != nil {
		m.t.Fatal(err)
	}
	wantMark(m.t, m.s)
	for key := range allRows(m.t, m.s) {
		switch key[0] {
		case rowPass:
			m.t.Fatalf("row %q after all passes", key)
		case rowVolume, rowMap, rowGeneration, rowChange, rowScattered:
			if id := VolumeID(binary.BigEndian.Uint64([]byte(key[1:]))); m.volumes[id] == nil {
				m.t.Fatalf("row %q of volume %d, which was dropped", key, id)
			}
		}
	}
	for id, v := range m.volumes {
		m.checkNeeded(id, v)
	}
}

// checkNeeded checks that every entry of a volume is the newest for some generation, and holds no page that is invalid in
// all of them.
func (m *modelTest) checkNeeded(id VolumeID, v *modelVolume) {
	m.t.Helper()
	needed := make(map[string]bool)
	it, err := m.s.db.NewIter(nil)
	if err != nil {
		m.t.Fatal(err)
	}
	defer it.Close()
	var row volumeRow
	if ok, err := readVolume(m.s.db, id, &row); !ok || err != nil {
		m.t.Fatal(ok, err)
	}
	readable := []Gen{row.gen}
	for _, f := range v.frozen {
		readable = append(readable, f.gen)
	}
	shown := make(map[string]pagemap.Bitmap)
	for _, at := range readable {
		pages := v.at(at)
		if at == row.gen {
			pages = v.pages
		}
		for no := uint64(0); no <= uint64(m.size+400)/pagemap.RegionPages+uint64(m.o.limits.direct)+30; no++ {
			prefix := appendMapKey(nil, id, no, at)
			if !it.SeekGE(prefix) || !bytes.HasPrefix(it.Key(), prefix[:mapKeyBytes-4]) {
				continue
			}
			key := string(it.Key())
			needed[key] = true
			b := shown[key]
			for p := range pagemap.RegionPages {
				if pages[PageNo(no*pagemap.RegionPages)+PageNo(p)].valid {
					b.Add(p, p+1)
				}
			}
			shown[key] = b
		}
	}
	for ok := it.SeekGE(appendVolumePrefix(nil, rowMap, id)); ok && bytes.HasPrefix(it.Key(), appendVolumePrefix(nil, rowMap, id)); ok = it.Next() {
		key := string(it.Key())
		value, err := it.ValueAndErr()
		if err != nil {
			m.t.Fatal(err)
		}
		runs, err := pagemap.DecodeEntry(nil, value)
		if err != nil {
			m.t.Fatal(err)
		}
		if !needed[key] {
			m.t.Fatalf("volume %d: entry %q shows nothing: generations %v", id, key, readable)
		}
		if more := runs.Pages().AndNot(shown[key]); !more.Empty() {
			m.t.Fatalf("volume %d: entry %q holds pages %v that are invalid in all of %v", id, key, more, readable)
		}
	}
}

// dropAll drops every volume and carries out all passes. Then no page is mapped and no block is used.
func (m *modelTest) dropAll() {
	m.update(func(tx *Tx) error {
		for id := range m.volumes {
			if err := tx.Drop(id); err != nil {
				return err
			}
		}
		return nil
	})
	clear(m.volumes)
	m.reapAll()
	wantMark(m.t, m.s)
	if st := m.s.Stats(); st.MappedBytes != 0 || st.UniqueBytes != 0 || st.LiveBytes != 0 || st.Mismatch != 0 {
		m.t.Fatalf("with all volumes gone: %+v", st)
	}
}

func (v *modelVolume) clear(r Range) {
	for no, p := range v.pages {
		if p.valid && no >= r.Start && no < r.End {
			v.touched[no] = true
			delete(v.pages, no)
		}
	}
}

func (m *modelTest) clearIn(tx *Tx, id VolumeID, v *modelVolume, r Range) error {
	v.clear(r)
	return tx.Clear(id, r)
}

func (m *modelTest) clear() {
	id, v := m.pick()
	r := m.span(2000)
	if m.rng.IntN(3) == 0 { // large enough to be an erasure
		r.End = r.Start + PageNo(m.o.limits.direct+2+m.rng.Uint32N(20))*pagemap.RegionPages
	}
	m.update(func(tx *Tx) error { return m.clearIn(tx, id, v, r) })
}

func (m *modelTest) truncate() {
	id, v := m.pick()
	from := PageNo(m.rng.Uint64N(uint64(m.size)))
	m.update(func(tx *Tx) error {
		v.clear(Range{from, maxPages})
		return tx.Truncate(id, from)
	})
}

func (m *modelTest) create() {
	m.update(func(tx *Tx) error {
		id := tx.CreateVolume()
		if m.volumes[id] != nil || slices.Contains(m.dropped, id) {
			m.t.Fatalf("volume %d was there before", id)
		}
		m.volumes[id] = &modelVolume{pages: make(map[PageNo]modelPage), touched: make(map[PageNo]bool)}
		return nil
	})
}

func (m *modelTest) drop() {
	if len(m.volumes) < 2 {
		return
	}
	id, _ := m.pick()
	m.update(func(tx *Tx) error { return tx.Drop(id) })
	delete(m.volumes, id)
	m.dropped = append(m.dropped, id)
	if err := m.s.Update(func(tx *Tx) error { return tx.Truncate(id, 0) }); !errors.Is(err, ErrNoVolume) {
		m.t.Fatalf("truncate of a dropped volume: %v", err)
	}
}

func (m *modelTest) setRows() {
	m.update(func(tx *Tx) error {
		for range 1 + m.rng.IntN(4) {
			k := fmt.Sprint("key", m.rng.IntN(50))
			got, ok, err := tx.Get([]byte(k))
			if want, is := m.rows[k]; err != nil || ok != is || string(got) != want {
				m.t.Fatalf("row %s: %q %v %v, want %q %v", k, got, ok, err, want, is)
			}
			if m.rng.IntN(3) == 0 {
				tx.Delete([]byte(k))
				delete(m.rows, k)
			} else {
				m.rows[k] = fmt.Sprint("value", m.rng.Uint32())
				tx.Set([]byte(k), []byte(m.rows[k]))
			}
		}
		return nil
	})
}

func (m *modelTest) wantRows(got []string, from, to string) {
	m.t.Helper()
	var want []string
	for _, k := range slices.Sorted(maps.Keys(m.rows)) {
		if k >= from && (to == "" || k < to) {
			want = append(want, k+"="+m.rows[k])
		}
	}
	if !slices.Equal(got, want) {
		m.t.Fatalf("rows [%s,%s): %v, want %v", from, to, got, want)
	}
}

func (m *modelTest) scan() {
	from, to := fmt.Sprint("key", m.rng.IntN(50)), fmt.Sprint("key", m.rng.IntN(50))
	var end []byte
	if m.rng.IntN(2) == 0 {
		end = []byte(to)
	} else {
		to = ""
	}
	m.update(func(tx *Tx) error {
		for i := range m.rng.IntN(3) {
			k := fmt.Sprint("key", m.rng.IntN(50))
			if i == 0 {
				tx.Delete([]byte(k))
				delete(m.rows, k)
			} else {
				m.rows[k] = "scan"
				tx.Set([]byte(k), []byte("scan"))
			}
		}
		var got []string
		err := tx.Scan([]byte(from), end, func(k, v []byte) bool {
			got = append(got, string(k)+"="+string(v))
			return true
		})
		m.wantRows(got, from, to)
		return err
	})
	withView(m.t, m.s, func(v *View) {
		it := v.Iter([]byte(from), end)
		defer it.Close()
		var got []string
		for it.Next() {
			got = append(got, string(it.Key())+"="+string(it.Value()))
		}
		if err := it.Err(); err != nil {
			m.t.Fatal(err)
		}
		m.wantRows(got, from, to)
	})
}

// failUpdate checks that an update whose function fails changes nothing.
func (m *modelTest) failUpdate() {
	id, _ := m.pick()
	_, p := m.contents(Range{0, 100})
	c, err := m.s.Prepare(0, p)
	if err != nil {
		m.t.Fatal(err)
	}
	defer c.Release()
	wantErr := errors.New("no")
	err = m.s.Update(func(tx *Tx) error {
		tx.Set([]byte("key1"), []byte("never"))
		tx.CreateVolume()
		for _, err := range []error{tx.Write(id, c), tx.Truncate(id, 0), tx.Drop(id)} {
			if err != nil {
				return err
			}
		}
		return wantErr
	})
	if err != wantErr {
		m.t.Fatal(err)
	}
}

func (m *modelTest) read() {
	id, v := m.pick()
	m.checkRead(id, v, m.pickGen(v), m.span(1000))
}

func (m *modelTest) checkRead(id VolumeID, v *modelVolume, g Gen, r Range) {
	m.t.Helper()
	want := make([]byte, int(r.End-r.Start)*PageSize)
	pages := v.at(g)
	for i := range int(r.End - r.Start) {
		if p := pages[r.Start+PageNo(i)]; p.valid {
			fillPage(want[i*PageSize:][:PageSize], p.content)
		}
	}
	wantRead(m.t, m.s, id, g, r.Start, want)
}

func (m *modelTest) ranges() {
	id, v := m.pick()
	m.checkRanges(id, v, m.pickGen(v), m.window())
}

// window returns what a listing is restricted to, often nothing.
func (m *modelTest) window() Range {
	if m.rng.IntN(2) == 0 {
		return AllPages
	}
	return m.span(int(m.size))
}

func (m *modelTest) checkRanges(id VolumeID, v *modelVolume, g Gen, within Range) {
	m.t.Helper()
	var got []Range
	withView(m.t, m.s, func(view *View) {
		if err := view.Ranges(id, g, within, func(r Range) bool {
			got = append(got, r)
			return true
		}); err != nil {
			m.t.Fatal(err)
		}
	})
	if want := modelRanges(v.at(g), within); !slices.Equal(got, want) {
		m.t.Fatalf("ranges of volume %d generation %d within %v:\n%v, want\n%v", id, g, within, got, want)
	}
}

func (m *modelTest) diff() {
	id, v := m.pick()
	if len(v.frozen) == 0 {
		return
	}
	i := m.rng.IntN(len(v.frozen))
	g := GenHead
	if j := i + m.rng.IntN(len(v.frozen)-i+1); j < len(v.frozen) {
		g = v.frozen[j].gen
	}
	m.checkDiff(id, v, v.frozen[i].gen, g, m.window())
}

func (m *modelTest) checkDiff(id VolumeID, v *modelVolume, since, g Gen, within Range) {
	m.t.Helper()
	var got []diffRange
	withView(m.t, m.s, func(view *View) {
		if err := view.Diff(id, since, g, within, func(r Range, cleared bool) bool {
			got = append(got, diffRange{r, cleared})
			return true
		}); err != nil {
			m.t.Fatal(err)
		}
	})
	if want := v.diff(since, g, within); !slices.Equal(got, want) {
		m.t.Fatalf("diff of volume %d from generation %d to %d within %v:\n%v, want\n%v", id, since, g, within, got, want)
	}
}

// checkAll compares every volume at every generation, and every pair of generations.
func (m *modelTest) checkAll() {
	m.t.Helper()
	for id, v := range m.volumes {
		gens := []Gen{}
		for _, f := range v.frozen {
			gens = append(gens, f.gen)
		}
		gens = append(gens, GenHead)
		step := 1 + len(gens)/16 // all of few, some of many: pairs are many
		for i := 0; i < len(gens); i += step {
			m.checkRead(id, v, gens[i], Range{0, m.size + 400})
			m.checkRanges(id, v, gens[i], AllPages)
			for j := i; j < len(gens) && gens[i] != GenHead; j += step {
				m.checkDiff(id, v, gens[i], gens[j], AllPages)
			}
		}
		m.checkRead(id, v, GenHead, Range{0, m.size + 400})
	}
}

// reopen closes the store and opens it again: with its index, without, or with the one it had some time ago, as after a
// crash. Every row must be what it was.
func (m *modelTest) reopen() {
	m.t.Helper()
	before := allRows(m.t, m.s)
	if err := m.s.Close(); err != nil {
		m.t.Fatal(err)
	}
	copyDir := func(from, to string) {
		if err := m.fs.RemoveAll(to); err != nil {
			m.t.Fatal(err)
		}
		if _, err := vfs.Clone(m.fs, m.fs, from, to); err != nil {
			m.t.Fatal(err)
		}
	}
	switch m.rng.IntN(4) {
	case 0:
		m.counts["lost index"]++
		if err := m.fs.RemoveAll(m.o.Dir); err != nil {
			m.t.Fatal(err)
		}
	case 1, 2:
		m.counts["old index"]++
		if m.oldIndex {
			copyDir("old-index", m.o.Dir)
			break
		}
		fallthrough
	default:
		copyDir(m.o.Dir, "old-index")
		m.oldIndex = true
	}
	m.o.replayBatchBytes = 1 << m.rng.IntN(23)
	m.o.Events = &Events{Replayed: func(from, to replication.LSN) { m.counts["replayed"] += int(to - from + 1) }}
	m.s = openTest(m.t, m.o)
	sameRows(m.t, allRows(m.t, m.s), before)
	wantMark(m.t, m.s)
}

// allRows returns every row of the index.
func allRows(t testing.TB, s *Store) map[string]string {
	t.Helper()
	it, err := s.db.NewIter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	rows := make(map[string]string)
	for ok := it.First(); ok; ok = it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			t.Fatal(err)
		}
		rows[string(it.Key())] = string(v)
	}
	if err := it.Error(); err != nil {
		t.Fatal(err)
	}
	return rows
}

func sameRows(t testing.TB, got, want map[string]string) {
	t.Helper()
	for _, k := range slices.Sorted(maps.Keys(want)) {
		if v, ok := got[k]; !ok || v != want[k] {
			t.Fatalf("row %q: %x (%v), want %x", k, v, ok, want[k])
		}
	}
	for k := range got {
		if _, ok := want[k]; !ok {
			t.Fatalf("row %q: %x, want none", k, got[k])
		}
	}
	if len(got) == 0 || !bytes.Contains([]byte(slices.Sorted(maps.Keys(got))[0]), headerKey) {
		t.Fatal("no header row")
	}
}
