package blobstore

import (
	"bytes"
	"cmp"
	"slices"
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
	Deleted    bool   // with those that are deleted and kept for a while, oldest first, before the one that has their name now
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
	marker, version, err := parseContainersMarker(req.Marker)
	if err != nil {
		return ListContainersResult{}, err
	}
	from := appendContainerKey(nil, req.Prefix)
	to := appendAfter(nil, from)
	removed := append([]byte{tableRemoved}, req.Prefix...)
	removedTo := appendAfter(nil, removed)
	if marker != "" && marker >= req.Prefix {
		from = appendContainerKey(nil, marker)
		if removed = appendRemovedKey(nil, marker, version); version == 0 { // they come before the one that has their name
			removed = append(append([]byte{tableRemoved}, marker...), 1)
		}
	}
	now := a.clock.Now()
	err = a.view(func(v *pagestore.View) error {
		found, err := listLive(v, from, to, now, limit+1)
		if err == nil && req.Deleted && bytes.Compare(removed, removedTo) < 0 {
			var gone []ContainerInfo
			gone, err = listRemoved(v, removed, removedTo, now, limit+1)
			found = append(gone, found...)
			slices.SortStableFunc(found, func(a, b ContainerInfo) int { return cmp.Compare(a.Name, b.Name) })
		}
		if len(found) > limit {
			result.NextMarker = containersMarker(&found[limit])
			found = found[:limit]
		}
		result.Containers = found
		return err
	})
	for i := range result.Containers {
		info := &result.Containers[i]
		info.ImmutableStorage = info.ImmutableStorage || a.immutable.has(info.Name)
		if !req.Metadata {
			info.Metadata = nil
		}
	}
	return result, err
}

// listLive lists containers, at most limit of them, from a key on.
func listLive(v *pagestore.View, from, to []byte, now time.Time, limit int) (found []ContainerInfo, err error) {
	if bytes.Compare(from, to) >= 0 {
		return nil, nil
	}
	err = scanView(v, from, to, func(it *pagestore.Iter) (more bool, err error) {
		row, err := decodeContainerRow(it.Value())
		if err != nil {
			return false, err
		}
		info, err := row.info(string(it.Key()[1:]), now)
		found = append(found, info)
		return len(found) < limit && it.Next(), err
	})
	return found, err
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
	StartFrom  string // names that come before this one are left out, as if they were not there
	Marker     string // NextMarker of the page before
	MaxResults int    // more than 5,000 is cut; 0: 5,000
	Snapshots  bool   // with snapshots, oldest first, before their blob
	Metadata   bool   // with metadata
	Deleted    bool   // with blobs that are deleted and kept for a while, and with such snapshots and versions if there are to be any
	Versions   bool   // with previous versions, in one order with snapshots
	// Uncommitted is with names of which there is no blob, only blocks that wait to be committed.
	Uncommitted bool
	Vacant      bool // with names of which there is no blob, only versions or snapshots
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

// hiddenMax bounds the rows that one list passes over without listing them. A client that meets more gets a page that is not
// full and goes on from its marker, so that no request takes much longer than a full list.
const hiddenMax = 20_000

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
	hidden int    // rows that were passed over because they are deleted, or of a kind that is not asked for
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
	from = latest(from, appendNamePrefix(nil, id, l.req.StartFrom))
	if l.marker.name != "" {
		from = latest(from, appendBlobKey(nil, id, l.marker.name, l.marker.snapshot))
	}
	return from, to
}

// latest returns the key that comes last.
func latest(a, b []byte) []byte {
	if bytes.Compare(a, b) > 0 {
		return a
	}
	return b
}

// take takes one row into the list, or skips it, and moves on. A prefix stands for what would be listed without it.
func (l *blobLister) take(it *pagestore.Iter) (more bool, err error) {
	var snapshot snapshotID
	if l.name, snapshot, err = parseBlobKey(l.name[:0], it.Key()); err != nil {
		return false, err
	}
	prefix := l.collapsed()
	if snapshot != 0 && !l.req.Snapshots && !l.req.Versions {
		l.key = appendBlobKey(l.key[:0], l.id, string(l.name), 0)
		return it.SeekGE(l.key), nil
	}
	row, err := decodeBlobRow(it.Value())
	if err != nil {
		return false, err
	}
	if hidden := l.hides(&row); hidden && l.hidden < hiddenMax {
		l.hidden++
		return it.Next(), nil
	} else if hidden || len(l.result.Items) == l.limit {
		l.result.NextMarker = blobsMarker(l.name, snapshot)
		return false, nil
	}
	if prefix != nil {
		l.result.Items = append(l.result.Items, ListItem{Prefix: string(prefix)})
		l.key = appendAfter(l.key[:0], appendNamePrefix(nil, l.id, string(prefix)))
		return it.SeekGE(l.key), nil
	}
	info, err := row.info(string(l.name), snapshot, l.now)
	if !l.req.Metadata {
		info.Metadata = nil
	}
	if l.uncommitted(&row) && (row.vacant || row.gone.at != 0 && !l.req.Deleted) {
		info.Vacant, info.Uncommitted = false, true
		info.Size, info.HTTPHeaders, info.Metadata, info.Tags, info.Deleted, info.Copy = 0, HTTPHeaders{}, nil, nil, nil, nil // of a deleted blob
	}
	if n := len(l.result.Items); n == cap(l.result.Items) {
		l.result.Items = slices.Grow(l.result.Items, min(max(n, 32), l.limit-n))
	}
	l.result.Items = append(l.result.Items, ListItem{Blob: info})
	return it.Next(), err
}

// hides reports whether a row is not to be listed.
func (l *blobLister) hides(row *blobRow) bool {
	switch {
	case row.gone.at != 0 && !(l.req.Deleted && row.gone.kept(l.now)):
		return !l.uncommitted(row)
	case row.vacant:
		return !l.uncommitted(row) && (!l.req.Vacant || !row.versions.present(l.now) && !row.snaps.present(l.now))
	case row.gen == pagestore.GenHead:
		return false
	case row.version != 0:
		return !l.req.Versions
	}
	return !l.req.Snapshots
}

// uncommitted reports whether a row that is vacant is to be listed for the blocks that wait.
func (l *blobLister) uncommitted(row *blobRow) bool {
	return l.req.Uncommitted && row.blocks.staged.n > 0
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
