package blobstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"time"

	"pagevault/blobstore/lease"
	"pagevault/internal/azure/azerr"
	"pagevault/pagestore"
)

// Soft delete of containers: where Options says for how many days, the row of a container that is deleted moves to a table
// of its own, under its name and its id, and its blobs stay as they are, under the id. The name is free at once. Restore
// Container moves the row back; when its time is over the reaper makes a tomb of it.

// removedRow is what is stored about such a container: version (1) · when it was deleted (8, ticks) · when it goes (8) · the
// row it had, without a lease.
type removedRow struct {
	gone deletion
	row  containerRow
}

func (r *removedRow) append(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint64(append(dst, rowVersion), uint64(r.gone.at))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(r.gone.until))
	return r.row.append(dst)
}

// decodeRemovedRow reads a row. The result borrows p.
func decodeRemovedRow(p []byte) (r removedRow, err error) {
	d := rowReader{p: p}
	d.version()
	r.gone = deletion{ticks(d.uint64()), ticks(d.uint64())}
	d.must(r.gone.at != 0 && r.gone.until >= r.gone.at)
	if d.bad {
		return removedRow{}, badRow("removed container", p)
	}
	r.row, err = decodeContainerRow(d.p)
	return r, err
}

// containerVersion is how clients name one of several containers that had a name.
func containerVersion(id containerID) string { return fmt.Sprintf("%016X", uint64(id)) }

func parseContainerVersion(text string) (containerID, bool) {
	id, err := strconv.ParseUint(text, 16, 64)
	return containerID(id), err == nil && len(text) == 16 && id != 0
}

// keepContainer moves the row of a container that is deleted to where it is kept.
func (c *containerChange) keepContainer(name string, days int) error {
	c.row.lease = lease.State{}
	kept := removedRow{keepPolicy{days: days}.begins(c.now), c.row}
	key := appendRemovedKey(nil, name, c.row.id)
	c.tx.Delete(c.key)
	c.tx.Set(key, kept.append(nil))
	c.tx.Set(appendExpiryKey(nil, kept.gone.until, key), []byte{rowVersion})
	return count(c.tx, tally{containers: -1})
}

// RestoreContainer brings back a container that was deleted and is kept, with everything in it: the one of that version.
// Errors: ContainerAlreadyExists if another one has the name by now; ContainerNotFound if there is no such version, or not
// any more.
func (a *Account) RestoreContainer(name, version string) error {
	if err := checkContainerName(name); err != nil {
		return err
	}
	id, ok := parseContainerVersion(version)
	if !ok {
		return azerr.BadHeader("x-ms-deleted-container-version", version)
	}
	err := a.update(func(tx *pagestore.Tx) error {
		var s scratch
		if _, err := s.findContainer(tx, name); !errors.Is(err, azerr.ContainerNotFound) {
			return firstError(err, azerr.ContainerAlreadyExists)
		}
		key := appendRemovedKey(nil, name, id)
		value, ok, err := tx.Get(key)
		if err != nil {
			return err
		}
		if !ok {
			return azerr.ContainerNotFound
		}
		kept, err := decodeRemovedRow(value)
		if err != nil {
			return err
		}
		if !kept.gone.kept(a.clock.Now()) {
			return azerr.ContainerNotFound
		}
		tx.Delete(key)
		tx.Delete(appendExpiryKey(nil, kept.gone.until, key))
		tx.Set(s.key, kept.row.append(nil))
		return count(tx, tally{containers: 1})
	})
	if err == nil {
		a.reaper.kick() // copies were pending in it, it may be
	}
	return err
}

// buryRemoved makes a tomb of a container that was kept until then.
func buryRemoved(tx *pagestore.Tx, key, value []byte, until ticks) error {
	name, id, err := parseRemovedKey(key)
	if err != nil {
		return err
	}
	kept, err := decodeRemovedRow(value)
	if err != nil {
		return err
	}
	if kept.gone.until != until || kept.row.id != id {
		return badRow("removed container that does not go with its expiry, a", value)
	}
	tx.Delete(key)
	tx.Set(appendTombKey(nil, id), appendTombRow(nil, name))
	return nil
}

// removedInfo is what is told of such a container.
func removedInfo(key, value []byte, now time.Time) (info ContainerInfo, kept bool, err error) {
	name, id, err := parseRemovedKey(key)
	if err != nil {
		return info, false, err
	}
	r, err := decodeRemovedRow(value)
	if err != nil || !r.gone.kept(now) {
		return info, false, err
	}
	info, err = r.row.info(name, now)
	info.Version, info.Deleted = containerVersion(id), r.gone.info(now)
	return info, true, err
}

// listRemoved lists the containers that are kept, at most limit of them, from a key on.
func listRemoved(v *pagestore.View, from, to []byte, now time.Time, limit int) (found []ContainerInfo, err error) {
	err = scanView(v, from, to, func(it *pagestore.Iter) (bool, error) {
		info, kept, err := removedInfo(it.Key(), it.Value(), now)
		if kept {
			found = append(found, info)
		}
		return len(found) < limit && it.Next(), err
	})
	return found, err
}
