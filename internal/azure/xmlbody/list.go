package xmlbody

import (
	"cmp"
	"encoding/base64"
	"strconv"
	"time"

	"pagevault/internal/azure/cond"
	"pagevault/internal/azure/header"
	"pagevault/internal/azure/xmltext"
)

// List is what a listing repeats of its request. Empty strings and a zero MaxResults were not sent and are left out.
type List struct {
	Endpoint   string // of the account, with the slash at the end
	Container  string // empty when containers are listed
	Prefix     string
	Marker     string // as sent
	MaxResults int    // as sent
	Delimiter  string
}

// BeginContainers appends a listing of containers up to the first container.
func BeginContainers(dst []byte, l *List) []byte {
	dst = beginList(dst, l)
	return append(dst, "<Containers>"...)
}

// EndContainers appends the rest of a listing of containers. next is the marker to go on from, empty at the end.
func EndContainers(dst []byte, next string) []byte {
	return endList(append(dst, "</Containers>"...), next)
}

// BeginBlobs appends a listing of blobs up to the first blob or prefix.
func BeginBlobs(dst []byte, l *List) []byte {
	dst = beginList(dst, l)
	return append(dst, "<Blobs>"...)
}

// EndBlobs appends the rest of a listing of blobs. next is the marker to go on from, empty at the end.
func EndBlobs(dst []byte, next string) []byte {
	return endList(append(dst, "</Blobs>"...), next)
}

func beginList(dst []byte, l *List) []byte {
	dst = append(dst, prolog...)
	dst = append(dst, `<EnumerationResults ServiceEndpoint="`...)
	dst = xmltext.AppendAttr(dst, l.Endpoint)
	if l.Container != "" {
		dst = append(dst, `" ContainerName="`...)
		dst = xmltext.AppendAttr(dst, l.Container)
	}
	dst = append(dst, `">`...)
	if l.Prefix != "" {
		dst = appendName(dst, "Prefix", l.Prefix)
	}
	if l.Marker != "" {
		dst = appendName(dst, "Marker", l.Marker)
	}
	if l.MaxResults != 0 {
		dst = appendInt(dst, "MaxResults", int64(l.MaxResults))
	}
	if l.Delimiter != "" {
		dst = appendName(dst, "Delimiter", l.Delimiter)
	}
	return dst
}

// endList appends NextMarker, which is always there: clients loop until it is empty.
func endList(dst []byte, next string) []byte {
	dst = xmltext.AppendElement(dst, "NextMarker", next)
	return append(dst, "</EnumerationResults>"...)
}

// Container is one container of a listing.
type Container struct {
	Name         string
	LastModified time.Time
	ETag         cond.ETag
	Lease        Lease
	PublicAccess string // blob or container; "" for private ones
	Version      string // of one that is deleted and kept, as Deleted is; "" for any other
	Deleted      *Deletion

	ImmutableStorage bool
	WithMetadata     bool // the client asked for it
	Metadata         []header.Pair
}

// AppendContainer appends one container. Unlike that of a blob its Etag is in quotes. Encryption scope, policies and
// holds of the container as a whole are what an account without such features shows.
func AppendContainer(dst []byte, c *Container) []byte {
	dst = append(dst, "<Container>"...)
	dst = appendName(dst, "Name", c.Name)
	if c.Deleted != nil {
		dst = append(dst, "<Deleted>true</Deleted>"...)
		dst = xmltext.AppendElement(dst, "Version", c.Version)
	}
	dst = append(dst, "<Properties>"...)
	dst = appendTime(dst, "Last-Modified", c.LastModified)
	dst = append(dst, "<Etag>"...)
	dst = c.ETag.Append(dst)
	dst = append(dst, "</Etag>"...)
	dst = appendLease(dst, c.Lease)
	if c.PublicAccess != "" {
		dst = xmltext.AppendElement(dst, "PublicAccess", c.PublicAccess)
	}
	dst = append(dst, "<DefaultEncryptionScope>$account-encryption-key</DefaultEncryptionScope>"+
		"<DenyEncryptionScopeOverride>false</DenyEncryptionScopeOverride>"+
		"<HasImmutabilityPolicy>false</HasImmutabilityPolicy>"+
		"<HasLegalHold>false</HasLegalHold>"+
		"<ImmutableStorageWithVersioningEnabled>"...)
	dst = strconv.AppendBool(dst, c.ImmutableStorage)
	dst = append(dst, "</ImmutableStorageWithVersioningEnabled>"...)
	dst = c.Deleted.append(dst)
	dst = append(dst, "</Properties>"...)
	if c.WithMetadata {
		dst = appendMetadata(dst, c.Metadata)
	}
	return append(dst, "</Container>"...)
}

