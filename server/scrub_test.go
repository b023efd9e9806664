package server

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"pagevault/blobstore"
)

// TestScrub reads everything of an account that is well, and shows what is told of it afterwards.
func TestScrub(t *testing.T) {
	ts := start(t, nil)
	ts.makeBlob(t, 1<<20)
	ts.do(t, putPage(0, fill(1<<20))).want(t, 201, "")
	side := httptest.NewServer(ts.Admin())
	defer side.Close()
	post := func(query string) (status int, body string) {
		t.Helper()
		reply, err := http.Post(side.URL+"/scrub"+query, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer reply.Body.Close()
		text, err := io.ReadAll(reply.Body)
		if err != nil {
			t.Fatal(err)
		}
		return reply.StatusCode, string(text)
	}
	if status, body := ts.admin(t, "/scrub"); status != 200 || strings.Contains(body, `"finished"`) {
		t.Errorf("before the first: %d %s", status, body)
	}
	for _, query := range []string{"", "?rate=1000000000&account=" + testAccount} {
		status, body := post(query)
		var got blobstore.ScrubEvent
		lines := strings.Split(strings.TrimSpace(body), "\n")
		if err := json.Unmarshal([]byte(lines[max(0, len(lines)-2)]), &got); err != nil || status != 200 || lines[len(lines)-1] != `{"end":true}` || got.Summary == nil {
			t.Fatalf("%q: %d %s %v", query, status, body, err)
		}
		if s := got.Summary; s.Account != testAccount || !s.Complete || s.Problems != 0 || s.Unhealable != 0 || s.Bytes < 1<<20 || len(s.NotRead) > 0 {
			t.Errorf("%q: %+v", query, s)
		}
	}
	if status, body := ts.admin(t, "/scrub?account="+testAccount); status != 200 || !strings.Contains(body, `"running":false`) || !strings.Contains(body, `"finished":"`) {
		t.Errorf("after it: %d %s", status, body)
	}
	if _, body := ts.admin(t, "/metrics"); strings.Contains(body, `pagevault_scrub_age_seconds{account="devstoreaccount1"} -1`) {
		t.Error("the metrics know of no run")
	}

	f := func(query string, want int, text string) {
		t.Helper()
		if status, body := post(query); status != want || !strings.Contains(body, text) {
			t.Errorf("%s: %d %s, want %d %s", query, status, body, want, text)
		}
	}
	f("?rate=fast", 400, "want bytes in a second")
	f("?account=nobody", 404, "there is no account nobody")
	ts.scrubbing.Lock()
	f("", 409, "running already")
	ts.scrubbing.Unlock()
}

// TestScrubFails: an account that cannot be read is not told to be well.
func TestScrubFails(t *testing.T) {
	service := limited(t, blobstore.Limits{}, "a", "b")
	ts := newServer(t, func(o *Options) { o.Service = service })
	if err := service.Accounts()[0].Store().Close(); err != nil {
		t.Fatal(err)
	}
	side := httptest.NewServer(ts.Admin())
	defer side.Close()
	reply, err := http.Post(side.URL+"/scrub", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Body.Close()
	var a, b, end blobstore.ScrubEvent
	lines := json.NewDecoder(reply.Body)
	for _, e := range []*blobstore.ScrubEvent{&a, &b, &end} {
		for e.Summary == nil && !e.End { // progress may come first
			if err := lines.Decode(e); err != nil {
				t.Fatal(err)
			}
		}
	}
	if a.Summary == nil || a.Summary.Complete || a.Summary.Error == "" || b.Summary == nil || !b.Summary.Complete || !end.End {
		t.Errorf("%+v, %+v, %+v", a.Summary, b.Summary, end)
	}
}
