package bench

import (
	"bufio"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"strconv"
	"strings"
	"time"
)

// TraceOp is what an operation of a trace does.
type TraceOp uint8

const (
	TraceRead    TraceOp = iota // Get Blob
	TraceWrite                  // Put Page, update
	TraceDiscard                // Put Page, clear
)

const (
	// traceMax bounds the operations of a trace, each 40 bytes in memory.
	traceMax = 8 << 20
	// traceLineMax is the longest line of one.
	traceLineMax = 4 << 10
	// traceEnd is how large a page blob can be.
	traceEnd = 8 << 40
)

// TraceEntry is one operation.
type TraceEntry struct {
	Offset, Length int64 // multiples of 512
	Op             TraceOp
	Content        uint64        // of what is written: what has the same has the same data. 0: data of its own
	At             time.Duration // since the trace began; replays do not wait for it
}

// Trace is what a disk was asked to do.
type Trace struct {
	Entries []TraceEntry
	Size    int64 // of the smallest disk that it fits on
	Skipped int   // lines of a recording that are no such operation
}

// ParseTrace reads a trace: a line for each operation,
//
//	OFFSET LENGTH r|w|d [FINGERPRINT] [@MICROSECONDS]
//
// with offset and length in bytes, multiples of 512, and after # nothing that counts. Writes with the same fingerprint, any
// word, write the same data; without one, data that was never seen. The output of blkparse and the logs of fio, versions 2
// and 3, are known by their lines and taken too (traceformats.go). The error names the line.
func ParseTrace(r io.Reader) (*Trace, error) {
	t := &Trace{}
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, traceLineMax), traceLineMax)
	parse := traceFormat(nil)
	number := 0
	for lines.Scan() {
		number++
		text, _, _ := strings.Cut(lines.Text(), "#")
		fields := strings.Fields(text)
		if len(fields) == 0 {
			continue
		}
		if parse == nil {
			var header bool
			if parse, header = findTraceFormat(fields); header {
				continue
			}
		}
		e, err := parse(fields)
		if err == nil {
			err = t.add(e)
		}
		if errors.Is(err, errNoTraceEntry) {
			t.Skipped++
		} else if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("line %d: %w", number+1, err)
	}
	if len(t.Entries) == 0 {
		return nil, errors.New("no operation in the trace")
	}
	return t, nil
}

// errNoTraceEntry: the line is of the format, but no operation that can be replayed.
var errNoTraceEntry = errors.New("no operation")

func (t *Trace) add(e TraceEntry) error {
	switch {
	case e.Offset < 0 || e.Offset%blockMin != 0:
		return fmt.Errorf("offset %d is no multiple of 512", e.Offset)
	case e.Length <= 0 || e.Length%blockMin != 0:
		return fmt.Errorf("length %d is no positive multiple of 512", e.Length)
	case e.Length > traceEnd || e.Offset > traceEnd-e.Length:
		return fmt.Errorf("%d bytes at %d are beyond the 8 TiB of a page blob", e.Length, e.Offset)
	case len(t.Entries) == traceMax:
		return fmt.Errorf("more than %d operations", traceMax)
	}
	t.Entries = append(t.Entries, e)
	t.Size = max(t.Size, e.Offset+e.Length)
	return nil
}

// traceFormat reads the fields of a line.
type traceFormat func(fields []string) (TraceEntry, error)

// parsePlain reads a line of the format of our own.
func parsePlain(fields []string) (e TraceEntry, err error) {
	if len(fields) < 3 {
		return e, fmt.Errorf("%d fields where OFFSET LENGTH r|w|d are needed", len(fields))
	}
	if e.Offset, err = parseCount("offset", fields[0]); err != nil {
		return e, err
	}
	if e.Length, err = parseCount("length", fields[1]); err != nil {
		return e, err
	}
	switch fields[2] {
	case "r":
		e.Op = TraceRead
	case "w":
		e.Op = TraceWrite
	case "d":
		e.Op = TraceDiscard
	default:
		return e, fmt.Errorf("operation %q is none of r, w and d", fields[2])
	}
	rest := fields[3:]
	if len(rest) > 0 && !strings.HasPrefix(rest[0], "@") {
		if e.Op != TraceWrite {
			return e, fmt.Errorf("a fingerprint %q of what is not written", rest[0])
		}
		e.Content, rest = contentOf(rest[0]), rest[1:]
	}
	if len(rest) > 0 {
		us, err := parseCount("microseconds", strings.TrimPrefix(rest[0], "@"))
		if err != nil || !strings.HasPrefix(rest[0], "@") || us > int64(1<<63-1)/1000 {
			return e, fmt.Errorf("%q is no @MICROSECONDS", rest[0])
		}
		e.At, rest = time.Duration(us)*time.Microsecond, rest[1:]
	}
	if len(rest) > 0 {
		return e, fmt.Errorf("%q is one field too many", rest[0])
	}
	return e, nil
}

// parseCount reads a whole number that is not negative.
func parseCount(what, text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%s %q is no whole number", what, text)
	}
	return n, nil
}

// contentOf makes the number of a fingerprint, which is not 0.
func contentOf(fingerprint string) uint64 {
	h := fnv.New64a()
	io.WriteString(h, fingerprint)
	return max(h.Sum64(), 1)
}

// String describes the trace for people.
func (t *Trace) String() string {
	var reads, writes, discards int
	var bytes int64
	for _, e := range t.Entries {
		switch bytes += e.Length; e.Op {
		case TraceRead:
			reads++
		case TraceWrite:
			writes++
		default:
			discards++
		}
	}
	return fmt.Sprintf("%s, %s and %s, %s MB, on a disk of %s MB", plural(reads, "read"), plural(writes, "write"),
		plural(discards, "discard"), figure(float64(bytes)/1e6), figure(float64(t.Size)/1e6))
}
