package blobstore

import (
	"bytes"
	"encoding/binary"
	"time"

	"pagevault/blobstore/immutable"
	"pagevault/blobstore/lease"
	"pagevault/internal/azure/azerr"
	"pagevault/pagestore"
)

// Soft delete: while the service properties say so, what is deleted stays in its place for a number of days, under its
// key, with its volume and generation, and can be brought back. Only its row says that it is gone, and nothing but a list
// that asks for it, Undelete Blob and Delete Blob for good look at such rows. Overwriting a blob makes a snapshot of it
// that is deleted from the start.
//
// Of each row that is gone a second one says when it goes for good, so that the reaper finds those without a search. Both
// change in one update. A blob goes no earlier than its snapshots: there is never a snapshot without a row of its blob.
//
// A row that is over its time counts as not there, whether the reaper has come to it or not.

// deletion says of a row that it is deleted and kept. The zero deletion: it is not deleted.
type deletion struct {
	at    ticks // when it was deleted
	until ticks // when it goes
}

// kept reports whether the deletion can still be taken back at that time.
func (d deletion) kept(now time.Time) bool { return d.at != 0 && d.until > ticksAt(now) }

// info returns what clients are told.
func (d deletion) info(now time.Time) *Deletion {
	if d.at == 0 {
		return nil
	}
	return &Deletion{Time: d.at.Time(), RemainingDays: int(max(0, d.until.Time().Sub(now)) / day)}
}

const day = 24 * time.Hour

// Deletion says of a blob, snapshot or container that it is deleted and kept for a while.
type Deletion struct {
	Time          time.Time
	RemainingDays int // whole ones
}

// The retention text of a blob's row, which says what there is to say of deletions and versions, begins with a byte that says
// which parts follow:
//
//	parts (1) · [when it was deleted (8) · when it goes (8)] · [how many snapshots are deleted · when the last goes (8)]
//	· [version id (8)] · [how many previous versions] · [how many of them are deleted · when the last goes (8)]
const (
	partGone         = 1 << 0
	partSnapshots    = 1 << 1
	partVersion      = 1 << 2
	partVersions     = 1 << 3
	partVersionsGone = 1 << 4
	partVacant       = 1 << 5 // nothing follows: there is no blob, only what it has left
)

// kept reports whether the row has anything to say of deletions or versions.
func (r *blobRow) kept() bool {
	return r.gone.at != 0 || r.snaps.gone != 0 || r.version != 0 || r.versions.all != 0 || r.vacant
}

func (r *blobRow) appendRetention(dst []byte) []byte {
	var text [1 + 16 + (binary.MaxVarintLen64 + 8) + 8 + binary.MaxVarintLen64 + (binary.MaxVarintLen64 + 8)]byte
	p := text[:1]
	if r.gone.at != 0 {
		p[0] |= partGone
		p = binary.LittleEndian.AppendUint64(p, uint64(r.gone.at))
		p = binary.LittleEndian.AppendUint64(p, uint64(r.gone.until))
	}
	if r.snaps.gone != 0 {
		p[0] |= partSnapshots
		p = binary.AppendUvarint(p, r.snaps.gone)
		p = binary.LittleEndian.AppendUint64(p, uint64(r.snaps.latest))
	}
	if r.version != 0 {
		p[0] |= partVersion
		p = binary.LittleEndian.AppendUint64(p, uint64(r.version))
	}
	if r.versions.all != 0 {
		p[0] |= partVersions
		p = binary.AppendUvarint(p, r.versions.all)
	}
	if r.versions.gone != 0 {
		p[0] |= partVersionsGone
		p = binary.AppendUvarint(p, r.versions.gone)
		p = binary.LittleEndian.AppendUint64(p, uint64(r.versions.latest))
	}
	if r.vacant {
		p[0] |= partVacant
	}
	return append(binary.AppendUvarint(dst, uint64(len(p))), p...)
}

