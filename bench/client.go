package bench

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"pagevault/internal/clock"
)

const (
	// serviceVersion is the x-ms-version of every request: old enough for any emulator, and nothing newer is needed.
	serviceVersion = "2021-12-02"
	// answerMax is how long one answer may take; Azure gives a Put Page at most 10 minutes a MiB and nobody waits that
	// long at a benchmark.
	answerMax = 60 * time.Second
	// dialMax is how long connecting may take.
	dialMax = 10 * time.Second
	// busyMax is how long a request is repeated while the server says that it is busy.
	busyMax = 60 * time.Second
	// Bodies up to this size are copied behind the request's head, to go out in one write.
	copyMax = 16 << 10
	// errorBodyMax bounds what is read of an answer that is not the expected one.
	errorBodyMax = 64 << 10
)

// StatusError is an answer other than the one expected.
type StatusError struct {
	Status  int    // of HTTP
	Code    string // x-ms-error-code, or empty
	Message string // first line of the message in the body, or empty
}

// Error returns it on one line.
func (e *StatusError) Error() string {
	text := "answered " + strconv.Itoa(e.Status)
	if e.Code != "" {
		text += " " + e.Code
	}
	if e.Message != "" {
		text += ": " + e.Message
	}
	return text
}

// conn is one connection and everything that is reused from one request on it to the next. It is not safe for concurrent
// use.
type conn struct {
	endpoint endpoint
	clock    clock.Clock
	signer   *signer
	nc       net.Conn
	br       *bufio.Reader
	resp     fasthttp.Response // of the last request; its body only where it is chunked or not the wanted one
	last     bool              // the server closes the connection after the answer that was read last
	redial   func() error      // replaces the connection
	done     <-chan struct{}   // closed when nothing more is wanted
	busy     int64             // answers of 503 so far
	release  func() bool       // stops watching the context

	head    []byte // request line, headers and small bodies
	vectors [2][]byte
	out     net.Buffers
	fields  [6]field
	query   [7]field
	span    []byte // value of x-ms-range
	date    []byte // value of x-ms-date at dateAt
	dateAt  int64
	version []byte
}

// dial connects. When ctx is done the connection is closed, which ends a request that is under way.
func dial(ctx context.Context, e endpoint, s *signer, c clock.Clock) (*conn, error) {
	k := &conn{endpoint: e, clock: c, signer: s, version: []byte(serviceVersion), done: ctx.Done()}
	k.redial = func() error { return k.connect(ctx) }
	if err := k.redial(); err != nil {
		return nil, err
	}
	return k, nil
}

func (c *conn) connect(ctx context.Context) error {
	// A dialer keeps ctx's deadline by a timer of its own, which may go off while ctx is not done yet: the end of the run
	// would look like an error of the target. So it is only told when ctx is done.
	dialing, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	d := net.Dialer{Timeout: dialMax}
	nc, err := d.DialContext(dialing, "tcp", c.endpoint.addr)
	if err != nil {
		return err
	}
	if c.endpoint.tls {
		host, _, _ := net.SplitHostPort(c.endpoint.addr)
		t := tls.Client(nc, &tls.Config{ServerName: host, NextProtos: []string{"http/1.1"}})
		if err := t.HandshakeContext(dialing); err != nil {
			nc.Close()
			return err
		}
		nc = t
	}
	c.nc, c.br, c.last = nc, bufio.NewReaderSize(nc, 16<<10), false
	c.release = context.AfterFunc(ctx, func() { nc.Close() })
	return nil
}

// Close closes the connection.
func (c *conn) Close() error {
	if c.release() {
		return c.nc.Close()
	}
	return nil
}

// now returns the value of x-ms-date, formatted once a second.
func (c *conn) now() []byte {
	t := c.clock.Now()
	if t.Unix() != c.dateAt {
		c.date, c.dateAt = t.AppendFormat(c.date[:0], http.TimeFormat), t.Unix()
	}
	return c.date
}

// rangeOf returns the value of x-ms-range for [off, off+n).
func (c *conn) rangeOf(off int64, n int) []byte {
	c.span = append(c.span[:0], "bytes="...)
	c.span = strconv.AppendInt(c.span, off, 10)
	c.span = append(c.span, '-')
	c.span = strconv.AppendInt(c.span, off+int64(n)-1, 10)
	return c.span
}

