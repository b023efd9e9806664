package server

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"pagevault/internal/azure/header"
)

// fill returns n bytes, all pages of which differ.
func fill(n int) []byte {
	p := make([]byte, n)
	for i := 0; i+8 <= n; i += 8 {
		binary.LittleEndian.PutUint64(p[i:], uint64(i+1)*0x9e3779b97f4a7c15)
	}
	return p
}

// write puts p at the beginning of the blob, as many Put Pages as it takes.
func (ts *testServer) write(t testing.TB, p []byte) {
	t.Helper()
	for off := 0; off < len(p); off += 4 << 20 {
		ts.do(t, putPage(off, p[off:min(len(p), off+4<<20)])).want(t, 201, "")
	}
}

// TestGetBlobRange shows which bytes a reply carries, and with which status, for every form of range.
func TestGetBlobRange(t *testing.T) {
	ts := start(t, nil)
	const size = 10<<20 + 512
	content := fill(size)
	ts.makeBlob(t, size)
	ts.write(t, content)

	f := func(rg string, start, end int) {
		t.Helper()
		for _, name := range []string{"Range", "x-ms-range"} {
			a := ts.do(t, call{method: "GET", path: "disks/b", header: []string{name + ": " + rg}})
			if rg == "" {
				a = ts.do(t, call{method: "GET", path: "disks/b"})
			}
			want := fmt.Sprintf("bytes %d-%d/%d", start, end-1, size)
			status := 206
			if start < 0 {
				start, end, want, status = 0, size, "", 200
			}
			a.want(t, status, "")
			if got := a.Header.Get("Content-Range"); got != want {
				t.Errorf("%s: Content-Range %q, want %q", rg, got, want)
			}
			if !bytes.Equal(a.body, content[start:end]) {
				t.Errorf("%s: %d wrong bytes, want [%d,%d)", rg, len(a.body), start, end)
			}
			if a.Header.Get("Content-MD5") != "" || a.Header.Get("x-ms-content-crc64") != "" {
				t.Errorf("%s: a checksum that nobody asked for:\n%s", rg, a.raw)
			}
			if status == 200 {
				start = -1
			}
		}
	}
	whole := func(rg string) { t.Helper(); f(rg, -1, 0) }
	whole("")
	f("bytes=0-", 0, size)
	f("bytes=0-0", 0, 1)
	f("bytes=1-511", 1, 512)
	f("bytes=511-512", 511, 513)
	f("bytes=100-4194403", 100, 4194404)   // 4 MiB, in one piece
	f("bytes=100-4194404", 100, 4194405)   // one more, in pieces
	f("bytes=1000000-9000000", 1e6, 9e6+1) // ends within a piece
	f("bytes=512-3146239", 512, 512+3<<20) // ends with a piece
	f("bytes=5242880-", 5<<20, size)       // longer than the rest
	f("bytes=10000000-99999999999999", 1e7, size)
	f("bytes=10486271-", size-1, size)
	// What cannot be read is not there.
	whole("bytes=-512")
	whole("bytes=2-1")
	whole("bytes=0-1,4-5")
	whole("pages=0-1")
	whole("bytes=a-b")
	whole("bytes=0-99999999999999999999")

	a := ts.do(t, call{method: "GET", path: "disks/b", header: []string{"x-ms-range: bytes=0-511", "Range: bytes=512-1023"}})
	if a.want(t, 206, ""); !bytes.Equal(a.body, content[:512]) {
		t.Error("Range won over x-ms-range")
	}
	a = ts.do(t, call{method: "GET", path: "disks/b", header: []string{fmt.Sprintf("Range: bytes=%d-", size)}})
	a.want(t, 416, "InvalidRange")
	if got := a.Header.Get("Content-Range"); got != fmt.Sprintf("bytes */%d", size) {
		t.Errorf("416 with Content-Range %q", got)
	}

	ts.do(t, call{method: "PUT", path: "disks/empty", header: []string{"x-ms-blob-type: PageBlob", "x-ms-blob-content-length: 0"}}).want(t, 201, "")
	a = ts.do(t, call{method: "GET", path: "disks/empty"})
	if a.want(t, 200, ""); a.ContentLength != 0 {
		t.Errorf("an empty blob of %d bytes", a.ContentLength)
	}
	a = ts.do(t, call{method: "GET", path: "disks/empty", header: []string{"Range: bytes=0-"}})
	a.want(t, 416, "InvalidRange")
	if got := a.Header.Get("Content-Range"); got != "bytes */0" {
		t.Errorf("416 with Content-Range %q", got)
	}
}

