package server

import (
	"pagevault/blobstore"
	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/cond"
	"pagevault/internal/azure/header"
	"pagevault/internal/azure/tagexpr"
	"pagevault/internal/azure/xmlbody"
)

// matchedTagsVersion is the first service version whose search answers with tags; before it, with a value.
const matchedTagsVersion = "2020-04-08"

// tagAccess returns what a request about tags expects of the blob. Its conditions have names of their own.
func (r *request) tagAccess() (ref blobstore.BlobRef, acc blobstore.Access, err error) {
	if ref, err = r.ref(); err != nil {
		return ref, acc, err
	}
	if acc.LeaseID, err = header.LeaseID(&r.headers, header.XMsLeaseID); err != nil {
		return ref, acc, err
	}
	acc.Conditions, err = cond.ParseBlob(&r.headers)
	return ref, acc, err
}

// getBlobTags: Get Blob Tags.
func (r *request) getBlobTags() error {
	ref, acc, err := r.tagAccess()
	if err != nil {
		return err
	}
	tags, err := r.account.BlobTags(ref, &acc)
	if err != nil {
		return r.readError(ref, err)
	}
	r.begin(200)
	r.xml(func(dst []byte) []byte { return xmlbody.AppendTags(dst, tags) })
	return nil
}

// setBlobTags: Set Blob Tags.
func (r *request) setBlobTags() error {
	ref, acc, err := r.tagAccess()
	if err != nil {
		return err
	}
	body, err := r.readXML()
	if err != nil {
		return err
	}
	tags, err := xmlbody.ParseTags(body)
	if err != nil {
		return err
	}
	if err := r.account.SetBlobTags(ref, &acc, tags); err != nil {
		return err
	}
	r.begin(204)
	return nil
}

// includeFound is what a search can be asked to include: nothing. Previous versions are not searched, so that they can only
// be asked for where there are none.
var includeFound = [...]string{"none", "versions"}

// findBlobsByTags: Find Blobs by Tags, of the account or of a container.
func (r *request) findBlobsByTags() error {
	where, err := r.query.One("where")
	if err != nil {
		return err
	}
	if len(where) == 0 {
		return azerr.MissingRequiredQueryParameter.With("QueryParameterName", "where")
	}
	l, err := r.listing(includeFound[:])
	if err != nil {
		return err
	}
	if l.include.versions && r.account.Versioned() {
		return azerr.BadQuery("include", "versions", "previous versions are not searched")
	}
	req := blobstore.FindRequest{Container: r.target.container, Marker: l.marker, MaxResults: l.maxResults}
	if req.Where, err = tagexpr.ParseWhere(string(where), req.Container == ""); err != nil {
		return azerr.BadQuery("where", string(where), err.Error())
	}
	found, err := r.account.FindBlobs(&req)
	if err != nil {
		return err
	}
	r.begin(200)
	r.xml(func(dst []byte) []byte {
		dst = xmlbody.BeginFound(dst, r.endpoint(), string(where))
		for i := range found.Blobs {
			b := &found.Blobs[i]
			dst = xmlbody.AppendFound(dst, &xmlbody.FoundBlob{Name: b.Name, Container: b.Container, Tags: b.Tags},
				string(r.version) < matchedTagsVersion)
		}
		return xmlbody.EndFound(dst, found.NextMarker)
	})
	return nil
}
