package server

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pagevault/internal/testkit"
)

// middleman stands between two servers and does to what the source answers what a test wants.
type middleman struct {
	*httptest.Server
	mu struct {
		sync.Mutex
		asked []string // what came, as "HEAD", "GET pages", "GET diff", "GET never" or "GET"
		spoil func(n int, what string) spoil
	}
}

// spoil changes an answer.
type spoil func(resp *http.Response) error

func startMiddleman(t testing.TB, to *testServer) *middleman {
	m := &middleman{}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(&url.URL{Scheme: "http", Host: to.addr})
			p.Out.Host = to.addr
		},
		ModifyResponse: func(resp *http.Response) error {
			q := resp.Request.URL.Query()
			what := resp.Request.Method
			switch {
			case q.Get("prevsnapshot") == neverTaken:
				what += " never"
			case q.Has("prevsnapshot"):
				what += " diff"
			case q.Has("comp"):
				what += " pages"
			}
			if s := m.hears(what); s != nil {
				return s(resp)
			}
			return nil
		},
	}
	m.Server = httptest.NewServer(proxy)
	t.Cleanup(m.Close)
	return m
}

// hears notes a question and returns what is to be done to the answer.
func (m *middleman) hears(what string) spoil {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.asked = append(m.mu.asked, what)
	if m.mu.spoil == nil {
		return nil
	}
	return m.mu.spoil(len(m.mu.asked)-1, what)
}

// spoils has answers changed from now on, and begins to count anew. nil: none are.
func (m *middleman) spoils(f func(n int, what string) spoil) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.asked, m.mu.spoil = nil, f
}

func (m *middleman) heard() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.mu.asked)
}

// says is a spoil that answers with a status and a code.
func says(status int, code string) spoil {
	return func(resp *http.Response) error {
		resp.StatusCode, resp.Status = status, fmt.Sprint(status)
		resp.Header.Set("x-ms-error-code", code)
		return withBody(resp, nil)
	}
}

// withBody gives an answer another body.
func withBody(resp *http.Response, p []byte) error {
	resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(p))
	resp.ContentLength = int64(len(p))
	resp.Header.Set("Content-Length", fmt.Sprint(len(p)))
	resp.TransferEncoding = nil
	return nil
}

// cutOff ends the body in its middle, and the connection with it.
func cutOff(resp *http.Response) error {
	p, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	resp.Body = io.NopCloser(bytes.NewReader(p[:len(p)/2]))
	resp.ContentLength = int64(len(p))
	resp.Header.Set("Content-Length", fmt.Sprint(len(p)))
	return nil
}

func otherETag(resp *http.Response) error {
	resp.Header.Set("ETag", `"0x1"`)
	return nil
}

// answers is a spoil that answers with 200 and another body.
func answers(text string) spoil {
	return func(resp *http.Response) error {
		resp.StatusCode, resp.Status = 200, "200 OK"
		return withBody(resp, []byte(text))
	}
}

const (
	pairRequests = 8                      // that the second server carries out at a time
	pairPatience = 100 * time.Millisecond // with which the others wait
)

// pair are two servers, the second of which copies from the first through somebody between.
type pair struct {
	t        *testing.T
	from, to *testServer
	between  *middleman
	audit    *logBuffer // of the second
}

func newPair(t *testing.T) *pair {
	p := &pair{t: t, from: start(t, nil), audit: &logBuffer{}}
	p.to = newServer(t, func(o *Options) {
		o.CopySourceAllow, o.Audit, o.MaxRequests = []string{"127.0.0.1"}, p.audit, pairRequests
	})
	p.to.patience = pairPatience
	p.to.serve(t)
	p.between = startMiddleman(t, p.from)
	for _, ts := range []*testServer{p.from, p.to} {
		ts.do(t, call{method: "PUT", path: "disks?restype=container"}).want(t, 201, "")
	}
	return p
}

// do has one of the two do something that must go well.
func (p *pair) do(ts *testServer, method, path string, body []byte, header ...string) answer {
	p.t.Helper()
	a := ts.do(p.t, call{method: method, path: path, header: header, body: body})
	if a.StatusCode >= 300 {
		p.t.Fatalf("%s %s: %s%s", method, path, a.raw, a.body)
	}
	return a
}

// source is the URL of a snapshot of a blob of the first server, as the second reaches it.
func (p *pair) source(blob, snapshot string) string {
	u := tokenFor(p.t, p.from, testAccount, "disks/"+blob, "r", time.Now().Add(time.Hour))
	u = strings.Replace(u, p.from.addr, strings.TrimPrefix(p.between.URL, "http://"), 1)
	if snapshot != "" {
		u += "&snapshot=" + snapshot
	}
	return u
}

