package pagestore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"pagevault/internal/clock"
	framing "pagevault/pagestore/frame"
	"pagevault/pagestore/gc"
	"pagevault/replication"
)

// Maintenance says what is done in the background to give space back, and how eagerly. The zero value of every field is a
// sound default.
type Maintenance struct {
	Disabled       bool          // nothing is done but by Store.Maintain
	Garbage        int           // percent of a segment that nothing needs from which it is rewritten. 0: 50
	BytesPerSecond int64         // bounds what is read and written for it. 0: 64 MiB
	Every          time.Duration // between two looks at whether there is something to do. 0: 5 s
	RewriteAfter   time.Duration // without any update after which what was stored fast is stored small. 0: 30 s, negative: never
	// CheckpointBytes is how much log there may be behind the checkpoint: what a start without an index has to replay.
	// 0: 4 GiB
	CheckpointBytes int64
}

const (
	defaultGarbage        = 50
	defaultPace           = 64 << 20
	defaultRewriteAfter   = 30 * time.Second
	defaultCheckpointLog  = 4 << 30
	fastWorthwhile        = 25 // percent of a segment's content, from which storing it anew is worth it
	maintenanceTick       = 5 * time.Second
	hungryTick            = time.Second // the same, while writes are refused that garbage might make room for
	checkpointPerGarbage  = 4           // a checkpoint is made when dropping would free this part of what it may have to write
	defaultMinDrop        = 64 << 20    // bytes that dropping must free for a checkpoint, in the background
	maintainGarbage       = 5           // percent, for Maintain
	maintainMinimumToSeal = 16 << 10    // bytes of an open segment without content that are worth dropping
	idleMinimumToSeal     = 4 << 20     // bytes of an idle store's open segment that nothing needs and that are worth sealing it
	firstRetry            = time.Second // after a failure that is not about a single segment; twice as long after each other one
	lastRetry             = 5 * time.Minute
)

func (m Maintenance) withDefaults() Maintenance {
	if m.Garbage == 0 {
		m.Garbage = defaultGarbage
	}
	if m.BytesPerSecond == 0 {
		m.BytesPerSecond = defaultPace
	}
	if m.Every == 0 {
		m.Every = maintenanceTick
	}
	if m.RewriteAfter == 0 {
		m.RewriteAfter = defaultRewriteAfter
	}
	if m.CheckpointBytes == 0 {
		m.CheckpointBytes = defaultCheckpointLog
	}
	return m
}

// maintainer gives space back. One goroutine does it in the background, from start to stop; Maintain does it at once.
type maintainer struct {
	clock  clock.Clock   // tells how long nobody has updated the store, and when to try again
	wake   chan struct{} // holds a value while a pass may be due
	hungry atomic.Bool   // a write was refused, and there is garbage
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{} // closed when the goroutine has ended; nil if it was not started

	step sync.Mutex // held by whoever carries out a step. It guards what follows

	stuck   map[replication.SegmentID]bool // segments that cannot be read: they stay
	stopped bool                           // counts are wrong: the background rewrites and drops nothing any more
	wait    time.Duration                  // before trying again after the last failure; 0: the last step has not failed
	retry   time.Time                      // when to try again, if wait is not 0
	told    error                          // the last failure that was reported
	pace    limiter
	newest  replication.LSN // of the last look at how busy the store is
	since   time.Time       // when that was last seen to have changed
	covered replication.LSN // of the last checkpoint that this store has made
	empty   []replication.SegmentID
	freed   bool // frames were freed since the index was last compacted
}

func (m *maintainer) init(o *Options) {
	m.clock, m.wake = clock.System, make(chan struct{}, 1)
	m.ctx, m.cancel = context.WithCancel(context.Background())
	m.stuck = make(map[replication.SegmentID]bool)
	m.pace = limiter{clock: clock.System, rate: o.Maintenance.BytesPerSecond}
}

// kick says that a pass is due.
func (m *maintainer) kick() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// starve says that there is no room for a write and that there is garbage.
func (m *maintainer) starve() {
	m.hungry.Store(true)
	m.kick()
}

func (m *maintainer) start(s *Store) {
	m.done = make(chan struct{})
	m.kick()
	go m.run(s)
}

