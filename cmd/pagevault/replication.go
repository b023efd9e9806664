package main

import (
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"pagevault/blobstore"
	"pagevault/pagestore"
)

// maxMembers is the most directories that a log can have.
const maxMembers = 64

// replicationFlags say how the members of the logs are kept, as given and, after parse, as meant.
type replicationFlags struct {
	minReplicas     int
	redundancyText  string
	scrubEvery      time.Duration
	repairRate      string
	forceMinority   bool
	redundancyGiven bool

	redundancy  blobstore.Redundancy
	repairBytes int64
}

func (f *replicationFlags) register(flags *pflag.FlagSet) {
	flags.IntVar(&f.minReplicas, "min-replicas", 0, "members that a write must be on; with fewer, writes are refused and reads go on. If not given: what the store has, at first 2, or 1 with one member")
	flags.StringVar(&f.redundancyText, "redundancy", "", "3, copies, or rs:K+M: files that are sealed become K+M shards on as many members, any M of which may be lost. If not given: what the store has, at first 3")
	flags.DurationVar(&f.scrubEvery, "scrub-every", 7*24*time.Hour, "time in which everything is read again and compared; 0 is never")
	flags.StringVar(&f.repairRate, "repair-rate", "128MiB", "bytes to read and write in a second at most, in each account, to scrub, to repair and to bring members up")
	flags.BoolVar(&f.forceMinority, "force-minority", false, "start from the members that are there although others may hold newer writes, which are lost then; see docs/operations.md")
}

// parse checks what was given, for so many members.
func (f *replicationFlags) parse(members int, given func(flag string) bool) error {
	var err error
	switch {
	case members > maxMembers:
		return usagef("--replica: %d of them are more than %d", members, maxMembers)
	case f.minReplicas < 0 || given("min-replicas") && f.minReplicas == 0:
		return usagef("--min-replicas: %d is less than 1", f.minReplicas)
	case f.minReplicas > members:
		return usagef("--min-replicas: %d is more than the %s that there are", f.minReplicas, plural(int64(members), "member"))
	case f.scrubEvery < 0 || f.scrubEvery > 0 && f.scrubEvery < time.Minute:
		return usagef("--scrub-every: %v is less than a minute; 0 is never", f.scrubEvery)
	}
	if f.repairBytes, err = parseSize(f.repairRate); err != nil {
		return usagef("--repair-rate: %w", err)
	}
	if f.redundancyGiven = given("redundancy"); !f.redundancyGiven {
		return nil
	}
	if f.redundancy, err = blobstore.ParseRedundancy(f.redundancyText); err != nil {
		return usagef("--redundancy: %w", err)
	}
	if n := f.redundancy.K + f.redundancy.M; n > members {
		return usagef("--redundancy: %s takes %d members, and there %s", f.redundancyText, n, are(members))
	}
	return nil
}

// are says how many there are.
func are(n int) string {
	if n == 1 {
		return "is 1"
	}
	return fmt.Sprintf("are %d", n)
}

// set gives a store what was meant.
func (f *replicationFlags) set(o *pagestore.Options) {
	o.Log.MinReplicas = f.minReplicas
	o.Log.Redundancy, o.Log.KeepRedundancy = f.redundancy, !f.redundancyGiven
	o.Log.ScrubEvery = f.scrubEvery
	if f.scrubEvery == 0 {
		o.Log.ScrubEvery = -1
	}
	o.Log.RepairBytesPerSecond = f.repairBytes
	o.Log.ForceMinority = f.forceMinority
}
