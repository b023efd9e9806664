package testkit

import (
	"bufio"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Inject has the kernel treat system calls of a running process as strace's expression says ("fdatasync:error=EIO",
// "fdatasync:delay_enter=5s"), where they are about one of the paths, until the returned function is called or the test
// ends. Calls about other paths are only slowed down.
func Inject(t testing.TB, pid int, expression string, paths []string) (stop func()) {
	t.Helper()
	calls, _, _ := strings.Cut(expression, ":")
	args := []string{"-f", "-p", strconv.Itoa(pid), "-o", "/dev/null", "-e", "trace=" + calls, "-e", "inject=" + expression}
	for _, p := range paths {
		args = append(args, "-P", p)
	}
	cmd := exec.Command(Tool(t, "strace"), args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	attached, ended := make(chan string, 1), make(chan struct{})
	go func() { // ends with the process
		defer close(ended)
		lines := bufio.NewReader(stderr)
		line := ""
		for !strings.Contains(line, " attached") {
			more, err := lines.ReadString('\n')
			if line += more; err != nil {
				break
			}
		}
		attached <- line
		io.Copy(io.Discard, lines)
	}()
	stop = sync.OnceFunc(func() {
		cmd.Process.Signal(syscall.SIGINT) // it lets the process go on by itself
		<-ended
		cmd.Wait()
	})
	t.Cleanup(stop)
	select {
	case line := <-attached:
		if !strings.Contains(line, " attached") {
			t.Fatalf("strace: %s", line)
		}
	case <-time.After(setUpTimeout):
		t.Fatal("strace did not attach")
	}
	return stop
}
