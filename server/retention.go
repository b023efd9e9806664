package server

import (
	"pagevault/blobstore"
	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/header"
	"pagevault/internal/azure/xmlbody"
)

// undeleteBlob: Undelete Blob.
func (r *request) undeleteBlob() error {
	ref, err := r.ref()
	if err != nil {
		return err
	}
	if err := r.account.UndeleteBlob(ref); err != nil {
		return err
	}
	r.begin(200)
	return nil
}

// deletePermanently reports whether a deletion is to be one for good (deletetype).
func (r *request) deletePermanently() (bool, error) {
	v, err := r.query.One("deletetype")
	if err != nil || !r.query.Has("deletetype") {
		return false, err
	}
	if !header.EqualFold(v, "permanent") {
		return false, azerr.BadQuery("deletetype", string(v), "not permanent")
	}
	return true, nil
}

// restoreContainer: Restore Container. It comes back under the name that it had.
func (r *request) restoreContainer() error {
	for _, h := range [...]header.ID{header.XMsDeletedContainerName, header.XMsDeletedContainerVersion} {
		if len(r.headers.Get(h)) == 0 {
			return azerr.MissingHeader(h.String())
		}
	}
	if name := r.headers.String(header.XMsDeletedContainerName); name != r.target.container {
		return azerr.BadHeader(header.XMsDeletedContainerName.String(), name)
	}
	if err := r.account.RestoreContainer(r.target.container, r.headers.String(header.XMsDeletedContainerVersion)); err != nil {
		return err
	}
	r.begin(201)
	return nil
}

func listedDeletion(d *blobstore.Deletion) *xmlbody.Deletion {
	if d == nil {
		return nil
	}
	return &xmlbody.Deletion{Time: d.Time, RemainingDays: d.RemainingDays}
}
