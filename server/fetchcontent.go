package server

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"pagevault/blobstore"
	"pagevault/internal/azure/header"
	"pagevault/internal/azure/xmlbody"
)

// remoteContent is a part of a source at another server, whatever that is, which is read in pieces that are all of one state
// of it. The source need not answer anything but ranges of bytes: what is known of it is what came with the first of them.
type remoteContent struct {
	f        *fetcher
	source   remoteSource // the one state of it that was there at the beginning
	size     int64        // of the source as a whole
	first    int          // bytes of the first piece
	headers  blobstore.HTTPHeaders
	metadata []header.Pair
}

// begin reads the first piece of a part of a source into p, as much as fits. conditions are headers of the read. The part may
// end where the source does, and must not end after it.
func (f *fetcher) begin(ctx context.Context, source remoteSource, conditions map[string]string, from header.Range, p []byte) (*remoteContent, error) {
	end := from.Start + min(from.Len(), int64(len(p)))
	with := map[string]string{"Range": fmt.Sprintf("bytes=%d-%d", from.Start, end-1)}
	for name, value := range conditions {
		with[name] = value
	}
	resp, err := f.get(ctx, http.MethodGet, source, with, http.StatusPartialContent, http.StatusOK, http.StatusRequestedRangeNotSatisfiable)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusRequestedRangeNotSatisfiable {
		if from.Start > 0 || resp.Header.Get("Content-Range") != "bytes */0" {
			return nil, errSourceEnds
		}
		return f.beginEmpty(ctx, source, conditions)
	}
	c := &remoteContent{f: f, source: source}
	if c.size, err = wholeSize(resp, from.Start, end); err != nil {
		return nil, err
	}
	if err := checkEncoding(resp); err != nil {
		return nil, err
	}
	c.first = int(min(end, c.size) - from.Start)
	if err := c.describe(resp); err != nil {
		return nil, err
	}
	if to := min(from.End, c.size); int64(c.first) < to-from.Start && c.source.etag == "" {
		return nil, &remoteError{status: http.StatusBadRequest, text: "The source has no entity tag, and does not come in one piece."}
	}
	if _, err := io.ReadFull(resp.Body, p[:c.first]); err != nil {
		return nil, &remoteError{text: "The source ended before its time.", cause: err}
	}
	return c, nil
}

// errSourceEnds says that a source has no such bytes.
var errSourceEnds = &remoteError{status: http.StatusRequestedRangeNotSatisfiable, text: "The source ends before the range does."}

// beginEmpty looks at a source that has no byte, so that no range of it tells what it is.
func (f *fetcher) beginEmpty(ctx context.Context, source remoteSource, conditions map[string]string) (*remoteContent, error) {
	resp, err := f.get(ctx, http.MethodHead, source, conditions, http.StatusOK)
	if err != nil {
		return nil, err
	}
	resp.Body.Close()
	if resp.ContentLength != 0 {
		return nil, &remoteError{text: "The source has changed while it was looked at."}
	}
	c := &remoteContent{f: f, source: source}
	return c, c.describe(resp)
}

// describe takes from a reply what it says of the source.
func (c *remoteContent) describe(resp *http.Response) (err error) {
	if etag := resp.Header.Get("ETag"); !strings.HasPrefix(etag, "W/") {
		c.source.etag = etag
	}
	c.headers = remoteHeaders(resp)
	c.metadata, err = remoteMetadata(resp.Header)
	return err
}

// wholeSize returns the size of a source of which a reply has the bytes from start to end, or to where the source ends.
func wholeSize(resp *http.Response, start, end int64) (int64, error) {
	if resp.StatusCode == http.StatusOK { // all of it, whatever was asked for
		if start != 0 || resp.ContentLength < 0 || resp.ContentLength > end {
			return 0, &remoteError{status: http.StatusBadRequest, text: "The source does not answer with ranges of bytes."}
		}
		return resp.ContentLength, nil
	}
	part, whole, _ := strings.Cut(resp.Header.Get("Content-Range"), "/")
	size, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || size <= start || part != fmt.Sprintf("bytes %d-%d", start, min(end, size)-1) {
		return 0, &remoteError{status: http.StatusBadRequest, text: "The source answers with another range than was asked for, or does not tell its size."}
	}
	return size, nil
}

// checkEncoding refuses content that is not what is stored at the source. Of a blob the encoding is only what it says of itself.
func checkEncoding(resp *http.Response) error {
	if enc := resp.Header.Get("Content-Encoding"); enc != "" && resp.Header.Get("x-ms-blob-type") == "" && enc != "identity" {
		return &remoteError{status: http.StatusBadRequest, text: "The source answers with another encoding than was asked for."}
	}
	return nil
}

// read fills p with the bytes at off.
func (c *remoteContent) read(ctx context.Context, p []byte, off int64) error {
	return again(func() error { return c.f.read(ctx, c.source, nil, p, off) })
}

// tags reads the tags of a source.
func (f *fetcher) tags(ctx context.Context, source remoteSource) ([]header.Pair, error) {
	source.etag = "" // tags are not of a state
	resp, err := f.get(ctx, http.MethodGet, source.with("comp=tags"), nil, http.StatusOK)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, xmlBodyMax))
	if err != nil {
		return nil, &remoteError{text: "The source ended before its time.", cause: err}
	}
	tags, err := xmlbody.ParseTags(body)
	if err != nil {
		return nil, &remoteError{status: http.StatusBadRequest, text: "The source has tags that cannot be read.", cause: err}
	}
	return tags, nil
}
