package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"pagevault/blobstore"
)

// memberCommands are the commands of scripts about members:
//
//	until REGEXP ARGS       runs pagevault until what it prints matches
//	said NAME REGEXP        waits until the log of a server matches; with ! it must not
//	load NAME URL           begins to write pages of a new blob at URL, whose container is made if need be, without a pause
//	unload NAME             ends that: no request may have failed, and every page must be as its last write was
//	destroy DIR             removes a directory and all that is in it, whatever is made there meanwhile
//	same URL PAGES          wants a blob to hold what put wrote
//	refused URL             writes the first page of a blob: it must be told 503 ServerBusy, and when to come again
var memberCommands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"until": until, "said": said, "load": beginLoad, "unload": endLoad, "destroy": destroy, "same": same, "refused": refused,
}

// poll calls done until it returns true. what says what was seen last.
func poll(ts *testscript.TestScript, done func() bool, what func() string) {
	deadline := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			ts.Fatalf("not within %v:\n%s", patience, what())
		}
	}
}

func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until REGEXP ARGS")
	}
	want := regexp.MustCompile("(?m)" + args[0])
	last := ""
	poll(ts, func() bool {
		if err := ts.Exec("pagevault", args[1:]...); err != nil {
			var exit *exec.ExitError
			ts.Fatalf("pagevault %v: %v %v\n%s", args[1:], err, exit, ts.ReadFile("stderr"))
		}
		last = ts.ReadFile("stdout")
		return want.MatchString(last)
	}, func() string { return last })
}

func said(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: [!] said NAME REGEXP")
	}
	want, log := regexp.MustCompile("(?m)"+args[1]), func() string { return ts.ReadFile(args[0] + ".err") }
	if neg {
		if want.MatchString(log()) {
			ts.Fatalf("the log has %s:\n%s", args[1], log())
		}
		return
	}
	poll(ts, func() bool { return want.MatchString(log()) }, log)
}

type loadsKey struct{}

// load writes pages of a blob, each time with other content, and remembers what was acknowledged.
type load struct {
	u     *url.URL
	quit  chan struct{}
	wg    sync.WaitGroup
	acked [loadPages]uint64 // by page: the number of its last write; each writer has pages of its own

	mu     sync.Mutex
	failed []string // requests
}

// Four writers of 16 pages each, of 4 KiB.
const (
	loadWriters = 4
	loadPages   = 64
	loadPage    = 4096
)

func beginLoad(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: load NAME URL")
	}
	u, err := url.Parse(args[1])
	ts.Check(err)
	makeBlob(ts, u, loadPages*loadPage)
	l := &load{u: u, quit: make(chan struct{})}
	ts.Value(loadsKey{}).(map[string]*load)[args[0]] = l
	for w := range loadWriters {
		l.wg.Go(func() { l.write(w) })
	}
	ts.Defer(l.stop)
}

func (l *load) stop() {
	select {
	case <-l.quit:
	default:
		close(l.quit)
	}
	l.wg.Wait()
}

func (l *load) write(writer int) {
	for n := uint64(1); ; n++ {
		select {
		case <-l.quit:
			return
		default:
		}
		page := writer + loadWriters*int(n%(loadPages/loadWriters))
		u := *l.u
		u.RawQuery = "comp=page"
		a, err := ask(http.MethodPut, &u, map[string]string{"x-ms-page-write": "update",
			"x-ms-range": fmt.Sprintf("bytes=%d-%d", page*loadPage, (page+1)*loadPage-1)}, loadBytes(page, n))
		if err != nil || a.status != http.StatusCreated {
			text := fmt.Sprintf("write %d of page %d: %v", n, page, err)
			if a != nil {
				text += fmt.Sprintf(" %d %s", a.status, a.body)
			}
			l.mu.Lock()
			l.failed = append(l.failed, text)
			l.mu.Unlock()
			return
		}
		l.acked[page] = n
	}
}

// loadBytes is what write n puts into a page.
func loadBytes(page int, n uint64) []byte {
	if n == 0 {
		return make([]byte, loadPage)
	}
	word := binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, uint64(page)), n)
	return bytes.Repeat(word, loadPage/len(word))
}

func endLoad(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: unload NAME")
	}
	l := ts.Value(loadsKey{}).(map[string]*load)[args[0]]
	l.stop()
	writes := uint64(0)
	a, err := ask(http.MethodGet, l.u, nil, nil)
	ts.Check(err)
	if a.status != http.StatusOK || len(a.body) != loadPages*loadPage {
		ts.Fatalf("GET %s: %d, %d bytes", l.u, a.status, len(a.body))
	}
	for page, n := range l.acked {
		writes = max(writes, n)
		if !bytes.Equal(a.body[page*loadPage:(page+1)*loadPage], loadBytes(page, n)) {
			ts.Fatalf("page %d is not what write %d of it was: %x…", page, n, a.body[page*loadPage:][:16])
		}
	}
	if len(l.failed) > 0 {
		ts.Fatalf("%d requests failed: %s", len(l.failed), l.failed[0])
	}
	ts.Logf("%d rounds of writes, none failed", writes)
}

