package pagestore

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"pagevault/internal/digest"
	"pagevault/pagestore/pagemap"
	"pagevault/replication"
)

// sampleDigest returns a digest that is easy to find in a dump.
func sampleDigest(b byte) (d digest.Digest) {
	copy(d[:], bytes.Repeat([]byte{b}, len(d)))
	return d
}

// samples are values of everything that is written, by name. Their bytes are in testdata/format.
func samples() map[string][]byte {
	frame := frame{
		id: 300, codec: codecRaw, pages: 19, stored: 19 * PageSize,
		crcs:   []uint32{0x01020304, 0x11121314, 0x21222324},
		chunks: []namedChunk{{3, sampleDigest(0xaa)}, {11, sampleDigest(0xbb)}},
	}
	at := replication.Position{Segment: 7, Offset: 0x01020304}
	name := sampleDigest(0xcc)
	whole := pagemap.Entry{{First: 0, Pages: 100, Frame: 300, Off: 4}, {First: 100, Pages: 28}}
	var id [16]byte
	copy(id[:], "the store's name")
	state := state{store: id, applied: 1, nextFrame: 2, nextVolume: 3, Counters: Counters{4, 5, 6, 7, 8, 9, 10}}
	volume := volumeRow{gen: 301, frozen: 4, written: 300, erasures: []erasure{{4, Range{0, 128}}, {8, Range{1 << 20, maxPages}}}}
	g := genesis{limits: defaultLimits}
	copy(g.key[:], "a key of thirty-two bytes, secret")
	write := appendWriteOp(nil, 5, Range{120, 256})
	write = appendWriteRegion(write, nil, pagemap.Entry{{First: 120, Pages: 8, Frame: 300, Off: 0}})
	write = appendWriteRegion(write, &name, whole)
	return map[string][]byte{
		"record genesis": g.append(nil),
		"record commit":  append([]byte{recordCommit}, appendDeleteOp(nil, []byte("k"))...),
		"op frame":       appendFrameOp(nil, &frame),
		"op write":       write,
		"op clear":       appendVolumeOp(nil, opClear, 5, 128, 1<<40),
		"op truncate":    appendVolumeOp(nil, opTruncate, 5, 128),
		"op create":      appendVolumeOp(nil, opCreate, 5),
		"op freeze":      appendVolumeOp(nil, opFreeze, 5, 9),
		"op drop":        appendVolumeOp(nil, opDrop, 5),
		"op set":         appendSetOp(nil, []byte("key"), []byte("value")),
		"op delete":      appendDeleteOp(nil, []byte("key")),
		"key state":      stateKey,
		"key header":     headerKey,
		"key frame":      appendFrameKey(nil, 300),
		"key chunk":      appendDigestKey(nil, rowChunk, &name),
		"key region":     appendDigestKey(nil, rowRegion, &name),
		"key volume":     appendVolumeKey(nil, 5),
		"key map":        appendMapKey(nil, 5, 0x010203, 9),
		"key change":     appendChangeKey(nil, 5, 9, 0x010203),
		"key user":       appendUserKey(nil, []byte("key")),
		"value state":    appendState(nil, &state),
		"value frame":    appendFrameRow(nil, &frame, at),
		"value chunk":    appendChunkRow(nil, chunkRef{300, 11}),
		"value region":   pagemap.AppendEntry(nil, whole),
		"value volume":   appendVolumeRow(nil, &volume),
		"value map":      pagemap.AppendEntry(nil, whole),
		"value change":   pagemap.AppendBitmap(nil, pagemap.Span(1, 66)),
	}
}

// TestFormat compares the bytes of everything that is written with testdata/format. A changed byte means a new format.
func TestFormat(t *testing.T) {
	all := samples()
	datadriven.RunTest(t, "testdata/format", func(t *testing.T, d *datadriven.TestData) string {
		name := d.Cmd
		for _, a := range d.CmdArgs {
			name += " " + a.Key
		}
		p, ok := all[name]
		if !ok {
			t.Fatalf("no sample %q", name)
		}
		delete(all, name)
		var out strings.Builder
		for c := range slices.Chunk(p, 32) {
			fmt.Fprintf(&out, "%x\n", c)
		}
		return out.String()
	})
	for name := range all {
		t.Errorf("testdata/format has no %q", name)
	}
}

