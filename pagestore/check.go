package pagestore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"pagevault/internal/clock"
	"pagevault/pagestore/pagemap"
	"pagevault/replication"
)

// A check goes through a store in four passes, each over one picture of the index:
//
//	log     every byte of every file of every member: package replication knows how
//	rows    every row of the index: can it be read, and is what it leads to there
//	counts  all page maps: what they refer to, counted anew; see mark
//	frames  every frame that the index has: its bytes, opened, and the names of its content
//
// A problem with a frame waits in uses until a scan of the page maps has found what shows it.

// Check looks at everything the store holds, as this view shows it: see CheckOptions. It changes nothing but that a full
// check has the open segment of the log sealed, since only sealed ones are read as a whole.
//
// It takes a bounded amount of memory, plus a bit for each frame. An error says why it is not complete: that of ctx, or
// one of reading. The summary is of what was looked at until then.
func (v *View) Check(ctx context.Context, o CheckOptions) (CheckSummary, error) {
	c := &checker{ctx: ctx, v: v, s: v.s, o: o, clock: cmp.Or[clock.Clock](o.Clock, clock.System)}
	began := c.clock.Now()
	err := c.run()
	if err != nil && ctx.Err() == nil && (errors.Is(err, pebble.ErrCorruption) || c.s.corrupt.Load()) {
		err = &indexError{fmt.Sprintf("the index is damaged, and the check ends there: %s; make it anew with --rebuild-index while no server runs", oneLine(err.Error())), err}
	}
	c.uses.report(c, err == nil)
	c.summary.Took = c.clock.Now().Sub(began)
	return c.summary, err
}

// indexError says in a line why a check could not go on with an index.
type indexError struct {
	text  string
	cause error
}

func (e *indexError) Error() string { return e.text }
func (e *indexError) Unwrap() error { return e.cause }

// oneLine returns text on one line, without the words that Pebble puts behind an error to carry what its own callers ask.
func oneLine(text string) string {
	text = strings.ReplaceAll(text, "\n", "; ")
	text = strings.ReplaceAll(text, "; <corruption detail carrier>", "")
	return strings.ReplaceAll(text, " <corruption detail carrier>", "")
}

// checker is one check.
type checker struct {
	ctx     context.Context
	v       *View
	s       *Store
	o       CheckOptions
	clock   clock.Clock
	state   state
	summary CheckSummary

	progress CheckProgress
	pace     pacer
	uses     uses
	segments map[replication.SegmentID]replication.SegmentInfo
	sessions map[uint32]bool // that have a salt
	damaged  damagedSegments
}

func (c *checker) run() error {
	if err := c.readState(); err != nil {
		return err
	}
	if c.o.Level == CheckFull {
		// What this view shows lies in sealed segments then. A log that has failed, or is read only, has no open one that
		// grows, so there is nothing to wait for.
		if err := c.s.log.Rotate(); err != nil && c.s.log.Failed() == nil {
			return err
		}
	}
	c.segments = map[replication.SegmentID]replication.SegmentInfo{}
	for _, s := range c.s.log.Segments() {
		c.segments[s.ID] = s
		if c.o.Level == CheckFull {
			c.progress.Total += int64(len(c.s.o.Members)) * s.Bytes
		}
	}
	c.summary.Last = uint64(c.s.log.Stats().Last)
	passes := []func() error{c.rows, c.counts}
	if c.o.Level == CheckFull {
		c.progress.Total += int64(c.state.StoredBytes)
		passes = []func() error{c.log, c.rows, c.counts, c.frames}
	}
	for _, pass := range passes {
		if err := pass(); err != nil {
			return err
		}
	}
	return nil
}

// readState reads the state of the index as the view shows it.
func (c *checker) readState() error {
	value, closer, err := c.v.snap.Get(stateKey)
	if err != nil {
		return fmt.Errorf("index: state: %w", err)
	}
	defer closer.Close()
	if c.state, err = decodeState(value); err != nil {
		return fmt.Errorf("index: state: %w", err)
	}
	c.summary.Applied = uint64(c.state.applied)
	if c.state.mismatch != 0 {
		c.found(Problem{Kind: KindIndexStopped, Severity: SeverityError,
			Text: fmt.Sprintf("record %d did not fit the counts of blocks: since then nothing is freed; make the index anew", c.state.mismatch)})
	}
	return nil
}

// found reports a problem, at once or, if it is one of the content of a frame, once it is known what shows it.
func (c *checker) found(p Problem) {
	p.Text = oneLine(p.Text)
	if p.Frame != 0 && p.Volume == 0 && ofContent[p.Kind] {
		c.uses.add(c, p)
		return
	}
	if c.o.Found != nil {
		c.o.Found(p)
	}
}

func (c *checker) errorf(kind Kind, format string, args ...any) {
	c.found(Problem{Kind: kind, Severity: SeverityError, Text: fmt.Sprintf(format, args...)})
}

// phase says what is being looked at from now on.
func (c *checker) phase(name string) {
	c.progress.Phase = name
	c.tell()
}

func (c *checker) tell() {
	if c.o.Progress != nil {
		c.o.Progress(c.progress)
	}
}

// row counts a row that was read. The error is that of the context.
func (c *checker) row() error {
	c.summary.Rows++
	return c.step()
}

