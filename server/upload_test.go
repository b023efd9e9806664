package server

import (
	"bytes"
	"crypto/md5"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"pagevault/blobstore"
	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/header"
	"pagevault/internal/azure/op"
)

// putBlock returns the call that stages a block.
func putBlock(p []byte, more ...string) call {
	return call{method: "PUT", path: "disks/staged?comp=block&blockid=AAAA", body: p, header: more}
}

// startUploading starts a server with memory for one piece, whose Put Block gives each piece to see in place of storing it. The request
// fails with the error of see. wait is how long requests wait for memory.
func startUploading(t *testing.T, wait time.Duration, see func(n int, piece []byte) error) *testServer {
	t.Helper()
	ts := newUploading(t, wait, see)
	ts.serve(t)
	ts.makeBlob(t, 8<<20)
	return ts
}

// newUploading is startUploading without the start.
func newUploading(t *testing.T, wait time.Duration, see func(n int, piece []byte) error) *testServer {
	t.Helper()
	ts := newServer(t, func(o *Options) { o.UploadBytes = blobstore.UploadPiece })
	ts.patience = wait
	table := *ts.handlers
	table[op.PutBlock].serve = func(r *request) error {
		u, err := r.uploadData()
		if err != nil {
			return err
		}
		defer u.finish()
		up := u.store()
		for n, left := 0, up.Size; left > 0; n++ {
			piece, err := up.Next()
			if err == nil {
				err = see(n, piece)
			}
			if err != nil {
				return err
			}
			left -= int64(len(piece))
		}
		if err := up.End(); err != nil {
			return err
		}
		r.begin(201)
		u.reply(false)
		return nil
	}
	ts.handlers = &table
	return ts
}

// back waits for the memory of bodies to be free again.
func (ts *testServer) back(t *testing.T) {
	t.Helper()
	eventually(t, "the memory for uploads to come back", func() bool {
		ok := ts.uploads.Try(ts.o.UploadBytes)
		if ok {
			ts.uploads.Release(ts.o.UploadBytes)
		}
		return ok
	})
}

// TestUploadPieces: a long body comes in pieces that have room up to the end of their last page, in memory for one of them, and its
// checksums are those of all.
func TestUploadPieces(t *testing.T) {
	var lengths []int
	var got []byte
	ts := startUploading(t, uploadPatience, func(_ int, piece []byte) error {
		if cap(piece)%blobstore.PageSize != 0 {
			t.Errorf("a piece of %d bytes has room for %d", len(piece), cap(piece))
		}
		lengths, got = append(lengths, len(piece)), append(got, piece...)
		clear(piece[len(piece) : (len(piece)+blobstore.PageSize-1)/blobstore.PageSize*blobstore.PageSize])
		return nil
	})
	const piece = blobstore.UploadPiece
	for _, c := range []struct {
		size int
		want string
	}{{1, "[1]"}, {700, "[700]"}, {openingBytes, "[131072]"}, {openingBytes + 1, "[131073]"}, {piece - 1, "[4194303]"}, {piece, "[4194304]"}, {piece + 1, "[4194304 1]"},
		{2*piece + openingBytes + 5, "[4194304 4194304 131077]"}} {
		lengths, got = nil, nil
		body := fill(c.size)
		a := ts.do(t, putBlock(body, "Content-MD5: "+string(header.AppendMD5(nil, md5.Sum(body)))))
		a.want(t, 201, "")
		if fmt.Sprint(lengths) != c.want || !bytes.Equal(got, body) {
			t.Errorf("%d bytes came as %v, equal %v", c.size, lengths, bytes.Equal(got, body))
		}
		if sum := a.Header.Get("x-ms-content-crc64"); sum != string(header.AppendCRC64(nil, header.CRC64(body))) {
			t.Errorf("%d bytes: CRC-64 %s", c.size, sum)
		}
		ts.back(t)
	}
	bad := fill(2*piece + 5)
	ts.do(t, putBlock(bad, "Content-MD5: "+string(header.AppendMD5(nil, md5.Sum(bad[1:]))))).want(t, 400, "Md5Mismatch")
	ts.back(t)
}

// TestUploadGivesWay: between two pieces another body has its turn, and a client that stops sending holds up nobody.
func TestUploadGivesWay(t *testing.T) {
	came := make(chan int, 2)
	ts := startUploading(t, uploadPatience, func(n int, _ []byte) error { came <- n; return nil })
	body := fill(2 * blobstore.UploadPiece)
	w := ts.dial(t)
	block := putBlock(body)
	w.send(block.bytes(t), body[:blobstore.UploadPiece])
	<-came
	ts.do(t, putPage(0, pages(4<<20, 'x'))).want(t, 201, "")
	w.send(body[blobstore.UploadPiece:])
	w.recv("PUT").want(t, 201, "")
}

