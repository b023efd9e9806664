package server

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"pagevault/blobstore"
)

func (ts *testServer) postMaintain(t *testing.T, query string) (status int, body string) {
	t.Helper()
	side := httptest.NewServer(ts.Admin())
	defer side.Close()
	reply, err := http.Post(side.URL+"/maintain"+query, "", nil)
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

// TestMaintain: when it answers, what was deleted takes no space any more.
func TestMaintain(t *testing.T) {
	ts := start(t, nil)
	ts.makeBlob(t, 4<<20)
	ts.do(t, putPage(0, fill(4<<20))).want(t, 201, "")
	account := ts.o.Service.Accounts()[0]
	if u, err := account.Usage(); err != nil || u.StoredBytes < 3<<20 {
		t.Fatalf("%+v, %v", u, err)
	}
	ts.do(t, call{method: "DELETE", path: "disks/b"}).want(t, 202, "")
	if status, body := ts.postMaintain(t, ""); status != 200 || body != "" {
		t.Errorf("%d %s", status, body)
	}
	if u, err := account.Usage(); err != nil || u.StoredBytes != 0 || u.LiveBytes != 0 || u.LogBytes > 1<<20 {
		t.Errorf("%+v, %v", u, err)
	}
	status, body := ts.postMaintain(t, "?progress=true&account="+testAccount)
	if status != 200 || !strings.Contains(body, `"doing":"rewriting segments"`) || !strings.HasSuffix(body, `"done":true}`+"\n") {
		t.Errorf("%d %s", status, body)
	}
	if status, body := ts.postMaintain(t, "?account=none"); status != 404 || !strings.Contains(body, "no account none") {
		t.Errorf("%d %s", status, body)
	}
	if status, _ := ts.admin(t, "/maintain"); status != 405 {
		t.Errorf("GET: %d", status)
	}
}

// TestMaintainFails: the answer is not that of success.
func TestMaintainFails(t *testing.T) {
	service := limited(t, blobstore.Limits{}, testAccount)
	ts := newServer(t, func(o *Options) { o.Service = service })
	if err := service.Accounts()[0].Store().Close(); err != nil {
		t.Fatal(err)
	}
	if status, body := ts.postMaintain(t, ""); status != 503 || !strings.Contains(body, "account "+testAccount+": ") {
		t.Errorf("%d %s", status, body)
	}
	if status, body := ts.postMaintain(t, "?progress=true"); status != 200 || !strings.Contains(body, `"error":"`) || strings.Contains(body, `"done"`) {
		t.Errorf("%d %s", status, body)
	}
}
