package testkit

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	// startTimeout bounds a start: recovery after a crash of a test's few GiB takes seconds.
	startTimeout = 60 * time.Second
	// stopTimeout bounds a stop by SIGTERM; a process that is still there then is killed and fails the test.
	stopTimeout = 30 * time.Second
	// pollInterval is how often a condition that nobody announces is looked at.
	pollInterval = 2 * time.Millisecond
)

// The account that a server has if it is given none, the same as in every emulator, so no secret.
const (
	Account    = "devstoreaccount1"
	AccountKey = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)

// ServerOptions say how to start a server. The zero value serves a new folder on disk.
type ServerOptions struct {
	Data   string   // data directory. "": one of the test's own
	Memory bool     // --memory instead of a data directory
	Args   []string // further arguments of serve
	Env    []string // "NAME=value", on top of the test's own
}

// Server is the real binary as a process of its own, serving on ports of loopback that it picks itself. It lives at
// most as long as the test. The goroutines that read its output and wait for its end are its own; Stop and Kill9
// return after they have ended.
type Server struct {
	options ServerOptions
	run     *run // the process that runs now, or the last one
}

// A run is one process, from its start to its end.
type run struct {
	cmd    *exec.Cmd
	output output
	exited chan struct{} // closed when the process has ended and its output is read
	err    error         // of Wait; read it after exited

	blob, admin, connection string
}

// output keeps what a process says, by line.
type output struct {
	mu struct {
		sync.Mutex
		lines []string
	}
	grew chan struct{} // holds a token when lines were added since the last look
}

// maxLines bounds what is kept of the output of one process: enough for every start and every error.
const maxLines = 5000

func (o *output) add(line string) {
	o.mu.Lock()
	if len(o.mu.lines) < maxLines {
		o.mu.lines = append(o.mu.lines, line)
	}
	o.mu.Unlock()
	select {
	case o.grew <- struct{}{}:
	default:
	}
}

func (o *output) text() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Join(o.mu.lines, "\n")
}

// StartServer starts a server and returns when it is ready. A failure fails the test and shows what the server said.
func StartServer(t testing.TB, o ServerOptions) *Server {
	t.Helper()
	s := NewServer(t, o)
	s.Start(t)
	return s
}

// NewServer returns a server that is not running yet.
func NewServer(t testing.TB, o ServerOptions) *Server {
	t.Helper()
	if o.Data == "" && !o.Memory {
		o.Data = filepath.Join(t.TempDir(), "data")
	}
	return &Server{options: o}
}

// Data returns the data directory, "" with Memory.
func (s *Server) Data() string { return s.options.Data }

// PID returns the id of the process that runs now, or the last one.
func (s *Server) PID() int { return s.run.cmd.Process.Pid }

// URL returns the address of the blob service of the default account, without a slash at the end.
func (s *Server) URL() string { return s.run.blob }

// AdminURL returns the address of the admin listener, without a slash at the end.
func (s *Server) AdminURL() string { return s.run.admin }

// ConnectionString returns what the server printed to be pasted.
func (s *Server) ConnectionString() string { return s.run.connection }

// Output returns all that the process that runs now, or the last one, has said.
func (s *Server) Output() string { return s.run.output.text() }

// Start starts the process and returns when it is ready.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	s.Spawn(t)
	deadline := time.After(startTimeout)
	for !s.run.parse() {
		select {
		case <-s.run.output.grew:
		case <-s.run.exited:
			t.Fatalf("the server ended (%v) before it said where it serves:\n%s", s.run.err, s.Output())
		case <-deadline:
			t.Fatalf("the server did not say where it serves within %v:\n%s", startTimeout, s.Output())
		}
	}
	s.awaitReady(t, deadline)
}

