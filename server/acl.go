package server

import (
	"pagevault/blobstore"
	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/header"
	"pagevault/internal/azure/op"
	"pagevault/internal/azure/xmlbody"
)

// anonymous lets a request without any credentials pass if it reads what is public, and refuses it otherwise. Whether
// there is such a container the refusal does not say.
func (r *request) anonymous() error {
	public, err := r.public()
	switch {
	case err != nil:
		return err
	case public && !r.s.o.AllowPublicAccess:
		return azerr.PublicAccessNotPermitted
	case public:
		return r.letIn(byAnybody, nil)
	case string(r.version) < challengeVersion || !r.versioned():
		return azerr.ResourceNotFound // what older clients know
	}
	return azerr.NoAuthenticationInformation
}

// public reports whether the request reads something that the container's access level gives to everybody.
func (r *request) public() (bool, error) {
	audience := r.row.Audience(&r.query, &r.headers)
	if audience == op.Nobody {
		return false, nil
	}
	acl, _, err := r.account.ContainerACL(r.target.container, "")
	if err != nil {
		return false, unlessAbsent(err)
	}
	switch acl.Public {
	case blobstore.PublicBlobs:
		return audience == op.ReadersOfBlobs, nil
	case blobstore.PublicContainer:
		return true, nil
	}
	return false, nil
}

// unlessAbsent returns nil for the errors of a container that is not there, or cannot be: whoever asks without being
// known is not told which. Any other error it returns.
func unlessAbsent(err error) error {
	switch azerr.From(err).Code {
	case azerr.ContainerNotFound, azerr.InvalidResourceName, azerr.OutOfRangeInput:
		return nil
	}
	return err
}

// publicAccess reads who may read the container that the request makes or changes.
func (r *request) publicAccess() (blobstore.PublicAccess, error) {
	if !r.headers.Has(header.XMsBlobPublicAccess) {
		return blobstore.Private, nil
	}
	v := r.headers.Get(header.XMsBlobPublicAccess)
	for p := blobstore.PublicBlobs; p <= blobstore.PublicContainer; p++ {
		if !header.EqualFold(v, p.String()) {
			continue
		}
		if !r.s.o.AllowPublicAccess {
			return 0, azerr.PublicAccessNotPermitted
		}
		return p, nil
	}
	return 0, azerr.BadHeader(header.XMsBlobPublicAccess.String(), string(v))
}

// setPublicAccess says who may read the container, unless nobody may.
func (r *request) setPublicAccess(p blobstore.PublicAccess) {
	if p != blobstore.Private {
		r.setString("x-ms-blob-public-access", p.String())
	}
}

// getContainerACL: Get Container ACL.
func (r *request) getContainerACL() error {
	id, err := header.LeaseID(&r.headers, header.XMsLeaseID)
	if err != nil {
		return err
	}
	acl, stamp, err := r.account.ContainerACL(r.target.container, id)
	if err != nil {
		return err
	}
	r.begin(200)
	r.setStamp(stamp)
	r.setPublicAccess(acl.Public)
	r.xml(func(dst []byte) []byte { return xmlbody.AppendSignedIdentifiers(dst, acl.Policies) })
	return nil
}

// setContainerACL: Set Container ACL, which replaces both the access level and all policies.
func (r *request) setContainerACL() error {
	acc, err := r.containerAccess()
	if err != nil {
		return err
	}
	public, err := r.publicAccess()
	if err != nil {
		return err
	}
	body, err := r.readXML()
	if err != nil {
		return err
	}
	policies, err := xmlbody.ParseSignedIdentifiers(body)
	if err != nil {
		return err
	}
	stamp, err := r.account.SetContainerACL(r.target.container, &acc, &blobstore.ContainerACL{Public: public, Policies: policies})
	if err != nil {
		return err
	}
	r.begin(200)
	r.setStamp(stamp)
	return nil
}
