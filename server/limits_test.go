package server

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"pagevault/internal/azure/op"
)

// TestBodyLimits sends every operation that reads a body one byte more than it takes.
func TestBodyLimits(t *testing.T) {
	ts := start(t, nil)
	ts.makeBlob(t, 4096)
	paths := map[op.Level]string{op.Service: "?", op.Container: "disks?", op.Blob: "disks/b?"}
	read := 0
	for i := range op.Table {
		row := &op.Table[i]
		most := handlers[row.ID].body
		if most == 0 {
			continue
		}
		read++
		c := call{method: row.Methods[0], path: paths[row.Level] + "comp=" + row.Comp, noLength: true}
		if row.Restype != "" {
			c.path += "&restype=" + row.Restype
		}
		switch row.ID {
		case op.PutPage:
			c.header = []string{"x-ms-page-write: update", "x-ms-range: bytes=0-4194303"}
		case op.PutBlockBlob:
			c.header = []string{"x-ms-blob-type: BlockBlob"}
		}
		t.Run(row.Name, func(t *testing.T) { ts.tooLarge(t, c, most) })
		for _, older := range handlers[row.ID].older {
			day, err := time.Parse(time.DateOnly, older.before)
			if err != nil {
				t.Fatal(err)
			}
			c := c
			c.header = append(slices.Clone(c.header), "x-ms-version: "+day.AddDate(0, 0, -1).Format(time.DateOnly))
			t.Run(row.Name+" before "+older.before, func(t *testing.T) { ts.tooLarge(t, c, older.body) })
		}
	}
	if read < 5 {
		t.Errorf("only %d operations read a body", read)
	}
}

// tooLarge announces one byte more than is taken, and not one that is.
func (ts *testServer) tooLarge(t *testing.T, c call, most int64) {
	t.Helper()
	header := c.header
	c.header = append(slices.Clone(header), fmt.Sprintf("Content-Length: %d", most+1), expect)
	a := ts.do(t, c)
	a.want(t, 413, "RequestBodyTooLarge")
	if want := fmt.Sprintf("<MaxLimit>%d</MaxLimit>", most); !strings.Contains(string(a.body), want) {
		t.Errorf("want %s:\n%s", want, a.body)
	}
	c.header = append(slices.Clone(header), fmt.Sprintf("Content-Length: %d", most), expect)
	w := ts.dial(t)
	w.send(c.bytes(t))
	w.recv(c.method).want(t, 100, "")
}

// TestHeaderLimits: how many headers there are matters to nobody, what they take together does.
func TestHeaderLimits(t *testing.T) {
	ts := start(t, nil)
	ts.makeBlob(t, 4096)
	f := func(status int, code string, lines ...string) {
		t.Helper()
		ts.do(t, call{method: "GET", path: "disks/b", header: lines}).want(t, status, code)
	}
	many := func(format string, bytes int) (lines []string) {
		for n := 0; n < bytes; n += len(lines[len(lines)-1]) + 2 {
			lines = append(lines, fmt.Sprintf(format, len(lines)))
		}
		return lines
	}
	f(200, "", many("a%d: b", headersMax-1024)...)
	f(200, "", many("x-ms-a%d: b", headersMax-1024)...) // these are signed
	f(431, "InvalidInput", many("a%d: b", headersMax)...)
	f(431, "InvalidInput", many("x-ms-a%d: b", headersMax)...)
	f(431, "InvalidInput", "a: "+strings.Repeat("b", headersMax))
	ts.do(t, call{method: "GET", path: "disks/" + strings.Repeat("b", headersMax)}).want(t, 431, "InvalidInput")
}

// TestShortBodiesGoOn: while long bodies have all the memory that there is for them, short ones are taken.
func TestShortBodiesGoOn(t *testing.T) {
	ts := newServer(t, nil)
	ts.patience = 10 * time.Millisecond
	ts.serve(t)
	ts.makeBlob(t, 1<<20)
	if !ts.uploads.Acquire(ts.o.UploadBytes, patience) {
		t.Fatal("not to be had")
	}
	ts.do(t, putPage(0, pages(openingBytes+512, 'x'))).want(t, 503, "ServerBusy")
	ts.do(t, putPage(0, pages(openingBytes, 'x'))).want(t, 201, "")
	ts.uploads.Release(ts.o.UploadBytes)
	ts.do(t, putPage(0, pages(openingBytes+512, 'x'))).want(t, 201, "")
}

// TestSlowSources: parts of other servers' blobs and the bodies of clients do not wait for each other's memory.
func TestSlowSources(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(strings.Repeat("s", 1<<20)))
	}))
	defer web.Close()
	ts := newServer(t, func(o *Options) { o.CopySourceAllow = []string{"127.0.0.1"} })
	ts.patience = 10 * time.Millisecond
	ts.serve(t)
	ts.makeBlob(t, 1<<20)
	fetch := call{method: "PUT", path: "disks/b?comp=page", header: []string{"x-ms-page-write: update", "x-ms-range: bytes=0-1048575",
		"x-ms-copy-source: " + web.URL + "/a/b", "x-ms-source-range: bytes=0-1048575"}}
	long := putPage(0, pages(openingBytes+512, 'x'))
	if !ts.uploads.Acquire(ts.o.UploadBytes, patience) {
		t.Fatal("not to be had")
	}
	ts.do(t, fetch).want(t, 201, "")
	ts.uploads.Release(ts.o.UploadBytes)
	if !ts.sources.Acquire(ts.o.UploadBytes/2, patience) {
		t.Fatal("not to be had")
	}
	ts.do(t, fetch).want(t, 503, "ServerBusy")
	ts.do(t, long).want(t, 201, "")
	ts.sources.Release(ts.o.UploadBytes / 2)
	ts.do(t, fetch).want(t, 201, "")
}

// TestBusy shows what clients are told that waited in vain: for memory to put a body into, for the little that a long one
// begins in, for memory to read a reply into, and to be carried out. Afterwards the same request succeeds.
func TestBusy(t *testing.T) {
	f := func(name string, c call, status int, take func(ts *testServer) (*budget, int64)) {
		t.Run(name, func(t *testing.T) {
			ts := newServer(t, func(o *Options) { o.MaxRequests = 1 })
			ts.patience = 10 * time.Millisecond
			ts.serve(t)
			ts.makeBlob(t, 1<<20)
			from, n := take(ts)
			if !from.Acquire(n, patience) { // those who made the blob give back after their reply
				t.Fatal("not to be had")
			}
			a := ts.do(t, c)
			a.want(t, 503, "ServerBusy")
			if a.Header.Get("Retry-After") != retryAfter {
				t.Errorf("Retry-After: %q", a.Header.Get("Retry-After"))
			}
			from.Release(n)
			ts.do(t, c).want(t, status, "")
		})
	}
	long := putPage(0, pages(openingBytes+512, 'x'))
	f("body", putPage(0, pages(512, 'x')), 201, func(ts *testServer) (*budget, int64) { return ts.openings, 2 * ts.o.UploadBytes })
	f("long body", long, 201, func(ts *testServer) (*budget, int64) { return ts.uploads, ts.o.UploadBytes })
	f("beginning of a long body", long, 201, func(ts *testServer) (*budget, int64) { return ts.openings, 2 * ts.o.UploadBytes })
	f("reply", call{method: "GET", path: "disks/b"}, 200, func(ts *testServer) (*budget, int64) { return ts.replies, ts.o.ReplyBytes })
	f("turn", call{method: "HEAD", path: "disks/b"}, 200, func(ts *testServer) (*budget, int64) { return ts.slots, 1 })
}
