package conform

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/pageblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/service"
)

// The object ids of the users that the tests ask as.
const (
	userOwner       = "00000000-0000-0000-0000-0000000000a1"
	userContributor = "00000000-0000-0000-0000-0000000000a2"
	userReader      = "00000000-0000-0000-0000-0000000000a3"
	userDelegator   = "00000000-0000-0000-0000-0000000000a4"
	userNobody      = "00000000-0000-0000-0000-0000000000a5"

	userTenant = "00000000-0000-0000-0000-00000000aaaa"
)

// Roles returns the text of the roles that the endpoint at Env.TokenURL is to have for the account.
func Roles(account string) string {
	var b strings.Builder
	for _, line := range [][2]string{{"owner", "oid:" + userOwner}, {"contributor", "oid:" + userContributor}, {"reader", "oid:" + userReader},
		{"delegator", "oid:" + userDelegator}, {"owner", "group:owners"}, {"reader", "role:Reader.App"}} {
		fmt.Fprintf(&b, "%s %s %s\n", line[0], line[1], account)
	}
	return b.String()
}

// userKeyQuery names Get User Delegation Key.
const userKeyQuery = "?restype=service&comp=userdelegationkey"

func getUserDelegationKey(t T, env *Env) {
	w := env.wire(t)
	w.part("without a bearer token", func(w *wire) {
		info := []byte("<KeyInfo><Expiry>" + w.later(time.Hour) + "</Expiry></KeyInfo>")
		w.do("POST", "/", userKeyQuery[1:]).b(info).fails("AuthenticationFailed", "AuthenticationErrorDetail", "*")
		w.do("POST", "/", userKeyQuery[1:]).b(info).leave("Authorization").fails("NoAuthenticationInformation")
		w.do("POST", "/", userKeyQuery[1:]).b(info).by(w.account("sco", allLetters)).fails("AuthorizationFailure")
	})
	if env.TokenURL == "" {
		return
	}
	w.part("bearer tokens through the SDK", bearerSDK)
	w.part("tokens that are refused", bearerRefused)
	w.part("roles", bearerRoles)
	w.part("the key's times", userKeyBodies)
	w.part("user delegation SAS through the SDK", userSAS)
	w.part("a user delegation SAS and the user's roles", userSASRoles)
	w.part("a user delegation SAS for one user", userSASBound)
}

// later is the server's time after d, as XML and tokens have it.
func (w *wire) later(d time.Duration) string {
	return w.env.Clock.Now().Add(d).UTC().Truncate(time.Second).Format(time.RFC3339)
}

// claims are those of a token of the user that is good for an hour, changed by the pairs of name and value; nil takes one
// away.
func (w *wire) claims(user string, changes ...any) map[string]any {
	now := w.env.Clock.Now()
	claims := map[string]any{"aud": "https://storage.azure.com", "oid": user, "tid": userTenant, "sub": "subject of " + user,
		"exp": now.Add(time.Hour).Unix(), "nbf": now.Add(-time.Minute).Unix(), "iat": now.Add(-time.Minute).Unix()}
	for i := 0; i+1 < len(changes); i += 2 {
		claims[changes[i].(string)] = changes[i+1]
	}
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	return claims
}

// tokenCredential is a credential of the SDK.
type tokenCredential struct {
	w    *wire
	user string
}

func (c tokenCredential) GetToken(_ context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	c.w.equal("scopes", strings.Join(o.Scopes, " "), "https://storage.azure.com/.default")
	return azcore.AccessToken{Token: c.w.env.Token(c.w.claims(c.user)), ExpiresOn: c.w.env.Clock.Now().Add(time.Hour)}, nil
}

