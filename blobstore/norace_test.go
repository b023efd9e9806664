//go:build !race

package blobstore

// modelOps is how many requests TestModel makes by default.
const modelOps = 20_000
