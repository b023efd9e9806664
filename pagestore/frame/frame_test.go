package frame

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"math/bits"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"pagevault/internal/testkit"
	"pagevault/pagestore/seal"
)

// testRing returns a ring with one session.
func testRing(t testing.TB) (*seal.Ring, *seal.Session) {
	t.Helper()
	ring := seal.NewRing([32]byte(bytes.Repeat([]byte{0xda}, 32)))
	s, err := ring.Session(7, [32]byte(bytes.Repeat([]byte{0x5a}, 32)))
	if err != nil {
		t.Fatal(err)
	}
	return ring, s
}

// random returns n bytes that cannot be compressed.
func random(rng *rand.Rand, n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(rng.Uint32())
	}
	return p
}

// text returns n bytes that can.
func text(rng *rand.Rand, n int) []byte {
	var b bytes.Buffer
	for b.Len() < n {
		fmt.Fprintf(&b, "page %d of %d, ", rng.IntN(1000), rng.IntN(10))
	}
	return b.Bytes()[:n]
}

// content returns some content for a header's pages and present blocks: not, partly or very compressible.
func content(rng *rand.Rand, h *Header, kind int) []byte {
	n := h.ContentBytes()
	switch kind {
	case 0:
		return random(rng, n)
	case 1:
		return append(text(rng, n/2), random(rng, n-n/2)...)
	}
	return text(rng, n)
}

// shape sets pages and present blocks of h at random.
func shape(rng *rand.Rand, h *Header) {
	h.Pages = uint8(1 + rng.IntN(MaxPages))
	if rng.IntN(4) == 0 {
		h.Pages = uint8(1 + rng.IntN(9))
	}
	h.Present = All(int(h.Pages))
	if rng.IntN(2) == 0 {
		for h.Present &= uint16(rng.Uint32()); h.Present == 0; {
			h.Present = All(int(h.Pages)) & uint16(rng.Uint32())
		}
	}
}

// pagesOf returns what the pages [from, to) of a frame hold, by the definition of its content; ok is false if one of
// them lies in a block that is not present.
func pagesOf(h *Header, content []byte, from, to int) (p []byte, ok bool) {
	for page := range int(h.Pages) {
		block := page / BlockPages
		if h.Present>>block&1 == 0 {
			if from <= page && page < to {
				return nil, false
			}
			continue
		}
		if from <= page && page < to {
			p = append(p, content[:PageBytes]...)
		}
		content = content[PageBytes:]
	}
	return p, true
}

// TestRoundTrip encodes frames of all shapes by all methods, sealed and not, and reads ranges of them through spans.
func TestRoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(testkit.Seed(t), 0))
	ring, session := testRing(t)
	arena := make([]byte, 0, 1<<20)
	d := Decoder{Ring: ring}
	codecs := make(map[Codec]int)
	for range 1500 {
		e := Encoder{Method: Method(rng.IntN(3))}
		if rng.IntN(2) == 0 {
			e.Session = session
		}
		var h Header
		shape(rng, &h)
		want := content(rng, &h, rng.IntN(3))
		before := bytes.Clone(want)
		stored, extended := e.Encode(arena, &h, want)
		codecs[h.Codec]++
		if !bytes.Equal(want, before) {
			t.Fatal("Encode changed the content")
		}
		if err := h.Check(); err != nil || int(h.Stored) != len(stored) || len(stored) > MaxStored {
			t.Fatalf("%+v, %d bytes: %v", h, len(stored), err)
		}
		if h.Session == 0 && h.Codec == Raw {
			if &stored[0] != &want[0] || len(extended) != 0 {
				t.Fatal("content that is stored as it is was copied")
			}
		} else if !bytes.Equal(extended, stored) || cap(extended) != cap(arena) {
			t.Fatal("the stored form was not appended")
		}
		if h.Session != 0 && len(want) >= 64 && bytes.Contains(stored, want[:64]) {
			t.Fatal("content shows in a sealed frame")
		}
		stored = bytes.Clone(stored)
		got := make([]byte, len(want))
		if err := d.Content(got, &h, bytes.Clone(stored)); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%+v: content: %v", h, err)
		}
		for range 8 {
			from := rng.IntN(int(h.Pages))
			readBack(t, &d, &h, stored, want, from, from+1+rng.IntN(int(h.Pages)-from))
		}
		readBack(t, &d, &h, stored, want, 0, int(h.Pages))
	}
	t.Log(codecs)
	if len(codecs) != 3 {
		t.Fatalf("codecs used: %v", codecs)
	}
}