// TestRoundTrip decodes what was encoded.
func TestRoundTrip(t *testing.T) {
	all := samples()
	var d commitDecoder
	decode := func(name string) op {
		t.Helper()
		if err := d.reset(append([]byte{recordCommit}, all[name]...)); err != nil {
			t.Fatal(err)
		}
		if !d.next() {
			t.Fatalf("%s: %v", name, d.err)
		}
		o := d.op
		if o.kind == opWrite {
			for d.region() {
			}
		}
		if d.next() || d.err != nil {
			t.Fatalf("%s: more follows, or %v", name, d.err)
		}
		return o
	}
	want := func(name string, got, want any) {
		t.Helper()
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
	f := decode("op frame").frame
	want("frame", f, frame{300, codecRaw, 19, 19 * PageSize, []uint32{0x01020304, 0x11121314, 0x21222324},
		[]namedChunk{{3, sampleDigest(0xaa)}, {11, sampleDigest(0xbb)}}})
	o := decode("op write")
	want("write", []any{o.volume, o.pages}, []any{VolumeID(5), Range{120, 256}})
	want("region", []any{d.reg.no, *d.reg.name, d.reg.runs},
		[]any{uint64(1), sampleDigest(0xcc), pagemap.Entry{{First: 0, Pages: 100, Frame: 300, Off: 4}, {First: 100, Pages: 28}}})
	want("clear", decode("op clear").pages, Range{128, 1 << 40})
	want("truncate", decode("op truncate").pages, Range{128, maxPages})
	want("create", decode("op create").volume, VolumeID(5))
	want("freeze", decode("op freeze").gen, Gen(9))
	want("drop", decode("op drop").kind, opDrop)
	o = decode("op set")
	want("set", string(o.key)+"="+string(o.value), "key=value")
	want("delete", string(decode("op delete").key), "key")

	g, err := decodeGenesis(all["record genesis"])
	want("genesis", []any{g.limits, string(g.key[:5]), err}, []any{defaultLimits, "a key", nil})
	s, err := decodeState(all["value state"])
	want("state", []any{appendState(nil, &s), err}, []any{all["value state"], nil})
	var row frameRow
	err = decodeFrameRow(&row, all["value frame"])
	f.id, f.chunks = 0, nil
	want("frame row", []any{row.frame, row.at, err}, []any{f, replication.Position{Segment: 7, Offset: 0x01020304}, nil})
	c, err := decodeChunkRow(all["value chunk"])
	want("chunk row", []any{c, err}, []any{chunkRef{300, 11}, nil})
	var v volumeRow
	err = decodeVolumeRow(&v, all["value volume"])
	want("volume row", []any{v, err}, []any{volumeRow{301, 4, 300, []erasure{{4, Range{0, 128}}, {8, Range{1 << 20, maxPages}}}}, nil})
	no, gen, err := decodeMapKey(all["key map"])
	want("map key", []any{no, gen, err}, []any{uint64(0x010203), Gen(9), nil})
	gen, no, err = decodeChangeKey(all["key change"])
	want("change key", []any{no, gen, err}, []any{uint64(0x010203), Gen(9), nil})
}

// TestKeysSort checks what scans rely on.
func TestKeysSort(t *testing.T) {
	ascending := [][]byte{
		appendMapKey(nil, 1, 0, math.MaxUint32),
		appendMapKey(nil, 1, 0, 2),
		appendMapKey(nil, 1, 0, 1),
		appendMapKey(nil, 1, 1, 7),
		appendMapKey(nil, 1, 256, 7),
		appendMapKey(nil, 2, 0, 7),
		appendMapKey(nil, 256, 0, 7),
	}
	if !slices.IsSortedFunc(ascending, bytes.Compare) {
		t.Errorf("map keys: %x", ascending)
	}
	ascending = [][]byte{
		appendChangeKey(nil, 1, 1, 5),
		appendChangeKey(nil, 1, 1, 256),
		appendChangeKey(nil, 1, 2, 0),
		appendChangeKey(nil, 2, 1, 0),
	}
	if !slices.IsSortedFunc(ascending, bytes.Compare) {
		t.Errorf("change keys: %x", ascending)
	}
}

// TestDecodeCut cuts and changes every byte of every sample: an error or something else, never a panic, and no cut
// record is taken for a whole one.
func TestDecodeCut(t *testing.T) {
	for name, p := range samples() {
		decodeAll(p)
		for i := range p {
			decodeAll(p[:i])
			for _, b := range []byte{0, 1, 0x7f, 0x80, 0xff, p[i] ^ 1} {
				q := bytes.Clone(p)
				q[i] = b
				decodeAll(q)
			}
			if i > 0 && strings.HasPrefix(name, "op ") {
				if err := decodeOps(append([]byte{recordCommit}, p[:i]...)); err == nil {
					t.Errorf("%s cut after %d of %d bytes: no error", name, i, len(p))
				}
			}
		}
	}
}

// decodeOps decodes a commit to its end.
func decodeOps(p []byte) error {
	var d commitDecoder
	if err := d.reset(p); err != nil {
		return err
	}
	for d.next() {
		for d.region() {
			if err := d.reg.runs.Check(); err != nil {
				panic(err)
			}
			if n := d.reg.runs.Pages().Count(); n != d.reg.to-d.reg.from {
				panic(fmt.Sprintf("region has %d pages, runs have %d", d.reg.to-d.reg.from, n))
			}
		}
	}
	return d.err
}

// decodeAll gives p to every decoder.
func decodeAll(p []byte) {
	decodeGenesis(p)
	decodeOps(p)
	decodeOps(append([]byte{recordCommit}, p...))
	if s, err := decodeState(p); err == nil && !bytes.Equal(appendState(nil, &s), p) {
		panic("state")
	}
	var f frameRow
	if err := decodeFrameRow(&f, p); err == nil && !bytes.Equal(appendFrameRow(nil, &f.frame, f.at), p) {
		panic("frame row")
	}
	if c, err := decodeChunkRow(p); err == nil && !bytes.Equal(appendChunkRow(nil, c), p) {
		panic("chunk row")
	}
	var v volumeRow
	if err := decodeVolumeRow(&v, p); err == nil && !bytes.Equal(appendVolumeRow(nil, &v), p) {
		panic("volume row")
	}
	decodeMapKey(p)
	decodeChangeKey(p)
}

// FuzzDecode gives arbitrary bytes to every decoder of records and rows. Rows that decode must encode to the same
// bytes; a write that decodes must cover its pages.
func FuzzDecode(f *testing.F) {
	for _, p := range samples() {
		f.Add(p)
	}
	f.Add(append([]byte{recordCommit}, samples()["op write"]...))
	f.Add(binary.AppendUvarint([]byte{recordCommit, byte(opSet)}, math.MaxUint64))
	f.Fuzz(func(t *testing.T, p []byte) { decodeAll(p) })
}
