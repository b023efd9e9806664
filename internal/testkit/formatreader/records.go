package formatreader

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/bits"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/zeebo/blake3"
)

// header carries out record 1.
func (s *Store) header(meta, master []byte) error {
	if len(meta) != 124 || meta[0] != 1 || binary.LittleEndian.Uint16(meta[1:]) != 2 {
		return errors.New("no header of format 2")
	}
	if binary.LittleEndian.Uint32(meta[3:]) != 512 || binary.LittleEndian.Uint32(meta[7:]) != 4096 || binary.LittleEndian.Uint32(meta[11:]) != 65536 {
		return errors.New("other sizes of pages, chunks and regions")
	}
	s.direct = uint64(binary.LittleEndian.Uint32(meta[15:]))
	keys := meta[44:108]
	switch meta[23] {
	case 0:
	case 1:
		id := derive("pagevault master key id 1", master)
		if len(master) != 32 || string(id[:8]) != string(meta[24:32]) {
			return fmt.Errorf("the master key is not %x", meta[24:32])
		}
		var err error
		if keys, err = open(master, meta[32:44], meta[44:124], meta[:32]); err != nil {
			return err
		}
	default:
		return fmt.Errorf("cipher %d", meta[23])
	}
	copy(s.names[:], keys)
	copy(s.data[:], keys[32:])
	return nil
}

func derive(context string, material []byte) (key [32]byte) {
	blake3.DeriveKey(context, material, key[:])
	return key
}

func open(key, nonce, sealed, additional []byte) ([]byte, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	return gcm.Open(nil, nonce, sealed, additional)
}

// commit carries out the operations of a record whose Data begins at an offset of a segment.
func (s *Store) commit(meta []byte, segment uint32, data int) error {
	r := &reader{p: meta}
	if r.u8() != 2 {
		return errors.New("no commit")
	}
	for r.err == nil && len(r.p) > 0 {
		kind := r.u8()
		if err := s.operation(kind, r, segment, &data); err != nil {
			return fmt.Errorf("operation %#02x: %w", kind, err)
		}
	}
	return r.err
}

func (s *Store) operation(kind byte, r *reader, segment uint32, data *int) error {
	switch kind {
	case 0x01, 0x0a:
		return s.frame(kind == 0x0a, r, segment, data)
	case 0x08:
		key := string(r.bytes(int(r.uvarint())))
		s.rows[key] = r.bytes(int(r.uvarint()))
	case 0x09:
		delete(s.rows, string(r.bytes(int(r.uvarint()))))
	case 0x0b:
		id := r.uvarint()
		gone(r)
		delete(s.frames, id)
	case 0x0c:
		s.sessions[r.uvarint()] = [32]byte(r.bytes(32))
	case 0x0d:
		return s.fold(r)
	case 0x0f:
		r.uvarint()
		r.uvarint()
		r.uvarint()
		r.uvarint()
	case 0x10:
		return s.copy(r)
	case 0x05:
		id := r.uvarint()
		if id != s.lastVol+1 {
			return fmt.Errorf("volume %d after %d", id, s.lastVol)
		}
		s.lastVol = id
		s.volumes[id] = &volume{generation: 1, regions: map[uint64]region{}, frozen: map[uint64]map[uint64]region{}}
	default:
		id := r.uvarint()
		v := s.volumes[id]
		if v == nil {
			return fmt.Errorf("volume %d does not exist", id)
		}
		return s.change(kind, r, id, v)
	}
	return r.err
}

// change carries out an operation of a volume.
func (s *Store) change(kind byte, r *reader, id uint64, v *volume) error {
	switch kind {
	case 0x02:
		return s.write(r, v)
	case 0x03:
		start, end := r.uvarint(), r.uvarint()
		if start >= end || end > 1<<54 {
			return errors.New("bad range")
		}
		v.clear(start, end)
		if (end-1)/128-start/128+1 > s.direct {
			v.generation++
		}
	case 0x04:
		v.clear(r.uvarint(), 1<<54)
		v.generation++
	case 0x06:
		g := r.uvarint()
		if g != v.generation {
			return fmt.Errorf("freeze of %d in %d", g, v.generation)
		}
		v.frozen[g] = maps.Clone(v.regions) // regions are values
		v.generation++
	case 0x0e:
		g := r.uvarint()
		if v.frozen[g] == nil {
			return fmt.Errorf("thaw of %d", g)
		}
		delete(v.frozen, g)
	case 0x07:
		delete(s.volumes, id)
	default:
		return errors.New("unknown")
	}
	return r.err
}

