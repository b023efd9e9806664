package server

import (
	"strconv"

	"pagevault/blobstore"
	"pagevault/internal/azure/cond"
	"pagevault/internal/azure/header"
)

// createContainer: Create Container.
func (r *request) createContainer() error {
	meta, err := header.ParseMetadata(&r.headers)
	if err != nil {
		return err
	}
	public, err := r.publicAccess()
	if err != nil {
		return err
	}
	stamp, err := r.account.CreatePublicContainer(r.target.container, public, meta)
	if err != nil {
		return err
	}
	r.begin(201)
	r.setStamp(stamp)
	return nil
}

// getContainerProperties: Get Container Properties. Policies and holds of the container as a whole, and scopes, are those of
// an account without such features.
func (r *request) getContainerProperties() error {
	info, err := r.containerInfo()
	if err != nil {
		return err
	}
	r.begin(200)
	r.setStamp(info.Stamp)
	r.setLease(info.Lease)
	r.setPublicAccess(info.Public)
	r.setString("x-ms-has-immutability-policy", "false")
	r.setString("x-ms-has-legal-hold", "false")
	r.setString("x-ms-immutable-storage-with-versioning-enabled", strconv.FormatBool(info.ImmutableStorage))
	r.setString("x-ms-default-encryption-scope", "$account-encryption-key")
	r.setString("x-ms-deny-encryption-scope-override", "false")
	r.setMetadata(info.Metadata)
	return nil
}

// getContainerMetadata: Get Container Metadata.
func (r *request) getContainerMetadata() error {
	info, err := r.containerInfo()
	if err != nil {
		return err
	}
	r.begin(200)
	r.setStamp(info.Stamp)
	r.setMetadata(info.Metadata)
	return nil
}

func (r *request) containerInfo() (blobstore.ContainerInfo, error) {
	id, err := header.LeaseID(&r.headers, header.XMsLeaseID)
	if err != nil {
		return blobstore.ContainerInfo{}, err
	}
	return r.account.ContainerInfo(r.target.container, id)
}

// containerAccess returns what the request expects of a container.
func (r *request) containerAccess() (acc blobstore.Access, err error) {
	if acc.LeaseID, err = header.LeaseID(&r.headers, header.XMsLeaseID); err != nil {
		return acc, err
	}
	acc.Conditions, err = cond.ParseDates(&r.headers)
	return acc, err
}

// setContainerMetadata: Set Container Metadata.
func (r *request) setContainerMetadata() error {
	acc, err := r.containerAccess()
	if err != nil {
		return err
	}
	meta, err := header.ParseMetadata(&r.headers)
	if err != nil {
		return err
	}
	stamp, err := r.account.SetContainerMetadata(r.target.container, &acc, meta)
	if err != nil {
		return err
	}
	r.begin(200)
	r.setStamp(stamp)
	return nil
}

// deleteContainer: Delete Container.
func (r *request) deleteContainer() error {
	acc, err := r.containerAccess()
	if err != nil {
		return err
	}
	if err := r.account.DeleteContainer(r.target.container, &acc); err != nil {
		return err
	}
	r.begin(202)
	return nil
}
