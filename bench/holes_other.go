//go:build !linux

package bench

import "os"

// nextData returns off: where the holes of a file are is not asked for here.
func nextData(_ *os.File, off, _ int64) (int64, error) { return off, nil }
