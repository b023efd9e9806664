package blobstore

import (
	"encoding/binary"
	"fmt"
	"math"

	"pagevault/internal/azure/xmlbody"
	"pagevault/pagestore"
)

// The rows of this layer, checked table by table. Those of blobs are in checkgroup.go.

// phaseBlobs is what the progress of this part is called.
const phaseBlobs = "blobs"

// rows checks all rows of this layer.
func (c *checker) rows() error {
	c.claimed, c.counted, c.copies, c.stages, c.held = volumeSet{}, volumeSet{}, volumeSet{}, volumeSet{}, map[copyRow]bool{}
	if err := c.loadContainers(); err != nil {
		return err
	}
	tables := []struct {
		table byte
		check func(key, value []byte)
	}{
		{tableContainer, c.checkContainer},
		{tableNextID, c.checkNextID},
		{tableRemoved, c.checkRemoved},
		{tableTomb, c.checkTomb},
		{tableProperties, c.checkProperties},
		{tableVersioning, c.checkVersioning},
		{tableCopy, c.checkCopy}, // before blobs: it says what is kept for a copy
		{tableBlob, c.checkBlob},
		{tablePending, c.checkPending},
		{tableStaging, c.checkStagingRow},
		{tableStaged, c.checkStaged}, // after blobs, which say where blocks wait
		{tableSweep, c.checkSweep},
		{tableTag, c.checkTag},
		{tableExpiry, c.checkExpiry},
		{tableVolume, c.checkCounter},
		{tableTotals, c.checkTotals}, // last: it compares what was counted before
	}
	known := map[byte]bool{}
	for _, t := range tables {
		known[t.table] = true
		if err := c.table(t.table, t.check); err != nil {
			return err
		}
		if t.table == tableBlob {
			c.endGroup()
		}
	}
	if !c.totalsRow && c.totals != (Totals{}) {
		c.report(Problem{Severity: pagestore.SeverityError, Kind: KindTotalsWrong, Account: c.account,
			Text: fmt.Sprintf("there is no row of totals, and a recount gives %+v", c.totals)})
	}
	if err := c.otherTables(known); err != nil {
		return err
	}
	return c.leaks()
}

// table calls check for every row of a table.
func (c *checker) table(table byte, check func(key, value []byte)) error {
	from := []byte{table}
	return scanView(c.view, from, appendAfter(nil, from), func(it *pagestore.Iter) (bool, error) {
		check(it.Key(), it.Value())
		if err := c.step(); err != nil {
			return false, err
		}
		return it.Next(), nil
	})
}

// step counts a row, tells how far the check is, and ends it if it was cancelled.
func (c *checker) step() error {
	if c.progress.Rows++; c.progress.Rows%1024 != 0 {
		return nil
	}
	if c.o.Progress != nil {
		c.progress.Account, c.progress.Phase = c.account, phaseBlobs
		c.o.Progress(c.progress)
	}
	return c.ctx.Err()
}

// otherTables reports rows of tables that do not exist, one problem for each table.
func (c *checker) otherTables(known map[byte]bool) error {
	for at := []byte{}; ; {
		found := false
		var table byte
		err := scanView(c.view, at, nil, func(it *pagestore.Iter) (bool, error) {
			found = true
			if key := it.Key(); len(key) > 0 {
				table = key[0]
			}
			return false, nil
		})
		if err != nil || !found {
			return err
		}
		if !known[table] {
			c.report(Problem{Severity: pagestore.SeverityError, Kind: KindUserRowUnknown, Account: c.account,
				Text: fmt.Sprintf("rows of table %q, which this build does not know", table)})
		}
		if table == math.MaxUint8 {
			return nil
		}
		at = []byte{table + 1}
	}
}

// loadContainers learns the names of all containers. What is wrong with their rows is left to checkContainer.
func (c *checker) loadContainers() error {
	c.blobIDs = 1
	if value, ok, err := c.view.Get(nextIDKey); err != nil {
		return err
	} else if id, err := decodeNumberRow(value); ok && err == nil {
		c.blobIDs = containerID(id)
	}
	err := c.table(tableContainer, func(key, value []byte) {
		if row, err := decodeContainerRow(value); err == nil {
			c.containers[row.id] = containerState{name: string(key[1:]), immutable: row.immutable}
		}
	})
	if err != nil {
		return err
	}
	err = c.table(tableRemoved, func(key, value []byte) {
		if name, id, err := parseRemovedKey(key); err == nil {
			c.containers[id] = containerState{name: name}
		}
	})
	if err != nil {
		return err
	}
	return c.table(tableTomb, func(key, value []byte) {
		if len(key) == 9 && len(value) > 0 {
			c.containers[containerID(binary.BigEndian.Uint64(key[1:]))] = containerState{name: string(value[1:]), tomb: true}
		}
	})
}

