package server

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// What requests of TestWhoGetsThrough take to succeed, besides credentials.

// heldContainers are names of containers that have immutable storage.
func heldContainers() (names []string) {
	for i := range 500 {
		names = append(names, fmt.Sprintf("held%d", i))
	}
	return names
}

// freshFor makes a container for a case.
func (s *authServer) freshFor(t *testing.T, c *authCase) (container, at string) {
	t.Helper()
	if !c.held {
		return s.fresh(t, "")
	}
	s.made, s.held = s.made+1, s.held+1
	container = heldContainers()[s.held]
	return container, s.fill(t, container, "", byKey(thirdKey))
}

// allowBrowsers has preflights answered.
func (s *authServer) allowBrowsers(t *testing.T) {
	t.Helper()
	c := authCase{query: "restype=service&comp=properties", body: "<StorageServiceProperties><Cors><CorsRule><AllowedOrigins>http://example.org</AllowedOrigins>" +
		"<AllowedMethods>GET</AllowedMethods><AllowedHeaders/><ExposedHeaders/><MaxAgeInSeconds>5</MaxAgeInSeconds></CorsRule></Cors></StorageServiceProperties>"}
	s.succeed(t, byKey(firstKey)(c.request("PUT")))
}

// succeed sends a request that must succeed.
func (s *authServer) succeed(t *testing.T, r *authRequest) *answer {
	t.Helper()
	a := s.ask(t, r)
	if a.StatusCode >= 300 {
		t.Fatalf("%s %s%s: %s%s", r.method, r.path, r.query, a.raw, a.body)
	}
	return a
}

// leased leases the container or the blob.
func leased(t *testing.T, s *authServer, c *authCase, _ string) {
	t.Helper()
	lease := authCase{path: c.path, query: c.query, header: lines("x-ms-lease-action: acquire|x-ms-lease-duration: -1")}
	s.succeed(t, byKey(thirdKey)(lease.request("PUT")))
}

// deleted deletes the container, and tells the request which one that was.
func deleted(t *testing.T, s *authServer, c *authCase, container string) {
	t.Helper()
	remove := authCase{path: container, query: "restype=container"}
	s.succeed(t, byKey(thirdKey)(remove.request("DELETE")))
	list := authCase{query: "comp=list&include=deleted&prefix=" + container}
	_, rest, _ := strings.Cut(string(s.succeed(t, byKey(thirdKey)(list.request("GET"))).body), "<Version>")
	version, _, ok := strings.Cut(rest, "</Version>")
	if !ok {
		t.Fatalf("no version of %s is deleted", container)
	}
	c.header = lines("x-ms-deleted-container-name: " + container + "|x-ms-deleted-container-version: " + version)
}

// readable gives the URL of the source a token: that the destination can be written says nothing of the source.
func readable(_ *testing.T, _ *authServer, c *authCase, _ string) {
	i := slices.IndexFunc(c.header, func(h string) bool { return strings.HasPrefix(h, "x-ms-copy-source: ") })
	signed := accountToken("o", "r").credential()(&authRequest{})
	query := signed.query
	if strings.Contains(c.header[i], "?") {
		query = "&" + query[1:]
	}
	c.header[i] += query
}

// appendable makes the blob one that can be appended to, and is readable for the source.
func appendable(t *testing.T, s *authServer, c *authCase, container string) {
	t.Helper()
	create := authCase{path: c.path, header: lines("x-ms-blob-type: AppendBlob")}
	s.succeed(t, byKey(thirdKey)(create.request("PUT")))
	readable(t, s, c, container)
}

// pending begins a copy of the blob from a source that tells its size and no more, and tells the request which copy it is.
func pending(t *testing.T, s *authServer, c *authCase, _ string) {
	t.Helper()
	source := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"0x8D0000000000001"`)
		w.Header().Set("x-ms-blob-type", "PageBlob")
		w.Header().Set("Content-Length", "1024")
		if r.Method != http.MethodHead {
			<-r.Context().Done()
		}
	}))
	t.Cleanup(source.Close)
	begin := authCase{path: c.path, header: lines("x-ms-copy-source: " + source.URL + "/c/b")}
	a := s.succeed(t, byKey(thirdKey)(begin.request("PUT")))
	c.query = "comp=copy&copyid=" + a.Header.Get("x-ms-copy-id")
}
