package server

import (
	"bytes"
	"net/url"
	"slices"
	"unicode/utf8"

	"pagevault/internal/azure/azerr"
)

// secondarySuffix marks the read-only second address of an account.
const secondarySuffix = "-secondary"

// target is what a request is addressed to. Its byte slices are borrowed from the request.
type target struct {
	rawPath  []byte // as received, still encoded: what is signed
	rawQuery []byte // as received, without the question mark

	account   []byte // without -secondary
	inPath    []byte // the account as the path begins with it; nil: it was taken from the host name
	secondary bool
	segments  int  // 0: the service, 1: a container, or a blob of $root, 2: a blob
	slash     bool // the one segment has a slash behind it, so it is not a blob
	container string
	blob      string
}

// addressing decides how an address is read.
type addressing struct {
	hostStyle bool                   // account.blob.anything is read as an address of that account
	suffixes  []string               // account.suffix is too, whether there is such an account or not; in lower case
	known     func(name []byte) bool // is there such an account
}

// parse reads the request target and the Host header. It neither collapses slashes nor resolves dots: "a//b" and
// "a/../b" are names of blobs. Unreadable targets are InvalidUri.
func (t *target) parse(uri, host []byte, a addressing) error {
	*t = target{}
	uri, host = stripOrigin(uri, host)
	if bytes.IndexByte(uri, '#') >= 0 {
		return azerr.InvalidUri
	}
	t.rawPath = uri
	if i := bytes.IndexByte(uri, '?'); i >= 0 {
		t.rawPath, t.rawQuery = uri[:i], uri[i+1:]
	}
	if len(t.rawPath) == 0 {
		t.rawPath = slash
	}
	if t.rawPath[0] != '/' {
		return azerr.InvalidUri
	}
	rest := t.rawPath[1:]
	if name, ok := accountOfHost(host, a); ok {
		t.setAccount(name)
	} else {
		var name []byte
		name, rest = cutSegment(rest)
		t.inPath = name
		t.setAccount(name)
	}
	return t.parseNames(rest)
}

var slash = []byte{'/'}

// parseNames reads what follows the account: nothing, container, or container/blob.
func (t *target) parseNames(rest []byte) error {
	if len(rest) == 0 {
		return nil
	}
	t.segments = 1
	container := rest
	if i := bytes.IndexByte(rest, '/'); i >= 0 {
		container, t.slash = rest[:i], true
		if blob := rest[i+1:]; len(blob) > 0 {
			t.segments, t.slash = 2, false
			var ok bool
			if t.blob, ok = unescape(blob); !ok {
				return azerr.InvalidUri
			}
		}
	}
	var ok bool
	if t.container, ok = unescape(container); !ok {
		return azerr.InvalidUri
	}
	if t.container == "" {
		return azerr.InvalidUri
	}
	return nil
}

// setAccount takes the account as it stands in the address.
func (t *target) setAccount(name []byte) {
	name, t.secondary = bytes.CutSuffix(name, []byte(secondarySuffix))
	t.account = name
}

// stripOrigin turns the absolute form of a request target, as sent to proxies, into the usual one.
func stripOrigin(uri, host []byte) (path, authority []byte) {
	if len(uri) > 0 && uri[0] == '/' {
		return uri, host
	}
	_, rest, ok := bytes.Cut(uri, []byte("://"))
	if !ok {
		return uri, host
	}
	if i := bytes.IndexAny(rest, "/?#"); i >= 0 {
		return rest[i:], rest[:i]
	}
	return nil, rest
}

// accountOfHost returns the first label of a host name of the form account.suffix or account.blob.anything. Of the latter
// only the name of an account that exists counts: Docker service names and proxies bring dots of their own.
func accountOfHost(host []byte, a addressing) ([]byte, bool) {
	if !a.hostStyle {
		return nil, false
	}
	label, rest, ok := bytes.Cut(host, []byte{'.'})
	suffixed := len(label) > 0 && a.suffixed(rest)
	if !ok || !suffixed && (len(rest) < len("blob.") || !bytes.EqualFold(rest[:len("blob.")], []byte("blob."))) {
		return nil, false
	}
	label = bytes.ToLower(label)
	if suffixed {
		return label, true
	}
	if !a.known(label) && !a.known(bytes.TrimSuffix(label, []byte(secondarySuffix))) {
		return nil, false
	}
	return label, true
}

// suffixed reports whether what follows the first label of a host name is a configured suffix, with or without a port.
func (a *addressing) suffixed(rest []byte) bool {
	if len(a.suffixes) == 0 {
		return false
	}
	name, _, _ := bytes.Cut(rest, []byte{':'})
	return slices.ContainsFunc(a.suffixes, func(s string) bool { return bytes.EqualFold(name, []byte(s)) })
}

// cutSegment splits at the first slash, which it drops.
func cutSegment(p []byte) (segment, rest []byte) {
	if i := bytes.IndexByte(p, '/'); i >= 0 {
		return p[:i], p[i+1:]
	}
	return p, nil
}

// unescape decodes the percent escapes of a piece of path; a plus is a plus. It is false for broken escapes and for
// what is not UTF-8 once decoded.
func unescape(p []byte) (string, bool) {
	decoded, err := url.PathUnescape(string(p))
	return decoded, err == nil && utf8.ValidString(decoded)
}