// start asks for an incremental copy. The answer must not have the source's signature.
func (p *pair) start(to, source string) answer {
	p.t.Helper()
	a := p.to.do(p.t, call{method: "PUT", path: "disks/" + to + "?comp=incrementalcopy", header: []string{"x-ms-copy-source: " + source}})
	p.secret("the answer", a.raw+string(a.body), source)
	return a
}

// secret fails the test if a text has the signature of a source's URL.
func (p *pair) secret(what, text, source string) {
	p.t.Helper()
	u, err := url.Parse(source)
	if err != nil {
		p.t.Fatal(err)
	}
	if sig := u.Query().Get("sig"); sig != "" && (strings.Contains(text, sig) || strings.Contains(text, url.QueryEscape(sig))) {
		p.t.Errorf("%s has the signature %s:\n%s", what, sig, text)
	}
}

// copy makes one and returns what the destination says at the end.
func (p *pair) copy(to, blob, snapshot string) answer {
	p.t.Helper()
	a := p.start(to, p.source(blob, snapshot))
	a.want(p.t, 202, "")
	if a.Header.Get("x-ms-copy-status") != "pending" {
		p.t.Fatalf("%s", a.raw)
	}
	end := p.to.settled(p.t, "disks/"+to)
	if end.Header.Get("x-ms-copy-id") != a.Header.Get("x-ms-copy-id") || end.Header.Get("x-ms-incremental-copy") != "true" {
		p.t.Fatalf("%s", end.raw)
	}
	return end
}

// copied is copy for one that must succeed. It returns the snapshot of the destination.
func (p *pair) copied(to, blob, snapshot string) string {
	p.t.Helper()
	a := p.copy(to, blob, snapshot)
	if a.Header.Get("x-ms-copy-status") != "success" {
		p.t.Fatalf("the copy: %s", a.raw)
	}
	return a.Header.Get("x-ms-copy-destination-snapshot")
}

// create makes a blob of the first server, anew if it is there.
func (p *pair) create(blob string, n int) {
	p.do(p.from, "PUT", "disks/"+blob, nil, "x-ms-blob-type: PageBlob", fmt.Sprintf("x-ms-blob-content-length: %d", n*512))
}

func (p *pair) write(blob string, from int, data []byte) {
	p.do(p.from, "PUT", "disks/"+blob+"?comp=page", data, "x-ms-page-write: update", fmt.Sprintf("x-ms-range: bytes=%d-%d", from*512, from*512+len(data)-1))
}

func (p *pair) clear(blob string, from, to int) {
	p.do(p.from, "PUT", "disks/"+blob+"?comp=page", nil, "x-ms-page-write: clear", fmt.Sprintf("x-ms-range: bytes=%d-%d", from*512, to*512-1))
}

func (p *pair) resize(blob string, n int) {
	p.do(p.from, "PUT", "disks/"+blob+"?comp=properties", nil, fmt.Sprintf("x-ms-blob-content-length: %d", n*512))
}

func (p *pair) snapshot(blob string) string {
	return p.do(p.from, "PUT", "disks/"+blob+"?comp=snapshot", nil).Header.Get("x-ms-snapshot")
}

// pageList is what a server lists of a snapshot, or of what it differs in from another: "+0-2 -5-6", in pages.
func (p *pair) pageList(ts *testServer, blob, snapshot, since string) string {
	p.t.Helper()
	path := "disks/" + blob + "?comp=pagelist&snapshot=" + snapshot
	if since != "" {
		path += "&prevsnapshot=" + since
	}
	var list struct {
		Entries []struct {
			XMLName    xml.Name
			Start, End int64
		} `xml:",any"`
	}
	if err := xml.Unmarshal(p.do(ts, "GET", path, nil).body, &list); err != nil {
		p.t.Fatal(err)
	}
	var b strings.Builder
	for _, e := range list.Entries {
		switch e.XMLName.Local {
		case "PageRange":
			fmt.Fprintf(&b, "+%d-%d ", e.Start/512, (e.End+1)/512)
		case "ClearRange":
			fmt.Fprintf(&b, "-%d-%d ", e.Start/512, (e.End+1)/512)
		}
	}
	return b.String()
}

// history is a random history of a blob that another server follows, beside plain slices that know what it had when.
type history struct {
	*pair
	r     *rand.Rand
	data  []byte
	valid []bool
	at    []*sourceState // snapshots of the source that are there
	last  *sourceState   // that was copied last; nil: none
	anew  bool           // the next copy has all pages
	made  []*sourceState // what the destination has
	spoil int            // copies that came to nothing
}

