package pagestore

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"pagevault/internal/digest"
	"pagevault/pagestore/pagemap"
	"pagevault/replication"
)

// Rows of the index. The first byte of a key says what it is; numbers in keys are big-endian so that keys sort by them,
// numbers in values are little-endian, uvarints in their fewest bytes.
//
//	"S"                               state: format, store, applied LSN, next ids, counters; in every batch
//	"G"                               the Meta of the genesis record
//	"f" frame u64                     a frame: where it is stored and how often each block is used; see frameRow
//	"b" frame u64 · name [20]         empty: the region of this name has its first run that is not zeros in the frame
//	"c" name [20]                     where a chunk is stored: frame uvarint · page of the frame u8
//	"r" name [20]                     what fills a region: its runs, as in the page map, covering all 128 pages
//	"s" segment u32                   what lies in a segment of the log; see segmentRow
//	"v" volume u64                    a volume; see volumeRow
//	"g" volume u64 · generation u32   empty: a frozen generation of the volume that can be read
//	"m" volume u64 · region u64 · ^generation u32
//	                                  page map of a region as the generation left it; newest first
//	"h" volume u64 · region u64       empty: the newest page map entry of the region has more than foldRuns runs,
//	                                  and something was written there since it was folded
//	"d" volume u64 · generation u32 · region u64
//	                                  bitmap [16] of the pages that were written or cleared in the generation; kept once
//	                                  the volume has a frozen generation to compare with
//	"p" volume u64                    a pass over the volume's page map is due: LSN uvarint of the record that made it so
//	"x" session u32                   salt [32] of a sealing session
//	"u" key                           a row of the caller
const (
	rowState      = 'S'
	rowHeader     = 'G'
	rowFrame      = 'f'
	rowBack       = 'b'
	rowChunk      = 'c'
	rowRegion     = 'r'
	rowSegment    = 's'
	rowVolume     = 'v'
	rowGeneration = 'g'
	rowMap        = 'm'
	rowScattered  = 'h'
	rowChange     = 'd'
	rowPass       = 'p'
	rowSession    = 'x'
	rowUser       = 'u'
)

// indexFormat is the version of the rows. An index of another version is not read; it can be rebuilt from the log.
const indexFormat = 2

// foldRuns is the number of runs beyond which a page map entry is worth being stored together anew: a region is read
// with that many reads.
const foldRuns = 24

var (
	stateKey  = []byte{rowState}
	headerKey = []byte{rowHeader}
)

var errRowCut = errors.New("row has the wrong length")

func appendFrameKey(dst []byte, id pagemap.FrameID) []byte {
	return binary.BigEndian.AppendUint64(append(dst, rowFrame), uint64(id))
}

// appendBackKey appends the key of a back row; a nil name gives what all of the frame begin with.
func appendBackKey(dst []byte, id pagemap.FrameID, name *digest.Digest) []byte {
	dst = binary.BigEndian.AppendUint64(append(dst, rowBack), uint64(id))
	if name != nil {
		dst = append(dst, name[:]...)
	}
	return dst
}

func decodeBackKey(k []byte) (id pagemap.FrameID, name digest.Digest, err error) {
	if len(k) != 1+8+digest.Size || k[0] != rowBack {
		return 0, name, fmt.Errorf("back key %x", k)
	}
	copy(name[:], k[9:])
	return pagemap.FrameID(binary.BigEndian.Uint64(k[1:])), name, nil
}

func appendDigestKey(dst []byte, row byte, d *digest.Digest) []byte {
	return append(append(dst, row), d[:]...)
}

func appendSegmentKey(dst []byte, id replication.SegmentID) []byte {
	return binary.BigEndian.AppendUint32(append(dst, rowSegment), uint32(id))
}

func decodeSegmentKey(k []byte) (replication.SegmentID, error) {
	if len(k) != 1+4 || k[0] != rowSegment {
		return 0, fmt.Errorf("segment key %x", k)
	}
	return replication.SegmentID(binary.BigEndian.Uint32(k[1:])), nil
}

func appendVolumeKey(dst []byte, v VolumeID) []byte { return appendVolumePrefix(dst, rowVolume, v) }

func appendPassKey(dst []byte, v VolumeID) []byte { return appendVolumePrefix(dst, rowPass, v) }

func decodePassKey(k []byte) (VolumeID, error) {
	if len(k) != 1+8 || k[0] != rowPass {
		return 0, fmt.Errorf("pass key %x", k)
	}
	return VolumeID(binary.BigEndian.Uint64(k[1:])), nil
}

