package segment

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
)

// testShards returns the frame of shard 0 of a segment in K+M shards, and the data shards as files.
func testShards(k, m int, pairs ...string) (Shard, [][]byte) {
	seg := build(testHeader, pairs...)
	t, err := ParseTrailer(seg[len(seg)-TrailerBytes:], int64(len(seg)))
	if err != nil {
		panic(err)
	}
	s := Shard{K: k, M: m, Data: 9, Created: testHeader.Created, Trailer: t}
	var files [][]byte
	for i := range k {
		s.Index = i
		payload := make([]byte, s.Bytes())
		if from := int64(i) * s.Bytes(); from < int64(len(seg)) {
			copy(payload, seg[from:])
		}
		files = append(files, shardFile(s, payload))
	}
	s.Index = 0
	return s, files
}

func shardFile(s Shard, payload []byte) []byte {
	b := append(s.Append(nil), payload...)
	var sums []uint32
	for ; len(payload) > 0; payload = payload[min(ShardBlockBytes, len(payload)):] {
		sums = append(sums, Checksum(0, payload[:min(ShardBlockBytes, len(payload))]))
	}
	return s.AppendTable(b, sums)
}

// TestShardGolden compares a shard file with reviewed bytes. A changed byte means a new format version.
func TestShardGolden(t *testing.T) {
	_, files := testShards(2, 1, "meta", "some data", "", "", "more meta", "")
	var text strings.Builder
	for i, b := range files {
		fmt.Fprintf(&text, "%s, %d bytes\n%s\n", ShardName(testHeader.ID, i), len(b), hex.Dump(b))
	}
	const name = "testdata/shard.golden"
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

func TestShardRoundTrip(t *testing.T) {
	big := strings.Repeat("0123456789", 50_000)
	s, files := testShards(3, 2, "meta", "some data", "more", big)
	var back []byte
	for i, b := range files {
		got, err := ReadShard(bytes.NewReader(b), int64(len(b)), testStore, testHeader.ID, i)
		want := s
		want.Index = i
		if err != nil || got != want || !got.SameSet(&s) || got.Header() != testHeader {
			t.Fatalf("frame %d: %+v %v", i, got, err)
		}
		var r ShardReader
		if err := r.Open(bytes.NewReader(b), got); err != nil {
			t.Fatal(err)
		}
		payload := make([]byte, got.Bytes())
		if err := r.Read(payload, 0); err != nil {
			t.Fatal(err)
		}
		last := payload[int64(got.Blocks()-1)*ShardBlockBytes:]
		if err := r.Read(bytes.Clone(last), int64(got.Blocks()-1)*ShardBlockBytes); err != nil {
			t.Fatal(err)
		}
		back = append(back, payload...)
	}
	if seg := build(testHeader, "meta", "some data", "more", big); !bytes.Equal(back[:len(seg)], seg) || len(bytes.Trim(back[len(seg):], "\x00")) > 0 {
		t.Fatal("the payload is not the segment")
	}
	other := s
	other.M = 3
	if other.SameSet(&s) {
		t.Error("another code, and the same set")
	}
}

// TestShardFlips: a wrong bit anywhere is found, by who reads that part.
func TestShardFlips(t *testing.T) {
	s, files := testShards(2, 1, "meta", "some data", "more", strings.Repeat("x", 150_000))
	good := files[0]
	for at, step := 0, 0; at < len(good); at += step {
		if at >= ShardFrameBytes && at < ShardFrameBytes+8 || at > len(good)-80 {
			step = 1
		} else {
			step = max(1, len(good)/4000)
		}
		b := bytes.Clone(good)
		b[at] ^= 1 << (at % 8)
		got, err := ReadShard(bytes.NewReader(b), int64(len(b)), testStore, testHeader.ID, 0)
		if at < ShardFrameBytes {
			if err == nil && at >= 0 {
				t.Fatalf("a flip at %d of the frame passes: %+v", at, got)
			}
			continue
		}
		if err != nil || got != s {
			t.Fatalf("flip at %d: the frame is %+v, %v", at, got, err)
		}
		var r ShardReader
		err = r.Open(bytes.NewReader(b), got)
		if int64(at) >= ShardFrameBytes+s.Bytes() {
			if !errors.Is(err, ErrDamaged) {
				t.Fatalf("a flip at %d of the table passes: %v", at, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		bad := int64(at-ShardFrameBytes) / ShardBlockBytes
		for n := range int64(s.Blocks()) {
			p := make([]byte, min(ShardBlockBytes, s.Bytes()-n*ShardBlockBytes))
			if err := r.Read(p, n*ShardBlockBytes); (n == bad) != errors.Is(err, ErrDamaged) {
				t.Fatalf("flip at %d: block %d of the payload: %v", at, n, err)
			}
		}
	}
}

// TestShardElsewhere: a shard is one only of its log, its segment and its index.
func TestShardElsewhere(t *testing.T) {
	_, files := testShards(2, 1, "meta", "data")
	b := files[1]
	read := func(size int, store StoreID, id ID, i int) error {
		_, err := ReadShard(bytes.NewReader(b[:min(size, len(b))]), int64(size), store, id, i)
		return err
	}
	if err := read(len(b), testStore, testHeader.ID, 1); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"of another log":     read(len(b), StoreID{1}, testHeader.ID, 1),
		"of another segment": read(len(b), testStore, testHeader.ID+1, 1),
		"as another shard":   read(len(b), testStore, testHeader.ID, 0),
	} {
		if !errors.Is(err, ErrForeign) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, n := range []int{0, 64, 127, 128, len(b) - 1, len(b) + 1} {
		if err := read(n, testStore, testHeader.ID, 1); !errors.Is(err, ErrDamaged) {
			t.Errorf("a file of %d bytes: %v", n, err)
		}
	}
	// A table belongs to its frame.
	var r ShardReader
	s, err := ParseShard(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Open(bytes.NewReader(b), s); !errors.Is(err, ErrDamaged) {
		t.Errorf("the table of another shard: %v", err)
	}
	// Another version.
	newer := bytes.Clone(b)
	newer[8]++
	binary.LittleEndian.PutUint32(newer[60:], Checksum(0, newer[:60]))
	var version *VersionError
	if _, err := ParseShard(newer); !errors.As(err, &version) {
		t.Errorf("another version: %v", err)
	}
}

func TestShardNames(t *testing.T) {
	f := func(name string, id ID, i int, ok bool) {
		t.Helper()
		gotID, got, gotOK := ParseShardName(name)
		if gotID != id || got != i || gotOK != ok {
			t.Errorf("%q: %d %d %v", name, gotID, got, gotOK)
		}
		if ok && ShardName(id, i) != name {
			t.Errorf("%q: named %q again", name, ShardName(id, i))
		}
		if _, _, temp := ParseShardTempName(name + ".tmp"); temp != ok {
			t.Errorf("%q with .tmp: %v", name, temp)
		}
	}
	f("0000000001.rs00", 1, 0, true)
	f("4294967295.rs63", 4294967295, 63, true)
	f("0000000001.rs64", 0, 0, false) // more than a log has members
	f("0000000000.rs00", 0, 0, false)
	f("0000000001.rs0", 0, 0, false)
	f("0000000001.rs000", 0, 0, false)
	f("0000000001.rs+1", 0, 0, false)
	f("0000000001.seg", 0, 0, false)
	f("0000000001.rs00.x", 0, 0, false)
	f("MEMBER", 0, 0, false)
	if _, _, ok := ParseShardTempName("0000000001.rs00"); ok {
		t.Error("a shard is no temporary file")
	}
	if _, _, ok := ParseName("0000000001.rs00"); ok {
		t.Error("a shard is no segment")
	}
}

// FuzzShard gives the reader arbitrary bytes as a shard file: it never panics, and what it accepts is as long as it says.
func FuzzShard(f *testing.F) {
	_, files := testShards(2, 1, "meta", "some data", "more", strings.Repeat("x", 300))
	f.Add(files[0])
	f.Add(files[1][:ShardFrameBytes])
	f.Add([]byte{})
	for _, at := range []int{8, 32, 33, 34, 36, 40, 64, 100, 108, 112, 116, 120, ShardFrameBytes, len(files[0]) - 1} {
		b := bytes.Clone(files[0])
		b[at] ^= 0xff
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		anyShard(t, b)
		b = bytes.Clone(b)
		if len(b) >= ShardFrameBytes { // nearly no random change keeps the checksums
			binary.LittleEndian.PutUint32(b[124:], Checksum(0, b[64:124]))
			binary.LittleEndian.PutUint32(b[60:], Checksum(0, b[:60]))
			anyShard(t, b)
		}
	})
}

func anyShard(t *testing.T, b []byte) {
	s, err := ParseShard(b)
	if err != nil {
		return
	}
	if s.K < 1 || s.M < 1 || s.Index >= s.K+s.M || int64(s.K)*s.Bytes() < int64(s.Trailer.Length) || s.FileBytes() <= s.Bytes() {
		t.Fatalf("accepted %+v", s)
	}
	again, err := ParseShard(s.Append(nil))
	if err != nil || again != s {
		t.Fatalf("%+v, and again %+v, %v", s, again, err)
	}
	if _, err := ReadShard(bytes.NewReader(b), int64(len(b)), s.Trailer.Store, s.Trailer.ID, s.Index); err != nil {
		return
	}
	var r ShardReader
	if r.Open(bytes.NewReader(b), s) == nil {
		_ = r.Read(make([]byte, s.Bytes()), 0)
	}
}
