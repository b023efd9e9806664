//go:build !unix

package replication

// cutReserved does nothing: the blocks are given back when the segment is rewritten or removed.
func cutReserved(uintptr, int64) error { return nil }
