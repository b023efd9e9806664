package op

import (
	"pagevault/internal/azure/header"
	"pagevault/internal/azure/query"
)

// Action is a set of what Azure calls actions and data actions: what a role allows somebody who is known by name. The
// names after the slash are those of Microsoft.Storage/storageAccounts/blobServices/….
type Action uint32

// The actions.
const (
	ReadService       Action = 1 << iota // read: of the settings
	WriteService                         // write
	DelegateKey                          // generateUserDelegationKey/action
	ReadContainers                       // containers/read
	WriteContainers                      // containers/write
	DeleteContainers                     // containers/delete
	ReadACL                              // containers/getAcl/action
	WriteACL                             // containers/setAcl/action
	ReadBlobs                            // containers/blobs/read
	WriteBlobs                           // containers/blobs/write
	AddBlobs                             // containers/blobs/add/action
	DeleteBlobs                          // containers/blobs/delete
	DeleteVersions                       // containers/blobs/deleteBlobVersion/action
	DeletePermanently                    // containers/blobs/permanentDelete/action
	ReadTags                             // containers/blobs/tags/read
	WriteTags                            // containers/blobs/tags/write
	FilterBlobs                          // containers/blobs/filter/action
	Immutability                         // containers/blobs/immutableStorage/runAsSuperUser/action
	actionEnd
	AnyAction = actionEnd - 1 // whatever it is that a role allows, it is enough
)

// actionsOf has, for each operation, the actions of which one is needed. Those that are not here are for nobody.
var actionsOf = [256]Action{
	ListContainers:        ReadContainers,
	GetServiceProperties:  ReadService,
	SetServiceProperties:  WriteService,
	GetServiceStats:       ReadService,
	GetUserDelegationKey:  DelegateKey,
	GetAccountInformation: ReadContainers | ReadBlobs,
	ServiceBatch:          AnyAction, // its parts ask for themselves
	FindBlobsByTags:       FilterBlobs,

	CreateContainer:            WriteContainers,
	GetContainerProperties:     ReadContainers,
	GetContainerMetadata:       ReadContainers,
	SetContainerMetadata:       WriteContainers,
	GetContainerACL:            ReadACL,
	SetContainerACL:            WriteACL,
	DeleteContainer:            DeleteContainers,
	LeaseContainer:             WriteContainers,
	RestoreContainer:           WriteContainers,
	ListBlobs:                  ReadBlobs,
	FindBlobsByTagsInContainer: FilterBlobs,
	ContainerBatch:             AnyAction,

	PutPageBlob:         WriteBlobs,
	PutBlockBlob:        WriteBlobs,
	PutAppendBlob:       WriteBlobs,
	PutBlobFromURL:      WriteBlobs,
	CopyBlobFromURL:     WriteBlobs,
	CopyBlob:            WriteBlobs,
	IncrementalCopyBlob: WriteBlobs,
	PutBlock:            WriteBlobs,
	PutBlockFromURL:     WriteBlobs,
	PutBlockList:        WriteBlobs,
	SnapshotBlob:        WriteBlobs | AddBlobs,
	PutPage:             WriteBlobs,
	ClearPages:          WriteBlobs,
	PutPageFromURL:      WriteBlobs,
	SetBlobProperties:   WriteBlobs,
	SetBlobMetadata:     WriteBlobs,
	SetBlobTier:         WriteBlobs,
	SetBlobExpiry:       WriteBlobs,
	AbortCopyBlob:       WriteBlobs,
	UndeleteBlob:        WriteBlobs,
	SealAppendBlob:      WriteBlobs,
	LeaseBlob:           WriteBlobs,
	AppendBlock:         WriteBlobs | AddBlobs,
	AppendBlockFromURL:  WriteBlobs | AddBlobs,

	GetBlob:           ReadBlobs,
	GetBlobProperties: ReadBlobs,
	GetBlobMetadata:   ReadBlobs,
	GetPageRanges:     ReadBlobs,
	GetPageRangesDiff: ReadBlobs,
	GetBlockList:      ReadBlobs,
	QueryBlobContents: ReadBlobs,

	DeleteBlob:               DeleteBlobs,
	GetBlobTags:              ReadTags,
	SetBlobTags:              WriteTags,
	SetImmutabilityPolicy:    Immutability,
	DeleteImmutabilityPolicy: Immutability,
	SetLegalHold:             Immutability,
}

// Actions returns the sets of actions of each of which a role must allow one, for this request. An empty first set is: no
// role will do. Sets after the first may be empty and ask for nothing then.
func (r *Row) Actions(q *query.Set, h *header.Set) (needs [4]Action) {
	needs[0] = actionsOf[r.ID]
	if r.ID == DeleteBlob {
		switch deleteNeeds(q) {
		case "x":
			needs[0] = DeleteVersions
		case "y":
			needs[0] = DeletePermanently
		}
	}
	if h.Has(header.XMsTags) {
		needs[1] = WriteTags
	}
	if h.Has(header.XMsIfTags) || r.ID == ListBlobs && listsTags(q) {
		needs[2] = ReadTags
	}
	if h.Has(header.XMsImmutabilityPolicyUntilDate) || h.Has(header.XMsImmutabilityPolicyMode) || h.Has(header.XMsLegalHold) {
		needs[3] = Immutability
	}
	return needs
}

// Role is a set of actions that somebody may have, by the names of Azure's built-in roles for blob data.
type Role struct {
	Name    string // in lower case, without "Storage Blob Data"
	Allowed Action
}

// Roles are the roles there are. It is not to be modified.
var Roles = []Role{
	{"reader", DelegateKey | ReadContainers | ReadBlobs},
	{"contributor", DelegateKey | ReadContainers | WriteContainers | DeleteContainers | ReadBlobs | WriteBlobs | AddBlobs | DeleteBlobs},
	{"owner", AnyAction &^ (ReadService | WriteService)},
	{"delegator", DelegateKey},
}
