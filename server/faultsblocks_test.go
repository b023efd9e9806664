package server

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/appendblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
)

// contentOf reads a whole blob past the proxy; nil: there is none.
func contentOf(t *testing.T, b *blob.Client) []byte {
	t.Helper()
	resp, err := b.DownloadStream(t.Context(), nil)
	if bloberror.HasCode(err, bloberror.BlobNotFound) {
		return nil
	}
	if err != nil {
		t.Error(err)
		return nil
	}
	defer resp.Body.Close()
	p, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	return p
}

// TestFaultsBlocks has clients upload block blobs in blocks that are sent at once, through the proxy, each its own blob again
// and again. An upload that a client is told has succeeded is there, every block of it in its place; one that it gave up on is
// there as a whole or has changed nothing.
func TestFaultsBlocks(t *testing.T) {
	f := startFaults(t)
	var mu sync.Mutex
	total := faultOutcomes{}
	f.together(t, func(dice *rand.Rand, name string, hurt, sound *container.Client) {
		u := &faultUploads{t: t, dice: dice, hurt: hurt.NewBlockBlobClient(name), sound: sound.NewBlockBlobClient(name), outcomes: faultOutcomes{}}
		for range 40 {
			u.step()
		}
		total.merge(&mu, u.outcomes)
	})
	total.want(t, "stream", "blocks", "whole", "gave up: not done", "read")
}

// faultUploads is a block blob with one client, and what it must hold.
type faultUploads struct {
	t           *testing.T
	dice        *rand.Rand
	hurt, sound *blockblob.Client
	want        []byte // nil: the blob has not been made
	outcomes    faultOutcomes
}

const faultBlock = 16 << 10

func (u *faultUploads) step() {
	ctx, p := u.t.Context(), randomContent(u.dice, 1+u.dice.IntN(20*faultBlock))
	switch u.dice.IntN(4) {
	case 0:
		_, err := u.hurt.UploadStream(ctx, bytes.NewReader(p), &blockblob.UploadStreamOptions{BlockSize: faultBlock, Concurrency: 4})
		u.uploaded("stream", p, err)
	case 1:
		_, err := u.hurt.Upload(ctx, body(p), nil)
		u.uploaded("whole", p, err)
	default:
		u.uploaded("blocks", p, u.blocks(p))
	}
	if u.want == nil {
		return
	}
	got := make([]byte, len(u.want))
	switch _, err := u.hurt.DownloadBuffer(ctx, got, &blob.DownloadBufferOptions{BlockSize: 64 << 10, Concurrency: 3}); {
	case err != nil && !gaveUp(err):
		u.t.Errorf("read: %v", err)
	case err != nil:
		u.outcomes["read: gave up"]++
	case !bytes.Equal(got, u.want):
		u.t.Error("read: not what was uploaded")
	default:
		u.outcomes["read"]++
	}
}

// blocks uploads p in blocks, four at once and each until it is there, commits them and looks at the list.
func (u *faultUploads) blocks(p []byte) error {
	var ids []string
	var all sync.WaitGroup
	room, ctx := make(chan struct{}, 4), u.t.Context()
	for part := range slices.Chunk(p, faultBlock) {
		id := base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%08x-%04d", u.dice.Uint32(), len(ids)))
		ids = append(ids, id)
		room <- struct{}{}
		all.Go(func() {
			defer func() { <-room }()
			for {
				if _, err := u.hurt.StageBlock(ctx, id, body(part), nil); err == nil {
					return
				} else if !gaveUp(err) {
					u.t.Errorf("a block: %v", err)
					return
				}
			}
		})
	}
	all.Wait()
	if _, err := u.hurt.CommitBlockList(ctx, ids, nil); err != nil {
		return err
	}
	list, err := u.sound.GetBlockList(ctx, blockblob.BlockListTypeCommitted, nil)
	if err != nil {
		u.t.Errorf("list of blocks: %v", err)
		return nil
	}
	var got []string
	for _, b := range list.CommittedBlocks {
		got = append(got, *b.Name)
	}
	if !slices.Equal(got, ids) {
		u.t.Errorf("blocks %q, want %q", got, ids)
	}
	return nil
}

