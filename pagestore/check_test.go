package pagestore

import (
	"bytes"
	"context"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/internal/digest"
	"pagevault/pagestore/pagemap"
	"pagevault/replication"
)

// checkFixture is a closed store with content of every kind: whole regions, pieces, repeats, zeros, frozen generations,
// scattered writes, a dropped volume.
type checkFixture struct {
	t    *testing.T
	fs   *vfs.MemFS
	o    Options
	body []byte // what the first 256 pages of volume 1 hold
}

func newCheckFixture(t *testing.T, tune func(*Options)) *checkFixture {
	t.Helper()
	f := &checkFixture{t: t, fs: vfs.NewMem()}
	f.o = testOptions(f.fs, 2)
	f.o.passive = true
	if tune != nil {
		tune(&f.o)
	}
	s := openTest(t, f.o)
	rng := rand.New(rand.NewPCG(23, 11))
	f.body = randomBytes(rng, 2*pagemap.RegionBytes)
	for range 3 {
		newVolume(t, s)
	}
	write(t, s, 1, 0, f.body)
	write(t, s, 2, 3, f.body[:20*PageSize])
	write(t, s, 2, 256, f.body[:pagemap.RegionBytes]) // a repeat
	update(t, s, func(tx *Tx) error { _, err := tx.Freeze(1); return err })
	write(t, s, 1, 300, bytes.Repeat([]byte("compressible "), 4096)[:24*PageSize])
	write(t, s, 1, 2, randomBytes(rng, PageSize))
	for i := range PageNo(30) { // more runs than foldRuns
		write(t, s, 3, 2*i, randomBytes(rng, PageSize))
	}
	update(t, s, func(tx *Tx) error { _, err := tx.Freeze(1); return err })
	update(t, s, func(tx *Tx) error { return tx.Clear(1, Range{8, 24}) })
	update(t, s, func(tx *Tx) error { tx.Set([]byte("k"), []byte("v")); return tx.Drop(2) })
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return f
}

// check checks the closed store and returns the problems, a line each, and their kinds, sorted.
func (f *checkFixture) check(level CheckLevel) (lines []string, kinds []Kind) {
	f.t.Helper()
	o := CheckOptions{Level: level, Found: func(p Problem) {
		lines = append(lines, p.String())
		if !slices.Contains(kinds, p.Kind) {
			kinds = append(kinds, p.Kind)
		}
	}}
	s, err := OpenReadOnly(f.o)
	if err != nil {
		if _, err = CheckUnopened(context.Background(), f.o, err, o); err != nil {
			f.t.Fatal(err)
		}
	} else {
		withView(f.t, s, func(v *View) {
			_, err = v.Check(context.Background(), o)
		})
		if err != nil {
			f.t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			f.t.Fatal(err)
		}
	}
	slices.Sort(kinds)
	return lines, kinds
}

func (f *checkFixture) wantClean(what string) {
	f.t.Helper()
	for _, level := range []CheckLevel{CheckFull, CheckQuick} {
		if lines, _ := f.check(level); len(lines) > 0 {
			f.t.Fatalf("%s: level %d: a check finds\n%s", what, level, strings.Join(lines, "\n"))
		}
	}
}

// wantClean fails the test if a full check of an open store finds anything.
func wantClean(t testing.TB, s *Store, what string) {
	t.Helper()
	withView(t, s, func(v *View) {
		t.Helper()
		if _, err := v.Check(t.Context(), CheckOptions{Found: func(p Problem) { t.Errorf("%s, a check finds %v", what, &p) }}); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	})
}

// edit changes rows of the index.
func (f *checkFixture) edit(edit func(db *pebble.DB) error) {
	f.t.Helper()
	editIndex(f.t, f.o, edit)
}

func (f *checkFixture) set(key, value []byte) func() {
	return func() { f.edit(func(db *pebble.DB) error { return db.Set(key, value, nil) }) }
}

func (f *checkFixture) remove(key []byte) func() {
	return func() { f.edit(func(db *pebble.DB) error { return db.Delete(key, nil) }) }
}

// row returns the value of a row.
func (f *checkFixture) row(key []byte) (value []byte) {
	f.t.Helper()
	f.edit(func(db *pebble.DB) error {
		v, closer, err := db.Get(key)
		if err == nil {
			value = bytes.Clone(v)
			err = closer.Close()
		}
		return err
	})
	return value
}

