// Package segment is the on-disk format of the replicated log: it names files, lays out headers, records and footers, and
// checks them. It opens no files, keeps no locks and decides nothing; replication does. docs/on-disk-format.md, section
// "Segment log", is the normative text for the layouts that stand beside the code here.
//
// A member's directory holds
//
//	MEMBER            who this directory is, and who all the members are (Member)
//	SCRUB             how far the reading of everything is (Scrub)
//	LOCK              held by the process that has the log open; always empty
//	0000000001.seg    a sealed segment: immutable, ends in a footer
//	0000000002.open   the segment being written: header and records, no footer yet
//	0000000001.rs02   a shard of a sealed segment (Shard)
//	CHECKPOINT        which files stand for the first records, and which segments were dropped (Manifest)
//	checkpoint/       these files
//	*.tmp             being written, to be renamed; means nothing, may be removed
//
// and what several members of a log have under the same name, but for MEMBER and SCRUB, is the same byte for byte.
package segment

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
)

// Version is the format version that this package writes, and the only one it reads.
const Version = 1

// Sizes in bytes of the fixed parts.
const (
	HeaderBytes       = 64
	RecordHeaderBytes = 40
	EntryBytes        = 12
	TrailerBytes      = 64
	IdentityBytes     = 64

	// Align is what records are padded to with zeros, so that a search for records after damage need only look at every
	// eighth byte.
	Align = 8

	// BytesMax bounds a segment file, since offsets have 32 bits.
	BytesMax = 1<<32 - Align
)

// IdentityName and LockName are the files of a member that are not segments; temporary files end in TempSuffix.
const (
	IdentityName = "MEMBER"
	LockName     = "LOCK"
	TempSuffix   = ".tmp"
)

var (
	headerMagic   = [8]byte{'P', 'V', 'S', 'E', 'G', 'L', 'O', 'G'}
	trailerMagic  = [8]byte{'P', 'V', 'S', 'E', 'G', 'E', 'N', 'D'}
	identityMagic = [8]byte{'P', 'V', 'M', 'E', 'M', 'B', 'E', 'R'}
	recordMagic   = [4]byte{'P', 'V', 'R', 1} // the last byte is the type; 1 is the only one
)

// castagnoli is the polynomial of every checksum here: CRC-32C, which processors compute.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ID numbers segments: 1, 2, 3 … in the order they were opened. Zero is no segment.
type ID uint32

// LSN numbers records: 1, 2, 3 … without gaps, in the order of Append. Zero is no record.
type LSN uint64

// StoreID names a log: random, made when the log is created, the same in all members and segments.
type StoreID [16]byte

// String returns the id in hexadecimal.
func (s StoreID) String() string { return fmt.Sprintf("%x", s[:]) }

var (
	// ErrDamaged marks bytes that are not what was written: a wrong magic, a wrong checksum, an impossible length.
	ErrDamaged = errors.New("damaged")
	// ErrForeign marks bytes that are whole but belong to another log or another segment.
	ErrForeign = errors.New("foreign")
)

// VersionError reports whole bytes of a format version this program cannot read.
type VersionError struct {
	What  string // "MEMBER" or "segment"
	Found uint32
	Want  uint32 // what this program writes. 0: Version
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("%s has format version %d, this program reads and writes version %d: use a matching release of pagevault",
		e.What, e.Found, cmp.Or(e.Want, Version))
}

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, args...))
}

func foreign(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrForeign, fmt.Sprintf(format, args...))
}

// Checksum continues the CRC-32C crc over p; start with zero.
func Checksum(crc uint32, p []byte) uint32 { return crc32.Update(crc, castagnoli, p) }

// Padded returns n rounded up to Align.
func Padded(n int64) int64 { return (n + Align - 1) &^ (Align - 1) }

// RecordBytes returns the room a record takes in a segment, padding included.
func RecordBytes(meta, data int64) int64 { return Padded(RecordHeaderBytes + meta + data) }

// Name returns the file name of a segment.
func Name(id ID, sealed bool) string {
	if sealed {
		return fmt.Sprintf("%010d.seg", uint32(id))
	}
	return fmt.Sprintf("%010d.open", uint32(id))
}

// TempName returns the name under which a sealed segment is rebuilt before it is renamed to Name.
func TempName(id ID) string { return fmt.Sprintf("%010d", uint32(id)) + TempSuffix }

