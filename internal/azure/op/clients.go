package op

// Client is one of Azure's clients, other than the Go SDK, with which all conformance tests are made.
type Client struct {
	Name string // of the client
	Test string // of its script in internal/testkit/e2e
	Does []ID   // the operations that it asks for in TestClients, which sees to it that these are all, and are answered
}

// Clients are those that drive the real process in TestClients. It is not to be modified.
var Clients = []Client{
	{"JavaScript", "js", []ID{
		ListContainers, GetServiceProperties, SetServiceProperties, GetServiceStats, GetUserDelegationKey, ServiceBatch,
		FindBlobsByTags, GetAccountInformation, CreateContainer, GetContainerProperties, SetContainerMetadata, GetContainerACL,
		SetContainerACL, DeleteContainer, LeaseContainer, RestoreContainer, ListBlobs, FindBlobsByTagsInContainer,
		ContainerBatch, PutPageBlob, CopyBlob, GetBlob, GetBlobProperties, DeleteBlob, SetBlobProperties, SetBlobMetadata,
		LeaseBlob, SnapshotBlob, AbortCopyBlob, IncrementalCopyBlob, SetBlobTier, UndeleteBlob, GetBlobTags, SetBlobTags,
		SetImmutabilityPolicy, DeleteImmutabilityPolicy, SetLegalHold, PutPage, ClearPages, PutPageFromURL, GetPageRanges,
		GetPageRangesDiff, PutBlockBlob, PutBlock, PutBlockList, GetBlockList,
		PutAppendBlob, AppendBlock, SealAppendBlob,
	}},
	{"Python", "python", []ID{
		ListContainers, GetServiceProperties, SetServiceProperties, GetServiceStats, GetUserDelegationKey, FindBlobsByTags,
		GetAccountInformation, CreateContainer, GetContainerProperties, SetContainerMetadata, GetContainerACL,
		SetContainerACL, DeleteContainer, LeaseContainer, RestoreContainer, ListBlobs, FindBlobsByTagsInContainer,
		ContainerBatch, PutPageBlob, CopyBlob, GetBlob, GetBlobProperties, DeleteBlob, SetBlobProperties, SetBlobMetadata,
		LeaseBlob, SnapshotBlob, AbortCopyBlob, IncrementalCopyBlob, SetBlobTier, UndeleteBlob, GetBlobTags, SetBlobTags,
		SetImmutabilityPolicy, DeleteImmutabilityPolicy, SetLegalHold, PutPage, ClearPages, PutPageFromURL, GetPageRanges,
		GetPageRangesDiff, PutBlockBlob, PutBlock, PutBlockList, GetBlockList,
		PutAppendBlob, AppendBlock, SealAppendBlob,
	}},
	{"az", "az", []ID{
		ListContainers, GetServiceProperties, SetServiceProperties, GetUserDelegationKey, CreateContainer,
		GetContainerProperties, SetContainerMetadata, GetContainerACL, SetContainerACL, DeleteContainer, LeaseContainer,
		RestoreContainer, ListBlobs, PutPageBlob, CopyBlob, GetBlob, GetBlobProperties, DeleteBlob, SetBlobProperties,
		SetBlobMetadata, LeaseBlob, SnapshotBlob, AbortCopyBlob, IncrementalCopyBlob, SetBlobTier, UndeleteBlob,
		SetImmutabilityPolicy, DeleteImmutabilityPolicy, SetLegalHold, PutPage, GetPageRanges,
	}},
}
