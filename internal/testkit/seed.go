package testkit

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
)

// SeedEnv names the environment variable that replays the random choices of a test.
const SeedEnv = "PAGEVAULT_SEED"

// Seed returns the seed of a test's random choices, from SeedEnv or a new one, and logs how to have it again.
func Seed(t testing.TB) uint64 {
	t.Helper()
	seed := rand.Uint64()
	if text := os.Getenv(SeedEnv); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("%s: %v", SeedEnv, err)
		}
	}
	t.Logf("%s=%d replays the choices", SeedEnv, seed)
	return seed
}

// Scale returns how much of its work a test does: what the environment variable says, or normal.
func Scale(t testing.TB, env string, normal int) int {
	t.Helper()
	text := os.Getenv(env)
	if text == "" {
		return normal
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s=%q is not a number of at least 1", env, text)
	}
	return n
}