// ParseName is the inverse of Name. ok is false for every other name.
func ParseName(name string) (id ID, sealed, ok bool) {
	digits, ext, _ := strings.Cut(name, ".")
	if len(digits) != 10 || strings.Trim(digits, "0123456789") != "" || (ext != "seg" && ext != "open") {
		return 0, false, false
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	if err != nil || n == 0 {
		return 0, false, false
	}
	return ID(n), ext == "seg", true
}

// frame finishes one of the 64-byte structures: bytes [8,12) hold the version and [60,64) the CRC-32C of the 60 bytes
// before. Every future version keeps magic, version and this checksum where they are, so that "damaged" and "of another
// version" can be told apart.
func frame(b []byte, magic [8]byte) { frameVersion(b, magic, Version) }

func frameVersion(b []byte, magic [8]byte, version uint32) {
	copy(b, magic[:])
	binary.LittleEndian.PutUint32(b[8:], version)
	binary.LittleEndian.PutUint32(b[60:], Checksum(0, b[:60]))
}

func checkFrame(b []byte, magic [8]byte, what string) error {
	return checkFrameVersion(b, magic, what, Version)
}

func checkFrameVersion(b []byte, magic [8]byte, what string, version uint32) error {
	switch {
	case len(b) < 64:
		return damaged("%s has %d of 64 bytes", what, len(b))
	case [8]byte(b[:8]) != magic:
		return damaged("%s does not start with %q", what, magic[:])
	case binary.LittleEndian.Uint32(b[60:]) != Checksum(0, b[:60]):
		return damaged("%s has checksum %08x, its bytes give %08x", what, binary.LittleEndian.Uint32(b[60:]), Checksum(0, b[:60]))
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != version {
		return &VersionError{What: what, Found: v, Want: version}
	}
	return nil
}

// Identity is version 1 of a MEMBER file: it says which member of which log a directory is.
//
//	 0  8  magic "PVMEMBER"
//	 8  4  format version
//	12  4  member number, 1 … count
//	16 16  store id
//	32  4  member count
//	36  4  zero
//	40  8  epoch: 1; grows when the set of members changes
//	48  8  time of creation, nanoseconds since 1970-01-01 UTC
//	56  4  zero
//	60  4  CRC-32C of the 60 bytes before
type Identity struct {
	Store   StoreID
	Number  uint32 // from 1
	Count   uint32
	Epoch   uint64
	Created int64
}

// Append appends the encoded identity to dst.
func (id *Identity) Append(dst []byte) []byte {
	var b [IdentityBytes]byte
	binary.LittleEndian.PutUint32(b[12:], id.Number)
	copy(b[16:], id.Store[:])
	binary.LittleEndian.PutUint32(b[32:], id.Count)
	binary.LittleEndian.PutUint64(b[40:], id.Epoch)
	binary.LittleEndian.PutUint64(b[48:], uint64(id.Created))
	frame(b[:], identityMagic)
	return append(dst, b[:]...)
}

// ParseIdentity reads the content of a MEMBER file.
func ParseIdentity(b []byte) (Identity, error) {
	if err := checkFrame(b, identityMagic, IdentityName); err != nil {
		return Identity{}, err
	}
	if len(b) != IdentityBytes {
		return Identity{}, damaged("%s has %d bytes, wanted %d", IdentityName, len(b), IdentityBytes)
	}
	return Identity{
		Number:  binary.LittleEndian.Uint32(b[12:]),
		Store:   StoreID(b[16:32]),
		Count:   binary.LittleEndian.Uint32(b[32:]),
		Epoch:   binary.LittleEndian.Uint64(b[40:]),
		Created: int64(binary.LittleEndian.Uint64(b[48:])),
	}, nil
}

// Header opens a segment file.
//
//	 0  8  magic "PVSEGLOG"
//	 8  4  format version
//	12  4  segment id
//	16 16  store id
//	32  8  LSN of the first record
//	40  8  time of creation, nanoseconds since 1970-01-01 UTC
//	48 12  zero
//	60  4  CRC-32C of the 60 bytes before
type Header struct {
	Store   StoreID
	ID      ID
	First   LSN
	Created int64
}

// Append appends the encoded header to dst.
func (h *Header) Append(dst []byte) []byte {
	var b [HeaderBytes]byte
	binary.LittleEndian.PutUint32(b[12:], uint32(h.ID))
	copy(b[16:], h.Store[:])
	binary.LittleEndian.PutUint64(b[32:], uint64(h.First))
	binary.LittleEndian.PutUint64(b[40:], uint64(h.Created))
	frame(b[:], headerMagic)
	return append(dst, b[:]...)
}

// ParseHeader reads the first HeaderBytes of a segment file.
func ParseHeader(b []byte) (Header, error) {
	if err := checkFrame(b, headerMagic, "segment"); err != nil {
		return Header{}, err
	}
	return Header{
		ID:      ID(binary.LittleEndian.Uint32(b[12:])),
		Store:   StoreID(b[16:32]),
		First:   LSN(binary.LittleEndian.Uint64(b[32:])),
		Created: int64(binary.LittleEndian.Uint64(b[40:])),
	}, nil
}

// RecordHeader precedes the bytes of a record: Meta, then Data, then zeros up to the next multiple of Align.
//
//	 0  4  magic "PVR" and the type, 1
//	 4  4  offset of this header in the segment
//	 8  8  LSN
//	16  4  length of Meta
//	20  4  length of Data
//	24  4  CRC-32C of Meta
//	28  4  CRC-32C of Data
//	32  4  durable: every byte of the segment below this offset was on the disks of all its writers when the record was written
//	36  4  CRC-32C of store id, segment id and the 36 bytes before
//
// Since the checksum covers log, segment and offset, a header is valid only where it was written: bytes of another
// segment, or of this one at another place (a misdirected write, a segment file stored as user data), are no record.
type RecordHeader struct {
	LSN     LSN
	Offset  uint32
	Meta    uint32
	Data    uint32
	MetaCRC uint32
	DataCRC uint32
	Durable uint32
}

// Bytes returns the room the record takes, padding included.
func (h *RecordHeader) Bytes() int64 { return RecordBytes(int64(h.Meta), int64(h.Data)) }

// End returns the offset at which the next record starts.
func (h *RecordHeader) End() int64 { return int64(h.Offset) + h.Bytes() }

// DataOffset returns the offset of the first byte of Data.
func (h *RecordHeader) DataOffset() int64 { return int64(h.Offset) + RecordHeaderBytes + int64(h.Meta) }

// Seed returns the checksum from which the checksums of a segment's record headers continue.
func Seed(store StoreID, id ID) uint32 {
	var b [20]byte
	copy(b[:], store[:])
	binary.LittleEndian.PutUint32(b[16:], uint32(id))
	return Checksum(0, b[:])
}

// Append appends the encoded header to dst.
func (h *RecordHeader) Append(dst []byte, seed uint32) []byte {
	n := len(dst)
	dst = append(dst, recordMagic[:]...)
	dst = binary.LittleEndian.AppendUint32(dst, h.Offset)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(h.LSN))
	dst = binary.LittleEndian.AppendUint32(dst, h.Meta)
	dst = binary.LittleEndian.AppendUint32(dst, h.Data)
	dst = binary.LittleEndian.AppendUint32(dst, h.MetaCRC)
	dst = binary.LittleEndian.AppendUint32(dst, h.DataCRC)
	dst = binary.LittleEndian.AppendUint32(dst, h.Durable)
	return binary.LittleEndian.AppendUint32(dst, Checksum(seed, dst[n:]))
}

// ParseRecordHeader reads the header expected at offset. It does not look at the record's bytes.
func ParseRecordHeader(b []byte, seed uint32, offset int64) (RecordHeader, error) {
	switch {
	case len(b) < RecordHeaderBytes:
		return RecordHeader{}, damaged("record header has %d of %d bytes", len(b), RecordHeaderBytes)
	case [4]byte(b[:4]) != recordMagic:
		return RecordHeader{}, damaged("record header starts with %x", b[:4])
	case binary.LittleEndian.Uint32(b[36:]) != Checksum(seed, b[:36]):
		return RecordHeader{}, damaged("record header has checksum %08x, its bytes give %08x", binary.LittleEndian.Uint32(b[36:]), Checksum(seed, b[:36]))
	}
	h := RecordHeader{
		Offset:  binary.LittleEndian.Uint32(b[4:]),
		LSN:     LSN(binary.LittleEndian.Uint64(b[8:])),
		Meta:    binary.LittleEndian.Uint32(b[16:]),
		Data:    binary.LittleEndian.Uint32(b[20:]),
		MetaCRC: binary.LittleEndian.Uint32(b[24:]),
		DataCRC: binary.LittleEndian.Uint32(b[28:]),
		Durable: binary.LittleEndian.Uint32(b[32:]),
	}
	switch {
	case int64(h.Offset) != offset:
		return RecordHeader{}, damaged("record header says it belongs at offset %d", h.Offset)
	case h.Durable > h.Offset:
		return RecordHeader{}, damaged("record header says that %d bytes before it were durable", h.Durable)
	}
	return h, nil
}

// Entry is a row of a footer's table: one record. Its LSN is the segment's first LSN plus the row's number.
//
//	0  4  offset of the record's header in the segment
//	4  4  length of Meta
//	8  4  length of Data
type Entry struct {
	Offset uint32
	Meta   uint32
	Data   uint32
}

// End returns the offset at which the next record starts.
func (e *Entry) End() int64 { return int64(e.Offset) + RecordBytes(int64(e.Meta), int64(e.Data)) }

func (e *Entry) append(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, e.Offset)
	dst = binary.LittleEndian.AppendUint32(dst, e.Meta)
	return binary.LittleEndian.AppendUint32(dst, e.Data)
}

