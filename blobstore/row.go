package blobstore

import (
	"encoding/binary"
	"fmt"
	"math"

	"pagevault/blobstore/immutable"
	"pagevault/blobstore/lease"
	"pagevault/blobstore/tier"
	"pagevault/internal/azure/header"
	"pagevault/pagestore"
)

// Rows begin with a byte that says how they are laid out. Numbers are unsigned varints unless a width is given; fixed
// ones are little-endian; text is its length and its bytes. A lease is
//
//	phase (1) · id text · seconds + 1 · until (8, ticks; 0: never)
//
// and metadata is the number of pairs, then name and value of each.
const rowVersion = 1

// containerRow is what is stored about a container.
//
//	version (1) · id · flags (1) · etag (8) · created (8) · [lease] · [access: public (1) · policies text] · metadata
type containerRow struct {
	id        containerID
	etag      ticks
	created   ticks
	lease     lease.State
	public    PublicAccess
	immutable bool   // it has immutable storage, for ever
	policies  []byte // encoded stored access policies (see acl.go). Borrowed from the row it was read from
	meta      []byte // encoded metadata. Borrowed from the row it was read from
}

// Flags of both kinds of row.
const (
	flagLease     = 1 << 0 // a lease follows: it is not merely available
	flagSnapshots = 1 << 1 // blobs: the count of snapshots follows
	flagFrozen    = 1 << 2 // blobs: this is a snapshot or a previous version, its generation follows
	flagAccess    = 1 << 1 // containers: others than the account may use it, who follows
	flagImmutable = 1 << 2 // containers: it has immutable storage
	flagTags      = 1 << 4 // blobs: tags follow
	flagState     = 1 << 3 // blobs: the state of a copy that is no mere success follows
	flagRetention = 1 << 5 // blobs: what is said of deletions and versions follows (see retention.go)
	flagCopy      = 1 << 6 // blobs: what it says of the copy it was made by follows
	flagMarks     = 1 << 7 // blobs: what protects it, and its tier, follow (see protection.go)
)

func (r *containerRow) append(dst []byte) []byte {
	flags := byte(0)
	if r.lease.Phase != lease.PhaseNone {
		flags |= flagLease
	}
	if r.public != Private || len(r.policies) > 0 {
		flags |= flagAccess
	}
	if r.immutable {
		flags |= flagImmutable
	}
	dst = append(dst, rowVersion)
	dst = binary.AppendUvarint(dst, uint64(r.id))
	dst = append(dst, flags)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(r.etag))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(r.created))
	if flags&flagLease != 0 {
		dst = appendLease(dst, &r.lease)
	}
	if flags&flagAccess != 0 {
		dst = append(dst, byte(r.public))
		dst = binary.AppendUvarint(dst, uint64(len(r.policies)))
		dst = append(dst, r.policies...)
	}
	return append(dst, r.meta...)
}

// decodeContainerRow reads a row. The result borrows p.
func decodeContainerRow(p []byte) (containerRow, error) {
	d := rowReader{p: p}
	d.version()
	r := containerRow{id: containerID(d.uvarint())}
	flags := d.flags(flagLease | flagAccess | flagImmutable)
	r.immutable = flags&flagImmutable != 0
	r.etag, r.created = ticks(d.uint64()), ticks(d.uint64())
	if flags&flagLease != 0 {
		r.lease = d.lease()
	}
	if flags&flagAccess != 0 {
		r.public = PublicAccess(d.byte())
		r.policies = d.bytes()
		d.must(r.public <= PublicContainer && (r.public != Private || len(r.policies) > 0))
	}
	r.meta = d.p
	if d.bad || r.id == 0 {
		return containerRow{}, badRow("container", p)
	}
	return r, nil
}

// BlobType is the kind of a blob (x-ms-blob-type).
type BlobType uint8

// The types. A row has the number.
const (
	PageBlob BlobType = iota + 1
	BlockBlob
	AppendBlob
)

var blobTypeNames = [...]string{"", "PageBlob", "BlockBlob", "AppendBlob"}

// String returns the type as x-ms-blob-type spells it.
func (t BlobType) String() string { return blobTypeNames[t] }

// blobRow is what is stored about a blob, a snapshot or a previous version.
//
//	version (1) · type (1) · flags (1) · volume · size · sequence · [blocks, see blockstate.go] · etag (8) · created (8)
//	· [lease] · [snapshots: count · of them on this volume · last (8)] · [generation] · [tags text] · [copy text]
//	· [state of the copy text] · [retention text] · [marks text] · properties
//
// Properties (see props.go) run to the end; a write to pages copies them without looking.
type blobRow struct {
	typ      BlobType
	volume   pagestore.VolumeID
	gen      pagestore.Gen // of a snapshot or a previous version; GenHead for a blob
	size     int64         // bytes
	sequence int64
	blocks   blockState // of a block or append blob
	etag     ticks
	created  ticks
	lease    lease.State
	snaps    snapshotCount
	versions frozenCount // of the previous ones
	version  snapshotID  // that this is, or, of a blob, that is the current one. 0: it has no version id
	vacant   bool        // there is no blob, only what it has left: see versions.go
	gone     deletion    // set: it is deleted, and kept for a while
	tags     []byte      // encoded tags; none: no tags. Borrowed as props are
	copy     []byte      // encoded CopyInfo, if it was made by a copy and not changed since. Borrowed too
	state    []byte      // encoded copyState, if that copy is no mere success. Borrowed too
	locks    immutable.State
	tier     tier.Tier // that was given; 0: none was
	tiered   ticks     // when
	props    []byte    // encoded properties and metadata. Borrowed from the row it was read from
}

