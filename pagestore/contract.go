package pagestore

import (
	"errors"

	"pagevault/pagestore/pagemap"
)

// PageSize is the unit in which volumes are addressed, in bytes.
const PageSize = pagemap.PageBytes

// RegionPages is how many aligned pages share an entry of the page map, and have one fingerprint if they are written as a whole.
const RegionPages = pagemap.RegionPages

// ChunkPages is how many aligned pages are fingerprinted, and stored once, as one. Pages of a write that are no whole chunk are
// stored anew each time.
const ChunkPages = pagemap.ChunkPages

// PageNo numbers the 512-byte pages of a volume from 0.
type PageNo uint64

// Range is a run of pages [Start, End).
type Range struct{ Start, End PageNo }

// AllPages is the range of every page a volume can have.
var AllPages = Range{0, maxPages}

// VolumeID names a volume: an endless row of pages, all invalid (and reading as zeros) until written. IDs are never
// reused.
type VolumeID uint64

// Gen is a generation of a volume. A volume starts in generation 1; Freeze ends a generation. Reading at generation g
// shows the volume as it was when g ended, or as it is now if g is the current one. Large clears end generations too,
// so generations that Freeze returns are not consecutive; only those and the current one can be read.
type Gen uint32

// GenHead stands for the current generation: the volume as it is now.
const GenHead Gen = 0

var (
	// ErrReadOnly is returned by updates after the log or the index has failed; it comes wrapped with the cause.
	ErrReadOnly = errors.New("store is read-only")
	// ErrCorrupt marks stored data that is damaged in every copy, or records and rows that contradict each other.
	ErrCorrupt = errors.New("stored data is damaged")
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("store is closed")
	// ErrIndexUnusable is returned by OpenReadOnly for an index that Open would make anew.
	ErrIndexUnusable = errors.New("the next start makes it anew")
	// ErrNoVolume is returned for a volume that was never created or was dropped.
	ErrNoVolume = errors.New("no such volume")
	// ErrNoGeneration is returned for a generation that has not been reached, was not frozen, or was thawed.
	ErrNoGeneration = errors.New("no such generation")
	// ErrBadRange is returned for pages or lengths that are no range of whole pages of a volume.
	ErrBadRange = errors.New("bad page range")
)
