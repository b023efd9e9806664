//go:build race

package pagestore

// raceScale divides the sizes of random tests under the race detector, which makes them ten times as slow.
const raceScale = 5
