package blobstore

import (
	"errors"
	"time"

	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/header"
	"pagevault/pagestore"
)

// RemoteSnapshot is a snapshot of a page blob at another server, as it was found there.
type RemoteSnapshot struct {
	Name        string // of the blob: the same for all its snapshots. It begins with a slash, as no account does
	Snapshot    string
	HTTPHeaders // of the snapshot, as what follows
	Metadata    []header.Pair
	Size        int64 // bytes
	Sequence    int64
	Created     time.Time // when the blob was made; zero: its server does not say

	// Pages reads all pages of the snapshot.
	Pages CopySource
	// Since returns what reads the pages in which the snapshot differs from an earlier one. The error is
	// PreviousSnapshotNotFound if that is gone, BlobOverwritten if it is one of another blob of the name.
	Since func(snapshot string) (CopySource, error)
}

// madeUnknown stands for a time that is not known.
const madeUnknown pagestore.VolumeID = 1

// made is what tells a blob from another one that had its name, as far as its server says so.
func (s *RemoteSnapshot) made() pagestore.VolumeID {
	return pagestore.VolumeID(max(int64(madeUnknown), s.Created.Unix()))
}

// source checks what can be checked without the destination.
func (s *RemoteSnapshot) source(to *Account) (*incrementSource, error) {
	id, ok := parseSnapshot(s.Snapshot)
	if !ok {
		return nil, azerr.IncrementalCopySourceMustBeSnapshot
	}
	if err := to.checkSize(s.Size); err != nil {
		return nil, err
	}
	return &incrementSource{remote: s, id: id, name: s.Name, row: blobRow{typ: PageBlob, volume: s.made(), size: s.Size,
		sequence: max(s.Sequence, 0), props: appendProps(nil, &s.HTTPHeaders, s.Metadata)}}, nil
}

// sinceRemote is since for a blob of another server. That the blob is the same as before its server says by knowing the
// snapshot that was copied last; if that is gone, by when the blob was made.
func (s *incrementSource) sinceRemote(before *incrementalState) (CopySource, bool, error) {
	if before.last == 0 { // no copy has succeeded, so that there is nothing that this must fit
		return s.remote.Pages, true, nil
	}
	same := s.row.volume == before.volume && before.volume != madeUnknown
	differences, err := s.remote.Since(before.last.String())
	switch {
	case errors.Is(err, azerr.PreviousSnapshotNotFound) && same:
		return s.remote.Pages, true, nil
	case errors.Is(err, azerr.PreviousSnapshotNotFound):
		return nil, false, azerr.BlobOverwritten
	case err != nil:
		return nil, false, err
	case before.unsure:
		return s.remote.Pages, true, nil
	}
	return differences, false, nil
}
