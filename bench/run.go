package bench

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"pagevault/internal/clock"
)

// Options configures a run. Targets must be given; the zero value of every other field is a sound default.
type Options struct {
	Targets     []Target
	Workloads   []Workload    // nil: DefaultWorkloads
	Connections []int         // each workload runs at each of these. nil: 1 and 16
	Rounds      int           // of each cell. 0: 5
	Duration    time.Duration // of a round. 0: 1 s
	WarmUp      time.Duration // before each round, not counted. 0: a quarter of Duration
	Limit       time.Duration // of the whole run; rounds that do not fit are left out. 0: none
	RoundBytes  int64         // a round ends early when it has written so much new data. 0: 512 MiB, so that disks do not fill
	SetBytes    int64         // size of the data stored in advance for reads and repeats, rounded up to 4 MiB. 0: 256 MiB
	Settle      string        // a directory: before each round, wait until all that was written to its file system is on the disk
	Mix         Mix           // what new data is like
	Seed        uint64        // determines the data; with the same seed, a store that kept an earlier run has seen it. 0: random
	Clock       clock.Clock   // nil: the system's
	Build       string        // what is measured, for the report: version and commit
	Command     string        // how it was asked for, for the report
	Events      *Events       // nil: none
}

// Events are called as the run goes on, from one goroutine. Any may be nil.
type Events struct {
	Preparing func(target, workload string) // untimed work begins; workload is empty when the target is opened
	Round     func(RoundEvent)
	Done      func() // all that can be measured was
}

// RoundEvent tells of a round that was just finished.
type RoundEvent struct {
	Round, Rounds    int // the first is 1
	Target, Workload string
	Connections      int
	OpsPerSecond     float64
	BytesPerSecond   float64
	Done, Total      int           // rounds of all cells
	Elapsed          time.Duration // since the first of them began
}

// The reasons why a run can end early, as Report.Stopped.
const (
	StoppedByCaller = "interrupted"
	StoppedByLimit  = "time limit reached"
)

var errLimit = errors.New(StoppedByLimit)

func (o *Options) fill() error {
	if len(o.Targets) == 0 {
		return errors.New("bench: no targets")
	}
	set := func(p *int64, v int64) {
		if *p == 0 {
			*p = v
		}
	}
	if o.Workloads == nil {
		o.Workloads = DefaultWorkloads()
	}
	if o.Connections == nil {
		o.Connections = []int{1, 16}
	}
	for _, n := range o.Connections {
		if n < 1 || n > queueMax {
			return fmt.Errorf("bench: %d connections: must be from 1 to %d", n, queueMax)
		}
	}
	if err := o.Mix.check(); err != nil {
		return err
	}
	if o.Rounds == 0 {
		o.Rounds = 5
	}
	set((*int64)(&o.Duration), int64(time.Second))
	set((*int64)(&o.WarmUp), int64(o.Duration/4))
	if o.Rounds < 0 || o.Duration < 0 || o.WarmUp < 0 || o.Limit < 0 {
		return errors.New("bench: rounds and times must not be negative")
	}
	set(&o.RoundBytes, 512<<20)
	set(&o.SetBytes, 256<<20)
	o.SetBytes = (o.SetBytes + requestMax - 1) / requestMax * requestMax
	if o.Seed == 0 {
		var b [8]byte
		rand.Read(b[:])
		o.Seed = binary.LittleEndian.Uint64(b[:])
	}
	if o.Clock == nil {
		o.Clock = clock.System
	}
	if o.Events == nil {
		o.Events = &Events{}
	}
	return nil
}

// cell is a workload at a number of connections on one target, and what was measured there.
type cell struct {
	target      Target
	session     session
	workload    Workload
	connections int
	rounds      []Round
	latencies   Histogram
}

