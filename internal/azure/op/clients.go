package op

// Client is one of Azure's clients, other than the Go SDK, with which all conformance tests are made.
type Client struct {
	Name string // of the client
	Test string // of its script in internal/testkit/e2e, and its credential there is the key
	Does []ID   // the operations that it asks for in TestClients, which sees to it that these are all, and are answered
}

// Clients are those that drive the real process in TestClients. It is not to be modified.
var Clients = []Client{
	{"JavaScript", "js", []ID{
		ListContainers, GetServiceProperties, SetServiceProperties, ServiceBatch, FindBlobsByTags, GetAccountInformation,
		CreateContainer, GetContainerProperties, SetContainerMetadata, GetContainerACL, SetContainerACL, DeleteContainer,
		LeaseContainer, ListBlobs, FindBlobsByTagsInContainer, ContainerBatch, PutPageBlob, CopyBlob, GetBlob,
		GetBlobProperties, DeleteBlob, SetBlobProperties, SetBlobMetadata, LeaseBlob, SnapshotBlob, AbortCopyBlob,
		GetBlobTags, SetBlobTags, PutPage, ClearPages, PutPageFromURL, GetPageRanges, GetPageRangesDiff,
	}},
	{"Python", "python", []ID{
		ListContainers, GetServiceProperties, SetServiceProperties, FindBlobsByTags, GetAccountInformation,
		CreateContainer, GetContainerProperties, SetContainerMetadata, GetContainerACL, SetContainerACL, DeleteContainer,
		LeaseContainer, ListBlobs, FindBlobsByTagsInContainer, ContainerBatch, PutPageBlob, CopyBlob, GetBlob,
		GetBlobProperties, DeleteBlob, SetBlobProperties, SetBlobMetadata, LeaseBlob, SnapshotBlob, AbortCopyBlob,
		GetBlobTags, SetBlobTags, PutPage, ClearPages, PutPageFromURL, GetPageRanges, GetPageRangesDiff,
	}},
	{"az", "az", []ID{
		ListContainers, GetServiceProperties, SetServiceProperties, CreateContainer, GetContainerProperties,
		SetContainerMetadata, GetContainerACL, SetContainerACL, DeleteContainer, LeaseContainer, ListBlobs, PutPageBlob,
		CopyBlob, GetBlob, GetBlobProperties, DeleteBlob, SetBlobProperties, SetBlobMetadata, LeaseBlob, SnapshotBlob,
		AbortCopyBlob, PutPage, GetPageRanges,
	}},
}
