package main

import (
	"log/slog"
	"os"
	"strconv"
	"strings"
)

// filesBeside is how many open files a server has beside its connections: a few for each member, and those of the index.
const filesBeside = 1000

// warnFiles says so when the connections that are allowed cannot all be there, for want of file descriptors. Go's runtime
// has raised the soft limit to the hard one; past that only who starts the server can.
func warnFiles(log *slog.Logger, connections int) {
	text, err := os.ReadFile("/proc/self/limits")
	if err != nil {
		return // not a Linux, or nothing of it is shown
	}
	if limit, ok := openFiles(string(text)); ok && limit < connections+filesBeside {
		log.Warn("the limit of open files is too low for --max-connections: waiting connections will be closed before there are so many",
			"limit", limit, "connections", connections, "want", connections+filesBeside)
	}
}

// openFiles returns the soft limit of open files that /proc/PID/limits tells; false if there is none.
func openFiles(limits string) (int, bool) {
	for line := range strings.Lines(limits) {
		rest, found := strings.CutPrefix(line, "Max open files")
		if !found {
			continue
		}
		fields := strings.Fields(rest)
		if len(fields) == 0 {
			return 0, false
		}
		n, err := strconv.Atoi(fields[0])
		return n, err == nil
	}
	return 0, false
}