// stop makes the goroutine, and every Maintain, end at once, and waits for the goroutine.
func (m *maintainer) stop() {
	m.cancel()
	if m.done != nil {
		<-m.done
	}
}

// run is the goroutine: passes as soon as they are due, everything else now and then.
func (m *maintainer) run(s *Store) {
	defer close(m.done)
	tick := time.NewTicker(s.o.Maintenance.Every)
	defer tick.Stop()
	var last time.Time // that everything was looked at
	now := make(chan struct{})
	close(now)
	for more := false; ; {
		var next chan struct{}
		if more {
			next = now
		}
		looked := false
		select {
		case <-m.ctx.Done():
			return
		case <-m.wake:
			looked = m.hungry.Swap(false) && clock.System.Now().Sub(last) >= hungryTick
		case <-tick.C:
			looked = true
		case <-next:
		}
		if err := s.Reap(m.ctx); err != nil && m.over(err) {
			return
		} else if err != nil && !errors.Is(err, ErrUnavailable) && s.o.Events.ReapFailed != nil {
			s.o.Events.ReapFailed(err)
		}
		if s.o.Maintenance.Disabled {
			continue
		}
		if looked {
			last = clock.System.Now()
			m.fold(s)
		}
		if looked || more {
			more = m.rewrite(s)
		}
	}
}

// fold folds the regions that are listed for it.
func (m *maintainer) fold(s *Store) {
	err := s.foldAll(m.ctx, &m.pace, true)
	if errors.As(err, new(*QuotaError)) {
		err = nil // there will be room, or not; nothing is lost
	}
	m.report(s, err)
}

// rewrite does one step of rewriting and dropping, and reports whether there may be more. With many writers there is always
// another segment to rewrite, and nothing else may wait for the last one.
func (m *maintainer) rewrite(s *Store) (more bool) {
	more, err := s.maintainInBackground()
	m.report(s, err)
	return more && m.ctx.Err() == nil
}

// report tells of a failure, once for as long as it stays the same. That the log has halted it tells by itself.
func (m *maintainer) report(s *Store, err error) {
	if err == nil || m.over(err) || errors.Is(err, ErrUnavailable) {
		return
	}
	if f := s.o.Events.MaintenanceFailed; f != nil && (m.told == nil || m.told.Error() != err.Error()) {
		f(err)
	}
	m.told = err
}

// foldAll folds every region that is listed for it. Regions that cannot be read are left, and the first such error is
// returned. settled is that of foldStep.
func (s *Store) foldAll(ctx context.Context, pace *limiter, settled bool) (first error) {
	for more := true; more; {
		var err error
		var bytes int
		if more, bytes, err = s.foldStep(ctx, settled); more && err == nil {
			err = pace.wait(ctx, 2*bytes) // read, and perhaps written
		}
		if err != nil && ctx.Err() != nil {
			return err
		}
		if errors.As(err, new(*QuotaError)) || errors.Is(err, ErrUnavailable) || s.unusable() != nil {
			return err
		}
		if first == nil {
			first = err
		}
	}
	return first
}

// over reports whether an error says nothing but that the store ends.
func (m *maintainer) over(err error) bool {
	return m.ctx.Err() != nil || errors.Is(err, ErrReadOnly) || errors.Is(err, ErrClosed)
}

// maintainInBackground carries out one step, and reports whether there may be more to do. After a failure that is not about
// a single segment, as of a full disk, the next step waits, longer each time; if counts are wrong there is none. While the
// log is halted nothing is done, and when that ends it goes on as before.
func (s *Store) maintainInBackground() (more bool, err error) {
	m := &s.maintenance
	select {
	case <-s.filled: // so that nothing is dropped that the summary still has to read
	default:
		return false, nil
	}
	m.step.Lock()
	defer m.step.Unlock()
	if m.stopped || m.wait > 0 && m.clock.Now().Before(m.retry) || s.flight.halt() != nil {
		return false, nil
	}
	rules := gc.Rules{Garbage: s.o.Maintenance.Garbage}
	how := thrifty
	if s.idleLocked() {
		how = idle
		if s.method != framing.Store {
			rules.Fast = fastWorthwhile
		}
		err = s.sealIdle(rules)
	}
	if err == nil {
		more, err = s.maintainLocked(m.ctx, rules, &m.pace, how)
	}
	m.outcome(err)
	return more && err == nil, err
}

