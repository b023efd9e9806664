package pagestore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"pagevault/internal/digest"
	"pagevault/pagestore/pagemap"
	"pagevault/pagestore/seal"
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
		id: 300, codec: codecRaw, pages: 19, present: 7, stored: 19 * PageSize,
		crcs:   []uint32{0x01020304, 0x11121314, 0x21222324},
		chunks: []namedChunk{{3, sampleDigest(0xaa)}, {11, sampleDigest(0xbb)}},
	}
	sealed := frame
	sealed.session, sealed.counter, sealed.stored = 2, 1<<40, 19*PageSize+3*sealBytes
	moved := frame
	moved.present, moved.codec, moved.session, moved.counter, moved.stored = 6, codecZstd, 2, 1<<40+3, 1000
	moved.crcs, moved.chunks, moved.gone = []uint32{0x31323334}, []namedChunk{{11, sampleDigest(0xbb)}}, []namedChunk{{3, sampleDigest(0xaa)}}
	at := replication.Position{Segment: 7, Offset: 0x01020304}
	name := sampleDigest(0xcc)
	whole := pagemap.Entry{{First: 0, Pages: 100, Frame: 300, Off: 4}, {First: 100, Pages: 28}}
	var id [16]byte
	copy(id[:], "the store's name")
	state := state{store: id, applied: 1, nextFrame: 2, nextVolume: 3, nextSession: 4, mismatch: 5,
		Counters: Counters{6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}}
	volume := volumeRow{gen: 301, frozen: 4, written: 300, erasures: []erasure{{4, Range{0, 128}}, {8, Range{1 << 20, maxPages}}}}
	g := genesis{limits: defaultLimits}
	keys := seal.Keys{Data: [32]byte(bytes.Repeat([]byte{0xdd}, 32))}
	copy(keys.Fingerprint[:], "a key of thirty-two bytes, secret")
	g.wrap(&keys, &MasterKey{}, [12]byte{})
	sealedKeys := genesis{limits: defaultLimits, keys: seal.Wrapped{Cipher: seal.AES256GCM, Master: seal.KeyID(bytes.Repeat([]byte{0xee}, 8)),
		Nonce: [12]byte(bytes.Repeat([]byte{0x55}, 12)), Sealed: [80]byte(bytes.Repeat([]byte{0x77}, 80))}}
	salt := [32]byte(bytes.Repeat([]byte{0x5a}, 32))
	scattered := pagemap.Entry{{First: 0, Pages: 8, Frame: 300, Off: 8}, {First: 8, Pages: 8, Frame: 300}}
	write := appendWriteOp(nil, 5, Range{120, 256})
	write = appendWriteRegion(write, nil, pagemap.Entry{{First: 120, Pages: 8, Frame: 300, Off: 0}})
	write = appendWriteRegion(write, &name, whole)
	return map[string][]byte{
		"record genesis":        g.append(nil),
		"record commit":         append([]byte{recordCommit}, appendDeleteOp(nil, []byte("k"))...),
		"record genesis-sealed": sealedKeys.append(nil),
		"op frame":              appendFrameOp(nil, &frame),
		"op frame-sealed":       appendFrameOp(nil, &sealed),
		"op move":               appendMoveOp(nil, &moved),
		"op free":               appendFreeOp(nil, 300, frame.chunks),
		"op session":            appendSessionOp(nil, 2, &salt),
		"op fold":               appendFoldOp(nil, 5, 0x010203, 9, scattered, pagemap.Entry{{First: 0, Pages: 16, Frame: 301}}),
		"op thaw":               appendVolumeOp(nil, opThaw, 5, 9),
		"op reap":               appendReapOp(nil, 5, 0x010203, 0x010300, 300),
		"op copy":               appendCopyOp(nil, 6, 5, 9, 0x010203, 0x010300),
		"op write":              write,
		"op clear":              appendVolumeOp(nil, opClear, 5, 128, 1<<40),
		"op truncate":           appendVolumeOp(nil, opTruncate, 5, 128),
		"op create":             appendVolumeOp(nil, opCreate, 5),
		"op freeze":             appendVolumeOp(nil, opFreeze, 5, 9),
		"op drop":               appendVolumeOp(nil, opDrop, 5),
		"op set":                appendSetOp(nil, []byte("key"), []byte("value")),
		"op delete":             appendDeleteOp(nil, []byte("key")),
		"key state":             stateKey,
		"key header":            headerKey,
		"key frame":             appendFrameKey(nil, 300),
		"key chunk":             appendDigestKey(nil, rowChunk, &name),
		"key region":            appendDigestKey(nil, rowRegion, &name),
		"key volume":            appendVolumeKey(nil, 5),
		"key map":               appendMapKey(nil, 5, 0x010203, 9),
		"key change":            appendChangeKey(nil, 5, 9, 0x010203),
		"key user":              appendUserKey(nil, []byte("key")),
		"value state":           appendState(nil, &state),
		"key back":              appendBackKey(nil, 300, &name),
		"key segment":           appendSegmentKey(nil, 7),
		"key generation":        appendGenerationKey(nil, 5, 9),
		"key scattered":         appendScatteredKey(nil, 5, 0x010203),
		"key pass":              appendPassKey(nil, 5),
		"key session":           appendSessionKey(nil, 2),
		"value frame":           appendFrameRow(nil, &frameRow{frame: frame, at: at, counts: [maxBlocks]uint64{1, 1, 300}}),
		"value frame-moved":     appendFrameRow(nil, &frameRow{frame: moved, at: at, moved: true, counts: [maxBlocks]uint64{0, 2, 0}}),
		"value segment":         appendSegmentRow(nil, &segmentRow{frames: 3, stored: 10000, live: 5000, fast: 9000}),
		"value pass":            appendPassRow(nil, 300),
		"value session":         salt[:],
		"value volume-dropped":  appendVolumeRow(nil, &volumeRow{dropped: true, gen: 2, frozen: 1, written: 1}),
		"value chunk":           appendChunkRow(nil, chunkRef{300, 11}),
		"value region":          pagemap.AppendEntry(nil, whole),
		"value volume":          appendVolumeRow(nil, &volume),
		"value map":             pagemap.AppendEntry(nil, whole),
		"value change":          pagemap.AppendBitmap(nil, pagemap.Span(1, 66)),
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
	crcs := []uint32{0x01020304, 0x11121314, 0x21222324}
	chunks := []namedChunk{{3, sampleDigest(0xaa)}, {11, sampleDigest(0xbb)}}
	f.gone = nil
	want("frame", f, frame{id: 300, pages: 19, present: 7, stored: 19 * PageSize, crcs: crcs, chunks: chunks})
	sealed := decode("op frame-sealed").frame
	want("sealed frame", []any{sealed.session, sealed.counter, sealed.stored}, []any{uint32(2), uint64(1 << 40), uint32(19*PageSize + 48)})
	moved := decode("op move").frame
	want("move", moved, frame{id: 300, pages: 19, present: 6, codec: codecZstd, session: 2, counter: 1<<40 + 3, stored: 1000,
		crcs: []uint32{0x31323334}, chunks: chunks[1:], gone: chunks[:1]})
	free := decode("op free").frame
	want("free", []any{free.id, free.gone}, []any{pagemap.FrameID(300), chunks})
	o := decode("op write")
	want("write", []any{o.volume, o.pages}, []any{VolumeID(5), Range{120, 256}})
	want("region", []any{d.reg.no, *d.reg.name, d.reg.runs},
		[]any{uint64(1), sampleDigest(0xcc), pagemap.Entry{{First: 0, Pages: 100, Frame: 300, Off: 4}, {First: 100, Pages: 28}}})
	want("clear", decode("op clear").pages, Range{128, 1 << 40})
	want("truncate", decode("op truncate").pages, Range{128, maxPages})
	want("create", decode("op create").volume, VolumeID(5))
	want("freeze", decode("op freeze").gen, Gen(9))
	want("drop", decode("op drop").kind, opDrop)
	want("thaw", decode("op thaw").gen, Gen(9))
	o = decode("op reap")
	want("reap", []any{o.volume, o.region, o.end, o.due}, []any{VolumeID(5), uint64(0x010203), uint64(0x010300), replication.LSN(300)})
	o = decode("op copy")
	want("copy", []any{o.volume, o.source, o.gen, o.region, o.end}, []any{VolumeID(6), VolumeID(5), Gen(9), uint64(0x010203), uint64(0x010300)})
	o = decode("op fold")
	want("fold", []any{o.volume, o.region, o.gen, o.old, o.runs}, []any{VolumeID(5), uint64(0x010203), Gen(9),
		pagemap.Entry{{First: 0, Pages: 8, Frame: 300, Off: 8}, {First: 8, Pages: 8, Frame: 300}}, pagemap.Entry{{First: 0, Pages: 16, Frame: 301}}})
	o = decode("op session")
	want("session", []any{o.session, o.salt[31]}, []any{uint32(2), byte(0x5a)})
	o = decode("op set")
	want("set", string(o.key)+"="+string(o.value), "key=value")
	want("delete", string(decode("op delete").key), "key")

	g, err := decodeGenesis(all["record genesis"])
	want("genesis", []any{g.limits, err}, []any{defaultLimits, nil})
	keys, err := g.unwrap(&MasterKey{})
	want("keys", []any{string(keys.Fingerprint[:5]), keys.Data[31], err}, []any{"a key", byte(0xdd), nil})
	g, err = decodeGenesis(all["record genesis-sealed"])
	want("sealed genesis", []any{g.keys.Cipher, g.keys.Master[7], g.keys.Nonce[11], g.keys.Sealed[79], err}, []any{seal.AES256GCM, byte(0xee), byte(0x55), byte(0x77), nil})
	if _, err := g.unwrap(&MasterKey{}); !errors.Is(err, ErrWrongKey) {
		t.Errorf("sealed keys taken for plain ones: %v", err)
	}
	s, err := decodeState(all["value state"])
	want("state", []any{appendState(nil, &s), err}, []any{all["value state"], nil})
	var row frameRow
	err = decodeFrameRow(&row, all["value frame"])
	f.id, f.chunks, f.crcs = 0, nil, crcs
	want("frame row", row, frameRow{frame: f, at: replication.Position{Segment: 7, Offset: 0x01020304}, counts: [maxBlocks]uint64{1, 1, 300}})
	want("frame row", err, nil)
	err = decodeFrameRow(&row, all["value frame-moved"])
	want("moved frame row", []any{row.present, row.codec, row.session, row.counter, row.stored, row.moved, row.counts[1], err},
		[]any{uint16(6), uint8(codecZstd), uint32(2), uint64(1<<40 + 3), uint32(1000), true, uint64(2), nil})
	want("live and fast", []any{row.live(), row.fast()}, []any{uint64(500), uint64(0)})
	seg, err := decodeSegmentRow(all["value segment"])
	want("segment row", []any{seg, err}, []any{segmentRow{3, 10000, 5000, 9000}, nil})
	due, err := decodePassRow(all["value pass"])
	want("pass row", []any{due, err}, []any{replication.LSN(300), nil})
	c, err := decodeChunkRow(all["value chunk"])
	want("chunk row", []any{c, err}, []any{chunkRef{300, 11}, nil})
	var v volumeRow
	err = decodeVolumeRow(&v, all["value volume"])
	want("volume row", []any{v, err}, []any{volumeRow{false, 301, 4, 300, []erasure{{4, Range{0, 128}}, {8, Range{1 << 20, maxPages}}}}, nil})
	err = decodeVolumeRow(&v, all["value volume-dropped"])
	want("dropped volume row", []any{v.dropped, v.gen, len(v.erasures), err}, []any{true, Gen(2), 0, nil})
	no, gen, err := decodeMapKey(all["key map"])
	want("map key", []any{no, gen, err}, []any{uint64(0x010203), Gen(9), nil})
	gen, no, err = decodeChangeKey(all["key change"])
	want("change key", []any{no, gen, err}, []any{uint64(0x010203), Gen(9), nil})
	vol, gen, err := decodeGenerationKey(all["key generation"])
	want("generation key", []any{vol, gen, err}, []any{VolumeID(5), Gen(9), nil})
	vol, no, err = decodeScatteredKey(all["key scattered"])
	want("scattered key", []any{vol, no, err}, []any{VolumeID(5), uint64(0x010203), nil})
	vol, err = decodePassKey(all["key pass"])
	want("pass key", []any{vol, err}, []any{VolumeID(5), nil})
	id, name, err := decodeBackKey(all["key back"])
	want("back key", []any{id, name, err}, []any{pagemap.FrameID(300), sampleDigest(0xcc), nil})
	segment, err := decodeSegmentKey(all["key segment"])
	want("segment key", []any{segment, err}, []any{replication.SegmentID(7), nil})
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
	if err := decodeFrameRow(&f, p); err == nil && !bytes.Equal(appendFrameRow(nil, &f), p) {
		panic("frame row")
	}
	if c, err := decodeChunkRow(p); err == nil && !bytes.Equal(appendChunkRow(nil, c), p) {
		panic("chunk row")
	}
	var v volumeRow
	if err := decodeVolumeRow(&v, p); err == nil && !bytes.Equal(appendVolumeRow(nil, &v), p) {
		panic("volume row")
	}
	if g, err := decodeSegmentRow(p); err == nil && !bytes.Equal(appendSegmentRow(nil, &g), p) {
		panic("segment row")
	}
	if n, err := decodePassRow(p); err == nil && !bytes.Equal(appendPassRow(nil, n), p) {
		panic("pass row")
	}
	decodeSessionRow(p)
	decodeMapKey(p)
	decodeChangeKey(p)
	decodeBackKey(p)
	decodeSegmentKey(p)
	decodeGenerationKey(p)
	decodeScatteredKey(p)
	decodePassKey(p)
}

// FuzzDecode gives arbitrary bytes to every decoder of records and rows. Rows that decode must encode to the same
// bytes; a write that decodes must cover its pages.
func FuzzDecode(f *testing.F) {
	for _, p := range samples() {
		f.Add(p)
	}
	for _, name := range []string{"op write", "op move", "op fold", "op free"} {
		f.Add(append([]byte{recordCommit}, samples()[name]...))
	}
	f.Add(binary.AppendUvarint([]byte{recordCommit, byte(opSet)}, math.MaxUint64))
	f.Fuzz(func(t *testing.T, p []byte) { decodeAll(p) })
}
