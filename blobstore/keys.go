package blobstore

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"pagevault/pagestore"
)

// Keys. The first byte is the table; numbers are big-endian, so that order is numeric.
//
//	container   'c' name
//	blob        'b' container id (8) · name, escaped · 00 01 · snapshot
//	tomb        't' container id (8)
//	volume      'v' volume id (8)
//	next id     'n'
//	properties  'p'
//	totals      'a'
//	tag         'i' key of the tag · 00 · its value · 00 · container id (8) · name of the blob
//	copy        'k' volume id (8)
//	removed     'd' name · 00 · container id (8)
//	expiry      'e' when (8, ticks) · key of the row that goes then
//	pending     'q' as that of the blob, which a pending copy fills
//	versioning  'g'
//	staged      'x' volume id (8) · epoch (4) · id of the block
//	staging     's' as that of the blob, blocks of which wait to be committed
//	sweep       'z' volume id (8)
//
// In an escaped name each 00 is 00 FF; so 00 01 ends the name, and keys sort as names do, byte by byte, whatever bytes
// these are. The snapshot is its id (8 bytes, ticks), or FF for the blob itself: ids begin with a byte below 80, so
// that a blob's snapshots come oldest first and then the blob.
const (
	tableContainer  = 'c'
	tableBlob       = 'b'
	tableTomb       = 't'
	tableVolume     = 'v'
	tableNextID     = 'n'
	tableProperties = 'p'
	tableTotals     = 'a'
	tableTag        = 'i'
	tableCopy       = 'k'
	tableRemoved    = 'd'
	tableExpiry     = 'e'
	tablePending    = 'q'
	tableVersioning = 'g'
	tableStaged     = 'x'
	tableStaging    = 's'
	tableSweep      = 'z'
)

// containerID tells containers apart, also those of one name at different times: it is never used again. Zero is none.
type containerID uint64

const (
	escaped   = 0xFF // after 00: the name has a 00 here
	nameEnd   = 0x01 // after 00: the name ends here
	baseOfRow = 0xFF // in place of a snapshot id: the blob itself
)

var (
	nextIDKey     = []byte{tableNextID}
	propertiesKey = []byte{tableProperties}
	totalsKey     = []byte{tableTotals}
	versioningKey = []byte{tableVersioning}
)

func appendContainerKey(dst []byte, name string) []byte {
	return append(append(dst, tableContainer), name...)
}

func appendTombKey(dst []byte, id containerID) []byte {
	return binary.BigEndian.AppendUint64(append(dst, tableTomb), uint64(id))
}

func appendVolumeKey(dst []byte, v pagestore.VolumeID) []byte {
	return binary.BigEndian.AppendUint64(append(dst, tableVolume), uint64(v))
}

// appendCopyKey appends the key of a copy that is under way, by the volume that it fills.
func appendCopyKey(dst []byte, v pagestore.VolumeID) []byte {
	return binary.BigEndian.AppendUint64(append(dst, tableCopy), uint64(v))
}

// appendRemovedKey appends the key of a container that is deleted and kept for a while. Names have no 00 in them.
func appendRemovedKey(dst []byte, name string, id containerID) []byte {
	dst = append(append(dst, tableRemoved), name...)
	return binary.BigEndian.AppendUint64(append(dst, 0), uint64(id))
}

// parseRemovedKey reads what appendRemovedKey wrote.
func parseRemovedKey(key []byte) (name string, id containerID, err error) {
	n := len(key) - 9
	if n < 2 || key[0] != tableRemoved || bytes.IndexByte(key[1:], 0) != n-1 {
		return "", 0, badKey(key)
	}
	return string(key[1:n]), containerID(binary.BigEndian.Uint64(key[n+1:])), nil
}

// appendExpiryKey appends the key of the row that says when the row of another key goes.
func appendExpiryKey(dst []byte, when ticks, key []byte) []byte {
	return append(binary.BigEndian.AppendUint64(append(dst, tableExpiry), uint64(when)), key...)
}

// parseExpiryKey reads what appendExpiryKey wrote. row borrows key.
func parseExpiryKey(key []byte) (when ticks, row []byte, err error) {
	if len(key) < 10 || key[0] != tableExpiry || key[9] != tableBlob && key[9] != tableRemoved {
		return 0, nil, badKey(key)
	}
	return ticks(binary.BigEndian.Uint64(key[1:])), key[9:], nil
}

// appendContainerBlobs appends what the keys of all blobs of a container begin with.
func appendContainerBlobs(dst []byte, id containerID) []byte {
	return binary.BigEndian.AppendUint64(append(dst, tableBlob), uint64(id))
}

// appendNamePrefix appends what the keys of all blobs begin with whose name begins with prefix.
func appendNamePrefix(dst []byte, id containerID, prefix string) []byte {
	dst = appendContainerBlobs(dst, id)
	for i := range len(prefix) {
		dst = append(dst, prefix[i])
		if prefix[i] == 0 {
			dst = append(dst, escaped)
		}
	}
	return dst
}

// appendBlobRows appends what the keys of a blob and its snapshots begin with.
func appendBlobRows(dst []byte, id containerID, name string) []byte {
	return append(appendNamePrefix(dst, id, name), 0, nameEnd)
}

// appendBlobKey appends the key of a blob, or of one of its snapshots.
func appendBlobKey(dst []byte, id containerID, name string, snapshot snapshotID) []byte {
	dst = appendBlobRows(dst, id, name)
	if snapshot == 0 {
		return append(dst, baseOfRow)
	}
	return binary.BigEndian.AppendUint64(dst, uint64(snapshot))
}

// blobKeyPrefixLen is the length of table and container id in the key of a blob.
const blobKeyPrefixLen = 1 + 8

// parseBlobKey appends the name in a blob's key to name and returns it with the snapshot id.
func parseBlobKey(name, key []byte) ([]byte, snapshotID, error) {
	if len(key) < blobKeyPrefixLen || key[0] != tableBlob {
		return name, 0, badKey(key)
	}
	p := key[blobKeyPrefixLen:]
	for i := 0; i+1 < len(p); i++ {
		switch {
		case p[i] != 0:
			name = append(name, p[i])
		case p[i+1] == escaped:
			name = append(name, 0)
			i++
		case p[i+1] == nameEnd:
			id, ok := parseRowSuffix(p[i+2:])
			if !ok {
				return name, 0, badKey(key)
			}
			return name, id, nil
		default:
			return name, 0, badKey(key)
		}
	}
	return name, 0, badKey(key)
}

func parseRowSuffix(p []byte) (snapshotID, bool) {
	switch {
	case len(p) == 1 && p[0] == baseOfRow:
		return 0, true
	case len(p) == 8 && p[0] < 0x80:
		id := snapshotID(binary.BigEndian.Uint64(p))
		return id, id != 0
	default:
		return 0, false
	}
}

func badKey(key []byte) error {
	return fmt.Errorf("row key %x: %w", key, pagestore.ErrCorrupt)
}

// appendAfter appends the smallest key greater than every key that begins with prefix. prefix does not consist of FF
// alone: its first byte is a table.
func appendAfter(dst, prefix []byte) []byte {
	n := len(prefix)
	for prefix[n-1] == 0xFF {
		n--
	}
	dst = append(dst, prefix[:n]...)
	dst[len(dst)-1]++
	return dst
}
