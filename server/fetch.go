package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"pagevault/blobstore"
	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/header"
)

// What a client names in x-ms-copy-source this server goes and reads, from where it stands: behind the firewall, beside
// the metadata service of its cloud. So addresses that are not of the public internet are refused unless the operator
// has allowed them, and so are ports other than those of HTTP. The address that counts is the one that is dialled, at the
// moment it is: a name that resolves to another one the second time gains nothing. No proxy is asked, for it would look
// names up itself; no redirect is followed; nothing of the request but its conditions is passed on, and the bearer token
// that it brought for the source.

// fetcher reads sources that are not on this server.
type fetcher struct {
	client  *http.Client
	allowed []netip.Prefix  // addresses that are allowed although they are not public, any port
	hosts   map[string]bool // host names, in lower case, that are allowed wherever they lead
	agent   string
	listed  int             // entries of a list of pages that are asked for at a time
	ctx     context.Context // of what requests wait for: theirs is used again before a dialler has let go of it
	stop    context.CancelFunc
}

const (
	fetchDial    = 10 * time.Second // to connect, TLS aside
	fetchTime    = 60 * time.Second // for a request as a whole: at most 4 MiB
	fetchHeaders = 64 << 10         // of a reply, together
	fetchList    = 4 << 20          // of a list of pages: it has sourcePagesMax entries
	fetchTries   = 3                // of a copy that has begun, for a source that fails for now
	fetchVersion = "2021-12-02"     // of the service that the source is taken for; pages lists of pages

	sourcePagesMax = 10_000 // entries in one list of pages
)

// remoteSource is where a source is and what opens it. It is never logged or stored.
type remoteSource struct {
	url   string
	token string // the Authorization header of its reads; "": none
	etag  string // of the one state that is read; "": of whichever there is
}

// overTLS reports whether nobody on the way can read what is said to the source.
func (s *remoteSource) overTLS() bool {
	const scheme = "https://"
	return len(s.url) >= len(scheme) && strings.EqualFold(s.url[:len(scheme)], scheme)
}

// host returns the host of the source, without its port; "" if there is none.
func (s *remoteSource) host() string {
	u, err := url.Parse(s.url)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// with returns the source with more parameters.
func (s remoteSource) with(query string) remoteSource {
	s.url = withQuery(s.url, query)
	return s
}

var errForbidden = errors.New("the address or port is not one that sources are read from")

// newFetcher returns a fetcher that may also go where allow says: networks, addresses and host names.
func newFetcher(allow []string, agent string) (*fetcher, error) {
	f := &fetcher{hosts: map[string]bool{}, agent: agent, listed: listedPages}
	f.ctx, f.stop = context.WithCancel(context.Background())
	if err := f.allow(allow); err != nil {
		return nil, err
	}
	f.client = &http.Client{
		Timeout:       fetchTime,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy:                  nil, // not that of the environment
			DialContext:            f.dial,
			TLSHandshakeTimeout:    fetchDial,
			ResponseHeaderTimeout:  fetchTime / 2,
			MaxResponseHeaderBytes: fetchHeaders,
			DisableCompression:     true, // the bytes as they are
			MaxConnsPerHost:        64,
			MaxIdleConns:           64,
			MaxIdleConnsPerHost:    8,
			IdleConnTimeout:        fetchTime,
		},
	}
	return f, nil
}

// CheckCopySources returns what is wrong with Options.CopySourceAllow.
func CheckCopySources(allow []string) error {
	f := &fetcher{hosts: map[string]bool{}}
	return f.allow(allow)
}

// allow adds what addresses and hosts are allowed.
func (f *fetcher) allow(names []string) error {
	for _, a := range names {
		if p, err := netip.ParsePrefix(a); err == nil {
			f.allowed = append(f.allowed, p.Masked())
		} else if ip, err := netip.ParseAddr(a); err == nil {
			f.allowed = append(f.allowed, netip.PrefixFrom(ip.Unmap(), ip.Unmap().BitLen()))
		} else if name := strings.ToLower(strings.TrimSuffix(a, ".")); hostName(name) {
			f.hosts[name] = true
		} else {
			return fmt.Errorf("%q is neither a network, such as 10.0.0.0/8, nor an address, nor a host name", a)
		}
	}
	return nil
}

