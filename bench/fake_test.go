package bench

import (
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
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
	sas     string                          // the sig that requests must have, instead of signatures. Empty: those
	hides   string                          // names that end so are not listed. Empty: none
	busy    atomic.Int64                    // answers of 503 that come first
	whole   bool                            // differences are all that was ever written, as Azurite's are
	refuses string                          // a comp that is answered 501. Empty: none
	closing bool                            // hang up after each answer, as proxies do now and then
	mu      struct {
		sync.Mutex
		blobs map[string]*fakeBlob
		log   []string
	}
}

// startFake serves f until the test ends and returns the URL with the account in it.
func startFake(t testing.TB, f *fake) string {
	t.Helper()
	f.t, f.account, f.key = t, "devstoreaccount1", emulatorKey(t)
	f.mu.blobs = make(map[string]*fakeBlob)
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
	if f.busy.Add(-1) >= 0 {
		w.Header().Set("Retry-After", "1")
		w.Header().Set("x-ms-error-code", "ServerBusy")
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	status, answer := f.answer(w.Header(), r, body)
	if f.closing {
		w.Header().Set("Connection", "close")
	}
	w.WriteHeader(status)
	if f.chunked {
		w.(http.Flusher).Flush()
	}
	w.Write(answer)
}

// authentic recomputes the signature from the request as it arrived, or compares the one of the SAS.
func (f *fake) authentic(r *http.Request, body []byte) bool {
	if f.sas != "" {
		return r.URL.Query().Get("sig") == f.sas && r.Header.Get("Authorization") == ""
	}
	q := &request{method: r.Method, path: r.URL.EscapedPath(), body: body, contentType: r.Header.Get("Content-Type")}
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		if lower := strings.ToLower(name); strings.HasPrefix(lower, "x-ms-") {
			q.xms = append(q.xms, field{lower, []byte(r.Header.Get(name))})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.URL.Query())) {
		q.query = append(q.query, field{name, []byte(r.URL.Query().Get(name))})
	}
	return r.Header.Get("Authorization") == string(newSigner(f.account, f.key).append(nil, q))
}

// answer does the request. fakeblob_test.go has what blobs do.
func (f *fake) answer(w http.Header, r *http.Request, body []byte) (int, []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	path, q := r.URL.Path, r.URL.Query()
	switch {
	case q.Get("restype") == "container" && q.Get("comp") == "list":
		return f.list(path, q)
	case q.Get("restype") == "container":
		if r.Method == http.MethodDelete {
			return http.StatusAccepted, nil
		}
		return http.StatusCreated, nil
	case r.Method == http.MethodDelete:
		delete(f.mu.blobs, path)
		return http.StatusAccepted, nil
	case r.Method == http.MethodPut && q.Get("comp") == "":
		f.mu.blobs[path] = &fakeBlob{data: body}
		return http.StatusCreated, nil
	}
	b := f.mu.blobs[path]
	if b == nil && q.Get("comp") == "block" { // a blob that is nothing but blocks yet
		b = &fakeBlob{}
		f.mu.blobs[path] = b
	}
	if b == nil {
		return http.StatusNotFound, nil
	}
	if q.Get("comp") == f.refuses && f.refuses != "" {
		w.Set("x-ms-error-code", "APINotImplemented")
		return http.StatusNotImplemented, nil
	}
	return b.answer(f, w, r, body)
}
