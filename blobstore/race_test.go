//go:build race

package blobstore

// modelOps is how many requests TestModel makes by default. It has one goroutine of its own, so the race detector has
// little to find in it and makes it ten times slower.
const modelOps = 500
