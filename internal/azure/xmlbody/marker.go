package xmlbody

import (
	"encoding/base64"

	"pagevault/internal/azure/azerr"
)

const (
	// markerVersion is the first byte of every marker. Clients keep markers for as long as they like, so another form
	// gets another version.
	markerVersion = 1
	// maxMarker bounds a marker: a name of 1,024 UTF-16 units in UTF-8, a snapshot and some more, in base64.
	maxMarker = 8 << 10
)

var markerText = base64.RawURLEncoding.Strict()

// EncodeMarker returns the marker of a listing that goes on at key, which may hold any bytes. It is opaque to clients,
// safe in XML and in a query, and never looks like a number. The marker of the empty key is empty: the end.
func EncodeMarker(key string) string {
	if key == "" {
		return ""
	}
	return markerText.EncodeToString(append([]byte{markerVersion}, key...))
}

// DecodeMarker returns the key in a marker, empty for an empty one. The error is InvalidQueryParameterValue.
func DecodeMarker(marker string) (string, error) {
	if marker == "" {
		return "", nil
	}
	if len(marker) > maxMarker {
		return "", badMarker(marker[:64] + "…")
	}
	key, err := markerText.DecodeString(marker)
	if err != nil || len(key) < 2 || key[0] != markerVersion || markerText.EncodeToString(key) != marker { // Decode skips line ends
		return "", badMarker(marker)
	}
	return string(key[1:]), nil
}

func badMarker(shown string) error {
	return azerr.BadQuery("marker", shown, "not a marker that this server gave out")
}
