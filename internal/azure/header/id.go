package header

// ID is a request or response header that some part of the server looks at. The zero ID is none.
type ID uint8

// The headers we look at. Standard ones first, then those of the service in alphabetical order.
const (
	AccessControlRequestHeaders ID = iota + 1
	AccessControlRequestMethod
	Authorization
	CacheControl
	ContentDisposition
	ContentEncoding
	ContentLanguage
	ContentLength
	ContentMD5
	ContentRange
	ContentType
	Date
	ETag
	Expect
	Host
	IfMatch
	IfModifiedSince
	IfNoneMatch
	IfUnmodifiedSince
	LastModified
	Origin
	RangeHeader
	TransferEncoding

	XMsAccessTier
	XMsAccessTierIfModifiedSince
	XMsAccessTierIfUnmodifiedSince
	XMsBlobAppendOffset
	XMsBlobCacheControl
	XMsBlobConditionAppendPos
	XMsBlobConditionMaxSize
	XMsBlobContentDisposition
	XMsBlobContentEncoding
	XMsBlobContentLanguage
	XMsBlobContentLength
	XMsBlobContentMD5
	XMsBlobContentType
	XMsBlobIfMatch
	XMsBlobIfModifiedSince
	XMsBlobIfNoneMatch
	XMsBlobIfUnmodifiedSince
	XMsBlobPublicAccess
	XMsBlobSequenceNumber
	XMsBlobType
	XMsClientRequestID
	XMsContentCRC64
	XMsCopyAction
	XMsCopySource
	XMsCopySourceAuthorization
	XMsCopySourceBlobProperties
	XMsCopySourceTagOption
	XMsDate
	XMsDefaultEncryptionScope
	XMsDeletedContainerName
	XMsDeletedContainerVersion
	XMsDeleteSnapshots
	XMsDenyEncryptionScopeOverride
	XMsEncryptionAlgorithm
	XMsEncryptionContext
	XMsEncryptionKey
	XMsEncryptionKeySHA256
	XMsEncryptionScope
	XMsErrorCode
	XMsExpiryOption
	XMsExpiryTime
	XMsFileRequestIntent
	XMsIfSequenceNumberEQ
	XMsIfSequenceNumberLE
	XMsIfSequenceNumberLT
	XMsIfTags
	XMsImmutabilityPolicyMode
	XMsImmutabilityPolicyUntilDate
	XMsLeaseAction
	XMsLeaseBreakPeriod
	XMsLeaseDuration
	XMsLeaseID
	XMsLeaseState
	XMsLeaseStatus
	XMsLeaseTime
	XMsLegalHold
	XMsPageWrite
	XMsPreviousSnapshotURL
	XMsProposedLeaseID
	XMsRange
	XMsRangeGetContentCRC64
	XMsRangeGetContentMD5
	XMsRehydratePriority
	XMsRequestID
	XMsRequestServerEncrypted
	XMsRequiresSync
	XMsReturnClientRequestID
	XMsSealBlob
	XMsSequenceNumberAction
	XMsSnapshot
	XMsSourceContainerName
	XMsSourceContentCRC64
	XMsSourceContentMD5
	XMsSourceEncryptionAlgorithm
	XMsSourceEncryptionKey
	XMsSourceEncryptionKeySHA256
	XMsSourceIfMatch
	XMsSourceIfModifiedSince
	XMsSourceIfNoneMatch
	XMsSourceIfTags
	XMsSourceIfUnmodifiedSince
	XMsSourceLeaseID
	XMsSourceRange
	XMsStructuredBody
	XMsStructuredContentLength
	XMsTags
	XMsUPN
	XMsVersion
	XMsVersionID
	idEnd
)

