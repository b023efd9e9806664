package conform

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/url"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/pageblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/service"
)

// tokens: requests that carry a shared access signature in place of an Authorization header.
func tokens(t T, env *Env) {
	w := env.wire(t)
	w.part("account SAS through the SDK", tokenAccountSDK)
	w.part("container SAS through the SDK", tokenContainerSDK)
	w.part("blob and snapshot SAS through the SDK", tokenBlobSDK)
	w.part("stored access policies", tokenPolicies)
	w.part("create is not overwrite", tokenCreate)
	w.part("who is refused", tokenRefusals)
	w.part("tampered", tokenTampered)
}

// token is a token being put together: parameters as name=value, in any order.
type token struct {
	w      *wire
	key    string
	fields map[string]string
}

// service starts a service SAS that is good for all that its letters say, for an hour.
func (w *wire) service(sr, letters string) *token {
	return &token{w, w.env.Key, map[string]string{"sv": "2021-12-02", "sr": sr, "sp": letters,
		"se": w.env.Clock.Now().Add(time.Hour).UTC().Format(time.RFC3339)}}
}

// account starts an account SAS in the same way.
func (w *wire) account(types, letters string) *token {
	t := w.service("", letters)
	delete(t.fields, "sr")
	t.fields["ss"], t.fields["srt"] = "b", types
	return t
}

// with sets parameters given as name, value, name, value…; an empty value takes one away.
func (t *token) with(pairs ...string) *token {
	for i := 0; i+1 < len(pairs); i += 2 {
		t.fields[pairs[i]] = pairs[i+1]
	}
	return t
}

// query returns the token signed for r, as part of a query. It is signed by the rules for its version, independently of
// the server.
func (t *token) query(r ref) string {
	f := func(names ...string) (values []string) {
		for _, n := range names {
			values = append(values, t.fields[n])
		}
		return values
	}
	var lines []string
	switch {
	case t.fields["skoid"] != "":
		lines = append(f("sp", "st", "se"), "/blob/"+t.w.env.Account+string(r)) // for a blob of a plain name, versions 2025-07-05 to 2026-02-06
		lines = append(lines, f("skoid", "sktid", "skt", "ske", "sks", "skv", "saoid", "suoid", "scid", "skdutid", "sduoid", "sip", "spr", "sv", "sr",
			"none", "ses", "rscc", "rscd", "rsce", "rscl", "rsct")...)
	case t.fields["srt"] != "":
		lines = append([]string{t.w.env.Account}, f("sp", "ss", "srt", "st", "se", "sip", "spr", "sv", "ses", "none")...)
	default:
		path, err := url.PathUnescape(string(r))
		t.w.must(err)
		if t.fields["sr"] == "c" {
			path = string(r.container())
		}
		moment := ""
		if t.fields["sr"] == "bs" {
			moment = t.fields["snapshot"]
		}
		if t.fields["sr"] == "bv" {
			moment = t.fields["versionid"]
		}
		lines = append(f("sp", "st", "se"), "/blob/"+t.w.env.Account+path)
		lines = append(lines, f("si", "sip", "spr", "sv", "sr")...)
		lines = append(append(lines, moment), f("ses", "rscc", "rscd", "rsce", "rscl", "rsct")...)
	}
	key, err := base64.StdEncoding.DecodeString(t.key)
	t.w.must(err)
	m := hmac.New(sha256.New, key)
	m.Write([]byte(strings.Join(lines, "\n")))
	v := url.Values{}
	for name, value := range t.fields {
		if value != "" {
			v.Set(name, value)
		}
	}
	v.Set("sig", base64.StdEncoding.EncodeToString(m.Sum(nil)))
	return v.Encode()
}

// by sends the call with a token in place of the signature.
func (c *call) by(t *token) *call { return c.byQuery(t.query(c.ref)) }

func (c *call) byQuery(query string) *call {
	if c.query != "" {
		c.query += "&"
	}
	c.query += query
	return c.leave("Authorization", "x-ms-date")
}

