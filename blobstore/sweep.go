package blobstore

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"sync"

	"pagevault/pagestore"
)

// Sweeping gives back what nothing refers to in the volume of a block blob: blocks that a list had no use for, that were staged anew
// or came only in part. Slots are never used twice, so that a part of a volume which nothing refers to stays such.

// fill is a block on its way into its slot.
type fill struct {
	volume pagestore.VolumeID
	slot   uint64
	size   int64
}

// fills are the blocks that are on their way, and whether their end is uncertain, because a record about them is on its way.
type fills struct {
	sync.Mutex
	of map[fill]bool
}

func (f *fills) add(x fill) {
	f.Lock()
	defer f.Unlock()
	if f.of == nil {
		f.of = make(map[fill]bool)
	}
	f.of[x] = false
}

func (f *fills) doubt(x fill) {
	f.Lock()
	defer f.Unlock()
	f.of[x] = true
}

// uncertain returns those whose end is.
func (f *fills) uncertain() (found []fill) {
	f.Lock()
	defer f.Unlock()
	for x, doubted := range f.of {
		if doubted {
			found = append(found, x)
		}
	}
	return found
}

func (f *fills) remove(x fill) {
	f.Lock()
	defer f.Unlock()
	delete(f.of, x)
}

// in returns those into a volume.
func (f *fills) in(v pagestore.VolumeID) (found []fill) {
	f.Lock()
	defer f.Unlock()
	for x := range f.of {
		if x.volume == v {
			found = append(found, x)
		}
	}
	return found
}

// endFill ends a block that came, or did not. What it was going to be is swept up then, unless a record that makes it one is on its way.
func (a *Account) endFill(f fill, err error) {
	if f.volume == 0 {
		return
	}
	if errors.Is(err, pagestore.ErrUnavailable) {
		a.fills.doubt(f)
		return
	}
	a.fills.remove(f)
	if err != nil {
		a.reaper.kick()
	}
}

// sweepBatch bounds what one change of a sweep clears.
const sweepBatch = 64

// sweep sweeps all volumes of which a row says that there may be a need.
func (a *Account) sweep() error {
	type volume struct {
		id pagestore.VolumeID
		of sweepRow
	}
	var found []volume
	from := []byte{tableSweep}
	err := a.scan(from, appendAfter(nil, from), func(it *pagestore.Iter) (bool, error) {
		id, row, err := parseSweep(it.Key(), it.Value())
		found = append(found, volume{id, row})
		return err == nil && it.Next(), err
	})
	if err == nil {
		err = a.settleFills()
	}
	for _, v := range found {
		if errors.Is(err, pagestore.ErrUnavailable) || a.reaper.stopping() {
			break
		}
		err = firstError(err, a.sweepVolume(v.id, &v.of))
	}
	return err
}

// settleFills forgets the blocks on their way of which it is certain by now what has become of them.
func (a *Account) settleFills() error {
	uncertain := a.fills.uncertain()
	if len(uncertain) == 0 {
		return nil
	}
	if err := a.store.Settle(a.reaper.ctx); err != nil {
		if a.reaper.stopping() {
			return nil
		}
		return err
	}
	for _, f := range uncertain {
		a.fills.remove(f)
	}
	return nil
}

