//go:build !linux

package replication

import "github.com/cockroachdb/pebble/v2/vfs"

// dropCached does nothing: what the operating system keeps in memory is read from there.
func dropCached(vfs.File, int64, int64) {}
