package conform

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"pagevault/internal/clock"
)

// field is one header line, name and value as on the wire.
type field struct{ name, value string }

// reply is one response as it came off the wire.
type reply struct {
	method string // of the request
	target string // of the request: path and query
	sent   []field
	status int
	reason string
	fields []field
	body   []byte
	closes bool // the server ends the connection after this reply
}

// get returns the value of a header, "" when absent.
func (r *reply) get(name string) string {
	v, _ := lookup(r.fields, name)
	return v
}

// has reports whether a header is present, even if empty.
func (r *reply) has(name string) bool {
	_, ok := lookup(r.fields, name)
	return ok
}

// lookup finds a header without regard to case.
func lookup(fields []field, name string) (string, bool) {
	for _, f := range fields {
		if strings.EqualFold(f.name, name) {
			return f.value, true
		}
	}
	return "", false
}

// String shows the reply for failure messages, the body cut short.
func (r *reply) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", r.method, r.target)
	for _, f := range r.sent {
		switch strings.ToLower(f.name) {
		case "host", "authorization", "x-ms-date", "x-ms-version":
		default:
			fmt.Fprintf(&b, "\n  > %s: %.200s", f.name, f.value)
		}
	}
	fmt.Fprintf(&b, "\n  < %d %s", r.status, r.reason)
	for _, f := range r.fields {
		fmt.Fprintf(&b, "\n  < %s: %.200s", f.name, f.value)
	}
	if len(r.body) > 0 {
		fmt.Fprintf(&b, "\n  < (%d bytes) %.600q", len(r.body), r.body)
	}
	return b.String()
}

// message is one request, byte for byte: nothing is added but the line ends.
type message struct {
	method string
	target string // request target: path and query, as on the wire
	fields []field
	body   []byte
	expect bool // hold the body back until the server says 100 Continue
}

// replyTimeout bounds one exchange, so that a server that does not answer fails a test instead of hanging it.
const replyTimeout = 60 * time.Second

// connection keeps one connection to the endpoint and reuses it, so that a reply that is not framed right breaks the
// request after it and shows. It is used by one request at a time.
type connection struct {
	url  string
	conn net.Conn
	in   *bufio.Reader
	used bool
}

// drop closes the connection; the next exchange dials.
func (c *connection) drop() {
	if c.conn != nil {
		c.conn.Close()
	}
	c.conn, c.in, c.used = nil, nil, false
}

// exchange sends m and reads the reply. A kept connection that the server closed in the meantime is replaced once.
func (c *connection) exchange(m *message) (*reply, error) {
	reused := c.used
	r, err := c.try(m)
	if err != nil && reused && errors.Is(err, errNothingRead) {
		r, err = c.try(m)
	}
	if err != nil {
		c.drop()
		return nil, fmt.Errorf("%s %s: %w", m.method, m.target, err)
	}
	if r.closes {
		c.drop()
	}
	return r, nil
}

// errNothingRead says that the connection ended before the first byte of a reply.
var errNothingRead = errors.New("the connection ended before a reply")

func (c *connection) try(m *message) (*reply, error) {
	if c.conn == nil {
		if err := c.dial(); err != nil {
			return nil, err
		}
	}
	c.used = true
	c.conn.SetDeadline(clock.System.Now().Add(replyTimeout))
	if m.expect {
		return c.tryExpect(m)
	}
	// The body goes out beside the reading: a server may answer, and stop reading, before it has the whole body.
	sent := make(chan error, 1)
	go func() {
		_, err := c.conn.Write(append(m.head(), m.body...))
		sent <- err
	}()
	r, err := readReply(c.in, m.method)
	if err != nil {
		c.drop() // also ends the write
		<-sent
		return nil, err
	}
	if r.closes {
		c.conn.SetWriteDeadline(clock.System.Now())
	}
	if werr := <-sent; werr != nil && !r.closes {
		return nil, fmt.Errorf("after reply %d: %w", r.status, werr)
	}
	r.target, r.sent = m.target, m.fields
	return r, nil
}

