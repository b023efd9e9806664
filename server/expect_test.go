package server

import (
	"bytes"
	"net"
	"testing"
	"time"

	"pagevault/internal/azure/op"
)

const expect = "Expect: 100-continue"

// TestExpect shows that a client which asks before it sends learns what the headers alone decide, without sending.
func TestExpect(t *testing.T) {
	ts := start(t, nil)
	ts.makeBlob(t, 8<<20)

	// Taken: 100, and after the body 201, on a connection that goes on.
	w := ts.dial(t)
	for range 2 {
		c := putPage(0, pages(4096, 'x'), expect)
		w.send(c.bytes(t))
		w.recv("PUT").want(t, 100, "")
		w.send(c.body)
		w.recv("PUT").want(t, 201, "")
	}
	if !bytes.Equal(ts.content(t)[:4096], pages(4096, 'x')) {
		t.Error("the page was not written")
	}

	// Refused: the final reply at once, complete, and the end of the connection.
	f := func(status int, code string, c call) {
		t.Helper()
		c.header = append(c.header, expect)
		w := ts.dial(t)
		w.send(c.bytes(t))
		a := w.recv(c.method)
		a.want(t, status, code)
		if !a.Close || a.Header.Get("x-ms-request-id") == "" || a.Header.Get("Content-Type") != "application/xml" ||
			!bytes.Contains(a.body, []byte("<Code>"+code+"</Code>")) {
			t.Errorf("not a whole reply:\n%s%s", a.raw, a.body)
		}
		w.closed()
	}
	big := pages(512, 'y')
	f(403, "AuthenticationFailed", putPage(0, big, "Authorization: SharedKey devstoreaccount1:AAAA"))
	f(401, "NoAuthenticationInformation", call{method: "PUT", path: "disks/b?comp=page", body: big, unsigned: true, header: []string{"x-ms-page-write: update"}})
	f(400, "InvalidQueryParameterValue", call{method: "PUT", path: "disks/b?comp=nonsense", body: big})
	f(400, "UnsupportedHeader", putPage(0, big, "x-ms-encryption-scope: mine"))
	f(501, "APINotImplemented", call{method: "PUT", path: "disks/b?comp=expiry", body: big})
	f(413, "RequestBodyTooLarge", call{method: "PUT", path: "disks/b?comp=page", body: make([]byte, 4<<20+512),
		header: []string{"x-ms-page-write: update", "x-ms-range: bytes=0-4194815"}})
	f(400, "InvalidHeaderValue", call{method: "PUT", path: "disks/b?comp=page", body: big, header: []string{"x-ms-page-write: update", "x-ms-version: new"}})

	// Refused although the client did not wait: what it sent is not taken for a request.
	inner := putPage(4096, pages(512, 'z'))
	c := putPage(0, append(inner.bytes(t), inner.body...), expect, "Authorization: SharedKey devstoreaccount1:AAAA")
	w = ts.dial(t)
	w.send(c.bytes(t), c.body)
	w.recv("PUT").want(t, 403, "AuthenticationFailed")
	w.closed()
	if !bytes.Equal(ts.content(t)[4096:8192], make([]byte, 4096)) {
		t.Error("a request within a body was carried out")
	}
}

// TestExpectOther shows what becomes of an expectation nobody knows, and of one in HTTP/1.0, which must be ignored.
func TestExpectOther(t *testing.T) {
	ts := start(t, nil)
	ts.makeBlob(t, 4096)
	c := putPage(0, pages(512, 'x'), "Expect: tea")
	ts.do(t, c).want(t, 400, "InvalidHeaderValue")

	c = putPage(0, pages(512, 'x'), expect)
	w := ts.dial(t)
	w.send(replace(t, c, "HTTP/1.1", "HTTP/1.0"), c.body)
	w.recv("PUT").want(t, 201, "")
}

