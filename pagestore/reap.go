package pagestore

import (
	"cmp"
	"context"
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"pagevault/replication"
)

// Page map entries that nobody can read any more are deleted by passes over the page map of a volume, in the background:
// the reaper looks for them in a view and has them deleted by records, a bounded number at a time. Which volumes are due
// is in the index, so that a pass goes on after any kind of end, from the volume's beginning.

const (
	// reapWork bounds the entries that one record of a pass changes: some milliseconds of the goroutine that applies.
	reapWork = 1024
	// reapWorkBusy is that bound while others wait for their records to be applied.
	reapWorkBusy = 128
	// reapSpan bounds the entries that the record of a pass lies around, changed or not: they are read again.
	reapSpan = 4096
	// reapLook bounds the entries looked at in one step.
	reapLook = 1 << 16
)

// reaper carries out passes, for one goroutine at a time.
type reaper struct {
	mu struct {
		sync.Mutex // held during a step
		pass
		last VolumeID // over which a pass was made; the next is over one behind it, so that all have their turn
	}
}

// pass is the pass that is under way.
type pass struct {
	volume VolumeID // 0: none
	due    replication.LSN
	from   uint64 // regions before this one are done
}

// Reap carries out every pass that is due, instead of leaving it to the background: after it nothing is stored that no
// volume or generation shows, as far as it was dropped before the call. It returns the error of ctx when that ends.
//
// A volume whose page map is damaged does not keep it from the others: the first such error is returned in the end.
func (s *Store) Reap(ctx context.Context) error {
	var first error
	failed := make(map[VolumeID]bool)
	for {
		volume, more, err := s.reapStep(ctx)
		switch {
		case err == nil && !more:
			return first
		case err == nil:
		case volume == 0 || failed[volume]: // no volume is to blame, or its turn has come again
			return cmp.Or(first, err)
		default:
			failed[volume], first = true, cmp.Or(first, err)
		}
	}
}

// reapOnce carries out one step of a pass. more is false if no pass is due. After an error because of damage in one
// volume, the next call goes on with another.
func (s *Store) reapOnce(ctx context.Context) (more bool, err error) {
	_, more, err = s.reapStep(ctx)
	return more, err
}

// reapStep is reapOnce. It names the volume if an error is due to it.
func (s *Store) reapStep(ctx context.Context) (volume VolumeID, more bool, err error) {
	r := &s.reaper.mu
	r.Lock()
	defer r.Unlock()
	if err := cmp.Or(ctx.Err(), s.unusable(), s.flight.settle()); err != nil {
		return 0, false, err
	}
	step, err := s.planStep(&r.pass, r.last)
	if volume = r.volume; err != nil && volume != 0 {
		r.pass, r.last = pass{}, volume
	}
	if err != nil || volume == 0 {
		return volume, false, err
	}
	if step.to > step.from {
		if err := s.Update(func(tx *Tx) error {
			tx.add(appendReapOp(tx.buf, r.volume, step.from, step.to, r.due))
			return nil
		}); err != nil {
			return 0, false, err
		}
	}
	if r.from = step.next; r.from == maxRegions {
		r.pass, r.last = pass{}, volume
	}
	return volume, true, nil
}

// passStep is what a step does: the regions [from, to) are to be reaped, none if from == to; the pass goes on at next.
type passStep struct{ from, to, next uint64 }

// planStep looks for the next regions in which there is something to do. If no pass is under way it begins one, over a
// volume behind last if there is one, and leaves p.volume 0 if none is due.
func (s *Store) planStep(p *pass, last VolumeID) (step passStep, err error) {
	v, err := s.View()
	if err != nil {
		return step, err
	}
	defer v.Close()
	due, found, err := readPass(v.snap, p.volume)
	if err != nil {
		return step, err
	}
	if !found {
		if *p, err = firstPass(v.snap, last+1); err == nil && p.volume == 0 {
			*p, err = firstPass(v.snap, 0)
		}
		if err != nil || p.volume == 0 {
			return step, err
		}
		due = p.due
	}
	var row volumeRow
	rules, err := readReapRules(v.snap, p.volume, &row)
	if err == nil && rules == nil {
		err = fmt.Errorf("%w: index: a pass is due over volume %d, which does not exist", ErrCorrupt, p.volume)
	}
	if err != nil {
		return step, err
	}
	if step, err = s.look(v.snap, p, rules); err != nil || step.next < maxRegions {
		return step, err
	}
	// The end. If something has come up since the pass began, there will be another one, and nothing to end.
	if due == p.due && step.to == step.from {
		step.from = maxRegions - 1
	}
	if due == p.due {
		step.to = maxRegions
	}
	return step, nil
}

// look reads on from where the pass is, until there is enough to do.
func (s *Store) look(from reader, p *pass, rules *reapRules) (step passStep, err error) {
	enough := reapWork
	if s.flight.busy() {
		enough = reapWorkBusy
	}
	w := regionWalk{volume: p.volume}
	if err := w.open(from, p.from, maxRegions); err != nil {
		return step, err
	}
	defer w.close()
	looked, span, work := 0, 0, 0
	for looked < reapLook && span < reapSpan && work < enough {
		ok, err := w.next()
		if err != nil {
			return step, err
		}
		if !ok {
			step.next = maxRegions
			return step, nil
		}
		var n int
		w.actions, n = rules.plan(w.actions[:0], w.no, w.entries)
		if n > 0 && work == 0 {
			step.from = w.no
		}
		if work += n; work > 0 {
			span += len(w.entries)
		}
		if n > 0 {
			step.to = w.no + 1
		}
		looked += len(w.entries)
		step.next = w.no + 1
	}
	return step, nil
}

// firstPass returns the pass of the first volume from id on that is due, none if none is.
func firstPass(from reader, id VolumeID) (p pass, err error) {
	it, err := from.NewIter(&pebble.IterOptions{LowerBound: appendPassKey(nil, id), UpperBound: []byte{rowPass + 1}})
	if err != nil {
		return p, fmt.Errorf("index: %w", err)
	}
	defer it.Close()
	if !it.First() {
		return p, it.Error()
	}
	if p.volume, err = decodePassKey(it.Key()); err == nil {
		var value []byte
		if value, err = it.ValueAndErr(); err == nil {
			p.due, err = decodePassRow(value)
		}
	}
	if err != nil {
		return pass{}, fmt.Errorf("%w: index: pass %x: %w", ErrCorrupt, it.Key(), err)
	}
	return p, nil
}
