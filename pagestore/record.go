package pagestore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"pagevault/internal/digest"
	"pagevault/pagestore/pagemap"
	"pagevault/pagestore/seal"
	"pagevault/replication"
)

// The Meta of a log record. All numbers are little-endian, uvarints in their fewest bytes. The first byte is the kind:
//
//	genesis   0x01  the first record of every log and only that
//	commit    0x02  the changes of one Update, a sequence of operations applied in order
//
// genesis:
//
//	format        u16   recordFormat
//	page bytes    u32   512
//	chunk bytes   u32   4,096
//	region bytes  u32   65,536
//	direct        u32   a clear of more regions ends the generation and may become an erasure
//	erasures      u32   erasures a volume can have at once
//	cipher        u8    0: none, 1: AES-256-GCM
//	key id        [8]   of the master key that sealed what follows; zeros without a cipher
//	nonce         [12]  of that sealing; zeros without a cipher
//	sealed        [80]  fingerprint key [32] · data key [32] · tag [16]. Without a cipher the keys stand there as they
//	                    are, and zeros for the tag
//
// Operations of a commit, each beginning with its kind:
//
//	frame     0x01  id uvarint · pages u8 (1..128) · codec u8 · session uvarint · [counter uvarint, if session is not 0]
//	                · stored uvarint, bytes · chunks u8 · chunks × (page offset u8 · name [20]) · CRC32Cs, a u32 each
//	write     0x02  volume uvarint · first page uvarint · pages uvarint (≥ 1) · for each region it touches:
//	                flags u8 (1: the name of the whole region follows) · [name [20]]
//	                · runs u8 (1..128) · runs × run, as in the page map, covering exactly the region's pages of the write
//	clear     0x03  volume uvarint · start page uvarint · end page uvarint (> start)
//	truncate  0x04  volume uvarint · from page uvarint
//	create    0x05  volume uvarint
//	freeze    0x06  volume uvarint · generation uvarint, the one that ends
//	drop      0x07  volume uvarint
//	set       0x08  key length uvarint · key · value length uvarint · value
//	delete    0x09  key length uvarint · key
//	move      0x0a  id uvarint · pages u8 · present u16 · codec u8 · … as in frame … · CRC32Cs
//	                · gone u8 · gone × (page offset u8 · name [20])
//	free      0x0b  id uvarint · gone u8 · gone × (page offset u8 · name [20])
//	session   0x0c  number uvarint · salt [32]
//	fold      0x0d  volume uvarint · region uvarint · generation uvarint · old length uvarint · old, an entry of the page
//	                map · runs u8 (1..128) · runs × run, covering exactly the pages of old
//	thaw      0x0e  volume uvarint · generation uvarint
//	reap      0x0f  volume uvarint · from region uvarint · to region uvarint (> from) · due uvarint, an LSN. It is the
//	                only operation of its record
//	copy      0x10  volume uvarint · source volume uvarint · generation uvarint · from region uvarint
//	                · to region uvarint (> from). It is the only operation of its record
//
// The Data of the record is the stored bytes of its frames and moves, one after the other in the order of their
// operations. A frame comes before the writes that refer to it. For frames see frame.
const (
	recordGenesis = 0x01
	recordCommit  = 0x02

	recordFormat = 2 // of the whole log; a reader refuses any other
)

type opKind uint8

const (
	opFrame opKind = iota + 1
	opWrite
	opClear
	opTruncate
	opCreate
	opFreeze
	opDrop
	opSet
	opDelete
	opMove
	opFree
	opSession
	opFold
	opThaw
	opReap
	opCopy
)

// maxPages bounds page numbers: every byte of a volume has an address that fits an int64.
const maxPages = PageNo(math.MaxInt64/PageSize + 1)

// maxRegions bounds the numbers of regions.
const maxRegions = uint64(maxPages / pagemap.RegionPages)

const regionHasDigest = 1 // flag of a region of a write

// genesis is the content of the first record: what applying a record depends on beside the record and the rows, and the
// keys of the store, sealed or not.
type genesis struct {
	limits
	keys seal.Wrapped
}

// genesisBytes is the length of a genesis record, genesisHead that of the part before the keys, which their sealing covers.
const (
	genesisHead  = 1 + 2 + 5*4
	genesisBytes = genesisHead + seal.WrappedBytes
)

func (g *genesis) append(dst []byte) []byte { return g.keys.Append(g.appendHead(dst)) }

// appendHead appends what precedes the keys.
func (g *genesis) appendHead(dst []byte) []byte {
	dst = append(dst, recordGenesis)
	dst = binary.LittleEndian.AppendUint16(dst, recordFormat)
	dst = binary.LittleEndian.AppendUint32(dst, pagemap.PageBytes)
	dst = binary.LittleEndian.AppendUint32(dst, pagemap.ChunkBytes)
	dst = binary.LittleEndian.AppendUint32(dst, pagemap.RegionBytes)
	dst = binary.LittleEndian.AppendUint32(dst, g.direct)
	return binary.LittleEndian.AppendUint32(dst, g.erasures)
}