// state changes the state row.
func (f *checkFixture) state(change func(s *state)) func() {
	return func() {
		f.t.Helper()
		st, err := decodeState(f.row(stateKey))
		if err != nil {
			f.t.Fatal(err)
		}
		change(&st)
		f.set(stateKey, appendState(nil, &st))()
	}
}

// frame changes the row of a frame.
func (f *checkFixture) frame(id pagemap.FrameID, change func(r *frameRow)) func() {
	return func() {
		f.t.Helper()
		var r frameRow
		key := appendFrameKey(nil, id)
		if err := decodeFrameRow(&r, f.row(key)); err != nil {
			f.t.Fatal(err)
		}
		change(&r)
		f.set(key, appendFrameRow(nil, &r))()
	}
}

// first returns the first row of a kind, from the n-th on.
func (f *checkFixture) first(row byte, n int) (key, value []byte) {
	f.t.Helper()
	f.edit(func(db *pebble.DB) error {
		it, err := newRowIter(db, row)
		if err != nil {
			return err
		}
		for ok := it.First(); ok; ok = it.Next() {
			if n--; n < 0 {
				key, value = bytes.Clone(it.Key()), bytes.Clone(it.Value())
				break
			}
		}
		return it.Close()
	})
	if key == nil {
		f.t.Fatalf("no row of kind %q", row)
	}
	return key, value
}

// spoil inverts a bit of what members store, where the sample is.
func (f *checkFixture) spoil(sample []byte, members ...int) func() {
	return func() {
		f.t.Helper()
		for _, m := range members {
			name := segmentFile(f.t, f.fs, f.o.Members[m].Dir, 1)
			p := f.read(name)
			at := bytes.Index(p, sample)
			if at < 0 {
				f.t.Fatalf("%s does not hold the sample", name)
			}
			flip(f.t, f.fs, name, int64(at), 3)
		}
	}
}