func parseEntry(b []byte) Entry {
	return Entry{
		Offset: binary.LittleEndian.Uint32(b),
		Meta:   binary.LittleEndian.Uint32(b[4:]),
		Data:   binary.LittleEndian.Uint32(b[8:]),
	}
}

// Trailer is the last 64 bytes of a sealed segment. The footer is the table of records, which starts at End, then zeros,
// then the trailer. The zeros are there when a crash or a failed write had left bytes beyond the footer's natural end: files are never
// shortened, so the footer is moved out to cover them.
//
//	 0  8  magic "PVSEGEND"
//	 8  4  format version
//	12  4  segment id
//	16 16  store id
//	32  8  LSN of the first record
//	40  4  number of records
//	44  4  end of the last record = offset of the table
//	48  4  CRC-32C of the table and the zeros behind it
//	52  4  length of the file
//	56  4  zero
//	60  4  CRC-32C of the 60 bytes before
type Trailer struct {
	Store    StoreID
	ID       ID
	First    LSN
	Count    uint32
	End      uint32
	TableCRC uint32
	Length   uint32
}

// Last returns the LSN of the segment's last record.
func (t *Trailer) Last() LSN { return t.First + LSN(t.Count) - 1 }

// Append appends the encoded trailer to dst.
func (t *Trailer) Append(dst []byte) []byte {
	var b [TrailerBytes]byte
	binary.LittleEndian.PutUint32(b[12:], uint32(t.ID))
	copy(b[16:], t.Store[:])
	binary.LittleEndian.PutUint64(b[32:], uint64(t.First))
	binary.LittleEndian.PutUint32(b[40:], t.Count)
	binary.LittleEndian.PutUint32(b[44:], t.End)
	binary.LittleEndian.PutUint32(b[48:], t.TableCRC)
	binary.LittleEndian.PutUint32(b[52:], t.Length)
	frame(b[:], trailerMagic)
	return append(dst, b[:]...)
}

