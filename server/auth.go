package server

import (
	"bytes"

	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/header"
	"pagevault/internal/azure/op"
	"pagevault/internal/azure/signing"
)

// noTokens answers a request without credentials in the form SDKs parse, where bearer tokens are not taken. The tenant is
// nobody's.
var noTokens = []byte("Bearer authorization_uri=https://login.microsoftonline.com/00000000-0000-0000-0000-000000000000/oauth2/authorize resource_id=https://storage.azure.com")

// challenge tells where to get a token.
func (s *Server) challenge() []byte {
	if s.o.Bearer == nil {
		return noTokens
	}
	return s.o.Bearer.Challenge()
}

// authenticate finds out who is asking, and whether that may be: whoever has a key of the account, a role that allows the
// operation (bearer.go), a token that permits it (sas.go), or nothing, to read what is public (acl.go). An Authorization header is what counts where there
// is one, whatever else the request has.
func (r *request) authenticate() error {
	if r.row.ID == op.CORSPreflight {
		return nil // browsers send no credentials with it
	}
	v := r.headers.Get(header.Authorization)
	switch {
	case r.headers.Has(header.Authorization):
	case r.query.Has("sig"):
		return r.authorizeToken()
	default:
		return r.anonymous()
	}
	scheme, token, _ := bytes.Cut(v, []byte{' '})
	switch {
	case header.EqualFold(scheme, "sharedkey"):
		return r.letIn(bySharedKey, r.verifySharedKey())
	case header.EqualFold(scheme, "sharedkeylite"):
		return r.letIn(bySharedKeyLite, r.verifySharedKey())
	case header.EqualFold(scheme, "bearer"):
		return r.authorizeBearer(token)
	}
	return azerr.InvalidAuthenticationInfo
}

// letIn notes how a request was let in, unless err says that it was not, and returns err.
func (r *request) letIn(how string, err error) error {
	if err == nil {
		r.authorised = how
	}
	return err
}

func (r *request) verifySharedKey() error {
	inPath := "" // as sent, with -secondary if so
	switch {
	case len(r.target.inPath) == len(r.target.account):
		inPath = r.account.Name()
	case len(r.target.inPath) > 0:
		inPath = string(r.target.inPath)
	}
	if !r.versioned() {
		if err := r.defaultVersion(); err != nil {
			return err
		}
	}
	return signing.VerifySharedKey(&signing.Request{
		Method:      r.ctx.Method(),
		RawPath:     r.target.rawPath,
		Query:       &r.query,
		Headers:     &r.headers,
		PathAccount: inPath,
	}, r.account.Signing(), r.start, signing.DefaultSkew)
}

// defaultVersion takes the version that the account's owner set for requests without one.
func (r *request) defaultVersion() error {
	p, err := r.account.ServiceProperties()
	if err != nil {
		return err
	}
	if p.DefaultServiceVersion == "" {
		return azerr.MissingHeader(header.XMsVersion.String())
	}
	r.version = []byte(p.DefaultServiceVersion)
	return nil
}
