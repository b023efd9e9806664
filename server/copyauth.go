package server

import (
	"bytes"
	"net/http"

	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/header"
)

// copyAuthorizationVersion is the first version of the service in which a request may bring a bearer token for its source.
const copyAuthorizationVersion = "2020-10-02"

// sourceToken returns what x-ms-copy-source-authorization says, as the value of an Authorization header for reads of the
// source; "" if the request has no such header. The rest of the URL is what follows its scheme. A source with a shared
// access signature has that for its reads: which of the two were meant nobody could say, so both together are refused.
//
// The token is a secret that the client has lent for this one copy. It is kept in memory only, for as long as the copy is
// under way, is in no error, and goes nowhere but to the source.
func (r *request) sourceToken(rest []byte) (string, error) {
	const id = header.XMsCopySourceAuthorization
	if !r.headers.Has(id) {
		return "", nil
	}
	if string(r.version) < copyAuthorizationVersion {
		return "", azerr.UnsupportedHeader.With("HeaderName", id.String(), "HeaderValue", "")
	}
	scheme, token, _ := bytes.Cut(r.headers.Get(id), []byte{' '})
	if !header.EqualFold(scheme, "bearer") || len(token) == 0 || !visible(token) || bytes.IndexByte(token, ' ') >= 0 {
		return "", azerr.BadHeader(id.String(), "")
	}
	if _, query, _ := bytes.Cut(rest, []byte{'?'}); hasParameter(query, "sig") {
		return "", azerr.InvalidHeaderValue.With("HeaderName", id.String(), "HeaderValue", "",
			"Reason", "the source has a shared access signature as well")
	}
	return "Bearer " + string(token), nil
}

// hasParameter reports whether a query has a parameter of that name, in whatever case, or one whose name cannot be read and
// so might be it.
func hasParameter(query []byte, name string) bool {
	for p := range bytes.SplitSeq(query, []byte{'&'}) {
		p, _, _ = bytes.Cut(p, []byte{'='})
		if p, ok := unescape(p); !ok || header.EqualFold([]byte(p), name) {
			return true
		}
	}
	return false
}

// checkLending refuses a token for another server that came over plain HTTP, as it is refused for a source on this one, and
// to send a token on over plain HTTP, where anybody on the way can read it. The first the operator can allow, and then the
// second too, for hosts named as ones to read from: that requests come through a proxy says nothing of the way to others.
func (r *request) checkLending(source remoteSource) error {
	switch {
	case source.token == "":
		return nil
	case !r.tls() && !r.s.o.BearerOverHTTP:
		return r.sourceTokenError(errBearerHTTP)
	case source.overTLS() || r.s.o.BearerOverHTTP && r.s.fetcher.names(source.host()):
		return nil
	}
	return r.sourceFailed(http.StatusForbidden, "", "A bearer token is not sent to that source over http.", nil)
}

// sourceTokenError is sourceError for a source on this server that is read by a bearer token. A token that is not taken is
// 403, as a shared access signature is that is not: the request itself was let in, and need not come again with another.
func (r *request) sourceTokenError(err error) error {
	if e := azerr.From(err); e.Code == azerr.InvalidBearerToken || e.Code == azerr.InvalidAuthenticationInfo {
		return r.sourceFailed(http.StatusForbidden, e.Code.Wire(), "The bearer token for the source is not taken.", err)
	}
	return r.sourceError(err)
}