// TestRangeChecksums shows when a range comes with a checksum.
func TestRangeChecksums(t *testing.T) {
	ts := start(t, nil)
	content := fill(5 << 20)
	ts.makeBlob(t, 5<<20)
	ts.write(t, content)
	f := func(status int, code string, lines ...string) answer {
		t.Helper()
		a := ts.do(t, call{method: "GET", path: "disks/b", header: lines})
		a.want(t, status, code)
		return a
	}
	const md5True, crcTrue = "x-ms-range-get-content-md5: true", "x-ms-range-get-content-crc64: true"
	sum := md5.Sum(content[100:1000])
	a := f(206, "", "Range: bytes=100-999", md5True)
	if got := a.Header.Get("Content-MD5"); got != base64.StdEncoding.EncodeToString(sum[:]) {
		t.Errorf("Content-MD5 %q", got)
	}
	a = f(206, "", "Range: bytes=100-999", crcTrue)
	if got := a.Header.Get("x-ms-content-crc64"); got != string(header.AppendCRC64(nil, header.CRC64(content[100:1000]))) {
		t.Errorf("x-ms-content-crc64 %q", got)
	}
	f(206, "", "Range: bytes=0-4194303", md5True)
	f(206, "", "Range: bytes=5000000-99999999", md5True) // what there is of it is short
	f(206, "", "Range: bytes=0-4194304", "x-ms-range-get-content-md5: false")
	f(400, "InvalidHeaderValue", "Range: bytes=0-4194304", md5True)
	f(400, "InvalidHeaderValue", "Range: bytes=0-4194304", crcTrue)
	f(400, "InvalidHeaderValue", md5True)
	f(400, "InvalidHeaderValue", crcTrue)
	f(400, "InvalidHeaderValue", "Range: bytes=0-1", md5True, crcTrue)
	f(400, "InvalidHeaderValue", "Range: bytes=0-1", "x-ms-range-get-content-md5: yes")
}

// TestBlobHeaders shows all headers of a blob with everything set, of a read and of its parts.
func TestBlobHeaders(t *testing.T) {
	ts := start(t, nil)
	ts.do(t, call{method: "PUT", path: "disks?restype=container"}).want(t, 201, "")
	const stored = "1B2M2Y8AsgTpgAmY7PhCfg=="
	ts.do(t, call{method: "PUT", path: "disks/b", header: []string{"x-ms-blob-type: PageBlob", "x-ms-blob-content-length: 1024",
		"x-ms-blob-sequence-number: 7", "x-ms-blob-content-type: text/plain", "Content-Type: ignored/ignored",
		"x-ms-blob-content-encoding: gzip", "Content-Language: tlh", "x-ms-blob-content-disposition: inline", "Cache-Control: no-store",
		"x-ms-blob-content-md5: " + stored, "x-ms-meta-CamelCase: v1", "x-ms-meta-_x: ", "X-MS-META-Other: a=b"}}).want(t, 201, "")
	ts.do(t, call{method: "PUT", path: "disks/b?comp=lease", header: []string{"x-ms-lease-action: acquire", "x-ms-lease-duration: -1"}}).want(t, 201, "")
	snap := ts.do(t, call{method: "PUT", path: "disks/b?comp=snapshot"})
	snap.want(t, 201, "")
	if snap.Header.Get("x-ms-request-server-encrypted") != "false" || len(snap.Header.Get("x-ms-snapshot")) != 28 {
		t.Errorf("snapshot:\n%s", snap.raw)
	}

	common := []string{"Content-Type: text/plain", "Content-Encoding: gzip", "Content-Language: tlh", "Content-Disposition: inline",
		"Cache-Control: no-store", "Accept-Ranges: bytes", "ETag: \"0x", "Last-Modified: ", "x-ms-creation-time: ", "x-ms-blob-type: PageBlob",
		"x-ms-blob-sequence-number: 7", "x-ms-server-encrypted: true", "x-ms-meta-CamelCase: v1", "x-ms-meta-_x: ", "x-ms-meta-Other: a=b"}
	leased := []string{"x-ms-lease-status: locked", "x-ms-lease-state: leased", "x-ms-lease-duration: infinite"}
	none := func(names ...string) (lines []string) {
		for _, n := range names {
			lines = append(lines, "!"+n+":")
		}
		return lines
	}
	f := func(method, path, rg string, lines ...[]string) {
		t.Helper()
		c := call{method: method, path: path}
		if rg != "" {
			c.header = []string{"Range: " + rg}
		}
		a := ts.do(t, c)
		for _, group := range lines {
			for _, line := range group {
				if absent, not := strings.CutPrefix(line, "!"); not {
					if strings.Contains(a.raw, "\r\n"+absent) {
						t.Errorf("%s %s %s: has %s\n%s", method, path, rg, absent, a.raw)
					}
				} else if !strings.Contains(a.raw, "\r\n"+line) {
					t.Errorf("%s %s %s: no %s\n%s", method, path, rg, line, a.raw)
				}
			}
		}
	}
	whole := []string{"Content-Length: 1024", "Content-MD5: " + stored, "!x-ms-blob-content-md5:", "!Content-Range:"}
	f("GET", "disks/b", "", common, leased, whole)
	f("HEAD", "disks/b", "", common, leased, whole)
	f("HEAD", "disks/b", "bytes=0-1", common, leased, whole)
	f("GET", "disks/b", "bytes=0-1", common, leased, []string{"Content-Length: 2", "Content-Range: bytes 0-1/1024", "x-ms-blob-content-md5: " + stored, "!Content-MD5:"})
	f("GET", "disks/b?snapshot="+snap.Header.Get("x-ms-snapshot"), "", common, whole, none("x-ms-lease-status", "x-ms-lease-state", "x-ms-lease-duration"))
	f("GET", "disks/b?comp=metadata", "", []string{"Content-Length: 0", "ETag: ", "x-ms-meta-CamelCase: v1"}, none("x-ms-blob-type", "Content-Type", "Accept-Ranges"))
	f("HEAD", "disks/b?comp=metadata", "", []string{"ETag: ", "x-ms-meta-CamelCase: v1"}, none("x-ms-blob-type"))
}

