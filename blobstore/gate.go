package blobstore

import (
	"context"
	"sync/atomic"
)

// gate counts who uses an account, so that it can be removed while requests come in. There are two kinds of users: those
// who change things or keep others waiting, who Enter and are turned away as soon as the account is being removed; and those
// who only look at it for a moment, who Look until it is gone.
type gate struct {
	users atomic.Int64  // and the marks below
	empty chan struct{} // holds a value when the last user may have left
}

const (
	gateClosing = 1 << 61 // nobody enters
	gateGone    = 1 << 60 // nobody enters or looks, ever again
)

func (g *gate) init() { g.empty = make(chan struct{}, 1) }

// Enter begins the use of the account by a request, which ends with Leave. It is false while the account is being removed,
// and afterwards.
func (a *Account) Enter() bool { return a.gate.enter(gateClosing | gateGone) }

// Look is Enter for those who only look, and do so for a moment: the account's removal waits for them.
func (a *Account) Look() bool { return a.gate.enter(gateGone) }

// Stay is Enter for those who use the account already: one more Leave is to follow.
func (a *Account) Stay() { a.gate.users.Add(1) }

// Leave ends what Enter, Look or Stay began.
func (a *Account) Leave() { a.gate.leave() }

func (g *gate) enter(unless int64) bool {
	if g.users.Add(1)&unless != 0 {
		g.leave()
		return false
	}
	return true
}

func (g *gate) leave() {
	if g.users.Add(-1) == gateClosing {
		select {
		case g.empty <- struct{}{}:
		default:
		}
	}
}

// close turns away everybody who would enter. It is followed by wait.
func (g *gate) close() { g.users.Add(gateClosing) }

// closing reports whether those who would enter are turned away.
func (g *gate) closing() bool { return g.users.Load()&(gateClosing|gateGone) != 0 }

// wait waits until all have left, or until ctx ends; the gate is open again then.
func (g *gate) wait(ctx context.Context) error {
	for g.users.Load() != gateClosing {
		select {
		case <-g.empty:
		case <-ctx.Done():
			g.open()
			return ctx.Err()
		}
	}
	return nil
}

// open undoes close.
func (g *gate) open() { g.users.Add(-gateClosing) }

// lock makes a closed gate one that is never opened again, once nobody looks.
func (g *gate) lock() {
	for !g.users.CompareAndSwap(gateClosing, gateClosing|gateGone) {
		<-g.empty
	}
}
