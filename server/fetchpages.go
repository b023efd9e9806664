package server

import (
	"cmp"
	"context"
	"encoding/xml"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"pagevault/blobstore"
)

const (
	listedPages = 1000    // entries that are asked for at a time
	emptyParts  = 100     // parts of a list, one after the other, that may be empty and not the last
	pageListEnd = 8 << 40 // where the largest page blob ends: an entry that is cleared may be behind the end of the blob
)

// pageLister is how far a list of pages is that comes in parts.
type pageLister struct {
	since string // the snapshot that the pages differ from; "": all pages
	end   int64  // of the last entry so far
	empty int    // parts in a row
}

// Pages lists pages, as blobstore.CopySource has it: holes stay holes. A list that does not go on is not followed.
func (b *remoteBlob) Pages(ctx context.Context, marker string) (entries []blobstore.PageEntry, next string, err error) {
	p := &b.pages
	if marker == "" {
		p.end, p.empty = 0, 0
	}
	list := b.source.with(p.query(b.f.listed, marker))
	err = b.try(func() error {
		resp, err := b.f.get(ctx, http.MethodGet, list, nil, http.StatusOK)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		entries, next, err = parsePageList(io.LimitReader(resp.Body, fetchList), b.size, p.since != "")
		return err
	})
	if err == nil && !p.goesOn(entries, next, marker) {
		err = errPageList
	}
	if err != nil {
		return nil, "", pendingError(err)
	}
	return entries, next, nil
}

// query asks for a part of the list.
func (p *pageLister) query(limit int, marker string) string {
	q := "comp=pagelist&maxresults=" + strconv.Itoa(limit)
	if p.since != "" {
		q += "&prevsnapshot=" + url.QueryEscape(p.since)
	}
	if marker != "" {
		q += "&marker=" + url.QueryEscape(marker)
	}
	return q
}

// goesOn reports whether a part follows those before, so that the list comes to an end.
func (p *pageLister) goesOn(entries []blobstore.PageEntry, next, marker string) bool {
	if next != "" && next == marker {
		return false
	}
	if len(entries) == 0 {
		p.empty++
		return next == "" || p.empty <= emptyParts
	}
	ok := entries[0].Start >= p.end
	p.end, p.empty = entries[len(entries)-1].End, 0
	return ok
}

var errPageList = &remoteError{status: http.StatusBadRequest, text: "The source answered with a list of pages that is none."}

// parsePageList reads the list of pages of a blob of that size, and the marker of the next part. If it is one of
// differences, it has entries of what was cleared as well, in one order with the others or each kind in its own. Whatever
// is not in order is refused.
func parsePageList(body io.Reader, size int64, differences bool) (entries []blobstore.PageEntry, next string, err error) {
	var list struct {
		XMLName xml.Name `xml:"PageList"`
		Marker  string   `xml:"NextMarker"`
		Entries []struct {
			XMLName    xml.Name
			Start, End *int64
		} `xml:",any"`
	}
	if err := xml.NewDecoder(body).Decode(&list); err != nil || len(list.Entries) > sourcePagesMax || len(list.Marker) > copySourceMax {
		return nil, "", errPageList
	}
	var last [2]int64 // of what was written, of what was cleared
	for _, r := range list.Entries {
		kind, end := 0, size
		switch {
		case r.Start == nil || r.End == nil:
			return nil, "", errPageList
		case r.XMLName.Local == "ClearRange" && differences:
			kind, end = 1, pageListEnd
		case r.XMLName.Local != "PageRange":
			return nil, "", errPageList
		}
		e := blobstore.PageEntry{Start: *r.Start, End: *r.End + 1, Clear: kind == 1}
		if e.Start < last[kind] || e.End <= e.Start || e.End > end || e.Start%blobstore.PageSize != 0 || e.End%blobstore.PageSize != 0 {
			return nil, "", errPageList
		}
		last[kind] = e.End
		entries = append(entries, e)
	}
	slices.SortStableFunc(entries, func(a, b blobstore.PageEntry) int { return cmp.Compare(a.Start, b.Start) })
	for i := 1; i < len(entries); i++ {
		if entries[i].Start < entries[i-1].End {
			return nil, "", errPageList
		}
	}
	return entries, list.Marker, nil
}
