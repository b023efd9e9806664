package pagestore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/internal/digest"
	"pagevault/pagestore/pagemap"
	"pagevault/replication"
)

// synthetic is the content of a store as its index tells of it, without the content: one volume, every region of which
// was written once with chunks that are found nowhere else, in frames of 16 chunks that compress to stored bytes. All
// rows agree with each other. Names are as uniform as real ones, and in no order that the frames have. Nothing of it can
// be read, since the log does not hold the frames.
type synthetic struct {
	volume   VolumeID
	frames   uint64 // as many regions; 16 chunks in each
	chunkMul uint64 // chunk number i*chunkMul mod chunks has the i-th name
	frameMul uint64 // and the region of frame number i*frameMul mod frames
	frameInv uint64 // frameMul * frameInv mod frames = 1
}

const (
	syntheticStored   = 36_000 // bytes of a frame: what S2 makes of disk images
	syntheticSegment  = 1 << 20
	framesPerSegment  = 256 << 20 / syntheticStored
	rowsPerTable      = 2 << 20 // of some 26 bytes: about the 64 MiB that the lowest level's tables have
	chunksPerFrame    = pagemap.RegionPages / pagemap.ChunkPages
	chunkStream       = 1
	regionStream      = 2
	goldenNumerator   = 618_034
	goldenDenominator = 1_000_000
)

// newSynthetic describes a volume of at least chunks chunks.
func newSynthetic(volume VolumeID, chunks uint64) *synthetic {
	s := &synthetic{volume: volume, frames: (chunks + chunksPerFrame - 1) / chunksPerFrame}
	s.chunkMul, _ = coprime(s.chunks())
	s.frameMul, s.frameInv = coprime(s.frames)
	return s
}

func (s *synthetic) chunks() uint64 { return s.frames * chunksPerFrame }

// coprime returns a number that i can be multiplied with, modulo n, to go through all numbers below n in a scattered
// order, and its inverse.
func coprime(n uint64) (mul, inverse uint64) {
	for mul = n*goldenNumerator/goldenDenominator | 1; ; mul += 2 {
		if inv := new(big.Int).ModInverse(new(big.Int).SetUint64(mul), new(big.Int).SetUint64(n)); inv != nil {
			return mul, inv.Uint64()
		}
	}
}

// mix is a hash of numbers (splitmix64).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// name returns the i-th of n names in their order: one at a random place of each n-th of all there can be.
func name(stream, i, n uint64) (d digest.Digest) {
	stride := ^uint64(0) / n
	seed := stream<<56 ^ i
	binary.BigEndian.PutUint64(d[:], i*stride+mix(seed)%stride)
	binary.LittleEndian.PutUint64(d[8:], mix(seed^1<<48))
	binary.LittleEndian.PutUint32(d[16:], uint32(mix(seed^2<<48)))
	return d
}

// A syntheticTable makes one kind of rows.
type syntheticTable struct {
	rows uint64
	// row appends the key and the value of row i, in the order of keys, and returns its name if it has one.
	row func(key, value []byte, i uint64) ([]byte, []byte, *digest.Digest)
}

// kinds lists the rows of all kinds.
func (s *synthetic) kinds() []syntheticTable {
	whole := func(frame uint64) pagemap.Run {
		return pagemap.Run{Pages: pagemap.RegionPages, Frame: pagemap.FrameID(frame)}
	}
	return []syntheticTable{
		{s.frames, func(key, value []byte, i uint64) ([]byte, []byte, *digest.Digest) {
			d := name(regionStream, i*s.frameInv%s.frames, s.frames)
			return appendBackKey(key, pagemap.FrameID(i+1), &d), value, nil
		}},
		{s.chunks(), func(key, value []byte, i uint64) ([]byte, []byte, *digest.Digest) {
			d, c := name(chunkStream, i, s.chunks()), i*s.chunkMul%s.chunks()
			ref := chunkRef{frame: pagemap.FrameID(c/chunksPerFrame + 1), off: uint8(c % chunksPerFrame * pagemap.ChunkPages)}
			return appendDigestKey(key, rowChunk, &d), appendChunkRow(value, ref), &d
		}},
		{s.frames, func(key, value []byte, i uint64) ([]byte, []byte, *digest.Digest) {
			return appendFrameKey(key, pagemap.FrameID(i+1)), appendFrameRow(value, s.frame(i)), nil
		}},
		{s.frames, func(key, value []byte, i uint64) ([]byte, []byte, *digest.Digest) {
			return appendMapKey(key, s.volume, i, 1), pagemap.AppendRun(value, whole(i+1)), nil
		}},
		{s.frames, func(key, value []byte, i uint64) ([]byte, []byte, *digest.Digest) {
			d := name(regionStream, i, s.frames)
			return appendDigestKey(key, rowRegion, &d), pagemap.AppendRun(value, whole(i*s.frameMul%s.frames+1)), &d
		}},
		{(s.frames + framesPerSegment - 1) / framesPerSegment, func(key, value []byte, i uint64) ([]byte, []byte, *digest.Digest) {
			n := min(framesPerSegment, s.frames-i*framesPerSegment)
			row := segmentRow{frames: n, stored: n * syntheticStored, live: n * syntheticStored, fast: n * syntheticStored}
			return appendSegmentKey(key, replication.SegmentID(syntheticSegment+i)), appendSegmentRow(value, &row), nil
		}},
	}
}