// decodeRetention reads a retention text.
func (r *blobRow) decodeRetention(text []byte) bool {
	d := rowReader{p: text}
	parts := d.flags(partGone | partSnapshots | partVersion | partVersions | partVersionsGone | partVacant)
	d.must(parts != 0)
	if parts&partGone != 0 {
		r.gone = deletion{ticks(d.uint64()), ticks(d.uint64())}
		d.must(r.gone.at != 0 && r.gone.until >= r.gone.at)
	}
	if parts&partSnapshots != 0 {
		r.snaps.gone, r.snaps.latest = d.uvarint(), ticks(d.uint64())
		d.must(r.snaps.gone != 0 && r.snaps.gone <= r.snaps.all && r.snaps.latest != 0)
	}
	if parts&partVersion != 0 {
		r.version = snapshotID(d.uint64())
		d.must(r.version != 0)
	}
	if parts&partVersions != 0 {
		r.versions.all = d.uvarint()
		d.must(r.versions.all != 0)
	}
	if parts&partVersionsGone != 0 {
		r.versions.gone, r.versions.latest = d.uvarint(), ticks(d.uint64())
		d.must(r.versions.gone != 0 && r.versions.gone <= r.versions.all && r.versions.latest != 0)
	}
	if r.vacant = parts&partVacant != 0; r.vacant {
		d.must((r.volume == 0 || r.typ == BlockBlob) && r.size == 0 && r.gen == pagestore.GenHead && r.version == 0 && r.gone.at == 0)
	}
	return !d.bad && len(d.p) == 0
}

// live returns how many are not deleted.
func (s *frozenCount) live() uint64 { return s.all - s.gone }

// present reports whether there is any, deleted or not, that is not over its time.
func (s *frozenCount) present(now time.Time) bool { return s.live() > 0 || s.latest > ticksAt(now) }

// keep notes that one more is deleted, and kept until then.
func (s *frozenCount) keep(until ticks) {
	s.gone++
	s.latest = max(s.latest, until)
}

// forget notes that one of those that are deleted is none any more.
func (s *frozenCount) forget() {
	if s.gone--; s.gone == 0 {
		s.latest = 0
	}
}

// keepPolicy says what happens to what is deleted.
type keepPolicy struct {
	days      int  // for which it is kept; 0: it is not
	permanent bool // whether it may be deleted for good before
}

func findKeepPolicy(from rows) (keepPolicy, error) {
	p, err := findServiceProperties(from)
	k := keepPolicy{permanent: p.DeleteRetention.AllowPermanentDelete}
	if p.DeleteRetention.Enabled {
		k.days = p.DeleteRetention.Days
	}
	return k, err
}

// begins returns the deletion of something that is deleted now.
func (k keepPolicy) begins(now time.Time) deletion {
	return deletion{ticksAt(now), ticksAt(now.Add(time.Duration(k.days) * day))}
}

// setGone stores a row that is deleted and kept, with the row that says until when. Nothing protected it, so a policy
// that is over goes: what a clock that is set back would make of it must not keep the row for ever.
func setGone(tx *pagestore.Tx, key []byte, row *blobRow) {
	row.locks = immutable.State{}
	tx.Set(key, row.append(nil))
	tx.Set(appendExpiryKey(nil, row.gone.until, key), []byte{rowVersion})
}

// keepOverwritten keeps the blob that is about to be overwritten: as a previous version, or, if what is deleted is kept, as a
// snapshot that is deleted from the start. The blob's row counts it.
func (c *blobChange) keepOverwritten(a *Account, name string) error {
	if c.versioned(a) {
		if err := a.store.CheckMetadata(); err != nil { // the new blob is no smaller for what it leaves
			return err
		}
		return c.keepVersion(name)
	}
	policy, err := findKeepPolicy(c.tx)
	if err != nil || policy.days == 0 {
		return err
	}
	return c.freezeGone(name, policy.begins(c.now))
}

// freezeGone makes a snapshot of the blob, with that deletion.
func (c *blobChange) freezeGone(name string, d deletion) error {
	id, frozen, err := c.freezeAsIs()
	if err != nil {
		return err
	}
	frozen.gone = d
	c.row.snaps.keep(d.until)
	setGone(c.tx, appendBlobKey(nil, c.id, name, id), &frozen)
	return count(c.tx, tally{snapshots: 1})
}

// replaceGone makes room for a blob where one was deleted and is kept: that becomes a deleted snapshot of the new one,
// unless its time is over. What survives of its row, or of one that is vacant, is in c.row, as findForCreate has it. If there
// is none nothing happens. stay: the new blob has the volume of the old one, as for leaveVolume.
func (c *blobChange) replaceGone(name string, stay bool) error {
	value, ok, err := c.tx.Get(c.key)
	if err != nil || !ok {
		return err
	}
	if c.row, err = decodeBlobRow(value); err != nil {
		return err
	}
	if c.row.vacant {
		c.row.vacant = false
		if stay || c.row.volume == 0 {
			return nil
		}
		return c.leaveVolume(name)
	}
	gone := c.row.gone
	c.tx.Delete(appendExpiryKey(nil, gone.until, c.key))
	if gone.kept(c.now) {
		if err := c.freezeGone(name, gone); err != nil {
			return err
		}
	}
	counted := tally{blobs: -1, bytes: -c.row.size}
	c.row.gone, c.row.tags = deletion{}, nil // searches do not find what is deleted
	if err := count(c.tx, counted); err != nil || stay {
		return err
	}
	return c.leaveVolume(name)
}

