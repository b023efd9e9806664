package faultproxy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
)

// headMax bounds the head of a message: servers take less.
const headMax = 256 << 10

// message is a request or a reply: its head is read, its body not yet.
type message struct {
	first  string // the first line
	head   []byte // all of the head as it came, to the empty line
	header http.Header
	size   int64 // of the body; -1: in chunks, -2: to the end of the connection
}

const (
	inChunks = -1
	toTheEnd = -2
)

// readHead reads the head of the next message. io.EOF: there is none.
func readHead(r *bufio.Reader) (*message, error) {
	m := new(message)
	for {
		line, err := r.ReadSlice('\n')
		m.head = append(m.head, line...)
		switch {
		case err == io.EOF && len(m.head) == 0:
			return nil, io.EOF
		case err != nil && err != bufio.ErrBufferFull:
			return nil, fmt.Errorf("head of a message: %w", err)
		case len(m.head) > headMax:
			return nil, fmt.Errorf("a head of more than %d bytes", headMax)
		}
		if bytes.HasSuffix(m.head, []byte("\r\n\r\n")) {
			break
		}
	}
	head := textproto.NewReader(bufio.NewReader(bytes.NewReader(m.head)))
	var err error
	if m.first, err = head.ReadLine(); err != nil {
		return nil, err
	}
	if len(strings.Fields(m.first)) < 2 {
		return nil, fmt.Errorf("%q is no first line of a message", m.first)
	}
	fields, err := head.ReadMIMEHeader()
	if err != nil {
		return nil, fmt.Errorf("head of %q: %w", m.first, err)
	}
	m.header = http.Header(fields)
	switch length := m.header.Get("Content-Length"); {
	case strings.EqualFold(m.header.Get("Transfer-Encoding"), "chunked"):
		m.size = inChunks
	case length != "":
		if m.size, err = strconv.ParseInt(length, 10, 64); err != nil || m.size < 0 {
			return nil, fmt.Errorf("%q: content length %q", m.first, length)
		}
	}
	return m, nil
}

// readReplyHead reads the head of the reply to a request with the method, and leaves out interim replies before it.
func readReplyHead(r *bufio.Reader, method string) (*message, error) {
	m, err := readHead(r)
	if err != nil {
		return nil, err
	}
	status := strings.Fields(m.first)[1]
	switch {
	case strings.HasPrefix(status, "1"):
		return readReplyHead(r, method)
	case method == "HEAD" || status == "204" || status == "304":
		m.size = 0
	case m.size == 0 && m.header.Get("Content-Length") == "":
		m.size = toTheEnd
	}
	return m, nil
}

// lasts reports whether the connection may be used for another message after this one.
func (m *message) lasts() bool {
	return m.size != toTheEnd && !strings.EqualFold(m.header.Get("Connection"), "close")
}

// copyBody passes the body on.
func (m *message) copyBody(w io.Writer, r *bufio.Reader) error {
	switch m.size {
	case toTheEnd:
		_, err := io.Copy(w, r)
		return err
	case inChunks:
		return copyChunks(w, r)
	}
	_, err := io.CopyN(w, r, m.size)
	return err
}

// copyChunks passes on a chunked body as it is, trailer and all.
func copyChunks(w io.Writer, r *bufio.Reader) error {
	line := func() (string, error) {
		s, err := r.ReadString('\n')
		if err == nil {
			_, err = io.WriteString(w, s)
		}
		return strings.TrimRight(s, "\r\n"), err
	}
	for {
		s, err := line()
		if err != nil {
			return err
		}
		s, _, _ = strings.Cut(s, ";")
		n, err := strconv.ParseInt(strings.TrimSpace(s), 16, 64)
		if err != nil {
			return fmt.Errorf("size of a chunk: %w", err)
		}
		if n == 0 {
			break
		}
		if _, err := io.CopyN(w, r, n+2); err != nil { // and the end of its line
			return err
		}
	}
	for {
		if s, err := line(); err != nil || s == "" {
			return err
		}
	}
}
