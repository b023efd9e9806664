package segment

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the golden files; read the diff")

var (
	testStore  = StoreID{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
	testHeader = Header{Store: testStore, ID: 0x01020304, First: 0x1112131415161718, Created: 0x2122232425262728}
)

// build returns the bytes of a sealed segment with the given pairs of Meta and Data.
func build(h Header, pairs ...string) []byte {
	var w Writer
	var b Buffers
	w.Reset(h)
	out := h.Append(nil)
	for i := 0; i < len(pairs); i += 2 {
		durable := w.End()
		meta, data := []byte(pairs[i]), []byte(pairs[i+1])
		w.Append(&b, &Source{
			LSN:     h.First + LSN(i/2),
			Meta:    meta,
			Data:    [][]byte{data[:len(data)/2], data[len(data)/2:]},
			DataLen: int64(len(data)),
			MetaCRC: Checksum(0, meta),
			DataCRC: Checksum(0, data),
		}, durable)
	}
	for _, p := range b.Slices() {
		out = append(out, p...)
	}
	return w.AppendFooter(out, 0)
}

// TestGolden compares the bytes of every structure with reviewed ones. A changed byte means a new format version.
func TestGolden(t *testing.T) {
	var text strings.Builder
	part := func(name string, b []byte) {
		fmt.Fprintf(&text, "%s, %d bytes\n%s\n", name, len(b), hex.Dump(b))
	}
	id := Identity{Store: testStore, Number: 2, Count: 3, Epoch: 0x3132333435363738, Created: 0x2122232425262728}
	part("MEMBER", testMember().Append(nil))
	part("MEMBER of version 1", id.Append(nil))
	seg := build(testHeader, "meta", "some data", "", "", "more meta", "")
	part("segment header", seg[:64])
	part("records", seg[64:endOf(seg)])
	part("footer", seg[endOf(seg):])
	part("CHECKPOINT", testManifest().Append(nil))
	const name = "testdata/format.golden"
	if *rewrite {
		if err := os.WriteFile(name, []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if text.String() != string(want) {
		t.Errorf("the format has changed:\n%s", text.String())
	}
}

func endOf(seg []byte) int64 {
	t, err := ParseTrailer(seg[len(seg)-TrailerBytes:], int64(len(seg)))
	if err != nil {
		panic(err)
	}
	return int64(t.End)
}

func TestRoundTrip(t *testing.T) {
	id := Identity{Store: testStore, Number: 2, Count: 3, Epoch: 4, Created: 5}
	if got, err := ParseIdentity(id.Append(nil)); err != nil || got != id {
		t.Errorf("identity: %v %v", got, err)
	}
	pairs := []string{"meta", "some data", "", "", "more meta", "", strings.Repeat("m", 300<<10), strings.Repeat("d", 700<<10+5)}
	seg := build(testHeader, pairs...)
	r := NewReader(bytes.NewReader(seg), int64(len(seg)), testStore, testHeader.ID)
	if h, err := r.Header(); err != nil || h != testHeader {
		t.Fatalf("header: %+v %v", h, err)
	}
	tr, err := r.Trailer()
	if err == nil {
		err = r.CheckTable(&tr)
	}
	if err != nil || tr.Count != 4 || tr.First != testHeader.First || tr.Last() != testHeader.First+3 || int(tr.Length) != len(seg) || len(seg)%Align != 0 {
		t.Fatalf("trailer: %+v %v", tr, err)
	}
	table, err := r.Table(nil, &tr, 0)
	if err != nil || len(table) != 4 {
		t.Fatalf("table: %v %v", table, err)
	}
	off := int64(HeaderBytes)
	for i, e := range table {
		h, err := r.Record(off)
		if err != nil || h.LSN != testHeader.First+LSN(i) || h.Durable != uint32(off) && i > 0 || int64(e.Offset) != off || e.End() != h.End() {
			t.Fatalf("record %d: %+v %v, in the table %+v", i, h, err, e)
		}
		_, meta, err := r.Meta([]byte("x"), e)
		if err != nil || string(meta) != "x"+pairs[2*i] {
			t.Fatalf("meta of record %d: %v", i, err)
		}
		if data := string(seg[h.DataOffset():][:h.Data]); data != pairs[2*i+1] {
			t.Fatalf("data of record %d differs", i)
		}
		off = h.End()
	}
	if off != int64(tr.End) {
		t.Fatalf("records end at %d, the trailer says %d", off, tr.End)
	}
	if d, at, err := r.Durable(HeaderBytes); err != nil || d != int64(table[3].Offset) || at != d {
		t.Fatalf("durable: %d at %d, %v", d, at, err)
	}
}

// TestRewind lays out records, forgets the last ones, whose writing has failed, and seals: what was written of them lies under the
// footer, and the segment is that of the records before.
func TestRewind(t *testing.T) {
	for _, lost := range []int{1, 20, 300, 5000} {
		var w Writer
		var b Buffers
		w.Reset(testHeader)
		file := testHeader.Append(nil)
		add := func(lsn LSN, data string) {
			b.Reset()
			src := Source{LSN: lsn, Data: [][]byte{[]byte(data)}, DataLen: int64(len(data)), MetaCRC: Checksum(0, nil), DataCRC: Checksum(0, []byte(data))}
			w.Append(&b, &src, w.End())
			for _, p := range b.Slices() {
				file = append(file, p...)
			}
		}
		add(testHeader.First, "kept")
		mark := w.Mark()
		add(testHeader.First+1, strings.Repeat("x", lost))
		wrote := w.End()
		w.Rewind(mark)
		if w.End() != mark.End() || w.Count() != 1 || w.DataBytes() != 4 {
			t.Fatalf("%d bytes: end %d, %d records of %d bytes", lost, w.End(), w.Count(), w.DataBytes())
		}
		footer := w.AppendFooter(nil, wrote)
		if end := w.End() + int64(len(footer)); end < wrote || end > max(Padded(wrote), FileBytes(w.End(), 1)) {
			t.Fatalf("%d bytes: the file ends at %d, and was written up to %d", lost, end, wrote)
		}
		file = append(file[:w.End()], footer...)
		r := NewReader(strings.NewReader(string(file)), int64(len(file)), testStore, testHeader.ID)
		tr, err := r.Trailer()
		if err == nil {
			err = r.CheckTable(&tr)
		}
		if err != nil || tr.Count != 1 || int64(tr.End) != mark.End() {
			t.Fatalf("%d bytes: %+v %v", lost, tr, err)
		}
		if h, err := r.Record(HeaderBytes); err != nil || h.LSN != testHeader.First || h.End() != mark.End() {
			t.Fatalf("%d bytes: %+v %v", lost, h, err)
		}
	}
}

func TestNames(t *testing.T) {
	f := func(name string, id ID, sealed, ok bool) {
		t.Helper()
		gotID, gotSealed, gotOK := ParseName(name)
		if gotID != id || gotSealed != sealed || gotOK != ok {
			t.Errorf("%q: %d %v %v", name, gotID, gotSealed, gotOK)
		}
		if ok && Name(id, sealed) != name {
			t.Errorf("%q: named %q again", name, Name(id, sealed))
		}
	}
	f("0000000001.seg", 1, true, true)
	f("0000000001.open", 1, false, true)
	f("4294967295.seg", 4294967295, true, true)
	f("4294967296.seg", 0, false, false) // more than 32 bits
	f("0000000000.seg", 0, false, false) // no segment
	f("000000001.seg", 0, false, false)
	f("+000000001.seg", 0, false, false)
	f("0000000001.tmp", 0, false, false)
	f("0000000001.seg.x", 0, false, false)
	f("0000000001", 0, false, false)
	f("MEMBER", 0, false, false)
}

// TestElsewhere: a record is one only in its log, its segment and at its offset.
func TestElsewhere(t *testing.T) {
	seg := build(testHeader, "meta", "data", "meta", "data")
	size := int64(len(seg))
	read := func(b []byte, store StoreID, id ID, off int64) error {
		_, err := NewReader(bytes.NewReader(b), size, store, id).Record(off)
		return err
	}
	if err := read(seg, testStore, testHeader.ID, 64); err != nil {
		t.Fatal(err)
	}
	if err := read(seg, StoreID{1}, testHeader.ID, 64); !errors.Is(err, ErrDamaged) {
		t.Errorf("in another log: %v", err)
	}
	if err := read(seg, testStore, testHeader.ID+1, 64); !errors.Is(err, ErrDamaged) {
		t.Errorf("in another segment: %v", err)
	}
	moved := bytes.Clone(seg)
	copy(moved[64+48:], seg[64:64+48])
	if err := read(moved, testStore, testHeader.ID, 64+48); !errors.Is(err, ErrDamaged) {
		t.Errorf("at another offset: %v", err)
	}
}

// TestBuffers: what is laid out is what is written, wherever the pieces lie, and long parts are not copied.
func TestBuffers(t *testing.T) {
	var w Writer
	var b Buffers
	for round := range 3 {
		w.Reset(testHeader)
		b.Reset()
		long := bytes.Repeat([]byte{byte(round)}, CopyBelow)
		data := [][]byte{[]byte("a"), long, nil, []byte("b"), long[:CopyBelow-1], long}
		whole := bytes.Join(data, nil)
		at := w.Append(&b, &Source{LSN: testHeader.First, Meta: []byte("meta"), Data: data, DataLen: int64(len(whole)), MetaCRC: 1, DataCRC: 2}, 64)
		slices := b.Slices()
		var got []byte
		borrowed := 0
		for _, p := range slices {
			got = append(got, p...)
			if &p[0] == &long[0] {
				borrowed++
			}
		}
		if len(slices) != 5 || borrowed != 2 {
			t.Fatalf("%d slices, %d of them borrowed", len(slices), borrowed)
		}
		if int64(len(got)) != w.End()-HeaderBytes || !bytes.Equal(got[at-HeaderBytes:][:len(whole)], whole) {
			t.Fatal("the bytes are not those of the record")
		}
	}
}

// FuzzReader gives the reader arbitrary bytes as a segment: it never panics, and never asks for more memory than its
// window and what the file holds.
func FuzzReader(f *testing.F) {
	seg := build(testHeader, "meta", "some data", "", "", "more meta", strings.Repeat("x", 100))
	f.Add(seg)
	f.Add(seg[:64])
	f.Add(seg[:len(seg)-64])
	f.Add(append(bytes.Clone(seg), 1, 2, 3))
	f.Add([]byte{})
	for _, at := range []int{8, 16, 60, 64, 72, 80, 84, 96, len(seg) - 24, len(seg) - 20, len(seg) - 12} {
		b := bytes.Clone(seg)
		b[at] ^= 0xff
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		checkAnyBytes(t, b)
		// Nearly no random change keeps a checksum; mend them, so that wrong lengths behind right checksums are seen.
		checkAnyBytes(t, mend(bytes.Clone(b)))
	})
}

func checkAnyBytes(t *testing.T, b []byte) {
	size := int64(len(b))
	r := NewReader(bytes.NewReader(b), size, testStore, testHeader.ID)
	_, _ = r.Header()
	if tr, err := r.Trailer(); err == nil {
		if tr.Count == 0 || int64(tr.End)+int64(tr.Count)*EntryBytes > size {
			t.Fatalf("trailer %+v in %d bytes", tr, size)
		}
		if err := r.CheckTable(&tr); err == nil {
			if table, err := r.Table(nil, &tr, tr.Count/2); err != nil || len(table) != int(tr.Count-tr.Count/2) {
				t.Fatalf("table of %d rows: %v", len(table), err)
			}
		}
	}
	for off := int64(-8); off < size+16; off++ {
		h, err := r.Record(off)
		if err == nil && (h.End() > size || off%Align != 0 || h.End() <= off) {
			t.Fatalf("record %+v in %d bytes", h, size)
		}
		e := Entry{Offset: uint32(off), Meta: h.Meta, Data: h.Data}
		if off%3 == 0 {
			e.Meta, e.Data = uint32(size)-uint32(off), 1<<31 // as a damaged table might say
		}
		_, meta, err := r.Meta(nil, e)
		if err == nil && int64(len(meta)) > size {
			t.Fatalf("meta of %d bytes in %d bytes", len(meta), size)
		}
	}
	if d, at, err := r.Durable(0); err != nil || d > at || at > size {
		t.Fatalf("durable %d at %d of %d: %v", d, at, size, err)
	}
	if cap(r.buf) > windowBytes {
		t.Fatalf("a window of %d bytes", cap(r.buf))
	}
}

// mend corrects the checksums of frames and record headers.
func mend(b []byte) []byte {
	le := func(p []byte, crc uint32) {
		p[0], p[1], p[2], p[3] = byte(crc), byte(crc>>8), byte(crc>>16), byte(crc>>24)
	}
	if len(b) >= 64 {
		le(b[60:], Checksum(0, b[:60]))
		tail := b[len(b)-64:]
		le(tail[60:], Checksum(0, tail[:60]))
	}
	seed := Seed(testStore, testHeader.ID)
	for off := 64; off+RecordHeaderBytes <= len(b); off += Align {
		if [4]byte(b[off:off+4]) == recordMagic {
			le(b[off+36:], Checksum(seed, b[off:off+36]))
		}
	}
	return b
}
