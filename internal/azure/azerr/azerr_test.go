package azerr

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

// reference is every code of the reference for the Blob service and for storage in general, and the names that the
// SDKs know.
const reference = `AccountAlreadyExists AccountBeingCreated AccountIsDisabled AuthenticationFailed AuthorizationFailure
AuthorizationPermissionMismatch AuthorizationProtocolMismatch AuthorizationResourceTypeMismatch
AuthorizationServiceMismatch AuthorizationSourceIPMismatch ConditionHeadersNotSupported ConditionNotMet EmptyMetadataKey
InsufficientAccountPermissions InternalError InvalidAuthenticationInfo InvalidHeaderValue InvalidHttpVerb InvalidInput
InvalidMd5 Md5Mismatch Crc64Mismatch BothCrc64AndMd5HeaderPresent InvalidMetadata MetadataTooLarge
InvalidQueryParameterValue OutOfRangeQueryParameterValue MissingRequiredQueryParameter UnsupportedQueryParameter
InvalidRange InvalidResourceName OutOfRangeInput InvalidUri RequestUrlFailedToParse InvalidRequestUrl InvalidXmlDocument
InvalidXmlNodeValue MissingRequiredXmlNode UnsupportedXmlNode MissingContentLengthHeader MissingRequiredHeader
MultipleConditionHeadersNotSupported UnsatisfiableCondition NoAuthenticationInformation OperationTimedOut
RequestBodyTooLarge ResourceAlreadyExists ResourceTypeMismatch ResourceNotFound ServerBusy UnsupportedHeader
UnsupportedHttpVerb FeatureVersionMismatch NotImplemented APINotImplemented CorsPreflightFailure
KeyBasedAuthenticationNotPermitted AccessTierNotSupportedForBlobType BlobAccessTierNotSupportedForAccountType
AppendPositionConditionNotMet MaxBlobSizeConditionNotMet BlobAlreadyExists BlobArchived BlobBeingRehydrated
BlobNotArchived BlobImmutableDueToPolicy ImmutabilityPolicyDeleteOnLockedPolicy BlobIsSealed BlobNotFound BlobOverwritten
BlobOperationNotSupported ContainerImmutableStorageWithVersioningEnabled
BlobTierInadequateForContentLength ContentLengthLargerThanTierLimit CannotChangeToLowerTier
BlobUsesCustomerSpecifiedEncryption BlockCountExceedsLimit BlockListTooLong BothUserTagsAndSourceTagsCopyPresentException CannotVerifyCopySource
ContainerAlreadyExists ContainerBeingDeleted ContainerDisabled ContainerNotFound CopyAcrossAccountsNotSupported
CopyIdMismatch NoPendingCopyOperation PendingCopyOperation DuplicateTagNames EmptyTagName TagsTooLarge InvalidTag
IncrementalCopyBlobMismatch IncrementalCopyOfEarlierSnapshotNotAllowed IncrementalCopyOfEarlierVersionSnapshotNotAllowed
IncrementalCopyOfEralierVersionSnapshotNotAllowed IncrementalCopySourceMustBeSnapshot InfiniteLeaseDurationRequired
InvalidBlobOrBlock InvalidBlobTier InvalidBlobType InvalidBlockId InvalidBlockList InvalidOperation InvalidPageRange
InvalidSourceBlobType InvalidSourceBlobUrl InvalidVersionForPageBlobOperation LeaseAlreadyBroken LeaseAlreadyPresent
LeaseIdMismatchWithLeaseOperation LeaseNotPresentWithLeaseOperation LeaseIsBreakingAndCannotBeAcquired
LeaseIsBreakingAndCannotBeChanged LeaseIsBrokenAndCannotBeRenewed LeaseIdMismatchWithBlobOperation
LeaseIdMismatchWithContainerOperation LeaseIdMissing LeaseLost LeaseNotPresentWithBlobOperation
LeaseNotPresentWithContainerOperation OperationNotAllowedOnIncrementalCopyBlob OperationNotAllowedOnRootBlob
PreviousSnapshotCannotBeNewer PreviousSnapshotNotFound PreviousSnapshotOperationNotSupported PublicAccessNotPermitted
SequenceNumberConditionNotMet SequenceNumberIncrementTooLarge SnapshotCountExceeded SnapshotOperationRateExceeded
SnapshotsPresent SourceConditionNotMet TargetConditionNotMet SystemInUse UnauthorizedBlobOverwrite`