func (c *checker) damagedRow(key []byte, err error) {
	p := Problem{Severity: pagestore.SeverityError, Kind: KindUserRowDamaged, Account: c.account, Text: fmt.Sprintf("row %x: %v", key, err)}
	switch at, bad := parseBlobName(key); {
	case bad == nil:
		if value, ok, err := c.view.Get(key); err == nil && ok {
			if row, err := decodeBlobRow(value); err == nil {
				at = at.of(&row)
			}
		}
		c.locate(&p, &at)
	case key[0] == tableContainer:
		p.Container = string(key[1:])
	}
	c.report(p)
}

func (c *checker) checkContainer(key, value []byte) {
	row, err := decodeContainerRow(value)
	if err == nil {
		_, err = decodeMetadata(row.meta)
	}
	if err == nil {
		_, err = decodePolicies(row.policies)
	}
	if err != nil {
		c.damagedRow(key, err)
		return
	}
	c.summary.Containers++
	c.totals.Containers++
	name := string(key[1:])
	if other := c.containers[row.id]; other.name != name || other.tomb {
		c.report(Problem{Severity: pagestore.SeverityError, Kind: KindContainerIDs, Account: c.account, Container: name,
			Text: fmt.Sprintf("its id %d is also that of %q", uint64(row.id), other.name)})
	}
	if row.id >= c.blobIDs {
		c.report(Problem{Severity: pagestore.SeverityError, Kind: KindContainerIDs, Account: c.account, Container: name,
			Text: fmt.Sprintf("its id %d would be given out again: the next one is %d", uint64(row.id), uint64(c.blobIDs))})
	}
}

func (c *checker) checkNextID(key, value []byte) {
	if _, err := decodeNumberRow(value); err != nil || len(key) != 1 {
		c.damagedRow(key, firstError(err, badKey(key)))
	}
}

func (c *checker) checkTomb(key, value []byte) {
	if len(key) != 9 || len(value) < 1 || value[0] != rowVersion {
		c.damagedRow(key, badRow("tomb", value))
	}
}

func (c *checker) checkProperties(key, value []byte) {
	var err error
	if len(key) != 1 || len(value) < 1 || value[0] != rowVersion {
		err = badRow("service properties", value)
	} else if _, e := xmlbody.ParseServiceProperties(value[1:]); e != nil {
		err = fmt.Errorf("%w: %w", badRow("service properties", value), e)
	}
	if err != nil {
		c.damagedRow(key, err)
	}
}

func (c *checker) checkVersioning(key, value []byte) {
	if err := checkVersioningRow(value); err != nil || len(key) != 1 {
		c.damagedRow(key, firstError(err, badKey(key)))
	}
}

// checkTotals compares the totals that are kept with those that were counted.
func (c *checker) checkTotals(key, value []byte) {
	c.totalsRow = true
	kept, err := decodeTotalsRow(value)
	if err == nil && len(key) != 1 {
		err = badKey(key)
	}
	switch {
	case err != nil:
		c.damagedRow(key, err)
	case kept != c.totals:
		c.report(Problem{Severity: pagestore.SeverityError, Kind: KindTotalsWrong, Account: c.account,
			Text: fmt.Sprintf("the row of totals says %+v, a recount gives %+v", kept, c.totals)})
	}
}

// checkCounter checks the row that counts the snapshots of a volume that no blob has any more.
func (c *checker) checkCounter(key, value []byte) {
	n, err := decodeNumberRow(value)
	if err == nil && len(key) != 9 {
		err = badKey(key)
	}
	if err != nil {
		c.damagedRow(key, err)
		return
	}
	if v := pagestore.VolumeID(binary.BigEndian.Uint64(key[1:])); !c.counted.has(v) {
		c.report(Problem{Severity: pagestore.SeverityError, Kind: KindSnapshotCount, Account: c.account, Volume: uint64(v),
			Text: fmt.Sprintf("a row counts %d snapshots of a volume that none has, or that a blob has too", n)})
	}
}

// checkCopy takes the row of a copy that is under way, or that a crash has left.
func (c *checker) checkCopy(key, value []byte) {
	row, err := decodeCopyRow(value)
	if err == nil && len(key) != 9 {
		err = badKey(key)
	}
	if err != nil {
		c.damagedRow(key, err)
		return
	}
	c.copies.add(pagestore.VolumeID(binary.BigEndian.Uint64(key[1:])))
	c.held[row] = true
}

// checkPending takes the row of a pending copy. Its blob may be gone with its container.
func (c *checker) checkPending(key, value []byte) {
	if _, err := parsePending(key, value); err != nil {
		c.damagedRow(key, err)
	}
}

// leaks reports volumes that no blob has.
func (c *checker) leaks() error {
	return c.view.Volumes(func(v pagestore.VolumeID) bool {
		if !c.claimed.has(v) && !c.copies.has(v) {
			c.report(Problem{Severity: pagestore.SeverityWarning, Kind: KindVolumeLeaked, Account: c.account, Volume: uint64(v),
				Text: "its pages belong to no blob and no snapshot"})
		}
		return true
	})
}
