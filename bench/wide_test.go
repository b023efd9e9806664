//go:build !race

package bench

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pagevault/internal/clock"
	"pagevault/internal/testkit"
)

const (
	wideRegion = 64 << 10
	widePut    = 4 << 20
	wideBlob   = 1 << 40
	wideStride = 64 << 20 // from one Put Page of 64 regions to the next
	wideConns  = 16
	widePage   = 5000 // blobs an answer, Azure's most
)

// wide is a server with one blob of 1 TiB in very many regions, or very many blobs.
type wide struct {
	t         *testing.T
	server    *testkit.Server
	endpoint  endpoint
	container string
	conn      *conn
	full      bool // at the full size, to which the bounds apply; at others a hundred times as much is allowed
}

// TestWide measures what must not cost more where there is more: snapshots and differences of a blob of 1 TiB that was written
// in a million regions, and lists of a million blobs, through the protocol, on three members. The sizes are in its
// environment variables; CI runs a hundredth, to see that it runs and that the answers are right.
func TestWide(t *testing.T) {
	regions := testkit.Scale(t, "PAGEVAULT_WIDE_REGIONS", 10_000) / 64 * 64
	blobs := testkit.Scale(t, "PAGEVAULT_WIDE_BLOBS", 10_000)
	w := &wide{t: t, full: regions >= 1_000_000 && blobs >= 1_000_000}
	w.server = testkit.StartServer(t, testkit.ServerOptions{Data: filepath.Join(testkit.BigDir(t, "PAGEVAULT_WIDE_DIR"), "data")})
	var err error
	if w.endpoint, err = parseEndpoint(w.server.URL(), "devstoreaccount1"); err != nil {
		t.Fatal(err)
	}
	w.container = w.endpoint.prefix + "/wide"
	w.conn = w.dial()
	w.must(w.conn.container(http.MethodPut, w.container, http.StatusCreated))
	w.snapshots(regions, min(1000, regions/10))
	w.lists(blobs)
	usage, ok := ProcessUsage(w.server.PID())
	if !ok {
		t.Fatal("nobody tells what memory the server takes")
	}
	t.Logf("the server takes %d MiB", usage.RSSBytes>>20)
	if usage.RSSBytes > 512<<20 {
		t.Errorf("that is more than 512 MiB")
	}
}

func (w *wide) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *wide) dial() *conn {
	w.t.Helper()
	c, err := dial(w.t.Context(), w.endpoint, newSigner("devstoreaccount1", emulatorKey(w.t)), clock.System)
	w.must(err)
	w.t.Cleanup(func() { c.Close() })
	return c
}

// each calls fn with every number below n, on several connections.
func (w *wide) each(n int, fn func(c *conn, i int) error) {
	w.t.Helper()
	done := make(chan error)
	for k := range wideConns {
		c := w.dial()
		go func() {
			var err error
			for i := k; i < n && err == nil; i += wideConns {
				err = fn(c, i)
			}
			done <- err
		}()
	}
	var all error
	for range wideConns {
		all = errors.Join(all, <-done)
	}
	w.must(all)
}

// timed returns how long fn takes.
func timed(fn func() error) (time.Duration, error) {
	began := time.Now()
	err := fn()
	return time.Since(began), err
}

// judge compares the median of what was measured with what it may be.
func (w *wide) judge(what string, took []time.Duration, most time.Duration) {
	w.t.Helper()
	if !w.full {
		most *= 100
	}
	slices.Sort(took)
	median := took[len(took)/2]
	w.t.Logf("%s: median %v, longest %v, of %d", what, median.Round(10*time.Microsecond), took[len(took)-1].Round(10*time.Microsecond), len(took))
	if median > most {
		w.t.Errorf("%s: the median is %v, more than %v", what, median, most)
	}
}

// snapshots writes so many regions, then changes a page in some of them between any two of a row of snapshots, and asks for
// the differences.
func (w *wide) snapshots(regions, changed int) {
	path := w.container + "/disk.vhd"
	began := time.Now()
	data := make([]byte, widePut)
	dice := rand.NewChaCha8([32]byte{1})
	dice.Read(data)
	w.must(w.conn.createPageBlob(path, wideBlob))
	w.each(regions*wideRegion/widePut, func(c *conn, i int) error { return c.putPage(path, int64(i)*wideStride, data) })
	w.t.Logf("%d regions are written after %v", regions, time.Since(began).Round(time.Second))

	var making, differing []time.Duration
	into := make([]byte, 1<<20)
	last := ""
	for range 9 {
		want := w.change(path, data, rand.New(dice), regions, changed)
		next := ""
		took, err := timed(func() (err error) {
			next, err = w.conn.snapshot(path)
			return err
		})
		w.must(err)
		making = append(making, took)
		if last != "" {
			var body []byte
			took, err := timed(func() (err error) {
				body, err = w.conn.rangesDiff(path, last, next, into)
				return err
			})
			w.must(err)
			differing = append(differing, took)
			got, err := parseRanges(body)
			w.must(err)
			if !slices.Equal(got, want) {
				w.t.Errorf("the difference has %d ranges, not the %d that were written", len(got), len(want))
			}
		}
		last = next
	}
	w.judge(fmt.Sprintf("Snapshot Blob, %d regions", regions), making, 5*time.Millisecond)
	w.judge(fmt.Sprintf("Get Page Ranges Diff, %d of them changed", changed), differing, 20*time.Millisecond)
}

// change writes a page in so many of the regions, and returns where.
func (w *wide) change(path string, data []byte, dice *rand.Rand, regions, changed int) []span {
	var spans []span
	for _, r := range dice.Perm(regions)[:changed] {
		off := int64(r/64)*wideStride + int64(r%64)*wideRegion + int64(dice.IntN(wideRegion/512))*512
		spans = append(spans, span{off, off + 512})
	}
	w.each(changed, func(c *conn, i int) error { return c.putPage(path, spans[i].start, data[512*(i%64):][:512]) })
	return joinSpans(spans)
}

// lists makes so many blobs and lists them all.
func (w *wide) lists(blobs int) {
	began := time.Now()
	w.each(blobs, func(c *conn, i int) error {
		return c.createPageBlob(fmt.Sprintf("%s/many/%03d/%06d.vhd", w.container, i%997, i), 1<<20)
	})
	w.t.Logf("%d blobs are made after %v", blobs, time.Since(began).Round(time.Second))
	var took []time.Duration
	total, marker, into := 0, "", make([]byte, 16<<20)
	for first := true; first || marker != ""; first = false {
		var l listing
		d, err := timed(func() (err error) {
			l, err = w.conn.listBlobs(w.container, "many/", "", marker, widePage, into)
			return err
		})
		w.must(err)
		took = append(took, d)
		n, _ := l.count()
		total, marker = total+n, l.marker
	}
	if total != blobs {
		w.t.Errorf("%d blobs were listed of %d", total, blobs)
	}
	w.judge(fmt.Sprintf("List Blobs, %d of %d", widePage, blobs), took, 50*time.Millisecond)
}
