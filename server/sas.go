package server

import (
	"net"
	"net/netip"

	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/op"
	"pagevault/internal/azure/sas"
)

// authorizeToken lets a request pass that has a shared access signature in its query and no Authorization header. First
// whether the token is genuine, then whether it is valid here and now, and only then what it permits: whoever has no
// token learns nothing.
func (r *request) authorizeToken() error {
	token, err := sas.Parse(&r.query)
	if err != nil {
		return err
	}
	return r.letIn(bySAS[token.Kind], r.checkToken(token))
}

// checkToken takes from the token what it says of the reply, if it is good for the request.
func (r *request) checkToken(token *sas.Token) error {
	if err := r.verifyToken(token); err != nil {
		return err
	}
	if err := token.Check(r.start, r.remote(), r.tls()); err != nil {
		return err
	}
	if s := token.Scope(); s != "" && s != "$account-encryption-key" {
		return azerr.UnsupportedQueryParameter.With("QueryParameterName", "ses", "QueryParameterValue", s, "Reason", "encryption scopes")
	}
	if err := r.permit(token); err != nil {
		return err
	}
	if token.Kind == sas.Delegation {
		if err := r.checkUser(token); err != nil {
			return err
		}
	}
	if v := token.Version(); !r.versioned() && v >= oldestVersion {
		r.version = []byte(v)
	}
	r.overrides = token.Overrides()
	return nil
}

// verifyToken checks the token's signature and completes the token from its stored access policy.
func (r *request) verifyToken(token *sas.Token) error {
	keys := r.account.Signing().Keys
	if token.Kind == sas.Delegation {
		if r.s.o.Bearer == nil {
			return errNoUserKeys
		}
		keys = token.DelegationKeys(keys)
	}
	err := token.Verify(&sas.Resource{
		Account:   r.account.Name(),
		Container: r.target.container,
		Blob:      r.target.blob,
		Headers:   &r.headers,
		Query:     &r.query,
	}, keys)
	if err != nil || token.Policy() == "" {
		return err
	}
	acl, _, err := r.account.ContainerACL(r.target.container, "")
	if err != nil && unlessAbsent(err) != nil {
		return err
	}
	for i := range acl.Policies {
		if p := &acl.Policies[i]; p.ID == token.Policy() {
			return token.Apply(p)
		}
	}
	return azerr.AuthenticationFailed.With("AuthenticationErrorDetail", "The container has no stored access policy of that name.")
}

// permit checks that the token permits the operation.
func (r *request) permit(token *sas.Token) error {
	grant := r.row.Grant()
	switch {
	case token.Kind == sas.Account && !token.ForBlobs():
		return azerr.AuthorizationServiceMismatch
	case grant.Letters == "", token.Kind != sas.Account && !grant.Service:
		return azerr.AuthorizationFailure
	case token.Kind == sas.Account && !forType(token, grant):
		return azerr.AuthorizationResourceTypeMismatch
	}
	for _, letters := range r.row.Needs(&r.query, &r.headers) {
		if !token.Permits(letters) {
			return azerr.AuthorizationPermissionMismatch
		}
	}
	r.createOnly = grant.Creates && !token.Permits("w")
	return nil
}

// forType reports whether an account SAS is for a type of resource that the operation is about.
func forType(token *sas.Token, grant *op.Grant) bool {
	for i := range len(grant.Type) {
		if token.ForType(grant.Type[i]) {
			return true
		}
	}
	return false
}

// remote returns the address that the request came from: that of the connection. What proxies say about clients anybody
// can say.
func (r *request) remote() netip.Addr {
	if tcp, ok := r.ctx.RemoteAddr().(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().WithZone("")
	}
	return netip.Addr{}
}
