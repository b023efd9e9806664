package pagestore

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"pagevault/internal/invariant"
	"pagevault/pagestore/pagemap"
)

type regionKey struct {
	volume VolumeID
	no     uint64
}

// regionState is the newest page map entry of a region as the batch leaves it.
type regionState struct {
	exists bool
	gen    Gen // in which the entry was stored
	runs   pagemap.Entry
	dirty  bool          // to be written; if it does not exist any more, its row is gone already
	stored bool          // there is a row of generation gen
	was    pagemap.Entry // what that row holds

	newest    Gen  // of the rows there were before the batch; 0: there were none
	left      bool // the batch has left an older row in place that it had found or made
	scattered bool // the region may have a scattered row
	folded    bool // the entry is what a fold left behind
}

// set makes runs the entry of the region in the current generation. touched are the pages that were written or
// cleared. It copies runs.
func (a *applier) set(k regionKey, v *volumeState, runs pagemap.Entry, touched pagemap.Bitmap) error {
	if err := a.touch(k, v, touched); err != nil {
		return err
	}
	r, err := a.load(k)
	if err != nil {
		return err
	}
	if r.exists && r.gen != v.gen { // the volume has moved on since
		if err := a.leave(k, v, r); err != nil {
			return err
		}
	}
	r.exists, r.gen, r.dirty, r.folded, r.runs = true, v.gen, true, false, append(r.runs[:0], runs...)
	a.unflushed = true
	if len(runs) == 0 {
		older, err := a.hasOlder(k, r)
		if err != nil {
			return err
		}
		if !older { // then there is nothing that an empty entry would hide
			return a.remove(k, v, r)
		}
	}
	if v.written != v.gen {
		v.written, v.dirty = v.gen, true
	}
	return nil
}

// leave makes room for an entry of the current generation, which is not that of the entry there is. That one stays if
// some frozen generation shows it.
func (a *applier) leave(k regionKey, v *volumeState, r *regionState) error {
	if v.frozen >= r.gen {
		r.left = true
		if r.dirty {
			if err := a.writeEntry(k, r); err != nil {
				return err
			}
		}
	} else if r.stored {
		if err := a.deleteEntry(k, r.gen, r.was); err != nil {
			return err
		}
	}
	r.stored, r.was = false, r.was[:0]
	return nil
}

// remove removes the only entry of a region, which is of the current generation. What was touched there need not be known
// any more: no frozen generation holds anything in the region.
func (a *applier) remove(k regionKey, v *volumeState, r *regionState) error {
	if r.stored {
		if err := a.deleteEntry(k, r.gen, r.was); err != nil {
			return err
		}
	}
	r.exists, r.stored, r.runs, r.was = false, false, r.runs[:0], r.was[:0]
	if v.frozen == 0 {
		return nil
	}
	delete(a.changes, changeKey{k.volume, v.gen, k.no})
	a.key = appendChangeKey(a.key[:0], k.volume, v.gen, k.no)
	return a.batch.Delete(a.key, nil)
}

// hasOlder reports whether the region has entries below its newest.
func (a *applier) hasOlder(k regionKey, r *regionState) (bool, error) {
	if r.left || r.newest <= 1 {
		return r.left, nil
	}
	if err := a.mapRows(); err != nil {
		return false, err
	}
	a.sought.volume = 0
	a.key = appendMapKey(a.key[:0], k.volume, k.no, r.newest-1)
	return a.it.SeekGE(a.key) && bytes.HasPrefix(a.it.Key(), a.key[:mapKeyBytes-4]), a.it.Error()
}

// mapRows has a.it iterate over page map rows.
func (a *applier) mapRows() error {
	if a.it != nil {
		return nil
	}
	var err error
	a.it, err = a.db.NewIter(&pebble.IterOptions{LowerBound: []byte{rowMap}, UpperBound: []byte{rowMap + 1}})
	return err
}

// seek finds the first region at or after no and before end that had an entry before the batch, with the generation of
// its newest entry, whose runs are then the iterator's value. It returns end if there is none.
func (a *applier) seek(v VolumeID, no, end uint64) (uint64, Gen, error) {
	if err := a.mapRows(); err != nil {
		return 0, 0, err
	}
	last := &a.sought
	if last.volume == v && last.from <= no && end <= last.found { // as for all but the first region of a new volume
		return end, 0, nil
	}
	last.volume = 0
	a.key = appendMapKey(a.key[:0], v, no, ^Gen(0))
	found, gen := uint64(noRegion), Gen(0)
	if a.it.SeekGE(a.key) && bytes.HasPrefix(a.it.Key(), a.key[:9]) {
		var err error
		if found, gen, err = decodeMapKey(a.it.Key()); err != nil {
			return 0, 0, err
		}
	} else if err := a.it.Error(); err != nil {
		return 0, 0, err
	}
	last.volume, last.from, last.found = v, no, found
	return min(found, end), gen, nil
}

// noRegion is greater than the number of any region.
const noRegion = math.MaxUint64

// current returns what the region holds now: its newest entry without what was erased since. It is valid until the next
// call.
func (a *applier) current(k regionKey, v *volumeState) (pagemap.Entry, error) {
	r, err := a.load(k)
	if err != nil || !r.exists {
		return nil, err
	}
	lost := v.erased(k.no, r.gen, v.gen)
	if lost.Empty() {
		return r.runs, nil
	}
	a.masked = pagemap.Without(a.masked[:0], r.runs, lost)
	return a.masked, nil
}

// load returns the newest entry of a region.
func (a *applier) load(k regionKey) (*regionState, error) {
	if r := a.regions[k]; r != nil {
		return r, nil
	}
	if r := a.kept.take(k.hash(), k); r != nil {
		a.regions[k] = r
		return r, a.checkKept(k, r)
	}
	r := a.newRegion()
	a.regions[k] = r
	return r, a.readRegion(k, r)
}