// sourceState is what the blob was like when a snapshot was made.
type sourceState struct {
	id    string
	copy  string // the snapshot of the destination
	data  []byte
	valid []bool
	gone  bool // the source's
}

func (m *sourceState) pages() string {
	var b strings.Builder
	for i := 0; i < len(m.valid); i++ {
		if from := i; m.valid[i] {
			for i < len(m.valid) && m.valid[i] {
				i++
			}
			fmt.Fprintf(&b, "+%d-%d ", from, i)
		}
	}
	return b.String()
}

// TestIncrementalFromServerModel makes random histories of a blob that another server follows, with answers of the source
// spoilt now and then. Every snapshot of the destination is what its source was, and a copy that fails changes none.
func TestIncrementalFromServerModel(t *testing.T) {
	histories := testkit.Scale(t, "PAGEVAULT_REMOTE_HISTORIES", 200)
	seed := testkit.Seed(t)
	p := newPair(t)
	spoilt, followed := 0, 0
	for i := range histories {
		h := &history{pair: p, r: rand.New(rand.NewPCG(seed, uint64(i)))}
		p.to.fetcher.listed = []int{1, 2, 3, 1000}[i%4]
		h.run(fmt.Sprintf("a%d", i), fmt.Sprintf("c%d", i))
		spoilt, followed = spoilt+h.spoil, followed+len(h.made)
	}
	t.Logf("%d snapshots were copied, %d copies came to nothing", followed, spoilt)
	if histories >= 100 && (spoilt < histories/4 || followed < histories) {
		t.Error("that is too little to have shown anything")
	}
}

func (h *history) run(a, c string) {
	h.data, h.valid = make([]byte, 512*(1+h.r.IntN(60))), nil
	h.valid = make([]bool, len(h.data)/512)
	h.create(a, len(h.valid))
	for range 6 + h.r.IntN(12) {
		n := len(h.valid)
		switch k := h.r.IntN(16); {
		case k < 5 && n > 0:
			from := h.r.IntN(n)
			to := min(n, from+1+h.r.IntN(8))
			p := make([]byte, (to-from)*512)
			if h.r.IntN(4) > 0 { // else zeros, which make pages valid all the same
				for i := range p {
					p[i] = byte(h.r.Uint32())
				}
			}
			h.write(a, from, p)
			copy(h.data[from*512:], p)
			h.set(from, to, true)
		case k < 7 && n > 0:
			from := h.r.IntN(n)
			to := min(n, from+1+h.r.IntN(12))
			h.clear(a, from, to)
			clear(h.data[from*512 : to*512])
			h.set(from, to, false)
		case k < 9:
			n := h.r.IntN(60)
			h.resize(a, n)
			if n > len(h.valid) {
				h.valid = append(h.valid, make([]bool, n-len(h.valid))...)
				h.data = append(h.data, make([]byte, n*512-len(h.data))...)
			}
			h.valid, h.data = h.valid[:n:n], h.data[:n*512:n*512]
		case k < 10 && len(h.at) > 0: // a snapshot of the source goes
			i := h.r.IntN(len(h.at))
			h.do(h.from, "DELETE", "disks/"+a+"?snapshot="+h.at[i].id, nil)
			h.at[i].gone = true
			h.at = slices.Delete(h.at, i, i+1)
		case k < 12:
			h.spoilt(a, c)
		default:
			h.follow(a, c)
		}
	}
	h.follow(a, c)
	for _, m := range h.made {
		h.check(c, m)
	}
	h.overwritten(a, c)
}

func (h *history) set(from, to int, valid bool) {
	for i := from; i < to; i++ {
		h.valid[i] = valid
	}
}

// take takes a snapshot of the source.
func (h *history) take(a string) *sourceState {
	m := &sourceState{id: h.snapshot(a), data: slices.Clone(h.data), valid: slices.Clone(h.valid)}
	h.at = append(h.at, m)
	return m
}

