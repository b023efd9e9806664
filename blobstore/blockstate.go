package blobstore

import (
	"encoding/binary"
	"fmt"
	"math"

	"pagevault/pagestore"
)

// What the row of a block blob or an append blob says besides what all rows say.
//
// The content of a block blob that was put at once lies at the beginning of its volume, as that of an append blob does. Each block
// that is staged lies in the volume of its blob in a slot of its own: whole regions, which no block before has had, so that
// committing blocks moves nothing. Where the blocks of the blob are is said by its list (see blocklist.go), which lies in the same
// volume far behind all content: so whatever freezes, copies or drops the volume does that to the list as well.
//
// The row of a blob that is not there yet, of which only blocks wait to be committed, is vacant and has a volume.

// blockState is what the row of a block blob or an append blob says of its blocks.
//
//	block blob: committed blocks · bytes of the list · first free region · epoch · staging (1) · [staged blocks · length of their ids (1) · when (8) · changes]
//	append blob: appended blocks · sealed (1)
type blockState struct {
	count  uint64 // committed or appended. A block blob without any has the content that was put at once, if it has a size
	list   int64  // bytes of the list of a block blob
	next   uint64 // of a block blob: the first region of its volume that nothing was ever put into
	epoch  uint32 // of a block blob: how often blocks that waited in its volume were let go. Rows of those are of an earlier one
	sealed bool   // of an append blob
	staged stagedBlocks
}

// stagedBlocks are the blocks of a blob that wait to be committed. The zero value: there are none, and none is on its way.
type stagedBlocks struct {
	n       uint64
	idLen   uint8  // bytes of the id of each
	touched ticks  // when the last one came
	changes uint64 // differs whenever others are staged than before
}

// regionBytes is the length of a region of a volume.
const regionBytes = pagestore.RegionPages * PageSize

// regionsFor returns how many regions n bytes take.
func regionsFor(n int64) uint64 { return uint64((n + regionBytes - 1) / regionBytes) }

// pagesFor returns how many pages n bytes take.
func pagesFor(n int64) pagestore.PageNo { return pagestore.PageNo((n + PageSize - 1) / PageSize) }

func (b *blockState) append(dst []byte, typ BlobType) []byte {
	switch typ {
	case BlockBlob:
		dst = binary.AppendUvarint(dst, b.count)
		dst = binary.AppendUvarint(dst, uint64(b.list))
		dst = binary.AppendUvarint(dst, b.next)
		dst = binary.AppendUvarint(dst, uint64(b.epoch))
		if b.staged == (stagedBlocks{}) {
			return append(dst, 0)
		}
		dst = binary.AppendUvarint(append(dst, 1), b.staged.n)
		dst = binary.LittleEndian.AppendUint64(append(dst, b.staged.idLen), uint64(b.staged.touched))
		return binary.AppendUvarint(dst, b.staged.changes)
	case AppendBlob:
		dst = binary.AppendUvarint(dst, b.count)
		if b.sealed {
			return append(dst, 1)
		}
		return append(dst, 0)
	}
	return dst
}

// blockState reads what append wrote.
func (d *rowReader) blockState(typ BlobType) (b blockState) {
	switch typ {
	case BlockBlob:
		b.count, b.list, b.next = d.uvarint(), d.int64(), d.uvarint()
		epoch := d.uvarint()
		b.epoch = uint32(epoch)
		d.must(epoch <= math.MaxUint32)
		d.must(b.count <= BlocksMax && (b.count == 0) == (b.list == 0) && b.next <= uint64(listPage)/pagestore.RegionPages)
		if d.bool() {
			b.staged = stagedBlocks{n: d.uvarint(), idLen: d.byte(), touched: ticks(d.uint64()), changes: d.uvarint()}
			d.must(b.staged != stagedBlocks{} && b.staged.n <= BlocksStaged && b.staged.idLen <= BlockIDMax)
		}
	case AppendBlob:
		b.count, b.sealed = d.uvarint(), d.bool()
		d.must(b.count <= AppendsMax)
	}
	return b
}

func (d *rowReader) bool() bool {
	v := d.byte()
	d.must(v <= 1)
	return v == 1
}

// staging reports whether blocks wait to be committed, or the first of them is on its way.
func (r *blobRow) staging() bool {
	return r.typ == BlockBlob && r.gen == pagestore.GenHead && r.blocks.staged != stagedBlocks{}
}

