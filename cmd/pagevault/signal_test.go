package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// serving is a server as a process, and on it a request that is under way: its body has not come to the end.
type serving struct {
	cmd    *exec.Cmd
	stderr *bytes.Buffer // read it after exited
	exited chan error
	conn   net.Conn
	left   int // bytes of the body that are still to be sent
}

func startServing(t *testing.T) *serving {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := &serving{cmd: exec.Command(self, "serve", "--memory", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"),
		stderr: new(bytes.Buffer), exited: make(chan error, 1)}
	s.cmd.Args[0] = "pagevault"
	s.cmd.Stderr = s.stderr
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.cmd.Process.Kill() })
	var text strings.Builder
	lines := bufio.NewReader(out)
	for !adminLine.MatchString(text.String()) {
		line, err := lines.ReadString('\n')
		if text.WriteString(line); err != nil {
			t.Fatalf("the server ended: %s", text.String())
		}
	}
	go func() {
		io.Copy(io.Discard, lines)
		s.exited <- s.cmd.Wait()
	}()
	_, rest, _ := strings.Cut(urlLine.FindStringSubmatch(text.String())[1], "://")
	host, _, _ := strings.Cut(rest, "/")
	if s.conn, err = net.Dial("tcp", host); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.conn.Close() })
	s.conn.SetDeadline(time.Now().Add(patience))
	const size, sent = 1 << 20, 64 << 10
	s.left = size - sent
	fmt.Fprintf(s.conn, "PUT /devstoreaccount1/c/b?comp=lease HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", size, make([]byte, sent))
	awaitReceived(t, adminLine.FindStringSubmatch(text.String())[1], sent)
	return s
}

// awaitReceived returns when the server says that it has received so many bytes.
func awaitReceived(t *testing.T, admin string, want float64) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		resp, err := http.Get(admin + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(text), "\npagevault_received_bytes_total ")
		var got float64
		if fmt.Sscan(rest, &got); got >= want {
			return
		}
	}
	t.Fatal("the request does not arrive")
}

// terminated sends SIGTERM and returns when the server has closed its port.
func (s *serving) terminated(t *testing.T) {
	t.Helper()
	s.signal(t)
	deadline := time.Now().Add(patience)
	for {
		c, err := net.Dial("tcp", s.conn.RemoteAddr().String())
		if err != nil {
			return
		}
		c.Close()
		if time.Now().After(deadline) {
			t.Fatal("the server still accepts connections")
		}
	}
}

func (s *serving) signal(t *testing.T) {
	t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
}

// TestTermFinishesRequests shows that a request which was under way when the signal came gets its reply.
func TestTermFinishesRequests(t *testing.T) {
	s := startServing(t)
	s.terminated(t)
	if _, err := s.conn.Write(make([]byte, s.left)); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(s.conn), nil)
	if err != nil {
		t.Fatalf("no reply: %v", err)
	}
	if resp.StatusCode != 404 || !resp.Close {
		t.Errorf("got %s, close %v; want 404, which a stranger gets, and the end of the connection", resp.Status, resp.Close)
	}
	if err := <-s.exited; err != nil {
		t.Errorf("%v\n%s", err, s.stderr)
	}
}

// TestSecondSignal shows that a second signal ends the process although a request is under way. Signals right behind the
// first do not count.
func TestSecondSignal(t *testing.T) {
	s := startServing(t)
	s.terminated(t)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	began := time.Now()
	for {
		s.signal(t)
		select {
		case err := <-s.exited:
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != exitFailure {
				t.Errorf("ended with %v, want exit code %d\n%s", err, exitFailure, s.stderr)
			}
			if took := time.Since(began); took >= shutdownGrace {
				t.Errorf("took %v", took)
			}
			return
		case <-tick.C:
		}
	}
}