// Run measures every workload on every target, as the package comment says, and removes what it has stored. When ctx is
// done or the time limit is reached it stops within moments and reports the rounds that were finished (Report.Stopped).
// When a target does not answer as it should, the error is one line that names it; the report, if any round was run
// before, is returned with it.
func Run(ctx context.Context, o Options) (_ *Report, err error) {
	if err := o.fill(); err != nil {
		return nil, err
	}
	r := &runner{o: o, env: &environment{source: newSource(o.Seed, o.Mix, o.SetBytes), clock: o.Clock, seed: o.Seed, setBytes: o.SetBytes}}
	started := o.Clock.Now()
	if o.Limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, o.Limit, errLimit)
		defer cancel()
	}
	defer func() { err = errors.Join(err, r.close(ctx)) }()
	if err := r.prepare(ctx); err != nil {
		return nil, stopReason(ctx, err)
	}
	err = r.rounds(ctx)
	report := r.report(started)
	if ctx.Err() != nil {
		report.Stopped, err = StoppedByCaller, nil
		if errors.Is(context.Cause(ctx), errLimit) {
			report.Stopped = StoppedByLimit
		}
	}
	return report, err
}

// stopReason replaces the error of a request that was cut off because ctx is done.
func stopReason(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("bench: stopped before the first round: %w", context.Cause(ctx))
	}
	return err
}

type runner struct {
	o      Options
	env    *environment
	opened []Target
	cells  []*cell
	// refused has what targets do not do.
	refused []Refusal
}

// prepare opens all targets before anything is stored on one of them, then makes the cells in the order they will run.
func (r *runner) prepare(ctx context.Context) error {
	for _, t := range r.o.Targets {
		r.preparing(t, "")
		if err := t.open(ctx, r.env); err != nil {
			return err
		}
		r.opened = append(r.opened, t)
	}
	sessions := make(map[string]session)
	for _, t := range r.opened {
		for _, w := range r.o.Workloads {
			r.preparing(t, w.Name)
			s, err := t.session(ctx, w)
			if errors.Is(err, errNotApplicable) {
				continue
			}
			if refused := (*refusedError)(nil); errors.As(err, &refused) {
				r.refused = append(r.refused, Refusal{Target: t.Info().Name, Workload: w.Name, Answer: refused.Error()})
				continue
			}
			if err != nil {
				return err
			}
			sessions[t.Info().Name+" "+w.Name] = s
		}
	}
	for _, n := range r.o.Connections {
		for _, w := range r.o.Workloads {
			for _, t := range r.opened {
				if s := sessions[t.Info().Name+" "+w.Name]; s != nil {
					r.cells = append(r.cells, &cell{target: t, session: s, workload: w, connections: n})
				}
			}
		}
	}
	return nil
}

func (r *runner) preparing(t Target, workload string) {
	if fn := r.o.Events.Preparing; fn != nil {
		fn(t.Info().Name, workload)
	}
}

// closeMax bounds how long targets may take to remove what a run has left, where it has to be removed one by one.
const closeMax = 5 * time.Minute

// close closes the targets, also when ctx is done.
func (r *runner) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeMax)
	defer cancel()
	var err error
	for _, t := range r.opened {
		err = errors.Join(err, t.close(ctx))
	}
	return err
}

// rounds runs all rounds of all cells, every other one from the last cell to the first: what one leaves to the disk, or takes from
// the machine, is not always the same one's to bear.
func (r *runner) rounds(ctx context.Context) error {
	watch := startStopwatch()
	if fn := r.o.Events.Done; fn != nil {
		defer fn()
	}
	for i := range r.o.Rounds {
		for j := range r.cells {
			c := r.cells[j]
			if i%2 == 1 {
				c = r.cells[len(r.cells)-1-j]
			}
			r.settle(ctx)
			if ctx.Err() != nil {
				return nil
			}
			if err := r.round(ctx, c); err != nil {
				return err
			}
			if fn := r.o.Events.Round; fn != nil && ctx.Err() == nil {
				last := c.rounds[len(c.rounds)-1]
				fn(RoundEvent{Round: i + 1, Rounds: r.o.Rounds, Target: c.target.Info().Name, Workload: c.workload.Name,
					Connections: c.connections, OpsPerSecond: last.opsPerSecond(), BytesPerSecond: last.bytesPerSecond(),
					Done: i*len(r.cells) + j + 1, Total: r.o.Rounds * len(r.cells), Elapsed: watch.elapsed()})
			}
		}
	}
	return nil
}