// step is row for one that is read again.
func (c *checker) step() error {
	if c.progress.Rows++; c.progress.Rows%1024 != 0 {
		return nil
	}
	c.tell()
	return c.ctx.Err()
}

// readBytes counts bytes that were read from the log, and waits if they were too many for the time.
func (c *checker) readBytes(n int64) error {
	c.progress.Bytes += n
	c.summary.Bytes += n
	c.tell()
	return c.pace.wait(c.ctx, c.clock, c.o.Rate, n)
}

// each calls fn for every row whose key begins with prefix, in order. An index that cannot be read any further is a
// problem, and ends this call, not the check: other rows may be whole.
func (c *checker) each(prefix []byte, fn func(key, value []byte) error) error {
	it, err := c.v.snap.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: prefixEnd(prefix)})
	if err != nil {
		return err
	}
	var failed error
	for ok := it.First(); ok && failed == nil; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			break // the iterator has it too
		}
		failed = fn(it.Key(), value)
	}
	if err := it.Error(); err != nil {
		c.unreadable(prefix, err)
	}
	return errors.Join(failed, it.Close())
}

// unreadable reports that the files of the index are damaged.
func (c *checker) unreadable(prefix []byte, err error) {
	c.errorf(KindIndexDamaged, "index %s: rows that begin with %q cannot be read to their end: %v", c.s.o.Dir, prefix, err)
}

// get calls fn with the value of a row, nil if there is none. An index that cannot be read is a problem, and fn is not
// called; ok is then false.
func (c *checker) get(key []byte, fn func(value []byte)) (ok bool) {
	value, closer, err := c.v.snap.Get(key)
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		fn(nil)
		return true
	case err != nil:
		c.unreadable(key, err)
		return false
	}
	defer closer.Close()
	fn(value)
	return true
}

// prefixEnd returns the smallest key greater than all that begin with prefix; nil if there is none.
func prefixEnd(prefix []byte) []byte {
	for n := len(prefix); n > 0; n-- {
		if prefix[n-1] != math.MaxUint8 {
			end := append([]byte(nil), prefix[:n]...)
			end[n-1]++
			return end
		}
	}
	return nil
}

// Volumes calls yield for every volume there is, in order of their numbers, until it returns false.
func (v *View) Volumes(yield func(VolumeID) bool) error {
	it, err := v.snap.NewIter(&pebble.IterOptions{LowerBound: []byte{rowVolume}, UpperBound: []byte{rowVolume + 1}})
	if err != nil {
		return err
	}
	var row volumeRow
	for ok := it.First(); ok; ok = it.Next() {
		id, err := decodeVolumeKey(it.Key())
		if err == nil {
			var value []byte
			if value, err = it.ValueAndErr(); err == nil {
				err = decodeVolumeRow(&row, value)
			}
		}
		if err != nil {
			return errors.Join(fmt.Errorf("%w: index: volume row %x: %w", ErrCorrupt, it.Key(), err), it.Close())
		}
		if !row.dropped && !yield(id) {
			break
		}
	}
	return errors.Join(it.Error(), it.Close())
}

// Frozen calls yield for every frozen generation of the volume that can be read, oldest first, until it returns false.
func (v *View) Frozen(vol VolumeID, yield func(Gen) bool) error {
	from, to := appendVolumePrefix(nil, rowGeneration, vol), appendVolumePrefix(nil, rowGeneration, vol+1)
	it, err := v.snap.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
	if err != nil {
		return err
	}
	for ok := it.First(); ok; ok = it.Next() {
		_, g, err := decodeGenerationKey(it.Key())
		if err != nil {
			return errors.Join(fmt.Errorf("%w: index: %w", ErrCorrupt, err), it.Close())
		}
		if !yield(g) {
			break
		}
	}
	return errors.Join(it.Error(), it.Close())
}

// pacer keeps a reader to a rate. The zero value is ready.
type pacer struct {
	since time.Time // of the bytes counted; zero: none yet
	bytes int64
}

// paceSlack is how far ahead of the rate a reader may be before it waits: waiting for less costs more than it evens out.
const paceSlack = 50 * time.Millisecond

// wait counts n bytes and waits until they were due at the rate, bytes a second; 0 is no bound. The error is that of the
// context.
func (p *pacer) wait(ctx context.Context, c clock.Clock, rate, n int64) error {
	if rate <= 0 {
		return ctx.Err()
	}
	now := c.Now()
	if p.since.IsZero() {
		p.since = now
	}
	p.bytes += n
	due := p.since.Add(time.Duration(float64(p.bytes) / float64(rate) * float64(time.Second)))
	ahead := due.Sub(now)
	if ahead < paceSlack {
		if ahead < -time.Second { // a pause is not caught up with
			p.since, p.bytes = now, 0
		}
		return ctx.Err()
	}
	timer := time.NewTimer(ahead)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// frameSet is a set of frames, 64 to a word.
type frameSet map[uint64]uint64

func (s frameSet) add(id pagemap.FrameID) { s[uint64(id)/64] |= 1 << (id % 64) }

func (s frameSet) has(id pagemap.FrameID) bool { return s[uint64(id)/64]&(1<<(id%64)) != 0 }
