package server

import (
	"pagevault/blobstore"
	"pagevault/blobstore/tier"
	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/header"
)

// tierVersion is the first service version in which Get Blob tells the tier; Get Blob Properties always does.
const tierVersion = "2026-10-06"

// tier reads the tier that a blob is to have, 0 if the request gives none.
func (r *request) tier() (tier.Tier, error) {
	if !r.headers.Has(header.XMsAccessTier) {
		return 0, nil
	}
	return tier.Parse(r.headers.Get(header.XMsAccessTier))
}

// checkPriority reads how urgent it is to bring back what is archived, which is always done at once.
func (r *request) checkPriority() error {
	const id = header.XMsRehydratePriority
	if v := r.headers.Get(id); r.headers.Has(id) && !header.EqualFold(v, "high") && !header.EqualFold(v, "standard") {
		return azerr.BadHeader(id.String(), string(v))
	}
	return nil
}

// setBlobTier: Set Blob Tier, which is done when it is answered. Of a blob that was archived Azure says that it will be.
func (r *request) setBlobTier() error {
	if !r.headers.Has(header.XMsAccessTier) {
		return azerr.MissingHeader(header.XMsAccessTier.String())
	}
	ref, acc, err := r.refAccess()
	if err != nil {
		return err
	}
	t, err := r.tier()
	if err != nil {
		return err
	}
	if err := r.checkPriority(); err != nil {
		return err
	}
	rehydrated, err := r.account.SetBlobTier(ref, &acc, t)
	if err != nil {
		return err
	}
	if rehydrated {
		r.begin(202)
	} else {
		r.begin(200)
	}
	return nil
}

// setTier says which tier a blob has.
func (r *request) setTier(b *blobstore.BlobInfo) {
	shown, inferred := r.account.ShownTier(b)
	if shown == 0 || r.ctx.IsGet() && string(r.version) < tierVersion {
		return
	}
	r.setString("x-ms-access-tier", shown.String())
	if inferred {
		r.setString("x-ms-access-tier-inferred", "true")
		return
	}
	r.setTime("x-ms-access-tier-change-time", b.TierChanged)
}
