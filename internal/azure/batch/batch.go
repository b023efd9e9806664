// Package batch reads the body of Blob Batch, which is a multipart document whose parts are requests, and writes the
// answer, whose parts are replies. What the requests ask for is for others to say.
//
// It is pure. The body is in memory, as the protocol bounds it at 4 MiB; what is read borrows it, but for the headers.
package batch

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

const (
	// BodyMax is the largest body, in bytes.
	BodyMax = 4 << 20
	// PartsMax is the most requests in one batch.
	PartsMax = 256
	// boundaryMax is the longest boundary of a multipart document (RFC 2046 5.1.1).
	boundaryMax = 70
)

// Errors of Parse. The text of others says what is wrong with the form of the body.
var (
	ErrEmpty = errors.New("the batch has no requests")
	ErrMany  = fmt.Errorf("the batch has more than %d requests", PartsMax)
)

var (
	errStart   = errors.New("the body does not begin with the boundary")
	errEnd     = errors.New("the closing boundary is missing")
	errType    = errors.New("a part is not application/http")
	errHeader  = errors.New("a part has a line that is no header")
	errCut     = errors.New("a part ends within its headers")
	errRequest = errors.New("a part does not begin with the line of a request")
	errBody    = errors.New("a request in a batch has a body")
)

// Boundary returns the boundary that a Content-Type announces; ok is false for anything but multipart/mixed with one. It
// may be quoted, and contain = where it is not.
func Boundary(contentType string) (boundary string, ok bool) {
	kind, rest, _ := strings.Cut(contentType, ";")
	if !strings.EqualFold(strings.TrimSpace(kind), "multipart/mixed") {
		return "", false
	}
	for part := range strings.SplitSeq(rest, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		if !strings.EqualFold(strings.TrimSpace(name), "boundary") {
			continue
		}
		value = strings.TrimSpace(value)
		if n := len(value); n >= 2 && value[0] == '"' && value[n-1] == '"' {
			value = value[1 : n-1]
		}
		for i := range len(value) {
			if value[i] <= ' ' || value[i] > '~' || value[i] == '"' {
				return "", false
			}
		}
		return value, value != "" && len(value) <= boundaryMax
	}
	return "", false
}

// Request is one part: a request without a body.
type Request struct {
	ContentID   string // as the client wrote it; "" is none
	Method, URI string
	Header      []byte // the lines of its headers, each with CR LF behind it
}

// Parse reads the parts of a body. Lines end with CR LF, or LF alone.
func Parse(body []byte, boundary string) ([]Request, error) {
	p := parser{rest: body, delimiter: []byte("--" + boundary)}
	if p.skipTo() != open {
		return nil, errStart
	}
	var parts []Request
	for {
		r, end, err := p.part()
		if err != nil {
			return nil, err
		}
		if r.Method != "" {
			parts = append(parts, r)
		}
		switch {
		case len(parts) > PartsMax:
			return nil, ErrMany
		case end == none:
			return nil, errEnd
		case end == closed && len(parts) == 0:
			return nil, ErrEmpty
		case end == closed:
			return parts, nil
		}
	}
}

// parser reads a body line by line.
type parser struct {
	rest      []byte
	delimiter []byte
}

// mark says what a line is: none of the lines that separate parts, one that begins a part, or the one that closes the body.
type mark uint8

const (
	none mark = iota
	open
	closed
)

// line returns the next line without its end. ok is false where there is none.
func (p *parser) line() (line []byte, ok bool) {
	if len(p.rest) == 0 {
		return nil, false
	}
	line, p.rest, _ = bytes.Cut(p.rest, []byte{'\n'})
	return bytes.TrimSuffix(line, []byte{'\r'}), true
}

func (p *parser) mark(line []byte) mark {
	after, ok := bytes.CutPrefix(line, p.delimiter)
	if !ok {
		return none
	}
	after, end := bytes.CutPrefix(after, []byte("--"))
	switch {
	case len(bytes.TrimRight(after, " \t")) > 0:
		return none
	case end:
		return closed
	}
	return open
}

// skipTo passes over lines up to the first that separates parts.
func (p *parser) skipTo() mark {
	for {
		line, ok := p.line()
		if !ok {
			return none
		}
		if m := p.mark(line); m != none {
			return m
		}
	}
}

// part reads one part and the line that ends it. A part of nothing has no method: that is how some write an empty batch.
func (p *parser) part() (r Request, end mark, err error) {
	http := false
	for first := true; ; first = false {
		line, ok := p.line()
		if !ok {
			return r, none, errCut
		}
		if m := p.mark(line); m != none {
			if first {
				return r, m, nil
			}
			return r, m, errCut
		}
		if len(line) == 0 {
			break
		}
		name, value, ok := bytes.Cut(line, []byte{':'})
		if !ok {
			return r, none, errHeader
		}
		switch text := string(bytes.TrimSpace(value)); {
		case bytes.EqualFold(bytes.TrimSpace(name), []byte("Content-Type")):
			http = strings.EqualFold(text, "application/http")
		case bytes.EqualFold(bytes.TrimSpace(name), []byte("Content-ID")):
			r.ContentID = text
		}
	}
	if !http {
		return r, none, errType
	}
	if err := p.request(&r); err != nil {
		return r, none, err
	}
	for { // whatever separates the request from the boundary is no body
		line, ok := p.line()
		if !ok {
			return r, none, nil
		}
		if m := p.mark(line); m != none {
			return r, m, nil
		}
		if len(bytes.TrimSpace(line)) > 0 {
			return r, none, errBody
		}
	}
}

// request reads the line of a request and its headers, up to and with the empty line.
func (p *parser) request(r *Request) error {
	line, _ := p.line()
	fields := strings.Split(string(line), " ")
	if len(fields) != 3 || fields[0] == "" || fields[1] == "" || fields[2] != "HTTP/1.1" && fields[2] != "HTTP/1.0" {
		return errRequest
	}
	r.Method, r.URI = fields[0], fields[1]
	for {
		line, ok := p.line()
		if !ok || p.mark(line) != none {
			return errCut
		}
		if len(line) == 0 {
			return nil
		}
		if bytes.IndexByte(line, ':') <= 0 || line[0] == ' ' || line[0] == '\t' || bytes.IndexByte(line, '\r') >= 0 {
			return errHeader
		}
		r.Header = append(append(r.Header, line...), '\r', '\n')
	}
}

// Header is a header of a reply.
type Header struct{ Name, Value string }

// Reply is the answer to one request.
type Reply struct {
	ContentID string // of the request; "" is none
	Status    int
	Reason    string
	Headers   []Header
	Body      []byte
}

// AppendReply appends one part of the answer.
func AppendReply(dst []byte, boundary string, r *Reply) []byte {
	dst = append(dst, "--"+boundary+"\r\nContent-Type: application/http\r\n"...)
	if r.ContentID != "" {
		dst = append(dst, "Content-ID: "+r.ContentID+"\r\n"...)
	}
	dst = append(dst, "\r\nHTTP/1.1 "+strconv.Itoa(r.Status)+" "+r.Reason+"\r\n"...)
	for _, h := range r.Headers {
		dst = append(dst, h.Name+": "+h.Value+"\r\n"...)
	}
	dst = append(dst, "Content-Length: "+strconv.Itoa(len(r.Body))+"\r\n\r\n"...)
	dst = append(dst, r.Body...)
	return append(dst, "\r\n"...)
}

// AppendEnd ends the answer.
func AppendEnd(dst []byte, boundary string) []byte { return append(dst, "--"+boundary+"--\r\n"...) }
