package blobstore

import (
	"encoding/binary"

	"pagevault/internal/azure/header"
	"pagevault/pagestore"
)

// blobName names a blob, a snapshot or a previous version.
type blobName struct {
	container containerID
	name      string
	snapshot  snapshotID // or the id of the version
	version   bool       // it is a previous version, which the key does not say
}

// of completes the name by what the row says, and returns it.
func (n blobName) of(row *blobRow) blobName {
	n.version = n.snapshot != 0 && row.version != 0
	return n
}

// resolve finds the blobs that show the pending problems and reports these, once for each. lookUp false: without names.
func (c *checker) resolve(lookUp bool) {
	pending := c.pending
	c.pending = nil
	if len(pending) == 0 {
		return
	}
	named := make([]bool, len(pending))
	if lookUp {
		if err := c.scanNames(pending, named); err != nil {
			// The rows are themselves damaged, which is reported when they are checked.
			lookUp = false
		}
	}
	for i := range pending {
		if !named[i] {
			c.report(c.problem(&pending[i]))
		}
	}
}

// scanNames reads the rows of all blobs once and reports the problems of those that have any.
func (c *checker) scanNames(pending []pagestore.Problem, named []bool) error {
	if len(c.containers) == 0 {
		if err := c.loadContainers(); err != nil {
			return err
		}
	}
	byVolume := map[pagestore.VolumeID][]int{}
	for i := range pending {
		byVolume[pending[i].Volume] = append(byVolume[pending[i].Volume], i)
	}
	from := []byte{tableBlob}
	return scanView(c.view, from, appendAfter(nil, from), func(it *pagestore.Iter) (bool, error) {
		row, err := decodeBlobRow(it.Value())
		if err != nil || byVolume[row.volume] == nil {
			return it.Next(), nil
		}
		at, err := parseBlobName(it.Key())
		if err != nil {
			return it.Next(), nil
		}
		at = at.of(&row)
		for _, i := range byVolume[row.volume] {
			if c.showsIn(&pending[i], &row, &at) {
				named[i] = true
			}
		}
		return it.Next(), nil
	})
}

// showsIn reports a problem as one of a blob, a snapshot or a version, if that shows it, once for each run of bytes.
func (c *checker) showsIn(p *pagestore.Problem, row *blobRow, at *blobName) bool {
	if row.gen == pagestore.GenHead && p.Until != pagestore.GenHead ||
		row.gen != pagestore.GenHead && (row.gen < p.From || p.Until != pagestore.GenHead && row.gen >= p.Until) {
		return false
	}
	found := c.problem(p)
	c.locate(&found, at)
	if p.Pages.Start >= p.Pages.End { // about the volume as a whole
		c.report(found)
		return true
	}
	// Of the pages some may have been cleared since the row was stored.
	var runs []pagestore.Range
	err := c.view.Ranges(row.volume, row.gen, p.Pages, func(r pagestore.Range) bool {
		runs = append(runs, r)
		return true
	})
	if err != nil {
		runs = append(runs[:0], p.Pages)
	}
	shown := false
	for _, r := range runs {
		for _, bytes := range c.blobBytes(row, r) {
			found.Offset, found.Length = bytes.Start, bytes.End-bytes.Start
			c.report(found)
			shown = true
		}
	}
	return shown
}

// blobBytes returns which bytes of a blob lie in pages of its volume. Of a block blob these are parts of blocks, and blocks that no list
// names are no part of it. Where that cannot be told, because the list is damaged, it is all of the blob.
func (c *checker) blobBytes(row *blobRow, pages pagestore.Range) (found []header.Range) {
	whole := header.Range{Start: int64(pages.Start) * PageSize, End: int64(pages.End) * PageSize}
	if row.typ != BlockBlob || row.blocks.count == 0 {
		return []header.Range{whole}
	}
	extents, _, err := readBlockList(c.view, row)
	if err != nil || pages.Start >= listPage {
		return []header.Range{{End: row.size}}
	}
	for _, e := range extents {
		at := int64(e.slot) * regionBytes
		if from, to := max(whole.Start, at), min(whole.End, at+e.size); from < to {
			found = append(found, header.Range{Start: e.start + from - at, End: e.start + to - at})
		}
	}
	return found
}

// parseBlobName reads the key of a blob's row, which does not tell a version from a snapshot.
func parseBlobName(key []byte) (blobName, error) {
	name, snapshot, err := parseBlobKey(nil, key)
	if err != nil {
		return blobName{}, err
	}
	return blobName{container: containerID(binary.BigEndian.Uint64(key[1:])), name: string(name), snapshot: snapshot}, nil
}