// tokenOptions are those of the SDK's clients that have no key.
func tokenOptions(w *wire) azcore.ClientOptions {
	return azcore.ClientOptions{Transport: &checkedTransport{t: w, env: w.env}, Retry: policy.RetryOptions{MaxRetries: -1}}
}

func (w *wire) credential() *azblob.SharedKeyCredential {
	cred, err := azblob.NewSharedKeyCredential(w.env.Account, w.env.Key)
	w.must(err)
	return cred
}

func tokenAccountSDK(w *wire) {
	now := w.env.Clock.Now().UTC()
	q, err := sas.AccountSignatureValues{Protocol: sas.ProtocolHTTPSandHTTP, StartTime: now.Add(-time.Minute), ExpiryTime: now.Add(time.Hour),
		Permissions:   (&sas.AccountPermissions{Read: true, Write: true, Delete: true, List: true, Create: true}).String(),
		ResourceTypes: (&sas.AccountResourceTypes{Service: true, Container: true, Object: true}).String(),
		IPRange:       sas.IPRange{}}.SignWithSharedKey(w.credential())
	w.must(err)
	client, err := service.NewClientWithNoCredential(w.env.URL+"/"+w.env.Account+"?"+q.Encode(), &service.ClientOptions{ClientOptions: tokenOptions(w)})
	w.must(err)
	c := ref("/" + w.env.unique())
	_, err = client.CreateContainer(ctx, string(c[1:]), nil)
	w.must(err)
	w.Cleanup(func() { w.remove(c) })
	tokenWork(w, client.NewContainerClient(string(c[1:])), true)
	pager := client.NewListContainersPager(&service.ListContainersOptions{Prefix: (*string)(&[]string{string(c[1:])}[0])})
	page, err := pager.NextPage(ctx)
	w.must(err)
	if len(page.ContainerItems) != 1 {
		w.Errorf("%d containers listed", len(page.ContainerItems))
	}
	_, err = client.GetProperties(ctx, nil)
	w.must(err)
	_, err = client.NewContainerClient(string(c[1:])).GetAccessPolicy(ctx, nil)
	w.mustFail(err, "AuthorizationFailure")
	_, err = client.DeleteContainer(ctx, string(c[1:]), nil)
	w.must(err)
}

func tokenContainerSDK(w *wire) {
	c := w.container()
	now := w.env.Clock.Now().UTC()
	q, err := sas.BlobSignatureValues{ContainerName: string(c[1:]), StartTime: now.Add(-time.Minute), ExpiryTime: now.Add(time.Hour),
		Permissions: (&sas.ContainerPermissions{Read: true, Write: true, Create: true, Delete: true, List: true}).String()}.SignWithSharedKey(w.credential())
	w.must(err)
	client, err := container.NewClientWithNoCredential(w.env.URL+"/"+w.env.Account+string(c)+"?"+q.Encode(), &container.ClientOptions{ClientOptions: tokenOptions(w)})
	w.must(err)
	tokenWork(w, client, false)
	_, err = client.GetProperties(ctx, nil)
	w.mustFail(err, "AuthorizationFailure")
	_, err = client.Delete(ctx, nil)
	w.mustFail(err, "AuthorizationFailure")
	_, err = client.SetAccessPolicy(ctx, nil)
	w.mustFail(err, "AuthorizationFailure")
}

