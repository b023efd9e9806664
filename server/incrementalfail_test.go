package server

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// following makes a blob "a" of 16 pages, of which the first four are written, and "c" that has followed it once. It
// returns the snapshot of the source that was copied, and that of the destination.
func following(t *testing.T) (p *pair, id, made string) {
	t.Helper()
	p = newPair(t)
	p.create("a", 16)
	p.write("a", 0, pages(4*512, 'a'))
	id = p.snapshot("a")
	return p, id, p.copied("c", "a", id)
}

// still checks that a destination is as the copy of following left it.
func (p *pair) still(made string) {
	p.t.Helper()
	a := p.do(p.to, "HEAD", "disks/c", nil)
	if a.Header.Get("x-ms-copy-destination-snapshot") != made {
		p.t.Errorf("the last snapshot is not %s:\n%s", made, a.raw)
	}
	p.unchanged(made)
}

// unchanged checks that the snapshot of following has what it had, whatever else there is by now.
func (p *pair) unchanged(made string) {
	p.t.Helper()
	if got := p.do(p.to, "GET", "disks/c?snapshot="+made, nil); string(got.body) != string(append(pages(4*512, 'a'), make([]byte, 12*512)...)) {
		p.t.Errorf("the first snapshot has changed:\n%s", got.raw)
	}
}

