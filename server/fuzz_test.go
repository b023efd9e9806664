package server

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	runtimemetrics "runtime/metrics"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/blobstore"
	"pagevault/internal/azure/op"
	"pagevault/internal/clock"
	"pagevault/pagestore"
	"pagevault/replication"
)

// cannedConn is a client that has sent all it will ever send, and takes replies up to a size; then it goes away.
type cannedConn struct {
	in     *bytes.Reader
	out    bytes.Buffer
	closed chan struct{}
	once   sync.Once
}

// replyMax is what a client of FuzzServer takes: more than any reply to a request that is not for content.
const replyMax = 1 << 20

var errGone = errors.New("the client is gone")

func (c *cannedConn) Read(p []byte) (int, error) { return c.in.Read(p) }

func (c *cannedConn) Write(p []byte) (int, error) {
	if c.out.Len()+len(p) > replyMax {
		return 0, errGone
	}
	return c.out.Write(p)
}

func (c *cannedConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}

func (c *cannedConn) LocalAddr() net.Addr {
	return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 10000}
}
func (c *cannedConn) RemoteAddr() net.Addr {
	return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 50000}
}
func (c *cannedConn) SetDeadline(time.Time) error      { return nil }
func (c *cannedConn) SetReadDeadline(time.Time) error  { return nil }
func (c *cannedConn) SetWriteDeadline(time.Time) error { return nil }

// cannedListener accepts the connections that it is given.
type cannedListener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (l *cannedListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *cannedListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *cannedListener) Addr() net.Addr {
	return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 10000}
}

// fuzzed is a server on memory with container disks, in it blobs b and source, that is used until something has changed.
type fuzzed struct {
	*testServer
	listener *cannedListener
	service  *blobstore.Service
	served   chan error
	lsn      uint64
}

// fuzzTime is when everything in FuzzServer happens, so that it happens the same way again.
var fuzzTime = time.Date(2026, 6, 26, 23, 39, 12, 0, time.UTC)

// fuzzKey is the key of the account.
var fuzzKey = []byte("the key of the account that is fuzzed")

// written returns where the log ends, which moves when anything is written.
func (f *fuzzed) written() uint64 {
	account, _ := f.service.Account(testAccount)
	return account.Store().Stats().Applied
}