// container creates (PUT) or deletes (DELETE) a container.
func (c *conn) container(method, path string, want int) error {
	c.query[0] = field{"restype", []byte("container")}
	xms := append(c.fields[:0], field{"x-ms-date", c.now()}, field{"x-ms-version", c.version})
	_, err := c.do(&request{method: method, path: path, query: c.query[:1], xms: xms}, want, nil)
	return err
}

// createPageBlob creates a page blob of size bytes, without pages.
func (c *conn) createPageBlob(path string, size int64) error {
	xms := append(c.fields[:0], field{"x-ms-blob-content-length", strconv.AppendInt(nil, size, 10)},
		field{"x-ms-blob-type", []byte("PageBlob")}, field{"x-ms-date", c.now()}, field{"x-ms-version", c.version})
	_, err := c.do(&request{method: http.MethodPut, path: path, xms: xms}, http.StatusCreated, nil)
	return err
}

// The parts of Put Page that never change, so that sending one allocates nothing.
var (
	queryPage   = []field{{"comp", []byte("page")}}
	valueUpdate = []byte("update")
)

// putPage writes p, a multiple of 512 bytes and at most 4 MiB, at off. It does not keep p.
func (c *conn) putPage(path string, off int64, p []byte) error {
	xms := append(c.fields[:0], field{"x-ms-date", c.now()}, field{"x-ms-page-write", valueUpdate},
		field{"x-ms-range", c.rangeOf(off, len(p))}, field{"x-ms-version", c.version})
	_, err := c.do(&request{method: http.MethodPut, path: path, query: queryPage, xms: xms, body: p}, http.StatusCreated, nil)
	return err
}

// getRange reads len(into) bytes at off into into. A short answer is an error.
func (c *conn) getRange(path string, off int64, into []byte) error {
	return c.getQueryRange(path, nil, off, into)
}

// do sends r and reads the answer, and does so again after the wait that a busy server asks for, as Azure's clients do.
// An answer with a status other than want is a *StatusError; the body of the wanted one
// is read into into, and its length returned. After any error but a *StatusError the connection is of no use.
func (c *conn) do(r *request, want int, into []byte) (int, error) {
	for waited := time.Duration(0); ; {
		n, err := c.once(r, want, into)
		var status *StatusError
		if !errors.As(err, &status) || status.Status != http.StatusServiceUnavailable || waited >= busyMax {
			return n, err
		}
		c.busy++
		waited += c.retryAfter()
		if !c.wait(c.retryAfter()) {
			return 0, err
		}
	}
}

// retryAfter returns how long a busy server wants to be left alone.
func (c *conn) retryAfter() time.Duration {
	seconds, err := strconv.Atoi(string(c.resp.Header.Peek("Retry-After")))
	if err != nil || seconds < 1 {
		return time.Second
	}
	return min(time.Duration(seconds)*time.Second, busyMax)
}

// wait returns after d, or false as soon as the connection's context is done.
func (c *conn) wait(d time.Duration) bool {
	t := c.clock.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C():
		return true
	case <-c.done:
		return false
	}
}

// once sends r and reads the answer.
func (c *conn) once(r *request, want int, into []byte) (int, error) {
	if c.last { // proxies do this after some number of requests
		c.Close()
		if err := c.redial(); err != nil {
			return 0, err
		}
	}
	if err := c.nc.SetDeadline(c.clock.Now().Add(answerMax)); err != nil {
		return 0, err
	}
	if err := c.send(r); err != nil {
		// A server that refuses before it has read the body answers and hangs up: the answer says more.
		if c.resp.Header.Read(c.br) == nil && c.resp.Header.StatusCode() != want {
			c.last = true
			return 0, c.refusal()
		}
		return 0, err
	}
	if err := c.resp.Header.Read(c.br); err != nil {
		if errors.Is(err, io.EOF) {
			return 0, errors.New("the connection was closed without an answer")
		}
		return 0, shorten(err)
	}
	c.last = c.resp.Header.ConnectionClose()
	if c.resp.Header.StatusCode() != want {
		return 0, c.refusal()
	}
	return c.readBody(into)
}

