package server

import (
	"slices"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/header"
	"pagevault/internal/azure/sas"
)

// echoMax is the longest x-ms-client-request-id that is sent back.
const echoMax = 1024

// retryAfter is how many seconds a client waits before it sends what was refused with ServerBusy again: room in memory is
// there sooner, and the log looks every second whether enough members work again.
const retryAfter = "2"

// begin starts the reply with what every reply carries, once what it tells of is done: its Date is not before a
// Last-Modified in it. Server is written by fasthttp, which has it from us.
func (r *request) begin(status int) {
	r.status = status
	r.ctx.Response.SetStatusCode(status)
	setDate(&r.ctx.Response.Header, r.s.date.now())
	r.set("x-ms-request-id", r.id[:])
	r.set("x-ms-version", r.version)
	if id := r.headers.Get(header.XMsClientRequestID); len(id) > 0 && len(id) <= echoMax && visible(id) {
		r.set("x-ms-client-request-id", id) // .NET fails a call when a byte of it differs
	}
	r.setCORS()
}

// visible reports whether v is printable ASCII.
func visible(v []byte) bool {
	for _, c := range v {
		if c < 0x20 || c > 0x7e {
			return false
		}
	}
	return true
}

// set adds a header to the reply. fasthttp copies name and value.
func (r *request) set(name string, value []byte) {
	r.ctx.Response.Header.AddBytesV(name, value)
}

// setString is set for text.
func (r *request) setString(name, value string) {
	r.ctx.Response.Header.Add(name, value)
}

// setEncrypted says whether what the account stores is encrypted on the disks.
func (r *request) setEncrypted(name string) {
	r.setString(name, strconv.FormatBool(r.account.Encrypted()))
}

// setInt is set for a number.
func (r *request) setInt(name string, n int64) {
	r.out = header.AppendInt(r.out[:0], n)
	r.set(name, r.out)
}

// setTime is set for a time, in whole seconds.
func (r *request) setTime(name string, t time.Time) {
	r.out = header.FormatTime(r.out[:0], t)
	r.set(name, r.out)
}

// xml makes the reply's body. write appends it to what it is given.
func (r *request) xml(write func(dst []byte) []byte) {
	r.ctx.Response.Header.SetContentType("application/xml")
	r.out = write(r.out[:0])
	if len(r.out) <= keptScratch {
		r.ctx.Response.SetBody(r.out) // copied into a buffer that the connection keeps
		return
	}
	r.ctx.Response.SetBodyRaw(r.out)
	r.out = nil
}

// fail makes the reply to a request that came to nothing. It is the one place where an error becomes bytes. Headers
// that were set before stay: those that go with the error.
func (r *request) fail(err error) {
	e := azerr.From(err)
	status := e.HTTPStatus()
	if r.late {
		status = fasthttp.StatusRequestTimeout // the code's own, 500, would say that it is our fault
	}
	r.failWith(status, e)
}

// failWith is fail under a status of HTTP's own that the code does not have.
func (r *request) failWith(status int, e *azerr.Error) {
	e = redacted(e)
	r.err = e
	r.begin(status)
	r.setString("x-ms-error-code", e.Code.Wire())
	switch {
	case r.wait > 0:
		r.setInt("Retry-After", r.wait)
	case e.Code == azerr.ServerBusy:
		r.setString("Retry-After", retryAfter)
	}
	if status == fasthttp.StatusUnauthorized {
		r.set("WWW-Authenticate", r.s.challenge())
	}
	if status == fasthttp.StatusNotModified || r.ctx.IsHead() {
		return // no body, and no headers that would announce one
	}
	r.xml(func(dst []byte) []byte {
		return azerr.AppendXML(dst, e, string(r.id[:]), r.s.o.Clock.Now())
	})
}

// redacted returns e without the signatures that URLs in it may have: error bodies end up in logs.
func redacted(e *azerr.Error) *azerr.Error {
	clean := *e
	clean.Text = sas.Redact(e.Text)
	clean.Details = slices.Clone(e.Details)
	for i := range clean.Details {
		clean.Details[i].Value = sas.Redact(clean.Details[i].Value)
	}
	return &clean
}

// hangUp makes this the last reply on the connection.
func (r *request) hangUp() {
	r.ctx.SetConnectionClose()
	r.conn.Linger()
}
