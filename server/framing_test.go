package server

import (
	"bytes"
	"fmt"
	"net"
	"strings"
	"testing"

	"pagevault/internal/azure/header"
)

// replace returns a signed request in which old text was replaced after signing: what an attacker in the path could
// send, or a client with a broken HTTP library.
func replace(t *testing.T, c call, old, with string) []byte {
	t.Helper()
	p := c.bytes(t)
	if !bytes.Contains(p, []byte(old)) {
		t.Fatalf("request %q does not contain %q", p, old)
	}
	return bytes.Replace(p, []byte(old), []byte(with), 1)
}

// TestFraming sends requests whose end could be taken for different things by us and by somebody before us. They are
// refused, the connection ends, and what follows on it is never carried out.
func TestFraming(t *testing.T) {
	ts := start(t, nil)
	ts.makeBlob(t, 4096)
	before := ts.content(t)
	page := putPage(0, pages(512, 'x'))
	smuggled := string(putPage(512, pages(512, 'y')).bytes(t)) + string(pages(512, 'y'))

	f := func(name, old, with string, status int, code string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			w := ts.dial(t)
			w.send(replace(t, page, old, with), page.body, []byte(smuggled))
			a := w.recv("PUT")
			a.want(t, status, code)
			if !a.Close || a.Header.Get("x-ms-request-id") == "" || !strings.HasPrefix(string(a.body), "<?xml") {
				t.Errorf("want Connection: close, a request id and XML:\n%s%s", a.raw, a.body)
			}
			w.closed()
			if !bytes.Equal(ts.content(t), before) {
				t.Error("a page was written")
			}
		})
	}

	const length = "Content-Length: 512\r\n"
	f("length and encoding", length, length+"Transfer-Encoding: chunked\r\n", 400, "InvalidHeaderValue")
	f("encoding and length", length, "Transfer-Encoding: chunked\r\n"+length, 400, "InvalidHeaderValue")
	f("length and identity", length, length+"Transfer-Encoding: identity\r\n", 400, "InvalidHeaderValue")
	f("chunked", length, "Transfer-Encoding: chunked\r\n", 403, "AuthenticationFailed") // it was signed with a length
	f("unknown encoding", length, "Transfer-Encoding: gzip\r\n", 400, "InvalidInput")
	f("encoding twice", length, "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400, "InvalidInput")
	f("encoding list", length, "Transfer-Encoding: gzip, chunked\r\n", 400, "InvalidInput")
	f("length twice", length, length+length, 400, "InvalidHeaderValue")
	f("two lengths", length, length+"Content-Length: 0\r\n", 400, "InvalidHeaderValue")
	f("list of lengths", length, "Content-Length: 512, 512\r\n", 400, "InvalidInput")
	f("signed length", length, "Content-Length: +512\r\n", 400, "InvalidInput")
	f("negative length", length, "Content-Length: -512\r\n", 400, "InvalidInput")
	f("hexadecimal length", length, "Content-Length: 0x200\r\n", 400, "InvalidInput")
	f("empty length", length, "Content-Length:\r\n", 400, "InvalidInput")
	f("length past int64", length, "Content-Length: 9223372036854776320\r\n", 400, "InvalidInput")
	f("space before the colon", "Content-Length:", "Content-Length :", 400, "InvalidInput")
	f("space in a name", "x-ms-page-write:", "x-ms-page write:", 400, "InvalidInput")
	f("folded header", "x-ms-page-write: update", "x-ms-page-write:\r\n update", 400, "InvalidInput")
	f("folded by a tab", "x-ms-page-write: update", "x-ms-page-write:\r\n\tupdate", 400, "InvalidInput")
	f("folded empty line", "x-ms-page-write: update\r\n", "x-ms-page-write: update\r\n \r\n", 400, "InvalidInput")
	f("line feed alone", "x-ms-page-write: update\r\n", "x-ms-page-write: update\n", 400, "InvalidInput")
	f("carriage return in a value", "x-ms-page-write: update", "x-ms-page-write: up\rdate", 400, "InvalidInput")
	f("zero byte in a value", "x-ms-page-write: update", "x-ms-page-write: up\x00date", 400, "InvalidInput")
	f("line without a colon", "x-ms-page-write: update", "x-ms-page-write", 400, "InvalidInput")
	f("no host", "Host: 127.0.0.1\r\n", "", 400, "InvalidInput")
	f("two hosts", "Host: 127.0.0.1\r\n", "Host: 127.0.0.1\r\nHost: 127.0.0.1\r\n", 400, "InvalidInput")
	f("encoding in HTTP/1.0", "HTTP/1.1\r\n", "HTTP/1.0\r\nTransfer-Encoding: chunked\r\n", 400, "InvalidInput")
	f("version of HTTP", "HTTP/1.1\r\n", "HTTP/9.9\r\n", 400, "InvalidInput")
	f("control character in the URL", "disks/b", "disks/\x01b", 400, "InvalidInput")
	f("headers too large", "x-ms-page-write:", "x-ms-meta-a: "+strings.Repeat("a", headersMax)+"\r\nx-ms-page-write:", 431, "InvalidInput")
}

