package bench

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
)

// endpoint is where an account's blobs are.
type endpoint struct {
	tls       bool
	addr      string // host:port to dial
	host      string // for the Host header
	prefix    string // of every path: "/account" when the account is in the path, else empty
	container string // path of the only container that sas lets in; empty: any may be made
	sas       string // query of a shared access signature, as it is sent with every request; empty: requests are signed
}

// parseEndpoint reads the URL of a Blob service, as it stands in a connection string, or one with a shared access
// signature: of the account, or of a container. Where the account belongs into the path (an IP address or a name without
// dots) and is missing there, it is added.
func parseEndpoint(text, account string) (endpoint, error) {
	u, err := url.Parse(text)
	if err != nil {
		return endpoint{}, fmt.Errorf("%q is not a URL", withoutQuery(text))
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil {
		return endpoint{}, fmt.Errorf("%q is not the URL of a Blob endpoint, such as http://127.0.0.1:10000/%s", withoutQuery(text), account)
	}
	e := endpoint{tls: u.Scheme == "https", host: u.Host, addr: u.Host, prefix: strings.TrimRight(u.EscapedPath(), "/")}
	if u.Port() == "" {
		e.addr = net.JoinHostPort(u.Hostname(), map[bool]string{false: "80", true: "443"}[e.tls])
	}
	if u.RawQuery != "" {
		if err := e.readSAS(u); err != nil {
			return endpoint{}, fmt.Errorf("%q: %w", withoutQuery(text), err)
		}
	}
	inPath := net.ParseIP(u.Hostname()) != nil || !strings.Contains(u.Hostname(), ".")
	if e.container != "" && inPath && e.prefix == "" {
		return endpoint{}, fmt.Errorf("%q: %w", withoutQuery(text), errNoContainer)
	}
	if e.prefix == "" && inPath {
		e.prefix = "/" + account
	}
	return e, nil
}

var errNoContainer = errors.New("the shared access signature is of a container, but the URL names none")

// readSAS takes the signature, and what it is for.
func (e *endpoint) readSAS(u *url.URL) error {
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil || q.Get("sig") == "" {
		return errors.New("the URL has a query that is no shared access signature")
	}
	e.sas = u.RawQuery
	switch {
	case q.Get("srt") != "": // of the account
		return nil
	case q.Get("sr") == "c":
		if e.prefix == "" {
			return errNoContainer
		}
		i := strings.LastIndexByte(e.prefix, '/')
		e.container, e.prefix = e.prefix, strings.TrimRight(e.prefix[:i], "/")
		return nil
	}
	return errors.New("the shared access signature is neither of the account nor of a container")
}

// withoutQuery cuts off what may be secret.
func withoutQuery(text string) string {
	text, _, _ = strings.Cut(text, "?")
	return text
}
