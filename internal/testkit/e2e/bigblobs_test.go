//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/appendblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	azlease "github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/lease"

	"pagevault/internal/testkit"
)

// TestToolSDK has Azure's Go SDK do with large and with many blobs what the conformance suite does with small ones.
func TestToolSDK(t *testing.T) {
	e := startEndpoint(t)
	size, many := int64(testkit.Scale(t, toolSDKEnv, 64))*mib+4321, testkit.Scale(t, toolFilesEnv, 300)
	c := e.makeContainer(t, e.containerName("sdk"))
	for _, part := range []struct {
		name string
		run  func(t *testing.T)
	}{
		{"uploads", func(t *testing.T) { testUploads(t, e, c, size) }},
		{"block list", func(t *testing.T) { testBlockList(t, c, many) }},
		{"half committed", func(t *testing.T) { testHalfCommitted(t, e, c) }},
		{"one blob, many writers", func(t *testing.T) { testBlobRace(t, c) }},
		{"append blob", func(t *testing.T) { testAppends(t, c, many) }},
		{"lease", func(t *testing.T) { testLeasedBlob(t, c) }},
		{"snapshot and copy", func(t *testing.T) { testSnapshotAndCopy(t, c, size/4) }},
		{"tags and batches", func(t *testing.T) { testTagsAndBatches(t, e, many) }},
	} {
		t.Run(part.name, part.run)
	}
	e.stored(t, "all of it")
	if _, err := c.Delete(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	e.stop(t)
}

// testBulk returns random bytes that are the same in every run.
func testBulk(n byte) *rand.ChaCha8 { return rand.NewChaCha8([32]byte{n}) }

// testUploads writes the same content by every call that the SDK has for large blobs, and reads each blob by every other.
func testUploads(t *testing.T, e *endpoint, c *container.Client, size int64) {
	dir := t.TempDir()
	f := tree{dir: dir, want: map[string]string{}, bulk: testBulk(1)}
	f.writeLarge(t, "in", size)
	want := f.want["in"]
	in, err := os.Open(filepath.Join(dir, "in"))
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	data, err := io.ReadAll(in)
	if err != nil {
		t.Fatal(err)
	}
	uploads := map[string]func(b *blockblob.Client) error{
		"UploadBuffer": func(b *blockblob.Client) error { // one Put Blob, up to 256 MiB
			_, err := b.UploadBuffer(t.Context(), data, &blockblob.UploadBufferOptions{BlockSize: 8 * mib, Concurrency: 8})
			return err
		},
		"UploadStream": func(b *blockblob.Client) error {
			_, err := b.UploadStream(t.Context(), bytes.NewReader(data), &blockblob.UploadStreamOptions{BlockSize: 4 * mib, Concurrency: 8})
			return err
		},
		"UploadFile": func(b *blockblob.Client) error {
			_, err := b.UploadFile(t.Context(), in, &blockblob.UploadFileOptions{BlockSize: 32 * mib, Concurrency: 4})
			return err
		},
		"UploadStream, odd blocks": func(b *blockblob.Client) error {
			_, err := b.UploadStream(t.Context(), bytes.NewReader(data), &blockblob.UploadStreamOptions{BlockSize: 5*mib + 777, Concurrency: 5})
			return err
		},
	}
	if e.server != nil { // Azurite stores the frames
		uploads["UploadStream, framed"] = func(b *blockblob.Client) error {
			_, err := b.UploadStream(t.Context(), bytes.NewReader(data), &blockblob.UploadStreamOptions{BlockSize: 4 * mib, Concurrency: 8,
				TransactionalValidation: blob.TransferValidationTypeComputeStructuredMessageCRC64(0)})
			return err
		}
	}
	for name, upload := range uploads {
		b, start := c.NewBlockBlobClient(name), time.Now()
		if err := upload(b); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		wrote := time.Now()
		got := make([]byte, size)
		if n, err := b.DownloadBuffer(t.Context(), got, &blob.DownloadBufferOptions{BlockSize: 4 * mib, Concurrency: 8}); err != nil || n != size {
			t.Fatalf("%s: DownloadBuffer: %d bytes, %v", name, n, err)
		}
		read := time.Now()
		if !bytes.Equal(got, data) {
			t.Errorf("%s: DownloadBuffer gives another content", name)
		}
		out, err := os.Create(filepath.Join(dir, "out"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.DownloadFile(t.Context(), out, &blob.DownloadFileOptions{BlockSize: 3*mib + 1, Concurrency: 4}); err != nil {
			t.Fatalf("%s: DownloadFile: %v", name, err)
		}
		if err := out.Close(); err != nil {
			t.Fatal(err)
		}
		if got := testkit.FileSHA256(t, out.Name()); got != want {
			t.Errorf("%s: DownloadFile gives sha256 %s, want %s", name, got, want)
		}
		list := blocks(t, b)
		t.Logf("%s: %d blocks, written in %.1f s, read in %.1f s", name, len(list.CommittedBlocks), wrote.Sub(start).Seconds(), read.Sub(wrote).Seconds())
		if sum := sizeOf(list.CommittedBlocks); len(list.CommittedBlocks) > 0 && sum != size || len(list.UncommittedBlocks) > 0 {
			t.Errorf("%s: the block list has %d bytes and %d uncommitted blocks, want %d and none", name, sum, len(list.UncommittedBlocks), size)
		}
		randomRanges(t, b, data)
	}
}

// randomRanges reads ranges of any length, most of them short, from anywhere in a blob.
func randomRanges(t *testing.T, b *blockblob.Client, data []byte) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		off := rng.IntN(len(data))
		n := 1 + rng.IntN(min(len(data)-off, 1<<(1+rng.IntN(23))))
		got := make([]byte, n)
		if _, err := b.DownloadBuffer(t.Context(), got, &blob.DownloadBufferOptions{Range: blob.HTTPRange{Offset: int64(off), Count: int64(n)}}); err != nil {
			t.Fatalf("%d bytes at %d: %v", n, off, err)
		}
		if !bytes.Equal(got, data[off:off+n]) {
			t.Fatalf("%d bytes at %d are not what was written", n, off)
		}
	}
}

// blocks returns both block lists of a blob.
func blocks(t *testing.T, b *blockblob.Client) blockblob.BlockList {
	t.Helper()
	got, err := b.GetBlockList(t.Context(), blockblob.BlockListTypeAll, nil)
	if err != nil {
		t.Fatal(err)
	}
	return got.BlockList
}

func sizeOf(list []*blockblob.Block) (n int64) {
	for _, b := range list {
		n += *b.Size
	}
	return n
}

// blockID returns the id of block number i.
func blockID(i int) string {
	return base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "block %06d", i))
}

