package server

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"pagevault/blobstore"
	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/query"
)

// openSnapshot looks at a snapshot of another server that is to be copied incrementally.
func (r *request) openSnapshot(source remoteSource) (*blobstore.RemoteSnapshot, error) {
	name, id, err := snapshotAt(source.url)
	if err != nil {
		return nil, err
	}
	var b *remoteBlob
	err = r.aside(func() (err error) {
		b, err = r.s.fetcher.open(r.s.fetcher.ctx, source, nil)
		return err
	})
	switch {
	case errors.Is(err, azerr.InvalidBlobType), err == nil && b.typ != blobstore.PageBlob:
		return nil, azerr.InvalidSourceBlobType
	case err != nil:
		return nil, r.remoteError(err)
	}
	since := func(earlier string) (differences blobstore.CopySource, err error) {
		var failed error // which need not end the request: so it waits for its place all the same
		err = r.aside(func() error {
			differences, failed = b.since(r.s.fetcher.ctx, id, earlier)
			return nil
		})
		if err == nil {
			err = r.remoteError(failed)
		}
		return differences, err
	}
	return &blobstore.RemoteSnapshot{Name: name, Snapshot: id, HTTPHeaders: b.headers, Metadata: b.metadata, Size: b.size, Sequence: b.sequence,
		Created: b.created, Pages: b, Since: since}, nil
}

// snapshotAt returns the name of the blob that a URL is of, which is the same for all its snapshots and whatever opens them,
// and the snapshot.
func snapshotAt(source string) (name, id string, err error) {
	bad := badSource([]byte(source))
	u, err := url.Parse(source)
	if err != nil || u.Hostname() == "" {
		return "", "", bad
	}
	if strings.Trim(u.Path, "/") == "" {
		return "", "", azerr.InvalidSourceBlobUrl
	}
	var q query.Set
	if q.Parse([]byte(u.RawQuery)) != nil || q.Has("versionid") {
		return "", "", bad
	}
	if !q.Has("snapshot") {
		return "", "", azerr.IncrementalCopySourceMustBeSnapshot
	}
	at, err := q.One("snapshot")
	if err != nil {
		return "", "", bad
	}
	id, ok := blobstore.NormalizeSnapshot(string(at))
	if !ok {
		return "", "", bad
	}
	host := strings.ToLower(u.Host)
	for scheme, port := range map[string]string{"http": ":80", "https": ":443"} {
		if strings.EqualFold(u.Scheme, scheme) {
			host = strings.TrimSuffix(host, port)
		}
	}
	return "//" + host + u.Path, id, nil
}

// neverTaken is a snapshot that there is none of: the service is younger.
const neverTaken = "2000-01-01T00:00:00.0000000Z"

// since returns what reads the pages in which a snapshot differs from an earlier one of its blob. A server that does not
// know of differences may pass over what asks for them and list all pages, without what was cleared. So first it is asked
// for what it must refuse.
func (b *remoteBlob) since(ctx context.Context, id, earlier string) (blobstore.CopySource, error) {
	if id == earlier {
		return noDifferences{}, nil
	}
	d := *b
	var refused *remoteError
	switch err := d.tryDifferences(ctx, neverTaken); {
	case err == nil:
		return nil, &remoteError{status: http.StatusBadRequest, text: "The source does not tell in which pages its snapshots differ."}
	case !errors.As(err, &refused):
		return nil, err
	case refused.status != http.StatusConflict && refused.status != http.StatusBadRequest && refused.status != http.StatusNotFound:
		return nil, err
	}
	err := d.tryDifferences(ctx, earlier)
	if errors.As(err, &refused) {
		switch refused.code {
		case azerr.PreviousSnapshotNotFound.Wire():
			return nil, azerr.PreviousSnapshotNotFound
		case azerr.BlobOverwritten.Wire():
			return nil, azerr.BlobOverwritten
		}
	}
	if err != nil {
		return nil, err
	}
	d.pages.since = earlier
	return &d, nil
}

// tryDifferences asks for the first difference to an earlier snapshot, to see whether that is possible.
func (b *remoteBlob) tryDifferences(ctx context.Context, earlier string) error {
	list := pageLister{since: earlier}
	resp, err := b.f.get(ctx, http.MethodGet, b.source.with(list.query(1, "")), nil, http.StatusOK)
	if err == nil {
		resp.Body.Close()
	}
	return err
}

// noDifferences is what a snapshot differs in from itself.
type noDifferences struct{}

func (noDifferences) Pages(context.Context, string) ([]blobstore.PageEntry, string, error) {
	return nil, "", nil
}

func (noDifferences) ReadPages(context.Context, []byte, int64) error { return nil }