// readBack reads pages of a frame through their span and compares.
func readBack(t *testing.T, d *Decoder, h *Header, stored, content []byte, from, to int) {
	t.Helper()
	want, ok := pagesOf(h, content, from, to)
	s, err := h.Span(from, to)
	if !ok {
		if !errors.Is(err, ErrMalformed) {
			t.Fatalf("pages [%d,%d) of %+v: %v", from, to, h, err)
		}
		return
	}
	if err != nil {
		t.Fatalf("pages [%d,%d) of %+v: %v", from, to, h, err)
	}
	if most := (Blocks(to) - from/BlockPages) * (BlockBytes + seal.Overhead); h.Codec == Raw && s.Size > most {
		t.Fatalf("pages [%d,%d) of a raw frame cost %d bytes", from, to, s.Size)
	}
	part := bytes.Clone(stored[s.Off:][:s.Size])
	if h.Exact(s, from, to) {
		if err := h.Verify(s, part); err != nil || !bytes.Equal(part, want) {
			t.Fatalf("pages [%d,%d) of %+v, exactly: %v", from, to, h, err)
		}
	}
	if h.Codec != Raw {
		if off := h.Offset(from); !bytes.Equal(content[off:][:len(want)], want) {
			t.Fatalf("page %d is not at %d of the content", from, off)
		}
	}
	got := make([]byte, len(want))
	if err := d.Read(got, h, s, from, to, part); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("pages [%d,%d) of %+v: %v", from, to, h, err)
	}
}

// TestFlippedBits flips every bit of the stored form of some frames: the checksum tells. Where damage is given the right
// checksum, a seal tells; without one, what can be told is told, and nothing panics.
func TestFlippedBits(t *testing.T) {
	rng := rand.New(rand.NewPCG(testkit.Seed(t), 0))
	ring, session := testRing(t)
	d := Decoder{Ring: ring}
	for i := range 12 {
		e := Encoder{Method: Method(i % 3)}
		if i >= 6 {
			e.Session = session
		}
		h := Header{Pages: uint8(5 + rng.IntN(16))}
		h.Present = All(int(h.Pages))
		want := content(rng, &h, 2)
		if len(want) > 2*BlockBytes && i%2 == 0 { // without the block in the middle
			h.Present &^= 2
			want = want[:h.ContentBytes()]
		}
		stored, _ := e.Encode(nil, &h, want)
		stored = bytes.Clone(stored)
		got, bad := make([]byte, len(want)), make([]byte, len(stored))
		for bit := range len(stored) * 8 {
			copy(bad, stored)
			bad[bit/8] ^= 1 << (bit % 8)
			if err := d.Content(got, &h, bad); !errors.Is(err, ErrChecksum) {
				t.Fatalf("%+v: bit %d: %v", h, bit, err)
			}
			if bit%37 != 0 { // the rest is slow
				continue
			}
			readDamaged(t, &d, &h, stored, bit)
			copy(bad, stored)
			bad[bit/8] ^= 1 << (bit % 8)
			forged := h
			forged.CRCs = checksums(&h, bad)
			err := d.Content(got, &forged, bad)
			if h.Session != 0 && !errors.Is(err, ErrSealed) {
				t.Fatalf("%+v: bit %d, with the right checksum: %v", h, bit, err)
			}
			if err != nil && !errors.Is(err, ErrSealed) && !errors.Is(err, ErrMalformed) {
				t.Fatalf("%+v: bit %d: %v", h, bit, err)
			}
		}
	}
}

// readDamaged reads runs of pages of a frame, one bit of whose stored bytes is flipped: where it is among the bytes that
// the pages need, the error is ErrChecksum, else they are read.
func readDamaged(t *testing.T, d *Decoder, h *Header, stored []byte, bit int) {
	t.Helper()
	for from := range int(h.Pages) {
		for _, to := range []int{from + 1, from + 3, int(h.Pages)} {
			if to > int(h.Pages) {
				continue
			}
			s, err := h.Span(from, to)
			if err != nil {
				continue // a block of them is not there
			}
			part := bytes.Clone(stored[s.Off:][:s.Size])
			hit := s.Off <= bit/8 && bit/8 < s.Off+s.Size
			if hit {
				part[bit/8-s.Off] ^= 1 << (bit % 8)
			}
			err = d.Read(make([]byte, (to-from)*PageBytes), h, s, from, to, part)
			if hit && !errors.Is(err, ErrChecksum) || !hit && err != nil {
				t.Fatalf("%+v: pages [%d,%d), bit %d: %v", *h, from, to, bit, err)
			}
		}
	}
}

