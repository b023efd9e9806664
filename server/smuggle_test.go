package server

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// TestSmuggling adds to TestFraming what proxies and servers are known to have read differently. Each case is a Put Page
// whose header block or body is not what it seems, with another Put Page behind it. Whatever the reply is, it is a refusal,
// the only one, and the last, and no page is written.
func TestSmuggling(t *testing.T) {
	ts := start(t, nil)
	ts.makeBlob(t, 4096)
	before := ts.content(t)
	page := putPage(0, pages(512, 'x'))
	inner := putPage(512, pages(512, 'y'))
	smuggled := append(inner.bytes(t), inner.body...)
	const length = "Content-Length: 512\r\n"

	f := func(name, old, with string, body []byte) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			w := ts.dial(t)
			w.send(replace(t, page, old, with), body, smuggled)
			w.onlyRefused()
			if !bytes.Equal(ts.content(t), before) {
				t.Error("a page was written")
			}
		})
	}
	chunked := func(head, tail string) []byte { return []byte(head + string(page.body) + tail) }

	// Chunks: refused whatever they hold, and what follows them is not looked at.
	f("chunks", length, "Transfer-Encoding: chunked\r\n", chunked("200\r\n", "\r\n0\r\n\r\n"))
	f("line feed in an extension", length, "Transfer-Encoding: chunked\r\n", chunked("200;a=\nb\r\n", "\r\n0\r\n\r\n"))
	f("line feed ends an extension", length, "Transfer-Encoding: chunked\r\n", chunked("200;a\n", "\r\n0\r\n\r\n"))
	f("carriage return in an extension", length, "Transfer-Encoding: chunked\r\n", chunked("200;a\rb\r\n", "\r\n0\r\n\r\n"))
	f("size past 64 bits", length, "Transfer-Encoding: chunked\r\n", chunked("10000000000000200\r\n", "\r\n0\r\n\r\n"))
	f("negative size", length, "Transfer-Encoding: chunked\r\n", chunked("-200\r\n", "\r\n0\r\n\r\n"))
	f("size in other letters", length, "Transfer-Encoding: chunked\r\n", chunked("0x200\r\n", "\r\n0\r\n\r\n"))
	f("no end of a chunk", length, "Transfer-Encoding: chunked\r\n", chunked("200\r\n", "0\r\n\r\n"))
	f("trailer", length, "Transfer-Encoding: chunked\r\n", chunked("200\r\n", "\r\n0\r\nContent-Length: 3\r\n\r\n"))
	f("empty body", length, "Transfer-Encoding: chunked\r\n", []byte("0\r\n\r\n"))

	// Encodings that somebody may take for chunked, or for nothing.
	for _, line := range []string{"Transfer-Encoding: xchunked", "Transfer-Encoding : chunked", "Transfer-Encoding:\x0bchunked", "Transfer-Encoding:\tchunked",
		"Transfer-Encoding: \"chunked\"", "Transfer-Encoding: chunked, identity", "Transfer-Encoding: chunked;a", "Transfer-Encoding:", "transfer-encoding: CHUNKED",
		"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked", " Transfer-Encoding: chunked", "Transfer_Encoding: a\r\nTransfer-Encoding: chunked",
		"X: a\rTransfer-Encoding: chunked", "X: a\nTransfer-Encoding: chunked", "Transfer-Encoding\r\n: chunked"} {
		f(fmt.Sprintf("%q", line), length, length+line+"\r\n", page.body)
	}
	for _, line := range []string{"Content-Length: 512 512", "Content-Length: 512;", "Content-Length: 5\x0012", "Content-Length: ٥١٢", "Content-Length: 512\r\ncontent-length: 0",
		"Content-Length: 0\r\nContent-Length: 512", "Content-Length\t: 512", " Content-Length: 512", "Content-Length: 1e3", "Content-Length: 512.0", "Content-Length: 5_12"} {
		f(fmt.Sprintf("%q", line), length, line+"\r\n", page.body)
	}

	// Request lines.
	line := "PUT /" + testAccount + "/disks/b?comp=page HTTP/1.1\r\n"
	for _, other := range []string{" " + line, "\x00" + line, strings.Replace(line, "HTTP/1.1", "HTTP/2.0", 1), strings.Replace(line, "HTTP/1.1", "HTTP/1.2", 1),
		strings.Replace(line, " HTTP/1.1", "", 1), strings.Replace(line, "HTTP/1.1", "http/1.1", 1), strings.Replace(line, "disks/b", "disks b", 1),
		strings.Replace(line, "disks/b", "disks/\x7fb", 1), strings.Replace(line, "PUT ", "PUT\t", 1)} {
		f(fmt.Sprintf("%q", other), line, other, page.body)
	}
}

