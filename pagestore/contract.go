package pagestore

import (
	"errors"
)

// PageSize is the unit in which volumes are addressed, in bytes.
const PageSize = 512

// PageNo numbers the 512-byte pages of a volume from 0.
type PageNo uint64

// Range is a run of pages [Start, End).
type Range struct{ Start, End PageNo }

// VolumeID names a volume: an endless row of pages, all invalid (and reading as zeros) until written. IDs are never reused.
type VolumeID uint64

// Gen is a generation of a volume. A volume starts in generation 1; Freeze ends a generation. Reading at generation g
// shows the volume as it was when g ended, or as it is now if g is the current one.
type Gen uint32

var (
	ErrReadOnly = errors.New("store is read-only") // the log can no longer take writes; wraps nothing secret, says why
	ErrCorrupt  = errors.New("stored data is damaged")
	ErrClosed   = errors.New("store is closed")
	ErrNoVolume = errors.New("no such volume")
)