// blockContent returns the content of block number i, of a length of its own.
func blockContent(i int) []byte {
	p := make([]byte, 1+i*7919%3000)
	rand.NewChaCha8([32]byte{byte(i), byte(i >> 8), 7}).Read(p)
	return p
}

func reader(p []byte) io.ReadSeekCloser { return streaming.NopCloser(bytes.NewReader(p)) }

// testBlockList makes a blob of many small blocks, sent out of order and many at a time, and then another of the same blocks
// without sending any again.
func testBlockList(t *testing.T, c *container.Client, many int) {
	b := c.NewBlockBlobClient("blocks")
	order := rand.New(rand.NewPCG(3, 4)).Perm(many)
	inParallel(t, many, 16, func(i int) error {
		_, err := b.StageBlock(t.Context(), blockID(order[i]), reader(blockContent(order[i])), nil)
		return err
	})
	if got := blocks(t, b); len(got.UncommittedBlocks) != many || len(got.CommittedBlocks) != 0 {
		t.Errorf("%d uncommitted and %d committed blocks before the commit, want %d and none", len(got.UncommittedBlocks), len(got.CommittedBlocks), many)
	}
	if got := uncommitted(t, c); !slices.Equal(got, []string{"blocks"}) {
		t.Errorf("blobs of uncommitted blocks: %q", got)
	}
	commit := func(list []int) {
		t.Helper()
		var ids []string
		var want []byte
		for _, i := range list {
			ids, want = append(ids, blockID(i)), append(want, blockContent(i)...)
		}
		if _, err := b.CommitBlockList(t.Context(), ids, nil); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(want))
		if n, err := b.DownloadBuffer(t.Context(), got, nil); err != nil || int(n) != len(want) || !bytes.Equal(got, want) {
			t.Fatalf("%d blocks: %d bytes, %v, which are not those that were sent", len(list), n, err)
		}
		held := blocks(t, b)
		if len(held.UncommittedBlocks) > 0 || len(held.CommittedBlocks) != len(list) {
			t.Fatalf("%d uncommitted and %d committed blocks, want none and %d", len(held.UncommittedBlocks), len(held.CommittedBlocks), len(list))
		}
		for i, block := range held.CommittedBlocks {
			if *block.Name != ids[i] || int(*block.Size) != len(blockContent(list[i])) {
				t.Fatalf("block %d of the list is %s of %d bytes, want %s", i, *block.Name, *block.Size, ids[i])
			}
		}
	}
	all := make([]int, many)
	for i := range all {
		all[i] = i
	}
	commit(all)
	slices.Reverse(all)
	commit(all[:many*2/3])
	commit(append(slices.Clone(all[:10]), all[:10]...)) // a block may stand in a blob twice
}

