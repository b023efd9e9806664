package blobstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"time"

	"pagevault/blobstore/immutable"
	"pagevault/internal/azure/header"
	"pagevault/pagestore"
)

// Reaped says what the reaper removed.
type Reaped struct {
	Container string
	Rows      int // blobs and snapshots removed since the service was opened
}

// reaper removes the blobs of deleted containers, and what was kept after a deletion when its time is over, in the
// background: one goroutine, from startReaper to stop. What is to be done is in the tombs and the rows of expiry, so that it
// goes on where it was after any kind of end.
type reaper struct {
	wake chan struct{} // holds a value while there may be something to do
	ctx  context.Context
	quit context.CancelFunc // makes it stop
	done chan struct{}      // closed when it has
}

// startReaper starts the account's reaper, which begins with what an earlier one left.
func (a *Account) startReaper() {
	a.reaper = &reaper{wake: make(chan struct{}, 1), done: make(chan struct{})}
	a.reaper.ctx, a.reaper.quit = context.WithCancel(context.Background())
	a.reaper.kick()
	go a.runReaper(a.reaper)
}

// reapEvery bounds how long the reaper sleeps. Nothing is kept for less than a day, so that one look before it is over is
// enough to be there in time, and nobody who deletes has to wake it.
const reapEvery = time.Hour

func (a *Account) runReaper(r *reaper) {
	defer close(r.done)
	timer := a.clock.NewTimer(reapEvery)
	defer timer.Stop()
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-r.wake:
		case <-timer.C():
		}
		looked := a.clock.Now()
		err := a.reap()
		for errors.Is(err, pagestore.ErrUnavailable) {
			// What was on its way then is removed later. Whoever looks before would remove it twice.
			if err = a.store.Settle(r.ctx); err == nil {
				err = a.reap()
			} else if r.stopping() {
				return
			}
		}
		if err != nil && a.events.ReapFailed != nil {
			a.events.ReapFailed(a.name, err)
		}
		asked := a.clock.Now()
		timer.Reset(a.untilExpiry(looked))
		if a.clock.Now().Sub(asked) >= time.Second { // the time to wait was told long before it began
			r.kick()
		}
	}
}

// kick says that there is something to do.
func (r *reaper) kick() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// stop makes the reaper end after the change it is at, and waits for it.
func (r *reaper) stop() {
	r.quit()
	<-r.done
}

func (r *reaper) stopping() bool { return r.ctx.Err() != nil }

// reapBatch bounds how many rows one change removes, those of tags too: with the longest names its record is about 1 MiB, and requests wait
// for a few milliseconds at most.
const reapBatch = 256

// reap takes away what copies have left that were not finished and what was kept for long enough, and empties all tombs
// there are.
func (a *Account) reap() error {
	if err := a.dropCopies(); err != nil {
		return err
	}
	if err := a.failPendings(); err != nil {
		return err
	}
	// What is damaged in one blob does not keep the rest.
	blocks := errors.Join(a.reapStaged(), a.sweep())
	if errors.Is(blocks, pagestore.ErrUnavailable) {
		return blocks
	}
	// Those of blobs in a container whose tomb is being emptied go with it, in the order of their keys.
	if err := a.reapTombs(); err != nil || a.reaper.stopping() {
		return firstError(err, blocks)
	}
	removed, err := a.expire()
	if err == nil && removed > 0 {
		err = a.reapTombs()
	}
	return firstError(err, blocks)
}

// reapTombs empties all tombs there are.
func (a *Account) reapTombs() error {
	tombs, err := a.tombs()
	if err != nil {
		return err
	}
	for _, t := range tombs {
		if err := a.reapTomb(&t); err != nil {
			return err
		}
		if a.reaper.stopping() {
			return nil
		}
	}
	return nil
}

// tomb is a deleted container whose blobs are to be removed.
type tomb struct {
	id   containerID
	name string
}