// deleteKept makes one step of deleting a blob whose days are counted; done is false if there are more.
func (c *blobChange) deleteKept(a *Account, ref *BlobRef, mode DeleteSnapshots, policy keepPolicy) (done bool, err error) {
	had := c.row.snaps.live()
	if had > 0 {
		if mode == SnapshotsNone {
			return false, azerr.SnapshotsPresent
		}
		if err := c.keepSnapshots(ref.Blob, policy); err != nil {
			return false, err
		}
	}
	switch {
	case c.row.snaps.live() > 0 || mode == SnapshotsOnly && had > 0:
		c.keep()
		return c.row.snaps.live() == 0, nil
	case mode == SnapshotsOnly:
		return true, nil
	case c.versioned(a):
		return true, c.remove(a, ref)
	}
	if err := c.retag(ref, nil); err != nil {
		return false, err
	}
	if err := c.dropStaged(ref.Blob); err != nil {
		return false, err
	}
	c.row.lease = lease.State{}
	c.row.gone = policy.begins(c.now)
	c.row.gone.until = max(c.row.gone.until, c.row.snaps.latest)
	setGone(c.tx, c.key, &c.row)
	return true, nil
}

// bytesPerUpdate bounds the rows that one change writes anew: a record of the log has room for a few times as much.
const bytesPerUpdate = 2 << 20

// keptRow is a row to be changed.
type keptRow struct{ key, value []byte }

// collectFrozen returns the rows of the oldest snapshots and previous versions that want says yes to, as many as one change
// may touch. It looks no further when it has found all there are.
func (c *blobChange) collectFrozen(name string, all uint64, want func(*blobRow) bool) (found []keptRow, more bool, err error) {
	var bad error
	size := 0
	from, to := snapshotRows(c.id, name)
	err = c.tx.Scan(from, to, func(key, value []byte) bool {
		row, err := decodeBlobRow(value)
		if err != nil {
			bad = err
			return false
		}
		if want(&row) {
			found = append(found, keptRow{bytes.Clone(key), bytes.Clone(value)})
			size += 2*len(key) + len(value) + 64
		}
		more = len(found) == snapshotsPerUpdate || size >= bytesPerUpdate
		return !more && uint64(len(found)) < all
	})
	return found, more, firstError(err, bad)
}

// keepSnapshots deletes the oldest snapshots that are not deleted yet, as many as one change may, and keeps them.
func (c *blobChange) keepSnapshots(name string, policy keepPolicy) error {
	found, _, err := c.collectFrozen(name, c.row.snaps.live(), func(r *blobRow) bool { return r.gone.at == 0 && r.version == 0 })
	if err == nil && len(found) == 0 {
		err = badRow("miscounted snapshots of", c.key)
	}
	for i := 0; err == nil && i < len(found); i++ {
		var row blobRow
		if row, err = decodeBlobRow(found[i].value); err == nil {
			c.keepSnapshot(found[i].key, &row, policy)
		}
	}
	return err
}

// keepSnapshot deletes one snapshot, or previous version, and keeps it. c.row is that of its blob, which the caller stores.
func (c *blobChange) keepSnapshot(key []byte, snap *blobRow, policy keepPolicy) {
	snap.gone = policy.begins(c.now)
	c.row.frozenOf(snap).keep(snap.gone.until)
	setGone(c.tx, key, snap)
}

// deleteForGood removes a snapshot or a previous version that is deleted and kept, before its time.
func (c *blobChange) deleteForGood(ref *BlobRef, snapshot snapshotID, acc *Access) error {
	policy, err := findKeepPolicy(c.tx)
	if err != nil {
		return err
	}
	_, snap, err := c.findKept(c.tx, ref, snapshot)
	switch {
	case err != nil:
		return err
	case snap.notCurrent() != nil:
		return snap.notCurrent()
	case snap.gone.at == 0:
		return azerr.BlobSnapshotNotSoftDeleted
	case !snap.gone.kept(c.now):
		return azerr.BlobNotFound
	case !policy.permanent:
		return azerr.PermanentDeleteNotPermitted.With("Reason", "the service properties do not allow it")
	}
	if err := snap.checkConditions(&acc.Conditions); err != nil {
		return err
	}
	key := bytes.Clone(c.key)
	if c.id, c.row, err = c.findKept(c.tx, ref, 0); err != nil {
		return orphaned(err, key)
	}
	if err := c.dropSnapshot(key, &snap); err != nil {
		return err
	}
	if err := c.findLatest(ref.Blob); err != nil {
		return err
	}
	c.keepUnlessBare()
	return count(c.tx, tally{snapshots: -1})
}