// snapshotCount is what a blob remembers of its snapshots, so that none of them need be looked for.
type snapshotCount struct {
	frozenCount
	volume uint64     // how many snapshots and previous versions are of the blob's present volume
	last   snapshotID // the newest id of either that there ever was. It outlives what had it, so that ids only ever increase
}

// frozenCount counts snapshots or previous versions.
type frozenCount struct {
	all    uint64 // how many there are
	gone   uint64 // how many of all are deleted, and kept for a while
	latest ticks  // no later than which these go. 0 if there are none
}

func (r *blobRow) append(dst []byte) []byte {
	flags := byte(0)
	if r.lease.Phase != lease.PhaseNone {
		flags |= flagLease
	}
	if r.snaps != (snapshotCount{}) {
		flags |= flagSnapshots
	}
	if r.gen != pagestore.GenHead {
		flags |= flagFrozen
	}
	if len(r.tags) > 0 {
		flags |= flagTags
	}
	if len(r.copy) > 0 {
		flags |= flagCopy
	}
	if len(r.state) > 0 {
		flags |= flagState
	}
	if r.kept() {
		flags |= flagRetention
	}
	if r.marked() {
		flags |= flagMarks
	}
	dst = append(dst, rowVersion, byte(r.typ), flags)
	dst = binary.AppendUvarint(dst, uint64(r.volume))
	dst = binary.AppendUvarint(dst, uint64(r.size))
	dst = binary.AppendUvarint(dst, uint64(r.sequence))
	dst = r.blocks.append(dst, r.typ)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(r.etag))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(r.created))
	if flags&flagLease != 0 {
		dst = appendLease(dst, &r.lease)
	}
	if flags&flagSnapshots != 0 {
		dst = binary.AppendUvarint(dst, r.snaps.all)
		dst = binary.AppendUvarint(dst, r.snaps.volume)
		dst = binary.LittleEndian.AppendUint64(dst, uint64(r.snaps.last))
	}
	if flags&flagFrozen != 0 {
		dst = binary.AppendUvarint(dst, uint64(r.gen))
	}
	if flags&flagTags != 0 {
		dst = binary.AppendUvarint(dst, uint64(len(r.tags)))
		dst = append(dst, r.tags...)
	}
	if flags&flagCopy != 0 {
		dst = binary.AppendUvarint(dst, uint64(len(r.copy)))
		dst = append(dst, r.copy...)
	}
	if flags&flagState != 0 {
		dst = binary.AppendUvarint(dst, uint64(len(r.state)))
		dst = append(dst, r.state...)
	}
	if flags&flagRetention != 0 {
		dst = r.appendRetention(dst)
	}
	if flags&flagMarks != 0 {
		dst = append(dst, 0) // fewer than 128 bytes: the length is one
		begin := len(dst)
		dst = r.appendMarks(dst)
		dst[begin-1] = byte(len(dst) - begin)
	}
	return append(dst, r.props...)
}

// decodeBlobRow reads a row. The result borrows p.
func decodeBlobRow(p []byte) (blobRow, error) {
	d := rowReader{p: p}
	d.version()
	r := blobRow{typ: BlobType(d.byte())}
	flags := d.flags(flagLease | flagSnapshots | flagFrozen | flagState | flagTags | flagCopy | flagRetention | flagMarks)
	r.volume = pagestore.VolumeID(d.uvarint())
	r.size, r.sequence = d.int64(), d.int64()
	r.blocks = d.blockState(r.typ)
	r.etag, r.created = ticks(d.uint64()), ticks(d.uint64())
	if flags&flagLease != 0 {
		r.lease = d.lease()
	}
	if flags&flagSnapshots != 0 {
		r.snaps.all, r.snaps.volume = d.uvarint(), d.uvarint()
		r.snaps.last = snapshotID(d.uint64())
		d.must(r.snaps.last != 0)
	}
	if flags&flagFrozen != 0 {
		gen := d.uvarint()
		r.gen = pagestore.Gen(gen)
		d.must(gen != uint64(pagestore.GenHead) && gen <= math.MaxUint32)
	}
	if flags&flagTags != 0 {
		r.tags = d.bytes()
		d.must(len(r.tags) > 0)
	}
	if flags&flagCopy != 0 {
		r.copy = d.bytes()
		d.must(len(r.copy) > 0)
	}
	if flags&flagState != 0 {
		r.state = d.bytes()
		d.must(len(r.state) > 0 && len(r.copy) > 0)
	}
	if flags&flagRetention != 0 {
		d.must(r.decodeRetention(d.bytes()))
	}
	if flags&flagMarks != 0 {
		d.must(r.decodeMarks(d.bytes()) == nil)
	}
	r.props = d.p
	d.must(r.typ >= PageBlob && r.typ <= AppendBlob && r.snaps.volume <= r.snaps.all+r.versions.all)
	if d.bad {
		return blobRow{}, badRow("blob", p)
	}
	return r, nil
}

