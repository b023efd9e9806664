package formatreader

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

func segmentName(number uint32) string { return fmt.Sprintf("%010d", number) }

// newestSegment returns the highest number of a segment of which a directory has a file.
func newestSegment(dir string) (newest uint32, err error) {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		digits, kind, _ := strings.Cut(e.Name(), ".")
		number, bad := strconv.ParseUint(digits, 10, 32)
		shard := len(kind) == 4 && kind[:2] == "rs"
		if len(digits) == 10 && bad == nil && (kind == "seg" || kind == "open" || shard) {
			newest = max(newest, uint32(number))
		}
	}
	return newest, err
}

// copyOf is a member's file of a segment.
type copyOf struct {
	dir    string
	sealed bool
	p      []byte
}

// copies returns the files of a segment: the .seg of each member, else the .open.
func (s *Store) copies(number uint32) (out []copyOf, err error) {
	for _, m := range s.members {
		for _, kind := range []string{".seg", ".open"} {
			p, err := os.ReadFile(filepath.Join(m.dir, segmentName(number)+kind))
			if err == nil {
				out = append(out, copyOf{m.dir, kind == ".seg", p})
				break
			}
			if !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
		}
	}
	return out, nil
}

// readSegment carries out the records of a segment.
func (s *Store) readSegment(number uint32, last bool, master []byte) error {
	p, err := s.fromShards(number)
	if err != nil {
		return err
	}
	copies := []copyOf{{"shards", true, p}}
	if p == nil {
		if copies, err = s.copies(number); err != nil {
			return err
		}
	}
	p, err = s.merge(copies, number, last)
	if err != nil || p == nil {
		return err
	}
	s.segments[number] = p
	for at := 64; at < len(p); {
		size, err := s.whole(p, at, len(p), number, s.lastLSN+1)
		if err != nil {
			return err
		}
		s.lastLSN++
		if err := s.record(p, at, number, master); err != nil {
			return fmt.Errorf("record at %d: %w", at, err)
		}
		at += size
	}
	return nil
}

// merge returns header and records of a segment, each record from any copy that has it whole; nil if it never had one.
func (s *Store) merge(copies []copyOf, number uint32, last bool) ([]byte, error) {
	var p, t []byte
	sealed, longest := false, 0
	for _, c := range copies {
		sealed, longest = sealed || c.sealed, max(longest, len(c.p))
		if head(c.p, "PVSEGLOG", 1) == nil {
			if p != nil && !bytes.Equal(p, c.p[:64]) {
				return nil, errors.New("there are two headers")
			}
			p = bytes.Clone(c.p[:64])
		}
		if got := trailer(c.p); got != nil {
			if t != nil && !bytes.Equal(t, got) {
				return nil, errors.New("there are two trailers")
			}
			t = got
		}
	}
	switch {
	case p == nil && last && !sealed && longest <= 64 && len(copies) > 0:
		return nil, nil
	case p == nil:
		return nil, errors.New("no header is whole")
	case binary.LittleEndian.Uint32(p[12:]) != number || [16]byte(p[16:]) != s.id || binary.LittleEndian.Uint64(p[32:]) != s.lastLSN+1:
		return nil, errors.New("the header is of another segment")
	case t != nil && (!bytes.Equal(t[12:40], p[12:40])):
		return nil, errors.New("the trailer is of another segment")
	case t == nil && last && sealed:
		return nil, errors.New("it was sealed, and no trailer is whole")
	}
	end := 0
	if t != nil {
		end = int(binary.LittleEndian.Uint32(t[44:]))
	}
	for lsn := s.lastLSN + 1; t == nil || len(p) < end; lsn++ {
		r, err := s.anyWhole(copies, len(p), number, lsn)
		if err != nil {
			return nil, err
		}
		if r == nil {
			break
		}
		p = append(p, r...)
	}
	switch {
	case t != nil && len(p) != end:
		return nil, fmt.Errorf("no copy has the record at %d", len(p))
	case t == nil && last:
		return p, s.torn(copies, len(p), number)
	}
	return p, nil
}

// anyWhole returns a record that any copy has whole at an offset, with its padding; nil if none has.
func (s *Store) anyWhole(copies []copyOf, at int, number uint32, lsn uint64) (r []byte, err error) {
	for _, c := range copies {
		size, err := s.whole(c.p, at, len(c.p), number, lsn)
		if err != nil {
			continue
		}
		if r != nil && !bytes.Equal(r, c.p[at:at+size]) {
			return nil, fmt.Errorf("there are two records at %d", at)
		}
		r = c.p[at : at+size]
	}
	return r, nil
}

// torn refuses a last segment that once went further than its whole records.
func (s *Store) torn(copies []copyOf, end int, number uint32) error {
	for _, c := range copies {
		for at := end; at+40 <= len(c.p); at += 8 {
			if h := s.recordHeader(c.p, at, number); h != nil && int(binary.LittleEndian.Uint32(h[32:])) > end {
				return fmt.Errorf("%s: the record at %d says that those behind %d were durable", c.dir, at, end)
			}
		}
	}
	return nil
}

// trailer returns the trailer of a file that has a whole one.
func trailer(p []byte) []byte {
	t := p[max(0, len(p)-64):]
	if head(t, "PVSEGEND", 1) != nil || int(binary.LittleEndian.Uint32(t[52:])) != len(p) {
		return nil
	}
	end, count := int(binary.LittleEndian.Uint32(t[44:])), int(binary.LittleEndian.Uint32(t[40:]))
	if end < 64 || end+12*count > len(p)-64 {
		return nil
	}
	return t
}

// recordHeader returns the header of a record at an offset, nil if there is none.
func (s *Store) recordHeader(p []byte, at int, number uint32) []byte {
	if at+40 > len(p) {
		return nil
	}
	h := p[at : at+40]
	var n [4]byte
	binary.LittleEndian.PutUint32(n[:], number)
	if string(h[:3]) != "PVR" || h[3] != 1 || crc(s.id[:], n[:], h[:36]) != binary.LittleEndian.Uint32(h[36:]) ||
		int(binary.LittleEndian.Uint32(h[4:])) != at {
		return nil
	}
	return h
}

// whole checks a record and returns its length with the padding.
func (s *Store) whole(p []byte, at, end int, number uint32, lsn uint64) (size int, err error) {
	h := s.recordHeader(p[:end], at, number)
	if h == nil {
		return 0, errors.New("no record")
	}
	m, d := int(binary.LittleEndian.Uint32(h[16:])), int(binary.LittleEndian.Uint32(h[20:]))
	size = (40 + m + d + 7) &^ 7
	switch {
	case binary.LittleEndian.Uint64(h[8:]) != lsn:
		return 0, errors.New("another record")
	case at+size > end:
		return 0, errors.New("cut")
	}
	meta, data := p[at+40:at+40+m], p[at+40+m:at+40+m+d]
	if crc(meta) != binary.LittleEndian.Uint32(h[24:]) || crc(data) != binary.LittleEndian.Uint32(h[28:]) {
		return 0, errors.New("the content is damaged")
	}
	if strings.Trim(string(p[at+40+m+d:at+size]), "\x00") != "" {
		return 0, errors.New("the padding is not zero")
	}
	return size, nil
}

// record carries out a whole record.
func (s *Store) record(p []byte, at int, number uint32, master []byte) error {
	m := int(binary.LittleEndian.Uint32(p[at+16:]))
	meta := p[at+40 : at+40+m]
	if s.lastLSN == 1 {
		return s.header(meta, master)
	}
	return s.commit(meta, number, at+40+m)
}