// checksums returns the checksums of stored bytes, right for them.
func checksums(h *Header, stored []byte) (crcs []uint32) {
	for range h.CRCCount() {
		n := len(stored)
		if h.Codec == Raw {
			n = min(n, BlockBytes+h.tag())
		}
		crcs = append(crcs, crc32.Checksum(stored[:n], castagnoli))
		stored = stored[n:]
	}
	return crcs
}

// TestBlocksDoNotSwap exchanges two sealed blocks with their checksums: each opens in its own place only.
func TestBlocksDoNotSwap(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	ring, session := testRing(t)
	h := Header{Pages: 16, Present: 3}
	e, d := Encoder{Session: session}, Decoder{Ring: ring}
	stored, _ := e.Encode(nil, &h, random(rng, 16*PageBytes))
	const n = BlockBytes + seal.Overhead
	swapped := append(bytes.Clone(stored[n:]), stored[:n]...)
	h.CRCs[0], h.CRCs[1] = h.CRCs[1], h.CRCs[0]
	if err := d.Content(make([]byte, 16*PageBytes), &h, swapped); !errors.Is(err, ErrSealed) {
		t.Fatal(err)
	}
}

// TestCompactedRawFrame drops a block of a sealed raw frame by leaving out its bytes: the others still open where they are.
func TestCompactedRawFrame(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	ring, session := testRing(t)
	h := Header{Pages: 20, Present: 7}
	e, d := Encoder{Session: session}, Decoder{Ring: ring}
	want := random(rng, 20*PageBytes)
	stored, _ := e.Encode(nil, &h, want)
	const n = BlockBytes + seal.Overhead
	less := append(bytes.Clone(stored[:n]), stored[2*n:]...)
	h.Present, h.Stored, h.CRCs = 5, uint32(len(less)), []uint32{h.CRCs[0], h.CRCs[2]}
	if err := h.Check(); err != nil {
		t.Fatal(err)
	}
	want = append(want[:BlockBytes:BlockBytes], want[2*BlockBytes:]...)
	readBack(t, &d, &h, less, want, 0, 8)
	readBack(t, &d, &h, less, want, 16, 20)
	readBack(t, &d, &h, less, want, 8, 9)
}

