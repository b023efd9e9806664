package blobstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"pagevault/blobstore/lease"
	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/cond"
	"pagevault/internal/azure/header"
	"pagevault/internal/testkit"
)

const writers = 16

// together runs fn for 0 to n-1 at once and waits for all.
func together(n int, fn func(i int)) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			fn(i)
		})
	}
	close(start)
	wg.Wait()
}

// written is a write that succeeded.
type writtenBy struct {
	etag   cond.ETag
	writer int
}

// history collects what writers did.
type history struct {
	mu struct {
		sync.Mutex
		writes []writtenBy
	}
}

func (h *history) add(etag cond.ETag, writer int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mu.writes = append(h.mu.writes, writtenBy{etag, writer})
}

// sorted returns the writes in the order of their entity tags, which must differ.
func (h *history) sorted(t *testing.T) []writtenBy {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	slices.SortFunc(h.mu.writes, func(a, b writtenBy) int {
		if a.etag < b.etag {
			return -1
		}
		return 1
	})
	for i := 1; i < len(h.mu.writes); i++ {
		if h.mu.writes[i-1].etag == h.mu.writes[i].etag {
			t.Fatalf("entity tag %v was given out twice", h.mu.writes[i].etag)
		}
	}
	return h.mu.writes
}

// TestOneWinner: of writers that all want the blob as they know it, exactly one gets it.
func TestOneWinner(t *testing.T) {
	f := newFixture(t)
	f.create("b", 8)
	for round := range testkit.Scale(t, "PAGEVAULT_ROUNDS", 60) {
		before := f.info(ref("b"))
		acc := with(t, "If-Match", before.ETag.String())
		var h history
		together(writers, func(i int) {
			req := putReq(int64(i%8), int64(i%8)+1, byte('A'+i))
			req.Access = acc
			got, err := f.PutPages(ref("b"), req)
			switch {
			case err == nil:
				h.add(got.ETag, i)
			case !errors.Is(err, azerr.ConditionNotMet):
				t.Errorf("round %d, writer %d: %v", round, i, err)
			}
		})
		won := h.sorted(t)
		if len(won) != 1 {
			t.Fatalf("round %d: %d writers won", round, len(won))
		}
		equal(t, "entity tag", f.info(ref("b")).ETag, won[0].etag)
		equal(t, "entity tag grows", won[0].etag > before.ETag, true)
		equal(t, "content", f.letters(ref("b"))[won[0].writer%8], byte('A'+won[0].writer))
	}
}

// TestFencing: the use the sequence number is made for. Each writer raises it to its own number and then writes on
// condition that it is not higher: from the moment a writer has done that, those before it are shut out.
func TestFencing(t *testing.T) {
	f := newFixture(t)
	f.create("b", 1)
	var h history
	together(writers, func(i int) {
		mine := int64(i + 1)
		_, err := f.SetBlobProperties(ref("b"), &SetProperties{Action: SequenceMax, Sequence: Given(mine)})
		if err != nil {
			t.Error(err)
			return
		}
		last := cond.ETag(0)
		for range 20 {
			req := putReq(0, 1, byte('A'+i))
			req.Sequence = sequence(t, "le", fmt.Sprint(mine))
			got, err := f.PutPages(ref("b"), req)
			switch {
			case errors.Is(err, azerr.SequenceNumberConditionNotMet):
				continue
			case err != nil:
				t.Error(err)
				return
			case got.Sequence != mine:
				t.Errorf("writer %d wrote while the number was %d", mine, got.Sequence)
			case got.ETag <= last:
				t.Errorf("writer %d: entity tag %v after %v", mine, got.ETag, last)
			}
			last = got.ETag
			h.add(got.ETag, i)
		}
	})
	writes := h.sorted(t)
	for i := 1; i < len(writes); i++ {
		if writes[i].writer < writes[i-1].writer {
			t.Errorf("writer %d wrote after writer %d", writes[i].writer, writes[i-1].writer)
		}
	}
	final := writes[len(writes)-1]
	equal(t, "last writer", final.writer, writers-1)
	equal(t, "content", f.letters(ref("b"))[0], byte('A'+final.writer))
	if got := f.info(ref("b")).ETag; got < final.etag { // raising the number gives new entity tags too
		t.Errorf("entity tag %v after %v", got, final.etag)
	}
}

// TestLeasesExclude: a counter that is only changed under a lease counts every change, and nobody else gets in.
func TestLeasesExclude(t *testing.T) {
	f := newFixture(t)
	f.create("b", 1)
	const each = 6
	var shutOut atomic.Int64
	released := make(chan struct{}, writers) // those shut out wait for a release, one for each
	together(writers, func(i int) {
		id := fmt.Sprintf("writer-%d", i)
		for done := 0; done < each; {
			_, _, err := f.LeaseBlob(ref("b"), lease.Request{Action: lease.Acquire, Proposed: id, Seconds: 15}, cond.Conditions{})
			if errors.Is(err, azerr.LeaseAlreadyPresent) {
				shutOut.Add(1)
				<-released
				continue
			}
			if err == nil {
				err = f.increment(id)
			}
			if err == nil {
				_, _, err = f.LeaseBlob(ref("b"), lease.Request{Action: lease.Release, ID: id}, cond.Conditions{})
			}
			if err != nil {
				t.Errorf("%s: %v", id, err)
				return
			}
			done++
			select {
			case released <- struct{}{}:
			default:
			}
		}
	})
	equal(t, "counted", counter(f.content(ref("b"))), writers*each)
	t.Logf("shut out %d times", shutOut.Load())
}

