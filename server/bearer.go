package server

import (
	"bytes"
	"time"

	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/op"
	"pagevault/internal/azure/sas"
	"pagevault/internal/azure/xmlbody"
)

// bearerVersion is the first version of the service that takes bearer tokens.
const bearerVersion = "2017-11-09"

var (
	unsupportedToken = azerr.InvalidAuthenticationInfo.With("AuthenticationErrorDetail",
		"Bearer tokens are not supported. Sign the request with an account key (SharedKey or SharedKeyLite), or send a shared access signature.")
	errBearerHTTP    = azerr.AuthenticationFailed.With("AuthenticationErrorDetail", "Authentication scheme Bearer is not allowed with HTTP.")
	errBearerVersion = azerr.AuthenticationFailed.With("AuthenticationErrorDetail", "Authentication scheme Bearer is not supported in this version.")
	errOnlyBearer    = azerr.AuthenticationFailed.With("AuthenticationErrorDetail", "Only authentication scheme Bearer is supported.")
	errNoUserKeys    = azerr.AuthenticationFailed.With("AuthenticationErrorDetail", "Bearer tokens are not supported, so nobody has a user delegation key.")
	errUserUnproved  = azerr.AuthenticationFailed.With("AuthenticationErrorDetail", "The token is for one user, who proves with a bearer token to be that user.")
	errUserOther     = azerr.AuthenticationFailed.With("AuthenticationErrorDetail", "The bearer token is that of another user than the signature is for.")
	errNoIDs         = azerr.AuthenticationFailed.With("AuthenticationErrorDetail", "The bearer token says neither oid nor tid, which a user delegation key is made of.")
)

// authorizeBearer lets a request pass whose Authorization header is a bearer token: if it is genuine and good here and now,
// and then if the roles of its user allow what is asked. A shared access signature that is made out to a user comes with a
// bearer token of that user, which says who it is and allows nothing.
func (r *request) authorizeBearer(token []byte) error {
	if err := r.verifyBearer(token); err != nil {
		return err
	}
	if r.query.Has("sig") && (r.query.Has("sduoid") || r.query.Has("skdutid")) {
		return r.authorizeToken()
	}
	if !r.allowed(r.s.o.Bearer.Allowed(r.user, r.account.Name(), r.target.container)) {
		return azerr.AuthorizationPermissionMismatch
	}
	return r.letIn(byBearer, nil)
}

// verifyBearer finds out whose token it is.
func (r *request) verifyBearer(token []byte) (err error) {
	switch {
	case r.s.o.Bearer == nil:
		return unsupportedToken
	case !r.tls() && !r.s.o.BearerOverHTTP:
		return errBearerHTTP
	}
	if r.user, err = r.s.o.Bearer.Verify(r.ctx, bytes.TrimSpace(token), r.account.Name()); err != nil {
		return err
	}
	if !r.versioned() {
		if err := r.defaultVersion(); err != nil {
			return err
		}
	}
	if string(r.version) < bearerVersion {
		return errBearerVersion
	}
	return nil
}

// allowed reports whether these actions are enough for the request.
func (r *request) allowed(actions op.Action) bool {
	needs := r.row.Actions(&r.query, &r.headers)
	if needs[0] == 0 {
		return false
	}
	for _, need := range needs {
		if need != 0 && need&actions == 0 {
			return false
		}
	}
	return true
}

// checkUser checks of a user delegation SAS what is not in it: that the user who made it, of whom the object id is known,
// may do himself what is asked, and that a token for one user comes from that one.
func (r *request) checkUser(token *sas.Token) error {
	id, tenant := token.User()
	switch {
	case id == "" && tenant == "":
	case r.user == nil:
		return errUserUnproved
	case id != "" && r.user.ObjectID != id, tenant != "" && r.user.TenantID != tenant:
		return errUserOther
	}
	if !r.allowed(r.s.o.Bearer.AllowedTo(token.KeyFields().ObjectID, r.account.Name(), r.target.container)) {
		return azerr.AuthorizationPermissionMismatch
	}
	r.delegator = token.KeyFields().ObjectID
	return nil
}

// readsSources reports whether who asks may read the blobs of another container of the account: whoever has a key of it
// may, a user if a role says so. What a shared access signature opens is what it is for, and nothing beside it.
func (r *request) readsSources(container string) bool {
	switch r.authorised {
	case bySharedKey, bySharedKeyLite:
		return true
	case byBearer:
		needs := op.ReadBlobs
		if r.looksAtTags() {
			needs |= op.ReadTags
		}
		return r.s.o.Bearer.Allowed(r.user, r.account.Name(), container)&needs == needs
	}
	return false
}

// principal returns who asks, if that is a user or somebody with a token of a user; "" otherwise.
func (r *request) principal() string {
	switch {
	case r.delegator != "":
		return r.delegator
	case r.user != nil:
		return r.user.Name()
	}
	return ""
}

// userKeyLifeMax is how far ahead the end of a user delegation key may lie, and how long it is good.
const userKeyLifeMax = 7 * 24 * time.Hour

// getUserDelegationKey: Get User Delegation Key. The key is not kept: a token that is signed with it brings all that it is
// made of, and the account's key, which is the other part, stays. What roles a later request with such a token has is looked
// up by the user's object id, the only thing about the user that is in it; so it must be the object id that may delegate.
func (r *request) getUserDelegationKey() error {
	if r.authorised != byBearer {
		return errOnlyBearer
	}
	if r.user.ObjectID == "" || r.user.TenantID == "" {
		return errNoIDs
	}
	if !r.allowed(r.s.o.Bearer.AllowedTo(r.user.ObjectID, r.account.Name(), "")) {
		return azerr.AuthorizationPermissionMismatch
	}
	body, err := r.readXML()
	if err != nil {
		return err
	}
	info, err := xmlbody.ParseKeyInfo(body, r.start)
	if err != nil {
		return err
	}
	switch {
	case !info.Expiry.After(info.Start), !info.Expiry.After(r.start), info.Expiry.After(r.start.Add(userKeyLifeMax)),
		info.Expiry.Sub(info.Start) > userKeyLifeMax:
		return azerr.InvalidXmlNodeValue.With("XmlNodeName", "Expiry", "XmlNodeValue", sas.FormatTime(info.Expiry))
	}
	f := sas.KeyFields{ObjectID: r.user.ObjectID, TenantID: r.user.TenantID, Start: sas.FormatTime(info.Start), Expiry: sas.FormatTime(info.Expiry),
		Service: "b", Version: string(r.version), DelegatedTenantID: info.DelegatedTenantID}
	value := sas.DelegationKey(r.account.Signing().Keys[0], &f)
	r.begin(200)
	r.xml(func(dst []byte) []byte { return xmlbody.AppendUserDelegationKey(dst, &f, value) })
	return nil
}
