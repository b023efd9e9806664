package blobstore

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"pagevault/pagestore"
)

// checkBlockList checks that the list of a block blob can be read and goes with what its row says.
func (c *checker) checkBlockList(at *blobName, row *blobRow) {
	if row.typ != BlockBlob || row.vacant {
		return
	}
	extents, _, err := readBlockList(c.view, row)
	if err != nil {
		c.report(c.blobProblem(pagestore.SeverityError, KindBlockList, at, row.volume, "its list of blocks: %v", err))
		return
	}
	if row.blocks.count == 0 && regionsFor(row.size) > row.blocks.next {
		c.report(c.blobProblem(pagestore.SeverityError, KindBlockList, at, row.volume,
			"it has %d bytes, and blocks would be put from region %d on", row.size, row.blocks.next))
	}
	for _, e := range extents {
		if e.slot+regionsFor(e.size) > row.blocks.next {
			c.report(c.blobProblem(pagestore.SeverityError, KindBlockList, at, row.volume,
				"the block at byte %d, of %d bytes, lies from region %d on, and others would be put from region %d on",
				e.start, e.size, e.slot, row.blocks.next))
		}
	}
}

// checkStaging checks that the blocks that wait to be committed to a blob are there, and that the reaper will find them.
func (c *checker) checkStaging(at *blobName, row *blobRow) {
	_, ok, err := c.view.Get(appendStagingKey(nil, at.container, at.name))
	if err == nil && !ok {
		c.report(c.blobProblem(pagestore.SeverityError, KindStagedBlocks, at, row.volume,
			"blocks wait to be committed to it, and nothing would remove them if they are not"))
	}
	n, beyond := uint64(0), uint64(0)
	err = scanStaged(c.view, row, func(id []byte, b stagedRow) bool {
		if n++; b.slot+regionsFor(b.size) > row.blocks.next {
			beyond++
		}
		return true
	})
	if err == nil && (n != row.blocks.staged.n || beyond > 0) {
		c.report(c.blobProblem(pagestore.SeverityError, KindStagedBlocks, at, row.volume,
			"%d blocks are said to wait to be committed to it; there are %d, of which %d lie where others would be put", row.blocks.staged.n, n, beyond))
	}
	c.stages.add(row.volume)
}

// checkStagingRow checks a row that says that blocks wait.
func (c *checker) checkStagingRow(key, value []byte) {
	base := bytes.Clone(key)
	base[0] = tableBlob
	at, err := parseBlobName(base)
	if err == nil && (at.snapshot != 0 || len(value) != 1 || value[0] != rowVersion) {
		err = badRow("staging", value)
	}
	if err != nil {
		c.damagedRow(key, err)
		return
	}
	if p, ok, err := c.view.Get(base); err == nil && ok {
		if row, err := decodeBlobRow(p); err != nil || row.staging() {
			return // a damaged one is reported with the blob
		}
	}
	c.report(c.blobProblem(pagestore.SeverityError, KindStagedBlocks, &at, 0, "a row says that blocks wait to be committed to it, and none do"))
}

// checkStaged checks the row of a block that waits.
func (c *checker) checkStaged(key, value []byte) {
	_, err := decodeStagedRow(value)
	if err == nil && (len(key) <= stagedPrefixLen || len(key) > stagedPrefixLen+BlockIDMax) {
		err = badKey(key)
	}
	if err != nil {
		c.damagedRow(key, err)
		return
	}
	v := pagestore.VolumeID(binary.BigEndian.Uint64(key[1:]))
	if c.stages.has(v) {
		return
	}
	if _, swept, err := c.view.Get(appendSweepKey(nil, v)); err == nil && !swept {
		c.report(Problem{Severity: pagestore.SeverityError, Kind: KindStagedBlocks, Account: c.account, Volume: uint64(v),
			Text: fmt.Sprintf("a block waits for a volume of no blob: row %x", key)})
	}
}

// checkSweep checks a row that asks for a sweep.
func (c *checker) checkSweep(key, value []byte) {
	if _, _, err := parseSweep(key, value); err != nil {
		c.damagedRow(key, err)
	}
}
