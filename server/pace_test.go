package server

import (
	"testing"
	"time"
)

// TestJudge shows how slow a client may be.
func TestJudge(t *testing.T) {
	start := time.Unix(1e9, 0)
	f := func(after time.Duration, moved uint64, scarce, over, lags bool) {
		t.Helper()
		w := watch{since: start, bytes: 1000}
		gotOver, gotLags := w.judge(start.Add(after), 1000+moved, scarce)
		if gotOver != over || over && gotLags != lags {
			t.Errorf("%d bytes in %v, scarce %v: over %v, lags %v", moved, after, scarce, gotOver, gotLags)
		}
	}
	f(29*time.Second, 0, false, false, false)
	f(30*time.Second, 0, false, true, true)
	f(30*time.Second, 30<<10-1, false, true, true)
	f(30*time.Second, 30<<10, false, true, false)
	f(time.Minute, 60<<10-1, false, true, true) // looked at late
	f(3*time.Second, 0, true, false, false)
	f(4*time.Second, 0, true, true, true)
	f(4*time.Second, 256<<10-1, true, true, true)
	f(4*time.Second, 256<<10, true, false, false) // quick enough, and goes on to the longer span
	f(20*time.Second, 1<<20, true, true, true)    // was quick only at first
	f(30*time.Second, 2<<20, true, true, false)
}

// TestPace cuts off clients that are slow with a body and in taking a reply, and no others.
func TestPace(t *testing.T) {
	ts := start(t, nil)
	const size = 20 << 20
	ts.makeBlob(t, size)
	ts.write(t, fill(size))
	l := ts.mu.listeners[0]
	page := putPage(0, pages(64<<10, 'x'))
	up, quick, down, idle := ts.dial(t), ts.dial(t), ts.narrow(t), ts.dial(t)
	up.send(page.bytes(t), page.body[:16<<10])
	quick.send(page.bytes(t), page.body[:16<<10])
	down.send((call{method: "GET", path: "disks/b"}).bytes(t))
	list := call{method: "GET", path: "?comp=list"}
	idle.send(list.bytes(t))
	idle.recv("GET").want(t, 200, "")
	eventually(t, "bodies and a reply to be under way", func() bool {
		return ts.uses(receiving) == 2 && ts.uses(sending) == 1 && ts.uses(waiting) == 1 && l.stuck()
	})

	now := time.Now()
	l.sweep(now, true, true) // begins the spans
	moved := l.in.Load()
	quick.send(page.body[16<<10 : 63<<10])
	eventually(t, "the bytes to arrive", func() bool { return l.in.Load()-moved >= 47<<10 })
	l.sweep(now.Add(3*time.Second), true, true)
	l.sweep(now.Add(29*time.Second), false, false)
	if n := l.slow.Load(); n != 0 {
		t.Fatalf("%d were cut off before their time", n)
	}
	l.sweep(now.Add(30*time.Second), false, false)
	if n := l.slow.Load(); n != 2 {
		t.Errorf("%d were cut off, want the one with a body and the one with a reply", n)
	}
	up.recv("PUT").want(t, 408, "OperationTimedOut")
	up.closed()
	quick.send(page.body[63<<10:])
	quick.recv("PUT").want(t, 201, "")
	idle.send(list.bytes(t))
	idle.recv("GET").want(t, 200, "")
	eventually(t, "the download to end", func() bool { return ts.uses(sending) == 0 })
}

// stuck reports whether a reply cannot go on: its client takes nothing any more.
func (l *listener) stuck() bool {
	before := l.out.Load()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	<-tick.C
	return before > 1<<20 && l.out.Load() == before
}

// TestScarce shows that a slow body makes way for another one that needs its memory, and is told so.
func TestScarce(t *testing.T) {
	ts := start(t, func(o *Options) { o.UploadBytes = 4 << 20 })
	ts.makeBlob(t, 8<<20)
	page := putPage(0, pages(4<<20, 'x'))
	slow, good := ts.dial(t), ts.dial(t)
	slow.send(page.bytes(t), page.body[:1<<20])
	eventually(t, "a body to be waited for", func() bool { return ts.uses(receiving) == 1 })
	page = putPage(0, pages(4<<20, 'y'))
	good.send(page.bytes(t), page.body)
	good.recv("PUT").want(t, 201, "") // within the ten seconds that it waits for memory, by the real clock
	slow.recv("PUT").want(t, 408, "OperationTimedOut")
	slow.closed()
}