// frame returns the row of frame i+1.
func (s *synthetic) frame(i uint64) *frameRow {
	f := &frameRow{frame: frame{pages: pagemap.RegionPages, present: allBlocks(pagemap.RegionPages), codec: codecS2,
		stored: syntheticStored, crcs: []uint32{uint32(mix(i))}}}
	f.at = replication.Position{Segment: replication.SegmentID(syntheticSegment + i/framesPerSegment),
		Offset: uint32(i % framesPerSegment * syntheticStored)}
	for b := range f.counts {
		f.counts[b] = 1
	}
	return f
}

// count adds the content to the state of an empty store.
func (s *synthetic) count(st *state) {
	st.nextFrame, st.nextVolume = pagemap.FrameID(s.frames+1), s.volume+1
	raw, stored := s.frames*pagemap.RegionBytes, s.frames*syntheticStored
	for _, n := range []*uint64{&st.LogicalBytes, &st.RawBytes, &st.UniqueBytes, &st.MappedBytes} {
		*n += raw
	}
	for _, n := range []*uint64{&st.StoredBytes, &st.LiveBytes} {
		*n += stored
	}
	st.Frames += s.frames
	st.Chunks += s.chunks()
}

// Synthesize makes the index of a store that is closed and holds nothing say that the store holds at least so many
// chunks of 4 KiB, in one volume that is found nowhere else, so that what a full store costs can be measured without
// filling one. Some 34 bytes of disk a chunk, and a second for each million.
//
// What the index tells of cannot be read: the log does not hold it. The store is good for nothing but measuring, and an
// index that is made anew from the log does not tell of it.
func Synthesize(o Options, chunks uint64) (err error) {
	if o, err = o.withDefaults(); err != nil {
		return err
	}
	if o.FS != vfs.Default {
		return errors.New("an index in memory cannot be filled")
	}
	p := pebbleOptions(&o, nil, func(error) {}, func(error) {})
	p.EnsureDefaults() // of what tables are written with
	p.ErrorIfNotExists = true
	db, err := pebble.Open(o.Dir, p)
	if err != nil {
		return fmt.Errorf("index %s: %w", o.Dir, err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	st, found, err := readState(db)
	if err != nil || !found || st.nextFrame != 1 {
		return errors.Join(err, fmt.Errorf("index %s is not that of a store without content", o.Dir))
	}
	s := newSynthetic(st.nextVolume, chunks)
	s.count(&st)
	names := &nameSet{}
	names.layers.Store(&[]*layer{newLayer((st.Chunks + s.frames) / 4 * 5)})
	if err := s.ingest(db, o.Dir+".tables", p.MakeWriterOptions(6, db.TableFormat()), names); err != nil {
		return err
	}
	b := db.NewBatch()
	volume := volumeRow{gen: 1, written: 1}
	err = errors.Join(b.Set(stateKey, appendState(nil, &st), nil),
		b.Set(appendVolumeKey(nil, s.volume), appendVolumeRow(nil, &volume), nil))
	if err = errors.Join(err, b.Commit(pebble.NoSync), db.Flush()); err != nil {
		return err
	}
	return writeWhole(o.FS, summaryPath(&o), func(w io.Writer) error { return names.write(w, st.store, st.applied) })
}

// ingest puts all rows into the index and adds their names. The tables are as a compaction into the lowest level would
// have written them, and lie in dir until they are part of the index.
func (s *synthetic) ingest(db *pebble.DB, dir string, o sstable.WriterOptions, names *nameSet) (err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	paths, err := s.tables(dir, o, names)
	if err != nil {
		return err
	}
	return db.Ingest(context.Background(), paths)
}

// tables writes all rows into files, on all cores.
func (s *synthetic) tables(dir string, o sstable.WriterOptions, names *nameSet) (paths []string, err error) {
	type part struct {
		table    syntheticTable
		from, to uint64
	}
	var parts []part
	for _, t := range s.kinds() {
		for from := uint64(0); from < t.rows; from += rowsPerTable {
			parts = append(parts, part{t, from, min(from+rowsPerTable, t.rows)})
		}
	}
	var wg sync.WaitGroup
	var next atomic.Int64
	errs := make([]error, runtime.NumCPU())
	paths = make([]string, len(parts))
	for w := range errs {
		wg.Go(func() {
			for errs[w] == nil {
				i := int(next.Add(1)) - 1
				if i >= len(parts) {
					return
				}
				paths[i] = filepath.Join(dir, fmt.Sprintf("%06d.sst", i))
				errs[w] = writeTable(paths[i], o, parts[i].table, parts[i].from, parts[i].to, names)
			}
		})
	}
	wg.Wait()
	return paths, errors.Join(errs...)
}

func writeTable(path string, o sstable.WriterOptions, t syntheticTable, from, to uint64, names *nameSet) error {
	f, err := vfs.Default.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	w := sstable.NewWriter(objstorageprovider.NewFileWritable(f), o)
	var key, value []byte
	for i := from; i < to; i++ {
		var d *digest.Digest
		key, value, d = t.row(key[:0], value[:0], i)
		if d != nil {
			names.add(d)
		}
		if err := w.Set(key, value); err != nil {
			return errors.Join(err, w.Close())
		}
	}
	return w.Close()
}
