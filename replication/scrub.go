package replication

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"time"

	"pagevault/replication/segment"
)

// Scrubbing: everything that the members hold is read from their disks, compared, and healed, again and again. It is how damage
// is found in what nobody reads before the last good copy has it, too.
//
// A run reads the directories, then one segment after the other, then the checkpoint. How far it is stands in the file SCRUB of
// every current member, so that a restart goes on with it. The next run begins half of Options.ScrubEvery after the one before
// has begun, and a run is done in a little less than that half, so that between two readings of any byte there is less than
// ScrubEvery.

const (
	// scrubFloor is how fast a run reads at least, so that a small store is through in hours. A disk that turns needs 3 of 100
	// of its time for that, read in pieces of 1 MiB from three members at once.
	scrubFloor = 4 << 20
	// scrubShare of ScrubEvery is what a run takes: less than the half after which the next begins, for the time during which it
	// makes room for requests.
	scrubShare = 0.4
	// scrubDelay is how long after the start of a log a run goes on or begins: when it is through with what the crash has left
	// to do.
	scrubDelay = time.Minute
	// scrubNote is how often the file SCRUB is written, at most.
	scrubNote = 10 * time.Second
)

// ScrubOptions configures Scrub. The zero value is sound: it reads as fast as Options.RepairBytesPerSecond allows and reports
// nothing.
type ScrubOptions struct {
	// BytesPerSecond is how fast to read, all members together. 0: Options.RepairBytesPerSecond.
	BytesPerSecond int64
	// Progress is called every few MiB, and at the end with done == total, with bytes read and to be read in all. Like Report it
	// is called by the goroutine that scrubs.
	Progress func(done, total int64)
	// Report is called for every problem, before it is healed.
	Report func(Problem)
}

// ScrubResult is what a run has found that has read everything.
type ScrubResult struct {
	Started, Finished time.Time
	Bytes             int64 // read, all members together; of a run that a restart interrupted, what was read since
	Problems          int   // found
	Healed            int   // files that were written again or removed
	Unhealable        int   // problems that no member that is there can put right
}

// ScrubStatus is how far the reading of everything is.
type ScrubStatus struct {
	Running  bool
	Started  time.Time     // of the run under way, or else of the last; zero: there was none
	Done     int64         // bytes that the run under way has read
	Total    int64         // and will have in all
	Finished time.Time     // of the last run that has read everything; zero: there was none
	Age      time.Duration // since Finished; 0: there was none

	Problems   int // of the run under way, or else of the last
	Healed     int
	Unhealable int
}

// scrubber is what the log knows of its runs.
type scrubber struct {
	mu struct {
		sync.Mutex
		run     segment.Scrub // the latest; Next is 0 when it is done
		done    int64
		total   int64
		written time.Time // of SCRUB
	}
}

// ScrubStatus tells how far the reading of everything is.
func (l *Log) ScrubStatus() ScrubStatus {
	b := &l.scrubber
	b.mu.Lock()
	defer b.mu.Unlock()
	r := &b.mu.run
	s := ScrubStatus{Running: r.Next != 0, Started: timeOf(r.Started), Finished: timeOf(r.Finished),
		Problems: int(r.Problems), Healed: int(r.Healed), Unhealable: int(r.Unhealable)}
	if s.Running {
		s.Done, s.Total = b.mu.done, b.mu.total
	}
	if r.Finished != 0 {
		s.Age = max(0, l.o.Clock.Now().Sub(s.Finished))
	}
	return s
}

// timeOf returns the time of so many nanoseconds since 1970; the zero time of 0.
func timeOf(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns).UTC()
}

// Scrub reads everything that the current members hold from their disks now, compares it and heals what is not as it should be,
// and returns when that is done. A run that goes on in the background ends with it. It may run beside everything else. Problems
// are no error, also if they cannot be healed: see Report, ScrubStatus and Stats. An error says why it could not go on: that of
// ctx, or ErrClosed.
func (l *Log) Scrub(ctx context.Context, o ScrubOptions) error {
	if l.Failed() == ErrReadOnly {
		return ErrReadOnly
	}
	if o.BytesPerSecond <= 0 {
		o.BytesPerSecond = l.o.RepairBytesPerSecond
	}
	r := scrubRun{l: l, ctx: ctx, o: o, state: segment.Scrub{Store: l.store, Next: 1, Started: l.o.Clock.Now().UnixNano()}}
	r.state.Finished = l.scrubbed().Finished
	one := newPace(l.o.Clock, o.BytesPerSecond, l.sleep, nil)
	r.pace = func(int64) *pace { return one }
	return r.all()
}