func (f *checkFixture) read(name string) []byte {
	f.t.Helper()
	file, err := f.fs.Open(name)
	if err != nil {
		f.t.Fatal(err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		f.t.Fatal(err)
	}
	p := make([]byte, info.Size())
	if _, err := file.ReadAt(p, 0); err != nil {
		f.t.Fatal(err)
	}
	return p
}

func (f *checkFixture) write(name, text string) {
	f.t.Helper()
	file, err := f.fs.Create(name, vfs.WriteCategoryUnspecified)
	if err == nil {
		_, err = file.Write([]byte(text))
	}
	if err == nil {
		err = file.Close()
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

// TestCheckKinds provokes every kind of problem there is, each in a store of its own that was whole before.
func TestCheckKinds(t *testing.T) {
	seen := map[Kind]bool{}
	run := func(name string, tune func(*Options), spoil func(f *checkFixture) func(), text string, want ...Kind) {
		t.Run(name, func(t *testing.T) {
			f := newCheckFixture(t, tune)
			f.wantClean("before")
			spoil(f)()
			lines, kinds := f.check(CheckFull)
			slices.Sort(want)
			if all := strings.Join(lines, "\n"); !slices.Equal(kinds, want) || !regexp.MustCompile(text).MatchString(all) {
				t.Errorf("want %v and %q, got %v:\n%s", want, text, kinds, all)
			}
			for _, k := range kinds {
				seen[k] = true
			}
		})
	}
	plain := func(name string, spoil func(f *checkFixture) func(), text string, want ...Kind) {
		run(name, nil, spoil, text, want...)
	}
	sealed := func(name string, spoil func(f *checkFixture) func(), text string, want ...Kind) {
		run(name, func(o *Options) { o.MasterKey = MasterKey{1, 2, 3} }, spoil, text, want...)
	}
	plain("no index", func(f *checkFixture) func() {
		return func() {
			if err := f.fs.RemoveAll(f.o.Dir); err != nil {
				f.t.Fatal(err)
			}
		}
	}, "^error: index-damaged: index index: there is none; the next start makes it anew$", KindIndexDamaged)
	plain("the counts did not fit", func(f *checkFixture) func() { return f.state(func(s *state) { s.mismatch = 5 }) },
		"error: index-stopped: record 5 did not fit", KindIndexStopped)
	plain("a row of no kind", func(f *checkFixture) func() { return f.set([]byte("zzz"), nil) }, "row-unknown: 1 rows of kind 'z'.*7a7a7a", KindRowUnknown)
	plain("a row of a frame is cut", func(f *checkFixture) func() { return f.set(appendFrameKey(nil, 1), []byte{1}) },
		`row-damaged: volume 1 pages \[0,2\).*its row`, KindRowDamaged, KindCountsUnknown)
	plain("a page map cannot be read", func(f *checkFixture) func() {
		key, _ := f.first(rowMap, 0)
		return f.set(key, []byte{255})
	}, `row-damaged: volume 1 pages \[0,128\) page map of generation`, KindRowDamaged, KindCountsUnknown)
	plain("another header", func(f *checkFixture) func() {
		h := f.row(headerKey)
		h[15]++ // the field direct
		return f.set(headerKey, h)
	}, "header-wrong", KindHeaderWrong)
	plain("a counter", func(f *checkFixture) func() { return f.state(func(s *state) { s.UniqueBytes++ }) }, "counter-wrong: counter UniqueBytes is", KindCounterWrong)
	plain("totals of a segment", func(f *checkFixture) func() {
		key, value := f.first(rowSegment, 0)
		r, err := decodeSegmentRow(value)
		if err != nil {
			f.t.Fatal(err)
		}
		r.frames++
		return f.set(key, appendSegmentRow(nil, &r))
	}, "segment-totals: segment 1 offset 0 frames is", KindSegmentTotals)
	plain("ids that come again", func(f *checkFixture) func() {
		return f.state(func(s *state) { s.nextFrame, s.nextVolume = 1, 1 })
	}, "next-id: volume 1 volume 1 would be given out next", KindNextID)
	plain("a frame is lost", func(f *checkFixture) func() { return f.remove(appendFrameKey(nil, 1)) },
		`frame-missing: volume 1 pages \[0,2\) frame 1 the page map of generation 3 leads there, and it is not`,
		KindFrameMissing, KindChunkDangling, KindRegionUnlinked, KindSegmentTotals, KindCounterWrong)
	plain("a frame elsewhere", func(f *checkFixture) func() { return f.frame(1, func(r *frameRow) { r.at.Offset += 512 }) },
		`frame-position: volume 1 pages \[0,2\).*no record says`, KindFramePosition, KindFrameLost)
	plain("a frame in no segment", func(f *checkFixture) func() { return f.frame(1, func(r *frameRow) { r.at.Segment = 9 }) },
		`frame-position: volume 1 .*names a segment that the log does not have`, KindFramePosition, KindFrameLost, KindSegmentTotals)
	plain("one copy", func(f *checkFixture) func() { return f.spoil(f.body[4096+7:4096+50], 1) },
		`warning: frame-copy: volume 1 pages \[8,16\) member 2 segment 1 offset \d+ frame 1 `, KindFrameCopy, KindLogSegment)
	plain("all copies", func(f *checkFixture) func() { return f.spoil(f.body[4096+7:4096+50], 0, 1) },
		`error: frame-lost: volume 1 pages \[8,16\) segment 1 offset \d+ frame 1 no member has it`, KindFrameLost, KindLogLost)
	sealed("another salt", func(f *checkFixture) func() {
		key, value := f.first(rowSession, 0)
		value[0]++
		return f.set(key, value)
	}, "frame-undecodable: volume 1 pages", KindFrameUndecodable)
	sealed("no salt", func(f *checkFixture) func() {
		key, _ := f.first(rowSession, 0)
		return f.remove(key)
	}, "session-missing: volume 1 pages", KindSessionMissing, KindFrameUndecodable)
	plain("a count", func(f *checkFixture) func() { return f.frame(1, func(r *frameRow) { r.counts[2]++ }) },
		`count-wrong: volume 1 pages \[\d+,\d+\) frame 1 block 2 counts`, KindCountWrong)
	plain("a page map row is lost", func(f *checkFixture) func() {
		key, _ := f.first(rowMap, 0)
		return f.remove(key)
	}, "count-wrong: ", KindCountWrong, KindCounterWrong)
	plain("a name leads nowhere", func(f *checkFixture) func() {
		key, _ := f.first(rowChunk, 0)
		return f.set(key, appendChunkRow(nil, chunkRef{999, 0}))
	}, "chunk-dangling: frame 999 the name [0-9a-f]+ leads to a frame that is not there", KindChunkDangling)
	plain("a name leads elsewhere", func(f *checkFixture) func() {
		key, _ := f.first(rowChunk, 0)
		_, other := f.first(rowChunk, 1)
		return f.set(key, other)
	}, `chunk-wrong: volume \d pages .*the name [0-9a-f]+ leads to its pages`, KindChunkWrong)
	plain("a region of other bytes", func(f *checkFixture) func() {
		key, value := f.first(rowRegion, 0)
		runs, err := pagemap.DecodeEntry(nil, value)
		if err != nil {
			f.t.Fatal(err)
		}
		r := runs[0]
		runs = pagemap.Entry{{First: 0, Pages: 64, Frame: r.Frame, Off: 64}, {First: 64, Pages: 64, Frame: r.Frame, Off: 0}}
		return f.set(key, pagemap.AppendEntry(nil, runs))
	}, "region-wrong: frame", KindRegionWrong)
	plain("a region is not listed", func(f *checkFixture) func() {
		key, _ := f.first(rowBack, 0)
		return f.remove(key)
	}, "error: region-unlinked: frame 1 the region named .* begins in it and is not listed with it", KindRegionUnlinked)
	plain("a listed region is not there", func(f *checkFixture) func() { return f.set(appendBackKey(nil, 1, &digest.Digest{1}), nil) },
		"warning: region-unlinked: frame 1 it is listed as where the region named .*: no such name", KindRegionUnlinked)
	plain("a region is listed twice", func(f *checkFixture) func() {
		key, _ := f.first(rowRegion, 0)
		name, err := decodeNameKey(key)
		if err != nil {
			f.t.Fatal(err)
		}
		return f.set(appendBackKey(nil, 3, &name), nil)
	}, "warning: region-unlinked: frame 3 it is listed as where the region named .*: the name begins in frame [12]$", KindRegionUnlinked)
	plain("rows of no volume", func(f *checkFixture) func() { return f.set(appendChangeKey(nil, 77, 1, 1), make([]byte, 16)) },
		"volume-rows: volume 77 there is no such volume, and rows of kind 'd' are of it", KindVolumeRows)
	plain("a dropped volume that stays", func(f *checkFixture) func() { return f.remove(appendPassKey(nil, 2)) },
		"volume-rows: volume 2 it was dropped, and its space is not due to be freed", KindVolumeRows)
	plain("a generation is lost", func(f *checkFixture) func() { return f.remove(appendGenerationKey(nil, 1, 2)) },
		"generation-rows: volume 1 its newest frozen generation is 1, its row says 2", KindGenerationRows)
	plain("a region that is not scattered", func(f *checkFixture) func() { return f.set(appendScatteredKey(nil, 1, 0), nil) },
		`fold-mark: volume 1 pages \[0,128\)`, KindFoldMark)
	plain("the summary", func(f *checkFixture) func() { return func() { f.write(f.o.Dir+".summary", "nothing of the kind") } },
		"warning: summary-wrong", KindSummaryWrong)
	plain("no MEMBER", func(f *checkFixture) func() {
		return func() {
			if err := f.fs.Remove(f.fs.PathJoin(f.o.Members[1].Dir, "MEMBER")); err != nil {
				f.t.Fatal(err)
			}
		}
	}, "warning: log-file: member 2 replica-2/MEMBER: its directory has no MEMBER file", KindLogFile)
	plain("a footer", func(f *checkFixture) func() {
		return func() {
			name := segmentFile(f.t, f.fs, f.o.Members[0].Dir, 1)
			flip(f.t, f.fs, name, int64(len(f.read(name))-3), 1)
		}
	}, "warning: log-segment: member 1 segment 1", KindLogSegment)
	plain("a record that makes no sense", func(f *checkFixture) func() {
		return func() {
			l, err := replication.Open(f.o.Members, f.o.Log)
			if err != nil {
				f.t.Fatal(err)
			}
			if _, err := l.Append(&replication.Record{Meta: []byte{recordCommit, 99}}); err != nil {
				f.t.Fatal(err)
			}
			if err := l.Close(); err != nil {
				f.t.Fatal(err)
			}
			f.state(func(s *state) { s.applied++ })()
		}
	}, `error: record-wrong: segment 2 offset \d+ record \d+ has its checksum and cannot be read: operation of unknown kind 99`, KindRecordWrong)

	for _, k := range declaredKinds(t) {
		if !seen[k] {
			t.Errorf("no case provokes %s", k)
		}
	}
}

// declaredKinds returns all kinds that the source declares.
func declaredKinds(t *testing.T) (kinds []Kind) {
	t.Helper()
	text, err := os.ReadFile("problem.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^\tKind\w+ +Kind = "([a-z-]+)"`).FindAllSubmatch(text, -1) {
		kinds = append(kinds, Kind(m[1]))
	}
	if len(kinds) < 25 {
		t.Fatalf("%d kinds in problem.go: is the pattern still right?", len(kinds))
	}
	return kinds
}

// TestCheckChangesNothing compares all files before and after, also of a store that was left by a crash.
func TestCheckChangesNothing(t *testing.T) {
	f := newCheckFixture(t, nil)
	image := func() string { return f.fs.String() + fmt.Sprint(f.sums()) }
	before := image()
	f.wantClean("closed")
	if after := image(); after != before {
		t.Errorf("a check changed files:\n%s\n%s", before, after)
	}
}

// sums returns the content of all files but locks, by name.
func (f *checkFixture) sums() map[string]uint32 {
	f.t.Helper()
	out := map[string]uint32{}
	for _, dir := range []string{f.o.Dir, f.o.Members[0].Dir, f.o.Members[1].Dir} {
		names, err := f.fs.List(dir)
		if err != nil {
			f.t.Fatal(err)
		}
		for _, n := range names {
			path := f.fs.PathJoin(dir, n)
			if info, err := f.fs.Stat(path); err != nil || info.IsDir() || info.Size() == 0 {
				continue
			}
			out[path] = crc32.Checksum(f.read(path), castagnoli)
		}
	}
	return out
}

// TestCheckFlips inverts bits in every file of a store, one at a time. A check finds each one in the log's files; what is
// not found in a file of the index is of no consequence: everything reads as before. Other bytes are never read.
func TestCheckFlips(t *testing.T) {
	f := newCheckFixture(t, func(o *Options) { o.MasterKey = MasterKey{9}; o.minSavedNames = 1 })
	f.wantClean("before")
	want, err := f.contents()
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(5, uint64(len(want))))
	dirs := []string{f.o.Dir, f.o.Members[0].Dir, f.o.Members[1].Dir, ""}
	flips, found := 0, 0
	for _, dir := range dirs {
		names, err := f.fs.List(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range names {
			path := f.fs.PathJoin(dir, n)
			info, err := f.fs.Stat(path)
			if err != nil || info.IsDir() || info.Size() == 0 {
				continue
			}
			for range 40 {
				at, bit := rng.Int64N(info.Size()), rng.IntN(8)
				flip(t, f.fs, path, at, bit)
				lines, _ := f.check(CheckFull)
				for _, line := range lines {
					if strings.Contains(line, "\n") || strings.Contains(line, "carrier") {
						t.Errorf("%s: bit %d of byte %d: a problem is not a line: %q", path, bit, at, line)
					}
				}
				got, err := f.contents()
				switch inLog := dir == f.o.Members[0].Dir || dir == f.o.Members[1].Dir; {
				case len(lines) == 0 && (inLog || strings.HasSuffix(n, ".summary")):
					t.Errorf("%s: bit %d of byte %d: nothing is found", path, bit, at)
				case len(lines) == 0 && err != nil:
					t.Errorf("%s: bit %d of byte %d: nothing is found, and reading says %v", path, bit, at, err)
				case err == nil && !bytes.Equal(got, want):
					t.Errorf("%s: bit %d of byte %d: other bytes are read (found: %q)", path, bit, at, lines)
				}
				flip(t, f.fs, path, at, bit)
				flips++
				if len(lines) > 0 {
					found++
				}
			}
		}
	}
	f.wantClean("after")
	if flips < 300 || found < flips/2 {
		t.Errorf("%d of %d flips were found: is the store still what it was?", found, flips)
	}
}

// contents returns what all volumes hold, now and at their frozen generations, as the closed store reads.
func (f *checkFixture) contents() (all []byte, err error) {
	s, err := OpenReadOnly(f.o)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	v, err := s.View()
	if err != nil {
		return nil, err
	}
	defer v.Close()
	for _, at := range []struct {
		v VolumeID
		g Gen
	}{{1, 1}, {1, 2}, {1, GenHead}, {3, GenHead}} {
		p := make([]byte, 512*PageSize)
		if err := v.Read(at.v, at.g, 0, p); err != nil {
			return nil, err
		}
		all = append(all, p...)
	}
	return all, nil
}
