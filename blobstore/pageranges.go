package blobstore

import (
	"strconv"

	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/header"
	"pagevault/pagestore"
)

const (
	// PageRangesMax is the most entries in one reply to Get Page Ranges.
	PageRangesMax = 10_000
	// AllPageRanges as MaxResults asks for all entries at once, as versions without paging do.
	AllPageRanges = -1
)

// PageRangesRequest asks which pages of a blob or a snapshot are valid, or which of them changed since an earlier
// snapshot of it.
type PageRangesRequest struct {
	Access
	Range        *header.Range // only what touches a page of it, clipped to its pages. nil: all
	PrevSnapshot string        // only what was written or cleared since this snapshot. "": what is valid
	Marker       string        // NextMarker of the page before
	MaxResults   int           // 1 to 10,000, more is cut; 0: 10,000; AllPageRanges: no limit
}

// PageEntry is a run of pages in bytes, [Start, End).
type PageEntry struct {
	Start, End int64
	Clear      bool // of a diff: valid in the earlier snapshot, not any more
}

// PageRangesResult lists pages in ascending order. Entries of one kind do not touch.
type PageRangesResult struct {
	Stamp
	Size       int64 // of the blob in bytes. Set also when the error is InvalidRange
	Entries    []PageEntry
	NextMarker string // "" at the end
}

// PageRanges lists pages. Which pages a diff names depends on what was written, not on whether that changed a byte:
// pages written since and still valid, and as Clear pages that were valid then and are not now.
func (a *Account) PageRanges(ref BlobRef, req *PageRangesRequest) (result PageRangesResult, err error) {
	q, err := newRangesQuery(&ref, req)
	if err != nil {
		return PageRangesResult{}, err
	}
	s := scratches.Get().(*scratch)
	defer scratches.Put(s)
	err = a.view(func(v *pagestore.View) error {
		_, row, err := s.findBlob(v, &ref, q.snapshot)
		if err != nil {
			return err
		}
		if err := firstError(row.checkReadable(), row.checkPages()); err != nil {
			return err
		}
		if err := req.checkRead(&row, a.clock.Now()); err != nil {
			return err
		}
		q.result.Stamp, q.result.Size = row.etag.stamp(), row.size
		if req.PrevSnapshot == "" {
			return q.ranges(v, &row)
		}
		return q.diff(v, s, &ref, &row)
	})
	return q.result, err
}

// rangesQuery is one request while it is answered.
type rangesQuery struct {
	snapshot snapshotID // of which the pages are listed; 0: the blob itself
	prev     snapshotID
	from     int64 // where the marker says to go on
	filter   *header.Range
	limit    int // entries; AllPageRanges: none
	result   PageRangesResult
}

func newRangesQuery(ref *BlobRef, req *PageRangesRequest) (*rangesQuery, error) {
	q := &rangesQuery{filter: req.Range, limit: min(req.MaxResults, PageRangesMax)}
	var err error
	var ok bool
	if q.snapshot, err = ref.check(); err != nil {
		return nil, err
	}
	if q.prev, ok = parseSnapshot(req.PrevSnapshot); !ok && req.PrevSnapshot != "" {
		return nil, azerr.BadQuery("prevsnapshot", req.PrevSnapshot, "not the id of a snapshot")
	}
	if q.from, err = parseRangesMarker(req.Marker); err != nil {
		return nil, err
	}
	switch {
	case q.limit == 0:
		q.limit = PageRangesMax
	case q.limit < AllPageRanges:
		return nil, azerr.OutOfRangeQueryParameterValue.With("QueryParameterName", "maxresults",
			"QueryParameterValue", strconv.Itoa(req.MaxResults))
	}
	return q, nil
}

func (q *rangesQuery) ranges(v *pagestore.View, row *blobRow) error {
	within, err := q.window(row.size)
	if err != nil || within.Start >= within.End {
		return err
	}
	return v.Ranges(row.volume, row.gen, within, func(r pagestore.Range) bool { return q.add(r, false) })
}

func (q *rangesQuery) diff(v *pagestore.View, s *scratch, ref *BlobRef, row *blobRow) error {
	_, prev, err := s.findBlob(v, &BlobRef{Container: ref.Container, Blob: ref.Blob}, q.prev)
	switch {
	case err == azerr.BlobNotFound:
		return azerr.PreviousSnapshotNotFound
	case err != nil:
		return err
	case q.snapshot != 0 && row.version == 0 && q.prev > q.snapshot,
		row.version != 0 && prev.volume == row.volume && row.gen != pagestore.GenHead && prev.gen > row.gen:
		return azerr.PreviousSnapshotCannotBeNewer
	case prev.volume != row.volume:
		return azerr.BlobOverwritten
	}
	within, err := q.window(row.size)
	if err != nil || within.Start >= within.End || q.prev == q.snapshot {
		return err
	}
	return v.Diff(row.volume, prev.gen, row.gen, within, q.add)
}

// window returns the pages to list: those the filter touches, as far as the blob goes, from the marker on.
func (q *rangesQuery) window(size int64) (pagestore.Range, error) {
	within := header.Range{End: size}
	if q.filter != nil {
		if q.filter.Start >= size || q.filter.Start < 0 || q.filter.Start >= q.filter.End {
			return pagestore.Range{}, azerr.InvalidRange
		}
		within.Start = q.filter.Start &^ (PageSize - 1)
		if q.filter.End < size { // so that rounding up cannot overflow
			within.End = (q.filter.End + PageSize - 1) &^ (PageSize - 1)
		}
	}
	within.Start = max(within.Start, q.from)
	return pages(within), nil
}

// add takes one run of pages and says whether to go on.
func (q *rangesQuery) add(r pagestore.Range, cleared bool) bool {
	if len(q.result.Entries) == q.limit {
		q.result.NextMarker = rangesMarker(int64(r.Start) * PageSize)
		return false
	}
	q.result.Entries = append(q.result.Entries, PageEntry{int64(r.Start) * PageSize, int64(r.End) * PageSize, cleared})
	return true
}
