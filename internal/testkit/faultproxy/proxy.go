package faultproxy

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// Options say where a proxy passes requests on to, and which it hurts.
type Options struct {
	Target   string // host:port of the server
	Seed     uint64
	Choose   func(*rand.Rand, Request) Fault // called by several goroutines, each with dice of the request. nil: nothing is hurt
	DelayMax time.Duration                   // 0: 20 ms, which is long beside a request on loopback
}

// Proxy listens on loopback. One goroutine for each connection passes its requests on, on a connection of its own to the
// server; all have ended when the test has.
type Proxy struct {
	o    Options
	ln   net.Listener
	done chan struct{}
	all  sync.WaitGroup

	mu     sync.Mutex
	closed bool
	conns  map[net.Conn]struct{}
	seen   map[Request]int // how often each has come, by requests without Attempt
	counts map[Fault]int
}

// Start starts a proxy that ends with the test.
func Start(t testing.TB, o Options) *Proxy {
	t.Helper()
	if o.DelayMax == 0 {
		o.DelayMax = 20 * time.Millisecond
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{o: o, ln: ln, done: make(chan struct{}), conns: make(map[net.Conn]struct{}), seen: make(map[Request]int), counts: make(map[Fault]int)}
	p.all.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

// Addr returns the host and port to send requests to.
func (p *Proxy) Addr() string { return p.ln.Addr().String() }

// Counts returns how often each fault has been chosen.
func (p *Proxy) Counts() map[Fault]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	counts := make(map[Fault]int, len(p.counts))
	for f, n := range p.counts {
		counts[f] = n
	}
	return counts
}

func (p *Proxy) close() {
	p.ln.Close()
	close(p.done)
	p.mu.Lock()
	p.closed = true
	for c := range p.conns {
		c.Close()
	}
	p.mu.Unlock()
	p.all.Wait()
}

func (p *Proxy) accept() {
	for {
		c, err := p.ln.Accept()
		if err != nil {
			return
		}
		if p.keep(c) {
			p.all.Go(func() { p.serve(c) })
		}
	}
}

// keep notes a connection, to be closed when the proxy is, or closes it at once.
func (p *Proxy) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		c.Close()
		return false
	}
	p.conns[c] = struct{}{}
	return true
}