// tokenWork does everything to a blob that a token for its container gives.
func tokenWork(w *wire, client *container.Client, whole bool) {
	b := client.NewPageBlobClient("disk 1/ä+%.vhd")
	_, err := b.Create(ctx, 4*page, nil)
	w.must(err)
	data := fill(210, page)
	_, err = b.UploadPages(ctx, streaming.NopCloser(strings.NewReader(string(data))), blob.HTTPRange{Count: page}, nil)
	w.must(err)
	_, err = b.ClearPages(ctx, blob.HTTPRange{Offset: page, Count: page}, nil)
	w.must(err)
	_, err = b.SetMetadata(ctx, map[string]*string{"a": nil}, nil)
	w.must(err)
	_, err = b.Resize(ctx, 2*page, nil)
	w.must(err)
	s, err := b.CreateSnapshot(ctx, nil)
	w.must(err)
	got, err := b.DownloadStream(ctx, nil)
	w.must(err)
	if val(got.ContentLength) != 2*page {
		w.Errorf("%d bytes", val(got.ContentLength))
	}
	old, err := b.WithSnapshot(val(s.Snapshot))
	w.must(err)
	_, err = old.GetProperties(ctx, nil)
	w.must(err)
	ranges, err := b.NewGetPageRangesPager(nil).NextPage(ctx)
	w.must(err)
	if len(ranges.PageRange) != 1 {
		w.Errorf("page ranges %v", ranges.PageRange)
	}
	list, err := client.NewListBlobsFlatPager(nil).NextPage(ctx)
	w.must(err)
	if len(list.Segment.BlobItems) != 1 {
		w.Errorf("%d blobs listed", len(list.Segment.BlobItems))
	}
	if whole {
		_, err = client.GetProperties(ctx, nil)
		w.must(err)
	}
	_, err = b.Delete(ctx, &blob.DeleteOptions{DeleteSnapshots: (*blob.DeleteSnapshotsOptionType)(&[]string{"include"}[0])})
	w.must(err)
}

func tokenBlobSDK(w *wire) {
	b := w.container().blob("disk")
	w.create(b, page).ok(201)
	w.put(b, "comp=properties").hs("x-ms-blob-content-type", "a/b", "x-ms-blob-content-language", "de").ok(200)
	data := fill(211, page)
	w.update(b, 0, data).ok(201)
	at := w.snapshot(b)
	when, err := time.Parse("2006-01-02T15:04:05.0000000Z", at)
	w.must(err)
	values := sas.BlobSignatureValues{ContainerName: string(b.container()[1:]), BlobName: "disk", ExpiryTime: w.env.Clock.Now().UTC().Add(time.Hour),
		Permissions: (&sas.BlobPermissions{Read: true}).String(), ContentDisposition: `attachment; filename="a+b.vhd"`, ContentType: "x/y"}
	open := func(more string) *pageblob.Client {
		q, err := values.SignWithSharedKey(w.credential())
		w.must(err)
		client, err := pageblob.NewClientWithNoCredential(w.env.URL+"/"+w.env.Account+string(b)+"?"+more+q.Encode(), &pageblob.ClientOptions{ClientOptions: tokenOptions(w)})
		w.must(err)
		return client
	}
	client := open("")
	got, err := client.DownloadStream(ctx, nil)
	w.must(err)
	if val(got.ContentDisposition) != values.ContentDisposition || val(got.ContentType) != "x/y" || val(got.ContentLanguage) != "de" {
		w.Errorf("headers %q %q %q", val(got.ContentDisposition), val(got.ContentType), val(got.ContentLanguage))
	}
	properties, err := client.GetProperties(ctx, nil)
	w.must(err)
	if val(properties.ContentType) != "x/y" {
		w.Errorf("type %q", val(properties.ContentType))
	}
	_, err = client.Delete(ctx, nil)
	w.mustFail(err, "AuthorizationPermissionMismatch")
	_, err = client.ClearPages(ctx, blob.HTTPRange{Count: page}, nil)
	w.mustFail(err, "AuthorizationPermissionMismatch")
	values.SnapshotTime = when
	_, err = open("snapshot="+url.QueryEscape(at)+"&").GetProperties(ctx, nil)
	w.must(err)
	// A token for a snapshot is not one for the blob, nor for another snapshot.
	t := w.service("bs", "r").with("snapshot", at)
	query := t.query(b)
	w.get(b, "").byQuery(query).ok(200)
	w.get(b, "").byQuery(strings.Replace(query, "snapshot=", "none=", 1)).fails("AuthenticationFailed")
	w.clear(b, 0, page).ok(201)
	other := w.snapshot(b)
	w.get(b, "").byQuery(strings.Replace(query, url.QueryEscape(at), url.QueryEscape(other), 1)).fails("AuthenticationFailed")
	w.get(b, "snapshot="+url.QueryEscape(other)).byQuery(query).fails("AuthenticationFailed") // given twice
}

