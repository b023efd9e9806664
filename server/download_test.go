package server

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"pagevault/blobstore"
	"pagevault/internal/azure/header"
	"pagevault/pagestore"
	"pagevault/replication"
)

var errDisk = errors.New("the disk is gone, by test")

// flakyService returns a service whose log cannot be read while bad is set. What else is on the disk can be: a member that
// cannot say who it is takes no more writes, which is another test.
func flakyService(t *testing.T, bad *atomic.Bool) *blobstore.Service {
	t.Helper()
	inject := errorfs.InjectorFunc(func(op errorfs.Op) error {
		reads := op.Kind == errorfs.OpFileRead || op.Kind == errorfs.OpFileReadAt
		if ext := path.Ext(op.Path); bad.Load() && reads && (ext == ".seg" || ext == ".open") {
			return errDisk
		}
		return nil
	})
	fs := errorfs.Wrap(vfs.NewMem(), inject)
	service, err := blobstore.Open(blobstore.Options{
		Accounts: []blobstore.AccountOptions{{Name: testAccount, Keys: [][]byte{mustKey(t)}}},
		Store: func(string) (pagestore.Options, error) {
			return pagestore.Options{FS: vfs.NewMem(), Dir: "index", Members: []replication.Member{{FS: fs, Dir: "replica-1"}}}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		bad.Store(false)
		if err := service.Close(); err != nil {
			t.Errorf("closing the service: %v", err)
		}
	})
	return service
}

// narrow returns a connection that holds little, so that a server which sends 20 MiB has to wait for its client. Its own
// buffer grows to a few MiB.
func (ts *testServer) narrow(t *testing.T) *wire {
	t.Helper()
	w := ts.dial(t)
	if err := w.Conn.(*net.TCPConn).SetReadBuffer(64 << 10); err != nil {
		t.Fatal(err)
	}
	return w
}

// TestDownloadBreaksOff lets the disk fail while a long download is under way: the connection ends short of
// Content-Length, so that the client cannot take what it has for the whole. It ends by a reset if the request behind lies
// unread in the server's socket.
func TestDownloadBreaksOff(t *testing.T) {
	var bad atomic.Bool
	ts := start(t, func(o *Options) { o.Service = flakyService(t, &bad) })
	const size = 20 << 20
	ts.makeBlob(t, size)
	ts.write(t, fill(size))

	w := ts.narrow(t)
	next := call{method: "HEAD", path: "disks/b"}
	w.send((call{method: "GET", path: "disks/b"}).bytes(t), next.bytes(t))
	resp, err := http.ReadResponse(w.in, nil)
	if err != nil || resp.StatusCode != 200 || resp.ContentLength != size {
		t.Fatalf("got %v, %v", resp, err)
	}
	if _, err := io.ReadFull(resp.Body, make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	bad.Store(true)
	rest, err := io.ReadAll(resp.Body)
	if !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("after %d bytes: error %v, want ErrUnexpectedEOF or ECONNRESET", len(rest), err)
	}
	if !bytes.HasPrefix(fill(size)[1<<20:], rest) {
		t.Errorf("the %d bytes that came are not what the blob holds there", len(rest))
	}
	eventually(t, "the log to tell of it", func() bool { return strings.Contains(ts.log.String(), "a download broke off") })
	if _, body := ts.admin(t, "/metrics"); !strings.Contains(body, "pagevault_downloads_broken_total 1\n") {
		t.Error("it is not counted")
	}

	// What can still be told is told.
	a := ts.do(t, call{method: "GET", path: "disks/b", header: []string{"Range: bytes=0-511"}})
	a.want(t, 500, "InternalError")
	if strings.Contains(string(a.body), "by test") {
		t.Errorf("the reply tells of our disks:\n%s", a.body)
	}
	bad.Store(false)
	ts.do(t, call{method: "GET", path: "disks/b", header: []string{"Range: bytes=0-511"}}).want(t, 206, "")
}

// TestDownloadPieces cuts ranges into pieces: all but the last end at multiples of downloadAlign.
func TestDownloadPieces(t *testing.T) {
	const a = downloadAlign
	f := func(start, length, most int64, want ...int64) {
		t.Helper()
		var got []int64
		for rest := (header.Range{Start: start, End: start + length}); rest.Len() > 0; {
			n := pieceOf(rest, most)
			if n <= 0 || len(got) > len(want) {
				t.Fatalf("[%d,%d) by %d: got %d and then %d", start, start+length, most, got, n)
			}
			got = append(got, n)
			rest.Start += n
		}
		if !slices.Equal(got, want) {
			t.Errorf("[%d,%d) by %d: got %d, want %d", start, start+length, most, got, want)
		}
	}
	f(0, 1, 4*a, 1)
	f(7, 4*a, 4*a, 4*a) // all at once, wherever it ends
	f(0, 8*a, 4*a, 4*a, 4*a)
	f(0, 8*a+5, 4*a, 4*a, 4*a, 5)
	f(1, 8*a, 4*a, 4*a-1, 4*a, 1)
	f(a-1, 8*a, 4*a, 3*a+1, 4*a, a-1)
	f(a-1, 4*a, 2*a, a+1, 2*a, a-1)
}

// TestDownloadTellsEarlyErrors lets the disk fail under a range of several pieces before the first of them is read: the
// reply is an error and not a body that breaks off.
func TestDownloadTellsEarlyErrors(t *testing.T) {
	var bad atomic.Bool
	ts := start(t, func(o *Options) { o.Service = flakyService(t, &bad) })
	ts.makeBlob(t, 4<<20)
	ts.write(t, fill(4<<20))
	bad.Store(true)
	ts.do(t, call{method: "GET", path: "disks/b"}).want(t, 500, "InternalError")
	bad.Store(false)
	a := ts.do(t, call{method: "GET", path: "disks/b"})
	if a.want(t, 200, ""); !bytes.Equal(a.body, fill(4<<20)) {
		t.Error("wrong bytes")
	}
}

// TestDownloadAbandoned lets clients go away in the middle of downloads: no memory stays taken, and nothing open, which
// closing the service at the end of the test checks.
func TestDownloadAbandoned(t *testing.T) {
	ts := start(t, nil)
	const size = 20 << 20
	ts.makeBlob(t, size)
	ts.write(t, fill(size))
	for range 8 {
		w := ts.dial(t)
		w.send((call{method: "GET", path: "disks/b"}).bytes(t))
		if _, err := io.ReadFull(w.in, make([]byte, 100<<10)); err != nil {
			t.Fatal(err)
		}
		w.Close()
	}
	eventually(t, "the connections to end", func() bool { return ts.serving.Load() == 0 })
	if !ts.replies.Try(ts.o.ReplyBytes) {
		t.Error("downloads that have ended hold memory")
	}
}

// TestDownloadIsOneState reads a blob while it is written over: all bytes are of the state at the beginning.
func TestDownloadIsOneState(t *testing.T) {
	ts := start(t, nil)
	const size = 20 << 20
	ts.makeBlob(t, size)
	ts.write(t, fill(size))
	w := ts.narrow(t)
	w.send((call{method: "GET", path: "disks/b"}).bytes(t))
	resp, err := http.ReadResponse(w.in, nil)
	if err != nil {
		t.Fatal(err)
	}
	first := make([]byte, 1<<20)
	if _, err := io.ReadFull(resp.Body, first); err != nil {
		t.Fatal(err)
	}
	ts.do(t, putPage(size-4<<20, pages(4<<20, 'x'))).want(t, 201, "")
	rest, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if got := append(first, rest...); !bytes.Equal(got, fill(size)) {
		t.Error("the download mixes two states of the blob")
	}
}

// TestDownloadsShareMemory has clients that do not read hold all the memory there is for replies: a further one is served
// in small pieces, and one that needs more at a time, for its checksum, waits.
func TestDownloadsShareMemory(t *testing.T) {
	ts := start(t, func(o *Options) { o.ReplyBytes = 4<<20 + downloadTight })
	const size = 20 << 20
	ts.makeBlob(t, size)
	ts.write(t, fill(size))
	if !ts.replies.Try(4 << 20) {
		t.Fatal("the memory is not there")
	}
	a := ts.do(t, call{method: "GET", path: "disks/b"})
	if a.want(t, 200, ""); !bytes.Equal(a.body, fill(size)) {
		t.Error("wrong bytes")
	}
	a = ts.do(t, call{method: "GET", path: "disks/b", header: []string{"Range: bytes=1-4000000"}})
	if a.want(t, 206, ""); !bytes.Equal(a.body, fill(size)[1:4000001]) {
		t.Error("wrong bytes")
	}
	w := ts.dial(t)
	w.send((call{method: "GET", path: "disks/b", header: []string{"Range: bytes=0-999999", "x-ms-range-get-content-md5: true"}}).bytes(t))
	eventually(t, "a download that waits", func() bool {
		ts.replies.mu.Lock()
		defer ts.replies.mu.Unlock()
		return len(ts.replies.mu.waiting) == 1
	})
	ts.replies.Release(4 << 20)
	w.recv("GET").want(t, 206, "")
}
