package server

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"pagevault/internal/azure/xmlbody"
)

// TestAuthentication shows who is let in, and what everybody else is told.
func TestAuthentication(t *testing.T) {
	ts := start(t, nil)
	ts.makeBlob(t, 4096)
	f := func(status int, code string, c call) answer {
		t.Helper()
		if c.method == "" {
			c.method = "GET"
		}
		if c.path == "" {
			c.path = "disks/b"
		}
		a := ts.do(t, c)
		a.want(t, status, code)
		return a
	}
	h := func(lines ...string) call { return call{header: lines} }

	f(200, "", h())

	// Nobody.
	a := f(401, "NoAuthenticationInformation", call{unsigned: true})
	if got := a.Header.Get("WWW-Authenticate"); !strings.HasPrefix(got, "Bearer authorization_uri=https://") || !strings.Contains(got, " resource_id=") {
		t.Errorf("WWW-Authenticate: %q", got)
	}
	f(404, "ResourceNotFound", call{unsigned: true, header: []string{"x-ms-version: 2019-07-07"}})

	// Somebody with credentials that we do not take.
	a = f(400, "InvalidAuthenticationInfo", h("Authorization: Bearer eyJ0eXAi"))
	if !strings.Contains(string(a.body), "Bearer tokens are not supported") {
		t.Errorf("not said why:\n%s", a.body)
	}
	a = f(403, "AuthenticationFailed", call{unsigned: true, path: "disks/b?sv=2026-12-06&sig=AAAA&sr=b&sp=r"})
	if !strings.Contains(string(a.body), "Signature is not well formed") {
		t.Errorf("not said why:\n%s", a.body)
	}
	f(400, "InvalidAuthenticationInfo", h("Authorization: Basic YTpi"))
	f(400, "InvalidAuthenticationInfo", h("Authorization: SharedKey"))
	f(400, "InvalidAuthenticationInfo", h("Authorization: SharedKey devstoreaccount1"))
	f(400, "InvalidAuthenticationInfo", h("Authorization:"))

	// A wrong signature, and one for somebody else.
	a = f(403, "AuthenticationFailed", h("Authorization: SharedKey devstoreaccount1:AAAA"))
	if !strings.Contains(string(a.body), "<AuthenticationErrorDetail>") || !strings.Contains(string(a.body), "/devstoreaccount1/devstoreaccount1/disks/b") {
		t.Errorf("the string to sign is not told:\n%s", a.body)
	}
	f(403, "AuthenticationFailed", h("Authorization: SharedKey other:AAAA"))

	// Clocks: a quarter of an hour either way.
	at := func(d time.Duration) string {
		return "x-ms-date: " + time.Now().UTC().Add(d).Format(http.TimeFormat)
	}
	f(200, "", h(at(-14*time.Minute)))
	f(200, "", h(at(14*time.Minute)))
	f(403, "AuthenticationFailed", h(at(-16*time.Minute)))
	f(403, "AuthenticationFailed", h(at(16*time.Minute)))
	f(403, "AuthenticationFailed", h("x-ms-date: yesterday"))

	// No such account. Its name is in the path, so the signature does not matter.
	w := ts.dial(t)
	w.send([]byte("GET /nobody/disks/b HTTP/1.1\r\nHost: 127.0.0.1\r\nx-ms-version: 2026-12-06\r\n\r\n"))
	w.recv("GET").want(t, 404, "ResourceNotFound")
}

// TestVersion shows which versions are taken and what is echoed.
func TestVersion(t *testing.T) {
	ts := start(t, nil)
	ts.makeBlob(t, 4096)
	f := func(version string, status int, code, echo string) {
		t.Helper()
		a := ts.do(t, call{method: "GET", path: "disks/b", header: []string{"x-ms-version: " + version}})
		a.want(t, status, code)
		if got := a.Header.Get("x-ms-version"); got != echo {
			t.Errorf("version %q: the reply says %q, want %q", version, got, echo)
		}
	}
	newest := string(newestVersion)
	f("2009-09-19", 200, "", "2009-09-19")
	f("2021-12-02", 200, "", "2021-12-02")
	f("2099-12-31", 200, "", "2099-12-31")
	f("2009-09-18", 400, "InvalidHeaderValue", newest)
	f("2021-13-02", 400, "InvalidHeaderValue", newest)
	f("2021-12-32", 400, "InvalidHeaderValue", newest)
	f("2021-00-01", 400, "InvalidHeaderValue", newest)
	f("2021-12-2", 400, "InvalidHeaderValue", newest)
	f("2021/12/02", 400, "InvalidHeaderValue", newest)
	f("latest", 400, "InvalidHeaderValue", newest)
	f("", 400, "InvalidHeaderValue", newest)

	// Without a version a signed request is refused, until the account's owner sets one.
	lines := []string{"Host: 127.0.0.1", "x-ms-date: " + time.Now().UTC().Format(http.TimeFormat)}
	path := "/" + testAccount + "/disks/b"
	send := func() answer {
		w := ts.dial(t)
		w.send(fmt.Appendf(nil, "GET %s HTTP/1.1\r\n%s\r\nAuthorization: %s\r\n\r\n", path, strings.Join(lines, "\r\n"), sign(t, "GET", path, lines)))
		return w.recv("GET")
	}
	send().want(t, 400, "MissingRequiredHeader")
	account, _ := ts.o.Service.Account(testAccount)
	version := "2020-10-02"
	if err := account.SetServiceProperties(&xmlbody.ServicePropertiesUpdate{DefaultServiceVersion: &version}); err != nil {
		t.Fatal(err)
	}
	a := send()
	a.want(t, 200, "")
	if got := a.Header.Get("x-ms-version"); got != version {
		t.Errorf("the reply says version %q, want %q", got, version)
	}
}