// tokenTransport reaches the endpoint for bearer tokens under any name of a host.
func (w *wire) tokenTransport() *checkedTransport {
	u, err := url.Parse(w.env.TokenURL)
	w.must(err)
	tr := httpTransport.Clone()
	tr.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{Timeout: replyTimeout}).DialContext(ctx, "tcp", hostPort(u, map[string]string{"http": "80", "https": "443"}[u.Scheme]))
	}
	if w.env.TokenTLS != nil {
		tr.TLSClientConfig = w.env.TokenTLS.Clone()
		tr.TLSClientConfig.ServerName = u.Hostname()
	}
	w.Cleanup(tr.CloseIdleConnections)
	return &checkedTransport{t: w.T, env: w.env, via: tr}
}

// hostStyle is the address of the account by the name of a host, which is where the SDK looks for its name when it signs
// for a user.
func (w *wire) hostStyle() string {
	u, err := url.Parse(w.env.TokenURL)
	w.must(err)
	u.Host = w.env.Account + ".blob.localhost:" + u.Port()
	return u.String()
}

func (w *wire) tokenOptions() azcore.ClientOptions {
	return azcore.ClientOptions{Transport: w.tokenTransport(), Retry: policy.RetryOptions{MaxRetries: -1}, InsecureAllowCredentialWithHTTP: true}
}

// sdkAs returns the SDK's client of the account with a token of the user.
func (w *wire) sdkAs(user string) *service.Client {
	w.Helper()
	client, err := service.NewClient(w.hostStyle(), tokenCredential{w, user}, &service.ClientOptions{ClientOptions: w.tokenOptions()})
	w.must(err)
	return client
}

func bearerSDK(w *wire) {
	c := ref("/" + w.env.unique())
	name := string(c[1:])
	w.Cleanup(func() { w.remove(c) })
	owner, contributor, reader := w.sdkAs(userOwner), w.sdkAs(userContributor), w.sdkAs(userReader)
	_, err := reader.CreateContainer(ctx, name, nil)
	w.mustFail(err, "AuthorizationPermissionMismatch")
	_, err = contributor.CreateContainer(ctx, name, nil)
	w.must(err)
	tokenWork(w, contributor.NewContainerClient(name), true)
	tokenWork(w, owner.NewContainerClient(name), true)
	page, err := reader.NewListContainersPager(&service.ListContainersOptions{Prefix: to.Ptr(name)}).NextPage(ctx)
	w.must(err)
	if len(page.ContainerItems) != 1 {
		w.Errorf("%d containers listed", len(page.ContainerItems))
	}
	_, err = owner.NewContainerClient(name).GetAccessPolicy(ctx, nil)
	w.must(err)
	_, err = contributor.NewContainerClient(name).GetAccessPolicy(ctx, nil)
	w.mustFail(err, "AuthorizationPermissionMismatch")
	_, err = reader.NewContainerClient(name).NewPageBlobClient("b").Create(ctx, 512, nil)
	w.mustFail(err, "AuthorizationPermissionMismatch")
	_, err = owner.DeleteContainer(ctx, name, nil)
	w.must(err)
}

// ask sends a request with an Authorization header, "" for none, to the endpoint for bearer tokens. Target is below the
// account.
func (w *wire) ask(authorization, method, target string, body []byte, pairs ...string) *reply {
	w.Helper()
	req, err := http.NewRequestWithContext(ctx, method, w.env.TokenURL+"/"+w.env.Account+target, bytes.NewReader(body))
	w.must(err)
	req.Header.Set("x-ms-version", version)
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		req.Header.Set(pairs[i], pairs[i+1])
	}
	resp, err := w.tokenTransport().Do(req)
	w.must(err)
	r := &reply{method: method, target: target, status: resp.StatusCode, fields: fieldsOf(resp.Header)}
	r.body, err = io.ReadAll(resp.Body)
	w.must(err)
	return r
}

// as is ask with a token of the user.
func (w *wire) as(user, method, target string, body []byte, pairs ...string) *reply {
	w.Helper()
	return w.ask("Bearer "+w.env.Token(w.claims(user)), method, target, body, pairs...)
}

