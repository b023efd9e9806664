package azerr

// Code is one error of the Blob service. It is an error itself, allocates nothing and works with errors.Is.
// The zero Code is not an error of the service and reads as InternalError.
type Code uint16

// The errors shared by all Azure storage services.
const (
	AccountAlreadyExists                 Code = iota + 1 // management: the name is taken
	AccountBeingCreated                                  // management: try again later
	AccountIsDisabled                                    // the account exists and serves nobody
	APINotImplemented                                    // an operation we do not have; 501 so that clients do not retry
	AuthenticationFailed                                 // wrong signature, wrong key, clock skew, expired token
	AuthorizationFailure                                 // never allowed with these credentials
	AuthorizationPermissionMismatch                      // the token lacks the permission letter
	AuthorizationProtocolMismatch                        // http while the token says https
	AuthorizationResourceTypeMismatch                    // the token is for another resource type
	AuthorizationServiceMismatch                         // the token is for another service
	AuthorizationSourceIPMismatch                        // the token is for other addresses
	BothCrc64AndMd5HeaderPresent                         // a body may have one transport checksum
	ConditionHeadersNotSupported                         // the operation takes no conditions
	ConditionNotMet                                      // a write whose If-* header failed: 412
	CorsPreflightFailure                                 // no CORS rule matched
	Crc64Mismatch                                        // the body arrived damaged
	EmptyMetadataKey                                     // a header named x-ms-meta- and nothing more
	FeatureVersionMismatch                               // the feature is newer than the request's version
	InsufficientAccountPermissions                       // for example a write to a read-only secondary
	InternalError                                        // ours; the cause is in the log
	InvalidAuthenticationInfo                            // an Authorization header that cannot be read
	InvalidBearerToken                                   // a bearer token that is not taken: wire code InvalidAuthenticationInfo, 401
	InvalidHeaderValue                                   // carries HeaderName and HeaderValue
	InvalidHttpVerb                                      // a method HTTP does not know
	InvalidInput                                         // a value that has the form and no meaning
	InvalidMd5                                           // Content-MD5 is not 16 bytes of base64
	InvalidMetadata                                      // names that are no identifiers, values that are not ASCII, duplicates
	InvalidQueryParameterValue                           // carries QueryParameterName, QueryParameterValue and Reason
	InvalidRange                                         // a range that starts behind the end
	InvalidRequestUrl                                    // older sibling of InvalidUri
	InvalidResourceName                                  // a name with characters that are not allowed
	InvalidUri                                           // bad escapes, or not UTF-8 once decoded
	InvalidXmlDocument                                   // not well-formed, or not what was asked for
	InvalidXmlNodeValue                                  // carries XmlNodeName and XmlNodeValue
	KeyBasedAuthenticationNotPermitted                   // account keys are switched off
	Md5Mismatch                                          // the body arrived damaged
	MetadataTooLarge                                     // more than 8 KiB of names and values
	MissingContentLengthHeader                           // a body of unknown length
	MissingRequiredHeader                                // carries HeaderName
	MissingRequiredQueryParameter                        // carries QueryParameterName
	MissingRequiredXmlNode                               // carries XmlNodeName
	MultipleConditionHeadersNotSupported                 // a combination of conditions a write does not take
	MutuallyExclusiveQueryParameters                     // snapshot beside versionid
	NoAuthenticationInformation                          // nobody said who is asking
	NotImplemented                                       // as APINotImplemented, for a part of an operation
	NotModified                                          // a read whose If-* header failed: wire code ConditionNotMet, 304
	OperationTimedOut                                    // not finished in time; state unknown to the client
	OutOfRangeInput                                      // a name too short or too long
	OutOfRangeQueryParameterValue                        // a number outside its limits
	RequestBodyTooLarge                                  // carries MaxLimit
	RequestUrlFailedToParse                              // a URL that is none
	ResourceAlreadyExists                                // the general form of BlobAlreadyExists
	ResourceNotFound                                     // unknown account, or private to an anonymous caller
	ResourceTypeMismatch                                 // the resource exists and is something else
	ServerBusy                                           // not now: overload, or a store that takes no writes
	UnsatisfiableCondition                               // If-None-Match: * on a read
	UnsupportedHeader                                    // a header that would change the result and that we do not honour
	UnsupportedHttpVerb                                  // the resource exists and does not take this method
	UnsupportedQueryParameter                            // a parameter that would change the result and that we do not honour
	UnsupportedXmlNode                                   // an element we do not honour
)