// TestChunked shows that a body of unknown length is refused whoever signs it, and that its end is not looked for.
func TestChunked(t *testing.T) {
	ts := start(t, nil)
	ts.makeBlob(t, 4096)
	c := call{method: "PUT", path: "disks/b?comp=page", noLength: true, header: []string{"Transfer-Encoding: chunked",
		"x-ms-page-write: update", "x-ms-range: bytes=0-511"}}
	w := ts.dial(t)
	w.send(c.bytes(t), []byte("200\r\n"), pages(512, 'x'), []byte("\r\n0\r\n\r\n"))
	a := w.recv("PUT")
	a.want(t, 411, "MissingContentLengthHeader")
	w.closed()
}

// TestLengthRequired shows where a length must be given and where not: .NET sends no Content-Length with an empty body.
func TestLengthRequired(t *testing.T) {
	ts := start(t, nil)
	ts.makeBlob(t, 4096)
	w := ts.dial(t)
	c := call{method: "PUT", path: "disks/b?comp=snapshot", noLength: true}
	for range 2 { // on the same connection
		w.send(c.bytes(t))
		w.recv("PUT").want(t, 201, "")
	}
	c = call{method: "PUT", path: "disks/b?comp=page", noLength: true, header: []string{"x-ms-page-write: clear", "x-ms-range: bytes=0-511"}}
	w.send(c.bytes(t))
	w.recv("PUT").want(t, 201, "")
	c.header[0] = "x-ms-page-write: update"
	w.send(c.bytes(t))
	w.recv("PUT").want(t, 411, "MissingContentLengthHeader")
	w.closed()
}

// TestBodyTooLarge shows that a body over the limit is refused before it is read, in the protocol's words, and that the
// client gets the reply although it goes on sending.
func TestBodyTooLarge(t *testing.T) {
	ts := start(t, nil)
	ts.makeBlob(t, 64<<20)
	f := func(size int, closes bool) {
		t.Helper()
		a := ts.do(t, putPage(0, pages(size, 'x')))
		a.want(t, 413, "RequestBodyTooLarge")
		if !strings.Contains(string(a.body), "<MaxLimit>4194304</MaxLimit>") || a.Close != closes {
			t.Errorf("want MaxLimit, and the connection closed: %v\n%s%s", closes, a.raw, a.body)
		}
	}
	f(4<<20+512, false) // little enough to be dropped
	f(5<<20, true)
	f(40<<20, true)
	if n := len(ts.content(t)); n != 64<<20 || bytes.Contains(ts.content(t), []byte{'x'}) {
		t.Error("a page was written")
	}
}

