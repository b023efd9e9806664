package blobstore

import (
	"pagevault/blobstore/tier"
	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/header"
)

// Limits of the protocol on block blobs.
const (
	BlocksMax      = 50_000  // that a blob has
	BlocksStaged   = 100_000 // that wait to be committed
	BlockIDMax     = 64      // bytes of an id
	AppendsMax     = 50_000  // blocks of an append blob
	uncommittedFor = 7 * day // how long blocks wait to be committed
)

// PutBlockBlob asks for a block blob of the content of an Upload, in place of whatever has its name. End may still set
// the content type's sum: HTTPHeaders are looked at after it.
type PutBlockBlob struct {
	Access
	HTTPHeaders
	Metadata []header.Pair
	Tags     []header.Pair
	Tier     tier.Tier
	Protection
}

// PutBlockBlob makes a block blob. It has no committed blocks, as Get Block List tells. Blocks that were staged for a blob of the name are gone.
func (a *Account) PutBlockBlob(ref BlobRef, req *PutBlockBlob, up *Upload) (Stamp, error) {
	return Stamp{}, azerr.NotImplemented
}

// PutBlock asks to stage a block of a block blob.
type PutBlock struct {
	Access // the lease only
	ID     []byte
}

// PutBlock stages a block, in place of a staged one of that id. The blob need not exist; nothing of it changes.
//
// Errors: InvalidBlobOrBlock if the id is not as long as those of the other blocks of the blob; BlockCountExceedsLimit;
// InvalidBlobType; those of leases; ServerBusy if the blob was replaced or deleted meanwhile.
func (a *Account) PutBlock(ref BlobRef, req *PutBlock, up *Upload) error { return azerr.NotImplemented }

// BlockSource says where a block is looked for.
type BlockSource uint8

// Where blocks of a list are looked for.
const (
	BlockLatest BlockSource = iota // among the staged ones, then among those of the blob
	BlockUncommitted
	BlockCommitted
)

// ListedBlock is one entry of a list to commit.
type ListedBlock struct {
	From BlockSource
	ID   []byte // decoded
}

// CommitBlocks asks for a block blob that consists of blocks, in this order. Properties, metadata and tags are replaced.
type CommitBlocks struct {
	Access
	HTTPHeaders
	Metadata []header.Pair
	Tags     []header.Pair
	Tier     tier.Tier
	Protection
	Blocks []ListedBlock
}

// CommitBlocks makes a block blob of blocks that are there. Staged blocks that the list does not name are gone.
//
// Errors: InvalidBlockList, BlockListTooLong, InvalidBlobType, those of writes.
func (a *Account) CommitBlocks(ref BlobRef, req *CommitBlocks) (Stamp, error) {
	return Stamp{}, azerr.NotImplemented
}

// Block is one block of a blob.
type Block struct {
	ID   []byte // decoded
	Size int64  // bytes
}

// BlockList is what a block blob consists of.
type BlockList struct {
	Stamp               // zero unless Exists
	Exists      bool    // there is a committed blob
	Size        int64   // of it, bytes
	Committed   []Block // in the order of the blob
	Uncommitted []Block // in the order of their ids
}

// BlockList returns the blocks of a blob, a snapshot or a version. uncommitted says whether those that wait are wanted: if there
// are any, the blob need not exist.
func (a *Account) BlockList(ref BlobRef, acc *Access, uncommitted bool) (BlockList, error) {
	return BlockList{}, azerr.NotImplemented
}

// CreateAppendBlob asks for an empty append blob, in place of whatever has its name.
type CreateAppendBlob struct {
	Access
	HTTPHeaders
	Metadata []header.Pair
	Tags     []header.Pair
	Protection
}

// CreateAppendBlob makes an append blob.
func (a *Account) CreateAppendBlob(ref BlobRef, req *CreateAppendBlob) (Stamp, error) {
	return Stamp{}, azerr.NotImplemented
}

// AppendBlock asks to append to an append blob.
type AppendBlock struct {
	Access
	Position Int64 // where it must be appended (x-ms-blob-condition-appendpos)
	MaxSize  Int64 // how large the blob may be afterwards (x-ms-blob-condition-maxsize)
}

// AppendResult is the state of an append blob after something was appended.
type AppendResult struct {
	Stamp
	Offset int64 // where it was appended
	Blocks int64 // how many blocks there are now
}

// AppendBlock appends. Errors: AppendPositionConditionNotMet, MaxBlobSizeConditionNotMet, BlockCountExceedsLimit, BlobIsSealed,
// InvalidBlobType, those of writes.
func (a *Account) AppendBlock(ref BlobRef, req *AppendBlock, up *Upload) (AppendResult, error) {
	return AppendResult{}, azerr.NotImplemented
}

// SealBlob makes an append blob one that nothing can be appended to. One that is sealed stays so.
func (a *Account) SealBlob(ref BlobRef, acc *Access, position Int64) (Stamp, error) {
	return Stamp{}, azerr.NotImplemented
}
