package server

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"pagevault/internal/azure/op"
)

// TestEviction shows that a connection which waits for a request makes room for a new one, and that one on which a request
// is carried out does not.
func TestEviction(t *testing.T) {
	ts := newServer(t, func(o *Options) { o.MaxConns, o.MaxConnsPer = 3, 3 })
	g := ts.gated(op.GetBlobProperties)
	ts.serve(t)
	ts.makeBlob(t, 4096)
	ts.wantAlone(t)
	head := call{method: "HEAD", path: "disks/b"}
	list := call{method: "GET", path: "?comp=list"}
	busy := ts.dial(t)
	busy.send(head.bytes(t))
	<-g.arrived
	l := ts.mu.listeners[0]
	evicted := l.evicted.Load()
	used, silent := ts.dial(t), ts.dial(t)
	used.send(list.bytes(t))
	used.recv("GET").want(t, 200, "")
	silent.send([]byte("GET /devstoreacc")) // half a request is none
	eventually(t, "all of them to be there", func() bool { return l.open() == 3 && silentHeard(l) })

	for range 10 {
		eventually(t, "all but the busy one to wait", func() bool { return waitingOn(l) == 2 }) // after its reply it takes a moment
		w := ts.dial(t)
		w.send(list.bytes(t))
		w.recv("GET").want(t, 200, "")
	}
	if n := l.evicted.Load() - evicted; n < 9 {
		t.Errorf("%d connections made room, want 9 or more", n)
	}
	used.closed()
	close(g.open)
	busy.recv("HEAD").want(t, 200, "")
}

// waitingOn returns how many connections wait for a request.
func waitingOn(l *listener) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.mu.conns {
		if c.phase() == waiting {
			n++
		}
	}
	return n
}

// wantAlone waits until the connections of earlier calls are gone, which the server learns a moment after the client.
func (ts *testServer) wantAlone(t *testing.T) {
	t.Helper()
	l := ts.mu.listeners[0]
	eventually(t, "no connection to be left", func() bool { return l.open() == 0 })
}

// silentHeard reports whether something has come on every connection.
func silentHeard(l *listener) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.mu.conns {
		if !c.heard.Load() {
			return false
		}
	}
	return true
}

// TestShareOfAddress shows that one address cannot take the connections of all.
func TestShareOfAddress(t *testing.T) {
	ts := newServer(t, func(o *Options) { o.MaxConns, o.MaxConnsPer = 10, 2 })
	g := ts.gated(op.GetBlobProperties)
	ts.serve(t)
	ts.makeBlob(t, 4096)
	ts.wantAlone(t)
	head := call{method: "HEAD", path: "disks/b"}
	for range 2 {
		w := ts.dial(t)
		w.send(head.bytes(t))
		<-g.arrived
	}
	ts.do(t, call{method: "GET", path: "?comp=list"}).want(t, 503, "ServerBusy")
	c, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}).Dial("tcp", ts.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write((call{method: "GET", path: "?comp=list"}).bytes(t)); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 12)
	c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Read(p); err != nil || string(p) != "HTTP/1.1 200" {
		t.Errorf("another address: %q, %v", p, err)
	}
	close(g.open)
}

func TestAddressOf(t *testing.T) {
	f := func(ip, want string) {
		t.Helper()
		got := addressOf(&net.TCPAddr{IP: net.ParseIP(ip), Port: 5})
		if got != netip.MustParseAddr(want) {
			t.Errorf("%s: got %v, want %s", ip, got, want)
		}
	}
	f("10.1.2.3", "10.1.2.3")
	f("::ffff:10.1.2.3", "10.1.2.3")
	f("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::")
	f("::1", "::1")
	if addressOf(&net.UnixAddr{}).IsValid() {
		t.Error("a socket without an address counts for one")
	}
}

// TestMaxRequests shows that only so many requests are carried out at once, and that one which waits for its body is none.
func TestMaxRequests(t *testing.T) {
	ts := newServer(t, func(o *Options) { o.MaxRequests = 1 })
	g := ts.gated(op.GetBlobProperties)
	ts.serve(t)
	ts.makeBlob(t, 1<<20)
	page := putPage(0, pages(64<<10, 'x'))
	slow := ts.dial(t)
	slow.send(page.bytes(t), page.body[:32<<10])
	eventually(t, "a body to be waited for", func() bool { return ts.uses(receiving) == 1 })
	head := call{method: "HEAD", path: "disks/b"}
	first, second := ts.dial(t), ts.dial(t)
	first.send(head.bytes(t))
	<-g.arrived
	second.send(head.bytes(t))
	eventually(t, "a request that waits", ts.slots.Scarce)
	select {
	case <-g.arrived:
		t.Error("two requests are carried out")
	default:
	}
	close(g.open)
	first.recv("HEAD").want(t, 200, "")
	second.recv("HEAD").want(t, 200, "")
	slow.send(page.body[32<<10:])
	slow.recv("PUT").want(t, 201, "")
}

