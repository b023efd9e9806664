package bench

import (
	"context"
	"errors"
	"io/fs"
	"math"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// tiny returns options of a run that takes moments.
func tiny(targets ...Target) Options {
	return Options{Targets: targets, Connections: []int{1, 3}, Rounds: 2, Duration: 20 * time.Millisecond, RoundBytes: 16 << 20, SetBytes: 4 << 20}
}

// TestRun runs everything on a checked endpoint, the null server and the disk, and looks at the report as a reader would.
func TestRun(t *testing.T) {
	f := &fake{}
	dir := t.TempDir()
	checked := newWire(t, WireOptions{Name: "fake", URL: startFake(t, f), PID: os.Getpid()})
	var order []string
	o := tiny(checked, newNullTarget(t), NewDisk(dir))
	o.Events = &Events{Round: func(e RoundEvent) { order = append(order, e.Target) }}
	rep, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	// Two numbers of connections; five workloads on each endpoint, two on the disk.
	if want := 2 * (5 + 5 + 2); len(rep.Rows) != want || rep.Stopped != "" {
		t.Errorf("%d rows, stopped %q; want %d rows", len(rep.Rows), rep.Stopped, want)
	}
	for _, row := range rep.Rows {
		if len(row.Rounds) != 2 || row.OpsPerSecond <= 0 || row.BytesPerSecond <= 0 || row.P50Nanos <= 0 ||
			row.P50Nanos > row.P90Nanos || row.P90Nanos > row.P99Nanos || row.P99Nanos > row.MaxNanos {
			t.Errorf("row makes no sense: %+v", row)
		}
		if row.Target == "fake" && (row.ServerRSSBytes == 0 || row.Ratios["null server"] <= 0) {
			t.Errorf("row of a known process lacks its memory or ratio: %+v", row)
		}
	}
	if row := rep.Row("put-4m-new", 3, "fake"); row == nil || row.Ratios["raw disk"] <= 0 {
		t.Errorf("no ratio to the raw disk: %+v", row)
	}
	if got, want := strings.Join(order[:6], ","), "fake,null server,raw disk,fake,null server,fake"; got != want {
		t.Errorf("rounds ran in the order %s, want %s", got, want)
	}
	there, back := order[:len(order)/2], slices.Clone(order[len(order)/2:])
	if slices.Reverse(back); !slices.Equal(there, back) {
		t.Errorf("the second round ran in the order of %s, backwards; the first in that of %s", back, there)
	}
	if _, ok := rep.SecondCopy("fake", 1); !ok {
		t.Error("no figure for the second copy")
	}
	if len(f.requests("DELETE")) != 1 {
		t.Errorf("the container was not deleted once: %q", f.requests("DELETE"))
	}
	wantEmpty(t, dir)
}

// wantEmpty checks that nothing is left below dir.
func wantEmpty(t *testing.T, dir string) {
	t.Helper()
	filepath.WalkDir(dir, func(name string, _ fs.DirEntry, err error) error {
		if err != nil || name != dir {
			t.Errorf("left behind: %s (%v)", name, err)
		}
		return nil
	})
}

// TestRunBoundsNewData: a round of new data ends when it has written as much as it may, however much time there is.
func TestRunBoundsNewData(t *testing.T) {
	url, _ := startNull(t)
	o := tiny(newWire(t, WireOptions{Name: "null", URL: url, Unchecked: true, RoundBytes: 8 << 20}))
	o.Workloads, o.Connections, o.Duration, o.Settle = []Workload{workloads[0]}, []int{1}, time.Hour, t.TempDir()
	rep, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rep.Rows[0].Rounds {
		if r.Bytes != 8<<20 {
			t.Errorf("a round moved %d bytes", r.Bytes)
		}
	}
}

// TestInterrupt: what was measured before is reported, the round that was cut off is not, and everything is cleared away.
func TestInterrupt(t *testing.T) {
	f, dir := &fake{}, t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	rounds := 0
	o := tiny(newWire(t, WireOptions{Name: "fake", URL: startFake(t, f)}), NewDisk(dir))
	o.Connections = []int{2}
	o.Workloads = []Workload{workloads[0], workloads[2]}
	o.Events = &Events{Round: func(RoundEvent) {
		if rounds++; rounds == 3 { // one cell's second is next
			cancel()
		}
	}}
	rep, err := Run(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	if rep.Stopped != StoppedByCaller || len(rep.Rows) != 3 {
		t.Errorf("stopped %q with %d rows, want %q with 3", rep.Stopped, len(rep.Rows), StoppedByCaller)
	}
	if len(f.requests("DELETE")) != 1 {
		t.Error("the container was not deleted")
	}
	wantEmpty(t, dir)
}

// TestInterruptStalled: a server that does not answer any more cannot hold up the end.
func TestInterruptStalled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	hold := make(chan struct{})
	defer close(hold)
	f := &fake{}
	f.stall = func(r *http.Request) {
		if r.URL.Query().Get("comp") == "page" {
			cancel()
			<-hold
		}
	}
	o := tiny(newWire(t, WireOptions{Name: "fake", URL: startFake(t, f)}))
	o.Workloads = workloads[:1]
	rep, err := Run(ctx, o)
	if err != nil || rep.Stopped != StoppedByCaller || len(rep.Rows) != 0 {
		t.Errorf("report %+v, error %v", rep, err)
	}
	if len(f.requests("DELETE")) != 1 {
		t.Error("the container was not deleted")
	}
}

func TestLimit(t *testing.T) {
	o := tiny(newNullTarget(t))
	o.Workloads = workloads[2:3] // stores nothing in advance, so that the first round begins at once
	o.Rounds, o.Limit = 1_000_000, time.Second
	rep, err := Run(t.Context(), o)
	if err != nil || rep.Stopped != StoppedByLimit {
		t.Errorf("report %+v, error %v", rep, err)
	}
}

// TestErrorsAreOneClearLine: each names the target, its address, what was tried and what came of it.
func TestErrorsAreOneClearLine(t *testing.T) {
	f := func(target Target, parts ...string) {
		t.Helper()
		rep, err := Run(t.Context(), tiny(target))
		if err == nil || rep != nil {
			t.Fatalf("report %v, error %v; want an error", rep, err)
		}
		for _, part := range append(parts, target.Info().Where) {
			if !strings.Contains(err.Error(), part) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %q, want one line with %q", err, part)
			}
		}
	}
	url := startFake(t, &fake{})
	wrongKey, err := NewWire(WireOptions{Name: "peer", URL: url, Account: "devstoreaccount1", Key: []byte("wrong")})
	if err != nil {
		t.Fatal(err)
	}
	f(wrongKey, "peer", "create a container", "403 AuthenticationFailed", "failed to authenticate", "key of account devstoreaccount1")

	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close() // nobody is here now
	f(newWire(t, WireOptions{Name: "peer", URL: "http://" + ln.Addr().String()}), "peer", "connection refused")
	f(NewDisk(filepath.Join(t.TempDir(), "missing")), "no such file")
}

