package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"pagevault/bench"
	"pagevault/internal/testkit"
)

// serveNull serves a null server in this process until the test ends and returns its URL.
func serveNull(t *testing.T) (url string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- runNullServer(ctx, "127.0.0.1:0", writer) }()
	line, err := bufio.NewReader(reader).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
		reader.Close()
		writer.Close()
	})
	url, ok := findEndpoint(line)
	if !ok {
		t.Fatalf("no address in %q", line)
	}
	return url
}

// runBench runs the command in this process.
func runBench(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	c := newBench()
	c.SilenceErrors, c.SilenceUsage = true, true
	var out, errs bytes.Buffer
	c.SetOut(&out)
	c.SetErr(&errs)
	c.SetArgs(args)
	err = c.ExecuteContext(t.Context())
	return out.String(), errs.String(), err
}

// TestBenchTargets measures a target and the disk, as a table with files of JSON, CSV and HTML, and as JSON only.
func TestBenchTargets(t *testing.T) {
	url, dir := serveNull(t), t.TempDir()
	file := filepath.Join(t.TempDir(), "report.json")
	args := []string{"--target", url, "--peers", "disk", "--dir", dir, "--quick", "--rounds", "1", "--duration", "10ms",
		"--workload", "put-4k-random,put-4m-dup", "--connections", "2"}
	out, progress, err := runBench(t, append(args, "--json", file, "--csv", file+".csv", "--html", file+".html")...)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out, "put-4k-random: ") || !strings.Contains(out, "× raw disk") || strings.Contains(out, "put-4m-new: ") {
		t.Errorf("table:\n%s", out)
	}
	if progress != "round 1 of 1\n" {
		t.Errorf("progress %q", progress)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for ending, want := range map[string]string{".csv": ",put-4m-dup,2,", ".html": `<section id="put-4m-dup">`} {
		if text, err := os.ReadFile(file + ending); err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%s: no %s, %v", ending, want, err)
		}
	}
	only, _, err := runBench(t, append(args, "--json", "-")...)
	if err != nil {
		t.Fatal(err)
	}
	for _, j := range []string{string(text), only} {
		var r bench.Report
		if err := json.Unmarshal([]byte(j), &r); err != nil || len(r.Rows) != 3 || r.Rows[0].Connections != 2 {
			t.Errorf("report %s: %v", j, err)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestBenchErrors: what is wrong is said on one line.
func TestBenchErrors(t *testing.T) {
	f := func(want string, args ...string) {
		t.Helper()
		out, _, err := runBench(t, args...)
		if err == nil || out != "" || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: output %q, error %v; want one line with %q", args, out, err, want)
		}
	}
	f(`--target: "nonsense" is not the URL of a Blob endpoint`, "--target", "nonsense")
	f("--account must be NAME:KEY", "--target", "http://127.0.0.1:1", "--account", "name")
	f("--account must be NAME:KEY", "--target", "http://127.0.0.1:1", "--account", "name:not base64")
	f(`no workload "put-5m": did you mean get-4m, put-4m-new, put-4m-dup?`, "--workload", "put-5m")
	f("--all and --workload exclude each other", "--all", "--workload", "get-4m")
	f(`--block-size: "3k" is no size of a request: a power of two from 512 to 4m`, "--block-size", "4k,3k")
	f("--reads must be from 0 to 100", "--reads", "101")
	f("101 % of duplicates", "--duplicate", "101", "--peers", "disk", "--dir", t.TempDir())
	f("1/99", "--compressible", "99", "--peers", "disk", "--dir", t.TempDir())
	f(`--compare: no target "azurit": did you mean azurite?`, "--compare", "null,azurit")
	f(`--compare: no target "s3"`, "--peers", "s3")
	f("- prints one of --json and --csv", "--json", "-", "--csv", "-")
	f("must be positive", "--rounds", "0")
	f("must be positive", "--duration", "-1s")
	f("0 connections", "--connections", "0", "--peers", "disk", "--dir", t.TempDir())

	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close() // nobody is here now
	f("connection refused", "--compare", "http://"+ln.Addr().String()+"/acc?srt=sco&sig=secret")
	f("connection refused", "--target", "http://"+ln.Addr().String(), "--peers", "disk", "--dir", t.TempDir())
}

// TestBenchInterrupt starts the real binary with peers of its own, presses Ctrl-C in its second round, and finds a table
// with what the first has found, status 1, and neither files nor processes left behind.
func TestBenchInterrupt(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(testkit.Binary(t), "bench", "--quick", "--rounds", "1000", "--duration", "10ms", "--connections", "2",
		"--workload", "put-4m-new,put-4m-dup", "--dir", dir)
	var out bytes.Buffer
	cmd.Stdout = &out
	progress, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
	defer kill.Stop()
	var last string
	for lines := bufio.NewScanner(progress); lines.Scan(); {
		if last = lines.Text(); last == "round 2 of 1000" {
			if err := cmd.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
		}
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(last, "interrupted: the report holds the rounds that were finished") {
		t.Errorf("ended with %v and %q", err, last)
	}
	for _, want := range []string{"interrupted: not all rounds were run", "pagevault --memory", "null server", "raw disk", "× as fast"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	wantNobodyAt(t, out.String())
}

// wantNobodyAt checks that nobody answers any more at the addresses that the table names.
func wantNobodyAt(t *testing.T, table string) {
	t.Helper()
	servers := regexp.MustCompile(`http://([0-9.:]+)/`).FindAllStringSubmatch(table, -1)
	if len(servers) != 3 {
		t.Errorf("the table names %d servers of three", len(servers))
	}
	for _, m := range servers {
		if nc, err := net.Dial("tcp", m[1]); err == nil {
			nc.Close()
			t.Errorf("the server at %s is still there", m[1])
		}
	}
}

// TestBenchQuickFits: what --quick asks for ends in less than a minute whatever the targets do.
func TestBenchQuickFits(t *testing.T) {
	f := benchFlags{quick: true, rounds: 5, duration: time.Second, connections: []int{1, 16}}
	o, err := f.options(func(string) bool { return false })
	if err != nil || o.Limit <= 0 || o.Limit >= time.Minute || o.Rounds != 3 || o.Duration >= time.Second {
		t.Errorf("%+v, %v", o, err)
	}
	f.all = true
	if o, err = f.options(func(string) bool { return false }); err != nil || o.Limit != 0 || o.Rounds != 3 {
		t.Errorf("--all is cut off: %+v, %v", o, err)
	}
	f.rounds, f.duration, f.limit = 9, time.Hour, 2*time.Hour
	o, err = f.options(func(string) bool { return true })
	if err != nil || o.Rounds != 9 || o.Duration != time.Hour || o.Limit != 2*time.Hour {
		t.Errorf("flags that were given do not count: %+v, %v", o, err)
	}
}