func appendGenerationKey(dst []byte, v VolumeID, g Gen) []byte {
	return binary.BigEndian.AppendUint32(appendVolumePrefix(dst, rowGeneration, v), uint32(g))
}

func decodeGenerationKey(k []byte) (VolumeID, Gen, error) {
	if len(k) != 1+8+4 || k[0] != rowGeneration {
		return 0, 0, fmt.Errorf("generation key %x", k)
	}
	return VolumeID(binary.BigEndian.Uint64(k[1:])), Gen(binary.BigEndian.Uint32(k[9:])), nil
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

func appendScatteredKey(dst []byte, v VolumeID, region uint64) []byte {
	return binary.BigEndian.AppendUint64(appendVolumePrefix(dst, rowScattered, v), region)
}

func decodeScatteredKey(k []byte) (v VolumeID, region uint64, err error) {
	if len(k) != 1+8+8 || k[0] != rowScattered {
		return 0, 0, fmt.Errorf("scattered key %x", k)
	}
	return VolumeID(binary.BigEndian.Uint64(k[1:])), binary.BigEndian.Uint64(k[9:]), nil
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

func appendSessionKey(dst []byte, session uint32) []byte {
	return binary.BigEndian.AppendUint32(append(dst, rowSession), session)
}

func decodeSessionRow(p []byte) (salt [32]byte, err error) {
	if len(p) != len(salt) {
		return salt, errRowCut
	}
	return [32]byte(p), nil
}

// appendVolumePrefix appends what all rows of one kind of volume v begin with. The prefix of v+1 ends their range.
func appendVolumePrefix(dst []byte, row byte, v VolumeID) []byte {
	return binary.BigEndian.AppendUint64(append(dst, row), uint64(v))
}

func appendUserKey(dst, key []byte) []byte { return append(append(dst, rowUser), key...) }

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

// uvarints decodes exactly len(out) numbers from the start of p and returns what follows them.
func uvarints(p []byte, out ...*uint64) (rest []byte, err error) {
	for _, v := range out {
		var n int
		if *v, n = pagemap.Uvarint(p); n == 0 {
			return nil, errRowCut
		}
		p = p[n:]
	}
	return p, nil
}

func appendPassRow(dst []byte, due replication.LSN) []byte {
	return binary.AppendUvarint(dst, uint64(due))
}

func decodePassRow(p []byte) (due replication.LSN, err error) {
	var n uint64
	if p, err = uvarints(p, &n); err != nil || len(p) != 0 {
		return 0, errRowCut
	}
	return replication.LSN(n), nil
}

// segmentRow is what lies in a segment of the log that frame rows point to:
//
//	frames uvarint (≥ 1) · stored uvarint · live uvarint · fast uvarint
//
// There is no row where no frame lies.
type segmentRow struct {
	frames uint64
	stored uint64 // bytes of these frames
	live   uint64 // of these, the part of the blocks that something uses; see frameRow.live
	fast   uint64 // bytes of those that could be stored smaller; see frameRow.fast
}

func appendSegmentRow(dst []byte, s *segmentRow) []byte {
	for _, n := range [...]uint64{s.frames, s.stored, s.live, s.fast} {
		dst = binary.AppendUvarint(dst, n)
	}
	return dst
}

func decodeSegmentRow(p []byte) (s segmentRow, err error) {
	if p, err = uvarints(p, &s.frames, &s.stored, &s.live, &s.fast); err != nil || len(p) != 0 {
		return segmentRow{}, errRowCut
	}
	if s.frames == 0 || s.live > s.stored || s.fast > s.stored {
		return segmentRow{}, fmt.Errorf("segment row: %d frames of %d bytes, %d live, %d fast", s.frames, s.stored, s.live, s.fast)
	}
	return s, nil
}

// readSegmentRow reads what lies in a segment; nothing if there is no row.
func readSegmentRow(from reader, id replication.SegmentID) (s segmentRow, err error) {
	value, closer, err := from.Get(appendSegmentKey(nil, id))
	if errors.Is(err, pebble.ErrNotFound) {
		return s, nil
	}
	if err != nil {
		return s, fmt.Errorf("index: segment %d: %w", id, err)
	}
	defer closer.Close()
	if s, err = decodeSegmentRow(value); err != nil {
		err = fmt.Errorf("%w: index: segment %d: %w", ErrCorrupt, id, err)
	}
	return s, err
}