// refused checks that a reply is the error of the code.
func (w *wire) refused(what string, r *reply, code string) {
	w.Helper()
	if r.get("x-ms-error-code") != wireName(code) || r.status != statusOf(code) {
		w.Errorf("%s: want %d %s:\n%v", what, statusOf(code), wireName(code), r)
		return
	}
	w.env.ledger.enter(wireName(code), r.status)
}

// bearerRefused is the table of tokens that are not taken.
func bearerRefused(w *wire) {
	b := w.pageBlob(page)
	good := w.env.Token(w.claims(userOwner))
	if r := w.ask("Bearer "+good, "GET", string(b), nil); r.status != 200 {
		w.Fatalf("a good token:\n%v", r)
	}
	parts := strings.Split(good, ".")
	text := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	at := func(d time.Duration) any { return w.env.Clock.Now().Add(d).Unix() }
	said := func(changes ...any) string { return w.env.Token(w.claims(userOwner, changes...)) }
	other := "A" // of the same length
	if strings.HasPrefix(parts[2], "A") {
		other = "B"
	}
	for name, token := range byKey(map[string]string{
		"no token":               "",
		"no token at all":        "x",
		"cut off":                parts[0] + "." + parts[1],
		"unsigned":               parts[0] + "." + parts[1] + ".",
		"none":                   text(`{"alg":"none"}`) + "." + parts[1] + ".",
		"none, signed":           text(`{"alg":"none"}`) + "." + parts[1] + "." + parts[2],
		"a secret":               text(`{"alg":"HS256","kid":"first"}`) + "." + parts[1] + "." + parts[2],
		"an unknown key":         text(`{"alg":"RS256","kid":"unknown"}`) + "." + parts[1] + "." + parts[2],
		"another signature":      parts[0] + "." + parts[1] + "." + other + parts[2][1:],
		"another user":           parts[0] + "." + text(`{"iss":"x","oid":"`+userOwner+`","exp":9999999999}`) + "." + parts[2],
		"expired":                said("exp", at(-10*time.Minute)),
		"without an end":         said("exp", nil),
		"not yet":                said("nbf", at(10*time.Minute)),
		"issued later":           said("iat", at(10*time.Minute)),
		"for something else":     said("aud", "https://management.azure.com"),
		"for another account":    said("aud", "https://other.blob.core.windows.net"),
		"for nobody":             said("aud", nil),
		"of another issuer":      said("iss", "https://example.org/"),
		"of nobody":              said("oid", nil, "sub", nil),
		"a time that is no time": said("exp", "tomorrow"),
	}) {
		r := w.ask("Bearer "+token, "GET", string(b), nil)
		w.refused(name, r, "InvalidBearerToken")
		if got := r.get("WWW-Authenticate"); !strings.HasPrefix(got, "Bearer authorization_uri=https://") || !strings.Contains(got, " resource_id=https://storage.azure.com") {
			w.Errorf("%s: WWW-Authenticate %q", name, got)
		}
		if len(token) > 20 && strings.Contains(string(r.body), token[len(token)-20:]) {
			w.Errorf("%s: the token is told:\n%v", name, r)
		}
	}
	w.refused("nobody", w.ask("", "GET", string(b), nil), "NoAuthenticationInformation")
	w.refused("an old version", w.ask("Bearer "+good, "GET", string(b), nil, "x-ms-version", "2017-07-29"), "AuthenticationFailed")
	for _, scheme := range []string{"bearer ", "BEARER  "} {
		if r := w.ask(scheme+good, "GET", string(b), nil); r.status != 200 {
			w.Errorf("scheme %q:\n%v", scheme, r)
		}
	}
	for _, aud := range []any{"https://storage.azure.com/", "e406a681-f3d4-42a8-90b6-c2b029497af1", "https://" + w.env.Account + ".blob.core.windows.net", []string{"x", "https://storage.azure.com"}} {
		if r := w.ask("Bearer "+said("aud", aud), "GET", string(b), nil); r.status != 200 {
			w.Errorf("audience %v:\n%v", aud, r)
		}
	}
	if strings.HasPrefix(w.env.TokenURL, "https:") && strings.HasPrefix(w.env.URL, "http:") {
		c := w.get(b, "").h("Authorization", "Bearer "+good).leave("Authorization", "x-ms-date")
		c.fails("AuthenticationFailed", "AuthenticationErrorDetail", "*")
	}
}

