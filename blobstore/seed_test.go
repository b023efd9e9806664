package blobstore

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

// seeded returns a source of random numbers and its seed, which it logs. PAGEVAULT_SEED replays a run.
func seeded(t testing.TB) (*rand.Rand, uint64) {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if v := os.Getenv("PAGEVAULT_SEED"); v != "" {
		var err error
		if seed, err = strconv.ParseUint(v, 10, 64); err != nil {
			t.Fatalf("PAGEVAULT_SEED: %v", err)
		}
	}
	t.Logf("replay with PAGEVAULT_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0)), seed
}