// tombs lists tombs.
func (a *Account) tombs() (found []tomb, err error) {
	from := []byte{tableTomb}
	err = a.scan(from, appendAfter(nil, from), func(it *pagestore.Iter) (bool, error) {
		key, value := it.Key(), it.Value()
		if len(key) != 9 || len(value) < 1 || value[0] != rowVersion {
			return false, badRow("tomb", value)
		}
		found = append(found, tomb{containerID(binary.BigEndian.Uint64(key[1:])), string(value[1:])})
		return it.Next(), nil
	})
	return found, err
}

// reapTomb removes all rows of a deleted container and then the tomb.
func (a *Account) reapTomb(t *tomb) error {
	from := appendContainerBlobs(nil, t.id)
	to := appendAfter(nil, from)
	reaped := Reaped{Container: t.name}
	for !a.reaper.stopping() {
		batch, err := a.doomed(from, to)
		if err != nil {
			return err
		}
		now := a.clock.Now()
		err = a.update(func(tx *pagestore.Tx) error {
			if len(batch) == 0 {
				tx.Delete(appendTombKey(nil, t.id))
			}
			var counted tally
			for i := range batch {
				if err := bury(tx, &batch[i], now); err != nil {
					return err
				}
				if row := &batch[i].row; row.gen != pagestore.GenHead {
					counted.snapshots--
				} else if !row.vacant {
					counted.blobs--
					counted.bytes -= row.size
				}
			}
			return count(tx, counted)
		})
		if err != nil {
			return err
		}
		reaped.Rows += len(batch)
		if len(batch) == 0 {
			if a.events.Reaped != nil {
				a.events.Reaped(a.name, reaped)
			}
			return nil
		}
		from = append(batch[len(batch)-1].key, 0)
	}
	return nil
}

// doomedRow is a row that is to be removed.
type doomedRow struct {
	key []byte
	row blobRow
}

// doomed returns the first rows in [from, to). Nothing can be missing from the picture it looks at: the container was gone
// before its tomb appeared, and nobody else touches rows of a container that is gone.
func (a *Account) doomed(from, to []byte) (batch []doomedRow, err error) {
	rows := 0
	err = a.scan(from, to, func(it *pagestore.Iter) (bool, error) {
		row, err := decodeBlobRow(it.Value())
		row.props, row.copy, row.state, row.tags = nil, nil, nil, bytes.Clone(row.tags)
		batch = append(batch, doomedRow{bytes.Clone(it.Key()), row})
		rows++
		if row.gen == pagestore.GenHead && len(row.tags) > 0 {
			rows += header.MaxTags
		}
		return rows < reapBatch && it.Next(), err
	})
	return batch, err
}

// bury removes one row. A volume goes with its blob, or, if only snapshots use it, with the first of them: their
// container is gone, so none of them can be read, but by those who began before. A container with immutable storage is
// empty when it is deleted; a row that is protected nevertheless stays until it no longer is.
func bury(tx *pagestore.Tx, d *doomedRow, now time.Time) error {
	if err := d.row.locks.Check(immutable.Delete, now); err != nil {
		return err
	}
	tx.Delete(d.key)
	if d.row.gone.at != 0 {
		tx.Delete(appendExpiryKey(nil, d.row.gone.until, d.key))
		d.row.tags = nil // searches did not find it
	}
	if d.row.staging() {
		at, err := parseBlobName(d.key)
		if err := firstError(err, dropStaged(tx, at.container, at.name, &d.row)); err != nil {
			return err
		}
	}
	if d.row.vacant && d.row.volume == 0 {
		return nil
	}
	if d.row.gen == pagestore.GenHead {
		return firstError(buryTags(tx, d), tx.Drop(d.row.volume))
	}
	counter := appendVolumeKey(nil, d.row.volume)
	_, ok, err := tx.Get(counter)
	if err != nil || !ok {
		return err
	}
	tx.Delete(counter)
	return tx.Drop(d.row.volume)
}
