//go:build !race

package pagestore

const raceScale = 1

// modelOps is how many operations TestModel makes by default; make model has it make more.
const modelOps = 5_000