// names reports whether a host is allowed by its name or its address, and not only with the network that it is in.
func (f *fetcher) names(host string) bool {
	if f.hosts[strings.ToLower(strings.TrimSuffix(host, "."))] {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && slices.Contains(f.allowed, netip.PrefixFrom(ip.Unmap(), ip.Unmap().BitLen()))
}

// hostName reports whether name can be a host's.
func hostName(name string) bool {
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '.' && c != '_' {
			return false
		}
	}
	return name != "" && name[0] != '.' && len(name) < 254
}

// dial connects, if the address that the name has led to is one that is allowed.
func (f *fetcher) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	d := net.Dialer{Timeout: fetchDial}
	if !f.hosts[strings.ToLower(strings.TrimSuffix(host, "."))] {
		d.ControlContext = func(_ context.Context, _, address string, _ syscall.RawConn) error {
			at, err := netip.ParseAddrPort(address)
			if err != nil || !f.permits(at) {
				return errForbidden
			}
			return nil
		}
	}
	return d.DialContext(ctx, network, addr)
}

// permits reports whether an address may be connected to.
func (f *fetcher) permits(at netip.AddrPort) bool {
	ip := at.Addr().Unmap().WithZone("")
	for _, p := range f.allowed {
		if p.Contains(ip) {
			return true
		}
	}
	return (at.Port() == 80 || at.Port() == 443) && publicAddress(ip)
}

// publicAddress reports whether an address, unmapped, is one of the public internet.
func publicAddress(ip netip.Addr) bool {
	if ip.Is6() && !globalUnicast6.Contains(ip) {
		return false // all else is loopback, private, link-local, multicast, mapped, translated or reserved
	}
	for _, p := range special {
		if p.Contains(ip) {
			return false
		}
	}
	return ip.IsValid()
}

var globalUnicast6 = netip.MustParsePrefix("2000::/3")

// special are the networks that are not of the public internet, by the IANA's registries of special-purpose addresses; of
// IPv6 those within 2000::/3. Those that stand for an IPv4 address are here whatever it is.
var special = func() (all []netip.Prefix) {
	for _, p := range [...]string{
		"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
		"192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24",
		"198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
		"168.63.129.16/32",                                     // Azure's host, as virtual machines see it
		"2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", // Teredo and other protocols, documentation, 6to4
		"2620:4f:8000::/48", // AS112
	} {
		all = append(all, netip.MustParsePrefix(p))
	}
	return all
}()

// remoteError is the answer of a source that is not what was hoped for.
type remoteError struct {
	status int    // as the client is to see it; 0: there was no answer
	code   string // x-ms-error-code; "": none
	text   string
	cause  error
}

func (e *remoteError) Error() string {
	if e.cause != nil {
		return e.text + ": " + e.cause.Error()
	}
	return e.text
}

// again reports whether it may go better the next time.
func (e *remoteError) again() bool {
	return e.status == 0 || e.status == http.StatusTooManyRequests || e.status >= 500
}

