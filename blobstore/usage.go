package blobstore

import (
	"errors"
	"fmt"

	"pagevault/internal/azure/azerr"
	"pagevault/pagestore"
)

// Limits bound what an account holds, in bytes on the disk of one member. Zero fields bound nothing.
type Limits struct {
	TotalBytes    int64 // data and metadata together: the other two add up to no more
	DataBytes     int64 // content in use, as it is stored
	MetadataBytes int64 // everything else: what the log says about content, the index, its checkpoints
}

// check returns an error for limits that make no sense.
func (l Limits) check() error {
	switch {
	case l == Limits{}:
		return nil
	case l.DataBytes <= 0 || l.MetadataBytes <= 0:
		return fmt.Errorf("limits of %d bytes of data and %d of metadata: want both", l.DataBytes, l.MetadataBytes)
	case l.TotalBytes < l.DataBytes || l.TotalBytes-l.DataBytes < l.MetadataBytes:
		return fmt.Errorf("limits of %d bytes of data and %d of metadata exceed their total, %d", l.DataBytes, l.MetadataBytes, l.TotalBytes)
	}
	return nil
}

// Usage is what an account has and what it takes. Bytes on disk are of one member.
type Usage struct {
	Totals
	WrittenBytes  uint64 // of pages that blobs and snapshots show and that were written, each as often as it is shown
	UniqueBytes   uint64 // of different content among them
	LiveBytes     uint64 // that stores it, compressed: what counts as data
	StoredBytes   uint64 // the same with garbage that still lies beside it
	MetadataBytes uint64 // everything else on disk
	IndexBytes    uint64 // of these, in the index
	LogBytes      uint64 // of the log's files: all data and most of the metadata
	Limits        Limits
}

// DedupRatio returns how many bytes were written for each that is different from all others, 0 if there is none.
func (u *Usage) DedupRatio() float64 { return ratio(u.WrittenBytes, u.UniqueBytes) }

// CompressionRatio returns how many bytes of different content each byte of data stands for, 0 if there is none.
func (u *Usage) CompressionRatio() float64 { return ratio(u.UniqueBytes, u.LiveBytes) }

func ratio(a, b uint64) float64 {
	if b == 0 {
		return 0
	}
	return float64(a) / float64(b)
}

// Usage returns what the account has and takes. The figures are exact, but for what is on its way while they are read.
func (a *Account) Usage() (Usage, error) {
	u := Usage{Limits: a.Limits()}
	err := a.view(func(v *pagestore.View) (err error) {
		u.Totals, err = ReadTotals(v)
		return err
	})
	if err != nil {
		return Usage{}, err
	}
	s := a.store.Stats()
	u.WrittenBytes, u.UniqueBytes, u.LiveBytes, u.StoredBytes = s.MappedBytes, s.UniqueBytes, s.LiveBytes, s.StoredBytes
	u.MetadataBytes, u.IndexBytes = uint64(a.store.MetadataBytes()), s.IndexBytes
	u.LogBytes = uint64(a.store.Log().Stats().Bytes)
	return u, nil
}

// full returns the error for a request that the account's limits leave no room for.
func (a *Account) full(q *pagestore.QuotaError, cause error) error {
	what, more := "data", fmt.Sprintf(", and the request needs %d more", q.Asked)
	if q.Metadata {
		what, more = "metadata", ""
	}
	return &azerr.Error{
		Code: azerr.AccountCapacityExceeded,
		Text: fmt.Sprintf("The account %s has reached its capacity limit for %s: %d of %d bytes are used%s. Reading, clearing and deleting go on.",
			a.name, what, q.Used, q.Cap, more),
		Cause: cause,
	}
}

// coded is the function of that name, with an answer for an account that is full.
func (a *Account) coded(err error) error {
	var q *pagestore.QuotaError
	if err != nil && errors.As(err, &q) {
		return a.full(q, err)
	}
	return coded(err)
}
