package pagestore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"pagevault/internal/digest"
	"pagevault/pagestore/pagemap"
	"pagevault/replication"
)

// Rows of the index. The first byte of a key says what it is; numbers in keys are big-endian so that keys sort by them,
// numbers in values are little-endian, uvarints in their fewest bytes.
//
//	"S"                               state: format, store, applied LSN, next ids, counters; in every batch
//	"G"                               the Meta of the genesis record
//	"f" frame u64                     where a frame is stored
//	"c" digest [32]                   where a chunk is stored: frame uvarint · page of the frame u8
//	"r" digest [32]                   what fills a region: its runs, as in the page map, covering all 128 pages
//	"v" volume u64                    a volume
//	"m" volume u64 · region u64 · ^generation u32
//	                                  page map of a region as the generation left it; newest first
//	"d" volume u64 · generation u32 · region u64
//	                                  bitmap [16] of the pages that were written or cleared in the generation; kept once
//	                                  the volume has a frozen generation to compare with
//	"u" key                           a row of the caller
const (
	rowState  = 'S'
	rowHeader = 'G'
	rowFrame  = 'f'
	rowChunk  = 'c'
	rowRegion = 'r'
	rowVolume = 'v'
	rowMap    = 'm'
	rowChange = 'd'
	rowUser   = 'u'
)

// indexFormat is the version of the rows. An index of another version is not read; it can be rebuilt from the log.
const indexFormat = 1

var (
	stateKey  = []byte{rowState}
	headerKey = []byte{rowHeader}
)

func appendFrameKey(dst []byte, id pagemap.FrameID) []byte {
	return binary.BigEndian.AppendUint64(append(dst, rowFrame), uint64(id))
}

func appendDigestKey(dst []byte, row byte, d *digest.Digest) []byte {
	return append(append(dst, row), d[:]...)
}

func appendVolumeKey(dst []byte, v VolumeID) []byte {
	return binary.BigEndian.AppendUint64(append(dst, rowVolume), uint64(v))
}

func appendMapKey(dst []byte, v VolumeID, region uint64, g Gen) []byte {
	dst = binary.BigEndian.AppendUint64(append(dst, rowMap), uint64(v))
	dst = binary.BigEndian.AppendUint64(dst, region)
	return binary.BigEndian.AppendUint32(dst, ^uint32(g))
}

// mapKeyBytes is the length of a map key.
const mapKeyBytes = 1 + 8 + 8 + 4

func decodeMapKey(k []byte) (region uint64, g Gen, err error) {
	if len(k) != mapKeyBytes || k[0] != rowMap {
		return 0, 0, fmt.Errorf("page map key %x", k)
	}
	return binary.BigEndian.Uint64(k[9:]), Gen(^binary.BigEndian.Uint32(k[17:])), nil
}

func appendChangeKey(dst []byte, v VolumeID, g Gen, region uint64) []byte {
	dst = binary.BigEndian.AppendUint64(append(dst, rowChange), uint64(v))
	dst = binary.BigEndian.AppendUint32(dst, uint32(g))
	return binary.BigEndian.AppendUint64(dst, region)
}

func decodeChangeKey(k []byte) (g Gen, region uint64, err error) {
	if len(k) != 1+8+4+8 || k[0] != rowChange {
		return 0, 0, fmt.Errorf("change key %x", k)
	}
	return Gen(binary.BigEndian.Uint32(k[9:])), binary.BigEndian.Uint64(k[13:]), nil
}

// appendVolumePrefix appends what all rows of one kind of volume v begin with. The prefix of v+1 ends their range.
func appendVolumePrefix(dst []byte, row byte, v VolumeID) []byte {
	return binary.BigEndian.AppendUint64(append(dst, row), uint64(v))
}

func appendUserKey(dst, key []byte) []byte { return append(append(dst, rowUser), key...) }