// Blob is one blob or snapshot of a listing.
type Blob struct {
	Name               string
	Snapshot           string    // empty for the base blob
	Version            string    // empty if it has no version id
	Current            bool      // it is the current version
	VersionsOnly       bool      // there is no such blob, only versions of one
	Deleted            *Deletion // nil unless it is deleted and kept
	Created            time.Time
	LastModified       time.Time
	ETag               cond.ETag
	Size               int64
	ContentType        string
	ContentEncoding    string
	ContentLanguage    string
	ContentMD5         []byte // nil when the blob has none
	CacheControl       string
	ContentDisposition string
	Type               string // PageBlob, BlockBlob, AppendBlob
	Sequence           int64  // shown for page blobs
	Sealed             bool   // nothing can be appended any more
	Lease              Lease  // the zero Lease for snapshots and versions, which cannot have one
	Encrypted          bool   // on the disks of the server
	TagCount           int    // shown unless there are none
	Tier               Tier
	Policy             Policy // shown unless it has no mode: only for a client that asked
	LegalHold          bool   // likewise
	Copy               *Copy  // nil for a blob that is no copy, or if the client did not ask for it
	Incremental        bool   // incremental copies go to it
	Destination        string // id of the snapshot that the last of them made
	WithMetadata       bool   // the client asked for it
	Metadata           []header.Pair
	Tags               []header.Pair // shown if there are any: only for a client that asked
}

// Tier is what a listing says of a blob's tier. Without a Name it says nothing.
type Tier struct {
	Name     string
	Inferred bool
	Changed  time.Time // zero: never
}

func appendTier(dst []byte, t *Tier) []byte {
	if t.Name == "" {
		return dst
	}
	dst = xmltext.AppendElement(dst, "AccessTier", t.Name)
	if t.Inferred {
		dst = append(dst, "<AccessTierInferred>true</AccessTierInferred>"...)
	}
	if !t.Changed.IsZero() {
		dst = appendTime(dst, "AccessTierChangeTime", t.Changed)
	}
	return dst
}

// Policy is what a listing says of an immutability policy.
type Policy struct {
	Mode  string // locked or unlocked; "" for none
	Until time.Time
}

// appendProtection appends what protects a blob.
func appendProtection(dst []byte, p *Policy, hold bool) []byte {
	if p.Mode != "" {
		dst = appendTime(dst, "ImmutabilityPolicyUntilDate", p.Until)
		dst = xmltext.AppendElement(dst, "ImmutabilityPolicyMode", p.Mode)
	}
	if hold {
		dst = append(dst, "<LegalHold>true</LegalHold>"...)
	}
	return dst
}

// Deletion is what a listing says of something that is deleted and kept for a while.
type Deletion struct {
	Time          time.Time
	RemainingDays int
}

func (d *Deletion) append(dst []byte) []byte {
	if d == nil {
		return dst
	}
	dst = appendTime(dst, "DeletedTime", d.Time)
	return appendInt(dst, "RemainingRetentionDays", int64(d.RemainingDays))
}

// Copy is what a listing says of the copy that a blob was made by.
type Copy struct {
	ID          string
	Source      string
	Status      string // "": success
	Copied      int64  // bytes so far
	Bytes       int64  // of the source
	Pending     bool   // it has not ended
	Completed   time.Time
	Description string // "" unless it failed
}

// appendCopy appends what is said of a copy.
func appendCopy(dst []byte, c *Copy) []byte {
	dst = xmltext.AppendElement(dst, "CopyId", c.ID)
	dst = xmltext.AppendElement(dst, "CopySource", c.Source)
	dst = xmltext.AppendElement(dst, "CopyStatus", cmp.Or(c.Status, "success"))
	dst = xmltext.AppendElement(dst, "CopyProgress", strconv.FormatInt(c.Copied, 10)+"/"+strconv.FormatInt(c.Bytes, 10))
	if !c.Pending {
		dst = appendTime(dst, "CopyCompletionTime", c.Completed)
	}
	if c.Description != "" {
		dst = xmltext.AppendElement(dst, "CopyStatusDescription", c.Description)
	}
	return dst
}

