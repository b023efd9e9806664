package bench

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
)

// The parts of requests that never change.
var (
	querySnapshot = []field{{"comp", []byte("snapshot")}}
	valueClear    = []byte("clear")
	valuePagelist = []byte("pagelist")
	valueInclude  = []byte("include")
)

// span is the bytes [start, end) of a blob.
type span struct{ start, end int64 }

// clearPages clears [off, off+n).
func (c *conn) clearPages(path string, off int64, n int64) error {
	xms := append(c.fields[:0], field{"x-ms-date", c.now()}, field{"x-ms-page-write", valueClear},
		field{"x-ms-range", c.rangeOf(off, int(n))}, field{"x-ms-version", c.version})
	_, err := c.do(&request{method: http.MethodPut, path: path, query: queryPage, xms: xms}, http.StatusCreated, nil)
	return err
}

// snapshot makes a snapshot of a blob and returns its name.
func (c *conn) snapshot(path string) (string, error) {
	xms := append(c.fields[:0], field{"x-ms-date", c.now()}, field{"x-ms-version", c.version})
	if _, err := c.do(&request{method: http.MethodPut, path: path, query: querySnapshot, xms: xms}, http.StatusCreated, nil); err != nil {
		return "", err
	}
	name := string(c.resp.Header.Peek("x-ms-snapshot"))
	if name == "" {
		return "", errors.New("a snapshot was made, but the answer has no x-ms-snapshot")
	}
	return name, nil
}

// getSnapshotRange reads len(into) bytes at off of a snapshot into into. A short answer is an error.
func (c *conn) getSnapshotRange(path, snapshot string, off int64, into []byte) error {
	q := append(c.query[:0], field{"snapshot", []byte(snapshot)})
	return c.getQueryRange(path, q, off, into)
}

func (c *conn) getQueryRange(path string, query []field, off int64, into []byte) error {
	xms := append(c.fields[:0], field{"x-ms-date", c.now()}, field{"x-ms-range", c.rangeOf(off, len(into))}, field{"x-ms-version", c.version})
	n, err := c.do(&request{method: http.MethodGet, path: path, query: query, xms: xms}, http.StatusPartialContent, into)
	if err == nil && n != len(into) {
		err = fmt.Errorf("answered %d bytes of %d", n, len(into))
	}
	return err
}

// rangesDiff asks what changed from one snapshot to a later one, and returns the body of the answer, in into, which bounds it.
func (c *conn) rangesDiff(path, from, to string, into []byte) ([]byte, error) {
	q := append(c.query[:0], field{"comp", valuePagelist}, field{"prevsnapshot", []byte(from)}, field{"snapshot", []byte(to)})
	xms := append(c.fields[:0], field{"x-ms-date", c.now()}, field{"x-ms-version", c.version})
	n, err := c.do(&request{method: http.MethodGet, path: path, query: q, xms: xms}, http.StatusOK, into)
	return into[:n], err
}

// parseRanges reads the body of Get Page Ranges Diff: what was written, in ascending order, with what touches joined.
func parseRanges(body []byte) ([]span, error) {
	var list struct {
		XMLName   xml.Name
		PageRange []struct{ Start, End int64 }
	}
	if err := xml.Unmarshal(body, &list); err != nil || list.XMLName.Local != "PageList" {
		return nil, fmt.Errorf("no list of page ranges: %.60q", body)
	}
	spans := make([]span, 0, len(list.PageRange))
	for _, r := range list.PageRange {
		if r.Start < 0 || r.End < r.Start || r.End == 1<<63-1 {
			return nil, fmt.Errorf("a page range from %d to %d", r.Start, r.End)
		}
		spans = append(spans, span{r.Start, r.End + 1})
	}
	return joinSpans(spans), nil
}

// joinSpans sorts spans and joins those that touch or overlap, in place.
func joinSpans(list []span) []span {
	slices.SortFunc(list, func(a, b span) int { return int(min(max(a.start-b.start, -1), 1)) })
	out := list[:0]
	for _, s := range list {
		if n := len(out); n > 0 && s.start <= out[n-1].end {
			out[n-1].end = max(out[n-1].end, s.end)
			continue
		}
		out = append(out, s)
	}
	return out
}

// listing is one answer of List Blobs. Its bytes are those of the buffer that was given.
type listing struct {
	body   []byte
	marker string // where the next answer begins; empty if this is the last
}

// listBlobs asks for the blobs whose names begin with prefix, up to most, from marker on.
func (c *conn) listBlobs(container, prefix, delimiter, marker string, most int, into []byte) (listing, error) {
	q := append(c.query[:0], field{"comp", []byte("list")})
	if delimiter != "" {
		q = append(q, field{"delimiter", []byte(delimiter)})
	}
	if marker != "" {
		q = append(q, field{"marker", []byte(marker)})
	}
	q = append(q, field{"maxresults", strconv.AppendInt(nil, int64(most), 10)}, field{"prefix", []byte(prefix)}, field{"restype", []byte("container")})
	xms := append(c.fields[:0], field{"x-ms-date", c.now()}, field{"x-ms-version", c.version})
	n, err := c.do(&request{method: http.MethodGet, path: container, query: q, xms: xms}, http.StatusOK, into)
	if err != nil {
		return listing{}, err
	}
	l := listing{body: into[:n]}
	if _, rest, ok := bytes.Cut(l.body, []byte("<NextMarker>")); ok {
		text, _, _ := bytes.Cut(rest, []byte("</NextMarker>"))
		l.marker = unescapeXML(text)
	}
	return l, nil
}

// names returns the names of the blobs.
func (l *listing) names() []string {
	var list []string
	for rest, ok := l.body, true; ok; {
		if _, rest, ok = bytes.Cut(rest, []byte("<Blob><Name>")); ok {
			name, _, _ := bytes.Cut(rest, []byte("</Name>"))
			list = append(list, unescapeXML(name))
		}
	}
	return list
}

// count returns how many blobs and folders are listed.
func (l *listing) count() (blobs, folders int) {
	return bytes.Count(l.body, []byte("</Blob>")), bytes.Count(l.body, []byte("</BlobPrefix>"))
}

// unescapeXML returns the characters that a text of XML stands for; as it is if it is none.
func unescapeXML(text []byte) string {
	var s struct {
		Text string `xml:",chardata"`
	}
	if xml.Unmarshal(append(append([]byte("<t>"), text...), "</t>"...), &s) != nil {
		return string(text)
	}
	return s.Text
}

// deleteBlob deletes a blob with its snapshots.
func (c *conn) deleteBlob(path string) error {
	xms := append(c.fields[:0], field{"x-ms-date", c.now()}, field{"x-ms-delete-snapshots", valueInclude}, field{"x-ms-version", c.version})
	_, err := c.do(&request{method: http.MethodDelete, path: path, xms: xms}, http.StatusAccepted, nil)
	return err
}