// A frame row:
//
//	segment uvarint · offset u32 of the first stored byte in the segment · stored uvarint, bytes · codec u8
//	· pages u8 (1..128) · one CRC32C u32 for each block
type frameRow struct {
	frame
	at replication.Position
}

func appendFrameRow(dst []byte, f *frame, at replication.Position) []byte {
	dst = binary.AppendUvarint(dst, uint64(at.Segment))
	dst = binary.LittleEndian.AppendUint32(dst, at.Offset)
	dst = binary.AppendUvarint(dst, uint64(f.stored))
	dst = append(dst, f.codec, f.pages)
	for _, c := range f.crcs {
		dst = binary.LittleEndian.AppendUint32(dst, c)
	}
	return dst
}

var errRowCut = errors.New("row has the wrong length")

// decodeFrameRow decodes p into f, reusing f.crcs. It does not set f.id.
func decodeFrameRow(f *frameRow, p []byte) error {
	segment, n := pagemap.Uvarint(p)
	if n == 0 || segment > math.MaxUint32 || len(p) < n+4 {
		return errRowCut
	}
	f.at = replication.Position{Segment: replication.SegmentID(segment), Offset: binary.LittleEndian.Uint32(p[n:])}
	p = p[n+4:]
	stored, n := pagemap.Uvarint(p)
	if n == 0 || stored > pagemap.RegionBytes || len(p) < n+2 {
		return errRowCut
	}
	f.stored, f.codec, f.pages, p = uint32(stored), p[n], p[n+1], p[n+2:]
	if f.codec != codecRaw {
		return fmt.Errorf("codec %d is not known to this build", f.codec)
	}
	if f.pages == 0 || f.pages > pagemap.RegionPages || f.stored != uint32(f.pages)*PageSize || len(p) != 4*blocks(int(f.pages)) {
		return errRowCut
	}
	f.crcs = f.crcs[:0]
	for ; len(p) > 0; p = p[4:] {
		f.crcs = append(f.crcs, binary.LittleEndian.Uint32(p))
	}
	return nil
}

// chunkRef says where a chunk is stored.
type chunkRef struct {
	frame pagemap.FrameID
	off   uint8
}

func appendChunkRow(dst []byte, c chunkRef) []byte {
	return append(binary.AppendUvarint(dst, uint64(c.frame)), c.off)
}

func decodeChunkRow(p []byte) (c chunkRef, err error) {
	f, n := pagemap.Uvarint(p)
	if n == 0 || len(p) != n+1 || f == 0 || int(p[n])+pagemap.ChunkPages > pagemap.RegionPages {
		return c, errRowCut
	}
	return chunkRef{pagemap.FrameID(f), p[n]}, nil
}

// erasure is a clear or a truncation kept as one row instead of being carried out region by region. An entry written in
// generation gen or before loses the pages [start, end) when it is read at a generation after gen. Reads at gen and
// before, so those of every generation frozen by then, are untouched.
type erasure struct {
	gen   Gen
	pages Range
}

// volumeRow is what is known of a volume beside its pages:
//
//	gen uvarint · frozen uvarint · written uvarint · erasures uvarint
//	· erasures × (gen uvarint · start page uvarint · end page uvarint)
//
// Erasures are sorted by gen and start; those of one gen neither overlap nor touch.
type volumeRow struct {
	gen      Gen // the current one
	frozen   Gen // the last that Freeze ended, 0: none. No read looks at a generation in (frozen, gen)
	written  Gen // the last in which a page map entry was stored, 0: none
	erasures []erasure
}

func appendVolumeRow(dst []byte, v *volumeRow) []byte {
	for _, n := range [...]uint64{uint64(v.gen), uint64(v.frozen), uint64(v.written), uint64(len(v.erasures))} {
		dst = binary.AppendUvarint(dst, n)
	}
	for _, e := range v.erasures {
		for _, n := range [...]uint64{uint64(e.gen), uint64(e.pages.Start), uint64(e.pages.End)} {
			dst = binary.AppendUvarint(dst, n)
		}
	}
	return dst
}

