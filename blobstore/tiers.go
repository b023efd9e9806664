package blobstore

import (
	"time"

	"pagevault/blobstore/immutable"
	"pagevault/blobstore/tier"
	"pagevault/internal/azure/azerr"
	"pagevault/pagestore"
)

// Page blobs of a premium account have tiers, and so have block blobs of the others. The rules are in package tier.
//
// Nothing is kept anywhere else for being in the archive tier. It is only not read, nor changed, as clients expect, until it has
// another tier: it has that at once.

// Premium reports whether the account is one of premium storage.
func (a *Account) Premium() bool { return a.premium }

// tiered reports whether blobs of a type have tiers in the account.
func (a *Account) tiered(typ BlobType) bool {
	return typ == PageBlob && a.premium || typ == BlockBlob && !a.premium
}

// ShownTier returns the tier that clients are told a blob has, 0 if it has none, and whether it is inferred.
func (a *Account) ShownTier(b *BlobInfo) (shown tier.Tier, inferred bool) {
	switch {
	case !a.tiered(b.Type):
		return 0, false
	case b.Tier != 0:
		return b.Tier, false
	case b.Type == BlockBlob:
		return tier.Hot, true
	}
	return tier.Infer(b.Size), true
}

// checkTierOf returns the error for a tier, or none, that blobs of a type do not have in the account.
func (a *Account) checkTierOf(typ BlobType, t tier.Tier) error {
	switch {
	case t == 0, a.tiered(typ) && (typ == PageBlob && t.OfPages() || typ == BlockBlob && t.OfBlocks()):
		return nil
	case a.tiered(typ):
		return azerr.InvalidBlobTier
	case typ == BlockBlob:
		return azerr.BlobAccessTierNotSupportedForAccountType
	}
	return azerr.AccessTierNotSupportedForBlobType
}

// checkTier returns the error for a tier, or none, that a blob is to be made with.
func (a *Account) checkTier(typ BlobType, t tier.Tier, size int64) error {
	if err := a.checkTierOf(typ, t); err != nil {
		return err
	}
	if !t.Fits(size) {
		return azerr.ContentLengthLargerThanTierLimit
	}
	return nil
}

// checkCopyTier is checkTier for a copy of a blob. One that is archived can be copied into another tier.
func (a *Account) checkCopyTier(source *blobRow, t tier.Tier) error {
	if err := a.checkTierOf(source.typ, t); err != nil {
		return err
	}
	if !t.Fits(source.size) {
		return azerr.BlobTierInadequateForContentLength
	}
	if t == 0 || t == tier.Archive {
		return source.checkOnline()
	}
	return nil
}

// checkOnline returns the 409 for a blob that is archived.
func (r *blobRow) checkOnline() error {
	if r.tier == tier.Archive {
		return azerr.BlobArchived
	}
	return nil
}

// CheckOnline is checkOnline of the row.
func (b *BlobInfo) CheckOnline() error { return (&blobRow{tier: b.Tier}).checkOnline() }

// checkOnlineFor is checkOnline for a request that is about to do act: what is said of a blob can be changed still, and a blob can
// be deleted.
func (r *blobRow) checkOnlineFor(act immutable.Act) error {
	if act == immutable.Modify || act == immutable.Replace {
		return r.checkOnline()
	}
	return nil
}

// checkTierSize returns the error for a blob that is about to grow out of the tier that it was given.
func (a *Account) checkTierSize(row *blobRow, size int64) error {
	if a.premium && !row.tier.Fits(size) {
		return azerr.ContentLengthLargerThanTierLimit
	}
	return nil
}

// nextTier returns the tier of a blob that is made in place of the one that the row is of, if there is one, and since when it has it. A
// list of blocks leaves a block blob its tier unless it says otherwise.
func (r *blobRow) nextTier(n *newBlob, exists bool, made ticks) (tier.Tier, ticks) {
	if n.tier == 0 && n.stay && exists && r.typ == BlockBlob {
		return r.tier, r.tiered
	}
	return n.tier, tieredAt(n.tier, made)
}

// tieredAt returns when the tier of a blob that is made was given: with the blob, or, if there is none, never.
func tieredAt(t tier.Tier, made ticks) ticks {
	if t == 0 {
		return 0
	}
	return made
}

// SetBlobTier gives a blob, or a version, a tier, which is effective at once, and reports whether it was archived before. Neither its
// entity tag nor its modification time changes.
func (a *Account) SetBlobTier(ref BlobRef, acc *Access, t tier.Tier) (rehydrated bool, err error) {
	id, err := ref.checkVersionable(acc)
	if err != nil {
		return false, err
	}
	c := takeChange()
	defer c.release()
	err = a.update(func(tx *pagestore.Tx) error {
		c.tx, c.now = tx, a.clock.Now()
		if err := c.find(&ref, id, acc, false, immutable.Annotate); err != nil {
			return err
		}
		if err := a.checkTierOf(c.row.typ, t); err != nil {
			return err
		}
		if c.row.typ == PageBlob {
			if err := tier.Change(c.row.tier, t, c.row.size); err != nil {
				return err
			}
		}
		rehydrated = c.row.tier == tier.Archive && t != tier.Archive
		if t != c.row.tier {
			c.row.tier, c.row.tiered = t, ticksAt(c.now)
		}
		c.keep()
		return nil
	})
	return rehydrated, err
}

// tierChanged returns when the tier was given, the zero time if none was.
func (r *blobRow) tierChanged() time.Time {
	if r.tier == 0 {
		return time.Time{}
	}
	return r.tiered.Time()
}
