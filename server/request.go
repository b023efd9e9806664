package server

import (
	"crypto/tls"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/valyala/fasthttp"

	"pagevault/blobstore"
	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/bearer"
	"pagevault/internal/azure/header"
	"pagevault/internal/azure/op"
	"pagevault/internal/azure/query"
	"pagevault/internal/azure/sas"
	"pagevault/internal/azure/xsm"
)

// request is one request on its way through the server: what was asked, and what the reply will say. It is pooled with
// all its buffers. Everything it borrows from fasthttp is good until the reply is written.
type request struct {
	s     *Server
	ctx   *fasthttp.RequestCtx
	conn  *conn     // nil when the connection is not one of our listener's
	start time.Time // by the clock of the options

	id      [36]byte // x-ms-request-id, a GUID
	headers header.Set
	query   query.Set
	target  target
	framing framing
	version []byte // the service version to echo

	batch   *request           // the batch that it is a part of; nil: it came alone
	row     *op.Row            // nil until the operation is known
	account *blobstore.Account // nil until the address is known to name one
	entered bool               // it uses the account, which stays there until it leaves
	source  *blobstore.Account // of a copy, that it uses in the same way; nil: none, or its own

	sourceName string // of the account of that, also if it is not read; "": none of this server
	lender     string // principal of the read of that

	createOnly bool            // who asks may make a blob and not overwrite one
	overrides  [5]sas.Override // headers of a read that the token of the request replaces
	authorised string          // how it was let in
	user       *bearer.Claims  // who asks, if a bearer token says so
	delegator  string          // object id of who made the user delegation SAS that the request was let in with

	message *xsm.Decoder // of a body that comes as a structured message, once it is read

	body   []byte  // of the buffers, once read
	budget *budget // of which the body's memory is; nil: it has none
	taken  int64   // bytes of it
	slot   bool    // it is one of the requests that are carried out
	read   bool    // the body has been taken from the connection, to its end
	late   bool    // its body did not come in time
	broken bool    // the connection must not be used again

	meter *meter // of the account, if it is held to a rate
	wait  int64  // seconds until it may ask again, when it asked for too much

	status int
	err    *azerr.Error // of a failed request, for the log
	out    []byte       // scratch for values and bodies of the reply
}

var (
	errHeaderLine = errors.New("a header line that is no header line, or continues the one before")
	errCutOff     = errors.New("the body ended before Content-Length bytes had come")
	errProtocol   = errors.New("not HTTP/1.0 or HTTP/1.1")
	errChunked    = errors.New("a body of unknown length")
)

// acquire returns a request for ctx. Release gives it back.
func (s *Server) acquire(ctx *fasthttp.RequestCtx) *request {
	r := s.requests.Get().(*request)
	r.s, r.ctx = s, ctx
	s.keepPristine(&ctx.Response)
	r.conn = connOf(ctx.Conn())
	r.conn.enter(working)
	r.start = s.o.Clock.Now()
	r.version = newestVersion
	r.id = newGUID()
	return r
}

// release ends the use of r and of everything it borrows. What is left is to send the reply.
func (r *request) release() {
	s := r.s
	r.conn.enter(sending)
	r.stepAside()
	r.leaveAccount()
	r.giveBack()
	if cap(r.out) > keptScratch {
		r.out = nil
	}
	r.headers.Reset()
	*r = request{headers: r.headers, query: r.query, out: r.out[:0]}
	s.requests.Put(r)
}

// newGUID returns a random GUID in its usual text form. It need not be hard to guess, only never the same.
func newGUID() (text [36]byte) {
	var b [16]byte
	hi, lo := rand.Uint64(), rand.Uint64()
	for i := range 8 {
		b[i], b[8+i] = byte(hi>>(8*i)), byte(lo>>(8*i))
	}
	b[6] = b[6]&0x0f | 0x40 // version 4
	b[8] = b[8]&0x3f | 0x80 // variant 1
	hex.Encode(text[0:8], b[0:4])
	hex.Encode(text[9:13], b[4:6])
	hex.Encode(text[14:18], b[6:8])
	hex.Encode(text[19:23], b[8:10])
	hex.Encode(text[24:36], b[10:16])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return text
}

// tls reports whether the request came over TLS.
func (r *request) tls() bool {
	if r.batch != nil {
		return r.batch.tls() // a part came as its batch did
	}
	_, ok := r.ctx.Conn().(*tls.Conn)
	return ok
}