func newFuzzed(t testing.TB) *fuzzed {
	t.Helper()
	f := &fuzzed{testServer: &testServer{log: &logBuffer{}}, listener: &cannedListener{conns: make(chan net.Conn), done: make(chan struct{})}, served: make(chan error, 1)}
	c := clock.NewManual(fuzzTime)
	var err error
	f.service, err = blobstore.Open(blobstore.Options{
		Clock:    c,
		Accounts: []blobstore.AccountOptions{{Name: testAccount, Keys: [][]byte{fuzzKey}}},
		Store: func(account string) (pagestore.Options, error) {
			fs := vfs.NewMem()
			return pagestore.Options{FS: fs, Dir: "index", MasterKey: pagestore.MasterKey{1}, Members: []replication.Member{{FS: fs, Dir: "replica-1"}}}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Options{Service: f.service, Clock: c, Log: slog.New(slog.NewTextHandler(f.log, nil)), AllowPublicAccess: true})
	if err != nil {
		t.Fatal(err)
	}
	f.Server = s
	go func() { f.served <- s.Serve(f.listener) }()
	for _, c := range []authCase{
		{path: "disks", query: "restype=container"},
		{path: "disks/b", header: lines(pageBlobHeaders + "|x-ms-tags: a=b")},
		{path: "disks/b", query: "comp=page", header: lines(updateHeaders), body: strings.Repeat("p", 512)},
		{path: "disks/source", header: lines(pageBlobHeaders)},
		{path: "disks/b", query: "comp=snapshot"},
	} {
		reply := f.exchange(t, signedRaw(rawRequest(&c, "PUT")))
		if !bytes.HasPrefix(reply, []byte("HTTP/1.1 201 ")) {
			t.Fatalf("%s: %s", c.path, reply)
		}
	}
	f.lsn = f.written()
	return f
}

// exchange sends bytes on a connection of their own and returns all that comes back.
func (f *fuzzed) exchange(t testing.TB, raw []byte) []byte {
	t.Helper()
	c := &cannedConn{in: bytes.NewReader(raw), closed: make(chan struct{})}
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	select {
	case f.listener.conns <- c:
	case <-timeout.C:
		t.Fatal("the connection was not accepted")
	}
	select {
	case <-c.closed:
	case <-timeout.C:
		t.Fatalf("the connection is open after all has been sent; so far it got %q", c.out.Bytes())
	}
	return c.out.Bytes()
}

func (f *fuzzed) close(t testing.TB) {
	t.Helper()
	if err := f.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := <-f.served; err != nil {
		t.Fatal(err)
	}
	if err := f.service.Close(); err != nil {
		t.Fatal(err)
	}
}

// rawRequest returns a case as the bytes of a request without credentials.
func rawRequest(c *authCase, method string) []byte {
	r := c.request(method)
	return append([]byte(r.method+" "+r.path+r.query+" HTTP/1.1\r\n"+strings.Join(r.header, "\r\n")+"\r\n\r\n"), r.body...)
}

// signedRaw signs the first request in raw, whatever it is, if it can be read at all: else hardly one that came out of
// the fuzzer would get further than that.
func signedRaw(raw []byte) (signed []byte) {
	first, rest, ok := bytes.Cut(raw, []byte("\r\n"))
	head, _, ok2 := bytes.Cut(rest, []byte("\r\n\r\n"))
	parts := strings.SplitN(string(first), " ", 3)
	if !ok || !ok2 || len(parts) != 3 {
		return raw
	}
	defer func() {
		if recover() != nil { // what cannot be signed is sent as it is
			signed = raw
		}
	}()
	path, query, _ := strings.Cut(parts[1], "?")
	r := &authRequest{account: testAccount, method: parts[0], path: path, query: query, header: strings.Split(string(head), "\r\n")}
	n := len(r.header)
	r = signedAt(fuzzKey, fuzzTime.Format(http.TimeFormat), false)(r)
	return []byte(string(first) + "\r\n" + strings.Join(r.header[n:], "\r\n") + "\r\n" + string(rest))
}

// replyError returns what is wrong with all that came back: it must be replies, each whole, with a status that a client
// can be to blame for, or one that says what is not built. done is how many were successes.
func replyError(replies []byte, method string) (done int, err error) {
	in := bufio.NewReader(bytes.NewReader(replies))
	for {
		if _, err := in.Peek(1); err == io.EOF {
			return done, nil
		}
		resp, err := http.ReadResponse(in, &http.Request{Method: method})
		if err != nil {
			return done, fmt.Errorf("a reply that is none: %w", err)
		}
		code := resp.Header.Get("x-ms-error-code")
		switch {
		case resp.StatusCode >= 500 && resp.StatusCode != 501 && resp.StatusCode != 503:
			return done, fmt.Errorf("%d %s", resp.StatusCode, code)
		case resp.StatusCode >= 300 && code == "":
			return done, fmt.Errorf("%d and no code", resp.StatusCode)
		case resp.StatusCode >= 200 && resp.StatusCode < 300:
			done++
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			return done, fmt.Errorf("the body of a reply: %w", err)
		}
	}
}

// allocated returns how many bytes have been allocated since the process began.
func allocated() uint64 {
	s := []runtimemetrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	runtimemetrics.Read(s)
	return s[0].Value.Uint64()
}

// memoryMax is what a connection may allocate: buffers for bodies and replies, which the next uses again, several times
// over.
const memoryMax = 64 << 20

// FuzzServer throws bytes at the server as they would come from a connection, the first request in them signed or not.
// Nothing panics, what comes back are replies, none says that the server failed, and without a success among them nothing
// has been written. A connection that has said all it has to say ends.
func FuzzServer(f *testing.F) {
	for _, c := range authCases() {
		batch := "--b\r\nContent-Type: application/http\r\n\r\nDELETE /" + testAccount + "/disks/b HTTP/1.1\r\n\r\n--b--\r\n"
		c = c.on("disks", "2026-06-26T23:39:12.0000001Z", batch)
		for _, method := range op.Table[c.op-1].Methods {
			f.Add(rawRequest(&c, method), true)
		}
	}
	for _, raw := range []string{
		"", "\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "GET / HTTP/9.9\r\nHost: x\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00",
		"GET http://" + testAccount + ".blob.x/disks/b HTTP/1.1\r\nHost: y\r\nx-ms-version: 2021-12-02\r\n\r\n",
		"PUT /" + testAccount + "/disks/b?comp=page HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
		"PUT /" + testAccount + "/disks/b?comp=page HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 512\r\nx-ms-version: 2021-12-02\r\n\r\n",
		"GET /" + testAccount + "/disks/b?sv=2021-12-02&ss=b&srt=sco&sp=r&se=2100-01-01&sig=AAAA HTTP/1.1\r\nHost: x\r\n\r\n",
		"HEAD /" + testAccount + "/disks/b HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\n\r\n",
	} {
		f.Add([]byte(raw), false)
		f.Add([]byte(raw), true)
	}
	s := newFuzzed(f)
	f.Cleanup(func() { s.close(f) })
	f.Fuzz(func(t *testing.T, raw []byte, signed bool) {
		if signed {
			raw = signedRaw(raw)
		}
		before := allocated()
		replies := s.exchange(t, raw)
		if n := allocated() - before; n > memoryMax {
			t.Fatalf("%q: %d bytes were allocated", raw, n)
		}
		if log := s.log.String(); strings.Contains(log, "panic") || strings.Contains(log, "level=ERROR") {
			t.Fatalf("%q: %s", raw, log)
		}
		method, _, _ := bytes.Cut(raw, []byte{' '})
		written := s.written()
		if bytes.Count(raw, []byte("HEAD ")) > 0 && !bytes.Equal(method, []byte("HEAD")) || bytes.Count(raw, []byte("HTTP/1")) > 1 && bytes.Equal(method, []byte("HEAD")) {
			method = nil // which reply is to HEAD is not known: only the first can be read
		}
		successes := 1
		if method != nil && len(replies) < replyMax/2 {
			var err error
			successes, err = replyError(replies, string(method))
			if err != nil && string(method) == "HEAD" { // what cannot be read as a request is answered as any other
				successes, err = replyError(replies, "GET")
			}
			if err != nil {
				t.Fatalf("%q: %v in %q", raw, err, replies)
			}
		}
		if written == s.lsn {
			return
		}
		if successes == 0 {
			t.Fatalf("%q: something was written, and the replies are %q", raw, replies)
		}
		s.close(t)
		s = newFuzzed(t)
	})
}

// TestFuzzServerSees: the instrument sees a status of 500, half a reply, and a write without a success.
func TestFuzzServerSees(t *testing.T) {
	s := newFuzzed(t)
	defer s.close(t)
	c := authCase{path: "disks/b", query: "comp=metadata", header: []string{"x-ms-meta-a: 1"}}
	if reply := s.exchange(t, rawRequest(&c, "PUT")); s.written() != s.lsn || !bytes.Contains(reply, []byte(" 401 ")) {
		t.Errorf("not signed: %q", reply)
	}
	if reply := s.exchange(t, signedRaw(rawRequest(&c, "PUT"))); s.written() == s.lsn || !bytes.Contains(reply, []byte(" 200 ")) {
		t.Errorf("signed: %q", reply)
	}
	for _, bad := range []string{"HTTP/1.1 500 No\r\nContent-Length: 0\r\nx-ms-error-code: InternalError\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n123",
		"HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n", "nonsense"} {
		if _, err := replyError([]byte(bad), "GET"); err == nil {
			t.Errorf("%q passes", bad)
		}
	}
	if done, err := replyError([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n12HTTP/1.1 501 No\r\nx-ms-error-code: x\r\nContent-Length: 0\r\n\r\n"), "GET"); err != nil || done != 1 {
		t.Error(done, err)
	}
}
