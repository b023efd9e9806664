package server

import (
	"bufio"
	"bytes"
	"errors"

	"github.com/valyala/fasthttp"

	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/batch"
	"pagevault/internal/azure/header"
	"pagevault/internal/azure/op"
)

// A batch holds requests that are carried out one after another, each as if it had come alone: with its own address,
// signature and reply. Its operations are few, and of one kind within a batch.

var (
	errBatchKinds = errors.New("a batch deletes blobs, or sets their tiers, and nothing else")
	errElsewhere  = errors.New("the request is for another account or container than its batch")
)

// blobBatch: Blob Batch, of the account or of a container.
func (r *request) blobBatch() error {
	contentType := r.headers.String(header.ContentType)
	boundary, ok := batch.Boundary(contentType)
	if !ok {
		return azerr.BadHeader(header.ContentType.String(), contentType)
	}
	body, err := r.readBody(batch.BodyMax)
	if err != nil {
		return err
	}
	requests, err := batch.Parse(body, boundary)
	if errors.Is(err, batch.ErrMany) {
		r.replyMany(err)
		return nil
	}
	if err != nil {
		return badBatch(err)
	}
	parts := make([]*request, 0, len(requests))
	defer func() {
		for _, p := range parts {
			p.release()
		}
	}()
	var kind *op.Row
	for i := range requests {
		p := r.part(&requests[i])
		parts = append(parts, p)
		if p.err == nil {
			p.try((*request).admitPart)
		}
		if p.row != nil && (!batched(p.row.ID) || kind != nil && p.row != kind) {
			return badBatch(errBatchKinds) // nothing has been done yet
		}
		if p.row != nil {
			kind = p.row
		}
	}
	out := []byte(nil)
	id := newGUID()
	boundary = "batchresponse_" + string(id[:])
	for i, p := range parts {
		if p.err == nil {
			p.try(r.s.handlers[p.row.ID].serve)
		}
		p.record()
		out = batch.AppendReply(out, boundary, p.asPart(requests[i].ContentID))
	}
	r.begin(202)
	r.ctx.Response.Header.SetContentType("multipart/mixed; boundary=" + boundary)
	r.ctx.Response.SetBodyRaw(batch.AppendEnd(out, boundary))
	return nil
}

// batched reports whether an operation may be in a batch.
func batched(id op.ID) bool { return id == op.DeleteBlob || id == op.SetBlobTier }

// badBatch is the error of a batch of which nothing is done.
func badBatch(why error) error {
	e := azerr.InvalidInput.With("Reason", why.Error())
	e.Cause = why
	return e
}

// replyMany answers a batch of too many requests as the service does: the batch is taken, and its one part, which answers
// none of the requests, is an error.
func (r *request) replyMany(why error) {
	id := newGUID()
	boundary := "batchresponse_" + string(id[:])
	e := azerr.From(badBatch(why))
	reply := batch.Reply{Status: e.Code.Status(), Reason: fasthttp.StatusMessage(e.Code.Status()), Headers: []batch.Header{
		{Name: "x-ms-error-code", Value: e.Code.Wire()}, {Name: "x-ms-request-id", Value: string(r.id[:])},
		{Name: "x-ms-version", Value: string(r.version)}, {Name: "Content-Type", Value: "application/xml"},
	}, Body: azerr.AppendXML(nil, e, string(r.id[:]), r.s.o.Clock.Now())}
	r.begin(202)
	r.ctx.Response.Header.SetContentType("multipart/mixed; boundary=" + boundary)
	r.ctx.Response.SetBodyRaw(batch.AppendEnd(batch.AppendReply(nil, boundary, &reply), boundary))
}

// part makes a request of a part of the batch. Its host is the batch's: a part is written for the same address.
func (r *request) part(q *batch.Request) *request {
	ctx := new(fasthttp.RequestCtx)
	ctx.Init(&fasthttp.Request{}, r.ctx.RemoteAddr(), nil)
	p := r.s.acquire(ctx)
	r.s.blank(&ctx.Response)
	p.batch = r
	text := make([]byte, 0, len(q.Method)+len(q.URI)+len(q.Header)+256)
	text = append(text, q.Method+" "+q.URI+" HTTP/1.1\r\nHost: "+string(r.ctx.Request.Header.Host())+"\r\n"...)
	for line := range bytes.SplitAfterSeq(q.Header, []byte("\n")) {
		if name, _, _ := bytes.Cut(line, []byte{':'}); !bytes.EqualFold(bytes.TrimSpace(name), []byte("Host")) {
			text = append(text, line...)
		}
	}
	text = append(text, "\r\n"...)
	ctx.Request.Header.DisableNormalizing()
	if err := ctx.Request.Header.Read(bufio.NewReaderSize(bytes.NewReader(text), len(text))); err != nil {
		p.fail(badBatch(err))
	}
	return p
}

// admitPart is admit for a part of a batch, whose version is that of the batch.
func (r *request) admitPart() error {
	if err := r.readHeaders(); err != nil {
		return err
	}
	if err := r.locate(); err != nil {
		return err
	}
	if err := r.negotiate(); err != nil {
		return err
	}
	if !r.headers.Has(header.XMsVersion) && !r.query.Has("api-version") {
		r.version = r.batch.version
	}
	level, err := r.level()
	if err != nil {
		return err
	}
	if r.row, err = op.Match(level, r.ctx.Method(), &r.query, &r.headers); err != nil || !batched(r.row.ID) {
		return err
	}
	if r.account != r.batch.account || r.batch.target.container != "" && r.target.container != r.batch.target.container {
		return badBatch(errElsewhere)
	}
	if err := r.authenticate(); err != nil {
		return err
	}
	if err := op.CheckSupported(r.row, &r.headers, &r.query); err != nil {
		return err
	}
	switch {
	case r.target.secondary:
		return azerr.InsufficientAccountPermissions
	case r.framing.chunked || r.framing.length > 0:
		return azerr.BadHeader(bodyHeader, r.headers.String(header.ContentLength))
	}
	return nil
}

// asPart returns the reply to a part of a batch.
func (r *request) asPart(contentID string) *batch.Reply {
	resp := &r.ctx.Response
	reply := &batch.Reply{ContentID: contentID, Status: r.status, Reason: fasthttp.StatusMessage(r.status), Body: resp.Body()}
	for name, value := range resp.Header.All() {
		switch n := string(name); n {
		case "Server", "Date", "Connection", "Content-Length", "Transfer-Encoding":
		case "Content-Type":
			if len(reply.Body) > 0 {
				reply.Headers = append(reply.Headers, batch.Header{Name: n, Value: string(value)})
			}
		default:
			reply.Headers = append(reply.Headers, batch.Header{Name: n, Value: string(value)})
		}
	}
	return reply
}