// onlyRefused reads all that comes until the connection ends and fails unless that is one refusal, or nothing.
func (w *wire) onlyRefused() {
	w.t.Helper()
	all, err := io.ReadAll(w.in)
	if err != nil {
		w.t.Fatalf("the connection does not end: %v after %q", err, all)
	}
	if n := bytes.Count(all, []byte("HTTP/1.1 ")); n > 1 || n == 0 && len(all) > 0 {
		w.t.Errorf("%d replies:\n%s", n, all)
	}
	if len(all) > 0 && !bytes.HasPrefix(all, []byte("HTTP/1.1 4")) && !bytes.HasPrefix(all, []byte("HTTP/1.1 501")) {
		w.t.Errorf("not refused:\n%s", all)
	}
}

// TestUnreadBodyThenRequest sends a body that its operation has no use for, which is itself a request, and a request
// behind it: the body is not carried out, the request is.
func TestUnreadBodyThenRequest(t *testing.T) {
	ts := start(t, nil)
	ts.makeBlob(t, 4096)
	inner := putPage(0, pages(512, 'y'))
	for _, c := range []call{{method: "GET", path: "disks/b"}, {method: "HEAD", path: "disks/b"}, {method: "DELETE", path: "disks/none"},
		{method: "PUT", path: "disks/b?comp=metadata"}, {method: "PUT", path: "disks/b?comp=snapshot"}} {
		c.body = append(inner.bytes(t), inner.body...)
		w := ts.dial(t)
		w.send(c.bytes(t), c.body, (call{method: "GET", path: "disks/b", header: []string{"Range: bytes=0-511"}}).bytes(t))
		w.recv(c.method)
		if a := w.recv("GET"); a.StatusCode != 206 || !bytes.Equal(a.body, make([]byte, 512)) {
			t.Errorf("%s %s: then %d, or a page was written\n%s", c.method, c.path, a.StatusCode, a.raw)
		}
	}
}

// TestCutOffHeaders ends requests at every byte of their headers, and within chunks: nothing is carried out, and nobody
// hears that it was.
func TestCutOffHeaders(t *testing.T) {
	ts := start(t, nil)
	ts.makeBlob(t, 4096)
	whole := putPage(0, pages(512, 'x'))
	head := whole.bytes(t)
	clear := call{method: "PUT", path: "disks/c", header: []string{"x-ms-blob-type: PageBlob", "x-ms-blob-content-length: 512"}}.bytes(t)
	cut := func(p []byte) {
		t.Helper()
		w := ts.dial(t)
		w.send(p)
		if err := w.Conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		w.onlyRefused()
	}
	for i := range head {
		cut(head[:i])
	}
	for i := range clear {
		cut(clear[:i])
	}
	for _, i := range []int{0, 1, 256, 511} {
		cut(append(bytes.Clone(head), whole.body[:i]...))
	}
	chunks := call{method: "PUT", path: "disks/b?comp=page", noLength: true, header: []string{"Transfer-Encoding: chunked", "x-ms-page-write: update",
		"x-ms-range: bytes=0-511"}}.bytes(t)
	chunks = append(chunks, "200;a=b\r\n"+string(whole.body)+"\r\n0\r\nA: b\r\n\r\n"...)
	for i := bytes.Index(chunks, []byte("\r\n\r\n")) + 4; i <= len(chunks); i++ {
		if inBody := i > len(chunks)-520 && i < len(chunks)-20; !inBody || i%64 == 0 {
			cut(chunks[:i])
		}
	}
	if !bytes.Equal(ts.content(t), make([]byte, 4096)) {
		t.Error("a page was written")
	}
	ts.do(t, call{method: "HEAD", path: "disks/c"}).want(t, http.StatusNotFound, "BlobNotFound")
}
