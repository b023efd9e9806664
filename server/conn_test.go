package server

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// tiredListener fails a number of times before it hands out a connection.
type tiredListener struct {
	net.Listener
	fails int
	err   error
	conn  net.Conn
}

func (l *tiredListener) Accept() (net.Conn, error) {
	if l.fails > 0 {
		l.fails--
		return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", l.err)}
	}
	return l.conn, nil
}

// TestAcceptWaitsForDescriptors shows that a process without file descriptors goes on accepting when it has some again.
func TestAcceptWaitsForDescriptors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		l := newListener(&tiredListener{fails: 10, err: syscall.EMFILE, conn: ours}, 1, 1, nil)
		before := time.Now()
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		// 5, 10, 20 … 640 ms and then a second each.
		if waited := time.Since(before); waited < 2*time.Second || waited > 5*time.Second {
			t.Errorf("waited %v for ten failures", waited)
		}
		if l.open() != 1 {
			t.Errorf("%d connections are open", l.open())
		}
	})
}

func TestAcceptEnds(t *testing.T) {
	l := newListener(&tiredListener{fails: 1, err: syscall.EBADF}, 1, 1, nil)
	if _, err := l.Accept(); !errors.Is(err, syscall.EBADF) {
		t.Errorf("got %v, want EBADF", err)
	}
	l = newListener(&tiredListener{fails: 1, err: syscall.EMFILE}, 1, 1, nil)
	l.stop()
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after stop: got %v, want ErrClosed", err)
	}
	ours, theirs := net.Pipe()
	l = newListener(nil, 1, 1, nil)
	l.stop()
	if c := l.admit(ours); c != nil {
		t.Error("admitted after stop")
	}
	if _, err := theirs.Read(make([]byte, 1)); err == nil {
		t.Error("the connection is open")
	}
}

func TestOptions(t *testing.T) {
	f := func(change func(o *Options)) {
		t.Helper()
		o := Options{Service: openService(t, nil)}
		change(&o)
		if _, err := New(o); err == nil {
			t.Error("New took it")
		}
	}
	f(func(o *Options) { o.Service = nil })
	f(func(o *Options) { o.UploadBytes = 1 << 20 })
	f(func(o *Options) { o.ReplyBytes = 1 << 20 })
}

// TestWriteIsSeen writes much to a client that reads nothing at first: what the kernel has taken is counted while the rest
// still waits, all of it in the end, and a deadline ends the waiting.
func TestWriteIsSeen(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	nc, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	l := newListener(ln, 1, 1, nil)
	c := newConn(nc, l)

	data := fill(64 << 20) // more than two sockets hold
	type result struct {
		n   int
		err error
	}
	done := make(chan result, 1)
	write := func() {
		n, err := c.Write(data)
		done <- result{n, err}
	}
	go write()
	eventually(t, "the kernel to take some", func() bool { return c.out.Load() > 0 && l.stuck() })
	if len(done) != 0 || c.out.Load() >= uint64(len(data)) {
		t.Fatalf("%d bytes are out, with nobody to read them", c.out.Load())
	}
	got := make([]byte, len(data))
	if _, err := io.ReadFull(client, got); err != nil || !bytes.Equal(got, data) {
		t.Fatalf("wrong bytes, %v", err)
	}
	if r := <-done; r.n != len(data) || r.err != nil || c.out.Load() != uint64(len(data)) || l.out.Load() != uint64(len(data)) {
		t.Fatalf("wrote %d, %v; counted %d and %d", r.n, r.err, c.out.Load(), l.out.Load())
	}

	go write()
	eventually(t, "the client to lag", func() bool { return c.out.Load() > uint64(len(data)) && l.stuck() })
	if err := nc.SetWriteDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	r := <-done
	if !errors.Is(r.err, os.ErrDeadlineExceeded) || r.n <= 0 || c.out.Load() != uint64(len(data)+r.n) {
		t.Errorf("wrote %d, %v; counted %d", r.n, r.err, c.out.Load())
	}
	if err := errors.Join(client.Close(), nc.SetWriteDeadline(time.Time{})); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Write(data); n == len(data) || err == nil {
		t.Errorf("wrote %d to nobody: %v", n, err)
	}
}