// outcome notes how a step has ended, and with it when there may be another.
func (m *maintainer) outcome(err error) {
	switch {
	case err == nil:
		if m.wait > 0 {
			m.wait, m.told = 0, nil // should it fail again, that is news
		}
	case m.over(err), errors.Is(err, ErrUnavailable):
	case errors.Is(err, errMismatch):
		m.stopped = true
	default:
		m.wait = min(max(2*m.wait, firstRetry), lastRetry)
		m.retry = m.clock.Now().Add(m.wait)
	}
}

// idleLocked reports whether nobody has updated the store for a while.
func (s *Store) idleLocked() bool {
	m, after := &s.maintenance, s.o.Maintenance.RewriteAfter
	now, newest := m.clock.Now(), s.state.Load().applied
	if newest != m.newest {
		m.newest, m.since = newest, now
	}
	return after > 0 && now.Sub(m.since) >= after
}

// MaintainOptions are those of one Maintain.
type MaintainOptions struct {
	Garbage        int   // percent of a segment that nothing needs from which it is rewritten. 0: 5
	BytesPerSecond int64 // bounds what is read and written. 0: no bound
	KeepFast       bool  // what was stored fast is not stored anew for that
}

// MaintainProgress tells what Maintain has done so far, and what it is about to do.
type MaintainProgress struct {
	Doing   string // in a few words
	Moved   int    // frames
	Freed   int    // frames
	Bytes   int64  // stored anew
	Dropped int    // segments
}

// Maintain gives back all space that can be given back now, instead of leaving it to the background: what was dropped is
// deleted, regions in many pieces are folded, the open segment is sealed, segments with garbage are rewritten, and, unless
// KeepFast is set, those that can be stored in less; then the index is compacted, a checkpoint is made, and the segments
// that nothing is stored in are dropped, as far as no open view may still read them. progress may be nil.
//
// Errors: that of ctx when it ends; ErrClosed, ErrReadOnly, ErrUnavailable; ErrCorrupt if a frame can be read from no
// member, or if counts of what refers to stored blocks are wrong: nothing is freed then.
func (s *Store) Maintain(ctx context.Context, o MaintainOptions, progress func(MaintainProgress)) error {
	if err := s.hold(); err != nil {
		return err
	}
	defer s.letGo()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.maintenance.ctx, cancel)()
	err := s.maintainAll(ctx, &o, progress)
	if err != nil && s.maintenance.ctx.Err() != nil {
		return ErrClosed
	}
	return err
}

func (s *Store) maintainAll(ctx context.Context, o *MaintainOptions, progress func(MaintainProgress)) error {
	if err := s.unusable(); err != nil {
		return err
	}
	if s.state.Load().mismatch != 0 {
		return errMismatch
	}
	report := MaintainProgress{}
	tell := func(doing string) {
		if report.Doing = doing; progress != nil {
			progress(report)
		}
	}
	tell("deleting what was dropped")
	if err := s.Reap(ctx); err != nil {
		return err
	}
	pace := &limiter{clock: clock.System, rate: o.BytesPerSecond}
	tell("folding regions in many pieces")
	if err := s.foldAll(ctx, pace, false); err != nil && !errors.As(err, new(*QuotaError)) {
		return err
	}
	select {
	case <-s.filled:
	case <-ctx.Done():
		return ctx.Err()
	}
	m := &s.maintenance
	m.step.Lock()
	defer m.step.Unlock()
	clear(m.stuck)
	m.stopped, m.wait = false, 0
	if err := s.log.Rotate(); err != nil {
		return err
	}
	rules := gc.Rules{Garbage: o.Garbage, Before: s.nextSegment()}
	if rules.Garbage == 0 {
		rules.Garbage = maintainGarbage
	}
	if !o.KeepFast && s.method != framing.Store {
		rules.Fast = 1
	}
	for {
		tell("rewriting segments")
		r, err := s.compactNext(ctx, rules, pace)
		report.Moved, report.Freed, report.Bytes = report.Moved+r.moved, report.Freed+r.freed, report.Bytes+r.bytes
		if err != nil {
			return err
		}
		if r.segment == 0 {
			break
		}
	}
	tell("compacting the index")
	if err := s.tidyLocked(ctx); err != nil {
		return err
	}
	for range 3 { // what records of the first round leave behind goes in the second
		if err := s.sealIfEmpty(); err != nil {
			return err
		}
		tell("dropping segments")
		n, err := s.dropEmpty(ctx, pace, unstinted)
		report.Dropped += n
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
	}
	tell("done")
	return nil
}