func decodeGenesis(p []byte) (g genesis, err error) {
	if len(p) < 3 || p[0] != recordGenesis {
		return g, errors.New("the first record is not the store's header")
	}
	if v := binary.LittleEndian.Uint16(p[1:]); v != recordFormat {
		return g, fmt.Errorf("the store has format %d, this build reads format %d", v, recordFormat)
	}
	if len(p) != genesisBytes {
		return g, fmt.Errorf("the store's header has %d bytes, want %d", len(p), genesisBytes)
	}
	page, chunk, region := binary.LittleEndian.Uint32(p[3:]), binary.LittleEndian.Uint32(p[7:]), binary.LittleEndian.Uint32(p[11:])
	if page != pagemap.PageBytes || chunk != pagemap.ChunkBytes || region != pagemap.RegionBytes {
		return g, fmt.Errorf("the store has pages, chunks and regions of %d, %d and %d bytes, this build reads %d, %d and %d",
			page, chunk, region, pagemap.PageBytes, pagemap.ChunkBytes, pagemap.RegionBytes)
	}
	g.direct, g.erasures = binary.LittleEndian.Uint32(p[15:]), binary.LittleEndian.Uint32(p[19:])
	g.keys, err = seal.DecodeWrapped(p[genesisHead:])
	return g, err
}

// wrap puts the keys of the store into the header, sealed with the master key if that is not the zero Key. nonce is random.
func (g *genesis) wrap(keys *seal.Keys, master *seal.Key, nonce [seal.NonceBytes]byte) {
	g.keys = seal.Wrap(keys, master, nonce, g.appendHead(nil))
}

// unwrap returns the keys of the store. master is needed only if they are sealed.
func (g *genesis) unwrap(master *seal.Key) (seal.Keys, error) {
	return g.keys.Unwrap(master, g.appendHead(nil))
}

func appendWriteOp(dst []byte, v VolumeID, pages Range) []byte {
	dst = append(dst, byte(opWrite))
	dst = binary.AppendUvarint(dst, uint64(v))
	dst = binary.AppendUvarint(dst, uint64(pages.Start))
	return binary.AppendUvarint(dst, uint64(pages.End-pages.Start))
}

// appendWriteRegion appends one region of a write; name is nil unless the region is written as a whole and its name is
// to be remembered.
func appendWriteRegion(dst []byte, name *digest.Digest, runs pagemap.Entry) []byte {
	if name != nil {
		dst = append(dst, regionHasDigest)
		dst = append(dst, name[:]...)
	} else {
		dst = append(dst, 0)
	}
	dst = append(dst, byte(len(runs)))
	return pagemap.AppendEntry(dst, runs)
}

// appendVolumeOp appends an operation that is a kind, a volume and some numbers: clear, truncate, create, freeze, drop,
// thaw, reap.
func appendVolumeOp(dst []byte, kind opKind, v VolumeID, args ...uint64) []byte {
	dst = append(dst, byte(kind))
	dst = binary.AppendUvarint(dst, uint64(v))
	for _, a := range args {
		dst = binary.AppendUvarint(dst, a)
	}
	return dst
}

// appendReapOp appends one step of a pass over the page map of a volume: regions [from, to). The pass was begun for what
// record due made necessary. The step with to == maxRegions is the last.
func appendReapOp(dst []byte, v VolumeID, from, to uint64, due replication.LSN) []byte {
	return appendVolumeOp(dst, opReap, v, from, to, uint64(due))
}

// appendCopyOp appends one step of a copy: what generation g of volume src shows in the regions [from, to) becomes what
// volume v holds there, where that is anything at all.
func appendCopyOp(dst []byte, v, src VolumeID, g Gen, from, to uint64) []byte {
	return appendVolumeOp(dst, opCopy, v, uint64(src), uint64(g), from, to)
}

// appendFoldOp appends the replacement of the entry old of a region by runs, which show the same pages with the same
// content.
func appendFoldOp(dst []byte, v VolumeID, region uint64, g Gen, old, runs pagemap.Entry) []byte {
	dst = appendVolumeOp(dst, opFold, v, region, uint64(g))
	bytes := pagemap.AppendEntry(nil, old)
	dst = append(binary.AppendUvarint(dst, uint64(len(bytes))), bytes...)
	return pagemap.AppendEntry(append(dst, byte(len(runs))), runs)
}

// appendSessionOp appends the salt from which the key of a sealing session is derived.
func appendSessionOp(dst []byte, session uint32, salt *[32]byte) []byte {
	dst = binary.AppendUvarint(append(dst, byte(opSession)), uint64(session))
	return append(dst, salt[:]...)
}

func appendSetOp(dst, key, value []byte) []byte {
	dst = append(dst, byte(opSet))
	dst = binary.AppendUvarint(dst, uint64(len(key)))
	dst = append(dst, key...)
	dst = binary.AppendUvarint(dst, uint64(len(value)))
	return append(dst, value...)
}

func appendDeleteOp(dst, key []byte) []byte {
	dst = append(dst, byte(opDelete))
	dst = binary.AppendUvarint(dst, uint64(len(key)))
	return append(dst, key...)
}