// sweepVolume sweeps one volume. Where blocks are on their way into it, it is done again later.
//
// What counts as used is looked at after the blocks on their way are, and those after the end of what may be swept: a block that
// came meanwhile is in one of the three.
func (a *Account) sweepVolume(v pagestore.VolumeID, of *sweepRow) error {
	before, err := a.sweptRow(of)
	if err != nil {
		return err
	}
	coming := a.fills.in(v)
	var row blobRow
	var gaps []pagestore.Range
	err = a.view(func(view *pagestore.View) (err error) {
		if row, err = findSwept(view, of); err != nil || row.volume != v || before.volume != v {
			return err
		}
		gaps, err = sweepable(view, &row, before.blocks.next, coming)
		return err
	})
	switch {
	case err != nil:
		return err
	case row.volume != v:
		return a.sweepRows(v, math.MaxUint32, true)
	case before.volume != v: // the blob got it a moment ago
		return nil
	case row.typ == AppendBlob:
		return a.sweepTail(v, of)
	}
	if err := a.sweepRows(v, row.blocks.epoch, false); err != nil {
		return err
	}
	for batch := range slices.Chunk(gaps, sweepBatch) {
		err := a.update(func(tx *pagestore.Tx) error {
			for _, gap := range batch {
				if err := tx.Clear(v, gap); err != nil {
					return err
				}
			}
			return nil
		})
		if errors.Is(err, pagestore.ErrNoVolume) {
			return nil // and next time its rows are
		}
		if err != nil {
			return err
		}
	}
	if len(coming) > 0 || before.blocks.next != row.blocks.next {
		return nil
	}
	return a.endSweep(of, &row)
}

func (a *Account) sweptRow(of *sweepRow) (row blobRow, err error) {
	err = a.view(func(view *pagestore.View) (err error) {
		row, err = findSwept(view, of)
		return err
	})
	return row, err
}

// findSwept returns the row of the blob that had the volume, a zero one if it is gone. It borrows nothing.
func findSwept(from rows, of *sweepRow) (row blobRow, err error) {
	value, ok, err := from.Get(appendBlobKey(nil, of.container, of.name, 0))
	if err != nil || !ok {
		return row, err
	}
	row, err = decodeBlobRow(value)
	row.props, row.tags, row.copy, row.state = nil, nil, nil, nil
	return row, err
}

