package xsm

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/minio/crc64nvme"
)

// A Decoder reads the data out of a message. Data that Read returned is what was sent only when End says so: until then
// the caller must not let it count. It is not safe for concurrent use.
type Decoder struct {
	r        io.Reader
	length   int64 // of the message
	taken    int64 // bytes read of it
	data     int64 // not read yet
	segments int64 // of the message
	segment  int64 // the one that is read, from 1; 0 before the message header
	left     int64 // not read yet of its data
	crc, all uint64
	err      error // sticky
	buf      [messageHeader]byte
}

// NewDecoder returns a decoder of a message of length bytes that carries so many bytes of data, both as they were
// announced. The error is ErrMalformed if there is no such message.
func NewDecoder(r io.Reader, length, data int64) (*Decoder, error) {
	n, ok := segmentsIn(length, data)
	if !ok {
		return nil, fmt.Errorf("%w: %d bytes for %d of data", ErrMalformed, length, data)
	}
	return &Decoder{r: r, length: length, data: data, segments: n}, nil
}

// Read reads data. It returns io.EOF after all data, and before what follows it: see End. Errors are ErrMalformed,
// ErrChecksum, and those of the reader; a reader that ends too early gives io.ErrUnexpectedEOF.
func (d *Decoder) Read(p []byte) (int, error) {
	for d.err == nil && d.left == 0 && d.data > 0 {
		d.err = d.next()
	}
	switch {
	case d.err != nil:
		return 0, d.err
	case d.data == 0:
		return 0, io.EOF
	case len(p) == 0:
		return 0, nil
	}
	n, err := d.r.Read(p[:min(int64(len(p)), d.left)])
	d.taken += int64(n)
	d.left -= int64(n)
	d.data -= int64(n)
	d.crc = crc64nvme.Update(d.crc, p[:n])
	if d.segment > 1 {
		d.all = crc64nvme.Update(d.all, p[:n])
	}
	switch {
	case err == io.EOF && n > 0:
		err = nil // reading on finds out
	case err == io.EOF:
		err = io.ErrUnexpectedEOF // footers are missing in any case
	}
	d.err = err
	return n, err
}

// End reads what follows the data, which must be read to its end, and returns the CRC-64 of all data once it is known to
// be what was sent. Errors are those of Read.
func (d *Decoder) End() (crc uint64, err error) {
	for d.err == nil && d.data == 0 && d.segment < d.segments {
		d.err = d.next()
	}
	if d.err == nil && (d.data > 0 || d.left > 0) {
		d.err = fmt.Errorf("%w: %d bytes of data are left", ErrMalformed, d.data)
	}
	if d.err == nil {
		d.err = d.footer()
	}
	if d.err != nil {
		return 0, d.err
	}
	sent, err := d.sum()
	if err == nil && sent != d.all {
		err = &Mismatch{Sent: sent, Have: d.all}
	}
	d.err = err
	return d.all, err
}

// Taken returns how many bytes of the message have been read.
func (d *Decoder) Taken() int64 { return d.taken }

// next goes to the next segment: over the footer of the one before, or the message header.
func (d *Decoder) next() error {
	var err error
	if d.segment == 0 {
		err = d.header()
	} else {
		err = d.footer()
	}
	if err != nil {
		return err
	}
	if d.segment == d.segments {
		return fmt.Errorf("%w: %d segments hold %d bytes less than announced", ErrMalformed, d.segments, d.data)
	}
	p, err := d.take(segmentHeader)
	if err != nil {
		return err
	}
	d.segment++
	number, left := binary.LittleEndian.Uint16(p), binary.LittleEndian.Uint64(p[2:])
	switch {
	case int64(number) != d.segment:
		return fmt.Errorf("%w: segment %d has number %d", ErrMalformed, d.segment, number)
	case left > uint64(d.data):
		return fmt.Errorf("%w: segment %d has %d bytes, only %d are left", ErrMalformed, number, left, d.data)
	}
	d.left, d.crc = int64(left), 0
	return nil
}

// header reads the message header.
func (d *Decoder) header() error {
	p, err := d.take(1) // what is no message at all is known by its first byte
	if err != nil {
		return err
	}
	if p[0] != version {
		return fmt.Errorf("%w: version %d", ErrMalformed, p[0])
	}
	if p, err = d.take(messageHeader - 1); err != nil {
		return err
	}
	length := binary.LittleEndian.Uint64(p)
	flags, segments := binary.LittleEndian.Uint16(p[8:]), binary.LittleEndian.Uint16(p[10:])
	switch {
	case length != uint64(d.length):
		return fmt.Errorf("%w: %d bytes by its header, %d announced", ErrMalformed, length, d.length)
	case flags != flagCRC:
		return fmt.Errorf("%w: flags %#04x", ErrMalformed, flags)
	case int64(segments) != d.segments:
		return fmt.Errorf("%w: %d segments by its header, %d by its length", ErrMalformed, segments, d.segments)
	}
	return nil
}

// footer reads the CRC-64 of the segment that was read.
func (d *Decoder) footer() error {
	sent, err := d.sum()
	if err != nil {
		return err
	}
	if sent != d.crc {
		return &Mismatch{Segment: int(d.segment), Sent: sent, Have: d.crc}
	}
	if d.segment == 1 {
		d.all = d.crc // a message of one segment is summed once
	}
	return nil
}

func (d *Decoder) sum() (uint64, error) {
	p, err := d.take(crcBytes)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(p), nil
}

// take reads the next n bytes of the message, which are good until the next call.
func (d *Decoder) take(n int) ([]byte, error) {
	p := d.buf[:n]
	got, err := io.ReadFull(d.r, p)
	d.taken += int64(got)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return p, err
}
