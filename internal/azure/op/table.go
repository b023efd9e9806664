package op

import "pagevault/internal/azure/azerr"

// ID names an operation. The zero ID is none.
type ID uint8

// The operations, in the order of Table.
const (
	ListContainers ID = iota + 1
	GetServiceProperties
	SetServiceProperties
	GetServiceStats
	GetUserDelegationKey
	ServiceBatch
	FindBlobsByTags
	GetAccountInformation
	CORSPreflight

	CreateContainer
	GetContainerProperties
	GetContainerMetadata
	SetContainerMetadata
	GetContainerACL
	SetContainerACL
	DeleteContainer
	LeaseContainer
	RestoreContainer
	RenameContainer
	ListBlobs
	FindBlobsByTagsInContainer
	ContainerBatch

	PutPageBlob // first of the rows for PUT of a blob: see choose
	PutBlockBlob
	PutAppendBlob
	PutBlobFromURL
	CopyBlobFromURL
	CopyBlob
	GetBlob
	GetBlobProperties
	DeleteBlob
	SetBlobProperties
	GetBlobMetadata
	SetBlobMetadata
	LeaseBlob
	SnapshotBlob
	AbortCopyBlob
	IncrementalCopyBlob
	SetBlobTier
	UndeleteBlob
	SetBlobExpiry
	GetBlobTags
	SetBlobTags
	SetImmutabilityPolicy
	DeleteImmutabilityPolicy
	SetLegalHold
	PutPage // first of the rows for comp=page
	ClearPages
	PutPageFromURL
	GetPageRanges // first of the rows for comp=pagelist
	GetPageRangesDiff
	PutBlock
	PutBlockFromURL
	PutBlockList
	GetBlockList
	AppendBlock
	AppendBlockFromURL
	SealAppendBlob
	QueryBlobContents
	idEnd
)

// String returns the operation's name.
func (id ID) String() string {
	if id == 0 || id >= idEnd {
		return "none"
	}
	return Table[id-1].Name
}

// The methods, as the rows have them.
var (
	get     = []string{"GET"}
	getHead = []string{"GET", "HEAD"}
	head    = []string{"HEAD"}
	put     = []string{"PUT"}
	post    = []string{"POST"}
	del     = []string{"DELETE"}
	options = []string{"OPTIONS"}
)

// oldest is the first service version we speak, and the one in which most operations got their present form.
const oldest = "2009-09-19"

const notImplemented = azerr.APINotImplemented

const immutableNote = "in containers with immutable storage, which --immutable-storage says; elsewhere 409 BlobOperationNotSupported"

