package xmlbody

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pagevault/internal/azure/cond"
	"pagevault/internal/azure/header"
)

// golden compares a body with testdata/NAME.golden, byte for byte, and checks that it is XML. With PAGEVAULT_REWRITE=1
// it writes the file instead.
func golden(t *testing.T, name string, body []byte) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(body))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("%s: %v in\n%s", name, err, body)
		}
	}
	path := filepath.Join("testdata", name+".golden")
	if os.Getenv("PAGEVAULT_REWRITE") == "1" {
		if err := os.MkdirAll("testdata", 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, append(bytes.Clone(body), '\n'), 0o666); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := append(bytes.Clone(body), '\n'); !bytes.Equal(got, want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

const endpoint = "http://127.0.0.1:10000/devstoreaccount1/"

var (
	created  = time.Date(2022, 8, 11, 15, 7, 17, 600697500, time.UTC)
	modified = created.Add(time.Hour)
)

// containers is a listing with all that a container can show.
func containers() []byte {
	b := BeginContainers(nil, &List{Endpoint: endpoint, Prefix: "a&b", Marker: "m", MaxResults: 2})
	b = AppendContainer(b, &Container{Name: "a", LastModified: modified, ETag: cond.ETagAt(modified), Lease: Lease{"unlocked", "available", ""}})
	b = AppendContainer(b, &Container{Name: "b", LastModified: modified, ETag: cond.ETagAt(modified), Lease: Lease{"locked", "leased", "infinite"},
		WithMetadata: true, Metadata: []header.Pair{{Name: "Key", Value: "<value>"}, {Name: "empty", Value: ""}}})
	b = AppendContainer(b, &Container{Name: "c", LastModified: modified, ETag: cond.ETagAt(modified), Lease: Lease{"unlocked", "broken", ""}, PublicAccess: "blob", ImmutableStorage: true, WithMetadata: true})
	return EndContainers(b, EncodeMarker("d"))
}

// disk is a page blob with all properties.
func disk() *Blob {
	return &Blob{Name: "disks/vm 1.vhd", Created: created, LastModified: modified, ETag: cond.ETagAt(modified), Size: 8 << 40,
		ContentType: "application/octet-stream", ContentEncoding: "identity", ContentLanguage: "en", ContentMD5: bytes.Repeat([]byte{0xA5}, 16),
		CacheControl: "no-cache", ContentDisposition: `attachment; filename="a&b"`, Type: "PageBlob", Sequence: 7,
		Lease: Lease{"locked", "leased", "fixed"}, Encrypted: true}
}

// flat is a flat listing, with a snapshot before its base and with names that XML cannot carry.
func flat() []byte {
	snapshot := disk()
	snapshot.Snapshot = "2022-08-11T15:07:17.6006975Z"
	snapshot.Lease = Lease{}
	snapshot.WithMetadata, snapshot.Metadata = true, []header.Pair{{Name: "Key", Value: "value"}}
	base := disk()
	base.WithMetadata = true
	b := BeginBlobs(nil, &List{Endpoint: endpoint, Container: "disks", Prefix: "p\x01+ q", MaxResults: 5000})
	b = AppendBlob(b, snapshot)
	b = AppendBlob(b, base)
	b = AppendBlob(b, &Blob{Encrypted: true, Name: "nul\x00 +%/é\uFFFF", Created: created, LastModified: modified, ETag: 1, Type: "PageBlob", Lease: Lease{"unlocked", "expired", ""}})
	b = AppendBlob(b, &Blob{Encrypted: true, Name: "<&>\r\n\"é😀", Created: created, LastModified: modified, ETag: 1, Type: "BlockBlob", ContentType: "text/plain", Lease: Lease{"locked", "breaking", ""}})
	return EndBlobs(b, "")
}

// marked is a listing of blobs that have tiers, are protected, and are sealed.
func marked() []byte {
	given, inferred, held := disk(), disk(), disk()
	given.Name, given.Tier = "given", Tier{Name: "P10", Changed: modified}
	given.Policy = Policy{Mode: "locked", Until: modified}
	inferred.Name, inferred.Tier = "inferred", Tier{Name: "P60", Inferred: true}
	held.Name, held.LegalHold, held.TagCount = "held", true, 1
	sealed := &Blob{Name: "log", Created: created, LastModified: modified, ETag: 1, Type: "AppendBlob", Sealed: true, Encrypted: true}
	b := BeginBlobs(nil, &List{Endpoint: endpoint, Container: "disks"})
	return EndBlobs(AppendBlob(AppendBlob(AppendBlob(AppendBlob(b, given), inferred), held), sealed), "")
}

// versions is a listing of a previous version that is deleted, of the current one, and of a name that has versions only.
func versions() []byte {
	previous, current, left := disk(), disk(), disk()
	previous.Version, previous.Lease = "2022-08-11T15:07:17.6006975Z", Lease{}
	previous.Deleted = &Deletion{Time: modified, RemainingDays: 3}
	current.Version, current.Current = "2022-08-11T15:07:17.6006976Z", true
	left.Name, left.VersionsOnly, left.Lease, left.Size = "left", true, Lease{Status: "unlocked", State: "available"}, 0
	b := BeginBlobs(nil, &List{Endpoint: endpoint, Container: "disks"})
	return EndBlobs(AppendBlob(AppendBlob(AppendBlob(b, previous), current), left), "")
}

// tree is a listing by delimiter, blobs and prefixes in one order.
func tree() []byte {
	b := BeginBlobs(nil, &List{Endpoint: endpoint, Container: "disks", Delimiter: "/"})
	b = AppendBlobPrefix(b, "a/")
	b = AppendBlob(b, &Blob{Encrypted: true, Name: "b", Created: created, LastModified: modified, ETag: 1, Type: "PageBlob", Lease: Lease{"unlocked", "available", ""}})
	b = AppendBlobPrefix(b, "c\x02/")
	return EndBlobs(b, EncodeMarker("c\x02/\xff"))
}

// ranges is what Get Page Ranges answers.
func ranges() []byte {
	b := AppendPageRange(BeginPageList(nil), 0, 1024, false)
	b = AppendPageRange(b, 8<<40-512, 8<<40, false)
	return EndPageList(b, true, EncodeMarker("1099511627776"))
}

// diff is what Get Page Ranges Diff answers, both kinds in the order of their addresses.
func diff() []byte {
	b := AppendPageRange(BeginPageList(nil), 0, 512, true)
	b = AppendPageRange(b, 512, 1024, false)
	b = AppendPageRange(b, 2048, 4096, true)
	return EndPageList(b, true, "")
}

func TestGoldens(t *testing.T) {
	golden(t, "containers", containers())
	golden(t, "containers-none", EndContainers(BeginContainers(nil, &List{Endpoint: endpoint}), ""))
	golden(t, "blobs-flat", flat())
	golden(t, "blobs-tree", tree())
	golden(t, "blobs-marked", marked())
	golden(t, "blobs-versions", versions())
	golden(t, "blobs-none", EndBlobs(BeginBlobs(nil, &List{Endpoint: endpoint, Container: "disks"}), ""))
	golden(t, "pages", ranges())
	golden(t, "pages-diff", diff())
	golden(t, "pages-unpaged", EndPageList(AppendPageRange(BeginPageList(nil), 0, 512, false), false, ""))
	golden(t, "pages-none", EndPageList(BeginPageList(nil), true, ""))
	golden(t, "pages-none-unpaged", EndPageList(BeginPageList(nil), false, ""))
	p := DefaultServiceProperties()
	golden(t, "properties-default", AppendServiceProperties(nil, &p))
	golden(t, "properties-full", AppendServiceProperties(nil, fullProperties()))
}

// TestAppends checks that what is in the buffer already stays there.
func TestAppends(t *testing.T) {
	p := DefaultServiceProperties()
	for _, got := range [][]byte{
		EndPageList(BeginPageList([]byte("+")), false, ""),
		EndBlobs(BeginBlobs([]byte("+"), &List{}), ""),
		AppendServiceProperties([]byte("+"), &p),
	} {
		if !bytes.HasPrefix(got, []byte("+"+prolog)) {
			t.Errorf("got %s", got)
		}
	}
}

func BenchmarkAppendBlob(b *testing.B) {
	blob := disk()
	buf := AppendBlob(nil, blob)
	b.ReportAllocs()
	b.SetBytes(int64(len(buf)))
	for b.Loop() {
		buf = AppendBlob(buf[:0], blob)
	}
}

func BenchmarkAppendPageRange(b *testing.B) {
	buf := AppendPageRange(nil, 0, 512, false)
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendPageRange(buf[:0], 1<<40, 1<<40+512, false)
	}
}