func tokenPolicies(w *wire) {
	b := w.pageBlob(page)
	c := b.container()
	now := w.env.Clock.Now().UTC()
	later, earlier := now.Add(time.Hour).Format(time.RFC3339), now.Add(-time.Hour).Format(time.RFC3339)
	set := func(pairs ...string) {
		w.Helper()
		w.put(c, aclQuery).b(policyXML(pairs...)).ok(200)
	}
	set("all", "<Start>"+earlier+"</Start><Expiry>"+later+"</Expiry><Permission>r</Permission>", "until", "<Expiry>"+later+"</Expiry>",
		"over", "<Expiry>"+earlier+"</Expiry><Permission>r</Permission>", "soon", "<Start>"+later+"</Start><Expiry>2099-01-01</Expiry><Permission>r</Permission>")
	by := func(id string, pairs ...string) *token {
		return w.service("c", "").with("se", "", "si", id).with(pairs...)
	}
	w.get(b, "").by(by("all")).ok(200)
	w.update(b, 0, fill(212, page)).by(by("all")).fails("AuthorizationPermissionMismatch")
	w.get(b, "").by(by("until", "sp", "r")).ok(200)
	w.get(b, "").by(by("all", "sr", "b")).ok(200)
	w.get(b, "").by(by("all", "sp", "r")).fails("InvalidQueryParameterValue", "QueryParameterName", "sp")
	w.get(b, "").by(by("all", "se", later)).fails("InvalidQueryParameterValue", "QueryParameterName", "se")
	w.get(b, "").by(by("all", "st", earlier)).fails("InvalidQueryParameterValue", "QueryParameterName", "st")
	w.get(b, "").by(by("until")).fails("AuthenticationFailed")
	w.get(b, "").by(by("over")).fails("AuthenticationFailed")
	w.get(b, "").by(by("soon")).fails("AuthenticationFailed")
	w.get(b, "").by(by("none")).fails("AuthenticationFailed")
	w.get(b, "").by(by("All")).fails("AuthenticationFailed")
	w.get(b, "").byQuery(strings.Replace(by("until", "sp", "r").query(b), "si=until", "si=all", 1)).fails("AuthenticationFailed")
	set("other", "<Expiry>"+later+"</Expiry><Permission>r</Permission>")
	w.get(b, "").by(by("all")).fails("AuthenticationFailed") // revoked
	w.get(b, "").by(by("other")).ok(200)
}

// tokenCreate: a token that may create does not overwrite.
func tokenCreate(w *wire) {
	b := w.pageBlob(page)
	w.update(b, 0, fill(213, page)).ok(201)
	for _, t := range []*token{w.service("c", "c"), w.account("o", "c")} {
		fresh := b.container().blob(w.env.unique())
		w.create(fresh, page).by(t).ok(201)
		w.create(fresh, page).by(t).fails("UnauthorizedBlobOverwrite")
		w.create(b, page).by(t).fails("UnauthorizedBlobOverwrite")
		w.update(b, 0, fill(214, page)).by(t).fails("AuthorizationPermissionMismatch")
		w.put(b, "comp=snapshot").by(t).ok(201)
		w.get(b, "").by(t).fails("AuthorizationPermissionMismatch")
	}
	for _, t := range []*token{w.service("c", "w"), w.account("o", "cw")} {
		w.create(b, page).by(t).ok(201)
		w.create(b, page).by(t).ok(201)
	}
}