// TestExpectCutOff lets clients go away after 100 Continue: nothing is written and everything borrowed comes back.
func TestExpectCutOff(t *testing.T) {
	ts := start(t, func(o *Options) { o.UploadBytes = 4 << 20 })
	ts.makeBlob(t, 8<<20)
	for _, sent := range []int{0, 1, 8192, 8193, 2 << 20} {
		failed := ts.failures()
		c := putPage(0, pages(4<<20, 'x'), expect)
		w := ts.dial(t)
		w.send(c.bytes(t))
		w.recv("PUT").want(t, 100, "")
		w.send(c.body[:sent])
		w.Close()
		ts.awaitFailure(t, failed)
	}
	if bytes.Contains(ts.content(t), []byte{'x'}) {
		t.Error("a page was written")
	}
	ts.do(t, putPage(0, pages(4<<20, 'y'))).want(t, 201, "") // needs the whole budget
}

// TestSlowClient shows that a client which keeps a request open is told to go, and how.
func TestSlowClient(t *testing.T) {
	ts := start(t, func(o *Options) { o.ReadTimeout = 50 * time.Millisecond })
	ts.makeBlob(t, 1<<20)
	page := putPage(0, pages(64<<10, 'x'))
	f := func(name string, p []byte) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			w := ts.dial(t)
			w.send(p)
			a := w.recv("PUT")
			a.want(t, 408, "OperationTimedOut")
			w.closed()
		})
	}
	f("half a line", []byte("PUT /devstore"))
	f("half the headers", page.bytes(t)[:80])
	f("no body", page.bytes(t))
	f("a stranger's body", append(putPage(0, pages(64<<10, 'x'), "Authorization: SharedKey devstoreaccount1:AAAA").bytes(t), 'x'))
}

// TestSilentClient shows that a connection on which nothing comes is closed.
func TestSilentClient(t *testing.T) {
	ts := start(t, func(o *Options) { o.ReadTimeout, o.IdleTimeout = 20*time.Millisecond, 20*time.Millisecond })
	ts.makeBlob(t, 4096)
	w := ts.dial(t)
	w.send((call{method: "HEAD", path: "disks/b"}).bytes(t))
	w.recv("HEAD").want(t, 200, "")
	w.closed()
}

// TestFull shows what the clients beyond the last connection are told while requests are carried out on all others, and
// that room is made again.
func TestFull(t *testing.T) {
	ts := newServer(t, func(o *Options) { o.MaxConns, o.MaxConnsPer = 2, 2 })
	g := ts.gated(op.GetBlobProperties)
	ts.serve(t)
	ts.makeBlob(t, 4096)
	ts.wantAlone(t)
	head := call{method: "HEAD", path: "disks/b"}
	var held []*wire
	for range 2 {
		w := ts.dial(t)
		w.send(head.bytes(t))
		<-g.arrived
		held = append(held, w)
	}
	w := ts.dial(t)
	w.send(putPage(0, pages(512, 'x')).bytes(t))
	a := w.recv("PUT")
	a.want(t, 503, "ServerBusy")
	if a.Header.Get("x-ms-request-id") == "" || a.Header.Get("Server") != "Pagevault/test" || !bytes.HasPrefix(a.body, []byte("<?xml")) {
		t.Errorf("not a whole reply:\n%s%s", a.raw, a.body)
	}
	w.closed()
	close(g.open)
	for _, w := range held {
		w.recv("HEAD").want(t, 200, "")
	}
	eventually(t, "one to wait, which can make room", func() bool { return waitingOn(ts.mu.listeners[0]) > 0 })
	ts.do(t, call{method: "GET", path: "?comp=list"}).want(t, 200, "")
}

// TestRefusalsAreBounded fills even the room for those who are turned away.
func TestRefusalsAreBounded(t *testing.T) {
	l := newListener(nil, 0, 0, func(c net.Conn) { t.Error("refused one that should have been dropped") })
	for range refusals {
		l.refusing <- struct{}{}
	}
	ours, theirs := net.Pipe()
	if c := l.admit(ours); c != nil {
		t.Fatal("admitted")
	}
	if n, err := theirs.Read(make([]byte, 1)); err == nil {
		t.Errorf("read %d bytes, want the end", n)
	}
}
