package blobstore

import (
	"bytes"
	"encoding/binary"
	"strings"

	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/header"
	"pagevault/internal/azure/tagexpr"
	"pagevault/internal/azure/xmlbody"
	"pagevault/pagestore"
)

// findRowsMax bounds the rows that one search looks at. A client whose search meets more rows than that and few blobs gets
// a page that is not full, and goes on from its marker: no request takes much longer than a full list.
const findRowsMax = 20_000

// FindRequest asks for the blobs that have certain tags.
type FindRequest struct {
	Container  string // only of this container. "": of the account, or of the container that Where names
	Where      *tagexpr.Where
	Marker     string // NextMarker of the page before
	MaxResults int    // more than 5,000 is cut; 0: 5,000
}

// FoundBlob is a blob that has the tags asked for.
type FoundBlob struct {
	Container, Name string
	Tags            []header.Pair // those that Where names
}

// FindResult is one page of what a search found. A page may be empty and not the last.
type FindResult struct {
	Blobs      []FoundBlob
	NextMarker string // "" at the end
}

// FindBlobs finds blobs by their tags, in the order of the value of one of the keys, then of containers as they were made,
// then of names. It reads the rows of one key within its bounds, of one that must have a certain value if there is any,
// and of the blobs that these name only if other keys are asked about too.
func (a *Account) FindBlobs(req *FindRequest) (FindResult, error) {
	limit, err := listLimit(req.MaxResults)
	if err != nil {
		return FindResult{}, err
	}
	f := &finder{where: req.Where, limit: limit, dead: map[containerID]bool{}}
	f.by = &f.where.Keys[0]
	for i := range f.where.Keys {
		if k := &f.where.Keys[i]; k.One() && !f.by.One() {
			f.by = k
		}
	}
	if f.from, f.to, err = f.bounds(req.Marker); err != nil {
		return FindResult{}, err
	}
	name := req.Container
	if name == "" && req.Where.HasContainer {
		name = req.Where.Container
	}
	if req.Container != "" {
		if err := checkContainerName(req.Container); err != nil {
			return FindResult{}, err
		}
	}
	err = a.view(func(v *pagestore.View) error {
		f.view = v
		if name != "" {
			row, err := f.findContainer(v, name)
			if req.Container == "" && err == azerr.ContainerNotFound {
				return nil // nothing is in it
			} else if err != nil {
				return err
			}
			f.only = row.id
		}
		if bytes.Compare(f.from, f.to) >= 0 {
			return nil
		}
		return scanView(v, f.from, f.to, f.take)
	})
	return f.result, err
}

// finder is one search while it is made.
type finder struct {
	scratch
	view     *pagestore.View
	where    *tagexpr.Where
	by       *tagexpr.Bounds // of the key whose rows are read
	only     containerID     // 0: any
	limit    int
	rows     int                  // looked at
	dead     map[containerID]bool // containers that were met: whether they are deleted
	from, to []byte
	result   FindResult
}

// afterValue in place of the 00 that ends a value is behind all rows of that value, and before those of any longer one.
const afterValue = 1

// bounds returns the rows to read: those of a key with values within its bounds, from the marker on.
func (f *finder) bounds(marker string) (from, to []byte, err error) {
	b := f.by
	key := append(append([]byte{tableTag}, b.Key...), 0)
	end := func(value string, with bool) []byte {
		last := byte(0)
		if with {
			last = afterValue
		}
		return append(append(bytes.Clone(key), value...), last)
	}
	from = end(b.Low, !b.LowIn)
	to = appendAfter(nil, key)
	if b.HasHigh {
		to = end(b.High, b.HighIn)
	}
	at, err := xmlbody.DecodeMarker(marker)
	if err != nil || at == "" {
		return from, to, err
	}
	if !strings.HasPrefix(at, string(key[1:])) {
		return nil, nil, badMarker(marker)
	}
	if at := append([]byte{tableTag}, at...); bytes.Compare(at, from) > 0 {
		from = at
	}
	return from, to, nil
}

// take looks at one row and moves on.
func (f *finder) take(it *pagestore.Iter) (more bool, err error) {
	t, err := parseTagKey(it.Key())
	if err != nil {
		return false, err
	}
	if f.only != 0 && t.container != f.only {
		at := f.containerOf(&t, f.only)
		if t.container > f.only { // go on with the next value
			at = appendTagPrefix(nil, t.key, t.value)
			at[len(at)-1] = afterValue
		}
		return f.seek(it, at)
	}
	if dead, err := f.deleted(t.container, it.Value()); err != nil {
		return false, err
	} else if dead {
		return f.seek(it, f.containerOf(&t, t.container+1))
	}
	if len(f.result.Blobs) == f.limit || f.rows == findRowsMax {
		f.result.NextMarker = xmlbody.EncodeMarker(string(it.Key()[1:]))
		return false, nil
	}
	f.rows++
	found, ok, err := f.look(&t, it.Value())
	if err != nil {
		return false, err
	}
	if ok {
		f.result.Blobs = append(f.result.Blobs, found)
	}
	return it.Next(), nil
}

// seek moves on to a key. It counts as a row that was looked at.
func (f *finder) seek(it *pagestore.Iter, at []byte) (more bool, err error) {
	if f.rows == findRowsMax {
		f.result.NextMarker = xmlbody.EncodeMarker(string(at[1:]))
		return false, nil
	}
	f.rows++
	return it.SeekGE(at), nil
}

// containerOf returns where the rows of a container begin that have the value of t.
func (f *finder) containerOf(t *taggedBlob, id containerID) []byte {
	return binary.BigEndian.AppendUint64(appendTagPrefix(nil, t.key, t.value), uint64(id))
}

// deleted reports whether a container, of which tag is the row of a tag, is only waiting for its blobs to be removed, or to
// be restored.
func (f *finder) deleted(id containerID, tag []byte) (bool, error) {
	if dead, known := f.dead[id]; known {
		return dead, nil
	}
	_, dead, err := f.view.Get(appendTombKey(nil, id))
	if err == nil && !dead {
		var name string
		if name, err = decodeTagRow(tag); err == nil {
			_, dead, err = f.view.Get(appendRemovedKey(nil, name, id))
		}
	}
	f.dead[id] = dead
	return dead, err
}

// look decides whether the blob of a row has all the tags that are asked for.
func (f *finder) look(t *taggedBlob, value []byte) (found FoundBlob, ok bool, err error) {
	found.Name = t.name
	if found.Container, err = decodeTagRow(value); err != nil {
		return found, false, err
	}
	if len(f.where.Keys) == 1 {
		found.Tags = []header.Pair{{Name: t.key, Value: t.value}}
		return found, true, nil
	}
	f.key = appendBlobKey(f.key[:0], t.container, t.name, 0)
	p, there, err := f.view.Get(f.key)
	if err == nil && !there {
		err = badRow("missing blob of a tag", f.key)
	}
	if err != nil {
		return found, false, err
	}
	row, err := decodeBlobRow(p)
	if err != nil {
		return found, false, err
	}
	tags, err := decodeTags(row.tags)
	if err != nil || !f.where.Holds(tagSet(tags)) {
		return found, false, err
	}
	for _, p := range tags {
		if f.where.Names(p.Name) {
			found.Tags = append(found.Tags, p)
		}
	}
	return found, true, nil
}