// tokenClasses are requests of every class of operation for a blob with a snapshot, the letters of which a token must have
// one, and the type of resource it must be for.
func tokenClasses(w *wire, b ref) []tokenClass {
	c := b.container()
	return []tokenClass{
		{"get", "r", "o", func() *call { return w.get(b, "") }},
		{"head", "r", "o", func() *call { return w.head(b, "") }},
		{"page ranges", "r", "o", func() *call { return w.get(b, "comp=pagelist") }},
		{"put blob", "cw", "o", func() *call { return w.create(b, page) }},
		{"put page", "w", "o", func() *call { return w.update(b, 0, fill(215, page)) }},
		{"clear", "w", "o", func() *call { return w.clear(b, 0, page) }},
		{"metadata", "w", "o", func() *call { return w.put(b, "comp=metadata") }},
		{"resize", "w", "o", func() *call { return w.resize(b, page) }},
		{"lease", "w", "o", func() *call { return w.acquire(b, leaseA, 15) }},
		{"break", "wd", "o", func() *call { return w.lease(b, "break") }},
		{"snapshot", "cw", "o", func() *call { return w.put(b, "comp=snapshot") }},
		{"delete", "d", "o", func() *call { return w.delete(b, "") }},
		{"list blobs", "l", "c", func() *call { return w.get(c, "restype=container&comp=list") }},
		{"container properties", "r", "c", func() *call { return w.get(c, "restype=container") }},
		{"container metadata", "w", "c", func() *call { return w.put(c, "restype=container&comp=metadata") }},
		{"delete container", "d", "c", func() *call { return w.delete(c, "restype=container") }},
		{"list containers", "l", "s", func() *call { return w.get("/", "comp=list") }},
		{"service properties", "r", "s", func() *call { return w.get("/", "restype=service&comp=properties") }},
		{"get ACL", "", "c", func() *call { return w.get(c, aclQuery) }},
		{"set ACL", "", "c", func() *call { return w.put(c, aclQuery) }},
	}
}

type tokenClass struct {
	name, letters, kind string
	request             func() *call
}

// allLetters are all permissions there are.
const allLetters = "racwdxyltfmeopiu"

// tokenRefusals sends requests of every class with every kind of token that does not let them pass.
func tokenRefusals(w *wire) {
	b := w.pageBlob(page)
	w.update(b, 0, fill(216, page)).ok(201)
	now := w.env.Clock.Now().UTC()
	at := func(d time.Duration) string { return now.Add(d).Format(time.RFC3339) }
	stranger := base64.StdEncoding.EncodeToString([]byte("not a key of this account"))
	for _, k := range tokenClasses(w, b) {
		w.part(k.name, func(w *wire) {
			request := func() *call { c := k.request(); c.w = w; return c }
			request().leave("Authorization").fails("NoAuthenticationInformation")
			kinds := []func(letters string) *token{func(letters string) *token { return w.account("sco", letters) }}
			if k.kind == "o" || k.name == "list blobs" {
				kinds = append(kinds, func(letters string) *token { return w.service("c", letters) })
			}
			if k.kind == "o" {
				kinds = append(kinds, func(letters string) *token { return w.service("b", letters) })
			}
			for _, kind := range kinds {
				refuse := func(code string, pairs ...string) {
					w.Helper()
					request().by(kind(allLetters).with(pairs...)).fails(code)
				}
				refuse("AuthenticationFailed", "se", at(-time.Minute))
				refuse("AuthenticationFailed", "se", now.Format("2006-01-02T15:04Z"), "st", "2020-01-01")
				refuse("AuthenticationFailed", "st", at(time.Minute))
				refuse("AuthenticationFailed", "se", "soon")
				refuse("AuthenticationFailed", "sv", "2012-02")
				refuse("AuthorizationSourceIPMismatch", "sip", "203.0.113.9")
				refuse("AuthorizationSourceIPMismatch", "sip", "203.0.113.1-203.0.113.9")
				if strings.HasPrefix(w.env.URL, "http:") {
					refuse("AuthorizationProtocolMismatch", "spr", "https")
				}
				other := kind(allLetters)
				other.key = stranger
				request().by(other).fails("AuthenticationFailed")
				if k.letters == "" {
					refuse("AuthorizationFailure")
					continue
				}
				without := strings.Map(func(c rune) rune {
					if strings.ContainsRune(k.letters, c) {
						return -1
					}
					return c
				}, allLetters)
				request().by(kind(without)).fails("AuthorizationPermissionMismatch")
			}
			request().by(w.account("sco", allLetters).with("ss", "qtf")).fails("AuthorizationServiceMismatch")
			if k.letters != "" {
				types := strings.Replace("sco", k.kind, "", 1)
				request().by(w.account(types, allLetters)).fails("AuthorizationResourceTypeMismatch")
			}
			if k.kind == "c" && k.name != "list blobs" {
				request().by(w.service("c", allLetters)).fails("AuthorizationFailure")
			}
			if k.kind != "o" {
				request().byQuery(w.service("b", allLetters).query(b)).fails("AuthenticationFailed")
			}
			// Tokens for something else.
			request().byQuery(w.service("c", allLetters).query("/other/blob")).fails("AuthenticationFailed")
			if k.kind == "o" {
				request().byQuery(w.service("b", allLetters).query(b.container().blob("other"))).fails("AuthenticationFailed")
			}
			request().by(w.service("d", allLetters).with("sdd", "1")).fails("AuthenticationFailed")
			request().by(w.account("sco", allLetters).with("ses", "scope")).fails("UnsupportedQueryParameter", "QueryParameterName", "ses")
		})
	}
	// The second key is as good.
	second := w.account("o", "r")
	second.key = w.env.SecondKey
	w.get(b, "").by(second).ok(200)
	// A token may be newer than the server, have letters that nobody knows, be bound to this client, or begin now.
	w.get(b, "").by(w.service("b", "zr").with("sv", "2031-01-01", "sip", "127.0.0.0-127.255.255.255", "spr", "https,http", "st", at(0))).ok(200)
	// Who names no version gets the token's.
	w.headers(w.get(b, "").by(w.service("b", "r")).leave("x-ms-version").ok(200), "x-ms-version", "2021-12-02")
	// Beside an Authorization header a token does not count.
	w.get(b, w.service("b", "r").with("se", at(-time.Hour)).query(b)).ok(200)
	bad := w.get(b, w.service("b", "r").query(b))
	bad.sign.key = stranger
	if r := bad.fails("AuthenticationFailed"); strings.Contains(string(r.body), "sig:") && !strings.Contains(string(r.body), "sig:(not shown)") {
		w.Errorf("the token is told:\n%v", r)
	}
}