// uses returns how many connections are in the phase.
func (ts *testServer) uses(p phase) (n int) {
	l := ts.mu.listeners[0]
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.mu.conns {
		if c.phase() == p {
			n++
		}
	}
	return n
}

// TestCrowd has connections that are idle and clients that are slow, in their headers, with a body, and in taking a reply,
// more of them than there is room for. A client that behaves must get its work done meanwhile. PAGEVAULT_CROWD_IDLE and
// PAGEVAULT_CROWD_SLOW make the crowd larger.
func TestCrowd(t *testing.T) {
	idle, slow := envInt(t, "PAGEVAULT_CROWD_IDLE", 2000), envInt(t, "PAGEVAULT_CROWD_SLOW", 300)
	raiseFiles(t)
	ts := newServer(t, func(o *Options) {
		o.UploadBytes, o.ReplyBytes = 32<<20, 32<<20 // eight whole bodies, or replies of that size, fill either
		o.MaxConns = min(4096, max(1000, (idle+slow)/2))
		o.MaxConnsPer = o.MaxConns
	})
	ts.serve(t)
	const size = 8 << 20
	ts.makeBlob(t, size)
	ts.write(t, fill(size))

	alone := ts.behave(t, 200)
	l := ts.mu.listeners[0]
	var crowd sync.WaitGroup
	done := make(chan struct{})
	end := sync.OnceFunc(func() { close(done); crowd.Wait() })
	t.Cleanup(end)
	var slowOnes atomic.Int32
	for range slow {
		w := ts.dial(t)
		crowd.Go(func() { w.trickle(t, ts, int(slowOnes.Add(1)), done) })
	}
	for range idle {
		c, err := net.Dial("tcp", ts.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
	}
	crowded := ts.behave(t, 200)
	t.Logf("%d idle and %d slow, room for %d: %d evicted, %d cut off; alone %v, in the crowd %v",
		idle, slow, ts.o.MaxConns, l.evicted.Load(), l.slow.Load(), alone, crowded)
	if idle+slow > ts.o.MaxConns && l.evicted.Load() == 0 {
		t.Error("nobody made room")
	}
	end()
}

// latency is how long the requests of a client took.
type latency struct{ middle, most time.Duration }

func (l latency) String() string {
	return fmt.Sprintf("median %v, longest %v", l.middle.Round(time.Microsecond), l.most.Round(time.Microsecond))
}

// behave writes and reads pages, each on a connection of its own every tenth time, and returns how long that took.
func (ts *testServer) behave(t *testing.T, rounds int) latency {
	t.Helper()
	var took []time.Duration
	var w *wire
	for i := range rounds {
		began := time.Now()
		if i%10 == 0 {
			w = ts.dial(t)
		}
		c := putPage(0, pages(64<<10, byte(i)))
		w.send(c.bytes(t), c.body)
		w.recv("PUT").want(t, 201, "")
		c = call{method: "GET", path: "disks/b", header: []string{"Range: bytes=0-65535"}}
		w.send(c.bytes(t))
		if a := w.recv("GET"); a.StatusCode != 206 || !bytes.Equal(a.body, pages(64<<10, byte(i))) {
			t.Fatalf("round %d: %d, or not what was written\n%s", i, a.StatusCode, a.raw)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return latency{took[len(took)/2], took[len(took)-1]}
}

// trickle is a slow client: a third of them in their headers, a third with a body that was signed, a third in taking a
// reply. It goes on, with new connections, until done.
func (w *wire) trickle(t *testing.T, ts *testServer, number int, done <-chan struct{}) {
	page := putPage(4<<20, pages(4<<20, 'x'))
	get := call{method: "GET", path: "disks/b", header: []string{"Range: bytes=0-4194303"}}
	for {
		var rest []byte
		switch number % 3 {
		case 0:
			rest = page.bytes(t)
		case 1:
			w.Conn.Write(append(page.bytes(t), page.body[:16<<10]...))
			rest = page.body[16<<10:]
		case 2:
			w.Conn.(*net.TCPConn).SetReadBuffer(4 << 10)
			w.Conn.Write(get.bytes(t))
		}
		if !w.drip(rest, done) {
			w.Close()
			return
		}
		c, err := net.Dial("tcp", ts.addr)
		if err != nil {
			return // there are more of us than ports, for now
		}
		w = &wire{t: t, Conn: c}
	}
}

// drip sends a byte or takes one every second until the connection ends, and reports whether to begin again.
func (w *wire) drip(rest []byte, done <-chan struct{}) bool {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	w.SetDeadline(time.Now().Add(10 * time.Minute))
	for {
		select {
		case <-done:
			return false
		case <-tick.C:
		}
		var err error
		if len(rest) > 0 {
			_, err = w.Conn.Write(rest[:1])
			rest = rest[1:]
		} else {
			_, err = w.Conn.Read(make([]byte, 1))
		}
		if err != nil {
			w.Close()
			return true
		}
	}
}

// raiseFiles lets the process have as many open files as it may.
func raiseFiles(t *testing.T) {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
}
