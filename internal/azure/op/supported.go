package op

import (
	"slices"

	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/header"
	"pagevault/internal/azure/query"
)

// Refusal is a header or query parameter that changes what is stored, who may read it or what is answered, and that we
// do not honour. Ignoring it would report something as done that is not.
type Refusal struct {
	Header header.ID  // either this
	Query  string     // or this
	Code   azerr.Code // what the client gets
	Rows   []ID       // the operations it means something to; nil for all
	But    []ID       // and those of them that do honour it
	Except string     // a value, in lower case, that asks for what we do anyway
	Note   string
}

// Refusals lists what we do not honour, for the operations that are done. It is not to be modified.
var Refusals = []Refusal{
	{Header: header.XMsEncryptionKey, Code: azerr.UnsupportedHeader, Note: "keys that come with the request"},
	{Header: header.XMsEncryptionKeySHA256, Code: azerr.UnsupportedHeader, Note: "keys that come with the request"},
	{Header: header.XMsEncryptionAlgorithm, Code: azerr.UnsupportedHeader, Note: "keys that come with the request"},
	{Header: header.XMsEncryptionScope, Code: azerr.UnsupportedHeader, Note: "encryption scopes"},
	{Header: header.XMsEncryptionContext, Code: azerr.UnsupportedHeader, Note: "encryption contexts"},
	{Header: header.XMsDefaultEncryptionScope, Code: azerr.UnsupportedHeader, Except: "$account-encryption-key", Note: "encryption scopes"},
	{Header: header.XMsDenyEncryptionScopeOverride, Code: azerr.UnsupportedHeader, Except: "false", Note: "encryption scopes"},
	{Header: header.XMsStructuredBody, Code: azerr.UnsupportedHeader, But: append([]ID{GetBlob}, uploads...), Note: "framed bodies"},
	{Header: header.XMsStructuredContentLength, Code: azerr.UnsupportedHeader, But: uploads, Note: "framed bodies"},
	{Header: header.XMsImmutabilityPolicyUntilDate, Code: azerr.UnsupportedHeader, But: append([]ID{SetImmutabilityPolicy}, protecting...), Note: "this operation sets no policy"},
	{Header: header.XMsImmutabilityPolicyMode, Code: azerr.UnsupportedHeader, But: append([]ID{SetImmutabilityPolicy}, protecting...), Note: "this operation sets no policy"},
	{Header: header.XMsLegalHold, Code: azerr.UnsupportedHeader, But: append([]ID{SetLegalHold}, protecting...), Except: "false", Note: "this operation puts nothing on hold"},
	{Header: header.XMsBlobPublicAccess, Code: azerr.UnsupportedHeader, But: []ID{CreateContainer, SetContainerACL}, Note: "this operation does not say who may read a container"},
	{Header: header.XMsAccessTier, Code: azerr.UnsupportedHeader, Rows: []ID{PutAppendBlob}, Note: "append blobs have no tiers"},
	{Header: header.XMsRehydratePriority, Code: azerr.UnsupportedHeader, But: []ID{SetBlobTier, CopyBlob}, Note: "this operation brings nothing back from the archive"},
	{Header: header.XMsAccessTierIfModifiedSince, Code: azerr.UnsupportedHeader, Note: "conditions on tiers"},
	{Header: header.XMsAccessTierIfUnmodifiedSince, Code: azerr.UnsupportedHeader, Note: "conditions on tiers"},
	{Header: header.XMsExpiryOption, Code: azerr.UnsupportedHeader, Note: "blobs that expire"},
	{Header: header.XMsExpiryTime, Code: azerr.UnsupportedHeader, Note: "blobs that expire"},
	{Header: header.XMsBlobConditionAppendPos, Code: azerr.UnsupportedHeader, But: []ID{AppendBlock, AppendBlockFromURL, SealAppendBlob}, Note: "this operation does not append"},
	{Header: header.XMsBlobConditionMaxSize, Code: azerr.UnsupportedHeader, But: []ID{AppendBlock, AppendBlockFromURL}, Note: "this operation does not append"},
	{Header: header.XMsCopySource, Code: azerr.UnsupportedHeader, But: copying, Note: "this operation does not copy"},
	{Header: header.XMsSourceLeaseID, Code: azerr.UnsupportedHeader, Rows: copying, Note: "conditions on the source's lease"},
	{Header: header.XMsCopySourceAuthorization, Code: azerr.UnsupportedHeader, Rows: []ID{IncrementalCopyBlob}, Note: "bearer tokens for the source"},
	{Header: header.XMsCopySourceTagOption, Code: azerr.UnsupportedHeader, Rows: []ID{CopyBlob, PutPageFromURL, IncrementalCopyBlob, PutBlockFromURL, AppendBlockFromURL}, Note: "this operation does not copy tags of the source"},
	{Header: header.XMsSealBlob, Code: azerr.UnsupportedHeader, Rows: copying, Except: "false", Note: "append blobs"},
	{Header: header.XMsSourceEncryptionKey, Code: azerr.UnsupportedHeader, Rows: copying, Note: "keys that come with the request"},
	{Header: header.XMsSourceEncryptionKeySHA256, Code: azerr.UnsupportedHeader, Rows: copying, Note: "keys that come with the request"},
	{Header: header.XMsSourceEncryptionAlgorithm, Code: azerr.UnsupportedHeader, Rows: copying, Note: "keys that come with the request"},
	{Query: "versionid", Code: azerr.UnsupportedQueryParameter, But: versioned, Note: "this operation is not for versions"},
	{Query: "deletetype", Code: azerr.UnsupportedQueryParameter, But: []ID{DeleteBlob}, Note: "this operation does not delete a blob"},
	{Query: "showonly", Code: azerr.UnsupportedQueryParameter, Rows: []ID{ListBlobs}, Note: "hierarchical accounts"},
	{Query: "endbefore", Code: azerr.UnsupportedQueryParameter, Rows: []ID{ListBlobs}, Note: "listing up to a name"},
}

