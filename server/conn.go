package server

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"pagevault/internal/clock"
)

const (
	// lingerTimeout and lingerBytes bound what is still read from a client after a reply that ends the connection. A
	// socket closed with unread bytes sends RST, which makes the client lose the reply that says what was wrong.
	// The bytes cover a Put Block of a client that does not wait for 100 Continue; past them the client learns by RST.
	lingerTimeout = 2 * time.Second
	lingerBytes   = 64 << 20

	// refusals is how many surplus connections are told "503 ServerBusy" at a time; the rest are closed unanswered.
	refusals = 64

	// acceptRetryMin and acceptRetryMax bound the wait before Accept is tried again when there are no descriptors left.
	acceptRetryMin = 5 * time.Millisecond
	acceptRetryMax = time.Second

	// writeSlice is what is handed over at a time where it cannot be seen what was taken of more: a second's worth at the
	// pace that is asked for when memory is scarce, and still few calls for a large reply.
	writeSlice = 64 << 10
)

// listener hands out connections that are counted, limited in number, and closed with care. Its goroutines are the
// refusals in progress, each bounded by lingerTimeout.
type listener struct {
	net.Listener
	max     int            // open connections
	maxFrom int            // of them, from one address
	refuse  func(net.Conn) // writes the reply of a server that is full

	refusing chan struct{} // slots
	in, out  atomic.Uint64 // bytes over all connections, as on the wire
	refused  atomic.Uint64
	evicted  atomic.Uint64 // see crowd.go
	slow     atomic.Uint64 // see pace.go
	stopped  chan struct{}

	mu struct {
		sync.Mutex
		stopping bool
		conns    map[*conn]struct{}
		from     map[netip.Addr]int // how many of them are from where
	}
}

func newListener(ln net.Listener, limit, limitFrom int, refuse func(net.Conn)) *listener {
	l := &listener{
		Listener: ln,
		max:      limit,
		maxFrom:  limitFrom,
		refuse:   refuse,
		refusing: make(chan struct{}, refusals),
		stopped:  make(chan struct{}),
	}
	l.mu.conns = make(map[*conn]struct{})
	l.mu.from = make(map[netip.Addr]int)
	return l
}

// Accept waits for the next connection there is room for. Running out of descriptors is waited out, not fatal: fasthttp
// would stop serving for good.
func (l *listener) Accept() (net.Conn, error) {
	wait := acceptRetryMin
	for {
		nc, err := l.Listener.Accept()
		if err != nil {
			if !transient(err) {
				return nil, err
			}
			if errors.Is(err, syscall.EMFILE) {
				l.evict()
			}
			select {
			case <-l.stopped:
				return nil, net.ErrClosed
			case <-time.After(wait):
			}
			wait = min(2*wait, acceptRetryMax)
			continue
		}
		wait = acceptRetryMin
		if c := l.admit(nc); c != nil {
			return c, nil
		}
	}
}

// transient reports whether an Accept that returned err may succeed later.
func transient(err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED, syscall.ECONNRESET} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// admit registers nc, for which another connection may have to go, or gets rid of it and returns nil.
func (l *listener) admit(nc net.Conn) *conn {
	c := newConn(nc, l)
	l.mu.Lock()
	stopping := l.mu.stopping
	victim, room := l.makeRoomLocked(c.addr)
	if !stopping && room {
		l.mu.conns[c] = struct{}{}
		l.mu.from[c.addr]++
		c.rest()
	}
	l.mu.Unlock()
	if victim != nil {
		victim.Conn.Close()
	}
	switch {
	case stopping:
		nc.Close()
		return nil
	case !room:
		l.refused.Add(1)
		l.turnAway(c)
		return nil
	}
	return c
}

// turnAway tells the client of c that the server is full, unless too many are being told already.
func (l *listener) turnAway(c *conn) {
	select {
	case l.refusing <- struct{}{}:
	default:
		c.Conn.Close()
		return
	}
	go func() {
		defer func() { <-l.refusing }()
		c.SetDeadline(clock.System.Now().Add(lingerTimeout))
		l.refuse(c)
		c.Linger()
		c.Close()
	}()
}