// increment adds one to the counter in the first page, under a lease. In the middle it makes sure that it is needed.
func (f *fixture) increment(id string) error {
	page := f.content(ref("b"))
	binary.BigEndian.PutUint64(page, uint64(counter(page)+1))
	req := &PutPages{Range: header.Range{End: PageSize}, Body: page}
	if _, err := f.PutPages(ref("b"), req); !errors.Is(err, azerr.LeaseIdMissing) {
		return fmt.Errorf("without the id: %w", err)
	}
	req.LeaseID = id
	_, err := f.PutPages(ref("b"), req)
	return err
}

func counter(page []byte) int { return int(binary.BigEndian.Uint64(page)) }

// TestReadsDuringWrites: every reader sees the work of one write, the one whose entity tag it shows.
func TestReadsDuringWrites(t *testing.T) {
	f := newFixture(t)
	const pages = 300 // more than two regions
	first := f.create("b", pages)
	var wrote sync.Map // entity tag → byte
	wrote.Store(first.ETag, byte(0))
	type sight struct {
		etag cond.ETag
		seen byte
	}
	var mu sync.Mutex
	var sights []sight
	together(writers, func(i int) {
		for round := range 12 {
			if i%2 == 0 {
				c := byte(1 + i*12 + round)
				got, err := f.PutPages(ref("b"), putReq(0, pages, c))
				if err != nil {
					t.Error(err)
					return
				}
				wrote.Store(got.ETag, c)
				continue
			}
			etag, c, err := f.glance()
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			sights = append(sights, sight{etag, c})
			mu.Unlock()
		}
	})
	for _, s := range sights {
		if c, ok := wrote.Load(s.etag); !ok || c.(byte) != s.seen {
			t.Errorf("under entity tag %v a reader saw %d; it belongs to %v", s.etag, s.seen, c)
		}
	}
}

// glance reads the blob in pieces of odd sizes and returns the byte of which all of it consists.
func (f *fixture) glance() (cond.ETag, byte, error) {
	r, err := f.OpenBlob(ref("b"), &Access{})
	if err != nil {
		return 0, 0, err
	}
	defer r.Close()
	p := make([]byte, r.Info().Size)
	for off := 0; off < len(p); off += 7777 {
		if _, err := r.ReadAt(p[off:min(off+7777, len(p))], int64(off)); err != nil {
			return 0, 0, err
		}
	}
	for i := range p {
		if p[i] != p[0] {
			return 0, 0, fmt.Errorf("byte %d is %d, the first %d", i, p[i], p[0])
		}
	}
	return r.Info().ETag, p[0], nil
}

// TestEverythingAtOnce: all operations on a few names at once end in answers of the protocol, and counts stay right.
func TestEverythingAtOnce(t *testing.T) {
	f := newFixture(t)
	expected := []azerr.Code{azerr.BlobNotFound, azerr.InvalidPageRange, azerr.SnapshotsPresent, azerr.BlobAlreadyExists}
	check := func(err error) {
		t.Helper()
		for _, code := range expected {
			if errors.Is(err, code) {
				return
			}
		}
		if err != nil {
			t.Error(err)
		}
	}
	together(writers, func(i int) {
		for n := range 40 {
			name := string(rune('a' + (i+n)%3))
			switch (i*7 + n) % 8 {
			case 0:
				check(second(f.CreatePageBlob(ref(name), &CreatePageBlob{Size: 16 * PageSize})))
			case 1, 2:
				check(second(f.PutPages(ref(name), putReq(int64(n%8), 8, 'x'))))
			case 3:
				check(second(f.ClearPages(ref(name), clearReq(0, 4))))
			case 4:
				check(second(f.SnapshotBlob(ref(name), &Access{}, nil)))
			case 5:
				check(f.DeleteBlob(ref(name), &Access{}, DeleteSnapshots(n%3)))
			case 6:
				check(second(f.SetBlobProperties(ref(name), &SetProperties{Size: Given(int64(n) * PageSize)})))
			case 7:
				check(second(f.ListBlobs("cont", &ListBlobsRequest{Snapshots: true})))
			}
		}
	})
	for _, name := range []string{"a", "b", "c"} {
		check(f.DeleteBlob(ref(name), &Access{}, SnapshotsInclude))
	}
	equal(t, "rows", f.rowCount(tableBlob)+f.rowCount(tableVolume), 0)
	equal(t, "volumes", f.volumes(), 0)
}
