package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// PeerOptions say how a server is started.
type PeerOptions struct {
	Name string   // in errors
	Path string   // executable
	Args []string // without the executable
	Env  []string // besides this process's
	// Ready looks at a line the server prints and returns its address once it stands there.
	Ready func(line string) (address string, ok bool)
}

// Peer is a server in a process of its own, which this process has started and will stop. It is not in our process group,
// so that a Ctrl-C reaches only us and we can stop in order; where the system can, it is killed should we die. One
// goroutine starts it and waits for it, one reads what it prints; both end when it does.
type Peer struct {
	name    string
	address string
	cmd     *exec.Cmd
	exited  chan struct{} // closed when err is set
	err     error         // of Wait
}

// peerLinesMax is how much of what a server printed is quoted when it ends before it is ready.
const peerLinesMax = 5

// StartPeer starts a server and waits until it has printed its address. If ctx is done first, or the server ends, it is
// an error with the last lines it printed.
func StartPeer(ctx context.Context, o PeerOptions) (*Peer, error) {
	out, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p := &Peer{name: o.Name, cmd: exec.Command(o.Path, o.Args...), exited: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), o.Env...)
	p.cmd.Stdout, p.cmd.Stderr = in, in
	p.cmd.SysProcAttr = peerAttributes()
	started := make(chan error, 1)
	go p.run(started, in)
	if err := <-started; err != nil {
		out.Close()
		return nil, fmt.Errorf("start %s: %w", o.Name, err)
	}
	reader := &peerReader{ready: make(chan string, 1), ended: make(chan struct{}), find: o.Ready}
	go reader.run(out)
	select {
	case p.address = <-reader.ready:
		return p, nil
	case <-reader.ended:
		<-p.exited
		return nil, fmt.Errorf("start %s: %v: %s", o.Name, p.cmd.ProcessState, reader.quote())
	case <-ctx.Done():
		p.Stop() // how it ends now is of no interest
		return nil, fmt.Errorf("start %s: %w", o.Name, context.Cause(ctx))
	}
}

// run starts the process and waits for it, on one thread throughout: the kernel sends the signal for a parent's death
// when the thread that started the child ends.
func (p *Peer) run(started chan<- error, in *os.File) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := p.cmd.Start()
	in.Close() // the child has its own
	started <- err
	if err == nil {
		p.err = p.cmd.Wait()
	}
	close(p.exited)
}

// Address returns what Ready found.
func (p *Peer) Address() string { return p.address }

// PID returns the id of the process.
func (p *Peer) PID() int { return p.cmd.Process.Pid }

// stopGrace is how long a server may take to finish what it is doing before it is killed.
const stopGrace = 10 * time.Second

// Stop ends the server with SIGTERM, after 10 seconds with SIGKILL, and waits for it. A server that did not end of its own
// accord and with status 0 is an error.
func (p *Peer) Stop() error { return p.stop(stopGrace) }

func (p *Peer) stop(grace time.Duration) error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	kill := time.AfterFunc(grace, func() { p.cmd.Process.Kill() })
	defer kill.Stop()
	<-p.exited
	if p.err != nil {
		return fmt.Errorf("%s: %w", p.name, p.err)
	}
	return nil
}

// peerReader reads what a server prints, to its end so that the server never blocks.
type peerReader struct {
	find  func(line string) (string, bool)
	ready chan string
	ended chan struct{}
	mu    struct {
		sync.Mutex
		last []string
	}
}

func (r *peerReader) run(out io.ReadCloser) {
	defer close(r.ended)
	defer out.Close()
	found := false
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if address, ok := r.find(lines.Text()); ok && !found {
			found = true
			r.ready <- address
		}
		r.keep(lines.Text())
	}
	io.Copy(io.Discard, out) // after a line too long for the scanner
}

func (r *peerReader) keep(line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.last = append(r.mu.last, strings.TrimSpace(line))
	if n := len(r.mu.last); n > peerLinesMax {
		r.mu.last = r.mu.last[n-peerLinesMax:]
	}
}

// quote returns the last lines on one.
func (r *peerReader) quote() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.mu.last, " | ")
}
