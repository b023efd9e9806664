package server

import (
	"net"
	"net/netip"

	"pagevault/internal/clock"
)

// Connections are many and cheap to open. When there is no room for another one, that which has waited longest for a
// request makes room: nothing is lost with it, clients open a new one. Only those on which a request is being answered are
// safe; when all are, the new one is told to come again later.

// evictSample is among how many waiting connections the one that goes is chosen: the oldest of that many, picked at
// random, is old, and a flood of connections costs no search through all of them.
const evictSample = 32

// addressOf returns the address that a connection counts for: that of the peer, or for IPv6 its network of 64 bits, which
// is what one customer has at least. The zero value is nobody's, and not limited.
func addressOf(a net.Addr) netip.Addr {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	addr := tcp.AddrPort().Addr().Unmap().WithZone("")
	if addr.Is6() && !addr.IsLoopback() {
		if p, err := addr.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return addr
}

// makeRoomLocked reports whether there is room for a connection from the address, and which one has to be closed for it;
// nil if none has to be. That one does not count any more.
func (l *listener) makeRoomLocked(from netip.Addr) (victim *conn, room bool) {
	crowded := from.IsValid() && l.mu.from[from] >= l.maxFrom
	if !crowded && len(l.mu.conns) < l.max {
		return nil, true
	}
	victim = l.evictLocked(func(c *conn) bool { return !crowded || c.addr == from })
	return victim, victim != nil
}

// evict closes a connection that waits for a request, if there is one.
func (l *listener) evict() {
	l.mu.Lock()
	victim := l.evictLocked(func(*conn) bool { return true })
	l.mu.Unlock()
	if victim != nil {
		victim.Conn.Close()
	}
}

// evictLocked chooses a waiting connection that may go and forgets it. The caller closes it.
func (l *listener) evictLocked(may func(c *conn) bool) (victim *conn) {
	seen := 0
	for c := range l.mu.conns { // in no particular order
		if c.phase() != waiting || !may(c) {
			continue
		}
		if victim == nil || c.since.Load() < victim.since.Load() {
			victim = c
		}
		if seen++; seen == evictSample {
			break
		}
	}
	if victim == nil || !victim.leave() {
		return nil // or its request has just come: the next connection has more luck
	}
	l.forgetLocked(victim)
	l.evicted.Add(1)
	return victim
}

// rest begins the wait for a request.
func (c *conn) rest() {
	c.since.Store(clock.System.Now().UnixNano())
	c.enter(waiting)
}
