package replication

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pagevault/internal/clock"
	"pagevault/replication/segment"
)

// LSN numbers records: 1, 2, 3 … without gaps, in the order of Append.
type LSN = segment.LSN

// SegmentID numbers segments: 1, 2, 3 … in the order they were opened. Zero is no segment.
type SegmentID = segment.ID

// Position is where a byte of a record lies: segment and offset from the segment file's start. All members hold the
// same bytes at the same position.
type Position struct {
	Segment SegmentID
	Offset  uint32
}

// String returns segment and offset, as used in errors.
func (p Position) String() string { return fmt.Sprintf("segment %d offset %d", p.Segment, p.Offset) }

// Record is one entry of the log. Meta and Data are opaque here. Meta is what a replay reads; Data is the bulk it can
// skip. Data is given in parts so that the bytes of a request need not be copied together.
//
// From Append until Next returns it, a record and the bytes it points to belong to the log and must not be changed.
type Record struct {
	Meta []byte
	Data [][]byte

	LSN  LSN      // set by Append
	At   Position // position of the first byte of Data, set before Next returns the record
	User any      // the caller's, untouched

	summed  bool // dataLen and dataCRC are those of Data
	dataLen int64
	dataCRC uint32
	metaCRC uint32
}

// Reset makes r an empty record for another use, keeping the memory of Meta and Data.
func (r *Record) Reset() {
	clear(r.Data)
	*r = Record{Meta: r.Meta[:0], Data: r.Data[:0]}
}

// Prepare computes the checksum of Data. Append does it otherwise; a caller that appends under a lock of its own calls
// Prepare before taking it. Data must not change between Prepare and Append. One Prepare serves one Append.
func (r *Record) Prepare() {
	r.dataLen, r.dataCRC = 0, 0
	for _, p := range r.Data {
		r.dataLen += int64(len(p))
		r.dataCRC = segment.Checksum(r.dataCRC, p)
	}
	r.summed = true
}

// Member is one copy's home: a directory of a file system. Each member should have a disk of its own.
type Member struct {
	FS  vfs.FS // nil: the operating system's
	Dir string // made if it does not exist
}

// membersMax is how many members a log may have: as many as there are bits in a Set.
const membersMax = 64

// Options configures a Log. The zero value of every field is a sound default.
type Options struct {
	// SegmentBytes is the size at which a segment is sealed, footer included; a larger record gets a segment of its own.
	// 0: 256 MiB, so that copying one to repair a member takes seconds.
	SegmentBytes int64
	// MaxRecordBytes bounds a record (Meta, Data, header); Append refuses larger ones. 0: 16 MiB.
	MaxRecordBytes int
	// QueueBytes bounds the bytes appended and not yet durable; Append blocks above it. 0: 64 MiB.
	QueueBytes int64
	Events     *Events     // optional callbacks
	Clock      clock.Clock // nil: the system's

	// MinReplicas is how many current members writing needs. 0: what the members were told before; of a new log 2, and 1 of
	// a log of one member.
	MinReplicas int
	// StallAfter is how long one member may take for a write that others have finished, before the log goes on without it.
	// 0: 2 s, longer than a disk that is only busy takes, and short enough for clients to wait.
	StallAfter time.Duration
	// HedgeAfter is how long one member may take for a read before another is asked as well. 0: 50 ms.
	HedgeAfter time.Duration
	// Redundancy is how sealed segments are kept.
	Redundancy Redundancy
	// KeepRedundancy has a log that there is keep its segments as the members were told before, whatever Redundancy says.
	KeepRedundancy bool
	// RepairBytesPerSecond bounds what catching up, healing, scrubbing and converting read. 0: 128 MiB.
	RepairBytesPerSecond int64
	// ScrubEvery is how often all that the members hold is read and compared. 0: 7 days; below 0: never.
	ScrubEvery time.Duration
	// ForceMinority opens the log with members that may lack what absent ones have. What only those have is lost.
	ForceMinority bool
	// Passive leaves out what goes on in the background by itself. For tests.
	Passive bool

	repairAtOpen int64 // instead of repairAtOpenMax, in tests; 0: that
}