// sweepable returns where in the volume of a block blob, up to a region, there are pages that nothing refers to.
func sweepable(view *pagestore.View, row *blobRow, end uint64, coming []fill) (gaps []pagestore.Range, err error) {
	if row.typ != BlockBlob {
		return nil, nil
	}
	used, _, err := readBlockList(view, row)
	if err != nil {
		return nil, err
	}
	if row.blocks.count == 0 && row.size > 0 {
		used = append(used, extent{size: row.size})
	}
	for _, f := range coming {
		used = append(used, extent{slot: f.slot, size: f.size})
	}
	err = scanStaged(view, row, func(_ []byte, b stagedRow) bool {
		used = append(used, extent{slot: b.slot, size: b.size})
		return true
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(used, func(a, b extent) int { return int(int64(a.slot) - int64(b.slot)) })
	used = append(used, extent{slot: end})
	at := uint64(0)
	for _, e := range used {
		gap := pagestore.Range{Start: slotPage(at), End: slotPage(min(e.slot, end))}
		if gap.Start < gap.End {
			any := false
			err := view.Ranges(row.volume, pagestore.GenHead, gap, func(pagestore.Range) bool {
				any = true
				return false
			})
			if err != nil {
				return nil, err
			}
			if any {
				gaps = append(gaps, gap)
			}
		}
		at = max(at, e.slot+regionsFor(e.size))
	}
	return gaps, nil
}

// endSweep takes away the row that asked for a sweep, unless there may be a need for another, and a volume that was made for
// blocks of which none came. swept is what the blob was when it was decided what to sweep.
func (a *Account) endSweep(of *sweepRow, swept *blobRow) error {
	c := takeChange()
	defer c.release()
	return a.update(func(tx *pagestore.Tx) (err error) {
		c.tx, c.now, c.id = tx, a.clock.Now(), of.container
		c.row, err = findSwept(tx, of)
		if err != nil || c.row.volume != swept.volume || c.row.etag != swept.etag || c.row.blocks != swept.blocks {
			return err
		}
		tx.Delete(appendSweepKey(nil, swept.volume))
		if !c.row.vacant || c.row.blocks.staged.n > 0 {
			return nil
		}
		return c.dropVacant(of)
	})
}

// dropVacant takes away the volume of a blob that is not there.
func (c *blobChange) dropVacant(of *sweepRow) error {
	c.key = appendBlobKey(c.key[:0], of.container, of.name, 0)
	if err := c.leaveVolume(of.name); err != nil {
		return err
	}
	c.vacate()
	c.keepUnlessBare()
	return nil
}

// sweepRows removes the rows of blocks that waited in a volume before an epoch and were let go; and, if the volume is gone, the row
// that asked for a sweep.
func (a *Account) sweepRows(v pagestore.VolumeID, before uint32, gone bool) error {
	from, to := appendStagedVolume(nil, v), appendStagedPrefix(nil, v, before)
	for !a.reaper.stopping() {
		var batch [][]byte
		err := a.scan(from, to, func(it *pagestore.Iter) (bool, error) {
			batch = append(batch, bytes.Clone(it.Key()))
			return len(batch) < reapBatch && it.Next(), nil
		})
		if err != nil {
			return err
		}
		err = a.update(func(tx *pagestore.Tx) error {
			for _, key := range batch {
				tx.Delete(key)
			}
			if len(batch) == 0 && gone {
				tx.Delete(appendSweepKey(nil, v))
			}
			return nil
		})
		if err != nil || len(batch) == 0 {
			return err
		}
	}
	return nil
}

// stagedFor is how long blocks wait to be committed.
const stagedFor = 7 * day

// reapStaged lets go of blocks that have waited for long enough.
func (a *Account) reapStaged() error {
	type waits struct {
		at      sweepRow
		touched ticks
		volume  pagestore.VolumeID
	}
	var over []waits
	var bad error
	before := ticksAt(a.clock.Now().Add(-stagedFor))
	from := []byte{tableStaging}
	err := a.view(func(view *pagestore.View) error {
		return scanView(view, from, appendAfter(nil, from), func(it *pagestore.Iter) (bool, error) {
			key := bytes.Clone(it.Key())
			key[0] = tableBlob
			at, err := parseBlobName(key)
			if err != nil {
				return false, err
			}
			of := sweepRow{at.container, at.name}
			row, err := findSwept(view, &of)
			if err != nil { // a damaged row, which checks report
				bad = firstError(bad, err)
				return it.Next(), nil
			}
			if row.staging() && row.blocks.staged.touched <= before && len(a.fills.in(row.volume)) == 0 {
				over = append(over, waits{of, row.blocks.staged.touched, row.volume})
			}
			return it.Next(), nil
		})
	})
	for i := range over {
		if err != nil || a.reaper.stopping() {
			break
		}
		err = a.dropWaiting(&over[i].at, over[i].volume, over[i].touched)
	}
	return firstError(err, bad)
}

// dropWaiting lets go of the blocks of a blob, unless others came after that time.
func (a *Account) dropWaiting(of *sweepRow, v pagestore.VolumeID, touched ticks) error {
	c := takeChange()
	defer c.release()
	return a.update(func(tx *pagestore.Tx) error {
		c.tx, c.now, c.id = tx, a.clock.Now(), of.container
		c.key = appendBlobKey(c.key[:0], of.container, of.name, 0)
		value, ok, err := tx.Get(c.key)
		if err != nil || !ok {
			return err
		}
		if c.row, err = decodeBlobRow(value); err != nil {
			return err
		}
		if !c.row.staging() || c.row.volume != v || c.row.blocks.staged.touched != touched {
			return nil
		}
		if c.row.vacant {
			return c.dropVacant(of)
		}
		err = c.dropStaged(of.name)
		c.keep()
		return err
	})
}

// sweepTail clears what lies behind the end of an append blob, unless something is being appended.
func (a *Account) sweepTail(v pagestore.VolumeID, of *sweepRow) error {
	unlock, ok := a.appends.lock(appendName{of.container, of.name}, 0, false, a.clock)
	if !ok {
		return nil
	}
	defer unlock()
	return a.update(func(tx *pagestore.Tx) error {
		row, err := findSwept(tx, of)
		if err != nil || row.volume != v {
			return err
		}
		tx.Delete(appendSweepKey(nil, v))
		return tx.Truncate(v, pagesFor(row.size))
	})
}
