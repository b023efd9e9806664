package bench

import (
	"testing"
	"time"

	"pagevault/internal/testkit"
)

// secondCopyFactor is how much faster the second copy of some data must be stored than the first, at least. The first
// goes to the disk three times over, the second as references; on any machine where both are not lost in the noise the
// factor is several times this.
const secondCopyFactor = 1.3

// TestSecondCopyIsFaster writes new data and data already stored to the real server on disk, in rounds that take turns,
// and compares the medians.
func TestSecondCopyIsFaster(t *testing.T) {
	server := testkit.StartServer(t, testkit.ServerOptions{})
	o := tiny(newWire(t, WireOptions{Name: "pagevault", URL: server.URL()}))
	o.Workloads, o.Connections = workloads[:2], []int{4}
	// 64 MiB of new data a round, many times what a disk takes without waiting for it; as much again stored in advance.
	o.Rounds, o.Duration, o.RoundBytes, o.SetBytes = 5, 400*time.Millisecond, 64<<20, 64<<20
	rep, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	ratio, ok := rep.SecondCopy("pagevault", 4)
	if !ok {
		t.Fatal("one of the two was not measured")
	}
	first, second := rep.Row("put-4m-new", 4, "pagevault"), rep.Row("put-4m-dup", 4, "pagevault")
	t.Logf("first copy %.0f MB/s, second copy %.0f MB/s: %.1f × as fast", first.BytesPerSecond/1e6, second.BytesPerSecond/1e6, ratio)
	if ratio < secondCopyFactor {
		t.Errorf("the second copy is stored %.2f × as fast as the first, want at least %.1f; rounds %+v, %+v",
			ratio, secondCopyFactor, first.Rounds, second.Rounds)
	}
}
