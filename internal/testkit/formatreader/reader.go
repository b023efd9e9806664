// Package formatreader reads the blobs of a store from the directories of its members. It is written from
// docs/on-disk-format.md alone, shares no code with the program that writes, and keeps everything simple: it shows that the page
// is enough to write a reader, and that what was written long ago can still be read. It reads stores from which no segment was
// dropped, and a shard of which a block is damaged counts as missing.
package formatreader

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

var crcTable = crc32.MakeTable(crc32.Castagnoli)

func crc(p ...[]byte) (sum uint32) {
	for _, b := range p {
		sum = crc32.Update(sum, crcTable, b)
	}
	return sum
}

// Store is what the directories of a store's members hold.
type Store struct {
	id       [16]byte
	members  []*member         // that are current
	segments map[uint32][]byte // header and records, and what may lie behind
	frames   map[uint64]*frame
	volumes  map[uint64]*volume
	sessions map[uint64][32]byte // salts
	moved    map[place]place     // where the content of a page was brought together with others'
	rows     map[string][]byte
	direct   uint64
	names    [32]byte // key of the fingerprints
	data     [32]byte
	lastLSN  uint64
	lastVol  uint64
	lastFrm  uint64
	checked  int // fingerprints of chunks that were compared with content
}

// frame is how content is stored.
type frame struct {
	segment uint32
	offset  int // of its first byte in the segment
	bytes   int
	pages   int
	present uint16
	codec   byte
	session uint64
	counter uint64
	crcs    []uint32
	chunks  map[int][20]byte // by page
}

// place is a page of a frame.
type place struct {
	frame uint64
	page  int
}

// page says what a page of a volume holds.
type page struct {
	valid bool
	frame uint64 // 0: zeros
	off   int    // page of the frame
}

// region is a page map.
type region [128]page

type volume struct {
	generation uint64
	regions    map[uint64]region
	frozen     map[uint64]map[uint64]region
}

// Open reads the log that the members in the given directories hold, in any order, and carries out its records. It refuses
// directories that may lack what others have. master is the master key, nil if the store has none.
func Open(dirs []string, master []byte) (*Store, error) {
	s := &Store{segments: map[uint32][]byte{}, frames: map[uint64]*frame{}, volumes: map[uint64]*volume{},
		sessions: map[uint64][32]byte{}, rows: map[string][]byte{}, moved: map[place]place{}}
	members, roster, err := currentMembers(dirs)
	if err != nil {
		return nil, err
	}
	s.id, s.members = roster.store, members
	var last uint32
	for _, m := range members {
		if err := s.manifest(m.dir); err != nil {
			return nil, fmt.Errorf("%s: %w", m.dir, err)
		}
		newest, err := newestSegment(m.dir)
		if err != nil {
			return nil, err
		}
		last = max(last, newest)
	}
	for number := uint32(1); number <= last; number++ {
		if err := s.readSegment(number, number == last, master); err != nil {
			return nil, fmt.Errorf("segment %d: %w", number, err)
		}
	}
	if s.lastLSN < roster.through {
		return nil, fmt.Errorf("record %d was durable once, and the records end with %d", roster.through, s.lastLSN)
	}
	return s, nil
}

// head checks a frame of 64 bytes.
func head(p []byte, magic string, version uint32) error {
	switch {
	case len(p) < 64 || string(p[:8]) != magic:
		return fmt.Errorf("no %s", magic)
	case crc(p[:60]) != binary.LittleEndian.Uint32(p[60:]):
		return fmt.Errorf("%s is damaged", magic)
	case binary.LittleEndian.Uint32(p[8:]) != version:
		return fmt.Errorf("%s has format version %d", magic, binary.LittleEndian.Uint32(p[8:]))
	}
	return nil
}

