package bench

import (
	"context"
	"encoding/binary"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"

	"pagevault/internal/digest"
)

// A scheme is a way to store images: what is recognised when it comes again, and what is compressed together.
type scheme struct {
	chunkBytes int // fingerprinted and stored once
	frameBytes int // compressed as one: new chunks in the order in which they came
	// across: a frame is filled up by the next request. Otherwise the last frame of a request ends with it, since the
	// request is answered when what it brought is stored.
	across bool
}

func (s scheme) String() string {
	text := fmt.Sprintf("%s in %s", size(s.chunkBytes), size(s.frameBytes))
	if s.across {
		text += ", filled up"
	}
	return text
}

// size shows a power of two.
func size(n int) string {
	if n >= 1<<20 {
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d KiB", n>>10)
}

// schemes are simulated, in the order of the report.
var schemes = []scheme{
	{chunkBytes: 4 << 10, frameBytes: 4 << 10},
	{chunkBytes: 16 << 10, frameBytes: 16 << 10},
	{chunkBytes: 64 << 10, frameBytes: 64 << 10},
	{chunkBytes: 4 << 20, frameBytes: 4 << 20},
	{chunkBytes: 4 << 10, frameBytes: 64 << 10},
	{chunkBytes: 4 << 10, frameBytes: 64 << 10, across: true},
	{chunkBytes: 4 << 10, frameBytes: 256 << 10},
}

// codec compresses a frame and returns how many bytes that gives. It is used by one goroutine.
type codec func(frame []byte) int

// codecNames are the codecs of every scheme, in the order of newCodecs.
var codecNames = []string{"S2", "zstd-1", "zstd-3"}

// newCodecs returns the codecs with buffers of their own.
func newCodecs() []codec {
	var buf []byte
	codecs := []codec{func(frame []byte) int {
		buf = s2.Encode(buf[:cap(buf)], frame)
		return len(buf)
	}}
	for _, level := range []zstd.EncoderLevel{zstd.SpeedFastest, zstd.SpeedDefault} {
		e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(level), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false))
		if err != nil {
			panic(err) // the options are constants
		}
		codecs = append(codecs, func(frame []byte) int {
			buf = e.EncodeAll(frame, buf[:0])
			return len(buf)
		})
	}
	return codecs
}

// gainMin is what compression must save for its result to be kept, as a part of the frame: reading costs less without.
const gainMin = 0.05

// The model of an index, for comparing schemes: a name of 20 bytes and a place for each chunk, a place, a checksum and
// counts for each frame, with what a sorted table adds. What images refer to by pointers comes on top, in all schemes.
const (
	chunkRowBytes = 20 + 10
	frameRowBytes = 8 + 32
)

// SchemeResult is what a scheme makes of the images.
type SchemeResult struct {
	Scheme      string `json:"scheme"`
	UniqueBytes int64  `json:"uniqueBytes"` // of chunks that are stored, uncompressed
	Chunks      int64  `json:"chunks"`
	Frames      int64  `json:"frames"`
	// IndexBytesPerTiB is the size of a model of the index, for one TiB of unique data.
	IndexBytesPerTiB int64 `json:"indexBytesPerTiB"`
	// StoredBytes by codec: all frames.
	StoredBytes map[string]int64 `json:"storedBytes"`
	// LastStoredBytes by codec: what the last image added.
	LastStoredBytes map[string]int64 `json:"lastStoredBytes"`
}