// get sends a request for a source. The reply has one of the statuses wanted; its body must be closed. An error is a
// *remoteError, and says nothing of the URL.
func (f *fetcher) get(ctx context.Context, method string, source remoteSource, headers map[string]string, want ...int) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, source.url, nil)
	if err != nil {
		return nil, &remoteError{status: http.StatusBadRequest, text: "The URL of the source cannot be used."}
	}
	req.Header.Set("User-Agent", f.agent)
	req.Header.Set("Accept-Encoding", "identity")
	req.Header.Set("x-ms-version", fetchVersion)
	if source.token != "" {
		req.Header.Set("Authorization", source.token)
	}
	if source.etag != "" {
		req.Header.Set("If-Match", source.etag)
	}
	for name, value := range headers {
		req.Header.Set(name, value)
	}
	resp, err := f.client.Do(req)
	var inURL *url.Error
	if errors.As(err, &inURL) {
		err = inURL.Err // without the URL, which may have a signature
	}
	switch {
	case errors.Is(err, errForbidden):
		return nil, &remoteError{status: http.StatusForbidden, text: "The server does not read sources from that address or port.", cause: errForbidden}
	case err != nil:
		return nil, &remoteError{text: "The source could not be reached.", cause: err}
	}
	for _, status := range want {
		if resp.StatusCode == status && source.is(resp) {
			return resp, nil
		}
	}
	defer resp.Body.Close()
	if !source.is(resp) { // it passes conditions over
		return nil, &remoteError{status: http.StatusPreconditionFailed, text: "The source is not what it was when the copy began."}
	}
	return nil, remoteFailure(resp)
}

// is reports whether a reply is of the state that is wanted, as far as it says so.
func (s *remoteSource) is(resp *http.Response) bool {
	etag := resp.Header.Get("ETag")
	return s.etag == "" || etag == "" || etag == s.etag || resp.StatusCode >= http.StatusMultipleChoices
}