// readBody reads the body of the answer whose header was just read into into and returns its length.
func (c *conn) readBody(into []byte) (int, error) {
	n := c.resp.Header.ContentLength()
	if n < 0 { // chunked, which Azurite does even where there is no body
		if err := c.resp.ReadBody(c.br, max(len(into), 1)); err != nil {
			return 0, shorten(err)
		}
		return copy(into, c.resp.Body()), nil
	}
	if n > len(into) {
		return 0, fmt.Errorf("answered %d bytes where at most %d were asked for", n, len(into))
	}
	if _, err := io.ReadFull(c.br, into[:n]); err != nil {
		return 0, fmt.Errorf("answer cut off: %w", err)
	}
	return n, nil
}

// send writes the request: head and small bodies in one write, large bodies from where they are.
func (c *conn) send(r *request) error {
	c.head = c.appendHead(c.head[:0], r)
	if len(r.body) <= copyMax {
		c.head = append(c.head, r.body...)
		_, err := c.nc.Write(c.head)
		return err
	}
	c.vectors = [2][]byte{c.head, r.body}
	c.out = c.vectors[:]
	_, err := c.out.WriteTo(c.nc)
	return err
}

func (c *conn) appendHead(dst []byte, r *request) []byte {
	dst = append(dst, r.method...)
	dst = append(dst, ' ')
	dst = append(dst, r.path...)
	for i, f := range r.query {
		dst = append(dst, "?&"[min(i, 1)])
		dst = append(dst, f.name...)
		dst = append(dst, '=')
		dst = appendEscaped(dst, f.value)
	}
	if c.endpoint.sas != "" {
		dst = append(dst, "?&"[min(len(r.query), 1)])
		dst = append(dst, c.endpoint.sas...)
	}
	dst = append(dst, " HTTP/1.1\r\nHost: "...)
	dst = append(dst, c.endpoint.host...)
	for _, f := range r.xms {
		dst = append(dst, "\r\n"...)
		dst = append(dst, f.name...)
		dst = append(dst, ": "...)
		dst = append(dst, f.value...)
	}
	if r.contentType != "" {
		dst = append(dst, "\r\nContent-Type: "...)
		dst = append(dst, r.contentType...)
	}
	if r.method != http.MethodGet {
		dst = append(dst, "\r\nContent-Length: "...)
		dst = strconv.AppendInt(dst, int64(len(r.body)), 10)
	}
	if c.endpoint.sas == "" {
		dst = append(dst, "\r\nAuthorization: "...)
		dst = c.signer.append(dst, r)
	}
	return append(dst, "\r\n\r\n"...)
}

// appendEscaped appends a value of a query, percent-encoded where a character means something there.
func appendEscaped(dst, value []byte) []byte {
	for _, b := range value {
		switch {
		case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', '0' <= b && b <= '9', strings.IndexByte("-._~/:", b) >= 0:
			dst = append(dst, b)
		default:
			dst = append(dst, '%', "0123456789ABCDEF"[b>>4], "0123456789ABCDEF"[b&15])
		}
	}
	return dst
}

// refusal reads the rest of an answer that was not wanted and returns it as an error.
func (c *conn) refusal() error {
	e := &StatusError{Status: c.resp.Header.StatusCode(), Code: string(c.resp.Header.Peek("x-ms-error-code"))}
	if err := c.resp.ReadBody(c.br, errorBodyMax); err != nil {
		c.nc.Close() // the connection is not at the start of an answer any more
		return e
	}
	if _, rest, ok := bytes.Cut(c.resp.Body(), []byte("<Message>")); ok {
		line, _, _ := bytes.Cut(rest, []byte("</Message>"))
		line, _, _ = bytes.Cut(line, []byte("\n"))
		e.Message = string(bytes.TrimSpace(line))
	}
	return e
}

// shorten keeps an error that quotes what was received to a line that can be read.
func shorten(err error) error {
	if text := err.Error(); len(text) > 200 {
		return errors.New(strings.ToValidUTF8(text[:200], "") + " …")
	}
	return err
}
