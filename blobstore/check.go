package blobstore

import (
	"context"
	"errors"
	"time"

	"pagevault/internal/clock"
	"pagevault/pagestore"
)

// CheckLevel says how much a check reads.
type CheckLevel = pagestore.CheckLevel

// The levels of a check.
const (
	CheckFull  = pagestore.CheckFull  // every byte of every copy
	CheckQuick = pagestore.CheckQuick // rows and counts only
)

// CheckOptions configures a check.
type CheckOptions struct {
	Level    CheckLevel
	Rate     int64               // bytes of the log to read in a second, all members together. 0: no bound
	Found    func(*Problem)      // called for each problem, from the goroutine that checks
	Progress func(CheckProgress) // called now and then, from the same goroutine. nil: never
	Clock    clock.Clock         // nil: the machine's
}

// CheckProgress is how far the check of an account has come.
type CheckProgress struct {
	Account string `json:"account"`
	Phase   string `json:"phase"` // what is being looked at
	Bytes   int64  `json:"bytes"` // of the log that were read so far, all members together
	Total   int64  `json:"total"` // of these that will be
	Rows    int64  `json:"rows"`  // of the index that were read so far
}

// CheckSummary says what the check of an account has looked at and how much of it was wrong.
type CheckSummary struct {
	Account  string `json:"account"`
	Level    string `json:"level"`    // "full" or "quick"
	Complete bool   `json:"complete"` // false: the check was stopped, and the rest is unknown
	Error    string `json:"error,omitempty"`

	Problems int                    `json:"problems"`
	Kinds    map[pagestore.Kind]int `json:"kinds,omitempty"` // problems by kind

	Applied    uint64  `json:"applied"`              // LSN of the state of the index that was checked
	Last       uint64  `json:"last"`                 // LSN of the last record; those after Applied were checked as bytes only
	Unfinished int     `json:"unfinished,omitempty"` // files that a crash has left unfinished; the next start completes them
	Segments   int64   `json:"segments"`             // files, of all members
	Records    int64   `json:"records"`
	Bytes      int64   `json:"bytes"` // read from the log, all members together
	Rows       int64   `json:"rows"`
	Frames     int64   `json:"frames"`
	Chunks     int64   `json:"chunks"`
	Regions    int64   `json:"regions"`
	Volumes    int64   `json:"volumes"`
	Containers int64   `json:"containers"`
	Blobs      int64   `json:"blobs"`
	Snapshots  int64   `json:"snapshots"`
	Seconds    float64 `json:"seconds"`
}

// Check looks at everything the account stores, as it was when the check began, while requests go on: see CheckStore.
func (a *Account) Check(ctx context.Context, o CheckOptions) (CheckSummary, error) {
	if o.Clock == nil {
		o.Clock = a.clock
	}
	return CheckStore(ctx, a.name, a.store, o)
}

// CheckStore looks at everything a store of an account holds, as it was when the check began: the log, the index, the
// content, and the rows of containers and blobs. Every problem is given to o.Found with the blobs that show it.
//
// It changes nothing. While it runs, space that is freed stays taken. It holds in memory the names of containers, a bit
// for each volume, and a bounded number of problems that wait for names.
//
// An error says why the check is not complete: that of ctx, or one of reading the index. The summary is of what was
// looked at until then.
func CheckStore(ctx context.Context, account string, store *pagestore.Store, o CheckOptions) (CheckSummary, error) {
	c := newChecker(ctx, account, o)
	began := c.o.Clock.Now()
	return c.end(began, c.run(store))
}

func newChecker(ctx context.Context, account string, o CheckOptions) *checker {
	if o.Clock == nil {
		o.Clock = clock.System
	}
	return &checker{
		ctx: ctx, account: account, o: o,
		summary: CheckSummary{Account: account, Level: levelName(o.Level), Kinds: map[pagestore.Kind]int{}},
	}
}

// optionsBelow are those of the check of the store below.
func (c *checker) optionsBelow() pagestore.CheckOptions {
	return pagestore.CheckOptions{Level: c.o.Level, Rate: c.o.Rate, Clock: c.o.Clock, Found: c.foundBelow, Progress: c.progressBelow}
}

// end completes the summary of a check that ended with err.
func (c *checker) end(began time.Time, err error) (CheckSummary, error) {
	c.summary.Complete = err == nil
	if err != nil {
		c.summary.Error = err.Error()
	}
	c.summary.Seconds = c.o.Clock.Now().Sub(began).Round(time.Millisecond).Seconds()
	return c.summary, err
}

// levelNames are the names of levels, on the command line and in a summary.
var levelNames = map[CheckLevel]string{CheckFull: "full", CheckQuick: "quick"}

