//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/pageblob"

	"pagevault/internal/testkit"
)

const (
	pageSize      = testkit.PageSize
	containerName = "crash"
	writers       = 9       // page writers at once, on all disks together
	maxWritePages = 512     // 256 KiB
	numbersBlob   = "count" // whose sequence number is incremented
	passing       = 4       // blobs with content that come and go
	passingPages  = 3072    // 1.5 MiB
	passingWriter = 200     // of their stamps
	mostSnapshots = 4       // of a disk; when there are more, old ones are deleted
)

// A disk is a page blob under test, with the record of what was done to it.
type disk struct {
	name    string
	pages   int
	history *testkit.History

	mu struct {
		sync.Mutex
		taken   []*snapshot // acknowledged and not yet looked at
		known   []*snapshot // looked at: the pages it must show for ever
		deleted []*snapshot // of those that were known: deleted, or perhaps
	}
}

// A snapshot of a disk that the server has acknowledged.
type snapshot struct {
	id    string
	taken testkit.Moment
	pages []testkit.Stamp
	there presence
}

// workload is everything that is done to a server between two deaths, and what must be true after the next birth.
type workload struct {
	seed  uint64
	disks []*disk
	sizes [writers][]int // pages of each new content a writer has written: content number n is at n-1

	// the blob whose sequence number is incremented: how often it was acknowledged, how often sent
	counted, sent int64
	// small blobs that come and go: whether each must be there, must not, or may (a request about it went unanswered)
	names map[string]presence
	// blobs with content that come and go
	passing [passing]passingBlob
	// what was deleted since the beginning, acknowledged: snapshots, and blobs with content
	thawed, passed int

	readers int // that compare what they read with the history, beside the writers

	killed atomic.Bool  // from now on requests may fail
	acks   atomic.Int64 // of the present round
	acked  chan struct{}
}

// A passingBlob is created, written in one request and deleted again. seq numbers its contents; wrote says whether all of
// it is there, none of it, or by the page either.
type passingBlob struct {
	seq   int
	there presence
	wrote presence
}

type presence int

const (
	absent presence = iota
	present
	either
)

func newWorkload(seed uint64) *workload {
	w := &workload{seed: seed, names: map[string]presence{}, acked: make(chan struct{}, 1)}
	// One disk so small that every write overlaps many others, one on which they are mostly alone.
	for name, pages := range map[string]int{"hot": 2048, "wide": 32768} {
		w.disks = append(w.disks, &disk{name: name, pages: pages, history: testkit.NewHistory(pages)})
	}
	slices.SortFunc(w.disks, func(a, b *disk) int { return strings.Compare(a.name, b.name) }) // the seed picks by number
	return w
}