// uploads are the operations that take the content of a blob.
var uploads = []ID{PutPage, PutBlockBlob, PutBlock, AppendBlock}

// protecting are the operations that make a blob which may be protected from the beginning.
var protecting = []ID{PutPageBlob, PutBlockBlob, PutBlockList, PutAppendBlob, CopyBlob, CopyBlobFromURL}

// versioned are the operations that may be addressed to a version.
var versioned = []ID{GetBlob, GetBlobProperties, GetBlobMetadata, GetPageRanges, GetPageRangesDiff, GetBlockList, GetBlobTags, SetBlobTags, SetBlobTier,
	DeleteBlob, SetImmutabilityPolicy, DeleteImmutabilityPolicy, SetLegalHold}

// copying are the operations that read a source.
var copying = []ID{CopyBlob, PutPageFromURL, IncrementalCopyBlob, PutBlobFromURL, CopyBlobFromURL, PutBlockFromURL, AppendBlockFromURL}

// applies reports whether the refusal is meant for the operation.
func (f *Refusal) applies(id ID) bool {
	return (f.Rows == nil || slices.Contains(f.Rows, id)) && !slices.Contains(f.But, id)
}

// refusedHeader holds, by header, 1 + the index in Refusals; 0 for headers that are honoured or mean nothing.
var refusedHeader = func() (at [256]uint8) {
	for i := range Refusals {
		at[Refusals[i].Header] = uint8(i + 1)
	}
	at[0] = 0
	return at
}()

// conditionOf maps the conditional headers to their bits.
var conditionOf = [256]Conditions{
	header.IfMatch:                  IfMatch,
	header.IfNoneMatch:              IfNoneMatch,
	header.IfModifiedSince:          IfModifiedSince,
	header.IfUnmodifiedSince:        IfUnmodifiedSince,
	header.XMsIfSequenceNumberLE:    IfSequence,
	header.XMsIfSequenceNumberLT:    IfSequence,
	header.XMsIfSequenceNumberEQ:    IfSequence,
	header.XMsIfTags:                IfTags,
	header.XMsBlobIfMatch:           IfBlob,
	header.XMsBlobIfNoneMatch:       IfBlob,
	header.XMsBlobIfModifiedSince:   IfBlob,
	header.XMsBlobIfUnmodifiedSince: IfBlob,
}

// CheckSupported returns nil when the operation is one we do and the request asks for nothing about it that we do not
// do. Otherwise it returns what the client gets: the refusal of the row; ConditionHeadersNotSupported for a condition
// the operation does not take; the error of Refusals; or InvalidQueryParameterValue for an operation on a snapshot
// that goes to the base blob.
func CheckSupported(r *Row, h *header.Set, q *query.Set) error {
	if err := r.Refuse(); err != nil {
		return err
	}
	for id := range h.Present {
		if bit := conditionOf[id]; bit&^r.Conditions != 0 {
			return azerr.ConditionHeadersNotSupported.With("HeaderName", id.String(), "HeaderValue", h.String(id))
		}
		if at := refusedHeader[id]; at != 0 {
			if err := Refusals[at-1].checkHeader(r, id, h); err != nil {
				return err
			}
		}
	}
	for _, p := range q.Params() {
		if string(p.Name) == "snapshot" && r.Level == Blob && !r.Snapshot {
			return azerr.BadQuery("snapshot", string(p.Value), "the operation is not for snapshots")
		}
		for i := range Refusals {
			if f := &Refusals[i]; f.Query != "" && f.Query == string(p.Name) && f.applies(r.ID) {
				return f.Code.With("QueryParameterName", f.Query, "QueryParameterValue", string(p.Value), "Reason", f.Note)
			}
		}
	}
	return nil
}

func (f *Refusal) checkHeader(r *Row, id header.ID, h *header.Set) error {
	v := h.Get(id)
	if !f.applies(r.ID) || f.Except != "" && header.EqualFold(v, f.Except) {
		return nil
	}
	if id.Secret() {
		v = nil
	}
	return f.Code.With("HeaderName", id.String(), "HeaderValue", string(v))
}
