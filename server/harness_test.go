package server

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/blobstore"
	"pagevault/internal/azure/header"
	"pagevault/internal/azure/query"
	"pagevault/internal/azure/signing"
	"pagevault/internal/clock"
	"pagevault/pagestore"
	"pagevault/replication"
)

const (
	testAccount = "devstoreaccount1"
	testKey     = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

	// patience bounds every wait of a test for something that must happen.
	patience = 20 * time.Second
)

// testServer is a server on a port of loopback, on memory file systems.
type testServer struct {
	*Server
	addr string
	log  *logBuffer
}

// logBuffer collects the log.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// mustKey returns the key of testAccount.
func mustKey(t testing.TB) []byte {
	t.Helper()
	key, err := base64.StdEncoding.DecodeString(testKey)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// openService returns a blob service whose only account has the key of the emulators.
func openService(t testing.TB, c clock.Clock) *blobstore.Service {
	t.Helper()
	service, err := blobstore.Open(blobstore.Options{
		Clock:    c,
		Accounts: []blobstore.AccountOptions{{Name: testAccount, Keys: [][]byte{mustKey(t)}}},
		Store: func(account string) (pagestore.Options, error) {
			fs := vfs.NewMem()
			return pagestore.Options{FS: fs, Dir: "index", MasterKey: pagestore.MasterKey{1}, Members: []replication.Member{{FS: fs, Dir: "replica-1"}}}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := service.Close(); err != nil {
			t.Errorf("closing the service: %v", err)
		}
	})
	return service
}

// start starts a server and stops it when the test ends. change may be nil.
func start(t testing.TB, change func(o *Options)) *testServer {
	t.Helper()
	ts := newServer(t, change)
	ts.serve(t)
	return ts
}

// newServer returns a server that does not serve yet.
func newServer(t testing.TB, change func(o *Options)) *testServer {
	t.Helper()
	ts := &testServer{log: &logBuffer{}}
	o := Options{
		Service: openService(t, nil),
		Log:     slog.New(slog.NewTextHandler(ts.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Product: "Pagevault/test",
	}
	if change != nil {
		change(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ts.Server = s
	return ts
}

// serve begins to serve.
func (ts *testServer) serve(t testing.TB) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ts.serveOn(t, ln)
}

// serveOn is serve with a listener.
func (ts *testServer) serveOn(t testing.TB, ln net.Listener) {
	t.Helper()
	ts.addr = ln.Addr().String()
	served := make(chan error, 1)
	go func() { served <- ts.Serve(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := ts.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if t.Failed() {
			t.Logf("the server's log:\n%s", ts.log)
		}
	})
}

// call is one request as a test writes it down.
type call struct {
	method string
	path   string   // below the account, with the query: "disks/b?comp=page"
	header []string // "Name: value", in this order
	body   []byte

	noLength bool // leave Content-Length out
	unsigned bool
}

// bytes returns the request as it goes over the wire, signed, up to the body.
func (c call) bytes(t testing.TB) []byte {
	t.Helper()
	path := "/" + testAccount + "/" + c.path
	lines := append([]string{"Host: 127.0.0.1"}, c.header...)
	if !c.noLength {
		lines = append(lines, fmt.Sprintf("Content-Length: %d", len(c.body)))
	}
	if !hasHeader(lines, "x-ms-version") {
		lines = append(lines, "x-ms-version: 2026-12-06")
	}
	if !hasHeader(lines, "x-ms-date") {
		lines = append(lines, "x-ms-date: "+time.Now().UTC().Format(http.TimeFormat))
	}
	if !c.unsigned && !hasHeader(lines, "Authorization") {
		lines = append(lines, "Authorization: "+sign(t, c.method, path, lines))
	}
	return []byte(c.method + " " + path + " HTTP/1.1\r\n" + strings.Join(lines, "\r\n") + "\r\n\r\n")
}

func hasHeader(lines []string, name string) bool {
	for _, l := range lines {
		if n, _, _ := strings.Cut(l, ":"); strings.EqualFold(n, name) {
			return true
		}
	}
	return false
}

func sign(t testing.TB, method, url string, lines []string) string {
	t.Helper()
	path, raw, _ := strings.Cut(url, "?")
	r := signing.Request{Method: []byte(method), RawPath: []byte(path), Query: new(query.Set), Headers: new(header.Set), PathAccount: testAccount}
	if err := r.Query.Parse([]byte(raw)); err != nil {
		t.Fatal(err)
	}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ":")
		r.Headers.Add([]byte(name), []byte(strings.TrimSpace(value))) // a test may send one twice
	}
	return signing.Sign(&r, testAccount, mustKey(t))
}

// wire is a connection on which a test speaks HTTP byte by byte.
type wire struct {
	t testing.TB
	net.Conn
	in *bufio.Reader
}

func (ts *testServer) dial(t testing.TB) *wire {
	t.Helper()
	c, err := net.Dial("tcp", ts.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return &wire{t, c, bufio.NewReaderSize(c, 64<<10)}
}

func (w *wire) send(p ...[]byte) {
	w.t.Helper()
	for _, b := range p {
		if _, err := w.Write(b); err != nil {
			w.t.Fatalf("send: %v", err)
		}
	}
}

// answer is a reply with its body read.
type answer struct {
	*http.Response
	raw  string // status line and headers as they came
	body []byte
}

// recv reads one reply to a request with that method.
func (w *wire) recv(method string) answer {
	w.t.Helper()
	var raw strings.Builder
	for {
		line, err := w.in.ReadString('\n')
		raw.WriteString(line)
		if err != nil {
			w.t.Fatalf("recv: %v after %q", err, raw.String())
		}
		if line == "\r\n" {
			break
		}
	}
	resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(raw.String())), &http.Request{Method: method})
	if err != nil {
		w.t.Fatalf("recv: %v in %q", err, raw.String())
	}
	a := answer{Response: resp, raw: raw.String()}
	if n := resp.ContentLength; n > 0 && method != http.MethodHead { // the body is left in w.in, ReadResponse has not seen it
		a.body = make([]byte, n)
		if _, err := io.ReadFull(w.in, a.body); err != nil {
			w.t.Fatalf("recv: body of %d bytes: %v", n, err)
		}
	}
	return a
}

// closed fails the test unless the server closes the connection without another byte.
func (w *wire) closed() {
	w.t.Helper()
	if b, err := w.in.ReadByte(); err != io.EOF {
		w.t.Fatalf("got byte %q, error %v; want the connection closed", b, err)
	}
}

// do sends a call on a connection of its own and returns the reply.
func (ts *testServer) do(t testing.TB, c call) answer {
	t.Helper()
	w := ts.dial(t)
	defer w.Close()
	w.send(c.bytes(t), c.body)
	return w.recv(c.method)
}

// want fails the test unless the reply has the status and, if it is an error, the code.
func (a answer) want(t testing.TB, status int, code string) {
	t.Helper()
	if a.StatusCode != status || a.Header.Get("x-ms-error-code") != code {
		t.Fatalf("got %d %s, want %d %s\n%s%s", a.StatusCode, a.Header.Get("x-ms-error-code"), status, code, a.raw, a.body)
	}
}

// makeBlob makes container disks and in it page blob b of the size.
func (ts *testServer) makeBlob(t testing.TB, size int64) {
	t.Helper()
	ts.do(t, call{method: "PUT", path: "disks?restype=container"}).want(t, 201, "")
	ts.do(t, call{method: "PUT", path: "disks/b", header: []string{"x-ms-blob-type: PageBlob",
		fmt.Sprintf("x-ms-blob-content-length: %d", size)}}).want(t, 201, "")
}

// putPage returns the call that writes p at off.
func putPage(off int, p []byte, more ...string) call {
	return call{method: "PUT", path: "disks/b?comp=page", body: p, header: append([]string{"x-ms-page-write: update",
		fmt.Sprintf("x-ms-range: bytes=%d-%d", off, off+len(p)-1)}, more...)}
}

// pages returns n bytes, each with the value c.
func pages(n int, c byte) []byte { return bytes.Repeat([]byte{c}, n) }

// content returns the bytes of blob b.
func (ts *testServer) content(t testing.TB) []byte {
	t.Helper()
	a := ts.do(t, call{method: "GET", path: "disks/b"})
	a.want(t, 200, "")
	return a.body
}

// failures returns how many requests have been refused or broke off.
func (ts *testServer) failures() int {
	return strings.Count(ts.log.String(), "status=400")
}

// awaitFailure returns when there have been more failures than before.
func (ts *testServer) awaitFailure(t testing.TB, before int) {
	t.Helper()
	eventually(t, "a request that fails", func() bool { return ts.failures() > before })
}

// eventually returns when ok does, and fails the test when that takes too long.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited %v in vain for %s", patience, what)
		}
	}
}
