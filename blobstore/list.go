package blobstore

import (
	"bytes"
	"strconv"
	"time"

	"pagevault/internal/azure/azerr"
	"pagevault/pagestore"
)

// ListMax is the most entries in one reply to a list.
const ListMax = 5000

// listLimit returns how many entries a list may have. 0 is the default, the most there can be.
func listLimit(maxResults int) (int, error) {
	switch {
	case maxResults < 0:
		return 0, azerr.OutOfRangeQueryParameterValue.With("QueryParameterName", "maxresults",
			"QueryParameterValue", strconv.Itoa(maxResults))
	case maxResults == 0 || maxResults > ListMax:
		return ListMax, nil
	default:
		return maxResults, nil
	}
}

// ListContainersRequest asks for containers in the order of their names.
type ListContainersRequest struct {
	Prefix     string // only names that begin so
	Marker     string // NextMarker of the page before
	MaxResults int    // more than 5,000 is cut; 0: 5,000
	Metadata   bool   // with metadata
}

// ListContainersResult is one page of a list.
type ListContainersResult struct {
	Containers []ContainerInfo
	NextMarker string // "" at the end
}

// ListContainers lists the account's containers.
func (a *Account) ListContainers(req *ListContainersRequest) (result ListContainersResult, err error) {
	limit, err := listLimit(req.MaxResults)
	if err != nil {
		return ListContainersResult{}, err
	}
	marker, err := parseContainersMarker(req.Marker)
	if err != nil {
		return ListContainersResult{}, err
	}
	from := appendContainerKey(nil, req.Prefix)
	to := appendAfter(nil, from)
	if marker > req.Prefix {
		from = appendContainerKey(nil, marker)
	}
	now := a.clock.Now()
	err = a.scan(from, to, func(it *pagestore.Iter) (more bool, err error) {
		name := string(it.Key()[1:])
		if len(result.Containers) == limit {
			result.NextMarker = containersMarker(name)
			return false, nil
		}
		row, err := decodeContainerRow(it.Value())
		if err != nil {
			return false, err
		}
		info, err := row.info(name, now)
		info.ImmutableStorage = info.ImmutableStorage || a.immutable.has(name)
		if !req.Metadata {
			info.Metadata = nil
		}
		result.Containers = append(result.Containers, info)
		return it.Next(), err
	})
	return result, err
}

// scan runs a list on one consistent picture. fn is called with the iterator on a row, for as long as it says that it
// moved it on to another.
func (a *Account) scan(from, to []byte, fn func(it *pagestore.Iter) (more bool, err error)) error {
	if bytes.Compare(from, to) >= 0 {
		return nil
	}
	return a.view(func(v *pagestore.View) error { return scanView(v, from, to, fn) })
}

func scanView(v *pagestore.View, from, to []byte, fn func(it *pagestore.Iter) (more bool, err error)) (err error) {
	it := v.Iter(from, to)
	for more := it.SeekGE(from); more && err == nil; {
		more, err = fn(it)
	}
	return firstError(it.Err(), err, it.Close()) // a value that could not be read looks like a damaged row
}

// ListBlobsRequest asks for the blobs of a container in the order of their names, byte by byte.
type ListBlobsRequest struct {
	Prefix     string // only names that begin so
	Delimiter  string // names that have it after the prefix are collapsed into one entry that ends with it. "": none are
	Marker     string // NextMarker of the page before
	MaxResults int    // more than 5,000 is cut; 0: 5,000
	Snapshots  bool   // with snapshots, oldest first, before their blob
	Metadata   bool   // with metadata
}

// ListItem is one entry: a blob, a snapshot, or the prefix into which names were collapsed.
type ListItem struct {
	Prefix string   // "" if this is a blob or a snapshot
	Blob   BlobInfo // without Metadata unless it was asked for
}