// AppendBlob appends one blob. Empty properties are empty elements, and the Etag has no quotes, as the service has it.
func AppendBlob(dst []byte, b *Blob) []byte {
	dst = append(dst, "<Blob>"...)
	dst = appendName(dst, "Name", b.Name)
	if b.VersionsOnly {
		dst = append(dst, "<HasVersionsOnly>true</HasVersionsOnly>"...)
	}
	if b.Snapshot != "" {
		dst = xmltext.AppendElement(dst, "Snapshot", b.Snapshot)
	}
	if b.Version != "" {
		dst = xmltext.AppendElement(dst, "VersionId", b.Version)
	}
	if b.Current {
		dst = append(dst, "<IsCurrentVersion>true</IsCurrentVersion>"...)
	}
	if b.Deleted != nil {
		dst = append(dst, "<Deleted>true</Deleted>"...)
	}
	dst = append(dst, "<Properties>"...)
	dst = appendTime(dst, "Creation-Time", b.Created)
	dst = appendTime(dst, "Last-Modified", b.LastModified)
	dst = append(dst, "<Etag>"...)
	dst = b.ETag.AppendBare(dst)
	dst = append(dst, "</Etag>"...)
	dst = appendInt(dst, "Content-Length", b.Size)
	dst = xmltext.AppendElement(dst, "Content-Type", b.ContentType)
	dst = xmltext.AppendElement(dst, "Content-Encoding", b.ContentEncoding)
	dst = xmltext.AppendElement(dst, "Content-Language", b.ContentLanguage)
	dst = append(dst, "<Content-CRC64 />"...)
	dst = appendMD5(dst, b.ContentMD5)
	dst = xmltext.AppendElement(dst, "Cache-Control", b.CacheControl)
	dst = xmltext.AppendElement(dst, "Content-Disposition", b.ContentDisposition)
	if b.Type == "PageBlob" {
		dst = appendInt(dst, "x-ms-blob-sequence-number", b.Sequence)
	}
	dst = xmltext.AppendElement(dst, "BlobType", b.Type)
	dst = appendTier(dst, &b.Tier)
	dst = appendLease(dst, b.Lease)
	if b.Copy != nil {
		dst = appendCopy(dst, b.Copy)
	}
	dst = append(dst, "<ServerEncrypted>"...)
	dst = strconv.AppendBool(dst, b.Encrypted)
	dst = append(dst, "</ServerEncrypted>"...)
	if b.Incremental {
		dst = append(dst, "<IncrementalCopy>true</IncrementalCopy>"...)
	}
	if b.Sealed {
		dst = append(dst, "<Sealed>true</Sealed>"...)
	}
	if b.Destination != "" {
		dst = xmltext.AppendElement(dst, "DestinationSnapshot", b.Destination)
	}
	if b.TagCount > 0 {
		dst = appendInt(dst, "TagCount", int64(b.TagCount))
	}
	dst = b.Deleted.append(dst)
	dst = appendProtection(dst, &b.Policy, b.LegalHold)
	dst = append(dst, "</Properties>"...)
	if b.WithMetadata {
		dst = appendMetadata(dst, b.Metadata)
	}
	if len(b.Tags) > 0 {
		dst = appendTags(dst, b.Tags)
	}
	dst = append(dst, "<OrMetadata />"...)
	return append(dst, "</Blob>"...)
}

func appendMD5(dst, sum []byte) []byte {
	if len(sum) == 0 {
		return append(dst, "<Content-MD5 />"...)
	}
	dst = append(dst, "<Content-MD5>"...)
	dst = base64.StdEncoding.AppendEncode(dst, sum)
	return append(dst, "</Content-MD5>"...)
}

// AppendBlobPrefix appends the names that a delimiter rolls up into one.
func AppendBlobPrefix(dst []byte, prefix string) []byte {
	dst = append(dst, "<BlobPrefix>"...)
	dst = appendName(dst, "Name", prefix)
	return append(dst, "</BlobPrefix>"...)
}
