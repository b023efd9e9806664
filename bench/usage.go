package bench

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// ticksPerSecond is USER_HZ, the unit of CPU times in /proc, 100 on every Linux that Go runs on.
const ticksPerSecond = 100

// Usage is what a process has used since it started.
type Usage struct {
	CPU      time.Duration // user and system time, to 10 ms
	RSSBytes int64         // resident now
}

// ProcessUsage reads the usage of a process of this machine from /proc. ok is false if pid is 0, the process is gone or
// the system has no /proc.
func ProcessUsage(pid int) (u Usage, ok bool) {
	if pid == 0 {
		return Usage{}, false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Usage{}, false
	}
	return parseStat(stat, int64(os.Getpagesize()))
}

// parseStat reads one line of /proc/PID/stat. The second field is the command in brackets and may contain anything, so
// fields are counted from the last bracket: utime and stime are the 14th and 15th of the line, rss (in pages) the 24th.
func parseStat(stat []byte, pageBytes int64) (u Usage, ok bool) {
	i := bytes.LastIndexByte(stat, ')')
	if i < 0 {
		return Usage{}, false
	}
	fields := bytes.Fields(stat[i+1:]) // fields[0] is the third of the line
	if len(fields) < 22 {
		return Usage{}, false
	}
	var n [3]int64
	for k, at := range [3]int{14, 15, 24} {
		v, err := strconv.ParseInt(string(fields[at-3]), 10, 64)
		if err != nil {
			return Usage{}, false
		}
		n[k] = v
	}
	return Usage{CPU: time.Duration(n[0]+n[1]) * time.Second / ticksPerSecond, RSSBytes: n[2] * pageBytes}, true
}
