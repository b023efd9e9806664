package blobstore

import (
	"context"
)

// CopySource is where a pending copy gets its pages. Its methods are called by one goroutine.
type CopySource interface {
	// Pages lists pages of the source in ascending order, from the beginning for marker "", and says how to go on, "" at
	// the end. Those that are Clear are cleared.
	Pages(ctx context.Context, marker string) (entries []PageEntry, next string, err error)
	// ReadPages fills p with the bytes at off, which are all there.
	ReadPages(ctx context.Context, p []byte, off int64) error
}

// accountSource reads a blob or snapshot of an account of this process, anew for each piece, so that nothing is held on
// to meanwhile. That all pieces are of one state its conditions see to, or that it is a snapshot.
type accountSource struct {
	from *Account
	ref  BlobRef
	acc  Access
	prev string // only what was written since this snapshot. "": all pages
}

// NewCopySource returns what reads a blob or snapshot of the account for a copy to another one. acc should name the entity
// tag that was found, so that a change meanwhile is ConditionNotMet.
func (a *Account) NewCopySource(ref BlobRef, acc *Access) CopySource {
	return &accountSource{from: a, ref: ref, acc: *acc}
}

// account says which account the copy must keep from being removed.
func (s *accountSource) account() *Account { return s.from }

// sourcePages is how many runs of pages are looked up at a time.
const sourcePages = 1000

func (s *accountSource) Pages(ctx context.Context, marker string) ([]PageEntry, string, error) {
	if err := ctx.Err(); err != nil {
		return nil, "", err
	}
	found, err := s.from.PageRanges(s.ref, &PageRangesRequest{Access: s.acc, PrevSnapshot: s.prev, Marker: marker, MaxResults: sourcePages})
	if err != nil {
		return nil, "", err
	}
	return found.Entries, found.NextMarker, nil
}

func (s *accountSource) ReadPages(ctx context.Context, p []byte, off int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r, err := s.from.OpenBlob(s.ref, &s.acc)
	if err != nil {
		return err
	}
	_, err = r.ReadAt(p, off)
	return firstError(err, r.Close())
}