// Spawn starts the process and returns at once.
func (s *Server) Spawn(t testing.TB) {
	t.Helper()
	if s.run != nil && !s.run.over() {
		t.Fatal("the server is already running")
	}
	args := []string{"serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"}
	if s.options.Memory {
		args = append(args, "--memory")
	} else {
		args = append(args, "--data", s.options.Data)
	}
	r := &run{exited: make(chan struct{})}
	r.output.grew = make(chan struct{}, 1)
	r.cmd = exec.Command(Binary(t), append(args, s.options.Args...)...)
	r.cmd.Env = append(r.cmd.Environ(), s.options.Env...)
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // a test that dies takes it along
	reader, writer := io.Pipe()
	r.cmd.Stdout, r.cmd.Stderr = writer, writer
	if err := r.cmd.Start(); err != nil {
		t.Fatalf("starting the server: %v", err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		lines := bufio.NewReader(reader)
		for {
			line, err := lines.ReadString('\n')
			if line != "" {
				r.output.add(strings.TrimSuffix(line, "\n"))
			}
			if err != nil {
				return
			}
		}
	}()
	go func() {
		r.err = r.cmd.Wait()
		writer.Close()
		<-read
		close(r.exited)
	}()
	s.run = r
	t.Cleanup(func() { s.cleanup(t, r) })
}

// cleanup ends a process that its test has left running, and shows what it said if the test failed.
func (s *Server) cleanup(t testing.TB, r *run) {
	t.Helper()
	if !r.over() {
		r.terminate(t)
	}
	if t.Failed() && r == s.run {
		t.Logf("the server's output:\n%s", r.output.text())
	}
}

// over reports whether the process has ended.
func (r *run) over() bool {
	select {
	case <-r.exited:
		return true
	default:
		return false
	}
}

var (
	connectionLine = regexp.MustCompile(`DefaultEndpointsProtocol=\S+`)
	blobEndpoint   = regexp.MustCompile(`BlobEndpoint=(https?://[^;]+?)/?(;|$)`)
	adminLine      = regexp.MustCompile(`(?i)admin.*(https?://127\.0\.0\.1:\d+)`)
)

// parse looks in the first lines for the addresses and reports whether all are there.
func (r *run) parse() bool {
	text := r.output.text()
	if r.connection == "" {
		r.connection = connectionLine.FindString(text)
		if m := blobEndpoint.FindStringSubmatch(r.connection); m != nil {
			r.blob = m[1]
		}
	}
	for line := range strings.Lines(text) {
		if m := adminLine.FindStringSubmatch(line); m != nil {
			r.admin = m[1]
			break
		}
	}
	return r.blob != "" && r.admin != ""
}

// awaitReady returns when /readyz answers 200.
func (s *Server) awaitReady(t testing.TB, deadline <-chan time.Time) {
	t.Helper()
	client := &http.Client{Timeout: startTimeout, Transport: &http.Transport{DisableKeepAlives: true}}
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		resp, err := client.Get(s.AdminURL() + "/readyz")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
			err = errors.New(resp.Status)
		}
		select {
		case <-tick.C:
		case <-s.run.exited:
			t.Fatalf("the server ended (%v) before it was ready:\n%s", s.run.err, s.Output())
		case <-deadline:
			t.Fatalf("the server was not ready within %v (%v):\n%s", startTimeout, err, s.Output())
		}
	}
}

// Stop ends the process with SIGTERM. It must end by itself, with status 0, in time.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	if s.run.over() {
		t.Fatalf("the server had ended before it was stopped: %v\n%s", s.run.err, s.Output())
	}
	s.run.terminate(t)
}

func (r *run) terminate(t testing.TB) {
	t.Helper()
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
	select {
	case <-r.exited:
		if r.err != nil {
			t.Errorf("the server ended with %v after SIGTERM:\n%s", r.err, r.output.text())
		}
	case <-time.After(stopTimeout):
		r.cmd.Process.Kill()
		<-r.exited
		t.Errorf("the server did not end within %v of SIGTERM:\n%s", stopTimeout, r.output.text())
	}
}

// Kill9 ends the process as kill -9 does, and returns when it is gone. A process that had already ended by itself fails
// the test.
func (s *Server) Kill9(t testing.TB) {
	t.Helper()
	if err := s.run.cmd.Process.Kill(); err != nil {
		t.Fatalf("kill -9: %v\n%s", err, s.Output())
	}
	<-s.run.exited
	var exit *exec.ExitError
	if !errors.As(s.run.err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the server ended by itself before kill -9: %v\n%s", s.run.err, s.Output())
	}
}

// Abandon ends the process as kill -9 does, whatever state it is in: for a server whose disk is gone.
func (s *Server) Abandon() {
	s.run.cmd.Process.Kill()
	<-s.run.exited
}

// Get returns what the admin listener answers for path; any status but 200 fails the test.
func (s *Server) Get(t testing.TB, path string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.AdminURL()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s, %v\n%s", path, resp.Status, err, body)
	}
	return string(body)
}

// Metric returns the sum over all label values of a metric that the server exposes; one that is not there fails the
// test.
func (s *Server) Metric(t testing.TB, name string) float64 {
	t.Helper()
	sum, found := 0.0, false
	for line := range strings.Lines(s.Get(t, "/metrics")) {
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), name)
		if !ok || rest == "" || rest[0] != '{' && rest[0] != ' ' {
			continue
		}
		var v float64
		if _, err := fmt.Sscan(rest[strings.LastIndexByte(rest, ' ')+1:], &v); err != nil {
			t.Fatalf("metric %s: %v in %q", name, err, line)
		}
		sum, found = sum+v, true
	}
	if !found {
		t.Fatalf("the server has no metric %s", name)
	}
	return sum
}