// uploaded notes what an upload has come to.
func (u *faultUploads) uploaded(what string, p []byte, err error) {
	u.t.Helper()
	got := contentOf(u.t, u.sound.BlobClient())
	switch {
	case err != nil && !gaveUp(err):
		u.t.Errorf("%s of %d bytes: %v", what, len(p), err)
	case err == nil && !bytes.Equal(got, p):
		u.t.Errorf("%s of %d bytes: %d bytes are there, or others", what, len(p), len(got))
	case err == nil:
		u.want = p
		u.outcomes[what]++
	case bytes.Equal(got, p):
		u.want = p
		u.outcomes["gave up: done"]++
	case bytes.Equal(got, u.want) && (got == nil) == (u.want == nil):
		u.outcomes["gave up: not done"]++
	default:
		u.t.Errorf("%s of %d bytes that failed is there in part: %d bytes, %d before", what, len(p), len(got), len(u.want))
	}
}

// TestFaultsAppends has clients append to one blob, through the proxy, on condition of where its end is, as those do who must
// not append twice. An append whose reply is lost is tried again, and refused; the client looks for its record then. In the
// end each record is there once.
func TestFaultsAppends(t *testing.T) {
	const records, size = 60, 700
	f := startFaults(t)
	log := f.client(t, f.ts.addr).NewAppendBlobClient("log")
	if _, err := log.Create(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	total, acked := faultOutcomes{}, map[string]int64{} // where each record is
	f.together(t, func(dice *rand.Rand, name string, hurt, sound *container.Client) {
		a := &faultAppends{t: t, hurt: hurt.NewAppendBlobClient("log"), sound: sound.NewAppendBlobClient("log"), outcomes: faultOutcomes{}}
		for range records {
			p := randomContent(dice, size)
			at, ok := a.append(p)
			if !ok {
				return
			}
			mu.Lock()
			acked[string(p)] = at
			mu.Unlock()
		}
		total.merge(&mu, a.outcomes)
	})
	total.want(t, "appended", "refused: done before", "refused: somebody else was first")
	got := contentOf(t, log.BlobClient())
	if len(got) != len(acked)*size || len(acked) != faultClients*records {
		t.Errorf("%d bytes for %d records", len(got), len(acked))
	}
	for p, at := range acked {
		if !bytes.HasPrefix(got[min(int64(len(got)), at):], []byte(p)) || bytes.Count(got, []byte(p)) != 1 {
			t.Errorf("the record at %d is there %d times", at, bytes.Count(got, []byte(p)))
		}
	}
}

// faultAppends is a client that appends to a blob it shares.
type faultAppends struct {
	t           *testing.T
	hurt, sound *appendblob.Client
	outcomes    faultOutcomes
}

// append appends p once and returns where it is.
func (a *faultAppends) append(p []byte) (int64, bool) {
	ctx := a.t.Context()
	for range 1000 { // some hundred appends of others come between at most
		now, err := a.sound.GetProperties(ctx, nil)
		if err != nil {
			a.t.Error(err)
			return 0, false
		}
		at := *now.ContentLength
		done, err := a.hurt.AppendBlock(ctx, body(p), &appendblob.AppendBlockOptions{
			AppendPositionAccessConditions: &appendblob.AppendPositionAccessConditions{AppendPosition: to.Ptr(at)}})
		what := "gave up"
		switch {
		case err == nil:
			if *done.BlobAppendOffset != fmt.Sprint(at) {
				a.t.Errorf("appended at %s, want %d", *done.BlobAppendOffset, at)
			}
			a.outcomes["appended"]++
			return at, true
		case bloberror.HasCode(err, bloberror.AppendPositionConditionNotMet):
			what = "refused"
		case !gaveUp(err):
			a.t.Errorf("append: %v", err)
			return 0, false
		}
		there := contentOf(a.t, a.sound.BlobClient())
		if int64(len(there)) < at {
			a.t.Errorf("%d bytes are left of %d", len(there), at)
			return 0, false
		}
		switch {
		case bytes.HasPrefix(there[at:], p):
			a.outcomes[what+": done before"]++
			return at, true
		case int64(len(there)) == at && what == "refused":
			a.t.Errorf("an append at %d was refused, which is the end", at)
		case what == "refused":
			a.outcomes["refused: somebody else was first"]++
		default:
			a.outcomes["gave up: not done"]++
		}
	}
	a.t.Error("never appended")
	return 0, false
}
