package main

import (
	"time"

	"github.com/spf13/pflag"

	"pagevault/pagestore"
)

// The sizes that a segment may have. A smaller one is all overhead; offsets in it have 32 bits.
const (
	minSegment = 1 << 20
	maxSegment = 2 << 30
)

// maintenanceFlags say how space is given back, as given and, after parse, as meant.
type maintenanceFlags struct {
	segmentSize     string
	garbage         int
	rate            string
	checkpointEvery string
	every           time.Duration

	segmentBytes, bytesPerSecond, checkpointBytes int64
}

func (f *maintenanceFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.segmentSize, "segment-size", "256MiB", "size at which a file of the log is sealed and the next begun, 1MiB to 2GiB; 16MiB with --memory. Space is given back by whole files")
	flags.IntVar(&f.garbage, "garbage", 50, "percent of a sealed file that nothing needs, above which the rest is moved to give its space back, 1 to 99")
	flags.StringVar(&f.rate, "maintenance-rate", "64MiB", "bytes to read and write in a second at most, in each account, to give space back")
	flags.StringVar(&f.checkpointEvery, "checkpoint-every", "4GiB", "bytes of log after which the members get a checkpoint of the index, at least 1MiB: what a start without an index replays")
	flags.DurationVar(&f.every, "maintenance-every", 5*time.Second, "time between two looks at whether space can be given back")
}

// parse checks what was given.
func (f *maintenanceFlags) parse() error {
	for _, size := range []struct {
		flag, text string
		least      int64
		bytes      *int64
	}{
		{"--segment-size", f.segmentSize, minSegment, &f.segmentBytes},
		{"--maintenance-rate", f.rate, 1, &f.bytesPerSecond},
		{"--checkpoint-every", f.checkpointEvery, 1 << 20, &f.checkpointBytes},
	} {
		n, err := parseSize(size.text)
		if err != nil {
			return usagef("%s: %w", size.flag, err)
		}
		if n < size.least {
			return usagef("%s: %s is less than %d bytes", size.flag, size.text, size.least)
		}
		*size.bytes = n
	}
	switch {
	case f.segmentBytes > maxSegment:
		return usagef("--segment-size: %s is more than 2GiB", f.segmentSize)
	case f.garbage < 1 || f.garbage > 99:
		return usagef("--garbage: %d is not a percentage from 1 to 99", f.garbage)
	case f.every < time.Millisecond:
		return usagef("--maintenance-every: %v is less than 1ms", f.every)
	}
	return nil
}

// set gives a store what was meant. One in memory keeps its small segments: see layout.store.
func (f *maintenanceFlags) set(o *pagestore.Options, given bool) {
	if given || o.Log.SegmentBytes == 0 {
		o.Log.SegmentBytes = f.segmentBytes
	}
	o.Maintenance.Garbage = f.garbage
	o.Maintenance.BytesPerSecond = f.bytesPerSecond
	o.Maintenance.CheckpointBytes = f.checkpointBytes
	o.Maintenance.Every = f.every
}
