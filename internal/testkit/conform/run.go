package conform

import (
	"fmt"
	"io"
	"runtime"
	"strings"
)

// Run runs the tests that want accepts, nil for all, against env, one after the other, and writes a line for each test,
// and what its failures say, to out. It returns the names of the tests that failed and how many there were. This is the
// way to run the list outside go test; inside, each Test goes into t.Run.
func Run(env *Env, out io.Writer, want func(name string) bool) (failed []string, ran int) {
	defer env.Close()
	for _, test := range Tests {
		if want != nil && !want(test.Name) {
			continue
		}
		ran++
		root := &runner{name: test.Name, out: out}
		root.run(func(t T) { test.Run(t, env) })
		if root.failed {
			failed = append(failed, test.Name)
			fmt.Fprintf(out, "FAIL %s\n", test.Name)
		} else {
			fmt.Fprintf(out, "ok   %s\n", test.Name)
		}
	}
	return failed, ran
}

// runner is a T without the testing package. One goroutine at a time uses it.
type runner struct {
	name     string
	out      io.Writer
	failed   bool
	cleanups []func()
}

// run calls f, which Fatalf ends, and then what it has left to clean up, the last first.
func (r *runner) run(f func(T)) {
	r.apart(func() { f(r) })
	for len(r.cleanups) > 0 {
		last := r.cleanups[len(r.cleanups)-1]
		r.cleanups = r.cleanups[:len(r.cleanups)-1]
		r.apart(last)
	}
}

// apart calls f in a goroutine and waits for its end, however it ends.
func (r *runner) apart(f func()) {
	done := make(chan any)
	go func() {
		defer func() { done <- recover() }()
		f()
	}()
	if fault := <-done; fault != nil {
		r.Errorf("panic: %v", fault)
	}
}

func (r *runner) Helper() {}

func (r *runner) Logf(format string, args ...any) {
	text := strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", "\n    ")
	fmt.Fprintf(r.out, "  %s: %s\n", r.name, text)
}

func (r *runner) Errorf(format string, args ...any) {
	r.failed = true
	r.Logf(format, args...)
}

func (r *runner) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

func (r *runner) Cleanup(f func()) { r.cleanups = append(r.cleanups, f) }

func (r *runner) Run(name string, f func(T)) bool {
	part := &runner{name: r.name + "/" + name, out: r.out}
	part.run(f)
	r.failed = r.failed || part.failed
	return !part.failed
}
