package pagestore

import (
	"fmt"
	"time"

	"pagevault/internal/clock"
	"pagevault/pagestore/pagemap"
	"pagevault/replication"
)

// Kind says what is wrong, in a word that programs can rely on.
type Kind string

// Severity says what a problem means for what is stored.
type Severity string

const (
	// SeverityError is for bytes that cannot be read, and for rows that are not what the log says.
	SeverityError Severity = "error"
	// SeverityWarning is for damage that another copy makes up for, and for space that is taken and not needed.
	SeverityWarning Severity = "warning"
)

// Problem is one thing that a check has found. Fields that make no sense for its kind are zero.
type Problem struct {
	Kind     Kind
	Severity Severity

	Volume VolumeID // 0: none
	// The pages of the volume that it shows in, for who reads at a generation in [From, Until); Until GenHead: from From
	// on and as the volume is now.
	Pages       Range
	From, Until Gen

	Member int // the copy, from 1; 0: all of them, or none in particular
	// Where in the log: At.Segment is 0 if nowhere. Length in bytes; 0: unknown.
	At     replication.Position
	Length int64
	Frame  pagemap.FrameID
	Text   string // what was wanted and what was found

	blocks uint16 // of Frame, a bit each; 0: all of them
}

// The kinds of problems that a check of a store finds.
const (
	KindLogFile     Kind = "log-file"     // a file of the log beside its segments is missing, damaged, or too many
	KindLogSegment  Kind = "log-segment"  // a segment is damaged on a member
	KindLogLost     Kind = "log-lost"     // a segment is damaged on every member, in the same place
	KindRecordWrong Kind = "record-wrong" // a record has its checksums and makes no sense

	KindIndexDamaged  Kind = "index-damaged"  // the index's own files cannot be read
	KindIndexStopped  Kind = "index-stopped"  // the index has met a record that does not fit its counts; see Counters
	KindRowUnknown    Kind = "row-unknown"    // a row of no kind that there is
	KindRowDamaged    Kind = "row-damaged"    // a row that cannot be read
	KindHeaderWrong   Kind = "header-wrong"   // the header is not that of the log
	KindCounterWrong  Kind = "counter-wrong"  // a counter is not what the rows come to
	KindSegmentTotals Kind = "segment-totals" // what a segment is said to hold is not what its frames come to
	KindNextID        Kind = "next-id"        // an id is in use that would be given out again

	KindFrameMissing     Kind = "frame-missing"     // a page map leads to a frame or a block that is not there
	KindFramePosition    Kind = "frame-position"    // a frame is said to lie where the log holds no records
	KindFrameCopy        Kind = "frame-copy"        // a member cannot give a frame; another one can
	KindFrameLost        Kind = "frame-lost"        // no member can give a frame
	KindFrameUndecodable Kind = "frame-undecodable" // a frame has its checksum and cannot be opened or decompressed
	KindCountWrong       Kind = "count-wrong"       // a block is not referred to as often as its count says
	KindCountsUnknown    Kind = "counts-unknown"    // the counts could not be checked, since rows cannot be read
	KindSessionMissing   Kind = "session-missing"   // the salt of the key of a frame is not there

	KindChunkDangling  Kind = "chunk-dangling"  // a name leads to a frame or a block that is not there
	KindChunkWrong     Kind = "chunk-wrong"     // a name leads to bytes of another name
	KindRegionWrong    Kind = "region-wrong"    // the name of a region leads to bytes of another name
	KindRegionUnlinked Kind = "region-unlinked" // the name of a region and the list of names by frame disagree

	KindVolumeRows     Kind = "volume-rows"     // rows of a volume that does not exist
	KindGenerationRows Kind = "generation-rows" // generations of a volume and its row disagree
	KindFoldMark       Kind = "fold-mark"       // a region is marked as fragmented and is not, or the reverse
	KindSummaryWrong   Kind = "summary-wrong"   // the saved summary of names cannot be read
)

// ofContent are the kinds that concern whoever shows the content of the frame: the others are about the index's own use.
var ofContent = map[Kind]bool{KindFramePosition: true, KindFrameCopy: true, KindFrameLost: true, KindFrameUndecodable: true,
	KindCountWrong: true, KindSessionMissing: true, KindChunkWrong: true, KindRowDamaged: true}

// String returns the problem as a line without the names that only the layer above knows.
func (p *Problem) String() string {
	s := fmt.Sprintf("%s: %s:", p.Severity, p.Kind)
	if p.Volume != 0 {
		s += fmt.Sprintf(" volume %d", p.Volume)
		if p.Pages.Start < p.Pages.End {
			s += fmt.Sprintf(" pages [%d,%d)", p.Pages.Start, p.Pages.End)
		}
	}
	return s + p.Where() + " " + p.Text
}

// Where returns member, segment, offset and frame, as far as they are known, each with a space before it.
func (p *Problem) Where() (s string) {
	if p.Member != 0 {
		s += fmt.Sprintf(" member %d", p.Member)
	}
	if p.At.Segment != 0 {
		s += fmt.Sprintf(" %v", p.At)
	}
	if p.Frame != 0 {
		s += fmt.Sprintf(" frame %d", p.Frame)
	}
	return s
}

// CheckLevel says how much a check reads.
type CheckLevel uint8

const (
	// CheckFull reads every byte of every copy. It is the default.
	CheckFull CheckLevel = iota
	// CheckQuick reads the index only: every row, and all counts from scratch.
	CheckQuick
)

// CheckOptions configures a check.
type CheckOptions struct {
	Level CheckLevel
	// Found is called for each problem, from one goroutine. A problem with a frame is reported once for each place that
	// shows it, or once without a volume if none does.
	Found func(Problem)
	// Progress is called now and then, from the same goroutine. nil: never.
	Progress func(CheckProgress)
	// Rate bounds how many bytes of the log are read in a second, all members together. 0: no bound.
	Rate  int64
	Clock clock.Clock // nil: the machine's
}

// CheckProgress is how far a check has come.
type CheckProgress struct {
	Phase string // what is being looked at
	Bytes int64  // of the log that were read so far, all members together
	Total int64  // of these that will be
	Rows  int64  // of the index that were read so far
}

// CheckSummary says what a check has looked at. Whatever it did not reach before it was cancelled is not in it.
type CheckSummary struct {
	Applied  uint64 // LSN of the state of the index that was checked
	Last     uint64 // LSN of the last record of the log; those after Applied were checked as bytes of the log only
	Segments int64  // files, of all members
	Records  int64  // of all members
	Bytes    int64  // read from the log, all members together
	Rows     int64  // of the index
	Frames   int64  // read, opened and compared with their names
	Chunks   int64  // names of chunks
	Regions  int64  // names of regions
	Volumes  int64
	Took     time.Duration

	Unopened   string // why nothing but files was looked at; "": more was
	Unfinished int    // files that a crash has left unfinished; the next opening completes them
	Uncounted  int    // counts that are wrong beside those reported, of which there are many
	Unnamed    bool   // some problems could not be traced to the volumes that show them
}