// bearerRoles sends requests of every class as users of every role.
func bearerRoles(w *wire) {
	b := w.pageBlob(page)
	c := b.container()
	fresh := ref("/" + w.env.unique())
	w.Cleanup(func() { w.remove(fresh) })
	copied := string(c.blob("copy"))
	info := "<KeyInfo><Expiry>" + w.later(time.Hour) + "</Expiry></KeyInfo>"
	for _, k := range []struct {
		method, target, body string
		who                  string // initials of the roles that may
		headers              []string
	}{
		{"GET", "/?comp=list&prefix=none", "", "ocr", nil},
		{"GET", "/?restype=account&comp=properties", "", "ocr", nil},
		{"GET", "/?restype=service&comp=properties", "", "", nil},
		{"PUT", "/?restype=service&comp=properties", "<StorageServiceProperties/>", "", nil},
		{"GET", "/?comp=blobs&where=a%3D'b'", "", "o", nil},
		{"POST", "/" + userKeyQuery, info, "ocrd", nil},
		{"PUT", string(fresh) + "?restype=container", "", "oc", nil},
		{"GET", string(c) + "?restype=container", "", "ocr", nil},
		{"PUT", string(c) + "?restype=container&comp=metadata", "", "oc", nil},
		{"PUT", string(c) + "?restype=container&comp=lease", "", "oc", []string{"x-ms-lease-action", "break"}},
		{"GET", string(c) + "?restype=container&comp=acl", "", "o", nil},
		{"PUT", string(c) + "?restype=container&comp=acl", "", "o", nil},
		{"DELETE", string(c) + "?restype=container", "", "oc", []string{"If-Unmodified-Since", w.ago(1000 * time.Hour)}},
		{"GET", string(c) + "?restype=container&comp=list", "", "ocr", nil},
		{"GET", string(c) + "?restype=container&comp=list&include=tags", "", "o", nil},
		{"GET", string(b), "", "ocr", nil},
		{"GET", string(b) + "?comp=pagelist", "", "ocr", nil},
		{"GET", string(b), "", "o", []string{"x-ms-if-tags", "NOT a = 'b'"}},
		{"PUT", string(b) + "?comp=page", "", "oc", []string{"x-ms-page-write", "clear", "x-ms-range", "bytes=0-511"}},
		{"PUT", string(b) + "?comp=metadata", "", "oc", nil},
		{"PUT", string(b) + "?comp=snapshot", "", "oc", nil},
		{"PUT", string(b) + "?comp=lease", "", "oc", []string{"x-ms-lease-action", "break"}},
		{"GET", string(b) + "?comp=tags", "", "o", nil},
		{"PUT", string(b) + "?comp=tags", "<Tags><TagSet/></Tags>", "o", nil},
		{"PUT", string(b), "", "oc", []string{"x-ms-blob-type", "PageBlob", "x-ms-blob-content-length", "512", "If-Match", otherETag}},
		{"PUT", string(b), "", "o", []string{"x-ms-blob-type", "PageBlob", "x-ms-blob-content-length", "512", "If-Match", otherETag, "x-ms-tags", "a=b"}},
		{"PUT", copied, "", "oc", []string{"x-ms-copy-source", w.env.TokenURL + "/" + w.env.Account + string(b)}},
		{"DELETE", string(b), "", "oc", []string{"If-Match", otherETag}},
	} {
		for user, initial := range map[string]string{userOwner: "o", userContributor: "c", userReader: "r", userDelegator: "d", userNobody: "n"} {
			r := w.as(user, k.method, k.target, []byte(k.body), k.headers...)
			if !strings.Contains(k.who, initial) {
				w.refused("as "+initial, r, "AuthorizationPermissionMismatch")
			} else if r.status == 401 || r.status == 403 || r.status >= 500 {
				w.Errorf("as %s:\n%v", initial, r)
			}
		}
	}
	// By group and by role.
	by := func(method string, status int, changes ...any) {
		w.Helper()
		r := w.ask("Bearer "+w.env.Token(w.claims(userNobody, changes...)), method, string(b), nil, "If-Match", "*", "x-ms-blob-type", "PageBlob", "x-ms-blob-content-length", "512")
		if r.status != status {
			w.Errorf("%v: want %d\n%v", changes, status, r)
		}
	}
	by("GET", 403)
	by("GET", 403, "groups", []string{"others"})
	by("GET", 200, "groups", []string{"others", "owners"})
	by("PUT", 201, "groups", "owners")
	by("GET", 200, "roles", []string{"Reader.App"})
	by("PUT", 403, "roles", []string{"Reader.App"})
	// A key needs a role of the user's own id, by which a token's use is judged later.
	for _, changes := range [][]any{{"groups", "owners"}, {"roles", "Reader.App"}} {
		r := w.ask("Bearer "+w.env.Token(w.claims(userNobody, changes...)), "POST", "/"+userKeyQuery, []byte(info))
		w.refused("a key by a group", r, "AuthorizationPermissionMismatch")
	}
	r := w.ask("Bearer "+w.env.Token(w.claims(userOwner, "tid", nil)), "POST", "/"+userKeyQuery, []byte(info))
	w.refused("a key without a tenant", r, "AuthenticationFailed")
}

