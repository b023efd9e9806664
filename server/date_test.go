package server

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pagevault/internal/azure/op"
	"pagevault/internal/clock"
)

// rushing is a clock that goes on by 300 ms whenever somebody looks at it. Its timers are the machine's.
type rushing struct {
	clock.Clock
	n atomic.Int64
}

func (c *rushing) Now() time.Time {
	return time.Unix(1_800_000_000, 0).Add(time.Duration(c.n.Add(1)) * 300 * time.Millisecond)
}

// dateOf returns when a reply says it was made; it must say so once.
func dateOf(t *testing.T, a answer) time.Time {
	t.Helper()
	at, err := http.ParseTime(a.Header.Get("Date"))
	if n := strings.Count(a.raw, "\r\nDate: "); err != nil || n != 1 || a.Header.Get("Server") != "Pagevault/test" {
		t.Fatalf("%d dates, %v, or no Server:\n%s", n, err, a.raw)
	}
	return at
}

// TestDate shows that Last-Modified of what a request has made or changed is never after the Date of its reply.
func TestDate(t *testing.T) {
	c := &rushing{Clock: clock.System}
	ts := start(t, func(o *Options) { o.Clock, o.Service = c, openService(t, c) })
	made := 0
	do := func(x call) {
		t.Helper()
		x.header = append(x.header, "x-ms-date: "+c.Now().UTC().Format(http.TimeFormat))
		a := ts.do(t, x)
		a.want(t, 201, "")
		modified, err := http.ParseTime(a.Header.Get("Last-Modified"))
		if err != nil {
			t.Fatal(err)
		}
		if at := dateOf(t, a); modified.After(at) || at.Sub(modified) > 3*time.Second {
			t.Errorf("Date %v, Last-Modified %v", at, modified)
		}
		made++
	}
	do(call{method: "PUT", path: "disks?restype=container"})
	for i := range 20 {
		name := fmt.Sprintf("disks/b%d", i)
		do(call{method: "PUT", path: name, header: []string{"x-ms-blob-type: PageBlob", "x-ms-blob-content-length: 512"}})
		do(call{method: "PUT", path: name + "?comp=page", body: pages(512, 'x'), header: []string{"x-ms-page-write: update", "x-ms-range: bytes=0-511"}})
	}
}

// TestDateOfEveryReply shows that whoever writes a reply, it has one Date, by the server's clock.
func TestDateOfEveryReply(t *testing.T) {
	c := clock.NewManual(time.Now().Add(-5 * time.Minute)) // within the skew, and nobody else's time
	ts := newServer(t, func(o *Options) { o.Clock, o.Service = c, openService(t, c) })
	table := *ts.handlers
	table[op.SnapshotBlob].serve = func(*request) error { panic("by test") }
	ts.handlers = &table
	ts.serve(t)
	ts.makeBlob(t, 4096)
	want := func(what string, a answer, status int) {
		t.Helper()
		if a.StatusCode != status {
			t.Errorf("%s: status %d, want %d", what, a.StatusCode, status)
		}
		if at := dateOf(t, a); at.Unix() != c.Now().Unix() {
			t.Errorf("%s: Date %v, the clock says %v", what, at, c.Now())
		}
	}
	since := "If-Modified-Since: " + c.Now().Add(time.Second).UTC().Format(http.TimeFormat)
	raw := func(request string) answer {
		w := ts.dial(t)
		defer w.Close()
		w.send([]byte(request))
		return w.recv("GET")
	}
	for range 3 {
		want("done", ts.do(t, call{method: "GET", path: "disks/b"}), 200)
		want("HEAD", ts.do(t, call{method: "HEAD", path: "disks/b"}), 200)
		want("not modified", ts.do(t, call{method: "HEAD", path: "disks/b", header: []string{since}}), 304)
		want("refused", ts.do(t, call{method: "GET", path: "disks/b", unsigned: true}), 401)
		want("refused, not sent", ts.do(t, putPage(0, pages(512, 'x'), expect, "Authorization: SharedKey devstoreaccount1:AAAA")), 403)
		want("no HTTP", raw("nonsense\r\n\r\n"), 400)
		want("too long", raw("GET / HTTP/1.1\r\nx: "+strings.Repeat("x", headersMax)+"\r\n\r\n"), 431)
		want("a panic", ts.do(t, call{method: "PUT", path: "disks/b?comp=snapshot"}), 500)
		c.Advance(900 * time.Millisecond)
	}

	ts = newServer(t, func(o *Options) { o.Clock, o.MaxConns, o.MaxConnsPer = c, 2, 2 })
	g := ts.gated(op.ListContainers)
	ts.serve(t)
	for range 2 {
		w := ts.dial(t)
		w.send(call{method: "GET", path: "?comp=list"}.bytes(t))
		<-g.arrived
	}
	want("full", ts.dial(t).recv("GET"), 503)
	close(g.open)
}
