package pagestore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/internal/digest"
	"pagevault/pagestore/pagemap"
	"pagevault/pagestore/refcount"
	"pagevault/replication"
)

// applyTest applies records made by hand to an index without a log.
type applyTest struct {
	t  *testing.T
	db *pebble.DB
	a  *applier

	at         replication.Position // of the next record's stored bytes
	mismatches []string
}

// openMemIndex opens an empty index in memory. The caller closes it.
func openMemIndex(t testing.TB, memTableBytes int) *pebble.DB {
	t.Helper()
	fail := func(err error) { t.Error(err) }
	p := pebbleOptions(&Options{MemTableBytes: memTableBytes, Events: &Events{}}, nil, fail, fail)
	p.FS = vfs.NewMem()
	db, err := pebble.Open("index", p)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// newApplyTest makes an index with one volume, 1, after record 2.
func newApplyTest(t *testing.T) *applyTest {
	db := openMemIndex(t, 1<<20)
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	var names summary
	names.init(1 << 10)
	at := &applyTest{t: t, db: db, at: replication.Position{Segment: 1, Offset: 4096}}
	at.a = newApplier(db, &names, new(atomic.Pointer[knownRegions]), defaultLimits, state{})
	at.a.mismatch = func(lsn replication.LSN, what string) {
		at.mismatches = append(at.mismatches, fmt.Sprintf("%d: %s", lsn, what))
	}
	if err := at.a.record(&replication.Record{LSN: 1, Meta: (&genesis{limits: defaultLimits}).append(nil)}); err != nil {
		t.Fatal(err)
	}
	at.apply(appendVolumeOp(nil, opCreate, 1))
	return at
}

// apply applies a record of these operations and commits.
func (at *applyTest) apply(ops ...[]byte) {
	at.t.Helper()
	at.record(ops...)
	at.commit()
}

func (at *applyTest) record(ops ...[]byte) {
	at.t.Helper()
	meta := append([]byte{recordCommit}, slices.Concat(ops...)...)
	if err := at.a.record(&replication.Record{LSN: at.a.state.applied + 1, At: at.at, Meta: meta}); err != nil {
		at.t.Fatal(err)
	}
	at.at.Offset += 1 << 20
}

func (at *applyTest) commit() {
	at.t.Helper()
	if err := at.a.commit(); err != nil {
		at.t.Fatal(err)
	}
}

// mark recounts and returns all differences, a line each.
func (at *applyTest) mark() string {
	at.t.Helper()
	var out []string
	if _, err := mark(context.Background(), at.db, func(d Difference) { out = append(out, d.String()) }); err != nil {
		at.t.Fatal(err)
	}
	return strings.Join(out, "\n")
}

// want checks the state, and that a mark agrees with it.
func (at *applyTest) want(rows ...string) {
	at.t.Helper()
	if d := at.mark(); d != "" {
		at.t.Errorf("mark:\n%s", d)
	}
	if got, want := at.rows(), strings.Join(rows, "\n"); got != want {
		at.t.Errorf("rows:\n%s\nwant\n%s", got, want)
	}
}

// rows describes the rows that are about frames.
func (at *applyTest) rows() string {
	at.t.Helper()
	it, err := at.db.NewIter(nil)
	if err != nil {
		at.t.Fatal(err)
	}
	defer it.Close()
	var out []string
	for ok := it.First(); ok; ok = it.Next() {
		if line := describeRow(at.t, it.Key(), it.Value()); line != "" {
			out = append(out, line)
		}
	}
	c := &at.a.state.Counters
	out = append(out, fmt.Sprintf("%d frames, %d chunks, stored %d, raw %d, unique %d, live %d, mapped %d",
		c.Frames, c.Chunks, c.StoredBytes, c.RawBytes, c.UniqueBytes, c.LiveBytes, c.MappedBytes))
	slices.SortStableFunc(out, func(a, b string) int { return strings.Compare(a[:1], b[:1]) })
	return strings.Join(out, "\n")
}

func describeRow(t *testing.T, key, value []byte) string {
	t.Helper()
	var err error
	defer func() {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}()
	switch key[0] {
	case rowFrame:
		var f frameRow
		if f.id, err = decodeFrameKey(key); err == nil {
			err = decodeFrameRow(&f, value)
		}
		return fmt.Sprintf("frame %d: %d:%d, %d bytes, blocks %#x, counts %v, moved %v",
			f.id, f.at.Segment, f.at.Offset, f.stored, f.present, f.counts[:f.blocks()], f.moved)
	case rowChunk:
		var c chunkRef
		c, err = decodeChunkRow(value)
		return fmt.Sprintf("chunk %x: %d+%d", key[1], c.frame, c.off)
	case rowRegion:
		var e pagemap.Entry
		e, err = pagemap.DecodeEntry(nil, value)
		return fmt.Sprintf("region %x: %v", key[1], e)
	case rowBack:
		var id pagemap.FrameID
		var name digest.Digest
		id, name, err = decodeBackKey(key)
		return fmt.Sprintf("back %d: %x", id, name[0])
	case rowSegment:
		var s segmentRow
		s, err = decodeSegmentRow(value)
		return fmt.Sprintf("segment %d: %d frames, %d bytes, %d live, %d fast", key[4], s.frames, s.stored, s.live, s.fast)
	case rowScattered:
		var no uint64
		_, no, err = decodeScatteredKey(key)
		return fmt.Sprintf("scattered %d", no)
	}
	return ""
}

// rawFrame makes the operation of a frame of chunks with these names, and ragged pages behind them.
func rawFrame(id pagemap.FrameID, ragged int, names ...byte) []byte {
	f := testFrame(id, 8*len(names)+ragged)
	for i, n := range names {
		f.chunks = append(f.chunks, namedChunk{uint8(8 * i), digest.Digest{n}})
	}
	return appendFrameOp(nil, f)
}

func testFrame(id pagemap.FrameID, pages int) *frame {
	f := &frame{id: id, pages: uint8(pages), present: allBlocks(pages), stored: uint32(pages) * PageSize}
	f.crcs = make([]uint32, f.units())
	return f
}

// writeOf makes the operation of a write to volume 1 within one region; name 0 is none.
func writeOf(no uint64, name byte, runs ...pagemap.Run) []byte {
	first := PageNo(no*pagemap.RegionPages) + PageNo(runs[0].First)
	end := PageNo(no*pagemap.RegionPages) + PageNo(runs[len(runs)-1].End())
	p := appendWriteOp(nil, 1, Range{first, end})
	if name == 0 {
		return appendWriteRegion(p, nil, runs)
	}
	return appendWriteRegion(p, &digest.Digest{name}, runs)
}

func freeze(g Gen) []byte { return appendVolumeOp(nil, opFreeze, 1, uint64(g)) }

// run abbreviates.
func run(first, pages int, frame pagemap.FrameID, off int) pagemap.Run {
	return pagemap.Run{First: uint8(first), Pages: uint8(pages), Frame: frame, Off: uint8(off)}
}

func TestCounting(t *testing.T) {
	at := newApplyTest(t)
	// A frame of two chunks and a piece of 3 pages; the region that it fills from page 8 on.
	at.apply(rawFrame(1, 3, 'a', 'b'), writeOf(5, 0, run(8, 19, 1, 0)))
	at.want(
		"1 frames, 2 chunks, stored 9728, raw 9728, unique 9728, live 9728, mapped 9728",
		"chunk 61: 1+0", "chunk 62: 1+8",
		"frame 1: 1:1052672, 9728 bytes, blocks 0x7, counts [1 1 1], moved false",
		"segment 1: 1 frames, 9728 bytes, 9728 live, 9728 fast")
	// The second chunk is overwritten by one page of zeros: what is left of it are two runs.
	at.apply(writeOf(5, 0, run(19, 1, 0, 0)))
	at.want(
		"1 frames, 2 chunks, stored 9728, raw 9728, unique 9728, live 9728, mapped 9728",
		"chunk 61: 1+0", "chunk 62: 1+8",
		"frame 1: 1:1052672, 9728 bytes, blocks 0x7, counts [1 2 1], moved false",
		"segment 1: 1 frames, 9728 bytes, 9728 live, 9728 fast")
	// In a new generation the region is stored beside the old.
	at.apply(freeze(1), writeOf(5, 0, run(8, 8, 0, 0)), writeOf(5, 0, run(16, 1, 0, 0)))
	at.want(
		"1 frames, 2 chunks, stored 9728, raw 9728, unique 9728, live 9728, mapped 19456",
		"chunk 61: 1+0", "chunk 62: 1+8",
		"frame 1: 1:1052672, 9728 bytes, blocks 0x7, counts [1 4 2], moved false",
		"segment 1: 1 frames, 9728 bytes, 9728 live, 9728 fast")
}

// TestUnusedBlocks lets go of blocks and takes them up again.
func TestUnusedBlocks(t *testing.T) {
	at := newApplyTest(t)
	at.apply(rawFrame(1, 3, 'a', 'b'), writeOf(5, 0, run(8, 19, 1, 0)))
	rest := []string{"chunk 61: 1+0", "chunk 62: 1+8"}
	at.apply(writeOf(5, 0, run(8, 16, 0, 0)))
	at.want("1 frames, 2 chunks, stored 9728, raw 9728, unique 1536, live 3242, mapped 9728", rest[0], rest[1],
		"frame 1: 1:1052672, 9728 bytes, blocks 0x7, counts [0 0 1], moved false",
		"segment 1: 1 frames, 9728 bytes, 3242 live, 9728 fast")
	at.apply(writeOf(5, 0, run(24, 3, 0, 0)))
	at.want("1 frames, 2 chunks, stored 9728, raw 9728, unique 0, live 0, mapped 9728", rest[0], rest[1],
		"frame 1: 1:1052672, 9728 bytes, blocks 0x7, counts [0 0 0], moved false",
		"segment 1: 1 frames, 9728 bytes, 0 live, 9728 fast")
	at.apply(writeOf(7, 0, run(0, 8, 1, 8)))
	at.want("1 frames, 2 chunks, stored 9728, raw 9728, unique 4096, live 3242, mapped 13824", rest[0], rest[1],
		"frame 1: 1:1052672, 9728 bytes, blocks 0x7, counts [0 1 0], moved false",
		"segment 1: 1 frames, 9728 bytes, 3242 live, 9728 fast")
}

func TestMove(t *testing.T) {
	at := newApplyTest(t)
	at.apply(rawFrame(1, 0, 'a', 'b', 'c'), rawFrame(2, 0, 'd'), writeOf(0, 0, run(0, 24, 1, 0), run(24, 8, 2, 0)))
	at.apply(writeOf(0, 0, run(8, 8, 0, 0)))
	// The chunk that went has meanwhile been stored elsewhere, too, and there it stays.
	at.apply(rawFrame(3, 0, 'b'))
	m := testFrame(1, 24)
	m.present, m.stored, m.codec, m.crcs = 0b101, 3000, codecZstd, []uint32{7}
	m.chunks = []namedChunk{{0, digest.Digest{'a'}}, {16, digest.Digest{'c'}}}
	m.gone = []namedChunk{{8, digest.Digest{'b'}}}
	at.at = replication.Position{Segment: 2, Offset: 100}
	at.apply(appendMoveOp(nil, m), appendMoveOp(nil, testFrame(2, 8)))
	at.want("3 frames, 4 chunks, stored 11192, raw 16384, unique 12288, live 7096, mapped 16384",
		"chunk 61: 1+0", "chunk 62: 3+0", "chunk 63: 1+16", "chunk 64: 2+0",
		"frame 1: 2:100, 3000 bytes, blocks 0x5, counts [1 0 1], moved true",
		"frame 2: 2:3100, 4096 bytes, blocks 0x1, counts [1], moved true",
		"frame 3: 1:3149824, 4096 bytes, blocks 0x1, counts [0], moved false",
		"segment 1: 1 frames, 4096 bytes, 0 live, 4096 fast",
		"segment 2: 2 frames, 7096 bytes, 7096 live, 0 fast")
	if at.mismatches != nil {
		t.Error(at.mismatches)
	}
}

func TestFree(t *testing.T) {
	at := newApplyTest(t)
	at.apply(rawFrame(1, 64, 'a'), rawFrame(2, 0, 'b'),
		writeOf(0, 'R', run(0, 64, 0, 0), run(64, 64, 1, 8)), // its first frame is 1
		writeOf(1, 'S', run(0, 8, 2, 0), run(8, 120, 0, 0)),
		writeOf(2, 'T', run(0, 8, 1, 0), run(8, 120, 0, 0)))
	// T is found to be something else: then frame 2 is its first.
	at.record(writeOf(0, 0, run(0, 128, 0, 0)))
	at.record(writeOf(2, 'T', run(0, 8, 2, 0), run(8, 120, 0, 0)))
	at.record(appendFreeOp(nil, 1, []namedChunk{{0, digest.Digest{'a'}}}))
	at.commit()
	at.want("1 frames, 1 chunks, stored 4096, raw 4096, unique 4096, live 4096, mapped 196608",
		"back 2: 53", "back 2: 54", "chunk 62: 2+0",
		"frame 2: 1:1089536, 4096 bytes, blocks 0x1, counts [2], moved false",
		"region 53: [[0,8) 2+0 [8,128) zero]", "region 54: [[0,8) 2+0 [8,128) zero]",
		"segment 1: 1 frames, 4096 bytes, 4096 live, 4096 fast")
	at.apply(writeOf(1, 0, run(0, 128, 0, 0)), writeOf(2, 0, run(0, 128, 0, 0)))
	at.apply(appendFreeOp(nil, 2, []namedChunk{{0, digest.Digest{'b'}}}))
	at.want("0 frames, 0 chunks, stored 0, raw 0, unique 0, live 0, mapped 196608")
	if at.mismatches != nil {
		t.Error(at.mismatches)
	}
}

// TestRename gives a region's name to other runs: the frame it began with before does not list it any more, whether that
// was of another batch or the same, and whether the frame stays or goes.
func TestRename(t *testing.T) {
	// Bit n of ends says that a batch ends with step n.
	f := func(name string, ends int, steps [][]byte, want ...string) {
		t.Run(fmt.Sprintf("%s, %03b", name, ends), func(t *testing.T) {
			at := newApplyTest(t)
			at.apply(rawFrame(1, 0, 'a', 'b'), rawFrame(2, 0, 'c'), rawFrame(3, 0, 'd'))
			for i, op := range steps {
				at.record(op)
				if ends>>i&1 == 1 {
					at.commit()
				}
			}
			at.commit()
			var got []string
			for _, line := range strings.Split(at.rows(), "\n") {
				if strings.HasPrefix(line, "back ") || strings.HasPrefix(line, "region ") {
					got = append(got, line)
				}
			}
			if d := at.mark(); d != "" || !slices.Equal(got, want) {
				t.Errorf("got %q, want %q; mark: %s", got, want, d)
			}
			if at.mismatches != nil {
				t.Error(at.mismatches)
			}
		})
	}
	r := func(frame pagemap.FrameID, off int) []byte {
		return writeOf(0, 'R', run(0, 8, frame, off), run(8, 120, pagemap.ZeroFrame, 0))
	}
	free := func(id pagemap.FrameID, name byte) []byte {
		return appendFreeOp(nil, id, []namedChunk{{0, digest.Digest{name}}})
	}
	for ends := range 8 {
		f("to another frame", ends, [][]byte{r(1, 0), r(2, 0)}, "back 2: 52", "region 52: [[0,8) 2+0 [8,128) zero]")
		f("within the frame", ends, [][]byte{r(1, 0), r(1, 8)}, "back 1: 52", "region 52: [[0,8) 1+8 [8,128) zero]")
		f("there and back", ends, [][]byte{r(2, 0), r(3, 0), r(2, 0)}, "back 2: 52", "region 52: [[0,8) 2+0 [8,128) zero]")
		f("and the first goes", ends, [][]byte{r(2, 0), r(3, 0), free(2, 'c')}, "back 3: 52", "region 52: [[0,8) 3+0 [8,128) zero]")
		f("and the second goes", ends, [][]byte{r(2, 0), r(3, 0), writeOf(0, 0, run(0, 128, 0, 0)), free(3, 'd')})
		f("when the first has gone", ends, [][]byte{r(2, 0), writeOf(0, 0, run(0, 128, 0, 0)), free(2, 'c'), r(3, 0)},
			"back 3: 52", "region 52: [[0,8) 3+0 [8,128) zero]")
	}
}

// TestStaleBack frees a frame that lists regions which do not begin in it, as indexes of earlier builds may: what it
// lists goes, and the regions of these names stay.
func TestStaleBack(t *testing.T) {
	at := newApplyTest(t)
	at.apply(rawFrame(1, 0, 'a'), rawFrame(2, 0, 'b'), writeOf(0, 'R', run(0, 8, 2, 0), run(8, 120, 0, 0)))
	for _, name := range []byte{'R', 'S'} {
		if err := at.db.Set(appendBackKey(nil, 1, &digest.Digest{name}), nil, pebble.NoSync); err != nil {
			t.Fatal(err)
		}
	}
	at.apply(appendFreeOp(nil, 1, []namedChunk{{0, digest.Digest{'a'}}}))
	at.want("1 frames, 1 chunks, stored 4096, raw 4096, unique 4096, live 4096, mapped 65536",
		"back 2: 52", "chunk 62: 2+0",
		"frame 2: 1:1056768, 4096 bytes, blocks 0x1, counts [1], moved false",
		"region 52: [[0,8) 2+0 [8,128) zero]",
		"segment 1: 1 frames, 4096 bytes, 4096 live, 4096 fast")
}

// TestMismatch applies what cannot be: the store goes on, says so once, and frees and moves nothing more.
func TestMismatch(t *testing.T) {
	dead := []namedChunk{{0, digest.Digest{'b'}}}
	short := testFrame(1, 16)
	short.present, short.stored, short.crcs = 1, 4096, short.crcs[:1]
	wider := testFrame(1, 24)
	missing := testFrame(9, 8)
	f := func(name, want string, wrong ...[]byte) {
		t.Helper()
		at := newApplyTest(t)
		at.apply(rawFrame(1, 0, 'a', 'x'), rawFrame(2, 0, 'b'), writeOf(0, 0, run(0, 16, 1, 0)))
		before := at.rows()
		at.apply(wrong...)
		if len(at.mismatches) != 1 || at.mismatches[0] != want {
			t.Errorf("%s: mismatches %q, want %q", name, at.mismatches, want)
		}
		if got := at.rows(); got != before {
			t.Errorf("%s: changed\n%s\nto\n%s", name, before, got)
		}
		if d := at.mark(); d != "" {
			t.Errorf("%s: mark:\n%s", name, d)
		}
		at.apply(appendFreeOp(nil, 2, dead)) // which would be right
		at.apply(appendMoveOp(nil, testFrame(2, 8)))
		if got := at.rows(); got != before || len(at.mismatches) != 1 {
			t.Errorf("%s: after it, changed\n%s\nto\n%s\n%q", name, before, got, at.mismatches)
		}
		st, err := stateOf(at.db)
		if err != nil || st.mismatch != at.a.state.mismatch || st.mismatch == 0 {
			t.Errorf("%s: mismatch %d (%v), want %d", name, st.mismatch, err, at.a.state.mismatch)
		}
	}
	f("free of a frame in use", "4: frame 1 is freed, and its blocks 0x3 are in use", appendFreeOp(nil, 1, nil))
	f("free of no frame", "4: frame 9 is freed and does not exist", appendFreeOp(nil, 9, nil))
	f("move without a block in use", "4: frame 1 is moved with blocks 0x1, and 0x3 are in use", appendMoveOp(nil, short))
	f("move with more than there is", "4: frame 1 of 16 pages, blocks 0x3, is moved with 24 pages, blocks 0x7", appendMoveOp(nil, wider))
	f("move of no frame", "4: frame 9 is moved and does not exist", appendMoveOp(nil, missing))
}

// TestWrongCounts begins with rows that are wrong, and lets go of more than they count.
func TestWrongCounts(t *testing.T) {
	at := newApplyTest(t)
	at.apply(rawFrame(1, 0, 'a', 'x'), rawFrame(2, 0, 'b'), writeOf(0, 0, run(0, 16, 1, 0)), writeOf(1, 0, run(0, 16, 1, 0)))
	at.setCounts(1, refcount.Counts{1, 2})
	want := "frame 1 block 0: counts 1 uses, has 2"
	if got := at.mark(); got != want {
		t.Errorf("mark: %s, want %s", got, want)
	}
	at.apply(writeOf(0, 0, run(0, 16, 0, 0)))
	if at.mismatches != nil {
		t.Error(at.mismatches)
	}
	at.apply(writeOf(1, 0, run(0, 16, 0, 0)))
	if want := []string{"5: frame 1: blocks 0x1 are given up more often than taken up"}; !slices.Equal(at.mismatches, want) {
		t.Errorf("%q, want %q", at.mismatches, want)
	}
	at.apply(writeOf(0, 0, run(0, 16, 1, 0)), writeOf(1, 0, run(0, 8, 2, 0)))
	at.deleteFrame(2)
	at.apply(writeOf(2, 0, run(0, 8, 2, 0)))
	got := at.mark()
	for _, want := range []string{"volume 1 region 1 generation 1: refers to block 0 of frame 2", "volume 1 region 2 generation 1: refers to block 0 of frame 2",
		"counter Frames is 2, should be 1", "segment 1: frames is 2, should be 1"} {
		if !strings.Contains(got, want) {
			t.Errorf("mark:\n%s\nwant %s", got, want)
		}
	}
	if strings.Contains(got, "frame 1 block") {
		t.Errorf("mark:\n%s", got)
	}
}

// setCounts changes the counts of a frame behind the applier's back.
func (at *applyTest) setCounts(id pagemap.FrameID, c refcount.Counts) {
	at.t.Helper()
	key := appendFrameKey(nil, id)
	value, closer, err := at.db.Get(key)
	if err != nil {
		at.t.Fatal(err)
	}
	defer closer.Close()
	var f frameRow
	if err := decodeFrameRow(&f, value); err != nil {
		at.t.Fatal(err)
	}
	f.counts = c
	if at.a != nil {
		at.a.refs.kept = slots[pagemap.FrameID, frameState]{}
	}
	if err := at.db.Set(key, appendFrameRow(nil, &f), pebble.NoSync); err != nil {
		at.t.Fatal(err)
	}
}

func (at *applyTest) deleteFrame(id pagemap.FrameID) {
	at.t.Helper()
	at.a.refs.kept = slots[pagemap.FrameID, frameState]{}
	if err := at.db.Delete(appendFrameKey(nil, id), pebble.NoSync); err != nil {
		at.t.Fatal(err)
	}
}

// scattered returns runs of n pieces of one page of a frame, in no order.
func scattered(n int, frame pagemap.FrameID) (runs pagemap.Entry) {
	for i := range n {
		runs = append(runs, run(i, 1, frame, n-1-i))
	}
	return runs
}

func appendFold(gen Gen, no uint64, old, runs pagemap.Entry) []byte {
	return appendFoldOp(nil, 1, no, gen, old, runs)
}

func TestFoldOp(t *testing.T) {
	at := newApplyTest(t)
	old := scattered(30, 1)
	at.apply(rawFrame(1, 30), writeOf(4, 0, old...))
	frame1 := "frame 1: 1:1052672, 15360 bytes, blocks 0xf, counts [8 8 8 6], moved false"
	at.want("1 frames, 0 chunks, stored 15360, raw 15360, unique 15360, live 15360, mapped 15360", frame1,
		"scattered 4", "segment 1: 1 frames, 15360 bytes, 15360 live, 15360 fast")

	// What is not there any more is not folded: another entry, another generation, another region, another volume.
	before := at.rows()
	at.apply(appendFold(1, 4, scattered(29, 1), pagemap.Entry{run(0, 29, 1, 0)}))
	at.apply(appendFold(2, 4, old, pagemap.Entry{run(0, 30, 1, 0)}))
	at.apply(appendFold(1, 5, old, pagemap.Entry{run(0, 30, 1, 0)}))
	at.apply(appendVolumeOp(nil, opCreate, 2), appendVolumeOp(nil, opDrop, 2))
	at.apply(appendFoldOp(nil, 2, 4, 1, old, pagemap.Entry{run(0, 30, 1, 0)}))
	if got := at.rows(); got != before {
		t.Errorf("folds that came too late changed\n%s\nto\n%s", before, got)
	}

	// A fold of an entry that a frozen generation shows replaces it where it is.
	at.apply(freeze(1), rawFrame(2, 30), appendFold(1, 4, old, pagemap.Entry{run(0, 30, 2, 0)}))
	at.want("2 frames, 0 chunks, stored 30720, raw 30720, unique 15360, live 15360, mapped 15360",
		strings.Replace(frame1, "8 8 8 6", "0 0 0 0", 1),
		"frame 2: 1:7344128, 15360 bytes, blocks 0xf, counts [1 1 1 1], moved false",
		"segment 1: 2 frames, 30720 bytes, 15360 live, 30720 fast")

	// A fold that leaves many runs behind ends the matter, until something is written.
	at.apply(writeOf(4, 0, old...))
	if !strings.Contains(at.rows(), "scattered 4") {
		t.Error("not scattered:", at.rows())
	}
	at.apply(appendFold(2, 4, old, old))
	if strings.Contains(at.rows(), "scattered") {
		t.Error("scattered after a fold:", at.rows())
	}
	at.record(writeOf(4, 0, run(100, 1, 0, 0)))
	at.record(writeOf(4, 0, run(102, 1, 0, 0)))
	at.commit()
	if !strings.Contains(at.rows(), "scattered 4") {
		t.Error("not scattered after a write:", at.rows())
	}
	// In one batch with what it folds, and what comes after.
	at.record(writeOf(6, 0, old...))
	at.record(appendFold(2, 6, old, pagemap.Entry{run(0, 30, 2, 0)}))
	at.record(writeOf(6, 0, run(0, 1, 0, 0)))
	at.commit()
	if got := at.mark(); got != "" || strings.Contains(at.rows(), "scattered 6") {
		t.Errorf("mark: %s\n%s", got, at.rows())
	}
	if at.mismatches != nil {
		t.Error(at.mismatches)
	}
}

// TestMismatchOfStore makes the counts of a store wrong. It says so once, goes on, remembers it across restarts, and is
// set right by a recount.
func TestMismatchOfStore(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	o := testOptions(vfs.NewMem(), 1)
	o.passive = true
	var told []string
	o.Events = &Events{Mismatch: func(at replication.LSN, what string) { told = append(told, fmt.Sprintf("%d: %s", at, what)) }}
	s := openTest(t, o)
	id := newVolume(t, s)
	p := randomBytes(rng, pagemap.RegionBytes)
	write(t, s, id, 0, p)
	mustClose(t, s)
	editIndex(t, o, func(db *pebble.DB) error {
		(&applyTest{t: t, db: db}).setCounts(1, refcount.Counts{0, 1, 1})
		return db.Flush()
	})
	s = openTest(t, o)
	for range 2 {
		p = randomBytes(rng, pagemap.RegionBytes)
		write(t, s, id, 0, p)
	}
	wantRead(t, s, id, GenHead, 0, p)
	if want := []string{"4: frame 1: blocks 0xfff9 are given up more often than taken up"}; !slices.Equal(told, want) || s.Stats().Mismatch != 4 {
		t.Errorf("%q and %d, want %q", told, s.Stats().Mismatch, want)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	told = nil
	s = openTest(t, o)
	if s.Stats().Mismatch != 4 || told != nil {
		t.Errorf("mismatch %d after a restart, told %q", s.Stats().Mismatch, told)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	fail := func(err error) { t.Error(err) }
	po := pebbleOptions(&o, nil, fail, fail)
	po.FS = o.FS
	db, err := pebble.Open(o.Dir, po)
	if err != nil {
		t.Fatal(err)
	}
	_, err = recount(t.Context(), db, func(d Difference) { t.Errorf("left: %v", d) })
	if err = errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	s = openTest(t, o)
	wantMark(t, s)
	wantRead(t, s, id, GenHead, 0, p)
}