// tokenTampered takes tokens that are good for reading, and tries them changed in each parameter on other requests.
func tokenTampered(w *wire) {
	b := w.pageBlob(page)
	w.update(b, 0, fill(217, page)).ok(201)
	full := []string{"st", "2020-01-01", "sip", "127.0.0.1", "spr", "https,http"}
	for _, t := range []*token{w.account("o", "r").with(full...), w.service("b", "r").with(full...).with("rscd", "x"), w.service("c", "r").with(full...)} {
		query := t.query(b)
		w.get(b, "").byQuery(query).ok(200)
		for name, value := range byKey(t.fields) {
			if value == "" {
				continue
			}
			was := name + "=" + url.QueryEscape(value)
			w.get(b, "").byQuery(strings.Replace(query, was, "", 1)).fails("AuthenticationFailed")
			w.get(b, "").byQuery(query + "&" + was).fails("AuthenticationFailed")
			for _, other := range []string{value + "w", "w", "2098-01-01", "2019-01-01", "sco", "c", "b", "127.0.0.0-127.0.0.9", "https"} {
				if other != value {
					w.get(b, "").byQuery(strings.Replace(query, was, name+"="+url.QueryEscape(other), 1)).fails("AuthenticationFailed")
				}
			}
		}
		for _, write := range []*call{w.delete(b, ""), w.clear(b, 0, page), w.update(b, 0, fill(218, page)), w.put(b, "comp=metadata"),
			w.put(b, "comp=snapshot"), w.create(b, page), w.acquire(b, leaseA, 15)} {
			write.byQuery(query).fails("AuthorizationPermissionMismatch")
		}
		w.put(b, "comp=acl").byQuery(query).failsAny([]string{"InvalidQueryParameterValue", "AuthorizationFailure"})
	}
}