// Events are optional callbacks for logs and metrics. They are called without locks held, by the goroutine that Open,
// ReadAt or the commit loop runs on, so they must be quick and must not call the Log.
type Events struct {
	// Recovered is called once by Open, also when there was nothing to repair.
	Recovered func(Recovery)
	// Sealed is called when a segment has become immutable on every member.
	Sealed func(SealedSegment)
	// Failed is called once, when the log stops taking records for good.
	Failed func(error)
	// MemberState is called when a member has become something else.
	MemberState func(MemberChange)
	// Halted is called when too few members can be written: the log takes no records until Resumed is called. The error is
	// that of Available.
	Halted  func(error)
	Resumed func()
	// Healed is called when a member's copy of a file was completed or made again while the log is open.
	Healed func(Repair)
	// Unhealable is called when bytes are found that no member that is there has as they were written, once for each segment.
	Unhealable func(Problem)
	// Scrubbed is called when everything that the members hold has been read and compared.
	Scrubbed func(ScrubResult)
	// ReadFailed is called when a member could not give bytes it should hold; another member was asked, if there is one.
	ReadFailed func(member int, at Position, err error)
}

// Recovery says what Open found and did.
type Recovery struct {
	Created  bool     // there was no log; one was made
	Segments int      // sealed segments now there
	Last     LSN      // of the last record; 0: none
	Sealed   int      // segments a crash had left open, now sealed
	Removed  int      // segments without a record, left by a crash while they were created
	Repaired []Repair // copies that were not as they should be
	Dropped  int      // files of dropped segments that a crash had left, now removed
	CutBytes int64    // bytes of unfinished records behind the last whole one, the longest on any member
}

// Repair is one member's copy of a file that was completed or made again from other members.
type Repair struct {
	Member  int
	Segment SegmentID // 0: File is no segment
	File    string    // its name in the member's directory: "MEMBER", "CHECKPOINT", "checkpoint/…"; "" for a segment
	Bytes   int64     // written
	Reason  string
}

// SealedSegment describes a segment that has become immutable.
type SealedSegment struct {
	ID          SegmentID
	First, Last LSN
	Bytes       int64         // of the file, footer included, on each member
	Took        time.Duration // for footer, sync, rename and sync of the directory, all members
}

// SegmentInfo describes one segment that is there.
type SegmentInfo struct {
	ID          SegmentID
	First, Last LSN   // Last is First - 1 while the segment holds no durable record
	Bytes       int64 // of the file on each member, footer included once it is sealed
	DataBytes   int64 // of these, Data of records
	Sealed      bool
}

// CheckpointFile is one file of a checkpoint, for SaveCheckpoint.
type CheckpointFile struct {
	Name string                        // what RestoreCheckpoint calls it; no two of a checkpoint have the same
	Size int64                         // bytes, exactly what Open gives
	Key  string                        // the same key is the same bytes, today and in earlier checkpoints; "": unknown
	Open func() (io.ReadCloser, error) // called at most once, if the members do not have the bytes yet
}

// CheckpointInfo describes the checkpoint that all members hold.
type CheckpointInfo struct {
	LSN   LSN // it stands for the records [1, LSN]
	Bytes int64
	Files int
	Time  time.Time
}

// Stats counts what the log holds and has done since Open.
type Stats struct {
	Segments int   // files, the open one included
	Bytes    int64 // of all segment files of one member
	Last     LSN   // the last durable record
	Records  int64 // made durable since Open
	Batches  int64 // groups in which they were written
	Syncs    int64 // of files and directories, all members together
	Sealed   int64 // segments sealed since Open
	Queued   int64 // bytes appended and not yet durable

	DataBytes       int64 // of Bytes, Data of records
	CheckpointLSN   LSN   // the checkpoint stands for the records up to here; 0: there is none
	CheckpointBytes int64 // of the checkpoint's files on each member
	DroppedSegments int   // ever

	Healing    int // segments that wait for being compared, and their bad copies for being written again
	Unhealable int // segments of which something can be had from no member

	MinReplicas     int        // current members that writing needs
	Redundancy      Redundancy // of sealed segments
	UnderReplicated int64      // bytes of segments that lack a copy or a shard
	CopyBytes       int64      // of whole copies of segments, on all members together
	ShardBytes      int64      // of shards, on all members together
}

