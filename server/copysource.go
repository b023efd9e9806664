package server

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"

	"pagevault/blobstore"
	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/header"
	"pagevault/internal/azure/op"
	"pagevault/internal/azure/query"
)

// copySourceMax is Azure's limit for x-ms-copy-source.
const copySourceMax = 2 << 10

// copySource is what x-ms-copy-source names, which the request may read.
type copySource struct {
	account *blobstore.Account // of this server; nil: the source is elsewhere
	ref     blobstore.BlobRef  // a blob, snapshot or version of that account
	remote  remoteSource       // what is elsewhere, with its secrets
	shown   string             // the URL as the destination will say it, without anything secret
}

// copySource finds what x-ms-copy-source names. A blob at an address of this server is taken from its account at once: no
// connection is made. Whether that is allowed is decided as for a read of that URL without an Authorization header: by
// the token the URL brings, or by the container being public. Only where the URL brings nothing, and the request is
// signed with a key of the source's own account, or comes from a user with a role there, is it that which opens it. A
// bearer token that x-ms-copy-source-authorization brings counts before all these. What is elsewhere has not been looked
// at yet.
func (r *request) copySource() (src copySource, err error) {
	url := r.headers.Get(header.XMsCopySource)
	bad := badSource(url)
	scheme, rest, ok := bytes.Cut(url, []byte("://"))
	if !ok || len(url) > copySourceMax || !visible(url) || bytes.ContainsAny(url, " #") ||
		!header.EqualFold(scheme, "http") && !header.EqualFold(scheme, "https") {
		return src, bad
	}
	authority := rest
	if i := bytes.IndexAny(rest, "/?"); i >= 0 {
		authority = rest[:i]
	}
	var t target
	if len(authority) == 0 || bytes.IndexByte(authority, '@') >= 0 || t.parse(url, nil, r.s.addressing) != nil {
		return src, bad
	}
	token, err := r.sourceToken(rest)
	if err != nil {
		return src, err
	}
	if !r.here(authority, &t) {
		if !asksForBlob(t.rawQuery) {
			return src, bad
		}
		src = copySource{remote: remoteSource{url: string(url), token: token}, shown: shownURL(url)}
		return src, r.checkLending(src.remote)
	}
	return r.localSource(url, authority, &t, token)
}

// asksForBlob reports whether the query of a source elsewhere leads to the blob itself. The server asks for lists of its
// pages by adding to that query: had it one of these parameters already, the list might be of other pages, or a part of them.
func asksForBlob(raw []byte) bool {
	var q query.Set
	if q.Parse(raw) != nil {
		return false
	}
	for _, name := range [...]string{"comp", "restype", "prevsnapshot", "marker", "maxresults"} {
		if q.Has(name) {
			return false
		}
	}
	return true
}

// badSource is the error of a source that cannot be read as one. What may be secret in it is left out.
func badSource(url []byte) error {
	shown := shownURL(url)
	if strings.Contains(shown, "@") {
		shown = ""
	}
	return azerr.BadHeader(header.XMsCopySource.String(), shown)
}

// here reports whether an authority is that of this server: the one the request itself was sent to, or, where accounts
// are told apart by host names, one that differs from it in the account only.
func (r *request) here(authority []byte, t *target) bool {
	host := r.ctx.Request.Header.Host()
	if r.batch != nil || len(authority) == 0 {
		return false
	}
	if r.target.inPath == nil && t.inPath == nil {
		_, authority, _ = bytes.Cut(authority, []byte{'.'})
		_, host, _ = bytes.Cut(host, []byte{'.'})
	}
	return bytes.EqualFold(authority, host)
}

// localSource finds a source on this server. token is what is to open it; "": nothing but what is in the URL.
func (r *request) localSource(url, authority []byte, t *target, token string) (src copySource, err error) {
	bad := badSource(url)
	switch {
	case t.segments == 0, t.segments == 1 && t.slash:
		return src, bad
	case t.segments == 1:
		t.container, t.blob = rootContainer, t.container
	}
	var q query.Set
	if q.Parse(t.rawQuery) != nil {
		return src, bad
	}
	snapshot, err := q.One("snapshot")
	if _, ok := blobstore.NormalizeSnapshot(string(snapshot)); err != nil || !ok && q.Has("snapshot") {
		return src, bad
	}
	version, err := versionAsked(&q)
	if _, ok := blobstore.NormalizeSnapshot(version); err != nil || !ok && version != "" || version != "" && q.Has("snapshot") {
		return src, bad
	}
	src.ref = blobstore.BlobRef{Container: t.container, Blob: t.blob, Snapshot: string(snapshot), Version: version}
	src.shown = shownURL(url)
	if token == "" && !q.Has("sig") && bytes.Equal(t.account, r.target.account) && r.readsSources(t.container) {
		for _, p := range q.Params() {
			if n := string(p.Name); n != "snapshot" && n != "versionid" {
				return src, bad
			}
		}
		src.account, r.sourceName = r.account, r.account.Name()
		return src, nil
	}
	_, rest, _ := bytes.Cut(url, []byte("://"))
	path := rest[len(authority):]
	if len(path) == 0 || path[0] == '?' {
		return src, bad
	}
	src.account, err = r.authorizeSource(path, authority, token)
	return src, err
}

