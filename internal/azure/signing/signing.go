// Package signing checks and makes the signatures of requests: SharedKey and SharedKeyLite, HMAC-SHA256 under one of
// the account's keys over a canonical text of the request.
//
// Clients do not agree on that text. Old ones sort headers by bytes, new ones as Windows sorts words; some leave the
// Date line empty when x-ms-date is there, some do not; on a secondary endpoint some sign the path with -secondary.
// Every one of these forms covers the same parts of the request, so any of them is accepted.
package signing

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"hash"
	"strings"
	"sync"
	"time"

	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/header"
	"pagevault/internal/azure/query"
)

// DefaultSkew is how far a request's clock may be from ours, in either direction.
const DefaultSkew = 15 * time.Minute

// maxKeys is how many keys an account has, so that one can be replaced while the other is in use.
const maxKeys = 2

// Account is a name and its keys. It is safe for concurrent use and must not be copied after first use.
type Account struct {
	Name string
	Keys [][]byte // decoded, one or two; not modified
	macs [maxKeys]sync.Pool
}

// Request is what a signature covers. All is borrowed for the length of a call.
type Request struct {
	Method      []byte
	RawPath     []byte // as it came over the wire, still encoded, without the query
	Query       *query.Set
	Headers     *header.Set
	PathAccount string // the first segment of the path when it names the account, with -secondary if sent so; empty in host style
}

// VerifySharedKey returns nil when the Authorization header of r is a SharedKey or SharedKeyLite signature of r under
// one of a's keys, and the request's date is within skew of now. It does not keep r. Errors:
//
//	NoAuthenticationInformation  no Authorization header and no signature in the query
//	InvalidAuthenticationInfo    a header that cannot be read, or an unknown scheme
//	AuthenticationFailed         everything else, with what the server signed in AuthenticationErrorDetail
func VerifySharedKey(r *Request, a *Account, now time.Time, skew time.Duration) error {
	auth, err := authorization(r)
	if err != nil {
		return err
	}
	if string(auth.account) != a.Name {
		return failed("The account in the Authorization header is not the one of the request.")
	}
	if err := checkDate(r.Headers, now, skew); err != nil {
		return err
	}
	s := scratches.Get().(*scratch)
	defer s.release()
	s.collect(r)
	if s.matches(r, a, auth) {
		return nil
	}
	return failed("The MAC signature found in the HTTP request '" + string(auth.signature) +
		"' is not the same as any computed signature. Server used following string to sign: '" + s.shown(r, a.Name, auth.lite) + "'.")
}

// credentials are the parts of an Authorization header, borrowed.
type credentials struct {
	lite               bool
	account, signature []byte
}

// authorization reads the Authorization header.
func authorization(r *Request) (credentials, error) {
	v := r.Headers.Get(header.Authorization)
	if !r.Headers.Has(header.Authorization) {
		if r.Query.Has("sig") {
			return credentials{}, failed("The request has a shared access signature and no Authorization header.")
		}
		return credentials{}, azerr.NoAuthenticationInformation
	}
	scheme, rest, _ := bytes.Cut(v, []byte(" "))
	c := credentials{lite: header.EqualFold(scheme, "sharedkeylite")}
	if !c.lite && !header.EqualFold(scheme, "sharedkey") {
		if header.EqualFold(scheme, "bearer") {
			return credentials{}, failed("Authentication scheme Bearer is not supported by this server.")
		}
		return credentials{}, azerr.InvalidAuthenticationInfo
	}
	var ok bool
	c.account, c.signature, ok = bytes.Cut(bytes.TrimLeft(rest, " "), []byte(":"))
	if !ok || len(c.account) == 0 || len(c.signature) == 0 {
		return credentials{}, azerr.InvalidAuthenticationInfo
	}
	return c, nil
}

// checkDate returns AuthenticationFailed unless x-ms-date, or else Date, is within skew of now. A signature without a
// date could be replayed for ever.
func checkDate(h *header.Set, now time.Time, skew time.Duration) error {
	id := header.XMsDate
	if !h.Has(id) {
		id = header.Date
	}
	t, ok := header.ParseTime(h.Get(id))
	if !ok {
		return failed("The Date header in the request is missing or cannot be read.")
	}
	if d := now.Sub(t); d > skew || d < -skew {
		return failed("Request date header too old: '" + h.String(id) + "'.")
	}
	return nil
}

func failed(detail string) error {
	return azerr.AuthenticationFailed.With("AuthenticationErrorDetail", detail)
}

// Sign returns the value of the Authorization header for r under a key, sorted as the current SDKs sort. Its headers
// must hold all that will be sent, x-ms-date and x-ms-version among them.
func Sign(r *Request, account string, key []byte) string {
	return "SharedKey " + account + ":" + sign(r, account, key, form{})
}

// SignLite is Sign for SharedKeyLite.
func SignLite(r *Request, account string, key []byte) string {
	return "SharedKeyLite " + account + ":" + sign(r, account, key, form{lite: true})
}

func sign(r *Request, account string, key []byte, f form) string {
	s := scratches.Get().(*scratch)
	defer s.release()
	s.collect(r)
	s.sort(f.bytewise)
	m := hmac.New(sha256.New, key)
	m.Write(s.build(r, account, f))
	return base64.StdEncoding.EncodeToString(m.Sum(nil))
}

// matches tries every form and key against the signature. Wrong ones take no longer for being nearly right.
func (s *scratch) matches(r *Request, a *Account, auth credentials) bool {
	n, err := base64.StdEncoding.Strict().Decode(s.given[:], truncate(auth.signature))
	if err != nil || n != sha256.Size {
		return false
	}
	h := r.Headers
	for f := range forms {
		switch {
		case f.dateToo && !(h.Has(header.XMsDate) && len(h.Get(header.Date)) > 0),
			f.primary && r.PathAccount != a.Name+secondary:
			continue
		case f.bytewise && !s.sortedBytewise && s.inByteOrder():
			return false // the rest of the forms are those already tried
		}
		f.lite = auth.lite
		s.sort(f.bytewise)
		text := s.build(r, a.Name, f)
		for i := range min(len(a.Keys), maxKeys) {
			if subtle.ConstantTimeCompare(s.mac(a, i, text), s.given[:n]) == 1 {
				return true
			}
		}
	}
	return false
}

// truncate cuts a signature to the most that fits the buffer it is decoded to; what was longer is wrong anyway.
func truncate(signature []byte) []byte {
	const most = 48 // of base64, 36 bytes: longer than any right one
	return signature[:min(len(signature), most)]
}

// mac returns the signature of text under the account's i-th key, borrowed from s.
func (s *scratch) mac(a *Account, i int, text []byte) []byte {
	m, _ := a.macs[i].Get().(hash.Hash)
	if m == nil {
		m = hmac.New(sha256.New, a.Keys[i])
	}
	m.Reset()
	m.Write(text)
	sum := m.Sum(s.sum[:0])
	a.macs[i].Put(m)
	return sum
}

// shown returns the string to sign as it is told to the client, who compares it with its own.
func (s *scratch) shown(r *Request, account string, lite bool) string {
	for i := range s.headers {
		if header.Lookup(s.headers[i].name).Secret() {
			s.headers[i].value = []byte("(not shown)")
		}
	}
	for i := range s.params {
		if string(s.params[i].Name) == "sig" { // a token beside the signature of the request
			s.params[i].Value = []byte("(not shown)")
		}
	}
	s.sort(false)
	return strings.ToValidUTF8(string(s.build(r, account, form{lite: lite})), "\uFFFD")
}
