package bench

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"
)

// peerEnv makes the test binary behave as one of the servers below.
const peerEnv = "PAGEVAULT_BENCH_TEST_PEER"

func TestMain(m *testing.M) {
	switch os.Getenv(peerEnv) {
	case "":
		os.Exit(m.Run())
	case "ends": // before it is ready
		fmt.Fprintln(os.Stderr, "first line\nport in use")
		os.Exit(3)
	case "orderly":
		c := make(chan os.Signal, 1)
		signal.Notify(c, syscall.SIGTERM)
		fmt.Println("hello\naddress: here\n" + strings.Repeat("x", 2*bufio.MaxScanTokenSize))
		<-c
	case "stubborn":
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("address: here")
		select {}
	case "mute":
		net.Dial("tcp", os.Getenv("PAGEVAULT_BENCH_TEST_CALL")) // says that it is up, but not its address
		select {}
	}
}

// peerOptions describe the test binary as the server of that name.
func peerOptions(t *testing.T, kind string) PeerOptions {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return PeerOptions{Name: kind, Path: path, Env: []string{peerEnv + "=" + kind},
		Ready: func(line string) (string, bool) { return strings.CutPrefix(line, "address: ") }}
}

func TestPeer(t *testing.T) {
	p, err := StartPeer(t.Context(), peerOptions(t, "orderly"))
	if err != nil {
		t.Fatal(err)
	}
	if u, ok := ProcessUsage(p.PID()); p.Address() != "here" || !ok || u.RSSBytes == 0 {
		t.Errorf("address %q, usage %+v %v", p.Address(), u, ok)
	}
	if err := p.Stop(); err != nil {
		t.Error(err)
	}
	if _, ok := ProcessUsage(p.PID()); ok {
		t.Error("the process is still there")
	}
}

func TestPeerThatEnds(t *testing.T) {
	_, err := StartPeer(t.Context(), peerOptions(t, "ends"))
	if err == nil || err.Error() != "start ends: exit status 3: first line | port in use" {
		t.Errorf("error %v", err)
	}
	o := peerOptions(t, "missing")
	o.Path += ".missing"
	if _, err := StartPeer(t.Context(), o); err == nil || !strings.HasPrefix(err.Error(), "start missing: ") {
		t.Errorf("error %v", err)
	}
}

func TestPeerThatDoesNotStop(t *testing.T) {
	p, err := StartPeer(t.Context(), peerOptions(t, "stubborn"))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.stop(time.Millisecond); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("error %v", err)
	}
}

// TestPeerStartInterrupted: a server that never says where it is does not hold up the end.
func TestPeerStartInterrupted(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		if nc, err := ln.Accept(); err == nil {
			nc.Close()
		}
		cancel()
	}()
	o := peerOptions(t, "mute")
	o.Env = append(o.Env, "PAGEVAULT_BENCH_TEST_CALL="+ln.Addr().String())
	if _, err := StartPeer(ctx, o); err == nil || !strings.Contains(err.Error(), "canceled") {
		t.Errorf("error %v", err)
	}
}