var (
	// ErrCorrupt marks bytes that were durable once and can be had from no member.
	ErrCorrupt = errors.New("log is damaged")
	// ErrTooLarge is returned by Append for a record over Options.MaxRecordBytes.
	ErrTooLarge = errors.New("record is too large")
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("log is closed")
	// ErrDropped is returned for records of segments that Drop has taken away.
	ErrDropped = errors.New("segment was dropped")
	// ErrInUse marks a directory that another process has open.
	ErrInUse = errors.New("in use by another process")
	// ErrMembers marks directories that do not make up one log: something missing, foreign or in the wrong order.
	ErrMembers = errors.New("the members do not match")
)

// CorruptError says where durable bytes are lost. It wraps ErrCorrupt.
type CorruptError struct {
	Member string   // directory where the bytes were looked for; "" when no member has them
	At     Position // zero: nowhere in particular
	Reason string
}

func (e *CorruptError) Error() string {
	where := "every member"
	if e.At == (Position{}) {
		return fmt.Sprintf("%v: %s", ErrCorrupt, e.Reason)
	}
	if e.Member != "" {
		where = e.Member
	}
	return fmt.Sprintf("%v: %v on %s: %s", ErrCorrupt, e.At, where, e.Reason)
}

// Unwrap returns ErrCorrupt.
func (e *CorruptError) Unwrap() error { return ErrCorrupt }

// MemberError says which operation of which member went wrong. It wraps the file system's error.
type MemberError struct {
	Dir     string
	Op      string    // "write", "sync", "create", "rename", "sync directory" …
	Segment SegmentID // 0: not about a segment
	Err     error
}

func (e *MemberError) Error() string {
	if e.Segment == 0 {
		return fmt.Sprintf("member %s: %s: %v", e.Dir, e.Op, e.Err)
	}
	return fmt.Sprintf("member %s: %s segment %d: %v", e.Dir, e.Op, e.Segment, e.Err)
}

// Unwrap returns the file system's error.
func (e *MemberError) Unwrap() error { return e.Err }

func (o Options) withDefaults() (Options, error) {
	if o.SegmentBytes == 0 {
		o.SegmentBytes = 256 << 20
	}
	if o.MaxRecordBytes == 0 {
		o.MaxRecordBytes = 16 << 20
	}
	if o.QueueBytes == 0 {
		o.QueueBytes = 64 << 20
	}
	if o.Events == nil {
		o.Events = &Events{}
	}
	if o.Clock == nil {
		o.Clock = clock.System
	}
	o.StallAfter = cmp.Or(o.StallAfter, 2*time.Second)
	o.HedgeAfter = cmp.Or(o.HedgeAfter, 50*time.Millisecond)
	o.RepairBytesPerSecond = cmp.Or(o.RepairBytesPerSecond, 128<<20)
	o.ScrubEvery = cmp.Or(o.ScrubEvery, 7*24*time.Hour)
	switch {
	case o.SegmentBytes < 0 || o.SegmentBytes > 2<<30:
		return o, fmt.Errorf("SegmentBytes %d: wanted 1 to 2 GiB, offsets have 32 bits", o.SegmentBytes)
	case o.MaxRecordBytes < 0 || o.MaxRecordBytes > 1<<30:
		return o, fmt.Errorf("MaxRecordBytes %d: wanted 1 to 1 GiB", o.MaxRecordBytes)
	case o.QueueBytes < 0:
		return o, fmt.Errorf("QueueBytes %d: wanted a positive number", o.QueueBytes)
	case o.MinReplicas < 0 || o.MinReplicas > membersMax:
		return o, fmt.Errorf("MinReplicas %d: wanted 1 to %d", o.MinReplicas, membersMax)
	case o.StallAfter < 0 || o.HedgeAfter < 0:
		return o, fmt.Errorf("StallAfter %v, HedgeAfter %v: wanted positive times", o.StallAfter, o.HedgeAfter)
	case o.RepairBytesPerSecond < 0:
		return o, fmt.Errorf("RepairBytesPerSecond %d: wanted a positive number", o.RepairBytesPerSecond)
	}
	return o, nil
}
