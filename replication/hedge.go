package replication

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"pagevault/internal/clock"
)

// attempt reads bytes from whichever source gives them first, beginning with the one that answers best. Another one is asked
// as well when one takes too long, and when one fails. Sources are not read into the caller's memory but where nothing
// else is left, so a read that never returns harms nobody.
type attempt struct {
	log     *Log
	p       []byte
	at      Position
	check   func(p []byte) error // nil: any bytes will do
	sources []source             // not asked yet, in order
	running []*fetch
	results chan *fetch
	timer   clock.Timer   // goes off when the fetches that are running take too long
	wait    time.Duration // that timer was set to
	errs    []error
}

// readAny fills p, at most pieceMax bytes if there is no check, with what lies at a position of the segment file, from any
// source whose bytes pass check. s is what the index has, or had.
func (l *Log) readAny(s indexed, p []byte, at Position, check func(p []byte) error) error {
	for {
		a := attempt{log: l, p: p, at: at, check: check, sources: l.sourcesOf(&s, check != nil)}
		err := a.run()
		if err == nil || errors.Is(err, ErrClosed) {
			return err
		}
		now, ok, _ := l.index.get(s.id)
		switch {
		case !ok: // any more
			return fmt.Errorf("read %d bytes at %v: %w", len(p), at, ErrDropped)
		case now.sameSources(&s):
			return err
		}
		s = now // it has other sources by now
	}
}

// errNoSource says that none of the members that are there has a segment.
func errNoSource(at Position) error {
	return &CorruptError{At: at, Reason: "none that is there has the segment"}
}

func (a *attempt) run() error {
	if len(a.sources) == 0 {
		return errNoSource(a.at)
	}
	a.results = make(chan *fetch, len(a.sources))
	defer a.leave()
	for {
		if len(a.running) == 0 {
			if len(a.sources) == 0 {
				return errors.Join(a.errs...)
			}
			if a.next() {
				return nil
			}
			continue
		}
		select {
		case f := <-a.results:
			a.running = slices.DeleteFunc(a.running, func(o *fetch) bool { return o == f })
			copy(a.p, f.buf)
			f.recycle()
			if a.done(f.from, f.err) || a.hedge() {
				return nil
			}
		case <-a.timer.C():
			for _, f := range a.running {
				f.noteLate()
			}
			if a.hedge() {
				return nil
			}
		}
	}
}

// next asks the next source, and reports whether it has answered already.
func (a *attempt) next() bool {
	s := a.sources[0]
	a.sources = a.sources[1:]
	off := int64(a.at.Offset)
	if s.cached(a.p, off) {
		return a.done(&s, nil)
	}
	if len(a.running) == 0 && len(a.sources) == 0 { // there is nobody to turn to
		return a.done(&s, s.fill(a.p, off))
	}
	f := a.log.fetch(s.m, len(a.p), a.results, func(b []byte) error { return s.fill(b, off) })
	f.from = &s
	a.running = append(a.running, f)
	a.setTimer(a.log.o.HedgeAfter)
	return false
}

func (a *attempt) setTimer(d time.Duration) {
	if a.wait = d; a.timer == nil {
		a.timer = a.log.o.Clock.NewTimer(d)
	} else {
		a.timer.Reset(d)
	}
}

// hedge asks one more source, if others are asked now and it can be expected to answer before them, and reports whether it
// has.
func (a *attempt) hedge() bool {
	if len(a.running) == 0 {
		return false
	}
	if n := len(a.running); a.worthwhile() && (a.next() || len(a.running) > n) {
		return len(a.running) == n
	}
	a.setTimer(2 * a.wait)
	return false
}

// worthwhile reports whether to ask the next source while others are asked. When all disks are slow because there is so much
// to read, to read everything twice would make it worse: so a member that has had a read under way for half as long as the
// one that is waited for is not asked. That changes when that takes longer still.
func (a *attempt) worthwhile() bool {
	if len(a.sources) == 0 || a.sources[0].spare {
		return false
	}
	s := &a.sources[0]
	if s.m == nil {
		return true
	}
	now := a.log.o.Clock.Now()
	waited := now.Sub(a.running[len(a.running)-1].started)
	waiting := s.m.health.condition(now, a.log.o.HedgeAfter).waiting
	return waiting <= max(waited/2, a.log.o.HedgeAfter/2)
}

// done takes the end of a read from a source, whose bytes are in a.p if err is nil, and reports whether they are right.
func (a *attempt) done(s *source, err error) bool {
	if err == nil && a.check != nil {
		if wrong := a.check(a.p); wrong != nil {
			err = &CheckError{Bytes: len(a.p), Err: wrong}
		}
	}
	if err == nil {
		return true
	}
	a.errs = append(a.errs, s.failed(a.at, len(a.p), err))
	return false
}

// leave leaves the fetches that are still running to themselves.
func (a *attempt) leave() {
	for _, f := range a.running {
		if f.late.Load() && f.member != nil {
			f.member.hedged.Add(1)
		}
		f.abandon()
	}
	if a.timer != nil {
		a.timer.Stop()
	}
}
