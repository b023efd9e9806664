package bench

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// sector is the unit of blkparse, on every device.
const sector = 512

// findTraceFormat returns what reads the lines of a trace whose first line has these fields. header: that line is none of
// its operations.
func findTraceFormat(fields []string) (parse traceFormat, header bool) {
	if len(fields) == 4 && fields[0] == "fio" && fields[1] == "version" && fields[3] == "iolog" {
		switch fields[2] {
		case "2":
			return parseFio, true
		case "3":
			return parseFioTimed, true
		}
		return func([]string) (TraceEntry, error) {
			return TraceEntry{}, fmt.Errorf("an iolog of fio, version %s: only 2 and 3 are known", fields[2])
		}, false
	}
	if major, minor, ok := strings.Cut(fields[0], ","); ok && isNumber(major) && isNumber(minor) {
		return parseBlkparse, false
	}
	return parsePlain, false
}

func isNumber(text string) bool {
	_, err := strconv.ParseUint(text, 10, 32)
	return err == nil
}

// parseFio reads FILE ACTION [OFFSET LENGTH]. All files are taken for one disk.
func parseFio(fields []string) (e TraceEntry, err error) {
	if len(fields) < 2 {
		return e, errors.New("no action of an iolog")
	}
	switch fields[1] {
	case "read":
		e.Op = TraceRead
	case "write":
		e.Op = TraceWrite
	case "trim":
		e.Op = TraceDiscard
	case "add", "open", "close", "wait", "sync", "datasync":
		return e, errNoTraceEntry
	default:
		return e, fmt.Errorf("no action of an iolog: %q", fields[1])
	}
	if len(fields) != 4 {
		return e, fmt.Errorf("%d fields where FILE ACTION OFFSET LENGTH are needed", len(fields))
	}
	if e.Offset, err = parseCount("offset", fields[2]); err != nil {
		return e, err
	}
	e.Length, err = parseCount("length", fields[3])
	return e, err
}

// parseFioTimed reads a time, which is not kept, and what parseFio reads.
func parseFioTimed(fields []string) (e TraceEntry, err error) {
	if _, err := parseCount("time", fields[0]); err != nil {
		return e, err
	}
	return parseFio(fields[1:])
}

// parseBlkparse reads DEVICE CPU SEQUENCE SECONDS PID ACTION FLAGS SECTOR + SECTORS [PROCESS], and takes what is queued (Q). All
// devices are taken for one. Other lines, such as those of the summary, are skipped.
func parseBlkparse(fields []string) (e TraceEntry, err error) {
	if len(fields) < 10 || fields[5] != "Q" || fields[8] != "+" {
		return e, errNoTraceEntry
	}
	switch flags := fields[6]; {
	case strings.Contains(flags, "D"):
		e.Op = TraceDiscard
	case strings.Contains(flags, "W"):
		e.Op = TraceWrite
	case strings.Contains(flags, "R"):
		e.Op = TraceRead
	default:
		return e, errNoTraceEntry
	}
	if e.Offset, err = parseCount("sector", fields[7]); err != nil {
		return e, err
	}
	if e.Length, err = parseCount("sectors", fields[9]); err != nil {
		return e, err
	}
	if e.Length == 0 { // a flush
		return e, errNoTraceEntry
	}
	seconds, err := strconv.ParseFloat(fields[3], 64)
	if err != nil || !(seconds >= 0 && seconds < 1e9) {
		return e, fmt.Errorf("time %q is no number of seconds", fields[3])
	}
	if e.Offset > traceEnd/sector || e.Length > traceEnd/sector {
		return e, fmt.Errorf("sector %d + %d is beyond the 8 TiB of a page blob", e.Offset, e.Length)
	}
	e.At, e.Offset, e.Length = time.Duration(seconds*1e9), e.Offset*sector, e.Length*sector
	return e, nil
}
