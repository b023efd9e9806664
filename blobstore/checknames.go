package blobstore

import (
	"encoding/binary"

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
	for _, r := range runs {
		found.Offset, found.Length = int64(r.Start)*PageSize, int64(r.End-r.Start)*PageSize
		c.report(found)
	}
	return len(runs) > 0
}

// parseBlobName reads the key of a blob's row, which does not tell a version from a snapshot.
func parseBlobName(key []byte) (blobName, error) {
	name, snapshot, err := parseBlobKey(nil, key)
	if err != nil {
		return blobName{}, err
	}
	return blobName{container: containerID(binary.BigEndian.Uint64(key[1:])), name: string(name), snapshot: snapshot}, nil
}