// copy gives a volume what a generation of another shows.
func (s *Store) copy(r *reader) error {
	dst, src, g, from, to := s.volumes[r.uvarint()], s.volumes[r.uvarint()], r.uvarint(), r.uvarint(), r.uvarint()
	if dst == nil || src == nil || dst == src || src.frozen[g] == nil || from >= to || to > 1<<47 {
		return fmt.Errorf("copy of regions [%d,%d) of generation %d", from, to, g)
	}
	for no, reg := range src.frozen[g] {
		if from <= no && no < to && reg != (region{}) {
			dst.regions[no] = reg
		}
	}
	return r.err
}

func (v *volume) clear(start, end uint64) {
	for no, reg := range v.regions {
		for i := range reg {
			if p := no*128 + uint64(i); start <= p && p < end {
				reg[i] = page{}
			}
		}
		v.regions[no] = reg
	}
}

func (s *Store) write(r *reader, v *volume) error {
	first, pages := r.uvarint(), r.uvarint()
	if pages == 0 || first+pages > 1<<54 {
		return errors.New("bad range")
	}
	for no := first / 128; no <= (first+pages-1)/128; no++ {
		from, to := max(first, no*128)-no*128, min(first+pages, no*128+128)-no*128
		switch flags := r.u8(); {
		case flags == 1 && from == 0 && to == 128:
			r.bytes(20)
		case flags != 0:
			return fmt.Errorf("flags %#x", flags)
		}
		reg := v.regions[no]
		if err := s.runs(r, int(r.u8()), &reg, int(from), int(to)); err != nil {
			return err
		}
		v.regions[no] = reg
	}
	return r.err
}

// runs reads n runs into reg. They must cover [from, to) unless to is 0.
func (s *Store) runs(r *reader, n int, reg *region, from, to int) error {
	for range n {
		first, pages, id := int(r.u8()), int(r.u8()), r.uvarint()
		off := 0
		if id != 0 {
			off = int(r.u8())
			if f := s.frames[id]; f == nil || off+pages > f.pages {
				return fmt.Errorf("run of frame %d", id)
			}
		}
		if r.err != nil || pages == 0 || first+pages > 128 || to != 0 && first != from {
			return fmt.Errorf("run [%d,%d): %w", first, first+pages, r.err)
		}
		for i := range pages {
			p := page{valid: true, frame: id}
			if id != 0 {
				p.off = off + i
			}
			reg[first+i] = p
		}
		from = first + pages
	}
	if to != 0 && from != to {
		return fmt.Errorf("runs end at %d, want %d", from, to)
	}
	return nil
}

// fold notes that the content of pages is in a second place now.
func (s *Store) fold(r *reader) error {
	r.uvarint()
	r.uvarint()
	r.uvarint()
	old := &reader{p: r.bytes(int(r.uvarint()))}
	var was, is region
	for len(old.p) > 0 && old.err == nil {
		if err := s.oldRun(old, &was); err != nil {
			return err
		}
	}
	if err := s.runs(r, int(r.u8()), &is, 0, 0); err != nil {
		return err
	}
	for i := range was {
		if was[i].valid != is[i].valid {
			return fmt.Errorf("page %d is in one of both maps only", i)
		}
		if was[i].frame != 0 && was[i] != is[i] {
			s.moved[place{was[i].frame, was[i].off}] = place{is[i].frame, is[i].off}
		}
	}
	return r.err
}

// oldRun reads a run of what a map was. Its frame may be gone: somebody may have written there meanwhile.
func (s *Store) oldRun(r *reader, reg *region) error {
	first, pages, id, off := int(r.u8()), int(r.u8()), r.uvarint(), 0
	if id != 0 {
		off = int(r.u8())
	}
	if r.err != nil || pages == 0 || first+pages > 128 {
		return fmt.Errorf("old run [%d,%d): %v", first, first+pages, r.err)
	}
	for i := range pages {
		p := page{valid: true, frame: id}
		if id != 0 {
			p.off = off + i
		}
		reg[first+i] = p
	}
	return nil
}

func gone(r *reader) {
	for n := r.u8(); n > 0 && r.err == nil; n-- {
		r.bytes(21)
	}
}

