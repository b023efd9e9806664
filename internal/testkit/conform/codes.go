package conform

// CodeStatus is one answer that an operation we have can give: an error code of the protocol and the status it comes with.
type CodeStatus struct {
	Code   string
	Status int
}

// wire is the name that goes over the wire, which for two of them differs from ours.
func (c CodeStatus) wire() string { return wireName(c.Code) }

func wireName(code string) string {
	switch code {
	case "NotModified":
		return "ConditionNotMet"
	case "InvalidBearerToken":
		return "InvalidAuthenticationInfo"
	}
	return code
}

// Codes lists every error code that the operations we have can answer. The suite provokes each of them; a code of the
// server's table must be here or in the test's list unprovoked.
var Codes = []CodeStatus{
	// Who asks, and whether the request can be read at all.
	{"AuthenticationFailed", 403},
	{"AuthorizationFailure", 403}, // no token will do
	{"AuthorizationPermissionMismatch", 403},
	{"AuthorizationProtocolMismatch", 403},
	{"AuthorizationResourceTypeMismatch", 403},
	{"AuthorizationServiceMismatch", 403},
	{"AuthorizationSourceIPMismatch", 403},
	{"UnauthorizedBlobOverwrite", 403},
	{"InsufficientAccountPermissions", 403}, // a write through -secondary
	{"InvalidAuthenticationInfo", 400},
	{"InvalidBearerToken", 401}, // as InvalidAuthenticationInfo
	{"NoAuthenticationInformation", 401},
	{"ResourceNotFound", 404}, // no such account
	{"InvalidHeaderValue", 400},
	{"MissingRequiredHeader", 400},
	{"MissingContentLengthHeader", 411},
	{"UnsupportedHeader", 400},
	{"InvalidQueryParameterValue", 400},
	{"OutOfRangeQueryParameterValue", 400},
	{"MissingRequiredQueryParameter", 400},
	{"MutuallyExclusiveQueryParameters", 400}, // snapshot beside versionid
	{"UnsupportedQueryParameter", 400},
	{"InvalidUri", 400},
	{"InvalidHttpVerb", 400},
	{"UnsupportedHttpVerb", 405},
	{"InvalidInput", 400},
	{"InvalidXmlDocument", 400},
	{"InvalidXmlNodeValue", 400},
	{"MissingRequiredXmlNode", 400},
	{"UnsupportedXmlNode", 400},
	{"RequestBodyTooLarge", 413},
	{"APINotImplemented", 501}, // 501, so that clients do not retry
	{"CorsPreflightFailure", 403},

	// Names and metadata.
	{"InvalidResourceName", 400},
	{"OutOfRangeInput", 400},
	{"InvalidMetadata", 400},
	{"EmptyMetadataKey", 400},
	{"MetadataTooLarge", 400},

	{"EmptyTagName", 400},
	{"DuplicateTagNames", 400},
	{"TagsTooLarge", 400},
	{"InvalidTag", 400},

	// Checksums of the body.
	{"InvalidMd5", 400},
	{"Md5Mismatch", 400},
	{"Crc64Mismatch", 400},
	{"BothCrc64AndMd5HeaderPresent", 400},

	// Conditions.
	{"ConditionNotMet", 412},
	{"NotModified", 304},
	{"MultipleConditionHeadersNotSupported", 400},
	{"UnsatisfiableCondition", 400},
	{"ConditionHeadersNotSupported", 400},
	{"SequenceNumberConditionNotMet", 412},

	// Containers and blobs.
	{"ContainerAlreadyExists", 409},
	{"ContainerNotFound", 404},
	{"PublicAccessNotPermitted", 409},
	{"BlobAlreadyExists", 409},
	{"BlobNotFound", 404},
	{"SnapshotsPresent", 409},
	{"BlobSnapshotNotSoftDeleted", 409},  // deletetype=permanent before a deletion
	{"PermanentDeleteNotPermitted", 409}, // the status is Azure's, the code is ours [?]
	{"AccessTierNotSupportedForBlobType", 400},
	{"BlobAccessTierNotSupportedForAccountType", 400},
	{"BlobArchived", 409},
	{"InvalidBlobTier", 400},
	{"BlobTierInadequateForContentLength", 409},
	{"CannotChangeToLowerTier", 409},
	{"ContentLengthLargerThanTierLimit", 409},
	{"BlobImmutableDueToPolicy", 409},
	{"ImmutabilityPolicyDeleteOnLockedPolicy", 409},
	{"BlobOperationNotSupported", 409},
	{"ContainerImmutableStorageWithVersioningEnabled", 409},
	{"InvalidRange", 416},
	{"InvalidPageRange", 416},
	{"SequenceNumberIncrementTooLarge", 409},
	{"BlobOverwritten", 409},
	{"BothUserTagsAndSourceTagsCopyPresentException", 400},
	{"CannotVerifyCopySource", 404},
	{"InfiniteLeaseDurationRequired", 412},
	{"IncrementalCopyBlobMismatch", 409},
	{"IncrementalCopyOfEarlierSnapshotNotAllowed", 409},
	{"IncrementalCopySourceMustBeSnapshot", 409},
	{"InvalidSourceBlobUrl", 409},
	{"OperationNotAllowedOnIncrementalCopyBlob", 409},
	{"OperationNotAllowedOnRootBlob", 403}, // deleting the current version by its id
	{"TargetConditionNotMet", 412},
	{"SourceConditionNotMet", 412},
	{"NoPendingCopyOperation", 409},
	{"PreviousSnapshotNotFound", 409},
	{"PreviousSnapshotCannotBeNewer", 400},
	{"InvalidBlobType", 409},
	{"InvalidBlobOrBlock", 400}, // ids of different lengths
	{"InvalidBlockId", 400},
	{"InvalidBlockList", 400},
	{"BlockListTooLong", 400},
	{"AppendPositionConditionNotMet", 412},
	{"MaxBlobSizeConditionNotMet", 412},
	{"BlobIsSealed", 409},

	// Leases: the lease operations, then everything else.
	{"LeaseAlreadyPresent", 409},
	{"LeaseIdMismatchWithLeaseOperation", 409},
	{"LeaseNotPresentWithLeaseOperation", 409},
	{"LeaseIsBreakingAndCannotBeAcquired", 409},
	{"LeaseIsBreakingAndCannotBeChanged", 409},
	{"LeaseIsBrokenAndCannotBeRenewed", 409},
	{"LeaseIdMissing", 412},
	{"LeaseIdMismatchWithBlobOperation", 412},
	{"LeaseNotPresentWithBlobOperation", 412},
	{"LeaseLost", 412},
	{"LeaseIdMismatchWithContainerOperation", 412},
	{"LeaseNotPresentWithContainerOperation", 412},
}

// statusOf returns the status a code comes with, 0 for a code that is not in Codes.
func statusOf(code string) int {
	for _, c := range Codes {
		if c.Code == code {
			return c.Status
		}
	}
	return 0
}