// TestWrongDataIsAnError: a target that answers reads with other bytes is not measured, whether the first look or a later
// one finds it.
func TestWrongDataIsAnError(t *testing.T) {
	reads := 0 // of one connection, one after the other
	for _, late := range []int{0, 2} {
		reads = 0
		f := &fake{spoil: func(_ *http.Request, p []byte) {
			if reads++; reads > late {
				p[8] ^= 1
			}
		}}
		o := tiny(newWire(t, WireOptions{Name: "peer", URL: startFake(t, f)}))
		o.Connections = []int{1}
		o.Workloads = named(t, "get-4m", "get-4k-random")
		if _, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "what was written") && !strings.Contains(err.Error(), "that was written") {
			t.Errorf("spoiled from read %d on: error %v", late, err)
		}
	}
}

// named returns the workloads of these names.
func named(t testing.TB, names ...string) []Workload {
	t.Helper()
	list, err := WorkloadsNamed(names)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestOptionsAreChecked(t *testing.T) {
	f := func(o Options, part string) {
		t.Helper()
		if _, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("error %v, want %q", err, part)
		}
	}
	disk := []Target{NewDisk(t.TempDir())}
	f(Options{}, "no targets")
	f(Options{Targets: disk, Connections: []int{0}}, "0 connections")
	f(Options{Targets: disk, Connections: []int{5000}}, "5000 connections")
	f(Options{Targets: disk, Rounds: -1}, "negative")
	f(Options{Targets: disk, Mix: Mix{Duplicate: 101}}, "101 % of duplicates")
	f(Options{Targets: disk, Mix: Mix{Compress: 0.5}}, "1/0.5")
	f(Options{Targets: disk, Mix: Mix{Compress: math.NaN()}}, "1/NaN")
}

// TestMeasureCountsAll: requests that are under way when the time is up count, with the time they take.
func TestMeasureCountsAll(t *testing.T) {
	boom := errors.New("boom")
	var n atomic.Int64
	ok := workerFunc(func() (int, error) { n.Add(1); return 10, nil })
	r, h, err := measure(t.Context(), []worker{ok}, time.Hour, 95)
	if err != nil || r.Ops != 10 || r.Bytes != 100 || h.Count() != 10 || n.Load() != 10 || r.Seconds <= 0 {
		t.Errorf("%+v, %d latencies, %v", r, h.Count(), err)
	}
	// One that is late makes a request all the same.
	if r, _, err := measure(t.Context(), []worker{ok, ok}, 0, 0); err != nil || r.Ops != 2 {
		t.Errorf("%+v, %v; want a request of each worker", r, err)
	}
	bad := workerFunc(func() (int, error) { return 0, boom })
	if _, _, err := measure(t.Context(), []worker{ok, bad, ok}, time.Hour, 1<<62); !errors.Is(err, boom) {
		t.Errorf("error %v, want %v", err, boom)
	}
}

// workerFunc is a worker that only counts.
type workerFunc func() (int, error)

func (f workerFunc) do() (int, error) { return f() }
func (workerFunc) close() error       { return nil }