// names is the wire spelling of each ID: canonical case for the standard headers, lower case for the service's.
var names = [idEnd]string{
	AccessControlRequestHeaders: "Access-Control-Request-Headers",
	AccessControlRequestMethod:  "Access-Control-Request-Method",
	Authorization:               "Authorization",
	CacheControl:                "Cache-Control",
	ContentDisposition:          "Content-Disposition",
	ContentEncoding:             "Content-Encoding",
	ContentLanguage:             "Content-Language",
	ContentLength:               "Content-Length",
	ContentMD5:                  "Content-MD5",
	ContentRange:                "Content-Range",
	ContentType:                 "Content-Type",
	Date:                        "Date",
	ETag:                        "ETag",
	Expect:                      "Expect",
	Host:                        "Host",
	IfMatch:                     "If-Match",
	IfModifiedSince:             "If-Modified-Since",
	IfNoneMatch:                 "If-None-Match",
	IfUnmodifiedSince:           "If-Unmodified-Since",
	LastModified:                "Last-Modified",
	Origin:                      "Origin",
	RangeHeader:                 "Range",
	TransferEncoding:            "Transfer-Encoding",

	XMsAccessTier:                  "x-ms-access-tier",
	XMsAccessTierIfModifiedSince:   "x-ms-access-tier-if-modified-since",
	XMsAccessTierIfUnmodifiedSince: "x-ms-access-tier-if-unmodified-since",
	XMsBlobAppendOffset:            "x-ms-blob-append-offset",
	XMsBlobCacheControl:            "x-ms-blob-cache-control",
	XMsBlobConditionAppendPos:      "x-ms-blob-condition-appendpos",
	XMsBlobConditionMaxSize:        "x-ms-blob-condition-maxsize",
	XMsBlobContentDisposition:      "x-ms-blob-content-disposition",
	XMsBlobContentEncoding:         "x-ms-blob-content-encoding",
	XMsBlobContentLanguage:         "x-ms-blob-content-language",
	XMsBlobContentLength:           "x-ms-blob-content-length",
	XMsBlobContentMD5:              "x-ms-blob-content-md5",
	XMsBlobContentType:             "x-ms-blob-content-type",
	XMsBlobIfMatch:                 "x-ms-blob-if-match",
	XMsBlobIfModifiedSince:         "x-ms-blob-if-modified-since",
	XMsBlobIfNoneMatch:             "x-ms-blob-if-none-match",
	XMsBlobIfUnmodifiedSince:       "x-ms-blob-if-unmodified-since",
	XMsBlobPublicAccess:            "x-ms-blob-public-access",
	XMsBlobSequenceNumber:          "x-ms-blob-sequence-number",
	XMsBlobType:                    "x-ms-blob-type",
	XMsClientRequestID:             "x-ms-client-request-id",
	XMsContentCRC64:                "x-ms-content-crc64",
	XMsCopyAction:                  "x-ms-copy-action",
	XMsCopySource:                  "x-ms-copy-source",
	XMsCopySourceAuthorization:     "x-ms-copy-source-authorization",
	XMsCopySourceBlobProperties:    "x-ms-copy-source-blob-properties",
	XMsCopySourceTagOption:         "x-ms-copy-source-tag-option",
	XMsDate:                        "x-ms-date",
	XMsDefaultEncryptionScope:      "x-ms-default-encryption-scope",
	XMsDeletedContainerName:        "x-ms-deleted-container-name",
	XMsDeletedContainerVersion:     "x-ms-deleted-container-version",
	XMsDeleteSnapshots:             "x-ms-delete-snapshots",
	XMsDenyEncryptionScopeOverride: "x-ms-deny-encryption-scope-override",
	XMsEncryptionAlgorithm:         "x-ms-encryption-algorithm",
	XMsEncryptionContext:           "x-ms-encryption-context",
	XMsEncryptionKey:               "x-ms-encryption-key",
	XMsEncryptionKeySHA256:         "x-ms-encryption-key-sha256",
	XMsEncryptionScope:             "x-ms-encryption-scope",
	XMsErrorCode:                   "x-ms-error-code",
	XMsExpiryOption:                "x-ms-expiry-option",
	XMsExpiryTime:                  "x-ms-expiry-time",
	XMsFileRequestIntent:           "x-ms-file-request-intent",
	XMsIfSequenceNumberEQ:          "x-ms-if-sequence-number-eq",
	XMsIfSequenceNumberLE:          "x-ms-if-sequence-number-le",
	XMsIfSequenceNumberLT:          "x-ms-if-sequence-number-lt",
	XMsIfTags:                      "x-ms-if-tags",
	XMsImmutabilityPolicyMode:      "x-ms-immutability-policy-mode",
	XMsImmutabilityPolicyUntilDate: "x-ms-immutability-policy-until-date",
	XMsLeaseAction:                 "x-ms-lease-action",
	XMsLeaseBreakPeriod:            "x-ms-lease-break-period",
	XMsLeaseDuration:               "x-ms-lease-duration",
	XMsLeaseID:                     "x-ms-lease-id",
	XMsLeaseState:                  "x-ms-lease-state",
	XMsLeaseStatus:                 "x-ms-lease-status",
	XMsLeaseTime:                   "x-ms-lease-time",
	XMsLegalHold:                   "x-ms-legal-hold",
	XMsPageWrite:                   "x-ms-page-write",
	XMsPreviousSnapshotURL:         "x-ms-previous-snapshot-url",
	XMsProposedLeaseID:             "x-ms-proposed-lease-id",
	XMsRange:                       "x-ms-range",
	XMsRangeGetContentCRC64:        "x-ms-range-get-content-crc64",
	XMsRangeGetContentMD5:          "x-ms-range-get-content-md5",
	XMsRehydratePriority:           "x-ms-rehydrate-priority",
	XMsRequestID:                   "x-ms-request-id",
	XMsRequestServerEncrypted:      "x-ms-request-server-encrypted",
	XMsRequiresSync:                "x-ms-requires-sync",
	XMsReturnClientRequestID:       "x-ms-return-client-request-id",
	XMsSealBlob:                    "x-ms-seal-blob",
	XMsSequenceNumberAction:        "x-ms-sequence-number-action",
	XMsSnapshot:                    "x-ms-snapshot",
	XMsSourceContainerName:         "x-ms-source-container-name",
	XMsSourceContentCRC64:          "x-ms-source-content-crc64",
	XMsSourceContentMD5:            "x-ms-source-content-md5",
	XMsSourceEncryptionAlgorithm:   "x-ms-source-encryption-algorithm",
	XMsSourceEncryptionKey:         "x-ms-source-encryption-key",
	XMsSourceEncryptionKeySHA256:   "x-ms-source-encryption-key-sha256",
	XMsSourceIfMatch:               "x-ms-source-if-match",
	XMsSourceIfModifiedSince:       "x-ms-source-if-modified-since",
	XMsSourceIfNoneMatch:           "x-ms-source-if-none-match",
	XMsSourceIfTags:                "x-ms-source-if-tags",
	XMsSourceIfUnmodifiedSince:     "x-ms-source-if-unmodified-since",
	XMsSourceLeaseID:               "x-ms-source-lease-id",
	XMsSourceRange:                 "x-ms-source-range",
	XMsStructuredBody:              "x-ms-structured-body",
	XMsStructuredContentLength:     "x-ms-structured-content-length",
	XMsTags:                        "x-ms-tags",
	XMsUPN:                         "x-ms-upn",
	XMsVersion:                     "x-ms-version",
	XMsVersionID:                   "x-ms-version-id",
}

// String returns the name as we write it.
func (id ID) String() string {
	if id < idEnd {
		return names[id]
	}
	return ""
}

// Secret reports whether the value of the header is known to the client and should be to nobody else: it is not
// repeated in replies, which end up in logs.
func (id ID) Secret() bool {
	return id == Authorization || id == XMsEncryptionKey || id == XMsSourceEncryptionKey || id == XMsCopySourceAuthorization
}