// nextSegment returns the id that no segment has yet.
func (s *Store) nextSegment() uint32 {
	next := uint32(1)
	for _, g := range s.log.Segments() {
		next = uint32(g.ID) + 1
	}
	return next
}

// eagerness says what a checkpoint that lets segments go must free to be worth it.
type eagerness uint8

const (
	thrifty   eagerness = iota // what is much beside what it may have to write
	idle                       // that, or most of what is on disk: nobody else is about to make it more
	unstinted                  // anything
)

// maintainLocked carries out one step in the background: it rewrites a segment if one is worth it, which it reports, and
// drops what can be dropped by now.
func (s *Store) maintainLocked(ctx context.Context, rules gc.Rules, pace *limiter, how eagerness) (worked bool, err error) {
	if s.state.Load().mismatch != 0 {
		return false, nil // that was reported; nothing is freed
	}
	r, err := s.compactNext(ctx, rules, pace)
	if errors.Is(err, ErrCorrupt) && !errors.Is(err, errMismatch) && !errors.Is(err, ErrUnavailable) && r.segment != 0 {
		s.maintenance.stuck[r.segment] = true
		s.maintenance.report(s, err)
		err = nil
	}
	if err != nil {
		return false, err
	}
	if s.names.stale() {
		if err := s.tidyLocked(ctx); err != nil {
			return false, err
		}
	}
	_, err = s.dropEmpty(ctx, pace, how)
	return r.segment != 0, err
}

// compacted says what became of one segment.
type compacted struct {
	segment      replication.SegmentID // 0: there was none to rewrite
	moved, freed int
	bytes        int64
}

// compactNext rewrites the segment that needs it most.
func (s *Store) compactNext(ctx context.Context, rules gc.Rules, pace *limiter) (r compacted, err error) {
	segments, err := s.sealedSegments()
	if err != nil {
		return r, err
	}
	id, _, ok := gc.Choose(segments, rules)
	if !ok {
		return r, nil
	}
	r.segment = replication.SegmentID(id)
	r.moved, r.freed, r.bytes, err = s.compact(ctx, r.segment, pace)
	s.maintenance.freed = s.maintenance.freed || r.freed > 0
	s.maintenance.newest = s.state.Load().applied // nobody else's doing, or so we say: idle stays idle
	if f := s.o.Events.Compacted; f != nil && err == nil {
		f(r.segment, r.moved, r.freed, r.bytes)
	}
	return r, err
}

// sealedSegments describes all sealed segments but those that cannot be read.
func (s *Store) sealedSegments() ([]gc.Segment, error) {
	infos := s.log.Segments() // before the view, which then knows all frames of those that are sealed
	v, err := s.View()
	if err != nil {
		return nil, err
	}
	defer v.Close()
	out := make([]gc.Segment, 0, len(infos))
	for _, i := range infos {
		if !i.Sealed || i.Last > v.p.applied || s.maintenance.stuck[i.ID] {
			continue
		}
		row, err := readSegmentRow(v.snap, i.ID)
		if err != nil {
			return nil, err
		}
		out = append(out, describeSegment(&i, &row))
	}
	return out, nil
}

// describeSegment puts together what the log and the index know of a segment.
func describeSegment(i *replication.SegmentInfo, row *segmentRow) gc.Segment {
	return gc.Segment{ID: uint32(i.ID), Last: uint64(i.Last), Bytes: i.Bytes, Words: i.Bytes - i.DataBytes,
		Frames: row.frames, Stored: int64(row.stored), Live: int64(row.live), Fast: int64(row.fast)}
}

// openSegment describes the open segment. ok is false if there is none with records that are worth sealing it for.
func (s *Store) openSegment() (g gc.Segment, ok bool, err error) {
	infos := s.log.Segments()
	if len(infos) == 0 {
		return g, false, nil
	}
	last := &infos[len(infos)-1]
	if last.Sealed || last.Bytes < maintainMinimumToSeal {
		return g, false, nil
	}
	v, err := s.View()
	if err != nil {
		return g, false, err
	}
	row, err := readSegmentRow(v.snap, last.ID)
	return describeSegment(last, &row), true, errors.Join(err, v.Close())
}

