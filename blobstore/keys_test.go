package blobstore

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pagevault/internal/azure/azerr"
)

// golden compares got with a file of testdata, or writes it when PAGEVAULT_REWRITE is set. These are bytes on disk: a
// change needs a new version of the format.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if os.Getenv("PAGEVAULT_REWRITE") != "" {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", path, got, want)
	}
}

var goldenTime = time.Date(2026, 3, 1, 12, 0, 0, 345_678_900, time.UTC)

func TestKeysGolden(t *testing.T) {
	var b strings.Builder
	line := func(what string, key []byte) { fmt.Fprintf(&b, "%-28s %x\n", what, key) }
	snap := snapshotID(ticksAt(goldenTime))
	line("next container id", nextIDKey)
	line("service properties", propertiesKey)
	line("totals", totalsKey)
	line("versioning", versioningKey)
	line("container logs-1", appendContainerKey(nil, "logs-1"))
	line("tomb 258", appendTombKey(nil, 258))
	line("volume 259", appendVolumeKey(nil, 259))
	line("copy into 259", appendCopyKey(nil, 259))
	line("logs-1, deleted, 258", appendRemovedKey(nil, "logs-1", 258))
	line("expiry of it", appendExpiryKey(nil, ticksAt(goldenTime), appendRemovedKey(nil, "logs-1", 258)))
	line("expiry of a/b of 1", appendExpiryKey(nil, ticksAt(goldenTime), appendBlobKey(nil, 1, "a/b", 0)))
	job := &pendingJob{container: 1, ref: BlobRef{Blob: "a/b"}}
	line("pending copy to a/b", job.key())
	line("blobs of 1", appendContainerBlobs(nil, 1))
	line("prefix a/ of 1", appendNamePrefix(nil, 1, "a/"))
	line("blob a/b of 1", appendBlobKey(nil, 1, "a/b", 0))
	line("its snapshot", appendBlobKey(nil, 1, "a/b", snap))
	line(`blob "\x00\x01\xff" of 1`, appendBlobKey(nil, 1, "\x00\x01\xff", 0))
	line("blocks of a/b of 1 wait", appendStagingKey(nil, 1, "a/b"))
	line("block aaa waits in 259", appendStagedKey(nil, 259, 1, []byte("aaa")))
	line("sweep of 259", appendSweepKey(nil, 259))
	line("tag k = v of a/b in 1", appendTagKey(nil, "k", "v", 1, "a/b"))
	golden(t, "keys.golden", b.String())
}

// nasty draws short names from an alphabet of bytes that could confuse an escape.
func nasty(r *rand.Rand) string {
	const alphabet = "\x00\x00\x01\xff\xfeab/"
	b := make([]byte, r.IntN(6))
	for i := range b {
		b[i] = alphabet[r.IntN(len(alphabet))]
	}
	return string(b)
}

// TestBlobKeyOrder: keys sort by name, then snapshots oldest first, then the blob; and they can be read back.
func TestBlobKeyOrder(t *testing.T) {
	r := seeded(t)
	type entry struct {
		name string
		snap snapshotID
	}
	var entries []entry
	for range 2000 {
		entries = append(entries, entry{nasty(r), snapshotID(r.IntN(3)) * snapshotID(ticksAt(goldenTime))})
	}
	less := func(a, b entry) int {
		switch {
		case a.name != b.name:
			return strings.Compare(a.name, b.name)
		case a.snap == b.snap:
			return 0
		case b.snap == 0 || a.snap != 0 && a.snap < b.snap:
			return -1
		default:
			return 1
		}
	}
	key := func(e entry) []byte { return appendBlobKey(nil, 7, e.name, e.snap) }
	for i := 1; i < len(entries); i++ {
		a, b := entries[i-1], entries[i]
		if got, want := bytes.Compare(key(a), key(b)), less(a, b); got != want {
			t.Fatalf("%+v against %+v: got %d, want %d", a, b, got, want)
		}
	}
	for _, e := range entries {
		name, snap, err := parseBlobKey(nil, key(e))
		if err != nil || string(name) != e.name || snap != e.snap {
			t.Fatalf("%+v: read back as %q, %d, %v", e, name, snap, err)
		}
	}
}

