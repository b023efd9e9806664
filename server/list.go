package server

import (
	"bytes"
	"slices"

	"pagevault/blobstore"
	"pagevault/blobstore/lease"
	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/header"
	"pagevault/internal/azure/xmlbody"
)

// listSample is how many entries of a list tell how long all of it will be: some megabytes, of which growing step by step would
// make a multiple.
const listSample = 16

// listReserve bounds that: metadata of the first entries says nothing of the others.
const listReserve = 8 << 20

// listing is what both listings read from the query.
type listing struct {
	prefix, delimiter, startFrom, marker string
	maxResults                           int // 0: not given
	include                              include
}

// include says what a listing shows beyond names and properties.
type include struct {
	metadata, snapshots, tags, copy, deleted, policy, hold bool
	versions                                               bool
	vacant                                                 bool // names of which only versions are left
	uncommitted                                            bool // names of which only blocks are there
}

// Things that a listing can be asked to include. What we do not have is included by showing nothing.
var (
	includeContainers = [...]string{"metadata", "deleted", "system"}
	includeBlobs      = [...]string{"metadata", "snapshots", "uncommittedblobs", "copy", "deleted", "versions", "tags",
		"immutabilitypolicy", "legalhold", "deletedwithversions", "permissions"}
)

func (r *request) listing(includes []string) (l listing, err error) {
	for _, p := range [...]struct {
		name string
		to   *string
	}{{"prefix", &l.prefix}, {"delimiter", &l.delimiter}, {"startfrom", &l.startFrom}, {"marker", &l.marker}} {
		v, err := r.query.One(p.name)
		if err != nil {
			return l, err
		}
		*p.to = string(v)
	}
	if l.maxResults, err = r.maxResults(); err != nil {
		return l, err
	}
	l.include, err = r.include(includes)
	return l, err
}

// maxResults returns the bound on the entries of a list, 0 when there is none. What is larger than any limit is cut
// later.
func (r *request) maxResults() (int, error) {
	v, err := r.query.One("maxresults")
	if err != nil || !r.query.Has("maxresults") {
		return 0, err
	}
	n, ok := header.ParseInt64(v)
	switch {
	case !ok:
		return 0, azerr.BadQuery("maxresults", string(v), "not a number")
	case n <= 0:
		return 0, azerr.OutOfRangeQueryParameterValue.With("QueryParameterName", "maxresults", "QueryParameterValue", string(v),
			"MinimumAllowed", "1", "MaximumAllowed", "5000")
	}
	return int(min(n, 1<<20)), nil
}

// include reads the include parameters: lists separated by commas, in any number, in any case, perhaps empty.
func (r *request) include(known []string) (in include, err error) {
	for _, p := range r.query.Params() {
		if string(p.Name) != "include" {
			continue
		}
		for v := range bytes.SplitSeq(p.Value, []byte{','}) {
			v = bytes.ToLower(bytes.TrimSpace(v))
			ok := len(v) == 0
			for _, k := range known {
				ok = ok || string(v) == k
			}
			if !ok {
				return in, azerr.BadQuery("include", string(p.Value), "nothing that can be included")
			}
			in.metadata = in.metadata || string(v) == "metadata"
			in.copy = in.copy || string(v) == "copy"
			in.snapshots = in.snapshots || string(v) == "snapshots"
			in.deleted = in.deleted || string(v) == "deleted"
			in.tags = in.tags || string(v) == "tags"
			in.policy = in.policy || string(v) == "immutabilitypolicy"
			in.hold = in.hold || string(v) == "legalhold"
			in.versions = in.versions || string(v) == "versions"
			in.vacant = in.vacant || string(v) == "deletedwithversions"
			in.uncommitted = in.uncommitted || string(v) == "uncommittedblobs"
		}
	}
	return in, nil
}

// endpoint returns the URL of the account as the client knows it, with a slash at the end.
func (r *request) endpoint() string {
	scheme := "http://"
	if r.tls() {
		scheme = "https://"
	}
	url := scheme + string(r.ctx.Request.Header.Host()) + "/"
	if len(r.target.inPath) > 0 {
		url += string(r.target.inPath) + "/"
	}
	return url
}

// head returns what a listing repeats of its request.
func (l *listing) head(r *request, container string) xmlbody.List {
	return xmlbody.List{Endpoint: r.endpoint(), Container: container,
		Prefix: l.prefix, Marker: l.marker, MaxResults: l.maxResults, Delimiter: l.delimiter}
}