// create makes the blobs.
func (w *workload) create(t *testing.T, s *testkit.Server) {
	t.Helper()
	ctx := context.Background()
	c := s.Container(t, containerName)
	if _, err := c.Create(ctx, nil); err != nil {
		t.Fatal(err)
	}
	for _, d := range w.disks {
		if _, err := c.NewPageBlobClient(d.name).Create(ctx, int64(d.pages)*pageSize, nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.NewPageBlobClient(numbersBlob).Create(ctx, 0, nil); err != nil {
		t.Fatal(err)
	}
}

// round is one life of the server: writers at work until the server is gone.
type round struct {
	w     *workload
	c     *container.Client
	wg    sync.WaitGroup
	fail  chan error // the first failures that are not the kill's doing
	meter meter
	ended atomic.Bool // no more requests; those under way must not fail
}

// start sets the writers to work. They end when the server does not answer any more, which must not be before kill.
func (w *workload) start(t *testing.T, s *testkit.Server, n int) *round {
	t.Helper()
	w.killed.Store(false)
	w.acks.Store(0)
	r := &round{w: w, fail: make(chan error, writers+4+w.readers)}
	r.c = s.Container(t, containerName, &r.meter)
	work := func(name string, id int, step func(rng *rand.Rand) error) {
		rng := rand.New(rand.NewPCG(w.seed, uint64(n)<<8|uint64(id)))
		r.wg.Go(func() {
			for !w.killed.Load() && !r.ended.Load() {
				if err := step(rng); err != nil {
					if !w.killed.Load() {
						r.fail <- fmt.Errorf("%s: %w", name, err)
					}
					return
				}
			}
		})
	}
	for i := range writers {
		work(fmt.Sprintf("writer %d", i), i, func(rng *rand.Rand) error { return r.writeOnce(rng, i) })
	}
	work("snapshots", writers, r.snapshotOnce)
	work("sequence numbers", writers+1, r.countOnce)
	work("names", writers+2, r.nameOnce)
	work("passing blobs", writers+3, r.passOnce)
	for i := range w.readers {
		work(fmt.Sprintf("reader %d", i), writers+4+i, r.readOnce)
	}
	return r
}

// awaitAcks returns when n page writes of this round have been acknowledged. They may take long on a machine that is busy, but
// there must always be a next one.
func (r *round) awaitAcks(t *testing.T, n int64) {
	t.Helper()
	const patience, all = 15 * time.Second, 3 * time.Minute
	idle, deadline := time.NewTimer(patience), time.After(all)
	defer idle.Stop()
	for r.w.acks.Load() < n {
		select {
		case <-r.w.acked:
			idle.Reset(patience)
		case err := <-r.fail:
			t.Fatalf("before the kill: %v", err)
		case <-deadline:
			t.Fatalf("%d writes acknowledged in %v, want %d", r.w.acks.Load(), all, n)
		case <-idle.C:
			t.Fatalf("%d writes acknowledged, want %d, and none in the last %v", r.w.acks.Load(), n, patience)
		}
	}
}

// finish ends the round while the server lives on: requests that are under way are waited for, and none may fail.
func (r *round) finish(t *testing.T) {
	t.Helper()
	r.ended.Store(true)
	r.end(t)
}

// end waits for the writers; call it after the server is gone.
func (r *round) end(t *testing.T) {
	t.Helper()
	r.wg.Wait()
	select {
	case err := <-r.fail:
		t.Fatalf("before the kill: %v", err)
	default:
	}
}

// sizes of writes in pages are spread evenly over their logarithms: as many around 1 KiB as around 200.
func randomSize(rng *rand.Rand) int {
	return min(maxWritePages, 1<<rng.IntN(10)+rng.IntN(1<<rng.IntN(10)))
}

// writeOnce updates or clears a random range of a random disk. One write in five repeats part of an earlier one of the
// writer at another place, often at another alignment, so that the server finds content it has.
func (r *round) writeOnce(rng *rand.Rand, writer int) error {
	d := r.w.disks[rng.IntN(len(r.w.disks))]
	count, seq, from := randomSize(rng), 0, 0 // seq 0: a clear
	mine := &r.w.sizes[writer]
	switch rng.IntN(5) {
	case 0:
	case 1:
		if len(*mine) > 0 {
			seq = 1 + rng.IntN(len(*mine))
			size := (*mine)[seq-1]
			from = rng.IntN(size)
			count = min(count, size-from)
		}
	default:
		*mine = append(*mine, count)
		seq = len(*mine)
	}
	first := rng.IntN(d.pages - count + 1)
	if rng.IntN(2) == 0 { // half of them where a disk would write: whole blocks
		first &^= 7
	}
	stamps := make([]testkit.Stamp, count)
	at := blob.HTTPRange{Offset: int64(first) * pageSize, Count: int64(count) * pageSize}
	b := r.c.NewPageBlobClient(d.name)
	if seq == 0 {
		op := d.history.Begin(first, stamps)
		_, err := b.ClearPages(context.Background(), at, nil)
		return r.ack(op, err)
	}
	body := make([]byte, count*pageSize)
	for i := range stamps {
		stamps[i] = testkit.NewStamp(writer+1, seq, from+i)
		stamps[i].Fill(body[i*pageSize:])
	}
	op := d.history.Begin(first, stamps)
	_, err := b.UploadPages(context.Background(), streaming.NopCloser(bytes.NewReader(body)), at, nil)
	return r.ack(op, err)
}

// ack records the answer to a page write.
func (r *round) ack(op *testkit.Write, err error) error {
	if err != nil {
		return err
	}
	op.Acknowledged()
	r.w.acks.Add(1)
	select {
	case r.w.acked <- struct{}{}:
	default:
	}
	return nil
}

// readOnce reads a random range of a disk, or all of a snapshot of which is known what it shows, beside the writers.
func (r *round) readOnce(rng *rand.Rand) error {
	d := r.w.disks[rng.IntN(len(r.w.disks))]
	b := r.c.NewPageBlobClient(d.name)
	first, count := 0, d.pages
	old := d.randomSnapshot(rng)
	if old != nil {
		var err error
		if b, err = b.WithSnapshot(old.id); err != nil {
			return err
		}
	} else {
		count = randomSize(rng)
		first = rng.IntN(d.pages - count + 1)
	}
	from := d.history.Now()
	began := time.Now()
	resp, err := b.DownloadStream(context.Background(), &blob.DownloadStreamOptions{
		Range: blob.HTTPRange{Offset: int64(first) * pageSize, Count: int64(count) * pageSize}})
	if old != nil && isNotFound(err) {
		return nil // it is deleted by another worker
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	data := make([]byte, count*pageSize)
	if _, err := io.ReadFull(resp.Body, data); err != nil {
		return fmt.Errorf("the body of a read: %w", err)
	}
	r.meter.read(time.Since(began))
	at := testkit.Moment{From: from, To: d.history.Now()}
	stamps, err := testkit.ReadStamps(data)
	if err != nil {
		return fmt.Errorf("%s from page %d: %w", d.name, first, err)
	}
	if old == nil {
		return d.history.CheckSome(first, stamps, at)
	}
	if !slices.Equal(stamps, old.pages) {
		return fmt.Errorf("%s: snapshot %s has changed", d.name, old.id)
	}
	return nil
}

// randomSnapshot returns a snapshot that shows known pages, once in four times if there is one.
func (d *disk) randomSnapshot(rng *rand.Rand) *snapshot {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.mu.known) == 0 || rng.IntN(4) > 0 {
		return nil
	}
	return d.mu.known[rng.IntN(len(d.mu.known))]
}

// snapshotOnce takes a snapshot of a disk after some more writes have been acknowledged, and deletes one if it has many.
func (r *round) snapshotOnce(rng *rand.Rand) error {
	for until := r.w.acks.Load() + int64(5+rng.IntN(40)); r.w.acks.Load() < until; {
		if r.w.killed.Load() || r.ended.Load() {
			return nil
		}
		if err := r.breathe(); err != nil {
			return err
		}
	}
	d := r.w.disks[rng.IntN(len(r.w.disks))]
	from := d.history.Now()
	resp, err := r.c.NewPageBlobClient(d.name).CreateSnapshot(context.Background(), nil)
	if err != nil {
		return err
	}
	s := &snapshot{id: *resp.Snapshot, taken: testkit.Moment{From: from, To: d.history.Now()}}
	d.mu.Lock()
	d.mu.taken = append(d.mu.taken, s)
	var old *snapshot
	if len(d.mu.known) > 0 && len(d.mu.known)+len(d.mu.taken) > mostSnapshots {
		i := rng.IntN(len(d.mu.known))
		old = d.mu.known[i]
		d.mu.known = slices.Delete(d.mu.known, i, i+1)
		d.mu.deleted = append(d.mu.deleted, old)
		old.there = either
	}
	d.mu.Unlock()
	if old == nil {
		return nil
	}
	b, err := r.c.NewPageBlobClient(d.name).WithSnapshot(old.id)
	if err != nil {
		return err
	}
	if _, err = b.Delete(context.Background(), nil); err == nil {
		old.there = absent
		r.w.thawed++
	}
	return err
}

// breathe asks the server for something small: it waits as long as the server takes, and sees it die.
func (r *round) breathe() error {
	_, err := r.c.NewPageBlobClient(numbersBlob).GetProperties(context.Background(), nil)
	return err
}

// countOnce increments a sequence number.
func (r *round) countOnce(*rand.Rand) error {
	r.w.sent++
	_, err := r.c.NewPageBlobClient(numbersBlob).UpdateSequenceNumber(context.Background(), &pageblob.UpdateSequenceNumberOptions{
		ActionType: to.Ptr(pageblob.SequenceNumberActionTypeIncrement)})
	if err == nil {
		r.w.counted++
	}
	return err
}

// nameOnce creates a small blob, or deletes one.
func (r *round) nameOnce(rng *rand.Rand) error {
	name := fmt.Sprintf("name-%02d", rng.IntN(50))
	was := r.w.names[name]
	r.w.names[name] = either
	b := r.c.NewPageBlobClient(name)
	if was == present {
		_, err := b.Delete(context.Background(), nil)
		if err == nil {
			r.w.names[name] = absent
		}
		return err
	}
	_, err := b.Create(context.Background(), pageSize, &pageblob.CreateOptions{Metadata: map[string]*string{"of": &name}})
	if err == nil {
		r.w.names[name] = present
	}
	return err
}

// passOnce creates and writes a blob, or deletes one: what it held is garbage then.
func (r *round) passOnce(rng *rand.Rand) error {
	i := rng.IntN(passing)
	p, b := &r.w.passing[i], r.c.NewPageBlobClient(passingName(i))
	ctx := context.Background()
	if p.there == present {
		p.there = either
		_, err := b.Delete(ctx, nil)
		if err == nil {
			p.there = absent
			r.w.passed++
		}
		return err
	}
	p.there, p.wrote = either, absent
	p.seq++
	if _, err := b.Create(ctx, passingPages*pageSize, &pageblob.CreateOptions{Metadata: map[string]*string{"of": to.Ptr(passingName(i))}}); err != nil {
		return err
	}
	p.there, p.wrote = present, either
	body := make([]byte, passingPages*pageSize)
	for page := range passingPages {
		passingStamp(i, p.seq, page).Fill(body[page*pageSize:])
	}
	_, err := b.UploadPages(ctx, streaming.NopCloser(bytes.NewReader(body)), blob.HTTPRange{Count: int64(len(body))}, nil)
	if err == nil {
		p.wrote = present
	}
	return err
}

func passingName(i int) string { return fmt.Sprintf("passing-%d", i) }

func passingStamp(i, seq, page int) testkit.Stamp {
	return testkit.NewStamp(passingWriter+i, seq, page)
}

// lookAtPassing checks the blobs with content that come and go, and returns what they are found to be.
func (w *workload) lookAtPassing(t *testing.T, c *container.Client) (found [passing]passingBlob) {
	t.Helper()
	for i, p := range w.passing {
		found[i] = passingBlob{seq: p.seq, there: w.lookAtName(t, c, passingName(i), p.there)}
		if found[i].there == absent {
			continue
		}
		found[i].wrote = either
		for page, s := range readPages(t, c, passingName(i), "", passingPages) {
			if want := passingStamp(i, p.seq, page); s != want && (s != 0 || p.wrote == present) || s != 0 && p.wrote == absent {
				t.Fatalf("blob %s: page %d holds %v; writing %v was acknowledged: %v", passingName(i), page, s, want, p.wrote == present)
			}
		}
	}
	return found
}

// lookAtDeleted checks that snapshots that were deleted are gone. Those whose deletion went unanswered and that are there
// still must hold what they held; they are returned.
func (d *disk) lookAtDeleted(t *testing.T, c *container.Client) (left []*snapshot) {
	t.Helper()
	for _, s := range d.mu.deleted {
		b, err := c.NewPageBlobClient(d.name).WithSnapshot(s.id)
		if err != nil {
			t.Fatal(err)
		}
		_, err = b.GetProperties(context.Background(), nil)
		switch {
		case err != nil && !isNotFound(err):
			t.Fatalf("%s: snapshot %s: %v", d.name, s.id, err)
		case err == nil && s.there == absent:
			t.Fatalf("%s: snapshot %s is there; it was deleted, and that was acknowledged", d.name, s.id)
		case err == nil:
			d.checkSnapshot(t, c, s)
			left = append(left, s)
		}
	}
	return left
}

// checkSnapshot checks that a snapshot shows what it showed first.
func (d *disk) checkSnapshot(t *testing.T, c *container.Client, s *snapshot) {
	t.Helper()
	for p, got := range readPages(t, c, d.name, s.id, d.pages) {
		if got != s.pages[p] {
			t.Fatalf("%s: snapshot %s has changed: page %d holds %v, held %v", d.name, s.id, p, got, s.pages[p])
		}
	}
}

// deleteAll deletes every blob with its snapshots, and checks that nothing is listed any more.
func (w *workload) deleteAll(t *testing.T, s *testkit.Server) {
	t.Helper()
	ctx := context.Background()
	c := s.Container(t, containerName)
	list := func() (names []string) {
		pager := c.NewListBlobsFlatPager(nil)
		for pager.More() {
			resp, err := pager.NextPage(ctx)
			if err != nil {
				t.Fatal(err)
			}
			for _, b := range resp.Segment.BlobItems {
				names = append(names, *b.Name)
			}
		}
		return names
	}
	for _, name := range list() {
		all := &blob.DeleteOptions{DeleteSnapshots: to.Ptr(blob.DeleteSnapshotsOptionTypeInclude)}
		if _, err := c.NewPageBlobClient(name).Delete(ctx, all); err != nil {
			t.Fatalf("deleting %s: %v", name, err)
		}
	}
	if left := list(); len(left) > 0 {
		t.Fatalf("everything was deleted, and there are %v", left)
	}
}

// verify compares everything the server shows with what it may show after its last death, and takes what it finds as
// the truth from here on. oldSnapshots is how many of the snapshots that were looked at before are read again.
func (w *workload) verify(t *testing.T, s *testkit.Server, rng *rand.Rand, oldSnapshots int) {
	t.Helper()
	found := w.look(t, s, rng, oldSnapshots)
	for i, d := range w.disks {
		d.history.Restart(found.pages[i])
		d.mu.Lock()
		for k, snapshot := range d.mu.taken {
			snapshot.pages = found.taken[i][k]
		}
		d.mu.known = append(d.mu.known, d.mu.taken...)
		d.mu.known = append(d.mu.known, found.kept[i]...)
		d.mu.taken, d.mu.deleted = nil, nil
		d.mu.Unlock()
	}
	w.counted, w.sent = found.count, found.count
	w.names, w.passing = found.names, found.passing
}

// findings are what a server shows, all of it allowed.
type findings struct {
	pages [][]testkit.Stamp   // of each disk
	taken [][][]testkit.Stamp // of each snapshot of each disk that nobody had looked at
	kept  [][]*snapshot       // of each disk: snapshots that were perhaps deleted, and were not
	count int64
	names map[string]presence

	passing [passing]passingBlob
}

// look compares everything the server shows with what it may show, and leaves the history as it is.
func (w *workload) look(t *testing.T, s *testkit.Server, rng *rand.Rand, oldSnapshots int) (found findings) {
	t.Helper()
	c := s.Container(t, containerName)
	for _, d := range w.disks {
		found.taken = append(found.taken, d.lookAtSnapshots(t, c, rng, oldSnapshots))
		found.kept = append(found.kept, d.lookAtDeleted(t, c))
		pages := readPages(t, c, d.name, "", d.pages)
		if err := d.history.Check(pages, testkit.Final); err != nil {
			t.Fatalf("%s: %v", d.name, err)
		}
		checkRanges(t, c, d.name, pages)
		found.pages = append(found.pages, pages)
	}
	props, err := c.NewPageBlobClient(numbersBlob).GetProperties(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	found.count = *props.BlobSequenceNumber
	if n := found.count; n < w.counted || n > w.sent {
		t.Fatalf("sequence number %d; %d increments were acknowledged, %d sent", n, w.counted, w.sent)
	}
	found.names, found.passing = w.lookAtNames(t, c), w.lookAtPassing(t, c)
	return found
}

// lookAtSnapshots checks the new snapshots against the history, and some old ones against what they showed first. It
// returns what the new ones hold.
func (d *disk) lookAtSnapshots(t *testing.T, c *container.Client, rng *rand.Rand, old int) (taken [][]testkit.Stamp) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, i := range rng.Perm(len(d.mu.known))[:min(old, len(d.mu.known))] {
		d.checkSnapshot(t, c, d.mu.known[i])
	}
	for _, s := range d.mu.taken {
		pages := readPages(t, c, d.name, s.id, d.pages)
		if err := d.history.Check(pages, s.taken); err != nil {
			t.Fatalf("%s: snapshot %s: %v", d.name, s.id, err)
		}
		taken = append(taken, pages)
	}
	return taken
}

// snapshots returns how many snapshots are known.
func (w *workload) snapshots() (n int) {
	for _, d := range w.disks {
		n += len(d.mu.known)
	}
	return n
}

// lookAtNames checks which of the small blobs are there, and returns it.
func (w *workload) lookAtNames(t *testing.T, c *container.Client) map[string]presence {
	t.Helper()
	found := map[string]presence{}
	for name, want := range w.names {
		found[name] = w.lookAtName(t, c, name, want)
	}
	return found
}

// lookAtName checks whether a blob is there as it should be, and returns whether it is.
func (w *workload) lookAtName(t *testing.T, c *container.Client, name string, want presence) presence {
	t.Helper()
	props, err := c.NewPageBlobClient(name).GetProperties(context.Background(), nil)
	there := err == nil
	if err != nil && !bloberror.HasCode(err, bloberror.BlobNotFound) && !isNotFound(err) {
		t.Fatalf("blob %s: %v", name, err)
	}
	if there && want == absent || !there && want == present {
		t.Fatalf("blob %s is there: %v, want %v", name, there, want == present)
	}
	if !there {
		return absent
	}
	if of := props.Metadata["Of"]; of == nil || *of != name {
		t.Fatalf("blob %s has metadata %v", name, props.Metadata)
	}
	return present
}

// isNotFound is for HEAD, whose answer has no body to hold a code.
func isNotFound(err error) bool {
	var re *azcore.ResponseError
	return errors.As(err, &re) && re.StatusCode == http.StatusNotFound
}

// readPages reads a whole blob or snapshot; every page must be one that somebody wrote, whole.
func readPages(t *testing.T, c *container.Client, name, snapshot string, pages int) []testkit.Stamp {
	t.Helper()
	b := c.NewPageBlobClient(name)
	if snapshot != "" {
		var err error
		if b, err = b.WithSnapshot(snapshot); err != nil {
			t.Fatal(err)
		}
	}
	resp, err := b.DownloadStream(context.Background(), nil)
	if err != nil {
		t.Fatalf("%s %s: %v", name, snapshot, err)
	}
	defer resp.Body.Close()
	data := make([]byte, pages*pageSize)
	if _, err := io.ReadFull(resp.Body, data); err != nil {
		t.Fatalf("%s %s: %v", name, snapshot, err)
	}
	stamps, err := testkit.ReadStamps(data)
	if err != nil {
		t.Fatalf("%s %s: %v", name, snapshot, err)
	}
	return stamps
}

// checkRanges checks that exactly the pages that hold something are valid: no writer writes zeros, and a cleared page
// is not valid.
func checkRanges(t *testing.T, c *container.Client, name string, pages []testkit.Stamp) {
	t.Helper()
	valid := make([]bool, len(pages))
	pager := c.NewPageBlobClient(name).NewGetPageRangesPager(nil)
	for pager.More() {
		resp, err := pager.NextPage(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range resp.PageRange {
			for p := *r.Start / pageSize; p <= *r.End/pageSize; p++ {
				valid[p] = true
			}
		}
	}
	for p, s := range pages {
		if valid[p] != (s != 0) {
			t.Fatalf("%s: page %d holds %v and is listed as valid: %v", name, p, s, valid[p])
		}
	}
}