// TestPutPageReply shows the reply to a page write for each version and checksum, and which damage is noticed.
func TestPutPageReply(t *testing.T) {
	ts := start(t, nil)
	ts.makeBlob(t, 4096)
	p := fill(512)
	sum := md5.Sum(p)
	md5Line := "Content-MD5: " + base64.StdEncoding.EncodeToString(sum[:])
	crcLine := "x-ms-content-crc64: " + string(header.AppendCRC64(nil, header.CRC64(p)))
	f := func(version string, sent []string, want ...string) {
		t.Helper()
		a := ts.do(t, putPage(0, p, append(sent, "x-ms-version: "+version)...))
		a.want(t, 201, "")
		for _, line := range append(want, "Content-Length: 0", "ETag: ", "Last-Modified: ", "x-ms-blob-sequence-number: 0", "x-ms-request-server-encrypted: true") {
			if !strings.Contains(a.raw, "\r\n"+line) {
				t.Errorf("version %s, sent %q: no %s\n%s", version, sent, line, a.raw)
			}
		}
		if got := strings.Count(a.raw, "Content-MD5") + strings.Count(a.raw, "crc64"); got != len(want) {
			t.Errorf("version %s, sent %q: %d checksums\n%s", version, sent, got, a.raw)
		}
	}
	f("2018-11-09", nil, md5Line)
	f("2018-11-09", []string{md5Line}, md5Line)
	f("2019-02-02", nil, crcLine)
	f("2019-02-02", []string{md5Line}, md5Line)
	f("2019-02-02", []string{crcLine}, crcLine)
	f("2026-10-06", []string{md5Line}, md5Line, crcLine)
	f("2026-12-06", []string{crcLine}, crcLine)

	bad := func(code string, detail string, sent ...string) {
		t.Helper()
		before := ts.content(t)
		p := putPage(0, pages(512, 'x'), sent...)
		a := ts.do(t, p)
		a.want(t, 400, code)
		if !strings.Contains(string(a.body), detail) {
			t.Errorf("no %s in %s", detail, a.body)
		}
		if !bytes.Equal(ts.content(t), before) {
			t.Error("damaged pages were written")
		}
	}
	bad("Md5Mismatch", "<ServerCalculatedMd5>", md5Line)
	bad("Crc64Mismatch", "<ServerCalculatedCrc64>", crcLine)
	bad("BothCrc64AndMd5HeaderPresent", "", md5Line, crcLine)
	bad("InvalidMd5", "", "Content-MD5: AAAA")
	bad("InvalidMd5", "", "Content-MD5:")
	bad("InvalidHeaderValue", "x-ms-content-crc64", "x-ms-content-crc64: AAAA")

	a := ts.do(t, call{method: "PUT", path: "disks/b?comp=page", header: []string{"x-ms-page-write: clear", "x-ms-range: bytes=0-511"}})
	a.want(t, 201, "")
	if strings.Contains(a.raw, "crc64") || strings.Contains(a.raw, "MD5") || strings.Contains(a.raw, "encrypted") {
		t.Errorf("clear:\n%s", a.raw)
	}
}