// TestCheck has one thing wrong in each header.
func TestCheck(t *testing.T) {
	f := func(want string, change func(h *Header)) {
		t.Helper()
		h := Header{Pages: 20, Present: 7, Session: 3, Counter: 64, Stored: 20*PageBytes + 3*seal.Overhead, CRCs: make([]uint32, 3)}
		if err := h.Check(); err != nil {
			t.Fatal(err)
		}
		change(&h)
		if err := h.Check(); !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	f("0 pages", func(h *Header) { h.Pages = 0 })
	f("129 pages", func(h *Header) { h.Pages = 129 })
	f("blocks 0b0", func(h *Header) { h.Present = 0 })
	f("blocks 0b1001", func(h *Header) { h.Present = 9 })
	f("codec 3", func(h *Header) { h.Codec = 3 })
	f("counter 64 without a session", func(h *Header) { h.Session = 0 })
	f("counter 18446744073709551615", func(h *Header) { h.Counter = 1<<64 - 1 })
	f("3 checksums, want 2", func(h *Header) { h.Present = 5 })
	f("10287 stored bytes, want 10288", func(h *Header) { h.Stored-- })
	f("3 checksums, want 1", func(h *Header) { h.Codec = S2 })
	compressed := func(stored int) func(h *Header) {
		return func(h *Header) { h.Codec, h.CRCs, h.Stored = Zstd, h.CRCs[:1], uint32(stored) }
	}
	f("10256 bytes by zstd of a content of 10240", compressed(10256))
	f("16 bytes by zstd", compressed(seal.Overhead))
}

// TestMalformed reads what has its checksum and is not what its header says.
func TestMalformed(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	ring, session := testRing(t)
	d := Decoder{Ring: ring}
	for _, method := range []Method{Fast, Dense} {
		h := Header{Pages: 32, Present: 15}
		e := Encoder{Method: method, Session: session}
		stored, _ := e.Encode(nil, &h, text(rng, 32*PageBytes))
		for _, pages := range []uint8{31, 33, 128} { // the content is of another length
			bad := h
			bad.Pages, bad.Present = pages, All(int(pages))
			if err := d.Content(make([]byte, bad.ContentBytes()), &bad, bytes.Clone(stored)); !errors.Is(err, ErrMalformed) {
				t.Errorf("%v, %d pages: %v", h.Codec, pages, err)
			}
		}
		unknown := h
		unknown.Session = 9
		got := make([]byte, h.ContentBytes())
		if err := d.Content(got, &unknown, bytes.Clone(stored)); !errors.Is(err, ErrSealed) || !strings.Contains(err.Error(), "session 9") {
			t.Errorf("an unknown session: %v", err)
		}
		if err := new(Decoder).Content(got, &h, bytes.Clone(stored)); !errors.Is(err, ErrSealed) {
			t.Errorf("no sessions: %v", err)
		}
		if err := d.Content(got, &h, stored[1:]); !errors.Is(err, ErrMalformed) {
			t.Errorf("a byte is missing: %v", err)
		}
		if err := d.Content(got[1:], &h, stored); !errors.Is(err, ErrMalformed) {
			t.Errorf("room for less: %v", err)
		}
		s, err := h.Span(0, 1)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Read(got[:PageBytes], &h, s, 0, 2, stored); !errors.Is(err, ErrMalformed) {
			t.Errorf("room for less: %v", err)
		}
		if err := d.Read(got[:PageBytes], &h, s, 0, 1, stored[1:]); !errors.Is(err, ErrMalformed) {
			t.Errorf("a byte of the span is missing: %v", err)
		}
	}
	h := Header{Pages: 8, Present: 1}
	for _, r := range [][2]int{{-1, 1}, {0, 0}, {3, 2}, {0, 9}} {
		if _, err := h.Span(r[0], r[1]); !errors.Is(err, ErrMalformed) {
			t.Errorf("pages %v: %v", r, err)
		}
	}
}

// TestFormat compares the stored form with testdata/format, with fixed keys. What compressors write may change with
// their versions, and then is read as before: for them the file has the bytes, and the test reads these.
func TestFormat(t *testing.T) {
	ring, _ := testRing(t)
	datadriven.RunTest(t, "testdata/format", func(t *testing.T, d *datadriven.TestData) string {
		var pages, present, codec, method int
		var sealed bool
		d.ScanArgs(t, "pages", &pages)
		d.ScanArgs(t, "present", &present)
		d.MaybeScanArgs(t, "method", &method)
		d.MaybeScanArgs(t, "codec", &codec)
		d.MaybeScanArgs(t, "sealed", &sealed)
		h := Header{Pages: uint8(pages), Present: uint16(present)}
		want := sampleContent(&h)
		switch d.Cmd {
		case "encode":
			e := Encoder{Method: Method(method)}
			if sealed {
				_, e.Session = testRing(t)
				e.Session.Reserve(0x100)
			}
			stored, _ := e.Encode(nil, &h, want)
			return fmt.Sprintf("codec %d session %d counter %d stored %d crcs %08x\n%s", h.Codec, h.Session, h.Counter, h.Stored, h.CRCs, dump(stored))
		case "decode":
			stored, err := hex.DecodeString(strings.ReplaceAll(d.Input, "\n", ""))
			if err != nil {
				t.Fatal(err)
			}
			h.Codec, h.Stored = Codec(codec), uint32(len(stored))
			if sealed {
				h.Session, h.Counter = 7, 0x100
			}
			h.CRCs = checksums(&h, stored)
			got := make([]byte, h.ContentBytes())
			dec := Decoder{Ring: ring}
			if err := errors.Join(h.Check(), dec.Content(got, &h, stored)); err != nil {
				return err.Error() + "\n"
			}
			if !bytes.Equal(got, want) {
				return "something else\n"
			}
			return "the content\n"
		}
		t.Fatalf("unknown: %s", d.Cmd)
		return ""
	})
}

// sampleContent returns content in which every page repeats its number, a u32.
func sampleContent(h *Header) (p []byte) {
	for page := range uint32(h.Pages) {
		if h.Present>>(page/BlockPages)&1 != 0 {
			p = append(p, bytes.Repeat(binary.LittleEndian.AppendUint32(nil, page), PageBytes/4)...)
		}
	}
	return p
}

// dump returns p in hex; of much, the beginning, the end and a checksum of the whole.
func dump(p []byte) string {
	if len(p) <= 256 {
		return hex.Dump(p)
	}
	return fmt.Sprintf("%s...\n%scrc of the whole %08x\n", hex.Dump(p[:64]), hex.Dump(p[len(p)-32:]), crc32.Checksum(p, castagnoli))
}

// FuzzDecode reads arbitrary bytes by arbitrary headers. Nothing panics, and what is read has the length asked for; with
// a seal, nothing is read.
func FuzzDecode(f *testing.F) {
	rng := rand.New(rand.NewPCG(1, 2))
	for method := range Method(3) {
		h := Header{Pages: 20, Present: 7}
		e := Encoder{Method: method}
		stored, _ := e.Encode(nil, &h, text(rng, 20*PageBytes))
		f.Add(h.Pages, h.Present, uint8(h.Codec), false, uint8(3), uint8(9), stored)
		f.Add(h.Pages, h.Present, uint8(h.Codec), true, uint8(3), uint8(9), stored)
	}
	ring, _ := testRing(f)
	f.Fuzz(func(t *testing.T, pages uint8, present uint16, codec uint8, sealed bool, from, to uint8, stored []byte) {
		h := Header{Pages: pages, Present: present, Codec: Codec(codec), Stored: uint32(len(stored))}
		if sealed {
			h.Session, h.Counter = 7, uint64(from)<<8
		}
		if codec > uint8(Zstd) || h.Codec == Raw && bits.OnesCount16(present)*(BlockBytes+h.tag()) > len(stored)+BlockBytes {
			return // no checksums to give it
		}
		h.CRCs = checksums(&h, stored)
		if err := h.Check(); err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		d := Decoder{Ring: ring}
		all := make([]byte, h.ContentBytes())
		whole := d.Content(all, &h, bytes.Clone(stored))
		if whole != nil && !errors.Is(whole, ErrMalformed) && !errors.Is(whole, ErrSealed) {
			t.Fatal(whole)
		}
		if whole == nil && sealed {
			t.Fatal("a seal was made up")
		}
		s, err := h.Span(int(from), int(to))
		if err != nil {
			return
		}
		dst := make([]byte, int(to-from)*PageBytes)
		if err := d.Read(dst, &h, s, int(from), int(to), bytes.Clone(stored[s.Off:][:s.Size])); (err == nil) != (whole == nil) {
			t.Fatalf("pages [%d,%d): %v, all: %v", from, to, err, whole)
		}
		if want, _ := pagesOf(&h, all, int(from), int(to)); whole == nil && !bytes.Equal(dst, want) {
			t.Fatal("a part is not that part of the whole")
		}
	})
}

// FuzzHeader checks that Check lets nothing pass that Span, ContentBytes or Verify cannot work with.
func FuzzHeader(f *testing.F) {
	f.Add(uint8(20), uint16(7), uint8(0), uint32(0), uint64(0), uint32(20*PageBytes), uint8(3), uint8(0), uint8(20))
	f.Fuzz(func(t *testing.T, pages uint8, present uint16, codec uint8, session uint32, counter uint64, stored uint32, crcs, from, to uint8) {
		h := Header{pages, present, Codec(codec), session, counter, stored, make([]uint32, crcs)}
		if h.Check() != nil {
			return
		}
		if n := h.ContentBytes(); n <= 0 || n > MaxBytes || h.Stored > MaxStored {
			t.Fatalf("%+v has a content of %d bytes", h, n)
		}
		s, err := h.Span(int(from), int(to))
		if err != nil {
			return
		}
		if s.Off < 0 || s.Size <= 0 || s.Off+s.Size > int(h.Stored) {
			t.Fatalf("%+v: pages [%d,%d) at %+v", h, from, to, s)
		}
		if err := h.Verify(s, make([]byte, s.Size)); err != nil && !errors.Is(err, ErrChecksum) {
			t.Fatal(err)
		}
	})
}