// TestRefusedBodyKeepsStep sends a body that holds requests with a request that is refused, and more requests behind
// it, all at once: each gets its reply in turn, and what is in the body is not carried out.
func TestRefusedBodyKeepsStep(t *testing.T) {
	ts := start(t, nil)
	ts.makeBlob(t, 4096)
	inner := putPage(0, pages(512, 'y'))
	body := append(inner.bytes(t), inner.body...)
	body = bytes.Repeat(body, 3)
	for _, size := range []int{len(body), 8 << 10, 100 << 10, 1 << 20, 4 << 20} {
		padded := append(bytes.Clone(body), make([]byte, max(0, size-len(body)))...)
		if size < len(body) {
			padded = body[:size]
		}
		t.Run(fmt.Sprint(len(padded)), func(t *testing.T) {
			f := func(name string, c call, status int, code string) {
				t.Helper()
				w := ts.dial(t)
				c.body = padded
				next := call{method: "HEAD", path: "disks/b"}
				w.send(c.bytes(t), c.body, next.bytes(t), next.bytes(t))
				w.recv(c.method).want(t, status, code)
				w.recv("HEAD").want(t, 200, "")
				w.recv("HEAD").want(t, 200, "")
			}
			f("not signed", call{method: "PUT", path: "disks/b?comp=page", unsigned: true}, 400, "MissingRequiredHeader")
			f("not there", call{method: "PUT", path: "other/b?comp=lease", header: []string{"x-ms-lease-action: release",
				"x-ms-lease-id: 11111111-1111-1111-1111-111111111111"}}, 404, "ContainerNotFound")
			f("not done", call{method: "PUT", path: "disks/b?comp=expiry"}, 501, "APINotImplemented")
			f("no body wanted", call{method: "GET", path: "?comp=list"}, 200, "")
			f("wrong key", call{method: "PUT", path: "disks/b?comp=page", header: []string{"x-ms-page-write: update",
				"Authorization: SharedKey devstoreaccount1:AAAA"}}, 403, "AuthenticationFailed")
		})
	}
	if !bytes.Equal(ts.content(t), make([]byte, 4096)) {
		t.Error("a request within a body was carried out")
	}
}

// TestPipelining sends many requests in one go.
func TestPipelining(t *testing.T) {
	ts := start(t, nil)
	ts.makeBlob(t, 64*512)
	var all []byte
	for i := range 64 {
		c := putPage(i*512, pages(512, byte(i)))
		all = append(append(all, c.bytes(t)...), c.body...)
	}
	w := ts.dial(t)
	w.send(all)
	for range 64 {
		w.recv("PUT").want(t, 201, "")
	}
	for i, got := range ts.content(t) {
		if got != byte(i/512) {
			t.Fatalf("byte %d is %d", i, got)
		}
	}
}

// TestNoPhantomBody shows that replies to HEAD and 304 have no body, by asking again on the same connection.
func TestNoPhantomBody(t *testing.T) {
	ts := start(t, nil)
	ts.makeBlob(t, 4096)
	w := ts.dial(t)
	head := call{method: "HEAD", path: "disks/b"}
	w.send(head.bytes(t))
	a := w.recv("HEAD")
	a.want(t, 200, "")
	if a.Header.Get("Content-Length") != "4096" {
		t.Errorf("HEAD of a blob of 4096 bytes:\n%s", a.raw)
	}
	etag := a.Header.Get("ETag")

	missing := call{method: "HEAD", path: "disks/none"}
	w.send(missing.bytes(t))
	a = w.recv("HEAD")
	a.want(t, 404, "BlobNotFound")
	if a.Header.Get("Content-Type") != "" || a.Header.Get("Content-Length") != "" {
		t.Errorf("a failed HEAD announces a body:\n%s", a.raw)
	}

	for _, method := range []string{"GET", "HEAD"} {
		c := call{method: method, path: "disks/b", header: []string{"If-None-Match: " + etag}}
		w.send(c.bytes(t))
		a = w.recv(method)
		a.want(t, 304, "ConditionNotMet")
		if a.Header.Get("ETag") != etag || a.Header.Get("Content-Length") != "" || a.Header.Get("Content-Type") != "" {
			t.Errorf("304 to %s: want the ETag and no body announced:\n%s", method, a.raw)
		}
	}
	w.send(head.bytes(t))
	w.recv("HEAD").want(t, 200, "")
}

