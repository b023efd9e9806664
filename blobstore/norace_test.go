//go:build !race

package blobstore

// modelOps is how many requests TestModel makes by default; make model has it make more.
const modelOps = 5_000
