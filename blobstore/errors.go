package blobstore

import (
	"errors"

	"pagevault/internal/azure/azerr"
	"pagevault/pagestore"
)

// coded gives every error a code of the protocol. What has one keeps it. A store that cannot write now answers
// ServerBusy, which clients retry; everything else is a fault on our side.
func coded(err error) error {
	if err == nil {
		return nil
	}
	var code azerr.Code // allocated, so not before there is an error
	switch {
	case errors.As(err, &code):
		return err
	case errors.Is(err, pagestore.ErrUnavailable), errors.Is(err, pagestore.ErrReadOnly), errors.Is(err, pagestore.ErrClosed):
		return azerr.ServerBusy.Because(err)
	default:
		return azerr.InternalError.Because(err)
	}
}

// update runs one request's change. See pagestore.Store.Update; errors are coded.
func (a *Account) update(fn func(tx *pagestore.Tx) error) error { return a.coded(a.store.Update(fn)) }

// view runs a reading request on one consistent picture. Errors are coded.
func (a *Account) view(fn func(v *pagestore.View) error) error {
	v, err := a.store.View()
	if err != nil {
		return coded(err)
	}
	return coded(firstError(fn(v), v.Close()))
}