// scrubLoop scrubs in the background until ctx ends. It goes on with the run that SCRUB tells of.
func (l *Log) scrubLoop(ctx context.Context) {
	if l.o.ScrubEvery < 0 {
		return
	}
	l.loadScrub()
	for wait := scrubDelay; l.sleep(ctx, wait) == nil; wait = l.untilScrub() {
		if l.untilScrub() > 0 {
			continue
		}
		r := scrubRun{l: l, ctx: ctx, state: l.scrubbed()}
		if r.state.Next == 0 {
			r.state = segment.Scrub{Store: l.store, Next: 1, Started: l.o.Clock.Now().UnixNano(), Finished: r.state.Finished}
		}
		r.pace = r.background()
		if err := r.all(); err != nil && ctx.Err() == nil && !errors.Is(err, errOvertaken) {
			_ = l.sleep(ctx, scrubDelay) // a member failed just now: others are read when it has left
		}
	}
}

// scrubbed returns the latest run.
func (l *Log) scrubbed() segment.Scrub {
	l.scrubber.mu.Lock()
	defer l.scrubber.mu.Unlock()
	return l.scrubber.mu.run
}

// untilScrub returns how long to wait until a run begins, or goes on.
func (l *Log) untilScrub() time.Duration {
	r := l.scrubbed()
	if r.Next != 0 || r.Started == 0 {
		return 0
	}
	return max(0, timeOf(r.Started).Add(l.o.ScrubEvery/2).Sub(l.o.Clock.Now()))
}

// loadScrub reads how far the runs before Open were.
func (l *Log) loadScrub() {
	ms := l.now()
	var latest segment.Scrub
	for _, m := range ms.each(ms.current) {
		b, err := m.readSmall(segment.ScrubName, segment.ScrubBytes)
		if err != nil {
			continue
		}
		s, err := segment.ParseScrub(b)
		if err != nil || s.Store != l.store {
			continue
		}
		finished := max(latest.Finished, s.Finished)
		if s.Started > latest.Started || s.Started == latest.Started && (s.Next == 0 || latest.Next != 0 && s.Next > latest.Next) {
			latest = s
		}
		latest.Finished = finished
	}
	l.scrubber.mu.Lock()
	defer l.scrubber.mu.Unlock()
	if l.scrubber.mu.run.Started == 0 {
		l.scrubber.mu.run = latest
	}
}

// scrubRate returns how fast a run reads that has so many bytes left and was to be done at the given time.
func scrubRate(left int64, until time.Duration, most int64) int64 {
	rate := int64(scrubFloor)
	if until <= 0 {
		rate = math.MaxInt64
	} else if needed := float64(left) / until.Seconds(); needed > scrubFloor {
		rate = int64(min(needed, math.MaxInt64/2))
	}
	if most > 0 {
		rate = min(rate, most)
	}
	return rate
}

// scrubRun is one run through everything.
type scrubRun struct {
	l     *Log
	ctx   context.Context
	o     ScrubOptions
	pace  func(left int64) *pace // for what is read next
	state segment.Scrub          // of this run

	done, total int64
	found       []Problem // since the last piece began
	bytes       int64

	wantsCheckpoint bool // a manifest is not as it should be
}

// background returns the pace of a run in the background. It is the same one for all of the run, with another rate as it goes.
func (r *scrubRun) background() func(left int64) *pace {
	l := r.l
	p := newPace(l.o.Clock, scrubFloor, l.sleep, l.busy)
	end := timeOf(r.state.Started).Add(time.Duration(float64(l.o.ScrubEvery) * scrubShare))
	return func(left int64) *pace {
		p.rate = scrubRate(left, end.Sub(l.o.Clock.Now()), l.o.RepairBytesPerSecond)
		return p
	}
}

// errOvertaken ends a run in the background when somebody else has read everything meanwhile.
var errOvertaken = errors.New("another run has read everything")

// all goes through everything from where the state says.
func (r *scrubRun) all() error {
	all, manifest := r.l.index.all(), r.l.keeper.current()
	v := r.l.newVerification(r.ctx, VerifyOptions{})
	v.expect(all, &manifest)
	r.total = v.total
	defer r.note(true)
	if err := r.directories(); err != nil {
		return err
	}
	for i := range all {
		if id := all[i].id; id < r.state.Next {
			r.done += v.bytesOf(&all[i])
			continue
		}
		if err := r.segment(all[i].id); err != nil {
			return err
		}
	}
	if err := r.checkpoint(); err != nil {
		return err
	}
	r.done = r.total
	r.tell(r.total, r.total)
	r.state.Next, r.state.Finished = 0, r.l.o.Clock.Now().UnixNano()
	r.keep()
	if scrubbed := r.l.o.Events.Scrubbed; scrubbed != nil {
		scrubbed(ScrubResult{Started: timeOf(r.state.Started), Finished: timeOf(r.state.Finished), Bytes: r.bytes,
			Problems: int(r.state.Problems), Healed: int(r.state.Healed), Unhealable: int(r.state.Unhealable)})
	}
	return nil
}

