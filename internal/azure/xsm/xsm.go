// Package xsm reads and writes structured messages, version XSM/1.0: a body cut into segments, each followed by the
// CRC-64 of its data and all of them by the CRC-64 of all data. A client sends a body so, or asks for one, to find out
// what went wrong on the way and where.
//
// All integers are little-endian:
//
//	message header   13   version 1 u8, length of the whole message u64, flags u16 (bit 0: with CRC-64), segments u16
//	segment header   10   number u16, from 1; length of its data u64
//	segment data
//	segment footer    8   CRC-64/NVME of the segment's data
//	message trailer   8   CRC-64/NVME of all data
//
// Messages without CRC-64 are not known to be sent by anybody and are not read. Neither direction holds more than a
// header's worth of bytes, or allocates for a segment. Storage of the data is for others.
package xsm

import (
	"errors"
	"fmt"
)

// Value is how the header x-ms-structured-body names this form.
const Value = "XSM/1.0; properties=crc64"

const (
	version  = 1
	flagCRC  = 1
	crcBytes = 8

	messageHeader = 1 + 8 + 2 + 2
	segmentHeader = 2 + 8

	// around is what a message has beside its segments, and beside what a segment has beside its data.
	around = messageHeader + crcBytes
	beside = segmentHeader + crcBytes

	// segmentsMax is the most segments that their number has room for.
	segmentsMax = 1<<16 - 1
)

// OverheadMax is the most by which a message is longer than its data.
const OverheadMax = around + segmentsMax*beside

var (
	// ErrMalformed is the error of what is not a message, or not of the length that was announced.
	ErrMalformed = errors.New("not a structured message")

	// ErrChecksum is the error of a message whose data is not what its CRC-64 says. A *Mismatch says more.
	ErrChecksum = errors.New("the CRC-64 in a structured message is not that of the data")
)

// Mismatch is where the data differs from what was sent.
type Mismatch struct {
	Segment    int // from 1; 0: all data together
	Sent, Have uint64
}

func (m *Mismatch) Error() string {
	if m.Segment == 0 {
		return fmt.Sprintf("all data: %v: %016x, not %016x", ErrChecksum, m.Have, m.Sent)
	}
	return fmt.Sprintf("segment %d: %v: %016x, not %016x", m.Segment, ErrChecksum, m.Have, m.Sent)
}

// Unwrap makes every Mismatch an ErrChecksum.
func (m *Mismatch) Unwrap() error { return ErrChecksum }

// segmentsIn returns how many segments a message has, which its length and that of its data say; false if no message
// has these lengths.
func segmentsIn(length, data int64) (int64, bool) {
	if data < 0 || length < around+beside || data > length-around-beside {
		return 0, false
	}
	n := (length - around - data) / beside
	return n, n <= segmentsMax && around+n*beside+data == length
}
