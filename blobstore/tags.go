package blobstore

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"

	"pagevault/blobstore/immutable"
	"pagevault/internal/azure/cond"
	"pagevault/internal/azure/header"
	"pagevault/pagestore"
)

// Tags are kept twice: with the blob, in its row, and one row for each in a table that is sorted by key and value, by
// which blobs are found. Both change in the same update. Snapshots have the tags the blob had, and no rows in the table:
// they are not searched.
//
// In a blob's row tags are encoded as metadata is, in the order of their keys. No tags are no bytes.

// tagSet is the tags of one blob, as conditions ask for them.
type tagSet []header.Pair

// Get returns the value of a key.
func (s tagSet) Get(key string) (value string, ok bool) {
	for i := range s {
		if s[i].Name == key {
			return s[i].Value, true
		}
	}
	return "", false
}

// appendTags appends tags as a blob's row holds them.
func appendTags(dst []byte, tags []header.Pair) []byte {
	if len(tags) == 0 {
		return dst
	}
	sorted := slices.SortedFunc(slices.Values(tags), func(a, b header.Pair) int { return cmp.Compare(a.Name, b.Name) })
	return appendMetadata(dst, sorted)
}

// decodeTags reads what appendTags wrote. The result does not borrow p.
func decodeTags(p []byte) ([]header.Pair, error) {
	if len(p) == 0 {
		return nil, nil
	}
	tags, err := decodeMetadata(p)
	if err != nil {
		return nil, err
	}
	sorted := slices.IsSortedFunc(tags, func(a, b header.Pair) int { return cmp.Compare(a.Name, b.Name) })
	if len(tags) == 0 || !sorted || header.CheckTags(tags) != nil {
		return nil, badRow("tags", p)
	}
	return tags, nil
}

// checkTags decides the condition on tags.
func (r *blobRow) checkTags(c *cond.Conditions) error {
	if !c.HasTags() {
		return nil
	}
	tags, err := decodeTags(r.tags)
	if err != nil {
		return err
	}
	return c.CheckTags(tagSet(tags))
}

// BlobTags returns the tags of a blob or a snapshot, in the order of their keys.
func (a *Account) BlobTags(ref BlobRef, acc *Access) ([]header.Pair, error) {
	info, err := a.BlobInfo(ref, acc)
	return info.Tags, firstError(err, info.CheckReadable())
}

// SetBlobTags replaces all tags of a blob, or of a version; without any they are removed. Neither its entity tag nor its modification time
// changes.
func (a *Account) SetBlobTags(ref BlobRef, acc *Access, tags []header.Pair) error {
	id, err := ref.checkVersionable(acc)
	if err != nil {
		return err
	}
	if err := header.CheckTags(tags); err != nil {
		return err
	}
	encoded := appendTags(nil, tags)
	c := takeChange()
	defer c.release()
	return a.update(func(tx *pagestore.Tx) error {
		c.tx, c.now = tx, a.clock.Now()
		if err := c.find(&ref, id, acc, false, immutable.Annotate); err != nil {
			return err
		}
		if err := a.store.CheckMetadata(); err != nil {
			return err
		}
		if err := c.retagged(&ref, encoded); err != nil {
			return err
		}
		c.row.tags = encoded
		c.keep()
		return nil
	})
}

// appendTagPrefix appends what the keys of all rows of a tag with that value begin with.
func appendTagPrefix(dst []byte, key, value string) []byte {
	dst = append(append(dst, tableTag), key...)
	dst = append(append(dst, 0), value...)
	return append(dst, 0)
}

// appendTagKey appends the key of the row by which a blob is found. Tags have no 00 in them, and the name ends the key, so
// that none of them needs an escape.
func appendTagKey(dst []byte, key, value string, id containerID, name string) []byte {
	dst = binary.BigEndian.AppendUint64(appendTagPrefix(dst, key, value), uint64(id))
	return append(dst, name...)
}

// taggedBlob is what the key of a row of a tag says.
type taggedBlob struct {
	key, value string
	container  containerID
	name       string
}

// parseTagKey reads what appendTagKey wrote.
func parseTagKey(p []byte) (t taggedBlob, err error) {
	if len(p) == 0 || p[0] != tableTag {
		return t, badKey(p)
	}
	key, rest, ok := bytes.Cut(p[1:], []byte{0})
	value, rest, ok2 := bytes.Cut(rest, []byte{0})
	if !ok || !ok2 || len(rest) <= 8 {
		return t, badKey(p)
	}
	return taggedBlob{string(key), string(value), containerID(binary.BigEndian.Uint64(rest)), string(rest[8:])}, nil
}

// The row of a tag: version (1) · name of the container, up to the end.

func appendTagRow(dst []byte, container string) []byte {
	return append(append(dst, rowVersion), container...)
}

func decodeTagRow(p []byte) (container string, err error) {
	if len(p) < 2 || p[0] != rowVersion {
		return "", badRow("tag", p)
	}
	return string(p[1:]), nil
}

// retag makes the rows by which the blob is found those of other tags, encoded: those of c.row.tags go. The caller stores
// the blob's row.
func (c *blobChange) retag(ref *BlobRef, tags []byte) error {
	if bytes.Equal(c.row.tags, tags) {
		return nil
	}
	had, err := decodeTags(c.row.tags)
	if err != nil {
		return err
	}
	want, err := decodeTags(tags)
	if err != nil {
		return err
	}
	for _, t := range had {
		if !slices.Contains(want, t) {
			c.tx.Delete(appendTagKey(nil, t.Name, t.Value, c.id, ref.Blob))
		}
	}
	for _, t := range want {
		if !slices.Contains(had, t) {
			c.tx.Set(appendTagKey(nil, t.Name, t.Value, c.id, ref.Blob), appendTagRow(nil, ref.Container))
		}
	}
	return nil
}

// buryTags removes the rows by which a blob of a deleted container was found.
func buryTags(tx *pagestore.Tx, d *doomedRow) error {
	if len(d.row.tags) == 0 {
		return nil
	}
	at, err := parseBlobName(d.key)
	if err != nil {
		return err
	}
	tags, err := decodeTags(d.row.tags)
	for _, t := range tags {
		tx.Delete(appendTagKey(nil, t.Name, t.Value, at.container, at.name))
	}
	return err
}
