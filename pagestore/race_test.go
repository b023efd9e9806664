//go:build race

package pagestore

// raceScale divides the sizes of random tests under the race detector, which makes them ten times as slow.
const raceScale = 5

// modelOps is how many operations TestModel makes by default. It makes one at a time, so the race detector has little to
// find in it.
const modelOps = 1_000
