package blobstore

import (
	"context"
	"errors"
	"testing"

	"pagevault/blobstore/tier"
	"pagevault/internal/azure/azerr"
)

// bytesSource is content that lists no pages; fails is told at the second piece.
type bytesSource struct {
	data  []byte
	fails error
}

func (s bytesSource) Pages(context.Context, string) ([]PageEntry, string, error) {
	return nil, "", errors.New("it was asked for pages")
}

func (s bytesSource) ReadPages(_ context.Context, p []byte, off int64) error {
	if off > 0 && s.fails != nil {
		return s.fails
	}
	copy(p, s.data[off:])
	return nil
}

// TestPendingContent: the copy of a block or append blob fills a blob of that type, which is empty if it fails.
func TestPendingContent(t *testing.T) {
	f := newFixture(t)
	data := fillRandom(70, 9<<20+13)
	for _, typ := range []BlobType{BlockBlob, AppendBlob} {
		req := StartCopy{Type: typ, Size: int64(len(data)), Source: bytesSource{data: data}, SourceURL: "http://elsewhere/x"}
		if typ == AppendBlob {
			req.Appended = 3
		}
		name := typ.String()
		must(t)(f.StartCopy(ref(name), &req))
		equal(t, "its end", f.settled(name).Status, CopySuccess)
		info := f.info(ref(name))
		if info.Type != typ || info.Size != req.Size || info.Appended != req.Appended {
			t.Errorf("%+v", info)
		}
		f.readsAs(ref(name), data)
		f.wantClean("a copy")

		req.Source = bytesSource{data, errors.New("gone")}
		must(t)(f.StartCopy(ref(name), &req))
		equal(t, "its end", f.settled(name).Status, CopyFailed)
		if info = f.info(ref(name)); info.Type != typ || info.Size != 0 || info.Appended != 0 {
			t.Errorf("%+v", info)
		}
		f.wantClean("a copy that failed")
	}
	f.create("pages", 1)
	_, err := f.StartCopy(ref("pages"), &StartCopy{Type: BlockBlob, Source: bytesSource{}})
	wantCode(t, "over another type", err, azerr.InvalidBlobType)
	for _, bad := range []StartCopy{{Type: AppendBlob, Size: 5}, {Type: AppendBlob, Appended: 1}, {Type: AppendBlob, Size: 5, Appended: 6}, {Type: AppendBlob, Size: 1 << 20, Appended: AppendsMax + 1}} {
		_, err := f.StartCopy(ref("bad"), &bad)
		wantCode(t, "a number of blocks that there cannot be", err, azerr.InvalidInput)
	}
	_, err = f.StartCopy(ref("bad"), &StartCopy{Type: BlockBlob, Size: BlocksMax*BlockMax + 1})
	wantCode(t, "too large", err, azerr.RequestBodyTooLarge)
}

// TestCopyOfContent: a block blob can say of what it is a copy, and then takes the place of block blobs only.
func TestCopyOfContent(t *testing.T) {
	f := newFixture(t)
	info := CopyInfo{ID: guidA, Source: "http://elsewhere/x"}
	for _, data := range [][]byte{nil, []byte("some bytes"), fillRandom(71, 5<<20)} {
		must(t)(f.PutBlockBlob(ref("b"), &PutBlockBlob{Copy: &info}, upload(data)))
		got := f.info(ref("b"))
		if c := got.Copy; c == nil || c.ID != guidA || c.Source != info.Source || c.Bytes != int64(len(data)) || c.Status != CopySuccess || c.Copied != c.Bytes || !c.Completed.Equal(got.LastModified) {
			t.Errorf("%+v of %d bytes", got.Copy, len(data))
		}
	}
	f.create("pages", 1)
	for _, data := range [][]byte{[]byte("some bytes"), fillRandom(72, 5<<20)} {
		_, err := f.PutBlockBlob(ref("pages"), &PutBlockBlob{Copy: &info}, upload(data))
		wantCode(t, "over pages", err, azerr.InvalidBlobType)
	}
	must(t)(f.PutBlockBlob(ref("pages"), &PutBlockBlob{}, upload([]byte("some bytes"))))
	f.wantClean("after all")
}