// TestNamePrefixBounds: the keys between a prefix and what comes after it are those of the names that begin with it.
func TestNamePrefixBounds(t *testing.T) {
	r := seeded(t)
	for range 20000 {
		name, prefix := nasty(r), nasty(r)
		from := appendNamePrefix(nil, 7, prefix)
		to := appendAfter(nil, from)
		key := appendBlobKey(nil, 7, name, 0)
		within := bytes.Compare(key, from) >= 0 && bytes.Compare(key, to) < 0
		if want := strings.HasPrefix(name, prefix); within != want {
			t.Fatalf("name %q, prefix %q: got %v, want %v", name, prefix, within, want)
		}
	}
}

// TestContainersApart: no row of one container is between the bounds of another, whatever the ids.
func TestContainersApart(t *testing.T) {
	ids := []containerID{1, 0xFE, 0xFF, 0x100, 0xFFFF, 0x10000, 1<<63 - 1, 1<<64 - 2, 1<<64 - 1}
	for _, bounds := range ids {
		from := appendContainerBlobs(nil, bounds)
		to := appendAfter(nil, from)
		for _, id := range ids {
			key := appendBlobKey(nil, id, "\xff\xff", 0)
			if within := bytes.Compare(key, from) >= 0 && bytes.Compare(key, to) < 0; within != (id == bounds) {
				t.Errorf("row of %x within bounds of %x: %v", id, bounds, within)
			}
		}
	}
}

func FuzzParseBlobKey(f *testing.F) {
	for _, name := range []string{"", "a", "a/b", "\x00", "\x00\xff", "\xff"} {
		f.Add(appendBlobKey(nil, 1, name, 0))
		f.Add(appendBlobKey(nil, 1<<63, name, snapshotID(ticksAt(goldenTime))))
	}
	f.Fuzz(func(t *testing.T, key []byte) {
		name, snap, err := parseBlobKey(nil, key)
		if err != nil {
			return
		}
		again := appendBlobKey(slices.Clone(key[:0:0]), containerIDOf(key), string(name), snap)
		if !bytes.Equal(again, key) {
			t.Errorf("%x: read as %q, %d, which is written as %x", key, name, snap, again)
		}
	})
}

func containerIDOf(key []byte) (id containerID) {
	for _, b := range key[1:blobKeyPrefixLen] {
		id = id<<8 | containerID(b)
	}
	return id
}

func TestSnapshotText(t *testing.T) {
	for in, want := range map[string]string{
		"2026-03-01T12:00:00.3456789Z": "2026-03-01T12:00:00.3456789Z",
		"2026-03-01T12:00:00.345Z":     "2026-03-01T12:00:00.3450000Z",
		"2026-03-01T12:00:00Z":         "2026-03-01T12:00:00.0000000Z",
		"0001-01-01T00:00:00.0000001Z": "0001-01-01T00:00:00.0000001Z",
		"9999-12-31T23:59:59.9999999Z": "9999-12-31T23:59:59.9999999Z",
	} {
		if got, ok := NormalizeSnapshot(in); !ok || got != want {
			t.Errorf("%s: got %s, %v; want %s", in, got, ok, want)
		}
	}
	for _, in := range []string{"", "now", "2026-03-01", "2026-03-01T12:00:00", "2026-03-01T12:00:00.34567891Z",
		"2026-03-01T12:00:00.Z", "2026-02-30T12:00:00Z", "2026-03-01T12:00:00,345Z", "2026-03-01T12:00:00+00:00",
		"2026-03-01t12:00:00z", "0001-01-01T00:00:00Z", "2026-03-01T12:00:00.345 Z"} {
		if got, ok := NormalizeSnapshot(in); ok {
			t.Errorf("%q: got %s, want a refusal", in, got)
		}
	}
}

