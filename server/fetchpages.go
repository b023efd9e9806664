package server

import (
	"bytes"
	"cmp"
	"context"
	"encoding/xml"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

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
	err = again(func() error {
		resp, err := b.f.get(ctx, http.MethodGet, list, nil, http.StatusOK)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(io.LimitReader(resp.Body, fetchList+1))
		switch {
		case err != nil:
			return &remoteError{text: "The source ended before its time.", cause: err}
		case len(body) > fetchList:
			return errPageList
		}
		entries, next, err = parsePageList(body, b.size, p.since != "")
		return err
	})
	if err == nil && !p.take(entries, next, marker) {
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

// take notes a part of the list, and reports whether it follows those before, so that the list comes to an end.
func (p *pageLister) take(entries []blobstore.PageEntry, next, marker string) bool {
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
// is not in order is refused, and no more is kept of a list than it may have.
func parsePageList(body []byte, size int64, differences bool) (entries []blobstore.PageEntry, next string, err error) {
	list := pageList{size: size, differences: differences}
	if bytes.Count(body, []byte{'='}) > copySourceMax { // which attributes have: the decoder keeps all those of an element
		return nil, "", errPageList
	}
	if err := xml.NewDecoder(bytes.NewReader(body)).Decode(&list); err != nil {
		return nil, "", errPageList
	}
	entries = list.entries
	slices.SortStableFunc(entries, func(a, b blobstore.PageEntry) int { return cmp.Compare(a.Start, b.Start) })
	for i := 1; i < len(entries); i++ {
		if entries[i].Start < entries[i-1].End {
			return nil, "", errPageList
		}
	}
	return entries, list.marker, nil
}

// pageList is a list of pages while it is read, element by element: the first that may not be there ends it.
type pageList struct {
	size        int64
	differences bool
	entries     []blobstore.PageEntry
	marker      string
	last        [2]int64 // the end of what was written, and of what was cleared
}

// UnmarshalXML reads the list. Every error is errPageList to those who asked for it.
func (l *pageList) UnmarshalXML(d *xml.Decoder, start xml.StartElement) error {
	if start.Name.Local != "PageList" {
		return errPageList
	}
	return elements(d, func(name string) (err error) {
		if name == "NextMarker" {
			l.marker, err = elementText(d)
			if len(l.marker) > copySourceMax {
				return errPageList
			}
			return err
		}
		return l.entry(d, name)
	})
}

// entry reads an entry, of that name.
func (l *pageList) entry(d *xml.Decoder, name string) error {
	kind, end := 0, l.size
	switch {
	case len(l.entries) == sourcePagesMax:
		return errPageList
	case name == "ClearRange" && l.differences:
		kind, end = 1, pageListEnd
	case name != "PageRange":
		return errPageList
	}
	at := map[string]int64{"Start": -1, "End": -1}
	err := elements(d, func(name string) error {
		text, err := elementText(d)
		if old, known := at[name]; !known || old != -1 || err != nil {
			return errPageList
		}
		at[name], err = strconv.ParseInt(strings.TrimSpace(text), 10, 64)
		return err
	})
	if err != nil {
		return err
	}
	e := blobstore.PageEntry{Start: at["Start"], End: at["End"] + 1, Clear: kind == 1}
	if e.Start < l.last[kind] || e.End <= e.Start || e.End > end || e.Start%blobstore.PageSize != 0 || e.End%blobstore.PageSize != 0 {
		return errPageList
	}
	l.last[kind] = e.End
	l.entries = append(l.entries, e)
	return nil
}

// elements calls do at the beginning of each element within the one that has begun. do must read it to its end.
func elements(d *xml.Decoder, do func(name string) error) error {
	for {
		t, err := d.Token()
		if err != nil {
			return err
		}
		switch t := t.(type) {
		case xml.EndElement:
			return nil
		case xml.StartElement:
			if err := do(t.Name.Local); err != nil {
				return err
			}
		}
	}
}

// elementText reads the text of the element that has begun, to its end. It may have no elements within.
func elementText(d *xml.Decoder) (string, error) {
	var text []byte
	for {
		t, err := d.Token()
		if err != nil {
			return "", err
		}
		switch t := t.(type) {
		case xml.EndElement:
			return string(text), nil
		case xml.StartElement:
			return "", errPageList
		case xml.CharData:
			text = append(text, t...)
		}
	}
}
