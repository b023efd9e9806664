// Package azerr is the vocabulary of errors of the Blob service: one row a code, with the name that goes on the wire,
// the HTTP status and the sentence. From blobstore upwards every error that a client may see is a Code or an *Error;
// anything else is a fault of ours and becomes InternalError (see From).
//
// The package knows nothing of HTTP servers: it gives the status and the XML body, and the server writes them.
package azerr

import (
	"cmp"
	"errors"
	"strings"
	"time"

	"pagevault/internal/azure/xmltext"
)

// row returns the table's row of c. A code out of range is a bug of ours and reads as InternalError.
func (c Code) row() Code {
	if c == 0 || c >= codeEnd {
		return InternalError
	}
	return c
}

// Error returns the wire name and the sentence.
func (c Code) Error() string { return c.Wire() + ": " + c.Message() }

// Wire returns the name as it appears in x-ms-error-code and in the XML body.
func (c Code) Wire() string { return table[c.row()].wire }

// Status returns the HTTP status.
func (c Code) Status() int { return table[c.row()].status }

// Message returns the sentence for people.
func (c Code) Message() string { return table[c.row()].message }

// With adds elements to the body of the error, as name, value, name, value … in the order they are to appear. An odd
// last name gets an empty value.
func (c Code) With(name, value string, pairs ...string) *Error {
	e := &Error{Code: c, Details: make([]Detail, 1, 1+(len(pairs)+1)/2)}
	e.Details[0] = Detail{name, value}
	for i := 0; i < len(pairs); i += 2 {
		d := Detail{Name: pairs[i]}
		if i+1 < len(pairs) {
			d.Value = pairs[i+1]
		}
		e.Details = append(e.Details, d)
	}
	return e
}

// Because keeps the cause for the log. The client sees only the code.
func (c Code) Because(err error) *Error { return &Error{Code: c, Cause: err} }

// Detail is an XML element after Message, such as HeaderName or AuthenticationErrorDetail. Name must be an XML name.
type Detail struct{ Name, Value string }

// Error is a code together with what is said about this one request.
type Error struct {
	Code    Code
	Status  int      // HTTP status in place of the code's own. 0: that
	Text    string   // sent to the client in place of the code's sentence. "": that sentence
	Details []Detail // sent to the client; never secrets
	Cause   error    // for the log only
}

// Error returns everything known, for the log.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Code.Wire())
	if e.Text != "" {
		b.WriteString(" ")
		b.WriteString(e.Text)
	}
	for _, d := range e.Details {
		b.WriteString(" ")
		b.WriteString(d.Name)
		b.WriteString("=")
		b.WriteString(d.Value)
	}
	if e.Cause != nil {
		b.WriteString(": ")
		b.WriteString(e.Cause.Error())
	}
	return b.String()
}

// HTTPStatus returns the status that the reply has.
func (e *Error) HTTPStatus() int { return cmp.Or(e.Status, e.Code.Status()) }

// Unwrap makes errors.Is find both the code and the cause.
func (e *Error) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Code}
	}
	return []error{e.Code, e.Cause}
}

// From returns err as an *Error, with its code and details wherever in the chain they are and err as the cause where
// that says more. Without a code it is InternalError. From(nil) is nil.
func From(err error) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		if err == error(e) {
			return e
		}
		return &Error{Code: e.Code, Status: e.Status, Text: e.Text, Details: e.Details, Cause: err}
	}
	var c Code
	if errors.As(err, &c) {
		if err == error(c) {
			return &Error{Code: c}
		}
		return &Error{Code: c, Cause: err}
	}
	return InternalError.Because(err)
}

// BadHeader is InvalidHeaderValue for the named header, with the value as it was sent.
func BadHeader(name, value string) *Error {
	return InvalidHeaderValue.With("HeaderName", name, "HeaderValue", value)
}

// MissingHeader is MissingRequiredHeader for the named header.
func MissingHeader(name string) *Error { return MissingRequiredHeader.With("HeaderName", name) }

// BadQuery is InvalidQueryParameterValue for the named parameter, with the value as it was sent and a reason in words.
func BadQuery(name, value, reason string) *Error {
	return InvalidQueryParameterValue.With("QueryParameterName", name, "QueryParameterValue", value, "Reason", reason)
}

// AppendXML appends the body of the error reply: one line of XML but for the two trailers that the service puts into
// the message and log parsers look for, without a byte order mark. Do not send it with 304 or in reply to HEAD.
func AppendXML(dst []byte, err *Error, requestID string, t time.Time) []byte {
	dst = append(dst, `<?xml version="1.0" encoding="utf-8"?><Error><Code>`...)
	dst = append(dst, err.Code.Wire()...)
	dst = append(dst, `</Code><Message>`...)
	dst = xmltext.Append(dst, cmp.Or(err.Text, err.Code.Message()))
	dst = append(dst, "\nRequestId:"...)
	dst = xmltext.Append(dst, requestID)
	dst = append(dst, "\nTime:"...)
	dst = t.UTC().AppendFormat(dst, "2006-01-02T15:04:05.0000000Z")
	dst = append(dst, `</Message>`...)
	for _, d := range err.Details {
		dst = xmltext.AppendElement(dst, d.Name, d.Value)
	}
	return append(dst, `</Error>`...)
}
