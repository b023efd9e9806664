package server

import (
	"strings"
	"testing"
	"time"

	"pagevault/internal/clock"
)

// TestMeter shows how long an account waits that asks for too much.
func TestMeter(t *testing.T) {
	m := newMeter(Rate{Requests: 2, Bytes: 1000})
	start := time.Unix(1e9, 0)
	f := func(at time.Duration, bytes int64, want time.Duration) {
		t.Helper()
		if got := m.Take(start.Add(at), bytes).Round(time.Millisecond); got != want {
			t.Errorf("at %v: wait %v, want %v", at, got, want)
		}
	}
	f(0, 0, 0)
	f(0, 0, 0)
	f(0, 0, 500*time.Millisecond)
	f(250*time.Millisecond, 0, 250*time.Millisecond) // to ask costs nothing
	f(500*time.Millisecond, 0, 0)
	f(time.Hour, 5000, 0) // however large, and no more than a second's worth was saved: 4000 are owed
	f(time.Hour, 0, 4001*time.Millisecond)
	f(time.Hour+4*time.Second, 0, time.Millisecond)
	f(time.Hour+4001*time.Millisecond, 0, 0)
	m.Pay(2000)
	f(time.Hour+6*time.Second, 0, time.Millisecond)
	f(time.Hour, 0, time.Millisecond) // the clock went back
	f(time.Hour+2*time.Millisecond, 0, 0)
}

// TestRate shows what a client is told that asks for more than its account may, and that it goes on later.
func TestRate(t *testing.T) {
	c := clock.NewManual(time.Now())
	ts := start(t, func(o *Options) {
		o.Clock = c
		o.Rates = map[string]Rate{"": {Requests: 4, Bytes: 1 << 20}, "other": {}}
	})
	ts.makeBlob(t, 8<<20) // two requests
	list := call{method: "GET", path: "?comp=list"}
	ts.do(t, list).want(t, 200, "")
	for range 5 { // anybody can send these
		ts.do(t, call{method: "OPTIONS", path: "disks/b", unsigned: true, header: []string{"Origin: http://a", "Access-Control-Request-Method: GET"}}).want(t, 403, "CorsPreflightFailure")
	}
	ts.do(t, list).want(t, 200, "")
	a := ts.do(t, list)
	a.want(t, 503, "ServerBusy")
	if got := a.Header.Get("Retry-After"); got != "1" {
		t.Errorf("Retry-After: %q, want 1", got)
	}
	// Strangers neither learn of it nor use it up.
	ts.do(t, call{method: "GET", path: "?comp=list", header: []string{"Authorization: SharedKey devstoreaccount1:AAAA"}}).want(t, 403, "AuthenticationFailed")

	c.Advance(time.Second)
	ts.do(t, putPage(0, pages(3<<20, 'x'))).want(t, 201, "")
	w := ts.dial(t) // refused before its body is read, and the connection stays in step
	page := putPage(0, pages(64<<10, 'y'))
	w.send(page.bytes(t), page.body)
	a = w.recv("PUT")
	a.want(t, 503, "ServerBusy")
	if got := a.Header.Get("Retry-After"); got != "3" {
		t.Errorf("Retry-After: %q, want 3: 2 MiB are owed", got)
	}
	c.Advance(3 * time.Second)
	get := call{method: "GET", path: "disks/b", header: []string{"Range: bytes=0-4194303"}}
	w.send(get.bytes(t))
	w.recv("GET").want(t, 206, "")
	w.send(page.bytes(t), page.body)
	a = w.recv("PUT")
	a.want(t, 503, "ServerBusy")
	if got := a.Header.Get("Retry-After"); got != "4" {
		t.Errorf("Retry-After: %q, want 4: a reply of 4 MiB is paid for", got)
	}
	c.Advance(4 * time.Second)
	ts.do(t, page).want(t, 201, "")
	if strings.Contains(ts.log.String(), "level=ERROR") {
		t.Error("the log has an error for what the operator asked for")
	}
	if newMeters(ts.o.Rates).For("other") != nil || newMeters(nil).For("a") != nil {
		t.Error("a bound for accounts without one")
	}
}
