package server

import (
	"bytes"
	"errors"
	"math"
	"strconv"

	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/header"
	"pagevault/internal/azure/xsm"
)

// A body may come as a structured message, and be asked for as one: see package xsm. What is read of such a message has
// been checked segment by segment and as a whole before any of it is used.

// structured reports whether the body comes as a structured message. One of the two headers is enough: what comes with the
// other missing is not taken for content.
func (r *request) structured() bool {
	return r.headers.Has(header.XMsStructuredBody) || r.headers.Has(header.XMsStructuredContentLength)
}

// messageAsked reports whether a read wants a structured message.
func (r *request) messageAsked() (bool, error) {
	if !r.headers.Has(header.XMsStructuredBody) {
		return false, nil
	}
	if v := r.headers.Get(header.XMsStructuredBody); !bytes.EqualFold(v, []byte(xsm.Value)) {
		return false, azerr.BadHeader(header.XMsStructuredBody.String(), string(v))
	}
	return true, nil
}

// readMessage returns the data of the structured message that the body is: want bytes, and not more than most. It is good
// until the reply is made.
func (r *request) readMessage(want, most int64) (data []byte, sums header.Verified, err error) {
	n, err := r.messageLength()
	if err == nil && n != want {
		err = azerr.BadHeader(header.XMsStructuredContentLength.String(), strconv.FormatInt(n, 10))
	}
	if err == nil {
		err = r.openMessage(n, most)
	}
	if err != nil {
		return nil, sums, err
	}
	r.awaitBody(r.framing.length)
	if err := r.takeBody(n, r.s.patience); err != nil {
		return nil, sums, err
	}
	if sums.CRC, err = r.endMessage(); err != nil {
		return nil, sums, err
	}
	sums.HasCRC = true
	return r.body, sums, r.stepUp()
}

// messageLength returns how much data the headers of a structured message announce. A checksum of the body beside those in it is
// refused: which bytes it would be of nobody says.
func (r *request) messageLength() (int64, error) {
	if given, err := r.messageAsked(); err != nil || !given {
		if err == nil {
			err = azerr.MissingHeader(header.XMsStructuredBody.String())
		}
		return 0, err
	}
	n, given, err := header.Int(&r.headers, header.XMsStructuredContentLength, 0, math.MaxInt64)
	if err == nil && !given {
		err = azerr.MissingHeader(header.XMsStructuredContentLength.String())
	}
	if err != nil {
		return 0, err
	}
	for _, id := range [...]header.ID{header.ContentMD5, header.XMsContentCRC64} {
		if r.headers.Has(id) {
			return 0, azerr.UnsupportedHeader.With("HeaderName", id.String(), "HeaderValue", r.headers.String(id))
		}
	}
	return n, nil
}

// openMessage begins to read a structured message with n bytes of data, which may not be more than most.
func (r *request) openMessage(n, most int64) (err error) {
	switch {
	case n > most:
		return azerr.RequestBodyTooLarge.With("MaxLimit", strconv.FormatInt(most, 10))
	case r.framing.length < 0:
		r.broken = true // as in readBody
		return azerr.MissingContentLengthHeader
	}
	if r.message, err = xsm.NewDecoder(r.ctx.RequestBodyStream(), r.framing.length, n); err != nil {
		return messageError(err)
	}
	return nil
}

// endMessage reads what follows the data and returns the CRC-64 of all of it.
func (r *request) endMessage() (crc uint64, err error) {
	r.read = true // a message may have no data
	r.conn.enter(receiving)
	crc, err = r.message.End()
	r.conn.enter(working)
	if err == nil {
		return crc, nil
	}
	r.broken = r.message.Taken() < r.framing.length // else all of it has come, and only its sum is wrong
	err = bodyError(err)
	r.late = errors.Is(err, azerr.OperationTimedOut)
	return 0, err
}

// messageError is the error of a message that was not in order, nil for any other error.
func messageError(err error) error {
	var wrong *xsm.Mismatch
	switch {
	case errors.As(err, &wrong):
		e := azerr.Crc64Mismatch.With("UserSpecifiedCrc64", string(header.AppendCRC64(nil, wrong.Sent)),
			"ServerCalculatedCrc64", string(header.AppendCRC64(nil, wrong.Have)))
		e.Cause = err
		return e
	case errors.Is(err, xsm.ErrMalformed):
		e := azerr.InvalidInput.With("Reason", err.Error())
		e.Cause = err
		return e
	}
	return nil
}

// frame begins a reply that is a structured message with n bytes of data. It returns its length.
func (r *request) frame(n int64) (*xsm.Encoder, int64) {
	r.setString("x-ms-structured-body", xsm.Value)
	r.setInt("x-ms-structured-content-length", n)
	e := xsm.NewEncoder(n, xsm.DefaultSegment)
	return &e, e.Len()
}

// replyEmptyMessage sends the message that has no data, if that is what is asked for.
func (r *request) replyEmptyMessage(a *asked) error {
	if !a.framed {
		return nil
	}
	var body bytes.Buffer
	e, _ := r.frame(0)
	if _, err := e.Write(&body, nil); err != nil {
		return err
	}
	r.ctx.Response.SetBodyRaw(body.Bytes())
	return nil
}
