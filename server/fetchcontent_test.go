package server

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"pagevault/internal/azure/header"
)

// ranged answers with ranges of content as net/http does, under an entity tag. change may spoil the headers of a reply, or answer
// itself and say so.
func ranged(t *testing.T, content []byte, etag string, change func(w http.ResponseWriter, r *http.Request) (done bool)) (*fetcher, remoteSource) {
	t.Helper()
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if etag != "" {
			w.Header().Set("ETag", etag)
		}
		w.Header().Set("Content-Type", "x/y")
		w.Header().Set("X-Ms-Meta-K", "v")
		if change == nil || !change(w, r) {
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
		}
	}))
	t.Cleanup(web.Close)
	f, err := newFetcher([]string{"127.0.0.1"}, "agent")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.stop)
	return f, remoteSource{url: web.URL + "/x"}
}

// take reads a part of a source in pieces of n bytes.
func take(t *testing.T, f *fetcher, source remoteSource, from header.Range, n int) (*remoteContent, []byte, error) {
	p := make([]byte, n)
	c, err := f.begin(t.Context(), source, nil, from, p)
	if err != nil {
		return nil, nil, err
	}
	got := bytes.Clone(p[:c.first])
	for end := min(from.End, c.size); from.Start+int64(len(got)) < end; {
		p = p[:min(int64(n), end-from.Start-int64(len(got)))]
		if err := c.read(t.Context(), p, from.Start+int64(len(got))); err != nil {
			return c, got, err
		}
		got = append(got, p...)
	}
	return c, got, nil
}

// TestRemoteContent reads parts of sources that are no service of blobs.
func TestRemoteContent(t *testing.T) {
	data := fill(10_000)
	f := func(etag string, from header.Range, n int, want []byte) {
		t.Helper()
		fetch, source := ranged(t, data, etag, nil)
		c, got, err := take(t, fetch, source, from, n)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%d bytes, %v, want %d", len(got), err, len(want))
		}
		if c.size != int64(len(data)) || c.headers.ContentType != "x/y" || len(c.metadata) != 1 || c.metadata[0].Value != "v" {
			t.Errorf("%+v", c)
		}
	}
	f(`"1"`, wholeSource, 4096, data)
	f(`"1"`, wholeSource, 10_000, data)
	f(`"1"`, header.Range{Start: 100, End: 9000}, 1000, data[100:9000])
	f(`"1"`, header.Range{Start: 9000, End: wholeSource.End}, 300, data[9000:])
	f(`"1"`, header.Range{Start: 9999, End: 10_000}, 300, data[9999:])
	f("", wholeSource, 10_000, data) // one piece is of one state
	f(`W/"1"`, wholeSource, 20_000, data)
}

// TestRemoteContentRefused: what could not be told from what was meant is not read.
func TestRemoteContentRefused(t *testing.T) {
	data := fill(10_000)
	header1 := func(name, value string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set(name, value)
			return false
		}
	}
	plain := func(w http.ResponseWriter, r *http.Request) bool { // it knows no ranges
		w.Write(data)
		return true
	}
	says := func(contentRange string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Content-Range", contentRange)
			w.WriteHeader(http.StatusPartialContent)
			w.Write(data[:1000])
			return true
		}
	}
	f := func(etag string, from header.Range, change func(http.ResponseWriter, *http.Request) bool, status int, text string) {
		t.Helper()
		fetch, source := ranged(t, data, etag, change)
		_, _, err := take(t, fetch, source, from, 1000)
		var e *remoteError
		if !errors.As(err, &e) || e.status != status || !strings.Contains(e.text, text) {
			t.Errorf("got %+v, want %d %q", err, status, text)
		}
	}
	f("", wholeSource, nil, 400, "no entity tag")
	f(`W/"1"`, wholeSource, nil, 400, "no entity tag")
	f(`"1"`, wholeSource, plain, 400, "ranges of bytes")
	f(`"1"`, header.Range{Start: 1, End: 10}, plain, 400, "ranges of bytes")
	f(`"1"`, header.Range{Start: 10_000, End: 10_001}, nil, 416, "ends before")
	f(`"1"`, wholeSource, header1("Content-Encoding", "gzip"), 400, "encoding")
	f(`"1"`, wholeSource, says("bytes 0-999/*"), 400, "another range")
	f(`"1"`, wholeSource, says("bytes 1-1000/10000"), 400, "another range")
	f(`"1"`, wholeSource, says("bytes 0-999/1000000000000000000000"), 400, "another range")
	f(`"1"`, wholeSource, says("bytes 0-999/-5"), 400, "another range")
	f(`"1"`, wholeSource, says("bytes 0-1999/10000"), 400, "another range")
	f(`"1"`, header.Range{End: 1}, says("bytes 0-0/0"), 400, "another range")
}

// TestRemoteContentOfOneState: all pieces are of the state of the first, whether the source looks at conditions or not; and what fails
// for now is asked for again.
func TestRemoteContentOfOneState(t *testing.T) {
	data := fill(10_000)
	asked := 0
	f := func(at int, change func(w http.ResponseWriter, r *http.Request) bool) error {
		t.Helper()
		asked = 0
		fetch, source := ranged(t, data, `"1"`, func(w http.ResponseWriter, r *http.Request) bool {
			if asked++; asked > 1 && r.Header.Get("If-Match") != `"1"` {
				t.Errorf("request %d is for %q", asked, r.Header.Get("If-Match"))
			}
			return asked == at && change(w, r)
		})
		_, got, err := take(t, fetch, source, wholeSource, 1000)
		if err == nil && !bytes.Equal(got, data) {
			t.Errorf("%d bytes", len(got))
		}
		return err
	}
	status := func(status int) func(w http.ResponseWriter, r *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			w.WriteHeader(status)
			return true
		}
	}
	if err := f(3, status(503)); err != nil || asked != 11 {
		t.Errorf("%d requests, %v", asked, err)
	}
	var e *remoteError
	if err := f(3, status(412)); !errors.As(err, &e) || e.status != 412 {
		t.Errorf("changed: %v", err)
	}
	if err := f(3, func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("ETag", `"2"`)
		r.Header.Del("If-Match")
		return false
	}); !errors.As(err, &e) || e.status != 412 {
		t.Errorf("changed, at a source that passes conditions over: %v", err)
	}
	if err := f(3, func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Content-Range", "bytes 2000-2999/10000")
		w.WriteHeader(206)
		w.Write(data[2000:2999])
		return true
	}); err != nil || asked != 11 {
		t.Errorf("cut off once: %d requests, %v", asked, err)
	}
}

// TestRemoteContentEmpty: no range tells anything of an empty source.
func TestRemoteContentEmpty(t *testing.T) {
	for _, how := range []string{"as blobs do", "as net/http does"} {
		f, source := ranged(t, nil, `"1"`, func(w http.ResponseWriter, r *http.Request) bool {
			if how[3] == 'n' || r.Method == http.MethodHead {
				return false
			}
			w.Header().Set("Content-Range", "bytes */0")
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
			fmt.Fprint(w, "InvalidRange")
			return true
		})
		c, got, err := take(t, f, source, wholeSource, 1000)
		if err != nil || len(got) > 0 || c.size != 0 || c.headers.ContentType != "x/y" {
			t.Errorf("%s: %+v, %v", how, c, err)
		}
		if _, _, err := take(t, f, source, header.Range{Start: 1, End: 2}, 1000); err == nil {
			t.Errorf("%s: there is a second byte", how)
		}
	}
}
