package blobstore

import (
	"bytes"
	"time"

	"pagevault/pagestore"
)

// expire removes for good what was deleted and has been kept for long enough: blobs and snapshots with what only they show,
// and containers, of which a tomb remains. It returns how many containers there were. In each batch rows go in the order of
// their time, snapshots before their blob; each is looked at again within the update, for it may have been brought back.
func (a *Account) expire() (containers int, err error) {
	for !a.reaper.stopping() {
		due, err := a.expired()
		if err != nil || len(due) == 0 {
			return containers, err
		}
		blobs := 0
		err = a.update(func(tx *pagestore.Tx) error {
			for _, key := range due {
				found, err := expireRow(tx, key)
				if err != nil {
					return err
				}
				switch found {
				case tableBlob:
					blobs++
				case tableRemoved:
					containers++
				}
			}
			return nil
		})
		if err != nil {
			return containers, err
		}
		if a.events.Expired != nil && blobs > 0 {
			a.events.Expired(a.name, blobs)
		}
	}
	return containers, nil
}

// expired returns the keys of the first rows of expiry that are due.
func (a *Account) expired() (due [][]byte, err error) {
	from := []byte{tableExpiry}
	to := appendExpiryKey(nil, ticksAt(a.clock.Now())+1, nil)
	err = a.scan(from, to, func(it *pagestore.Iter) (bool, error) {
		due = append(due, bytes.Clone(it.Key()))
		return len(due) < reapBatch && it.Next(), nil
	})
	return due, err
}

// untilExpiry returns how long the reaper may sleep, which began to look at that time.
func (a *Account) untilExpiry(looked time.Time) (wait time.Duration) {
	wait = reapEvery
	from := []byte{tableExpiry}
	_ = a.scan(from, appendAfter(nil, from), func(it *pagestore.Iter) (bool, error) {
		if when, _, err := parseExpiryKey(it.Key()); err == nil {
			if when > ticksAt(looked) { // else it could not be removed, and is tried again later
				wait = min(wait, max(0, when.Time().Sub(a.clock.Now()))) // it may have become due meanwhile
			}
		}
		return false, nil
	}) // whoever wants to know what is wrong reads the error of reap
	return wait
}

// expireRow removes the row that a row of expiry names, and that one too. It returns the table the row was in, 0 if it was
// brought back meanwhile.
func expireRow(tx *pagestore.Tx, expiry []byte) (table byte, err error) {
	if _, ok, err := tx.Get(expiry); err != nil || !ok {
		return 0, err
	}
	until, key, err := parseExpiryKey(expiry)
	if err != nil {
		return 0, err
	}
	tx.Delete(expiry)
	value, ok, err := tx.Get(key)
	if err == nil && !ok {
		err = badRow("expiry of what is not there, a", expiry)
	}
	if err != nil {
		return 0, err
	}
	if key[0] == tableRemoved {
		return tableRemoved, buryRemoved(tx, key, value, until)
	}
	row, err := decodeBlobRow(value)
	switch {
	case err != nil:
		return 0, err
	case row.gone.until != until:
		return 0, badRow("expiry at another time than that of its", expiry)
	case row.gen == pagestore.GenHead:
		return tableBlob, expireBlob(tx, key, &row)
	}
	return tableBlob, expireSnapshot(tx, key, &row)
}

func expireBlob(tx *pagestore.Tx, key []byte, row *blobRow) error {
	if row.snaps.all > 0 { // they go before it
		return badRow("blob that would leave snapshots, a", key)
	}
	at, err := parseBlobName(key)
	if err != nil {
		return err
	}
	counted := tally{blobs: -1, bytes: -row.size}
	c := takeChange()
	defer c.release()
	c.tx, c.id, c.row = tx, at.container, *row
	if row.staging() { // they came after the blob was deleted, and have nothing to do with it
		err := c.keepStaged(at.name)
		tx.Set(key, c.row.append(nil))
		return firstError(err, count(tx, counted))
	}
	if err := c.leaveVolume(at.name); err != nil {
		return err
	}
	if row.versions.all == 0 {
		tx.Delete(key)
		return count(tx, counted)
	}
	c.vacate()
	tx.Set(key, c.row.append(nil))
	return count(tx, counted)
}

func expireSnapshot(tx *pagestore.Tx, key []byte, row *blobRow) error {
	at, err := parseBlobName(key)
	if err != nil {
		return err
	}
	base := appendBlobKey(nil, at.container, at.name, 0)
	value, ok, err := tx.Get(base)
	if err == nil && !ok {
		err = badRow("orphaned snapshot", key)
	}
	if err != nil {
		return err
	}
	c := takeChange()
	defer c.release()
	c.tx, c.now = tx, row.gone.until.Time()
	if c.row, err = decodeBlobRow(value); err != nil {
		return err
	}
	if err := c.dropSnapshot(key, row); err != nil {
		return err
	}
	c.key = append(c.key[:0], base...)
	c.keepUnlessBare()
	return count(tx, tally{snapshots: -1})
}