// TestPutPageLength shows what is said when range and body do not fit together.
func TestPutPageLength(t *testing.T) {
	ts := start(t, nil)
	ts.makeBlob(t, 8<<20)
	f := func(rg string, body int, status int, code string) {
		t.Helper()
		ts.do(t, call{method: "PUT", path: "disks/b?comp=page", body: pages(body, 'x'),
			header: []string{"x-ms-page-write: update", "x-ms-range: " + rg}}).want(t, status, code)
	}
	f("bytes=0-511", 512, 201, "")
	f("bytes=0-4194303", 4<<20, 201, "")
	f("bytes=0-511", 1024, 400, "InvalidHeaderValue")
	f("bytes=0-1023", 512, 400, "InvalidHeaderValue")
	f("bytes=0-511", 0, 400, "InvalidHeaderValue")
	f("bytes=0-512", 513, 400, "InvalidHeaderValue")
	f("bytes=0-", 512, 400, "InvalidHeaderValue")
	f("bytes=8388608-8389119", 512, 416, "InvalidPageRange")
	f("bytes=0-8388607", 512, 400, "InvalidHeaderValue")
	a := ts.do(t, call{method: "PUT", path: "disks/b?comp=page", body: pages(512, 'x'), header: []string{"x-ms-page-write: update"}})
	a.want(t, 400, "MissingRequiredHeader")
	if !strings.Contains(string(a.body), "<HeaderName>Range</HeaderName>") {
		t.Errorf("%s", a.body)
	}
	for _, method := range []call{
		{method: "PUT", path: "disks/b?comp=page", body: pages(512, 'x'), header: []string{"x-ms-page-write: clear", "x-ms-range: bytes=0-511"}},
		{method: "PUT", path: "disks/new", body: pages(512, 'x'), header: []string{"x-ms-blob-type: PageBlob", "x-ms-blob-content-length: 512"}},
	} {
		ts.do(t, method).want(t, 400, "InvalidHeaderValue")
	}
}

// TestPreviousSnapshotURL compares with a snapshot that is named by its URL, as managed disks do.
func TestPreviousSnapshotURL(t *testing.T) {
	ts := start(t, nil)
	ts.makeBlob(t, 4096)
	ts.do(t, putPage(0, fill(1024))).want(t, 201, "")
	snap := ts.do(t, call{method: "PUT", path: "disks/b?comp=snapshot"}).Header.Get("x-ms-snapshot")
	ts.do(t, putPage(512, fill(512))).want(t, 201, "")
	f := func(url string, status int, code, body string) {
		t.Helper()
		a := ts.do(t, call{method: "GET", path: "disks/b?comp=pagelist", header: []string{"x-ms-previous-snapshot-url: " + url}})
		a.want(t, status, code)
		if !strings.Contains(string(a.body), body) {
			t.Errorf("%s: no %q in %s", url, body, a.body)
		}
	}
	const changed = "<PageList><PageRange><Start>512</Start><End>1023</End></PageRange>"
	escaped := strings.ReplaceAll(snap, ":", "%3A")
	f("http://127.0.0.1:10000/devstoreaccount1/disks/b?snapshot="+snap, 200, "", changed)
	f("https://127.0.0.1/devstoreaccount1/disks/b?snapshot="+escaped+"&sv=x", 200, "", changed)
	f("http://devstoreaccount1.blob.example.org/disks/b?snapshot="+snap, 200, "", changed)
	for _, bad := range []string{
		"http://127.0.0.1/devstoreaccount1/disks/b", "http://127.0.0.1/devstoreaccount1/disks/c?snapshot=" + snap,
		"http://127.0.0.1/devstoreaccount1/other/b?snapshot=" + snap, "http://127.0.0.1/other/disks/b?snapshot=" + snap,
		"http://127.0.0.1/devstoreaccount1/disks/b?snapshot=yesterday", "/devstoreaccount1/disks/b?snapshot=" + snap, snap, "",
		"http://127.0.0.1/devstoreaccount1/disks/b?snapshot=" + snap + "&snapshot=" + snap, "http://127.0.0.1/devstoreaccount1/disks/%zz?snapshot=" + snap,
	} {
		f(bad, 400, "InvalidHeaderValue", "<HeaderName>x-ms-previous-snapshot-url</HeaderName>")
	}
	f("http://127.0.0.1/devstoreaccount1/disks/b?snapshot=2020-01-01T00:00:00.0000000Z", 409, "PreviousSnapshotNotFound", "")
	a := ts.do(t, call{method: "GET", path: "disks/b?comp=pagelist&prevsnapshot=" + escaped})
	if a.want(t, 200, ""); !strings.Contains(string(a.body), changed) {
		t.Errorf("%s", a.body)
	}
	ts.do(t, call{method: "GET", path: "disks/b?comp=pagelist&prevsnapshot="}).want(t, 400, "InvalidQueryParameterValue")
}