// observed is every code that is in no reference, but that others have seen in replies of the service.
const observed = `BlobSnapshotNotSoftDeleted MutuallyExclusiveQueryParameters`

// ours is every code that the service never says.
const ours = `AccountCapacityExceeded PermanentDeleteNotPermitted`

func TestTable(t *testing.T) {
	seen := map[string]Code{}
	statuses := map[int]bool{304: true, 400: true, 401: true, 403: true, 404: true, 405: true, 409: true, 411: true,
		412: true, 413: true, 416: true, 500: true, 501: true, 503: true}
	for c := Code(1); c < codeEnd; c++ {
		row := table[c]
		if row.wire == "" || row.message == "" || !strings.HasSuffix(row.message, ".") || !statuses[row.status] {
			t.Errorf("code %d: the row is %+v", c, row)
		}
		if strings.ContainsFunc(row.wire, func(r rune) bool { return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') }) {
			t.Errorf("code %d: wire name %q", c, row.wire)
		}
		if twin, ok := seen[row.wire]; ok && (twin != ConditionNotMet || c != NotModified) && (twin != InvalidAuthenticationInfo || c != InvalidBearerToken) {
			t.Errorf("codes %d and %d are both %s", twin, c, row.wire)
		}
		seen[row.wire] = c
	}
	for _, name := range strings.Fields(reference + " " + observed + " " + ours) {
		if seen[name] == 0 {
			t.Errorf("%s of the reference is missing", name)
		}
		delete(seen, name)
	}
	for name := range seen {
		t.Errorf("%s is in no list", name)
	}
	if NotModified.Status() != 304 || ConditionNotMet.Status() != 412 {
		t.Error("reads and writes have each other's status")
	}
	for _, c := range []Code{0, codeEnd, 60000} {
		if c.Wire() != "InternalError" || c.Status() != 500 {
			t.Errorf("code %d reads as %s", c, c.Wire())
		}
	}
}

func TestErrors(t *testing.T) {
	f := func(err error, want string, is ...error) {
		t.Helper()
		if got := err.Error(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		for _, target := range is {
			if !errors.Is(err, target) {
				t.Errorf("%q is not %v", want, target)
			}
		}
	}
	f(BlobNotFound, "BlobNotFound: The specified blob does not exist.", BlobNotFound)
	f(OperationNotAllowedOnRootBlob, "OperationNotAllowedOnRootBlob: This operation is not allowed on root blob.", OperationNotAllowedOnRootBlob)
	f(InternalError.Because(io.EOF), "InternalError: EOF", InternalError, io.EOF)
	f(&Error{Code: AccountCapacityExceeded, Text: "Full: 7 of 7.", Cause: io.EOF}, "AccountCapacityExceeded Full: 7 of 7.: EOF", AccountCapacityExceeded, io.EOF)
	f(BadHeader("Range", "x"), "InvalidHeaderValue HeaderName=Range HeaderValue=x", InvalidHeaderValue)
	f(MissingHeader("Range"), "MissingRequiredHeader HeaderName=Range", MissingRequiredHeader)
	f(BadQuery("comp", "x", "no"), "InvalidQueryParameterValue QueryParameterName=comp QueryParameterValue=x Reason=no", InvalidQueryParameterValue)
	f(RequestBodyTooLarge.With("A", "1", "B", "2", "C"), "RequestBodyTooLarge A=1 B=2 C=", RequestBodyTooLarge)
	if errors.Is(NotModified, ConditionNotMet) || errors.Is(BlobNotFound.Because(io.EOF), ContainerNotFound) {
		t.Error("codes are not told apart")
	}
}

func TestFrom(t *testing.T) {
	f := func(err error, code Code, details int, cause string) {
		t.Helper()
		e := From(err)
		got := ""
		if e.Cause != nil {
			got = e.Cause.Error()
		}
		if e.Code != code || len(e.Details) != details || got != cause {
			t.Errorf("%v: got %+v", err, e)
		}
	}
	f(BlobNotFound, BlobNotFound, 0, "")
	f(fmt.Errorf("blob b: %w", BlobNotFound), BlobNotFound, 0, "blob b: "+BlobNotFound.Error())
	f(BadHeader("a", "b"), InvalidHeaderValue, 2, "")
	f(fmt.Errorf("blob b: %w", BadHeader("a", "b")), InvalidHeaderValue, 2, "blob b: InvalidHeaderValue HeaderName=a HeaderValue=b")
	f(io.EOF, InternalError, 0, "EOF")
	if From(nil) != nil {
		t.Error("nil is an error")
	}
}

func TestAppendXML(t *testing.T) {
	at := time.Date(2022, 8, 11, 17, 7, 17, 656930399, time.FixedZone("", 7200))
	f := func(e *Error, want string) {
		t.Helper()
		if got := string(AppendXML([]byte("+"), e, "5d5eca1b-001e-0073-1b13-adf8d6000000", at)); got != "+"+want {
			t.Errorf("got:\n%s\nwant:\n%s", got, want)
		}
	}
	// As recorded from the service, but for the byte order mark.
	f(BadHeader("Range", "bytes=0-512"), `<?xml version="1.0" encoding="utf-8"?><Error><Code>InvalidHeaderValue</Code>`+
		"<Message>The value for one of the HTTP headers is not in the correct format.\nRequestId:5d5eca1b-001e-0073-1b13-adf8d6000000\n"+
		`Time:2022-08-11T15:07:17.6569303Z</Message><HeaderName>Range</HeaderName><HeaderValue>bytes=0-512</HeaderValue></Error>`)
	// Only the client's own text needs escaping; causes stay here.
	f(&Error{Code: ResourceNotFound, Cause: io.EOF, Details: []Detail{{"Reason", "<&>\r\x01\xff"}}},
		`<?xml version="1.0" encoding="utf-8"?><Error><Code>ResourceNotFound</Code><Message>The specified resource does not exist.`+
			"\nRequestId:5d5eca1b-001e-0073-1b13-adf8d6000000\nTime:2022-08-11T15:07:17.6569303Z</Message><Reason>&lt;&amp;&gt;&#xD;\uFFFD\uFFFD</Reason></Error>")
	// A sentence about this one request takes the place of the code's.
	f(&Error{Code: AccountCapacityExceeded, Text: "Full: 7 > 6."}, `<?xml version="1.0" encoding="utf-8"?><Error><Code>AccountCapacityExceeded</Code>`+
		"<Message>Full: 7 &gt; 6.\nRequestId:5d5eca1b-001e-0073-1b13-adf8d6000000\nTime:2022-08-11T15:07:17.6569303Z</Message></Error>")
	// Every code makes a document that parses back.
	for c := Code(1); c < codeEnd; c++ {
		var doc struct{ Code, Message string }
		if err := xml.Unmarshal(AppendXML(nil, &Error{Code: c}, "id", at), &doc); err != nil || doc.Code != c.Wire() || !strings.HasPrefix(doc.Message, c.Message()+"\nRequestId:id\nTime:") {
			t.Errorf("%s: %v, %+v", c.Wire(), err, doc)
		}
	}
}

func TestBareCodeDoesNotAllocate(t *testing.T) {
	var err error
	if n := testing.AllocsPerRun(100, func() {
		err = BlobNotFound
		if !errors.Is(err, BlobNotFound) {
			t.Fatal("lost")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