// stagedRow is what is stored about a block that waits: version (1) · first region · bytes.
type stagedRow struct {
	slot uint64
	size int64
}

func (s *stagedRow) append(dst []byte) []byte {
	dst = binary.AppendUvarint(append(dst, rowVersion), s.slot)
	return binary.AppendUvarint(dst, uint64(s.size))
}

func decodeStagedRow(p []byte) (stagedRow, error) {
	d := rowReader{p: p}
	d.version()
	s := stagedRow{slot: d.uvarint(), size: d.int64()}
	if d.bad || len(d.p) > 0 || s.size == 0 {
		return stagedRow{}, badRow("staged block", p)
	}
	return s, nil
}

// sweepRow says of a volume, by its key, that there may be pages in it which nothing refers to, or rows of staged blocks for which it
// is gone: version (1) · container id · name of the blob.
type sweepRow struct {
	container containerID
	name      string
}

func (s *sweepRow) append(dst []byte) []byte {
	dst = binary.AppendUvarint(append(dst, rowVersion), uint64(s.container))
	return append(dst, s.name...)
}

func decodeSweepRow(p []byte) (sweepRow, error) {
	d := rowReader{p: p}
	d.version()
	s := sweepRow{container: containerID(d.uvarint()), name: string(d.p)}
	if d.bad || s.container == 0 || s.name == "" {
		return sweepRow{}, badRow("sweep", p)
	}
	return s, nil
}

// dropStaged lets go of the blocks that wait to be committed to the blob, and of its volume if it has one for them alone. The caller
// stores the row.
func (c *blobChange) dropStaged(name string) error {
	if !c.row.staging() {
		return nil
	}
	return dropStaged(c.tx, c.id, name, &c.row)
}

func dropStaged(tx *pagestore.Tx, id containerID, name string, row *blobRow) error {
	tx.Delete(appendStagingKey(nil, id, name))
	if row.blocks.staged.n > 0 || !row.vacant {
		sweepLater(tx, id, name, row.volume)
	}
	row.blocks.staged = stagedBlocks{}
	row.blocks.epoch++
	return nil
}

// sweepLater has the reaper look for what nothing refers to in the volume.
func sweepLater(tx *pagestore.Tx, id containerID, name string, v pagestore.VolumeID) {
	s := sweepRow{id, name}
	tx.Set(appendSweepKey(nil, v), s.append(nil))
}

// appendStagedKey appends the key of a block that waits.
func appendStagedKey(dst []byte, v pagestore.VolumeID, epoch uint32, id []byte) []byte {
	return append(appendStagedPrefix(dst, v, epoch), id...)
}

func appendStagedPrefix(dst []byte, v pagestore.VolumeID, epoch uint32) []byte {
	return binary.BigEndian.AppendUint32(appendStagedVolume(dst, v), epoch)
}

func appendStagedVolume(dst []byte, v pagestore.VolumeID) []byte {
	return binary.BigEndian.AppendUint64(append(dst, tableStaged), uint64(v))
}

// stagedPrefixLen is the length of what comes before the id.
const stagedPrefixLen = 1 + 8 + 4

// appendStagingKey appends the key of the row that says that blocks of a blob wait.
func appendStagingKey(dst []byte, id containerID, name string) []byte {
	at := len(dst)
	dst = appendBlobKey(dst, id, name, 0)
	dst[at] = tableStaging
	return dst
}

func appendSweepKey(dst []byte, v pagestore.VolumeID) []byte {
	return binary.BigEndian.AppendUint64(append(dst, tableSweep), uint64(v))
}

// parseSweep reads key and row.
func parseSweep(key, row []byte) (pagestore.VolumeID, sweepRow, error) {
	s, err := decodeSweepRow(row)
	if err == nil && (len(key) != 9 || key[0] != tableSweep) {
		err = badKey(key)
	}
	if err != nil {
		return 0, sweepRow{}, fmt.Errorf("sweep: %w", err)
	}
	return pagestore.VolumeID(binary.BigEndian.Uint64(key[1:])), s, nil
}

// copiedBlocks returns what a copy of the blob, or of a snapshot of it, has of its state. It has all of its volume.
func (r *blobRow) copiedBlocks() blockState {
	b := r.blocks
	b.staged, b.sealed, b.epoch = stagedBlocks{}, false, 0
	return b
}