func (p *Proxy) drop(c net.Conn) {
	c.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

// choose counts the request and returns what happens to it, and dice for where.
func (p *Proxy) choose(m *message) (Request, Fault, *rand.Rand) {
	method, rest, _ := strings.Cut(m.first, " ")
	target, _, _ := strings.Cut(rest, " ")
	r := Request{Method: method, Target: target, Range: m.header.Get("X-Ms-Range")}
	if r.Range == "" {
		r.Range = m.header.Get("Range")
	}
	p.mu.Lock()
	p.seen[r]++
	n := p.seen[r]
	p.mu.Unlock()
	r.Attempt = n
	dice, fault := r.dice(p.o.Seed), None
	if p.o.Choose != nil {
		fault = p.o.Choose(dice, r)
	}
	p.mu.Lock()
	p.counts[fault]++
	p.mu.Unlock()
	return r, fault, dice
}

// exchange is one connection of a client and the one to the server that belongs to it.
type exchange struct {
	p                      *Proxy
	client, server         net.Conn
	fromClient, fromServer *bufio.Reader
	method                 string
	request                *message
	dice                   *rand.Rand
}

// errHurt ends a connection on purpose.
var errHurt = errors.New("hurt")

// serve passes on what comes on a connection, until either side ends it or a fault does.
func (p *Proxy) serve(client net.Conn) {
	defer p.drop(client)
	server, err := net.Dial("tcp", p.o.Target)
	if err != nil || !p.keep(server) {
		reset(client)
		return
	}
	defer p.drop(server)
	x := &exchange{p: p, client: client, server: server, fromClient: bufio.NewReader(client), fromServer: bufio.NewReader(server)}
	for {
		if err := x.next(); err != nil {
			return
		}
	}
}

// next passes on one request and its reply. An error ends the connections.
func (x *exchange) next() error {
	m, err := readHead(x.fromClient)
	if err != nil {
		return err
	}
	r, fault, dice := x.p.choose(m)
	x.request, x.method, x.dice = m, r.Method, dice
	if fault == ResetBefore {
		return x.resetBoth()
	}
	if strings.EqualFold(m.header.Get("Expect"), "100-continue") {
		if _, err := io.WriteString(x.client, "HTTP/1.1 100 Continue\r\n\r\n"); err != nil {
			return err
		}
	}
	switch fault {
	case CutRequest:
		return x.cutRequest()
	case Busy:
		return x.busy()
	case Delay:
		wait := time.NewTimer(time.Duration(dice.Int64N(int64(x.p.o.DelayMax))))
		defer wait.Stop()
		select {
		case <-wait.C:
		case <-x.p.done:
			return errHurt
		}
	}
	if err := x.forward(); err != nil {
		return err
	}
	reply, err := readReplyHead(x.fromServer, x.method)
	if err != nil {
		return err
	}
	switch fault {
	case ResetAfter:
		return x.resetAfter(reply)
	case CutReply:
		return x.cutReply(reply)
	}
	if _, err := x.client.Write(reply.head); err != nil {
		return err
	}
	if err := reply.copyBody(x.client, x.fromServer); err != nil {
		return err
	}
	if !m.lasts() || !reply.lasts() {
		return io.EOF
	}
	return nil
}

func (x *exchange) forward() error {
	if _, err := x.server.Write(x.request.head); err != nil {
		return err
	}
	return x.request.copyBody(x.server, x.fromClient)
}

func (x *exchange) resetBoth() error {
	reset(x.client)
	reset(x.server)
	return errHurt
}

// cutRequest passes on a part of the body, or of the head of a request that has none.
func (x *exchange) cutRequest() error {
	head := x.request.head
	if x.request.size <= 0 {
		head = head[:x.dice.IntN(len(head))]
	}
	if _, err := x.server.Write(head); err != nil {
		return err
	}
	if n := x.request.size; n > 0 {
		if _, err := io.CopyN(x.server, x.fromClient, x.dice.Int64N(n)); err != nil {
			return err
		}
	}
	return x.resetBoth()
}

// busy takes the request and answers it. The connection goes on.
func (x *exchange) busy() error {
	if err := x.request.copyBody(io.Discard, x.fromClient); err != nil {
		return err
	}
	body := `<?xml version="1.0" encoding="utf-8"?><Error><Code>ServerBusy</Code><Message>The proxy is busy.</Message></Error>`
	head := fmt.Sprintf("HTTP/1.1 503 Server Busy\r\nContent-Type: application/xml\r\nx-ms-error-code: ServerBusy\r\nContent-Length: %d\r\n\r\n", len(body))
	if x.method == "HEAD" {
		body = ""
	}
	_, err := io.WriteString(x.client, head+body)
	return err
}

// resetAfter takes the whole reply, so that the server is done with the request, and lets the client know nothing of it.
func (x *exchange) resetAfter(reply *message) error {
	if err := reply.copyBody(io.Discard, x.fromServer); err != nil {
		return err
	}
	return x.resetBoth()
}

// cutReply passes on a part of the reply's body, or of its head where it has none, and ends the connection, in order or not.
func (x *exchange) cutReply(reply *message) error {
	var body bytes.Buffer
	if err := reply.copyBody(&body, x.fromServer); err != nil {
		return err
	}
	part := reply.head[:x.dice.IntN(len(reply.head))]
	if n := body.Len(); n > 0 {
		part = append(reply.head, body.Bytes()[:x.dice.IntN(n)]...)
	}
	if _, err := x.client.Write(part); err != nil {
		return err
	}
	if x.dice.IntN(2) == 0 {
		return x.resetBoth()
	}
	return errHurt
}

// reset closes a connection so that the other side is told that it was not meant to end.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	c.Close()
}