// remoteFailure reads the failure of a source. What a source says is not passed on but for its code.
func remoteFailure(resp *http.Response) *remoteError {
	e := &remoteError{status: resp.StatusCode, code: resp.Header.Get("x-ms-error-code")}
	e.text = fmt.Sprintf("The source answered %d.", resp.StatusCode)
	if len(e.code) > 64 || strings.ContainsFunc(e.code, func(c rune) bool { return (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') }) {
		e.code = ""
	}
	switch {
	case e.status == http.StatusNotModified || e.status == http.StatusPreconditionFailed:
		e.status = http.StatusPreconditionFailed
	case e.status < 400:
		e.status, e.text = http.StatusBadRequest, fmt.Sprintf("The source answered %d, which is neither the content nor followed.", resp.StatusCode)
	}
	return e
}

// remoteBlob is a blob or a snapshot at another server, as it was when it was looked at. What is no blob is taken for a block blob.
type remoteBlob struct {
	f        *fetcher
	source   remoteSource // the one state of it that was there then
	created  time.Time    // when the blob was made; zero: its server does not say
	typ      blobstore.BlobType
	size     int64
	sequence int64
	appended int64 // blocks of an append blob
	headers  blobstore.HTTPHeaders
	metadata []header.Pair
	pages    pageLister
}

// open looks at a source. conditions are headers of the read.
func (f *fetcher) open(ctx context.Context, source remoteSource, conditions map[string]string) (*remoteBlob, error) {
	resp, err := f.get(ctx, http.MethodHead, source, conditions, http.StatusOK)
	if err != nil {
		return nil, err
	}
	resp.Body.Close()
	b := &remoteBlob{f: f, source: source, size: resp.ContentLength}
	b.source.etag = resp.Header.Get("ETag")
	switch resp.Header.Get("x-ms-blob-type") {
	case "PageBlob":
		b.typ = blobstore.PageBlob
	case "AppendBlob":
		b.typ = blobstore.AppendBlob
	case "BlockBlob", "":
		b.typ = blobstore.BlockBlob
	default:
		return nil, azerr.InvalidBlobType // what it would become there are none of
	}
	if b.source.etag == "" || strings.HasPrefix(b.source.etag, "W/") || b.size < 0 || b.typ == blobstore.PageBlob && b.size%blobstore.PageSize != 0 {
		return nil, &remoteError{status: http.StatusBadRequest, text: "The source has no entity tag, or no size that a blob of its type can have."}
	}
	if b.appended, err = strconv.ParseInt(resp.Header.Get("x-ms-blob-committed-block-count"), 10, 64); err != nil || b.typ != blobstore.AppendBlob {
		b.appended = 0
	}
	if b.sequence, err = strconv.ParseInt(resp.Header.Get("x-ms-blob-sequence-number"), 10, 64); err != nil || b.sequence < 0 {
		b.sequence = 0
	}
	if b.created, err = http.ParseTime(resp.Header.Get("x-ms-creation-time")); err != nil {
		b.created = time.Time{}
	}
	b.headers = remoteHeaders(resp)
	b.metadata, err = remoteMetadata(resp.Header)
	return b, err
}

// remoteHeaders reads the HTTP headers of a source. The MD5 of a reply with a part of it is that of the part.
func remoteHeaders(resp *http.Response) blobstore.HTTPHeaders {
	h := blobstore.HTTPHeaders{ContentType: resp.Header.Get("Content-Type"), ContentEncoding: resp.Header.Get("Content-Encoding"),
		ContentLanguage: resp.Header.Get("Content-Language"), ContentDisposition: resp.Header.Get("Content-Disposition"),
		CacheControl: resp.Header.Get("Cache-Control")}
	name := "Content-MD5"
	if resp.StatusCode == http.StatusPartialContent {
		name = "x-ms-blob-content-md5"
	}
	if sum, err := header.ParseMD5([]byte(resp.Header.Get(name))); err == nil {
		h.ContentMD5 = sum[:]
	}
	return h
}

// remoteMetadata reads the metadata of a source, whose names come in lower case: what they were is lost on the way.
func remoteMetadata(h http.Header) ([]header.Pair, error) {
	var text []byte
	for name, values := range h {
		if name = strings.ToLower(name); strings.HasPrefix(name, "x-ms-meta-") {
			text = append(text, name+": "+strings.Join(values, ",")+"\r\n"...)
		}
	}
	var set header.Set
	if _, _, err := readHeaders(append(text, "\r\n"...), &set); err != nil {
		return nil, &remoteError{status: http.StatusBadRequest, text: "The source has metadata that cannot be kept.", cause: err}
	}
	meta, err := header.ParseMetadata(&set)
	if err != nil {
		return nil, &remoteError{status: http.StatusBadRequest, text: "The source has metadata that cannot be kept.", cause: err}
	}
	return meta, nil
}

// ReadPages reads bytes, all of the state that the copy began with.
func (b *remoteBlob) ReadPages(ctx context.Context, p []byte, off int64) error {
	err := again(func() error { return b.f.read(ctx, b.source, nil, p, off) })
	return pendingError(err)
}

// again does something again that may go better then.
func again(do func() error) (err error) {
	for range fetchTries {
		var remote *remoteError
		if err = do(); err == nil || !errors.As(err, &remote) || !remote.again() {
			return err
		}
	}
	return err
}

// pendingError makes of the failure of a source what the destination says of it.
func pendingError(err error) error {
	var e *remoteError
	if !errors.As(err, &e) {
		return err
	}
	text := e.text
	if e.code != "" {
		text += " " + e.code
	}
	return &azerr.Error{Code: azerr.CannotVerifyCopySource, Status: e.status, Text: text, Cause: err}
}

// withQuery adds parameters to a URL.
func withQuery(u, query string) string {
	if strings.Contains(u, "?") {
		return u + "&" + query
	}
	return u + "?" + query
}

// read fills p with the bytes at off.
func (f *fetcher) read(ctx context.Context, source remoteSource, headers map[string]string, p []byte, off int64) error {
	with := map[string]string{"Range": fmt.Sprintf("bytes=%d-%d", off, off+int64(len(p))-1)}
	for name, value := range headers {
		with[name] = value
	}
	resp, err := f.get(ctx, http.MethodGet, source, with, http.StatusPartialContent, http.StatusOK)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusOK && off == 0 && resp.ContentLength == int64(len(p)):
	case resp.StatusCode == http.StatusOK:
		return &remoteError{status: http.StatusBadRequest, text: "The source does not answer with ranges of bytes."}
	case !strings.HasPrefix(resp.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-%d/", off, off+int64(len(p))-1)):
		return errSourceEnds
	}
	if err := checkEncoding(resp); err != nil {
		return err
	}
	if _, err := io.ReadFull(resp.Body, p); err != nil {
		return &remoteError{text: "The source ended before its time.", cause: err}
	}
	return nil
}