// TestClientRequestID shows that the id a client gives comes back byte by byte, or not at all.
func TestClientRequestID(t *testing.T) {
	ts := start(t, nil)
	f := func(id, want string) {
		t.Helper()
		for _, c := range []call{{method: "GET", path: "?comp=list"}, {method: "GET", path: "nowhere/b"}, {method: "GET", path: "?comp=list", unsigned: true}} {
			c.header = []string{"x-ms-client-request-id: " + id}
			a := ts.do(t, c)
			if got, has := a.Header["X-Ms-Client-Request-Id"]; has != (want != "") || has && got[0] != want {
				t.Errorf("%s %s with id %.40q: got %q, want %.40q", c.method, c.path, id, got, want)
			}
		}
	}
	f("9C4d50EE-2D56-4CD3-8152-34347DC9F2B0", "9C4d50EE-2D56-4CD3-8152-34347DC9F2B0")
	f(`with "quotes", spaces & <tags>`, `with "quotes", spaces & <tags>`)
	f(strings.Repeat("a", 1024), strings.Repeat("a", 1024))
	f(strings.Repeat("a", 1025), "")
	f("caf\xc3\xa9", "")
	f("", "")
}

// TestSecondary shows that the second address of an account can be read and not written.
func TestSecondary(t *testing.T) {
	ts := start(t, nil)
	ts.makeBlob(t, 4096)
	f := func(method, path string, lines []string, status int, code string) {
		t.Helper()
		lines = append([]string{"Host: 127.0.0.1", "x-ms-version: 2026-12-06", "x-ms-date: " + time.Now().UTC().Format(http.TimeFormat)}, lines...)
		path = "/" + testAccount + "-secondary/" + path
		w := ts.dial(t)
		w.send(fmt.Appendf(nil, "%s %s HTTP/1.1\r\n%s\r\nAuthorization: %s\r\n\r\n", method, path, strings.Join(lines, "\r\n"), sign(t, method, path, lines)))
		w.recv(method).want(t, status, code)
	}
	f("GET", "disks/b", nil, 200, "")
	f("HEAD", "disks/b", nil, 200, "")
	f("GET", "?comp=list", nil, 200, "")
	f("PUT", "disks/b?comp=page", []string{"x-ms-page-write: clear", "x-ms-range: bytes=0-511"}, 403, "InsufficientAccountPermissions")
	f("DELETE", "disks/b", nil, 403, "InsufficientAccountPermissions")
}

// TestHostStyle addresses the account by the host name.
func TestHostStyle(t *testing.T) {
	ts := start(t, nil)
	ts.makeBlob(t, 4096)
	f := func(host, path, inXML string) {
		t.Helper()
		lines := []string{"Host: " + host, "x-ms-version: 2026-12-06", "x-ms-date: " + time.Now().UTC().Format(http.TimeFormat)}
		w := ts.dial(t)
		w.send(fmt.Appendf(nil, "GET %s HTTP/1.1\r\n%s\r\nAuthorization: %s\r\n\r\n", path, strings.Join(lines, "\r\n"), sign(t, "GET", path, lines)))
		a := w.recv("GET")
		a.want(t, 200, "")
		if !strings.Contains(string(a.body), inXML) {
			t.Errorf("%s%s: no %q in\n%s", host, path, inXML, a.body)
		}
	}
	f("devstoreaccount1.blob.localhost:10000", "/disks?restype=container&comp=list", `ServiceEndpoint="http://devstoreaccount1.blob.localhost:10000/"`)
	f("devstoreaccount1.blob.localhost:10000", "/disks/b", "\x00")
	f("storage.example.org:81", "/devstoreaccount1/disks?restype=container&comp=list", `ServiceEndpoint="http://storage.example.org:81/devstoreaccount1/"`)
}
