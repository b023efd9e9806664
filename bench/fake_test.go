package bench

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

// fake is a small Blob endpoint written with nothing of ours: it checks signatures of the header fields the client sends,
// keeps pages in memory, and can be told to misbehave.
type fake struct {
	t       testing.TB
	account string
	key     []byte
	spoil   func(r *http.Request, p []byte) // changes what a read returns. nil: nothing
	stall   func(r *http.Request)           // called at the start of a request. nil: nothing
	chunked bool                            // answer without a length, as Azurite does
	closing bool                            // hang up after each answer, as proxies do now and then
	mu      struct {
		sync.Mutex
		blobs map[string][]byte
		log   []string
	}
}

// startFake serves f until the test ends and returns the URL with the account in it.
func startFake(t testing.TB, f *fake) string {
	t.Helper()
	f.t, f.account, f.key = t, "devstoreaccount1", emulatorKey(t)
	f.mu.blobs = make(map[string][]byte)
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	return s.URL + "/" + f.account
}

// requests returns the requests whose "METHOD path?query" contains part.
func (f *fake) requests(part string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(f.mu.log), func(l string) bool { return !strings.Contains(l, part) })
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.mu.log = append(f.mu.log, r.Method+" "+r.URL.RequestURI())
	f.mu.Unlock()
	if f.stall != nil {
		f.stall(r)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // cut off
	}
	if !f.authentic(r, body) {
		w.Header().Set("x-ms-error-code", "AuthenticationFailed")
		w.WriteHeader(http.StatusForbidden)
		io.WriteString(w, "<?xml version=\"1.0\"?><Error><Code>AuthenticationFailed</Code><Message>Server failed to authenticate the request.\nRequestId:1</Message></Error>")
		return
	}
	status, answer := f.answer(r, body)
	if f.closing {
		w.Header().Set("Connection", "close")
	}
	w.WriteHeader(status)
	if f.chunked {
		w.(http.Flusher).Flush()
	}
	w.Write(answer)
}

// authentic recomputes the signature from the request as it arrived.
func (f *fake) authentic(r *http.Request, body []byte) bool {
	q := &request{method: r.Method, path: r.URL.EscapedPath(), body: body}
	for _, name := range []string{"x-ms-blob-content-length", "x-ms-blob-type", "x-ms-date", "x-ms-page-write", "x-ms-range", "x-ms-version"} {
		if v := r.Header.Get(name); v != "" {
			q.xms = append(q.xms, field{name, []byte(v)})
		}
	}
	for _, name := range []string{"comp", "restype"} {
		if v := r.URL.Query().Get(name); v != "" {
			q.query = append(q.query, field{name, []byte(v)})
		}
	}
	return r.Header.Get("Authorization") == string(newSigner(f.account, f.key).append(nil, q))
}

func (f *fake) answer(r *http.Request, body []byte) (int, []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	path := r.URL.Path
	var off, last int64
	fmt.Sscanf(r.Header.Get("x-ms-range"), "bytes=%d-%d", &off, &last)
	switch {
	case r.Method == http.MethodDelete:
		return http.StatusAccepted, nil
	case r.Method == http.MethodGet:
		p := make([]byte, last-off+1)
		if blob := f.mu.blobs[path]; off < int64(len(blob)) {
			copy(p, blob[off:])
		}
		if f.spoil != nil {
			f.spoil(r, p)
		}
		return http.StatusPartialContent, p
	case r.URL.Query().Get("comp") == "page":
		const keep = 16 << 20 // enough for what is read back
		if blob := f.mu.blobs[path]; last < keep {
			if last >= int64(len(blob)) {
				blob = append(blob, make([]byte, last+1-int64(len(blob)))...)
				f.mu.blobs[path] = blob
			}
			copy(blob[off:], body)
		}
	}
	return http.StatusCreated, nil
}