// listContainers: List Containers.
func (r *request) listContainers() error {
	l, err := r.listing(includeContainers[:])
	if err != nil {
		return err
	}
	list, err := r.account.ListContainers(&blobstore.ListContainersRequest{
		Prefix: l.prefix, Marker: l.marker, MaxResults: l.maxResults, Metadata: l.include.metadata, Deleted: l.include.deleted})
	if err != nil {
		return err
	}
	l.delimiter = ""
	head := l.head(r, "")
	r.begin(200)
	r.xml(func(dst []byte) []byte {
		dst = xmlbody.BeginContainers(dst, &head)
		for i := range list.Containers {
			c := &list.Containers[i]
			dst = xmlbody.AppendContainer(dst, &xmlbody.Container{
				Name: c.Name, LastModified: c.LastModified, ETag: c.ETag, Lease: listedLease(c.Lease), PublicAccess: c.Public.String(),
				Version: c.Version, Deleted: listedDeletion(c.Deleted),
				ImmutableStorage: c.ImmutableStorage,
				WithMetadata:     l.include.metadata, Metadata: c.Metadata,
			})
		}
		return xmlbody.EndContainers(dst, list.NextMarker)
	})
	return nil
}

// listBlobs: List Blobs, flat or by delimiter.
func (r *request) listBlobs() error {
	l, err := r.listing(includeBlobs[:])
	if err != nil {
		return err
	}
	list, err := r.account.ListBlobs(r.target.container, &blobstore.ListBlobsRequest{
		Prefix: l.prefix, Delimiter: l.delimiter, StartFrom: l.startFrom, Marker: l.marker, MaxResults: l.maxResults,
		Snapshots: l.include.snapshots, Metadata: l.include.metadata, Deleted: l.include.deleted,
		Versions: l.include.versions, Vacant: l.include.vacant, Uncommitted: l.include.uncommitted})
	if err != nil {
		return err
	}
	head := l.head(r, r.target.container)
	r.begin(200)
	r.xml(func(dst []byte) []byte {
		dst = xmlbody.BeginBlobs(dst, &head)
		for i := range list.Items {
			if item := &list.Items[i]; item.Prefix != "" {
				dst = xmlbody.AppendBlobPrefix(dst, item.Prefix)
			} else {
				b := listedBlob(&item.Blob, l.include.metadata)
				b.Encrypted = r.account.Encrypted()
				if c := item.Blob.Copy; c != nil {
					b.Incremental, b.Destination = c.Incremental, c.Destination
				}
				if l.include.tags {
					b.Tags = item.Blob.Tags
				}
				if c := item.Blob.Copy; c != nil && l.include.copy {
					b.Copy = &xmlbody.Copy{ID: c.ID, Source: c.Source, Status: c.Status.String(), Copied: c.Copied, Bytes: c.Bytes,
						Completed: c.Completed, Description: c.Description, Pending: c.Status == blobstore.CopyPending}
				}
				r.listMarks(&b, &item.Blob, &l.include)
				dst = xmlbody.AppendBlob(dst, &b)
			}
			if i == listSample {
				dst = slices.Grow(dst, min(len(dst)/listSample*len(list.Items), listReserve))
			}
		}
		return xmlbody.EndBlobs(dst, list.NextMarker)
	})
	return nil
}

func listedBlob(b *blobstore.BlobInfo, metadata bool) xmlbody.Blob {
	x := xmlbody.Blob{
		Name: b.Name, Snapshot: b.Snapshot, Deleted: listedDeletion(b.Deleted),
		Version: b.Version, Current: b.Current, VersionsOnly: b.Vacant,
		Created: b.Created, LastModified: b.LastModified, ETag: b.ETag,
		Size: b.Size, Type: b.Type.String(), Sequence: b.Sequence, Sealed: b.Sealed,
		ContentType: b.ContentType, ContentEncoding: b.ContentEncoding, ContentLanguage: b.ContentLanguage,
		ContentMD5: b.ContentMD5, CacheControl: b.CacheControl, ContentDisposition: b.ContentDisposition,
		WithMetadata: metadata, Metadata: b.Metadata, TagCount: len(b.Tags),
	}
	if !b.Frozen() && b.Deleted == nil { // also of a name without a blob, which shows as not leased
		x.Lease = listedLease(b.Lease)
	}
	return x
}

func listedLease(l lease.Info) xmlbody.Lease {
	return xmlbody.Lease{Status: leaseStatus(l), State: l.Status.String(), Duration: l.Duration()}
}
