package blobstore

import (
	"encoding/binary"
	"strings"

	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/xmlbody"
)

// Markers tell a client nothing; it sends one back to go on where a page ended. They name the first thing not yet
// listed, so a list goes on rightly whatever was added or removed in between, and they hold for ever. xmlbody gives them
// their form; within are
//
//	name                     containers
//	name · 00 · id (8)       containers, at one that is deleted
//	snapshot id (8) · name   blobs
//	offset (8)               page ranges

func badMarker(text string) error {
	return azerr.BadQuery("marker", text, "not a marker that this kind of list gave out")
}

func containersMarker(c *ContainerInfo) string {
	if id, ok := parseContainerVersion(c.Version); ok {
		return xmlbody.EncodeMarker(string(appendRemovedKey(nil, c.Name, id)[1:]))
	}
	return xmlbody.EncodeMarker(c.Name)
}

// parseContainersMarker returns the name at which to begin, and the id of a deleted container of that name if the list
// is to begin with that. No marker is the empty name.
func parseContainersMarker(text string) (name string, id containerID, err error) {
	at, err := xmlbody.DecodeMarker(text)
	if err != nil || strings.IndexByte(at, 0) < 0 {
		return at, 0, err
	}
	if name, id, err = parseRemovedKey(append([]byte{tableRemoved}, at...)); err != nil || id == 0 {
		return "", 0, badMarker(text)
	}
	return name, id, nil
}

func blobsMarker(name []byte, snapshot snapshotID) string {
	p := binary.BigEndian.AppendUint64(make([]byte, 0, 8+len(name)), uint64(snapshot))
	return xmlbody.EncodeMarker(string(append(p, name...)))
}

// parseBlobsMarker returns the blob or snapshot at which to begin. No marker is no name.
func parseBlobsMarker(text string) (name string, snapshot snapshotID, err error) {
	key, err := xmlbody.DecodeMarker(text)
	if err != nil || key == "" {
		return "", 0, err
	}
	if len(key) <= 8 || key[0] >= 0x80 {
		return "", 0, badMarker(text)
	}
	return key[8:], snapshotID(binary.BigEndian.Uint64([]byte(key[:8]))), nil
}

func rangesMarker(off int64) string {
	return xmlbody.EncodeMarker(string(binary.BigEndian.AppendUint64(nil, uint64(off))))
}

// parseRangesMarker returns the offset at which to begin. No marker is 0.
func parseRangesMarker(text string) (off int64, err error) {
	key, err := xmlbody.DecodeMarker(text)
	if err != nil || key == "" {
		return 0, err
	}
	if len(key) == 8 {
		off = int64(binary.BigEndian.Uint64([]byte(key)))
	}
	if len(key) != 8 || off < 0 || off%PageSize != 0 {
		return 0, badMarker(text)
	}
	return off, nil
}