// userKeyBodies: what the body may say, and what the answer says.
func userKeyBodies(w *wire) {
	f := func(body, code string) *reply {
		w.Helper()
		r := w.as(userReader, "POST", "/"+userKeyQuery, []byte(body))
		if code != "" {
			w.refused(body, r, code)
		} else if r.status != 200 {
			w.Errorf("%s:\n%v", body, r)
		}
		return r
	}
	info := func(start, end time.Duration, more string) string {
		return "<KeyInfo><Start>" + w.later(start) + "</Start><Expiry>" + w.later(end) + "</Expiry>" + more + "</KeyInfo>"
	}
	const day = 24 * time.Hour
	start, end := w.later(-time.Hour), w.later(2*day)
	root := w.xml(f(info(-time.Hour, 2*day, ""), ""))
	w.equal("the answer", root.names(), "SignedOid SignedTid SignedStart SignedExpiry SignedService SignedVersion Value")
	for name, want := range byKey(map[string]string{"SignedOid": userReader, "SignedTid": userTenant, "SignedStart": start, "SignedExpiry": end,
		"SignedService": "b", "SignedVersion": version}) {
		w.equal(name, root.value(name), want)
	}
	if key, err := base64.StdEncoding.DecodeString(root.value("Value")); err != nil || len(key) != 32 {
		w.Errorf("the key is %d bytes, %v", len(key), err)
	}
	again := w.xml(f(info(-time.Hour, 2*day, ""), ""))
	w.equal("the same key again", again.value("Value"), root.value("Value"))
	if other := w.xml(f(info(-time.Hour, 3*day, ""), "")); other.value("Value") == root.value("Value") {
		w.Errorf("another end, and the same key")
	}
	root = w.xml(f(info(0, day, "<DelegatedUserTid>"+userTenant+"</DelegatedUserTid>"), ""))
	w.equal("for another tenant", root.names(), "SignedOid SignedTid SignedStart SignedExpiry SignedService SignedVersion SignedDelegatedUserTid Value")
	f("<KeyInfo><Expiry>"+end+"</Expiry></KeyInfo>", "")
	f("<KeyInfo><Start></Start><Expiry>"+end+"</Expiry></KeyInfo>", "")
	f(info(0, 7*day, ""), "")
	f(info(0, 7*day+time.Minute, ""), "InvalidXmlNodeValue")
	f(info(-day, 7*day, ""), "InvalidXmlNodeValue") // good for eight
	f(info(-2*day, -day, ""), "InvalidXmlNodeValue")
	f(info(2*day, day, ""), "InvalidXmlNodeValue")
	f(info(day, day, ""), "InvalidXmlNodeValue")
	f("<KeyInfo><Expiry>tomorrow</Expiry></KeyInfo>", "InvalidXmlNodeValue")
	f("<KeyInfo><Start>today</Start><Expiry>"+end+"</Expiry></KeyInfo>", "InvalidXmlNodeValue")
	f(info(0, day, "<DelegatedUserTid>a b</DelegatedUserTid>"), "InvalidXmlNodeValue")
	f("<KeyInfo><Start>"+start+"</Start></KeyInfo>", "MissingRequiredXmlNode")
	f(info(0, day, "<More/>"), "UnsupportedXmlNode")
	f("<Other/>", "InvalidXmlDocument")
	f("<KeyInfo>", "InvalidXmlDocument")
	f("", "InvalidXmlDocument")
}