// ListBlobsResult is one page of a list. Blobs and prefixes are in one order and count alike.
type ListBlobsResult struct {
	Items      []ListItem
	NextMarker string // "" at the end
}

// ListBlobs lists the blobs of a container. It costs what the entries of this page cost: names that are collapsed into a
// prefix are skipped, not read.
func (a *Account) ListBlobs(container string, req *ListBlobsRequest) (ListBlobsResult, error) {
	if err := checkContainerName(container); err != nil {
		return ListBlobsResult{}, err
	}
	l, err := newBlobLister(req, a.clock.Now())
	if err != nil {
		return ListBlobsResult{}, err
	}
	err = a.view(func(v *pagestore.View) error {
		var s scratch
		row, err := s.findContainer(v, container)
		if err != nil {
			return err
		}
		from, to := l.bounds(row.id)
		if bytes.Compare(from, to) >= 0 {
			return nil
		}
		return scanView(v, from, to, l.take)
	})
	return l.result, err
}

// blobLister is one list while it is made.
type blobLister struct {
	req    *ListBlobsRequest
	limit  int
	now    time.Time
	marker struct { // where to begin; no name: at the beginning
		name     string
		snapshot snapshotID
	}
	id     containerID
	name   []byte // of the row the iterator is on
	key    []byte // where to go on
	result ListBlobsResult
}

func newBlobLister(req *ListBlobsRequest, now time.Time) (l *blobLister, err error) {
	l = &blobLister{req: req, now: now}
	if l.limit, err = listLimit(req.MaxResults); err != nil {
		return nil, err
	}
	l.marker.name, l.marker.snapshot, err = parseBlobsMarker(req.Marker)
	return l, err
}

// bounds begins a list of the container and returns the bounds of the keys to go through.
func (l *blobLister) bounds(id containerID) (from, to []byte) {
	l.id = id
	from = appendNamePrefix(nil, id, l.req.Prefix)
	to = appendAfter(nil, from)
	if l.marker.name == "" {
		return from, to
	}
	if at := appendBlobKey(nil, id, l.marker.name, l.marker.snapshot); bytes.Compare(at, from) > 0 {
		from = at
	}
	return from, to
}

// take takes one row into the list, or skips it, and moves on.
func (l *blobLister) take(it *pagestore.Iter) (more bool, err error) {
	var snapshot snapshotID
	if l.name, snapshot, err = parseBlobKey(l.name[:0], it.Key()); err != nil {
		return false, err
	}
	prefix := l.collapsed()
	if prefix == nil && snapshot != 0 && !l.req.Snapshots {
		l.key = appendBlobKey(l.key[:0], l.id, string(l.name), 0)
		return it.SeekGE(l.key), nil
	}
	if len(l.result.Items) == l.limit {
		l.result.NextMarker = blobsMarker(l.name, snapshot)
		return false, nil
	}
	if prefix != nil {
		l.result.Items = append(l.result.Items, ListItem{Prefix: string(prefix)})
		l.key = appendAfter(l.key[:0], appendNamePrefix(nil, l.id, string(prefix)))
		return it.SeekGE(l.key), nil
	}
	row, err := decodeBlobRow(it.Value())
	if err != nil {
		return false, err
	}
	info, err := row.info(string(l.name), snapshot, l.now)
	if !l.req.Metadata {
		info.Metadata = nil
	}
	l.result.Items = append(l.result.Items, ListItem{Blob: info})
	return it.Next(), err
}

// collapsed returns the part of the name that stands for all names which begin so: up to and with the first delimiter
// after the prefix. It is nil for a name that is listed itself.
func (l *blobLister) collapsed() []byte {
	if l.req.Delimiter == "" {
		return nil
	}
	rest := l.name[len(l.req.Prefix):]
	at := bytes.Index(rest, []byte(l.req.Delimiter))
	if at < 0 {
		return nil
	}
	return l.name[:len(l.req.Prefix)+at+len(l.req.Delimiter)]
}
