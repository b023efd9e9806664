package segment

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// ManifestName is the file of a member that names its checkpoint and the segments that were dropped; CheckpointDir is the
// directory below the member's in which the files of the checkpoint lie.
const (
	ManifestName  = "CHECKPOINT"
	CheckpointDir = "checkpoint"
)

// Sizes in bytes of the parts of a Manifest.
const (
	ManifestHeaderBytes = 64
	rangeBytes          = 24
	fileBytes           = 28

	// ManifestBytesMax bounds a manifest: 64 MiB name a million files, a hundred times what an index of a terabyte has.
	ManifestBytesMax = 64 << 20
	// NameBytesMax bounds the name and the key of a checkpoint's file.
	NameBytesMax = math.MaxUint16
)

var manifestMagic = [8]byte{'P', 'V', 'C', 'H', 'E', 'C', 'K', 'P'}

// Manifest says what a member's directory holds beside records: the files that stand for the records [1, LSN], and the
// segments that were dropped because these files stand for them. It is replaced as a whole.
//
//	 0  8  magic "PVCHECKP"
//	 8  4  format version
//	12  4  number of files
//	16 16  store id
//	32  8  sequence number: 1, 2, 3 …; of several manifests of one log the highest counts
//	40  8  LSN
//	48  8  time of the checkpoint, nanoseconds since 1970-01-01 UTC
//	56  4  number of ranges of dropped segments
//	60  4  CRC-32C of the 60 bytes before
//	64     the ranges, ascending, 24 bytes each; the files; CRC-32C of all from offset 64 on
type Manifest struct {
	Store    StoreID
	Sequence uint64
	LSN      LSN // 0: there is no checkpoint, and neither files nor ranges
	Created  int64
	Dropped  []Range
	Files    []File
}

// Range is a run of segments that were dropped, both ends included, and the records that they held. Two ranges of a
// Manifest neither overlap nor touch.
//
//	 0  4  first segment
//	 4  4  last segment
//	 8  8  LSN of the first record of the first segment
//	16  8  LSN of the last record of the last segment
type Range struct {
	From, To    ID
	First, Last LSN
}

// File is one file of a checkpoint. It lies in CheckpointDir under the name that FileName gives.
//
//	 0  8  born: sequence number of the manifest that it was written for
//	 8  8  size in bytes
//	16  4  number: 1, 2, 3 … among the files that were born with it
//	20  4  CRC-32C of its bytes
//	24  2  length of the name
//	26  2  length of the key
//	28     name, key
type File struct {
	Born   uint64
	Number uint32
	CRC    uint32
	Size   int64
	Name   string // the caller's
	Key    string // the caller's: two files with the same key have the same bytes. "": none
}

// FileName returns the name of a checkpoint's file in CheckpointDir.
func (f *File) FileName() string { return fmt.Sprintf("%010d-%06d", f.Born, f.Number) }

// ParseFileName reports whether name is one that FileName gives, and to which file.
func ParseFileName(name string) (born uint64, number uint32, ok bool) {
	b, n, _ := strings.Cut(name, "-")
	born, err1 := strconv.ParseUint(b, 10, 64)
	wide, err2 := strconv.ParseUint(n, 10, 32)
	f := File{Born: born, Number: uint32(wide)}
	if err1 != nil || err2 != nil || f.FileName() != name {
		return 0, 0, false
	}
	return born, uint32(wide), true
}

// Bytes returns the sum of the sizes of the files.
func (m *Manifest) Bytes() (sum int64) {
	for i := range m.Files {
		sum += m.Files[i].Size
	}
	return sum
}

// DroppedSegment returns the range that holds segment id; ok is false if it was not dropped.
func (m *Manifest) DroppedSegment(id ID) (_ Range, ok bool) {
	for _, r := range m.Dropped {
		if r.From <= id && id <= r.To {
			return r, true
		}
	}
	return Range{}, false
}

// Append appends the encoded manifest to dst.
func (m *Manifest) Append(dst []byte) []byte {
	var b [ManifestHeaderBytes]byte
	binary.LittleEndian.PutUint32(b[12:], uint32(len(m.Files)))
	copy(b[16:], m.Store[:])
	binary.LittleEndian.PutUint64(b[32:], m.Sequence)
	binary.LittleEndian.PutUint64(b[40:], uint64(m.LSN))
	binary.LittleEndian.PutUint64(b[48:], uint64(m.Created))
	binary.LittleEndian.PutUint32(b[56:], uint32(len(m.Dropped)))
	frame(b[:], manifestMagic)
	dst = append(dst, b[:]...)
	body := len(dst)
	for _, r := range m.Dropped {
		dst = binary.LittleEndian.AppendUint32(dst, uint32(r.From))
		dst = binary.LittleEndian.AppendUint32(dst, uint32(r.To))
		dst = binary.LittleEndian.AppendUint64(dst, uint64(r.First))
		dst = binary.LittleEndian.AppendUint64(dst, uint64(r.Last))
	}
	for i := range m.Files {
		f := &m.Files[i]
		dst = binary.LittleEndian.AppendUint64(dst, f.Born)
		dst = binary.LittleEndian.AppendUint64(dst, uint64(f.Size))
		dst = binary.LittleEndian.AppendUint32(dst, f.Number)
		dst = binary.LittleEndian.AppendUint32(dst, f.CRC)
		dst = binary.LittleEndian.AppendUint16(dst, uint16(len(f.Name)))
		dst = binary.LittleEndian.AppendUint16(dst, uint16(len(f.Key)))
		dst = append(dst, f.Name...)
		dst = append(dst, f.Key...)
	}
	return binary.LittleEndian.AppendUint32(dst, Checksum(0, dst[body:]))
}