// findLatest looks anew for when the last of the deleted snapshots and versions goes.
func (c *blobChange) findLatest(name string) error {
	c.row.snaps.latest, c.row.versions.latest = 0, 0
	gone := c.row.snaps.gone + c.row.versions.gone
	if gone == 0 {
		return nil
	}
	_, _, err := c.collectFrozen(name, 1, func(r *blobRow) bool {
		if f := c.row.frozenOf(r); r.gone.at != 0 {
			f.latest = max(f.latest, r.gone.until)
			gone--
		}
		return gone == 0
	})
	return err
}

// orphaned is the error of a snapshot whose blob is not found.
func orphaned(err error, key []byte) error {
	if err == azerr.BlobNotFound {
		return badRow("orphaned snapshot", key)
	}
	return err
}

// UndeleteBlob brings back a blob that was deleted and is kept, and those of its snapshots and previous versions that are, also
// those of a blob that is not deleted. What was deleted while it had a version id is a previous version, and stays that. If there is nothing to bring back and the blob exists that is a success. A blob that comes back has
// a new entity tag, and no lease; its snapshots have what they had.
//
// More snapshots and versions than one change can touch come back in several steps, the blob with the first.
func (a *Account) UndeleteBlob(ref BlobRef) error {
	if err := ref.checkWritable(&Access{}); err != nil {
		return err
	}
	c := takeChange()
	defer c.release()
	var err error
	first := true
	for more := true; err == nil && more; first = false {
		err = a.update(func(tx *pagestore.Tx) (err error) {
			c.tx, c.now = tx, a.clock.Now()
			more, err = c.undelete(a, &ref, first)
			return err
		})
	}
	return err
}

// undelete makes one step, after which there may be more to do. A later one finds the blob deleted only if somebody has
// deleted it again.
func (c *blobChange) undelete(a *Account, ref *BlobRef, first bool) (more bool, err error) {
	if c.id, c.row, err = c.findKept(c.tx, ref, 0); err != nil {
		return false, err
	}
	key := bytes.Clone(c.key)
	changed := c.row.gone.at != 0
	if changed {
		if !first {
			return false, nil
		}
		if !c.row.gone.kept(c.now) {
			return false, azerr.BlobNotFound
		}
		c.tx.Delete(appendExpiryKey(nil, c.row.gone.until, key))
		c.row.gone = deletion{}
		c.row.etag = a.nextTicks(c.row.etag)
		tags := c.row.tags
		c.row.tags = nil
		if err := c.retag(ref, tags); err != nil {
			return false, err
		}
		c.row.tags = tags
	}
	restored, more, err := c.undeleteFrozen(ref.Blob)
	if !more { // those that are left are over their time
		c.row.snaps.latest = min(c.row.snaps.latest, ticksAt(c.now))
		c.row.versions.latest = min(c.row.versions.latest, ticksAt(c.now))
	}
	if err == nil && c.row.vacant && restored == 0 && first {
		return false, azerr.BlobNotFound
	}
	if err == nil && (changed || restored > 0) {
		c.keep()
	}
	return more, err
}

// undeleteFrozen brings back the oldest snapshots and versions that are deleted and kept, as many as one change may.
func (c *blobChange) undeleteFrozen(name string) (restored int, more bool, err error) {
	gone := c.row.snaps.gone + c.row.versions.gone
	if gone == 0 {
		return 0, false, nil
	}
	found, more, err := c.collectFrozen(name, gone, func(r *blobRow) bool { return r.gone.kept(c.now) })
	for i := 0; err == nil && i < len(found); i++ {
		var row blobRow
		if row, err = decodeBlobRow(found[i].value); err != nil {
			break
		}
		c.tx.Delete(appendExpiryKey(nil, row.gone.until, found[i].key))
		row.gone = deletion{}
		c.row.frozenOf(&row).forget()
		c.tx.Set(found[i].key, row.append(nil))
	}
	return len(found), more, err
}
