//go:build !linux

package bench

import "os"

// syncData returns when what was written to f is on the disk, along with what is needed to find it.
func syncData(f *os.File) error { return f.Sync() }

// reserve does nothing where there is no common call for it.
func reserve(*os.File, int64, int64) {}

// syncDisk does nothing where there is no common call for it.
func syncDisk(string) {}
