package server

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/appendblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
)

// fromAll reads a source, which begins with these bytes, by each of the four operations, and checks what comes of it.
func fromAll(t *testing.T, c *container.Client, source string, want []byte) {
	t.Helper()
	ctx := t.Context()
	check := func(name string, err error, want []byte) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got := make([]byte, len(want))
		if n, err := c.NewBlobClient(name).DownloadBuffer(ctx, got, nil); err != nil || n != int64(len(want)) || !bytes.Equal(got, want) {
			t.Fatalf("%s: %d bytes, %v, want %d", name, n, err, len(want))
		}
	}
	sum := md5.Sum(want)
	put := c.NewBlockBlobClient("put")
	_, err := put.UploadBlobFromURL(ctx, source, &blockblob.UploadBlobFromURLOptions{SourceContentMD5: sum[:]})
	check("put", err, want)
	copied := c.NewBlockBlobClient("copied")
	done, err := copied.CopyFromURL(ctx, source, &blob.CopyFromURLOptions{SourceContentMD5: sum[:]})
	check("copied", err, want)
	shown, _, _ := strings.Cut(source, "?")
	p, err := copied.GetProperties(ctx, nil)
	if err != nil || *p.CopyID != *done.CopyID || *p.CopySource != shown || *p.CopyProgress != fmt.Sprintf("%d/%[1]d", len(want)) || *p.CopyStatus != "success" {
		t.Errorf("copied: %+v, %v", p, err)
	}
	if *p.ContentType != "x/y" || *p.Metadata["K"] != "v" {
		t.Errorf("copied: %v %v", *p.ContentType, p.Metadata)
	}
	id := base64.StdEncoding.EncodeToString([]byte("id"))
	staged := c.NewBlockBlobClient("staged")
	part := blob.HTTPRange{Offset: 100, Count: 5 << 20}
	sum = md5.Sum(want[100 : 100+5<<20])
	_, err = staged.StageBlockFromURL(ctx, id, source, &blockblob.StageBlockFromURLOptions{Range: part, SourceContentValidation: blob.SourceContentValidationTypeMD5(sum[:])})
	if err == nil {
		_, err = staged.CommitBlockList(ctx, []string{id, id}, nil)
	}
	check("staged", err, append(bytes.Clone(want[100:100+5<<20]), want[100:100+5<<20]...))
	appended := c.NewAppendBlobClient("appended")
	_, err = appended.Create(ctx, nil)
	for range 2 {
		if err == nil {
			_, err = appended.AppendBlockFromURL(ctx, source, &appendblob.AppendBlockFromURLOptions{Range: part})
		}
	}
	check("appended", err, append(bytes.Clone(want[100:100+5<<20]), want[100:100+5<<20]...))
}