// Table is every operation of the protocol; Table[id-1].ID == id. It is not to be modified.
var Table = []Row{
	// The account.
	{ID: ListContainers, Name: "List Containers", Level: Service, Methods: get, Comp: "list", Since: oldest, State: Done,
		Tests: []string{"ListContainers"}},
	{ID: GetServiceProperties, Name: "Get Blob Service Properties", Level: Service, Methods: get, Restype: "service", Comp: "properties", Since: oldest, State: Done,
		Tests: []string{"GetServiceProperties"}},
	{ID: SetServiceProperties, Name: "Set Blob Service Properties", Level: Service, Methods: put, Restype: "service", Comp: "properties", Since: oldest, State: Done,
		Tests: []string{"SetServiceProperties"}},
	{ID: GetServiceStats, Name: "Get Blob Service Stats", Level: Service, Methods: get, Restype: "service", Comp: "stats", Since: "2013-08-15", State: Done,
		Note: "of the secondary address only, which shows the same data: always live, synchronised now", Tests: []string{"GetServiceStats"}},
	{ID: GetUserDelegationKey, Name: "Get User Delegation Key", Level: Service, Methods: post, Restype: "service", Comp: "userdelegationkey", Since: "2018-11-09", State: Done,
		Note: "by bearer token only, which --oidc-issuer turns on; else 403 AuthenticationFailed", Tests: []string{"GetUserDelegationKey"}},
	{ID: ServiceBatch, Name: "Blob Batch", Level: Service, Methods: post, Comp: "batch", Since: "2019-02-02", State: Done,
		Note: "deletes blobs, or sets their tiers; also with restype=container, as the JavaScript SDK asks for it where the account is in the path", Tests: []string{"ServiceBatch"}},
	{ID: FindBlobsByTags, Name: "Find Blobs by Tags", Level: Service, Methods: get, Comp: "blobs", Since: "2019-12-12", State: Done,
		Note: "but previous versions are not searched: include=versions is refused where there is versioning", Tests: []string{"FindBlobsByTags"}},
	{ID: GetAccountInformation, Name: "Get Account Information", Level: AnyLevel, Methods: getHead, Restype: "account", Comp: "properties", Since: "2018-03-28", State: Done,
		Tests: []string{"GetAccountInformation"}},
	{ID: CORSPreflight, Name: "Preflight Blob Request", Level: AnyLevel, Methods: options, Since: "2013-08-15", State: Done,
		Tests: []string{"CORSPreflight"}},

	// Containers.
	{ID: CreateContainer, Name: "Create Container", Level: Container, Methods: put, Restype: "container", Since: oldest, State: Done,
		Tests: []string{"CreateContainer"}},
	{ID: GetContainerProperties, Name: "Get Container Properties", Level: Container, Methods: getHead, Restype: "container", Since: oldest, State: Done,
		Tests: []string{"GetContainerProperties"}},
	{ID: GetContainerMetadata, Name: "Get Container Metadata", Level: Container, Methods: getHead, Restype: "container", Comp: "metadata", Since: oldest, State: Done,
		Tests: []string{"GetContainerMetadata"}},
	{ID: SetContainerMetadata, Name: "Set Container Metadata", Level: Container, Methods: put, Restype: "container", Comp: "metadata", Since: oldest, State: Done,
		Conditions: IfModifiedSince, Tests: []string{"SetContainerMetadata"}},
	{ID: GetContainerACL, Name: "Get Container ACL", Level: Container, Methods: getHead, Restype: "container", Comp: "acl", Since: oldest, State: Done,
		Tests: []string{"GetContainerACL"}},
	{ID: SetContainerACL, Name: "Set Container ACL", Level: Container, Methods: put, Restype: "container", Comp: "acl", Since: oldest, State: Done,
		Conditions: dates, Tests: []string{"SetContainerACL"}},
	{ID: DeleteContainer, Name: "Delete Container", Level: Container, Methods: del, Restype: "container", Since: oldest, State: Done,
		Conditions: dates, Tests: []string{"DeleteContainer"}},
	{ID: LeaseContainer, Name: "Lease Container", Level: Container, Methods: put, Restype: "container", Comp: "lease", Since: "2012-02-12", State: Done,
		Conditions: dates, Tests: []string{"LeaseContainer"}},
	{ID: RestoreContainer, Name: "Restore Container", Level: Container, Methods: put, Restype: "container", Comp: "undelete", Since: "2020-02-10", State: Done,
		Note: "to the name it had. Deleted containers are kept with --container-delete-retention", Tests: []string{"RestoreContainer"}},
	{ID: RenameContainer, Name: "Rename Container", Level: Container, Methods: put, Restype: "container", Comp: "rename", Since: "2020-06-12", Refusal: notImplemented},
	{ID: ListBlobs, Name: "List Blobs", Level: Container, Methods: get, Restype: "container", Comp: "list", Since: oldest, State: Done,
		Tests: []string{"ListBlobs"}},
	{ID: FindBlobsByTagsInContainer, Name: "Find Blobs by Tags in Container", Level: Container, Methods: get, Restype: "container", Comp: "blobs", Since: "2021-04-10", State: Done,
		Note: "but previous versions are not searched: include=versions is refused where there is versioning", Tests: []string{"FindBlobsByTagsInContainer"}},
	{ID: ContainerBatch, Name: "Blob Batch in Container", Level: Container, Methods: post, Restype: "container", Comp: "batch", Since: "2020-04-08", State: Done,
		Note: "deletes blobs, or sets their tiers", Tests: []string{"ContainerBatch"}},

	// Blobs of any type.
	{ID: PutPageBlob, Name: "Put Blob (page)", Level: Blob, Methods: put, Selector: "x-ms-blob-type: PageBlob", Since: oldest, State: Done,
		Conditions: all, Tests: []string{"PutPageBlob"}},
	{ID: PutBlockBlob, Name: "Put Blob (block)", Level: Blob, Methods: put, Selector: "x-ms-blob-type: BlockBlob", Since: oldest, State: Done,
		Conditions: all, Tests: []string{"PutBlockBlob"}},
	{ID: PutAppendBlob, Name: "Put Blob (append)", Level: Blob, Methods: put, Selector: "x-ms-blob-type: AppendBlob", Since: "2015-02-21", State: Done,
		Conditions: all, Tests: []string{"PutAppendBlob"}},
	{ID: PutBlobFromURL, Name: "Put Blob From URL", Level: Blob, Methods: put, Selector: "x-ms-blob-type: BlockBlob, x-ms-copy-source", Since: "2020-04-08", State: Done,
		Note: "from any source that can be read in ranges: see docs/copies.md", Conditions: all, Tests: []string{"PutBlobFromURL"}},
	{ID: CopyBlobFromURL, Name: "Copy Blob From URL", Level: Blob, Methods: put, Selector: "x-ms-copy-source, x-ms-requires-sync: true", Since: "2018-11-09", State: Done,
		Note: "of 256 MiB at most; the result is a block blob. See docs/copies.md", Conditions: all, Tests: []string{"CopyBlobFromURL"}},
	{ID: CopyBlob, Name: "Copy Blob", Level: Blob, Methods: put, Selector: "x-ms-copy-source", Since: oldest, State: Done,
		Note: "complete when it is answered within an account, else pending: see docs/copies.md", Conditions: all, Tests: []string{"CopyBlob"}},
	{ID: GetBlob, Name: "Get Blob", Level: Blob, Methods: get, Since: oldest, State: Done,
		Conditions: all, Snapshot: true, Tests: []string{"GetBlob"}},
	{ID: GetBlobProperties, Name: "Get Blob Properties", Level: Blob, Methods: head, Since: oldest, State: Done,
		Conditions: all, Snapshot: true, Tests: []string{"GetBlobProperties"}},
	{ID: DeleteBlob, Name: "Delete Blob", Level: Blob, Methods: del, Since: oldest, State: Done,
		Note: "the blob stays as a previous version in accounts that the server was started with --versioning for: see docs/versions.md", Conditions: all, Snapshot: true, Tests: []string{"DeleteBlob"}},
	{ID: SetBlobProperties, Name: "Set Blob Properties", Level: Blob, Methods: put, Comp: "properties", Since: oldest, State: Done,
		Note: "with resize and sequence number", Conditions: all, Tests: []string{"SetBlobProperties"}},
	{ID: GetBlobMetadata, Name: "Get Blob Metadata", Level: Blob, Methods: getHead, Comp: "metadata", Since: oldest, State: Done,
		Conditions: all, Snapshot: true, Tests: []string{"GetBlobMetadata"}},
	{ID: SetBlobMetadata, Name: "Set Blob Metadata", Level: Blob, Methods: put, Comp: "metadata", Since: oldest, State: Done,
		Conditions: all, Tests: []string{"SetBlobMetadata"}},
	{ID: LeaseBlob, Name: "Lease Blob", Level: Blob, Methods: put, Comp: "lease", Since: oldest, State: Done,
		Conditions: all, Tests: []string{"LeaseBlob"}},
	{ID: SnapshotBlob, Name: "Snapshot Blob", Level: Blob, Methods: put, Comp: "snapshot", Since: oldest, State: Done,
		Conditions: all, Tests: []string{"SnapshotBlob"}},
	{ID: AbortCopyBlob, Name: "Abort Copy Blob", Level: Blob, Methods: put, Comp: "copy", Since: "2012-02-12", State: Done,
		Tests: []string{"AbortCopyBlob"}},
	{ID: IncrementalCopyBlob, Name: "Incremental Copy Blob", Level: Blob, Methods: put, Comp: "incrementalcopy", Since: "2016-05-31", State: Done,
		Note: "from snapshots on this server and on others: see docs/copies.md", Conditions: all, Tests: []string{"IncrementalCopyBlob"}},
	{ID: SetBlobTier, Name: "Set Blob Tier", Level: Blob, Methods: put, Comp: "tier", Since: "2017-04-17", State: Done,
		Note: "of page blobs in accounts that the server was started with --premium for, of block blobs in the others. A blob that was archived is back when that is answered: see docs/tiers.md", Conditions: IfTags, Tests: []string{"SetBlobTier"}},
	{ID: UndeleteBlob, Name: "Undelete Blob", Level: Blob, Methods: put, Comp: "undelete", Since: "2017-07-29", State: Done,
		Tests: []string{"UndeleteBlob"}},
	{ID: SetBlobExpiry, Name: "Set Blob Expiry", Level: Blob, Methods: put, Comp: "expiry", Since: "2020-02-10", Refusal: notImplemented},
	{ID: GetBlobTags, Name: "Get Blob Tags", Level: Blob, Methods: get, Comp: "tags", Since: "2019-12-12", State: Done,
		Note: "a snapshot has the tags that the blob had", Conditions: IfTags | IfBlob, Snapshot: true, Tests: []string{"GetBlobTags"}},
	{ID: SetBlobTags, Name: "Set Blob Tags", Level: Blob, Methods: put, Comp: "tags", Since: "2019-12-12", State: Done,
		Conditions: IfTags | IfBlob, Tests: []string{"SetBlobTags"}},
	{ID: SetImmutabilityPolicy, Name: "Set Blob Immutability Policy", Level: Blob, Methods: put, Comp: "immutabilitypolicies", Since: "2020-06-12", State: Done,
		Note: immutableNote, Conditions: IfUnmodifiedSince, Snapshot: true, Tests: []string{"SetImmutabilityPolicy"}},
	{ID: DeleteImmutabilityPolicy, Name: "Delete Blob Immutability Policy", Level: Blob, Methods: del, Comp: "immutabilitypolicies", Since: "2020-06-12", State: Done,
		Note: immutableNote, Snapshot: true, Tests: []string{"DeleteImmutabilityPolicy"}},
	{ID: SetLegalHold, Name: "Set Blob Legal Hold", Level: Blob, Methods: put, Comp: "legalhold", Since: "2020-06-12", State: Done,
		Note: immutableNote, Snapshot: true, Tests: []string{"SetLegalHold"}},

	// Page blobs.
	{ID: PutPage, Name: "Put Page", Level: Blob, Methods: put, Comp: "page", Selector: "x-ms-page-write: update", Since: oldest, State: Done,
		Conditions: all | IfSequence, Tests: []string{"PutPage"}},
	{ID: ClearPages, Name: "Put Page (clear)", Level: Blob, Methods: put, Comp: "page", Selector: "x-ms-page-write: clear", Since: oldest, State: Done,
		Conditions: all | IfSequence, Tests: []string{"ClearPages"}},
	{ID: PutPageFromURL, Name: "Put Page From URL", Level: Blob, Methods: put, Comp: "page", Selector: "x-ms-page-write: update, x-ms-copy-source", Since: "2018-11-09", State: Done,
		Note: "from any source that can be read in ranges: see docs/copies.md", Conditions: all | IfSequence, Tests: []string{"PutPageFromURL"}},
	{ID: GetPageRanges, Name: "Get Page Ranges", Level: Blob, Methods: get, Comp: "pagelist", Since: oldest, State: Done,
		Conditions: all, Snapshot: true, Tests: []string{"GetPageRanges"}},
	{ID: GetPageRangesDiff, Name: "Get Page Ranges Diff", Level: Blob, Methods: get, Comp: "pagelist", Selector: "prevsnapshot= or x-ms-previous-snapshot-url", Since: "2015-07-08", State: Done,
		Conditions: all, Snapshot: true, Tests: []string{"GetPageRangesDiff"}},

	// Block and append blobs.
	{ID: PutBlock, Name: "Put Block", Level: Blob, Methods: put, Comp: "block", Since: oldest, State: Done,
		Tests: []string{"PutBlock"}},
	{ID: PutBlockFromURL, Name: "Put Block From URL", Level: Blob, Methods: put, Comp: "block", Selector: "x-ms-copy-source", Since: "2018-03-28", State: Done,
		Note: "from any source that can be read in ranges: see docs/copies.md", Tests: []string{"PutBlockFromURL"}},
	{ID: PutBlockList, Name: "Put Block List", Level: Blob, Methods: put, Comp: "blocklist", Since: oldest, State: Done,
		Conditions: all, Tests: []string{"PutBlockList"}},
	{ID: GetBlockList, Name: "Get Block List", Level: Blob, Methods: get, Comp: "blocklist", Since: oldest, State: Done,
		Conditions: IfTags, Snapshot: true, Tests: []string{"GetBlockList"}},
	{ID: AppendBlock, Name: "Append Block", Level: Blob, Methods: put, Comp: "appendblock", Since: "2015-02-21", State: Done,
		Conditions: all, Tests: []string{"AppendBlock"}},
	{ID: AppendBlockFromURL, Name: "Append Block From URL", Level: Blob, Methods: put, Comp: "appendblock", Selector: "x-ms-copy-source", Since: "2018-11-09", State: Done,
		Note: "from any source that can be read in ranges: see docs/copies.md", Conditions: all, Tests: []string{"AppendBlockFromURL"}},
	{ID: SealAppendBlob, Name: "Append Blob Seal", Level: Blob, Methods: put, Comp: "seal", Since: "2019-12-12", State: Done,
		Conditions: all &^ IfTags, Tests: []string{"SealAppendBlob"}},
	{ID: QueryBlobContents, Name: "Query Blob Contents", Level: Blob, Methods: post, Comp: "query", Since: "2019-12-12", Refusal: notImplemented},
}