// frame takes a frame, or one that is stored anew.
func (s *Store) frame(move bool, r *reader, segment uint32, data *int) error {
	id := r.uvarint()
	f := &frame{segment: segment, offset: *data, pages: int(r.u8()), chunks: map[int][20]byte{}}
	if f.pages < 1 || f.pages > 128 {
		return fmt.Errorf("frame of %d pages", f.pages)
	}
	f.present = uint16(1<<((f.pages+7)/8) - 1)
	if move {
		f.present = r.u16()
	}
	f.codec, f.session = r.u8(), r.uvarint()
	if f.session != 0 {
		f.counter = r.uvarint()
	}
	f.bytes = int(r.uvarint())
	for n := r.u8(); n > 0 && r.err == nil; n-- {
		at := int(r.u8())
		f.chunks[at] = [20]byte(r.bytes(20))
	}
	units := 1
	if f.codec == 0 {
		units = bits.OnesCount16(f.present)
	}
	for range units {
		f.crcs = append(f.crcs, r.u32())
	}
	if move {
		gone(r)
		if s.frames[id] == nil {
			return fmt.Errorf("move of frame %d, which does not exist", id)
		}
	} else if s.lastFrm++; id != s.lastFrm {
		return fmt.Errorf("frame %d, want %d", id, s.lastFrm)
	}
	*data += f.bytes
	s.frames[id] = f
	return r.err
}

// blockBytes returns the length of a block.
func (f *frame) blockBytes(i int) int { return min(8, f.pages-8*i) * 512 }

// place returns where in the content a page lies.
func (f *frame) place(pg int) (at int, err error) {
	if pg >= f.pages || f.present>>(pg/8)&1 == 0 {
		return 0, fmt.Errorf("page %d is not there", pg)
	}
	for i := range pg / 8 {
		if f.present>>i&1 != 0 {
			at += f.blockBytes(i)
		}
	}
	return at + pg%8*512, nil
}

// content returns the content of a frame, having compared its chunks with their names.
func (s *Store) content(id uint64) ([]byte, error) {
	f := s.frames[id]
	if f == nil {
		return nil, errors.New("it does not exist")
	}
	content, err := s.stored(f)
	if err != nil {
		return nil, err
	}
	want := 0
	for i := range 16 {
		if f.present>>i&1 != 0 {
			want += f.blockBytes(i)
		}
	}
	if len(content) != want {
		return nil, fmt.Errorf("%d bytes, want %d", len(content), want)
	}
	h, err := blake3.NewKeyed(s.names[:])
	if err != nil {
		return nil, err
	}
	for pg, name := range f.chunks {
		at, err := f.place(pg)
		if err != nil {
			return nil, err
		}
		h.Reset()
		h.Write(content[at : at+4096])
		if sum := h.Sum(nil); string(sum[:20]) != string(name[:]) {
			return nil, fmt.Errorf("the chunk at page %d has the name %x, not %x", pg, sum[:20], name)
		}
		s.checked++
	}
	return content, nil
}

// stored reads the units of a frame and undoes their form.
func (s *Store) stored(f *frame) (content []byte, err error) {
	p := s.segments[f.segment][f.offset : f.offset+f.bytes]
	seal := 0
	if f.session != 0 {
		seal = 16
	}
	if f.codec == 0 {
		unit := 0
		for i := range 16 {
			if f.present>>i&1 == 0 {
				continue
			}
			n := f.blockBytes(i) + seal
			if n > len(p) {
				return nil, errors.New("too short")
			}
			block, err := s.unit(f, p[:n], f.crcs[unit], f.counter+uint64(i))
			if err != nil {
				return nil, fmt.Errorf("block %d: %w", i, err)
			}
			content, p, unit = append(content, block...), p[n:], unit+1
		}
		return content, nil
	}
	if p, err = s.unit(f, p, f.crcs[0], f.counter); err != nil {
		return nil, err
	}
	switch f.codec {
	case 1:
		return s2.Decode(nil, p)
	case 2:
		d, err := zstd.NewReader(nil, zstd.WithDecoderMaxMemory(65536))
		if err != nil {
			return nil, err
		}
		defer d.Close()
		return d.DecodeAll(p, nil)
	}
	return nil, fmt.Errorf("codec %d", f.codec)
}

// unit checks a unit and opens it if it is sealed.
func (s *Store) unit(f *frame, p []byte, want uint32, counter uint64) ([]byte, error) {
	if got := crc(p); got != want {
		return nil, fmt.Errorf("CRC %08x, want %08x", got, want)
	}
	if f.session == 0 {
		return p, nil
	}
	salt, ok := s.sessions[f.session]
	if !ok {
		return nil, fmt.Errorf("no session %d", f.session)
	}
	key := derive("pagevault session 1", append(append([]byte(nil), s.data[:]...), salt[:]...))
	nonce := make([]byte, 12)
	binary.BigEndian.PutUint64(nonce[4:], counter)
	return open(key[:], nonce, p, nil)
}
