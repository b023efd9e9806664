package server

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"testing"

	"pagevault/internal/azure/op"
)

// gate is a handler that waits.
type gate struct {
	arrived chan struct{}
	open    chan struct{}
}

// gated puts a gate before the handler of an operation of a server that does not serve yet.
func (ts *testServer) gated(id op.ID) *gate {
	g := &gate{arrived: make(chan struct{}, 16), open: make(chan struct{})}
	table := *ts.handlers
	behind := table[id].serve
	table[id].serve = func(r *request) error {
		g.arrived <- struct{}{}
		<-g.open
		return behind(r)
	}
	ts.handlers = &table
	return g
}

// TestShutdown stops a server that is busy: what has arrived is finished, what comes later is turned away.
func TestShutdown(t *testing.T) {
	ts := newServer(t, nil)
	g := ts.gated(op.PutPage)
	ts.serve(t)
	ts.makeBlob(t, 4096)

	busy, idle, silent := ts.dial(t), ts.dial(t), ts.dial(t)
	idle.send((call{method: "HEAD", path: "disks/b"}).bytes(t))
	idle.recv("HEAD").want(t, 200, "")
	c := putPage(0, pages(512, 'x'))
	busy.send(c.bytes(t), c.body)
	<-g.arrived
	eventually(t, "the silent connection to be accepted", func() bool { return ts.mu.listeners[0].open() >= 3 })

	done := make(chan error, 1)
	go func() { done <- ts.Shutdown(context.Background()) }()
	idle.closed()
	silent.closed()
	eventually(t, "the port to be closed", func() bool {
		c, err := net.Dial("tcp", ts.addr)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	select {
	case err := <-done:
		t.Fatalf("Shutdown returned %v with a request in flight", err)
	default:
	}
	close(g.open)
	a := busy.recv("PUT")
	a.want(t, 201, "")
	if !a.Close {
		t.Errorf("the last reply does not say that it is:\n%s", a.raw)
	}
	busy.closed()
	if err := <-done; err != nil {
		t.Fatalf("Shutdown: %v", err)
	}
	if err := ts.Shutdown(context.Background()); err != nil {
		t.Errorf("second Shutdown: %v", err)
	}
}

// TestShutdownGivesUp stops a server with a request that takes too long: its connection is cut, and Shutdown returns
// when the handler has, so that the service can be closed.
func TestShutdownGivesUp(t *testing.T) {
	ts := newServer(t, nil)
	g := ts.gated(op.PutPage)
	ts.serve(t)
	ts.makeBlob(t, 4096)
	w := ts.dial(t)
	c := putPage(0, pages(512, 'x'))
	w.send(c.bytes(t), c.body)
	<-g.arrived
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	done := make(chan error, 1)
	go func() { done <- ts.Shutdown(ctx) }()
	w.closed()
	select {
	case err := <-done:
		t.Fatalf("Shutdown returned %v while a handler was running", err)
	default:
	}
	close(g.open)
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown: %v, want Canceled", err)
	}
}

// TestServeAfterShutdown closes the listener it is given.
func TestServeAfterShutdown(t *testing.T) {
	ts := start(t, nil)
	if err := ts.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := ts.Serve(ln); err != nil {
		t.Fatal(err)
	}
	if _, err := ln.Accept(); err == nil {
		t.Error("the listener is still open")
	}
}

// TestPanic shows that a panic costs its own request and connection and nothing else.
func TestPanic(t *testing.T) {
	ts := newServer(t, nil)
	table := *ts.handlers
	table[op.SnapshotBlob].serve = func(r *request) error {
		r.begin(201)
		r.setString("x-ms-snapshot", "half a reply")
		panic("by test")
	}
	ts.handlers = &table
	ts.serve(t)
	ts.makeBlob(t, 4096)
	w := ts.dial(t)
	c := call{method: "PUT", path: "disks/b?comp=snapshot", body: pages(100, 'x')}
	next := putPage(0, pages(512, 'x'))
	w.send(c.bytes(t), c.body, next.bytes(t), next.body)
	a := w.recv("PUT")
	a.want(t, 500, "InternalError")
	if a.Header.Get("x-ms-snapshot") != "" || !a.Close || !strings.Contains(a.raw, "\r\nx-ms-request-id:") {
		t.Errorf("want nothing of the half-made reply, names in lower case, and the end of the connection:\n%s", a.raw)
	}
	if id := a.Header.Get("x-ms-request-id"); !strings.Contains(ts.log.String(), id) || !strings.Contains(ts.log.String(), "by test") {
		t.Error("the log does not tell of it")
	}
	w.closed()
	if !bytes.Equal(ts.content(t), make([]byte, 4096)) {
		t.Error("the request behind it was carried out")
	}
}

// TestPanicInExpect is the same before 100 Continue.
func TestPanicInExpect(t *testing.T) {
	ts := newServer(t, nil)
	ts.addressing.known = func([]byte) bool { panic("by test") }
	ts.serve(t)
	w := ts.dial(t)
	c := putPage(0, pages(512, 'x'), expect)
	w.send(replace(t, c, "Host: 127.0.0.1", "Host: a.blob.localhost"))
	w.recv("PUT").want(t, 500, "InternalError")
	w.closed()
}
