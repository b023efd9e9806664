package bench

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"hash"
	"strconv"
)

// field is a header or a query parameter.
type field struct {
	name  string
	value []byte
}

// request is what is sent and signed. Both orders are the caller's duty, so that nothing is sorted while measuring.
type request struct {
	method      string
	path        string  // as on the wire: percent-encoded, with the leading slash
	query       []field // sorted by name, lower-case; values are not percent-encoded
	xms         []field // every x-ms-* header, sorted by name, lower-case
	contentType string
	body        []byte
}

// signer makes SharedKey signatures for one account. It allocates nothing in steady state and is not safe for concurrent
// use.
type signer struct {
	account string
	mac     hash.Hash
	text    []byte // the string to sign of the last request
	sum     [sha256.Size]byte
}

func newSigner(account string, key []byte) *signer {
	return &signer{account: account, mac: hmac.New(sha256.New, key)}
}

// append appends the value of r's Authorization header to dst.
func (s *signer) append(dst []byte, r *request) []byte {
	s.text = appendStringToSign(s.text[:0], s.account, r)
	s.mac.Reset()
	s.mac.Write(s.text)
	dst = append(dst, "SharedKey "...)
	dst = append(dst, s.account...)
	dst = append(dst, ':')
	return base64.StdEncoding.AppendEncode(dst, s.mac.Sum(s.sum[:0]))
}

// appendStringToSign appends what SharedKey signs in version 2015-02-21 and later: the values of twelve standard headers
// (a length of zero is an empty line; the date is in x-ms-date), all x-ms-* headers, the account with the path as sent,
// and the query.
func appendStringToSign(dst []byte, account string, r *request) []byte {
	dst = append(dst, r.method...)
	dst = append(dst, "\n\n\n"...) // Content-Encoding, Content-Language
	if len(r.body) > 0 {
		dst = strconv.AppendInt(dst, int64(len(r.body)), 10)
	}
	dst = append(dst, "\n\n"...) // Content-MD5
	dst = append(dst, r.contentType...)
	dst = append(dst, "\n\n\n\n\n\n\n"...) // Date, four If-*, Range
	for _, f := range r.xms {
		dst = append(dst, f.name...)
		dst = append(dst, ':')
		dst = append(dst, f.value...)
		dst = append(dst, '\n')
	}
	dst = append(dst, '/')
	dst = append(dst, account...)
	dst = append(dst, r.path...)
	for _, f := range r.query {
		dst = append(dst, '\n')
		dst = append(dst, f.name...)
		dst = append(dst, ':')
		dst = append(dst, f.value...)
	}
	return dst
}
