package blobstore

import (
	"math/rand/v2"
	"testing"

	"pagevault/internal/testkit"
)

// seeded returns a source of random numbers whose seed is logged and can be set; see testkit.Seed.
func seeded(t testing.TB) *rand.Rand {
	t.Helper()
	return rand.New(rand.NewPCG(testkit.Seed(t), 0))
}