// makeBlob makes an empty page blob, and its container.
func makeBlob(ts *testscript.TestScript, u *url.URL, size int) {
	container := *u
	container.Path = u.Path[:bytes.LastIndexByte([]byte(u.Path), '/')]
	container.RawQuery = "restype=container"
	send(ts, &container, nil, nil, 201, 409)
	send(ts, u, map[string]string{"x-ms-blob-type": "PageBlob", "x-ms-blob-content-length": fmt.Sprint(size)}, nil, 201)
}

func destroy(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: destroy DIR")
	}
	var err error
	poll(ts, func() bool { err = os.RemoveAll(ts.MkAbs(args[0])); return err == nil }, func() string { return err.Error() })
}

func same(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: same URL PAGES")
	}
	u, err := url.Parse(args[0])
	ts.Check(err)
	var pages int
	_, err = fmt.Sscan(args[1], &pages)
	ts.Check(err)
	a, err := ask(http.MethodGet, u, nil, nil)
	ts.Check(err)
	if a.status != http.StatusOK || !bytes.Equal(a.body, scriptBytes(u.Path, 512*pages)) {
		ts.Fatalf("GET %s: %d, %d bytes that are not those that were written", u, a.status, len(a.body))
	}
}

func refused(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: refused URL")
	}
	u, err := url.Parse(args[0] + "?comp=page")
	ts.Check(err)
	var a *answer
	poll(ts, func() bool {
		a, err = ask(http.MethodPut, u, map[string]string{"x-ms-page-write": "update", "x-ms-range": "bytes=0-511"}, make([]byte, 512))
		ts.Check(err)
		return a.status == http.StatusServiceUnavailable
	}, func() string { return fmt.Sprintf("PUT %s: %d\n%s", u, a.status, a.body) })
	if a.header.Get("x-ms-error-code") != "ServerBusy" || a.header.Get("Retry-After") != "2" {
		ts.Fatalf("PUT %s: %d %v\n%s", u, a.status, a.header, a.body)
	}
}

// TestDescribeMembers shows the table that a human reads.
func TestDescribeMembers(t *testing.T) {
	now := time.Unix(1e9, 0).UTC()
	all := healths([]string{"current behind current", "current current current"})
	at := now.Add(-26 * time.Hour)
	m := &all[0].Members[1]
	m.Since, m.Have, m.Want, m.WriteErrors, m.ReadErrors, m.Free, m.Total = &at, 3<<30, 5<<30, 1, 2, 10<<30, 20<<30
	all[0].Members[0].Damaged, all[1].Members[0].Damaged = 1, 2
	for i := range all {
		all[i].Account, all[i].Redundancy, all[i].MinReplicas = []string{"a", "b"}[i], "3", 2
	}
	all[0].UnderReplicated = 2 << 30
	all[0].Unhealable = 3
	all[1].Scrub = blobstore.ScrubState{Finished: &at, AgeSeconds: 26 * 3600}
	const want = `member  directory  state                     since  behind by       errors  damaged  repaired  free
1       /disk1     current                   -      -               0       3        0         -
2       /disk2     behind (1 of 2 accounts)  26h0m  2 GiB of 5 GiB  3       0        0         10 GiB of 20 GiB
3       /disk3     current                   -      -               0       0        0         -

account a: redundancy 3, writes need 2 members, 2 GiB lack a copy or a shard; writes go on
account b: redundancy 3, writes need 2 members
account a: not yet read and compared as a whole
account b: everything was last read and compared 26h ago, nothing wrong
account a: 3 segments CANNOT BE HEALED from the members that are there; pagevault check --online finds the blobs that are hit
member 2 (/disk2) is behind: write error: input/output error
`
	if got := describeMembers(all, now); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	all[0].Members[1].Number = 3 // accounts that do not agree
	if got := disks(all)[1]; len(got.numbers) != 2 || numbers(got.numbers) != "2/3" {
		t.Errorf("a disk that is member 3 of one account and 2 of another: %v", got.numbers)
	}
	if got := blobstore.MemberState("nonsense"); badness(got) <= badness(blobstore.MemberForeign) {
		t.Errorf("a state that nobody knows is as bad as %d", badness(got))
	}
}
