package pagestore

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"pagevault/pagestore/pagemap"
	"pagevault/replication"
)

// isAlone reports whether a record is a step of a pass or of a copy: such an operation is the only one of its record.
func isAlone(meta []byte) bool {
	return len(meta) > 1 && meta[0] == recordCommit && (opKind(meta[1]) == opReap || opKind(meta[1]) == opCopy)
}

// reap carries out one step of a pass over a volume. The batch is empty before it, so that the rows are those in the
// database. The volume may have been dropped, or be gone: then the step is one too many, and does nothing.
func (a *applier) reap(o *op) error {
	if !a.alone || len(a.decoder.p) > 0 {
		return fmt.Errorf("%w: reap beside other operations", ErrCorrupt)
	}
	var row volumeRow
	rules, err := readReapRules(a.db, o.volume, &row)
	if rules == nil || err != nil {
		return err
	}
	w := regionWalk{volume: o.volume}
	if err := w.open(a.db, o.region, o.end); err != nil {
		return err
	}
	defer w.close()
	for {
		ok, err := w.next()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		if err := a.reapRegion(rules, &w); err != nil {
			return err
		}
	}
	if o.end < maxRegions {
		return nil
	}
	return a.endPass(o, rules)
}

// reapRegion changes the entries of one region as the rules say.
func (a *applier) reapRegion(rules *reapRules, w *regionWalk) error {
	var work int
	if w.actions, work = rules.plan(w.actions[:0], w.no, w.entries); work == 0 {
		return nil
	}
	k := regionKey{w.volume, w.no}
	a.forgetRegion(k)
	for i, act := range w.actions {
		e := &w.entries[i]
		var err error
		switch act.kind {
		case reapDrop:
			err = a.deleteEntry(k, e.gen, e.runs)
		case reapMask:
			a.entry = pagemap.Without(a.entry[:0], e.runs, act.lost)
			err = a.putEntry(k, e.gen, e.runs, a.entry)
		}
		if err != nil {
			return err
		}
	}
	return a.reapScattered(k, w)
}

// reapScattered keeps the scattered row of a region that was reaped: it goes unless the newest entry still has many runs.
func (a *applier) reapScattered(k regionKey, w *regionWalk) error {
	if len(w.entries[0].runs) <= foldRuns {
		return nil
	}
	switch act := w.actions[0]; act.kind {
	case reapKeep:
		return nil
	case reapMask:
		a.entry = pagemap.Without(a.entry[:0], w.entries[0].runs, act.lost)
		if len(a.entry) > foldRuns {
			return nil
		}
	}
	a.key = appendScatteredKey(a.key[:0], k.volume, k.no)
	return a.batch.Delete(a.key, nil)
}

// endPass does what a pass leads to, unless something has made another one necessary since it began.
func (a *applier) endPass(o *op, rules *reapRules) error {
	if due, found, err := readPass(a.db, o.volume); err != nil || !found || due != o.due {
		return err
	}
	a.key = appendPassKey(a.key[:0], o.volume)
	if rules.row.dropped {
		w := regionWalk{volume: o.volume} // no entry must go without its account being kept
		if err := w.open(a.db, 0, o.region); err != nil {
			return err
		}
		defer w.close()
		if left, err := w.next(); left || err != nil {
			return err
		}
		return a.forgetVolume(o.volume)
	}
	if err := a.batch.Delete(a.key, nil); err != nil {
		return err
	}
	if kept := rules.settle(); len(kept) < len(rules.row.erasures) {
		rules.row.erasures = kept
		a.key = appendVolumeKey(a.key[:0], o.volume)
		a.value = appendVolumeRow(a.value[:0], rules.row)
		if err := a.batch.Set(a.key, a.value, nil); err != nil {
			return err
		}
	}
	return a.batch.DeleteRange(appendVolumePrefix(nil, rowChange, o.volume), appendChangeKey(nil, o.volume, rules.unasked()+1, 0), nil)
}

// forgetVolume deletes what is left of a dropped volume that has no page map any more.
func (a *applier) forgetVolume(id VolumeID) error {
	for _, row := range []byte{rowGeneration, rowChange, rowScattered} {
		if err := a.batch.DeleteRange(appendVolumePrefix(nil, row, id), appendVolumePrefix(nil, row, id+1), nil); err != nil {
			return err
		}
	}
	return errors.Join(
		a.batch.Delete(appendVolumeKey(nil, id), nil),
		a.batch.Delete(appendPassKey(nil, id), nil))
}

// readReapRules reads what decides about the entries of a volume, dropped ones too; nil if there is no such volume. The
// rules keep row.
func readReapRules(from reader, id VolumeID, row *volumeRow) (*reapRules, error) {
	live, err := readVolume(from, id, row)
	if err != nil || !live && !row.dropped {
		return nil, err
	}
	rules := &reapRules{row: row}
	if live {
		rules.frozen, err = readGenerations(from, id)
	}
	return rules, err
}

// readPass reads since when a pass over the volume is due.
func readPass(from reader, id VolumeID) (due replication.LSN, found bool, err error) {
	value, closer, err := from.Get(appendPassKey(nil, id))
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("index: pass over volume %d: %w", id, err)
	}
	defer closer.Close()
	if due, err = decodePassRow(value); err != nil {
		return 0, false, fmt.Errorf("%w: index: pass over volume %d: %w", ErrCorrupt, id, err)
	}
	return due, true, nil
}

// regionWalk walks the regions of a volume with all their entries.
type regionWalk struct {
	volume VolumeID

	no      uint64     // of the current region
	entries []mapEntry // of it, newest first; valid until next
	actions []reapAction

	it    *pebble.Iterator
	valid bool // the iterator is at the first entry of the next region
}

// open sets the walk to the regions [from, to), before the first. It must be closed after that, whatever it returns.
func (w *regionWalk) open(from reader, first, end uint64) (err error) {
	w.it, err = from.NewIter(&pebble.IterOptions{
		LowerBound: appendMapKey(nil, w.volume, first, ^Gen(0)),
		UpperBound: appendMapKey(nil, w.volume, end, ^Gen(0)),
	})
	if err != nil {
		return fmt.Errorf("index: %w", err)
	}
	w.valid = w.it.First()
	return nil
}

func (w *regionWalk) close() {
	if w.it != nil {
		w.it.Close() // its errors were returned by next
	}
}

// next moves to the next region that has entries. It returns false after the last and on an error.
func (w *regionWalk) next() (bool, error) {
	n := 0
	for ; w.valid; w.valid = w.it.Next() {
		no, g, err := decodeMapKey(w.it.Key())
		if err != nil {
			return false, fmt.Errorf("%w: index: %w", ErrCorrupt, err)
		}
		if n > 0 && no != w.no {
			break
		}
		w.no = no
		if n < cap(w.entries) {
			w.entries = w.entries[:n+1] // keeps the memory of runs
		} else {
			w.entries = append(w.entries[:n], mapEntry{})
		}
		e := &w.entries[n]
		value, err := w.it.ValueAndErr()
		if err != nil {
			return false, fmt.Errorf("index: %w", err)
		}
		if e.runs, err = pagemap.DecodeEntry(e.runs[:0], value); err != nil {
			return false, fmt.Errorf("%w: index: volume %d region %d generation %d: %w", ErrCorrupt, w.volume, no, g, err)
		}
		e.gen = g
		n++
	}
	w.entries = w.entries[:n]
	if err := w.it.Error(); err != nil {
		return false, fmt.Errorf("index: %w", err)
	}
	return n > 0, nil
}
