//go:build !unix

package pagestore

// outsideHeap returns nil: words come from the heap here.
func outsideHeap(int) (words []uint64, free func()) { return nil, nil }