// begin begins a piece of the run.
func (r *scrubRun) begin() *verification {
	r.found = r.found[:0]
	from := r.done
	v := r.l.newVerification(r.ctx, VerifyOptions{
		Report:   r.report,
		Progress: func(done, _ int64) { r.tell(min(from+done, r.total), r.total) },
	})
	v.pace, v.cold, v.total = r.pace(r.total-r.done), true, math.MaxInt64
	return v
}

func (r *scrubRun) report(p Problem) {
	r.found = append(r.found, p)
	r.state.Problems++
	if p.Lost {
		r.state.Unhealable++
	}
	if r.o.Report != nil {
		r.o.Report(p)
	}
}

// tell notes how far the run is. total is the same each time.
func (r *scrubRun) tell(done, total int64) {
	b := &r.l.scrubber
	b.mu.Lock()
	b.mu.done, b.mu.total = done, total
	b.mu.Unlock()
	if r.o.Progress != nil {
		r.o.Progress(done, total)
	}
}

// end ends a piece.
func (r *scrubRun) end(v *verification, healed []Repair) {
	r.done, r.bytes = min(r.done+v.done, r.total), r.bytes+v.done
	r.state.Healed += uint32(len(healed))
	r.tell(r.done, r.total)
}

// directories looks at what lies in the directories.
func (r *scrubRun) directories() error {
	v := r.begin()
	r.l.verifyDirectories(v)
	if len(r.found) == 0 {
		return v.spend(0)
	}
	r.wantsCheckpoint = slices.ContainsFunc(r.found, func(p Problem) bool { return p.File == segment.ManifestName })
	healed, err := r.l.healDirectories(r.ctx)
	if r.end(v, healed); r.ctx.Err() != nil {
		return r.ctx.Err()
	}
	if err != nil {
		return err
	}
	return v.spend(0)
}

// segment reads one segment.
func (r *scrubRun) segment(id SegmentID) error {
	if err := r.keep(); err != nil {
		return err
	}
	s, ok, _ := r.l.index.get(id)
	if !ok {
		r.state.Next = id + 1
		return nil
	}
	v := r.begin()
	if err := v.sealedOrNot(&s); err != nil {
		return err
	}
	var healed []Repair
	if len(r.found) > 0 {
		var err error
		healed, err = r.l.healSegment(r.ctx, id, r.l.custodian.pace)
		if r.ctx.Err() != nil {
			return r.ctx.Err()
		}
		if err != nil {
			r.l.healLater(id)
		}
	}
	r.state.Next = id + 1
	r.end(v, healed)
	r.note(false)
	return nil
}

// checkpoint reads the files of the checkpoint.
func (r *scrubRun) checkpoint() error {
	v := r.begin()
	manifest := r.l.keeper.current()
	if err := v.checkpoint(&manifest); err != nil {
		return err
	}
	var healed []Repair
	if len(r.found) > 0 || r.wantsCheckpoint {
		var err error
		healed, err = r.l.healCheckpoint(r.ctx, false) // what the verification found is noted as suspect
		if err != nil && !errors.Is(err, ErrCorrupt) {
			return err
		}
	}
	r.end(v, healed)
	return nil
}

// keep makes the run's state the log's. It returns errOvertaken if another run, that began later, has read everything.
func (r *scrubRun) keep() error {
	b := &r.l.scrubber
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mu.run.Started > r.state.Started {
		return errOvertaken
	}
	b.mu.run = r.state
	return nil
}

// note writes the file SCRUB of every current member, unless that was a moment ago and it is not needed now. What a disk says
// does not matter: others have the file, too, and without any the run begins anew.
func (r *scrubRun) note(now bool) {
	b, l := &r.l.scrubber, r.l
	b.mu.Lock()
	t := l.o.Clock.Now()
	if !now && t.Sub(b.mu.written) < scrubNote {
		b.mu.Unlock()
		return
	}
	if b.mu.run.Started <= r.state.Started {
		b.mu.run = r.state
	}
	b.mu.written = t
	content := b.mu.run.Append(nil)
	b.mu.Unlock()
	ms := l.now()
	for _, m := range ms.each(ms.current) {
		m.writeScrub(slices.Clone(content))
	}
}

// writeScrub replaces the member's file SCRUB. It is not synced: after a crash it may be an older one, or none.
func (m *member) writeScrub(content []byte) {
	temp := m.path(segment.ScrubName + segment.TempSuffix)
	f, err := m.fs.Create(temp, writeCategory)
	if err != nil {
		return
	}
	_, err = f.Write(content)
	if errors.Join(err, f.Close()) == nil {
		_ = m.fs.Rename(temp, m.path(segment.ScrubName))
	}
}
