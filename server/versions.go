package server

import (
	"pagevault/blobstore"
	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/query"
)

// versionAsked returns the version id that a query names, "" if none.
func versionAsked(q *query.Set) (string, error) {
	id, err := q.One("versionid")
	if err == nil && len(id) == 0 && q.Has("versionid") {
		err = azerr.BadQuery("versionid", "", "not the id of a version")
	}
	return string(id), err
}

// setCurrent says of a blob's current version that it is that. The version id comes with the entity tag.
func (r *request) setCurrent(b *blobstore.BlobInfo) {
	if b.Current {
		r.setString("x-ms-is-current-version", "true")
	}
}