func decodeVolumeRow(v *volumeRow, p []byte) error {
	var head [4]uint64
	for i := range head {
		var n int
		if head[i], n = pagemap.Uvarint(p); n == 0 {
			return errRowCut
		}
		p = p[n:]
	}
	if head[0] == 0 || head[0] > math.MaxUint32 || head[1] >= head[0] || head[2] > head[0] {
		return fmt.Errorf("volume row: generation %d, frozen %d, written %d, %d erasures", head[0], head[1], head[2], head[3])
	}
	v.gen, v.frozen, v.written, v.erasures = Gen(head[0]), Gen(head[1]), Gen(head[2]), v.erasures[:0]
	for range head[3] {
		var nums [3]uint64
		for i := range nums {
			var n int
			if nums[i], n = pagemap.Uvarint(p); n == 0 {
				return errRowCut
			}
			p = p[n:]
		}
		if nums[0] >= head[0] || nums[1] >= nums[2] || nums[2] > uint64(maxPages) {
			return fmt.Errorf("volume row: erasure of [%d,%d) in generation %d of %d", nums[1], nums[2], nums[0], v.gen)
		}
		v.erasures = append(v.erasures, erasure{Gen(nums[0]), Range{PageNo(nums[1]), PageNo(nums[2])}})
	}
	if len(p) != 0 {
		return errRowCut
	}
	return nil
}

// state is the row that every batch writes: what the index has seen.
//
//	format u16 · store [16] · applied u64 · next frame u64 · next volume u64 · counters 7 × u64, in the order of Counters
type state struct {
	store      [16]byte
	applied    replication.LSN
	nextFrame  pagemap.FrameID
	nextVolume VolumeID
	Counters
}

// Counters are exact totals over the life of a store, one copy of everything. Every byte of a write is either a zero
// byte, a duplicate byte or a stored byte.
type Counters struct {
	LogicalBytes   uint64 // written by the callers
	ZeroBytes      uint64 // of these, in chunks and pieces of nothing but zeros, which store nothing
	DuplicateBytes uint64 // of these, already stored when they were written, by an earlier write or the same
	StoredBytes    uint64 // bytes of frames
	Frames         uint64
	Chunks         uint64 // fingerprinted chunks stored
	Records        uint64 // of the log, the store's header included
}

func (c *Counters) fields() [7]*uint64 {
	return [...]*uint64{&c.LogicalBytes, &c.ZeroBytes, &c.DuplicateBytes, &c.StoredBytes, &c.Frames, &c.Chunks, &c.Records}
}

func appendState(dst []byte, s *state) []byte {
	dst = binary.LittleEndian.AppendUint16(dst, indexFormat)
	dst = append(dst, s.store[:]...)
	for _, n := range [...]uint64{uint64(s.applied), uint64(s.nextFrame), uint64(s.nextVolume)} {
		dst = binary.LittleEndian.AppendUint64(dst, n)
	}
	for _, n := range s.Counters.fields() {
		dst = binary.LittleEndian.AppendUint64(dst, *n)
	}
	return dst
}

func decodeState(p []byte) (s state, err error) {
	if len(p) < 2 {
		return s, errRowCut
	}
	if v := binary.LittleEndian.Uint16(p); v != indexFormat {
		return s, fmt.Errorf("the index has format %d, this build reads format %d", v, indexFormat)
	}
	if len(p) != 2+16+10*8 {
		return s, errRowCut
	}
	copy(s.store[:], p[2:])
	p = p[18:]
	next := func() (n uint64) {
		n, p = binary.LittleEndian.Uint64(p), p[8:]
		return n
	}
	s.applied, s.nextFrame, s.nextVolume = replication.LSN(next()), pagemap.FrameID(next()), VolumeID(next())
	for _, n := range s.Counters.fields() {
		*n = next()
	}
	return s, nil
}