// TestPageListPaging shows which versions page the list of ranges.
func TestPageListPaging(t *testing.T) {
	ts := start(t, nil)
	ts.makeBlob(t, 16*1024)
	for i := range 8 {
		ts.do(t, putPage(i*1024, pages(512, 'x'))).want(t, 201, "")
	}
	list := func(version, query string) (int, string) {
		t.Helper()
		a := ts.do(t, call{method: "GET", path: "disks/b?comp=pagelist" + query, header: []string{"x-ms-version: " + version}})
		a.want(t, 200, "")
		_, rest, _ := strings.Cut(string(a.body), "<NextMarker>")
		next, _, _ := strings.Cut(rest, "</NextMarker>")
		return strings.Count(string(a.body), "<PageRange>"), next
	}
	if n, next := list("2019-12-12", "&maxresults=3"); n != 8 || next != "" {
		t.Errorf("2019-12-12: %d ranges and marker %q, want all", n, next)
	}
	n, next := list("2020-10-02", "&maxresults=3")
	for next != "" {
		var m int
		m, next = list("2020-10-02", "&maxresults=3&marker="+next)
		n += m
	}
	if n != 8 {
		t.Errorf("%d ranges on all pages, want 8", n)
	}
	ts.do(t, call{method: "GET", path: "disks/b?comp=pagelist&maxresults=0"}).want(t, 400, "OutOfRangeQueryParameterValue")
	ts.do(t, call{method: "GET", path: "disks/b?comp=pagelist&maxresults=x"}).want(t, 400, "InvalidQueryParameterValue")
	a := ts.do(t, call{method: "GET", path: "disks/b?comp=pagelist", header: []string{"Range: bytes=16384-"}})
	a.want(t, 416, "InvalidRange")
	if got := a.Header.Get("Content-Range"); got != "bytes */16384" {
		t.Errorf("416 with Content-Range %q", got)
	}
}

// TestListParameters shows how the parameters of listings are read.
func TestListParameters(t *testing.T) {
	ts := start(t, nil)
	ts.makeBlob(t, 512)
	ts.do(t, call{method: "PUT", path: "disks/b?comp=metadata", header: []string{"x-ms-meta-a: 1"}}).want(t, 200, "")
	ts.do(t, call{method: "PUT", path: "disks/b?comp=snapshot"}).want(t, 201, "")
	f := func(query string, blobs int, metadata bool) {
		t.Helper()
		a := ts.do(t, call{method: "GET", path: "disks?restype=container&comp=list" + query})
		a.want(t, 200, "")
		if got := strings.Count(string(a.body), "<Blob>"); got != blobs || strings.Contains(string(a.body), "<a>1</a>") != metadata {
			t.Errorf("%s: %d blobs:\n%s", query, got, a.body)
		}
	}
	f("", 1, false)
	f("&include=", 1, false)
	f("&include=snapshots,metadata", 2, true)
	f("&include=Snapshots%2CMETADATA", 2, true)
	f("&include=snapshots&include=metadata", 2, true)
	f("&include=uncommittedblobs,copy,deleted,versions,tags,immutabilitypolicy,legalhold,deletedwithversions,permissions", 1, false)
	f("&maxresults=1&include=snapshots", 1, false)
	f("&maxresults=99999999999", 1, false)
	f("&prefix=x", 0, false)
	bad := func(query, code string) {
		t.Helper()
		ts.do(t, call{method: "GET", path: "disks?restype=container&comp=list" + query}).want(t, 400, code)
	}
	bad("&include=everything", "InvalidQueryParameterValue")
	bad("&maxresults=0", "OutOfRangeQueryParameterValue")
	bad("&maxresults=-1", "OutOfRangeQueryParameterValue")
	bad("&maxresults=many", "InvalidQueryParameterValue")
	bad("&marker=nonsense", "InvalidQueryParameterValue")
	bad("&prefix=a&prefix=b", "InvalidQueryParameterValue")
	bad("&showonly=files", "UnsupportedQueryParameter")
}
