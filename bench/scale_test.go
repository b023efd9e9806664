//go:build !race

package bench

import (
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"pagevault/internal/testkit"
)

// TestScale measures a server whose index tells of many chunks beside one that is empty, through the protocol, in rounds
// that take turns, and compares the medians of latencies. See the test of this name in pagestore for the size and its
// environment variables; at the small size that CI runs, a bound only notices what grows with the store.
func TestScale(t *testing.T) {
	chunks := testkit.Scale(t, "PAGEVAULT_SCALE_CHUNKS", 200_000)
	ratioMax, rounds, duration, startMax := 4.0, 3, 100*time.Millisecond, time.Minute
	if chunks >= 50_000_000 {
		ratioMax, rounds, duration, startMax = 1.25, 9, 2*time.Second, 5*time.Second
	}
	const rssMax = 1536 << 20
	full := testkit.StartServer(t, testkit.ServerOptions{Data: filepath.Join(testkit.BigDir(t, "PAGEVAULT_SCALE_DIR"), "data")})
	full.Stop(t)
	out, err := exec.Command(testkit.Binary(t), "bench", "synthesize", "--data", full.Data(), "--chunks", strconv.Itoa(chunks)).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	began := time.Now()
	full.Start(t)
	took := time.Since(began)
	t.Logf("the server with %d chunks is ready after %v", chunks, took.Round(time.Millisecond))
	if took > startMax {
		t.Errorf("that is more than %v", startMax)
	}
	empty := testkit.StartServer(t, testkit.ServerOptions{})
	o := Options{Connections: []int{1}, Rounds: rounds, Duration: duration, SetBytes: 64 << 20, RoundBytes: 64 << 20,
		Targets: []Target{newWire(t, WireOptions{Name: "full", URL: full.URL(), PID: full.PID()}),
			newWire(t, WireOptions{Name: "empty", URL: empty.URL(), PID: empty.PID()})}}
	rep, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range DefaultWorkloads() {
		a, b := rep.Row(w.Name, 1, "full"), rep.Row(w.Name, 1, "empty")
		ratio := float64(a.P50Nanos) / float64(b.P50Nanos)
		t.Logf("%-14s p50 %9v  empty %9v  × %.2f  RSS %4d MiB, empty %4d MiB", w.Name, time.Duration(a.P50Nanos).Round(time.Microsecond),
			time.Duration(b.P50Nanos).Round(time.Microsecond), ratio, a.ServerRSSBytes>>20, b.ServerRSSBytes>>20)
		if ratio > ratioMax {
			t.Errorf("%s: the median with %d chunks is × %.2f of an empty store's, more than %.2f", w.Name, chunks, ratio, ratioMax)
		}
		if a.ServerRSSBytes > rssMax {
			t.Errorf("%s: the server takes %d MiB", w.Name, a.ServerRSSBytes>>20)
		}
	}
}