// The errors of the Blob service proper.
const (
	AccessTierNotSupportedForBlobType                 Code = iota + UnsupportedXmlNode + 1 // page blobs of a standard account have no tier
	AppendPositionConditionNotMet                                                          // the blob does not end where the client thought
	BlobAccessTierNotSupportedForAccountType                                               // no tiers in this kind of account
	BlobAlreadyExists                                                                      // If-None-Match: * on a create
	BlobArchived                                                                           // content is offline
	BlobBeingRehydrated                                                                    // content is coming back
	BlobImmutableDueToPolicy                                                               // write-once storage
	BlobIsSealed                                                                           // no more appends
	BlobNotArchived                                                                        // nothing to rehydrate
	BlobNotFound                                                                           // no such blob, snapshot or version
	BlobOperationNotSupported                                                              // protection where there is no immutable storage
	BlobOverwritten                                                                        // a diff across Put Blob
	BlobSnapshotNotSoftDeleted                                                             // deleting it for good before it is deleted
	BlobTierInadequateForContentLength                                                     // premium: too big for the tier
	BlobUsesCustomerSpecifiedEncryption                                                    // key missing or another one
	BlockCountExceedsLimit                                                                 // 50,000 appended or 100,000 uncommitted
	BlockListTooLong                                                                       // more than 50,000
	BothUserTagsAndSourceTagsCopyPresent                                                   // tags of its own, and those of the source
	CannotChangeToLowerTier                                                                // premium
	CannotVerifyCopySource                                                                 // the source could not be read
	ContainerAlreadyExists                                                                 // Create Container on an existing one
	ContainerBeingDeleted                                                                  // not yet gone
	ContainerDisabled                                                                      // management
	ContainerImmutableStorageWithVersioningEnabled                                         // and it is not empty
	ContainerNotFound                                                                      // wins over BlobNotFound
	ContentLengthLargerThanTierLimit                                                       // premium
	CopyAcrossAccountsNotSupported                                                         // old versions
	CopyIdMismatch                                                                         // Abort Copy of another copy
	DuplicateTagNames                                                                      // tags
	EmptyTagName                                                                           // tags
	ImmutabilityPolicyDeleteOnLockedPolicy                                                 // write-once storage
	IncrementalCopyBlobMismatch                                                            // another source than before
	IncrementalCopyOfEarlierSnapshotNotAllowed                                             // copies go forward
	IncrementalCopyOfEarlierVersionSnapshotNotAllowed                                      // the same, older spelling
	IncrementalCopyOfEralierVersionSnapshotNotAllowed                                      // the same, as misspelt on the wire for years
	IncrementalCopySourceMustBeSnapshot                                                    // and is not
	InfiniteLeaseDurationRequired                                                          // copy destination
	InvalidBlobOrBlock                                                                     // block ids of unequal length
	InvalidBlobTier                                                                        // a tier this blob cannot have
	InvalidBlobType                                                                        // the operation is for another type of blob
	InvalidBlockId                                                                         // not base64, or too long
	InvalidBlockList                                                                       // a block nobody uploaded
	InvalidOperation                                                                       // for example a write to a snapshot
	InvalidPageRange                                                                       // pages outside the blob
	InvalidSourceBlobType                                                                  // copy source
	InvalidSourceBlobUrl                                                                   // copy source
	InvalidTag                                                                             // tags
	InvalidVersionForPageBlobOperation                                                     // before 2009-09-19
	LeaseAlreadyBroken                                                                     // before 2012-02-12
	LeaseAlreadyPresent                                                                    // acquire while another holds it
	LeaseIdMismatchWithBlobOperation                                                       // the lease is another one
	LeaseIdMismatchWithContainerOperation                                                  // the lease is another one
	LeaseIdMismatchWithLeaseOperation                                                      // the lease is another one
	LeaseIdMissing                                                                         // leased, and no id was given
	LeaseIsBreakingAndCannotBeAcquired                                                     // wait for the break
	LeaseIsBreakingAndCannotBeChanged                                                      // wait for the break
	LeaseIsBrokenAndCannotBeRenewed                                                        // acquire again
	LeaseLost                                                                              // the lease ran out
	LeaseNotPresentWithBlobOperation                                                       // an id was given and there is no lease
	LeaseNotPresentWithContainerOperation                                                  // an id was given and there is no lease
	LeaseNotPresentWithLeaseOperation                                                      // an id was given and there is no lease
	MaxBlobSizeConditionNotMet                                                             // append
	NoPendingCopyOperation                                                                 // Abort Copy of a finished one
	OperationNotAllowedOnIncrementalCopyBlob                                               // only its snapshots are readable
	OperationNotAllowedOnRootBlob                                                          // deleting the current version by its id
	PendingCopyOperation                                                                   // a copy into the blob is under way
	PreviousSnapshotCannotBeNewer                                                          // a diff runs forward
	PreviousSnapshotNotFound                                                               // a diff from a snapshot that is not there
	PreviousSnapshotOperationNotSupported                                                  // a diff from a snapshot that cannot be compared
	PublicAccessNotPermitted                                                               // containers of this account are private
	SequenceNumberConditionNotMet                                                          // x-ms-if-sequence-number-*
	SequenceNumberIncrementTooLarge                                                        // past 2^63-1
	SnapshotCountExceeded                                                                  // premium
	SnapshotOperationRateExceeded                                                          // premium
	SnapshotsPresent                                                                       // delete of a blob that has some
	SourceConditionNotMet                                                                  // copy source
	SystemInUse                                                                            // a container of the service itself
	TagsTooLarge                                                                           // tags
	TargetConditionNotMet                                                                  // incremental copy
	UnauthorizedBlobOverwrite                                                              // a create-only token on an existing blob
)

