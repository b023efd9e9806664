package blobstore

import (
	"encoding/binary"

	"pagevault/internal/invariant"
	"pagevault/pagestore"
)

// Totals are what an account has, as one row keeps it. The row changes in the Update that changes what it counts, so the
// two never disagree, whatever ends the process; Recount counts again.
//
// Blobs of a deleted container count until the reaper has removed them: only then is it known how many there were.
type Totals struct {
	Containers       uint64
	Blobs            uint64 // without snapshots and previous versions
	Snapshots        uint64 // and previous versions
	ProvisionedBytes uint64 // the sizes of the blobs together, whatever of them is written; snapshots and previous versions do not add to it
}

// The row of totals: version (1) · containers · blobs · snapshots · provisioned bytes. An account that never had a
// container has none. Writing pages does not touch it.

func appendTotalsRow(dst []byte, t *Totals) []byte {
	dst = append(dst, rowVersion)
	for _, n := range []uint64{t.Containers, t.Blobs, t.Snapshots, t.ProvisionedBytes} {
		dst = binary.AppendUvarint(dst, n)
	}
	return dst
}

func decodeTotalsRow(p []byte) (Totals, error) {
	d := rowReader{p: p}
	d.version()
	t := Totals{Containers: d.uvarint(), Blobs: d.uvarint(), Snapshots: d.uvarint(), ProvisionedBytes: d.uvarint()}
	if d.bad || len(d.p) > 0 {
		return Totals{}, badRow("totals", p)
	}
	return t, nil
}

// ReadTotals returns the totals of the account whose store the view shows, as its row keeps them. Errors:
// pagestore.ErrCorrupt for a row that cannot be read.
func ReadTotals(v *pagestore.View) (Totals, error) {
	t, _, err := findTotals(v)
	return t, err
}

func findTotals(from rows) (t Totals, found bool, err error) {
	row, found, err := from.Get(totalsKey)
	if err == nil && found {
		t, err = decodeTotalsRow(row)
	}
	return t, found, err
}

// Recount counts the rows of every container, blob and snapshot of the account whose store the view shows, and returns
// what ReadTotals must say. It takes as long as reading all of them does. Errors: pagestore.ErrCorrupt for a row that
// cannot be read.
func Recount(v *pagestore.View) (Totals, error) {
	var t Totals
	for _, table := range []byte{tableContainer, tableBlob} {
		err := scanView(v, []byte{table}, []byte{table + 1}, func(it *pagestore.Iter) (bool, error) {
			if err := t.countRow(it.Key(), it.Value()); err != nil {
				return false, err
			}
			return it.Next(), nil
		})
		if err != nil {
			return Totals{}, err
		}
	}
	return t, nil
}

// countRow adds one row of the tables of containers and blobs.
func (t *Totals) countRow(key, value []byte) error {
	if key[0] == tableContainer {
		t.Containers++
		return nil
	}
	row, err := decodeBlobRow(value)
	switch {
	case err != nil:
		return err
	case row.gen != pagestore.GenHead:
		t.Snapshots++
	case row.vacant:
	default:
		t.Blobs++
		t.ProvisionedBytes += uint64(row.size)
	}
	return nil
}

// tally is a change of the totals.
type tally struct{ containers, blobs, snapshots, bytes int64 }

// count makes a change of the totals part of the transaction.
func count(tx *pagestore.Tx, d tally) error {
	if d == (tally{}) {
		return nil
	}
	t, _, err := findTotals(tx)
	if err != nil {
		return err
	}
	t.Containers = moved(t.Containers, d.containers)
	t.Blobs = moved(t.Blobs, d.blobs)
	t.Snapshots = moved(t.Snapshots, d.snapshots)
	t.ProvisionedBytes = moved(t.ProvisionedBytes, d.bytes)
	tx.Set(totalsKey, appendTotalsRow(nil, &t))
	return nil
}

// moved returns n + by. Less than nothing would be a bug of ours; it must not keep anybody from deleting, and a recount
// shows it.
func moved(n uint64, by int64) uint64 {
	if by < 0 && uint64(-by) > n {
		invariant.Check(false, "totals: %d%+d", n, by)
		return 0
	}
	return n + uint64(by)
}

// startTotals counts what a store holds that was written before totals were kept. It runs before anything else changes
// the store.
func (a *Account) startTotals() error {
	var t Totals
	missing := false
	err := a.view(func(v *pagestore.View) error {
		_, found, err := findTotals(v)
		if err != nil || found {
			return err
		}
		// Without the row of the next id nothing was ever made here, and nothing is counted.
		if _, missing, err = v.Get(nextIDKey); err == nil && missing {
			t, err = Recount(v)
		}
		return err
	})
	if err != nil || !missing {
		return err
	}
	return a.update(func(tx *pagestore.Tx) error {
		tx.Set(totalsKey, appendTotalsRow(nil, &t))
		return nil
	})
}
