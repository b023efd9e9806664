package server

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestCopySourceQuery: what the URL of a source elsewhere asks of its server is the blob, and no list that the server adds its
// own questions to.
func TestCopySourceQuery(t *testing.T) {
	asked := make(chan string, 100)
	web := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked <- r.URL.RawQuery }))
	defer web.Close()
	ts := start(t, func(o *Options) { o.CopySourceAllow = []string{"127.0.0.1"} })
	ts.makeBlob(t, 4096)
	calls := func(query string) []call {
		source := web.URL + "/a/b/c?" + query
		all := from(source, "")
		return append(all[:], call{method: "PUT", path: "disks/inc?comp=incrementalcopy", header: []string{"x-ms-copy-source: " + source + "&snapshot=" + neverTaken}})
	}
	for _, p := range []string{"prevsnapshot=2026-01-02T03:04:05.1234567Z", "PREVSNAPSHOT=2026-01-02T03:04:05.1234567Z", "%70revsnapshot=x", "prevsnapshot",
		"marker=M", "Marker=M", "mar%6ber=M", "maxresults=1", "MaxResults=1", "comp=pagelist", "Comp=metadata", "com%50=x", "restype=container", "RESTYPE=container", "a=%zz"} {
		for _, query := range []string{p, "sv=2021-12-02&" + p + "&sig=secret"} {
			for _, c := range calls(query) {
				a := ts.do(t, c)
				a.want(t, 400, "InvalidHeaderValue")
				if !strings.Contains(string(a.body), "<HeaderName>x-ms-copy-source</HeaderName>") || strings.Contains(a.raw+string(a.body), "secret") {
					t.Errorf("%s: %s%s", c.path, a.raw, a.body)
				}
			}
		}
	}
	select {
	case q := <-asked:
		t.Fatalf("the source was asked for %s", q)
	default:
	}
	for _, c := range calls("sv=2021-12-02&timeout=5&rsct=x&sig=secret") { // which are those of a read
		ts.do(t, c)
		<-asked
	}
}

// TestCopySourceShown: the destination says which snapshot its source was, however the URL says so.
func TestCopySourceShown(t *testing.T) {
	const at = "2026-01-02T03:04:05.1234567Z"
	for query, want := range map[string]string{
		"":                                       "",
		"?":                                      "",
		"?snapshot=" + at:                        "?snapshot=" + at,
		"?sig=secret&Snapshot=" + at:             "?Snapshot=" + at,
		"?%73napshot=" + at + "&sig=secret":      "?%73napshot=" + at,
		"?VersionId=" + at + "&%zz=secret":       "?VersionId=" + at,
		"?s%69g=secret&versionid=" + at + "&a=b": "?versionid=" + at,
	} {
		if got := shownURL([]byte("https://h/c/b" + query)); got != "https://h/c/b"+want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
	p := newPair(t)
	p.create("a", 4)
	for _, name := range []string{"Snapshot", "%73napshot"} {
		source := p.source("a", "") + "&" + name + "=" + p.snapshot("a")
		p.start("c", source).want(t, 202, "")
		a := p.to.settled(t, "disks/c")
		if _, query, _ := strings.Cut(a.Header.Get("x-ms-copy-source"), "?"); a.Header.Get("x-ms-copy-status") != "success" || !strings.HasSuffix(source, "&"+query) || query == "" {
			t.Errorf("%s", a.raw)
		}
	}
}
