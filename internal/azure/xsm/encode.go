package xsm

import (
	"encoding/binary"
	"errors"
	"io"

	"github.com/minio/crc64nvme"
)

// DefaultSegment is how much data clients put into a segment, and we into all but very long messages: 4 MiB.
const DefaultSegment = 4 << 20

var errTooMuch = errors.New("more data than the message is for")

// An Encoder writes a message. It is not safe for concurrent use. The zero value is none: see NewEncoder.
type Encoder struct {
	data    int64 // not written yet
	length  int64 // of the message
	segment int64 // bytes of data in each but the last
	count   int64
	number  int64 // of the segment that is written, 0 before the first
	left    int64 // of its data
	crc     uint64
	all     uint64
	buf     [crcBytes + crcBytes + messageHeader + segmentHeader]byte // what stands between the data of two segments, and more
}

// NewEncoder returns an encoder of a message with so many bytes of data, in segments of the given size or, when there
// would be more than a message has room for, larger ones. The size must be positive.
func NewEncoder(data, segment int64) Encoder {
	segment = max(segment, (data-1)/segmentsMax+1)
	count := max(1, (data-1)/segment+1)
	return Encoder{data: data, length: around + count*beside + data, segment: segment, count: count}
}

// Len returns the length of the message.
func (e *Encoder) Len() int64 { return e.length }

// Write writes the next bytes of data to w, with what stands between them: before the first the message header, after the
// last the trailer. A message without data is written by a Write of no bytes. It returns how much went to w, and does not
// keep p.
func (e *Encoder) Write(w io.Writer, p []byte) (n int64, err error) {
	if int64(len(p)) > e.data {
		return 0, errTooMuch
	}
	if e.number == e.count && e.left == 0 {
		return 0, nil // written to its end
	}
	put := func(p []byte) {
		if err == nil && len(p) > 0 {
			var m int
			m, err = w.Write(p)
			n += int64(m)
		}
	}
	frame := e.buf[:0]
	for first := true; err == nil && (len(p) > 0 || first); first = false {
		if e.left == 0 && e.number < e.count {
			frame = e.begin(frame)
		}
		put(frame)
		frame = e.buf[:0]
		piece := p[:min(int64(len(p)), e.left)]
		p = p[len(piece):]
		e.left -= int64(len(piece))
		e.data -= int64(len(piece))
		e.crc = crc64nvme.Update(e.crc, piece)
		if e.number > 1 {
			e.all = crc64nvme.Update(e.all, piece)
		}
		put(piece)
		if e.left == 0 {
			frame = e.end(frame)
		}
	}
	put(frame)
	return n, err
}

// begin appends the header of the next segment, before the first that of the message.
func (e *Encoder) begin(dst []byte) []byte {
	if e.number == 0 {
		dst = append(dst, version)
		dst = binary.LittleEndian.AppendUint64(dst, uint64(e.length))
		dst = binary.LittleEndian.AppendUint16(dst, flagCRC)
		dst = binary.LittleEndian.AppendUint16(dst, uint16(e.count))
	}
	e.number++
	e.left, e.crc = min(e.segment, e.data), 0
	dst = binary.LittleEndian.AppendUint16(dst, uint16(e.number))
	return binary.LittleEndian.AppendUint64(dst, uint64(e.left))
}

// end appends the footer of the segment, after the last that of the message.
func (e *Encoder) end(dst []byte) []byte {
	if e.number == 1 {
		e.all = e.crc
	}
	dst = binary.LittleEndian.AppendUint64(dst, e.crc)
	if e.number == e.count {
		dst = binary.LittleEndian.AppendUint64(dst, e.all)
	}
	return dst
}