// settle waits for the disk, but no longer than ctx lives.
func (r *runner) settle(ctx context.Context) {
	if r.o.Settle == "" {
		return
	}
	done := make(chan struct{})
	go func() {
		syncDisk(r.o.Settle)
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// round runs one round of a cell: connect, warm up, measure. A round that ctx interrupts is not counted.
func (r *runner) round(ctx context.Context, c *cell) (err error) {
	if err := c.session.begin(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.session.end()) }()
	workers := make([]worker, 0, c.connections)
	defer func() {
		for _, w := range workers {
			w.close() // a read-only socket's or buffer's: nothing that could be lost
		}
	}()
	for i := range c.connections {
		w, err := c.session.worker(ctx, i)
		if err != nil {
			return err
		}
		workers = append(workers, w)
	}
	limit, duration := r.roundBytes(c), r.o.Duration
	if c.workload.once() {
		duration = 1 << 62
	} else if _, _, err := measure(ctx, workers, r.o.WarmUp, limit/4); err != nil {
		return err
	}
	before, known := c.target.usage()
	busy := busies(workers)
	own, _ := ProcessUsage(os.Getpid())
	done, latencies, err := measure(ctx, workers, duration, limit)
	if err != nil || ctx.Err() != nil {
		return err
	}
	if after, ok := c.target.usage(); ok && known {
		done.ServerCPUSeconds, done.ServerRSSBytes = (after.CPU - before.CPU).Seconds(), after.RSSBytes
	}
	if after, ok := ProcessUsage(os.Getpid()); ok {
		done.ClientCPUSeconds = (after.CPU - own.CPU).Seconds()
	}
	done.Busy = busies(workers) - busy
	c.rounds = append(c.rounds, done)
	c.latencies.Merge(latencies)
	return nil
}

// busies returns how often workers were told that the target is too busy.
func busies(workers []worker) int64 {
	var n int64
	for _, w := range workers {
		if w, ok := w.(interface{ busies() int64 }); ok {
			n += w.busies()
		}
	}
	return n
}

// roundBytes returns how much a round of c may move. Only new data is bounded, since only that takes room.
func (r *runner) roundBytes(c *cell) int64 {
	if !c.workload.grows() {
		return 1 << 62
	}
	if n := c.target.Info().RoundBytes; n > 0 {
		return min(n, r.o.RoundBytes)
	}
	return r.o.RoundBytes
}

// measure lets all workers make requests for d, or until limit bytes are on their way, or ctx is done, and waits for the
// last answer. Each makes one request at least if there is one, and every request counts. If one fails, the others finish what they are at
// and the first error is returned; it is nil if ctx is done, since then requests are cut off.
func measure(ctx context.Context, workers []worker, d time.Duration, limit int64) (Round, *Histogram, error) {
	var (
		wg     sync.WaitGroup
		moved  atomic.Int64
		failed atomic.Pointer[error]
		tally  = make([]struct {
			Histogram
			last time.Duration
		}, len(workers))
	)
	watch := startStopwatch()
	for i, w := range workers {
		wg.Go(func() {
			t := &tally[i]
			for now := watch.elapsed(); failed.Load() == nil && ctx.Err() == nil; now = t.last {
				if t.Count() > 0 && (now >= d || moved.Load() >= limit) {
					return
				}
				n, err := w.do()
				if err == errEnd {
					return
				}
				if err != nil {
					failed.CompareAndSwap(nil, &err)
					return
				}
				moved.Add(int64(n))
				t.last = watch.elapsed()
				t.Record(t.last - now)
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil && ctx.Err() == nil {
		return Round{}, nil, *err
	}
	all, took := &Histogram{}, time.Duration(0)
	for i := range tally {
		all.Merge(&tally[i].Histogram)
		took = max(took, tally[i].last)
	}
	return Round{Ops: int64(all.Count()), Bytes: moved.Load(), Seconds: took.Seconds()}, all, nil
}
