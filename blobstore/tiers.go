package blobstore

import (
	"time"

	"pagevault/blobstore/immutable"
	"pagevault/blobstore/tier"
	"pagevault/internal/azure/azerr"
	"pagevault/pagestore"
)

// Page blobs of a premium account have tiers. The rules are in package tier.

// Premium reports whether the account is one of premium storage.
func (a *Account) Premium() bool { return a.premium }

// ShownTier returns the tier that clients are told a blob has, and whether it is inferred from its size. Blobs of a standard
// account have none.
func (a *Account) ShownTier(b *BlobInfo) (shown tier.Tier, inferred bool) {
	switch {
	case !a.premium:
		return 0, false
	case b.Tier != 0:
		return b.Tier, false
	}
	return tier.Infer(b.Size), true
}

// checkTier returns the error for a tier, or none, that a blob is to be made with.
func (a *Account) checkTier(t tier.Tier, size int64) error {
	switch {
	case t == 0:
		return nil
	case !a.premium:
		return azerr.AccessTierNotSupportedForBlobType
	case !t.Fits(size):
		return azerr.ContentLengthLargerThanTierLimit
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

// tieredAt returns when the tier of a blob that is made was given: with the blob, or, if there is none, never.
func tieredAt(t tier.Tier, made ticks) ticks {
	if t == 0 {
		return 0
	}
	return made
}

// SetBlobTier gives a blob, or a version, a tier, which is effective at once. Neither its entity tag nor its modification time changes.
func (a *Account) SetBlobTier(ref BlobRef, acc *Access, t tier.Tier) error {
	id, err := ref.checkVersionable(acc)
	if err != nil {
		return err
	}
	c := takeChange()
	defer c.release()
	return a.update(func(tx *pagestore.Tx) error {
		c.tx, c.now = tx, a.clock.Now()
		if err := c.find(&ref, id, acc, true, immutable.Annotate); err != nil {
			return err
		}
		if !a.premium {
			return azerr.AccessTierNotSupportedForBlobType
		}
		if err := tier.Change(c.row.tier, t, c.row.size); err != nil {
			return err
		}
		if t != c.row.tier {
			c.row.tier, c.row.tiered = t, ticksAt(c.now)
		}
		c.keep()
		return nil
	})
}

// tierChanged returns when the tier was given, the zero time if none was.
func (r *blobRow) tierChanged() time.Time {
	if r.tier == 0 {
		return time.Time{}
	}
	return r.tiered.Time()
}