// TestUploadFails: the store's refusal reaches a client that is sending, at once, and the connection ends.
func TestUploadFails(t *testing.T) {
	ts := startUploading(t, uploadPatience, func(int, []byte) error { return azerr.InvalidBlobType })
	body := fill(3 * blobstore.UploadPiece)
	block := putBlock(body)
	w := ts.dial(t)
	w.send(block.bytes(t), body[:blobstore.UploadPiece])
	a := w.recv("PUT")
	a.want(t, 409, "InvalidBlobType")
	if !a.Close {
		t.Error("the connection goes on")
	}
	ts.back(t)
}

// TestUploadCutOff: what ends in the middle of a later piece is gone, and its memory is free.
func TestUploadCutOff(t *testing.T) {
	ts := start(t, func(o *Options) { o.UploadBytes = blobstore.UploadPiece })
	ts.makeBlob(t, 4096)
	body := fill(2*blobstore.UploadPiece + 100)
	for _, c := range []call{putBlock(body), {method: "PUT", path: "disks/staged", body: body, header: []string{"x-ms-blob-type: BlockBlob"}}} {
		for _, n := range []int{blobstore.UploadPiece - 1, blobstore.UploadPiece, blobstore.UploadPiece + openingBytes + 1, len(body) - 1} {
			before := ts.failures()
			w := ts.dial(t)
			w.send(c.bytes(t), body[:n])
			w.endOfInput(true)
			w.recv("PUT").want(t, 400, "InvalidInput")
			ts.awaitFailure(t, before)
			w.Close()
			ts.back(t)
		}
	}
	ts.do(t, call{method: "GET", path: "disks/staged"}).want(t, 404, "BlobNotFound")
	if a := ts.do(t, call{method: "GET", path: "disks?restype=container&comp=list&include=uncommittedblobs"}); strings.Contains(string(a.body), "staged") {
		a = ts.do(t, call{method: "GET", path: "disks/staged?comp=blocklist&blocklisttype=all"})
		if strings.Contains(string(a.body), "<Block>") {
			t.Errorf("a block that did not come is listed:\n%s", a.body)
		}
	}
	ts.do(t, putBlock(body)).want(t, 201, "")
	ts.do(t, call{method: "PUT", path: "disks/staged?comp=blocklist", body: []byte("<BlockList><Latest>AAAA</Latest></BlockList>")}).want(t, 201, "")
	if a := ts.do(t, call{method: "GET", path: "disks/staged"}); !bytes.Equal(a.body, body) {
		t.Errorf("%d bytes are not what was sent", len(a.body))
	}
}

// TestUploadWaits: for a later piece an upload waits longer than for the first, but not for ever.
func TestUploadWaits(t *testing.T) {
	var ts *testServer
	done := make(chan struct{})
	ts = startUploading(t, 20*time.Millisecond, func(n int, _ []byte) error {
		if n == 0 {
			go func() { // it waits first, so it is first when the piece is given back
				defer close(done)
				ts.uploads.Acquire(ts.o.UploadBytes, patience)
			}()
			eventually(t, "somebody to wait", ts.uploads.Scarce)
		}
		return nil
	})
	body := fill(2 * blobstore.UploadPiece)
	w := ts.dial(t)
	block := putBlock(body)
	began := time.Now()
	w.send(block.bytes(t), body)
	a := w.recv("PUT")
	a.want(t, 503, "ServerBusy")
	if waited := time.Since(began); waited < laterPatience*ts.patience || !a.Close {
		t.Errorf("waited %v, closes %v", waited, a.Close)
	}
	<-done
	ts.uploads.Release(ts.o.UploadBytes)
	ts.back(t)
}

// deadlines is a listener that notes for how long its connections may be read from, in minutes, if that is longer than for a stranger or an idle one.
type deadlines struct {
	net.Listener
	mu   sync.Mutex
	long []int
}

type deadlineConn struct {
	net.Conn
	of *deadlines
}

func (d *deadlines) Accept() (net.Conn, error) {
	c, err := d.Listener.Accept()
	return &deadlineConn{c, d}, err
}

func (c *deadlineConn) SetReadDeadline(at time.Time) error {
	if left := time.Until(at); left > 5*time.Minute {
		c.of.mu.Lock()
		c.of.long = append(c.of.long, int(left.Round(time.Minute)/time.Minute))
		c.of.mu.Unlock()
	}
	return c.Conn.SetReadDeadline(at)
}

// TestUploadPatience: each piece has the time that a body of its length has, whatever the others took, and no more.
func TestUploadPatience(t *testing.T) {
	ts := newUploading(t, uploadPatience, func(int, []byte) error { return nil })
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &deadlines{Listener: ln}
	ts.serveOn(t, d)
	body := fill(2*blobstore.UploadPiece + 100)
	c := putBlock(body, expect)
	w := ts.dial(t)
	w.send(c.bytes(t))
	w.recv("PUT").want(t, 100, "")
	w.send(body)
	w.recv("PUT").want(t, 201, "")
	d.mu.Lock()
	defer d.mu.Unlock()
	if got := fmt.Sprint(d.long); got != "[41 41 11]" { // ten minutes for a MiB, and one
		t.Errorf("minutes: %s", got)
	}
}
