package server

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pagevault/internal/azure/header"
	"pagevault/internal/azure/op"
	"pagevault/internal/azure/query"
)

// authCase is a request for an operation, as it stands without any credentials, and what credentials it takes. What it
// takes is written down here from the reference, and not taken from the table of operations.
type authCase struct {
	op     op.ID
	what   string // tells the cases of an operation apart, "" if there is one
	path   string // below the account; C is the container, B the blob
	query  string
	header []string
	body   string

	types      string   // resource types of which an account SAS must be for one; "": no token will do
	needs      []string // of each of these permissions a token must have one
	service    bool     // tokens for a container and for a blob will do
	public     string   // the least public container in which nobody needs credentials: blob, container; "": there is none
	anybody    bool     // browsers ask without credentials, whatever the container is
	creates    bool     // permission to create is enough if there is no such blob, and else UnauthorizedBlobOverwrite
	bearerOnly bool     // not even a key of the account will do
	noRole     bool     // none of the roles of Azure for data has it, so that no bearer token will do
	unsure     bool     // who is let in need not succeed, as what is asked for is refused
	secondary  bool     // of the account's second address
	held       bool     // in a container with immutable storage

	// ready makes what the request takes to succeed in a container, and adds to the request what only that can tell.
	ready func(t *testing.T, s *authServer, c *authCase, container string)
}

// The forms in which most cases come.
const (
	anyPermission = "racwdxyltmeopifu"

	pageBlobHeaders = "x-ms-blob-type: PageBlob|x-ms-blob-content-length: 1024"
	updateHeaders   = "x-ms-page-write: update|x-ms-range: bytes=0-511"
	source          = "x-ms-copy-source: http://127.0.0.1/" + testAccount + "/C/source"
)

func lines(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, "|")
}

// onService, onContainer and onBlob are cases of an operation at a level, which takes what.
func onService(id op.ID, query, headers string, needs ...string) authCase {
	return authCase{op: id, query: query, header: lines(headers), types: "s", needs: needs}
}

func onContainer(id op.ID, query, headers string, needs ...string) authCase {
	if query != "" {
		query = "&" + query
	}
	return authCase{op: id, path: "C", query: "restype=container" + query, header: lines(headers), types: "c", needs: needs}
}

func onBlob(id op.ID, query, headers string, needs ...string) authCase {
	return authCase{op: id, path: "C/B", query: query, header: lines(headers), types: "o", needs: needs, service: true}
}

// keysOnly is a case that no token will do for.
func (c authCase) keysOnly() authCase {
	c.types, c.needs, c.service = "", nil, false
	return c
}

// but returns the case with a change.
func (c authCase) but(change func(c *authCase)) authCase {
	change(&c)
	return c
}

func (c authCase) at(path string) authCase {
	c.path = path
	return c
}

func (c authCase) withoutRole() authCase {
	c.noRole = true
	return c
}

func (c authCase) orNot() authCase {
	c.unsure = true
	return c
}

func (c authCase) withBody(body string) authCase {
	c.body = body
	return c
}

func (c authCase) inHeld() authCase {
	c.held = true
	return c
}

func (c authCase) readyBy(ready func(t *testing.T, s *authServer, c *authCase, container string)) authCase {
	c.ready = ready
	return c
}

// as says what is special about a case.
func (c authCase) as(what string) authCase {
	c.what = what
	return c
}

func (c authCase) publicIn(level string) authCase {
	c.public = level
	return c
}

// tokensForContainer: besides an account SAS, one for the container or the blob will do.
func (c authCase) tokensForContainer() authCase {
	c.service = true
	return c
}

func (c authCase) ofType(types string) authCase {
	c.types = types
	return c
}

