package blobstore

import (
	"bytes"

	"pagevault/internal/azure/azerr"
	"pagevault/pagestore"
)

// A list is committed in two steps. The first looks on a view where the blocks are and prepares the list that the blob is to have;
// the second, an update, carries that out if the blob and the blocks that wait are the same still. So no request waits for another's
// list to be read, however long that is.

// commitPlan is a list that is about to be committed.
type commitPlan struct {
	ref      *BlobRef
	row      blobRow  // that was found; zero: there is none. Nothing is borrowed
	staged   [][]byte // keys of the blocks that wait
	extents  []extent // of the new list
	ids      [][]byte
	size     int64
	listed   int // bytes of the new list
	contents []*pagestore.Content
	leaves   bool // something is in the volume that the new list has no use for
}

// found takes the row that the plan is for.
func (p *commitPlan) found(row *blobRow) {
	p.row = *row
	p.row.props, p.row.tags, p.row.copy, p.row.state = nil, nil, nil, nil
}

// live reports whether there is a blob whose blocks can be committed again.
func (p *commitPlan) live() bool {
	return p.row.typ == BlockBlob && !p.row.vacant && p.row.gone.at == 0
}

// resolve finds the blocks.
func (p *commitPlan) resolve(v *pagestore.View, listed []ListedBlock) error {
	waiting, err := p.waiting(v)
	if err != nil {
		return err
	}
	committed := map[string]extent{}
	var old []extent
	if p.live() {
		var ids [][]byte
		if old, ids, err = readBlockList(v, &p.row); err != nil {
			return err
		}
		for i, id := range ids {
			committed[string(id)] = old[i]
		}
	}
	used := map[uint64]bool{}
	for _, b := range listed {
		e, ok := find(b, waiting, committed)
		if !ok {
			return azerr.InvalidBlockList
		}
		e.start = p.size
		p.size += e.size
		used[e.slot] = true
		p.extents, p.ids = append(p.extents, e), append(p.ids, b.ID)
	}
	p.leaves = p.row.size > 0 && (p.row.blocks.count == 0 || p.row.gone.at != 0)
	for _, e := range waiting {
		p.leaves = p.leaves || !used[e.slot]
	}
	for _, e := range old {
		p.leaves = p.leaves || !used[e.slot]
	}
	return nil
}

// waiting returns the blocks that wait.
func (p *commitPlan) waiting(v *pagestore.View) (found map[string]extent, err error) {
	if !p.row.staging() {
		return nil, nil
	}
	found = make(map[string]extent, p.row.blocks.staged.n)
	prefix := appendStagedPrefix(nil, p.row.volume, p.row.blocks.epoch)
	err = scanStaged(v, &p.row, func(id []byte, row stagedRow) bool {
		found[string(id)] = extent{slot: row.slot, size: row.size}
		p.staged = append(p.staged, append(bytes.Clone(prefix), id...))
		return true
	})
	return found, err
}

// find finds one block.
func find(b ListedBlock, waiting, committed map[string]extent) (e extent, ok bool) {
	if b.From != BlockCommitted {
		if e, ok = waiting[string(b.ID)]; ok || b.From == BlockUncommitted {
			return e, ok
		}
	}
	e, ok = committed[string(b.ID)]
	return e, ok
}

// prepare prepares the list as content.
func (p *commitPlan) prepare(s *pagestore.Store) error {
	if len(p.extents) == 0 {
		return nil
	}
	list := appendBlockList(nil, p.extents, p.ids)
	p.listed = len(list)
	list = append(list, make([]byte, int(pagesFor(int64(len(list))))*PageSize-len(list))...)
	for off := 0; off < len(list); off += UploadPiece {
		content, err := s.Prepare(listPage+pageNo(int64(off)), list[off:min(off+UploadPiece, len(list))])
		if err != nil {
			return err
		}
		p.contents = append(p.contents, content)
	}
	return nil
}

func (p *commitPlan) release() {
	for _, c := range p.contents {
		c.Release()
	}
	p.contents = nil
}

// meets takes the row that is there when the plan is carried out, and says what the new one gets of it. A zero row: there is none.
func (p *commitPlan) meets(row *blobRow, made *newBlob) error {
	live := row.typ != 0 && !row.vacant && row.gone.at == 0
	if live && row.typ != BlockBlob {
		return azerr.InvalidBlobType
	}
	if row.typ != p.row.typ || row.volume != p.row.volume || row.vacant != p.row.vacant || row.gone != p.row.gone ||
		row.etag != p.row.etag || row.blocks.staged != p.row.blocks.staged || row.blocks.epoch != p.row.blocks.epoch {
		return errChanged
	}
	if made.stay = row.typ == BlockBlob && row.volume != 0; made.stay {
		made.blocks.next, made.blocks.epoch = row.blocks.next, row.blocks.epoch
	}
	return nil
}

// carryOut gives the new blob, whose row c has, its volume and its list.
func (p *commitPlan) carryOut(c *blobChange) error {
	if c.row.volume == 0 {
		c.row.volume = c.tx.CreateVolume()
	} else if p.row.blocks.list > int64(p.listed) {
		gone := pagestore.Range{Start: listPage + pagesFor(int64(p.listed)), End: listPage + pagesFor(p.row.blocks.list)}
		if err := c.tx.Clear(c.row.volume, gone); err != nil {
			return err
		}
	}
	for _, content := range p.contents {
		if err := c.tx.Write(c.row.volume, content); err != nil {
			return err
		}
	}
	for _, key := range p.staged {
		c.tx.Delete(key)
	}
	if p.row.staging() {
		c.tx.Delete(appendStagingKey(nil, c.id, p.ref.Blob))
	}
	if p.leaves {
		sweepLater(c.tx, c.id, p.ref.Blob, c.row.volume)
	}
	return nil
}
