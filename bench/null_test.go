package bench

import (
	"net"
	"sync/atomic"
	"testing"
)

// startNull serves a null server in this process until the test ends and returns its URL and how many bytes it hashed.
func startNull(t testing.TB) (url string, hashed *atomic.Int64) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	hashed = new(atomic.Int64)
	s := NewNullServer(func(p []byte) { hashed.Add(int64(len(p))) })
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	t.Cleanup(func() {
		if err := s.Shutdown(); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return "http://" + ln.Addr().String(), hashed
}

// newNullTarget returns a baseline target on a null server in this process.
func newNullTarget(t testing.TB) *Wire {
	t.Helper()
	url, _ := startNull(t)
	return newWire(t, WireOptions{Name: "null server", URL: url, Baseline: true, Unchecked: true})
}

// newWire fills in the emulator's account.
func newWire(t testing.TB, o WireOptions) *Wire {
	t.Helper()
	o.Account, o.Key = "devstoreaccount1", emulatorKey(t)
	w, err := NewWire(o)
	if err != nil {
		t.Fatal(err)
	}
	return w
}
