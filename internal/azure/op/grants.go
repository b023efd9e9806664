package op

import (
	"strings"

	"pagevault/internal/azure/header"
	"pagevault/internal/azure/query"
)

// Audience is who may do an operation without any credentials, on a container that is public.
type Audience uint8

// The audiences.
const (
	Nobody             Audience = iota
	ReadersOfBlobs              // of a container whose blobs are public, and those of whole containers
	ReadersOfContainer          // of a container that is public as a whole
)

// Grant says what it takes to do an operation with something less than a key of the account. The zero Grant is: no
// token will do, whatever it permits.
type Grant struct {
	Type    string // the resource types of which an account SAS must be for one: "s", "c", "o"
	Letters string // the permissions of which a token must have one; in Needs is what depends on the request
	Service bool   // a service SAS will do, too: one for the blob, or for the container
	Creates bool   // permission to create is enough where there is no blob yet
	Public  Audience
}

// anyLetter has all permissions: any of them will do.
const anyLetter = "racwdxyltfmeopiu"

// Grants has the grant of each operation that is not for account keys only, whether we do it or not. It is not to be
// modified.
var Grants = [256]Grant{
	ListContainers:        {Type: "s", Letters: "l"},
	GetServiceProperties:  {Type: "s", Letters: "r"},
	SetServiceProperties:  {Type: "s", Letters: "w"},
	GetServiceStats:       {Type: "s", Letters: "r"},
	FindBlobsByTags:       {Type: "o", Letters: "f"},
	GetAccountInformation: {Type: "sco", Letters: anyLetter, Service: true},

	CreateContainer:            {Type: "c", Letters: "cw"},
	GetContainerProperties:     {Type: "c", Letters: "r", Public: ReadersOfContainer},
	GetContainerMetadata:       {Type: "c", Letters: "r", Public: ReadersOfContainer},
	SetContainerMetadata:       {Type: "c", Letters: "w"},
	DeleteContainer:            {Type: "c", Letters: "d"},
	LeaseContainer:             {Type: "c", Letters: "w"},
	ListBlobs:                  {Type: "c", Letters: "l", Service: true, Public: ReadersOfContainer},
	FindBlobsByTagsInContainer: {Type: "c", Letters: "f", Service: true},

	PutPageBlob:         {Type: "o", Letters: "cw", Service: true, Creates: true},
	PutBlockBlob:        {Type: "o", Letters: "cw", Service: true, Creates: true},
	PutAppendBlob:       {Type: "o", Letters: "cw", Service: true, Creates: true},
	PutBlobFromURL:      {Type: "o", Letters: "cw", Service: true, Creates: true},
	CopyBlobFromURL:     {Type: "o", Letters: "cw", Service: true, Creates: true},
	CopyBlob:            {Type: "o", Letters: "cw", Service: true, Creates: true},
	IncrementalCopyBlob: {Type: "o", Letters: "cw", Service: true, Creates: true},
	PutBlock:            {Type: "o", Letters: "cw", Service: true, Creates: true},
	PutBlockFromURL:     {Type: "o", Letters: "cw", Service: true, Creates: true},
	PutBlockList:        {Type: "o", Letters: "cw", Service: true, Creates: true},
	SnapshotBlob:        {Type: "o", Letters: "cw", Service: true},

	GetBlob:           {Type: "o", Letters: "r", Service: true, Public: ReadersOfBlobs},
	GetBlobProperties: {Type: "o", Letters: "r", Service: true, Public: ReadersOfBlobs},
	GetBlobMetadata:   {Type: "o", Letters: "r", Service: true, Public: ReadersOfBlobs},
	GetPageRanges:     {Type: "o", Letters: "r", Service: true, Public: ReadersOfBlobs},
	GetPageRangesDiff: {Type: "o", Letters: "r", Service: true, Public: ReadersOfBlobs},
	GetBlockList:      {Type: "o", Letters: "r", Service: true, Public: ReadersOfBlobs},
	QueryBlobContents: {Type: "o", Letters: "r", Service: true},

	PutPage:            {Type: "o", Letters: "w", Service: true},
	ClearPages:         {Type: "o", Letters: "w", Service: true},
	PutPageFromURL:     {Type: "o", Letters: "w", Service: true},
	SetBlobProperties:  {Type: "o", Letters: "w", Service: true},
	SetBlobMetadata:    {Type: "o", Letters: "w", Service: true},
	SetBlobTier:        {Type: "o", Letters: "w", Service: true},
	AbortCopyBlob:      {Type: "o", Letters: "w", Service: true},
	UndeleteBlob:       {Type: "o", Letters: "w", Service: true},
	SealAppendBlob:     {Type: "o", Letters: "w", Service: true},
	LeaseBlob:          {Type: "o", Letters: "w", Service: true},
	AppendBlock:        {Type: "o", Letters: "aw", Service: true},
	AppendBlockFromURL: {Type: "o", Letters: "aw", Service: true},

	DeleteBlob:               {Type: "o", Letters: "d", Service: true},
	GetBlobTags:              {Type: "o", Letters: "t", Service: true},
	SetBlobTags:              {Type: "o", Letters: "t", Service: true},
	SetImmutabilityPolicy:    {Type: "o", Letters: "i", Service: true},
	DeleteImmutabilityPolicy: {Type: "o", Letters: "i", Service: true},
	SetLegalHold:             {Type: "o", Letters: "i", Service: true},
}

// Grant returns what it takes to do the operation without a key of the account.
func (r *Row) Grant() *Grant { return &Grants[r.ID] }

// Needs returns the sets of permissions of each of which a token must have one letter, for this request.
func (r *Row) Needs(q *query.Set, h *header.Set) []string {
	needs := []string{r.Grant().Letters}
	switch r.ID {
	case LeaseContainer, LeaseBlob:
		if header.EqualFold(h.Get(header.XMsLeaseAction), "break") {
			needs[0] = "wd"
		}
	case DeleteBlob:
		needs[0] = deleteNeeds(q)
	}
	if h.Has(header.XMsTags) || h.Has(header.XMsIfTags) || r.ID == ListBlobs && listsTags(q) {
		needs = append(needs, "t")
	}
	if h.Has(header.XMsImmutabilityPolicyUntilDate) || h.Has(header.XMsImmutabilityPolicyMode) || h.Has(header.XMsLegalHold) {
		needs = append(needs, "i")
	}
	return needs
}

// listsTags reports whether a list is to include tags.
func listsTags(q *query.Set) bool {
	for _, p := range q.Params() {
		if string(p.Name) != "include" {
			continue
		}
		for v := range strings.SplitSeq(string(p.Value), ",") {
			if strings.EqualFold(strings.TrimSpace(v), "tags") {
				return true
			}
		}
	}
	return false
}

// deleteNeeds tells the ways of deleting a blob apart.
func deleteNeeds(q *query.Set) string {
	switch {
	case q.Has("deletetype"):
		return "y"
	case q.Has("versionid"):
		return "x"
	}
	return "d"
}

// Audience returns who may do the operation without credentials, for this request. Blocks that are not committed, and
// tags, are nobody's business.
func (r *Row) Audience(q *query.Set, h *header.Set) Audience {
	if len(r.Needs(q, h)) > 1 {
		return Nobody
	}
	if list := q.String("blocklisttype"); r.ID == GetBlockList && list != "" && !strings.EqualFold(list, "committed") {
		return Nobody
	}
	return r.Grant().Public
}