// tryExpect sends the head, waits for an interim or a final answer, and sends the body only on the former.
func (c *connection) tryExpect(m *message) (*reply, error) {
	if _, err := c.conn.Write(m.head()); err != nil {
		return nil, err
	}
	r, err := readReply(c.in, m.method)
	if err == nil && r.status == 100 {
		if _, err := c.conn.Write(m.body); err != nil {
			return nil, err
		}
		if r, err = readReply(c.in, m.method); err == nil {
			r.fields = append(r.fields, field{interim, "100"})
		}
	} else if err == nil {
		r.closes = true // the server may or may not wait for the body; neither is wrong
	}
	if err != nil {
		c.drop()
		return nil, err
	}
	r.target, r.sent = m.target, m.fields
	return r, nil
}

// interim marks a reply that came after a 100 Continue; no server sends such a header.
const interim = "(interim)"

func (c *connection) dial() error {
	u, err := url.Parse(c.url)
	if err != nil {
		return err
	}
	d := &net.Dialer{Timeout: replyTimeout}
	var conn net.Conn
	if u.Scheme == "https" {
		conn, err = tls.DialWithDialer(d, "tcp", hostPort(u, "443"), &tls.Config{ServerName: u.Hostname()})
	} else {
		conn, err = d.Dial("tcp", hostPort(u, "80"))
	}
	if err != nil {
		return err
	}
	c.conn, c.in, c.used = conn, bufio.NewReader(conn), false
	return nil
}

func hostPort(u *url.URL, port string) string {
	if p := u.Port(); p != "" {
		port = p
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// head renders the request line and the header.
func (m *message) head() []byte {
	b := make([]byte, 0, 1024)
	b = append(b, m.method+" "+m.target+" HTTP/1.1\r\n"...)
	for _, f := range m.fields {
		b = append(b, f.name+": "+f.value+"\r\n"...)
	}
	return append(b, "\r\n"...)
}

// readReply reads one response. It is strict: whatever it does not understand is an error.
func readReply(in *bufio.Reader, method string) (*reply, error) {
	line, err := readLine(in)
	if err != nil {
		if line == "" {
			return nil, errors.Join(errNothingRead, err)
		}
		return nil, err
	}
	r := &reply{method: method}
	version, rest, _ := strings.Cut(line, " ")
	code, reason, _ := strings.Cut(rest, " ")
	if r.status, err = strconv.Atoi(code); err != nil || version != "HTTP/1.1" || len(code) != 3 {
		return nil, fmt.Errorf("status line %q", line)
	}
	r.reason = reason
	for {
		if line, err = readLine(in); err != nil {
			return nil, err
		}
		if line == "" {
			break
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || name == "" || strings.ContainsAny(name, " \t") {
			return nil, fmt.Errorf("header line %q", line)
		}
		r.fields = append(r.fields, field{name, strings.Trim(value, " \t")})
	}
	r.closes = strings.EqualFold(r.get("Connection"), "close")
	r.body, err = readBody(in, r)
	return r, err
}

// readBody reads what the header announces, which is nothing for HEAD, 1xx, 204 and 304.
func readBody(in *bufio.Reader, r *reply) ([]byte, error) {
	if r.method == "HEAD" || r.status < 200 || r.status == 204 || r.status == 304 {
		return nil, nil
	}
	if strings.EqualFold(r.get("Transfer-Encoding"), "chunked") {
		return readChunks(in)
	}
	length := r.get("Content-Length")
	n, err := strconv.ParseUint(length, 10, 40)
	if err != nil {
		return nil, fmt.Errorf("reply %d has neither a Content-Length nor chunks: %q", r.status, length)
	}
	body := make([]byte, n)
	_, err = io.ReadFull(in, body)
	return body, err
}

func readChunks(in *bufio.Reader) (body []byte, err error) {
	for {
		line, err := readLine(in)
		if err != nil {
			return nil, err
		}
		n, err := strconv.ParseUint(line, 16, 32)
		if err != nil {
			return nil, fmt.Errorf("chunk size %q", line)
		}
		chunk := make([]byte, n)
		if _, err = io.ReadFull(in, chunk); err != nil {
			return nil, err
		}
		if line, err = readLine(in); err != nil || line != "" {
			return nil, fmt.Errorf("chunk ends in %q: %w", line, err)
		}
		if n == 0 {
			return body, nil
		}
		body = append(body, chunk...)
	}
}

// readLine reads up to CRLF.
func readLine(in *bufio.Reader) (string, error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return line, err
	}
	if !strings.HasSuffix(line, "\r\n") {
		return "", fmt.Errorf("line %q does not end in CRLF", line)
	}
	return line[:len(line)-2], nil
}
