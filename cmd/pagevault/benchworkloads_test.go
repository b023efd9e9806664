package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pagevault/bench"
)

func TestBenchList(t *testing.T) {
	out, _, err := runBench(t, "--list")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != len(bench.Workloads())+3 {
		t.Errorf("%d lines", len(lines))
	}
	for _, w := range bench.Workloads() {
		if !strings.Contains(out, "  "+w.Name+" ") || !strings.Contains(out, "  "+w.About+"\n") {
			t.Errorf("no line about %s in\n%s", w.Name, out)
		}
	}
}

// TestBenchChosen measures sizes, a mix and data that are not the usual ones, and finds in the report what was asked for,
// but not the key.
func TestBenchChosen(t *testing.T) {
	url := serveNull(t)
	out, _, err := runBench(t, "--target", url, "--peers", "", "--quick", "--rounds", "1", "--duration", "5ms", "--connections", "1",
		"--workload", "put-*-random,mixed-4k", "--block-size", "512,64k", "--reads", "0", "--duplicate", "50", "--compressible", "2",
		"--account", "acc:c2VjcmV0", "--json", "-")
	if err != nil {
		t.Fatal(err)
	}
	var r bench.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, w := range r.Workloads {
		names = append(names, w.Name)
	}
	if got := strings.Join(names, " "); got != "put-512-random put-64k-random mixed-512 mixed-64k" || len(r.Rows) != 4 {
		t.Errorf("%s, %d rows", got, len(r.Rows))
	}
	if !strings.HasPrefix(r.Workloads[2].About, "0 % Get Blob") || r.Mix == nil || *r.Mix != (bench.Mix{Duplicate: 50, Compress: 2}) {
		t.Errorf("%+v %+v", r.Workloads[2], r.Mix)
	}
	if !strings.Contains(r.Command, "--account acc:… ") || !strings.Contains(r.Command, "--block-size 512,64k") ||
		!strings.Contains(r.Command, " --quick ") || strings.Contains(r.Command, "c2VjcmV0") {
		t.Errorf("command %s", r.Command)
	}
}

// TestBenchProgressLine: one line, with what is left.
func TestBenchProgressLine(t *testing.T) {
	got := roundLine(bench.RoundEvent{Round: 2, Rounds: 5, Target: "pagevault", Workload: "get-4m", Connections: 16, OpsPerSecond: 100.4,
		BytesPerSecond: 421e6, Done: 25, Total: 100, Elapsed: 20 * time.Second})
	if want := " 25 % 1m0s left | round 2 of 5 | get-4m × 16 | pagevault: 421 MB/s 100 ops/s"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestBenchTrace replays a file, alone and beside others; an error names the file and the line.
func TestBenchTrace(t *testing.T) {
	url, file := serveNull(t), filepath.Join(t.TempDir(), "vm.trace")
	if err := os.WriteFile(file, []byte("0 4096 w a\n4096 8192 r\n0 512 d\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	args := []string{"--compare", url, "--rounds", "1", "--duration", "5ms", "--connections", "1", "--trace", file}
	out, _, err := runBench(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out, "\ntrace: replay of vm.trace: 1 read, 1 write and 1 discard, 0.01 MB, on a disk of 0.01 MB\n") || strings.Contains(out, "put-") {
		t.Errorf("table\n%s", out)
	}
	out, _, err = runBench(t, append(args, "--workload", "put-4k-random")...)
	if err != nil || !strings.Contains(out, "\ntrace: ") || !strings.Contains(out, "\nput-4k-random: ") {
		t.Errorf("%v, table\n%s", err, out)
	}
	if err := os.WriteFile(file, []byte("0 4096 w\n0 4096 write\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, _, err = runBench(t, args...); err == nil || !strings.Contains(err.Error(), `vm.trace: line 2: operation "write"`) {
		t.Errorf("error %v", err)
	}
}
