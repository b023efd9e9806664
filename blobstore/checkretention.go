package blobstore

import (
	"fmt"

	"pagevault/pagestore"
)

// checkGone checks that the reaper will find a row of something that is deleted and kept.
func (c *checker) checkGone(at *blobName, key []byte, d deletion) error {
	_, ok, err := c.view.Get(appendExpiryKey(nil, d.until, key))
	if err == nil && !ok {
		c.report(c.blobProblem(pagestore.SeverityError, KindExpiryWrong, at, 0,
			"it is deleted and to be kept until %v, and nothing would remove it then", d.until.Time()))
	}
	return err
}

// checkGoneCounts compares what the blob says of its deleted snapshots and versions with what there is.
func (c *checker) checkGoneCounts(g *blobGroup) {
	c.compareGone(g, "snapshots", &g.base.snaps.frozenCount, &g.snaps)
	c.compareGone(g, "versions", &g.base.versions, &g.versions)
	switch gone := g.base.gone; {
	case gone.at != 0 && g.snaps.live() != 0:
		c.report(c.blobProblem(pagestore.SeverityError, KindSnapshotCount, &g.at, g.base.volume,
			"it is deleted, and %d of its snapshots are not", g.snaps.live()))
	case gone.at != 0 && gone.until < g.snaps.latest:
		c.report(c.blobProblem(pagestore.SeverityError, KindExpiryWrong, &g.at, g.base.volume,
			"it is kept until %v, one of its snapshots until %v", gone.until.Time(), g.snaps.latest.Time()))
	}
}

func (c *checker) compareGone(g *blobGroup, what string, says, is *frozenCount) {
	if says.gone == is.gone && says.latest >= is.latest {
		return
	}
	c.report(c.blobProblem(pagestore.SeverityError, KindSnapshotCount, &g.at, g.base.volume,
		"it counts %d %s that are deleted and kept, until %v; there are %d, until %v",
		says.gone, what, says.latest.Time(), is.gone, is.latest.Time()))
}

// checkExpiry checks a row that says when another one goes.
func (c *checker) checkExpiry(key, value []byte) {
	until, row, err := parseExpiryKey(key)
	if err == nil && (len(value) != 1 || value[0] != rowVersion) {
		err = badRow("expiry", value)
	}
	if err != nil {
		c.damagedRow(key, err)
		return
	}
	var gone deletion
	p, ok, err := c.view.Get(row)
	if err == nil && ok && row[0] == tableRemoved {
		var r removedRow
		r, err = decodeRemovedRow(p)
		gone = r.gone
	} else if err == nil && ok {
		var r blobRow
		r, err = decodeBlobRow(p)
		gone = r.gone
	}
	switch {
	case err != nil: // reported with the row
	case gone.at == 0 || gone.until != until:
		c.report(Problem{Severity: pagestore.SeverityError, Kind: KindExpiryWrong, Account: c.account,
			Text: fmt.Sprintf("row %x is to go at %v, and is not there, is not deleted, or goes at another time", row, until.Time())})
	}
}

// checkRemoved checks the row of a container that is deleted and kept.
func (c *checker) checkRemoved(key, value []byte) {
	name, id, err := parseRemovedKey(key)
	var r removedRow
	if err == nil {
		r, err = decodeRemovedRow(value)
	}
	if err == nil && r.row.id != id {
		err = badRow("removed container (an id that does not go with the key)", value)
	}
	if err == nil {
		_, err = decodeMetadata(r.row.meta)
	}
	if err == nil {
		_, err = decodePolicies(r.row.policies)
	}
	if err != nil {
		c.damagedRow(key, err)
		return
	}
	problem := func(kind pagestore.Kind, format string, args ...any) {
		c.report(Problem{Severity: pagestore.SeverityError, Kind: kind, Account: c.account, Container: name, Text: fmt.Sprintf(format, args...)})
	}
	if other := c.containers[id]; other.name != name || other.tomb {
		problem(KindContainerIDs, "its id %d is also that of %q", uint64(id), other.name)
	}
	if id >= c.blobIDs {
		problem(KindContainerIDs, "its id %d would be given out again: the next one is %d", uint64(id), uint64(c.blobIDs))
	}
	if _, ok, err := c.view.Get(appendExpiryKey(nil, r.gone.until, key)); err == nil && !ok {
		problem(KindExpiryWrong, "it is deleted and to be kept until %v, and nothing would remove it then", r.gone.until.Time())
	}
}