func levelName(l CheckLevel) string { return levelNames[l] }

// ParseCheckLevel returns the level of that name: "full", which "" stands for too, or "quick".
func ParseCheckLevel(name string) (CheckLevel, bool) {
	for l, n := range levelNames {
		if n == name {
			return l, true
		}
	}
	return CheckFull, name == ""
}

// checker is one check of one account.
type checker struct {
	ctx     context.Context
	account string
	o       CheckOptions
	summary CheckSummary
	view    *pagestore.View

	containers map[containerID]containerState
	blobIDs    containerID         // the id of the next container, as the rows have it
	claimed    volumeSet           // volumes that some blob has
	counted    volumeSet           // of these, such as have a row that counts snapshots
	copies     volumeSet           // volumes that copies and uploads fill
	stages     volumeSet           // volumes with blocks that wait to be committed
	held       map[copyRow]bool    // generations that are kept for them
	totals     Totals              // counted
	totalsRow  bool                // there is a row of them
	group      blobGroup           // the blob whose rows are being read
	pending    []pagestore.Problem // that wait for the names of blobs
	progress   CheckProgress
}

// containerState is what a check remembers of a container.
type containerState struct {
	name      string
	tomb      bool // deleted, and its blobs are being removed
	immutable bool // it has immutable storage
}

// run checks the store below, then the rows of this layer, on one picture of both.
func (c *checker) run(store *pagestore.Store) error {
	view, err := store.View()
	if err != nil {
		return err
	}
	c.view, c.containers = view, map[containerID]containerState{}
	below, err := view.Check(c.ctx, c.optionsBelow())
	c.count(&below)
	if err == nil {
		err = c.rows()
	}
	c.resolve(err == nil)
	return errors.Join(err, view.Close())
}

func (c *checker) count(s *pagestore.CheckSummary) {
	o := &c.summary
	o.Applied, o.Last, o.Segments, o.Records, o.Bytes, o.Unfinished = s.Applied, s.Last, s.Segments, s.Records, s.Bytes, s.Unfinished
	o.Rows, o.Frames, o.Chunks, o.Regions, o.Volumes = s.Rows, s.Frames, s.Chunks, s.Regions, s.Volumes
}

// report gives a problem to whom it may concern.
func (c *checker) report(p Problem) {
	c.summary.Problems++
	c.summary.Kinds[p.Kind]++
	if c.o.Found != nil {
		c.o.Found(&p)
	}
}

// pendingMax bounds the problems that wait for names: 4 MiB of them.
const pendingMax = 1 << 15

// foundBelow takes a problem of the store below. One that shows in pages waits until the blobs with these are looked up,
// which takes a scan of all of them.
func (c *checker) foundBelow(p pagestore.Problem) {
	if p.Volume == 0 {
		c.report(c.problem(&p))
		return
	}
	if c.pending = append(c.pending, p); len(c.pending) == pendingMax {
		c.resolve(true)
	}
}

func (c *checker) progressBelow(p pagestore.CheckProgress) {
	if c.o.Progress == nil {
		return
	}
	c.progress = CheckProgress{Account: c.account, Phase: p.Phase, Bytes: p.Bytes, Total: p.Total, Rows: p.Rows}
	c.o.Progress(c.progress)
}

// volumeSet is a set of volumes, 64 to a word.
type volumeSet map[uint64]uint64

// add adds v and reports whether it was not there.
func (s volumeSet) add(v pagestore.VolumeID) bool {
	word, bit := uint64(v)/64, uint64(1)<<(v%64)
	if s[word]&bit != 0 {
		return false
	}
	s[word] |= bit
	return true
}

func (s volumeSet) has(v pagestore.VolumeID) bool { return s[uint64(v)/64]&(1<<(v%64)) != 0 }

// CheckFolders checks the store of an account in its folders, which no process may have open, and changes nothing there.
// A store that cannot be opened is a problem, and what can be checked of it is. Errors: those of CheckStore;
// replication.ErrInUse; replication.ErrMembers if the folders are not those of one store.
func CheckFolders(ctx context.Context, account string, from pagestore.Options, o CheckOptions) (CheckSummary, error) {
	store, err := pagestore.OpenReadOnly(from)
	if err != nil {
		c := newChecker(ctx, account, o)
		began := c.o.Clock.Now()
		below, err := pagestore.CheckUnopened(ctx, from, err, c.optionsBelow())
		c.count(&below)
		if err == nil {
			summary, err := c.end(began, nil)
			summary.Complete, summary.Error = false, "the store cannot be opened: "+below.Unopened
			return summary, err
		}
		return c.end(began, err)
	}
	summary, err := CheckStore(ctx, account, store, o)
	return summary, errors.Join(err, store.Close())
}
