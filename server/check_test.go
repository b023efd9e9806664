package server

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"pagevault/blobstore"
)

// postCheck asks the admin listener for a check and returns the answer's status and the events.
func (ts *testServer) postCheck(t *testing.T, query string) (status int, body string) {
	t.Helper()
	side := httptest.NewServer(ts.Admin())
	defer side.Close()
	reply, err := http.Post(side.URL+"/check"+query, "", nil)
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

func TestCheck(t *testing.T) {
	ts := newServer(t, nil)
	ts.serve(t)
	ts.makeBlob(t, 4096)
	for _, query := range []string{"", "?level=quick", "?level=full&rate=1000000000&account=" + testAccount} {
		status, body := ts.postCheck(t, query)
		if status != 200 {
			t.Fatalf("%s: %d %s", query, status, body)
		}
		var problems, blobs int
		var summary blobstore.CheckSummary
		err := blobstore.ReadCheckEvents(strings.NewReader(body), blobstore.CheckEvents{
			Problem: func(*blobstore.Problem) { problems++ },
			Summary: func(s *blobstore.CheckSummary) { summary, blobs = *s, blobs+int(s.Blobs) },
		})
		if err != nil || problems > 0 || blobs != 1 || !summary.Complete {
			t.Errorf("%s: %v, %d problems, %d blobs, %+v\n%s", query, err, problems, blobs, summary, body)
		}
	}
	f := func(query string, want int, text string) {
		t.Helper()
		if status, body := ts.postCheck(t, query); status != want || !strings.Contains(body, text) {
			t.Errorf("%s: %d %s, want %d %s", query, status, body, want, text)
		}
	}
	f("?level=deep", 400, "want full or quick")
	f("?rate=fast", 400, "want bytes in a second")
	f("?rate=-1", 400, "want bytes in a second")
	f("?account=nobody", 404, "not served here")
	ts.checking.Lock()
	f("", 409, "a check is running already")
	ts.checking.Unlock()
	f("", 200, `{"type":"end"}`)
}