// authCases has a case for each row of the table of operations, also of those that are refused: who is asking comes
// first.
func authCases() []authCase {
	const lease = "x-ms-lease-action: acquire|x-ms-lease-duration: 15"
	const breaks = "x-ms-lease-action: break"
	return []authCase{
		onService(op.ListContainers, "comp=list", "", "l"),
		onService(op.GetServiceProperties, "restype=service&comp=properties", "", "r").withoutRole(),
		onService(op.SetServiceProperties, "restype=service&comp=properties", "", "w").withoutRole().
			withBody("<StorageServiceProperties><DefaultServiceVersion>2021-12-02</DefaultServiceVersion></StorageServiceProperties>"),
		onService(op.GetServiceStats, "restype=service&comp=stats", "", "r").withoutRole().but(func(c *authCase) { c.secondary = true }),
		onService(op.GetUserDelegationKey, "restype=service&comp=userdelegationkey", "").keysOnly().but(func(c *authCase) { c.bearerOnly = true }).
			withBody("<KeyInfo><Start>" + moment(0) + "</Start><Expiry>" + moment(time.Hour) + "</Expiry></KeyInfo>"),
		onService(op.ServiceBatch, "comp=batch", "Content-Type: multipart/mixed; boundary=b").keysOnly().withBody("BATCH"),
		onService(op.FindBlobsByTags, "comp=blobs&where=a%3D%27b%27", "", "f").ofType("o"),
		onService(op.GetAccountInformation, "restype=account&comp=properties", "", anyPermission).ofType("sco").tokensForContainer().as("service"),
		onBlob(op.GetAccountInformation, "restype=account&comp=properties", "", anyPermission).ofType("sco").as("blob"),
		onBlob(op.CORSPreflight, "", "Origin: http://example.org|Access-Control-Request-Method: GET").keysOnly().but(func(c *authCase) { c.anybody = true }),

		onContainer(op.CreateContainer, "", "", "cw").at("C-new"),
		onContainer(op.GetContainerProperties, "", "", "r").publicIn("container"),
		onContainer(op.GetContainerMetadata, "comp=metadata", "", "r").publicIn("container"),
		onContainer(op.SetContainerMetadata, "comp=metadata", "x-ms-meta-changed: 1", "w"),
		onContainer(op.GetContainerACL, "comp=acl", "").keysOnly(),
		onContainer(op.SetContainerACL, "comp=acl", "").keysOnly(),
		onContainer(op.DeleteContainer, "", "", "d"),
		onContainer(op.LeaseContainer, "comp=lease", lease, "w").as("acquire"),
		onContainer(op.LeaseContainer, "comp=lease", breaks, "wd").readyBy(leased).as("break"),
		onContainer(op.RestoreContainer, "comp=undelete", "x-ms-deleted-container-name: C|x-ms-deleted-container-version: 1").readyBy(deleted).keysOnly(),
		onContainer(op.RenameContainer, "comp=rename", "x-ms-source-container-name: C").orNot().keysOnly().withoutRole(),
		onContainer(op.ListBlobs, "comp=list", "", "l").tokensForContainer().publicIn("container"),
		onContainer(op.ListBlobs, "comp=list&include=metadata,tags", "", "l", "t").tokensForContainer().as("with tags"),
		onContainer(op.FindBlobsByTagsInContainer, "comp=blobs&where=a%3D%27b%27", "", "f").tokensForContainer(),
		onContainer(op.ContainerBatch, "comp=batch", "Content-Type: multipart/mixed; boundary=b").keysOnly().withBody("BATCH"),

		onBlob(op.PutPageBlob, "", pageBlobHeaders, "w").as("again").but(func(c *authCase) { c.creates = true }),
		onBlob(op.PutPageBlob, "", pageBlobHeaders, "cw").at("C/new"),
		onBlob(op.PutPageBlob, "", pageBlobHeaders+"|x-ms-tags: a=b", "cw", "t").at("C/new").as("with tags"),
		onBlob(op.PutBlockBlob, "", "x-ms-blob-type: BlockBlob", "cw").at("C/new").withBody("content"),
		onBlob(op.PutAppendBlob, "", "x-ms-blob-type: AppendBlob", "cw").at("C/new"),
		onBlob(op.PutBlobFromURL, "", "x-ms-blob-type: BlockBlob|"+source, "cw").at("C/new").readyBy(readable),
		onBlob(op.CopyBlobFromURL, "", "x-ms-requires-sync: true|"+source, "cw").at("C/new").readyBy(readable),
		onBlob(op.CopyBlob, "", source, "cw").at("C/new").readyBy(readable),
		onBlob(op.GetBlob, "", "", "r").publicIn("blob"),
		onBlob(op.GetBlob, "", "x-ms-if-tags: a = 'b'", "r", "t").as("if tags"),
		onBlob(op.GetBlob, "snapshot=AT", "", "r").as("snapshot").publicIn("blob"),
		onBlob(op.GetBlob, "versionid=2026-01-01T00:00:00.0000000Z", "", "r").orNot().as("version").publicIn("blob"),
		onBlob(op.GetBlobProperties, "", "", "r").publicIn("blob"),
		onBlob(op.DeleteBlob, "", "x-ms-delete-snapshots: include", "d"),
		onBlob(op.DeleteBlob, "snapshot=AT", "", "d").as("snapshot"),
		onBlob(op.DeleteBlob, "versionid=2026-01-01T00:00:00.0000000Z", "", "x").orNot().as("version"),
		onBlob(op.DeleteBlob, "versionid=2026-01-01T00:00:00.0000000Z&deletetype=permanent", "", "y").orNot().as("permanently"),
		onBlob(op.SetBlobProperties, "comp=properties", "x-ms-blob-content-type: changed/1", "w"),
		onBlob(op.SetBlobProperties, "comp=properties", "x-ms-blob-content-length: 512", "w").as("resize"),
		onBlob(op.SetBlobProperties, "comp=properties", "x-ms-sequence-number-action: increment", "w").as("sequence number"),
		onBlob(op.GetBlobMetadata, "comp=metadata", "", "r").publicIn("blob"),
		onBlob(op.SetBlobMetadata, "comp=metadata", "x-ms-meta-changed: 1", "w"),
		onBlob(op.LeaseBlob, "comp=lease", lease, "w").as("acquire"),
		onBlob(op.LeaseBlob, "comp=lease", breaks, "wd").readyBy(leased).as("break"),
		onBlob(op.SnapshotBlob, "comp=snapshot", "", "cw"),
		onBlob(op.AbortCopyBlob, "comp=copy&copyid=11111111-1111-1111-1111-111111111111", "x-ms-copy-action: abort", "w").readyBy(pending),
		onBlob(op.IncrementalCopyBlob, "comp=incrementalcopy", strings.Replace(source, "C/source", "C/b?snapshot=AT", 1), "cw").at("C/new").readyBy(readable),
		onBlob(op.SetBlobTier, "comp=tier", "x-ms-access-tier: P30", "w"),
		onBlob(op.SetBlobTier, "comp=tier&versionid=2026-01-01T00:00:00.0000000Z", "x-ms-access-tier: P30", "w").orNot().as("version"),
		onBlob(op.UndeleteBlob, "comp=undelete", "", "w"),
		onBlob(op.SetBlobExpiry, "comp=expiry", "x-ms-expiry-option: NeverExpire").orNot().keysOnly(),
		onBlob(op.GetBlobTags, "comp=tags", "", "t"),
		onBlob(op.SetBlobTags, "comp=tags&versionid=2026-01-01T00:00:00.0000000Z", "", "t").orNot().as("version").
			withBody("<Tags><TagSet><Tag><Key>changed</Key><Value>1</Value></Tag></TagSet></Tags>"),
		onBlob(op.SetBlobTags, "comp=tags", "", "t").
			withBody("<Tags><TagSet><Tag><Key>changed</Key><Value>1</Value></Tag></TagSet></Tags>"),
		onBlob(op.SetImmutabilityPolicy, "comp=immutabilitypolicies", "x-ms-immutability-policy-until-date: Fri, 01 Jan 2100 00:00:00 GMT", "i").inHeld(),
		onBlob(op.DeleteImmutabilityPolicy, "comp=immutabilitypolicies", "", "i").inHeld(),
		onBlob(op.SetLegalHold, "comp=legalhold", "x-ms-legal-hold: true", "i").inHeld(),
		onBlob(op.SetLegalHold, "comp=legalhold&versionid=2026-01-01T00:00:00.0000000Z", "x-ms-legal-hold: true", "i").orNot().as("version"),

		onBlob(op.PutPage, "comp=page", updateHeaders, "w").withBody(strings.Repeat("X", 512)),
		onBlob(op.ClearPages, "comp=page", "x-ms-page-write: clear|x-ms-range: bytes=0-511", "w"),
		onBlob(op.PutPageFromURL, "comp=page", updateHeaders+"|x-ms-source-range: bytes=0-511|"+source, "w").readyBy(readable),
		onBlob(op.GetPageRanges, "comp=pagelist", "", "r").publicIn("blob"),
		onBlob(op.GetPageRangesDiff, "comp=pagelist&prevsnapshot=AT", "", "r").publicIn("blob"),

		onBlob(op.PutBlock, "comp=block&blockid=AAAA", "", "cw").at("C/new").withBody("content"),
		onBlob(op.PutBlockFromURL, "comp=block&blockid=AAAA", source, "cw").at("C/new").readyBy(readable),
		onBlob(op.PutBlockList, "comp=blocklist", "", "cw").at("C/new").withBody("<BlockList/>"),
		onBlob(op.GetBlockList, "comp=blocklist", "", "r").orNot().publicIn("blob"),
		onBlob(op.GetBlockList, "comp=blocklist&blocklisttype=all", "", "r").orNot().as("not committed"),
		onBlob(op.AppendBlock, "comp=appendblock", "", "aw").orNot().withBody("content"),
		onBlob(op.AppendBlockFromURL, "comp=appendblock", source, "aw").at("C/new").readyBy(appendable),
		onBlob(op.SealAppendBlob, "comp=seal", "", "w").orNot(),
		onBlob(op.QueryBlobContents, "comp=query", "", "r").orNot().withBody("<QueryRequest/>"),
	}
}