// manifest refuses stores that have dropped segments.
func (s *Store) manifest(dir string) error {
	p, err := os.ReadFile(filepath.Join(dir, "CHECKPOINT"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = head(p, "PVCHECKP", 1)
	}
	switch {
	case err != nil:
		return err
	case [16]byte(p[16:]) != s.id:
		return errors.New("CHECKPOINT is of another log")
	case crc(p[64:len(p)-4]) != binary.LittleEndian.Uint32(p[len(p)-4:]):
		return errors.New("CHECKPOINT is damaged")
	case binary.LittleEndian.Uint32(p[56:]) != 0:
		return errors.New("segments were dropped: this reader does not read checkpoints")
	}
	return nil
}

// Blob names a blob or a snapshot.
type Blob struct {
	Container, Name string
	Snapshot        uint64 // ticks; 0: the blob itself
	Size            int64

	kind               byte // 1: page, 2: block, 3: append blob
	volume, generation uint64
	blocks             uint64 // of a block blob with a list
	deleted            bool   // and kept for a while, or never committed
}

// Blobs returns all blobs and snapshots that can be reached, in the order of their keys.
func (s *Store) Blobs() ([]Blob, error) {
	containers := map[uint64]string{}
	for key, value := range s.rows {
		if key[0] == 'c' {
			r := &reader{p: value}
			if r.u8() != 1 {
				return nil, fmt.Errorf("container %s has another version", key[1:])
			}
			containers[r.loose()] = key[1:]
		}
	}
	var keys []string
	for key := range s.rows {
		if key[0] == 'b' {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	var blobs []Blob
	for _, key := range keys {
		container, ok := containers[binary.BigEndian.Uint64([]byte(key[1:]))]
		if !ok {
			continue // it was deleted
		}
		b, err := blobRow(key, s.rows[key])
		if err != nil {
			return nil, err
		}
		if b.deleted {
			continue
		}
		b.Container = container
		blobs = append(blobs, b)
	}
	return blobs, nil
}

func blobRow(key string, value []byte) (b Blob, err error) {
	rest := key[9:]
	for {
		i := strings.IndexByte(rest, 0)
		if i < 0 || i+1 >= len(rest) {
			return b, fmt.Errorf("key %x", key)
		}
		b.Name += rest[:i]
		mark := rest[i+1]
		rest = rest[i+2:]
		if mark == 1 {
			break
		}
		b.Name += "\x00"
	}
	if rest != "\xff" {
		b.Snapshot = binary.BigEndian.Uint64([]byte(rest))
	}
	r := &reader{p: value}
	version, kind, flags := r.u8(), r.u8(), r.u8()
	if version != 1 || kind < 1 || kind > 3 {
		return b, fmt.Errorf("blob %q: version %d, type %d", b.Name, version, kind)
	}
	b.volume, b.Size = r.loose(), int64(r.loose())
	b.kind = kind
	r.loose() // sequence
	switch kind {
	case 2:
		b.blocks = r.loose()
		r.loose() // bytes of the list
		r.loose() // first free region
		r.loose() // epoch
		if r.u8() == 1 {
			r.loose()
			r.u8()
			r.bytes(8)
			r.loose()
		}
	case 3:
		r.loose()
		r.u8()
	}
	r.bytes(16) // etag, created
	if flags&1 != 0 {
		r.u8()
		r.bytes(int(r.loose()))
		r.loose()
		r.bytes(8)
	}
	if flags&2 != 0 {
		r.loose()
		r.loose()
		r.bytes(8)
	}
	if flags&4 != 0 {
		b.generation = r.loose()
	}
	if flags&16 != 0 {
		r.bytes(int(r.loose())) // tags
	}
	if flags&64 != 0 {
		r.bytes(int(r.loose())) // copy
	}
	if flags&8 != 0 {
		r.bytes(int(r.loose())) // state of the copy
	}
	if flags&32 != 0 {
		text := r.bytes(int(r.loose()))                  // retention
		b.deleted = len(text) > 0 && text[0]&(1|32) != 0 // deleted, or vacant
	}
	if flags&128 != 0 {
		r.bytes(int(r.loose())) // marks
	}
	return b, r.err
}

// Read returns the bytes of a blob.
func (s *Store) Read(b *Blob) ([]byte, error) {
	v := s.volumes[b.volume]
	if v == nil {
		return nil, fmt.Errorf("volume %d does not exist", b.volume)
	}
	regions := v.regions
	if b.generation != 0 {
		if regions = v.frozen[b.generation]; regions == nil {
			return nil, fmt.Errorf("generation %d of volume %d does not exist", b.generation, b.volume)
		}
	}
	contents := map[uint64][]byte{}
	if b.kind == 1 {
		for no, r := range regions {
			for i, pg := range r {
				if at := (int64(no)*128 + int64(i)) * 512; at >= b.Size && pg.valid {
					return nil, fmt.Errorf("page %d is valid behind the end", at/512)
				}
			}
		}
	}
	if b.blocks == 0 {
		return s.readPages(regions, 0, b.Size, contents)
	}
	table, err := s.readPages(regions, 1<<50/128, int64(b.blocks)*16, contents)
	if err != nil {
		return nil, err
	}
	var out []byte
	for ; len(table) > 0; table = table[16:] {
		region := binary.LittleEndian.Uint64(table[6:14]) & (1<<48 - 1)
		block, err := s.readPages(regions, region, int64(binary.LittleEndian.Uint32(table[12:])), contents)
		if err != nil {
			return nil, err
		}
		out = append(out, block...)
	}
	if int64(len(out)) != b.Size {
		return nil, fmt.Errorf("the blocks have %d bytes, the blob has %d", len(out), b.Size)
	}
	return out, nil
}

// readPages returns n bytes from the beginning of a region on.
func (s *Store) readPages(regions map[uint64]region, first uint64, n int64, contents map[uint64][]byte) ([]byte, error) {
	out := make([]byte, n)
	for no := first; no < first+uint64((n+65535)/65536); no++ {
		for i, pg := range regions[no] {
			at := (int64(no-first)*128 + int64(i)) * 512
			if !pg.valid || pg.frame == 0 || at >= n {
				continue
			}
			content, from, err := s.find(place{pg.frame, pg.off}, contents)
			if err != nil {
				return nil, err
			}
			copy(out[at:], content[from:from+512])
		}
	}
	return out, nil
}

// find returns the content of a frame and where in it a page lies, following folds while the page is not where it was.
func (s *Store) find(at place, contents map[uint64][]byte) (content []byte, from int, err error) {
	for {
		f := s.frames[at.frame]
		if f != nil {
			if from, err = f.place(at.page); err == nil {
				break
			}
		}
		next, ok := s.moved[at]
		if !ok {
			return nil, 0, fmt.Errorf("page %d of frame %d is nowhere", at.page, at.frame)
		}
		at = next
	}
	if content = contents[at.frame]; content == nil {
		if content, err = s.content(at.frame); err != nil {
			return nil, 0, fmt.Errorf("frame %d: %w", at.frame, err)
		}
		contents[at.frame] = content
	}
	return content, from, nil
}

// reader reads numbers from the front of some bytes.
type reader struct {
	p   []byte
	err error
}

func (r *reader) bytes(n int) []byte {
	if r.err != nil || n < 0 || n > len(r.p) {
		if r.err == nil {
			r.err = errors.New("cut")
		}
		return make([]byte, max(0, min(n, 64)))
	}
	b := r.p[:n]
	r.p = r.p[n:]
	return b
}

func (r *reader) u8() byte    { return r.bytes(1)[0] }
func (r *reader) u16() uint16 { return binary.LittleEndian.Uint16(r.bytes(2)) }
func (r *reader) u32() uint32 { return binary.LittleEndian.Uint32(r.bytes(4)) }

// loose reads a uvarint in whatever form.
func (r *reader) loose() uint64 {
	v, n := binary.Uvarint(r.p)
	if n <= 0 {
		r.err = errors.New("no number")
		return 0
	}
	r.p = r.p[n:]
	return v
}

// uvarint reads one that must have its fewest bytes.
func (r *reader) uvarint() uint64 {
	before := r.p
	v := r.loose()
	if r.err == nil && !bytes.Equal(binary.AppendUvarint(nil, v), before[:len(before)-len(r.p)]) {
		r.err = fmt.Errorf("%d in another form than its shortest", v)
	}
	return v
}
