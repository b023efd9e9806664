package blobstore

import "time"

// snapshotLayout is how a snapshot is named on the wire: always seven fractional digits.
const snapshotLayout = "2006-01-02T15:04:05.0000000Z"

// snapshotID names one snapshot of a blob: the moment it was taken, moved on where needed so that the ids of a blob
// strictly increase. Zero is no snapshot: the blob itself.
type snapshotID ticks

// String returns the id as clients see it.
func (id snapshotID) String() string {
	if id == 0 {
		return ""
	}
	return ticks(id).Time().Format(snapshotLayout)
}

// NormalizeSnapshot brings the text by which a client names a snapshot to its canonical form, with seven fractional
// digits: some clients cut trailing zeros. ok is false if it is no such text.
func NormalizeSnapshot(text string) (canonical string, ok bool) {
	id, ok := parseSnapshot(text)
	return id.String(), ok
}

// parseSnapshot reads the text of a snapshot id with zero to seven fractional digits.
func parseSnapshot(text string) (snapshotID, bool) {
	if len(text) < len("2006-01-02T15:04:05Z") || len(text) > len(snapshotLayout) || text[len(text)-1] != 'Z' {
		return 0, false
	}
	if len(text) > len("2006-01-02T15:04:05Z") && text[len("2006-01-02T15:04:05")] != '.' { // Parse takes a comma too
		return 0, false
	}
	t, err := time.Parse("2006-01-02T15:04:05Z", text) // takes any fraction
	if err != nil || t.Year() < 1 {
		return 0, false
	}
	id := snapshotID(ticksAt(t))
	return id, id != 0
}
