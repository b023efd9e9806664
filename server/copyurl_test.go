package server

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/pageblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/service"
	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/blobstore"
	"pagevault/pagestore"
	"pagevault/replication"
)

// secondAccount is a second account, with the key of the first.
const secondAccount = "other"

// startTwo starts a server with two accounts.
func startTwo(t testing.TB, change func(o *Options)) *testServer {
	t.Helper()
	blobs, err := blobstore.Open(blobstore.Options{
		Accounts: []blobstore.AccountOptions{{Name: testAccount, Keys: [][]byte{mustKey(t)}}, {Name: secondAccount, Keys: [][]byte{mustKey(t)}}},
		Store: func(account string) (pagestore.Options, error) {
			fs := vfs.NewMem()
			return pagestore.Options{FS: fs, Dir: "index", MasterKey: pagestore.MasterKey{1}, Members: []replication.Member{{FS: fs, Dir: "replica-1"}}}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := blobs.Close(); err != nil {
			t.Errorf("closing the service: %v", err)
		}
	})
	return start(t, func(o *Options) {
		o.Service = blobs
		if change != nil {
			change(o)
		}
	})
}

// containerOf makes a container of an account and returns the SDK's client for it.
func (ts *testServer) containerOf(t testing.TB, account, name string) *container.Client {
	t.Helper()
	client, err := service.NewClientFromConnectionString("DefaultEndpointsProtocol=http;AccountName="+account+";AccountKey="+testKey+
		";BlobEndpoint=http://"+ts.addr+"/"+account+";", nil)
	if err != nil {
		t.Fatal(err)
	}
	c := client.NewContainerClient(name)
	if _, err := c.Create(t.Context(), nil); err != nil && !bloberror.HasCode(err, bloberror.ContainerAlreadyExists) {
		t.Fatal(err)
	}
	return c
}

// fillDisk makes a page blob of 12 MiB, with 5 MiB of pages at 2 MiB and a page at its end.
func fillDisk(t testing.TB, c *container.Client, name string) (*pageblob.Client, []byte) {
	t.Helper()
	disk := c.NewPageBlobClient(name)
	_, err := disk.Create(t.Context(), 12<<20, &pageblob.CreateOptions{SequenceNumber: ptr(int64(7)), Metadata: map[string]*string{"k": ptr("v")},
		HTTPHeaders: &blob.HTTPHeaders{BlobContentType: ptr("x/y")}})
	want := make([]byte, 12<<20)
	for _, off := range []int{2 << 20, 3 << 20, 4 << 20, 5 << 20, 6 << 20} {
		copy(want[off:], fill(1<<20 + off)[off:])
		if err == nil {
			_, err = disk.UploadPages(t.Context(), body(want[off:][:1<<20]), blob.HTTPRange{Offset: int64(off), Count: 1 << 20}, nil)
		}
	}
	copy(want[len(want)-512:], pages(512, 'z'))
	if err == nil {
		_, err = disk.UploadPages(t.Context(), body(pages(512, 'z')), blob.HTTPRange{Offset: 12<<20 - 512, Count: 512}, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return disk, want
}

// diskRanges is the page ranges of fillDisk.
const diskRanges = "2097152-7340031 12582400-12582911 "

func rangesOf(t testing.TB, b *pageblob.Client) string {
	t.Helper()
	page, err := b.NewGetPageRangesPager(nil).NextPage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, r := range page.PageRange {
		fmt.Fprintf(&text, "%d-%d ", *r.Start, *r.End)
	}
	return text.String()
}

// tokenFor returns a URL of a blob with a service SAS for it.
func tokenFor(t testing.TB, ts *testServer, account, path, permissions string, expiry time.Time) string {
	t.Helper()
	se := expiry.UTC().Format(time.RFC3339)
	m := hmac.New(sha256.New, mustKey(t))
	fmt.Fprintf(m, "%s\n\n%s\n/blob/%s/%s\n\n\n\n2021-12-02\nb\n\n\n\n\n\n\n", permissions, se, account, path)
	return "http://" + ts.addr + "/" + account + "/" + path + "?" + url.Values{"sv": {"2021-12-02"}, "sr": {"b"}, "sp": {permissions}, "se": {se},
		"sig": {base64.StdEncoding.EncodeToString(m.Sum(nil))}}.Encode()
}

// copied waits until a copy has ended.
func copied(t testing.TB, b *pageblob.Client) (p blob.GetPropertiesResponse) {
	t.Helper()
	eventually(t, "the end of a copy", func() bool {
		var err error
		if p, err = b.GetProperties(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		return *p.CopyStatus != blob.CopyStatusTypePending
	})
	return p
}

// TestCopyBetweenAccounts copies from one account of the server to another, as the source's token allows.
func TestCopyBetweenAccounts(t *testing.T) {
	ts := startTwo(t, func(o *Options) { o.AllowPublicAccess = true })
	ctx := t.Context()
	from := ts.containerOf(t, secondAccount, "disks")
	_, want := fillDisk(t, from, "a")
	to := ts.containerOf(t, testAccount, "disks")
	disk := to.NewPageBlobClient("b")
	later, earlier := time.Now().Add(time.Hour), time.Now().Add(-time.Hour)
	source := tokenFor(t, ts, secondAccount, "disks/a", "r", later)

	got, err := disk.StartCopyFromURL(ctx, source, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := copied(t, disk)
	if *p.CopyStatus != "success" || *p.CopyID != *got.CopyID || *p.CopyProgress != "12582912/12582912" || *p.BlobSequenceNumber != 7 ||
		*p.ContentType != "x/y" || *p.Metadata["K"] != "v" || p.CopyCompletionTime == nil {
		t.Errorf("properties: %+v", p)
	}
	if shown, _, _ := strings.Cut(source, "?"); *p.CopySource != shown {
		t.Errorf("the copy says that it is of %s", *p.CopySource)
	}
	checkDownload(ctx, t, disk, want)
	if r := rangesOf(t, disk); r != diskRanges {
		t.Errorf("pages %s", r)
	}

	refused := func(source string, status int, code string) {
		t.Helper()
		_, err := disk.StartCopyFromURL(ctx, source, nil)
		var e *azcore.ResponseError
		if !errorsAs(err, &e) || e.StatusCode != status || e.ErrorCode != "CannotVerifyCopySource" {
			t.Fatalf("got %v, want %d", err, status)
		}
		h := e.RawResponse.Header
		if h.Get("x-ms-copy-source-status-code") != fmt.Sprint(status) || h.Get("x-ms-copy-source-error-code") != code {
			t.Errorf("the source's failure: %s %s, want %d %s", h.Get("x-ms-copy-source-status-code"), h.Get("x-ms-copy-source-error-code"), status, code)
		}
		_, err = disk.UploadPagesFromURL(ctx, source, 0, 0, 512, nil)
		if !errorsAs(err, &e) || e.StatusCode != status || e.ErrorCode != "CannotVerifyCopySource" {
			t.Errorf("Put Page From URL: %v, want %d", err, status)
		}
	}
	plain := "http://" + ts.addr + "/" + secondAccount + "/disks/a"
	refused(plain, 401, "NoAuthenticationInformation")
	refused(strings.Replace(source, "sig=", "sig=A", 1), 403, "AuthenticationFailed")
	refused(tokenFor(t, ts, secondAccount, "disks/a", "w", later), 403, "AuthorizationPermissionMismatch")
	refused(tokenFor(t, ts, secondAccount, "disks/a", "r", earlier), 403, "AuthenticationFailed")
	refused(tokenFor(t, ts, secondAccount, "disks/none", "r", later), 404, "BlobNotFound")
	refused("http://"+ts.addr+"/nobody/disks/a", 404, "ResourceNotFound")
	refused(tokenFor(t, ts, testAccount, "disks/b", "w", later), 403, "AuthorizationPermissionMismatch") // its own token counts, not the key

	if _, err := from.SetAccessPolicy(ctx, &container.SetAccessPolicyOptions{Access: ptr(container.PublicAccessTypeBlob)}); err != nil {
		t.Fatal(err)
	}
	if _, err := disk.StartCopyFromURL(ctx, plain, nil); err != nil {
		t.Fatalf("public: %v", err)
	}
	copied(t, disk)
	if _, err := disk.StartCopyFromURL(ctx, plain, &blob.StartCopyFromURLOptions{
		SourceModifiedAccessConditions: &blob.SourceModifiedAccessConditions{SourceIfMatch: ptr(azcore.ETag(`"0x1"`))}}); !bloberror.HasCode(err, bloberror.SourceConditionNotMet) {
		t.Errorf("source condition: %v", err)
	}
	data := want[2<<20:][100 : 100+1024]
	sum := md5.Sum(data)
	if _, err := disk.UploadPagesFromURL(ctx, source, 2<<20+100, 512, 1024, &pageblob.UploadPagesFromURLOptions{
		SourceContentValidation: blob.SourceContentValidationTypeMD5(sum[:])}); err != nil {
		t.Fatal(err)
	}
	copy(want[512:], data)
	checkDownload(ctx, t, disk, want)

	// What the copy is to be protected by, and its tier, count for one that takes its time, too.
	if _, err := disk.StartCopyFromURL(ctx, source, &blob.StartCopyFromURLOptions{LegalHold: ptr(true)}); !bloberror.HasCode(err, "BlobOperationNotSupported") {
		t.Errorf("on hold without immutable storage: %v", err)
	}
	if _, err := disk.StartCopyFromURL(ctx, source, &blob.StartCopyFromURLOptions{Tier: ptr(blob.AccessTierP10)}); !bloberror.HasCode(err, "AccessTierNotSupportedForBlobType") {
		t.Errorf("with a tier in a standard account: %v", err)
	}

	// Nothing of all this keeps the account of the source.
	removing, end := context.WithTimeout(ctx, 10*time.Second)
	defer end()
	closed, err := ts.o.Service.Remove(removing, blobstore.Removal{Name: secondAccount, Filled: true, Commit: func() error { return nil }})
	if !closed || err != nil {
		t.Fatalf("removing the account of the source: %v, %v", closed, err)
	}
	refused(source, 404, "ResourceNotFound")
}

// TestCopyBySAS: a request by token may copy within its account what the source's own token, or its being public, allows.
func TestCopyBySAS(t *testing.T) {
	ts := startTwo(t, nil)
	ctx := t.Context()
	c := ts.containerOf(t, testAccount, "disks")
	_, want := fillDisk(t, c, "a")
	later := time.Now().Add(time.Hour)
	disk, err := pageblob.NewClientWithNoCredential(tokenFor(t, ts, testAccount, "disks/b", "rcw", later), nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = disk.StartCopyFromURL(ctx, "http://"+ts.addr+"/"+testAccount+"/disks/a", nil)
	if !bloberror.HasCode(err, bloberror.CannotVerifyCopySource) {
		t.Errorf("without a token of the source: %v", err)
	}
	got, err := disk.StartCopyFromURL(ctx, tokenFor(t, ts, testAccount, "disks/a", "r", later), nil)
	if err != nil || *got.CopyStatus != "success" {
		t.Fatalf("%v, %v", got.CopyStatus, err)
	}
	checkDownload(ctx, t, disk, want)
}

func errorsAs(err error, target **azcore.ResponseError) bool {
	e, ok := err.(*azcore.ResponseError)
	*target = e
	return ok
}

// TestCopyFromServer copies from another server over HTTP.
func TestCopyFromServer(t *testing.T) {
	elsewhere := startTwo(t, nil)
	ts := start(t, func(o *Options) { o.CopySourceAllow = []string{"127.0.0.0/8"} })
	ctx := t.Context()
	_, want := fillDisk(t, elsewhere.containerOf(t, secondAccount, "disks"), "a")
	source := tokenFor(t, elsewhere, secondAccount, "disks/a", "r", time.Now().Add(time.Hour))
	c := ts.containerOf(t, testAccount, "disks")
	disk := c.NewPageBlobClient("b")
	if _, err := disk.StartCopyFromURL(ctx, source, nil); err != nil {
		t.Fatal(err)
	}
	p := copied(t, disk)
	if *p.CopyStatus != "success" || *p.BlobSequenceNumber != 7 || *p.ContentType != "x/y" || *p.Metadata["K"] != "v" {
		t.Errorf("properties: %+v", p)
	}
	checkDownload(ctx, t, disk, want)
	if r := rangesOf(t, disk); r != diskRanges {
		t.Errorf("pages %s", r)
	}
	data := want[2<<20:][100 : 100+1024]
	sum := md5.Sum(data)
	if _, err := disk.UploadPagesFromURL(ctx, source, 2<<20+100, 512, 1024, &pageblob.UploadPagesFromURLOptions{
		SourceContentValidation: blob.SourceContentValidationTypeMD5(sum[:])}); err != nil {
		t.Fatal(err)
	}
	copy(want[512:], data)
	checkDownload(ctx, t, disk, want)
	_, err := disk.UploadPagesFromURL(ctx, source, 12<<20-512, 0, 1024, nil)
	if !bloberror.HasCode(err, bloberror.InvalidRange) {
		t.Errorf("past the end of the source: %v", err)
	}
	_, err = disk.StartCopyFromURL(ctx, strings.Replace(source, "sig=", "sig=A", 1), nil)
	if !bloberror.HasCode(err, bloberror.CannotVerifyCopySource) {
		t.Errorf("wrong signature: %v", err)
	}
	_, err = disk.StartCopyFromURL(ctx, source, &blob.StartCopyFromURLOptions{
		SourceModifiedAccessConditions: &blob.SourceModifiedAccessConditions{SourceIfMatch: ptr(azcore.ETag(`"0x1"`))}})
	if !bloberror.HasCode(err, bloberror.SourceConditionNotMet) {
		t.Errorf("source condition: %v", err)
	}
	u, err := url.Parse(source)
	if err != nil {
		t.Fatal(err)
	}
	if sig := u.Query().Get("sig"); strings.Contains(ts.log.String(), sig) || strings.Contains(ts.log.String(), url.QueryEscape(sig)) {
		t.Errorf("the log has the signature %s:\n%s", sig, ts.log)
	}
}

// TestCopyFromServerMD5: the MD5 that the source says to have is one of the headers that its copy has.
func TestCopyFromServerMD5(t *testing.T) {
	const sum = "AAECAwQFBgcICQoLDA0ODw=="
	p := newPair(t)
	p.create("a", 4)
	p.do(p.from, "PUT", "disks/a?comp=properties", nil, "x-ms-blob-content-md5: "+sum)
	f := func(says, want string) {
		t.Helper()
		p.between.spoils(func(_ int, asked string) spoil {
			if asked != "HEAD" || says == "" {
				return nil
			}
			return func(resp *http.Response) error {
				resp.Header.Set("Content-MD5", says)
				return nil
			}
		})
		id := p.copied("c", "a", p.snapshot("a"))
		p.do(p.to, "PUT", "disks/whole", nil, "x-ms-copy-source: "+p.source("a", ""))
		p.to.settled(t, "disks/whole")
		for _, path := range []string{"disks/c?snapshot=" + id, "disks/whole"} {
			if got := p.do(p.to, "HEAD", path, nil).Header.Get("Content-MD5"); got != want {
				t.Errorf("source %q: %s has Content-MD5 %q, want %q", says, path, got, want)
			}
		}
	}
	f("", sum)
	f("AAEC", "")
	f("no base64 at all", "")
}

// slowSource is a source that a test holds up: it has one MiB of pages at its beginning.
type slowSource struct {
	*httptest.Server
	asked chan struct{} // gets a value when a piece is wanted
	give  chan int      // the status that it gets
	left  chan struct{} // gets a value when nobody waits for a piece any more
}

func newSlowSource(t testing.TB) *slowSource {
	s := &slowSource{asked: make(chan struct{}, 10), give: make(chan int, 10), left: make(chan struct{}, 10)}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"0x8D0000000000001"`)
		w.Header().Set("x-ms-blob-type", "PageBlob")
		switch {
		case r.Method == http.MethodHead:
			w.Header().Set("Content-Length", "2097152")
		case r.URL.Query().Get("comp") == "pagelist":
			fmt.Fprint(w, `<?xml version="1.0" encoding="utf-8"?><PageList><PageRange><Start>0</Start><End>1048575</End></PageRange></PageList>`)
		default:
			s.asked <- struct{}{}
			select {
			case status := <-s.give:
				w.Header().Set("Content-Range", "bytes 0-1048575/2097152")
				w.WriteHeader(status)
				if status == http.StatusPartialContent {
					w.Write(pages(1<<20, 'x'))
				}
			case <-r.Context().Done():
				s.left <- struct{}{}
			}
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// TestPendingCopy: what clients see of a copy that takes its time, and how they end it.
func TestPendingCopy(t *testing.T) {
	ts := start(t, func(o *Options) { o.CopySourceAllow = []string{"127.0.0.1"} })
	source := newSlowSource(t)
	ctx := t.Context()
	c := ts.containerOf(t, testAccount, "disks")
	disk := c.NewPageBlobClient("b")
	got, err := disk.StartCopyFromURL(ctx, source.URL+"/a/b?sig=secret", nil)
	if err != nil || *got.CopyStatus != "pending" {
		t.Fatalf("%v, %v", got.CopyStatus, err)
	}
	<-source.asked
	p, err := disk.GetProperties(ctx, nil)
	if err != nil || *p.CopyStatus != "pending" || *p.CopyProgress != "0/2097152" || p.CopyCompletionTime != nil || *p.ContentLength != 2<<20 {
		t.Fatalf("%+v, %v", p, err)
	}
	list, err := c.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{Include: container.ListBlobsInclude{Copy: true}}).NextPage(ctx)
	if err != nil || *list.Segment.BlobItems[0].Properties.CopyStatus != "pending" || *list.Segment.BlobItems[0].Properties.CopyProgress != "0/2097152" {
		t.Fatalf("%+v, %v", list, err)
	}
	pending := func(what string, err error) {
		t.Helper()
		if !bloberror.HasCode(err, bloberror.PendingCopyOperation) {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, err = disk.UploadPages(ctx, body(pages(512, 'y')), blob.HTTPRange{Count: 512}, nil)
	pending("Put Page", err)
	_, err = disk.Delete(ctx, nil)
	pending("Delete Blob", err)
	_, err = disk.StartCopyFromURL(ctx, source.URL+"/a/b", nil)
	pending("Copy Blob", err)
	_, err = disk.AbortCopyFromURL(ctx, "aaaaaaaa-1111-4444-8888-0123456789ab", nil)
	if !bloberror.HasCode(err, bloberror.CopyIDMismatch) {
		t.Errorf("abort of another copy: %v", err)
	}
	if _, err = disk.AbortCopyFromURL(ctx, *got.CopyID, nil); err != nil {
		t.Fatal(err)
	}
	if p, err = disk.GetProperties(ctx, nil); err != nil || *p.CopyStatus != "aborted" || *p.ContentLength != 0 || p.CopyCompletionTime == nil {
		t.Errorf("%+v, %v", p, err)
	}
	_, err = disk.AbortCopyFromURL(ctx, *got.CopyID, nil)
	if !bloberror.HasCode(err, bloberror.NoPendingCopyOperation) {
		t.Errorf("abort again: %v", err)
	}
	<-source.left // else it might take what is for the next

	start := func() {
		t.Helper()
		if _, err := disk.StartCopyFromURL(ctx, source.URL+"/a/b?sig=secret", nil); err != nil {
			t.Fatal(err)
		}
		<-source.asked
	}
	start()
	source.give <- http.StatusForbidden
	if p = copied(t, disk); *p.CopyStatus != "failed" || *p.CopyStatusDescription != `403 CannotVerifyCopySource "The source answered 403."` || *p.ContentLength != 0 {
		t.Errorf("%+v", p)
	}
	start()
	source.give <- http.StatusServiceUnavailable // it is asked again
	<-source.asked
	source.give <- http.StatusPartialContent
	if p = copied(t, disk); *p.CopyStatus != "success" || *p.CopySource != source.URL+"/a/b" {
		t.Errorf("%+v", p)
	}
	checkDownload(ctx, t, disk, append(pages(1<<20, 'x'), make([]byte, 1<<20)...))
	start()
	source.give <- http.StatusPreconditionFailed // it was changed
	if p = copied(t, disk); *p.CopyStatus != "failed" {
		t.Errorf("%+v", p)
	}
	if strings.Contains(ts.log.String(), "secret") {
		t.Errorf("the log:\n%s", ts.log)
	}
}

// TestIncrementalCopy follows a disk with snapshots to another account.
func TestIncrementalCopy(t *testing.T) {
	ts := startTwo(t, nil)
	ctx := t.Context()
	source, want := fillDisk(t, ts.containerOf(t, secondAccount, "disks"), "a")
	c := ts.containerOf(t, testAccount, "disks")
	disk := c.NewPageBlobClient("b")
	token := tokenFor(t, ts, secondAccount, "disks/a", "r", time.Now().Add(time.Hour))
	_, query, _ := strings.Cut(token, "?")
	step := func() string {
		t.Helper()
		snap, err := source.CreateSnapshot(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		// The SDK adds the snapshot to what it has of the query.
		plain, err := pageblob.NewClientWithNoCredential(token, nil)
		if err != nil {
			t.Fatal(err)
		}
		from, err := plain.WithSnapshot(*snap.Snapshot)
		if err != nil {
			t.Fatal(err)
		}
		signed, _, _ := strings.Cut(from.URL(), "?")
		got, err := disk.StartCopyIncremental(ctx, signed+"?"+query, *snap.Snapshot, nil)
		if err != nil || *got.CopyStatus != "pending" {
			t.Fatalf("%v, %v", got.CopyStatus, err)
		}
		p := copied(t, disk)
		if *p.CopyStatus != "success" || !*p.IsIncrementalCopy || p.DestinationSnapshot == nil {
			t.Fatalf("%+v", p)
		}
		copyOf, err := disk.WithSnapshot(*p.DestinationSnapshot)
		if err != nil {
			t.Fatal(err)
		}
		checkDownload(ctx, t, copyOf, want)
		return *p.DestinationSnapshot
	}
	first := step()
	copy(want[8<<20:], pages(1024, 'n'))
	if _, err := source.UploadPages(ctx, body(pages(1024, 'n')), blob.HTTPRange{Offset: 8 << 20, Count: 1024}, nil); err != nil {
		t.Fatal(err)
	}
	clear(want[2<<20:][:512])
	if _, err := source.ClearPages(ctx, blob.HTTPRange{Offset: 2 << 20, Count: 512}, nil); err != nil {
		t.Fatal(err)
	}
	second := step()
	last, err := disk.WithSnapshot(second)
	if err != nil {
		t.Fatal(err)
	}
	diff, err := last.NewGetPageRangesDiffPager(&pageblob.GetPageRangesDiffOptions{PrevSnapshot: &first}).NextPage(ctx)
	if err != nil || len(diff.PageRange) != 1 || *diff.PageRange[0].Start != 8<<20 || *diff.PageRange[0].End != 8<<20+1023 ||
		len(diff.ClearRange) != 1 || *diff.ClearRange[0].Start != 2<<20 || *diff.ClearRange[0].End != 2<<20+511 {
		t.Errorf("differences %+v, %v", diff, err)
	}
	list, err := c.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{Include: container.ListBlobsInclude{Copy: true}}).NextPage(ctx)
	if err != nil || !*list.Segment.BlobItems[0].Properties.IncrementalCopy || *list.Segment.BlobItems[0].Properties.DestinationSnapshot != second {
		t.Errorf("%+v, %v", list, err)
	}
	for what, path := range map[string]string{"content": "disks/b", "metadata": "disks/b?comp=metadata", "tags": "disks/b?comp=tags"} {
		if a := ts.do(t, call{method: "GET", path: path}); a.StatusCode != 409 || a.Header.Get("x-ms-error-code") != "OperationNotAllowedOnIncrementalCopyBlob" {
			t.Errorf("%s of the destination: %s", what, a.raw)
		}
	}
}

// TestCopySourceAddresses: only what is of the public internet, or allowed, is connected to.
func TestCopySourceAddresses(t *testing.T) {
	f, err := newFetcher([]string{"10.1.0.0/16", "192.168.7.9", "fd00::/8", "my-host"}, "agent")
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]bool{
		"8.8.8.8:443": true, "8.8.8.8:80": true, "[2a00:1450::1]:443": true, "[::ffff:8.8.8.8]:443": true,
		"8.8.8.8:22": false, "8.8.8.8:8080": false, // ports
		"10.1.2.3:9000": true, "192.168.7.9:1": true, "[fd00::1]:5": true, "[::ffff:10.1.2.3]:80": true, // allowed
		"127.0.0.1:80": false, "127.255.0.1:80": false, "[::1]:80": false, "[::ffff:127.0.0.1]:80": false, "0.0.0.0:80": false, "[::]:80": false,
		"10.2.0.1:80": false, "172.16.0.1:80": false, "172.31.255.255:443": false, "192.168.7.8:80": false, "172.32.0.1:80": true,
		"169.254.169.254:80": false, "[fe80::1]:80": false, "[fe80::1%eth0]:80": false, "168.63.129.16:80": false, "100.100.100.200:80": false,
		"192.0.0.192:80": false, "198.18.0.1:80": false, "224.0.0.1:80": false, "255.255.255.255:80": false, "240.0.0.1:80": false, "[ff02::1]:80": false,
		"[fc00::1]:80": false, "[64:ff9b::7f00:1]:80": false, "[64:ff9b:1::1]:80": false, "[::127.0.0.1]:80": false,
		"[2002:7f00:1::]:80": false, "[2001::1]:80": false, "[2001:db8::1]:80": false, "203.0.113.1:80": false, "[100::1]:80": false, "[fec0::1]:80": false,
	} {
		if got := f.permits(netip.MustParseAddrPort(text)); got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
	for _, bad := range []string{"", "10.0.0.0/33", "a b", "http://host", "host:80", "*.com"} {
		if _, err := newFetcher([]string{bad}, ""); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// TestCopySourceRefused: what is not connected to, and not followed.
func TestCopySourceRefused(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	seen := make(chan string, 10)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- r.Method + " " + r.URL.Path + " " + r.Header.Get("Authorization") + r.Header.Get("x-ms-date")
		switch r.URL.Path {
		case "/moved":
			http.Redirect(w, r, "/secret", http.StatusFound)
		case "/large":
			w.Header().Set("X-Large", strings.Repeat("x", 2*fetchHeaders))
		case "/type":
			w.Header().Set("x-ms-blob-type", "OtherBlob")
			w.Header().Set("ETag", `"0x1"`)
		case "/whole": // it knows no ranges
			w.Write(bytes.Repeat([]byte("w"), 1024))
		default:
			w.WriteHeader(http.StatusTeapot)
		}
	}))
	defer web.Close()
	_, port, _ := strings.Cut(strings.TrimPrefix(web.URL, "http://"), ":")
	copyTo := func(ts *testServer, source string) answer {
		return ts.do(t, call{method: "PUT", path: "disks/c", header: []string{"x-ms-copy-source: " + source}})
	}
	pageTo := func(ts *testServer, source string, n int) answer {
		return ts.do(t, call{method: "PUT", path: "disks/b?comp=page", header: []string{"x-ms-copy-source: " + source, "x-ms-page-write: update",
			fmt.Sprintf("x-ms-range: bytes=0-%d", n-1), fmt.Sprintf("x-ms-source-range: bytes=0-%d", n-1)}})
	}
	strict := start(t, nil)
	strict.makeBlob(t, 4096)
	for _, host := range []string{"127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254", "0.0.0.0", "2130706433.invalid"} {
		source := "http://" + host + ":" + port + "/x?sig=secret"
		for _, a := range []answer{copyTo(strict, source), pageTo(strict, source, 512)} {
			if a.Header.Get("x-ms-error-code") != "CannotVerifyCopySource" || a.StatusCode != 403 && host != "2130706433.invalid" || strings.Contains(string(a.body), "secret") {
				t.Errorf("%s: %s%s", host, a.raw, a.body)
			}
		}
	}
	select {
	case s := <-seen:
		t.Errorf("the source was asked for %s", s)
	default:
	}
	ts := start(t, func(o *Options) { o.CopySourceAllow = []string{"127.0.0.1"} })
	ts.makeBlob(t, 4096)
	copyTo(ts, web.URL+"/moved").want(t, 400, "CannotVerifyCopySource")
	copyTo(ts, web.URL+"/large").want(t, 404, "CannotVerifyCopySource")
	copyTo(ts, web.URL+"/type").want(t, 409, "InvalidBlobType")
	copyTo(ts, web.URL+"/other").want(t, 418, "CannotVerifyCopySource")
	pageTo(ts, web.URL+"/whole", 512).want(t, 400, "CannotVerifyCopySource")
	pageTo(ts, web.URL+"/whole", 1024).want(t, 201, "")
	ts.do(t, call{method: "PUT", path: "disks/d?comp=incrementalcopy", header: []string{"x-ms-copy-source: " + web.URL + "/x?snapshot=1"}}).want(t, 400, "InvalidHeaderValue")
	ts.do(t, call{method: "PUT", path: "disks/d?comp=incrementalcopy", header: []string{"x-ms-copy-source: " + web.URL + "/?snapshot=" + neverTaken}}).want(t, 409, "InvalidSourceBlobUrl")
	for range 6 {
		if s := <-seen; strings.Contains(s, "secret") || !strings.HasSuffix(s, " ") {
			t.Errorf("the source was asked for %q", s)
		}
	}
	web.Close()
	copyTo(ts, web.URL+"/x").want(t, 404, "CannotVerifyCopySource")
}

// FuzzPageList: any list of pages is refused, or is in order and within the blob.
func FuzzPageList(f *testing.F) {
	f.Add([]byte(`<?xml version="1.0" encoding="utf-8"?><PageList><PageRange><Start>0</Start><End>511</End></PageRange><NextMarker>x</NextMarker></PageList>`), int64(4096))
	f.Add([]byte(`<PageList><PageRange><Start>512</Start><End>511</End></PageRange></PageList>`), int64(4096))
	f.Add([]byte(`<PageList><ClearRange><Start>512</Start><End>8191</End></ClearRange><PageRange><Start>0</Start><End>511</End></PageRange></PageList>`), int64(4096))
	f.Fuzz(func(t *testing.T, p []byte, size int64) {
		for _, differences := range []bool{false, true} {
			entries, _, err := parsePageList(p, size, differences)
			last := int64(0)
			for _, e := range entries {
				if err != nil || e.Start < last || e.End <= e.Start || e.End > size && !e.Clear || e.End > 8<<40 || e.Start%512 != 0 || e.End%512 != 0 || e.Clear && !differences {
					t.Fatalf("entry %+v after %d of %d, %v", e, last, size, err)
				}
				last = e.End
			}
		}
	})
}
