package blobstore

import (
	"encoding/binary"

	"pagevault/internal/azure/azerr"
	"pagevault/pagestore"
)

// CopyStatus is how far a copy is, as x-ms-copy-status says it.
type CopyStatus uint8

const (
	CopySuccess CopyStatus = iota
	CopyPending            // pages are on their way; nobody else may change the blob
	CopyAborted            // by Abort Copy Blob
	CopyFailed             // CopyInfo.Description says why
)

var copyStatusNames = [...]string{"success", "pending", "aborted", "failed"}

// String returns the status as the protocol spells it.
func (s CopyStatus) String() string { return copyStatusNames[s] }

// copyState is what a blob's row says of a copy beyond CopyInfo: that it is not a success, or is an incremental one. A blob
// whose row has none is as free as any other.
//
//	status (1) · bytes copied so far · description text · [incremental]
//
// incremental being
//
//	source text · its volume · last snapshot copied (8) · snapshot of this copy (8) · destination snapshot (8) · unsure (1)
type copyState struct {
	status      CopyStatus
	copied      int64
	description string
	incremental *incrementalState // nil: the blob is a copy as a whole
}

// incrementalState is what the next incremental copy must know of those before it.
type incrementalState struct {
	source string             // account/container/blob, or RemoteSnapshot.Name
	volume pagestore.VolumeID // of the source: another one is another blob of that name. Elsewhere: RemoteSnapshot.made
	last   snapshotID         // of the source, the newest that was copied to its end; 0: none
	wanted snapshotID         // of the source, that the copy which is pending or came last is of
	made   snapshotID         // of the destination, by the last copy that succeeded; 0: none
	unsure bool               // pages of a copy that came to nothing may be there
}

func (s *copyState) append(dst []byte) []byte {
	dst = binary.AppendUvarint(append(dst, byte(s.status)), uint64(s.copied))
	dst = appendText(dst, s.description)
	i := s.incremental
	if i == nil {
		return dst
	}
	dst = binary.AppendUvarint(appendText(dst, i.source), uint64(i.volume))
	for _, id := range [...]snapshotID{i.last, i.wanted, i.made} {
		dst = binary.LittleEndian.AppendUint64(dst, uint64(id))
	}
	if i.unsure {
		return append(dst, 1)
	}
	return append(dst, 0)
}

// decodeCopyState reads what append wrote; nil if there is nothing. The result does not borrow p.
func decodeCopyState(p []byte) (*copyState, error) {
	if len(p) == 0 {
		return nil, nil
	}
	d := rowReader{p: p}
	s := &copyState{status: CopyStatus(d.byte()), copied: d.int64(), description: d.text()}
	d.must(s.status <= CopyFailed)
	if len(d.p) > 0 {
		i := &incrementalState{source: d.text(), volume: pagestore.VolumeID(d.uvarint())}
		i.last, i.wanted, i.made = snapshotID(d.uint64()), snapshotID(d.uint64()), snapshotID(d.uint64())
		unsure := d.byte()
		i.unsure = unsure == 1
		d.must(i.source != "" && i.volume != 0 && i.wanted != 0 && unsure <= 1)
		s.incremental = i
	} else {
		d.must(s.status != CopySuccess)
	}
	if d.bad || len(d.p) > 0 {
		return nil, badRow("state of a copy", p)
	}
	return s, nil
}

// checkFree returns the 409 for a blob that a copy holds: nobody may change it while that is pending, and the blob that
// incremental copies go to is changed by them alone. Snapshots are free.
func (r *blobRow) checkFree() error {
	if len(r.state) == 0 || r.gen != pagestore.GenHead {
		return nil
	}
	s, err := decodeCopyState(r.state)
	switch {
	case err != nil:
		return err
	case s.status == CopyPending:
		return azerr.PendingCopyOperation
	case s.incremental != nil:
		return azerr.OperationNotAllowedOnIncrementalCopyBlob
	}
	return nil
}

// checkReadable returns the 409 for the blob that incremental copies go to: only the snapshots that such a copy ended with
// can be read. What the blob was at any other time, which a version or an undeleted snapshot may show, can be a mixture of
// two states of the source.
func (r *blobRow) checkReadable() error {
	if len(r.state) == 0 {
		return nil
	}
	s, err := decodeCopyState(r.state)
	if err == nil && s.incremental != nil && (r.gen == pagestore.GenHead || r.version != 0 || s.status != CopySuccess) {
		err = azerr.OperationNotAllowedOnIncrementalCopyBlob
	}
	return err
}

// checkNotPending returns the 409 for a blob that a pending copy fills.
func (r *blobRow) checkNotPending() error {
	if err := r.checkFree(); err != azerr.OperationNotAllowedOnIncrementalCopyBlob {
		return err
	}
	return nil
}

// notCopied makes the row forget which copy it is, since the blob is changed.
func (r *blobRow) notCopied() { r.copy, r.state = nil, nil }

// copyInfo returns what clients are told about the copy the blob was made by, nil if by none.
func (r *blobRow) copyInfo() (*CopyInfo, error) {
	info, err := decodeCopyInfo(r.copy)
	if info == nil || err != nil {
		return nil, err
	}
	info.Copied = info.Bytes
	s, err := decodeCopyState(r.state)
	if s == nil || err != nil {
		return info, err
	}
	info.Status, info.Copied, info.Description = s.status, s.copied, s.description
	if i := s.incremental; i != nil {
		info.Incremental, info.Destination = true, i.made.String()
	}
	return info, nil
}