// authorizeSource asks whether a read of the source, sent from where the request came from and as it came, would be let
// in, by going through the same steps as one that is. token is the Authorization header it has, "" if none. The account
// stays there until r is released.
func (r *request) authorizeSource(path, host []byte, token string) (*blobstore.Account, error) {
	ctx := new(fasthttp.RequestCtx)
	ctx.Init(&fasthttp.Request{}, r.ctx.RemoteAddr(), nil)
	read := r.s.acquire(ctx)
	defer read.release()
	r.s.blank(&ctx.Response)
	read.batch = r // it came over the connection of r
	text := append([]byte("GET "), path...)
	text = append(append(text, " HTTP/1.1\r\nHost: "...), host...)
	text = append(append(text, "\r\nx-ms-version: "...), r.version...)
	if r.looksAtTags() { // which needs a permission of its own; what the condition is does not matter here
		text = append(text, "\r\nx-ms-if-tags: a='b'"...)
	}
	failed := r.sourceError
	if token != "" {
		text = append(append(text, "\r\nAuthorization: "...), token...)
		failed = r.sourceTokenError
	}
	text = append(text, "\r\n\r\n"...)
	ctx.Request.Header.DisableNormalizing()
	err := ctx.Request.Header.Read(bufio.NewReaderSize(bytes.NewReader(text), len(text)))
	if err == nil {
		err = read.admitSource()
	}
	if r.lender = read.principal(); read.account != nil {
		r.sourceName = read.account.Name()
	}
	if err != nil {
		return nil, failed(err)
	}
	read.account.Stay()
	r.source = read.account
	return read.account, nil
}

// looksAtTags reports whether the request is about the tags of its source.
func (r *request) looksAtTags() bool {
	copies, _ := r.wantsTags() // one that cannot be read is refused before
	return copies || r.headers.Has(header.XMsSourceIfTags)
}

// admitSource is admit for the read of a source.
func (r *request) admitSource() error {
	for _, step := range [...]func(r *request) error{(*request).readHeaders, (*request).locate, (*request).negotiate} {
		if err := step(r); err != nil {
			return err
		}
	}
	level, err := r.level()
	if err != nil {
		return err
	}
	if r.row, err = op.Match(level, r.ctx.Method(), &r.query, &r.headers); err != nil {
		return err
	}
	if r.row.ID != op.GetBlob {
		return azerr.BlobNotFound
	}
	if err := r.authenticate(); err != nil {
		return err
	}
	return op.CheckSupported(r.row, &r.headers, &r.query)
}

// sourceError is what the failure of a read of the source is for the destination: CannotVerifyCopySource with the status
// of that failure, and what it was in headers and elements of their own; or SourceConditionNotMet.
func (r *request) sourceError(err error) error {
	e := azerr.From(err)
	switch e.Code {
	case azerr.ConditionNotMet, azerr.NotModified, azerr.UnsatisfiableCondition:
		return azerr.SourceConditionNotMet
	}
	if e.HTTPStatus() >= 500 {
		return err
	}
	return r.sourceFailed(e.HTTPStatus(), e.Code.Wire(), cmp.Or(e.Text, e.Code.Message()), err)
}

// copyError completes the error of a copy whose source was found missing; all others are about the destination.
func (r *request) copyError(err error) error {
	if e := azerr.From(err); e.Code == azerr.CannotVerifyCopySource && e.Cause != nil {
		if azerr.From(e.Cause).Code != azerr.InternalError {
			return r.sourceError(e.Cause)
		}
	}
	return err
}

// remoteError is sourceError for a source that is elsewhere.
func (r *request) remoteError(err error) error {
	var e *remoteError
	switch {
	case !errors.As(err, &e):
		return err
	case e.status == http.StatusPreconditionFailed:
		return azerr.SourceConditionNotMet
	case e.status == http.StatusRequestedRangeNotSatisfiable:
		return azerr.InvalidRange
	case e.status == 0:
		return &azerr.Error{Code: azerr.CannotVerifyCopySource, Text: e.text, Cause: err}
	}
	return r.sourceFailed(e.status, e.code, e.text, err)
}

// sourceConditions returns the conditions on the source as headers of its read.
func (r *request) sourceConditions() map[string]string {
	with := map[string]string{}
	for _, c := range [...]struct {
		id   header.ID
		name string
	}{
		{header.XMsSourceIfMatch, "If-Match"}, {header.XMsSourceIfNoneMatch, "If-None-Match"},
		{header.XMsSourceIfModifiedSince, "If-Modified-Since"}, {header.XMsSourceIfUnmodifiedSince, "If-Unmodified-Since"},
		{header.XMsSourceIfTags, "x-ms-if-tags"},
	} {
		if r.headers.Has(c.id) {
			with[c.name] = r.headers.String(c.id)
		}
	}
	return with
}

// sourceFailed is CannotVerifyCopySource for a source that answered with that status, code and text.
func (r *request) sourceFailed(status int, code, text string, cause error) error {
	number := strconv.Itoa(status)
	e := azerr.CannotVerifyCopySource.With("CopySourceStatusCode", number)
	r.setString("x-ms-copy-source-status-code", number)
	if code != "" {
		r.setString("x-ms-copy-source-error-code", code)
		e.Details = append(e.Details, azerr.Detail{Name: "CopySourceErrorCode", Value: code})
	}
	e.Details = append(e.Details, azerr.Detail{Name: "CopySourceErrorMessage", Value: text})
	e.Status, e.Text, e.Cause = status, text, cause
	return e
}

// shownURL returns a URL without its query, but for what says which snapshot or version it is: tokens stay secret.
func shownURL(url []byte) string {
	base, q, _ := strings.Cut(string(url), "?")
	kept := slices.DeleteFunc(strings.Split(q, "&"), func(p string) bool {
		name, _, _ := strings.Cut(p, "=")
		name, ok := unescape([]byte(name))
		return !ok || !strings.EqualFold(name, "snapshot") && !strings.EqualFold(name, "versionid")
	})
	if len(kept) == 0 {
		return base
	}
	return base + "?" + strings.Join(kept, "&")
}