// TableChecksum returns the checksum for the table in a footer that lies at end in a file of the given length.
func TableChecksum(table []byte, end, length int64) uint32 {
	crc := Checksum(0, table)
	var zeros [4096]byte
	for pad := length - TrailerBytes - end - int64(len(table)); pad > 0; {
		n := min(pad, int64(len(zeros)))
		crc = Checksum(crc, zeros[:n])
		pad -= n
	}
	return crc
}

// ParseTrailer reads the last TrailerBytes of a segment file of the given length.
func ParseTrailer(b []byte, length int64) (Trailer, error) {
	if err := checkFrame(b, trailerMagic, "segment footer"); err != nil {
		return Trailer{}, err
	}
	t := Trailer{
		ID:       ID(binary.LittleEndian.Uint32(b[12:])),
		Store:    StoreID(b[16:32]),
		First:    LSN(binary.LittleEndian.Uint64(b[32:])),
		Count:    binary.LittleEndian.Uint32(b[40:]),
		End:      binary.LittleEndian.Uint32(b[44:]),
		TableCRC: binary.LittleEndian.Uint32(b[48:]),
		Length:   binary.LittleEndian.Uint32(b[52:]),
	}
	if int64(t.Length) != length {
		return Trailer{}, damaged("segment footer was written for a file of %d bytes, the file has %d", t.Length, length)
	}
	if t.Count == 0 || t.End < HeaderBytes || int64(t.End)+int64(t.Count)*EntryBytes+TrailerBytes > length {
		return Trailer{}, damaged("segment footer counts %d records up to offset %d in a file of %d bytes", t.Count, t.End, length)
	}
	return t, nil
}
