package blobstore

import (
	"context"

	"pagevault/pagestore"
)

// MaintainProgress says how far giving back space has come.
type MaintainProgress = pagestore.MaintainProgress

// Maintain gives back all space of the account that can be given back now, instead of leaving it to the background. It
// takes as long as reading and writing what is stored beside garbage does. progress may be nil. Errors are those of
// pagestore.Store.Maintain.
func (a *Account) Maintain(ctx context.Context, progress func(MaintainProgress)) error {
	return a.store.Maintain(ctx, pagestore.MaintainOptions{}, progress)
}
