package bench

import (
	"context"
	"errors"

	"pagevault/internal/clock"
)

// Target is what a run measures: a Wire or a Disk. Its methods are for Run, which opens it, runs sessions on it one after
// the other and closes it.
type Target interface {
	// Info says what the target is, for the report.
	Info() TargetInfo
	// open makes the target ready, and fails with one clear line if it cannot be reached.
	open(ctx context.Context, env *environment) error
	// session prepares a workload, untimed. errNotApplicable: the workload has no meaning here.
	session(ctx context.Context, w Workload) (session, error)
	// usage returns what the process behind the target has used so far; ok is false if nobody knows.
	usage() (u Usage, ok bool)
	// close removes what open and the sessions have left.
	close(ctx context.Context) error
}

// TargetInfo describes a target in a report.
type TargetInfo struct {
	Name     string `json:"name"`
	Where    string `json:"where"`              // URL or directory
	Server   string `json:"server,omitempty"`   // what it calls itself in its answers
	Baseline bool   `json:"baseline,omitempty"` // what the others are set in relation to
	// RoundBytes is the most new data that a round writes to the target, besides the bound of the run. 0: no such bound.
	RoundBytes int64 `json:"roundBytes,omitempty"`
}

// environment is what the targets of one run share.
type environment struct {
	source   *source
	clock    clock.Clock
	seed     uint64
	setBytes int64 // size of the data that is stored in advance, for reads and repeats; a multiple of requestMax
}

// session is a workload on a target, for as long as the run lasts.
type session interface {
	begin(ctx context.Context) error                       // before each round
	worker(ctx context.Context, index int) (worker, error) // one connection's; when ctx is done, its requests end
	end() error                                            // after each round, when all its workers are closed
}

// worker makes one request after another. errEnd: there are no more in this round.
type worker interface {
	do() (bytes int, err error)
	close() error
}

var (
	errNotApplicable = errors.New("the workload has no meaning on this target")
	errEnd           = errors.New("no more requests in this round")
)