func TestTicks(t *testing.T) {
	// From a recording of Azure: the entity tag of a create, and the instant its version id gives.
	at := time.Date(2022, 8, 11, 15, 7, 17, 600_697_500, time.UTC)
	if got := ticksAt(at); got != 0x8DA7BAB2E7E693F {
		t.Errorf("got %x", uint64(got))
	}
	r := seeded(t)
	for range 1000 {
		want := ticks(r.Uint64N(uint64(ticksAt(time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)))))
		if got := ticksAt(want.Time().Add(99)); got != want {
			t.Fatalf("%d: got %d", want, got)
		}
	}
}

func TestMarkers(t *testing.T) {
	snap := snapshotID(ticksAt(goldenTime))
	for _, name := range []string{"a", "\x00", "12345", strings.Repeat("\U0001F600", 1024)} {
		for _, id := range []snapshotID{0, snap} {
			gotName, gotID, err := parseBlobsMarker(blobsMarker([]byte(name), id))
			if err != nil || gotName != name || gotID != id {
				t.Errorf("blob %q %d: got %q %d %v", name, id, gotName, gotID, err)
			}
		}
	}
	for _, want := range []ContainerInfo{{Name: "logs-1"}, {Name: "logs-1", Version: containerVersion(258)}} {
		name, id, err := parseContainersMarker(containersMarker(&want))
		if wantID, _ := parseContainerVersion(want.Version); err != nil || name != want.Name || id != wantID {
			t.Errorf("container %+v: got %q %d %v", want, name, id, err)
		}
	}
	if got, err := parseRangesMarker(rangesMarker(8 << 40)); err != nil || got != 8<<40 {
		t.Errorf("ranges: got %d %v", got, err)
	}
	for _, bad := range []string{"x", "AAAA", "$$$", "1", "AQ==", "+/+/"} {
		_, err := parseRangesMarker(bad)
		wantCode(t, "ranges marker "+bad, err, azerr.InvalidQueryParameterValue)
		_, _, err = parseBlobsMarker(bad)
		wantCode(t, "blobs marker "+bad, err, azerr.InvalidQueryParameterValue)
		_, _, err = parseContainersMarker(bad)
		wantCode(t, "containers marker "+bad, err, azerr.InvalidQueryParameterValue)
	}
	for _, bad := range []string{rangesMarker(513), rangesMarker(-512), blobsMarker([]byte("a"), 0)} {
		_, err := parseRangesMarker(bad)
		wantCode(t, "ranges marker "+bad, err, azerr.InvalidQueryParameterValue)
	}
	_, _, err := parseBlobsMarker(blobsMarker(nil, 0))
	wantCode(t, "blobs marker without a name", err, azerr.InvalidQueryParameterValue)
	golden(t, "markers.golden", fmt.Sprintln(blobsMarker([]byte("a/b"), 0))+fmt.Sprintln(blobsMarker([]byte("a/b"), snap))+
		fmt.Sprintln(containersMarker(&ContainerInfo{Name: "logs-1"}))+fmt.Sprintln(rangesMarker(1<<20)))
}

func FuzzMarkers(f *testing.F) {
	f.Add(blobsMarker([]byte("a/b"), 1))
	f.Add(containersMarker(&ContainerInfo{Name: "logs"}))
	f.Add(rangesMarker(512))
	f.Fuzz(func(t *testing.T, text string) {
		if name, snap, err := parseBlobsMarker(text); err == nil && text != "" {
			again, snapAgain, err := parseBlobsMarker(blobsMarker([]byte(name), snap))
			if err != nil || again != name || snapAgain != snap {
				t.Errorf("%q: unstable", text)
			}
		}
		if off, err := parseRangesMarker(text); err == nil && (off < 0 || off%PageSize != 0) {
			t.Errorf("%q: offset %d", text, off)
		}
		parseContainersMarker(text)
	})
}