// TestDuplicateHeader shows that a second value of a header is refused, and that the connection goes on.
func TestDuplicateHeader(t *testing.T) {
	ts := start(t, nil)
	ts.makeBlob(t, 4096)
	w := ts.dial(t)
	f := func(line string) {
		t.Helper()
		c := putPage(0, pages(512, 'x'), line)
		w.send(c.bytes(t), c.body)
		w.recv("PUT").want(t, 400, "InvalidHeaderValue")
	}
	f("X-MS-Range: bytes=512-1023")
	f("x-ms-page-write: clear")
	c := putPage(0, pages(512, 'x'), "Content-Type: a/b", "content-type: c/d")
	w.send(c.bytes(t), c.body)
	w.recv("PUT").want(t, 400, "InvalidHeaderValue")
	c = putPage(0, pages(512, 'x'))
	w.send(c.bytes(t), c.body)
	w.recv("PUT").want(t, 201, "")
}

// TestCutOff ends uploads early, in every way a connection can end. No page may change, and the client must never
// hear 201.
func TestCutOff(t *testing.T) {
	ts := start(t, nil)
	const size = 64 << 10
	ts.makeBlob(t, 1<<20)
	ts.do(t, putPage(0, pages(size, 'a'))).want(t, 201, "")

	ends := map[string]func(c *net.TCPConn) error{
		"close":      (*net.TCPConn).Close,
		"half-close": (*net.TCPConn).CloseWrite,
		"reset":      func(c *net.TCPConn) error { c.SetLinger(0); return c.Close() },
	}
	page := putPage(0, pages(size, 'x'))
	head := page.bytes(t)
	for name, end := range ends {
		for _, sent := range []int{0, 1, 511, 512, 4095, 8191, 8192, 8193, 16 << 10, 32<<10 + 1, size - 512, size - 1} {
			t.Run(fmt.Sprintf("%s after %d", name, sent), func(t *testing.T) {
				failed := ts.failures()
				w := ts.dial(t)
				w.send(head, page.body[:sent])
				tcp := w.Conn.(*net.TCPConn)
				if err := end(tcp); err != nil {
					t.Fatal(err)
				}
				if name == "half-close" {
					a := w.recv("PUT")
					a.want(t, 400, "InvalidInput")
					w.closed()
				}
				ts.awaitFailure(t, failed)
			})
		}
	}
	want := append(pages(size, 'a'), make([]byte, 1<<20-size)...)
	if !bytes.Equal(ts.content(t), want) {
		t.Error("a page changed")
	}
}

// FuzzHeaders shows that no header block panics, and that one which is taken has a certain end: every line is a header
// of its own, and there is at most a length.
func FuzzHeaders(f *testing.F) {
	f.Add([]byte("Host: x\r\nContent-Length: 5\r\n\r\n"))
	f.Add([]byte("Host: x\r\n folded\r\n\r\n"))
	f.Add([]byte("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"))
	f.Add([]byte("a:b\nc:d\r\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var set header.Set
		framing, broken, err := readHeaders(raw, &set)
		if framing.chunked && !broken {
			t.Fatalf("%q: a body of unknown length, and the connection goes on", raw)
		}
		if err != nil || broken {
			return
		}
		for line := range bytes.SplitSeq(bytes.TrimSuffix(raw, []byte("\r\n")), []byte("\r\n")) {
			if len(line) == 0 {
				return // the end; nothing behind it is looked at
			}
			name, _, ok := bytes.Cut(line, []byte{':'})
			if !ok || len(name) == 0 || bytes.ContainsAny(line, "\n") || bytes.ContainsAny(name, " \t\r") {
				t.Fatalf("%q: took line %q", raw, line)
			}
		}
	})
}
