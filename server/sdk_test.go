package server

import (
	"bytes"
	"context"
	"io"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/pageblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/service"
)

// TestSDK takes Azure's own client through the life of a disk. All operations and errors are shown with it elsewhere;
// this is the path that must never break.
func TestSDK(t *testing.T) {
	ts := start(t, nil)
	useDisk(t, ts, "http", nil)
}

// useDisk makes, writes, reads and deletes a disk.
func useDisk(t *testing.T, ts *testServer, scheme string, o *service.ClientOptions) {
	ctx := t.Context()
	client, err := service.NewClientFromConnectionString("DefaultEndpointsProtocol="+scheme+";AccountName="+testAccount+";AccountKey="+testKey+
		";BlobEndpoint="+scheme+"://"+ts.addr+"/"+testAccount+";", o)
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ok(err)
	disks := client.NewContainerClient("disks")
	_, err = disks.Create(ctx, &container.CreateOptions{Metadata: map[string]*string{"Owner": ptr("me")}})
	ok(err)
	disk := disks.NewPageBlobClient("a folder/vm (1).vhd")
	_, err = disk.Create(ctx, 8<<20, &pageblob.CreateOptions{SequenceNumber: ptr(int64(3))})
	ok(err)

	content := fill(4 << 20)
	_, err = disk.UploadPages(ctx, body(content), blob.HTTPRange{Offset: 1 << 20, Count: 4 << 20}, nil)
	ok(err)
	snap, err := disk.CreateSnapshot(ctx, nil)
	ok(err)
	_, err = disk.ClearPages(ctx, blob.HTTPRange{Offset: 1 << 20, Count: 512}, nil)
	ok(err)
	_, err = disk.UploadPages(ctx, body(pages(512, 'x')), blob.HTTPRange{Offset: 2 << 20, Count: 512}, nil)
	ok(err)

	diff, err := disk.NewGetPageRangesDiffPager(&pageblob.GetPageRangesDiffOptions{PrevSnapshot: snap.Snapshot}).NextPage(ctx)
	ok(err)
	if len(diff.PageRange) != 1 || *diff.PageRange[0].Start != 2<<20 || len(diff.ClearRange) != 1 || *diff.ClearRange[0].Start != 1<<20 {
		t.Errorf("diff: %+v", diff.PageList)
	}

	want := make([]byte, 8<<20)
	copy(want[1<<20:], content)
	old, err := disk.WithSnapshot(*snap.Snapshot)
	ok(err)
	checkDownload(ctx, t, old, want)
	clear(want[1<<20:][:512])
	copy(want[2<<20:], pages(512, 'x'))
	checkDownload(ctx, t, disk, want)

	page, err := disks.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{Include: container.ListBlobsInclude{Snapshots: true}}).NextPage(ctx)
	ok(err)
	if items := page.Segment.BlobItems; len(items) != 2 || *items[0].Snapshot != *snap.Snapshot || *items[1].Name != "a folder/vm (1).vhd" {
		t.Errorf("list: %+v", items)
	}

	_, err = disk.Delete(ctx, nil)
	if !bloberror.HasCode(err, bloberror.SnapshotsPresent) {
		t.Errorf("deleting a blob with snapshots: %v", err)
	}
	_, err = disk.Delete(ctx, &blob.DeleteOptions{DeleteSnapshots: ptr(blob.DeleteSnapshotsOptionTypeInclude)})
	ok(err)
	_, err = disk.GetProperties(ctx, nil)
	if !bloberror.HasCode(err, bloberror.BlobNotFound) {
		t.Errorf("properties of a deleted blob: %v", err)
	}
}

// checkDownload reads the blob in one stream and in parallel parts.
func checkDownload(ctx context.Context, t *testing.T, b *pageblob.Client, want []byte) {
	t.Helper()
	stream, err := b.DownloadStream(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	got, err := io.ReadAll(stream.Body)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("stream: %d bytes, error %v, or not what was written", len(got), err)
	}
	clear(got)
	n, err := b.DownloadBuffer(ctx, got, &blob.DownloadBufferOptions{BlockSize: 1 << 20})
	if err != nil || n != int64(len(want)) || !bytes.Equal(got, want) {
		t.Errorf("buffer: %d bytes, error %v, or not what was written", n, err)
	}
}

func body(p []byte) io.ReadSeekCloser { return streaming.NopCloser(bytes.NewReader(p)) }

func ptr[T any](v T) *T { return &v }