func appendLease(dst []byte, s *lease.State) []byte {
	until := uint64(0)
	if !s.Until.IsZero() {
		until = uint64(ticksAt(s.Until))
	}
	dst = append(dst, byte(s.Phase))
	dst = appendText(dst, s.ID)
	dst = binary.AppendUvarint(dst, uint64(s.Seconds+1))
	return binary.LittleEndian.AppendUint64(dst, until)
}

func appendText(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

// appendMetadata appends pairs as rows hold them.
func appendMetadata(dst []byte, pairs []header.Pair) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(pairs)))
	for _, p := range pairs {
		dst = appendText(appendText(dst, p.Name), p.Value)
	}
	return dst
}

// decodeMetadata reads what appendMetadata wrote. The result does not borrow p. Without pairs it is nil.
func decodeMetadata(p []byte) ([]header.Pair, error) {
	d := rowReader{p: p}
	pairs := d.metadata()
	if d.bad || len(d.p) > 0 {
		return nil, badRow("metadata", p)
	}
	return pairs, nil
}

// A tomb row: version (1) · name, for whoever looks into a store. A volume row: version (1) · number of snapshots. The
// next-id row: version (1) · id.

func appendTombRow(dst []byte, name string) []byte { return append(append(dst, rowVersion), name...) }

func appendNumberRow(dst []byte, n uint64) []byte {
	return binary.AppendUvarint(append(dst, rowVersion), n)
}

func decodeNumberRow(p []byte) (uint64, error) {
	d := rowReader{p: p}
	d.version()
	n := d.uvarint()
	if d.bad || len(d.p) > 0 {
		return 0, badRow("number", p)
	}
	return n, nil
}

func badRow(kind string, p []byte) error {
	return fmt.Errorf("%s row %x: %w", kind, p, pagestore.ErrCorrupt)
}

// rowReader reads a row from its front. After the first thing that is not as it should be, bad is set, and what is read
// means nothing.
type rowReader struct {
	p   []byte
	bad bool
}

func (d *rowReader) must(ok bool) {
	if !ok {
		d.bad = true
	}
}

func (d *rowReader) take(n int) []byte {
	if n < 0 || n > len(d.p) {
		d.p, d.bad = nil, true
		return nil
	}
	q := d.p[:n]
	d.p = d.p[n:]
	return q
}

func (d *rowReader) byte() byte {
	if len(d.p) == 0 {
		d.bad = true
		return 0
	}
	b := d.p[0]
	d.p = d.p[1:]
	return b
}

func (d *rowReader) version() { d.must(d.byte() == rowVersion) }

func (d *rowReader) flags(known byte) byte {
	f := d.byte()
	d.must(f&^known == 0)
	return f
}

func (d *rowReader) uvarint() uint64 {
	v, n := binary.Uvarint(d.p)
	if n <= 0 {
		d.p, d.bad = nil, true
		return 0
	}
	d.p = d.p[n:]
	return v
}

func (d *rowReader) int64() int64 {
	v := d.uvarint()
	d.must(v <= math.MaxInt64)
	return int64(v)
}

func (d *rowReader) uint64() uint64 {
	q := d.take(8)
	if q == nil {
		return 0
	}
	return binary.LittleEndian.Uint64(q)
}

func (d *rowReader) text() string { return string(d.bytes()) }

// bytes reads a text and borrows it.
func (d *rowReader) bytes() []byte {
	n := d.uvarint()
	if n > uint64(len(d.p)) {
		d.p, d.bad = nil, true
		return nil
	}
	return d.take(int(n))
}

func (d *rowReader) lease() lease.State {
	s := lease.State{Phase: lease.Phase(d.byte()), ID: d.text()}
	seconds := d.uvarint()
	until := ticks(d.uint64())
	s.Seconds = int(seconds) - 1
	if until != 0 {
		s.Until = until.Time()
	}
	d.must(s.Phase == lease.PhaseHeld || s.Phase == lease.PhaseBreaking)
	d.must(seconds <= 61 && (until != 0 || s.Phase == lease.PhaseHeld && s.Seconds == lease.Infinite))
	return s
}

func (d *rowReader) metadata() []header.Pair {
	n := d.uvarint()
	if n > uint64(len(d.p))/2 { // a pair takes two bytes at least
		d.p, d.bad = nil, true
	}
	if d.bad || n == 0 {
		return nil
	}
	pairs := make([]header.Pair, n)
	for i := range pairs {
		pairs[i] = header.Pair{Name: d.text(), Value: d.text()}
	}
	return pairs
}