// stop makes every later connection be closed at once, and closes those on which nothing has been received yet:
// clients dial ahead, and fasthttp would wait five seconds for them.
func (l *listener) stop() {
	l.mu.Lock()
	first := !l.mu.stopping
	l.mu.stopping = true
	var silent []*conn
	for c := range l.mu.conns {
		if !c.heard.Load() {
			silent = append(silent, c)
		}
	}
	l.mu.Unlock()
	if first {
		close(l.stopped)
	}
	for _, c := range silent {
		c.Close()
	}
}

// abort closes every connection, whatever it is doing.
func (l *listener) abort() {
	l.mu.Lock()
	all := make([]*conn, 0, len(l.mu.conns))
	for c := range l.mu.conns {
		all = append(all, c)
	}
	l.mu.Unlock()
	for _, c := range all {
		c.linger.Store(false)
		c.Close()
		c.Conn.Close() // ends a Close that lingers
	}
}

// forget makes room for another connection.
func (l *listener) forget(c *conn) {
	l.mu.Lock()
	l.forgetLocked(c)
	l.mu.Unlock()
}

func (l *listener) forgetLocked(c *conn) {
	if _, ok := l.mu.conns[c]; !ok {
		return
	}
	delete(l.mu.conns, c)
	if l.mu.from[c.addr]--; l.mu.from[c.addr] == 0 {
		delete(l.mu.from, c.addr)
	}
}

// open returns the number of connections being served.
func (l *listener) open() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.mu.conns)
}

// conn is one accepted connection.
type conn struct {
	net.Conn
	l      *listener
	raw    syscall.RawConn // the socket, nil if it is none
	addr   netip.Addr      // whose share of the connections it is of
	heard  atomic.Bool     // a byte has been received
	linger atomic.Bool
	closed atomic.Bool

	state   atomic.Uint64 // turn and phase, see pace.go
	since   atomic.Int64  // when it began to wait for a request, nanoseconds since 1970
	in, out atomic.Uint64 // bytes, as on the wire
	watched watch         // under the listener's lock
}

func newConn(nc net.Conn, l *listener) *conn {
	c := &conn{Conn: nc, l: l, addr: addressOf(nc.RemoteAddr())}
	if socket, ok := nc.(syscall.Conn); ok {
		c.raw, _ = socket.SyscallConn() // which is an error only for one that is closed
	}
	return c
}

// connOf returns the connection under nc, through TLS if need be; nil if nc was not accepted by a listener of ours.
func connOf(nc net.Conn) *conn {
	if t, ok := nc.(*tls.Conn); ok {
		nc = t.NetConn()
	}
	c, _ := nc.(*conn)
	return c
}

// Linger makes Close wait for the client to take the last reply.
func (c *conn) Linger() {
	if c != nil {
		c.linger.Store(true)
	}
}

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.l.in.Add(uint64(n))
		c.in.Add(uint64(n))
		if !c.heard.Load() {
			c.heard.Store(true)
		}
	}
	return n, err
}

// Write hands p over so that it can be seen how fast the client takes it: all at once if the socket tells of each part it
// takes, else in slices.
func (c *conn) Write(p []byte) (written int, err error) {
	if len(p) > writeSlice && c.raw != nil && canWriteRaw {
		return c.writeWhole(p)
	}
	for {
		n, err := c.Conn.Write(p[written:min(len(p), written+writeSlice)])
		c.sent(n)
		written += n
		if err != nil || written == len(p) {
			return written, err
		}
	}
}

// writeWhole is Write of much.
func (c *conn) writeWhole(p []byte) (written int, err error) {
	err = writeRaw(c.raw, p, func(n int) {
		c.sent(n)
		written += n
	})
	return written, err
}

// sent counts n bytes that the kernel has taken.
func (c *conn) sent(n int) {
	c.l.out.Add(uint64(n))
	c.out.Add(uint64(n))
}

// Close releases the connection. After Linger it first ends our direction and takes in what the client still sends,
// within bounds, so that the client can read the reply.
func (c *conn) Close() error {
	if !c.closed.CompareAndSwap(false, true) {
		return nil
	}
	defer c.l.forget(c)
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok && c.linger.Load() && half.CloseWrite() == nil {
		c.Conn.SetReadDeadline(clock.System.Now().Add(lingerTimeout))
		io.CopyN(io.Discard, c.Conn, lingerBytes)
	}
	return c.Conn.Close()
}