// userKey gets a key as the SDK does.
func (w *wire) userKey(user string) *service.UserDelegationCredential {
	w.Helper()
	key, err := w.sdkAs(user).GetUserDelegationCredential(ctx, service.KeyInfo{Start: to.Ptr(w.later(-time.Minute)), Expiry: to.Ptr(w.later(time.Hour))}, nil)
	w.must(err)
	return key
}

// signed returns the query of a token that is signed with a key of the user.
func (w *wire) signed(user string, v sas.BlobSignatureValues) string {
	w.Helper()
	v.ExpiryTime = w.env.Clock.Now().UTC().Add(time.Hour)
	q, err := v.SignWithUserDelegation(w.userKey(user))
	w.must(err)
	return q.Encode()
}

// userSAS: tokens for a container, a blob and a snapshot that the SDK signs with a user's key.
func userSAS(w *wire) {
	c := w.container()
	name := string(c[1:])
	query := w.signed(userContributor, sas.BlobSignatureValues{ContainerName: name,
		Permissions: (&sas.ContainerPermissions{Read: true, Write: true, Create: true, Delete: true, List: true}).String()})
	options := w.tokenOptions()
	client, err := container.NewClientWithNoCredential(w.hostStyle()+string(c)+"?"+query, &container.ClientOptions{ClientOptions: options})
	w.must(err)
	tokenWork(w, client, false)
	_, err = client.Delete(ctx, nil)
	w.mustFail(err, "AuthorizationFailure")

	b := c.blob("disk 1.vhd")
	w.create(b, page).ok(201)
	w.update(b, 0, fill(230, page)).ok(201)
	at := w.snapshot(b)
	w.clear(b, 0, page).ok(201)
	values := sas.BlobSignatureValues{ContainerName: name, BlobName: "disk 1.vhd", Permissions: (&sas.BlobPermissions{Read: true}).String(), ContentType: "x/y"}
	open := func(query string) *pageblob.Client {
		w.Helper()
		client, err := pageblob.NewClientWithNoCredential(w.hostStyle()+string(b)+"?"+query, &pageblob.ClientOptions{ClientOptions: options})
		w.must(err)
		return client
	}
	read := func(query string, want []byte) {
		w.Helper()
		got, err := open(query).DownloadStream(ctx, nil)
		w.must(err)
		data, err := io.ReadAll(got.Body)
		w.must(err)
		w.same("the blob", data, want)
		w.equal("its type", val(got.ContentType), "x/y")
	}
	query = w.signed(userReader, values)
	read(query, make([]byte, page))
	_, err = open(query).ClearPages(ctx, blob.HTTPRange{Count: page}, nil)
	w.mustFail(err, "AuthorizationPermissionMismatch")
	when, err := time.Parse("2006-01-02T15:04:05.0000000Z", at)
	w.must(err)
	values.SnapshotTime = when
	query = w.signed(userReader, values)
	read("snapshot="+url.QueryEscape(at)+"&"+query, fill(230, page))

	// Anything else than what was signed is refused, the parts of the key as well.
	v, err := url.ParseQuery(w.signed(userReader, sas.BlobSignatureValues{ContainerName: name, BlobName: "disk 1.vhd", Permissions: "r"}))
	w.must(err)
	if r := w.ask("", "GET", string(b)+"?"+v.Encode(), nil); r.status != 200 {
		w.Errorf("as it was signed:\n%v", r)
	}
	for _, p := range []string{"skoid", "sktid", "skt", "ske", "sks", "skv", "sp", "se", "sr", "sv", "sig"} {
		was := v.Get(p)
		for _, other := range []string{"", userOwner, w.later(2 * time.Hour), "rw", "c", "2021-12-02"} {
			if other == was {
				continue
			}
			v.Set(p, other)
			w.refused(p+"="+other, w.ask("", "GET", string(b)+"?"+v.Encode(), nil), "AuthenticationFailed")
		}
		v.Set(p, was)
	}
}