// sealIfEmpty seals the open segment if nothing is stored in it and dropping it is worth anything.
func (s *Store) sealIfEmpty() error {
	g, ok, err := s.openSegment()
	if err != nil || !ok || g.Frames > 0 {
		return err
	}
	return s.log.Rotate()
}

// sealIdle seals the open segment of an idle store, in which it would stay as it is for ever, if it would be rewritten or
// dropped were it sealed, and there is enough in it. Whatever that writes lands in the next one and is less: what stays in
// use is not written again for as long as it is in use, and what says that the rest is free is a part of what it was.
func (s *Store) sealIdle(rules gc.Rules) error {
	g, ok, err := s.openSegment()
	if err != nil || !ok || g.Frames > 0 && g.Garbage() < rules.Garbage || s.state.Load().mismatch != 0 {
		return err
	}
	if g.Bytes-g.Live < idleMinimumToSeal && !s.isMost(g.Bytes) {
		return nil
	}
	return s.log.Rotate()
}

// isMost reports whether so many bytes of segments are more than half of what the store has on a disk that holds both a
// member of the log and the index.
func (s *Store) isMost(bytes int64) bool {
	st := s.log.Stats()
	return 2*bytes > st.Bytes+st.CheckpointBytes+int64(s.db.Metrics().DiskSpaceUsage())
}

// dropEmpty makes a checkpoint if it is time for one, or if it lets segments go, and drops those that nothing is stored in
// and nobody reads any more. how says when what is freed is worth the checkpoint.
func (s *Store) dropEmpty(ctx context.Context, pace *limiter, how eagerness) (dropped int, err error) {
	m := &s.maintenance
	segments, err := s.sealedSegments()
	if err != nil {
		return 0, err
	}
	empty, bytes := gc.Empty(segments, uint64(s.state.Load().applied))
	worth := bytes > 0 && how == unstinted || bytes >= maintainMinimumToSeal && how == idle && s.isMost(bytes) ||
		bytes >= max(s.o.minDropBytes, int64(s.db.Metrics().DiskSpaceUsage())/checkpointPerGarbage)
	if worth && len(m.empty) < len(empty) || s.behindCheckpoint() >= s.o.Maintenance.CheckpointBytes {
		lsn, err := s.checkpoint(ctx, func(n int) error { return pace.wait(ctx, n) })
		if err != nil {
			return 0, fmt.Errorf("checkpoint: %w", err)
		}
		m.covered, m.empty = lsn, m.empty[:0]
		for _, id := range empty { // they were when the checkpoint was begun, and still are
			m.empty = append(m.empty, replication.SegmentID(id))
		}
	}
	// The checkpoint knows where everything is that was in these segments. So does every picture since.
	if len(m.empty) == 0 || !s.views.allShow(m.covered) {
		return 0, nil
	}
	if err := s.log.Drop(m.empty...); err != nil {
		return 0, err
	}
	dropped, m.empty = len(m.empty), m.empty[:0]
	return dropped, nil
}

// behindCheckpoint returns how much log there is behind the checkpoint that the members hold, or of all if there is none.
func (s *Store) behindCheckpoint() (bytes int64) {
	at, _ := s.log.Checkpoint()
	for _, g := range s.log.Segments() {
		if g.Last > at.LSN {
			bytes += g.Bytes
		}
	}
	return bytes
}

// tidyLocked gives back what deleted rows take in the index and in the summary.
func (s *Store) tidyLocked(ctx context.Context) error {
	m := &s.maintenance
	if m.freed {
		if err := s.retire(); err != nil { // a snapshot nobody uses would keep the rows
			return err
		}
		if err := s.db.Compact(ctx, []byte{0}, []byte{0xff}, false); err != nil {
			return fmt.Errorf("index %s: %w", s.o.Dir, err)
		}
		m.freed = false
	}
	if set := s.names.cur.Load(); s.names.ready.Load() && set.gone.Load() > set.held.Load()/10 {
		return s.names.refill(s.db, ctx.Done())
	}
	return nil
}
