package blobstore

// Copy Blob From URL may copy what is no block blob of the account: a block blob is then made of content that comes from outside, and
// says that it is a copy.

// asCopy has a blob that is about to be made be a copy, which takes the place of blobs of its type only. info says of what; nil:
// it is none.
func (n *newBlob) asCopy(info *CopyInfo) {
	if info == nil {
		return
	}
	n.copied = info
	n.meets = func(row *blobRow) error {
		if row.typ == 0 || row.vacant || row.gone.at != 0 {
			return nil
		}
		return row.checkBlocks()
	}
}

// noteCopy notes in the row of a blob that was just made of what it is a copy, if it is one.
func (c *blobChange) noteCopy(n *newBlob) {
	if n.copied != nil {
		info := CopyInfo{ID: n.copied.ID, Source: n.copied.Source, Bytes: n.size, Completed: c.row.etag.Time()}
		c.row.copy = info.append(nil)
	}
}