// readRegion reads the newest entry of a region into r, which is new.
func (a *applier) readRegion(k regionKey, r *regionState) error {
	no, gen, err := a.seek(k.volume, k.no, k.no+1)
	if err != nil || no != k.no {
		return err
	}
	value, err := a.it.ValueAndErr()
	if err != nil {
		return err
	}
	if r.runs, err = pagemap.DecodeEntry(r.runs[:0], value); err != nil {
		return fmt.Errorf("%w: index: volume %d region %d generation %d: %w", ErrCorrupt, k.volume, k.no, gen, err)
	}
	r.exists, r.gen = true, gen
	r.settle()
	return nil
}

// settle makes of r, which exists and is written, what reading it gives.
func (r *regionState) settle() {
	r.dirty, r.stored, r.newest, r.left, r.folded = false, true, r.gen, false, false
	r.was = append(r.was[:0], r.runs...)
	r.scattered = len(r.runs) > foldRuns
}

// hash returns the slot of a region: those of a volume lie beside each other.
func (k regionKey) hash() uint64 { return k.no + uint64(k.volume)*0x9e3779b97f4a7c15>>40 }

// keepRegion keeps the state of a region whose batch is committed.
func (a *applier) keepRegion(k regionKey, r *regionState) {
	if cap(r.runs)+cap(r.was) > 2*slotRuns { // not even its memory, for one that is in few pieces
		return
	}
	if r.exists {
		r.settle()
		r = a.kept.put(k.hash(), k, r)
	}
	if r != nil && len(a.spare) < maxSpare {
		a.spare = append(a.spare, r)
	}
}

// forgetRegion lets go of what is kept of a region whose rows are about to change.
func (a *applier) forgetRegion(k regionKey) { a.kept.take(k.hash(), k) }

// checkKept compares a state that was kept with the index.
func (a *applier) checkKept(k regionKey, r *regionState) error {
	if !invariant.Enabled {
		return nil
	}
	is := regionState{}
	err := a.readRegion(k, &is)
	invariant.Check(err != nil || is.exists && is.gen == r.gen && is.newest == r.newest && is.scattered == r.scattered &&
		slices.Equal(is.runs, r.runs) && slices.Equal(is.was, r.was) && r.stored && !r.dirty && !r.left && !r.folded,
		"volume %d region %d was kept as %+v and is %+v", k.volume, k.no, r, &is)
	return err
}

func (a *applier) newRegion() *regionState {
	n := len(a.spare)
	if n == 0 {
		return &regionState{}
	}
	r := a.spare[n-1]
	a.spare = a.spare[:n-1]
	*r = regionState{runs: r.runs[:0], was: r.was[:0]}
	return r
}

func (a *applier) writeEntry(k regionKey, r *regionState) error {
	err := a.putEntry(k, r.gen, r.was, r.runs)
	r.was, r.stored, r.dirty = append(r.was[:0], r.runs...), true, false
	return err
}

// Every change of a page map row goes through putEntry and deleteEntry, which keep account of what the entries refer to.

// putEntry stores an entry where the row now holds old, nothing if old is empty.
func (a *applier) putEntry(k regionKey, g Gen, old, runs pagemap.Entry) error {
	a.replaced(old, runs)
	a.key = appendMapKey(a.key[:0], k.volume, k.no, g)
	a.value = pagemap.AppendEntry(a.value[:0], runs)
	return a.batch.Set(a.key, a.value, nil)
}

// deleteEntry deletes a row, which holds old.
func (a *applier) deleteEntry(k regionKey, g Gen, old pagemap.Entry) error {
	a.replaced(old, nil)
	a.key = appendMapKey(a.key[:0], k.volume, k.no, g)
	return a.batch.Delete(a.key, nil)
}

// markScattered sets or deletes the row that says that the newest entry of a region has many runs. What a fold leaves
// behind cannot be folded any better, however many runs it has; it is not listed until something is written there.
func (a *applier) markScattered(k regionKey, r *regionState) error {
	was := r.scattered
	r.scattered = len(r.runs) > foldRuns && !r.folded
	a.key = appendScatteredKey(a.key[:0], k.volume, k.no)
	switch {
	case r.scattered: // perhaps it is listed already: that is not known of an entry that was read
		return a.batch.Set(a.key, nil, nil)
	case was:
		return a.batch.Delete(a.key, nil)
	}
	return nil
}

// flushRegions writes the entries that the batch has changed so far.
func (a *applier) flushRegions() error {
	for k, r := range a.regions {
		if !r.dirty {
			continue
		}
		if r.exists {
			if err := a.writeEntry(k, r); err != nil {
				return err
			}
		}
		if err := a.markScattered(k, r); err != nil {
			return err
		}
		r.dirty = false
	}
	a.unflushed = false
	return nil
}

// fold replaces the newest entry of a region by one that shows the same, if it is the one that was folded.
func (a *applier) fold(o *op) error {
	for _, r := range o.runs {
		if r.Frame >= a.state.nextFrame {
			return fmt.Errorf("%w: fold of volume %d region %d: run %v of a frame to come", ErrCorrupt, o.volume, o.region, r)
		}
	}
	if _, err := a.volume(o.volume); errors.Is(err, ErrNoVolume) {
		return nil
	} else if err != nil {
		return err
	}
	r, err := a.load(regionKey{o.volume, o.region})
	if err != nil || !r.exists || r.gen != o.gen || !slices.Equal(r.runs, o.old) {
		return err
	}
	r.runs, r.dirty, r.folded = append(r.runs[:0], o.runs...), true, true
	a.unflushed = true
	return nil
}