// name returns what the case is called in failures.
func (c *authCase) name() string {
	if c.what == "" {
		return c.op.String()
	}
	return c.op.String() + ", " + c.what
}

// on puts the names of a container and a snapshot into the case. inner is the body of a batch's part.
func (c authCase) on(container, at, batch string) authCase {
	names := strings.NewReplacer("AT", strings.ReplaceAll(at, ":", "%3A"))
	c.path = strings.Replace(strings.Replace(c.path, "C", container, 1), "/B", "/b", 1)
	c.query = names.Replace(c.query)
	c.header = slices.Clone(c.header)
	for i, h := range c.header {
		c.header[i] = names.Replace(strings.Replace(h, "/C/", "/"+container+"/", 1))
	}
	if c.body == "BATCH" {
		c.body = batch
	}
	return c
}

// request returns the case as a request without credentials.
func (c *authCase) request(method string) *authRequest {
	query := ""
	if c.query != "" {
		query = "?" + c.query
	}
	r := &authRequest{account: testAccount, method: method, path: "/" + testAccount + "/" + c.path, query: query, body: []byte(c.body)}
	if c.secondary {
		r.path = "/" + testAccount + "-secondary/" + c.path
	}
	r.header = append([]string{"Host: 127.0.0.1", "x-ms-version: 2026-12-06", fmt.Sprintf("Content-Length: %d", len(c.body))}, c.header...)
	return r
}

// TestAuthCases: each row has a case for each of its methods, and each case is a request for its row. A row that has
// none fails here, so that none goes untested in the tests of TestNobodyGetsThrough and its like.
func TestAuthCases(t *testing.T) {
	levels := []op.Level{op.Service, op.Container, op.Blob}
	have := map[op.ID]bool{}
	for _, c := range authCases() {
		have[c.op] = true
		row := &op.Table[c.op-1]
		for _, method := range row.Methods {
			var q query.Set
			var h header.Set
			if err := q.Parse([]byte(c.query)); err != nil {
				t.Fatal(err)
			}
			for _, line := range c.header {
				name, value, _ := strings.Cut(line, ": ")
				if err := h.Add([]byte(name), []byte(value)); err != nil {
					t.Fatal(err)
				}
			}
			level := levels[0]
			if c.path != "" {
				level = levels[1+strings.Count(c.path, "/")]
			}
			got, err := op.Match(level, []byte(method), &q, &h)
			if err != nil || got.ID != c.op {
				t.Errorf("%s %s is a request for %v, %v", method, c.name(), got, err)
			}
		}
	}
	for i := range op.Table {
		if !have[op.Table[i].ID] {
			t.Errorf("%s has no case", op.Table[i].Name)
		}
	}
}