// Simulate reads the images one after the other, as far as they are not zeros, and returns what every scheme would store.
// It sets DataBytes of images. Memory: some 20 bytes for each distinct 4 KiB, and a bounded number of frames.
func Simulate(ctx context.Context, images []Image, reading func(Image)) ([]SchemeResult, error) {
	sim := newSimulation()
	defer sim.stop()
	for i := range images {
		if reading != nil {
			reading(images[i])
		}
		sim.mark()
		images[i].DataBytes = 0
		err := pieces(ctx, images[i].Path, func(_ int64, p []byte) error {
			images[i].DataBytes += dataBytes(p)
			sim.add(p)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return sim.results(), nil
}

// simulation runs schemes over a stream of requests. It starts a goroutine for each core that compresses frames, until
// stop.
type simulation struct {
	dedups []*dedup
	all    []*framing
	jobs   chan job
	busy   sync.WaitGroup // jobs
	ended  sync.WaitGroup // goroutines
	frames sync.Pool      // of *[]byte
}

// job is a frame to be compressed.
type job struct {
	framing *framing
	frame   *[]byte
}

// dedup recognises chunks of one size.
type dedup struct {
	chunkBytes int
	hasher     *digest.Hasher
	seen       map[uint64]struct{} // the first 8 bytes of names: among 10^9 chunks 3 pairs in 100 runs would collide
	unique     int64
	framings   []*framing
}

// framing packs the new chunks of a scheme into frames.
type framing struct {
	scheme scheme
	dedup  *dedup
	frame  *[]byte // being filled; nil: none
	frames int64
	stored []atomic.Int64 // by codec
	before []int64        // stored when the last image began
}

func newSimulation() *simulation {
	s := &simulation{jobs: make(chan job, 2*runtime.NumCPU())}
	s.frames.New = func() any { return new([]byte) }
	for _, sc := range schemes {
		i := slices.IndexFunc(s.dedups, func(d *dedup) bool { return d.chunkBytes == sc.chunkBytes })
		if i < 0 {
			i = len(s.dedups)
			s.dedups = append(s.dedups, &dedup{chunkBytes: sc.chunkBytes, hasher: digest.NewHasher(digest.Key{}),
				seen: make(map[uint64]struct{})})
		}
		d := s.dedups[i]
		f := &framing{scheme: sc, dedup: d, stored: make([]atomic.Int64, len(codecNames)), before: make([]int64, len(codecNames))}
		d.framings = append(d.framings, f)
		s.all = append(s.all, f)
	}
	for range runtime.NumCPU() {
		s.ended.Go(s.compress)
	}
	return s
}

func (s *simulation) stop() {
	close(s.jobs)
	s.ended.Wait()
}

// compress adds up what the codecs make of frames.
func (s *simulation) compress() {
	codecs := newCodecs()
	for j := range s.jobs {
		raw := len(*j.frame)
		for i, c := range codecs {
			n := c(*j.frame)
			if float64(n) > float64(raw)*(1-gainMin) {
				n = raw
			}
			j.framing.stored[i].Add(int64(n))
		}
		*j.frame = (*j.frame)[:0]
		s.frames.Put(j.frame)
		s.busy.Done()
	}
}

// add takes one request.
func (s *simulation) add(p []byte) {
	for _, d := range s.dedups {
		for chunk := range slices.Chunk(p, d.chunkBytes) {
			if !d.isNew(chunk) {
				continue
			}
			d.unique += int64(len(chunk))
			for _, f := range d.framings {
				s.pack(f, chunk)
			}
		}
		for _, f := range d.framings {
			if !f.scheme.across {
				s.finish(f)
			}
		}
	}
}

// isNew reports whether chunk must be stored, and remembers it. Zeros are never stored.
func (d *dedup) isNew(chunk []byte) bool {
	if allZero(chunk) {
		return false
	}
	var name digest.Digest
	d.hasher.Sum(&name, chunk)
	key := binary.LittleEndian.Uint64(name[:])
	if _, ok := d.seen[key]; ok {
		return false
	}
	d.seen[key] = struct{}{}
	return true
}

// pack puts a chunk into the open frame of f.
func (s *simulation) pack(f *framing, chunk []byte) {
	if f.frame == nil {
		f.frame = s.frames.Get().(*[]byte)
	}
	*f.frame = append(*f.frame, chunk...)
	if len(*f.frame) >= f.scheme.frameBytes {
		s.finish(f)
	}
}

// finish closes the open frame of f, if there is one.
func (s *simulation) finish(f *framing) {
	if f.frame == nil {
		return
	}
	f.frames++
	s.busy.Add(1)
	s.jobs <- job{f, f.frame}
	f.frame = nil
}

// settle closes all frames and waits until they are compressed.
func (s *simulation) settle() {
	for _, f := range s.all {
		s.finish(f)
	}
	s.busy.Wait()
}

// mark remembers what is stored before the next image.
func (s *simulation) mark() {
	s.settle()
	for _, f := range s.all {
		for i := range f.stored {
			f.before[i] = f.stored[i].Load()
		}
	}
}

func (s *simulation) results() []SchemeResult {
	s.settle()
	var out []SchemeResult
	for _, f := range s.all {
		chunks := int64(len(f.dedup.seen))
		r := SchemeResult{Scheme: f.scheme.String(), UniqueBytes: f.dedup.unique, Chunks: chunks, Frames: f.frames,
			StoredBytes: map[string]int64{}, LastStoredBytes: map[string]int64{}}
		index := float64(chunks*chunkRowBytes + f.frames*frameRowBytes)
		r.IndexBytesPerTiB = int64(per(index*(1<<40), float64(f.dedup.unique)))
		for i, name := range codecNames {
			r.StoredBytes[name] = f.stored[i].Load()
			r.LastStoredBytes[name] = f.stored[i].Load() - f.before[i]
		}
		out = append(out, r)
	}
	return out
}