// TestFromURL reads a block blob of another account, one of another server and a file of a web server.
func TestFromURL(t *testing.T) {
	ts := startTwo(t, func(o *Options) { o.CopySourceAllow = []string{"127.0.0.1"} })
	elsewhere := startTwo(t, nil)
	data := fill(9<<20 + 13)
	c := ts.containerOf(t, testAccount, "blobs")
	for _, from := range []*testServer{ts, elsewhere} {
		_, err := from.containerOf(t, secondAccount, "blobs").NewBlockBlobClient("a").UploadBuffer(t.Context(), data, &blockblob.UploadBufferOptions{
			HTTPHeaders: &blob.HTTPHeaders{BlobContentType: to.Ptr("x/y")}, Metadata: map[string]*string{"k": to.Ptr("v")}, Tags: map[string]string{"a": "b"}})
		if err != nil {
			t.Fatal(err)
		}
		source := tokenFor(t, from, secondAccount, "blobs/a", "rt", time.Now().Add(time.Hour))
		fromAll(t, c, source, data)
		tagged := c.NewBlockBlobClient("tagged")
		if _, err := tagged.UploadBlobFromURL(t.Context(), source, &blockblob.UploadBlobFromURLOptions{CopySourceTags: to.Ptr(blockblob.BlobCopySourceTagsCopy)}); err != nil {
			t.Fatal(err)
		}
		if tags, err := tagged.GetTags(t.Context(), nil); err != nil || len(tags.BlobTagSet) != 1 || *tags.BlobTagSet[0].Value != "b" {
			t.Errorf("tags %+v, %v", tags, err)
		}
		_, err = tagged.UploadBlobFromURL(t.Context(), source, &blockblob.UploadBlobFromURLOptions{
			SourceModifiedAccessConditions: &blob.SourceModifiedAccessConditions{SourceIfMatch: to.Ptr(azcore.ETag(`"0x1"`))}})
		if e := (*azcore.ResponseError)(nil); !errorsAs(err, &e) || e.ErrorCode != "SourceConditionNotMet" {
			t.Errorf("a condition: %v", err)
		}
		empty := from.containerOf(t, secondAccount, "blobs").NewBlockBlobClient("empty")
		if _, err := empty.UploadBuffer(t.Context(), nil, &blockblob.UploadBufferOptions{HTTPHeaders: &blob.HTTPHeaders{BlobContentType: to.Ptr("x/y")}}); err != nil {
			t.Fatal(err)
		}
		if _, err := tagged.UploadBlobFromURL(t.Context(), tokenFor(t, from, secondAccount, "blobs/empty", "r", time.Now().Add(time.Hour)), nil); err != nil {
			t.Fatal(err)
		}
		if p, err := tagged.GetProperties(t.Context(), nil); err != nil || *p.ContentLength != 0 || *p.ContentType != "x/y" {
			t.Errorf("an empty source: %+v, %v", p, err)
		}
		if sig := source[strings.Index(source, "sig=")+4:]; strings.Contains(ts.log.String(), sig) {
			t.Errorf("the log has the signature %s:\n%s", sig, ts.log)
		}
	}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"1"`)
		w.Header().Set("Content-Type", "x/y")
		w.Header().Set("X-Ms-Meta-K", "v")
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	}))
	defer web.Close()
	fromAll(t, c, web.URL+"/file", data)
}

// TestFromURLFails: a source that changes half-way, or ends, leaves the destination as it was, and memory goes back.
func TestFromURLFails(t *testing.T) {
	ts := start(t, func(o *Options) { o.CopySourceAllow = []string{"127.0.0.1"} })
	data := fill(9 << 20)
	var asked atomic.Int64
	var fail atomic.Pointer[func(w http.ResponseWriter)]
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"1"`)
		if asked.Add(1) > 1 {
			(*fail.Load())(w)
			return
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	}))
	defer web.Close()
	c := ts.containerOf(t, testAccount, "disks")
	if _, err := c.NewBlockBlobClient("b").UploadBuffer(t.Context(), []byte("before"), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := c.NewAppendBlobClient("log").Create(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	from := "x-ms-copy-source: " + web.URL + "/file"
	calls := []call{
		{method: "PUT", path: "disks/b", header: []string{from, "x-ms-blob-type: BlockBlob"}},
		{method: "PUT", path: "disks/b", header: []string{from, "x-ms-requires-sync: true"}},
		{method: "PUT", path: "disks/b?comp=block&blockid=AAAA", header: []string{from}},
		{method: "PUT", path: "disks/log?comp=appendblock", header: []string{from}},
	}
	free := func(b *budget) int64 {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.mu.free
	}
	before := free(ts.sources)
	f := func(status int, code string, with func(w http.ResponseWriter)) {
		t.Helper()
		fail.Store(&with)
		for _, c := range calls {
			asked.Store(0)
			ts.do(t, c).want(t, status, code)
		}
	}
	f(412, "SourceConditionNotMet", func(w http.ResponseWriter) { w.WriteHeader(412) })
	f(403, "CannotVerifyCopySource", func(w http.ResponseWriter) { w.WriteHeader(403) })
	f(503, "CannotVerifyCopySource", func(w http.ResponseWriter) { w.WriteHeader(503) })
	f(404, "CannotVerifyCopySource", func(w http.ResponseWriter) { panic(http.ErrAbortHandler) })
	if got := ts.do(t, call{method: "GET", path: "disks/b"}); string(got.body) != "before" {
		t.Errorf("the blob is %q", got.body)
	}
	if got := ts.do(t, call{method: "GET", path: "disks/b?comp=blocklist&blocklisttype=all"}); bytes.Contains(got.body, []byte("<Name>")) {
		t.Errorf("blocks: %s", got.body)
	}
	if got := ts.do(t, call{method: "HEAD", path: "disks/log"}); got.Header.Get("Content-Length") != "0" {
		t.Errorf("the append blob: %s", got.raw)
	}
	eventually(t, "all memory", func() bool { return free(ts.sources) == before })
}

// TestCopyOfBlocks: Copy Blob of block and append blobs, and of what is no blob, takes its time where the source is not of the account.
func TestCopyOfBlocks(t *testing.T) {
	ts := startTwo(t, func(o *Options) { o.CopySourceAllow = []string{"127.0.0.1"} })
	elsewhere := startTwo(t, nil)
	ctx, data := t.Context(), fill(9<<20+13)
	c := ts.containerOf(t, testAccount, "blobs")
	check := func(source, typ string, want []byte) blob.GetPropertiesResponse {
		t.Helper()
		b := c.NewPageBlobClient(typ)
		got, err := b.StartCopyFromURL(ctx, source, nil)
		if err != nil || *got.CopyStatus != "pending" {
			t.Fatalf("%s: %v, %v", typ, got.CopyStatus, err)
		}
		p := copied(t, b)
		if *p.CopyStatus != "success" || string(*p.BlobType) != typ || *p.CopyProgress != fmt.Sprintf("%d/%[1]d", len(want)) {
			t.Fatalf("%s: %+v", typ, p)
		}
		whole := make([]byte, len(want))
		if n, err := b.DownloadBuffer(ctx, whole, nil); err != nil || n != int64(len(want)) || !bytes.Equal(whole, want) {
			t.Fatalf("%s: %d bytes, %v", typ, n, err)
		}
		return p
	}
	for _, from := range []*testServer{ts, elsewhere} {
		s := from.containerOf(t, secondAccount, "blobs")
		if _, err := s.NewBlockBlobClient("a").UploadBuffer(ctx, data, &blockblob.UploadBufferOptions{BlockSize: 1 << 20, Metadata: map[string]*string{"k": to.Ptr("v")}}); err != nil {
			t.Fatal(err)
		}
		log := s.NewAppendBlobClient("log")
		_, err := log.Create(ctx, nil)
		for _, part := range [][]byte{data[:1000], data[1000:3001]} {
			if err == nil {
				_, err = log.AppendBlock(ctx, body(part), nil)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		later := time.Now().Add(time.Hour)
		if p := check(tokenFor(t, from, secondAccount, "blobs/a", "r", later), "BlockBlob", data); *p.Metadata["K"] != "v" {
			t.Errorf("metadata %v", p.Metadata)
		}
		// Blocks can be put to the copy, and committed; it has none itself.
		b := c.NewBlockBlobClient("BlockBlob")
		list, err := b.GetBlockList(ctx, blockblob.BlockListTypeAll, nil)
		if err != nil || len(list.CommittedBlocks) > 0 {
			t.Errorf("blocks %+v, %v", list.BlockList, err)
		}
		id := base64.StdEncoding.EncodeToString([]byte("id"))
		if _, err = b.StageBlock(ctx, id, body(data[:5000]), nil); err == nil {
			_, err = b.CommitBlockList(ctx, []string{id}, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := ts.do(t, call{method: "GET", path: "blobs/BlockBlob"}); !bytes.Equal(got.body, data[:5000]) {
			t.Errorf("%d bytes after a list", len(got.body))
		}
		if p := check(tokenFor(t, from, secondAccount, "blobs/log", "r", later), "AppendBlob", data[:3001]); *p.BlobCommittedBlockCount != 2 {
			t.Errorf("blocks of an append blob: %d", *p.BlobCommittedBlockCount)
		}
		if got, err := c.NewAppendBlobClient("AppendBlob").AppendBlock(ctx, body(data[:7]), nil); err != nil || *got.BlobAppendOffset != "3001" {
			t.Errorf("appending to the copy: %+v, %v", got, err)
		}
		if got := ts.do(t, call{method: "GET", path: "blobs/AppendBlob"}); !bytes.Equal(got.body, append(bytes.Clone(data[:3001]), data[:7]...)) {
			t.Errorf("%d bytes after appending", len(got.body))
		}
		_, err = c.NewAppendBlobClient("AppendBlob").StartCopyFromURL(ctx, tokenFor(t, from, secondAccount, "blobs/a", "r", later), nil)
		if e := (*azcore.ResponseError)(nil); !errorsAs(err, &e) || e.ErrorCode != "InvalidBlobType" {
			t.Errorf("over another type: %v", err)
		}
	}
	failing := false
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"1"`)
		if failing && r.Method == http.MethodGet {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	}))
	defer web.Close()
	check(web.URL+"/file", "BlockBlob", data)
	failing = true
	b := c.NewPageBlobClient("BlockBlob")
	if _, err := b.StartCopyFromURL(ctx, web.URL+"/file", nil); err != nil {
		t.Fatal(err)
	}
	waited := copied(t, b)
	if *waited.CopyStatus != "failed" || *waited.ContentLength != 0 || *waited.BlobType != "BlockBlob" {
		t.Errorf("failed: %+v", waited)
	}
	if _, err := c.NewBlockBlobClient("BlockBlob").UploadBuffer(ctx, data, &blockblob.UploadBufferOptions{BlockSize: 1 << 20}); err != nil {
		t.Error(err)
	}
}