// userSASRoles: a token allows no more than its maker may do.
func userSASRoles(w *wire) {
	b := w.pageBlob(page)
	all := "racwdlt"
	for user, allowed := range byKey(map[string]string{userOwner: "get put tags", userContributor: "get put", userReader: "get", userDelegator: ""}) {
		query := w.signed(user, sas.BlobSignatureValues{ContainerName: string(b.container()[1:]), Permissions: all})
		for name, r := range byKey(map[string]*reply{
			"get":  w.ask("", "GET", string(b)+"?"+query, nil),
			"put":  w.ask("", "PUT", string(b)+"?comp=metadata&"+query, nil),
			"tags": w.ask("", "GET", string(b)+"?comp=tags&"+query, nil),
		}) {
			if !strings.Contains(allowed, name) {
				w.refused(name+" for "+user, r, "AuthorizationPermissionMismatch")
			} else if r.status != 200 {
				w.Errorf("%s for %s:\n%v", name, user, r)
			}
		}
	}
}

// userSASBound: a token that is made out to a user is good together with a bearer token of that user.
func userSASBound(w *wire) {
	b := w.pageBlob(page)
	root := w.xml(w.as(userReader, "POST", "/"+userKeyQuery, []byte("<KeyInfo><Expiry>"+w.later(time.Hour)+"</Expiry></KeyInfo>")))
	t := w.service("b", "r").with("sv", "2025-07-05", "sduoid", userNobody, "skoid", root.value("SignedOid"), "sktid", root.value("SignedTid"),
		"skt", root.value("SignedStart"), "ske", root.value("SignedExpiry"), "sks", "b", "skv", root.value("SignedVersion"))
	t.key = root.value("Value")
	target := string(b) + "?" + t.query(b)
	w.refused("without a token", w.ask("", "GET", target, nil), "AuthenticationFailed")
	w.refused("with another user's", w.as(userOwner, "GET", target, nil), "AuthenticationFailed")
	if r := w.as(userNobody, "GET", target, nil); r.status != 200 {
		w.Errorf("with the user's:\n%v", r)
	}
	w.refused("for more than it says", w.as(userNobody, "PUT", string(b)+"?comp=metadata&"+t.query(b), nil), "AuthorizationPermissionMismatch")
	w.refused("without it", w.as(userNobody, "GET", string(b), nil), "AuthorizationPermissionMismatch")
}