// testHalfCommitted commits some of the blocks that were sent: the others are gone, as are those that the blob had before.
func testHalfCommitted(t *testing.T, e *endpoint, c *container.Client) {
	b := c.NewBlockBlobClient("half")
	stage := func(i int) {
		t.Helper()
		if _, err := b.StageBlock(t.Context(), blockID(i), reader(blockContent(i)), nil); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 8 {
		stage(i)
	}
	if _, err := b.CommitBlockList(t.Context(), []string{blockID(0), blockID(2), blockID(4)}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := b.CommitBlockList(t.Context(), []string{blockID(0), blockID(1)}, nil); !bloberror.HasCode(err, bloberror.InvalidBlockList) {
		t.Errorf("a block that the last commit left out: %v, want InvalidBlockList", err)
	}
	stage(9)
	if _, err := b.CommitBlockList(t.Context(), []string{blockID(9), blockID(4)}, nil); err != nil {
		t.Fatal(err)
	}
	want := append(blockContent(9), blockContent(4)...)
	got := make([]byte, len(want))
	if n, err := b.DownloadBuffer(t.Context(), got, nil); err != nil || int(n) != len(want) || !bytes.Equal(got, want) {
		t.Errorf("a new block and an old one: %d bytes, %v", n, err)
	}
	if e.server == nil { // Azurite keeps what was staged
		return
	}
	// Put Blob drops what was staged.
	stage(10)
	if _, err := b.UploadBuffer(t.Context(), want, nil); err != nil {
		t.Fatal(err)
	}
	if left := blocks(t, b); len(left.CommittedBlocks)+len(left.UncommittedBlocks) != 0 {
		t.Errorf("after Put Blob there are %d committed and %d uncommitted blocks", len(left.CommittedBlocks), len(left.UncommittedBlocks))
	}
}

// testBlobRace has many clients replace one blob while others read it: what is read is always one of the contents, whole.
func testBlobRace(t *testing.T, c *container.Client) {
	const length, rounds = 300_000, 12
	content := func(i int) []byte {
		return bytes.Repeat(binary.BigEndian.AppendUint32(nil, uint32(i+1)), length/4)
	}
	b := c.NewBlockBlobClient("raced")
	if _, err := b.UploadBuffer(t.Context(), content(0), nil); err != nil {
		t.Fatal(err)
	}
	inParallel(t, 8, 8, func(worker int) error {
		for round := range rounds {
			i := worker*rounds + round
			switch worker % 4 {
			case 0:
				if _, err := b.UploadBuffer(t.Context(), content(i), nil); err != nil {
					return err
				}
			case 1: // in three blocks of its own
				var ids []string
				for part := range 3 {
					id := base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%03d-%03d", i, part))
					ids = append(ids, id)
					_, err := b.StageBlock(t.Context(), id, reader(content(i)[part*length/3:(part+1)*length/3]), nil)
					if err != nil {
						return err
					}
				}
				// Another's commit, or Put Blob, drops what was staged: then the list is refused, and nothing has changed.
				if _, err := b.CommitBlockList(t.Context(), ids, nil); err != nil && !bloberror.HasCode(err, bloberror.InvalidBlockList) {
					return err
				}
			default:
				got, err := b.DownloadStream(t.Context(), nil)
				if err != nil {
					return err
				}
				all, err := io.ReadAll(got.Body)
				if err = errors.Join(err, got.Body.Close()); err != nil {
					return err
				}
				if len(all) != length || !bytes.Equal(all, content(int(binary.BigEndian.Uint32(all))-1)) {
					return fmt.Errorf("read %d bytes that are no content of the blob, or parts of two", len(all))
				}
			}
		}
		return nil
	})
}

// testAppends has several clients append to one blob at once: each block is in it once, whole, where its answer says.
func testAppends(t *testing.T, c *container.Client, many int) {
	b := c.NewAppendBlobClient("log")
	if _, err := b.Create(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	offsets := make([]int64, many)
	inParallel(t, many, 8, func(i int) error {
		got, err := b.AppendBlock(t.Context(), reader(blockContent(i)), nil)
		if err == nil {
			offsets[i], err = strconv.ParseInt(*got.BlobAppendOffset, 10, 64)
		}
		return err
	})
	total := 0
	for i := range many {
		total += len(blockContent(i))
	}
	all := make([]byte, total)
	if n, err := b.DownloadBuffer(t.Context(), all, nil); err != nil || int(n) != total {
		t.Fatalf("%d bytes, %v, want %d", n, err, total)
	}
	for i, off := range offsets { // as many bytes as were sent, and each block somewhere: nothing else fits
		if p := blockContent(i); !bytes.Equal(all[off:int(off)+len(p)], p) {
			t.Fatalf("block %d is not at %d, where the answer says", i, off)
		}
	}
	position := func(p, most int64) *appendblob.AppendBlockOptions {
		return &appendblob.AppendBlockOptions{AppendPositionAccessConditions: &appendblob.AppendPositionAccessConditions{AppendPosition: &p, MaxSize: &most}}
	}
	large := make([]byte, 4*mib)
	testBulk(9).Read(large)
	if _, err := b.AppendBlock(t.Context(), reader(large), position(0, 1<<40)); !bloberror.HasCode(err, bloberror.AppendPositionConditionNotMet) {
		t.Errorf("an append at 0: %v, want AppendPositionConditionNotMet", err)
	}
	if _, err := b.AppendBlock(t.Context(), reader(large), position(int64(total), int64(total))); !bloberror.HasCode(err, bloberror.MaxBlobSizeConditionNotMet) {
		t.Errorf("an append past the most: %v, want MaxBlobSizeConditionNotMet", err)
	}
	if _, err := b.AppendBlock(t.Context(), reader(large), position(int64(total), 1<<40)); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Seal(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := b.AppendBlock(t.Context(), reader(large), nil); !bloberror.HasCode(err, "BlobIsSealed") {
		t.Errorf("an append to a sealed blob: %v, want BlobIsSealed", err)
	}
	got := make([]byte, total+len(large))
	if _, err := b.DownloadBuffer(t.Context(), got, nil); err != nil || !bytes.Equal(got, append(all, large...)) {
		t.Errorf("the sealed blob is not what was appended: %v", err)
	}
}

// testLeasedBlob: who has not got the lease neither stages nor commits nor replaces.
func testLeasedBlob(t *testing.T, c *container.Client) {
	b := c.NewBlockBlobClient("leased")
	if _, err := b.UploadBuffer(t.Context(), []byte("first"), nil); err != nil {
		t.Fatal(err)
	}
	l, err := azlease.NewBlobClient(b, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := l.AcquireLease(t.Context(), -1, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, stage := b.StageBlock(t.Context(), blockID(1), reader([]byte("second")), nil)
	_, commit := b.CommitBlockList(t.Context(), nil, nil)
	_, replace := b.UploadBuffer(t.Context(), []byte("second"), nil)
	for name, err := range map[string]error{"Put Block": stage, "Put Block List": commit, "Put Blob": replace} {
		if !bloberror.HasCode(err, bloberror.LeaseIDMissing) {
			t.Errorf("%s without the lease: %v, want LeaseIdMissing", name, err)
		}
	}
	with := &blob.AccessConditions{LeaseAccessConditions: &blob.LeaseAccessConditions{LeaseID: got.LeaseID}}
	_, err = b.UploadStream(t.Context(), io.LimitReader(&patchy{random: testBulk(4)}, 3*mib), &blockblob.UploadStreamOptions{BlockSize: mib, AccessConditions: with})
	if err != nil {
		t.Errorf("with the lease: %v", err)
	}
	if _, err := l.ReleaseLease(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Delete(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
}

// testSnapshotAndCopy keeps a content in a snapshot and in a copy while the blob gets another.
func testSnapshotAndCopy(t *testing.T, c *container.Client, size int64) {
	b, d := c.NewBlockBlobClient("original"), c.NewBlockBlobClient("copy")
	write := func(seed byte) string {
		t.Helper()
		h := sha256.New()
		in := io.TeeReader(io.LimitReader(&patchy{random: testBulk(seed)}, size), h)
		if _, err := b.UploadStream(t.Context(), in, &blockblob.UploadStreamOptions{BlockSize: 4 * mib, Concurrency: 4}); err != nil {
			t.Fatal(err)
		}
		return hex.EncodeToString(h.Sum(nil))
	}
	first := write(5)
	snapshot, err := b.CreateSnapshot(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	old, err := b.WithSnapshot(*snapshot.Snapshot)
	if err != nil {
		t.Fatal(err)
	}
	copied, err := d.StartCopyFromURL(t.Context(), old.URL(), nil)
	if err != nil {
		t.Fatal(err)
	}
	awaitCopy(t, d, copied.CopyStatus)
	second := write(6)
	for name, want := range map[*blockblob.Client]string{b: second, old: first, d: first} {
		if got := contentSum(t, name, size); got != want {
			t.Errorf("%s has sha256 %s, want %s", name.URL(), got, want)
		}
	}
	if len(blocks(t, d).CommittedBlocks) != len(blocks(t, old).CommittedBlocks) {
		t.Errorf("the copy has %d blocks, and the snapshot it is of %d", len(blocks(t, d).CommittedBlocks), len(blocks(t, old).CommittedBlocks))
	}
	if _, err := b.Delete(t.Context(), &blob.DeleteOptions{DeleteSnapshots: to.Ptr(blob.DeleteSnapshotsOptionTypeInclude)}); err != nil {
		t.Fatal(err)
	}
	if got := contentSum(t, d, size); got != first {
		t.Errorf("the copy has sha256 %s after the original was deleted, want %s", got, first)
	}
}

// awaitCopy returns when a copy has been made; who asks for its state is the one who waits for it.
func awaitCopy(t *testing.T, b *blockblob.Client, status *blob.CopyStatusType) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); *status != blob.CopyStatusTypeSuccess; {
		if *status != blob.CopyStatusTypePending || time.Now().After(deadline) {
			t.Fatalf("the copy is %s", *status)
		}
		got, err := b.GetProperties(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		status = got.CopyStatus
	}
}

// contentSum returns the SHA-256 of a blob, read in pieces one after the other.
func contentSum(t *testing.T, b *blockblob.Client, size int64) string {
	t.Helper()
	sum, err := readSum(t.Context(), b, size)
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

func readSum(ctx context.Context, b *blockblob.Client, size int64) (string, error) {
	h, piece := sha256.New(), make([]byte, 8*mib)
	for off := int64(0); off < size; off += int64(len(piece)) {
		piece = piece[:min(int64(len(piece)), size-off)]
		at := blob.HTTPRange{Offset: off, Count: int64(len(piece))}
		if _, err := b.DownloadBuffer(ctx, piece, &blob.DownloadBufferOptions{Range: at, Concurrency: 2}); err != nil {
			return "", fmt.Errorf("at %d: %w", off, err)
		}
		h.Write(piece)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// testTagsAndBatches tags many block blobs as they are written, finds some by their tags, and deletes all by batches.
func testTagsAndBatches(t *testing.T, e *endpoint, many int) {
	c := e.makeContainer(t, e.containerName("tagged"))
	inParallel(t, many, 16, func(i int) error {
		_, err := c.NewBlockBlobClient(fmt.Sprintf("blob-%05d", i)).UploadBuffer(t.Context(), blockContent(i), &blockblob.UploadBufferOptions{
			Tags: map[string]string{"third": strconv.Itoa(i % 3), "name of": "tenth " + strconv.Itoa(i%10)}})
		return err
	})
	found := 0
	for marker := ""; ; {
		page, err := c.FilterBlobs(t.Context(), `"third" = '1' AND "name of" = 'tenth 7'`, &container.FilterBlobsOptions{Marker: &marker})
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range page.Blobs {
			if i, err := strconv.Atoi(strings.TrimPrefix(*b.Name, "blob-")); err != nil || i%3 != 1 || i%10 != 7 {
				t.Errorf("%s was found, which has other tags", *b.Name)
			}
			found++
		}
		if page.NextMarker == nil || *page.NextMarker == "" {
			break
		}
		marker = *page.NextMarker
	}
	want := 0
	for i := range many {
		if i%3 == 1 && i%10 == 7 {
			want++
		}
	}
	if found != want {
		t.Errorf("%d blobs were found by their tags, want %d", found, want)
	}
	names := listed(t, c, container.ListBlobsInclude{})
	if len(names) != many {
		t.Fatalf("%d blobs are listed, want %d", len(names), many)
	}
	for some := range slices.Chunk(names, 256) { // the most that a batch may have
		batch, err := c.NewBatchBuilder()
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range some {
			if err := batch.Delete(name, nil); err != nil {
				t.Fatal(err)
			}
		}
		got, err := c.SubmitBatch(t.Context(), batch, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Responses) != len(some) {
			t.Fatalf("%d answers in a batch of %d", len(got.Responses), len(some))
		}
		for _, answer := range got.Responses {
			if answer.Error != nil {
				t.Fatal(answer.Error)
			}
		}
	}
	if left := listed(t, c, container.ListBlobsInclude{}); len(left) > 0 {
		t.Errorf("%d blobs are left after all were deleted by batches", len(left))
	}
	if _, err := c.Delete(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
}

// memoryMost bounds the memory that the server may have had at any moment of TestToolMemory, in MiB. Bodies under way have 64
// MiB and replies as much, its indexes' caches some more; Go's heap grows to twice what is in use.
const memoryMost = 512

// TestToolMemory writes sixteen large blobs at once, four blocks of each at a time, and looks at what memory the server has had
// at most: whatever is sent, it does not grow with it. The blobs have seven eighths of their content in common, so that the
// disk they take is bounded as well. The SDK retries as it does by itself: a busy server may tell it to slow down.
func TestToolMemory(t *testing.T) {
	e := startEndpoint(t)
	const uploads = 16
	size := int64(testkit.Scale(t, toolSDKEnv, 64)) * mib
	name := e.containerName("memory")
	e.makeContainer(t, name)
	slowed := &slowDowns{}
	options := testkit.ClientOptions(t)
	options.Retry = policy.RetryOptions{} // the SDK's own
	options.PerRetryPolicies = append(options.PerRetryPolicies, slowed)
	cred, err := azblob.NewSharedKeyCredential(e.account, e.key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := container.NewClientWithSharedKeyCredential(e.url+"/"+name, cred, &container.ClientOptions{ClientOptions: options})
	if err != nil {
		t.Fatal(err)
	}
	blobName := func(i int) string { return fmt.Sprintf("blob-%02d", i) }
	sums := make([]string, uploads)
	start := time.Now()
	inParallel(t, uploads, uploads, func(i int) error {
		h := sha256.New()
		in := io.TeeReader(io.LimitReader(&alike{common: testBulk(7), own: testBulk(100 + byte(i))}, size), h)
		_, err := c.NewBlockBlobClient(blobName(i)).UploadStream(t.Context(), in, &blockblob.UploadStreamOptions{BlockSize: 4 * mib, Concurrency: 4})
		sums[i] = hex.EncodeToString(h.Sum(nil))
		return err
	})
	took := time.Since(start).Seconds()
	t.Logf("%d blobs of %d MiB at once in %.1f s, %.0f MiB/s; told to slow down %d times", uploads, size/mib, took, uploads*float64(size)/mib/took, slowed.n.Load())
	e.stored(t, "written")
	start = time.Now()
	inParallel(t, uploads, 4, func(i int) error {
		got, err := readSum(t.Context(), c.NewBlockBlobClient(blobName(i)), size)
		if err == nil && got != sums[i] {
			err = fmt.Errorf("%s has sha256 %s, want %s", blobName(i), got, sums[i])
		}
		return err
	})
	t.Logf("read back in %.1f s", time.Since(start).Seconds())
	if e.server != nil {
		peak := peakMiB(t, e.server.PID())
		t.Logf("the server has had %d MiB of memory at most", peak)
		if peak > memoryMost {
			t.Errorf("the server has had %d MiB of memory, want at most %d", peak, memoryMost)
		}
	}
	if _, err := c.Delete(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	e.stop(t)
}

// An alike reader gives random bytes of which seven eighths are the same for all that have the same common source.
type alike struct {
	common, own *rand.ChaCha8
	off         int64
}

func (r *alike) Read(p []byte) (int, error) {
	const stretch = 64 << 10
	p = p[:min(int64(len(p)), stretch-r.off%stretch)]
	if r.off/stretch%8 == 7 {
		r.own.Read(p)
	} else {
		r.common.Read(p)
	}
	r.off += int64(len(p))
	return len(p), nil
}

// slowDowns counts the answers that tell a client to slow down.
type slowDowns struct{ n atomic.Int64 }

func (s *slowDowns) Do(req *policy.Request) (*http.Response, error) {
	resp, err := req.Next()
	if err == nil && resp.StatusCode == http.StatusServiceUnavailable {
		s.n.Add(1)
	}
	return resp, err
}

// inParallel does n things, so many at a time. The first that fails fails the test, when those under way have ended.
func inParallel(t *testing.T, n, workers int, do func(i int) error) {
	t.Helper()
	var next atomic.Int64
	var wg sync.WaitGroup
	failed := make(chan error, workers)
	for range min(n, workers) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				if err := do(i); err != nil {
					next.Store(int64(n))
					failed <- fmt.Errorf("number %d: %w", i, err)
					return
				}
			}
		})
	}
	wg.Wait()
	select {
	case err := <-failed:
		t.Fatal(err)
	default:
	}
}

// uncommitted returns the names of blobs of which there are only blocks that nobody has committed.
func uncommitted(t *testing.T, c *container.Client) []string {
	t.Helper()
	committed := listed(t, c, container.ListBlobsInclude{})
	return slices.DeleteFunc(listed(t, c, container.ListBlobsInclude{UncommittedBlobs: true}), func(name string) bool {
		return slices.Contains(committed, name)
	})
}

// listed returns the names of a container's blobs.
func listed(t *testing.T, c *container.Client, include container.ListBlobsInclude) (names []string) {
	t.Helper()
	pager := c.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{Include: include})
	for pager.More() {
		page, err := pager.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range page.Segment.BlobItems {
			names = append(names, *b.Name)
		}
	}
	return names
}