// ParseManifest reads the content of a CHECKPOINT file. What it accepts, Append writes in the same bytes. The result does
// not keep b.
func ParseManifest(b []byte) (*Manifest, error) {
	if err := checkFrame(b, manifestMagic, ManifestName); err != nil {
		return nil, err
	}
	files, ranges := int64(binary.LittleEndian.Uint32(b[12:])), int64(binary.LittleEndian.Uint32(b[56:]))
	m := &Manifest{
		Store:    StoreID(b[16:32]),
		Sequence: binary.LittleEndian.Uint64(b[32:]),
		LSN:      LSN(binary.LittleEndian.Uint64(b[40:])),
		Created:  int64(binary.LittleEndian.Uint64(b[48:])),
	}
	body := b[ManifestHeaderBytes:]
	if int64(len(body)) < ranges*rangeBytes+files*fileBytes+4 {
		return nil, damaged("%s of %d bytes counts %d ranges and %d files", ManifestName, len(b), ranges, files)
	}
	sum := binary.LittleEndian.Uint32(body[len(body)-4:])
	body = body[:len(body)-4]
	if got := Checksum(0, body); got != sum {
		return nil, damaged("%s has checksum %08x behind its header, its bytes give %08x", ManifestName, sum, got)
	}
	for range ranges {
		m.Dropped = append(m.Dropped, Range{
			From:  ID(binary.LittleEndian.Uint32(body)),
			To:    ID(binary.LittleEndian.Uint32(body[4:])),
			First: LSN(binary.LittleEndian.Uint64(body[8:])),
			Last:  LSN(binary.LittleEndian.Uint64(body[16:])),
		})
		body = body[rangeBytes:]
	}
	for range files {
		f, rest, err := parseFile(body)
		if err != nil {
			return nil, err
		}
		m.Files, body = append(m.Files, f), rest
	}
	if len(body) > 0 {
		return nil, damaged("%s has %d bytes behind its last file", ManifestName, len(body))
	}
	if err := m.Check(); err != nil {
		return nil, err
	}
	return m, nil
}

func parseFile(b []byte) (f File, rest []byte, err error) {
	if len(b) < fileBytes {
		return f, nil, damaged("%s ends in the middle of a file", ManifestName)
	}
	name, key := int(binary.LittleEndian.Uint16(b[24:])), int(binary.LittleEndian.Uint16(b[26:]))
	if len(b) < fileBytes+name+key {
		return f, nil, damaged("%s ends in the middle of a file's name", ManifestName)
	}
	f = File{
		Born:   binary.LittleEndian.Uint64(b),
		Size:   int64(binary.LittleEndian.Uint64(b[8:])),
		Number: binary.LittleEndian.Uint32(b[16:]),
		CRC:    binary.LittleEndian.Uint32(b[20:]),
		Name:   string(b[fileBytes:][:name]),
		Key:    string(b[fileBytes+name:][:key]),
	}
	return f, b[fileBytes+name+key:], nil
}

// Check returns an error unless m is one that may be written: what it says fits together.
func (m *Manifest) Check() error {
	if m.Sequence == 0 {
		return damaged("%s has no sequence number", ManifestName)
	}
	if m.LSN == 0 && len(m.Files)+len(m.Dropped) > 0 {
		return damaged("%s names files or dropped segments, but no record", ManifestName)
	}
	for i, r := range m.Dropped {
		if r.From == 0 || r.From > r.To || r.First == 0 || r.First > r.Last || r.Last > m.LSN || uint64(r.Last-r.First) < uint64(r.To-r.From) {
			return damaged("%s says that segments %d to %d with records %d to %d were dropped, by a checkpoint of %d",
				ManifestName, r.From, r.To, r.First, r.Last, m.LSN)
		}
		if i > 0 {
			before := m.Dropped[i-1]
			if uint64(r.From) <= uint64(before.To)+1 || r.First-1 <= before.Last {
				return damaged("%s names the dropped segments %d to %d after %d to %d", ManifestName, r.From, r.To, before.From, before.To)
			}
		}
	}
	type id struct {
		born   uint64
		number uint32
	}
	names, ids := make(map[string]bool, len(m.Files)), make(map[id]bool, len(m.Files))
	for i := range m.Files {
		f := &m.Files[i]
		at := id{f.Born, f.Number}
		if f.Born == 0 || f.Born > m.Sequence || f.Number == 0 || f.Size < 0 || ids[at] || names[f.Name] || f.Name == "" ||
			len(f.Name) > NameBytesMax || len(f.Key) > NameBytesMax {
			return damaged("%s names the file %q, number %d of manifest %d, of %d bytes", ManifestName, f.Name, f.Number, f.Born, f.Size)
		}
		names[f.Name], ids[at] = true, true
	}
	return nil
}
