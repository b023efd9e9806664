package bench

import (
	"bytes"
	"net"
	"net/http"
	"strconv"

	"github.com/valyala/fasthttp"
)

// NullServer is the baseline for the way through the network: an HTTP server on the library the real one uses, which
// reads a request's body, hashes it, and answers as a Blob endpoint would. It checks no signature, stores nothing, and
// answers reads from memory with arbitrary bytes. No server that looks at what it is sent can be faster on this machine.
type NullServer struct {
	hash   func(p []byte)
	memory []byte // what is read
	server fasthttp.Server
}

// NewNullServer returns a null server that passes every body to hash, which must not keep it. hash is called concurrently.
func NewNullServer(hash func(p []byte)) *NullServer {
	s := &NullServer{hash: hash, memory: bytes.Repeat([]byte("null server page"), requestMax/16)}
	s.server = fasthttp.Server{
		Name:                  "null",
		Handler:               s.handle,
		MaxRequestBodySize:    2 * requestMax,
		ReadBufferSize:        16 << 10, // the largest head a client sends
		NoDefaultContentType:  true,
		SecureErrorLogMessage: true,
		Logger:                silent{},
	}
	return s
}

// silent drops fasthttp's complaints about connections that clients close in the middle of a request.
type silent struct{}

func (silent) Printf(string, ...any) {}

// Serve answers connections of ln until Shutdown.
func (s *NullServer) Serve(ln net.Listener) error { return s.server.Serve(ln) }

// Shutdown closes the listeners and idle connections and waits until the others are idle.
func (s *NullServer) Shutdown() error { return s.server.Shutdown() }

func (s *NullServer) handle(ctx *fasthttp.RequestCtx) {
	h := &ctx.Response.Header
	h.Set("x-ms-request-id", "00000000-0000-0000-0000-000000000000")
	h.Set("x-ms-version", serviceVersion)
	h.Set("x-ms-snapshot", "2024-01-01T00:00:00.0000000Z")
	switch {
	case ctx.IsGet():
		s.read(ctx)
	case ctx.IsDelete():
		ctx.SetStatusCode(http.StatusAccepted)
	default:
		if body := ctx.Request.Body(); len(body) > 0 {
			s.hash(body)
		}
		h.Set("ETag", `"0x8DC0FFEE0000000"`)
		h.Set("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")
		h.Set("x-ms-request-server-encrypted", "true")
		h.Set("x-ms-blob-sequence-number", "0")
		ctx.SetStatusCode(http.StatusCreated)
	}
}

// read answers a range of at most requestMax bytes, and where none is asked for as if the blob had tinyBytes.
func (s *NullServer) read(ctx *fasthttp.RequestCtx) {
	span := ctx.Request.Header.Peek("x-ms-range")
	if len(span) == 0 && !ctx.QueryArgs().Has("comp") {
		ctx.Response.SetBodyRaw(s.memory[:tinyBytes])
		return
	}
	first, last, err := fasthttp.ParseByteRange(span, sequentialSpan)
	if err != nil || last-first >= len(s.memory) {
		ctx.SetStatusCode(http.StatusRequestedRangeNotSatisfiable)
		return
	}
	b := append(make([]byte, 0, 64), "bytes "...)
	b = strconv.AppendInt(b, int64(first), 10)
	b = append(b, '-')
	b = strconv.AppendInt(b, int64(last), 10)
	b = append(b, '/')
	b = strconv.AppendInt(b, sequentialSpan, 10)
	ctx.Response.Header.SetBytesV("Content-Range", b)
	ctx.SetStatusCode(http.StatusPartialContent)
	ctx.Response.SetBodyRaw(s.memory[:last-first+1])
}