// TestBlockTiers: which tiers block blobs have, and what cannot be done to what is archived.
func TestBlockTiers(t *testing.T) {
	f := newFixture(t)
	shown := func(name string, want tier.Tier, inferred bool) {
		t.Helper()
		info := f.info(ref(name))
		if got, guessed := f.ShownTier(&info); got != want || guessed != inferred {
			t.Errorf("%s: tier %v, inferred %v; want %v, %v", name, got, guessed, want, inferred)
		}
	}
	put := func(name string, t tier.Tier) error {
		_, err := f.PutBlockBlob(ref(name), &PutBlockBlob{Tier: t}, upload([]byte("x")))
		return err
	}
	ok(t, put("b", 0))
	shown("b", tier.Hot, true)
	ok(t, setTier(f, ref("b"), &Access{}, tier.Cold))
	shown("b", tier.Cold, false)
	must(t)(f.CommitBlocks(ref("b"), &CommitBlocks{})) // it stays
	shown("b", tier.Cold, false)
	must(t)(f.CopyBlob(t.Context(), ref("c"), &CopyBlob{Source: ref("b")}))
	shown("c", tier.Hot, true)
	ok(t, put("b", 0))
	shown("b", tier.Hot, true)
	wantCode(t, "a tier of page blobs", put("b", 10), azerr.InvalidBlobTier)
	wantCode(t, "a tier of page blobs", setTier(f, ref("b"), &Access{}, 10), azerr.InvalidBlobTier)
	must(t)(f.CreateAppendBlob(ref("log"), &CreateAppendBlob{}))
	shown("log", 0, false)
	wantCode(t, "an append blob", setTier(f, ref("log"), &Access{}, tier.Hot), azerr.AccessTierNotSupportedForBlobType)

	ok(t, put("b", tier.Archive))
	before := f.info(ref("b"))
	_, err := f.OpenBlob(ref("b"), &Access{})
	wantCode(t, "reading", err, azerr.BlobArchived)
	wantCode(t, "putting", put("b", 0), azerr.BlobArchived)
	_, err = f.CommitBlocks(ref("b"), &CommitBlocks{})
	wantCode(t, "a list", err, azerr.BlobArchived)
	wantCode(t, "a block", f.PutBlock(ref("b"), &PutBlock{ID: []byte("id")}, upload([]byte("y"))), azerr.BlobArchived)
	_, err = f.SetBlobMetadata(ref("b"), &Access{}, nil)
	wantCode(t, "metadata", err, azerr.BlobArchived)
	_, err = f.SnapshotBlob(ref("b"), &Access{}, nil)
	wantCode(t, "a snapshot", err, azerr.BlobArchived)
	for _, to := range []tier.Tier{0, tier.Archive} {
		_, err = f.CopyBlob(t.Context(), ref("c"), &CopyBlob{Source: ref("b"), Tier: to})
		wantCode(t, "a copy", err, azerr.BlobArchived)
	}
	must(t)(f.CopyBlob(t.Context(), ref("c"), &CopyBlob{Source: ref("b"), Tier: tier.Cool}))
	f.readsAs(ref("c"), []byte("x"))
	ok(t, f.SetBlobTags(ref("b"), &Access{}, nil))
	f.reopen()
	shown("b", tier.Archive, false)
	back, err := f.SetBlobTier(ref("b"), &Access{}, tier.Hot)
	if !back || err != nil {
		t.Errorf("back: %v, %v", back, err)
	}
	if after := f.info(ref("b")); after.ETag != before.ETag {
		t.Errorf("%+v", after)
	}
	f.readsAs(ref("b"), []byte("x"))
	if back, err = f.SetBlobTier(ref("b"), &Access{}, tier.Cool); back || err != nil {
		t.Errorf("from hot: %v, %v", back, err)
	}
	ok(t, put("b", tier.Archive))
	ok(t, f.DeleteBlob(ref("b"), &Access{}, SnapshotsNone))

	f.with = func(o *AccountOptions) { o.Premium = true }
	f.reopen()
	shown("c", 0, false)
	wantCode(t, "in a premium account", setTier(f, ref("c"), &Access{}, tier.Hot), azerr.BlobAccessTierNotSupportedForAccountType)
	f.wantClean("after all")
}
