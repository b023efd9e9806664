package blobstore

import (
	"cmp"
	"fmt"
	"strconv"

	"pagevault/pagestore"
)

// Problem is one thing that a check has found, in the words of the blob service. Fields that make no sense for its kind
// are empty. Each is one line of JSON; see WriteCheckEvent.
type Problem struct {
	Severity  pagestore.Severity `json:"severity"` // "error" or "warning"
	Kind      pagestore.Kind     `json:"kind"`
	Account   string             `json:"account"`
	Container string             `json:"container,omitempty"`
	Blob      string             `json:"blob,omitempty"`
	Snapshot  string             `json:"snapshot,omitempty"` // its id; "": the blob itself, or a version
	Version   string             `json:"version,omitempty"`  // the id of a previous version; "": the blob itself, or a snapshot
	Offset    int64              `json:"offset"`             // first byte of the blob that shows it
	Length    int64              `json:"length,omitempty"`   // bytes of the blob; 0: not about bytes of a blob
	Volume    uint64             `json:"volume,omitempty"`
	Member    int                `json:"member,omitempty"` // the copy, from 1; 0: all of them, or none in particular

	Segment       uint32 `json:"segment,omitempty"` // 0: not about a place in the log
	SegmentOffset uint32 `json:"segmentOffset,omitempty"`
	SegmentLength int64  `json:"segmentLength,omitempty"` // bytes; 0: unknown
	Frame         uint64 `json:"frame,omitempty"`
	Text          string `json:"text"` // what was wanted and what was found
}

// The kinds of problems of the blob service's own rows. Those of the store below are in pagestore.
const (
	KindUserRowUnknown    pagestore.Kind = "blob-row-unknown"   // a row of no table that there is
	KindUserRowDamaged    pagestore.Kind = "blob-row-damaged"   // a row that cannot be read
	KindContainerIDs      pagestore.Kind = "container-id"       // two containers of one id, or one that would be given out again
	KindContainerMissing  pagestore.Kind = "container-missing"  // blobs of a container that does not exist
	KindBlobMissing       pagestore.Kind = "blob-missing"       // snapshots of a blob that does not exist
	KindSnapshotCount     pagestore.Kind = "snapshot-count"     // a blob counts other snapshots than there are
	KindVolumeMissing     pagestore.Kind = "volume-missing"     // a blob whose pages are not there
	KindVolumeShared      pagestore.Kind = "volume-shared"      // two blobs with the same pages
	KindVolumeLeaked      pagestore.Kind = "volume-leaked"      // pages of no blob
	KindGenMissing        pagestore.Kind = "generation-missing" // a snapshot whose pages are not there
	KindGenLeaked         pagestore.Kind = "generation-leaked"  // pages of no snapshot
	KindPagesBeyond       pagestore.Kind = "pages-beyond-size"  // valid pages behind the end of a blob
	KindBlockList         pagestore.Kind = "block-list"         // a block blob whose list cannot be read, or does not go with the rest
	KindStagedBlocks      pagestore.Kind = "staged-blocks"      // other blocks wait to be committed than a blob says
	KindTagMissing        pagestore.Kind = "tag-missing"        // a blob that a search by one of its tags would not find
	KindTagStale          pagestore.Kind = "tag-stale"          // a search by a tag would find a blob that does not have it
	KindProtectionUnnoted pagestore.Kind = "protection-unnoted" // a protected blob, in a container that is not said to have any
	KindExpiryWrong       pagestore.Kind = "expiry-wrong"       // something deleted that would not go, or not when it should
	KindTotalsWrong       pagestore.Kind = "totals-wrong"       // what the account is said to have is not what a recount gives
)

// String returns the problem as a line for people.
func (p *Problem) String() string {
	s := fmt.Sprintf("%s: %s: account %s", p.Severity, p.Kind, p.Account)
	if p.Container != "" {
		s += " container " + p.Container
	}
	if p.Blob != "" {
		s += " blob " + quoteName(p.Blob)
	}
	if p.Snapshot != "" {
		s += " snapshot " + p.Snapshot
	}
	if p.Version != "" {
		s += " version " + p.Version
	}
	if p.Length > 0 {
		s += fmt.Sprintf(" bytes [%d,%d)", p.Offset, p.Offset+p.Length)
	}
	if p.Blob == "" && p.Volume != 0 {
		s += fmt.Sprintf(" volume %d", p.Volume)
	}
	if p.Member != 0 {
		s += fmt.Sprintf(" member %d", p.Member)
	}
	if p.Segment != 0 {
		s += fmt.Sprintf(" segment %d offset %d", p.Segment, p.SegmentOffset)
	}
	if p.Frame != 0 {
		s += fmt.Sprintf(" frame %d", p.Frame)
	}
	return s + ": " + p.Text
}

// quoteName returns a blob's name as it is if it is plain, and quoted if it could be read as something else.
func quoteName(name string) string {
	for _, c := range name {
		if c <= ' ' || c == '"' || c == ':' || !strconv.IsPrint(c) {
			return strconv.Quote(name)
		}
	}
	return name
}

// problem turns what the store below has found into the words of this layer, without the names of blobs.
func (c *checker) problem(p *pagestore.Problem) Problem {
	return Problem{
		Severity: p.Severity, Kind: p.Kind, Account: c.account, Volume: uint64(p.Volume), Member: p.Member,
		Segment: uint32(p.At.Segment), SegmentOffset: p.At.Offset, SegmentLength: p.Length, Frame: uint64(p.Frame), Text: p.Text,
	}
}

// blobProblem is a problem of a blob, a snapshot or a version.
func (c *checker) blobProblem(severity pagestore.Severity, kind pagestore.Kind, at *blobName, volume pagestore.VolumeID, format string, args ...any) Problem {
	p := Problem{Severity: severity, Kind: kind, Account: c.account, Volume: uint64(volume), Text: fmt.Sprintf(format, args...)}
	c.locate(&p, at)
	return p
}

// locate says which blob, snapshot or version the problem is of.
func (c *checker) locate(p *Problem, at *blobName) {
	p.Container, p.Blob = c.containerName(at.container), at.name
	if at.version {
		p.Version = at.snapshot.String()
	} else {
		p.Snapshot = at.snapshot.String()
	}
}

// containerName returns the name of a container, or what can be said of one that has none.
func (c *checker) containerName(id containerID) string {
	return cmp.Or(c.containers[id].name, fmt.Sprintf("#%d", uint64(id)))
}
