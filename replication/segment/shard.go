package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// A sealed segment may be kept as the shards of a Reed-Solomon code instead of as whole copies: K shards hold its bytes, M
// more hold parity, each on a member of its own, and any K of them give all bytes again. A shard is a file:
//
//	frame     128 bytes, see Shard
//	payload   S bytes: shard i < K holds the bytes [i·S, (i+1)·S) of the segment file, with zeros behind its end; the others
//	          hold parity, byte by byte: byte x of every shard is a word of the code
//	table     for each 64 KiB of payload (the last may be shorter) its CRC-32C, 4 bytes each
//	          4 bytes: CRC-32C of the bytes [0, 60) and [64, 124) of the frame and of the table
//
// The bytes of the segment lie in few long runs, so that a read of it is nearly always one read of one shard. The checksum
// at the end covers the frame too, so that the table is valid for this shard of this segment only; not the checksums in the
// frame, since the checksum of bytes and their checksum is always the same.

// Sizes in bytes of the parts of a shard file.
const (
	ShardFrameBytes = 128
	// ShardBlockBytes is how much of the payload has one checksum: 64 KiB, since a degraded read of 4 KiB has to read that
	// much of K shards, and a table of 2,048 rows for half of a segment of 256 MiB is read at once.
	ShardBlockBytes = 64 << 10
	// shardAlign is what S is a multiple of: the code works on words of 64 bytes.
	shardAlign = 64
)

// ShardsMax bounds K+M: as many members as a log can have.
const ShardsMax = 64

var shardMagic = [8]byte{'P', 'V', 'S', 'H', 'A', 'R', 'D', 'S'}

// ShardName returns the file name of shard i of a segment.
func ShardName(id ID, i int) string { return fmt.Sprintf("%010d.rs%02d", uint32(id), i) }

// ShardTempName returns the name under which a shard is written before it is renamed to ShardName.
func ShardTempName(id ID, i int) string { return ShardName(id, i) + TempSuffix }