// follow takes a snapshot of the source, or the one that was copied last again, and copies it.
func (h *history) follow(a, c string) {
	h.t.Helper()
	m := h.last
	if m == nil || m.gone || h.r.IntN(8) > 0 {
		m = h.take(a)
	} else {
		m = &sourceState{id: m.id, data: m.data, valid: m.valid}
	}
	h.between.spoils(nil)
	m.copy = h.copied(c, a, m.id)
	h.check(c, m)
	whole := slices.Contains(h.between.heard(), "GET pages")
	if want := h.last == nil || h.last.gone || h.anew; whole != want {
		h.t.Errorf("%s: all pages were asked for: %v, want %v: %v", a, whole, want, h.between.heard())
	}
	if !whole && h.last.id != m.id {
		if got, want := h.pageList(h.to, c, m.copy, h.last.copy), h.pageList(h.from, a, m.id, h.last.id); got != want {
			h.t.Errorf("%s differs from the copy before in\n%s, and its source in\n%s", c, got, want)
		}
	}
	h.made, h.last, h.anew = append(h.made, m), m, false
	for _, at := range h.at { // a snapshot that was copied twice is one of the source
		if at.id == m.id && at != m {
			h.at[slices.Index(h.at, at)] = m
		}
	}
}

// check compares a snapshot of the destination with the model.
func (h *history) check(c string, m *sourceState) {
	h.t.Helper()
	got := h.do(h.to, "GET", "disks/"+c+"?snapshot="+m.copy, nil)
	if !bytes.Equal(got.body, m.data) {
		h.t.Fatalf("%s@%s is not what its source was", c, m.copy)
	}
	if got, want := h.pageList(h.to, c, m.copy, ""), m.pages(); got != want {
		h.t.Fatalf("pages of %s@%s:\ngot  %s\nwant %s", c, m.copy, got, want)
	}
}

// spoilt makes a copy while one of the source's answers is not what it should be.
func (h *history) spoilt(a, c string) {
	h.t.Helper()
	m := h.take(a)
	at, kind := h.r.IntN(8), h.r.IntN(7)
	hit := false
	h.between.spoils(func(n int, what string) spoil {
		if n < at || hit || what == "GET never" {
			return nil
		}
		hit = true // the one answer; 5xx would be asked for again
		switch lists := what == "GET pages" || what == "GET diff"; {
		case kind == 0:
			return says(403, "AuthorizationFailure")
		case kind == 1:
			return says(404, "BlobNotFound")
		case kind == 2 && lists:
			return answers("<PageList><PageRange><Start>511</Start><End>0</End></PageRange></PageList>")
		case kind == 3 && what != "HEAD":
			return otherETag
		case kind == 4 && what == "GET": // bytes
			return answers("too few")
		case kind == 5 && lists:
			return answers("<html/>")
		}
		return says(412, "ConditionNotMet")
	})
	start := h.start(c, h.source(a, m.id))
	end := h.to.settled(h.t, "disks/"+c)
	status := end.Header.Get("x-ms-copy-status")
	h.between.spoils(nil)
	made := ""
	if h.last != nil {
		made = h.last.copy
	}
	switch {
	case start.StatusCode == 202 && status == "success":
		m.copy = end.Header.Get("x-ms-copy-destination-snapshot")
		h.made, h.last, h.anew = append(h.made, m), m, false
		h.check(c, m)
		return
	case start.StatusCode == 202 && status == "failed":
		h.anew = true
		if d := end.Header.Get("x-ms-copy-status-description"); !strings.Contains(d, "CannotVerifyCopySource") {
			h.t.Errorf("description %s", d)
		}
	case start.StatusCode < 400 || start.StatusCode >= 500:
		h.t.Fatalf("%s%s\n%s", start.raw, start.body, end.raw)
	}
	h.spoil++
	if !hit {
		h.t.Fatalf("the copy failed for nothing: %s%s\n%s", start.raw, start.body, end.raw)
	}
	if got := end.Header.Get("x-ms-copy-destination-snapshot"); got != made {
		h.t.Fatalf("after a copy that came to nothing the last snapshot is %s, want %s\n%s", got, made, end.raw)
	}
	if h.last != nil {
		h.check(c, h.last)
	}
}

// overwritten makes the source anew: it is another blob then.
func (h *history) overwritten(a, c string) {
	h.t.Helper()
	all := h.r.IntN(2) == 0
	if all {
		h.do(h.from, "DELETE", "disks/"+a, nil, "x-ms-delete-snapshots: include")
	}
	h.create(a, 3)
	id := h.snapshot(a)
	a2 := h.start(c, h.source(a, id))
	// That a blob is another one of which nothing is left is known by when it was made, in seconds.
	if all && a2.StatusCode == 202 {
		end := h.to.settled(h.t, "disks/"+c)
		if end.Header.Get("x-ms-copy-status") != "success" {
			h.t.Fatalf("the copy: %s", end.raw)
		}
		h.check(c, &sourceState{copy: end.Header.Get("x-ms-copy-destination-snapshot"), data: make([]byte, 3*512), valid: make([]bool, 3)})
	} else {
		a2.want(h.t, 409, "BlobOverwritten")
	}
	h.check(c, h.last)
}