// The errors of our own: what the service never says, because it has no such limits.
const (
	// AccountCapacityExceeded is the answer to a write that would take an account over its limits. It is 409, as where the
	// service knows quotas (shares of the File service), and not 507: the Python SDK, and az with it, sends a request
	// again after any status from 500 on but 501 and 505, and nothing would come of that until something is deleted.
	AccountCapacityExceeded Code = iota + UnauthorizedBlobOverwrite + 1

	// PermanentDeleteNotPermitted is the answer to deletetype=permanent for a blob, and where it is not allowed. Azure answers
	// 409, too; which code it has there is not known. For what is not deleted it is BlobSnapshotNotSoftDeleted.
	PermanentDeleteNotPermitted
	codeEnd
)

// table is what each code looks like on the wire: name, HTTP status, sentence. Statuses follow the REST reference;
// the sentences are the reference's where tools are known to search for them and a paraphrase elsewhere.
var table = [codeEnd]struct {
	wire    string
	status  int
	message string
}{
	AccountAlreadyExists:                 {"AccountAlreadyExists", 409, "The specified account already exists."},
	AccountBeingCreated:                  {"AccountBeingCreated", 409, "The specified account is in the process of being created."},
	AccountIsDisabled:                    {"AccountIsDisabled", 403, "The specified account is disabled."},
	APINotImplemented:                    {"APINotImplemented", 501, "The requested operation is not implemented by this server."},
	AuthenticationFailed:                 {"AuthenticationFailed", 403, "Server failed to authenticate the request. Make sure the value of Authorization header is formed correctly including the signature."},
	AuthorizationFailure:                 {"AuthorizationFailure", 403, "This request is not authorized to perform this operation."},
	AuthorizationPermissionMismatch:      {"AuthorizationPermissionMismatch", 403, "This request is not authorized to perform this operation using this permission."},
	AuthorizationProtocolMismatch:        {"AuthorizationProtocolMismatch", 403, "This request is not authorized to perform this operation using this protocol."},
	AuthorizationResourceTypeMismatch:    {"AuthorizationResourceTypeMismatch", 403, "This request is not authorized to perform this operation using this resource type."},
	AuthorizationServiceMismatch:         {"AuthorizationServiceMismatch", 403, "This request is not authorized to perform this operation using this service."},
	AuthorizationSourceIPMismatch:        {"AuthorizationSourceIPMismatch", 403, "This request is not authorized to perform this operation using this source IP."},
	BothCrc64AndMd5HeaderPresent:         {"BothCrc64AndMd5HeaderPresent", 400, "Both x-ms-content-crc64 header and Content-MD5 header are present."},
	ConditionHeadersNotSupported:         {"ConditionHeadersNotSupported", 400, "Condition headers are not supported by this operation."},
	ConditionNotMet:                      {"ConditionNotMet", 412, "The condition specified using HTTP conditional header(s) is not met."},
	CorsPreflightFailure:                 {"CorsPreflightFailure", 403, "CORS not enabled or no matching rule found for this request."},
	Crc64Mismatch:                        {"Crc64Mismatch", 400, "The CRC64 value specified in the request did not match with the CRC64 value calculated by the server."},
	EmptyMetadataKey:                     {"EmptyMetadataKey", 400, "The key for one of the metadata key-value pairs is empty."},
	FeatureVersionMismatch:               {"FeatureVersionMismatch", 409, "The operation for this feature requires a newer service version than the one of the request."},
	InsufficientAccountPermissions:       {"InsufficientAccountPermissions", 403, "The account being accessed does not have sufficient permissions to execute this operation. Write operations are not allowed."},
	InternalError:                        {"InternalError", 500, "The server encountered an internal error. Please retry the request."},
	InvalidAuthenticationInfo:            {"InvalidAuthenticationInfo", 400, "Authentication information is not given in the correct format. Check the value of Authorization header."},
	InvalidBearerToken:                   {"InvalidAuthenticationInfo", 401, "Server failed to authenticate the request. Please refer to the information in the www-authenticate header."},
	InvalidHeaderValue:                   {"InvalidHeaderValue", 400, "The value for one of the HTTP headers is not in the correct format."},
	InvalidHttpVerb:                      {"InvalidHttpVerb", 400, "The HTTP verb specified was not recognized by the server."},
	InvalidInput:                         {"InvalidInput", 400, "One of the request inputs is not valid."},
	InvalidMd5:                           {"InvalidMd5", 400, "The MD5 value specified in the request is invalid. MD5 value must be 128 bits and base64-encoded."},
	InvalidMetadata:                      {"InvalidMetadata", 400, "The metadata specified is invalid. It has characters that are not permitted, or a name that is given twice."},
	InvalidQueryParameterValue:           {"InvalidQueryParameterValue", 400, "Value for one of the query parameters specified in the request URI is invalid."},
	InvalidRange:                         {"InvalidRange", 416, "The range specified is invalid for the current size of the resource."},
	InvalidRequestUrl:                    {"InvalidRequestUrl", 400, "The request URL is invalid."},
	InvalidResourceName:                  {"InvalidResourceName", 400, "The specified resource name contains invalid characters."},
	InvalidUri:                           {"InvalidUri", 400, "The requested URI does not represent any resource on the server."},
	InvalidXmlDocument:                   {"InvalidXmlDocument", 400, "XML specified is not syntactically valid."},
	InvalidXmlNodeValue:                  {"InvalidXmlNodeValue", 400, "The value for one of the XML nodes is not in the correct format."},
	KeyBasedAuthenticationNotPermitted:   {"KeyBasedAuthenticationNotPermitted", 403, "Key based authentication is not permitted on this storage account."},
	Md5Mismatch:                          {"Md5Mismatch", 400, "The MD5 value specified in the request did not match with the MD5 value calculated by the server."},
	MetadataTooLarge:                     {"MetadataTooLarge", 400, "The metadata specified exceeds the maximum allowable limit (8KB)."},
	MissingContentLengthHeader:           {"MissingContentLengthHeader", 411, "The Content-Length header was not specified."},
	MissingRequiredHeader:                {"MissingRequiredHeader", 400, "An HTTP header that's mandatory for this request is not specified."},
	MissingRequiredQueryParameter:        {"MissingRequiredQueryParameter", 400, "A query parameter that's mandatory for this request is not specified."},
	MissingRequiredXmlNode:               {"MissingRequiredXmlNode", 400, "A required XML node was not specified in the request body."},
	MutuallyExclusiveQueryParameters:     {"MutuallyExclusiveQueryParameters", 400, "Query parameters that are mutually exclusive are specified in the request."},
	MultipleConditionHeadersNotSupported: {"MultipleConditionHeadersNotSupported", 400, "Multiple condition headers are not supported."},
	NoAuthenticationInformation:          {"NoAuthenticationInformation", 401, "Server failed to authenticate the request. Please refer to the information in the www-authenticate header."},
	NotImplemented:                       {"NotImplemented", 501, "The requested operation is not implemented by this server."},
	NotModified:                          {"ConditionNotMet", 304, "The condition specified using HTTP conditional header(s) is not met."},
	OperationTimedOut:                    {"OperationTimedOut", 500, "Operation could not be completed within the specified time."},
	OutOfRangeInput:                      {"OutOfRangeInput", 400, "The specified resource name length is not within the permissible limits."},
	OutOfRangeQueryParameterValue:        {"OutOfRangeQueryParameterValue", 400, "One of the query parameters specified in the request URI is outside the permissible range."},
	RequestBodyTooLarge:                  {"RequestBodyTooLarge", 413, "The request body is too large and exceeds the maximum permissible limit."},
	RequestUrlFailedToParse:              {"RequestUrlFailedToParse", 400, "The url in the request could not be parsed."},
	ResourceAlreadyExists:                {"ResourceAlreadyExists", 409, "The specified resource already exists."},
	ResourceNotFound:                     {"ResourceNotFound", 404, "The specified resource does not exist."},
	ResourceTypeMismatch:                 {"ResourceTypeMismatch", 409, "The specified resource type does not match the type of the existing resource."},
	ServerBusy:                           {"ServerBusy", 503, "The server is busy."},
	UnsatisfiableCondition:               {"UnsatisfiableCondition", 400, "The request includes an unsatisfiable condition for this operation."},
	UnsupportedHeader:                    {"UnsupportedHeader", 400, "One of the headers specified in the request is not supported."},
	UnsupportedHttpVerb:                  {"UnsupportedHttpVerb", 405, "The resource doesn't support specified Http Verb."},
	UnsupportedQueryParameter:            {"UnsupportedQueryParameter", 400, "One of the query parameters specified in the request URI is not supported."},
	UnsupportedXmlNode:                   {"UnsupportedXmlNode", 400, "One of the XML nodes specified in the request body is not supported."},

	AccessTierNotSupportedForBlobType:                 {"AccessTierNotSupportedForBlobType", 400, "The access tier is not supported for this blob type."},
	AppendPositionConditionNotMet:                     {"AppendPositionConditionNotMet", 412, "The append position condition specified was not met."},
	BlobAccessTierNotSupportedForAccountType:          {"BlobAccessTierNotSupportedForAccountType", 400, "Blob access tier is not supported on this storage account type."},
	BlobAlreadyExists:                                 {"BlobAlreadyExists", 409, "The specified blob already exists."},
	BlobArchived:                                      {"BlobArchived", 409, "This operation is not permitted on an archived blob."},
	BlobBeingRehydrated:                               {"BlobBeingRehydrated", 409, "This operation is not permitted because the blob is being rehydrated."},
	BlobImmutableDueToPolicy:                          {"BlobImmutableDueToPolicy", 409, "This operation is not permitted as the blob is immutable due to a policy."},
	BlobIsSealed:                                      {"BlobIsSealed", 409, "The specified blob is sealed and its contents can't be modified unless the blob is re-created after a delete."},
	BlobNotArchived:                                   {"BlobNotArchived", 409, "The blob is not archived."},
	BlobNotFound:                                      {"BlobNotFound", 404, "The specified blob does not exist."},
	BlobOperationNotSupported:                         {"BlobOperationNotSupported", 409, "The operation is not supported in this scenario."},
	BlobOverwritten:                                   {"BlobOverwritten", 409, "The blob has been recreated since the previous snapshot was taken."},
	BlobSnapshotNotSoftDeleted:                        {"BlobSnapshotNotSoftDeleted", 409, "Only a snapshot or a version that is soft-deleted can be deleted permanently."},
	BlobTierInadequateForContentLength:                {"BlobTierInadequateForContentLength", 409, "Specified blob tier size limit cannot be less than content length."},
	BlobUsesCustomerSpecifiedEncryption:               {"BlobUsesCustomerSpecifiedEncryption", 409, "The blob is encrypted with customer specified encryption, but it was not provided in the request."},
	BlockCountExceedsLimit:                            {"BlockCountExceedsLimit", 409, "The committed block count cannot exceed the maximum limit of 50,000 blocks. The uncommitted block count cannot exceed the maximum limit of 100,000 blocks."},
	BlockListTooLong:                                  {"BlockListTooLong", 400, "The block list may not contain more than 50,000 blocks."},
	BothUserTagsAndSourceTagsCopyPresent:              {"BothUserTagsAndSourceTagsCopyPresentException", 400, "The request has tags for the destination, and asks for those of the source."},
	CannotChangeToLowerTier:                           {"CannotChangeToLowerTier", 409, "A higher blob tier has already been explicitly set."},
	CannotVerifyCopySource:                            {"CannotVerifyCopySource", 404, "Could not verify the copy source within the specified time. Examine the HTTP status code and message for more information about the failure."},
	ContainerAlreadyExists:                            {"ContainerAlreadyExists", 409, "The specified container already exists."},
	ContainerBeingDeleted:                             {"ContainerBeingDeleted", 409, "The specified container is being deleted. Try operation later."},
	ContainerDisabled:                                 {"ContainerDisabled", 409, "The specified container has been disabled by the administrator."},
	ContainerImmutableStorageWithVersioningEnabled:    {"ContainerImmutableStorageWithVersioningEnabled", 409, "The requested operation is not allowed as the container has a immutable storage with versioning enabled."},
	ContainerNotFound:                                 {"ContainerNotFound", 404, "The specified container does not exist."},
	ContentLengthLargerThanTierLimit:                  {"ContentLengthLargerThanTierLimit", 409, "The blob's content length cannot exceed its tier limit."},
	CopyAcrossAccountsNotSupported:                    {"CopyAcrossAccountsNotSupported", 400, "The copy source account and destination account must be the same."},
	CopyIdMismatch:                                    {"CopyIdMismatch", 409, "The specified copy ID did not match the copy ID for the pending copy operation."},
	DuplicateTagNames:                                 {"DuplicateTagNames", 400, "The tags specified contain duplicate names."},
	EmptyTagName:                                      {"EmptyTagName", 400, "The name of one of the tag key-value pairs is empty."},
	ImmutabilityPolicyDeleteOnLockedPolicy:            {"ImmutabilityPolicyDeleteOnLockedPolicy", 409, "A locked immutability policy cannot be deleted."},
	IncrementalCopyBlobMismatch:                       {"IncrementalCopyBlobMismatch", 409, "The specified source blob is different than the copy source of the existing incremental copy blob."},
	IncrementalCopyOfEarlierSnapshotNotAllowed:        {"IncrementalCopyOfEarlierSnapshotNotAllowed", 409, "The specified snapshot is earlier than the last snapshot copied into the incremental copy blob."},
	IncrementalCopyOfEarlierVersionSnapshotNotAllowed: {"IncrementalCopyOfEarlierVersionSnapshotNotAllowed", 409, "The specified snapshot is earlier than the last snapshot copied into the incremental copy blob."},
	IncrementalCopyOfEralierVersionSnapshotNotAllowed: {"IncrementalCopyOfEralierVersionSnapshotNotAllowed", 409, "The specified snapshot is earlier than the last snapshot copied into the incremental copy blob."},
	IncrementalCopySourceMustBeSnapshot:               {"IncrementalCopySourceMustBeSnapshot", 409, "The source for incremental copy request must be a snapshot."},
	InfiniteLeaseDurationRequired:                     {"InfiniteLeaseDurationRequired", 412, "The lease ID matched, but the specified lease must be an infinite-duration lease."},
	InvalidBlobOrBlock:                                {"InvalidBlobOrBlock", 400, "The specified blob or block content is invalid."},
	InvalidBlobTier:                                   {"InvalidBlobTier", 400, "The specified blob tier is invalid."},
	InvalidBlobType:                                   {"InvalidBlobType", 409, "The blob type is invalid for this operation."},
	InvalidBlockId:                                    {"InvalidBlockId", 400, "The specified block ID is invalid. The block ID must be Base64-encoded."},
	InvalidBlockList:                                  {"InvalidBlockList", 400, "The specified block list is invalid."},
	InvalidOperation:                                  {"InvalidOperation", 400, "Invalid operation against a blob snapshot."},
	InvalidPageRange:                                  {"InvalidPageRange", 416, "The page range specified is invalid."},
	InvalidSourceBlobType:                             {"InvalidSourceBlobType", 409, "The copy source blob type is invalid for this operation."},
	InvalidSourceBlobUrl:                              {"InvalidSourceBlobUrl", 409, "The source URL for incremental copy request must be a valid Azure Storage blob URL."},
	InvalidTag:                                        {"InvalidTag", 400, "The tags specified are invalid. They have characters that are not permitted."},
	InvalidVersionForPageBlobOperation:                {"InvalidVersionForPageBlobOperation", 400, "All operations on page blobs require at least version 2009-09-19."},
	LeaseAlreadyBroken:                                {"LeaseAlreadyBroken", 409, "The lease has already been broken and cannot be broken again."},
	LeaseAlreadyPresent:                               {"LeaseAlreadyPresent", 409, "There is already a lease present."},
	LeaseIdMismatchWithBlobOperation:                  {"LeaseIdMismatchWithBlobOperation", 412, "The lease ID specified did not match the lease ID for the blob."},
	LeaseIdMismatchWithContainerOperation:             {"LeaseIdMismatchWithContainerOperation", 412, "The lease ID specified did not match the lease ID for the container."},
	LeaseIdMismatchWithLeaseOperation:                 {"LeaseIdMismatchWithLeaseOperation", 409, "The lease ID specified did not match the lease ID for the resource with the specified lease operation."},
	LeaseIdMissing:                                    {"LeaseIdMissing", 412, "There is currently a lease on the resource and no lease ID was specified in the request."},
	LeaseIsBreakingAndCannotBeAcquired:                {"LeaseIsBreakingAndCannotBeAcquired", 409, "The lease ID matched, but the lease is currently in breaking state and cannot be acquired until it is broken."},
	LeaseIsBreakingAndCannotBeChanged:                 {"LeaseIsBreakingAndCannotBeChanged", 409, "The lease ID matched, but the lease is currently in breaking state and cannot be changed."},
	LeaseIsBrokenAndCannotBeRenewed:                   {"LeaseIsBrokenAndCannotBeRenewed", 409, "The lease ID matched, but the lease has been broken explicitly and cannot be renewed."},
	LeaseLost:                                         {"LeaseLost", 412, "A lease ID was specified, but the lease for the resource has expired."},
	LeaseNotPresentWithBlobOperation:                  {"LeaseNotPresentWithBlobOperation", 412, "There is currently no lease on the blob."},
	LeaseNotPresentWithContainerOperation:             {"LeaseNotPresentWithContainerOperation", 412, "There is currently no lease on the container."},
	LeaseNotPresentWithLeaseOperation:                 {"LeaseNotPresentWithLeaseOperation", 409, "There is currently no lease on the resource."},
	MaxBlobSizeConditionNotMet:                        {"MaxBlobSizeConditionNotMet", 412, "The max blob size condition specified was not met."},
	NoPendingCopyOperation:                            {"NoPendingCopyOperation", 409, "There is currently no pending copy operation."},
	OperationNotAllowedOnIncrementalCopyBlob:          {"OperationNotAllowedOnIncrementalCopyBlob", 409, "The specified operation is not allowed on an incremental copy blob."},
	OperationNotAllowedOnRootBlob:                     {"OperationNotAllowedOnRootBlob", 403, "This operation is not allowed on root blob."},
	PendingCopyOperation:                              {"PendingCopyOperation", 409, "There is currently a pending copy operation."},
	PreviousSnapshotCannotBeNewer:                     {"PreviousSnapshotCannotBeNewer", 400, "The prevsnapshot query parameter value cannot be newer than snapshot query parameter value."},
	PreviousSnapshotNotFound:                          {"PreviousSnapshotNotFound", 409, "The previous snapshot is not found."},
	PreviousSnapshotOperationNotSupported:             {"PreviousSnapshotOperationNotSupported", 409, "Differential Get Page Ranges is not supported on the previous snapshot."},
	PublicAccessNotPermitted:                          {"PublicAccessNotPermitted", 409, "Public access is not permitted on this storage account."},
	SequenceNumberConditionNotMet:                     {"SequenceNumberConditionNotMet", 412, "The sequence number condition specified was not met."},
	SequenceNumberIncrementTooLarge:                   {"SequenceNumberIncrementTooLarge", 409, "The sequence number increment cannot be performed because it would result in overflow of the sequence number."},
	SnapshotCountExceeded:                             {"SnapshotCountExceeded", 409, "The snapshot count against this blob has been exceeded."},
	SnapshotOperationRateExceeded:                     {"SnapshotOperationRateExceeded", 409, "The rate of snapshot calls against this blob has been exceeded."},
	SnapshotsPresent:                                  {"SnapshotsPresent", 409, "This operation is not permitted while the blob has snapshots."},
	SourceConditionNotMet:                             {"SourceConditionNotMet", 412, "The source condition specified using HTTP conditional header(s) is not met."},
	SystemInUse:                                       {"SystemInUse", 409, "This blob is in use by the system."},
	TagsTooLarge:                                      {"TagsTooLarge", 400, "The tags specified exceed the maximum permissible limit."},
	TargetConditionNotMet:                             {"TargetConditionNotMet", 412, "The target condition specified using HTTP conditional header(s) is not met."},
	UnauthorizedBlobOverwrite:                         {"UnauthorizedBlobOverwrite", 403, "This request is not authorized to perform blob overwrites."},

	AccountCapacityExceeded: {"AccountCapacityExceeded", 409, "The account has reached its capacity limit."},

	PermanentDeleteNotPermitted: {"PermanentDeleteNotPermitted", 409, "Permanent delete is not permitted: only snapshots that are soft-deleted, in accounts that allow it, can be deleted permanently."},
}
