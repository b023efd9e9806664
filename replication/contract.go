package replication

// LSN numbers records: 1, 2, 3 … without gaps, in the order of Append.
type LSN uint64

// SegmentID numbers segments: 1, 2, 3 … in the order they were opened. Zero is no segment.
type SegmentID uint32

// Position is where a byte of a record lies: segment and offset from the segment file's start. All members hold the
// same bytes at the same position.
type Position struct {
	Segment SegmentID
	Offset  uint32
}

// Record is one entry of the log. Meta and Data are opaque here. Meta is what a replay reads; Data is the bulk it can
// skip. Data is given in parts so that the bytes of a request need not be copied together.
type Record struct {
	Meta []byte
	Data [][]byte

	LSN  LSN      // set by Append
	At   Position // position of the first byte of Data, set before Next returns the record
	User any      // the caller's, untouched
}
