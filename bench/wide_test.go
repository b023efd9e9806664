//go:build !race

package bench

import (
	"encoding/binary"
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
	into      []byte // answers
	full      bool   // at the full size, to which the bounds in milliseconds apply
}

// TestWide measures what must not cost more where there is more: snapshots and differences of a blob of 1 TiB that was written
// in a million regions, and lists of a million blobs, through the protocol, on three members. The sizes are in its
// environment variables; CI runs a hundredth. In every size it does the same, in turns, where there is a sixteenth or a
// twentieth as much, and compares the medians.
func TestWide(t *testing.T) {
	regions := testkit.Scale(t, "PAGEVAULT_WIDE_REGIONS", 10_000) / 64 * 64
	blobs := testkit.Scale(t, "PAGEVAULT_WIDE_BLOBS", 10_000)
	w := &wide{t: t, into: make([]byte, 16<<20), full: regions >= 1_000_000 && blobs >= 1_000_000}
	w.server = testkit.StartServer(t, testkit.ServerOptions{Data: filepath.Join(testkit.BigDir(t, "PAGEVAULT_WIDE_DIR"), "data")})
	var err error
	if w.endpoint, err = parseEndpoint(w.server.URL(), "devstoreaccount1"); err != nil {
		t.Fatal(err)
	}
	w.container = w.endpoint.prefix + "/wide"
	w.conn = w.dial()
	w.must(w.conn.container(http.MethodPut, w.container, http.StatusCreated))
	w.snapshots(regions)
	w.lists(blobs)
	w.blockBlobs(testkit.Scale(t, "PAGEVAULT_WIDE_BLOCK_BLOBS", 10_000))
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

// wideRatio bounds a median as a multiple of that where there is little. What grows with the size is at 16 or 20.
const wideRatio = 4

// judge compares the medians of what was measured where there is much and where there is little, and the first with what it
// may be.
func (w *wide) judge(what string, much, little []time.Duration, most time.Duration) {
	w.t.Helper()
	a, b := medianOf(much), medianOf(little)
	w.t.Logf("%s: median %v, longest %v, of %d; where there is little %v", what, a.Round(10*time.Microsecond), slices.Max(much).Round(10*time.Microsecond),
		len(much), b.Round(10*time.Microsecond))
	if a > wideRatio*b {
		w.t.Errorf("%s: that is more than × %d", what, wideRatio)
	}
	if w.full && a > most {
		w.t.Errorf("%s: the median is %v, more than %v", what, a, most)
	}
}

func medianOf(took []time.Duration) time.Duration {
	slices.Sort(took)
	return took[len(took)/2]
}

// wideDisk is a blob of 1 TiB with its regions, and what its snapshots have taken.
type wideDisk struct {
	path              string
	regions           int
	last              string // snapshot
	making, differing []time.Duration
}

// snapshots writes so many regions, and into another blob a sixteenth of that, then changes a page in some of them between any two
// of a row of snapshots, and asks for the differences.
func (w *wide) snapshots(regions int) {
	data, dice := make([]byte, widePut), rand.NewChaCha8([32]byte{1})
	dice.Read(data)
	much := &wideDisk{path: w.container + "/much.vhd", regions: regions}
	little := &wideDisk{path: w.container + "/little.vhd", regions: regions / 16 / 64 * 64}
	for _, d := range []*wideDisk{much, little} {
		began := time.Now()
		w.must(w.conn.createPageBlob(d.path, wideBlob))
		w.each(d.regions*wideRegion/widePut, func(c *conn, i int) error { return c.putPage(d.path, int64(i)*wideStride, data) })
		w.t.Logf("%d regions are written after %v", d.regions, time.Since(began).Round(time.Second))
	}
	changed := min(1000, little.regions/2)
	for range 9 {
		for _, d := range []*wideDisk{much, little} {
			w.round(d, w.change(d.path, data, rand.New(dice), d.regions, changed))
		}
	}
	w.judge(fmt.Sprintf("Snapshot Blob, %d regions", regions), much.making, little.making, 5*time.Millisecond)
	w.judge(fmt.Sprintf("Get Page Ranges Diff, %d of them changed", changed), much.differing, little.differing, 20*time.Millisecond)
}

// round takes a snapshot, and what changed since the last one, which must be what was written.
func (w *wide) round(d *wideDisk, want []span) {
	w.t.Helper()
	next := ""
	took, err := timed(func() (err error) {
		next, err = w.conn.snapshot(d.path)
		return err
	})
	w.must(err)
	d.making = append(d.making, took)
	last := d.last
	if d.last = next; last == "" {
		return
	}
	var body []byte
	took, err = timed(func() (err error) {
		body, err = w.conn.rangesDiff(d.path, last, next, w.into)
		return err
	})
	w.must(err)
	d.differing = append(d.differing, took)
	got, err := parseRanges(body)
	w.must(err)
	if !slices.Equal(got, want) {
		w.t.Errorf("the difference has %d ranges, not the %d that were written", len(got), len(want))
	}
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

// lists makes so many blobs, and as many in a place of their own as an answer has, and lists them all.
func (w *wide) lists(blobs int) {
	most := min(widePage, blobs/20)
	for _, of := range []struct {
		place string
		blobs int
	}{{"many", blobs}, {"few", most}} {
		began := time.Now()
		w.each(of.blobs, func(c *conn, i int) error {
			return c.createPageBlob(fmt.Sprintf("%s/%s/%03d/%06d.vhd", w.container, of.place, i%997, i), 1<<20)
		})
		w.t.Logf("%d blobs are made after %v", of.blobs, time.Since(began).Round(time.Second))
	}
	w.conn = w.dial() // the other one may have been idle for longer than a server waits
	var many, few []time.Duration
	total, marker := 0, ""
	for first := true; first || marker != ""; first = false {
		took, l := w.list("many/", marker, most)
		n, _ := l.count()
		many, total, marker = append(many, took), total+n, l.marker
		took, l = w.list("few/", "", most)
		if n, _ := l.count(); n != most {
			w.t.Fatalf("%d blobs were listed of %d", n, most)
		}
		few = append(few, took)
	}
	if total != blobs {
		w.t.Errorf("%d blobs were listed of %d", total, blobs)
	}
	w.judge(fmt.Sprintf("List Blobs, %d of %d", most, blobs), many, few, 50*time.Millisecond)
}

func (w *wide) list(prefix, marker string, most int) (took time.Duration, l listing) {
	w.t.Helper()
	took, err := timed(func() (err error) {
		l, err = w.conn.listBlobs(w.container, prefix, "", marker, most, w.into)
		return err
	})
	w.must(err)
	return took, l
}

// blockBlobs makes so many block blobs of 1 KiB in a container of their own, and a twentieth of that in another, lists them by
// name, by prefix and by delimiter, and deletes the container, which must be answered at once however much is in it.
func (w *wide) blockBlobs(blobs int) {
	most := min(widePage, blobs/20)
	many, few := w.endpoint.prefix+"/wideblocks", w.endpoint.prefix+"/narrowblocks"
	for _, of := range []struct {
		container string
		blobs     int
	}{{many, blobs}, {few, most}} {
		w.conn = w.dial()
		w.must(w.conn.container(http.MethodPut, of.container, http.StatusCreated))
		began := time.Now()
		w.each(of.blobs, func(c *conn, i int) error {
			p := make([]byte, tinyBytes)
			binary.BigEndian.PutUint64(p, uint64(i))
			return c.putBlob(fmt.Sprintf("%s/%03d/%06d", of.container, i%wideFolders, i), valueBlockBlob, p)
		})
		w.t.Logf("%d block blobs are made after %v", of.blobs, time.Since(began).Round(time.Second))
	}
	w.conn = w.dial()
	w.listBlocks(many, few, blobs, most)
	w.deleteBlocks(many, few, blobs)
}

// wideFolders is how many folders the block blobs lie in.
const wideFolders = 10

// listBlocks lists what is in the containers in all three ways, in turns.
func (w *wide) listBlocks(many, few string, blobs, most int) {
	list := func(container, prefix, delimiter, marker string) (took time.Duration, l listing) {
		took, err := timed(func() (err error) {
			l, err = w.conn.listBlobs(container, prefix, delimiter, marker, most, w.into)
			return err
		})
		w.must(err)
		return took, l
	}
	for _, prefix := range []string{"", "007/"} {
		want, marker, total := blobs, "", 0
		if prefix != "" {
			want = blobs / wideFolders
		}
		var much, little []time.Duration
		for first := true; first || marker != ""; first = false {
			took, l := list(many, prefix, "", marker)
			n, _ := l.count()
			much, total, marker = append(much, took), total+n, l.marker
			took, _ = list(few, "", "", "") // as many in an answer, but for the last
			little = append(little, took)
		}
		if total != want {
			w.t.Errorf("%d block blobs were listed below %q of %d", total, prefix, want)
		}
		w.judge(fmt.Sprintf("List Blobs, %d of %d block blobs, prefix %q", most, blobs, prefix), much, little, 50*time.Millisecond)
	}
	var much, little []time.Duration
	for range 9 {
		for _, of := range []struct {
			container string
			took      *[]time.Duration
		}{{many, &much}, {few, &little}} {
			took, l := list(of.container, "", "/", "")
			if n, folders := l.count(); n != 0 || folders != wideFolders {
				w.t.Errorf("%d blobs and %d folders were listed, not 0 and %d", n, folders, wideFolders)
			}
			*of.took = append(*of.took, took)
		}
	}
	w.judge(fmt.Sprintf("List Blobs by delimiter, %d folders of %d block blobs", wideFolders, blobs), much, little, 50*time.Millisecond)
}

// deleteBlocks deletes the containers, the large one first, and while what was in it is removed makes and reads a blob in
// another.
func (w *wide) deleteBlocks(many, few string, blobs int) {
	remove := func(container string) time.Duration {
		took, err := timed(func() error { return w.conn.container(http.MethodDelete, container, http.StatusAccepted) })
		w.must(err)
		return took
	}
	much := remove(many)
	p := make([]byte, tinyBytes)
	took, err := timed(func() error {
		path := w.container + "/after"
		return errors.Join(w.conn.putBlob(path, valueBlockBlob, p), w.conn.getBlob(path, p))
	})
	w.must(err)
	var status *StatusError
	if _, err := w.conn.listBlobs(many, "", "", "", 1, w.into); !errors.As(err, &status) || status.Status != http.StatusNotFound {
		w.t.Errorf("a list of the container that was deleted: %v, want 404", err)
	}
	w.t.Logf("Delete Container, %d block blobs: %v, and of few %v; Put Blob and Get Blob right after it %v", blobs, much, remove(few), took)
	if much > time.Second {
		w.t.Errorf("Delete Container took %v, more than a second", much)
	}
}