// ParseShardName is the inverse of ShardName. ok is false for every other name.
func ParseShardName(name string) (id ID, i int, ok bool) {
	digits, ext, _ := strings.Cut(name, ".")
	if len(digits) != 10 || len(ext) != 4 || ext[:2] != "rs" || strings.Trim(digits+ext[2:], "0123456789") != "" {
		return 0, 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	i, err2 := strconv.Atoi(ext[2:])
	if err != nil || err2 != nil || n == 0 || i >= ShardsMax {
		return 0, 0, false
	}
	return ID(n), i, true
}

// ParseShardTempName is the inverse of ShardTempName. ok is false for every other name.
func ParseShardTempName(name string) (id ID, i int, ok bool) {
	name, ok = strings.CutSuffix(name, TempSuffix)
	if !ok {
		return 0, 0, false
	}
	return ParseShardName(name)
}

// Shard is what the frame of a shard file says: which shard of which segment it is, and of the segment what a log must know
// to open it without reading more, its header and its trailer. The frames of all shards of a segment are equal but for the
// index.
//
//	 0  8  magic "PVSHARDS"
//	 8  4  format version
//	12  4  segment id
//	16 16  store id
//	32  1  K
//	33  1  M
//	34  1  index, 0 … K+M−1
//	35  1  zero
//	36  4  S, the bytes of payload
//	40  8  sum of the lengths of Data in the segment
//	48  8  time of creation of the segment, as in its header
//	56  4  zero
//	60  4  CRC-32C of the 60 bytes before
//	64 64  the trailer of the segment, as it stands in the segment
type Shard struct {
	K, M, Index int
	Data        int64
	Created     int64
	Trailer     Trailer
}

// ShardBytes returns S: how many bytes of payload each of K shards of a segment of the given length has.
func ShardBytes(k int, length int64) int64 {
	n := (length + int64(k) - 1) / int64(k)
	return (n + shardAlign - 1) &^ (shardAlign - 1)
}

// Bytes returns the bytes of payload.
func (s *Shard) Bytes() int64 { return ShardBytes(s.K, int64(s.Trailer.Length)) }

// Blocks returns the number of blocks of payload that have a checksum each.
func (s *Shard) Blocks() int {
	return int((s.Bytes() + ShardBlockBytes - 1) / ShardBlockBytes)
}

// FileBytes returns the length of the file.
func (s *Shard) FileBytes() int64 {
	return ShardFrameBytes + s.Bytes() + int64(s.Blocks())*4 + 4
}

// Header returns the header of the segment.
func (s *Shard) Header() Header {
	return Header{Store: s.Trailer.Store, ID: s.Trailer.ID, First: s.Trailer.First, Created: s.Created}
}

// SameSet reports whether s and o are shards, perhaps the same, of one segment laid out in the same way, so that their
// payloads belong together.
func (s *Shard) SameSet(o *Shard) bool {
	a := *s
	a.Index = o.Index
	return a == *o
}

// Append appends the encoded frame to dst.
func (s *Shard) Append(dst []byte) []byte {
	var b [ShardFrameBytes / 2]byte
	binary.LittleEndian.PutUint32(b[12:], uint32(s.Trailer.ID))
	copy(b[16:], s.Trailer.Store[:])
	b[32], b[33], b[34] = uint8(s.K), uint8(s.M), uint8(s.Index)
	binary.LittleEndian.PutUint32(b[36:], uint32(s.Bytes()))
	binary.LittleEndian.PutUint64(b[40:], uint64(s.Data))
	binary.LittleEndian.PutUint64(b[48:], uint64(s.Created))
	frame(b[:], shardMagic)
	return s.Trailer.Append(append(dst, b[:]...))
}

// AppendTable appends to dst what follows the payload whose blocks have the given checksums.
func (s *Shard) AppendTable(dst []byte, sums []uint32) []byte {
	n := len(dst)
	for _, crc := range sums {
		dst = binary.LittleEndian.AppendUint32(dst, crc)
	}
	return binary.LittleEndian.AppendUint32(dst, s.tableChecksum(dst[n:]))
}

// tableChecksum returns the checksum at the end of the file.
func (s *Shard) tableChecksum(table []byte) uint32 {
	b := s.Append(nil)
	return Checksum(Checksum(Checksum(0, b[:60]), b[64:124]), table)
}

// ParseShard reads the first ShardFrameBytes of a shard file.
func ParseShard(b []byte) (Shard, error) {
	if err := checkFrame(b, shardMagic, "shard"); err != nil {
		return Shard{}, err
	}
	if len(b) < ShardFrameBytes {
		return Shard{}, damaged("frame of a shard has %d of %d bytes", len(b), ShardFrameBytes)
	}
	k, m, i := int(b[32]), int(b[33]), int(b[34])
	if k < 1 || m < 1 || k+m > ShardsMax || i >= k+m {
		return Shard{}, damaged("frame of a shard names shard %d of %d+%d", i, k, m)
	}
	footer := b[ShardFrameBytes-TrailerBytes : ShardFrameBytes]
	t, err := ParseTrailer(footer, int64(binary.LittleEndian.Uint32(footer[52:])))
	if err != nil {
		return Shard{}, fmt.Errorf("in the frame of a shard: %w", err)
	}
	s := Shard{K: k, M: m, Index: i, Data: int64(binary.LittleEndian.Uint64(b[40:])), Created: int64(binary.LittleEndian.Uint64(b[48:])), Trailer: t}
	switch {
	case t.ID != ID(binary.LittleEndian.Uint32(b[12:])) || t.Store != StoreID(b[16:32]):
		return Shard{}, damaged("frame of a shard holds the footer of another segment")
	case int64(binary.LittleEndian.Uint32(b[36:])) != s.Bytes():
		return Shard{}, damaged("frame of a shard says %d bytes of payload, a segment of %d bytes in %d shards has %d",
			binary.LittleEndian.Uint32(b[36:]), t.Length, k, s.Bytes())
	case s.Data < 0 || s.Data > int64(t.End):
		return Shard{}, damaged("frame of a shard says %d bytes of Data in a segment of %d", s.Data, t.Length)
	}
	return s, nil
}

// ShardReader checks the bytes of one shard file. Its methods may be called at the same time once Open has returned.
type ShardReader struct {
	src   io.ReaderAt
	frame Shard
	sums  []byte // the table
}

// ReadShard reads and checks the frame of a file of the given size, -1 if that is not known, that should be shard i of segment
// id of the given log.
func ReadShard(src io.ReaderAt, size int64, store StoreID, id ID, i int) (Shard, error) {
	var b [ShardFrameBytes]byte
	if err := readFull(src, b[:], 0); err != nil {
		return Shard{}, err
	}
	s, err := ParseShard(b[:])
	if err != nil {
		return Shard{}, err
	}
	switch {
	case s.Trailer.Store != store:
		return Shard{}, foreign("shard of log %v, wanted %v", s.Trailer.Store, store)
	case s.Trailer.ID != id || s.Index != i:
		return Shard{}, foreign("shard %d of segment %d, wanted shard %d of segment %d", s.Index, s.Trailer.ID, i, id)
	case size >= 0 && s.FileBytes() != size:
		return Shard{}, damaged("shard file has %d bytes, wanted %d", size, s.FileBytes())
	}
	return s, nil
}

// Open reads and checks the table of a shard file with the given frame. The file must have the frame's bytes at its start,
// which are not read again.
func (r *ShardReader) Open(src io.ReaderAt, s Shard) error {
	b := make([]byte, s.Blocks()*4+4)
	if err := readFull(src, b, ShardFrameBytes+s.Bytes()); err != nil {
		return err
	}
	table, want := b[:len(b)-4], binary.LittleEndian.Uint32(b[len(b)-4:])
	if crc := s.tableChecksum(table); crc != want {
		return damaged("table of a shard has checksum %08x, wanted %08x", crc, want)
	}
	*r = ShardReader{src: src, frame: s, sums: table}
	return nil
}

// Read fills p with the payload from off on, a multiple of ShardBlockBytes, and checks it. p must end where a block ends.
func (r *ShardReader) Read(p []byte, off int64) error {
	if err := readFull(r.src, p, ShardFrameBytes+off); err != nil {
		return err
	}
	return r.Check(p, off)
}

// Check compares bytes with the checksums of the payload from off on, as Read does.
func (r *ShardReader) Check(p []byte, off int64) error {
	for n := off / ShardBlockBytes; len(p) > 0; n++ {
		b := p[:min(ShardBlockBytes, len(p))]
		if crc, want := Checksum(0, b), binary.LittleEndian.Uint32(r.sums[n*4:]); crc != want {
			return damaged("shard at offset %d has checksum %08x, wanted %08x", ShardFrameBytes+n*ShardBlockBytes, crc, want)
		}
		p = p[len(b):]
	}
	return nil
}

// readFull fills p. A file that ends before is damaged.
func readFull(src io.ReaderAt, p []byte, off int64) error {
	n, err := src.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = damaged("file ends at %d, wanted %d bytes at %d", off+int64(n), len(p), off)
	}
	return err
}