// TestIncrementalFromServer: what is asked of another server, and what clients see of it.
func TestIncrementalFromServer(t *testing.T) {
	p, s1, d1 := following(t)
	if heard := strings.Join(p.between.heard(), ", "); heard != "HEAD, GET pages, GET" {
		t.Errorf("the first time the source was asked %s", heard)
	}
	p.do(p.from, "PUT", "disks/a?comp=metadata", nil, "x-ms-meta-k: v")
	p.do(p.from, "PUT", "disks/a?comp=properties", nil, "x-ms-blob-content-type: x/y", "x-ms-sequence-number-action: update", "x-ms-blob-sequence-number: 9")
	p.resize("a", 20)
	p.clear("a", 1, 2)
	p.write("a", 18, pages(512, 'z'))
	s2 := p.snapshot("a")
	p.between.spoils(nil)
	end := p.copy("c", "a", s2)
	if heard := strings.Join(p.between.heard(), ", "); heard != "HEAD, GET never, GET diff, GET diff, GET" {
		t.Errorf("the second time the source was asked %s", heard)
	}
	d2 := end.Header.Get("x-ms-copy-destination-snapshot")
	source, _, _ := strings.Cut(p.source("a", ""), "?")
	for name, want := range map[string]string{"x-ms-copy-status": "success", "x-ms-copy-progress": "10240/10240", "x-ms-copy-source": source + "?snapshot=" + s2,
		"Content-Length": "10240"} {
		if got := end.Header.Get(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	a := p.do(p.to, "HEAD", "disks/c?snapshot="+d2, nil)
	for name, want := range map[string]string{"x-ms-meta-k": "v", "Content-Type": "x/y", "x-ms-blob-sequence-number": "9", "Content-Length": "10240",
		"x-ms-incremental-copy": "true"} {
		if got := a.Header.Get(name); got != want {
			t.Errorf("the snapshot's %s: %s, want %s", name, got, want)
		}
	}
	if got := p.pageList(p.to, "c", d2, d1); got != "-1-2 +18-19 " {
		t.Errorf("differences %s", got)
	}
	p.unchanged(d1)

	wrong := func(to, source, code string, status int) {
		t.Helper()
		p.start(to, source).want(t, status, code)
	}
	url := p.source("a", s2)
	wrong("c", p.source("a", ""), "IncrementalCopySourceMustBeSnapshot", 409)
	wrong("c", p.source("a", s1), "IncrementalCopyOfEarlierSnapshotNotAllowed", 409)
	wrong("c", p.source("a", "yesterday"), "InvalidHeaderValue", 400)
	wrong("c", p.source("a", s1)+"&snapshot="+s2, "InvalidHeaderValue", 400)
	wrong("c", url+"&versionid=x", "InvalidHeaderValue", 400)
	wrong("c", p.source("a", neverTaken), "CannotVerifyCopySource", 404)
	wrong("new", strings.Replace(url, "sig=", "sig=A", 1), "CannotVerifyCopySource", 403)
	wrong("new", "http://127.0.0.1:1/a/b?snapshot="+s2, "CannotVerifyCopySource", 404)
	wrong("new", "http://169.254.169.254/a/b?snapshot="+s2, "CannotVerifyCopySource", 403)
	p.create("b", 1)
	wrong("c", p.source("b", p.snapshot("b")), "IncrementalCopyBlobMismatch", 409)
	p.do(p.to, "PUT", "disks/plain", nil, "x-ms-blob-type: PageBlob", "x-ms-blob-content-length: 512")
	wrong("plain", url, "IncrementalCopyBlobMismatch", 409)
	own := p.do(p.to, "PUT", "disks/plain?comp=snapshot", nil).Header.Get("x-ms-snapshot")
	wrong("c", "http://127.0.0.1/"+testAccount+"/disks/plain?snapshot="+own, "IncrementalCopyBlobMismatch", 409)
	p.to.do(t, call{method: "PUT", path: "disks/c?comp=incrementalcopy", header: []string{"x-ms-copy-source: " + url, "If-Match: \"0x1\""}}).want(t, 412, "TargetConditionNotMet")
	if got := p.do(p.to, "HEAD", "disks/c", nil).Header.Get("x-ms-copy-destination-snapshot"); got != d2 {
		t.Errorf("after requests that were refused the last snapshot is %s, want %s", got, d2)
	}
	for what, text := range map[string]string{"the log": p.to.log.String(), "the audit log": p.audit.String(), "the destination": p.do(p.to, "HEAD", "disks/c", nil).raw} {
		if text == "" {
			t.Errorf("%s is empty", what)
		}
		p.secret(what, text, url)
		p.secret(what, text, strings.Replace(url, "sig=", "sig=A", 1))
	}
	// By another name, as it is told in a URL, it is the same blob.
	escaped := strings.Replace(p.source("a", p.snapshot("a")), "/disks/a?", "/disks/%61?", 1)
	p.start("c", escaped).want(t, 202, "")
	p.to.settled(t, "disks/c")
}

// TestIncrementalFromServerRefused: a source that cannot say what changed is not copied from again.
func TestIncrementalFromServerRefused(t *testing.T) {
	p, _, made := following(t)
	p.clear("a", 0, 1)
	id := p.snapshot("a")
	for what, k := range map[string]struct {
		when   string
		do     spoil
		status int
		code   string
	}{
		"it passes prevsnapshot over":   {"GET never", answers("<PageList/>"), 400, "CannotVerifyCopySource"},
		"it does not know prevsnapshot": {"GET never", says(501, "NotImplemented"), 501, "CannotVerifyCopySource"},
		"it does not let us ask":        {"GET never", says(403, "AuthorizationFailure"), 403, "CannotVerifyCopySource"},
		"it cannot":                     {"GET diff", says(409, "PreviousSnapshotOperationNotSupported"), 409, "CannotVerifyCopySource"},
		"it knows no more":              {"GET diff", says(404, "BlobNotFound"), 404, "CannotVerifyCopySource"},
		"it was overwritten":            {"GET diff", says(409, "BlobOverwritten"), 409, "BlobOverwritten"},
		"it is another state":           {"GET diff", otherETag, 412, "SourceConditionNotMet"},
		"it is another type": {"HEAD", func(resp *http.Response) error {
			resp.Header.Set("x-ms-blob-type", "BlockBlob")
			return nil
		}, 409, "InvalidSourceBlobType"},
		"it was made at another time, and its snapshot is gone": {"GET diff", says(409, "PreviousSnapshotNotFound"), 409, "BlobOverwritten"},
	} {
		p.between.spoils(func(_ int, asked string) spoil {
			if asked == "HEAD" && strings.HasPrefix(what, "it was made") {
				return func(resp *http.Response) error {
					resp.Header.Set("x-ms-creation-time", "Mon, 02 Jan 2006 15:04:05 GMT")
					return nil
				}
			}
			if asked == k.when {
				return k.do
			}
			return nil
		})
		if a := p.start("c", p.source("a", id)); a.StatusCode != k.status || a.Header.Get("x-ms-error-code") != k.code {
			t.Errorf("%s: want %d %s\n%s%s", what, k.status, k.code, a.raw, a.body)
		}
		if status := p.do(p.to, "HEAD", "disks/c", nil).Header.Get("x-ms-copy-status"); status != "success" {
			t.Errorf("%s: the copy before is %s now", what, status)
		}
		p.still(made)
	}
	p.between.spoils(nil)
	p.copied("c", "a", id)
	p.unchanged(made)
}

// TestIncrementalFromServerFails: whatever is wrong with an answer fails the copy, and the last good snapshot stays.
func TestIncrementalFromServerFails(t *testing.T) {
	p, _, made := following(t)
	list := func(entries, marker string) spoil {
		return answers("<PageList>" + entries + "<NextMarker>" + marker + "</NextMarker></PageList>")
	}
	entry := func(kind string, from, to int) string {
		return fmt.Sprintf("<%s><Start>%d</Start><End>%d</End></%s>", kind, from*512, to*512-1, kind)
	}
	written, cleared := entry("PageRange", 4, 6), entry("ClearRange", 0, 1)
	n := 0
	for what, k := range map[string]struct {
		when string
		do   spoil // of every answer
		want string
	}{
		"the snapshot went":      {"GET", says(404, "BlobNotFound"), "404"},
		"it is another state":    {"GET", otherETag, "412"},
		"its list is of another": {"GET diff", otherETag, "412"},
		"it is busy":             {"GET", says(503, "ServerBusy"), "503"},
		"too few bytes":          {"GET", cutOff, "ended before its time"},
		"half a list":            {"GET diff", cutOff, "ended before its time"},
		"a list without end": {"GET diff", func(resp *http.Response) error {
			return answers("<PageList>" + strings.Repeat(" ", fetchList) + "</PageList>")(resp)
		}, "list of pages that is none"},
		"no list":                {"GET diff", answers("<html></html>"), "list of pages that is none"},
		"no XML":                 {"GET diff", answers("\x00"), "list of pages that is none"},
		"not aligned":            {"GET diff", list("<PageRange><Start>1</Start><End>511</End></PageRange>", ""), "list of pages that is none"},
		"backwards":              {"GET diff", list(entry("PageRange", 5, 6)+entry("PageRange", 4, 5), ""), "list of pages that is none"},
		"both":                   {"GET diff", list(written+entry("ClearRange", 5, 7), ""), "list of pages that is none"},
		"behind the end":         {"GET diff", list(entry("PageRange", 15, 17), ""), "list of pages that is none"},
		"far behind the end":     {"GET diff", list(entry("ClearRange", 15, 1<<40), ""), "list of pages that is none"},
		"below the beginning":    {"GET diff", list("<ClearRange><Start>-512</Start><End>-1</End></ClearRange>", ""), "list of pages that is none"},
		"something else":         {"GET diff", list(cleared+entry("Range", 1, 2), ""), "list of pages that is none"},
		"without an end":         {"GET diff", list("<PageRange><Start>0</Start></PageRange>", ""), "list of pages that is none"},
		"the same part for ever": {"GET diff", list(cleared, "again"), "list of pages that is none"},
		"new markers for ever": {"GET diff", func(resp *http.Response) error {
			return list("", resp.Request.URL.Query().Get("marker")+"x")(resp)
		}, "list of pages that is none"},
		"the same pages for ever": {"GET diff", func(resp *http.Response) error {
			return list(cleared+written, resp.Request.URL.Query().Get("marker")+"x")(resp)
		}, "list of pages that is none"},
	} {
		n++
		p.write("a", 4, pages(2*512, byte(n)))
		p.clear("a", 0, 1)
		id := p.snapshot("a")
		begun := false
		p.between.spoils(func(_ int, asked string) spoil {
			if asked == "GET diff" && !begun { // the question whether there are differences
				begun = true
				return nil
			}
			if asked == k.when {
				return k.do
			}
			return nil
		})
		// A copy after one that failed has all pages. So that this one is of differences, the one before was good.
		end := p.copy("c", "a", id)
		d := end.Header.Get("x-ms-copy-status-description")
		if end.Header.Get("x-ms-copy-status") != "failed" || !strings.Contains(d, k.want) || !strings.Contains(d, "CannotVerifyCopySource") {
			t.Errorf("%s: want a failure with %q:\n%s", what, k.want, end.raw)
		}
		if asked := strings.Count(strings.Join(p.between.heard(), ", "), "GET diff"); what == "half a list" && asked != 1+fetchTries {
			t.Errorf("%s: the list was asked for %d times", what, asked)
		}
		p.still(made)
		if end.Header.Get("x-ms-copy-completion-time") == "" {
			t.Errorf("%s: no end:\n%s", what, end.raw)
		}
		p.between.spoils(nil)
		made2 := p.copied("c", "a", id)
		if got := p.pageList(p.to, "c", made2, ""); got != "+1-6 " {
			t.Errorf("%s: pages of the next copy %s", what, got)
		}
		p.unchanged(made)
		p.do(p.to, "DELETE", "disks/c", nil, "x-ms-delete-snapshots: include")
		p.write("a", 0, pages(4*512, 'a'))
		p.clear("a", 4, 16)
		made = p.copied("c", "a", p.snapshot("a"))
	}
	// One bad answer is none, if the next is good.
	p.write("a", 8, pages(512, 'x'))
	id, cut := p.snapshot("a"), 0
	p.between.spoils(func(_ int, asked string) spoil {
		if cut++; asked == "GET" && cut < 7 {
			return cutOff
		}
		return nil
	})
	p.copied("c", "a", id)
	p.write("a", 9, pages(512, 'y'))
	id, cut = p.snapshot("a"), 0
	p.between.spoils(func(_ int, asked string) spoil {
		if asked == "GET diff" {
			if cut++; cut == 2 || cut == 3 { // after the question whether there are differences
				return cutOff
			}
		}
		return nil
	})
	p.copied("c", "a", id)
	if heard := strings.Join(p.between.heard(), ", "); heard != "HEAD, GET never, GET diff, GET diff, GET diff, GET diff, GET" {
		t.Errorf("with a list that was cut off twice the source was asked %s", heard)
	}
}

// TestIncrementalFromServerAborted: a copy that is pending holds the destination, says how far it is, and can be ended.
func TestIncrementalFromServerAborted(t *testing.T) {
	p, _, made := following(t)
	p.clear("a", 0, 1)
	p.write("a", 4, pages(512, 'b'))
	p.write("a", 12, pages(512, 'c'))
	id := p.snapshot("a")
	asked, goOn := make(chan bool, 10), make(chan bool)
	n := 0
	p.between.spoils(func(_ int, what string) spoil {
		if what != "GET" {
			return nil
		}
		if n++; n == 1 {
			return nil
		}
		return func(*http.Response) error {
			asked <- true
			<-goOn
			return nil
		}
	})
	a := p.start("c", p.source("a", id))
	a.want(t, 202, "")
	<-asked
	now := p.do(p.to, "HEAD", "disks/c", nil)
	if now.Header.Get("x-ms-copy-status") != "pending" || now.Header.Get("x-ms-copy-progress") != "2560/8192" {
		t.Errorf("while it is pending: %s", now.raw)
	}
	p.still(made)
	p.start("c", p.source("a", id)).want(t, 409, "PendingCopyOperation")
	p.to.do(t, call{method: "DELETE", path: "disks/c", header: []string{"x-ms-delete-snapshots: include"}}).want(t, 409, "PendingCopyOperation")
	abort := call{method: "PUT", path: "disks/c?comp=copy&copyid=" + a.Header.Get("x-ms-copy-id"), header: []string{"x-ms-copy-action: abort"}}
	p.to.do(t, abort).want(t, 204, "")
	close(goOn)
	now = p.do(p.to, "HEAD", "disks/c", nil)
	if now.Header.Get("x-ms-copy-status") != "aborted" || now.Header.Get("x-ms-incremental-copy") != "true" {
		t.Errorf("aborted: %s", now.raw)
	}
	p.still(made)
	p.to.do(t, abort).want(t, 409, "NoPendingCopyOperation")
	p.to.do(t, call{method: "GET", path: "disks/c"}).want(t, 409, "OperationNotAllowedOnIncrementalCopyBlob")
	p.between.spoils(nil)
	next := p.copied("c", "a", id)
	if got := p.pageList(p.to, "c", next, ""); got != "+1-5 +12-13 " {
		t.Errorf("pages of the next copy: %s", got)
	}
	p.unchanged(made)
	if heard := p.between.heard(); !strings.Contains(strings.Join(heard, ","), "GET pages") {
		t.Errorf("after a copy that came to nothing all pages are wanted: %v", heard)
	}
}

// TestSnapshotAt: how the blob of a URL is called.
func TestSnapshotAt(t *testing.T) {
	at := "2026-01-02T03:04:05.1234567Z"
	for source, want := range map[string]string{
		"http://h/c/b?snapshot=" + at:                "//h/c/b",
		"https://H:443/c/b?snapshot=" + at:           "//h/c/b",
		"HTTP://h:80/c/%62?a=b&snapshot=" + at:       "//h/c/b",
		"http://h:443/c/b?snapshot=" + at + "&sig=x": "//h:443/c/b",
		"http://[::1]:80/c/b c?snapshot=" + at:       "//[::1]/c/b c",
		"http://h/c/b%2Fd?snapshot=" + at:            "//h/c/b/d",
		"http://h/c/b?snapshot=" + at[:19] + "Z":     "//h/c/b",
		"http://h/c/b?snapshot=x":                    "",
		"http://h/c/b":                               "",
		"http://h?snapshot=" + at:                    "",
		"http://h/c/%zz?snapshot=" + at:              "",
	} {
		name, id, err := snapshotAt(source)
		if name != want || (err == nil) != (want != "") {
			t.Errorf("%s: %s, %v, want %s", source, name, err, want)
		}
		if wantID := at; err == nil && id != wantID && id != at[:19]+".0000000Z" {
			t.Errorf("%s: %s", source, id)
		}
	}
}

// TestIncrementalFromServerBusy: a request whose place another has taken while it waited for the source does not go on without.
func TestIncrementalFromServerBusy(t *testing.T) {
	p, _, made := following(t)
	p.clear("a", 0, 1)
	id := p.snapshot("a")
	for what, answer := range map[string]spoil{
		"the source tells differences":       func(*http.Response) error { return nil },
		"the snapshot copied last is gone":   says(409, "PreviousSnapshotNotFound"), // and the blob was made when it was
		"the source tells of no differences": says(501, "NotImplemented"),
	} {
		p.between.spoils(func(_ int, asked string) spoil {
			if asked != "GET diff" {
				return nil
			}
			return func(resp *http.Response) error {
				if !p.to.slots.Acquire(pairRequests, patience) {
					return errors.New("the places are not to be had")
				}
				return answer(resp)
			}
		})
		a := p.start("c", p.source("a", id))
		if a.StatusCode != 503 || a.Header.Get("x-ms-error-code") != "ServerBusy" {
			t.Errorf("%s: %s%s", what, a.raw, a.body)
		}
		p.to.slots.Release(pairRequests)
		p.between.spoils(nil)
		p.to.settled(t, "disks/c")
		p.still(made)
	}
	p.copied("c", "a", id)
}
